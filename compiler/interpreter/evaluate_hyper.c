/* Hypernetworks and HyperExperts: hypernetwork, hyper_expert, indexed_hyper_expert, factored_hyper_expert. */
#include <stdlib.h>

#include "interpreter/evaluate.h"

static double operand(bool rounds, double x) { return rounds ? hmoec_round_bf16(x) : x; }

bool hmoec_hyper_expert_row(bool rounds, size_t h, size_t b, const double *x, const double *down, const double *up,
                            const double *beta, const double *gamma, double *y) {
  double *z = calloc(b, sizeof *z);
  if (!z) return false;
  for (size_t i = 0; i < h; i++)
    for (size_t k = 0; k < b; k++) z[k] += operand(rounds, x[i]) * operand(rounds, down[i * b + k]);
  for (size_t k = 0; k < b; k++) {
    double pre = z[k] + (beta ? beta[k] : 0);
    z[k] = pre < 0 ? 0 : pre;
  }
  for (size_t k = 0; k < b; k++)
    for (size_t j = 0; j < h; j++) y[j] += operand(rounds, z[k]) * operand(rounds, up[k * h + j]);
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

/* beta [rows, b], gamma [rows, h] from rows of r, if there are any; never rounded. */
static void generate_biases(const generator *g, const double *r, size_t rows, double *beta, double *gamma) {
  if (!g->vd) return;
  hmoec_matmul_transposed(rows, g->b, g->hidden, r, g->vd, g->cd, beta);
  hmoec_matmul_transposed(rows, g->h, g->hidden, r, g->vu, g->cu, gamma);
}

/* down [rows, h, b], up [rows, b, h] and the biases. */
static bool generate(const generator *g, bool rounds, const double *r, size_t rows, double *down, double *up, double *beta,
                     double *gamma) {
  generate_biases(g, r, rows, beta, gamma);
  return hmoec_product(rounds, rows, g->h * g->b, g->hidden, r, g->wd, g->bd, down) &&
         hmoec_product(rounds, rows, g->b * g->h, g->hidden, r, g->wu, g->bu, up);
}

bool hmoec_evaluate_hypernetwork(hmoec_evaluation *e) {
  generator g = generator_get(e, 0);
  return generate(&g, e->rounds[0], g.r, hmoec_evaluation_dim(e, 0, 0), e->results[0].data, e->results[1].data,
                  g.vd ? e->results[2].data : NULL, g.vd ? e->results[3].data : NULL);
}

/* y[t] = HyperExpert of row which[t] (NULL: t) of the generated weights; operands down, up, (beta, gamma) from `first` on. */
static bool apply_rows(hmoec_evaluation *e, size_t first, const double *which) {
  size_t tokens = hmoec_evaluation_dim(e, 0, 0), h = hmoec_evaluation_dim(e, 0, 1), b = hmoec_evaluation_dim(e, first, 2);
  bool biased = e->inference->operand_count == first + 4;
  for (size_t t = 0; t < tokens; t++) {
    size_t row = which ? (size_t)which[t] : t;
    if (!hmoec_hyper_expert_row(e->rounds[0], h, b, e->operands[0] + t * h, e->operands[first] + row * h * b,
                                e->operands[first + 1] + row * b * h, biased ? e->operands[first + 2] + row * b : NULL,
                                biased ? e->operands[first + 3] + row * h : NULL, e->results[0].data + t * h))
      return false;
  }
  return true;
}

bool hmoec_evaluate_hyper_expert(hmoec_evaluation *e) { return apply_rows(e, 1, NULL); }

bool hmoec_evaluate_indexed_hyper_expert(hmoec_evaluation *e) { return apply_rows(e, 2, e->operands[1]); }

/* With rounding the order of the factored sums matters: the operands are x and the generator's weights, then r z and its other weights.
 *   t[m] = x Wd[m], t[H] = x bd    z = relu(sum_m r[m] t[m] + t[H] + beta)    y = sum_m (r[m] z) Wu[m] + z bu + gamma
 * Wd[m] [h, b] is column m of wd. */
static void factored_row(const generator *g, const double *x, const double *r, const double *beta, const double *gamma, double *z,
                         double *y) {
  for (size_t k = 0; k < g->b; k++) {
    double sum = beta ? beta[k] : 0;
    for (size_t m = 0; m <= g->hidden; m++) {
      double t = 0;
      for (size_t i = 0; i < g->h; i++) {
        size_t row = i * g->b + k;
        t += hmoec_round_bf16(x[i]) * hmoec_round_bf16(m < g->hidden ? g->wd[row * g->hidden + m] : g->bd[row]);
      }
      sum += m < g->hidden ? r[m] * t : t;
    }
    z[k] = sum < 0 ? 0 : sum;
  }
  for (size_t j = 0; j < g->h; j++) {
    double sum = gamma ? gamma[j] : 0;
    for (size_t k = 0; k < g->b; k++) {
      const double *wu = g->wu + (k * g->h + j) * g->hidden;
      for (size_t m = 0; m < g->hidden; m++) sum += hmoec_round_bf16(r[m] * z[k]) * hmoec_round_bf16(wu[m]);
      sum += hmoec_round_bf16(z[k]) * hmoec_round_bf16(g->bu[k * g->h + j]);
    }
    y[j] = sum;
  }
}

static bool factored_rounded(hmoec_evaluation *e) {
  generator g = generator_get(e, 1);
  double *z = malloc(g.b * sizeof *z), *beta = malloc(g.b * sizeof *beta), *gamma = malloc(g.h * sizeof *gamma);
  bool ok = z && beta && gamma;
  for (size_t t = 0; ok && t < hmoec_evaluation_dim(e, 0, 0); t++) {
    const double *r = g.r + t * g.hidden;
    generate_biases(&g, r, 1, beta, gamma);
    factored_row(&g, e->operands[0] + t * g.h, r, g.vd ? beta : NULL, g.vd ? gamma : NULL, z, e->results[0].data + t * g.h);
  }
  free(z);
  free(beta);
  free(gamma);
  return ok;
}

/* The factored sums are those of generating and applying, in another order; here they are taken in that order, a few tokens at a time. */
bool hmoec_evaluate_factored_hyper_expert(hmoec_evaluation *e) {
  enum { CHUNK = 16 };
  if (e->rounds[0]) return factored_rounded(e);
  generator g = generator_get(e, 1);
  size_t tokens = hmoec_evaluation_dim(e, 0, 0), size = g.h * g.b;
  double *down = malloc(CHUNK * size * sizeof *down), *up = malloc(CHUNK * size * sizeof *up);
  double *beta = malloc(CHUNK * g.b * sizeof *beta), *gamma = malloc(CHUNK * g.h * sizeof *gamma);
  bool ok = down && up && beta && gamma;
  for (size_t t = 0; ok && t < tokens; t += CHUNK) {
    size_t count = tokens - t < CHUNK ? tokens - t : CHUNK;
    ok = generate(&g, false, g.r + t * g.hidden, count, down, up, beta, gamma);
    for (size_t i = 0; ok && i < count; i++)
      ok = hmoec_hyper_expert_row(false, g.h, g.b, e->operands[0] + (t + i) * g.h, down + i * size, up + i * size,
                                  g.vd ? beta + i * g.b : NULL, g.vd ? gamma + i * g.h : NULL, e->results[0].data + (t + i) * g.h);
  }
  free(down);
  free(up);
  free(beta);
  free(gamma);
  return ok;
}
