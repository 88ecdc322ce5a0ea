/* The pool: a function runs on the caller and on workers that come in time, once each, and no one is in it when the call returns. */
#include "runtime_fixture.h"

#include <sched.h>
#include <stdatomic.h>
#include <time.h>

enum { THREADS = 4, CALLS = 20000, CALLERS = 3 };

typedef struct call {
  atomic_int inside, entered[THREADS];
  atomic_int next;
  int tasks, done[64]; /* not atomic: the sanitizer sees whether the pool orders them */
} call;

static void take_tasks(void *context, size_t worker) {
  call *c = context;
  atomic_fetch_add(&c->inside, 1);
  atomic_fetch_add(&c->entered[worker], 1);
  for (int task; (task = atomic_fetch_add(&c->next, 1)) < c->tasks;) c->done[task]++;
  atomic_fetch_sub(&c->inside, 1);
}

static void check_call(hmoe_pool *pool, int tasks) {
  call c = {.tasks = tasks};
  assert_true(hmoe_pool_run(pool, take_tasks, &c));
  assert_int_equal(atomic_load(&c.inside), 0);
  assert_int_equal(atomic_load(&c.entered[0]), 1);
  for (int i = 1; i < THREADS; i++) assert_true(atomic_load(&c.entered[i]) <= 1);
  for (int i = 0; i < tasks; i++) assert_int_equal(c.done[i], 1);
}

static hmoe_pool *create(void) {
  hmoe_allocator allocator = fixture_allocator;
  hmoe_pool *pool;
  assert_ok(hmoe_pool_create(THREADS, &allocator, &pool));
  return pool;
}

static void destroy(hmoe_pool *pool) {
  hmoe_allocator allocator = fixture_allocator;
  hmoe_pool_destroy(pool, &allocator);
}

static void test_calls(void **state) {
  (void)state;
  hmoe_pool *pool = create();
  for (int i = 0; i < CALLS; i++) {
    if (i % 5000 == 0) nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL); /* the workers sleep */
    check_call(pool, i % 64);
  }
  destroy(pool);
}

/* Every task waits for the others, so all workers must come: none may oversleep a call. */
static void meet(void *context, size_t worker) {
  (void)worker;
  atomic_int *here = context;
  atomic_fetch_add(here, 1);
  while (atomic_load(here) < THREADS) nanosleep(&(struct timespec){.tv_nsec = 1000}, NULL);
}

static void test_all_workers_come(void **state) {
  (void)state;
  hmoe_pool *pool = create();
  for (int i = 0; i < 200; i++) {
    if (i % 2) nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
    atomic_int here = 0;
    assert_true(hmoe_pool_run(pool, meet, &here));
    assert_int_equal(atomic_load(&here), THREADS);
  }
  destroy(pool);
}

static void await_rest(const hmoe_pool *pool, hmoe_pool_rest rest) {
  for (int i = 0; i < 100000 && hmoe_pool_workers(pool) != rest; i++) nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
  assert_int_equal(hmoe_pool_workers(pool), rest);
}

static void wake_inside(void *pool, size_t worker) {
  (void)worker;
  hmoe_pool_wake(pool);
}

/* Workers that are woken ahead call nothing, are there for a call that comes, and sleep again by themselves. */
static void test_waking_ahead(void **state) {
  (void)state;
  hmoe_allocator allocator = fixture_allocator;
  hmoe_pool *pool; /* of two threads: more might never be awake at once */
  assert_ok(hmoe_pool_create(2, &allocator, &pool));
  for (int i = 0; i < 50; i++) {
    await_rest(pool, HMOE_POOL_ASLEEP);
    hmoe_pool_wake(pool);
    if (i % 3 == 1) hmoe_pool_wake(pool);
    if (i % 3 == 2) check_call(pool, 5);
  }
  await_rest(pool, HMOE_POOL_ASLEEP);
  int64_t end = hmoe_now_ns() + INT64_C(20000000000);
  do {
    hmoe_pool_wake(pool);
    sched_yield();
  } while (hmoe_pool_workers(pool) != HMOE_POOL_AWAKE && hmoe_now_ns() < end);
  assert_true(hmoe_now_ns() < end);
  assert_true(hmoe_pool_run(pool, wake_inside, pool)); /* the workers are taken: nothing happens */
  destroy(pool);
}

static void *call_often(void *pool) {
  for (int i = 0; i < CALLS / 10; i++) check_call(pool, 1 + i % 63);
  return NULL;
}

static void test_several_callers(void **state) {
  (void)state;
  hmoe_pool *pool = create();
  pthread_t callers[CALLERS];
  for (int i = 0; i < CALLERS; i++) assert_int_equal(pthread_create(&callers[i], NULL, call_often, pool), 0);
  for (int i = 0; i < CALLERS; i++) pthread_join(callers[i], NULL);
  destroy(pool);
}

/* What /proc says, as only the system knows whether a thread is gone. */
static int count_threads(void) {
  FILE *file = fopen("/proc/self/status", "r");
  char line[256];
  int threads = -1;
  assert_non_null(file);
  while (fgets(line, sizeof line, file))
    if (sscanf(line, "Threads: %d", &threads) == 1) break;
  fclose(file);
  return threads;
}

/* A pool that nobody calls starts its threads and ends them. */
static void test_unused(void **state) {
  (void)state;
  int before = count_threads();
  assert_true(before >= 1);
  for (int i = 0; i < 50; i++) {
    hmoe_pool *pool = create();
    assert_int_equal(count_threads(), before + THREADS - 1);
    destroy(pool);
    /* A thread that was joined leaves the list a moment later. */
    for (int wait = 0; wait < 1000 && count_threads() != before; wait++) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    assert_int_equal(count_threads(), before);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_calls),           cmocka_unit_test(test_all_workers_come), cmocka_unit_test(test_waking_ahead),
      cmocka_unit_test(test_several_callers), cmocka_unit_test(test_unused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
