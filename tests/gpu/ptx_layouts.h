/* Where the elements of matrix instructions are: the statements that all of them rely on. ptx_layouts_test.c holds them against others. */
#ifndef HMOE_TESTS_GPU_PTX_LAYOUTS_H
#define HMOE_TESTS_GPU_PTX_LAYOUTS_H

#include <stdint.h>

/* mode as in a descriptor: 0 none, 1 128 bytes, 2 64, 3 32 */
static inline uint32_t ptx_swizzle(uint32_t address, unsigned mode) {
  static const unsigned bits[] = {0, 3, 2, 1};
  return address ^ ((address >> 7 & ((1u << bits[mode & 3]) - 1)) << 4);
}

typedef struct matrix_place {
  uint32_t row, column;
} matrix_place;

/* wgmma m64nNk*, f32: a thread of the warpgroup, a register */
static inline matrix_place ptx_wgmma_d(uint32_t thread, uint32_t reg) {
  return (matrix_place){16 * (thread / 32) + thread % 32 / 4 + 8 * (reg / 2 % 2), 8 * (reg / 4) + 2 * (thread % 4) + reg % 2};
}
/* mma m16n8k16, and m16n8k8 of half as many: a lane's 16-bit elements in order; of B, row is k */
static inline matrix_place ptx_mma_a(uint32_t lane, uint32_t half) {
  return (matrix_place){lane / 4 + 8 * (half / 2 % 2), 2 * (lane % 4) + half % 2 + 8 * (half / 4)};
}
static inline matrix_place ptx_mma_b(uint32_t lane, uint32_t half) {
  return (matrix_place){2 * (lane % 4) + half % 2 + 8 * (half / 2), lane / 4};
}
static inline matrix_place ptx_mma_c(uint32_t lane, uint32_t value) {
  return (matrix_place){lane / 4 + 8 * (value / 2), 2 * (lane % 4) + value % 2};
}

/* Byte address of element (row, k) of an operand that a descriptor names. major 0: k side by side, 1: rows side by side. */
static inline uint32_t ptx_wgmma_address(uint64_t descriptor, uint32_t row, uint32_t k, unsigned major, unsigned element_bytes) {
  uint32_t start = (uint32_t)(descriptor & 0x3fff) << 4, leading = (uint32_t)(descriptor >> 16 & 0x3fff) << 4,
           stride = (uint32_t)(descriptor >> 32 & 0x3fff) << 4;
  unsigned mode = (unsigned)(descriptor >> 62);
  static const uint32_t widths[] = {16, 128, 64, 32};
  uint32_t width = widths[mode], offset;
  if (major == 0) {
    uint32_t byte = k * element_bytes;
    if (mode == 0)
      offset = row / 8 * stride + row % 8 * 16 + byte / 16 * leading + byte % 16; /* core matrices: 8 rows of 16 bytes */
    else offset = row / 8 * stride + row % 8 * width + byte;
  } else {
    uint32_t byte = row * element_bytes;
    if (mode == 0) offset = byte / 16 * stride + byte % 16 + k % 8 * 16 + k / 8 * leading;
    else offset = byte / width * leading + byte % width + k % 8 * width + k / 8 * stride;
  }
  return ptx_swizzle(start + offset, mode);
}

#endif
