/* MATMUL in f32 on a GPU: numeric/kernels_matmul_test.c, with CUDA kernels in the emulator. */
#define HARNESS_CUDA
#include "numeric/kernels_matmul_test.c"
