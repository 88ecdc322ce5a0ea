/* What generation is made of.
 *
 *   generate.c         the public calls: options checked, and a model as a decoder
 *   generate_search.c  which tokens follow: greedy, sampling, beams; knows no model
 *   generate_logits.c  arithmetic on one row of logits: softmax, bans, selection, draws */
#ifndef HMOE_GENERATE_INTERNAL_H
#define HMOE_GENERATE_INTERNAL_H

#include <hmoe/generate.h>

#include "runtime_internal.h"

/* ---- generate_search.c ---- */

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
} hmoe_decoder;

/* hmoe_generation with defaults filled in, all of it checked. */
typedef struct hmoe_search {
  const hmoe_allocator *allocator;
  int64_t rows, start_length; /* at least 1 column to begin with */
  int64_t max_new_tokens;
  int64_t beams; /* at least 1; rows * beams fits an int32_t; with more than one, vocab is at least 2 */
  int64_t no_repeat_ngram; /* 0: none */
  double length_penalty;
  bool sample;
  float temperature; /* above 0 */
  int64_t top_k; /* 0: all */
  float top_p; /* in (0, 1] */
  uint64_t seed;
  int64_t end_token; /* HMOE_TOKEN_NONE: none */
  int64_t pad_token;
  hmoe_on_tokens on_tokens;
  void *on_tokens_context;
} hmoe_search;

/* tokens [rows, start_length + max_new_tokens], of which the first start_length columns are given; the others are written on
 * success, those from *out_length on with pad_token. */
HMOE_MUST_USE hmoe_status hmoe_search_run(const hmoe_search *search, const hmoe_decoder *decoder, int64_t *tokens,
                                          int64_t *out_length);

/* ---- generate_logits.c ---- */

/* NaN becomes -inf. Returns the largest; -inf: there is nothing to choose from. */
float hmoe_logits_clean(float *logits, int64_t count);
/* No element may be NaN, here and below. */
float hmoe_logits_largest(const float *logits, int64_t count);
/* The first element that equals `largest`. */
int64_t hmoe_logits_find(const float *logits, int64_t count, float largest);
/* Sets to -inf every token that would complete an n-gram that stands in row[0..length) already. */
void hmoe_logits_ban_ngrams(float *logits, int64_t vocab, const int64_t *row, int64_t length, int64_t ngram);
/* logits[i] = log(softmax(logits))[i] + sum, in f32. largest: theirs, above -inf. */
void hmoe_logits_log_softmax(float *logits, int64_t count, float largest, float sum);

/* Memory of the functions below, for rows of `count`; one call at a time uses it. */
uint64_t hmoe_logits_scratch_bytes(int64_t count);

typedef struct hmoe_candidate {
  float score;
  int64_t index;
} hmoe_candidate;
/* The k largest, k <= count, in falling order, the lower index first among equal ones. Linear in count, plus k * k. */
void hmoe_logits_best(const float *scores, int64_t count, int64_t k, void *scratch, hmoe_candidate *out_best);

/* A token drawn by `unit` in [0, 1) from softmax(logits / temperature), of which stay: the top_k largest and all that equal the
 * least of them (0: all), of those the fewest largest whose probabilities reach top_p, lower ones first among equals. Overwrites
 * logits. largest: theirs, above -inf. */
int64_t hmoe_logits_sample(float *logits, int64_t count, float largest, const hmoe_search *search, double unit, void *scratch);

/* Number `step` of stream `row` of a seed, in [0, 1), 53 bits. The streams are SplitMix64 generators (Steele, Lea, Flood 2014),
 * seeded with the outputs of the one that is seeded with `seed`. */
double hmoe_random_unit(uint64_t seed, int64_t row, int64_t step);

#endif
