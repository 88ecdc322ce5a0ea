/* Texts that have something as often as a limit allows, or once more, and what is said of them. */
#ifndef HMOE_TESTS_UNIT_LIMIT_TESTING_H
#define HMOE_TESTS_UNIT_LIMIT_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/diagnostics.h"

/* The latest message, and how many there were. */
typedef struct said {
  char text[256];
  hmoec_location at;
  size_t errors;
} said;

/* For hmoec_diagnostics_create_with; context: a said. */
static inline void keep_said(void *context, const hmoec_message *message) {
  said *s = context;
  snprintf(s->text, sizeof s->text, "%s", message->text);
  s->at = message->at;
  s->errors++;
}

/* That it was said of byte `offset` of a text; shown: what tells the text to people. */
static inline void said_check(const said *found, const char *file, const char *text, size_t offset, const char *message,
                              const char *shown) {
  unsigned line = 1, column = 1;
  for (size_t i = 0; i < offset; i++) {
    column = text[i] == '\n' ? 1 : column + 1;
    line += text[i] == '\n';
  }
  if (strcmp(found->text, message) != 0) fail_msg("%.60s: expected '%s', found '%s'", shown, message, found->text);
  assert_string_equal(found->at.file, file);
  if (found->at.line != line || found->at.column != column)
    fail_msg("%.60s: expected %u:%u, found %u:%u", shown, line, column, found->at.line, found->at.column);
}

/* `count` copies of `piece` between `before` and `after`; the caller frees it. out_size: its bytes, or NULL. */
static inline char *repeated(const char *before, const char *piece, size_t count, const char *after, size_t *out_size) {
  char *text = NULL;
  size_t size;
  FILE *stream = open_memstream(&text, &size);
  assert_non_null(stream);
  fputs(before, stream);
  for (size_t i = 0; i < count; i++) fputs(piece, stream);
  fputs(after, stream);
  fclose(stream);
  if (out_size) *out_size = size;
  return text;
}

#endif
