/* The ops without routing: linear, activate, add, multiply, scale, the norms, reshape and its like, transpose, slice, concat,
 * append_row, take_row. */
#include <math.h>
#include <string.h>

#include "interpreter/evaluate.h"

bool hmoec_evaluate_linear(hmoec_evaluation *e) {
  const double *bias = e->inference->operand_count > 2 ? e->operands[2] : NULL;
  return hmoec_product(e->rounds[0], hmoec_evaluation_rows(e, 0), hmoec_evaluation_dim(e, 1, 0), hmoec_evaluation_columns(e, 0),
                       e->operands[0], e->operands[1], bias, e->results[0].data);
}

bool hmoec_evaluate_activate(hmoec_evaluation *e) {
  hmoec_function function = hmoec_evaluation_function(e, "function");
  size_t count = (size_t)hmoec_shape_elements(&e->results[0].shape);
  for (size_t i = 0; i < count; i++) e->results[0].data[i] = hmoec_function_apply(&function, e->operands[0][i]);
  return true;
}

bool hmoec_evaluate_add(hmoec_evaluation *e) {
  size_t count = (size_t)hmoec_shape_elements(&e->results[0].shape);
  for (size_t i = 0; i < count; i++) e->results[0].data[i] = e->operands[0][i] + e->operands[1][i];
  return true;
}

bool hmoec_evaluate_multiply(hmoec_evaluation *e) {
  size_t count = (size_t)hmoec_shape_elements(&e->results[0].shape);
  for (size_t i = 0; i < count; i++) {
    double x = e->operands[0][i], y = e->operands[1][i];
    e->results[0].data[i] = (e->rounds[0] ? hmoec_round_bf16(x) : x) * (e->rounds[1] ? hmoec_round_bf16(y) : y);
  }
  return true;
}

bool hmoec_evaluate_scale(hmoec_evaluation *e) {
  size_t count = (size_t)hmoec_shape_elements(&e->results[0].shape), columns = hmoec_evaluation_columns(e, 0);
  int64_t inverse_sqrt = hmoec_evaluation_int(e, "inverse_sqrt");
  double by = hmoec_evaluation_number(e, "by"), divisor = inverse_sqrt ? sqrt((double)inverse_sqrt) : 1;
  const double *factor = e->inference->operand_count > 1 ? e->operands[1] : NULL;
  bool by_row = factor && hmoec_evaluation_columns(e, 1) != columns;
  for (size_t i = 0; i < count; i++) {
    double y = by * e->operands[0][i] / divisor;
    e->results[0].data[i] = factor ? y * factor[by_row ? i / columns : e->inference->operands[1].rank == 1 ? i % columns : i] : y;
  }
  return true;
}

bool hmoec_evaluate_rms_norm(hmoec_evaluation *e) {
  size_t rows = hmoec_evaluation_rows(e, 0), h = hmoec_evaluation_columns(e, 0);
  double epsilon = hmoec_evaluation_number(e, "epsilon");
  for (size_t row = 0; row < rows; row++) {
    const double *x = e->operands[0] + row * h;
    double *y = e->results[0].data + row * h, squares = 0;
    for (size_t i = 0; i < h; i++) squares += x[i] * x[i];
    double root = sqrt(squares / (double)h + epsilon);
    for (size_t i = 0; i < h; i++) y[i] = x[i] / root * e->operands[1][i];
  }
  return true;
}

bool hmoec_evaluate_layer_norm(hmoec_evaluation *e) {
  size_t rows = hmoec_evaluation_rows(e, 0), h = hmoec_evaluation_columns(e, 0);
  double epsilon = hmoec_evaluation_number(e, "epsilon");
  for (size_t row = 0; row < rows; row++) {
    const double *x = e->operands[0] + row * h;
    double *y = e->results[0].data + row * h, sum = 0, squares = 0;
    for (size_t i = 0; i < h; i++) sum += x[i];
    double mean = sum / (double)h;
    for (size_t i = 0; i < h; i++) squares += (x[i] - mean) * (x[i] - mean);
    double root = sqrt(squares / (double)h + epsilon);
    for (size_t i = 0; i < h; i++) y[i] = (x[i] - mean) / root * e->operands[1][i] + e->operands[2][i];
  }
  return true;
}

bool hmoec_evaluate_transpose(hmoec_evaluation *e) {
  size_t rank = (size_t)e->inference->operands[0].rank, matrices = rank == 3 ? hmoec_evaluation_dim(e, 0, 0) : 1;
  size_t m = hmoec_evaluation_dim(e, 0, rank - 2), n = hmoec_evaluation_dim(e, 0, rank - 1);
  for (size_t matrix = 0; matrix < matrices; matrix++) {
    const double *w = e->operands[0] + matrix * m * n;
    double *y = e->results[0].data + matrix * m * n;
    for (size_t i = 0; i < m; i++)
      for (size_t j = 0; j < n; j++) y[j * m + i] = w[i * n + j];
  }
  return true;
}

bool hmoec_evaluate_reshape(hmoec_evaluation *e) {
  memcpy(e->results[0].data, e->operands[0], (size_t)hmoec_shape_elements(&e->results[0].shape) * sizeof(double));
  return true;
}

/* The elements of an operand as [outer, dimension of the axis, inner]. */
static size_t part_size(const hmoec_evaluation *e, size_t operand, int64_t axis, size_t *out_outer, size_t *out_inner) {
  *out_outer = *out_inner = 1;
  for (int64_t i = 0; i < e->inference->operands[operand].rank; i++) {
    if (i < axis) *out_outer *= hmoec_evaluation_dim(e, operand, (size_t)i);
    if (i > axis) *out_inner *= hmoec_evaluation_dim(e, operand, (size_t)i);
  }
  return hmoec_evaluation_dim(e, operand, (size_t)axis);
}

bool hmoec_evaluate_slice(hmoec_evaluation *e) {
  size_t outer, inner, begin = (size_t)hmoec_evaluation_int(e, "begin"), end = (size_t)hmoec_evaluation_int(e, "end"),
                       step = (size_t)hmoec_evaluation_int(e, "step");
  size_t size = part_size(e, 0, hmoec_axis(hmoec_evaluation_int(e, "axis"), e->inference->operands[0].rank), &outer, &inner);
  double *to = e->results[0].data;
  for (size_t o = 0; o < outer; o++)
    for (size_t i = begin; i < end; i += step, to += inner)
      memcpy(to, e->operands[0] + (o * size + i) * inner, inner * sizeof(double));
  return true;
}

bool hmoec_evaluate_concat(hmoec_evaluation *e) {
  int64_t axis = hmoec_axis(hmoec_evaluation_int(e, "axis"), e->inference->operands[0].rank);
  size_t outer, inner, at = 0, total = 0;
  for (size_t i = 0; i < e->inference->operand_count; i++) total += part_size(e, i, axis, &outer, &inner);
  for (size_t i = 0; i < e->inference->operand_count; i++) {
    size_t size = part_size(e, i, axis, &outer, &inner) * inner;
    for (size_t o = 0; o < outer; o++)
      memcpy(e->results[0].data + o * total * inner + at, e->operands[i] + o * size, size * sizeof(double));
    at += size;
  }
  return true;
}

bool hmoec_evaluate_append_row(hmoec_evaluation *e) {
  size_t tokens = hmoec_evaluation_dim(e, 0, 0), a = hmoec_evaluation_dim(e, 0, 1), c = hmoec_evaluation_dim(e, 1, 1);
  const double *row = e->operands[1] + (size_t)hmoec_evaluation_int(e, "row") * c;
  for (size_t t = 0; t < tokens; t++) {
    double *y = e->results[0].data + t * (a + c);
    memcpy(y, e->operands[0] + t * a, a * sizeof(double));
    memcpy(y + a, row, c * sizeof(double));
  }
  return true;
}

bool hmoec_evaluate_take_row(hmoec_evaluation *e) {
  size_t c = hmoec_evaluation_dim(e, 0, 1);
  memcpy(e->results[0].data, e->operands[0] + (size_t)hmoec_evaluation_int(e, "row") * c, c * sizeof(double));
  return true;
}
