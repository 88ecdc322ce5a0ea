/* Row-wise ops: linear, norms, activate, add, multiply. Views are in plan_views.c.
 *
 *   linear(norm(x), w)                      the product normalises the rows of x while it copies them, if no one else needs them
 *   linear(x, wq), linear(x, wk), ...       one product, when they are q, k and v of one attention
 *   linear(activate(linear(x, w1)), w2)     a pair, fused where there are rows enough
 *   scale(norm(x))                          the norm scales
 *   multiply(linear(x, a), linear(x, b))    one product of gates and ups (plan_gated.c)
 *   multiply(linear(x, a), linear(y, b))    the second product multiplies what the first wrote; other rows are mapped */
#include "ir/location.h"
#include "passes/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>

/* ---- norms ---- */

static MlirOperation only_user(const planner *p, MlirValue value) {
  MlirOperation only = {NULL};
  for (MlirOpOperand use = mlirValueGetFirstUse(value); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use)) {
    MlirOperation user = mlirOpOperandGetOwner(use);
    bool here = plan_is_reader(p, user);
    if (here && !mlirOperationIsNull(only)) return (MlirOperation){NULL};
    if (here) only = user;
  }
  return only;
}

/* The scale that a norm does too: the only reader of its rows. Null: there is none. */
static MlirOperation scale_after(const planner *p, MlirOperation norm) {
  MlirValue rows = mlirOperationGetResult(norm, 0);
  MlirOperation user = only_user(p, rows);
  bool scales = !mlirOperationIsNull(user) && hmoec_op_is(user, "hmoe.scale") && mlirOperationGetNumOperands(user) == 1 &&
                !plan_is_last_from(p, rows);
  return scales ? user : (MlirOperation){NULL};
}

/* The norm that does a scale, or null. */
static MlirOperation scaled_norm(const planner *p, MlirOperation scale) {
  MlirOperation norm = hmoec_defining_op(mlirOperationGetOperand(scale, 0));
  if (mlirOperationIsNull(norm) || !hmoec_op_has(norm, HMOEC_OP_NORM) || !plan_is_member(p, norm)) return (MlirOperation){NULL};
  return mlirOperationEqual(scale_after(p, norm), scale) ? norm : (MlirOperation){NULL};
}

/* What a scale multiplies all of its rows by; null: 1. */
static double factor_of(MlirOperation scale) {
  if (mlirOperationIsNull(scale)) return 1;
  int64_t inverse_sqrt = hmoec_op_int(scale, "inverse_sqrt");
  return hmoec_op_number(scale, "by") * (inverse_sqrt ? 1 / sqrt((double)inverse_sqrt) : 1);
}

/* The norm that makes a value, looked for behind a scale that it does. */
static MlirOperation norm_of(const planner *p, MlirValue value, double *out_scale) {
  MlirOperation op = hmoec_defining_op(value), scale = {NULL};
  if (!mlirOperationIsNull(op) && hmoec_op_is(op, "hmoe.scale")) {
    scale = op;
    op = scaled_norm(p, scale);
  }
  *out_scale = factor_of(scale);
  return !mlirOperationIsNull(op) && hmoec_op_has(op, HMOEC_OP_NORM) && plan_is_member(p, op) ? op : (MlirOperation){NULL};
}

static bool is_dense_linear(const planner *p, MlirOperation op) {
  return hmoec_op_is(op, "hmoe.linear") && plan_is_member(p, op) && !plan_is_per_set(op);
}

/* The linears that are planned as one product with this one: those of the same rows that are q, k or v of one attention. The number of
 * them, itself included, in order of the columns; 1 if there are no others. */
static size_t merged_linears(const planner *p, MlirOperation linear, MlirOperation out_linears[3]) {
  out_linears[0] = linear;
  MlirOperation attention = hmoec_single_user(mlirOperationGetResult(linear, 0));
  if (mlirOperationIsNull(attention) || !hmoec_op_is(attention, "hmoe.attention")) return 1;
  MlirValue x = mlirOperationGetOperand(linear, 0);
  MlirOperation found[3];
  size_t count = 0;
  bool mine = false;
  for (intptr_t o = 0; o < 3; o++) {
    MlirOperation op = hmoec_defining_op(mlirOperationGetOperand(attention, o));
    bool same = !mlirOperationIsNull(op) && hmoec_op_is(op, "hmoe.linear") && plan_is_member(p, op) &&
                !mlirOperationIsNull(hmoec_single_user(mlirOperationGetResult(op, 0))) &&
                mlirValueEqual(mlirOperationGetOperand(op, 0), x) &&
                mlirOperationGetNumOperands(op) == mlirOperationGetNumOperands(linear) &&
                plan_format(&p->graph, op) == plan_format(&p->graph, linear);
    if (!same) continue;
    found[count++] = op;
    mine = mine || mlirOperationEqual(op, linear);
  }
  if (!mine || count < 2) return 1;
  for (size_t i = 1; i < count; i++) /* in program order: the first plans them all */
    for (size_t j = i; j > 0 && plan_op_number(&p->graph, found[j]) < plan_op_number(&p->graph, found[j - 1]); j--) {
      MlirOperation other = found[j];
      found[j] = found[j - 1];
      found[j - 1] = other;
    }
  memcpy(out_linears, found, count * sizeof *found);
  return count;
}

/* The activation that a linear's product does; null: none. */
static MlirOperation activation_after(MlirOperation linear) {
  MlirOperation user = hmoec_single_user(mlirOperationGetResult(linear, 0));
  return !mlirOperationIsNull(user) && hmoec_op_is(user, "hmoe.activate") ? user : (MlirOperation){NULL};
}

/* What the product of a linear, or of two, gives: its result, or what the activation makes of it. */
static MlirValue product_result(MlirOperation product) {
  MlirOperation activated = hmoec_op_is(product, "hmoe.linear") ? activation_after(product) : (MlirOperation){NULL};
  return mlirOperationGetResult(mlirOperationIsNull(activated) ? product : activated, 0);
}

/* The linear that reads what this one gives, activated, or what this product of two gives, where nothing else does. */
static MlirOperation linear_after(const planner *p, MlirOperation op) {
  MlirOperation none = {NULL}, merged[3];
  plan_gates gates;
  bool gated = plan_gates_of(op, &gates) && plan_is_member(p, op);
  if (gated ? !mlirOperationEqual(op, gates.multiply) : !is_dense_linear(p, op)) return none;
  MlirValue hidden = product_result(op);
  MlirOperation user = only_user(p, hidden);
  if (plan_is_last_from(p, hidden)) return none;
  if (mlirOperationIsNull(user) || !is_dense_linear(p, user) || plan_gates_of(user, &gates)) return none;
  if (plan_format(&p->graph, gated ? gates.gate : op) != plan_format(&p->graph, user)) return none;
  if (plan_columns(mlirOperationGetResult(user, 0)) > plan_knob(&p->graph, "choose", "most_columns")) return none;
  return merged_linears(p, user, merged) == 1 && (gated || merged_linears(p, op, merged) == 1) ? user : none;
}

/* In a row of linears the first two are a pair, then the next two. */
void plan_find_pairs(planner *p) {
  for (size_t i = 0; i < p->graph.op_count; i++) {
    MlirOperation second = mlirOperationIsNull(p->here.entry->pair[i]) ? linear_after(p, p->graph.ops[i]) : (MlirOperation){NULL};
    if (mlirOperationIsNull(second)) continue;
    p->here.entry->pair[i] = second;
    p->here.entry->pair[plan_op_number(&p->graph, second)] = p->graph.ops[i];
  }
}

/* The first, or the second, of a pair that this linear is the other of. */
static MlirOperation other_linear(const planner *p, MlirOperation linear, bool first) {
  size_t number = plan_op_number(&p->graph, linear);
  MlirOperation other = p->here.entry && number != HMOEC_NO_NUMBER ? p->here.entry->pair[number] : (MlirOperation){NULL};
  bool before = !mlirOperationIsNull(other) && plan_op_number(&p->graph, other) < number;
  return before == first ? other : (MlirOperation){NULL};
}

static MlirOperation second_linear(const planner *p, MlirOperation linear) { return other_linear(p, linear, false); }

/* Whether a norm (or the scale behind it) is left to the one product that reads its rows: not if that adds to the very rows it reads, as
 * its tasks share them. A pair's tasks do not. */
static bool left_to_reader(planner *p, MlirOperation norm) {
  MlirOperation scale = scale_after(p, norm), first = {NULL}, merged[3];
  plan_gates gates;
  MlirValue rows = mlirOperationGetResult(mlirOperationIsNull(scale) ? norm : scale, 0);
  size_t readers = 0;
  for (MlirOpOperand use = mlirValueGetFirstUse(rows); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use)) {
    MlirOperation reader = mlirOpOperandGetOwner(use);
    if (!plan_is_reader(p, reader)) continue;
    if (!is_dense_linear(p, reader) || mlirOpOperandGetOperandNumber(use) != 0) return false;
    first = reader;
    readers++;
  }
  if (readers == 0 || plan_is_last_from(p, rows)) return false;
  bool gated = plan_gates_of(first, &gates);
  if ((gated ? 2 : merged_linears(p, first, merged)) != readers) return false;
  if (gated) first = gates.multiply;
  if (!mlirOperationIsNull(second_linear(p, first))) return true;
  plan_memory *destination = plan_value_get(p, product_result(first))->destination;
  return !destination || destination != plan_value_get(p, mlirOperationGetOperand(norm, 0))->place.memory;
}

bool plan_norm(planner *p, MlirOperation op, int fn, int64_t rows_dim) {
  if (fn == PLAN_RUN && left_to_reader(p, op)) return true;
  MlirValue x = mlirOperationGetOperand(op, 0), y = mlirOperationGetResult(op, 0);
  MlirOperation scale = fn == PLAN_RUN ? scale_after(p, op) : (MlirOperation){NULL};
  if (!mlirOperationIsNull(scale)) y = mlirOperationGetResult(scale, 0);
  int64_t n = plan_columns(y);
  bool accumulate;
  plan_place from = plan_rows_place(p, fn, x),
             to = fn == PLAN_RUN ? plan_product_rows(p, y, rows_dim) : plan_destination(p, y, rows_dim, &accumulate);
  hmoec_kernel kernel = {.family = HMOEC_KERNEL_NORM,
                         .spec.norm = {.kind = hmoec_op_is(op, "hmoe.rms_norm") ? HMOEC_NORM_RMS : HMOEC_NORM_LAYER,
                                       .n = n,
                                       .epsilon = hmoec_op_number(op, "epsilon"),
                                       .scale = factor_of(scale),
                                       .out_format = to.format}};
  plan_step step = plan_kernel_begin(p, fn, &kernel, rows_dim);
  plan_bind(&step, "x", plan_rows_at(from));
  plan_bind(&step, "weight", plan_vector(p, fn, plan_value_get(p, mlirOperationGetOperand(op, 1))->place, n));
  if (hmoec_op_is(op, "hmoe.layer_norm"))
    plan_bind(&step, "bias", plan_vector(p, fn, plan_value_get(p, mlirOperationGetOperand(op, 2))->place, n));
  plan_bind(&step, "out", plan_at(to.memory));
  plan_step_end(&step);
  return true;
}

/* ---- linear ---- */

plan_matmul plan_dense_matmul(planner *p, int fn, int64_t rows_dim, hmoec_format format, int64_t k, int64_t n, MlirValue x) {
  double scale;
  MlirOperation norm = fn == PLAN_RUN ? norm_of(p, x, &scale) : (MlirOperation){NULL};
  if (mlirOperationIsNull(norm) || !left_to_reader(p, norm))
    return plan_matmul_init(p, fn, rows_dim, format, k, n, plan_rows_place(p, fn, x));
  plan_place rows = plan_value_get(p, mlirOperationGetOperand(norm, 0))->place;
  plan_matmul m = plan_matmul_init(p, fn, rows_dim, format, k, n, rows);
  bool layer = hmoec_op_is(norm, "hmoe.layer_norm");
  m.spec.norm = layer ? HMOEC_NORM_LAYER : HMOEC_NORM_RMS;
  m.spec.norm_epsilon = hmoec_op_number(norm, "epsilon");
  m.spec.norm_scale = scale;
  m.norm_weight = plan_vector(p, fn, plan_value_get(p, mlirOperationGetOperand(norm, 1))->place, k);
  if (layer) m.norm_bias = plan_vector(p, fn, plan_value_get(p, mlirOperationGetOperand(norm, 2))->place, k);
  return m;
}

/* A linear as a product without C; *out_result: the value it gives, an activation behind it included. */
static plan_matmul linear_product(planner *p, MlirOperation op, int fn, int64_t rows_dim, MlirValue *out_result) {
  hmoec_shape w = hmoec_value_shape(mlirOperationGetOperand(op, 1));
  hmoec_activation activation = HMOEC_ACTIVATION_NONE;
  MlirOperation activated = activation_after(op);
  if (!mlirOperationIsNull(activated)) activation = plan_activation(&p->graph, hmoec_op_string(activated, "function"));
  plan_place weight = plan_value_get(p, mlirOperationGetOperand(op, 1))->place;
  int64_t n = w.dims[0], k = w.dims[1];
  hmoec_format format = fn == PLAN_RUN ? plan_format(&p->graph, op) : HMOEC_FORMAT_F32;
  plan_matmul m = plan_dense_matmul(p, fn, rows_dim, format, k, n, mlirOperationGetOperand(op, 0));
  m.b = plan_at(plan_linear_weight(p, fn, weight, format, n, k));
  if (mlirOperationGetNumOperands(op) > 2) m.bias = plan_vector(p, fn, plan_value_get(p, mlirOperationGetOperand(op, 2))->place, n);
  m.spec.segment[0].activation = activation;
  *out_result = product_result(op);
  return m;
}

/* Where a linear writes: rows that the next product reads as they are, else any destination. */
static void linear_into_destination(planner *p, plan_matmul *m, MlirValue result, int fn, int64_t rows_dim) {
  bool accumulate = false, rows = fn == PLAN_RUN && m->spec.format != HMOEC_FORMAT_F32 && !plan_value_get(p, result)->destination &&
                                  plan_rows_format(p, result) != HMOEC_FORMAT_F32;
  plan_place c = rows ? plan_product_rows(p, result, rows_dim) : plan_destination(p, result, rows_dim, &accumulate);
  plan_matmul_into(m, c);
  MlirOperation user = hmoec_single_user(result);
  bool multiply = accumulate && !mlirOperationIsNull(user) && hmoec_op_is(user, "hmoe.multiply");
  m->spec.accumulate = accumulate && !multiply;
  m->spec.segment[0].multiply = multiply;
}

/* Several linears of the same rows: their columns side by side, each from a multiple of the target's step on. */
static bool plan_merged(planner *p, const MlirOperation *linears, size_t count, int64_t rows_dim) {
  hmoec_format format = plan_format(&p->graph, linears[0]);
  bool biased = mlirOperationGetNumOperands(linears[0]) > 2;
  int64_t k = plan_columns(mlirOperationGetOperand(linears[0], 1)), ld = 0, at = 0;
  for (size_t i = 0; i < count; i++) ld += plan_round(&p->graph, plan_columns(mlirOperationGetResult(linears[i], 0)));
  plan_memory **made = plan_made(p, (plan_key){.owner = linears[0].ptr, .making = PLAN_MERGED, .rows = (int64_t)count});
  plan_memory **made_bias = plan_made(p, (plan_key){.owner = linears[0].ptr, .making = PLAN_MERGED_BIAS, .rows = (int64_t)count});
  bool first_time = !*made;
  if (first_time) {
    *made = plan_weight(p, 1, plan_right(format, k, ld));
    if (biased) *made_bias = plan_weight(p, 1, plan_vector_of(ld));
  }
  plan_memory *weights = *made, *bias = *made_bias;
  plan_memory *c = plan_rows_memory(p, HMOEC_FORMAT_F32, rows_dim, ld, false);
  for (size_t i = 0; i < count; i++) {
    MlirValue result = mlirOperationGetResult(linears[i], 0);
    int64_t n = plan_columns(result);
    if (first_time) {
      plan_place w = plan_value_get(p, mlirOperationGetOperand(linears[i], 1))->place;
      hmoec_packing packing = plan_packing(w, n, k);
      packing.first_column = at;
      plan_pack_emit(p, plan_at(weights), w.memory, &packing);
    }
    if (first_time && biased) {
      plan_place v = plan_value_get(p, mlirOperationGetOperand(linears[i], 2))->place;
      hmoec_packing packing = {.columns = n,
                               .column_stride = v.row_stride,
                               .q = 1,
                               .source_offset = v.offset,
                               .k_outer = 1,
                               .groups = 1,
                               .first_column = at};
      plan_pack_emit(p, plan_at(bias), v.memory, &packing);
    }
    plan_value_get(p, result)->place = plan_whole_place(c);
    plan_value_get(p, result)->place.offset = at;
    at += plan_round(&p->graph, n);
  }
  plan_matmul m = plan_dense_matmul(p, PLAN_RUN, rows_dim, format, k, ld, mlirOperationGetOperand(linears[0], 0));
  m.b = plan_at(weights);
  if (biased) m.bias = plan_at(bias);
  plan_matmul_into(&m, plan_whole_place(c));
  plan_matmul_emit(p, &m);
  return true;
}

bool plan_linear(planner *p, MlirOperation op, int fn, int64_t rows_dim) {
  MlirValue result;
  if (fn == PLAN_RUN && is_dense_linear(p, op)) {
    MlirOperation merged[3];
    size_t count = merged_linears(p, op, merged);
    if (count > 1) return !mlirOperationEqual(merged[0], op) || plan_merged(p, merged, count, rows_dim);
    plan_gates gates;
    if (plan_gates_of(op, &gates)) return true; /* with the product of both */
    if (!mlirOperationIsNull(second_linear(p, op))) return true; /* with the second */
    MlirOperation before = other_linear(p, op, true);
    if (!mlirOperationIsNull(before)) {
      result = product_result(before);
      plan_matmul first = plan_gates_of(before, &gates) ? plan_gated_product(p, &gates, rows_dim)
                                                        : linear_product(p, before, fn, rows_dim, &result);
      plan_memory *hidden = plan_rows_memory(p, first.spec.format, rows_dim, plan_columns(result), true);
      plan_value_get(p, result)->place = plan_whole_place(hidden);
      plan_matmul_into(&first, plan_value_get(p, result)->place);
      plan_matmul second = linear_product(p, op, fn, rows_dim, &result);
      linear_into_destination(p, &second, result, fn, rows_dim);
      if (second.spec.segment[0].multiply) plan_two(p, &first, &second);
      else plan_pair(p, &first, &second);
      return true;
    }
  }
  plan_matmul m = linear_product(p, op, fn, rows_dim, &result);
  linear_into_destination(p, &m, result, fn, rows_dim);
  plan_matmul_emit(p, &m);
  return true;
}

bool plan_activate(planner *p, MlirOperation op, int fn, int64_t rows_dim) {
  MlirValue x = mlirOperationGetOperand(op, 0), y = mlirOperationGetResult(op, 0);
  MlirOperation source = hmoec_defining_op(x);
  if (!mlirOperationIsNull(source) && hmoec_op_is(source, "hmoe.linear") && !mlirOperationIsNull(activation_after(source)))
    return true; /* the linear's epilogue */
  bool accumulate;
  plan_place out = plan_destination(p, y, rows_dim, &accumulate);
  hmoec_shape shape = hmoec_value_shape(y);
  plan_map(p, fn, rows_dim, plan_activation(&p->graph, hmoec_op_string(op, "function")), plan_rows_place(p, fn, x), out,
           shape.dims[shape.rank - 1], accumulate);
  return true;
}

/* Operands that could not write the sum's memory themselves are added to it now. */
bool plan_add(planner *p, MlirOperation op, int fn, int64_t rows_dim) {
  MlirValue y = mlirOperationGetResult(op, 0);
  hmoec_shape shape = hmoec_value_shape(y);
  for (int i = 0; i < 2; i++) {
    MlirValue operand = mlirOperationGetOperand(op, i);
    plan_memory *destination = plan_value_get(p, y)->destination;
    if (destination && plan_value_get(p, operand)->destination == destination) continue;
    bool accumulate;
    plan_place out = plan_destination(p, y, rows_dim, &accumulate);
    if (!destination) accumulate = i == 1;
    plan_map(p, fn, rows_dim, HMOEC_ACTIVATION_NONE, plan_rows_place(p, fn, operand), plan_value_get(p, y)->place,
             shape.dims[shape.rank - 1], accumulate);
    if (!destination) { /* a sum of its own memory: the second operand adds to what the first wrote */
      plan_value_get(p, y)->destination = out.memory;
      out.memory->written = true;
    }
  }
  plan_value_get(p, y)->place = plan_whole_place(plan_value_get(p, y)->destination);
  return true;
}

/* Gates and ups are one product. Two other linears have written theirs where it goes; rows of others are mapped there. */
bool plan_multiply(planner *p, MlirOperation op, int fn, int64_t rows_dim) {
  MlirValue y = mlirOperationGetResult(op, 0);
  plan_memory *destination = plan_value_get(p, y)->destination;
  plan_gates gates;
  if (fn == PLAN_RUN && plan_gates_of(op, &gates)) {
    if (!mlirOperationIsNull(second_linear(p, op))) return true;
    plan_matmul m = plan_gated_product(p, &gates, rows_dim);
    linear_into_destination(p, &m, y, fn, rows_dim);
    plan_matmul_emit(p, &m);
    return true;
  }
  if (fn == PLAN_RUN && !plan_is_per_set(op) && plan_is_product_of_linears(op)) {
    plan_value_get(p, y)->place = plan_whole_place(destination);
    return true;
  }
  bool accumulate;
  plan_place out = plan_destination(p, y, rows_dim, &accumulate);
  plan_place in = plan_rows_place(p, fn, mlirOperationGetOperand(op, 0)),
             by = plan_rows_place(p, fn, mlirOperationGetOperand(op, 1));
  plan_map_emit(
      p, fn, rows_dim,
      &(plan_mapping){.in = in, .out = out, .columns = plan_columns(y), .factor = plan_rows_at(by), .factor_columns = true});
  return true;
}

bool plan_scale(planner *p, MlirOperation op, int fn, int64_t rows_dim) {
  if (fn == PLAN_RUN && !mlirOperationIsNull(scaled_norm(p, op))) return true; /* the norm scales */
  MlirValue y = mlirOperationGetResult(op, 0);
  bool accumulate;
  plan_place in = plan_rows_place(p, fn, mlirOperationGetOperand(op, 0)), out = plan_destination(p, y, rows_dim, &accumulate);
  plan_mapping map = {
      .in = in, .out = out, .columns = plan_columns(y), .scaled = true, .scale = factor_of(op), .accumulate = accumulate};
  if (mlirOperationGetNumOperands(op) > 1) {
    MlirValue factor = mlirOperationGetOperand(op, 1);
    map.factor_columns = hmoec_value_shape(factor).rank == 1 && plan_columns(factor) == plan_columns(y);
    plan_place by = map.factor_columns ? plan_value_get(p, factor)->place : plan_rows_place(p, fn, factor);
    map.factor = map.factor_columns ? plan_vector(p, fn, by, plan_columns(y)) : plan_rows_at(by);
    if (map.factor_columns) map.factor.apart = 0; /* one row for all */
  }
  plan_map_emit(p, fn, rows_dim, &map);
  return true;
}

/* The rows of x, and behind each the row of the table. */
bool plan_append_row(planner *p, MlirOperation op, int fn, int64_t rows_dim) {
  MlirValue x = mlirOperationGetOperand(op, 0), table = mlirOperationGetOperand(op, 1), y = mlirOperationGetResult(op, 0);
  int64_t columns = plan_columns(x), appended = plan_columns(table);
  plan_place row = plan_value_get(p, table)->place;
  row.offset += hmoec_op_int(op, "row") * row.row_stride;
  row.row_stride = row.col_stride;
  plan_binding vector = plan_vector(p, fn, row, appended);
  bool accumulate;
  plan_place in = plan_rows_place(p, fn, x), out = plan_destination(p, y, rows_dim, &accumulate);
  plan_map_emit(p, fn, rows_dim, &(plan_mapping){.in = in, .out = out, .columns = columns});
  plan_map_emit(
      p, fn, rows_dim,
      &(plan_mapping){.in = {.memory = vector.memory, .col_stride = 1}, .out = out, .first = columns, .columns = appended});
  return true;
}

bool plan_selection_embedding(planner *p, MlirOperation op, int fn, int64_t rows_dim) {
  hmoec_shape sets = hmoec_value_shape(mlirOperationGetOperand(op, 0)), table = hmoec_value_shape(mlirOperationGetOperand(op, 1));
  bool accumulate;
  plan_binding rows = plan_table(p, fn, plan_value_get(p, mlirOperationGetOperand(op, 1))->place, table.dims[0], table.dims[1]);
  plan_place out = plan_destination(p, mlirOperationGetResult(op, 0), rows_dim, &accumulate);
  hmoec_kernel kernel = {.family = HMOEC_KERNEL_SELECT,
                         .spec.select = {.experts = table.dims[0],
                                         .top_k = sets.dims[1],
                                         .embedding = table.dims[1],
                                         .of = hmoec_op_string_is(op, "of", "selected") ? HMOEC_SELECTED : HMOEC_UNSELECTED,
                                         .mean = hmoec_op_string_is(op, "aggregate", "mean")}};
  plan_step step = plan_kernel_begin(p, fn, &kernel, rows_dim);
  plan_bind(&step, "sets", plan_at(plan_value_get(p, mlirOperationGetOperand(op, 0))->place.memory));
  plan_bind(&step, "table", rows);
  plan_bind(&step, "out", plan_at(out.memory));
  plan_step_end(&step);
  return true;
}

bool plan_all_selections(planner *p, MlirOperation op, int fn, int64_t rows_dim) {
  (void)fn;
  (void)rows_dim;
  hmoec_shape sets = hmoec_value_shape(mlirOperationGetResult(op, 0));
  plan_memory *memory = plan_plain(p, "i32", -1, sets.dims[0], sets.dims[1]);
  plan_step step = plan_step_begin(p, PLAN_OPEN, "all_selections", -1);
  plan_bind(&step, "dst", plan_at(memory));
  plan_int(&step, "experts", hmoec_op_int(op, "experts"));
  plan_int(&step, "top_k", sets.dims[1]);
  plan_int(&step, "sets", sets.dims[0]);
  plan_step_end(&step);
  plan_value_get(p, mlirOperationGetResult(op, 0))->place = plan_whole_place(memory);
  return true;
}

bool plan_weight_embedding(planner *p, MlirOperation op, int fn, int64_t rows_dim) {
  (void)fn;
  (void)rows_dim;
  static const char *const roles[] = {"wi", "wo", "depthwise1", "pointwise1", "depthwise2", "pointwise2"};
  hmoec_shape shape = hmoec_value_shape(mlirOperationGetResult(op, 0));
  plan_memory *memory = plan_plain(p, "f32", -1, shape.dims[0], shape.dims[1]);
  plan_step step = plan_step_begin(p, PLAN_OPEN, "weight_embedding", -1);
  plan_bind(&step, "dst", plan_at(memory));
  for (int i = 0; i < 6; i++) plan_bind(&step, roles[i], plan_at(plan_value_get(p, mlirOperationGetOperand(op, i))->place.memory));
  plan_step_end(&step);
  plan_value_get(p, mlirOperationGetResult(op, 0))->place = plan_whole_place(memory);
  return true;
}
