/* A look at the text of a C file before clang reads it. */
#ifndef HMOEC_FRONTEND_C_SCAN_H
#define HMOEC_FRONTEND_C_SCAN_H

#include "support/diagnostics.h"

/* Refuses, at its place, what is nested more deeply than any function needs. text: of `file`, with a NUL behind it. */
bool hmoec_c_scan(hmoec_diagnostics *diagnostics, const char *file, const char *text, size_t size);

#endif
