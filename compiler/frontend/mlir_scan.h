/* A look at MLIR text before MLIR reads it. Its parser and its printer descend into what is nested, write an alias out wherever it is used,
 * and take numbers of any length; text made for it exhausts the stack, the memory or anyone's patience. Here the text is cut into words,
 * and what passes a limit (support/limits.h) is refused at its place, in time and memory that grow with the size of the text alone.
 * What a model has no use for and has such limits of its own (affine maps, resources) is refused by name. */
#ifndef HMOEC_FRONTEND_MLIR_SCAN_H
#define HMOEC_FRONTEND_MLIR_SCAN_H

#include "support/diagnostics.h"

/* True: MLIR's parser can be given the text. Says nothing of whether it is right: that is the parser's to tell. */
bool hmoec_mlir_scan(hmoec_diagnostics *diagnostics, const char *file, const char *text, size_t size);

#endif
