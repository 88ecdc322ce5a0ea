/* The emulator's layout functions against the same layouts written another way: as shape:stride pairs with a functor that swizzles, as CUTLASS states them
 * (cute/atom/mma_traits_sm90_gmma.hpp, mma_traits_sm80.hpp, cute/swizzle.hpp). A fragment maps (thread, value) to m + M * n.
 * Then one wgmma of each form, its operands laid out by these statements, against a plain product. */
#include "ptx_internal.h"
#include "ptx_testing.h"

#include <math.h>

/* Shape:stride of one mode, at most three parts, the first fastest. */
typedef struct mode {
  uint32_t shape[3], stride[3];
} mode;

static uint32_t size_of(mode m) { return m.shape[0] * (m.shape[1] ? m.shape[1] : 1) * (m.shape[2] ? m.shape[2] : 1); }
static uint32_t at(mode m, uint32_t i) {
  uint32_t sum = 0;
  for (int p = 0; p < 3 && m.shape[p]; p++) {
    sum += i % m.shape[p] * m.stride[p];
    i /= m.shape[p];
  }
  return sum;
}

typedef matrix_place place_function(uint32_t thread, uint32_t value);
static size_t places_equal;

static void same_fragment(const char *name, place_function *ours, uint32_t rows, mode threads, mode values) {
  for (uint32_t t = 0; t < size_of(threads); t++)
    for (uint32_t v = 0; v < size_of(values); v++) {
      matrix_place place = ours(t, v);
      uint32_t wanted = at(threads, t) + at(values, v);
      if (place.row + rows * place.column != wanted)
        fail_msg("%s: thread %u value %u is at (%u, %u), expected %u", name, t, v, place.row, place.column, wanted);
      places_equal++;
    }
}

static matrix_place b_transposed(uint32_t lane, uint32_t half) { /* n + 8 * k */
  matrix_place place = ptx_mma_b(lane, half);
  return (matrix_place){place.column, place.row};
}
static matrix_place a_of_warpgroup(uint32_t thread, uint32_t half) {
  matrix_place place = ptx_mma_a(thread % 32, half);
  return (matrix_place){place.row + 16 * (thread / 32), place.column};
}

static void fragments_test(void **state) {
  (void)state;
  for (uint32_t n = 8; n <= 256; n += 8)
    same_fragment("wgmma D", ptx_wgmma_d, 64, (mode){{4, 8, 4}, {128, 1, 16}}, (mode){{2, 2, n / 8}, {64, 8, 512}});
  same_fragment("mma A", ptx_mma_a, 16, (mode){{4, 8}, {32, 1}}, (mode){{2, 2, 2}, {16, 8, 128}});
  same_fragment("mma B", b_transposed, 8, (mode){{4, 8}, {16, 1}}, (mode){{2, 2}, {8, 64}});
  same_fragment("mma C", ptx_mma_c, 16, (mode){{4, 8}, {32, 1}}, (mode){{2, 2}, {16, 8}});
  same_fragment("wgmma A in registers", a_of_warpgroup, 64, (mode){{4, 8, 4}, {128, 1, 16}}, (mode){{2, 2, 2}, {64, 8, 512}});
  assert_int_equal(places_equal, 128 * 4 * (32 * 33 / 2) + 32 * (8 + 4 + 4) + 128 * 8);
}

/* Swizzle<bits, 4, 3> on bytes */
static uint32_t functor(uint32_t bits, uint32_t offset) { return offset ^ ((offset & (((1u << bits) - 1) << 7)) >> 3); }
static const uint32_t bits_of_mode[] = {0, 3, 2, 1};

/* rows x 16 * steps of 16 bits; one descriptor a step of 16 in k, whose start moves by k_step bytes */
typedef struct operand_layout {
  const char *name;
  uint32_t rows, steps, major, mode, leading, stride, k_step;
  mode row, k; /* in bytes */
} operand_layout;
static const operand_layout operands[] = {
    {"K-major 128B, 64 rows", 64, 4, 0, 1, 16, 1024, 32, {{8, 8}, {128, 1024}}, {{64}, {2}}},
    {"K-major 128B, 128 rows", 128, 4, 0, 1, 16, 1024, 32, {{8, 16}, {128, 1024}}, {{64}, {2}}},
    {"K-major 128B, 256 rows", 256, 4, 0, 1, 16, 1024, 32, {{8, 32}, {128, 1024}}, {{64}, {2}}},
    {"K-major 64B", 64, 2, 0, 2, 16, 512, 32, {{8, 8}, {64, 512}}, {{32}, {2}}},
    {"K-major 32B", 64, 1, 0, 3, 16, 256, 32, {{8, 8}, {32, 256}}, {{16}, {2}}},
    {"K-major", 64, 1, 0, 0, 1024, 128, 32, {{8, 8}, {16, 128}}, {{8, 2}, {2, 1024}}},
    {"MN-major 128B", 128, 4, 1, 1, 1024, 2048, 4096, {{64, 2}, {2, 1024}}, {{8, 8}, {128, 2048}}},
    {"MN-major 64B", 128, 4, 1, 2, 512, 2048, 4096, {{32, 4}, {2, 512}}, {{8, 8}, {64, 2048}}},
    {"MN-major", 64, 1, 1, 0, 1024, 128, 2048, {{8, 8}, {2, 128}}, {{8, 2}, {16, 1024}}},
};

static uint64_t descriptor_of(const operand_layout *layout, uint32_t base) {
  return base >> 4 | (uint64_t)(layout->leading >> 4) << 16 | (uint64_t)(layout->stride >> 4) << 32 | (uint64_t)layout->mode << 62;
}
static uint32_t place_of(const operand_layout *layout, uint32_t row, uint32_t k) {
  return functor(bits_of_mode[layout->mode], at(layout->row, row) + at(layout->k, k));
}

static void descriptors_test(void **state) {
  (void)state;
  const uint32_t base = 5 * 1024;
  for (size_t i = 0; i < sizeof operands / sizeof *operands; i++)
    for (uint32_t step = 0; step < operands[i].steps; step++)
      for (uint32_t row = 0; row < operands[i].rows; row++)
        for (uint32_t k = 0; k < 16; k++) {
          uint32_t ours =
              ptx_wgmma_address(descriptor_of(&operands[i], base + step * operands[i].k_step), row, k, operands[i].major, 2) - base;
          uint32_t wanted = place_of(&operands[i], row, 16 * step + k);
          if (ours != wanted) fail_msg("%s: row %u k %u is at %u, expected %u", operands[i].name, row, 16 * step + k, ours, wanted);
        }
}

/* ---- a product through each layout ---- */

static uint32_t random_word(uint64_t *random) {
  *random ^= *random << 13, *random ^= *random >> 7, *random ^= *random << 17;
  return (uint32_t)(*random >> 32);
}

typedef struct product {
  const char *type, *d_type;
  size_t a, b; /* of `operands`, NONE_LAYOUT: in registers */
  uint32_t n;
  int scale_a, scale_b;
  bool adds;
} product;
enum { IN_REGISTERS = 99, A_AT = 0, B_AT = 16384 };

/* bf16 and f16 of small integers are exact, so sums are. */
static uint16_t small(const char *type, int value) {
  if (*type == 'b') {
    float x = (float)value;
    uint32_t word;
    memcpy(&word, &x, 4);
    return (uint16_t)(word >> 16);
  }
  return ptx_f32_to_f16((double)value, false);
}

static void run_product(const product *p, uint64_t seed) {
  static int a[64][16], b[256][16];
  static uint8_t image[48 * 1024];
  uint64_t random = seed * 99 + 7;
  uint32_t rows_b = p->n;
  memset(image, 0, sizeof image);
  for (int r = 0; r < 64; r++)
    for (int k = 0; k < 16; k++) a[r][k] = (int)(random_word(&random) % 17) - 8;
  for (uint32_t r = 0; r < rows_b; r++)
    for (int k = 0; k < 16; k++) b[r][k] = (int)(random_word(&random) % 17) - 8;
  for (uint32_t k = 0; k < 16; k++) {
    for (uint32_t r = 0; r < 64 && p->a != IN_REGISTERS; r++) {
      uint16_t v = small(p->type, a[r][k]);
      memcpy(image + A_AT + place_of(&operands[p->a], r, k), &v, 2);
    }
    for (uint32_t r = 0; r < rows_b; r++) {
      uint16_t v = small(p->type, b[r][k]);
      memcpy(image + B_AT + place_of(&operands[p->b], r, k), &v, 2);
    }
  }
  /* Operand A in registers stands behind the image, as the fragment wants it. */
  uint32_t in_registers[128][4];
  for (uint32_t t = 0; t < 128; t++)
    for (uint32_t v = 0; v < 8; v++) {
      uint32_t place = at((mode){{4, 8, 4}, {128, 1, 16}}, t) + at((mode){{2, 2, 2}, {64, 8, 512}}, v);
      uint16_t x = small(p->type, a[place % 64][place / 64]);
      memcpy((uint8_t *)in_registers[t] + 2 * v, &x, 2);
    }
  static char text[40000];
  bool single = !strcmp(p->d_type, "f32");
  uint32_t registers = single ? p->n / 2 : p->n / 4;
  size_t used = (size_t)snprintf(
      text, sizeof text,
      ".version 8.6\n.target sm_90a\n.address_size 64\n.extern .shared .align 1024 .b8 smem[];\n.visible .entry k(.param .u64 x, "
      ".param .u64 d) {\n"
      ".reg .pred %%p<3>; .reg .b32 %%r<16>; .reg .b32 %%c<%u>; .reg .b64 %%d<12>; ld.param.u64 %%d0, [x]; ld.param.u64 %%d1, [d]; "
      "mov.u32 %%r0, %%tid.x; mul.wide.u32 %%d2, %%r0, 16;\n"
      "add.s64 %%d3, %%d0, %%d2; mov.u64 %%d4, smem; add.s64 %%d4, %%d4, %%d2; cvt.u32.u64 %%r1, %%d4; mov.b32 %%r2, 0;\n"
      "copy: ld.global.v4.b32 {%%r4, %%r5, %%r6, %%r7}, [%%d3]; st.shared.v4.b32 [%%r1], {%%r4, %%r5, %%r6, %%r7}; add.s64 %%d3, "
      "%%d3, 2048; add.s32 %%r1, %%r1, 2048; add.s32 %%r2, %%r2, 1; setp.lt.u32 %%p0, %%r2, 24; @%%p0 bra copy;\n"
      "fence.proxy.async; bar.sync 0; add.s64 %%d3, %%d0, %zu; add.s64 %%d3, %%d3, %%d2; ld.global.v4.b32 {%%r4, %%r5, %%r6, "
      "%%r7}, [%%d3];\n",
      registers, sizeof image);
  for (uint32_t i = 0; i < registers; i++)
    used +=
        (size_t)snprintf(text + used, sizeof text - used, "mov.b32 %%c%u, %s;\n", i, single ? "0f40A00000" : "0x45004500"); /* 5 */
  used += (size_t)snprintf(text + used, sizeof text - used,
                           "setp.ne.b32 %%p1, %d, 0; mov.b64 %%d5, %llu; mov.b64 %%d6, %llu; wgmma.fence.sync.aligned; "
                           "wgmma.mma_async.sync.aligned.m64n%uk16.%s.%s.%s {",
                           p->adds, p->a == IN_REGISTERS ? 0ull : (unsigned long long)descriptor_of(&operands[p->a], A_AT),
                           (unsigned long long)descriptor_of(&operands[p->b], B_AT), p->n, p->d_type, p->type, p->type);
  for (uint32_t i = 0; i < registers; i++) used += (size_t)snprintf(text + used, sizeof text - used, "%s%%c%u", i ? ", " : "", i);
  used += (size_t)snprintf(text + used, sizeof text - used,
                           p->a == IN_REGISTERS ? "}, {%%r4, %%r5, %%r6, %%r7}, %%d6, %%p1, %d, %d, %u;"
                                                : "}, %%d5, %%d6, %%p1, %d, %d, %u",
                           p->scale_a, p->scale_b, p->a == IN_REGISTERS ? operands[p->b].major : operands[p->a].major);
  if (p->a != IN_REGISTERS) used += (size_t)snprintf(text + used, sizeof text - used, ", %u;", operands[p->b].major);
  used += (size_t)snprintf(
      text + used, sizeof text - used,
      " wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0; mul.wide.u32 %%d7, %%r0, %u; add.s64 %%d7, %%d7, %%d1;\n",
      registers * 4);
  for (uint32_t i = 0; i < registers; i++)
    used += (size_t)snprintf(text + used, sizeof text - used, "st.global.b32 [%%d7+%u], %%c%u;\n", i * 4, i);
  snprintf(text + used, sizeof text - used, "ret; }\n");
  ptx_device *device = ptx_device_create(0);
  uint64_t arguments[2] = {ptx_device_allocate(device, sizeof image + sizeof in_registers, 256, "x"),
                           ptx_device_allocate(device, 128 * registers * 4, 256, "d")};
  ptx_device_write(device, arguments[0], image, sizeof image);
  ptx_device_write(device, arguments[0] + sizeof image, in_registers, sizeof in_registers);
  ptx_report report;
  ptx_module *module = ptx_module_create(device, text, strlen(text), &report);
  if (!module) fail_msg("%s", report.text);
  ptx_launch launch = {.kernel = "k",
                       .grid = {1, 1, 1},
                       .block = {128, 1, 1},
                       .shared_bytes = sizeof image,
                       .arguments = arguments,
                       .argument_bytes = 16,
                       .seed = seed};
  if (!ptx_launch_run(module, &launch, &report)) fail_msg("%s", report.text);
  static uint32_t out[128 * 128];
  assert_true(ptx_device_read(device, arguments[1], out, 128 * registers * 4, &report) && report.kind == PTX_OK);
  for (uint32_t t = 0; t < 128; t++)
    for (uint32_t v = 0; v < p->n / 2; v++) {
      uint32_t place = at((mode){{4, 8, 4}, {128, 1, 16}}, t) + at((mode){{2, 2, p->n / 8}, {64, 8, 512}}, v), row = place % 64,
               column = place / 64;
      int wanted = p->adds ? 5 : 0;
      for (int k = 0; k < 16; k++) wanted += p->scale_a * p->scale_b * a[row][k] * b[column][k];
      float got;
      if (single) memcpy(&got, &out[t * registers + v], 4);
      else got = ptx_f16_to_f32((uint16_t)(out[t * registers + v / 2] >> 16 * (v % 2)));
      if (got != (float)wanted)
        fail_msg("%s %s n %u, layouts %zu and %zu: row %u column %u is %g, expected %d", p->d_type, p->type, p->n, p->a, p->b, row,
                 column, (double)got, wanted);
    }
  ptx_module_destroy(module);
  ptx_device_destroy(device);
}

static void products_test(void **state) {
  (void)state;
  static const product products[] = {
      {"bf16", "f32", 0, 0, 64, 1, 1, true},
      {"bf16", "f32", 0, 1, 128, 1, 1, false},
      {"bf16", "f32", 0, 2, 256, 1, 1, true},
      {"f16", "f32", 3, 3, 64, 1, -1, true},
      {"f16", "f16", 4, 4, 64, -1, 1, true},
      {"bf16", "f32", 5, 5, 64, 1, 1, true},
      {"bf16", "f32", 6, 6, 128, 1, 1, true},
      {"f16", "f32", 7, 7, 128, 1, 1, false},
      {"bf16", "f32", 8, 8, 64, 1, 1, true},
      {"bf16", "f32", 8, 0, 64, 1, 1, true},
      {"bf16", "f32", 0, 8, 64, -1, -1, true},
      {"bf16", "f32", IN_REGISTERS, 0, 64, 1, 1, true},
      {"f16", "f16", IN_REGISTERS, 6, 128, -1, 1, false},
      {"bf16", "f32", 0, 0, 8, 1, 1, true},
      {"bf16", "f32", 5, 2, 248, 1, 1, true},
  };
  for (size_t i = 0; i < sizeof products / sizeof *products; i++)
    for (uint64_t seed = 0; seed < 3; seed++) run_product(&products[i], seed);
}

/* ---- mma, ldmatrix, stmatrix, movmatrix: words that name their place ---- */

static void matrices_test(void **state) {
  (void)state;
  frame frame = {.threads = 32};
  /* Rows of 16 bytes from x: row r holds words 4 r .. 4 r + 3. ldmatrix x4, stored transposed, read back. */
  static const char body[] =
      "mul.wide.u32 %d10, %r0, 16; add.s64 %d11, %d0, %d10; ld.global.v4.b32 {%r10, %r11, %r12, %r13}, [%d11]; mov.u32 %r14, smem; "
      "shl.b32 %r15, %r0, 4; add.s32 %r16, %r14, %r15;"
      "st.shared.v4.b32 [%r16], {%r10, %r11, %r12, %r13}; bar.warp.sync -1; ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r20, %r21, "
      "%r22, %r23}, [%r16];"
      "ldmatrix.sync.aligned.m8n8.x2.trans.shared::cta.b16 {%r24, %r25}, [%r16]; movmatrix.sync.aligned.m8n8.trans.b16 %r26, %r20;"
      "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%r16+1024], {%r20, %r21, %r22, %r23}; bar.warp.sync -1; ld.shared.v4.b32 "
      "{%r30, %r31, %r32, %r33}, [%r16+1024];"
      "mul.wide.u32 %d10, %r0, 64; add.s64 %d11, %d1, %d10; st.global.v4.b32 [%d11], {%r20, %r21, %r22, %r23}; st.global.v4.b32 "
      "[%d11+16], {%r24, %r25, %r26, %r26}; st.global.v4.b32 [%d11+32], {%r30, %r31, %r32, %r33};";
  expect_kind(frame_run(&frame, body), PTX_OK, &frame, "matrices");
  const uint16_t *halves = (const uint16_t *)(const void *)frame.y;
  for (uint32_t l = 0; l < 32; l++) {
    const uint16_t *mine = halves + l * 32;
    for (uint32_t m = 0; m < 4; m++)
      for (uint32_t h = 0; h < 2; h++) { /* half c of row r: word 4 r + c / 2, whose high halves are 0 */
        uint32_t row = 8 * m + l / 4, column = 2 * (l % 4) + h;
        assert_int_equal(mine[2 * m + h], column % 2 ? 0 : 4 * row + column / 2);
        if (m < 2) {
          uint32_t turned_row = 8 * m + column, turned_column = l / 4;
          assert_int_equal(mine[8 + 2 * m + h], turned_column % 2 ? 0 : 4 * turned_row + turned_column / 2);
          assert_int_equal(mine[12 + h], column < 8 && (l / 4) % 2 ? 0 : 4 * column + l / 4 / 2);
        }
      }
    for (uint32_t c = 0; c < 8; c++) { /* row l of what stmatrix.trans left is column l % 8 of matrix l / 8 */
      uint32_t row = l / 8 * 8 + c, column = l % 8;
      assert_int_equal(mine[16 + c], column % 2 ? 0 : 4 * row + column / 2);
    }
  }
}

static void mma_test(void **state) {
  (void)state;
  static const struct {
    const char *text, *type;
    uint32_t k;
    bool single;
  } forms[] = {{"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%c0, %c1, %c2, %c3}, {%a0, %a1, %a2, %a3}, {%b0, %b1}, {%c0, "
                "%c1, %c2, %c3};",
                "bf16", 16, true},
               {"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%c0, %c1, %c2, %c3}, {%a0, %a1, %a2, %a3}, {%b0, %b1}, {%c0, "
                "%c1, %c2, %c3};",
                "f16", 16, true},
               {"mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%c0, %c1}, {%a0, %a1, %a2, %a3}, {%b0, %b1}, {%c0, %c1};",
                "f16", 16, false},
               {"mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%c0, %c1, %c2, %c3}, {%a0, %a1}, {%b0}, {%c0, %c1, %c2, %c3};",
                "bf16", 8, true}};
  for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
    int a[16][16], b[8][16];
    uint64_t random = f + 3;
    uint32_t in[32][8] = {{0}}, out[32][4];
    for (int i = 0; i < 16; i++)
      for (uint32_t k = 0; k < 16; k++)
        a[i][k] = (int)(random_word(&random) % 9) - 4, b[i % 8][k] = (int)(random_word(&random) % 9) - 4;
    for (uint32_t l = 0; l < 32; l++)
      for (uint32_t v = 0; v < forms[f].k / 2; v++) {
        uint32_t place_a = at((mode){{4, 8}, {32, 1}}, l) + at((mode){{2, 2, 2}, {16, 8, 128}}, v),
                 place_b = at((mode){{4, 8}, {16, 1}}, l) + at((mode){{2, 2}, {8, 64}}, v);
        uint16_t x = small(forms[f].type, a[place_a % 16][place_a / 16]);
        memcpy((uint8_t *)in[l] + 2 * v, &x, 2);
        if (v >= forms[f].k / 4) continue;
        x = small(forms[f].type, b[place_b % 8][place_b / 8]);
        memcpy((uint8_t *)(in[l] + 4) + 2 * v, &x, 2);
      }
    char text[2048];
    snprintf(
        text, sizeof text,
        ".version 8.6\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 x, .param .u64 d) { .reg .b32 %%r; .reg .b32 "
        "%%a<4>; .reg .b32 %%b<4>; .reg .b32 %%c<4>; .reg .b64 %%d<3>;"
        "ld.param.u64 %%d0, [x]; ld.param.u64 %%d1, [d]; mov.u32 %%r, %%tid.x; mul.wide.u32 %%d2, %%r, 32; add.s64 %%d0, %%d0, "
        "%%d2; ld.global.v4.b32 {%%a0, %%a1, %%a2, %%a3}, [%%d0];"
        "ld.global.v4.b32 {%%b0, %%b1, %%b2, %%b3}, [%%d0+16]; mov.b32 %%c0, 0; mov.b32 %%c1, 0; mov.b32 %%c2, 0; mov.b32 %%c3, "
        "0;\n%s\nmul.wide.u32 %%d2, %%r, 16; add.s64 %%d1, %%d1, %%d2; st.global.v4.b32 [%%d1], {%%c0, %%c1, %%c2, %%c3}; ret; }",
        forms[f].text);
    ptx_device *device = ptx_device_create(0);
    uint64_t arguments[2] = {ptx_device_allocate(device, sizeof in, 256, "x"), ptx_device_allocate(device, sizeof out, 256, "d")};
    ptx_device_write(device, arguments[0], in, sizeof in);
    ptx_report report;
    ptx_module *module = ptx_module_create(device, text, strlen(text), &report);
    if (!module) fail_msg("%s", report.text);
    ptx_launch launch = {.kernel = "k", .grid = {1, 1, 1}, .block = {32, 1, 1}, .arguments = arguments, .argument_bytes = 16};
    if (!ptx_launch_run(module, &launch, &report)) fail_msg("%s", report.text);
    assert_true(ptx_device_read(device, arguments[1], out, sizeof out, &report));
    for (uint32_t l = 0; l < 32; l++)
      for (uint32_t v = 0; v < 4; v++) {
        uint32_t place = at((mode){{4, 8}, {32, 1}}, l) + at((mode){{2, 2}, {16, 8}}, v);
        int wanted = 0;
        for (uint32_t k = 0; k < forms[f].k; k++) wanted += a[place % 16][k] * b[place / 16][k];
        float got;
        if (forms[f].single) memcpy(&got, &out[l][v], 4);
        else got = ptx_f16_to_f32((uint16_t)(out[l][v / 2] >> 16 * (v % 2)));
        if (got != (float)wanted) fail_msg("%s: lane %u value %u is %g, expected %d", forms[f].text, l, v, (double)got, wanted);
      }
    ptx_module_destroy(module);
    ptx_device_destroy(device);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(fragments_test), cmocka_unit_test(descriptors_test),
                                     cmocka_unit_test(products_test), cmocka_unit_test(matrices_test), cmocka_unit_test(mma_test)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
