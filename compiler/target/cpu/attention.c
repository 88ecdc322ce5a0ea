/* ATTENTION, and STORE, which writes what it reads: rows of k and v become columns of keys and rows of values (abi.h).
 *
 * One task is one head of one block of queries. What a row of queries knows of the keys so far is m, the largest score; l, the sum of
 * exp(score - m), as a vector of partial sums; o, the sum of exp(score - m) * value.
 *
 *   q = scale * rows of queries                                 scratch, [rows, lda]
 *   for blocks of KEY_BLOCK keys, for tiles of rows:
 *     s = q * keys                                              scratch, [panels][tile][HMOE_PANEL]
 *     s += bias; s = -FLT_MAX where masked, -inf where there is no key or the row does not see it
 *     m' = max(m, max s); p = exp(s - m'); l = l * exp(m - m') + p; o *= exp(m - m')
 *     o += p * values                                           p: scratch, [tile, lda]; o: [tiles][panels][tile][HMOE_PANEL]
 *   out = o / sum of l
 *
 * m starts at -FLT_MAX, so that a difference is that of two infinities only where a score is. Whole panels of keys are multiplied, and what comes
 * of columns that were never written is overwritten. Values that all rows of a tile see are one product; those that only its later rows see
 * are added row by row, because a weight of 0 would not keep out what is not finite. A row that meets keys of which it sees none keeps its
 * bits: it is multiplied by exp(0) = 1. */
#include <float.h>
#include <math.h>

#include "target/code/math.h"
#include "target/cpu/product.h"

enum { KEY_BLOCK = HMOEC_KEY_BLOCK, KEY_PANELS = KEY_BLOCK / HMOE_PANEL, VECTOR = 16 /* floats that the widest version has */ };

static int64_t panel_count(int64_t columns) { return (columns + HMOE_PANEL - 1) / HMOE_PANEL; }

/* Where a head of a row starts in keys (head_size wide) or in values (whole panels wide). */
static MlirValue head_address(hmoec_cpu_emitter *e, MlirValue base, MlirValue row, MlirValue head, int64_t heads,
                              MlirValue capacity, int64_t width) {
  ir_builder *ir = &e->ir;
  MlirValue number = ir_add_i(ir, ir_mul_i(ir, row, ir_i64(ir, heads)), head);
  return hmoec_cpu_row(e, base, ir_mul_i(ir, number, capacity), width);
}

/* ---- scratch: floats from its start, each part a whole number of cache lines ---- */

typedef struct scratch_layout {
  int64_t queries, scores, weights, largest, totals, sums, end;
} scratch_layout;

static scratch_layout scratch_of(const hmoec_cpu_schedule *schedule, const hmoec_attention_spec *spec) {
  int64_t block = spec->query_block, sums_rows = cpu_sums_rows(schedule, false, block);
  scratch_layout s = {0};
  s.scores = s.queries + (block + HMOEC_SLACK_ROWS) * schedule->lda;
  s.weights = s.scores + KEY_PANELS * HMOEC_TILE_BYTES / 4;
  s.largest = s.weights + HMOEC_TILE_ROWS * schedule->lda;
  s.totals = s.largest + block * VECTOR;
  s.sums = s.totals + block * VECTOR;
  s.end = s.sums + panel_count(spec->head_size) * sums_rows * HMOE_PANEL;
  return s;
}

uint64_t hmoec_cpu_attention_scratch_bytes(const hmoec_cpu_schedule *schedule, const hmoec_attention_spec *spec) {
  return (uint64_t)scratch_of(schedule, spec).end * 4;
}

/* ---- ATTENTION ---- */

typedef struct attention {
  const hmoec_attention_spec *spec;
  MlirValue queries, scores, weights, largest, totals, sums; /* scratch */
  MlirValue keys, values, capacity; /* of the head */
  MlirValue bias; /* of the head, of difference 0 */
  MlirValue mask; /* the row's */
  MlirValue position; /* of the block's first query */
  MlirValue has_keys; /* a query sees its own position at least, or all that there are */
  cpu_tiling tiling;
} attention;

/* A tile of queries and a block of keys. */
typedef struct step {
  MlirValue number, row, rows; /* the tile */
  MlirValue key, depth, panels; /* the block's first key; its keys that any row sees; their panels */
} step;

/* Queries, scaled, with the row stride of the micro-kernels; nothing known yet of any key. */
static void emit_begin(hmoec_cpu_emitter *e, const attention *a, MlirValue from, MlirValue rows) {
  ir_builder *ir = &e->ir;
  MlirValue scale = ir_vector_f32(ir, (float)a->spec->scale);
  ir_loop r;
  ir_for_begin(ir, &r, ir_i64(ir, 0), rows, 1, 0, NULL);
  MlirValue q = hmoec_cpu_row(e, from, r.index, a->spec->ld_q);
  MlirValue copy = hmoec_cpu_row(e, a->queries, r.index, e->unit->schedule.lda);
  ir_lanes lanes;
  for (ir_lanes_begin(ir, &lanes, 0, a->spec->head_size); ir_lanes_next(ir, &lanes);)
    ir_lanes_store(ir, &lanes, ir_mul(ir, ir_lanes_load(ir, &lanes, ir->vf32, q), scale), copy);
  ir_store(ir, ir_vector_f32(ir, -FLT_MAX), hmoec_cpu_row(e, a->largest, r.index, VECTOR), 4 * ir->lanes);
  ir_store(ir, ir_vector_f32(ir, 0.0f), hmoec_cpu_row(e, a->totals, r.index, VECTOR), 4 * ir->lanes);
  ir_for_end(ir, &r, NULL);
  MlirValue sums_rows = ir_mul_i(ir, a->tiling.count, a->tiling.tile_rows);
  cpu_sums_clear(e, a->sums, ir_mul_i(ir, sums_rows, ir_i64(ir, panel_count(a->spec->head_size))));
}

/* sums += left * panels. The first tile fetches what lies `ahead` words further in a panel: the next block. */
static void emit_product(hmoec_cpu_emitter *e, const cpu_tiling *tiling, MlirValue number, MlirValue panels, int64_t ahead,
                         cpu_tile_product product) {
  ir_builder *ir = &e->ir;
  MlirValue is_first = ir_compare_i(ir, IR_EQ, number, ir_i64(ir, 0));
  product.panels = panels;
  product.next = ir_select(ir, is_first, ir_at_constant(ir, product.right, ir->f32, ahead), product.right);
  product.next_stride = product.right_stride;
  cpu_tile_emit(e, tiling, number, &product);
}

/* Where the tile's row of o is, in its first panel. */
static MlirValue sums_row(hmoec_cpu_emitter *e, const attention *a, MlirValue number, MlirValue row_of_tile) {
  ir_builder *ir = &e->ir;
  MlirValue tile = ir_mul_i(ir, ir_mul_i(ir, number, a->tiling.tile_rows), ir_i64(ir, panel_count(a->spec->head_size)));
  return hmoec_cpu_row(e, a->sums, ir_add_i(ir, tile, row_of_tile), HMOE_PANEL);
}

/* A vector of scores, at `column` of the block of keys: final. */
static MlirValue final_score(hmoec_cpu_emitter *e, const attention *a, const step *s, MlirValue score, MlirValue bias,
                             MlirValue column, int64_t lane, MlirValue row_end) {
  ir_builder *ir = &e->ir;
  MlirValue at = ir_add_i(ir, ir_iota(ir), ir_splat(ir, ir_truncate(ir, ir_add_i(ir, column, ir_i64(ir, lane)))));
  if (a->spec->has_bias) score = ir_add(ir, score, ir_load(ir, ir->vf32, ir_at_constant(ir, bias, ir->f32, lane), 4));
  if (a->spec->has_mask) {
    MlirValue exists = ir_compare_i(ir, IR_LT, at, ir_splat(ir, ir_truncate(ir, s->depth)));
    MlirValue from = ir_at_constant(ir, ir_at(ir, a->mask, ir->i32, ir_add_i(ir, s->key, column)), ir->i32, lane);
    MlirValue is_masked = ir_compare_i(ir, IR_EQ, ir_load_masked(ir, ir->vi32, from, exists), ir_vector_i32(ir, 0));
    score = ir_select(ir, is_masked, ir_vector_f32(ir, -FLT_MAX), score);
  }
  return ir_select(ir, ir_compare_i(ir, IR_LT, at, row_end), score, ir_vector_f32(ir, -INFINITY));
}

/* a where it is larger, b otherwise. */
static MlirValue larger(ir_builder *ir, MlirValue a, MlirValue b) { return ir_select(ir, ir_compare_f(ir, IR_GT, a, b), a, b); }

/* Scores of one row to weights, and m, l and o of the row. */
static void emit_row(hmoec_cpu_emitter *e, const attention *a, const step *s, MlirValue r) {
  ir_builder *ir = &e->ir;
  MlirValue zero = ir_i64(ir, 0), row = ir_add_i(ir, s->row, r), query = ir_add_i(ir, a->position, row);
  MlirValue scores = hmoec_cpu_row(e, a->scores, r, HMOE_PANEL), weights = hmoec_cpu_row(e, a->weights, r, e->unit->schedule.lda);
  MlirValue panel_rows = a->tiling.tile_rows, end = ir_add_i(ir, s->key, s->depth);
  if (a->spec->causal) end = ir_min_i(ir, end, ir_add_i(ir, query, ir_i64(ir, 1)));
  MlirValue row_end = ir_splat(ir, ir_truncate(ir, ir_sub_i(ir, end, s->key)));

  ir_loop p;
  MlirValue lowest = ir_vector_f32(ir, -FLT_MAX);
  ir_for_begin(ir, &p, zero, s->panels, 1, 1, &lowest);
  MlirValue most = p.args[0], bias = {NULL}, column = ir_mul_i(ir, p.index, ir_i64(ir, HMOE_PANEL));
  MlirValue panel = hmoec_cpu_row(e, scores, ir_mul_i(ir, p.index, panel_rows), HMOE_PANEL);
  if (a->spec->has_bias) {
    MlirValue difference = ir_sub_i(ir, ir_add_i(ir, s->key, column), query);
    difference = ir_min_i(ir, difference, ir_i64(ir, a->spec->max_distance + 1));
    difference = ir_max_i(ir, difference, ir_i64(ir, -a->spec->max_distance - HMOE_PANEL));
    bias = ir_at(ir, a->bias, ir->f32, difference);
  }
  for (int64_t lane = 0; lane < HMOE_PANEL; lane += ir->lanes) {
    MlirValue at = ir_at_constant(ir, panel, ir->f32, lane);
    MlirValue score = final_score(e, a, s, ir_load(ir, ir->vf32, at, 4 * ir->lanes), bias, column, lane, row_end);
    ir_store(ir, score, at, 4 * ir->lanes);
    most = larger(ir, score, most);
  }
  ir_for_end(ir, &p, &most);

  MlirValue largest = hmoec_cpu_row(e, a->largest, row, VECTOR), before = ir_load(ir, ir->vf32, largest, 4 * ir->lanes);
  MlirValue now = larger(ir, p.args[0], before);
  for (int64_t distance = 1; distance < ir->lanes; distance *= 2) now = larger(ir, ir_exchange(ir, now, distance), now);
  ir_store(ir, now, largest, 4 * ir->lanes);
  MlirValue fade = ir_exp(ir, ir_sub(ir, before, now));

  MlirValue totals = hmoec_cpu_row(e, a->totals, row, VECTOR);
  MlirValue total = ir_mul(ir, ir_load(ir, ir->vf32, totals, 4 * ir->lanes), fade);
  ir_for_begin(ir, &p, zero, s->panels, 1, 1, &total);
  total = p.args[0];
  panel = hmoec_cpu_row(e, scores, ir_mul_i(ir, p.index, panel_rows), HMOE_PANEL);
  MlirValue to = hmoec_cpu_row(e, weights, p.index, HMOE_PANEL);
  for (int64_t lane = 0; lane < HMOE_PANEL; lane += ir->lanes) {
    MlirValue score = ir_load(ir, ir->vf32, ir_at_constant(ir, panel, ir->f32, lane), 4 * ir->lanes);
    MlirValue weight = ir_exp(ir, ir_sub(ir, score, now));
    ir_store(ir, weight, ir_at_constant(ir, to, ir->f32, lane), 4 * ir->lanes);
    total = ir_add(ir, total, weight);
  }
  ir_for_end(ir, &p, &total);
  ir_store(ir, p.args[0], totals, 4 * ir->lanes);

  MlirValue sums = sums_row(e, a, s->number, r);
  for (int64_t i = 0; i < panel_count(a->spec->head_size); i++) {
    for (int64_t lane = 0; lane < HMOE_PANEL; lane += ir->lanes) {
      MlirValue at = ir_at_constant(ir, sums, ir->f32, lane);
      ir_store(ir, ir_mul(ir, ir_load(ir, ir->vf32, at, 4 * ir->lanes), fade), at, 4 * ir->lanes);
    }
    sums = hmoec_cpu_row(e, sums, a->tiling.tile_rows, HMOE_PANEL);
  }
}

/* o += p * values for the keys of the block from `common` on, of which each row sees one more than the row before. */
static void emit_triangle(hmoec_cpu_emitter *e, const attention *a, const step *s, MlirValue common) {
  ir_builder *ir = &e->ir;
  MlirValue values = hmoec_cpu_row(e, a->values, s->key, HMOE_PANEL),
            panel_words = ir_mul_i(ir, a->capacity, ir_i64(ir, HMOE_PANEL));
  MlirValue seen =
      ir_sub_i(ir, ir_add_i(ir, a->position, ir_add_i(ir, s->row, ir_i64(ir, 1))), s->key); /* by the first row; may be < 0 */
  ir_loop r, p, j;
  ir_for_begin(ir, &r, ir_i64(ir, 1), s->rows, 1, 0, NULL);
  MlirValue end = ir_min_i(ir, s->depth, ir_add_i(ir, seen, r.index)), sums = sums_row(e, a, s->number, r.index);
  MlirValue weights = hmoec_cpu_row(e, a->weights, r.index, e->unit->schedule.lda);
  MlirValue sums_words = ir_mul_i(ir, a->tiling.tile_rows, ir_i64(ir, HMOE_PANEL));
  ir_for_begin(ir, &p, ir_i64(ir, 0), ir_i64(ir, panel_count(a->spec->head_size)), 1, 0, NULL);
  MlirValue from = ir_at(ir, values, ir->f32, ir_mul_i(ir, p.index, panel_words));
  MlirValue to = ir_at(ir, sums, ir->f32, ir_mul_i(ir, p.index, sums_words)), o[HMOE_PANEL];
  int64_t vectors = HMOE_PANEL / ir->lanes;
  for (int64_t v = 0; v < vectors; v++) o[v] = ir_load(ir, ir->vf32, ir_at_constant(ir, to, ir->f32, v * ir->lanes), 4 * ir->lanes);
  ir_for_begin(ir, &j, common, end, 1, vectors, o);
  MlirValue weight = ir_splat(ir, ir_load(ir, ir->f32, ir_at(ir, weights, ir->f32, j.index), 4));
  MlirValue row = hmoec_cpu_row(e, from, j.index, HMOE_PANEL);
  for (int64_t v = 0; v < vectors; v++)
    o[v] = ir_fma(ir, weight, ir_load(ir, ir->vf32, ir_at_constant(ir, row, ir->f32, v * ir->lanes), 4 * ir->lanes), j.args[v]);
  ir_for_end(ir, &j, o);
  for (int64_t v = 0; v < vectors; v++) ir_store(ir, j.args[v], ir_at_constant(ir, to, ir->f32, v * ir->lanes), 4 * ir->lanes);
  ir_for_end(ir, &p, NULL);
  ir_for_end(ir, &r, NULL);
}

/* One tile of queries meets one block of keys. */
static void emit_step(hmoec_cpu_emitter *e, const attention *a, const step *s) {
  ir_builder *ir = &e->ir;
  int64_t head_size = a->spec->head_size, key_words = head_size * HMOE_PANEL;
  MlirValue width = ir_i64(ir, HMOE_PANEL), zero = ir_i64(ir, 0);
  cpu_sums_clear(e, a->scores, ir_mul_i(ir, s->panels, a->tiling.tile_rows));
  cpu_tile_product by_keys = {.left = hmoec_cpu_row(e, a->queries, s->row, e->unit->schedule.lda),
                              .right = hmoec_cpu_row(e, a->keys, ir_div_i(ir, s->key, width), key_words),
                              .right_stride = ir_i64(ir, key_words),
                              .sums = a->scores,
                              .sums_stride = ir_mul_i(ir, a->tiling.tile_rows, width),
                              .depth = ir_i64(ir, head_size)};
  emit_product(e, &a->tiling, s->number, s->panels, KEY_PANELS * key_words, by_keys);
  ir_loop r;
  ir_for_begin(ir, &r, zero, s->rows, 1, 0, NULL);
  emit_row(e, a, s, r.index);
  ir_for_end(ir, &r, NULL);
  MlirValue common = s->depth; /* keys that all rows see */
  if (a->spec->causal) {
    common = ir_add_i(ir, ir_sub_i(ir, ir_add_i(ir, a->position, s->row), s->key), ir_i64(ir, 1));
    common = ir_max_i(ir, ir_min_i(ir, common, s->depth), zero);
  }
  cpu_tile_product by_values = {.left = a->weights,
                                .right = hmoec_cpu_row(e, a->values, s->key, HMOE_PANEL),
                                .right_stride = ir_mul_i(ir, a->capacity, width),
                                .sums = sums_row(e, a, s->number, zero),
                                .sums_stride = ir_mul_i(ir, a->tiling.tile_rows, width),
                                .depth = common};
  emit_product(e, &a->tiling, s->number, ir_i64(ir, panel_count(head_size)), KEY_BLOCK * HMOE_PANEL, by_values);
  if (a->spec->causal) emit_triangle(e, a, s, common);
}

/* One row of o to out; 0 where there was no key. Without a score above -inf the sums are 0, and o is 0 / 0. */
static void emit_finish_row(hmoec_cpu_emitter *e, const attention *a, MlirValue sums, MlirValue totals, MlirValue out,
                            MlirValue is_last_head) {
  ir_builder *ir = &e->ir;
  const hmoec_attention_spec *spec = a->spec;
  MlirType element = hmoec_is_bf16(spec->out_format) ? ir->i16 : ir->f32;
  MlirValue zero = ir_vector_f32(ir, 0.0f),
            total = ir_splat(ir, ir_reduce(ir, "add", ir_load(ir, ir->vf32, totals, 4 * ir->lanes)));
  ir_lanes lanes;
  for (int64_t p = 0; p < panel_count(spec->head_size); p++) {
    int64_t left = spec->head_size - p * HMOE_PANEL;
    MlirValue to = ir_at_constant(ir, out, element, p * HMOE_PANEL);
    for (ir_lanes_begin(ir, &lanes, 0, left < HMOE_PANEL ? left : HMOE_PANEL); ir_lanes_next(ir, &lanes);) {
      MlirValue o = ir_load(ir, ir->vf32, ir_at(ir, sums, ir->f32, lanes.index), 4 * ir->lanes);
      o = ir_select(ir, a->has_keys, ir_div(ir, o, total), zero);
      ir_lanes_store(ir, &lanes, hmoec_is_bf16(spec->out_format) ? ir_to_bf16(ir, o) : o, to);
    }
    sums = hmoec_cpu_row(e, sums, a->tiling.tile_rows, HMOE_PANEL);
  }
  int64_t columns = spec->heads * spec->head_size, padded = panel_count(columns) * HMOE_PANEL;
  if (columns == padded) return;
  ir_branch branch;
  ir_if_begin(ir, &branch, is_last_head, (MlirType){NULL});
  for (ir_lanes_begin(ir, &lanes, spec->head_size, spec->head_size + padded - columns); ir_lanes_next(ir, &lanes);)
    ir_lanes_store(ir, &lanes, hmoec_is_bf16(spec->out_format) ? ir_vector_i16(ir, 0) : zero, out);
  ir_if_else(ir, &branch, (MlirValue){NULL});
  ir_if_end(ir, &branch, (MlirValue){NULL});
}

/* `out`: of the block's first row. */
static void emit_finish(hmoec_cpu_emitter *e, const attention *a, MlirValue out, MlirValue is_last_head) {
  ir_builder *ir = &e->ir;
  MlirType element = hmoec_is_bf16(a->spec->out_format) ? ir->i16 : ir->f32;
  ir_loop t, r;
  ir_for_begin(ir, &t, ir_i64(ir, 0), a->tiling.count, 1, 0, NULL);
  MlirValue first, rows;
  cpu_tile_range(e, &a->tiling, t.index, &first, &rows);
  ir_for_begin(ir, &r, ir_i64(ir, 0), rows, 1, 0, NULL);
  MlirValue row = ir_add_i(ir, first, r.index);
  emit_finish_row(e, a, sums_row(e, a, t.index, r.index), hmoec_cpu_row(e, a->totals, row, VECTOR),
                  hmoec_cpu_row_of(e, out, element, row, a->spec->ld_out), is_last_head);
  ir_for_end(ir, &r, NULL);
  ir_for_end(ir, &t, NULL);
}

void hmoec_cpu_emit_attention(hmoec_cpu_emitter *e, const hmoec_attention_spec *spec, const hmoec_cpu_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue batch = hmoec_cpu_dim(e, task, 0), length = hmoec_cpu_dim(e, task, 1), past = hmoec_cpu_dim(e, task, 2);
  MlirValue kv_length = hmoec_cpu_dim(e, task, 3), capacity = hmoec_cpu_dim(e, task, 4), kv_rows = hmoec_cpu_dim(e, task, 5);
  MlirValue zero = ir_i64(ir, 0), size = ir_i64(ir, spec->query_block), heads = ir_i64(ir, spec->heads);

  /* The task: which queries, of which head, of which rows. */
  MlirValue blocks = ir_div_i(ir, ir_add_i(ir, length, ir_i64(ir, spec->query_block - 1)), size);
  MlirValue number = ir_div_i(ir, task->task, blocks), head = ir_rem_i(ir, number, heads), row = ir_div_i(ir, number, heads);
  MlirValue first = ir_mul_i(ir, ir_rem_i(ir, task->task, blocks), size), rows = ir_min_i(ir, size, ir_sub_i(ir, length, first));
  MlirValue kv_row = ir_div_i(ir, row, ir_div_i(ir, batch, kv_rows)), column = ir_mul_i(ir, head, ir_i64(ir, spec->head_size));
  MlirValue query = ir_add_i(ir, ir_mul_i(ir, row, length), first);

  int64_t padded = panel_count(spec->head_size) * HMOE_PANEL;
  scratch_layout layout = scratch_of(&e->unit->schedule, spec);
  attention a = {.spec = spec,
                 .queries = ir_at_constant(ir, task->scratch, ir->f32, layout.queries),
                 .scores = ir_at_constant(ir, task->scratch, ir->f32, layout.scores),
                 .weights = ir_at_constant(ir, task->scratch, ir->f32, layout.weights),
                 .largest = ir_at_constant(ir, task->scratch, ir->f32, layout.largest),
                 .totals = ir_at_constant(ir, task->scratch, ir->f32, layout.totals),
                 .sums = ir_at_constant(ir, task->scratch, ir->f32, layout.sums),
                 .keys = head_address(e, hmoec_cpu_binding(e, task, 1), kv_row, head, spec->heads, capacity, spec->head_size),
                 .values = head_address(e, hmoec_cpu_binding(e, task, 2), kv_row, head, spec->heads, capacity, padded),
                 .capacity = capacity,
                 .position = ir_add_i(ir, past, first),
                 .has_keys = ir_compare_i(ir, IR_GT, kv_length, zero),
                 .tiling = cpu_tiling_choose(e, HMOEC_TILE_F32, rows)};
  if (spec->has_bias)
    a.bias = ir_at_constant(ir, hmoec_cpu_row(e, hmoec_cpu_binding(e, task, 3), head, spec->bias_ld), ir->f32, spec->bias_zero);
  if (spec->has_mask) a.mask = ir_at(ir, hmoec_cpu_binding(e, task, 4), ir->i32, ir_mul_i(ir, kv_row, hmoec_cpu_dim(e, task, 6)));
  emit_begin(e, &a, ir_at(ir, hmoec_cpu_row(e, hmoec_cpu_binding(e, task, 0), query, spec->ld_q), ir->f32, column), rows);

  MlirValue end = spec->causal ? ir_min_i(ir, kv_length, ir_add_i(ir, a.position, rows)) : kv_length;
  ir_loop block, tile;
  ir_for_begin(ir, &block, zero, end, KEY_BLOCK, 0, NULL);
  ir_for_begin(ir, &tile, zero, a.tiling.count, 1, 0, NULL);
  step s = {.number = tile.index, .key = block.index};
  cpu_tile_range(e, &a.tiling, s.number, &s.row, &s.rows);
  MlirValue tile_end = spec->causal ? ir_min_i(ir, end, ir_add_i(ir, a.position, ir_add_i(ir, s.row, s.rows))) : end;
  s.depth = ir_min_i(ir, ir_i64(ir, KEY_BLOCK), ir_sub_i(ir, tile_end, s.key));
  s.panels = ir_div_i(ir, ir_add_i(ir, s.depth, ir_i64(ir, HMOE_PANEL - 1)), ir_i64(ir, HMOE_PANEL));
  ir_branch sees_any;
  ir_if_begin(ir, &sees_any, ir_compare_i(ir, IR_GT, s.depth, zero), (MlirType){NULL});
  emit_step(e, &a, &s);
  ir_if_else(ir, &sees_any, (MlirValue){NULL});
  ir_if_end(ir, &sees_any, (MlirValue){NULL});
  ir_for_end(ir, &tile, NULL);
  ir_for_end(ir, &block, NULL);

  MlirType element = hmoec_is_bf16(spec->out_format) ? ir->i16 : ir->f32;
  MlirValue out = ir_at(ir, hmoec_cpu_row_of(e, hmoec_cpu_binding(e, task, 5), element, query, spec->ld_out), element, column);
  emit_finish(e, &a, out, ir_compare_i(ir, IR_EQ, head, ir_i64(ir, spec->heads - 1)));
}

/* ---- STORE ---- */

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
