/* What the tests of the spec language share: a spec in memory to the printed module, or to the messages about it. */
#ifndef HMOE_TESTS_UNIT_SPEC_TESTING_H
#define HMOE_TESTS_UNIT_SPEC_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "frontend/builder.h"
#include "frontend/load.h"
#include "frontend/spec.h"
#include "ir/context.h"

/* A file that only exists in a test. */
typedef struct test_file {
  const char *name, *text;
} test_file;

static inline const char *test_files_read(void *user, hmoec_arena *arena, const char *path, size_t *out_size,
                                          const char **out_reason) {
  (void)arena;
  (void)out_reason;
  for (const test_file *file = user; file && file->name; file++) {
    if (strcmp(file->name, path) != 0) continue;
    *out_size = strlen(file->text);
    return file->text;
  }
  return NULL;
}

static inline MlirContext test_context(void) {
  static MlirContext context;
  if (!context.ptr) context = hmoec_context_create();
  assert_non_null(context.ptr);
  return context;
}

static inline void test_print(MlirStringRef piece, void *user) { fwrite(piece.data, 1, piece.length, user); }

typedef struct test_result {
  bool built;
  char *messages, *ir; /* owned; ir is "" where nothing was built */
  unsigned errors;
  hmoec_status failure;
} test_result;

static inline void test_result_deinit(test_result *result) {
  free(result->messages);
  free(result->ir);
}

/* Loads `path` from the file system, or `text` under the name m.spec; files: what it may include, ends in a row of NULL. */
static inline test_result test_build(const char *path, const char *text, size_t size, const test_file *files,
                                     const hmoec_define *defines, size_t define_count) {
  test_result result = {0};
  size_t messages_size, ir_size;
  FILE *messages = open_memstream(&result.messages, &messages_size), *ir = open_memstream(&result.ir, &ir_size);
  assert_true(messages && ir);
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(messages);
  assert_non_null(diagnostics);
  MlirModule module = {NULL};
  const hmoec_spec_reader reader = {.read = test_files_read, .user = (void *)(uintptr_t)files};
  const hmoec_load_options options = {.defines = defines, .define_count = define_count};
  if (path) result.built = hmoec_load_model(test_context(), path, &options, diagnostics, &module);
  else result.built = hmoec_spec_build(test_context(), diagnostics, &reader, "m.spec", text, size, &options, &module);
  if (result.built) {
    MlirOpPrintingFlags flags = mlirOpPrintingFlagsCreate();
    mlirOperationPrintWithFlags(mlirModuleGetOperation(module), flags, test_print, ir);
    mlirOpPrintingFlagsDestroy(flags);
    mlirModuleDestroy(module);
  }
  result.errors = hmoec_diagnostics_errors(diagnostics);
  result.failure = hmoec_diagnostics_status(diagnostics);
  hmoec_diagnostics_destroy(diagnostics);
  fclose(messages);
  fclose(ir);
  return result;
}

static inline void test_expect(const char *text, const char *wanted, const char *shown) {
  if (strstr(text, wanted)) return;
  print_error("expected \"%s\" in\n%s\n%s\n", wanted, text, shown);
  fail();
}

static inline void test_refuse(const char *text, const char *unwanted) {
  if (!strstr(text, unwanted)) return;
  print_error("did not expect \"%s\" in\n%s\n", unwanted, text);
  fail();
}

/* Looks for several texts in order. */
static inline void test_expect_in_order(const char *text, const char *const *wanted) {
  const char *at = text;
  for (; *wanted; wanted++) {
    const char *found = strstr(at, *wanted);
    if (!found) {
      print_error("expected \"%s\" next in\n%s\n", *wanted, text);
      fail();
    }
    at = found + strlen(*wanted);
  }
}

#endif
