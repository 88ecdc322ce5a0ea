#include "machine_ceilings.h"

#include <immintrin.h>
#include <pthreadpool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile float sink;

/* ---- tiles: the system grants them to a process that asks, once ---- */

int bench_ask_for_tiles(void) {
  enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
  return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

/* ---- reads ---- */

enum { STREAMS = 2, STREAM_BYTES = 1 << 18, PIECE_BYTES = STREAMS * STREAM_BYTES, PIECES = 2048, AHEAD_BYTES = 1024 };

struct bench_reader {
  pthreadpool_t pool;
  char *memory; /* [PIECES][PIECE_BYTES] */
  size_t next;  /* piece */
};

static void read_piece(void *context, size_t index) {
  const bench_reader *reader = context;
  const char *piece = reader->memory + (reader->next + index) % PIECES * PIECE_BYTES;
  __m128i sums[4] = {_mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128()};
  for (size_t i = 0; i < STREAM_BYTES; i += 64)
    for (size_t stream = 0; stream < STREAMS; stream++) {
      const char *line = piece + stream * STREAM_BYTES + i;
      _mm_prefetch(line + AHEAD_BYTES, _MM_HINT_T0);
      for (size_t j = 0; j < 4; j++)
        sums[j] = _mm_xor_si128(sums[j], _mm_load_si128((const __m128i *)(const void *)(line + 16 * j)));
    }
  sums[0] = _mm_xor_si128(_mm_xor_si128(sums[0], sums[1]), _mm_xor_si128(sums[2], sums[3]));
  sink = (float)_mm_cvtsi128_si32(sums[0]);
}

bench_reader *bench_reader_create(size_t threads) {
  size_t bytes = (size_t)PIECE_BYTES * PIECES;
  bench_reader *reader = calloc(1, sizeof *reader);
  if (!reader) return NULL;
  char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  reader->memory = memory == MAP_FAILED ? NULL : memory;
  reader->pool = pthreadpool_create(threads);
  if (!reader->memory || !reader->pool) {
    bench_reader_destroy(reader);
    return NULL;
  }
  madvise(memory, bytes, MADV_HUGEPAGE);
  memset(memory, 1, bytes);
  return reader;
}

void bench_reader_destroy(bench_reader *reader) {
  if (reader->pool) pthreadpool_destroy(reader->pool);
  if (reader->memory) munmap(reader->memory, (size_t)PIECE_BYTES * PIECES);
  free(reader);
}

void bench_reader_run(bench_reader *reader, size_t bytes) {
  size_t pieces = (bytes + PIECE_BYTES / 2) / PIECE_BYTES;
  pthreadpool_parallelize_1d(reader->pool, read_piece, reader, pieces, 0);
  reader->next = (reader->next + pieces) % PIECES;
}
