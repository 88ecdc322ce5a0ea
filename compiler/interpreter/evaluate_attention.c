/* What looks along a batch row: embedding, position_embedding, relative_bias, attention. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "interpreter/evaluate.h"

/* y[place] = table[row]; places count tokens of the batch, [B, S]. */
static bool copy_row(hmoec_evaluation *e, const char *what, double row, size_t place) {
  size_t length = hmoec_evaluation_dim(e, 0, 1), rows = hmoec_evaluation_dim(e, 1, 0), h = hmoec_evaluation_dim(e, 1, 1);
  if (!(row >= 0 && row < (double)rows))
    return hmoec_evaluation_refuse(e, "%s %.0f of token [%zu, %zu] is outside of a table of %zu rows", what, row, place / length,
                                   place % length, rows);
  const double *from = e->operands[1] + (size_t)row * h;
  for (size_t j = 0; j < h; j++) e->results[0].data[place * h + j] = e->rounds[1] ? hmoec_round_bf16(from[j]) : from[j];
  return true;
}

bool hmoec_evaluate_embedding(hmoec_evaluation *e) {
  size_t tokens = hmoec_evaluation_dim(e, 0, 0) * hmoec_evaluation_dim(e, 0, 1);
  for (size_t t = 0; t < tokens; t++)
    if (!copy_row(e, "id", e->operands[0][t], t)) return false;
  return true;
}

bool hmoec_evaluate_position_embedding(hmoec_evaluation *e) {
  size_t batch = hmoec_evaluation_dim(e, 0, 0), length = hmoec_evaluation_dim(e, 0, 1);
  for (size_t b = 0; b < batch; b++) {
    double sum = 0;
    for (size_t t = 0; t < length; t++) {
      sum += e->operands[0][b * length + t];
      if (!copy_row(e, "position", fmax(0, sum - 1), b * length + t)) return false;
    }
  }
  return true;
}

/* The bucket of a relative position r = key - query, of `buckets`. */
static size_t bucket_of(int64_t r, size_t buckets, bool bidirectional, int64_t max_distance) {
  size_t count = bidirectional ? buckets / 2 : buckets, exact = count / 2;
  size_t first = bidirectional && r > 0 ? count : 0, n = (size_t)(bidirectional ? llabs(r) : r < 0 ? -r : 0);
  if (n < exact) return first + n;
  double part = log((double)n / (double)exact) / log((double)max_distance / (double)exact);
  size_t bucket = exact + (size_t)floor(part * (double)(count - exact));
  return first + (bucket < count ? bucket : count - 1);
}

bool hmoec_evaluate_relative_bias(hmoec_evaluation *e) {
  size_t buckets = hmoec_evaluation_dim(e, 0, 0), heads = hmoec_evaluation_dim(e, 0, 1);
  int64_t distance = hmoec_evaluation_int(e, "max_distance");
  bool bidirectional = hmoec_evaluation_int(e, "bidirectional") != 0;
  size_t width = (size_t)(2 * distance + 1);
  for (size_t i = 0; i < width; i++) {
    size_t bucket = bucket_of((int64_t)i - distance, buckets, bidirectional, distance);
    for (size_t head = 0; head < heads; head++) e->results[0].data[head * width + i] = e->operands[0][bucket * heads + head];
  }
  return true;
}

/* An attention op: S queries, S' keys; bias and mask may be NULL. */
typedef struct attention {
  size_t batch, queries, keys, width, heads, head_size, distances;
  const double *bias, *mask;
  bool causal;
  double scale;
} attention;

/* Adds the bias to a row of scores, masks, and makes weights of them: those of the first `keys` keys; the others are not looked at. */
static void weights_of(const attention *a, size_t b, size_t head, size_t t, size_t keys, double *row) {
  double largest = -INFINITY, sum = 0;
  int64_t most = (int64_t)(a->distances / 2);
  for (size_t j = 0; j < keys; j++) {
    int64_t r = (int64_t)j - (int64_t)t;
    row[j] *= a->scale;
    if (a->bias) row[j] += a->bias[head * a->distances + (size_t)((r < -most ? -most : r > most ? most : r) + most)];
    if (a->mask && a->mask[b * a->keys + j] == 0) row[j] = -(double)FLT_MAX;
    if (row[j] > largest) largest = row[j];
  }
  for (size_t j = 0; j < keys; j++) sum += row[j] = exp(row[j] - largest);
  for (size_t j = 0; j < keys; j++) row[j] /= sum;
}

/* One head's columns of rows of tokens, densely: [rows, width] -> [rows, head_size]. */
static void head_gather(const attention *a, const double *x, size_t rows, size_t head, double *out) {
  for (size_t row = 0; row < rows; row++)
    memcpy(out + row * a->head_size, x + row * a->width + head * a->head_size, a->head_size * sizeof *out);
}

bool hmoec_evaluate_attention(hmoec_evaluation *e) {
  attention a = {.batch = hmoec_evaluation_dim(e, 0, 0),
                 .queries = hmoec_evaluation_dim(e, 0, 1),
                 .keys = hmoec_evaluation_dim(e, 1, 1),
                 .width = hmoec_evaluation_dim(e, 0, 2),
                 .heads = (size_t)hmoec_evaluation_int(e, "heads"),
                 .causal = hmoec_evaluation_int(e, "causal") != 0};
  size_t d = a.head_size = a.width / a.heads, operand = 3;
  a.scale = hmoec_evaluation_int(e, "scaled") ? 1 / sqrt((double)d) : 1;
  int64_t divisor = hmoec_evaluation_int(e, "divisor");
  if (divisor) a.scale /= (double)divisor;
  if (hmoec_evaluation_int(e, "biased")) {
    a.bias = e->operands[operand];
    a.distances = hmoec_evaluation_dim(e, operand++, 1);
  }
  if (operand < e->inference->operand_count) a.mask = e->operands[operand];
  double *q = malloc((a.queries * d + 1) * sizeof *q), *k = malloc((a.keys * d + 1) * sizeof *k),
         *scores = malloc((a.queries * a.keys + 1) * sizeof *scores);
  bool ok = q && k && scores;
  for (size_t i = 0; ok && i < a.batch * a.heads; i++) {
    size_t b = i / a.heads, head = i % a.heads;
    head_gather(&a, e->operands[0] + b * a.queries * a.width, a.queries, head, q);
    head_gather(&a, e->operands[1] + b * a.keys * a.width, a.keys, head, k);
    hmoec_matmul_transposed(a.queries, a.keys, d, q, k, NULL, scores);
    for (size_t t = 0; t < a.queries; t++) {
      size_t keys = a.causal && t + 1 < a.keys ? t + 1 : a.keys;
      double *row = scores + t * a.keys, *y = e->results[0].data + (b * a.queries + t) * a.width + head * d;
      weights_of(&a, b, head, t, keys, row);
      for (size_t j = 0; j < keys; j++) {
        const double *v = e->operands[2] + (b * a.keys + j) * a.width + head * d;
        for (size_t c = 0; c < d; c++) y[c] += row[j] * v[c];
      }
    }
  }
  free(q);
  free(k);
  free(scores);
  return ok;
}
