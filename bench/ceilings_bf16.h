/* The most bf16 multiply-adds a second, by the best instruction of this CPU. */
#ifndef HMOE_BENCH_CEILINGS_BF16_H
#define HMOE_BENCH_CEILINGS_BF16_H

#include <stddef.h>

/* Billions of operations a second, a multiply-add counting as two; 0 if the CPU multiplies no bf16, or there is no memory.
 * *out_instruction: "amx", "avx512_bf16" or "none", static. */
double bench_ceiling_bf16_gflops(size_t threads, const char **out_instruction);

#endif
