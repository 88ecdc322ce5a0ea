/* MATMUL in f32, where few.c does not multiply: a block of 256 threads computes up to 64 rows, a part of the task's, and 64 columns of B, two panels, at one time.
 *
 *   for each of the task's tiles:  sums = 0
 *     for k, 16 at a time:  A's rows (gathered, normalised) and B's panels to shared memory; every thread adds to 4 x 4 sums
 *     the sums to shared memory; epilogue, one row of columns after the other, so that C is written in whole lines
 *
 * A tile of a paired product's first segment is a panel of gates and the panel of their ups; any other is two panels of C. One accumulator a value, k
 * ascending: results depend neither on the rows of a block nor on splits. Bindings and the equation: hmoec_matmul_spec in kernel/kernels.h. */
#include <mlir-c/BuiltinTypes.h>

#include "target/cuda/product.h"

enum {
  ROWS = 64,
  COLUMNS = 64,
  DEPTH = 16,
  THREADS = 256,
  A_PITCH = ROWS + 4, /* of a k's rows in shared memory: threads that store one row's k go to different banks */
  SUM_PITCH = COLUMNS + 1,
  THREAD_ROWS = 4,
  THREAD_COLUMNS = 4, /* two neighbours of either panel */
  SUMS = THREAD_ROWS * THREAD_COLUMNS,
  A_BYTES = DEPTH * A_PITCH * 4,
  B_BYTES = DEPTH * COLUMNS * 4,
  SUM_BYTES = ROWS * SUM_PITCH * 4, /* in the place of A and B */
  TILE_BYTES = SUM_BYTES > A_BYTES + B_BYTES ? SUM_BYTES : A_BYTES + B_BYTES,
  WAYS_BYTES = TILE_BYTES > CUDA_FEW_BYTES ? TILE_BYTES : CUDA_FEW_BYTES
};

static int64_t shared_bytes(const hmoec_matmul_spec *spec) { return WAYS_BYTES + cuda_row_norm_bytes(spec->norm, ROWS); }

typedef struct tile_product {
  product p;
  MlirValue part, rows; /* of the block: the first row of the part that is multiplied, and how many it has */
  MlirValue a_row, a_valid; /* the row that this thread loads, and whether there is one */
} tile_product;

static const MlirType none = {NULL};
static const MlirValue nothing = {NULL};

/* Row i of the part in A. */
static MlirValue a_row(void *user, MlirValue i) {
  tile_product *t = user;
  return cuda_product_row(&t->p, ir_add_i(&t->p.e->ir, t->part, i));
}

/* A[row][k], normalised; the row and k are there. */
static MlirValue a_element(tile_product *t, MlirValue i, MlirValue k) {
  cuda_statistics row = cuda_row_norm_of(t->p.e, &t->p.norm, i);
  return cuda_row_norm_apply(t->p.e, &t->p.norm, &row, cuda_f32(t->p.e, t->a_row, k), k);
}

/* Thread t stores four k of row t / 4: A[k][row] in shared memory, 0 past the rows and past k. */
static void load_a(tile_product *t, MlirValue k0) {
  ir_builder *ir = &t->p.e->ir;
  MlirValue four = ir_i64(ir, 4), i = ir_div_i(ir, t->p.task->thread, four);
  MlirValue first = ir_mul_i(ir, ir_rem_i(ir, t->p.task->thread, four), four), depth = ir_i64(ir, t->p.spec->k);
  for (int64_t j = 0; j < 4; j++) {
    MlirValue k = ir_add_i(ir, first, ir_i64(ir, j)), at = ir_add_i(ir, k0, k);
    ir_branch real;
    ir_if_begin(ir, &real, ir_and(ir, t->a_valid, ir_compare_i(ir, IR_LT, at, depth)), ir->f32);
    ir_if_else(ir, &real, a_element(t, i, at));
    MlirValue x = ir_if_end(ir, &real, ir_f32(ir, 0.0f));
    ir_store(ir, x, ir_at(ir, cuda_row(t->p.e, cuda_shared(t->p.e, 0), k, A_PITCH), ir->f32, i), 4);
  }
}

/* Thread t stores four columns of one k: B[k][64], the first panel's 32 and the second one's. right: number of the first panel. */
static void load_b(tile_product *t, MlirValue k0, MlirValue right) {
  ir_builder *ir = &t->p.e->ir;
  int64_t quads = CUDA_PANEL / 4, four_count = 4;
  MlirType four = mlirVectorTypeGet(1, &four_count, ir->f32);
  MlirValue quad = ir_rem_i(ir, t->p.task->thread, ir_i64(ir, quads)), line = ir_div_i(ir, t->p.task->thread, ir_i64(ir, quads));
  MlirValue half = ir_div_i(ir, line, ir_i64(ir, DEPTH)), k = ir_rem_i(ir, line, ir_i64(ir, DEPTH));
  MlirValue panel = ir_add_i(ir, right, half), at = ir_add_i(ir, k0, k), column = ir_mul_i(ir, quad, ir_i64(ir, 4));
  MlirValue is_real = ir_and(ir, ir_compare_i(ir, IR_LT, panel, ir_i64(ir, cuda_right_panels(t->p.spec))),
                             ir_compare_i(ir, IR_LT, at, ir_i64(ir, t->p.spec->k)));
  ir_branch real;
  ir_if_begin(ir, &real, is_real, four);
  MlirValue row = ir_add_i(ir, ir_mul_i(ir, panel, ir_i64(ir, t->p.spec->k)), at);
  MlirValue from = ir_at(ir, cuda_row(t->p.e, t->p.b, row, CUDA_PANEL), ir->f32, column);
  ir_if_else(ir, &real, ir_load(ir, four, from, 16));
  MlirValue values = ir_if_end(ir, &real, ir_splat_to(ir, ir_f32(ir, 0.0f), 4));
  MlirValue to = cuda_row(t->p.e, cuda_shared(t->p.e, A_BYTES), k, COLUMNS);
  to = ir_at(ir, to, ir->f32, ir_add_i(ir, ir_mul_i(ir, half, ir_i64(ir, CUDA_PANEL)), column));
  ir_store(ir, values, to, 16);
}

/* sums[r][c] += A[k][r] B[k][c] for the k in shared memory. */
static void multiply(tile_product *t, MlirValue thread_row, MlirValue thread_column, MlirValue sums[SUMS]) {
  ir_builder *ir = &t->p.e->ir;
  int64_t two_count = 2, four_count = 4;
  MlirType two = mlirVectorTypeGet(1, &two_count, ir->f32), four = mlirVectorTypeGet(1, &four_count, ir->f32);
  MlirValue a = ir_at(ir, cuda_shared(t->p.e, 0), ir->f32, thread_row),
            b = ir_at(ir, cuda_shared(t->p.e, A_BYTES), ir->f32, thread_column);
  for (int64_t k = 0; k < DEPTH; k++) {
    MlirValue left = ir_load(ir, four, ir_at_constant(ir, a, ir->f32, k * A_PITCH), 16), right[2];
    for (int64_t half = 0; half < 2; half++)
      right[half] = ir_load(ir, two, ir_at_constant(ir, b, ir->f32, k * COLUMNS + half * CUDA_PANEL), 8);
    for (int64_t r = 0; r < THREAD_ROWS; r++)
      for (int64_t c = 0; c < THREAD_COLUMNS; c++)
        sums[r * THREAD_COLUMNS + c] = cuda_fma(t->p.e, cuda_element(t->p.e, left, ir->f32, r),
                                                cuda_element(t->p.e, right[c / 2], ir->f32, c % 2), sums[r * THREAD_COLUMNS + c]);
  }
}

/* The sums in shared memory become rows of C. panel: of C, the tile's first; pairs: whether the second is its ups. */
static void emit_epilogue(tile_product *t, bool pairs, MlirValue panel, MlirValue panel_end) {
  hmoec_cuda_emitter *e = t->p.e;
  ir_builder *ir = &e->ir;
  int64_t width = pairs ? CUDA_PANEL : COLUMNS;
  MlirValue columns = ir_i64(ir, width), elements = ir_mul_i(ir, t->rows, columns), panel_columns = ir_i64(ir, CUDA_PANEL);
  MlirValue first = ir_mul_i(ir, panel, panel_columns), end = ir_mul_i(ir, panel_end, panel_columns);
  ir_loop i;
  ir_for_begin(ir, &i, t->p.task->thread, elements, THREADS, 0, NULL);
  MlirValue row = ir_div_i(ir, i.index, columns), column = ir_rem_i(ir, i.index, columns), c = ir_add_i(ir, first, column);
  MlirValue sums = cuda_row(e, cuda_shared(e, 0), row, SUM_PITCH), sum = cuda_f32(e, sums, column), up = nothing;
  if (pairs) up = cuda_f32(e, ir_at_constant(ir, sums, ir->f32, CUDA_PANEL), column);
  ir_branch inside;
  ir_if_begin(ir, &inside, ir_compare_i(ir, IR_LT, c, end), none);
  cuda_write_column(&t->p, pairs, ir_add_i(ir, t->part, row), c, sum, up, cuda_right_column(&t->p, pairs, c));
  cuda_if_end(e, &inside);
  ir_for_end(ir, &i, NULL);
}

/* ---- tiles ---- */

static void store_sums(tile_product *t, MlirValue thread_row, MlirValue thread_column, const MlirValue sums[SUMS]) {
  ir_builder *ir = &t->p.e->ir;
  for (int64_t r = 0; r < THREAD_ROWS; r++) {
    MlirValue row = cuda_row(t->p.e, cuda_shared(t->p.e, 0), ir_add_i(ir, thread_row, ir_i64(ir, r)), SUM_PITCH);
    row = ir_at(ir, row, ir->f32, thread_column);
    for (int64_t c = 0; c < THREAD_COLUMNS; c++)
      ir_store(ir, sums[r * THREAD_COLUMNS + c], ir_at_constant(ir, row, ir->f32, c / 2 * CUDA_PANEL + c % 2), 4);
  }
}

/* The tiles of panels [begin, end) of C. */
static void emit_tiles(tile_product *t, bool pairs, MlirValue begin, MlirValue end) {
  ir_builder *ir = &t->p.e->ir;
  int64_t paired = cuda_paired_panels(t->p.spec);
  MlirValue sixteen = ir_i64(ir, THREADS / (ROWS / THREAD_ROWS)), zeros[SUMS];
  MlirValue thread_row = ir_mul_i(ir, ir_div_i(ir, t->p.task->thread, sixteen), ir_i64(ir, THREAD_ROWS));
  MlirValue thread_column = ir_mul_i(ir, ir_rem_i(ir, t->p.task->thread, sixteen), ir_i64(ir, 2));
  ir_loop tile, k;
  ir_for_begin(ir, &tile, begin, end, pairs ? 1 : 2, 0, NULL);
  MlirValue right = pairs ? ir_add_i(ir, tile.index, tile.index) : ir_add_i(ir, tile.index, ir_i64(ir, paired));
  for (int i = 0; i < SUMS; i++) zeros[i] = ir_f32(ir, 0.0f);
  ir_for_begin(ir, &k, t->p.first_k, ir_i64(ir, t->p.spec->k), DEPTH, SUMS, zeros);
  load_a(t, k.index);
  load_b(t, k.index, right);
  cuda_barrier(t->p.e);
  MlirValue sums[SUMS];
  for (int i = 0; i < SUMS; i++) sums[i] = k.args[i];
  multiply(t, thread_row, thread_column, sums);
  cuda_barrier(t->p.e);
  ir_for_end(ir, &k, sums);
  store_sums(t, thread_row, thread_column, k.args);
  cuda_barrier(t->p.e);
  emit_epilogue(t, pairs, tile.index, end);
  cuda_barrier(t->p.e); /* before the next tile's A and B come where the sums are */
  ir_for_end(ir, &tile, NULL);
}

static void emit_parts(product *p, MlirValue begin, MlirValue end) {
  ir_builder *ir = &p->e->ir;
  tile_product t = {.p = *p};
  MlirValue pairs = ir_i64(ir, cuda_paired_panels(p->spec)), i = ir_div_i(ir, p->task->thread, ir_i64(ir, 4));
  ir_loop part;
  ir_for_begin(ir, &part, ir_i64(ir, 0), t.p.block.rows, ROWS, 0, NULL);
  t.part = part.index;
  t.rows = ir_min_i(ir, ir_i64(ir, ROWS), ir_sub_i(ir, t.p.block.rows, part.index));
  t.a_valid = ir_compare_i(ir, IR_LT, i, t.rows);
  t.a_row = a_row(&t, ir_select(ir, t.a_valid, i, ir_i64(ir, 0)));
  cuda_row_norm_begin(p->e, p->task, &t.p.norm, THREADS / CUDA_WARP, t.rows, a_row, &t);
  if (p->spec->paired) emit_tiles(&t, true, begin, ir_min_i(ir, end, pairs));
  if (!p->spec->paired || p->spec->segments > 1) emit_tiles(&t, false, ir_max_i(ir, begin, pairs), end);
  ir_for_end(ir, &part, NULL);
}

static void emit(hmoec_cuda_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cuda_task *task) {
  product p = {.e = e, .spec = spec, .task = task};
  MlirValue begin, end;
  ir_branch few;
  cuda_product_begin(&p, CUDA_PANEL, &begin, &end);
  p.norm.shared_at = WAYS_BYTES;
  p.norm.rows = ROWS;
  ir_if_begin(&e->ir, &few, cuda_is_of_few(&p), none);
  cuda_emit_few(&p);
  ir_if_else(&e->ir, &few, nothing);
  emit_parts(&p, begin, end);
  ir_if_end(&e->ir, &few, nothing);
  cuda_product_end(&p);
}

/* A share of one panel is half a tile; a block that few share is cut so far only where multiprocessors would have nothing to do. */
const hmoec_cuda_way hmoec_cuda_matmul = {
    .threads = THREADS, .column_steps = HMOE_CUDA_PARTS | 1, .shared_bytes = shared_bytes, .emit = emit};
