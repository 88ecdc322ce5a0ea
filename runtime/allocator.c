/* The one door to memory. Every allocation of the library passes here, so that a caller's allocator sees all of them and a test can
 * make any of them fail. */
#include "runtime_internal.h"

#include <stdlib.h>
#include <sys/mman.h>

/* Kernels stream the weights: in pages of 4 KiB they would wait for a translation every 64 cache lines. */
enum { HUGE_PAGE = 2 << 20, HUGE_FROM = 4 << 20 };

/* A mapping of its own, which the system gives zeroed, cut out of one that is a page longer. */
static void *map_huge(uint64_t size_bytes) {
  uint64_t padded = hmoe_round_up(size_bytes, HUGE_PAGE), longer = hmoe_add(padded, HUGE_PAGE);
  void *mapped = longer > PTRDIFF_MAX ? MAP_FAILED : mmap(NULL, longer, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return NULL;
  uint8_t *begin = mapped;
  uint64_t before = hmoe_round_up((uintptr_t)begin, HUGE_PAGE) - (uintptr_t)begin;
  if (before) munmap(begin, before);
  if (HUGE_PAGE - before) munmap(begin + before + padded, HUGE_PAGE - before);
  (void)madvise(begin + before, padded, MADV_HUGEPAGE); /* a wish */
  return begin + before;
}

static void *default_allocate(void *context, size_t size_bytes, size_t alignment_bytes) {
  (void)context;
  if (size_bytes >= HUGE_FROM) return alignment_bytes <= HUGE_PAGE ? map_huge(size_bytes) : NULL;
  /* aligned_alloc wants a multiple of the alignment. */
  return aligned_alloc(alignment_bytes, hmoe_round_up(size_bytes, alignment_bytes));
}

static void default_release(void *context, void *memory, size_t size_bytes) {
  (void)context;
  if (size_bytes >= HUGE_FROM) munmap(memory, hmoe_round_up(size_bytes, HUGE_PAGE));
  else free(memory);
}

bool hmoe_allocator_gives_zeros(const hmoe_allocator *allocator, uint64_t size_bytes) {
  return allocator->allocate == default_allocate && size_bytes >= HUGE_FROM;
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
