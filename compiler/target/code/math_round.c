/* Functions that are an instruction or a few: rounding to integers, signs, roots, and a product and sum with one rounding.
 *
 * Plain x86-64 has no instruction for rounding and LLVM would call the library for every lane: there, adding and taking away 2^23 (2^52)
 * rounds a magnitude below that to an integer, and what is above is one. */
#include "target/code/math_parts.h"

static MlirValue instruction(ir_builder *ir, const char *name, MlirValue x) {
  return ir_intrinsic(ir, name, mlirValueGetType(x), 1, &x);
}

/* To nearest, ties to even; a >= 0. */
static MlirValue nearest(ir_builder *ir, MlirValue a) {
  double whole = math_is_f64(ir, a) ? 0x1p52 : 0x1p23;
  MlirValue magic = math_number(ir, a, whole);
  return math_select(ir, IR_LT, a, whole, ir_sub(ir, ir_add(ir, a, magic), magic), a);
}

/* how(rounded, x) ? 1 : 0 */
static MlirValue one_if(ir_builder *ir, ir_compare how, MlirValue rounded, MlirValue x) {
  return ir_select(ir, ir_compare_f(ir, how, rounded, x), math_number(ir, x, 1), math_number(ir, x, 0));
}

static MlirValue truncate_magnitude(ir_builder *ir, MlirValue a) {
  MlirValue rounded = nearest(ir, a);
  return ir_sub(ir, rounded, one_if(ir, IR_GT, rounded, a));
}

MlirValue math_roundeven(ir_builder *ir, const MlirValue *x) {
  if (ir->has_fma) return instruction(ir, "llvm.roundeven", x[0]);
  return math_with_sign(ir, nearest(ir, math_absolute(ir, x[0])), x[0]);
}

MlirValue math_trunc(ir_builder *ir, const MlirValue *x) {
  if (ir->has_fma) return instruction(ir, "llvm.trunc", x[0]);
  return math_with_sign(ir, truncate_magnitude(ir, math_absolute(ir, x[0])), x[0]);
}

MlirValue math_floor(ir_builder *ir, const MlirValue *x) {
  if (ir->has_fma) return instruction(ir, "llvm.floor", x[0]);
  MlirValue rounded = math_roundeven(ir, x);
  return math_with_sign(ir, ir_sub(ir, rounded, one_if(ir, IR_GT, rounded, x[0])), x[0]);
}

MlirValue math_ceil(ir_builder *ir, const MlirValue *x) {
  if (ir->has_fma) return instruction(ir, "llvm.ceil", x[0]);
  MlirValue rounded = math_roundeven(ir, x);
  return math_with_sign(ir, ir_add(ir, rounded, one_if(ir, IR_LT, rounded, x[0])), x[0]);
}

/* Half away from 0: the number below 1/2 is added, so that nothing below a half is carried over. */
MlirValue math_round(ir_builder *ir, const MlirValue *x) {
  if (ir->has_fma) return instruction(ir, "llvm.round", x[0]);
  bool is_f64 = math_is_f64(ir, x[0]);
  MlirValue a = math_absolute(ir, x[0]), half = math_number(ir, a, is_f64 ? 0x1.fffffffffffffp-2 : 0x1.fffffep-2);
  MlirValue rounded = truncate_magnitude(ir, ir_add(ir, a, half));
  return math_with_sign(ir, math_select(ir, IR_LT, a, is_f64 ? 0x1p52 : 0x1p23, rounded, a), x[0]);
}

MlirValue math_abs(ir_builder *ir, const MlirValue *x) { return math_absolute(ir, x[0]); }
MlirValue math_copysign(ir_builder *ir, const MlirValue *x) { return math_with_sign(ir, math_absolute(ir, x[0]), x[1]); }
MlirValue math_sqrt(ir_builder *ir, const MlirValue *x) { return ir_sqrt(ir, x[0]); }

/* One rounding, which ir_fma does not promise: LLVM may fold a product of constants. Without the instruction, f32 goes through f64, where the product is exact and the sum is rounded to odd: then rounding
 * it once more to f32 is right. */
MlirValue math_fma(ir_builder *ir, const MlirValue *x) {
  if (ir->has_fma) return ir_intrinsic(ir, "llvm.fma", mlirValueGetType(x[0]), 3, x);
  if (math_is_f64(ir, x[0])) return ir_call_library(ir, "fma", 3, x);
  MlirValue product = ir_mul(ir, ir_widen(ir, x[0]), ir_widen(ir, x[1])), c = ir_widen(ir, x[2]), zero = ir_vector_f64(ir, 0);
  MlirValue sum = ir_add(ir, product, c), added = ir_sub(ir, sum, product);
  MlirValue lost = ir_add(ir, ir_sub(ir, product, ir_sub(ir, sum, added)), ir_sub(ir, c, added));
  MlirValue bits = math_bits(ir, sum), one = ir_vector_i64(ir, 1);
  MlirValue outwards = ir_xor(ir, ir_compare_f(ir, IR_GT, lost, zero), ir_compare_f(ir, IR_LT, sum, zero));
  MlirValue odd = ir_or(ir, ir_select(ir, outwards, bits, ir_sub_i(ir, bits, one)), one);
  MlirValue is_even = ir_compare_i(ir, IR_EQ, ir_and(ir, bits, one), ir_vector_i64(ir, 0));
  MlirValue adjust = ir_and(ir, ir_compare_f(ir, IR_NE, lost, zero), is_even);
  return ir_narrow(ir, ir_select(ir, adjust, math_from_bits(ir, odd), sum));
}
