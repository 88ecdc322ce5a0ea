/* Calls: functions with a body in the file are inlined, those of math.h become ops. */
#include <string.h>

#include "frontend/c_parts.h"

/* The function that is called, null for a call through a pointer. */
static bool callee_of(hmoec_c_reader *reader, CXCursor call, CXCursor *out_function) {
  hmoec_c_list parts = hmoec_c_children(reader, call);
  *out_function = clang_getNullCursor();
  CXCursor cursor = parts.count ? parts.cursors[0] : *out_function;
  for (;;) {
    enum CXCursorKind kind = clang_getCursorKind(cursor);
    hmoec_c_list inner = hmoec_c_children(reader, cursor);
    if (kind == CXCursor_GenericSelectionExpr) {
      if (!hmoec_c_generic(reader, cursor, &cursor)) return false;
    } else if ((kind == CXCursor_UnexposedExpr || kind == CXCursor_ParenExpr) && inner.count == 1) {
      cursor = inner.cursors[0];
    } else {
      break;
    }
  }
  if (clang_getCursorKind(cursor) != CXCursor_DeclRefExpr) return true;
  CXCursor referenced = clang_getCursorReferenced(cursor);
  if (clang_getCursorKind(referenced) == CXCursor_FunctionDecl) *out_function = referenced;
  return true;
}

bool hmoec_c_run_body(hmoec_c_reader *reader, CXCursor function, hmoec_c_value *out_value) {
  hmoec_c_frame *frame = reader->frame;
  hmoec_c_list parts = hmoec_c_children(reader, function);
  CXCursor body = parts.count ? parts.cursors[parts.count - 1] : clang_getNullCursor();
  reader->place = function;
  if (clang_getCursorKind(body) != CXCursor_CompoundStmt) return hmoec_c_refuse(reader, "'%s' has no body", frame->name);
  if (!hmoec_c_execute(reader, body)) return false;
  reader->place = function;
  const hmoec_c_state *state = &frame->state;
  if (frame->result.class == HMOEC_C_VOID) *out_value = (hmoec_c_value){.type = frame->result, .kind = HMOEC_C_CONSTANT};
  else if (!hmoec_c_is(hmoec_c_falls(reader), false))
    return hmoec_c_refuse(reader, "'%s' may end without returning a value", frame->name);
  else *out_value = state->exits[HMOEC_C_RETURN].values[0];
  return true;
}

static bool inline_call(hmoec_c_reader *reader, CXCursor call, CXCursor function, const char *name, const hmoec_c_value *arguments,
                        size_t count, hmoec_c_value *out_value) {
  CXType type = clang_getCursorType(function);
  for (const hmoec_c_frame *frame = reader->frame; frame; frame = frame->caller) {
    if (!clang_equalCursors(clang_getCanonicalCursor(frame->function), clang_getCanonicalCursor(function))) continue;
    if (frame == reader->frame) return hmoec_c_refuse(reader, "'%s' calls itself: recursion is not supported", name);
    return hmoec_c_refuse(reader, "'%s' is called by a function that it calls: recursion is not supported", name);
  }
  if (clang_isFunctionTypeVariadic(type) && clang_Cursor_getNumArguments(function) != (int)count)
    return hmoec_c_refuse(reader, "'%s' takes a variable number of arguments, which is not supported", name);
  if (clang_Cursor_getNumArguments(function) != (int)count)
    return hmoec_c_refuse(reader, "'%s' is called with %zu arguments, expected %d", name, count,
                          clang_Cursor_getNumArguments(function));
  hmoec_c_frame frame = {.caller = reader->frame, .function = function, .call = call, .name = name};
  if (!hmoec_c_type_read(reader, clang_getCursorResultType(function), "the result", &frame.result)) return false;
  hmoec_c_state_init(&frame.state);
  reader->frame = &frame;
  bool ok = true;
  for (size_t i = 0; i < count && ok; i++) {
    CXCursor parameter = clang_Cursor_getArgument(function, (unsigned)i);
    hmoec_c_type scalar;
    hmoec_c_value value;
    reader->place = parameter;
    ok = hmoec_c_type_read(reader, clang_getCursorType(parameter), "the parameter", &scalar) &&
         hmoec_c_convert(reader, arguments[i], scalar, &value);
    if (ok) *hmoec_c_variable_add(reader, parameter, scalar) = value;
  }
  ok = ok && hmoec_c_run_body(reader, function, out_value);
  reader->frame = frame.caller;
  return ok;
}

/* Those of clang's own functions that are no functions of their arguments' values. */
static bool builtin(hmoec_c_reader *reader, CXCursor call, const char *name, bool *out_known, hmoec_c_value *out_value) {
  static const char *const constants[] = {
      "__builtin_inff", "__builtin_inf",   "__builtin_huge_valf", "__builtin_huge_val",   "__builtin_nanf",
      "__builtin_nan",  "__builtin_nansf", "__builtin_nans",      "__builtin_constant_p", "__builtin_types_compatible_p"};
  hmoec_c_type type;
  *out_known = false;
  if (strcmp(name, "__builtin_expect") == 0 || strcmp(name, "__builtin_assume") == 0) {
    *out_known = true;
    if (clang_Cursor_getNumArguments(call) < 1) return hmoec_c_refuse(reader, "expected an argument");
    return hmoec_c_evaluate(reader, clang_Cursor_getArgument(call, 0), out_value);
  }
  for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
    if (strcmp(name, constants[i]) != 0) continue;
    *out_known = true;
    if (!hmoec_c_type_read(reader, clang_getCursorType(call), name, &type)) return false;
    return hmoec_c_evaluate_constant(call, type, out_value) || hmoec_c_refuse(reader, "'%s' is not constant here", name);
  }
  return true;
}

bool hmoec_c_call(hmoec_c_reader *reader, CXCursor expression, hmoec_c_value *out_value) {
  CXCursor function;
  bool known;
  if (!callee_of(reader, expression, &function)) return false;
  reader->place = expression;
  if (clang_Cursor_isNull(function)) return hmoec_c_refuse(reader, "calls through pointers are not supported");
  const char *name = hmoec_c_text(reader, clang_getCursorSpelling(function));
  CXCursor definition = clang_getCursorDefinition(function);
  unsigned bits = 64;
  const hmoec_c_math *math = NULL;
  if (clang_Cursor_isNull(definition)) {
    if (!builtin(reader, expression, name, &known, out_value)) return false;
    if (known) return true;
    math = hmoec_c_math_find(name, &bits);
    if (!math && (clang_Location_isInSystemHeader(clang_getCursorLocation(function)) || strncmp(name, "__builtin_", 10) == 0))
      return hmoec_c_refuse(
          reader, "'%s' is not supported: it has no body here and is not among the functions of math.h that are known", name);
    if (!math) return hmoec_c_refuse(reader, "'%s' has no body in this file", name);
  }
  int count = clang_Cursor_getNumArguments(expression);
  if (count < 0 || count > HMOEC_C_MAX_ARGUMENTS)
    return hmoec_c_refuse(reader, "'%s' is called with more than %d arguments", name, HMOEC_C_MAX_ARGUMENTS);
  hmoec_c_value arguments[HMOEC_C_MAX_ARGUMENTS];
  for (int i = 0; i < count; i++)
    if (!hmoec_c_evaluate(reader, clang_Cursor_getArgument(expression, (unsigned)i), &arguments[i])) return false;
  reader->place = expression;
  if (math) {
    hmoec_c_type type;
    return hmoec_c_type_read(reader, clang_getCursorType(expression), name, &type) &&
           hmoec_c_math_call(reader, math, bits, name, arguments, (size_t)count, out_value) &&
           hmoec_c_convert(reader, *out_value, type, out_value);
  }
  if (!inline_call(reader, expression, definition, name, arguments, (size_t)count, out_value)) return false;
  reader->place = expression;
  return true;
}
