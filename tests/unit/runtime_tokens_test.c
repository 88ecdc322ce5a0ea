/* What whole models need of a run: dimensions of batches, inputs that are integers or not there, masks, positions, relative biases. */
#include "runtime_fixture.h"

#include <math.h>

enum { ROWS_MAX = 6, LENGTH_MAX = 9, TOKENS_MAX = ROWS_MAX * LENGTH_MAX, IDS_LIMIT = 100, POSITIONS_LIMIT = 8 };

/* buffers: out i64 [8]: what call.dims has. */
static void write_dims(const hmoe_kernel_call *call, int64_t task, void *scratch) {
  (void)scratch;
  for (int64_t i = 0; i < 8; i++) ((int64_t *)call->buffers[0])[8 * task + i] = call->dims ? call->dims[i] : -1;
}

static const hmoe_kernel_fn kernels[] = {write_dims};

typedef struct toy {
  fixture_plan *plan;
  fixture_file file;
  hmoe_weights weights;
  const hmoe_model_object *object;
} toy;

static void toy_init(toy *t) {
  t->object = plan_finish(t->plan, kernels, 1);
  t->weights = file_finish(&t->file);
}

static void toy_deinit(toy *t) {
  file_deinit(&t->file);
  free(t->plan);
}

static hmoe_model *open_toy(const toy *t) {
  hmoe_options options = fixture_options(1);
  hmoe_model *model;
  assert_ok(hmoe_model_open(t->object, &t->weights, &options, &model));
  return model;
}

static hmoe_status try_open(const toy *t) {
  hmoe_options options = fixture_options(1);
  hmoe_model *model;
  hmoe_status status = hmoe_model_open(t->object, &t->weights, &options, &model);
  hmoe_model_close(model);
  return status;
}

/* ---- dimensions ---- */

static void test_dims(void **state) {
  (void)state;
  toy t = {.plan = plan_create("dims")};
  plan_entry(t.plan, "open");
  fixture_entry *run = plan_entry(t.plan, "run");
  uint32_t a = plan_dim(run, HMOE_DIM_INPUT, 0, 0), b = plan_dim(run, HMOE_DIM_INPUT, 0, 0);
  uint32_t product = plan_dim(run, HMOE_DIM_PRODUCT, a, b), sum = plan_dim(run, HMOE_DIM_SUM, product, a);
  uint32_t up = plan_dim(run, HMOE_DIM_ROUND_UP, sum, 32), blocks = plan_dim(run, HMOE_DIM_CEIL_DIV, sum, 32);
  uint32_t one = plan_dim(run, HMOE_DIM_CONST, 0, 1);
  uint32_t out = plan_output(t.plan, run, "out", 2, 0);
  run->buffers[out].fixed_bytes = 64;
  plan_step(t.plan, run, HMOE_STEP_KERNEL, one, BINDINGS(AT(out)),
            FIELDS(kernel, .kernel = 0, .row_block = 1, .groups = 1, .column_splits = 1, .tasks = 8,
                   .dims = plan_dims(t.plan, DIMS(a, b, product, sum, up, blocks, one, a))));
  toy_init(&t);
  hmoe_model *model = open_toy(&t);
  int64_t values[8];
  assert_ok(hmoe_model_run(model, 1, (int64_t[]){7, 9}, NULL, (void *const[]){values}));
  const int64_t expected[] = {7, 9, 63, 70, 96, 3, 1, 7};
  assert_memory_equal(values, expected, sizeof values);
  assert_ok(hmoe_model_run(model, 1, (int64_t[]){4, 7}, NULL, (void *const[]){values}));
  assert_int_equal(values[4], 32);
  assert_int_equal(values[5], 1);
  assert_ok(hmoe_model_run(model, 1, (int64_t[]){0, 7}, NULL, (void *const[]){values}));
  assert_int_equal(values[4], 0);
  assert_int_equal(values[5], 0);
  assert_fails(hmoe_model_run(model, 1, (int64_t[]){(int64_t)1 << 40, (int64_t)1 << 40}, NULL, (void *const[]){values}),
               HMOE_INVALID_ARGUMENT, "the run is too large: dimension 2 of entry 1 exceeds 1099511627776");
  assert_int_equal(hmoe_model_entry(model, "run"), 1);
  assert_int_equal(hmoe_model_entry(model, "open"), 0);
  assert_int_equal(hmoe_model_entry(model, "ru"), 0);
  assert_int_equal(hmoe_model_entry(model, "runs"), 0);
  assert_int_equal(hmoe_model_entry(model, ""), 0);
  assert_int_equal(hmoe_model_entry(model, NULL), 0);
  hmoe_model_close(model);
  toy_deinit(&t);
}

static void test_bad_dims(void **state) {
  (void)state;
  static const struct {
    hmoe_plan_dim dim;
    const char *message;
  } cases[] = {
      {{HMOE_DIM_PRODUCT, 1, 0}, "source 1 is not an earlier dim"},
      {{HMOE_DIM_PRODUCT, 0, 1}, "factor 1 is not an earlier dim"},
      {{HMOE_DIM_SUM, 0, (uint64_t)1 << 32}, "is not an earlier dim"},
      {{HMOE_DIM_SUM, 2, 0}, "source 2 is not an earlier dim"},
      {{HMOE_DIM_ROUND_UP, 0, 0}, "multiples of 0"},
      {{HMOE_DIM_CEIL_DIV, 0, 0}, "multiples of 0"},
      {{HMOE_DIM_CEIL_DIV, 5, 4}, "source 5 is not an earlier dim"},
      {{HMOE_DIM_ROUND_UP, 0, UINT64_MAX}, "the factor overflows"},
      {{HMOE_DIM_STATE, 0, 0}, "value 0 of a state that the entry does not need"},
      {{HMOE_DIM_COUNT, 0, 0}, "unknown kind 11"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    toy t = {.plan = plan_create("dims")};
    plan_entry(t.plan, "open");
    fixture_entry *run = plan_entry(t.plan, "run");
    plan_dim(run, HMOE_DIM_INPUT, 0, 0);
    plan_dim(run, cases[i].dim.kind, cases[i].dim.source, cases[i].dim.factor);
    toy_init(&t);
    assert_fails(try_open(&t), HMOE_INCOMPATIBLE, cases[i].message);
    toy_deinit(&t);
  }
}

static void test_kernel_dims(void **state) {
  (void)state;
  for (uint32_t count = 8; count <= 9; count++) {
    for (uint32_t last = 0; last < 2; last++) {
      toy t = {.plan = plan_create("dims")};
      plan_entry(t.plan, "open");
      fixture_entry *run = plan_entry(t.plan, "run");
      uint32_t tokens = plan_dim(run, HMOE_DIM_INPUT, 0, 0);
      uint32_t dims[9] = {0};
      dims[count - 1] = last;
      plan_step(
          t.plan, run, HMOE_STEP_KERNEL, tokens, 0, NULL,
          FIELDS(kernel, .row_block = 1, .groups = 1, .column_splits = 1, .tasks = 8, .dims = plan_dims(t.plan, count, dims)));
      toy_init(&t);
      if (count > 8) assert_fails(try_open(&t), HMOE_INCOMPATIBLE, "9 dims, at most 8");
      else if (last) assert_fails(try_open(&t), HMOE_INCOMPATIBLE, "dim 1 of 1");
      else assert_ok(try_open(&t));
      toy_deinit(&t);
    }
  }
}

/* ---- ids, positions, last rows ---- */

enum { STEP_IDS_WORDS = 0, STEP_IDS_MASK, STEP_POSITIONS, STEP_LAST_ROWS };

/* forward(batch, length): ids i64 and mask i32 (optional) [batch, length] -> words [tokens], positions [tokens], last [batch] */
static toy *forward_create(bool masked) {
  toy *t = calloc(1, sizeof *t);
  fixture_plan *plan = t->plan = plan_create("forward");
  plan_entry(plan, "open");
  fixture_entry *run = plan_entry(plan, "forward");
  uint32_t batch = plan_dim(run, HMOE_DIM_INPUT, 0, 0), length = plan_dim(run, HMOE_DIM_INPUT, 0, 0);
  uint32_t tokens = plan_dim(run, HMOE_DIM_PRODUCT, batch, length);
  uint32_t ids = plan_input(plan, run, "input_ids", 2, 8), mask = plan_input(plan, run, "attention_mask", 1, 4);
  uint32_t words = plan_output(plan, run, "words", 1, 4), positions = plan_output(plan, run, "positions", 1, 4);
  uint32_t last = plan_output(plan, run, "last", 1, 4), mask32 = plan_temporary(run, 0, 4, tokens);
  run->buffers[ids].dim = run->buffers[mask].dim = run->buffers[words].dim = run->buffers[positions].dim = tokens;
  plan_shape(&run->inputs[0], -1, -2);
  plan_shape(&run->inputs[1], -1, -2);
  run->inputs[1].optional = 1;
  run->inputs[1].fill = 1;
  uint32_t used = masked ? mask32 : HMOE_NONE;
  plan_step(plan, run, HMOE_STEP_IDS, tokens, BINDINGS(AT(ids), AT(words)),
            FIELDS(ids, .element_bytes = 8, .limit = IDS_LIMIT, .fill = 0));
  plan_step(plan, run, HMOE_STEP_IDS, tokens, BINDINGS(AT(mask), AT(mask32)),
            FIELDS(ids, .element_bytes = 4, .limit = 2, .fill = 1));
  plan_step(plan, run, HMOE_STEP_POSITIONS, HMOE_NONE, BINDINGS(AT(used), AT(positions)),
            FIELDS(positions, .tokens = {batch, length, HMOE_NONE, masked ? length : HMOE_NONE}, .limit = POSITIONS_LIMIT));
  plan_step(plan, run, HMOE_STEP_LAST_ROWS, HMOE_NONE, BINDINGS(AT(used), AT(last)),
            FIELDS(last_rows, .tokens = {batch, length, HMOE_NONE, masked ? length : HMOE_NONE}));
  return t;
}

static void forward_destroy(toy *t) {
  toy_deinit(t);
  free(t);
}

typedef struct forward_data {
  int64_t ids[TOKENS_MAX];
  int32_t mask[TOKENS_MAX], words[TOKENS_MAX], positions[TOKENS_MAX], last[ROWS_MAX];
} forward_data;

static hmoe_status run_forward(hmoe_model *model, int64_t batch, int64_t length, bool masked, forward_data *data) {
  return hmoe_model_run(model, 1, (int64_t[]){batch, length}, (const void *const[]){data->ids, masked ? data->mask : NULL},
                        (void *const[]){data->words, data->positions, data->last});
}

static void test_forward(void **state) {
  (void)state;
  uint64_t seed = 1;
  for (int masked = 0; masked < 2; masked++) {
    toy *t = forward_create(masked);
    toy_init(t);
    hmoe_model *model = open_toy(t);
    for (int round = 0; round < 200; round++) {
      forward_data data;
      int batch = (int)(fixture_random(&seed) % (ROWS_MAX + 1)), length = 1 + (int)(fixture_random(&seed) % POSITIONS_LIMIT);
      bool given = fixture_random(&seed) % 4 != 0;
      for (int i = 0; i < TOKENS_MAX; i++) {
        data.ids[i] = fixture_random(&seed) % IDS_LIMIT;
        data.mask[i] = (int32_t)(fixture_random(&seed) % 3 != 0);
      }
      assert_ok(run_forward(model, batch, length, given, &data));
      for (int b = 0; b < batch; b++) {
        int sum = 0, last = -1;
        for (int p = 0; p < length; p++) {
          int i = b * length + p, real = masked && given ? data.mask[i] : 1;
          sum += real;
          if (real) last = p;
          assert_int_equal(data.words[i], data.ids[i]);
          assert_int_equal(data.positions[i], sum > 0 ? sum - 1 : 0);
        }
        assert_int_equal(data.last[b], b * length + (last < 0 ? length - 1 : last));
      }
    }
    hmoe_model_close(model);
    forward_destroy(t);
  }
}

static void test_forward_errors(void **state) {
  (void)state;
  toy *t = forward_create(true);
  toy_init(t);
  hmoe_model *model = open_toy(t);
  forward_data data = {0};
  const hmoe_status bad = HMOE_INVALID_ARGUMENT;
  for (int i = 0; i < TOKENS_MAX; i++) data.mask[i] = 1;
  data.ids[4 * 6 + 5] = 40000;
  assert_ok(run_forward(model, 4, 6, true, &data));
  assert_fails(run_forward(model, 5, 6, true, &data), bad, "input 'input_ids'[4, 5] = 40000: expected 0 to 99");
  assert_fails(run_forward(model, 6, 5, true, &data), bad, "input 'input_ids'[5, 4] = 40000: expected 0 to 99");
  data.ids[29] = -1;
  assert_fails(run_forward(model, 5, 6, true, &data), bad, "input 'input_ids'[4, 5] = -1: expected 0 to 99");
  data.ids[29] = INT64_MIN;
  assert_fails(run_forward(model, 5, 6, true, &data), bad, "= -9223372036854775808: expected 0 to 99");
  data.ids[29] = (int64_t)1 << 32;
  assert_fails(run_forward(model, 5, 6, true, &data), bad, "= 4294967296: expected 0 to 99");
  data.ids[29] = 0;
  data.mask[3] = 2;
  assert_fails(run_forward(model, 2, 3, true, &data), bad, "input 'attention_mask'[1, 0] = 2: expected 0 to 1");
  assert_ok(run_forward(model, 2, 3, false, &data));
  data.mask[3] = 1;
  assert_fails(run_forward(model, 2, 9, true, &data), bad,
               "row 0 has 9 tokens, expected at most 8: the model has no more positions");
  data.mask[1] = data.mask[10] = 0;
  assert_ok(run_forward(model, 2, 9, true, &data));
  assert_fails(hmoe_model_run(model, 1, (int64_t[]){1, 1}, (const void *const[]){NULL, NULL}, (void *const[]){0, 0, 0}), bad,
               "input 'input_ids' is NULL");
  /* Rows of nothing. */
  assert_fails(run_forward(model, 2, 0, true, &data), bad, "rows of 0 tokens have no last one");
  assert_ok(run_forward(model, 0, 3, true, &data));
  hmoe_model_close(model);
  forward_destroy(t);
}

static void damage_words(fixture_plan *plan, fixture_entry *run) {
  (void)plan;
  run->inputs[0].optional = 1; /* read by IDS with fill 0, limit 100: still good */
}

static void damage_shape(fixture_plan *plan, fixture_entry *run) {
  (void)plan;
  run->inputs[0].shape[1] = -4;
}

static void damage_output(fixture_plan *plan, fixture_entry *run) {
  (void)plan;
  run->outputs[0].optional = 1;
}

static void damage_optional(fixture_plan *plan, fixture_entry *run) {
  (void)plan;
  run->inputs[0].optional = 2;
}

static void damage_reader(fixture_plan *plan, fixture_entry *run) { plan_copy(plan, run, BINDINGS(AT(2), AT(1)), 4); }

static void damage_fill(fixture_plan *plan, fixture_entry *run) {
  (void)plan;
  run->inputs[1].fill = 0;
}

/* The fields of a step, to be damaged. */
static void *fields_of(fixture_plan *plan, const fixture_entry *run, int step) {
  return plan->bytes + run->steps[step].fields.offset;
}
static hmoe_step_ids *ids_of(fixture_plan *plan, const fixture_entry *run, int step) { return fields_of(plan, run, step); }
static hmoe_step_positions *positions_of(fixture_plan *plan, const fixture_entry *run) {
  return fields_of(plan, run, STEP_POSITIONS);
}

static void damage_element(fixture_plan *plan, fixture_entry *run) { ids_of(plan, run, STEP_IDS_WORDS)->element_bytes = 2; }
static void damage_limit(fixture_plan *plan, fixture_entry *run) { ids_of(plan, run, STEP_IDS_WORDS)->limit = 0; }
static void damage_large_limit(fixture_plan *plan, fixture_entry *run) {
  ids_of(plan, run, STEP_IDS_WORDS)->limit = ((uint64_t)1 << 31) + 1;
}
static void damage_default(fixture_plan *plan, fixture_entry *run) {
  run->inputs[1].fill = 2;
  ids_of(plan, run, STEP_IDS_MASK)->fill = 2;
}
static void damage_rows(fixture_plan *plan, fixture_entry *run) { positions_of(plan, run)->tokens.rows_dim = HMOE_NONE; }
static void damage_length(fixture_plan *plan, fixture_entry *run) {
  hmoe_step_last_rows *last_rows = fields_of(plan, run, STEP_LAST_ROWS);
  last_rows->tokens.length_dim = 3;
}
static void damage_past(fixture_plan *plan, fixture_entry *run) { positions_of(plan, run)->tokens.past_dim = 3; }
static void damage_stride(fixture_plan *plan, fixture_entry *run) { positions_of(plan, run)->tokens.stride_dim = HMOE_NONE; }
static void damage_positions(fixture_plan *plan, fixture_entry *run) { positions_of(plan, run)->limit = 0; }
static void damage_source(fixture_plan *plan, fixture_entry *run) {
  hmoe_plan_binding binding = AT(2);
  memcpy(plan->bytes + run->steps[STEP_IDS_WORDS].bindings.offset, &binding, sizeof binding);
}
static void damage_append(fixture_plan *plan, fixture_entry *run) {
  plan_step(plan, run, HMOE_STEP_APPEND_MASK, HMOE_NONE, BINDINGS(AT(2), AT(5)),
            FIELDS(append_mask, .tokens = {0, 1, HMOE_NONE, 1}));
}
static void damage_advance(fixture_plan *plan, fixture_entry *run) {
  (void)plan;
  run->entry.advance[0] = 1;
}
static void damage_state_buffer(fixture_plan *plan, fixture_entry *run) {
  plan_state(plan, 0, 1, 4);
  plan_buffer(run, HMOE_BUFFER_STATE, 0, 0, 0, 0, HMOE_NONE);
}
static void damage_group(fixture_plan *plan, fixture_entry *run) {
  plan_step(plan, run, HMOE_STEP_GROUP, 0, BINDINGS(AT(2), AT(2), AT(2), AT(2), AT(2), AT(2), AT(2)),
            FIELDS(group, .experts = 4, .top_k = 1, .row_block = 1, .scope_dim = 9, .capacity = 0, .past_dim = HMOE_NONE,
                   .stride_dim = HMOE_NONE));
}
static void damage_token(fixture_plan *plan, fixture_entry *run) {
  (void)run;
  plan_setting(plan, HMOE_SETTING_END_TOKEN, (const int64_t[]){1, -2}, 2);
}
static void damage_start_tokens(fixture_plan *plan, fixture_entry *run) {
  (void)run;
  plan_setting(plan, HMOE_SETTING_START_TOKEN, (const int64_t[]){1, 2}, 2);
}
static void damage_setting(fixture_plan *plan, fixture_entry *run) {
  (void)run;
  plan_setting(plan, HMOE_SETTING_COUNT, NULL, 0);
}
static void damage_setting_twice(fixture_plan *plan, fixture_entry *run) {
  (void)run;
  for (int i = 0; i < 2; i++) plan_setting(plan, HMOE_SETTING_BEAMS, (const int64_t[]){2}, 1);
}
static void damage_setting_span(fixture_plan *plan, fixture_entry *run) {
  (void)run;
  plan_setting(plan, HMOE_SETTING_SUPPRESS_TOKENS, (const int64_t[]){2}, 1);
  plan->settings[0].values.count = UINT32_MAX;
}
static void damage_setting_empty(fixture_plan *plan, fixture_entry *run) {
  (void)run;
  plan_setting(plan, HMOE_SETTING_MAX_LENGTH, NULL, 0);
}
static void damage_sample(fixture_plan *plan, fixture_entry *run) {
  (void)run;
  plan_setting(plan, HMOE_SETTING_SAMPLE, (const int64_t[]){2}, 1);
}
static void damage_temperature(fixture_plan *plan, fixture_entry *run) {
  (void)run;
  plan_setting_number(plan, HMOE_SETTING_TEMPERATURE, 0);
}
static void damage_temperature_small(fixture_plan *plan, fixture_entry *run) { /* 0 as a float */
  (void)run;
  plan_setting_number(plan, HMOE_SETTING_TEMPERATURE, 1e-60);
}
static void damage_top_p(fixture_plan *plan, fixture_entry *run) {
  (void)run;
  plan_setting_number(plan, HMOE_SETTING_TOP_P, NAN);
}
static void damage_words_open(fixture_plan *plan, fixture_entry *run) {
  (void)run;
  plan_setting(plan, HMOE_SETTING_BAD_WORDS, (const int64_t[]){2, -1, 3}, 3);
}
static void damage_words_empty(fixture_plan *plan, fixture_entry *run) {
  (void)run;
  plan_setting(plan, HMOE_SETTING_BAD_WORDS, (const int64_t[]){2, -1, -1}, 3);
}
static void damage_scope(fixture_plan *plan, fixture_entry *run) {
  (void)run;
  plan_state(plan, 2, 1, 4);
}
static void damage_segments(fixture_plan *plan, fixture_entry *run) {
  (void)run;
  plan_state(plan, 0, 0, 4);
}
static void damage_position_bytes(fixture_plan *plan, fixture_entry *run) {
  (void)run;
  plan_state(plan, 0, 3, 16);
}

static void test_bad_plans(void **state) {
  (void)state;
  static const struct {
    void (*damage)(fixture_plan *plan, fixture_entry *run);
    const char *message;
  } cases[] = {
      {damage_words, NULL},
      {damage_shape, "entry 1: input 0: shape -4 of 3 dims"},
      {damage_output, "entry 1: output 0: optional 1"},
      {damage_optional, "entry 1: input 0: optional 2"},
      {damage_reader, "step 4 (copy): binding 1 is an input that may be missing"},
      {damage_fill, "step 1 (ids): an input of 0 by default, filled with 1, below 2"},
      {damage_default, "step 1 (ids): an input of 2 by default, filled with 2, below 2"},
      {damage_element, "step 0 (ids): elements of 2 bytes"},
      {damage_limit, "step 0 (ids): limit 0"},
      {damage_large_limit, "step 0 (ids): limit 2147483649"},
      {damage_source, "step 0 (ids): expected an input"},
      {damage_rows, "step 2 (positions): rows_dim: dim 4294967295 of 3"},
      {damage_length, "step 3 (last_rows): length_dim: dim 3 of 3"},
      {damage_past, "step 2 (positions): past_dim: dim 3 of 3"},
      {damage_stride, "step 2 (positions): stride_dim: dim 4294967295 of 3"},
      {damage_positions, "step 2 (positions): limit 0"},
      {damage_append, "step 4 (append_mask): expected a mask of a state"},
      {damage_advance, "scope 0 advances by dim 1 of 3, without a state"},
      {damage_state_buffer, "buffer 6 (kind 6, index 0, dim 4294967295) names something that is not there"},
      {damage_group, "step 4 (group): scope_dim: dim 9 of 3"},
      {damage_token, "generation: end_token cannot have the 2 values it has"},
      {damage_start_tokens, "generation: start_token cannot have the 2 values it has"},
      {damage_setting, "generation: setting 22 is unknown, or there twice"},
      {damage_setting_twice, "generation: setting 12 is unknown, or there twice"},
      {damage_setting_span, "suppress_tokens: span..."},
      {damage_setting_empty, "generation: max_length cannot have the 0 values it has"},
      {damage_sample, "generation: sample cannot have the 1 values it has"},
      {damage_temperature, "generation: temperature cannot have the 1 values it has"},
      {damage_temperature_small, "generation: temperature cannot have the 1 values it has"},
      {damage_top_p, "generation: top_p cannot have the 1 values it has"},
      {damage_words_open, "generation: bad_words cannot have the 3 values it has"},
      {damage_words_empty, "generation: bad_words cannot have the 3 values it has"},
      {damage_scope, "state 0: 4 bytes a position in 1 segments of scope 2"},
      {damage_segments, "in 0 segments of scope 0"},
      {damage_position_bytes, "16 bytes a position in 3 segments of scope 0"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    toy *t = forward_create(true);
    cases[i].damage(t->plan, &t->plan->entries[1]);
    toy_init(t);
    if (cases[i].message) assert_fails(try_open(t), HMOE_INCOMPATIBLE, cases[i].message);
    else assert_ok(try_open(t));
    forward_destroy(t);
  }
}

/* ---- relative biases ---- */

enum { HEADS = 3 };

static toy *bias_create(uint32_t buckets, uint32_t both, uint32_t distance, uint32_t stride, uint32_t pad) {
  toy *t = calloc(1, sizeof *t);
  fixture_plan *plan = t->plan = plan_create("bias");
  plan_entry(plan, "open");
  fixture_entry *run = plan_entry(plan, "run");
  uint32_t table = plan_input(plan, run, "table", 0, 0), bias = plan_output(plan, run, "bias", 0, 0);
  plan_shape(&run->inputs[0], 1, 1);
  plan_shape(&run->outputs[0], 1, 1);
  for (int i = 0; i < 2; i++) run->buffers[i].dim = HMOE_NONE;
  run->buffers[table].fixed_bytes = (uint64_t)buckets * HEADS * 4;
  run->buffers[bias].fixed_bytes = HEADS * (uint64_t)stride * 4;
  plan_step(plan, run, HMOE_STEP_RELATIVE_BIAS, HMOE_NONE, BINDINGS(AT(bias), AT(table)),
            FIELDS(relative_bias, .buckets = buckets, .heads = HEADS, .bidirectional = both, .max_distance = distance,
                   .row_floats = stride, .pad = pad));
  toy_init(t);
  return t;
}

/* Where buckets begin, of the published implementation: {n, bucket}. */
static const int both_ways[][2] = {{8, 8}, {12, 9}, {16, 10}, {23, 11}, {32, 12}, {46, 13}, {64, 14}, {91, 15}};
static const int one_way[][2] = {{16, 16}, {19, 17}, {21, 18}, {24, 19}, {27, 20}, {31, 21}, {35, 22}, {40, 23},
                                 {46, 24}, {52, 25}, {59, 26}, {67, 27}, {77, 28}, {87, 29}, {99, 30}, {113, 31}};

static int expected_bucket(bool both, int difference) {
  int n = difference < 0 ? -difference : both ? difference : 0, exact = both ? 8 : 16, bucket = n;
  size_t count = both ? sizeof both_ways / sizeof *both_ways : sizeof one_way / sizeof *one_way;
  for (size_t i = 0; n >= exact && i < count; i++) {
    const int *begin = both ? both_ways[i] : one_way[i];
    if (n >= begin[0]) bucket = begin[1];
  }
  return bucket + (both && difference > 0 ? 16 : 0);
}

static void test_relative_bias(void **state) {
  (void)state;
  enum { BUCKETS = 32, DISTANCE = 128, PAD = 7, STRIDE = 2 * DISTANCE + 20 };
  for (int both = 0; both < 2; both++) {
    toy *t = bias_create(BUCKETS, (uint32_t)both, DISTANCE, STRIDE, PAD);
    hmoe_model *model = open_toy(t);
    float table[BUCKETS][HEADS], bias[HEADS][STRIDE];
    for (int i = 0; i < BUCKETS * HEADS; i++) table[i / HEADS][i % HEADS] = (float)i;
    assert_ok(hmoe_model_run(model, 1, NULL, (const void *const[]){table}, (void *const[]){bias}));
    for (int i = 0; i < STRIDE; i++) {
      int difference = i - PAD - DISTANCE;
      if (difference < -DISTANCE) difference = -DISTANCE;
      if (difference > DISTANCE) difference = DISTANCE;
      for (int head = 0; head < HEADS; head++)
        if (bias[head][i] != table[expected_bucket(both, difference)][head])
          fail_msg("%d directions: difference %d has bucket %d, expected %d", both + 1, difference, (int)bias[head][i] / HEADS,
                   expected_bucket(both, difference));
    }
    hmoe_model_close(model);
    forward_destroy(t);
  }
}

static void test_bad_biases(void **state) {
  (void)state;
  static const struct {
    uint32_t buckets, both, distance;
    bool good;
  } cases[] = {
      {32, 1, 128, true}, {32, 2, 128, false}, {31, 1, 128, false}, {31, 0, 128, true},       {2, 1, 128, false},
      {4, 1, 2, true},    {2, 0, 2, true},     {1, 0, 2, false},    {0, 0, 2, false},         {32, 1, 8, false},
      {32, 0, 16, false}, {32, 0, 17, true},   {32, 1, 0, false},   {32, 1, 1u << 31, false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    toy *t = bias_create(cases[i].buckets, cases[i].both, cases[i].distance, 40, 0);
    if (cases[i].good) assert_ok(try_open(t));
    else assert_fails(try_open(t), HMOE_INCOMPATIBLE, "relative_bias...");
    forward_destroy(t);
  }
}

/* ---- masks in rows of a stride, after tokens that were before ---- */

enum { D_ROWS, D_LENGTH, D_PAST, D_STRIDE, D_MASK, D_OUT, D_LAST, D_IDS, D_COUNT };

/* x: mask words, y: positions, z: last rows; ids of 4 bytes to y's place in a temporary. Sizes of all are dimensions. */
static toy make_masks(void) {
  toy t = {.plan = plan_create("masks")};
  plan_entry(t.plan, "open");
  fixture_entry *e = plan_entry(t.plan, "run");
  for (int i = 0; i < D_COUNT; i++) plan_dim(e, HMOE_DIM_INPUT, 0, 0);
  uint32_t mask = plan_input(t.plan, e, "mask", 1, 4), ids = plan_input(t.plan, e, "ids", 1, 4);
  uint32_t out = plan_output(t.plan, e, "out", 1, 4), last = plan_output(t.plan, e, "last", 1, 4),
           copy = plan_output(t.plan, e, "copy", 1, 4);
  e->buffers[mask].dim = D_MASK, e->buffers[ids].dim = D_IDS;
  e->buffers[out].dim = D_OUT, e->buffers[last].dim = D_LAST, e->buffers[copy].dim = D_OUT;
  const hmoe_plan_tokens tokens = {D_ROWS, D_LENGTH, D_PAST, D_STRIDE};
  plan_step(t.plan, e, HMOE_STEP_POSITIONS, HMOE_NONE, BINDINGS(AT(mask), AT(out)),
            FIELDS(positions, .tokens = tokens, .limit = POSITIONS_LIMIT));
  plan_step(t.plan, e, HMOE_STEP_LAST_ROWS, HMOE_NONE, BINDINGS(AT(mask), AT(last)), FIELDS(last_rows, .tokens = tokens));
  plan_step(t.plan, e, HMOE_STEP_IDS, D_ROWS, BINDINGS(AT(ids), AT(copy)), FIELDS(ids, .element_bytes = 4, .limit = IDS_LIMIT));
  toy_init(&t);
  return t;
}

static void test_strided_masks(void **state) {
  (void)state;
  toy t = make_masks();
  hmoe_model *model = open_toy(&t);
  uint64_t seed = 9;
  for (int64_t rows = 1; rows <= 3; rows++)
    for (int64_t past = 0; past <= 3; past++)
      for (int64_t length = 1; length <= 3; length++)
        for (int64_t stride = past + length; stride <= past + length + 2; stride += 2) {
          int64_t words = (rows - 1) * stride + past + length; /* the last row ends with what is looked at */
          int32_t mask[64], ids[3] = {5, 6, 7}, out[10], last[4], copy[10];
          for (int64_t i = 0; i < words; i++) mask[i] = fixture_random(&seed) % 3 != 0;
          for (int i = 0; i < 10; i++) out[i] = copy[i] = -9;
          for (int i = 0; i < 4; i++) last[i] = -9;
          const int64_t dims[D_COUNT] = {rows, length, past, stride, words, rows * length, rows, rows};
          assert_ok(hmoe_model_run(model, 1, dims, (const void *const[]){mask, ids}, (void *const[]){out, last, copy}));
          for (int64_t b = 0; b < rows; b++) {
            int32_t real = 0, at = -1;
            for (int64_t u = 0; u < past; u++) real += mask[b * stride + u];
            for (int64_t i = 0; i < length; i++) {
              if (mask[b * stride + past + i]) real++, at = (int32_t)i;
              assert_int_equal(out[b * length + i], real ? real - 1 : 0);
            }
            assert_int_equal(last[b], b * length + (at < 0 ? length - 1 : at));
            assert_int_equal(copy[b], ids[b]);
          }
          assert_true(out[rows * length] == -9 && last[rows] == -9 && copy[rows] == -9);
        }
  /* One element too few of each. */
  static const struct {
    int dim;
    const char *text;
  } cases[] = {{D_MASK, "plan: entry 1 step 0 (positions): binding 0 has 36 bytes, 40 are needed"},
               {D_OUT, "plan: entry 1 step 0 (positions): binding 1 has 12 bytes, 16 are needed"},
               {D_LAST, "plan: entry 1 step 1 (last_rows): binding 1 has 4 bytes, 8 are needed"},
               {D_IDS, "plan: entry 1 step 2 (ids): binding 0 has 4 bytes, 8 are needed"},
               {D_STRIDE, "plan: entry 1 step 0 (positions): 2 tokens after 3 in rows of 4"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    static const int32_t mask[10], ids[2];
    int32_t out[4], last[2], copy[4];
    int64_t dims[D_COUNT] = {2, 2, 3, 5, 10, 4, 2, 2};
    dims[cases[i].dim]--;
    assert_fails(hmoe_model_run(model, 1, dims, (const void *const[]){mask, ids}, (void *const[]){out, last, copy}),
                 HMOE_INCOMPATIBLE, cases[i].text);
  }
  hmoe_model_close(model);
  toy_deinit(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_dims),          cmocka_unit_test(test_bad_dims),       cmocka_unit_test(test_kernel_dims),
      cmocka_unit_test(test_forward),       cmocka_unit_test(test_forward_errors), cmocka_unit_test(test_bad_plans),
      cmocka_unit_test(test_relative_bias), cmocka_unit_test(test_bad_biases),     cmocka_unit_test(test_strided_masks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
