/* Generation: tokens out of models that can decode incrementally (decoders, encoder-decoders).
 *
 *   hmoe_prompt prompt = {.rows = 1, .length = n, .input_ids = ids};
 *   hmoe_generation options = {.struct_size = sizeof options, .max_new_tokens = 20};
 *   int64_t tokens[64], length;
 *   hmoe_status status = hmoe_model_generate(model, &prompt, &options, tokens, &length);
 *
 * A decoder continues its prompt: a row of the result is the prompt's row, then what was generated. An encoder-decoder encodes its
 * prompt: a row of the result is the start token, then what was generated. A row that has generated an end token is finished and
 * is filled up with the pad token; when all rows are finished, or as many tokens were generated as may be, generation ends.
 *
 * What the caller leaves at 0 is what the model says (a checkpoint's generation_config.json, the "generation" of a spec), and where that
 * says nothing, what stands at the field below. A caller that asks for beams gets no sampling whatever the model says, and the other
 * way round; of a model that says both, beams.
 *
 * Greedy: the token of the largest logit, the lowest of equal ones; NaN is never taken.
 *
 * Beams: `beams` hypotheses a row, as in Hugging Face transformers 4.30. A hypothesis is ranked by the
 * sum of its tokens' log-probabilities, the end token's among them, / (length ^ length_penalty). Its length is that of its row of
 * the result, start token or prompt (with its padding) counted, the end token not. A row is done when it has `beams` finished
 * hypotheses and early_stopping says that no better one is to be expected; hypotheses that the most tokens cut off are ranked with the
 * finished ones. The best of a row is its result.
 *
 * Sampling: from softmax(logits / temperature), of which stay the top_k largest (and all that equal the least of these), of
 * those the fewest, largest first, whose probabilities reach top_p, and of those the ones that are at least min_p times as likely as the
 * likeliest. Equal seeds give equal tokens on every machine that computes
 * equal logits. Row i draws from stream i of the seed: its tokens do not depend on the number of rows or on the others.
 *
 * The logits of a row are changed before a token is taken, in this order and by these rules, which are the library's (version 4.30; of
 * beams it is the log-probabilities that are changed, and they stay as they then are). A row is what it has so far, its start token or
 * its prompt (with its padding) included; banned is a logit of -inf; where all tokens are banned the lowest is taken.
 *
 *   repetition_penalty     the logit of each token that the row has: divided by it if above 0, else multiplied
 *   no_repeat_ngram        bans what would complete an n-gram that the row has
 *   bad_words              bans the last token of a word where the row ends with the others; words that are one end token do not count
 *   min_length, min_new_tokens   ban the end tokens while the row is shorter
 *   forced_bos_token       where the row is one token long: bans all others; its own logit is 0
 *   forced_eos_token       for the last token that may be generated: bans all but these, whose logits are 0
 *   suppress_tokens        banned always
 *   begin_suppress_tokens  banned for the first token generated; for the second, where forced_bos_token decides the first
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

#define HMOE_OFF                                                                                                                   \
  (-1) /* in place of an integer, and of min_p: none, whatever the model says; length_penalty: HMOE_NO_LENGTH_PENALTY */
#define HMOE_NO_LENGTH_PENALTY (-1000.0f)

/* Borrowed for the call. tokens NULL: what the model says; count 0: none, whatever it says. */
typedef struct hmoe_tokens {
  const int64_t *tokens;
  size_t count;
} hmoe_tokens;
#ifndef __cplusplus
/* HMOE_TOKENS(1, 2): these; they live as long as the block they stand in. */
#define HMOE_TOKENS(...) ((hmoe_tokens){(const int64_t[]){__VA_ARGS__}, sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)})
#define HMOE_NO_TOKENS ((hmoe_tokens){(const int64_t[]){0}, 0})
#endif
#define HMOE_WORD_END (-1) /* closes each word of bad_words */

enum {
  HMOE_STOP_BY_ESTIMATE =
      HMOE_OFF, /* the best open hypothesis, were its length the present one, would not be better than the worst finished */
  HMOE_STOP_EARLY = 1,              /* as soon as `beams` are finished */
  HMOE_STOP_NEVER = 2,              /* as by estimate, but with length_penalty above 0 were its length the largest there can be */
};

typedef struct hmoe_prompt {
  int64_t rows, length; /* 0 rows: nothing is generated */
  const int64_t *input_ids; /* [rows, length] */
  const int64_t *attention_mask; /* [rows, length]: 1 token, 0 padding; NULL: all tokens. Decoders: padded on the left, as a rule */
} hmoe_prompt;

/* Called after every step of greedy generation or sampling with the token of each row (pad_token for finished rows); with beams at
 * the end, for each step of the result. `step` counts from 0. Returns 0 to go on; anything else ends generation (with beams: the
 * calls), with HMOE_OK. */
typedef int (*hmoe_on_tokens)(void *context, int64_t step, const int64_t *tokens, int64_t rows);

/* Zero-initialise and set struct_size. */
typedef struct hmoe_generation {
  size_t struct_size;
  /* How many tokens: new ones, or the row's length (start token or prompt, with its padding, counted). The caller's max_new_tokens goes
   * before its max_length, that before the model's max_new_tokens, that before the model's max_length; one of them must be said. In the same
   * order the least; an end token is banned before. HMOE_OFF: none are generated; there is no least. */
  int64_t max_new_tokens, max_length, min_new_tokens, min_length;
  int64_t beams; /* 1: no beam search. For beams alone: early_stopping, length_penalty */
  int64_t early_stopping; /* HMOE_STOP_BY_ESTIMATE */
  int64_t no_repeat_ngram; /* n-grams may repeat */
  int64_t sample; /* 1: sampling. The caller's top_k, temperature, top_p or min_p say it too. No sampling */
  int64_t top_k; /* all */
  float length_penalty; /* 1 */
  float repetition_penalty; /* 1: none; above 0 */
  float temperature; /* 1; above 0 */
  float top_p; /* 1; above 0, at most 1 */
  float min_p; /* none; at most 1 */
  uint64_t seed; /* 0 */
  hmoe_tokens start_token; /* at most one: what an encoder-decoder begins with, which needs one. None */
  hmoe_tokens pad_token; /* at most one. The first end token, or 0 */
  hmoe_tokens forced_bos_token; /* at most one. None */
  hmoe_tokens end_token; /* any number; here and below: none */
  hmoe_tokens forced_eos_token, suppress_tokens, begin_suppress_tokens;
  hmoe_tokens bad_words; /* the tokens of each word, then HMOE_WORD_END */
  hmoe_on_tokens on_tokens; /* NULL: none; called on the calling thread */
  void *on_tokens_context;
} hmoe_generation;

/* Columns of out_tokens: prompt (or start token) and the most new tokens. -1 if the model does not generate, or arguments are invalid: a
 * failure like others, with its message. */
HMOE_API int64_t hmoe_generation_width(const hmoe_model *model, const hmoe_prompt *prompt, const hmoe_generation *options);

/* out_tokens [rows, hmoe_generation_width]; *out_length: columns that were filled in, the rest is pad tokens.
 * On failure out_tokens may be written to, and *out_length is 0. */
HMOE_MUST_USE HMOE_API hmoe_status hmoe_model_generate(hmoe_model *model, const hmoe_prompt *prompt, const hmoe_generation *options,
                                                       int64_t *out_tokens, int64_t *out_length);

#ifdef __cplusplus
}
#endif
#endif
