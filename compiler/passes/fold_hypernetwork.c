/* fold-hypernetwork: a HyperExpert's generated weights depend on the selection set, not on the token, so generate them once per set.
 *
 *   s = selection_embedding(indices, S) ; r = chain(s) ; D, U = hypernetwork(r, ...) ; y = hyper_expert(x, D, U)
 *   table     ->  sets = all_selections ; D, U = hypernetwork(chain(selection_embedding(sets, S)), ...)
 *                 y = indexed_hyper_expert(x, selection_rank(indices), D, U) {memoize = 0}
 *   cache     ->  sets, which = distinct_selections(indices) ; the same chain on sets
 *                 y = indexed_hyper_expert(x, which, D, U) {memoize = 1, hmoe.slots}
 *   factored  ->  y = factored_hyper_expert(x, r, ...)                D and U are never formed
 *   per_token ->  unchanged
 *
 * The strategy is the option's, else the op's, else chosen by passes/hyper_cost.c; it and the reason stay on the result as attributes
 * `hmoe.strategy` and `hmoe.reason`. table and cache need a chain of row-wise ops from one selection_embedding: a generator that reads the token
 * (condition = hidden_state) is refused there. Requires verified IR, keeps it verified; the chain's old ops are left for
 * fold-duplicates to remove. */
#include "passes/passes.h"

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <stdlib.h>
#include <string.h>

#include "ir/location.h"
#include "passes/hyper_cost.h"
#include "passes/rewrite.h"

/* The ops between a selection_embedding and r, in program order. */
typedef struct chain {
  MlirOperation *ops;
  size_t count;
  MlirOperation embedding;
  bool from_selection;
} chain;

typedef struct pass_state {
  hmoec_pass_options *options;
  hmoec_diagnostics *diagnostics;
} pass_state;

/* The ops of a block, and which of them the chain has. */
typedef struct block_marks {
  MlirOperation *ops;
  bool *needed;
  size_t count;
} block_marks;

/* Notes what an operand of the op at `before` asks for: an op of the chain, its embedding, or something that is not of the selection. */
static void want(chain *c, const block_marks *marks, size_t before, MlirValue value) {
  MlirOperation op = hmoec_defining_op(value);
  if (mlirOperationIsNull(op)) {
    c->from_selection = false;
  } else if (hmoec_op_is(op, "hmoe.selection_embedding")) {
    if (!mlirOperationIsNull(c->embedding) && !mlirOperationEqual(c->embedding, op)) c->from_selection = false;
    c->embedding = op;
  } else if (!hmoec_op_at_open(op)) {
    if (!hmoec_op_is_link(op)) c->from_selection = false;
    size_t at = before;
    while (at > 0 && !mlirOperationEqual(marks->ops[at - 1], op)) at--;
    if (at > 0) marks->needed[at - 1] = hmoec_op_is_link(op);
  }
}

/* Collects, in program order, what computes `value` from the selection; false: no memory. */
static bool collect(chain *c, MlirBlock block, MlirValue value) {
  block_marks marks = {0};
  marks.ops = hmoec_block_ops(block, &marks.count);
  marks.needed = calloc(marks.count + 1, sizeof *marks.needed);
  bool ok = marks.ops && marks.needed;
  if (ok) want(c, &marks, marks.count, value);
  size_t needed = 0;
  for (size_t i = ok ? marks.count : 0; i-- > 0;) {
    if (!marks.needed[i]) continue;
    needed++;
    for (intptr_t o = 0; o < mlirOperationGetNumOperands(marks.ops[i]); o++)
      want(c, &marks, i, mlirOperationGetOperand(marks.ops[i], o));
  }
  if (ok) c->ops = malloc((needed + 1) * sizeof *c->ops);
  ok = ok && c->ops;
  for (size_t i = 0; ok && i < marks.count; i++)
    if (marks.needed[i]) c->ops[c->count++] = marks.ops[i];
  free(marks.needed);
  free(marks.ops);
  return ok;
}

/* Rebuilds the chain from new selection sets, ending in the hypernetwork; its results are the generated weights per set. */
static MlirOperation clone_chain(hmoec_rewriter *rewriter, const chain *c, MlirValue sets, MlirOperation hypernetwork) {
  MlirValue *from = calloc(c->count + 1, sizeof *from), *to = calloc(c->count + 1, sizeof *to);
  MlirOperation result = {NULL};
  size_t mapped = 0;
  MlirValue embedding_operands[2] = {sets, mlirOperationGetOperand(c->embedding, 1)};
  if (!from || !to) goto done;
  MlirOperation clone = hmoec_rewriter_clone(rewriter, c->embedding, embedding_operands);
  if (mlirOperationIsNull(clone)) goto done;
  from[mapped] = mlirOperationGetResult(c->embedding, 0);
  to[mapped++] = mlirOperationGetResult(clone, 0);
  for (size_t i = 0; i <= c->count; i++) {
    MlirOperation op = i < c->count ? c->ops[i] : hypernetwork;
    MlirValue operands[HMOEC_MAX_OPERANDS];
    for (intptr_t j = 0; j < mlirOperationGetNumOperands(op); j++) {
      operands[j] = mlirOperationGetOperand(op, j);
      for (size_t m = 0; m < mapped; m++)
        if (mlirValueEqual(operands[j], from[m])) operands[j] = to[m];
    }
    clone = hmoec_rewriter_clone(rewriter, op, operands);
    if (mlirOperationIsNull(clone)) goto done;
    if (i == c->count) {
      result = clone;
    } else {
      from[mapped] = mlirOperationGetResult(op, 0);
      to[mapped++] = mlirOperationGetResult(clone, 0);
    }
  }
done:
  free(from);
  free(to);
  return result;
}

/* Bytes of the experts that this HyperExpert accompanies: the experts op of its selection, or of its input. */
static int64_t expert_bytes(MlirBlock block, MlirValue x, hmoec_format format) {
  int64_t bytes = 0;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
    bool gated = hmoec_op_is(op, "hmoe.gated_experts");
    if ((!gated && !hmoec_op_is(op, "hmoe.experts")) || !mlirValueEqual(mlirOperationGetOperand(op, 0), x)) continue;
    hmoec_shape wi = hmoec_value_shape(mlirOperationGetOperand(op, 3));
    bytes = hmoec_format_bytes(format, (gated ? 3 : 2) * wi.dims[0] * wi.dims[1] * wi.dims[2]);
  }
  return bytes;
}

static void annotate(MlirOperation op, hmoec_strategy strategy, const char *reason, int64_t slots) {
  MlirContext context = mlirOperationGetContext(op);
  mlirOperationSetAttributeByName(op, mlirStringRefCreateFromCString("hmoe.strategy"),
                                  mlirStringAttrGet(context, mlirStringRefCreateFromCString(hmoec_strategy_name(strategy))));
  mlirOperationSetAttributeByName(op, mlirStringRefCreateFromCString("hmoe.reason"),
                                  mlirStringAttrGet(context, mlirStringRefCreateFromCString(reason)));
  if (slots > 0)
    mlirOperationSetAttributeByName(op, mlirStringRefCreateFromCString("hmoe.slots"),
                                    mlirIntegerAttrGet(mlirIntegerTypeGet(context, 64), slots));
}

static MlirOperation rewrite_sets(hmoec_rewriter *rewriter, MlirOperation hyper, MlirOperation hypernetwork, const chain *c,
                                  const hmoec_hyper_case *h, bool table) {
  MlirValue indices = mlirOperationGetOperand(c->embedding, 0), sets, which;
  hmoec_attribute experts = hmoec_int_attribute("experts", h->experts);
  if (table) {
    MlirOperation all = hmoec_rewriter_op(rewriter, "all_selections", NULL, 0,
                                          (hmoec_attribute[]){experts, hmoec_int_attribute("top_k", h->top_k)}, 2);
    MlirOperation rank = hmoec_rewriter_op(rewriter, "selection_rank", &indices, 1, &experts, 1);
    if (mlirOperationIsNull(all) || mlirOperationIsNull(rank)) return (MlirOperation){NULL};
    sets = mlirOperationGetResult(all, 0);
    which = mlirOperationGetResult(rank, 0);
  } else {
    MlirOperation distinct = hmoec_rewriter_op(rewriter, "distinct_selections", &indices, 1, &experts, 1);
    if (mlirOperationIsNull(distinct)) return distinct;
    sets = mlirOperationGetResult(distinct, 0);
    which = mlirOperationGetResult(distinct, 1);
  }
  MlirOperation generated = clone_chain(rewriter, c, sets, hypernetwork);
  if (mlirOperationIsNull(generated)) return generated;
  MlirValue operands[6] = {mlirOperationGetOperand(hyper, 0), which};
  size_t n = 2;
  for (intptr_t i = 0; i < mlirOperationGetNumResults(generated); i++) operands[n++] = mlirOperationGetResult(generated, i);
  hmoec_attribute memoize = hmoec_int_attribute("memoize", table ? 0 : 1);
  return hmoec_rewriter_op(rewriter, "indexed_hyper_expert", operands, n, &memoize, 1);
}

static MlirOperation rewrite_factored(hmoec_rewriter *rewriter, MlirOperation hyper, MlirOperation hypernetwork) {
  MlirValue operands[HMOEC_MAX_OPERANDS];
  size_t n = 0;
  operands[n++] = mlirOperationGetOperand(hyper, 0);
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(hypernetwork); i++) operands[n++] = mlirOperationGetOperand(hypernetwork, i);
  hmoec_attribute bottleneck = hmoec_int_attribute("bottleneck", hmoec_op_int(hypernetwork, "bottleneck"));
  return hmoec_rewriter_op(rewriter, "factored_hyper_expert", operands, n, &bottleneck, 1);
}

static bool rewrite(MlirOperation hyper, const pass_state *state) {
  hmoec_location location = hmoec_location_of_op(hyper);
  MlirOperation hypernetwork = hmoec_defining_op(mlirOperationGetOperand(hyper, 1));
  if (mlirOperationIsNull(hypernetwork) || !hmoec_op_is(hypernetwork, "hmoe.hypernetwork"))
    return hmoec_error(state->diagnostics, location, "expected the weights of hyper_expert to come from a hypernetwork");
  if (mlirOperationGetNumOperands(hyper) != mlirOperationGetNumResults(hypernetwork) + 1)
    return hmoec_error(state->diagnostics, location,
                       "expected hyper_expert to take all that its hypernetwork generates, %ld weights, found %ld",
                       (long)mlirOperationGetNumResults(hypernetwork), (long)mlirOperationGetNumOperands(hyper) - 1);
  for (intptr_t i = 0; i + 1 < mlirOperationGetNumOperands(hyper); i++)
    if (!mlirValueEqual(mlirOperationGetOperand(hyper, i + 1), mlirOperationGetResult(hypernetwork, i)))
      return hmoec_error(state->diagnostics, location,
                         "expected all weights of hyper_expert to come from one hypernetwork, in its order");

  chain c = {.from_selection = true};
  bool ok = false;
  hmoec_format format = state->options->dtype;
  MlirValue r = mlirOperationGetOperand(hypernetwork, 0);
  if (!collect(&c, mlirOperationGetBlock(hyper), r)) goto done;
  if (mlirOperationIsNull(c.embedding)) c.from_selection = false;

  hmoec_shape x = hmoec_value_shape(mlirOperationGetOperand(hyper, 0)), down = hmoec_value_shape(mlirOperationGetOperand(hyper, 1));
  hmoec_hyper_case h = {.d_model = x.dims[1],
                        .bottleneck = down.dims[2],
                        .hidden = hmoec_value_shape(r).dims[1],
                        .tokens = state->options->tokens,
                        .generated_biases = mlirOperationGetNumOperands(hyper) > 3,
                        .from_selection = c.from_selection,
                        .target = state->options->target,
                        .format = format,
                        .expert_bytes = expert_bytes(mlirOperationGetBlock(hyper), mlirOperationGetOperand(hyper, 0), format),
                        .budget_bytes = state->options->table_budget_bytes};
  if (c.from_selection) {
    h.experts = hmoec_value_shape(mlirOperationGetOperand(c.embedding, 1)).dims[0];
    h.top_k = hmoec_value_shape(mlirOperationGetOperand(c.embedding, 0)).dims[1];
  }
  hmoec_hyper_cost cost = hmoec_hyper_cost_of(&h);
  char reason[256];
  hmoec_strategy strategy = HMOEC_STRATEGY_AUTO, chosen = hmoec_hyper_choose(&h, &cost, reason, sizeof reason);
  MlirStringRef written = hmoec_op_string(hyper, "strategy");
  hmoec_strategy_parse(written.data, written.length, &strategy);
  if (state->options->strategy && !hmoec_strategy_parse(state->options->strategy, strlen(state->options->strategy), &strategy)) {
    ok = hmoec_error(state->diagnostics, location, "expected strategy auto, table, cache, factored or per_token, found '%s'",
                     state->options->strategy);
    goto done;
  }
  if (strategy == HMOEC_STRATEGY_AUTO) {
    strategy = chosen;
  } else {
    if (strategy != chosen) strcpy(reason, "forced by an option");
    if (!c.from_selection && (strategy == HMOEC_STRATEGY_TABLE || strategy == HMOEC_STRATEGY_CACHE)) {
      ok = hmoec_error(
          state->diagnostics, location,
          "strategy %s needs generated weights that depend on the selection set alone: made of one selection_embedding by linear, "
          "activate, add, multiply, scale, slice, concat and append_row; here the generator reads something else",
          hmoec_strategy_name(strategy));
      goto done;
    }
    if (strategy == HMOEC_STRATEGY_TABLE && (cost.sets > (1 << 24) || cost.table_bytes > (INT64_C(1) << 40))) {
      if (cost.sets == INT64_MAX)
        ok = hmoec_error(state->diagnostics, location, "strategy table: C(%lld, %lld) selection sets are too many to count",
                         (long long)h.experts, (long long)h.top_k);
      else
        ok = hmoec_error(state->diagnostics, location,
                         "strategy table: %lld selection sets of %lld bytes are more than a table may have (2^24 sets, 1 TiB)",
                         (long long)cost.sets, (long long)cost.set_bytes);
      goto done;
    }
  }
  if (strategy == HMOEC_STRATEGY_PER_TOKEN) {
    annotate(hyper, strategy, reason, 0);
    ok = true;
    goto done;
  }
  hmoec_rewriter rewriter = hmoec_rewriter_before(hyper, state->diagnostics);
  MlirOperation folded = strategy == HMOEC_STRATEGY_FACTORED
                             ? rewrite_factored(&rewriter, hyper, hypernetwork)
                             : rewrite_sets(&rewriter, hyper, hypernetwork, &c, &h, strategy == HMOEC_STRATEGY_TABLE);
  if (mlirOperationIsNull(folded)) goto done;
  annotate(folded, strategy, reason, strategy == HMOEC_STRATEGY_CACHE ? cost.cache_slots : 0);
  mlirValueReplaceAllUsesOfWith(mlirOperationGetResult(hyper, 0), mlirOperationGetResult(folded, 0));
  mlirOperationDestroy(hyper);
  ok = true;
done:
  free(c.ops);
  return ok;
}

static bool visit(MlirOperation function, MlirBlock block, void *user) {
  (void)function;
  bool ok = true;
  for (MlirOperation op = mlirBlockGetFirstOperation(block), next; !mlirOperationIsNull(op); op = next) {
    next = mlirOperationGetNextInBlock(op);
    if (hmoec_op_is(op, "hmoe.hyper_expert")) ok = rewrite(op, user) && ok;
  }
  return ok;
}

bool hmoec_fold_hypernetwork(MlirModule module, hmoec_pass_options *options, hmoec_diagnostics *diagnostics) {
  pass_state state = {options, diagnostics};
  if (!hmoec_fold_parameters(module, options, diagnostics)) return false;
  return hmoec_each_function(module, visit, &state);
}
