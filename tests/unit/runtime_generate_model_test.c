/* Generation of models: which entries are run with what, options and prompts refused, memory. The model's entries and states are
 * stood in for: the linker gives generation's calls of these functions of <hmoe/runtime.h> to the __wrap_ ones here, which are on tables. */
#include "device.h"
#include "generate_fixture.h"

enum { VOCAB = 23, START = 2, END = 1, PAD = 0, ROWS = 3, LENGTH = 4 };

/* ---- the model: a plan with entries, and no steps ---- */

typedef struct toy_state {
  hmoe_model *model;
  hmoe_state_options options;
  table_decoder table;
  int64_t source_sum; /* of real tokens, so that the source matters */
} toy_state;

typedef struct toy {
  fixture_plan *plan;
  fixture_entry *prepare, *decode;
  hmoe_model model;
  counting memory;
} toy;

/* What was asked of the stand-ins since the last toy_create. */
static struct {
  bool encodes;
  hmoe_state_options state;
  int prepares, decodes, reorders;
  int fail_at; /* the call of the table that fails, of which the first is its start; 0: none */
  const int64_t *prompt_mask; /* expected of each row of the prompt; NULL: none */
  int64_t beams;
} seen;

static const hmoe_plan_tensor *plan_tensor(const hmoe_model *model, hmoe_plan_span list, uint32_t index) {
  return &HMOE_PLAN_ARRAY(model->plan, list, hmoe_plan_tensor)[index];
}

uint32_t __wrap_hmoe_model_entry(const hmoe_model *model, const char *name);
hmoe_status __wrap_hmoe_state_create(hmoe_model *model, const hmoe_state_options *options, hmoe_state **out_state);
void __wrap_hmoe_state_destroy(hmoe_state *state);
hmoe_status __wrap_hmoe_state_reorder(hmoe_state *state, const int32_t *rows);
hmoe_status __wrap_hmoe_model_run_state(hmoe_model *model, uint32_t entry, hmoe_state *state, const int64_t *dims,
                                        const void *const *inputs, void *const *outputs);

uint32_t __wrap_hmoe_model_entry(const hmoe_model *model, const char *name) {
  for (uint32_t i = 1; i < model->plan->entries.count; i++) {
    hmoe_plan_span span = model->entries[i].name;
    if (span.count == strlen(name) && !memcmp(HMOE_PLAN_ARRAY(model->plan, span, char), name, span.count)) return i;
  }
  return 0;
}

hmoe_status __wrap_hmoe_state_create(hmoe_model *model, const hmoe_state_options *options, hmoe_state **out_state) {
  *out_state = NULL;
  void *memory = NULL;
  HMOE_TRY(hmoe_allocate(&model->allocator, sizeof(toy_state), "a state", &memory));
  toy_state *state = memory;
  memset(state, 0, sizeof *state);
  state->model = model;
  state->options = seen.state = *options;
  state->table.oracle = (oracle){.vocab = VOCAB, .end_bias = -0.5f, .end_token = END};
  int64_t beams = seen.beams > 1 ? seen.beams : 1;
  state->table.fail_at = seen.fail_at;
  assert_ok(table_start(&state->table, options->target_rows, beams, options->target_capacity));
  *out_state = (hmoe_state *)state;
  return HMOE_OK;
}

void __wrap_hmoe_state_destroy(hmoe_state *state) {
  toy_state *toy = (toy_state *)state;
  if (toy) hmoe_release(&toy->model->allocator, toy, sizeof *toy);
}

hmoe_status __wrap_hmoe_state_reorder(hmoe_state *state, const int32_t *rows) {
  seen.reorders++;
  return table_reorder(&((toy_state *)state)->table, rows);
}

hmoe_status __wrap_hmoe_model_run_state(hmoe_model *model, uint32_t entry, hmoe_state *opaque, const int64_t *dims,
                                        const void *const *inputs, void *const *outputs) {
  toy_state *state = (toy_state *)opaque;
  uint32_t ids_at = 0, mask_at = HMOE_NONE;
  hmoe_plan_span list = model->entries[entry].inputs;
  for (uint32_t i = 0; i < list.count; i++) {
    const hmoe_plan_tensor *tensor = plan_tensor(model, list, i);
    if (tensor->name.count == strlen("attention_mask")) mask_at = i;
    else ids_at = i;
  }
  const int64_t *ids = inputs[ids_at], *mask = mask_at == HMOE_NONE ? NULL : inputs[mask_at];
  if (entry == hmoe_model_entry(model, "prepare")) {
    assert_int_equal(dims[0], state->options.source_capacity);
    assert_ptr_equal(mask, seen.prompt_mask);
    for (int64_t i = 0; i < state->options.source_rows * dims[0]; i++) state->source_sum += (mask ? mask[i] : 1) * (i + 1) * ids[i];
    state->table.oracle.seed = (uint64_t)state->source_sum;
    seen.prepares++;
    return HMOE_OK;
  }
  assert_int_equal(entry, hmoe_model_entry(model, "decode"));
  if (seen.encodes || seen.decodes || !seen.prompt_mask) {
    assert_null(mask);
  } else {
    for (int64_t row = 0; row < state->options.target_rows; row++)
      assert_memory_equal(mask + row * dims[0], seen.prompt_mask + row / state->table.beams * dims[0],
                          (size_t)dims[0] * sizeof *mask);
  }
  seen.decodes++;
  return table_step(&state->table, ids, dims[0], outputs[0]);
}

static void finish_toy(toy *t) {
  plan_setting(t->plan, HMOE_SETTING_START_TOKEN, (const int64_t[]){START}, 1);
  plan_setting(t->plan, HMOE_SETTING_END_TOKEN, (const int64_t[]){END}, 1);
  plan_setting(t->plan, HMOE_SETTING_PAD_TOKEN, (const int64_t[]){PAD}, 1);
  plan_finish(t->plan, NULL, 0);
  t->model = (hmoe_model){.allocator = counting_allocator(&t->memory),
                          .plan = (const hmoe_plan *)(const void *)t->plan->bytes,
                          .device = &hmoe_cpu_device};
  t->model.entries = HMOE_PLAN_ARRAY(t->model.plan, t->model.plan->entries, hmoe_plan_entry);
}

/* `edit`, if any, breaks the plan before it is finished. */
static toy *toy_create(bool encodes, bool masks, void (*edit)(toy *t)) {
  toy *t = calloc(1, sizeof *t);
  t->plan = plan_create("toy");
  plan_entry(t->plan, "open");
  const hmoe_plan_tensor mask = {.name = plan_text(t->plan, "attention_mask"), .dtype = 2, .rank = 2, .optional = 1, .fill = 1};
  if (encodes) {
    t->prepare = plan_entry(t->plan, "prepare");
    plan_dim(t->prepare, HMOE_DIM_INPUT, 0, 0);
    t->prepare->inputs[0] = (hmoe_plan_tensor){.name = plan_text(t->plan, "input_ids"), .dtype = 2, .rank = 2};
    t->prepare->inputs[1] = mask;
    t->prepare->entry.inputs.count = masks ? 2 : 1;
  }
  t->decode = plan_entry(t->plan, "decode");
  plan_dim(t->decode, HMOE_DIM_INPUT, 0, 0);
  plan_dim(t->decode, HMOE_DIM_STATE, 0, 0);
  /* The mask first: inputs go by name. */
  const char *ids = encodes ? "decoder_input_ids" : "input_ids";
  uint32_t at = masks && !encodes ? 1 : 0;
  t->decode->inputs[0] = mask;
  t->decode->inputs[at] = (hmoe_plan_tensor){.name = plan_text(t->plan, ids), .dtype = 2, .rank = 2};
  t->decode->entry.inputs.count = at + 1;
  t->decode->outputs[0] = (hmoe_plan_tensor){.name = plan_text(t->plan, "logits"), .dtype = 0, .rank = 2, .shape = {-2, VOCAB}};
  t->decode->entry.outputs.count = 1;
  if (edit) edit(t);
  finish_toy(t);
  memset(&seen, 0, sizeof seen);
  seen.encodes = encodes;
  return t;
}

static void toy_destroy(toy *t) {
  assert_int_equal(t->memory.live, 0);
  assert_int_equal(t->memory.bytes, 0);
  free(t->plan);
  free(t);
}

static const int64_t prompt_ids[ROWS * LENGTH] = {5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
static const int64_t prompt_mask[ROWS * LENGTH] = {1, 1, 1, 1, 0, 0, 1, 1, 0, 1, 1, 1};

static hmoe_prompt make_prompt(bool masked) {
  return (hmoe_prompt){.rows = ROWS, .length = LENGTH, .input_ids = prompt_ids, .attention_mask = masked ? prompt_mask : NULL};
}

static hmoe_generation make_options(int64_t max_new_tokens) {
  return (hmoe_generation){.struct_size = sizeof(hmoe_generation), .max_new_tokens = max_new_tokens};
}

/* The same search on a table alone. */
static void expect(const hmoe_generation *o, bool encodes, bool masked, int64_t *tokens, int64_t *out_length) {
  int64_t start = encodes ? 1 : LENGTH, width = start + o->max_new_tokens, sum = 0;
  table_decoder *d = calloc(1, sizeof *d);
  d->oracle = (oracle){.vocab = VOCAB, .end_bias = -0.5f, .end_token = END};
  for (int64_t i = 0; i < ROWS * LENGTH; i++) sum += (masked ? prompt_mask[i] : 1) * (i + 1) * prompt_ids[i];
  if (encodes) d->oracle.seed = (uint64_t)sum;
  for (int64_t row = 0; row < ROWS; row++)
    for (int64_t i = 0; i < start; i++) tokens[row * width + i] = encodes ? START : prompt_ids[row * LENGTH + i];
  hmoe_allocator allocator = fixture_allocator;
  hmoe_search search = {.allocator = &allocator,
                        .rows = ROWS,
                        .start_length = start,
                        .max_new_tokens = o->max_new_tokens,
                        .beams = o->beams ? o->beams : 1,
                        .length_penalty = 1,
                        .sample = o->sample == 1,
                        .temperature = 1,
                        .top_p = 1,
                        .seed = o->seed,
                        .pad_token = PAD,
                        .rules = {.repetition_penalty = 1, .forced_bos_token = HMOE_NO_TOKEN, .end_token = HMOE_TOKENS(END)}};
  hmoe_decoder decoder = table_decoder_of(d);
  assert_ok(hmoe_search_run(&search, &decoder, tokens, out_length));
  free(d);
}

static void test_generate(void **state) {
  (void)state;
  for (int mode = 0; mode < 24; mode++) {
    bool encodes = mode & 1, masks = mode & 2, masked = masks && mode & 4;
    hmoe_generation options = make_options(9);
    options.beams = mode / 8 == 1 ? 3 : 0;
    options.sample = mode / 8 == 2;
    options.seed = 3;
    toy *t = toy_create(encodes, masks, NULL);
    hmoe_prompt prompt = make_prompt(masked);
    seen.prompt_mask = prompt.attention_mask;
    seen.beams = options.beams;
    int64_t width = hmoe_generation_width(&t->model, &prompt, &options), start = encodes ? 1 : LENGTH;
    assert_int_equal(width, start + 9);
    int64_t tokens[ROWS * (LENGTH + 9)], expected[ROWS * (LENGTH + 9)], length, expected_length;
    assert_ok(hmoe_model_generate(&t->model, &prompt, &options, tokens, &length));
    expect(&options, encodes, masked, expected, &expected_length);
    assert_int_equal(length, expected_length);
    assert_memory_equal(tokens, expected, (size_t)(ROWS * width) * sizeof *tokens);
    int64_t beams = options.beams ? options.beams : 1;
    assert_int_equal(seen.state.target_rows, ROWS * beams);
    assert_int_equal(seen.state.target_capacity, start + 8);
    assert_int_equal(seen.state.source_rows, encodes ? ROWS : 0);
    assert_int_equal(seen.state.source_capacity, encodes ? LENGTH : 0);
    assert_int_equal(seen.prepares, encodes);
    assert_true(beams == 1 || seen.reorders > 0);
    toy_destroy(t);
  }
}

static void test_nothing_to_generate(void **state) {
  (void)state;
  for (int encodes = 0; encodes < 2; encodes++) {
    toy *t = toy_create(encodes, true, NULL);
    hmoe_prompt prompt = make_prompt(true);
    hmoe_generation options = make_options(HMOE_OFF);
    int64_t tokens[ROWS * LENGTH], length;
    assert_ok(hmoe_model_generate(&t->model, &prompt, &options, tokens, &length));
    assert_int_equal(length, encodes ? 1 : LENGTH);
    assert_int_equal(hmoe_generation_width(&t->model, &prompt, &options), length);
    if (encodes)
      for (int row = 0; row < ROWS; row++) assert_int_equal(tokens[row], START);
    else assert_memory_equal(tokens, prompt_ids, sizeof tokens);
    options.max_new_tokens = 5;
    assert_ok(hmoe_model_generate(&t->model, &(hmoe_prompt){.length = encodes ? 0 : LENGTH}, &options, NULL, &length));
    assert_int_equal(t->memory.calls, 0);
    toy_destroy(t);
  }
}

/* Tokens of the options in place of the model's, and a model without any. */
static void test_tokens(void **state) {
  (void)state;
  toy *t = toy_create(true, true, NULL);
  hmoe_prompt prompt = make_prompt(false);
  hmoe_generation options = make_options(30);
  options.start_token = HMOE_TOKENS(7);
  options.pad_token = HMOE_TOKENS(9);
  int64_t tokens[ROWS * 31], length;
  assert_ok(hmoe_model_generate(&t->model, &prompt, &options, tokens, &length));
  for (int row = 0; row < ROWS; row++) {
    const int64_t *one = tokens + row * 31;
    assert_int_equal(one[0], 7);
    bool ended = false;
    for (int i = 1; i < 31; i++) {
      if (ended) assert_int_equal(one[i], 9);
      ended |= one[i] == END;
    }
  }
  memset(&seen.state, 0, sizeof seen.state);
  options.end_token = HMOE_NO_TOKENS;
  assert_ok(hmoe_model_generate(&t->model, &prompt, &options, tokens, &length));
  assert_int_equal(length, 31);
  options.end_token = HMOE_TOKENS(4, END);
  options.pad_token = HMOE_NO_TOKENS;
  assert_ok(hmoe_model_generate(&t->model, &prompt, &options, tokens, &length));
  assert_true(length < 31);
  assert_int_equal(tokens[30], 4); /* the first end token */
  toy_destroy(t);
}

/* Callers that were built against a shorter or a longer structure. */
static void test_struct_size(void **state) {
  (void)state;
  toy *t = toy_create(false, true, NULL);
  hmoe_prompt prompt = make_prompt(false);
  struct {
    hmoe_generation known;
    uint64_t later;
  } longer = {.known = make_options(3)};
  longer.known.struct_size = sizeof longer;
  assert_int_equal(hmoe_generation_width(&t->model, &prompt, &longer.known), LENGTH + 3);
  longer.later = 1;
  assert_int_equal(hmoe_generation_width(&t->model, &prompt, &longer.known), -1);
  assert_non_null(strstr(hmoe_last_error(), "that hmoe " HMOE_VERSION " does not know"));
  hmoe_generation shorter = make_options(3);
  shorter.struct_size = offsetof(hmoe_generation, beams);
  shorter.beams = INT64_MAX;
  assert_int_equal(hmoe_generation_width(&t->model, &prompt, &shorter), LENGTH + 3);
  toy_destroy(t);
}

/* ---- refused ---- */

typedef struct arguments {
  hmoe_prompt prompt;
  hmoe_generation options;
} arguments;

/* HMOE_TOKENS in memory that outlives the statement. */
static int64_t kept_tokens[4];
#define TOKENS(...)                                                                                                                \
  (hmoe_tokens) {                                                                                                                  \
    memcpy(kept_tokens, (int64_t[]){__VA_ARGS__}, sizeof((int64_t[]){__VA_ARGS__})),                                               \
        sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)                                                                         \
  }
#define BAD(name, statement)                                                                                                       \
  static void name(arguments *a) { statement; }
BAD(bad_size_zero, a->options.struct_size = 0)
BAD(bad_size_large, a->options.struct_size = 1 << 20)
BAD(bad_new_tokens, a->options.max_new_tokens = -2)
BAD(bad_new_tokens_unsaid, a->options.max_new_tokens = 0)
BAD(bad_new_tokens_overflow, a->options.max_new_tokens = INT64_MAX)
BAD(bad_max_length, (a->options.max_new_tokens = 0, a->options.max_length = 1))
BAD(bad_min_new_tokens, a->options.min_new_tokens = 9)
BAD(bad_min_length, a->options.min_length = 10)
BAD(bad_min_overflow, a->options.min_new_tokens = INT64_MAX)
BAD(bad_sample_value, a->options.sample = 2)
BAD(bad_sample_beams, (a->options.sample = 1, a->options.beams = 2))
BAD(bad_top_k_beams, (a->options.top_k = 3, a->options.beams = 2))
BAD(bad_greedy_temperature, (a->options.temperature = 0.5f, a->options.sample = HMOE_OFF))
BAD(bad_beams, a->options.beams = UINT32_MAX)
BAD(bad_beams_negative, a->options.beams = -2)
BAD(bad_early_stopping, (a->options.beams = 2, a->options.early_stopping = 3))
BAD(bad_early_stopping_alone, a->options.early_stopping = HMOE_STOP_NEVER)
BAD(bad_penalty_alone, a->options.length_penalty = HMOE_NO_LENGTH_PENALTY)
BAD(bad_penalty, (a->options.beams = 2, a->options.length_penalty = NAN))
BAD(bad_repetition, a->options.repetition_penalty = -1)
BAD(bad_temperature, a->options.temperature = -0.5f)
BAD(bad_temperature_nan, a->options.temperature = NAN)
BAD(bad_temperature_infinite, a->options.temperature = INFINITY)
BAD(bad_top_p, a->options.top_p = 1.5f)
BAD(bad_top_p_negative, a->options.top_p = -0.1f)
BAD(bad_top_p_nan, a->options.top_p = NAN)
BAD(bad_min_p, a->options.min_p = -0.5f)
BAD(bad_start_none, a->options.start_token = HMOE_NO_TOKENS)
BAD(bad_start, a->options.start_token = TOKENS(VOCAB))
BAD(bad_starts, a->options.start_token = TOKENS(1, 2))
BAD(bad_end, a->options.end_token = TOKENS(0, VOCAB + 5))
BAD(bad_pad, a->options.pad_token = TOKENS(-2))
BAD(bad_null_tokens, a->options.suppress_tokens.count = 2)
BAD(bad_word_open, a->options.bad_words = TOKENS(1, HMOE_WORD_END, 2))
BAD(bad_word_empty, a->options.bad_words = TOKENS(HMOE_WORD_END))
BAD(bad_word_token, a->options.bad_words = TOKENS(-3, HMOE_WORD_END))
BAD(bad_rows, a->prompt.rows = -1)
BAD(bad_many_rows, (a->prompt.rows = INT32_MAX, a->options.beams = 2))
BAD(bad_length, a->prompt.length = 0)
BAD(bad_length_overflow, a->prompt.length = INT64_MAX)
BAD(bad_ids, a->prompt.input_ids = NULL)

static void test_bad_arguments(void **state) {
  (void)state;
  static const struct {
    void (*break_it)(arguments *a);
    const char *message;
  } cases[] = {
      {bad_size_zero, "generation.struct_size: expected sizeof(hmoe_generation)..."},
      {bad_size_large, "generation.struct_size: expected sizeof(hmoe_generation)..."},
      {bad_new_tokens, "generation.max_new_tokens: expected at least 0, or HMOE_OFF, found -2"},
      {bad_new_tokens_unsaid, "generation.max_new_tokens: expected how many tokens to generate at most; the model does not say"},
      {bad_new_tokens_overflow, "are too many"},
      {bad_max_length, "generation.max_length: 1 leaves no token to generate: the row begins with 1"},
      {bad_min_new_tokens, "generation.min_new_tokens: 9 is more than there may be: 8 new tokens, a length of 9"},
      {bad_min_length, "generation.min_length: 10 is more than there may be: 8 new tokens, a length of 9"},
      {bad_min_overflow, "generation.min_new_tokens: 9223372036854775807 is more than there may be: 8 new tokens, a length of 9"},
      {bad_sample_value, "generation.sample: expected at most 1, found 2"},
      {bad_sample_beams, "beams and sample do not go together"},
      {bad_top_k_beams, "beams and top_k, which is for sampling, do not go together"},
      {bad_greedy_temperature, "generation.temperature: it is for sampling, and generation.sample says that there is none"},
      {bad_beams, "generation.beams: expected at most 93368854, found 4294967295"},
      {bad_beams_negative, "generation.beams: expected at least 0, or HMOE_OFF, found -2"},
      {bad_early_stopping, "generation.early_stopping: expected at most 2, found 3"},
      {bad_early_stopping_alone, "generation.early_stopping: it is for beams, and there are none"},
      {bad_penalty_alone, "generation.length_penalty: it is for beams, and there are none"},
      {bad_penalty, "generation.length_penalty: expected a number, found nan"},
      {bad_repetition, "generation.repetition_penalty: expected more than 0, found -1"},
      {bad_temperature, "generation.temperature: expected more than 0, found -0.5"},
      {bad_temperature_nan, "generation.temperature: expected more than 0, found nan"},
      {bad_temperature_infinite, "generation.temperature: expected more than 0, found inf"},
      {bad_top_p, "generation.top_p: expected more than 0 and at most 1, found 1.5"},
      {bad_top_p_negative, "generation.top_p: expected more than 0 and at most 1, found -0.1"},
      {bad_top_p_nan, "generation.top_p: expected more than 0 and at most 1, found nan"},
      {bad_min_p, "generation.min_p: expected HMOE_OFF, or at least 0 and at most 1, found -0.5"},
      {bad_start_none, "generation.start_token: the model has none, and needs one to begin with"},
      {bad_start, "generation.start_token: expected tokens below 23, found 23"},
      {bad_starts, "generation.start_token: expected one token at most, found 2"},
      {bad_end, "generation.end_token: expected tokens below 23, found 28"},
      {bad_pad, "generation.pad_token: expected tokens below 23, found -2"},
      {bad_null_tokens, "generation.suppress_tokens: 2 tokens at NULL"},
      {bad_word_open, "generation.bad_words: expected HMOE_WORD_END behind the last word"},
      {bad_word_empty, "generation.bad_words: a word has no tokens"},
      {bad_word_token, "generation.bad_words: expected tokens below 23, found -3"},
      {bad_rows, "prompt: expected at least 0 rows and tokens, found -1 and 4"},
      {bad_many_rows, "prompt: 2147483647 rows with 2 beams each are too many"},
      {bad_length, "prompt.input_ids: expected at least one token a row, found none"},
      {bad_length_overflow, "are too many"},
      {bad_ids, "prompt.input_ids is NULL"},
  };
  toy *t = toy_create(true, true, NULL);
  int64_t tokens[ROWS * 9], length;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    arguments a = {make_prompt(true), make_options(8)};
    cases[i].break_it(&a);
    length = -1;
    assert_fails(hmoe_model_generate(&t->model, &a.prompt, &a.options, tokens, &length), HMOE_INVALID_ARGUMENT, cases[i].message);
    assert_int_equal(length, 0);
    assert_int_equal(hmoe_generation_width(&t->model, &a.prompt, &a.options), -1);
  }
  arguments a = {make_prompt(true), make_options(8)};
  hmoe_status bad = HMOE_INVALID_ARGUMENT;
  assert_fails(hmoe_model_generate(NULL, &a.prompt, &a.options, tokens, &length), bad, "model is NULL");
  assert_fails(hmoe_model_generate(&t->model, NULL, &a.options, tokens, &length), bad, "prompt is NULL");
  assert_fails(hmoe_model_generate(&t->model, &a.prompt, NULL, tokens, &length), bad, "options is NULL");
  assert_fails(hmoe_model_generate(&t->model, &a.prompt, &a.options, NULL, &length), bad, "out_tokens is NULL");
  assert_fails(hmoe_model_generate(&t->model, &a.prompt, &a.options, tokens, NULL), bad, "out_length is NULL");
  assert_int_equal(t->memory.calls, 0);
  toy_destroy(t);

  t = toy_create(false, false, NULL);
  assert_fails(hmoe_model_generate(&t->model, &a.prompt, &a.options, tokens, &length), bad,
               "prompt.attention_mask is set, and the model takes none");
  toy_destroy(t);
}

/* ---- what values there may be, of models and of callers ---- */

static int64_t bits_of(double number) {
  int64_t bits;
  memcpy(&bits, &number, sizeof bits);
  return bits;
}

static void expect_valid(uint32_t setting, uint32_t count, const int64_t *values, bool valid) {
  if (hmoe_setting_valid(setting, values, count) != valid)
    fail_msg("%s: %u values, the first %lld: expected %d", hmoe_setting_name(setting), count, count ? (long long)values[0] : 0,
             valid);
}
#define VALUES(...)                                                                                                                \
  (uint32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]) { __VA_ARGS__ }

static void test_values_of_models(void **state) {
  (void)state;
  const int64_t most = INT32_MAX, end = HMOE_WORD_END;
  for (uint32_t s = HMOE_SETTING_START_TOKEN; s <= HMOE_SETTING_BAD_WORDS; s++) {
    bool one = s <= HMOE_SETTING_FORCED_BOS_TOKEN, words = s == HMOE_SETTING_BAD_WORDS;
    expect_valid(s, 0, NULL, true);
    expect_valid(s, VALUES(0), !words);
    expect_valid(s, VALUES(most), !words);
    expect_valid(s, VALUES(most + 1), false);
    expect_valid(s, VALUES(-1), false);
    expect_valid(s, VALUES(end), false);
    expect_valid(s, VALUES(1, 2), !one && !words);
    expect_valid(s, VALUES(1, most + 1), false);
    expect_valid(s, VALUES(1, end), words);
    expect_valid(s, VALUES(0, most, end), words);
    expect_valid(s, VALUES(1, end, 2, 3, end), words);
    expect_valid(s, VALUES(1, end, end), false);
    expect_valid(s, VALUES(1, end, 2), false);
    expect_valid(s, VALUES(end, 1, end), false);
    expect_valid(s, VALUES(-7, end), false);
    expect_valid(s, VALUES(most + 1, end), false);
  }
  for (uint32_t s = HMOE_SETTING_MAX_NEW_TOKENS; s <= HMOE_SETTING_TOP_K; s++) {
    int64_t largest = s == HMOE_SETTING_EARLY_STOPPING ? 2 : s == HMOE_SETTING_SAMPLE ? 1 : INT64_MAX;
    expect_valid(s, 0, NULL, false);
    expect_valid(s, VALUES(0), true);
    expect_valid(s, VALUES(-1), false);
    expect_valid(s, VALUES(largest), true);
    if (largest < INT64_MAX) expect_valid(s, VALUES(largest + 1), false);
    expect_valid(s, VALUES(0, 0), false);
  }
  const double tiny = 1e-30, above_one = 1.0000002;
  static const struct {
    uint32_t setting;
    bool negative, zero, above_one;
  } numbers[] = {{HMOE_SETTING_LENGTH_PENALTY, true, true, true},
                 {HMOE_SETTING_REPETITION_PENALTY, false, false, true},
                 {HMOE_SETTING_TEMPERATURE, false, false, true},
                 {HMOE_SETTING_TOP_P, false, false, false},
                 {HMOE_SETTING_MIN_P, false, true, false}};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    uint32_t s = numbers[i].setting;
    expect_valid(s, 0, NULL, false);
    expect_valid(s, VALUES(bits_of(1), bits_of(1)), false);
    expect_valid(s, VALUES(bits_of(1)), true);
    expect_valid(s, VALUES(bits_of(tiny)), true);
    expect_valid(s, VALUES(bits_of(0)), numbers[i].zero);
    expect_valid(s, VALUES(bits_of(-tiny)), numbers[i].negative);
    expect_valid(s, VALUES(bits_of(-3.4e38)), numbers[i].negative);
    expect_valid(s, VALUES(bits_of(above_one)), numbers[i].above_one);
    expect_valid(s, VALUES(bits_of(3.4e38)), numbers[i].above_one);
    expect_valid(s, VALUES(bits_of(INFINITY)), false);
    expect_valid(s, VALUES(bits_of(-INFINITY)), false);
    expect_valid(s, VALUES(bits_of(NAN)), false);
  }
}

BAD(good_sample, a->options.sample = 1)
BAD(good_early_stopping, (a->options.beams = 2, a->options.early_stopping = HMOE_STOP_NEVER))
BAD(good_beams, a->options.beams = 93368854)
BAD(good_min_new_tokens, a->options.min_new_tokens = 8)
BAD(good_min_length, a->options.min_length = 9)
BAD(good_top_p, a->options.top_p = 1)
BAD(good_top_p_small, a->options.top_p = 1e-30f)
BAD(good_min_p, a->options.min_p = 1)
BAD(good_min_p_off, a->options.min_p = HMOE_OFF)
BAD(good_temperature, a->options.temperature = 3.4e38f)
BAD(good_repetition, a->options.repetition_penalty = 1e-30f)
BAD(good_penalty, (a->options.beams = 2, a->options.length_penalty = -3.4e38f))
BAD(good_no_penalty, (a->options.beams = 2, a->options.length_penalty = HMOE_NO_LENGTH_PENALTY))
BAD(good_start, a->options.start_token = TOKENS(VOCAB - 1))
BAD(good_ends, a->options.end_token = TOKENS(0, VOCAB - 1))
BAD(good_no_pad, a->options.pad_token = HMOE_NO_TOKENS)
BAD(good_words, a->options.bad_words = TOKENS(0, HMOE_WORD_END, VOCAB - 1, HMOE_WORD_END))
BAD(good_no_rows, (a->prompt.rows = 0, a->prompt.length = 0))
BAD(good_greedy, (a->options.sample = HMOE_OFF, a->options.beams = HMOE_OFF))
BAD(good_top_k, (a->options.top_k = INT64_MAX, a->options.beams = 1))

/* The last values before those that are refused. */
static void test_good_arguments(void **state) {
  (void)state;
  static void (*const cases[])(arguments *a) = {
      good_sample, good_early_stopping, good_beams,       good_min_new_tokens, good_min_length, good_top_p,      good_top_p_small,
      good_min_p,  good_min_p_off,      good_temperature, good_repetition,     good_penalty,    good_no_penalty, good_start,
      good_ends,   good_no_pad,         good_words,       good_no_rows,        good_greedy,     good_top_k};
  toy *t = toy_create(true, true, NULL);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    arguments a = {make_prompt(true), make_options(8)};
    cases[i](&a);
    if (hmoe_generation_width(&t->model, &a.prompt, &a.options) != 9) fail_msg("case %zu: %s", i, hmoe_last_error());
  }
  arguments a = {make_prompt(true), make_options(0)};
  a.options.max_length = 2;
  assert_int_equal(hmoe_generation_width(&t->model, &a.prompt, &a.options), 2);
  toy_destroy(t);
}

static void edit_one_token(toy *t) { t->decode->outputs[0].shape[1] = 1; }

static void test_one_token(void **state) {
  (void)state;
  toy *t = toy_create(true, true, edit_one_token);
  arguments a = {make_prompt(true), make_options(8)};
  a.options.start_token = TOKENS(0);
  assert_int_equal(hmoe_generation_width(&t->model, &a.prompt, &a.options), 9);
  a.options.beams = 2;
  assert_int_equal(hmoe_generation_width(&t->model, &a.prompt, &a.options), -1);
  assert_string_equal(hmoe_last_error(), "generation.beams: a vocabulary of one token has no beams");
  toy_destroy(t);
}

/* ---- models that do not generate as agreed ---- */

static void rename_entry(fixture_entry *entry, toy *t) { entry->entry.name = plan_text(t->plan, "other"); }
static void edit_no_decode(toy *t) { rename_entry(t->decode, t); }
static void edit_two_dims(toy *t) { plan_dim(t->decode, HMOE_DIM_INPUT, 0, 0); }
static void edit_inputs(toy *t) { t->decode->inputs[0].name = plan_text(t->plan, "tokens"); }
static void edit_no_ids(toy *t) { t->decode->entry.inputs.count = 0; }
static void edit_many_inputs(toy *t) { t->prepare->entry.inputs.count = 3; }
static void edit_dtype(toy *t) { t->prepare->inputs[0].dtype = 1; }
static void edit_mask(toy *t) { t->prepare->inputs[1].optional = 0; }
static void edit_outputs(toy *t) { t->decode->entry.outputs.count = 0; }
static void edit_vocab(toy *t) { t->decode->outputs[0].shape[1] = -1; }
static void edit_huge_vocab(toy *t) { t->decode->outputs[0].shape[1] = INT64_MAX; }
static void edit_small_vocab(toy *t) { t->decode->outputs[0].shape[1] = 2; }
static void edit_prepare(toy *t) { t->prepare->entry.outputs.count = 1; }

static void test_other_models(void **state) {
  (void)state;
  static const struct {
    void (*edit)(toy *t);
    hmoe_status status;
    const char *message;
  } cases[] = {
      {edit_no_decode, HMOE_INVALID_ARGUMENT, "the model has no entry decode: it does not generate"},
      {edit_two_dims, HMOE_INCOMPATIBLE, "entry decode: expected one dimension, the length, found 2"},
      {edit_inputs, HMOE_INCOMPATIBLE, "entry decode: expected inputs decoder_input_ids and attention_mask, found tokens"},
      {edit_no_ids, HMOE_INCOMPATIBLE, "entry decode has no input decoder_input_ids"},
      {edit_many_inputs, HMOE_INCOMPATIBLE, "entry prepare: expected at most 2 inputs, found 3"},
      {edit_dtype, HMOE_INCOMPATIBLE, "entry prepare: expected input_ids as i64"},
      {edit_mask, HMOE_INCOMPATIBLE, "entry prepare: expected an optional attention_mask"},
      {edit_outputs, HMOE_INCOMPATIBLE, "entry decode: expected one output, logits f32 [rows, vocabulary]"},
      {edit_vocab, HMOE_INCOMPATIBLE, "entry decode: expected one output, logits f32 [rows, vocabulary]"},
      {edit_huge_vocab, HMOE_INCOMPATIBLE, "a vocabulary of 9223372036854775807 is too large"},
      {edit_small_vocab, HMOE_INVALID_ARGUMENT, "generation.start_token: the model has none, and needs one to begin with"},
      {edit_prepare, HMOE_INCOMPATIBLE, "entry prepare: expected no outputs"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    toy *t = toy_create(true, true, cases[i].edit);
    arguments a = {make_prompt(true), make_options(8)};
    int64_t tokens[ROWS * 9], length;
    assert_fails(hmoe_model_generate(&t->model, &a.prompt, &a.options, tokens, &length), cases[i].status, cases[i].message);
    assert_int_equal(hmoe_generation_width(&t->model, &a.prompt, &a.options), -1);
    toy_destroy(t);
  }
}

/* ---- failures ---- */

/* What was taken is given back, the mask of the prompt too, which the first run needs. */
static void test_every_run_can_fail(void **state) {
  (void)state;
  for (int mode = 0; mode < 4; mode++)
    for (int run = 0; run < 3; run++) {
      toy *t = toy_create(mode & 1, true, NULL);
      arguments a = {make_prompt(true), make_options(6)};
      a.options.beams = mode & 2 ? 2 : 0;
      seen.prompt_mask = prompt_mask;
      seen.beams = a.options.beams;
      seen.fail_at = 2 + run;
      int64_t tokens[ROWS * (LENGTH + 6)], length = -1;
      assert_fails(hmoe_model_generate(&t->model, &a.prompt, &a.options, tokens, &length), HMOE_UNSUPPORTED, "fails");
      assert_int_equal(length, 0);
      toy_destroy(t);
    }
}

/* ---- memory ---- */

static void test_every_allocation_can_fail(void **state) {
  (void)state;
  for (int mode = 0; mode < 4; mode++) {
    bool done = false;
    int failures = 0;
    for (int n = 1; !done; n++) {
      toy *t = toy_create(mode & 1, true, NULL);
      arguments a = {make_prompt(true), make_options(6)};
      a.options.beams = mode & 2 ? 2 : 0;
      seen.prompt_mask = prompt_mask;
      seen.beams = a.options.beams;
      t->memory.fail_at = n;
      int64_t tokens[ROWS * (LENGTH + 6)], length = -1;
      hmoe_status status = hmoe_model_generate(&t->model, &a.prompt, &a.options, tokens, &length);
      done = status == HMOE_OK;
      if (!done) {
        assert_fails(status, HMOE_OUT_OF_MEMORY, "no memory for...");
        assert_int_equal(length, 0);
        failures++;
      }
      toy_destroy(t);
    }
    assert_int_equal(failures, mode & 1 ? 2 : 3); /* the search's, the state's, and a decoder's for the mask of the prompt */
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_generate),
      cmocka_unit_test(test_nothing_to_generate),
      cmocka_unit_test(test_tokens),
      cmocka_unit_test(test_struct_size),
      cmocka_unit_test(test_bad_arguments),
      cmocka_unit_test(test_values_of_models),
      cmocka_unit_test(test_good_arguments),
      cmocka_unit_test(test_one_token),
      cmocka_unit_test(test_other_models),
      cmocka_unit_test(test_every_run_can_fail),
      cmocka_unit_test(test_every_allocation_can_fail),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
