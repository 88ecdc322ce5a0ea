/* One loop at a time; its indices are handed out by an atomic counter, and the calling thread works too. The caller returns when
 * every worker has left the loop, under the mutex, so it sees all that they wrote. */
#include "pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef void task_fn(void *context, size_t index);

struct pool {
  pthread_mutex_t turn; /* held by the caller whose loop runs */
  pthread_mutex_t mutex;
  pthread_cond_t wake, done;
  unsigned long generation; /* one more for each loop */
  int stop;
  size_t busy; /* workers that have not left the loop */
  task_fn *task;
  void *context;
  size_t count;
  atomic_size_t next;
  size_t worker_count;
  pthread_t workers[];
};

static void run_share(pool *pool) {
  for (size_t i; (i = atomic_fetch_add(&pool->next, 1)) < pool->count;) pool->task(pool->context, i);
}

static void *worker_main(void *argument) {
  pool *pool = argument;
  pthread_mutex_lock(&pool->mutex);
  for (unsigned long seen = 0;;) {
    while (!pool->stop && pool->generation == seen) pthread_cond_wait(&pool->wake, &pool->mutex);
    if (pool->stop) break;
    seen = pool->generation;
    pthread_mutex_unlock(&pool->mutex);
    run_share(pool);
    pthread_mutex_lock(&pool->mutex);
    if (--pool->busy == 0) pthread_cond_signal(&pool->done);
  }
  pthread_mutex_unlock(&pool->mutex);
  return NULL;
}

static void parallel_for(void *context, size_t count, task_fn *task, void *task_context) {
  pool *pool = context;
  pthread_mutex_lock(&pool->turn);
  pthread_mutex_lock(&pool->mutex);
  pool->task = task;
  pool->context = task_context;
  pool->count = count;
  atomic_store(&pool->next, 0);
  pool->busy = pool->worker_count;
  pool->generation++;
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->mutex);
  run_share(pool);
  pthread_mutex_lock(&pool->mutex);
  while (pool->busy) pthread_cond_wait(&pool->done, &pool->mutex);
  pthread_mutex_unlock(&pool->mutex);
  pthread_mutex_unlock(&pool->turn);
}

pool *pool_create(size_t threads) {
  size_t workers = threads > 1 ? threads - 1 : 0;
  pool *pool = calloc(1, sizeof *pool + workers * sizeof pool->workers[0]);
  if (!pool) return NULL;
  pthread_mutex_init(&pool->turn, NULL);
  pthread_mutex_init(&pool->mutex, NULL);
  pthread_cond_init(&pool->wake, NULL);
  pthread_cond_init(&pool->done, NULL);
  for (; pool->worker_count < workers; pool->worker_count++)
    if (pthread_create(&pool->workers[pool->worker_count], NULL, worker_main, pool)) {
      pool_destroy(pool);
      return NULL;
    }
  return pool;
}

void pool_destroy(pool *pool) {
  if (!pool) return;
  pthread_mutex_lock(&pool->mutex);
  pool->stop = 1;
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->mutex);
  for (size_t i = 0; i < pool->worker_count; i++) pthread_join(pool->workers[i], NULL);
  pthread_cond_destroy(&pool->done);
  pthread_cond_destroy(&pool->wake);
  pthread_mutex_destroy(&pool->mutex);
  pthread_mutex_destroy(&pool->turn);
  free(pool);
}

hmoe_executor pool_executor(pool *pool) {
  return (hmoe_executor){.context = pool, .threads = pool->worker_count + 1, .parallel_for = parallel_for};
}
