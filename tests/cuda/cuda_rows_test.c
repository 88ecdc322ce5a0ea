/* ROUTE, COMBINE, SELECT, CONTRACT and ROWS on a GPU: numeric/kernels_rows_test.c, with CUDA kernels in the emulator. */
#define HARNESS_CUDA
#include "numeric/kernels_rows_test.c"
