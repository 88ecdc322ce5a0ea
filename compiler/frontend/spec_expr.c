/* Expressions of integers, decimal numbers and words. Integers are 64 bits and never wrap; division is towards zero, as in C; 0 is false.
 * Decimal numbers can be passed on and compared for equality, no more. */
#include <string.h>

#include "frontend/spec_eval.h"

hmoec_value hmoec_value_error(void) { return (hmoec_value){.kind = HMOEC_VALUE_ERROR}; }
hmoec_value hmoec_value_integer(int64_t integer) { return (hmoec_value){.kind = HMOEC_VALUE_INTEGER, .integer = integer}; }
hmoec_value hmoec_value_number(double number) { return (hmoec_value){.kind = HMOEC_VALUE_NUMBER, .number = number}; }
hmoec_value hmoec_value_word(const char *word) { return (hmoec_value){.kind = HMOEC_VALUE_WORD, .word = word}; }
hmoec_value hmoec_value_tensor(MlirValue tensor) { return (hmoec_value){.kind = HMOEC_VALUE_TENSOR, .tensor = tensor}; }

static const char *bundle_string(const hmoec_evaluator *ev, const hmoec_value *bundle) {
  const char *list = "";
  for (size_t i = 0; i < bundle->item_count; i++)
    list = hmoec_arena_printf(ev->arena, "%s%s%s", list, i ? ", " : "", bundle->item_names[i]);
  return hmoec_arena_printf(ev->arena, "the results of %s (%s)", bundle->word, list);
}

const char *hmoec_value_string(const hmoec_evaluator *ev, const hmoec_value *value) {
  switch (value->kind) {
  case HMOEC_VALUE_ERROR: return "an error";
  case HMOEC_VALUE_ABSENT: return "absent (its condition does not hold)";
  case HMOEC_VALUE_NOTHING: return "nothing";
  case HMOEC_VALUE_INTEGER: return hmoec_arena_printf(ev->arena, "the integer %lld", (long long)value->integer);
  case HMOEC_VALUE_NUMBER: return hmoec_arena_printf(ev->arena, "the number %s", hmoec_number_text(ev->arena, value->number));
  case HMOEC_VALUE_WORD: return hmoec_arena_printf(ev->arena, "the word '%s'", value->word);
  case HMOEC_VALUE_DYNAMIC: return hmoec_arena_printf(ev->arena, "'%s', which is known at run time only", value->word);
  case HMOEC_VALUE_TENSOR: return "a tensor";
  case HMOEC_VALUE_BUNDLE: return bundle_string(ev, value);
  case HMOEC_VALUE_TUPLE: return hmoec_arena_printf(ev->arena, "%zu values", value->item_count);
  case HMOEC_VALUE_LIST: return "a list of integers";
  }
  return "";
}

static hmoec_value unknown_name(hmoec_evaluator *ev, const char *name, hmoec_location at) {
  const hmoec_op_info *op = hmoec_op_info_find(name);
  if ((op && op->from_spec) || hmoec_name_map_find(&ev->block_names, name) != HMOEC_NO_NAME)
    hmoec_error(ev->diagnostics, at, "'%s' is %s: write %s(...) to call it", name, op ? "an op" : "a block", name);
  else if (hmoec_name_map_find(&ev->declared, name) != HMOEC_NO_NAME)
    hmoec_error(ev->diagnostics, at, "'%s' is used before it is declared", name);
  else hmoec_error(ev->diagnostics, at, "there is nothing named '%s' here%s", name, hmoec_eval_suggestion(ev, name));
  return hmoec_value_error();
}

hmoec_value hmoec_eval_name(hmoec_evaluator *ev, const char *name, hmoec_location at) {
  hmoec_binding *binding = hmoec_eval_find(ev, name);
  if (binding) {
    if (binding->declared) binding->declared->used = true;
    return binding->value;
  }
  if (hmoec_name_map_find(&ev->words, name) != HMOEC_NO_NAME) return hmoec_value_word(name);
  return unknown_name(ev, name, at);
}

static bool integer_from(hmoec_evaluator *ev, const hmoec_expr *expr, const hmoec_value *value, const char *what,
                         int64_t *out_integer) {
  *out_integer = value->integer;
  if (value->kind == HMOEC_VALUE_INTEGER) return true;
  if (value->kind != HMOEC_VALUE_ERROR)
    hmoec_error(ev->diagnostics, expr->at, "expected an integer as %s, found %s%s", what, hmoec_value_string(ev, value),
                value->kind == HMOEC_VALUE_NUMBER ? "; decimal numbers have no arithmetic" : "");
  return false;
}

bool hmoec_eval_integer(hmoec_evaluator *ev, const hmoec_expr *expr, const char *what, int64_t *out_integer) {
  hmoec_value value = hmoec_eval_expr(ev, expr);
  return integer_from(ev, expr, &value, what, out_integer);
}

bool hmoec_eval_condition(hmoec_evaluator *ev, const hmoec_expr *expr, bool *out_holds) {
  int64_t integer;
  bool ok = hmoec_eval_integer(ev, expr, "a condition", &integer);
  *out_holds = ok && integer != 0;
  return ok;
}

static hmoec_value eval_list(hmoec_evaluator *ev, const hmoec_expr *list) {
  hmoec_value *items = hmoec_arena_alloc_array(ev->arena, list->items.count, sizeof *items);
  bool ok = true;
  for (size_t i = 0; i < list->items.count; i++) {
    int64_t integer;
    ok = hmoec_eval_integer(ev, list->items.items[i], "an element of a list", &integer) && ok;
    items[i] = hmoec_value_integer(integer);
  }
  return ok ? (hmoec_value){.kind = HMOEC_VALUE_LIST, .items = items, .item_count = list->items.count} : hmoec_value_error();
}

static hmoec_value eval_field(hmoec_evaluator *ev, const hmoec_expr *field) {
  hmoec_value value = hmoec_eval_expr(ev, field->left);
  if (value.kind == HMOEC_VALUE_ERROR) return value;
  if (value.kind != HMOEC_VALUE_BUNDLE) {
    hmoec_error(ev->diagnostics, field->at, "only the results of an op that has several have fields; this is %s",
                hmoec_value_string(ev, &value));
    return hmoec_value_error();
  }
  for (size_t i = 0; i < value.item_count; i++)
    if (strcmp(value.item_names[i], field->text) == 0) return value.items[i];
  const char *close = hmoec_closest_name(field->text, value.item_names, value.item_count);
  hmoec_error(ev->diagnostics, field->at, "'%s' is not one of %s%s%s%s", field->text, hmoec_value_string(ev, &value),
              close ? "; did you mean '" : "", close ? close : "", close ? "'?" : "");
  return hmoec_value_error();
}

static hmoec_value report_overflow(hmoec_evaluator *ev, hmoec_location at) {
  hmoec_error(ev->diagnostics, at, "the result does not fit in 64 bits");
  return hmoec_value_error();
}

/* not a, -a; the sign is all there is of arithmetic on decimal numbers. */
static hmoec_value eval_unary(hmoec_evaluator *ev, const hmoec_expr *unary) {
  int64_t operand, result;
  if (unary->op == HMOEC_TOKEN_NOT) {
    if (!hmoec_eval_integer(ev, unary->left, "a condition", &operand)) return hmoec_value_error();
    return hmoec_value_integer(operand == 0);
  }
  hmoec_value value = hmoec_eval_expr(ev, unary->left);
  if (value.kind == HMOEC_VALUE_NUMBER) {
    value.number = -value.number;
    return value;
  }
  if (!integer_from(ev, unary->left, &value, "the operand of '-'", &operand)) return hmoec_value_error();
  return __builtin_sub_overflow((int64_t)0, operand, &result) ? report_overflow(ev, unary->at) : hmoec_value_integer(result);
}

/* a and b, a or b: b is looked at only if a does not decide. */
static hmoec_value eval_logic(hmoec_evaluator *ev, const hmoec_expr *binary) {
  bool left, right;
  if (!hmoec_eval_condition(ev, binary->left, &left)) return hmoec_value_error();
  if (left == (binary->op == HMOEC_TOKEN_OR)) return hmoec_value_integer(left);
  return hmoec_eval_condition(ev, binary->right, &right) ? hmoec_value_integer(right) : hmoec_value_error();
}

/* Comparing an option with a word that is not one of its choices is a slip that would go unnoticed. */
static bool words_check(hmoec_evaluator *ev, const hmoec_expr *binary, const hmoec_value *left, const hmoec_value *right) {
  const hmoec_expr *a = binary->left, *b = binary->right;
  return (a->kind != HMOEC_EXPR_NAME || hmoec_eval_check_choice(ev, a->text, right->word, b->at)) &&
         (b->kind != HMOEC_EXPR_NAME || hmoec_eval_check_choice(ev, b->text, left->word, a->at));
}

static bool is_number(const hmoec_value *value) { return value->kind == HMOEC_VALUE_INTEGER || value->kind == HMOEC_VALUE_NUMBER; }

static hmoec_value eval_equal(hmoec_evaluator *ev, const hmoec_expr *binary) {
  hmoec_value left = hmoec_eval_expr(ev, binary->left), right = hmoec_eval_expr(ev, binary->right);
  bool equal;
  if (left.kind == HMOEC_VALUE_ERROR || right.kind == HMOEC_VALUE_ERROR) return hmoec_value_error();
  if (left.kind == HMOEC_VALUE_INTEGER && right.kind == HMOEC_VALUE_INTEGER) {
    equal = left.integer == right.integer;
  } else if (is_number(&left) && is_number(&right)) {
    double a = left.kind == HMOEC_VALUE_NUMBER ? left.number : (double)left.integer;
    double b = right.kind == HMOEC_VALUE_NUMBER ? right.number : (double)right.integer;
    equal = a >= b && a <= b;
  } else if (left.kind == HMOEC_VALUE_WORD && right.kind == HMOEC_VALUE_WORD) {
    if (!words_check(ev, binary, &left, &right)) return hmoec_value_error();
    equal = strcmp(left.word, right.word) == 0;
  } else {
    hmoec_error(ev->diagnostics, binary->at, "cannot compare %s with %s", hmoec_value_string(ev, &left),
                hmoec_value_string(ev, &right));
    return hmoec_value_error();
  }
  return hmoec_value_integer(equal == (binary->op == HMOEC_TOKEN_EQUAL));
}

static hmoec_value eval_binary(hmoec_evaluator *ev, const hmoec_expr *binary) {
  if (binary->op == HMOEC_TOKEN_AND || binary->op == HMOEC_TOKEN_OR) return eval_logic(ev, binary);
  if (binary->op == HMOEC_TOKEN_EQUAL || binary->op == HMOEC_TOKEN_NOT_EQUAL) return eval_equal(ev, binary);
  const char *what = hmoec_arena_printf(ev->arena, "an operand of '%s'", hmoec_token_kind_string(binary->op));
  int64_t a, b, result = 0;
  bool ok = hmoec_eval_integer(ev, binary->left, what, &a);
  if (!hmoec_eval_integer(ev, binary->right, what, &b) || !ok) return hmoec_value_error();
  bool divides = binary->op == HMOEC_TOKEN_SLASH || binary->op == HMOEC_TOKEN_PERCENT;
  if (divides && b == 0) {
    hmoec_error(ev->diagnostics, binary->at, "division by zero");
    return hmoec_value_error();
  }
  bool overflow = divides && a == INT64_MIN && b == -1;
  switch (binary->op) {
  case HMOEC_TOKEN_LESS: result = a < b; break;
  case HMOEC_TOKEN_LESS_EQUAL: result = a <= b; break;
  case HMOEC_TOKEN_GREATER: result = a > b; break;
  case HMOEC_TOKEN_GREATER_EQUAL: result = a >= b; break;
  case HMOEC_TOKEN_PLUS: overflow = __builtin_add_overflow(a, b, &result); break;
  case HMOEC_TOKEN_MINUS: overflow = __builtin_sub_overflow(a, b, &result); break;
  case HMOEC_TOKEN_STAR: overflow = __builtin_mul_overflow(a, b, &result); break;
  case HMOEC_TOKEN_SLASH: result = overflow ? 0 : a / b; break;
  case HMOEC_TOKEN_PERCENT: result = overflow ? 0 : a % b; break;
  default: break;
  }
  return overflow ? report_overflow(ev, binary->at) : hmoec_value_integer(result);
}

static hmoec_value eval_conditional(hmoec_evaluator *ev, const hmoec_expr *expr) {
  bool holds;
  if (!hmoec_eval_condition(ev, expr->condition, &holds)) return hmoec_value_error();
  if (holds) return hmoec_eval_expr(ev, expr->left);
  return expr->right ? hmoec_eval_expr(ev, expr->right) : (hmoec_value){.kind = HMOEC_VALUE_ABSENT};
}

static hmoec_value eval_kind(hmoec_evaluator *ev, const hmoec_expr *expr) {
  switch (expr->kind) {
  case HMOEC_EXPR_INTEGER: return hmoec_value_integer(expr->integer);
  case HMOEC_EXPR_NUMBER: return hmoec_value_number(expr->number);
  case HMOEC_EXPR_STRING: return hmoec_value_word(hmoec_eval_function_word(ev, expr->text, expr->at));
  case HMOEC_EXPR_NAME: return hmoec_eval_name(ev, expr->text, expr->at);
  case HMOEC_EXPR_LIST: return eval_list(ev, expr);
  case HMOEC_EXPR_CALL: return hmoec_eval_call(ev, expr);
  case HMOEC_EXPR_FIELD: return eval_field(ev, expr);
  case HMOEC_EXPR_UNARY: return eval_unary(ev, expr);
  case HMOEC_EXPR_BINARY: return eval_binary(ev, expr);
  case HMOEC_EXPR_CONDITIONAL: return eval_conditional(ev, expr);
  case HMOEC_EXPR_GIVEN: return *expr->given;
  }
  return hmoec_value_error();
}

hmoec_value hmoec_eval_expr(hmoec_evaluator *ev, const hmoec_expr *expr) {
  if (!hmoec_eval_enter(ev, expr->at)) return hmoec_value_error();
  hmoec_value value = eval_kind(ev, expr);
  hmoec_eval_leave(ev);
  return value;
}
