/* The diagnostic sink: formats a message, shows the line it is about with a caret under the column, counts, and keeps the worst
 * failure class. */
#include "support/diagnostics.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "plain_text.h"

enum { MAX_PRINTED_ERRORS = 20, MAX_PRINTED_WARNINGS = 100, MAX_SHOWN_CHARS = 160, MAX_SOURCE_BYTES = 64 << 20 };

typedef struct source_text {
  struct source_text *next;
  char *file;
  char *text; /* NULL: not readable, do not try again */
  size_t size;
} source_text;

struct hmoec_diagnostics {
  hmoec_message_fn message; /* may be NULL */
  void *context;
  source_text *sources;
  char *first; /* text of the first error, or NULL */
  unsigned errors, warnings;
  bool hidden; /* the last error or warning was not passed on */
  hmoec_status status;
};

static const char *const severity_names[] = {[HMOEC_ERROR] = "error", [HMOEC_WARNING] = "warning", [HMOEC_NOTE] = "note"};

hmoec_diagnostics *hmoec_diagnostics_create_with(hmoec_message_fn message, void *context) {
  hmoec_diagnostics *diagnostics = calloc(1, sizeof *diagnostics);
  if (diagnostics) *diagnostics = (hmoec_diagnostics){.message = message, .context = context};
  return diagnostics;
}

hmoec_diagnostics *hmoec_diagnostics_create(FILE *out) {
  return hmoec_diagnostics_create_with(out ? hmoec_message_print : NULL, out);
}

static void source_destroy(source_text *source) {
  if (!source) return;
  free(source->file);
  free(source->text);
  free(source);
}

void hmoec_diagnostics_destroy(hmoec_diagnostics *diagnostics) {
  if (!diagnostics) return;
  for (source_text *source = diagnostics->sources, *next; source; source = next) {
    next = source->next;
    source_destroy(source);
  }
  free(diagnostics->first);
  free(diagnostics);
}

/* Takes ownership of text. NULL when memory is short. */
static source_text *source_add(hmoec_diagnostics *diagnostics, const char *file, char *text, size_t size) {
  source_text *source = calloc(1, sizeof *source);
  if (!source || !(source->file = strdup(file))) {
    free(text);
    source_destroy(source);
    return NULL;
  }
  source->text = text;
  source->size = size;
  source->next = diagnostics->sources;
  diagnostics->sources = source;
  return source;
}

void hmoec_diagnostics_add_source(hmoec_diagnostics *diagnostics, const char *file, const char *text, size_t size) {
  char *copy = malloc(size);
  if (!copy) return; /* the message is then printed without its line */
  memcpy(copy, text, size);
  source_add(diagnostics, file, copy, size);
}

static char *file_read(const char *file, size_t *out_size) {
  struct stat info;
  if (stat(file, &info) != 0 || !S_ISREG(info.st_mode)) return NULL; /* a pipe would be waited for */
  FILE *stream = fopen(file, "rb");
  if (!stream) return NULL;
  char *text = NULL;
  long length = -1;
  if (fseek(stream, 0, SEEK_END) == 0) length = ftell(stream);
  if (length >= 0 && length <= MAX_SOURCE_BYTES && fseek(stream, 0, SEEK_SET) == 0 && (text = malloc((size_t)length)))
    *out_size = fread(text, 1, (size_t)length, stream);
  fclose(stream);
  return text;
}

static const source_text *source_find(hmoec_diagnostics *diagnostics, const char *file) {
  for (source_text *source = diagnostics->sources; source; source = source->next)
    if (strcmp(source->file, file) == 0) return source;
  size_t size = 0;
  char *text = file_read(file, &size);
  return source_add(diagnostics, file, text, size);
}

/* The line at a place; NULL: not known. */
static const char *source_line(hmoec_diagnostics *diagnostics, hmoec_location location, size_t *out_size) {
  const source_text *source = location.file && location.line ? source_find(diagnostics, location.file) : NULL;
  if (!source || !source->text) return NULL;
  const char *line = source->text, *end = source->text + source->size;
  for (unsigned i = 1; i < location.line; i++) {
    line = memchr(line, '\n', (size_t)(end - line));
    if (!line) return NULL;
    line++;
  }
  const char *line_end = memchr(line, '\n', (size_t)(end - line));
  size_t length = (size_t)((line_end ? line_end : end) - line);
  if (length && line[length - 1] == '\r') length--;
  *out_size = length;
  return line;
}

static bool is_control(char c) { return (unsigned char)c < 0x20 || c == 0x7f; }

/* Bytes of the UTF-8 character at `at`; 0: it is none. */
static size_t character_length(const char *at, size_t left) {
  unsigned char first = (unsigned char)*at;
  size_t length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (length > left) return 0;
  for (size_t i = 1; i < length; i++)
    if (((unsigned char)at[i] & 0xc0) != 0x80) return 0;
  return length;
}

/* A message is one line, whatever names and values are in it: control characters are written as C writes them. */
static void print_escaped(FILE *out, const char *text) {
  for (; *text; text++) {
    if (*text == '\n') fputs("\\n", out);
    else if (*text == '\t') fputs("\\t", out);
    else if (is_control(*text)) fprintf(out, "\\x%02x", (unsigned)(unsigned char)*text);
    else fputc(*text, out);
  }
}

/* The line, with what a terminal would not show or would obey as question marks. */
static void print_caret_line(FILE *out, const hmoec_message *message) {
  const char *line = message->source;
  size_t length = message->source_bytes, column = message->at.column ? message->at.column - 1 : 0;
  if (column > length) column = length;
  if (length > MAX_SHOWN_CHARS) {
    size_t skipped = column > MAX_SHOWN_CHARS / 2 ? column - MAX_SHOWN_CHARS / 2 : 0;
    line += skipped;
    column -= skipped;
    length = length - skipped < MAX_SHOWN_CHARS ? length - skipped : MAX_SHOWN_CHARS;
  }
  for (size_t i = 0, step; i < length; i += step) {
    step = character_length(line + i, length - i);
    if (!step || is_control(line[i])) fputc(line[i] == '\t' ? '\t' : '?', out);
    else fwrite(line + i, 1, step, out);
    if (!step) step = 1;
  }
  fputc('\n', out);
  if (!message->at.column) return;
  for (size_t i = 0, step; i < column; i += step) {
    step = character_length(line + i, length - i);
    fputc(line[i] == '\t' ? '\t' : ' ', out);
    if (!step) step = 1;
  }
  fputs("^\n", out);
}

void hmoec_message_print(void *file, const hmoec_message *message) {
  FILE *out = file;
  if (!out || !message || !message->text || (unsigned)message->severity >= sizeof severity_names / sizeof *severity_names) return;
  hmoec_location at = message->at;
  print_escaped(out, at.file ? at.file : "hmoec");
  if (at.file && at.line) fprintf(out, ":%u", at.line);
  if (at.file && at.line && at.column) fprintf(out, ":%u", at.column);
  fprintf(out, ": %s: ", severity_names[message->severity]);
  print_escaped(out, message->text);
  fputc('\n', out);
  if (message->source) print_caret_line(out, message);
}

static void pass_on(hmoec_diagnostics *diagnostics, hmoec_severity severity, hmoec_status status, hmoec_location location,
                    const char *text) {
  hmoec_message message = {.severity = severity, .status = status, .at = location, .text = text};
  bool is_error = severity == HMOEC_ERROR;
  unsigned count = is_error ? diagnostics->errors : diagnostics->warnings,
           most = is_error ? MAX_PRINTED_ERRORS : MAX_PRINTED_WARNINGS;
  /* Notes belong to what is before them and vanish with it. */
  if (severity != HMOEC_NOTE) diagnostics->hidden = count > most;
  if (diagnostics->hidden) {
    if (severity == HMOEC_NOTE || count != most + 1) return;
    message =
        (hmoec_message){.severity = HMOEC_NOTE,
                        .text = is_error ? "too many errors, the rest is not shown" : "too many warnings, the rest is not shown"};
  }
  message.source = source_line(diagnostics, message.at, &message.source_bytes);
  diagnostics->message(diagnostics->context, &message);
}

static void report_text(hmoec_diagnostics *diagnostics, hmoec_severity severity, hmoec_status status, hmoec_location location,
                        const char *text) {
  if (severity == HMOEC_ERROR) {
    diagnostics->errors++;
    if (status > diagnostics->status) diagnostics->status = status;
    if (!diagnostics->first) diagnostics->first = strdup(text);
  }
  if (severity == HMOEC_WARNING) diagnostics->warnings++;
  if (diagnostics->message) pass_on(diagnostics, severity, status, location, text);
}

static void report(hmoec_diagnostics *diagnostics, hmoec_severity severity, hmoec_status status, hmoec_location location,
                   const char *format, va_list arguments) {
  char small[512];
  va_list again;
  va_copy(again, arguments);
  int length = hmoe_plain_vformat(small, sizeof small, format, arguments);
  char *large = length >= (int)sizeof small ? malloc((size_t)length + 1) : NULL;
  if (large) hmoe_plain_vformat(large, (size_t)length + 1, format, again);
  va_end(again);
  report_text(diagnostics, severity, status, location, large ? large : length < 0 ? format : small);
  free(large);
}

bool hmoec_error(hmoec_diagnostics *diagnostics, hmoec_location location, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  report(diagnostics, HMOEC_ERROR, HMOEC_INPUT_ERROR, location, format, arguments);
  va_end(arguments);
  return false;
}

void hmoec_warning(hmoec_diagnostics *diagnostics, hmoec_location location, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  report(diagnostics, HMOEC_WARNING, HMOEC_OK, location, format, arguments);
  va_end(arguments);
}

void hmoec_note(hmoec_diagnostics *diagnostics, hmoec_location location, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  report(diagnostics, HMOEC_NOTE, HMOEC_OK, location, format, arguments);
  va_end(arguments);
}

bool hmoec_machine_error(hmoec_diagnostics *diagnostics, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  report(diagnostics, HMOEC_ERROR, HMOEC_MACHINE_ERROR, (hmoec_location){0}, format, arguments);
  va_end(arguments);
  return false;
}

bool hmoec_usage_error(hmoec_diagnostics *diagnostics, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  report(diagnostics, HMOEC_ERROR, HMOEC_USAGE_ERROR, (hmoec_location){0}, format, arguments);
  va_end(arguments);
  return false;
}

/* The length of the path that a message of the runtime begins with, before ": "; 0: it begins with none. missing: there may be no such file. */
static size_t path_length(const char *text, bool missing) {
  const char *first = strstr(text, ": ");
  size_t length = missing && first ? (size_t)(first - text) : 0;
  for (const char *colon = first; colon; colon = strstr(colon + 1, ": ")) {
    struct stat info;
    char *path = strndup(text, (size_t)(colon - text));
    bool there = path && lstat(path, &info) == 0;
    free(path);
    if (there) return (size_t)(colon - text);
  }
  return length;
}

bool hmoec_runtime_error(hmoec_diagnostics *diagnostics, hmoe_status status) {
  const char *text = hmoe_last_error();
  if (status == HMOE_UNSUPPORTED || status == HMOE_OUT_OF_MEMORY || status == HMOE_DEVICE_FAILED)
    return hmoec_machine_error(diagnostics, "%s", text);
  bool of_file = status == HMOE_IO_ERROR || status == HMOE_INVALID_WEIGHTS || status == HMOE_INCOMPATIBLE;
  size_t length = of_file ? path_length(text, status == HMOE_IO_ERROR) : 0;
  char *file = length ? strndup(text, length) : NULL;
  hmoec_error(diagnostics, (hmoec_location){.file = file}, "%s", file ? text + length + 2 : text);
  free(file);
  return false;
}

unsigned hmoec_diagnostics_errors(const hmoec_diagnostics *diagnostics) { return diagnostics->errors; }
hmoec_status hmoec_diagnostics_status(const hmoec_diagnostics *diagnostics) { return diagnostics->status; }

void hmoec_diagnostics_forget(hmoec_diagnostics *diagnostics) {
  free(diagnostics->first);
  diagnostics->first = NULL;
  diagnostics->errors = diagnostics->warnings = 0;
  diagnostics->hidden = false;
  diagnostics->status = HMOEC_OK;
}

void hmoec_diagnostics_count(hmoec_diagnostics *diagnostics, hmoec_status status) {
  diagnostics->errors++;
  if (status > diagnostics->status) diagnostics->status = status;
}

const char *hmoec_diagnostics_first(const hmoec_diagnostics *diagnostics) { return diagnostics->first ? diagnostics->first : ""; }

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

/* Characters to change, leave out, add or swap with the next, whatever the case; by three rows of the table. Names longer than a row are
 * never close. */
static size_t edit_distance(const char *a, const char *b) {
  enum { MAX_NAME = 128 };
  size_t a_length = strlen(a), b_length = strlen(b);
  if (a_length >= MAX_NAME || b_length >= MAX_NAME) return SIZE_MAX;
  size_t rows[3][MAX_NAME];
  for (size_t j = 0; j <= b_length; j++) rows[0][j] = j;
  for (size_t i = 1; i <= a_length; i++) {
    size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *two_above = rows[(i + 1) % 3];
    row[0] = i;
    for (size_t j = 1; j <= b_length; j++) {
      char x = lower(a[i - 1]), y = lower(b[j - 1]);
      size_t best = above[j - 1] + (x != y);
      if (above[j] + 1 < best) best = above[j] + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      bool swapped = i > 1 && j > 1 && x == lower(b[j - 2]) && y == lower(a[i - 2]);
      if (swapped && two_above[j - 2] + 1 < best) best = two_above[j - 2] + 1;
      row[j] = best;
    }
  }
  return rows[a_length % 3][b_length];
}

const char *hmoec_closest_name(const char *name, const char *const *names, size_t count) {
  size_t limit = strlen(name) / 3;
  size_t best = limit < 1 ? 1 : limit;
  const char *closest = NULL;
  for (size_t i = 0; i < count; i++) {
    size_t distance = edit_distance(name, names[i]);
    if (distance > best || (closest && distance == best)) continue;
    best = distance;
    closest = names[i];
  }
  return closest;
}
