/* plan-kernels: from what is computed (hmoe) to how work is cut (hmk).
 *
 *   func @model(x) -> y { hmoe ops }  ->  func @open { pack, generate } ; func @run { buffers, kernels, groupings, loops }
 *
 * Ops marked at_open are planned into @open, the others into @run. An op writes straight into the buffer of the value it is part of: the
 * operands of an add share its destination, the first to run writes and the others accumulate, and results that the function returns are
 * written into the caller's memory. Row strides are the schedule's lda where a product will read the rows in place, else the columns
 * rounded up to a panel. Requires verified hmoe with one entry function, after fold-parameters; leaves verified hmk. */
#include "passes/plan.h"

#include <stdlib.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#define SELECT_ROWS 8
#define MAP_ROWS 16

static MlirStringRef ref(const char *text) { return mlirStringRefCreateFromCString(text); }

hmoec_activation plan_activation(MlirStringRef name) { return hmoec_activation_find(name.data, name.length); }

bool plan_at_open(MlirOperation op) { return !mlirAttributeIsNull(mlirOperationGetAttributeByName(op, ref("at_open"))); }

bool plan_is_per_set(MlirOperation op) { return !mlirAttributeIsNull(mlirOperationGetAttributeByName(op, ref("hmoe.per_set"))); }

/* Marks what is computed per distinct selection set: everything from the sets to the generated weights. */
static void mark_per_set(MlirOperation *ops, size_t count, MlirContext context) {
  for (size_t i = 0; i < count; i++) {
    if (plan_at_open(ops[i]) || hmoec_op_is(ops[i], "hmoe.indexed_hyper_expert")) continue;
    for (intptr_t o = 0; o < mlirOperationGetNumOperands(ops[i]); o++) {
      MlirValue operand = mlirOperationGetOperand(ops[i], o);
      MlirOperation source = hmoec_defining_op(operand);
      if (mlirOperationIsNull(source)) continue;
      bool sets = hmoec_op_is(source, "hmoe.distinct_selections") && mlirValueEqual(operand, mlirOperationGetResult(source, 0));
      if (sets || plan_is_per_set(source)) mlirOperationSetAttributeByName(ops[i], ref("hmoe.per_set"), mlirUnitAttrGet(context));
    }
  }
}

/* Whether a product reads the rows of this value. */
static bool feeds_product(MlirValue value) {
  for (MlirOpOperand use = mlirValueGetFirstUse(value); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use)) {
    MlirOperation user = mlirOpOperandGetOwner(use);
    if (mlirOpOperandGetOperandNumber(use) == 0 && (hmoec_op_is(user, "hmoe.linear") || hmoec_op_is(user, "hmoe.hypernetwork")))
      return true;
  }
  return false;
}

plan_place plan_destination(planner *p, MlirValue value, int64_t rows_dim, bool *out_accumulate) {
  plan_value *v = plan_value_get(p, value);
  if (v->destination) {
    *out_accumulate = v->destination->written;
    v->destination->written = true;
    v->place = (plan_place){v->destination,
                            0,
                            v->destination->shape[1],
                            1,
                            v->destination->slack_rows >= PLAN_SLACK_ROWS && v->destination->shape[1] == p->schedule.lda,
                            false};
    return v->place;
  }
  *out_accumulate = false;
  bool in_place = feeds_product(value);
  hmoec_shape shape = hmoec_value_shape(value);
  int64_t columns = shape.dims[shape.rank - 1], ld = in_place ? p->schedule.lda : plan_panels(columns) * HMOE_PANEL;
  plan_memory *memory = plan_workspace(p, "f32", rows_dim, 0, ld, in_place ? PLAN_SLACK_ROWS : 0);
  v = plan_value_get(p, value);
  v->place = (plan_place){memory, 0, ld, 1, in_place, false};
  return v->place;
}

plan_binding plan_table(planner *p, int fn, plan_place table, int64_t rows, int64_t columns) {
  if (table.row_stride == columns && table.col_stride == 1)
    return plan_vector(p, fn, (plan_place){table.memory, table.offset, 1, 1, false, false}, rows * columns);
  int64_t padded = plan_panels(rows * columns) * HMOE_PANEL;
  plan_pack pack = {.columns = columns,
                    .q = 1,
                    .real_columns = columns,
                    .column_stride = table.col_stride,
                    .source_offset = table.offset,
                    .groups = rows,
                    .source_group_stride = table.row_stride,
                    .group_bytes = 4 * columns};
  plan_memory *packed = fn == PLAN_RUN ? plan_weight(p, "f32", 1, padded) : plan_workspace(p, "f32", -1, 1, padded, 0);
  plan_pack_vector_emit(p, packed, table.memory, &pack);
  return plan_at(packed);
}

/* Whether a stack is read only where kernels take it group by group. */
static bool only_grouped(MlirValue stack) {
  for (MlirOpOperand use = mlirValueGetFirstUse(stack); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use)) {
    MlirOperation user = mlirOpOperandGetOwner(use);
    if (!hmoec_op_is(user, "hmoe.experts") && !hmoec_op_is(user, "hmoe.fused_experts")) return false;
  }
  return true;
}

static bool plan_parameter(planner *p, MlirOperation op) {
  MlirValue value = mlirOperationGetResult(op, 0);
  hmoec_shape shape = hmoec_value_shape(value);
  int64_t count = hmoec_op_int(op, "count"), first = count > 0 ? 1 : 0;
  plan_memory *memory = plan_memory_create(p, "param", "f32", -1, shape.rank - first, shape.dims + first);
  MlirStringRef key = hmoec_op_string(op, "key");
  memory->key = strndup(key.data, key.length);
  if (!memory->key) p->failed = true;
  memory->count = count;
  memory->index = p->params++;
  int64_t last = shape.dims[shape.rank - 1];
  if (count > 1 && shape.rank == 2 && !only_grouped(value)) { /* a stack of vectors that is read as a matrix becomes one */
    plan_memory *matrix = plan_workspace(p, "f32", -1, count, last, 0);
    plan_pack rows = {.columns = last,
                      .q = 1,
                      .real_columns = last,
                      .column_stride = 1,
                      .groups = count,
                      .source_group_stride = last,
                      .group_bytes = 4 * last};
    plan_pack_vector_emit(p, matrix, memory, &rows);
    memory = matrix;
  }
  plan_value_get(p, value)->place = (plan_place){memory, 0, shape.rank == 1 ? 1 : last, 1, false, false};
  return true;
}

/* Whether bf16 products, and nothing else, read the rows of this value. */
static bool only_bf16_products(const planner *p, MlirValue value) {
  for (MlirOpOperand use = mlirValueGetFirstUse(value); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use)) {
    MlirOperation user = mlirOpOperandGetOwner(use);
    if (!hmoec_op_is(user, "hmoe.linear") || mlirOpOperandGetOperandNumber(use) != 0 || !plan_is_bf16(p, user)) return false;
  }
  return !hmoec_value_unused(value);
}

/* Where a bf16 linear writes: rows that the next product reads as they are, else any destination. */
static plan_place linear_destination(planner *p, MlirValue result, bool bf16, int64_t rows_dim, bool *out_accumulate) {
  if (!bf16 || plan_value_get(p, result)->destination || !only_bf16_products(p, result))
    return plan_destination(p, result, rows_dim, out_accumulate);
  int64_t ld = p->schedule.lda_bf16;
  *out_accumulate = false;
  plan_memory *memory = plan_workspace(p, "bf16", rows_dim, 0, ld, PLAN_SLACK_ROWS);
  return plan_value_get(p, result)->place = (plan_place){memory, 0, ld, 1, true, true};
}

static bool plan_linear(planner *p, MlirOperation op, int fn, int64_t rows_dim) {
  MlirValue result = mlirOperationGetResult(op, 0);
  hmoec_shape w = hmoec_value_shape(mlirOperationGetOperand(op, 1));
  hmoec_activation activation = HMOEC_ACTIVATION_NONE;
  MlirOperation user = hmoec_single_user(result);
  if (!mlirOperationIsNull(user) && hmoec_op_is(user, "hmoe.activate")) {
    activation = plan_activation(hmoec_op_string(user, "function"));
    result = mlirOperationGetResult(user, 0);
  }
  plan_place x = plan_value_get(p, mlirOperationGetOperand(op, 0))->place,
             weight = plan_value_get(p, mlirOperationGetOperand(op, 1))->place;
  int64_t n = w.dims[0], k = w.dims[1];
  bool bf16 = fn == PLAN_RUN && plan_is_bf16(p, op);
  plan_matmul m = plan_matmul_init(p, fn, rows_dim, bf16, k, n, x);
  m.b = plan_at(plan_linear_weight(p, fn, weight, bf16, n, k));
  if (mlirOperationGetNumOperands(op) > 2) {
    m.bias = plan_vector(p, fn, plan_value_get(p, mlirOperationGetOperand(op, 2))->place, n);
  }
  plan_place y = linear_destination(p, result, bf16, rows_dim, &m.spec.accumulate);
  m.spec.c_bf16 = y.bf16;
  m.c = plan_at(y.memory);
  m.spec.ldc = y.row_stride;
  m.spec.c_padded = y.row_stride % 16 == 0 && y.row_stride >= plan_panels(n) * HMOE_PANEL;
  m.spec.segment[0].activation = activation;
  plan_matmul_emit(p, &m);
  return true;
}

void plan_map(planner *p, int fn, int64_t rows_dim, const char *function, plan_place in, plan_place out, int64_t columns,
              bool accumulate) {
  plan_step step = plan_step_begin(p, fn, "map_rows", rows_dim);
  plan_bind(&step, "in", (plan_binding){in.memory, 4 * in.offset, 0});
  plan_bind(&step, "out", (plan_binding){out.memory, 4 * out.offset, 0});
  plan_string(&step, "function", function);
  plan_int(&step, "n", columns);
  plan_int(&step, "ld_in", in.row_stride);
  plan_int(&step, "ld_out", out.row_stride);
  plan_int(&step, "accumulate", accumulate);
  plan_int(&step, "row_block", MAP_ROWS);
  plan_step_end(&step);
}

static bool plan_activate(planner *p, MlirOperation op, int fn, int64_t rows_dim) {
  MlirValue x = mlirOperationGetOperand(op, 0), y = mlirOperationGetResult(op, 0);
  MlirOperation source = hmoec_defining_op(x);
  if (!mlirOperationIsNull(source) && hmoec_op_is(source, "hmoe.linear") && !mlirOperationIsNull(hmoec_single_user(x)))
    return true; /* the linear's epilogue */
  bool accumulate;
  plan_place out = plan_destination(p, y, rows_dim, &accumulate);
  hmoec_shape shape = hmoec_value_shape(y);
  plan_map(p, fn, rows_dim, hmoec_activation_name(plan_activation(hmoec_op_string(op, "function"))), plan_value_get(p, x)->place,
           out, shape.dims[shape.rank - 1], accumulate);
  return true;
}

/* Operands that could not write the sum's memory themselves are added to it now. */
static bool plan_add(planner *p, MlirOperation op, int fn, int64_t rows_dim) {
  MlirValue y = mlirOperationGetResult(op, 0);
  hmoec_shape shape = hmoec_value_shape(y);
  for (int i = 0; i < 2; i++) {
    MlirValue operand = mlirOperationGetOperand(op, i);
    plan_memory *destination = plan_value_get(p, y)->destination;
    if (destination && plan_value_get(p, operand)->destination == destination) continue;
    bool accumulate;
    plan_place out = plan_destination(p, y, rows_dim, &accumulate);
    if (!destination) accumulate = i == 1;
    plan_map(p, fn, rows_dim, "none", plan_value_get(p, operand)->place, plan_value_get(p, y)->place, shape.dims[shape.rank - 1],
             accumulate);
    if (!destination) { /* a sum of its own memory: the second operand adds to what the first wrote */
      plan_value_get(p, y)->destination = out.memory;
      out.memory->written = true;
    }
  }
  plan_memory *destination = plan_value_get(p, y)->destination;
  plan_value_get(p, y)->place = (plan_place){destination,
                                             0,
                                             destination->shape[1],
                                             1,
                                             destination->slack_rows >= PLAN_SLACK_ROWS && destination->shape[1] == p->schedule.lda,
                                             false};
  return true;
}

static bool plan_selection_embedding(planner *p, MlirOperation op, int fn, int64_t rows_dim) {
  hmoec_shape sets = hmoec_value_shape(mlirOperationGetOperand(op, 0)), table = hmoec_value_shape(mlirOperationGetOperand(op, 1));
  bool accumulate;
  plan_binding rows = plan_table(p, fn, plan_value_get(p, mlirOperationGetOperand(op, 1))->place, table.dims[0], table.dims[1]);
  plan_place out = plan_destination(p, mlirOperationGetResult(op, 0), rows_dim, &accumulate);
  plan_step step = plan_step_begin(p, fn, "select_embedding", rows_dim);
  plan_bind(&step, "sets", plan_at(plan_value_get(p, mlirOperationGetOperand(op, 0))->place.memory));
  plan_bind(&step, "table", rows);
  plan_bind(&step, "out", plan_at(out.memory));
  plan_int(&step, "experts", table.dims[0]);
  plan_int(&step, "top_k", sets.dims[1]);
  plan_int(&step, "embedding", table.dims[1]);
  plan_int(&step, "ld_out", out.row_stride);
  MlirStringRef of = hmoec_op_string(op, "of");
  plan_string(&step, "of", of.length == strlen("selected") ? "selected" : "unselected");
  plan_int(&step, "mean", hmoec_op_string_is(op, "aggregate", "mean"));
  plan_int(&step, "row_block", SELECT_ROWS);
  plan_step_end(&step);
  return true;
}

static bool plan_all_selections(planner *p, MlirOperation op) {
  hmoec_shape sets = hmoec_value_shape(mlirOperationGetResult(op, 0));
  plan_memory *memory = plan_workspace(p, "i32", -1, sets.dims[0], sets.dims[1], 0);
  plan_step step = plan_step_begin(p, PLAN_OPEN, "all_selections", -1);
  plan_bind(&step, "dst", plan_at(memory));
  plan_int(&step, "experts", hmoec_op_int(op, "experts"));
  plan_int(&step, "top_k", sets.dims[1]);
  plan_int(&step, "sets", sets.dims[0]);
  plan_step_end(&step);
  plan_value_get(p, mlirOperationGetResult(op, 0))->place = (plan_place){memory, 0, sets.dims[1], 1, false, false};
  return true;
}

static bool plan_weight_embedding(planner *p, MlirOperation op) {
  static const char *const roles[] = {"wi", "wo", "depthwise1", "pointwise1", "depthwise2", "pointwise2"};
  hmoec_shape shape = hmoec_value_shape(mlirOperationGetResult(op, 0));
  plan_memory *memory = plan_workspace(p, "f32", -1, shape.dims[0], shape.dims[1], 0);
  plan_step step = plan_step_begin(p, PLAN_OPEN, "weight_embedding", -1);
  plan_bind(&step, "dst", plan_at(memory));
  for (int i = 0; i < 6; i++) {
    plan_memory *source = plan_value_get(p, mlirOperationGetOperand(op, i))->place.memory;
    if (!source || strcmp(source->kind, "param") != 0)
      return hmoec_error(p->diagnostics, hmoec_location_of_op(op), "expected operand %s of weight_embedding to be a parameter",
                         roles[i]);
    plan_bind(&step, roles[i], plan_at(source));
  }
  plan_int(&step, "ld_out", shape.dims[1]);
  plan_step_end(&step);
  plan_value_get(p, mlirOperationGetResult(op, 0))->place = (plan_place){memory, 0, shape.dims[1], 1, false, false};
  return true;
}

/* take_row, slice, reshape: the same memory seen otherwise. */
static bool plan_view(planner *p, MlirOperation op) {
  MlirValue x = mlirOperationGetOperand(op, 0), y = mlirOperationGetResult(op, 0);
  plan_place place = plan_value_get(p, x)->place;
  hmoec_shape from = hmoec_value_shape(x), to = hmoec_value_shape(y);
  place.in_place = false;
  if (!plan_at_open(op))
    return hmoec_error(p->diagnostics, hmoec_location_of_op(op), "expected slice, reshape and take_row to be of parameters alone");
  if (hmoec_op_is(op, "hmoe.take_row")) {
    place.offset += hmoec_op_int(op, "row") * place.row_stride;
  } else if (hmoec_op_is(op, "hmoe.slice")) {
    place.offset += hmoec_op_int(op, "begin") * place.col_stride;
    if (to.rank == 1) place.col_stride = 1; /* a vector: its elements are row_stride apart */
  } else {
    bool contiguous =
        from.rank == 1 ? place.row_stride == 1 : place.col_stride == 1 && (from.dims[0] == 1 || place.row_stride == from.dims[1]);
    if (!contiguous || from.rank > 2 || to.rank > 2)
      return hmoec_error(p->diagnostics, hmoec_location_of_op(op), "expected reshape to be of a contiguous matrix");
    place.row_stride = to.rank == 1 ? 1 : to.dims[1];
    place.col_stride = 1;
  }
  plan_value_get(p, y)->place = place;
  return true;
}

bool plan_op(planner *p, MlirOperation op, int fn, int64_t rows_dim) {
  p->location = mlirOperationGetLocation(op);
  if (hmoec_op_is(op, "hmoe.parameter")) return plan_parameter(p, op);
  if (hmoec_op_is(op, "hmoe.linear")) return plan_linear(p, op, fn, rows_dim);
  if (hmoec_op_is(op, "hmoe.activate")) return plan_activate(p, op, fn, rows_dim);
  if (hmoec_op_is(op, "hmoe.add")) return plan_add(p, op, fn, rows_dim);
  if (hmoec_op_is(op, "hmoe.selection_embedding")) return plan_selection_embedding(p, op, fn, rows_dim);
  if (hmoec_op_is(op, "hmoe.all_selections")) return plan_all_selections(p, op);
  if (hmoec_op_is(op, "hmoe.weight_embedding")) return plan_weight_embedding(p, op);
  if (hmoec_op_is(op, "hmoe.take_row") || hmoec_op_is(op, "hmoe.slice") || hmoec_op_is(op, "hmoe.reshape")) return plan_view(p, op);
  MlirStringRef name = mlirIdentifierStr(mlirOperationGetName(op));
  return hmoec_error(p->diagnostics, hmoec_location_of_op(op), "%.*s cannot be compiled here", (int)name.length, name.data);
}

typedef struct handler {
  const char *name;
  bool (*plan)(planner *p, MlirOperation op);
} handler;

static bool planned_by_user(planner *p, MlirOperation op) {
  (void)p;
  (void)op;
  return true;
}

/* Ops of the entry that are more than one row-wise step. */
static const handler handlers[] = {
    {"hmoe.route", plan_route},
    {"hmoe.experts", planned_by_user},
    {"hmoe.combine", plan_combine},
    {"hmoe.fused_experts", plan_fused_experts},
    {"hmoe.hypernetwork", planned_by_user},
    {"hmoe.selection_rank", planned_by_user},
    {"hmoe.distinct_selections", planned_by_user},
    {"hmoe.indexed_hyper_expert", plan_indexed_hyper_expert},
    {"hmoe.factored_hyper_expert", plan_factored_hyper_expert},
    {"hmoe.hyper_expert", plan_hyper_expert},
};

/* Ops that can add their result to memory they are given. */
static bool writes_destination(MlirOperation op) {
  static const char *const names[] = {"hmoe.linear",
                                      "hmoe.activate",
                                      "hmoe.add",
                                      "hmoe.combine",
                                      "hmoe.fused_experts",
                                      "hmoe.indexed_hyper_expert",
                                      "hmoe.factored_hyper_expert",
                                      "hmoe.hyper_expert"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (hmoec_op_is(op, names[i])) return !plan_at_open(op) && !plan_is_per_set(op);
  return false;
}

static void give_destination(planner *p, MlirValue value, plan_memory *destination) {
  MlirOperation op = hmoec_defining_op(value);
  if (!mlirOperationIsNull(op) && writes_destination(op) && !mlirOperationIsNull(hmoec_single_user(value)))
    plan_value_get(p, value)->destination = destination;
}

/* Backwards: what the function returns goes to the caller's memory, what an add sums to the add's. */
static void assign_destinations(planner *p, MlirOperation *ops, size_t count, plan_memory **outputs) {
  for (size_t i = count; i-- > 0;) {
    if (hmoec_op_is(ops[i], "func.return")) {
      for (intptr_t r = 0; r < mlirOperationGetNumOperands(ops[i]); r++)
        give_destination(p, mlirOperationGetOperand(ops[i], r), outputs[r]);
    } else if (hmoec_op_is(ops[i], "hmoe.add") && writes_destination(ops[i])) {
      plan_memory *destination = plan_value_get(p, mlirOperationGetResult(ops[i], 0))->destination;
      if (!destination) {
        bool in_place = feeds_product(mlirOperationGetResult(ops[i], 0));
        int64_t columns = hmoec_value_shape(mlirOperationGetResult(ops[i], 0)).dims[1];
        destination = plan_workspace(p, "f32", 0, 0, in_place ? p->schedule.lda : plan_panels(columns) * HMOE_PANEL,
                                     in_place ? PLAN_SLACK_ROWS : 0);
        plan_value_get(p, mlirOperationGetResult(ops[i], 0))->destination = destination;
      }
      for (int o = 0; o < 2; o++) give_destination(p, mlirOperationGetOperand(ops[i], o), destination);
    }
  }
}

/* The deepest product: what lda must hold. */
static int64_t deepest_product(MlirOperation *ops, size_t count) {
  int64_t deepest = 32;
  for (size_t i = 0; i < count; i++) {
    int64_t depth = 0;
    for (intptr_t o = 0; o < mlirOperationGetNumOperands(ops[i]); o++) {
      hmoec_shape shape = hmoec_value_shape(mlirOperationGetOperand(ops[i], o));
      for (int64_t d = 1; d < shape.rank; d++)
        if (shape.dims[d] > depth && !hmoec_op_is(ops[i], "hmoe.hypernetwork") && !hmoec_op_is(ops[i], "hmoe.reshape") &&
            !hmoec_op_is(ops[i], "hmoe.slice"))
          depth = shape.dims[d];
    }
    if (hmoec_op_is(ops[i], "hmoe.selection_embedding")) { /* marks every expert in the kernel's scratch */
      int64_t experts = hmoec_value_shape(mlirOperationGetOperand(ops[i], 1)).dims[0];
      if (experts > depth) depth = experts;
    }
    if (hmoec_op_is(ops[i], "hmoe.hypernetwork")) depth = hmoec_value_shape(mlirOperationGetOperand(ops[i], 0)).dims[1];
    if (hmoec_op_is(ops[i], "hmoe.fused_experts")) {
      int64_t d_ff = hmoec_value_shape(mlirOperationGetOperand(ops[i], 4)).dims[1];
      depth =
          plan_panels(d_ff) * HMOE_PANEL + plan_panels(hmoec_value_shape(mlirOperationGetOperand(ops[i], 6)).dims[2]) * HMOE_PANEL;
    }
    if (hmoec_op_is(ops[i], "hmoe.factored_hyper_expert"))
      depth = hmoec_op_int(ops[i], "bottleneck") * (hmoec_value_shape(mlirOperationGetOperand(ops[i], 1)).dims[1] + 1);
    if (depth > deepest) deepest = depth;
  }
  return plan_panels(deepest) * HMOE_PANEL;
}

static MlirBlock add_function(planner *p, MlirModule module, const char *name, MlirNamedAttribute *attributes, intptr_t count,
                              MlirOperation *out_function) {
  MlirType type = mlirFunctionTypeGet(p->context, 0, NULL, 0, NULL);
  MlirNamedAttribute all[12] = {{mlirIdentifierGet(p->context, ref("sym_name")), mlirStringAttrGet(p->context, ref(name))},
                                {mlirIdentifierGet(p->context, ref("function_type")), mlirTypeAttrGet(type)}};
  for (intptr_t i = 0; i < count; i++) all[2 + i] = attributes[i];
  MlirOperationState state = mlirOperationStateGet(ref("func.func"), p->location);
  MlirRegion region = mlirRegionCreate();
  MlirBlock block = mlirBlockCreate(0, NULL, NULL);
  mlirRegionAppendOwnedBlock(region, block);
  mlirOperationStateAddAttributes(&state, 2 + count, all);
  mlirOperationStateAddOwnedRegions(&state, 1, &region);
  *out_function = mlirOperationCreate(&state);
  mlirBlockAppendOwnedOperation(mlirModuleGetBody(module), *out_function);
  return block;
}

static void end_function(planner *p, int fn, MlirOperation function) {
  int64_t flat[3 * 32];
  for (int64_t i = 0; i < p->dim_count[fn]; i++) {
    flat[3 * i] = p->dims[fn][i].kind;
    flat[3 * i + 1] = p->dims[fn][i].source;
    flat[3 * i + 2] = p->dims[fn][i].factor;
  }
  mlirOperationSetAttributeByName(function, ref("hmk.dims"),
                                  mlirDenseI64ArrayGet(p->context, (intptr_t)(3 * p->dim_count[fn]), flat));
  MlirOperationState state = mlirOperationStateGet(ref("func.return"), p->location);
  mlirBlockAppendOwnedOperation(p->block[fn], mlirOperationCreate(&state));
}

/* hmk.inputs / hmk.outputs: name, type pairs from the entry's signature. */
static MlirAttribute signature(planner *p, MlirOperation function, const char *list, intptr_t count,
                               MlirType (*type_at)(MlirType, intptr_t)) {
  MlirType type = mlirTypeAttrGetValue(mlirOperationGetAttributeByName(function, ref("function_type")));
  MlirAttribute attributes = mlirOperationGetAttributeByName(function, ref(list)), pairs[32];
  for (intptr_t i = 0; i < count; i++) {
    MlirAttribute name = mlirDictionaryAttrGetElementByName(mlirArrayAttrGetElement(attributes, i), ref("hmoe.name"));
    pairs[2 * i] = name;
    pairs[2 * i + 1] = mlirTypeAttrGet(type_at(type, i));
  }
  return mlirArrayAttrGet(p->context, 2 * count, pairs);
}

static bool plan_function(planner *p, MlirModule module, MlirOperation function, MlirBlock body) {
  size_t count;
  MlirOperation *ops = hmoec_block_ops(body, &count);
  if (!ops) return false;
  bool ok = false;
  p->location = mlirOperationGetLocation(function);
  p->schedule = p->options->schedule;
  if (p->schedule.lda == 0) p->schedule = hmoec_cpu_schedule_default(deepest_product(ops, count));
  intptr_t inputs = mlirBlockGetNumArguments(body);
  MlirOperation terminator = mlirBlockGetTerminator(body);
  intptr_t outputs = mlirOperationGetNumOperands(terminator);
  plan_memory *output[16];
  if (inputs > 16 || outputs > 16) {
    ok = hmoec_error(p->diagnostics, hmoec_location_of_op(function), "expected at most 16 inputs and 16 outputs");
    goto done;
  }
  MlirAttribute model = mlirOperationGetAttributeByName(function, ref("hmoe.model"));
  if (mlirAttributeIsNull(model)) model = mlirOperationGetAttributeByName(function, ref("sym_name"));
  MlirNamedAttribute attributes[3] = {
      {mlirIdentifierGet(p->context, ref("hmk.model")), model},
      {mlirIdentifierGet(p->context, ref("hmk.inputs")), signature(p, function, "arg_attrs", inputs, mlirFunctionTypeGetInput)},
      {mlirIdentifierGet(p->context, ref("hmk.outputs")), signature(p, function, "res_attrs", outputs, mlirFunctionTypeGetResult)}};
  MlirOperation functions[2];
  p->block[PLAN_OPEN] = add_function(p, module, "open", NULL, 0, &functions[PLAN_OPEN]);
  p->block[PLAN_RUN] = add_function(p, module, "run", attributes, 3, &functions[PLAN_RUN]);
  plan_dim_get(p, PLAN_RUN, HMOE_DIM_INPUT, 0, 0);

  for (intptr_t i = 0; i < inputs; i++) {
    hmoec_shape shape = hmoec_value_shape(mlirBlockGetArgument(body, i));
    if (shape.rank != 2 || shape.element != HMOEC_F32 || shape.dims[0] != HMOEC_DYNAMIC) {
      ok = hmoec_error(p->diagnostics, hmoec_location_of_op(function),
                       "expected input %ld to be f32[tokens, columns] with dynamic tokens", (long)i);
      goto done;
    }
    plan_memory *memory = plan_memory_create(p, "input", "f32", 0, 2, (int64_t[]){0, shape.dims[1]});
    memory->index = i;
    plan_value_get(p, mlirBlockGetArgument(body, i))->place = (plan_place){memory, 0, shape.dims[1], 1, false, false};
  }
  for (intptr_t i = 0; i < outputs; i++) {
    hmoec_shape shape = hmoec_value_shape(mlirOperationGetOperand(terminator, i));
    if (shape.rank != 2 || shape.element != HMOEC_F32 || shape.dims[0] != HMOEC_DYNAMIC) {
      ok = hmoec_error(p->diagnostics, hmoec_location_of_op(function),
                       "expected output %ld to be f32[tokens, columns] with dynamic tokens", (long)i);
      goto done;
    }
    output[i] = plan_memory_create(p, "output", "f32", 0, 2, (int64_t[]){0, shape.dims[1]});
    output[i]->index = i;
  }
  mark_per_set(ops, count, p->context);
  if (!hmoec_mark_f32(module)) {
    ok = hmoec_machine_error(p->diagnostics, "out of memory");
    goto done;
  }
  if (!plan_check(p, ops, count)) goto done;
  assign_destinations(p, ops, count, output);

  for (size_t i = 0; i < count; i++) {
    p->location = mlirOperationGetLocation(ops[i]);
    if (hmoec_op_is(ops[i], "func.return")) continue;
    const handler *special = NULL;
    for (size_t h = 0; h < sizeof handlers / sizeof *handlers; h++)
      if (hmoec_op_is(ops[i], handlers[h].name)) special = &handlers[h];
    if (special) {
      if (!special->plan(p, ops[i])) goto done;
    } else if (!plan_is_per_set(ops[i])) {
      bool open = plan_at_open(ops[i]);
      int64_t rows =
          open ? plan_dim_get(p, PLAN_OPEN, HMOE_DIM_CONST, 0, hmoec_value_shape(mlirOperationGetResult(ops[i], 0)).dims[0]) : 0;
      if (!plan_op(p, ops[i], open ? PLAN_OPEN : PLAN_RUN, rows)) goto done;
    }
  }
  p->location = mlirOperationGetLocation(terminator);
  for (intptr_t i = 0; i < outputs; i++) {
    MlirValue value = mlirOperationGetOperand(terminator, i);
    if (plan_value_get(p, value)->destination == output[i]) continue;
    int64_t columns = hmoec_value_shape(value).dims[1];
    plan_map(p, PLAN_RUN, 0, "none", plan_value_get(p, value)->place, (plan_place){output[i], 0, columns, 1, false, false}, columns,
             false);
  }
  end_function(p, PLAN_OPEN, functions[PLAN_OPEN]);
  end_function(p, PLAN_RUN, functions[PLAN_RUN]);
  MlirOperation root = mlirModuleGetOperation(module);
  mlirOperationSetAttributeByName(root, ref("hmk.weight_bytes"),
                                  mlirIntegerAttrGet(mlirIntegerTypeGet(p->context, 64), p->weight_bytes));
  mlirOperationSetAttributeByName(root, ref("hmk.dtype"), mlirStringAttrGet(p->context, ref(hmoec_dtype_name(p->options->dtype))));
  _Static_assert(sizeof p->schedule % sizeof(int64_t) == 0, "a schedule is integers");
  int64_t schedule[sizeof p->schedule / sizeof(int64_t)];
  memcpy(schedule, &p->schedule, sizeof schedule);
  mlirOperationSetAttributeByName(root, ref("hmk.schedule"),
                                  mlirDenseI64ArrayGet(p->context, sizeof schedule / sizeof *schedule, schedule));
  mlirOperationDestroy(function);
  ok = true;
done:
  free(ops);
  return ok;
}

bool hmoec_plan_kernels(MlirModule module, hmoec_pass_options *options, hmoec_diagnostics *diagnostics) {
  planner p = {.context = mlirModuleGetContext(module), .diagnostics = diagnostics, .options = options};
  p.memory_type = mlirTypeParseGet(p.context, ref("!hmk.memory"));
  MlirOperation entry = {NULL};
  MlirBlock module_body = mlirModuleGetBody(module);
  bool ok = true;
  for (MlirOperation op = mlirBlockGetFirstOperation(module_body); ok && !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op)) {
    if (!hmoec_op_is(op, "func.func")) continue;
    if (!mlirOperationIsNull(entry))
      ok = hmoec_error(diagnostics, hmoec_location_of_op(op), "expected one entry function, found a second");
    entry = op;
  }
  if (ok && mlirOperationIsNull(entry))
    ok = hmoec_error(diagnostics, hmoec_location_of_op(mlirModuleGetOperation(module)), "expected an entry function, found none");
  if (ok) ok = plan_function(&p, module, entry, mlirRegionGetFirstBlock(mlirOperationGetRegion(entry, 0)));
  if (ok && p.too_many_dims)
    ok = hmoec_error(diagnostics, hmoec_location_of_op(entry),
                     "more than %d different row counts in one function cannot be compiled",
                     (int)(sizeof p.dims[0] / sizeof *p.dims[0]));
  else if (ok && p.failed)
    ok = hmoec_error(diagnostics, hmoec_location_of_op(mlirModuleGetOperation(module)),
                     "the model is too large: a size does not fit 63 bits, or memory ran out");
  for (size_t i = 0; i < p.memory_count; i++) {
    free(p.memories[i]->key);
    free(p.memories[i]);
  }
  free(p.memories);
  free(p.values);
  free(p.value_at);
  return ok;
}
