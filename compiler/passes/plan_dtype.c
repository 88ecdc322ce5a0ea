/* Which products are computed in --dtype: those over tokens, whose weights are most of the bytes.
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
    if (hmoec_op_is_link(ops[i]) && (hmoec_op_at_open(ops[i]) || leads_to_f32(ops[i])))
      mlirOperationSetAttributeByName(ops[i], mlirStringRefCreateFromCString(MARK), mark);
  free(ops);
  return true;
}

bool hmoec_mark_f32(MlirModule module) { return hmoec_each_function(module, mark_block, NULL); }

static bool only_products_of_dtype_read(MlirValue value) {
  MlirOpOperand use = mlirValueGetFirstUse(value);
  bool any = !mlirOpOperandIsNull(use);
  for (; any && !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use)) {
    MlirOperation user = mlirOpOperandGetOwner(use);
    any = hmoec_op_is(user, "hmoe.linear") && mlirOpOperandGetOperandNumber(use) == 0 && hmoec_product_has_dtype(user);
  }
  return any;
}

/* Of two linears that multiply the first to run waits in the rows that the second multiplies, which are of the dtype if only products in it read
 * them, and the target does not pack rows (plan_rows_format). */
static bool waits_in_dtype(MlirOperation multiply, size_t factor) {
  plan_gates gates;
  if (!plan_is_product_of_linears(multiply) || plan_gates_of(multiply, &gates) ||
      !only_products_of_dtype_read(mlirOperationGetResult(multiply, 0)))
    return false;
  MlirOperation activation, linear = plan_factor_linear(mlirOperationGetOperand(multiply, (intptr_t)factor), &activation),
                            other = plan_factor_linear(mlirOperationGetOperand(multiply, 1 - (intptr_t)factor), &activation);
  while (!mlirOperationIsNull(linear) && !mlirOperationEqual(linear, other)) linear = mlirOperationGetNextInBlock(linear);
  return !mlirOperationIsNull(linear);
}

bool hmoec_products_round(MlirOperation op, size_t operand) {
  (void)operand;
  static const char *const products[] = {"hmoe.linear",
                                         "hmoe.experts",
                                         "hmoe.gated_experts",
                                         "hmoe.fused_experts",
                                         "hmoe.fused_gated_experts",
                                         "hmoe.hypernetwork",
                                         "hmoe.factored_hyper_expert"};
  if (hmoec_op_is(op, "hmoe.hyper_expert") || hmoec_op_is(op, "hmoe.indexed_hyper_expert")) return true;
  if (hmoec_op_is(op, "hmoe.embedding")) op = plan_tied_linear(mlirOperationGetOperand(op, 1));
  for (size_t i = 0; !mlirOperationIsNull(op) && i < sizeof products / sizeof *products; i++)
    if (hmoec_op_is(op, products[i])) return hmoec_product_has_dtype(op);
  return false;
}

bool hmoec_products_and_rows_round(MlirOperation op, size_t operand) {
  return hmoec_op_is(op, "hmoe.multiply") ? waits_in_dtype(op, operand) : hmoec_products_round(op, operand);
}

bool hmoec_product_has_dtype(MlirOperation op) { return !hmoec_op_at_open(op) && !is_marked(op); }

hmoec_format plan_format(const plan_graph *graph, MlirOperation op) {
  return hmoec_product_has_dtype(op) ? graph->options->dtype : HMOEC_FORMAT_F32;
}
