#include "support/npy.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "content.h"
#include "plain_text.h"
#include "support/output_file.h"

/* The element types of files and what they become. */
static const struct npy_format {
  const char *descr;
  hmoec_npy_type type;
  size_t file_bytes, bytes;
} formats[] = {
    {"<f4", HMOEC_NPY_F32, 4, 4}, {"<i4", HMOEC_NPY_I32, 4, 4}, {"<i8", HMOEC_NPY_I64, 8, 8}, {"<f8", HMOEC_NPY_F32, 8, 4}};

enum { MAGIC_BYTES = 6, MAX_HEADER_BYTES = 1 << 16 };
static const char magic[] = "\x93NUMPY";

/* The header is a Python dictionary: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }. */
typedef struct header_parser {
  const char *at; /* NUL-terminated text */
  char descr[16];
  bool has_descr, has_order, has_shape, fortran, structured;
  int64_t rank, dims[HMOEC_NPY_MAX_RANK];
} header_parser;

static void skip_space(header_parser *parser) {
  while (hmoe_plain_is_space(*parser->at)) parser->at++;
}

static bool accept(header_parser *parser, const char *text) {
  skip_space(parser);
  size_t length = strlen(text);
  if (strncmp(parser->at, text, length) != 0) return false;
  parser->at += length;
  return true;
}

/* A quoted string without escapes; cut to fit is an error. */
static bool parse_string(header_parser *parser, char *out, size_t size) {
  skip_space(parser);
  char quote = *parser->at;
  if (quote != '\'' && quote != '"') return false;
  const char *end = strchr(parser->at + 1, quote);
  if (!end || (size_t)(end - parser->at) > size) return false;
  size_t length = (size_t)(end - parser->at - 1);
  memcpy(out, parser->at + 1, length);
  out[length] = '\0';
  parser->at = end + 1;
  return true;
}

static bool parse_shape(header_parser *parser) {
  if (!accept(parser, "(")) return false;
  while (!accept(parser, ")")) {
    skip_space(parser);
    if (!hmoe_plain_is_digit(*parser->at) || parser->rank == HMOEC_NPY_MAX_RANK) return false;
    char *end;
    errno = 0;
    parser->dims[parser->rank++] = strtoll(parser->at, &end, 10);
    if (errno) return false;
    parser->at = *end == 'L' ? end + 1 : end;
    if (accept(parser, ",")) continue;
    skip_space(parser);
    if (*parser->at != ')') return false;
  }
  return true;
}

static bool parse_header(header_parser *parser) {
  if (!accept(parser, "{")) return false;
  while (!accept(parser, "}")) {
    char key[32];
    if (!parse_string(parser, key, sizeof key) || !accept(parser, ":")) return false;
    bool *seen = strcmp(key, "descr") == 0           ? &parser->has_descr
                 : strcmp(key, "fortran_order") == 0 ? &parser->has_order
                 : strcmp(key, "shape") == 0         ? &parser->has_shape
                                                     : NULL;
    if (!seen || *seen) return false;
    *seen = true;
    if (seen == &parser->has_descr && !parse_string(parser, parser->descr, sizeof parser->descr)) {
      parser->structured = *parser->at == '[';
      return false;
    }
    if (seen == &parser->has_order && !(parser->fortran = accept(parser, "True")) && !accept(parser, "False")) return false;
    if (seen == &parser->has_shape && !parse_shape(parser)) return false;
    if (accept(parser, ",")) continue;
    skip_space(parser);
    if (*parser->at != '}') return false;
  }
  skip_space(parser);
  return *parser->at == '\0' && parser->has_descr && parser->has_order && parser->has_shape;
}

static uint32_t load_u32(const unsigned char *bytes, size_t count) {
  uint32_t value = 0;
  for (size_t i = count; i-- > 0;) value = value << 8 | bytes[i];
  return value;
}

static bool not_npy(FILE *stream, hmoec_diagnostics *diagnostics, hmoec_location location) {
  uint8_t start[512];
  char found[HMOE_CONTENT_CHARS];
  errno = 0;
  rewind(stream);
  size_t bytes = fread(start, 1, sizeof start, stream);
  if (errno) return hmoec_error(diagnostics, location, "cannot read: %s", strerror(errno));
  return hmoec_error(diagnostics, location, "expected a .npy file, found %s", hmoe_content_string(start, bytes, found));
}

/* Reads everything before the data. text: MAX_HEADER_BYTES + 1. */
static bool read_header(FILE *stream, header_parser *out_parser, char *text, hmoec_diagnostics *diagnostics,
                        hmoec_location location) {
  unsigned char start[MAGIC_BYTES + 2 + 4];
  if (fread(start, 1, MAGIC_BYTES + 2, stream) != MAGIC_BYTES + 2 || memcmp(start, magic, MAGIC_BYTES) != 0)
    return not_npy(stream, diagnostics, location);
  unsigned version = start[MAGIC_BYTES];
  if (version < 1 || version > 3) return hmoec_error(diagnostics, location, "expected .npy version 1, 2 or 3, found %u", version);
  size_t length_bytes = version == 1 ? 2 : 4;
  if (fread(start, 1, length_bytes, stream) != length_bytes)
    return hmoec_error(diagnostics, location, "the file ends in the header");
  uint32_t length = load_u32(start, length_bytes);
  if (length > MAX_HEADER_BYTES)
    return hmoec_error(diagnostics, location, "the header is %" PRIu32 " bytes long, expected at most %d", length,
                       MAX_HEADER_BYTES);
  if (fread(text, 1, length, stream) != length) return hmoec_error(diagnostics, location, "the file ends in the header");
  text[length] = '\0';
  *out_parser = (header_parser){.at = text};
  if (strlen(text) != length || !parse_header(out_parser))
    return hmoec_error(diagnostics, location,
                       out_parser->structured ? "expected an array of numbers, found a structured one: write one of its fields"
                                              : "the header is not understood");
  return true;
}

/* What the letter of an element type that is not read stands for, and what to write instead. */
static const struct foreign_format {
  char letter;
  const char *name, *instead;
} foreign[] = {{'f', "floating point", "<f4"},
               {'i', "integers", "<i8"},
               {'u', "unsigned integers", "<i8"},
               {'b', "booleans", "<i8"},
               {'c', "complex numbers", NULL},
               {'O', "Python objects", NULL},
               {'S', "text", NULL},
               {'U', "text", NULL},
               {'M', "dates", NULL},
               {'m', "times", NULL},
               {'V', "bytes of no type", NULL}};

static const struct npy_format *format_find(const header_parser *parser, hmoec_diagnostics *diagnostics, hmoec_location location) {
  if (parser->fortran)
    return hmoec_error(diagnostics, location,
                       "expected a C-ordered array, found Fortran order: write numpy.ascontiguousarray(array)"),
           NULL;
  for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
    if (strcmp(formats[i].descr, parser->descr) == 0) return &formats[i];
  const char *descr = parser->descr;
  const struct foreign_format *kind = NULL;
  for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
    if (*descr && descr[1] == foreign[i].letter) kind = &foreign[i];
  bool big = *descr == '>';
  hmoec_error(diagnostics, location, "expected elements <f4, <i4, <i8 or <f8, found %s%s%s%s%s%s%s", descr, kind || big ? ": " : "",
              big ? "big-endian " : "",
              kind  ? kind->name
              : big ? "numbers"
                    : "",
              kind && kind->instead ? "; write array.astype('" : "", kind && kind->instead ? kind->instead : "",
              kind && kind->instead ? "')" : "");
  return NULL;
}

static void narrow(void *data, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    double value;
    memcpy(&value, (char *)data + (size_t)i * sizeof value, sizeof value);
    float narrowed = (float)value;
    memcpy((char *)data + (size_t)i * sizeof narrowed, &narrowed, sizeof narrowed); /* never ahead of what is still to be read */
  }
}

static bool read_data(FILE *stream, const header_parser *parser, const struct npy_format *format, hmoec_npy *out_array,
                      hmoec_diagnostics *diagnostics, hmoec_location location) {
  *out_array = (hmoec_npy){.type = format->type, .rank = parser->rank, .elements = 1};
  memcpy(out_array->dims, parser->dims, sizeof parser->dims);
  int64_t file_bytes;
  for (int64_t i = 0; i < parser->rank; i++)
    if (__builtin_mul_overflow(out_array->elements, parser->dims[i], &out_array->elements))
      return hmoec_error(diagnostics, location, "the array is too large");
  if (__builtin_mul_overflow(out_array->elements, (int64_t)format->file_bytes, &file_bytes))
    return hmoec_error(diagnostics, location, "the array is too large");
  /* The size is believed only if the file has it. */
  long begin = ftell(stream);
  if (begin < 0 || fseek(stream, 0, SEEK_END) != 0) return hmoec_error(diagnostics, location, "cannot read: %s", strerror(errno));
  int64_t found = ftell(stream) - begin;
  if (found != file_bytes)
    return hmoec_error(diagnostics, location, "expected %" PRId64 " bytes of data, found %" PRId64, file_bytes, found);
  if (fseek(stream, begin, SEEK_SET) != 0) return hmoec_error(diagnostics, location, "cannot read: %s", strerror(errno));
  out_array->data = malloc(file_bytes ? (size_t)file_bytes : 1);
  if (!out_array->data) return hmoec_machine_error(diagnostics, "%s: no memory for %" PRId64 " bytes", location.file, file_bytes);
  if (fread(out_array->data, 1, (size_t)file_bytes, stream) != (size_t)file_bytes)
    return hmoec_error(diagnostics, location, "cannot read: %s", strerror(errno));
  if (format->file_bytes != format->bytes) narrow(out_array->data, out_array->elements);
  out_array->size_bytes = (size_t)out_array->elements * format->bytes;
  return true;
}

/* A pipe would be waited for, and its size is not known. */
static FILE *open_regular(const char *path, hmoec_diagnostics *diagnostics, hmoec_location location) {
  struct stat info;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  FILE *stream = NULL;
  if (fd < 0 || fstat(fd, &info) != 0)
    hmoec_error(diagnostics, location, "cannot open: %s%s", strerror(errno), errno == ENOENT ? hmoe_path_hint(path) : "");
  else if (!S_ISREG(info.st_mode))
    hmoec_error(diagnostics, location, "expected a .npy file, found a %s",
                S_ISDIR(info.st_mode) ? "directory" : "device, pipe or socket");
  else if (!(stream = fdopen(fd, "rb"))) hmoec_machine_error(diagnostics, "%s: %s", path, strerror(errno));
  if (!stream && fd >= 0) close(fd);
  return stream;
}

bool hmoec_npy_read(const char *path, hmoec_diagnostics *diagnostics, hmoec_npy *out_array) {
  hmoec_location location = {.file = path};
  *out_array = (hmoec_npy){0};
  FILE *stream = open_regular(path, diagnostics, location);
  if (!stream) return false;
  bool ok = false;
  header_parser parser;
  char *text = malloc(MAX_HEADER_BYTES + 1);
  if (!text) hmoec_machine_error(diagnostics, "%s: out of memory", path);
  else if (read_header(stream, &parser, text, diagnostics, location)) {
    const struct npy_format *format = format_find(&parser, diagnostics, location);
    ok = format && read_data(stream, &parser, format, out_array, diagnostics, location);
  }
  if (!ok) hmoec_npy_deinit(out_array);
  free(text);
  fclose(stream);
  return ok;
}

void hmoec_npy_deinit(hmoec_npy *array) {
  free(array->data);
  *array = (hmoec_npy){0};
}

void hmoec_npy_print(hmoec_output_file *file, hmoec_npy_type type, int64_t rank, const int64_t *dims, const void *data) {
  char header[512];
  size_t used = (size_t)snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (", formats[type].descr);
  size_t size_bytes = formats[type].bytes;
  for (int64_t i = 0; i < rank; i++) {
    used += (size_t)snprintf(header + used, sizeof header - used, "%s%" PRId64, i ? ", " : "", dims[i]);
    size_bytes *= (size_t)dims[i];
  }
  used += (size_t)snprintf(header + used, sizeof header - used, "%s), }", rank == 1 ? "," : "");
  /* Magic, version, length and header together are a multiple of 64, the header ends in a newline. */
  while ((MAGIC_BYTES + 4 + used + 1) % 64) header[used++] = ' ';
  header[used++] = '\n';
  const unsigned char start[] = {1, 0, (unsigned char)used, 0}; /* of HMOEC_NPY_MAX_RANK dims no more than 246 */
  hmoec_output_file_write(file, magic, MAGIC_BYTES);
  hmoec_output_file_write(file, start, sizeof start);
  hmoec_output_file_write(file, header, used);
  hmoec_output_file_write(file, data, size_bytes);
}

bool hmoec_npy_write(const char *path, hmoec_npy_type type, int64_t rank, const int64_t *dims, const void *data,
                     hmoec_diagnostics *diagnostics) {
  hmoec_output_file file;
  if (!hmoec_output_file_open(path, diagnostics, &file)) return false;
  hmoec_npy_print(&file, type, rank, dims, data);
  return hmoec_output_files_commit(&file, 1);
}
