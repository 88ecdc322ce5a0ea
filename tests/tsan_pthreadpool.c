/* Stands in for libpthreadpool in the thread-sanitizer build: the library is not instrumented, so the sanitizer cannot see how it orders
 * memory and reports races that are none. The same calls on the pool of examples/two_models, which is. */
#include "../examples/two_models/pool.h"

#include <pthreadpool.h>

pthreadpool_t pthreadpool_create(size_t threads) { return (pthreadpool_t)(void *)pool_create(threads); }

size_t pthreadpool_get_threads_count(pthreadpool_t threads) { return pool_executor((pool *)(void *)threads).threads; }

void pthreadpool_parallelize_1d(pthreadpool_t threads, pthreadpool_task_1d_t task, void *context, size_t range, uint32_t flags) {
  (void)flags;
  hmoe_executor executor = pool_executor((pool *)(void *)threads);
  executor.parallel_for(executor.context, range, task, context);
}

void pthreadpool_destroy(pthreadpool_t threads) { pool_destroy((pool *)(void *)threads); }
