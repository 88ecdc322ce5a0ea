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

/* Users come after an op, so that a walk backwards finds them marked. */
static bool leads_to_f32(MlirOperation op) {
  for (intptr_t r = 0; r < mlirOperationGetNumResults(op); r++)
    for (MlirOpOperand use = mlirValueGetFirstUse(mlirOperationGetResult(op, r)); !mlirOpOperandIsNull(use);
         use = mlirOpOperandGetNextUse(use)) {
      MlirOperation user = mlirOpOperandGetOwner(use);
      if (!hmoec_op_info_of(user)) continue; /* it is returned */
      bool conditions = hmoec_operand_kind_of(user, mlirOpOperandGetOperandNumber(use)) == HMOEC_OPERAND_CONDITION;
      if (conditions || (hmoec_op_is_link(user) && is_marked(user))) return true;
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
    if (hmoec_op_is_link(ops[i]) && (plan_at_open(ops[i]) || leads_to_f32(ops[i])))
      mlirOperationSetAttributeByName(ops[i], mlirStringRefCreateFromCString(MARK), mark);
  free(ops);
  return true;
}

bool hmoec_mark_f32(MlirModule module) { return hmoec_each_function(module, mark_block, NULL); }

bool hmoec_product_may_be_bf16(MlirOperation op) { return !plan_at_open(op) && !is_marked(op); }

bool plan_is_bf16(const planner *p, MlirOperation op) {
  return p->options->dtype == HMOEC_DTYPE_BF16 && hmoec_product_may_be_bf16(op);
}
