/* FLOPs and bytes of hmoe ops. */
#ifndef HMOEC_LIBRARY_MODEL_COST_H
#define HMOEC_LIBRARY_MODEL_COST_H

#include <stdbool.h>
#include <stdint.h>

#include <mlir-c/IR.h>

#include "passes/passes.h"

/* flops: products only, 2 a multiply-add. weight_bytes: operands known at open; moved_bytes: other operands and results. Weights of
 * products are of the product's format, all else is f32. */
typedef struct hmoec_cost {
  double flops, weight_bytes, moved_bytes;
} hmoec_cost;

/* The size of a run: `tokens` in all, in batch rows of equal length; the encoder's and the decoder's rows are equally long. Layers: 1 row. */
typedef struct hmoec_run_size {
  int64_t tokens, rows;
} hmoec_run_size;

/* Ops that run once per selection set (a cache fills) are costed for one set. dtype other than f32 needs the marks of hmoec_mark_f32. */
hmoec_cost hmoec_op_cost(MlirOperation op, hmoec_run_size size, hmoec_format dtype);
/* Whether an op runs per distinct selection set, when the cache lacks it. */
bool hmoec_op_per_set(MlirOperation op);
/* Of one run of a folded module, with every selection set in the cache. */
double hmoec_model_flops(MlirModule module, hmoec_run_size size);

#endif
