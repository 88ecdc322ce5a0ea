/* What the files of elementary functions share. A function here, and one of a family, works on vectors of f32 and on vectors of f64
 * unless its name ends in _f32: constants take the type of the operand.
 *
 * math.c (exp, tanh, erf in f32; activations)   math_exp.c   math_log.c   math_trig.c   math_power.c   math_round.c
 * math_table.c   names and the library */
#ifndef HMOEC_TARGET_CODE_MATH_PARTS_H
#define HMOEC_TARGET_CODE_MATH_PARTS_H

#include "target/code/ir.h"

bool math_is_f64(ir_builder *ir, MlirValue x);
MlirValue math_number(ir_builder *ir, MlirValue like, double value);
/* c[0] + c[1] x + ... by Horner's rule. */
MlirValue math_polynomial(ir_builder *ir, MlirValue x, const double *c, int count);
/* The integers of the same width as x's lanes, and back. */
MlirValue math_bits(ir_builder *ir, MlirValue x);
MlirValue math_from_bits(ir_builder *ir, MlirValue bits);
MlirValue math_absolute(ir_builder *ir, MlirValue x);
/* |magnitude| with the sign of `sign`; magnitude >= 0, or of that sign already. */
MlirValue math_with_sign(ir_builder *ir, MlirValue magnitude, MlirValue sign);
/* Bounds that let NaN through. */
MlirValue math_at_most(ir_builder *ir, MlirValue x, double bound);
MlirValue math_at_least(ir_builder *ir, MlirValue x, double bound);
/* how(x, bound) ? yes : no */
MlirValue math_select(ir_builder *ir, ir_compare how, MlirValue x, double bound, MlirValue yes, MlirValue no);
/* exp in f64 for x in [-708, 709]. */
MlirValue math_exp_f64(ir_builder *ir, MlirValue x);
/* log(x) in f64 for positive, finite, normal x; and log(1 + x) for finite x > -1. Their relative error is below 2e-13. */
MlirValue math_log_near(ir_builder *ir, MlirValue x);
MlirValue math_log1p_near(ir_builder *ir, MlirValue x);

/* The families: x are the operands. */
typedef MlirValue math_emitter(ir_builder *ir, const MlirValue *x);
math_emitter math_exp2_f32, math_expm1, math_exp, math_tanh_f64, math_sinh_f32, math_cosh_f32, math_erfc_f32; /* math_exp.c */
math_emitter math_log, math_log2, math_log10, math_log1p, math_asinh_f32, math_acosh_f32, math_atanh_f32; /* math_log.c */
math_emitter math_sin_f32, math_cos_f32, math_tan_f32, math_asin_f32, math_acos_f32, math_atan_f32,
    math_atan2_f32; /* math_trig.c */
math_emitter math_pow, math_cbrt_f32; /* math_power.c */
math_emitter math_floor, math_ceil, math_trunc, math_round, math_roundeven, math_fma, math_copysign, math_abs,
    math_sqrt; /* math_round.c */

#endif
