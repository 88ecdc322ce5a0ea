/* The lexer: one pass over the bytes, one growing array of tokens. */
#include "frontend/spec_lexer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plain_text.h"

static const char *const spellings[HMOEC_TOKEN_COUNT] = {
    [HMOEC_TOKEN_END] = "the end of the file",
    [HMOEC_TOKEN_NEWLINE] = "the end of the line",
    [HMOEC_TOKEN_NAME] = "a name",
    [HMOEC_TOKEN_INTEGER] = "an integer",
    [HMOEC_TOKEN_NUMBER] = "a number",
    [HMOEC_TOKEN_STRING] = "a string",
    [HMOEC_TOKEN_MODEL] = "model",
    [HMOEC_TOKEN_DIM] = "dim",
    [HMOEC_TOKEN_OPTION] = "option",
    [HMOEC_TOKEN_INPUT] = "input",
    [HMOEC_TOKEN_PARAM] = "param",
    [HMOEC_TOKEN_OUTPUT] = "output",
    [HMOEC_TOKEN_BLOCK] = "block",
    [HMOEC_TOKEN_RETURN] = "return",
    [HMOEC_TOKEN_FOR] = "for",
    [HMOEC_TOKEN_IF] = "if",
    [HMOEC_TOKEN_SCOPE] = "scope",
    [HMOEC_TOKEN_INCLUDE] = "include",
    [HMOEC_TOKEN_GENERATION] = "generation",
    [HMOEC_TOKEN_CHECK] = "check",
    [HMOEC_TOKEN_ELSE] = "else",
    [HMOEC_TOKEN_IN] = "in",
    [HMOEC_TOKEN_FROM] = "from",
    [HMOEC_TOKEN_AND] = "and",
    [HMOEC_TOKEN_OR] = "or",
    [HMOEC_TOKEN_NOT] = "not",
    [HMOEC_TOKEN_TRUE] = "true",
    [HMOEC_TOKEN_FALSE] = "false",
    [HMOEC_TOKEN_LEFT_PAREN] = "(",
    [HMOEC_TOKEN_RIGHT_PAREN] = ")",
    [HMOEC_TOKEN_LEFT_BRACKET] = "[",
    [HMOEC_TOKEN_RIGHT_BRACKET] = "]",
    [HMOEC_TOKEN_LEFT_BRACE] = "{",
    [HMOEC_TOKEN_RIGHT_BRACE] = "}",
    [HMOEC_TOKEN_COMMA] = ",",
    [HMOEC_TOKEN_COLON] = ":",
    [HMOEC_TOKEN_QUESTION] = "?",
    [HMOEC_TOKEN_DOT] = ".",
    [HMOEC_TOKEN_RANGE] = "..",
    [HMOEC_TOKEN_ASSIGN] = "=",
    [HMOEC_TOKEN_EQUAL] = "==",
    [HMOEC_TOKEN_NOT_EQUAL] = "!=",
    [HMOEC_TOKEN_LESS] = "<",
    [HMOEC_TOKEN_LESS_EQUAL] = "<=",
    [HMOEC_TOKEN_GREATER] = ">",
    [HMOEC_TOKEN_GREATER_EQUAL] = ">=",
    [HMOEC_TOKEN_PLUS] = "+",
    [HMOEC_TOKEN_MINUS] = "-",
    [HMOEC_TOKEN_STAR] = "*",
    [HMOEC_TOKEN_SLASH] = "/",
    [HMOEC_TOKEN_PERCENT] = "%",
};

const char *hmoec_token_kind_string(hmoec_token_kind kind) { return spellings[kind]; }
bool hmoec_token_is_keyword(hmoec_token_kind kind) { return kind >= HMOEC_TOKEN_MODEL && kind <= HMOEC_TOKEN_FALSE; }

hmoec_token_kind hmoec_word_kind(const char *word, size_t length) {
  for (hmoec_token_kind kind = HMOEC_TOKEN_MODEL; kind <= HMOEC_TOKEN_FALSE; kind++)
    if (strlen(spellings[kind]) == length && memcmp(spellings[kind], word, length) == 0) return kind;
  return HMOEC_TOKEN_NAME;
}

typedef struct lexer {
  hmoec_arena *arena;
  hmoec_diagnostics *diagnostics;
  const char *file, *cursor, *end, *line_start;
  unsigned line;
  unsigned open_brackets; /* ( and [ not closed yet: line ends do not count inside them */
  hmoec_tokens tokens;
  size_t capacity;
} lexer;

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

static hmoec_location location_at(const lexer *lx, const char *at) {
  return (hmoec_location){.file = lx->file, .line = lx->line, .column = (unsigned)(at - lx->line_start) + 1};
}

static hmoec_token *token_add(lexer *lx, hmoec_token_kind kind, const char *at) {
  if (lx->tokens.count == lx->capacity) {
    lx->capacity = lx->capacity ? 2 * lx->capacity : 256;
    lx->tokens.items = hmoec_arena_grow(lx->arena, lx->tokens.items, lx->tokens.count, lx->capacity, sizeof *lx->tokens.items);
  }
  hmoec_token *token = &lx->tokens.items[lx->tokens.count++];
  hmoec_location location = location_at(lx, at);
  *token = (hmoec_token){.kind = kind, .line = location.line, .column = location.column};
  return token;
}

/* Length of the valid UTF-8 sequence at `at`, 0 if there is none. */
static size_t utf8_length(const char *at, const char *end) {
  unsigned char first = (unsigned char)*at;
  size_t length = first < 0x80                    ? 1
                  : first >= 0xC2 && first < 0xE0 ? 2
                  : first >= 0xE0 && first < 0xF0 ? 3
                  : first >= 0xF0 && first < 0xF5 ? 4
                                                  : 0;
  if (length == 0 || (size_t)(end - at) < length) return 0;
  for (size_t i = 1; i < length; i++)
    if (((unsigned char)at[i] & 0xC0) != 0x80) return 0;
  unsigned char second = length > 2 ? (unsigned char)at[1] : 0;
  if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) || (first == 0xF0 && second < 0x90) ||
      (first == 0xF4 && second > 0x8F))
    return 0; /* overlong, a surrogate, or past U+10FFFF */
  return length;
}

/* The text from lx->cursor to `stop` is UTF-8 without control characters; the first byte that is not is reported. */
static bool text_check(lexer *lx, const char *stop) {
  for (const char *at = lx->cursor; at < stop;) {
    unsigned char byte = (unsigned char)*at;
    if ((byte < 0x20 && byte != '\t' && byte != '\r') || byte == 0x7F)
      return hmoec_error(lx->diagnostics, location_at(lx, at), "control character 0x%02X in the text", byte);
    size_t length = utf8_length(at, stop);
    if (!length) return hmoec_error(lx->diagnostics, location_at(lx, at), "byte 0x%02X is not valid UTF-8", byte);
    at += length;
  }
  return true;
}

static const char *line_end(const lexer *lx) {
  const char *newline = memchr(lx->cursor, '\n', (size_t)(lx->end - lx->cursor));
  return newline ? newline : lx->end;
}

static void lex_comment(lexer *lx) {
  const char *stop = line_end(lx);
  text_check(lx, stop);
  lx->cursor = stop;
}

static void lex_string(lexer *lx) {
  const char *start = lx->cursor++;
  const char *stop = line_end(lx);
  const char *quote = memchr(lx->cursor, '"', (size_t)(stop - lx->cursor));
  if (!quote) hmoec_error(lx->diagnostics, location_at(lx, start), "the string is not closed on its line");
  const char *text_end = quote ? quote : stop;
  bool valid = text_check(lx, text_end);
  hmoec_token *token = token_add(lx, HMOEC_TOKEN_STRING, start);
  token->text = valid ? hmoec_arena_strndup(lx->arena, lx->cursor, (size_t)(text_end - lx->cursor)) : "";
  lx->cursor = quote ? quote + 1 : stop;
}

static void lex_name(lexer *lx) {
  const char *start = lx->cursor;
  while (lx->cursor < lx->end && (is_letter(*lx->cursor) || hmoe_plain_is_digit(*lx->cursor))) lx->cursor++;
  size_t length = (size_t)(lx->cursor - start);
  hmoec_token_kind kind = hmoec_word_kind(start, length);
  if (kind != HMOEC_TOKEN_NAME) {
    token_add(lx, kind, start)->text = spellings[kind];
    return;
  }
  enum { MAX_NAME_CHARS = 100 };
  if (length > MAX_NAME_CHARS) {
    hmoec_error(lx->diagnostics, location_at(lx, start), "the name is longer than %d characters", MAX_NAME_CHARS);
    length = MAX_NAME_CHARS;
  }
  token_add(lx, HMOEC_TOKEN_NAME, start)->text = hmoec_arena_strndup(lx->arena, start, length);
}

static size_t digits(const char *text, const char *end) {
  size_t length = 0;
  while (text + length < end && hmoe_plain_is_digit(text[length])) length++;
  return length;
}

/* digits [ "." digits ] [ ( "e" | "E" ) [ "+" | "-" ] digits ]; the point of 0..3 or of a field is not part of it. */
size_t hmoec_number_length(const char *text, const char *end, bool *out_decimal) {
  size_t length = digits(text, end);
  *out_decimal = false;
  if (!length) return 0;
  if (text + length < end && text[length] == '.') {
    size_t fraction = digits(text + length + 1, end);
    *out_decimal = fraction != 0;
    if (fraction) length += 1 + fraction;
  }
  if (text + length < end && (text[length] == 'e' || text[length] == 'E')) {
    const char *exponent = text + length + 1;
    if (exponent < end && (*exponent == '+' || *exponent == '-')) exponent++;
    size_t count = digits(exponent, end);
    *out_decimal = *out_decimal || count != 0;
    if (count) length = (size_t)(exponent - text) + count;
  }
  return length;
}

bool hmoec_number_parse(const char *text, size_t length, double *out_number) {
  char buffer[128];
  if (length >= sizeof buffer) return false;
  memcpy(buffer, text, length);
  buffer[length] = 0;
  *out_number = hmoe_plain_number(buffer, NULL);
  return isfinite(*out_number);
}

const char *hmoec_number_text(hmoec_arena *arena, double number) {
  char text[40];
  for (int digits = 1; digits <= 17; digits++) {
    hmoe_plain_format(text, sizeof text, "%.*g", digits, number);
    if (hmoe_plain_number(text, NULL) == number) break;
  }
  return hmoec_arena_strdup(arena, text);
}

static void lex_number(lexer *lx) {
  const char *start = lx->cursor;
  bool decimal, overflow = false;
  size_t length = hmoec_number_length(start, lx->end, &decimal);
  int64_t integer = 0;
  double number = 0;
  lx->cursor += length;
  if (decimal && !hmoec_number_parse(start, length, &number))
    hmoec_error(lx->diagnostics, location_at(lx, start), "the number is too large, or longer than 127 characters");
  for (size_t i = 0; !decimal && i < length; i++)
    overflow =
        overflow || __builtin_mul_overflow(integer, 10, &integer) || __builtin_add_overflow(integer, start[i] - '0', &integer);
  if (overflow) hmoec_error(lx->diagnostics, location_at(lx, start), "the integer does not fit in 64 bits");
  if (lx->cursor < lx->end && is_letter(*lx->cursor)) {
    hmoec_error(lx->diagnostics, location_at(lx, lx->cursor), "expected a space or an operator after the %s, found '%c'",
                decimal ? "number" : "integer", *lx->cursor);
    while (lx->cursor < lx->end && (is_letter(*lx->cursor) || hmoe_plain_is_digit(*lx->cursor))) lx->cursor++;
  }
  hmoec_token *token = token_add(lx, decimal ? HMOEC_TOKEN_NUMBER : HMOEC_TOKEN_INTEGER, start);
  token->integer = overflow ? 1 : integer;
  token->number = isfinite(number) ? number : 1;
}

/* The longest punctuation at the cursor, or HMOEC_TOKEN_COUNT. */
static hmoec_token_kind punctuation_at(const lexer *lx, size_t *out_length) {
  hmoec_token_kind best = HMOEC_TOKEN_COUNT;
  *out_length = 0;
  for (hmoec_token_kind kind = HMOEC_TOKEN_LEFT_PAREN; kind < HMOEC_TOKEN_COUNT; kind++) {
    size_t length = strlen(spellings[kind]);
    if (length <= *out_length || (size_t)(lx->end - lx->cursor) < length || memcmp(spellings[kind], lx->cursor, length) != 0)
      continue;
    best = kind;
    *out_length = length;
  }
  return best;
}

static void lex_unknown(lexer *lx) {
  unsigned char byte = (unsigned char)*lx->cursor;
  size_t length = utf8_length(lx->cursor, lx->end);
  if (byte < 0x20 || byte == 0x7F || !length) {
    text_check(lx, lx->cursor + 1);
  } else {
    hmoec_error(lx->diagnostics, location_at(lx, lx->cursor), "unexpected character '%.*s'", (int)length, lx->cursor);
  }
  lx->cursor += length ? length : 1;
}

static void lex_punctuation(lexer *lx) {
  size_t length;
  hmoec_token_kind kind = punctuation_at(lx, &length);
  if (kind == HMOEC_TOKEN_COUNT) {
    lex_unknown(lx);
    return;
  }
  if (kind == HMOEC_TOKEN_LEFT_PAREN || kind == HMOEC_TOKEN_LEFT_BRACKET) lx->open_brackets++;
  if ((kind == HMOEC_TOKEN_RIGHT_PAREN || kind == HMOEC_TOKEN_RIGHT_BRACKET) && lx->open_brackets) lx->open_brackets--;
  if (kind == HMOEC_TOKEN_LEFT_BRACE || kind == HMOEC_TOKEN_RIGHT_BRACE) lx->open_brackets = 0; /* braces never stand inside them */
  token_add(lx, kind, lx->cursor)->text = spellings[kind];
  lx->cursor += length;
}

/* A keyword that opens a statement, first on its line, ends a bracket somebody forgot to close: only that statement is then lost. */
static bool statement_follows(const lexer *lx) {
  const char *at = lx->cursor;
  while (at < lx->end && (*at == ' ' || *at == '\t')) at++;
  const char *start = at;
  while (at < lx->end && is_letter(*at)) at++;
  for (hmoec_token_kind kind = HMOEC_FIRST_STATEMENT_KEYWORD; kind <= HMOEC_LAST_STATEMENT_KEYWORD; kind++) {
    size_t length = strlen(spellings[kind]);
    if (kind != HMOEC_TOKEN_IF && (size_t)(at - start) == length && memcmp(start, spellings[kind], length) == 0) return true;
  }
  return false;
}

static void lex_newline(lexer *lx) {
  const char *at = lx->cursor++;
  if (statement_follows(lx)) lx->open_brackets = 0;
  hmoec_token_kind last = lx->tokens.count ? lx->tokens.items[lx->tokens.count - 1].kind : HMOEC_TOKEN_NEWLINE;
  bool continued = lx->open_brackets || (last == HMOEC_TOKEN_COMMA && !statement_follows(lx));
  if (!continued && last != HMOEC_TOKEN_NEWLINE) token_add(lx, HMOEC_TOKEN_NEWLINE, at);
  lx->line++;
  lx->line_start = lx->cursor;
}

hmoec_tokens hmoec_spec_lex(hmoec_arena *arena, hmoec_diagnostics *diagnostics, const char *file, const char *text, size_t size) {
  static const char byte_order_mark[] = "\xEF\xBB\xBF";
  bool marked = size >= 3 && memcmp(text, byte_order_mark, 3) == 0;
  lexer lx = {.arena = arena,
              .diagnostics = diagnostics,
              .file = file,
              .cursor = text + (marked ? 3 : 0),
              .end = text + size,
              .line_start = text,
              .line = 1,
              .tokens = {.file = file}};
  while (lx.cursor < lx.end) {
    char c = *lx.cursor;
    if (c == ' ' || c == '\t' || c == '\r') lx.cursor++;
    else if (c == '\n') lex_newline(&lx);
    else if (c == '#') lex_comment(&lx);
    else if (c == '"') lex_string(&lx);
    else if (is_letter(c)) lex_name(&lx);
    else if (hmoe_plain_is_digit(c)) lex_number(&lx);
    else lex_punctuation(&lx);
  }
  token_add(&lx, HMOEC_TOKEN_NEWLINE, lx.cursor);
  token_add(&lx, HMOEC_TOKEN_END, lx.cursor);
  return lx.tokens;
}
