/* The spec language, docs/spec.md: text to an hmoe module. */
#ifndef HMOEC_FRONTEND_SPEC_H
#define HMOEC_FRONTEND_SPEC_H

#include <mlir-c/IR.h>

#include "frontend/spec_ast.h"

/* -D NAME=VALUE: replaces the value of a dim or an option. Borrowed. */
typedef struct hmoec_define {
  const char *name, *value;
} hmoec_define;

/* Parses and evaluates a spec. All errors found are in the sink, at their line and column, those of an override at "-D NAME=VALUE".
 * The module is the caller's. reader: how includes are read, NULL refuses them. `text` need not end in NUL and may hold anything. */
bool hmoec_spec_build(MlirContext context, hmoec_diagnostics *diagnostics, const hmoec_spec_reader *reader, const char *file,
                      const char *text, size_t size, const hmoec_define *defines, size_t define_count, MlirModule *out_module);

#endif
