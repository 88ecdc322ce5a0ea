/* SELECTIONS: all sets of top_k out of `experts`, ascending tuples in colexicographic order, so that set number r is the one that
 * GROUP_SETS ranks r. {0,1} {0,2} {1,2} {0,3} ... */
#include "cpu/cpu.h"

#include <string.h>

hmoe_status hmoe_cpu_step_selections(hmoe_run *run, const hmoe_plan_step *step) {
  const hmoe_step_selections *selections = hmoe_run_fields(run, step);
  uint64_t top_k = selections->top_k, sets = selections->sets;
  int32_t *out, set[HMOE_TOP_K_MAX];
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_SELECTIONS_DESTINATION, HMOE_WRITE, hmoe_mul(sets, top_k * sizeof *out), &out));
  for (uint64_t i = 0; i < top_k; i++) set[i] = (int32_t)i;
  for (uint64_t s = 0; s < sets; s++) {
    memcpy(out + s * top_k, set, top_k * sizeof *set);
    /* The successor: the lowest member that has room moves up, those below it fall back to the start. */
    uint64_t i = 0;
    while (i + 1 < top_k && set[i] + 1 == set[i + 1]) {
      set[i] = (int32_t)i;
      i++;
    }
    set[i]++;
  }
  return HMOE_OK;
}
