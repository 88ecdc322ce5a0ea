/* Spec text to tokens. Line ends are tokens, except inside ( ) and [ ] and after a comma, where the line goes on; comments run from #
 * to the line end. Names are those of C; integers are decimal; a point or an exponent makes a decimal number; strings stand on one line
 * between double quotes, without escapes. */
#ifndef HMOEC_FRONTEND_SPEC_LEXER_H
#define HMOEC_FRONTEND_SPEC_LEXER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/arena.h"
#include "support/diagnostics.h"

typedef enum hmoec_token_kind {
  HMOEC_TOKEN_END,
  HMOEC_TOKEN_NEWLINE,
  HMOEC_TOKEN_NAME, /* text */
  HMOEC_TOKEN_INTEGER, /* integer */
  HMOEC_TOKEN_NUMBER, /* number */
  HMOEC_TOKEN_STRING, /* text, without the quotes */
  /* Keywords; their spelling is in spec_lexer.c. */
  HMOEC_TOKEN_MODEL,
  HMOEC_TOKEN_DIM,
  HMOEC_TOKEN_OPTION,
  HMOEC_TOKEN_INPUT,
  HMOEC_TOKEN_PARAM,
  HMOEC_TOKEN_OUTPUT,
  HMOEC_TOKEN_BLOCK,
  HMOEC_TOKEN_RETURN,
  HMOEC_TOKEN_FOR,
  HMOEC_TOKEN_IF,
  HMOEC_TOKEN_SCOPE,
  HMOEC_TOKEN_INCLUDE,
  HMOEC_TOKEN_GENERATION,
  HMOEC_TOKEN_CHECK,
  HMOEC_TOKEN_ELSE,
  HMOEC_TOKEN_IN,
  HMOEC_TOKEN_FROM,
  HMOEC_TOKEN_AND,
  HMOEC_TOKEN_OR,
  HMOEC_TOKEN_NOT,
  HMOEC_TOKEN_TRUE,
  HMOEC_TOKEN_FALSE,
  /* Punctuation. */
  HMOEC_TOKEN_LEFT_PAREN,
  HMOEC_TOKEN_RIGHT_PAREN,
  HMOEC_TOKEN_LEFT_BRACKET,
  HMOEC_TOKEN_RIGHT_BRACKET,
  HMOEC_TOKEN_LEFT_BRACE,
  HMOEC_TOKEN_RIGHT_BRACE,
  HMOEC_TOKEN_COMMA,
  HMOEC_TOKEN_COLON,
  HMOEC_TOKEN_QUESTION,
  HMOEC_TOKEN_DOT,
  HMOEC_TOKEN_RANGE,
  HMOEC_TOKEN_ASSIGN,
  HMOEC_TOKEN_EQUAL,
  HMOEC_TOKEN_NOT_EQUAL,
  HMOEC_TOKEN_LESS,
  HMOEC_TOKEN_LESS_EQUAL,
  HMOEC_TOKEN_GREATER,
  HMOEC_TOKEN_GREATER_EQUAL,
  HMOEC_TOKEN_PLUS,
  HMOEC_TOKEN_MINUS,
  HMOEC_TOKEN_STAR,
  HMOEC_TOKEN_SLASH,
  HMOEC_TOKEN_PERCENT,
  HMOEC_TOKEN_COUNT
} hmoec_token_kind;

#define HMOEC_FIRST_STATEMENT_KEYWORD HMOEC_TOKEN_MODEL
#define HMOEC_LAST_STATEMENT_KEYWORD HMOEC_TOKEN_CHECK

typedef struct hmoec_token {
  hmoec_token_kind kind;
  unsigned line, column; /* column in bytes */
  const char *text; /* arena */
  int64_t integer;
  double number;
} hmoec_token;

typedef struct hmoec_tokens {
  const char *file;
  hmoec_token *items; /* arena; the last one is HMOEC_TOKEN_END */
  size_t count;
} hmoec_tokens;

/* Never fails: what is not a token is reported, and skipped. */
hmoec_tokens hmoec_spec_lex(hmoec_arena *arena, hmoec_diagnostics *diagnostics, const char *file, const char *text, size_t size);

/* The characters of the unsigned number at `text`, 0 if there is none. *out_decimal: it has a point or an exponent. */
size_t hmoec_number_length(const char *text, const char *end, bool *out_decimal);
/* The value of such a number; false if no double holds it. */
bool hmoec_number_parse(const char *text, size_t length, double *out_number);
/* The shortest text that reads back as the number: 1e-06, 0.5. */
const char *hmoec_number_text(hmoec_arena *arena, double number);

/* "for" or "=="; "a name", "an integer", "a string", "the end of the line" for kinds without a fixed spelling. */
const char *hmoec_token_kind_string(hmoec_token_kind kind);
bool hmoec_token_is_keyword(hmoec_token_kind kind);
/* The keyword that a word is, or HMOEC_TOKEN_NAME. */
hmoec_token_kind hmoec_word_kind(const char *word, size_t length);

#endif
