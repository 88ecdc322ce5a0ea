/* Runs the tasks of a step on several threads, of the model's pool or of the caller's executor. Each worker claims tasks from one counter
 * until none is left. So any executor balances the load, and worker i owns scratch i.
 *
 * The counters also order memory: a worker's first claim acquires what the caller wrote, the caller's last look acquires what all
 * workers wrote. Nothing is asked of the executor but to run every index before it returns. */
#include "runtime_internal.h"

#include <stdatomic.h>
#include <string.h>

typedef struct running_job {
  _Alignas(64) _Atomic uint64_t next;
  _Alignas(64) _Atomic uint64_t finished;
  const hmoe_job *job;
} running_job;

static void work(void *context, size_t worker) {
  running_job *running = context;
  uint64_t task = atomic_fetch_add_explicit(&running->next, 1, memory_order_acq_rel);
  const hmoe_job *job = running->job;
  uint8_t *scratch = job->scratch ? job->scratch + worker * job->scratch_stride : NULL;
  while (task < job->count) {
    job->task(job->context, task, scratch);
    task = atomic_fetch_add_explicit(&running->next, 1, memory_order_relaxed);
  }
  atomic_fetch_add_explicit(&running->finished, 1, memory_order_release);
}

hmoe_status hmoe_workers_init(hmoe_workers *workers, const hmoe_options *options, const hmoe_allocator *allocator) {
  *workers = (hmoe_workers){0};
  if (options->executor) {
    workers->executor = *options->executor;
    workers->threads = options->executor->threads;
    return HMOE_OK;
  }
  HMOE_TRY(hmoe_threads_choose(options->threads, &workers->threads));
  return workers->threads == 1 ? HMOE_OK : hmoe_pool_create(workers->threads, allocator, &workers->pool);
}

void hmoe_workers_deinit(hmoe_workers *workers, const hmoe_allocator *allocator) {
  hmoe_pool_destroy(workers->pool, allocator);
  workers->pool = NULL;
}

hmoe_status hmoe_workers_run(const hmoe_workers *workers, const hmoe_job *job) {
  size_t count = (size_t)hmoe_min(workers->threads, job->count);
  if (count <= 1) {
    for (uint64_t task = 0; task < job->count; task++) job->task(job->context, task, job->scratch);
    return HMOE_OK;
  }
  running_job running = {.job = job};
  atomic_store_explicit(&running.next, 0, memory_order_release);
  if (workers->pool) {
    if (hmoe_pool_run(workers->pool, work, &running)) return HMOE_OK;
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "the process forked inside of this call: only the parent can go on with it");
  }
  workers->executor.parallel_for(workers->executor.context, count, work, &running);
  uint64_t finished = atomic_load_explicit(&running.finished, memory_order_acquire);
  if (finished == count) return HMOE_OK;
  return hmoe_fail(HMOE_INTERNAL, "the executor returned after %llu of %zu tasks", (unsigned long long)finished, count);
}

/* ---- memory ---- */

enum { ZERO_CHUNK = 4 << 20 };

typedef struct zero_job {
  uint8_t *memory;
  uint64_t size_bytes;
} zero_job;

static void zero_chunk(void *context, uint64_t task, void *scratch) {
  (void)scratch;
  const zero_job *job = context;
  uint64_t begin = task * ZERO_CHUNK;
  memset(job->memory + begin, 0, hmoe_min(ZERO_CHUNK, job->size_bytes - begin));
}

hmoe_status hmoe_workers_allocate(const hmoe_workers *workers, const hmoe_allocator *allocator, uint64_t size_bytes,
                                  const char *what, void **out_memory) {
  HMOE_TRY(hmoe_allocate(allocator, size_bytes, what, out_memory));
  if (hmoe_allocator_gives_zeros(allocator, size_bytes)) return HMOE_OK;
  zero_job job = {*out_memory, size_bytes};
  uint64_t count = size_bytes / ZERO_CHUNK + (size_bytes % ZERO_CHUNK != 0);
  hmoe_status status = hmoe_workers_run(workers, &(hmoe_job){.task = zero_chunk, .context = &job, .count = count});
  if (status == HMOE_OK) return HMOE_OK;
  hmoe_release(allocator, *out_memory, size_bytes);
  *out_memory = NULL;
  return status;
}
