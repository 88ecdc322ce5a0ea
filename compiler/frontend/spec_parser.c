/* Statements, one a line. After an error the parser goes on at the next line, or at the brace that closes the body it is in, so that one
 * run reports every statement that is wrong. */
#include "frontend/spec_parser.h"

#include <string.h>

#include "frontend/spec_path.h"

/* ---- tokens ---- */

const hmoec_token *hmoec_parser_peek(const hmoec_parser *parser, size_t ahead) {
  size_t left = parser->tokens.count - 1 - parser->next;
  return &parser->tokens.items[parser->next + (ahead < left ? ahead : left)];
}

bool hmoec_parser_at(const hmoec_parser *parser, hmoec_token_kind kind) { return hmoec_parser_peek(parser, 0)->kind == kind; }

bool hmoec_parser_accept(hmoec_parser *parser, hmoec_token_kind kind) {
  if (!hmoec_parser_at(parser, kind)) return false;
  if (kind != HMOEC_TOKEN_END) parser->next++;
  return true;
}

hmoec_location hmoec_parser_location(const hmoec_parser *parser) {
  const hmoec_token *token = hmoec_parser_peek(parser, 0);
  return (hmoec_location){.file = parser->tokens.file, .line = token->line, .column = token->column};
}

static const char *token_string(hmoec_arena *arena, const hmoec_token *token) {
  switch (token->kind) {
  case HMOEC_TOKEN_NAME: return hmoec_arena_printf(arena, "'%s'", token->text);
  case HMOEC_TOKEN_INTEGER: return hmoec_arena_printf(arena, "%lld", (long long)token->integer);
  case HMOEC_TOKEN_NUMBER: return hmoec_arena_printf(arena, "%g", token->number);
  case HMOEC_TOKEN_END:
  case HMOEC_TOKEN_NEWLINE:
  case HMOEC_TOKEN_STRING: return hmoec_token_kind_string(token->kind);
  default:
    return hmoec_arena_printf(arena, hmoec_token_is_keyword(token->kind) ? "the keyword '%s'" : "'%s'",
                              hmoec_token_kind_string(token->kind));
  }
}

bool hmoec_parser_unexpected(hmoec_parser *parser, const char *expected) {
  const char *found = token_string(parser->arena, hmoec_parser_peek(parser, 0));
  return hmoec_error(parser->diagnostics, hmoec_parser_location(parser), "expected %s, found %s", expected, found);
}

bool hmoec_parser_expect(hmoec_parser *parser, hmoec_token_kind kind, const char *after) {
  if (hmoec_parser_accept(parser, kind)) return true;
  const char *spelling = hmoec_token_kind_string(kind);
  bool quoted = kind >= HMOEC_TOKEN_MODEL;
  const char *quote = quoted ? "'" : "";
  return hmoec_parser_unexpected(
      parser, hmoec_arena_printf(parser->arena, "%s%s%s%s%s", quote, spelling, quote, after ? " " : "", after ? after : ""));
}

bool hmoec_parser_name(hmoec_parser *parser, const char *what, hmoec_spec_text *out_name) {
  const hmoec_token *token = hmoec_parser_peek(parser, 0);
  if (hmoec_token_is_keyword(token->kind))
    return hmoec_error(parser->diagnostics, hmoec_parser_location(parser), "expected the name of the %s, but '%s' is a keyword",
                       what, token->text);
  if (token->kind != HMOEC_TOKEN_NAME)
    return hmoec_parser_unexpected(parser, hmoec_arena_printf(parser->arena, "the name of the %s", what));
  *out_name = (hmoec_spec_text){.text = token->text, .at = hmoec_parser_location(parser)};
  parser->next++;
  return true;
}

bool hmoec_parser_string(hmoec_parser *parser, const char *what, hmoec_spec_text *out_text) {
  const hmoec_token *token = hmoec_parser_peek(parser, 0);
  if (token->kind != HMOEC_TOKEN_STRING) return hmoec_parser_unexpected(parser, what);
  *out_text = (hmoec_spec_text){.text = token->text, .at = hmoec_parser_location(parser)};
  parser->next++;
  return true;
}

static void skip_newlines(hmoec_parser *parser) {
  while (hmoec_parser_accept(parser, HMOEC_TOKEN_NEWLINE)) {}
}

/* ---- statements ---- */

static void parse_statements(hmoec_parser *parser, hmoec_statements *out_statements);

static hmoec_statement *statement_add(hmoec_parser *parser, hmoec_statements *statements, hmoec_statement_kind kind) {
  hmoec_statement *statement = hmoec_arena_alloc(parser->arena, sizeof *statement);
  statement->kind = kind;
  statement->at = hmoec_parser_location(parser);
  *HMOEC_APPEND(parser->arena, statements->items, statements->count) = statement;
  return statement;
}

static bool parse_body(hmoec_parser *parser, hmoec_statements *out_body) {
  hmoec_location opened = hmoec_parser_location(parser);
  if (!hmoec_parser_expect(parser, HMOEC_TOKEN_LEFT_BRACE, NULL)) return false;
  if (parser->nesting >= HMOEC_SPEC_MAX_NESTING)
    return hmoec_error(parser->diagnostics, opened, "bodies are nested deeper than %d levels", HMOEC_SPEC_MAX_NESTING);
  parser->nesting++;
  parse_statements(parser, out_body);
  parser->nesting--;
  if (hmoec_parser_accept(parser, HMOEC_TOKEN_RIGHT_BRACE)) return true;
  return hmoec_error(parser->diagnostics, opened, "this '{' is never closed");
}

static bool parse_model(hmoec_parser *parser, hmoec_statements *out) {
  hmoec_statement *model = statement_add(parser, out, HMOEC_STATEMENT_MODEL);
  parser->next++;
  return hmoec_parser_name(parser, "model", &model->name);
}

static bool parse_dim(hmoec_parser *parser, hmoec_statements *out) {
  parser->next++;
  do {
    hmoec_statement *dim = statement_add(parser, out, HMOEC_STATEMENT_DIM);
    if (!hmoec_parser_name(parser, "dim", &dim->name)) return false;
    if (!hmoec_parser_expect(parser, HMOEC_TOKEN_ASSIGN, "after the name of the dim")) return false;
    if (hmoec_parser_accept(parser, HMOEC_TOKEN_QUESTION)) continue;
    dim->value = hmoec_parse_expr(parser);
    if (!dim->value) return false;
  } while (hmoec_parser_accept(parser, HMOEC_TOKEN_COMMA));
  return true;
}

static bool parse_option_value(hmoec_parser *parser, hmoec_literal *out_literal) {
  hmoec_location at = hmoec_parser_location(parser);
  bool negative = hmoec_parser_accept(parser, HMOEC_TOKEN_MINUS);
  const hmoec_token *token = hmoec_parser_peek(parser, 0);
  *out_literal = (hmoec_literal){.at = at};
  switch (token->kind) {
  case HMOEC_TOKEN_INTEGER: out_literal->integer = negative ? -token->integer : token->integer; break;
  case HMOEC_TOKEN_NUMBER:
    out_literal->decimal = true;
    out_literal->number = negative ? -token->number : token->number;
    break;
  case HMOEC_TOKEN_TRUE:
  case HMOEC_TOKEN_FALSE:
    if (negative) return hmoec_parser_unexpected(parser, "a number after '-'");
    out_literal->integer = token->kind == HMOEC_TOKEN_TRUE;
    break;
  case HMOEC_TOKEN_NAME:
  case HMOEC_TOKEN_STRING:
    if (negative) return hmoec_parser_unexpected(parser, "a number after '-'");
    out_literal->word = token->text;
    break;
  default: return hmoec_parser_unexpected(parser, "a word or a number");
  }
  parser->next++;
  return true;
}

static bool parse_choices(hmoec_parser *parser, hmoec_statement *option) {
  if (!hmoec_parser_expect(parser, HMOEC_TOKEN_LEFT_BRACE, "after 'in'")) return false;
  do {
    skip_newlines(parser);
    hmoec_literal *choice = HMOEC_APPEND(parser->arena, option->choices, option->choice_count);
    if (!parse_option_value(parser, choice)) return false;
    skip_newlines(parser);
  } while (hmoec_parser_accept(parser, HMOEC_TOKEN_COMMA));
  return hmoec_parser_expect(parser, HMOEC_TOKEN_RIGHT_BRACE, "after the choices");
}

static bool parse_option(hmoec_parser *parser, hmoec_statements *out) {
  parser->next++;
  do {
    hmoec_statement *option = statement_add(parser, out, HMOEC_STATEMENT_OPTION);
    if (!hmoec_parser_name(parser, "option", &option->name)) return false;
    if (!hmoec_parser_expect(parser, HMOEC_TOKEN_ASSIGN, "after the name of the option")) return false;
    if (!parse_option_value(parser, &option->literal)) return false;
    if (hmoec_parser_accept(parser, HMOEC_TOKEN_IN) && !parse_choices(parser, option)) return false;
  } while (hmoec_parser_accept(parser, HMOEC_TOKEN_COMMA));
  return true;
}

/* f32[tokens, d_model], or [experts, d_model] where the element may be left out. */
static bool parse_type(hmoec_parser *parser, hmoec_statement *statement, bool element_required) {
  static const char *const names[] = {[HMOEC_F32] = "f32", [HMOEC_I32] = "i32", [HMOEC_I1] = "i1", [HMOEC_I64] = "i64"};
  const hmoec_token *token = hmoec_parser_peek(parser, 0);
  if (token->kind == HMOEC_TOKEN_NAME) {
    size_t i = 0;
    while (i < 4 && strcmp(names[i], token->text) != 0) i++;
    if (i == 4)
      return hmoec_error(parser->diagnostics, hmoec_parser_location(parser),
                         "there is no element type '%s': expected f32, i32 or i64", token->text);
    statement->element = (hmoec_element)i;
    parser->next++;
  } else if (element_required) {
    return hmoec_parser_unexpected(parser, "an element type (f32, i32 or i64)");
  }
  return hmoec_parser_expect(parser, HMOEC_TOKEN_LEFT_BRACKET, "before the shape") &&
         hmoec_parse_exprs(parser, &statement->shape) && hmoec_parser_expect(parser, HMOEC_TOKEN_RIGHT_BRACKET, "after the shape");
}

static bool parse_input(hmoec_parser *parser, hmoec_statements *out) {
  hmoec_statement *input = statement_add(parser, out, HMOEC_STATEMENT_INPUT);
  parser->next++;
  return hmoec_parser_name(parser, "input", &input->name) &&
         hmoec_parser_expect(parser, HMOEC_TOKEN_COLON, "after the name of the input") && parse_type(parser, input, true) &&
         (!hmoec_parser_accept(parser, HMOEC_TOKEN_ASSIGN) || (input->value = hmoec_parse_expr(parser)));
}

static bool parse_param(hmoec_parser *parser, hmoec_statements *out) {
  hmoec_statement *param = statement_add(parser, out, HMOEC_STATEMENT_PARAM);
  parser->next++;
  if (!hmoec_parser_name(parser, "param", &param->name)) return false;
  if (hmoec_parser_accept(parser, HMOEC_TOKEN_LEFT_BRACKET)) {
    if (!hmoec_parser_name(parser, "index", &param->index) ||
        !hmoec_parser_expect(parser, HMOEC_TOKEN_LESS, "after the name of the index"))
      return false;
    param->bound = hmoec_parse_expr(parser);
    if (!param->bound || !hmoec_parser_expect(parser, HMOEC_TOKEN_RIGHT_BRACKET, "after the bound of the index")) return false;
  }
  if (!hmoec_parser_expect(parser, HMOEC_TOKEN_COLON, "after the name of the param") || !parse_type(parser, param, false))
    return false;
  if (!hmoec_parser_expect(parser, HMOEC_TOKEN_FROM, "after the shape of the param")) return false;
  do {
    hmoec_spec_text *key = HMOEC_APPEND(parser->arena, param->names, param->name_count);
    if (!hmoec_parser_string(parser, "the checkpoint key as a string", key)) return false;
  } while (hmoec_parser_accept(parser, HMOEC_TOKEN_OR));
  if (hmoec_parser_accept(parser, HMOEC_TOKEN_IF) && !(param->condition = hmoec_parse_plain_expr(parser))) return false;
  return true;
}

static bool parse_output(hmoec_parser *parser, hmoec_statements *out) {
  hmoec_statement *output = statement_add(parser, out, HMOEC_STATEMENT_OUTPUT);
  parser->next++;
  return hmoec_parser_name(parser, "output", &output->name) &&
         hmoec_parser_expect(parser, HMOEC_TOKEN_ASSIGN, "after the name of the output") &&
         (output->value = hmoec_parse_expr(parser));
}

static bool parse_block(hmoec_parser *parser, hmoec_statements *out) {
  hmoec_statement *block = statement_add(parser, out, HMOEC_STATEMENT_BLOCK);
  parser->next++;
  if (!hmoec_parser_name(parser, "block", &block->name) ||
      !hmoec_parser_expect(parser, HMOEC_TOKEN_LEFT_PAREN, "after the name of the block"))
    return false;
  while (!hmoec_parser_at(parser, HMOEC_TOKEN_RIGHT_PAREN)) {
    if (block->parameter_count == HMOEC_SPEC_MAX_ARGUMENTS)
      return hmoec_error(parser->diagnostics, hmoec_parser_location(parser), "a block takes no more than %d arguments",
                         HMOEC_SPEC_MAX_ARGUMENTS);
    hmoec_argument *parameter = HMOEC_APPEND(parser->arena, block->parameters, block->parameter_count);
    if (!hmoec_parser_name(parser, "argument", &parameter->name)) return false;
    if (hmoec_parser_accept(parser, HMOEC_TOKEN_ASSIGN) && !(parameter->value = hmoec_parse_expr(parser))) return false;
    if (!hmoec_parser_accept(parser, HMOEC_TOKEN_COMMA)) break;
  }
  return hmoec_parser_expect(parser, HMOEC_TOKEN_RIGHT_PAREN, "after the arguments of the block") &&
         parse_body(parser, &block->body);
}

static bool parse_return(hmoec_parser *parser, hmoec_statements *out) {
  hmoec_statement *statement = statement_add(parser, out, HMOEC_STATEMENT_RETURN);
  parser->next++;
  return hmoec_parse_exprs(parser, &statement->shape);
}

static bool parse_for(hmoec_parser *parser, hmoec_statements *out) {
  hmoec_statement *loop = statement_add(parser, out, HMOEC_STATEMENT_FOR);
  parser->next++;
  if (!hmoec_parser_name(parser, "loop index", &loop->name) || !hmoec_parser_expect(parser, HMOEC_TOKEN_IN, "after the loop index"))
    return false;
  loop->bound = hmoec_parse_plain_expr(parser);
  if (!loop->bound || !hmoec_parser_expect(parser, HMOEC_TOKEN_RANGE, "between the bounds of the loop")) return false;
  loop->value = hmoec_parse_plain_expr(parser);
  return loop->value && parse_body(parser, &loop->body);
}

/* if c { } else if d { } else { }; `else` may stand on the line after the brace. */
static bool parse_if(hmoec_parser *parser, hmoec_statements *out) {
  hmoec_statement *statement = statement_add(parser, out, HMOEC_STATEMENT_IF);
  parser->next++;
  for (bool last = false; !last;) {
    hmoec_if_arm *arm = HMOEC_APPEND(parser->arena, statement->arms, statement->arm_count);
    *arm = (hmoec_if_arm){0};
    last = statement->arm_count > 1 && !hmoec_parser_accept(parser, HMOEC_TOKEN_IF);
    if (!last && !(arm->condition = hmoec_parse_plain_expr(parser))) return false;
    if (!parse_body(parser, &arm->body)) return false;
    if (last) break;
    size_t ahead = hmoec_parser_at(parser, HMOEC_TOKEN_NEWLINE) ? 1 : 0;
    if (hmoec_parser_peek(parser, ahead)->kind != HMOEC_TOKEN_ELSE) break;
    parser->next += ahead + 1;
  }
  return true;
}

static bool parse_scope(hmoec_parser *parser, hmoec_statements *out) {
  hmoec_statement *scope = statement_add(parser, out, HMOEC_STATEMENT_SCOPE);
  parser->next++;
  return hmoec_parser_string(parser, "the prefix of the checkpoint keys as a string", &scope->text) &&
         parse_body(parser, &scope->body);
}

static bool parse_check(hmoec_parser *parser, hmoec_statements *out) {
  hmoec_statement *check = statement_add(parser, out, HMOEC_STATEMENT_CHECK);
  parser->next++;
  check->condition = hmoec_parse_plain_expr(parser);
  return check->condition && hmoec_parser_expect(parser, HMOEC_TOKEN_COMMA, "between the condition and its message") &&
         hmoec_parser_string(parser, "the message as a string", &check->text);
}

static bool parse_generation(hmoec_parser *parser, hmoec_statements *out) {
  hmoec_statement *generation = statement_add(parser, out, HMOEC_STATEMENT_GENERATION);
  parser->next++;
  return parse_body(parser, &generation->body);
}

static hmoec_statements parse_file(const hmoec_parser *including, const char *file, const char *path, const char *text,
                                   size_t size);

static bool parse_include(hmoec_parser *parser, hmoec_statements *out) {
  hmoec_statement *include = statement_add(parser, out, HMOEC_STATEMENT_INCLUDE);
  parser->next++;
  if (!hmoec_parser_string(parser, "the file to include as a string", &include->text)) return false;
  hmoec_location at = include->text.at;
  if (parser->nesting) return hmoec_error(parser->diagnostics, at, "include belongs at the top level, not inside braces");
  if (!parser->reader || !parser->reader->read) return hmoec_error(parser->diagnostics, at, "this spec cannot include files");
  if (!*include->text.text) return hmoec_error(parser->diagnostics, at, "the name of the file to include is empty");
  const char *file = hmoec_path_beside(parser->arena, parser->tokens.file, include->text.text);
  const char *path = hmoec_path_normalise(parser->arena, file);
  size_t depth = 0;
  for (const hmoec_include_chain *link = parser->chain; link; link = link->parent, depth++)
    if (strcmp(link->path, path) == 0) return hmoec_error(parser->diagnostics, at, "%s includes itself", file);
  if (depth > HMOEC_SPEC_MAX_INCLUDE_DEPTH)
    return hmoec_error(parser->diagnostics, at, "files are included deeper than %d levels", HMOEC_SPEC_MAX_INCLUDE_DEPTH);
  if (++*parser->include_count > HMOEC_SPEC_MAX_INCLUDES)
    return hmoec_error(parser->diagnostics, at, "more than %d files are included", HMOEC_SPEC_MAX_INCLUDES);
  size_t size;
  const char *reason = "not found";
  const char *text = parser->reader->read(parser->reader->user, parser->arena, file, &size, &reason);
  if (!text) return hmoec_error(parser->diagnostics, at, "cannot include %s: %s", file, reason);
  include->body = parse_file(parser, file, path, text, size);
  return true;
}

/* a, b = value, or a call on its own. */
static bool parse_assignment(hmoec_parser *parser, hmoec_statements *out) {
  hmoec_statement *assign = statement_add(parser, out, HMOEC_STATEMENT_ASSIGN);
  if (hmoec_parser_peek(parser, 1)->kind == HMOEC_TOKEN_LEFT_PAREN) {
    assign->value = hmoec_parse_expr(parser);
    return assign->value != NULL;
  }
  do {
    hmoec_spec_text *name = HMOEC_APPEND(parser->arena, assign->names, assign->name_count);
    if (!hmoec_parser_name(parser, "value", name)) return false;
  } while (hmoec_parser_accept(parser, HMOEC_TOKEN_COMMA));
  return hmoec_parser_expect(parser, HMOEC_TOKEN_ASSIGN, assign->name_count > 1 ? "after the names" : "after the name") &&
         (assign->value = hmoec_parse_expr(parser));
}

typedef bool (*statement_parser)(hmoec_parser *parser, hmoec_statements *out);

static const statement_parser parsers[HMOEC_TOKEN_COUNT] = {
    [HMOEC_TOKEN_MODEL] = parse_model, [HMOEC_TOKEN_DIM] = parse_dim,         [HMOEC_TOKEN_OPTION] = parse_option,
    [HMOEC_TOKEN_INPUT] = parse_input, [HMOEC_TOKEN_PARAM] = parse_param,     [HMOEC_TOKEN_OUTPUT] = parse_output,
    [HMOEC_TOKEN_BLOCK] = parse_block, [HMOEC_TOKEN_RETURN] = parse_return,   [HMOEC_TOKEN_FOR] = parse_for,
    [HMOEC_TOKEN_IF] = parse_if,       [HMOEC_TOKEN_SCOPE] = parse_scope,     [HMOEC_TOKEN_INCLUDE] = parse_include,
    [HMOEC_TOKEN_CHECK] = parse_check, [HMOEC_TOKEN_NAME] = parse_assignment, [HMOEC_TOKEN_GENERATION] = parse_generation,
};

/* `parm router: ...`: two names, or a name and a string, is a misspelt keyword. */
static bool report_statement(hmoec_parser *parser) {
  const hmoec_token *token = hmoec_parser_peek(parser, 0);
  if (token->kind != HMOEC_TOKEN_NAME) return hmoec_parser_unexpected(parser, "a statement");
  const char *keywords[HMOEC_LAST_STATEMENT_KEYWORD - HMOEC_FIRST_STATEMENT_KEYWORD + 1];
  size_t count = 0;
  for (hmoec_token_kind kind = HMOEC_FIRST_STATEMENT_KEYWORD; kind <= HMOEC_LAST_STATEMENT_KEYWORD; kind++)
    keywords[count++] = hmoec_token_kind_string(kind);
  const char *close = hmoec_closest_name(token->text, keywords, count);
  return hmoec_error(parser->diagnostics, hmoec_parser_location(parser), "'%s' does not begin a statement%s%s%s", token->text,
                     close ? "; did you mean '" : "", close ? close : "", close ? "'?" : "");
}

static bool parse_statement(hmoec_parser *parser, hmoec_statements *out) {
  const hmoec_token *token = hmoec_parser_peek(parser, 0);
  hmoec_token_kind second = hmoec_parser_peek(parser, 1)->kind;
  bool two_names = token->kind == HMOEC_TOKEN_NAME && (second == HMOEC_TOKEN_NAME || second == HMOEC_TOKEN_STRING);
  if (!parsers[token->kind] || two_names) return report_statement(parser);
  if (!parsers[token->kind](parser, out)) return false;
  if (hmoec_parser_at(parser, HMOEC_TOKEN_RIGHT_BRACE) && parser->nesting) return true;
  if (hmoec_parser_accept(parser, HMOEC_TOKEN_NEWLINE) || hmoec_parser_at(parser, HMOEC_TOKEN_END)) return true;
  return hmoec_parser_unexpected(parser, "the end of the line");
}

static void skip_braces(hmoec_parser *parser) {
  size_t open = 0;
  do {
    if (hmoec_parser_at(parser, HMOEC_TOKEN_LEFT_BRACE)) open++;
    if (hmoec_parser_at(parser, HMOEC_TOKEN_RIGHT_BRACE)) open--;
    parser->next++;
  } while (open && !hmoec_parser_at(parser, HMOEC_TOKEN_END));
}

/* To the end of the statement's line. A body on the way is parsed for its own errors; a set of choices is skipped. */
static void synchronise(hmoec_parser *parser) {
  for (;;) {
    switch (hmoec_parser_peek(parser, 0)->kind) {
    case HMOEC_TOKEN_END:
    case HMOEC_TOKEN_NEWLINE: return;
    case HMOEC_TOKEN_RIGHT_BRACE:
      if (parser->nesting) return;
      parser->next++;
      break;
    case HMOEC_TOKEN_LEFT_BRACE: {
      hmoec_statements dropped = {0};
      if (hmoec_parser_peek(parser, 1)->kind != HMOEC_TOKEN_NEWLINE || parser->nesting >= HMOEC_SPEC_MAX_NESTING)
        skip_braces(parser);
      else if (!parse_body(parser, &dropped)) return;
      break;
    }
    default: parser->next++;
    }
  }
}

static void parse_statements(hmoec_parser *parser, hmoec_statements *out_statements) {
  for (;;) {
    skip_newlines(parser);
    if (hmoec_parser_at(parser, HMOEC_TOKEN_END) || (parser->nesting && hmoec_parser_at(parser, HMOEC_TOKEN_RIGHT_BRACE))) return;
    unsigned depth = parser->depth;
    if (parse_statement(parser, out_statements)) continue;
    parser->depth = depth;
    synchronise(parser);
  }
}

static hmoec_statements parse_file(const hmoec_parser *including, const char *file, const char *path, const char *text,
                                   size_t size) {
  hmoec_include_chain link = {.parent = including->chain, .path = path};
  hmoec_parser parser = *including;
  parser.chain = &link;
  hmoec_diagnostics_add_source(parser.diagnostics, file, text, size);
  parser.tokens = hmoec_spec_lex(parser.arena, parser.diagnostics, file, text, size);
  parser.next = 0;
  parser.depth = 0;
  hmoec_statements statements = {0};
  parse_statements(&parser, &statements);
  return statements;
}

hmoec_statements hmoec_spec_parse(hmoec_arena *arena, hmoec_diagnostics *diagnostics, const hmoec_spec_reader *reader,
                                  const char *file, const char *text, size_t size) {
  unsigned include_count = 0;
  hmoec_parser parser = {.arena = arena, .diagnostics = diagnostics, .reader = reader, .include_count = &include_count};
  return parse_file(&parser, file, hmoec_path_normalise(arena, file), text, size);
}
