/* Arithmetic on one row of logits. Everything is a few passes over the row, in plain loops that compilers turn into vector code:
 * lanes are written out where the order of a sum or the meaning of a maximum would forbid it. Nothing here depends on a library's
 * exp or on the machine's instructions (this file is compiled without contraction), so that equal logits and seeds give equal
 * tokens everywhere; but for the logarithm of log_softmax. */
#include "generate_internal.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { LANES = 16, BLOCK = 64, SUM_BLOCK = 1024 };

/* ---- passes ---- */

/* Integers that order as floats do (-0 below 0), and back: compilers find maxima of integers in vectors, of floats they do not. */
static inline int32_t key_of(float x) {
  int32_t bits;
  memcpy(&bits, &x, 4);
  return bits ^ (bits >> 31 & INT32_MAX);
}

static inline float value_of(int32_t key) {
  int32_t bits = key ^ (key >> 31 & INT32_MAX);
  float x;
  memcpy(&x, &bits, 4);
  return x;
}

float hmoe_logits_clean(float *logits, int64_t count) {
  const int32_t lowest = key_of(-INFINITY);
  int32_t largest = lowest;
  for (int64_t i = 0; i < count; i++) {
    float x = logits[i] == logits[i] ? logits[i] : -INFINITY;
    logits[i] = x;
    int32_t key = key_of(x);
    largest = key > largest ? key : largest;
  }
  return value_of(largest);
}

float hmoe_logits_largest(const float *logits, int64_t count) {
  int32_t largest = key_of(-INFINITY);
  for (int64_t i = 0; i < count; i++) {
    int32_t key = key_of(logits[i]);
    largest = key > largest ? key : largest;
  }
  return value_of(largest);
}

int64_t hmoe_logits_find(const float *logits, int64_t count, float largest) {
  int64_t i = 0;
  for (; i + LANES <= count; i += LANES) {
    int found = 0;
    for (int j = 0; j < LANES; j++) found |= logits[i + j] == largest;
    if (found) break;
  }
  while (i < count && logits[i] != largest) i++;
  return i;
}

/* e^x for x <= 0, to 2 units in the last place; 0 below -87, where results would lose digits. x = n log 2 + r, |r| <= log(2) / 2.
 * */
static inline float exp_negative(float x) {
  const float rounder = 12582912.0f; /* 1.5 * 2^23: what is added to it is rounded to an integer, in the low bits */
  float clamped = x < -87.0f ? -87.0f : x;
  float shifted = clamped * 1.44269504f + rounder;
  float n = shifted - rounder;
  float r = clamped - n * 0.693359375f - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  uint32_t exponent, bits;
  memcpy(&exponent, &shifted, 4);
  memcpy(&bits, &p, 4);
  bits += exponent << 23;
  memcpy(&p, &bits, 4);
  return x < -87.0f ? 0.0f : p;
}

/* Distance below the largest; +inf counts as the largest finite number, so that several are equal. */
static inline float capped(float x) { return x < FLT_MAX ? x : FLT_MAX; }

static inline float below(float x, float capped_largest) { return capped(x) - capped_largest; }

static double add_lanes(const float *lanes) {
  double sum = 0;
  for (int j = 0; j < LANES; j++) sum += (double)lanes[j];
  return sum;
}

/* Of at most SUM_BLOCK elements: few enough that f32 lanes lose nothing that counts. */
static double sum_block(const float *x, int64_t count) {
  float lanes[LANES] = {0};
  int64_t i = 0;
  for (; i + LANES <= count; i += LANES)
    for (int j = 0; j < LANES; j++) lanes[j] += x[i + j];
  for (int j = 0; i < count; i++, j++) lanes[j] += x[i];
  return add_lanes(lanes);
}

static double sum_all(const float *x, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; i += SUM_BLOCK) sum += sum_block(x + i, count - i < SUM_BLOCK ? count - i : SUM_BLOCK);
  return sum;
}

static double sum_exp_block(const float *logits, int64_t count, float top) {
  float lanes[LANES] = {0};
  int64_t i = 0;
  for (; i + LANES <= count; i += LANES)
    for (int j = 0; j < LANES; j++) lanes[j] += exp_negative(below(logits[i + j], top));
  for (int j = 0; i < count; i++, j++) lanes[j] += exp_negative(below(logits[i], top));
  return add_lanes(lanes);
}

void hmoe_logits_log_softmax(float *logits, int64_t count, float largest) {
  float top = capped(largest);
  double total = 0;
  for (int64_t i = 0; i < count; i += SUM_BLOCK)
    total += sum_exp_block(logits + i, count - i < SUM_BLOCK ? count - i : SUM_BLOCK, top);
  float log_total = (float)log(total);
  for (int64_t i = 0; i < count; i++) logits[i] = below(logits[i], top) - log_total;
}

void hmoe_logits_add(float *logits, int64_t count, float sum) {
  for (int64_t i = 0; i < count; i++) logits[i] += sum;
}

/* ---- selection ----
 *
 * The threshold of the largest: found by counting, not by sorting. The bits of its key are fixed from the top, 11 at a time, by
 * counting (or summing) the elements by the next 11 bits among those that share the bits before. */

enum { DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS };

static inline uint32_t unsigned_key(float x) { return (uint32_t)key_of(x) ^ 0x80000000u; }

/* The largest t in x such that the elements >= t reach `target`: in number, or by their sum. *out_above: what those > t have. The
 * least of x, when all do not reach it. count is at least 1; x is overwritten. */
static float reach(float *x, int64_t count, double target, bool by_sum, double *out_above) {
  double above = 0;
  for (int low = 32 - DIGIT_BITS, bits = DIGIT_BITS; bits > 0; bits = low < DIGIT_BITS ? low : DIGIT_BITS, low -= bits) {
    double mass[DIGITS] = {0};
    uint32_t digit_mask = (1u << bits) - 1;
    for (int64_t i = 0; i < count; i++) {
      uint32_t digit = unsigned_key(x[i]) >> low & digit_mask;
      mass[digit] += by_sum ? (double)x[i] : 1.0;
    }
    uint32_t chosen = DIGITS;
    double above_chosen = above;
    for (uint32_t digit = digit_mask + 1; digit-- > 0;) {
      if (mass[digit] == 0) continue;
      if (chosen < DIGITS) above_chosen += mass[chosen];
      chosen = digit;
      if (above_chosen + mass[digit] >= target) break;
    }
    above = above_chosen;
    int64_t kept = 0;
    for (int64_t i = 0; i < count; i++) {
      float value = x[i];
      x[kept] = value;
      kept += (unsigned_key(value) >> low & digit_mask) == chosen;
    }
    count = kept;
  }
  *out_above = above;
  return x[0];
}

/* Scratch: elements that a bound leaves, their indices, the largest of each BLOCK elements. */
typedef struct selection {
  float *values;
  int32_t *indices; /* NULL: nobody asks which they are */
  float *block_largest;
  int64_t blocks;
} selection;

static selection selection_of(void *scratch, int64_t count) {
  selection s = {.values = scratch, .blocks = (count + BLOCK - 1) / BLOCK};
  s.indices = (int32_t *)(void *)(s.values + count);
  s.block_largest = (float *)(void *)(s.indices + count);
  return s;
}

uint64_t hmoe_logits_scratch_bytes(int64_t count) {
  return hmoe_add(hmoe_mul((uint64_t)count, 2 * sizeof(float)), ((uint64_t)count / BLOCK + 1) * sizeof(float));
}

static void find_block_largest(const float *x, int64_t count, const selection *s) {
  for (int64_t b = 0; b < s->blocks; b++) {
    int64_t size = count - b * BLOCK < BLOCK ? count - b * BLOCK : BLOCK;
    s->block_largest[b] = hmoe_logits_largest(x + b * BLOCK, size);
  }
}

/* Elements >= bound, in order. Needs block_largest. */
static int64_t gather(const float *x, int64_t count, float bound, const selection *s) {
  int64_t found = 0;
  for (int64_t b = 0; b < s->blocks; b++) {
    if (s->block_largest[b] < bound) continue;
    int64_t end = (b + 1) * BLOCK < count ? (b + 1) * BLOCK : count;
    for (int64_t i = b * BLOCK; i < end; i++) {
      if (s->indices) s->indices[found] = (int32_t)i;
      s->values[found] = x[i];
      found += x[i] >= bound;
    }
  }
  return found;
}

/* The k largest elements and all that equal the least of them, in order. */
static int64_t gather_largest(const float *x, int64_t count, int64_t k, const selection *s) {
  find_block_largest(x, count, s);
  double above;
  float bound = -INFINITY;
  if (k < s->blocks) { /* k blocks have an element that reaches the k-th of their largest: nothing below it is among the k */
    memcpy(s->values, s->block_largest, (size_t)s->blocks * sizeof *s->values);
    bound = reach(s->values, s->blocks, (double)k, false, &above);
  }
  int64_t candidates = gather(x, count, bound, s);
  return gather(x, count, reach(s->values, candidates, (double)k, false, &above), s);
}

void hmoe_logits_best(const float *scores, int64_t count, int64_t k, void *scratch, hmoe_candidate *out_best) {
  selection s = selection_of(scratch, count);
  int64_t candidates = gather_largest(scores, count, k, &s), found = 0;
  for (int64_t i = 0; i < candidates; i++) {
    if (found == k && out_best[k - 1].score >= s.values[i]) continue;
    int64_t place = found < k ? found++ : k - 1;
    for (; place > 0 && out_best[place - 1].score < s.values[i]; place--) out_best[place] = out_best[place - 1];
    out_best[place] = (hmoe_candidate){s.values[i], s.indices[i]};
  }
}

/* ---- sampling ---- */

/* Keeps the fewest largest weights that reach `target` of their sum; the others become 0. */
static void cut_weights(float *weights, int64_t count, float top_p, const selection *s) {
  double total = sum_all(weights, count);
  find_block_largest(weights, count, s);
  /* All weights below it have less than 1 - top_p together, whatever they are: none of them stays. Half of it, for the roundings.
   * */
  float bound = (float)(0.5 * (1.0 - (double)top_p) * total / (double)count);
  double above;
  int64_t candidates = gather(weights, count, bound, s);
  double target = (double)top_p * total;
  float least = reach(s->values, candidates, target, true, &above);
  for (int64_t i = 0; i < count; i++) {
    if (weights[i] > least) continue;
    bool kept = weights[i] == least && above < target;
    if (kept) above += (double)least;
    else weights[i] = 0;
  }
}

/* The first element at which the running sum passes unit * total; where roundings leave something over at the end, the last that is
 * positive. */
static int64_t draw(const float *weights, int64_t count, double unit) {
  double rest = unit * sum_all(weights, count);
  int64_t begin = 0;
  bool inside = false;
  for (int64_t i = 0; i < count && !inside; i += SUM_BLOCK) {
    double sum = sum_block(weights + i, count - i < SUM_BLOCK ? count - i : SUM_BLOCK);
    if (sum > 0) begin = i;
    inside = rest < sum;
    if (!inside) rest -= sum;
  }
  int64_t end = count - begin < SUM_BLOCK ? count : begin + SUM_BLOCK, last = begin;
  for (int64_t i = begin; i < end; i++) {
    if (weights[i] == 0) continue;
    last = i;
    if (inside && rest < (double)weights[i]) break;
    rest -= (double)weights[i];
  }
  return last;
}

/* Where fewer than top_k can be drawn, only these are summed up, as they are where nobody has the others. */
static int64_t drop_banned(const selection *s, int64_t count) {
  int64_t kept = 0;
  for (int64_t i = 0; i < count; i++) {
    s->values[kept] = s->values[i];
    s->indices[kept] = s->indices[i];
    kept += s->values[i] > -INFINITY;
  }
  return kept;
}

int64_t hmoe_logits_sample(float *logits, int64_t count, float largest, const hmoe_search *search, double unit, void *scratch) {
  selection s = selection_of(scratch, count);
  int64_t kept = count;
  bool some = search->top_k > 0 && search->top_k < count;
  if (some) {
    kept = drop_banned(&s, gather_largest(logits, count, search->top_k, &s));
    memcpy(logits, s.values, (size_t)kept * sizeof *logits);
  }
  float top = capped(largest), temperature = search->temperature;
  for (int64_t i = 0; i < kept; i++) logits[i] = exp_negative(below(logits[i], top) / temperature);
  if (search->top_p < 1.0f) {
    selection cut = {.values = s.values, .block_largest = s.block_largest, .blocks = (kept + BLOCK - 1) / BLOCK};
    cut_weights(logits, kept, search->top_p, &cut);
  }
  for (int64_t i = 0; i < kept && search->min_p > 0; i++) /* the likeliest weighs 1 */
    if (logits[i] < search->min_p) logits[i] = 0;
  int64_t drawn = draw(logits, kept, unit);
  return some ? s.indices[drawn] : drawn;
}

/* ---- random numbers ---- */

static uint64_t splitmix(uint64_t seed, uint64_t number) {
  uint64_t z = seed + (number + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

double hmoe_random_unit(uint64_t seed, int64_t row, int64_t step) {
  return (double)(splitmix(splitmix(seed, (uint64_t)row), (uint64_t)step) >> 11) * 0x1p-53;
}
