/* COPY: a strided copy, [outer][middle] runs of bytes. One task an outer item when there is much to move. */
#include "runtime_internal.h"

#include <string.h>

enum { PARALLEL_BYTES = 1 << 18 };

typedef struct copy_job {
  uint8_t *dst;
  const uint8_t *src;
  const uint64_t *args;
} copy_job;

static void copy_outer(void *context, uint64_t outer, void *scratch) {
  (void)scratch;
  const copy_job *job = context;
  const uint64_t *args = job->args;
  uint8_t *dst = job->dst + outer * args[1];
  const uint8_t *src = job->src + outer * args[2];
  for (uint64_t i = 0; i < args[3]; i++) memmove(dst + i * args[4], src + i * args[5], args[6]);
}

static uint64_t extent(uint64_t outer, uint64_t outer_stride, uint64_t middle, uint64_t middle_stride, uint64_t bytes) {
  return hmoe_add(hmoe_add(hmoe_mul(outer - 1, outer_stride), hmoe_mul(middle - 1, middle_stride)), bytes);
}

hmoe_status hmoe_step_copy(hmoe_run *run, const hmoe_plan_step *step) {
  const uint64_t *args = hmoe_step_args(run, step);
  uint64_t outer = args[0], middle = args[3], bytes = args[6];
  if (outer == 0 || middle == 0 || bytes == 0) return HMOE_OK;
  if ((outer > 1 && !args[1]) || (middle > 1 && !args[4])) return hmoe_step_fail(run, step, "copies would overwrite each other");
  copy_job job = {.args = args};
  HMOE_TRY(hmoe_run_binding(run, step, 0, HMOE_WRITE, extent(outer, args[1], middle, args[4], bytes), &job.dst));
  HMOE_TRY(hmoe_run_binding(run, step, 1, HMOE_READ, extent(outer, args[2], middle, args[5], bytes), &job.src));
  if (hmoe_mul(hmoe_mul(outer, middle), bytes) >= PARALLEL_BYTES) return hmoe_run_parallel(run, outer, copy_outer, &job);
  for (uint64_t i = 0; i < outer; i++) copy_outer(&job, i, NULL);
  return HMOE_OK;
}
