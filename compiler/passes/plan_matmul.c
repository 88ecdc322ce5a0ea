/* Products, pairs of them, and the packing of their right operands. */
#include <stdio.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "passes/plan.h"

/* A fused pair reads its weights once for both products and keeps the hidden block in the cache, but is cut by blocks alone: it needs enough
 * of them for all threads, and enough rows in each to be worth the weights. */
#define PAIR_BLOCKS_PER_THREAD 2
#define PAIR_BLOCK_ROWS 16

plan_matmul plan_matmul_init(planner *p, int fn, int64_t rows_dim, hmoec_format format, int64_t k, int64_t n, plan_place a) {
  plan_matmul matmul = {.fn = fn, .rows_dim = rows_dim};
  matmul.spec.format = format;
  matmul.spec.a_format = a.format;
  matmul.spec.a_in_place = a.in_place && a.format == format;
  matmul.spec.k = matmul.spec.a_in_place ? plan_depth(format, k) : k; /* rows in place are zero from k on */
  matmul.spec.n = n;
  matmul.spec.lda = a.row_stride;
  matmul.spec.segments = 1;
  matmul.spec.segment[0] = (hmoec_matmul_segment){n, HMOEC_ACTIVATION_NONE, false, false};
  matmul.spec.dropped_panel_begin = plan_panels(n);
  matmul.spec.dropped_k_begin = matmul.spec.k;
  matmul.spec.row_block = p->schedule.row_block;
  matmul.a = (plan_binding){a.memory, hmoec_format_bytes(a.format, a.offset), 0};
  return matmul;
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

void plan_matmul_emit(planner *p, const plan_matmul *m) {
  hmoec_kernel kernel = {.family = HMOEC_KERNEL_MATMUL, .spec.matmul = m->spec};
  plan_step step = product_begin(p, &kernel, m, m->a, m->gather, m->row_gate);
  bind_norm(&step, m);
  plan_step_end(&step);
}

/* Both in one step; second's A is first's C, which stays in scratch. */
static void emit_ffn(planner *p, const plan_matmul *first, const plan_matmul *second) {
  plan_binding row_gate = first->row_gate.memory ? first->row_gate : second->row_gate;
  /* As many chunks as the schedule's size gives, but none that is a small rest. */
  int64_t chunk = p->schedule.chunk_panels * (4 / hmoec_format_bytes(first->spec.format, 1)), panels = plan_panels(first->spec.n);
  if (panels > chunk) chunk = (panels + panels / chunk - 1) / (panels / chunk);
  hmoec_kernel kernel = {.family = HMOEC_KERNEL_FFN,
                         .spec.ffn = {.first = first->spec, .second = second->spec, .chunk_panels = chunk}};
  plan_step step = product_begin(p, &kernel, second, first->a, first->gather, row_gate);
  plan_bind(&step, "first_b", first->b);
  plan_bind(&step, "first_bias", first->bias);
  bind_norm(&step, first);
  plan_step_end(&step);
}

void plan_pair(planner *p, const plan_matmul *first, const plan_matmul *second) {
  plan_step step = plan_step_begin(p, second->fn, "choose", second->rows_dim);
  plan_bind(&step, "blocks", second->blocks);
  plan_int(&step, "first", 1);
  plan_int(&step, "second", 2);
  plan_int(&step, "blocks_per_thread", PAIR_BLOCKS_PER_THREAD);
  plan_int(&step, "block_rows", PAIR_BLOCK_ROWS);
  plan_int(&step, "row_block", second->spec.row_block);
  plan_step_end(&step);
  emit_ffn(p, first, second);
  plan_matmul_emit(p, first);
  plan_matmul_emit(p, second);
}

plan_pack plan_pack_linear(plan_place w, hmoec_format format, int64_t n, int64_t k) {
  return (plan_pack){.columns = plan_panels(n) * HMOE_PANEL,
                     .q = 1,
                     .real_columns = n,
                     .column_stride = w.row_stride,
                     .k_outer = 1,
                     .k_inner = k,
                     .k_inner_stride = w.col_stride,
                     .source_offset = w.offset,
                     .groups = 1,
                     .group_bytes = plan_operand_bytes(format, k, n),
                     .outer_pitch = plan_depth(format, k),
                     .panel_depth = plan_depth(format, k),
                     .format = format};
}

static void emit_pack(planner *p, const char *name, plan_memory *destination, plan_memory *source, const plan_pack *k) {
  plan_step step = plan_step_begin(p, PLAN_OPEN, name, -1);
  plan_bind(&step, "dst", plan_at(destination));
  plan_bind(&step, "source", plan_at(source));
  plan_ints(&step, "args",
            (int64_t[]){k->columns,
                        k->q,
                        k->real_columns,
                        k->column_stride,
                        k->q_stride,
                        k->k_outer,
                        k->k_inner,
                        k->k_outer_stride,
                        k->k_inner_stride,
                        k->source_offset,
                        k->groups,
                        k->source_group_stride,
                        k->group_bytes,
                        k->panel,
                        k->depth,
                        k->outer_pitch,
                        k->panel_depth,
                        k->format,
                        k->real_q ? k->real_q : k->q,
                        k->paired},
            20);
  plan_step_end(&step);
}

void plan_pack_emit(planner *p, plan_memory *destination, plan_memory *source, const plan_pack *pack) {
  emit_pack(p, "pack", destination, source, pack);
}

void plan_pack_vector_emit(planner *p, plan_memory *destination, plan_memory *source, const plan_pack *pack) {
  emit_pack(p, "pack_vector", destination, source, pack);
}

plan_memory *plan_linear_weight(planner *p, int fn, plan_place w, hmoec_format format, int64_t n, int64_t k) {
  plan_memory **made = plan_memo_at(p, w.memory, PLAN_MEMO_WEIGHT + 2 * fn + (int64_t)format, w.offset, w.row_stride, w.col_stride, n, k);
  if (*made) return *made;
  plan_pack pack = plan_pack_linear(w, format, n, k);
  int64_t elements = pack.group_bytes / hmoec_format_bytes(format, 1);
  plan_memory *panels =
      fn == PLAN_RUN ? plan_weight(p, hmoec_format_name(format), 1, elements) : plan_workspace(p, "f32", -1, 1, elements, 0);
  plan_pack_emit(p, panels, w.memory, &pack);
  return *made = panels;
}

plan_binding plan_vector(planner *p, int fn, plan_place v, int64_t n) {
  bool readable = strcmp(v.memory->kind, "weight") == 0 || (fn == PLAN_OPEN && strcmp(v.memory->kind, "param") != 0);
  if (readable && v.row_stride == 1 && v.offset == 0) return plan_at(v.memory);
  plan_memory **made = plan_memo_at(p, v.memory, PLAN_MEMO_VECTOR + fn, v.offset, v.row_stride, n, 0, 0);
  if (*made) return plan_at(*made);
  int64_t padded = plan_panels(n) * HMOE_PANEL; /* epilogues read whole vectors */
  plan_pack pack = {.columns = padded,
                    .q = 1,
                    .real_columns = n,
                    .column_stride = v.row_stride,
                    .source_offset = v.offset,
                    .groups = 1,
                    .group_bytes = 4 * padded};
  plan_memory *packed = fn == PLAN_RUN ? plan_weight(p, "f32", 1, padded) : plan_workspace(p, "f32", -1, 1, padded, 0);
  plan_pack_vector_emit(p, packed, v.memory, &pack);
  return plan_at(*made = packed);
}
