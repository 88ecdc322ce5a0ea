/* One function an op: from operand data to result data. */
#ifndef HMOEC_INTERPRETER_EVALUATE_H
#define HMOEC_INTERPRETER_EVALUATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "interpreter/interpreter.h"
#include "interpreter/run_scalar.h"

typedef struct hmoec_evaluation {
  const hmoec_inference *inference; /* shapes are those of the data: nothing is dynamic, but the result of distinct_selections */
  const double *operands[HMOEC_MAX_OPERANDS];
  hmoec_tensor *results; /* zeroed; a result with a dynamic dimension is for the evaluator to init */
  const hmoec_scalar_library *functions; /* of the module */
  hmoec_scalar_value *function_values;   /* room for the values of any of them */
  bool refused; /* what the evaluator failed at is reported: memory was not short */
  bool rounds
      [HMOEC_MAX_OPERANDS]; /* to bf16, see hmoec_interpret_rounded; of a product, that of its first operand stands for both */
} hmoec_evaluation;

/* False when memory is short, or after hmoec_evaluation_refuse. */
typedef bool (*hmoec_evaluator)(hmoec_evaluation *evaluation);

/* Reports that values of a run make no sense, at the op's line; always false. */
bool hmoec_evaluation_refuse(hmoec_evaluation *evaluation, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* NULL when the op has none, which is a bug of ours. */
hmoec_evaluator hmoec_evaluator_find(const char *name);

/* An elementwise function, by name: relu, gelu, gelu_new, silu, none, in double precision; or "@name", a scalar function of the module,
 * which is f32 as C has it. Borrows from the evaluation. */
typedef struct hmoec_function {
  double (*builtin)(double x);
  const hmoec_scalar_program *program; /* where builtin is NULL */
  hmoec_scalar_value *values;
} hmoec_function;
hmoec_function hmoec_evaluation_function(const hmoec_evaluation *evaluation, const char *attribute);
double hmoec_function_apply(const hmoec_function *function, double x);
/* f(gate) * up, or f(gate, up) of a function of two arguments. */
double hmoec_function_apply_gated(const hmoec_function *function, double gate, double up);

int64_t hmoec_evaluation_int(const hmoec_evaluation *evaluation, const char *attribute);
double hmoec_evaluation_number(const hmoec_evaluation *evaluation, const char *attribute);
const char *hmoec_evaluation_string(const hmoec_evaluation *evaluation, const char *attribute);
/* Dimension `axis` of operand `operand`. */
size_t hmoec_evaluation_dim(const hmoec_evaluation *evaluation, size_t operand, size_t axis);
/* An operand as rows of columns: its last dimension, and the product of those before. */
size_t hmoec_evaluation_rows(const hmoec_evaluation *evaluation, size_t operand);
size_t hmoec_evaluation_columns(const hmoec_evaluation *evaluation, size_t operand);

/* c[i][j] = sum_p a[i][p] b[j][p] + bias[j]; a [m, k], b [n, k], c [m, n], bias [n] or NULL; p ascending. */
void hmoec_matmul_transposed(size_t m, size_t n, size_t k, const double *a, const double *b, const double *bias, double *c);
/* The bf16 next to x as f32, ties to even. */
double hmoec_round_bf16(double x);
/* Rounded elements, the caller's; NULL when memory is short. */
double *hmoec_rounded_copy(const double *from, size_t count);
/* hmoec_matmul_transposed of a and b, or of what they round to. False when memory is short. */
bool hmoec_product(bool rounds, size_t m, size_t n, size_t k, const double *a, const double *b, const double *bias, double *c);

bool hmoec_evaluate_linear(hmoec_evaluation *evaluation);
bool hmoec_evaluate_activate(hmoec_evaluation *evaluation);
bool hmoec_evaluate_add(hmoec_evaluation *evaluation);
bool hmoec_evaluate_multiply(hmoec_evaluation *evaluation);
bool hmoec_evaluate_scale(hmoec_evaluation *evaluation);
bool hmoec_evaluate_reshape(hmoec_evaluation *evaluation); /* flatten and unflatten too: the same elements in order */
bool hmoec_evaluate_transpose(hmoec_evaluation *evaluation);
bool hmoec_evaluate_rms_norm(hmoec_evaluation *evaluation);
bool hmoec_evaluate_layer_norm(hmoec_evaluation *evaluation);
bool hmoec_evaluate_slice(hmoec_evaluation *evaluation);
bool hmoec_evaluate_concat(hmoec_evaluation *evaluation);
bool hmoec_evaluate_append_row(hmoec_evaluation *evaluation);
bool hmoec_evaluate_take_row(hmoec_evaluation *evaluation);
bool hmoec_evaluate_route(hmoec_evaluation *evaluation);
bool hmoec_evaluate_experts(hmoec_evaluation *evaluation);
bool hmoec_evaluate_gated_experts(hmoec_evaluation *evaluation);
bool hmoec_evaluate_combine(hmoec_evaluation *evaluation);
bool hmoec_evaluate_fused_experts(hmoec_evaluation *evaluation);
bool hmoec_evaluate_fused_gated_experts(hmoec_evaluation *evaluation);
bool hmoec_evaluate_selection_embedding(hmoec_evaluation *evaluation);
bool hmoec_evaluate_all_selections(hmoec_evaluation *evaluation);
bool hmoec_evaluate_selection_rank(hmoec_evaluation *evaluation);
bool hmoec_evaluate_distinct_selections(hmoec_evaluation *evaluation);
bool hmoec_evaluate_hypernetwork(hmoec_evaluation *evaluation);
bool hmoec_evaluate_hyper_expert(hmoec_evaluation *evaluation);
bool hmoec_evaluate_indexed_hyper_expert(hmoec_evaluation *evaluation);
bool hmoec_evaluate_factored_hyper_expert(hmoec_evaluation *evaluation);
bool hmoec_evaluate_weight_embedding(hmoec_evaluation *evaluation);
bool hmoec_evaluate_embedding(hmoec_evaluation *evaluation);
bool hmoec_evaluate_position_embedding(hmoec_evaluation *evaluation);
bool hmoec_evaluate_relative_bias(hmoec_evaluation *evaluation);
bool hmoec_evaluate_attention(hmoec_evaluation *evaluation);

/* y = relu(x down + beta) up + gamma for one row; x [h], down [h, b], up [b, h], beta [b] and gamma [h] or NULL, y [h]; added to y.
 * rounds: both products' operands. */
bool hmoec_hyper_expert_row(bool rounds, size_t h, size_t b, const double *x, const double *down, const double *up,
                            const double *beta, const double *gamma, double *y);

#endif
