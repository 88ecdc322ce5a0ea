/* MATMUL: one task is one block of rows and one share of the panels. Rows of A go to scratch unless they can be read in place. */
#include "target/cpu/product.h"

/* Panels that shares are cut at multiples of: as many as the micro-kernel takes at once, or half as many, ..., so that at least every other share has
 * some. Fewer at once take longer, and so does the largest share of a few. */
static MlirValue share_unit(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cpu_task *task,
                            const cpu_tiling *tiling) {
  ir_builder *ir = &e->ir;
  MlirValue at_once = cpu_panels_at_once(e, tiling, spec->paired), unit = ir_i64(ir, 1);
  for (int64_t width = 2; width <= HMOEC_MOST_PANELS && width <= hmoec_cpu_panels(spec); width *= 2) {
    MlirValue wide = ir_i64(ir, width), can = ir_compare_i(ir, IR_GE, at_once, wide);
    MlirValue enough = ir_compare_i(ir, IR_LE, ir_mul_i(ir, task->splits, wide), ir_i64(ir, 2 * hmoec_cpu_panels(spec)));
    unit = ir_select(ir, ir_and(ir, can, enough), wide, unit);
  }
  return unit;
}

void hmoec_cpu_emit_matmul(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cpu_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue one = ir_i64(ir, 1);
  MlirValue split = ir_rem_i(ir, task->task, task->splits);
  cpu_block block = cpu_block_load(e, spec, task, ir_div_i(ir, task->task, task->splits));

  /* The share: panels [begin, end); a dropped block computes a corner only. */
  cpu_tiling tiling = cpu_tiling_choose(e, hmoec_cpu_tile_kind_of(spec), block.rows);
  MlirValue panels = ir_i64(ir, hmoec_cpu_panels(spec)), unit = share_unit(e, spec, task, &tiling);
  MlirValue units = ir_div_i(ir, ir_add_i(ir, panels, ir_sub_i(ir, unit, one)), unit);
  MlirValue first = ir_div_i(ir, ir_mul_i(ir, split, units), task->splits);
  MlirValue last = ir_div_i(ir, ir_mul_i(ir, ir_add_i(ir, split, one), units), task->splits);
  MlirValue begin = ir_mul_i(ir, first, unit), end = ir_min_i(ir, ir_mul_i(ir, last, unit), panels);
  begin = ir_max_i(ir, begin, cpu_dropped_begin(e, spec, &block, spec->dropped_column / HMOE_PANEL));
  cpu_block used = block;
  used.rows = ir_select(ir, ir_compare_i(ir, IR_LT, begin, end), block.rows, ir_i64(ir, 0));
  MlirValue a = cpu_place_a(e, spec, task, &used, ir_at_constant(ir, task->scratch, ir->f32, hmoec_cpu_tile_bytes(spec) / 4),
                            CPU_MATMUL_NORM);
  MlirValue depth_begin = cpu_dropped_begin(e, spec, &block, spec->dropped_k_begin);
  a = ir_at(ir, a, hmoec_is_bf16(spec->format) ? ir->i16 : ir->f32, depth_begin);
  cpu_product product = {.spec = spec,
                         .block = &block,
                         .tiling = &tiling,
                         .epilogue = cpu_epilogue_load(e, spec, task, &block),
                         .a = a,
                         .weights = cpu_weights(e, spec, hmoec_cpu_binding(e, task, 1), block.group, depth_begin),
                         .depth = ir_sub_i(ir, ir_i64(ir, spec->k), depth_begin),
                         .sums = task->scratch};
  hmoec_cpu_tiles_begin(e, hmoec_is_bf16(spec->format));
  cpu_product_emit(e, &product, begin, end);
  hmoec_cpu_tiles_end(e, hmoec_is_bf16(spec->format));
}
