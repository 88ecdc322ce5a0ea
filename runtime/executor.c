/* Runs the tasks of a step on several threads. As many workers as threads are handed to the executor; each claims tasks from one
 * counter until none is left. So any executor balances the load, and worker i owns scratch i.
 *
 * The counters also order memory: a worker's first claim acquires what the caller wrote, the caller's last look acquires what all
 * workers wrote. Nothing is asked of the executor but to run every index before it returns. */
#include "runtime_internal.h"

#include <pthreadpool.h>
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

static void work_nothing(void *context, size_t worker) {
  (void)context;
  (void)worker;
}

static void *wait_for_gate(void *gate) {
  pthread_mutex_lock(gate);
  pthread_mutex_unlock(gate);
  return NULL;
}

/* pthreadpool ends the process when the system refuses it a thread (limits on processes or on address space), so the threads it will
 * start are started here first, all of them alive at once, as it starts them: with default attributes. */
static hmoe_status probe_threads(size_t count, const hmoe_allocator *allocator) {
  void *memory = NULL;
  HMOE_TRY(hmoe_allocate(allocator, count * sizeof(pthread_t), "a pool of threads", &memory));
  pthread_t *threads = memory;
  pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&gate);
  size_t started = 0;
  int reason = 0;
  while (started < count && (reason = pthread_create(&threads[started], NULL, wait_for_gate, &gate)) == 0) started++;
  pthread_mutex_unlock(&gate);
  for (size_t i = 0; i < started; i++) pthread_join(threads[i], NULL);
  hmoe_release(allocator, memory, count * sizeof(pthread_t));
  if (started == count) return HMOE_OK;
  return hmoe_fail(HMOE_OUT_OF_MEMORY, "cannot start %zu threads besides the caller's: the system gives %zu (%s)", count, started,
                   strerror(reason));
}

hmoe_status hmoe_workers_init(hmoe_workers *workers, const hmoe_options *options, const hmoe_allocator *allocator) {
  *workers = (hmoe_workers){.threads = 1};
  if (options->executor) {
    workers->executor = *options->executor;
    workers->threads = options->executor->threads;
    return HMOE_OK;
  }
  HMOE_TRY(hmoe_threads_choose(options->threads, &workers->threads));
  if (workers->threads == 1) return HMOE_OK;
  HMOE_TRY(probe_threads(workers->threads - 1, allocator));
  workers->pool = pthreadpool_create(workers->threads);
  if (!workers->pool) return hmoe_fail(HMOE_OUT_OF_MEMORY, "cannot create a pool of %zu threads", workers->threads);
  return HMOE_OK;
}

void hmoe_workers_deinit(hmoe_workers *workers) {
  if (workers->pool) pthreadpool_destroy(workers->pool);
  workers->pool = NULL;
}

hmoe_status hmoe_workers_run(const hmoe_workers *workers, const hmoe_job *job, bool *spinning) {
  size_t count = (size_t)hmoe_min(workers->threads, job->count);
  if (count <= 1) {
    for (uint64_t task = 0; task < job->count; task++) job->task(job->context, task, job->scratch);
    return HMOE_OK;
  }
  running_job running = {.job = job};
  atomic_store_explicit(&running.next, 0, memory_order_release);
  if (workers->pool) {
    pthreadpool_parallelize_1d(workers->pool, work, &running, count, 0);
    *spinning = true;
  } else {
    workers->executor.parallel_for(workers->executor.context, count, work, &running);
  }
  uint64_t finished = atomic_load_explicit(&running.finished, memory_order_acquire);
  if (finished == count) return HMOE_OK;
  return hmoe_fail(HMOE_INTERNAL, "the executor returned after %llu of %zu tasks", (unsigned long long)finished, count);
}

void hmoe_workers_rest(const hmoe_workers *workers, bool *spinning) {
  if (*spinning) pthreadpool_parallelize_1d(workers->pool, work_nothing, NULL, workers->threads, PTHREADPOOL_FLAG_YIELD_WORKERS);
  *spinning = false;
}
