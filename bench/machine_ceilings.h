/* What the machine can do, beyond compiler/commands/ceilings.h: bf16 products, and reads as a tuned kernel makes them. */
#ifndef HMOE_BENCH_MACHINE_CEILINGS_H
#define HMOE_BENCH_MACHINE_CEILINGS_H

#include <stddef.h>

/* The most bf16 multiply-adds a second, by the best instruction of this CPU: billions of operations, a multiply-add counting as two;
 * 0 if the CPU multiplies no bf16, or there is no memory. *out_instruction: "amx", "avx512_bf16" or "none", static. */
double bench_ceiling_bf16_gflops(size_t threads, const char **out_instruction);

/* Reads 1 GiB several times, in huge pages where the system gives them, several streams a thread; 0 when memory is short. */
double bench_ceiling_gigabytes_per_second(size_t threads);

#endif
