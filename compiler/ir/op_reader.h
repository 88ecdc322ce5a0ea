/* An op that exists, in the plain form that shape rules take. */
#ifndef HMOEC_IR_OP_READER_H
#define HMOEC_IR_OP_READER_H

#include "ir/ops.h"

#define HMOEC_MAX_INTS 16 /* elements of one list attribute; a shape has fewer */

/* The inference borrows from the other two fields: do not copy the structure. */
typedef struct hmoec_op_reader {
  hmoec_inference inference; /* operands and attributes filled in, no results */
  int64_t ints[HMOEC_MAX_INTS];
  char text[HMOEC_MAX_ATTRIBUTES][64]; /* string attributes that are choices; others (keys) are cut at that length */
} hmoec_op_reader;

/* Reads the operand shapes and attributes of an hmoe op and checks them against the op's row: counts, kinds, ranges, choices.
 * Reports what is wrong at the op's location. Shapes and results are not checked: run inference.info->infer for that. */
bool hmoec_op_read(MlirOperation op, hmoec_diagnostics *diagnostics, hmoec_op_reader *out_reader);

#endif
