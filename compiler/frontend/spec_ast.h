/* A spec as a tree, and the parser that makes it. Everything lives in the arena of the compilation.
 *
 * The tree is bounded: expressions are at most HMOEC_SPEC_MAX_DEPTH deep and statements HMOEC_SPEC_MAX_NESTING, so that walking it
 * recursively is safe whatever the text. */
#ifndef HMOEC_FRONTEND_SPEC_AST_H
#define HMOEC_FRONTEND_SPEC_AST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frontend/spec_lexer.h"
#include "ir/ops.h"
#include "support/limits.h"

typedef struct hmoec_expr hmoec_expr;
typedef struct hmoec_statement hmoec_statement;
typedef struct hmoec_exprs {
  hmoec_expr **items;
  size_t count;
} hmoec_exprs;
typedef struct hmoec_statements {
  hmoec_statement **items;
  size_t count;
} hmoec_statements;

/* A name (or key text) and where it stands. */
typedef struct hmoec_spec_text {
  const char *text;
  hmoec_location at;
} hmoec_spec_text;

typedef enum hmoec_expr_kind {
  HMOEC_EXPR_INTEGER,     /* integer */
  HMOEC_EXPR_NUMBER,      /* number */
  HMOEC_EXPR_STRING,      /* text */
  HMOEC_EXPR_NAME,        /* text: a value, or else a word (a choice) */
  HMOEC_EXPR_LIST,        /* [items] */
  HMOEC_EXPR_CALL,        /* text(arguments) */
  HMOEC_EXPR_FIELD,       /* left.text */
  HMOEC_EXPR_UNARY,       /* op left: - or not */
  HMOEC_EXPR_BINARY,      /* left op right */
  HMOEC_EXPR_CONDITIONAL, /* left if condition else right; right NULL: absent */
  HMOEC_EXPR_GIVEN,       /* given: a value that a program passes */
} hmoec_expr_kind;

typedef struct hmoec_argument {
  hmoec_spec_text name; /* name.text NULL: positional */
  hmoec_expr *value;
} hmoec_argument;

struct hmoec_expr {
  hmoec_expr_kind kind;
  hmoec_location at;
  unsigned depth;
  int64_t integer;
  double number;
  const char *text;
  hmoec_token_kind op;
  hmoec_expr *left, *right, *condition;
  hmoec_exprs items;
  hmoec_argument *arguments;
  size_t argument_count;
  const struct hmoec_value *given;
};

/* The value of an option: a word, an integer or a decimal number. */
typedef struct hmoec_literal {
  hmoec_location at;
  const char *word; /* NULL: a number */
  bool decimal;     /* number, not integer */
  int64_t integer;
  double number;
} hmoec_literal;

typedef enum hmoec_statement_kind {
  HMOEC_STATEMENT_MODEL,   /* name */
  HMOEC_STATEMENT_DIM,     /* name = value; NULL: dynamic */
  HMOEC_STATEMENT_OPTION,  /* name = literal in {choices} */
  HMOEC_STATEMENT_INPUT,   /* name: element[shape] = value */
  HMOEC_STATEMENT_PARAM,   /* name[index < bound]: element[shape] from names if condition */
  HMOEC_STATEMENT_OUTPUT,  /* name = value */
  HMOEC_STATEMENT_ASSIGN,  /* names = value; no names: a call on its own */
  HMOEC_STATEMENT_BLOCK,   /* name(parameters) body */
  HMOEC_STATEMENT_RETURN,  /* shape: the values */
  HMOEC_STATEMENT_FOR,     /* name in bound..value body */
  HMOEC_STATEMENT_IF,      /* arms */
  HMOEC_STATEMENT_SCOPE,   /* text body */
  HMOEC_STATEMENT_CHECK,   /* condition, text */
  HMOEC_STATEMENT_GENERATION, /* body: assignments */
  HMOEC_STATEMENT_INCLUDE, /* body: what the file says */
} hmoec_statement_kind;

typedef struct hmoec_if_arm {
  hmoec_expr *condition; /* NULL: else */
  hmoec_statements body;
} hmoec_if_arm;

struct hmoec_statement {
  hmoec_statement_kind kind;
  hmoec_location at;
  hmoec_spec_text name, index, text;
  hmoec_spec_text *names; /* of values; the keys of a param */
  size_t name_count;
  hmoec_element element;
  hmoec_exprs shape; /* sizes, or the values of a return */
  hmoec_expr *value, *bound, *condition;
  hmoec_literal literal, *choices;
  size_t choice_count;
  hmoec_argument *parameters; /* of a block: name and default, or NULL */
  size_t parameter_count;
  hmoec_if_arm *arms;
  size_t arm_count;
  hmoec_statements body;
  bool evaluated, used; /* of an input or param, by the evaluator: to warn about what nothing uses */
};

/* How the parser reads included files: the whole text (arena or static), or NULL and the reason. NULL reader: includes are refused. */
typedef struct hmoec_spec_reader {
  const char *(*read)(void *user, hmoec_arena *arena, const char *path, size_t *out_size, const char **out_reason);
  void *user;
} hmoec_spec_reader;

/* Parses a spec and what it includes. Errors are collected in the sink; the tree then holds what was understood, and must not be evaluated.
 * `file` is how messages call the file and what includes are relative to. */
hmoec_statements hmoec_spec_parse(hmoec_arena *arena, hmoec_diagnostics *diagnostics, const hmoec_spec_reader *reader,
                                  const char *file, const char *text, size_t size);

#endif
