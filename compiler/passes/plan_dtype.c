/* Which products are bf16 with --dtype bf16: those over tokens, whose weights are most of the bytes.
 *
 * f32 stay what decides or conditions instead of carrying the result: everything at open and per selection set, and every chain of row-wise
 * ops that ends in a route or in a generator. Rounding there would pick other experts, or be multiplied by all of what is generated. */
#include "passes/plan.h"

#include <stdlib.h>

#include <mlir-c/BuiltinAttributes.h>

#define MARK "hmoe.f32"

static bool is_marked(MlirOperation op) {
  return !mlirAttributeIsNull(mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString(MARK)));
}

static bool is_row_wise(MlirOperation op) {
  return hmoec_op_is(op, "hmoe.linear") || hmoec_op_is(op, "hmoe.activate") || hmoec_op_is(op, "hmoe.add") ||
         hmoec_op_is(op, "hmoe.multiply") || hmoec_op_is(op, "hmoe.scale") || hmoec_op_is(op, "hmoe.append_row");
}

/* Users come after an op, so that a walk backwards finds them marked. */
static bool leads_to_f32(MlirOperation op) {
  for (intptr_t r = 0; r < mlirOperationGetNumResults(op); r++)
    for (MlirOpOperand use = mlirValueGetFirstUse(mlirOperationGetResult(op, r)); !mlirOpOperandIsNull(use);
         use = mlirOpOperandGetNextUse(use)) {
      MlirOperation user = mlirOpOperandGetOwner(use);
      unsigned operand = mlirOpOperandGetOperandNumber(use);
      if (hmoec_op_is(user, "hmoe.route") || (hmoec_op_is(user, "hmoe.hypernetwork") && operand == 0) ||
          (hmoec_op_is(user, "hmoe.factored_hyper_expert") && operand == 1) || (is_row_wise(user) && is_marked(user)))
        return true;
    }
  return false;
}

static bool mark_block(MlirOperation function, MlirBlock block, void *user) {
  (void)user;
  size_t count;
  MlirOperation *ops = hmoec_block_ops(block, &count);
  if (!ops) return false;
  MlirAttribute mark = mlirUnitAttrGet(mlirOperationGetContext(function));
  for (size_t i = count; i-- > 0;)
    if (is_row_wise(ops[i]) && (plan_at_open(ops[i]) || leads_to_f32(ops[i])))
      mlirOperationSetAttributeByName(ops[i], mlirStringRefCreateFromCString(MARK), mark);
  free(ops);
  return true;
}

bool hmoec_mark_f32(MlirModule module) { return hmoec_each_function(module, mark_block, NULL); }

bool hmoec_product_may_be_bf16(MlirOperation op) { return !plan_at_open(op) && !is_marked(op); }

bool plan_is_bf16(const planner *p, MlirOperation op) {
  return p->options->dtype == HMOEC_DTYPE_BF16 && hmoec_product_may_be_bf16(op);
}
