/* Generation: tokens out of models that can decode incrementally (decoders, encoder-decoders).
 *
 *   hmoe_prompt prompt = {.rows = 1, .length = n, .input_ids = ids};
 *   hmoe_generation options = {.struct_size = sizeof options, .max_new_tokens = 20};
 *   int64_t tokens[64], length;
 *   hmoe_status status = hmoe_model_generate(model, &prompt, &options, tokens, &length);
 *
 * A decoder continues its prompt: a row of the result is the prompt's row, then what was generated. An encoder-decoder encodes its
 * prompt: a row of the result is the start token, then what was generated. A row that has generated the end token is finished and
 * is filled up with the pad token; when all rows are finished, or max_new_tokens were generated, generation ends.
 *
 * Greedy: the token of the largest logit, the lowest of equal ones; NaN is never taken.
 *
 * Beams: `beams` hypotheses a row, as in Hugging Face transformers 4.30 with early_stopping=False. A hypothesis is ranked by the
 * sum of its tokens' log-probabilities, the end token's among them, / (length ^ length_penalty). Its length is that of its row of
 * the result, start token or prompt (with its padding) counted, the end token not. A row is done when it has `beams` finished
 * hypotheses and the best sum of a continuation / (the length with one more token ^ length_penalty) is not above the least of them;
 * hypotheses that max_new_tokens cuts off are ranked with the finished ones. The best of a row is its result.
 *
 * Sampling: from softmax(logits / temperature), of which stay the top_k largest (and all that equal the least of these), and of
 * those the fewest, largest first, whose probabilities reach top_p. Equal seeds give equal tokens on every machine that computes
 * equal logits. Row i draws from stream i of the seed: its tokens do not depend on the number of rows or on the others.
 *
 * no_repeat_ngram bans tokens that would repeat an n-gram of the row, start token or prompt (with its padding) and end token
 * included; where all tokens are banned the lowest is taken. With beams, bans come after the log-probabilities, which they leave as
 * they are.
 *
 * Errors, threads and memory as in <hmoe/runtime.h>: calls on one model may run on several threads at once; a call allocates its
 * state and logits from the model's allocator and releases them. HMOE_INVALID_ARGUMENT for a model without an entry "decode";
 * HMOE_INTERNAL when all logits of a row are NaN or -inf. */
#ifndef HMOE_GENERATE_H
#define HMOE_GENERATE_H

#include <hmoe/runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HMOE_TOKEN_DEFAULT INT64_MIN /* in place of a token: what the model says */
#define HMOE_TOKEN_NONE (-1)

typedef struct hmoe_prompt {
  int64_t rows, length; /* 0 rows: nothing is generated */
  const int64_t *input_ids; /* [rows, length] */
  const int64_t *attention_mask; /* [rows, length]: 1 token, 0 padding; NULL: all tokens. Decoders: padded on the left, as a rule */
} hmoe_prompt;

/* Called after every step of greedy generation or sampling with the token of each row (pad_token for finished rows); with beams at
 * the end, for each step of the result. `step` counts from 0. Returns 0 to go on; anything else ends generation (with beams: the
 * calls), with HMOE_OK. */
typedef int (*hmoe_on_tokens)(void *context, int64_t step, const int64_t *tokens, int64_t rows);

/* Zero-initialise, set struct_size and max_new_tokens; 0 means the default for every other field. */
typedef struct hmoe_generation {
  size_t struct_size;
  int64_t max_new_tokens; /* at least 0 */
  uint32_t beams; /* 0, 1: no beam search */
  uint32_t no_repeat_ngram; /* 0: n-grams may repeat */
  float length_penalty; /* with beams; 0: 1.0. HMOE_NO_LENGTH_PENALTY: exponent 0 */
  uint32_t sample; /* 1: sampling; not with beams. The four below are for it alone */
  float temperature; /* 0: 1.0 */
  uint32_t top_k; /* 0: all */
  float top_p; /* 0: 1.0 */
  uint64_t seed;
  uint32_t set_tokens; /* 1: the three below count; 0: they are the model's */
  int64_t start_token, end_token, pad_token; /* HMOE_TOKEN_DEFAULT: the model's; HMOE_TOKEN_NONE: none */
  hmoe_on_tokens on_tokens; /* NULL: none; called on the calling thread */
  void *on_tokens_context;
} hmoe_generation;
#define HMOE_NO_LENGTH_PENALTY (-1000.0f)

/* Columns of out_tokens: prompt (or start token) and max_new_tokens. -1 if the model does not generate, or arguments are invalid: a
 * failure like others, with its message. */
HMOE_API int64_t hmoe_generation_width(const hmoe_model *model, const hmoe_prompt *prompt, const hmoe_generation *options);

/* out_tokens [rows, hmoe_generation_width]; *out_length: columns that were filled in, the rest is pad tokens (0 if there is none).
 * On failure out_tokens may be written to, and *out_length is 0. */
HMOE_MUST_USE HMOE_API hmoe_status hmoe_model_generate(hmoe_model *model, const hmoe_prompt *prompt, const hmoe_generation *options,
                                                       int64_t *out_tokens, int64_t *out_length);

#ifdef __cplusplus
}
#endif
#endif
