/* Threads that several models share, as those of an application's layers do: the runtime's own pool behind its executor interface. With a
 * pool each, the threads of one model, which look for work a while after a run, would stand in the way of the next one's. */
#include "runtime_internal.h"

#include <stdatomic.h>
#include <stdlib.h>

typedef struct share {
  _Alignas(64) _Atomic size_t next;
  _Alignas(64) size_t count;
  void (*task)(void *context, size_t index);
  void *context;
} share;

static void take_part(void *context, size_t worker) {
  (void)worker;
  share *s = context;
  size_t index;
  while ((index = atomic_fetch_add(&s->next, 1)) < s->count) s->task(s->context, index);
}

static void parallel_for(void *pool, size_t count, void (*task)(void *task_context, size_t index), void *task_context) {
  share s = {.count = count, .task = task, .context = task_context};
  hmoe_pool_run(pool, take_part, &s);
}

/* threads >= 2. Kept until the process ends. NULL: there is no memory, or no threads. */
hmoe_executor *bench_executor_create(size_t threads) {
  hmoe_allocator allocator = hmoe_allocator_default();
  hmoe_executor *executor = malloc(sizeof *executor);
  hmoe_pool *pool = NULL;
  if (!executor || hmoe_pool_create(threads, &allocator, &pool)) {
    free(executor);
    return NULL;
  }
  *executor = (hmoe_executor){.context = pool, .threads = threads, .parallel_for = parallel_for};
  return executor;
}
