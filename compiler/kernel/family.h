/* The kernel families as a table: of each its op in the hmk dialect, and the fields of its description (kernel/kernels.h). Reading a description
 * from an op, writing it as attributes, checking its ranges, and printing it are loops over the table. */
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
/* "grouped_matmul": the op is hmk.grouped_matmul. */
const char *hmoec_family_op(hmoec_kernel_family family);

/* What an op asks for, zeroed before. False: it is no kernel. Names of functions that `functions` lacks become what check refuses. */
bool hmoec_kernel_read(MlirOperation op, const hmoec_scalar_library *functions, hmoec_kernel *out_kernel);
/* The attributes that an op of this kernel has before `place`, but for those of all steps; at most HMOEC_KERNEL_MAX_ATTRIBUTES. What buffers it has says
 * which are bound. Returns their number. */
size_t hmoec_kernel_write(const hmoec_kernel *kernel, MlirContext context, const hmoec_scalar_library *functions,
                          MlirNamedAttribute *out_attributes);
/* Facts of layouts that fields hold: the table says of which buffer, by role, or of the hidden block between two products. */
typedef enum hmoec_fact {
  HMOEC_FACT_NONE = 0,
  HMOEC_FACT_STRIDE, /* elements from a row, or a group, to the next; 0: no such buffer */
  HMOEC_FACT_GROUP, /* the same of what has a group for each of the blocks; 0 where there are none */
  HMOEC_FACT_GROUP_BYTES,
  HMOEC_FACT_IN_PLACE, /* whether a product reads these rows as they lie */
  HMOEC_FACT_PADDED, /* whether rows have room for whole column steps */
  HMOEC_FACT_PADDING, /* columns behind what is written, to the end of its row: of hmoec_rows_spec */
  HMOEC_FACT_DEPTH, /* of a product, with the zeros that rows in place have behind it */
  HMOEC_FACT_COLUMNS, /* of a product, with the padding of what its columns make */
  HMOEC_FACT_ZERO, /* the column of distance 0 */
  HMOEC_FACT_STEP /* the target's column step */
} hmoec_fact;
typedef struct hmoec_fact_source {
  const char *role; /* of a buffer of the op */
  bool hidden; /* it is no buffer, but the hidden block between two products */
  const void *description; /* the structure that the field is of, as it was planned; for products hmoec_matmul_spec */
} hmoec_fact_source;
typedef int64_t hmoec_fact_fn(void *context, hmoec_fact fact, const hmoec_fact_source *source);
/* Fills in all facts of layouts. */
void hmoec_kernel_place(hmoec_kernel *kernel, hmoec_fact_fn *fact_of, void *context);
/* An op's layout = {a_stride = 48}: the facts, and what they have changed of the description as it was planned. hmoec_kernel_read finds them there. */
void hmoec_kernel_write_layout(const hmoec_kernel *placed, const hmoec_kernel *planned, const hmoec_scalar_library *functions,
                               MlirOperation op);
/* NULL, or what is wrong with a field by itself, in a buffer of HMOEC_KERNEL_CHARS. How fields fit each other is the generator's to check. */
const char *hmoec_kernel_field_defect(const hmoec_kernel *kernel, const hmoec_scalar_library *functions, char *buffer);
/* "matmul k=96 n=160 bf16": fields that are 0 are left out. */
const char *hmoec_kernel_print(const hmoec_kernel *kernel, const hmoec_scalar_library *functions, char *buffer);
/* The same without what a schedule says: what a kernel is known by wherever it is measured. */
const char *hmoec_kernel_signature(const hmoec_kernel *kernel, const hmoec_scalar_library *functions, char *buffer);
/* What its products are computed in; f32 where it has none. */
hmoec_format hmoec_kernel_format(const hmoec_kernel *kernel);

#endif
