/* The table of evaluators and what they share. */
#include "interpreter/evaluate.h"

#include <math.h>
#include <string.h>

static const struct {
  const char *name;
  hmoec_evaluator evaluate;
} evaluators[] = {
    {"linear", hmoec_evaluate_linear},
    {"activate", hmoec_evaluate_activate},
    {"add", hmoec_evaluate_add},
    {"reshape", hmoec_evaluate_reshape},
    {"slice", hmoec_evaluate_slice},
    {"append_row", hmoec_evaluate_append_row},
    {"take_row", hmoec_evaluate_take_row},
    {"route", hmoec_evaluate_route},
    {"experts", hmoec_evaluate_experts},
    {"combine", hmoec_evaluate_combine},
    {"fused_experts", hmoec_evaluate_fused_experts},
    {"selection_embedding", hmoec_evaluate_selection_embedding},
    {"all_selections", hmoec_evaluate_all_selections},
    {"selection_rank", hmoec_evaluate_selection_rank},
    {"distinct_selections", hmoec_evaluate_distinct_selections},
    {"hypernetwork", hmoec_evaluate_hypernetwork},
    {"hyper_expert", hmoec_evaluate_hyper_expert},
    {"indexed_hyper_expert", hmoec_evaluate_indexed_hyper_expert},
    {"factored_hyper_expert", hmoec_evaluate_factored_hyper_expert},
    {"weight_embedding", hmoec_evaluate_weight_embedding},
};

hmoec_evaluator hmoec_evaluator_find(const char *name) {
  for (size_t i = 0; i < sizeof evaluators / sizeof *evaluators; i++)
    if (strcmp(evaluators[i].name, name) == 0) return evaluators[i].evaluate;
  return NULL;
}

/* NaN passes through every function. */
static double relu(double x) { return x < 0 ? 0 : x; }
static double gelu(double x) { return 0.5 * x * (1 + erf(x * sqrt(0.5))); }
static double gelu_new(double x) { return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x))); }
static double silu(double x) { return x / (1 + exp(-x)); }
static double identity(double x) { return x; }

static const struct {
  const char *name;
  hmoec_scalar_function function;
} functions[] = {{"relu", relu}, {"gelu", gelu}, {"gelu_new", gelu_new}, {"silu", silu}, {"none", identity}};

hmoec_scalar_function hmoec_scalar_function_find(const char *name) {
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
    if (strcmp(functions[i].name, name) == 0) return functions[i].function;
  return NULL;
}

static const hmoec_attribute *attribute_find(const hmoec_evaluation *evaluation, const char *name) {
  const hmoec_attribute *attribute = evaluation->inference->attributes;
  while (strcmp(attribute->name, name) != 0) attribute++;
  return attribute;
}

int64_t hmoec_evaluation_int(const hmoec_evaluation *evaluation, const char *attribute) {
  return attribute_find(evaluation, attribute)->integer;
}

const char *hmoec_evaluation_string(const hmoec_evaluation *evaluation, const char *attribute) {
  return attribute_find(evaluation, attribute)->string;
}

size_t hmoec_evaluation_dim(const hmoec_evaluation *evaluation, size_t operand, size_t axis) {
  return (size_t)evaluation->inference->operands[operand].dims[axis];
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
