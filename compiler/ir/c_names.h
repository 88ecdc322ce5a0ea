/* Names of a model become C names: files, types, functions and structure fields of the generated header. */
#ifndef HMOEC_IR_C_NAMES_H
#define HMOEC_IR_C_NAMES_H

#include <stdbool.h>

#include <mlir-c/Support.h>

#define HMOEC_MOST_NAME 100 /* characters of a model, input or output name */

/* What a name already is ("a keyword of C or C++"), NULL if it is free: of a model, or of an input, output or dimension. A model's name
 * stands beside whatever a program includes, and names a header; the others are fields. */
const char *hmoec_name_taken(MlirStringRef name, bool model);

#endif
