/* Powers and the cube root of f32, by way of f64. */
#include "target/code/math_parts.h"

#include <math.h>
#include <stdlib.h>

/* Exponents that are constant: products. In f32 they are within 2 units of the last place up to the fourth power, and a reciprocal comes
 * first, so that nothing overflows on the way to a denormal; f64 has room for the rest. */
enum { LARGEST = 16, LARGEST_EXACT = 4 };

static MlirValue product(ir_builder *ir, MlirValue x, int exponent) {
  MlirValue result = {NULL};
  for (; exponent > 0; exponent >>= 1) {
    if (exponent & 1) result = mlirValueIsNull(result) ? x : ir_mul(ir, result, x);
    if (exponent > 1) x = ir_mul(ir, x, x);
  }
  return result;
}

/* pow(x, exponent), or null where it takes more. */
static MlirValue constant_power(ir_builder *ir, MlirValue x, double exponent) {
  MlirValue none = {NULL}, one = math_number(ir, x, 1);
  if (exponent == 0.5) { /* +0 at -0, and infinity at -infinity, unlike sqrt */
    MlirValue root = ir_sqrt(ir, ir_add(ir, x, math_number(ir, x, 0)));
    return math_select(ir, IR_EQ, x, -INFINITY, math_number(ir, x, INFINITY), root);
  }
  if (!(fabs(exponent) <= LARGEST) || exponent != floor(exponent)) return none;
  int n = (int)exponent;
  if (n == 0) return one;
  if (n >= -2 && n <= LARGEST_EXACT) return product(ir, n < 0 ? ir_div(ir, one, x) : x, abs(n));
  if (math_is_f64(ir, x)) return none;
  MlirValue wide = ir_widen(ir, x);
  return ir_narrow(ir, product(ir, n < 0 ? ir_div(ir, ir_vector_f64(ir, 1), wide) : wide, abs(n)));
}

/* exp(y log |x|), its sign and what C says of 0, 1, infinity and NaN. */
static MlirValue general_power(ir_builder *ir, MlirValue x, MlirValue y) {
  MlirValue a = math_absolute(ir, x), zero = ir_vector_f32(ir, 0), one = ir_vector_f32(ir, 1), wide = ir_widen(ir, a);
  MlirValue log = math_select(ir, IR_LT, wide, INFINITY, math_log_near(ir, wide), wide);
  log = math_select(ir, IR_EQ, wide, 0, ir_vector_f64(ir, -INFINITY), log);
  MlirValue power = math_at_least(ir, math_at_most(ir, ir_mul(ir, log, ir_widen(ir, y)), 700), -700);
  MlirValue result = ir_narrow(ir, math_exp_f64(ir, power));

  /* y is odd: an integer whose half is none. */
  MlirValue half = ir_mul(ir, y, ir_vector_f32(ir, 0.5f));
  MlirValue whole = ir_compare_f(ir, IR_EQ, math_roundeven(ir, &y), y);
  MlirValue odd = ir_and(ir, whole, ir_compare_f(ir, IR_NE, math_roundeven(ir, &half), half));
  result = ir_select(ir, odd, math_with_sign(ir, result, x), result);
  MlirValue infinite = ir_compare_f(ir, IR_EQ, a, ir_vector_f32(ir, INFINITY));
  MlirValue defined = ir_or(ir, ir_or(ir, whole, infinite), ir_compare_f(ir, IR_GE, x, zero));
  result = ir_select(ir, defined, result, ir_vector_f32(ir, NAN));
  MlirValue unit =
      ir_and(ir, ir_compare_f(ir, IR_EQ, a, one), ir_compare_f(ir, IR_EQ, math_absolute(ir, y), ir_vector_f32(ir, INFINITY)));
  unit = ir_or(ir, unit, ir_or(ir, ir_compare_f(ir, IR_EQ, x, one), ir_compare_f(ir, IR_EQ, y, zero)));
  return ir_select(ir, unit, one, result);
}

MlirValue math_pow(ir_builder *ir, const MlirValue *x) {
  double exponent;
  if (ir_is_splat_of(x[1], &exponent)) {
    MlirValue result = constant_power(ir, x[0], exponent);
    if (!mlirValueIsNull(result)) return result;
  }
  return math_is_f64(ir, x[0]) ? ir_call_library(ir, "pow", 2, x) : general_power(ir, x[0], x[1]);
}

/* A third of the exponent, and of the bits after it, is within 1/16 of the root; two of Halley's steps cube that error twice. */
MlirValue math_cbrt_f32(ir_builder *ir, const MlirValue *x) {
  MlirValue a = math_absolute(ir, x[0]), wide = ir_widen(ir, a), word = ir_vector_i64(ir, 32);
  MlirValue high = ir_narrow_i(ir, ir_shift_right_unsigned(ir, math_bits(ir, wide), word));
  MlirValue third = ir_to_i32(ir, ir_mul(ir, ir_from_i32(ir, high, ir->vf32), ir_vector_f32(ir, 0x1.555556p-2f)));
  MlirValue guess = ir_widen_i(ir, ir_add_i(ir, third, ir_vector_i32(ir, 715094163)));
  MlirValue root = math_from_bits(ir, ir_shift_left(ir, guess, word)), twice = ir_add(ir, wide, wide);
  for (int i = 0; i < 2; i++) {
    MlirValue cube = ir_mul(ir, ir_mul(ir, root, root), root);
    root = ir_mul(ir, root, ir_div(ir, ir_add(ir, twice, cube), ir_add(ir, wide, ir_add(ir, cube, cube))));
  }
  return math_select(ir, IR_LT, a, INFINITY, math_with_sign(ir, ir_narrow(ir, root), x[0]), x[0]);
}
