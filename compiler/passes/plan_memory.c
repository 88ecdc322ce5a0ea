/* Where results go: straight into the memory of the value they are part of.
 *
 *   add(x, f(norm(x)))  ->  f writes into x's memory, adding to it, when nothing reads x afterwards: the residual stream of a stack is one
 *                           memory, from the embedding to the last norm
 *   return add(a, b)    ->  a writes the caller's memory, b adds to it
 *
 * Rows are laid out as products read them in place where one will. */
#include "passes/plan.h"

#include <string.h>

/* Whether an op adds its result to memory that it is given. */
static bool writes_destination(MlirOperation op) {
  return plan_has(op, PLAN_GIVEN) && !hmoec_op_at_open(op) && !plan_is_per_set(op);
}

/* Whether a product of the entry reads the rows of this value. */
static bool feeds_product(MlirValue value) {
  for (MlirOpOperand use = mlirValueGetFirstUse(value); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use)) {
    MlirOperation user = mlirOpOperandGetOwner(use);
    if (mlirOpOperandGetOperandNumber(use) == 0 && hmoec_op_has(user, HMOEC_OP_PRODUCT)) return true;
  }
  return false;
}

plan_place plan_whole_place(plan_memory *memory) {
  hmoec_format format = HMOEC_FORMAT_F32; /* of integers, too: nothing multiplies them */
  hmoec_format_find(memory->element, &format);
  return (plan_place){.memory = memory, .row_stride = memory->operand.columns, .col_stride = 1, .format = format};
}

plan_binding plan_rows_at(plan_place place) {
  const hmoec_operand *operand = &place.memory->operand;
  bool rows = operand->role == HMOEC_ROLE_ROWS || (operand->role == HMOEC_ROLE_PLAIN && place.memory->rank == 2);
  int64_t apart = rows && place.row_stride == operand->columns ? PLAN_OWN : place.row_stride;
  return (plan_binding){.memory = place.memory, .at = place.offset, .apart = apart};
}

/* Memory for the rows of a value that is given none: as products read it in place, if any does. */
static plan_memory *own_memory(planner *p, MlirValue value, int64_t rows_dim) {
  return plan_rows_memory(p, HMOEC_FORMAT_F32, rows_dim, plan_columns(value), feeds_product(value));
}

plan_place plan_destination(planner *p, MlirValue value, int64_t rows_dim, bool *out_accumulate) {
  plan_value *v = plan_value_get(p, value);
  if (v->destination) {
    *out_accumulate = v->destination->written;
    v->destination->written = true;
    return v->place = plan_whole_place(v->destination);
  }
  *out_accumulate = false;
  plan_memory *memory = own_memory(p, value, rows_dim);
  return plan_value_get(p, value)->place = plan_whole_place(memory);
}

hmoec_format plan_rows_format(const planner *p, MlirValue value) {
  bool any = false;
  if (plan_is_last_from(p, value) || p->graph.target->packs_rows[p->graph.options->dtype]) return HMOEC_FORMAT_F32;
  for (MlirOpOperand use = mlirValueGetFirstUse(value); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use)) {
    MlirOperation user = mlirOpOperandGetOwner(use);
    if (!plan_is_reader(p, user)) continue; /* of another entry */
    if (!hmoec_op_is(user, "hmoe.linear") || mlirOpOperandGetOperandNumber(use) != 0 ||
        plan_format(&p->graph, user) == HMOEC_FORMAT_F32)
      return HMOEC_FORMAT_F32;
    any = true;
  }
  return any ? p->graph.options->dtype : HMOEC_FORMAT_F32;
}

plan_place plan_product_rows(planner *p, MlirValue result, int64_t rows_dim) {
  hmoec_format format = plan_rows_format(p, result);
  plan_memory *memory = format != HMOEC_FORMAT_F32 ? plan_rows_memory(p, format, rows_dim, plan_columns(result), true)
                                                   : own_memory(p, result, rows_dim);
  return plan_value_get(p, result)->place = plan_whole_place(memory);
}

/* Whether two linears multiply in memory: the first writes it, the second multiplies what is there. */
static bool multiplies_memory(MlirOperation op) {
  plan_gates gates;
  return hmoec_op_is(op, "hmoe.multiply") && !plan_gates_of(op, &gates);
}

/* Whether a value can be written to memory that it is given, or added to it: a view if what it sees can. */
static bool of_memory(MlirValue value, bool added) {
  MlirOperation op = hmoec_defining_op(value);
  if (mlirOperationIsNull(op) || !writes_destination(op) || (added && multiplies_memory(op))) return false;
  if (!hmoec_op_is(op, "hmoe.unflatten")) return true;
  MlirValue seen = mlirOperationGetOperand(op, 0);
  return !mlirOperationIsNull(hmoec_single_user(seen)) && of_memory(seen, added);
}

static bool takes_destination(MlirValue value, bool added) {
  return of_memory(value, added) && !mlirOperationIsNull(hmoec_single_user(value));
}

static void set_destination(planner *p, MlirValue value, plan_memory *destination) {
  plan_value *v = plan_value_get(p, value);
  v->destination = destination;
  if (v->first_write < destination->first_write) destination->first_write = v->first_write;
}

static void give_destination(planner *p, MlirValue value, plan_memory *destination, bool added) {
  if (takes_destination(value, added)) set_destination(p, value, destination);
}

/* When the destination of each value would first be written: what adds and views are given they pass on. */
static void find_first_writes(planner *p) {
  for (size_t i = 0; i < p->graph.op_count; i++) {
    MlirOperation op = p->graph.ops[i];
    if (!plan_is_member(p, op) || !writes_destination(op)) continue;
    size_t first = i;
    bool passes = plan_has(op, PLAN_PASSES) && (!hmoec_op_is(op, "hmoe.multiply") || multiplies_memory(op));
    for (intptr_t o = 0; passes && o < mlirOperationGetNumOperands(op); o++) {
      MlirValue operand = mlirOperationGetOperand(op, o);
      if (takes_destination(operand, false) && plan_value_get(p, operand)->first_write < first)
        first = plan_value_get(p, operand)->first_write;
    }
    plan_value_get(p, mlirOperationGetResult(op, 0))->first_write = first;
  }
}

static bool takes_shape_alone(MlirOpOperand use) {
  return hmoec_op_is(mlirOpOperandGetOwner(use), "hmoe.unflatten") && mlirOpOperandGetOperandNumber(use) == 1;
}

/* The number of the op at which the rows that `op` reads are read for the last time: views and norms may leave it to what reads them, the
 * first of two linears to the second. */
static size_t read_number(const planner *p, MlirOperation op) {
  size_t number = plan_op_number(&p->graph, op);
  bool waits = plan_has(op, PLAN_WAITS);
  if (!waits && !plan_has(op, PLAN_DEFERRED)) return number;
  MlirValue result = mlirOperationGetResult(op, 0);
  for (MlirOpOperand use = mlirValueGetFirstUse(result); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use)) {
    MlirOperation user = mlirOpOperandGetOwner(use);
    if (!plan_is_member(p, user) || takes_shape_alone(use)) continue;
    if (waits && !plan_has(user, PLAN_WAITS))
      continue; /* what reads a product reads other rows, but it may wait for the next one */
    size_t there = waits && hmoec_op_has(user, HMOEC_OP_PRODUCT) ? plan_op_number(&p->graph, user) : read_number(p, user);
    if (there > number) number = there;
  }
  return number;
}

/* Whether an op has read its rows when op number `before` writes to the same memory: earlier, or as a norm, which is not left to a product
 * that writes what it reads, or as the first of two linears, whose tasks do not share rows. */
static bool read_before(const planner *p, MlirValue value, MlirOperation sum, size_t before);
static bool reads_before(const planner *p, MlirOperation op, size_t before) {
  const MlirOperation none = {NULL};
  if (!plan_is_member(p, op)) return false; /* it returns the rows, or keeps them in a state, when all else is done */
  if (hmoec_op_has(op, HMOEC_OP_NORM)) return read_number(p, op) <= before;
  if (hmoec_op_is(op, "hmoe.linear") && read_number(p, op) > before) return false;
  bool through = hmoec_op_has(op, HMOEC_OP_VIEW) || plan_by_reader(op);
  for (intptr_t r = 0; through && r < mlirOperationGetNumResults(op); r++)
    if (!read_before(p, mlirOperationGetResult(op, r), none, before)) return false;
  return plan_op_number(&p->graph, op) < before;
}

/* Whether everything of the entry that reads a value, but `sum`, has read it before op number `before` runs, and nobody returns it. */
static bool read_before(const planner *p, MlirValue value, MlirOperation sum, size_t before) {
  for (MlirOpOperand use = mlirValueGetFirstUse(value); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use)) {
    MlirOperation user = mlirOpOperandGetOwner(use);
    if (takes_shape_alone(use) || !plan_is_reader(p, user) || mlirOperationEqual(user, sum)) continue;
    if (!reads_before(p, user, before)) return false;
  }
  return true;
}

/* Of the operands of a sum, one may have been read by others before: it is the first to be written, and everything else that is given
 * the memory is added to it after they have read it. */
static void give_sum(planner *p, MlirOperation add, plan_memory *destination) {
  MlirValue operands[2] = {mlirOperationGetOperand(add, 0), mlirOperationGetOperand(add, 1)};
  for (int o = 0; o < 2; o++) give_destination(p, operands[o], destination, true);
  for (int o = 0; o < 2; o++) {
    MlirValue first = operands[o], other = operands[1 - o];
    if (mlirValueEqual(first, other) || plan_value_get(p, first)->destination || !of_memory(first, true) || !of_memory(other, true))
      continue;
    if (plan_value_get(p, other)->destination != destination) continue; /* it is added afterwards, from memory of its own */
    size_t begins = plan_op_number(&p->graph, hmoec_defining_op(first)), adds = destination->first_write;
    if (destination->shared && plan_op_number(&p->graph, add) > destination->shared_at)
      continue; /* it is no part of what others read */
    if (begins >= adds || !read_before(p, first, add, adds)) continue;
    set_destination(p, first, destination);
    destination->shared = true;
    destination->shared_at = begins;
  }
}

void plan_assign_destinations(planner *p, MlirOperation terminator, plan_memory **outputs) {
  find_first_writes(p);
  for (intptr_t r = 0; r < mlirOperationGetNumOperands(terminator); r++)
    if (outputs[r] && !plan_is_last_from(p, mlirOperationGetOperand(terminator, r)))
      give_destination(p, mlirOperationGetOperand(terminator, r), outputs[r], false);
  for (size_t i = p->graph.op_count; i-- > 0;) {
    MlirOperation op = p->graph.ops[i];
    if (!plan_is_member(p, op) || !writes_destination(op)) continue;
    MlirValue result = mlirOperationGetResult(op, 0);
    plan_memory *destination = plan_value_get(p, result)->destination;
    if (hmoec_op_is(op, "hmoe.unflatten")) {
      if (destination) give_destination(p, mlirOperationGetOperand(op, 0), destination, false);
    } else if (hmoec_op_is(op, "hmoe.add")) {
      if (!destination) {
        destination = own_memory(p, result, plan_rows_of(p, result).count);
        set_destination(p, result, destination);
      }
      give_sum(p, op, destination);
    } else if (multiplies_memory(op) && plan_is_product_of_linears(op)) {
      /* the two linears share memory, the second to run multiplies */
      if (!destination) destination = plan_product_rows(p, result, plan_rows_of(p, result).count).memory;
      set_destination(p, result, destination);
      for (int o = 0; o < 2; o++) give_destination(p, mlirOperationGetOperand(op, o), destination, false);
    }
  }
}
