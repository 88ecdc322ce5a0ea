/* From a tile of sums to rows of C. For each row and column
 *
 *   v = act(sum + bias) ; v *= row_gate (gated segment) ; v += row_gate * (pass in a dropped block, else gated_bias)
 *   C = accumulate ? C + v : multiply ? C * v : v
 *
 * and v = act(sum + bias, C), C = v, where act is a function of two arguments.
 *
 * One instance for each segment, and one for a last panel that is not full: nothing past column n is read, and nothing written but
 * zeros where C has room for whole panels. */
#include "codegen/cpu/emit.h"
#include "codegen/cpu/math.h"
#include "codegen/cpu/scalar.h"

typedef struct row_values { /* what a row's columns share; null where the spec has no use for it */
  MlirValue tile, c, bias, gated_bias, pass, gate;
} row_values;

static MlirValue column_value(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, const hmoec_matmul_segment *segment,
                              const row_values *row, const ir_lanes *lanes, MlirValue dropped) {
  ir_builder *ir = &e->ir;
  MlirValue v = ir_load(ir, ir->vf32, ir_at(ir, row->tile, ir->f32, lanes->index), 4 * ir->lanes);
  if (spec->has_bias) v = ir_add(ir, v, ir_lanes_load(ir, lanes, ir->vf32, row->bias));
  const hmoec_scalar_program *function = hmoec_activation_function(ir->functions, segment->activation);
  bool binary = function && function->argument_count == 2;
  MlirValue c = {NULL};
  if (segment->multiply) c = ir_lanes_load(ir, lanes, spec->c_bf16 ? ir->vi16 : ir->vf32, row->c);
  if (segment->multiply && spec->c_bf16) c = ir_from_bf16(ir, c);
  v = binary ? ir_scalar(ir, function, (MlirValue[]){v, c}) : ir_activation(ir, segment->activation, v);
  if (segment->gated) v = ir_mul(ir, v, row->gate);
  ir_branch branch;
  if (spec->has_pass) { /* a dropped row gets its input in place of the expert's output, bias included */
    ir_if_begin(ir, &branch, dropped, ir->vf32);
    ir_if_else(ir, &branch, ir_fma(ir, row->gate, ir_lanes_load(ir, lanes, ir->vf32, row->pass), v));
  }
  if (spec->has_gated_bias) v = ir_fma(ir, row->gate, ir_lanes_load(ir, lanes, ir->vf32, row->gated_bias), v);
  if (spec->has_pass) v = ir_if_end(ir, &branch, v);
  if (spec->accumulate) v = ir_add(ir, ir_lanes_load(ir, lanes, ir->vf32, row->c), v);
  if (segment->multiply && !binary) v = ir_mul(ir, c, v);
  return v;
}

/* One instance: `width` columns of the panel that starts at column `first`. */
static void emit_rows(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, const hmoec_matmul_segment *segment,
                      const hmoec_cpu_epilogue *buffers, MlirValue tile, MlirValue row, MlirValue rows, MlirValue first,
                      int64_t width) {
  ir_builder *ir = &e->ir;
  row_values values = {0};
  if (spec->has_bias) values.bias = ir_at(ir, buffers->bias, ir->f32, first);
  if (spec->has_gated_bias) values.gated_bias = ir_at(ir, buffers->gated_bias, ir->f32, first);

  ir_loop i;
  ir_for_begin(ir, &i, ir_i64(ir, 0), rows, 1, 0, NULL);
  MlirValue r = ir_add_i(ir, row, i.index);
  values.tile = hmoec_cpu_row(e, tile, i.index, HMOE_PANEL);
  MlirValue to = spec->has_scatter ? hmoec_cpu_index(e, buffers->scatter, r) : r;
  MlirType element = spec->c_bf16 ? ir->i16 : ir->f32;
  values.c = ir_at(ir, hmoec_cpu_row_of(e, buffers->c, element, to, spec->ldc), element, first);
  if (spec->has_row_gate) values.gate = ir_splat(ir, ir_load(ir, ir->f32, ir_at(ir, buffers->row_gate, ir->f32, r), 4));
  if (spec->has_pass) {
    ir_branch branch; /* the index means nothing in other blocks */
    ir_if_begin(ir, &branch, buffers->dropped, ir->i64);
    MlirValue from = hmoec_cpu_index(e, buffers->pass_index, r);
    ir_if_else(ir, &branch, from);
    from = ir_if_end(ir, &branch, ir_i64(ir, 0));
    values.pass = ir_at(ir, hmoec_cpu_row(e, buffers->pass, from, spec->pass_ld), ir->f32, first);
  }
  ir_lanes lanes;
  for (ir_lanes_begin(ir, &lanes, 0, width); ir_lanes_next(ir, &lanes);) {
    MlirValue v = column_value(e, spec, segment, &values, &lanes, buffers->dropped);
    ir_lanes_store(ir, &lanes, spec->c_bf16 ? ir_to_bf16(ir, v) : v, values.c);
  }
  if (spec->c_padded)
    for (ir_lanes_begin(ir, &lanes, width, HMOE_PANEL); ir_lanes_next(ir, &lanes);)
      ir_lanes_store(ir, &lanes, spec->c_bf16 ? ir_vector_i16(ir, 0) : ir_vector_f32(ir, 0.0f), values.c);
  ir_for_end(ir, &i, NULL);
}

void hmoec_cpu_emit_epilogue(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cpu_epilogue *buffers, MlirValue tile,
                             MlirValue row, MlirValue rows, MlirValue panel) {
  ir_builder *ir = &e->ir;
  MlirValue first = ir_mul_i(ir, panel, ir_i64(ir, HMOE_PANEL));
  MlirType none = {NULL};
  MlirValue nothing = {NULL};
  const hmoec_matmul_segment *last = &spec->segment[spec->segments - 1];
  int64_t rest = spec->n % HMOE_PANEL;
  int64_t full_end = rest ? last->panel_end - 1 : last->panel_end;
  int64_t last_begin = spec->segments == 2 ? spec->segment[0].panel_end : 0;

  /* if (panel < first segment's end) A else if (panel < full panels) B else C, without the arms that cannot be taken */
  bool has_first = last_begin > 0, has_full = full_end > last_begin, has_rest = rest > 0;
  ir_branch first_branch, full_branch;
  if (has_first) {
    ir_if_begin(ir, &first_branch, ir_compare_i(ir, IR_LT, panel, ir_i64(ir, last_begin)), none);
    emit_rows(e, spec, &spec->segment[0], buffers, tile, row, rows, first, HMOE_PANEL);
    ir_if_else(ir, &first_branch, nothing);
  }
  if (has_full && has_rest) ir_if_begin(ir, &full_branch, ir_compare_i(ir, IR_LT, panel, ir_i64(ir, full_end)), none);
  if (has_full) emit_rows(e, spec, last, buffers, tile, row, rows, first, HMOE_PANEL);
  if (has_full && has_rest) ir_if_else(ir, &full_branch, nothing);
  if (has_rest) emit_rows(e, spec, last, buffers, tile, row, rows, first, rest);
  if (has_full && has_rest) ir_if_end(ir, &full_branch, nothing);
  if (has_first) ir_if_end(ir, &first_branch, nothing);
}
