/* Hypernetworks and HyperExperts: hypernetwork, hyper_expert, indexed_hyper_expert, factored_hyper_expert. */
#include <stdlib.h>

#include "interpreter/evaluate.h"

bool hmoec_hyper_expert_row(size_t h, size_t b, const double *x, const double *down, const double *up, const double *beta,
                            const double *gamma, double *y) {
  double *z = calloc(b, sizeof *z);
  if (!z) return false;
  for (size_t i = 0; i < h; i++)
    for (size_t k = 0; k < b; k++) z[k] += x[i] * down[i * b + k];
  for (size_t k = 0; k < b; k++) {
    double pre = z[k] + (beta ? beta[k] : 0);
    z[k] = pre < 0 ? 0 : pre;
  }
  for (size_t k = 0; k < b; k++)
    for (size_t j = 0; j < h; j++) y[j] += z[k] * up[k * h + j];
  for (size_t j = 0; gamma && j < h; j++) y[j] += gamma[j];
  free(z);
  return true;
}

/* A generator: operands r, wd, bd, wu, bu, (vd, cd, vu, cu) from `first` on. */
typedef struct generator {
  size_t hidden, h, b;
  const double *r, *wd, *bd, *wu, *bu, *vd, *cd, *vu, *cu;
} generator;

static generator generator_get(const hmoec_evaluation *e, size_t first) {
  bool biased = e->inference->operand_count == first + 9;
  const double *const *o = e->operands + first;
  size_t b = (size_t)hmoec_evaluation_int(e, "bottleneck");
  return (generator){.hidden = hmoec_evaluation_dim(e, first, 1),
                     .h = hmoec_evaluation_dim(e, first + 1, 0) / b,
                     .b = b,
                     .r = o[0],
                     .wd = o[1],
                     .bd = o[2],
                     .wu = o[3],
                     .bu = o[4],
                     .vd = biased ? o[5] : NULL,
                     .cd = biased ? o[6] : NULL,
                     .vu = biased ? o[7] : NULL,
                     .cu = biased ? o[8] : NULL};
}

/* down [rows, h, b], up [rows, b, h], beta [rows, b], gamma [rows, h] from rows of r. */
static void generate(const generator *g, const double *r, size_t rows, double *down, double *up, double *beta, double *gamma) {
  hmoec_matmul_transposed(rows, g->h * g->b, g->hidden, r, g->wd, g->bd, down);
  hmoec_matmul_transposed(rows, g->b * g->h, g->hidden, r, g->wu, g->bu, up);
  if (!g->vd) return;
  hmoec_matmul_transposed(rows, g->b, g->hidden, r, g->vd, g->cd, beta);
  hmoec_matmul_transposed(rows, g->h, g->hidden, r, g->vu, g->cu, gamma);
}

bool hmoec_evaluate_hypernetwork(hmoec_evaluation *e) {
  generator g = generator_get(e, 0);
  generate(&g, g.r, hmoec_evaluation_dim(e, 0, 0), e->results[0].data, e->results[1].data, g.vd ? e->results[2].data : NULL,
           g.vd ? e->results[3].data : NULL);
  return true;
}

/* y[t] = HyperExpert of row which[t] (NULL: t) of the generated weights; operands down, up, (beta, gamma) from `first` on. */
static bool apply_rows(hmoec_evaluation *e, size_t first, const double *which) {
  size_t tokens = hmoec_evaluation_dim(e, 0, 0), h = hmoec_evaluation_dim(e, 0, 1), b = hmoec_evaluation_dim(e, first, 2);
  bool biased = e->inference->operand_count == first + 4;
  for (size_t t = 0; t < tokens; t++) {
    size_t row = which ? (size_t)which[t] : t;
    if (!hmoec_hyper_expert_row(h, b, e->operands[0] + t * h, e->operands[first] + row * h * b,
                                e->operands[first + 1] + row * b * h, biased ? e->operands[first + 2] + row * b : NULL,
                                biased ? e->operands[first + 3] + row * h : NULL, e->results[0].data + t * h))
      return false;
  }
  return true;
}

bool hmoec_evaluate_hyper_expert(hmoec_evaluation *e) { return apply_rows(e, 1, NULL); }

bool hmoec_evaluate_indexed_hyper_expert(hmoec_evaluation *e) { return apply_rows(e, 2, e->operands[1]); }

/* The factored sums are those of generating and applying, in another order; here they are taken in that order, a few tokens at a time. */
bool hmoec_evaluate_factored_hyper_expert(hmoec_evaluation *e) {
  enum { CHUNK = 16 };
  generator g = generator_get(e, 1);
  size_t tokens = hmoec_evaluation_dim(e, 0, 0), size = g.h * g.b;
  double *down = malloc(CHUNK * size * sizeof *down), *up = malloc(CHUNK * size * sizeof *up);
  double *beta = malloc(CHUNK * g.b * sizeof *beta), *gamma = malloc(CHUNK * g.h * sizeof *gamma);
  bool ok = down && up && beta && gamma;
  for (size_t t = 0; ok && t < tokens; t += CHUNK) {
    size_t count = tokens - t < CHUNK ? tokens - t : CHUNK;
    generate(&g, g.r + t * g.hidden, count, down, up, beta, gamma);
    for (size_t i = 0; ok && i < count; i++)
      ok = hmoec_hyper_expert_row(g.h, g.b, e->operands[0] + (t + i) * g.h, down + i * size, up + i * size,
                                  g.vd ? beta + i * g.b : NULL, g.vd ? gamma + i * g.h : NULL, e->results[0].data + (t + i) * g.h);
  }
  free(down);
  free(up);
  free(beta);
  free(gamma);
  return ok;
}
