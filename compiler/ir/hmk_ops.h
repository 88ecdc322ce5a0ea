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
/* Of a list that has an entry for each operand, 0 where there is no such list. */
int64_t hmoec_hmk_of_operand(MlirOperation op, const char *name, intptr_t operand);
/* Bytes of one element of an hmk.buffer, of elements f32, i32, i64 and bf16. */
int64_t hmoec_hmk_element_bytes(MlirOperation buffer);

/* The numbers of hmk.pack and hmk.pack_vector: the fields of the step that they become (hmoe_step_pack). */
typedef enum hmoec_pack_arg {
  HMOEC_PACK_LAYOUT,
  HMOEC_PACK_COLUMNS,
  HMOEC_PACK_GENERATED_ROWS,
  HMOEC_PACK_SOURCE_COLUMNS,
  HMOEC_PACK_COLUMN_STRIDE,
  HMOEC_PACK_GENERATED_STRIDE,
  HMOEC_PACK_PARTS,
  HMOEC_PACK_DEPTH,
  HMOEC_PACK_PART_STRIDE,
  HMOEC_PACK_DEPTH_STRIDE,
  HMOEC_PACK_SOURCE_OFFSET,
  HMOEC_PACK_GROUPS,
  HMOEC_PACK_GROUP_STRIDE,
  HMOEC_PACK_GROUP_BYTES,
  HMOEC_PACK_FIRST_COLUMN,
  HMOEC_PACK_FIRST_ROW,
  HMOEC_PACK_PART_ROWS,
  HMOEC_PACK_OPERAND_DEPTH,
  HMOEC_PACK_FORMAT,
  HMOEC_PACK_SOURCE_GENERATED,
  HMOEC_PACK_GENERATED_FORMAT,
  HMOEC_PACK_BETWEEN,
  HMOEC_PACK_GENERATED_LAYOUT,
  HMOEC_PACK_ARGS
} hmoec_pack_arg;
enum { HMOEC_COPY_ARGS = 7 }; /* of hmk.copy */

/* ---- buffers ---- */

/* What a buffer is for, which is all that planning says of it. Items are its first axis, counted by a dimension or not. */
typedef enum hmoec_role {
  HMOEC_ROLE_PLAIN = 0, /* [items, ...]: as what is outside of the plan has it, without gaps: inputs, outputs, parameters, ids */
  HMOEC_ROLE_ROWS, /* [rows, columns]: values that steps write and read */
  HMOEC_ROLE_RIGHT, /* [groups, depth, columns]: right operands of products */
  HMOEC_ROLE_VECTOR, /* [groups, columns] of f32: a number for each column of a product, or of rows */
  HMOEC_ROLE_TABLE, /* [1, rows, columns] of f32: rows that are looked up, without gaps */
  HMOEC_ROLE_KEYS, /* [positions, heads, head size] of f32 */
  HMOEC_ROLE_VALUES, /* the same */
  HMOEC_ROLE_DISTANCES, /* [heads, most distance] of f32: the bias of every relative position */
  HMOEC_ROLE_COUNT
} hmoec_role;

/* Names by role, then NULL: "plain". */
extern const char *const hmoec_role_names[];
/* How many axes a role has; 0: any number. */
int64_t hmoec_role_rank(hmoec_role role);

/* ---- what `place` sets ---- */

/* The number of an entry dimension of a function: found in hmk.dims, or added; -1: no memory. */
int64_t hmoec_hmk_dim(MlirOperation function, int64_t kind, int64_t source, int64_t factor);
void hmoec_hmk_set_int(MlirOperation op, const char *name, int64_t value);
/* The op's schedule: named integers, {row_block = 64}. One that it does not have is 0. */
void hmoec_hmk_schedule_set(MlirOperation op, const char *const *names, const int64_t *values, size_t count);
int64_t hmoec_hmk_schedule(MlirOperation op, const char *name);
/* What its layout is, in the same form. Of buffers: row_bytes, from an item to the next; slack_rows, readable behind the last, if any; offset, of a weight in
 * the arena and of what is in a cache. */
void hmoec_hmk_layout_set(MlirOperation op, const char *const *names, const int64_t *values, size_t count);
int64_t hmoec_hmk_layout(MlirOperation op, const char *name);

#endif
