/* MATMUL in bf16 of few rows: weights go from memory straight into the registers of mma.m16n8k16, as its left side, and rows are the right one.
 *
 *   for each part of up to 32 rows, for each 16 columns of B:
 *     every warp multiplies the planes of depth that are its own, of all rows of the part
 *     the warps' sums meet in shared memory, in the order of the warps; epilogue
 *
 * A thread reads pieces of 8 of depth, whose words are two steps of the instruction: which depth is whose does not matter, as long as both sides agree.
 * Of pairs the 16 columns are 8 gates and their 8 ups. A is row-major, f32 or bf16. Bindings and the equation: hmoec_matmul_spec in kernel/kernels.h. */
#include <mlir-c/BuiltinTypes.h>

#include "target/cuda/product.h"

enum {
  THREADS = 256,
  WARPS = THREADS / CUDA_WARP,
  PLANE = HMOE_CUDA_PLANE,
  PIECE = 8,
  TILE = 8, /* rows that one instruction multiplies */
  TILES = 4, /* and how many of them at one time: of rows that are normalised fewer, whose weights are in registers, too */
  NORMALISED_TILES = 2,
  ROWS = TILE * TILES,
  COLUMNS = 16,
  SUM_PITCH = COLUMNS + 4, /* a warp's stores meet no bank twice */
  SUM_BYTES = WARPS * ROWS * SUM_PITCH * 4
};

static const MlirValue nothing = {NULL};

static int64_t shared_bytes(const hmoec_matmul_spec *spec) { return SUM_BYTES + cuda_row_norm_bytes(spec->norm, ROWS); }

typedef struct stream {
  product p;
  int64_t tiles;
  MlirType four_f32, four_words, words; /* vectors of 4 f32, of 4 words; a word */
  MlirValue group, quad; /* lane / 4 and lane % 4 */
  MlirValue part; /* the part's first row, in the block */
  MlirValue rows; /* of the part */
  MlirValue row[TILES]; /* of A, that this lane reads */
  cuda_statistics statistics[TILES];
  MlirValue column[2]; /* of B, whose lines this lane reads */
} stream;

static MlirValue row_of(void *user, MlirValue i) {
  stream *s = user;
  return cuda_product_row(&s->p, ir_add_i(&s->p.e->ir, s->part, i));
}

/* The rows of A that this lane reads: past the part's last the first again, whose sums nobody reads. */
static void find_rows(stream *s) {
  ir_builder *ir = &s->p.e->ir;
  for (int64_t t = 0; t < s->tiles; t++) {
    MlirValue i = ir_add_i(ir, s->group, ir_i64(ir, t * TILE));
    i = ir_select(ir, ir_compare_i(ir, IR_LT, i, s->rows), i, ir_i64(ir, 0));
    s->row[t] = row_of(s, i);
    s->statistics[t] = cuda_row_norm_of(s->p.e, &s->p.norm, i);
  }
}

/* ---- A ---- */

static MlirValue a_element(stream *s, int64_t t, MlirValue k) {
  return cuda_row_norm_apply(s->p.e, &s->p.norm, &s->statistics[t], cuda_f32(s->p.e, s->row[t], k), k);
}

/* Depth row k of tile t, as A has it, 0 behind the last where that may be. */
static MlirValue a_value(stream *s, int64_t t, MlirValue k, bool last) {
  ir_builder *ir = &s->p.e->ir;
  const hmoec_matmul_spec *spec = s->p.spec;
  bool halves = hmoec_is_bf16(spec->a_format);
  MlirType type = halves ? ir->i16 : ir->f32;
  ir_branch real;
  if (last) ir_if_begin(ir, &real, ir_compare_i(ir, IR_LT, k, ir_i64(ir, spec->k)), type);
  MlirValue x = halves ? ir_load(ir, ir->i16, ir_at(ir, s->row[t], ir->i16, k), 2) : a_element(s, t, k);
  if (!last) return x;
  ir_if_else(ir, &real, x);
  MlirValue zero =
      halves ? ir_op(ir, "llvm.trunc", ir->i16, 1, (MlirValue[]){ir_i32(ir, 0)}, NULL, (MlirAttribute){NULL}) : ir_f32(ir, 0.0f);
  return ir_if_end(ir, &real, zero);
}

/* Words of a piece from depth row k on, of the row that this lane has of tile t. */
static void load_piece(stream *s, int64_t t, MlirValue k, bool last, MlirValue out_words[PIECE / 2]) {
  ir_builder *ir = &s->p.e->ir;
  if (hmoec_is_bf16(s->p.spec->a_format) && !last && s->p.spec->a_stride % PIECE == 0) {
    MlirValue words = ir_load(ir, s->four_words, ir_at(ir, s->row[t], ir->i16, k), 16);
    for (int64_t w = 0; w < PIECE / 2; w++) out_words[w] = cuda_element(s->p.e, words, ir->i32, w);
    return;
  }
  for (int64_t w = 0; w < PIECE / 2; w++) {
    MlirValue low = a_value(s, t, ir_add_i(ir, k, ir_i64(ir, 2 * w)), last),
              high = a_value(s, t, ir_add_i(ir, k, ir_i64(ir, 2 * w + 1)), last);
    out_words[w] = hmoec_is_bf16(s->p.spec->a_format) ? cuda_word(s->p.e, low, high) : cuda_bf16_word(s->p.e, low, high);
  }
}

/* ---- products ---- */

/* sums[t] += the plane's products. last: of a plane that ends behind k. */
static void multiply_plane(stream *s, MlirValue plane, bool last, MlirValue sums[TILES]) {
  hmoec_cuda_emitter *e = s->p.e;
  ir_builder *ir = &e->ir;
  int64_t planes = cuda_planes_of(s->p.spec->k), width = CUDA_PANEL;
  MlirValue weights[2][2][PIECE / 2], pieces[2];
  for (int64_t i = 0; i < 2; i++) pieces[i] = ir_add_i(ir, s->quad, ir_i64(ir, 4 * i));
  for (int64_t h = 0; h < 2; h++) { /* the column's line of the plane */
    MlirValue panel = ir_div_i(ir, s->column[h], ir_i64(ir, width)), column = ir_rem_i(ir, s->column[h], ir_i64(ir, width));
    MlirValue line = ir_add_i(ir, ir_mul_i(ir, panel, ir_i64(ir, planes)), plane);
    line = ir_add_i(ir, ir_mul_i(ir, line, ir_i64(ir, width)), column);
    MlirValue from = cuda_row_of(e, s->p.b, ir->i16, line, PLANE);
    for (int64_t i = 0; i < 2; i++) {
      MlirValue place = ir_mul_i(ir, ir_xor(ir, pieces[i], s->group), ir_i64(ir, PIECE));
      MlirValue words = ir_load(ir, s->four_words, ir_at(ir, from, ir->i16, place), 16);
      for (int64_t w = 0; w < PIECE / 2; w++) weights[h][i][w] = cuda_element(s->p.e, words, ir->i32, w);
    }
  }
  MlirValue first_k = ir_mul_i(ir, plane, ir_i64(ir, PLANE));
  for (int64_t t = 0; t < s->tiles; t++) {
    ir_branch there; /* of all lanes */
    if (t) ir_if_begin(ir, &there, ir_compare_i(ir, IR_GT, s->rows, ir_i64(ir, t * TILE)), s->four_f32);
    MlirValue sum = sums[t];
    for (int64_t i = 0; i < 2; i++) {
      MlirValue x[PIECE / 2];
      load_piece(s, t, ir_add_i(ir, first_k, ir_mul_i(ir, pieces[i], ir_i64(ir, PIECE))), last, x);
      for (int64_t step = 0; step < PIECE / 4; step++) {
        const MlirValue a[4] = {weights[0][i][2 * step], weights[1][i][2 * step], weights[0][i][2 * step + 1],
                                weights[1][i][2 * step + 1]},
                        b[2] = {x[2 * step], x[2 * step + 1]};
        sum = cuda_mma_bf16(e, a, b, sum);
      }
    }
    if (t) {
      ir_if_else(ir, &there, sum);
      sum = ir_if_end(ir, &there, sums[t]);
    }
    sums[t] = sum;
  }
}

/* This warp's planes, from the block's first on. */
static void multiply_planes(stream *s, MlirValue sums[TILES]) {
  ir_builder *ir = &s->p.e->ir;
  int64_t whole = s->p.spec->k / PLANE;
  MlirValue first = ir_div_i(ir, s->p.first_k, ir_i64(ir, PLANE));
  ir_loop plane;
  ir_for_begin(ir, &plane, ir_add_i(ir, first, s->p.task->warp), ir_i64(ir, whole), WARPS, s->tiles, sums);
  MlirValue next[TILES];
  for (int64_t t = 0; t < s->tiles; t++) next[t] = plane.args[t];
  multiply_plane(s, plane.index, false, next);
  ir_for_end(ir, &plane, next);
  for (int64_t t = 0; t < s->tiles; t++) sums[t] = plane.args[t];
  if (s->p.spec->k % PLANE == 0) return;
  /* The last is the next warp's: the one whose turn it would be, or the first where no plane is whole. */
  MlirValue last = ir_i64(ir, whole), turn = ir_rem_i(ir, ir_sub_i(ir, last, first), ir_i64(ir, WARPS));
  MlirValue mine = ir_and(ir, ir_compare_i(ir, IR_EQ, turn, s->p.task->warp), ir_compare_i(ir, IR_LE, first, last));
  ir_loop once; /* one time or none: a loop carries all tiles */
  ir_for_begin(ir, &once, ir_i64(ir, 0), ir_select(ir, mine, ir_i64(ir, 1), ir_i64(ir, 0)), 1, s->tiles, sums);
  for (int64_t t = 0; t < s->tiles; t++) next[t] = once.args[t];
  multiply_plane(s, last, true, next);
  ir_for_end(ir, &once, next);
  for (int64_t t = 0; t < s->tiles; t++) sums[t] = once.args[t];
}

/* ---- sums ---- */

/* Sum [row][column] of a warp. */
static MlirValue sum_at(stream *s, MlirValue warp, MlirValue row, MlirValue column) {
  ir_builder *ir = &s->p.e->ir;
  MlirValue line = ir_add_i(ir, ir_mul_i(ir, warp, ir_i64(ir, ROWS)), row);
  return ir_at(ir, cuda_row(s->p.e, cuda_shared(s->p.e, 0), line, SUM_PITCH), ir->f32, column);
}

/* A lane has columns g and g + 8 of rows 2 q and 2 q + 1. */
static void store_sums(stream *s, const MlirValue sums[TILES]) {
  ir_builder *ir = &s->p.e->ir;
  for (int64_t t = 0; t < s->tiles; t++)
    for (int64_t j = 0; j < 4; j++) {
      MlirValue row = ir_add_i(ir, ir_mul_i(ir, s->quad, ir_i64(ir, 2)), ir_i64(ir, t * TILE + j % 2));
      MlirValue column = ir_add_i(ir, s->group, ir_i64(ir, j / 2 * 8));
      ir_store(ir, cuda_element(s->p.e, sums[t], ir->f32, j), sum_at(s, s->p.task->warp, row, column), 4);
    }
}

static MlirValue whole_sum(stream *s, MlirValue row, MlirValue column) {
  ir_builder *ir = &s->p.e->ir;
  MlirValue sum = ir_load(ir, ir->f32, sum_at(s, ir_i64(ir, 0), row, column), 4);
  for (int64_t w = 1; w < WARPS; w++) sum = ir_add(ir, sum, ir_load(ir, ir->f32, sum_at(s, ir_i64(ir, w), row, column), 4));
  return sum;
}

/* first: column of C; right: of B. */
static void emit_epilogue(stream *s, bool pairs, MlirValue first, MlirValue right) {
  ir_builder *ir = &s->p.e->ir;
  int64_t width = pairs ? COLUMNS / 2 : COLUMNS;
  MlirValue columns = ir_i64(ir, width);
  ir_loop i;
  ir_for_begin(ir, &i, s->p.task->thread, ir_mul_i(ir, s->rows, columns), THREADS, 0, NULL);
  MlirValue row = ir_div_i(ir, i.index, columns), column = ir_rem_i(ir, i.index, columns);
  MlirValue sum = whole_sum(s, row, column), up = pairs ? whole_sum(s, row, ir_add_i(ir, column, columns)) : nothing;
  cuda_write_column(&s->p, pairs, ir_add_i(ir, s->part, row), ir_add_i(ir, first, column), sum, up, ir_add_i(ir, right, column));
  ir_for_end(ir, &i, NULL);
}

/* Columns [begin, end) of C, in panels, of one part of the rows. */
static void emit_columns(stream *s, bool pairs, MlirValue begin, MlirValue end) {
  hmoec_cuda_emitter *e = s->p.e;
  ir_builder *ir = &e->ir;
  int64_t width = pairs ? COLUMNS / 2 : COLUMNS, panel_columns = CUDA_PANEL;
  ir_loop c;
  ir_for_begin(ir, &c, ir_mul_i(ir, begin, ir_i64(ir, panel_columns)), ir_mul_i(ir, end, ir_i64(ir, panel_columns)), width, 0,
               NULL);
  MlirValue right = cuda_right_column(&s->p, pairs, c.index);
  s->column[0] = ir_add_i(ir, right, s->group);
  s->column[1] = ir_add_i(ir, s->column[0], ir_i64(ir, pairs ? panel_columns : COLUMNS / 2));
  MlirValue zeros = ir_splat_to(ir, ir_f32(ir, 0.0f), 4), sums[TILES];
  for (int64_t t = 0; t < s->tiles; t++) sums[t] = zeros;
  multiply_planes(s, sums);
  store_sums(s, sums);
  cuda_barrier(e);
  emit_epilogue(s, pairs, c.index, right);
  cuda_barrier(e); /* before the next columns' sums come where these are */
  ir_for_end(ir, &c, NULL);
}

static void emit(hmoec_cuda_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  int64_t four_count = 4, tiles = spec->norm == HMOEC_NORM_NONE ? TILES : NORMALISED_TILES, rows = TILE * tiles;
  stream s = {.tiles = tiles,
              .p = {.e = e, .spec = spec, .task = task},
              .four_f32 = mlirVectorTypeGet(1, &four_count, ir->f32),
              .four_words = mlirVectorTypeGet(1, &four_count, ir->i32)};
  MlirValue begin, end;
  s.group = ir_div_i(ir, task->lane, ir_i64(ir, 4));
  s.quad = ir_rem_i(ir, task->lane, ir_i64(ir, 4));
  cuda_product_begin(&s.p, &begin, &end);
  MlirValue pairs = ir_i64(ir, cuda_paired_panels(spec));
  ir_loop part;
  ir_for_begin(ir, &part, ir_i64(ir, 0), s.p.block.rows, rows, 0, NULL);
  s.part = part.index;
  s.rows = ir_min_i(ir, ir_i64(ir, rows), ir_sub_i(ir, s.p.block.rows, part.index));
  s.p.norm.shared_at = SUM_BYTES;
  s.p.norm.rows = ROWS;
  cuda_row_norm_begin(e, task, &s.p.norm, WARPS, s.rows, row_of, &s);
  find_rows(&s);
  if (spec->paired) emit_columns(&s, true, begin, ir_min_i(ir, end, pairs));
  if (!spec->paired || spec->segments > 1) emit_columns(&s, false, ir_max_i(ir, begin, pairs), end);
  if (spec->norm != HMOEC_NORM_NONE) cuda_barrier(e); /* before the next part's statistics */
  ir_for_end(ir, &part, NULL);
  cuda_product_end(&s.p);
}

const hmoec_cuda_way hmoec_cuda_stream = {.threads = THREADS, .column_steps = 1, .shared_bytes = shared_bytes, .emit = emit};
