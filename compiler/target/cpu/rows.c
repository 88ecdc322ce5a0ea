/* COMBINE, ROWS and EMBED: families that walk rows and do little on the way. Memory bound. */
#include "target/code/math.h"
#include "target/cpu/emit.h"

/* y[t] (+)= sum of the token's slots, in order */
void hmoec_cpu_emit_combine(hmoec_cpu_emitter *e, const hmoec_combine_spec *spec, const hmoec_cpu_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue slots = hmoec_cpu_binding(e, task, 0), y = hmoec_cpu_binding(e, task, 1), begin, end;
  hmoec_cpu_row_range(e, task, task->task, spec->row_block, &begin, &end);
  ir_loop t;
  ir_for_begin(ir, &t, begin, end, 1, 0, NULL);
  MlirValue to = hmoec_cpu_row(e, y, t.index, spec->ld_y), from = hmoec_cpu_row(e, slots, t.index, spec->top_k * spec->ld_slots);
  ir_lanes lanes;
  for (ir_lanes_begin(ir, &lanes, 0, spec->n); ir_lanes_next(ir, &lanes);) {
    MlirValue sum = ir_lanes_load(ir, &lanes, ir->vf32, from);
    for (int64_t s = 1; s < spec->top_k; s++)
      sum = ir_add(ir, sum, ir_lanes_load(ir, &lanes, ir->vf32, ir_at_constant(ir, from, ir->f32, s * spec->ld_slots)));
    if (spec->accumulate) sum = ir_add(ir, ir_lanes_load(ir, &lanes, ir->vf32, to), sum);
    ir_lanes_store(ir, &lanes, sum, to);
  }
  ir_for_end(ir, &t, NULL);
}

/* A row whose columns lie `step` apart, one by one. */
static void copy_apart(ir_builder *ir, MlirValue from, MlirValue to, int64_t n, int64_t step) {
  ir_loop c;
  ir_for_begin(ir, &c, ir_i64(ir, 0), ir_i64(ir, n), 1, 0, NULL);
  MlirValue x = ir_load(ir, ir->f32, ir_at(ir, from, ir->f32, ir_mul_i(ir, c.index, ir_i64(ir, step))), 4);
  ir_store(ir, x, ir_at(ir, to, ir->f32, c.index), 4);
  ir_for_end(ir, &c, NULL);
}

/* out[r] (+)= f(in[index(r)]) * scale * factor[r], zeros in the padding */
void hmoec_cpu_emit_rows(hmoec_cpu_emitter *e, const hmoec_rows_spec *spec, const hmoec_cpu_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue in = hmoec_cpu_binding(e, task, 0), out = hmoec_cpu_binding(e, task, 2), begin, end;
  MlirValue index = spec->has_index ? hmoec_cpu_binding(e, task, 1) : (MlirValue){NULL};
  MlirValue factors = spec->has_factor ? hmoec_cpu_binding(e, task, 3) : (MlirValue){NULL}, factor = {NULL}, value = {NULL};
  hmoec_cpu_row_range(e, task, task->task, spec->row_block, &begin, &end);
  ir_loop r;
  ir_for_begin(ir, &r, begin, end, 1, 0, NULL);
  MlirValue from = hmoec_cpu_row(e, in, spec->has_index ? hmoec_cpu_index(e, index, r.index) : r.index, spec->ld_in);
  MlirValue to = hmoec_cpu_row(e, out, r.index, spec->ld_out);
  if (spec->has_factor) factor = hmoec_cpu_row(e, factors, r.index, spec->ld_factor);
  if (spec->has_factor && !spec->factor_columns) value = ir_splat(ir, ir_load(ir, ir->f32, factor, 4));
  ir_lanes lanes;
  if (spec->in_step > 1) copy_apart(ir, from, to, spec->n, spec->in_step);
  for (ir_lanes_begin(ir, &lanes, 0, spec->in_step > 1 ? 0 : spec->n); ir_lanes_next(ir, &lanes);) {
    MlirValue x = ir_activation(ir, spec->activation, ir_lanes_load(ir, &lanes, ir->vf32, from));
    if (spec->scale != 1) x = ir_mul(ir, x, ir_vector_f32(ir, (float)spec->scale));
    if (spec->has_factor) x = ir_mul(ir, x, spec->factor_columns ? ir_lanes_load(ir, &lanes, ir->vf32, factor) : value);
    if (spec->accumulate) x = ir_add(ir, ir_lanes_load(ir, &lanes, ir->vf32, to), x);
    ir_lanes_store(ir, &lanes, x, to);
  }
  for (ir_lanes_begin(ir, &lanes, spec->n, spec->n + spec->padding); ir_lanes_next(ir, &lanes);)
    ir_lanes_store(ir, &lanes, ir_vector_f32(ir, 0.0f), to);
  ir_for_end(ir, &r, NULL);
}

/* out[r][i] (+)= column `id` of a right operand: every element lies on a cache line of its own */
static void emit_column(hmoec_cpu_emitter *e, const hmoec_embed_spec *spec, MlirValue table, MlirValue id, MlirValue to) {
  ir_builder *ir = &e->ir;
  bool is_pairs = hmoec_is_bf16(spec->format);
  int64_t padded = (spec->n + HMOE_PANEL - 1) / HMOE_PANEL * HMOE_PANEL, words = is_pairs ? padded / 2 : spec->n;
  MlirValue width = ir_i64(ir, HMOE_PANEL), high = ir_i32(ir, (int32_t)0xffff0000);
  MlirValue column =
      ir_at(ir, hmoec_cpu_row(e, table, ir_div_i(ir, id, width), words * HMOE_PANEL), ir->f32, ir_rem_i(ir, id, width));
  ir_loop i;
  ir_for_begin(ir, &i, ir_i64(ir, 0), ir_i64(ir, is_pairs ? spec->n / 2 : spec->n), 1, 0, NULL);
  MlirValue from = hmoec_cpu_row(e, column, i.index, HMOE_PANEL);
  MlirValue values[2], out = ir_at(ir, to, ir->f32, is_pairs ? ir_add_i(ir, i.index, i.index) : i.index);
  if (is_pairs) {
    MlirValue word = ir_load(ir, ir->i32, from, 4);
    values[0] = ir_bitcast(ir, ir_shift_left(ir, word, ir_i32(ir, 16)), ir->f32);
    values[1] = ir_bitcast(ir, ir_and(ir, word, high), ir->f32);
  } else {
    values[0] = ir_load(ir, ir->f32, from, 4);
  }
  for (int64_t half = 0; half < (is_pairs ? 2 : 1); half++) {
    MlirValue at = ir_at_constant(ir, out, ir->f32, half);
    if (spec->accumulate) values[half] = ir_add(ir, ir_load(ir, ir->f32, at, 4), values[half]);
    ir_store(ir, values[half], at, 4);
  }
  ir_for_end(ir, &i, NULL);
  if (!is_pairs || spec->n % 2 == 0) return;
  MlirValue word = ir_load(ir, ir->i32, ir_at_constant(ir, column, ir->f32, spec->n / 2 * HMOE_PANEL), 4);
  MlirValue last = ir_bitcast(ir, ir_shift_left(ir, word, ir_i32(ir, 16)), ir->f32),
            at = ir_at_constant(ir, to, ir->f32, spec->n - 1);
  if (spec->accumulate) last = ir_add(ir, ir_load(ir, ir->f32, at, 4), last);
  ir_store(ir, last, at, 4);
}

/* out[r] (+)= row ids[r] of the table */
void hmoec_cpu_emit_embed(hmoec_cpu_emitter *e, const hmoec_embed_spec *spec, const hmoec_cpu_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue ids = hmoec_cpu_binding(e, task, 0), table = hmoec_cpu_binding(e, task, 1), out = hmoec_cpu_binding(e, task, 2);
  MlirValue begin, end;
  hmoec_cpu_row_range(e, task, task->task, spec->row_block, &begin, &end);
  ir_loop r;
  ir_for_begin(ir, &r, begin, end, 1, 0, NULL);
  MlirValue id = hmoec_cpu_index(e, ids, r.index), to = hmoec_cpu_row(e, out, r.index, spec->ld_out);
  if (spec->layout == HMOEC_TABLE_ROWS) {
    MlirValue from = hmoec_cpu_row(e, table, id, spec->n);
    ir_lanes lanes;
    for (ir_lanes_begin(ir, &lanes, 0, spec->n); ir_lanes_next(ir, &lanes);) {
      MlirValue x = ir_lanes_load(ir, &lanes, ir->vf32, from);
      if (spec->accumulate) x = ir_add(ir, ir_lanes_load(ir, &lanes, ir->vf32, to), x);
      ir_lanes_store(ir, &lanes, x, to);
    }
  } else {
    emit_column(e, spec, table, id, to);
  }
  ir_for_end(ir, &r, NULL);
}
