/* FFN: one task is one block of rows through both products.
 *
 *   rows of A -> scratch
 *   for chunks of the hidden columns:
 *     hidden chunk = epilogue1(A B1[:, chunk])         scratch, [rows, lda]
 *     sums += hidden chunk * B2[chunk, :]              scratch, [panels][rows][HMOE_PANEL]
 *   C = epilogue2(sums)
 *
 * A value of C is still one accumulator summed in ascending k: it waits in memory between chunks, and loses nothing. A dropped block begins
 * at the columns that capacity does not cut. */
#include "target/cpu/product.h"

static int64_t row_bytes(const hmoec_cpu_schedule *schedule, bool bf16) {
  return bf16 ? 2 * schedule->lda_bf16 : 4 * schedule->lda;
}

static int64_t operand_bytes(const hmoec_cpu_schedule *schedule, const hmoec_ffn_spec *spec) {
  return (spec->first.row_block + HMOEC_SLACK_ROWS) * row_bytes(schedule, hmoec_is_bf16(spec->first.format));
}

hmoec_cpu_tile_kind hmoec_cpu_ffn_tile_kind(const hmoec_ffn_spec *spec) {
  return hmoec_is_bf16(spec->first.format) ? HMOEC_TILE_BF16 : HMOEC_TILE_F32;
}

uint64_t hmoec_cpu_ffn_scratch_bytes(const hmoec_cpu_schedule *schedule, const hmoec_ffn_spec *spec) {
  int64_t panels = hmoec_cpu_panels(&spec->second);
  int64_t sums = panels * cpu_sums_rows(schedule, hmoec_is_bf16(spec->second.format), spec->second.row_block) * HMOE_PANEL * 4;
  return (uint64_t)(hmoec_cpu_tile_bytes(&spec->first) + 2 * operand_bytes(schedule, spec) + sums);
}

void hmoec_cpu_emit_ffn(hmoec_cpu_emitter *e, const hmoec_ffn_spec *spec, const hmoec_cpu_task *task) {
  ir_builder *ir = &e->ir;
  const hmoec_matmul_spec *first = &spec->first, *second = &spec->second;
  const hmoec_cpu_schedule *schedule = &e->unit->schedule;
  MlirType element = hmoec_is_bf16(second->format) ? ir->i16 : ir->f32;
  int64_t lda = hmoec_is_bf16(second->format) ? schedule->lda_bf16 : schedule->lda;
  MlirValue zero = ir_i64(ir, 0), copy = ir_at_constant(ir, task->scratch, ir->f32, hmoec_cpu_tile_bytes(first) / 4);
  MlirValue hidden = ir_at_constant(ir, copy, ir->f32, operand_bytes(schedule, spec) / 4);

  cpu_block block = cpu_block_load(e, first, task, task->task);
  cpu_tiling tiling = cpu_tiling_choose(e, hmoec_cpu_ffn_tile_kind(spec), block.rows);
  MlirValue a = cpu_place_a(e, first, task, &block, copy, CPU_FFN_NORM), b1 = hmoec_cpu_binding(e, task, 11),
            b2 = hmoec_cpu_binding(e, task, 1);
  MlirValue first_k = cpu_dropped_begin(e, first, &block, first->dropped_k_begin);
  MlirValue down_begin = cpu_dropped_begin(e, second, &block, second->dropped_column / HMOE_PANEL);
  cpu_product down = {.spec = second,
                      .block = &block,
                      .tiling = &tiling,
                      .epilogue = cpu_epilogue_load(e, second, task, &block),
                      .a = hidden,
                      .sums = ir_at_constant(ir, hidden, ir->f32, operand_bytes(schedule, spec) / 4),
                      .sums_rows = cpu_sums_rows(schedule, hmoec_is_bf16(second->format), second->row_block)};
  cpu_product up = {.spec = first,
                    .block = &block,
                    .tiling = &tiling,
                    .a = ir_at(ir, a, element, first_k),
                    .weights = cpu_weights(e, first, b1, block.group, first_k),
                    .depth = ir_sub_i(ir, ir_i64(ir, first->k), first_k),
                    .sums = task->scratch};
  up.epilogue = (hmoec_cpu_epilogue){.dropped = block.dropped, .row_gate = down.epilogue.row_gate};
  if (first->has_row_gate && !second->has_row_gate) up.epilogue.row_gate = hmoec_cpu_binding(e, task, 7);
  if (first->has_bias) up.epilogue.bias = hmoec_cpu_row(e, hmoec_cpu_binding(e, task, 12), block.group, first->bias_group_floats);

  hmoec_cpu_tiles_begin(e, hmoec_is_bf16(first->format));
  cpu_product_clear(e, &down, down_begin);
  MlirValue begin = cpu_dropped_begin(e, first, &block, first->dropped_column / HMOE_PANEL);
  MlirValue panels = ir_i64(ir, hmoec_cpu_panels(first));
  MlirValue all_k = ir_i64(ir, second->k), down_panels = ir_i64(ir, hmoec_cpu_panels(second));
  int64_t chunk_panels = spec->chunk_columns / HMOE_PANEL;
  ir_loop chunk;
  ir_for_begin(ir, &chunk, begin, panels, chunk_panels, 0, NULL);
  MlirValue end = ir_min_i(ir, ir_add_i(ir, chunk.index, ir_i64(ir, chunk_panels)), panels);
  MlirValue k = ir_mul_i(ir, chunk.index, ir_i64(ir, HMOE_PANEL));
  down.weights = cpu_weights(e, second, b2, block.group, k);
  down.depth = ir_sub_i(ir, ir_min_i(ir, ir_mul_i(ir, end, ir_i64(ir, HMOE_PANEL)), all_k), k);
  down.after = hmoec_cpu_row(e, up.weights, cpu_right_panel(e, first, end), cpu_panel_words(first));
  up.after = down.weights;
  /* Rows of the block and columns of the chunk start at the hidden scratch. */
  MlirValue before = ir_add_i(ir, ir_mul_i(ir, block.row, ir_i64(ir, lda)), k);
  up.epilogue.c = ir_at(ir, hidden, element, ir_sub_i(ir, zero, before));
  hmoec_matmul_spec to_scratch = *first;
  to_scratch.c_stride = lda;
  up.spec = &to_scratch;
  cpu_product_emit(e, &up, chunk.index, end);
  cpu_product_emit(e, &down, down_begin, down_panels);
  ir_for_end(ir, &chunk, NULL);
  cpu_product_finish(e, &down, down_begin);
  hmoec_cpu_tiles_end(e, hmoec_is_bf16(first->format));
}
