/* What this machine does at most, measured by instructions of the processor that hmoec runs on: the one file outside of compiler/target/cpu that
 * names some. Commands are clients of the library, which measures no machine. */
#include "commands/ceilings.h"

#include <immintrin.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "support/clock.h"

enum { ROUNDS = 7, CHAINS = 12, STEPS = 2000000, OPERATIONS = 2 * CHAINS * STEPS };

/* ---- threads: one call of a loop on each ---- */

enum { MAX_THREADS = 4096 };
typedef void (*loop_fn)(void *context, size_t index);

typedef struct share {
  pthread_t thread;
  loop_fn loop;
  void *context;
  size_t index;
} share;

static void *run_share(void *argument) {
  share *mine = argument;
  mine->loop(mine->context, mine->index);
  return NULL;
}

/* Whether all of them could be started. */
static bool run_on_threads(size_t threads, loop_fn loop, void *context) {
  share *shares = calloc(threads, sizeof *shares);
  size_t started = 1;
  if (!shares || threads > MAX_THREADS) {
    free(shares);
    return false;
  }
  for (; started < threads; started++) {
    shares[started] = (share){.loop = loop, .context = context, .index = started};
    if (pthread_create(&shares[started].thread, NULL, run_share, &shares[started])) break;
  }
  loop(context, 0);
  for (size_t i = 1; i < started; i++) pthread_join(shares[i].thread, NULL);
  free(shares);
  return started == threads;
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

/* Runs a loop of so many operations on every thread, several times; the best rate. */
static double best_gflops(loop_fn loop, double operations, size_t threads) {
  double best = 0;
  for (int round = 0; round < ROUNDS; round++) {
    double start = hmoec_clock_seconds();
    if (!run_on_threads(threads, loop, NULL)) return 0;
    double rate = operations * (double)threads / (hmoec_clock_seconds() - start) * 1e-9;
    best = rate > best ? rate : best;
  }
  return best;
}

double hmoec_ceiling_gflops(const char *cpu, size_t threads) {
  if (!strcmp(cpu, "portable")) return best_gflops(fma_portable, 4.0 * OPERATIONS, threads);
  if (!strcmp(cpu, "avx2")) return best_gflops(fma_avx2, 8.0 * OPERATIONS, threads);
  return best_gflops(fma_avx512, 16.0 * OPERATIONS, threads);
}

/* ---- bf16: the same with words of two values ---- */

enum { TILE_STEPS = 500000, TILES = 4, VECTOR_OPERATIONS = 64, TILE_OPERATIONS = 2 * 16 * 16 * 32 };

__attribute__((target("avx512f,avx512bf16"))) static void multiply_vectors(void *context, size_t index) {
  (void)context;
  __m512 sums[CHAINS];
  union {
    __m512i bits;
    __m512bh values;
  } a = {.bits = _mm512_set1_epi16(0x3f80)}, b = {.bits = _mm512_set1_epi16(0x3380)};
  for (int c = 0; c < CHAINS; c++) sums[c] = _mm512_set1_ps((float)c);
  for (int i = 0; i < STEPS; i++) {
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

double hmoec_ceiling_bf16_gflops(const char *cpu, size_t threads) {
  if (!strcmp(cpu, "amx")) return best_gflops(multiply_tiles, (double)TILES * TILE_STEPS * TILE_OPERATIONS, threads);
  if (!strcmp(cpu, "avx512_bf16")) return best_gflops(multiply_vectors, (double)CHAINS * STEPS * VECTOR_OPERATIONS, threads);
  return 0;
}

/* ---- memory ---- */

enum { PIECE_BYTES = 1 << 20, PIECES = 512 };

/* What the threads share: pieces are handed out one by one. */
typedef struct pieces {
  const char *memory;
  _Atomic size_t next;
} pieces;

static void read_pieces(void *context, size_t thread) {
  pieces *all = context;
  __m128i sums[4] = {_mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128()};
  (void)thread;
  for (size_t index; (index = atomic_fetch_add(&all->next, 1)) < PIECES;) {
    const char *piece = all->memory + index * PIECE_BYTES;
    for (size_t i = 0; i < PIECE_BYTES; i += 64)
      for (size_t j = 0; j < 4; j++)
        sums[j] = _mm_xor_si128(sums[j], _mm_load_si128((const __m128i *)(const void *)(piece + i + 16 * j)));
  }
  sums[0] = _mm_xor_si128(_mm_xor_si128(sums[0], sums[1]), _mm_xor_si128(sums[2], sums[3]));
  sink = (float)_mm_cvtsi128_si32(sums[0]);
}

double hmoec_ceiling_gigabytes_per_second(size_t threads) {
  char *memory = aligned_alloc(64, (size_t)PIECE_BYTES * PIECES);
  if (!memory) return 0;
  memset(memory, 1, (size_t)PIECE_BYTES * PIECES);
  double best = 0;
  for (int round = 0; round < ROUNDS; round++) {
    pieces all = {.memory = memory};
    double start = hmoec_clock_seconds();
    if (!run_on_threads(threads, read_pieces, &all)) break;
    double rate = (double)((size_t)PIECE_BYTES * PIECES) / (hmoec_clock_seconds() - start) * 1e-9;
    best = rate > best ? rate : best;
  }
  free(memory);
  return best;
}
