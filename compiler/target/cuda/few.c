/* Products in f32 of few rows: weights go from memory into registers in whole lines, and are used once.
 *
 *   for each part of up to 4 rows, for each panel of B (of a pair, of its gates and then of its ups):
 *     every warp multiplies the rows of depth that are its own: a load of a warp is 4 of them, 32 columns wide
 *     the 32 sums of a value meet in shared memory, row of depth k in sum k % 32, and are added in that order; epilogue
 *
 * It reads what matmul.c reads, so that one kernel has both ways, and takes no more registers and shared memory than that. Sums do not depend on the rows of a block,
 * nor on splits. */
#include <mlir-c/BuiltinTypes.h>

#include "target/cuda/product.h"

enum {
  THREADS = 256,
  ROWS = CUDA_FEW_ROWS,
  QUAD = 4, /* columns that a lane has of a row of depth */
  QUADS = CUDA_PANEL / QUAD,
  SUMS = ROWS * QUAD,
  PHASES = THREADS / QUADS, /* rows of depth that the block has at one time */
  LOADS = 4 /* on the way at one time */
};
_Static_assert(PHASES * ROWS * CUDA_PANEL * 4 == CUDA_FEW_BYTES, "room for all sums");
_Static_assert(ROWS *CUDA_PANEL <= THREADS, "a thread a value");

typedef struct few {
  product *p;
  MlirValue part, rows; /* the part's first row in the block, and how many it has */
  MlirValue phase, column; /* this thread's row of depth and columns, when it multiplies */
  MlirValue row[ROWS]; /* of A */
  cuda_statistics statistics[ROWS];
} few;

static MlirValue row_of(void *user, MlirValue i) {
  few *f = user;
  return cuda_product_row(f->p, ir_add_i(&f->p->e->ir, f->part, i));
}

/* Past the last row the first again, whose sums nobody reads. */
static void find_rows(few *f) {
  ir_builder *ir = &f->p->e->ir;
  for (int64_t r = 0; r < ROWS; r++) {
    MlirValue i = ir_i64(ir, r);
    i = ir_select(ir, ir_compare_i(ir, IR_LT, i, f->rows), i, ir_i64(ir, 0));
    f->row[r] = row_of(f, i);
    f->statistics[r] = cuda_row_norm_of(f->p->e, &f->p->norm, i);
  }
}

/* sums[r][c] += A[r][k] B[k][c]; weights: of the row of depth. */
static void add_products(few *f, MlirValue k, MlirValue weights, MlirValue sums[SUMS]) {
  hmoec_cuda_emitter *e = f->p->e;
  for (int64_t r = 0; r < ROWS; r++) {
    MlirValue x = cuda_row_norm_apply(e, &f->p->norm, &f->statistics[r], cuda_f32(e, f->row[r], k), k);
    for (int64_t c = 0; c < QUAD; c++)
      sums[r * QUAD + c] = cuda_fma(e, x, cuda_element(e, weights, e->ir.f32, c), sums[r * QUAD + c]);
  }
}

/* Rows of depth from k on, PHASES * loads apart, below `end`, of which `loads` are loaded before the first is used. */
static void multiply(few *f, MlirValue panel, MlirValue k, MlirValue end, int64_t loads, MlirValue sums[SUMS]) {
  ir_builder *ir = &f->p->e->ir;
  int64_t four_count = QUAD;
  MlirType four = mlirVectorTypeGet(1, &four_count, ir->f32);
  MlirValue weights[LOADS], at[LOADS];
  ir_loop i;
  ir_for_begin(ir, &i, k, end, PHASES * loads, SUMS, sums);
  for (int64_t l = 0; l < loads; l++) {
    at[l] = ir_add_i(ir, i.index, ir_i64(ir, l * PHASES));
    weights[l] = ir_load(ir, four, ir_at(ir, cuda_row(f->p->e, panel, at[l], CUDA_PANEL), ir->f32, f->column), 16);
  }
  for (int s = 0; s < SUMS; s++) sums[s] = i.args[s];
  for (int64_t l = 0; l < loads; l++) add_products(f, at[l], weights[l], sums);
  ir_for_end(ir, &i, sums);
  for (int s = 0; s < SUMS; s++) sums[s] = i.args[s];
}

/* Where the sums of a phase are: [ROWS][CUDA_PANEL]. */
static MlirValue sums_of(few *f, MlirValue phase) { return cuda_row(f->p->e, cuda_shared(f->p->e, 0), phase, ROWS * CUDA_PANEL); }

/* Of a panel of B the value that this thread has: of row thread / 32, column thread % 32; threads behind the last row have none. */
static MlirValue panel_sum(few *f, MlirValue panel) {
  hmoec_cuda_emitter *e = f->p->e;
  ir_builder *ir = &e->ir;
  int64_t depth = f->p->spec->k;
  MlirValue from = cuda_row(e, f->p->b, panel, depth * CUDA_PANEL), step = ir_i64(ir, PHASES * LOADS), sums[SUMS];
  MlirValue whole = ir_div_i(ir, ir_max_i(ir, ir_sub_i(ir, ir_i64(ir, depth), f->p->first_k), ir_i64(ir, 0)), step);
  whole = ir_add_i(ir, f->p->first_k, ir_mul_i(ir, whole, step));
  for (int s = 0; s < SUMS; s++) sums[s] = ir_f32(ir, 0.0f);
  multiply(f, from, ir_add_i(ir, f->p->first_k, f->phase), whole, LOADS, sums);
  multiply(f, from, ir_add_i(ir, whole, f->phase), ir_i64(ir, depth), 1, sums);
  MlirValue own = sums_of(f, f->phase);
  for (int64_t r = 0; r < ROWS; r++)
    for (int64_t c = 0; c < QUAD; c++)
      cuda_put(e, ir_at_constant(ir, own, ir->f32, r * CUDA_PANEL + c), f->column, sums[r * QUAD + c]);
  cuda_barrier(e);
  ir_branch real;
  ir_if_begin(ir, &real, ir_compare_i(ir, IR_LT, f->p->task->thread, ir_i64(ir, ROWS * CUDA_PANEL)), ir->f32);
  MlirValue sum = cuda_f32(e, sums_of(f, ir_i64(ir, 0)), f->p->task->thread);
  for (int64_t phase = 1; phase < PHASES; phase++)
    sum = ir_add(ir, sum, cuda_f32(e, sums_of(f, ir_i64(ir, phase)), f->p->task->thread));
  ir_if_else(ir, &real, sum);
  sum = ir_if_end(ir, &real, ir_f32(ir, 0.0f));
  cuda_barrier(e); /* before the next panel's sums come where these are */
  return sum;
}

/* Panels [begin, end) of C, of one part of the rows. */
static void emit_panels(few *f, bool pairs, MlirValue begin, MlirValue end) {
  hmoec_cuda_emitter *e = f->p->e;
  ir_builder *ir = &e->ir;
  MlirValue width = ir_i64(ir, CUDA_PANEL), row = ir_div_i(ir, f->p->task->thread, width), up = {NULL};
  ir_loop panel;
  ir_branch real;
  ir_for_begin(ir, &panel, begin, end, 1, 0, NULL);
  MlirValue right =
      pairs ? ir_add_i(ir, panel.index, panel.index) : ir_add_i(ir, panel.index, ir_i64(ir, cuda_paired_panels(f->p->spec)));
  MlirValue c = ir_add_i(ir, ir_mul_i(ir, panel.index, width), ir_rem_i(ir, f->p->task->thread, width));
  MlirValue sum, zeros[] = {ir_f32(ir, 0.0f), ir_f32(ir, 0.0f)};
  if (pairs) { /* a loop: registers of one panel */
    ir_loop half;
    ir_for_begin(ir, &half, ir_i64(ir, 0), ir_i64(ir, 2), 1, 2, zeros);
    MlirValue found = panel_sum(f, ir_add_i(ir, right, half.index));
    ir_for_end(ir, &half, (MlirValue[]){half.args[1], found});
    sum = half.args[0];
    up = half.args[1];
  } else {
    sum = panel_sum(f, right);
  }
  ir_if_begin(ir, &real, ir_compare_i(ir, IR_LT, row, f->rows), (MlirType){NULL});
  cuda_write_column(f->p, pairs, ir_add_i(ir, f->part, row), c, sum, up, cuda_right_column(f->p, pairs, c));
  cuda_if_end(e, &real);
  ir_for_end(ir, &panel, NULL);
}

MlirValue cuda_is_of_few(product *p) {
  ir_builder *ir = &p->e->ir;
  MlirValue rows = ir_load(ir, ir->i64, ir_at_constant(ir, p->task->call, ir->i64, offsetof(hmoe_cuda_call, rows) / 8), 8);
  MlirValue count = ir_load(ir, ir->i64, ir_at_constant(ir, p->task->call, ir->i64, offsetof(hmoe_cuda_call, count) / 8), 8);
  MlirValue most = ir_mul_i(ir, p->task->blocks, ir_i64(ir, CUDA_FEW_MOST));
  return ir_and(ir, ir_compare_i(ir, IR_EQ, count, ir_i64(ir, 0)), ir_compare_i(ir, IR_LE, rows, most));
}

void cuda_emit_few(product *p, MlirValue begin, MlirValue end) {
  ir_builder *ir = &p->e->ir;
  few f = {.p = p};
  MlirValue pairs = ir_i64(ir, cuda_paired_panels(p->spec)), quads = ir_i64(ir, QUADS);
  f.phase = ir_div_i(ir, p->task->thread, quads);
  f.column = ir_mul_i(ir, ir_rem_i(ir, p->task->thread, quads), ir_i64(ir, QUAD));
  ir_loop part;
  ir_for_begin(ir, &part, ir_i64(ir, 0), p->block.rows, ROWS, 0, NULL);
  f.part = part.index;
  f.rows = ir_min_i(ir, ir_i64(ir, ROWS), ir_sub_i(ir, p->block.rows, part.index));
  cuda_row_norm_begin(p->e, p->task, &p->norm, THREADS / CUDA_WARP, f.rows, row_of, &f);
  find_rows(&f);
  if (p->spec->paired) emit_panels(&f, true, begin, ir_min_i(ir, end, pairs));
  if (!p->spec->paired || p->spec->segments > 1) emit_panels(&f, false, ir_max_i(ir, begin, pairs), end);
  if (p->spec->norm != HMOEC_NORM_NONE) cuda_barrier(p->e); /* before the next part's statistics */
  ir_for_end(ir, &part, NULL);
}
