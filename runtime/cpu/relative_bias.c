/* RELATIVE_BIAS: T5's relative position bias (Raffel et al. 2020), from one value a bucket to one a difference r = key - query.
 *
 *   dst[head][i] = source[bucket(r)][head],  r = max(-M, min(M, i - P - M))
 *   n = |r| (both directions; half of the buckets each, those of r > 0 after the others) or max(-r, 0) (backward only)
 *   bucket = n for n < m, half of a direction's nb buckets, then min(nb - 1, m + floor(ln(n / m) / ln(M / m) (nb - m)))
 *
 * The quotient is f32's, as in the published implementations: where buckets begin depends on its rounding. The logarithm is rounded once,
 * from double, so that it does not depend on the C library. */
#include "cpu/cpu.h"

#include <math.h>

typedef struct bucket_rule {
  uint64_t count; /* of a direction */
  bool both;
  int64_t max_distance;
} bucket_rule;

static uint64_t bucket_of(const bucket_rule *rule, int64_t difference) {
  uint64_t first = rule->both && difference > 0 ? rule->count : 0, exact = rule->count / 2;
  uint64_t n = difference < 0 ? (uint64_t)-difference : rule->both ? (uint64_t)difference : 0;
  if (n < exact) return first + n;
  float steps = (float)log((double)((float)n / (float)exact)) / (float)log((double)rule->max_distance / (double)exact);
  return first + hmoe_min(rule->count - 1, exact + (uint64_t)(steps * (float)(rule->count - exact)));
}

hmoe_status hmoe_cpu_step_relative_bias(hmoe_run *run, const hmoe_plan_step *step) {
  const hmoe_step_relative_bias *bias = hmoe_run_fields(run, step);
  uint64_t heads = bias->heads, stride = bias->row_floats;
  int64_t max_distance = bias->max_distance, zero = bias->pad + max_distance;
  bucket_rule rule = {bias->buckets / (bias->bidirectional ? 2 : 1), bias->bidirectional == 1, max_distance};
  float *dst;
  const float *source;
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_RELATIVE_BIAS_DESTINATION, HMOE_WRITE,
                            hmoe_mul(hmoe_mul(heads, stride), sizeof *dst), &dst));
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_RELATIVE_BIAS_SOURCE, HMOE_READ,
                            hmoe_mul(hmoe_mul(bias->buckets, heads), sizeof *source), &source));
  for (uint64_t i = 0; i < stride; i++) {
    int64_t difference = (int64_t)i - zero;
    if (difference < -max_distance) difference = -max_distance;
    if (difference > max_distance) difference = max_distance;
    const float *of_bucket = source + bucket_of(&rule, difference) * heads;
    for (uint64_t head = 0; head < heads; head++) dst[head * stride + i] = of_bucket[head];
  }
  return HMOE_OK;
}
