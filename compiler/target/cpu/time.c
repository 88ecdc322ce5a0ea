#include "target/cpu/time.h"

#include "kernel/family.h"

#define VERSIONS(first, name)                                                                                                      \
  [(first) + HMOE_CPU_PORTABLE] = {name ".portable", "GFLOP/s"}, [(first) + HMOE_CPU_AVX2] = {name ".avx2", "GFLOP/s"},            \
             [(first) + HMOE_CPU_AVX512] = {name ".avx512", "GFLOP/s"},                                                            \
             [(first) + HMOE_CPU_AVX512_BF16] = {name ".avx512_bf16", "GFLOP/s"},                                                  \
             [(first) + HMOE_CPU_AMX] = {name ".amx", "GFLOP/s"}

const hmoec_machine_number hmoec_cpu_numbers[HMOEC_CPU_NUMBERS] = {
    VERSIONS(CPU_FLOPS, "flops"),        VERSIONS(CPU_FLOPS_BF16, "flops_bf16"),      [CPU_READ_L2] = {"read_l2", "GB/s"},
    [CPU_READ_L3] = {"read_l3", "GB/s"}, [CPU_READ_MEMORY] = {"read_memory", "GB/s"}, [CPU_READ_SHARED] = {"read_shared", "GB/s"},
    [CPU_ELEMENT] = {"element", "ns"},   [CPU_BARRIER] = {"barrier", "us"},           [CPU_WAKE] = {"wake", "us"},
    [CPU_ASLEEP] = {"asleep", "us"},
};

const hmoec_machine hmoec_cpu_machines[HMOEC_CPU_MACHINES] = {
    {.name = "a server of 2023, two threads",
     .version = HMOE_CPU_AMX,
     .threads = 2,
     .cache_bytes = {48 << 10, 2 << 20, 32 << 20},
     .number = {[CPU_FLOPS + HMOE_CPU_PORTABLE] = 15,
                [CPU_FLOPS + HMOE_CPU_AVX2] = 45,
                [CPU_FLOPS + HMOE_CPU_AVX512] = 90,
                [CPU_FLOPS + HMOE_CPU_AVX512_BF16] = 90,
                [CPU_FLOPS + HMOE_CPU_AMX] = 90,
                [CPU_FLOPS_BF16 + HMOE_CPU_PORTABLE] = 12,
                [CPU_FLOPS_BF16 + HMOE_CPU_AVX2] = 35,
                [CPU_FLOPS_BF16 + HMOE_CPU_AVX512] = 70,
                [CPU_FLOPS_BF16 + HMOE_CPU_AVX512_BF16] = 160,
                [CPU_FLOPS_BF16 + HMOE_CPU_AMX] = 800,
                [CPU_READ_L2] = 60,
                [CPU_READ_L3] = 20,
                [CPU_READ_MEMORY] = 12,
                [CPU_READ_SHARED] = 11,
                [CPU_ELEMENT] = 0.25,
                [CPU_BARRIER] = 0.3,
                [CPU_WAKE] = 12,
                [CPU_ASLEEP] = 25}},
};

static double flops_of(const hmoec_machine *machine, size_t version, hmoec_format format) {
  return 1e9 * machine->number[(hmoec_is_bf16(format) ? CPU_FLOPS_BF16 : CPU_FLOPS) + version];
}

/* Bytes a second at which a thread reads weights of a model that has so many, while the others do the same. */
static double read_rate(const hmoec_machine *machine, uint64_t weight_bytes) {
  if (weight_bytes <= machine->cache_bytes[1]) return 1e9 * machine->number[CPU_READ_L2];
  if (weight_bytes <= machine->cache_bytes[2]) return 1e9 * machine->number[CPU_READ_L3];
  return 1e9 * machine->number[CPU_READ_SHARED];
}

static double right_bytes(const hmoec_matmul_spec *product) {
  double columns = (double)product->n + (product->paired ? (double)product->segment[0].end : 0);
  return (double)hmoec_format_bytes(product->format, 1) * columns * (double)product->k;
}

hmoec_kernel_time hmoec_cpu_kernel_time(const hmoec_machine *machine, size_t version, const hmoec_schedule *schedule,
                                        const hmoec_kernel *kernel, uint64_t weight_bytes) {
  (void)schedule;
  double row_flops = (double)hmoec_kernel_row_flops(kernel), element = 1e-9 * machine->number[CPU_ELEMENT];
  switch (kernel->family) {
  case HMOEC_KERNEL_MATMUL: {
    const hmoec_matmul_spec *product = &kernel->spec.matmul;
    return (hmoec_kernel_time){.row = row_flops / flops_of(machine, version, product->format),
                               .block = right_bytes(product) / read_rate(machine, weight_bytes),
                               .split_row = product->a_in_place ? 0 : (double)product->k * element};
  }
  case HMOEC_KERNEL_FFN: {
    const hmoec_ffn_spec *pair = &kernel->spec.ffn;
    return (hmoec_kernel_time){.row = row_flops / flops_of(machine, version, pair->first.format),
                               .block =
                                   (right_bytes(&pair->first) + right_bytes(&pair->second)) / read_rate(machine, weight_bytes)};
  }
  case HMOEC_KERNEL_ATTENTION: /* a query and a key */
    return (hmoec_kernel_time){.row = 4 * (double)kernel->spec.attention.head_size / flops_of(machine, version, HMOEC_FORMAT_F32)};
  default: return (hmoec_kernel_time){.row = row_flops * element};
  }
}

hmoec_sharing_time hmoec_cpu_sharing_time(const hmoec_machine *machine) {
  return (hmoec_sharing_time){.barrier = 1e-6 * machine->number[CPU_BARRIER],
                              .wake = 1e-6 * machine->number[CPU_WAKE],
                              .asleep = 1e-6 * machine->number[CPU_ASLEEP]};
}

hmoec_machine_rates hmoec_cpu_rates(const hmoec_machine *machine, size_t version, hmoec_format format) {
  double threads = machine->threads;
  return (hmoec_machine_rates){.flops = threads * flops_of(machine, version, format),
                               .read = threads * 1e9 * machine->number[CPU_READ_SHARED],
                               .touch = threads * 4 / (1e-9 * machine->number[CPU_ELEMENT]),
                               .step = 1e-6 * machine->number[CPU_BARRIER]};
}
