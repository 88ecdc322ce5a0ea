/* The hmoe dialect as a table: operands, attributes and the shape rule of every op.
 *
 * One row serves three readers: the builder (makes ops and infers their result types), the verifier (checks what IRDL cannot say)
 * and tools that list ops. The equations are in dialects/hmoe.irdl.mlir.
 *
 * Ops with several optional operands carry operandSegmentSizes (hypernetwork: resultSegmentSizes too): an IRDL variadic would force all
 * of them to one type. hmoec_op_build derives both from the operand count (fused experts: and their two flags), so callers just pass the
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
  int64_t minimum, maximum;   /* INT; also the range of each element of INTS; of FLOAT a minimum below 0: it may be negative */
  const char *default_text;   /* STRING default, NULL: none */
  int64_t default_int;
  double default_number;      /* FLOAT */
  unsigned arities;           /* STRING: bit i: beside the choices, a scalar function of i arguments (ir/scalar.h) may be named */
  bool omitted; /* INT, STRING, FLOAT: not written where it has its default; not in the IRDL definition, which would ask for it */
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

/* What kernels ask of an operand. */
typedef enum hmoec_operand_kind {
  HMOEC_OPERAND_ROWS = 0,  /* one row a token, or a selection set, or anything that is computed */
  HMOEC_OPERAND_CONDITION, /* rows that decide or condition, instead of carrying the result: they are computed in f32 */
  HMOEC_OPERAND_INDICES, /* picks of experts: they index the first operand after them that is not of rows, or `experts` experts */
  HMOEC_OPERAND_KNOWN, /* depends on parameters alone */
  HMOEC_OPERAND_PARAMETER, /* is a parameter */
} hmoec_operand_kind;

/* What a parameter is to the op that reads it: how large random ones are. */
typedef enum hmoec_operand_role {
  HMOEC_ROLE_EMBEDDING = 0,
  HMOEC_ROLE_MATRIX,
  HMOEC_ROLE_BIAS,
  HMOEC_ROLE_WO,
  HMOEC_ROLE_DOWN,
  HMOEC_ROLE_DOWN_BIAS,
  HMOEC_ROLE_UP,
  HMOEC_ROLE_UP_BIAS,
  HMOEC_ROLE_DEPTHWISE,
  HMOEC_ROLE_POINTWISE,
  HMOEC_ROLE_NORM,
  HMOEC_ROLE_POSITION,
  HMOEC_ROLE_DISTANCE
} hmoec_operand_role;

typedef struct hmoec_operand_info {
  const char *name; /* NULL: past the last */
  hmoec_operand_kind kind;
  hmoec_operand_role role;
} hmoec_operand_info;

/* Facts about an op, for those that would ask for its name. */
enum {
  HMOEC_OP_ROW_WISE = 1 << 0, /* row r of the result is made of row r of each operand of rows, whatever the other rows are */
  HMOEC_OP_NORM = 1 << 1, /* it normalises rows by their own statistics */
  HMOEC_OP_VIEW = 1 << 2, /* its result is its first operand, or a part of it, seen otherwise: nothing is computed */
  HMOEC_OP_PRODUCT = 1 << 3, /* rows of its first operand by a matrix that all rows share */
  HMOEC_OP_GROUPED = 1 << 4, /* rows of its first operand by matrices of the experts that were picked for them */
  HMOEC_OP_LOOKUP = 1 << 5, /* takes rows of its second operand, which is not read as a whole */
  HMOEC_OP_AT_OPEN = 1 << 6, /* kernels can run it when a model is opened */
  HMOEC_OP_PER_SET = 1 << 7, /* kernels can run it once a distinct selection set */
  HMOEC_OP_WEIGHTED = 1 << 8, /* a HyperExpert: its weights are what a hypernetwork generates */
};

/* factor * the product of `count` sizes: each is a dimension of an operand. factor 0: no term. */
typedef struct hmoec_flops_term {
  int factor, count;
  struct {
    int operand, dim;
  } sizes[3];
} hmoec_flops_term;

typedef struct hmoec_op_info {
  const char *name; /* "linear"; the op is "hmoe.linear" */
  hmoec_operand_info operands[HMOEC_MAX_OPERANDS + 1]; /* after the required ones they come all, or as many as legal_counts says */
  size_t required_operands;
  unsigned legal_counts; /* bit i: i operands are legal; 0: exactly required_operands */
  hmoec_attribute_info attributes[HMOEC_MAX_ATTRIBUTES + 1];
  unsigned facts; /* HMOEC_OP_... */
  bool (*infer)(hmoec_inference *inference);
  hmoec_flops_term flops[2]; /* of its products, a row of its first operand: the sum of the terms */
  bool from_spec; /* may be written in a spec; the others are made by passes */
  const char *
      first_optional; /* the attribute that says whether the first of several optional operands is there, each of which may be; or NULL */
  bool operand_segments; /* several optional operands: carries operandSegmentSizes, one 0 or 1 for each of `operands` */
  size_t result_segments; /* results when all are there: carries resultSegmentSizes; 0: none is optional */
} hmoec_op_info;

/* The row of an op by its short name ("linear"), or NULL. */
const hmoec_op_info *hmoec_op_info_find(const char *name);
const hmoec_op_info *hmoec_op_info_at(size_t index); /* NULL past the end */
/* The row of an op of a module; NULL for ops that are not of the hmoe dialect. */
const hmoec_op_info *hmoec_op_info_of(MlirOperation op);
/* Whether an op has this fact, HMOEC_OP_...; others than hmoe ops have none. */
bool hmoec_op_has(MlirOperation op, unsigned fact);
/* Whether it is experts and their HyperExpert in one. */
bool hmoec_op_is_fused(MlirOperation op);
/* Whether it runs once, when a model is opened: the mark of fold-parameters. */
bool hmoec_op_at_open(MlirOperation op);
/* Of an op of the table. */
hmoec_operand_kind hmoec_operand_kind_of(MlirOperation op, intptr_t operand);

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

/* The axis of a tensor of this rank that an attribute names; -1: there is none. */
static inline int64_t hmoec_axis(int64_t axis, int64_t rank) {
  if (axis < 0) axis += rank;
  return axis >= 0 && axis < rank ? axis : -1;
}

/* C(n, k), or INT64_MAX when it does not fit. */
int64_t hmoec_binomial(int64_t n, int64_t k);

#endif
