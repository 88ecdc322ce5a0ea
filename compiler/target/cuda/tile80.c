/* MATMUL in bf16 of many rows, on all chips from sm_80 on: a block of 256 threads computes 128 rows and 128 columns of B, four panels, at one time.
 *
 *   for each of the task's tiles:  sums = 0
 *     for each plane of depth:  the rows' and the panels' lines come to shared memory as they lie in memory, STAGES - 1 planes ahead (cp.async)
 *       every warp multiplies 64 rows by 32 columns (ldmatrix, mma.m16n8k16): no two lanes read the same bank, as pieces are in an order of their line's own
 *     the sums to shared memory; epilogue
 *
 * Rows in place, in planes (hmoe/abi_cuda.h); what lies behind a block's rows is not read. A tile of a paired product's first segment is two panels of
 * gates, each with its ups behind it. One accumulator a value, planes ascending. Bindings and the equation: hmoec_matmul_spec in kernel/kernels.h. */
#include <mlir-c/BuiltinTypes.h>

#include "target/cuda/product.h"

enum {
  THREADS = 256,
  WARPS = THREADS / CUDA_WARP,
  ROWS = 128,
  PANELS = 4, /* of a tile */
  COLUMNS = PANELS * CUDA_PANEL,
  LINE_BYTES = HMOE_CUDA_PLANE * 2,
  PIECE_BYTES = 16,
  PIECES = LINE_BYTES / PIECE_BYTES,
  STAGES = 3,
  A_BYTES = ROWS * LINE_BYTES,
  STAGE_BYTES = A_BYTES + COLUMNS * LINE_BYTES,
  WARP_ROWS = 64,
  WARP_COLUMNS = 32,
  M_TILES = WARP_ROWS / 16,
  N_TILES = WARP_COLUMNS / 8,
  SUMS = M_TILES * N_TILES, /* of 4 numbers each */
  SUM_PITCH = COLUMNS + 8,
  SUM_BYTES = ROWS * SUM_PITCH * 4, /* in the place of the stages */
  SHARED_BYTES = SUM_BYTES > STAGES *STAGE_BYTES ? SUM_BYTES : STAGES *STAGE_BYTES,
  STEPS = HMOE_CUDA_PLANE / 16
};

static const MlirType none = {NULL};
static const MlirValue nothing = {NULL};

static int64_t shared_bytes(const hmoec_matmul_spec *spec) {
  (void)spec;
  return SHARED_BYTES;
}

typedef struct tile {
  product p;
  MlirValue planes; /* of depth */
  MlirValue a_height; /* rows of A's planes */
  MlirValue right; /* the tile's first panel of B */
  MlirValue warp_row, warp_column; /* of the tile, where this thread's warp begins */
} tile;

/* ---- loads ---- */

/* The bytes of a stage, from one of it on. */
static MlirValue stage_at(tile *t, MlirValue number, MlirValue byte) {
  ir_builder *ir = &t->p.e->ir;
  MlirValue at = ir_add_i(ir, ir_mul_i(ir, ir_rem_i(ir, number, ir_i64(ir, STAGES)), ir_i64(ir, STAGE_BYTES)), byte);
  return ir_at(ir, cuda_shared(t->p.e, 0), ir->i8, at);
}

/* A thread copies a piece of every 32nd line: of A those of the block's rows, of B those of panels that are there; others are zeros. */
static void load_lines(tile *t, MlirValue plane, MlirValue stage, bool of_a) {
  hmoec_cuda_emitter *e = t->p.e;
  ir_builder *ir = &e->ir;
  int64_t lines = of_a ? ROWS : COLUMNS, step = THREADS / PIECES, panel_lines = CUDA_PANEL;
  MlirValue piece = ir_rem_i(ir, t->p.task->thread, ir_i64(ir, PIECES)),
            first = ir_div_i(ir, t->p.task->thread, ir_i64(ir, PIECES));
  MlirValue row_block = ir_i64(ir, t->p.spec->row_block);
  for (int64_t i = 0; i < lines / step; i++) {
    MlirValue line = ir_add_i(ir, first, ir_i64(ir, i * step)), there, number;
    if (of_a) {
      there = ir_compare_i(ir, IR_LT, line, t->p.block.rows);
      MlirValue row = ir_add_i(ir, ir_mul_i(ir, t->p.block.number, row_block), line);
      number = ir_add_i(ir, ir_mul_i(ir, plane, t->a_height), row);
    } else {
      MlirValue panel = ir_add_i(ir, t->right, ir_i64(ir, i * step / panel_lines));
      there = ir_compare_i(ir, IR_LT, panel, ir_i64(ir, cuda_right_panels(t->p.spec)));
      number = ir_add_i(ir, ir_mul_i(ir, panel, t->planes), plane);
      number = ir_add_i(ir, ir_mul_i(ir, number, ir_i64(ir, panel_lines)), ir_rem_i(ir, line, ir_i64(ir, panel_lines)));
    }
    number = ir_select(ir, there, number, ir_i64(ir, 0)); /* nothing is read there, but the address is one */
    MlirValue from = cuda_row_of(e, of_a ? t->p.a : t->p.b, ir->i8, number, LINE_BYTES);
    from = ir_at(ir, from, ir->i8, ir_mul_i(ir, piece, ir_i64(ir, PIECE_BYTES)));
    MlirValue at = ir_add_i(ir, ir_mul_i(ir, line, ir_i64(ir, LINE_BYTES)), ir_mul_i(ir, piece, ir_i64(ir, PIECE_BYTES)));
    if (!of_a) at = ir_add_i(ir, at, ir_i64(ir, A_BYTES));
    cuda_copy_async(e, stage_at(t, stage, at), from, ir_select(ir, there, ir_i32(ir, PIECE_BYTES), ir_i32(ir, 0)));
  }
}

/* Plane `plane` to its stage, where there is one; a group of copies in any case. stage: planes before it. */
static void load_stage(tile *t, MlirValue plane, MlirValue stage) {
  ir_builder *ir = &t->p.e->ir;
  ir_branch there;
  ir_if_begin(ir, &there, ir_compare_i(ir, IR_LT, plane, t->planes), none);
  load_lines(t, plane, stage, true);
  load_lines(t, plane, stage, false);
  cuda_if_end(t->p.e, &there);
  cuda_copy_commit(t->p.e);
}

/* ---- products ---- */

static void multiply_stage(tile *t, MlirValue stage, MlirValue sums[SUMS]) {
  hmoec_cuda_emitter *e = t->p.e;
  ir_builder *ir = &e->ir;
  MlirValue lane = t->p.task->lane, eight = ir_i64(ir, 8), two = ir_i64(ir, 2);
  MlirValue order = ir_rem_i(ir, lane, eight), upper = ir_div_i(ir, lane, ir_i64(ir, 16)),
            middle = ir_rem_i(ir, ir_div_i(ir, lane, eight), two);
  MlirValue row = ir_add_i(ir, t->warp_row, ir_rem_i(ir, lane, ir_i64(ir, 16)));
  MlirValue column = ir_add_i(ir, t->warp_column, ir_add_i(ir, order, ir_mul_i(ir, upper, eight)));
  for (int64_t step = 0; step < STEPS; step++) {
    MlirValue a[M_TILES][4], b[N_TILES][2], words[4];
    MlirValue a_piece = ir_xor(ir, ir_add_i(ir, upper, ir_i64(ir, 2 * step)), order);
    MlirValue b_piece = ir_xor(ir, ir_add_i(ir, middle, ir_i64(ir, 2 * step)), order);
    for (int64_t m = 0; m < M_TILES; m++) {
      MlirValue at = ir_mul_i(ir, ir_add_i(ir, row, ir_i64(ir, 16 * m)), ir_i64(ir, LINE_BYTES));
      cuda_load_matrices(e, stage_at(t, stage, ir_add_i(ir, at, ir_mul_i(ir, a_piece, ir_i64(ir, PIECE_BYTES)))), a[m]);
    }
    for (int64_t n = 0; n < N_TILES; n += 2) {
      MlirValue at = ir_mul_i(ir, ir_add_i(ir, column, ir_i64(ir, 8 * n)), ir_i64(ir, LINE_BYTES));
      at = ir_add_i(ir, ir_add_i(ir, at, ir_i64(ir, A_BYTES)), ir_mul_i(ir, b_piece, ir_i64(ir, PIECE_BYTES)));
      cuda_load_matrices(e, stage_at(t, stage, at), words);
      for (int64_t w = 0; w < 4; w++) b[n + w / 2][w % 2] = words[w];
    }
    for (int64_t m = 0; m < M_TILES; m++)
      for (int64_t n = 0; n < N_TILES; n++) sums[m * N_TILES + n] = cuda_mma_bf16(e, a[m], b[n], sums[m * N_TILES + n]);
  }
}

/* ---- epilogue ---- */

/* A lane has columns 2 q and 2 q + 1 of rows g and g + 8. */
static void store_sums(tile *t, const MlirValue sums[SUMS]) {
  ir_builder *ir = &t->p.e->ir;
  MlirValue lane = t->p.task->lane, four = ir_i64(ir, 4), row = ir_add_i(ir, t->warp_row, ir_div_i(ir, lane, four));
  MlirValue column = ir_add_i(ir, t->warp_column, ir_mul_i(ir, ir_rem_i(ir, lane, four), ir_i64(ir, 2)));
  for (int64_t i = 0; i < SUMS; i++)
    for (int64_t half = 0; half < 2; half++) {
      MlirValue first = cuda_element(t->p.e, sums[i], ir->f32, 2 * half),
                second = cuda_element(t->p.e, sums[i], ir->f32, 2 * half + 1);
      MlirValue line = ir_add_i(ir, row, ir_i64(ir, i / N_TILES * 16 + half * 8));
      MlirValue to = ir_at(ir, cuda_row(t->p.e, cuda_shared(t->p.e, 0), line, SUM_PITCH), ir->f32, column);
      ir_store(ir, cuda_two(t->p.e, first, second), ir_at_constant(ir, to, ir->f32, i % N_TILES * 8), 8);
    }
}

/* panel: of C, the tile's first. A thread has four columns side by side. */
static void emit_epilogue(tile *t, bool pairs, MlirValue panel, MlirValue panel_end) {
  hmoec_cuda_emitter *e = t->p.e;
  ir_builder *ir = &e->ir;
  int64_t width = pairs ? COLUMNS / 2 : COLUMNS, panel_width = CUDA_PANEL, own = CUDA_AT_ONCE;
  MlirValue columns = ir_i64(ir, width), panel_columns = ir_i64(ir, panel_width);
  MlirValue first = ir_mul_i(ir, panel, panel_columns), end = ir_mul_i(ir, panel_end, panel_columns);
  ir_loop i;
  ir_for_begin(ir, &i, ir_mul_i(ir, t->p.task->thread, ir_i64(ir, own)), ir_mul_i(ir, t->p.block.rows, columns), THREADS * own, 0,
               NULL);
  MlirValue row = ir_div_i(ir, i.index, columns), column = ir_rem_i(ir, i.index, columns), c = ir_add_i(ir, first, column);
  ir_branch inside;
  ir_if_begin(ir, &inside, ir_compare_i(ir, IR_LT, c, end), none);
  MlirValue at = column, line_of_sums = cuda_row(e, cuda_shared(e, 0), row, SUM_PITCH), sums[CUDA_AT_ONCE], ups[CUDA_AT_ONCE],
            held[CUDA_AT_ONCE];
  if (pairs) at = ir_add_i(ir, column, ir_sub_i(ir, column, ir_rem_i(ir, column, panel_columns)));
  cuda_line line = cuda_line_of(&t->p, row);
  int64_t segment = cuda_segment_of(t->p.spec, pairs);
  cuda_read_columns(&t->p, segment, &line, ir_compare_i(ir, IR_LT, c, end), c, CUDA_AT_ONCE, held);
  cuda_load_four(e, ir_at(ir, line_of_sums, ir->f32, at), sums);
  for (int64_t j = 0; j < own; j++) ups[j] = nothing;
  if (pairs) cuda_load_four(e, ir_at_constant(ir, ir_at(ir, line_of_sums, ir->f32, at), ir->f32, panel_width), ups);
  cuda_write_columns(&t->p, segment, &line, c, CUDA_AT_ONCE, sums, ups, cuda_right_column(&t->p, pairs, c), held);
  cuda_if_end(e, &inside);
  ir_for_end(ir, &i, NULL);
}

/* ---- tiles ---- */

/* The tiles of panels [begin, end) of C. */
static void emit_tiles(tile *t, bool pairs, MlirValue begin, MlirValue end) {
  hmoec_cuda_emitter *e = t->p.e;
  ir_builder *ir = &e->ir;
  MlirValue first = ir_div_i(ir, t->p.first_k, ir_i64(ir, HMOE_CUDA_PLANE)), zeros = ir_splat_to(ir, ir_f32(ir, 0.0f), 4),
            sums[SUMS];
  ir_loop tile_loop, k;
  ir_for_begin(ir, &tile_loop, begin, end, pairs ? PANELS / 2 : PANELS, 0, NULL);
  t->right = pairs ? ir_add_i(ir, tile_loop.index, tile_loop.index)
                   : ir_add_i(ir, tile_loop.index, ir_i64(ir, cuda_paired_panels(t->p.spec)));
  for (int64_t s = 0; s < STAGES - 1; s++) load_stage(t, ir_add_i(ir, first, ir_i64(ir, s)), ir_i64(ir, s));
  for (int i = 0; i < SUMS; i++) sums[i] = zeros;
  ir_for_begin(ir, &k, first, t->planes, 1, SUMS, sums);
  MlirValue number = ir_sub_i(ir, k.index, first), ahead = ir_i64(ir, STAGES - 1);
  cuda_copy_wait(e, STAGES - 2); /* for this plane */
  cuda_barrier(e); /* everybody's copies; and the stage that is filled now is read no more */
  load_stage(t, ir_add_i(ir, k.index, ahead), ir_add_i(ir, number, ahead));
  for (int i = 0; i < SUMS; i++) sums[i] = k.args[i];
  multiply_stage(t, number, sums);
  ir_for_end(ir, &k, sums);
  cuda_copy_wait(e, 0);
  cuda_barrier(e); /* before sums come where the stages are */
  store_sums(t, k.args);
  cuda_barrier(e);
  emit_epilogue(t, pairs, tile_loop.index, end);
  cuda_barrier(e); /* before the next tile's stages come where the sums are */
  ir_for_end(ir, &tile_loop, NULL);
}

static void emit(hmoec_cuda_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  tile t = {.p = {.e = e, .spec = spec, .task = task}};
  MlirValue begin, end, pairs = ir_i64(ir, cuda_paired_panels(spec)), halves = ir_i64(ir, ROWS / WARP_ROWS);
  cuda_product_begin(&t.p, CUDA_PANEL, &begin, &end);
  t.p.is_beyond = cuda_writes_planes(spec);
  t.planes = ir_i64(ir, cuda_planes_of(spec->k));
  t.a_height = ir_mul_i(ir, task->blocks, ir_i64(ir, spec->row_block));
  t.warp_row = ir_mul_i(ir, ir_rem_i(ir, task->warp, halves), ir_i64(ir, WARP_ROWS));
  t.warp_column = ir_mul_i(ir, ir_div_i(ir, task->warp, halves), ir_i64(ir, WARP_COLUMNS));
  if (spec->paired) emit_tiles(&t, true, begin, spec->segments > 1 ? ir_min_i(ir, end, pairs) : end);
  if (!spec->paired || spec->segments > 1) emit_tiles(&t, false, ir_max_i(ir, begin, pairs), end);
  cuda_product_end(&t.p);
}

const hmoec_cuda_way hmoec_cuda_tile80 = {.threads = THREADS, .column_steps = PANELS, .shared_bytes = shared_bytes, .emit = emit};
