/* Expressions. clang's tree has every implicit conversion as a node of its own: CXCursor_UnexposedExpr with one child, whose type it
 * changes. Operands are executed from left to right; what runs on one side of ?: && || only is an arm of a branch. */
#include "frontend/c_parts.h"

/* The local variable that an lvalue names. */
static bool variable_of(hmoec_c_reader *reader, CXCursor expression, size_t *out_variable) {
  while (clang_getCursorKind(expression) == CXCursor_ParenExpr) {
    hmoec_c_list children = hmoec_c_children(reader, expression);
    if (children.count != 1) break;
    expression = children.cursors[0];
  }
  reader->place = expression;
  switch (clang_getCursorKind(expression)) {
  case CXCursor_DeclRefExpr: break;
  case CXCursor_ArraySubscriptExpr: return hmoec_c_refuse(reader, "arrays are not supported");
  case CXCursor_MemberRefExpr: return hmoec_c_refuse(reader, "structures and unions are not supported");
  default:
    if (clang_getCursorUnaryOperatorKind(expression) == CXUnaryOperator_Deref)
      return hmoec_c_refuse(reader, "pointers are not supported");
    return hmoec_c_refuse(reader, "only local variables can be assigned to");
  }
  CXCursor declaration = clang_getCursorReferenced(expression);
  *out_variable = hmoec_c_variable_find(reader, declaration);
  if (*out_variable != SIZE_MAX) return true;
  const char *name = hmoec_c_text(reader, clang_getCursorSpelling(expression));
  if (clang_getCursorKind(declaration) == CXCursor_VarDecl && clang_Cursor_hasVarDeclGlobalStorage(declaration) == 1)
    return hmoec_c_refuse(reader, "'%s' is a global variable: globals are not supported, use an enum or a macro", name);
  return hmoec_c_refuse(reader, "'%s' is not a local variable of this function", name);
}

static hmoec_c_value *variable_value(hmoec_c_reader *reader, size_t variable) {
  return &reader->frame->state.exits[HMOEC_C_FALL].values[variable];
}

static bool variable_read(hmoec_c_reader *reader, CXCursor expression, hmoec_c_value *out_value) {
  size_t variable;
  if (!variable_of(reader, expression, &variable)) return false;
  *out_value = *variable_value(reader, variable);
  const char *name = reader->frame->variables[variable].name;
  if (out_value->kind == HMOEC_C_UNSET) return hmoec_c_refuse(reader, "'%s' is read before it is given a value", name);
  if (out_value->kind == HMOEC_C_PERHAPS) return hmoec_c_refuse(reader, "'%s' may be read before it is given a value", name);
  return true;
}

static bool reference(hmoec_c_reader *reader, CXCursor expression, hmoec_c_value *out_value) {
  CXCursor declaration = clang_getCursorReferenced(expression);
  if (clang_getCursorKind(declaration) == CXCursor_EnumConstantDecl) {
    hmoec_c_type type;
    if (!hmoec_c_type_read(reader, clang_getCursorType(expression), "the enumerator", &type)) return false;
    *out_value = hmoec_c_integer(type, clang_getEnumConstantDeclValue(declaration));
    return true;
  }
  if (clang_getCursorKind(declaration) == CXCursor_FunctionDecl)
    return hmoec_c_refuse(reader, "functions as values are not supported");
  return variable_read(reader, expression, out_value);
}

bool hmoec_c_evaluate_constant(CXCursor expression, hmoec_c_type type, hmoec_c_value *out_value) {
  CXEvalResult result = clang_Cursor_Evaluate(expression);
  if (!result) return false;
  CXEvalResultKind kind = clang_EvalResult_getKind(result);
  bool known = false;
  if (kind == CXEval_Int && type.class == HMOEC_C_INTEGER) {
    *out_value = hmoec_c_integer(type, clang_EvalResult_isUnsignedInt(result) ? (int64_t)clang_EvalResult_getAsUnsigned(result)
                                                                              : clang_EvalResult_getAsLongLong(result));
    known = true;
  } else if (kind == CXEval_Float && type.class == HMOEC_C_FLOATING) {
    *out_value = hmoec_c_floating(type, clang_EvalResult_getAsDouble(result));
    known = true;
  }
  clang_EvalResult_dispose(result);
  return known;
}

static bool constant_of(hmoec_c_reader *reader, CXCursor expression, hmoec_c_type type, hmoec_c_value *out_value) {
  reader->place = expression;
  return hmoec_c_evaluate_constant(expression, type, out_value) ||
         hmoec_c_refuse(reader, "this kind of expression is not supported");
}

bool hmoec_c_evaluate_condition(hmoec_c_reader *reader, CXCursor expression, hmoec_c_value *out_truth) {
  hmoec_c_value value;
  if (!hmoec_c_evaluate(reader, expression, &value)) return false;
  reader->place = expression;
  *out_truth = hmoec_c_condition(reader, value);
  return true;
}

/* ---- Operators ---- */

static bool assign(hmoec_c_reader *reader, CXCursor expression, const hmoec_c_list *operands, hmoec_c_value *out_value) {
  size_t variable;
  if (!hmoec_c_evaluate(reader, operands->cursors[1], out_value)) return false;
  if (!variable_of(reader, operands->cursors[0], &variable)) return false;
  reader->place = expression;
  if (!hmoec_c_convert(reader, *out_value, reader->frame->variables[variable].type, out_value)) return false;
  *variable_value(reader, variable) = *out_value;
  return true;
}

/* variable = variable op value, in the type that C gives the operation. */
static bool update(hmoec_c_reader *reader, enum CXBinaryOperatorKind kind, CXCursor target, hmoec_c_value value, CXCursor place,
                   hmoec_c_value *out_old, hmoec_c_value *out_new) {
  size_t variable;
  if (!variable_of(reader, target, &variable)) return false;
  hmoec_c_value old;
  if (!variable_read(reader, target, &old)) return false;
  bool is_shift = kind == CXBinaryOperator_Shl || kind == CXBinaryOperator_Shr;
  hmoec_c_type of_left = is_shift ? hmoec_c_type_promote(old.type) : hmoec_c_type_common(old.type, value.type);
  hmoec_c_type of_right = is_shift ? hmoec_c_type_promote(value.type) : of_left;
  hmoec_c_value left;
  reader->place = place;
  if (!hmoec_c_convert(reader, old, of_left, &left) || !hmoec_c_convert(reader, value, of_right, &value)) return false;
  if (!hmoec_c_binary(reader, kind, left, value, out_new)) return false;
  if (!hmoec_c_convert(reader, *out_new, old.type, out_new)) return false;
  *variable_value(reader, variable) = *out_new;
  *out_old = old;
  return true;
}

static bool compound_assign(hmoec_c_reader *reader, CXCursor expression, hmoec_c_value *out_value) {
  static const enum CXBinaryOperatorKind operations[CXBinaryOperator_Last + 1] = {
      [CXBinaryOperator_MulAssign] = CXBinaryOperator_Mul, [CXBinaryOperator_DivAssign] = CXBinaryOperator_Div,
      [CXBinaryOperator_RemAssign] = CXBinaryOperator_Rem, [CXBinaryOperator_AddAssign] = CXBinaryOperator_Add,
      [CXBinaryOperator_SubAssign] = CXBinaryOperator_Sub, [CXBinaryOperator_ShlAssign] = CXBinaryOperator_Shl,
      [CXBinaryOperator_ShrAssign] = CXBinaryOperator_Shr, [CXBinaryOperator_AndAssign] = CXBinaryOperator_And,
      [CXBinaryOperator_XorAssign] = CXBinaryOperator_Xor, [CXBinaryOperator_OrAssign] = CXBinaryOperator_Or,
  };
  hmoec_c_list operands = hmoec_c_children(reader, expression);
  enum CXBinaryOperatorKind kind = clang_getCursorBinaryOperatorKind(expression);
  if (operands.count != 2 || kind < CXBinaryOperator_MulAssign || kind > CXBinaryOperator_OrAssign)
    return hmoec_c_refuse(reader, "this operator is not supported");
  hmoec_c_value value, old;
  return hmoec_c_evaluate(reader, operands.cursors[1], &value) &&
         update(reader, operations[kind], operands.cursors[0], value, expression, &old, out_value);
}

/* a && b, a || b: b is an arm. */
static bool logical(hmoec_c_reader *reader, CXCursor expression, const hmoec_c_list *operands, bool is_or,
                    hmoec_c_value *out_value) {
  hmoec_c_value left, values[2], result;
  if (!hmoec_c_evaluate_condition(reader, operands->cursors[0], &left)) return false;
  if (left.kind == HMOEC_C_CONSTANT) {
    result = left;
    if (left.integer != is_or && !hmoec_c_evaluate_condition(reader, operands->cursors[1], &result)) return false;
  } else {
    hmoec_c_branch branch;
    unsigned arm = is_or ? 1 : 0;
    reader->place = expression;
    hmoec_c_branch_begin(reader, &branch, left);
    hmoec_c_branch_enter(reader, &branch, arm);
    bool ok = hmoec_c_evaluate_condition(reader, operands->cursors[1], &values[arm]);
    hmoec_c_branch_leave(reader, &branch, arm);
    if (!ok) return false;
    values[1 - arm] = hmoec_c_truth(is_or);
    hmoec_c_branch_end(reader, &branch, values, &result);
  }
  result.type = hmoec_c_int;
  *out_value = result;
  return true;
}

static bool conditional(hmoec_c_reader *reader, CXCursor expression, hmoec_c_value *out_value) {
  hmoec_c_list operands = hmoec_c_children(reader, expression);
  hmoec_c_value condition, values[2];
  hmoec_c_type type;
  if (operands.count != 3) return hmoec_c_refuse(reader, "this operator is not supported");
  if (!hmoec_c_type_read(reader, clang_getCursorType(expression), "the choice", &type)) return false;
  if (!hmoec_c_evaluate_condition(reader, operands.cursors[0], &condition)) return false;
  if (condition.kind == HMOEC_C_CONSTANT)
    return hmoec_c_evaluate(reader, operands.cursors[condition.integer ? 1 : 2], out_value) &&
           hmoec_c_convert(reader, *out_value, type, out_value);
  hmoec_c_branch branch;
  reader->place = expression;
  hmoec_c_branch_begin(reader, &branch, condition);
  for (unsigned arm = 0; arm < 2; arm++) {
    hmoec_c_branch_enter(reader, &branch, arm);
    bool ok = hmoec_c_evaluate(reader, operands.cursors[1 + arm], &values[arm]) &&
              hmoec_c_convert(reader, values[arm], type, &values[arm]);
    hmoec_c_branch_leave(reader, &branch, arm);
    if (!ok) return false;
  }
  hmoec_c_branch_end(reader, &branch, values, out_value);
  return true;
}

static bool binary(hmoec_c_reader *reader, CXCursor expression, hmoec_c_value *out_value) {
  hmoec_c_list operands = hmoec_c_children(reader, expression);
  enum CXBinaryOperatorKind kind = clang_getCursorBinaryOperatorKind(expression);
  hmoec_c_value left, right;
  if (operands.count != 2) return hmoec_c_refuse(reader, "this operator is not supported");
  if (kind == CXBinaryOperator_Assign) return assign(reader, expression, &operands, out_value);
  if (kind == CXBinaryOperator_LAnd || kind == CXBinaryOperator_LOr)
    return logical(reader, expression, &operands, kind == CXBinaryOperator_LOr, out_value);
  if (!hmoec_c_evaluate(reader, operands.cursors[0], &left)) return false;
  if (kind == CXBinaryOperator_Comma) return hmoec_c_evaluate(reader, operands.cursors[1], out_value);
  if (!hmoec_c_evaluate(reader, operands.cursors[1], &right)) return false;
  reader->place = expression;
  return hmoec_c_binary(reader, kind, left, right, out_value);
}

static bool unary(hmoec_c_reader *reader, CXCursor expression, hmoec_c_value *out_value) {
  hmoec_c_list operands = hmoec_c_children(reader, expression);
  enum CXUnaryOperatorKind kind = clang_getCursorUnaryOperatorKind(expression);
  if (operands.count != 1) return hmoec_c_refuse(reader, "this operator is not supported");
  bool is_post = kind == CXUnaryOperator_PostInc || kind == CXUnaryOperator_PostDec;
  bool is_inc = kind == CXUnaryOperator_PostInc || kind == CXUnaryOperator_PreInc;
  hmoec_c_value old, new;
  switch (kind) {
  case CXUnaryOperator_PostInc:
  case CXUnaryOperator_PostDec:
  case CXUnaryOperator_PreInc:
  case CXUnaryOperator_PreDec:
    if (!update(reader, is_inc ? CXBinaryOperator_Add : CXBinaryOperator_Sub, operands.cursors[0], hmoec_c_integer(hmoec_c_int, 1),
                expression, &old, &new))
      return false;
    *out_value = is_post ? old : new;
    return true;
  case CXUnaryOperator_AddrOf: return hmoec_c_refuse(reader, "pointers are not supported: this takes an address");
  case CXUnaryOperator_Deref: return hmoec_c_refuse(reader, "pointers are not supported");
  case CXUnaryOperator_Real:
  case CXUnaryOperator_Imag: return hmoec_c_refuse(reader, "complex numbers are not supported");
  case CXUnaryOperator_Extension: return hmoec_c_evaluate(reader, operands.cursors[0], out_value);
  case CXUnaryOperator_LNot:
    if (!hmoec_c_evaluate_condition(reader, operands.cursors[0], out_value)) return false;
    reader->place = expression;
    *out_value = hmoec_c_not(reader, *out_value);
    out_value->type = hmoec_c_int;
    return true;
  default:
    if (!hmoec_c_evaluate(reader, operands.cursors[0], out_value)) return false;
    reader->place = expression;
    return hmoec_c_unary(reader, kind, *out_value, out_value);
  }
}

/* ---- Casts, and the rest ---- */

static bool cast(hmoec_c_reader *reader, CXCursor expression, hmoec_c_value *out_value) {
  hmoec_c_list children = hmoec_c_children(reader, expression);
  hmoec_c_type type;
  if (!children.count) return hmoec_c_refuse(reader, "this kind of expression is not supported");
  if (!hmoec_c_type_read(reader, clang_getCursorType(expression), "the cast", &type)) return false;
  /* The name of the type may stand before the operand. */
  if (!hmoec_c_evaluate(reader, children.cursors[children.count - 1], out_value)) return false;
  reader->place = expression;
  return hmoec_c_convert(reader, *out_value, type, out_value);
}

/* An implicit conversion, unless it is something that libclang has no name for. */
static bool unexposed(hmoec_c_reader *reader, CXCursor expression, hmoec_c_value *out_value) {
  hmoec_c_list children = hmoec_c_children(reader, expression);
  hmoec_c_type type;
  if (!hmoec_c_type_read(reader, clang_getCursorType(expression), "the expression", &type)) return false;
  if (children.count != 1 || !clang_isExpression(clang_getCursorKind(children.cursors[0])))
    return constant_of(reader, expression, type, out_value);
  if (!hmoec_c_evaluate(reader, children.cursors[0], out_value)) return false;
  reader->place = expression;
  return hmoec_c_convert(reader, *out_value, type, out_value);
}

bool hmoec_c_generic(hmoec_c_reader *reader, CXCursor expression, CXCursor *out_selected) {
  hmoec_c_list children = hmoec_c_children(reader, expression);
  CXType type = clang_getCanonicalType(clang_getCursorType(expression));
  unsigned found = 0;
  for (size_t i = 1; i < children.count; i++) {
    if (!clang_isExpression(clang_getCursorKind(children.cursors[i]))) continue;
    if (!clang_equalTypes(clang_getCanonicalType(clang_getCursorType(children.cursors[i])), type)) continue;
    *out_selected = children.cursors[i];
    found++;
  }
  return found == 1 || hmoec_c_refuse(reader, "this _Generic has several expressions of one type, which is not supported");
}

static bool dispatch(hmoec_c_reader *reader, CXCursor expression, hmoec_c_value *out_value) {
  enum CXCursorKind kind = clang_getCursorKind(expression);
  hmoec_c_type type;
  hmoec_c_list children;
  CXCursor selected;
  switch (kind) {
  case CXCursor_IntegerLiteral:
  case CXCursor_FloatingLiteral:
  case CXCursor_CharacterLiteral:
  case CXCursor_UnaryExpr:
    if (!hmoec_c_type_read(reader, clang_getCursorType(expression), kind == CXCursor_UnaryExpr ? "the size" : "the literal", &type))
      return false;
    return constant_of(reader, expression, type, out_value);
  case CXCursor_ParenExpr:
  case CXCursor_InitListExpr:
    children = hmoec_c_children(reader, expression);
    if (children.count != 1) return hmoec_c_refuse(reader, "expected one value");
    return hmoec_c_evaluate(reader, children.cursors[0], out_value);
  case CXCursor_DeclRefExpr: return reference(reader, expression, out_value);
  case CXCursor_UnexposedExpr: return unexposed(reader, expression, out_value);
  case CXCursor_CStyleCastExpr: return cast(reader, expression, out_value);
  case CXCursor_UnaryOperator: return unary(reader, expression, out_value);
  case CXCursor_BinaryOperator: return binary(reader, expression, out_value);
  case CXCursor_CompoundAssignOperator: return compound_assign(reader, expression, out_value);
  case CXCursor_ConditionalOperator: return conditional(reader, expression, out_value);
  case CXCursor_CallExpr: return hmoec_c_call(reader, expression, out_value);
  case CXCursor_GenericSelectionExpr:
    return hmoec_c_generic(reader, expression, &selected) && hmoec_c_evaluate(reader, selected, out_value);
  case CXCursor_ArraySubscriptExpr: return hmoec_c_refuse(reader, "arrays are not supported");
  case CXCursor_MemberRefExpr: return hmoec_c_refuse(reader, "structures and unions are not supported");
  case CXCursor_CompoundLiteralExpr: return hmoec_c_refuse(reader, "compound literals are not supported");
  case CXCursor_StringLiteral: return hmoec_c_refuse(reader, "strings are not supported");
  case CXCursor_ImaginaryLiteral: return hmoec_c_refuse(reader, "complex numbers are not supported");
  case CXCursor_StmtExpr: return hmoec_c_refuse(reader, "statements in expressions are not supported");
  case CXCursor_AddrLabelExpr: return hmoec_c_refuse(reader, "addresses of labels are not supported");
  default: return hmoec_c_refuse(reader, "this kind of expression is not supported");
  }
}

bool hmoec_c_evaluate(hmoec_c_reader *reader, CXCursor expression, hmoec_c_value *out_value) {
  *out_value = (hmoec_c_value){0};
  if (!hmoec_c_enter(reader, expression)) return false;
  bool ok = dispatch(reader, expression, out_value);
  hmoec_c_leave(reader);
  return ok;
}
