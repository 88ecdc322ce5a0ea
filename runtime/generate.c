/* The public calls of generation, and an open model as the decoder of a search.
 *
 * A model generates by its entries, found by name. Both have one dimension, the length; rows are the state's.
 *
 *   decode   appends tokens to the target rows; the logits are of what follows each row's last token.
 *            (decoder_input_ids, or input_ids without "prepare": i64 [rows, length]; attention_mask: i64 [rows, length], optional)
 *            -> logits f32 [rows, vocab]
 *   prepare  of encoder-decoders: encodes the prompt into the state.
 *            (input_ids i64 [source rows, length]; attention_mask i64 [source rows, length], optional) -> nothing */
#include "generate_internal.h"

#include <string.h>

enum { GENERATE_INPUTS = 2, DTYPE_F32 = 0, DTYPE_I64 = 2 }; /* dtypes of hmoe_plan_tensor */

/* An entry as generation uses it: which of its inputs are ids and mask. */
typedef struct generate_entry {
  uint32_t number;
  uint32_t inputs;
  uint32_t ids, mask; /* inputs; mask HMOE_NONE: it has none */
} generate_entry;

typedef struct generator {
  hmoe_model *model;
  const hmoe_prompt *prompt;
  bool encodes; /* has "prepare" */
  generate_entry prepare, decode;
  int64_t vocab;
  hmoe_search search;
  hmoe_state *state;
  int64_t *mask; /* of the first step: the prompt's, a row for each target row; NULL: none, or past that step */
  uint64_t mask_bytes;
} generator;

/* ---- entries ---- */

static bool named(const hmoe_plan *plan, hmoe_plan_span name, const char *expected) {
  return name.count == strlen(expected) && !memcmp(HMOE_PLAN_ARRAY(plan, name, char), expected, name.count);
}

static hmoe_status find_entry(const hmoe_model *model, const char *name, const char *ids, generate_entry *out_entry) {
  uint32_t number = hmoe_model_entry(model, name);
  const hmoe_plan_entry *entry = &model->entries[number];
  const hmoe_plan_tensor *inputs = HMOE_PLAN_ARRAY(model->plan, entry->inputs, hmoe_plan_tensor);
  const hmoe_plan_dim *dims = HMOE_PLAN_ARRAY(model->plan, entry->dims, hmoe_plan_dim);
  *out_entry = (generate_entry){.number = number, .inputs = entry->inputs.count, .ids = HMOE_NONE, .mask = HMOE_NONE};

  uint32_t given_dims = 0;
  for (uint32_t i = 0; i < entry->dims.count; i++) given_dims += dims[i].kind == HMOE_DIM_INPUT;
  if (given_dims != 1)
    return hmoe_fail(HMOE_INCOMPATIBLE, "generate: entry %s: expected one dimension, the length, found %u", name, given_dims);
  if (entry->inputs.count > GENERATE_INPUTS)
    return hmoe_fail(HMOE_INCOMPATIBLE, "generate: entry %s: expected at most %d inputs, found %u", name, GENERATE_INPUTS,
                     entry->inputs.count);
  for (uint32_t i = 0; i < entry->inputs.count; i++) {
    if (named(model->plan, inputs[i].name, ids)) out_entry->ids = i;
    else if (named(model->plan, inputs[i].name, "attention_mask")) out_entry->mask = i;
    else
      return hmoe_fail(HMOE_INCOMPATIBLE, "generate: entry %s: expected inputs %s and attention_mask, found %.*s", name, ids,
                       (int)inputs[i].name.count, HMOE_PLAN_ARRAY(model->plan, inputs[i].name, char));
    if (inputs[i].dtype != DTYPE_I64)
      return hmoe_fail(HMOE_INCOMPATIBLE, "generate: entry %s: expected %.*s as i64", name, (int)inputs[i].name.count,
                       HMOE_PLAN_ARRAY(model->plan, inputs[i].name, char));
  }
  if (out_entry->ids == HMOE_NONE) return hmoe_fail(HMOE_INCOMPATIBLE, "generate: entry %s has no input %s", name, ids);
  if (out_entry->mask != HMOE_NONE && !inputs[out_entry->mask].optional)
    return hmoe_fail(HMOE_INCOMPATIBLE, "generate: entry %s: expected an optional attention_mask", name);
  return HMOE_OK;
}

static hmoe_status find_vocab(const hmoe_model *model, uint32_t number, int64_t *out_vocab) {
  const hmoe_plan_entry *entry = &model->entries[number];
  const hmoe_plan_tensor *logits = HMOE_PLAN_ARRAY(model->plan, entry->outputs, hmoe_plan_tensor);
  if (entry->outputs.count != 1 || !named(model->plan, logits->name, "logits") || logits->dtype != DTYPE_F32 || logits->rank != 2 ||
      logits->shape[logits->rank - 1] < 1)
    return hmoe_fail(HMOE_INCOMPATIBLE, "generate: entry decode: expected one output, logits f32 [rows, vocabulary]");
  *out_vocab = logits->shape[logits->rank - 1];
  if (*out_vocab > INT32_MAX)
    return hmoe_fail(HMOE_INCOMPATIBLE, "generate: a vocabulary of %lld is too large", (long long)*out_vocab);
  return HMOE_OK;
}

static hmoe_status find_entries(generator *g) {
  const hmoe_model *model = g->model;
  if (!hmoe_model_entry(model, "decode"))
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "generate: the model has no entry decode: it does not generate");
  g->encodes = hmoe_model_entry(model, "prepare") != 0;
  if (g->encodes) {
    HMOE_TRY(find_entry(model, "prepare", "input_ids", &g->prepare));
    if (model->entries[g->prepare.number].outputs.count)
      return hmoe_fail(HMOE_INCOMPATIBLE, "generate: entry prepare: expected no outputs");
  }
  HMOE_TRY(find_entry(model, "decode", g->encodes ? "decoder_input_ids" : "input_ids", &g->decode));
  return find_vocab(model, g->decode.number, &g->vocab);
}

/* ---- arguments ---- */

static hmoe_status check_beams(const generator *g) {
  int64_t beams = g->search.beams, most = INT32_MAX / g->vocab;
  if (beams > 1 && g->vocab < 2)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "generation.beams: a vocabulary of one token has no beams");
  if (beams > most)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "generation.beams: expected at most %lld, found %lld", (long long)most,
                     (long long)beams);
  return HMOE_OK;
}

static hmoe_status check_prompt(const hmoe_prompt *prompt) {
  hmoe_status bad = HMOE_INVALID_ARGUMENT;
  if (prompt->rows < 0 || prompt->length < 0)
    return hmoe_fail(bad, "generate: prompt: expected at least 0 rows and tokens, found %lld and %lld", (long long)prompt->rows,
                     (long long)prompt->length);
  if (prompt->rows && !prompt->length)
    return hmoe_fail(bad, "generate: prompt.input_ids: expected at least one token a row, found none");
  if (prompt->rows && !prompt->input_ids) return hmoe_fail(bad, "generate: prompt.input_ids is NULL");
  return HMOE_OK;
}

static hmoe_status check_sizes(const hmoe_prompt *prompt, const hmoe_search *search) {
  hmoe_status bad = HMOE_INVALID_ARGUMENT;
  if (prompt->rows > INT32_MAX / search->beams)
    return hmoe_fail(bad, "generate: prompt: %lld rows with %lld beams each are too many", (long long)prompt->rows,
                     (long long)search->beams);
  uint64_t columns = hmoe_add((uint64_t)search->start_length, (uint64_t)search->max_new_tokens);
  uint64_t targets = hmoe_max((uint64_t)(search->rows * search->beams), 1);
  if (hmoe_mul(hmoe_mul(targets, hmoe_max(columns, (uint64_t)prompt->length)), sizeof(int64_t)) > PTRDIFF_MAX)
    return hmoe_fail(bad, "generate: %lld rows of %lld tokens, and %lld new ones, are too many", (long long)prompt->rows,
                     (long long)prompt->length, (long long)search->max_new_tokens);
  return HMOE_OK;
}

/* All that can be said before anything runs. */
static hmoe_status generator_init(generator *g, const hmoe_model *model, const hmoe_prompt *prompt, const hmoe_generation *options,
                                  int64_t *out_start) {
  if (!model || !prompt || !options)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "generate: %s is NULL", !model ? "model" : !prompt ? "prompt" : "options");
  *g = (generator){.model = (hmoe_model *)model, .prompt = prompt};
  hmoe_generation read;
  HMOE_TRY(hmoe_structure_read("generation", "hmoe_generation", options, sizeof(hmoe_generation), &read));
  HMOE_TRY(find_entries(g));
  HMOE_TRY(check_prompt(prompt));
  g->search = (hmoe_search){.allocator = &g->model->allocator,
                            .rows = prompt->rows,
                            .start_length = g->encodes ? 1 : prompt->length,
                            .on_tokens = read.on_tokens,
                            .on_tokens_context = read.on_tokens_context};
  HMOE_TRY(hmoe_settings_resolve(&read, model->plan, g->vocab, &g->search, out_start));
  if (g->encodes && *out_start == HMOE_NO_TOKEN)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "generation.start_token: the model has none, and needs one to begin with");
  HMOE_TRY(check_beams(g));
  HMOE_TRY(check_sizes(prompt, &g->search));
  if (prompt->attention_mask && (g->encodes ? g->prepare.mask : g->decode.mask) == HMOE_NONE)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "generate: prompt.attention_mask is set, and the model takes none");
  return HMOE_OK;
}

/* ---- a model as a decoder ---- */

/* pick: it is wanted instead of logits. */
static hmoe_status run_entry(generator *g, const generate_entry *entry, const int64_t *ids, const int64_t *mask, int64_t length,
                             float *logits, hmoe_pick *pick) {
  const void *inputs[GENERATE_INPUTS] = {NULL};
  void *outputs[1] = {logits};
  inputs[entry->ids] = ids;
  if (entry->mask != HMOE_NONE) inputs[entry->mask] = mask;
  if (!pick) return hmoe_model_run_state(g->model, entry->number, g->state, &length, inputs, outputs);
  return hmoe_model_run_pick(g->model, entry->number, g->state, &length, inputs, pick);
}

static hmoe_status copy_mask(generator *g, int64_t rows, int64_t beams) {
  const hmoe_prompt *prompt = g->prompt;
  if (g->encodes || !prompt->attention_mask) return HMOE_OK;
  uint64_t row_bytes = (uint64_t)prompt->length * sizeof *g->mask;
  void *memory = NULL;
  HMOE_TRY(hmoe_allocate(&g->model->allocator, hmoe_mul((uint64_t)rows, row_bytes), "the prompt's mask", &memory));
  g->mask = memory;
  g->mask_bytes = (uint64_t)rows * row_bytes;
  for (int64_t row = 0; row < rows; row++)
    memcpy(g->mask + row * prompt->length, prompt->attention_mask + row / beams * prompt->length, row_bytes);
  return HMOE_OK;
}

static void drop_mask(generator *g) {
  hmoe_release(&g->model->allocator, g->mask, g->mask_bytes);
  g->mask = NULL;
}

static hmoe_status decoder_start(void *context, int64_t rows, int64_t beams, int64_t capacity) {
  generator *g = context;
  const hmoe_prompt *prompt = g->prompt;
  hmoe_state_options options = {.struct_size = sizeof options,
                                .target_rows = rows,
                                .target_capacity = capacity,
                                .source_rows = g->encodes ? prompt->rows : 0,
                                .source_capacity = g->encodes ? prompt->length : 0};
  HMOE_TRY(hmoe_state_create(g->model, &options, &g->state));
  if (g->encodes) return run_entry(g, &g->prepare, prompt->input_ids, prompt->attention_mask, prompt->length, NULL, NULL);
  return copy_mask(g, rows, beams);
}

static hmoe_status decoder_step(void *context, const int64_t *tokens, int64_t width, float *logits) {
  generator *g = context;
  HMOE_TRY(run_entry(g, &g->decode, tokens, g->mask, width, logits, NULL));
  drop_mask(g); /* it was the prompt's */
  return HMOE_OK;
}

static hmoe_status run_pick(generator *g, const int64_t *tokens, int64_t width, hmoe_pick *pick) {
  HMOE_TRY(run_entry(g, &g->decode, tokens, g->mask, width, NULL, pick));
  drop_mask(g);
  return HMOE_OK;
}

static hmoe_status decoder_pick(void *context, const int64_t *tokens, int64_t width, int32_t *places) {
  generator *g = context;
  return run_pick(g, tokens, width, &(hmoe_pick){.rows = (uint64_t)g->prompt->rows, .words = places});
}

static hmoe_status decoder_best(void *context, const int64_t *tokens, int64_t width, const hmoe_best *best) {
  generator *g = context;
  return run_pick(g, tokens, width,
                  &(hmoe_pick){.rows = (uint64_t)g->prompt->rows,
                               .words = best->words,
                               .wanted = (uint64_t)best->wanted,
                               .room = (uint64_t)best->room,
                               .logits = best->logits});
}

static hmoe_status decoder_reorder(void *context, const int32_t *rows) {
  generator *g = context;
  return hmoe_state_reorder(g->state, rows);
}

/* ---- the calls ---- */

int64_t hmoe_generation_width(const hmoe_model *model, const hmoe_prompt *prompt, const hmoe_generation *options) {
  generator g;
  int64_t start;
  if (generator_init(&g, model, prompt, options, &start) != HMOE_OK) return -1;
  return g.search.start_length + g.search.max_new_tokens;
}

hmoe_status hmoe_model_generate(hmoe_model *model, const hmoe_prompt *prompt, const hmoe_generation *options, int64_t *out_tokens,
                                int64_t *out_length) {
  if (!out_length) return hmoe_fail(HMOE_INVALID_ARGUMENT, "generate: out_length is NULL");
  *out_length = 0;
  generator g;
  int64_t start;
  HMOE_TRY(generator_init(&g, model, prompt, options, &start));
  if (prompt->rows && !out_tokens) return hmoe_fail(HMOE_INVALID_ARGUMENT, "generate: out_tokens is NULL");

  int64_t width = g.search.start_length + g.search.max_new_tokens, length;
  for (int64_t row = 0; row < prompt->rows; row++) {
    if (g.encodes) out_tokens[row * width] = start;
    else memcpy(out_tokens + row * width, prompt->input_ids + row * prompt->length, (size_t)prompt->length * sizeof *out_tokens);
  }
  bool picks = hmoe_model_picks(model);
  hmoe_decoder decoder = {
      &g, g.vocab, decoder_start, decoder_step, decoder_reorder, picks ? decoder_pick : NULL, picks ? decoder_best : NULL};
  hmoe_status status = hmoe_search_run(&g.search, &decoder, out_tokens, &length);
  drop_mask(&g);
  hmoe_state_destroy(g.state);
  if (status == HMOE_OK) *out_length = length;
  return status;
}
