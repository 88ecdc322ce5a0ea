/* From a tile of sums to rows of C. For each row and column
 *
 *   v = act(sum + bias), or of a pair act(gate + bias) * (up + bias) ; v *= row_gate (gated segment) ; v += row_gate * gated_bias
 *   in a dropped block with a pass: v = row_gate * pass (gated segment), v += row_gate * pass (others)
 *   in a dropped block with dropped_bare: v = 0 (gated segment), without gated_bias (others)
 *   C = accumulate ? C + v : multiply ? C * v : v
 *
 * and v = act(sum + bias, C), C = v, or v = act(gate + bias, up + bias), where act is a function of two arguments.
 *
 * One instance for each segment, and one for its last panel where that is not full: nothing past the segment's end is read, and nothing
 * written but zeros where C has room for whole panels. */
#include "target/code/math.h"
#include "target/code/scalar.h"
#include "target/cpu/emit.h"

typedef struct row_values { /* what a row's columns share; null where the spec has no use for it */
  MlirValue tile, ups, c, bias, ups_bias, gated_bias, pass, gate;
} row_values;

/* A sum, and its bias. */
static MlirValue biased_sum(hmoec_cpu_emitter *e, MlirValue tile, MlirValue bias, const ir_lanes *lanes) {
  ir_builder *ir = &e->ir;
  MlirValue sum = ir_load(ir, ir->vf32, ir_at(ir, tile, ir->f32, lanes->index), 4 * ir->lanes);
  return mlirValueIsNull(bias) ? sum : ir_add(ir, sum, ir_lanes_load(ir, lanes, ir->vf32, bias));
}

static MlirValue column_value(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, const hmoec_matmul_segment *segment,
                              const row_values *row, const ir_lanes *lanes, MlirValue dropped) {
  ir_builder *ir = &e->ir;
  MlirValue v = biased_sum(e, row->tile, row->bias, lanes);
  const hmoec_scalar_program *function = hmoec_activation_function(ir->functions, segment->activation);
  bool binary = function && function->argument_count == 2;
  MlirValue c = {NULL};
  if (segment->multiply) c = ir_lanes_load(ir, lanes, hmoec_is_bf16(spec->c_format) ? ir->vi16 : ir->vf32, row->c);
  if (segment->multiply && hmoec_is_bf16(spec->c_format)) c = ir_from_bf16(ir, c);
  bool is_pair = !mlirValueIsNull(row->ups);
  MlirValue other = is_pair ? biased_sum(e, row->ups, row->ups_bias, lanes) : c;
  v = binary ? ir_scalar(ir, function, (MlirValue[]){v, other}) : ir_activation(ir, segment->activation, v);
  if (is_pair && !binary) v = ir_mul(ir, v, other);
  if (segment->gated) v = ir_mul(ir, v, row->gate);
  ir_branch branch;
  bool replaced = spec->has_pass || spec->dropped_bare;
  if (replaced) { /* a dropped row gets its input, or nothing, in place of the expert's output, bias included */
    ir_if_begin(ir, &branch, dropped, ir->vf32);
    if (spec->has_pass) {
      MlirValue pass = ir_lanes_load(ir, lanes, ir->vf32, row->pass);
      ir_if_else(ir, &branch, segment->gated ? ir_mul(ir, row->gate, pass) : ir_fma(ir, row->gate, pass, v));
    } else {
      ir_if_else(ir, &branch, segment->gated ? ir_vector_f32(ir, 0.0f) : v);
    }
  }
  if (spec->has_gated_bias) v = ir_fma(ir, row->gate, ir_lanes_load(ir, lanes, ir->vf32, row->gated_bias), v);
  if (replaced) v = ir_if_end(ir, &branch, v);
  if (spec->accumulate) v = ir_add(ir, ir_lanes_load(ir, lanes, ir->vf32, row->c), v);
  if (segment->multiply && !binary) v = ir_mul(ir, c, v);
  return v;
}

/* One instance: `width` columns of the panel that starts at column `first`. */
static void emit_rows(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, const hmoec_matmul_segment *segment,
                      const hmoec_cpu_epilogue *buffers, MlirValue tile, MlirValue ups, MlirValue row, MlirValue rows,
                      MlirValue first, int64_t width) {
  ir_builder *ir = &e->ir;
  row_values values = {0};
  bool is_pair = !mlirValueIsNull(ups);
  MlirValue right = first; /* its column of B */
  if (is_pair) right = ir_add_i(ir, first, first);
  else if (spec->paired) right = ir_add_i(ir, first, ir_i64(ir, hmoec_cpu_paired_panels(spec) * HMOE_PANEL));
  if (spec->has_bias) values.bias = ir_at(ir, buffers->bias, ir->f32, right);
  if (spec->has_bias && is_pair) values.ups_bias = ir_at_constant(ir, values.bias, ir->f32, HMOE_PANEL);
  if (spec->has_gated_bias) values.gated_bias = ir_at(ir, buffers->gated_bias, ir->f32, first);

  ir_loop i;
  ir_for_begin(ir, &i, ir_i64(ir, 0), rows, 1, 0, NULL);
  MlirValue r = ir_add_i(ir, row, i.index);
  values.tile = hmoec_cpu_row(e, tile, i.index, HMOE_PANEL);
  if (is_pair) values.ups = hmoec_cpu_row(e, ups, i.index, HMOE_PANEL);
  MlirValue to = spec->has_scatter ? hmoec_cpu_index(e, buffers->scatter, r) : r;
  MlirType element = hmoec_is_bf16(spec->c_format) ? ir->i16 : ir->f32;
  values.c = ir_at(ir, hmoec_cpu_row_of(e, buffers->c, element, to, spec->c_stride), element, first);
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
    ir_lanes_store(ir, &lanes, hmoec_is_bf16(spec->c_format) ? ir_to_bf16(ir, v) : v, values.c);
  }
  if (spec->c_padded)
    for (ir_lanes_begin(ir, &lanes, width, HMOE_PANEL); ir_lanes_next(ir, &lanes);)
      ir_lanes_store(ir, &lanes, hmoec_is_bf16(spec->c_format) ? ir_vector_i16(ir, 0) : ir_vector_f32(ir, 0.0f), values.c);
  ir_for_end(ir, &i, NULL);
}

/* Panels up to `end` (and from the instance before on) that one instance serves. */
typedef struct instance {
  const hmoec_matmul_segment *segment;
  int64_t end, width;
} instance;

enum { MOST_INSTANCES = 4 };

/* Of a paired product those of pairs, or the others. */
static int list_instances(const hmoec_matmul_spec *spec, bool pairs, instance *out) {
  int count = 0;
  int64_t begin = 0;
  for (int64_t i = 0; i < spec->segments; i++) {
    const hmoec_matmul_segment *segment = &spec->segment[i];
    int64_t full = segment->end / HMOE_PANEL, rest = segment->end % HMOE_PANEL;
    if (spec->paired && pairs != (i == 0)) {
      begin = full + (rest > 0);
      continue;
    }
    if (full > begin) out[count++] = (instance){segment, full, HMOE_PANEL};
    if (rest > 0) out[count++] = (instance){segment, full + 1, rest};
    begin = full + (rest > 0);
  }
  return count;
}

void hmoec_cpu_emit_epilogue(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cpu_epilogue *buffers, MlirValue tile,
                             MlirValue ups, MlirValue row, MlirValue rows, MlirValue panel) {
  ir_builder *ir = &e->ir;
  MlirValue first = ir_mul_i(ir, panel, ir_i64(ir, HMOE_PANEL)), nothing = {NULL};
  MlirType none = {NULL};
  instance instances[MOST_INSTANCES];
  ir_branch branches[MOST_INSTANCES];
  int count = list_instances(spec, !mlirValueIsNull(ups), instances);

  /* if (panel < first one's end) A else if (panel < second one's end) B else C */
  for (int i = 0; i < count; i++) {
    bool is_last = i == count - 1;
    if (!is_last) ir_if_begin(ir, &branches[i], ir_compare_i(ir, IR_LT, panel, ir_i64(ir, instances[i].end)), none);
    emit_rows(e, spec, instances[i].segment, buffers, tile, ups, row, rows, first, instances[i].width);
    if (!is_last) ir_if_else(ir, &branches[i], nothing);
  }
  for (int i = count - 2; i >= 0; i--) ir_if_end(ir, &branches[i], nothing);
}
