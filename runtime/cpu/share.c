/* Whether the steps of a run are shared among threads: a matter of predicted time and, with the model's own pool, of whether its workers are awake.
 *
 *   a step   is shared when what that saves is more than what it costs: a barrier among threads that wait awake; of a caller's executor, whose
 *            threads may sleep, a part of what waking them takes
 *   a run    that finds the workers asleep wakes them before its first step, when what they save once they are there is more than it costs to wake them;
 *            or else it is alone from begin to end. Step by step that could not be told: each of many medium steps is too short to wake anybody
 *
 * Runs that follow each other while workers would stay awake had better wake them once, however short each is. So what they would have saved is added
 * up, and when it has become what waking costs, they are woken for those that come: at worst twice of that is lost, however the pauses go on. Where they sleep
 * again when the next run comes it takes twice as much for another try.
 *
 * Nothing of it is done where times are not known: steps are shared then. No result depends on it. */
#include "cpu/cpu.h"

static uint64_t ways_of(const hmoe_run *run, uint64_t tasks) { return hmoe_max(hmoe_min(run->model->workers.threads, tasks), 1); }

/* What several threads save of a step. */
static uint64_t saved_of(const hmoe_run *run, uint64_t ps, uint64_t tasks) { return ps - ps / ways_of(run, tasks); }

/* What it costs to share one more step. */
uint64_t hmoe_cpu_barrier_ps(const hmoe_run *run) {
  if (run->alone || run->model->workers.threads == 1) return 0;
  const hmoe_sharing *sharing = &run->model->image->sharing;
  return run->model->workers.pool ? 4 * sharing->barrier_ps : sharing->wake_ps / 4;
}

bool hmoe_cpu_shares(const hmoe_run *run, uint64_t ps, uint64_t tasks) {
  if (run->alone || ways_of(run, tasks) == 1) return false;
  return ps == 0 || saved_of(run, ps, tasks) > hmoe_cpu_barrier_ps(run);
}

/* ---- a run ---- */

typedef struct forecast {
  uint64_t done_ps; /* time of the steps so far */
  uint64_t saved_ps, late_ps; /* what workers save of it, awake or woken at the begin */
  uint64_t enough_ps; /* of late_ps: there is no need to look further */
  uint64_t asleep_ps; /* until they are at work */
  bool unknown;
} forecast;

static uint64_t net_of(const hmoe_run *run, uint64_t ps, uint64_t tasks) {
  uint64_t saved = saved_of(run, ps, tasks), cost = hmoe_cpu_barrier_ps(run);
  return saved > cost ? saved - cost : 0;
}

/* A step of a known time, run so many times. */
static void add_step(const hmoe_run *run, forecast *f, uint64_t ps, uint64_t tasks, uint64_t times) {
  uint64_t end = hmoe_add(f->done_ps, hmoe_mul(ps, times)), net = net_of(run, ps, tasks);
  uint64_t late = end > f->asleep_ps ? end - hmoe_max(f->done_ps, f->asleep_ps) : 0; /* the part of it that workers are there for */
  if (net) {
    f->saved_ps = hmoe_add(f->saved_ps, hmoe_mul(net, times));
    f->late_ps = hmoe_add(f->late_ps, hmoe_add(hmoe_mul(net, late / ps), net_of(run, late % ps, tasks)));
  }
  f->done_ps = end;
}

/* How often a loop runs its steps, with as much of them as one of its chunks has. What a cache generates is there already, as a rule. */
static hmoe_status enter_loop(hmoe_run *run, const hmoe_plan_step *step, uint64_t *out_times, uint32_t *out_skipped) {
  const hmoe_step_loop *loop = hmoe_run_fields(run, step);
  bool rows = loop->kind == HMOE_LOOP_ROWS;
  uint64_t items = (uint64_t)hmoe_run_rows(run, step);
  if (!rows) items = hmoe_min(items, loop->groups);
  *out_times = (items + loop->chunk - 1) / loop->chunk;
  *out_skipped = loop->kind == HMOE_LOOP_CACHED ? loop->generate_steps : 0;
  return hmoe_run_set_dims(run, rows ? HMOE_DIM_CHUNK : HMOE_DIM_MISSING, (int64_t)hmoe_min(items, loop->chunk));
}

static hmoe_status look_ahead(hmoe_run *run, forecast *f, uint32_t first, uint32_t end, uint64_t times) {
  enum { ROW_PS = 5000 }; /* of a step that is no kernel; none of those is shared */
  for (uint32_t i = first; i < end && !f->unknown && f->late_ps < f->enough_ps; i++) {
    const hmoe_plan_step *step = &run->steps[i];
    uint64_t rows = (uint64_t)hmoe_run_rows(run, step);
    if (step->kind == HMOE_STEP_KERNEL) {
      const hmoe_step_kernel *kernel = hmoe_run_fields(run, step);
      uint64_t blocks = hmoe_block_bound(rows, kernel->row_block, kernel->groups);
      uint64_t ps = hmoe_cpu_kernel_ps(run, kernel, rows, blocks);
      f->unknown = ps == 0 && blocks > 0;
      if (ps) add_step(run, f, ps, kernel->grid == HMOE_GRID_ROWS ? blocks : hmoe_mul(blocks, kernel->column_splits), times);
    } else if (step->kind == HMOE_STEP_LOOP) {
      uint64_t chunks;
      uint32_t skipped, body = (uint32_t)hmoe_step_body(run->model->plan, step);
      HMOE_TRY(enter_loop(run, step, &chunks, &skipped));
      HMOE_TRY(look_ahead(run, f, i + 1 + skipped, i + 1 + body, hmoe_mul(times, chunks)));
      i += body;
    } else if (step->kind == HMOE_STEP_CHOOSE) {
      const hmoe_step_choose *choose = hmoe_run_fields(run, step); /* the way that is shared however few the blocks */
      i += choose->first_steps;
      HMOE_TRY(look_ahead(run, f, i + 1, i + 1 + choose->second_steps, times));
      i += choose->second_steps;
    } else {
      f->done_ps = hmoe_add(f->done_ps, hmoe_mul(hmoe_mul(rows, ROW_PS), times));
    }
  }
  return HMOE_OK;
}

bool hmoe_cpu_wakes(const hmoe_sharing *sharing, uint64_t late_ps, uint64_t saved_ps, int64_t pause_ns, hmoe_rest *rest) {
  enum { MOST_TRIES = 10 };
  if (late_ps > hmoe_mul(2, sharing->wake_ps)) return true;
  uint64_t missed = atomic_load_explicit(&rest->missed_ps, memory_order_relaxed);
  missed = pause_ns < HMOE_POOL_AWAKE_NS ? hmoe_add(missed, saved_ps) : 0;
  uint32_t tries = atomic_load_explicit(&rest->tries, memory_order_relaxed);
  bool wakes = missed > hmoe_mul(hmoe_add(sharing->wake_ps, sharing->asleep_ps), UINT64_C(1) << tries);
  atomic_store_explicit(&rest->missed_ps, wakes ? 0 : missed, memory_order_relaxed);
  if (wakes && tries < MOST_TRIES) atomic_store_explicit(&rest->tries, tries + 1, memory_order_relaxed);
  return wakes;
}

hmoe_status hmoe_cpu_steps_begin(hmoe_run *run) {
  hmoe_rest *rest = &run->model->rest;
  hmoe_pool *pool = run->model->workers.pool;
  const hmoe_sharing *sharing = &run->model->image->sharing;
  if (!pool || sharing->wake_ps == 0) return HMOE_OK;
  hmoe_pool_rest workers = hmoe_pool_workers(pool);
  bool awake = workers != HMOE_POOL_ASLEEP;
  if (workers == HMOE_POOL_AWAKE && atomic_load_explicit(&rest->tries, memory_order_relaxed))
    atomic_store_explicit(&rest->tries, 0, memory_order_relaxed);
  forecast f = {.enough_ps = awake ? 1 : hmoe_mul(3, sharing->wake_ps), .asleep_ps = awake ? 0 : sharing->asleep_ps};
  HMOE_TRY(look_ahead(run, &f, 0, run->entry->steps.count, 1));
  run->alone = f.saved_ps == 0 && !f.unknown;
  if (run->alone || f.unknown) return HMOE_OK;
  if (!awake) {
    run->missed = true;
    int64_t pause_ns = hmoe_now_ns() - atomic_load_explicit(&rest->end_ns, memory_order_relaxed);
    run->alone = !hmoe_cpu_wakes(sharing, f.late_ps, f.saved_ps, pause_ns, rest);
  }
  if (!run->alone) hmoe_pool_wake(pool);
  return HMOE_OK;
}

hmoe_status hmoe_cpu_steps_end(hmoe_run *run, hmoe_status status) {
  if (run->missed) atomic_store_explicit(&run->model->rest.end_ns, hmoe_now_ns(), memory_order_relaxed);
  return status;
}
