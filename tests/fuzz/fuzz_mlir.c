/* Any bytes as the MLIR text of a model: it is refused with a message, or read and checked. */
#include <stdlib.h>

#include "frontend/mlir_scan.h"
#include "fuzz/target.h"
#include "ir/context.h"
#include "ir/location.h"
#include "ir/ops.h"
#include "support/diagnostics.h"

bool fuzz_accepts(const uint8_t *data, size_t size) {
  enum { CONTEXT_INPUTS = 500 }; /* a context keeps all names and types that it has seen */
  static MlirContext context;
  static unsigned inputs;
  if (inputs++ % CONTEXT_INPUTS == 0) {
    if (context.ptr) hmoec_context_destroy(context);
    context = hmoec_context_create();
  }
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  if (!diagnostics || !context.ptr) abort();
  MlirDiagnosticHandlerID handler = hmoec_diagnostics_attach(diagnostics, context);
  MlirModule module = {NULL};
  bool read = hmoec_mlir_scan(diagnostics, "fuzz.mlir", (const char *)data, size);
  if (read) module = hmoec_module_parse(context, "fuzz.mlir", (const char *)data, size);
  else if (!hmoec_diagnostics_errors(diagnostics)) abort();
  bool accepted = !mlirModuleIsNull(module) && hmoec_verify(module, diagnostics);
  if (!mlirModuleIsNull(module)) {
    if (accepted != (hmoec_diagnostics_errors(diagnostics) == 0)) abort();
    mlirModuleDestroy(module);
  }
  mlirContextDetachDiagnosticHandler(context, handler);
  hmoec_diagnostics_destroy(diagnostics);
  return accepted;
}
