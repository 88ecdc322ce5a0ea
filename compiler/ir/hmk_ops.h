/* The hmk dialect as a table: the roles of each op's buffers, in the order of the step's bindings (include/hmoe/abi.h). */
#ifndef HMOEC_IR_HMK_OPS_H
#define HMOEC_IR_HMK_OPS_H

#include <stddef.h>
#include <stdint.h>

#include "ir/ops.h"

#define HMOEC_MAX_ROLES 16
#define HMOEC_MAX_STEP_DIMS 8 /* entry dimensions that one step reads */

typedef struct hmoec_hmk_info {
  const char *name;                        /* "grouped_matmul" */
  const char *roles[HMOEC_MAX_ROLES];      /* binding order, NULL-terminated */
  unsigned required;                       /* bit i: role i must be bound */
  uint32_t step;                           /* HMOE_STEP_* */
} hmoec_hmk_info;

/* The row of an hmk step op; NULL for hmk.buffer and other ops. */
const hmoec_hmk_info *hmoec_hmk_info_of(MlirOperation op);
/* Which operand has role i of the op, -1 if none. */
intptr_t hmoec_hmk_operand(MlirOperation op, const hmoec_hmk_info *info, size_t role);
/* Element of an i64 array attribute; count in hmoec_hmk_array_size. */
int64_t hmoec_hmk_array(MlirOperation op, const char *name, intptr_t index);
intptr_t hmoec_hmk_array_size(MlirOperation op, const char *name); /* -1: not an i64 array */
/* Bytes of one element of an hmk.buffer, of elements f32, i32, i64 and bf16. */
int64_t hmoec_hmk_element_bytes(MlirOperation buffer);

/* ---- what `place` sets ---- */

/* The number of an entry dimension of a function: found in hmk.dims, or added. */
int64_t hmoec_hmk_dim(MlirOperation function, int64_t kind, int64_t source, int64_t factor);
void hmoec_hmk_set_int(MlirOperation op, const char *name, int64_t value);
/* The op's schedule: named integers, {row_block = 64}. One that it does not have is 0. */
void hmoec_hmk_schedule_set(MlirOperation op, const char *const *names, const int64_t *values, size_t count);
int64_t hmoec_hmk_schedule(MlirOperation op, const char *name);

#endif
