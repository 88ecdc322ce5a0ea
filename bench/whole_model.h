/* A compiled whole model behind functions without its name: what bench/models.py loads, and whole_model_memory.c calls.
 * MODEL is the model's name; its generated header is included from the command line: cc -DMODEL=NAME -include NAME.h ... */
#ifndef BENCH_WHOLE_MODEL_H
#define BENCH_WHOLE_MODEL_H

#include <hmoe/generate.h>
#include <stdint.h>

typedef struct bench_batch {
  int64_t rows, length, target;     /* target: tokens of decoder_input_ids a row */
  const int64_t *input_ids;         /* [rows, length] */
  const int64_t *attention_mask;    /* [rows, length] */
  const int64_t *decoder_input_ids; /* [rows, target] */
} bench_batch;

/* options as those of hmoe_model_open. */
hmoe_status bench_model_open(const char *path, const hmoe_options *options, hmoe_model **out_model);
/* logits [rows, target, vocab], encoder_hidden [rows, length, d_model] */
hmoe_status bench_model_forward(hmoe_model *model, const bench_batch *batch, float *logits, float *encoder_hidden);
/* Greedy, past end tokens, so that all runs do the same work: tokens [rows, 1 + new_tokens]. */
hmoe_status bench_model_generate(hmoe_model *model, const bench_batch *batch, int64_t new_tokens, int64_t *tokens);
void bench_model_close(hmoe_model *model);

#endif
