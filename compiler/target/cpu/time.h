/* How long CPU code takes, by the numbers of a machine (docs/tuning.md, "The time model"). */
#ifndef HMOEC_TARGET_CPU_TIME_H
#define HMOEC_TARGET_CPU_TIME_H

#include "hmoe/abi_cpu.h"
#include "target/target.h"

/* Each of the first six has one for every version. */
enum {
  CPU_FLOPS, /* products in f32 on a thread, besides what a row tile takes: of tiles without end */
  CPU_FLOPS_BF16 = CPU_FLOPS + HMOE_CPU_COUNT,
  CPU_TILE = CPU_FLOPS_BF16 + HMOE_CPU_COUNT, /* a row tile takes as long as if it had so many rows more */
  CPU_TILE_BF16 = CPU_TILE + HMOE_CPU_COUNT,
  CPU_READ = CPU_TILE_BF16 + HMOE_CPU_COUNT, /* weights in the second-level cache that a single row passes */
  CPU_READ_BF16 = CPU_READ + HMOE_CPU_COUNT,
  CPU_READ_L3 = CPU_READ_BF16 + HMOE_CPU_COUNT, /* by each of all threads at one time, as are all bandwidths but the next */
  CPU_READ_MEMORY, /* by one thread alone */
  CPU_READ_SHARED,
  CPU_LATENCY, /* a sum that waits for the one before: narrow products have one a row */
  CPU_SUMS, /* 32 sums of a row: cleared, kept, written */
  CPU_SUMS_BF16,
  CPU_ELEMENT, /* of a row that is copied: f32 in a cache */
  CPU_NORM, /* of a row that is normalised */
  CPU_FUNCTION, /* of a row that passes exp or its like */
  CPU_PICK, /* an expert that a row chooses */
  CPU_QUERY, /* a query that meets a block of keys, besides products */
  CPU_KEYS, /* a query that meets 32 keys, besides products */
  CPU_GROUPED, /* a row that is grouped by experts or sets */
  CPU_STEP, /* a step that one thread runs */
  CPU_BARRIER, /* the rest: see hmoec_sharing_time */
  CPU_WAKE,
  CPU_ASLEEP,
  HMOEC_CPU_NUMBERS
};

enum { HMOEC_CPU_MACHINES = 1 };
extern const hmoec_machine_number hmoec_cpu_numbers[HMOEC_CPU_NUMBERS];
extern const hmoec_machine hmoec_cpu_machines[HMOEC_CPU_MACHINES];

/* Where a schedule is NULL it is the default one. */
hmoec_kernel_time hmoec_cpu_kernel_time(const hmoec_machine *machine, size_t version, const hmoec_schedule *schedule,
                                        const hmoec_kernel *kernel, uint64_t weight_bytes);
double hmoec_cpu_task_time(const hmoec_machine *machine, size_t version, const hmoec_schedule *schedule, const hmoec_kernel *kernel,
                           const hmoec_task *task);
double hmoec_cpu_task_bound(const hmoec_machine *machine, size_t version, const hmoec_schedule *schedule,
                            const hmoec_kernel *kernel, const hmoec_task *task);
double hmoec_cpu_step_time(const hmoec_machine *machine, uint32_t kind, double rows);
int64_t hmoec_cpu_run_block_rows(int64_t row_block, int64_t rows, int64_t threads); /* hmoe_cpu_block_rows of the runtime */
hmoec_sharing_time hmoec_cpu_sharing_time(const hmoec_machine *machine);
hmoec_machine_rates hmoec_cpu_rates(const hmoec_machine *machine, size_t version, hmoec_format format);

#endif
