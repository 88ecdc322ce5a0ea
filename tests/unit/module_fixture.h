/* What tests on modules share: a context with a sink, and a module parsed from text or a file. */
#ifndef HMOEC_TESTS_UNIT_MODULE_FIXTURE_H
#define HMOEC_TESTS_UNIT_MODULE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ir/context.h"
#include "ir/entry.h"
#include "ir/location.h"
#include "ir/ops.h"
#include "support/diagnostics.h"

typedef struct module_fixture {
  hmoec_diagnostics *diagnostics; /* collects; says on stderr what was not expected */
  MlirContext context;
  MlirModule module;
} module_fixture;

static inline void fixture_init(module_fixture *fixture, FILE *out) {
  *fixture = (module_fixture){.diagnostics = hmoec_diagnostics_create(out), .context = hmoec_context_create()};
  assert_non_null(fixture->diagnostics);
  assert_false(mlirContextIsNull(fixture->context));
  hmoec_diagnostics_attach(fixture->diagnostics, fixture->context);
}

static inline void fixture_deinit(module_fixture *fixture) {
  if (!mlirModuleIsNull(fixture->module)) mlirModuleDestroy(fixture->module);
  hmoec_context_destroy(fixture->context);
  hmoec_diagnostics_destroy(fixture->diagnostics);
}

/* Parses and verifies. */
static inline void fixture_parse(module_fixture *fixture, const char *text) {
  hmoec_diagnostics_add_source(fixture->diagnostics, "test.mlir", text, strlen(text));
  fixture->module = hmoec_module_parse(fixture->context, "test.mlir", text, strlen(text));
  assert_false(mlirModuleIsNull(fixture->module));
  assert_true(hmoec_verify(fixture->module, fixture->diagnostics));
}

static inline char *file_text(const char *path) {
  FILE *stream = fopen(path, "rb");
  assert_non_null(stream);
  char *text = calloc(1, 1 << 20);
  assert_non_null(text);
  assert_true(fread(text, 1, (1 << 20) - 1, stream) > 0);
  fclose(stream);
  return text;
}

#endif
