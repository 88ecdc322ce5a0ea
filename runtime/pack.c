/* PACK and PACK_VECTOR: weights into the layout that kernels read, straight from the mapped checkpoint or from a buffer.
 *
 *   panels: dst[g][panel][depth][lane]              <- src[g][offset + q*q_stride + col*col_stride + ko*outer_stride + ki*inner_stride]
 *   pairs:  dst[g][panel][depth/2][lane][depth%2]   <- the same, rounded to bf16
 *
 * One task a panel (or a group, for vectors). All ranges are checked once, before the first task. Pages of the checkpoint are let go
 * of as soon as a group is packed, so that a model's weights are not resident twice. */
#include "runtime_internal.h"

#include <string.h>

enum { DEPTH_TILE = 64 }; /* a tile of 64 x 32 elements stays in the first-level cache while it is turned */

typedef struct pack_job {
  const hmoe_dtype *dtype;
  const hmoe_tensor *const *tensors; /* one a group of a stacked parameter, else one */
  const uint8_t *buffer;             /* when there is no parameter */
  bool stacked;
  uint8_t *dst;
  uint64_t columns, q_count, col_count, col_stride, q_stride;
  uint64_t outer, inner, outer_stride, inner_stride;
  uint64_t offset, groups, group_stride, group_elements; /* the last: from a group's first element to the end of its last */
  uint64_t dst_group_bytes, first, first_depth, outer_pitch, panel_depth;
  uint64_t real_q;
  bool pairs, paired;
  hmoe_progress *progress;
  uint64_t share_bytes; /* of what a parameter has, counted by the tasks together */
} pack_job;

/* Index of the last of `count` items `stride` apart. */
static uint64_t last_of(uint64_t count, uint64_t stride) { return count ? hmoe_mul(count - 1, stride) : 0; }

/* Number of columns of the source that are read: the rest of N is padding. */
static uint64_t columns_read(const pack_job *job) { return hmoe_min(job->col_count, job->columns / job->q_count); }

/* The permutations fit N, and pairs of them fill words. */
static hmoe_status check_columns(const hmoe_run *run, const hmoe_plan_step *step, const pack_job *job) {
  const uint64_t *args = hmoe_step_args(run, step);
  bool vector = step->kind == HMOE_STEP_PACK_VECTOR && job->q_count == 1;
  if (job->q_count < 1 || (!vector && job->columns % HMOE_PANEL) || job->columns / HMOE_PANEL % job->q_count ||
      job->dst_group_bytes % sizeof(float))
    return hmoe_step_fail(run, step, "%llu columns in %llu permutations", (unsigned long long)job->columns,
                          (unsigned long long)job->q_count);
  if (job->real_q > job->q_count || args[20] > 1 || (job->paired && job->q_count % HMOE_PANEL))
    return hmoe_step_fail(run, step, "%llu of %llu permutations%s", (unsigned long long)job->real_q,
                          (unsigned long long)job->q_count, job->paired ? " in pairs" : "");
  return HMOE_OK;
}

static hmoe_status bind_source(const hmoe_run *run, const hmoe_plan_step *step, pack_job *job) {
  const uint64_t *args = hmoe_step_args(run, step);
  uint64_t needed = 1;
  needed = hmoe_add(needed, last_of(job->real_q, job->q_stride));
  needed = hmoe_add(needed, last_of(columns_read(job), job->col_stride));
  needed = hmoe_add(needed, last_of(job->outer, job->outer_stride));
  needed = hmoe_add(needed, last_of(job->inner, job->inner_stride));
  job->group_elements = needed;
  needed = hmoe_add(needed, job->offset);
  bool reads = columns_read(job) && job->real_q && job->outer && job->inner;
  if (!reads) job->group_elements = 0;
  if (args[0] == HMOE_NONE) {
    needed = hmoe_add(needed, last_of(job->groups, job->group_stride));
    job->dtype = hmoe_dtype_find("F32");
    return hmoe_run_binding(run, step, 1, HMOE_READ, reads ? hmoe_mul(needed, sizeof(float)) : 0, &job->buffer);
  }
  const hmoe_plan_param *param = &run->params->list[args[0]];
  uint64_t elements = hmoe_param_elements(param);
  job->tensors = run->params->tensors + run->params->first[args[0]];
  job->progress = run->progress;
  job->share_bytes = run->params->share_bytes[args[0]];
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

/* What the 32 lanes of a panel hold. */
typedef struct pack_lanes {
  uint64_t start[HMOE_PANEL]; /* element of the lane's first depth row, from the group's first */
  bool real[HMOE_PANEL];      /* else padding */
  uint64_t row_lanes;         /* > 0: this many real lanes come first and are neighbours in the source */
} pack_lanes;

static pack_lanes find_lanes(const pack_job *job, uint64_t panel) {
  uint64_t rows = job->paired ? job->q_count / 2 : job->q_count; /* of permutations, or of pairs of them */
  uint64_t row = job->paired ? panel / 2 : panel;
  uint64_t first_col = row / rows * HMOE_PANEL + (job->paired ? panel % 2 * (HMOE_PANEL / 2) : 0);
  pack_lanes lanes = {.row_lanes = 0};
  uint64_t count = 0;
  bool neighbours = true;
  for (uint64_t c = 0; c < HMOE_PANEL; c++) {
    uint64_t q = job->paired ? row % rows * 2 + c % 2 : row % rows, col = first_col + (job->paired ? c / 2 : c);
    lanes.real[c] = col < job->col_count && q < job->real_q;
    if (!lanes.real[c]) continue;
    lanes.start[c] = q * job->q_stride + col * job->col_stride;
    neighbours = neighbours && count == c && lanes.start[c] == lanes.start[0] + c;
    count++;
  }
  if (neighbours) lanes.row_lanes = count;
  return lanes;
}

/* Depth rows [0, inner) of one piece, from element `start` of the group. */
static void write_panels(const pack_job *job, const pack_lanes *lanes, const hmoe_dtype *dtype, const uint8_t *source,
                         uint64_t start, float *rows) {
  uint64_t element_bytes = dtype->bits / 8;
  if (lanes->row_lanes) {
    for (uint64_t ki = 0; ki < job->inner; ki++) {
      dtype->read(source + (start + lanes->start[0] + ki * job->inner_stride) * element_bytes, 1, lanes->row_lanes,
                  rows + ki * HMOE_PANEL, 1);
      memset(rows + ki * HMOE_PANEL + lanes->row_lanes, 0, (HMOE_PANEL - lanes->row_lanes) * sizeof *rows);
    }
    return;
  }
  for (uint64_t ki = 0; ki < job->inner; ki += DEPTH_TILE) {
    uint64_t depth = hmoe_min(DEPTH_TILE, job->inner - ki);
    for (uint64_t c = 0; c < HMOE_PANEL; c++) {
      float *lane = rows + ki * HMOE_PANEL + c;
      if (lanes->real[c])
        dtype->read(source + (start + lanes->start[c] + ki * job->inner_stride) * element_bytes, job->inner_stride, depth, lane,
                    HMOE_PANEL);
      else
        for (uint64_t d = 0; d < depth; d++) lane[d * HMOE_PANEL] = 0;
    }
  }
}

/* Two depth rows, or only the first of them. */
static void write_two_rows(const uint16_t first[HMOE_PANEL], const uint16_t second[HMOE_PANEL], bool both, uint16_t *words) {
  if (both)
    for (size_t c = 0; c < HMOE_PANEL; c++) {
      words[2 * c] = first[c];
      words[2 * c + 1] = second[c];
    }
  else
    for (size_t c = 0; c < HMOE_PANEL; c++) words[2 * c] = first[c];
}

/* rows: words of the piece's first depth row, which is even. An odd last row writes its halves of the words only. */
static void write_pairs(const pack_job *job, const pack_lanes *lanes, const hmoe_dtype *dtype, const uint8_t *source,
                        uint64_t start, uint16_t *rows) {
  uint64_t element_bytes = dtype->bits / 8;
  if (lanes->row_lanes) {
    uint16_t two[2][HMOE_PANEL] = {{0}};
    for (uint64_t ki = 0; ki < job->inner; ki += 2) {
      bool both = ki + 1 < job->inner;
      for (uint64_t half = 0; half < (both ? 2 : 1); half++)
        hmoe_dtype_read_bf16(dtype, source + (start + lanes->start[0] + (ki + half) * job->inner_stride) * element_bytes, 1,
                             lanes->row_lanes, two[half]);
      write_two_rows(two[0], two[1], both, rows + ki * HMOE_PANEL);
    }
    return;
  }
  _Alignas(64) uint16_t tile[HMOE_PANEL][DEPTH_TILE] = {{0}};
  for (uint64_t ki = 0; ki < job->inner; ki += DEPTH_TILE) {
    uint64_t depth = hmoe_min(DEPTH_TILE, job->inner - ki);
    for (uint64_t c = 0; c < HMOE_PANEL; c++)
      if (lanes->real[c])
        hmoe_dtype_read_bf16(dtype, source + (start + lanes->start[c] + ki * job->inner_stride) * element_bytes, job->inner_stride,
                             depth, tile[c]);
    for (uint64_t d = 0; d + 1 < depth; d += 2) /* a word is a word on both sides */
      for (uint64_t c = 0; c < HMOE_PANEL; c++) memcpy(rows + ((ki + d) / 2 * HMOE_PANEL + c) * 2, &tile[c][d], sizeof(uint32_t));
    if (depth % 2)
      for (uint64_t c = 0; c < HMOE_PANEL; c++) rows[((ki + depth - 1) / 2 * HMOE_PANEL + c) * 2] = tile[c][depth - 1];
  }
}

/* Depth rows that a pack of pairs from row 0 on zeroes behind its own, up to this one: kernels read whole multiples of 32. */
static uint64_t padded_depth(const pack_job *job) {
  bool from_start = job->pairs && job->outer == 1 && job->first_depth == 0;
  return from_start ? hmoe_min(hmoe_round_up(job->inner, HMOE_PANEL), job->panel_depth) : 0;
}

static void pack_panel(void *context, uint64_t task, void *scratch) {
  (void)scratch;
  const pack_job *job = context;
  uint64_t panels = job->columns / HMOE_PANEL, group = task / panels, panel = task % panels;
  const hmoe_dtype *dtype;
  const uint8_t *source = source_of(job, group, &dtype);
  pack_lanes lanes = find_lanes(job, panel);
  uint64_t row_bytes = HMOE_PANEL * (job->pairs ? sizeof(uint16_t) : sizeof(float));
  uint8_t *out = job->dst + group * job->dst_group_bytes + (job->first + panel) * job->panel_depth * row_bytes;

  uint64_t padded = padded_depth(job), even = job->inner / 2 * 2;
  if (padded > even) memset(out + even * row_bytes, 0, (padded - even) * row_bytes);
  for (uint64_t ko = 0; ko < job->outer; ko++) {
    void *rows = out + (job->first_depth + ko * job->outer_pitch) * row_bytes;
    if (job->pairs) write_pairs(job, &lanes, dtype, source, ko * job->outer_stride, rows);
    else write_panels(job, &lanes, dtype, source, ko * job->outer_stride, rows);
  }
  /* Other panels of the group may still be read: their pages come back. */
  if (panel == panels - 1 && job->tensors)
    hmoe_mapping_drop(job->tensors[job->stacked ? group : 0]->mapping, source, job->group_elements * (dtype->bits / 8));
  hmoe_progress_add(job->progress, job->share_bytes / (panels * job->groups));
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
                  .first = args[14],
                  .real_q = args[19],
                  .paired = args[20] == 1};
  if (matrix) {
    job.outer = args[6];
    job.inner = args[7];
    job.outer_stride = args[8];
    job.inner_stride = args[9];
    job.first_depth = args[15];
    job.outer_pitch = args[16];
    job.panel_depth = args[17];
    job.pairs = args[18] == 1;
  }
  return job;
}

hmoe_status hmoe_step_pack(hmoe_run *run, const hmoe_plan_step *step) {
  const uint64_t *args = hmoe_step_args(run, step);
  pack_job job = read_args(run, step, true);
  uint64_t panels = job.columns / HMOE_PANEL;
  HMOE_TRY(check_columns(run, step, &job));
  if (args[18] > 1 || (job.pairs && (job.first_depth | (job.outer > 1 ? job.outer_pitch : 0) | job.panel_depth) % 2))
    return hmoe_step_fail(run, step, "format %llu at depth row %llu of %llu", (unsigned long long)args[18],
                          (unsigned long long)job.first_depth, (unsigned long long)job.panel_depth);
  uint64_t last_row = hmoe_add(job.first_depth, hmoe_add(last_of(job.outer, job.outer_pitch), job.inner ? job.inner - 1 : 0));
  if (panels == 0 || job.groups == 0 || job.outer == 0 || job.inner == 0) return HMOE_OK;
  if ((job.groups > 1 && !job.dst_group_bytes) || (job.outer > 1 && job.outer_pitch < job.inner))
    return hmoe_step_fail(run, step, "groups or depths would overwrite each other");
  if (last_row >= job.panel_depth)
    return hmoe_step_fail(run, step, "depth row %llu of %llu", (unsigned long long)last_row, (unsigned long long)job.panel_depth);
  HMOE_TRY(bind_source(run, step, &job));
  uint64_t row_bytes = HMOE_PANEL * (job.pairs ? sizeof(uint16_t) : sizeof(float));
  uint64_t needed = hmoe_mul(hmoe_mul(hmoe_add(job.first, panels), job.panel_depth), row_bytes);
  needed = hmoe_add(needed, last_of(job.groups, job.dst_group_bytes));
  /* The last panel need not be there to its full depth, but in whole words. */
  uint64_t end_row = hmoe_max(job.pairs ? last_row / 2 * 2 + 2 : last_row + 1, padded_depth(&job));
  needed = needed == UINT64_MAX ? needed : needed - (job.panel_depth - end_row) * row_bytes;
  HMOE_TRY(hmoe_run_binding(run, step, 0, HMOE_WRITE, needed, &job.dst));
  return hmoe_run_parallel(run, hmoe_mul(job.groups, panels), pack_panel, &job);
}

static void pack_vector_group(void *context, uint64_t group, void *scratch) {
  (void)scratch;
  const pack_job *job = context;
  const hmoe_dtype *dtype;
  const uint8_t *source = source_of(job, group, &dtype);
  hmoe_progress_add(job->progress, job->share_bytes / job->groups);
  uint64_t element_bytes = dtype->bits / 8;
  float *out = (float *)(void *)(job->dst + group * job->dst_group_bytes) + job->first;
  if (job->q_count == 1) {
    uint64_t valid = job->real_q ? hmoe_min(job->columns, job->col_count) : 0;
    if (valid) dtype->read(source, job->col_stride, valid, out, 1);
    memset(out + valid, 0, (job->columns - valid) * sizeof *out);
    return;
  }
  for (uint64_t panel = 0; panel < job->columns / HMOE_PANEL; panel++, out += HMOE_PANEL) {
    pack_lanes lanes = find_lanes(job, panel);
    for (uint64_t c = 0; c < HMOE_PANEL; c++) {
      if (lanes.real[c]) dtype->read(source + lanes.start[c] * element_bytes, 1, 1, out + c, 1);
      else out[c] = 0;
    }
  }
}

hmoe_status hmoe_step_pack_vector(hmoe_run *run, const hmoe_plan_step *step) {
  pack_job job = read_args(run, step, false);
  HMOE_TRY(check_columns(run, step, &job));
  if (job.columns == 0 || job.groups == 0) return HMOE_OK;
  if (job.groups > 1 && !job.dst_group_bytes) return hmoe_step_fail(run, step, "groups would overwrite each other");
  HMOE_TRY(bind_source(run, step, &job));
  uint64_t needed = hmoe_mul(hmoe_add(job.first, job.columns), sizeof(float));
  needed = hmoe_add(needed, last_of(job.groups, job.dst_group_bytes));
  HMOE_TRY(hmoe_run_binding(run, step, 0, HMOE_WRITE, needed, &job.dst));
  return hmoe_run_parallel(run, job.groups, pack_vector_group, &job);
}
