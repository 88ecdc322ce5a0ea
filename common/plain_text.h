/* Text as the locale "C" has it, whatever the process has chosen: a number is read and written with a point, a letter is one of ASCII.
 *
 * An application may call setlocale before us or while we work, and then strtod("0.5") is 0 and printf("%g") writes 0,5. So everything here
 * that asks the C library does so while the calling thread has the locale "C", and gives the thread its own back; no callback of a caller
 * runs in between. Compiler, command line and runtime read and write numbers through these functions alone: tests/cli/plain_text.py
 * looks for others in their sources. */
#ifndef HMOE_PLAIN_TEXT_H
#define HMOE_PLAIN_TEXT_H

#include <cjson/cJSON.h>
#include <locale.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* The C library keeps the locale "C" for good: this allocates nothing and does not fail. Returns what the thread had. */
static inline locale_t hmoe_plain_enter(void) { return uselocale(newlocale(LC_ALL_MASK, "C", (locale_t)0)); }
static inline void hmoe_plain_leave(locale_t previous) { uselocale(previous); }

/* strtod */
static inline double hmoe_plain_number(const char *text, char **out_end) {
  locale_t previous = hmoe_plain_enter();
  double number = strtod(text, out_end);
  hmoe_plain_leave(previous);
  return number;
}

/* vsnprintf, snprintf and fprintf */
__attribute__((format(printf, 3, 0))) static inline int hmoe_plain_vformat(char *out, size_t size, const char *format,
                                                                           va_list arguments) {
  locale_t previous = hmoe_plain_enter();
  int length = vsnprintf(out, size, format, arguments);
  hmoe_plain_leave(previous);
  return length;
}

__attribute__((format(printf, 3, 4))) static inline int hmoe_plain_format(char *out, size_t size, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int length = hmoe_plain_vformat(out, size, format, arguments);
  va_end(arguments);
  return length;
}

__attribute__((format(printf, 2, 3))) static inline int hmoe_plain_print(FILE *file, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  locale_t previous = hmoe_plain_enter();
  int length = vfprintf(file, format, arguments);
  hmoe_plain_leave(previous);
  va_end(arguments);
  return length;
}

/* cJSON_ParseWithLengthOpts, cJSON_Print and cJSON_PrintUnformatted: cJSON reads and writes numbers by the C library. */
static inline cJSON *hmoe_plain_json_parse(const char *text, size_t size, const char **out_end, bool to_the_nul) {
  locale_t previous = hmoe_plain_enter();
  cJSON *value = cJSON_ParseWithLengthOpts(text, size, out_end, to_the_nul);
  hmoe_plain_leave(previous);
  return value;
}

static inline char *hmoe_plain_json_print(const cJSON *value, bool lines) {
  locale_t previous = hmoe_plain_enter();
  char *text = lines ? cJSON_Print(value) : cJSON_PrintUnformatted(value);
  hmoe_plain_leave(previous);
  return text;
}

static inline bool hmoe_plain_is_digit(char c) { return c >= '0' && c <= '9'; }
static inline bool hmoe_plain_is_upper(char c) { return c >= 'A' && c <= 'Z'; }
static inline bool hmoe_plain_is_alnum(char c) {
  return hmoe_plain_is_digit(c) || (c >= 'a' && c <= 'z') || hmoe_plain_is_upper(c);
}
static inline bool hmoe_plain_is_hex_digit(char c) {
  return hmoe_plain_is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
static inline bool hmoe_plain_is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static inline char hmoe_plain_upper(char c) { return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c; }

#endif
