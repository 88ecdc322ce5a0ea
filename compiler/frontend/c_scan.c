/* clang limits brackets by itself, but neither operators nor statements. Those that are written out in the file are bounded here, which says where;
 * what macros make of it exhausts at most the process that reads it (c_process.h). No one has to know these limits. */
#include "frontend/c_scan.h"

#include <string.h>

#include "plain_text.h"
#include "support/limits.h"

typedef struct scanner {
  const char *at, *end;
  hmoec_location location;
  unsigned operators, statements, braces;
} scanner;

static void advance(scanner *scan) {
  scan->location.column++;
  if (*scan->at == '\n') {
    scan->location.line++;
    scan->location.column = 1;
  }
  scan->at++;
}

static void skip_past(scanner *scan, const char *closing) {
  size_t length = strlen(closing);
  while (scan->at < scan->end && strncmp(scan->at, closing, length) != 0) advance(scan);
  for (size_t i = 0; i < length && scan->at < scan->end; i++) advance(scan);
}

/* A string or a character, which ends on its line. */
static void skip_quoted(scanner *scan) {
  char quote = *scan->at;
  advance(scan);
  while (scan->at < scan->end && *scan->at != quote && *scan->at != '\n') {
    if (*scan->at == '\\' && scan->at + 1 < scan->end) advance(scan);
    advance(scan);
  }
  if (scan->at < scan->end) advance(scan);
}

static void scan_word(scanner *scan) {
  static const char *const holders[] = {"if", "else", "for", "while", "do", "switch", "case", "default"};
  const char *word = scan->at;
  while (scan->at < scan->end && (hmoe_plain_is_alnum(*scan->at) || *scan->at == '_')) advance(scan);
  size_t length = (size_t)(scan->at - word);
  for (size_t i = 0; i < sizeof holders / sizeof *holders; i++)
    if (strlen(holders[i]) == length && memcmp(word, holders[i], length) == 0) scan->statements++;
}

static void scan_mark(scanner *scan) {
  char mark = *scan->at;
  if (mark == '{') scan->braces++;
  if (mark == '}' && scan->braces && --scan->braces == 0) scan->statements = 0;
  if (strchr(";,{}#", mark)) scan->operators = 0;
  else if (!hmoe_plain_is_space(mark) && mark != ')' && mark != ']' && mark != '.') scan->operators++;
  advance(scan);
}

bool hmoec_c_scan(hmoec_diagnostics *diagnostics, const char *file, const char *text, size_t size) {
  scanner scan = {.at = text, .end = text + size, .location = {.file = file, .line = 1, .column = 1}};
  while (scan.at < scan.end) {
    if (strncmp(scan.at, "//", 2) == 0) skip_past(&scan, "\n");
    else if (strncmp(scan.at, "/*", 2) == 0) skip_past(&scan, "*/");
    else if (*scan.at == '"' || *scan.at == '\'') skip_quoted(&scan);
    else if (hmoe_plain_is_alnum(*scan.at) || *scan.at == '_') scan_word(&scan);
    else if (*scan.at == '\0') advance(&scan);
    else scan_mark(&scan);
    if (scan.operators > HMOEC_C_MAX_OPERATORS)
      return hmoec_error(diagnostics, scan.location, "an expression of more than %d operators is not supported",
                         HMOEC_C_MAX_OPERATORS);
    if (scan.statements > HMOEC_C_MAX_STATEMENTS)
      return hmoec_error(diagnostics, scan.location, "a function of more than %d branches and loops is not supported",
                         HMOEC_C_MAX_STATEMENTS);
  }
  return true;
}
