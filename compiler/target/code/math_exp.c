/* Relatives of exp. All take x = n ln 2 + r, |r| <= ln(2)/2, n read off the low bits of x / ln 2 + 1.5 * 2^23 (2^52): those bits, shifted
 * into the exponent, also are 2^n.
 *
 * Polynomials in f32 were fitted as those of math.c; those in f64 interpolate at Chebyshev's nodes. */
#include "target/code/math_parts.h"

/* (cosh r - 1) / r^2 and (sinh r - r) / r^3 in r^2. */
static const double cosh_c[] = {0x1.0000000000001p-1, 0x1.5555555553d63p-5, 0x1.6c16c1788bd90p-10, 0x1.a019b90d2ae7ap-16,
                                0x1.289185613a3d6p-22};
static const double sinh_c[] = {0x1.5555555555556p-3, 0x1.11111111109b3p-7, 0x1.a01a01a7c41d5p-13, 0x1.71de0dae63bb3p-19,
                                0x1.af38a9b0ec855p-26};
enum { TERMS = 5 };

typedef struct reduced {
  MlirValue shifted; /* its low bits are n */
  MlirValue high, low; /* r = high + low; high is exact */
} reduced;

static double magic_of(ir_builder *ir, MlirValue x) { return math_is_f64(ir, x) ? 0x1.8p52 : 0x1.8p23; }

/* ln 2 is taken in pieces so short that n times a piece is exact, but for the last. */
static reduced reduce(ir_builder *ir, MlirValue x) {
  reduced out;
  MlirValue magic = math_number(ir, x, magic_of(ir, x));
  out.shifted = ir_fma(ir, x, math_number(ir, x, 0x1.71547652b82fep+0), magic);
  MlirValue n = ir_sub(ir, out.shifted, magic);
  if (math_is_f64(ir, x)) {
    out.high = ir_fma(ir, n, math_number(ir, x, -0x1.62e42feep-1), x);
    out.low = ir_mul(ir, n, math_number(ir, x, -0x1.a39ef35793c76p-33));
  } else {
    out.high = ir_fma(ir, n, math_number(ir, x, -0x1.62e4p-1), x);
    out.low = ir_mul(ir, n, math_number(ir, x, -0x1.7f7d1cp-20));
  }
  return out;
}

/* scale 2^n, scale a power of two; both must be normal numbers. */
static MlirValue scaled_power(ir_builder *ir, MlirValue shifted, double scale) {
  MlirValue one = math_bits(ir, math_number(ir, shifted, scale)), bits = math_bits(ir, shifted);
  MlirValue width = math_is_f64(ir, shifted) ? ir_vector_i64(ir, 52) : ir_vector_i32(ir, 23);
  return math_from_bits(ir, ir_add_i(ir, ir_shift_left(ir, bits, width), one));
}

/* x 2^n in two halves, so that denormals and overflow come out right. */
static MlirValue times_power(ir_builder *ir, MlirValue x, MlirValue shifted) {
  bool is_f64 = math_is_f64(ir, x);
  MlirValue n = math_bits(ir, shifted), bias = ir_vector_i32(ir, is_f64 ? 1023 : 127);
  n = is_f64 ? ir_narrow_i(ir, n) : ir_sub_i(ir, n, math_bits(ir, math_number(ir, x, magic_of(ir, x))));
  MlirValue half = ir_shift_right(ir, n, ir_vector_i32(ir, 1)), halves[2] = {half, ir_sub_i(ir, n, half)};
  for (int i = 0; i < 2; i++) {
    MlirValue power = ir_add_i(ir, halves[i], bias);
    power =
        is_f64 ? ir_shift_left(ir, ir_widen_i(ir, power), ir_vector_i64(ir, 52)) : ir_shift_left(ir, power, ir_vector_i32(ir, 23));
    x = ir_mul(ir, x, math_from_bits(ir, power));
  }
  return x;
}

/* exp(r) - 1 - r */
static MlirValue tail_of(ir_builder *ir, MlirValue r, MlirValue square) {
  static const double c[] = {0x1p-1, 0x1.555554p-3, 0x1.5554f8p-5, 0x1.1112dap-7, 0x1.6d3a38p-10, 0x1.9e6ee8p-13};
  if (!math_is_f64(ir, r)) return ir_mul(ir, square, math_polynomial(ir, r, c, 6));
  return ir_mul(ir, square, ir_fma(ir, r, math_polynomial(ir, square, sinh_c, TERMS), math_polynomial(ir, square, cosh_c, TERMS)));
}

static MlirValue exp_of_rest(ir_builder *ir, const reduced *x) {
  MlirValue r = ir_add(ir, x->high, x->low), tail = tail_of(ir, r, ir_mul(ir, r, r));
  return ir_add(ir, ir_add(ir, tail, r), math_number(ir, r, 1));
}

MlirValue math_exp_f64(ir_builder *ir, MlirValue x) {
  reduced parts = reduce(ir, x);
  return ir_mul(ir, exp_of_rest(ir, &parts), scaled_power(ir, parts.shifted, 1));
}

/* f64; in f32 it is ir_exp */
MlirValue math_exp(ir_builder *ir, const MlirValue *x) {
  reduced parts = reduce(ir, math_at_least(ir, math_at_most(ir, x[0], 710), -746));
  return times_power(ir, exp_of_rest(ir, &parts), parts.shifted);
}

/* 2^x = 2^n (1 + r P(r)), r = x - n exact */
MlirValue math_exp2_f32(ir_builder *ir, const MlirValue *x) {
  static const double c[] = {0x1.62e430p-1, 0x1.ebfbdcp-3, 0x1.c6af7ap-5, 0x1.3b2dd4p-7, 0x1.5f0952p-10, 0x1.417872p-13};
  MlirValue at = math_at_least(ir, math_at_most(ir, x[0], 129), -151), magic = ir_vector_f32(ir, 0x1.8p23f);
  MlirValue shifted = ir_add(ir, at, magic), r = ir_sub(ir, at, ir_sub(ir, shifted, magic));
  return times_power(ir, ir_fma(ir, r, math_polynomial(ir, r, c, 6), ir_vector_f32(ir, 1)), shifted);
}

/* 2^n (exp(r) - 1) + 2^n - 1, with half of 2^n, which is finite for all n; below, -1 is the answer. What is nearly 0 is its own. */
MlirValue math_expm1(ir_builder *ir, const MlirValue *x) {
  bool is_f64 = math_is_f64(ir, x[0]);
  reduced parts = reduce(ir, math_at_least(ir, math_at_most(ir, x[0], is_f64 ? 710 : 89), is_f64 ? -40 : -18));
  MlirValue r = ir_add(ir, parts.high, parts.low), tail = tail_of(ir, r, ir_mul(ir, r, r));
  MlirValue half = scaled_power(ir, parts.shifted, 0.5), two = math_number(ir, r, 2);
  MlirValue sum = ir_fma(ir, half, parts.high, ir_sub(ir, half, math_number(ir, r, 0.5)));
  sum = ir_mul(ir, ir_fma(ir, half, ir_add(ir, tail, parts.low), sum), two);
  return math_select(ir, IR_LT, math_absolute(ir, x[0]), is_f64 ? 0x1p-60 : 0x1p-30, x[0], sum);
}

/* |x| < 0.55: x + x^3 P(x^2); otherwise 1 - 2 / (exp(2|x|) + 1), with |x| cut at 20, where tanh rounds to 1. */
MlirValue math_tanh_f64(ir_builder *ir, const MlirValue *x) {
  static const double c[] = {-0x1.5555555555555p-2,  0x1.1111111111032p-3,  -0x1.ba1ba1b9feb3cp-5,  0x1.664f48770be76p-6,
                             -0x1.226e32eebbb26p-7,  0x1.d6d338edc6017p-9,  -0x1.7d97cb7a94b76p-10, 0x1.34c57de48a611p-11,
                             -0x1.ec0e9550d42c9p-13, 0x1.64f707d11ba4fp-14, -0x1.59962093e21d0p-16};
  MlirValue a = math_absolute(ir, x[0]), square = ir_mul(ir, x[0], x[0]), one = ir_vector_f64(ir, 1);
  MlirValue near = ir_fma(ir, ir_mul(ir, square, a), math_polynomial(ir, square, c, 11), a);
  MlirValue e = math_exp_f64(ir, math_at_most(ir, ir_add(ir, a, a), 40));
  MlirValue far = ir_sub(ir, one, ir_div(ir, ir_vector_f64(ir, 2), ir_add(ir, e, one)));
  return math_with_sign(ir, math_select(ir, IR_LT, a, 0.55, near, far), x[0]);
}

/* exp(x) = 2^n (C + S), exp(-x) = 2^-n (C - S), C = cosh r, S = sinh r: half their sum, or half their difference, in f64 */
static MlirValue hyperbolic(ir_builder *ir, MlirValue x, bool is_sinh) {
  reduced parts = reduce(ir, math_at_least(ir, math_at_most(ir, ir_widen(ir, x), 92), -92));
  MlirValue r = ir_add(ir, parts.high, parts.low), square = ir_mul(ir, r, r);
  MlirValue c = ir_fma(ir, square, math_polynomial(ir, square, cosh_c, TERMS), ir_vector_f64(ir, 1));
  MlirValue s = ir_fma(ir, ir_mul(ir, square, r), math_polynomial(ir, square, sinh_c, TERMS), r);
  MlirValue up = scaled_power(ir, parts.shifted, 0.5), down = ir_div(ir, ir_vector_f64(ir, 0.25), up);
  MlirValue sum = ir_add(ir, up, down), difference = ir_sub(ir, up, down);
  return ir_narrow(ir, ir_fma(ir, is_sinh ? difference : sum, c, ir_mul(ir, is_sinh ? sum : difference, s)));
}

MlirValue math_sinh_f32(ir_builder *ir, const MlirValue *x) { return math_with_sign(ir, hyperbolic(ir, x[0], true), x[0]); }
MlirValue math_cosh_f32(ir_builder *ir, const MlirValue *x) { return hyperbolic(ir, x[0], false); }

/* exp(-x^2) P(t) / (1 + 2x), t = (x - 3) / (x + 3), for 0 <= x <= 10.2, which is 0 in f32; 2 - erfc(-x) for the others. In f64. */
MlirValue math_erfc_f32(ir_builder *ir, const MlirValue *x) {
  static const double c[] = {0x1.40c522d7c2815p+0,  -0x1.15c084d2c6980p-3,  -0x1.85a15a2c51d10p-5,  0x1.09836be8d84c2p-3,
                             -0x1.e88b921f7ae8fp-4, 0x1.17c9772a91a8ap-4,   -0x1.85748c65240e6p-6,  0x1.4c1f70dd2680ep-9,
                             0x1.f01843bb5e85ep-10, -0x1.9f3edc5e7a5a6p-11, -0x1.066fc8f2b27fcp-13, 0x1.105233282d968p-13,
                             0x1.1fbf33dcced08p-15};
  MlirValue wide = ir_widen(ir, x[0]), a = math_at_most(ir, math_absolute(ir, wide), 10.2), three = ir_vector_f64(ir, 3);
  MlirValue t = ir_div(ir, ir_sub(ir, a, three), ir_add(ir, a, three));
  MlirValue e = math_exp_f64(ir, ir_sub(ir, ir_vector_f64(ir, 0), ir_mul(ir, a, a)));
  MlirValue right =
      ir_div(ir, ir_mul(ir, e, math_polynomial(ir, t, c, 13)), ir_fma(ir, a, ir_vector_f64(ir, 2), ir_vector_f64(ir, 1)));
  return ir_narrow(ir, math_select(ir, IR_LT, wide, 0, ir_sub(ir, ir_vector_f64(ir, 2), right), right));
}
