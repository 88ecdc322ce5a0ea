/* Steps of the plan: one op of hmk, one hmoe_plan_step with the structure of its kind (include/hmoe/abi.h). */
#ifndef HMOEC_EMIT_STEPS_H
#define HMOEC_EMIT_STEPS_H

#include "emit/blob.h"
#include "emit/unit.h"
#include "ir/hmk_ops.h"
#include "support/pointer_map.h"

/* What is written of the plan so far. */
typedef struct hmoec_plan_writer {
  hmoec_blob blob;
  hmoec_diagnostics *diagnostics;
  hmoec_unit *unit;
  hmoe_plan_param *params;
  size_t param_count;
  hmoe_plan_cache *caches;
  size_t cache_count;
  bool failed;  /* for want of memory */
  bool refused; /* a diagnostic says why */
} hmoec_plan_writer;

/* Steps of one entry, read from the first to the last. Zero-initialise the other fields; deinit frees. */
typedef struct hmoec_step_reader {
  hmoec_plan_writer *plan;
  const hmoec_pointer_map *buffers; /* numbers of the entry's hmk.buffer ops */
  hmoec_pointer_map groupings;      /* of hmk.buffer ops that hold blocks: the op that wrote them last */
  MlirOperation loop;               /* over groups, around the step */
  int64_t loop_left;                /* steps of it that are still to come */
} hmoec_step_reader;

hmoe_plan_step hmoec_step_read(hmoec_step_reader *reader, MlirOperation op, const hmoec_hmk_info *info);
void hmoec_step_reader_deinit(hmoec_step_reader *reader);

#endif
