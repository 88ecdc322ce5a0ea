/* The ops without routing: linear, activate, add, multiply, scale, the norms, reshape and its like, transpose, slice, append_row, take_row. */
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
  size_t count = (size_t)hmoec_shape_elements(&e->results[0].shape);
  double divisor = sqrt((double)hmoec_evaluation_int(e, "inverse_sqrt"));
  for (size_t i = 0; i < count; i++) e->results[0].data[i] = e->operands[0][i] / divisor;
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

bool hmoec_evaluate_slice(hmoec_evaluation *e) {
  size_t rows = hmoec_evaluation_rows(e, 0), columns = hmoec_evaluation_columns(e, 0),
         begin = (size_t)hmoec_evaluation_int(e, "begin");
  size_t width = (size_t)hmoec_evaluation_int(e, "end") - begin;
  for (size_t row = 0; row < rows; row++)
    memcpy(e->results[0].data + row * width, e->operands[0] + row * columns + begin, width * sizeof(double));
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
