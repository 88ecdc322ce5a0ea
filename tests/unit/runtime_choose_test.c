/* CHOOSE: which way is taken, in and outside of loops, and which plans are refused. */
#include "runtime_fixture.h"

enum { EXPERTS = 4, ROW_BLOCK = 4, CHUNK = 2, TOKENS_MAX = 40 };

/* buffers: y [rows]. Grid ROWS, a row a task. */
static void add_one(const hmoe_kernel_call *call, int64_t task, void *scratch) {
  (void)scratch;
  ((float *)call->buffers[0])[task] += 1;
}

static void add_ten(const hmoe_kernel_call *call, int64_t task, void *scratch) {
  (void)scratch;
  ((float *)call->buffers[0])[task] += 10;
}

/* buffers: blocks, row_token, y. Grid BLOCKS. */
static void add_to_blocks(const hmoe_kernel_call *call, int64_t task, float value) {
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

enum { ADD_ONE, ADD_TEN, BLOCKS_ONE, BLOCKS_TEN, KERNELS };
static const hmoe_kernel_fn kernels[KERNELS] = {add_one, add_ten, blocks_one, blocks_ten};

typedef enum shape { PLAIN, IN_ROWS, WITH_BLOCKS, IN_GROUPS } shape;

/* y += 1 the first way; y += 10, twice, the second. */
static fixture_plan *make_plan(shape shape, uint64_t fill, uint64_t rows_a_block) {
  fixture_plan *plan = plan_create("choose");
  plan_entry(plan, "open");
  fixture_entry *e = plan_entry(plan, "run");
  uint32_t tokens = plan_dim(e, HMOE_DIM_INPUT, 0, 0), chunk = plan_dim(e, HMOE_DIM_CHUNK, 0, 10);
  uint32_t missing = plan_dim(e, HMOE_DIM_MISSING, 0, CHUNK);
  uint32_t indices = plan_input(plan, e, "indices", 1, 4), y = plan_output(plan, e, "y", 0, 4);
  if (shape == PLAIN || shape == IN_ROWS) {
    uint32_t rows = shape == PLAIN ? tokens : chunk;
    if (shape == IN_ROWS) plan_step(plan, e, HMOE_STEP_LOOP, 0, tokens, 0, NULL, ARGS(4, HMOE_LOOP_ROWS, 10));
    plan_step(plan, e, HMOE_STEP_CHOOSE, 0, rows, BINDINGS(AT(HMOE_NONE)), ARGS(1, 2, fill, rows_a_block, ROW_BLOCK));
    plan_step(plan, e, HMOE_STEP_KERNEL, ADD_ONE, rows, BINDINGS({y, 0, 0, 4}), ARGS(HMOE_GRID_ROWS, 1, 0));
    for (int i = 0; i < 2; i++)
      plan_step(plan, e, HMOE_STEP_KERNEL, ADD_TEN, rows, BINDINGS({y, 0, 0, 4}), ARGS(HMOE_GRID_ROWS, 1, 0));
    return plan;
  }
  uint32_t blocks = plan_temporary(e, sizeof(hmoe_blocks), sizeof(hmoe_block), tokens);
  uint32_t row_token = plan_temporary(e, 0, 4, tokens), sets = plan_temporary(e, 0, 4, tokens);
  uint32_t scratch = plan_temporary(e, 256, 32, tokens), todo_sets = plan_temporary(e, 0, 4, missing);
  plan_step(plan, e, HMOE_STEP_GROUP_SETS, 0, tokens, BINDINGS(AT(indices), AT(blocks), AT(row_token), AT(sets), AT(scratch)),
            ARGS(EXPERTS, 1, HMOE_SETS_DISTINCT, ROW_BLOCK));
  if (shape == IN_GROUPS)
    plan_step(plan, e, HMOE_STEP_LOOP, 0, HMOE_NONE,
              BINDINGS(AT(blocks), AT(sets), AT(todo_sets), AT(HMOE_NONE), AT(HMOE_NONE), AT(HMOE_NONE)),
              ARGS(4, HMOE_LOOP_GROUPS, CHUNK, 1));
  plan_step(plan, e, HMOE_STEP_CHOOSE, 0, HMOE_NONE, BINDINGS(AT(blocks)), ARGS(1, 2, fill, rows_a_block, 0));
  plan_step(plan, e, HMOE_STEP_KERNEL, BLOCKS_ONE, HMOE_NONE, BINDINGS(AT(blocks), AT(row_token), AT(y)),
            ARGS(HMOE_GRID_BLOCKS, ROW_BLOCK, 1, 0));
  for (int i = 0; i < 2; i++)
    plan_step(plan, e, HMOE_STEP_KERNEL, BLOCKS_TEN, HMOE_NONE, BINDINGS(AT(blocks), AT(row_token), AT(y)),
              ARGS(HMOE_GRID_BLOCKS, ROW_BLOCK, 1, 0));
  return plan;
}

static const char empty_file[10] = {2, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
static const hmoe_weights no_weights = {.kind = HMOE_WEIGHTS_MEMORY, .data = empty_file, .size_bytes = sizeof empty_file};

/* indices: expert of each token; y: 1 for the first way, 20 for the second. */
static void check_run(shape shape, uint64_t fill, uint64_t rows_a_block, uint32_t threads, int64_t tokens, const int32_t *indices,
                      const float *expected) {
  static const hmoe_executor executor = {NULL, 3, fixture_parallel_for};
  fixture_plan *plan = make_plan(shape, fill, rows_a_block);
  hmoe_options options = fixture_options(threads);
  if (threads == 3) options.executor = &executor;
  hmoe_model *model;
  assert_ok(hmoe_model_open(plan_finish(plan, kernels, KERNELS), &no_weights, &options, &model));
  for (int repeat = 0; repeat < 3; repeat++) {
    float y[TOKENS_MAX] = {0};
    assert_ok(hmoe_model_run(model, 1, &tokens, (const void *const[]){indices}, (void *const[]){y}));
    for (int64_t i = 0; i < tokens; i++)
      if (y[i] != expected[i])
        fail_msg("shape %d, fill %llu, %u threads, token %lld of %lld: expected %g, found %g", (int)shape, (unsigned long long)fill,
                 threads, (long long)i, (long long)tokens, (double)expected[i], (double)y[i]);
  }
  hmoe_model_close(model);
  free(plan);
}

static void fill_with(float *values, int from, int to, float value) {
  for (int i = from; i < to; i++) values[i] = value;
}

static void test_ways(void **state) {
  (void)state;
  int32_t indices[TOKENS_MAX] = {0};
  float one[TOKENS_MAX], twenty[TOKENS_MAX], mixed[TOKENS_MAX];
  fill_with(one, 0, TOKENS_MAX, 1);
  fill_with(twenty, 0, TOKENS_MAX, 20);
  /* 2 blocks of 4 rows a thread; blocks are half full at least. */
  for (int i = PLAIN; i <= WITH_BLOCKS; i += 2) {
    shape form = (shape)i;
    check_run(form, 2, 2, 1, 8, indices, one);
    check_run(form, 2, 2, 1, 5, indices, one);
    check_run(form, 2, 2, 1, 4, indices, twenty);
    check_run(form, 2, 2, 2, 16, indices, one);
    check_run(form, 2, 2, 2, 12, indices, twenty);
    check_run(form, 2, 2, 3, 21, indices, one);
    check_run(form, 2, 2, 3, 20, indices, twenty);
    check_run(form, 0, 3, 1, 10, indices, one);
    check_run(form, 0, 3, 1, 5, indices, twenty);
  }
  /* Chunks of ten rows: the last, of five, is too small. */
  fill_with(mixed, 0, 20, 1);
  fill_with(mixed, 20, 25, 20);
  check_run(IN_ROWS, 3, 2, 1, 25, indices, mixed);
  /* Four experts in chunks of two: the first chunk has 10 rows in 4 blocks, the second 2 rows in 2. */
  for (int i = 0; i < 10; i++) indices[i] = i == 4 ? 1 : 0;
  indices[10] = 2;
  indices[11] = 3;
  fill_with(mixed, 0, 10, 1);
  fill_with(mixed, 10, 12, 20);
  for (uint32_t threads = 1; threads <= 3; threads++) check_run(IN_GROUPS, 0, 2, threads, 12, indices, mixed);
  check_run(IN_GROUPS, 5, 0, 1, 12, indices, twenty);
  check_run(IN_GROUPS, 4, 0, 1, 12, indices, mixed);
}

static void test_refused(void **state) {
  (void)state;
  static const struct {
    shape shape;
    int step, arg;
    uint64_t value;
    const char *message;
  } cases[] = {
      {PLAIN, 0, 0, 0, "choose between 0 and 2 steps"},
      {PLAIN, 0, 1, 0, "choose between 1 and 0 steps"},
      {PLAIN, 0, 1, 3, "choose between 1 and 3 steps"},
      {PLAIN, 0, 1, UINT64_MAX, "choose between"},
      {PLAIN, 0, 2, 1ull << 31, "choose between"},
      {PLAIN, 0, 4, 0, "needs rows and a row block"},
      {IN_ROWS, 0, 0, 3, "whole inside a loop"},
      {IN_GROUPS, 1, 0, 1, "whole inside a loop"},
      {WITH_BLOCKS, 1, 1, 3, "choose between 1 and 3 steps"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fixture_plan *plan = make_plan(cases[i].shape, 1, 1);
    uint64_t *args = (uint64_t *)(void *)(plan->bytes + plan->entries[1].steps[cases[i].step].args.offset);
    args[cases[i].arg] = cases[i].value;
    hmoe_options options = fixture_options(1);
    hmoe_model *model;
    assert_fails(hmoe_model_open(plan_finish(plan, kernels, KERNELS), &no_weights, &options, &model), HMOE_INCOMPATIBLE,
                 cases[i].message);
    free(plan);
  }
  /* A loop, or another choose, in one of the ways. */
  for (uint32_t kind = HMOE_STEP_LOOP; kind <= HMOE_STEP_CHOOSE; kind += HMOE_STEP_CHOOSE - HMOE_STEP_LOOP) {
    fixture_plan *plan = make_plan(PLAIN, 1, 1);
    plan->entries[1].steps[2] = plan->entries[1].steps[0];
    plan->entries[1].steps[2].kind = kind;
    hmoe_options options = fixture_options(1);
    hmoe_model *model;
    assert_fails(hmoe_model_open(plan_finish(plan, kernels, KERNELS), &no_weights, &options, &model), HMOE_INCOMPATIBLE,
                 "no loop and no other choose");
    free(plan);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_ways), cmocka_unit_test(test_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
