/* The model's own threads: they run one function together with the thread that calls, and sleep when nothing comes.
 *
 * What pools made for number crunching do not promise, and an application's library must: a call waits for those threads only that took
 * part in it, not for all to come by; threads that wait do so awake for HMOE_POOL_AWAKE_NS, about as long as waking one takes, and then
 * sleep; a caller that finds the threads taken by another works alone; and threads that the system refuses are an error. Who knows that work is coming
 * can see whether they are awake, and wake them ahead.
 *
 * A child process of a fork has none of the threads: it starts its own when it first runs something, or works alone where the system refuses.
 *
 * The state is one word, [generation:32][open:1][active:31]. A call opens a new generation; a worker takes part by counting itself into
 * active while it is open; the caller closes it when its own share is done, and returns when active is 0. */
#include "runtime_internal.h"

#include <stdatomic.h>
#include <string.h>

#define OPEN (UINT64_C(1) << 31)
#define ACTIVE (OPEN - 1)
#define GENERATION_SHIFT 32
#define GENERATION (~UINT64_C(0) << GENERATION_SHIFT)
enum { SPINS = 32 }; /* between two looks at the clock: a pause is 5 to 50 ns on today's processors */

typedef struct pool_worker {
  struct hmoe_pool *pool;
  size_t index; /* 1.. */
  pthread_t thread;
} pool_worker;

struct hmoe_pool {
  _Alignas(64) _Atomic uint64_t state;
  _Alignas(64) _Atomic uint32_t sleepers;
  _Atomic bool called; /* sleepers were told of a generation, and none has gone to sleep since */
  atomic_flag taken;
  _Atomic bool stop;
  hmoe_pool_fn function;
  void *context;
  pthread_mutex_t mutex;
  pthread_cond_t wake, done;
  uint64_t self_bytes;
  hmoe_fork_watch watch;
  _Atomic bool started; /* in this process; written by the thread that has taken the workers, as is count */
  size_t threads; /* the caller's among them */
  size_t count; /* workers that were started */
  pool_worker workers[]; /* threads - 1 */
};

static inline void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/* Until the state's bits of `mask` are `value` (same), or are something else, but for HMOE_POOL_AWAKE_NS at most; the state as it was seen last. */
static uint64_t wait_awake(hmoe_pool *pool, uint64_t mask, uint64_t value, bool same) {
  uint64_t state = atomic_load(&pool->state);
  int64_t begin = 0;
  for (uint32_t spin = 1; ((state & mask) == value) != same; spin++) {
    relax();
    state = atomic_load_explicit(&pool->state, memory_order_acquire);
    if (spin % SPINS) continue;
    int64_t now = hmoe_now_ns();
    if (!begin) begin = now;
    if (now - begin >= HMOE_POOL_AWAKE_NS) break;
  }
  return state;
}

/* The state, once its generation is another than `seen`. */
static uint64_t wait_for_work(hmoe_pool *pool, uint32_t seen) {
  uint64_t state = wait_awake(pool, GENERATION, (uint64_t)seen << GENERATION_SHIFT, false);
  if ((uint32_t)(state >> GENERATION_SHIFT) != seen) return state;
  pthread_mutex_lock(&pool->mutex);
  /* Before the state is looked at again: who changes it looks at them after. */
  atomic_fetch_add(&pool->sleepers, 1);
  for (;;) {
    atomic_store(&pool->called, false);
    state = atomic_load(&pool->state);
    if ((uint32_t)(state >> GENERATION_SHIFT) != seen) break;
    pthread_cond_wait(&pool->wake, &pool->mutex);
  }
  atomic_fetch_sub(&pool->sleepers, 1);
  pthread_mutex_unlock(&pool->mutex);
  return state;
}

static void leave(hmoe_pool *pool) {
  uint64_t left = atomic_fetch_sub(&pool->state, 1) - 1;
  if (left & (OPEN | ACTIVE)) return;
  pthread_mutex_lock(&pool->mutex);
  pthread_cond_signal(&pool->done);
  pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *argument) {
  pool_worker *worker = argument;
  hmoe_pool *pool = worker->pool;
  uint32_t seen = 0;
  for (;;) {
    uint64_t state = wait_for_work(pool, seen);
    if (atomic_load(&pool->stop)) return NULL;
    seen = (uint32_t)(state >> GENERATION_SHIFT);
    while ((state & OPEN) && (uint32_t)(state >> GENERATION_SHIFT) == seen)
      if (atomic_compare_exchange_weak(&pool->state, &state, state + 1)) {
        pool->function(pool->context, worker->index);
        leave(pool);
        break;
      }
  }
}

static void open_generation(hmoe_pool *pool, uint64_t open) {
  uint64_t generation = (atomic_load(&pool->state) >> GENERATION_SHIFT) + 1;
  atomic_store(&pool->state, generation << GENERATION_SHIFT | open);
  if (atomic_load(&pool->sleepers) == 0 || atomic_exchange(&pool->called, true)) return;
  pthread_mutex_lock(&pool->mutex);
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->mutex);
}

/* As many workers as the system gives; returns why there are not more, or 0. */
static int start_workers(hmoe_pool *pool) {
  int reason = 0;
  pool->started = true;
  for (; pool->count < pool->threads - 1; pool->count++) {
    pool_worker *worker = &pool->workers[pool->count];
    *worker = (pool_worker){.pool = pool, .index = pool->count + 1};
    reason = pthread_create(&worker->thread, NULL, worker_main, worker);
    if (reason) break;
  }
  return reason;
}

/* What is not of the threads that are gone. */
static void reset(hmoe_pool *pool) {
  atomic_store(&pool->state, 0);
  atomic_store(&pool->sleepers, 0);
  atomic_store(&pool->called, false);
  atomic_flag_clear(&pool->taken);
  pthread_mutex_init(&pool->mutex, NULL);
  pthread_cond_init(&pool->wake, NULL);
  pthread_cond_init(&pool->done, NULL);
  pool->started = false;
  pool->count = 0;
}

static void after_fork(void *object, bool child) {
  if (child) reset(object);
}

bool hmoe_pool_run(hmoe_pool *pool, hmoe_pool_fn function, void *context) {
  uint32_t forks = hmoe_fork_count();
  if (atomic_flag_test_and_set(&pool->taken)) {
    function(context, 0);
    return forks == hmoe_fork_count();
  }
  if (!pool->started) start_workers(pool);
  pool->function = function;
  pool->context = context;
  open_generation(pool, OPEN);
  function(context, 0);
  if (forks != hmoe_fork_count()) return false;
  atomic_fetch_and(&pool->state, ~OPEN);
  if (wait_awake(pool, ACTIVE, 0, true) & ACTIVE) {
    pthread_mutex_lock(&pool->mutex);
    while (atomic_load(&pool->state) & ACTIVE) pthread_cond_wait(&pool->done, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
  }
  atomic_flag_clear(&pool->taken);
  return true;
}

hmoe_pool_rest hmoe_pool_workers(const hmoe_pool *pool) {
  if (!atomic_load_explicit(&pool->started, memory_order_relaxed)) return HMOE_POOL_ASLEEP;
  if (atomic_load_explicit(&pool->sleepers, memory_order_relaxed) == 0) return HMOE_POOL_AWAKE;
  return atomic_load_explicit(&pool->called, memory_order_relaxed) ? HMOE_POOL_WAKING : HMOE_POOL_ASLEEP;
}

void hmoe_pool_wake(hmoe_pool *pool) {
  if (atomic_flag_test_and_set(&pool->taken)) return;
  if (pool->started) open_generation(pool, 0);
  else start_workers(pool);
  atomic_flag_clear(&pool->taken);
}

hmoe_status hmoe_pool_create(size_t threads, const hmoe_allocator *allocator, hmoe_pool **out_pool) {
  uint64_t bytes = sizeof(hmoe_pool) + (threads - 1) * sizeof(pool_worker);
  void *memory = NULL;
  HMOE_TRY(hmoe_fork_prepare());
  HMOE_TRY(hmoe_allocate(allocator, bytes, "a pool of threads", &memory));
  memset(memory, 0, bytes);
  hmoe_pool *pool = memory;
  pool->self_bytes = bytes;
  pool->threads = threads;
  reset(pool);
  int reason = start_workers(pool);
  if (!reason) {
    pool->watch = (hmoe_fork_watch){.object = pool, .after = after_fork};
    hmoe_fork_watch_begin(&pool->watch);
    *out_pool = pool;
    return HMOE_OK;
  }
  size_t started = pool->count;
  hmoe_pool_destroy(pool, allocator);
  return hmoe_fail(HMOE_OUT_OF_MEMORY, "cannot start %zu threads besides the caller's: the system gives %zu (%s)", threads - 1,
                   started, strerror(reason));
}

void hmoe_pool_destroy(hmoe_pool *pool, const hmoe_allocator *allocator) {
  if (!pool) return;
  hmoe_fork_watch_end(&pool->watch);
  atomic_store(&pool->stop, true);
  open_generation(pool, 0);
  for (size_t i = 0; i < pool->count; i++) pthread_join(pool->workers[i].thread, NULL);
  pthread_cond_destroy(&pool->done);
  pthread_cond_destroy(&pool->wake);
  pthread_mutex_destroy(&pool->mutex);
  hmoe_release(allocator, pool, pool->self_bytes);
}
