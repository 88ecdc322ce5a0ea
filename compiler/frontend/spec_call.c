/* Calls of ops and of blocks.
 *
 * An op takes operands, by position or by name, and attributes by name. The results of an op that has several travel as one value; given
 * as a positional operand it fills the next operands that are named as its results are: with r = route(...),
 *   experts(x, r, wi, wo)  is  experts(x, r.indices, r.kept, wi, wo)     and  combine(o, r)  is  combine(o, r.gates)
 * An absent value fills nothing, so an optional operand can be left out by a condition. Where each of several may be left out
 * (hmoec_op_info.first_optional), the attribute that says which are there follows from the operands and is not written. */
#include <string.h>

#include "frontend/spec_eval.h"
#include "frontend/spec_parser.h"

typedef struct op_call {
  const hmoec_expr *call;
  const hmoec_op_info *info;
  MlirValue operands[HMOEC_MAX_OPERANDS];
  bool given[HMOEC_MAX_OPERANDS];  /* named or passed, even if absent */
  bool filled[HMOEC_MAX_OPERANDS];
  size_t next;                     /* the operand the next positional argument fills */
  hmoec_attribute attributes[HMOEC_MAX_ATTRIBUTES];
  size_t attribute_count;
} op_call;

static const char *operand_list(hmoec_evaluator *ev, const hmoec_op_info *info) {
  const char *list = "";
  for (size_t i = 0; info->operands[i].name; i++)
    list = hmoec_arena_printf(ev->arena, "%s%s%s", list, i ? ", " : "", info->operands[i].name);
  return list;
}

/* An attribute that only says which operands there are. */
static bool is_implied(const hmoec_op_info *info, const hmoec_attribute_info *row) {
  return info->first_optional && strcmp(row->name, info->first_optional) == 0;
}

static bool operand_set(hmoec_evaluator *ev, op_call *op, size_t index, const hmoec_value *value, hmoec_location at) {
  const char *op_name = op->info->name, *operand = op->info->operands[index].name;
  if (op->given[index]) return hmoec_error(ev->diagnostics, at, "%s: operand %s is given twice", op_name, operand);
  op->given[index] = true;
  if (value->kind == HMOEC_VALUE_ABSENT) return true;
  if (value->kind != HMOEC_VALUE_TENSOR)
    return hmoec_error(ev->diagnostics, at, "%s: expected a tensor as operand %s, found %s", op_name, operand,
                       hmoec_value_string(ev, value));
  op->filled[index] = true;
  op->operands[index] = value->tensor;
  return true;
}

static bool set_next(hmoec_evaluator *ev, op_call *op, const hmoec_value *value, hmoec_location at) {
  if (!op->info->operands[op->next].name)
    return hmoec_error(ev->diagnostics, at, "%s takes no more than %zu operands (%s)", op->info->name, op->next,
                       operand_list(ev, op->info));
  return operand_set(ev, op, op->next++, value, at);
}

/* Fills the operands from op->next on that are named as items of the bundle. */
static bool set_from_bundle(hmoec_evaluator *ev, op_call *op, const hmoec_value *bundle, hmoec_location at) {
  bool any = false;
  for (const char *name; (name = op->info->operands[op->next].name); any = true) {
    size_t i = 0;
    while (i < bundle->item_count && strcmp(bundle->item_names[i], name) != 0) i++;
    if (i == bundle->item_count) break;
    if (!operand_set(ev, op, op->next++, &bundle->items[i], at)) return false;
  }
  if (any) return true;
  const char *name = op->info->operands[op->next].name;
  return hmoec_error(ev->diagnostics, at, "%s: %s is not one of %s%s", op->info->name,
                     name ? hmoec_arena_printf(ev->arena, "operand %s", name) : "a further operand", hmoec_value_string(ev, bundle),
                     name ? "; pick one with a dot" : "");
}

static bool set_positional(hmoec_evaluator *ev, op_call *op, const hmoec_value *value, hmoec_location at) {
  switch (value->kind) {
  case HMOEC_VALUE_TENSOR:
  case HMOEC_VALUE_ABSENT: return set_next(ev, op, value, at);
  case HMOEC_VALUE_BUNDLE: return set_from_bundle(ev, op, value, at);
  case HMOEC_VALUE_TUPLE:
    for (size_t i = 0; i < value->item_count; i++)
      if (!set_positional(ev, op, &value->items[i], at)) return false;
    return true;
  default: {
    const char *list = "";
    for (const hmoec_attribute_info *row = op->info->attributes; row->name; row++)
      if (!is_implied(op->info, row)) list = hmoec_arena_printf(ev->arena, "%s%s%s", list, *list ? ", " : "", row->name);
    return hmoec_error(ev->diagnostics, at, "%s: expected a tensor, found %s%s%s", op->info->name, hmoec_value_string(ev, value),
                       *list ? "; attributes are given by name: " : "", list);
  }
  }
}

static bool attribute_set(hmoec_evaluator *ev, op_call *op, const hmoec_attribute_info *row, const hmoec_value *value,
                          const hmoec_argument *argument) {
  static const char *const expected[] = {[HMOEC_ATTRIBUTE_INT] = "an integer",
                                         [HMOEC_ATTRIBUTE_STRING] = "a word",
                                         [HMOEC_ATTRIBUTE_INTS] = "a list of integers",
                                         [HMOEC_ATTRIBUTE_FLOAT] = "a number"};
  static const hmoec_value_kind kinds[] = {[HMOEC_ATTRIBUTE_INT] = HMOEC_VALUE_INTEGER,
                                           [HMOEC_ATTRIBUTE_STRING] = HMOEC_VALUE_WORD,
                                           [HMOEC_ATTRIBUTE_INTS] = HMOEC_VALUE_LIST,
                                           [HMOEC_ATTRIBUTE_FLOAT] = HMOEC_VALUE_NUMBER};
  for (size_t i = 0; i < op->attribute_count; i++)
    if (strcmp(op->attributes[i].name, row->name) == 0)
      return hmoec_error(ev->diagnostics, argument->name.at, "%s: %s is given twice", op->info->name, row->name);
  if (value->kind == HMOEC_VALUE_ABSENT) return true;
  bool whole = row->kind == HMOEC_ATTRIBUTE_FLOAT && value->kind == HMOEC_VALUE_INTEGER;
  if (value->kind != kinds[row->kind] && !whole)
    return hmoec_error(ev->diagnostics, argument->value->at, "%s: expected %s as %s, found %s", op->info->name, expected[row->kind],
                       row->name, hmoec_value_string(ev, value));
  int64_t *ints = hmoec_arena_alloc_array(ev->arena, value->item_count, sizeof *ints);
  for (size_t i = 0; i < value->item_count; i++) ints[i] = value->items[i].integer;
  op->attributes[op->attribute_count++] = (hmoec_attribute){.name = row->name,
                                                            .kind = row->kind,
                                                            .integer = value->integer,
                                                            .string = value->word,
                                                            .ints = ints,
                                                            .int_count = value->item_count,
                                                            .number = whole ? (double)value->integer : value->number};
  return true;
}

static bool set_named(hmoec_evaluator *ev, op_call *op, const hmoec_value *value, const hmoec_argument *argument) {
  const hmoec_op_info *info = op->info;
  const char *names[HMOEC_MAX_OPERANDS + HMOEC_MAX_ATTRIBUTES];
  size_t count = 0;
  for (size_t i = 0; info->operands[i].name; i++) {
    if (strcmp(info->operands[i].name, argument->name.text) == 0) return operand_set(ev, op, i, value, argument->value->at);
    names[count++] = info->operands[i].name;
  }
  for (const hmoec_attribute_info *row = info->attributes; row->name; row++) {
    if (is_implied(info, row)) continue;
    if (strcmp(row->name, argument->name.text) == 0) return attribute_set(ev, op, row, value, argument);
    names[count++] = row->name;
  }
  const char *close = hmoec_closest_name(argument->name.text, names, count);
  return hmoec_error(ev->diagnostics, argument->name.at, "%s has no operand or attribute '%s'%s%s%s", info->name,
                     argument->name.text, close ? "; did you mean '" : "", close ? close : "", close ? "'?" : "");
}

/* Moves the operands that are there together, and says which they are. */
static void close_gaps(op_call *op, size_t *out_count) {
  size_t first = op->info->required_operands, count = 0;
  for (size_t i = 0; op->info->operands[i].name; i++)
    if (op->filled[i]) op->operands[count++] = op->operands[i];
  *out_count = count;
  op->attributes[op->attribute_count++] =
      (hmoec_attribute){.name = op->info->first_optional, .kind = HMOEC_ATTRIBUTE_INT, .integer = op->filled[first]};
}

/* The operands that are there, without gaps. */
static bool operands_check(hmoec_evaluator *ev, op_call *op, size_t *out_count) {
  size_t count = 0;
  bool ok = true;
  for (size_t i = 0; op->info->operands[i].name; i++)
    if (op->filled[i]) count = i + 1;
  for (size_t i = 0; op->info->operands[i].name; i++) {
    bool optional = i >= op->info->required_operands;
    if (op->filled[i] || (optional && (i >= count || op->info->first_optional))) continue;
    bool absent = op->given[i];
    const char *reason = optional ? ", because a later one is given" : absent ? ", but its value is absent here" : "";
    ok = hmoec_error(ev->diagnostics, op->call->at, "%s: operand %s is %s%s", op->info->name, op->info->operands[i].name,
                     absent ? "needed" : "missing", reason);
  }
  *out_count = count;
  if (ok && op->info->first_optional) close_gaps(op, out_count);
  return ok;
}

static hmoec_value results_value(hmoec_evaluator *ev, const op_call *op, const MlirValue *results, size_t count) {
  const char *const *names = hmoec_builder_result_names(op->info->name);
  if (!names) return hmoec_value_tensor(results[0]);
  hmoec_value *items = hmoec_arena_alloc_array(ev->arena, count, sizeof *items);
  for (size_t i = 0; i < count; i++) items[i] = hmoec_value_tensor(results[i]);
  return (hmoec_value){
      .kind = HMOEC_VALUE_BUNDLE, .word = op->info->name, .items = items, .item_names = names, .item_count = count};
}

static hmoec_value eval_op(hmoec_evaluator *ev, const hmoec_op_info *info, const hmoec_expr *call) {
  op_call op = {.call = call, .info = info};
  bool ok = true;
  for (size_t i = 0; i < call->argument_count; i++) {
    const hmoec_argument *argument = &call->arguments[i];
    hmoec_value value = hmoec_eval_expr(ev, argument->value);
    if (value.kind == HMOEC_VALUE_ERROR) ok = false;
    if (!ok) continue; /* the other arguments are still looked at for their own errors */
    ok = argument->name.text ? set_named(ev, &op, &value, argument) : set_positional(ev, &op, &value, argument->value->at);
  }
  size_t operand_count, result_count;
  MlirValue results[HMOEC_MAX_RESULTS];
  if (!ok || !operands_check(ev, &op, &operand_count)) return hmoec_value_error();
  if (!hmoec_builder_op(ev->builder, call->at, info->name, op.operands, operand_count, op.attributes, op.attribute_count, results,
                        &result_count))
    return hmoec_value_error();
  return results_value(ev, &op, results, result_count);
}

/* The index of the block's argument that `argument` names, or the next positional one; HMOEC_NO_NAME, reported, if there is none. */
static size_t parameter_of(hmoec_evaluator *ev, const hmoec_statement *block, const hmoec_argument *argument, size_t position) {
  if (!argument->name.text) {
    if (position < block->parameter_count) return position;
    hmoec_error(ev->diagnostics, argument->value->at, "block %s takes no more than %zu arguments", block->name.text,
                block->parameter_count);
    return HMOEC_NO_NAME;
  }
  hmoec_name_map names = {.arena = ev->arena};
  for (size_t i = 0; i < block->parameter_count; i++) hmoec_name_map_add(&names, block->parameters[i].name.text);
  size_t index = hmoec_name_map_find(&names, argument->name.text);
  if (index != HMOEC_NO_NAME) return index;
  const char *close = hmoec_closest_name(argument->name.text, names.names, names.count);
  hmoec_error(ev->diagnostics, argument->name.at, "block %s has no argument '%s'%s%s%s", block->name.text, argument->name.text,
              close ? "; did you mean '" : "", close ? close : "", close ? "'?" : "");
  return HMOEC_NO_NAME;
}

/* Evaluates the arguments in the caller's frame, and binds them in the block's. */
static bool bind_arguments(hmoec_evaluator *ev, const hmoec_statement *block, const hmoec_expr *call, hmoec_frame *frame) {
  bool *given = hmoec_arena_alloc_array(ev->arena, block->parameter_count, sizeof *given);
  bool ok = true;
  for (size_t i = 0; i < call->argument_count; i++) {
    const hmoec_argument *argument = &call->arguments[i];
    hmoec_value value = hmoec_eval_expr(ev, argument->value);
    size_t index = parameter_of(ev, block, argument, i);
    if (index == HMOEC_NO_NAME) {
      ok = false;
    } else if (given[index]) {
      ok = hmoec_error(ev->diagnostics, argument->name.at, "block %s: argument '%s' is given twice", block->name.text,
                       argument->name.text);
    } else {
      given[index] = true;
      ok = hmoec_eval_bind(ev, frame, block->parameters[index].name, value, NULL) && ok;
    }
  }
  hmoec_frame *caller = ev->frame;
  ev->frame = frame; /* a default may use the arguments before it */
  for (size_t i = 0; i < block->parameter_count; i++) {
    const hmoec_argument *parameter = &block->parameters[i];
    if (given[i] || (!ok && !parameter->value)) continue; /* an argument that failed may be the one that is missing */
    if (parameter->value) ok = hmoec_eval_bind(ev, frame, parameter->name, hmoec_eval_expr(ev, parameter->value), NULL) && ok;
    else ok = hmoec_error(ev->diagnostics, call->at, "block %s: argument '%s' is missing", block->name.text, parameter->name.text);
  }
  ev->frame = caller;
  return ok;
}

static hmoec_value eval_block(hmoec_evaluator *ev, size_t index, const hmoec_expr *call) {
  hmoec_statement *block = ev->blocks[index];
  hmoec_frame frame = {.names = {.arena = ev->arena}, .block = block, .result = {.kind = HMOEC_VALUE_NOTHING}};
  if (!bind_arguments(ev, block, call, &frame)) return hmoec_value_error();
  if (ev->block_active[index]) {
    hmoec_error(ev->diagnostics, call->at, "block %s calls itself", block->name.text);
    return hmoec_value_error();
  }
  unsigned errors = hmoec_diagnostics_errors(ev->diagnostics);
  hmoec_frame *caller = ev->frame;
  ev->frame = &frame;
  ev->block_active[index] = true;
  hmoec_eval_statements(ev, &block->body);
  ev->block_active[index] = false;
  ev->frame = caller;
  if (hmoec_diagnostics_errors(ev->diagnostics) == errors) return frame.result;
  hmoec_note(ev->diagnostics, call->at, "in block %s, called here", block->name.text);
  return hmoec_value_error();
}

static hmoec_value unknown_call(hmoec_evaluator *ev, const hmoec_expr *call) {
  const hmoec_op_info *op;
  hmoec_name_map names = {.arena = ev->arena};
  for (size_t i = 0; (op = hmoec_op_info_at(i)); i++)
    if (op->from_spec && op->infer) hmoec_name_map_add(&names, op->name);
  for (size_t i = 0; i < ev->block_names.count; i++) hmoec_name_map_add(&names, ev->block_names.names[i]);
  const char *close = hmoec_closest_name(call->text, names.names, names.count);
  hmoec_error(ev->diagnostics, call->at, "there is no op or block named '%s'%s%s%s", call->text, close ? "; did you mean '" : "",
              close ? close : "", close ? "'?" : "");
  return hmoec_value_error();
}

hmoec_value hmoec_eval_call(hmoec_evaluator *ev, const hmoec_expr *call) {
  size_t block = hmoec_name_map_find(&ev->block_names, call->text);
  if (block != HMOEC_NO_NAME) return eval_block(ev, block, call);
  if (strcmp(call->text, "c") == 0) return hmoec_eval_c_function(ev, call);
  const hmoec_op_info *op = hmoec_op_info_find(call->text);
  if (op && op->from_spec && op->infer) return eval_op(ev, op, call);
  if (op && !op->from_spec) {
    hmoec_error(ev->diagnostics, call->at, "%s is made by passes and cannot be written in a spec", call->text);
    return hmoec_value_error();
  }
  if (op) {
    hmoec_error(ev->diagnostics, call->at, "write `param NAME: [..] from \"KEY\"` for a parameter");
    return hmoec_value_error();
  }
  return unknown_call(ev, call);
}
