/* Any bytes as a C file whose function f is an activation: it is refused with a message, or becomes a function of scalars that is valid. In
 * this process, so that coverage counts: what clang itself cannot stand is the business of hmoec-c-reader (tests/cli/hostile_c.test), and inputs are
 * short, so that there is little of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "frontend/c_function.h"
#include "frontend/c_scan.h"
#include "fuzz/target.h"
#include "ir/context.h"
#include "ir/location.h"
#include "ir/scalar.h"
#include "support/diagnostics.h"

bool fuzz_accepts(const uint8_t *data, size_t size) {
  enum { CONTEXT_INPUTS = 500, MAX_BYTES = 4096 };
  static MlirContext context;
  static unsigned inputs;
  if (size > MAX_BYTES) return false;
  if (inputs++ % CONTEXT_INPUTS == 0) {
    if (context.ptr) hmoec_context_destroy(context);
    context = hmoec_context_create();
  }
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  int file = memfd_create("fuzz.c", MFD_CLOEXEC);
  char *text = malloc(size + 1), path[64];
  if (!diagnostics || !context.ptr || !text || file < 0 || write(file, data, size) != (ssize_t)size) abort();
  if (size) memcpy(text, data, size);
  text[size] = 0;
  snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  MlirDiagnosticHandlerID handler = hmoec_diagnostics_attach(diagnostics, context);
  MlirOperation function;
  bool accepted = hmoec_c_scan(diagnostics, path, text, size) &&
                  hmoec_c_function_read(context, diagnostics, (hmoec_location){.file = "fuzz.spec", .line = 1, .column = 1}, path,
                                        "f", NULL, "an activation", 1u << 1 | 1u << 2, &function);
  if (accepted != (hmoec_diagnostics_errors(diagnostics) == 0)) abort();
  if (accepted) {
    if (!mlirOperationVerify(function) || !hmoec_is_scalar_function(function)) abort();
    mlirOperationDestroy(function);
  }
  mlirContextDetachDiagnosticHandler(context, handler);
  hmoec_diagnostics_destroy(diagnostics);
  free(text);
  close(file);
  return accepted;
}
