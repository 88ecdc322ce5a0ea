/* The reference interpreter: runs a model function in double precision, slowly and plainly. It is the semantics of the dialect: each
 * op does what its equation in dialects/hmoe.irdl.mlir says, also those that only passes make, so that a module can be compared
 * before and after a pass, and compiled code against either.
 *
 * Elements of every type are held as doubles. Parameters are loaded when first used and freed after their last use; so are
 * intermediate values. Not thread-safe only in that MLIR contexts are not. */
#ifndef HMOEC_INTERPRETER_INTERPRETER_H
#define HMOEC_INTERPRETER_INTERPRETER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ir/ops.h"
#include "support/diagnostics.h"

/* A tensor without dynamic dimensions, row-major. i1 is 0 or 1; integers are whole numbers. */
typedef struct hmoec_tensor {
  hmoec_shape shape;
  double *data; /* owned by whoever holds the tensor; malloc */
} hmoec_tensor;

/* Zeroed elements. False when memory is short or the shape is dynamic or too large. */
bool hmoec_tensor_init(hmoec_tensor *tensor, const hmoec_shape *shape);
void hmoec_tensor_deinit(hmoec_tensor *tensor);

/* Where parameters come from: fills out with the elements of the tensor named key (no "{}" in it), of exactly these dimensions. A key
 * of several lines is several names of one tensor.
 * Reports what is wrong at location and returns false. */
typedef struct hmoec_parameter_source {
  bool (*get)(void *user, const char *key, int64_t rank, const int64_t *dims, double *out, hmoec_diagnostics *diagnostics,
              hmoec_location location);
  void *user;
} hmoec_parameter_source;

/* Runs a function of a module that hmoec_verify accepts. inputs: in the order of the arguments, borrowed; outputs: in the order of the
 * results, filled on success, to be freed with hmoec_tensor_deinit. False after an error; outputs then own nothing. */
bool hmoec_interpret(MlirOperation function, const hmoec_parameter_source *source, const hmoec_tensor *inputs, size_t input_count,
                     hmoec_tensor *outputs, size_t output_count, hmoec_diagnostics *diagnostics);

/* The values of a function's ops, instead of its results, and of its ops only what they need: out[i] is values[i], filled on success. */
bool hmoec_interpret_values(MlirOperation function, const hmoec_parameter_source *source, const hmoec_tensor *inputs,
                            size_t input_count, const MlirValue *values, hmoec_tensor *out, size_t count,
                            hmoec_diagnostics *diagnostics);

/* The same as compiled code computes with --dtype bf16: where `rounds` says so of an operand, it is rounded to bf16. Of an op of products that
 * is asked of its first operand, and holds for all operands of all its products. Everything else, sums included, stays double. rounds NULL: nothing
 * is rounded. */
typedef bool (*hmoec_rounds)(MlirOperation op, size_t operand);
bool hmoec_interpret_rounded(MlirOperation function, const hmoec_parameter_source *source, const hmoec_tensor *inputs,
                             size_t input_count, hmoec_tensor *outputs, size_t output_count, hmoec_rounds rounds,
                             hmoec_diagnostics *diagnostics);

#endif
