/* fuse-hyper-expert: with top-1 routing HyperExpert e rides along with expert e, as b more hidden columns.
 *
 *   add(combine(experts(x, indices, kept, ...), gates), indexed_hyper_expert(x, selection_rank(indices), down, up, ...))
 *     ->  fused_experts(x, indices, gates, kept, ..., down, up, ...), and of gated_experts fused_gated_experts
 *
 * Applies when top_k is 1, x and indices are the same values, the generated weights are a table (memoize = 0, one row an expert) and
 * every value in between has no other use. Does not apply to top_k > 1, where a set has several experts, nor to the strategies that
 * generate per batch. With an expert's `of` either way, the set of a top-1 selection is its expert, so rank = expert.
 * Requires verified IR, keeps it verified. */
#include "passes/passes.h"

#include <stdlib.h>
#include <string.h>

#include "passes/rewrite.h"

typedef struct fusion {
  MlirOperation add, combine, experts, hyper, rank;
} fusion;

static bool match_sides(MlirOperation add, int first, fusion *out) {
  MlirOperation combine = hmoec_defining_op(mlirOperationGetOperand(add, first));
  MlirOperation hyper = hmoec_defining_op(mlirOperationGetOperand(add, 1 - first));
  if (mlirOperationIsNull(combine) || mlirOperationIsNull(hyper) || !hmoec_op_is(combine, "hmoe.combine") ||
      !hmoec_op_is(hyper, "hmoe.indexed_hyper_expert"))
    return false;
  MlirOperation experts = hmoec_defining_op(mlirOperationGetOperand(combine, 0));
  MlirOperation rank = hmoec_defining_op(mlirOperationGetOperand(hyper, 1));
  if (mlirOperationIsNull(experts) || mlirOperationIsNull(rank) ||
      !(hmoec_op_is(experts, "hmoe.experts") || hmoec_op_is(experts, "hmoe.gated_experts")) ||
      !hmoec_op_is(rank, "hmoe.selection_rank"))
    return false;
  *out = (fusion){add, combine, experts, hyper, rank};
  MlirValue x = mlirOperationGetOperand(experts, 0), indices = mlirOperationGetOperand(experts, 1);
  return hmoec_op_int(hyper, "memoize") == 0 && hmoec_value_shape(indices).dims[1] == 1 &&
         mlirValueEqual(x, mlirOperationGetOperand(hyper, 0)) && mlirValueEqual(indices, mlirOperationGetOperand(rank, 0)) &&
         hmoec_value_shape(mlirOperationGetOperand(hyper, 2)).dims[0] ==
             hmoec_value_shape(mlirOperationGetOperand(experts, 3)).dims[0] &&
         !mlirOperationIsNull(hmoec_single_user(mlirOperationGetResult(combine, 0))) &&
         !mlirOperationIsNull(hmoec_single_user(mlirOperationGetResult(hyper, 0))) &&
         !mlirOperationIsNull(hmoec_single_user(mlirOperationGetResult(experts, 0)));
}

static bool fuse(const fusion *f, hmoec_diagnostics *diagnostics) {
  MlirValue operands[HMOEC_MAX_OPERANDS];
  size_t n = 0;
  intptr_t expert_operands = mlirOperationGetNumOperands(f->experts), hyper_operands = mlirOperationGetNumOperands(f->hyper);
  operands[n++] = mlirOperationGetOperand(f->experts, 0);
  operands[n++] = mlirOperationGetOperand(f->experts, 1);
  operands[n++] = mlirOperationGetOperand(f->combine, 1);
  operands[n++] = mlirOperationGetOperand(f->experts, 2);
  bool gated = hmoec_op_is(f->experts, "hmoe.gated_experts");
  intptr_t matrices = gated ? 6 : 5; /* where the experts' end */
  for (intptr_t i = 3; i < matrices; i++) operands[n++] = mlirOperationGetOperand(f->experts, i);
  operands[n++] = mlirOperationGetOperand(f->hyper, 2);
  operands[n++] = mlirOperationGetOperand(f->hyper, 3);
  for (intptr_t i = matrices; i < expert_operands; i++) operands[n++] = mlirOperationGetOperand(f->experts, i);
  for (intptr_t i = 4; i < hyper_operands; i++) operands[n++] = mlirOperationGetOperand(f->hyper, i);

  MlirStringRef activation = hmoec_op_string(f->experts, "activation");
  char *name = strndup(activation.data, activation.length);
  hmoec_rewriter rewriter = hmoec_rewriter_before(f->add, diagnostics);
  hmoec_attribute attributes[4] = {
      hmoec_string_attribute("activation", name ? name : ""), hmoec_int_attribute("expert_biases", expert_operands > matrices),
      hmoec_int_attribute("generated_biases", hyper_operands > 4),
      hmoec_string_attribute("dropped", hmoec_op_string_is(f->experts, "dropped", "zero") ? "zero" : "pass")};
  MlirOperation fused = hmoec_rewriter_op(&rewriter, gated ? "fused_gated_experts" : "fused_experts", operands, n, attributes, 4);
  free(name);
  if (mlirOperationIsNull(fused)) return false;
  MlirAttribute reason = mlirOperationGetAttributeByName(f->hyper, mlirStringRefCreateFromCString("hmoe.reason"));
  if (!mlirAttributeIsNull(reason)) mlirOperationSetAttributeByName(fused, mlirStringRefCreateFromCString("hmoe.reason"), reason);
  mlirValueReplaceAllUsesOfWith(mlirOperationGetResult(f->add, 0), mlirOperationGetResult(fused, 0));
  mlirOperationDestroy(f->add);
  mlirOperationDestroy(f->combine);
  mlirOperationDestroy(f->hyper);
  mlirOperationDestroy(f->experts);
  if (hmoec_op_unused(f->rank)) mlirOperationDestroy(f->rank);
  return true;
}

static bool visit(MlirOperation function, MlirBlock block, void *user) {
  (void)function;
  for (MlirOperation op = mlirBlockGetFirstOperation(block), next; !mlirOperationIsNull(op); op = next) {
    next = mlirOperationGetNextInBlock(op);
    fusion f;
    if (hmoec_op_is(op, "hmoe.add") && (match_sides(op, 0, &f) || match_sides(op, 1, &f)) && !fuse(&f, user)) return false;
  }
  return true;
}

bool hmoec_fuse_hyper_expert(MlirModule module, hmoec_pass_options *options, hmoec_diagnostics *diagnostics) {
  (void)options;
  return hmoec_each_function(module, visit, diagnostics);
}
