/* How long CPU code takes, by the numbers of a machine. */
#ifndef HMOEC_TARGET_CPU_TIME_H
#define HMOEC_TARGET_CPU_TIME_H

#include "hmoe/abi_cpu.h"
#include "target/target.h"

enum {
  CPU_FLOPS, /* of every version: products in f32, on a thread */
  CPU_FLOPS_BF16 = CPU_FLOPS + HMOE_CPU_COUNT,
  CPU_READ_L2 = CPU_FLOPS_BF16 + HMOE_CPU_COUNT,
  CPU_READ_L3,
  CPU_READ_MEMORY, /* by one thread alone */
  CPU_READ_SHARED, /* by each of all threads at one time */
  CPU_ELEMENT, /* of rows that are copied, normalised, mapped: f32 in a cache */
  CPU_BARRIER,
  CPU_WAKE,
  CPU_ASLEEP,
  HMOEC_CPU_NUMBERS
};

enum { HMOEC_CPU_MACHINES = 1 };
extern const hmoec_machine_number hmoec_cpu_numbers[HMOEC_CPU_NUMBERS];
extern const hmoec_machine hmoec_cpu_machines[HMOEC_CPU_MACHINES];

hmoec_kernel_time hmoec_cpu_kernel_time(const hmoec_machine *machine, size_t version, const hmoec_schedule *schedule,
                                        const hmoec_kernel *kernel, uint64_t weight_bytes);
hmoec_sharing_time hmoec_cpu_sharing_time(const hmoec_machine *machine);
hmoec_machine_rates hmoec_cpu_rates(const hmoec_machine *machine, size_t version, hmoec_format format);

#endif
