#include "library/model_cost.h"

#include "passes/rewrite.h"

bool hmoec_op_at_open(MlirOperation op) {
  return !mlirAttributeIsNull(mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("at_open")));
}

/* Dimensions known at run time are tokens; two of them, at the front, are batch rows of tokens. */
static double elements(MlirValue value, int64_t tokens) {
  hmoec_shape shape = hmoec_value_shape(value);
  double count = 1;
  for (int64_t d = 0; d < shape.rank; d++) {
    bool counted = d > 0 && shape.dims[d - 1] == HMOEC_DYNAMIC;
    if (shape.dims[d] != HMOEC_DYNAMIC) count *= (double)shape.dims[d];
    else if (!counted) count *= (double)tokens;
  }
  return count;
}

static double bytes_of(MlirValue value) { return hmoec_value_shape(value).element == HMOEC_I64 ? 8 : 4; }

/* The rows that a lookup takes of its table, which is not read as a whole. */
static bool looks_up(MlirOperation op) { return hmoec_op_is(op, "hmoe.embedding") || hmoec_op_is(op, "hmoe.position_embedding"); }

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
    double count = elements(operand, tokens), read = looks_up(op) ? elements(mlirOperationGetResult(op, 0), tokens) : count;
    *(constant ? &c->weight_bytes : &c->moved_bytes) +=
        (halved ? 2 : bytes_of(operand)) * (constant && read < count ? read : count);
  }
  for (intptr_t i = 0; i < mlirOperationGetNumResults(op); i++)
    c->moved_bytes += (generates && dtype == HMOEC_DTYPE_BF16 ? 2 : 4) * elements(mlirOperationGetResult(op, i), tokens);
}

/* Rows of an op's first operand: all dimensions but the last. */
static double rows_of(MlirOperation op, int64_t tokens) {
  if (!mlirOperationGetNumOperands(op)) return (double)tokens;
  hmoec_shape first = hmoec_value_shape(mlirOperationGetOperand(op, 0));
  if (first.rank == 3) return elements(mlirOperationGetOperand(op, 0), tokens) / (double)first.dims[2];
  return first.rank && first.dims[0] != HMOEC_DYNAMIC ? (double)first.dims[0] : (double)tokens;
}

/* FLOPs of the products of an op; 2 a multiply-add. Elementwise work is not counted. Attention is counted as if no key were masked. */
static double op_flops(MlirOperation op, hmoec_run_size size) {
  int64_t tokens = size.tokens;
  double rows = rows_of(op, tokens);
  if (hmoec_op_is(op, "hmoe.attention")) {
    hmoec_shape q = hmoec_value_shape(mlirOperationGetOperand(op, 0)), k = hmoec_value_shape(mlirOperationGetOperand(op, 1));
    double batch = q.dims[0] == HMOEC_DYNAMIC ? (double)(size.rows > 0 ? size.rows : 1) : (double)q.dims[0];
    double keys = k.dims[1] == HMOEC_DYNAMIC ? (double)tokens / batch : (double)k.dims[1];
    return 4 * rows * keys * (double)q.dims[2];
  }
  if (hmoec_op_is(op, "hmoe.gated_experts")) {
    hmoec_shape wi = hmoec_value_shape(mlirOperationGetOperand(op, 3)), indices = hmoec_value_shape(mlirOperationGetOperand(op, 1));
    return 6 * rows * (double)indices.dims[1] * (double)wi.dims[1] * (double)wi.dims[2];
  }
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

hmoec_cost hmoec_op_cost(MlirOperation op, hmoec_run_size size, hmoec_dtype dtype) {
  if (hmoec_op_per_set(op)) size = (hmoec_run_size){1, 1};
  hmoec_cost cost = {.flops = op_flops(op, size)};
  add_bytes(op, size.tokens, dtype, &cost);
  return cost;
}

typedef struct total {
  hmoec_run_size size;
  double flops;
} total;

static bool add_flops(MlirOperation function, MlirBlock block, void *user) {
  (void)function;
  total *t = user;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op))
    if (!hmoec_op_at_open(op) && !hmoec_op_per_set(op) && hmoec_op_info_of(op)) t->flops += op_flops(op, t->size);
  return true;
}

double hmoec_model_flops(MlirModule module, hmoec_run_size size) {
  total t = {.size = size};
  hmoec_each_function(module, add_flops, &t);
  return t.flops;
}
