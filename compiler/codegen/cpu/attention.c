/* STORE: rows of k and v become columns of keys and rows of values (abi.h). */
#include "codegen/cpu/emit.h"

static int64_t panel_count(int64_t columns) { return (columns + HMOE_PANEL - 1) / HMOE_PANEL; }

/* Where a head of a row starts in keys (head_size wide) or in values (whole panels wide). */
static MlirValue head_address(hmoec_cpu_emitter *e, MlirValue base, MlirValue row, MlirValue head, int64_t heads,
                              MlirValue capacity, int64_t width) {
  ir_builder *ir = &e->ir;
  MlirValue number = ir_add_i(ir, ir_mul_i(ir, row, ir_i64(ir, heads)), head);
  return hmoec_cpu_row(e, base, ir_mul_i(ir, number, capacity), width);
}

/* One head of one position: head_size values, each in a row of its panel of keys, and as one row of each panel of values. */
static void emit_store_head(hmoec_cpu_emitter *e, const hmoec_store_spec *spec, MlirValue k, MlirValue v, MlirValue keys,
                            MlirValue values, MlirValue position, MlirValue capacity) {
  ir_builder *ir = &e->ir;
  MlirValue width = ir_i64(ir, HMOE_PANEL), panel = ir_div_i(ir, position, width), column = ir_rem_i(ir, position, width);
  MlirValue key = ir_at(ir, hmoec_cpu_row(e, keys, panel, spec->head_size * HMOE_PANEL), ir->f32, column);
  ir_loop i;
  ir_for_begin(ir, &i, ir_i64(ir, 0), ir_i64(ir, spec->head_size), 1, 0, NULL);
  ir_store(ir, ir_load(ir, ir->f32, ir_at(ir, k, ir->f32, i.index), 4), hmoec_cpu_row(e, key, i.index, HMOE_PANEL), 4);
  ir_for_end(ir, &i, NULL);

  for (int64_t p = 0; p < panel_count(spec->head_size); p++) {
    int64_t left = spec->head_size - p * HMOE_PANEL, used = left < HMOE_PANEL ? left : HMOE_PANEL;
    MlirValue from = ir_at_constant(ir, v, ir->f32, p * HMOE_PANEL);
    MlirValue to = hmoec_cpu_row(e, values, ir_add_i(ir, ir_mul_i(ir, capacity, ir_i64(ir, p)), position), HMOE_PANEL);
    ir_lanes lanes;
    for (ir_lanes_begin(ir, &lanes, 0, used); ir_lanes_next(ir, &lanes);)
      ir_lanes_store(ir, &lanes, ir_lanes_load(ir, &lanes, ir->vf32, from), to);
    for (ir_lanes_begin(ir, &lanes, used, HMOE_PANEL); ir_lanes_next(ir, &lanes);)
      ir_lanes_store(ir, &lanes, ir_vector_f32(ir, 0.0f), to);
  }
}

/* Heads outermost: neighbouring positions write to the same cache lines of keys. */
void hmoec_cpu_emit_store(hmoec_cpu_emitter *e, const hmoec_store_spec *spec, const hmoec_cpu_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue k = hmoec_cpu_binding(e, task, 0), v = hmoec_cpu_binding(e, task, 1);
  MlirValue keys = hmoec_cpu_binding(e, task, 2), values = hmoec_cpu_binding(e, task, 3), begin, end;
  MlirValue length = hmoec_cpu_dim(e, task, 0), past = hmoec_cpu_dim(e, task, 1), capacity = hmoec_cpu_dim(e, task, 2);
  hmoec_cpu_row_range(e, task, task->task, spec->row_block, &begin, &end);
  ir_loop head, r;
  ir_for_begin(ir, &head, ir_i64(ir, 0), ir_i64(ir, spec->heads), 1, 0, NULL);
  MlirValue first = ir_mul_i(ir, head.index, ir_i64(ir, spec->head_size));
  ir_for_begin(ir, &r, begin, end, 1, 0, NULL);
  MlirValue row = ir_div_i(ir, r.index, length), position = ir_add_i(ir, past, ir_rem_i(ir, r.index, length));
  int64_t padded = panel_count(spec->head_size) * HMOE_PANEL;
  emit_store_head(e, spec, ir_at(ir, hmoec_cpu_row(e, k, r.index, spec->ld_k), ir->f32, first),
                  ir_at(ir, hmoec_cpu_row(e, v, r.index, spec->ld_v), ir->f32, first),
                  head_address(e, keys, row, head.index, spec->heads, capacity, spec->head_size),
                  head_address(e, values, row, head.index, spec->heads, capacity, padded), position, capacity);
  ir_for_end(ir, &r, NULL);
  ir_for_end(ir, &head, NULL);
}
