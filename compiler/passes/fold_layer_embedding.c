/* fold-layer-embedding: the layer's row of the embedding table is a constant, so its part of the next product is a bias.
 *
 *   linear(append_row(x, table) {row}, w, c)
 *     ->  linear(x, w[:, :a], reshape(linear(take_row(table) {row}, w[:, a:], c)))          x [T, a], w [H, a + l]
 *
 * Applies to every linear on an append_row; other users of the append_row keep it. Requires and keeps verified IR. */
#include "passes/passes.h"

#include <stdlib.h>

#include "passes/rewrite.h"

static bool rewrite_linear(MlirOperation linear, hmoec_diagnostics *diagnostics) {
  MlirOperation append = hmoec_defining_op(mlirOperationGetOperand(linear, 0));
  if (mlirOperationIsNull(append) || !hmoec_op_is(append, "hmoe.append_row")) return true;
  hmoec_rewriter rewriter = hmoec_rewriter_before(linear, diagnostics);
  MlirValue x = mlirOperationGetOperand(append, 0), table = mlirOperationGetOperand(append, 1),
            w = mlirOperationGetOperand(linear, 1);
  int64_t a = hmoec_value_shape(x).dims[1], out = hmoec_value_shape(w).dims[0], total = hmoec_value_shape(w).dims[1];

  MlirOperation row = hmoec_rewriter_op(&rewriter, "take_row", &table, 1,
                                        (hmoec_attribute[]){hmoec_int_attribute("row", hmoec_op_int(append, "row"))}, 1);
  MlirOperation left = hmoec_rewriter_op(&rewriter, "slice", &w, 1,
                                         (hmoec_attribute[]){hmoec_int_attribute("begin", 0), hmoec_int_attribute("end", a)}, 2);
  MlirOperation right = hmoec_rewriter_op(
      &rewriter, "slice", &w, 1, (hmoec_attribute[]){hmoec_int_attribute("begin", a), hmoec_int_attribute("end", total)}, 2);
  if (mlirOperationIsNull(row) || mlirOperationIsNull(left) || mlirOperationIsNull(right)) return false;

  MlirValue constant_operands[3] = {mlirOperationGetResult(row, 0), mlirOperationGetResult(right, 0)};
  size_t operand_count = (size_t)mlirOperationGetNumOperands(linear);
  if (operand_count == 3) constant_operands[2] = mlirOperationGetOperand(linear, 2);
  MlirOperation constant = hmoec_rewriter_op(&rewriter, "linear", constant_operands, operand_count, NULL, 0);
  if (mlirOperationIsNull(constant)) return false;
  MlirValue constant_row = mlirOperationGetResult(constant, 0);
  MlirOperation bias =
      hmoec_rewriter_op(&rewriter, "reshape", &constant_row, 1,
                        (hmoec_attribute[]){{.name = "shape", .kind = HMOEC_ATTRIBUTE_INTS, .ints = &out, .int_count = 1}}, 1);
  if (mlirOperationIsNull(bias)) return false;
  MlirValue folded_operands[3] = {x, mlirOperationGetResult(left, 0), mlirOperationGetResult(bias, 0)};
  MlirOperation folded = hmoec_rewriter_op(&rewriter, "linear", folded_operands, 3, NULL, 0);
  if (mlirOperationIsNull(folded)) return false;
  mlirValueReplaceAllUsesOfWith(mlirOperationGetResult(linear, 0), mlirOperationGetResult(folded, 0));
  mlirOperationDestroy(linear);
  if (hmoec_op_unused(append)) mlirOperationDestroy(append);
  return true;
}

static bool visit(MlirOperation function, MlirBlock block, void *user) {
  (void)function;
  size_t count;
  MlirOperation *ops = hmoec_block_ops(block, &count);
  bool ok = ops != NULL;
  for (size_t i = 0; ok && i < count; i++)
    if (hmoec_op_is(ops[i], "hmoe.linear")) ok = rewrite_linear(ops[i], user);
  free(ops);
  return ok;
}

bool hmoec_fold_layer_embedding(MlirModule module, hmoec_pass_options *options, hmoec_diagnostics *diagnostics) {
  (void)options;
  return hmoec_each_function(module, visit, diagnostics);
}
