/* A Hugging Face directory as a spec: config.json and the tensors' names and shapes in, text out.
 *
 * Sizes come from the checkpoint wherever its tensors have them, what else the architecture needs from config.json with the library's
 * defaults; where both speak they must agree. The spec needs no other file: dims and options with their values, which layers are mixtures
 * of experts, and the text of models/hypermoe-common, hyperrouter-common, and switch-common or gpt2-common. */
#ifndef HMOEC_FRONTEND_IMPORT_H
#define HMOEC_FRONTEND_IMPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "support/arena.h"
#include "support/diagnostics.h"

/* The text, in the arena, with a zero after it; NULL after an error. The first thing that is wrong is reported, with its place. */
const char *hmoec_import(hmoec_arena *arena, const char *directory, hmoec_diagnostics *diagnostics, size_t *out_size);

#endif
