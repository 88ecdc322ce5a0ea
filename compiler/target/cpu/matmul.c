/* MATMUL: one task is one block of rows and one share of the panels. Rows of A go to scratch unless they can be read in place. */
#include "target/cpu/product.h"

void hmoec_cpu_emit_matmul(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cpu_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue one = ir_i64(ir, 1);
  MlirValue split = ir_rem_i(ir, task->task, task->splits);
  cpu_block block = cpu_block_load(e, spec, task, ir_div_i(ir, task->task, task->splits));
  MlirValue a = cpu_place_a(e, spec, task, &block, ir_at_constant(ir, task->scratch, ir->f32, hmoec_cpu_tile_bytes(spec) / 4),
                            CPU_MATMUL_NORM);

  /* The share: panels [begin, end), whole groups of what the micro-kernel takes at once; a dropped block computes a corner only. */
  cpu_tiling tiling = cpu_tiling_choose(e, hmoec_cpu_tile_kind_of(spec), block.rows, INT64_MAX);
  MlirValue panels = ir_i64(ir, hmoec_cpu_panels(spec)), at_once = cpu_panels_at_once(e, &tiling, spec->paired);
  MlirValue groups = ir_div_i(ir, ir_add_i(ir, panels, ir_sub_i(ir, at_once, one)), at_once);
  MlirValue first = ir_div_i(ir, ir_mul_i(ir, split, groups), task->splits);
  MlirValue last = ir_div_i(ir, ir_mul_i(ir, ir_add_i(ir, split, one), groups), task->splits);
  MlirValue begin = ir_mul_i(ir, first, at_once), end = ir_min_i(ir, ir_mul_i(ir, last, at_once), panels);
  begin = ir_max_i(ir, begin, cpu_dropped_begin(e, spec, &block, spec->dropped_column / HMOE_PANEL));
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
