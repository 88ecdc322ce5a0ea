/* What the two halves of the parser share: spec_parser.c has the statements, spec_parse_expr.c the expressions. A parse function that
 * fails has reported why, and returns NULL or false; the statement it belongs to is then skipped. */
#ifndef HMOEC_FRONTEND_SPEC_PARSER_H
#define HMOEC_FRONTEND_SPEC_PARSER_H

#include "frontend/spec_ast.h"

typedef struct hmoec_include_chain {
  const struct hmoec_include_chain *parent;
  const char *path; /* normalised */
} hmoec_include_chain;

typedef struct hmoec_parser {
  hmoec_arena *arena;
  hmoec_diagnostics *diagnostics;
  const hmoec_spec_reader *reader;
  hmoec_tokens tokens;
  size_t next; /* index of the token to be read */
  unsigned depth; /* of the expression being parsed */
  unsigned nesting; /* of the statement being parsed */
  const hmoec_include_chain *chain; /* this file and those that include it */
  unsigned *include_count; /* over all files */
} hmoec_parser;

const hmoec_token *hmoec_parser_peek(const hmoec_parser *parser, size_t ahead);
bool hmoec_parser_at(const hmoec_parser *parser, hmoec_token_kind kind);
/* Consumes the token if it is of that kind. */
bool hmoec_parser_accept(hmoec_parser *parser, hmoec_token_kind kind);
/* As accept, but reports "expected X, found Y"; `after`: where we are, e.g. "after the name of the dim", may be NULL. */
bool hmoec_parser_expect(hmoec_parser *parser, hmoec_token_kind kind, const char *after);
bool hmoec_parser_unexpected(hmoec_parser *parser, const char *expected);
hmoec_location hmoec_parser_location(const hmoec_parser *parser);
/* A NAME token; a keyword is refused as such. */
bool hmoec_parser_name(hmoec_parser *parser, const char *what, hmoec_spec_text *out_name);
bool hmoec_parser_string(hmoec_parser *parser, const char *what, hmoec_spec_text *out_text);

hmoec_expr *hmoec_parse_expr(hmoec_parser *parser);
/* An expression without `if` at its top: where an `if` after it belongs to the statement. */
hmoec_expr *hmoec_parse_plain_expr(hmoec_parser *parser);
/* One or more expressions between commas. */
bool hmoec_parse_exprs(hmoec_parser *parser, hmoec_exprs *out_exprs);

/* Appends to an array in the arena that grows by doubling. */
#define HMOEC_APPEND(arena, items, count)                                                                                          \
  (((count) & ((count) - 1)) == 0                                                                                                  \
       ? (void)((items) = hmoec_arena_grow((arena), (items), (count), (count) ? 2 * (count) : 1, sizeof *(items)))                 \
       : (void)0,                                                                                                                  \
   &(items)[(count)++])

#endif
