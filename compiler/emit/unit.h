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

/* What the code of a kernel takes. */
typedef struct hmoec_kernel_use {
  char name[256];
  int64_t registers; /* of a thread */
  int64_t shared_bytes; /* of a block, besides what a launch asks for */
  int64_t spilled_bytes; /* stores and loads of registers that there were too few of */
} hmoec_kernel_use;

/* An image that was added to an object, for people. */
typedef struct hmoec_made_image {
  const char *target; /* static storage */
  char version[32];
  hmoec_kernel_use *kernels; /* owned; of PTX, which has no registers, none */
  size_t kernel_count;
} hmoec_made_image;

typedef struct hmoec_made_images {
  hmoec_made_image *at; /* owned */
  size_t count;
} hmoec_made_images;
void hmoec_made_images_deinit(hmoec_made_images *images);

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
  const hmoec_machine *machine; /* that times are predicted for: the target's first, or whose its caller sets; NULL: none */
  hmoec_format dtype; /* of products: --dtype */
  const hmoec_unit_image *images; /* that a target adds to those of the host, while it generates; borrowed */
  size_t image_count;
  hmoec_made_images *made; /* NULL, or where `generate` lists what it added to an object that is kept; borrowed */
} hmoec_unit;

/* Requires verified hmk after place and plan-workspace, for this target. Owned by the caller; deinit releases. */
bool hmoec_unit_init(MlirModule module, const hmoec_target *target, hmoec_diagnostics *diagnostics, hmoec_unit *out_unit);
void hmoec_unit_deinit(hmoec_unit *unit);
/* The name of dimension d of an entry, and its length: an INPUT one's, or what the state says. Owned by the unit. */
const char *hmoec_unit_dim_name(const hmoec_unit *unit, const hmoe_plan_entry *entry, int64_t d, int *out_length);

#endif
