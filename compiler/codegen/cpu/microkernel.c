/* Register-tiled products, shared by all matmuls of an object.
 *
 *   tile(a, b, c, k, panel_stride): for r < R, n < columns of P panels:  c[r][n] = sum over i < k ascending of a[r][i] * b[i][n]
 *
 * a has the schedule's row stride, a constant, so that one register addresses all rows; a panel of b has HMOE_PANEL floats a k; panels
 * are panel_stride floats apart, and their tiles in c HMOEC_TILE_ROWS / P rows. The R x V accumulators stay in registers: they are the
 * loop's arguments, and a value is one accumulator summed in order, whatever R and V. Few rows get more vectors, to hide the latency of
 * the multiply-add and to keep several streams of weights in flight; narrow versions walk a panel in parts, a chunk
 * of k at a time, carrying the sums in the tile. */
#include <stdio.h>

#include "codegen/cpu/emit.h"

enum { MAX_ROWS = HMOEC_TILE_ROWS, MAX_COLUMNS = 4 * HMOE_PANEL, HIDE_LATENCY = 8 /* accumulators */, CHUNK = 64 /* k */ };

size_t hmoec_cpu_tiles(const hmoec_cpu_emitter *e, int64_t out_rows[HMOEC_MAX_TILES]) {
  int64_t most = e->unit->schedule.tile_rows[e->version];
  size_t count = 0;
  for (int64_t rows = 1; rows <= most; rows++)
    if (rows <= 6 || rows % 2 == 0 || rows == most) out_rows[count++] = rows;
  return count;
}

static int64_t tile_columns(const hmoec_cpu_emitter *e, int64_t rows) {
  int64_t vectors = e->unit->schedule.tile_vectors[e->version];
  while (rows * vectors < HIDE_LATENCY && vectors * e->ir.lanes < MAX_COLUMNS) vectors *= 2;
  return vectors * e->ir.lanes;
}

int64_t hmoec_cpu_tile_panels(const hmoec_cpu_emitter *e, int64_t rows) {
  int64_t columns = tile_columns(e, rows);
  return columns > HMOE_PANEL ? columns / HMOE_PANEL : 1;
}

void hmoec_cpu_tile_name(const hmoec_cpu_emitter *e, int64_t rows, char *out_name, size_t size) {
  snprintf(out_name, size, "%s_tile%d_%s", e->unit->name, (int)rows, hmoec_cpu_versions[e->version].name);
}

/* Sums k in [low, high) into the tile, for the vectors from `column` on. */
static void emit_pass(hmoec_cpu_emitter *e, int64_t rows, int64_t vectors, const MlirValue arguments[5], MlirValue column,
                      MlirValue low, MlirValue high, bool in_parts) {
  ir_builder *ir = &e->ir;
  MlirValue a = arguments[0], b = arguments[1], c = ir_at(ir, arguments[2], ir->f32, column), panel_stride = arguments[4];
  int64_t lanes = ir->lanes, per_panel = HMOE_PANEL / lanes, panels = hmoec_cpu_tile_panels(e, rows);
  MlirValue sums[IR_LOOP_ARGS], to[IR_LOOP_ARGS], zero = ir_vector_f32(ir, 0.0f), panel_base[MAX_COLUMNS / HMOE_PANEL];
  for (int64_t i = 0; i < rows * vectors; i++) {
    int64_t v = i % vectors, row = v / per_panel * (HMOEC_TILE_ROWS / panels) + i / vectors;
    to[i] = ir_at_constant(ir, c, ir->f32, row * HMOE_PANEL + v % per_panel * lanes);
    sums[i] = in_parts ? ir_load(ir, ir->vf32, to[i], 4 * lanes) : zero;
  }
  panel_base[0] = ir_at(ir, b, ir->f32, column);
  for (int64_t p = 1; p < panels; p++) panel_base[p] = ir_at(ir, panel_base[p - 1], ir->f32, panel_stride);

  ir_loop k;
  ir_for_begin(ir, &k, low, high, 1, (intptr_t)(rows * vectors), sums);
  MlirValue a_k = ir_at(ir, a, ir->f32, k.index);
  MlirValue b_offset = ir_mul_i(ir, k.index, ir_i64(ir, HMOE_PANEL)), b_k[MAX_COLUMNS / HMOE_PANEL], right[IR_LOOP_ARGS];
  for (int64_t p = 0; p < panels; p++) b_k[p] = ir_at(ir, panel_base[p], ir->f32, b_offset);
  if (in_parts) { /* the next chunk, in the order it lies in memory: each part's pass fetches its share */
    MlirValue ahead =
        ir_at(ir, ir_at_constant(ir, b, ir->f32, CHUNK * HMOE_PANEL), ir->f32, ir_mul_i(ir, low, ir_i64(ir, HMOE_PANEL)));
    ahead = ir_at(ir, ahead, ir->f32, ir_mul_i(ir, column, ir_i64(ir, CHUNK)));
    MlirValue done = ir_sub_i(ir, k.index, low);
    ir_prefetch(ir, ir_at(ir, ahead, ir->f32, ir_mul_i(ir, done, ir_i64(ir, vectors * lanes))));
  }
  /* The shorter side stays in registers while the longer passes by, one register at a time. */
  MlirValue left[IR_LOOP_ARGS];
  bool by_rows = rows >= vectors;
  for (int64_t i = 0; i < rows + vectors; i++) {
    bool is_left = by_rows ? i >= vectors : i < rows;
    int64_t r = by_rows ? i - vectors : i, v = by_rows ? i : i - rows;
    if (is_left) left[r] = ir_splat(ir, ir_load(ir, ir->f32, ir_at_constant(ir, a_k, ir->f32, r * e->unit->schedule.lda), 4));
    else right[v] = ir_load(ir, ir->vf32, ir_at_constant(ir, b_k[v / per_panel], ir->f32, v % per_panel * lanes), 4);
    if (i < (by_rows ? vectors : rows)) continue;
    for (int64_t j = 0; j < (by_rows ? vectors : rows); j++) {
      int64_t row = by_rows ? r : j, vector = by_rows ? j : v, sum = row * vectors + vector;
      sums[sum] = ir_fma(ir, left[row], right[vector], k.args[sum]);
    }
  }
  ir_for_end(ir, &k, sums);
  for (int64_t i = 0; i < rows * vectors; i++) ir_store(ir, k.args[i], to[i], 4 * lanes);
}

/* A panel in parts: for chunks of k, for parts: the chunk of weights comes from far once, and is prefetched a chunk ahead. */
static void emit_parts(hmoec_cpu_emitter *e, int64_t rows, int64_t vectors, const MlirValue arguments[5]) {
  ir_builder *ir = &e->ir;
  MlirValue zero = ir_vector_f32(ir, 0.0f), depth = arguments[3];
  for (int64_t i = 0; i < rows * HMOE_PANEL; i += ir->lanes)
    ir_store(ir, zero, ir_at_constant(ir, arguments[2], ir->f32, i), 4 * ir->lanes);
  ir_loop chunk, part;
  ir_for_begin(ir, &chunk, ir_i64(ir, 0), depth, CHUNK, 0, NULL);
  MlirValue high = ir_min_i(ir, ir_add_i(ir, chunk.index, ir_i64(ir, CHUNK)), depth);
  ir_for_begin(ir, &part, ir_i64(ir, 0), ir_i64(ir, HMOE_PANEL), vectors * ir->lanes, 0, NULL);
  emit_pass(e, rows, vectors, arguments, part.index, chunk.index, high, true);
  ir_for_end(ir, &part, NULL);
  ir_for_end(ir, &chunk, NULL);
}

static void emit_tile(hmoec_cpu_emitter *e, int64_t rows) {
  ir_builder *ir = &e->ir;
  MlirType types[5] = {ir->ptr, ir->ptr, ir->ptr, ir->i64, ir->i64};
  MlirValue arguments[5];
  char name[256];
  hmoec_cpu_tile_name(e, rows, name, sizeof name);
  ir_function_begin(ir, e->module_body, name, 5, types, e->attributes, arguments);
  int64_t columns = tile_columns(e, rows), vectors = columns / ir->lanes;
  if (columns < HMOE_PANEL) emit_parts(e, rows, vectors, arguments);
  else emit_pass(e, rows, vectors, arguments, ir_i64(ir, 0), ir_i64(ir, 0), arguments[3], false);
  ir_function_end(ir);
}

void hmoec_cpu_emit_microkernels(hmoec_cpu_emitter *e) {
  int64_t rows[HMOEC_MAX_TILES];
  size_t count = hmoec_cpu_tiles(e, rows);
  for (size_t i = 0; i < count; i++) emit_tile(e, rows[i]);
}
