/* Logarithms, and inverse hyperbolic functions by them: x = 2^k (1 + f), 1 + f in [sqrt(1/2), sqrt 2), log(x) = k ln 2 + f + tail(f).
 *
 * Polynomials in f32 were fitted as those of math.c; those in f64 interpolate at Chebyshev's nodes. */
#include "target/code/math_parts.h"

#include <math.h>

typedef struct split {
  MlirValue f, k; /* k a number of f's type */
} split;

/* k of 2^k m as i32; x positive, finite, normal. What follows the exponent is compared with that of sqrt(1/2). */
static MlirValue exponent(ir_builder *ir, MlirValue x) {
  MlirValue bits = math_bits(ir, x);
  if (!math_is_f64(ir, x)) return ir_shift_right(ir, ir_sub_i(ir, bits, ir_vector_i32(ir, 0x3f3504f3)), ir_vector_i32(ir, 23));
  MlirValue high = ir_narrow_i(ir, ir_shift_right_unsigned(ir, bits, ir_vector_i64(ir, 32)));
  return ir_shift_right(ir, ir_sub_i(ir, high, ir_vector_i32(ir, 0x3fe6a09e)), ir_vector_i32(ir, 20));
}

/* x 2^-k; neither it nor x is denormal */
static MlirValue without_power(ir_builder *ir, MlirValue x, MlirValue k) {
  bool is_f64 = math_is_f64(ir, x);
  MlirValue power =
      is_f64 ? ir_shift_left(ir, ir_widen_i(ir, k), ir_vector_i64(ir, 52)) : ir_shift_left(ir, k, ir_vector_i32(ir, 23));
  return math_from_bits(ir, ir_sub_i(ir, math_bits(ir, x), power));
}

static split split_near(ir_builder *ir, MlirValue x) {
  MlirValue k = exponent(ir, x);
  return (split){.f = ir_sub(ir, without_power(ir, x, k), math_number(ir, x, 1)), .k = ir_from_i32(ir, k, mlirValueGetType(x))};
}

/* Of 1 + x: k is that of the rounded sum, f = x 2^-k + (2^-k - 1) is rounded once. */
static split split_one_plus(ir_builder *ir, MlirValue x) {
  MlirValue one = math_number(ir, x, 1), k = exponent(ir, ir_add(ir, x, one));
  MlirValue power = without_power(ir, one, ir_min_i(ir, k, ir_vector_i32(ir, 100)));
  return (split){.f = ir_add(ir, without_power(ir, x, k), ir_sub(ir, power, one)), .k = ir_from_i32(ir, k, mlirValueGetType(x))};
}

/* Of all positive numbers. */
static split split_any(ir_builder *ir, MlirValue x) {
  bool is_f64 = math_is_f64(ir, x);
  MlirValue small = ir_compare_f(ir, IR_LT, x, math_number(ir, x, is_f64 ? 0x1p-1022 : 0x1p-126));
  split s = split_near(ir, ir_select(ir, small, ir_mul(ir, x, math_number(ir, x, is_f64 ? 0x1p54 : 0x1p23)), x));
  s.k = ir_sub(ir, s.k, ir_select(ir, small, math_number(ir, x, is_f64 ? 54 : 23), math_number(ir, x, 0)));
  return s;
}

/* log(1 + f) - f: f^2 P(f) in f32; with s = f / (2 + f), s (f^2/2 + s^2 Q(s^2)) - f^2/2 in f64 */
static MlirValue tail(ir_builder *ir, MlirValue f) {
  static const double p[] = {-0x1.fffff8p-2, 0x1.55555p-2,   -0x1.000432p-2, 0x1.99a3e2p-3, -0x1.542584p-3,
                             0x1.2273f4p-3,  -0x1.0f48fep-3, 0x1.083896p-3,  -0x1.37acdep-4};
  static const double q[] = {0x1.5555555555558p-1, 0x1.9999999995273p-2, 0x1.2492492dfd86cp-2, 0x1.c71c62d5e53e0p-3,
                             0x1.7462b91b8df65p-3, 0x1.39fdcceb4bb45p-3, 0x1.2b5f68a50d903p-3};
  MlirValue square = ir_mul(ir, f, f);
  if (!math_is_f64(ir, f)) return ir_mul(ir, square, math_polynomial(ir, f, p, 9));
  MlirValue half = ir_mul(ir, square, ir_vector_f64(ir, 0.5)), s = ir_div(ir, f, ir_add(ir, f, ir_vector_f64(ir, 2)));
  MlirValue s2 = ir_mul(ir, s, s), rest = ir_fma(ir, s2, math_polynomial(ir, s2, q, 7), half);
  return ir_sub(ir, ir_mul(ir, s, rest), half);
}

/* Of a base: log(2) and 1 / ln(base), each in two pieces; k times the first is exact, and so is that of half of f's bits. */
typedef struct base {
  double two[2], scale[2];
} base;

static const base natural[2] = {{{0x1.62e4p-1, 0x1.7f7d1cp-20}, {1, 0}}, {{0x1.62e42feep-1, 0x1.a39ef35793c76p-33}, {1, 0}}};
static const base binary[2] = {{{1, 0}, {0x1.714p+0, 0x1.47652cp-12}}, {{1, 0}, {0x1.715476p+0, 0x1.4ae0bf85ddf44p-26}}};
static const base decimal[2] = {{{0x1.344p-2, 0x1.3509f8p-18}, {0x1.bc8p-2, 0x1.bd8a94p-13}},
                                {{0x1.34413509p-2, 0x1.ef3fde623e256p-35}, {0x1.bcb7b1p-2, 0x1.49b9438ca9aaep-28}}};

/* c x + sum, where c is one of those first pieces: one rounding, or a short product and the rest of x apart. */
static MlirValue add_scaled(ir_builder *ir, double c, MlirValue x, MlirValue sum) {
  MlirValue scale = math_number(ir, x, c);
  if (ir->has_fma) return ir_fma(ir, x, scale, sum);
  MlirValue kept = math_is_f64(ir, x) ? ir_vector_i64(ir, -(INT64_C(1) << 27)) : ir_vector_i32(ir, -(1 << 12));
  MlirValue high = math_from_bits(ir, ir_and(ir, math_bits(ir, x), kept));
  return ir_add(ir, ir_mul(ir, high, scale), ir_add(ir, ir_mul(ir, ir_sub(ir, x, high), scale), sum));
}

/* (k ln 2 + f + tail) / ln(base), from the smallest to the largest. */
static MlirValue finish(ir_builder *ir, split s, const base *b) {
  MlirValue sum = tail(ir, s.f);
  if (b->scale[0] != 1.0) {
    sum = ir_mul(ir, sum, math_number(ir, s.f, b->scale[0] + b->scale[1]));
    sum = ir_fma(ir, s.f, math_number(ir, s.f, b->scale[1]), sum);
  }
  if (b->two[1] != 0.0) sum = ir_fma(ir, s.k, math_number(ir, s.f, b->two[1]), sum);
  sum = b->scale[0] == 1.0 ? ir_add(ir, s.f, sum) : add_scaled(ir, b->scale[0], s.f, sum);
  return ir_fma(ir, s.k, math_number(ir, s.f, b->two[0]), sum);
}

/* result for bound < x < infinity; x for infinity; -infinity at the bound; NaN for the others */
static MlirValue with_limits(ir_builder *ir, MlirValue x, double bound, MlirValue result) {
  MlirValue at_bound = math_select(ir, IR_EQ, x, bound, math_number(ir, x, -INFINITY), math_number(ir, x, NAN));
  return math_select(ir, IR_GT, x, bound, math_select(ir, IR_LT, x, INFINITY, result, x), at_bound);
}

static MlirValue logarithm(ir_builder *ir, MlirValue x, const base bases[2]) {
  return with_limits(ir, x, 0, finish(ir, split_any(ir, x), &bases[math_is_f64(ir, x)]));
}

MlirValue math_log(ir_builder *ir, const MlirValue *x) { return logarithm(ir, x[0], natural); }
MlirValue math_log2(ir_builder *ir, const MlirValue *x) { return logarithm(ir, x[0], binary); }
MlirValue math_log10(ir_builder *ir, const MlirValue *x) { return logarithm(ir, x[0], decimal); }

MlirValue math_log1p(ir_builder *ir, const MlirValue *x) {
  MlirValue result = finish(ir, split_one_plus(ir, x[0]), &natural[math_is_f64(ir, x[0])]);
  return with_limits(ir, x[0], -1, math_with_sign(ir, result, x[0]));
}

MlirValue math_log_near(ir_builder *ir, MlirValue x) { return finish(ir, split_near(ir, x), &natural[1]); }
MlirValue math_log1p_near(ir_builder *ir, MlirValue x) { return finish(ir, split_one_plus(ir, x), &natural[1]); }

/* ---- in f64, where squares of f32 neither overflow nor lose anything that matters ---- */

/* sign(x) log1p(a + a^2 / (1 + sqrt(1 + a^2))), a = |x| */
MlirValue math_asinh_f32(ir_builder *ir, const MlirValue *x) {
  MlirValue a = ir_widen(ir, math_absolute(ir, x[0])), one = ir_vector_f64(ir, 1), square = ir_mul(ir, a, a);
  MlirValue root = ir_sqrt(ir, ir_add(ir, square, one));
  MlirValue result = ir_narrow(ir, math_log1p_near(ir, ir_add(ir, a, ir_div(ir, square, ir_add(ir, root, one)))));
  return math_select(ir, IR_LT, math_absolute(ir, x[0]), INFINITY, math_with_sign(ir, result, x[0]), x[0]);
}

/* log1p((x - 1) + sqrt((x - 1) (x + 1))) */
MlirValue math_acosh_f32(ir_builder *ir, const MlirValue *x) {
  MlirValue wide = ir_widen(ir, x[0]), one = ir_vector_f64(ir, 1), above = ir_sub(ir, wide, one);
  MlirValue root = ir_sqrt(ir, ir_mul(ir, above, ir_add(ir, wide, one)));
  MlirValue result = ir_narrow(ir, math_log1p_near(ir, ir_add(ir, above, root)));
  result = math_select(ir, IR_LT, x[0], INFINITY, result, x[0]);
  return math_select(ir, IR_GE, x[0], 1, result, ir_vector_f32(ir, NAN));
}

/* sign(x)/2 log1p(2a / (1 - a)), a = |x| */
MlirValue math_atanh_f32(ir_builder *ir, const MlirValue *x) {
  MlirValue a = math_absolute(ir, x[0]), wide = ir_widen(ir, a), one = ir_vector_f64(ir, 1);
  MlirValue ratio = ir_div(ir, ir_add(ir, wide, wide), ir_sub(ir, one, wide));
  MlirValue result = ir_narrow(ir, ir_mul(ir, math_log1p_near(ir, ratio), ir_vector_f64(ir, 0.5)));
  MlirValue at_one = math_select(ir, IR_EQ, a, 1, ir_vector_f32(ir, INFINITY), ir_vector_f32(ir, NAN));
  return math_with_sign(ir, math_select(ir, IR_LT, a, 1, result, at_one), x[0]);
}
