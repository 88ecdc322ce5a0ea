/* The table of evaluators and what they share. */
#include "interpreter/evaluate.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plain_text.h"

static const struct {
  const char *name;
  hmoec_evaluator evaluate;
} evaluators[] = {
    {"linear", hmoec_evaluate_linear},
    {"activate", hmoec_evaluate_activate},
    {"add", hmoec_evaluate_add},
    {"multiply", hmoec_evaluate_multiply},
    {"scale", hmoec_evaluate_scale},
    {"reshape", hmoec_evaluate_reshape},
    {"flatten", hmoec_evaluate_reshape},
    {"unflatten", hmoec_evaluate_reshape},
    {"transpose", hmoec_evaluate_transpose},
    {"rms_norm", hmoec_evaluate_rms_norm},
    {"layer_norm", hmoec_evaluate_layer_norm},
    {"slice", hmoec_evaluate_slice},
    {"concat", hmoec_evaluate_concat},
    {"append_row", hmoec_evaluate_append_row},
    {"take_row", hmoec_evaluate_take_row},
    {"route", hmoec_evaluate_route},
    {"experts", hmoec_evaluate_experts},
    {"gated_experts", hmoec_evaluate_gated_experts},
    {"combine", hmoec_evaluate_combine},
    {"fused_experts", hmoec_evaluate_fused_experts},
    {"fused_gated_experts", hmoec_evaluate_fused_gated_experts},
    {"selection_embedding", hmoec_evaluate_selection_embedding},
    {"all_selections", hmoec_evaluate_all_selections},
    {"selection_rank", hmoec_evaluate_selection_rank},
    {"distinct_selections", hmoec_evaluate_distinct_selections},
    {"hypernetwork", hmoec_evaluate_hypernetwork},
    {"hyper_expert", hmoec_evaluate_hyper_expert},
    {"indexed_hyper_expert", hmoec_evaluate_indexed_hyper_expert},
    {"factored_hyper_expert", hmoec_evaluate_factored_hyper_expert},
    {"weight_embedding", hmoec_evaluate_weight_embedding},
    {"embedding", hmoec_evaluate_embedding},
    {"position_embedding", hmoec_evaluate_position_embedding},
    {"relative_bias", hmoec_evaluate_relative_bias},
    {"attention", hmoec_evaluate_attention},
};

hmoec_evaluator hmoec_evaluator_find(const char *name) {
  for (size_t i = 0; i < sizeof evaluators / sizeof *evaluators; i++)
    if (strcmp(evaluators[i].name, name) == 0) return evaluators[i].evaluate;
  return NULL;
}

/* NaN passes through every function; at minus infinity they have their limits, where the formula may be infinity times 0. */
static double relu(double x) { return x < 0 ? 0 : x; }
static double times_half_open(double x, double h) { return h == 0 ? 0 : x * h; }
static double gelu(double x) { return times_half_open(x, 0.5 * (1 + erf(x * sqrt(0.5)))); }
static double gelu_new(double x) { return times_half_open(x, 0.5 * (1 + tanh(sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x)))); }
static double silu(double x) { return x == -INFINITY ? 0 : x / (1 + exp(-x)); }
static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double identity(double x) { return x; }

static const struct {
  const char *name;
  double (*function)(double x);
} functions[] = {{"relu", relu}, {"gelu", gelu}, {"gelu_new", gelu_new}, {"silu", silu}, {"sigmoid", sigmoid}, {"none", identity}};

hmoec_function hmoec_evaluation_function(const hmoec_evaluation *evaluation, const char *attribute) {
  const char *name = hmoec_evaluation_string(evaluation, attribute);
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
    if (strcmp(functions[i].name, name) == 0) return (hmoec_function){.builtin = functions[i].function};
  return (hmoec_function){.program = hmoec_scalar_library_find(evaluation->functions, name, strlen(name)),
                          .values = evaluation->function_values};
}

double hmoec_function_apply(const hmoec_function *function, double x) {
  if (function->builtin) return function->builtin(x);
  return (double)hmoec_scalar_run(function->program, function->values, (float[]){(float)x});
}

double hmoec_function_apply_gated(const hmoec_function *function, double gate, double up) {
  if (function->builtin || function->program->argument_count == 1) return hmoec_function_apply(function, gate) * up;
  return (double)hmoec_scalar_run(function->program, function->values, (float[]){(float)gate, (float)up});
}

static const hmoec_attribute *attribute_find(const hmoec_evaluation *evaluation, const char *name) {
  const hmoec_attribute *attribute = evaluation->inference->attributes;
  while (strcmp(attribute->name, name) != 0) attribute++;
  return attribute;
}

int64_t hmoec_evaluation_int(const hmoec_evaluation *evaluation, const char *attribute) {
  return attribute_find(evaluation, attribute)->integer;
}

double hmoec_evaluation_number(const hmoec_evaluation *evaluation, const char *attribute) {
  return attribute_find(evaluation, attribute)->number;
}

const char *hmoec_evaluation_string(const hmoec_evaluation *evaluation, const char *attribute) {
  return attribute_find(evaluation, attribute)->string;
}

size_t hmoec_evaluation_dim(const hmoec_evaluation *evaluation, size_t operand, size_t axis) {
  return (size_t)evaluation->inference->operands[operand].dims[axis];
}

size_t hmoec_evaluation_rows(const hmoec_evaluation *evaluation, size_t operand) {
  const hmoec_shape *shape = &evaluation->inference->operands[operand];
  size_t rows = 1;
  for (int64_t axis = 0; axis + 1 < shape->rank; axis++) rows *= (size_t)shape->dims[axis];
  return rows;
}

size_t hmoec_evaluation_columns(const hmoec_evaluation *evaluation, size_t operand) {
  const hmoec_shape *shape = &evaluation->inference->operands[operand];
  return (size_t)shape->dims[shape->rank - 1];
}

bool hmoec_evaluation_refuse(hmoec_evaluation *evaluation, const char *format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  hmoe_plain_vformat(text, sizeof text, format, arguments);
  va_end(arguments);
  evaluation->refused = true;
  return hmoec_error(evaluation->inference->diagnostics, evaluation->inference->location, "%s: %s",
                     evaluation->inference->info->name, text);
}

enum { TILE = 4 };

/* rows x columns dot products at once, each summed in the plain order; inlined with constant sizes for whole tiles. */
static inline void dot_tile(size_t rows, size_t columns, size_t n, size_t k, const double *a, const double *b, const double *bias,
                            double *c) {
  double sums[TILE][TILE] = {{0}};
  for (size_t p = 0; p < k; p++)
    for (size_t i = 0; i < rows; i++)
      for (size_t j = 0; j < columns; j++) sums[i][j] += a[i * k + p] * b[j * k + p];
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j < columns; j++) c[i * n + j] = sums[i][j] + (bias ? bias[j] : 0);
}

void hmoec_matmul_transposed(size_t m, size_t n, size_t k, const double *a, const double *b, const double *bias, double *c) {
  for (size_t j = 0; j < n; j += TILE) {
    size_t columns = n - j < TILE ? n - j : TILE;
    const double *tile_bias = bias ? bias + j : NULL;
    for (size_t i = 0; i < m; i += TILE) {
      size_t rows = m - i < TILE ? m - i : TILE;
      if (rows == TILE && columns == TILE) dot_tile(TILE, TILE, n, k, a + i * k, b + j * k, tile_bias, c + i * n + j);
      else dot_tile(rows, columns, n, k, a + i * k, b + j * k, tile_bias, c + i * n + j);
    }
  }
}

double hmoec_round_bf16(double x) {
  float value = (float)x;
  if (isnan(value)) return (double)value;
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  bits = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000u;
  memcpy(&value, &bits, sizeof bits);
  return (double)value;
}

double *hmoec_rounded_copy(const double *from, size_t count) {
  double *rounded = malloc((count ? count : 1) * sizeof *rounded);
  for (size_t i = 0; rounded && i < count; i++) rounded[i] = hmoec_round_bf16(from[i]);
  return rounded;
}

bool hmoec_product(bool rounds, size_t m, size_t n, size_t k, const double *a, const double *b, const double *bias, double *c) {
  double *rounded_a = rounds ? hmoec_rounded_copy(a, m * k) : NULL, *rounded_b = rounds ? hmoec_rounded_copy(b, n * k) : NULL;
  bool ok = !rounds || (rounded_a && rounded_b);
  if (ok) hmoec_matmul_transposed(m, n, k, rounds ? rounded_a : a, rounds ? rounded_b : b, bias, c);
  free(rounded_a);
  free(rounded_b);
  return ok;
}
