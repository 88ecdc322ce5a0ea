/* Routing, grouping and the experts: route -> route_topk ; combine(experts) -> group_tokens, two grouped products, combine. */
#include <mlir-c/BuiltinAttributes.h>

#include "ir/location.h"
#include "passes/plan.h"

bool plan_route(planner *p, MlirOperation op) {
  MlirValue logits = mlirOperationGetOperand(op, 0);
  plan_place place = plan_value_get(p, logits)->place;
  int64_t experts = plan_columns(logits), top_k = hmoec_op_int(op, "top_k"), rows = p->here.rows.count;
  plan_memory *indices = plan_plain(p, "i32", rows, 0, top_k), *gates = plan_plain(p, "f32", rows, 0, top_k);
  MlirStringRef gate = hmoec_op_string(op, "gate");
  hmoec_kernel kernel = {.family = HMOEC_KERNEL_ROUTE,
                         .spec.route = {.experts = experts,
                                        .top_k = top_k,
                                        .gate = hmoec_gate_find(gate.data, gate.length),
                                        .renorm = hmoec_op_int(op, "renorm")}};
  if (kernel.spec.route.gate == HMOEC_GATE_SCORE) kernel.spec.route.score = plan_activation(&p->graph, gate);
  plan_step step = plan_kernel_begin(p, PLAN_RUN, &kernel, rows);
  plan_bind(&step, "logits", plan_rows_at(place));
  plan_bind(&step, "indices", plan_at(indices));
  plan_bind(&step, "gates", plan_at(gates));
  plan_step_end(&step);
  plan_value_get(p, mlirOperationGetResult(op, 0))->place = plan_whole_place(indices);
  plan_value_get(p, mlirOperationGetResult(op, 1))->place = plan_whole_place(gates);
  plan_value *kept = plan_value_get(p, mlirOperationGetResult(op, 2));
  kept->capacity = hmoec_op_int(op, "capacity");
  bool batched = hmoec_value_shape(logits).rank == 3; /* a batch row has its own; of flattened logits all rows are one */
  kept->scope = kept->capacity > 0 && batched ? p->here.rows.length : -1;
  bool decode = p->here.entry->kind == PLAN_DECODE && kept->scope >= 0 && !hmoec_op_int(op, "per_call");
  kept->history =
      decode ? plan_state_memory(p, op.ptr, PLAN_HISTORY, "i32", HMOE_SCOPE_TARGET, (hmoec_operand){.columns = top_k}) : NULL;
  return true;
}

/* Rows that are sorted: picks of tokens. */
static int64_t picks_dim(planner *p, int64_t top_k) {
  return top_k == 1 ? p->here.rows.count : plan_dim_get(p, PLAN_RUN, HMOE_DIM_SCALE, p->here.rows.count, top_k);
}

static plan_grouping group_tokens(planner *p, MlirValue indices, MlirValue gates, MlirValue kept, int64_t experts) {
  int64_t top_k = hmoec_value_shape(indices).dims[1], capacity = plan_value_get(p, kept)->capacity, rows = p->here.rows.count;
  int64_t scope = plan_value_get(p, kept)->scope, picks = picks_dim(p, top_k);
  plan_grouping grouping = {.indices = indices, .capacity = capacity};
  grouping.blocks = plan_blocks(p, picks);
  grouping.row_token = plan_plain(p, "i32", picks, 0, 1);
  grouping.row_slot = plan_plain(p, "i32", picks, 0, 1);
  grouping.row_gate = plan_plain(p, "f32", picks, 0, 1);
  plan_memory *counters = plan_plain(p, "i32", -1, 4, experts);
  plan_place gate = plan_value_get(p, gates)->place;
  if (gate.row_stride != top_k || plan_has_gaps(&p->graph, gate.memory)) { /* computed, not route's: rows have gaps */
    plan_place dense = plan_whole_place(plan_plain(p, "f32", rows, 0, top_k));
    plan_map(p, PLAN_RUN, rows, HMOEC_ACTIVATION_NONE, gate, dense, top_k, false);
    gate = dense;
  }
  plan_step step = plan_step_begin(p, PLAN_RUN, "group_tokens", picks);
  plan_bind(&step, "indices", plan_at(plan_value_get(p, indices)->place.memory));
  plan_bind(&step, "gates", plan_at(gate.memory));
  plan_bind(&step, "blocks", plan_at(grouping.blocks));
  plan_bind(&step, "row_token", plan_at(grouping.row_token));
  plan_bind(&step, "row_slot", plan_at(grouping.row_slot));
  plan_bind(&step, "row_gate", plan_at(grouping.row_gate));
  plan_bind(&step, "counters", plan_at(counters));
  plan_int(&step, "experts", experts);
  plan_int(&step, "top_k", top_k);
  plan_int(&step, "capacity", capacity);
  plan_int(&step, "scope", scope);
  plan_memory *history = plan_value_get(p, kept)->history;
  int64_t dims[2] = {-1, -1};
  if (history) { /* capacity counts on over the tokens that were decoded before */
    dims[0] = plan_dim_get(p, PLAN_RUN, HMOE_DIM_STATE, 3 * HMOE_SCOPE_TARGET + 2, 0);
    dims[1] = plan_dim_get(p, PLAN_RUN, HMOE_DIM_STATE, 3 * HMOE_SCOPE_TARGET + 1, 0);
    plan_bind(&step, "history", plan_at(history));
  }
  plan_ints(&step, "dims", dims, history ? 2 : 0);
  plan_step_end(&step);
  return grouping;
}

/* What the experts op and its fused form have in common. Generated parts are absent (b = 0) for plain experts. */
typedef struct layer {
  const void *owner; /* the op: what is packed for it, every entry uses */
  MlirValue x, indices, gates, kept, wi, wo, bi, bo;
  MlirValue wi_1, bi_1; /* of gated experts, else null */
  bool biases, drops_to_zero, packed; /* packed: for another entry */
  hmoec_format format; /* of the products */
  hmoec_activation activation;
  int64_t experts, d_ff, d_model, top_k;
  int64_t ff_columns; /* of the hidden block, that are the expert's own; where generated ones begin */
  int64_t bottleneck;
  plan_memory *pack1, *pack2, *bias1, *bias2, *out_bias; /* out_bias: bo, gated; bias2: what generated biases add */
  int64_t own1, columns1; /* of the first pack: those that are the expert's own (of gated experts twice ff_columns), and all */
  int64_t hidden; /* columns of the hidden block */
} layer;

/* Memory of all experts in the weight arena, made once for all entries. */
static plan_memory *expert_memory(planner *p, layer *l, int64_t which, hmoec_operand operand) {
  plan_memory **made = plan_made(p, (plan_key){.owner = l->owner, .making = PLAN_EXPERTS, .part = which});
  if (*made) l->packed = true;
  else *made = plan_weight(p, l->experts, operand);
  return *made;
}

/* The experts' weights w [n, k], or the transposes of [k, n], into the first columns and depth of right operands. */
static void pack_stack(planner *p, const layer *l, MlirValue w, hmoec_pair pair, plan_memory *destination, int64_t n, int64_t k) {
  plan_place source = plan_value_get(p, w)->place;
  hmoec_packing packing = plan_packing(source, n, k);
  packing.groups = l->experts;
  packing.source_group_stride = source.group_stride;
  packing.pair = pair;
  plan_pack_emit(p, plan_at(destination), source.memory, &packing);
}

/* The experts' biases v [n]. */
static void pack_biases(planner *p, const layer *l, MlirValue v, hmoec_pair pair, plan_memory *destination, int64_t n) {
  plan_place source = plan_value_get(p, v)->place; /* [experts, n] */
  hmoec_packing packing = {.columns = n,
                           .column_stride = source.col_stride,
                           .q = 1,
                           .k_outer = 1,
                           .source_offset = source.offset,
                           .groups = l->experts,
                           .source_group_stride = source.row_stride,
                           .pair = pair};
  plan_pack_emit(p, plan_at(destination), source.memory, &packing);
}

/* Sizes of the packs, and the packing of the experts' own weights: [W1 | D] and [W2 ; U], with room for D and U. Of gated experts W1 is pairs. */
static void pack_experts(planner *p, layer *l, bool generated_biases) {
  hmoec_shape wi = hmoec_value_shape(l->wi);
  l->experts = wi.dims[0];
  l->d_ff = wi.dims[1];
  l->d_model = wi.dims[2];
  l->top_k = hmoec_value_shape(l->indices).dims[1];
  l->ff_columns = hmoec_round_depth(p->graph.target, l->format, plan_round(&p->graph, l->d_ff));
  l->own1 = mlirValueIsNull(l->wi_1) ? l->ff_columns : 2 * l->ff_columns;
  l->columns1 = l->own1 + plan_round(&p->graph, l->bottleneck);
  l->hidden = l->bottleneck ? l->ff_columns + l->bottleneck : l->d_ff;
  int64_t h = l->d_model;
  l->pack1 = expert_memory(p, l, 0, plan_right(l->format, h, l->columns1));
  l->pack2 = expert_memory(p, l, 1, plan_right(l->format, l->hidden, h));
  if (l->biases || generated_biases) l->bias1 = expert_memory(p, l, 2, plan_vector_of(l->columns1));
  if (l->biases) l->out_bias = expert_memory(p, l, 3, plan_vector_of(h));
  if (generated_biases) l->bias2 = expert_memory(p, l, 4, plan_vector_of(h));
  if (l->packed) return;
  bool paired = !mlirValueIsNull(l->wi_1);
  hmoec_pair first = paired ? HMOEC_PAIR_GATES : HMOEC_PAIR_NONE;
  pack_stack(p, l, l->wi, first, l->pack1, l->d_ff, h);
  if (paired) pack_stack(p, l, l->wi_1, HMOEC_PAIR_UPS, l->pack1, l->d_ff, h);
  pack_stack(p, l, l->wo, HMOEC_PAIR_NONE, l->pack2, h, l->d_ff);
  if (!l->biases) return;
  pack_biases(p, l, l->bi, first, l->bias1, l->d_ff);
  if (paired) pack_biases(p, l, l->bi_1, HMOEC_PAIR_UPS, l->bias1, l->d_ff);
  pack_biases(p, l, l->bo, HMOEC_PAIR_NONE, l->out_bias, h);
}

/* The two grouped products and, for top_k > 1, the sum over a token's picks. */
static void run_experts(planner *p, const layer *l, MlirValue result) {
  plan_grouping grouping = group_tokens(p, l->indices, l->gates, l->kept, l->experts);
  int64_t picks = picks_dim(p, l->top_k), rows = p->here.rows.count, h = l->d_model;
  bool is_fused = l->bottleneck > 0;
  plan_place x = plan_value_get(p, l->x)->place;

  int64_t groups = l->experts * (grouping.capacity > 0 ? 2 : 1); /* dropped rows are a group of their own */
  plan_place hidden = plan_whole_place(plan_block_rows(p, l->format, picks, l->hidden, groups));
  plan_matmul first = plan_matmul_init(p, PLAN_RUN, picks, l->format, h, l->hidden, x);
  plan_matmul_into(&first, hidden);
  first.b = plan_at(l->pack1);
  first.blocks = plan_at(grouping.blocks);
  first.groups = groups;
  first.gather = plan_at(grouping.row_token);
  if (l->bias1) first.bias = plan_at(l->bias1);
  first.spec.paired = !mlirValueIsNull(l->wi_1);
  first.spec.segment[0] = (hmoec_matmul_segment){l->d_ff, l->activation, is_fused, false};
  if (is_fused) { /* what the expert gives is gated, what the HyperExpert adds in the same sum is not */
    first.row_gate = plan_at(grouping.row_gate);
    first.spec.segments = 2;
    first.spec.segment[1] = (hmoec_matmul_segment){first.spec.n, HMOEC_ACTIVATION_RELU, false, false};
  }
  first.spec.dropped_column = l->ff_columns;
  first.spec.dropped_k_begin = 0;

  bool accumulate = false;
  plan_place c;
  if (l->top_k == 1) {
    c = plan_destination(p, result, rows, &accumulate);
  } else {
    c = plan_whole_place(plan_rows_memory(p, HMOEC_FORMAT_F32, picks, h, false));
  }
  plan_matmul second = plan_matmul_init(p, PLAN_RUN, picks, l->format, l->hidden, h, hidden);
  plan_matmul_into(&second, c);
  second.b = plan_at(l->pack2);
  second.blocks = plan_at(grouping.blocks);
  second.scatter = plan_at(grouping.row_slot);
  if (is_fused) {
    if (l->out_bias || (grouping.capacity > 0 && !l->drops_to_zero)) second.row_gate = plan_at(grouping.row_gate);
    if (l->out_bias) second.gated_bias = plan_at(l->out_bias);
    if (l->bias2) second.bias = plan_at(l->bias2);
  } else {
    second.row_gate = plan_at(grouping.row_gate);
    if (l->out_bias) second.bias = plan_at(l->out_bias);
    second.spec.segment[0].gated = true;
  }
  if (grouping.capacity > 0 && l->drops_to_zero) {
    second.spec.dropped_bare = !is_fused || l->out_bias;
  } else if (grouping.capacity > 0) {
    second.pass = plan_rows_at(x);
    second.pass_index = plan_at(grouping.row_token);
  }
  second.spec.accumulate = accumulate;
  second.spec.dropped_column = 0;
  second.spec.dropped_k_begin = l->bottleneck ? l->ff_columns : l->hidden;
  plan_pair(p, &first, &second);

  if (l->top_k > 1) {
    plan_place y = plan_destination(p, result, rows, &accumulate);
    hmoec_kernel kernel = {.family = HMOEC_KERNEL_COMBINE, .spec.combine = {.n = h, .top_k = l->top_k, .accumulate = accumulate}};
    plan_step step = plan_kernel_begin(p, PLAN_RUN, &kernel, rows);
    plan_bind(&step, "slots", plan_at(c.memory));
    plan_bind(&step, "y", plan_at(y.memory));
    plan_step_end(&step);
  }
}

/* The experts' own weights and, where they have some, biases: operands of an op from these on, of gated experts one more of either. */
static void take_weights(layer *l, MlirOperation op, bool gated, intptr_t weights, intptr_t biases) {
  l->wi = mlirOperationGetOperand(op, weights);
  if (gated) l->wi_1 = mlirOperationGetOperand(op, weights + 1);
  l->wo = mlirOperationGetOperand(op, weights + 1 + gated);
  if (!l->biases) return;
  l->bi = mlirOperationGetOperand(op, biases);
  if (gated) l->bi_1 = mlirOperationGetOperand(op, biases + 1);
  l->bo = mlirOperationGetOperand(op, biases + 1 + gated);
}

bool plan_combine(planner *p, MlirOperation op) {
  MlirOperation experts = hmoec_defining_op(mlirOperationGetOperand(op, 0));
  MlirValue gates = mlirOperationGetOperand(op, 1);
  bool gated = hmoec_op_is(experts, "hmoe.gated_experts");
  layer l = {.owner = op.ptr,
             .x = mlirOperationGetOperand(experts, 0),
             .indices = mlirOperationGetOperand(experts, 1),
             .kept = mlirOperationGetOperand(experts, 2),
             .gates = gates,
             .biases = mlirOperationGetNumOperands(experts) > (gated ? 6 : 5),
             .format = plan_format(&p->graph, experts),
             .drops_to_zero = hmoec_op_string_is(experts, "dropped", "zero"),
             .activation = plan_activation(&p->graph, hmoec_op_string(experts, "activation"))};
  take_weights(&l, experts, gated, 3, gated ? 6 : 5);
  pack_experts(p, &l, false);
  run_experts(p, &l, mlirOperationGetResult(op, 0));
  return true;
}

static void pack_hyper_experts(planner *p, const layer *l, const plan_generator *g) {
  /* D goes straight into its columns of the first pack; U is generated apart and copied below W2's rows. */
  int64_t rows = plan_dim_get(p, PLAN_OPEN, HMOE_DIM_CONST, 0, l->experts);
  plan_place r = plan_rows_place(p, PLAN_OPEN, g->r);
  plan_binding none = {0}, down = plan_at(l->pack1), beta = plan_at(l->bias1);
  down.at = beta.at = l->own1;
  plan_generate(p, PLAN_OPEN, rows, g, PLAN_DOWN, r, none, none, down);
  plan_memory *up = plan_workspace(p, rows, 0, plan_part_of(p, g, PLAN_UP));
  plan_generate(p, PLAN_OPEN, rows, g, PLAN_UP, r, none, none, plan_at(up));
  plan_step copy = plan_step_begin(p, PLAN_OPEN, "copy", -1);
  plan_bind(&copy, "dst", plan_at(l->pack2));
  plan_bind(&copy, "src", plan_at(up));
  plan_int(&copy, "depth", l->ff_columns);
  plan_step_end(&copy);
  if (g->biases) {
    plan_generate(p, PLAN_OPEN, rows, g, PLAN_BETA, r, none, none, beta);
    plan_generate(p, PLAN_OPEN, rows, g, PLAN_GAMMA, r, none, none, plan_at(l->bias2));
  }
}

bool plan_fused_experts(planner *p, MlirOperation op) {
  bool gated = hmoec_op_is(op, "hmoe.fused_gated_experts");
  intptr_t down = gated ? 7 : 6; /* what is generated: down, up */
  layer l = {.owner = op.ptr,
             .x = mlirOperationGetOperand(op, 0),
             .indices = mlirOperationGetOperand(op, 1),
             .gates = mlirOperationGetOperand(op, 2),
             .kept = mlirOperationGetOperand(op, 3),
             .biases = hmoec_op_int(op, "expert_biases") != 0,
             .format = plan_format(&p->graph, op),
             .drops_to_zero = hmoec_op_string_is(op, "dropped", "zero"),
             .activation = plan_activation(&p->graph, hmoec_op_string(op, "activation"))};
  take_weights(&l, op, gated, 4, down + 2);
  MlirOperation hypernetwork = hmoec_defining_op(mlirOperationGetOperand(op, down));
  if (mlirOperationIsNull(hypernetwork) || !hmoec_op_is(hypernetwork, "hmoe.hypernetwork") || !hmoec_op_at_open(hypernetwork))
    return hmoec_error(p->graph.diagnostics, hmoec_location_of_op(op),
                       "expected the generated weights of fused experts to come from a hypernetwork of parameters alone");
  plan_generator g = plan_generator_of(hypernetwork);
  l.bottleneck = g.bottleneck;
  pack_experts(p, &l, g.biases);
  if (!l.packed) pack_hyper_experts(p, &l, &g);
  run_experts(p, &l, mlirOperationGetResult(op, 0));
  return true;
}
