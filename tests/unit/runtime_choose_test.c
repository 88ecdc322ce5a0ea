/* CHOOSE: which way is taken, in and outside of loops, and which plans are refused. */
#include "runtime_fixture.h"

enum { EXPERTS = 4, ROW_BLOCK = 4, CHUNK = 2, TOKENS_MAX = 300, MOST_SPLITS = 4 };

/* buffers: y [rows]. Grid ROWS, a row a task. */
static void add_one(const hmoe_kernel_call *call, int64_t task, void *scratch) {
  (void)scratch;
  ((float *)call->buffers[0])[task] += 1;
}

static void add_ten(const hmoe_kernel_call *call, int64_t task, void *scratch) {
  (void)scratch;
  ((float *)call->buffers[0])[task] += 10;
}

/* buffers: blocks, row_token, y. Grid BLOCKS; the first part of the columns has all there is. */
static void add_to_blocks(const hmoe_kernel_call *call, int64_t task, float value) {
  if (task % call->splits) return;
  const hmoe_block *block =
      (const hmoe_block *)((const hmoe_blocks *)call->buffers[0] + 1) + call->first_block + task / call->splits;
  const int32_t *row_token = call->buffers[1];
  for (int32_t r = block->row; r < block->row + block->rows; r++) ((float *)call->buffers[2])[row_token[r]] += value;
}

static void blocks_one(const hmoe_kernel_call *call, int64_t task, void *scratch) {
  (void)scratch;
  add_to_blocks(call, task, 1);
}

static void blocks_ten(const hmoe_kernel_call *call, int64_t task, void *scratch) {
  (void)scratch;
  add_to_blocks(call, task, 10);
}

enum { ADD_ONE, ADD_TEN, BLOCKS_ONE, BLOCKS_TEN, BLOCKS_MORE, KERNELS };
static const hmoe_kernel_fn kernels[KERNELS] = {add_one, add_ten, blocks_one, blocks_ten, blocks_ten};

typedef enum shape { PLAIN, IN_ROWS, WITH_BLOCKS, IN_GROUPS } shape;

/* y += 1 the first way; y += 10, twice, the second. tuning: of `percent`; NULL: none. */
static fixture_plan *make_tuned_plan(shape shape, uint32_t rows_a_block, uint32_t percent, const hmoe_plan_tuning *tuning) {
  fixture_plan *plan = plan_create("choose");
  plan_entry(plan, "open");
  fixture_entry *e = plan_entry(plan, "run");
  uint32_t tokens = plan_dim(e, HMOE_DIM_INPUT, 0, 0), chunk = plan_dim(e, HMOE_DIM_CHUNK, 0, 10);
  uint32_t missing = plan_dim(e, HMOE_DIM_MISSING, 0, CHUNK);
  uint32_t indices = plan_input(plan, e, "indices", 1, 4), y = plan_output(plan, e, "y", 0, 4);
  if (shape == PLAIN || shape == IN_ROWS) {
    uint32_t rows = shape == PLAIN ? tokens : chunk;
    if (shape == IN_ROWS)
      plan_step(plan, e, HMOE_STEP_LOOP, tokens, BINDINGS(AT(HMOE_NONE)),
                FIELDS(loop, .kind = HMOE_LOOP_ROWS, .steps = 4, .chunk = 10));
    plan_step(plan, e, HMOE_STEP_CHOOSE, rows, BINDINGS(AT(HMOE_NONE)),
              FIELDS(choose, .first_steps = 1, .second_steps = 2, .block_rows = rows_a_block, .row_block = ROW_BLOCK, .groups = 1));
    plan_kernel(plan, e, ADD_ONE, rows, BINDINGS({y, 0, 0, 4}));
    for (int i = 0; i < 2; i++) plan_kernel(plan, e, ADD_TEN, rows, BINDINGS({y, 0, 0, 4}));
    return plan;
  }
  uint32_t blocks = plan_temporary(e, sizeof(hmoe_blocks), sizeof(hmoe_block), tokens);
  uint32_t row_token = plan_temporary(e, 0, 4, tokens), sets = plan_temporary(e, 0, 4, tokens);
  uint32_t groups = shape == IN_GROUPS ? CHUNK : EXPERTS; /* of one expert each */
  uint32_t scratch = plan_temporary(e, 256, 32, tokens), todo_sets = plan_temporary(e, 0, 4, missing);
  plan_step(plan, e, HMOE_STEP_GROUP_SETS, tokens, BINDINGS(AT(indices), AT(blocks), AT(row_token), AT(sets), AT(scratch)),
            FIELDS(group_sets, .experts = EXPERTS, .top_k = 1, .mode = HMOE_SETS_DISTINCT, .row_block = ROW_BLOCK));
  if (shape == IN_GROUPS)
    plan_step(plan, e, HMOE_STEP_LOOP, tokens,
              BINDINGS(AT(blocks), AT(sets), AT(todo_sets), AT(HMOE_NONE), AT(HMOE_NONE), AT(HMOE_NONE)),
              FIELDS(loop, .kind = HMOE_LOOP_GROUPS, .steps = 4, .chunk = CHUNK, .groups = EXPERTS, .top_k = 1));
  hmoe_plan_span tunings = plan_put(plan, tuning, sizeof *tuning, tuning ? 1 : 0);
  plan_step(plan, e, HMOE_STEP_CHOOSE, tokens, BINDINGS(AT(blocks)),
            FIELDS(choose, .first_steps = 1, .second_steps = 2, .percent = percent, .block_rows = rows_a_block,
                   .row_block = ROW_BLOCK, .groups = groups, .tunings = tunings));
  plan_step(plan, e, HMOE_STEP_KERNEL, tokens, BINDINGS(AT(blocks), AT(row_token), AT(y)),
            FIELDS(kernel, .kernel = BLOCKS_ONE, .grid = HMOE_GRID_BLOCKS, .row_block = ROW_BLOCK, .groups = groups,
                   .blocks_binding = 0, .column_splits = 1, .tasks = 2));
  for (uint32_t i = 0; i < 2; i++)
    plan_step(plan, e, HMOE_STEP_KERNEL, tokens, BINDINGS(AT(blocks), AT(row_token), AT(y)),
              FIELDS(kernel, .kernel = BLOCKS_TEN + i, .grid = HMOE_GRID_BLOCKS, .row_block = ROW_BLOCK, .groups = groups,
                     .blocks_binding = 0, .column_splits = MOST_SPLITS, .tasks = 2));
  return plan;
}

static fixture_plan *make_plan(shape shape, uint32_t rows_a_block) { return make_tuned_plan(shape, rows_a_block, 0, NULL); }

static const char empty_file[10] = {2, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
static const hmoe_weights no_weights = {.kind = HMOE_WEIGHTS_MEMORY, .data = empty_file, .size_bytes = sizeof empty_file};

/* indices: expert of each token; y: 1 for the first way, 20 for the second. */
static void check_run(shape shape, uint32_t rows_a_block, uint32_t threads, int64_t tokens, const int32_t *indices,
                      const float *expected) {
  static const hmoe_executor executor = {NULL, 3, fixture_parallel_for};
  fixture_plan *plan = make_plan(shape, rows_a_block);
  hmoe_options options = fixture_options(threads);
  if (threads == 3) options.executor = &executor;
  hmoe_model *model;
  const hmoe_model_object *object = plan_finish(plan, kernels, KERNELS);
  for (int i = 0; i < KERNELS; i++) plan->functions[i].row_ps = 0;
  assert_ok(hmoe_model_open(object, &no_weights, &options, &model));
  for (int repeat = 0; repeat < 3; repeat++) {
    float y[TOKENS_MAX] = {0};
    assert_ok(hmoe_model_run(model, 1, &tokens, (const void *const[]){indices}, (void *const[]){y}));
    for (int64_t i = 0; i < tokens; i++)
      if (y[i] != expected[i])
        fail_msg("shape %d, %u threads, token %lld of %lld: expected %g, found %g", (int)shape, threads, (long long)i,
                 (long long)tokens, (double)expected[i], (double)y[i]);
  }
  hmoe_model_close(model);
  free(plan);
}

static void fill_with(float *values, int from, int to, float value) {
  for (int i = from; i < to; i++) values[i] = value;
}

/* Times are not known: by the rows that blocks have. */
static void test_ways(void **state) {
  (void)state;
  int32_t indices[TOKENS_MAX] = {0};
  float one[TOKENS_MAX], twenty[TOKENS_MAX], mixed[TOKENS_MAX];
  fill_with(one, 0, TOKENS_MAX, 1);
  fill_with(twenty, 0, TOKENS_MAX, 20);
  for (int i = PLAIN; i <= WITH_BLOCKS; i += 2)
    for (uint32_t threads = 1; threads <= 3; threads++) {
      shape form = (shape)i;
      check_run(form, 3, threads, 4, indices, one);
      check_run(form, 3, threads, 6, indices, one);
      check_run(form, 3, threads, 5, indices, twenty);
      check_run(form, 3, threads, 2, indices, twenty);
      check_run(form, 0, threads, 1, indices, one);
    }
  /* Chunks of ten rows: the last, of five, is too small. */
  fill_with(mixed, 0, 20, 1);
  fill_with(mixed, 20, 25, 20);
  check_run(IN_ROWS, 3, 1, 25, indices, mixed);
  /* Four experts in chunks of two: the first chunk has 10 rows in 4 blocks, the second 2 rows in 2. */
  for (int i = 0; i < 10; i++) indices[i] = i == 4 ? 1 : 0;
  indices[10] = 2;
  indices[11] = 3;
  fill_with(mixed, 0, 10, 1);
  fill_with(mixed, 10, 12, 20);
  check_run(IN_GROUPS, 2, 1, 12, indices, mixed);
}

typedef struct times {
  uint64_t row, block, split_row;
} times;

/* By predicted times: at each limit the first way and then the second, by one picosecond or percent. */
static void test_times(void **state) {
  (void)state;
  enum { MANY = 260, MEGA = 1000000 };
  static const hmoe_executor executor = {NULL, 3, fixture_parallel_for};
  static const struct {
    const char *experts; /* of the tokens; NULL: MANY of one */
    uint32_t threads, percent;
    uint64_t barrier_ps;
    times first, second[2];
    hmoe_plan_tuning tuning; /* value 0: none */
    float y;
  } cases[] = {
      /* Sums, on one thread: two blocks of four rows. */
      {"aaaaaaaa", 1, 100, 9, {20, 0, 0}, {{10, 0, 0}, {10, 0, 0}}, {0}, 1},
      {"aaaaaaaa", 1, 100, 9, {21, 0, 0}, {{10, 0, 0}, {10, 0, 0}}, {0}, 20},
      {"aaaaaaaa", 1, 100, 9, {20, 0, 0}, {{11, 0, 0}, {9, 0, 0}}, {0}, 1},
      {"aaaaaaaa", 1, 100, 9, {20, 0, 0}, {{10, 0, 0}, {9, 0, 0}}, {0}, 20},
      {"aaaaaaaa", 1, 95, 9, {19, 0, 0}, {{10, 0, 0}, {10, 0, 0}}, {0}, 1},
      {"aaaaaaaa", 1, 94, 9, {19, 0, 0}, {{10, 0, 0}, {10, 0, 0}}, {0}, 20},
      {"aaaaaaaa", 1, 0, 9, {1, 0, 0}, {{10, 0, 0}, {10, 0, 0}}, {0}, 20},
      /* A block takes at least so long. */
      {"aaaaaaaa", 1, 100, 0, {1, 80, 0}, {{10, 0, 0}, {10, 0, 0}}, {0}, 1},
      {"aaaaaaaa", 1, 100, 0, {1, 81, 0}, {{10, 0, 0}, {10, 0, 0}}, {0}, 20},
      {"aaaaab", 1, 100, 0, {10, 24, 0}, {{10, 0, 0}, {1, 6, 0}}, {0}, 1},
      {"aaaaab", 1, 100, 0, {10, 25, 0}, {{10, 0, 0}, {1, 6, 0}}, {0}, 20},
      /* Rows are copied once, uncut. */
      {"aaaaaaaa", 1, 100, 0, {30, 0, 0}, {{10, 0, 9}, {10, 0, 1}}, {0}, 1},
      {"aaaaaaaa", 1, 100, 0, {31, 0, 0}, {{10, 0, 9}, {10, 0, 1}}, {0}, 20},
      /* One block has one task, or is cut for both threads, with copies in each part. */
      {"aaaa", 2, 100, 0, {10, 0, 0}, {{10, 0, 0}, {10, 0, 0}}, {0}, 1},
      {"aaaa", 2, 100, 0, {11, 0, 0}, {{10, 0, 0}, {10, 0, 0}}, {0}, 20},
      {"aaaa", 2, 100, 0, {15, 0, 0}, {{10, 0, 5}, {10, 0, 0}}, {0}, 1},
      {"aaaa", 2, 100, 0, {16, 0, 0}, {{10, 0, 5}, {10, 0, 0}}, {0}, 20},
      /* The third of three equal blocks, in full or in parts. */
      {"aaaabbbbcccc", 2, 134, 0, {10 * MEGA, 0, 0}, {{5 * MEGA, 0, 0}, {5 * MEGA, 0, 0}}, {0}, 1},
      {"aaaabbbbcccc", 2, 133, 0, {10 * MEGA, 0, 0}, {{5 * MEGA, 0, 0}, {5 * MEGA, 0, 0}}, {0}, 20},
      /* A large block had better come first: sets are in the order in which they appear. */
      {"aaaabc", 2, 110, 0, {10 * MEGA, 0, 0}, {{5 * MEGA, 0, 0}, {5 * MEGA, 0, 0}}, {0}, 1},
      {"abcccc", 2, 110, 0, {10 * MEGA, 0, 0}, {{5 * MEGA, 0, 0}, {5 * MEGA, 0, 0}}, {0}, 20},
      {"aaaaaaaabbbb", 3, 100, 0, {10, 0, 0}, {{5, 0, 0}, {5, 0, 0}}, {0}, 1},
      {"aaaaaaaabbbb", 3, 100, 0, {11, 0, 0}, {{5, 0, 0}, {5, 0, 0}}, {0}, 20},
      /* 65 equal blocks, that are not dealt one by one. */
      {NULL, 2, 100, 0, {10, 0, 0}, {{5, 0, 0}, {5, 0, 0}}, {0}, 1},
      {NULL, 2, 99, 0, {10, 0, 0}, {{5, 0, 0}, {5, 0, 0}}, {0}, 20},
      /* Between the two steps threads wait for each other. */
      {"aaaaaaaa", 2, 100, 10, {50, 0, 0}, {{20, 0, 0}, {20, 0, 0}}, {0}, 1},
      {"aaaaaaaa", 2, 100, 10, {51, 0, 0}, {{20, 0, 0}, {20, 0, 0}}, {0}, 20},
      /* A time that is not known: by rows. */
      {"aaaaaaaa", 1, 0, 0, {0, 0, 0}, {{10, 0, 0}, {10, 0, 0}}, {0}, 1},
      {"aaaaaaaa", 1, 0, 0, {1, 0, 0}, {{10, 0, 0}, {0, 0, 0}}, {0}, 1},
      {"aaaaaaaa", 1, 0, 0, {1, 0, 0}, {{0, 0, 0}, {10, 0, 0}}, {0}, 1},
      /* A tuning of so many rows, on so many threads. */
      {"aaaaaaaa", 1, 94, 0, {19, 0, 0}, {{10, 0, 0}, {10, 0, 0}}, {8, 8, HMOE_NONE, 0, 95, 0}, 1},
      {"aaaaaaaa", 1, 94, 0, {19, 0, 0}, {{10, 0, 0}, {10, 0, 0}}, {8, 8, HMOE_CPU_PORTABLE, 1, 95, 0}, 1},
      {"aaaaaaaa", 1, 94, 0, {19, 0, 0}, {{10, 0, 0}, {10, 0, 0}}, {8, 8, HMOE_CPU_AVX2, 1, 95, 0}, 20},
      {"aaaaaaaa", 1, 94, 0, {19, 0, 0}, {{10, 0, 0}, {10, 0, 0}}, {8, 8, HMOE_NONE, 2, 95, 0}, 20},
      {"aaaaaaaa", 1, 94, 0, {19, 0, 0}, {{10, 0, 0}, {10, 0, 0}}, {9, 99, HMOE_NONE, 0, 95, 0}, 20},
      {"aaaaaaaa", 1, 94, 0, {19, 0, 0}, {{10, 0, 0}, {10, 0, 0}}, {1, 7, HMOE_NONE, 0, 95, 0}, 20},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const hmoe_plan_tuning *tuning = cases[i].tuning.value ? &cases[i].tuning : NULL;
    fixture_plan *plan = make_tuned_plan(WITH_BLOCKS, 4, cases[i].percent, tuning);
    const hmoe_model_object *object = plan_finish(plan, kernels, KERNELS);
    const times all[] = {cases[i].first, cases[i].second[0], cases[i].second[1]};
    for (int k = 0; k < 3; k++) {
      hmoe_function *function = &plan->functions[BLOCKS_ONE + k];
      function->row_ps = all[k].row;
      function->block_ps = all[k].block;
      function->split_row_ps = all[k].split_row;
    }
    plan->images[0].sharing.barrier_ps = cases[i].barrier_ps;
    hmoe_options options = fixture_options(cases[i].threads);
    options.cpu = "portable";
    if (cases[i].threads == 3) options.executor = &executor;
    hmoe_model *model;
    assert_ok(hmoe_model_open(object, &no_weights, &options, &model));
    int64_t tokens = cases[i].experts ? (int64_t)strlen(cases[i].experts) : MANY;
    int32_t indices[TOKENS_MAX] = {0};
    float y[TOKENS_MAX] = {0};
    for (int64_t t = 0; cases[i].experts && t < tokens; t++) indices[t] = cases[i].experts[t] - 'a';
    assert_ok(hmoe_model_run(model, 1, &tokens, (const void *const[]){indices}, (void *const[]){y}));
    for (int64_t t = 0; t < tokens; t++)
      if (y[t] != cases[i].y)
        fail_msg("case %zu, token %lld: expected %g, found %g", i, (long long)t, (double)cases[i].y, (double)y[t]);
    hmoe_model_close(model);
    free(plan);
  }
}

static void test_refused(void **state) {
  (void)state;
  static const struct {
    shape shape;
    int step;
    size_t field;
    uint32_t value;
    const char *message;
  } cases[] = {
      {PLAIN, 0, offsetof(hmoe_step_choose, first_steps), 0, "(choose): 0 or 2 steps, by 0 percent or from 1 rows of a block on"},
      {PLAIN, 0, offsetof(hmoe_step_choose, second_steps), 0, "(choose): 1 or 0 steps, by 0 percent or from 1 rows of a block on"},
      {PLAIN, 0, offsetof(hmoe_step_choose, second_steps), 3, "(choose): 1 or 3 steps, by 0 percent or from 1 rows of a block on"},
      {PLAIN, 0, offsetof(hmoe_step_choose, second_steps), UINT32_MAX, "(choose): 1 or..."},
      {PLAIN, 0, offsetof(hmoe_step_choose, percent), 1u << 31, "(choose): 1 or..."},
      {PLAIN, 0, offsetof(hmoe_step_choose, row_block), 0, "(choose): blocks of 0 rows in 1 groups"},
      {IN_ROWS, 0, offsetof(hmoe_step_loop, steps), 3, "must stand whole inside"},
      {IN_GROUPS, 1, offsetof(hmoe_step_loop, steps), 1, "must stand whole inside"},
      {WITH_BLOCKS, 1, offsetof(hmoe_step_choose, second_steps), 3,
       "(choose): 1 or 3 steps, by 0 percent or from 1 rows of a block on"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fixture_plan *plan = make_plan(cases[i].shape, 1);
    uint8_t *fields = plan->bytes + plan->entries[1].steps[cases[i].step].fields.offset;
    memcpy(fields + cases[i].field, &cases[i].value, sizeof cases[i].value);
    hmoe_options options = fixture_options(1);
    hmoe_model *model;
    assert_fails(hmoe_model_open(plan_finish(plan, kernels, KERNELS), &no_weights, &options, &model), HMOE_INCOMPATIBLE,
                 cases[i].message);
    free(plan);
  }
  /* A loop, or another choose, in one of the ways. */
  for (int loop = 0; loop < 2; loop++) {
    fixture_plan *plan = make_plan(PLAIN, 1);
    hmoe_plan_step *steps = plan->entries[1].steps;
    steps[2] = steps[0];
    if (loop) {
      plan_step(plan, &plan->entries[1], HMOE_STEP_LOOP, 0, BINDINGS(AT(HMOE_NONE)),
                FIELDS(loop, .kind = HMOE_LOOP_ROWS, .steps = 1, .chunk = 1));
      steps[2] = steps[--plan->entries[1].entry.steps.count];
    }
    hmoe_options options = fixture_options(1);
    hmoe_model *model;
    assert_fails(hmoe_model_open(plan_finish(plan, kernels, KERNELS), &no_weights, &options, &model), HMOE_INCOMPATIBLE,
                 "may not stand inside");
    free(plan);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_ways), cmocka_unit_test(test_times), cmocka_unit_test(test_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
