/* What the machine can do, measured: the most multiply-adds a second, and the most bytes read from memory a second; 0 when memory or threads
 * are short. cpu is the name of a code version that this machine runs. */
#ifndef HMOEC_COMMANDS_CEILINGS_H
#define HMOEC_COMMANDS_CEILINGS_H

#include <stddef.h>

/* f32, on the version's vectors. */
double hmoec_ceiling_gflops(const char *cpu, size_t threads);
/* bf16, by its tiles or dot products; 0: the version has neither. Tiles: the system has granted them to this process (a model was opened). */
double hmoec_ceiling_bf16_gflops(const char *cpu, size_t threads);
/* Reads 512 MiB several times. */
double hmoec_ceiling_gigabytes_per_second(size_t threads);

#endif
