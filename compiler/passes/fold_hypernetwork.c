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
 * The strategy is the option's, else the op's, else chosen by passes/hyper_cost.c, or by passes/hyper_share.c where all HyperExperts share memory; it and the reason
 * stay on the result as attributes `hmoe.strategy` and `hmoe.reason`. So all are looked at before any is rewritten. table and cache need a chain of row-wise ops from one selection_embedding: a generator that reads the token
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

/* A HyperExpert that is to be rewritten. */
typedef struct hyper_layer {
  MlirOperation hyper, hypernetwork;
  chain chain;
  hmoec_hyper_layer *facts; /* of the report */
} hyper_layer;

typedef struct pass_state {
  hmoec_pass_options *options;
  hmoec_diagnostics *diagnostics;
  hyper_layer *layers;
  size_t count, mixtures; /* mixtures: those whose generators read selections */
  hmoec_hyper_report *report;
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

static void annotate(MlirOperation op, const hmoec_hyper_point *chosen, const char *reason) {
  MlirContext context = mlirOperationGetContext(op);
  mlirOperationSetAttributeByName(
      op, mlirStringRefCreateFromCString("hmoe.strategy"),
      mlirStringAttrGet(context, mlirStringRefCreateFromCString(hmoec_strategy_name(chosen->strategy))));
  mlirOperationSetAttributeByName(op, mlirStringRefCreateFromCString("hmoe.reason"),
                                  mlirStringAttrGet(context, mlirStringRefCreateFromCString(reason)));
  if (chosen->slots)
    mlirOperationSetAttributeByName(op, mlirStringRefCreateFromCString("hmoe.slots"),
                                    mlirIntegerAttrGet(mlirIntegerTypeGet(context, 64), chosen->slots));
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

static bool hypernetwork_find(MlirOperation hyper, MlirOperation *out_hypernetwork, hmoec_diagnostics *diagnostics) {
  hmoec_location location = hmoec_location_of_op(hyper);
  MlirOperation hypernetwork = hmoec_defining_op(mlirOperationGetOperand(hyper, 1));
  if (mlirOperationIsNull(hypernetwork) || !hmoec_op_is(hypernetwork, "hmoe.hypernetwork"))
    return hmoec_error(diagnostics, location, "expected the weights of hyper_expert to come from a hypernetwork");
  if (mlirOperationGetNumOperands(hyper) != mlirOperationGetNumResults(hypernetwork) + 1)
    return hmoec_error(diagnostics, location,
                       "expected hyper_expert to take all that its hypernetwork generates, %ld weights, found %ld",
                       (long)mlirOperationGetNumResults(hypernetwork), (long)mlirOperationGetNumOperands(hyper) - 1);
  for (intptr_t i = 0; i + 1 < mlirOperationGetNumOperands(hyper); i++)
    if (!mlirValueEqual(mlirOperationGetOperand(hyper, i + 1), mlirOperationGetResult(hypernetwork, i)))
      return hmoec_error(diagnostics, location, "expected all weights of hyper_expert to come from one hypernetwork, in its order");
  *out_hypernetwork = hypernetwork;
  return true;
}

/* What was counted of a layer, the n-th that has selection sets; NULL: nothing. */
static bool counts_find(pass_state *state, hmoec_location location, hmoec_hyper_case *h) {
  const hmoec_routing *routing = &state->options->routing;
  if (!routing->layers || !h->from_selection) return true;
  size_t n = state->mixtures++;
  if (n >= routing->layer_count)
    return hmoec_error(state->diagnostics, location, "the routing that is given has %zu layers, and this is HyperExpert number %zu",
                       routing->layer_count, n + 1);
  const hmoec_set_counts *counts = &routing->layers[n];
  if (counts->experts != h->experts || counts->top_k != h->top_k)
    return hmoec_error(
        state->diagnostics, location,
        "layer %zu of the routing that is given selects %lld of %lld experts, this HyperExpert's router %lld of %lld", n,
        (long long)counts->top_k, (long long)counts->experts, (long long)h->top_k, (long long)h->experts);
  h->counts = counts;
  return true;
}

static bool case_read(hyper_layer *layer, pass_state *state, hmoec_hyper_case *h) {
  MlirOperation hyper = layer->hyper;
  MlirValue r = mlirOperationGetOperand(layer->hypernetwork, 0);
  chain *c = &layer->chain;
  hmoec_format format = state->options->dtype;
  if (!collect(c, mlirOperationGetBlock(hyper), r)) return false;
  if (mlirOperationIsNull(c->embedding)) c->from_selection = false;
  hmoec_shape x = hmoec_value_shape(mlirOperationGetOperand(hyper, 0)), down = hmoec_value_shape(mlirOperationGetOperand(hyper, 1));
  *h = (hmoec_hyper_case){.d_model = x.dims[1],
                          .bottleneck = down.dims[2],
                          .hidden = hmoec_value_shape(r).dims[1],
                          .tokens = state->options->tokens,
                          .generated_biases = mlirOperationGetNumOperands(hyper) > 3,
                          .from_selection = c->from_selection,
                          .target = state->options->target,
                          .format = format,
                          .expert_bytes = expert_bytes(mlirOperationGetBlock(hyper), mlirOperationGetOperand(hyper, 0), format),
                          .budget_bytes = state->options->table_budget_bytes,
                          .exponent = state->options->routing.exponent};
  if (c->from_selection) {
    h->experts = hmoec_value_shape(mlirOperationGetOperand(c->embedding, 1)).dims[0];
    h->top_k = hmoec_value_shape(mlirOperationGetOperand(c->embedding, 0)).dims[1];
  }
  return counts_find(state, hmoec_location_of_op(hyper), h);
}

/* The strategy that the option or the op forces, or auto. */
static bool forced_read(const hyper_layer *layer, const pass_state *state, const hmoec_hyper_cost *cost, hmoec_strategy *out) {
  const hmoec_hyper_case *h = cost->hyper;
  hmoec_location location = hmoec_location_of_op(layer->hyper);
  hmoec_strategy strategy = HMOEC_STRATEGY_AUTO;
  MlirStringRef written = hmoec_op_string(layer->hyper, "strategy");
  hmoec_strategy_parse(written.data, written.length, &strategy);
  if (state->options->strategy && !hmoec_strategy_parse(state->options->strategy, strlen(state->options->strategy), &strategy))
    return hmoec_error(state->diagnostics, location, "expected strategy auto, table, cache, factored or per_token, found '%s'",
                       state->options->strategy);
  *out = strategy;
  if (!h->from_selection && (strategy == HMOEC_STRATEGY_TABLE || strategy == HMOEC_STRATEGY_CACHE))
    return hmoec_error(
        state->diagnostics, location,
        "strategy %s needs generated weights that depend on the selection set alone: made of one selection_embedding by linear, "
        "activate, add, multiply, scale, slice, concat and append_row; here the generator reads something else",
        hmoec_strategy_name(strategy));
  if (strategy != HMOEC_STRATEGY_TABLE || (cost->sets <= HMOEC_TABLE_MOST_SETS && cost->table_bytes <= HMOEC_TABLE_MOST_BYTES))
    return true;
  if (cost->sets == INT64_MAX)
    return hmoec_error(state->diagnostics, location, "strategy table: C(%lld, %lld) selection sets are too many to count",
                       (long long)h->experts, (long long)h->top_k);
  return hmoec_error(state->diagnostics, location,
                     "strategy table: %lld selection sets of %lld bytes are more than a table may have (2^24 sets, 1 TiB)",
                     (long long)cost->sets, (long long)cost->set_bytes);
}

/* Looks at one HyperExpert; what is forced is decided. */
static bool look_at(MlirOperation hyper, pass_state *state) {
  hyper_layer *layer = &state->layers[state->count];
  hmoec_hyper_layer *facts = &state->report->layers[state->count];
  *layer = (hyper_layer){.hyper = hyper, .chain = {.from_selection = true}, .facts = facts};
  *facts = (hmoec_hyper_layer){.at = hmoec_location_of_op(hyper)};
  if (!hypernetwork_find(hyper, &layer->hypernetwork, state->diagnostics)) return false;
  state->count++;
  state->report->count = state->count;
  if (!case_read(layer, state, &facts->hyper) || !hmoec_hyper_cost_init(&facts->cost, &facts->hyper)) return false;
  hmoec_strategy forced = HMOEC_STRATEGY_AUTO;
  if (!forced_read(layer, state, &facts->cost, &forced)) return false;
  facts->forced = forced != HMOEC_STRATEGY_AUTO;
  if (facts->forced)
    facts->chosen = hmoec_hyper_point_of(&facts->cost, forced, forced == HMOEC_STRATEGY_CACHE ? facts->cost.cache_slots : 0);
  return true;
}

static bool visit(MlirOperation function, MlirBlock block, void *user) {
  (void)function;
  bool ok = true;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op))
    if (hmoec_op_is(op, "hmoe.hyper_expert")) ok = look_at(op, user) && ok;
  return ok;
}

static bool count(MlirOperation function, MlirBlock block, void *user) {
  (void)function;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op))
    *(size_t *)user += hmoec_op_is(op, "hmoe.hyper_expert");
  return true;
}

static bool rewrite(const hyper_layer *layer, hmoec_diagnostics *diagnostics) {
  const hmoec_hyper_layer *facts = layer->facts;
  const hmoec_hyper_point *chosen = &facts->chosen;
  MlirOperation hyper = layer->hyper;
  char reason[512] = "forced by an option";
  hmoec_hyper_point best = hmoec_hyper_fastest(&facts->cost, facts->cost.budget_bytes);
  if (!facts->forced || best.strategy == chosen->strategy)
    hmoec_hyper_reason(&facts->cost, chosen, facts->within_bytes, reason, sizeof reason);
  if (chosen->strategy == HMOEC_STRATEGY_PER_TOKEN) {
    annotate(hyper, chosen, reason);
    return true;
  }
  hmoec_rewriter rewriter = hmoec_rewriter_before(hyper, diagnostics);
  MlirOperation folded = chosen->strategy == HMOEC_STRATEGY_FACTORED
                             ? rewrite_factored(&rewriter, hyper, layer->hypernetwork)
                             : rewrite_sets(&rewriter, hyper, layer->hypernetwork, &layer->chain, &facts->hyper,
                                            chosen->strategy == HMOEC_STRATEGY_TABLE);
  if (mlirOperationIsNull(folded)) return false;
  annotate(folded, chosen, reason);
  mlirValueReplaceAllUsesOfWith(mlirOperationGetResult(hyper, 0), mlirOperationGetResult(folded, 0));
  mlirOperationDestroy(hyper);
  return true;
}

bool hmoec_fold_hypernetwork(MlirModule module, hmoec_pass_options *options, hmoec_diagnostics *diagnostics) {
  hmoec_hyper_report own = {0};
  pass_state state = {.options = options, .diagnostics = diagnostics, .report = options->hypers ? options->hypers : &own};
  size_t hypers = 0;
  if (!hmoec_fold_parameters(module, options, diagnostics)) return false;
  hmoec_each_function(module, count, &hypers);
  hmoec_hyper_report_deinit(state.report);
  state.report->layers = calloc(hypers + 1, sizeof *state.report->layers);
  state.layers = calloc(hypers + 1, sizeof *state.layers);
  bool ok = state.layers && state.report->layers && hmoec_each_function(module, visit, &state);
  if (ok && options->routing.layers && state.mixtures < options->routing.layer_count)
    ok = hmoec_usage_error(diagnostics, "the routing that is given has %zu layers, the model %zu HyperExperts with selection sets",
                           options->routing.layer_count, state.mixtures);
  ok = ok && hmoec_hyper_report_choose(state.report, options->memory_bytes);
  for (size_t i = 0; ok && i < state.count; i++) ok = rewrite(&state.layers[i], diagnostics);
  for (size_t i = 0; i < state.count; i++) free(state.layers[i].chain.ops);
  free(state.layers);
  hmoec_hyper_report_deinit(&own);
  return ok;
}

typedef struct selections {
  hmoec_hyper_selection *at; /* NULL: they are counted */
  size_t count;
  hmoec_diagnostics *diagnostics;
} selections;

static bool find_selections(MlirOperation function, MlirBlock block, void *user) {
  (void)function;
  selections *found = user;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
    if (!hmoec_op_is(op, "hmoe.hyper_expert")) continue;
    chain c = {.from_selection = true};
    MlirOperation hypernetwork;
    if (!hypernetwork_find(op, &hypernetwork, found->diagnostics) || !collect(&c, block, mlirOperationGetOperand(hypernetwork, 0)))
      return false;
    free(c.ops);
    if (!c.from_selection || mlirOperationIsNull(c.embedding)) continue;
    MlirValue indices = mlirOperationGetOperand(c.embedding, 0);
    if (found->at)
      found->at[found->count] =
          (hmoec_hyper_selection){.indices = indices,
                                  .experts = hmoec_value_shape(mlirOperationGetOperand(c.embedding, 1)).dims[0],
                                  .top_k = hmoec_value_shape(indices).dims[1]};
    found->count++;
  }
  return true;
}

bool hmoec_hyper_selections(MlirModule module, hmoec_pass_options *options, hmoec_diagnostics *diagnostics,
                            hmoec_hyper_selection **out_selections, size_t *out_count) {
  selections found = {.diagnostics = diagnostics};
  *out_selections = NULL;
  *out_count = 0;
  if (!hmoec_fold_parameters(module, options, diagnostics) || !hmoec_each_function(module, find_selections, &found)) return false;
  found.at = calloc(found.count + 1, sizeof *found.at);
  found.count = 0;
  if (!found.at || !hmoec_each_function(module, find_selections, &found)) {
    free(found.at);
    return false;
  }
  *out_selections = found.at;
  *out_count = found.count;
  return true;
}
