/* The entry functions of a verified module: their names, inputs and outputs. */
#ifndef HMOEC_IR_ENTRY_H
#define HMOEC_IR_ENTRY_H

#include <mlir-c/IR.h>

#include "ir/ops.h"

/* The function of that name, or the first one when name is NULL; null if there is none. */
MlirOperation hmoec_entry_find(MlirModule module, const char *name);

MlirStringRef hmoec_entry_name(MlirOperation function); /* borrowed from the context */
size_t hmoec_entry_input_count(MlirOperation function);
size_t hmoec_entry_output_count(MlirOperation function);
MlirStringRef hmoec_entry_input_name(MlirOperation function, size_t index); /* hmoe.name; borrowed, NUL-terminated */
MlirStringRef hmoec_entry_output_name(MlirOperation function, size_t index);
hmoec_shape hmoec_entry_input_shape(MlirOperation function, size_t index);
hmoec_shape hmoec_entry_output_shape(MlirOperation function, size_t index);

/* Names become C names in the generated header. What a name already is there ("a keyword of C or C++"), NULL if it is free: of a model,
 * or of an input or output. */
const char *hmoec_name_taken(MlirStringRef name, bool model);
#define HMOEC_MOST_NAME 100 /* characters of a model, input or output name */

#endif
