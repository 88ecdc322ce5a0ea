/* The entries of a model, and which ops belong to each. There is one graph; an entry is a part of it.
 *
 *   run, forward   all of it
 *   encode         what the outputs need that do not depend on what is generated
 *   prepare        what the keys, values and masks need that generation reads again and again: the source's, into the state
 *   decode         what depends on the tokens that are generated, for as many new ones as the caller has: keys and values of those before
 *                  are in the state
 *
 * What is generated: the inputs that share the rows of a causal attention's queries. A model without one has `run` (or `forward`, if its inputs
 * are ids) only. Decoding is possible when nothing but attention mixes rows, and nothing but keys, values and masks comes from elsewhere;
 * otherwise there is no decode, with a remark. Rows of values are pairs of the model's dynamic dimensions, followed through the ops. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "ir/entry.h"
#include "ir/location.h"
#include "passes/plan.h"

/* ---- rows ---- */

/* The operand whose rows an op's results have. */
static MlirValue rows_source(planner *p, MlirOperation op) {
  if (hmoec_op_is(op, "hmoe.unflatten")) return mlirOperationGetOperand(op, 1);
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) {
    MlirValue operand = mlirOperationGetOperand(op, i);
    if (plan_model_rows(p, operand).count >= 0) return operand;
  }
  return (MlirValue){NULL};
}

enum { ROWS_CHARS = 2 * HMOEC_MOST_NAME + 8 };
/* "[batch, length]", as the model calls its dimensions. */
static const char *rows_text(const planner *p, plan_rows rows, char text[ROWS_CHARS]) {
  MlirStringRef length = p->graph.dim_names[rows.length], batch = rows.batch < 0 ? length : p->graph.dim_names[rows.batch];
  if (rows.batch < 0) snprintf(text, ROWS_CHARS, "[%.*s]", (int)length.length, length.data);
  else snprintf(text, ROWS_CHARS, "[%.*s, %.*s]", (int)batch.length, batch.data, (int)length.length, length.data);
  return text;
}

/* Rows that must be the same: the operands of row-wise ops. Attention's keys have others, of the same batch. */
static bool rows_check(planner *p, MlirOperation op, plan_rows rows) {
  bool attention = plan_is_attention(op), unflatten = hmoec_op_is(op, "hmoe.unflatten");
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) {
    plan_rows other = plan_model_rows(p, mlirOperationGetOperand(op, i));
    if (other.count < 0 || (unflatten && other.count == rows.count)) continue;
    bool same = attention && i > 0 ? other.batch == rows.batch : other.count == rows.count;
    if (attention && i > 1) same = same && other.count == plan_model_rows(p, mlirOperationGetOperand(op, 1)).count;
    if (same) continue;
    char expected[ROWS_CHARS], found[ROWS_CHARS];
    const hmoec_op_info *info = hmoec_op_info_of(op);
    intptr_t as = attention && i > 1 ? 1 : 0;
    while (as < i && plan_model_rows(p, mlirOperationGetOperand(op, as)).count < 0) as++;
    return hmoec_error(p->graph.diagnostics, hmoec_location_of_op(op), "%s: %s has rows %s, %s has %s%s", info->name,
                       info->operands[as].name, rows_text(p, plan_model_rows(p, mlirOperationGetOperand(op, as)), expected),
                       info->operands[i].name, rows_text(p, other, found), attention && i == 1 ? ": expected the same batch" : "");
  }
  return true;
}

/* One number for a pair of dimensions: `count` of rows in the model. */
static int64_t pair_number(int64_t batch, int64_t length) { return batch < 0 ? length : PLAN_MOST_DIMS * (batch + 1) + length; }

static int64_t dim_number(planner *p, MlirStringRef name) {
  for (int64_t i = 0; i < p->graph.model_dims; i++)
    if (mlirStringRefEqual(p->graph.dim_names[i], name)) return i;
  if (p->graph.model_dims == PLAN_MOST_DIMS) return -1;
  p->graph.dim_names[p->graph.model_dims] = name;
  return p->graph.model_dims++;
}

static bool find_rows(planner *p, MlirOperation function, MlirBlock body) {
  for (intptr_t i = 0; i < mlirBlockGetNumArguments(body); i++) {
    MlirValue argument = mlirBlockGetArgument(body, i);
    hmoec_shape shape = hmoec_value_shape(argument);
    int64_t dims[HMOEC_MAX_RANK];
    size_t count = 0;
    for (int64_t d = 0; d < shape.rank; d++) {
      if (shape.dims[d] != HMOEC_DYNAMIC) continue;
      dims[count] = dim_number(p, hmoec_entry_dim_name(function, (size_t)i, (size_t)d));
      if (dims[count++] < 0)
        return hmoec_error(p->graph.diagnostics, hmoec_location_of_op(function),
                           "expected at most %d dimensions that are known at run time", PLAN_MOST_DIMS);
    }
    bool integers = shape.element != HMOEC_F32;
    bool batched = count == 2 && (integers ? shape.rank == 2 : shape.rank == 3);
    bool plain = count == 1 && shape.rank == 2 && !integers;
    if ((!batched && !plain) || shape.dims[0] != HMOEC_DYNAMIC)
      return hmoec_error(
          p->graph.diagnostics, hmoec_location_of_op(function),
          "expected input %ld to be f32[tokens, columns], f32[batch, length, columns] or ids of [batch, length], with dynamic "
          "rows",
          (long)i);
    plan_rows rows = batched ? (plan_rows){0, dims[0], dims[1]} : (plan_rows){0, -1, dims[0]};
    rows.count = pair_number(rows.batch, rows.length);
    plan_value_get(p, argument)->rows = rows;
  }
  for (size_t i = 0; i < p->graph.op_count; i++) {
    if (hmoec_op_at_open(p->graph.ops[i]) || hmoec_op_is(p->graph.ops[i], "func.return")) continue;
    MlirValue source = rows_source(p, p->graph.ops[i]);
    if (mlirValueIsNull(source)) continue;
    plan_rows rows = plan_model_rows(p, source);
    if (!rows_check(p, p->graph.ops[i], rows)) return false;
    for (intptr_t r = 0; r < mlirOperationGetNumResults(p->graph.ops[i]); r++)
      plan_value_get(p, mlirOperationGetResult(p->graph.ops[i], r))->rows = rows;
  }
  return true;
}

plan_rows plan_rows_of(planner *p, MlirValue value) {
  const plan_value *v = plan_value_get(p, value);
  if (v->rows.count < 0) return (plan_rows){-1, -1, -1};
  int64_t length = p->here.entry->dim[v->rows.length], batch = v->rows.batch < 0 ? -1 : p->here.entry->dim[v->rows.batch];
  if (v->rows.batch < 0) return (plan_rows){length, -1, -1};
  if (v->from_last) return (plan_rows){batch, batch, -1};
  return (plan_rows){plan_dim_get(p, PLAN_RUN, HMOE_DIM_PRODUCT, batch, length), batch, length};
}

/* ---- what depends on what is generated ---- */

static void find_target(planner *p) {
  p->graph.target_batch = p->graph.target_length = -1;
  for (size_t i = 0; i < p->graph.op_count; i++) {
    if (!plan_is_attention(p->graph.ops[i]) || !hmoec_op_int(p->graph.ops[i], "causal")) continue;
    plan_rows rows = plan_model_rows(p, mlirOperationGetOperand(p->graph.ops[i], 0));
    p->graph.target_batch = rows.batch;
    p->graph.target_length = rows.length;
    break;
  }
  for (size_t i = 0; p->graph.target_length >= 0 && i < p->graph.op_count; i++)
    for (intptr_t o = 0; o < mlirOperationGetNumOperands(p->graph.ops[i]); o++)
      p->graph.depends[i] = p->graph.depends[i] || plan_depends(p, mlirOperationGetOperand(p->graph.ops[i], o));
}

/* ---- members ---- */

static void add_slice(const planner *p, bool *member, MlirValue value) {
  size_t number = plan_op_number(&p->graph, hmoec_defining_op(value));
  if (number != HMOEC_NO_NUMBER && !hmoec_op_at_open(p->graph.ops[number])) member[number] = true;
}

/* Closes a set of ops over what they need; `stop_at_source`: keys, values and masks of the source come from the state. */
static void close_slice(const planner *p, bool *member, bool stop_at_source) {
  for (size_t i = p->graph.op_count; i-- > 0;) {
    if (!member[i]) continue;
    intptr_t first_state = stop_at_source && plan_is_cross(p, p->graph.ops[i]) ? 1 : INTPTR_MAX;
    for (intptr_t o = 0; o < mlirOperationGetNumOperands(p->graph.ops[i]); o++) {
      MlirValue operand = mlirOperationGetOperand(p->graph.ops[i], o);
      if (o >= first_state && plan_model_rows(p, operand).count >= 0) continue;
      add_slice(p, member, operand);
    }
  }
}

/* Whether an output of this entry, of these rows, is computed from an argument and has elements also where the argument, which has no default, has
 * none: attention pools its keys, and decode's logits are of the last token. Of no keys, and after no token, there is nothing to compute. */
bool plan_is_needed(planner *p, MlirOperation function, intptr_t argument, MlirValue output, plan_rows rows) {
  MlirValue value = mlirBlockGetArgument(mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0)), argument);
  plan_rows own = plan_rows_of(p, value);
  bool counted = (own.batch < 0 || own.batch == rows.batch || own.batch == rows.length) &&
                 (own.length == rows.batch || own.length == rows.length);
  int64_t fill;
  if (counted || hmoec_entry_input_default(function, (size_t)argument, &fill)) return false;
  bool *member = hmoec_arena_alloc_array(p->out.arena, p->graph.op_count, sizeof *member), found = mlirValueEqual(output, value);
  add_slice(p, member, output);
  for (size_t i = p->graph.op_count; !found && i-- > 0;)
    for (intptr_t o = 0; member[i] && o < mlirOperationGetNumOperands(p->graph.ops[i]); o++) {
      found = found || mlirValueEqual(mlirOperationGetOperand(p->graph.ops[i], o), value);
      add_slice(p, member, mlirOperationGetOperand(p->graph.ops[i], o));
    }
  return found;
}

/* Why an op of decode cannot be run token by token, or NULL. */
static const char *decode_defect(const planner *p, MlirOperation op) {
  for (intptr_t o = 0; o < mlirOperationGetNumOperands(op); o++) {
    MlirValue operand = mlirOperationGetOperand(op, o);
    bool tokens = plan_model_rows(p, operand).count >= 0;
    if (!tokens || plan_depends(p, operand) || (plan_is_cross(p, op) && o > 0)) continue;
    return "it reads rows of the source other than by attention";
  }
  if (hmoec_op_is(op, "hmoe.route") && hmoec_op_int(op, "capacity") > 0 && !hmoec_op_int(op, "per_call") &&
      hmoec_value_shape(mlirOperationGetOperand(op, 0)).rank == 2)
    return "the capacity of its experts counts over all rows of the batch";
  if (!plan_is_attention(op)) return NULL;
  if (plan_depends(p, mlirOperationGetOperand(op, 1)) && !hmoec_op_int(op, "causal")) return "its attention is not causal";
  return NULL;
}

static plan_entry entry_of(planner *p, plan_entry_kind kind, const char *name) {
  plan_entry entry = {.kind = kind,
                      .name = name,
                      .member = hmoec_arena_alloc_array(p->out.arena, p->graph.op_count, sizeof(bool)),
                      .pair = hmoec_arena_alloc_array(p->out.arena, p->graph.op_count, sizeof(MlirOperation))};
  for (int i = 0; i < PLAN_MOST_DIMS; i++) entry.dim[i] = -1;
  return entry;
}

bool plan_entries_init(planner *p, MlirOperation function, MlirBlock body, plan_entry out_entries[PLAN_MOST_ENTRIES],
                       size_t *out_count) {
  *out_count = 0;
  p->graph.depends = hmoec_arena_alloc_array(p->out.arena, p->graph.op_count, sizeof(bool));
  for (size_t i = 0; i < p->graph.op_count; i++)
    if (!hmoec_pointer_map_set(&p->graph.op_at, p->graph.ops[i].ptr, i))
      return hmoec_machine_error(p->graph.diagnostics, "out of memory");
  if (!find_rows(p, function, body)) return false;
  find_target(p);

  bool ids = false;
  for (intptr_t i = 0; i < mlirBlockGetNumArguments(body); i++)
    ids = ids || hmoec_value_shape(mlirBlockGetArgument(body, i)).element != HMOEC_F32;
  plan_entry *all = &out_entries[(*out_count)++];
  *all = entry_of(p, PLAN_ALL, ids ? "forward" : "run");
  for (size_t i = 0; i < p->graph.op_count; i++)
    all->member[i] = !hmoec_op_at_open(p->graph.ops[i]) && !hmoec_op_is(p->graph.ops[i], "func.return");
  if (p->graph.target_length < 0) return true;

  MlirOperation terminator = mlirBlockGetTerminator(body);
  plan_entry *encode = &out_entries[*out_count];
  (*out_count)++;
  *encode = entry_of(p, PLAN_ENCODE, "encode");
  bool encodes = false;
  int64_t generated = -1;
  for (intptr_t r = mlirOperationGetNumOperands(terminator); r-- > 0;) {
    MlirValue output = mlirOperationGetOperand(terminator, r);
    if (plan_depends(p, output)) generated = r;
    else {
      encodes = true;
      add_slice(p, encode->member, output);
    }
  }
  close_slice(p, encode->member, false);
  *out_count -= !encodes;
  if (generated < 0) return true;

  plan_entry decode = entry_of(p, PLAN_DECODE, "decode");
  decode.output = generated;
  add_slice(p, decode.member, mlirOperationGetOperand(terminator, generated));
  close_slice(p, decode.member, true);
  for (size_t i = 0; i < p->graph.op_count; i++) {
    const char *defect = decode.member[i] ? decode_defect(p, p->graph.ops[i]) : NULL;
    if (!defect) continue;
    hmoec_note(p->graph.diagnostics, hmoec_location_of_op(p->graph.ops[i]),
               "the model cannot decode token by token, and has no entry for it: %s", defect);
    return true;
  }
  plan_entry prepare = entry_of(p, PLAN_PREPARE, "prepare");
  bool prepares = false;
  for (size_t i = 0; i < p->graph.op_count; i++) {
    if (!decode.member[i] || !plan_is_cross(p, p->graph.ops[i])) continue;
    prepares = true;
    for (intptr_t o = 1; o < mlirOperationGetNumOperands(p->graph.ops[i]); o++)
      add_slice(p, prepare.member, mlirOperationGetOperand(p->graph.ops[i], o));
  }
  close_slice(p, prepare.member, false);
  if (prepares) out_entries[(*out_count)++] = prepare;
  out_entries[(*out_count)++] = decode;
  return true;
}
