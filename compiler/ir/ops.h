/* The hmoe dialect as a table: operands, attributes and the shape rule of every op.
 *
 * One row serves three readers: the builder (makes ops and infers their result types), the verifier (checks what IRDL cannot say)
 * and tools that list ops. The equations are in dialects/hmoe.irdl.mlir.
 *
 * Ops with several optional operands carry operandSegmentSizes (hypernetwork: resultSegmentSizes too): an IRDL variadic would force all
 * of them to one type. hmoec_op_build derives both from the operand count (fused_experts: and its two flags), so callers just pass the
 * operands that are there, in order. take_row (made by passes) is part of the table. */
#ifndef HMOEC_IR_OPS_H
#define HMOEC_IR_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mlir-c/IR.h>

#include "support/diagnostics.h"

#define HMOEC_MAX_OPERANDS 16
#define HMOEC_MAX_ATTRIBUTES 8
/* Elements of one tensor, a dynamic dimension counted as 1. Far above what a machine holds; padded layouts of several such tensors
 * still have their bytes in 63 bits. */
#define HMOEC_MOST_ELEMENTS (INT64_C(1) << 44)
#define HMOEC_MOST_SLOTS (1 << 24) /* selection sets that a cache holds */
#define HMOEC_MOST_KEY 255 /* characters of a checkpoint key, alternatives included: what the runtime takes */

MlirType hmoec_shape_to_type(MlirContext context, const hmoec_shape *shape);
/* False if the type is not a ranked tensor of a supported element and rank <= HMOEC_MAX_RANK. */
bool hmoec_shape_from_type(MlirType type, hmoec_shape *out_shape);
/* Equal, or differing only where one side is dynamic. */
bool hmoec_dim_compatible(int64_t a, int64_t b);

typedef struct hmoec_attribute_info {
  const char *name;
  hmoec_attribute_kind kind;
  bool required;
  const char *const *choices; /* STRING: allowed values, NULL-terminated; NULL: any */
  int64_t minimum, maximum;   /* INT; also the range of each element of INTS */
  const char *default_text;   /* STRING default, NULL: none */
  int64_t default_int;
  double default_number;      /* FLOAT */
  unsigned arities;           /* STRING: bit i: beside the choices, a scalar function of i arguments (ir/scalar.h) may be named */
  bool omitted;               /* INT: not written where it has its default; not in the IRDL definition, which would ask for it */
} hmoec_attribute_info;

/* What a shape rule sees and fills. */
typedef struct hmoec_inference {
  const struct hmoec_op_info *info;
  hmoec_diagnostics *diagnostics;
  hmoec_location location;
  size_t operand_count;
  hmoec_shape operands[HMOEC_MAX_OPERANDS];
  hmoec_attribute attributes[HMOEC_MAX_ATTRIBUTES]; /* one per info attribute, defaults filled in */
  size_t result_count;
  hmoec_shape results[HMOEC_MAX_RESULTS];
} hmoec_inference;

typedef struct hmoec_op_info {
  const char *name;                 /* "linear"; the op is "hmoe.linear" */
  const char *operands[HMOEC_MAX_OPERANDS + 1]; /* names; from `optional_from` on they come all, or as many as legal_counts says */
  size_t required_operands;
  unsigned legal_counts; /* bit i: i operands are legal; 0: exactly required_operands */
  hmoec_attribute_info attributes[HMOEC_MAX_ATTRIBUTES + 1];
  bool (*infer)(hmoec_inference *inference);
  bool from_spec; /* may be written in a spec; the others are made by passes */
  const char *
      first_optional; /* the attribute that says whether the first of several optional operands is there, each of which may be; or NULL */
  bool operand_segments; /* several optional operands: carries operandSegmentSizes, one 0 or 1 for each of `operands` */
  size_t result_segments; /* results when all are there: carries resultSegmentSizes; 0: none is optional */
} hmoec_op_info;

/* The row of an op by its short name ("linear"), or NULL. */
const hmoec_op_info *hmoec_op_info_find(const char *name);
const hmoec_op_info *hmoec_op_info_at(size_t index); /* NULL past the end */

/* Attribute accessors on ops that were verified. */
int64_t hmoec_op_int(MlirOperation op, const char *name);
double hmoec_op_number(MlirOperation op, const char *name);
MlirStringRef hmoec_op_string(MlirOperation op, const char *name);
bool hmoec_op_is(MlirOperation op, const char *full_name);
bool hmoec_op_string_is(MlirOperation op, const char *name, const char *value);

/* Builds one op at the end of `block`. Operand and attribute checks and the shape rule run first; errors go to the sink at `location`.
 * results: at least HMOEC_MAX_RESULTS. Returns the op, null on error. insert_before: null = append. */
MlirOperation hmoec_op_build(MlirContext context, hmoec_diagnostics *diagnostics, MlirBlock block, MlirOperation insert_before,
                             MlirLocation location, const char *name, const MlirValue *operands, size_t operand_count,
                             const hmoec_attribute *attributes, size_t attribute_count);

/* The one op whose result type cannot be inferred: a tensor of the checkpoint. count = 0: `key` itself, or the first of several, each on
 * a line, that the checkpoint has; count > 0: key holds one "{}" and `result` is the stack [count, ...]. Checks and errors as for hmoec_op_build. */
MlirOperation hmoec_parameter_build(MlirContext context, hmoec_diagnostics *diagnostics, MlirBlock block,
                                    MlirOperation insert_before, MlirLocation location, const char *key, int64_t count,
                                    const hmoec_shape *result);

/* Checks every hmoe op of a module against the table, the entry function's form (names on arguments and results), and that result
 * types are what the rules infer. Reports all errors. */
bool hmoec_verify(MlirModule module, hmoec_diagnostics *diagnostics);

/* C(n, k), or INT64_MAX when it does not fit. */
int64_t hmoec_binomial(int64_t n, int64_t k);

#endif
