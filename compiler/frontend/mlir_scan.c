#include "frontend/mlir_scan.h"

#include <stdlib.h>
#include <string.h>

#include "plain_text.h"
#include "support/limits.h"
#include "support/name_map.h"

/* What an alias stands for when it is written out. */
typedef struct extent {
  size_t words;
  unsigned depth; /* of brackets */
} extent;

typedef struct scanner {
  hmoec_diagnostics *diagnostics;
  const char *file, *at, *end;
  const char *line_begin;
  unsigned line;
  char open[HMOEC_MLIR_MAX_DEPTH]; /* the brackets that are open */
  unsigned depth;
  char last;      /* of the word or mark before; 0 at the beginning */
  bool new_line;  /* since the word or mark before */
  size_t aliased; /* words that the uses of aliases so far stand for */
  hmoec_name_map names; /* of aliases, with their marks: "#a", "!t" */
  extent *aliases;
  size_t alias_capacity;
  extent *defining; /* the alias whose value is being read, or NULL */
} scanner;

static hmoec_location place(const scanner *scan, const char *at) {
  return (hmoec_location){.file = scan->file, .line = scan->line, .column = (unsigned)(at - scan->line_begin) + 1};
}

static char peek(const scanner *scan, size_t ahead) { return ahead < (size_t)(scan->end - scan->at) ? scan->at[ahead] : '\0'; }

/* A word or a mark: one more of what an alias stands for, which is `words` of them. */
static bool count(scanner *scan, const char *at, size_t words) {
  if (!scan->defining || (scan->defining->words += words) <= HMOEC_MLIR_MAX_ALIAS_WORDS) return true;
  return hmoec_error(scan->diagnostics, place(scan, at), "an alias stands for more than %d words", HMOEC_MLIR_MAX_ALIAS_WORDS);
}

static bool reach_depth(scanner *scan, const char *at, unsigned depth) {
  if (depth > HMOEC_MLIR_MAX_DEPTH)
    return hmoec_error(scan->diagnostics, place(scan, at), "brackets nest more than %d deep", HMOEC_MLIR_MAX_DEPTH);
  if (scan->defining && scan->defining->depth < depth) scan->defining->depth = depth;
  return true;
}

/* Text between quotes; MLIR itself says so where it does not end on its line. */
static bool scan_string(scanner *scan) {
  const char *begin = scan->at++;
  while (scan->at < scan->end && *scan->at != '"' && *scan->at != '\n')
    scan->at += *scan->at == '\\' && peek(scan, 1) != '\n' ? 2 : 1;
  if (scan->at < scan->end && *scan->at == '"') scan->at++;
  if (scan->at > scan->end) scan->at = scan->end;
  if (scan->at - begin > HMOEC_MLIR_MAX_STRING)
    return hmoec_error(scan->diagnostics, place(scan, begin), "a string of more than %d characters is not supported",
                       HMOEC_MLIR_MAX_STRING);
  return count(scan, begin, 1);
}

static bool is_word(char c) { return hmoe_plain_is_alnum(c) || c == '_' || c == '.' || c == '$'; }

/* i1234, si8, u16; also behind a dimension, as in 4xi32. */
static bool check_width(scanner *scan, const char *word, size_t length, bool dimension) {
  if (dimension)
    while (length && (*word == 'x' || hmoe_plain_is_digit(*word))) word++, length--;
  if (length && (*word == 's' || *word == 'u')) word++, length--;
  if (length < 2 || *word != 'i') return true;
  unsigned long bits = 0;
  for (size_t i = 1; i < length; i++) {
    if (!hmoe_plain_is_digit(word[i])) return true;
    bits = bits > HMOEC_MLIR_MAX_BITS ? bits : 10 * bits + (unsigned long)(word[i] - '0');
  }
  return bits <= HMOEC_MLIR_MAX_BITS ||
         hmoec_error(scan->diagnostics, place(scan, word), "an integer of more than %d bits is not supported", HMOEC_MLIR_MAX_BITS);
}

/* Digits, hexadecimal digits, a point, an exponent: what is one number to MLIR has no more of them than this. */
static bool check_numbers(scanner *scan, const char *word, size_t length) {
  size_t digits = 0;
  for (size_t i = 0; i < length; i++) {
    digits = hmoe_plain_is_hex_digit(word[i]) || word[i] == '.' ? digits + 1 : 0;
    if (digits > HMOEC_MLIR_MAX_NUMBER)
      return hmoec_error(scan->diagnostics, place(scan, word + i), "a number of more than %d digits is not supported",
                         HMOEC_MLIR_MAX_NUMBER);
  }
  return true;
}

static bool check_known(scanner *scan, const char *word, size_t length) {
  static const char *const refused[] = {"affine_map", "affine_set", "dense_resource", "opaque"};
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
    if (strlen(refused[i]) == length && memcmp(refused[i], word, length) == 0)
      return hmoec_error(scan->diagnostics, place(scan, word), "a model cannot hold '%s'", refused[i]);
  return true;
}

/* Behind a value's name, which of an op's results is meant: MLIR makes room for as many. */
static bool check_result(scanner *scan, const char *word, size_t length) {
  unsigned long number = 0;
  for (size_t i = 1; i < length && hmoe_plain_is_digit(word[i]) && number <= HMOEC_MLIR_MAX_RESULT; i++)
    number = 10 * number + (unsigned long)(word[i] - '0');
  return number <= HMOEC_MLIR_MAX_RESULT ||
         hmoec_error(scan->diagnostics, place(scan, word), "a result beyond number %d is not supported", HMOEC_MLIR_MAX_RESULT);
}

/* Aliases are defined before they are used, but for those of places, which stand for nothing until then. */
static bool scan_alias(scanner *scan, const char *word, size_t length) {
  const char *name = hmoec_arena_strndup(scan->names.arena, word, length);
  const char *next = scan->at;
  while (next < scan->end && hmoe_plain_is_space(*next)) next++;
  if (scan->depth == 0 && next < scan->end && *next == '=') {
    size_t known = scan->names.count, index = hmoec_name_map_add(&scan->names, name);
    if (known == scan->alias_capacity) {
      scan->alias_capacity = known ? 2 * known : 16;
      scan->aliases = hmoec_arena_grow(scan->names.arena, scan->aliases, known, scan->alias_capacity, sizeof *scan->aliases);
    }
    if (index == known) scan->aliases[index] = (extent){0}; /* MLIR refuses a second definition */
    scan->defining = &scan->aliases[index];
    return true;
  }
  size_t index = hmoec_name_map_find(&scan->names, name);
  if (index == HMOEC_NO_NAME) return count(scan, word, 1);
  extent alias = scan->aliases[index];
  scan->aliased += alias.words;
  if (scan->aliased > HMOEC_MLIR_MAX_ALIASED_WORDS)
    return hmoec_error(scan->diagnostics, place(scan, word), "aliases stand for more than %d words in all",
                       HMOEC_MLIR_MAX_ALIASED_WORDS);
  return reach_depth(scan, word, scan->depth + alias.depth) && count(scan, word, alias.words + 1);
}

static bool scan_word(scanner *scan) {
  const char *word = scan->at;
  char mark = strchr("#!%@^", *word) ? *word : '\0';
  if (mark) scan->at++;
  bool dashes = mark && !hmoe_plain_is_digit(peek(scan, 0)); /* such names may hold them */
  while (scan->at < scan->end && (is_word(*scan->at) || (dashes && *scan->at == '-'))) scan->at++;
  size_t length = (size_t)(scan->at - word);
  if (!check_numbers(scan, word, length)) return false;
  if (length > HMOEC_MLIR_MAX_WORD)
    return hmoec_error(scan->diagnostics, place(scan, word), "a name of more than %d characters is not supported",
                       HMOEC_MLIR_MAX_WORD);
  if (mark == '#' && length > 1 && hmoe_plain_is_digit(word[1])) return check_result(scan, word, length) && count(scan, word, 1);
  if ((mark == '#' || mark == '!') && !memchr(word, '.', length)) return scan_alias(scan, word, length);
  if (!mark && !(check_known(scan, word, length) &&
                 check_width(scan, word, length, hmoe_plain_is_digit(*word) || (*word == 'x' && strchr("?*]", scan->last)))))
    return false;
  return count(scan, word, 1);
}

/* A closing bracket that does not fit stays for MLIR to report, and leaves open what is open: no text seems flatter than it is. */
static bool scan_mark(scanner *scan) {
  static const char opening[] = "([{<", closing[] = ")]}>";
  const char *at = scan->at++, *found;
  if (*at == '{' && scan->at + 1 < scan->end && memcmp(scan->at, "-#", 2) == 0)
    return hmoec_error(scan->diagnostics, place(scan, at), "a model cannot hold resources");
  if (*at && (found = strchr(opening, *at))) {
    if (!reach_depth(scan, at, scan->depth + 1)) return false;
    scan->open[scan->depth++] = closing[found - opening];
  } else if (scan->depth && *at == scan->open[scan->depth - 1] && !(*at == '>' && scan->last == '-' && at[-1] == '-')) {
    scan->depth--;
  }
  return count(scan, at, 1);
}

static void skip_space(scanner *scan) {
  for (; scan->at < scan->end; scan->at++) {
    if (*scan->at == '\n') {
      scan->new_line = true;
      scan->line++;
      scan->line_begin = scan->at + 1;
    } else if (*scan->at == '/' && peek(scan, 1) == '/') {
      while (scan->at + 1 < scan->end && scan->at[1] != '\n') scan->at++;
    } else if (!hmoe_plain_is_space(*scan->at) && *scan->at != '\0') {
      return;
    }
  }
}

bool hmoec_mlir_scan(hmoec_diagnostics *diagnostics, const char *file, const char *text, size_t size) {
  scanner scan = {.diagnostics = diagnostics,
                  .file = file,
                  .at = text,
                  .end = text + size,
                  .line_begin = text,
                  .line = 1,
                  .names = {.arena = hmoec_arena_create()}};
  bool ok = true;
  for (skip_space(&scan); ok && scan.at < scan.end; skip_space(&scan)) {
    bool word = is_word(*scan.at) || strchr("#!%@^", *scan.at), quoted = *scan.at == '"';
    /* The value of an alias ends where a line begins with a word that nothing before asks for. */
    if (scan.defining && scan.new_line && scan.depth == 0 && (word || quoted) && !strchr(":=>-", scan.last)) scan.defining = NULL;
    scan.new_line = false;
    ok = quoted ? scan_string(&scan) : word ? scan_word(&scan) : scan_mark(&scan);
    scan.last = scan.at[-1];
  }
  hmoec_arena_destroy(scan.names.arena);
  return ok;
}
