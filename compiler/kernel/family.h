/* The kernel families as a table: of each its op in the hmk dialect, and the fields of its description (kernel/kernels.h). Reading a description
 * from an op, writing it as attributes, checking its ranges, printing it and counting its FLOPs are loops over the table. */
#ifndef HMOEC_KERNEL_FAMILY_H
#define HMOEC_KERNEL_FAMILY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mlir-c/IR.h>

#include "kernel/kernels.h"

enum { HMOEC_KERNEL_MAX_ATTRIBUTES = 48, HMOEC_KERNEL_CHARS = 1024 };

/* "matmul": in the names of functions. */
const char *hmoec_family_name(hmoec_kernel_family family);
/* "grouped_matmul": the op is hmk.grouped_matmul. NULL: no op has it. */
const char *hmoec_family_op(hmoec_kernel_family family);

/* What an op asks for, zeroed before. False: it is no kernel. Names of functions that `functions` lacks become what check refuses. */
bool hmoec_kernel_read(MlirOperation op, const hmoec_scalar_library *functions, hmoec_kernel *out_kernel);
/* The attributes that an op of this kernel has, but for those of all steps; at most HMOEC_KERNEL_MAX_ATTRIBUTES. What buffers it has says
 * which are bound. Returns their number. */
size_t hmoec_kernel_write(const hmoec_kernel *kernel, MlirContext context, const hmoec_scalar_library *functions,
                          MlirNamedAttribute *out_attributes);
/* NULL, or what is wrong with a field by itself, in a buffer of HMOEC_KERNEL_CHARS. How fields fit each other is the generator's to check. */
const char *hmoec_kernel_field_defect(const hmoec_kernel *kernel, const hmoec_scalar_library *functions, char *buffer);
/* "matmul k=96 n=160 bf16": fields that are 0 are left out. */
const char *hmoec_kernel_print(const hmoec_kernel *kernel, const hmoec_scalar_library *functions, char *buffer);
/* What its products are computed in; f32 where it has none. */
hmoec_format hmoec_kernel_format(const hmoec_kernel *kernel);
/* About how many FLOP one row takes. */
uint64_t hmoec_kernel_row_flops(const hmoec_kernel *kernel);

#endif
