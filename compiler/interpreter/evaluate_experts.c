/* Routing and experts: route, experts, gated_experts, combine, fused_experts, fused_gated_experts. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "interpreter/evaluate.h"

/* Is a to be picked before the one picked so far? NaN is above everything; on a tie the lower index, which was seen first, stays. */
static bool comes_before(double a, double best) { return isnan(a) ? !isnan(best) : a > best; }

/* The k largest of n values, larger first, then the lower index. */
static void select_topk(const double *values, size_t n, size_t k, double *out_indices) {
  for (size_t s = 0; s < k; s++) {
    size_t best = n;
    for (size_t e = 0; e < n; e++) {
      bool taken = false;
      for (size_t before = 0; before < s; before++) taken = taken || (size_t)out_indices[before] == e;
      if (!taken && (best == n || comes_before(values[e], values[best]))) best = e;
    }
    out_indices[s] = (double)best;
  }
}

/* out[s] = exp(l[indices[s]] - max) / sum over `members` of exp(l - max); members NULL: all n experts. */
static void softmax_at(const double *logits, size_t n, const double *members, size_t member_count, const double *indices, size_t k,
                       double *out) {
  size_t count = members ? member_count : n;
  double largest = -INFINITY, sum = 0;
  for (size_t i = 0; i < count; i++) {
    double logit = logits[members ? (size_t)members[i] : i];
    if (logit > largest) largest = logit;
  }
  for (size_t i = 0; i < count; i++) sum += exp(logits[members ? (size_t)members[i] : i] - largest);
  for (size_t s = 0; s < k; s++) out[s] = exp(logits[(size_t)indices[s]] - largest) / sum;
}

/* Is the gate a function of the expert's own logit? The others are softmaxes. */
static bool is_score(const char *gate) { return strcmp(gate, "sigmoid") == 0 || hmoec_scalar_reference(gate); }

/* gates[s] /= their sum; 0 where that is 0. */
static void renormalise(double *gates, size_t k) {
  double sum = 0;
  for (size_t s = 0; s < k; s++) sum += gates[s];
  for (size_t s = 0; s < k; s++) gates[s] = sum == 0 ? 0 : gates[s] / sum;
}

/* Who is selected, and with what gates. scores: room for n. Sigmoid is increasing: the largest logits are selected, which it may round to
 * one value; of other scores, the largest scores. */
static void route_token(const char *gate, const hmoec_function *score, bool renorm, const double *logits, size_t n, size_t k,
                        double *scores, double *out_indices, double *out_gates) {
  for (size_t e = 0; e < n && score; e++) scores[e] = hmoec_function_apply(score, logits[e]);
  select_topk(score && strcmp(gate, "sigmoid") != 0 ? scores : logits, n, k, out_indices);
  if (score)
    for (size_t s = 0; s < k; s++) out_gates[s] = scores[(size_t)out_indices[s]];
  else softmax_at(logits, n, strcmp(gate, "topk_then_softmax") == 0 ? out_indices : NULL, k, out_indices, k, out_gates);
  if (renorm || strcmp(gate, "softmax_topk_renorm") == 0) renormalise(out_gates, k);
}

bool hmoec_evaluate_route(hmoec_evaluation *e) {
  size_t tokens = hmoec_evaluation_rows(e, 0), n = hmoec_evaluation_columns(e, 0), k = (size_t)hmoec_evaluation_int(e, "top_k");
  size_t capacity = (size_t)hmoec_evaluation_int(e, "capacity");
  size_t length =
      e->inference->operands[0].rank == 3 ? hmoec_evaluation_dim(e, 0, 1) : tokens; /* a batch row's; capacity is one's */
  const char *gate = hmoec_evaluation_string(e, "gate");
  bool renorm = hmoec_evaluation_int(e, "renorm") != 0;
  hmoec_function score = {.builtin = NULL};
  if (is_score(gate)) score = hmoec_evaluation_function(e, "gate");
  size_t *picks = calloc(n, sizeof *picks);
  double *scores = calloc(n, sizeof *scores);
  bool ok = picks && scores;
  for (size_t t = 0; ok && t < tokens; t++) {
    const double *logits = e->operands[0] + t * n;
    double *indices = e->results[0].data + t * k, *gates = e->results[1].data + t * k, *kept = e->results[2].data + t * k;
    if (t % length == 0) memset(picks, 0, n * sizeof *picks);
    route_token(gate, is_score(gate) ? &score : NULL, renorm, logits, n, k, scores, indices, gates);
    for (size_t s = 0; s < k; s++) kept[s] = ++picks[(size_t)indices[s]] <= capacity || capacity == 0;
  }
  free(picks);
  free(scores);
  return ok;
}

/* The experts' parameters; the biases may be NULL, and so may wi_1, by whose product the activation is multiplied. */
typedef struct expert_weights {
  size_t n, f, h;
  const double *wi, *wo, *bi, *bo, *wi_1, *bi_1;
  hmoec_function activation;
  bool drops_to_zero, rounds;
  const double *gates; /* of the picks, where they matter before rounding; or NULL */
} expert_weights;

/* A gate that compiled code multiplies the hidden row of fused experts by, before that is rounded. The result is divided by it here: it stays what
 * the expert gives, and is multiplied again. */
static double gate_before_rounding(const expert_weights *w, size_t pick) { return w->rounds && w->gates ? w->gates[pick] : 1; }

/* out[i] = expert of pick i applied to x[i / k], for the picks kept; x[i / k] or 0 for the others. Works expert by expert. */
static bool experts_apply(const expert_weights *w, const double *x, const double *indices, const double *kept, size_t tokens,
                          size_t k, double *out) {
  size_t picks = tokens * k, f = w->f, h = w->h;
  size_t *list = malloc((picks ? picks : 1) * sizeof *list);
  double *in = malloc((picks ? picks : 1) * h * sizeof *in), *hidden = malloc((picks ? picks : 1) * f * sizeof *hidden);
  double *factor = w->wi_1 ? malloc((picks ? picks : 1) * f * sizeof *factor) : NULL;
  bool ok = list && in && hidden && (factor || !w->wi_1);
  for (size_t expert = 0; ok && expert < w->n; expert++) {
    size_t count = 0;
    for (size_t i = 0; i < picks; i++)
      if (kept[i] != 0 && (size_t)indices[i] == expert) list[count++] = i;
    for (size_t i = 0; i < count; i++) memcpy(in + i * h, x + list[i] / k * h, h * sizeof *in);
    ok = hmoec_product(w->rounds, count, f, h, in, w->wi + expert * f * h, w->bi ? w->bi + expert * f : NULL, hidden);
    if (factor) {
      ok = ok && hmoec_product(w->rounds, count, f, h, in, w->wi_1 + expert * f * h, w->bi_1 ? w->bi_1 + expert * f : NULL, factor);
      for (size_t i = 0; i < count * f; i++) hidden[i] = hmoec_function_apply_gated(&w->activation, hidden[i], factor[i]);
    } else {
      for (size_t i = 0; i < count * f; i++) hidden[i] = hmoec_function_apply(&w->activation, hidden[i]);
    }
    for (size_t i = 0; i < count * f; i++) hidden[i] *= gate_before_rounding(w, list[i / f]);
    ok = ok && hmoec_product(w->rounds, count, h, f, hidden, w->wo + expert * h * f, NULL, in);
    for (size_t i = 0; i < count; i++)
      for (size_t j = 0; j < h; j++) {
        double gate = gate_before_rounding(w, list[i]), y = gate == 0 ? 0 : in[i * h + j] / gate;
        out[list[i] * h + j] = y + (w->bo ? w->bo[expert * h + j] : 0);
      }
  }
  for (size_t i = 0; ok && i < picks; i++)
    for (size_t j = 0; j < h && kept[i] == 0; j++) out[i * h + j] = w->drops_to_zero ? 0 : x[i / k * h + j];
  free(list);
  free(in);
  free(hidden);
  free(factor);
  return ok;
}

bool hmoec_evaluate_experts(hmoec_evaluation *e) {
  bool biased = e->inference->operand_count > 5;
  const expert_weights weights = {.n = hmoec_evaluation_dim(e, 3, 0),
                                  .f = hmoec_evaluation_dim(e, 3, 1),
                                  .h = hmoec_evaluation_dim(e, 3, 2),
                                  .wi = e->operands[3],
                                  .wo = e->operands[4],
                                  .bi = biased ? e->operands[5] : NULL,
                                  .bo = biased ? e->operands[6] : NULL,
                                  .activation = hmoec_evaluation_function(e, "activation"),
                                  .drops_to_zero = strcmp(hmoec_evaluation_string(e, "dropped"), "zero") == 0,
                                  .rounds = e->rounds[0]};
  return experts_apply(&weights, e->operands[0], e->operands[1], e->operands[2], hmoec_evaluation_dim(e, 1, 0),
                       hmoec_evaluation_dim(e, 1, 1), e->results[0].data);
}

bool hmoec_evaluate_gated_experts(hmoec_evaluation *e) {
  bool biased = e->inference->operand_count > 6;
  const expert_weights weights = {.n = hmoec_evaluation_dim(e, 3, 0),
                                  .f = hmoec_evaluation_dim(e, 3, 1),
                                  .h = hmoec_evaluation_dim(e, 3, 2),
                                  .wi = e->operands[3],
                                  .wi_1 = e->operands[4],
                                  .wo = e->operands[5],
                                  .bi = biased ? e->operands[6] : NULL,
                                  .bi_1 = biased ? e->operands[7] : NULL,
                                  .bo = biased ? e->operands[8] : NULL,
                                  .activation = hmoec_evaluation_function(e, "activation"),
                                  .drops_to_zero = strcmp(hmoec_evaluation_string(e, "dropped"), "zero") == 0,
                                  .rounds = e->rounds[0]};
  return experts_apply(&weights, e->operands[0], e->operands[1], e->operands[2], hmoec_evaluation_dim(e, 1, 0),
                       hmoec_evaluation_dim(e, 1, 1), e->results[0].data);
}

bool hmoec_evaluate_combine(hmoec_evaluation *e) {
  size_t tokens = hmoec_evaluation_dim(e, 0, 0), k = hmoec_evaluation_dim(e, 0, 1), h = hmoec_evaluation_dim(e, 0, 2);
  for (size_t t = 0; t < tokens; t++)
    for (size_t s = 0; s < k; s++)
      for (size_t j = 0; j < h; j++)
        e->results[0].data[t * h + j] += e->operands[1][t * k + s] * e->operands[0][(t * k + s) * h + j];
  return true;
}

/* more: operands that gated experts have more in front of wo. */
static bool evaluate_fused(hmoec_evaluation *e, size_t more) {
  size_t wo = 5 + more, made = wo + 1, bias = made + 2; /* operands; made: down, up */
  size_t tokens = hmoec_evaluation_dim(e, 0, 0), h = hmoec_evaluation_dim(e, 0, 1), b = hmoec_evaluation_dim(e, made, 2);
  bool expert_biases = hmoec_evaluation_int(e, "expert_biases") != 0,
       generated_biases = hmoec_evaluation_int(e, "generated_biases") != 0;
  size_t generated = expert_biases ? bias + 2 + more : bias;
  const double *x = e->operands[0], *indices = e->operands[1], *gates = e->operands[2], *down = e->operands[made],
               *up = e->operands[made + 1];
  const double *beta = generated_biases ? e->operands[generated] : NULL,
               *gamma = generated_biases ? e->operands[generated + 1] : NULL;
  const expert_weights weights = {.n = hmoec_evaluation_dim(e, 4, 0),
                                  .f = hmoec_evaluation_dim(e, 4, 1),
                                  .h = h,
                                  .wi = e->operands[4],
                                  .wi_1 = more ? e->operands[5] : NULL,
                                  .wo = e->operands[wo],
                                  .bi = expert_biases ? e->operands[bias] : NULL,
                                  .bi_1 = expert_biases && more ? e->operands[bias + 1] : NULL,
                                  .bo = expert_biases ? e->operands[bias + 1 + more] : NULL,
                                  .activation = hmoec_evaluation_function(e, "activation"),
                                  .drops_to_zero = strcmp(hmoec_evaluation_string(e, "dropped"), "zero") == 0,
                                  .rounds = e->rounds[0],
                                  .gates = gates};
  double *y = e->results[0].data;
  if (!experts_apply(&weights, x, indices, e->operands[3], tokens, 1, y)) return false;
  for (size_t t = 0; t < tokens; t++) {
    size_t expert = (size_t)indices[t];
    for (size_t j = 0; j < h; j++) y[t * h + j] *= gates[t];
    if (!hmoec_hyper_expert_row(e->rounds[0], h, b, x + t * h, down + expert * h * b, up + expert * b * h,
                                beta ? beta + expert * b : NULL, gamma ? gamma + expert * h : NULL, y + t * h))
      return false;
  }
  return true;
}

bool hmoec_evaluate_fused_experts(hmoec_evaluation *e) { return evaluate_fused(e, 0); }
bool hmoec_evaluate_fused_gated_experts(hmoec_evaluation *e) { return evaluate_fused(e, 1); }
