#include "commands/ceilings.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_THREADS 256
#define FMA_ROUNDS 3000000
#define READ_BYTES ((size_t)64 << 20) /* a thread; beyond any cache share */
#define READ_ROUNDS 3

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef float v16 __attribute__((vector_size(64)));
typedef float v8 __attribute__((vector_size(32)));
typedef float v4 __attribute__((vector_size(16)));

/* Independent chains, enough to hide the latency of one multiply-add. The compiler contracts a*x + b where the target has it. */
#define CHAINS 12
#define FMA_KERNEL(name, type, ...)                                                        \
  __VA_ARGS__ static double name(long rounds) {                                            \
    type acc[CHAINS], x = {0}, b = {0};                                                    \
    x += 0.999f;                                                                           \
    b += 1e-3f;                                                                            \
    for (int i = 0; i < CHAINS; i++) acc[i] = b * (float)i;                                \
    for (long r = 0; r < rounds; r++) {                                                    \
      for (int i = 0; i < CHAINS; i++) acc[i] = acc[i] * x + b;                            \
      __asm__ volatile("" ::: "memory");                                                   \
    }                                                                                      \
    type sum = {0};                                                                        \
    for (int i = 0; i < CHAINS; i++) sum += acc[i];                                        \
    return (double)sum[0];                                                                 \
  }

FMA_KERNEL(fma_avx512, v16, __attribute__((target("avx512f,fma"), noinline)))
FMA_KERNEL(fma_avx2, v8, __attribute__((target("avx2,fma"), noinline)))
FMA_KERNEL(fma_portable, v4, __attribute__((noinline)))

typedef struct fma_row { double (*run)(long rounds); double lanes; } fma_row;

static fma_row best_fma(void) {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) return (fma_row){fma_avx512, 16};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return (fma_row){fma_avx2, 8};
  return (fma_row){fma_portable, 4};
}

typedef struct worker {
  pthread_t thread;
  atomic_size_t *ready;
  size_t threads;
  fma_row fma;
  const uint64_t *data;
  double seconds_fma, seconds_read;
  volatile double sink;
} worker;

/* Waits until all threads came here `phase` times. */
static void meet(worker *w, size_t phase) {
  atomic_fetch_add(w->ready, 1);
  while (atomic_load(w->ready) < phase * w->threads) sched_yield();
}

static void *work(void *argument) {
  worker *w = argument;
  w->sink = w->fma.run(FMA_ROUNDS / 10); /* clocks settle */
  meet(w, 1);
  double begin = now();
  w->sink = w->fma.run(FMA_ROUNDS);
  w->seconds_fma = now() - begin;
  meet(w, 2);
  if (!w->data) return NULL;
  begin = now();
  uint64_t sums[8] = {0};
  for (int round = 0; round < READ_ROUNDS; round++)
    for (size_t i = 0; i < READ_BYTES / 8; i += 8)
      for (size_t j = 0; j < 8; j++) sums[j] += w->data[i + j];
  w->seconds_read = now() - begin;
  w->sink = (double)(sums[0] ^ sums[1] ^ sums[2] ^ sums[3] ^ sums[4] ^ sums[5] ^ sums[6] ^ sums[7]);
  return NULL;
}

hmoec_ceilings hmoec_ceilings_measure(size_t threads) {
  hmoec_ceilings result = {0};
  if (threads < 1) threads = 1;
  if (threads > MAX_THREADS) threads = MAX_THREADS;
  worker *workers = calloc(threads, sizeof *workers);
  if (!workers) return result;
  atomic_size_t ready = 0;
  for (size_t i = 0; i < threads; i++) {
    void *data = aligned_alloc(64, READ_BYTES);
    if (data) memset(data, 1, READ_BYTES);
    workers[i] = (worker){.ready = &ready, .threads = threads, .fma = best_fma(), .data = data};
  }
  for (size_t i = 1; i < threads; i++)
    if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) {
      atomic_store(&ready, 2 * threads); /* lets those that wait go; what they measure is dropped */
      for (size_t j = 1; j < i; j++) pthread_join(workers[j].thread, NULL);
      for (size_t j = 0; j < threads; j++) free((void *)workers[j].data);
      free(workers);
      return result;
    }
  work(&workers[0]);
  double slowest_fma = 0, slowest_read = 0;
  for (size_t i = 0; i < threads; i++) {
    if (i > 0) pthread_join(workers[i].thread, NULL);
    if (workers[i].seconds_fma > slowest_fma) slowest_fma = workers[i].seconds_fma;
    if (workers[i].seconds_read > slowest_read) slowest_read = workers[i].seconds_read;
    free((void *)workers[i].data);
  }
  result.fma_gflops = 2e-9 * CHAINS * workers[0].fma.lanes * FMA_ROUNDS * (double)threads / slowest_fma;
  if (slowest_read > 0) result.read_gbytes = 1e-9 * (double)READ_BYTES * READ_ROUNDS * (double)threads / slowest_read;
  free(workers);
  return result;
}
