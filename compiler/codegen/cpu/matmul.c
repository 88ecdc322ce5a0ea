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

typedef struct block {
  MlirValue group, row, rows, dropped;
} block; /* dropped: i1 */

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

/* How the rows of a block are cut: `count` tiles, the first `larger` of them one row larger than `rows`. */
typedef struct row_tiles {
  MlirValue count, rows, larger;
} row_tiles;

static row_tiles cut_rows(hmoec_cpu_emitter *e, MlirValue rows) {
  ir_builder *ir = &e->ir;
  int64_t most = e->unit->schedule.tile_rows[e->version];
  row_tiles t;
  t.count = ir_max_i(ir, ir_div_i(ir, ir_add_i(ir, rows, ir_i64(ir, most - 1)), ir_i64(ir, most)), ir_i64(ir, 1));
  t.rows = ir_div_i(ir, rows, t.count);
  t.larger = ir_rem_i(ir, rows, t.count);
  return t;
}

/* The micro-kernel of a task: it takes `panels` at once; what is left of a share is done one by one, by `single`. */
typedef struct tile_choice {
  MlirValue tile, single, panels;
} tile_choice;

static MlirValue tile_address(hmoec_cpu_emitter *e, int64_t rows) {
  char name[256];
  hmoec_cpu_tile_name(e, rows, name, sizeof name);
  return ir_address_of(&e->ir, name);
}

/* The smallest that holds `rows`. */
static tile_choice choose_tile(hmoec_cpu_emitter *e, MlirValue rows) {
  ir_builder *ir = &e->ir;
  int64_t sizes[HMOEC_MAX_TILES];
  size_t last = hmoec_cpu_tiles(e, sizes) - 1;
  MlirValue address = tile_address(e, sizes[last]);
  tile_choice choice = {.tile = address, .single = address, .panels = ir_i64(ir, hmoec_cpu_tile_panels(e, sizes[last]))};
  MlirValue smallest_single = address;
  for (size_t i = last; i-- > 0;) {
    int64_t panels = hmoec_cpu_tile_panels(e, sizes[i]);
    MlirValue fits = ir_compare_i(ir, IR_LE, rows, ir_i64(ir, sizes[i]));
    address = tile_address(e, sizes[i]);
    if (panels == 1) smallest_single = address;
    choice.tile = ir_select(ir, fits, address, choice.tile);
    choice.single = ir_select(ir, fits, smallest_single, choice.single);
    choice.panels = ir_select(ir, fits, ir_i64(ir, panels), choice.panels);
  }
  return choice;
}

static hmoec_cpu_epilogue load_epilogue(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cpu_task *task,
                                        const block *b) {
  int64_t padded_n = (spec->n + HMOE_PANEL - 1) / HMOE_PANEL * HMOE_PANEL;
  hmoec_cpu_epilogue epilogue = {.c = hmoec_cpu_binding(e, task, 2), .dropped = b->dropped};
  if (spec->has_scatter) epilogue.scatter = hmoec_cpu_binding(e, task, 5);
  if (spec->has_bias) epilogue.bias = hmoec_cpu_row(e, hmoec_cpu_binding(e, task, 6), b->group, spec->bias_group_floats);
  if (spec->has_row_gate) epilogue.row_gate = hmoec_cpu_binding(e, task, 7);
  if (spec->has_gated_bias) epilogue.gated_bias = hmoec_cpu_row(e, hmoec_cpu_binding(e, task, 8), b->group, padded_n);
  if (spec->has_pass) {
    epilogue.pass = hmoec_cpu_binding(e, task, 9);
    epilogue.pass_index = hmoec_cpu_binding(e, task, 10);
  }
  return epilogue;
}

/* All row tiles of the `here` panels from `panel` on; `a` and `weights` at the first row, panel and k. */
static void emit_panels(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cpu_task *task, const block *b,
                        const hmoec_cpu_epilogue *epilogue, const row_tiles *tiles, const tile_choice *choice, MlirValue a,
                        MlirValue weights, MlirValue depth, MlirValue panel, MlirValue here) {
  ir_builder *ir = &e->ir;
  MlirValue zero = ir_i64(ir, 0), one = ir_i64(ir, 1), nothing = {NULL};
  int64_t panel_floats = spec->k * HMOE_PANEL;
  MlirValue panel_stride = ir_i64(ir, panel_floats), right = hmoec_cpu_row(e, weights, panel, panel_floats);
  MlirValue sums_stride = ir_div_i(ir, ir_i64(ir, HMOEC_TILE_BYTES / 4), choice->panels);

  ir_loop t;
  ir_for_begin(ir, &t, zero, tiles->count, 1, 0, NULL);
  MlirValue tile_row = ir_add_i(ir, ir_mul_i(ir, t.index, tiles->rows), ir_min_i(ir, t.index, tiles->larger));
  MlirValue rows = ir_add_i(ir, tiles->rows, ir_select(ir, ir_compare_i(ir, IR_LT, t.index, tiles->larger), one, zero));
  MlirValue left = hmoec_cpu_row(e, a, tile_row, e->unit->schedule.lda);

  ir_branch whole;
  ir_if_begin(ir, &whole, ir_compare_i(ir, IR_EQ, here, choice->panels), (MlirType){NULL});
  ir_call(ir, choice->tile, 5, (MlirValue[]){left, right, task->scratch, depth, panel_stride});
  ir_if_else(ir, &whole, nothing);
  ir_loop q;
  ir_for_begin(ir, &q, zero, here, 1, 0, NULL);
  MlirValue sums = ir_at(ir, task->scratch, ir->f32, ir_mul_i(ir, q.index, sums_stride));
  ir_call(ir, choice->single, 5, (MlirValue[]){left, hmoec_cpu_row(e, right, q.index, panel_floats), sums, depth, panel_stride});
  ir_for_end(ir, &q, NULL);
  ir_if_end(ir, &whole, nothing);

  ir_loop w;
  ir_for_begin(ir, &w, zero, here, 1, 0, NULL);
  sums = ir_at(ir, task->scratch, ir->f32, ir_mul_i(ir, w.index, sums_stride));
  hmoec_cpu_emit_epilogue(e, spec, epilogue, sums, ir_add_i(ir, b->row, tile_row), rows, ir_add_i(ir, panel, w.index));
  ir_for_end(ir, &w, NULL);
  ir_for_end(ir, &t, NULL);
}

void hmoec_cpu_emit_matmul(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cpu_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue zero = ir_i64(ir, 0), one = ir_i64(ir, 1);
  MlirValue split = ir_rem_i(ir, task->task, task->splits);
  block b = load_block(e, spec, task, ir_div_i(ir, task->task, task->splits));
  MlirValue a = place_a(e, spec, task, &b);
  hmoec_cpu_epilogue epilogue = load_epilogue(e, spec, task, &b);

  /* The share: panels [begin, end); a dropped block computes a corner only. */
  MlirValue panels = ir_i64(ir, spec->segment[spec->segments - 1].panel_end);
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

  row_tiles tiles = cut_rows(e, b.rows);
  tile_choice choice = choose_tile(e, ir_add_i(ir, tiles.rows, ir_min_i(ir, tiles.larger, one)));
  MlirValue rounded = ir_add_i(ir, ir_sub_i(ir, ir_max_i(ir, end, begin), begin), ir_sub_i(ir, choice.panels, one));
  ir_loop p;
  ir_for_begin(ir, &p, zero, ir_div_i(ir, rounded, choice.panels), 1, 0, NULL);
  MlirValue panel = ir_add_i(ir, begin, ir_mul_i(ir, p.index, choice.panels));
  MlirValue here = ir_min_i(ir, choice.panels, ir_sub_i(ir, end, panel));
  emit_panels(e, spec, task, &b, &epilogue, &tiles, &choice, a, weights, depth, panel, here);
  ir_for_end(ir, &p, NULL);
}
