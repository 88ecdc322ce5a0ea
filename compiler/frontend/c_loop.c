/* Loops, unrolled as they are executed, and switch.
 *
 *   for (init; condition; step) body   ->   init; { condition known; body; } { step; condition known; body; } ...
 *
 * A condition that is not constant when its turn comes is refused. Where a round may have left the loop, the next one is guarded.
 *
 *   switch (v) { case 1: A; break; case 2: B; default: C; }   ->   if (v == 1) { A } else if (v == 2) { B C } else { C } */
#include <string.h>

#include "frontend/c_parts.h"

/* ---- The parts of a loop ---- */

typedef struct loop_parts {
  CXCursor init, condition, step, body; /* null: not there */
  bool body_first;
} loop_parts;

/* Which of the parts of `for (init; condition; step)` are there: libclang leaves out those that are not. Each child of the statement
 * stands before the first semicolon, between the two, or behind the second. */
static bool for_parts(hmoec_c_reader *reader, CXCursor statement, const hmoec_c_list *children, loop_parts *parts) {
  CXCursor *slots[] = {&parts->init, &parts->condition, &parts->step};
  parts->body = children->cursors[children->count - 1];
  if (children->count == 4) {
    for (int i = 0; i < 3; i++) *slots[i] = children->cursors[i];
    return true;
  }
  /* What a macro holds is spelled elsewhere than where it is used: places cannot be compared then. */
  CXFile written_in, used_in;
  unsigned semicolons[2], found = 0, depth = 0, count = 0, written, used;
  clang_getSpellingLocation(clang_getCursorLocation(statement), &written_in, NULL, NULL, &written);
  clang_getExpansionLocation(clang_getCursorLocation(statement), &used_in, NULL, NULL, &used);
  if (written != used || !clang_File_isEqual(written_in, used_in))
    return hmoec_c_refuse(reader, "a 'for' from a macro needs all of its three parts");
  CXToken *tokens = NULL;
  clang_tokenize(reader->unit, clang_getCursorExtent(statement), &tokens, &count);
  bool closed = false;
  for (unsigned i = 0; i < count && found < 2 && !closed; i++) {
    CXString spelling = clang_getTokenSpelling(reader->unit, tokens[i]);
    const char *text = clang_getCString(spelling);
    if (strcmp(text, "(") == 0) depth++;
    if (strcmp(text, ")") == 0) closed = --depth == 0;
    if (strcmp(text, ";") == 0 && depth == 1)
      clang_getExpansionLocation(clang_getTokenLocation(reader->unit, tokens[i]), NULL, NULL, NULL, &semicolons[found++]);
    clang_disposeString(spelling);
  }
  if (tokens) clang_disposeTokens(reader->unit, tokens, count);
  if (found < 2) return hmoec_c_refuse(reader, "this 'for' is not understood: it needs all of its three parts");
  for (size_t i = 0; i + 1 < children->count; i++) {
    unsigned offset;
    clang_getExpansionLocation(clang_getCursorLocation(children->cursors[i]), NULL, NULL, NULL, &offset);
    *slots[offset < semicolons[0] ? 0 : offset < semicolons[1] ? 1 : 2] = children->cursors[i];
  }
  return true;
}

static bool loop_read(hmoec_c_reader *reader, CXCursor statement, loop_parts *parts) {
  const CXCursor none = clang_getNullCursor();
  hmoec_c_list children = hmoec_c_children(reader, statement);
  enum CXCursorKind kind = clang_getCursorKind(statement);
  *parts = (loop_parts){.init = none, .condition = none, .step = none, .body_first = kind == CXCursor_DoStmt};
  if (kind == CXCursor_ForStmt && children.count) return for_parts(reader, statement, &children, parts);
  if (children.count != 2) return hmoec_c_refuse(reader, "this kind of statement is not supported");
  parts->condition = children.cursors[parts->body_first ? 1 : 0];
  parts->body = children.cursors[parts->body_first ? 0 : 1];
  return true;
}

/* ---- Rounds ---- */

/* The number of an argument of the function that a value depends on, or -1. */
static intptr_t argument_of(MlirValue value, unsigned *budget) {
  if (mlirValueIsABlockArgument(value)) return mlirBlockArgumentGetArgNumber(value);
  MlirOperation op = mlirOpResultGetOwner(value);
  intptr_t found = -1;
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op) && found < 0 && *budget; i++) {
    --*budget;
    found = argument_of(mlirOperationGetOperand(op, i), budget);
  }
  return found;
}

static bool refuse_condition(hmoec_c_reader *reader, CXCursor condition, hmoec_c_value truth) {
  unsigned budget = 200;
  intptr_t argument = argument_of(truth.value, &budget);
  reader->place = condition;
  if (argument < 0)
    return hmoec_c_refuse(reader, "the loop's condition is known only at run time: it must be constant in every round");
  return hmoec_c_refuse(reader, "the loop's condition depends on the argument '%s': it must be constant in every round",
                        reader->argument_names[argument]);
}

static bool round_execute(hmoec_c_reader *reader, CXCursor statement, const loop_parts *parts, bool is_first, bool *out_done) {
  hmoec_c_value truth = hmoec_c_truth(true), unused;
  bool has_condition = !clang_Cursor_isNull(parts->condition) && !(is_first && parts->body_first);
  if (!is_first && !clang_Cursor_isNull(parts->step) && !hmoec_c_evaluate(reader, parts->step, &unused)) return false;
  if (has_condition && !hmoec_c_evaluate_condition(reader, parts->condition, &truth)) return false;
  if (truth.kind != HMOEC_C_CONSTANT) return refuse_condition(reader, parts->condition, truth);
  *out_done = !truth.integer;
  if (*out_done) return true;
  reader->place = statement;
  if (++reader->iterations > HMOEC_C_MAX_ITERATIONS)
    return hmoec_c_refuse(reader, "the loops of the function run more than %d times", HMOEC_C_MAX_ITERATIONS);
  if (!hmoec_c_execute(reader, parts->body)) return false;
  hmoec_c_land(reader, HMOEC_C_CONTINUE);
  return true;
}

static bool rounds(hmoec_c_reader *reader, CXCursor statement, const loop_parts *parts) {
  bool done = false;
  for (bool is_first = true; !done; is_first = false) {
    hmoec_c_value falls = hmoec_c_falls(reader);
    if (hmoec_c_is(falls, false)) break;
    if (falls.kind == HMOEC_C_CONSTANT) {
      if (!round_execute(reader, statement, parts, is_first, &done)) return false;
      continue;
    }
    hmoec_c_branch branch;
    reader->place = statement;
    hmoec_c_branch_begin_guard(reader, &branch);
    hmoec_c_branch_enter(reader, &branch, 0);
    bool ok = round_execute(reader, statement, parts, is_first, &done);
    hmoec_c_branch_leave(reader, &branch, 0);
    if (!ok) return false;
    hmoec_c_branch_end(reader, &branch, NULL, NULL);
  }
  return true;
}

bool hmoec_c_loop(hmoec_c_reader *reader, CXCursor statement) {
  hmoec_c_frame *frame = reader->frame;
  loop_parts parts;
  hmoec_c_value unused;
  if (!loop_read(reader, statement, &parts)) return false;
  size_t outside = frame->variable_count, break_mark = frame->marks[HMOEC_C_BREAK], continue_mark = frame->marks[HMOEC_C_CONTINUE];
  if (!clang_Cursor_isNull(parts.init)) {
    bool declares = clang_getCursorKind(parts.init) == CXCursor_DeclStmt;
    if (!(declares ? hmoec_c_declare(reader, parts.init, true) : hmoec_c_evaluate(reader, parts.init, &unused))) return false;
  }
  frame->marks[HMOEC_C_BREAK] = frame->marks[HMOEC_C_CONTINUE] = frame->variable_count;
  bool ok = rounds(reader, statement, &parts);
  if (ok) {
    reader->place = statement;
    hmoec_c_land(reader, HMOEC_C_BREAK);
  }
  frame->marks[HMOEC_C_BREAK] = break_mark;
  frame->marks[HMOEC_C_CONTINUE] = continue_mark;
  frame->variable_count = outside;
  return ok;
}

/* ---- switch ---- */

/* The statements of a switch in order, without their labels, and where labels lead. */
typedef struct switch_label {
  size_t target; /* the statement */
  bool is_default;
  hmoec_c_value value;
} switch_label;

typedef struct switch_body {
  CXCursor *statements;
  size_t count;
  switch_label *labels;
  size_t label_count;
} switch_body;

static bool is_label(CXCursor statement) {
  return clang_getCursorKind(statement) == CXCursor_CaseStmt || clang_getCursorKind(statement) == CXCursor_DefaultStmt;
}

/* Looks for a label of this switch that is not in its list of statements. */
static enum CXChildVisitResult inner_label(CXCursor cursor, CXCursor parent, CXClientData user) {
  (void)parent;
  if (clang_getCursorKind(cursor) == CXCursor_SwitchStmt) return CXChildVisit_Continue;
  if (!is_label(cursor)) return CXChildVisit_Recurse;
  *(CXCursor *)user = cursor;
  return CXChildVisit_Break;
}

static bool statement_has_no_label(hmoec_c_reader *reader, CXCursor statement) {
  CXCursor found = clang_getNullCursor();
  if (clang_getCursorKind(statement) != CXCursor_SwitchStmt) clang_visitChildren(statement, inner_label, &found);
  if (clang_Cursor_isNull(found)) return true;
  reader->place = found;
  return hmoec_c_refuse(reader, "a case inside another statement of its switch is not supported");
}

static bool switch_read(hmoec_c_reader *reader, CXCursor body, hmoec_c_type type, switch_body *out) {
  hmoec_c_list statements = {.cursors = &body, .count = 1};
  if (clang_getCursorKind(body) == CXCursor_CompoundStmt) statements = hmoec_c_children(reader, body);
  *out = (switch_body){.statements = hmoec_arena_alloc_array(reader->arena, statements.count + 1, sizeof(CXCursor))};
  size_t capacity = 0;
  for (size_t i = 0; i < statements.count; i++) {
    CXCursor statement = statements.cursors[i];
    while (is_label(statement)) {
      bool is_default = clang_getCursorKind(statement) == CXCursor_DefaultStmt;
      hmoec_c_list parts = hmoec_c_children(reader, statement);
      reader->place = statement;
      if (parts.count > (is_default ? 1 : 2)) return hmoec_c_refuse(reader, "ranges of cases are not supported");
      if (parts.count < (is_default ? 1 : 2)) return hmoec_c_refuse(reader, "this kind of statement is not supported");
      switch_label label = {.target = out->count, .is_default = is_default};
      if (!is_default &&
          !(hmoec_c_evaluate(reader, parts.cursors[0], &label.value) && hmoec_c_convert(reader, label.value, type, &label.value)))
        return false;
      if (out->label_count == capacity) {
        capacity = 2 * capacity + 8;
        out->labels = hmoec_arena_grow(reader->arena, out->labels, out->label_count, capacity, sizeof *out->labels);
      }
      out->labels[out->label_count++] = label;
      statement = parts.cursors[parts.count - 1];
    }
    if (!statement_has_no_label(reader, statement)) return false;
    out->statements[out->count++] = statement;
  }
  return true;
}

/* Executes from a statement on. Declarations before it are in scope, without their values. */
static bool switch_run(hmoec_c_reader *reader, const switch_body *body, size_t target) {
  size_t outside = reader->frame->variable_count;
  for (size_t i = 0; i < target; i++)
    if (clang_getCursorKind(body->statements[i]) == CXCursor_DeclStmt && !hmoec_c_declare(reader, body->statements[i], false))
      return false;
  if (!hmoec_c_execute_list(reader, body->statements + target, body->count - target)) return false;
  reader->frame->variable_count = outside;
  hmoec_c_land(reader, HMOEC_C_BREAK);
  return true;
}

static bool switch_else(hmoec_c_reader *reader, CXCursor statement, const switch_body *body, hmoec_c_value value, size_t first);

/* Tries the labels from `first` on. */
static bool switch_labels(hmoec_c_reader *reader, CXCursor statement, const switch_body *body, hmoec_c_value value, size_t first) {
  while (first < body->label_count && body->labels[first].is_default) first++;
  if (first == body->label_count) {
    for (size_t i = 0; i < body->label_count; i++)
      if (body->labels[i].is_default) return switch_run(reader, body, body->labels[i].target);
    return true;
  }
  /* Labels of one statement are one condition; with default among them it is no different from the others' absence. */
  hmoec_c_value condition = hmoec_c_truth(false), equal;
  size_t target = body->labels[first].target, next = first;
  for (; next < body->label_count && body->labels[next].target == target; next++) {
    if (body->labels[next].is_default) continue;
    reader->place = statement;
    if (!hmoec_c_binary(reader, CXBinaryOperator_EQ, value, body->labels[next].value, &equal)) return false;
    condition = hmoec_c_or(reader, condition, hmoec_c_condition(reader, equal));
  }
  if (condition.kind == HMOEC_C_CONSTANT)
    return condition.integer ? switch_run(reader, body, target) : switch_else(reader, statement, body, value, next);
  hmoec_c_branch branch;
  reader->place = statement;
  hmoec_c_branch_begin(reader, &branch, condition);
  hmoec_c_branch_enter(reader, &branch, 0);
  bool ok = switch_run(reader, body, target);
  hmoec_c_branch_leave(reader, &branch, 0);
  hmoec_c_branch_enter(reader, &branch, 1);
  ok = ok && switch_else(reader, statement, body, value, next);
  hmoec_c_branch_leave(reader, &branch, 1);
  if (ok) hmoec_c_branch_end(reader, &branch, NULL, NULL);
  return ok;
}

static bool switch_else(hmoec_c_reader *reader, CXCursor statement, const switch_body *body, hmoec_c_value value, size_t first) {
  if (!hmoec_c_enter(reader, statement)) return false;
  bool ok = switch_labels(reader, statement, body, value, first);
  hmoec_c_leave(reader);
  return ok;
}

bool hmoec_c_switch(hmoec_c_reader *reader, CXCursor statement) {
  hmoec_c_frame *frame = reader->frame;
  hmoec_c_list parts = hmoec_c_children(reader, statement);
  hmoec_c_value value;
  switch_body body;
  if (parts.count != 2) return hmoec_c_refuse(reader, "this kind of statement is not supported");
  if (!hmoec_c_evaluate(reader, parts.cursors[0], &value)) return false; /* an integer: clang refuses others */
  if (!switch_read(reader, parts.cursors[1], value.type, &body)) return false;
  size_t break_mark = frame->marks[HMOEC_C_BREAK];
  frame->marks[HMOEC_C_BREAK] = frame->variable_count;
  bool ok = switch_else(reader, statement, &body, value, 0);
  frame->marks[HMOEC_C_BREAK] = break_mark;
  return ok;
}
