/* Scalar functions of a model (ir/scalar.h) as vector code. */
#ifndef HMOEC_TARGET_CODE_SCALAR_H
#define HMOEC_TARGET_CODE_SCALAR_H

#include "ir/scalar.h"
#include "target/code/ir.h"

/* f(arguments) lane by lane; arguments and result are vectors of f32. Both arms of a condition are computed and the lanes chosen: nothing in
 * a scalar function can trap. */
MlirValue ir_scalar(ir_builder *ir, const hmoec_scalar_program *program, const MlirValue *arguments);

#endif
