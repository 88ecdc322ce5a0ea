/* Dense feed-forward networks with gates: two linears of the same rows that nothing but their product reads are one paired product (kernels.h).
 *
 *   multiply(activate(linear(x, w_0)), linear(x, w_1))            one product, whose epilogue multiplies
 *   linear(multiply(activate(linear(x, w_0)), linear(x, w_1)), w) a pair of products, as gated experts are
 *
 * Not where both are activated: an epilogue has one function. The interpreter asks too, because neither factor waits in memory, rounded. */
#include "passes/plan.h"

MlirOperation plan_factor_linear(MlirValue factor, MlirOperation *out_activation) {
  MlirOperation op = hmoec_defining_op(factor);
  *out_activation = (MlirOperation){NULL};
  if (!hmoec_op_is(op, "hmoe.activate")) return op;
  *out_activation = op;
  return hmoec_defining_op(mlirOperationGetOperand(op, 0));
}

static bool of_product(MlirOperation multiply, plan_gates *out) {
  if (hmoec_op_at_open(multiply) || plan_is_per_set(multiply) || !plan_is_product_of_linears(multiply)) return false;
  MlirOperation linears[2], activations[2];
  for (int i = 0; i < 2; i++) linears[i] = plan_factor_linear(mlirOperationGetOperand(multiply, i), &activations[i]);
  int gate = !mlirOperationIsNull(activations[1]);
  if (gate && !mlirOperationIsNull(activations[0])) return false;
  *out = (plan_gates){linears[gate], linears[1 - gate], activations[gate], multiply};
  return mlirValueEqual(mlirOperationGetOperand(linears[0], 0), mlirOperationGetOperand(linears[1], 0)) &&
         hmoec_product_has_dtype(linears[0]) == hmoec_product_has_dtype(linears[1]);
}

bool plan_gates_of(MlirOperation op, plan_gates *out) {
  if (hmoec_op_is(op, "hmoe.linear")) {
    op = hmoec_single_user(mlirOperationGetResult(op, 0));
    if (!mlirOperationIsNull(op) && hmoec_op_is(op, "hmoe.activate")) op = hmoec_single_user(mlirOperationGetResult(op, 0));
  }
  return !mlirOperationIsNull(op) && hmoec_op_is(op, "hmoe.multiply") && of_product(op, out);
}

plan_matmul plan_gated_product(planner *p, const plan_gates *gates, int64_t rows_dim) {
  const MlirOperation linears[2] = {gates->gate, gates->up};
  static const hmoec_pair pairs[2] = {HMOEC_PAIR_GATES, HMOEC_PAIR_UPS};
  hmoec_shape w = hmoec_value_shape(mlirOperationGetOperand(gates->gate, 1));
  hmoec_format format = plan_format(&p->graph, gates->gate);
  int64_t n = w.dims[0], k = w.dims[1], columns = 2 * plan_round(&p->graph, n);
  bool biased = mlirOperationGetNumOperands(gates->gate) > 2 || mlirOperationGetNumOperands(gates->up) > 2;
  plan_memory **made = plan_made(p, (plan_key){.owner = gates->multiply.ptr, .making = PLAN_MERGED}),
              **made_bias = plan_made(p, (plan_key){.owner = gates->multiply.ptr, .making = PLAN_MERGED_BIAS});
  bool first_time = !*made;
  if (first_time) *made = plan_weight(p, 1, plan_right(format, k, columns));
  if (first_time && biased) *made_bias = plan_weight(p, 1, plan_vector_of(columns)); /* one that a linear lacks is 0 */
  for (int i = 0; first_time && i < 2; i++) {
    plan_place weight = plan_value_get(p, mlirOperationGetOperand(linears[i], 1))->place;
    hmoec_packing packing = plan_packing(weight, n, k);
    packing.pair = pairs[i];
    plan_pack_emit(p, plan_at(*made), weight.memory, &packing);
    if (mlirOperationGetNumOperands(linears[i]) == 2) continue;
    plan_place bias = plan_value_get(p, mlirOperationGetOperand(linears[i], 2))->place;
    packing = (hmoec_packing){.columns = n,
                              .column_stride = bias.row_stride,
                              .q = 1,
                              .k_outer = 1,
                              .source_offset = bias.offset,
                              .groups = 1,
                              .pair = pairs[i]};
    plan_pack_emit(p, plan_at(*made_bias), bias.memory, &packing);
  }
  plan_matmul m = plan_dense_matmul(p, PLAN_RUN, rows_dim, format, k, n, mlirOperationGetOperand(gates->gate, 0));
  m.b = plan_at(*made);
  if (biased) m.bias = plan_at(*made_bias);
  m.spec.paired = true;
  if (!mlirOperationIsNull(gates->activation))
    m.spec.segment[0].activation = plan_activation(&p->graph, hmoec_op_string(gates->activation, "function"));
  return m;
}
