/* What generation is made of.
 *
 *   generate.c           the public calls, and a model as a decoder
 *   generate_settings.c  what the caller, the model and the defaults say, as a search
 *   generate_search.c    which tokens follow: greedy, sampling, beams; knows no model
 *   generate_rules.c     what changes a row of logits before a token is taken: penalties, bans, forced tokens
 *   generate_logits.c    arithmetic on one row of logits: softmax, selection, draws */
#ifndef HMOE_GENERATE_INTERNAL_H
#define HMOE_GENERATE_INTERNAL_H

#include <hmoe/generate.h>

#include "runtime_internal.h"

/* ---- generate_search.c ---- */

/* The largest logits of rows, where others are not needed: those that reach the `wanted` largest of their row, in ascending order of their places, but for
 * NaN and -inf. words: [rows, hmoe_best_words(room)], a row: how many there are, their places, their values as f32, each with room for `room`. A row that has more
 * has its logits in `logits` [rows, vocab] instead. */
typedef struct hmoe_best {
  int64_t wanted, room; /* wanted below the vocabulary, room at least wanted */
  int32_t *words;
  float *logits;
} hmoe_best;
static inline int64_t hmoe_best_words(int64_t room) { return 1 + 2 * room; }

/* What a search asks for logits. A step appends `width` tokens to each of the target rows, tokens [rows, width], and writes the
 * logits of what follows the last: [rows, vocab]. */
typedef struct hmoe_decoder {
  void *context;
  int64_t vocab; /* at least 1 */
  /* Called once, before all steps: target rows, `beams` in a row of which belong to one row of the prompt, and the most tokens each
   * will be given. */
  hmoe_status (*start)(void *context, int64_t rows, int64_t beams, int64_t capacity);
  hmoe_status (*step)(void *context, const int64_t *tokens, int64_t width, float *logits);
  hmoe_status (*reorder)(void *context, const int32_t *rows); /* as hmoe_state_reorder */
  /* A step that writes, in place of a row's logits, which of them is the largest: the first of equal ones; NaN and -inf are never taken, -1: all
   * are. NULL: there is no such step. */
  hmoe_status (*pick)(void *context, const int64_t *tokens, int64_t width, int32_t *places);
  /* A step that writes each row's largest logits. NULL: there is no such step. */
  hmoe_status (*best)(void *context, const int64_t *tokens, int64_t width, const hmoe_best *best);
} hmoe_decoder;

/* What changes the logits of a row: see <hmoe/generate.h>. Zeros are no rules, but for repetition_penalty, which is 1 then, and
 * forced_bos_token, HMOE_NO_TOKEN. Tokens that are not in the vocabulary have no effect. */
typedef struct hmoe_rules {
  float repetition_penalty;
  int64_t no_repeat_ngram;
  hmoe_tokens bad_words; /* each closed by HMOE_WORD_END */
  hmoe_tokens end_token;
  int64_t least_length; /* of a row, before an end token may come */
  int64_t forced_bos_token;
  hmoe_tokens forced_eos_token, suppress_tokens, begin_suppress_tokens;
  int64_t start_length, most_length; /* of a row */
} hmoe_rules;
#define HMOE_NO_TOKEN (-1)

/* hmoe_generation with the model's settings and defaults filled in, all of it checked. */
typedef struct hmoe_search {
  const hmoe_allocator *allocator;
  int64_t rows, start_length; /* at least 1 column to begin with */
  int64_t max_new_tokens;
  int64_t beams; /* at least 1; rows * beams fits an int32_t; with more than one, vocab is at least 2 */
  int64_t early_stopping; /* 0: by estimate; HMOE_STOP_EARLY, HMOE_STOP_NEVER */
  double length_penalty;
  bool sample;
  float temperature; /* above 0 */
  int64_t top_k; /* 0: all */
  float top_p; /* in (0, 1] */
  float min_p; /* in [0, 1] */
  uint64_t seed;
  int64_t pad_token;
  hmoe_rules rules; /* its lengths are filled in by the search */
  hmoe_on_tokens on_tokens;
  void *on_tokens_context;
} hmoe_search;

/* tokens [rows, start_length + max_new_tokens], of which the first start_length columns are given; the others are written on
 * success, those from *out_length on with pad_token. */
HMOE_MUST_USE hmoe_status hmoe_search_run(const hmoe_search *search, const hmoe_decoder *decoder, int64_t *tokens,
                                          int64_t *out_length);

/* ---- generate_settings.c ---- */

/* One of HMOE_SETTING_*, as hmoe_generation calls it. */
const char *hmoe_setting_name(uint32_t setting);
/* Whether a setting of a plan may have these values. */
bool hmoe_setting_valid(uint32_t setting, const int64_t *values, uint32_t count);
/* Fills in all of the search that options and the plan's settings decide; start_length is given. *out_start: the start token or
 * HMOE_NO_TOKEN. The search borrows token lists of both. */
HMOE_MUST_USE hmoe_status hmoe_settings_resolve(const hmoe_generation *options, const hmoe_plan *plan, int64_t vocab,
                                                hmoe_search *search, int64_t *out_start);

/* ---- generate_rules.c ---- */

bool hmoe_tokens_have(hmoe_tokens tokens, int64_t token);
/* Applies the rules to the logits of what follows row[0..length). False: no rule changes logits of any row of this length. scratch: [length]. */
bool hmoe_rules_apply(const hmoe_rules *rules, float *logits, int64_t vocab, const int64_t *row, int64_t length, float *scratch);
/* The same to some of them, [count], of these places in ascending order; no rule may raise any at this length. */
void hmoe_rules_apply_to(const hmoe_rules *rules, float *logits, const int32_t *places, int64_t count, const int64_t *row,
                         int64_t length, float *scratch);
/* How many logits of a row of this length the rules lower, at most; others they leave. -1: they raise or set some. */
int64_t hmoe_rules_lowered(const hmoe_rules *rules, int64_t length);

/* ---- generate_logits.c ---- */

/* NaN becomes -inf. Returns the largest; -inf: there is nothing to choose from. */
float hmoe_logits_clean(float *logits, int64_t count);
/* No element may be NaN, here and below. */
float hmoe_logits_largest(const float *logits, int64_t count);
/* The first element that equals `largest`. */
int64_t hmoe_logits_find(const float *logits, int64_t count, float largest);
/* logits[i] = log(softmax(logits))[i], in f32. largest: theirs, above -inf. */
void hmoe_logits_log_softmax(float *logits, int64_t count, float largest);
/* logits[i] += sum */
void hmoe_logits_add(float *logits, int64_t count, float sum);

/* Memory of the functions below, for rows of `count`; one call at a time uses it. */
uint64_t hmoe_logits_scratch_bytes(int64_t count);

typedef struct hmoe_candidate {
  float score;
  int64_t index;
} hmoe_candidate;
/* The k largest, k <= count, in falling order, the lower index first among equal ones. Linear in count, plus k * k. */
void hmoe_logits_best(const float *scores, int64_t count, int64_t k, void *scratch, hmoe_candidate *out_best);

/* A token drawn by `unit` in [0, 1) from softmax(logits / temperature), of which stay: the top_k largest and all that equal the
 * least of them, but for -inf (0: all), of those the fewest largest whose probabilities reach top_p, lower ones first among equals, of those the ones at
 * least min_p times as likely as the likeliest. Overwrites logits. largest: theirs, above -inf. */
int64_t hmoe_logits_sample(float *logits, int64_t count, float largest, const hmoe_search *search, double unit, void *scratch);

/* Number `step` of stream `row` of a seed, in [0, 1), 53 bits. The streams are SplitMix64 generators (Steele, Lea, Flood 2014),
 * seeded with the outputs of the one that is seeded with `seed`. */
double hmoe_random_unit(uint64_t seed, int64_t row, int64_t step);

#endif
