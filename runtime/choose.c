/* CHOOSE: two ways to the same bits, one for many rows and one for few; which is taken depends on the run at hand and on the threads.
 *
 *   first way   when blocks >= args[2] * threads and rows >= args[3] * blocks: every thread has work and blocks are well filled
 *   second way  else
 *
 * Rows and blocks are those of the blocks buffer, inside a loop over groups the chunk's; without one, rows_dim in blocks of args[4]. */
#include "runtime_internal.h"

hmoe_status hmoe_step_choose(hmoe_run *run, const hmoe_plan_step *step) {
  const uint64_t *args = hmoe_step_args(run, step);
  const hmoe_plan_binding *bindings = HMOE_PLAN_ARRAY(run->model->plan, step->bindings, hmoe_plan_binding);
  uint64_t rows, blocks;
  if (bindings[0].buffer == HMOE_NONE) {
    rows = (uint64_t)hmoe_run_rows(run, step);
    blocks = (rows + args[4] - 1) / args[4];
  } else {
    hmoe_block_range range;
    HMOE_TRY(hmoe_run_blocks(run, step, 0, &range));
    blocks = (uint64_t)range.count;
    rows = (uint64_t)hmoe_block_range_rows(&range);
  }
  bool first = blocks >= args[2] * run->model->workers.threads && rows >= args[3] * blocks;
  uint32_t begin = (uint32_t)(step - run->steps) + 1, middle = begin + (uint32_t)args[0];
  return first ? hmoe_run_steps(run, begin, middle) : hmoe_run_steps(run, middle, middle + (uint32_t)args[1]);
}
