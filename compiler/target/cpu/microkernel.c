/* Register-tiled products, shared by all matmuls of an object.
 *
 *   tile(a, b, c, k, b_stride, c_stride, next, next_stride, panels):
 *     for r < R, n < columns of the panels:  c[r][n] += sum over i < k ascending of a[r][i] * b[i][n]
 *
 * a has the schedule's row stride, a constant, so that one register addresses all rows. b is in panels or pairs, its panels b_stride words
 * (of 4 bytes) apart; c has rows of HMOE_PANEL floats, its panels c_stride floats apart. The R x V accumulators stay in registers: they
 * are the loop's arguments, and a value is one accumulator summed in order, whatever R and V. Few rows get more vectors, to hide the
 * latency of the multiply-add and to keep several streams of weights in flight: of 7 panels one row takes 4, then 2, then 1. Narrow versions walk
 * a panel in parts, a chunk of steps at a time, carrying the sums in the tile. `next` are panels that will be needed soon, one for each: they are
 * brought into the second-level cache on the way, but by few rows, which do nothing but wait for weights: there the processor's own prefetching is better.
 *
 * A step is one k of f32 or two of bf16: a word of a, HMOE_PANEL words of b. AMX takes 16 steps at once and a tile of 16 or 32 x 32, however
 * few the rows: it sums the halves of words apart, vdpbf16ps does not, and bits must not depend on the rows of a block. */
#include <stdio.h>

#include "target/cpu/emit.h"

enum { MAX_COLUMNS = HMOEC_MOST_PANELS * HMOE_PANEL, LINE_WORDS = 16 };
enum { AMX_ROWS = 16, AMX_STEPS = 16, AMX_A = 4, AMX_B = 6 }; /* tile registers: 0-3 sums, then A, then B */

static bool has_tiles(const hmoec_cpu_emitter *e, bool bf16) { return bf16 && e->version == HMOE_CPU_AMX; }

hmoec_cpu_tile_kind hmoec_cpu_tile_kind_of(const hmoec_matmul_spec *spec) {
  return hmoec_is_bf16(spec->format)                        ? HMOEC_TILE_BF16
         : spec->n <= HMOEC_NARROW_COLUMNS && !spec->paired ? HMOEC_TILE_NARROW
                                                            : HMOEC_TILE_F32;
}

size_t hmoec_cpu_tiles(const hmoec_cpu_emitter *e, hmoec_cpu_tile_kind kind, int64_t out_rows[HMOEC_MAX_TILES]) {
  const hmoec_cpu_schedule *schedule = &e->unit->schedule;
  bool bf16 = kind == HMOEC_TILE_BF16;
  int64_t most = bf16 ? schedule->tile_rows_bf16[e->version] : schedule->tile_rows[e->version];
  bool amx = has_tiles(e, bf16);
  size_t count = 0;
  for (int64_t rows = 1; rows <= most && !amx; rows++) out_rows[count++] = rows;
  for (int64_t rows = AMX_ROWS; amx && rows <= 2 * AMX_ROWS; rows += AMX_ROWS) out_rows[count++] = rows;
  return count;
}

static int64_t tile_columns(const hmoec_cpu_emitter *e, hmoec_cpu_tile_kind kind, int64_t rows) {
  const hmoec_cpu_schedule *schedule = &e->unit->schedule;
  bool bf16 = kind == HMOEC_TILE_BF16;
  int64_t lanes = e->ir.lanes;
  int64_t vectors = bf16 ? schedule->tile_vectors_bf16[e->version] : schedule->tile_vectors[e->version];
  if (has_tiles(e, bf16)) return HMOE_PANEL;
  if (kind == HMOEC_TILE_NARROW) return vectors * lanes < HMOEC_NARROW_COLUMNS ? vectors * lanes : HMOEC_NARROW_COLUMNS;
  while (rows * vectors < schedule->hide_latency && vectors * lanes < MAX_COLUMNS) vectors *= 2;
  return vectors * lanes;
}

int64_t hmoec_cpu_tile_panels(const hmoec_cpu_emitter *e, hmoec_cpu_tile_kind kind, int64_t rows) {
  int64_t columns = tile_columns(e, kind, rows);
  return columns > HMOE_PANEL ? columns / HMOE_PANEL : 1;
}

void hmoec_cpu_tile_name(const hmoec_cpu_emitter *e, hmoec_cpu_tile_kind kind, int64_t rows, char *out_name, size_t size) {
  static const char *const names[HMOEC_TILE_KINDS] = {"tile", "bf16_tile", "narrow_tile"};
  snprintf(out_name, size, "%s_%s%d_%s", e->unit->name, names[kind], (int)rows, hmoec_cpu_versions[e->version].name);
}

typedef struct tile {
  int64_t rows, vectors, columns; /* vectors of one pass, columns of all */
  bool bf16, in_parts;
  MlirValue a, b, c, steps, b_stride, c_stride, next, next_stride;
} tile;

/* Words of one operand; of bf16 without an instruction for it, both halves as f32. */
typedef struct operand {
  MlirValue words, low, high;
} operand;

static operand make_operand(hmoec_cpu_emitter *e, bool bf16, MlirValue words) {
  operand o = {.words = words};
  if (bf16 && !e->ir.bf16) {
    o.low = ir_low_bf16(&e->ir, words);
    o.high = ir_high_bf16(&e->ir, words);
  }
  return o;
}

static MlirValue multiply_add(hmoec_cpu_emitter *e, bool bf16, const operand *a, const operand *b, MlirValue sum) {
  ir_builder *ir = &e->ir;
  if (!bf16) return ir_fma(ir, a->words, b->words, sum);
  if (ir->bf16) return ir_dot_bf16(ir, sum, a->words, b->words);
  return ir_fma(ir, a->high, b->high, ir_fma(ir, a->low, b->low, sum));
}

/* Sums steps [low, high) into the tile, for the vectors from `column` on. */
static void emit_pass(hmoec_cpu_emitter *e, const tile *t, MlirValue column, MlirValue low, MlirValue high) {
  ir_builder *ir = &e->ir;
  int64_t rows = t->rows, vectors = t->vectors, lanes = ir->lanes, per_panel = HMOE_PANEL / lanes;
  int64_t panels = vectors > per_panel ? vectors / per_panel : 1;
  int64_t row_words = t->bf16 ? e->unit->schedule.lda_bf16 / 2 : e->unit->schedule.lda;
  MlirType word = t->bf16 ? ir->i32 : ir->f32, words = t->bf16 ? ir->vi32 : ir->vf32;
  MlirValue sums[IR_LOOP_ARGS], to[IR_LOOP_ARGS], c[HMOEC_MOST_PANELS], panel_base[HMOEC_MOST_PANELS];
  c[0] = ir_at(ir, t->c, ir->f32, column);
  panel_base[0] = ir_at(ir, t->b, ir->f32, column);
  for (int64_t p = 1; p < panels; p++) {
    c[p] = ir_at(ir, c[p - 1], ir->f32, t->c_stride);
    panel_base[p] = ir_at(ir, panel_base[p - 1], ir->f32, t->b_stride);
  }
  for (int64_t i = 0; i < rows * vectors; i++) {
    int64_t v = i % vectors;
    to[i] = ir_at_constant(ir, c[v / per_panel], ir->f32, i / vectors * HMOE_PANEL + v % per_panel * lanes);
    sums[i] = ir_load(ir, ir->vf32, to[i], 4 * lanes);
  }

  ir_loop k;
  ir_for_begin(ir, &k, low, high, 1, (intptr_t)(rows * vectors), sums);
  MlirValue a_k = ir_at(ir, t->a, ir->f32, k.index);
  MlirValue b_offset = ir_mul_i(ir, k.index, ir_i64(ir, HMOE_PANEL)), b_k[HMOEC_MOST_PANELS];
  for (int64_t p = 0; p < panels; p++) b_k[p] = ir_at(ir, panel_base[p], ir->f32, b_offset);
  if (t->in_parts) { /* the next chunk, in the order it lies in memory: each part's pass fetches its share */
    MlirValue ahead = ir_at(ir, ir_at_constant(ir, t->b, ir->f32, e->unit->schedule.part_steps * HMOE_PANEL), ir->f32,
                            ir_mul_i(ir, low, ir_i64(ir, HMOE_PANEL)));
    ahead = ir_at(ir, ahead, ir->f32, ir_mul_i(ir, column, ir_i64(ir, e->unit->schedule.part_steps)));
    MlirValue done = ir_sub_i(ir, k.index, low);
    ir_prefetch(ir, ir_at(ir, ahead, ir->f32, ir_mul_i(ir, done, ir_i64(ir, vectors * lanes))), 1);
  } else {
    MlirValue next = ir_at(ir, t->next, ir->f32, b_offset);
    for (int64_t line = 0; rows >= e->unit->schedule.fetch_rows && line < HMOE_PANEL; line += LINE_WORDS)
      ir_prefetch(ir, ir_at_constant(ir, next, ir->f32, line), 2);
  }
  /* The shorter side stays in registers while the longer passes by, one register at a time. */
  operand left[IR_LOOP_ARGS], right[IR_LOOP_ARGS];
  bool by_rows = rows >= vectors;
  for (int64_t i = 0; i < rows + vectors; i++) {
    bool is_left = by_rows ? i >= vectors : i < rows;
    int64_t r = by_rows ? i - vectors : i, v = by_rows ? i : i - rows;
    if (is_left)
      left[r] = make_operand(e, t->bf16, ir_splat(ir, ir_load(ir, word, ir_at_constant(ir, a_k, ir->f32, r * row_words), 4)));
    else
      right[v] =
          make_operand(e, t->bf16, ir_load(ir, words, ir_at_constant(ir, b_k[v / per_panel], ir->f32, v % per_panel * lanes), 4));
    if (i < (by_rows ? vectors : rows)) continue;
    for (int64_t j = 0; j < (by_rows ? vectors : rows); j++) {
      int64_t row = by_rows ? r : j, vector = by_rows ? j : v, sum = row * vectors + vector;
      sums[sum] = multiply_add(e, t->bf16, &left[row], &right[vector], k.args[sum]);
    }
  }
  ir_for_end(ir, &k, sums);
  for (int64_t i = 0; i < rows * vectors; i++) ir_store(ir, k.args[i], to[i], 4 * lanes);
}

/* A panel in parts: for chunks of steps, for parts: the chunk of weights comes from far once, and is prefetched a chunk ahead. */
static void emit_parts(hmoec_cpu_emitter *e, const tile *t) {
  ir_builder *ir = &e->ir;
  ir_loop chunk, part;
  ir_for_begin(ir, &chunk, ir_i64(ir, 0), t->steps, e->unit->schedule.part_steps, 0, NULL);
  MlirValue high = ir_min_i(ir, ir_add_i(ir, chunk.index, ir_i64(ir, e->unit->schedule.part_steps)), t->steps);
  ir_for_begin(ir, &part, ir_i64(ir, 0), ir_i64(ir, t->columns), t->vectors * ir->lanes, 0, NULL);
  emit_pass(e, t, part.index, chunk.index, high);
  ir_for_end(ir, &part, NULL);
  ir_for_end(ir, &chunk, NULL);
}

/* ---- AMX: two tiles of 16 columns, one or two of 16 rows; depths are zero up to a multiple of 32 ---- */

static void load_tile(ir_builder *ir, int64_t number, MlirValue address, int64_t stride_bytes) {
  ir_intrinsic(ir, "llvm.x86.tileloadd64", (MlirType){NULL}, 3,
               (MlirValue[]){ir_i8(ir, number), address, ir_i64(ir, stride_bytes)});
}

static void emit_amx(hmoec_cpu_emitter *e, const tile *t) {
  ir_builder *ir = &e->ir;
  MlirType none = {NULL};
  int64_t heights = t->rows / AMX_ROWS, widths = HMOE_PANEL / AMX_ROWS, row_words = e->unit->schedule.lda_bf16 / 2;
  MlirValue sums[4];
  for (int64_t i = 0; i < heights * widths; i++) {
    sums[i] = ir_at_constant(ir, t->c, ir->f32, i / widths * AMX_ROWS * HMOE_PANEL + i % widths * AMX_ROWS);
    load_tile(ir, i, sums[i], 4 * HMOE_PANEL);
  }
  ir_loop k;
  ir_for_begin(ir, &k, ir_i64(ir, 0), t->steps, AMX_STEPS, 0, NULL);
  MlirValue a = ir_at(ir, t->a, ir->f32, k.index), b = ir_at(ir, t->b, ir->f32, ir_mul_i(ir, k.index, ir_i64(ir, HMOE_PANEL)));
  for (int64_t w = 0; w < widths; w++) load_tile(ir, AMX_B + w, ir_at_constant(ir, b, ir->f32, w * AMX_ROWS), 4 * HMOE_PANEL);
  MlirValue next = ir_at(ir, t->next, ir->f32, ir_mul_i(ir, k.index, ir_i64(ir, HMOE_PANEL)));
  for (int64_t h = 0; h < heights; h++) {
    load_tile(ir, AMX_A + h, ir_at_constant(ir, a, ir->f32, h * AMX_ROWS * row_words), 4 * row_words);
    for (int64_t w = 0; w < widths; w++) {
      MlirValue operands[] = {ir_i8(ir, h * widths + w), ir_i8(ir, AMX_A + h), ir_i8(ir, AMX_B + w)};
      ir_intrinsic(ir, "llvm.x86.tdpbf16ps", none, 3, operands);
      int64_t lines = AMX_STEPS * HMOE_PANEL / LINE_WORDS / (heights * widths),
              first = (h * widths + w) * lines; /* between products, which take a while */
      for (int64_t line = first; line < first + lines; line++)
        ir_prefetch(ir, ir_at_constant(ir, next, ir->f32, line * LINE_WORDS), 2);
    }
  }
  ir_for_end(ir, &k, NULL);
  for (int64_t i = 0; i < heights * widths; i++)
    ir_intrinsic(ir, "llvm.x86.tilestored64", none, 3, (MlirValue[]){ir_i8(ir, i), sums[i], ir_i64(ir, 4 * HMOE_PANEL)});
}

static void amx_config_name(const hmoec_cpu_emitter *e, char *out_name, size_t size) {
  snprintf(out_name, size, "%s_tile_config", e->unit->name);
}

void hmoec_cpu_tiles_begin(hmoec_cpu_emitter *e, bool bf16) {
  if (!has_tiles(e, bf16)) return;
  char name[256];
  amx_config_name(e, name, sizeof name);
  MlirValue config = ir_address_of(&e->ir, name);
  ir_intrinsic(&e->ir, "llvm.x86.ldtilecfg", (MlirType){NULL}, 1, &config);
}

void hmoec_cpu_tiles_end(hmoec_cpu_emitter *e, bool bf16) {
  if (has_tiles(e, bf16)) ir_intrinsic(&e->ir, "llvm.x86.tilerelease", (MlirType){NULL}, 0, NULL);
}

/* Every tile register is 16 rows of 64 bytes. */
static void emit_amx_config(hmoec_cpu_emitter *e) {
  int8_t config[64] = {1};
  for (int i = 0; i < 8; i++) {
    config[16 + 2 * i] = 64;
    config[48 + i] = AMX_ROWS;
  }
  char name[256];
  amx_config_name(e, name, sizeof name);
  ir_constant_bytes(&e->ir, e->module_body, name, config, sizeof config);
}

static void emit_at_once(hmoec_cpu_emitter *e, const tile *t) {
  if (has_tiles(e, t->bf16)) emit_amx(e, t);
  else if (t->in_parts) emit_parts(e, t);
  else emit_pass(e, t, ir_i64(&e->ir, 0), ir_i64(&e->ir, 0), t->steps);
}

/* Panels [begin, end), `width` at a time. */
static void emit_width(hmoec_cpu_emitter *e, const tile *all, int64_t width, MlirValue begin, MlirValue end) {
  ir_builder *ir = &e->ir;
  tile t = *all;
  ir_loop panel;
  ir_for_begin(ir, &panel, begin, end, width, 0, NULL);
  t.b = ir_at(ir, all->b, ir->f32, ir_mul_i(ir, panel.index, all->b_stride));
  t.c = ir_at(ir, all->c, ir->f32, ir_mul_i(ir, panel.index, all->c_stride));
  t.next = ir_at(ir, all->next, ir->f32, ir_mul_i(ir, panel.index, all->next_stride));
  if (t.vectors > HMOE_PANEL / ir->lanes) t.vectors = width * HMOE_PANEL / ir->lanes;
  emit_at_once(e, &t);
  ir_for_end(ir, &panel, NULL);
}

static void emit_tile(hmoec_cpu_emitter *e, hmoec_cpu_tile_kind kind, int64_t rows) {
  ir_builder *ir = &e->ir;
  bool bf16 = kind == HMOEC_TILE_BF16;
  MlirType types[HMOEC_TILE_ARGUMENTS] = {ir->ptr, ir->ptr, ir->ptr, ir->i64, ir->i64, ir->i64, ir->ptr, ir->i64, ir->i64};
  MlirValue arguments[HMOEC_TILE_ARGUMENTS];
  char name[256];
  hmoec_cpu_tile_name(e, kind, rows, name, sizeof name);
  ir_function_begin(ir, e->module_body, name, HMOEC_TILE_ARGUMENTS, types, e->attributes, arguments);
  int64_t at_once = tile_columns(e, kind, rows), all = kind == HMOEC_TILE_NARROW ? HMOEC_NARROW_COLUMNS : HMOE_PANEL;
  tile t = {.rows = rows,
            .vectors = at_once / ir->lanes,
            .columns = all,
            .bf16 = bf16,
            .in_parts = at_once < all,
            .a = arguments[0],
            .b = arguments[1],
            .c = arguments[2],
            .steps = arguments[3],
            .b_stride = arguments[4],
            .c_stride = arguments[5],
            .next = arguments[6],
            .next_stride = arguments[7]};
  if (bf16) t.steps = ir_div_i(ir, ir_add_i(ir, t.steps, ir_i64(ir, 1)), ir_i64(ir, 2));
  if (kind == HMOEC_TILE_NARROW) emit_at_once(e, &t);
  MlirValue panels = arguments[8], begin = ir_i64(ir, 0);
  for (int64_t width = kind == HMOEC_TILE_NARROW ? 0 : hmoec_cpu_tile_panels(e, kind, rows); width > 0; width /= 2) {
    MlirValue end = width > 1 ? ir_sub_i(ir, panels, ir_rem_i(ir, panels, ir_i64(ir, width))) : panels;
    emit_width(e, &t, width, begin, end);
    begin = end;
  }
  ir_function_end(ir);
}

void hmoec_cpu_emit_microkernels(hmoec_cpu_emitter *e, hmoec_cpu_tile_kind kind) {
  int64_t rows[HMOEC_MAX_TILES];
  size_t count = hmoec_cpu_tiles(e, kind, rows);
  if (has_tiles(e, kind == HMOEC_TILE_BF16)) emit_amx_config(e);
  for (size_t i = 0; i < count; i++) emit_tile(e, kind, rows[i]);
}
