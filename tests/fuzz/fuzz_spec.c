/* Any bytes as a spec: the front end reports or builds, and what it builds verifies. An include gives the same bytes again, under
 * another name. A spec that speaks of d_model has it overridden. */
#include <stdlib.h>
#include <string.h>

#include "frontend/spec.h"
#include "fuzz/target.h"
#include "ir/context.h"
#include "ir/location.h"
#include "support/diagnostics.h"

typedef struct fuzz_text {
  const char *text;
  size_t size;
} fuzz_text;

static const char *read_again(void *user, hmoec_arena *arena, const char *path, size_t *out_size, const char **out_reason) {
  const fuzz_text *again = user;
  (void)arena;
  (void)path;
  (void)out_reason;
  *out_size = again->size;
  return again->text;
}

bool fuzz_accepts(const uint8_t *data, size_t size) {
  static MlirContext context;
  if (!context.ptr) context = hmoec_context_create();
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  if (!diagnostics || !context.ptr) abort();
  MlirDiagnosticHandlerID handler = hmoec_diagnostics_attach(diagnostics, context);
  fuzz_text again = {.text = (const char *)data, .size = size};
  const hmoec_spec_reader reader = {.read = read_again, .user = &again};
  const hmoec_define define = {.name = "d_model", .value = "32"};
  const hmoec_load_options options = {.defines = &define, .define_count = size && memmem(data, size, "d_model", strlen("d_model"))};
  MlirModule module = {NULL};
  bool built = hmoec_spec_build(context, diagnostics, &reader, "fuzz.spec", again.text, size, &options, &module);
  if (built != (hmoec_diagnostics_errors(diagnostics) == 0)) abort();
  if (built) {
    hmoec_verify(module, diagnostics);
    mlirModuleDestroy(module);
  }
  mlirContextDetachDiagnosticHandler(context, handler);
  hmoec_diagnostics_destroy(diagnostics);
  return built;
}
