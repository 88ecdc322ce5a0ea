/* COPY: a strided copy, [outer][inner] runs of bytes. One task an outer item when there is much to move. */
#include "cpu/cpu.h"

#include <string.h>

enum { PARALLEL_BYTES = 1 << 18 };

typedef struct copy_job {
  uint8_t *dst;
  const uint8_t *src;
  const hmoe_step_copy *copy;
} copy_job;

static void copy_outer(void *context, uint64_t outer, void *scratch) {
  (void)scratch;
  const copy_job *job = context;
  const hmoe_copy_axis *inner = &job->copy->inner;
  uint8_t *dst = job->dst + outer * job->copy->outer.destination_stride;
  const uint8_t *src = job->src + outer * job->copy->outer.source_stride;
  for (uint64_t i = 0; i < inner->count; i++)
    memmove(dst + i * inner->destination_stride, src + i * inner->source_stride, job->copy->run_bytes);
}

static uint64_t extent(const hmoe_step_copy *copy, uint64_t outer_stride, uint64_t inner_stride) {
  uint64_t last = hmoe_add(hmoe_mul(copy->outer.count - 1, outer_stride), hmoe_mul(copy->inner.count - 1, inner_stride));
  return hmoe_add(last, copy->run_bytes);
}

hmoe_status hmoe_cpu_step_copy(hmoe_run *run, const hmoe_plan_step *step) {
  const hmoe_step_copy *copy = hmoe_run_fields(run, step);
  const hmoe_copy_axis *outer = &copy->outer, *inner = &copy->inner;
  if (outer->count == 0 || inner->count == 0 || copy->run_bytes == 0) return HMOE_OK;
  copy_job job = {.copy = copy};
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_COPY_DESTINATION, HMOE_WRITE,
                            extent(copy, outer->destination_stride, inner->destination_stride), &job.dst));
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_COPY_SOURCE, HMOE_READ, extent(copy, outer->source_stride, inner->source_stride),
                            &job.src));
  if (hmoe_mul(hmoe_mul(outer->count, inner->count), copy->run_bytes) >= PARALLEL_BYTES)
    return hmoe_cpu_parallel(run, outer->count, copy_outer, &job);
  for (uint64_t i = 0; i < outer->count; i++) copy_outer(&job, i, NULL);
  return HMOE_OK;
}
