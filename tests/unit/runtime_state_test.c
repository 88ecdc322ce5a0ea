/* States: created, run with, filled, rewound, reordered, several at once; every allocation failed and every word of a plan damaged. */
#include "runtime_fixture.h"

enum { SEGMENTS = 3, PART = 2, WIDTH = SEGMENTS * PART }; /* floats of a position, in equal parts */
enum { PREPARE = 1, DECODE = 2, PLAIN = 3 };

/* ---- kernels ---- */

/* Calls that a kernel makes on the state of the run that it belongs to, and what they said. Of one thread. */
static struct {
  hmoe_model *model;
  hmoe_state *state;
  int calls;
} meddler;

static void meddle(void) {
  const hmoe_status bad = HMOE_INVALID_ARGUMENT;
  int64_t length = 1, before = hmoe_state_length(meddler.state);
  float x[4 * WIDTH] = {0}, y[4];
  assert_fails(
      hmoe_model_run_state(meddler.model, DECODE, meddler.state, &length, (const void *const[]){x, NULL}, (void *const[]){y}), bad,
      "run: the state is in use by another call, which has not returned");
  assert_fails(hmoe_state_rewind(meddler.state, 0), bad, "rewind: the state is in use by another call, which has not returned");
  assert_fails(hmoe_state_reorder(meddler.state, (const int32_t[]){0, 0, 0, 0}), bad,
               "reorder: the state is in use by another call, which has not returned");
  assert_int_equal(hmoe_state_length(meddler.state), before);
  meddler.calls++;
}

/* buffers: x [rows*length][WIDTH], cells [rows][SEGMENTS][capacity][PART]; dims: length, past, capacity. Grid ROWS over tokens. */
static void store_cells(const hmoe_kernel_call *call, int64_t task, void *scratch) {
  (void)scratch;
  int64_t length = call->dims[0], past = call->dims[1], capacity = call->dims[2], row = task / length;
  if (meddler.state && task == 0) meddle();
  const float *x = (const float *)call->buffers[0] + task * WIDTH;
  float *cells = call->buffers[1];
  for (int i = 0; i < WIDTH; i++) cells[((row * SEGMENTS + i / PART) * capacity + past + task % length) * PART + i % PART] = x[i];
}

/* buffers: cells, mask [rows][capacity], source [source rows][source capacity] (i32), y [rows]; dims: rows, past, length, capacity, source
 * rows, source length, source capacity. Grid ROWS: y = the sum of what the row's mask shows, and of its source. */
static void sum_row(const hmoe_kernel_call *call, int64_t row, void *scratch) {
  (void)scratch;
  const int64_t *dims = call->dims;
  int64_t end = dims[1] + dims[2], capacity = dims[3], source_row = dims[4] ? row / (dims[0] / dims[4]) : 0;
  const float *cells = call->buffers[0];
  const int32_t *mask = call->buffers[1], *source = call->buffers[2];
  double sum = 0;
  for (int64_t t = 0; t < end; t++)
    for (int i = 0; i < WIDTH && mask[row * capacity + t]; i++)
      sum += (double)cells[((row * SEGMENTS + i / PART) * capacity + t) * PART + i % PART] * (i + 1);
  for (int64_t t = 0; t < dims[5]; t++) sum += source[source_row * dims[6] + t];
  ((float *)call->buffers[3])[row] = (float)sum;
}

enum { STORE_CELLS, SUM_ROW, KERNELS };
static const hmoe_kernel_fn kernels[KERNELS] = {store_cells, sum_row};

/* ---- the model ---- */

typedef struct toy {
  fixture_plan *plan;
  fixture_file file;
  hmoe_weights weights;
  const hmoe_model_object *object;
} toy;

static void toy_init(toy *t) {
  t->object = plan_finish(t->plan, kernels, KERNELS);
  t->weights = file_finish(&t->file);
}

static void toy_destroy(toy *t) {
  file_deinit(&t->file);
  free(t->plan);
  free(t);
}

static uint32_t state_dim(fixture_entry *entry, uint32_t scope, uint32_t value) {
  return plan_dim(entry, HMOE_DIM_STATE, 3 * scope + value, 0);
}

static uint32_t state_buffer(fixture_entry *entry, uint32_t state) {
  return plan_buffer(entry, HMOE_BUFFER_STATE, state, 0, 0, 0, HMOE_NONE);
}

/* Of batches: [rows, length] of the state. */
static uint32_t token_input(fixture_plan *plan, fixture_entry *entry, const char *name, uint32_t dtype, uint64_t bytes,
                            uint32_t dim) {
  uint32_t buffer = plan_input(plan, entry, name, dtype, bytes);
  entry->buffers[buffer].dim = dim;
  return buffer;
}

static toy *toy_create(void) {
  toy *t = calloc(1, sizeof *t);
  fixture_plan *plan = t->plan = plan_create("toy");
  uint32_t cells = plan_state(plan, HMOE_SCOPE_TARGET, SEGMENTS, WIDTH * 4), source = plan_state(plan, HMOE_SCOPE_SOURCE, 1, 4);
  uint32_t mask = plan_state(plan, HMOE_SCOPE_TARGET, 1, 4);
  plan_entry(plan, "open");

  fixture_entry *prepare = plan_entry(plan, "prepare");
  prepare->entry.needs_state = 1;
  uint32_t length = plan_dim(prepare, HMOE_DIM_INPUT, 0, 0), rows = state_dim(prepare, HMOE_SCOPE_SOURCE, 0);
  uint32_t capacity = state_dim(prepare, HMOE_SCOPE_SOURCE, 1), past = state_dim(prepare, HMOE_SCOPE_SOURCE, 2);
  uint32_t tokens = plan_dim(prepare, HMOE_DIM_PRODUCT, rows, length);
  uint32_t words = token_input(plan, prepare, "words", 1, 4, tokens), kept = state_buffer(prepare, source);
  plan_step(plan, prepare, HMOE_STEP_APPEND_MASK, HMOE_NONE, BINDINGS(AT(words), AT(kept)),
            FIELDS(append_mask, .tokens = {rows, length, past, capacity}));
  prepare->entry.advance[HMOE_SCOPE_SOURCE] = length;

  fixture_entry *decode = plan_entry(plan, "decode");
  decode->entry.needs_state = 1;
  length = plan_dim(decode, HMOE_DIM_INPUT, 0, 0);
  rows = state_dim(decode, HMOE_SCOPE_TARGET, 0);
  capacity = state_dim(decode, HMOE_SCOPE_TARGET, 1);
  past = state_dim(decode, HMOE_SCOPE_TARGET, 2);
  tokens = plan_dim(decode, HMOE_DIM_PRODUCT, rows, length);
  uint32_t source_rows = state_dim(decode, HMOE_SCOPE_SOURCE, 0), source_length = state_dim(decode, HMOE_SCOPE_SOURCE, 2);
  uint32_t source_capacity = state_dim(decode, HMOE_SCOPE_SOURCE, 1);
  uint32_t x = token_input(plan, decode, "x", 0, WIDTH * 4, tokens), shown = token_input(plan, decode, "mask", 2, 8, tokens);
  decode->inputs[1].optional = 1;
  decode->inputs[1].fill = 1;
  uint32_t y = plan_output(plan, decode, "y", 0, 4), mask32 = plan_temporary(decode, 0, 4, tokens);
  decode->buffers[y].dim = rows;
  uint32_t all_cells = state_buffer(decode, cells), all_masks = state_buffer(decode, mask),
           all_source = state_buffer(decode, source);
  plan_step(plan, decode, HMOE_STEP_IDS, tokens, BINDINGS(AT(shown), AT(mask32)),
            FIELDS(ids, .element_bytes = 8, .limit = 2, .fill = 1));
  plan_step(plan, decode, HMOE_STEP_APPEND_MASK, HMOE_NONE, BINDINGS(AT(mask32), AT(all_masks)),
            FIELDS(append_mask, .tokens = {rows, length, past, capacity}));
  plan_step(plan, decode, HMOE_STEP_KERNEL, tokens, BINDINGS(AT(x), AT(all_cells)),
            FIELDS(kernel, .kernel = STORE_CELLS, .row_block = 1, .groups = 1, .column_splits = 1, .tasks = 8,
                   .dims = plan_dims(plan, DIMS(length, past, capacity))));
  plan_step(plan, decode, HMOE_STEP_KERNEL, rows, BINDINGS(AT(all_cells), AT(all_masks), AT(all_source), AT(y)),
            FIELDS(kernel, .kernel = SUM_ROW, .row_block = 1, .groups = 1, .column_splits = 1, .tasks = 8,
                   .dims = plan_dims(plan, DIMS(rows, past, length, capacity, source_rows, source_length, source_capacity))));
  decode->entry.advance[HMOE_SCOPE_TARGET] = length;

  fixture_entry *plain = plan_entry(plan, "plain");
  plan_dim(plain, HMOE_DIM_INPUT, 0, 0);
  toy_init(t);
  return t;
}

static hmoe_model *open_toy(const toy *t, uint32_t threads) {
  hmoe_options options = fixture_options(threads);
  hmoe_model *model;
  assert_ok(hmoe_model_open(t->object, &t->weights, &options, &model));
  return model;
}

static hmoe_state *make_state(hmoe_model *model, int64_t rows, int64_t capacity, int64_t source_rows, int64_t source_capacity) {
  hmoe_state_options options = {sizeof options, rows, capacity, source_rows, source_capacity};
  hmoe_state *state;
  assert_ok(hmoe_state_create(model, &options, &state));
  return state;
}

/* ---- what a state must do, written down plainly ---- */

enum { MODEL_ROWS = 6, MODEL_LENGTH = 700 };

typedef struct mirror {
  int64_t rows, source_rows, length;
  float x[MODEL_ROWS][MODEL_LENGTH][WIDTH];
  int64_t mask[MODEL_ROWS][MODEL_LENGTH];
  double source[MODEL_ROWS];
} mirror;

static void prepare_both(hmoe_model *model, hmoe_state *state, mirror *m, int64_t length, uint64_t *seed) {
  int32_t words[MODEL_ROWS * 64];
  for (int64_t row = 0; row < m->source_rows; row++) {
    m->source[row] = 0;
    for (int64_t t = 0; t < length; t++) {
      words[row * length + t] = (int32_t)(fixture_random(seed) % 50);
      m->source[row] += words[row * length + t];
    }
  }
  assert_ok(hmoe_model_run_state(model, PREPARE, state, &length, (const void *const[]){words}, NULL));
  assert_int_equal(hmoe_state_source_length(state), length);
}

static void decode_both(hmoe_model *model, hmoe_state *state, mirror *m, int64_t length, uint64_t *seed) {
  float *x = calloc((size_t)(m->rows * length + 1) * WIDTH, sizeof *x), y[MODEL_ROWS];
  int64_t *mask = calloc((size_t)(m->rows * length + 1), sizeof *mask);
  bool given = fixture_random(seed) % 3 != 0;
  for (int64_t row = 0; row < m->rows; row++)
    for (int64_t t = 0; t < length; t++) {
      m->mask[row][m->length + t] = mask[row * length + t] = fixture_random(seed) % 4 != 0;
      if (!given) m->mask[row][m->length + t] = 1;
      for (int i = 0; i < WIDTH; i++)
        m->x[row][m->length + t][i] = x[(row * length + t) * WIDTH + i] = (float)(fixture_random(seed) % 21) - 10;
    }
  m->length += length;
  assert_ok(hmoe_model_run_state(model, DECODE, state, &length, (const void *const[]){x, given ? mask : NULL}, (void *const[]){y}));
  assert_int_equal(hmoe_state_length(state), m->length);
  for (int64_t row = 0; row < m->rows; row++) {
    double sum = m->source[row / (m->rows / m->source_rows)];
    for (int64_t t = 0; t < m->length; t++)
      for (int i = 0; i < WIDTH && m->mask[row][t]; i++) sum += (double)m->x[row][t][i] * (i + 1);
    assert_true(y[row] == (float)sum);
  }
  free(x);
  free(mask);
}

static void reorder_both(hmoe_state *state, mirror *m, const int32_t *rows) {
  mirror *old = malloc(sizeof *old);
  memcpy(old, m, sizeof *old);
  for (int64_t i = 0; i < m->rows; i++) {
    memcpy(m->x[i], old->x[rows[i]], sizeof m->x[i]);
    memcpy(m->mask[i], old->mask[rows[i]], sizeof m->mask[i]);
  }
  free(old);
  assert_ok(hmoe_state_reorder(state, rows));
}

static void test_decode(void **state) {
  (void)state;
  toy *t = toy_create();
  mirror *m = calloc(1, sizeof *m);
  uint64_t seed = 7;
  for (uint32_t threads = 1; threads <= 3; threads += 2) {
    hmoe_model *model = open_toy(t, threads);
    assert_int_equal(hmoe_model_entry(model, "decode"), DECODE);
    for (int64_t rows = 1; rows <= MODEL_ROWS; rows++) {
      m->rows = rows;
      m->source_rows = rows % 2 ? rows : rows / 2;
      hmoe_state *s = make_state(model, rows, MODEL_LENGTH, m->source_rows, 40);
      assert_true(hmoe_state_bytes(s) >= (size_t)rows * 704 * (WIDTH + 1) * 4 + (size_t)m->source_rows * 64 * 4);
      assert_int_equal(hmoe_state_length(s), 0);
      for (int round = 0; round < 3; round++) {
        prepare_both(model, s, m, 1 + 13 * round, &seed);
        for (int step = 0; step < 12; step++) {
          int32_t order[MODEL_ROWS];
          int64_t length = step == 3 ? 600 : (int64_t)(fixture_random(&seed) % 8);
          if (m->length + length <= MODEL_LENGTH) decode_both(model, s, m, length, &seed);
          for (int i = 0; i < MODEL_ROWS; i++) order[i] = (int32_t)(fixture_random(&seed) % (uint32_t)rows);
          reorder_both(s, m, order);
          if (step == 7) {
            m->length -= 5 < m->length ? 5 : m->length;
            assert_ok(hmoe_state_rewind(s, m->length));
          }
        }
        assert_ok(hmoe_state_rewind(s, 0));
        m->length = 0;
        assert_int_equal(hmoe_state_length(s), 0);
        assert_int_equal(hmoe_state_source_length(s), 0);
      }
      hmoe_state_destroy(s);
    }
    hmoe_model_close(model);
  }
  free(m);
  toy_destroy(t);
}

/* Every assignment of four rows to four: each is made of chains, trees and circles. */
static void test_every_order(void **state) {
  (void)state;
  toy *t = toy_create();
  hmoe_model *model = open_toy(t, 1);
  mirror *m = calloc(1, sizeof *m);
  uint64_t seed = 9;
  m->rows = m->source_rows = 4;
  hmoe_state *s = make_state(model, 4, 32, 4, 1);
  prepare_both(model, s, m, 1, &seed);
  for (int n = 0; n < 256; n++) {
    if (m->length > 20) {
      m->length = 10;
      assert_ok(hmoe_state_rewind(s, 10));
    }
    decode_both(model, s, m, 1, &seed);
    reorder_both(s, m, (const int32_t[]){n % 4, n / 4 % 4, n / 16 % 4, n / 64});
  }
  hmoe_state_destroy(s);
  hmoe_model_close(model);
  free(m);
  toy_destroy(t);
}

static void test_errors(void **state) {
  (void)state;
  const hmoe_status bad = HMOE_INVALID_ARGUMENT;
  toy *t = toy_create();
  hmoe_model *model = open_toy(t, 1), *other = open_toy(t, 1);
  hmoe_state *s = (hmoe_state *)(void *)t;
  hmoe_state_options options = {sizeof options, 4, 10, 2, 5};
  assert_fails(hmoe_state_create(model, &options, NULL), bad, "out_state is NULL");
  assert_fails(hmoe_state_create(NULL, &options, &s), bad, "the model is NULL");
  assert_null(s);
  assert_fails(hmoe_state_create(model, NULL, &s), bad, "options is NULL");
  static const struct {
    hmoe_state_options options;
    hmoe_status status;
    const char *message;
  } cases[] = {
      {{4, 4, 10, 2, 5}, HMOE_INVALID_ARGUMENT, "struct_size: expected sizeof(hmoe_state_options) = 40, found 4"},
      {{70000, 4, 10, 2, 5}, HMOE_INVALID_ARGUMENT, "found 70000"},
      {{24, 4, 10, 2, 5}, HMOE_INVALID_ARGUMENT, "source_rows: expected 1 to 2147483615, found 0"}, /* an older caller's */
      {{40, 0, 10, 2, 5}, HMOE_INVALID_ARGUMENT, "target_rows: expected 1 to 2147483615, found 0"},
      {{40, 4, -3, 2, 5}, HMOE_INVALID_ARGUMENT, "target_capacity: expected 1 to 2147483615, found -3"},
      {{40, 4, 10, INT64_MAX, 5}, HMOE_INVALID_ARGUMENT, "source_rows..."},
      {{40, 4, 10, 2, 0}, HMOE_INVALID_ARGUMENT, "source_capacity: expected 1 to 2147483615, found 0"},
      {{40, 4, 10, 3, 5}, HMOE_INVALID_ARGUMENT, "target_rows: expected a multiple of source_rows = 3, found 4"},
      {{40, 2000000, 2000000000, 1, 1}, HMOE_OUT_OF_MEMORY, "no memory for keys and values of a state..."},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    s = (hmoe_state *)(void *)t;
    assert_fails(hmoe_state_create(model, &cases[i].options, &s), cases[i].status, cases[i].message);
    assert_null(s);
  }
  struct {
    hmoe_state_options known;
    uint64_t unknown;
  } newer = {.known = options, .unknown = 1};
  newer.known.struct_size = sizeof newer;
  assert_fails(hmoe_state_create(model, &newer.known, &s), bad, "that hmoe " HMOE_VERSION " does not know");

  assert_ok(hmoe_state_create(model, &options, &s));
  float x[4 * 11 * WIDTH] = {0}, y[4];
  int32_t words[2 * 6] = {0};
  int64_t length = 3, mask[4 * 11] = {0};
  const void *const in[] = {x, NULL}, *const source[] = {words};
  void *const out[] = {y};
  assert_fails(hmoe_model_run(model, DECODE, &length, in, out), bad, "entry 'decode' needs a state");
  assert_fails(hmoe_model_run_state(model, PLAIN, s, &length, NULL, NULL), bad, "entry 'plain' takes no state");
  assert_fails(hmoe_model_run_state(other, DECODE, s, &length, in, out), bad, "the state belongs to another model");
  assert_fails(hmoe_model_run_state(model, DECODE, s, NULL, in, out), bad, "dims is NULL");
  assert_fails(hmoe_model_run_state(model, DECODE, s, &length, in, out), bad, "entry 'decode': the state has no source yet");
  length = 6;
  assert_fails(hmoe_model_run_state(model, PREPARE, s, &length, source, NULL), bad,
               "entry 'prepare': 6 tokens after 0: the state's source_capacity is 5");
  length = 5;
  assert_ok(hmoe_model_run_state(model, PREPARE, s, &length, source, NULL));
  assert_fails(hmoe_model_run_state(model, PREPARE, s, &length, source, NULL), bad,
               "the state has a source of 5 tokens: rewind it to 0 before another");
  length = 3;
  assert_ok(hmoe_model_run_state(model, DECODE, s, &length, in, out));
  length = 8;
  assert_fails(hmoe_model_run_state(model, DECODE, s, &length, in, out), bad,
               "entry 'decode': 8 tokens after 3: the state's target_capacity is 10");
  mask[4 * 7 - 1] = 2;
  length = 7;
  assert_fails(hmoe_model_run_state(model, DECODE, s, &length, (const void *const[]){x, mask}, out), bad,
               "input 'mask'[27, 0] = 2: expected 0 to 1");
  assert_int_equal(hmoe_state_length(s), 3); /* as before the run that failed */
  assert_ok(hmoe_model_run_state(model, DECODE, s, &length, in, out));
  assert_int_equal(hmoe_state_length(s), 10);
  length = 0;
  assert_ok(hmoe_model_run_state(model, DECODE, s, &length, in, out));
  length = 1;
  assert_fails(hmoe_model_run_state(model, DECODE, s, &length, in, out), bad,
               "1 tokens after 10: the state's target_capacity is 10");

  assert_fails(hmoe_state_rewind(s, -1), bad, "rewind: expected 0 to 10 tokens, found -1");
  assert_fails(hmoe_state_rewind(s, 11), bad, "found 11");
  assert_fails(hmoe_state_rewind(NULL, 0), bad, "the state is NULL");
  assert_fails(hmoe_state_reorder(s, NULL), bad, "rows is NULL");
  assert_fails(hmoe_state_reorder(NULL, (const int32_t[]){0}), bad, "the state is NULL");
  assert_fails(hmoe_state_reorder(s, (const int32_t[]){0, 1, 4, 0}), bad, "rows[2]: expected 0 to 3, found 4");
  assert_fails(hmoe_state_reorder(s, (const int32_t[]){0, -1, 3, 0}), bad, "rows[1]: expected 0 to 3, found -1");
  assert_ok(hmoe_state_rewind(s, 0));
  length = 5;
  assert_ok(hmoe_model_run_state(model, PREPARE, s, &length, source, NULL));
  hmoe_state_destroy(s);
  hmoe_state_destroy(NULL);
  hmoe_model_close(other);
  hmoe_model_close(model);
  toy_destroy(t);
}

/* One call at a time has a state: others are refused meanwhile, and welcome afterwards. */
static void test_state_in_use(void **state) {
  (void)state;
  toy *t = toy_create();
  hmoe_model *model = open_toy(t, 1);
  hmoe_state *s = make_state(model, 4, 10, 2, 5);
  float x[4 * 2 * WIDTH] = {0}, y[4];
  int32_t words[2] = {0};
  int64_t length = 1;
  assert_ok(hmoe_model_run_state(model, PREPARE, s, &length, (const void *const[]){words}, NULL));
  length = 2;
  meddler.model = model;
  meddler.state = s;
  assert_ok(hmoe_model_run_state(model, DECODE, s, &length, (const void *const[]){x, NULL}, (void *const[]){y}));
  meddler.state = NULL;
  assert_int_equal(meddler.calls, 1);
  assert_int_equal(hmoe_state_length(s), 2);
  length = 20;
  assert_fails(hmoe_model_run_state(model, DECODE, s, &length, (const void *const[]){x, NULL}, (void *const[]){y}),
               HMOE_INVALID_ARGUMENT, "target_capacity is 10");
  assert_ok(hmoe_state_reorder(s, (const int32_t[]){0, 0, 0, 0})); /* given back by a run that failed, too */
  assert_ok(hmoe_state_rewind(s, 0));
  hmoe_state_destroy(s);
  hmoe_model_close(model);
  toy_destroy(t);
}

/* A scope that the model does not have needs no sizes; a model without entries that decode has no states. */
static void test_scopes(void **state) {
  (void)state;
  for (uint32_t scope = 0; scope <= HMOE_SCOPE_COUNT; scope++) {
    toy *t = calloc(1, sizeof *t);
    t->plan = plan_create("one");
    plan_entry(t->plan, "open");
    fixture_entry *run = plan_entry(t->plan, "run");
    run->entry.needs_state = scope < HMOE_SCOPE_COUNT;
    if (scope < HMOE_SCOPE_COUNT) state_dim(run, scope, 0);
    toy_init(t);
    hmoe_model *model = open_toy(t, 1);
    hmoe_state_options options = {.struct_size = sizeof options};
    hmoe_state *s;
    static const char *const messages[] = {"target_rows: expected 1 to 2147483615, found 0", "source_rows...",
                                           "the model has no entry that needs one"};
    assert_fails(hmoe_state_create(model, &options, &s), HMOE_INVALID_ARGUMENT, messages[scope]);
    if (scope == HMOE_SCOPE_TARGET) options.target_rows = options.target_capacity = 1;
    if (scope == HMOE_SCOPE_SOURCE) options.source_rows = options.source_capacity = 1;
    if (scope < HMOE_SCOPE_COUNT) {
      assert_ok(hmoe_state_create(model, &options, &s));
      assert_ok(hmoe_model_run_state(model, 1, s, NULL, NULL, NULL));
      assert_ok(hmoe_state_reorder(s, (const int32_t[]){0}));
      assert_ok(hmoe_state_rewind(s, 0));
      hmoe_state_destroy(s);
    }
    hmoe_model_close(model);
    toy_destroy(t);
  }
}

/* ---- memory ---- */

static void test_every_allocation_can_fail(void **state) {
  (void)state;
  toy *t = toy_create();
  mirror *m = calloc(1, sizeof *m);
  int failures = 0;
  for (bool done = false; !done;) {
    counting c = {0};
    hmoe_allocator allocator = {&c, count_allocate, count_release};
    hmoe_options options = fixture_options(failures % 2 ? 1 : 2);
    options.allocator = &allocator;
    hmoe_model *model;
    assert_ok(hmoe_model_open(t->object, &t->weights, &options, &model));
    c.fail_at = c.calls + 1 + failures;
    hmoe_state_options sizes = {sizeof sizes, 2, 64, 1, 8};
    hmoe_state *s;
    int64_t length = 3;
    float x[2 * 3 * WIDTH] = {0}, y[2];
    int32_t words[3] = {0};
    hmoe_status status = hmoe_state_create(model, &sizes, &s);
    if (status != HMOE_OK) assert_null(s);
    if (status == HMOE_OK) status = hmoe_model_run_state(model, PREPARE, s, &length, (const void *const[]){words}, NULL);
    if (status == HMOE_OK)
      status = hmoe_model_run_state(model, DECODE, s, &length, (const void *const[]){x, NULL}, (void *const[]){y});
    done = status == HMOE_OK;
    if (!done) {
      assert_fails(status, HMOE_OUT_OF_MEMORY, "no memory for...");
      failures++;
      if (s) { /* the state survives */
        assert_int_equal(hmoe_state_length(s), 0);
        uint64_t seed = 1;
        *m = (mirror){.rows = 2, .source_rows = 1};
        if (hmoe_state_source_length(s)) assert_ok(hmoe_state_rewind(s, 0));
        prepare_both(model, s, m, 5, &seed);
        decode_both(model, s, m, 4, &seed);
      }
    } else {
      /* No run that is not larger, and no reordering, allocates. */
      int calls = c.calls;
      for (int i = 0; i < 5; i++) {
        assert_ok(hmoe_model_run_state(model, DECODE, s, &length, (const void *const[]){x, NULL}, (void *const[]){y}));
        assert_ok(hmoe_state_reorder(s, (const int32_t[]){1, 0}));
        assert_ok(hmoe_state_rewind(s, hmoe_state_length(s) - 1));
      }
      assert_int_equal(c.calls, calls);
    }
    hmoe_state_destroy(s);
    hmoe_model_close(model);
    assert_int_equal(c.live, 0);
    assert_int_equal(c.bytes, 0);
  }
  assert_true(failures >= 5);
  free(m);
  toy_destroy(t);
}

/* ---- several states at once ---- */

typedef struct decoder {
  hmoe_model *model;
  uint64_t seed;
} decoder;

static void *decode_many(void *argument) {
  decoder *d = argument;
  mirror *m = calloc(1, sizeof *m);
  m->rows = 4;
  m->source_rows = 2;
  hmoe_state *s = make_state(d->model, 4, 64, 2, 16);
  for (int round = 0; round < 10; round++) {
    prepare_both(d->model, s, m, 3, &d->seed);
    for (int i = 0; i < 10; i++) {
      decode_both(d->model, s, m, 1 + i % 3, &d->seed);
      int32_t order[4];
      for (int k = 0; k < 4; k++) order[k] = (int32_t)(fixture_random(&d->seed) % 4);
      reorder_both(s, m, order);
    }
    assert_ok(hmoe_state_rewind(s, 0));
    m->length = 0;
  }
  hmoe_state_destroy(s);
  free(m);
  return NULL;
}

static void test_concurrent_states(void **state) {
  (void)state;
  toy *t = toy_create();
  for (uint32_t threads = 1; threads <= 2; threads++) {
    hmoe_model *model = open_toy(t, threads);
    pthread_t workers[4];
    decoder decoders[4];
    for (int i = 0; i < 4; i++) {
      decoders[i] = (decoder){model, 100 + (uint64_t)i};
      assert_int_equal(pthread_create(&workers[i], NULL, decode_many, &decoders[i]), 0);
    }
    for (int i = 0; i < 4; i++) pthread_join(workers[i], NULL);
    hmoe_model_close(model);
  }
  toy_destroy(t);
}

/* ---- damage ---- */

/* decode without kernels, which trust their plan, and without tensors that must be given. */
static toy *plain_create(void) {
  toy *t = calloc(1, sizeof *t);
  fixture_plan *plan = t->plan = plan_create("plain");
  uint32_t mask = plan_state(plan, HMOE_SCOPE_TARGET, 1, 4), other = plan_state(plan, HMOE_SCOPE_TARGET, 2, 16);
  plan_entry(plan, "open");
  fixture_entry *decode = plan_entry(plan, "decode");
  decode->entry.needs_state = 1;
  uint32_t length = plan_dim(decode, HMOE_DIM_INPUT, 0, 0), rows = state_dim(decode, HMOE_SCOPE_TARGET, 0);
  uint32_t capacity = state_dim(decode, HMOE_SCOPE_TARGET, 1), past = state_dim(decode, HMOE_SCOPE_TARGET, 2);
  uint32_t tokens = plan_dim(decode, HMOE_DIM_PRODUCT, rows, length), sum = plan_dim(decode, HMOE_DIM_SUM, tokens, past);
  uint32_t up = plan_dim(decode, HMOE_DIM_ROUND_UP, sum, 8), blocks = plan_dim(decode, HMOE_DIM_CEIL_DIV, up, 4);
  uint32_t shown = token_input(plan, decode, "mask", 1, 4, tokens);
  plan_shape(&decode->inputs[0], -2, -1);
  decode->inputs[0].optional = 1;
  decode->inputs[0].fill = 1;
  uint32_t mask32 = plan_temporary(decode, 0, 4, tokens), positions = plan_temporary(decode, 0, 4, tokens);
  uint32_t last = plan_temporary(decode, 0, 4, rows), bias = plan_temporary(decode, 2 * 40 * 4, 0, HMOE_NONE);
  uint32_t table = plan_temporary(decode, 8 * 2 * 4, 4, blocks);
  uint32_t all_masks = state_buffer(decode, mask), all_others = state_buffer(decode, other);
  uint32_t group = plan_temporary(decode, sizeof(hmoe_blocks) + 8 * sizeof(hmoe_block), sizeof(hmoe_block), tokens);
  uint32_t row_token = plan_temporary(decode, 0, 4, tokens), counters = plan_temporary(decode, 4 * 16, 0, HMOE_NONE);
  plan_step(plan, decode, HMOE_STEP_IDS, tokens, BINDINGS(AT(shown), AT(mask32)),
            FIELDS(ids, .element_bytes = 4, .limit = 2, .fill = 1));
  plan_step(plan, decode, HMOE_STEP_APPEND_MASK, HMOE_NONE, BINDINGS(AT(mask32), AT(all_masks)),
            FIELDS(append_mask, .tokens = {rows, length, past, capacity}));
  plan_step(plan, decode, HMOE_STEP_POSITIONS, HMOE_NONE, BINDINGS(AT(all_masks), AT(positions)),
            FIELDS(positions, .tokens = {rows, length, past, capacity}, .limit = 100));
  plan_step(plan, decode, HMOE_STEP_LAST_ROWS, HMOE_NONE, BINDINGS(AT(all_masks), AT(last)),
            FIELDS(last_rows, .tokens = {rows, length, past, capacity}));
  plan_step(plan, decode, HMOE_STEP_RELATIVE_BIAS, HMOE_NONE, BINDINGS(AT(bias), AT(table)),
            FIELDS(relative_bias, .buckets = 8, .heads = 2, .bidirectional = 1, .max_distance = 16, .row_floats = 40, .pad = 3));
  plan_step(plan, decode, HMOE_STEP_GROUP, tokens,
            BINDINGS(AT(positions), AT(HMOE_NONE), AT(group), AT(row_token), AT(HMOE_NONE), AT(HMOE_NONE), AT(counters)),
            FIELDS(group, .experts = 4, .top_k = 1, .row_block = 2, .scope_dim = length, .capacity = 1, .past_dim = HMOE_NONE,
                   .stride_dim = HMOE_NONE));
  plan_copy(plan, decode, BINDINGS(AT(all_others), AT(table)), 8);
  decode->entry.advance[HMOE_SCOPE_TARGET] = length;
  toy_init(t);
  return t;
}

static hmoe_status run_plain(const toy *t, int64_t length) {
  hmoe_options options = fixture_options(1);
  options.allocator = &(hmoe_allocator){NULL, allocate_little, guard_release};
  hmoe_model *model;
  HMOE_TRY(hmoe_model_open(t->object, &t->weights, &options, &model));
  hmoe_state_options sizes = {sizeof sizes, 2, 40, 1, 40};
  hmoe_state *s;
  const int64_t dims[64] = {length, length, length};
  const void *const none[64] = {NULL};
  hmoe_status status = hmoe_state_create(model, &sizes, &s);
  for (int i = 0; i < 3 && status == HMOE_OK; i++) {
    status = hmoe_model_run_state(model, 1, s, dims, none, (void *const *)(uintptr_t)none);
    if (status == HMOE_OK) status = hmoe_state_reorder(s, (const int32_t[]){1, 0});
  }
  hmoe_state_destroy(s);
  hmoe_model_close(model);
  return status;
}

static void test_damaged_plans(void **state) {
  (void)state;
  toy *t = plain_create();
  static const uint32_t values[] = {0, 1, 2, 3, 7, 16, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffff8};
  uint32_t *words = (uint32_t *)(void *)t->plan->bytes;
  int refused = 0, worked = 0;
  assert_ok(run_plain(t, 3));
  for (size_t i = 0; i < t->plan->used / 4; i++) {
    uint32_t saved = words[i];
    for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
      words[i] = values[v];
      if (run_plain(t, 3) == HMOE_OK) worked++;
      else refused++;
    }
    words[i] = saved;
  }
  assert_true(refused > 500 && worked > 500);
  assert_ok(run_plain(t, 13));
  toy_destroy(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_decode),
      cmocka_unit_test(test_every_order),
      cmocka_unit_test(test_errors),
      cmocka_unit_test(test_state_in_use),
      cmocka_unit_test(test_scopes),
      cmocka_unit_test(test_every_allocation_can_fail),
      cmocka_unit_test(test_concurrent_states),
      cmocka_unit_test(test_damaged_plans),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
