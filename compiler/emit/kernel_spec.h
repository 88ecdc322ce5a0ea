/* Reads an hmk op that runs a kernel into the kernel's description. */
#ifndef HMOEC_EMIT_KERNEL_SPEC_H
#define HMOEC_EMIT_KERNEL_SPEC_H

#include <mlir-c/IR.h>

#include "codegen/cpu/kernels.h"

/* out_kernel must be zeroed: descriptions are compared byte by byte. */
void hmoec_kernel_read(MlirOperation op, const hmoec_scalar_library *functions, hmoec_kernel *out_kernel);

#endif
