/* fold-parameters: marks every op that depends on parameters alone with `at_open`; the planner computes those once, when a model is
 * opened or packed, and never per run.
 *
 *   %w = parameter ; %y = linear(%w, ...)  ->  %y = linear(%w, ...) {at_open}
 *
 * This is what folds a HyperRouter: its hypernetwork reads an embedding and weights, so the router it generates is constant. It is also
 * what makes the table of a HyperExpert a table. Ops without operands that are not parameters (all_selections) are constant too.
 * Requires verified IR, changes no value. */
#include "passes/passes.h"

#include <mlir-c/BuiltinAttributes.h>
#include <stdlib.h>

#include "passes/rewrite.h"

static bool constant_value(MlirValue value) {
  MlirOperation op = hmoec_defining_op(value);
  return !mlirOperationIsNull(op) && hmoec_op_at_open(op);
}

static bool mark_block(MlirOperation function, MlirBlock block, void *user) {
  (void)function;
  (void)user;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
    if (!hmoec_op_info_of(op)) continue;
    bool constant = true;
    for (intptr_t i = 0; constant && i < mlirOperationGetNumOperands(op); i++)
      constant = constant_value(mlirOperationGetOperand(op, i));
    if (constant)
      mlirOperationSetAttributeByName(op, mlirStringRefCreateFromCString("at_open"), mlirUnitAttrGet(mlirOperationGetContext(op)));
  }
  return true;
}

bool hmoec_fold_parameters(MlirModule module, hmoec_pass_options *options, hmoec_diagnostics *diagnostics) {
  (void)options;
  (void)diagnostics;
  return hmoec_each_function(module, mark_block, NULL);
}
