/* Rules that change a row of logits before a token is taken: each a small function, in the order of the table. <hmoe/generate.h> says
 * what they mean. A rule costs what it touches; only forced tokens pass over the whole row. Beside it stands how many logits it lowers at most, so that
 * a row's largest can be known to be among so many more of them. */
#include "generate_internal.h"

#include <math.h>
#include <string.h>

typedef struct logits_row {
  float *logits;
  int64_t vocab;
  const int32_t *places; /* NULL: of all of the vocabulary; else of these alone, in ascending order, and `count` of them */
  int64_t count;
  const int64_t *row; /* tokens so far; a prompt may have some that are never generated */
  int64_t length;
  float *scratch; /* [length] */
} logits_row;

bool hmoe_tokens_have(hmoe_tokens tokens, int64_t token) {
  for (size_t i = 0; i < tokens.count; i++)
    if (tokens.tokens[i] == token) return true;
  return false;
}

/* NULL: the row has none. */
static float *logit_of(const logits_row *at, int64_t token) {
  if (token < 0 || token >= at->vocab) return NULL;
  if (!at->places) return &at->logits[token];
  int64_t low = 0;
  for (int64_t high = at->count; low < high;) {
    int64_t middle = low + (high - low) / 2;
    if (at->places[middle] < token) low = middle + 1;
    else high = middle;
  }
  return low < at->count && at->places[low] == token ? &at->logits[low] : NULL;
}

static void set(const logits_row *at, int64_t token, float logit) {
  float *to = logit_of(at, token);
  if (to) *to = logit;
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
    const float *found = logit_of(at, at->row[i]);
    float logit = found ? *found : 0;
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

static bool forces_bos(const hmoe_rules *rules, int64_t length) { return rules->forced_bos_token != HMOE_NO_TOKEN && length == 1; }

static bool force_bos(const hmoe_rules *rules, const logits_row *at) {
  if (!forces_bos(rules, at->length)) return false;
  ban_vocabulary(at);
  set(at, rules->forced_bos_token, 0);
  return true;
}

static bool forces_eos(const hmoe_rules *rules, int64_t length) {
  return rules->forced_eos_token.count && length == rules->most_length - 1;
}

static bool force_eos(const hmoe_rules *rules, const logits_row *at) {
  if (!forces_eos(rules, at->length)) return false;
  ban_vocabulary(at);
  return set_all(at, rules->forced_eos_token, 0);
}

static bool suppress(const hmoe_rules *rules, const logits_row *at) { return set_all(at, rules->suppress_tokens, -INFINITY); }

static bool begins(const hmoe_rules *rules, int64_t length) {
  bool first_is_forced = rules->start_length == 1 && rules->forced_bos_token != HMOE_NO_TOKEN;
  return length == rules->start_length + first_is_forced;
}

static bool suppress_at_begin(const hmoe_rules *rules, const logits_row *at) {
  return begins(rules, at->length) && set_all(at, rules->begin_suppress_tokens, -INFINITY);
}

/* ---- how many logits a rule lowers at a length, at most; RAISES: it raises some ---- */

enum { RAISES = -1 };

static int64_t penalised(const hmoe_rules *rules, int64_t length) {
  float penalty = rules->repetition_penalty;
  if (penalty >= 1.0f && penalty <= 1.0f) return 0;
  return penalty > 1.0f ? length : RAISES;
}

static int64_t banned_by_ngrams(const hmoe_rules *rules, int64_t length) {
  return rules->no_repeat_ngram < 1 || rules->no_repeat_ngram > length ? 0 : length - rules->no_repeat_ngram + 1;
}

static int64_t banned_by_words(const hmoe_rules *rules, int64_t length) {
  (void)length;
  int64_t words = 0;
  for (size_t i = 0; i < rules->bad_words.count; i++) words += rules->bad_words.tokens[i] == HMOE_WORD_END;
  return words;
}

static int64_t banned_ends(const hmoe_rules *rules, int64_t length) {
  return length < rules->least_length ? (int64_t)rules->end_token.count : 0;
}

static int64_t forced_bos(const hmoe_rules *rules, int64_t length) { return forces_bos(rules, length) ? RAISES : 0; }

static int64_t forced_eos(const hmoe_rules *rules, int64_t length) { return forces_eos(rules, length) ? RAISES : 0; }

static int64_t suppressed(const hmoe_rules *rules, int64_t length) {
  (void)length;
  return (int64_t)rules->suppress_tokens.count;
}

static int64_t suppressed_at_begin(const hmoe_rules *rules, int64_t length) {
  return begins(rules, length) ? (int64_t)rules->begin_suppress_tokens.count : 0;
}

/* apply: returns whether it has anything to say at this length. */
static const struct {
  bool (*apply)(const hmoe_rules *rules, const logits_row *at);
  int64_t (*lowers)(const hmoe_rules *rules, int64_t length);
} table[] = {{penalise_repetition, penalised}, {ban_ngrams, banned_by_ngrams},
             {ban_words, banned_by_words},     {ban_ends, banned_ends},
             {force_bos, forced_bos},          {force_eos, forced_eos},
             {suppress, suppressed},           {suppress_at_begin, suppressed_at_begin}};
enum { RULES = sizeof table / sizeof *table };

static bool apply_all(const hmoe_rules *rules, const logits_row *at) {
  bool any = false;
  for (size_t i = 0; i < RULES; i++) any |= table[i].apply(rules, at);
  return any;
}

bool hmoe_rules_apply(const hmoe_rules *rules, float *logits, int64_t vocab, const int64_t *row, int64_t length, float *scratch) {
  return apply_all(rules, &(logits_row){.logits = logits, .vocab = vocab, .row = row, .length = length, .scratch = scratch});
}

void hmoe_rules_apply_to(const hmoe_rules *rules, float *logits, const int32_t *places, int64_t count, const int64_t *row,
                         int64_t length, float *scratch) {
  apply_all(rules, &(logits_row){logits, INT32_MAX, places, count, row, length, scratch});
}

int64_t hmoe_rules_lowered(const hmoe_rules *rules, int64_t length) {
  int64_t all = 0;
  for (size_t i = 0; i < RULES; i++) {
    int64_t some = table[i].lowers(rules, length);
    if (some == RAISES) return RAISES;
    all += some;
  }
  return all;
}
