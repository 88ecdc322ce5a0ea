/* What the machine can do, measured: the most f32 multiply-adds a second, and the most bytes read from memory a second. */
#ifndef HMOEC_COMMANDS_CEILINGS_H
#define HMOEC_COMMANDS_CEILINGS_H

#include <stddef.h>

/* cpu: the name of the code version that runs; f32 multiply-adds on its vectors, also where its products are bf16. */
double hmoec_ceiling_gflops(const char *cpu, size_t threads);
/* Reads 512 MiB several times; 0 when memory is short. */
double hmoec_ceiling_gigabytes_per_second(size_t threads);

#endif
