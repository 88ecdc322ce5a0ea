/* Small parts of elementary functions; see math_parts.h. */
#include "target/code/math_parts.h"

bool math_is_f64(ir_builder *ir, MlirValue x) { return mlirTypeEqual(mlirValueGetType(x), ir->vf64); }

MlirValue math_number(ir_builder *ir, MlirValue like, double value) {
  return math_is_f64(ir, like) ? ir_vector_f64(ir, value) : ir_vector_f32(ir, (float)value);
}

MlirValue math_polynomial(ir_builder *ir, MlirValue x, const double *c, int count) {
  MlirValue sum = math_number(ir, x, c[count - 1]);
  for (int i = count - 2; i >= 0; i--) sum = ir_fma(ir, sum, x, math_number(ir, x, c[i]));
  return sum;
}

MlirValue math_bits(ir_builder *ir, MlirValue x) { return ir_bitcast(ir, x, math_is_f64(ir, x) ? ir->vi64 : ir->vi32); }

MlirValue math_from_bits(ir_builder *ir, MlirValue bits) {
  return ir_bitcast(ir, bits, mlirTypeEqual(mlirValueGetType(bits), ir->vi64) ? ir->vf64 : ir->vf32);
}

static MlirValue sign_bit(ir_builder *ir, MlirValue like) {
  return math_is_f64(ir, like) ? ir_vector_i64(ir, INT64_MIN) : ir_vector_i32(ir, INT32_MIN);
}

MlirValue math_absolute(ir_builder *ir, MlirValue x) {
  MlirValue rest = math_is_f64(ir, x) ? ir_vector_i64(ir, INT64_MAX) : ir_vector_i32(ir, INT32_MAX);
  return math_from_bits(ir, ir_and(ir, math_bits(ir, x), rest));
}

MlirValue math_with_sign(ir_builder *ir, MlirValue magnitude, MlirValue sign) {
  MlirValue bit = ir_and(ir, math_bits(ir, sign), sign_bit(ir, sign));
  return math_from_bits(ir, ir_or(ir, math_bits(ir, magnitude), bit));
}

MlirValue math_at_most(ir_builder *ir, MlirValue x, double bound) {
  MlirValue limit = math_number(ir, x, bound);
  return ir_select(ir, ir_compare_f(ir, IR_GT, x, limit), limit, x);
}

MlirValue math_at_least(ir_builder *ir, MlirValue x, double bound) {
  MlirValue limit = math_number(ir, x, bound);
  return ir_select(ir, ir_compare_f(ir, IR_LT, x, limit), limit, x);
}

MlirValue math_select(ir_builder *ir, ir_compare how, MlirValue x, double bound, MlirValue yes, MlirValue no) {
  return ir_select(ir, ir_compare_f(ir, how, x, math_number(ir, x, bound)), yes, no);
}
