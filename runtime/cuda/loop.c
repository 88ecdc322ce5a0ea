/* LOOP over groups. The host launches as many chunks as there may be, each with the most groups that it may have; code of the device (compiler/target/cuda/
 * loop.c) finds how many there are, which of them are to be generated and where. Tasks of groups and blocks that a chunk does not have return at once.
 *
 * A selection cache has a book in the device's memory: what set each slot has. Runs of a model with caches follow each other on the device: a run begins
 * behind the event of the run before, and records it when it has queued its steps. The host waits for neither. When steps could not be queued nobody knows
 * what the slots have: the next run begins with empty books. */
#include "cuda/cuda.h"

#include <string.h>

enum { THREADS = 256, WARPS = 8 };

/* ---- books ---- */

/* Where the parts of a cache's book are, from its begin on. */
typedef struct book {
  uint64_t stamps, keys, found, taken, bytes;
} book;

static book lay_out(const hmoe_plan_cache *cache) {
  book b = {.keys = (cache->slots + 2) * sizeof(int64_t)};
  b.found = b.keys + cache->slots * cache->top_k * sizeof(int32_t);
  b.taken = b.found + cache->slots * sizeof(int32_t);
  b.bytes = hmoe_round_up(b.taken + cache->slots * sizeof(int32_t), HMOE_ALIGNMENT);
  return b;
}

static const hmoe_plan_cache *caches_of(const hmoe_model *model) {
  return HMOE_PLAN_ARRAY(model->plan, model->plan->caches, hmoe_plan_cache);
}

hmoe_status hmoe_cuda_create_books(const hmoe_model *model, hmoe_cuda_model *own) {
  uint32_t count = model->plan->caches.count;
  if (!count) return HMOE_OK;
  for (uint32_t i = 0; i < count; i++) own->books_bytes = hmoe_add(own->books_bytes, lay_out(&caches_of(model)[i]).bytes);
  HMOE_TRY(hmoe_cuda_allocate(own->driver, own->books_bytes, "the books of the selection caches", &own->books));
  HMOE_CUDA_TRY(own->driver, cuEventCreate, &own->caches_used, CU_EVENT_DISABLE_TIMING);
  own->caches_stale = true;
  return HMOE_OK;
}

hmoe_status hmoe_cuda_take_caches(const hmoe_run *run) {
  hmoe_cuda_model *own = hmoe_cuda_own(run->model);
  const hmoe_cuda_workspace *workspace = run->workspace->own;
  if (!own->books) return HMOE_OK;
  HMOE_CUDA_TRY(own->driver, cuStreamWaitEvent, workspace->ordered, own->caches_used, 0);
  if (own->caches_stale) HMOE_CUDA_TRY(own->driver, cuMemsetD8Async, own->books, 0xff, own->books_bytes, workspace->ordered);
  own->caches_stale = true; /* until the steps are queued */
  return HMOE_OK;
}

hmoe_status hmoe_cuda_leave_caches(const hmoe_run *run, hmoe_status status) {
  hmoe_cuda_model *own = hmoe_cuda_own(run->model);
  const hmoe_cuda_workspace *workspace = run->workspace->own;
  if (!own->books) return status;
  own->caches_stale = status != HMOE_OK;
  CUresult result = own->driver->cuEventRecord(own->caches_used, workspace->ordered);
  if (result == CUDA_SUCCESS) return status;
  own->caches_stale = true;
  own->driver->cuStreamSynchronize(workspace->ordered); /* else another run could begin beside what was queued */
  return status == HMOE_OK ? hmoe_cuda_failed(own->driver, "cuEventRecord", NULL, result) : status;
}

/* ---- chunks ---- */

static void bind_book(const hmoe_model *model, uint32_t cache, hmoe_cuda_call *call) {
  CUdeviceptr at = hmoe_cuda_own(model)->books;
  for (uint32_t i = 0; i < cache; i++) at += lay_out(&caches_of(model)[i]).bytes;
  book b = lay_out(&caches_of(model)[cache]);
  call->buffers[HMOE_CUDA_LOOP_STAMPS] = at + b.stamps;
  call->buffers[HMOE_CUDA_LOOP_KEYS] = at + b.keys;
  call->buffers[HMOE_CUDA_LOOP_FOUND] = at + b.found;
  call->buffers[HMOE_CUDA_LOOP_TAKEN] = at + b.taken;
}

static hmoe_status bind_groups(const hmoe_run *run, const hmoe_plan_step *step, uint64_t most, bool cached, hmoe_cuda_call *call) {
  const hmoe_step_loop *loop = hmoe_run_fields(run, step);
  uint64_t word = sizeof(int32_t), set_bytes = loop->top_k * word, chunk_bytes = loop->chunk * word;
  int todo = HMOE_WRITE | HMOE_OPTIONAL;
  const hmoe_cuda_bound bindings[] = {
      {HMOE_BIND_LOOP_BLOCKS, HMOE_WRITE, hmoe_add(sizeof(hmoe_blocks), hmoe_mul(most, sizeof(hmoe_block)))},
      {HMOE_BIND_LOOP_SETS, cached ? HMOE_READ : HMOE_READ | HMOE_OPTIONAL, hmoe_mul(most, set_bytes)},
      {HMOE_BIND_LOOP_TODO_SETS, todo, hmoe_mul(loop->chunk, set_bytes)},
      {HMOE_BIND_LOOP_TODO_SLOT, todo, chunk_bytes},
      {HMOE_BIND_LOOP_TODO_TOKEN, todo, chunk_bytes},
      {HMOE_BIND_LOOP_ROW_TOKEN, HMOE_READ | HMOE_OPTIONAL, hmoe_mul((uint64_t)hmoe_run_rows(run, step), word)}};
  HMOE_TRY(hmoe_cuda_bind(run, step, bindings, sizeof bindings / sizeof *bindings, call));
  if (call->buffers[HMOE_BIND_LOOP_TODO_SETS] && !call->buffers[HMOE_BIND_LOOP_SETS])
    return hmoe_step_fail(run, step, "binding %d is missing", HMOE_BIND_LOOP_SETS);
  if (call->buffers[HMOE_BIND_LOOP_TODO_TOKEN] && !call->buffers[HMOE_BIND_LOOP_ROW_TOKEN])
    return hmoe_step_fail(run, step, "binding %d is missing", HMOE_BIND_LOOP_ROW_TOKEN);
  if (cached) bind_book(run->model, loop->cache, call);
  return HMOE_OK;
}

static hmoe_status run_chunk(hmoe_run *run, const hmoe_plan_step *step, uint64_t first, uint64_t groups, hmoe_cuda_call *call) {
  const hmoe_step_loop *loop = hmoe_run_fields(run, step);
  const hmoe_cuda_model *own = hmoe_cuda_own(run->model);
  bool cached = loop->kind == HMOE_LOOP_CACHED;
  uint64_t slots = cached ? caches_of(run->model)[loop->cache].slots : 0;
  uint32_t body = (uint32_t)(step - run->steps) + 1;
  const int64_t sizes[] = {(int64_t)first, loop->chunk, loop->top_k, (int64_t)slots};
  memcpy(call->dims, sizes, sizeof sizes);
  if (cached) HMOE_TRY(hmoe_cuda_launch(run, step, own->code[HMOE_CUDA_LOOP_FIND], (groups + WARPS - 1) / WARPS, THREADS, call));
  HMOE_TRY(hmoe_cuda_launch(run, step, own->code[HMOE_CUDA_LOOP_CHUNK], 1, THREADS, call));
  if (!run->in_rows) run->items_done = first;
  HMOE_TRY(hmoe_run_set_dims(run, HMOE_DIM_MISSING, (int64_t)groups));
  return hmoe_run_steps(run, body, body + loop->steps);
}

hmoe_status hmoe_cuda_step_loop(hmoe_run *run, const hmoe_plan_step *step) {
  const hmoe_step_loop *loop = hmoe_run_fields(run, step);
  hmoe_cuda_workspace *workspace = run->workspace->own;
  if (loop->kind == HMOE_LOOP_ROWS) return hmoe_run_loop_rows(run, step);
  uint64_t most = hmoe_min((uint64_t)hmoe_run_rows(run, step), loop->groups);
  hmoe_cuda_call call = {.splits = 1};
  HMOE_TRY(bind_groups(run, step, most, loop->kind == HMOE_LOOP_CACHED, &call));
  hmoe_status status = HMOE_OK;
  workspace->chunk_blocks = call.buffers[HMOE_BIND_LOOP_BLOCKS];
  workspace->loop_groups = loop->groups;
  for (uint64_t first = 0; status == HMOE_OK && first < most; first += loop->chunk) {
    workspace->chunk_groups = (uint32_t)hmoe_min(loop->chunk, most - first);
    status = run_chunk(run, step, first, workspace->chunk_groups, &call);
  }
  workspace->chunk_blocks = 0;
  if (!run->in_rows) run->items_done = 0;
  return status;
}
