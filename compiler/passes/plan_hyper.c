/* HyperExperts that are not fused into the experts: indexed (table, cache), per token, factored. */
#include <stdlib.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "ir/location.h"
#include "passes/plan.h"

#define PER_TOKEN_CHUNK 32   /* tokens whose D and U exist at one time */
#define FACTORED_CHUNK 256   /* tokens whose factored intermediates exist at one time */
#define CONTRACT_ROWS 8
#define MOST_FACTORED (1 << 20) /* opening takes two steps for every panel of the bottleneck */

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

/* The columns of a generator: index (q, column), q outermost. */
plan_part_layout plan_part_of(const planner *p, const plan_generator *g, plan_part part) {
  bool matrix = part == PLAN_DOWN || part == PLAN_UP;
  plan_part_layout layout = {.format = matrix ? p->options->dtype : HMOEC_FORMAT_F32,
                             .real_q = part == PLAN_DOWN ? g->d_model
                                       : part == PLAN_UP ? g->bottleneck
                                                         : 1,
                             .columns = part == PLAN_DOWN || part == PLAN_BETA ? g->bottleneck : g->d_model};
  layout.q = plan_depth(layout.format, layout.real_q);
  layout.elements = plan_panels(layout.columns) * layout.q * HMOE_PANEL;
  layout.bytes = hmoec_format_bytes(layout.format, layout.elements);
  return layout;
}

void plan_generate(planner *p, int fn, int64_t rows_dim, const plan_generator *g, plan_part part, plan_place r, plan_binding gather,
                   plan_binding scatter, plan_binding c, int64_t ldc) {
  plan_part_layout layout = plan_part_of(p, g, part);
  hmoec_format format = fn == PLAN_RUN ? layout.format : HMOEC_FORMAT_F32;
  int64_t n = layout.elements, depth = plan_depth(format, g->hidden), bytes = plan_operand_bytes(format, g->hidden, n);
  plan_place w = plan_value_get(p, g->operands[2 * part])->place, bias = plan_value_get(p, g->operands[2 * part + 1])->place;
  plan_pack pack = {.columns = n,
                    .q = layout.q,
                    .real_columns = layout.columns,
                    .column_stride = w.row_stride,
                    .q_stride = layout.columns * w.row_stride,
                    .k_outer = 1,
                    .k_inner = g->hidden,
                    .k_inner_stride = w.col_stride,
                    .source_offset = w.offset,
                    .groups = 1,
                    .group_bytes = bytes,
                    .outer_pitch = depth,
                    .panel_depth = depth,
                    .format = format,
                    .real_q = layout.real_q,
                    .paired = layout.format};
  int64_t elements = bytes / hmoec_format_bytes(format, 1);
  /* Of a run, all entries and layers that generate alike use one; at open they come and go. */
  plan_memory **made = plan_memo_at(p, w.memory, PLAN_MEMO_GENERATED + (int64_t)part, w.offset, w.row_stride, layout.format, 0, 0);
  plan_memory **made_bias =
      plan_memo_at(p, w.memory, PLAN_MEMO_GENERATED + (int64_t)part, w.offset, w.row_stride, layout.format, 1, 0);
  bool first_time = fn == PLAN_OPEN || !*made;
  plan_memory *panels = fn == PLAN_OPEN ? plan_workspace(p, "f32", -1, 1, elements, 0)
                        : first_time    ? plan_weight(p, hmoec_format_name(format), 1, elements)
                                        : *made;
  if (first_time) plan_pack_emit(p, panels, w.memory, &pack);
  plan_pack vector = {.columns = n,
                      .q = layout.q,
                      .real_columns = layout.columns,
                      .column_stride = bias.row_stride,
                      .q_stride = layout.columns * bias.row_stride,
                      .source_offset = bias.offset,
                      .groups = 1,
                      .group_bytes = 4 * n,
                      .real_q = layout.real_q,
                      .paired = layout.format};
  plan_memory *added = fn == PLAN_OPEN ? plan_workspace(p, "f32", -1, 1, n, 0)
                       : first_time    ? plan_weight(p, "f32", 1, n)
                                       : *made_bias;
  if (first_time) plan_pack_vector_emit(p, added, bias.memory, &vector);
  if (fn == PLAN_RUN) {
    *made = panels;
    *made_bias = added;
  }

  if (gather.memory) r.in_place = false;
  plan_matmul m = plan_matmul_init(p, fn, rows_dim, format, g->hidden, n, r);
  m.b = plan_at(panels);
  m.bias = plan_at(added);
  m.c = c;
  m.gather = gather;
  m.scatter = scatter;
  m.spec.ldc = ldc;
  m.spec.c_format = layout.format;
  m.spec.c_padded = true;
  plan_matmul_emit(p, &m);
}

plan_grouping plan_group_selections(planner *p, MlirValue indices, int64_t experts, const char *mode) {
  bool sets = !mlirValueIsNull(indices);
  int64_t top_k = sets ? hmoec_value_shape(indices).dims[1] : 1;
  plan_grouping grouping = {.indices = indices};
  int64_t rows = p->rows.count;
  grouping.blocks = plan_workspace(p, "i32", rows, 0, 4, 4);
  grouping.row_token = plan_workspace(p, "i32", rows, 0, 1, 0);
  if (sets) grouping.sets = plan_workspace(p, "i32", rows, 0, top_k, 0);
  plan_memory *scratch = plan_workspace(p, "i32", rows, 0, 8, 8);
  plan_step step = plan_step_begin(p, PLAN_RUN, "group_selections", rows);
  if (sets) plan_bind(&step, "indices", plan_at(plan_value_get(p, indices)->place.memory));
  plan_bind(&step, "blocks", plan_at(grouping.blocks));
  plan_bind(&step, "row_token", plan_at(grouping.row_token));
  if (sets) plan_bind(&step, "sets", plan_at(grouping.sets));
  plan_bind(&step, "scratch", plan_at(scratch));
  plan_int(&step, "experts", experts);
  plan_int(&step, "top_k", top_k);
  plan_string(&step, "mode", mode);
  plan_int(&step, "row_block", p->schedule.row_block);
  plan_step_end(&step);
  return grouping;
}

/* Generated weights that blocks index: one row of each memory a group. */
typedef struct generated {
  plan_memory *part[4];
} generated;

/* y[t] (+)= relu(x[t] D[g] + beta[g]) U[g] + gamma[g], rows sorted by group. */
static void apply(planner *p, const plan_generator *g, const generated *weights, const plan_grouping *grouping, MlirValue x_value,
                  MlirValue result) {
  plan_place x = plan_value_get(p, x_value)->place;
  x.in_place = false;
  hmoec_format format = p->options->dtype;
  int64_t lda = hmoec_is_bf16(format) ? p->schedule.lda_bf16 : p->schedule.lda, h = g->d_model, b = g->bottleneck, rows = p->rows.count;
  plan_memory *z = plan_workspace(p, hmoec_format_name(format), rows, 0, lda, PLAN_SLACK_ROWS);
  plan_matmul down = plan_matmul_init(p, PLAN_RUN, rows, format, h, b, x);
  down.b = plan_at(weights->part[PLAN_DOWN]);
  down.c = plan_at(z);
  down.blocks = plan_at(grouping->blocks);
  down.gather = plan_at(grouping->row_token);
  down.spec.ldc = lda;
  down.spec.c_format = format;
  down.spec.c_padded = true;
  down.spec.b_group_bytes = plan_part_of(p, g, PLAN_DOWN).bytes;
  down.spec.segment[0].activation = HMOEC_ACTIVATION_RELU;
  if (g->biases) {
    down.bias = plan_at(weights->part[PLAN_BETA]);
    down.spec.bias_group_floats = plan_part_of(p, g, PLAN_BETA).elements;
  }
  bool accumulate;
  plan_place y = plan_destination(p, result, rows, &accumulate);
  plan_matmul up = plan_matmul_init(p, PLAN_RUN, rows, format, b, h, (plan_place){z, 0, lda, 1, true, format});
  up.b = plan_at(weights->part[PLAN_UP]);
  up.c = plan_at(y.memory);
  up.blocks = plan_at(grouping->blocks);
  up.scatter = plan_at(grouping->row_token);
  up.spec.ldc = y.row_stride;
  up.spec.c_padded = y.row_stride % HMOE_PANEL == 0 && y.row_stride >= plan_panels(h) * HMOE_PANEL;
  up.spec.accumulate = accumulate;
  up.spec.b_group_bytes = plan_part_of(p, g, PLAN_UP).bytes;
  if (g->biases) {
    up.bias = plan_at(weights->part[PLAN_GAMMA]);
    up.spec.bias_group_floats = plan_part_of(p, g, PLAN_GAMMA).elements;
  }
  if (grouping->sets) {
    plan_pair(p, &down, &up);
  } else { /* a group a token: never rows enough */
    plan_matmul_emit(p, &down);
    plan_matmul_emit(p, &up);
  }
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
  if (grouping->sets) loop.todo_sets = plan_workspace(p, "i32", -1, chunk, top_k, 0);
  loop.todo_slot = plan_workspace(p, "i32", -1, chunk, 1, 0);
  loop.todo_token = plan_workspace(p, "i32", -1, chunk, 1, 0);
  loop.missing_dim = plan_dim_get(p, PLAN_RUN, HMOE_DIM_MISSING, 0, chunk);
  plan_step step = plan_step_begin(p, PLAN_RUN, "loop", p->rows.count);
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

static void loop_set(planner *p, MlirOperation loop, const char *name, int64_t value) {
  mlirOperationSetAttributeByName(loop, mlirStringRefCreateFromCString(name),
                                  mlirIntegerAttrGet(mlirIntegerTypeGet(p->context, 64), value));
}

/* Marks the per-set ops that `hypernetwork` needs with the number of its loop; there may be other loops. False: no memory. */
static bool mark_loop(planner *p, MlirOperation hypernetwork, int64_t loop) {
  const MlirStringRef name = mlirStringRefCreateFromCString("hmoe.loop");
  MlirAttribute number = mlirIntegerAttrGet(mlirIntegerTypeGet(p->context, 64), loop);
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
    return hmoec_error(p->diagnostics, hmoec_location_of_op(op),
                       "expected the row numbers of a memoized HyperExpert to come from distinct_selections");
  MlirValue indices = mlirOperationGetOperand(distinct, 0);
  int64_t top_k = hmoec_value_shape(indices).dims[1];
  MlirAttribute slots_attribute = mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("hmoe.slots"));
  int64_t slots = mlirAttributeIsNull(slots_attribute) ? 64 : mlirIntegerAttrGetValueInt(slots_attribute);
  plan_grouping grouping = plan_group_selections(p, indices, hmoec_op_int(distinct, "experts"), "distinct");
  plan_memory **made = plan_memo_at(p, op.ptr, PLAN_MEMO_GENERATED + PLAN_DOWN, 0, 0, 0, 0, 0);
  int64_t cache = *made ? (*made)->index : p->caches++; /* all entries share it */
  chunk_loop loop = loop_begin(p, &grouping, slots, top_k, cache);

  /* The chain from the selection sets to r runs on the sets that are missing from the cache. */
  plan_value_get(p, mlirOperationGetResult(distinct, 0))->place = (plan_place){loop.todo_sets, 0, top_k, 1, false, HMOEC_FORMAT_F32};
  if (!mark_loop(p, hypernetwork, loop.cache)) return hmoec_machine_error(p->diagnostics, "out of memory");
  for (MlirOperation each = mlirBlockGetFirstOperation(mlirOperationGetBlock(op)); !mlirOperationIsNull(each);
       each = mlirOperationGetNextInBlock(each)) {
    if (!in_loop(each, loop.cache) || hmoec_op_is(each, "hmoe.hypernetwork")) continue;
    plan_value_get(p, mlirOperationGetResult(each, 0))->destination = NULL; /* another loop may have planned it before */
    if (!plan_op(p, each, PLAN_RUN, loop.missing_dim)) return false;
  }
  plan_generator g = plan_generator_of(hypernetwork);
  plan_place r = plan_value_get(p, g.r)->place;
  generated weights = {0};
  int64_t offset = 0;
  for (int part = 0; part < parts_of(&g); part++) {
    plan_part_layout layout = plan_part_of(p, &g, (plan_part)part);
    made = plan_memo_at(p, op.ptr, PLAN_MEMO_GENERATED + part, 0, 0, 0, 0, 0);
    if (!*made) {
      *made = plan_memory_create(p, "cache", hmoec_format_name(layout.format), -1, 2, (int64_t[]){slots, layout.elements});
      (*made)->index = loop.cache;
      (*made)->offset = offset;
    }
    weights.part[part] = *made;
    offset += (slots * layout.bytes + 63) / 64 * 64;
    plan_generate(p, PLAN_RUN, loop.missing_dim, &g, (plan_part)part, r, (plan_binding){0}, plan_at(loop.todo_slot),
                  plan_at(weights.part[part]), layout.elements);
  }
  loop_set(p, loop.op, "generate", steps_after(loop.op));
  apply(p, &g, &weights, &grouping, mlirOperationGetOperand(op, 0), mlirOperationGetResult(op, 0));
  loop_set(p, loop.op, "body", steps_after(loop.op));
  return true;
}

bool plan_indexed_hyper_expert(planner *p, MlirOperation op) {
  MlirOperation hypernetwork = hmoec_defining_op(mlirOperationGetOperand(op, 2));
  if (mlirOperationIsNull(hypernetwork) || !hmoec_op_is(hypernetwork, "hmoe.hypernetwork"))
    return hmoec_error(p->diagnostics, hmoec_location_of_op(op),
                       "expected the weights of indexed_hyper_expert to come from a hypernetwork");
  if (hmoec_op_int(op, "memoize")) return plan_cached(p, op, hypernetwork);
  MlirOperation rank = hmoec_defining_op(mlirOperationGetOperand(op, 1));
  if (!hmoec_op_at_open(hypernetwork) || mlirOperationIsNull(rank) || !hmoec_op_is(rank, "hmoe.selection_rank"))
    return hmoec_error(p->diagnostics, hmoec_location_of_op(op), "expected a table of parameters alone, indexed by selection_rank");
  plan_generator g = plan_generator_of(hypernetwork);
  int64_t sets = hmoec_value_shape(mlirOperationGetResult(hypernetwork, 0)).dims[0];
  int64_t rows = plan_dim_get(p, PLAN_OPEN, HMOE_DIM_CONST, 0, sets);
  generated weights = {0};
  for (int part = 0; part < parts_of(&g); part++) {
    plan_part_layout layout = plan_part_of(p, &g, (plan_part)part);
    plan_memory **made = plan_memo_at(p, op.ptr, PLAN_MEMO_GENERATED + part, 0, 0, 0, 0, 0);
    bool packed = *made != NULL; /* for another entry */
    if (!packed) *made = plan_weight(p, hmoec_format_name(layout.format), sets, layout.elements);
    weights.part[part] = *made;
    if (packed) continue;
    plan_generate(p, PLAN_OPEN, rows, &g, (plan_part)part, plan_rows_place(p, PLAN_OPEN, g.r), (plan_binding){0}, (plan_binding){0},
                  plan_at(weights.part[part]), layout.elements);
  }
  plan_grouping grouping = plan_group_selections(p, mlirOperationGetOperand(rank, 0), hmoec_op_int(rank, "experts"), "rank");
  apply(p, &g, &weights, &grouping, mlirOperationGetOperand(op, 0), mlirOperationGetResult(op, 0));
  return true;
}

/* per_token: chunks of tokens, each with D and U of its own. */
bool plan_hyper_expert(planner *p, MlirOperation op) {
  MlirOperation hypernetwork = hmoec_defining_op(mlirOperationGetOperand(op, 1));
  if (mlirOperationIsNull(hypernetwork) || !hmoec_op_is(hypernetwork, "hmoe.hypernetwork"))
    return hmoec_error(p->diagnostics, hmoec_location_of_op(op),
                       "expected the weights of hyper_expert to come from a hypernetwork");
  plan_generator g = plan_generator_of(hypernetwork);
  plan_grouping grouping = plan_group_selections(p, (MlirValue){NULL}, 1, "token");
  chunk_loop loop = loop_begin(p, &grouping, PER_TOKEN_CHUNK, 1, -1);
  generated weights = {0};
  for (int part = 0; part < parts_of(&g); part++) {
    plan_part_layout layout = plan_part_of(p, &g, (plan_part)part);
    weights.part[part] = plan_workspace(p, hmoec_format_name(layout.format), -1, PER_TOKEN_CHUNK, layout.elements, 0);
    plan_generate(p, PLAN_RUN, loop.missing_dim, &g, (plan_part)part, plan_value_get(p, g.r)->place, plan_at(loop.todo_token),
                  plan_at(loop.todo_slot), plan_at(weights.part[part]), layout.elements);
  }
  loop_set(p, loop.op, "generate", steps_after(loop.op));
  apply(p, &g, &weights, &grouping, mlirOperationGetOperand(op, 0), mlirOperationGetResult(op, 0));
  loop_set(p, loop.op, "body", steps_after(loop.op));
  return true;
}

/* One panel of the bottleneck in the first factored pack: q groups of columns from w, or from the bias (q = 1), from group `at` on. */
static plan_pack factored_panel(const plan_generator *g, hmoec_format format, plan_place w, int64_t panel, int64_t q, int64_t at) {
  int64_t first = panel * HMOE_PANEL, rest = g->bottleneck - first, depth = plan_depth(format, g->d_model);
  return (plan_pack){.columns = q * HMOE_PANEL,
                     .q = q,
                     .real_columns = rest < HMOE_PANEL ? rest : HMOE_PANEL,
                     .column_stride = w.row_stride,
                     .q_stride = q > 1 ? w.col_stride : 0,
                     .k_outer = 1,
                     .k_inner = g->d_model,
                     .k_inner_stride = g->bottleneck * w.row_stride,
                     .source_offset = w.offset + first * w.row_stride,
                     .groups = 1,
                     .panel = panel * (g->hidden + 1) + at,
                     .outer_pitch = depth,
                     .panel_depth = depth,
                     .format = format};
}

/* Packs of the two factored products; layouts as in hmoec_contract_spec, column (m, k) of the first, depth row (k, m) of the second. */
static void pack_factored(planner *p, const plan_generator *g, hmoec_format format, plan_memory *first, plan_memory *second) {
  int64_t h = g->d_model, b = g->bottleneck, H = g->hidden;
  plan_place wd = plan_value_get(p, g->operands[0])->place, bd = plan_value_get(p, g->operands[1])->place;
  plan_place wu = plan_value_get(p, g->operands[2])->place, bu = plan_value_get(p, g->operands[3])->place;
  for (int64_t panel = 0; panel < plan_panels(b); panel++) {
    plan_pack generated = factored_panel(g, format, wd, panel, H, 0), constant = factored_panel(g, format, bd, panel, 1, H);
    plan_pack_emit(p, first, wd.memory, &generated);
    plan_pack_emit(p, first, bd.memory, &constant);
  }
  /* Depth rows of both halves alternate, at odd ones too: pairs are made of finished panels. */
  int64_t columns = plan_panels(h) * HMOE_PANEL, depth = b * (H + 1);
  plan_memory *panels = hmoec_is_bf16(format) ? plan_workspace(p, "f32", -1, plan_panels(h), HMOE_PANEL * depth, 0) : second;
  plan_pack generated = {.columns = columns,
                         .q = 1,
                         .real_columns = h,
                         .column_stride = wu.row_stride,
                         .k_outer = b,
                         .k_inner = H,
                         .k_outer_stride = h * wu.row_stride,
                         .k_inner_stride = wu.col_stride,
                         .source_offset = wu.offset,
                         .groups = 1,
                         .outer_pitch = H + 1,
                         .panel_depth = depth};
  plan_pack_emit(p, panels, wu.memory, &generated);
  plan_pack constant = {.columns = columns,
                        .q = 1,
                        .real_columns = h,
                        .column_stride = bu.row_stride,
                        .k_outer = b,
                        .k_inner = 1,
                        .k_outer_stride = h * bu.row_stride,
                        .source_offset = bu.offset,
                        .groups = 1,
                        .depth = H,
                        .outer_pitch = H + 1,
                        .panel_depth = depth};
  plan_pack_emit(p, panels, bu.memory, &constant);
  if (!hmoec_is_bf16(format)) return;
  plan_pack pairs = {.columns = HMOE_PANEL,
                     .q = 1,
                     .real_columns = HMOE_PANEL,
                     .column_stride = 1,
                     .k_outer = 1,
                     .k_inner = depth,
                     .k_inner_stride = HMOE_PANEL,
                     .groups = plan_panels(h),
                     .source_group_stride = HMOE_PANEL * depth,
                     .group_bytes = plan_operand_bytes(format, depth, HMOE_PANEL),
                     .outer_pitch = plan_depth(format, depth),
                     .panel_depth = plan_depth(format, depth),
                     .format = format};
  plan_pack_emit(p, second, panels, &pairs);
}

bool plan_factored_hyper_expert(planner *p, MlirOperation op) {
  plan_generator g = {.bottleneck = hmoec_op_int(op, "bottleneck"),
                      .r = mlirOperationGetOperand(op, 1),
                      .biases = mlirOperationGetNumOperands(op) > 6};
  for (intptr_t i = 2; i < mlirOperationGetNumOperands(op); i++) g.operands[i - 2] = mlirOperationGetOperand(op, i);
  hmoec_shape wd = hmoec_value_shape(g.operands[0]);
  g.d_model = wd.dims[0] / g.bottleneck;
  g.hidden = wd.dims[1];
  int64_t h = g.d_model, b = g.bottleneck, H = g.hidden, lda = p->schedule.lda;
  if (b > MOST_FACTORED)
    return hmoec_error(p->diagnostics, hmoec_location_of_op(op), "factored: expected a bottleneck of at most %d, found %lld",
                       MOST_FACTORED, (long long)b);
  int64_t columns = plan_panels(b) * (H + 1) * HMOE_PANEL, depth = b * (H + 1);
  hmoec_format format = plan_format(p, op);
  int64_t rows = p->rows.count;
  plan_memory **made = plan_memo_at(p, op.ptr, PLAN_MEMO_GENERATED, 0, 0, 0, 0, 0);
  plan_memory **made_second = plan_memo_at(p, op.ptr, PLAN_MEMO_GENERATED, 1, 0, 0, 0, 0);
  if (!*made) {
    *made = plan_weight(p, hmoec_format_name(format), 1, columns * plan_depth(format, h));
    *made_second = plan_weight(p, hmoec_format_name(format), 1, plan_panels(h) * HMOE_PANEL * plan_depth(format, depth));
    pack_factored(p, &g, format, *made, *made_second);
  }
  plan_memory *first_pack = *made, *second_pack = *made_second;
  plan_place x = plan_value_get(p, mlirOperationGetOperand(op, 0))->place, r = plan_value_get(p, g.r)->place;
  bool accumulate;
  plan_place y = plan_destination(p, mlirOperationGetResult(op, 0), rows, &accumulate);
  bool padded = y.row_stride % HMOE_PANEL == 0 && y.row_stride >= plan_panels(h) * HMOE_PANEL;

  plan_memory *beta = NULL;
  int64_t ldb = plan_panels(b) * HMOE_PANEL;
  if (g.biases) {
    beta = plan_workspace(p, "f32", rows, 0, ldb, 0);
    plan_generate(p, PLAN_RUN, rows, &g, PLAN_BETA, r, (plan_binding){0}, (plan_binding){0}, plan_at(beta), ldb);
    plan_place vu = plan_value_get(p, g.operands[6])->place;
    plan_matmul gamma = plan_matmul_init(p, PLAN_RUN, rows, HMOEC_FORMAT_F32, H, h, r);
    gamma.b = plan_at(plan_linear_weight(p, PLAN_RUN, vu, HMOEC_FORMAT_F32, h, H));
    gamma.bias = plan_vector(p, PLAN_RUN, plan_value_get(p, g.operands[7])->place, h);
    gamma.c = plan_at(y.memory);
    gamma.spec.ldc = y.row_stride;
    gamma.spec.c_padded = padded;
    gamma.spec.accumulate = accumulate;
    plan_matmul_emit(p, &gamma);
    accumulate = true;
  }
  int64_t chunk = plan_dim_get(p, PLAN_RUN, HMOE_DIM_CHUNK, 0, FACTORED_CHUNK);
  plan_step loop_step = plan_step_begin(p, PLAN_RUN, "loop", rows);
  plan_string(&loop_step, "kind", "rows");
  plan_int(&loop_step, "chunk", FACTORED_CHUNK);
  plan_int(&loop_step, "top_k", 0);
  plan_int(&loop_step, "generate", 0);
  plan_int(&loop_step, "cache", -1);
  MlirOperation loop = plan_step_end(&loop_step);

  plan_memory *t1 = plan_workspace(p, "f32", chunk, 0, columns, 0), *v = plan_workspace(p, "f32", chunk, 0, lda, PLAN_SLACK_ROWS);
  plan_matmul first = plan_matmul_init(p, PLAN_RUN, chunk, format, h, columns, x);
  first.spec.a_in_place = false;
  first.a.advance_bytes = 4 * x.row_stride;
  first.b = plan_at(first_pack);
  first.c = plan_at(t1);
  first.spec.ldc = columns;
  first.spec.c_padded = true;
  plan_matmul_emit(p, &first);
  hmoec_kernel kernel = {.family = HMOEC_KERNEL_CONTRACT,
                         .spec.contract = {.hidden = H,
                                           .bottleneck = b,
                                           .ld1 = columns,
                                           .ldr = r.row_stride,
                                           .ldb = beta ? ldb : 0,
                                           .ldv = lda,
                                           .row_block = CONTRACT_ROWS}};
  plan_step contract = plan_kernel_begin(p, PLAN_RUN, &kernel, chunk);
  plan_bind(&contract, "t1", plan_at(t1));
  plan_bind(&contract, "r", (plan_binding){r.memory, 4 * r.offset, 4 * r.row_stride});
  if (beta) plan_bind(&contract, "beta", (plan_binding){beta, 0, 4 * ldb});
  plan_bind(&contract, "v", plan_at(v));
  plan_step_end(&contract);
  plan_matmul second = plan_matmul_init(p, PLAN_RUN, chunk, format, depth, h, (plan_place){v, 0, lda, 1, true, HMOEC_FORMAT_F32});
  second.b = plan_at(second_pack);
  second.c = (plan_binding){y.memory, 0, 4 * y.row_stride};
  second.spec.ldc = y.row_stride;
  second.spec.c_padded = padded;
  second.spec.accumulate = accumulate;
  plan_matmul_emit(p, &second);
  loop_set(p, loop, "body", steps_after(loop));
  return true;
}
