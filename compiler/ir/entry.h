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

#endif
