/* NORM, EMBED and products of normalised rows on a GPU: numeric/kernels_norm_test.c, with CUDA kernels in the emulator. */
#define HARNESS_CUDA
#include "numeric/kernels_norm_test.c"
