#include "machine_ceilings.h"

#include <cpuid.h>
#include <immintrin.h>
#include <pthreadpool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 7, CHAINS = 12, VECTOR_STEPS = 2000000, TILE_STEPS = 500000 };
static const double vector_operations = 64, tile_operations = 2 * 16 * 16 * 32; /* of one instruction */

static volatile float sink;

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- what the CPU has ---- */

static int has_bit(unsigned leaf, unsigned subleaf, int which, unsigned bit) {
  unsigned registers[4];
  if (!__get_cpuid_count(leaf, subleaf, &registers[0], &registers[1], &registers[2], &registers[3])) return 0;
  return registers[which] >> bit & 1;
}

/* Zero-based enabled state components: 5 to 7 are AVX-512's, 17 and 18 the tiles'. */
static unsigned enabled_states(void) {
  unsigned low, high;
  if (!has_bit(1, 0, 2, 27)) return 0; /* OSXSAVE */
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

static int has_avx512_bf16(void) { return has_bit(7, 1, 0, 5) && has_bit(7, 0, 1, 16) && (enabled_states() & 0xe6) == 0xe6; }

/* Also asks the system for the tiles' state, which it grants to a process, once. */
static int has_amx_bf16(void) {
  enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
  if (!has_bit(7, 0, 3, 24) || !has_bit(7, 0, 3, 22) || (enabled_states() & 0x60000) != 0x60000) return 0;
  return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

/* ---- the loops: independent chains, enough to hide the latency ---- */

__attribute__((target("avx512f,avx512bf16"))) static void multiply_vectors(void *context, size_t index) {
  (void)context;
  __m512 sums[CHAINS];
  union {
    __m512i bits;
    __m512bh values;
  } a = {.bits = _mm512_set1_epi16(0x3f80)}, b = {.bits = _mm512_set1_epi16(0x3380)};
  for (int c = 0; c < CHAINS; c++) sums[c] = _mm512_set1_ps((float)c);
  for (int i = 0; i < VECTOR_STEPS; i++) {
#pragma GCC unroll 12
    for (int c = 0; c < CHAINS; c++) sums[c] = _mm512_dpbf16_ps(sums[c], a.values, b.values);
  }
  float total = (float)index;
  for (int c = 0; c < CHAINS; c++) total += _mm512_cvtss_f32(sums[c]);
  sink = total;
}

/* Four sums, two left and two right operands: what a kernel would hold in the eight tiles. */
__attribute__((target("amx-tile,amx-bf16"))) static void multiply_tiles(void *context, size_t index) {
  (void)context;
  struct {
    unsigned char palette, start_row, reserved[14];
    unsigned short row_bytes[16];
    unsigned char rows[16];
  } config = {.palette = 1};
  _Alignas(64) char zeros[1024] = {0};
  _Alignas(64) float sums[256];
  for (int tile = 0; tile < 8; tile++) {
    config.row_bytes[tile] = 64;
    config.rows[tile] = 16;
  }
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, zeros, 64);
  _tile_loadd(5, zeros, 64);
  _tile_loadd(6, zeros, 64);
  _tile_loadd(7, zeros, 64);
  for (int i = 0; i < TILE_STEPS; i++) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums, 64);
  sink = sums[0] + (float)index;
  _tile_release();
}

double bench_ceiling_bf16_gflops(size_t threads, const char **out_instruction) {
  pthreadpool_task_1d_t loop = NULL;
  double operations = 0;
  *out_instruction = "none";
  if (has_amx_bf16()) {
    *out_instruction = "amx";
    loop = multiply_tiles;
    operations = 4 * tile_operations * TILE_STEPS;
  } else if (has_avx512_bf16()) {
    *out_instruction = "avx512_bf16";
    loop = multiply_vectors;
    operations = CHAINS * vector_operations * VECTOR_STEPS;
  }
  pthreadpool_t pool = loop ? pthreadpool_create(threads) : NULL;
  if (!pool) return 0;
  double best = 0;
  for (int round = 0; round < ROUNDS; round++) {
    double start = seconds();
    pthreadpool_parallelize_1d(pool, loop, NULL, threads, PTHREADPOOL_FLAG_YIELD_WORKERS);
    double rate = operations * (double)threads / (seconds() - start) * 1e-9;
    best = rate > best ? rate : best;
  }
  pthreadpool_destroy(pool);
  return best;
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
