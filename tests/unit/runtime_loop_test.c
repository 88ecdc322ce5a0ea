/* Grouping by selection sets, loops over chunks of rows and groups, and the selection cache, alone and shared by threads. */
#include "runtime_fixture.h"

#include <stdatomic.h>

enum { EXPERTS = 6, TOP_K = 2, SETS = 15, TOKENS_MAX = 80, ROW_BLOCK = 3, CHUNK = 4, SLOTS = 6 };

static atomic_long generated;

/* What a set's generated weights are, here one number. */
static float number_of(const int32_t *set) { return (float)(set[0] * 100 + set[1] + 1); }

/* buffers: todo_sets, todo_slot, todo_token (or NULL), table. rows: sets to generate. */
static void generate(const hmoe_kernel_call *call, int64_t task, void *scratch) {
  (void)scratch;
  const int32_t *sets = call->buffers[0], *slots = call->buffers[1], *tokens = call->buffers[2];
  float *table = call->buffers[3];
  table[slots[task]] = sets ? number_of(sets + task * TOP_K) : (float)(tokens[task] + 1);
  atomic_fetch_add(&generated, 1);
}

/* buffers: blocks, row_token, table, y: y[token] += table[group], so that a token done twice shows. */
static void look_up(const hmoe_kernel_call *call, int64_t task, void *scratch) {
  (void)scratch;
  const hmoe_blocks *header = call->buffers[0];
  const hmoe_block *block = (const hmoe_block *)(header + 1) + call->first_block + task;
  const int32_t *row_token = call->buffers[1];
  const float *table = call->buffers[2];
  float *y = call->buffers[3];
  for (int32_t r = block->row; r < block->row + block->rows; r++) y[row_token[r]] += table[block->group];
}

/* buffers: in, temporary. rows: of the chunk. */
static void negate(const hmoe_kernel_call *call, int64_t task, void *scratch) {
  (void)scratch;
  ((float *)call->buffers[1])[task] = -((const float *)call->buffers[0])[task];
}

enum { GENERATE, LOOK_UP, NEGATE, KERNELS };
static const hmoe_kernel_fn kernels[KERNELS] = {generate, look_up, negate};

enum { ENTRY_SETS = 1, ENTRY_LOOP = 2, ENTRY_ROWS = 3 };

typedef struct sizes {
  uint32_t experts, slots, chunk;
} sizes;

/* mode: of GROUP_SETS; kind: of the loop over its groups. */
static fixture_plan *make_plan_of(uint32_t mode, uint32_t kind, sizes of) {
  fixture_plan *plan = plan_create("loops");
  plan_entry(plan, "open");
  if (kind == HMOE_LOOP_CACHED) plan_cache(plan, of.slots, of.slots * sizeof(float), TOP_K);
  uint64_t block_bytes = sizeof(hmoe_block), set_bytes = TOP_K * sizeof(int32_t);
  bool token_only = mode == HMOE_SETS_TOKEN;

  fixture_entry *e = plan_entry(plan, "sets");
  uint32_t tokens = plan_dim(e, HMOE_DIM_INPUT, 0, 0);
  uint32_t indices = plan_input(plan, e, "indices", 1, set_bytes), blocks = plan_output(plan, e, "blocks", 1, block_bytes);
  e->buffers[blocks].fixed_bytes = sizeof(hmoe_blocks);
  uint32_t row_token = plan_output(plan, e, "row_token", 1, 4), sets = plan_output(plan, e, "sets", 1, set_bytes);
  uint32_t scratch = plan_temporary(e, 256, 32, tokens);
  plan_step(plan, e, HMOE_STEP_GROUP_SETS, tokens, BINDINGS(AT(indices), AT(blocks), AT(row_token), AT(sets), AT(scratch)),
            FIELDS(group_sets, .experts = of.experts, .top_k = TOP_K, .mode = mode, .row_block = ROW_BLOCK));

  e = plan_entry(plan, "loop");
  tokens = plan_dim(e, HMOE_DIM_INPUT, 0, 0);
  uint32_t missing = plan_dim(e, HMOE_DIM_MISSING, 0, of.chunk);
  indices = plan_input(plan, e, "indices", 1, set_bytes);
  uint32_t y = plan_output(plan, e, "y", 0, 4);
  blocks = plan_temporary(e, sizeof(hmoe_blocks), block_bytes, tokens);
  row_token = plan_temporary(e, 0, 4, tokens);
  sets = plan_temporary(e, 0, set_bytes, tokens);
  scratch = plan_temporary(e, 256, 32, tokens);
  uint32_t todo_sets = plan_temporary(e, 0, set_bytes, missing), todo_slot = plan_temporary(e, 0, 4, missing);
  uint32_t todo_token = plan_temporary(e, 0, 4, missing);
  uint32_t table = kind == HMOE_LOOP_CACHED ? plan_buffer(e, HMOE_BUFFER_CACHE, 0, 0, of.slots * sizeof(float), 0, HMOE_NONE)
                                            : plan_temporary(e, of.chunk * sizeof(float), 0, HMOE_NONE);
  if (token_only) indices = sets = todo_sets = HMOE_NONE;
  plan_step(plan, e, HMOE_STEP_GROUP_SETS, tokens, BINDINGS(AT(indices), AT(blocks), AT(row_token), AT(sets), AT(scratch)),
            FIELDS(group_sets, .experts = of.experts, .top_k = TOP_K, .mode = mode, .row_block = ROW_BLOCK));
  plan_step(plan, e, HMOE_STEP_LOOP, tokens,
            BINDINGS(AT(blocks), AT(sets), AT(todo_sets), AT(todo_slot), AT(todo_token), AT(row_token)),
            FIELDS(loop, .kind = kind, .steps = 2, .chunk = of.chunk,
                   .groups = token_only ? HMOE_NONE : of.experts * (of.experts - 1) / 2, .top_k = token_only ? 0 : TOP_K,
                   .generate_steps = 1));
  plan_kernel(plan, e, GENERATE, missing, BINDINGS(AT(todo_sets), AT(todo_slot), AT(todo_token), AT(table)));
  plan_step(plan, e, HMOE_STEP_KERNEL, tokens, BINDINGS(AT(blocks), AT(row_token), AT(table), AT(y)),
            FIELDS(kernel, .kernel = LOOK_UP, .grid = HMOE_GRID_BLOCKS, .row_block = ROW_BLOCK, .groups = of.chunk,
                   .blocks_binding = 0, .column_splits = 1, .tasks = 8));

  /* y = -x in chunks of 7 rows, and inside each chunk a loop over its tokens as groups, adding the token's number + 1. */
  e = plan_entry(plan, "rows");
  tokens = plan_dim(e, HMOE_DIM_INPUT, 0, 0);
  uint32_t chunk = plan_dim(e, HMOE_DIM_CHUNK, 0, 7);
  missing = plan_dim(e, HMOE_DIM_MISSING, 0, CHUNK);
  uint32_t x = plan_input(plan, e, "x", 0, 4);
  y = plan_output(plan, e, "y", 0, 4);
  blocks = plan_temporary(e, sizeof(hmoe_blocks), block_bytes, chunk);
  row_token = plan_temporary(e, 0, 4, chunk);
  todo_slot = plan_temporary(e, 0, 4, missing);
  todo_token = plan_temporary(e, 0, 4, missing);
  table = plan_temporary(e, CHUNK * sizeof(float), 0, HMOE_NONE);
  plan_step(plan, e, HMOE_STEP_LOOP, tokens, BINDINGS(AT(HMOE_NONE)), FIELDS(loop, .kind = HMOE_LOOP_ROWS, .steps = 5, .chunk = 7));
  plan_kernel(plan, e, NEGATE, chunk, BINDINGS({x, 0, 0, 4}, {y, 0, 0, 4}));
  plan_step(plan, e, HMOE_STEP_GROUP_SETS, chunk, BINDINGS(AT(HMOE_NONE), AT(blocks), AT(row_token), AT(HMOE_NONE), AT(HMOE_NONE)),
            FIELDS(group_sets, .experts = EXPERTS, .top_k = TOP_K, .mode = HMOE_SETS_TOKEN, .row_block = 1));
  plan_step(plan, e, HMOE_STEP_LOOP, chunk,
            BINDINGS(AT(blocks), AT(HMOE_NONE), AT(HMOE_NONE), AT(todo_slot), AT(todo_token), AT(row_token)),
            FIELDS(loop, .kind = HMOE_LOOP_GROUPS, .steps = 2, .chunk = CHUNK, .groups = HMOE_NONE));
  plan_kernel(plan, e, GENERATE, missing, BINDINGS(AT(HMOE_NONE), AT(todo_slot), AT(todo_token), AT(table)));
  plan_step(plan, e, HMOE_STEP_KERNEL, chunk, BINDINGS(AT(blocks), AT(row_token), AT(table), {y, 0, 0, 4}),
            FIELDS(kernel, .kernel = LOOK_UP, .grid = HMOE_GRID_BLOCKS, .row_block = 1, .groups = CHUNK, .blocks_binding = 0,
                   .column_splits = 1, .tasks = 8));
  return plan;
}

static fixture_plan *make_plan(uint32_t mode, uint32_t kind) { return make_plan_of(mode, kind, (sizes){EXPERTS, SLOTS, CHUNK}); }

static const hmoe_executor thread_executor = {NULL, 3, fixture_parallel_for};

static hmoe_model *open_plan(fixture_plan *plan, uint32_t threads) {
  static const char empty[10] = {2, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
  hmoe_options options = fixture_options(threads);
  if (threads > 1) options.executor = &thread_executor;
  hmoe_model *model;
  assert_ok(hmoe_model_open(plan_finish(plan, kernels, KERNELS),
                            &(hmoe_weights){.kind = HMOE_WEIGHTS_MEMORY, .data = empty, .size_bytes = sizeof empty}, &options,
                            &model));
  return model;
}

/* Random distinct pairs out of the first `experts`. */
static void draw(int32_t *indices, int64_t tokens, uint32_t experts, uint64_t *seed) {
  for (int64_t t = 0; t < tokens; t++) {
    int32_t a = (int32_t)(fixture_random(seed) % experts), b = (int32_t)(fixture_random(seed) % (experts - 1));
    indices[t * 2] = a;
    indices[t * 2 + 1] = b + (b >= a);
  }
}

static void sorted(const int32_t *pair, int32_t *out) {
  out[0] = pair[0] < pair[1] ? pair[0] : pair[1];
  out[1] = pair[0] < pair[1] ? pair[1] : pair[0];
}

static void check_sets(uint32_t mode, int64_t tokens, uint64_t seed) {
  fixture_plan *plan = make_plan(mode == HMOE_SETS_RANK ? HMOE_SETS_RANK : mode, HMOE_LOOP_GROUPS);
  hmoe_model *model = open_plan(plan, 1);
  int32_t indices[TOKENS_MAX * TOP_K], row_token[TOKENS_MAX], sets[TOKENS_MAX * TOP_K];
  struct {
    hmoe_blocks header;
    hmoe_block blocks[TOKENS_MAX];
  } out;
  draw(indices, tokens, EXPERTS, &seed);
  assert_ok(hmoe_model_run(model, ENTRY_SETS, &tokens, (const void *const[]){indices}, (void *const[]){&out, row_token, sets}));

  /* Distinct sets in order of first appearance, by the obvious search. */
  int32_t distinct[TOKENS_MAX][2], count = 0, group_of[TOKENS_MAX];
  for (int64_t t = 0; t < tokens; t++) {
    int32_t set[2], g = 0;
    sorted(indices + t * 2, set);
    while (mode != HMOE_SETS_TOKEN && g < count && memcmp(distinct[g], set, sizeof set) != 0) g++;
    if (mode == HMOE_SETS_TOKEN) g = count;
    if (g == count) memcpy(distinct[count++], set, sizeof set);
    group_of[t] = g;
  }
  assert_int_equal(out.header.groups, count);
  assert_int_equal(out.header.rows, tokens);
  assert_memory_equal(sets, distinct, (size_t)count * sizeof *distinct);
  int32_t row = 0, last_token = -1, g = 0;
  for (int32_t b = 0; b < out.header.count; b++) {
    assert_int_equal(out.blocks[b].row, row);
    assert_in_range(out.blocks[b].rows, 1, ROW_BLOCK);
    assert_int_equal(out.blocks[b].dropped, 0);
    g = group_of[row_token[row]];
    assert_int_equal(out.blocks[b].group, mode == HMOE_SETS_RANK ? distinct[g][0] + distinct[g][1] * (distinct[g][1] - 1) / 2 : g);
    if (b && out.blocks[b].group != out.blocks[b - 1].group) last_token = -1;
    for (int32_t i = 0; i < out.blocks[b].rows; i++, row++) {
      assert_int_equal(group_of[row_token[row]], g);
      assert_true(row_token[row] > last_token);
      last_token = row_token[row];
    }
  }
  assert_int_equal(row, tokens);
  hmoe_model_close(model);
  free(plan);
}

static void test_sets(void **state) {
  (void)state;
  for (uint32_t mode = 0; mode <= 2; mode++)
    for (int64_t tokens = 1; tokens <= TOKENS_MAX; tokens = tokens * 2 + 1) check_sets(mode, tokens, (uint64_t)tokens);
}

static bool run_loop(hmoe_model *model, int64_t tokens, uint32_t experts, bool by_token, uint64_t *seed) {
  int32_t indices[TOKENS_MAX * TOP_K];
  float y[TOKENS_MAX] = {0};
  draw(indices, tokens, experts, seed);
  if (hmoe_model_run(model, ENTRY_LOOP, &tokens, (const void *const[]){indices}, (void *const[]){y}) != HMOE_OK) return false;
  for (int64_t t = 0; t < tokens; t++) {
    int32_t set[2];
    sorted(indices + t * 2, set);
    if (y[t] != (by_token ? (float)(t + 1) : number_of(set))) return false;
  }
  return true;
}

static void test_loop_groups(void **state) {
  (void)state;
  for (uint32_t threads = 1; threads <= 3; threads += 2)
    for (uint32_t mode = HMOE_SETS_DISTINCT; mode <= HMOE_SETS_TOKEN; mode++) {
      fixture_plan *plan = make_plan(mode, HMOE_LOOP_GROUPS);
      hmoe_model *model = open_plan(plan, threads);
      uint64_t seed = 4;
      for (int64_t tokens = 1; tokens < 30; tokens += 3) {
        long before = generated;
        assert_true(run_loop(model, tokens, EXPERTS, mode == HMOE_SETS_TOKEN, &seed));
        if (mode == HMOE_SETS_TOKEN) assert_int_equal(generated - before, tokens);
      }
      hmoe_model_close(model);
      free(plan);
    }
}

static void test_loop_rows(void **state) {
  (void)state;
  fixture_plan *plan = make_plan(HMOE_SETS_DISTINCT, HMOE_LOOP_GROUPS);
  hmoe_model *model = open_plan(plan, 3);
  for (int64_t tokens = 1; tokens <= 40; tokens++) {
    float x[40], y[41] = {0};
    for (int i = 0; i < 40; i++) x[i] = (float)(i * i);
    assert_ok(hmoe_model_run(model, ENTRY_ROWS, &tokens, (const void *const[]){x}, (void *const[]){y}));
    for (int i = 0; i < 41; i++) assert_true(y[i] == (i < tokens ? -x[i] + (float)(i % 7 + 1) : 0));
  }
  hmoe_model_close(model);
  free(plan);
}

/* Loops of both kinds in turn, and steps between them: what advances does so by rows in the one, by groups in the other, and not at all outside. */
static void test_loops_in_turn(void **state) {
  (void)state;
  fixture_plan *plan = plan_create("turns");
  plan_entry(plan, "open");
  fixture_entry *e = plan_entry(plan, "run");
  uint32_t tokens = plan_dim(e, HMOE_DIM_INPUT, 0, 0), chunk = plan_dim(e, HMOE_DIM_CHUNK, 0, 7);
  uint32_t missing = plan_dim(e, HMOE_DIM_MISSING, 0, CHUNK);
  uint32_t x = plan_input(plan, e, "x", 0, 4), y = plan_output(plan, e, "y", 0, 4);
  uint32_t blocks = plan_temporary(e, sizeof(hmoe_blocks), sizeof(hmoe_block), tokens), row_token = plan_temporary(e, 0, 4, tokens);
  uint32_t between[3];
  for (int i = 0; i < 3; i++) between[i] = plan_temporary(e, 0, 4, tokens);
  plan_step(plan, e, HMOE_STEP_GROUP_SETS, tokens, BINDINGS(AT(HMOE_NONE), AT(blocks), AT(row_token), AT(HMOE_NONE), AT(HMOE_NONE)),
            FIELDS(group_sets, .experts = EXPERTS, .top_k = TOP_K, .mode = HMOE_SETS_TOKEN, .row_block = 1));
  for (uint32_t turn = 0; turn < 2; turn++) {
    plan_step(plan, e, HMOE_STEP_LOOP, tokens, BINDINGS(AT(HMOE_NONE)),
              FIELDS(loop, .kind = HMOE_LOOP_ROWS, .steps = 1, .chunk = 7));
    plan_kernel(plan, e, NEGATE, chunk, BINDINGS({turn ? between[1] : x, 0, 0, 4}, {between[2 * turn], 0, 0, 4}));
    if (turn) break;
    plan_step(plan, e, HMOE_STEP_LOOP, tokens, BINDINGS(AT(blocks)),
              FIELDS(loop, .kind = HMOE_LOOP_GROUPS, .steps = 1, .chunk = CHUNK, .groups = HMOE_NONE));
    plan_kernel(plan, e, NEGATE, missing, BINDINGS({between[0], 0, 0, 4}, {between[1], 0, 0, 4}));
  }
  plan_kernel(plan, e, NEGATE, tokens, BINDINGS({between[2], 0, 0, 4}, {y, 0, 0, 4}));
  hmoe_model *model = open_plan(plan, 3);
  for (int64_t count = 0; count <= 30; count++) {
    float from[30], to[31] = {0};
    for (int i = 0; i < 30; i++) from[i] = (float)(i + 1);
    assert_ok(hmoe_model_run(model, 1, &count, (const void *const[]){from}, (void *const[]){to}));
    for (int i = 0; i < 31; i++) assert_true(to[i] == (i < count ? from[i] : 0));
  }
  hmoe_model_close(model);
  free(plan);
}

static void test_cache(void **state) {
  (void)state;
  fixture_plan *plan = make_plan(HMOE_SETS_DISTINCT, HMOE_LOOP_CACHED);
  hmoe_model *model = open_plan(plan, 1);
  uint64_t seed = 9;
  long before = generated;
  /* Three experts make three sets: all fit, each is generated once. */
  for (int i = 0; i < 20; i++) assert_true(run_loop(model, 12, 3, false, &seed));
  assert_int_equal(generated - before, 3);
  /* Fifteen sets do not fit: replaced, still right. */
  for (int i = 0; i < 50; i++) assert_true(run_loop(model, 1 + i, EXPERTS, false, &seed));
  assert_true(generated - before > 18);
  hmoe_model_close(model);
  free(plan);
}

/* Runs of more sets than the cache has slots: those that come in every run, at its end, stay. */
static void test_cache_of_large_runs(void **state) {
  (void)state;
  enum { MANY = 64, OTHERS = 120, OFTEN = 16, ALL = OTHERS + OFTEN };
  fixture_plan *plan = make_plan_of(HMOE_SETS_DISTINCT, HMOE_LOOP_CACHED, (sizes){MANY, 128, 128});
  hmoe_model *model = open_plan(plan, 1);
  int32_t first = MANY - 1, second = 0;
  for (int run = 0; run < 24; run++) {
    int32_t indices[ALL][TOP_K];
    for (int i = 0; i < OTHERS; i++) { /* the same ones after 14 runs */
      if (second == first) second = 0, first = first > 20 ? first - 1 : MANY - 1;
      memcpy(indices[i], (int32_t[]){first, second++}, sizeof indices[i]);
    }
    for (int i = 0; i < OFTEN; i++) memcpy(indices[OTHERS + i], (int32_t[]){i, i + 1}, sizeof indices[i]);
    float y[ALL] = {0};
    long before = generated;
    assert_ok(hmoe_model_run(model, ENTRY_LOOP, (int64_t[]){ALL}, (const void *const[]){indices}, (void *const[]){y}));
    for (int i = 0; i < ALL; i++) {
      int32_t set[2];
      sorted(indices[i], set);
      assert_true(y[i] == number_of(set));
    }
    if (run >= 4) assert_int_equal(generated - before, OTHERS);
  }
  hmoe_model_close(model);
  free(plan);
}

typedef struct runner {
  hmoe_model *model;
  uint64_t seed;
  bool good;
} runner;

static void *run_many(void *argument) {
  runner *r = argument;
  r->good = true;
  for (int i = 0; i < 150; i++) r->good = run_loop(r->model, 1 + i % 24, EXPERTS, false, &r->seed) && r->good;
  return NULL;
}

/* Four runs want up to 16 of 6 slots at a time: they wait for each other and never for themselves. */
static void test_cache_shared(void **state) {
  (void)state;
  for (uint32_t threads = 1; threads <= 3; threads += 2) {
    fixture_plan *plan = make_plan(HMOE_SETS_DISTINCT, HMOE_LOOP_CACHED);
    hmoe_model *model = open_plan(plan, threads);
    pthread_t workers[4];
    runner runners[4];
    for (int i = 0; i < 4; i++) {
      runners[i] = (runner){model, (uint64_t)i + 1, false};
      assert_int_equal(pthread_create(&workers[i], NULL, run_many, &runners[i]), 0);
    }
    for (int i = 0; i < 4; i++) pthread_join(workers[i], NULL);
    for (int i = 0; i < 4; i++) assert_true(runners[i].good);
    hmoe_model_close(model);
    free(plan);
  }
}

static void test_bad_chunks(void **state) {
  (void)state;
  /* Groups named by rank are not in line: a loop over them is a broken plan, not a crash. */
  fixture_plan *plan = make_plan(HMOE_SETS_RANK, HMOE_LOOP_GROUPS);
  hmoe_model *model = open_plan(plan, 1);
  int32_t indices[] = {4, 5, 1, 3}, second[] = {0, 2};
  float y[2];
  assert_fails(hmoe_model_run(model, ENTRY_LOOP, (int64_t[]){2}, (const void *const[]){indices}, (void *const[]){y}),
               HMOE_INCOMPATIBLE, "blocks are not in the order of their groups");
  assert_fails(hmoe_model_run(model, ENTRY_LOOP, (int64_t[]){1}, (const void *const[]){second}, (void *const[]){y}),
               HMOE_INCOMPATIBLE, "blocks are not in the order of their groups");
  hmoe_model_close(model);
  free(plan);
}

/* The most blocks of `rows` rows in at most `groups` groups, by trying. */
static uint64_t most_blocks(uint64_t rows, uint64_t row_block, uint64_t groups) {
  if (!rows || !groups) return 0;
  uint64_t most = 0;
  for (uint64_t first = 1; first <= rows; first++) {
    if (groups == 1 && first < rows) continue; /* the last group has what is left */
    uint64_t blocks = (first + row_block - 1) / row_block + most_blocks(rows - first, row_block, groups - 1);
    if (blocks > most) most = blocks;
  }
  return most;
}

static void test_block_bound(void **state) {
  (void)state;
  for (uint64_t rows = 0; rows <= 9; rows++)
    for (uint32_t row_block = 1; row_block <= 5; row_block++) {
      for (uint32_t groups = 1; groups <= 5; groups++)
        assert_int_equal(hmoe_block_bound(rows, row_block, groups), most_blocks(rows, row_block, groups));
      assert_int_equal(hmoe_block_bound(rows, row_block, HMOE_NONE), rows);
    }
  assert_int_equal(hmoe_block_bound((uint64_t)1 << 40, INT32_MAX, HMOE_NONE - 1), ((uint64_t)1 << 32) + 508);
}

/* More groups, or more blocks, than the plan says there can be: a device that goes by the plan would leave them out. */
static void test_bounds_are_kept(void **state) {
  (void)state;
  static const int32_t indices[] = {0, 1, 2, 3, 4, 5};
  static const struct {
    int step;
    size_t field;
    uint32_t value;
    const char *message;
  } cases[] = {{1, offsetof(hmoe_step_loop, groups), 3, NULL},
               {1, offsetof(hmoe_step_loop, groups), 2, "step 1 (loop): 3 groups, at most 2 are expected"},
               {3, offsetof(hmoe_step_kernel, groups), 2, "step 3 (kernel): 3 blocks, at most 2 are expected"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fixture_plan *plan = make_plan(HMOE_SETS_DISTINCT, HMOE_LOOP_GROUPS);
    memcpy(plan->bytes + plan->entries[ENTRY_LOOP].steps[cases[i].step].fields.offset + cases[i].field, &cases[i].value,
           sizeof cases[i].value);
    hmoe_model *model = open_plan(plan, 2);
    float y[3];
    hmoe_status status = hmoe_model_run(model, ENTRY_LOOP, (int64_t[]){3}, (const void *const[]){indices}, (void *const[]){y});
    if (cases[i].message) assert_fails(status, HMOE_INCOMPATIBLE, cases[i].message);
    else assert_ok(status);
    hmoe_model_close(model);
    free(plan);
  }
}

/* A block whose first row lies behind the rows: no token is read for it. row_token holds what its caller says, not more. */
static void test_rows_of_blocks(void **state) {
  (void)state;
  enum { GROUPS = 2, KEPT = 77, BEHIND = 99 };
  fixture_plan *plan = plan_create("blocks");
  plan_entry(plan, "open");
  fixture_entry *e = plan_entry(plan, "loop");
  uint32_t tokens = plan_dim(e, HMOE_DIM_INPUT, 0, 0), missing = plan_dim(e, HMOE_DIM_MISSING, 0, GROUPS);
  uint64_t bytes = sizeof(hmoe_blocks) + GROUPS * sizeof(hmoe_block);
  uint32_t given = plan_input(plan, e, "blocks", 1, 0), row_token = plan_input(plan, e, "row_token", 1, 4);
  e->buffers[given].fixed_bytes = bytes;
  uint32_t todo_token = plan_output(plan, e, "todo_token", 1, 0);
  e->buffers[todo_token].fixed_bytes = GROUPS * 4;
  uint32_t blocks = plan_temporary(e, bytes, 0, HMOE_NONE), todo_slot = plan_temporary(e, GROUPS * 4, 0, HMOE_NONE);
  uint32_t from = plan_temporary(e, 64, 0, HMOE_NONE), to = plan_temporary(e, 64, 0, HMOE_NONE);
  plan_copy(plan, e, BINDINGS(AT(blocks), AT(given)), bytes);
  plan_step(plan, e, HMOE_STEP_LOOP, tokens,
            BINDINGS(AT(blocks), AT(HMOE_NONE), AT(HMOE_NONE), AT(todo_slot), AT(todo_token), AT(row_token)),
            FIELDS(loop, .kind = HMOE_LOOP_GROUPS, .steps = 1, .chunk = GROUPS, .groups = GROUPS));
  plan_kernel(plan, e, NEGATE, missing, BINDINGS(AT(from), AT(to)));
  hmoe_model *model = open_plan(plan, 1);
  const int32_t row_tokens[] = {10, 11, 12, BEHIND, BEHIND};
  for (int32_t row = 0; row < 5; row++) {
    struct {
      hmoe_blocks header;
      hmoe_block blocks[GROUPS];
    } given_blocks = {{.count = GROUPS, .groups = GROUPS, .rows = 2}, {{0, 1, 1, 0}, {1, row, 1, 0}}};
    int32_t todo[GROUPS] = {KEPT, KEPT};
    assert_ok(hmoe_model_run(model, 1, (int64_t[]){3}, (const void *const[]){&given_blocks, row_tokens}, (void *const[]){todo}));
    assert_int_equal(todo[0], 11);
    assert_int_equal(todo[1], row < 3 ? 10 + row : KEPT);
  }
  (void)tokens;
  hmoe_model_close(model);
  free(plan);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sets),          cmocka_unit_test(test_loop_groups),     cmocka_unit_test(test_loop_rows),
      cmocka_unit_test(test_loops_in_turn), cmocka_unit_test(test_cache),           cmocka_unit_test(test_bad_chunks),
      cmocka_unit_test(test_block_bound),   cmocka_unit_test(test_bounds_are_kept), cmocka_unit_test(test_cache_of_large_runs),
      cmocka_unit_test(test_cache_shared),  cmocka_unit_test(test_rows_of_blocks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
