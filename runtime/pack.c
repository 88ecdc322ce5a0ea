/* PACK and PACK_VECTOR: weights into the layout that kernels read, straight from the mapped checkpoint or from a buffer.
 *
 *   dst[g][panel][depth][32] <- src[g][offset + q*q_stride + col*col_stride + ko*outer_stride + ki*inner_stride]
 *
 * One task a panel (or a group, for vectors). All ranges are checked once, before the first task. */
#include "runtime_internal.h"

#include <string.h>

enum { DEPTH_TILE = 64 }; /* a tile of 64 x 32 floats stays in the first-level cache while it is written column by column */

typedef struct pack_job {
  const hmoe_dtype *dtype;
  const hmoe_tensor *const *tensors; /* one a group of a stacked parameter, else one */
  const uint8_t *buffer;             /* when there is no parameter */
  bool stacked;
  uint8_t *dst;
  uint64_t columns, q_count, col_count, col_stride, q_stride;
  uint64_t outer, inner, outer_stride, inner_stride;
  uint64_t offset, groups, group_stride;
  uint64_t dst_group_bytes, first, first_depth, outer_pitch, panel_depth;
} pack_job;

/* Index of the last of `count` items `stride` apart. */
static uint64_t last_of(uint64_t count, uint64_t stride) { return count ? hmoe_mul(count - 1, stride) : 0; }

/* Number of columns of the source that are read: the rest of N is padding. */
static uint64_t columns_read(const pack_job *job) { return hmoe_min(job->col_count, job->columns / job->q_count); }

static hmoe_status bind_source(const hmoe_run *run, const hmoe_plan_step *step, pack_job *job) {
  const uint64_t *args = hmoe_step_args(run, step);
  uint64_t needed = 1;
  needed = hmoe_add(needed, args[10]);
  needed = hmoe_add(needed, last_of(job->q_count, job->q_stride));
  needed = hmoe_add(needed, last_of(columns_read(job), job->col_stride));
  needed = hmoe_add(needed, last_of(job->outer, job->outer_stride));
  needed = hmoe_add(needed, last_of(job->inner, job->inner_stride));
  bool reads = columns_read(job) && job->outer && job->inner;
  if (args[0] == HMOE_NONE) {
    needed = hmoe_add(needed, last_of(job->groups, job->group_stride));
    job->dtype = hmoe_dtype_find("F32");
    return hmoe_run_binding(run, step, 1, HMOE_READ, reads ? hmoe_mul(needed, sizeof(float)) : 0, &job->buffer);
  }
  const hmoe_plan_param *param = &run->params->list[args[0]];
  uint64_t elements = hmoe_param_elements(param);
  job->tensors = run->params->tensors + run->params->first[args[0]];
  job->stacked = param->count > 1;
  if (job->stacked && job->groups > param->count)
    return hmoe_step_fail(run, step, "%llu groups of %u tensors", (unsigned long long)job->groups, param->count);
  if (!job->stacked) needed = hmoe_add(needed, last_of(job->groups, job->group_stride));
  if (reads && needed > elements)
    return hmoe_step_fail(run, step, "reads element %llu of parameter %llu, which has %llu", (unsigned long long)needed - 1,
                          (unsigned long long)args[0], (unsigned long long)elements);
  return HMOE_OK;
}

/* Where a group's elements start. Types may differ from tensor to tensor. */
static const uint8_t *source_of(const pack_job *job, uint64_t group, const hmoe_dtype **out_dtype) {
  const uint8_t *data = job->buffer;
  *out_dtype = job->dtype;
  if (job->tensors) {
    const hmoe_tensor *tensor = job->tensors[job->stacked ? group : 0];
    data = tensor->data;
    *out_dtype = tensor->dtype;
  }
  uint64_t start = job->offset + (job->stacked ? 0 : group * job->group_stride);
  return data ? data + start * ((*out_dtype)->bits / 8) : NULL;
}

static void pack_panel(void *context, uint64_t task, void *scratch) {
  (void)scratch;
  const pack_job *job = context;
  uint64_t panels = job->columns / HMOE_PANEL, group = task / panels, panel = task % panels;
  uint64_t p = panel / job->q_count, q = panel % job->q_count;
  const hmoe_dtype *dtype;
  const uint8_t *source = source_of(job, group, &dtype);
  uint64_t element_bytes = dtype->bits / 8;
  uint64_t first_col = p * HMOE_PANEL;
  uint64_t valid = first_col < job->col_count ? hmoe_min(HMOE_PANEL, job->col_count - first_col) : 0;
  float *out = (float *)(void *)(job->dst + group * job->dst_group_bytes) + (job->first + panel) * job->panel_depth * HMOE_PANEL;

  for (uint64_t ko = 0; ko < job->outer; ko++) {
    float *rows = out + (job->first_depth + ko * job->outer_pitch) * HMOE_PANEL;
    if (valid < HMOE_PANEL)
      for (uint64_t ki = 0; ki < job->inner; ki++) memset(rows + ki * HMOE_PANEL + valid, 0, (HMOE_PANEL - valid) * sizeof *rows);
    if (!valid) continue;
    uint64_t base = q * job->q_stride + first_col * job->col_stride + ko * job->outer_stride;
    if (job->col_stride == 1) {
      for (uint64_t ki = 0; ki < job->inner; ki++)
        dtype->read(source + (base + ki * job->inner_stride) * element_bytes, 1, valid, rows + ki * HMOE_PANEL, 1);
      continue;
    }
    for (uint64_t ki = 0; ki < job->inner; ki += DEPTH_TILE) {
      uint64_t depth = hmoe_min(DEPTH_TILE, job->inner - ki);
      for (uint64_t c = 0; c < valid; c++)
        dtype->read(source + (base + c * job->col_stride + ki * job->inner_stride) * element_bytes, job->inner_stride, depth,
                    rows + ki * HMOE_PANEL + c, HMOE_PANEL);
    }
  }
}

static pack_job read_args(const hmoe_run *run, const hmoe_plan_step *step, bool matrix) {
  const uint64_t *args = hmoe_step_args(run, step);
  pack_job job = {.columns = args[1],
                  .q_count = args[2],
                  .col_count = args[3],
                  .col_stride = args[4],
                  .q_stride = args[5],
                  .outer = 1,
                  .inner = 1,
                  .offset = args[10],
                  .groups = args[11],
                  .group_stride = args[12],
                  .dst_group_bytes = args[13],
                  .first = args[14]};
  if (matrix) {
    job.outer = args[6];
    job.inner = args[7];
    job.outer_stride = args[8];
    job.inner_stride = args[9];
    job.first_depth = args[15];
    job.outer_pitch = args[16];
    job.panel_depth = args[17];
  }
  return job;
}

hmoe_status hmoe_step_pack(hmoe_run *run, const hmoe_plan_step *step) {
  pack_job job = read_args(run, step, true);
  uint64_t panels = job.columns / HMOE_PANEL;
  if (job.columns % HMOE_PANEL || job.q_count < 1 || panels % job.q_count || job.dst_group_bytes % sizeof(float))
    return hmoe_step_fail(run, step, "%llu columns in %llu permutations", (unsigned long long)job.columns,
                          (unsigned long long)job.q_count);
  uint64_t last_row = hmoe_add(job.first_depth, hmoe_add(last_of(job.outer, job.outer_pitch), job.inner ? job.inner - 1 : 0));
  if (panels == 0 || job.groups == 0 || job.outer == 0 || job.inner == 0) return HMOE_OK;
  if ((job.groups > 1 && !job.dst_group_bytes) || (job.outer > 1 && job.outer_pitch < job.inner))
    return hmoe_step_fail(run, step, "groups or depths would overwrite each other");
  if (last_row >= job.panel_depth)
    return hmoe_step_fail(run, step, "depth row %llu of %llu", (unsigned long long)last_row, (unsigned long long)job.panel_depth);
  HMOE_TRY(bind_source(run, step, &job));
  uint64_t needed = hmoe_mul(hmoe_mul(hmoe_add(job.first, panels), job.panel_depth), HMOE_PANEL * sizeof(float));
  needed = hmoe_add(needed, last_of(job.groups, job.dst_group_bytes));
  /* The last panel need not be there to its full depth. */
  needed = needed == UINT64_MAX ? needed : needed - (job.panel_depth - 1 - last_row) * HMOE_PANEL * sizeof(float);
  HMOE_TRY(hmoe_run_binding(run, step, 0, HMOE_WRITE, needed, &job.dst));
  return hmoe_run_parallel(run, step, hmoe_mul(job.groups, panels), pack_panel, &job);
}

static void pack_vector_group(void *context, uint64_t group, void *scratch) {
  (void)scratch;
  const pack_job *job = context;
  const hmoe_dtype *dtype;
  const uint8_t *source = source_of(job, group, &dtype);
  uint64_t element_bytes = dtype->bits / 8;
  float *out = (float *)(void *)(job->dst + group * job->dst_group_bytes) + job->first;
  uint64_t run_columns = job->q_count == 1 ? job->columns : HMOE_PANEL; /* neighbours in dst that are neighbours in src */
  for (uint64_t o = 0; o < job->columns; o += run_columns) {
    uint64_t panel = o / HMOE_PANEL, q = job->q_count == 1 ? 0 : panel % job->q_count;
    uint64_t col = job->q_count == 1 ? 0 : panel / job->q_count * HMOE_PANEL;
    uint64_t valid = col < job->col_count ? hmoe_min(run_columns, job->col_count - col) : 0;
    if (valid)
      dtype->read(source + (q * job->q_stride + col * job->col_stride) * element_bytes, job->col_stride, valid, out + o, 1);
    memset(out + o + valid, 0, (run_columns - valid) * sizeof *out);
  }
}

hmoe_status hmoe_step_pack_vector(hmoe_run *run, const hmoe_plan_step *step) {
  pack_job job = read_args(run, step, false);
  if (job.q_count < 1 || (job.q_count > 1 && job.columns % (job.q_count * HMOE_PANEL)) || job.dst_group_bytes % sizeof(float))
    return hmoe_step_fail(run, step, "%llu columns in %llu permutations", (unsigned long long)job.columns,
                          (unsigned long long)job.q_count);
  if (job.columns == 0 || job.groups == 0) return HMOE_OK;
  if (job.groups > 1 && !job.dst_group_bytes) return hmoe_step_fail(run, step, "groups would overwrite each other");
  HMOE_TRY(bind_source(run, step, &job));
  uint64_t needed = hmoe_mul(hmoe_add(job.first, job.columns), sizeof(float));
  needed = hmoe_add(needed, last_of(job.groups, job.dst_group_bytes));
  HMOE_TRY(hmoe_run_binding(run, step, 0, HMOE_WRITE, needed, &job.dst));
  return hmoe_run_parallel(run, step, job.groups, pack_vector_group, &job);
}
