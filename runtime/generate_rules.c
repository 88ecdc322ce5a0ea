/* Rules that change a row of logits before a token is taken: each a small function, in the order of the table. <hmoe/generate.h> says
 * what they mean. A rule costs what it touches; only forced tokens pass over the whole row. */
#include "generate_internal.h"

#include <math.h>
#include <string.h>

typedef struct logits_row {
  float *logits;
  int64_t vocab;
  const int64_t *row; /* tokens so far; a prompt may have some that are never generated */
  int64_t length;
  float *scratch; /* [length] */
} logits_row;

bool hmoe_tokens_have(hmoe_tokens tokens, int64_t token) {
  for (size_t i = 0; i < tokens.count; i++)
    if (tokens.tokens[i] == token) return true;
  return false;
}

static bool in_vocabulary(const logits_row *at, int64_t token) { return token >= 0 && token < at->vocab; }

static void set(const logits_row *at, int64_t token, float logit) {
  if (in_vocabulary(at, token)) at->logits[token] = logit;
}

static bool set_all(const logits_row *at, hmoe_tokens tokens, float logit) {
  for (size_t i = 0; i < tokens.count; i++) set(at, tokens.tokens[i], logit);
  return tokens.count > 0;
}

static void ban_vocabulary(const logits_row *at) {
  for (int64_t i = 0; i < at->vocab; i++) at->logits[i] = -INFINITY;
}

/* All are read before one is written: a token that the row has several times is penalised once. */
static bool penalise_repetition(const hmoe_rules *rules, const logits_row *at) {
  float penalty = rules->repetition_penalty;
  if (penalty >= 1.0f && penalty <= 1.0f) return false;
  for (int64_t i = 0; i < at->length; i++) {
    float logit = in_vocabulary(at, at->row[i]) ? at->logits[at->row[i]] : 0;
    at->scratch[i] = logit < 0 ? logit * penalty : logit / penalty;
  }
  for (int64_t i = 0; i < at->length; i++) set(at, at->row[i], at->scratch[i]);
  return true;
}

static bool ban_ngrams(const hmoe_rules *rules, const logits_row *at) {
  if (rules->no_repeat_ngram < 1) return false;
  int64_t known = rules->no_repeat_ngram - 1; /* of the n-gram that the next token completes */
  for (int64_t i = 0; i + known < at->length; i++)
    if (memcmp(at->row + i, at->row + at->length - known, (size_t)known * sizeof *at->row) == 0)
      set(at, at->row[i + known], -INFINITY);
  return true;
}

static bool ban_words(const hmoe_rules *rules, const logits_row *at) {
  hmoe_tokens words = rules->bad_words;
  for (size_t begin = 0, end; begin < words.count; begin = end + 1) {
    for (end = begin; words.tokens[end] != HMOE_WORD_END;) end++;
    int64_t known = (int64_t)(end - begin) - 1, last = words.tokens[end - 1];
    if (known > at->length || (known == 0 && hmoe_tokens_have(rules->end_token, last))) continue;
    if (memcmp(words.tokens + begin, at->row + at->length - known, (size_t)known * sizeof *at->row) == 0) set(at, last, -INFINITY);
  }
  return words.count > 0;
}

static bool ban_ends(const hmoe_rules *rules, const logits_row *at) {
  return at->length < rules->least_length && set_all(at, rules->end_token, -INFINITY);
}

static bool force_bos(const hmoe_rules *rules, const logits_row *at) {
  if (rules->forced_bos_token == HMOE_NO_TOKEN || at->length != 1) return false;
  ban_vocabulary(at);
  set(at, rules->forced_bos_token, 0);
  return true;
}

static bool force_eos(const hmoe_rules *rules, const logits_row *at) {
  if (!rules->forced_eos_token.count || at->length != rules->most_length - 1) return false;
  ban_vocabulary(at);
  return set_all(at, rules->forced_eos_token, 0);
}

static bool suppress(const hmoe_rules *rules, const logits_row *at) { return set_all(at, rules->suppress_tokens, -INFINITY); }

static bool suppress_at_begin(const hmoe_rules *rules, const logits_row *at) {
  bool first_is_forced = rules->start_length == 1 && rules->forced_bos_token != HMOE_NO_TOKEN;
  return at->length == rules->start_length + first_is_forced && set_all(at, rules->begin_suppress_tokens, -INFINITY);
}

/* Each returns whether it has anything to say at this length. */
static bool (*const table[])(const hmoe_rules *rules, const logits_row *at) = {
    penalise_repetition, ban_ngrams, ban_words, ban_ends, force_bos, force_eos, suppress, suppress_at_begin};

bool hmoe_rules_apply(const hmoe_rules *rules, float *logits, int64_t vocab, const int64_t *row, int64_t length, float *scratch) {
  const logits_row at = {logits, vocab, row, length, scratch};
  bool any = false;
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) any |= table[i](rules, &at);
  return any;
}
