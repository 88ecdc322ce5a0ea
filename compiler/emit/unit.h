/* From a planned hmk module to what the code generator and the runtime take: distinct kernels and the plan blob (include/hmoe/abi.h). */
#ifndef HMOEC_EMIT_UNIT_H
#define HMOEC_EMIT_UNIT_H

#include "support/diagnostics.h"
#include "target/target.h"

/* Code for another machine than the object's own, which the object carries: bytes that a driver loads. */
typedef struct hmoec_unit_image {
  const char *target, *version; /* as in hmoe_image */
  const void *code; /* borrowed, as all of it */
  size_t code_bytes;
  const hmoe_function *functions; /* kernel_count: names, threads and scratch; no calls */
} hmoec_unit_image;

typedef struct hmoec_unit {
  char *name; /* model name */
  hmoec_kernel *kernels; /* distinct, in order of first use */
  size_t kernel_count;
  size_t
      host_kernels; /* the first so many have code of the host: all, or those of entry 0 where the others' rows are laid out for another machine */
  hmoec_scalar_library functions; /* scalar functions that kernels name */
  void *plan;
  size_t plan_bytes;
  uint64_t scratch_bytes; /* of a worker: the most that a kernel needs */
  const hmoec_target *target; /* of the code, with this schedule */
  hmoec_schedule schedule;
  hmoec_format dtype; /* of products: --dtype */
  const hmoec_unit_image *images; /* that a target adds to those of the host, while it generates; borrowed */
  size_t image_count;
} hmoec_unit;

/* Requires verified hmk after place and plan-workspace, for this target. Owned by the caller; deinit releases. */
bool hmoec_unit_init(MlirModule module, const hmoec_target *target, hmoec_diagnostics *diagnostics, hmoec_unit *out_unit);
void hmoec_unit_deinit(hmoec_unit *unit);
/* The name of dimension d of an entry, and its length: an INPUT one's, or what the state says. Owned by the unit. */
const char *hmoec_unit_dim_name(const hmoec_unit *unit, const hmoe_plan_entry *entry, int64_t d, int *out_length);

#endif
