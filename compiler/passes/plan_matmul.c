/* Steps that many ops are made of: products, pairs of them, the packing of their right operands, and maps of rows. */
#include <stdio.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "passes/plan.h"

plan_matmul plan_matmul_init(planner *p, int fn, int64_t rows_dim, hmoec_format format, int64_t k, int64_t n, plan_place a) {
  plan_matmul matmul = {.fn = fn, .rows_dim = rows_dim};
  matmul.spec.format = format;
  matmul.spec.a_format = a.format;
  matmul.spec.k = k;
  matmul.spec.n = n;
  matmul.spec.segments = 1;
  matmul.spec.segment[0] = (hmoec_matmul_segment){n, HMOEC_ACTIVATION_NONE, false, false};
  matmul.spec.dropped_column = plan_round(&p->graph, n);
  matmul.spec.dropped_k_begin = k;
  matmul.a = plan_rows_at(a);
  return matmul;
}

void plan_matmul_into(plan_matmul *m, plan_place c) {
  m->c = plan_rows_at(c);
  m->spec.c_format = c.format;
}

/* The buffers of a product's step; a and gather, and row_gate, may be those of the first of a pair. */
static plan_step product_begin(planner *p, const hmoec_kernel *kernel, const plan_matmul *m, plan_binding a, plan_binding gather,
                               plan_binding row_gate) {
  plan_step step = plan_kernel_begin(p, m->fn, kernel, m->rows_dim);
  plan_bind(&step, "a", a);
  plan_bind(&step, "b", m->b);
  plan_bind(&step, "c", m->c);
  plan_bind(&step, "blocks", m->blocks);
  plan_bind(&step, "gather", gather);
  plan_bind(&step, "scatter", m->scatter);
  plan_bind(&step, "bias", m->bias);
  plan_bind(&step, "row_gate", row_gate);
  plan_bind(&step, "gated_bias", m->gated_bias);
  plan_bind(&step, "pass", m->pass);
  plan_bind(&step, "pass_index", m->pass_index);
  return step;
}

/* After all other buffers. */
static void bind_norm(plan_step *step, const plan_matmul *m) {
  plan_bind(step, "norm_weight", m->norm_weight);
  plan_bind(step, "norm_bias", m->norm_bias);
}

/* Whether rows begin where a piece of their memory doesn't, wherever gaps may come. */
static bool is_loose(const planner *p, plan_binding rows, hmoec_format format) {
  if (!p->graph.target->piece_bytes) return false;
  int64_t piece = p->graph.target->piece_bytes / hmoec_format_bytes(format, 1),
          columns = rows.memory ? rows.memory->operand.columns : 0;
  return rows.at % piece != 0 || (columns % piece != 0 && rows.at >= columns && rows.at != 0);
}

static void emit_product(planner *p, const plan_matmul *m) {
  hmoec_kernel kernel = {.family = HMOEC_KERNEL_MATMUL, .spec.matmul = m->spec};
  kernel.spec.matmul.a_loose = is_loose(p, m->a, m->spec.a_format);
  kernel.spec.matmul.c_loose = is_loose(p, m->c, m->spec.c_format);
  plan_step step = product_begin(p, &kernel, m, m->a, m->gather, m->row_gate);
  bind_norm(&step, m);
  plan_step_end(&step);
}

/* Whether a product wants its rows packed, unless they are few. */
static bool packs_rows(const planner *p, const plan_matmul *m) {
  return m->fn == PLAN_RUN && p->graph.target->packs_rows[m->spec.format] && !m->spec.few_rows;
}

/* A's rows, packed in the order of the product's: gathered, normalised and rounded. */
static plan_matmul pack_rows(planner *p, const plan_matmul *m) {
  plan_matmul packed = *m;
  plan_memory *rows = plan_block_rows(p, m->spec.format, m->rows_dim, m->spec.k, m->groups);
  hmoec_kernel kernel = {.family = HMOEC_KERNEL_PACK_ROWS,
                         .spec.pack_rows = {.n = m->spec.k,
                                            .format = m->spec.format,
                                            .norm = m->spec.norm,
                                            .norm_epsilon = m->spec.norm_epsilon,
                                            .norm_scale = m->spec.norm_scale}};
  plan_step step = plan_kernel_begin(p, m->fn, &kernel, m->rows_dim);
  plan_bind(&step, "a", m->a);
  plan_bind(&step, "out", plan_at(rows));
  plan_bind(&step, "blocks", m->blocks);
  plan_bind(&step, "gather", m->gather);
  bind_norm(&step, m);
  plan_step_end(&step);
  packed.a = plan_at(rows);
  packed.spec.a_format = m->spec.format;
  packed.spec.norm = HMOEC_NORM_NONE;
  packed.gather = packed.norm_weight = packed.norm_bias = (plan_binding){0};
  return packed;
}

/* One product, or two of which the second reads what the first wrote (NULL: one): of many rows, packed, or of few. */
static void emit_ways(planner *p, const plan_matmul *first, const plan_matmul *second) {
  const plan_matmul *products[2] = {first, second};
  int64_t count = second ? 2 : 1;
  plan_step step = plan_step_begin(p, first->fn, "choose", first->rows_dim);
  plan_bind(&step, "blocks", first->blocks);
  plan_int(&step, "first", 1 + count);
  plan_int(&step, "second", count);
  plan_step_end(&step);
  plan_matmul packed = pack_rows(p, first);
  emit_product(p, &packed);
  if (second) emit_product(p, second);
  for (int64_t i = 0; i < count; i++) {
    plan_matmul few = *products[i];
    few.spec.few_rows = true;
    emit_product(p, &few);
  }
}

void plan_matmul_emit(planner *p, const plan_matmul *m) {
  if (packs_rows(p, m)) emit_ways(p, m, NULL);
  else emit_product(p, m);
}

void plan_two(planner *p, const plan_matmul *first, const plan_matmul *second) {
  if (packs_rows(p, first)) {
    emit_ways(p, first, second);
  } else {
    emit_product(p, first);
    emit_product(p, second);
  }
}

/* Both in one step; second's A is first's C, which stays in scratch. */
static void emit_ffn(planner *p, const plan_matmul *first, const plan_matmul *second) {
  plan_binding row_gate = first->row_gate.memory ? first->row_gate : second->row_gate;
  hmoec_kernel kernel = {.family = HMOEC_KERNEL_FFN, .spec.ffn = {.first = first->spec, .second = second->spec}};
  plan_step step = product_begin(p, &kernel, second, first->a, first->gather, row_gate);
  plan_bind(&step, "first_b", first->b);
  plan_bind(&step, "first_bias", first->bias);
  bind_norm(&step, first);
  plan_step_end(&step);
}

void plan_pair(planner *p, const plan_matmul *first, const plan_matmul *second) {
  if (p->graph.target->packs_rows[first->spec.format]) {
    plan_two(p, first, second);
    return;
  }
  plan_step step = plan_step_begin(p, second->fn, "choose", second->rows_dim);
  plan_bind(&step, "blocks", second->blocks);
  plan_int(&step, "first", 1);
  plan_int(&step, "second", 2);
  plan_step_end(&step);
  emit_ffn(p, first, second);
  emit_product(p, first);
  emit_product(p, second);
}

void plan_map_emit(planner *p, int fn, int64_t rows_dim, const plan_mapping *map) {
  hmoec_kernel kernel = {.family = HMOEC_KERNEL_ROWS,
                         .spec.rows = {.n = map->columns,
                                       .in_step = map->in_step ? map->in_step : 1,
                                       .factor_columns = map->factor_columns,
                                       .scale = map->scaled ? map->scale : 1,
                                       .accumulate = map->accumulate,
                                       .activation = map->function}};
  plan_binding out = plan_rows_at(map->out);
  out.at += map->first;
  plan_step step = plan_kernel_begin(p, fn, &kernel, rows_dim);
  plan_bind(&step, "in", plan_rows_at(map->in));
  plan_bind(&step, "index", plan_at(map->index));
  plan_bind(&step, "out", out);
  plan_bind(&step, "factor", map->factor);
  plan_step_end(&step);
}

void plan_map(planner *p, int fn, int64_t rows_dim, hmoec_activation function, plan_place in, plan_place out, int64_t columns,
              bool accumulate) {
  plan_map_emit(p, fn, rows_dim,
                &(plan_mapping){.function = function, .in = in, .out = out, .columns = columns, .accumulate = accumulate});
}

hmoec_packing plan_packing(plan_place w, int64_t n, int64_t k) {
  return (hmoec_packing){.columns = n,
                         .column_stride = w.row_stride,
                         .q = 1,
                         .k_outer = 1,
                         .k_inner = k,
                         .k_inner_stride = w.col_stride,
                         .source_offset = w.offset,
                         .groups = 1};
}

void plan_pack_emit(planner *p, plan_binding destination, plan_memory *source, const hmoec_packing *packing) {
  bool right = destination.memory->operand.role == HMOEC_ROLE_RIGHT;
  plan_step step = plan_step_begin(p, PLAN_OPEN, right ? "pack" : "pack_vector", -1);
  plan_bind(&step, "dst", destination);
  plan_bind(&step, "source", plan_at(source));
  step.attribute_count += hmoec_packing_write(packing, p->out.context, step.attributes + step.attribute_count);
  plan_step_end(&step);
}

plan_memory *plan_linear_weight(planner *p, int fn, plan_place w, hmoec_format format, int64_t n, int64_t k) {
  plan_memory **made = plan_made(p, (plan_key){.owner = w.memory,
                                               .making = PLAN_WEIGHT,
                                               .fn = fn,
                                               .format = format,
                                               .offset = w.offset,
                                               .row_stride = w.row_stride,
                                               .col_stride = w.col_stride,
                                               .rows = n,
                                               .columns = k});
  if (*made) return *made;
  hmoec_packing packing = plan_packing(w, n, k);
  hmoec_operand right = plan_right(format, k, n);
  plan_memory *operand = fn == PLAN_RUN ? plan_weight(p, 1, right) : plan_workspace(p, -1, 1, right);
  plan_pack_emit(p, plan_at(operand), w.memory, &packing);
  return *made = operand;
}

plan_binding plan_vector(planner *p, int fn, plan_place v, int64_t n) {
  bool readable = strcmp(v.memory->kind, "weight") == 0 || (fn == PLAN_OPEN && strcmp(v.memory->kind, "param") != 0);
  if (readable && v.row_stride == 1 && v.offset == 0 && plan_lies_dense(p, &v, n)) return plan_at(v.memory);
  plan_memory **made = plan_made(
      p,
      (plan_key){.owner = v.memory, .making = PLAN_VECTOR, .fn = fn, .offset = v.offset, .row_stride = v.row_stride, .columns = n});
  if (*made) return plan_at(*made);
  hmoec_packing packing = {
      .columns = n, .column_stride = v.row_stride, .q = 1, .k_outer = 1, .source_offset = v.offset, .groups = 1};
  plan_memory *packed = fn == PLAN_RUN ? plan_weight(p, 1, plan_vector_of(n)) : plan_workspace(p, -1, 1, plan_vector_of(n));
  plan_pack_emit(p, plan_at(packed), v.memory, &packing);
  return plan_at(*made = packed);
}
