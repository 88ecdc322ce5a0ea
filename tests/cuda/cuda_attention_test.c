/* ATTENTION and STORE on a GPU: numeric/kernels_attention_test.c, with CUDA kernels in the emulator. */
#define HARNESS_CUDA
#include "numeric/kernels_attention_test.c"
