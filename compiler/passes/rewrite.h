/* What rewrites on the hmoe dialect share: finding entry functions, following uses, and rebuilding ops through the op table so that
 * result types are inferred again. Rewrites edit the block directly in program order: the dialect is pure SSA in one block, so a
 * worklist driver would add nothing but an order that is harder to follow. */
#ifndef HMOEC_PASSES_REWRITE_H
#define HMOEC_PASSES_REWRITE_H

#include "ir/ops.h"

/* Where new ops go: before `before` in its block, at its location. */
typedef struct hmoec_rewriter {
  MlirContext context;
  hmoec_diagnostics *diagnostics;
  MlirBlock block;
  MlirOperation before;
} hmoec_rewriter;

hmoec_rewriter hmoec_rewriter_before(MlirOperation op, hmoec_diagnostics *diagnostics);

/* Calls visit on the body block of every func.func; false if any call was, after all of them. */
bool hmoec_each_function(MlirModule module, bool (*visit)(MlirOperation function, MlirBlock body, void *user), void *user);

/* Builds an op; null with a diagnostic on failure. */
MlirOperation hmoec_rewriter_op(hmoec_rewriter *rewriter, const char *name, const MlirValue *operands, size_t operand_count,
                                const hmoec_attribute *attributes, size_t attribute_count);
/* `op` again with other operands; its result types are inferred anew. */
MlirOperation hmoec_rewriter_clone(hmoec_rewriter *rewriter, MlirOperation op, const MlirValue *operands);

/* Whether an op may stand in the chain from a selection to the generator that it conditions: what it gives for one selection set follows
 * from that set alone, and kernels can run it so. Chains from tokens to a route are of the same ops. */
static inline bool hmoec_op_is_link(MlirOperation op) {
  return hmoec_op_has(op, HMOEC_OP_ROW_WISE) && hmoec_op_has(op, HMOEC_OP_PER_SET);
}
/* The op that makes a value; null for a block argument. */
MlirOperation hmoec_defining_op(MlirValue value);
/* The only user of a value; null if it has none or several (one op using it twice counts as several). */
MlirOperation hmoec_single_user(MlirValue value);
bool hmoec_value_unused(MlirValue value);
bool hmoec_op_unused(MlirOperation op); /* none of its results is used */
hmoec_shape hmoec_value_shape(MlirValue value);

/* Ops of a block in order, malloc'd; the caller frees. */
MlirOperation *hmoec_block_ops(MlirBlock block, size_t *out_count);

static inline hmoec_attribute hmoec_int_attribute(const char *name, int64_t value) {
  return (hmoec_attribute){.name = name, .kind = HMOEC_ATTRIBUTE_INT, .integer = value};
}
static inline hmoec_attribute hmoec_string_attribute(const char *name, const char *value) {
  return (hmoec_attribute){.name = name, .kind = HMOEC_ATTRIBUTE_STRING, .string = value};
}

#endif
