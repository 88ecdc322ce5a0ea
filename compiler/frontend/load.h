/* A model from wherever it is described: the front door of every command. */
#ifndef HMOEC_FRONTEND_LOAD_H
#define HMOEC_FRONTEND_LOAD_H

#include "frontend/spec.h"

/* Loads a .spec or .mlir file, or a Hugging Face directory (frontend/import.h), into a verified hmoe module, owned by the caller. The context is one of hmoec_context_create. -D of a model
 * that is not a spec is wrong usage. False, with everything reported to the sink, on any error. */
bool hmoec_load_model(MlirContext context, const char *path, const hmoec_load_options *options, hmoec_diagnostics *diagnostics,
                      MlirModule *out_module);

/* Reads includes from the file system; user is not used. */
const char *hmoec_spec_read_file(void *user, hmoec_arena *arena, const char *path, size_t *out_size, const char **out_reason);

#endif
