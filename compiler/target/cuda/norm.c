/* NORM, and the rows that products normalise while they load them: statistics in f32, then every column.
 *
 *   rms    y = x * (scale / sqrt(mean(x^2) + epsilon)) * weight
 *   layer  y = ((x - mean) / sqrt(mean((x - mean)^2) + epsilon) * weight + bias) * scale
 *
 * A warp a row: a lane sums every 32nd column, then the lanes' sums are added in pairs. A sum depends on its row alone. */
#include "target/cuda/cuda.h"

/* The mean of x, or of (x - mean)^2 where `squares`; mean may be null: 0. */
static MlirValue mean_of(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, bool squares, int64_t n, MlirValue mean,
                         MlirValue row) {
  ir_builder *ir = &e->ir;
  MlirValue zero = ir_f32(ir, 0.0f);
  ir_loop c;
  cuda_columns_begin(e, task, 0, n, 1, &zero, &c);
  MlirValue x = cuda_f32(e, row, c.index);
  if (!mlirValueIsNull(mean)) x = ir_sub(ir, x, mean);
  MlirValue next = squares ? cuda_fma(e, x, x, c.args[0]) : ir_add(ir, c.args[0], x);
  ir_for_end(ir, &c, &next);
  return ir_div(ir, cuda_reduce(e, CUDA_SUM, c.args[0]), ir_f32(ir, (float)n));
}

cuda_statistics cuda_statistics_of(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, hmoec_norm kind, int64_t n, double epsilon,
                                   double scale, MlirValue row) {
  ir_builder *ir = &e->ir;
  cuda_statistics s = {{NULL}, {NULL}};
  bool is_layer = kind == HMOEC_NORM_LAYER;
  if (is_layer) s.mean = mean_of(e, task, false, n, s.mean, row);
  MlirValue variance = mean_of(e, task, true, n, s.mean, row);
  MlirValue deviation = ir_sqrt(ir, ir_add(ir, variance, ir_f32(ir, (float)epsilon)));
  s.factor = ir_div(ir, ir_f32(ir, is_layer ? 1.0f : (float)scale), deviation);
  return s;
}

MlirValue cuda_normalised(hmoec_cuda_emitter *e, hmoec_norm kind, double scale, const cuda_statistics *s, MlirValue x,
                          MlirValue weight, MlirValue bias) {
  ir_builder *ir = &e->ir;
  if (kind == HMOEC_NORM_RMS) return ir_mul(ir, ir_mul(ir, x, s->factor), weight);
  x = cuda_fma(e, ir_mul(ir, ir_sub(ir, x, s->mean), s->factor), weight, bias);
  return (float)scale != 1.0f ? ir_mul(ir, x, ir_f32(ir, (float)scale)) : x;
}

int64_t cuda_row_norm_bytes(hmoec_norm kind, int64_t rows) { return kind == HMOEC_NORM_NONE ? 0 : 2 * rows * 4; }

/* Means, then factors. */
static MlirValue statistic_at(hmoec_cuda_emitter *e, const cuda_row_norm *norm, int64_t which, MlirValue i) {
  return ir_at(&e->ir, cuda_shared(e, norm->shared_at + which * norm->rows * 4), e->ir.f32, i);
}

void cuda_row_norm_begin(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, const cuda_row_norm *norm, int64_t warps,
                         MlirValue rows, MlirValue (*row_of)(void *user, MlirValue i), void *user) {
  ir_builder *ir = &e->ir;
  if (norm->kind == HMOEC_NORM_NONE) return;
  ir_loop r;
  ir_for_begin(ir, &r, task->warp, rows, warps, 0, NULL);
  cuda_statistics found = cuda_statistics_of(e, task, norm->kind, norm->n, norm->epsilon, norm->scale, row_of(user, r.index));
  ir_branch first;
  ir_if_begin(ir, &first, ir_compare_i(ir, IR_EQ, task->lane, ir_i64(ir, 0)), (MlirType){NULL});
  if (norm->kind == HMOEC_NORM_LAYER) ir_store(ir, found.mean, statistic_at(e, norm, 0, r.index), 4);
  ir_store(ir, found.factor, statistic_at(e, norm, 1, r.index), 4);
  cuda_if_end(e, &first);
  ir_for_end(ir, &r, NULL);
  cuda_barrier(e);
}

cuda_statistics cuda_row_norm_of(hmoec_cuda_emitter *e, const cuda_row_norm *norm, MlirValue i) {
  ir_builder *ir = &e->ir;
  cuda_statistics s = {{NULL}, {NULL}};
  if (norm->kind == HMOEC_NORM_LAYER) s.mean = ir_load(ir, ir->f32, statistic_at(e, norm, 0, i), 4);
  if (norm->kind != HMOEC_NORM_NONE) s.factor = ir_load(ir, ir->f32, statistic_at(e, norm, 1, i), 4);
  return s;
}

MlirValue cuda_row_norm_apply(hmoec_cuda_emitter *e, const cuda_row_norm *norm, const cuda_statistics *s, MlirValue x,
                              MlirValue k) {
  if (norm->kind == HMOEC_NORM_NONE) return x;
  MlirValue bias = norm->kind == HMOEC_NORM_LAYER ? cuda_f32(e, norm->bias, k) : (MlirValue){NULL};
  return cuda_normalised(e, norm->kind, norm->scale, s, x, cuda_f32(e, norm->weight, k), bias);
}

/* out[r] = norm(x[index(r)]), zeros up to a whole column step where there is room */
void hmoec_cuda_emit_norm(hmoec_cuda_emitter *e, const hmoec_norm_spec *spec, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  bool is_layer = spec->kind == HMOEC_NORM_LAYER, to_bf16 = hmoec_is_bf16(spec->out_format);
  MlirValue x = cuda_binding(e, task, 0), weight = cuda_binding(e, task, 1), out = cuda_binding(e, task, 3);
  MlirValue bias = is_layer ? cuda_binding(e, task, 2) : (MlirValue){NULL};
  MlirValue index = spec->has_index ? cuda_binding(e, task, 4) : (MlirValue){NULL};
  int64_t whole = cuda_panels_of(spec->n) * CUDA_PANEL, padded = whole < spec->ld_out ? whole : spec->ld_out;
  ir_loop r, c;
  cuda_rows_begin(e, task, spec->row_block, CUDA_ROW_WARPS, &r);
  MlirValue from = cuda_row(e, x, cuda_index(e, index, r.index), spec->ld_x);
  MlirValue to = cuda_row_of(e, out, to_bf16 ? ir->i16 : ir->f32, r.index, spec->ld_out);
  cuda_statistics s = cuda_statistics_of(e, task, spec->kind, spec->n, spec->epsilon, spec->scale, from);
  cuda_some_columns columns;
  MlirValue y[CUDA_COLUMNS_AT_ONCE];
  cuda_some_columns_begin(e, task, spec->n, &columns);
  for (int64_t i = 0; i < CUDA_COLUMNS_AT_ONCE; i++) {
    y[i] = cuda_normalised(e, spec->kind, spec->scale, &s, cuda_f32(e, from, columns.at[i]), cuda_f32(e, weight, columns.at[i]),
                           is_layer ? cuda_f32(e, bias, columns.at[i]) : (MlirValue){NULL});
    if (to_bf16) y[i] = cuda_to_bf16(e, y[i]);
  }
  cuda_some_columns_put(e, &columns, to, y);
  cuda_some_columns_end(e, &columns);
  if (spec->n < padded) {
    cuda_columns_begin(e, task, spec->n, padded, 0, NULL, &c);
    MlirValue zero = ir_f32(ir, 0.0f);
    cuda_put(e, to, c.index, to_bf16 ? cuda_to_bf16(e, zero) : zero);
    ir_for_end(ir, &c, NULL);
  }
  ir_for_end(ir, &r, NULL);
}
