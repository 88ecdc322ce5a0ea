#include "commands/model_cost.h"

#include "passes/rewrite.h"

bool hmoec_op_at_open(MlirOperation op) {
  return !mlirAttributeIsNull(mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("at_open")));
}

static double elements(MlirValue value, int64_t tokens) {
  hmoec_shape shape = hmoec_value_shape(value);
  double count = 1;
  for (int64_t d = 0; d < shape.rank; d++) count *= (double)(shape.dims[d] == HMOEC_DYNAMIC ? tokens : shape.dims[d]);
  return count;
}

bool hmoec_op_per_set(MlirOperation op) {
  while (!hmoec_op_at_open(op) && mlirOperationGetNumOperands(op) > 0 && !hmoec_op_is(op, "hmoe.indexed_hyper_expert")) {
    MlirValue first = mlirOperationGetOperand(op, 0);
    MlirOperation source = hmoec_defining_op(first);
    if (mlirOperationIsNull(source)) return false;
    if (hmoec_op_is(source, "hmoe.distinct_selections")) return mlirValueEqual(first, mlirOperationGetResult(source, 0));
    op = source;
  }
  return false;
}

/* Bytes of all operands that are parameters or computed at open, and of those that are per run. What is generated per run is stored as the
 * product that reads it wants it. */
static void add_bytes(MlirOperation op, int64_t tokens, hmoec_dtype dtype, hmoec_cost *c) {
  bool bf16 = dtype == HMOEC_DTYPE_BF16 && hmoec_product_may_be_bf16(op), generates = hmoec_op_is(op, "hmoe.hypernetwork");
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) {
    MlirValue operand = mlirOperationGetOperand(op, i);
    MlirOperation source = hmoec_defining_op(operand);
    bool constant = !mlirOperationIsNull(source) && hmoec_op_at_open(source);
    bool weight = constant || (!mlirOperationIsNull(source) && hmoec_op_is(source, "hmoe.hypernetwork"));
    bool halved = bf16 && weight && hmoec_value_shape(operand).rank > 1;
    *(constant ? &c->weight_bytes : &c->moved_bytes) += (halved ? 2 : 4) * elements(operand, tokens);
  }
  for (intptr_t i = 0; i < mlirOperationGetNumResults(op); i++)
    c->moved_bytes += (generates && dtype == HMOEC_DTYPE_BF16 ? 2 : 4) * elements(mlirOperationGetResult(op, i), tokens);
}

/* FLOPs of the products of an op; 2 a multiply-add. Elementwise work is not counted. */
static double op_flops(MlirOperation op, int64_t tokens) {
  hmoec_shape first = mlirOperationGetNumOperands(op) ? hmoec_value_shape(mlirOperationGetOperand(op, 0)) : (hmoec_shape){0};
  double rows = first.rank && first.dims[0] != HMOEC_DYNAMIC ? (double)first.dims[0] : (double)tokens;
  if (hmoec_op_is(op, "hmoe.linear")) return 2 * rows * elements(mlirOperationGetOperand(op, 1), tokens);
  if (hmoec_op_is(op, "hmoe.experts")) {
    hmoec_shape wi = hmoec_value_shape(mlirOperationGetOperand(op, 3)), indices = hmoec_value_shape(mlirOperationGetOperand(op, 1));
    return 4 * rows * (double)indices.dims[1] * (double)wi.dims[1] * (double)wi.dims[2];
  }
  if (hmoec_op_is(op, "hmoe.fused_experts")) {
    hmoec_shape wi = hmoec_value_shape(mlirOperationGetOperand(op, 4)), down = hmoec_value_shape(mlirOperationGetOperand(op, 6));
    return 4 * rows * (double)wi.dims[2] * (double)(wi.dims[1] + down.dims[2]);
  }
  if (hmoec_op_is(op, "hmoe.hypernetwork")) {
    hmoec_shape wd = hmoec_value_shape(mlirOperationGetOperand(op, 1));
    return 4 * rows * (double)wd.dims[0] * (double)wd.dims[1];
  }
  if (hmoec_op_is(op, "hmoe.hyper_expert") || hmoec_op_is(op, "hmoe.indexed_hyper_expert")) {
    hmoec_shape down = hmoec_value_shape(mlirOperationGetOperand(op, hmoec_op_is(op, "hmoe.hyper_expert") ? 1 : 2));
    return 4 * rows * (double)down.dims[1] * (double)down.dims[2];
  }
  if (hmoec_op_is(op, "hmoe.factored_hyper_expert")) {
    hmoec_shape wd = hmoec_value_shape(mlirOperationGetOperand(op, 2));
    return 4 * rows * (double)wd.dims[0] * (double)(wd.dims[1] + 1);
  }
  return 0;
}

hmoec_cost hmoec_op_cost(MlirOperation op, int64_t tokens, hmoec_dtype dtype) {
  int64_t rows = hmoec_op_per_set(op) ? 1 : tokens;
  hmoec_cost cost = {.flops = op_flops(op, rows)};
  add_bytes(op, rows, dtype, &cost);
  return cost;
}

typedef struct total {
  int64_t tokens;
  double flops;
} total;

static bool add_flops(MlirOperation function, MlirBlock block, void *user) {
  (void)function;
  total *t = user;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op))
    if (!hmoec_op_at_open(op) && !hmoec_op_per_set(op) && hmoec_op_info_of(op)) t->flops += op_flops(op, t->tokens);
  return true;
}

double hmoec_model_flops(MlirModule module, int64_t tokens) {
  total t = {.tokens = tokens};
  hmoec_each_function(module, add_flops, &t);
  return t.flops;
}
