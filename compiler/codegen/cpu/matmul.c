/* MATMUL: one task is one block of rows and one share of the panels.
 *
 *   rows of A -> scratch (unless in place)
 *   for panels of the share, as many at once as the tile takes:
 *     for row tiles, evenly split:
 *       tile of sums by micro-kernel; epilogue
 *
 * A panel of weights is read once a row tile and stays in the second-level cache meanwhile. All row tiles of a task use the smallest
 * micro-kernel that holds the largest of them: rows it computes past a tile's end are never stored, and may be read (slack rows). */
#include "codegen/cpu/emit.h"

typedef struct block { MlirValue group, row, rows, dropped; } block; /* dropped: i1 */

static block load_block(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cpu_task *task, MlirValue number) {
  ir_builder *ir = &e->ir;
  block b = {0};
  if (spec->grouped) {
    MlirValue blocks = hmoec_cpu_binding(e, task, 3);
    MlirValue first = ir_at_constant(ir, blocks, ir->i32, sizeof(hmoe_blocks) / 4);
    MlirValue mine = hmoec_cpu_row(e, first, ir_add_i(ir, number, task->first_block), sizeof(hmoe_block) / 4);
    b.group = hmoec_cpu_index(e, mine, ir_i64(ir, 0));
    b.row = hmoec_cpu_index(e, mine, ir_i64(ir, 1));
    b.rows = hmoec_cpu_index(e, mine, ir_i64(ir, 2));
    b.dropped = ir_compare_i(ir, IR_NE, hmoec_cpu_index(e, mine, ir_i64(ir, 3)), ir_i64(ir, 0));
  } else {
    MlirValue end;
    hmoec_cpu_row_range(e, task, number, spec->row_block, &b.row, &end);
    b.rows = ir_sub_i(ir, end, b.row);
    b.group = ir_i64(ir, 0);
    b.dropped = ir_compare_i(ir, IR_NE, ir_i64(ir, 0), ir_i64(ir, 0));
  }
  return b;
}

/* The block's rows of A with the schedule's row stride: where they are, or their copy. */
static MlirValue place_a(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cpu_task *task, const block *b) {
  ir_builder *ir = &e->ir;
  MlirValue a = hmoec_cpu_binding(e, task, 0);
  if (spec->a_in_place) return hmoec_cpu_row(e, a, b->row, spec->lda);
  MlirValue copy = ir_at_constant(ir, task->scratch, ir->f32, HMOEC_TILE_BYTES / 4);
  MlirValue gather = spec->has_gather ? hmoec_cpu_binding(e, task, 4) : (MlirValue){NULL};
  ir_loop i;
  ir_for_begin(ir, &i, ir_i64(ir, 0), b->rows, 1, 0, NULL);
  MlirValue r = ir_add_i(ir, b->row, i.index);
  MlirValue from = hmoec_cpu_row(e, a, spec->has_gather ? hmoec_cpu_index(e, gather, r) : r, spec->lda);
  MlirValue to = hmoec_cpu_row(e, copy, i.index, e->unit->schedule.lda);
  ir_lanes lanes;
  for (ir_lanes_begin(ir, &lanes, 0, spec->k); ir_lanes_next(ir, &lanes);)
    ir_lanes_store(ir, &lanes, ir_lanes_load(ir, &lanes, ir->vf32, from), to);
  ir_for_end(ir, &i, NULL);
  return copy;
}

/* The smallest micro-kernel of at least `rows` rows, and how many panels it takes at once. */
static MlirValue choose_tile(hmoec_cpu_emitter *e, MlirValue rows, MlirValue *out_panels) {
  ir_builder *ir = &e->ir;
  int64_t sizes[HMOEC_MAX_TILES];
  size_t count = hmoec_cpu_tiles(e, sizes);
  MlirValue tile = {NULL};
  for (size_t i = count; i-- > 0;) {
    char name[256];
    hmoec_cpu_tile_name(e, sizes[i], name, sizeof name);
    MlirValue address = ir_address_of(ir, name), panels = ir_i64(ir, hmoec_cpu_tile_panels(e, sizes[i]));
    if (i + 1 == count) {
      tile = address;
      *out_panels = panels;
      continue;
    }
    MlirValue fits = ir_compare_i(ir, IR_LE, rows, ir_i64(ir, sizes[i]));
    tile = ir_select(ir, fits, address, tile);
    *out_panels = ir_select(ir, fits, panels, *out_panels);
  }
  return tile;
}

void hmoec_cpu_emit_matmul(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cpu_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue zero = ir_i64(ir, 0), one = ir_i64(ir, 1);
  int64_t panel_count = spec->segment[spec->segments - 1].panel_end;

  MlirValue split = ir_rem_i(ir, task->task, task->splits);
  block b = load_block(e, spec, task, ir_div_i(ir, task->task, task->splits));
  MlirValue a = place_a(e, spec, task, &b);

  hmoec_cpu_epilogue epilogue = {.c = hmoec_cpu_binding(e, task, 2), .dropped = b.dropped};
  if (spec->has_scatter) epilogue.scatter = hmoec_cpu_binding(e, task, 5);
  if (spec->has_bias) epilogue.bias = hmoec_cpu_row(e, hmoec_cpu_binding(e, task, 6), b.group, spec->bias_group_floats);
  if (spec->has_row_gate) epilogue.row_gate = hmoec_cpu_binding(e, task, 7);
  int64_t padded_n = (spec->n + HMOE_PANEL - 1) / HMOE_PANEL * HMOE_PANEL;
  if (spec->has_gated_bias) epilogue.gated_bias = hmoec_cpu_row(e, hmoec_cpu_binding(e, task, 8), b.group, padded_n);
  if (spec->has_pass) {
    epilogue.pass = hmoec_cpu_binding(e, task, 9);
    epilogue.pass_index = hmoec_cpu_binding(e, task, 10);
  }

  /* The share: panels [begin, end); a dropped block computes a corner only. */
  MlirValue panels = ir_i64(ir, panel_count);
  MlirValue begin = ir_div_i(ir, ir_mul_i(ir, split, panels), task->splits);
  MlirValue end = ir_div_i(ir, ir_mul_i(ir, ir_add_i(ir, split, one), panels), task->splits);
  MlirValue depth = ir_i64(ir, spec->k), depth_begin = zero;
  if (spec->grouped && spec->dropped_panel_begin > 0)
    begin = ir_max_i(ir, begin, ir_select(ir, b.dropped, ir_i64(ir, spec->dropped_panel_begin), zero));
  if (spec->grouped && spec->dropped_k_begin > 0) {
    depth_begin = ir_select(ir, b.dropped, ir_i64(ir, spec->dropped_k_begin), zero);
    depth = ir_sub_i(ir, depth, depth_begin);
    a = ir_at(ir, a, ir->f32, depth_begin);
  }
  MlirValue weights = hmoec_cpu_row(e, hmoec_cpu_binding(e, task, 1), b.group, spec->grouped ? spec->b_group_bytes / 4 : 0);
  weights = hmoec_cpu_row(e, weights, depth_begin, HMOE_PANEL);
  int64_t panel_floats = spec->k * HMOE_PANEL;
  MlirValue panel_stride = ir_i64(ir, panel_floats);

  /* Row tiles: `larger` of them have one row more than the others. */
  int64_t most = e->unit->schedule.tile_rows[e->version];
  MlirValue tiles = ir_div_i(ir, ir_add_i(ir, b.rows, ir_i64(ir, most - 1)), ir_i64(ir, most));
  tiles = ir_max_i(ir, tiles, one);
  MlirValue tile_rows = ir_div_i(ir, b.rows, tiles), larger = ir_rem_i(ir, b.rows, tiles);
  MlirValue largest = ir_add_i(ir, tile_rows, ir_min_i(ir, larger, one));
  MlirValue at_once, tile = choose_tile(e, largest, &at_once), single = tile;
  if (hmoec_cpu_tile_panels(e, 1) > 1) { /* the last panels of a share one by one, with a tile that takes one */
    int64_t sizes[HMOEC_MAX_TILES], smallest = most;
    size_t count = hmoec_cpu_tiles(e, sizes);
    for (size_t i = count; i-- > 0;)
      if (hmoec_cpu_tile_panels(e, sizes[i]) == 1) smallest = sizes[i];
    char name[256];
    hmoec_cpu_tile_name(e, smallest, name, sizeof name);
    MlirValue several = ir_compare_i(ir, IR_GT, at_once, one);
    single = ir_select(ir, several, ir_address_of(ir, name), tile);
  }
  MlirValue tile_stride = ir_div_i(ir, ir_i64(ir, HMOEC_TILE_BYTES / 4), at_once);

  ir_loop p;
  MlirValue share = ir_div_i(ir, ir_add_i(ir, ir_sub_i(ir, ir_max_i(ir, end, begin), begin), ir_sub_i(ir, at_once, one)), at_once);
  ir_for_begin(ir, &p, zero, share, 1, 0, NULL);
  MlirValue panel = ir_add_i(ir, begin, ir_mul_i(ir, p.index, at_once));
  MlirValue here = ir_min_i(ir, at_once, ir_sub_i(ir, end, panel));
  MlirValue right = hmoec_cpu_row(e, weights, panel, panel_floats);
  ir_loop t;
  ir_for_begin(ir, &t, zero, tiles, 1, 0, NULL);
  MlirValue tile_row = ir_add_i(ir, ir_mul_i(ir, t.index, tile_rows), ir_min_i(ir, t.index, larger));
  MlirValue rows = ir_add_i(ir, tile_rows, ir_select(ir, ir_compare_i(ir, IR_LT, t.index, larger), one, zero));
  MlirValue left = hmoec_cpu_row(e, a, tile_row, e->unit->schedule.lda);

  ir_branch whole;
  MlirValue nothing = {NULL};
  ir_if_begin(ir, &whole, ir_compare_i(ir, IR_EQ, here, at_once), (MlirType){NULL});
  ir_call(ir, tile, 5, (MlirValue[]){left, right, task->scratch, depth, panel_stride});
  ir_if_else(ir, &whole, nothing);
  ir_loop q;
  ir_for_begin(ir, &q, zero, here, 1, 0, NULL);
  ir_call(ir, single, 5,
          (MlirValue[]){left, hmoec_cpu_row(e, right, q.index, panel_floats),
                        ir_at(ir, task->scratch, ir->f32, ir_mul_i(ir, q.index, tile_stride)), depth, panel_stride});
  ir_for_end(ir, &q, NULL);
  ir_if_end(ir, &whole, nothing);

  ir_loop w;
  ir_for_begin(ir, &w, zero, here, 1, 0, NULL);
  hmoec_cpu_emit_epilogue(e, spec, &epilogue, ir_at(ir, task->scratch, ir->f32, ir_mul_i(ir, w.index, tile_stride)),
                          ir_add_i(ir, b.row, tile_row), rows, ir_add_i(ir, panel, w.index));
  ir_for_end(ir, &w, NULL);
  ir_for_end(ir, &t, NULL);
  ir_for_end(ir, &p, NULL);
}
