/* Products in f32 of few rows: weights go from memory into registers in whole lines, or in whole sectors, and are used once.
 *
 *   for each part of up to 4 rows (of a narrow product one, where there are tasks for that), for each step of C's columns (of pairs: a panel of gates and
 *   then one of ups):
 *     every thread multiplies the rows of depth that are its own, 4 columns wide
 *     the sums of a value, one a row of depth at a time, meet in shared memory: 16 by 16, in their order; epilogue
 *
 * A step is a panel; of a product that has few columns, such as a router's, 8 of them, so that many blocks of threads have a share. Tasks share parts and steps.
 * It reads what matmul.c reads, so that one kernel has both ways, and takes no more registers and shared memory than that. Sums do not depend on the rows of a block,
 * nor on splits. */
#include <mlir-c/BuiltinTypes.h>

#include "target/cuda/product.h"

enum {
  THREADS = 256,
  ROWS = CUDA_FEW_ROWS,
  QUAD = 4, /* columns that a thread has of a row of depth */
  SUMS = ROWS * QUAD, /* of a thread */
  VALUES = THREADS * SUMS, /* of a step, and of each phase: a row of depth of those that the block has at one time */
  SHARE = VALUES / THREADS, /* phases that a thread adds: their sums are added by one */
  LOADS = 8, /* on the way at one time */
  NARROW_STEP = 8 /* columns, of a product that has few */
};
_Static_assert(VALUES * 4 + THREADS * 4 == CUDA_FEW_BYTES, "room for all sums, and for the shares'");
_Static_assert(ROWS *CUDA_PANEL <= THREADS, "a thread a value");

typedef struct few {
  product *p;
  int64_t width, phases, values; /* columns of a step; rows of depth that the block has at one time; values of a step */
  MlirValue part, rows; /* the part's first row in the block, and how many it has */
  MlirValue phase, column; /* this thread's row of depth and columns of the step, when it multiplies */
  MlirValue row[ROWS]; /* of A */
  cuda_statistics statistics[ROWS];
} few;

static int64_t width_of(const hmoec_matmul_spec *spec) { return cuda_is_narrow(spec) ? NARROW_STEP : CUDA_PANEL; }

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

/* Rows of depth from k on, `phases` * loads apart, below `end`: sums[r][c] += A[r][k] B[k][c]. Of `loads` everything is loaded before the first is used. from: the
 * step's columns. */
static void multiply(few *f, MlirValue from, MlirValue k, MlirValue end, int64_t loads, MlirValue sums[SUMS]) {
  hmoec_cuda_emitter *e = f->p->e;
  ir_builder *ir = &e->ir;
  int64_t four_count = QUAD;
  MlirType four = mlirVectorTypeGet(1, &four_count, ir->f32);
  MlirValue weights[LOADS], at[LOADS], x[LOADS][ROWS];
  ir_loop i;
  ir_for_begin(ir, &i, k, end, f->phases * loads, SUMS, sums);
  for (int64_t l = 0; l < loads; l++) {
    at[l] = ir_add_i(ir, i.index, ir_i64(ir, l * f->phases));
    weights[l] = ir_load(ir, four, ir_at(ir, cuda_row(e, from, at[l], CUDA_PANEL), ir->f32, f->column), 16);
  }
  for (int64_t l = 0; l < loads; l++)
    for (int64_t r = 0; r < ROWS; r++) x[l][r] = cuda_f32(e, f->row[r], at[l]);
  for (int s = 0; s < SUMS; s++) sums[s] = i.args[s];
  for (int64_t l = 0; l < loads; l++)
    for (int64_t r = 0; r < ROWS; r++) {
      MlirValue value = cuda_row_norm_apply(e, &f->p->norm, &f->statistics[r], x[l][r], at[l]);
      for (int64_t c = 0; c < QUAD; c++)
        sums[r * QUAD + c] = cuda_fma(e, value, cuda_element(e, weights[l], ir->f32, c), sums[r * QUAD + c]);
    }
  ir_for_end(ir, &i, sums);
  for (int s = 0; s < SUMS; s++) sums[s] = i.args[s];
}

/* Where sums of row r, or of the row of value v, are among those of a phase: the rows of four phases side by side are in an order of each, so that threads
 * side by side meet no bank twice. */
static MlirValue sums_of_row(few *f, MlirValue phase, MlirValue r) {
  ir_builder *ir = &f->p->e->ir;
  MlirValue line = ir_xor(ir, r, ir_rem_i(ir, phase, ir_i64(ir, ROWS)));
  MlirValue values = cuda_row(f->p->e, cuda_shared(f->p->e, 0), phase, f->values);
  return cuda_row(f->p->e, values, line, f->width);
}

/* The value that this thread has of a step, whose columns of B begin at `from`: of row thread / width, column thread % width; threads behind the last row have none. */
static MlirValue step_sum(few *f, MlirValue from) {
  hmoec_cuda_emitter *e = f->p->e;
  ir_builder *ir = &e->ir;
  int64_t depth = f->p->spec->k;
  MlirValue stride = ir_i64(ir, f->phases * LOADS), thread = f->p->task->thread, values = ir_i64(ir, f->values), sums[SUMS];
  MlirValue whole = ir_div_i(ir, ir_max_i(ir, ir_sub_i(ir, ir_i64(ir, depth), f->p->first_k), ir_i64(ir, 0)), stride);
  whole = ir_add_i(ir, f->p->first_k, ir_mul_i(ir, whole, stride));
  for (int s = 0; s < SUMS; s++) sums[s] = ir_f32(ir, 0.0f);
  multiply(f, from, ir_add_i(ir, f->p->first_k, f->phase), whole, LOADS, sums);
  multiply(f, from, ir_add_i(ir, whole, f->phase), ir_i64(ir, depth), 1, sums);
  for (int64_t r = 0; r < ROWS; r++) {
    MlirValue four = ir_splat_to(ir, sums[r * QUAD], QUAD);
    for (int64_t c = 1; c < QUAD; c++) four = cuda_with_element(e, four, sums[r * QUAD + c], c);
    ir_store(ir, four, ir_at(ir, sums_of_row(f, f->phase, ir_i64(ir, r)), ir->f32, f->column), 16);
  }
  cuda_barrier(e);
  /* Value v of SHARE phases; the shares' behind all sums. */
  MlirValue v = ir_rem_i(ir, thread, values), first = ir_mul_i(ir, ir_div_i(ir, thread, values), ir_i64(ir, SHARE));
  MlirValue r = ir_div_i(ir, v, ir_i64(ir, f->width)), column = ir_rem_i(ir, v, ir_i64(ir, f->width)), sum = {NULL};
  for (int64_t i = 0; i < SHARE; i++) {
    MlirValue next = cuda_f32(e, sums_of_row(f, ir_add_i(ir, first, ir_i64(ir, i)), r), column);
    sum = i ? ir_add(ir, sum, next) : next;
  }
  cuda_put(e, cuda_shared(e, VALUES * 4), thread, sum);
  cuda_barrier(e); /* and the next step's sums may come where these are */
  ir_branch real;
  ir_if_begin(ir, &real, ir_compare_i(ir, IR_LT, thread, values), ir->f32);
  for (int64_t s = 1; s < f->phases / SHARE; s++)
    sum = ir_add(ir, sum, cuda_f32(e, cuda_shared(e, VALUES * 4 + s * f->values * 4), thread));
  ir_if_else(ir, &real, sum);
  return ir_if_end(ir, &real, ir_f32(ir, 0.0f));
}

/* Steps [begin, end) of C's columns, of one part of the rows. */
static void emit_steps(few *f, bool pairs, MlirValue begin, MlirValue end) {
  hmoec_cuda_emitter *e = f->p->e;
  ir_builder *ir = &e->ir;
  int64_t panel_bytes = f->p->spec->k * CUDA_PANEL * 4, panel_columns = CUDA_PANEL;
  MlirValue width = ir_i64(ir, f->width), row = ir_div_i(ir, f->p->task->thread, width), up = {NULL};
  ir_loop step;
  ir_branch real;
  ir_for_begin(ir, &step, begin, end, 1, 0, NULL);
  MlirValue first = ir_mul_i(ir, step.index, width), right = cuda_right_column(f->p, pairs, first);
  MlirValue from = cuda_row_of(e, f->p->b, ir->i8, ir_div_i(ir, right, ir_i64(ir, panel_columns)), panel_bytes);
  if (f->width < panel_columns) from = ir_at(ir, from, ir->f32, ir_rem_i(ir, right, ir_i64(ir, panel_columns)));
  MlirValue c = ir_add_i(ir, first, ir_rem_i(ir, f->p->task->thread, width));
  MlirValue sum, zeros[] = {ir_f32(ir, 0.0f), ir_f32(ir, 0.0f)};
  if (pairs) { /* a loop: registers of one panel */
    ir_loop half;
    ir_for_begin(ir, &half, ir_i64(ir, 0), ir_i64(ir, 2), 1, 2, zeros);
    MlirValue found = step_sum(f, cuda_row_of(e, from, ir->i8, half.index, panel_bytes));
    ir_for_end(ir, &half, (MlirValue[]){half.args[1], found});
    sum = half.args[0];
    up = half.args[1];
  } else {
    sum = step_sum(f, from);
  }
  ir_if_begin(ir, &real, ir_compare_i(ir, IR_LT, row, f->rows), (MlirType){NULL});
  cuda_write_column(f->p, pairs, ir_add_i(ir, f->part, row), c, sum, up, cuda_right_column(f->p, pairs, c));
  cuda_if_end(e, &real);
  ir_for_end(ir, &step, NULL);
}

MlirValue cuda_is_of_few(product *p) {
  ir_builder *ir = &p->e->ir;
  MlirValue rows = ir_load(ir, ir->i64, ir_at_constant(ir, p->task->call, ir->i64, offsetof(hmoe_cuda_call, rows) / 8), 8);
  MlirValue count = ir_load(ir, ir->i64, ir_at_constant(ir, p->task->call, ir->i64, offsetof(hmoe_cuda_call, count) / 8), 8);
  MlirValue most = ir_mul_i(ir, p->task->blocks, ir_i64(ir, CUDA_FEW_MOST));
  if (!p->spec->grouped) most = ir_max_i(ir, most, ir_i64(ir, CUDA_FEW_VALUES / p->spec->n));
  return ir_and(ir, ir_compare_i(ir, IR_EQ, count, ir_i64(ir, 0)), ir_compare_i(ir, IR_LE, rows, most));
}

void cuda_emit_few(product *p) {
  ir_builder *ir = &p->e->ir;
  const hmoec_matmul_spec *spec = p->spec;
  const hmoec_cuda_task *task = p->task;
  few f = {.p = p, .width = width_of(spec)};
  f.values = ROWS * f.width;
  f.phases = VALUES / f.values;
  int64_t in_panel = CUDA_PANEL / f.width, columns = spec->c_padded ? cuda_panels_of(spec->n) * CUDA_PANEL : spec->n;
  int64_t count = (columns + f.width - 1) / f.width;
  MlirValue quads = ir_i64(ir, f.width / QUAD), pairs = ir_i64(ir, cuda_paired_panels(spec)), steps = ir_i64(ir, count);
  f.phase = ir_div_i(ir, task->thread, quads);
  f.column = ir_mul_i(ir, ir_rem_i(ir, task->thread, quads), ir_i64(ir, QUAD));
  /* This task's share, part by part: steps [begin, end) of all parts', one part's after the other's. */
  MlirValue zero = ir_i64(ir, 0), one = ir_i64(ir, 1), rows = ir_i64(ir, ROWS);
  MlirValue parts = ir_div_i(ir, ir_add_i(ir, p->block.rows, ir_i64(ir, ROWS - 1)), rows);
  if (cuda_is_narrow(spec)) {
    MlirValue alone = ir_compare_i(ir, IR_GE, task->splits, ir_mul_i(ir, p->block.rows, steps));
    rows = ir_select(ir, alone, one, rows);
    parts = ir_select(ir, alone, p->block.rows, parts);
  }
  MlirValue all = ir_mul_i(ir, parts, steps);
  MlirValue begin = ir_div_i(ir, ir_mul_i(ir, all, p->block.split), task->splits);
  MlirValue end = ir_div_i(ir, ir_mul_i(ir, all, ir_add_i(ir, p->block.split, one)), task->splits);
  ir_loop part;
  ir_for_begin(ir, &part, ir_div_i(ir, begin, steps), ir_div_i(ir, ir_add_i(ir, end, ir_i64(ir, count - 1)), steps), 1, 0, NULL);
  MlirValue first = ir_mul_i(ir, part.index, steps);
  MlirValue from = ir_max_i(ir, ir_sub_i(ir, begin, first), cuda_of_dropped(p, spec->dropped_column / CUDA_PANEL * in_panel));
  MlirValue to = ir_min_i(ir, ir_sub_i(ir, end, first), steps);
  f.part = ir_mul_i(ir, part.index, rows);
  f.rows = ir_min_i(ir, rows, ir_sub_i(ir, p->block.rows, f.part));
  cuda_row_norm_begin(p->e, task, &p->norm, THREADS / CUDA_WARP, f.rows, row_of, &f);
  find_rows(&f);
  from = ir_max_i(ir, from, zero);
  if (spec->paired) emit_steps(&f, true, from, ir_min_i(ir, to, pairs));
  if (!spec->paired || spec->segments > 1) emit_steps(&f, false, ir_max_i(ir, from, pairs), to);
  if (spec->norm != HMOEC_NORM_NONE) cuda_barrier(p->e); /* before the next part's statistics */
  ir_for_end(ir, &part, NULL);
}
