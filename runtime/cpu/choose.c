/* CHOOSE: two ways to the same bits, one for many rows and one for few; which is taken depends on the run at hand and on the threads.
 *
 *   first way   when blocks >= blocks_per_thread * threads and rows >= block_rows * blocks: every thread has work and blocks are well filled
 *   second way  else */
#include "cpu/cpu.h"

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
  bool first = blocks >= (uint64_t)choose->blocks_per_thread * run->model->workers.threads && rows >= choose->block_rows * blocks;
  uint32_t begin = (uint32_t)(step - run->steps) + 1, middle = begin + choose->first_steps;
  return first ? hmoe_run_steps(run, begin, middle) : hmoe_run_steps(run, middle, middle + choose->second_steps);
}
