/* Rows of a state moved to where other rows were: the segments of all tensors of the target, one task each, piece by piece, so that what is put
 * aside fits the stack. */
#include "cpu/cpu.h"

#include <string.h>

enum { PIECE_BYTES = 4096 };

typedef struct reorder_job {
  const hmoe_state *state;
  size_t moves;
  uint64_t positions;
} reorder_job;

static void reorder_segment(void *context, uint64_t task, void *scratch) {
  (void)scratch;
  const reorder_job *job = context;
  const hmoe_state *state = job->state;
  const hmoe_plan_state *plan = HMOE_PLAN_ARRAY(state->model->plan, state->model->plan->states, hmoe_plan_state);
  uint32_t tensor = 0;
  for (; plan[tensor].scope != HMOE_SCOPE_TARGET || task >= plan[tensor].segments; tensor++)
    if (plan[tensor].scope == HMOE_SCOPE_TARGET) task -= plan[tensor].segments;
  uint64_t part_bytes = plan[tensor].position_bytes / plan[tensor].segments; /* of a position, in a segment */
  uint64_t capacity = (uint64_t)state->scopes[HMOE_SCOPE_TARGET].capacity, used_bytes = job->positions * part_bytes;
  uint64_t row_bytes = capacity * plan[tensor].position_bytes;
  uint8_t *first = state->tensors[tensor].data + task * capacity * part_bytes;
  uint8_t aside[PIECE_BYTES];
  for (uint64_t done = 0; done < used_bytes; done += PIECE_BYTES) {
    uint64_t bytes = hmoe_min(PIECE_BYTES, used_bytes - done);
    for (size_t m = 0; m < job->moves; m++) {
      int32_t to = state->moves[m][0], from = state->moves[m][1];
      memcpy(to == HMOE_ASIDE ? aside : first + done + (uint64_t)to * row_bytes,
             from == HMOE_ASIDE ? aside : first + done + (uint64_t)from * row_bytes, bytes);
    }
  }
}

hmoe_status hmoe_cpu_reorder(hmoe_state *state, size_t moves, uint64_t positions) {
  const hmoe_plan *plan = state->model->plan;
  const hmoe_plan_state *states = HMOE_PLAN_ARRAY(plan, plan->states, hmoe_plan_state);
  uint64_t segments = 0;
  for (uint32_t i = 0; i < plan->states.count; i++) segments += states[i].scope == HMOE_SCOPE_TARGET ? states[i].segments : 0;
  reorder_job job = {.state = state, .moves = moves, .positions = positions};
  return hmoe_workers_run(&state->model->workers, &(hmoe_job){.task = reorder_segment, .context = &job, .count = segments});
}
