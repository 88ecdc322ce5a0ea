/* Polynomials were fitted by weighted least squares with reweighting (Lawson), lowest coefficients rounded first. */
#include "codegen/cpu/math.h"

#include <float.h>

#include "codegen/cpu/scalar.h"

/* c[0] + c[1] x + ... by Horner's rule. */
static MlirValue polynomial(ir_builder *ir, MlirValue x, const float *c, int count) {
  MlirValue sum = ir_vector_f32(ir, c[count - 1]);
  for (int i = count - 2; i >= 0; i--) sum = ir_fma(ir, sum, x, ir_vector_f32(ir, c[i]));
  return sum;
}

static MlirValue absolute(ir_builder *ir, MlirValue x) {
  return ir_bitcast(ir, ir_and(ir, ir_bitcast(ir, x, ir->vi32), ir_vector_i32(ir, 0x7fffffff)), ir->vf32);
}

/* |magnitude| with the sign of `sign`; magnitude >= 0. */
static MlirValue with_sign(ir_builder *ir, MlirValue magnitude, MlirValue sign) {
  MlirValue bit = ir_and(ir, ir_bitcast(ir, sign, ir->vi32), ir_vector_i32(ir, INT32_MIN));
  return ir_bitcast(ir, ir_or(ir, ir_bitcast(ir, magnitude, ir->vi32), bit), ir->vf32);
}

/* Bounds that let NaN through. */
static MlirValue at_most(ir_builder *ir, MlirValue x, float bound) {
  MlirValue limit = ir_vector_f32(ir, bound);
  return ir_select(ir, ir_compare_f(ir, IR_GT, x, limit), limit, x);
}
static MlirValue at_least(ir_builder *ir, MlirValue x, float bound) {
  MlirValue limit = ir_vector_f32(ir, bound);
  return ir_select(ir, ir_compare_f(ir, IR_LT, x, limit), limit, x);
}

/* 2^n for integers n in [-126, 127]. */
static MlirValue power_of_two(ir_builder *ir, MlirValue n) {
  return ir_bitcast(ir, ir_shift_left(ir, ir_add_i(ir, n, ir_vector_i32(ir, 127)), ir_vector_i32(ir, 23)), ir->vf32);
}

/* exp(x) = 2^n exp(r), n = round(x / ln 2), r = x - n ln 2 in three pieces (n times the first two is exact), |r| <= ln(2)/2.
 * n is read off the low bits of x / ln 2 + 1.5 * 2^23. 2^n is applied in two halves, so that denormals and overflow come out right. */
MlirValue ir_exp(ir_builder *ir, MlirValue x) {
  static const float c[] = {0x1.fffffcp-2f, 0x1.555492p-3f, 0x1.5558b0p-5f, 0x1.12398ep-7f, 0x1.6a4d60p-10f};
  MlirValue one = ir_vector_f32(ir, 1.0f), magic = ir_vector_f32(ir, 0x1.8p23f);
  x = at_least(ir, at_most(ir, x, 89.0f), -104.0f);
  MlirValue shifted = ir_fma(ir, x, ir_vector_f32(ir, 0x1.715476p+0f), magic);
  MlirValue n = ir_sub(ir, shifted, magic);
  MlirValue r = ir_fma(ir, n, ir_vector_f32(ir, -0x1.62e4p-1f), x);
  r = ir_fma(ir, n, ir_vector_f32(ir, -0x1.7f7cp-20f), r);
  r = ir_fma(ir, n, ir_vector_f32(ir, -0x1.1cf79ap-36f), r);
  MlirValue tail = ir_fma(ir, ir_mul(ir, r, r), polynomial(ir, r, c, 5), r);
  MlirValue k = ir_sub_i(ir, ir_bitcast(ir, shifted, ir->vi32), ir_bitcast(ir, magic, ir->vi32));
  MlirValue half = ir_shift_right(ir, k, ir_vector_i32(ir, 1));
  MlirValue scaled = ir_mul(ir, ir_add(ir, one, tail), power_of_two(ir, half));
  return ir_mul(ir, scaled, power_of_two(ir, ir_sub_i(ir, k, half)));
}

/* |x| < 5/8: x + x^3 P(x^2); otherwise 1 - 2 / (exp(2|x|) + 1), which is 1 once exp overflows. */
MlirValue ir_tanh(ir_builder *ir, MlirValue x) {
  static const float c[] = {-0x1.555532p-2f, 0x1.1107p-3f, -0x1.b837eap-5f, 0x1.520ca4p-6f, -0x1.7578p-8f};
  MlirValue a = absolute(ir, x), square = ir_mul(ir, x, x), one = ir_vector_f32(ir, 1.0f);
  MlirValue near = ir_fma(ir, ir_mul(ir, square, x), polynomial(ir, square, c, 5), x);
  MlirValue e = ir_exp(ir, ir_add(ir, a, a));
  MlirValue far = ir_sub(ir, one, ir_div(ir, ir_vector_f32(ir, 2.0f), ir_add(ir, e, one)));
  return ir_select(ir, ir_compare_f(ir, IR_LT, a, ir_vector_f32(ir, 0.625f)), near, with_sign(ir, far, x));
}

/* |x| < 1: x + x P(x^2); otherwise 1 - exp(Q(|x|)), Q = log erfc, with |x| cut at 4, where erf rounds to 1. */
MlirValue ir_erf(ir_builder *ir, MlirValue x) {
  static const float p[] = {0x1.06eba8p-3f, -0x1.81273ep-2f,  0x1.ce2ce6p-4f, -0x1.b7f71ep-6f,
                            0x1.53f26ep-8f, -0x1.a354bcp-11f, 0x1.477e96p-14f};
  static const float q[] = {-0x1.6611c0p-12f, -0x1.2088eep+0f, -0x1.46bae0p-1f, -0x1.a65394p-4f,
                            0x1.65cc06p-6f,   -0x1.825be0p-9f, 0x1.86de76p-13f};
  MlirValue a = absolute(ir, x), square = ir_mul(ir, x, x), one = ir_vector_f32(ir, 1.0f);
  MlirValue near = ir_fma(ir, x, polynomial(ir, square, p, 7), x);
  MlirValue far = ir_sub(ir, one, ir_exp(ir, polynomial(ir, at_most(ir, a, 4.0f), q, 7)));
  return ir_select(ir, ir_compare_f(ir, IR_LT, a, one), near, with_sign(ir, far, x));
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
  case HMOEC_ACTIVATION_RELU: return at_least(ir, x, 0.0f);
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
    return ir_div(ir, at_least(ir, x, -FLT_MAX), ir_add(ir, one, e));
  }
  case HMOEC_ACTIVATION_SIGMOID: { /* exp(-|x|) cannot overflow, and is what is left of the result far to the left */
    MlirValue one = ir_vector_f32(ir, 1.0f), zero = ir_vector_f32(ir, 0.0f);
    MlirValue e = ir_exp(ir, ir_sub(ir, zero, absolute(ir, x)));
    return ir_div(ir, ir_select(ir, ir_compare_f(ir, IR_LT, x, zero), e, one), ir_add(ir, one, e));
  }
  case HMOEC_ACTIVATION_NONE:
  case HMOEC_ACTIVATION_COUNT: break;
  }
  return x;
}

MlirValue ir_math(ir_builder *ir, const char *name, int count, const MlirValue *operands) {
  (void)count;
  if (name[0] == 'e' && name[1] == 'x') return ir_exp(ir, operands[0]);
  if (name[0] == 't') return ir_tanh(ir, operands[0]);
  return ir_erf(ir, operands[0]);
}
