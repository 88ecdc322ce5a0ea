/* The CPU code generator: kernel descriptions in, one object (or its text) out. Lowered through upstream dialects only
 * (llvm, scf, vector, arith, math); every kernel exists once per CPU version, as an llvm.func with its own target features. */
#ifndef HMOEC_CODEGEN_CPU_CODEGEN_H
#define HMOEC_CODEGEN_CPU_CODEGEN_H

#include <stddef.h>
#include <stdint.h>

#include <mlir-c/IR.h>

#include "hmoe/abi_cpu.h"
#include "kernel/family.h"
#include "support/diagnostics.h"
#include "target/target.h"

/* What all kernels of an object share of a schedule. Tiles are register tiles by CPU version (HMOE_CPU_*): rows x
 * vectors of the version's width. */
typedef struct hmoec_cpu_schedule {
  int64_t lda; /* row stride of every f32 A operand the micro-kernels see: >= the deepest product, an odd multiple of 16 */
  int64_t lda_bf16; /* of every bf16 A operand: >= the deepest product rounded up to 32, an odd multiple of 32 */
  int64_t row_block, row_block_bf16; /* most rows of one block */
  int64_t tile_rows[HMOE_CPU_COUNT], tile_vectors[HMOE_CPU_COUNT]; /* f32 products */
  int64_t tile_rows_bf16[HMOE_CPU_COUNT], tile_vectors_bf16[HMOE_CPU_COUNT]; /* bf16 products; AMX has its own */
  int64_t ahead_words, hide_latency, part_steps, fetch_rows; /* see the knobs of these names (target.c) */
} hmoec_cpu_schedule;

hmoec_cpu_schedule hmoec_cpu_schedule_of(const hmoec_schedule *schedule);
/* The default schedule for products at most `deepest` deep. */
hmoec_cpu_schedule hmoec_cpu_schedule_default(int64_t deepest);

/* Per-worker scratch that these kernels need with this schedule, in bytes. */
uint64_t hmoec_cpu_scratch_bytes(const hmoec_cpu_schedule *schedule, const hmoec_kernel *kernels, size_t kernel_count);

typedef struct hmoec_cpu_unit {
  const char *name; /* model name; symbols are NAME_object (exported) and NAME_* (local) */
  const hmoec_kernel *kernels; /* distinct */
  size_t kernel_count;
  size_t foreign_kernels; /* the last so many are for other machines, and have no code here */
  const hmoec_scalar_library *functions; /* that kernels name, or NULL */
  const void *plan; /* finished plan blob */
  size_t plan_bytes;
  hmoec_cpu_schedule schedule;
  const hmoec_schedule *knobs; /* what `schedule` was made of; NULL: the defaults */
  const hmoec_machine *machine; /* that times are predicted for; NULL: nobody knows them */
  uint64_t weight_bytes;
  uint32_t versions; /* bit set of 1u << HMOE_CPU_*; portable is always wanted by the CLI default */
  const struct hmoec_unit_image *images; /* of other targets, which the object carries (emit/unit.h) */
  size_t image_count;
  const char *mcpu; /* NULL, or a CPU name for -mcpu tuning of the matching version */
} hmoec_cpu_unit;

/* Generates the unit. *out_bytes is malloc'd, owned by the caller, *out_size long (not terminated). False with a diagnostic on
 * failure. `context` must have every upstream dialect registered. Deterministic: equal units give equal bytes. */
bool hmoec_cpu_generate(MlirContext context, const hmoec_cpu_unit *unit, hmoec_output form, hmoec_diagnostics *diagnostics,
                        char **out_bytes, size_t *out_size);

#endif
