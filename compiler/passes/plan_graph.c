/* What is known of the graph, whatever is planned: numbers of ops, what they are to each other and to the entry at hand. */
#include "passes/plan.h"

#include <mlir-c/BuiltinAttributes.h>

int64_t plan_columns(MlirValue value) {
  hmoec_shape shape = hmoec_value_shape(value);
  return shape.dims[shape.rank - 1];
}

hmoec_activation plan_activation(const plan_graph *graph, MlirStringRef name) {
  return hmoec_activation_find(&graph->functions, name.data, name.length);
}

bool plan_is_per_set(MlirOperation op) {
  return !mlirAttributeIsNull(mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("hmoe.per_set")));
}

/* ---- ops of the entry at hand ---- */

size_t plan_op_number(const plan_graph *graph, MlirOperation op) {
  return mlirOperationIsNull(op) ? HMOEC_NO_NUMBER : hmoec_pointer_map_get(&graph->op_at, op.ptr);
}

bool plan_is_member(const planner *p, MlirOperation op) {
  size_t number = plan_op_number(&p->graph, op);
  return p->here.entry && number != HMOEC_NO_NUMBER && p->here.entry->member[number];
}

bool plan_is_reader(const planner *p, MlirOperation op) {
  return hmoec_op_is(op, "func.return") || plan_is_member(p, op) || (p->here.entry->kind == PLAN_PREPARE && plan_is_cross(p, op));
}

/* ---- what depends on what is generated ---- */

bool plan_is_attention(MlirOperation op) { return hmoec_op_is(op, "hmoe.attention"); }

bool plan_depends(const planner *p, MlirValue value) {
  MlirOperation op = hmoec_defining_op(value);
  if (!mlirOperationIsNull(op)) {
    size_t number = plan_op_number(&p->graph, op);
    return number != HMOEC_NO_NUMBER && p->graph.depends[number];
  }
  plan_rows rows = plan_model_rows(p, value); /* an argument: known since find_rows */
  return p->graph.target_length >= 0 && rows.batch == p->graph.target_batch && rows.length == p->graph.target_length;
}

bool plan_is_cross(const planner *p, MlirOperation op) {
  return plan_is_attention(op) && plan_depends(p, mlirOperationGetOperand(op, 0)) &&
         !plan_depends(p, mlirOperationGetOperand(op, 1));
}

MlirValue plan_attention_bias(MlirOperation op) {
  return hmoec_op_int(op, "biased") ? mlirOperationGetOperand(op, 3) : (MlirValue){NULL};
}

MlirValue plan_attention_mask(MlirOperation op) {
  intptr_t at = 3 + (hmoec_op_int(op, "biased") != 0);
  return mlirOperationGetNumOperands(op) > at ? mlirOperationGetOperand(op, at) : (MlirValue){NULL};
}

/* ---- linears ---- */

/* A factor of a product of two linears, activated or not, that nothing else reads. */
static bool is_factor(MlirValue value) {
  if (mlirOperationIsNull(hmoec_single_user(value))) return false;
  MlirOperation op = hmoec_defining_op(value);
  if (!mlirOperationIsNull(op) && hmoec_op_is(op, "hmoe.activate")) {
    value = mlirOperationGetOperand(op, 0);
    op = hmoec_defining_op(value);
  }
  return !mlirOperationIsNull(op) && hmoec_op_is(op, "hmoe.linear") && !mlirOperationIsNull(hmoec_single_user(value));
}

bool plan_is_product_of_linears(MlirOperation multiply) {
  return is_factor(mlirOperationGetOperand(multiply, 0)) && is_factor(mlirOperationGetOperand(multiply, 1));
}

MlirOperation plan_tied_linear(MlirValue table) {
  for (MlirOpOperand use = mlirValueGetFirstUse(table); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use)) {
    MlirOperation user = mlirOpOperandGetOwner(use);
    if (hmoec_op_is(user, "hmoe.linear") && mlirOpOperandGetOperandNumber(use) == 1 && !hmoec_op_at_open(user)) return user;
  }
  return (MlirOperation){NULL};
}
