/* MATMUL in bf16 of few rows: mma.m16n8k16 with weights as its left side and rows as its right one.
 *
 *   for each part of up to 32 rows, for each panel of C (of a pair: of its gates, and of its ups):
 *     every warp multiplies the planes of depth that are its own, of all rows of the part
 *     the warps' sums meet in shared memory, in the order of the warps; epilogue
 *
 * Of a depth of fewer planes than warps, teams of as many warps have panels of their own, side by side, whose sums meet and end at one time.
 * Of a narrow product, which few tasks share, panels are cut in two, and twice the warps share the depth.
 * Weights come to shared memory by asynchronous copies, a warp's to stages of its own: no warp waits for another one's. While a plane is multiplied the next ones are on the
 * way, and while sums meet those of the next panel are: memory always has something to do. Rows are read where they are, once for all columns of a panel, or, of
 * one plane, of a part: those of all tiles before the first is multiplied, but for pairs, whose sums leave no registers for them.
 *
 * The first weights of a task are asked for before the launch before this one has ended, and rows read and multiplied, where the call says that this is not too early.
 *
 * A thread reads pieces of 8 of depth, whose words are two steps of the instruction: which depth is whose does not matter, as long as both sides agree.
 * A is row-major, f32 or bf16. Bindings and the equation: hmoec_matmul_spec in kernel/kernels.h. */
#include <mlir-c/BuiltinTypes.h>

#include "target/cuda/product.h"

enum {
  WARPS = 4,
  NARROW_WARPS = 2 * WARPS,
  PLANE = HMOE_CUDA_PLANE,
  PIECE = 8,
  PIECE_BYTES = PIECE * 2,
  LINE_BYTES = PLANE * 2,
  PANEL_BYTES = CUDA_PANEL * LINE_BYTES, /* of a plane */
  TILE = 8, /* rows that one instruction multiplies */
  TILES = 4, /* and how many of them at one time: of rows that are normalised fewer, for the registers of their statistics */
  NORMALISED_TILES = 2,
  ROWS = TILE * TILES,
  LEFT = 16, /* columns that one instruction multiplies */
  LEFTS = 2 * CUDA_PANEL / LEFT, /* at most: of pairs */
  STAGES = 4, /* of a warp, at most: of a pair half as many */
  RING_BYTES = WARPS * STAGES * PANEL_BYTES, /* of all warps' stages */
  AT_ONCE = 4 /* rows of a thread in the epilogue of teams: what C has of them comes together */
};

static const MlirType none = {NULL};
static const MlirValue nothing = {NULL};

static int64_t warps_of(const hmoec_matmul_spec *spec) { return cuda_is_narrow(spec) ? NARROW_WARPS : WARPS; }
static int64_t width_of(const hmoec_matmul_spec *spec) { return cuda_is_narrow(spec) ? CUDA_PANEL / 2 : CUDA_PANEL; }
/* Of a row of sums: a warp's stores meet no bank twice. */
static int64_t sum_pitch(const hmoec_matmul_spec *spec) { return (spec->paired ? 2 : 1) * width_of(spec) + 4; }
static int64_t norm_at(const hmoec_matmul_spec *spec) { return RING_BYTES + warps_of(spec) * ROWS * sum_pitch(spec) * 4; }
static int64_t shared_bytes(const hmoec_matmul_spec *spec) { return norm_at(spec) + cuda_row_norm_bytes(spec->norm, ROWS); }

typedef struct stream {
  product p;
  int64_t tiles;
  int64_t warps, threads, width; /* of a block; columns of a step of C's: a panel or half of one */
  int64_t team_warps, teams;
  MlirValue team; /* this warp's */
  bool pairs; /* what follows is of these columns */
  int64_t panels, stages; /* of B, for one of C; planes of a step that a warp has room for */
  MlirType piece_words, four_f32; /* vectors of 4 words, of 4 f32 */
  MlirType pieces_type; /* what load_pieces gives */
  MlirType tile_sums; /* a vector of the sums that a lane has of a tile of rows: 4 of every 16 columns */
  MlirValue group, quad; /* lane / 4 and lane % 4 */
  MlirValue left; /* the column of 8 that this lane reads of weights */
  MlirValue planes; /* of depth */
  MlirValue first, end; /* this warp's first plane; steps of C */
  MlirValue part; /* the part's first row, in the block */
  MlirValue rows; /* of the part */
  MlirValue row[TILES]; /* of A, that this lane reads */
  bool one_plane; /* all of the depth */
  MlirValue pieces[TILES]; /* then, those of the part */
  cuda_statistics statistics[TILES];
} stream;

/* Warps that share a depth: no more than it has planes, but for a power of two. */
static int64_t team_warps_of(const hmoec_matmul_spec *spec) {
  int64_t warps = 1;
  while (warps < warps_of(spec) && warps < cuda_planes_of(spec->k)) warps *= 2;
  return warps;
}

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

/* ---- weights ---- */

typedef struct place { /* of a plane of a step of C, in the order in which a warp multiplies them */
  MlirValue step, plane;
} place;

static place place_behind(stream *s, place at) {
  ir_builder *ir = &s->p.e->ir;
  MlirValue plane = ir_add_i(ir, at.plane, ir_i64(ir, s->team_warps)), ends = ir_compare_i(ir, IR_GE, plane, s->planes);
  MlirValue next = ir_add_i(ir, at.step, ir_i64(ir, s->teams));
  return (place){ir_select(ir, ends, next, at.step), ir_select(ir, ends, s->first, plane)};
}

/* Of a step's columns, in a plane. */
static int64_t step_bytes(const stream *s) { return s->width * LINE_BYTES; }

/* This warp's stage that is used `number`th. */
static MlirValue stage_at(stream *s, MlirValue number) {
  ir_builder *ir = &s->p.e->ir;
  MlirValue own = ir_mul_i(ir, s->p.task->warp, ir_i64(ir, RING_BYTES / s->warps));
  MlirValue stage = ir_and(ir, number, ir_i64(ir, s->stages - 1));
  MlirValue at = ir_add_i(ir, own, ir_mul_i(ir, stage, ir_i64(ir, s->panels * step_bytes(s))));
  return ir_at(ir, cuda_shared(s->p.e, 0), ir->i8, at);
}

/* Weights to a stage, where there are such; a group of copies in any case. */
static void copy_weights(stream *s, place from, MlirValue number) {
  hmoec_cuda_emitter *e = s->p.e;
  ir_builder *ir = &e->ir;
  MlirValue lane = ir_mul_i(ir, s->p.task->lane, ir_i64(ir, PIECE_BYTES));
  MlirValue to = ir_at(ir, stage_at(s, number), ir->i8, lane), bytes = ir_i32(ir, PIECE_BYTES);
  MlirValue steps = ir_i64(ir, CUDA_PANEL / s->width), panel = s->width < CUDA_PANEL ? ir_div_i(ir, from.step, steps) : from.step;
  MlirValue part = s->width < CUDA_PANEL ? ir_mul_i(ir, ir_rem_i(ir, from.step, steps), ir_i64(ir, step_bytes(s))) : nothing;
  panel = ir_add_i(ir, panel, s->pairs ? panel : ir_i64(ir, cuda_paired_panels(s->p.spec)));
  ir_branch there;
  ir_if_begin(ir, &there, ir_and(ir, ir_compare_i(ir, IR_LT, from.step, s->end), ir_compare_i(ir, IR_LT, from.plane, s->planes)),
              none);
  for (int64_t i = 0; i < s->panels; i++) {
    MlirValue number_of_plane = ir_add_i(ir, ir_mul_i(ir, ir_add_i(ir, panel, ir_i64(ir, i)), s->planes), from.plane);
    MlirValue at = ir_at(ir, cuda_row_of(e, s->p.b, ir->i8, number_of_plane, PANEL_BYTES), ir->i8, lane);
    if (s->width < CUDA_PANEL) at = ir_at(ir, at, ir->i8, part);
    for (int64_t b = 0; b < step_bytes(s); b += CUDA_WARP * PIECE_BYTES)
      cuda_copy_async(e, ir_at_constant(ir, to, ir->i8, i * step_bytes(s) + b), ir_at_constant(ir, at, ir->i8, b), bytes);
  }
  cuda_if_end(e, &there);
  cuda_copy_commit(e);
}

/* weights[column / 8][piece]: of the lane's column of 8, pieces quad and quad + 4. */
static void load_weights(stream *s, MlirValue number, MlirValue weights[2 * LEFTS][2]) {
  ir_builder *ir = &s->p.e->ir;
  MlirValue stage = stage_at(s, number);
  for (int64_t i = 0; i < 2; i++) {
    MlirValue piece = ir_xor(ir, ir_add_i(ir, s->quad, ir_i64(ir, 4 * i)), s->left);
    MlirValue at = ir_add_i(ir, ir_mul_i(ir, s->left, ir_i64(ir, LINE_BYTES)), ir_mul_i(ir, piece, ir_i64(ir, PIECE_BYTES)));
    MlirValue from = ir_at(ir, stage, ir->i8, at);
    for (int64_t c = 0; c < s->panels * s->width / 8; c++)
      weights[c][i] = ir_load(ir, s->piece_words, ir_at_constant(ir, from, ir->i8, c * 8 * LINE_BYTES), 16);
  }
}

/* ---- A ---- */

static MlirValue a_element(stream *s, int64_t t, MlirValue x, MlirValue k) {
  return cuda_row_norm_apply(s->p.e, &s->p.norm, &s->statistics[t], x, k);
}

/* Depth row k of tile t, as A has it, 0 behind the last where that may be. */
static MlirValue a_value(stream *s, int64_t t, MlirValue k) {
  ir_builder *ir = &s->p.e->ir;
  const hmoec_matmul_spec *spec = s->p.spec;
  bool halves = hmoec_is_bf16(spec->a_format), last = spec->k % PLANE != 0;
  MlirType type = halves ? ir->i16 : ir->f32;
  ir_branch real;
  if (last) ir_if_begin(ir, &real, ir_compare_i(ir, IR_LT, k, ir_i64(ir, spec->k)), type);
  MlirValue x =
      halves ? ir_load(ir, ir->i16, ir_at(ir, s->row[t], ir->i16, k), 2) : a_element(s, t, cuda_f32(s->p.e, s->row[t], k), k);
  if (!last) return x;
  ir_if_else(ir, &real, x);
  MlirValue zero =
      halves ? ir_op(ir, "llvm.trunc", ir->i16, 1, (MlirValue[]){ir_i32(ir, 0)}, NULL, (MlirAttribute){NULL}) : ir_f32(ir, 0.0f);
  return ir_if_end(ir, &real, zero);
}

/* Words of a piece from depth row k on, one value at a time. */
static MlirValue piece_by_value(stream *s, int64_t t, MlirValue k) {
  ir_builder *ir = &s->p.e->ir;
  MlirValue words = ir_splat_to(ir, ir_i32(ir, 0), PIECE / 2);
  for (int64_t w = 0; w < PIECE / 2; w++) {
    MlirValue low = a_value(s, t, ir_add_i(ir, k, ir_i64(ir, 2 * w))), high = a_value(s, t, ir_add_i(ir, k, ir_i64(ir, 2 * w + 1)));
    MlirValue word = hmoec_is_bf16(s->p.spec->a_format) ? cuda_word(s->p.e, low, high) : cuda_bf16_word(s->p.e, low, high);
    words = cuda_with_element(s->p.e, words, word, w);
  }
  return words;
}

/* Whether A's rows may be read 16 bytes at a time, but for what is behind their last whole plane. */
static bool reads_pieces(const hmoec_matmul_spec *spec) {
  return !spec->a_loose && spec->a_stride % (hmoec_is_bf16(spec->a_format) ? PIECE : 4) == 0 && spec->k >= PLANE;
}

/* f32 of a whole piece. */
static void load_values(stream *s, int64_t t, MlirValue k, MlirValue x[PIECE]) {
  ir_builder *ir = &s->p.e->ir;
  MlirValue at = ir_at(ir, s->row[t], ir->f32, k);
  for (int64_t i = 0; i < PIECE; i += 4) {
    MlirValue four = ir_load(ir, s->four_f32, ir_at_constant(ir, at, ir->f32, i), 16);
    for (int64_t j = 0; j < 4; j++) x[i + j] = cuda_element(s->p.e, four, ir->f32, j);
  }
}

static MlirValue words_of(stream *s, const MlirValue x[PIECE]) {
  MlirValue words = ir_splat_to(&s->p.e->ir, ir_i32(&s->p.e->ir, 0), PIECE / 2);
  for (int64_t w = 0; w < PIECE / 2; w++)
    words = cuda_with_element(s->p.e, words, cuda_bf16_word(s->p.e, x[2 * w], x[2 * w + 1]), w);
  return words;
}

/* Words of a whole piece. */
static MlirValue whole_piece(stream *s, int64_t t, MlirValue k) {
  ir_builder *ir = &s->p.e->ir;
  if (hmoec_is_bf16(s->p.spec->a_format)) return ir_load(ir, s->piece_words, ir_at(ir, s->row[t], ir->i16, k), 16);
  MlirValue x[PIECE];
  load_values(s, t, k, x);
  for (int64_t i = 0; i < PIECE; i++) x[i] = a_element(s, t, x[i], ir_add_i(ir, k, ir_i64(ir, i)));
  return words_of(s, x);
}

/* Where a piece has both: of a plane that is not the last. */
static MlirValue piece_of(stream *s, int64_t t, MlirValue plane, MlirValue k) {
  ir_builder *ir = &s->p.e->ir;
  const hmoec_matmul_spec *spec = s->p.spec;
  ir_branch whole;
  if (!reads_pieces(spec)) return piece_by_value(s, t, k);
  if (spec->k % PLANE == 0) return whole_piece(s, t, k);
  ir_if_begin(ir, &whole, ir_compare_i(ir, IR_LT, plane, ir_i64(ir, spec->k / PLANE)), s->piece_words);
  ir_if_else(ir, &whole, whole_piece(s, t, k));
  return ir_if_end(ir, &whole, piece_by_value(s, t, k));
}

/* Whether A is rounded only when it is multiplied, so that nothing waits for it before. */
static bool rounds_late(const hmoec_matmul_spec *spec) {
  return !hmoec_is_bf16(spec->a_format) && spec->norm == HMOEC_NORM_NONE && reads_pieces(spec) && spec->k % PLANE == 0;
}

/* Pieces quad and quad + 4 of a plane, of the row that this lane has of tile t: a vector of words, or of f32 that are rounded late. */
static MlirValue load_pieces(stream *s, int64_t t, MlirValue plane) {
  hmoec_cuda_emitter *e = s->p.e;
  ir_builder *ir = &e->ir;
  int64_t each = rounds_late(s->p.spec) ? PIECE : PIECE / 2;
  MlirValue all = nothing, x[PIECE], first_k = ir_mul_i(ir, plane, ir_i64(ir, PLANE));
  for (int64_t i = 0; i < 2; i++) {
    MlirValue k = ir_add_i(ir, first_k, ir_mul_i(ir, ir_add_i(ir, s->quad, ir_i64(ir, 4 * i)), ir_i64(ir, PIECE)));
    if (rounds_late(s->p.spec)) {
      load_values(s, t, k, x);
    } else {
      MlirValue words = piece_of(s, t, plane, k);
      for (int64_t w = 0; w < each; w++) x[w] = cuda_element(e, words, ir->i32, w);
    }
    if (!i) all = ir_splat_to(ir, x[0], 2 * each);
    for (int64_t w = 0; w < each; w++) all = cuda_with_element(e, all, x[w], i * each + w);
  }
  return all;
}

/* Both pieces' words. */
static void split_pieces(stream *s, MlirValue all, MlirValue out_words[2]) {
  hmoec_cuda_emitter *e = s->p.e;
  bool late = rounds_late(s->p.spec);
  int64_t each = late ? PIECE : PIECE / 2;
  for (int64_t i = 0; i < 2; i++) {
    MlirValue x[PIECE];
    for (int64_t w = 0; w < each; w++) x[w] = cuda_element(e, all, late ? e->ir.f32 : e->ir.i32, i * each + w);
    if (late) {
      out_words[i] = words_of(s, x);
      continue;
    }
    out_words[i] = ir_splat_to(&e->ir, x[0], each);
    for (int64_t w = 1; w < each; w++) out_words[i] = cuda_with_element(e, out_words[i], x[w], w);
  }
}

/* ---- products ---- */

/* sums += the tile's products. all: its pieces. */
static MlirValue multiply_tile(stream *s, MlirValue weights[2 * LEFTS][2], MlirValue all, MlirValue sums) {
  hmoec_cuda_emitter *e = s->p.e;
  MlirValue pieces[2];
  split_pieces(s, all, pieces);
  MlirType word = e->ir.i32, number = e->ir.f32;
  for (int64_t m = 0; m < s->panels * s->width / LEFT; m++) {
    MlirValue sum = ir_splat_to(&e->ir, ir_f32(&e->ir, 0.0f), 4);
    for (int64_t j = 0; j < 4; j++) sum = cuda_with_element(e, sum, cuda_element(e, sums, number, 4 * m + j), j);
    for (int64_t i = 0; i < 2; i++)
      for (int64_t step = 0; step < PIECE / 4; step++) {
        const MlirValue *upper = weights[2 * m], *lower = weights[2 * m + 1];
        const MlirValue a[4] = {cuda_element(e, upper[i], word, 2 * step), cuda_element(e, lower[i], word, 2 * step),
                                cuda_element(e, upper[i], word, 2 * step + 1), cuda_element(e, lower[i], word, 2 * step + 1)},
                        b[2] = {cuda_element(e, pieces[i], word, 2 * step), cuda_element(e, pieces[i], word, 2 * step + 1)};
        sum = cuda_mma_bf16(e, a, b, sum);
      }
    for (int64_t j = 0; j < 4; j++) sums = cuda_with_element(e, sums, cuda_element(e, sum, number, j), 4 * m + j);
  }
  return sums;
}

enum {
  STEP_ARG,
  PLANE_ARG,
  USED_ARG,
  ARGS
}; /* what loops carry beside sums: the place that is copied next, how many stages were used */

/* Whether the part has rows of tile t: the same for all lanes. */
static MlirValue has_tile(stream *s, int64_t t) { return ir_compare_i(&s->p.e->ir, IR_GT, s->rows, ir_i64(&s->p.e->ir, t * TILE)); }

/* Pieces of tile t, where the part has it. */
static MlirValue load_tile(stream *s, int64_t t, MlirValue plane) {
  ir_builder *ir = &s->p.e->ir;
  ir_branch there;
  if (t == 0) return load_pieces(s, t, plane);
  ir_if_begin(ir, &there, has_tile(s, t), s->pieces_type);
  ir_if_else(ir, &there, load_pieces(s, t, plane));
  bool late = rounds_late(s->p.spec);
  return ir_if_end(ir, &there, ir_splat_to(ir, late ? ir_f32(ir, 0.0f) : ir_i32(ir, 0), late ? 2 * PIECE : PIECE));
}

/* This warp's planes of a step of C, as far as `end`. */
static void multiply_planes(stream *s, MlirValue end, MlirValue args[ARGS], MlirValue sums[TILES]) {
  ir_builder *ir = &s->p.e->ir;
  int64_t ahead_tiles = s->pairs ? 1 : s->tiles;
  MlirValue carried[ARGS + TILES], weights[2 * LEFTS][2], pieces[TILES];
  for (int a = 0; a < ARGS; a++) carried[a] = args[a];
  for (int64_t t = 0; t < s->tiles; t++) carried[ARGS + t] = sums[t];
  ir_loop plane;
  ir_for_begin(ir, &plane, s->first, end, s->team_warps, ARGS + s->tiles, carried);
  MlirValue used = plane.args[USED_ARG];
  place ahead = {plane.args[STEP_ARG], plane.args[PLANE_ARG]}, behind = place_behind(s, ahead);
  for (int64_t t = 0; t < ahead_tiles; t++) /* they are on the way while the weights are waited for */
    pieces[t] = s->one_plane ? s->pieces[t] : load_tile(s, t, plane.index);
  cuda_copy_wait(s->p.e, (int32_t)s->stages - 2); /* for this plane */
  cuda_warp_barrier(s->p.e); /* all lanes' copies; and the stage that is filled now is read no more */
  load_weights(s, used, weights); /* before memory is written, so that LLVM leaves pieces whole */
  copy_weights(s, ahead, ir_add_i(ir, used, ir_i64(ir, s->stages - 1)));
  carried[STEP_ARG] = behind.step;
  carried[PLANE_ARG] = behind.plane;
  carried[USED_ARG] = ir_add_i(ir, used, ir_i64(ir, 1));
  carried[ARGS] = multiply_tile(s, weights, pieces[0], plane.args[ARGS]);
  for (int64_t t = 1; t < s->tiles; t++) {
    ir_branch there;
    ir_if_begin(ir, &there, has_tile(s, t), s->tile_sums);
    if (t >= ahead_tiles) pieces[t] = load_pieces(s, t, plane.index);
    ir_if_else(ir, &there, multiply_tile(s, weights, pieces[t], plane.args[ARGS + t]));
    carried[ARGS + t] = ir_if_end(ir, &there, plane.args[ARGS + t]);
  }
  ir_for_end(ir, &plane, carried);
  for (int a = 0; a < ARGS; a++) args[a] = plane.args[a];
  for (int64_t t = 0; t < s->tiles; t++) sums[t] = plane.args[ARGS + t];
}

/* ---- sums ---- */

/* Sum [row][column] of a warp; of a pair's columns the gates are first. */
static MlirValue sum_at(stream *s, MlirValue warp, MlirValue row, MlirValue column) {
  ir_builder *ir = &s->p.e->ir;
  MlirValue line = ir_add_i(ir, ir_mul_i(ir, warp, ir_i64(ir, ROWS)), row);
  return ir_at(ir, cuda_row(s->p.e, cuda_shared(s->p.e, RING_BYTES), line, sum_pitch(s->p.spec)), ir->f32, column);
}

/* Of every 16 columns a lane has its own of the first and of the last 8, of rows 2 q and 2 q + 1. */
static void store_sums(stream *s, const MlirValue sums[TILES]) {
  ir_builder *ir = &s->p.e->ir;
  MlirValue from = sum_at(s, s->p.task->warp, ir_mul_i(ir, s->quad, ir_i64(ir, 2)), s->left);
  for (int64_t t = 0; t < s->tiles; t++)
    for (int64_t i = 0; i < s->panels * s->width / LEFT * 4; i++) {
      int64_t row = t * TILE + i % 2, column = i / 4 * LEFT + i / 2 % 2 * 8;
      ir_store(ir, cuda_element(s->p.e, sums[t], ir->f32, i),
               ir_at_constant(ir, from, ir->f32, row * sum_pitch(s->p.spec) + column), 4);
    }
}

static MlirValue whole_sum(stream *s, MlirValue team, MlirValue row, MlirValue column) {
  ir_builder *ir = &s->p.e->ir;
  MlirValue warp = ir_mul_i(ir, team, ir_i64(ir, s->team_warps)), sum = ir_load(ir, ir->f32, sum_at(s, warp, row, column), 4);
  for (int64_t w = 1; w < s->team_warps; w++)
    sum = ir_add(ir, sum, ir_load(ir, ir->f32, sum_at(s, ir_add_i(ir, warp, ir_i64(ir, w)), row, column), 4));
  return sum;
}

/* Of step `step` of C. */
static void emit_epilogue(stream *s, MlirValue step) {
  ir_builder *ir = &s->p.e->ir;
  MlirValue columns = ir_i64(ir, s->width), first = ir_mul_i(ir, step, columns), zero = ir_i64(ir, 0);
  ir_loop i;
  ir_for_begin(ir, &i, s->p.task->thread, ir_mul_i(ir, s->rows, columns), s->threads, 0, NULL);
  MlirValue row = ir_div_i(ir, i.index, columns), column = ir_rem_i(ir, i.index, columns), c = ir_add_i(ir, first, column);
  MlirValue sum = whole_sum(s, zero, row, column), up = s->pairs ? whole_sum(s, zero, row, ir_add_i(ir, column, columns)) : nothing;
  cuda_write_column(&s->p, s->pairs, ir_add_i(ir, s->part, row), c, sum, up, cuda_right_column(&s->p, s->pairs, c));
  ir_for_end(ir, &i, NULL);
}

/* Sums of four columns side by side, of all of a team's warps. */
static void whole_sums(stream *s, MlirValue team, MlirValue row, MlirValue column, MlirValue out_sums[CUDA_AT_ONCE]) {
  ir_builder *ir = &s->p.e->ir;
  MlirValue warp = ir_mul_i(ir, team, ir_i64(ir, s->team_warps));
  for (int64_t w = 0; w < s->team_warps; w++) {
    MlirValue four[4];
    cuda_load_four(s->p.e, sum_at(s, ir_add_i(ir, warp, ir_i64(ir, w)), row, column), four);
    for (int64_t j = 0; j < CUDA_AT_ONCE; j++) out_sums[j] = w ? ir_add(ir, out_sums[j], four[j]) : four[j];
  }
}

/* Of the teams' steps, from step `step` on, as far as there are such. A thread has four columns. */
static void emit_epilogue_of_teams(stream *s, MlirValue step) {
  ir_builder *ir = &s->p.e->ir;
  int64_t own = CUDA_AT_ONCE, threads = s->width * s->teams / own, apart = s->threads / threads,
          segment = cuda_segment_of(s->p.spec, s->pairs);
  MlirValue columns = ir_i64(ir, s->width), of_row = ir_i64(ir, threads);
  MlirValue place = ir_mul_i(ir, ir_rem_i(ir, s->p.task->thread, of_row), ir_i64(ir, own));
  MlirValue team = ir_div_i(ir, place, columns), column = ir_rem_i(ir, place, columns);
  MlirValue c = ir_add_i(ir, ir_mul_i(ir, step, columns), place), right = cuda_right_column(&s->p, s->pairs, c);
  MlirValue has_step = ir_compare_i(ir, IR_LT, ir_add_i(ir, step, team), s->end);
  MlirValue rows = ir_select(ir, has_step, s->rows, ir_i64(ir, 0)), there[AT_ONCE];
  MlirValue sums[AT_ONCE][CUDA_AT_ONCE], ups[AT_ONCE][CUDA_AT_ONCE], held[AT_ONCE][CUDA_AT_ONCE];
  cuda_line lines[AT_ONCE];
  ir_loop i;
  ir_for_begin(ir, &i, ir_div_i(ir, s->p.task->thread, of_row), rows, apart * AT_ONCE, 0, NULL);
  for (int64_t j = 0; j < AT_ONCE; j++) { /* behind the last row the first again, which nobody writes */
    MlirValue row = ir_add_i(ir, i.index, ir_i64(ir, j * apart));
    there[j] = ir_compare_i(ir, IR_LT, row, rows);
    row = ir_select(ir, there[j], row, i.index);
    lines[j] = cuda_line_of(&s->p, ir_add_i(ir, s->part, row));
    cuda_read_columns(&s->p, segment, &lines[j], there[j], c, CUDA_AT_ONCE, held[j]);
    whole_sums(s, team, row, column, sums[j]);
    for (int64_t l = 0; l < own; l++) ups[j][l] = nothing;
    if (s->pairs) whole_sums(s, team, row, ir_add_i(ir, column, columns), ups[j]);
  }
  for (int64_t j = 0; j < AT_ONCE; j++) {
    ir_branch real;
    ir_if_begin(ir, &real, there[j], none);
    cuda_write_columns(&s->p, segment, &lines[j], c, CUDA_AT_ONCE, sums[j], ups[j], right, held[j]);
    cuda_if_end(s->p.e, &real);
  }
  ir_for_end(ir, &i, NULL);
}

/* What follows is of steps [begin, end) of C, whose first weights are asked for, when that is so: the place of the next ones. when: null: always. */
static place begin_steps(stream *s, bool pairs, MlirValue begin, MlirValue end, MlirValue when) {
  ir_builder *ir = &s->p.e->ir;
  s->pairs = pairs;
  s->panels = pairs ? 2 : 1;
  s->stages = RING_BYTES / s->warps / (s->panels * step_bytes(s));
  s->end = end;
  place ahead[STAGES] = {{s->teams > 1 ? ir_add_i(ir, begin, s->team) : begin, s->first}};
  int64_t asked = s->stages - 1;
  for (int64_t i = 0; i < asked; i++) ahead[i + 1] = place_behind(s, ahead[i]);
  ir_branch now;
  if (!mlirValueIsNull(when)) ir_if_begin(ir, &now, when, none);
  for (int64_t i = 0; i < asked; i++) copy_weights(s, ahead[i], ir_i64(ir, i));
  if (!mlirValueIsNull(when)) cuda_if_end(s->p.e, &now);
  return ahead[asked];
}

/* Steps [begin, end) of C, of one part of the rows; see begin_steps. */
static void emit_steps(stream *s, bool pairs, MlirValue begin, MlirValue end, MlirValue when) {
  hmoec_cuda_emitter *e = s->p.e;
  ir_builder *ir = &e->ir;
  place ahead = begin_steps(s, pairs, begin, end, when);
  int64_t sums_count = s->panels * s->width / LEFT * 4;
  s->tile_sums = mlirVectorTypeGet(1, &sums_count, ir->f32);
  MlirValue args[ARGS] = {[STEP_ARG] = ahead.step, [PLANE_ARG] = ahead.plane, [USED_ARG] = ir_i64(ir, 0)}, sums[TILES];
  for (int64_t t = 0; s->one_plane && t < (pairs ? 1 : s->tiles); t++) s->pieces[t] = load_tile(s, t, ir_i64(ir, 0));
  ir_loop c;
  ir_for_begin(ir, &c, begin, end, s->teams, ARGS, args);
  for (int a = 0; a < ARGS; a++) args[a] = c.args[a];
  for (int64_t t = 0; t < s->tiles; t++) sums[t] = ir_splat_to(ir, ir_f32(ir, 0.0f), sums_count);
  MlirValue planes = s->planes;
  if (s->teams > 1) planes = ir_select(ir, ir_compare_i(ir, IR_LT, ir_add_i(ir, c.index, s->team), end), planes, ir_i64(ir, 0));
  multiply_planes(s, planes, args, sums);
  store_sums(s, sums);
  cuda_barrier(e);
  cuda_follow(e); /* before anything is written */
  if (s->teams > 1) emit_epilogue_of_teams(s, c.index);
  else emit_epilogue(s, c.index);
  cuda_barrier(e); /* before the next step's sums come where these are */
  ir_for_end(ir, &c, args);
}

static void emit(hmoec_cuda_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  int64_t four_count = 4, tiles = spec->norm == HMOEC_NORM_NONE ? TILES : NORMALISED_TILES, rows = TILE * tiles;
  int64_t warps = warps_of(spec), team_warps = team_warps_of(spec), pieces_count = rounds_late(spec) ? 2 * PIECE : PIECE;
  stream s = {.tiles = tiles,
              .warps = warps,
              .threads = warps * CUDA_WARP,
              .width = width_of(spec),
              .one_plane = cuda_planes_of(spec->k) == 1,
              .team_warps = team_warps,
              .teams = warps / team_warps,
              .p = {.e = e, .spec = spec, .task = task},
              .four_f32 = mlirVectorTypeGet(1, &four_count, ir->f32),
              .piece_words = mlirVectorTypeGet(1, &four_count, ir->i32),
              .pieces_type = mlirVectorTypeGet(1, &pieces_count, rounds_late(spec) ? ir->f32 : ir->i32)};
  MlirValue begin, end, pairs = ir_i64(ir, cuda_paired_panels(spec)), two = ir_i64(ir, 2), four = ir_i64(ir, 4);
  s.group = ir_div_i(ir, task->lane, four);
  s.quad = ir_rem_i(ir, task->lane, four);
  /* Columns of a group's own in an order in which eight lanes side by side read pieces of all banks: 0 4 1 5 2 6 3 7. */
  s.left = ir_add_i(ir, ir_div_i(ir, s.group, two), ir_mul_i(ir, ir_rem_i(ir, s.group, two), four));
  cuda_product_begin(&s.p, s.width, &begin, &end);
  s.planes = ir_i64(ir, cuda_planes_of(spec->k));
  MlirValue member = s.teams > 1 ? ir_rem_i(ir, task->warp, ir_i64(ir, team_warps)) : task->warp;
  s.team = ir_div_i(ir, task->warp, ir_i64(ir, team_warps));
  s.first = ir_add_i(ir, ir_div_i(ir, s.p.first_k, ir_i64(ir, PLANE)), member);
  MlirValue first_end = spec->paired ? ir_min_i(ir, end, pairs) : end;
  if (e->waits == CUDA_WAITS_UNLESS_OLDER)
    begin_steps(&s, spec->paired, begin, first_end, nothing), cuda_follow_unless(e, task, HMOE_CUDA_EARLY_ALL);
  ir_loop part;
  ir_for_begin(ir, &part, ir_i64(ir, 0), s.p.block.rows, rows, 0, NULL);
  s.part = part.index;
  s.rows = ir_min_i(ir, ir_i64(ir, rows), ir_sub_i(ir, s.p.block.rows, part.index));
  s.p.norm.shared_at = norm_at(spec);
  s.p.norm.rows = ROWS;
  cuda_row_norm_begin(e, task, &s.p.norm, warps, s.rows, row_of, &s);
  find_rows(&s);
  MlirValue again = e->waits == CUDA_WAITS_UNLESS_OLDER ? ir_compare_i(ir, IR_NE, part.index, ir_i64(ir, 0)) : nothing;
  if (spec->paired) emit_steps(&s, true, begin, first_end, again);
  if (!spec->paired || spec->segments > 1) emit_steps(&s, false, ir_max_i(ir, begin, pairs), end, spec->paired ? nothing : again);
  if (spec->norm != HMOEC_NORM_NONE) cuda_barrier(e); /* before the next part's statistics */
  ir_for_end(ir, &part, NULL);
  cuda_product_end(&s.p);
}

const hmoec_cuda_way hmoec_cuda_stream = {.threads = WARPS * CUDA_WARP,
                                          .column_steps = HMOE_CUDA_READS_EARLY | 1,
                                          .waits = CUDA_WAITS_UNLESS_OLDER,
                                          .shared_bytes = shared_bytes,
                                          .emit = emit};
const hmoec_cuda_way hmoec_cuda_stream_narrow = {.threads = NARROW_WARPS * CUDA_WARP,
                                                 .column_steps = HMOE_CUDA_READS_EARLY | HMOE_CUDA_PARTS | 1,
                                                 .alone = true,
                                                 .waits = CUDA_WAITS_UNLESS_OLDER,
                                                 .shared_bytes = shared_bytes,
                                                 .emit = emit};
