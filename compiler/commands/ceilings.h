/* What this machine can do at most, measured: the ceilings that speeds are compared with. */
#ifndef HMOEC_COMMANDS_CEILINGS_H
#define HMOEC_COMMANDS_CEILINGS_H

#include <stddef.h>

typedef struct hmoec_ceilings {
  double fma_gflops;  /* f32 multiply-adds from registers, all threads */
  double read_gbytes; /* GB/s read from memory, all threads; 0 when there was no memory for the test */
} hmoec_ceilings;

/* Takes about half a second. */
hmoec_ceilings hmoec_ceilings_measure(size_t threads);

#endif
