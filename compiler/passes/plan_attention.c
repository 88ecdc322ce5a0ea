/* Ids, embeddings, attention, and the state that decoding keeps.
 *
 *   attention(q, k, v)    forward, encode:  keys and values of all rows into workspace, then blocks of queries
 *                         decode, own:      those of the new rows behind what the state has, then attention over all
 *                         decode, source's: what prepare has put into the state
 *   embedding(ids, t)     rows of t; where t is also the weight of a linear (a tied head), columns of its packed form
 *
 * Keys and values have layouts of their own (include/hmoe/abi.h): right operands of attention's two products. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "ir/entry.h"
#include "passes/plan.h"

static int64_t dim(planner *p, int64_t kind, int64_t source, int64_t factor) {
  return plan_dim_get(p, PLAN_RUN, kind, source, factor);
}
static int64_t state_dim(planner *p, int64_t scope, int64_t which) { return dim(p, HMOE_DIM_STATE, 3 * scope + which, 0); }
enum { ROWS, CAPACITY, LENGTH };

/* ---- integers ---- */

static bool is_member_use(const planner *p, MlirOpOperand use) { return plan_is_member(p, mlirOpOperandGetOwner(use)); }

/* What an input of integers is for: the rows of the smallest table it indexes, and whether it is a mask. Uses of all entries count: what one
 * entry accepts, the others do. */
typedef struct integer_use {
  int64_t limit;
  bool mask, here; /* used in this entry */
} integer_use;

static integer_use use_of(const planner *p, MlirValue input) {
  integer_use result = {.limit = INT32_MAX};
  for (MlirOpOperand use = mlirValueGetFirstUse(input); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use)) {
    MlirOperation user = mlirOpOperandGetOwner(use);
    result.here = result.here || is_member_use(p, use);
    int64_t limit = result.limit;
    if (hmoec_op_is(user, "hmoe.embedding")) limit = hmoec_value_shape(mlirOperationGetOperand(user, 1)).dims[0];
    if (hmoec_op_is(user, "hmoe.attention") || hmoec_op_is(user, "hmoe.position_embedding")) {
      limit = 2;
      result.mask = true;
    }
    if (limit < result.limit) result.limit = limit;
    if (p->here.entry->kind == PLAN_PREPARE && hmoec_op_is(user, "hmoe.attention") && plan_is_cross(p, user)) result.here = true;
  }
  return result;
}

/* Dims of steps that read or write masks: rows, length, past, row stride. */
static void mask_dims(planner *p, plan_rows rows, int64_t scope, int64_t out_dims[4]) {
  out_dims[0] = rows.batch;
  out_dims[1] = rows.length;
  out_dims[2] = state_dim(p, scope, LENGTH);
  out_dims[3] = state_dim(p, scope, CAPACITY);
}

static void append_mask(planner *p, MlirValue input, plan_memory *ids, plan_rows rows, int64_t scope) {
  plan_memory *mask = plan_state_memory(p, input.ptr, PLAN_MASK, "i32", scope, (hmoec_operand){.columns = 1});
  int64_t dims[4];
  mask_dims(p, rows, scope, dims);
  plan_step step = plan_step_begin(p, PLAN_RUN, "append_mask", -1);
  plan_bind(&step, "src", plan_at(ids));
  plan_bind(&step, "dst", plan_at(mask));
  plan_ints(&step, "dims", dims, 4);
  plan_step_end(&step);
  plan_value_get(p, input)->mask = mask;
  plan_value_get(p, input)->mask_dim = dims[3];
}

static bool read_by_states(const planner *p, MlirValue mask) {
  for (MlirOpOperand use = mlirValueGetFirstUse(mask); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use)) {
    MlirOperation user = mlirOpOperandGetOwner(use);
    if (hmoec_op_is(user, "hmoe.attention") && plan_is_cross(p, user)) return true;
  }
  return false;
}

bool plan_integers(planner *p, MlirOperation function, MlirBlock body) {
  for (intptr_t i = 0; i < mlirBlockGetNumArguments(body); i++) {
    MlirValue input = mlirBlockGetArgument(body, i);
    hmoec_shape shape = hmoec_value_shape(input);
    if (shape.element == HMOEC_F32 || p->here.input_numbers[i] < 0) continue;
    integer_use use = use_of(p, input);
    if (!use.here) continue;
    plan_rows rows = plan_rows_of(p, input);
    plan_memory *source = plan_memory_create(p, "input", shape.element == HMOEC_I64 ? "i64" : "i32", rows.count, 1, (int64_t[]){0});
    source->index = p->here.input_numbers[i];
    plan_memory *ids = plan_plain(p, "i32", rows.count, 0, 1);
    plan_step step = plan_step_begin(p, PLAN_RUN, "check_ids", rows.count);
    plan_bind(&step, "source", plan_at(source));
    plan_bind(&step, "dst", plan_at(ids));
    plan_int(&step, "limit", use.limit);
    int64_t fill = 0;
    hmoec_entry_input_default(function, (size_t)i, &fill);
    plan_int(&step, "fill", fill);
    plan_step_end(&step);
    plan_value *v = plan_value_get(p, input);
    v->place = plan_whole_place(ids);
    v->mask = ids;
    v->mask_dim = rows.length;
    if (use.mask && p->here.entry->kind == PLAN_DECODE) append_mask(p, input, ids, rows, HMOE_SCOPE_TARGET);
    if (use.mask && p->here.entry->kind == PLAN_PREPARE && read_by_states(p, input)) {
      append_mask(p, input, ids, rows, HMOE_SCOPE_SOURCE);
      plan_value_get(p, input)->mask = ids; /* this entry reads its own */
      plan_value_get(p, input)->mask_dim = rows.length;
    }
  }
  return true;
}

/* ---- embeddings ---- */

static plan_memory *positions(planner *p, MlirValue mask, int64_t limit) {
  plan_rows rows = plan_rows_of(p, mask);
  const plan_value *v = plan_value_get(p, mask);
  plan_memory *out = plan_plain(p, "i32", rows.count, 0, 1);
  bool decode = p->here.entry->kind == PLAN_DECODE;
  int64_t dims[4] = {rows.batch, rows.length, decode ? state_dim(p, HMOE_SCOPE_TARGET, LENGTH) : -1, v->mask_dim};
  plan_step step = plan_step_begin(p, PLAN_RUN, "positions", -1);
  plan_bind(&step, "mask", plan_at(v->mask));
  plan_bind(&step, "dst", plan_at(out));
  plan_ints(&step, "dims", dims, 4);
  plan_int(&step, "limit", limit);
  plan_step_end(&step);
  return out;
}

bool plan_embedding(planner *p, MlirOperation op) {
  MlirValue ids = mlirOperationGetOperand(op, 0), table = mlirOperationGetOperand(op, 1), result = mlirOperationGetResult(op, 0);
  hmoec_shape shape = hmoec_value_shape(table);
  plan_place place = plan_value_get(p, table)->place;
  bool positional = hmoec_op_is(op, "hmoe.position_embedding");
  MlirOperation tied = positional ? (MlirOperation){NULL} : plan_tied_linear(table);
  hmoec_format format = HMOEC_FORMAT_F32;
  plan_binding rows;
  if (!mlirOperationIsNull(tied)) {
    format = plan_format(&p->graph, tied);
    rows = plan_at(plan_linear_weight(p, PLAN_RUN, place, format, shape.dims[0], shape.dims[1]));
  } else {
    rows = plan_table(p, PLAN_RUN, place, shape.dims[0], shape.dims[1]);
  }
  plan_memory *index = positional ? positions(p, ids, shape.dims[0]) : plan_value_get(p, ids)->place.memory;
  int64_t rows_dim = plan_rows_of(p, result).count;
  bool accumulate;
  plan_place out = plan_destination(p, result, rows_dim, &accumulate);
  hmoec_kernel kernel = {.family = HMOEC_KERNEL_EMBED,
                         .spec.embed = {.n = shape.dims[1],
                                        .layout = mlirOperationIsNull(tied) ? HMOEC_TABLE_ROWS : HMOEC_TABLE_RIGHT,
                                        .format = format,
                                        .accumulate = accumulate}};
  plan_step step = plan_kernel_begin(p, PLAN_RUN, &kernel, rows_dim);
  plan_bind(&step, "ids", plan_at(index));
  plan_bind(&step, "table", rows);
  plan_bind(&step, "out", plan_at(out.memory));
  plan_step_end(&step);
  return true;
}

void plan_take_last(planner *p) {
  MlirValue value = p->here.last_from;
  plan_rows rows = plan_rows_of(p, value);
  plan_place from = plan_value_get(p, value)->place;
  MlirValue mask = {NULL}; /* of the generated tokens: every one of them is real, unless a mask says otherwise */
  for (size_t i = 0; i < p->value_count; i++)
    if (p->values[i]->mask && p->values[i]->mask_dim >= 0 && strcmp(p->values[i]->mask->kind, "state") == 0)
      mask = p->values[i]->value;
  plan_memory *index = plan_plain(p, "i32", rows.batch, 0, 1);
  int64_t dims[4] = {rows.batch, rows.length, -1, -1};
  plan_step last = plan_step_begin(p, PLAN_RUN, "last_rows", -1);
  if (!mlirValueIsNull(mask)) {
    plan_bind(&last, "mask", plan_at(plan_value_get(p, mask)->mask));
    dims[2] = state_dim(p, HMOE_SCOPE_TARGET, LENGTH);
    dims[3] = plan_value_get(p, mask)->mask_dim;
  } else {
    dims[3] = rows.length;
  }
  plan_bind(&last, "dst", plan_at(index));
  plan_ints(&last, "dims", dims, 4);
  plan_step_end(&last);

  int64_t n = plan_columns(value);
  plan_place rows_taken = plan_whole_place(plan_rows_memory(p, HMOEC_FORMAT_F32, rows.batch, n, false));
  plan_map_emit(p, PLAN_RUN, rows.batch, &(plan_mapping){.in = from, .index = index, .out = rows_taken, .columns = n});
  plan_value *v = plan_value_get(p, value);
  v->place = rows_taken;
  v->from_last = true;
}

/* ---- attention ---- */

bool plan_relative_bias(planner *p, MlirOperation op, int fn, int64_t rows_dim) {
  (void)fn;
  (void)rows_dim;
  hmoec_shape table = hmoec_value_shape(mlirOperationGetOperand(op, 0));
  int64_t distance = hmoec_op_int(op, "max_distance");
  plan_memory *bias = plan_weight(p, table.dims[1], (hmoec_operand){.role = HMOEC_ROLE_DISTANCES, .columns = distance});
  plan_step step = plan_step_begin(p, PLAN_OPEN, "relative_bias", -1);
  plan_bind(&step, "dst", plan_at(bias));
  plan_bind(&step, "source", plan_at(plan_value_get(p, mlirOperationGetOperand(op, 0))->place.memory));
  plan_int(&step, "buckets", table.dims[0]);
  plan_int(&step, "heads", table.dims[1]);
  plan_int(&step, "bidirectional", hmoec_op_int(op, "bidirectional"));
  plan_int(&step, "max_distance", distance);
  plan_step_end(&step);
  plan_value_get(p, mlirOperationGetResult(op, 0))->place = plan_whole_place(bias);
  return true;
}

/* Where the keys and values of an attention are, and the dimensions that go with them. */
typedef struct store {
  plan_memory *keys, *values;
  int64_t past, length, capacity, rows; /* length: of keys, old and new */
} store;

static hmoec_operand store_operand(MlirOperation op, hmoec_role role) {
  int64_t heads = hmoec_op_int(op, "heads");
  return (hmoec_operand){.role = role, .depth = heads, .columns = plan_columns(mlirOperationGetOperand(op, 1)) / heads};
}

static store store_in_state(planner *p, MlirOperation op, int64_t scope) {
  int64_t past = state_dim(p, scope, LENGTH);
  return (store){.keys = plan_state_memory(p, op.ptr, PLAN_KEYS, "f32", scope, store_operand(op, HMOEC_ROLE_KEYS)),
                 .values = plan_state_memory(p, op.ptr, PLAN_VALUES, "f32", scope, store_operand(op, HMOEC_ROLE_VALUES)),
                 .past = past,
                 .length = past,
                 .capacity = state_dim(p, scope, CAPACITY),
                 .rows = state_dim(p, scope, ROWS)};
}

static store store_in_workspace(planner *p, MlirOperation op, plan_rows rows) {
  int64_t capacity = dim(p, HMOE_DIM_ROUND_UP, rows.length, p->graph.target->position_step);
  int64_t positions = dim(p, HMOE_DIM_PRODUCT, rows.batch, capacity);
  return (store){.keys = plan_workspace(p, positions, 0, store_operand(op, HMOEC_ROLE_KEYS)),
                 .values = plan_workspace(p, positions, 0, store_operand(op, HMOEC_ROLE_VALUES)),
                 .past = dim(p, HMOE_DIM_CONST, 0, 0),
                 .length = rows.length,
                 .capacity = capacity,
                 .rows = rows.batch};
}

static void fill_store(planner *p, MlirOperation op, const store *s, plan_rows rows) {
  plan_place k = plan_value_get(p, mlirOperationGetOperand(op, 1))->place,
             v = plan_value_get(p, mlirOperationGetOperand(op, 2))->place;
  int64_t heads = hmoec_op_int(op, "heads");
  hmoec_kernel kernel = {.family = HMOEC_KERNEL_STORE,
                         .spec.store = {.heads = heads, .head_size = plan_columns(mlirOperationGetOperand(op, 1)) / heads}};
  plan_step step = plan_kernel_begin(p, PLAN_RUN, &kernel, rows.count);
  plan_bind(&step, "k", plan_rows_at(k));
  plan_bind(&step, "v", plan_rows_at(v));
  plan_bind(&step, "keys", plan_at(s->keys));
  plan_bind(&step, "values", plan_at(s->values));
  plan_ints(&step, "dims", (int64_t[]){rows.length, s->past, s->capacity}, 3);
  plan_step_end(&step);
}

/* What scores are multiplied by. */
static double attention_scale(MlirOperation op, int64_t head_size) {
  double scale = hmoec_op_int(op, "scaled") ? 1 / sqrt((double)head_size) : 1;
  int64_t divisor = hmoec_op_int(op, "divisor");
  return divisor ? scale / (double)divisor : scale;
}

/* Where tasks that share the keys of few queries leave what their parts give, NULL: they share none. */
static plan_memory *shared_parts(planner *p, plan_rows rows, int64_t heads, int64_t head_size, int64_t kv_length) {
  const hmoec_target *target = p->graph.target;
  if (!target->shared_keys.queries) return NULL;
  int64_t some = dim(p, HMOE_DIM_MIN, dim(p, HMOE_DIM_SCALE, rows.batch, heads), target->shared_keys.rows);
  int64_t queries = dim(p, HMOE_DIM_PRODUCT, some, dim(p, HMOE_DIM_MIN, rows.length, target->shared_keys.queries));
  int64_t parts = dim(p, HMOE_DIM_PRODUCT, queries, dim(p, HMOE_DIM_CEIL_DIV, kv_length, target->shared_keys.keys));
  return plan_plain(p, "f32", parts, 0, target->shared_keys.part_floats(head_size));
}

bool plan_attention(planner *p, MlirOperation op) {
  MlirValue q = mlirOperationGetOperand(op, 0), k = mlirOperationGetOperand(op, 1), result = mlirOperationGetResult(op, 0);
  MlirValue bias = plan_attention_bias(op), mask = plan_attention_mask(op);
  plan_rows rows = plan_rows_of(p, q);
  bool decode = p->here.entry->kind == PLAN_DECODE, cross = plan_is_cross(p, op);
  store s;
  int64_t past;
  if (decode && cross) {
    s = store_in_state(p, op, HMOE_SCOPE_SOURCE);
    bool counts = !mlirValueIsNull(bias) || hmoec_op_int(op, "causal"); /* where in the target a query is */
    past = counts ? state_dim(p, HMOE_SCOPE_TARGET, LENGTH) : dim(p, HMOE_DIM_CONST, 0, 0);
  } else if (decode) {
    s = store_in_state(p, op, HMOE_SCOPE_TARGET);
    fill_store(p, op, &s, plan_rows_of(p, k));
    past = s.past;
    s.length = dim(p, HMOE_DIM_SUM, s.past, rows.length);
  } else {
    s = store_in_workspace(p, op, plan_rows_of(p, k));
    fill_store(p, op, &s, plan_rows_of(p, k));
    past = s.past;
  }
  plan_memory *mask_memory = NULL;
  int64_t mask_stride = s.capacity;
  if (!mlirValueIsNull(mask) && decode && cross) {
    mask_memory = plan_state_memory(p, mask.ptr, PLAN_MASK, "i32", HMOE_SCOPE_SOURCE, (hmoec_operand){.columns = 1});
  } else if (!mlirValueIsNull(mask)) {
    mask_memory = plan_value_get(p, mask)->mask;
    mask_stride = plan_value_get(p, mask)->mask_dim;
  }
  plan_place from = plan_value_get(p, q)->place, out = plan_product_rows(p, result, rows.count);
  int64_t heads = hmoec_op_int(op, "heads"), size = plan_columns(q) / heads;
  int64_t distance = mlirValueIsNull(bias) ? 0 : (plan_columns(bias) - 1) / 2;
  bool biased = !mlirValueIsNull(bias);
  hmoec_kernel kernel = {.family = HMOEC_KERNEL_ATTENTION,
                         .spec.attention = {.heads = heads,
                                            .head_size = size,
                                            .scale = attention_scale(op, size),
                                            .causal = hmoec_op_int(op, "causal"),
                                            .out_format = out.format,
                                            .max_distance = distance}};
  plan_step step = plan_kernel_begin(p, PLAN_RUN, &kernel, dim(p, HMOE_DIM_SCALE, rows.batch, heads));
  plan_bind(&step, "q", plan_rows_at(from));
  plan_bind(&step, "keys", plan_at(s.keys));
  plan_bind(&step, "values", plan_at(s.values));
  if (biased) plan_bind(&step, "bias", plan_at(plan_value_get(p, bias)->place.memory));
  plan_bind(&step, "mask", plan_at(mask_memory));
  plan_bind(&step, "out", plan_at(out.memory));
  plan_bind(&step, "parts", plan_at(decode ? shared_parts(p, rows, heads, size, s.length) : NULL));
  plan_ints(&step, "dims", (int64_t[]){rows.batch, rows.length, past, s.length, s.capacity, s.rows, mask_stride}, 7);
  plan_step_end(&step);
  return true;
}

bool plan_prepare_states(planner *p) {
  for (size_t i = 0; i < p->graph.op_count; i++) {
    if (!plan_is_cross(p, p->graph.ops[i])) continue;
    p->out.location = mlirOperationGetLocation(p->graph.ops[i]);
    store s = store_in_state(p, p->graph.ops[i], HMOE_SCOPE_SOURCE);
    fill_store(p, p->graph.ops[i], &s, plan_rows_of(p, mlirOperationGetOperand(p->graph.ops[i], 1)));
  }
  return true;
}
