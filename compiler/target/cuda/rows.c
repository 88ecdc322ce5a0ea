/* COMBINE, ROWS and EMBED: families that walk rows and do little on the way. A warp a row, a lane every 32nd column, but for COMBINE. Memory bound. */
#include "target/cuda/cuda.h"

/* Slots, and columns of a thread, whose values are all asked for before the first is added: of few slots of several columns. */
enum { COMBINE_SLOTS = 8, COMBINE_COLUMNS = 4 };
static int64_t combine_columns(const hmoec_combine_spec *spec) {
  int64_t columns = COMBINE_SLOTS / spec->top_k;
  return columns < 1 ? 1 : columns > COMBINE_COLUMNS ? COMBINE_COLUMNS : columns;
}

int64_t hmoec_cuda_combine_parts(const hmoec_combine_spec *spec) {
  int64_t step = combine_columns(spec) * CUDA_ROW_THREADS;
  return (spec->n + step - 1) / step;
}

/* sums += slots [first, first + count) of a row, in order; sums of null: there are none yet. at: `columns` columns. */
static void add_slots(hmoec_cuda_emitter *e, const hmoec_combine_spec *spec, MlirValue from, MlirValue first, int64_t count,
                      int64_t columns, const MlirValue *at, MlirValue *sums) {
  MlirValue values[COMBINE_SLOTS][COMBINE_COLUMNS];
  for (int64_t s = 0; s < count; s++) {
    MlirValue slot = cuda_row(e, from, ir_add_i(&e->ir, first, ir_i64(&e->ir, s)), spec->ld_slots);
    for (int64_t c = 0; c < columns; c++) values[s][c] = cuda_f32(e, slot, at[c]);
  }
  for (int64_t s = 0; s < count; s++)
    for (int64_t c = 0; c < columns; c++) sums[c] = mlirValueIsNull(sums[c]) ? values[s][c] : ir_add(&e->ir, sums[c], values[s][c]);
}

/* y[t] (+)= sum of the token's slots, in order. A block a row, or, where rows are few, several, which take turns at its columns. */
void hmoec_cuda_emit_combine(hmoec_cuda_emitter *e, const hmoec_combine_spec *spec, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  const int64_t columns = combine_columns(spec), step = columns * CUDA_ROW_THREADS, top_k = spec->top_k,
                once = top_k < COMBINE_SLOTS ? top_k : COMBINE_SLOTS, whole = top_k / COMBINE_SLOTS * COMBINE_SLOTS;
  MlirValue slots = cuda_binding(e, task, 0), y = cuda_binding(e, task, 1), n = ir_i64(ir, spec->n), zero = ir_i64(ir, 0);
  MlirValue at[COMBINE_COLUMNS], before[COMBINE_COLUMNS], sums[COMBINE_COLUMNS] = {{NULL}};
  cuda_block block;
  ir_loop t, c, s;
  cuda_block_begin(e, task, (MlirValue){NULL}, spec->row_block, &block);
  ir_for_begin(ir, &t, block.row, ir_add_i(ir, block.row, block.rows), 1, 0, NULL);
  MlirValue to = cuda_row(e, y, t.index, spec->ld_y), from = cuda_row(e, slots, t.index, top_k * spec->ld_slots);
  MlirValue begin = ir_add_i(ir, ir_mul_i(ir, block.split, ir_i64(ir, step)), task->thread);
  ir_for_begin_by(ir, &c, begin, n, ir_mul_i(ir, task->splits, ir_i64(ir, step)), 0, NULL);
  for (int64_t i = 0; i < columns; i++) { /* behind the last column the first again, with the same value */
    MlirValue column = ir_add_i(ir, c.index, ir_i64(ir, i * CUDA_ROW_THREADS));
    at[i] = i ? ir_select(ir, ir_compare_i(ir, IR_LT, column, n), column, c.index) : c.index;
  }
  cuda_follow(e);
  for (int64_t i = 0; i < columns && spec->accumulate; i++) before[i] = cuda_f32(e, to, at[i]);
  add_slots(e, spec, from, zero, once, columns, at, sums);
  if (whole > COMBINE_SLOTS) { /* top_k may be large: a loop */
    ir_for_begin(ir, &s, ir_i64(ir, COMBINE_SLOTS), ir_i64(ir, whole), COMBINE_SLOTS, columns, sums);
    for (int64_t i = 0; i < columns; i++) sums[i] = s.args[i];
    add_slots(e, spec, from, s.index, COMBINE_SLOTS, columns, at, sums);
    ir_for_end(ir, &s, sums);
    for (int64_t i = 0; i < columns; i++) sums[i] = s.args[i];
  }
  if (top_k > once) add_slots(e, spec, from, ir_i64(ir, whole), top_k - whole, columns, at, sums);
  for (int64_t i = 0; i < columns; i++) cuda_put(e, to, at[i], spec->accumulate ? ir_add(ir, before[i], sums[i]) : sums[i]);
  ir_for_end(ir, &c, NULL);
  ir_for_end(ir, &t, NULL);
  cuda_block_end(e, &block);
}

/* out[r] (+)= f(in[index(r)]) * scale * factor[r], zeros in the padding */
void hmoec_cuda_emit_rows(hmoec_cuda_emitter *e, const hmoec_rows_spec *spec, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue in = cuda_binding(e, task, 0), out = cuda_binding(e, task, 2), nothing = {NULL};
  MlirValue index = spec->has_index ? cuda_binding(e, task, 1) : nothing;
  MlirValue factors = spec->has_factor ? cuda_binding(e, task, 3) : nothing, factor = nothing, step = ir_i64(ir, spec->in_step);
  bool apart = spec->in_step > 1; /* rows are copied, and nothing else */
  ir_loop r, c;
  cuda_rows_begin(e, task, spec->row_block, CUDA_ROW_WARPS, &r);
  MlirValue from = cuda_row(e, in, cuda_index(e, index, r.index), spec->ld_in), to = cuda_row(e, out, r.index, spec->ld_out);
  if (spec->has_factor) factor = cuda_row(e, factors, r.index, spec->ld_factor);
  cuda_some_columns columns;
  MlirValue x[CUDA_COLUMNS_AT_ONCE], before[CUDA_COLUMNS_AT_ONCE];
  cuda_some_columns_begin(e, task, spec->n, &columns);
  for (int64_t i = 0; i < CUDA_COLUMNS_AT_ONCE; i++) {
    x[i] = cuda_f32(e, from, apart ? ir_mul_i(ir, columns.at[i], step) : columns.at[i]);
    if (!apart && spec->accumulate) before[i] = cuda_f32(e, to, columns.at[i]);
  }
  for (int64_t i = 0; i < CUDA_COLUMNS_AT_ONCE && !apart; i++) {
    x[i] = cuda_activation(e, spec->activation, x[i]);
    if (spec->scale != 1) x[i] = ir_mul(ir, x[i], ir_f32(ir, (float)spec->scale));
    if (spec->has_factor) x[i] = ir_mul(ir, x[i], cuda_f32(e, factor, spec->factor_columns ? columns.at[i] : ir_i64(ir, 0)));
    if (spec->accumulate) x[i] = ir_add(ir, before[i], x[i]);
  }
  cuda_some_columns_put(e, &columns, to, x);
  cuda_some_columns_end(e, &columns);
  if (spec->padding) {
    cuda_columns_begin(e, task, spec->n, spec->n + spec->padding, 0, NULL, &c);
    cuda_put(e, to, c.index, ir_f32(ir, 0.0f));
    ir_for_end(ir, &c, NULL);
  }
  ir_for_end(ir, &r, NULL);
}

/* Element i of column `id` of the right operand [n, *], in panels or in planes. */
static MlirValue right_element(hmoec_cuda_emitter *e, const hmoec_embed_spec *spec, MlirValue table, MlirValue id, MlirValue i) {
  ir_builder *ir = &e->ir;
  MlirValue width = ir_i64(ir, CUDA_PANEL), panel = ir_div_i(ir, id, width), column = ir_rem_i(ir, id, width);
  if (!hmoec_is_bf16(spec->format)) {
    MlirValue row = ir_add_i(ir, ir_mul_i(ir, panel, ir_i64(ir, spec->n)), i);
    return cuda_f32(e, table, ir_add_i(ir, ir_mul_i(ir, row, width), column));
  }
  MlirValue depth = ir_i64(ir, HMOE_CUDA_PLANE), planes = ir_i64(ir, cuda_planes_of(spec->n));
  MlirValue plane = ir_add_i(ir, ir_mul_i(ir, panel, planes), ir_div_i(ir, i, depth));
  MlirValue line = cuda_row_of(e, table, ir->i16, ir_add_i(ir, ir_mul_i(ir, plane, width), column), HMOE_CUDA_PLANE);
  return cuda_from_bf16(e, ir_load(ir, ir->i16, ir_at(ir, line, ir->i16, cuda_place(e, ir_rem_i(ir, i, depth), column)), 2));
}

/* out[r] (+)= row ids[r] of the table */
void hmoec_cuda_emit_embed(hmoec_cuda_emitter *e, const hmoec_embed_spec *spec, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue ids = cuda_binding(e, task, 0), table = cuda_binding(e, task, 1), out = cuda_binding(e, task, 2);
  ir_loop r;
  cuda_rows_begin(e, task, spec->row_block, CUDA_ROW_WARPS, &r);
  MlirValue id = cuda_index(e, ids, r.index), to = cuda_row(e, out, r.index, spec->ld_out);
  cuda_some_columns columns;
  MlirValue x[CUDA_COLUMNS_AT_ONCE], before[CUDA_COLUMNS_AT_ONCE];
  cuda_some_columns_begin(e, task, spec->n, &columns);
  for (int64_t i = 0; i < CUDA_COLUMNS_AT_ONCE; i++) {
    x[i] = spec->layout == HMOEC_TABLE_ROWS ? cuda_f32(e, cuda_row(e, table, id, spec->n), columns.at[i])
                                            : right_element(e, spec, table, id, columns.at[i]);
    if (spec->accumulate) before[i] = cuda_f32(e, to, columns.at[i]);
  }
  for (int64_t i = 0; i < CUDA_COLUMNS_AT_ONCE && spec->accumulate; i++) x[i] = ir_add(ir, before[i], x[i]);
  cuda_some_columns_put(e, &columns, to, x);
  cuda_some_columns_end(e, &columns);
  ir_for_end(ir, &r, NULL);
}
