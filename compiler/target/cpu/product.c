/* See product.h. A product walks panels outermost and row tiles innermost: a panel of weights is read once a row tile and stays in the
 * second-level cache meanwhile. The first of several tiles fetches the next panel, an only one what it will read itself a little later. */
#include "target/cpu/product.h"

cpu_block cpu_block_load(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cpu_task *task, MlirValue number) {
  ir_builder *ir = &e->ir;
  cpu_block b = {0};
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

/* One row of A to scratch; of a bf16 product with zeros up to a multiple of 32. */
static void copy_row(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cpu_norm *norm, MlirValue from,
                     MlirValue to) {
  ir_builder *ir = &e->ir;
  bool is_normalised = norm->kind != HMOEC_NORM_NONE;
  ir_lanes lanes;
  if (is_normalised) hmoec_cpu_emit_normalised(e, norm, from, to);
  for (ir_lanes_begin(ir, &lanes, 0, is_normalised ? 0 : spec->k); ir_lanes_next(ir, &lanes);) {
    MlirValue values = ir_lanes_load(ir, &lanes, hmoec_is_bf16(spec->a_format) ? ir->vi16 : ir->vf32, from);
    ir_lanes_store(ir, &lanes, hmoec_is_bf16(spec->format) && !hmoec_is_bf16(spec->a_format) ? ir_to_bf16(ir, values) : values, to);
  }
  int64_t padded = (spec->k + HMOE_PANEL - 1) / HMOE_PANEL * HMOE_PANEL;
  if (hmoec_is_bf16(spec->format))
    for (ir_lanes_begin(ir, &lanes, spec->k, padded); ir_lanes_next(ir, &lanes);)
      ir_lanes_store(ir, &lanes, ir_vector_i16(ir, 0), to);
}

MlirValue cpu_place_a(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cpu_task *task, const cpu_block *block,
                      MlirValue copy, int64_t norm_binding) {
  ir_builder *ir = &e->ir;
  MlirValue a = hmoec_cpu_binding(e, task, 0);
  MlirType element = hmoec_is_bf16(spec->a_format) ? ir->i16 : ir->f32;
  if (spec->a_in_place) return hmoec_cpu_row_of(e, a, element, block->row, spec->a_stride);
  MlirValue gather = spec->has_gather ? hmoec_cpu_binding(e, task, 4) : (MlirValue){NULL};
  hmoec_cpu_norm norm = {.kind = spec->norm,
                         .n = spec->k,
                         .epsilon = (float)spec->norm_epsilon,
                         .scale = (float)spec->norm_scale,
                         .to_bf16 = hmoec_is_bf16(spec->format)};
  if (spec->norm != HMOEC_NORM_NONE) norm.weight = hmoec_cpu_binding(e, task, norm_binding);
  if (spec->norm == HMOEC_NORM_LAYER) norm.bias = hmoec_cpu_binding(e, task, norm_binding + 1);
  ir_loop i;
  ir_for_begin(ir, &i, ir_i64(ir, 0), block->rows, 1, 0, NULL);
  MlirValue r = ir_add_i(ir, block->row, i.index);
  MlirValue from = hmoec_cpu_row_of(e, a, element, spec->has_gather ? hmoec_cpu_index(e, gather, r) : r, spec->a_stride);
  MlirValue to = hmoec_is_bf16(spec->format) ? hmoec_cpu_row_of(e, copy, ir->i16, i.index, e->unit->schedule.lda_bf16)
                                             : hmoec_cpu_row(e, copy, i.index, e->unit->schedule.lda);
  copy_row(e, spec, &norm, from, to);
  ir_for_end(ir, &i, NULL);
  return copy;
}

static MlirValue tile_address(hmoec_cpu_emitter *e, hmoec_cpu_tile_kind kind, int64_t rows) {
  char name[256];
  hmoec_cpu_tile_name(e, kind, rows, name, sizeof name);
  return ir_address_of(&e->ir, name);
}

cpu_tiling cpu_tiling_choose(hmoec_cpu_emitter *e, hmoec_cpu_tile_kind kind, MlirValue rows) {
  ir_builder *ir = &e->ir;
  int64_t sizes[HMOEC_MAX_TILES];
  size_t last = hmoec_cpu_tiles(e, kind, sizes) - 1;
  MlirValue most = ir_i64(ir, sizes[last]), address = tile_address(e, kind, sizes[last]), one = ir_i64(ir, 1);
  cpu_tiling t = {
      .tile = address, .smaller = address, .panels = ir_i64(ir, hmoec_cpu_tile_panels(e, kind, sizes[last])), .tile_rows = most};
  t.count = ir_max_i(ir, ir_div_i(ir, ir_add_i(ir, rows, ir_i64(ir, sizes[last] - 1)), most), one);
  t.rows = ir_div_i(ir, rows, t.count);
  t.larger = ir_rem_i(ir, rows, t.count);
  MlirValue largest = ir_add_i(ir, t.rows, ir_min_i(ir, t.larger, one));
  for (size_t i = last; i-- > 0;) {
    MlirValue size = ir_i64(ir, sizes[i]), fits = ir_compare_i(ir, IR_LE, largest, size);
    address = tile_address(e, kind, sizes[i]);
    t.tile = ir_select(ir, fits, address, t.tile);
    t.smaller = ir_select(ir, ir_compare_i(ir, IR_LE, t.rows, size), address, t.smaller);
    t.panels = ir_select(ir, fits, ir_i64(ir, hmoec_cpu_tile_panels(e, kind, sizes[i])), t.panels);
    t.tile_rows = ir_select(ir, fits, size, t.tile_rows);
  }
  return t;
}

int64_t cpu_panel_words(const hmoec_matmul_spec *spec) {
  int64_t padded = (spec->k + HMOE_PANEL - 1) / HMOE_PANEL * HMOE_PANEL;
  return (hmoec_is_bf16(spec->format) ? padded / 2 : spec->k) * HMOE_PANEL;
}

MlirValue cpu_weights(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, MlirValue b, MlirValue group, MlirValue k) {
  MlirValue weights = hmoec_cpu_row(e, b, group, spec->grouped ? spec->b_group_bytes / 4 : 0);
  return hmoec_cpu_row(e, weights, k, hmoec_is_bf16(spec->format) ? HMOE_PANEL / 2 : HMOE_PANEL);
}

hmoec_cpu_epilogue cpu_epilogue_load(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cpu_task *task,
                                     const cpu_block *block) {
  int64_t padded_n = (spec->n + HMOE_PANEL - 1) / HMOE_PANEL * HMOE_PANEL;
  hmoec_cpu_epilogue epilogue = {.c = hmoec_cpu_binding(e, task, 2), .dropped = block->dropped};
  if (spec->has_scatter) epilogue.scatter = hmoec_cpu_binding(e, task, 5);
  if (spec->has_bias) epilogue.bias = hmoec_cpu_row(e, hmoec_cpu_binding(e, task, 6), block->group, spec->bias_group_floats);
  if (spec->has_row_gate) epilogue.row_gate = hmoec_cpu_binding(e, task, 7);
  if (spec->has_gated_bias) epilogue.gated_bias = hmoec_cpu_row(e, hmoec_cpu_binding(e, task, 8), block->group, padded_n);
  if (spec->has_pass) {
    epilogue.pass = hmoec_cpu_binding(e, task, 9);
    epilogue.pass_index = hmoec_cpu_binding(e, task, 10);
  }
  return epilogue;
}

void cpu_tile_range(hmoec_cpu_emitter *e, const cpu_tiling *tiling, MlirValue number, MlirValue *out_row, MlirValue *out_rows) {
  ir_builder *ir = &e->ir;
  MlirValue is_larger = ir_compare_i(ir, IR_LT, number, tiling->larger);
  *out_row = ir_add_i(ir, ir_mul_i(ir, number, tiling->rows), ir_min_i(ir, number, tiling->larger));
  *out_rows = ir_add_i(ir, tiling->rows, ir_select(ir, is_larger, ir_i64(ir, 1), ir_i64(ir, 0)));
}

/* Sums of row tile `number` and of a panel; the stride of panels among them is in *out_stride. */
static MlirValue sums_of(hmoec_cpu_emitter *e, const cpu_product *p, MlirValue number, MlirValue panel, MlirValue *out_stride) {
  ir_builder *ir = &e->ir;
  if (!p->sums_rows) {
    *out_stride = ir_mul_i(ir, p->tiling->tile_rows, ir_i64(ir, HMOE_PANEL));
    return p->sums;
  }
  *out_stride = ir_i64(ir, p->sums_rows * HMOE_PANEL);
  MlirValue sums = hmoec_cpu_row(e, p->sums, panel, p->sums_rows * HMOE_PANEL);
  return hmoec_cpu_row(e, sums, ir_mul_i(ir, number, p->tiling->tile_rows), HMOE_PANEL);
}

void cpu_sums_clear(hmoec_cpu_emitter *e, MlirValue sums, MlirValue rows) {
  ir_builder *ir = &e->ir;
  MlirValue zero = ir_vector_f32(ir, 0.0f);
  ir_loop r;
  ir_for_begin(ir, &r, ir_i64(ir, 0), rows, 1, 0, NULL);
  MlirValue row = hmoec_cpu_row(e, sums, r.index, HMOE_PANEL);
  for (int64_t c = 0; c < HMOE_PANEL; c += ir->lanes) ir_store(ir, zero, ir_at_constant(ir, row, ir->f32, c), 4 * ir->lanes);
  ir_for_end(ir, &r, NULL);
}

void cpu_tile_emit(hmoec_cpu_emitter *e, const cpu_tiling *tiling, MlirValue number, const cpu_tile_product *p) {
  ir_builder *ir = &e->ir;
  MlirValue tile = ir_select(ir, ir_compare_i(ir, IR_LT, number, tiling->larger), tiling->tile, tiling->smaller);
  ir_call(ir, tile, HMOEC_TILE_ARGUMENTS,
          (MlirValue[HMOEC_TILE_ARGUMENTS]){p->left, p->right, p->sums, p->depth, p->right_stride, p->sums_stride, p->next,
                                            p->next_stride, p->panels});
}

MlirValue cpu_right_panel(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, MlirValue panel) {
  ir_builder *ir = &e->ir;
  return spec->paired ? ir_add_i(ir, panel, ir_min_i(ir, panel, ir_i64(ir, hmoec_cpu_paired_panels(spec)))) : panel;
}

MlirValue cpu_panels_at_once(hmoec_cpu_emitter *e, const cpu_tiling *tiling, bool pairs) {
  ir_builder *ir = &e->ir;
  if (!pairs) return tiling->panels;
  return ir_div_i(ir, ir_add_i(ir, tiling->panels, ir_i64(ir, 1)), ir_i64(ir, 2));
}

/* All row tiles of the `here` panels of C from `panel` on, which are pairs or not. `next` is what is read after them, and its panels lie next_stride
 * apart. */
static void emit_panels(hmoec_cpu_emitter *e, const cpu_product *p, bool pairs, MlirValue panel, MlirValue here, MlirValue next,
                        MlirValue next_stride) {
  ir_builder *ir = &e->ir;
  const cpu_tiling *tiling = p->tiling;
  MlirValue zero = ir_i64(ir, 0);
  int64_t panel_words = cpu_panel_words(p->spec);
  MlirValue right = hmoec_cpu_row(e, p->weights, cpu_right_panel(e, p->spec, panel), panel_words);
  MlirValue is_only = ir_compare_i(ir, IR_EQ, tiling->count, ir_i64(ir, 1));

  ir_loop t;
  ir_for_begin(ir, &t, zero, tiling->count, 1, 0, NULL);
  MlirValue tile_row, rows, stride, sums = sums_of(e, p, t.index, panel, &stride);
  cpu_tile_range(e, tiling, t.index, &tile_row, &rows);
  MlirValue left = hmoec_is_bf16(p->spec->format) ? hmoec_cpu_row_of(e, p->a, ir->i16, tile_row, e->unit->schedule.lda_bf16)
                                                  : hmoec_cpu_row(e, p->a, tile_row, e->unit->schedule.lda);
  MlirValue fetched = ir_select(ir, ir_compare_i(ir, IR_EQ, t.index, zero), next, right);
  fetched = ir_select(ir, is_only, ir_at_constant(ir, right, ir->f32, e->unit->schedule.ahead_words), fetched);

  MlirValue own = ir_or(ir, is_only, ir_compare_i(ir, IR_NE, t.index, zero));
  cpu_tile_product product = {.left = left,
                              .right = right,
                              .right_stride = ir_i64(ir, panel_words),
                              .sums = sums,
                              .sums_stride = stride,
                              .panels = pairs ? ir_mul_i(ir, here, ir_i64(ir, 2)) : here,
                              .depth = p->depth,
                              .next = fetched,
                              .next_stride = ir_select(ir, own, ir_i64(ir, panel_words), next_stride)};
  if (!p->sums_rows) cpu_sums_clear(e, sums, ir_mul_i(ir, tiling->tile_rows, product.panels));
  cpu_tile_emit(e, tiling, t.index, &product);

  if (!p->sums_rows) {
    ir_loop w;
    ir_for_begin(ir, &w, zero, here, 1, 0, NULL);
    MlirValue w_sums = ir_at(ir, sums, ir->f32, ir_mul_i(ir, pairs ? ir_add_i(ir, w.index, w.index) : w.index, stride));
    MlirValue ups = pairs ? ir_at(ir, w_sums, ir->f32, stride) : (MlirValue){NULL};
    hmoec_cpu_emit_epilogue(e, p->spec, &p->epilogue, w_sums, ups, ir_add_i(ir, p->block->row, tile_row), rows,
                            ir_add_i(ir, panel, w.index));
    ir_for_end(ir, &w, NULL);
  }
  ir_for_end(ir, &t, NULL);
}

/* Panels [begin, end), all pairs or none; those of the product end at `all_end`. */
static void emit_range(hmoec_cpu_emitter *e, const cpu_product *p, bool pairs, MlirValue begin, MlirValue end, MlirValue all_end) {
  ir_builder *ir = &e->ir;
  MlirValue zero = ir_i64(ir, 0), at_once = cpu_panels_at_once(e, p->tiling, pairs);
  MlirValue rounded = ir_add_i(ir, ir_sub_i(ir, ir_max_i(ir, end, begin), begin), ir_sub_i(ir, at_once, ir_i64(ir, 1)));
  ir_loop g;
  ir_for_begin(ir, &g, zero, ir_div_i(ir, rounded, at_once), 1, 0, NULL);
  MlirValue panel = ir_add_i(ir, begin, ir_mul_i(ir, g.index, at_once)), following = ir_add_i(ir, panel, at_once);
  MlirValue next = hmoec_cpu_row(e, p->weights, cpu_right_panel(e, p->spec, following), cpu_panel_words(p->spec));
  MlirValue next_stride = ir_i64(ir, cpu_panel_words(p->spec));
  if (!mlirValueIsNull(p->after)) {
    MlirValue goes_on = ir_compare_i(ir, IR_LT, following, all_end);
    next = ir_select(ir, goes_on, next, p->after);
    next_stride = ir_select(ir, goes_on, next_stride, zero);
  }
  emit_panels(e, p, pairs, panel, ir_min_i(ir, at_once, ir_sub_i(ir, end, panel)), next, next_stride);
  ir_for_end(ir, &g, NULL);
}

void cpu_product_emit(hmoec_cpu_emitter *e, const cpu_product *p, MlirValue begin, MlirValue end) {
  ir_builder *ir = &e->ir;
  int64_t paired = hmoec_cpu_paired_panels(p->spec);
  MlirValue border = ir_i64(ir, paired);
  if (paired > 0) emit_range(e, p, true, begin, ir_min_i(ir, end, border), end);
  if (paired > 0) begin = ir_max_i(ir, begin, border);
  if (paired < hmoec_cpu_panels(p->spec)) emit_range(e, p, false, begin, end, end);
}

static MlirValue panel_count(hmoec_cpu_emitter *e, const cpu_product *p) { return ir_i64(&e->ir, hmoec_cpu_panels(p->spec)); }

MlirValue cpu_dropped_begin(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, const cpu_block *block, int64_t begin) {
  ir_builder *ir = &e->ir;
  MlirValue zero = ir_i64(ir, 0);
  return spec->grouped && begin > 0 ? ir_select(ir, block->dropped, ir_i64(ir, begin), zero) : zero;
}

void cpu_product_clear(hmoec_cpu_emitter *e, const cpu_product *p, MlirValue begin) {
  ir_builder *ir = &e->ir;
  ir_loop panel;
  ir_for_begin(ir, &panel, begin, panel_count(e, p), 1, 0, NULL);
  cpu_sums_clear(e, hmoec_cpu_row(e, p->sums, panel.index, p->sums_rows * HMOE_PANEL),
                 ir_mul_i(ir, p->tiling->count, p->tiling->tile_rows));
  ir_for_end(ir, &panel, NULL);
}

void cpu_product_finish(hmoec_cpu_emitter *e, const cpu_product *p, MlirValue begin) {
  ir_builder *ir = &e->ir;
  ir_loop panel, t;
  ir_for_begin(ir, &panel, begin, panel_count(e, p), 1, 0, NULL);
  ir_for_begin(ir, &t, ir_i64(ir, 0), p->tiling->count, 1, 0, NULL);
  MlirValue row, rows, stride, sums = sums_of(e, p, t.index, panel.index, &stride);
  cpu_tile_range(e, p->tiling, t.index, &row, &rows);
  hmoec_cpu_emit_epilogue(e, p->spec, &p->epilogue, sums, (MlirValue){NULL}, ir_add_i(ir, p->block->row, row), rows, panel.index);
  ir_for_end(ir, &t, NULL);
  ir_for_end(ir, &panel, NULL);
}

int64_t cpu_sums_rows(const hmoec_cpu_schedule *schedule, bool bf16, int64_t row_block) {
  int64_t least = HMOEC_TILE_ROWS;
  for (int v = 0; v < HMOE_CPU_COUNT; v++) {
    int64_t rows = bf16 ? schedule->tile_rows_bf16[v] : schedule->tile_rows[v];
    if (rows < least) least = rows;
  }
  /* Tiles are even: one row more than the largest part of the rows, at most; AMX's are 16 or 32. */
  return row_block + 2 * ((row_block + least - 1) / least) + HMOEC_TILE_ROWS;
}
