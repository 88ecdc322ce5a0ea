/* CHOOSE: two ways to the same bits, one for many rows and one for few; which is taken depends on the run at hand and on the threads.
 *
 * The first way, a pair of products in one step, has a task a block, and keeps the hidden block. The second has blocks cut into columns, so that all threads
 * are busy however few the blocks and however uneven; but it copies rows once for every part, and writes and reads what is hidden. Where the
 * kernels' times are known, they decide. */
#include "cpu/cpu.h"

enum { MOST_DEALT = 64 }; /* blocks, and threads; of more it is enough to know the sum and the largest */

/* What a CHOOSE is about. block: NULL: of as many rows each. */
typedef struct choice {
  const hmoe_run *run;
  const hmoe_block *block;
  uint64_t blocks, rows;
} choice;

static uint64_t block_rows(const choice *c, uint64_t i) {
  return c->block ? (uint64_t)c->block[i].rows : (c->rows + c->blocks - 1) / c->blocks;
}

static uint64_t block_ps(const hmoe_function *function, uint64_t rows) {
  return hmoe_max(hmoe_mul(rows, function->row_ps), function->block_ps);
}

/* When the last of several threads is done with all blocks: each takes the next one as soon as it has nothing to do. */
static uint64_t deal(const choice *c, const hmoe_function *function, uint64_t threads) {
  uint64_t busy[MOST_DEALT] = {0}, last = 0;
  for (uint64_t i = 0; i < c->blocks; i++) {
    uint64_t first = 0;
    for (uint64_t t = 1; t < threads; t++)
      if (busy[t] < busy[first]) first = t;
    busy[first] = hmoe_add(busy[first], block_ps(function, block_rows(c, i)));
    last = hmoe_max(last, busy[first]);
  }
  return last;
}

/* Predicted time of a kernel's step on the run's threads, in picoseconds; 0 where nobody knows. */
static uint64_t step_ps(const choice *c, const hmoe_step_kernel *kernel) {
  const hmoe_run *run = c->run;
  const hmoe_function *function = &run->model->image->functions[kernel->kernel];
  uint64_t whole = hmoe_cpu_kernel_ps(run, kernel, c->rows, c->blocks), sum = 0, most = 0;
  if (whole == 0) return 0;
  for (uint64_t i = 0; i < c->blocks; i++) {
    uint64_t ps = block_ps(function, block_rows(c, i));
    sum = hmoe_add(sum, ps);
    most = hmoe_max(most, ps);
  }
  uint64_t splits = hmoe_cpu_splits(run, kernel, c->rows, c->blocks, whole), tasks = hmoe_mul(c->blocks, splits);
  uint64_t copies = hmoe_mul(hmoe_mul(c->rows, function->split_row_ps), splits), threads = run->model->workers.threads;
  sum = hmoe_add(sum, copies);
  if (!hmoe_cpu_shares(run, whole, tasks)) return sum;
  if (splits == 1 && c->blocks <= MOST_DEALT && threads <= MOST_DEALT)
    return hmoe_add(deal(c, function, threads), copies / threads);
  most = most / splits + copies / tasks;
  return hmoe_min(hmoe_mul((tasks + threads - 1) / threads, most), hmoe_add(sum / threads, most / 2));
}

/* Predicted time of steps [begin, end), with a barrier between them. */
static uint64_t steps_ps(const choice *c, uint32_t begin, uint32_t end) {
  const hmoe_run *run = c->run;
  uint64_t sum = hmoe_mul(end - begin - 1, hmoe_cpu_barrier_ps(run));
  for (uint32_t i = begin; i < end; i++) {
    uint64_t ps = run->steps[i].kind == HMOE_STEP_KERNEL ? step_ps(c, hmoe_run_fields(run, &run->steps[i])) : 0;
    if (ps == 0) return 0;
    sum = hmoe_add(sum, ps);
  }
  return sum;
}

hmoe_status hmoe_cpu_step_choose(hmoe_run *run, const hmoe_plan_step *step) {
  const hmoe_step_choose *choose = hmoe_run_fields(run, step);
  const hmoe_plan_binding *bindings = HMOE_PLAN_ARRAY(run->model->plan, step->bindings, hmoe_plan_binding);
  uint64_t rows = (uint64_t)hmoe_run_rows(run, step);
  choice c = {.run = run, .blocks = hmoe_block_bound(rows, choose->row_block, choose->groups), .rows = rows};
  if (bindings[HMOE_BIND_CHOOSE_BLOCKS].buffer != HMOE_NONE) {
    hmoe_block_range range;
    HMOE_TRY(hmoe_cpu_blocks(run, step, HMOE_BIND_CHOOSE_BLOCKS, rows, choose->row_block, choose->groups, &range));
    c.block = (const hmoe_block *)(range.blocks + 1) + range.first;
    c.blocks = (uint64_t)range.count;
    c.rows = (uint64_t)hmoe_block_range_rows(&range);
  }
  uint32_t begin = (uint32_t)(step - run->steps) + 1, middle = begin + choose->first_steps, end = middle + choose->second_steps;
  uint64_t first = steps_ps(&c, begin, middle), second = first ? steps_ps(&c, middle, end) : 0;
  bool fits = second ? hmoe_mul(first, 100) <= hmoe_mul(second, hmoe_cpu_tuned(run, choose->tunings, c.rows, choose->percent))
                     : c.rows >= hmoe_mul(choose->block_rows, c.blocks);
  return fits ? hmoe_run_steps(run, begin, middle) : hmoe_run_steps(run, middle, end);
}
