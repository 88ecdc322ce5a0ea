/* An MLIR context with the dialects that text may hold: our two, which are loaded from the text of dialects/ that the build embeds, func,
 * and those of scalar functions. What code generation needs besides is added behind the last text: no other parser sees any. */
#ifndef HMOEC_IR_CONTEXT_H
#define HMOEC_IR_CONTEXT_H

#include <mlir-c/IR.h>

/* Null when a dialect does not load, which is our own bug; MLIR's message is then on stderr. Destroy with hmoec_context_destroy.
 * Multithreading is off: the same input gives the same output and the same order of messages. */
MlirContext hmoec_context_create(void);
void hmoec_context_destroy(MlirContext context);

/* All upstream dialects and the LLVM translations; may be called again. */
void hmoec_context_add_upstream(MlirContext context);

/* Parses a text in the context's dialects; `file` names it in locations. Text that is not one module (functions at top level)
 * becomes one. Null on error, which MLIR reports to the context's handler (hmoec_diagnostics_attach). Destroy with mlirModuleDestroy. */
MlirModule hmoec_module_parse(MlirContext context, const char *file, const char *text, size_t size);

#endif
