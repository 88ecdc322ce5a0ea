#include "library/load.h"

#include <stdio.h>
#include <stdlib.h>

#include <llvm-c/Core.h>
#include <llvm-c/Error.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>

#include "hmoe/abi.h"
#include "target/target.h"

struct hmoec_loaded {
  LLVMOrcLLJITRef jit;
};

/* Reports and consumes `error`; true if there was none. */
static bool succeeded(LLVMErrorRef error, const char *what, hmoec_diagnostics *diagnostics) {
  if (!error) return true;
  char *message = LLVMGetErrorMessage(error);
  hmoec_error(diagnostics, (hmoec_location){0}, "internal error loading generated code: %s: %s", what,
              message ? message : "no reason given");
  if (message) LLVMDisposeErrorMessage(message);
  return false;
}

void hmoec_loaded_destroy(hmoec_loaded *loaded) {
  if (!loaded) return;
  if (loaded->jit) {
    LLVMErrorRef error = LLVMOrcDisposeLLJIT(loaded->jit);
    if (error) LLVMConsumeError(error);
  }
  free(loaded);
}

bool hmoec_object_load(const char *name, const char *bytes, size_t size, hmoec_diagnostics *diagnostics, hmoec_loaded **out_loaded,
                       const struct hmoe_model_object **out_object) {
  *out_loaded = NULL;
  *out_object = NULL;
  char symbol[256];
  int written = snprintf(symbol, sizeof symbol, "%s_object", name);
  if (written < 0 || (size_t)written >= sizeof symbol) return hmoec_error(diagnostics, (hmoec_location){0}, "model name too long");
  hmoec_targets_initialise();
  hmoec_loaded *loaded = calloc(1, sizeof *loaded);
  if (!loaded) return hmoec_machine_error(diagnostics, "out of memory loading generated code");
  LLVMOrcDefinitionGeneratorRef process = NULL;
  LLVMOrcExecutorAddress address = 0;
  if (!succeeded(LLVMOrcCreateLLJIT(&loaded->jit, NULL), "no JIT", diagnostics)) {
    loaded->jit = NULL;
    goto failed;
  }
  if (!succeeded(
          LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(&process, LLVMOrcLLJITGetGlobalPrefix(loaded->jit), NULL, NULL),
          "symbols of the process", diagnostics))
    goto failed;
  LLVMOrcJITDylibRef library = LLVMOrcLLJITGetMainJITDylib(loaded->jit);
  LLVMOrcJITDylibAddGenerator(library, process);
  LLVMMemoryBufferRef buffer = LLVMCreateMemoryBufferWithMemoryRangeCopy(bytes, size, name); /* the JIT takes it */
  if (!succeeded(LLVMOrcLLJITAddObjectFile(loaded->jit, library, buffer), "adding the object", diagnostics)) goto failed;
  if (!succeeded(LLVMOrcLLJITLookup(loaded->jit, &address, symbol), "looking up the model", diagnostics)) goto failed;
  *out_object = (const hmoe_model_object *)(uintptr_t)address;
  *out_loaded = loaded;
  return true;
failed:
  hmoec_loaded_destroy(loaded);
  return false;
}
