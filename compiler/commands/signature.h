/* What an entry of a compiled model takes and gives, read from its plan; and inputs for it that make sense. */
#ifndef HMOEC_COMMANDS_SIGNATURE_H
#define HMOEC_COMMANDS_SIGNATURE_H

#include <stdbool.h>
#include <stdint.h>

#include <mlir-c/IR.h>

#include "emit/unit.h"
#include "ir/ops.h"

#define HMOEC_MAX_TENSORS 16
#define HMOEC_MAX_SIZES 8
#define HMOEC_SIZE_OF_STATE SIZE_MAX /* in place of one of the entry's sizes: a state has it */

typedef struct hmoec_signature_tensor {
  char name[128];
  hmoec_shape shape;             /* HMOEC_DYNAMIC where the caller gives the size */
  size_t sizes[HMOEC_MAX_RANK];  /* of dimensions that are dynamic: which of the entry's sizes */
  bool optional;                 /* an input that may be NULL */
} hmoec_signature_tensor;

typedef struct hmoec_signature {
  uint32_t entry; /* for hmoe_model_run */
  char name[128];
  bool needs_state;
  size_t size_count; /* of the dims of hmoe_model_run */
  char size_names[HMOEC_MAX_SIZES][64];
  size_t input_count, output_count;
  hmoec_signature_tensor inputs[HMOEC_MAX_TENSORS], outputs[HMOEC_MAX_TENSORS];
} hmoec_signature;

/* Of the entry of that name; NULL: "forward" of a whole model, or else the first. False after an error. */
bool hmoec_signature_read(const hmoec_unit *unit, const char *entry, hmoec_signature *out_signature,
                          hmoec_diagnostics *diagnostics);

/* The shape of a tensor at these sizes. */
hmoec_shape hmoec_signature_shape(const hmoec_signature_tensor *tensor, const int64_t *sizes);
/* Bytes of an element of an input or output. */
size_t hmoec_element_bytes(hmoec_element element);

/* Fills an input of `function`, which is of the hmoe dialect, with seeded random values, as elements of its type: f32 of variance 1; ids below
 * the number of rows of every table that they index; masks of rows of a batch that are whole or end in padding, the first being whole. */
void hmoec_random_input(MlirOperation function, const char *name, const hmoec_shape *shape, uint64_t seed, void *out);
/* The most positions a table of a function has; INT64_MAX if there is no such table. */
int64_t hmoec_most_positions(MlirOperation function);

#endif
