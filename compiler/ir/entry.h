/* The entry functions of a verified module: their names, inputs and outputs.
 *
 * Attributes of an argument: hmoe.name = "input_ids", hmoe.dims = ["batch", "length"] (the names of its dynamic dimensions, in order),
 * hmoe.default = 1 : i64 (what every element of an i32 or i64 input is where the caller leaves it out). Of the function: hmoe.model,
 * and hmoe.generation (ir/generation.h). */
#ifndef HMOEC_IR_ENTRY_H
#define HMOEC_IR_ENTRY_H

#include <mlir-c/IR.h>

#include "ir/c_names.h"
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

/* The name of dimension `dim` of an input, which is dynamic: that of hmoe.dims, and where there is none hmoec_default_dim_names'. */
MlirStringRef hmoec_entry_dim_name(MlirOperation function, size_t input, size_t dim);
/* The names of all dynamic dimensions of the inputs, each once, in order of appearance; returns how many. out_names: NULL, or room for
 * HMOEC_MOST_DIM_NAMES. */
size_t hmoec_entry_dim_names(MlirOperation function, MlirStringRef *out_names);
#define HMOEC_MOST_DIM_NAMES 128
/* {"tokens"} for one dynamic dimension, {"batch", "length"} for two, {"batch", "length", "depth", "width"} for more. */
const char *const *hmoec_default_dim_names(size_t count);
/* False: the caller must give the input. */
bool hmoec_entry_input_default(MlirOperation function, size_t index, int64_t *out_value);

/* hmoe.generation, or null. */
MlirAttribute hmoec_entry_generation(MlirOperation function);

#endif
