/* The one door to memory. Every allocation of the library passes here, so that a caller's allocator sees all of them and a test can
 * make any of them fail. */
#include "runtime_internal.h"

#include <stdlib.h>
#include <sys/mman.h>

/* Kernels stream the weights: in pages of 4 KiB they would wait for a translation every 64 cache lines. */
enum { HUGE_PAGE = 2 << 20, HUGE_FROM = 4 << 20 };

static void *default_allocate(void *context, size_t size_bytes, size_t alignment_bytes) {
  (void)context;
  bool huge = size_bytes >= HUGE_FROM && alignment_bytes <= HUGE_PAGE;
  if (huge) alignment_bytes = HUGE_PAGE;
  /* aligned_alloc wants a multiple of the alignment. */
  uint64_t padded = hmoe_round_up(size_bytes, alignment_bytes);
  void *memory = padded > PTRDIFF_MAX ? NULL : aligned_alloc(alignment_bytes, padded);
  if (memory && huge) (void)madvise(memory, padded, MADV_HUGEPAGE); /* a wish */
  return memory;
}

static void default_release(void *context, void *memory, size_t size_bytes) {
  (void)context;
  (void)size_bytes;
  free(memory);
}

hmoe_allocator hmoe_allocator_default(void) { return (hmoe_allocator){NULL, default_allocate, default_release}; }

hmoe_status hmoe_allocate(const hmoe_allocator *allocator, uint64_t size_bytes, const char *what, void **out_memory) {
  size_bytes = hmoe_max(size_bytes, 1);
  *out_memory = size_bytes > PTRDIFF_MAX ? NULL : allocator->allocate(allocator->context, size_bytes, HMOE_ALIGNMENT);
  if (*out_memory) return HMOE_OK;
  return hmoe_fail(HMOE_OUT_OF_MEMORY, "no memory for %s: %llu bytes", what, (unsigned long long)size_bytes);
}

void hmoe_release(const hmoe_allocator *allocator, void *memory, uint64_t size_bytes) {
  if (memory) allocator->release(allocator->context, memory, hmoe_max(size_bytes, 1));
}

uint64_t hmoe_binomial(uint64_t n, uint64_t k) {
  if (k > n) return 0;
  if (k > n - k) k = n - k;
  uint64_t result = 1;
  for (uint64_t i = 1; i <= k; i++) {
    uint64_t product = hmoe_mul(result, n - k + i);
    if (product == UINT64_MAX) return UINT64_MAX;
    result = product / i;
  }
  return result;
}
