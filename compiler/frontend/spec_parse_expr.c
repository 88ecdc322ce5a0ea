/* Expressions, by precedence climbing, loosest first:
 *   a if c else b;  or;  and;  not;  == != < <= > >= (not chained);  + -;  * / %;  unary -;  .field
 *   primary: integer, number, "string", true, false, name, name(arguments), [list], (expression) */
#include "frontend/spec_parser.h"

static hmoec_expr *expr_new(hmoec_parser *parser, hmoec_expr_kind kind, hmoec_location at) {
  hmoec_expr *expr = hmoec_arena_alloc(parser->arena, sizeof *expr);
  expr->kind = kind;
  expr->at = at;
  expr->depth = 1;
  return expr;
}

static hmoec_expr *too_deep(hmoec_parser *parser, hmoec_location at) {
  hmoec_error(parser->diagnostics, at, "the expression is nested deeper than %d levels", HMOEC_SPEC_MAX_DEPTH);
  return NULL;
}

/* `expr` has a new child; NULL when that makes it too deep. */
static hmoec_expr *deepen(hmoec_parser *parser, hmoec_expr *expr, const hmoec_expr *child) {
  if (!expr || !child) return expr;
  if (child->depth >= expr->depth) expr->depth = child->depth + 1;
  return expr->depth > HMOEC_SPEC_MAX_DEPTH ? too_deep(parser, expr->at) : expr;
}

/* From loose to tight; `not` and unary minus are handled between the levels. */
enum { LEVEL_OR, LEVEL_AND, LEVEL_COMPARE, LEVEL_ADD, LEVEL_MULTIPLY, LEVEL_COUNT };

static int operator_level(hmoec_token_kind kind) {
  switch (kind) {
  case HMOEC_TOKEN_OR: return LEVEL_OR;
  case HMOEC_TOKEN_AND: return LEVEL_AND;
  case HMOEC_TOKEN_EQUAL:
  case HMOEC_TOKEN_NOT_EQUAL:
  case HMOEC_TOKEN_LESS:
  case HMOEC_TOKEN_LESS_EQUAL:
  case HMOEC_TOKEN_GREATER:
  case HMOEC_TOKEN_GREATER_EQUAL: return LEVEL_COMPARE;
  case HMOEC_TOKEN_PLUS:
  case HMOEC_TOKEN_MINUS: return LEVEL_ADD;
  case HMOEC_TOKEN_STAR:
  case HMOEC_TOKEN_SLASH:
  case HMOEC_TOKEN_PERCENT: return LEVEL_MULTIPLY;
  default: return LEVEL_COUNT;
  }
}

/* `include` begins a statement, but an argument may have that name: that of c() does. */
static bool parse_argument_name(hmoec_parser *parser, hmoec_spec_text *out_name) {
  const hmoec_token *token = hmoec_parser_peek(parser, 0);
  if (token->kind != HMOEC_TOKEN_INCLUDE) return hmoec_parser_name(parser, "argument", out_name);
  *out_name = (hmoec_spec_text){.text = token->text, .at = hmoec_parser_location(parser)};
  parser->next++;
  return true;
}

static bool parse_argument(hmoec_parser *parser, hmoec_argument *argument, bool named_before) {
  const hmoec_token *token = hmoec_parser_peek(parser, 0);
  if (hmoec_parser_peek(parser, 1)->kind == HMOEC_TOKEN_ASSIGN && token->kind != HMOEC_TOKEN_INTEGER &&
      token->kind != HMOEC_TOKEN_NUMBER) {
    if (!parse_argument_name(parser, &argument->name)) return false;
    parser->next++;
  } else if (named_before) {
    return hmoec_error(parser->diagnostics, hmoec_parser_location(parser), "a positional argument cannot follow a named one");
  }
  argument->value = hmoec_parse_expr(parser);
  return argument->value != NULL;
}

static hmoec_expr *parse_call(hmoec_parser *parser, const hmoec_token *name, hmoec_location at) {
  hmoec_expr *call = expr_new(parser, HMOEC_EXPR_CALL, at);
  call->text = name->text;
  parser->next += 2;
  bool named = false;
  while (!hmoec_parser_at(parser, HMOEC_TOKEN_RIGHT_PAREN)) {
    hmoec_argument *argument = HMOEC_APPEND(parser->arena, call->arguments, call->argument_count);
    *argument = (hmoec_argument){0};
    if (!parse_argument(parser, argument, named)) return NULL;
    named = named || argument->name.text;
    if (!deepen(parser, call, argument->value)) return NULL;
    if (!hmoec_parser_accept(parser, HMOEC_TOKEN_COMMA)) break;
  }
  return hmoec_parser_expect(parser, HMOEC_TOKEN_RIGHT_PAREN, "after the arguments") ? call : NULL;
}

static hmoec_expr *parse_list(hmoec_parser *parser, hmoec_location at) {
  hmoec_expr *list = expr_new(parser, HMOEC_EXPR_LIST, at);
  parser->next++;
  if (!hmoec_parse_exprs(parser, &list->items) || !hmoec_parser_expect(parser, HMOEC_TOKEN_RIGHT_BRACKET, "after the list"))
    return NULL;
  for (size_t i = 0; i < list->items.count; i++)
    if (!deepen(parser, list, list->items.items[i])) return NULL;
  return list;
}

static hmoec_expr *parse_literal(hmoec_parser *parser, hmoec_expr_kind kind, int64_t integer, const char *text) {
  hmoec_expr *expr = expr_new(parser, kind, hmoec_parser_location(parser));
  expr->integer = integer;
  expr->text = text;
  parser->next++;
  return expr;
}

static hmoec_expr *parse_primary(hmoec_parser *parser) {
  const hmoec_token *token = hmoec_parser_peek(parser, 0);
  hmoec_location at = hmoec_parser_location(parser);
  switch (token->kind) {
  case HMOEC_TOKEN_INTEGER: return parse_literal(parser, HMOEC_EXPR_INTEGER, token->integer, NULL);
  case HMOEC_TOKEN_NUMBER: {
    hmoec_expr *number = parse_literal(parser, HMOEC_EXPR_NUMBER, 0, NULL);
    number->number = token->number;
    return number;
  }
  case HMOEC_TOKEN_TRUE: return parse_literal(parser, HMOEC_EXPR_INTEGER, 1, NULL);
  case HMOEC_TOKEN_FALSE: return parse_literal(parser, HMOEC_EXPR_INTEGER, 0, NULL);
  case HMOEC_TOKEN_STRING: return parse_literal(parser, HMOEC_EXPR_STRING, 0, token->text);
  case HMOEC_TOKEN_LEFT_BRACKET: return parse_list(parser, at);
  case HMOEC_TOKEN_NAME:
    if (hmoec_parser_peek(parser, 1)->kind == HMOEC_TOKEN_LEFT_PAREN) return parse_call(parser, token, at);
    return parse_literal(parser, HMOEC_EXPR_NAME, 0, token->text);
  case HMOEC_TOKEN_LEFT_PAREN: {
    parser->next++;
    hmoec_expr *inner = hmoec_parse_expr(parser);
    return inner && hmoec_parser_expect(parser, HMOEC_TOKEN_RIGHT_PAREN, "after the expression") ? inner : NULL;
  }
  default: hmoec_parser_unexpected(parser, "an expression"); return NULL;
  }
}

static hmoec_expr *parse_postfix(hmoec_parser *parser) {
  hmoec_expr *expr = parse_primary(parser);
  while (expr && hmoec_parser_at(parser, HMOEC_TOKEN_DOT)) {
    parser->next++;
    hmoec_expr *field = expr_new(parser, HMOEC_EXPR_FIELD, hmoec_parser_location(parser));
    hmoec_spec_text name;
    if (!hmoec_parser_name(parser, "field", &name)) return NULL;
    field->text = name.text;
    field->left = expr;
    expr = deepen(parser, field, expr);
  }
  return expr;
}

static hmoec_expr *parse_level(hmoec_parser *parser, int level);

static hmoec_expr *parse_unary(hmoec_parser *parser, hmoec_token_kind op, int operand_level) {
  hmoec_expr *expr = expr_new(parser, HMOEC_EXPR_UNARY, hmoec_parser_location(parser));
  expr->op = op;
  parser->next++;
  if (++parser->depth > HMOEC_SPEC_MAX_DEPTH) return too_deep(parser, expr->at);
  expr->left = parse_level(parser, operand_level);
  parser->depth--;
  return expr->left ? deepen(parser, expr, expr->left) : NULL;
}

static hmoec_expr *parse_operand(hmoec_parser *parser, int level) {
  if (level + 1 < LEVEL_COUNT) return parse_level(parser, level + 1);
  return hmoec_parser_at(parser, HMOEC_TOKEN_MINUS) ? parse_unary(parser, HMOEC_TOKEN_MINUS, LEVEL_COUNT) : parse_postfix(parser);
}

/* LEVEL_COUNT is the operand of a unary minus: a postfix expression or another minus. */
static hmoec_expr *parse_level(hmoec_parser *parser, int level) {
  if (level == LEVEL_COUNT) return parse_operand(parser, LEVEL_COUNT);
  if (level == LEVEL_COMPARE && hmoec_parser_at(parser, HMOEC_TOKEN_NOT))
    return parse_unary(parser, HMOEC_TOKEN_NOT, LEVEL_COMPARE);
  hmoec_expr *left = parse_operand(parser, level);
  bool compared = false;
  while (left && operator_level(hmoec_parser_peek(parser, 0)->kind) == level) {
    if (compared) {
      hmoec_error(parser->diagnostics, hmoec_parser_location(parser), "comparisons cannot be chained: write `a < b and b < c`");
      return NULL;
    }
    hmoec_expr *binary = expr_new(parser, HMOEC_EXPR_BINARY, hmoec_parser_location(parser));
    binary->op = hmoec_parser_peek(parser, 0)->kind;
    parser->next++;
    binary->left = left;
    binary->right = parse_operand(parser, level);
    if (!binary->right || !deepen(parser, binary, left) || !deepen(parser, binary, binary->right)) return NULL;
    left = binary;
    compared = level == LEVEL_COMPARE;
  }
  return left;
}

hmoec_expr *hmoec_parse_plain_expr(hmoec_parser *parser) {
  if (parser->depth >= HMOEC_SPEC_MAX_DEPTH) return too_deep(parser, hmoec_parser_location(parser));
  parser->depth++;
  hmoec_expr *expr = parse_level(parser, LEVEL_OR);
  parser->depth--;
  return expr;
}

hmoec_expr *hmoec_parse_expr(hmoec_parser *parser) {
  hmoec_expr *value = hmoec_parse_plain_expr(parser);
  if (!value || !hmoec_parser_at(parser, HMOEC_TOKEN_IF)) return value;
  hmoec_expr *expr = expr_new(parser, HMOEC_EXPR_CONDITIONAL, hmoec_parser_location(parser));
  parser->next++;
  expr->left = value;
  expr->condition = hmoec_parse_plain_expr(parser);
  if (!expr->condition) return NULL;
  if (hmoec_parser_accept(parser, HMOEC_TOKEN_ELSE)) {
    if (parser->depth >= HMOEC_SPEC_MAX_DEPTH) return too_deep(parser, hmoec_parser_location(parser));
    parser->depth++;
    expr->right = hmoec_parse_expr(parser);
    parser->depth--;
    if (!expr->right) return NULL;
  }
  return deepen(parser, expr, value) && deepen(parser, expr, expr->condition) && deepen(parser, expr, expr->right) ? expr : NULL;
}

bool hmoec_parse_exprs(hmoec_parser *parser, hmoec_exprs *out_exprs) {
  do {
    hmoec_expr *expr = hmoec_parse_expr(parser);
    if (!expr) return false;
    *HMOEC_APPEND(parser->arena, out_exprs->items, out_exprs->count) = expr;
  } while (hmoec_parser_accept(parser, HMOEC_TOKEN_COMMA));
  return true;
}
