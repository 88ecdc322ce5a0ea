/* Every scalar instruction alone: bits in, bits out, a lane a row. The expected bits are written down, or follow from C's arithmetic on the host where a
 * row says so by its makers below; nothing here asks the emulator's own functions. */
#include "ptx_testing.h"

#include <math.h>

#pragma GCC diagnostic ignored "-Wsign-conversion" /* the tables write -1 for all ones */

enum { MOST_ROWS = 32, MOST_INPUTS = 4 };

/* `types`: of the target, then of the inputs: h 16 bits, w 32, d 64, p a predicate. Rows: inputs, then what is expected. */
typedef struct instruction_case {
  const char *text, *types;
  uint64_t rows[16][MOST_INPUTS + 1];
  uint32_t count;
} instruction_case;

static uint64_t mask_of(char type) { return type == 'p' ? 1 : type == 'h' ? 0xffff : type == 'w' ? 0xffffffff : UINT64_MAX; }

static void build(char *out, size_t size, const char *instruction, const char *types) {
  static const char *const names[] = {"o", "a", "b", "c", "e"};
  size_t used = (size_t)snprintf(out, size,
                                 ".version 8.6\n.target sm_90a\n.address_size 64\n.visible .entry k(.param .u64 in, .param .u64 "
                                 "out)\n{\n.reg .b64 %%in, %%out, %%lane, %%wide; .reg .b32 %%t;\n");
  for (size_t i = 0; types[i]; i++)
    used += (size_t)snprintf(out + used, size - used, ".reg .%s %%%s;\n",
                             types[i] == 'p'   ? "pred"
                             : types[i] == 'h' ? "b16"
                             : types[i] == 'w' ? "b32"
                                               : "b64",
                             names[i]);
  used += (size_t)snprintf(out + used, size - used,
                           "ld.param.u64 %%in, [in]; ld.param.u64 %%out, [out]; mov.u32 %%t, %%laneid; cvt.u64.u32 %%lane, %%t; "
                           "shl.b64 %%lane, %%lane, 3; add.s64 %%in, %%in, %%lane; add.s64 %%out, %%out, %%lane;\n");
  for (size_t i = 1; types[i]; i++) {
    if (types[i] == 'p')
      used += (size_t)snprintf(out + used, size - used, "ld.global.b32 %%t, [%%in+%zu]; setp.ne.b32 %%%s, %%t, 0;\n", (i - 1) * 256,
                               names[i]);
    else
      used += (size_t)snprintf(out + used, size - used, "ld.global.b%d %%%s, [%%in+%zu];\n",
                               types[i] == 'h'   ? 16
                               : types[i] == 'w' ? 32
                                                 : 64,
                               names[i], (i - 1) * 256);
  }
  used += (size_t)snprintf(out + used, size - used, "mov.b64 %%wide, 0; st.global.b64 [%%out], %%wide;\n%s\n", instruction);
  if (types[0] == 'p') used += (size_t)snprintf(out + used, size - used, "selp.b32 %%t, 1, 0, %%o; st.global.b32 [%%out], %%t;\n");
  else
    used += (size_t)snprintf(out + used, size - used, "st.global.b%d [%%out], %%o;\n",
                             types[0] == 'h'   ? 16
                             : types[0] == 'w' ? 32
                                               : 64);
  snprintf(out + used, size - used, "ret;\n}\n");
}

/* Lanes past `count` repeat the first row. */
static void run(const char *instruction, const char *types, uint64_t (*rows)[MOST_INPUTS + 1], uint32_t count, uint64_t *out) {
  char text[4096];
  build(text, sizeof text, instruction, types);
  size_t inputs = strlen(types) - 1;
  uint64_t in[MOST_INPUTS][32];
  for (uint32_t l = 0; l < 32; l++)
    for (size_t i = 0; i < MOST_INPUTS; i++) in[i][l] = i < inputs ? rows[l < count ? l : 0][i] : 0;
  ptx_device *device = ptx_device_create(0);
  uint64_t arguments[2] = {ptx_device_allocate(device, sizeof in, 256, "in"), ptx_device_allocate(device, 256, 256, "out")};
  ptx_device_write(device, arguments[0], in, sizeof in);
  ptx_report report;
  ptx_module *module = ptx_module_create(device, text, strlen(text), &report);
  if (!module) fail_msg("%s: %s", instruction, report.text);
  ptx_launch launch = {
      .kernel = "k", .grid = {1, 1, 1}, .block = {32, 1, 1}, .arguments = arguments, .argument_bytes = sizeof arguments};
  if (!ptx_launch_run(module, &launch, &report)) fail_msg("%s: %s", instruction, report.text);
  assert_true(ptx_device_read(device, arguments[1], out, 256, &report));
  ptx_module_destroy(module);
  ptx_device_destroy(device);
}

static void check(const instruction_case *one) {
  uint64_t rows[MOST_ROWS][MOST_INPUTS + 1] = {{0}}, out[32];
  memcpy(rows, one->rows, sizeof one->rows);
  size_t inputs = strlen(one->types) - 1;
  run(one->text, one->types, rows, one->count, out);
  for (uint32_t l = 0; l < one->count; l++)
    if (out[l] != (rows[l][inputs] & mask_of(one->types[0])))
      fail_msg("%s: row %u gives %#llx, expected %#llx", one->text, l, (unsigned long long)out[l],
               (unsigned long long)rows[l][inputs]);
}

#define ROWS(...) {__VA_ARGS__}, sizeof((uint64_t[][MOST_INPUTS + 1]){__VA_ARGS__}) / sizeof(uint64_t[MOST_INPUTS + 1])
#define ONE 0x3f800000
#define TWO 0x40000000
#define THREE 0x40400000
#define INF 0x7f800000
#define MINUS 0x80000000
#define NAN32 0x7fffffff
#define NAN_IN 0xffc12345 /* some other NaN */
#define TINY 0x00000001 /* the least denormal */

static const instruction_case integers[] = {
    {"add.u16 %o, %a, %b;", "hhh", ROWS({0xffff, 2, 1}, {3, 4, 7})},
    {"add.s32 %o, %a, %b;", "www", ROWS({0x7fffffff, 1, 0x80000000}, {5, -7, 0xfffffffe})},
    {"add.sat.s32 %o, %a, %b;", "www", ROWS({0x7fffffff, 1, 0x7fffffff}, {0x80000000, -1, 0x80000000}, {5, -7, 0xfffffffe})},
    {"sub.sat.s32 %o, %a, %b;", "www", ROWS({0x80000000, 1, 0x80000000}, {5, 7, 0xfffffffe})},
    {"add.s64 %o, %a, %b;", "ddd", ROWS({0xffffffff, 1, 0x100000000}, {0, -1, UINT64_MAX})},
    {"sub.u32 %o, %a, %b;", "www", ROWS({1, 2, 0xffffffff})},
    {"sub.s64 %o, %a, %b;", "ddd", ROWS({1, 2, UINT64_MAX})},
    {"mul.lo.s32 %o, %a, %b;", "www", ROWS({0x10001, 0x10001, 0x20001}, {-3, 5, -15})},
    {"mul.lo.u16 %o, %a, %b;", "hhh", ROWS({0xffff, 0xffff, 1})},
    {"mul.lo.u64 %o, %a, %b;", "ddd", ROWS({0x100000001, 0x100000001, 0x200000001})},
    {"mul.hi.u32 %o, %a, %b;", "www", ROWS({0xffffffff, 0xffffffff, 0xfffffffe})},
    {"mul.hi.s32 %o, %a, %b;", "www", ROWS({0xffffffff, 0xffffffff, 0}, {0x80000000, 2, 0xffffffff})},
    {"mul.hi.u64 %o, %a, %b;", "ddd", ROWS({UINT64_MAX, UINT64_MAX, UINT64_MAX - 1})},
    {"mul.hi.s64 %o, %a, %b;", "ddd", ROWS({UINT64_MAX, UINT64_MAX, 0}, {UINT64_C(1) << 63, 2, UINT64_MAX})},
    {"mul.wide.u16 %o, %a, %b;", "whh", ROWS({0xffff, 0xffff, 0xfffe0001})},
    {"mul.wide.s16 %o, %a, %b;", "whh", ROWS({0xffff, 0x7fff, 0xffff8001})},
    {"mul.wide.u32 %o, %a, %b;", "dww", ROWS({0xffffffff, 0xffffffff, 0xfffffffe00000001})},
    {"mul.wide.s32 %o, %a, %b;", "dww", ROWS({0xffffffff, 3, -3})},
    {"mad.lo.s32 %o, %a, %b, %c;", "wwww", ROWS({3, -4, 5, -7}, {0x10000, 0x10000, 9, 9})},
    {"mad.lo.s64 %o, %a, %b, %c;", "dddd", ROWS({3, -4, 5, -7})},
    {"mad.lo.u16 %o, %a, %b, %c;", "hhhh", ROWS({0xffff, 2, 3, 1})},
    {"mad.hi.u32 %o, %a, %b, %c;", "wwww", ROWS({0xffffffff, 0xffffffff, 3, 1})},
    {"mad.hi.s32 %o, %a, %b, %c;", "wwww", ROWS({0x80000000, 2, 3, 2})},
    {"mad.wide.u32 %o, %a, %b, %c;", "dwwd", ROWS({0xffffffff, 2, 3, 0x200000001})},
    {"mad.wide.s32 %o, %a, %b, %c;", "dwwd", ROWS({-1, 2, 1, -1})},
    {"mad.wide.u16 %o, %a, %b, %c;", "whhw", ROWS({0xffff, 2, 3, 0x20001})},
    {"mad.wide.s16 %o, %a, %b, %c;", "whhw", ROWS({0xffff, 2, 3, 1})},
    {"sad.s32 %o, %a, %b, %c;", "wwww", ROWS({-5, 7, 1, 13}, {7, -5, 0, 12})},
    {"sad.u32 %o, %a, %b, %c;", "wwww", ROWS({0xffffffff, 1, 1, 0xffffffff})},
    {"div.u32 %o, %a, %b;", "www", ROWS({0xffffffff, 10, 429496729}, {7, 8, 0})},
    {"div.s32 %o, %a, %b;", "www", ROWS({-7, 2, -3}, {7, -2, -3}, {0x80000000, -1, 0x80000000})},
    {"div.s64 %o, %a, %b;", "ddd", ROWS({-7, 2, -3}, {UINT64_C(1) << 63, -1, UINT64_C(1) << 63})},
    {"div.u16 %o, %a, %b;", "hhh", ROWS({0xffff, 3, 0x5555})},
    {"rem.u32 %o, %a, %b;", "www", ROWS({0xffffffff, 10, 5})},
    {"rem.s32 %o, %a, %b;", "www", ROWS({-7, 2, -1}, {7, -2, 1}, {0x80000000, -1, 0})},
    {"rem.u64 %o, %a, %b;", "ddd", ROWS({UINT64_MAX, 10, 5})},
    {"min.u32 %o, %a, %b;", "www", ROWS({1, -1, 1}, {9, 8, 8})},
    {"min.s32 %o, %a, %b;", "www", ROWS({1, -1, -1})},
    {"max.u32 %o, %a, %b;", "www", ROWS({1, -1, -1})},
    {"max.s32 %o, %a, %b;", "www", ROWS({1, -1, 1})},
    {"max.s16 %o, %a, %b;", "hhh", ROWS({1, 0xffff, 1})},
    {"min.u64 %o, %a, %b;", "ddd", ROWS({1, -1, 1})},
    {"max.s64 %o, %a, %b;", "ddd", ROWS({1, -1, 1})},
    {"abs.s32 %o, %a;", "ww", ROWS({-5, 5}, {0x80000000, 0x80000000})},
    {"abs.s64 %o, %a;", "dd", ROWS({-5, 5})},
    {"neg.s32 %o, %a;", "ww", ROWS({5, -5}, {0, 0})},
    {"neg.s16 %o, %a;", "hh", ROWS({5, 0xfffb})},
    {"neg.s64 %o, %a;", "dd", ROWS({5, -5})},
    {"and.b32 %o, %a, %b;", "www", ROWS({0xff00ff00, 0x0ff00ff0, 0x0f000f00})},
    {"or.b64 %o, %a, %b;", "ddd", ROWS({0xff00000000, 0xf, 0xff0000000f})},
    {"xor.b16 %o, %a, %b;", "hhh", ROWS({0xff00, 0x0ff0, 0xf0f0})},
    {"not.b32 %o, %a;", "ww", ROWS({0x12345678, 0xedcba987})},
    {"cnot.b32 %o, %a;", "ww", ROWS({0, 1}, {7, 0})},
    {"and.pred %o, %a, %b;", "ppp", ROWS({0, 0, 0}, {0, 1, 0}, {1, 0, 0}, {1, 1, 1})},
    {"or.pred %o, %a, %b;", "ppp", ROWS({0, 0, 0}, {0, 1, 1}, {1, 0, 1}, {1, 1, 1})},
    {"xor.pred %o, %a, !%b;", "ppp", ROWS({0, 0, 1}, {0, 1, 0}, {1, 0, 0}, {1, 1, 1})},
    {"not.pred %o, %a;", "pp", ROWS({0, 1}, {1, 0})},
    {"mov.pred %o, %a;", "pp", ROWS({0, 0}, {1, 1})},
    {"shl.b32 %o, %a, %b;", "www", ROWS({1, 31, 0x80000000}, {1, 32, 0}, {3, 0xffffffff, 0})},
    {"shl.b64 %o, %a, %b;", "ddw", ROWS({1, 63, UINT64_C(1) << 63}, {1, 64, 0})},
    {"shl.b16 %o, %a, %b;", "hhw", ROWS({1, 15, 0x8000}, {1, 16, 0})},
    {"shr.u32 %o, %a, %b;", "www", ROWS({0x80000000, 31, 1}, {0x80000000, 32, 0})},
    {"shr.s32 %o, %a, %b;", "www", ROWS({0x80000000, 31, -1}, {0x80000000, 99, -1}, {0x40000000, 32, 0})},
    {"shr.b64 %o, %a, %b;", "ddw", ROWS({UINT64_MAX, 60, 15})},
    {"shr.s64 %o, %a, %b;", "ddw", ROWS({-16, 2, -4}, {-1, 64, -1})},
    {"shr.s16 %o, %a, %b;", "hhw", ROWS({0x8000, 15, 0xffff})},
    {"shf.l.wrap.b32 %o, %a, %b, %c;", "wwww", ROWS({0x80000001, 0x12345678, 4, 0x23456788}, {1, 2, 33, 4})},
    {"shf.r.wrap.b32 %o, %a, %b, %c;", "wwww", ROWS({0x80000001, 0x12345678, 4, 0x88000000}, {1, 2, 32, 1})},
    {"shf.l.clamp.b32 %o, %a, %b, %c;", "wwww", ROWS({0x80000001, 2, 40, 0x80000001})},
    {"shf.r.clamp.b32 %o, %a, %b, %c;", "wwww", ROWS({0x80000001, 2, 40, 2})},
    {"bfe.u32 %o, %a, %b, %c;", "wwww", ROWS({0xabcd1234, 8, 8, 0x12}, {0xabcd1234, 28, 8, 0xa}, {1, 0, 0, 0}, {-1, 40, 3, 0})},
    {"bfe.s32 %o, %a, %b, %c;", "wwww",
     ROWS({0x0000f000, 12, 4, -1}, {0x00007000, 12, 4, 7}, {0x80000000, 28, 8, -8}, {0x80000000, 0, 0, 0})},
    {"bfe.u64 %o, %a, %b, %c;", "ddww", ROWS({0xabcd123400000000, 40, 8, 0x12})},
    {"bfi.b32 %o, %a, %b, %c, %e;", "wwwww",
     ROWS({0xff, 0, 8, 4, 0xf00}, {0, -1, 4, 8, 0xfffff00f}, {-1, 0, 32, 4, 0}, {-1, 0, 30, 8, 0xc0000000})},
    {"bfi.b64 %o, %a, %b, %c, %e;", "dddww", ROWS({0xff, 0, 40, 4, 0xf0000000000})},
    {"lop3.b32 %o, %a, %b, %c, 0xe8;", "wwww", ROWS({0xf0f0f0f0, 0xcccccccc, 0xaaaaaaaa, 0xe8e8e8e8})},
    {"lop3.b32 %o, %a, %b, %c, 0x96;", "wwww", ROWS({1, 2, 7, 4})},
    {"prmt.b32 %o, %a, %b, %c;", "wwww", ROWS({0x33221100, 0x77665544, 0x7531, 0x77553311}, {0x80, 0x7f, 0xc8c8, 0x00ff00ff})},
    {"popc.b32 %o, %a;", "ww", ROWS({0xff0f, 12}, {0, 0})},
    {"popc.b64 %o, %a;", "wd", ROWS({UINT64_MAX, 64})},
    {"clz.b32 %o, %a;", "ww", ROWS({0, 32}, {1, 31}, {0x80000000, 0})},
    {"clz.b64 %o, %a;", "wd", ROWS({0, 64}, {1, 63})},
    {"brev.b32 %o, %a;", "ww", ROWS({1, 0x80000000}, {0x12345678, 0x1e6a2c48})},
    {"brev.b64 %o, %a;", "dd", ROWS({1, UINT64_C(1) << 63})},
    {"bfind.u32 %o, %a;", "ww", ROWS({0, -1}, {0x100, 8})},
    {"bfind.s32 %o, %a;", "ww", ROWS({-1, -1}, {-256, 7}, {0x100, 8})},
    {"selp.b32 %o, %a, %b, %c;", "wwwp", ROWS({1, 2, 1, 1}, {1, 2, 0, 2})},
    {"selp.b64 %o, %a, %b, !%c;", "dddp", ROWS({1, 2, 1, 2}, {1, 2, 0, 1})},
    {"selp.b16 %o, 5, %a, %b;", "hhp", ROWS({1, 1, 5}, {1, 0, 1})},
    {"mov.b32 %o, {%a, %b};", "whh", ROWS({0x1234, 0x5678, 0x56781234})},
    {"{.reg .b16 %x; mov.b32 {%x, %o}, %a;}", "hw", ROWS({0x56781234, 0x5678})},
    {"mov.b32 {%o, _}, %a;", "hw", ROWS({0x56781234, 0x1234})},
    {"mov.b64 %o, {%a, %b};", "dww", ROWS({1, 2, 0x200000001})},
    {"mov.b32 %o, %a;", "ww", ROWS({0xdeadbeef, 0xdeadbeef})},
    {"mov.f32 %o, 0f3F800000;", "ww", ROWS({0, ONE})},
    {"mov.f64 %o, 0d3FF0000000000000;", "dw", ROWS({0, 0x3ff0000000000000})},
    {"mov.f32 %o, 1.5;", "ww", ROWS({0, 0x3fc00000})},
};

static const instruction_case comparisons[] = {
    {"setp.eq.s32 %o, %a, %b;", "pww", ROWS({1, 1, 1}, {1, 2, 0})},
    {"setp.ne.b16 %o, %a, %b;", "phh", ROWS({1, 1, 0}, {1, 2, 1})},
    {"setp.lt.s32 %o, %a, %b;", "pww", ROWS({-1, 1, 1}, {1, -1, 0}, {1, 1, 0})},
    {"setp.lt.u32 %o, %a, %b;", "pww", ROWS({-1, 1, 0}, {1, -1, 1})},
    {"setp.lo.u32 %o, %a, %b;", "pww", ROWS({-1, 1, 0}, {1, -1, 1})},
    {"setp.hs.u32 %o, %a, %b;", "pww", ROWS({-1, 1, 1}, {1, 1, 1}, {0, 1, 0})},
    {"setp.ge.s64 %o, %a, %b;", "pdd", ROWS({-1, 1, 0}, {1, 1, 1})},
    {"setp.gt.u64 %o, %a, %b;", "pdd", ROWS({-1, 1, 1}, {1, 1, 0})},
    {"setp.le.s16 %o, %a, %b;", "phh", ROWS({0xffff, 1, 1}, {1, 0xffff, 0})},
    {"setp.lt.and.s32 %o, %a, %b, %c;", "pwwp", ROWS({1, 2, 1, 1}, {1, 2, 0, 0}, {2, 1, 1, 0})},
    {"setp.lt.or.s32 %o, %a, %b, !%c;", "pwwp", ROWS({2, 1, 1, 0}, {2, 1, 0, 1})},
    {"setp.lt.xor.s32 %o, %a, %b, %c;", "pwwp", ROWS({1, 2, 1, 0}, {1, 2, 0, 1})},
    {"setp.lt.s32 _|%o, %a, %b;", "pww", ROWS({1, 2, 0}, {2, 1, 1})},
    {"setp.eq.f32 %o, %a, %b;", "pww", ROWS({ONE, ONE, 1}, {0, MINUS, 1}, {NAN_IN, NAN_IN, 0})},
    {"setp.ne.f32 %o, %a, %b;", "pww", ROWS({ONE, TWO, 1}, {ONE, ONE, 0}, {NAN_IN, ONE, 0})},
    {"setp.neu.f32 %o, %a, %b;", "pww", ROWS({ONE, TWO, 1}, {ONE, ONE, 0}, {NAN_IN, ONE, 1})},
    {"setp.equ.f32 %o, %a, %b;", "pww", ROWS({ONE, TWO, 0}, {ONE, ONE, 1}, {NAN_IN, ONE, 1})},
    {"setp.lt.f32 %o, %a, %b;", "pww", ROWS({ONE, TWO, 1}, {TWO, ONE, 0}, {NAN_IN, ONE, 0})},
    {"setp.ltu.f32 %o, %a, %b;", "pww", ROWS({ONE, TWO, 1}, {TWO, ONE, 0}, {ONE, ONE, 0}, {NAN_IN, ONE, 1})},
    {"setp.leu.f32 %o, %a, %b;", "pww", ROWS({ONE, ONE, 1}, {TWO, ONE, 0}, {ONE, NAN_IN, 1})},
    {"setp.gtu.f32 %o, %a, %b;", "pww", ROWS({ONE, TWO, 0}, {TWO, ONE, 1}, {NAN_IN, ONE, 1})},
    {"setp.geu.f32 %o, %a, %b;", "pww", ROWS({ONE, TWO, 0}, {ONE, ONE, 1}, {NAN_IN, ONE, 1})},
    {"setp.gt.f32 %o, %a, %b;", "pww", ROWS({INF, ONE, 1}, {NAN_IN, ONE, 0})},
    {"setp.ge.f64 %o, %a, %b;", "pdd", ROWS({0x3ff0000000000000, 0x3ff0000000000000, 1}, {0x7ff8000000000000, 0, 0})},
    {"setp.num.f32 %o, %a, %b;", "pww", ROWS({ONE, TWO, 1}, {NAN_IN, ONE, 0})},
    {"setp.nan.f32 %o, %a, %b;", "pww", ROWS({ONE, TWO, 0}, {ONE, NAN_IN, 1})},
    {"setp.eq.ftz.f32 %o, %a, %b;", "pww", ROWS({TINY, 0, 1})},
    {"setp.lt.f16 %o, %a, %b;", "phh", ROWS({0x3c00, 0x4000, 1}, {0x7e00, 0x4000, 0})},
    {"setp.gt.bf16 %o, %a, %b;", "phh", ROWS({0x3f80, 0x4000, 0}, {0x4000, 0x3f80, 1})},
    {"testp.notanumber.f32 %o, %a;", "pw", ROWS({NAN_IN, 1}, {INF, 0})},
    {"testp.infinite.f32 %o, %a;", "pw", ROWS({NAN_IN, 0}, {INF, 1}, {ONE, 0})},
    {"testp.subnormal.f32 %o, %a;", "pw", ROWS({TINY, 1}, {ONE, 0}, {0, 0})},
    {"testp.finite.f64 %o, %a;", "pd", ROWS({0x7ff0000000000000, 0}, {0, 1})},
};

static const instruction_case floats[] = {
    {"add.f32 %o, %a, %b;", "www",
     ROWS({ONE, TWO, THREE}, {INF, INF | MINUS, NAN32}, {NAN_IN, ONE, NAN32}, {TINY, TINY, 2}, {ONE, 0x33800000, ONE},
          {ONE, 0x33800001, 0x3f800001})},
    {"add.rz.f32 %o, %a, %b;", "www", ROWS({ONE, 0x33800001, ONE}, {ONE | MINUS, 0xb3800001, ONE | MINUS})},
    {"add.rp.f32 %o, %a, %b;", "www", ROWS({ONE, 0x30000000, 0x3f800001}, {ONE | MINUS, 0xb0000000, ONE | MINUS})},
    {"add.rm.f32 %o, %a, %b;", "www", ROWS({ONE, 0x30000000, ONE}, {ONE | MINUS, 0xb0000000, 0xbf800001})},
    {"add.ftz.f32 %o, %a, %b;", "www", ROWS({TINY, 0, 0}, {TINY | MINUS, MINUS, MINUS}, {ONE, TINY, ONE})},
    {"add.sat.f32 %o, %a, %b;", "www", ROWS({ONE, ONE, ONE}, {ONE | MINUS, 0, 0}, {NAN_IN, 0, 0}, {0x3f000000, 0, 0x3f000000})},
    {"sub.f32 %o, %a, %b;", "www", ROWS({ONE, TWO, ONE | MINUS}, {ONE, ONE, 0})},
    {"mul.rn.f32 %o, %a, %b;", "www", ROWS({TWO, THREE, 0x40c00000}, {0, INF, NAN32}, {0x3f800001, 0x3f800001, 0x3f800002})},
    {"mul.rp.f32 %o, %a, %b;", "www", ROWS({0x3f800001, 0x3f800001, 0x3f800003})},
    {"div.rn.f32 %o, %a, %b;", "www", ROWS({ONE, THREE, 0x3eaaaaab}, {ONE, 0, INF}, {0, 0, NAN32})},
    {"div.rz.f32 %o, %a, %b;", "www", ROWS({ONE, THREE, 0x3eaaaaaa})},
    {"div.full.f32 %o, %a, %b;", "www", ROWS({ONE, TWO, 0x3f000000})},
    {"div.approx.f32 %o, %a, %b;", "www", ROWS({ONE, TWO, 0x3f000000})},
    /* (1 + 2^-12)^2 - (1 + 2^-11) = 2^-24, which a product rounded first would lose */
    {"fma.rn.f32 %o, %a, %b, %c;", "wwww",
     ROWS({0x3f800800, 0x3f800800, 0xbf801000, 0x33800000}, {INF, 0, ONE, NAN32}, {TWO, THREE, ONE, 0x40e00000})},
    /* 1 + 2^-24 + 2^-70: above a tie by what double can't hold beside it */
    {"fma.rn.f32 %o, %a, %b, %c;", "wwww",
     ROWS({0x1f000000, 0x1d000000, 0x3f800000, ONE}, {0x3f800001, 0x3f7fffff, 0x00000001, 0x3f800000})},
    {"fma.rz.f32 %o, %a, %b, %c;", "wwww", ROWS({0x3f800001, 0x3f800001, 0, 0x3f800002}, {ONE, 0x33c00000, ONE, ONE})},
    {"fma.rp.f32 %o, %a, %b, %c;", "wwww", ROWS({ONE, 0x30000000, ONE, 0x3f800001})},
    {"mad.rn.f32 %o, %a, %b, %c;", "wwww", ROWS({TWO, THREE, ONE, 0x40e00000})},
    {"min.f32 %o, %a, %b;", "www",
     ROWS({ONE, TWO, ONE}, {NAN_IN, TWO, TWO}, {ONE, NAN_IN, ONE}, {NAN_IN, NAN_IN, NAN32}, {0, MINUS, MINUS}, {MINUS, 0, MINUS})},
    {"max.f32 %o, %a, %b;", "www", ROWS({ONE, TWO, TWO}, {NAN_IN, TWO, TWO}, {0, MINUS, 0}, {MINUS, 0, 0})},
    {"max.NaN.f32 %o, %a, %b;", "www", ROWS({NAN_IN, TWO, NAN32}, {ONE, NAN_IN, NAN32}, {ONE, TWO, TWO})},
    {"min.NaN.f32 %o, %a, %b;", "www", ROWS({NAN_IN, TWO, NAN32}, {ONE, TWO, ONE})},
    {"abs.f32 %o, %a;", "ww", ROWS({ONE | MINUS, ONE}, {MINUS, 0})},
    {"neg.f32 %o, %a;", "ww", ROWS({ONE, ONE | MINUS}, {0, MINUS})},
    {"neg.ftz.f32 %o, %a;", "ww", ROWS({TINY, MINUS})},
    {"copysign.f32 %o, %a, %b;", "www", ROWS({MINUS, ONE, ONE | MINUS}, {0, ONE | MINUS, ONE})},
    {"sqrt.rn.f32 %o, %a;", "ww", ROWS({TWO, 0x3fb504f3}, {ONE | MINUS, NAN32}, {MINUS, MINUS})},
    {"sqrt.rz.f32 %o, %a;", "ww", ROWS({THREE, 0x3fddb3d7})},
    {"rcp.rn.f32 %o, %a;", "ww", ROWS({TWO, 0x3f000000}, {0, INF}, {MINUS, INF | MINUS}, {THREE, 0x3eaaaaab})},
    {"rcp.approx.ftz.f32 %o, %a;", "ww", ROWS({TWO, 0x3f000000}, {TINY, INF})},
    {"rsqrt.approx.f32 %o, %a;", "ww", ROWS({0x40800000, 0x3f000000}, {0, INF}, {ONE | MINUS, NAN32})},
    {"ex2.approx.f32 %o, %a;", "ww", ROWS({THREE, 0x41000000}, {INF | MINUS, 0}, {0, ONE}, {INF, INF})},
    {"ex2.approx.ftz.f32 %o, %a;", "ww", ROWS({0xc3000000, 0}, {TINY, ONE})},
    {"lg2.approx.f32 %o, %a;", "ww", ROWS({0x41000000, THREE}, {0, INF | MINUS}, {ONE | MINUS, NAN32})},
    {"sin.approx.f32 %o, %a;", "ww", ROWS({0, 0})},
    {"cos.approx.f32 %o, %a;", "ww", ROWS({0, ONE})},
    {"tanh.approx.f32 %o, %a;", "ww", ROWS({0, 0}, {INF, ONE}, {INF | MINUS, ONE | MINUS})},
    {"add.f64 %o, %a, %b;", "ddd", ROWS({0x3ff0000000000000, 0x3ff0000000000000, 0x4000000000000000})},
    {"add.rp.f64 %o, %a, %b;", "ddd", ROWS({0x3ff0000000000000, 1, 0x3ff0000000000001})},
    {"fma.rn.f64 %o, %a, %b, %c;", "dddd", ROWS({0x3ff0000000000001, 0x3ff0000000000001, 0xbff0000000000002, 0x3970000000000000})},
    {"div.rn.f64 %o, %a, %b;", "ddd", ROWS({0x3ff0000000000000, 0x4008000000000000, 0x3fd5555555555555})},
    {"sqrt.rn.f64 %o, %a;", "dd", ROWS({0x4010000000000000, 0x4000000000000000})},
    {"max.f64 %o, %a, %b;", "ddd", ROWS({0x7ff8000000000000, 0x3ff0000000000000, 0x3ff0000000000000})},
    {"abs.f64 %o, %a;", "dd", ROWS({0xbff0000000000000, 0x3ff0000000000000})},
    {"neg.f64 %o, %a;", "dd", ROWS({0, 0x8000000000000000})},
    /* f16 and bf16 */
    {"add.f16 %o, %a, %b;", "hhh",
     ROWS({0x3c00, 0x4000, 0x4200}, {0x7bff, 0x7bff, 0x7c00}, {1, 1, 2}, {0x3c00, 0x1000, 0x3c00}, {0x3c00, 0x1001, 0x3c01})},
    {"mul.f16x2 %o, %a, %b;", "www", ROWS({0x40003c00, 0x42004200, 0x46004200})},
    {"sub.bf16 %o, %a, %b;", "hhh", ROWS({0x3f80, 0x4000, 0xbf80})},
    {"fma.rn.bf16x2 %o, %a, %b, %c;", "wwww", ROWS({0x40003f80, 0x40403f80, 0x3f803f80, 0x40e04000})},
    {"fma.rn.relu.bf16x2 %o, %a, %b, %c;", "wwww", ROWS({0xc0003f80, 0x40403f80, 0x3f803f80, 0x00004000})},
    {"fma.rn.f16 %o, %a, %b, %c;", "hhhh", ROWS({0x3c01, 0x3c01, 0xbc02, 0x0010})},
    {"max.bf16x2 %o, %a, %b;", "www", ROWS({0x3f80c000, 0x40003f80, 0x40003f80})},
    {"max.NaN.f16 %o, %a, %b;", "hhh", ROWS({0x7e01, 0x3c00, 0x7fff})},
    {"min.f16 %o, %a, %b;", "hhh", ROWS({0x7e01, 0x3c00, 0x3c00})},
    {"neg.bf16x2 %o, %a;", "ww", ROWS({0x3f808000, 0xbf800000})},
    {"abs.f16 %o, %a;", "hh", ROWS({0xbc00, 0x3c00})},
    {"ex2.approx.f16 %o, %a;", "hh", ROWS({0x4000, 0x4400})},
    {"tanh.approx.bf16 %o, %a;", "hh", ROWS({0, 0}, {0x7f80, 0x3f80})},
};

static const instruction_case conversions[] = {
    {"cvt.u64.u32 %o, %a;", "dw", ROWS({0xffffffff, 0xffffffff})},
    {"cvt.s64.s32 %o, %a;", "dw", ROWS({0xffffffff, UINT64_MAX})},
    {"cvt.u32.u64 %o, %a;", "wd", ROWS({0x1234567890, 0x34567890})},
    {"cvt.u32.u16 %o, %a;", "wh", ROWS({0xffff, 0xffff})},
    {"cvt.s32.s16 %o, %a;", "wh", ROWS({0xffff, 0xffffffff})},
    {"cvt.s32.s8 %o, %a;", "ww", ROWS({0x1ff, 0xffffffff}, {0x7f, 0x7f})},
    {"cvt.u16.u32 %o, %a;", "hw", ROWS({0x12345678, 0x5678})},
    {"cvt.u8.u32 %o, %a;", "hw", ROWS({0x12345678, 0x78})},
    {"cvt.sat.u8.s32 %o, %a;", "ww", ROWS({-5, 0}, {300, 255}, {7, 7})},
    {"cvt.sat.s16.s32 %o, %a;", "hw", ROWS({-70000, 0x8000}, {70000, 0x7fff})},
    {"cvt.sat.s32.u32 %o, %a;", "ww", ROWS({0xffffffff, 0x7fffffff})},
    {"cvt.rn.f32.s32 %o, %a;", "ww", ROWS({-1, ONE | MINUS}, {16777217, 0x4b800000}, {16777219, 0x4b800002})},
    {"cvt.rz.f32.u32 %o, %a;", "ww", ROWS({0xffffffff, 0x4f7fffff})},
    {"cvt.rn.f32.u32 %o, %a;", "ww", ROWS({0xffffffff, 0x4f800000})},
    {"cvt.rp.f32.s64 %o, %a;", "wd", ROWS({16777217, 0x4b800001})},
    {"cvt.rn.f32.u64 %o, %a;", "wd", ROWS({UINT64_MAX, 0x5f800000})},
    {"cvt.rn.f64.s32 %o, %a;", "dw", ROWS({-1, 0xbff0000000000000})},
    {"cvt.rn.f16.s32 %o, %a;", "hw", ROWS({3, 0x4200})},
    {"cvt.rn.bf16.u32 %o, %a;", "hw", ROWS({257, 0x4380}, {259, 0x4382})},
    {"cvt.rzi.s32.f32 %o, %a;", "ww", ROWS({0xbfc00000, -1}, {0x4f000000, 0x7fffffff}, {0xcf800000, 0x80000000}, {NAN_IN, 0})},
    {"cvt.rni.s32.f32 %o, %a;", "ww", ROWS({0x40200000, 2}, {0x40600000, 4}, {0xbf000000, 0})},
    {"cvt.rmi.s32.f32 %o, %a;", "ww", ROWS({0xbf000000, -1}, {0x3fc00000, 1})},
    {"cvt.rpi.s32.f32 %o, %a;", "ww", ROWS({0xbf000000, 0}, {0x3fc00000, 2})},
    {"cvt.rzi.u32.f32 %o, %a;", "ww", ROWS({0xbfc00000, 0}, {0x4f800000, 0xffffffff})},
    {"cvt.rzi.u64.f32 %o, %a;", "dw", ROWS({0x5f800000, UINT64_MAX}, {ONE, 1}, {NAN_IN, UINT64_C(1) << 63})},
    {"cvt.rzi.s64.f64 %o, %a;", "dd", ROWS({0xc3e0000000000000, UINT64_C(1) << 63}, {0xbff8000000000000, -1})},
    {"cvt.rni.f32.f32 %o, %a;", "ww", ROWS({0x40200000, TWO}, {0x3fc00000, TWO})},
    {"cvt.rzi.f32.f32 %o, %a;", "ww", ROWS({0x40200000, TWO}, {0xbf000000, MINUS})},
    {"cvt.rmi.f32.f32 %o, %a;", "ww", ROWS({0xbfc00000, TWO | MINUS})},
    {"cvt.sat.f32.f32 %o, %a;", "ww", ROWS({TWO, ONE}, {TWO | MINUS, 0}, {NAN_IN, 0}, {0x3f000000, 0x3f000000})},
    {"cvt.f64.f32 %o, %a;", "dw", ROWS({ONE, 0x3ff0000000000000}, {TINY, 0x36a0000000000000})},
    {"cvt.rn.f32.f64 %o, %a;", "wd",
     ROWS({0x3ff0000010000000, ONE}, {0x3ff0000010000001, 0x3f800001}, {0x7ff8000000000001, NAN32})},
    {"cvt.rz.f32.f64 %o, %a;", "wd", ROWS({0x3ff000001fffffff, ONE}, {0xbff000001fffffff, ONE | MINUS})},
    {"cvt.rp.f32.f64 %o, %a;", "wd", ROWS({0x3ff0000000000001, 0x3f800001})},
    {"cvt.rm.f32.f64 %o, %a;", "wd", ROWS({0xbff0000000000001, 0xbf800001})},
    /* f16: ties to even, denormals (2^-24, half of it, just above half), the largest, past it, infinity, NaN */
    {"cvt.rn.f16.f32 %o, %a;", "hw",
     ROWS({ONE, 0x3c00}, {0x3f801000, 0x3c00}, {0x3f803000, 0x3c02}, {0x33800000, 1}, {0x33000000, 0}, {0x33000001, 1},
          {0x477fe000, 0x7bff}, {0x477ff000, 0x7c00}, {INF | MINUS, 0xfc00}, {NAN_IN, 0x7fff}, {0x387fe000, 0x0400},
          {MINUS, 0x8000})},
    {"cvt.rz.f16.f32 %o, %a;", "hw", ROWS({0x3f803fff, 0x3c01}, {0x477fffff, 0x7bff}, {0x33000001, 0}, {INF, 0x7c00})},
    {"cvt.f32.f16 %o, %a;", "wh", ROWS({0x3c00, ONE}, {1, 0x33800000}, {0x83ff, 0xb87fc000}, {0x7c00, INF})},
    {"cvt.rn.bf16.f32 %o, %a;", "hw",
     ROWS({ONE, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, {0x3f808001, 0x3f81}, {0x7f7fffff, 0x7f80}, {NAN_IN, 0x7fff},
          {TINY, 0}, {0x00008001, 1}, {INF | MINUS, 0xff80})},
    {"cvt.rz.bf16.f32 %o, %a;", "hw", ROWS({0x3f81ffff, 0x3f81}, {0x7f7fffff, 0x7f7f})},
    {"cvt.rn.relu.bf16.f32 %o, %a;", "hw", ROWS({ONE | MINUS, 0}, {ONE, 0x3f80})},
    {"cvt.f32.bf16 %o, %a;", "wh", ROWS({0x3f80, ONE}, {1, 0x00010000})},
    {"cvt.rn.bf16x2.f32 %o, %a, %b;", "www", ROWS({ONE, TWO, 0x3f804000}, {0x3f818000, NAN_IN, 0x3f827fff})},
    {"cvt.rz.bf16x2.f32 %o, %a, %b;", "www", ROWS({0x3f81ffff, TWO, 0x3f814000})},
    {"cvt.rn.relu.bf16x2.f32 %o, %a, %b;", "www", ROWS({ONE | MINUS, TWO, 0x4000}, {NAN_IN, MINUS | TINY, 0x7fff0000})},
    {"cvt.rn.f16x2.f32 %o, %a, %b;", "www", ROWS({ONE, TWO, 0x3c004000})},
    {"cvt.rna.tf32.f32 %o, %a;", "ww", ROWS({0x3f801000, 0x3f802000}, {0x3f800fff, ONE})},
    {"cvt.rn.tf32.f32 %o, %a;", "ww", ROWS({0x3f801000, ONE}, {0x3f803000, 0x3f804000})},
    {"cvt.rn.f16.f64 %o, %a;", "hd", ROWS({0x3ff0000000000000, 0x3c00}, {0x3ff0020000000001, 0x3c01})},
    {"cvt.ftz.f64.f32 %o, %a;", "dw", ROWS({TINY, 0})},
};

#define ALL(name)                                                                                                                  \
  for (size_t i = 0; i < sizeof name / sizeof *name; i++) check(&name[i])
static void integers_test(void **state) {
  (void)state;
  ALL(integers);
}
static void comparisons_test(void **state) {
  (void)state;
  ALL(comparisons);
}
static void floats_test(void **state) {
  (void)state;
  ALL(floats);
}
static void conversions_test(void **state) {
  (void)state;
  ALL(conversions);
}

/* Random floats through the host's own fmaf, and every bf16 and f16 through conversions there and back. */
static void many_floats_test(void **state) {
  (void)state;
  uint64_t random = 88172645463325252u, rows[MOST_ROWS][MOST_INPUTS + 1], out[32];
  for (int round = 0; round < 40; round++) {
    for (int l = 0; l < 32; l++)
      for (int i = 0; i < 3; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        rows[l][i] = (random >> 20 & 0x807fffff) | ((round < 20 ? 120 : 90) + random % (round < 20 ? 14 : 70)) << 23;
      }
    run("fma.rn.f32 %o, %a, %b, %c;", "wwww", rows, 32, out);
    for (int l = 0; l < 32; l++) {
      float in[3], want;
      uint32_t bits;
      for (int i = 0; i < 3; i++) memcpy(&in[i], &rows[l][i], 4);
      want = fmaf(in[0], in[1], in[2]);
      memcpy(&bits, &want, 4);
      if (out[l] != bits)
        fail_msg("fma of %a %a %a: %#llx, expected %#x", (double)in[0], (double)in[1], (double)in[2], (unsigned long long)out[l],
                 bits);
    }
  }
  for (uint32_t half = 0; half < 0x10000; half += 32) {
    if (half % 1024 && (half & 0x7c00) != 0x7c00 && half % 4096 != 2048) continue;
    for (uint32_t l = 0; l < 32; l++) rows[l][0] = half + l;
    for (int kind = 0; kind < 2; kind++) {
      run(kind ? "{.reg .b32 %x; cvt.f32.bf16 %x, %a; cvt.rn.bf16.f32 %o, %x;}"
               : "{.reg .b32 %x; cvt.f32.f16 %x, %a; cvt.rn.f16.f32 %o, %x;}",
          "hh", rows, 32, out);
      for (uint32_t l = 0; l < 32; l++) {
        uint32_t most = kind ? 0x7f80 : 0x7c00, want = ((half + l) & 0x7fff) > most ? 0x7fff : half + l;
        assert_int_equal(out[l], want);
      }
    }
  }
}

/* What lanes tell each other: words 0..31 in, expected by a formula. */
typedef struct lanes_case {
  const char *text;
  uint32_t (*expected)(uint32_t lane);
} lanes_case;
static uint32_t up2(uint32_t l) { return l < 2 ? l : l - 2; }
static uint32_t down3(uint32_t l) { return l + 3 > 31 ? l : l + 3; }
static uint32_t down3_of_8(uint32_t l) { return (l & 7) + 3 > 7 ? l : l + 3; }
static uint32_t across5(uint32_t l) { return l ^ 5; }
static uint32_t lane7(uint32_t l) { return (void)l, 7; }
static uint32_t third_of_8(uint32_t l) { return (l & 24) + 3; }
static uint32_t inside(uint32_t l) { return l >= 2; }
static uint32_t odd_lanes(uint32_t l) { return (void)l, 0xaaaaaaaa; }
static uint32_t zero(uint32_t l) { return (void)l, 0; }
static uint32_t one(uint32_t l) { return (void)l, 1; }
static uint32_t sum(uint32_t l) { return (void)l, 496; }
static uint32_t greatest(uint32_t l) { return (void)l, 31; }
static uint32_t xor_all(uint32_t l) { return (void)l, 0; }
static uint32_t or_all(uint32_t l) { return (void)l, 31; }
static uint32_t least_signed(uint32_t l) { return (void)l, (uint32_t)-16; }
static uint32_t same_half(uint32_t l) { return l < 16 ? 0xffff : 0xffff0000; }
static uint32_t is_first(uint32_t l) { return l == 0; }
static uint32_t low_half(uint32_t l) { return l < 16 ? 0xffff : 0; }
static uint32_t identity(uint32_t l) { return l; }
static uint32_t bit(uint32_t l) { return 1u << l; }
static uint32_t below(uint32_t l) { return (1u << l) - 1; }
static uint32_t from_below(uint32_t l) { return l ? (uint32_t)-1 << l : (uint32_t)-1; }
static const lanes_case lanes_cases[] = {
    {"shfl.sync.up.b32 %o, %a, 2, 0, -1;", up2},
    {"shfl.sync.down.b32 %o, %a, 3, 31, -1;", down3},
    {"shfl.sync.down.b32 %o, %a, 3, 0x1807, -1;", down3_of_8},
    {"shfl.sync.bfly.b32 %o, %a, 5, 31, -1;", across5},
    {"shfl.sync.idx.b32 %o, %a, 7, 31, 0xffffffff;", lane7},
    {"shfl.sync.idx.b32 %o, %a, 3, 0x181f, -1;", third_of_8},
    {"{.reg .pred %q; shfl.sync.up.b32 _|%q, %a, 2, 0, -1; selp.b32 %o, 1, 0, %q;}", inside},
    {"{.reg .pred %q; .reg .b32 %x; and.b32 %x, %a, 1; setp.ne.b32 %q, %x, 0; vote.sync.ballot.b32 %o, %q, -1;}", odd_lanes},
    {"{.reg .pred %q; setp.lt.u32 %q, %a, 31; vote.sync.all.pred %q, %q, -1; selp.b32 %o, 1, 0, %q;}", zero},
    {"{.reg .pred %q; setp.eq.u32 %q, %a, 31; vote.sync.any.pred %q, %q, -1; selp.b32 %o, 1, 0, %q;}", one},
    {"{.reg .pred %q; setp.lt.u32 %q, %a, 99; vote.sync.uni.pred %q, %q, -1; selp.b32 %o, 1, 0, %q;}", one},
    {"redux.sync.add.s32 %o, %a, -1;", sum},
    {"redux.sync.max.u32 %o, %a, -1;", greatest},
    {"{.reg .b32 %x; sub.s32 %x, %a, 16; redux.sync.min.s32 %o, %x, -1;}", least_signed},
    {"redux.sync.xor.b32 %o, %a, -1;", xor_all},
    {"redux.sync.or.b32 %o, %a, -1;", or_all},
    {"redux.sync.and.b32 %o, %a, -1;", zero},
    {"{.reg .b32 %x; shr.u32 %x, %a, 4; match.any.sync.b32 %o, %x, -1;}", same_half},
    {"{.reg .pred %q; .reg .b32 %x; match.all.sync.b32 %x|%q, %a, -1; selp.b32 %o, 1, %x, %q;}", zero},
    {"{.reg .pred %q; .reg .b32 %x; elect.sync %x|%q, -1; selp.b32 %o, 1, 0, %q;}", is_first},
    {"{.reg .pred %q; setp.lt.u32 %q, %a, 16; mov.b32 %o, 0; @%q activemask.b32 %o;}", low_half},
    {"mov.u32 %o, %laneid;", identity},
    {"mov.u32 %o, %lanemask_eq;", bit},
    {"mov.u32 %o, %lanemask_lt;", below},
    {"mov.u32 %o, %lanemask_ge;", from_below},
    {"mov.u32 %o, %tid.x;", identity},
    {"mov.u32 %o, %ntid.y;", one},
    {"mov.u32 %o, %nctaid.x;", one},
    /* Lanes that part meet again: odd ones add 1 and come back to even, even ones stay. */
    {"{.reg .pred %q; .reg .b32 %x; and.b32 %x, %a, 1; setp.eq.b32 %q, %x, 0; mov.b32 %o, %a; @%q bra skip; add.s32 %o, %o, 1; "
     "sub.s32 %o, %o, 1; skip: bar.warp.sync -1;}",
     identity},
    /* Each lane goes round as often as its number. */
    {"{.reg .pred %q; mov.b32 %o, 0; again: setp.ge.u32 %q, %o, %a; @%q bra done; add.s32 %o, %o, 1; bra again; done: }", identity},
};

static void lanes_test(void **state) {
  (void)state;
  uint64_t rows[MOST_ROWS][MOST_INPUTS + 1], out[32];
  for (uint32_t l = 0; l < 32; l++) rows[l][0] = l;
  for (size_t i = 0; i < sizeof lanes_cases / sizeof *lanes_cases; i++) {
    run(lanes_cases[i].text, "ww", rows, 32, out);
    for (uint32_t l = 0; l < 32; l++)
      if (out[l] != lanes_cases[i].expected(l))
        fail_msg("%s: lane %u has %#llx, expected %#x", lanes_cases[i].text, l, (unsigned long long)out[l],
                 lanes_cases[i].expected(l));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(integers_test),    cmocka_unit_test(comparisons_test),
                                     cmocka_unit_test(floats_test),      cmocka_unit_test(conversions_test),
                                     cmocka_unit_test(many_floats_test), cmocka_unit_test(lanes_test)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
