/* NORM, and the rows that products normalise while they copy them: statistics in f32, then every column.
 *
 *   rms    y = x * (scale / sqrt(mean(x^2) + epsilon)) * weight
 *   layer  y = ((x - mean) / sqrt(mean((x - mean)^2) + epsilon) * weight + bias) * scale
 *
 * Two or three passes over a row, which stays in the first-level cache. A sum has a few vectors of accumulators, whatever n, and depends on
 * its row alone. */
#include "target/cpu/emit.h"

enum { STREAMS = 4 /* accumulators, to hide the latency of the multiply-add */ };

typedef enum statistic { SUM, SQUARES } statistic;

static MlirValue accumulate(ir_builder *ir, statistic what, MlirValue x, MlirValue mean, MlirValue sum) {
  if (what == SUM) return ir_add(ir, sum, x);
  if (!mlirValueIsNull(mean)) x = ir_sub(ir, x, mean);
  return ir_fma(ir, x, x, sum);
}

/* The mean of x, or of (x - mean)^2, over row[0:n). `mean`, a vector, may be null: 0. */
static MlirValue emit_mean(hmoec_cpu_emitter *e, statistic what, MlirValue row, int64_t n, MlirValue mean) {
  ir_builder *ir = &e->ir;
  int64_t at_once = STREAMS * ir->lanes, rounds = n / at_once, done = rounds * at_once;
  MlirValue sums[STREAMS];
  for (int s = 0; s < STREAMS; s++) sums[s] = ir_vector_f32(ir, 0.0f);
  if (rounds > 0) {
    ir_loop i;
    ir_for_begin(ir, &i, ir_i64(ir, 0), ir_i64(ir, done), at_once, STREAMS, sums);
    MlirValue at = ir_at(ir, row, ir->f32, i.index);
    for (int s = 0; s < STREAMS; s++)
      sums[s] = accumulate(ir, what, ir_load(ir, ir->vf32, ir_at_constant(ir, at, ir->f32, s * ir->lanes), 4), mean, i.args[s]);
    ir_for_end(ir, &i, sums);
    for (int s = 0; s < STREAMS; s++) sums[s] = i.args[s];
  }
  for (int s = 0; done < n; s++, done += ir->lanes) {
    MlirValue at = ir_at_constant(ir, row, ir->f32, done);
    if (n - done >= ir->lanes) {
      sums[s] = accumulate(ir, what, ir_load(ir, ir->vf32, at, 4), mean, sums[s]);
    } else {
      MlirValue mask = ir_prefix_mask(ir, n - done);
      sums[s] = ir_select(ir, mask, accumulate(ir, what, ir_load_masked(ir, ir->vf32, at, mask), mean, sums[s]), sums[s]);
    }
  }
  for (int s = 1; s < STREAMS; s++) sums[0] = ir_add(ir, sums[0], sums[s]);
  return ir_div(ir, ir_reduce(ir, "add", sums[0]), ir_f32(ir, (float)n));
}

void hmoec_cpu_emit_normalised(hmoec_cpu_emitter *e, const hmoec_cpu_norm *norm, MlirValue from, MlirValue to) {
  ir_builder *ir = &e->ir;
  bool is_layer = norm->kind == HMOEC_NORM_LAYER, is_scaled = norm->scale != 1.0f;
  MlirValue mean = {NULL};
  if (is_layer) mean = ir_splat(ir, emit_mean(e, SUM, from, norm->n, mean));
  MlirValue variance = emit_mean(e, SQUARES, from, norm->n, mean);
  MlirValue deviation = ir_sqrt(ir, ir_add(ir, variance, ir_f32(ir, norm->epsilon)));
  MlirValue factor = ir_splat(ir, ir_div(ir, ir_f32(ir, is_layer ? 1.0f : norm->scale), deviation));
  ir_lanes lanes;
  for (ir_lanes_begin(ir, &lanes, 0, norm->n); ir_lanes_next(ir, &lanes);) {
    MlirValue x = ir_lanes_load(ir, &lanes, ir->vf32, from), weight = ir_lanes_load(ir, &lanes, ir->vf32, norm->weight);
    if (is_layer) {
      x = ir_mul(ir, ir_sub(ir, x, mean), factor);
      x = ir_fma(ir, x, weight, ir_lanes_load(ir, &lanes, ir->vf32, norm->bias));
      if (is_scaled) x = ir_mul(ir, x, ir_vector_f32(ir, norm->scale));
    } else {
      x = ir_mul(ir, ir_mul(ir, x, factor), weight);
    }
    ir_lanes_store(ir, &lanes, norm->to_bf16 ? ir_to_bf16(ir, x) : x, to);
  }
}

/* out[r] = norm(x[index(r)]), zeros up to a whole panel where there is room */
void hmoec_cpu_emit_norm(hmoec_cpu_emitter *e, const hmoec_norm_spec *spec, const hmoec_cpu_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue x = hmoec_cpu_binding(e, task, 0), out = hmoec_cpu_binding(e, task, 3), begin, end;
  MlirValue index = spec->has_index ? hmoec_cpu_binding(e, task, 4) : (MlirValue){NULL};
  hmoec_cpu_norm norm = {.kind = spec->kind,
                         .n = spec->n,
                         .epsilon = (float)spec->epsilon,
                         .scale = (float)spec->scale,
                         .to_bf16 = hmoec_is_bf16(spec->out_format),
                         .weight = hmoec_cpu_binding(e, task, 1)};
  if (spec->kind == HMOEC_NORM_LAYER) norm.bias = hmoec_cpu_binding(e, task, 2);
  int64_t whole = (spec->n + HMOE_PANEL - 1) / HMOE_PANEL * HMOE_PANEL, padded = whole < spec->ld_out ? whole : spec->ld_out;
  hmoec_cpu_row_range(e, task, task->task, spec->row_block, &begin, &end);
  ir_loop r;
  ir_for_begin(ir, &r, begin, end, 1, 0, NULL);
  MlirValue from = hmoec_cpu_row(e, x, spec->has_index ? hmoec_cpu_index(e, index, r.index) : r.index, spec->ld_x);
  MlirValue to = hmoec_cpu_row_of(e, out, hmoec_is_bf16(spec->out_format) ? ir->i16 : ir->f32, r.index, spec->ld_out);
  hmoec_cpu_emit_normalised(e, &norm, from, to);
  ir_lanes lanes;
  for (ir_lanes_begin(ir, &lanes, spec->n, padded); ir_lanes_next(ir, &lanes);)
    ir_lanes_store(ir, &lanes, hmoec_is_bf16(spec->out_format) ? ir_vector_i16(ir, 0) : ir_vector_f32(ir, 0.0f), to);
  ir_for_end(ir, &r, NULL);
}
