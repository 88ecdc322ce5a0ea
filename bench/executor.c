/* Threads that several models share: with a pool each, those of one model, still looking for work after a short run, would stand in the
 * way of the next one's. They look for work a while after each step, as the threads of a model's own pool do after short runs. */
#include <hmoe/runtime.h>
#include <pthreadpool.h>
#include <stdlib.h>

static void parallel_for(void *context, size_t count, void (*task)(void *task_context, size_t index), void *task_context) {
  pthreadpool_parallelize_1d(context, task, task_context, count, 0);
}

/* Kept until the process ends. NULL: there is no memory. */
hmoe_executor *bench_executor_create(size_t threads) {
  hmoe_executor *executor = malloc(sizeof *executor);
  pthreadpool_t pool = pthreadpool_create(threads);
  if (!executor || !pool) {
    if (pool) pthreadpool_destroy(pool);
    free(executor);
    return NULL;
  }
  *executor = (hmoe_executor){.context = pool, .threads = threads, .parallel_for = parallel_for};
  return executor;
}
