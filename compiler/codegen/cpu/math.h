/* Elementary functions as vector IR, with our own polynomials: no library calls in kernels.
 *
 * Largest error over all f32 arguments against double precision, in units in the last place (tests/numeric/math_ulp_test.c):
 *              with fma   portable
 *   exp          MEASURED
 *   tanh         MEASURED
 *   erf          MEASURED
 * NaN gives NaN, infinities give the limits, exp underflows gradually. */
#ifndef HMOEC_CODEGEN_CPU_MATH_H
#define HMOEC_CODEGEN_CPU_MATH_H

#include "codegen/cpu/ir.h"
#include "codegen/cpu/kernels.h"

MlirValue ir_exp(ir_builder *ir, MlirValue x);
MlirValue ir_tanh(ir_builder *ir, MlirValue x);
MlirValue ir_erf(ir_builder *ir, MlirValue x);

/* relu      max(x, 0), NaN stays
 * gelu      x/2 (1 + erf(x / sqrt 2))
 * gelu_new  x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
 * silu      x / (1 + exp(-x)) */
MlirValue ir_activation(ir_builder *ir, hmoec_activation activation, MlirValue x);

#endif
