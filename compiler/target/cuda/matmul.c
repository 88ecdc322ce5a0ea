/* MATMUL in f32: a block of 256 threads computes up to 64 rows and 64 columns of B, two panels, at one time.
 *
 *   for each of the task's tiles:  sums = 0
 *     for k, 16 at a time:  A's rows (gathered, normalised) and B's panels to shared memory; every thread adds to 4 x 4 sums
 *     the sums to shared memory; epilogue, one row of columns after the other, so that C is written in whole lines
 *
 * A tile of a paired product's first segment is a panel of gates and the panel of their ups; any other is two panels of C. One accumulator a value, k
 * ascending: results depend neither on the rows of a block nor on splits. Bindings and the equation: hmoec_matmul_spec in kernel/kernels.h. */
#include <mlir-c/BuiltinTypes.h>

#include "target/cuda/cuda.h"

enum {
  ROWS = CUDA_TILE_ROWS,
  COLUMNS = CUDA_TILE_COLUMNS,
  DEPTH = CUDA_TILE_DEPTH,
  THREADS = CUDA_TILE_THREADS,
  A_PITCH = ROWS + 4,    /* of a k's rows in shared memory: threads that store one row's k go to different banks */
  SUM_PITCH = COLUMNS + 1,
  THREAD_ROWS = 4,
  THREAD_COLUMNS = 4, /* two neighbours of either panel */
  SUMS = THREAD_ROWS * THREAD_COLUMNS,
  A_BYTES = DEPTH * A_PITCH * 4,
  B_BYTES = DEPTH * COLUMNS * 4,
  SUM_BYTES = ROWS * SUM_PITCH * 4, /* in the place of A and B */
  TILE_BYTES = SUM_BYTES > A_BYTES + B_BYTES ? SUM_BYTES : A_BYTES + B_BYTES,
  STATISTICS_BYTES = 2 * ROWS * 4
};

bool hmoec_cuda_has_matmul(const hmoec_matmul_spec *spec) {
  return !hmoec_is_bf16(spec->format) && !hmoec_is_bf16(spec->c_format) && spec->row_block <= ROWS;
}

int64_t hmoec_cuda_matmul_shared_bytes(const hmoec_matmul_spec *spec) {
  return TILE_BYTES + (spec->norm != HMOEC_NORM_NONE ? STATISTICS_BYTES : 0);
}

typedef struct product {
  hmoec_cuda_emitter *e;
  const hmoec_matmul_spec *spec;
  const hmoec_cuda_task *task;
  MlirValue row, rows, group, dropped;   /* the block's; dropped: i1 */
  MlirValue a, b, c, gather, scatter, bias, row_gate, gated_bias, pass, pass_index, norm_weight, norm_bias;
  MlirValue a_row, a_valid;              /* the row that this thread loads, and whether there is one */
  MlirValue first_k;
} product;

static int64_t panels_of(int64_t columns) { return (columns + CUDA_PANEL - 1) / CUDA_PANEL; }
static int64_t paired_panels(const hmoec_matmul_spec *spec) { return spec->paired ? panels_of(spec->segment[0].end) : 0; }
/* Panels of B. */
static int64_t right_panels(const hmoec_matmul_spec *spec) { return panels_of(spec->n) + paired_panels(spec); }

static const MlirType none = {NULL};
static const MlirValue nothing = {NULL};

static MlirValue block_field(hmoec_cuda_emitter *e, MlirValue block, int64_t number) {
  return ir_load(&e->ir, e->ir.i32, ir_at_constant(&e->ir, block, e->ir.i32, number), 4);
}

/* Rows, group and the rest of the block of this task, which is there. */
static void load_block(product *p, MlirValue number) {
  hmoec_cuda_emitter *e = p->e;
  ir_builder *ir = &e->ir;
  if (p->spec->grouped) {
    int64_t words = (int64_t)sizeof(hmoe_block) / 4;
    MlirValue blocks = ir_at_constant(ir, cuda_binding(e, p->task, 3), ir->i8, sizeof(hmoe_blocks));
    MlirValue block = cuda_row_of(e, blocks, ir->i32, number, words);
    p->group = ir_extend(ir, block_field(e, block, offsetof(hmoe_block, group) / 4));
    p->row = ir_extend(ir, block_field(e, block, offsetof(hmoe_block, row) / 4));
    p->rows = ir_extend(ir, block_field(e, block, offsetof(hmoe_block, rows) / 4));
    p->dropped = ir_compare_i(ir, IR_NE, block_field(e, block, offsetof(hmoe_block, dropped) / 4), ir_i32(ir, 0));
    return;
  }
  MlirValue step = ir_i64(ir, p->spec->row_block);
  p->row = ir_mul_i(ir, number, step);
  p->rows = ir_min_i(ir, step, ir_sub_i(ir, p->task->rows, p->row));
  p->group = ir_i64(ir, 0);
  p->dropped = ir_compare_i(ir, IR_NE, ir_i64(ir, 0), ir_i64(ir, 0));
}

/* dropped ? value : 0 */
static MlirValue of_dropped(product *p, int64_t value) {
  ir_builder *ir = &p->e->ir;
  return p->spec->grouped && value ? ir_select(ir, p->dropped, ir_i64(ir, value), ir_i64(ir, 0)) : ir_i64(ir, 0);
}

static MlirValue group_floats(product *p, MlirValue base, int64_t floats) { return cuda_row(p->e, base, p->group, floats); }

static void load_bindings(product *p) {
  hmoec_cuda_emitter *e = p->e;
  const hmoec_matmul_spec *s = p->spec;
  const hmoec_cuda_task *t = p->task;
  p->a = cuda_binding(e, t, 0);
  p->b = cuda_row_of(e, cuda_binding(e, t, 1), e->ir.i8, p->group, s->b_group_bytes);
  p->c = cuda_binding(e, t, 2);
  if (s->has_gather) p->gather = cuda_binding(e, t, 4);
  if (s->has_scatter) p->scatter = cuda_binding(e, t, 5);
  if (s->has_bias) p->bias = group_floats(p, cuda_binding(e, t, 6), s->bias_group_floats);
  if (s->has_row_gate) p->row_gate = cuda_binding(e, t, 7);
  if (s->has_gated_bias) p->gated_bias = group_floats(p, cuda_binding(e, t, 8), panels_of(s->n) * CUDA_PANEL);
  if (s->has_pass) p->pass = cuda_binding(e, t, 9), p->pass_index = cuda_binding(e, t, 10);
  if (s->norm != HMOEC_NORM_NONE) p->norm_weight = cuda_binding(e, t, 11);
  if (s->norm == HMOEC_NORM_LAYER) p->norm_bias = cuda_binding(e, t, 12);
}

/* Row i of the block's A. */
static MlirValue a_row(product *p, MlirValue i) {
  MlirValue row = cuda_index(p->e, p->gather, ir_add_i(&p->e->ir, p->row, i));
  return cuda_row(p->e, p->a, row, p->spec->a_stride);
}

static MlirValue statistic(product *p, int64_t which, MlirValue row) {
  ir_builder *ir = &p->e->ir;
  return ir_at(ir, cuda_shared(p->e, TILE_BYTES + which * ROWS * 4), ir->f32, row);
}

/* Mean and factor of every row, to shared memory: a warp a row. */
static void emit_statistics(product *p) {
  ir_builder *ir = &p->e->ir;
  const hmoec_matmul_spec *s = p->spec;
  if (s->norm == HMOEC_NORM_NONE) return;
  ir_loop r;
  ir_for_begin(ir, &r, p->task->warp, p->rows, THREADS / CUDA_WARP, 0, NULL);
  cuda_statistics found = cuda_statistics_of(p->e, p->task, s->norm, s->k, s->norm_epsilon, s->norm_scale, a_row(p, r.index));
  ir_branch first;
  ir_if_begin(ir, &first, ir_compare_i(ir, IR_EQ, p->task->lane, ir_i64(ir, 0)), none);
  if (s->norm == HMOEC_NORM_LAYER) ir_store(ir, found.mean, statistic(p, 0, r.index), 4);
  ir_store(ir, found.factor, statistic(p, 1, r.index), 4);
  cuda_if_end(p->e, &first);
  ir_for_end(ir, &r, NULL);
  cuda_barrier(p->e);
}

/* A[row][k], normalised; the row and k are there. */
static MlirValue a_element(product *p, MlirValue i, MlirValue k) {
  ir_builder *ir = &p->e->ir;
  const hmoec_matmul_spec *s = p->spec;
  MlirValue x = cuda_f32(p->e, p->a_row, k);
  if (s->norm == HMOEC_NORM_NONE) return x;
  cuda_statistics row = {.factor = ir_load(ir, ir->f32, statistic(p, 1, i), 4)};
  MlirValue bias = nothing;
  if (s->norm == HMOEC_NORM_LAYER) {
    row.mean = ir_load(ir, ir->f32, statistic(p, 0, i), 4);
    bias = cuda_f32(p->e, p->norm_bias, k);
  }
  return cuda_normalised(p->e, s->norm, s->norm_scale, &row, x, cuda_f32(p->e, p->norm_weight, k), bias);
}

/* Thread t stores four k of row t / 4: A[k][row] in shared memory, 0 past the rows and past k. */
static void load_a(product *p, MlirValue k0) {
  ir_builder *ir = &p->e->ir;
  MlirValue four = ir_i64(ir, 4), i = ir_div_i(ir, p->task->thread, four);
  MlirValue first = ir_mul_i(ir, ir_rem_i(ir, p->task->thread, four), four), depth = ir_i64(ir, p->spec->k);
  for (int64_t j = 0; j < 4; j++) {
    MlirValue k = ir_add_i(ir, first, ir_i64(ir, j)), at = ir_add_i(ir, k0, k);
    ir_branch real;
    ir_if_begin(ir, &real, ir_and(ir, p->a_valid, ir_compare_i(ir, IR_LT, at, depth)), ir->f32);
    ir_if_else(ir, &real, a_element(p, i, at));
    MlirValue x = ir_if_end(ir, &real, ir_f32(ir, 0.0f));
    ir_store(ir, x, ir_at(ir, cuda_row(p->e, cuda_shared(p->e, 0), k, A_PITCH), ir->f32, i), 4);
  }
}

/* Thread t stores four columns of one k: B[k][64], the first panel's 32 and the second one's. right: number of the first panel. */
static void load_b(product *p, MlirValue k0, MlirValue right) {
  ir_builder *ir = &p->e->ir;
  int64_t quads = CUDA_PANEL / 4, four_count = 4;
  MlirType four = mlirVectorTypeGet(1, &four_count, ir->f32);
  MlirValue quad = ir_rem_i(ir, p->task->thread, ir_i64(ir, quads)), line = ir_div_i(ir, p->task->thread, ir_i64(ir, quads));
  MlirValue half = ir_div_i(ir, line, ir_i64(ir, DEPTH)), k = ir_rem_i(ir, line, ir_i64(ir, DEPTH));
  MlirValue panel = ir_add_i(ir, right, half), at = ir_add_i(ir, k0, k), column = ir_mul_i(ir, quad, ir_i64(ir, 4));
  MlirValue is_real = ir_and(ir, ir_compare_i(ir, IR_LT, panel, ir_i64(ir, right_panels(p->spec))),
                             ir_compare_i(ir, IR_LT, at, ir_i64(ir, p->spec->k)));
  ir_branch real;
  ir_if_begin(ir, &real, is_real, four);
  MlirValue row = ir_add_i(ir, ir_mul_i(ir, panel, ir_i64(ir, p->spec->k)), at);
  MlirValue from = ir_at(ir, cuda_row(p->e, p->b, row, CUDA_PANEL), ir->f32, column);
  ir_if_else(ir, &real, ir_load(ir, four, from, 16));
  MlirValue values = ir_if_end(ir, &real, ir_splat_to(ir, ir_f32(ir, 0.0f), 4));
  MlirValue to = cuda_row(p->e, cuda_shared(p->e, A_BYTES), k, COLUMNS);
  to = ir_at(ir, to, ir->f32, ir_add_i(ir, ir_mul_i(ir, half, ir_i64(ir, CUDA_PANEL)), column));
  ir_store(ir, values, to, 16);
}

static MlirValue element_at(ir_builder *ir, MlirValue vector, int64_t i) {
  return ir_op(ir, "llvm.extractelement", ir->f32, 2, (MlirValue[]){vector, ir_i64(ir, i)}, NULL, (MlirAttribute){NULL});
}

/* sums[r][c] += A[k][r] B[k][c] for the k in shared memory. */
static void multiply(product *p, MlirValue thread_row, MlirValue thread_column, MlirValue sums[SUMS]) {
  ir_builder *ir = &p->e->ir;
  int64_t two_count = 2, four_count = 4;
  MlirType two = mlirVectorTypeGet(1, &two_count, ir->f32), four = mlirVectorTypeGet(1, &four_count, ir->f32);
  MlirValue a = ir_at(ir, cuda_shared(p->e, 0), ir->f32, thread_row),
            b = ir_at(ir, cuda_shared(p->e, A_BYTES), ir->f32, thread_column);
  for (int64_t k = 0; k < DEPTH; k++) {
    MlirValue left = ir_load(ir, four, ir_at_constant(ir, a, ir->f32, k * A_PITCH), 16), right[2];
    for (int64_t half = 0; half < 2; half++)
      right[half] = ir_load(ir, two, ir_at_constant(ir, b, ir->f32, k * COLUMNS + half * CUDA_PANEL), 8);
    for (int64_t r = 0; r < THREAD_ROWS; r++)
      for (int64_t c = 0; c < THREAD_COLUMNS; c++)
        sums[r * THREAD_COLUMNS + c] =
            cuda_fma(p->e, element_at(ir, left, r), element_at(ir, right[c / 2], c % 2), sums[r * THREAD_COLUMNS + c]);
  }
}

/* ---- epilogue ---- */

/* v of column c of C, whose sum (and up, of a pair) are given; right: its column of B. */
static MlirValue column_value(product *p, const hmoec_matmul_segment *segment, MlirValue sum, MlirValue up, MlirValue right,
                              MlirValue c, MlirValue held, MlirValue gate, MlirValue pass) {
  hmoec_cuda_emitter *e = p->e;
  ir_builder *ir = &e->ir;
  const hmoec_matmul_spec *s = p->spec;
  bool is_pair = !mlirValueIsNull(up);
  if (s->has_bias) sum = ir_add(ir, sum, cuda_f32(e, p->bias, right));
  if (s->has_bias && is_pair) up = ir_add(ir, up, cuda_f32(e, ir_at_constant(ir, p->bias, ir->f32, CUDA_PANEL), right));
  const hmoec_scalar_program *function = hmoec_activation_function(ir->functions, segment->activation);
  bool binary = function && function->argument_count == 2;
  MlirValue v = binary ? cuda_activation_of_two(e, segment->activation, sum, is_pair ? up : held)
                       : cuda_activation(e, segment->activation, sum);
  if (is_pair && !binary) v = ir_mul(ir, v, up);
  if (segment->gated) v = ir_mul(ir, v, gate);
  ir_branch branch;
  bool replaced = s->has_pass || s->dropped_bare;
  if (replaced) { /* a dropped row gets its input, or nothing, in place of the expert's output, bias included */
    ir_if_begin(ir, &branch, p->dropped, ir->f32);
    MlirValue zero = ir_f32(ir, 0.0f), instead = segment->gated ? zero : v;
    if (s->has_pass) {
      MlirValue x = cuda_f32(e, pass, c);
      instead = segment->gated ? ir_mul(ir, gate, x) : cuda_fma(e, gate, x, v);
    }
    ir_if_else(ir, &branch, instead);
  }
  if (s->has_gated_bias) v = cuda_fma(e, gate, cuda_f32(e, p->gated_bias, c), v);
  if (replaced) v = ir_if_end(ir, &branch, v);
  if (s->accumulate) v = ir_add(ir, held, v);
  return segment->multiply && !binary ? ir_mul(ir, held, v) : v;
}

/* C[row i of the block][c], a column of segment `number`. */
static void write_column(product *p, int64_t number, MlirValue i, MlirValue c, MlirValue sum, MlirValue up, MlirValue right) {
  hmoec_cuda_emitter *e = p->e;
  ir_builder *ir = &e->ir;
  const hmoec_matmul_spec *s = p->spec;
  const hmoec_matmul_segment *segment = &s->segment[number];
  MlirValue r = ir_add_i(ir, p->row, i), to = cuda_row(e, p->c, cuda_index(e, p->scatter, r), s->c_stride);
  MlirValue held = nothing, gate = nothing, pass = nothing;
  ir_branch real;
  ir_if_begin(ir, &real, ir_compare_i(ir, IR_LT, c, ir_i64(ir, segment->end)), none);
  if (s->accumulate || segment->multiply) held = cuda_f32(e, to, c);
  if (s->has_row_gate) gate = cuda_f32(e, p->row_gate, r);
  if (s->has_pass) { /* the index means nothing in other blocks */
    ir_branch branch;
    ir_if_begin(ir, &branch, p->dropped, ir->i64);
    ir_if_else(ir, &branch, cuda_index(e, p->pass_index, r));
    pass = cuda_row(e, p->pass, ir_if_end(ir, &branch, ir_i64(ir, 0)), s->pass_ld);
  }
  cuda_put(e, to, c, column_value(p, segment, sum, up, right, c, held, gate, pass));
  ir_if_else(ir, &real, nothing);
  if (s->c_padded) cuda_put(e, to, c, ir_f32(ir, 0.0f));
  ir_if_end(ir, &real, nothing);
}

/* The sums in shared memory become rows of C. panel: of C, the tile's first; pairs: whether the second is its ups. */
static void emit_epilogue(product *p, bool pairs, MlirValue panel, MlirValue panel_end) {
  hmoec_cuda_emitter *e = p->e;
  ir_builder *ir = &e->ir;
  const hmoec_matmul_spec *s = p->spec;
  int64_t width = pairs ? CUDA_PANEL : COLUMNS;
  MlirValue columns = ir_i64(ir, width), elements = ir_mul_i(ir, p->rows, columns), panel_columns = ir_i64(ir, CUDA_PANEL);
  MlirValue first = ir_mul_i(ir, panel, panel_columns), end = ir_mul_i(ir, panel_end, panel_columns);
  ir_loop i;
  ir_for_begin(ir, &i, p->task->thread, elements, THREADS, 0, NULL);
  MlirValue row = ir_div_i(ir, i.index, columns), column = ir_rem_i(ir, i.index, columns), c = ir_add_i(ir, first, column);
  MlirValue sums = cuda_row(e, cuda_shared(e, 0), row, SUM_PITCH), sum = cuda_f32(e, sums, column), up = nothing;
  if (pairs) up = cuda_f32(e, ir_at_constant(ir, sums, ir->f32, CUDA_PANEL), column);
  MlirValue right =
      pairs ? ir_add_i(ir, ir_add_i(ir, first, first), column) : ir_add_i(ir, c, ir_i64(ir, paired_panels(s) * CUDA_PANEL));
  ir_branch inside, which;
  ir_if_begin(ir, &inside, ir_compare_i(ir, IR_LT, c, end), none);
  int64_t split = panels_of(s->segment[0].end) * CUDA_PANEL;
  if (s->segments == 1 || pairs) {
    write_column(p, 0, row, c, sum, up, right);
  } else if (s->paired) {
    write_column(p, 1, row, c, sum, up, right);
  } else {
    ir_if_begin(ir, &which, ir_compare_i(ir, IR_LT, c, ir_i64(ir, split)), none);
    write_column(p, 0, row, c, sum, up, right);
    ir_if_else(ir, &which, nothing);
    write_column(p, 1, row, c, sum, up, right);
    ir_if_end(ir, &which, nothing);
  }
  cuda_if_end(e, &inside);
  ir_for_end(ir, &i, NULL);
}

/* ---- tiles ---- */

static void store_sums(product *p, MlirValue thread_row, MlirValue thread_column, const MlirValue sums[SUMS]) {
  ir_builder *ir = &p->e->ir;
  for (int64_t r = 0; r < THREAD_ROWS; r++) {
    MlirValue row = cuda_row(p->e, cuda_shared(p->e, 0), ir_add_i(ir, thread_row, ir_i64(ir, r)), SUM_PITCH);
    row = ir_at(ir, row, ir->f32, thread_column);
    for (int64_t c = 0; c < THREAD_COLUMNS; c++)
      ir_store(ir, sums[r * THREAD_COLUMNS + c], ir_at_constant(ir, row, ir->f32, c / 2 * CUDA_PANEL + c % 2), 4);
  }
}

/* The tiles of panels [begin, end) of C. */
static void emit_tiles(product *p, bool pairs, MlirValue begin, MlirValue end) {
  ir_builder *ir = &p->e->ir;
  int64_t paired = paired_panels(p->spec);
  MlirValue sixteen = ir_i64(ir, THREADS / (ROWS / THREAD_ROWS)), zeros[SUMS];
  MlirValue thread_row = ir_mul_i(ir, ir_div_i(ir, p->task->thread, sixteen), ir_i64(ir, THREAD_ROWS));
  MlirValue thread_column = ir_mul_i(ir, ir_rem_i(ir, p->task->thread, sixteen), ir_i64(ir, 2));
  ir_loop tile, k;
  ir_for_begin(ir, &tile, begin, end, pairs ? 1 : 2, 0, NULL);
  MlirValue right = pairs ? ir_add_i(ir, tile.index, tile.index) : ir_add_i(ir, tile.index, ir_i64(ir, paired));
  for (int i = 0; i < SUMS; i++) zeros[i] = ir_f32(ir, 0.0f);
  ir_for_begin(ir, &k, p->first_k, ir_i64(ir, p->spec->k), DEPTH, SUMS, zeros);
  load_a(p, k.index);
  load_b(p, k.index, right);
  cuda_barrier(p->e);
  MlirValue sums[SUMS];
  for (int i = 0; i < SUMS; i++) sums[i] = k.args[i];
  multiply(p, thread_row, thread_column, sums);
  cuda_barrier(p->e);
  ir_for_end(ir, &k, sums);
  store_sums(p, thread_row, thread_column, k.args);
  cuda_barrier(p->e);
  emit_epilogue(p, pairs, tile.index, end);
  cuda_barrier(p->e); /* before the next tile's A and B come where the sums are */
  ir_for_end(ir, &tile, NULL);
}

static void emit_block(product *p, MlirValue number, MlirValue split) {
  ir_builder *ir = &p->e->ir;
  const hmoec_matmul_spec *s = p->spec;
  load_block(p, number);
  load_bindings(p);
  MlirValue i = ir_div_i(ir, p->task->thread, ir_i64(ir, 4));
  p->a_valid = ir_compare_i(ir, IR_LT, i, p->rows);
  p->a_row = a_row(p, ir_select(ir, p->a_valid, i, ir_i64(ir, 0)));
  p->first_k = of_dropped(p, s->dropped_k_begin);

  MlirValue panels = ir_i64(ir, panels_of(s->n)), one = ir_i64(ir, 1), pairs = ir_i64(ir, paired_panels(s));
  MlirValue begin = ir_div_i(ir, ir_mul_i(ir, panels, split), p->task->splits);
  MlirValue end = ir_div_i(ir, ir_mul_i(ir, panels, ir_add_i(ir, split, one)), p->task->splits);
  begin = ir_max_i(ir, begin, of_dropped(p, s->dropped_column / CUDA_PANEL));
  emit_statistics(p);
  if (s->paired) emit_tiles(p, true, begin, ir_min_i(ir, end, pairs));
  if (!s->paired || s->segments > 1) emit_tiles(p, false, ir_max_i(ir, begin, pairs), end);
}

void hmoec_cuda_emit_matmul(hmoec_cuda_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  product p = {.e = e, .spec = spec, .task = task};
  MlirValue number = ir_div_i(ir, task->task, task->splits), split = ir_rem_i(ir, task->task, task->splits);
  if (!spec->grouped) {
    emit_block(&p, number, split);
    return;
  }
  /* As many tasks are launched as blocks there can be. */
  MlirValue count = ir_extend(ir, ir_load(ir, ir->i32, cuda_binding(e, task, 3), 4));
  number = ir_add_i(ir, number, task->first_block);
  ir_branch exists;
  ir_if_begin(ir, &exists, ir_compare_i(ir, IR_LT, number, count), none);
  emit_block(&p, number, split);
  cuda_if_end(e, &exists);
}
