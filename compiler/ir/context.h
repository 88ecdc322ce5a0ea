/* An MLIR context with everything the compiler uses: all upstream dialects, the LLVM translations and our two dialects, which are
 * loaded from the text of dialects/ that the build embeds. */
#ifndef HMOEC_IR_CONTEXT_H
#define HMOEC_IR_CONTEXT_H

#include <mlir-c/IR.h>

/* Makes x86-64 known to LLVM, once a process; from any thread. hmoec_context_create does it too. */
void hmoec_targets_initialise(void);

/* Null when a dialect does not load, which is our own bug; MLIR's message is then on stderr. Destroy with hmoec_context_destroy.
 * Multithreading is off: the same input gives the same output and the same order of messages. */
MlirContext hmoec_context_create(void);
void hmoec_context_destroy(MlirContext context);

/* Parses a text in our dialects or upstream ones; `file` names it in locations. Text that is not one module (functions at top level)
 * becomes one. Null on error, which MLIR reports to the context's handler (hmoec_diagnostics_attach). Destroy with mlirModuleDestroy. */
MlirModule hmoec_module_parse(MlirContext context, const char *file, const char *text, size_t size);

#endif
