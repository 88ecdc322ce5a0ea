/* Selection sets: selection_embedding, all_selections, selection_rank, distinct_selections. A set is an ascending tuple. */
#include <stdlib.h>
#include <string.h>

#include "interpreter/evaluate.h"

bool hmoec_evaluate_selection_embedding(hmoec_evaluation *e) {
  size_t tokens = hmoec_evaluation_dim(e, 0, 0), k = hmoec_evaluation_dim(e, 0, 1), n = hmoec_evaluation_dim(e, 1, 0),
         width = hmoec_evaluation_dim(e, 1, 1);
  bool selected = strcmp(hmoec_evaluation_string(e, "of"), "selected") == 0,
       mean = strcmp(hmoec_evaluation_string(e, "aggregate"), "mean") == 0;
  size_t rows = selected ? k : n - k;
  for (size_t t = 0; t < tokens; t++) {
    double *s = e->results[0].data + t * width;
    for (size_t j = 0; j < n; j++) {
      bool member = false;
      for (size_t i = 0; i < k; i++) member = member || (size_t)e->operands[0][t * k + i] == j;
      if (member != selected) continue;
      for (size_t c = 0; c < width; c++) s[c] += e->operands[1][j * width + c];
    }
    for (size_t c = 0; mean && c < width; c++) s[c] /= (double)rows;
  }
  return true;
}

/* Colexicographic order: sets are compared by their largest members first. */
bool hmoec_evaluate_all_selections(hmoec_evaluation *e) {
  size_t sets = (size_t)e->results[0].shape.dims[0], k = (size_t)e->results[0].shape.dims[1];
  double *set = e->results[0].data;
  for (size_t i = 0; i < k; i++) set[i] = (double)i;
  for (size_t row = 1; row < sets; row++, set += k) {
    double *next = set + k;
    memcpy(next, set, k * sizeof *set);
    size_t i = 0;
    while (i + 1 < k && next[i] + 1 == next[i + 1]) i++;
    next[i]++;
    for (size_t lower = 0; lower < i; lower++) next[lower] = (double)lower;
  }
  return true;
}

static void copy_ascending(const double *indices, size_t k, double *out) {
  for (size_t i = 0; i < k; i++) {
    size_t at = i;
    while (at > 0 && out[at - 1] > indices[i]) {
      out[at] = out[at - 1];
      at--;
    }
    out[at] = indices[i];
  }
}

/* The set c_1 < ... < c_k has rank sum_i C(c_i, i). */
bool hmoec_evaluate_selection_rank(hmoec_evaluation *e) {
  size_t tokens = hmoec_evaluation_dim(e, 0, 0), k = hmoec_evaluation_dim(e, 0, 1);
  double *set = malloc(k * sizeof *set);
  if (!set) return false;
  for (size_t t = 0; t < tokens; t++) {
    copy_ascending(e->operands[0] + t * k, k, set);
    int64_t rank = 0;
    for (size_t i = 0; i < k; i++) rank += hmoec_binomial((int64_t)set[i], (int64_t)i + 1);
    e->results[0].data[t] = (double)rank;
  }
  free(set);
  return true;
}

bool hmoec_evaluate_distinct_selections(hmoec_evaluation *e) {
  size_t tokens = hmoec_evaluation_dim(e, 0, 0), k = hmoec_evaluation_dim(e, 0, 1), count = 0;
  double *sets = malloc((tokens * k + 1) * sizeof *sets);
  if (!sets) return false;
  for (size_t t = 0; t < tokens; t++) {
    double *candidate = sets + count * k;
    copy_ascending(e->operands[0] + t * k, k, candidate);
    size_t which = 0;
    while (memcmp(sets + which * k, candidate, k * sizeof *sets) != 0) which++; /* ends at the candidate itself */
    if (which == count) count++;
    e->results[1].data[t] = (double)which;
  }
  hmoec_shape shape = e->results[0].shape;
  shape.dims[0] = (int64_t)count;
  bool ok = hmoec_tensor_init(&e->results[0], &shape);
  if (ok) memcpy(e->results[0].data, sets, count * k * sizeof *sets);
  free(sets);
  return ok;
}
