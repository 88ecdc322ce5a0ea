/* What CUDA images and the CUDA device of the runtime share beside abi.h.
 *
 * A kernel is an entry of the image by its function's name, launched with blocks of `threads` threads. A block runs one task, the one of its number:
 * block * splits + split for grids of rows or blocks, as on CPUs. Its only parameter is a hmoe_cuda_call, by value. f32 right operands, keys and
 * values are laid out as those of CPU images (abi_cpu.h), so that one .hmw serves both. */
#ifndef HMOE_ABI_CUDA_H
#define HMOE_ABI_CUDA_H

#include "hmoe/abi.h"

enum { HMOE_CUDA_BINDINGS_MAX = 16, HMOE_CUDA_DIMS_MAX = 8 };

typedef struct hmoe_cuda_call {
  uint64_t buffers[HMOE_CUDA_BINDINGS_MAX]; /* addresses of the device, one a binding; 0 for HMOE_NONE */
  int64_t rows;                             /* as in hmoe_kernel_call, as are the next two */
  int64_t splits;
  int64_t first_block;
  int64_t dims[HMOE_CUDA_DIMS_MAX];
} hmoe_cuda_call;

#endif
