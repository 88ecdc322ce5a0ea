/* What plan-kernels can plan. Legal hmoe says more than kernels do: a generated weight may be returned, a token's row added to a row of a
 * selection set, an expert's weight computed. All of that is refused here, at the op, before anything is planned; the planner relies on it.
 *
 * A value is of one of three kinds: known at open (of parameters alone), of distinct selection sets (one row a set, inside a cache loop), or
 * of tokens (one row a token, the dynamic dimension). Requires at_open marks and marks of per-set ops. Cost: linear in ops and uses. */
#include "ir/location.h"
#include "passes/plan.h"

#include <mlir-c/BuiltinAttributes.h>

#define MOST_EXPERTS (INT32_MAX / 8)

typedef enum value_kind { OF_OPEN, OF_SETS, OF_TOKENS } value_kind;

static value_kind kind_of(MlirValue value) {
  MlirOperation op = hmoec_defining_op(value);
  if (mlirOperationIsNull(op)) return OF_TOKENS;
  if (hmoec_op_is(op, "hmoe.distinct_selections") && mlirOpResultGetResultNumber(value) == 0) return OF_SETS;
  return hmoec_op_at_open(op) ? OF_OPEN : plan_is_per_set(op) ? OF_SETS : OF_TOKENS;
}

static bool made_by(MlirValue value, const char *name) {
  MlirOperation op = hmoec_defining_op(value);
  return !mlirOperationIsNull(op) && hmoec_op_is(op, name);
}

static const char *short_name(MlirOperation op) {
  const hmoec_op_info *info = hmoec_op_info_of(op);
  return info ? info->name : "return";
}

#define REFUSE(op, ...) hmoec_error(graph->diagnostics, hmoec_location_of_op(op), __VA_ARGS__)

/* ---- where an op may stand ---- */

static bool place_check(const plan_graph *graph, MlirOperation op) {
  const char *name = short_name(op);
  if (hmoec_op_at_open(op) && !hmoec_op_has(op, HMOEC_OP_AT_OPEN))
    return REFUSE(op, "%s of parameters alone cannot be compiled", name);
  if (plan_is_per_set(op) && !hmoec_op_has(op, HMOEC_OP_PER_SET))
    return REFUSE(op, "%s of distinct selection sets cannot be compiled", name);
  for (intptr_t r = 0; r < mlirOperationGetNumResults(op); r++) {
    hmoec_shape shape = hmoec_value_shape(mlirOperationGetResult(op, r));
    if (hmoec_op_has(op, HMOEC_OP_ROW_WISE) && !hmoec_op_has(op, HMOEC_OP_VIEW) &&
        (shape.rank < (hmoec_op_at_open(op) ? 1 : 2) || shape.rank > 3))
      return REFUSE(op, "%s: expected a matrix, found rank %d", name, (int)shape.rank);
    if (hmoec_op_at_open(op) || (shape.rank > 0 && shape.dims[0] == HMOEC_DYNAMIC)) continue;
    char text[HMOEC_SHAPE_CHARS];
    return REFUSE(op, "%s: expected one row a token, found %s: token counts cannot be fixed", name,
                  hmoec_shape_string(&shape, text, sizeof text));
  }
  return true;
}

/* The distinct_selections op whose sets are the rows of a value of kind OF_SETS. */
static MlirOperation sets_of(MlirValue value) {
  for (;;) {
    MlirOperation op = hmoec_defining_op(value);
    if (hmoec_op_is(op, "hmoe.distinct_selections")) return op;
    intptr_t i = 0;
    while (kind_of(mlirOperationGetOperand(op, i)) != OF_SETS) i++;
    value = mlirOperationGetOperand(op, i);
  }
}

/* ---- which kinds of operands an op takes ---- */

static bool operand_kinds_check(const plan_graph *graph, MlirOperation op) {
  const hmoec_op_info *info = hmoec_op_info_of(op);
  bool sets = plan_is_per_set(op);
  if (hmoec_op_is(op, "hmoe.slice") && !hmoec_op_at_open(op) && hmoec_op_int(op, "squeeze"))
    return REFUSE(op, "slice: squeeze = 1 is compiled of what depends on parameters alone");
  MlirOperation source = {NULL};
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) {
    MlirValue operand = mlirOperationGetOperand(op, i);
    value_kind kind = kind_of(operand);
    const hmoec_operand_info *asked = &info->operands[i];
    if (asked->kind == HMOEC_OPERAND_PARAMETER && !made_by(operand, "hmoe.parameter"))
      return REFUSE(op, "%s: expected %s to be a parameter", info->name, asked->name);
    if (asked->kind >= HMOEC_OPERAND_KNOWN && kind != OF_OPEN)
      return REFUSE(op, "%s: expected %s to depend on parameters alone", info->name, asked->name);
    if (kind == OF_OPEN || hmoec_op_at_open(op)) continue;
    if (hmoec_op_is(op, "hmoe.indexed_hyper_expert") && i > 1) continue; /* weights_check */
    if ((kind == OF_SETS) != sets)
      return REFUSE(op, "%s: %s has one row a %s, other operands one a %s", info->name, asked->name,
                    kind == OF_SETS ? "selection set" : "token", sets ? "selection set" : "token");
    if (!sets) continue;
    MlirOperation other = sets_of(operand);
    if (!mlirOperationIsNull(source) && !mlirOperationEqual(source, other))
      return REFUSE(op, "%s: the operands belong to different selections", info->name);
    source = other;
  }
  return true;
}

/* ---- what must come from where ---- */

/* The weights of a HyperExpert from operand `first` on: all results of one hypernetwork, in order. */
static bool weights_check(const plan_graph *graph, MlirOperation op, intptr_t first) {
  MlirOperation hypernetwork = hmoec_defining_op(mlirOperationGetOperand(op, first));
  intptr_t count = mlirOperationGetNumOperands(op), own = 0; /* biases of the experts, between */
  if (hmoec_op_is_fused(op) && hmoec_op_int(op, "expert_biases")) own = hmoec_op_is(op, "hmoe.fused_gated_experts") ? 3 : 2;
  bool same = !mlirOperationIsNull(hypernetwork) && hmoec_op_is(hypernetwork, "hmoe.hypernetwork");
  for (intptr_t i = first, r = 0; same && r < mlirOperationGetNumResults(hypernetwork); i++, r++) {
    if (r == 2) i += own;
    same = i < count && mlirValueEqual(mlirOperationGetOperand(op, i), mlirOperationGetResult(hypernetwork, r));
  }
  intptr_t taken = count - first - own;
  if (!same || taken != mlirOperationGetNumResults(hypernetwork))
    return REFUSE(op, "%s: expected all weights, and no others, to be what one hypernetwork generates, in its order",
                  short_name(op));
  value_kind kind = kind_of(mlirOperationGetOperand(op, first));
  if (!hmoec_op_is(op, "hmoe.indexed_hyper_expert") || kind != OF_SETS) return true;
  MlirOperation which = hmoec_defining_op(mlirOperationGetOperand(op, 1));
  return mlirOperationEqual(which, sets_of(mlirOperationGetOperand(op, first))) ||
         REFUSE(op, "%s: which and down belong to different selections", short_name(op));
}

static bool results_check(const plan_graph *graph, MlirOperation op) {
  bool generated = hmoec_op_is(op, "hmoe.hypernetwork");
  bool experts = hmoec_op_has(op, HMOEC_OP_GROUPED) && !hmoec_op_has(op, HMOEC_OP_WEIGHTED);
  if (!generated && !experts) return true;
  for (intptr_t r = 0; r < mlirOperationGetNumResults(op); r++)
    for (MlirOpOperand use = mlirValueGetFirstUse(mlirOperationGetResult(op, r)); !mlirOpOperandIsNull(use);
         use = mlirOpOperandGetNextUse(use)) {
      MlirOperation user = mlirOpOperandGetOwner(use);
      unsigned operand = mlirOpOperandGetOperandNumber(use);
      if (generated && !hmoec_op_has(user, HMOEC_OP_WEIGHTED))
        return REFUSE(user, "%s: what a hypernetwork generates can only be the weights of a HyperExpert", short_name(user));
      if (experts && (!hmoec_op_is(user, "hmoe.combine") || operand != 0))
        return REFUSE(user, "%s: what experts give can only be combined", short_name(user));
    }
  return true;
}

/* Capacity is counted anew where rows are grouped, from the indices: kept must be theirs. */
static bool experts_check(const plan_graph *graph, MlirOperation op, intptr_t kept_operand) {
  MlirValue indices = mlirOperationGetOperand(op, 1), kept = mlirOperationGetOperand(op, kept_operand);
  if (!made_by(indices, "hmoe.route") || !made_by(kept, "hmoe.route"))
    return REFUSE(op, "%s: expected indices and kept to be made by route", short_name(op));
  MlirOperation from = hmoec_defining_op(kept);
  if (mlirOperationEqual(from, hmoec_defining_op(indices)) || hmoec_op_int(from, "capacity") == 0) return true;
  return REFUSE(op, "%s: expected kept to be made by the route that makes the indices", short_name(op));
}

static bool route_check(const plan_graph *graph, MlirOperation op) {
  int64_t experts = plan_columns(mlirOperationGetOperand(op, 0)), top_k = hmoec_op_int(op, "top_k");
  if (top_k > HMOE_TOP_K_MAX)
    return REFUSE(op, "route: expected top_k to be at most %d, found %lld", HMOE_TOP_K_MAX, (long long)top_k);
  if (experts > MOST_EXPERTS) return REFUSE(op, "route: expected at most %d experts, found %lld", MOST_EXPERTS, (long long)experts);
  return true;
}

/* What the ops of whole models can be compiled as. */
static bool model_op_check(const plan_graph *graph, MlirOperation op) {
  for (int i = 0; i < 2 && hmoec_op_is(op, "hmoe.weight_embedding"); i++)
    if (hmoec_op_int(hmoec_defining_op(mlirOperationGetOperand(op, i)), "count") == 0)
      return REFUSE(op, "weight_embedding: expected %s to be a stack of one tensor an expert, found one tensor of all",
                    i == 0 ? "wi" : "wo");
  if (hmoec_op_is(op, "hmoe.attention")) {
    MlirValue bias = plan_attention_bias(op), mask = plan_attention_mask(op);
    if (!mlirValueIsNull(bias) && !made_by(bias, "hmoe.relative_bias"))
      return REFUSE(op, "attention: expected bias to be made by relative_bias");
    if (!mlirValueIsNull(mask) && !mlirValueIsABlockArgument(mask)) return REFUSE(op, "attention: expected mask to be an input");
  }
  if ((hmoec_op_is(op, "hmoe.embedding") || hmoec_op_is(op, "hmoe.position_embedding")) &&
      !mlirValueIsABlockArgument(mlirOperationGetOperand(op, 0)))
    return REFUSE(op, "%s: expected the %s to be an input", short_name(op), hmoec_op_is(op, "hmoe.embedding") ? "ids" : "mask");
  return true;
}

/* Two parameters with one key and different shapes: no checkpoint has both. Keys are unique attributes, known by address. */
static bool keys_check(const plan_graph *graph) {
  MlirOperation *ops = graph->ops;
  size_t count = graph->op_count;
  hmoec_pointer_map first_of = {0};
  bool ok = true;
  for (size_t i = 0; ok && i < count; i++) {
    if (!hmoec_op_is(ops[i], "hmoe.parameter")) continue;
    MlirAttribute name = mlirOperationGetAttributeByName(ops[i], mlirStringRefCreateFromCString("key"));
    size_t first = hmoec_pointer_map_get(&first_of, name.ptr);
    if (first == HMOEC_NO_NUMBER) {
      ok = hmoec_pointer_map_set(&first_of, name.ptr, i) || hmoec_machine_error(graph->diagnostics, "out of memory");
    } else if (!mlirTypeEqual(mlirValueGetType(mlirOperationGetResult(ops[first], 0)),
                              mlirValueGetType(mlirOperationGetResult(ops[i], 0)))) {
      MlirStringRef text = mlirStringAttrGetValue(name);
      ok = REFUSE(ops[i], "parameter \"%.*s\" stands in line %u with another shape", (int)text.length, text.data,
                  hmoec_location_of_op(ops[first]).line);
    }
  }
  hmoec_pointer_map_deinit(&first_of);
  return ok;
}

static bool op_check(const plan_graph *graph, MlirOperation op) {
  if (!place_check(graph, op) || !operand_kinds_check(graph, op) || !results_check(graph, op)) return false;
  if (hmoec_op_is(op, "hmoe.route")) return route_check(graph, op);
  if (hmoec_op_is(op, "hmoe.experts")) return experts_check(graph, op, 2);
  if (hmoec_op_is(op, "hmoe.gated_experts")) return experts_check(graph, op, 2);
  if (hmoec_op_is(op, "hmoe.fused_experts")) return experts_check(graph, op, 3) && weights_check(graph, op, 6);
  if (hmoec_op_is(op, "hmoe.fused_gated_experts")) return experts_check(graph, op, 3) && weights_check(graph, op, 7);
  if (hmoec_op_is(op, "hmoe.hyper_expert")) return weights_check(graph, op, 1);
  if (hmoec_op_is(op, "hmoe.indexed_hyper_expert")) return weights_check(graph, op, 2);
  return model_op_check(graph, op);
}

bool plan_check(const plan_graph *graph) {
  MlirOperation *ops = graph->ops;
  size_t count = graph->op_count;
  bool ok = keys_check(graph);
  for (size_t i = 0; i < count; i++) {
    if (!hmoec_op_is(ops[i], "func.return")) {
      ok = op_check(graph, ops[i]) && ok;
      continue;
    }
    for (intptr_t r = 0; r < mlirOperationGetNumOperands(ops[i]); r++)
      if (kind_of(mlirOperationGetOperand(ops[i], r)) != OF_TOKENS)
        ok = REFUSE(ops[i], "output %ld does not have one row a token", (long)r);
  }
  return ok;
}
