/* The spec language, docs/spec.md: text to an hmoe module. */
#ifndef HMOEC_FRONTEND_SPEC_H
#define HMOEC_FRONTEND_SPEC_H

#include <mlir-c/IR.h>

#include "frontend/c_function.h"
#include "frontend/spec_ast.h"

/* What is given along with a model. Borrowed; zeroed: nothing. */
typedef struct hmoec_load_options {
  const hmoec_define *defines;
  size_t define_count;
  hmoec_c_flags c; /* of functions written in C */
} hmoec_load_options;

/* Parses and evaluates a spec. All errors found are in the sink, at their line and column, those of an override at "-D NAME=VALUE".
 * The module is the caller's. reader: how includes are read, NULL refuses them; options may be
 * NULL. `text` need not end in NUL and may hold anything. */
bool hmoec_spec_build(MlirContext context, hmoec_diagnostics *diagnostics, const hmoec_spec_reader *reader, const char *file,
                      const char *text, size_t size, const hmoec_load_options *options, MlirModule *out_module);

#endif
