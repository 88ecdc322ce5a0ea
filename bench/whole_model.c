/* See whole_model.h: calls of the generated header. */
#include "whole_model.h"

#define JOIN_NAMES(name, verb) name##_##verb
#define JOIN(name, verb) JOIN_NAMES(name, verb)

typedef JOIN(MODEL, forward_args) forward_args;

hmoe_status bench_model_open(const char *path, const hmoe_options *options, hmoe_model **out_model) {
  return JOIN(MODEL, open)(path, options, (MODEL **)out_model);
}

hmoe_status bench_model_forward(hmoe_model *model, const bench_batch *batch, float *logits, float *encoder_hidden) {
  forward_args args = {
      .batch = batch->rows,
      .length = batch->length,
      .target = batch->target,
      .input_ids = batch->input_ids,
      .attention_mask = batch->attention_mask,
      .decoder_input_ids = batch->decoder_input_ids,
      .logits = logits,
      .encoder_hidden = encoder_hidden,
  };
  return JOIN(MODEL, forward)((MODEL *)model, &args);
}

hmoe_status bench_model_generate(hmoe_model *model, const bench_batch *batch, int64_t new_tokens, int64_t *tokens) {
  hmoe_prompt prompt = {
      .rows = batch->rows,
      .length = batch->length,
      .input_ids = batch->input_ids,
      .attention_mask = batch->attention_mask,
  };
  hmoe_generation options = {
      .struct_size = sizeof options,
      .max_new_tokens = new_tokens,
      .end_token = HMOE_NO_TOKENS,
  };
  int64_t length = 0;
  return JOIN(MODEL, generate)((MODEL *)model, &prompt, &options, tokens, &length);
}

void bench_model_close(hmoe_model *model) { JOIN(MODEL, close)((MODEL *)model); }
