/* Steps as launches. Grids are as large as the plan's bounds: tasks that there turn out not to be return at once. */
#include "cuda/cuda.h"

#include <string.h>

enum { GROUP_THREADS = 256, GROUP_WARPS = GROUP_THREADS / 32, WAVES = 2 /* tasks a multiprocessor that few blocks are cut into */ };

/* What a chip or a driver that does not launch one kernel before another has ended says, if it says anything. */
static bool is_refused(CUresult result) { return result == CUDA_ERROR_NOT_SUPPORTED; }

/* Behind a launch of the same run a kernel may begin before that has ended: it waits itself, and so has that one for what was before it. The first waits for all that
 * its stream has, which other than kernels may be. */
static CUresult queue_launch(hmoe_cuda_model *own, hmoe_cuda_workspace *workspace, CUfunction function, unsigned tasks,
                             uint32_t threads, uint32_t shared_bytes, void **arguments, const char **out_call) {
  bool follows = workspace->follows;
  *out_call = "cuLaunchKernelEx";
  workspace->follows = true;
  if (follows && own->overlaps) {
    CUlaunchAttribute overlaps = {.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
                                  .value = {.programmaticStreamSerializationAllowed = 1}};
    const CUlaunchConfig config = {tasks, 1, 1, threads, 1, 1, shared_bytes, workspace->launches, &overlaps, 1};
    CUresult result = own->driver->cuLaunchKernelEx(&config, function, arguments, NULL);
    if (!is_refused(result)) return result;
    own->overlaps = false;
  }
  *out_call = "cuLaunchKernel";
  return own->driver->cuLaunchKernel(function, tasks, 1, 1, threads, 1, 1, shared_bytes, workspace->launches, arguments, NULL);
}

static hmoe_status launch_with(const hmoe_run *run, const hmoe_plan_step *step, CUfunction function, uint64_t tasks,
                               uint32_t threads, uint32_t shared_bytes, hmoe_cuda_call *call) {
  hmoe_cuda_model *own = hmoe_cuda_own(run->model);
  void *arguments[] = {call};
  if (!tasks) return HMOE_OK;
  if (!function) return hmoe_fail(HMOE_INCOMPATIBLE, "the image %s has no code for a step of this run", own->image->version);
  if (tasks > INT32_MAX) return hmoe_fail(HMOE_INVALID_ARGUMENT, "the run is too large: %llu tasks", (unsigned long long)tasks);
  const char *queued_by = NULL;
  hmoe_cuda_workspace *workspace = run->workspace->own;
  workspace->latest = step;
  CUresult result = queue_launch(own, workspace, function, (unsigned)tasks, threads, shared_bytes, arguments, &queued_by);
  return result == CUDA_SUCCESS ? HMOE_OK : hmoe_cuda_failed(own->driver, queued_by, NULL, result);
}

hmoe_status hmoe_cuda_launch(const hmoe_run *run, const hmoe_plan_step *step, CUfunction function, uint64_t tasks, uint32_t threads,
                             hmoe_cuda_call *call) {
  return launch_with(run, step, function, tasks, threads, 0, call);
}

static void set_buffer(hmoe_cuda_call *call, uint32_t binding, const void *memory) {
  call->buffers[binding] = (uint64_t)(uintptr_t)memory;
}

hmoe_status hmoe_cuda_bind(const hmoe_run *run, const hmoe_plan_step *step, const hmoe_cuda_bound *bindings, size_t count,
                           hmoe_cuda_call *call) {
  for (size_t i = 0; i < count; i++) {
    void *memory = NULL;
    HMOE_TRY(hmoe_run_binding(run, step, bindings[i].binding, bindings[i].access, bindings[i].bytes, &memory));
    set_buffer(call, bindings[i].binding, memory);
  }
  return HMOE_OK;
}

/* Most blocks among those of a blocks buffer that steps see: in a loop over groups the chunk's. */
static uint64_t most_blocks(const hmoe_run *run, uint64_t blocks, uint64_t rows, uint32_t row_block, uint32_t groups) {
  const hmoe_cuda_workspace *workspace = run->workspace->own;
  bool chunk = workspace->chunk_blocks && blocks == workspace->chunk_blocks;
  return hmoe_block_bound(rows, row_block, chunk && groups > workspace->chunk_groups ? workspace->chunk_groups : groups);
}

/* Few blocks are cut into columns, so that every multiprocessor streams a part of the weights. */
static uint64_t choose_splits(uint64_t blocks, uint64_t most, uint64_t multiprocessors) {
  uint64_t wanted = WAVES * multiprocessors;
  if (most <= 1 || blocks == 0 || blocks >= wanted) return 1;
  return hmoe_min(most, (wanted + blocks - 1) / blocks);
}

/* Tasks that may share a column step of a block. */
static uint64_t parts_of(uint64_t rows, uint32_t row_block) {
  uint64_t most = hmoe_min(rows, row_block);
  return HMOE_CUDA_STEP_PARTS * (most <= HMOE_CUDA_LONE_ROWS ? most : (most + HMOE_CUDA_PART_ROWS - 1) / HMOE_CUDA_PART_ROWS);
}

enum { ATTENTION_LENGTH = 1, ATTENTION_KEYS = 3, ATTENTION_PARTS = 6 }; /* dims, and a binding */

/* Tasks that share the keys of a sequence's head: where there are more parts than one has at one time, as many as there are multiprocessors for, so that all run at
 * one time. */
static uint64_t choose_shares(const hmoe_cuda_call *call, uint64_t tasks, uint64_t multiprocessors) {
  uint64_t queries = (uint64_t)call->dims[ATTENTION_LENGTH], keys = (uint64_t)call->dims[ATTENTION_KEYS];
  uint64_t parts = hmoe_mul(queries, keys / HMOE_CUDA_PART_KEYS + (keys % HMOE_CUDA_PART_KEYS != 0));
  if (!call->buffers[ATTENTION_PARTS] || !tasks || queries > HMOE_CUDA_SHARED_QUERIES || tasks > HMOE_CUDA_SHARED_ROWS ||
      parts <= HMOE_CUDA_PARTS_AT_ONCE)
    return 1;
  return hmoe_max(hmoe_min(parts, multiprocessors / tasks), 1);
}

/* What GROUP binds, and its dims; once: its launch needs no counters. */
static hmoe_status bind_group(const hmoe_run *run, const hmoe_plan_step *step, hmoe_cuda_call *out_call, bool *out_once) {
  const hmoe_step_group *group = hmoe_run_fields(run, step);
  const int64_t *dims = run->workspace->dims;
  uint64_t rows = (uint64_t)hmoe_run_rows(run, step), row_bytes = hmoe_mul(rows, sizeof(int32_t)), scope_rows = hmoe_max(rows, 1);
  if (rows > INT32_MAX)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "the run is too large: %llu rows to group", (unsigned long long)rows);
  if (group->scope_dim != HMOE_NONE) scope_rows = hmoe_mul((uint64_t)dims[group->scope_dim], group->top_k);
  if (!scope_rows && rows) return hmoe_step_fail(run, step, "capacity for every 0 tokens");
  uint64_t past = 0, stride = 0, history_bytes = 0;
  if (group->past_dim != HMOE_NONE && group->stride_dim != HMOE_NONE) {
    past = hmoe_mul((uint64_t)dims[group->past_dim], group->top_k);
    stride = hmoe_mul((uint64_t)dims[group->stride_dim], group->top_k);
    if (hmoe_add(past, scope_rows) > stride && rows)
      return hmoe_step_fail(run, step, "%llu rows are more than the history holds", (unsigned long long)scope_rows);
    history_bytes = hmoe_mul(hmoe_mul((rows + hmoe_max(scope_rows, 1) - 1) / hmoe_max(scope_rows, 1), stride), sizeof(int32_t));
  }
  uint64_t block_bytes =
      hmoe_add(sizeof(hmoe_blocks),
               hmoe_mul(hmoe_block_bound(rows, group->row_block, (group->capacity ? 2 : 1) * group->experts), sizeof(hmoe_block)));
  const hmoe_cuda_bound bindings[] = {{HMOE_BIND_GROUP_INDICES, HMOE_READ, row_bytes},
                                      {HMOE_BIND_GROUP_GATES, HMOE_READ | HMOE_OPTIONAL, row_bytes},
                                      {HMOE_BIND_GROUP_BLOCKS, HMOE_WRITE, block_bytes},
                                      {HMOE_BIND_GROUP_ROW_TOKEN, HMOE_WRITE, row_bytes},
                                      {HMOE_BIND_GROUP_ROW_SLOT, HMOE_WRITE | HMOE_OPTIONAL, row_bytes},
                                      {HMOE_BIND_GROUP_ROW_GATE, HMOE_WRITE | HMOE_OPTIONAL, row_bytes},
                                      {HMOE_BIND_GROUP_COUNTERS, HMOE_WRITE, hmoe_mul(group->experts, 2 * sizeof(int32_t))},
                                      {HMOE_BIND_GROUP_HISTORY, HMOE_WRITE | HMOE_OPTIONAL, history_bytes}};
  *out_call = (hmoe_cuda_call){.rows = (int64_t)rows, .splits = 1};
  HMOE_TRY(hmoe_cuda_bind(run, step, bindings, sizeof bindings / sizeof *bindings, out_call));
  const int64_t sizes[] = {
      group->experts, group->top_k,   (int64_t)group->capacity, group->row_block, (int64_t)hmoe_max(scope_rows, 1),
      (int64_t)past,  (int64_t)stride};
  memcpy(out_call->dims, sizes, sizeof sizes);
  *out_once = !group->capacity && group->experts <= HMOE_CUDA_GROUP_EXPERTS;
  return HMOE_OK;
}

/* The step behind a launch that chooses experts in one task, where the same task can group them; else NULL. `call` gets what it needs for that. */
static const hmoe_plan_step *find_grouping(const hmoe_run *run, const hmoe_plan_step *step, hmoe_cuda_call *call) {
  const hmoe_plan_step *next = step + 1;
  hmoe_cuda_call group;
  bool once = false;
  if ((uint64_t)(next - run->steps) >= run->entry->steps.count || next->kind != HMOE_STEP_GROUP) return NULL;
  const hmoe_step_group *fields = hmoe_run_fields(run, next);
  if (bind_group(run, next, &group, &once) != HMOE_OK) return NULL; /* its own turn says why */
  uint64_t gates = group.buffers[HMOE_BIND_GROUP_GATES];
  bool own_gates = gates == call->buffers[HMOE_CUDA_CHOSEN_GATES] || !group.buffers[HMOE_BIND_GROUP_ROW_GATE];
  if (!once || !own_gates || group.buffers[HMOE_BIND_GROUP_HISTORY] || group.rows != call->rows * fields->top_k ||
      group.buffers[HMOE_BIND_GROUP_INDICES] != call->buffers[HMOE_CUDA_CHOSEN_INDICES])
    return NULL;
  call->buffers[HMOE_CUDA_CHOSEN_BLOCKS] = group.buffers[HMOE_BIND_GROUP_BLOCKS];
  call->buffers[HMOE_CUDA_CHOSEN_ROW_TOKEN] = group.buffers[HMOE_BIND_GROUP_ROW_TOKEN];
  call->buffers[HMOE_CUDA_CHOSEN_ROW_SLOT] = group.buffers[HMOE_BIND_GROUP_ROW_SLOT];
  call->buffers[HMOE_CUDA_CHOSEN_ROW_GATE] = group.buffers[HMOE_BIND_GROUP_ROW_GATE];
  call->dims[0] = fields->row_block;
  return next;
}

/* Whether a step might write a buffer: it binds it, but for the blocks that a kernel goes by. */
static bool may_write(const hmoe_run *run, const hmoe_plan_step *step, const hmoe_plan_buffer *buffer) {
  const hmoe_step_kernel *kernel = hmoe_run_fields(run, step);
  bool has_blocks = step->kind == HMOE_STEP_KERNEL && kernel->grid == HMOE_GRID_BLOCKS;
  const hmoe_plan_binding *bindings = HMOE_PLAN_ARRAY(run->model->plan, step->bindings, hmoe_plan_binding);
  for (uint32_t i = 0; i < step->bindings.count; i++) {
    if (bindings[i].buffer == HMOE_NONE || (has_blocks && i == kernel->blocks_binding)) continue;
    const hmoe_plan_buffer *bound = &run->buffers[bindings[i].buffer];
    if (bound->kind == buffer->kind && bound->index == buffer->index) return true;
  }
  return false;
}

/* Whether what a step binds is older than the launch before, which may not have ended: weights and inputs are older than the run, workspace is where the step that
 * launched it, and a grouping that it did as well, do not write. */
static bool is_older(const hmoe_run *run, const hmoe_plan_step *step, uint32_t binding) {
  const hmoe_cuda_workspace *workspace = run->workspace->own;
  const hmoe_plan_binding *bindings = HMOE_PLAN_ARRAY(run->model->plan, step->bindings, hmoe_plan_binding);
  if (binding >= step->bindings.count || bindings[binding].buffer == HMOE_NONE) return true;
  const hmoe_plan_buffer *buffer = &run->buffers[bindings[binding].buffer];
  if (buffer->kind == HMOE_BUFFER_WEIGHT || buffer->kind == HMOE_BUFFER_INPUT) return true;
  if (buffer->kind != HMOE_BUFFER_WORKSPACE || !workspace->latest || may_write(run, workspace->latest, buffer)) return false;
  const hmoe_plan_step *next = workspace->latest + 1;
  bool grouped = (uint64_t)(next - run->steps) < run->entry->steps.count && next->kind == HMOE_STEP_GROUP;
  return !grouped || !may_write(run, next, buffer);
}

/* What of a call's memory a kernel may read before the launch before has ended. */
static uint64_t readable_early(const hmoe_run *run, const hmoe_plan_step *step, const hmoe_cuda_call *call) {
  const hmoe_step_kernel *kernel = hmoe_run_fields(run, step);
  bool blocks = kernel->grid != HMOE_GRID_BLOCKS || is_older(run, step, kernel->blocks_binding);
  if (call->count || !blocks || !is_older(run, step, HMOE_CUDA_RIGHT_OPERAND)) return HMOE_CUDA_EARLY_NOTHING;
  static const uint32_t rows[] = HMOE_CUDA_ROW_BINDINGS;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (!is_older(run, step, rows[i])) return HMOE_CUDA_EARLY_WEIGHTS;
  return HMOE_CUDA_EARLY_ALL;
}

hmoe_status hmoe_cuda_step_kernel(hmoe_run *run, const hmoe_plan_step *step) {
  const hmoe_step_kernel *kernel = hmoe_run_fields(run, step);
  const hmoe_cuda_model *own = hmoe_cuda_own(run->model);
  hmoe_cuda_workspace *workspace = run->workspace->own;
  hmoe_cuda_call call = {.rows = hmoe_run_rows(run, step), .splits = 1};
  if (step->bindings.count > HMOE_CUDA_BINDINGS_MAX || !own->functions[kernel->kernel])
    return hmoe_step_fail(run, step, "the image %s has no code for kernel %u", own->image->version, kernel->kernel);
  HMOE_TRY(hmoe_run_bind_all(run, step, workspace->pointers));
  for (uint32_t i = 0; i < step->bindings.count; i++) set_buffer(&call, i, workspace->pointers[i]);
  const uint32_t *dims = HMOE_PLAN_ARRAY(run->model->plan, kernel->dims, uint32_t);
  for (uint32_t i = 0; i < kernel->dims.count; i++) call.dims[i] = run->workspace->dims[dims[i]];
  if (workspace->chunk_blocks && run->dims[step->rows_dim].kind == HMOE_DIM_MISSING)
    call.count = workspace->chunk_blocks + offsetof(hmoe_blocks, todo);
  uint64_t grouped = kernel->grid == HMOE_GRID_BLOCKS ? call.buffers[kernel->blocks_binding] : 0;
  uint64_t blocks = most_blocks(run, grouped, (uint64_t)call.rows, kernel->row_block, kernel->groups);
  call.blocks = (int64_t)hmoe_block_bound((uint64_t)call.rows, kernel->row_block, kernel->groups);
  const hmoe_function *function = &own->image->functions[kernel->kernel];
  uint64_t steps = hmoe_max(function->column_steps & HMOE_CUDA_COLUMN_STEPS, 1), tasks = blocks;
  if (function->column_steps & HMOE_CUDA_PERSISTENT) {
    tasks = hmoe_min((uint64_t)own->multiprocessors, hmoe_mul(blocks, (2 * (uint64_t)kernel->column_splits + steps - 1) / steps));
  } else {
    uint64_t most = kernel->grid == HMOE_GRID_ROWS ? steps : (kernel->column_splits + steps - 1) / steps;
    if (function->column_steps & HMOE_CUDA_PARTS) most = hmoe_mul(most, parts_of((uint64_t)call.rows, kernel->row_block));
    call.splits = (int64_t)choose_splits(blocks, most, (uint64_t)own->multiprocessors);
    tasks = hmoe_mul(blocks, (uint64_t)call.splits);
  }
  uint32_t shared_bytes = function->scratch_bytes > HMOE_CUDA_OWN_SHARED_BYTES ? (uint32_t)function->scratch_bytes : 0;
  if (function->column_steps & HMOE_CUDA_GROUPS && tasks == 1) workspace->grouped = find_grouping(run, step, &call);
  if (function->column_steps & HMOE_CUDA_READS_EARLY) call.early = readable_early(run, step, &call);
  uint64_t shares =
      function->column_steps & HMOE_CUDA_SHARES_KEYS ? choose_shares(&call, tasks, (uint64_t)own->multiprocessors) : 1;
  if (shares > 1) {
    call.splits = (int64_t)shares;
    HMOE_TRY(
        launch_with(run, step, own->functions[kernel->kernel], hmoe_mul(tasks, shares), function->threads, shared_bytes, &call));
    call.splits = 0;
  }
  return launch_with(run, step, own->functions[kernel->kernel], tasks, function->threads, shared_bytes, &call);
}

/* Whether the image has code for all kernels among steps [begin, end). */
static bool has_code(const hmoe_run *run, uint32_t begin, uint32_t end) {
  for (uint32_t i = begin; i < end; i++) {
    const hmoe_step_kernel *kernel = hmoe_run_fields(run, &run->steps[i]);
    if (run->steps[i].kind == HMOE_STEP_KERNEL && !hmoe_cuda_own(run->model)->functions[kernel->kernel]) return false;
  }
  return true;
}

/* Blocks are counted by their bound, in a loop over groups all of the run's, so that its chunks go one way, and are not shared among threads. Pairs in one step,
 * which the host has, are none of a GPU's ways. */
hmoe_status hmoe_cuda_step_choose(hmoe_run *run, const hmoe_plan_step *step) {
  const hmoe_step_choose *choose = hmoe_run_fields(run, step);
  const hmoe_cuda_workspace *workspace = run->workspace->own;
  void *grouped = NULL;
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_CHOOSE_BLOCKS, HMOE_OPTIONAL, 0, &grouped));
  bool loops = grouped && (uint64_t)(uintptr_t)grouped == workspace->chunk_blocks;
  uint64_t rows = (uint64_t)hmoe_run_rows(run, step),
           blocks = hmoe_block_bound(rows, choose->row_block, loops ? workspace->loop_groups : choose->groups);
  uint32_t begin = (uint32_t)(step - run->steps) + 1, middle = begin + choose->first_steps;
  bool first = rows >= hmoe_mul(choose->block_rows, blocks) && has_code(run, begin, middle);
  return first ? hmoe_run_steps(run, begin, middle) : hmoe_run_steps(run, middle, middle + choose->second_steps);
}

hmoe_status hmoe_cuda_step_group(hmoe_run *run, const hmoe_plan_step *step) {
  const hmoe_step_group *group = hmoe_run_fields(run, step);
  const hmoe_cuda_model *own = hmoe_cuda_own(run->model);
  hmoe_cuda_workspace *workspace = run->workspace->own;
  hmoe_cuda_call call;
  bool once = false;
  if (workspace->grouped == step) return workspace->grouped = NULL, HMOE_OK;
  HMOE_TRY(bind_group(run, step, &call, &once));
  uint64_t rows = (uint64_t)call.rows;
  if (!once) HMOE_TRY(hmoe_cuda_launch(run, step, own->code[HMOE_CUDA_GROUP_COUNT], group->experts, GROUP_THREADS, &call));
  HMOE_TRY(hmoe_cuda_launch(run, step, own->code[once ? HMOE_CUDA_GROUP_ONCE : HMOE_CUDA_GROUP_WRITE], group->experts,
                            GROUP_THREADS, &call));
  if (!call.buffers[HMOE_BIND_GROUP_HISTORY]) return HMOE_OK;
  return hmoe_cuda_launch(run, step, own->code[HMOE_CUDA_GROUP_HISTORY], (rows + GROUP_THREADS - 1) / GROUP_THREADS, GROUP_THREADS,
                          &call);
}

/* ---- selection sets ---- */

hmoe_status hmoe_cuda_step_group_sets(hmoe_run *run, const hmoe_plan_step *step) {
  const hmoe_step_group_sets *group = hmoe_run_fields(run, step);
  const hmoe_cuda_model *own = hmoe_cuda_own(run->model);
  uint64_t tokens = (uint64_t)hmoe_run_rows(run, step), word = sizeof(int32_t), set_bytes = hmoe_mul(tokens, group->top_k * word);
  bool each = group->mode == HMOE_SETS_TOKEN, ranks = group->mode == HMOE_SETS_RANK;
  if (tokens > INT32_MAX / 8)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "the run is too large: %llu tokens to group", (unsigned long long)tokens);
  uint64_t sets = ranks ? hmoe_binomial(group->experts, group->top_k) : tokens;
  uint64_t blocks = hmoe_block_bound(tokens, group->row_block, (uint32_t)hmoe_min(sets, HMOE_NONE - 1));
  const hmoe_cuda_bound bindings[] = {
      {HMOE_BIND_GROUP_SETS_INDICES, each ? HMOE_OPTIONAL : HMOE_READ, set_bytes},
      {HMOE_BIND_GROUP_SETS_BLOCKS, HMOE_WRITE, hmoe_add(sizeof(hmoe_blocks), hmoe_mul(blocks, sizeof(hmoe_block)))},
      {HMOE_BIND_GROUP_SETS_ROW_TOKEN, HMOE_WRITE, hmoe_mul(tokens, word)},
      {HMOE_BIND_GROUP_SETS_SETS, each || ranks ? HMOE_WRITE | HMOE_OPTIONAL : HMOE_WRITE, set_bytes},
      {HMOE_BIND_GROUP_SETS_SCRATCH, each ? HMOE_WRITE | HMOE_OPTIONAL : HMOE_WRITE, each ? 0 : (8 * tokens + 64) * word}};
  hmoe_cuda_call call = {.rows = (int64_t)tokens, .splits = 1};
  HMOE_TRY(hmoe_cuda_bind(run, step, bindings, sizeof bindings / sizeof *bindings, &call));
  const int64_t sizes[] = {group->experts, group->top_k, group->row_block, (int64_t)sets, !ranks};
  memcpy(call.dims, sizes, sizeof sizes);
  uint64_t tasks = (tokens + GROUP_THREADS - 1) / GROUP_THREADS;
  if (each) return hmoe_cuda_launch(run, step, own->code[HMOE_CUDA_SETS_TOKEN], hmoe_max(tasks, 1), GROUP_THREADS, &call);
  if (tasks <= 1) return hmoe_cuda_launch(run, step, own->code[HMOE_CUDA_SETS_FEW], 1, GROUP_THREADS, &call);
  if (ranks && sets <= HMOE_CUDA_GROUP_EXPERTS && tokens <= HMOE_CUDA_RANKED_TOKENS &&
      (uint64_t)group->experts * group->top_k <= HMOE_CUDA_RANKED_MEMBERS)
    return hmoe_cuda_launch(run, step, own->code[HMOE_CUDA_SETS_ONCE], sets, GROUP_THREADS, &call);
  HMOE_TRY(hmoe_cuda_launch(run, step, own->code[HMOE_CUDA_SETS_SORT], tasks, GROUP_THREADS, &call));
  HMOE_TRY(
      hmoe_cuda_launch(run, step, own->code[HMOE_CUDA_SETS_PLACE], (tokens + GROUP_WARPS - 1) / GROUP_WARPS, GROUP_THREADS, &call));
  return hmoe_cuda_launch(run, step, own->code[HMOE_CUDA_SETS_BLOCK], 1, GROUP_THREADS, &call);
}

/* ---- tokens ---- */

enum { TROUBLE = HMOE_CUDA_BINDINGS_MAX - 1, PLACE_BITS = 40 };

/* So many elements a block of threads: one each, or one a warp. */
static hmoe_status launch_elements(hmoe_run *run, const hmoe_plan_step *step, hmoe_cuda_code code, uint64_t elements,
                                   uint64_t of_block, hmoe_cuda_call *call) {
  const hmoe_cuda_workspace *workspace = run->workspace->own;
  if (elements >> PLACE_BITS)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "the run is too large: %llu elements", (unsigned long long)elements);
  call->rows = (int64_t)elements;
  call->splits = 1;
  call->buffers[TROUBLE] = workspace->trouble;
  return hmoe_cuda_launch(run, step, hmoe_cuda_own(run->model)->code[code], (elements + of_block - 1) / of_block, GROUP_THREADS,
                          call);
}

hmoe_status hmoe_cuda_step_ids(hmoe_run *run, const hmoe_plan_step *step) {
  const hmoe_step_ids *ids = hmoe_run_fields(run, step);
  uint64_t count = (uint64_t)hmoe_run_rows(run, step);
  void *source, *destination;
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_IDS_SOURCE, HMOE_READ, hmoe_mul(count, ids->element_bytes), &source));
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_IDS_DESTINATION, HMOE_WRITE, hmoe_mul(count, sizeof(int32_t)), &destination));
  hmoe_cuda_call call = {.dims = {ids->element_bytes, (int64_t)ids->limit, ids->fill, step - run->steps}};
  set_buffer(&call, HMOE_BIND_IDS_SOURCE, source);
  set_buffer(&call, HMOE_BIND_IDS_DESTINATION, destination);
  return launch_elements(run, step, HMOE_CUDA_IDS, count, GROUP_THREADS, &call);
}

/* Dims, and the mask's and the other binding's memory, of a step over rows of tokens. other_elements: UINT64_MAX: [rows][length]. */
static hmoe_status bind_tokens(hmoe_run *run, const hmoe_plan_step *step, const hmoe_plan_tokens *fields, uint32_t mask,
                               int mask_access, uint64_t other_elements, int other_access, hmoe_token_rows *out,
                               hmoe_cuda_call *call) {
  *out = hmoe_run_tokens(run, fields);
  uint32_t other = mask == HMOE_BIND_TOKENS_SOURCE ? HMOE_BIND_TOKENS_DESTINATION : HMOE_BIND_TOKENS_SOURCE;
  if (other_elements == UINT64_MAX) other_elements = hmoe_mul(out->rows, out->length);
  void *mask_memory, *other_memory;
  HMOE_TRY(hmoe_run_bind_mask(run, step, mask, mask_access, out, &mask_memory));
  HMOE_TRY(hmoe_run_binding(run, step, other, other_access, hmoe_mul(other_elements, sizeof(int32_t)), &other_memory));
  *call = (hmoe_cuda_call){.dims = {(int64_t)out->rows, (int64_t)out->length, (int64_t)out->past, (int64_t)out->stride}};
  set_buffer(call, mask, mask_memory);
  set_buffer(call, other, other_memory);
  return HMOE_OK;
}

hmoe_status hmoe_cuda_step_positions(hmoe_run *run, const hmoe_plan_step *step) {
  const hmoe_step_positions *positions = hmoe_run_fields(run, step);
  hmoe_cuda_call call;
  hmoe_token_rows tokens;
  HMOE_TRY(bind_tokens(run, step, &positions->tokens, HMOE_BIND_TOKENS_SOURCE, HMOE_READ | HMOE_OPTIONAL, UINT64_MAX, HMOE_WRITE,
                       &tokens, &call));
  call.dims[4] = (int64_t)positions->limit;
  call.dims[5] = step - run->steps;
  return launch_elements(run, step, HMOE_CUDA_POSITIONS, hmoe_mul(tokens.rows, tokens.length), GROUP_WARPS, &call);
}

hmoe_status hmoe_cuda_step_last_rows(hmoe_run *run, const hmoe_plan_step *step) {
  const hmoe_step_last_rows *last_rows = hmoe_run_fields(run, step);
  hmoe_cuda_call call;
  hmoe_token_rows tokens;
  uint64_t rows = hmoe_run_tokens(run, &last_rows->tokens).rows;
  HMOE_TRY(bind_tokens(run, step, &last_rows->tokens, HMOE_BIND_TOKENS_SOURCE, HMOE_READ | HMOE_OPTIONAL, rows, HMOE_WRITE, &tokens,
                       &call));
  if (tokens.rows && !tokens.length) return hmoe_fail(HMOE_INVALID_ARGUMENT, "rows of 0 tokens have no last one");
  if (hmoe_mul(tokens.rows, tokens.length) > INT32_MAX)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "the run is too large: %llu rows of %llu tokens", (unsigned long long)tokens.rows,
                     (unsigned long long)tokens.length);
  return launch_elements(run, step, HMOE_CUDA_LAST_ROWS, tokens.rows, GROUP_WARPS, &call);
}

hmoe_status hmoe_cuda_step_append_mask(hmoe_run *run, const hmoe_plan_step *step) {
  const hmoe_step_append_mask *append = hmoe_run_fields(run, step);
  hmoe_cuda_call call;
  hmoe_token_rows tokens;
  HMOE_TRY(
      bind_tokens(run, step, &append->tokens, HMOE_BIND_TOKENS_DESTINATION, HMOE_WRITE, UINT64_MAX, HMOE_READ, &tokens, &call));
  return launch_elements(run, step, HMOE_CUDA_APPEND_MASK, hmoe_mul(tokens.rows, tokens.length), GROUP_THREADS, &call);
}

hmoe_status hmoe_cuda_pick(hmoe_run *run, const hmoe_pick *pick, const void *values, uint64_t columns) {
  hmoe_cuda_call call = {
      .rows = (int64_t)pick->rows, .splits = 1, .dims = {(int64_t)columns, (int64_t)pick->wanted, (int64_t)pick->room}};
  set_buffer(&call, 0, values);
  set_buffer(&call, 1, pick->found);
  hmoe_cuda_code code = pick->wanted ? HMOE_CUDA_BEST : HMOE_CUDA_PICK;
  return hmoe_cuda_launch(run, NULL, hmoe_cuda_own(run->model)->code[code], pick->rows, GROUP_THREADS, &call);
}

/* What a step found, in the words of the host's. The first position that is too far in a row is the limit: those of earlier runs were not, and each token
 * goes one further at most. */
static hmoe_status report(hmoe_run *run, uint64_t found) {
  uint64_t element = found & (((uint64_t)1 << PLACE_BITS) - 1);
  const hmoe_plan_step *step = &run->steps[found >> PLACE_BITS];
  const hmoe_cuda_workspace *workspace = run->workspace->own;
  const hmoe_cuda_driver *driver = hmoe_cuda_own(run->model)->driver;
  const hmoe_step_ids *ids = hmoe_run_fields(run, step);
  const hmoe_step_positions *positions = hmoe_run_fields(run, step);
  if (found >> PLACE_BITS >= run->entry->steps.count)
    return hmoe_fail(HMOE_INTERNAL, "CUDA: a word that steps write holds %llx", (unsigned long long)found);
  if (step->kind != HMOE_STEP_IDS)
    return hmoe_run_bad_position(element / hmoe_max(hmoe_run_tokens(run, &positions->tokens).length, 1), (int64_t)positions->limit,
                                 positions->limit);
  uint8_t *source;
  int64_t wide = 0;
  int32_t narrow = 0;
  bool is_wide = ids->element_bytes == sizeof wide;
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_IDS_SOURCE, HMOE_READ, hmoe_mul(element + 1, ids->element_bytes), &source));
  HMOE_CUDA_TRY(driver, cuMemcpyDtoHAsync, is_wide ? (void *)&wide : &narrow,
                (CUdeviceptr)(uintptr_t)source + element * ids->element_bytes, ids->element_bytes, workspace->ordered);
  HMOE_CUDA_TRY(driver, cuStreamSynchronize, workspace->ordered);
  return hmoe_run_bad_id(run, step, source, element, is_wide ? wide : narrow);
}

hmoe_status hmoe_cuda_finish_run(hmoe_run *run) {
  const hmoe_cuda_workspace *workspace = run->workspace->own;
  if (workspace->found == UINT64_MAX) return HMOE_OK;
  return report(run, workspace->found);
}

/* ---- states ---- */

/* Segments of all tensors of the target, a copy a move; what is put aside goes to memory of its own. */
hmoe_status hmoe_cuda_reorder_rows(hmoe_state *state, size_t moves, uint64_t positions) {
  const hmoe_cuda_model *own = hmoe_cuda_own(state->model);
  const hmoe_plan *plan = state->model->plan;
  const hmoe_plan_state *states = HMOE_PLAN_ARRAY(plan, plan->states, hmoe_plan_state);
  uint64_t capacity = (uint64_t)state->scopes[HMOE_SCOPE_TARGET].capacity, most = 0;
  CUdeviceptr aside = 0;
  for (uint32_t i = 0; i < plan->states.count; i++)
    if (states[i].scope == HMOE_SCOPE_TARGET) most = hmoe_max(most, positions * (states[i].position_bytes / states[i].segments));
  if (!most || !moves) return HMOE_OK;
  HMOE_TRY(hmoe_cuda_allocate(own->driver, most, "a row of a state", &aside));
  CUresult result = CUDA_SUCCESS;
  for (uint32_t i = 0; i < plan->states.count; i++) {
    if (states[i].scope != HMOE_SCOPE_TARGET) continue;
    uint64_t part = states[i].position_bytes / states[i].segments, row = capacity * states[i].position_bytes;
    for (uint32_t s = 0; s < states[i].segments; s++) {
      CUdeviceptr first = (CUdeviceptr)(uintptr_t)state->tensors[i].data + s * capacity * part;
      for (size_t m = 0; m < moves && result == CUDA_SUCCESS; m++) {
        int32_t to = state->moves[m][0], from = state->moves[m][1];
        result = own->driver->cuMemcpyDtoDAsync(to == HMOE_ASIDE ? aside : first + (uint64_t)to * row,
                                                from == HMOE_ASIDE ? aside : first + (uint64_t)from * row, positions * part,
                                                own->stream);
      }
    }
  }
  CUresult ended = own->driver->cuStreamSynchronize(own->stream);
  own->driver->cuMemFree(aside);
  if (result != CUDA_SUCCESS) return hmoe_cuda_failed(own->driver, "cuMemcpyDtoDAsync", "rows of a state", result);
  return ended == CUDA_SUCCESS ? HMOE_OK : hmoe_cuda_failed(own->driver, "cuStreamSynchronize", "rows of a state", ended);
}
