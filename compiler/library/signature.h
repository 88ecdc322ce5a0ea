/* What an entry of a compiled model takes and gives, read from its plan; and inputs for it that make sense. */
#ifndef HMOEC_LIBRARY_SIGNATURE_H
#define HMOEC_LIBRARY_SIGNATURE_H

#include <stdbool.h>
#include <stdint.h>

#include <mlir-c/IR.h>

#include "emit/unit.h"
#include "ir/ops.h"

/* Of the entry of that name; NULL: "forward" of a whole model, or else the first. False after an error. */
bool hmoec_signature_read(const hmoec_unit *unit, const char *entry, hmoec_signature *out_signature,
                          hmoec_diagnostics *diagnostics);

/* Fills an input of `function`, which is of the hmoe dialect, with seeded random values, as elements of its type: f32 of variance 1; ids below
 * the number of rows of every table that they index; masks of rows of a batch that are whole or end in padding, the first being whole. */
void hmoec_random_input(MlirOperation function, const char *name, const hmoec_shape *shape, uint64_t seed, void *out);
/* The most positions a table of a function has; INT64_MAX if there is no such table. */
int64_t hmoec_most_positions(MlirOperation function);

#endif
