/* Polynomials were fitted by weighted least squares with reweighting (Lawson), lowest coefficients rounded first. */
#include "target/code/math.h"

#include <float.h>

#include "target/code/math_parts.h"
#include "target/code/scalar.h"

/* 2^n for integers n in [-126, 127]. */
static MlirValue power_of_two(ir_builder *ir, MlirValue n) {
  return ir_bitcast(ir, ir_shift_left(ir, ir_add_i(ir, n, ir_vector_i32(ir, 127)), ir_vector_i32(ir, 23)), ir->vf32);
}

/* exp(x) = 2^n exp(r), n = round(x / ln 2), r = x - n ln 2 in three pieces (n times the first two is exact), |r| <= ln(2)/2.
 * n is read off the low bits of x / ln 2 + 1.5 * 2^23. 2^n is applied in two halves, so that denormals and overflow come out right. What is 0 is not
 * computed: a product that underflows takes processors a hundred times as long, and scores of keys that nobody sees are -infinity. */
MlirValue ir_exp(ir_builder *ir, MlirValue x) {
  static const double c[] = {0x1.fffffcp-2, 0x1.555492p-3, 0x1.5558b0p-5, 0x1.12398ep-7, 0x1.6a4d60p-10};
  MlirValue one = ir_vector_f32(ir, 1.0f), magic = ir_vector_f32(ir, 0x1.8p23f);
  MlirValue vanishes = ir_compare_f(ir, IR_LT, x, ir_vector_f32(ir, -104.0f));
  x = ir_select(ir, vanishes, ir_vector_f32(ir, 0.0f), math_at_most(ir, x, 89));
  MlirValue shifted = ir_fma(ir, x, ir_vector_f32(ir, 0x1.715476p+0f), magic);
  MlirValue n = ir_sub(ir, shifted, magic);
  MlirValue r = ir_fma(ir, n, ir_vector_f32(ir, -0x1.62e4p-1f), x);
  r = ir_fma(ir, n, ir_vector_f32(ir, -0x1.7f7cp-20f), r);
  r = ir_fma(ir, n, ir_vector_f32(ir, -0x1.1cf79ap-36f), r);
  MlirValue tail = ir_fma(ir, ir_mul(ir, r, r), math_polynomial(ir, r, c, 5), r);
  MlirValue k = ir_sub_i(ir, ir_bitcast(ir, shifted, ir->vi32), ir_bitcast(ir, magic, ir->vi32));
  MlirValue half = ir_shift_right(ir, k, ir_vector_i32(ir, 1));
  MlirValue scaled = ir_mul(ir, ir_add(ir, one, tail), power_of_two(ir, half));
  return ir_select(ir, vanishes, ir_vector_f32(ir, 0.0f), ir_mul(ir, scaled, power_of_two(ir, ir_sub_i(ir, k, half))));
}

/* |x| < 5/8: x + x^3 P(x^2); otherwise 1 - 2 / (exp(2|x|) + 1), which is 1 once exp overflows. */
MlirValue ir_tanh(ir_builder *ir, MlirValue x) {
  static const double c[] = {-0x1.555532p-2, 0x1.1107p-3, -0x1.b837eap-5, 0x1.520ca4p-6, -0x1.7578p-8};
  MlirValue a = math_absolute(ir, x), square = ir_mul(ir, x, x), one = ir_vector_f32(ir, 1.0f);
  MlirValue near = ir_fma(ir, ir_mul(ir, square, x), math_polynomial(ir, square, c, 5), x);
  MlirValue e = ir_exp(ir, ir_add(ir, a, a));
  MlirValue far = ir_sub(ir, one, ir_quotient(ir, ir_vector_f32(ir, 2.0f), ir_add(ir, e, one)));
  return math_with_sign(ir, ir_select(ir, ir_compare_f(ir, IR_LT, a, ir_vector_f32(ir, 0.625f)), near, far), x); /* of -0 too */
}

/* |x| < 1: x + x P(x^2); otherwise 1 - exp(Q(|x|)), Q = log erfc, with |x| cut at 4, where erf rounds to 1. */
MlirValue ir_erf(ir_builder *ir, MlirValue x) {
  static const double p[] = {0x1.06eba8p-3, -0x1.81273ep-2,  0x1.ce2ce6p-4, -0x1.b7f71ep-6,
                             0x1.53f26ep-8, -0x1.a354bcp-11, 0x1.477e96p-14};
  static const double q[] = {-0x1.6611c0p-12, -0x1.2088eep+0, -0x1.46bae0p-1, -0x1.a65394p-4,
                             0x1.65cc06p-6,   -0x1.825be0p-9, 0x1.86de76p-13};
  MlirValue a = math_absolute(ir, x), square = ir_mul(ir, x, x), one = ir_vector_f32(ir, 1.0f);
  MlirValue near = ir_fma(ir, x, math_polynomial(ir, square, p, 7), x);
  MlirValue far = ir_sub(ir, one, ir_exp(ir, math_polynomial(ir, math_at_most(ir, a, 4), q, 7)));
  return ir_select(ir, ir_compare_f(ir, IR_LT, a, one), near, math_with_sign(ir, far, x));
}

/* x h where h is 0 far to the left: 0 there, even for -inf. */
static MlirValue times_half_open(ir_builder *ir, MlirValue x, MlirValue h) {
  MlirValue zero = ir_vector_f32(ir, 0.0f);
  return ir_select(ir, ir_compare_f(ir, IR_EQ, h, zero), zero, ir_mul(ir, x, h));
}

static MlirValue half_plus_half(ir_builder *ir, MlirValue t) {
  MlirValue half = ir_vector_f32(ir, 0.5f);
  return ir_fma(ir, half, t, half);
}

MlirValue ir_activation(ir_builder *ir, hmoec_activation activation, MlirValue x) {
  const hmoec_scalar_program *function = hmoec_activation_function(ir->functions, activation);
  if (function) return ir_scalar(ir, function, &x);
  switch (activation) {
  case HMOEC_ACTIVATION_RELU: return math_at_least(ir, x, 0);
  case HMOEC_ACTIVATION_GELU: {
    MlirValue t = ir_erf(ir, ir_mul(ir, x, ir_vector_f32(ir, 0x1.6a09e6p-1f)));
    return times_half_open(ir, x, half_plus_half(ir, t));
  }
  case HMOEC_ACTIVATION_GELU_NEW: {
    MlirValue cubic = ir_mul(ir, ir_mul(ir, x, x), ir_vector_f32(ir, 0.044715f));
    MlirValue u = ir_mul(ir, ir_fma(ir, cubic, x, x), ir_vector_f32(ir, 0x1.988454p-1f));
    return times_half_open(ir, x, half_plus_half(ir, ir_tanh(ir, u)));
  }
  case HMOEC_ACTIVATION_SILU: {
    MlirValue one = ir_vector_f32(ir, 1.0f);
    MlirValue e = ir_exp(ir, ir_sub(ir, ir_vector_f32(ir, 0.0f), x));
    return ir_quotient(ir, math_at_least(ir, x, -(double)FLT_MAX), ir_add(ir, one, e));
  }
  case HMOEC_ACTIVATION_SIGMOID: { /* exp(-|x|) cannot overflow, and is what is left of the result far to the left */
    MlirValue one = ir_vector_f32(ir, 1.0f), zero = ir_vector_f32(ir, 0.0f);
    MlirValue e = ir_exp(ir, ir_sub(ir, zero, math_absolute(ir, x)));
    return ir_quotient(ir, ir_select(ir, ir_compare_f(ir, IR_LT, x, zero), e, one), ir_add(ir, one, e));
  }
  case HMOEC_ACTIVATION_NONE:
  case HMOEC_ACTIVATION_COUNT: break;
  }
  return x;
}
