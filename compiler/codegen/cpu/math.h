/* Elementary functions as vector IR, with our own polynomials: no library calls in kernels.
 *
 * Largest error measured over every 17th f32 argument against double precision; tests/numeric/math_ulp_test.c holds the bounds:
 *              with fma   portable   bound
 *   exp          1.02       0.99      1.1    units in the last place of the result, denormal or not
 *   tanh         1.33       1.32      1.5
 *   erf          1.06       1.27      1.5
 *   gelu         1.38       1.38      2.0    units of 2^-24 (1 + |x|); so are the next two
 *   gelu_new     1.39       1.39      2.0
 *   silu         1.77       1.77      2.0
 * NaN gives NaN, infinities give the limits, exp underflows gradually; gelu, gelu_new and silu of
 * -infinity are 0. */
#ifndef HMOEC_CODEGEN_CPU_MATH_H
#define HMOEC_CODEGEN_CPU_MATH_H

#include "codegen/cpu/ir.h"
#include "codegen/cpu/kernels.h"

MlirValue ir_exp(ir_builder *ir, MlirValue x);
MlirValue ir_tanh(ir_builder *ir, MlirValue x);
MlirValue ir_erf(ir_builder *ir, MlirValue x);

/* f(operands) lane by lane; name is that of the math dialect's op without its "math." prefix ("exp", "powf", "atan2"); operands are
 * vectors of f32, or of f64, of ir->lanes elements, and the result is one too. */
MlirValue ir_math(ir_builder *ir, const char *name, int count, const MlirValue *operands);
bool ir_math_known(const char *name, int count);

/* relu      max(x, 0), NaN stays
 * gelu      x/2 (1 + erf(x / sqrt 2))
 * gelu_new  x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
 * silu      x / (1 + exp(-x)) */
MlirValue ir_activation(ir_builder *ir, hmoec_activation activation, MlirValue x);

#endif
