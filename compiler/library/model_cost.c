#include "library/model_cost.h"

#include "passes/rewrite.h"

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

static double bytes_of(MlirValue value, hmoec_format format) {
  hmoec_shape shape = hmoec_value_shape(value);
  if (shape.element == HMOEC_F32) return (double)hmoec_format_bytes(format, 1);
  return shape.element == HMOEC_I64 ? 8 : 4;
}

/* Matrices that products read are of the products' format, all else is as the model has it: tables that are looked up, biases and what makes them, which
 * are the operands that may be left out. */
static hmoec_format format_of(MlirOperation op, intptr_t operand, bool weight, hmoec_format dtype) {
  const hmoec_op_info *info = hmoec_op_info_of(op);
  bool matrix =
      weight && hmoec_value_shape(mlirOperationGetOperand(op, operand)).rank > 1 && operand < (intptr_t)info->required_operands;
  return matrix && hmoec_product_has_dtype(op) && hmoec_products_round(op, (size_t)operand) ? dtype : HMOEC_FORMAT_F32;
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
static void add_bytes(MlirOperation op, int64_t tokens, hmoec_format dtype, hmoec_cost *c) {
  bool generates = hmoec_op_is(op, "hmoe.hypernetwork");
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) {
    MlirValue operand = mlirOperationGetOperand(op, i);
    MlirOperation source = hmoec_defining_op(operand);
    bool constant = !mlirOperationIsNull(source) && hmoec_op_at_open(source);
    bool weight = constant || (!mlirOperationIsNull(source) && hmoec_op_is(source, "hmoe.hypernetwork"));
    double count = elements(operand, tokens),
           read = hmoec_op_has(op, HMOEC_OP_LOOKUP) ? elements(mlirOperationGetResult(op, 0), tokens) : count;
    *(constant ? &c->weight_bytes : &c->moved_bytes) +=
        bytes_of(operand, format_of(op, i, weight, dtype)) * (constant && read < count ? read : count);
  }
  for (intptr_t i = 0; i < mlirOperationGetNumResults(op); i++) {
    MlirValue result = mlirOperationGetResult(op, i);
    bool matrix = generates && hmoec_value_shape(result).rank > 2; /* one for each row */
    c->moved_bytes += (double)hmoec_format_bytes(matrix ? dtype : HMOEC_FORMAT_F32, 1) * elements(result, tokens);
  }
}

/* Rows of an op's first operand: all dimensions but the last. */
static double rows_of(MlirOperation op, int64_t tokens) {
  if (!mlirOperationGetNumOperands(op)) return (double)tokens;
  hmoec_shape first = hmoec_value_shape(mlirOperationGetOperand(op, 0));
  if (first.rank == 3) return elements(mlirOperationGetOperand(op, 0), tokens) / (double)first.dims[2];
  return first.rank && first.dims[0] != HMOEC_DYNAMIC ? (double)first.dims[0] : (double)tokens;
}

/* A dimension of an operand; of one known at run time its mean, since batch rows are equally long. */
static double size_of(MlirValue operand, int dim, hmoec_run_size size) {
  int64_t known = hmoec_value_shape(operand).dims[dim];
  if (known != HMOEC_DYNAMIC) return (double)known;
  double rows = (double)(size.rows > 0 ? size.rows : 1);
  return dim == 0 ? rows : (double)size.tokens / rows;
}

/* FLOPs of the products of an op; 2 a multiply-add. Elementwise work is not counted. Attention is counted as if no key were masked. */
static double op_flops(MlirOperation op, hmoec_run_size size) {
  const hmoec_op_info *info = hmoec_op_info_of(op);
  double sum = 0;
  for (size_t t = 0; t < sizeof info->flops / sizeof *info->flops; t++) {
    const hmoec_flops_term *term = &info->flops[t];
    double flops = term->factor;
    for (int i = 0; i < term->count; i++)
      flops *= size_of(mlirOperationGetOperand(op, term->sizes[i].operand), term->sizes[i].dim, size);
    sum += flops;
  }
  return sum * rows_of(op, size.tokens);
}

hmoec_cost hmoec_op_cost(MlirOperation op, hmoec_run_size size, hmoec_format dtype) {
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
