/* Circular functions and their inverses, of f32 by way of f64, where polynomials (interpolated at Chebyshev's nodes) need not be exact to
 * the last place. Arguments of sin, cos and tan beyond 2^19 go to the library; which lanes those are does not change the others. */
#include "target/code/math_parts.h"

static const double largest = 0x1p19;

typedef struct quadrant {
  MlirValue sine, cosine; /* of r, |r| <= pi/4; |x| = n pi/2 + r */
  MlirValue n; /* i32 */
} quadrant;

/* n times the first two pieces of pi/2 is exact. */
static quadrant reduce(ir_builder *ir, MlirValue x) {
  static const double sin_c[] = {-0x1.555555555516ap-3, 0x1.1111110fd3935p-7, -0x1.a019fd9a9838bp-13, 0x1.71d9a97cd3c34p-19,
                                 -0x1.aa28204b8cc64p-26};
  static const double cos_c[] = {-0x1.fffffffffe691p-2, 0x1.555555514ea4bp-5, -0x1.6c16bae4ef840p-10, 0x1.a0129816d86c7p-16,
                                 -0x1.2474b4d8b6dbep-22};
  MlirValue a = ir_widen(ir, math_absolute(ir, x)), magic = ir_vector_f64(ir, 0x1.8p52);
  MlirValue shifted = ir_fma(ir, a, ir_vector_f64(ir, 0x1.45f306dc9c883p-1), magic), n = ir_sub(ir, shifted, magic);
  MlirValue r = ir_fma(ir, n, ir_vector_f64(ir, -0x1.921fb544p+0), a);
  r = ir_fma(ir, n, ir_vector_f64(ir, -0x1.0b4611a6p-34), r);
  r = ir_fma(ir, n, ir_vector_f64(ir, -0x1.3198a2e037073p-69), r);
  MlirValue square = ir_mul(ir, r, r);
  return (quadrant){.sine = ir_fma(ir, ir_mul(ir, square, r), math_polynomial(ir, square, sin_c, 5), r),
                    .cosine = ir_fma(ir, square, math_polynomial(ir, square, cos_c, 5), ir_vector_f64(ir, 1)),
                    .n = ir_narrow_i(ir, math_bits(ir, shifted))};
}

static MlirValue has_bit(ir_builder *ir, MlirValue n, int32_t bit) {
  return ir_compare_i(ir, IR_NE, ir_and(ir, n, ir_vector_i32(ir, bit)), ir_vector_i32(ir, 0));
}

/* -x where `negative` has the sign bit */
static MlirValue flip(ir_builder *ir, MlirValue x, MlirValue negative) {
  MlirValue bit = ir_and(ir, negative, ir_vector_i32(ir, INT32_MIN));
  return math_from_bits(ir, ir_xor(ir, math_bits(ir, x), bit));
}

/* `result`, but by the library where |x| is large */
static MlirValue unless_large(ir_builder *ir, const char *name, MlirValue x, MlirValue result) {
  MlirValue large = ir_compare_f(ir, IR_GT, math_absolute(ir, x), ir_vector_f32(ir, (float)largest));
  ir_branch any;
  ir_if_begin(ir, &any, ir_reduce(ir, "or", large), ir->vf32);
  ir_if_else(ir, &any, ir_select(ir, large, ir_call_library(ir, name, 1, &x), result));
  return ir_if_end(ir, &any, result);
}

/* sin(|x| + first pi/2) without the sign of x */
static MlirValue sine_from(ir_builder *ir, quadrant q, int32_t first) {
  MlirValue n = first ? ir_add_i(ir, q.n, ir_vector_i32(ir, first)) : q.n;
  MlirValue value = ir_narrow(ir, ir_select(ir, has_bit(ir, n, 1), q.cosine, q.sine));
  return flip(ir, value, ir_shift_left(ir, n, ir_vector_i32(ir, 30)));
}

MlirValue math_sin_f32(ir_builder *ir, const MlirValue *x) {
  MlirValue value = flip(ir, sine_from(ir, reduce(ir, x[0]), 0), math_bits(ir, x[0]));
  return unless_large(ir, "sin", x[0], value);
}

MlirValue math_cos_f32(ir_builder *ir, const MlirValue *x) {
  return unless_large(ir, "cos", x[0], sine_from(ir, reduce(ir, x[0]), 1));
}

MlirValue math_tan_f32(ir_builder *ir, const MlirValue *x) {
  quadrant q = reduce(ir, x[0]);
  MlirValue odd = has_bit(ir, q.n, 1);
  MlirValue ratio = ir_narrow(ir, ir_div(ir, ir_select(ir, odd, q.cosine, q.sine), ir_select(ir, odd, q.sine, q.cosine)));
  MlirValue sign = ir_xor(ir, math_bits(ir, x[0]), ir_shift_left(ir, q.n, ir_vector_i32(ir, 31)));
  return unless_large(ir, "tan", x[0], flip(ir, ratio, sign));
}

/* The angle of (x, y), f64 vectors with the range of f32, or square roots of such. With t the smaller of |x| and |y| over the larger,
 * t + t^3 P(t^2) is the angle to the nearer axis. Infinities count as 2^1000 and 0 / 0 as 0, which is what C says of them. */
static MlirValue angle(ir_builder *ir, MlirValue y, MlirValue x) {
  static const double c[] = {-0x1.555555543c557p-2, 0x1.9999971f594e7p-3, -0x1.2491d128f2977p-3, 0x1.c70a6be6d4163p-4,
                             -0x1.73a719b0b93d9p-4, 0x1.36bfd2210f14ap-4, -0x1.ffb2b9595f5b2p-5, 0x1.837061ab40426p-5,
                             -0x1.ea18af61c3e87p-6, 0x1.cd243cc325c05p-7, -0x1.14abab0185470p-8, 0x1.36ecfc48d188bp-11};
  MlirValue a = math_at_most(ir, math_absolute(ir, y), 0x1p1000), b = math_at_most(ir, math_absolute(ir, x), 0x1p1000);
  MlirValue steep = ir_compare_f(ir, IR_GT, a, b);
  MlirValue smaller = ir_select(ir, steep, b, a), larger = math_at_least(ir, ir_select(ir, steep, a, b), 0x1p-1000);
  MlirValue t = ir_div(ir, smaller, larger), square = ir_mul(ir, t, t);
  MlirValue result = ir_fma(ir, ir_mul(ir, square, t), math_polynomial(ir, square, c, 12), t);
  result = ir_select(ir, steep, ir_sub(ir, ir_vector_f64(ir, 0x1.921fb54442d18p+0), result), result);
  MlirValue left = ir_compare_i(ir, IR_LT, math_bits(ir, x), ir_vector_i64(ir, 0));
  result = ir_select(ir, left, ir_sub(ir, ir_vector_f64(ir, 0x1.921fb54442d18p+1), result), result);
  return ir_narrow(ir, math_with_sign(ir, result, y));
}

/* sqrt(1 - x^2) */
static MlirValue other_leg(ir_builder *ir, MlirValue x) {
  MlirValue one = ir_vector_f64(ir, 1);
  return ir_sqrt(ir, ir_mul(ir, ir_sub(ir, one, x), ir_add(ir, one, x)));
}

MlirValue math_asin_f32(ir_builder *ir, const MlirValue *x) {
  MlirValue wide = ir_widen(ir, x[0]);
  return angle(ir, wide, other_leg(ir, wide));
}
MlirValue math_acos_f32(ir_builder *ir, const MlirValue *x) {
  MlirValue wide = ir_widen(ir, x[0]);
  return angle(ir, other_leg(ir, wide), wide);
}
MlirValue math_atan_f32(ir_builder *ir, const MlirValue *x) { return angle(ir, ir_widen(ir, x[0]), ir_vector_f64(ir, 1)); }
MlirValue math_atan2_f32(ir_builder *ir, const MlirValue *x) { return angle(ir, ir_widen(ir, x[0]), ir_widen(ir, x[1])); }
