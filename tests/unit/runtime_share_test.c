/* Whether a run's steps are shared: what decides it, and what threads do then. Two threads: a step saves half of its time. */
#include "cpu/cpu.h"
#include "runtime_fixture.h"

#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { US = 1000000, TASKS = 8 };
static const hmoe_sharing sharing = {
    .barrier_ps = US / 4, .wake_ps = 10 * US, .asleep_ps = 30 * US}; /* a step costs 1 us to share */

/* ---- the rule ---- */

static void test_rule(void **state) {
  (void)state;
  static const struct {
    uint64_t late_ps, saved_ps;
    int64_t pause_ns;
    uint64_t missed_ps;
    uint32_t tries;
    bool wakes;
    uint64_t left_ps;
    uint32_t tried;
  } cases[] = {
      /* For the run itself: twice what waking costs. */
      {20 * US, 21 * US, 1000000, 5, 3, false, 0, 3},
      {20 * US + 1, 21 * US, 1000000, 5, 3, true, 5, 3},
      {UINT64_MAX, UINT64_MAX, 0, 5, 3, true, 5, 3},
      /* For those that follow closely: what waking takes in all was missed. */
      {0, 3 * US, HMOE_POOL_AWAKE_NS, 39 * US, 0, false, 0, 0},
      {0, 3 * US, HMOE_POOL_AWAKE_NS - 1, 30 * US, 0, false, 33 * US, 0},
      {0, 3 * US, 0, 37 * US, 0, false, 40 * US, 0},
      {0, 3 * US, 0, 37 * US + 1, 0, true, 0, 1},
      {0, UINT64_MAX, 0, 1, 0, true, 0, 1},
      {0, UINT64_MAX, INT64_MAX, 1, 0, false, 0, 0},
      /* Twice as much after each try that was in vain. */
      {0, 3 * US, 0, 77 * US, 1, false, 80 * US, 1},
      {0, 3 * US, 0, 78 * US, 1, true, 0, 2},
      {0, 3 * US, 0, UINT64_C(40957) * US, 10, false, UINT64_C(40960) * US, 10},
      {0, 3 * US, 0, UINT64_C(40958) * US, 10, true, 0, 10},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    hmoe_rest rest = {.missed_ps = cases[i].missed_ps, .tries = cases[i].tries};
    bool wakes = hmoe_cpu_wakes(&sharing, cases[i].late_ps, cases[i].saved_ps, cases[i].pause_ns, &rest);
    if (wakes != cases[i].wakes || rest.missed_ps != cases[i].left_ps || rest.tries != cases[i].tried)
      fail_msg("case %zu: %s, missed %llu, %u tries", i, wakes ? "wakes" : "does not wake", (unsigned long long)rest.missed_ps,
               (unsigned)rest.tries);
  }
}

/* ---- runs ---- */

static struct {
  pthread_t caller;
  atomic_int mine, others;
} seen;

static void note_thread(const hmoe_kernel_call *call, int64_t task, void *scratch) {
  (void)call, (void)task, (void)scratch;
  atomic_fetch_add(pthread_equal(pthread_self(), seen.caller) ? &seen.mine : &seen.others, 1);
}

static void pause_ns(long nanoseconds) { nanosleep(&(struct timespec){.tv_nsec = nanoseconds}, NULL); }

/* The caller waits for another thread to take a task, for ten seconds: so that it is seen, however late it comes. */
static void await_other(const hmoe_kernel_call *call, int64_t task, void *scratch) {
  note_thread(call, task, scratch);
  for (int i = 0; i < 100000 && pthread_equal(pthread_self(), seen.caller) && !atomic_load(&seen.others); i++) pause_ns(100000);
}

/* The same, for a moment. */
static void expect_other(const hmoe_kernel_call *call, int64_t task, void *scratch) {
  note_thread(call, task, scratch);
  if (pthread_equal(pthread_self(), seen.caller) && !atomic_load(&seen.others)) pause_ns(20000);
}

enum { NOTE, AWAIT, ONE_BLOCK, EXPECT, KERNELS };
static const hmoe_kernel_fn kernels[KERNELS] = {note_thread, await_other, note_thread, expect_other};

static const char empty[10] = {2, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
static const hmoe_weights no_weights = {.kind = HMOE_WEIGHTS_MEMORY, .data = empty, .size_bytes = sizeof empty};

static hmoe_model *open_model(const fixture_plan *plan) {
  hmoe_options options = fixture_options(2);
  hmoe_model *model;
  assert_ok(hmoe_model_open(&plan->object, &no_weights, &options, &model));
  return model;
}

static void await_sleep(const hmoe_model *model) {
  while (hmoe_pool_workers(model->workers.pool) != HMOE_POOL_ASLEEP) pause_ns(100000);
}

static void run_once(hmoe_model *model, int64_t rows) {
  static float y[4096];
  seen.caller = pthread_self();
  atomic_store(&seen.mine, 0);
  atomic_store(&seen.others, 0);
  assert_ok(hmoe_model_run(model, 1, &rows, NULL, (void *const[]){y}));
}

/* What a run consists of. Times are of a row; every run has 8 rows, unless it says so. */
typedef enum shape { STEPS, ONE_TASK, IN_LOOP, CHOSEN } shape;

static fixture_plan *make_plan(shape shape, uint32_t steps, uint64_t row_ps, uint32_t kernel) {
  fixture_plan *plan = plan_create("share");
  plan_entry(plan, "open");
  fixture_entry *e = plan_entry(plan, "run");
  uint32_t rows = plan_dim(e, HMOE_DIM_INPUT, 0, 0), chunk = plan_dim(e, HMOE_DIM_CHUNK, 0, 4);
  uint32_t y = plan_output(plan, e, "y", 0, 4), of = rows;
  if (shape == IN_LOOP) {
    plan_step(plan, e, HMOE_STEP_LOOP, rows, BINDINGS(AT(HMOE_NONE)),
              FIELDS(loop, .kind = HMOE_LOOP_ROWS, .steps = steps, .chunk = 4));
    of = chunk;
  }
  if (shape == CHOSEN) {
    plan_step(plan, e, HMOE_STEP_CHOOSE, rows, BINDINGS(AT(HMOE_NONE)),
              FIELDS(choose, .first_steps = 1, .second_steps = steps, .percent = 100, .row_block = 1, .groups = 1));
    plan_step(plan, e, HMOE_STEP_KERNEL, rows, BINDINGS(AT(y)),
              FIELDS(kernel, .kernel = ONE_BLOCK, .row_block = 1u << 20, .groups = 1, .column_splits = 1, .tasks = 8));
  }
  for (uint32_t i = 0; i < steps; i++)
    plan_step(plan, e, HMOE_STEP_KERNEL, of, BINDINGS(AT(y)),
              FIELDS(kernel, .kernel = kernel, .row_block = shape == ONE_TASK ? 1u << 20 : 1, .groups = 1, .column_splits = 1,
                     .tasks = 8));
  plan_finish(plan, kernels, KERNELS);
  plan->functions[kernel].row_ps = row_ps;
  plan->functions[ONE_BLOCK].row_ps = UINT32_MAX;
  plan->images[0].sharing = sharing;
  return plan;
}

/* Workers that sleep are woken for enough that they would save once they are there, or nobody else runs a task, and they go on to sleep. */
static void test_asleep(void **state) {
  (void)state;
  static const struct {
    shape shape;
    uint32_t steps;
    int64_t rows;
    uint64_t row_ps;
    bool shared;
  } cases[] = {
      /* A step of s us saves (s - 30) / 2 - 1, from when they are there: more than 20. */
      {STEPS, 1, 8, 9000000, false},
      {STEPS, 1, 8, 9000001, true},
      {STEPS, 1, 8, UINT64_MAX, true},
      /* Of steps of 10 us each that begins after 30 us saves 4. */
      {STEPS, 3, 8, 1250000, false},
      {STEPS, 8, 8, 1250000, false},
      {STEPS, 9, 8, 1250000, true},
      /* Steps that are not shared save nothing, however many. */
      {STEPS, 60, 8, 250000, false},
      {STEPS, 60, 8, 250001, false},
      {ONE_TASK, 3, 8, UINT32_MAX, false},
      {STEPS, 1, 1, UINT32_MAX, false},
      /* Two chunks of four rows, or three: of a loop a chunk's time counts as often as there are chunks. */
      {IN_LOOP, 1, 8, 9250000, false},
      {IN_LOOP, 1, 8, 9250001, true},
      {IN_LOOP, 1, 12, 6166666, false},
      {IN_LOOP, 1, 12, 6166667, true},
      {IN_LOOP, 1, 4, 18000000, false},
      {IN_LOOP, 1, 4, 18000001, true},
      /* Of two ways the second. */
      {CHOSEN, 1, 8, 9000000, false},
      {CHOSEN, 1, 8, 9000001, true},
      {STEPS, 1, 8, 0, true},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fixture_plan *plan = make_plan(cases[i].shape, cases[i].steps, cases[i].row_ps, cases[i].shared ? AWAIT : NOTE);
    hmoe_model *model = open_model(plan);
    for (int repeat = 0; repeat < 3; repeat++) {
      await_sleep(model);
      pause_ns(200000);
      run_once(model, cases[i].rows);
      bool asleep = hmoe_pool_workers(model->workers.pool) == HMOE_POOL_ASLEEP;
      if (cases[i].shared != (atomic_load(&seen.others) > 0) || (!cases[i].shared && !asleep))
        fail_msg("case %zu: %d tasks here, %d elsewhere, workers %s", i, atomic_load(&seen.mine), atomic_load(&seen.others),
                 asleep ? "asleep" : "awake");
    }
    hmoe_model_close(model);
    free(plan);
  }
}

static bool run_awake(hmoe_model *model) {
  do hmoe_pool_wake(model->workers.pool);
  while (hmoe_pool_workers(model->workers.pool) != HMOE_POOL_AWAKE);
  model->rest.tries = 5;
  run_once(model, 8);
  return atomic_load(&seen.others) > 0 && model->rest.tries == 0;
}

/* Workers that are awake are used for whatever they save something of, and for nothing else. */
static void test_awake(void **state) {
  (void)state;
  for (uint64_t saved = 0; saved < 2; saved++) {
    fixture_plan *plan = make_plan(STEPS, 3, 250000 + saved, EXPECT);
    hmoe_model *model = open_model(plan);
    int runs = 0;
    while (!run_awake(model) && runs < (saved ? 100000 : 20)) runs++; /* they may be asleep again when the run begins */
    assert_int_equal(atomic_load(&seen.others) > 0, saved);
    assert_true(runs < 100000);
    hmoe_model_close(model);
    free(plan);
  }
}

/* Short runs wake workers when they follow each other closely, and never else. */
static void test_row_of_runs(void **state) {
  (void)state;
  fixture_plan *plan = make_plan(STEPS, 2, 1000000, NOTE); /* twice 8 us, of which 3 are saved */
  hmoe_model *model = open_model(plan);
  await_sleep(model);
  for (int i = 0; i < 100; i++) {
    pause_ns(HMOE_POOL_AWAKE_NS);
    run_once(model, 8);
    assert_int_equal(atomic_load(&seen.others), 0);
    assert_int_equal(hmoe_pool_workers(model->workers.pool), HMOE_POOL_ASLEEP);
    assert_int_equal(model->rest.missed_ps, 0);
  }
  int runs = 0;
  for (; runs < 1000000 && hmoe_pool_workers(model->workers.pool) == HMOE_POOL_ASLEEP; runs++) {
    run_once(model, 8);
    assert_int_equal(model->rest.missed_ps % (6 * US), 0);
  }
  assert_in_range(runs, 7, 999999); /* 8, unless others' work comes in between */
  hmoe_model_close(model);
  free(plan);
}

static int count_threads(void) {
  FILE *file = fopen("/proc/self/status", "r");
  char line[256];
  int threads = -1;
  while (file && fgets(line, sizeof line, file))
    if (sscanf(line, "Threads: %d", &threads) == 1) break;
  if (file) fclose(file);
  return threads;
}

/* In a child process a short run starts no thread, and a long one does. */
static void test_fork(void **state) {
  (void)state;
#if defined(__SANITIZE_THREAD__) /* which has threads of its own, and takes none in a child */
  skip();
#endif
  fixture_plan *small = make_plan(STEPS, 1, 1000000, NOTE), *large = make_plan(STEPS, 1, UINT32_MAX, AWAIT);
  hmoe_model *models[] = {open_model(small), open_model(large)};
  run_once(models[0], 8);
  run_once(models[1], 8);
  fflush(NULL);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    alarm(60);
    run_once(models[0], 8);
    int before = count_threads(), others = atomic_load(&seen.others);
    run_once(models[1], 8);
    int after = count_threads();
    bool right = before == 1 && others == 0 && after == 2 && atomic_load(&seen.others) > 0;
    hmoe_model_close(models[0]);
    hmoe_model_close(models[1]);
    _exit(right ? 0 : 1);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  hmoe_model_close(models[0]);
  hmoe_model_close(models[1]);
  free(small);
  free(large);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_rule), cmocka_unit_test(test_asleep), cmocka_unit_test(test_awake),
                                     cmocka_unit_test(test_row_of_runs), cmocka_unit_test(test_fork)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
