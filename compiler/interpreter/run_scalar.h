/* Runs a scalar function on one value at a time, as a C compiler would have it: every f32 operation rounds to f32, elementary functions
 * are those of the C library. This is what a function written in C means; kernels come within a few units in the last place of it. */
#ifndef HMOEC_INTERPRETER_RUN_SCALAR_H
#define HMOEC_INTERPRETER_RUN_SCALAR_H

#include "ir/scalar.h"

typedef union hmoec_scalar_value {
  int64_t i; /* of integers, sign-extended; i1 is 0 or 1 */
  float f32;
  double f64;
} hmoec_scalar_value;

/* f(arguments). values: room for value_count of them. */
float hmoec_scalar_run(const hmoec_scalar_program *program, hmoec_scalar_value *values, const float *arguments);

#endif
