#include "commands/ceilings.h"

#include <immintrin.h>
#include <pthreadpool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 7, CHAINS = 12, STEPS = 2000000, OPERATIONS = 2 * CHAINS * STEPS };

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- multiply-adds: independent chains, enough to hide the latency of two units ---- */

static volatile float sink;

#define FMA_LOOP(name, attribute, vector, set1, fmadd)                                                                             \
  attribute static void name(void *context, size_t index) {                                                                        \
    (void)context;                                                                                                                 \
    vector sums[CHAINS], a = set1(0.999999f), b = set1(1e-6f);                                                                     \
    for (int c = 0; c < CHAINS; c++) sums[c] = set1((float)c);                                                                     \
    for (int i = 0; i < STEPS; i++) { _Pragma("GCC unroll 12") for (int c = 0; c < CHAINS; c++) sums[c] = fmadd(sums[c], a, b); }  \
    float values[sizeof(vector) / sizeof(float)], total = (float)index;                                                            \
    for (int c = 0; c < CHAINS; c++) {                                                                                             \
      memcpy(values, &sums[c], sizeof values);                                                                                     \
      total += values[0];                                                                                                          \
    }                                                                                                                              \
    sink = total;                                                                                                                  \
  }

#define MULTIPLY_ADD(x, y, z) _mm_add_ps(_mm_mul_ps(x, y), z)
FMA_LOOP(fma_avx512, __attribute__((target("avx512f"))), __m512, _mm512_set1_ps, _mm512_fmadd_ps)
FMA_LOOP(fma_avx2, __attribute__((target("avx2,fma"))), __m256, _mm256_set1_ps, _mm256_fmadd_ps)
FMA_LOOP(fma_portable, , __m128, _mm_set1_ps, MULTIPLY_ADD)

double hmoec_ceiling_gflops(const char *cpu, size_t threads) {
  pthreadpool_task_1d_t loop = fma_portable;
  double lanes = 4;
  if (!strncmp(cpu, "avx512", strlen("avx512")) || !strcmp(cpu, "amx")) {
    loop = fma_avx512;
    lanes = 16;
  } else if (!strcmp(cpu, "avx2")) {
    loop = fma_avx2;
    lanes = 8;
  }
  pthreadpool_t pool = pthreadpool_create(threads);
  if (!pool) return 0;
  double best = 0;
  for (int round = 0; round < ROUNDS; round++) {
    double start = seconds();
    pthreadpool_parallelize_1d(pool, loop, NULL, threads, PTHREADPOOL_FLAG_YIELD_WORKERS);
    double rate = lanes * (double)OPERATIONS * (double)threads / (seconds() - start) * 1e-9;
    best = rate > best ? rate : best;
  }
  pthreadpool_destroy(pool);
  return best;
}

/* ---- memory ---- */

enum { PIECE_BYTES = 1 << 20, PIECES = 512 };

static void read_piece(void *context, size_t index) {
  const char *piece = (const char *)context + index * PIECE_BYTES;
  __m128i sums[4] = {_mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128()};
  for (size_t i = 0; i < PIECE_BYTES; i += 64)
    for (size_t j = 0; j < 4; j++)
      sums[j] = _mm_xor_si128(sums[j], _mm_load_si128((const __m128i *)(const void *)(piece + i + 16 * j)));
  sums[0] = _mm_xor_si128(_mm_xor_si128(sums[0], sums[1]), _mm_xor_si128(sums[2], sums[3]));
  sink = (float)_mm_cvtsi128_si32(sums[0]);
}

double hmoec_ceiling_gigabytes_per_second(size_t threads) {
  char *memory = aligned_alloc(64, (size_t)PIECE_BYTES * PIECES);
  pthreadpool_t pool = pthreadpool_create(threads);
  double best = 0;
  if (memory && pool) {
    memset(memory, 1, (size_t)PIECE_BYTES * PIECES);
    for (int round = 0; round < ROUNDS; round++) {
      double start = seconds();
      pthreadpool_parallelize_1d(pool, read_piece, memory, PIECES, PTHREADPOOL_FLAG_YIELD_WORKERS);
      double rate = (double)((size_t)PIECE_BYTES * PIECES) / (seconds() - start) * 1e-9;
      best = rate > best ? rate : best;
    }
  }
  if (pool) pthreadpool_destroy(pool);
  free(memory);
  return best;
}
