/* CHOOSE: two ways to the same bits, one for many rows and one for few; which is taken depends on the run at hand and on the threads.
 *
 * The first way, a pair of products in one step, has a task a block, and keeps the hidden block. The second has blocks cut into columns, so that all threads
 * are busy however few the blocks and however uneven; but it copies rows once for every part, and writes and reads what is hidden. Where the
 * kernels' times are known, they decide. */
#include "cpu/cpu.h"

/* Predicted time of kernels [begin, end) on one thread; 0 where one is not known. */
static uint64_t steps_ps(const hmoe_run *run, uint32_t begin, uint32_t end, uint64_t rows, uint64_t blocks) {
  uint64_t sum = 0;
  for (uint32_t i = begin; i < end; i++) {
    uint64_t ps =
        run->steps[i].kind == HMOE_STEP_KERNEL ? hmoe_cpu_kernel_ps(run, hmoe_run_fields(run, &run->steps[i]), rows, blocks) : 0;
    if (ps == 0) return 0;
    sum = hmoe_add(sum, ps);
  }
  return sum;
}

hmoe_status hmoe_cpu_step_choose(hmoe_run *run, const hmoe_plan_step *step) {
  const hmoe_step_choose *choose = hmoe_run_fields(run, step);
  const hmoe_plan_binding *bindings = HMOE_PLAN_ARRAY(run->model->plan, step->bindings, hmoe_plan_binding);
  uint64_t rows = (uint64_t)hmoe_run_rows(run, step), blocks = hmoe_block_bound(rows, choose->row_block, choose->groups);
  if (bindings[HMOE_BIND_CHOOSE_BLOCKS].buffer != HMOE_NONE) {
    hmoe_block_range range;
    HMOE_TRY(hmoe_cpu_blocks(run, step, HMOE_BIND_CHOOSE_BLOCKS, rows, choose->row_block, choose->groups, &range));
    blocks = (uint64_t)range.count;
    rows = (uint64_t)hmoe_block_range_rows(&range);
  }
  uint32_t begin = (uint32_t)(step - run->steps) + 1, middle = begin + choose->first_steps;
  uint64_t pair = steps_ps(run, begin, middle, rows, blocks), threads = run->model->workers.threads;
  bool first = rows >= hmoe_mul(choose->block_rows, blocks);
  if (pair) first = first && blocks >= 2 * threads;
  return first ? hmoe_run_steps(run, begin, middle) : hmoe_run_steps(run, middle, middle + choose->second_steps);
}
