/* Elementary functions as vector IR. In f32 all have our own code; so do exp and log and their like in f64.
 *
 * Largest error in units in the last place of the result, denormal or not, measured over every 17th f32 argument (exp, tanh, erf and what
 * follows them) or every 127th against double precision, f64 over some millions of arguments; tests/numeric/math_ulp_test.c holds the bounds:
 *              with fma   portable   bound
 *   exp          1.02       0.99      1.1
 *   tanh         1.33       1.32      1.5
 *   erf          1.06       1.27      1.5
 *   gelu         1.38       1.38      2.0    units of 2^-24 (1 + |x|); so are the next two
 *   gelu_new     1.39       1.39      2.0
 *   silu         1.77       1.77      2.0
 *   sigmoid      2.36       2.37      2.5    units in the last place of the result, denormal or not
 *   exp2         0.81       1.05      1.5
 *   expm1        1.13       1.13      1.5
 *   log          0.85       0.85      1.5
 *   log1p        1.48       1.48      2.0
 *   log2         0.96       0.93      1.5
 *   log10        0.91       0.89      1.5
 *   acos acosh asin asinh atan atan2 atanh cbrt cosh erfc powf sinh    0.501   0.51   (f64 inside)
 *   sin cos tan  0.501 up to |x| = 2^19; the C library's beyond: sin, cos 0.8, tan 1.5
 *   absf ceil copysign floor fma round roundeven sqrt trunc            as rounded by C
 *   f64: exp 1.1, expm1 1.5, log 0.91, log1p 1.42, log2 1.2, log10 1.1, tanh 1.5; bound 2.0. Rounding, signs, sqrt, fma as in C. All others
 *   call the C library for each lane.
 *   powf with a constant exponent of 1/2 or an integer up to 16 is a product: 2.0 for -2...4, 0.51 for others in f32, 1.0 in f64 (which
 *   leaves the others to the library).
 * Infinities, NaN, zeros and their signs, and what is undefined come out as in C (annex F). Exceptions and errno mean nothing. gelu,
 * gelu_new, silu and sigmoid of -infinity are 0. A lane's result does not depend on the other lanes. */
#ifndef HMOEC_TARGET_CODE_MATH_H
#define HMOEC_TARGET_CODE_MATH_H

#include "kernel/kernels.h"
#include "target/code/ir.h"

MlirValue ir_exp(ir_builder *ir, MlirValue x);
MlirValue ir_tanh(ir_builder *ir, MlirValue x);
MlirValue ir_erf(ir_builder *ir, MlirValue x);

/* f(operands) lane by lane; name is that of the math dialect's op without its "math." prefix ("exp", "powf", "atan2"); operands are
 * vectors of f32, or of f64, of ir->lanes elements, and the result is one too. */
MlirValue ir_math(ir_builder *ir, const char *name, int count, const MlirValue *operands);

/* relu      max(x, 0), NaN stays
 * gelu      x/2 (1 + erf(x / sqrt 2))
 * gelu_new  x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
 * silu      x / (1 + exp(-x))
 * sigmoid   1 / (1 + exp(-x))
 * or a function of the model of one argument */
MlirValue ir_activation(ir_builder *ir, hmoec_activation activation, MlirValue x);

#endif
