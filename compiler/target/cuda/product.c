#include "target/cuda/product.h"

#include <stddef.h>

#include <mlir-c/BuiltinAttributes.h>

static const MlirType none = {NULL};
static const MlirValue nothing = {NULL};

/* In bf16 the second segment begins where parts of a depth may, so that the next product can begin there. */
int64_t cuda_first_columns(const hmoec_matmul_spec *spec) {
  if (spec->segments > 1 && hmoec_is_bf16(spec->format)) return spec->dropped_column;
  return cuda_panels_of(spec->segment[0].end) * CUDA_PANEL;
}

bool cuda_writes_planes(const hmoec_matmul_spec *spec) { return hmoec_is_bf16(spec->c_format) && !spec->few_rows; }

int64_t cuda_paired_panels(const hmoec_matmul_spec *spec) { return spec->paired ? cuda_first_columns(spec) / CUDA_PANEL : 0; }

int64_t cuda_right_panels(const hmoec_matmul_spec *spec) { return cuda_panels_of(spec->n) + cuda_paired_panels(spec); }

MlirValue cuda_of_dropped(product *p, int64_t value) {
  ir_builder *ir = &p->e->ir;
  return p->spec->grouped && value ? ir_select(ir, p->block.dropped, ir_i64(ir, value), ir_i64(ir, 0)) : ir_i64(ir, 0);
}

static MlirValue group_floats(product *p, MlirValue base, int64_t floats) { return cuda_row(p->e, base, p->block.group, floats); }

static void load_bindings(product *p) {
  hmoec_cuda_emitter *e = p->e;
  const hmoec_matmul_spec *s = p->spec;
  const hmoec_cuda_task *t = p->task;
  p->a = cuda_binding(e, t, 0);
  p->b = cuda_row_of(e, cuda_binding(e, t, 1), e->ir.i8, p->block.group, s->b_group_bytes);
  p->c = cuda_binding(e, t, 2);
  if (s->has_gather) p->gather = cuda_binding(e, t, 4);
  if (s->has_scatter) p->scatter = cuda_binding(e, t, 5);
  if (s->has_bias) p->bias = group_floats(p, cuda_binding(e, t, 6), s->bias_group_floats);
  if (s->has_row_gate) p->row_gate = cuda_binding(e, t, 7);
  if (s->has_gated_bias) p->gated_bias = group_floats(p, cuda_binding(e, t, 8), cuda_panels_of(s->n) * CUDA_PANEL);
  if (s->has_pass) p->pass = cuda_binding(e, t, 9), p->pass_index = cuda_binding(e, t, 10);
  p->norm = (cuda_row_norm){.kind = s->norm, .n = s->k, .epsilon = s->norm_epsilon, .scale = s->norm_scale};
  if (s->norm != HMOEC_NORM_NONE) p->norm.weight = cuda_binding(e, t, 11);
  if (s->norm == HMOEC_NORM_LAYER) p->norm.bias = cuda_binding(e, t, 12);
}

/* What is the block's: pieces of buffers, where its depth and its columns begin. */
static void enter_block(product *p) {
  int64_t first_k = p->spec->dropped_k_begin;
  if (hmoec_is_bf16(p->spec->format)) first_k = cuda_planes_of(first_k) * HMOE_CUDA_PLANE; /* k itself: nothing is multiplied */
  load_bindings(p);
  p->first_k = cuda_of_dropped(p, first_k);
  p->first_column = cuda_of_dropped(p, p->spec->dropped_column);
}

MlirValue cuda_product_blocks(product *p) { return p->spec->grouped ? cuda_binding(p->e, p->task, 3) : nothing; }

void cuda_product_load(product *p, MlirValue number) {
  cuda_block_load(p->e, p->task, cuda_product_blocks(p), p->spec->row_block, number, &p->block);
  enter_block(p);
}

bool cuda_is_narrow(const hmoec_matmul_spec *spec) { return spec->n <= CUDA_NARROW && !spec->paired && spec->segments == 1; }

void cuda_product_begin(product *p, int64_t width, MlirValue *out_begin, MlirValue *out_end) {
  hmoec_cuda_emitter *e = p->e;
  ir_builder *ir = &e->ir;
  const hmoec_matmul_spec *s = p->spec;
  cuda_block_begin(e, p->task, cuda_product_blocks(p), s->row_block, &p->block);
  enter_block(p);
  /* In planes C has zeros to the end of the last. */
  int64_t panels = cuda_writes_planes(s) ? cuda_planes_of(s->n) * (HMOE_CUDA_PLANE / CUDA_PANEL) : cuda_panels_of(s->n);
  cuda_block_share(e, p->task, &p->block, panels * (CUDA_PANEL / width), out_begin, out_end);
  *out_begin = ir_max_i(ir, *out_begin, cuda_of_dropped(p, s->dropped_column / width));
}

void cuda_product_end(product *p) { cuda_block_end(p->e, &p->block); }

MlirValue cuda_product_row(product *p, MlirValue i) {
  ir_builder *ir = &p->e->ir;
  MlirValue row = cuda_index(p->e, p->gather, ir_add_i(ir, p->block.row, i));
  return cuda_row_of(p->e, p->a, hmoec_is_bf16(p->spec->a_format) ? ir->i16 : ir->f32, row, p->spec->a_stride);
}

MlirValue cuda_right_column(product *p, bool pairs, MlirValue c) {
  ir_builder *ir = &p->e->ir;
  if (!pairs) return ir_add_i(ir, c, ir_i64(ir, cuda_paired_panels(p->spec) * CUDA_PANEL));
  return ir_add_i(ir, c, ir_sub_i(ir, c, ir_rem_i(ir, c, ir_i64(ir, CUDA_PANEL))));
}

/* ---- epilogue ---- */

/* base[index], which nothing writes while the kernel runs, so that no store holds up the load. */
static MlirValue constant_f32(product *p, MlirValue base, MlirValue index) {
  MlirValue value = cuda_f32(p->e, base, index);
  mlirOperationSetInherentAttributeByName(mlirOpResultGetOwner(value), mlirStringRefCreateFromCString("invariant"),
                                          mlirUnitAttrGet(p->e->ir.context));
  return value;
}

/* v of column c of C, whose sum (and up, of a pair) are given; right: its column of B. */
static MlirValue column_value(product *p, const hmoec_matmul_segment *segment, MlirValue sum, MlirValue up, MlirValue right,
                              MlirValue c, MlirValue held, const cuda_line *line) {
  hmoec_cuda_emitter *e = p->e;
  ir_builder *ir = &e->ir;
  const hmoec_matmul_spec *s = p->spec;
  bool is_pair = !mlirValueIsNull(up);
  if (s->has_bias) sum = ir_add(ir, sum, constant_f32(p, p->bias, right));
  if (s->has_bias && is_pair) up = ir_add(ir, up, constant_f32(p, ir_at_constant(ir, p->bias, ir->f32, CUDA_PANEL), right));
  const hmoec_scalar_program *function = hmoec_activation_function(ir->functions, segment->activation);
  bool binary = function && function->argument_count == 2;
  MlirValue v = binary ? cuda_activation_of_two(e, segment->activation, sum, is_pair ? up : held)
                       : cuda_activation(e, segment->activation, sum);
  if (is_pair && !binary) v = ir_mul(ir, v, up);
  if (segment->gated) v = ir_mul(ir, v, line->gate);
  ir_branch branch;
  bool replaced = s->has_pass || s->dropped_bare;
  if (replaced) { /* a dropped row gets its input, or nothing, in place of the expert's output, bias included */
    ir_if_begin(ir, &branch, p->block.dropped, ir->f32);
    MlirValue zero = ir_f32(ir, 0.0f), instead = segment->gated ? zero : v;
    if (s->has_pass) {
      MlirValue x = cuda_f32(e, line->pass, c);
      instead = segment->gated ? ir_mul(ir, line->gate, x) : cuda_fma(e, line->gate, x, v);
    }
    ir_if_else(ir, &branch, instead);
  }
  if (s->has_gated_bias) v = cuda_fma(e, line->gate, constant_f32(p, p->gated_bias, c), v);
  if (replaced) v = ir_if_end(ir, &branch, v);
  if (s->accumulate) v = ir_add(ir, held, v);
  return segment->multiply && !binary ? ir_mul(ir, held, v) : v;
}

cuda_line cuda_line_of(product *p, MlirValue i) {
  hmoec_cuda_emitter *e = p->e;
  ir_builder *ir = &e->ir;
  const hmoec_matmul_spec *s = p->spec;
  MlirValue r = ir_add_i(ir, p->block.row, i);
  cuda_line line = {.row = i};
  if (!cuda_writes_planes(s))
    line.c = cuda_row_of(e, p->c, hmoec_is_bf16(s->c_format) ? ir->i16 : ir->f32, cuda_index(e, p->scatter, r), s->c_stride);
  if (s->has_row_gate) line.gate = constant_f32(p, p->row_gate, r);
  if (s->has_pass) { /* the index means nothing in other blocks */
    ir_branch branch;
    ir_if_begin(ir, &branch, p->block.dropped, ir->i64);
    ir_if_else(ir, &branch, cuda_index(e, p->pass_index, r));
    line.pass = cuda_row(e, p->pass, ir_if_end(ir, &branch, ir_i64(ir, 0)), s->pass_ld);
  }
  return line;
}

/* Where column c of a row is in C. */
static MlirValue place_in_c(product *p, const cuda_line *line, MlirValue c) {
  hmoec_cuda_emitter *e = p->e;
  ir_builder *ir = &e->ir;
  const hmoec_matmul_spec *s = p->spec;
  if (!cuda_writes_planes(s)) return ir_at(ir, line->c, hmoec_is_bf16(s->c_format) ? ir->i16 : ir->f32, c);
  MlirValue depth = ir_i64(ir, HMOE_CUDA_PLANE), row_block = ir_i64(ir, s->row_block);
  MlirValue height = ir_mul_i(ir, p->task->blocks, row_block);
  MlirValue row = ir_add_i(ir, ir_mul_i(ir, p->block.number, row_block), line->row);
  MlirValue number = ir_add_i(ir, ir_mul_i(ir, ir_div_i(ir, c, depth), height), row);
  return ir_at(ir, cuda_row_of(e, p->c, ir->i16, number, HMOE_CUDA_PLANE), ir->i16, cuda_place(e, ir_rem_i(ir, c, depth), row));
}

static MlirValue read_c(product *p, MlirValue at) {
  ir_builder *ir = &p->e->ir;
  return hmoec_is_bf16(p->spec->c_format) ? cuda_from_bf16(p->e, ir_load(ir, ir->i16, at, 2)) : ir_load(ir, ir->f32, at, 4);
}

/* Columns from a multiple of `count` on: so many at a time are in one piece of C, which lies at a multiple of its bytes. */
static int in_one_piece(const hmoec_matmul_spec *s, int count) {
  while (count > 1 && !cuda_writes_planes(s) && (s->c_loose || s->c_stride % count != 0)) count /= 2;
  return count;
}

/* As many values side by side as there are in one piece. */
static void write_c(product *p, MlirValue at, int count, const MlirValue *values) {
  hmoec_cuda_emitter *e = p->e;
  ir_builder *ir = &e->ir;
  bool halves = hmoec_is_bf16(p->spec->c_format);
  if (count == 1) {
    ir_store(ir, halves ? cuda_to_bf16(e, values[0]) : values[0], at, halves ? 2 : 4);
  } else if (halves && count == 2) {
    ir_store(ir, cuda_bf16_word(e, values[0], values[1]), at, 4);
  } else {
    int parts = halves ? count / 2 : count;
    MlirValue all = {NULL};
    for (int i = 0; i < parts; i++) {
      MlirValue part = halves ? cuda_bf16_word(e, values[2 * i], values[2 * i + 1]) : values[i];
      all = i ? cuda_with_element(e, all, part, i) : ir_splat_to(ir, part, parts);
    }
    ir_store(ir, all, at, 4 * (uint32_t)parts);
  }
}

static bool reads_c(const hmoec_matmul_spec *s, int64_t segment) { return s->accumulate || s->segment[segment].multiply; }

/* What column i behind a place of C holds. */
static MlirValue held_at(product *p, MlirValue place, int64_t i) {
  ir_builder *ir = &p->e->ir;
  return read_c(p, ir_at_constant(ir, place, hmoec_is_bf16(p->spec->c_format) ? ir->i16 : ir->f32, i));
}

/* `count` columns of segment `number`, all before its end or all behind it. inside: it is known to be before. held: of C, where they have been read, else null. */
static void write_of_segment(product *p, int64_t number, const cuda_line *line, MlirValue c, int count, const MlirValue *sums,
                             const MlirValue *ups, MlirValue right, const MlirValue *held, bool inside) {
  ir_builder *ir = &p->e->ir;
  const hmoec_matmul_spec *s = p->spec;
  const hmoec_matmul_segment *segment = &s->segment[number];
  MlirValue to = place_in_c(p, line, c), values[CUDA_AT_ONCE];
  ir_branch real;
  if (!inside) ir_if_begin(ir, &real, ir_compare_i(ir, IR_LT, c, ir_i64(ir, segment->end)), none);
  for (int i = 0; i < count; i++) {
    MlirValue step = ir_i64(ir, i), now = held[i];
    if (reads_c(s, number) && mlirValueIsNull(now)) now = held_at(p, to, i);
    values[i] = column_value(p, segment, sums[i], ups[i], ir_add_i(ir, right, step), ir_add_i(ir, c, step), now, line);
  }
  write_c(p, to, count, values);
  if (inside) return;
  ir_if_else(ir, &real, nothing);
  MlirValue zero = ir_f32(ir, 0.0f);
  if (s->c_padded || cuda_writes_planes(s)) write_c(p, to, count, (const MlirValue[CUDA_AT_ONCE]){zero, zero, zero, zero});
  ir_if_end(ir, &real, nothing);
}

/* Whether all columns of the segment's panels are before its end. */
static bool fills_panels(const hmoec_matmul_spec *s, int64_t segment) {
  int64_t panels_end = segment + 1 < s->segments ? cuda_first_columns(s) : cuda_panels_of(s->n) * CUDA_PANEL;
  return s->segment[segment].end == panels_end;
}

/* Of `count` columns so many are read or written at one time: in one piece, and all before the segment's end or all behind it. */
static int at_once(const hmoec_matmul_spec *s, int64_t segment, int count) {
  count = in_one_piece(s, count);
  while (s->segment[segment].end % count != 0) count /= 2;
  return count;
}

int64_t cuda_segment_of(const hmoec_matmul_spec *spec, bool pairs) {
  if (spec->segments == 1 || pairs) return 0;
  return spec->paired ? 1 : -1;
}

void cuda_read_columns(product *p, int64_t segment, const cuda_line *line, MlirValue real, MlirValue c, int count,
                       MlirValue *out_held) {
  ir_builder *ir = &p->e->ir;
  const hmoec_matmul_spec *s = p->spec;
  for (int i = 0; i < count; i++) out_held[i] = nothing;
  if (segment < 0 || !reads_c(s, segment) || hmoec_is_bf16(s->c_format)) return;
  int step = at_once(s, segment, count);
  for (int i = 0; i < count; i += step) {
    MlirValue first = ir_add_i(ir, c, ir_i64(ir, i)), there = real;
    if (p->is_beyond || !fills_panels(s, segment))
      there = ir_and(ir, real, ir_compare_i(ir, IR_LT, first, ir_i64(ir, s->segment[segment].end)));
    cuda_load_where(p->e, place_in_c(p, line, first), there, step, out_held + i);
  }
}

/* beyond: they may be behind B's panels. */
static void write_columns(product *p, int64_t segment, const cuda_line *line, MlirValue c, int count, const MlirValue *sums,
                          const MlirValue *ups, MlirValue right, const MlirValue *held, bool beyond) {
  ir_builder *ir = &p->e->ir;
  const hmoec_matmul_spec *s = p->spec;
  if (segment < 0) {
    ir_branch which;
    ir_if_begin(ir, &which, ir_compare_i(ir, IR_LT, c, ir_i64(ir, cuda_first_columns(s))), none);
    write_columns(p, 0, line, c, count, sums, ups, right, held, beyond);
    ir_if_else(ir, &which, nothing);
    write_columns(p, 1, line, c, count, sums, ups, right, held, beyond);
    ir_if_end(ir, &which, nothing);
    return;
  }
  int step = at_once(s, segment, count);
  for (int i = 0; i < count; i += step) {
    MlirValue further = ir_i64(ir, i);
    write_of_segment(p, segment, line, ir_add_i(ir, c, further), step, sums + i, ups + i, ir_add_i(ir, right, further), held + i,
                     !beyond && fills_panels(s, segment));
  }
}

void cuda_write_columns(product *p, int64_t segment, const cuda_line *line, MlirValue c, int count, const MlirValue *sums,
                        const MlirValue *ups, MlirValue right, const MlirValue *held) {
  write_columns(p, segment, line, c, count, sums, ups, right, held, p->is_beyond);
}

void cuda_write_column(product *p, bool pairs, MlirValue i, MlirValue c, MlirValue sum, MlirValue up, MlirValue right) {
  cuda_line line = cuda_line_of(p, i);
  write_columns(p, cuda_segment_of(p->spec, pairs), &line, c, 1, &sum, &up, right, &nothing, true);
}
