/* A device whose memory is not the host's, and which does nothing before it must: copies and steps wait in a queue until fence. It runs them with the
 * functions of the CPU, on addresses of its own, so that every result must be the CPU's; whatever reads a result too early, or gives a step
 * memory of the host's, is seen. */
#include "runtime_fixture.h"

#include "device.h"

#include <unistd.h>

enum { EXPERTS = 5, TOP_K = 2, SETS = 10, CHUNK = 3, SLOTS = 4, WIDTH = 2, ROW_BLOCK = 2, TOKENS_MAX = 33 };

/* ---- the device ---- */

enum { REGIONS = 64, QUEUE = 256 };

typedef struct far_command {
  void *to; /* of a copy */
  const void *from;
  uint64_t size_bytes;
  hmoe_run *run; /* of a step */
  const hmoe_plan_step *step;
} far_command;

static struct far {
  struct {
    uint8_t *data;
    uint64_t size_bytes;
  } regions[REGIONS];
  far_command queue[QUEUE];
  size_t queued;
  bool working; /* on the queue: steps inside others run at once */
  int opened, allocations, fail_at, fences, uploads, downloads, steps;
  hmoe_status step_status, fence_status;
} far;

static bool is_far(const void *data, uint64_t size_bytes) {
  for (int i = 0; i < REGIONS; i++) {
    const uint8_t *begin = far.regions[i].data;
    if (begin && (const uint8_t *)data >= begin && (const uint8_t *)data + size_bytes <= begin + far.regions[i].size_bytes)
      return true;
  }
  return false;
}

static hmoe_status far_open(hmoe_model *model, const hmoe_options *options) {
  (void)options;
  model->device_own = &far;
  far.opened++;
  return HMOE_OK;
}

static void far_close(hmoe_model *model) {
  assert_ptr_equal(model->device_own, &far);
  far.opened--;
}

static hmoe_status far_allocate(hmoe_model *model, uint64_t size_bytes, bool zeros, const char *what, void **out_memory) {
  (void)model;
  if (++far.allocations == far.fail_at) return hmoe_fail(HMOE_OUT_OF_MEMORY, "far: %s", what);
  int i = 0;
  while (far.regions[i].data) assert_true(++i < REGIONS);
  far.regions[i].data = guard_allocate(NULL, size_bytes, 64);
  far.regions[i].size_bytes = size_bytes;
  if (zeros) memset(far.regions[i].data, 0, size_bytes);
  *out_memory = far.regions[i].data;
  return HMOE_OK;
}

static void far_release(hmoe_model *model, void *memory, uint64_t size_bytes) {
  (void)model;
  if (!memory) return;
  int i = 0;
  while (far.regions[i].data != memory) assert_true(++i < REGIONS);
  assert_int_equal(far.regions[i].size_bytes, size_bytes);
  guard_release(NULL, memory, size_bytes);
  far.regions[i].data = NULL;
}

static void enqueue(far_command command) {
  assert_true(far.queued < QUEUE);
  far.queue[far.queued++] = command;
}

static hmoe_status far_upload(hmoe_model *model, hmoe_workspace *workspace, void *to, const void *from, uint64_t size_bytes) {
  (void)model, (void)workspace;
  assert_true(is_far(to, size_bytes) && !is_far(from, 0));
  far.uploads++;
  enqueue((far_command){.to = to, .from = from, .size_bytes = size_bytes});
  return HMOE_OK;
}

static hmoe_status far_download(hmoe_model *model, hmoe_workspace *workspace, void *to, const void *from, uint64_t size_bytes) {
  (void)model, (void)workspace;
  assert_true(is_far(from, size_bytes) && !is_far(to, 0));
  far.downloads++;
  enqueue((far_command){.to = to, .from = from, .size_bytes = size_bytes});
  return HMOE_OK;
}

static hmoe_status far_fence(hmoe_model *model, hmoe_workspace *workspace);

static hmoe_status far_fill(hmoe_model *model, void *to, const void *from, uint64_t size_bytes, hmoe_progress *progress) {
  HMOE_TRY(far_upload(model, NULL, to, from, size_bytes));
  hmoe_progress_add(progress, size_bytes);
  return far_fence(model, NULL);
}

static hmoe_status far_step(hmoe_run *run, const hmoe_plan_step *step) {
  if (far.working) return hmoe_cpu_device.steps[step->kind](run, step);
  if (far.step_status != HMOE_OK) return hmoe_fail(far.step_status, "far: cannot begin");
  enqueue((far_command){.run = run, .step = step});
  return HMOE_OK;
}

static hmoe_status far_fence(hmoe_model *model, hmoe_workspace *workspace) {
  (void)model, (void)workspace;
  hmoe_status status = far.fence_status;
  if (status != HMOE_OK) hmoe_fail(status, "far: lost");
  far.working = true;
  for (size_t i = 0; i < far.queued && status == HMOE_OK; i++) {
    const far_command *command = &far.queue[i];
    if (!command->step) {
      memcpy(command->to, command->from, command->size_bytes);
      continue;
    }
    const hmoe_run *run = command->run;
    for (uint32_t b = 0; b < run->entry->buffers.count; b++) {
      const hmoe_memory *memory = &run->workspace->buffers[b];
      if (memory->data && memory->size_bytes) assert_true(is_far(memory->data, memory->size_bytes));
    }
    far.steps++;
    status = hmoe_cpu_device.steps[command->step->kind](command->run, command->step);
  }
  far.working = false;
  far.queued = 0;
  far.fences++;
  return status;
}

static hmoe_status far_workspace_begin(hmoe_model *model, hmoe_workspace *workspace) {
  return hmoe_cpu_device.workspace_begin(model, workspace);
}

static void far_workspace_end(hmoe_model *model, hmoe_workspace *workspace) { hmoe_cpu_device.workspace_end(model, workspace); }

static hmoe_status far_reorder(hmoe_state *state, size_t moves, uint64_t positions) {
  assert_true(is_far(state->tensors[0].data, state->tensors[0].size_bytes));
  return hmoe_cpu_device.reorder(state, moves, positions);
}

static const hmoe_device far_device = {
    .name = "far",
    .open = far_open,
    .close = far_close,
    .allocate = far_allocate,
    .release = far_release,
    .workspace_begin = far_workspace_begin,
    .workspace_end = far_workspace_end,
    .fill = far_fill,
    .upload = far_upload,
    .download = far_download,
    .fence = far_fence,
    .steps = {far_step, far_step, far_step, far_step, far_step, far_step, far_step, far_step, far_step, far_step, far_step,
              far_step, far_step, far_step},
    .reorder = far_reorder,
};

/* ---- a model ---- */

/* buffers: x, weights, out. */
static void add_weights(const hmoe_kernel_call *call, int64_t task, void *scratch) {
  (void)scratch;
  for (int i = 0; i < WIDTH; i++)
    ((float *)call->buffers[2])[task * WIDTH + i] =
        ((const float *)call->buffers[0])[task * WIDTH + i] + ((const float *)call->buffers[1])[i];
}

/* A number that depends on the set. buffers: todo_sets, todo_slot, table. */
static void generate(const hmoe_kernel_call *call, int64_t task, void *scratch) {
  (void)scratch;
  const int32_t *set = (const int32_t *)call->buffers[0] + task * TOP_K;
  ((float *)call->buffers[2])[((const int32_t *)call->buffers[1])[task]] = (float)(set[0] * 100 + set[1]);
}

/* buffers: blocks, row_token, table, y. */
static void add_number(const hmoe_kernel_call *call, int64_t task, void *scratch) {
  (void)scratch;
  const hmoe_block *block = (const hmoe_block *)((const hmoe_blocks *)call->buffers[0] + 1) + call->first_block + task;
  for (int32_t r = block->row; r < block->row + block->rows; r++)
    ((float *)call->buffers[3])[((const int32_t *)call->buffers[1])[r] * WIDTH] += ((const float *)call->buffers[2])[block->group];
}

/* Numbers the rows of a state. buffers: ids i32 [rows][length], kept f32 [rows][capacity], y f32 [rows]. dims: length, past, capacity. */
static void keep(const hmoe_kernel_call *call, int64_t task, void *scratch) {
  (void)scratch;
  int64_t length = call->dims[0], past = call->dims[1];
  float *kept = (float *)call->buffers[1] + task * call->dims[2], sum = 0;
  for (int64_t t = 0; t < length; t++) kept[past + t] = (float)((const int32_t *)call->buffers[0])[task * length + t];
  for (int64_t t = 0; t < past + length; t++) sum = sum * 3 + kept[t];
  ((float *)call->buffers[2])[task] = sum;
}

static const hmoe_kernel_fn kernels[] = {add_weights, generate, add_number, keep};
enum { ADD_WEIGHTS, GENERATE, ADD_NUMBER, KEEP, KERNELS };
enum { LAYER = 1, DECODE = 2 };

static void plan_layer(fixture_plan *plan, const fixture_entry *open, uint32_t packed) {
  fixture_entry *e = plan_entry(plan, "layer");
  uint32_t tokens = plan_dim(e, HMOE_DIM_INPUT, 0, 0), missing = plan_dim(e, HMOE_DIM_MISSING, 0, CHUNK);
  uint32_t x = plan_input(plan, e, "x", 0, WIDTH * 4), indices = plan_input(plan, e, "indices", 1, TOP_K * 4);
  uint32_t y = plan_output(plan, e, "y", 0, WIDTH * 4), same_y = plan_buffer(e, HMOE_BUFFER_OUTPUT, 0, 0, 0, WIDTH * 4, tokens);
  uint32_t weights = plan_share(e, open, packed), middle = plan_temporary(e, 0, WIDTH * 4, tokens);
  uint32_t blocks = plan_temporary(e, sizeof(hmoe_blocks), sizeof(hmoe_block), tokens), row_token = plan_temporary(e, 0, 4, tokens);
  uint32_t sets = plan_temporary(e, 0, TOP_K * 4, tokens), scratch = plan_temporary(e, 256, 32, tokens);
  uint32_t todo_sets = plan_temporary(e, 0, TOP_K * 4, missing), todo_slot = plan_temporary(e, 0, 4, missing);
  uint32_t table = plan_buffer(e, HMOE_BUFFER_CACHE, 0, 0, SLOTS * sizeof(float), 0, HMOE_NONE);
  plan_kernel(plan, e, ADD_WEIGHTS, tokens, BINDINGS(AT(x), AT(weights), AT(middle)));
  plan_kernel(plan, e, ADD_WEIGHTS, tokens, BINDINGS(AT(middle), AT(weights), AT(y)));
  plan_step(plan, e, HMOE_STEP_GROUP_SETS, tokens, BINDINGS(AT(indices), AT(blocks), AT(row_token), AT(sets), AT(scratch)),
            FIELDS(group_sets, .experts = EXPERTS, .top_k = TOP_K, .mode = HMOE_SETS_DISTINCT, .row_block = ROW_BLOCK));
  plan_step(
      plan, e, HMOE_STEP_LOOP, tokens, BINDINGS(AT(blocks), AT(sets), AT(todo_sets), AT(todo_slot)),
      FIELDS(loop, .kind = HMOE_LOOP_CACHED, .steps = 2, .chunk = CHUNK, .groups = SETS, .top_k = TOP_K, .generate_steps = 1));
  plan_kernel(plan, e, GENERATE, missing, BINDINGS(AT(todo_sets), AT(todo_slot), AT(table)));
  plan_step(plan, e, HMOE_STEP_KERNEL, tokens, BINDINGS(AT(blocks), AT(row_token), AT(table), AT(same_y)),
            FIELDS(kernel, .kernel = ADD_NUMBER, .grid = HMOE_GRID_BLOCKS, .row_block = ROW_BLOCK, .groups = CHUNK,
                   .column_splits = 1, .tasks = 8));
}

static void plan_decode(fixture_plan *plan) {
  fixture_entry *e = plan_entry(plan, "decode");
  e->entry.needs_state = 1;
  uint32_t length = plan_dim(e, HMOE_DIM_INPUT, 0, 0), rows = plan_dim(e, HMOE_DIM_STATE, 0, 0);
  uint32_t capacity = plan_dim(e, HMOE_DIM_STATE, 1, 0), past = plan_dim(e, HMOE_DIM_STATE, 2, 0);
  uint32_t tokens = plan_dim(e, HMOE_DIM_PRODUCT, rows, length);
  uint32_t ids = plan_input(plan, e, "ids", 2, 8), words = plan_temporary(e, 0, 4, tokens);
  e->buffers[ids].dim = tokens;
  e->inputs[0].optional = 1;
  e->inputs[0].fill = 7;
  uint32_t kept = plan_buffer(e, HMOE_BUFFER_STATE, 0, 0, 0, 0, HMOE_NONE), y = plan_output(plan, e, "y", 0, 4);
  e->buffers[y].dim = rows;
  plan_step(plan, e, HMOE_STEP_IDS, tokens, BINDINGS(AT(ids), AT(words)), FIELDS(ids, .element_bytes = 8, .limit = 100, .fill = 7));
  plan_step(plan, e, HMOE_STEP_KERNEL, rows, BINDINGS(AT(words), AT(kept), AT(y)),
            FIELDS(kernel, .kernel = KEEP, .row_block = 1, .groups = 1, .column_splits = 1, .tasks = 8,
                   .dims = plan_dims(plan, DIMS(length, past, capacity))));
  e->entry.advance[HMOE_SCOPE_TARGET] = length;
}

typedef struct toy {
  fixture_plan *plan;
  fixture_file file;
  hmoe_weights weights;
} toy;

static toy toy_create(void) {
  static const float values[WIDTH] = {0.5f, 7};
  toy t = {.plan = plan_create("toy")};
  uint32_t param = plan_param(t.plan, "w", 1, SHAPE(WIDTH));
  plan_cache(t.plan, SLOTS, SLOTS * sizeof(float), TOP_K);
  plan_state(t.plan, HMOE_SCOPE_TARGET, 1, 4);
  fixture_entry *open = plan_entry(t.plan, "open");
  uint32_t packed = plan_weight(t.plan, open, WIDTH * 4);
  plan_vector(t.plan, open, packed, param, WIDTH);
  plan_layer(t.plan, open, packed);
  plan_decode(t.plan);
  plan_finish(t.plan, kernels, KERNELS);
  file_tensor(&t.file, "w", "F32", FILE_SHAPE(WIDTH), values, sizeof values);
  t.weights = file_finish(&t.file);
  return t;
}

static void toy_destroy(toy *t) {
  free(t->plan);
  file_deinit(&t->file);
}

static hmoe_status open_on(const hmoe_device *device, const toy *t, const hmoe_weights *weights, uint32_t threads,
                           hmoe_model **out_model) {
  hmoe_options options = fixture_options(threads);
  return hmoe_model_open_on(device, &t->plan->object, weights, &options, out_model);
}

static hmoe_status run_layer(hmoe_model *model, int64_t tokens, float *y) {
  float x[TOKENS_MAX * WIDTH];
  int32_t indices[TOKENS_MAX * TOP_K];
  uint64_t seed = (uint64_t)tokens;
  for (int64_t t = 0; t < tokens; t++) {
    int32_t first = (int32_t)(fixture_random(&seed) % EXPERTS);
    indices[2 * t] = first;
    indices[2 * t + 1] = (first + 1 + (int32_t)(fixture_random(&seed) % (EXPERTS - 1))) % EXPERTS;
    for (int i = 0; i < WIDTH; i++) x[t * WIDTH + i] = (float)(fixture_random(&seed) % 100);
  }
  hmoe_status status = hmoe_model_run(model, LAYER, &tokens, (const void *const[]){x, indices}, (void *const[]){y});
  memset(x, 0xff, sizeof x); /* what comes later finds nothing */
  memset(indices, 0xff, sizeof indices);
  return status;
}

static void expect_none_left(void) {
  for (int i = 0; i < REGIONS; i++) assert_null(far.regions[i].data);
  assert_int_equal(far.queued, 0);
  assert_int_equal(far.opened, 0);
  memset(&far, 0, sizeof far);
}

static void test_runs(void **state) {
  (void)state;
  toy t = toy_create();
  for (uint32_t threads = 1; threads <= 2; threads++) {
    hmoe_model *near_model, *far_model;
    assert_ok(open_on(NULL, &t, &t.weights, threads, &near_model));
    assert_ok(open_on(&far_device, &t, &t.weights, threads, &far_model));
    assert_null(far_model->arena); /* the host keeps no copy */
    assert_int_equal(far.uploads, 1);
    assert_int_equal(far.fences, 1);
    int runs = 0;
    for (int64_t tokens = 0; tokens <= TOKENS_MAX; tokens += 1 + tokens / 4, runs++) {
      float near_y[TOKENS_MAX * WIDTH + 1], far_y[TOKENS_MAX * WIDTH + 1];
      memset(near_y, 0x55, sizeof near_y);
      memset(far_y, 0x55, sizeof far_y);
      assert_ok(run_layer(near_model, tokens, near_y));
      assert_ok(run_layer(far_model, tokens, far_y));
      assert_memory_equal(near_y, far_y, sizeof far_y);
    }
    /* One fence a run: two inputs up, four steps, the output down; nothing at all where there is nothing to do. Weights went up before. */
    assert_int_equal(far.fences, runs);
    assert_int_equal(far.uploads, 1 + 2 * (runs - 1));
    assert_int_equal(far.downloads, runs - 1);
    assert_int_equal(far.steps, 4 * (runs - 1));
    assert_true(hmoe_model_workspace_bytes(far_model) > hmoe_model_workspace_bytes(near_model));
    hmoe_model_close(near_model);
    hmoe_model_close(far_model);
    expect_none_left();
  }
  toy_destroy(&t);
}

/* What a device says of its own comes out of the run; so does what a step found, and the next run is none the worse. */
static void test_failures(void **state) {
  (void)state;
  toy t = toy_create();
  hmoe_model *model;
  assert_ok(open_on(&far_device, &t, &t.weights, 1, &model));
  float y[TOKENS_MAX * WIDTH];
  far.fence_status = HMOE_INTERNAL;
  assert_fails(run_layer(model, 3, y), HMOE_INTERNAL, "far: lost");
  far.fence_status = HMOE_OK;
  /* A step that cannot begin: what was begun before it is waited for, and nothing is downloaded. */
  int downloads = far.downloads, fences = far.fences;
  far.step_status = HMOE_UNSUPPORTED;
  assert_fails(run_layer(model, 3, y), HMOE_UNSUPPORTED, "far: cannot begin");
  assert_int_equal(far.downloads, downloads);
  assert_int_equal(far.fences, fences + 1);
  far.step_status = HMOE_OK;
  hmoe_state *s;
  assert_ok(hmoe_state_create(model, &(hmoe_state_options){sizeof(hmoe_state_options), 1, 10, 0, 0}, &s));
  int64_t length = 2;
  assert_fails(
      hmoe_model_run_state(model, DECODE, s, &length, (const void *const[]){(const int64_t[]){5, 100}}, (void *const[]){y}),
      HMOE_INVALID_ARGUMENT, "input 'ids'[1, 0] = 100: expected 0 to 99");
  assert_int_equal(hmoe_state_length(s), 0);
  assert_ok(hmoe_model_run_state(model, DECODE, s, &length, (const void *const[]){(const int64_t[]){5, 99}}, (void *const[]){y}));
  assert_true(y[0] == 5 * 3 + 99);
  hmoe_state_destroy(s);
  assert_ok(run_layer(model, 3, y));
  hmoe_model_close(model);
  expect_none_left();

  /* Each of its allocations: weights, the cache, tensors, slots. */
  int failed = 0;
  for (int fail_at = 1;; fail_at++) {
    far.fail_at = fail_at;
    model = NULL;
    hmoe_status status = open_on(&far_device, &t, &t.weights, 1, &model);
    if (status == HMOE_OK) status = run_layer(model, 3, y);
    bool done = far.allocations < fail_at;
    hmoe_model_close(model);
    expect_none_left();
    if (done) {
      assert_ok(status);
      break;
    }
    assert_fails(status, HMOE_OUT_OF_MEMORY, "far: ...");
    failed++;
  }
  assert_int_equal(failed, 4);
  toy_destroy(&t);
}

/* Rows of a state that lies in the device's memory. */
static void test_states(void **state) {
  (void)state;
  toy t = toy_create();
  float found[2][2][3];
  for (int device = 0; device < 2; device++) {
    hmoe_model *model;
    assert_ok(open_on(device ? &far_device : NULL, &t, &t.weights, 2, &model));
    hmoe_state *s;
    assert_ok(hmoe_state_create(model, &(hmoe_state_options){sizeof(hmoe_state_options), 3, 40, 0, 0}, &s));
    if (device) assert_true(is_far(s->data, s->data_bytes));
    int64_t length = 2, ids[] = {1, 2, 3, 4, 5, 6};
    assert_ok(hmoe_model_run_state(model, DECODE, s, &length, (const void *const[]){ids}, (void *const[]){found[device][0]}));
    assert_ok(hmoe_state_reorder(s, (const int32_t[]){2, 0, 0}));
    length = 1;
    assert_ok(hmoe_model_run_state(model, DECODE, s, &length, (const void *const[]){NULL}, (void *const[]){found[device][1]}));
    hmoe_state_destroy(s);
    hmoe_model_close(model);
  }
  assert_memory_equal(found[0], found[1], sizeof found[0]);
  assert_true(found[1][1][0] == (5 * 3 + 6) * 3 + 7 && found[1][1][2] == (1 * 3 + 2) * 3 + 7);
  expect_none_left();
  toy_destroy(&t);
}

/* Packed weights: saved out of the device's memory, and opened from a file. */
static void test_saved(void **state) {
  (void)state;
  toy t = toy_create();
  char near_path[] = "/tmp/hmoe-near-XXXXXX", far_path[] = "/tmp/hmoe-far-XXXXXX", *const paths[] = {near_path, far_path};
  char bytes[2][8192] = {{0}};
  float y[2][3 * WIDTH];
  hmoe_model *model;
  for (int device = 0; device < 2; device++) {
    close(mkstemp(paths[device]));
    assert_ok(open_on(device ? &far_device : NULL, &t, &t.weights, 1, &model));
    assert_ok(hmoe_model_save(model, paths[device]));
    hmoe_model_close(model);
    FILE *file = fopen(paths[device], "rb");
    assert_non_null(file);
    assert_int_equal(fread(bytes[device], 1, sizeof bytes[device], file), 4096 + 64);
    fclose(file);
  }
  for (int device = 0; device < 2; device++) { /* what the other has saved */
    assert_ok(open_on(device ? &far_device : NULL, &t, &(hmoe_weights){.path = paths[!device]}, 1, &model));
    assert_ok(run_layer(model, 3, y[device]));
    hmoe_model_close(model);
  }
  assert_memory_equal(bytes[0], bytes[1], sizeof bytes[0]);
  assert_memory_equal(y[0], y[1], sizeof y[0]);
  unlink(near_path);
  unlink(far_path);
  expect_none_left();
  toy_destroy(&t);
}

static void test_find(void **state) {
  (void)state;
  assert_ptr_equal(hmoe_device_find(NULL), &hmoe_cpu_device);
  assert_ptr_equal(hmoe_device_find("cpu"), &hmoe_cpu_device);
  assert_null(hmoe_device_find("far"));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_runs), cmocka_unit_test(test_failures), cmocka_unit_test(test_states),
                                     cmocka_unit_test(test_saved), cmocka_unit_test(test_find)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
