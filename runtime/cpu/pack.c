/* PACK: weights into the layout that kernels read, straight from the mapped checkpoint or from a buffer.
 *
 *   VECTOR          dst[g][o]                                <- src[g][q][column]
 *   COLUMNS         dst[g][column][depth]                    <- src[g][q][column][part][depth]
 *   PANELS of f32   dst[g][panel][depth][lane]               <- src[g][q][column][part][depth]
 *   PANELS of bf16  dst[g][panel][depth/2][lane][depth%2]    <- the same, rounded to bf16
 *   PLANES          dst[g][panel][depth/64][lane][place]     <- the same, rounded to bf16 (abi_cuda.h)
 *
 * One task a panel (or a group, for vectors). All ranges are checked before the first task. Pages of the checkpoint are let go
 * of as soon as a group is packed, so that a model's weights are not resident twice. */
#include "cpu/cpu.h"

#include <string.h>

#include "hmoe/abi_cuda.h"

enum { DEPTH_TILE = 64 }; /* a tile of 64 x 32 elements stays in the first-level cache while it is turned */

typedef struct pack_job {
  const hmoe_pack_source *source;
  const hmoe_pack_destination *to;
  const hmoe_dtype *dtype;
  const hmoe_tensor *const *tensors; /* one a group of a stacked parameter, else one */
  const uint8_t *buffer;             /* when there is no parameter */
  bool stacked;
  uint64_t group_elements; /* from a group's first element to the end of its last */
  uint8_t *dst;
  bool words, generates_words; /* of bf16 in panels, two depth rows share one */
  bool generates_planes;
  hmoe_progress *progress;
  uint64_t share_bytes; /* of what a parameter has, counted by the tasks together */
} pack_job;

static hmoe_status job_init(const hmoe_run *run, const hmoe_plan_step *step, pack_job *job) {
  const hmoe_step_pack *pack = hmoe_run_fields(run, step);
  const hmoe_pack_source *source = &pack->source;
  *job = (pack_job){.source = source, .to = &pack->destination};
  job->words = job->to->format == HMOE_FORMAT_BF16 && job->to->layout == HMOE_LAYOUT_PANELS;
  job->generates_planes = job->to->generated_layout == HMOE_LAYOUT_PLANES;
  job->generates_words = job->to->generated_format == HMOE_FORMAT_BF16 && !job->generates_planes;
  job->group_elements = hmoe_pack_extent(source, job->to->columns / job->to->generated_rows);
  if (source->param == HMOE_NONE) {
    uint64_t end = hmoe_add(hmoe_add(source->offset, job->group_elements), hmoe_axis_last(source->groups));
    job->dtype = hmoe_dtype_find("F32");
    return hmoe_run_binding(run, step, HMOE_BIND_PACK_SOURCE, HMOE_READ, job->group_elements ? hmoe_mul(end, sizeof(float)) : 0,
                            &job->buffer);
  }
  job->tensors = run->params->tensors + run->params->first[source->param];
  job->stacked = run->params->list[source->param].count > 1;
  job->progress = run->progress;
  job->share_bytes = run->params->share_bytes[source->param];
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
  uint64_t start = job->source->offset + (job->stacked ? 0 : group * job->source->groups.stride);
  return data ? data + start * ((*out_dtype)->bits / 8) : NULL;
}

/* What the 32 lanes of a panel hold. */
typedef struct pack_lanes {
  uint64_t start[HMOE_PANEL]; /* element of the lane's first depth row, from the group's first */
  bool real[HMOE_PANEL];      /* else padding */
  uint64_t row_lanes;         /* > 0: this many real lanes come first and are neighbours in the source */
} pack_lanes;

/* Row and column of the generated element that is number `o` in memory. */
static void find_plane(uint64_t rows, uint64_t o, uint64_t *out_row, uint64_t *out_col) {
  uint64_t line = o / HMOE_CUDA_PLANE, planes = rows / HMOE_CUDA_PLANE;
  *out_col = line / HMOE_PANEL / planes * HMOE_PANEL + line % HMOE_PANEL;
  *out_row = line / HMOE_PANEL % planes * HMOE_CUDA_PLANE + hmoe_cuda_place(o % HMOE_CUDA_PLANE, line);
}

static pack_lanes find_lanes(const pack_job *job, uint64_t panel) {
  const hmoe_pack_source *source = job->source;
  bool words = job->generates_words;
  uint64_t rows = words ? job->to->generated_rows / 2 : job->to->generated_rows; /* generated ones, or pairs of them */
  uint64_t row = words ? panel / 2 : panel;
  uint64_t first_col = row / rows * HMOE_PANEL + (words ? panel % 2 * (HMOE_PANEL / 2) : 0);
  pack_lanes lanes = {.row_lanes = 0};
  uint64_t count = 0;
  bool neighbours = true;
  for (uint64_t c = 0; c < HMOE_PANEL; c++) {
    uint64_t q = words ? row % rows * 2 + c % 2 : row % rows, col = first_col + (words ? c / 2 : c);
    if (job->generates_planes) find_plane(job->to->generated_rows, panel * HMOE_PANEL + c, &q, &col);
    lanes.real[c] = col < source->columns.count && q < source->generated.count;
    if (!lanes.real[c]) continue;
    lanes.start[c] = q * source->generated.stride + col * source->columns.stride;
    neighbours = neighbours && count == c && lanes.start[c] == lanes.start[0] + c;
    count++;
  }
  if (neighbours) lanes.row_lanes = count;
  return lanes;
}

/* Depth rows [0, depth.count) of one piece, from element `start` of the group. */
static void write_panels(const pack_job *job, const pack_lanes *lanes, const hmoe_dtype *dtype, const uint8_t *source,
                         uint64_t start, float *rows) {
  uint64_t element_bytes = dtype->bits / 8;
  hmoe_pack_axis depth_rows = job->source->depth;
  if (lanes->row_lanes) {
    for (uint64_t ki = 0; ki < depth_rows.count; ki++) {
      dtype->read(source + (start + lanes->start[0] + ki * depth_rows.stride) * element_bytes, 1, lanes->row_lanes,
                  rows + ki * HMOE_PANEL, 1);
      memset(rows + ki * HMOE_PANEL + lanes->row_lanes, 0, (HMOE_PANEL - lanes->row_lanes) * sizeof *rows);
    }
    return;
  }
  for (uint64_t ki = 0; ki < depth_rows.count; ki += DEPTH_TILE) {
    uint64_t depth = hmoe_min(DEPTH_TILE, depth_rows.count - ki);
    for (uint64_t c = 0; c < HMOE_PANEL; c++) {
      float *lane = rows + ki * HMOE_PANEL + c;
      if (lanes->real[c])
        dtype->read(source + (start + lanes->start[c] + ki * depth_rows.stride) * element_bytes, depth_rows.stride, depth, lane,
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
  hmoe_pack_axis depth_rows = job->source->depth;
  if (lanes->row_lanes) {
    uint16_t two[2][HMOE_PANEL] = {{0}};
    for (uint64_t ki = 0; ki < depth_rows.count; ki += 2) {
      bool both = ki + 1 < depth_rows.count;
      for (uint64_t half = 0; half < (both ? 2 : 1); half++)
        hmoe_dtype_read_bf16(dtype, source + (start + lanes->start[0] + (ki + half) * depth_rows.stride) * element_bytes, 1,
                             lanes->row_lanes, two[half]);
      write_two_rows(two[0], two[1], both, rows + ki * HMOE_PANEL);
    }
    return;
  }
  _Alignas(64) uint16_t tile[HMOE_PANEL][DEPTH_TILE] = {{0}};
  for (uint64_t ki = 0; ki < depth_rows.count; ki += DEPTH_TILE) {
    uint64_t depth = hmoe_min(DEPTH_TILE, depth_rows.count - ki);
    for (uint64_t c = 0; c < HMOE_PANEL; c++)
      if (lanes->real[c])
        hmoe_dtype_read_bf16(dtype, source + (start + lanes->start[c] + ki * depth_rows.stride) * element_bytes, depth_rows.stride,
                             depth, tile[c]);
    for (uint64_t d = 0; d + 1 < depth; d += 2) /* a word is a word on both sides */
      for (uint64_t c = 0; c < HMOE_PANEL; c++) memcpy(rows + ((ki + d) / 2 * HMOE_PANEL + c) * 2, &tile[c][d], sizeof(uint32_t));
    if (depth % 2)
      for (uint64_t c = 0; c < HMOE_PANEL; c++) rows[((ki + depth - 1) / 2 * HMOE_PANEL + c) * 2] = tile[c][depth - 1];
  }
}

/* Depth rows that a pack of pairs from row 0 on zeroes behind its own, up to this one: kernels read whole multiples of 32. */
static uint64_t padded_depth(const pack_job *job) {
  bool from_start = job->words && job->source->parts.count == 1 && job->to->first_row == 0;
  return from_start ? hmoe_min(hmoe_round_up(job->source->depth.count, HMOE_PANEL), job->to->operand_rows) : 0;
}

static uint64_t row_bytes_of(const pack_job *job) { return HMOE_PANEL * (job->words ? sizeof(uint16_t) : sizeof(float)); }

static void pack_panel(void *context, uint64_t task, void *scratch) {
  (void)scratch;
  const pack_job *job = context;
  const hmoe_pack_destination *to = job->to;
  uint64_t panels = to->columns / HMOE_PANEL, group = task / panels, panel = task % panels;
  const hmoe_dtype *dtype;
  const uint8_t *source = source_of(job, group, &dtype);
  pack_lanes lanes = find_lanes(job, panel);
  uint64_t row_bytes = row_bytes_of(job);
  uint64_t first = to->first_column / HMOE_PANEL + panel * (1 + (uint64_t)to->between);
  uint8_t *out = job->dst + group * to->group_bytes + first * to->operand_rows * row_bytes;

  uint64_t padded = padded_depth(job), even = job->source->depth.count / 2 * 2;
  if (padded > even) memset(out + even * row_bytes, 0, (padded - even) * row_bytes);
  for (uint64_t ko = 0; ko < job->source->parts.count; ko++) {
    void *rows = out + (to->first_row + ko * to->part_rows) * row_bytes;
    if (job->words) write_pairs(job, &lanes, dtype, source, ko * job->source->parts.stride, rows);
    else write_panels(job, &lanes, dtype, source, ko * job->source->parts.stride, rows);
  }
  /* Other panels of the group may still be read: their pages come back. */
  if (panel == panels - 1 && job->tensors)
    hmoe_mapping_drop(job->tensors[job->stacked ? group : 0]->mapping, source, job->group_elements * (dtype->bits / 8));
  hmoe_progress_add(job->progress, job->share_bytes / (panels * job->source->groups.count));
}

static hmoe_status pack_panels(hmoe_run *run, const hmoe_plan_step *step, pack_job *job) {
  const hmoe_pack_destination *to = job->to;
  uint64_t panels = to->columns / HMOE_PANEL, row_bytes = row_bytes_of(job);
  uint64_t last_row = to->first_row + hmoe_pack_depth_end(job->source, to) - 1;
  uint64_t end = hmoe_add(to->first_column, hmoe_cpu_pack_columns_end(to)) / HMOE_PANEL;
  uint64_t needed = hmoe_mul(hmoe_mul(end, to->operand_rows), row_bytes);
  needed = hmoe_add(needed, hmoe_axis_last((hmoe_pack_axis){job->source->groups.count, to->group_bytes}));
  /* The last panel need not be there to its full depth, but in whole words. */
  uint64_t end_row = hmoe_max(job->words ? last_row / 2 * 2 + 2 : last_row + 1, padded_depth(job));
  needed = needed == UINT64_MAX ? needed : needed - (to->operand_rows - end_row) * row_bytes;
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_PACK_DESTINATION, HMOE_WRITE, needed, &job->dst));
  return hmoe_cpu_parallel(run, hmoe_mul(job->source->groups.count, panels), pack_panel, job);
}

/* ---- planes ---- */

/* Halves [0, count) of column c, from depth row k on, into the panel. */
static void write_plane(uint16_t *panel, uint64_t c, uint64_t k, const uint16_t *halves, uint64_t count) {
  for (uint64_t i = 0; i < count; i++, k++)
    panel[(k / HMOE_CUDA_PLANE * HMOE_PANEL + c) * HMOE_CUDA_PLANE + hmoe_cuda_place(k % HMOE_CUDA_PLANE, c)] = halves[i];
}

static void pack_plane(void *context, uint64_t task, void *scratch) {
  (void)scratch;
  const pack_job *job = context;
  const hmoe_pack_source *from = job->source;
  const hmoe_pack_destination *to = job->to;
  uint64_t panels = to->columns / HMOE_PANEL, group = task / panels, panel = task % panels;
  const hmoe_dtype *dtype;
  const uint8_t *source = source_of(job, group, &dtype);
  uint64_t first = to->first_column / HMOE_PANEL + panel * (1 + (uint64_t)to->between), element_bytes = dtype->bits / 8;
  uint16_t *out = (uint16_t *)(void *)(job->dst + group * to->group_bytes) + first * to->operand_rows * HMOE_PANEL;
  pack_lanes lanes = find_lanes(job, panel);
  uint16_t halves[DEPTH_TILE];
  for (uint64_t ko = 0; ko < from->parts.count; ko++) {
    uint64_t row = to->first_row + ko * to->part_rows, start = ko * from->parts.stride;
    if (lanes.row_lanes) { /* a depth row at a time, as it lies in the source */
      for (uint64_t ki = 0; ki < from->depth.count; ki++) {
        const uint8_t *at = source + (start + lanes.start[0] + ki * from->depth.stride) * element_bytes;
        hmoe_dtype_read_bf16(dtype, at, 1, lanes.row_lanes, halves);
        for (uint64_t c = 0; c < lanes.row_lanes; c++) write_plane(out, c, row + ki, halves + c, 1);
      }
      continue;
    }
    for (uint64_t c = 0; c < HMOE_PANEL; c++)
      for (uint64_t ki = 0; lanes.real[c] && ki < from->depth.count; ki += DEPTH_TILE) {
        uint64_t depth = hmoe_min(DEPTH_TILE, from->depth.count - ki);
        const uint8_t *at = source + (start + lanes.start[c] + ki * from->depth.stride) * element_bytes;
        hmoe_dtype_read_bf16(dtype, at, from->depth.stride, depth, halves);
        write_plane(out, c, row + ki, halves, depth);
      }
  }
  if (panel == panels - 1 && job->tensors)
    hmoe_mapping_drop(job->tensors[job->stacked ? group : 0]->mapping, source, job->group_elements * element_bytes);
  hmoe_progress_add(job->progress, job->share_bytes / (panels * from->groups.count));
}

static hmoe_status pack_planes(hmoe_run *run, const hmoe_plan_step *step, pack_job *job) {
  const hmoe_pack_destination *to = job->to;
  uint64_t end = hmoe_add(to->first_column, hmoe_cpu_pack_columns_end(to));
  uint64_t needed = hmoe_mul(hmoe_mul(end, to->operand_rows), sizeof(uint16_t));
  needed = hmoe_add(needed, hmoe_axis_last((hmoe_pack_axis){job->source->groups.count, to->group_bytes}));
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_PACK_DESTINATION, HMOE_WRITE, needed, &job->dst));
  return hmoe_cpu_parallel(run, hmoe_mul(job->source->groups.count, to->columns / HMOE_PANEL), pack_plane, job);
}

/* ---- vectors and columns ---- */

static void pack_vector_group(void *context, uint64_t group, void *scratch) {
  (void)scratch;
  const pack_job *job = context;
  const hmoe_pack_destination *to = job->to;
  const hmoe_dtype *dtype;
  const uint8_t *source = source_of(job, group, &dtype);
  hmoe_progress_add(job->progress, job->share_bytes / job->source->groups.count);
  uint64_t element_bytes = dtype->bits / 8;
  float *out = (float *)(void *)(job->dst + group * to->group_bytes) + to->first_column;
  if (to->generated_rows == 1 && !to->between) {
    uint64_t valid = job->source->generated.count ? hmoe_min(to->columns, job->source->columns.count) : 0;
    if (valid) dtype->read(source, job->source->columns.stride, valid, out, 1);
    memset(out + valid, 0, (to->columns - valid) * sizeof *out);
    return;
  }
  for (uint64_t panel = 0; panel < to->columns / HMOE_PANEL; panel++, out += (1 + to->between) * HMOE_PANEL) {
    pack_lanes lanes = find_lanes(job, panel);
    for (uint64_t c = 0; c < HMOE_PANEL; c++) {
      if (lanes.real[c]) dtype->read(source + lanes.start[c] * element_bytes, 1, 1, out + c, 1);
      else out[c] = 0;
    }
  }
}

static hmoe_status pack_vector(hmoe_run *run, const hmoe_plan_step *step, pack_job *job) {
  const hmoe_pack_destination *to = job->to;
  uint64_t groups = job->source->groups.count,
           needed = hmoe_mul(hmoe_add(to->first_column, hmoe_cpu_pack_columns_end(to)), sizeof(float));
  needed = hmoe_add(needed, hmoe_axis_last((hmoe_pack_axis){groups, to->group_bytes}));
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_PACK_DESTINATION, HMOE_WRITE, needed, &job->dst));
  return hmoe_cpu_parallel(run, groups, pack_vector_group, job);
}

static void pack_column(void *context, uint64_t task, void *scratch) {
  (void)scratch;
  const pack_job *job = context;
  const hmoe_pack_source *from = job->source;
  const hmoe_pack_destination *to = job->to;
  uint64_t group = task / to->columns, column = task % to->columns, c = column / to->generated_rows,
           q = column % to->generated_rows;
  const hmoe_dtype *dtype;
  const uint8_t *source = source_of(job, group, &dtype);
  float *out =
      (float *)(void *)(job->dst + group * to->group_bytes) + (to->first_column + column) * to->operand_rows + to->first_row;
  bool real = c < from->columns.count && q < from->generated.count;
  uint64_t start = real ? q * from->generated.stride + c * from->columns.stride : 0;
  for (uint64_t ko = 0; ko < from->parts.count; ko++, out += to->part_rows) {
    uint64_t at = start + ko * from->parts.stride;
    if (real) dtype->read(source + at * (dtype->bits / 8), from->depth.stride, from->depth.count, out, 1);
    else memset(out, 0, from->depth.count * sizeof *out);
  }
  hmoe_progress_add(job->progress, job->share_bytes / (to->columns * from->groups.count));
}

static hmoe_status pack_columns(hmoe_run *run, const hmoe_plan_step *step, pack_job *job) {
  const hmoe_pack_destination *to = job->to;
  uint64_t last_row = hmoe_add(to->first_row, hmoe_pack_depth_end(job->source, to)) - 1;
  uint64_t last = hmoe_add(hmoe_mul(hmoe_add(to->first_column, to->columns) - 1, to->operand_rows), last_row);
  uint64_t needed = hmoe_mul(hmoe_add(last, 1), sizeof(float));
  needed = hmoe_add(needed, hmoe_axis_last((hmoe_pack_axis){job->source->groups.count, to->group_bytes}));
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_PACK_DESTINATION, HMOE_WRITE, needed, &job->dst));
  return hmoe_cpu_parallel(run, hmoe_mul(job->source->groups.count, to->columns), pack_column, job);
}

hmoe_status hmoe_cpu_step_pack(hmoe_run *run, const hmoe_plan_step *step) {
  static hmoe_status (*const layouts[HMOE_LAYOUT_COUNT])(hmoe_run *, const hmoe_plan_step *,
                                                         pack_job *) = {[HMOE_LAYOUT_VECTOR] = pack_vector,
                                                                        [HMOE_LAYOUT_PANELS] = pack_panels,
                                                                        [HMOE_LAYOUT_COLUMNS] = pack_columns,
                                                                        [HMOE_LAYOUT_PLANES] = pack_planes};
  if (!hmoe_pack_writes(hmoe_run_fields(run, step))) return HMOE_OK;
  pack_job job;
  HMOE_TRY(job_init(run, step, &job));
  return layouts[job.to->layout](run, step, &job);
}
