/* Runs: kernels and their grids, grouping, the arguments of a run, its memory, and several runs at once. */
#include "runtime_fixture.h"

enum { DEPTH = 4, COLUMNS = 96, EXPERTS = 5, ROW_BLOCK = 4, TOKENS_MAX = 64 };

/* ---- kernels ---- */

/* buffers: x [rows][DEPTH], y [rows][DEPTH]: y = 2 x, and scratch belongs to one worker alone. */
static void double_rows(const hmoe_kernel_call *call, int64_t task, void *scratch) {
  const float *x = call->buffers[0];
  float *y = call->buffers[1];
  int64_t begin = task * ROW_BLOCK, end = begin + ROW_BLOCK < call->rows ? begin + ROW_BLOCK : call->rows;
  float *mine = scratch;
  for (int64_t i = begin * DEPTH; i < end * DEPTH; i++) {
    mine[0] = x[i];
    y[i] = mine[0] + mine[0];
  }
}

/* buffers: x, weights [EXPERTS][panels], blocks, row_token, row_slot, row_gate, y [rows][COLUMNS]: y = gate * x W, 0 where dropped. */
static void expert_blocks(const hmoe_kernel_call *call, int64_t task, void *scratch) {
  (void)scratch;
  const hmoe_blocks *header = call->buffers[2];
  const hmoe_block *block = (const hmoe_block *)(header + 1) + call->first_block + task / call->splits;
  const float *x = call->buffers[0], *gates = call->buffers[5];
  const float *weights = (const float *)call->buffers[1] + (size_t)block->group * DEPTH * COLUMNS;
  const int32_t *row_token = call->buffers[3], *row_slot = call->buffers[4];
  float *y = call->buffers[6];
  int64_t split = task % call->splits, panels = COLUMNS / HMOE_PANEL;
  for (int64_t panel = panels * split / call->splits; panel < panels * (split + 1) / call->splits; panel++)
    for (int32_t r = block->row; r < block->row + block->rows; r++)
      for (int c = 0; c < HMOE_PANEL; c++) {
        float sum = 0;
        for (int k = 0; k < DEPTH; k++) sum += x[row_token[r] * DEPTH + k] * weights[(panel * DEPTH + k) * HMOE_PANEL + c];
        y[row_slot[r] * COLUMNS + panel * HMOE_PANEL + c] = block->dropped ? 0 : gates[r] * sum;
      }
}

/* buffers: y [rows][COLUMNS]. Grid DENSE: marks each (row, panel) once. */
static void mark_dense(const hmoe_kernel_call *call, int64_t task, void *scratch) {
  (void)scratch;
  float *y = call->buffers[0];
  int64_t block = task / call->splits, split = task % call->splits, panels = COLUMNS / HMOE_PANEL;
  int64_t end = (block + 1) * ROW_BLOCK < call->rows ? (block + 1) * ROW_BLOCK : call->rows;
  for (int64_t r = block * ROW_BLOCK; r < end; r++)
    for (int64_t c = panels * split / call->splits * HMOE_PANEL; c < panels * (split + 1) / call->splits * HMOE_PANEL; c++)
      y[r * COLUMNS + c] += 1;
}

enum { DOUBLE_ROWS, EXPERT_BLOCKS, MARK_DENSE, KERNELS };
static const hmoe_kernel_fn kernels[KERNELS] = {double_rows, expert_blocks, mark_dense};

/* ---- the model: y[token][slot] = gate * x W[index], x doubled first ---- */

enum { ENTRY_LAYER = 1, ENTRY_GROUP = 2, ENTRY_DENSE = 3 };

typedef struct toy {
  fixture_plan *plan;
  fixture_file file;
  hmoe_weights weights;
  const hmoe_model_object *object;
  float matrices[EXPERTS][COLUMNS][DEPTH];
} toy;

static uint64_t blocks_bytes(uint64_t rows, uint64_t experts) {
  return sizeof(hmoe_blocks) + (2 * experts + rows / ROW_BLOCK + 1) * sizeof(hmoe_block);
}

/* scope: tokens that one capacity is for; 0: all. */
static toy *toy_create_scoped(uint32_t top_k, uint64_t capacity, uint64_t scope) {
  toy *t = calloc(1, sizeof *t);
  fixture_plan *plan = t->plan = plan_create("toy");
  uint32_t param = plan_param(plan, "experts.{}.w", EXPERTS, SHAPE(COLUMNS, DEPTH));

  fixture_entry *open = plan_entry(plan, "open");
  uint32_t packed = plan_weight(plan, open, EXPERTS * COLUMNS * DEPTH * 4);
  plan_panels(plan, open, (hmoe_plan_binding)AT(packed), param, EXPERTS, COLUMNS, DEPTH);

  fixture_entry *layer = plan_entry(plan, "layer");
  uint32_t tokens = plan_dim(layer, HMOE_DIM_INPUT, 0, 0), rows = plan_dim(layer, HMOE_DIM_SCALE, tokens, top_k);
  uint32_t x = plan_input(plan, layer, "x", 0, DEPTH * 4), indices = plan_input(plan, layer, "indices", 1, top_k * 4);
  uint32_t gates = plan_input(plan, layer, "gates", 0, top_k * 4), y = plan_output(plan, layer, "y", 0, top_k * COLUMNS * 4);
  uint32_t doubled = plan_temporary(layer, 0, DEPTH * 4, tokens);
  uint32_t blocks = plan_temporary(layer, blocks_bytes(ROW_BLOCK, EXPERTS), sizeof(hmoe_block), rows);
  uint32_t row_token = plan_temporary(layer, 0, 4, rows), row_slot = plan_temporary(layer, 0, 4, rows);
  uint32_t row_gate = plan_temporary(layer, 0, 4, rows), counters = plan_temporary(layer, EXPERTS * 16, 0, HMOE_NONE);
  uint32_t weights = plan_share(layer, open, packed);
  plan_step(plan, layer, HMOE_STEP_KERNEL, tokens, BINDINGS(AT(x), AT(doubled)),
            FIELDS(kernel, .kernel = DOUBLE_ROWS, .row_block = ROW_BLOCK, .groups = 1, .column_splits = 1, .tasks = 8));
  plan_step(plan, layer, HMOE_STEP_GROUP, rows,
            BINDINGS(AT(indices), AT(gates), AT(blocks), AT(row_token), AT(row_slot), AT(row_gate), AT(counters)),
            FIELDS(group, .experts = EXPERTS, .top_k = top_k, .row_block = ROW_BLOCK, .scope_dim = HMOE_NONE, .capacity = capacity,
                   .past_dim = HMOE_NONE, .stride_dim = HMOE_NONE));
  plan_step(plan, layer, HMOE_STEP_KERNEL, rows,
            BINDINGS(AT(doubled), AT(weights), AT(blocks), AT(row_token), AT(row_slot), AT(row_gate), AT(y)),
            FIELDS(kernel, .kernel = EXPERT_BLOCKS, .grid = HMOE_GRID_BLOCKS, .row_block = ROW_BLOCK, .groups = 2 * EXPERTS,
                   .blocks_binding = 2, .column_splits = COLUMNS / HMOE_PANEL, .tasks = 8));

  fixture_entry *group = plan_entry(plan, "group");
  tokens = plan_dim(group, HMOE_DIM_INPUT, 0, 0);
  rows = plan_dim(group, HMOE_DIM_SCALE, tokens, top_k);
  indices = plan_input(plan, group, "indices", 1, top_k * 4);
  gates = plan_input(plan, group, "gates", 0, top_k * 4);
  blocks = plan_output(plan, group, "blocks", 1, sizeof(hmoe_block) * top_k);
  group->buffers[blocks].fixed_bytes = blocks_bytes(ROW_BLOCK, EXPERTS);
  row_token = plan_output(plan, group, "row_token", 1, top_k * 4);
  row_slot = plan_output(plan, group, "row_slot", 1, top_k * 4);
  row_gate = plan_output(plan, group, "row_gate", 0, top_k * 4);
  counters = plan_temporary(group, EXPERTS * 16, 0, HMOE_NONE);
  plan_step(plan, group, HMOE_STEP_GROUP, rows,
            BINDINGS(AT(indices), AT(gates), AT(blocks), AT(row_token), AT(row_slot), AT(row_gate), AT(counters)),
            FIELDS(group, .experts = EXPERTS, .top_k = top_k, .row_block = ROW_BLOCK,
                   .scope_dim = scope ? plan_dim(group, HMOE_DIM_CONST, 0, scope) : HMOE_NONE, .capacity = capacity,
                   .past_dim = HMOE_NONE, .stride_dim = HMOE_NONE));

  fixture_entry *dense = plan_entry(plan, "dense");
  tokens = plan_dim(dense, HMOE_DIM_INPUT, 0, 0);
  y = plan_output(plan, dense, "y", 0, COLUMNS * 4);
  plan_step(plan, dense, HMOE_STEP_KERNEL, tokens, BINDINGS(AT(y)),
            FIELDS(kernel, .kernel = MARK_DENSE, .grid = HMOE_GRID_DENSE, .row_block = ROW_BLOCK, .groups = 1,
                   .column_splits = COLUMNS / HMOE_PANEL, .tasks = 8));
  t->object = plan_finish(plan, kernels, KERNELS);

  uint64_t seed = 3;
  for (uint32_t e = 0; e < EXPERTS; e++) {
    char name[32];
    for (int i = 0; i < COLUMNS * DEPTH; i++) t->matrices[e][i / DEPTH][i % DEPTH] = (float)(fixture_random(&seed) % 17) - 8;
    snprintf(name, sizeof name, "experts.%u.w", e);
    file_tensor(&t->file, name, "F32", FILE_SHAPE(COLUMNS, DEPTH), t->matrices[e], sizeof t->matrices[e]);
  }
  t->weights = file_finish(&t->file);
  return t;
}

static toy *toy_create(uint32_t top_k, uint64_t capacity) { return toy_create_scoped(top_k, capacity, 0); }

static void toy_destroy(toy *t) {
  file_deinit(&t->file);
  free(t->plan);
  free(t);
}

typedef struct layer_data {
  int64_t tokens, top_k;
  float x[TOKENS_MAX * DEPTH];
  int32_t indices[TOKENS_MAX * 2];
  float gates[TOKENS_MAX * 2];
  float y[TOKENS_MAX * 2 * COLUMNS + 8], expected[TOKENS_MAX * 2 * COLUMNS + 8]; /* the last 8 stay zero */
} layer_data;

/* Small integers: sums are exact, so any order must give the same bits. */
static layer_data *layer_data_create(const toy *t, int64_t tokens, int64_t top_k, int64_t capacity, uint64_t seed) {
  layer_data *data = calloc(1, sizeof *data);
  data->tokens = tokens;
  data->top_k = top_k;
  for (int64_t i = 0; i < tokens * DEPTH; i++) data->x[i] = (float)(fixture_random(&seed) % 9) - 4;
  int64_t used[EXPERTS] = {0};
  for (int64_t i = 0; i < tokens * top_k; i++) {
    data->indices[i] = (int32_t)(fixture_random(&seed) % EXPERTS);
    data->gates[i] = (float)(fixture_random(&seed) % 8) / 8;
    bool dropped = capacity && used[data->indices[i]]++ >= capacity;
    for (int c = 0; c < COLUMNS && !dropped; c++) {
      float sum = 0;
      for (int k = 0; k < DEPTH; k++) sum += 2 * data->x[i / top_k * DEPTH + k] * t->matrices[data->indices[i]][c][k];
      data->expected[i * COLUMNS + c] = data->gates[i] * sum;
    }
  }
  return data;
}

static hmoe_status run_layer(hmoe_model *model, layer_data *data) {
  return hmoe_model_run(model, ENTRY_LAYER, &data->tokens, (const void *const[]){data->x, data->indices, data->gates},
                        (void *const[]){data->y});
}

static void check_layer(const toy *t, hmoe_model *model, int64_t tokens, int64_t top_k, int64_t capacity) {
  layer_data *data = layer_data_create(t, tokens, top_k, capacity, (uint64_t)tokens + 11);
  assert_ok(run_layer(model, data));
  assert_memory_equal(data->y, data->expected, sizeof data->y);
  free(data);
}

static const hmoe_executor thread_executor = {NULL, 4, fixture_parallel_for};

static hmoe_model *open_toy(const toy *t, uint32_t threads) {
  hmoe_options options = fixture_options(threads);
  if (threads == 4) options.executor = &thread_executor;
  hmoe_model *model;
  assert_ok(hmoe_model_open(t->object, &t->weights, &options, &model));
  assert_int_equal(hmoe_model_threads(model), threads);
  assert_string_equal(hmoe_model_cpu(model), "portable");
  assert_int_equal(hmoe_model_weight_bytes(model), EXPERTS * COLUMNS * DEPTH * 4);
  return model;
}

static void test_layer(void **state) {
  (void)state;
  for (int64_t top_k = 1; top_k <= 2; top_k++) {
    for (int64_t capacity = 0; capacity < 4; capacity++) {
      toy *t = toy_create((uint32_t)top_k, (uint64_t)capacity);
      for (uint32_t threads = 1; threads <= 4; threads++) {
        hmoe_model *model = open_toy(t, threads);
        for (int64_t tokens = 0; tokens <= TOKENS_MAX; tokens += tokens < 6 ? 1 : 29)
          check_layer(t, model, tokens, top_k, capacity);
        check_layer(t, model, 1, top_k, capacity);
        hmoe_model_close(model);
      }
      toy_destroy(t);
    }
  }
}

/* Of one group, kept or dropped: as few blocks as can be, sizes that differ by one at most. */
static void check_equal_blocks(const hmoe_block *blocks, int32_t count) {
  for (int32_t begin = 0, end; begin < count; begin = end) {
    int32_t rows = 0, least = blocks[begin].rows, most = blocks[begin].rows;
    for (end = begin; end < count && blocks[end].group == blocks[begin].group && blocks[end].dropped == blocks[begin].dropped;
         end++) {
      rows += blocks[end].rows;
      least = blocks[end].rows < least ? blocks[end].rows : least;
      most = blocks[end].rows > most ? blocks[end].rows : most;
    }
    assert_int_equal(end - begin, (rows + ROW_BLOCK - 1) / ROW_BLOCK);
    assert_true(most - least <= 1);
  }
}

static void test_group(void **state) {
  (void)state;
  enum { TOKENS = 23, TOP_K = 2, ROWS = TOKENS * TOP_K, CAPACITY = 6 };
  toy *t = toy_create(TOP_K, CAPACITY);
  hmoe_model *model = open_toy(t, 1);
  layer_data *data = layer_data_create(t, TOKENS, TOP_K, 0, 5);
  data->indices[7] = -1; /* from a broken kernel: taken as expert 0, nothing is written out of bounds */
  data->indices[9] = EXPERTS;
  int32_t row_token[ROWS], row_slot[ROWS];
  float row_gate[ROWS];
  uint64_t bytes = blocks_bytes(ROW_BLOCK, EXPERTS) + ROWS * sizeof(hmoe_block);
  hmoe_blocks *header = calloc(1, bytes);
  assert_ok(hmoe_model_run(model, ENTRY_GROUP, (int64_t[]){TOKENS}, (const void *const[]){data->indices, data->gates},
                           (void *const[]){header, row_token, row_slot, row_gate}));
  data->indices[7] = data->indices[9] = 0;
  assert_int_equal(header->rows, ROWS);
  assert_int_equal(header->groups, EXPERTS);
  const hmoe_block *blocks = (const hmoe_block *)(header + 1);
  int32_t row = 0, in_group = 0;
  for (int32_t b = 0; b < header->count; b++) {
    if (b && blocks[b].group != blocks[b - 1].group) in_group = 0;
    assert_true(b == 0 || blocks[b].group >= blocks[b - 1].group);
    assert_int_equal(blocks[b].row, row);
    assert_in_range(blocks[b].rows, 1, ROW_BLOCK);
    for (int32_t i = 0; i < blocks[b].rows; i++, row++, in_group++) {
      int32_t slot = row_slot[row];
      assert_int_equal(data->indices[slot], blocks[b].group);
      assert_int_equal(row_token[row], slot / TOP_K);
      assert_true(row_gate[row] == data->gates[slot]);
      assert_int_equal(blocks[b].dropped, in_group >= CAPACITY);
      if (in_group) assert_true(slot > row_slot[row - 1]);
    }
  }
  assert_int_equal(row, ROWS);
  check_equal_blocks(blocks, header->count);
  free(header);
  free(data);
  hmoe_model_close(model);
  toy_destroy(t);
}

/* Capacity counts anew every so many tokens; what is over it stands at the end of its group, in the order of tokens. */
static void test_group_scopes(void **state) {
  (void)state;
  enum { TOKENS = 31, TOP_K = 2, ROWS = TOKENS * TOP_K, CAPACITY = 2 };
  for (int scope = 1; scope <= TOKENS + 1; scope += 5) {
    toy *t = toy_create_scoped(TOP_K, CAPACITY, (uint64_t)scope);
    hmoe_model *model = open_toy(t, 1);
    layer_data *data = layer_data_create(t, TOKENS, TOP_K, 0, (uint64_t)scope);
    int32_t row_token[ROWS], row_slot[ROWS], expected[ROWS], row = 0, block = 0, block_row = 0;
    bool dropped[ROWS];
    float row_gate[ROWS];
    uint64_t bytes = blocks_bytes(ROW_BLOCK, EXPERTS) + ROWS * sizeof(hmoe_block);
    hmoe_blocks *header = calloc(1, bytes);
    assert_ok(hmoe_model_run(model, ENTRY_GROUP, (int64_t[]){TOKENS}, (const void *const[]){data->indices, data->gates},
                             (void *const[]){header, row_token, row_slot, row_gate}));
    for (int i = 0; i < ROWS; i++) {
      int before = 0;
      for (int j = i / TOP_K / scope * scope * TOP_K; j < i; j++) before += data->indices[j] == data->indices[i];
      dropped[i] = before >= CAPACITY;
    }
    for (int e = 0; e < EXPERTS; e++)
      for (int over = 0; over < 2; over++)
        for (int i = 0; i < ROWS; i++)
          if (data->indices[i] == e && dropped[i] == over) expected[row++] = i;
    const hmoe_block *blocks = (const hmoe_block *)(header + 1);
    for (int i = 0; i < ROWS; i++, block_row++) {
      assert_int_equal(row_slot[i], expected[i]);
      assert_int_equal(row_token[i], expected[i] / TOP_K);
      if (block_row == blocks[block].rows) block_row = 0, block++;
      assert_int_equal(blocks[block].row + block_row, i);
      assert_int_equal(blocks[block].group, data->indices[expected[i]]);
      assert_int_equal(blocks[block].dropped, dropped[expected[i]]);
    }
    assert_int_equal(block + 1, header->count);
    check_equal_blocks(blocks, header->count);
    free(header);
    free(data);
    hmoe_model_close(model);
    toy_destroy(t);
  }
}

static void test_dense_grid(void **state) {
  (void)state;
  toy *t = toy_create(1, 0);
  for (uint32_t threads = 1; threads <= 4; threads++) {
    hmoe_model *model = open_toy(t, threads);
    for (int64_t tokens = 1; tokens < 40; tokens += 4) {
      float y[40 * COLUMNS] = {0};
      assert_ok(hmoe_model_run(model, ENTRY_DENSE, &tokens, NULL, (void *const[]){y}));
      for (int64_t i = 0; i < 40 * COLUMNS; i++) assert_true(y[i] == (i < tokens * COLUMNS ? 1 : 0));
    }
    hmoe_model_close(model);
  }
  toy_destroy(t);
}

static void test_arguments(void **state) {
  (void)state;
  toy *t = toy_create(1, 0);
  hmoe_model *model = open_toy(t, 1);
  layer_data *data = layer_data_create(t, 3, 1, 0, 1);
  const void *inputs[] = {data->x, data->indices, data->gates};
  void *outputs[] = {data->y};
  int64_t dims[] = {3};
  const hmoe_status bad = HMOE_INVALID_ARGUMENT;
  assert_fails(hmoe_model_run(NULL, 1, dims, inputs, outputs), bad, "model is NULL");
  assert_fails(hmoe_model_run(model, 0, dims, inputs, outputs), bad, "expected an entry from 1 to 3, found 0");
  assert_fails(hmoe_model_run(model, 4, dims, inputs, outputs), bad, "found 4");
  assert_fails(hmoe_model_run(model, 1, NULL, inputs, outputs), bad, "dims is NULL");
  assert_fails(hmoe_model_run(model, 1, (int64_t[]){-1}, inputs, outputs), bad, "dims[0]...");
  assert_fails(hmoe_model_run(model, 1, (int64_t[]){INT64_MAX}, inputs, outputs), bad, "dims[0]...");
  assert_fails(hmoe_model_run(model, 1, dims, NULL, outputs), bad, "input 'x' is NULL");
  assert_fails(hmoe_model_run(model, 1, dims, inputs, NULL), bad, "output 'y' is NULL");
  assert_fails(hmoe_model_run(model, 1, dims, (const void *const[]){data->x, NULL, data->gates}, outputs), bad,
               "input 'indices' is NULL");
  assert_fails(
      hmoe_model_run(model, 1, dims, (const void *const[]){(const char *)data->x + 1, data->indices, data->gates}, outputs), bad,
      "input 'x' is not 4-byte aligned");
  assert_fails(hmoe_model_run(model, 1, dims, inputs, (void *const[]){data->x + 4}), bad, "output 0 overlaps input 0");
  /* No tokens: nothing is read, whatever the pointers are. */
  assert_ok(hmoe_model_run(model, 1, (int64_t[]){0}, NULL, NULL));
  assert_ok(
      hmoe_model_run(model, 1, (int64_t[]){0}, (const void *const[]){(void *)1, (void *)1, (void *)1}, (void *const[]){(void *)1}));
  /* More rows than indices can name: refused before anything is read. */
  assert_int_not_equal(hmoe_model_run(model, 1, (int64_t[]){(int64_t)1 << 33}, inputs, outputs), HMOE_OK);
  assert_ok(run_layer(model, data));
  assert_memory_equal(data->y, data->expected, sizeof data->y);
  free(data);
  hmoe_model_close(model);
  hmoe_model_close(NULL);
  toy_destroy(t);
}

/* ---- memory ---- */

static void test_every_allocation_can_fail(void **state) {
  (void)state;
  toy *t = toy_create(2, 3);
  layer_data *data = layer_data_create(t, 17, 2, 3, 2);
  bool done = false;
  int failures = 0;
  for (int n = 1; !done; n++) {
    counting c = {.fail_at = n};
    hmoe_allocator allocator = {&c, count_allocate, count_release};
    hmoe_options options = fixture_options(n % 2 ? 1 : 2);
    options.allocator = &allocator;
    hmoe_model *model = (hmoe_model *)(void *)&c;
    hmoe_status status = hmoe_model_open(t->object, &t->weights, &options, &model);
    if (status != HMOE_OK) {
      assert_fails(status, HMOE_OUT_OF_MEMORY, "no memory for...");
      assert_null(model);
    } else {
      status = run_layer(model, data);
      done = status == HMOE_OK && c.calls < n;
      if (status != HMOE_OK) {
        assert_fails(status, HMOE_OUT_OF_MEMORY, "no memory for...");
        assert_ok(run_layer(model, data)); /* the model survives */
      }
      assert_memory_equal(data->y, data->expected, sizeof data->y);
      hmoe_model_close(model);
    }
    failures += status == HMOE_OUT_OF_MEMORY;
    assert_int_equal(c.live, 0);
    assert_int_equal(c.bytes, 0);
  }
  assert_true(failures >= 8);
  free(data);
  toy_destroy(t);
}

static void test_runs_allocate_nothing(void **state) {
  (void)state;
  toy *t = toy_create(1, 0);
  counting c = {0};
  hmoe_allocator allocator = {&c, count_allocate, count_release};
  hmoe_options options = fixture_options(2);
  options.allocator = &allocator;
  hmoe_model *model;
  assert_ok(hmoe_model_open(t->object, &t->weights, &options, &model));
  assert_int_equal(hmoe_model_workspace_bytes(model), 0); /* that of open is gone */
  check_layer(t, model, 40, 1, 0);
  int calls = c.calls;
  size_t held = hmoe_model_workspace_bytes(model);
  assert_true(held > 0);
  for (int64_t tokens = 40; tokens >= 0; tokens--) check_layer(t, model, tokens, 1, 0);
  assert_int_equal(c.calls, calls);
  check_layer(t, model, 60, 1, 0);
  assert_int_equal(c.calls, calls + 1);
  assert_int_equal(c.live, 7); /* model, pool, arena, and of the workspace: itself, what is the CPU's, scratch, slots */
  assert_true(hmoe_model_workspace_bytes(model) > held);
  hmoe_model_close(model);
  assert_int_equal(c.live, 0);
  toy_destroy(t);
}

/* ---- several runs at once ---- */

typedef struct runner {
  const toy *t;
  hmoe_model *model;
  int64_t tokens;
  bool good;
} runner;

static void *run_many(void *argument) {
  runner *r = argument;
  layer_data *data = layer_data_create(r->t, r->tokens, 2, 0, (uint64_t)r->tokens);
  r->good = true;
  for (int i = 0; i < 30; i++) {
    memset(data->y, 0, sizeof data->y);
    r->good = r->good && run_layer(r->model, data) == HMOE_OK && !memcmp(data->y, data->expected, sizeof data->y);
  }
  free(data);
  return NULL;
}

static void test_concurrent_runs(void **state) {
  (void)state;
  toy *t = toy_create(2, 0);
  for (uint32_t threads = 1; threads <= 4; threads += threads) {
    hmoe_model *model = open_toy(t, threads);
    pthread_t workers[4];
    runner runners[4];
    for (int i = 0; i < 4; i++) {
      runners[i] = (runner){t, model, 3 + 15 * i, false};
      assert_int_equal(pthread_create(&workers[i], NULL, run_many, &runners[i]), 0);
    }
    for (int i = 0; i < 4; i++) pthread_join(workers[i], NULL);
    for (int i = 0; i < 4; i++) assert_true(runners[i].good);
    hmoe_model_close(model);
  }
  toy_destroy(t);
}

static void lazy_parallel_for(void *context, size_t count, void (*task)(void *, size_t), void *task_context) {
  (void)context;
  for (size_t i = 0; i + 1 < count; i++) task(task_context, i);
}

static void reverse_parallel_for(void *context, size_t count, void (*task)(void *, size_t), void *task_context) {
  (void)context;
  for (size_t i = count; i-- > 0;) task(task_context, i);
}

static void test_executors(void **state) {
  (void)state;
  toy *t = toy_create(1, 0);
  hmoe_executor executor = {NULL, 3, reverse_parallel_for};
  hmoe_options options = fixture_options(0);
  options.executor = &executor;
  hmoe_model *model;
  assert_ok(hmoe_model_open(t->object, &t->weights, &options, &model));
  check_layer(t, model, 33, 1, 0);
  hmoe_model_close(model);
  executor.parallel_for = lazy_parallel_for;
  assert_fails(hmoe_model_open(t->object, &t->weights, &options, &model), HMOE_INTERNAL, "executor returned after 2 of 3 tasks");
  toy_destroy(t);
}

/* ---- tasks ---- */

static struct {
  int64_t calls, splits;
  int workers; /* that the executor was asked for; 0: the step was not shared */
} seen;

/* buffers: blocks, or nothing. */
static void note_task(const hmoe_kernel_call *call, int64_t task, void *scratch) {
  (void)task, (void)scratch;
  seen.calls++;
  seen.splits = call->splits;
}

static void note_parallel_for(void *context, size_t count, void (*task)(void *, size_t), void *task_context) {
  (void)context;
  seen.workers = (int)count;
  for (size_t i = 0; i < count; i++) task(task_context, i);
}

/* Into how many tasks a step is cut, and whether threads share them: at each limit one case on either side. */
static void test_tasks(void **state) {
  (void)state;
  enum { WHOLE = HMOE_GRID_ROWS, CUT = HMOE_GRID_DENSE, BLOCKS = HMOE_GRID_BLOCKS };
  static const struct {
    uint32_t grid, threads, most;
    int64_t rows; /* two a block; of blocks, rows of one expert in blocks of two */
    uint64_t row_ps;
    int64_t calls, splits;
    int workers;
    uint64_t wake_ps;
  } cases[] = {
      /* Eight tasks a thread are enough; else a block is cut into as many columns as make them, or as there are. */
      {CUT, 2, 5, 32, SHARED, 16, 1, 2, 0},
      {CUT, 2, 5, 30, SHARED, 30, 2, 2, 0},
      {CUT, 2, 5, 16, SHARED, 16, 2, 2, 0},
      {CUT, 2, 5, 14, SHARED, 21, 3, 2, 0},
      {CUT, 2, 5, 2, SHARED, 5, 5, 2, 0},
      {CUT, 2, 1, 2, SHARED, 1, 1, 0, 0},
      {CUT, 2, 2, 2, SHARED, 2, 2, 2, 0},
      {CUT, 1, 5, 2, SHARED, 1, 1, 0, 0},
      {CUT, 3, 40, 2, SHARED, 24, 24, 3, 0},
      {CUT, 3, 40, 1, SHARED, 24, 24, 3, 0},
      {CUT, 2, 5, 0, SHARED, 0, 1, 0, 0},
      {WHOLE, 2, 5, 4, SHARED, 2, 1, 2, 0},
      {BLOCKS, 2, 5, 32, SHARED, 16, 1, 2, 0},
      {BLOCKS, 2, 5, 30, SHARED, 30, 2, 2, 0},
      {BLOCKS, 2, 5, 3, SHARED, 10, 5, 2, 0},
      /* A step that saves at most a quarter of what waking takes is one thread's, uncut: half of its time on two threads, two thirds on three. */
      {CUT, 2, 5, 1, 1000000, 1, 1, 0, 2000000},
      {CUT, 2, 5, 1, 1000002, 5, 5, 2, 2000000},
      {CUT, 2, 5, 2, 500001, 5, 5, 2, 2000000},
      {CUT, 3, 40, 1, 750000, 1, 1, 0, 2000000},
      {CUT, 3, 40, 1, 750002, 3, 3, 3, 2000000},
      {CUT, 3, 2, 1, 1000000, 1, 1, 0, 2000000},
      {CUT, 3, 2, 1, 1000002, 2, 2, 2, 2000000},
      {CUT, 2, 5, 1, UINT64_MAX, 5, 5, 2, 2000000},
      {CUT, 2, 1, 1, UINT64_MAX, 1, 1, 0, 2000000},
      {BLOCKS, 2, 5, 4, 250000, 2, 1, 0, 2000000},
      {BLOCKS, 2, 5, 4, 250001, 6, 3, 2, 2000000},
      {WHOLE, 2, 5, 400, 2500, 200, 1, 0, 2000000},
      {WHOLE, 2, 5, 400, 2501, 200, 1, 2, 2000000},
      {WHOLE, 2, 5, 2, UINT64_MAX, 1, 1, 0, 2000000},
      {CUT, 1, 5, 2, UINT64_MAX, 1, 1, 0, 2000000},
      /* Tasks take 200 ns at least, but each thread has one. */
      {CUT, 2, 40, 1, 1199999, 5, 5, 2, 0},
      {CUT, 2, 40, 1, 1200000, 6, 6, 2, 0},
      {CUT, 2, 40, 1, 3199999, 15, 15, 2, 0},
      {CUT, 2, 40, 1, 3200000, 16, 16, 2, 0},
      {CUT, 2, 40, 1, 9900000, 16, 16, 2, 0},
      {CUT, 2, 40, 1, 300000, 2, 2, 2, 0},
      /* A time that is not known. */
      {CUT, 2, 40, 1, 0, 16, 16, 2, 2000000},
      {WHOLE, 2, 5, 400, 0, 200, 1, 2, 2000000},
  };
  static const char empty[10] = {2, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
  static int32_t indices[400000];
  static float y[400000];
  const hmoe_kernel_fn note = note_task;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fixture_plan *plan = plan_create("tasks");
    plan_entry(plan, "open");
    fixture_entry *e = plan_entry(plan, "run");
    uint32_t rows = plan_dim(e, HMOE_DIM_INPUT, 0, 0), blocks = HMOE_NONE;
    uint32_t x = plan_input(plan, e, "indices", 1, 4), out = plan_output(plan, e, "y", 0, 4);
    if (cases[i].grid == BLOCKS) {
      blocks = plan_temporary(e, sizeof(hmoe_blocks), sizeof(hmoe_block), rows);
      uint32_t row_token = plan_temporary(e, 0, 4, rows), sets = plan_temporary(e, 0, 4, rows),
               scratch = plan_temporary(e, 256, 32, rows);
      plan_step(plan, e, HMOE_STEP_GROUP_SETS, rows, BINDINGS(AT(x), AT(blocks), AT(row_token), AT(sets), AT(scratch)),
                FIELDS(group_sets, .experts = 1, .top_k = 1, .mode = HMOE_SETS_DISTINCT, .row_block = 2));
    }
    plan_step(plan, e, HMOE_STEP_KERNEL, rows, BINDINGS(AT(cases[i].grid == BLOCKS ? blocks : out)),
              FIELDS(kernel, .grid = cases[i].grid, .row_block = 2, .groups = 1, .column_splits = cases[i].most, .tasks = 8));
    const hmoe_executor executor = {NULL, cases[i].threads, note_parallel_for};
    hmoe_options options = fixture_options(0);
    options.executor = &executor;
    hmoe_model *model;
    const hmoe_model_object *object = plan_finish(plan, &note, 1);
    plan->functions[0].row_ps = cases[i].row_ps;
    plan->images[0].sharing.wake_ps = cases[i].wake_ps;
    assert_ok(hmoe_model_open(object, &(hmoe_weights){.kind = HMOE_WEIGHTS_MEMORY, .data = empty, .size_bytes = sizeof empty},
                              &options, &model));
    memset(&seen, 0, sizeof seen);
    seen.splits = 1;
    assert_ok(hmoe_model_run(model, 1, &cases[i].rows, (const void *const[]){indices}, (void *const[]){y}));
    if (seen.calls != cases[i].calls || seen.splits != cases[i].splits || seen.workers != cases[i].workers)
      fail_msg("case %zu: expected %lld calls of %lld splits by %d workers, found %lld of %lld by %d", i, (long long)cases[i].calls,
               (long long)cases[i].splits, cases[i].workers, (long long)seen.calls, (long long)seen.splits, seen.workers);
    hmoe_model_close(model);
    free(plan);
  }
}

/* A copy is shared from 256 KiB on, an outer item a task. */
static void test_copies(void **state) {
  (void)state;
  static const struct {
    uint64_t outer, inner, run_bytes;
    int workers;
  } cases[] = {{4, 4, (1 << 14), 2}, {4, 4, (1 << 14) - 4, 0}, {1, 4, 1 << 16, 0},
               {2, 1, 1 << 17, 2},   {1 << 16, 1, 4, 2},       {0, 1, 4, 0},
               {1, 0, 4, 0}};
  static const char empty[10] = {2, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
  static uint8_t from[1 << 18], to[1 << 18];
  for (size_t i = 0; i < sizeof from; i++) from[i] = (uint8_t)(i * 7 + i / 256);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    uint64_t whole = cases[i].inner * cases[i].run_bytes, bytes = cases[i].outer * whole;
    fixture_plan *plan = plan_create("copies");
    plan_entry(plan, "open");
    fixture_entry *e = plan_entry(plan, "run");
    plan_dim(e, HMOE_DIM_INPUT, 0, 0);
    uint32_t x = plan_input(plan, e, "x", 0, sizeof from), y = plan_output(plan, e, "y", 0, sizeof to);
    plan_step(plan, e, HMOE_STEP_COPY, HMOE_NONE, BINDINGS(AT(y), AT(x)),
              FIELDS(copy, .outer = {cases[i].outer, whole, whole},
                     .inner = {cases[i].inner, cases[i].run_bytes, cases[i].run_bytes}, .run_bytes = cases[i].run_bytes));
    const hmoe_executor executor = {NULL, 2, note_parallel_for};
    hmoe_options options = fixture_options(0);
    options.executor = &executor;
    hmoe_model *model;
    assert_ok(hmoe_model_open(plan_finish(plan, NULL, 0),
                              &(hmoe_weights){.kind = HMOE_WEIGHTS_MEMORY, .data = empty, .size_bytes = sizeof empty}, &options,
                              &model));
    memset(&seen, 0, sizeof seen);
    memset(to, 0xee, sizeof to);
    assert_ok(hmoe_model_run(model, 1, &(int64_t){1}, (const void *const[]){from}, (void *const[]){to}));
    assert_int_equal(seen.workers, cases[i].workers);
    if (bytes) assert_memory_equal(to, from, bytes);
    for (uint64_t b = bytes; b < sizeof to; b++) assert_int_equal(to[b], 0xee);
    hmoe_model_close(model);
    free(plan);
  }
}

/* Dimensions go up to 2^40, derived ones too. */
static void test_largest_dimension(void **state) {
  (void)state;
  static const struct {
    uint32_t kind;
    uint64_t factor;
    int64_t input;
    bool fine;
  } cases[] = {
      {HMOE_DIM_SCALE, UINT64_C(1) << 40, 1, true},           {HMOE_DIM_SCALE, (UINT64_C(1) << 40) + 1, 1, false},
      {HMOE_DIM_CONST, UINT64_C(1) << 40, 1, true},           {HMOE_DIM_CONST, (UINT64_C(1) << 40) + 1, 1, false},
      {HMOE_DIM_SCALE, UINT64_C(1) << 62, 4, false},          {HMOE_DIM_ROUND_UP, UINT64_C(1) << 40, 1, true},
      {HMOE_DIM_ROUND_UP, (UINT64_C(1) << 40) + 1, 1, false},
  };
  static const char empty[10] = {2, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fixture_plan *plan = plan_create("large");
    plan_entry(plan, "open");
    fixture_entry *e = plan_entry(plan, "run");
    plan_dim(e, HMOE_DIM_INPUT, 0, 0);
    plan_dim(e, HMOE_DIM_CONST, 0, 5);
    plan_dim(e, cases[i].kind, 0, cases[i].factor);
    uint32_t x = plan_input(plan, e, "x", 0, 4), y = plan_output(plan, e, "y", 0, 4);
    plan_copy(plan, e, BINDINGS(AT(y), AT(x)), 4);
    hmoe_options options = fixture_options(1);
    hmoe_model *model;
    assert_ok(hmoe_model_open(plan_finish(plan, NULL, 0),
                              &(hmoe_weights){.kind = HMOE_WEIGHTS_MEMORY, .data = empty, .size_bytes = sizeof empty}, &options,
                              &model));
    float from[4] = {1, 2, 3, 4}, to[4] = {0};
    hmoe_status status = hmoe_model_run(model, 1, &cases[i].input, (const void *const[]){from}, (void *const[]){to});
    if (cases[i].fine) assert_ok(status);
    else assert_fails(status, HMOE_INVALID_ARGUMENT, "the run is too large: dimension 2 of entry 1 exceeds 1099511627776");
    assert_true(to[0] == (cases[i].fine ? 1 : 0));
    hmoe_model_close(model);
    free(plan);
  }
}

/* Inputs without elements: no reason to refuse, unless an output with elements is computed from them. A binding of no rows has no columns. */
static void test_nothing(void **state) {
  (void)state;
  fixture_plan *plan = plan_create("nothing");
  plan_entry(plan, "open");
  fixture_entry *e = plan_entry(plan, "run");
  uint32_t a = plan_dim(e, HMOE_DIM_INPUT, 0, 0), b = plan_dim(e, HMOE_DIM_INPUT, 0, 0);
  uint32_t x = plan_input(plan, e, "x", 0, 8), z = plan_input(plan, e, "z", 0, 8);
  uint32_t y = plan_output(plan, e, "y", 0, 8), w = plan_output(plan, e, "w", 0, 8);
  e->buffers[z].dim = e->buffers[w].dim = b;
  plan_shape(&e->inputs[1], -2, 2);
  plan_shape(&e->outputs[1], -2, 2);
  e->inputs[1].needed_by = 1; /* y needs z */
  uint32_t middle = plan_temporary(e, 0, 8, a);
  plan_kernel(plan, e, DOUBLE_ROWS, a, BINDINGS({x, 0, 4, 0}, {middle, 0, 4, 0}));
  (void)y;
  plan_finish(plan, kernels, KERNELS);
  static const char empty[10] = {2, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
  hmoe_options options = fixture_options(1);
  hmoe_model *model;
  assert_ok(hmoe_model_open(&plan->object, &(hmoe_weights){.kind = HMOE_WEIGHTS_MEMORY, .data = empty, .size_bytes = sizeof empty},
                            &options, &model));
  float from[8] = {0}, to[8] = {0};
  const void *const inputs[] = {from, from}, *const no_inputs[] = {NULL, NULL};
  void *const outputs[] = {to, to}, *const no_outputs[] = {NULL, NULL};
  assert_ok(hmoe_model_run(model, 1, (int64_t[]){0, 1}, inputs, outputs)); /* x and y are empty */
  assert_ok(hmoe_model_run(model, 1, (int64_t[]){0, 1}, (const void *const[]){NULL, from}, (void *const[]){NULL, to}));
  assert_ok(hmoe_model_run(model, 1, (int64_t[]){0, 0}, no_inputs, no_outputs));
  assert_fails(hmoe_model_run(model, 1, (int64_t[]){1, 0}, inputs, outputs), HMOE_INVALID_ARGUMENT,
               "input 'z' has no elements, and output 'y' is computed from it");
  hmoe_model_close(model);
  free(plan);
}

/* ---- what is said ---- */

static const char empty_file[10] = {2, 0, 0, 0, 0, 0, 0, 0, '{', '}'};

static hmoe_model *open_empty(fixture_plan *plan, uint32_t threads) {
  hmoe_options options = fixture_options(threads);
  hmoe_model *model;
  plan_finish(plan, kernels, KERNELS);
  assert_ok(hmoe_model_open(&plan->object,
                            &(hmoe_weights){.kind = HMOE_WEIGHTS_MEMORY, .data = empty_file, .size_bytes = sizeof empty_file},
                            &options, &model));
  return model;
}

/* The whole text; the names of 250 characters that the plan has are told by their first 200. */
static void says_exactly(hmoe_status status, hmoe_status expected, const char *format, ...) {
  static char text[2048];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  assert_int_equal(status, expected);
  assert_string_equal(hmoe_last_error(), text);
}

static void test_long_names(void **state) {
  (void)state;
  static char names[6][251], told[6][201];
  for (int i = 0; i < 6; i++) {
    memset(names[i], 'a' + i, 250);
    memset(told[i], 'a' + i, 200);
  }
  fixture_plan *plan = plan_create("long names");
  plan_state(plan, HMOE_SCOPE_TARGET, 1, 4);
  plan_entry(plan, "open");
  fixture_entry *e = plan_entry(plan, names[0]);
  uint32_t a = plan_dim(e, HMOE_DIM_INPUT, 0, 0), b = plan_dim(e, HMOE_DIM_INPUT, 0, 0);
  plan_output(plan, e, names[1], 0, 4);
  plan_output(plan, e, names[2], 0, 4);
  plan_input(plan, e, names[3], 2, 8);
  e->buffers[plan_input(plan, e, names[4], 0, 4)].dim = b;
  e->inputs[1].needed_by = 1 << 1;
  fixture_entry *decode = plan_entry(plan, names[5]);
  uint32_t length = plan_dim(decode, HMOE_DIM_INPUT, 0, 0);
  decode->entry.needs_state = 1;
  decode->entry.advance[HMOE_SCOPE_TARGET] = length;
  plan_output(plan, decode, names[1], 0, 4);
  (void)a;
  hmoe_model *model = open_empty(plan, 1), *other = open_empty(plan, 1);
  _Alignas(16) char bytes[64] = {0};
  const void *const inputs[] = {bytes, bytes + 16}, *const odd[] = {bytes + 4, bytes + 16}, *const none[] = {NULL, bytes + 16};
  void *const outputs[] = {bytes + 32, bytes + 48}, *const odd_outputs[] = {bytes + 32, bytes + 50},
              *const one[] = {bytes + 32, NULL};
  const int64_t dims[] = {1, 1};
  const hmoe_status bad = HMOE_INVALID_ARGUMENT;
  assert_ok(hmoe_model_run(model, 1, dims, inputs, outputs));
  says_exactly(hmoe_model_run(model, 1, dims, none, outputs), bad, "input '%s' is NULL", told[3]);
  says_exactly(hmoe_model_run(model, 1, dims, inputs, one), bad, "output '%s' is NULL", told[2]);
  says_exactly(hmoe_model_run(model, 1, dims, odd, outputs), bad, "input '%s' is not 8-byte aligned", told[3]);
  says_exactly(hmoe_model_run(model, 1, dims, inputs, odd_outputs), bad, "output '%s' is not 4-byte aligned", told[2]);
  says_exactly(hmoe_model_run(model, 1, (const int64_t[]){1, 0}, inputs, outputs), bad,
               "input '%s' has no elements, and output '%s' is computed from it", told[4], told[2]);
  says_exactly(hmoe_model_run(model, 1, (const int64_t[]){1, -1}, inputs, outputs), bad,
               "dims[1]: expected 0 to 1099511627776, found -1");
  says_exactly(hmoe_model_run(model, 3, dims, inputs, outputs), bad, "run: expected an entry from 1 to 2, found 3");
  says_exactly(hmoe_model_run(model, 0, dims, inputs, outputs), bad, "run: expected an entry from 1 to 2, found 0");
  says_exactly(hmoe_model_run(NULL, 1, dims, inputs, outputs), bad, "run: the model is NULL");
  says_exactly(hmoe_model_run(model, 1, NULL, inputs, outputs), bad, "run: dims is NULL");

  hmoe_state *kept, *foreign;
  const hmoe_state_options room = {.struct_size = sizeof room, .target_rows = 1, .target_capacity = 2};
  assert_ok(hmoe_state_create(model, &room, &kept));
  assert_ok(hmoe_state_create(other, &room, &foreign));
  says_exactly(hmoe_model_run(model, 2, dims, NULL, outputs), bad, "run: entry '%s' needs a state", told[5]);
  says_exactly(hmoe_model_run_state(model, 1, kept, dims, inputs, outputs), bad, "run: entry '%s' takes no state", told[0]);
  says_exactly(hmoe_model_run_state(model, 2, foreign, dims, NULL, outputs), bad,
               "run: entry '%s': the state belongs to another model", told[5]);
  assert_ok(hmoe_model_run_state(model, 2, kept, dims, NULL, outputs));
  says_exactly(hmoe_model_run_state(model, 2, kept, (const int64_t[]){2}, NULL, outputs), bad,
               "run: entry '%s': 2 tokens after 1: the state's target_capacity is 2", told[5]);
  assert_int_equal(hmoe_state_length(kept), 1);
  assert_ok(hmoe_model_run_state(model, 2, kept, dims, NULL, outputs));
  assert_int_equal(hmoe_state_length(kept), 2);
  says_exactly(hmoe_state_rewind(kept, 3), bad, "rewind: expected 0 to 2 tokens, found 3");
  says_exactly(hmoe_state_rewind(kept, -1), bad, "rewind: expected 0 to 2 tokens, found -1");
  hmoe_state_destroy(foreign);
  hmoe_state_destroy(kept);
  hmoe_model_close(other);
  hmoe_model_close(model);
  free(plan);
}

/* An output may begin where an input ends, and end where one begins. */
static void test_neighbours(void **state) {
  (void)state;
  toy *t = toy_create(1, 0);
  hmoe_model *model = open_toy(t, 1);
  enum { TOKENS = 2 };
  static float all[3 * TOKENS * COLUMNS];
  int32_t indices[TOKENS] = {0};
  float gates[TOKENS] = {0};
  const int64_t tokens = TOKENS;
  const int in = TOKENS * DEPTH, out = TOKENS * COLUMNS, middle = out;
  const struct {
    int x, y;
    bool fine;
  } cases[] = {{middle, middle + in, true},
               {middle, middle + in - 1, false},
               {middle, middle - out, true},
               {middle, middle - out + 1, false}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    hmoe_status status = hmoe_model_run(model, ENTRY_LAYER, &tokens, (const void *const[]){all + cases[i].x, indices, gates},
                                        (void *const[]){all + cases[i].y});
    if (cases[i].fine) assert_ok(status);
    else says_exactly(status, HMOE_INVALID_ARGUMENT, "output 0 overlaps input 0");
  }
  hmoe_model_close(model);
  toy_destroy(t);
}

/* What steps may touch of a buffer: from its offset on, to its end, and what is written is no input. Step 2 of entry 1 copies 8 bytes. */
static void test_bindings(void **state) {
  (void)state;
  static const struct {
    uint64_t to, from, bytes;
    bool back; /* into the input */
    const char *text;
  } cases[] = {{8, 8, 8, false, NULL},
               {12, 0, 8, false, "binding 0 has 4 bytes, 8 are needed"},
               {0, 12, 8, false, "binding 1 has 4 bytes, 8 are needed"},
               {16, 0, 8, false, "binding 0 has 0 bytes, 8 are needed"},
               {20, 0, 8, false, "binding 0 starts behind the end of its buffer"},
               {0, 20, 8, false, "binding 1 starts behind the end of its buffer"},
               {0, 0, 16, false, NULL},
               {0, 0, 17, false, "binding 0 has 16 bytes, 17 are needed"},
               {0, 0, 8, true, "binding 0 may not be written"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fixture_plan *plan = plan_create("bindings");
    plan_entry(plan, "open");
    fixture_entry *e = plan_entry(plan, "run");
    uint32_t rows = plan_dim(e, HMOE_DIM_INPUT, 0, 0);
    uint32_t x = plan_input(plan, e, "x", 0, 4), y = plan_output(plan, e, "y", 0, 4);
    plan_copy(plan, e, BINDINGS(AT(y), AT(x)), 16);
    plan_copy(plan, e, BINDINGS(AT(y), AT(x)), 4);
    plan_copy(plan, e, BINDINGS({cases[i].back ? x : y, 0, cases[i].to, 0}, {x, 0, cases[i].from, 0}), cases[i].bytes);
    (void)rows;
    hmoe_model *model = open_empty(plan, 1);
    const float from[] = {1, 2, 3, 4};
    float to[5] = {0, 0, 0, 0, 9};
    hmoe_status status = hmoe_model_run(model, 1, (const int64_t[]){4}, (const void *const[]){from}, (void *const[]){to});
    if (cases[i].text) says_exactly(status, HMOE_INCOMPATIBLE, "plan: entry 1 step 2 (copy): %s", cases[i].text);
    else assert_ok(status);
    assert_memory_equal(to, from, sizeof from);
    assert_true(to[4] == 9);
    hmoe_model_close(model);
    free(plan);
  }
}

/* HMOE_DEBUG=run: a line a step, the steps of a loop before the loop's. */
static void test_trace(void **state) {
  (void)state;
  fixture_plan *plan = plan_create("trace");
  plan_entry(plan, "open");
  fixture_entry *e = plan_entry(plan, "run");
  uint32_t rows = plan_dim(e, HMOE_DIM_INPUT, 0, 0), chunk = plan_dim(e, HMOE_DIM_CHUNK, 0, 3);
  uint32_t x = plan_input(plan, e, "x", 0, 16), y = plan_output(plan, e, "y", 0, 16);
  plan_copy(plan, e, BINDINGS(AT(y), AT(x)), 4);
  plan_step(plan, e, HMOE_STEP_LOOP, rows, BINDINGS(AT(HMOE_NONE)), FIELDS(loop, .kind = HMOE_LOOP_ROWS, .steps = 1, .chunk = 3));
  plan_kernel(plan, e, DOUBLE_ROWS, chunk, BINDINGS({x, 0, 0, 16}, {y, 0, 0, 16}));
  plan_copy(plan, e, BINDINGS(AT(y), AT(x)), 1000);
  setenv("HMOE_DEBUG", "run", 1);
  hmoe_model *model = open_empty(plan, 1);
  unsetenv("HMOE_DEBUG");
  static const char *const lines[] = {"copy", "kernel 0 rows=3", "kernel 0 rows=2", "loop rows=5", "copy"};
  static const int steps[] = {0, 2, 2, 1, 3};
  float from[20] = {0}, to[20];
  char *text = NULL;
  size_t size;
  FILE *kept = stderr, *stream = open_memstream(&text, &size);
  assert_non_null(stream);
  stderr = stream;
  hmoe_status status = hmoe_model_run(model, 1, (const int64_t[]){5}, (const void *const[]){from}, (void *const[]){to});
  stderr = kept;
  fclose(stream);
  says_exactly(status, HMOE_INCOMPATIBLE, "plan: entry 1 step 3 (copy): binding 0 has 80 bytes, 1000 are needed");
  char *rest = text;
  for (int i = 0; i < 5; i++) {
    char begin[64];
    snprintf(begin, sizeof begin, "hmoe: entry 1 step %d %s ", steps[i], lines[i]);
    char *line = strsep(&rest, "\n");
    if (!line || strncmp(line, begin, strlen(begin)) != 0)
      fail_msg("line %d: expected %s, found %s", i, begin, line ? line : "none");
    char *end;
    double milliseconds = strtod(line + strlen(begin), &end);
    assert_true(milliseconds >= 0 && milliseconds < 60000);
    assert_string_equal(end, i == 4 ? " ms FAILED" : " ms");
  }
  assert_string_equal(rest, "");
  free(text);
  hmoe_model_close(model);
  free(plan);
}

static void returning_parallel_for(void *context, size_t count, void (*task)(void *, size_t), void *task_context) {
  (void)count;
  if (context) task(task_context, 0);
}

/* Memory that is asked for with zeros has them to its last byte, whoever writes them; or it is not there. */
static void test_zeroed_memory(void **state) {
  (void)state;
  static const size_t sizes[] = {0, 1, 4 << 20, (4 << 20) + 1, (8 << 20) - 1, 9 << 20};
  static const hmoe_executor executors[] = {{NULL, 1, fixture_parallel_for}, {NULL, 3, fixture_parallel_for}};
  counting c = {0};
  const hmoe_allocator allocator = {&c, count_allocate, count_release};
  hmoe_options options = fixture_options(0);
  hmoe_workers workers;
  void *memory;
  for (size_t i = 0; i < 2 * (sizeof sizes / sizeof *sizes); i++) {
    size_t size = sizes[i / 2];
    options.executor = &executors[i % 2];
    assert_ok(hmoe_workers_init(&workers, &options, &allocator));
    assert_int_equal(workers.threads, executors[i % 2].threads);
    assert_ok(hmoe_workers_allocate(&workers, &allocator, size, "a test", &memory));
    for (size_t b = 0; b < size; b++)
      if (((uint8_t *)memory)[b]) fail_msg("byte %zu of %zu", b, size);
    hmoe_release(&allocator, memory, size);
    assert_int_equal(c.live, 0);
    hmoe_workers_deinit(&workers, &allocator);
  }
  for (int done = 0; done < 2; done++) {
    const hmoe_executor lazy = {done ? &c : NULL, 3, returning_parallel_for};
    char text[64];
    options.executor = &lazy;
    assert_ok(hmoe_workers_init(&workers, &options, &allocator));
    memory = &c;
    snprintf(text, sizeof text, "the executor returned after %d of 3 tasks", done);
    says_exactly(hmoe_workers_allocate(&workers, &allocator, 9 << 20, "a test", &memory), HMOE_INTERNAL, "%s", text);
    assert_null(memory);
    assert_int_equal(c.live, 0);
    hmoe_workers_deinit(&workers, &allocator);
  }
  c.fail_at = c.calls + 1;
  options.executor = &executors[0];
  assert_ok(hmoe_workers_init(&workers, &options, &allocator));
  assert_fails(hmoe_workers_allocate(&workers, &allocator, 9 << 20, "a test", &memory), HMOE_OUT_OF_MEMORY,
               "no memory for a test...");
}

/* Memory of the process's own: mapped, and zero, from 4 MiB on. */
static void test_default_memory(void **state) {
  (void)state;
  const hmoe_allocator own = hmoe_allocator_default();
  enum { FROM = 4 << 20 };
  static const size_t sizes[] = {0, 1, 63, 64, 65, FROM - 1, FROM, FROM + 1, FROM + (2 << 20), FROM + (2 << 20) + 1};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    void *memory;
    assert_ok(hmoe_allocate(&own, sizes[i], "a test", &memory));
    assert_int_equal((uintptr_t)memory % (sizes[i] >= FROM ? 2 << 20 : HMOE_ALIGNMENT), 0);
    assert_int_equal(hmoe_allocator_gives_zeros(&own, sizes[i]), sizes[i] >= FROM);
    assert_false(hmoe_allocator_gives_zeros(&fixture_allocator, sizes[i]));
    if (sizes[i] >= FROM)
      for (size_t b = 0; b < sizes[i]; b += 1021) assert_int_equal(((uint8_t *)memory)[b], 0);
    memset(memory, 1, sizes[i]);
    hmoe_release(&own, memory, sizes[i]);
  }
  void *memory = &memory;
  assert_fails(hmoe_allocate(&own, (uint64_t)PTRDIFF_MAX + 1, "a test", &memory), HMOE_OUT_OF_MEMORY,
               "no memory for a test: 9223372036854775808 bytes");
  assert_null(memory);
  assert_fails(hmoe_allocate(&own, PTRDIFF_MAX, "a test", &memory), HMOE_OUT_OF_MEMORY,
               "no memory for a test: 9223372036854775807 bytes");
  hmoe_release(&own, NULL, 5);
}

static void test_binomials(void **state) {
  (void)state;
  uint64_t row[41] = {1}; /* Pascal's triangle */
  for (uint64_t n = 0; n <= 40; n++) {
    for (uint64_t k = 0; k <= n; k++) assert_true(hmoe_binomial(n, k) == row[k]);
    assert_int_equal(hmoe_binomial(n, n + 1), 0);
    for (uint64_t k = n < 40 ? n + 1 : 0; k > 0; k--) row[k] += row[k - 1];
  }
  assert_true(hmoe_binomial(UINT64_MAX - 1, 1) == UINT64_MAX - 1);
  assert_true(hmoe_binomial(4096, 2048) == UINT64_MAX);
  assert_int_equal(hmoe_binomial(4096, 4095), 4096);
}

/* A worker's scratch is what the kernel that wants most of it wants, rounded up. */
static void test_scratch(void **state) {
  (void)state;
  static const uint64_t sizes[][3] = {{64, 1000, 0}, {1000, 64, 0}, {0, 0, 1000}, {0, 0, 0}, {64, 64, 65}};
  static const size_t rounded[] = {1024, 1024, 1024, 64, 128};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    fixture_plan *plan = plan_create("scratch");
    plan_entry(plan, "open");
    fixture_entry *e = plan_entry(plan, "run");
    plan_dim(e, HMOE_DIM_INPUT, 0, 0);
    plan_output(plan, e, "y", 0, 4);
    plan_finish(plan, kernels, KERNELS);
    for (int k = 0; k < KERNELS; k++) plan->functions[k].scratch_bytes = sizes[i][k];
    hmoe_options options = fixture_options(2);
    hmoe_model *model;
    float y[1];
    assert_ok(hmoe_model_open(&plan->object,
                              &(hmoe_weights){.kind = HMOE_WEIGHTS_MEMORY, .data = empty_file, .size_bytes = sizeof empty_file},
                              &options, &model));
    assert_ok(hmoe_model_run(model, 1, (const int64_t[]){1}, NULL, (void *const[]){y}));
    assert_int_equal(hmoe_model_workspace_bytes(model), 2 * rounded[i]);
    hmoe_model_close(model);
    free(plan);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_layer),
      cmocka_unit_test(test_group),
      cmocka_unit_test(test_group_scopes),
      cmocka_unit_test(test_dense_grid),
      cmocka_unit_test(test_arguments),
      cmocka_unit_test(test_every_allocation_can_fail),
      cmocka_unit_test(test_runs_allocate_nothing),
      cmocka_unit_test(test_concurrent_runs),
      cmocka_unit_test(test_executors),
      cmocka_unit_test(test_tasks),
      cmocka_unit_test(test_copies),
      cmocka_unit_test(test_largest_dimension),
      cmocka_unit_test(test_nothing),
      cmocka_unit_test(test_long_names),
      cmocka_unit_test(test_neighbours),
      cmocka_unit_test(test_bindings),
      cmocka_unit_test(test_trace),
      cmocka_unit_test(test_zeroed_memory),
      cmocka_unit_test(test_default_memory),
      cmocka_unit_test(test_binomials),
      cmocka_unit_test(test_scratch),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
