/* Objects loaded into this process, by LLVM's JIT linker. */
#ifndef HMOEC_LIBRARY_LOAD_H
#define HMOEC_LIBRARY_LOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "support/diagnostics.h"

typedef struct hmoec_loaded hmoec_loaded;
struct hmoe_model_object;

/* *out_object points at NAME_object, valid until hmoec_loaded_destroy. False with an error. */
bool hmoec_object_load(const char *name, const char *bytes, size_t size, hmoec_diagnostics *diagnostics, hmoec_loaded **out_loaded,
                       const struct hmoe_model_object **out_object);
void hmoec_loaded_destroy(hmoec_loaded *loaded);

#endif
