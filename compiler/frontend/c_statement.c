/* Statements, but loops and switch. */
#include "frontend/c_parts.h"

/* ---- Declarations ---- */

static bool is_constant(CXType type) {
  return clang_isConstQualifiedType(type) || clang_isConstQualifiedType(clang_getCanonicalType(type));
}

static bool declare_variable(hmoec_c_reader *reader, CXCursor variable, bool initialise) {
  const char *name = hmoec_c_text(reader, clang_getCursorSpelling(variable));
  const char *of = hmoec_arena_printf(reader->arena, "'%s'", name);
  CXType type = clang_getCursorType(variable);
  CXCursor initial = clang_Cursor_getVarDeclInitializer(variable);
  bool has_initial = !clang_Cursor_isNull(initial);
  hmoec_c_type scalar;
  reader->place = variable;
  if (!hmoec_c_type_read(reader, type, of, &scalar)) return false;
  enum CX_StorageClass storage = clang_Cursor_getStorageClass(variable);
  if (storage == CX_SC_Extern)
    return hmoec_c_refuse(reader, "'%s' is a global variable: globals are not supported, use an enum or a macro", name);
  if (clang_getCursorTLSKind(variable) != CXTLS_None || (storage == CX_SC_Static && !(is_constant(type) && has_initial)))
    return hmoec_c_refuse(reader, "static local variable '%s': a function that keeps something between calls is not supported",
                          name);
  hmoec_c_variable_add(reader, variable, scalar);
  if (!initialise || !has_initial) return true;
  size_t number = reader->frame->variable_count - 1;
  hmoec_c_value value;
  if (!hmoec_c_evaluate(reader, initial, &value)) return false;
  reader->place = variable;
  if (!hmoec_c_convert(reader, value, scalar, &value)) return false;
  reader->frame->state.exits[HMOEC_C_FALL].values[number] = value;
  return true;
}

bool hmoec_c_declare(hmoec_c_reader *reader, CXCursor statement, bool initialise) {
  hmoec_c_list declarations = hmoec_c_children(reader, statement);
  for (size_t i = 0; i < declarations.count; i++) {
    CXCursor declaration = declarations.cursors[i];
    enum CXCursorKind kind = clang_getCursorKind(declaration);
    if (kind == CXCursor_VarDecl && !declare_variable(reader, declaration, initialise)) return false;
    /* The length of such a type is an expression, which is executed here. */
    if (kind == CXCursor_TypedefDecl &&
        clang_getCanonicalType(clang_getTypedefDeclUnderlyingType(declaration)).kind == CXType_VariableArray) {
      reader->place = declaration;
      return hmoec_c_refuse(reader, "arrays of variable length are not supported");
    }
  }
  return true;
}

/* ---- Control ---- */

/* if (c) A [else B] REST: where one arm leaves and the other does not, the rest belongs to the other arm, and nothing is left to guard. */
static bool if_statement(hmoec_c_reader *reader, CXCursor statement, const CXCursor *rest, size_t rest_count) {
  hmoec_c_list parts = hmoec_c_children(reader, statement);
  hmoec_c_value condition;
  if (parts.count < 2) return hmoec_c_refuse(reader, "this kind of statement is not supported");
  if (!hmoec_c_evaluate_condition(reader, parts.cursors[0], &condition)) return false;
  if (condition.kind == HMOEC_C_CONSTANT) {
    size_t taken = condition.integer ? 1 : 2;
    if (taken < parts.count && !hmoec_c_execute(reader, parts.cursors[taken])) return false;
    return hmoec_c_execute_list(reader, rest, rest_count);
  }
  hmoec_c_branch branch;
  reader->place = statement;
  hmoec_c_branch_begin(reader, &branch, condition);
  bool ok = true, leaves[2] = {false, false}, stays[2] = {true, true};
  for (unsigned arm = 0; arm < 2 && ok; arm++) {
    if (1 + arm >= parts.count) break;
    hmoec_c_branch_enter(reader, &branch, arm);
    ok = hmoec_c_execute(reader, parts.cursors[1 + arm]);
    leaves[arm] = hmoec_c_is(hmoec_c_falls(reader), false);
    stays[arm] = hmoec_c_is(hmoec_c_falls(reader), true);
    hmoec_c_branch_leave(reader, &branch, arm);
  }
  for (unsigned arm = 0; arm < 2 && ok; arm++)
    if (leaves[1 - arm] && stays[arm]) {
      hmoec_c_branch_enter(reader, &branch, arm);
      ok = hmoec_c_execute_list(reader, rest, rest_count);
      hmoec_c_branch_leave(reader, &branch, arm);
      rest_count = 0;
    }
  if (!ok) return false;
  hmoec_c_branch_end(reader, &branch, NULL, NULL);
  return hmoec_c_execute_list(reader, rest, rest_count);
}

static bool return_statement(hmoec_c_reader *reader, CXCursor statement) {
  hmoec_c_list value = hmoec_c_children(reader, statement);
  hmoec_c_value result = {0};
  if (value.count) {
    if (!hmoec_c_evaluate(reader, value.cursors[0], &result)) return false;
    reader->place = statement;
    if (!hmoec_c_convert(reader, result, reader->frame->result, &result)) return false;
  } else if (reader->frame->result.class != HMOEC_C_VOID) {
    return hmoec_c_refuse(reader, "expected a value to return");
  }
  hmoec_c_go(reader, HMOEC_C_RETURN, &result);
  return true;
}

static bool compound(hmoec_c_reader *reader, CXCursor statement) {
  hmoec_c_list statements = hmoec_c_children(reader, statement);
  size_t outside = reader->frame->variable_count;
  bool ok = hmoec_c_execute_list(reader, statements.cursors, statements.count);
  reader->frame->variable_count = outside;
  return ok;
}

/* A statement with attributes, or a pragma before it: the statement is the last child. */
static bool attributed(hmoec_c_reader *reader, CXCursor statement) {
  hmoec_c_list children = hmoec_c_children(reader, statement);
  if (!children.count) return hmoec_c_refuse(reader, "this kind of statement is not supported");
  return hmoec_c_execute(reader, children.cursors[children.count - 1]);
}

static bool dispatch(hmoec_c_reader *reader, CXCursor statement) {
  enum CXCursorKind kind = clang_getCursorKind(statement);
  hmoec_c_value unused;
  switch (kind) {
  case CXCursor_NullStmt: return true;
  case CXCursor_CompoundStmt: return compound(reader, statement);
  case CXCursor_DeclStmt: return hmoec_c_declare(reader, statement, true);
  case CXCursor_IfStmt: return if_statement(reader, statement, NULL, 0);
  case CXCursor_ReturnStmt: return return_statement(reader, statement);
  case CXCursor_BreakStmt: hmoec_c_go(reader, HMOEC_C_BREAK, NULL); return true;
  case CXCursor_ContinueStmt: hmoec_c_go(reader, HMOEC_C_CONTINUE, NULL); return true;
  case CXCursor_ForStmt:
  case CXCursor_WhileStmt:
  case CXCursor_DoStmt: return hmoec_c_loop(reader, statement);
  case CXCursor_SwitchStmt: return hmoec_c_switch(reader, statement);
  case CXCursor_UnexposedStmt: return attributed(reader, statement);
  case CXCursor_LabelStmt: return hmoec_c_refuse(reader, "labels are not supported");
  case CXCursor_GotoStmt:
  case CXCursor_IndirectGotoStmt: return hmoec_c_refuse(reader, "goto is not supported");
  case CXCursor_GCCAsmStmt:
  case CXCursor_MSAsmStmt: return hmoec_c_refuse(reader, "inline assembly is not supported");
  default:
    if (clang_isExpression(kind)) return hmoec_c_evaluate(reader, statement, &unused);
    return hmoec_c_refuse(reader, "this kind of statement is not supported");
  }
}

bool hmoec_c_execute(hmoec_c_reader *reader, CXCursor statement) {
  if (!hmoec_c_enter(reader, statement)) return false;
  bool ok = dispatch(reader, statement);
  hmoec_c_leave(reader);
  return ok;
}

/* The rest of a list, where control may have left it. */
static bool guarded(hmoec_c_reader *reader, const CXCursor *statements, size_t count) {
  hmoec_c_branch branch;
  reader->place = statements[0];
  hmoec_c_branch_begin_guard(reader, &branch);
  hmoec_c_branch_enter(reader, &branch, 0);
  bool ok = hmoec_c_execute_list(reader, statements, count);
  hmoec_c_branch_leave(reader, &branch, 0);
  if (ok) hmoec_c_branch_end(reader, &branch, NULL, NULL);
  return ok;
}

static bool execute_rest(hmoec_c_reader *reader, const CXCursor *statements, size_t count) {
  for (size_t i = 0; i < count; i++) {
    hmoec_c_value falls = hmoec_c_falls(reader);
    if (hmoec_c_is(falls, false)) return true;
    if (falls.kind != HMOEC_C_CONSTANT) return guarded(reader, statements + i, count - i);
    if (clang_getCursorKind(statements[i]) == CXCursor_IfStmt)
      return if_statement(reader, statements[i], statements + i + 1, count - i - 1);
    if (!hmoec_c_execute(reader, statements[i])) return false;
  }
  return true;
}

bool hmoec_c_execute_list(hmoec_c_reader *reader, const CXCursor *statements, size_t count) {
  if (!count || hmoec_c_is(hmoec_c_falls(reader), false)) return true;
  if (!hmoec_c_enter(reader, statements[0])) return false;
  bool ok = execute_rest(reader, statements, count);
  hmoec_c_leave(reader);
  return ok;
}
