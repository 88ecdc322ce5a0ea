/* The AMX emulator against plain C: written with the compiler's own AMX instructions, so that its assembler vouches for the decoding. On a
 * machine with AMX the same tests compare that machine with plain C. HMOE_TEST_SEED repeats a run. */
#include "amx_emulator.h"

#include <fenv.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "kernels_harness.h"

#if defined(__x86_64__) && defined(__linux__)
#include <immintrin.h>

#define AMX __attribute__((target("amx-tile,amx-bf16")))
#define MEMORY_DONE() __asm__ volatile("" ::: "memory") /* the intrinsics do not say what they read */

typedef struct tile_config {
  uint8_t palette, start_row, reserved0[14];
  uint16_t row_bytes[8], reserved1[8];
  uint8_t rows[8], reserved2[8];
} tile_config;

static tile_config config_of(int64_t rows, int64_t pairs, int64_t columns) { /* C 0, A 1, B 2 */
  return (tile_config){.palette = 1,
                       .row_bytes = {(uint16_t)(4 * columns), (uint16_t)(4 * pairs), (uint16_t)(4 * columns)},
                       .rows = {(uint8_t)rows, (uint8_t)rows, (uint8_t)pairs}};
}

static void need_amx(void) {
  if (!amx_emulator_install()) skip();
}

/* ---- products ---- */

static float from_bf16(uint16_t x) {
  uint32_t bits = (uint32_t)x << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}
static float flushed(float x) { return fpclassify(x) == FP_SUBNORMAL ? copysignf(0, x) : x; }

static float fused(uint16_t a, uint16_t b, float c) { return flushed(fmaf(flushed(from_bf16(a)), flushed(from_bf16(b)), c)); }

/* The manual's loops, one element at a time. Strides in elements. */
static void reference_product(int64_t rows, int64_t pairs, int64_t columns, float *c, int64_t ldc, const uint16_t *a, int64_t lda,
                              const uint16_t *b, int64_t ldb) {
  for (int64_t m = 0; m < rows; m++)
    for (int64_t n = 0; n < columns; n++) {
      float even = 0, odd = 0;
      for (int64_t k = 0; k < pairs; k++) {
        even = fused(a[m * lda + 2 * k], b[k * ldb + 2 * n], even);
        odd = fused(a[m * lda + 2 * k + 1], b[k * ldb + 2 * n + 1], odd);
      }
      c[m * ldc + n] = flushed(flushed(c[m * ldc + n]) + flushed(even + odd));
    }
}

AMX static void tiled_product(const tile_config *config, float *c, int64_t ldc, const uint16_t *a, int64_t lda, const uint16_t *b,
                              int64_t ldb) {
  MEMORY_DONE();
  _tile_loadconfig(config);
  _tile_loadd(0, c, ldc * 4);
  _tile_loadd(1, a, lda * 2);
  _tile_stream_loadd(2, b, ldb * 2);
  _tile_dpbf16ps(0, 1, 2);
  _tile_stored(0, c, ldc * 4);
  _tile_release();
  MEMORY_DONE();
}

/* Random operands of one product, with a border around C that must stay. */
typedef struct operands {
  int64_t rows, pairs, columns, lda, ldb, ldc;
  uint16_t a[16 * 40], b[16 * 40];
  float c[16 * 20], want[16 * 20];
} operands;

static uint16_t random_bf16(uint64_t random, bool wild) {
  static const uint16_t special[] = {0x0000, 0x8000, 0x0001, 0x807f, 0x7f80, 0xff80,
                                     0x7fc0, 0x7f7f, 0x0080, 0x2000, 0x9fff, 0x1f00};
  if (wild && random % 8 == 0) return special[(random >> 8) % (sizeof special / sizeof special[0])];
  return (uint16_t)((random >> 16 & 0x807f) | (0x3f80 + (random >> 32 & 0x380) - 0x180));
}

static void fill(operands *o, uint64_t (*random)(void *), void *state, bool wild) {
  *o = (operands){.rows = 1 + (int64_t)(random(state) % 16),
                  .pairs = 1 + (int64_t)(random(state) % 16),
                  .columns = 1 + (int64_t)(random(state) % 16)};
  o->lda = 2 * o->pairs + (int64_t)(random(state) % 9);
  o->ldb = 2 * o->columns + (int64_t)(random(state) % 9);
  o->ldc = o->columns + (int64_t)(random(state) % 5);
  for (int i = 0; i < 16 * 40; i++) o->a[i] = random_bf16(random(state), wild), o->b[i] = random_bf16(random(state), wild);
  for (int i = 0; i < 16 * 20; i++) o->c[i] = o->want[i] = from_bf16(random_bf16(random(state), wild)) * 1.2345f;
  reference_product(o->rows, o->pairs, o->columns, o->want, o->ldc, o->a, o->lda, o->b, o->ldb);
}

static bool agree(const operands *o) {
  for (int i = 0; i < 16 * 20; i++)
    if (memcmp(&o->c[i], &o->want[i], 4) != 0 && !(isnan(o->c[i]) && isnan(o->want[i]))) return false;
  return true;
}

static uint64_t harness_next(void *unused) {
  (void)unused;
  return harness_random();
}

static void test_products(void **state) {
  (void)state;
  need_amx();
  amx_emulator_counts before = amx_emulator_read_counts();
  enum { PRODUCTS = 3000 };
  for (int i = 0; i < PRODUCTS; i++) {
    operands o;
    fill(&o, harness_next, NULL, i % 2);
    tile_config config = config_of(o.rows, o.pairs, o.columns);
    tiled_product(&config, o.c, o.ldc, o.a, o.lda, o.b, o.ldb);
    if (!agree(&o)) fail_msg("product %d of %" PRId64 " x %" PRId64 " x %" PRId64, i, o.rows, o.pairs, o.columns);
  }
  amx_emulator_counts after = amx_emulator_read_counts();
  uint64_t each = amx_emulator_needed() ? PRODUCTS : 0;
  assert_int_equal(after.configs - before.configs, each);
  assert_int_equal(after.loads - before.loads, 3 * each);
  assert_int_equal(after.products - before.products, each);
  assert_int_equal(after.stores - before.stores, each);
  assert_int_equal(after.releases - before.releases, each);
  assert_int_equal(after.zeros - before.zeros, 0);
}

/* The manual's order of sums, on numbers that tell it from others: the odd sum loses its small part, the even one does not. */
static void test_order_of_sums(void **state) {
  (void)state;
  need_amx();
  enum { ONE = 0x3f80, HUGE_ONE = 0x4b80 /* 2^24 */, MINUS_HUGE = 0xcb80 };
  uint16_t a[6] = {ONE, HUGE_ONE, ONE, ONE, ONE, MINUS_HUGE}, b[6] = {ONE, ONE, ONE, ONE, ONE, ONE};
  float c = 0.5f;
  tile_config config = config_of(1, 3, 1);
  tiled_product(&config, &c, 1, a, 6, b, 2);
  assert_true(c == 3.5f); /* one running sum of all would give 2.5, or 0.5 */
}

/* What would be denormal is zero, with its sign, and counts as zero: sums, products and C itself. */
static void test_denormals(void **state) {
  (void)state;
  need_amx();
  enum { ONE = 0x3f80, MINUS_ONE = 0xbf80, SMALL = 0x2000 /* 2^-63 */, MINUS_SMALL = 0xa000, DENORMAL = 0x0040, LEAST = 0x0080 };
  static const struct {
    uint16_t a[2], b[2];
    uint32_t c, want;
  } cases[] = {{{SMALL, 0}, {MINUS_SMALL, 0}, 0x00c00000, 0x00000000}, /* 1.5 - 1 times the least */
               {{MINUS_SMALL, 0}, {SMALL, 0}, 0x00800000, 0x00000000}, {{SMALL, 0}, {SMALL, 0}, 0x80c00000, 0x80000000},
               {{SMALL, 0}, {SMALL, 0}, 0x00400000, 0x00800000},       {{DENORMAL, 0}, {ONE, 0}, 0x3f800000, 0x3f800000},
               {{DENORMAL, LEAST}, {0x7f00, ONE}, 0, 0x00800000},      {{MINUS_ONE, 0}, {DENORMAL, 0}, 0x80400000, 0x00000000}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    tile_config config = config_of(1, 1, 1);
    float c;
    memcpy(&c, &cases[i].c, 4);
    tiled_product(&config, &c, 1, cases[i].a, 2, cases[i].b, 2);
    if (memcmp(&c, &cases[i].want, 4) != 0) fail_msg("case %zu: %g", i, (double)c);
  }
}

/* The caller's rounding and exceptions neither matter nor change. */
static void test_own_rounding(void **state) {
  (void)state;
  need_amx();
  enum { UP_AND_UNMASKED = 0x4000 };
  unsigned saved = _mm_getcsr();
  for (int i = 0; i < 200; i++) {
    operands o;
    fill(&o, harness_next, NULL, true);
    tile_config config = config_of(o.rows, o.pairs, o.columns);
    _mm_setcsr(UP_AND_UNMASKED);
    tiled_product(&config, o.c, o.ldc, o.a, o.lda, o.b, o.ldb);
    unsigned after = _mm_getcsr();
    _mm_setcsr(saved);
    assert_int_equal(after, UP_AND_UNMASKED);
    assert_true(agree(&o));
  }
}

/* ---- where operands may lie ---- */

enum { AREA = 1 << 16, TILE_ROWS = 5, TILE_BYTES = 24 };
#define LOW_ADDRESS 0x10000000 /* reachable by a displacement alone */
static uint8_t *area; /* the handler may use what is below its middle as a stack */

/* Runs `text` with what is in `base` and `index` moved to the registers of these names. */
#define IN_REGISTERS(base, B, index, I, text)                                                                                      \
  do {                                                                                                                             \
    uint64_t in_a = (uint64_t)(uintptr_t)(base), in_d = (uint64_t)(index);                                                         \
    __asm__ volatile("xchg %%rax, %%" B "\n\txchg %%rdx, %%" I "\n\t" text "\n\txchg %%rdx, %%" I "\n\txchg %%rax, %%" B           \
                     : "+a"(in_a), "+d"(in_d)                                                                                      \
                     :                                                                                                             \
                     : "memory");                                                                                                  \
  } while (0)

static tile_config area_config(void) {
  return (tile_config){.palette = 1, .row_bytes = {[3] = TILE_BYTES, [7] = TILE_BYTES}, .rows = {[3] = TILE_ROWS, [7] = TILE_ROWS}};
}

static uint8_t *middle(void) { return area + AREA / 2 + 16 * harness_below(64); }

static void fill_area(void) {
  for (int i = AREA / 4; i < AREA; i++) area[i] = (uint8_t)harness_random();
}

static void open_area(void) {
  if (!area)
    area = mmap((void *)(uintptr_t)LOW_ADDRESS, AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
                0);
  assert_ptr_equal(area, (void *)(uintptr_t)LOW_ADDRESS);
}

static void check_rows(const uint8_t *x, int64_t x_stride, const uint8_t *y, int64_t y_stride, const char *what) {
  for (int64_t r = 0; r < TILE_ROWS; r++)
    if (memcmp(x + r * x_stride, y + r * y_stride, TILE_BYTES) != 0) fail_msg("%s: row %" PRId64 " differs", what, r);
}

/* One form of address, loading and storing: D(B, I, S), rows `stride` bytes apart. */
#define CHECK_FORM(D, B, I, S, stride)                                                                                             \
  do {                                                                                                                             \
    tile_config config = area_config();                                                                                            \
    fill_area();                                                                                                                   \
    uint8_t *at = middle(), packed[TILE_ROWS * TILE_BYTES], source[TILE_ROWS * TILE_BYTES];                                        \
    for (size_t i = 0; i < sizeof source; i++) source[i] = (uint8_t)harness_random();                                              \
    MEMORY_DONE();                                                                                                                 \
    _tile_loadconfig(&config);                                                                                                     \
    IN_REGISTERS(at - (D), B, (stride) / (S), I, "tileloadd " #D "(%%" B ", %%" I ", " #S "), %%tmm3");                            \
    _tile_stored(3, packed, TILE_BYTES);                                                                                           \
    MEMORY_DONE();                                                                                                                 \
    check_rows(at, stride, packed, TILE_BYTES, "tileloadd " #D "(" B ", " I ", " #S ")");                                          \
    IN_REGISTERS(at - (D), B, (stride) / (S), I, "tileloaddt1 " #D "(%%" B ", %%" I ", " #S "), %%tmm7");                          \
    _tile_stored(7, packed, TILE_BYTES);                                                                                           \
    MEMORY_DONE();                                                                                                                 \
    check_rows(at, stride, packed, TILE_BYTES, "tileloaddt1 " #D "(" B ", " I ", " #S ")");                                        \
    _tile_loadd(7, source, TILE_BYTES);                                                                                            \
    IN_REGISTERS(at - (D), B, (stride) / (S), I, "tilestored %%tmm7, " #D "(%%" B ", %%" I ", " #S ")");                           \
    _tile_release();                                                                                                               \
    check_rows(source, TILE_BYTES, at, stride, "tilestored " #D "(" B ", " I ", " #S ")");                                         \
  } while (0)

AMX static void test_addresses(void **state) {
  (void)state;
  need_amx();
  open_area();
  CHECK_FORM(0, "rax", "rdx", 1, 24);
  CHECK_FORM(0, "rcx", "rdx", 2, 40);
  CHECK_FORM(0, "rbx", "rsi", 4, 64);
  CHECK_FORM(0, "rdi", "rbp", 8, 1000);
  CHECK_FORM(0, "rbp", "rdi", 1, 31);
  CHECK_FORM(0, "rsp", "rbx", 1, 64);
  CHECK_FORM(0, "r12", "r13", 1, 64);
  CHECK_FORM(0, "r13", "r12", 2, 64);
  CHECK_FORM(0, "r8", "r15", 8, 64);
  CHECK_FORM(0, "r15", "rcx", 4, -64);
  CHECK_FORM(127, "r9", "r10", 1, 96);
  CHECK_FORM(-128, "rsp", "r12", 2, 96);
  CHECK_FORM(8, "rbp", "rcx", 1, 96);
  CHECK_FORM(8, "r13", "rcx", 1, 96);
  CHECK_FORM(64, "r11", "r9", 8, -1000);
  CHECK_FORM(128, "r14", "r11", 1, 64);
  CHECK_FORM(-4096, "rsp", "r14", 1, 64);
  CHECK_FORM(4096, "r12", "r8", 4, 64);
  CHECK_FORM(0x12345, "rsi", "rax", 1, 64);
  CHECK_FORM(-0x12345, "rbp", "r12", 1, -24);
}

/* Without an index all rows are one row; without a base there is only the displacement. */
AMX static void test_missing_registers(void **state) {
  (void)state;
  need_amx();
  open_area();
  fill_area();
  tile_config config = area_config();
  uint8_t packed[TILE_ROWS * TILE_BYTES], *at = middle();
  MEMORY_DONE();
  _tile_loadconfig(&config);
#define CHECK_BASE(D, B)                                                                                                           \
  do {                                                                                                                             \
    IN_REGISTERS(at - (D), B, 77, "rdx", "tileloadd " #D "(%%" B "), %%tmm3");                                                     \
    _tile_stored(3, packed, TILE_BYTES);                                                                                           \
    MEMORY_DONE();                                                                                                                 \
    check_rows(at, 0, packed, TILE_BYTES, #D "(" B ")");                                                                           \
  } while (0)
  CHECK_BASE(0, "rax");
  CHECK_BASE(0, "rbp");
  CHECK_BASE(16, "rsp");
  CHECK_BASE(-300, "r12");
  CHECK_BASE(0, "r13");
  uint8_t *low = area + 0x9000;
  IN_REGISTERS(0, "rax", 48, "r12", "tileloadd 0x10009000(, %%r12, 2), %%tmm3");
  _tile_stored(3, packed, TILE_BYTES);
  MEMORY_DONE();
  check_rows(low, 96, packed, TILE_BYTES, "no base");
  IN_REGISTERS(0, "rax", 48, "rbp", "tileloadd 0x10009000(, %%rbp, 1), %%tmm3");
  _tile_stored(3, packed, TILE_BYTES);
  MEMORY_DONE();
  check_rows(low, 48, packed, TILE_BYTES, "no base");
  /* The same with the extension bit of a base, which assemblers leave out: tileloadd 0x10009000(, %r12, 2), %tmm3. */
  IN_REGISTERS(0, "rax", 48, "r12", ".byte 0xc4, 0x82, 0x7b, 0x4b, 0x1c, 0x65, 0x00, 0x90, 0x00, 0x10");
  _tile_stored(3, packed, TILE_BYTES);
  MEMORY_DONE();
  check_rows(low, 96, packed, TILE_BYTES, "no base, extended");
  _tile_release();
}

static tile_config static_config, static_stored;

/* Configurations, which take any kind of address. */
AMX static void test_config_addresses(void **state) {
  (void)state;
  need_amx();
  open_area();
  tile_config want = area_config(), *at;
#define CHECK_CONFIG(B, I, index, offset, address)                                                                                 \
  do {                                                                                                                             \
    fill_area();                                                                                                                   \
    at = (tile_config *)(void *)middle();                                                                                          \
    want.rows[3] = (uint8_t)(1 + harness_below(16));                                                                               \
    *at = want;                                                                                                                    \
    IN_REGISTERS((uint8_t *)at - (offset), B, index, I, "ldtilecfg " address);                                                     \
    memset(at, 0xee, sizeof *at);                                                                                                  \
    IN_REGISTERS((uint8_t *)at - (offset), B, index, I, "sttilecfg " address);                                                     \
    assert_memory_equal(at, &want, sizeof want);                                                                                   \
    _tile_release();                                                                                                               \
  } while (0)
  CHECK_CONFIG("rax", "rdx", 0, 0, "(%%rax)");
  CHECK_CONFIG("rbx", "rdx", 0, 5, "5(%%rbx)");
  CHECK_CONFIG("rbp", "rdx", 0, 0, "(%%rbp)");
  CHECK_CONFIG("r13", "rdx", 0, -1000, "-1000(%%r13)");
  CHECK_CONFIG("r12", "rdx", 0, 0, "(%%r12)");
  CHECK_CONFIG("rsp", "rdx", 0, 8, "8(%%rsp)");
  CHECK_CONFIG("r9", "rdx", 0, -128, "-128(%%r9)");
  CHECK_CONFIG("rsi", "r12", 7, 7 * 4 + 3, "3(%%rsi, %%r12, 4)");
  CHECK_CONFIG("r13", "rcx", -9, -72, "(%%r13, %%rcx, 8)");
  static_config = want;
  __asm__ volatile("ldtilecfg %1\n\tsttilecfg %0" : "=m"(static_stored) : "m"(static_config));
  assert_memory_equal(&static_stored, &want, sizeof want);
  __asm__ volatile("ldtilecfg static_config(%%rip)\n\tsttilecfg static_stored(%%rip)" : "=m"(static_stored) : "m"(static_config));
  assert_memory_equal(&static_stored, &want, sizeof want);
  static_config.palette = 0; /* the rest counts for nothing */
  static_config.reserved2[3] = 1;
  __asm__ volatile("ldtilecfg %1\n\tsttilecfg %0" : "=m"(static_stored) : "m"(static_config));
  assert_memory_equal(&static_stored, &(tile_config){0}, sizeof want);
  _tile_loadconfig(&want);
  _tile_release();
  __asm__ volatile("sttilecfg %0" : "=m"(static_stored));
  assert_memory_equal(&static_stored, &(tile_config){0}, sizeof want);
}

/* ---- tiles ---- */

AMX static void test_tiles_start_empty(void **state) {
  (void)state;
  need_amx();
  tile_config config = {.palette = 1}, nothing = {0};
  uint8_t ones[16][64], got[16][64], zero[16][64] = {{0}};
  memset(ones, 0xff, sizeof ones);
  for (int t = 0; t < 8; t++) config.row_bytes[t] = 64, config.rows[t] = 16;
#define EACH_TILE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define LOAD_ONES(t) _tile_loadd(t, ones, 64);
#define CHECK_ONES(t)                                                                                                              \
  memset(got, 0, sizeof got);                                                                                                      \
  _tile_stored(t, got, 64);                                                                                                        \
  assert_memory_equal(got, ones, sizeof got);
#define CHECK_ZERO(t)                                                                                                              \
  memset(got, 1, sizeof got);                                                                                                      \
  _tile_stored(t, got, 64);                                                                                                        \
  assert_memory_equal(got, zero, sizeof got);
#define ZERO(t) _tile_zero(t);
  MEMORY_DONE();
  assert_false(amx_emulator_is_configured());
  _tile_loadconfig(&config);
  assert_int_equal(amx_emulator_is_configured(), amx_emulator_needed());
  EACH_TILE(CHECK_ZERO)
  EACH_TILE(LOAD_ONES)
  EACH_TILE(CHECK_ONES)
  _tile_zero(3);
  CHECK_ZERO(3)
  CHECK_ONES(2)
  CHECK_ONES(4)
  EACH_TILE(ZERO)
  EACH_TILE(CHECK_ZERO)
  EACH_TILE(LOAD_ONES)
  _tile_loadconfig(&config);
  EACH_TILE(CHECK_ZERO)
  EACH_TILE(LOAD_ONES)
  _tile_release();
  assert_false(amx_emulator_is_configured());
  _tile_loadconfig(&config);
  EACH_TILE(CHECK_ZERO)
  _tile_loadconfig(&nothing);
  assert_false(amx_emulator_is_configured());
}

/* ---- faults ---- */

typedef struct faulty {
  const char *what;
  tile_config config;
  void (*run)(void);
} faulty;

static uint8_t room[16 * 64];
AMX static void run_nothing(void) {}
AMX static void run_load(void) { _tile_loadd(1, room, 64); }
AMX static void run_store(void) { _tile_stored(1, room, 64); }
AMX static void run_zero(void) { _tile_zero(1); }
AMX static void run_product(void) { _tile_dpbf16ps(0, 1, 2); }
/* Assemblers refuse these two: tmm0 += tmm1 * tmm1, tmm1 += tmm1 * tmm2. */
AMX static void run_same_sources(void) { __asm__ volatile(".byte 0xc4, 0xe2, 0x72, 0x5c, 0xc1"); }
AMX static void run_same_result(void) { __asm__ volatile(".byte 0xc4, 0xe2, 0x6a, 0x5c, 0xc9"); }
AMX static void run_released(void) {
  _tile_release();
  _tile_zero(1);
}

#define GOOD .palette = 1, .row_bytes = {64, 64, 64}, .rows = {16, 16, 16}
static const faulty faults[] = {
    {"nothing", {GOOD}, NULL},
    {"palette", {.palette = 2, .row_bytes = {64, 64, 64}, .rows = {16, 16, 16}}, run_nothing},
    {"reserved bytes", {GOOD, .reserved0 = {[13] = 1}}, run_nothing},
    {"reserved columns", {GOOD, .reserved1 = {1}}, run_nothing},
    {"reserved rows", {GOOD, .reserved2 = {[7] = 1}}, run_nothing},
    {"17 rows", {.palette = 1, .row_bytes = {64}, .rows = {17}}, run_nothing},
    {"65 bytes", {.palette = 1, .row_bytes = {65}, .rows = {16}}, run_nothing},
    {"no columns", {.palette = 1, .rows = {16}}, run_nothing},
    {"no rows", {.palette = 1, .row_bytes = {[7] = 4}}, run_nothing},
    {"loading an absent tile", {.palette = 1, .row_bytes = {64}, .rows = {16}}, run_load},
    {"storing an absent tile", {.palette = 1, .row_bytes = {64}, .rows = {16}}, run_store},
    {"zeroing an absent tile", {.palette = 1, .row_bytes = {64}, .rows = {16}}, run_zero},
    {"multiplying an absent tile", {.palette = 1, .row_bytes = {64, 64}, .rows = {16, 16}}, run_product},
    {"loading parts of words", {.palette = 1, .row_bytes = {64, 62}, .rows = {16, 16}}, run_load},
    {"start past the rows", {.palette = 1, .start_row = 16, .row_bytes = {64, 64}, .rows = {16, 16}}, run_load},
    {"rows of C and A", {.palette = 1, .row_bytes = {64, 64, 64}, .rows = {16, 15, 16}}, run_product},
    {"columns of C and B", {.palette = 1, .row_bytes = {64, 64, 60}, .rows = {16, 16, 16}}, run_product},
    {"depth", {.palette = 1, .row_bytes = {64, 64, 64}, .rows = {16, 16, 15}}, run_product},
    {"C of parts of words", {.palette = 1, .row_bytes = {62, 64, 62}, .rows = {16, 16, 16}}, run_product},
    {"A of parts of words", {.palette = 1, .row_bytes = {64, 62, 64}, .rows = {16, 16, 15}}, run_product},
    {"same sources", {GOOD}, run_same_sources},
    {"same result", {GOOD}, run_same_result},
    {"palette 0", {.palette = 0}, run_load},
    {"after release", {GOOD}, run_released},
};

AMX static void test_faults(void **state) {
  (void)state;
  need_amx();
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
    fflush(stdout);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
      signal(SIGSEGV, SIG_DFL); /* what AMX itself answers, where there is one */
      if (!amx_emulator_needed()) signal(SIGILL, SIG_DFL);
      if (!freopen("/dev/null", "w", stderr)) _exit(2);
      MEMORY_DONE();
      _tile_loadconfig(&faults[i].config);
      (faults[i].run ? faults[i].run : run_product)();
      _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    bool faulted = WIFSIGNALED(status) && (WTERMSIG(status) == SIGABRT || !amx_emulator_needed());
    if (faulted != (faults[i].run != NULL)) fail_msg("%s: status %x", faults[i].what, (unsigned)status);
  }
}

/* ---- the handler ---- */

static volatile int illegal_seen;

static void skip_illegal(int number, siginfo_t *info, void *context) {
  (void)number, (void)info;
  illegal_seen++;
  ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

AMX static void test_others_go_on(void **state) {
  (void)state;
  need_amx();
  struct sigaction saved, ours = {.sa_sigaction = skip_illegal, .sa_flags = SA_SIGINFO};
  assert_int_equal(sigaction(SIGILL, &ours, &saved), 0);
  assert_true(amx_emulator_install());
  illegal_seen = 0;
  __asm__ volatile("ud2" ::: "memory");
  assert_int_equal(illegal_seen, 1);
  tile_config config = config_of(4, 4, 4);
  MEMORY_DONE();
  _tile_loadconfig(&config);
  _tile_release();
  assert_int_equal(illegal_seen, 1);
  assert_true(amx_emulator_install()); /* again: not its own predecessor */
  __asm__ volatile("ud2" ::: "memory");
  assert_int_equal(illegal_seen, 2);
  sigaction(SIGILL, &saved, NULL);
}

static uint64_t thread_next(void *state) {
  uint64_t z = (*(uint64_t *)state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static void *run_thread(void *argument) {
  uint64_t state = (uint64_t)(uintptr_t)argument;
  intptr_t wrong = 0;
  for (int i = 0; i < 1000; i++) {
    operands o;
    fill(&o, thread_next, &state, false);
    tile_config config = config_of(o.rows, o.pairs, o.columns);
    tiled_product(&config, o.c, o.ldc, o.a, o.lda, o.b, o.ldb);
    wrong += !agree(&o);
  }
  return (void *)wrong;
}

static void test_threads(void **state) {
  (void)state;
  need_amx();
  pthread_t threads[3];
  for (uintptr_t i = 0; i < 3; i++) assert_int_equal(pthread_create(&threads[i], NULL, run_thread, (void *)(i + 1)), 0);
  for (int i = 0; i < 3; i++) {
    void *wrong;
    assert_int_equal(pthread_join(threads[i], &wrong), 0);
    assert_null(wrong);
  }
}

int main(void) {
  harness_seed();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_products),         cmocka_unit_test(test_order_of_sums),     cmocka_unit_test(test_denormals),
      cmocka_unit_test(test_own_rounding),     cmocka_unit_test(test_addresses),         cmocka_unit_test(test_missing_registers),
      cmocka_unit_test(test_config_addresses), cmocka_unit_test(test_tiles_start_empty), cmocka_unit_test(test_faults),
      cmocka_unit_test(test_others_go_on),     cmocka_unit_test(test_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void) { return 77; }

#endif
