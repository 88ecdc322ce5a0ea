/* Statements, and the names they make. */
#include "frontend/spec_eval.h"

#include <inttypes.h>
#include <string.h>

/* ---- limits ---- */

static bool stop(hmoec_evaluator *ev, hmoec_location at, const char *reason) {
  if (!ev->stopped) hmoec_error(ev->diagnostics, at, "%s", reason);
  ev->stopped = true;
  return false;
}

bool hmoec_eval_enter(hmoec_evaluator *ev, hmoec_location at) {
  if (ev->stopped) return false;
  if (++ev->steps > HMOEC_SPEC_MAX_STEPS)
    return stop(ev, at, "the spec takes too many steps to evaluate; do its loops have the right bounds?");
  if (ev->stack >= HMOEC_SPEC_MAX_STACK) return stop(ev, at, "blocks and expressions are nested too deeply");
  ev->stack++;
  return true;
}

void hmoec_eval_leave(hmoec_evaluator *ev) { ev->stack--; }

/* ---- names ---- */

static hmoec_binding *frame_find(hmoec_frame *frame, const char *name) {
  size_t index = hmoec_name_map_find(&frame->names, name);
  return index != HMOEC_NO_NAME && frame->bindings[index].bound ? &frame->bindings[index] : NULL;
}

hmoec_binding *hmoec_eval_find(hmoec_evaluator *ev, const char *name) {
  hmoec_binding *binding = frame_find(ev->frame, name);
  return binding ? binding : frame_find(&ev->globals, name);
}

const char *hmoec_eval_suggestion(hmoec_evaluator *ev, const char *name) {
  if (strlen(name) < 2) return ""; /* every short name is close to it */
  const hmoec_name_map *maps[] = {&ev->frame->names, &ev->globals.names, &ev->words};
  for (size_t i = 0; i < 3; i++) {
    const char *close = hmoec_closest_name(name, maps[i]->names, maps[i]->count);
    if (close && strcmp(close, name) != 0) return hmoec_arena_printf(ev->arena, "; did you mean '%s'?", close);
  }
  return "";
}

/* Refuses a name that something has already, and shows where; of an index or an input. */
static bool name_is_free(hmoec_evaluator *ev, hmoec_spec_text name, bool index) {
  const hmoec_binding *before = hmoec_eval_find(ev, name.text);
  size_t declared = hmoec_name_map_find(&ev->declared, name.text);
  if (!before) return true;
  hmoec_error(ev->diagnostics, name.at,
              index ? "the index '%s' hides another name; choose a name that is free" : "there is already a value named '%s'",
              name.text);
  hmoec_location at = declared != HMOEC_NO_NAME ? ev->declarations[declared]->name.at : before->at;
  if (at.file) hmoec_note(ev->diagnostics, at, "it is declared here");
  return false;
}

static bool bindable(hmoec_evaluator *ev, hmoec_frame *frame, hmoec_spec_text name) {
  size_t declared = hmoec_name_map_find(&ev->declared, name.text);
  if (frame != &ev->globals && declared != HMOEC_NO_NAME) {
    const hmoec_statement *declaration = ev->declarations[declared];
    hmoec_error(ev->diagnostics, name.at, "'%s' is %s and cannot be given another value", name.text,
                declaration->kind == HMOEC_STATEMENT_DIM ? "a dim" : "an option");
    hmoec_note(ev->diagnostics, declaration->name.at, "declared here");
    return false;
  }
  if (hmoec_name_map_find(&ev->words, name.text) != HMOEC_NO_NAME)
    return hmoec_error(ev->diagnostics, name.at, "'%s' is a word that options or attributes use as a value; choose another name",
                       name.text);
  hmoec_binding *binding = frame_find(frame, name.text);
  return !binding || !binding->index ||
         hmoec_error(ev->diagnostics, name.at, "'%s' is the index of a loop and cannot be given another value", name.text);
}

static hmoec_binding *frame_add(hmoec_evaluator *ev, hmoec_frame *frame, const char *name) {
  size_t index = hmoec_name_map_add(&frame->names, name);
  if (index >= frame->capacity) {
    frame->bindings = hmoec_arena_grow(ev->arena, frame->bindings, frame->capacity, frame->capacity ? 2 * frame->capacity : 8,
                                       sizeof *frame->bindings);
    frame->capacity = frame->capacity ? 2 * frame->capacity : 8;
  }
  return &frame->bindings[index];
}

bool hmoec_eval_bind(hmoec_evaluator *ev, hmoec_frame *frame, hmoec_spec_text name, hmoec_value value, hmoec_statement *declared) {
  hmoec_binding *before = frame_find(frame, name.text);
  bool ok = bindable(ev, frame, name);
  if (!ok) value = hmoec_value_error(); /* uses of the name do not complain again */
  if (ok || !before)
    *frame_add(ev, frame, name.text) = (hmoec_binding){.value = value, .bound = true, .declared = declared, .at = name.at};
  return ok;
}

/* ---- inputs, params, outputs ---- */

/* Sizes of at least 1; a dim known at run time only where out_names has room for its name. `stack`: 1 leaves room for the count of a stack. */
static bool eval_shape(hmoec_evaluator *ev, const hmoec_statement *statement, size_t stack, hmoec_shape *out_shape,
                       const char **out_names) {
  *out_shape = (hmoec_shape){.element = statement->element, .rank = (int64_t)(statement->shape.count + stack)};
  if (statement->shape.count + stack > HMOEC_MAX_RANK)
    return hmoec_error(ev->diagnostics, statement->name.at, "'%s' has more than %d dimensions", statement->name.text,
                       HMOEC_MAX_RANK);
  bool ok = true;
  size_t dynamic_count = 0;
  for (size_t i = 0; i < statement->shape.count; i++) {
    const hmoec_expr *size = statement->shape.items[i];
    hmoec_value value = hmoec_eval_expr(ev, size);
    out_shape->dims[i + stack] = value.kind == HMOEC_VALUE_DYNAMIC ? HMOEC_DYNAMIC : value.integer;
    if (value.kind == HMOEC_VALUE_DYNAMIC && out_names) out_names[dynamic_count++] = value.word;
    if (value.kind == HMOEC_VALUE_DYNAMIC && !out_names)
      ok = hmoec_error(ev->diagnostics, size->at, "the size of a param must be known, but '%s' is known at run time only",
                       value.word);
    else if (value.kind == HMOEC_VALUE_INTEGER && value.integer < 1)
      ok = hmoec_error(ev->diagnostics, size->at, "expected a size of at least 1, found %" PRId64, value.integer);
    else if (value.kind != HMOEC_VALUE_INTEGER && value.kind != HMOEC_VALUE_DYNAMIC)
      ok = value.kind != HMOEC_VALUE_ERROR &&
           hmoec_error(ev->diagnostics, size->at, "expected a size, found %s", hmoec_value_string(ev, &value));
  }
  return ok;
}

static void eval_input(hmoec_evaluator *ev, hmoec_statement *input) {
  hmoec_shape shape;
  MlirValue tensor;
  const char *dims[HMOEC_MAX_RANK];
  int64_t given = 0;
  if (!name_is_free(ev, input->name, false)) return;
  bool ok = eval_shape(ev, input, 0, &shape, dims);
  if (input->value) ok = hmoec_eval_integer(ev, input->value, "the default of an input", &given) && ok;
  ok = ok && hmoec_builder_input_named(ev->builder, input->name.at, input->name.text, &shape, dims, input->value ? &given : NULL,
                                       &tensor);
  input->evaluated = true;
  hmoec_eval_bind(ev, ev->frame, input->name, ok ? hmoec_value_tensor(tensor) : hmoec_value_error(), input);
}

static bool eval_stack_count(hmoec_evaluator *ev, const hmoec_statement *param, int64_t *out_count) {
  if (!hmoec_eval_integer(ev, param->bound, "the number of tensors in a stack", out_count)) return false;
  if (*out_count < 1)
    return hmoec_error(ev->diagnostics, param->bound->at, "expected a stack of at least 1 tensor, found %" PRId64, *out_count);
  if (*out_count > INT32_MAX)
    return hmoec_error(ev->diagnostics, param->bound->at, "a stack of %" PRId64 " tensors is too large", *out_count);
  return name_is_free(ev, param->index, true);
}

/* The names of one tensor in the current scope, as the key attribute holds them. */
static const char *eval_keys(hmoec_evaluator *ev, const hmoec_statement *param) {
  const char *keys = NULL;
  for (size_t i = 0; i < param->name_count; i++) {
    const char *key = hmoec_eval_key(ev, param->names[i], param->index.text);
    if (!key) return NULL;
    keys = i ? hmoec_arena_printf(ev->arena, "%s\n%s", keys, key) : key;
    if (strlen(keys) > HMOEC_SPEC_MAX_KEY) { /* what all may have together is the builder's to say, but this cannot go on */
      hmoec_error(ev->diagnostics, param->names[i].at, "the keys of '%s' are longer than %d characters together", param->name.text,
                  HMOEC_SPEC_MAX_KEY);
      return NULL;
    }
  }
  return keys;
}

static hmoec_value eval_param_value(hmoec_evaluator *ev, hmoec_statement *param) {
  bool holds = true;
  if (param->condition && !hmoec_eval_condition(ev, param->condition, &holds)) return hmoec_value_error();
  if (!holds) return (hmoec_value){.kind = HMOEC_VALUE_ABSENT};
  param->evaluated = true;
  int64_t count = 0;
  hmoec_shape shape;
  MlirValue tensor;
  bool ok = !param->bound || eval_stack_count(ev, param, &count);
  ok = eval_shape(ev, param, param->bound ? 1 : 0, &shape, NULL) && ok;
  const char *key = eval_keys(ev, param);
  if (param->bound && param->name_count > 1)
    ok = hmoec_error(ev->diagnostics, param->names[1].at, "a stack has one key, not several");
  if (!ok || !key) return hmoec_value_error();
  if (param->bound) shape.dims[0] = count;
  return hmoec_builder_parameter(ev->builder, param->name.at, key, count, &shape, &tensor) ? hmoec_value_tensor(tensor)
                                                                                           : hmoec_value_error();
}

static void eval_output(hmoec_evaluator *ev, const hmoec_statement *output) {
  hmoec_value value = hmoec_eval_expr(ev, output->value);
  if (value.kind == HMOEC_VALUE_ERROR) return;
  if (value.kind != HMOEC_VALUE_TENSOR)
    hmoec_error(ev->diagnostics, output->value->at, "expected a tensor as output '%s', found %s", output->name.text,
                hmoec_value_string(ev, &value));
  else if (hmoec_name_map_find(&ev->declared, output->name.text) != HMOEC_NO_NAME)
    hmoec_error(ev->diagnostics, output->name.at, "'%s' is already the name of a dim or an option", output->name.text);
  else hmoec_builder_output(ev->builder, output->name.at, output->name.text, value.tensor);
}

/* ---- values ---- */

static void bind_items(hmoec_evaluator *ev, const hmoec_statement *assign, const hmoec_value *value) {
  bool several = value->kind == HMOEC_VALUE_TUPLE || value->kind == HMOEC_VALUE_BUNDLE;
  if (value->kind != HMOEC_VALUE_ERROR && (!several || value->item_count != assign->name_count))
    hmoec_error(ev->diagnostics, assign->value->at, "expected %zu values for %zu names, found %s", assign->name_count,
                assign->name_count, hmoec_value_string(ev, value));
  bool fits = several && value->item_count == assign->name_count;
  for (size_t i = 0; i < assign->name_count; i++)
    hmoec_eval_bind(ev, ev->frame, assign->names[i], fits ? value->items[i] : hmoec_value_error(), NULL);
}

static void eval_assign(hmoec_evaluator *ev, const hmoec_statement *assign) {
  hmoec_value value = hmoec_eval_expr(ev, assign->value);
  bool called_only = assign->name_count == 0;
  if (called_only && value.kind != HMOEC_VALUE_NOTHING && value.kind != HMOEC_VALUE_ERROR) {
    hmoec_error(ev->diagnostics, assign->at, "nothing uses the value of this call; write NAME = ...");
  } else if (!called_only && value.kind == HMOEC_VALUE_NOTHING) {
    hmoec_error(ev->diagnostics, assign->value->at, "this block returns nothing");
    value = hmoec_value_error();
  }
  if (assign->name_count == 1) hmoec_eval_bind(ev, ev->frame, assign->names[0], value, NULL);
  else if (!called_only) bind_items(ev, assign, &value);
}

static void eval_return(hmoec_evaluator *ev, const hmoec_statement *statement) {
  size_t count = statement->shape.count;
  hmoec_value *items = hmoec_arena_alloc_array(ev->arena, count, sizeof *items);
  for (size_t i = 0; i < count; i++) items[i] = hmoec_eval_expr(ev, statement->shape.items[i]);
  ev->frame->result = count == 1 ? items[0] : (hmoec_value){.kind = HMOEC_VALUE_TUPLE, .items = items, .item_count = count};
  ev->frame->returned = true;
}

/* ---- control ---- */

static void eval_if(hmoec_evaluator *ev, const hmoec_statement *statement) {
  for (size_t i = 0; i < statement->arm_count; i++) {
    const hmoec_if_arm *arm = &statement->arms[i];
    bool holds = true;
    if (arm->condition && !hmoec_eval_condition(ev, arm->condition, &holds)) return;
    if (!holds) continue;
    hmoec_eval_statements(ev, &arm->body);
    return;
  }
}

static void eval_for(hmoec_evaluator *ev, const hmoec_statement *loop) {
  int64_t from, to;
  bool ok = hmoec_eval_integer(ev, loop->bound, "the first value of a loop", &from);
  if (!hmoec_eval_integer(ev, loop->value, "the end of a loop", &to) || !ok || to <= from) return;
  if ((uint64_t)to - (uint64_t)from > HMOEC_SPEC_MAX_ITERATIONS) {
    hmoec_error(ev->diagnostics, loop->value->at, "the loop runs more than %d times", HMOEC_SPEC_MAX_ITERATIONS);
    return;
  }
  if (!name_is_free(ev, loop->name, true)) return;
  unsigned errors = hmoec_diagnostics_errors(ev->diagnostics);
  if (!hmoec_eval_bind(ev, ev->frame, loop->name, hmoec_value_integer(from), NULL)) return;
  for (int64_t i = from; i < to && !ev->frame->returned && hmoec_eval_enter(ev, loop->at); i++) {
    *frame_add(ev, ev->frame, loop->name.text) = (hmoec_binding){.value = hmoec_value_integer(i), .bound = true, .index = true};
    hmoec_eval_statements(ev, &loop->body);
    hmoec_eval_leave(ev);
    if (hmoec_diagnostics_errors(ev->diagnostics) != errors) break; /* the next round would say the same */
  }
  frame_add(ev, ev->frame, loop->name.text)->bound = false;
}

static void eval_scope(hmoec_evaluator *ev, const hmoec_statement *scope) {
  const char *outer = ev->scope;
  const char *inner = hmoec_eval_key(ev, scope->text, NULL);
  if (!inner) return;
  ev->scope = inner;
  hmoec_eval_statements(ev, &scope->body);
  ev->scope = outer;
}

static void eval_check(hmoec_evaluator *ev, const hmoec_statement *check) {
  bool holds;
  if (!hmoec_eval_condition(ev, check->condition, &holds) || holds) return;
  const char *message = hmoec_eval_text(ev, check->text, NULL);
  ev->refused = true;
  if (message) hmoec_error(ev->diagnostics, check->at, "%s", message);
}

static void eval_statement(hmoec_evaluator *ev, hmoec_statement *statement) {
  switch (statement->kind) {
  case HMOEC_STATEMENT_MODEL:
  case HMOEC_STATEMENT_BLOCK: break; /* known since spec_check.c */
  case HMOEC_STATEMENT_DIM: hmoec_eval_dim(ev, statement); break;
  case HMOEC_STATEMENT_OPTION: hmoec_eval_option(ev, statement); break;
  case HMOEC_STATEMENT_INPUT: eval_input(ev, statement); break;
  case HMOEC_STATEMENT_PARAM: hmoec_eval_bind(ev, ev->frame, statement->name, eval_param_value(ev, statement), statement); break;
  case HMOEC_STATEMENT_OUTPUT: eval_output(ev, statement); break;
  case HMOEC_STATEMENT_ASSIGN: eval_assign(ev, statement); break;
  case HMOEC_STATEMENT_RETURN: eval_return(ev, statement); break;
  case HMOEC_STATEMENT_FOR: eval_for(ev, statement); break;
  case HMOEC_STATEMENT_IF: eval_if(ev, statement); break;
  case HMOEC_STATEMENT_SCOPE: eval_scope(ev, statement); break;
  case HMOEC_STATEMENT_CHECK: eval_check(ev, statement); break;
  case HMOEC_STATEMENT_INCLUDE: hmoec_eval_statements(ev, &statement->body); break;
  case HMOEC_STATEMENT_GENERATION: hmoec_eval_generation(ev, statement); break;
  }
}

/* Statements that neither build anything nor depend on what is built. */
static bool is_declaration(hmoec_statement_kind kind) {
  return kind == HMOEC_STATEMENT_CHECK || kind == HMOEC_STATEMENT_DIM || kind == HMOEC_STATEMENT_OPTION ||
         kind == HMOEC_STATEMENT_BLOCK || kind == HMOEC_STATEMENT_INCLUDE || kind == HMOEC_STATEMENT_MODEL;
}

void hmoec_eval_statements(hmoec_evaluator *ev, const hmoec_statements *statements) {
  for (size_t i = 0; i < statements->count && !ev->frame->returned; i++) {
    bool too_many = hmoec_diagnostics_errors(ev->diagnostics) >= HMOEC_SPEC_MAX_ERRORS;
    if (too_many || (ev->refused && !is_declaration(statements->items[i]->kind))) ev->stopped = true;
    if (!hmoec_eval_enter(ev, statements->items[i]->at)) return;
    eval_statement(ev, statements->items[i]);
    hmoec_eval_leave(ev);
  }
}
