/* HyperExperts that are not fused into the experts: indexed (table, cache), per token, factored. */
#include <stdlib.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "ir/location.h"
#include "passes/plan.h"

#define MOST_FACTORED (1 << 20) /* opening takes two steps for every column_step columns of the bottleneck */

plan_generator plan_generator_of(MlirOperation hypernetwork) {
  plan_generator g = {.bottleneck = hmoec_op_int(hypernetwork, "bottleneck"),
                      .r = mlirOperationGetOperand(hypernetwork, 0),
                      .biases = mlirOperationGetNumOperands(hypernetwork) > 5};
  for (intptr_t i = 1; i < mlirOperationGetNumOperands(hypernetwork); i++)
    g.operands[i - 1] = mlirOperationGetOperand(hypernetwork, i);
  hmoec_shape wd = hmoec_value_shape(g.operands[0]);
  g.d_model = wd.dims[0] / g.bottleneck;
  g.hidden = wd.dims[1];
  return g;
}

hmoec_operand plan_part_of(const planner *p, const plan_generator *g, plan_part part) {
  int64_t columns = part == PLAN_DOWN || part == PLAN_BETA ? g->bottleneck : g->d_model;
  if (part == PLAN_BETA || part == PLAN_GAMMA) return plan_vector_of(columns);
  return plan_right(p->graph.options->dtype, part == PLAN_DOWN ? g->d_model : g->bottleneck, columns);
}

/* Rows of a part: 1 of a vector. */
static int64_t rows_of(const hmoec_operand *part) { return part->role == HMOEC_ROLE_RIGHT ? part->depth : 1; }

/* From a generator's weights, or bias (hidden 0), in memory: rows of them are (row, column) of the part, row outermost. */
static hmoec_packing generator_packing(const hmoec_operand *part, plan_place from, int64_t hidden) {
  return (hmoec_packing){.columns = part->columns,
                         .column_stride = from.row_stride,
                         .q = rows_of(part),
                         .q_stride = part->columns * from.row_stride,
                         .k_outer = 1,
                         .k_inner = hidden,
                         .k_inner_stride = hidden ? from.col_stride : 0,
                         .source_offset = from.offset,
                         .groups = 1};
}

/* The operand of a generator whose columns make a part. */
static hmoec_operand generator_of(const hmoec_operand *part, hmoec_operand operand) {
  operand.columns = rows_of(part) * part->columns;
  operand.generated_rows = rows_of(part);
  operand.generates = part->format;
  return operand;
}

void plan_generate(planner *p, int fn, int64_t rows_dim, const plan_generator *g, plan_part part, plan_place r, plan_binding gather,
                   plan_binding scatter, plan_binding c) {
  hmoec_operand made_part = plan_part_of(p, g, part);
  hmoec_format format = fn == PLAN_RUN ? made_part.format : HMOEC_FORMAT_F32;
  plan_place w = plan_value_get(p, g->operands[2 * part])->place, bias = plan_value_get(p, g->operands[2 * part + 1])->place;
  hmoec_packing packing = generator_packing(&made_part, w, g->hidden), vector = generator_packing(&made_part, bias, 0);
  /* Of a run, all entries and layers that generate alike use one; at open they come and go. */
  plan_key key = {.owner = w.memory,
                  .making = PLAN_GENERATOR,
                  .part = (int64_t)part,
                  .format = made_part.format,
                  .offset = w.offset,
                  .row_stride = w.row_stride};
  plan_memory **made = plan_made(p, key);
  key.making = PLAN_GENERATOR_BIAS;
  plan_memory **made_bias = plan_made(p, key);
  bool first_time = fn == PLAN_OPEN || !*made;
  hmoec_operand generator = generator_of(&made_part, plan_right(format, g->hidden, 0)),
                generator_bias = generator_of(&made_part, plan_vector_of(0));
  plan_memory *operand = fn == PLAN_OPEN ? plan_workspace(p, -1, 1, generator) : first_time ? plan_weight(p, 1, generator) : *made;
  if (first_time) plan_pack_emit(p, plan_at(operand), w.memory, &packing);
  plan_memory *added = fn == PLAN_OPEN ? plan_workspace(p, -1, 1, generator_bias)
                       : first_time    ? plan_weight(p, 1, generator_bias)
                                       : *made_bias;
  if (first_time) plan_pack_emit(p, plan_at(added), bias.memory, &vector);
  if (fn == PLAN_RUN) {
    *made = operand;
    *made_bias = added;
  }

  plan_matmul m = plan_matmul_init(p, fn, rows_dim, format, g->hidden, generator.columns, r);
  m.b = plan_at(operand);
  m.bias = plan_at(added);
  m.c = c;
  m.gather = gather;
  m.scatter = scatter;
  m.spec.c_format = made_part.format;
  m.spec.few_rows = fn == PLAN_RUN && p->graph.target->packs_rows[format]; /* what it writes are no rows in place */
  plan_matmul_emit(p, &m);
}

plan_memory *plan_blocks(planner *p, int64_t dim) {
  plan_memory *blocks = plan_plain(p, "i32", dim, 0, 4);
  blocks->extra_rows = 4; /* the header is four blocks long */
  return blocks;
}

/* The step behind which tokens can be grouped by the sets in `indices`: that which chooses them, and groups them by expert, too. Null: it is not there, or steps of a
 * loop are in between. */
static MlirOperation choice_before(planner *p, MlirOperation step, MlirValue indices) {
  MlirOperation choice = {NULL}, before = {NULL};
  for (MlirOperation op = mlirBlockGetFirstOperation(p->out.block[PLAN_RUN]); !mlirOperationEqual(op, step);
       op = mlirOperationGetNextInBlock(op)) {
    if (hmoec_op_is(op, "hmk.buffer")) continue;
    bool is_choice = hmoec_op_is(op, "hmk.route_topk") && mlirValueEqual(mlirOperationGetOperand(op, 1), indices);
    bool groups = hmoec_op_is(op, "hmk.group_tokens") && !mlirOperationIsNull(before) && mlirOperationEqual(before, choice);
    if (is_choice || groups) choice = op;
    if (hmoec_op_is(op, "hmk.loop")) choice = (MlirOperation){NULL};
    before = op;
  }
  return choice;
}

/* Moves a step, and the buffers that nobody had before it, to where its indices are known: what stands between need not be over before it begins, on devices that
 * overlap steps. */
static void move_behind_choice(planner *p, MlirOperation step) {
  MlirOperation choice = choice_before(p, step, mlirOperationGetOperand(step, 0)), at = choice;
  if (mlirOperationIsNull(choice)) return;
  for (MlirOperation next, op = mlirOperationGetNextInBlock(choice); !mlirOperationEqual(op, step); op = next) {
    next = mlirOperationGetNextInBlock(op);
    bool own = false;
    for (intptr_t i = 0; i < mlirOperationGetNumOperands(step); i++)
      own |= hmoec_op_is(op, "hmk.buffer") && mlirValueEqual(mlirOperationGetOperand(step, i), mlirOperationGetResult(op, 0));
    if (!own) continue;
    mlirOperationMoveAfter(op, at);
    at = op;
  }
  mlirOperationMoveAfter(step, at);
}

plan_grouping plan_group_selections(planner *p, MlirValue indices, int64_t experts, const char *mode) {
  bool sets = !mlirValueIsNull(indices);
  int64_t top_k = sets ? hmoec_value_shape(indices).dims[1] : 1;
  plan_grouping grouping = {.indices = indices};
  int64_t rows = p->here.rows.count;
  grouping.blocks = plan_blocks(p, rows);
  grouping.row_token = plan_plain(p, "i32", rows, 0, 1);
  if (sets) grouping.sets = plan_plain(p, "i32", rows, 0, top_k);
  plan_memory *scratch = plan_plain(p, "i32", rows, 0, 8);
  scratch->extra_rows = 8;
  plan_step step = plan_step_begin(p, PLAN_RUN, "group_selections", rows);
  if (sets) plan_bind(&step, "indices", plan_at(plan_value_get(p, indices)->place.memory));
  plan_bind(&step, "blocks", plan_at(grouping.blocks));
  plan_bind(&step, "row_token", plan_at(grouping.row_token));
  if (sets) plan_bind(&step, "sets", plan_at(grouping.sets));
  plan_bind(&step, "scratch", plan_at(scratch));
  plan_int(&step, "experts", experts);
  plan_int(&step, "top_k", top_k);
  plan_string(&step, "mode", mode);
  MlirOperation op = plan_step_end(&step);
  if (sets) move_behind_choice(p, op);
  return grouping;
}

/* Generated weights that blocks index: one row of each memory a group. */
typedef struct generated {
  plan_memory *part[4];
} generated;

/* The last step, where it adds up the slots of tokens into y, which nothing was in before; else null. */
static MlirOperation combine_at_end(planner *p, const plan_memory *y) {
  MlirOperation last = {NULL};
  for (MlirOperation op = mlirBlockGetFirstOperation(p->out.block[PLAN_RUN]); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op))
    if (!hmoec_op_is(op, "hmk.buffer")) last = op;
  bool is_it = !mlirOperationIsNull(last) && hmoec_op_is(last, "hmk.combine") && !hmoec_op_int(last, "accumulate") &&
               mlirValueEqual(mlirOperationGetOperand(last, 1), y->value[PLAN_RUN]);
  return is_it ? last : (MlirOperation){NULL};
}

static void step_set(planner *p, MlirOperation step, const char *name, int64_t value) {
  mlirOperationSetAttributeByName(step, mlirStringRefCreateFromCString(name),
                                  mlirIntegerAttrGet(mlirIntegerTypeGet(p->out.context, 64), value));
}

/* It goes behind what now writes y first, and adds to that: its slots are waited for when there is nothing else to do. */
static void combine_later(planner *p, MlirOperation combine) {
  step_set(p, combine, "accumulate", 1);
  mlirOperationRemoveFromParent(combine);
  mlirBlockAppendOwnedOperation(p->out.block[PLAN_RUN], combine);
}

/* y[t] (+)= relu(x[t] D[g] + beta[g]) U[g] + gamma[g], rows sorted by group. */
static void apply(planner *p, const plan_generator *g, const generated *weights, const plan_grouping *grouping, MlirValue x_value,
                  MlirValue result) {
  plan_place x = plan_value_get(p, x_value)->place;
  hmoec_format format = p->graph.options->dtype;
  int64_t h = g->d_model, b = g->bottleneck, rows = p->here.rows.count;
  /* Rows of a set may be many, and are packed then; a group a token never has any. */
  bool packs = p->graph.target->packs_rows[format], packs_sets = packs && grouping->sets;
  plan_place z = plan_whole_place(packs_sets ? plan_block_rows(p, format, rows, b, PLAN_ANY_GROUPS)
                                             : plan_rows_memory(p, format, rows, b, true));
  plan_matmul down = plan_matmul_init(p, PLAN_RUN, rows, format, h, b, x);
  plan_matmul_into(&down, z);
  down.b = plan_at(weights->part[PLAN_DOWN]);
  down.blocks = plan_at(grouping->blocks);
  down.groups = PLAN_ANY_GROUPS;
  down.gather = plan_at(grouping->row_token);
  down.spec.segment[0].activation = HMOEC_ACTIVATION_RELU;
  if (g->biases) down.bias = plan_at(weights->part[PLAN_BETA]);
  bool accumulate;
  plan_place y = plan_destination(p, result, rows, &accumulate);
  MlirOperation combine = accumulate ? combine_at_end(p, y.memory) : (MlirOperation){NULL};
  plan_matmul up = plan_matmul_init(p, PLAN_RUN, rows, format, b, h, z);
  plan_matmul_into(&up, y);
  up.b = plan_at(weights->part[PLAN_UP]);
  up.blocks = plan_at(grouping->blocks);
  up.scatter = plan_at(grouping->row_token);
  up.spec.accumulate = accumulate && mlirOperationIsNull(combine);
  if (g->biases) up.bias = plan_at(weights->part[PLAN_GAMMA]);
  down.spec.few_rows = up.spec.few_rows = packs && !packs_sets;
  if (grouping->sets) {
    plan_pair(p, &down, &up);
  } else {
    plan_matmul_emit(p, &down);
    plan_matmul_emit(p, &up);
  }
  if (!mlirOperationIsNull(combine)) combine_later(p, combine);
}

static int parts_of(const plan_generator *g) { return g->biases ? 4 : 2; }

/* The chunk loop of generated weights; the caller then emits the body and closes it. */
typedef struct chunk_loop {
  MlirOperation op;
  plan_memory *todo_sets, *todo_slot, *todo_token;
  int64_t missing_dim, cache;
  bool cached;
} chunk_loop;

static chunk_loop loop_begin(planner *p, const plan_grouping *grouping, int64_t chunk, int64_t top_k, int64_t cache) {
  chunk_loop loop = {.cached = cache >= 0, .cache = cache};
  if (grouping->sets) loop.todo_sets = plan_plain(p, "i32", -1, chunk, top_k);
  loop.todo_slot = plan_plain(p, "i32", -1, chunk, 1);
  loop.todo_token = plan_plain(p, "i32", -1, chunk, 1);
  loop.missing_dim = plan_dim_get(p, PLAN_RUN, HMOE_DIM_MISSING, 0, chunk);
  plan_step step = plan_step_begin(p, PLAN_RUN, "loop", p->here.rows.count);
  plan_bind(&step, "blocks", plan_at(grouping->blocks));
  if (grouping->sets) {
    plan_bind(&step, "sets", plan_at(grouping->sets));
    plan_bind(&step, "todo_sets", plan_at(loop.todo_sets));
  }
  plan_bind(&step, "todo_slot", plan_at(loop.todo_slot));
  plan_bind(&step, "todo_token", plan_at(loop.todo_token));
  plan_bind(&step, "row_token", plan_at(grouping->row_token));
  plan_string(&step, "kind", loop.cached ? "cached" : "groups");
  plan_int(&step, "chunk", chunk);
  plan_int(&step, "top_k", top_k);
  plan_int(&step, "cache", loop.cache);
  loop.op = plan_step_end(&step);
  return loop;
}

/* Steps (ops that are no buffers) after `op`. */
static int64_t steps_after(MlirOperation op) {
  int64_t count = 0;
  for (op = mlirOperationGetNextInBlock(op); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op))
    count += !hmoec_op_is(op, "hmk.buffer");
  return count;
}

/* Marks the per-set ops that `hypernetwork` needs with the number of its loop; there may be other loops. False: no memory. */
static bool mark_loop(planner *p, MlirOperation hypernetwork, int64_t loop) {
  const MlirStringRef name = mlirStringRefCreateFromCString("hmoe.loop");
  MlirAttribute number = mlirIntegerAttrGet(mlirIntegerTypeGet(p->out.context, 64), loop);
  size_t count;
  MlirOperation *ops = hmoec_block_ops(mlirOperationGetBlock(hypernetwork), &count);
  if (!ops) return false;
  mlirOperationSetAttributeByName(hypernetwork, name, number);
  for (size_t i = count; i-- > 0;) {
    MlirAttribute mark = mlirOperationGetAttributeByName(ops[i], name);
    if (mlirAttributeIsNull(mark) || !mlirAttributeEqual(mark, number)) continue;
    for (intptr_t o = 0; o < mlirOperationGetNumOperands(ops[i]); o++) {
      MlirOperation source = hmoec_defining_op(mlirOperationGetOperand(ops[i], o));
      if (!mlirOperationIsNull(source) && plan_is_per_set(source)) mlirOperationSetAttributeByName(source, name, number);
    }
  }
  free(ops);
  return true;
}

static bool in_loop(MlirOperation op, int64_t loop) {
  MlirAttribute mark = mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("hmoe.loop"));
  return !mlirAttributeIsNull(mark) && mlirIntegerAttrGetValueInt(mark) == loop;
}

static bool plan_cached(planner *p, MlirOperation op, MlirOperation hypernetwork) {
  MlirOperation distinct = hmoec_defining_op(mlirOperationGetOperand(op, 1));
  if (mlirOperationIsNull(distinct) || !hmoec_op_is(distinct, "hmoe.distinct_selections"))
    return hmoec_error(p->graph.diagnostics, hmoec_location_of_op(op),
                       "expected the row numbers of a memoized HyperExpert to come from distinct_selections");
  MlirValue indices = mlirOperationGetOperand(distinct, 0);
  int64_t top_k = hmoec_value_shape(indices).dims[1];
  MlirAttribute slots_attribute = mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("hmoe.slots"));
  int64_t slots = mlirAttributeIsNull(slots_attribute) ? 64 : mlirIntegerAttrGetValueInt(slots_attribute);
  plan_grouping grouping = plan_group_selections(p, indices, hmoec_op_int(distinct, "experts"), "distinct");
  plan_memory **made = plan_made(p, (plan_key){.owner = op.ptr, .making = PLAN_GENERATED, .part = PLAN_DOWN});
  int64_t cache = *made ? (*made)->index : p->out.caches++; /* all entries share it */
  chunk_loop loop = loop_begin(p, &grouping, slots, top_k, cache);

  /* The chain from the selection sets to r runs on the sets that are missing from the cache. */
  plan_value_get(p, mlirOperationGetResult(distinct, 0))->place = plan_whole_place(loop.todo_sets);
  if (!mark_loop(p, hypernetwork, loop.cache)) return hmoec_machine_error(p->graph.diagnostics, "out of memory");
  for (MlirOperation each = mlirBlockGetFirstOperation(mlirOperationGetBlock(op)); !mlirOperationIsNull(each);
       each = mlirOperationGetNextInBlock(each)) {
    if (!in_loop(each, loop.cache) || hmoec_op_is(each, "hmoe.hypernetwork")) continue;
    plan_value_get(p, mlirOperationGetResult(each, 0))->destination = NULL; /* another loop may have planned it before */
    if (!plan_op(p, each, PLAN_RUN, loop.missing_dim)) return false;
  }
  plan_generator g = plan_generator_of(hypernetwork);
  plan_place r = plan_value_get(p, g.r)->place;
  generated weights = {0};
  for (int part = 0; part < parts_of(&g); part++) {
    hmoec_operand made_part = plan_part_of(p, &g, (plan_part)part);
    made = plan_made(p, (plan_key){.owner = op.ptr, .making = PLAN_GENERATED, .part = part});
    if (!*made) *made = plan_cache(p, loop.cache, part, slots, made_part);
    weights.part[part] = *made;
    plan_generate(p, PLAN_RUN, loop.missing_dim, &g, (plan_part)part, r, (plan_binding){0}, plan_at(loop.todo_slot),
                  plan_at(weights.part[part]));
  }
  step_set(p, loop.op, "generate", steps_after(loop.op));
  apply(p, &g, &weights, &grouping, mlirOperationGetOperand(op, 0), mlirOperationGetResult(op, 0));
  step_set(p, loop.op, "body", steps_after(loop.op));
  return true;
}

bool plan_indexed_hyper_expert(planner *p, MlirOperation op) {
  MlirOperation hypernetwork = hmoec_defining_op(mlirOperationGetOperand(op, 2));
  if (mlirOperationIsNull(hypernetwork) || !hmoec_op_is(hypernetwork, "hmoe.hypernetwork"))
    return hmoec_error(p->graph.diagnostics, hmoec_location_of_op(op),
                       "expected the weights of indexed_hyper_expert to come from a hypernetwork");
  if (hmoec_op_int(op, "memoize")) return plan_cached(p, op, hypernetwork);
  MlirOperation rank = hmoec_defining_op(mlirOperationGetOperand(op, 1));
  if (!hmoec_op_at_open(hypernetwork) || mlirOperationIsNull(rank) || !hmoec_op_is(rank, "hmoe.selection_rank"))
    return hmoec_error(p->graph.diagnostics, hmoec_location_of_op(op),
                       "expected a table of parameters alone, indexed by selection_rank");
  plan_generator g = plan_generator_of(hypernetwork);
  int64_t sets = hmoec_value_shape(mlirOperationGetResult(hypernetwork, 0)).dims[0];
  int64_t rows = plan_dim_get(p, PLAN_OPEN, HMOE_DIM_CONST, 0, sets);
  generated weights = {0};
  for (int part = 0; part < parts_of(&g); part++) {
    hmoec_operand made_part = plan_part_of(p, &g, (plan_part)part);
    plan_memory **made = plan_made(p, (plan_key){.owner = op.ptr, .making = PLAN_GENERATED, .part = part});
    bool packed = *made != NULL; /* for another entry */
    if (!packed) *made = plan_weight(p, sets, made_part);
    weights.part[part] = *made;
    if (packed) continue;
    plan_generate(p, PLAN_OPEN, rows, &g, (plan_part)part, plan_rows_place(p, PLAN_OPEN, g.r), (plan_binding){0}, (plan_binding){0},
                  plan_at(weights.part[part]));
  }
  plan_grouping grouping = plan_group_selections(p, mlirOperationGetOperand(rank, 0), hmoec_op_int(rank, "experts"), "rank");
  apply(p, &g, &weights, &grouping, mlirOperationGetOperand(op, 0), mlirOperationGetResult(op, 0));
  return true;
}

/* per_token: chunks of tokens, each with D and U of its own. */
bool plan_hyper_expert(planner *p, MlirOperation op) {
  MlirOperation hypernetwork = hmoec_defining_op(mlirOperationGetOperand(op, 1));
  if (mlirOperationIsNull(hypernetwork) || !hmoec_op_is(hypernetwork, "hmoe.hypernetwork"))
    return hmoec_error(p->graph.diagnostics, hmoec_location_of_op(op),
                       "expected the weights of hyper_expert to come from a hypernetwork");
  plan_generator g = plan_generator_of(hypernetwork);
  plan_grouping grouping = plan_group_selections(p, (MlirValue){NULL}, 1, "token");
  int64_t chunk = plan_knob(&p->graph, "loop", "per_token_chunk");
  chunk_loop loop = loop_begin(p, &grouping, chunk, 1, -1);
  generated weights = {0};
  for (int part = 0; part < parts_of(&g); part++) {
    hmoec_operand made_part = plan_part_of(p, &g, (plan_part)part);
    weights.part[part] = plan_workspace(p, -1, chunk, made_part);
    plan_generate(p, PLAN_RUN, loop.missing_dim, &g, (plan_part)part, plan_value_get(p, g.r)->place, plan_at(loop.todo_token),
                  plan_at(loop.todo_slot), plan_at(weights.part[part]));
  }
  step_set(p, loop.op, "generate", steps_after(loop.op));
  apply(p, &g, &weights, &grouping, mlirOperationGetOperand(op, 0), mlirOperationGetResult(op, 0));
  step_set(p, loop.op, "body", steps_after(loop.op));
  return true;
}

/* column_step columns of the bottleneck in the first factored operand: q groups of columns from w, or from the bias (q = 1), from group `at` on. */
static hmoec_packing factored_columns(const planner *p, const plan_generator *g, plan_place w, int64_t number, int64_t q,
                                      int64_t at) {
  int64_t step = p->graph.target->column_step, first = number * step, rest = g->bottleneck - first;
  return (hmoec_packing){.columns = rest < step ? rest : step,
                         .column_stride = w.row_stride,
                         .q = q,
                         .q_stride = q > 1 ? w.col_stride : 0,
                         .side_by_side = true,
                         .k_outer = 1,
                         .k_inner = g->d_model,
                         .k_inner_stride = g->bottleneck * w.row_stride,
                         .source_offset = w.offset + first * w.row_stride,
                         .groups = 1,
                         .first_column = (number * (g->hidden + 1) + at) * step};
}

/* Operands of the two factored products; as in hmoec_contract_spec, column (m, k) of the first, depth (k, m) of the second. */
static void pack_factored(planner *p, const plan_generator *g, hmoec_format format, plan_memory *first, plan_memory *second) {
  int64_t h = g->d_model, b = g->bottleneck, H = g->hidden, depth = b * (H + 1);
  plan_place wd = plan_value_get(p, g->operands[0])->place, bd = plan_value_get(p, g->operands[1])->place;
  plan_place wu = plan_value_get(p, g->operands[2])->place, bu = plan_value_get(p, g->operands[3])->place;
  for (int64_t i = 0; i * p->graph.target->column_step < b; i++) {
    hmoec_packing generated = factored_columns(p, g, wd, i, H, 0), constant = factored_columns(p, g, bd, i, 1, H);
    plan_pack_emit(p, plan_at(first), wd.memory, &generated);
    plan_pack_emit(p, plan_at(first), bd.memory, &constant);
  }
  /* Depth rows of both parts alternate. */
  bool at_once = p->graph.target->packs_any_depth(format);
  hmoec_format packed = at_once ? format : HMOEC_FORMAT_F32;
  plan_memory *operand = at_once ? second : plan_workspace(p, -1, 1, plan_right(packed, depth, h));
  hmoec_packing generated = {.columns = h,
                             .column_stride = wu.row_stride,
                             .q = 1,
                             .k_outer = b,
                             .k_inner = H,
                             .k_outer_stride = h * wu.row_stride,
                             .k_inner_stride = wu.col_stride,
                             .source_offset = wu.offset,
                             .groups = 1,
                             .outer_pitch = H + 1};
  plan_pack_emit(p, plan_at(operand), wu.memory, &generated);
  hmoec_packing constant = {.columns = h,
                            .column_stride = bu.row_stride,
                            .q = 1,
                            .k_outer = b,
                            .k_inner = 1,
                            .k_outer_stride = h * bu.row_stride,
                            .source_offset = bu.offset,
                            .groups = 1,
                            .first_k = H,
                            .outer_pitch = H + 1};
  plan_pack_emit(p, plan_at(operand), bu.memory, &constant);
  const hmoec_packing all = {.q = 1, .k_outer = 1, .groups = 1};
  if (!at_once) plan_pack_emit(p, plan_at(second), operand, &all); /* of a finished operand another one */
}

bool plan_factored_hyper_expert(planner *p, MlirOperation op) {
  plan_generator g = {.bottleneck = hmoec_op_int(op, "bottleneck"),
                      .r = mlirOperationGetOperand(op, 1),
                      .biases = mlirOperationGetNumOperands(op) > 6};
  for (intptr_t i = 2; i < mlirOperationGetNumOperands(op); i++) g.operands[i - 2] = mlirOperationGetOperand(op, i);
  hmoec_shape wd = hmoec_value_shape(g.operands[0]);
  g.d_model = wd.dims[0] / g.bottleneck;
  g.hidden = wd.dims[1];
  int64_t h = g.d_model, b = g.bottleneck, H = g.hidden;
  if (b > MOST_FACTORED)
    return hmoec_error(p->graph.diagnostics, hmoec_location_of_op(op), "factored: expected a bottleneck of at most %d, found %lld",
                       MOST_FACTORED, (long long)b);
  int64_t columns = plan_round(&p->graph, b) * (H + 1), depth = b * (H + 1);
  hmoec_format format = plan_format(&p->graph, op);
  int64_t rows = p->here.rows.count;
  plan_memory **made = plan_made(p, (plan_key){.owner = op.ptr, .making = PLAN_FACTORED, .part = 0});
  plan_memory **made_second = plan_made(p, (plan_key){.owner = op.ptr, .making = PLAN_FACTORED, .part = 1});
  if (!*made) {
    *made = plan_weight(p, 1, plan_right(format, h, columns));
    *made_second = plan_weight(p, 1, plan_right(format, depth, h));
    pack_factored(p, &g, format, *made, *made_second);
  }
  plan_memory *first_pack = *made, *second_pack = *made_second;
  plan_place x = plan_value_get(p, mlirOperationGetOperand(op, 0))->place, r = plan_value_get(p, g.r)->place;
  bool accumulate;
  plan_place y = plan_destination(p, mlirOperationGetResult(op, 0), rows, &accumulate);

  plan_memory *beta = NULL;
  if (g.biases) {
    beta = plan_workspace(p, rows, 0, plan_vector_of(b));
    plan_generate(p, PLAN_RUN, rows, &g, PLAN_BETA, r, (plan_binding){0}, (plan_binding){0}, plan_at(beta));
    plan_place vu = plan_value_get(p, g.operands[6])->place;
    plan_matmul gamma = plan_matmul_init(p, PLAN_RUN, rows, HMOEC_FORMAT_F32, H, h, r);
    gamma.b = plan_at(plan_linear_weight(p, PLAN_RUN, vu, HMOEC_FORMAT_F32, h, H));
    gamma.bias = plan_vector(p, PLAN_RUN, plan_value_get(p, g.operands[7])->place, h);
    plan_matmul_into(&gamma, y);
    gamma.spec.accumulate = accumulate;
    plan_matmul_emit(p, &gamma);
    accumulate = true;
  }
  int64_t chunk_rows = plan_knob(&p->graph, "loop", "factored_chunk"),
          chunk = plan_dim_get(p, PLAN_RUN, HMOE_DIM_CHUNK, 0, chunk_rows);
  plan_step loop_step = plan_step_begin(p, PLAN_RUN, "loop", rows);
  plan_string(&loop_step, "kind", "rows");
  plan_int(&loop_step, "chunk", chunk_rows);
  plan_int(&loop_step, "top_k", 0);
  plan_int(&loop_step, "generate", 0);
  plan_int(&loop_step, "cache", -1);
  MlirOperation loop = plan_step_end(&loop_step);

  plan_memory *t1 = plan_rows_memory(p, HMOEC_FORMAT_F32, chunk, columns, false);
  plan_place v = plan_whole_place(plan_rows_memory(p, HMOEC_FORMAT_F32, chunk, depth, true));
  plan_matmul first = plan_matmul_init(p, PLAN_RUN, chunk, format, h, columns, x);
  first.a.by = 1;
  first.b = plan_at(first_pack);
  first.c = plan_at(t1);
  plan_matmul_emit(p, &first);
  hmoec_kernel kernel = {.family = HMOEC_KERNEL_CONTRACT, .spec.contract = {.hidden = H, .bottleneck = b}};
  plan_step contract = plan_kernel_begin(p, PLAN_RUN, &kernel, chunk);
  plan_bind(&contract, "t1", plan_at(t1));
  plan_binding r_rows = plan_rows_at(r), beta_rows = plan_at(beta);
  r_rows.by = beta_rows.by = 1;
  plan_bind(&contract, "r", r_rows);
  plan_bind(&contract, "beta", beta_rows);
  plan_bind(&contract, "v", plan_at(v.memory));
  plan_step_end(&contract);
  plan_matmul second = plan_matmul_init(p, PLAN_RUN, chunk, format, depth, h, v);
  plan_matmul_into(&second, y);
  second.b = plan_at(second_pack);
  second.c.by = 1;
  second.spec.accumulate = accumulate;
  plan_matmul_emit(p, &second);
  step_set(p, loop, "body", steps_after(loop));
  return true;
}
