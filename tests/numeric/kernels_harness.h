/* Shared by the kernel tests: compile a list of kernels, run one of them in every version this machine has, and keep watch around
 * every buffer: memory ends at a page that cannot be touched, and what lies before it must stay as it was. */
#ifndef KERNELS_HARNESS_H
#define KERNELS_HARNESS_H

#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>
#include <mlir-c/RegisterEverything.h>

#include "amx_emulator.h"
#include "hmoe/abi_cpu.h"
#include "hmoe/abi_cuda.h"
#include "ir/location.h"
#include "library/load.h"
#include "sanitized.h"
#include "target/cpu/codegen.h"

/* ---- random numbers; the seed is printed, and HMOE_TEST_SEED sets it ---- */

static uint64_t harness_state;

static inline void harness_seed(void) {
  const char *given = getenv("HMOE_TEST_SEED");
  harness_state = given ? strtoull(given, NULL, 0) : 20240711u;
  printf("seed %" PRIu64 "\n", harness_state);
}

static inline uint64_t harness_random(void) {
  uint64_t z = (harness_state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}
static inline int64_t harness_below(int64_t bound) { return (int64_t)(harness_random() % (uint64_t)bound); }
static inline bool harness_coin(void) { return harness_random() & 1; }
static inline float harness_float(void) { return (float)((double)(harness_random() >> 11) * 0x1p-52 - 1.0); } /* [-1, 1) */

/* ---- watched memory ---- */

typedef struct harness_buffer {
  char *map;
  size_t map_bytes;
  void *data;
  size_t bytes;
} harness_buffer;
enum { HARNESS_PAGE = 4096, HARNESS_FILL = 0xa5 };

/* Those there are. */
enum { HARNESS_MOST_BUFFERS = 256 };
static harness_buffer harness_buffers[HARNESS_MOST_BUFFERS];

/* The number of the one that holds an address; -1: none does. */
static inline int harness_find(const void *address) {
  for (int i = 0; address && i < HARNESS_MOST_BUFFERS; i++) {
    const harness_buffer *b = &harness_buffers[i];
    if (b->map && (const char *)address >= (const char *)b->data && (const char *)address <= (const char *)b->data + b->bytes)
      return i;
  }
  return -1;
}

static inline void harness_remember(const harness_buffer *b) {
  for (int i = 0; i < HARNESS_MOST_BUFFERS; i++) {
    if (harness_buffers[i].map) continue;
    harness_buffers[i] = *b;
    return;
  }
  fail_msg("more than %d buffers", HARNESS_MOST_BUFFERS);
}

static inline harness_buffer harness_alloc(size_t bytes) {
  harness_buffer b = {.bytes = bytes};
  size_t body = (bytes + HARNESS_PAGE) / HARNESS_PAGE * HARNESS_PAGE + HARNESS_PAGE;
  b.map_bytes = body + HARNESS_PAGE;
  b.map = mmap(NULL, b.map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_ptr_not_equal(b.map, MAP_FAILED);
  memset(b.map, HARNESS_FILL, body);
  assert_int_equal(mprotect(b.map + body, HARNESS_PAGE, PROT_NONE), 0);
  b.data = b.map + body - bytes;
  harness_remember(&b);
  return b;
}

static inline void harness_free(harness_buffer *b) {
  for (char *p = b->map; p < (char *)b->data; p++)
    if ((unsigned char)*p != HARNESS_FILL) fail_msg("written %td bytes before a buffer", (char *)b->data - p);
  for (int i = 0; i < HARNESS_MOST_BUFFERS; i++)
    if (harness_buffers[i].map == b->map) harness_buffers[i] = (harness_buffer){0};
  munmap(b->map, b->map_bytes);
  *b = (harness_buffer){0};
}

static inline harness_buffer harness_floats(int64_t count) {
  harness_buffer b = harness_alloc((size_t)count * 4);
  float *data = b.data;
  for (int64_t i = 0; i < count; i++) data[i] = harness_float();
  return b;
}

/* ---- bf16, and the layouts of right operands (abi.h) ---- */

static inline hmoec_format harness_format(bool bf16) { return bf16 ? HMOEC_FORMAT_BF16 : HMOEC_FORMAT_F32; }

/* To nearest, ties to even; a NaN stays one. */
static inline uint16_t harness_bf16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  if (isnan(value)) return (uint16_t)(bits >> 16 | 0x40);
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
static inline float harness_from_bf16(uint16_t half) {
  uint32_t bits = (uint32_t)half << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

static inline int64_t harness_up(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

static inline int64_t harness_panels_bytes(int64_t k, int64_t n) { return harness_up(n, HMOE_PANEL) * k * 4; }
#ifdef HARNESS_CUDA
enum { HARNESS_DEPTH_STEP = HMOE_CUDA_PLANE, HARNESS_PLANES = 1 };
#else
enum { HARNESS_DEPTH_STEP = HMOE_PANEL, HARNESS_PLANES = 0 };
#endif
static inline int64_t harness_pairs_bytes(int64_t k, int64_t n) {
  return harness_up(n, HMOE_PANEL) * harness_up(k, HARNESS_DEPTH_STEP) * 2;
}

/* b [k, n] to panels and to pairs, or planes of CUDA, padding included. */
static inline void harness_pack_panels(const float *b, int64_t k, int64_t n, float *out) {
  memset(out, 0, (size_t)harness_panels_bytes(k, n));
  for (int64_t i = 0; i < k * n; i++) out[(i % n / 32 * k + i / n) * 32 + i % n % 32] = b[i];
}
static inline void harness_pack_pairs(const float *b, int64_t k, int64_t n, uint16_t *out) {
  memset(out, 0, (size_t)harness_pairs_bytes(k, n));
  for (int64_t row = 0; row < k; row++)
    for (int64_t column = 0; column < n; column++) {
#ifdef HARNESS_CUDA
      uint64_t line = (uint64_t)((column / 32 * (harness_up(k, 64) / 64) + row / 64) * 32 + column % 32);
      uint64_t at = line * 64 + hmoe_cuda_place((uint64_t)row % 64, (uint64_t)column);
#else
      int64_t words = harness_up(k, HMOE_PANEL) / 2, at = ((column / 32 * words + row / 2) * 32 + column % 32) * 2 + row % 2;
#endif
      out[at] = harness_bf16(b[row * n + column]);
    }
}

/* ---- compiling and running ---- */

#ifdef HARNESS_CUDA
#include "cuda/kernels_on_cuda.h"
#else

enum { HARNESS_BF16_PRODUCTS = 1, HARNESS_MOST_BLOCK_ROWS = 112, HARNESS_IS_SLOW = 0 };

typedef struct harness_unit {
  MlirContext context;
  hmoec_diagnostics *diagnostics;
  hmoec_loaded *loaded;
  const hmoe_model_object *object;
  const hmoec_kernel *kernels; /* borrowed until harness_destroy */
  hmoec_cpu_schedule schedule;
} harness_unit;

/* The sums of a product are the same whatever its rows are. */
static inline void harness_choose_way(int64_t rows) { (void)rows; }
static inline int harness_way(int64_t rows, int64_t blocks) { return (void)rows, (void)blocks, 0; }

enum { HARNESS_VERSIONS = 7, HARNESS_VERSIONS_BF16 = 31 }; /* of an object, by what it multiplies */

static inline bool harness_has_version(int version) {
  switch (version) {
  case HMOE_CPU_PORTABLE: return true;
  case HMOE_CPU_AVX2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  case HMOE_CPU_AVX512_BF16: return harness_has_version(HMOE_CPU_AVX512) && __builtin_cpu_supports("avx512bf16");
  case HMOE_CPU_AMX: return harness_has_version(HMOE_CPU_AVX512_BF16) && amx_emulator_install();
  default:
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd");
  }
}

/* NULL: the object does not have the version. */
static inline const hmoe_image *harness_image(const hmoe_model_object *object, int version) {
  static const char *const names[HMOE_CPU_COUNT] = {"portable", "avx2", "avx512", "avx512_bf16", "amx"};
  for (uint32_t i = 0; i < object->image_count; i++)
    if (strcmp(object->images[i].target, "cpu") == 0 && strcmp(object->images[i].version, names[version]) == 0)
      return &object->images[i];
  return NULL;
}

static inline const hmoe_function *harness_function(const hmoe_model_object *object, int version, size_t kernel) {
  return &harness_image(object, version)->functions[kernel];
}

/* The versions of an object: all, or where one is enough one of the machine's in turn. An object of one kernel has all of them always. */
static inline unsigned harness_versions(size_t count, bool is_bf16) {
  unsigned all = is_bf16 ? HARNESS_VERSIONS_BF16 : HARNESS_VERSIONS;
  static int turn = -1;
  if (!SANITIZED || count == 1) return all;
  do turn = (turn + 1) % HMOE_CPU_COUNT;
  while (!(all >> turn & 1) || !harness_has_version(turn));
  return 1u << turn;
}

static inline harness_unit harness_begin(hmoec_cpu_schedule schedule) {
  harness_unit u = {.schedule = schedule};
  MlirDialectRegistry registry = mlirDialectRegistryCreate();
  mlirRegisterAllDialects(registry);
  u.context = mlirContextCreateWithRegistry(registry, false);
  mlirDialectRegistryDestroy(registry);
  u.diagnostics = hmoec_diagnostics_create(stderr);
  hmoec_diagnostics_attach(u.diagnostics, u.context);
  return u;
}

/* functions: that the kernels name, or NULL. */
static inline hmoec_cpu_unit harness_cpu_unit(const harness_unit *u, const hmoec_kernel *kernels, size_t count,
                                              const hmoec_scalar_library *functions) {
  bool is_bf16 = false;
  for (size_t i = 0; i < count; i++) is_bf16 |= hmoec_is_bf16(hmoec_kernel_format(&kernels[i]));
  return (hmoec_cpu_unit){.name = "test",
                          .kernels = kernels,
                          .kernel_count = count,
                          .functions = functions,
                          .plan = "plan",
                          .plan_bytes = 4,
                          .schedule = u->schedule,
                          .versions = harness_versions(count, is_bf16)};
}

/* Takes the bytes of an object of the unit. */
static inline void harness_load(harness_unit *u, const hmoec_cpu_unit *unit, char *bytes, size_t size) {
  assert_true(hmoec_object_load("test", bytes, size, u->diagnostics, &u->loaded, &u->object));
  free(bytes);
  assert_int_equal(u->object->abi_version, HMOE_ABI_VERSION);
  assert_int_equal(u->object->kernel_count, unit->kernel_count);
  assert_memory_equal(u->object->plan, "plan", 4);
  for (int v = 0; v < HMOE_CPU_COUNT; v++) assert_int_equal(harness_image(u->object, v) != NULL, unit->versions >> v & 1);
}

static inline harness_unit harness_compile_functions(const hmoec_kernel *kernels, size_t count, hmoec_cpu_schedule schedule,
                                                     const hmoec_scalar_library *functions) {
  harness_unit u = harness_begin(schedule);
  hmoec_cpu_unit unit = harness_cpu_unit(&u, kernels, count, functions);
  u.kernels = kernels;
  char *bytes;
  size_t size;
  assert_true(hmoec_cpu_generate(u.context, &unit, HMOEC_OUTPUT_OBJECT, u.diagnostics, &bytes, &size));
  harness_load(&u, &unit, bytes, size);
  return u;
}

static inline harness_unit harness_compile(const hmoec_kernel *kernels, size_t count, hmoec_cpu_schedule schedule) {
  return harness_compile_functions(kernels, count, schedule, NULL);
}

static inline void harness_destroy(harness_unit *u) {
  hmoec_loaded_destroy(u->loaded);
  mlirContextDestroy(u->context);
  hmoec_diagnostics_destroy(u->diagnostics);
}

/* Runs all tasks, in a random order, each with scratch full of NaN and a watch around it. Tiles are released after each. */
static inline void harness_run_dims(const harness_unit *u, int version, size_t kernel, void *const *buffers, const int64_t *dims,
                                    size_t dim_count, int64_t rows, int64_t blocks, int64_t splits) {
  hmoe_kernel_call call = {.buffers = buffers, .rows = rows, .splits = splits, .dims = dim_count ? dims : NULL};
  const hmoe_function *function = harness_function(u->object, version, kernel);
  harness_buffer scratch = harness_alloc(function->scratch_bytes);
  assert_true(((uintptr_t)scratch.data & 63) == 0);
  int64_t tasks = blocks * splits, start = tasks ? harness_below(tasks) : 0;
  for (int64_t i = 0; i < tasks; i++) {
    memset(scratch.data, 0xff, scratch.bytes);
    function->call(&call, (i + start) % tasks, scratch.data);
    assert_false(amx_emulator_is_configured());
    assert_int_equal(amx_emulator_read_counts().idle_loads, 0);
  }
  harness_free(&scratch);
}

static inline void harness_run(const harness_unit *u, int version, size_t kernel, void *const *buffers, int64_t rows,
                               int64_t blocks, int64_t splits) {
  harness_run_dims(u, version, kernel, buffers, NULL, 0, rows, blocks, splits);
}

/* The versions in the object that this machine can run. */
#define HARNESS_EACH_VERSION(u, v)                                                                                                 \
  for (int v = 0; v < HMOE_CPU_COUNT; v++)                                                                                         \
    if (harness_image((u).object, v) && harness_has_version(v))

#endif

#endif
