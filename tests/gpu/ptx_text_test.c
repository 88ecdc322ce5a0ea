/* Texts: what is read of them, what is said of those that are wrong and where, and thousands that are broken at random: each is refused with a place or
 * accepted, and what is accepted runs to an end of some kind. */
#include "ptx_testing.h"

#define HEAD ".version 8.6\n.target sm_90a\n.address_size 64\n"
#define KERNEL HEAD ".visible .entry k(.param .u64 p) {\n.reg .pred %p<3>; .reg .b16 %h<3>; .reg .b32 %r<8>; .reg .b64 %d<4>;\n"

static const struct {
  const char *text, *says;
} wrong[] = {
    {"", "1:1: expected '.version', found the end of the text"},
    {".target sm_80\n", "1:1: expected '.version', found '.target'"},
    {".version 8.6\n.entry k() { ret; }", "2:1: expected '.target', found '.entry'"},
    {".version x\n", "1:1: expected a version"},
    {".version 8.6\n.target cuda\n", "2:1: expected a processor"},
    {HEAD "/* no end", "4:1: this comment has no end"},
    {HEAD ".entry k( { ret; }", "4:11: expected '.param', found '{'"},
    {HEAD ".entry k(.param .u9 x) { ret; }", "4:17: expected a type, found '.u9'"},
    {HEAD ".entry k() { ret;", "4:12: this body has no '}'"},
    {HEAD ".entry k() { ret }", "4:14: this statement has no ';'"},
    {HEAD ".entry k() { ret; }\n.entry k() { ret; }", "5:8: 'k' is declared twice"},
    {HEAD ".entry k() .reqntid 2000, 1, 1 { ret; }", "4:21: expected a size of at most 1024, found '2000'"},
    {HEAD ".entry k() .sometimes { ret; }", "4:12: expected a directive of the kernel or its body, found '.sometimes'"},
    {HEAD ".global .b8 x[99999999999];", "4:15: expected a number of elements of at most 67108864, found '99999999999'"},
    {HEAD ".global .u32 x = y;", "4:18: expected a number to initialise with"},
    {HEAD ".global .u32 x[1] = {1, 2};", "4:25: more values than the variable has room for"},
    {HEAD ".extern .global .u32 x;", "4:22: 'x' is defined elsewhere"},
    {HEAD ".shared .align 3 .b8 x[4];", "expected an alignment that is a power of two"},
    {KERNEL "frob.b32 %r0, %r1; }", "6:1: the instruction 'frob.b32' is not known here"},
    {KERNEL "add.s32 %r0, %r1; }", "6:1: 'add.s32' takes 3 operands, found 2"},
    {KERNEL "add.s32 %r0, %r1, %r9; }", "6:19: '%r9' is not declared"},
    {KERNEL "add.s32 %r0, %r1, %r01; }", "6:19: '%r01' is not declared"},
    {KERNEL "add.s32 %r0, %r1, %p0; }", "6:19: expected a value of type s32, found a predicate"},
    {KERNEL "add.s32 %h0, %r1, %r2; }", "6:9: expected a register of 32 bits, found one of 16"},
    {KERNEL "add.s64 %d0, %r1, %d2; }", "6:14: expected a value of 64 bits, found a register of 32"},
    {KERNEL "add.odd.s32 %r0, %r1, %r2; }", "6:1: 'add.odd.s32' is not known here: '.odd'"},
    {KERNEL "add.s32 5, %r1, %r2; }", "6:9: expected a register"},
    {KERNEL "add.s32 %r0, %r1, 5z; }", "6:19: '5z' is not a number"},
    {KERNEL "cvt.s32.f32 %r0, %r1; }", "6:1: 'cvt.s32.f32' needs a rounding to an integer"},
    {KERNEL "cvt.bf16.f32 %h0, %r1; }", "6:1: 'cvt.bf16.f32' needs a rounding"},
    {KERNEL "setp.lo.s32 %p0, %r0, %r1; }", "6:1: 'setp.lo.s32' is not known here"},
    {KERNEL "@%r0 bra x; x: ret; }", "6:2: expected a predicate behind '@'"},
    {KERNEL "bra %r0; }", "6:5: expected a label"},
    {KERNEL "x: ret; x: ret; }", "6:9: 'x' is declared twice"},
    {KERNEL "{ y: ret; } bra y; }", "6:17: 'y' is not declared"},
    {KERNEL "ld.global.u32 %r0, %d0; }", "6:20: expected an address in brackets"},
    {KERNEL "ld.global.v2.u32 %r0, [%d0]; }", "6:18: expected 2 values, found 1"},
    {KERNEL "ld.global.u32 %r0, [%h0]; }", "6:21: expected an address of 32 or 64 bits"},
    {KERNEL "st.param.u32 [p], %r0; }", "6:1: this memory can't be written"},
    {KERNEL "mov.b64 %d0, {%r0, %r1, %r2}; }", "6:1: 64 bits do not fall into 3 parts"},
    {KERNEL "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%r0, %r1, %r2}, {%r0, %r1, %r2, %r3}, {%r0, %r1}, {%r0, %r1, "
            "%r2, %r3}; }",
     "6:53: expected 4 registers, found 3"},
    {KERNEL "wgmma.mma_async.sync.aligned.m64n9k16.f32.bf16.bf16 {%r0}, %d0, %d1, %p0, 1, 1, 0, 0; }", "is not known here"},
    {KERNEL "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%r0, %r1, %r2, %r3}, %d0, %d1, %p0, 2, 1, 0, 0; }",
     "6:90: expected 1 or -1"},
    {KERNEL "cp.async.cg.shared.global [%r0], [%d0], 12; }", "6:41: expected 4, 8 or 16 bytes"},
    {KERNEL "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r0], [%d0, {%r1, %r2}], [%r3]; }",
     "copies by tensor map are not known here"},
    {KERNEL ".shared .b8 x[300000]; }", "'x' is larger than 232448 bytes"},
    {KERNEL ".reg .b32 %q<70000>; }", "expected a number of registers of at most 65536"},
    {KERNEL ".frob; }", "this directive is not known here"},
};

static void wrong_test(void **state) {
  (void)state;
  ptx_device *device = ptx_device_create(0);
  size_t failed = 0;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    ptx_report report;
    ptx_module *module = ptx_module_create(device, wrong[i].text, strlen(wrong[i].text), &report);
    if (module || report.kind != PTX_SYNTAX || !strstr(report.text, wrong[i].says)) {
      print_error("case %zu: expected '%s', found '%s'\n", i, wrong[i].says, module ? "nothing" : report.text);
      failed++;
      continue;
    }
    char place[32];
    snprintf(place, sizeof place, "%u:%u: ", report.line, report.column);
    assert_int_equal(strncmp(report.text, place, strlen(place)), 0);
    assert_true(report.line >= 1 && report.column >= 1);
  }
  assert_int_equal(failed, 0);
  assert_int_equal(ptx_device_used_bytes(device), 0); /* variables of refused modules are gone */
  ptx_device_destroy(device);
}

/* Texts to break. Between them they have every kind of statement. */
static const char *const good[] = {
    HEAD ".global .align 4 .u32 table[3] = {1, 0x2, 3};\n.const .align 8 .b8 c[16];\n.extern .shared .align 16 .b8 "
         "smem[];\n.shared .align 8 .b64 bar[2];\n.func (.param .b32 r) f(.param .b32 x) { ret; }\n"
         ".visible .entry k(\n\t.param .u64 .ptr .global .align 4 p\n)\n.reqntid 128, 1, 1\n.minnctapersm 1\n{\n\t.reg .pred "
         "\t%p<4>;\n\t.reg .b16 %h<4>; .reg .b32 %r<24>; .reg .b64 %d<8>;\n\t.local .align 8 .b8 l[32];\n"
         "// %bb.0:\n\tld.param.u64 %d0, [p]; mov.u32 %r0, %tid.x; setp.ne.b32 %p0, %r0, 0; @%p0 bra "
         "$L1;\n\tmbarrier.init.shared.b64 [bar], 1; fence.mbarrier_init.release.cluster;\n$L1:\n\tbar.sync 0;\n"
         "\tmov.u32 %r1, smem; shl.b32 %r2, %r0, 4; add.s32 %r3, %r1, %r2; st.shared.v4.b32 [%r3], {%r0, %r0, %r0, %r0}; mov.u64 "
         "%d1, l; st.local.u32 [%d1+4], %r0; ld.local.u32 %r4, [l+4];\n"
         "\tcvt.rn.f32.s32 %r5, %r0; fma.rn.f32 %r5, %r5, 0f40000000, %r5; ex2.approx.ftz.f32 %r6, %r5; cvt.rn.bf16x2.f32 %r7, "
         "%r6, %r5; cvt.rzi.s32.f32 %r8, %r5; selp.b32 %r9, %r8, -1, %p0;\n"
         "\tmad.lo.s32 %r10, %r0, 4, %r9; mul.wide.u32 %d2, %r0, 4; add.s64 %d3, %d0, %d2; st.global.u32 [%d3], %r9; "
         "atom.global.add.u32 %r11, [%d3], 1; bar.sync 0; fence.proxy.async;\n"
         "\tshfl.sync.bfly.b32 %r12|%p1, %r0, 1, 31, -1; vote.sync.ballot.b32 %r13, %p1, -1; redux.sync.add.s32 %r14, %r0, "
         "0xffffffff; ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r15, %r16, %r17, %r18}, [%r3];\n"
         "\tmma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%r4, %r5, %r6, %r7}, {%r15, %r16, %r17, %r18}, {%r15, %r16}, "
         "{%r4, %r5, %r6, %r7};\n"
         "\t{\n\t.reg .pred q;\n\tAGAIN: setp.ne.s32 q, %r0, %r0; @q bra AGAIN;\n\t}\n\tcp.async.cg.shared.global [%r3+4096], "
         "[%d0], 16; cp.async.commit_group; cp.async.wait_group 0; @%p0 bra $L2;\n"
         "\tmbarrier.arrive.expect_tx.shared.b64 %d4, [bar], 64; cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
         "[%r1+8192], [%d0], 64, [bar];\n"
         "$W: mbarrier.try_wait.parity.shared.b64 %p2, [bar], 0; @!%p2 bra $W;\n\tcp.async.bulk.global.shared::cta.bulk_group "
         "[%d0+1024], [%r1+8192], 64; cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;\n$L2:\n\tret;\n}\n",
    HEAD ".extern .shared .align 1024 .b8 smem[];\n.entry k(.param .u64 p) { .reg .pred %p<3>; .reg .b32 %r<24>; .reg .b64 %d<6>; "
         "mov.u32 %r0, %tid.x; mov.u32 %r1, smem; shl.b32 %r2, %r0, 4; add.s32 %r2, %r2, %r1;\n"
         "st.shared.v4.b32 [%r2], {%r1, %r1, %r1, %r1}; fence.proxy.async; bar.sync 0; mov.b32 %r4, 0; mov.b32 %r5, 0; mov.b32 "
         "%r6, 0; mov.b32 %r7, 0; mov.b64 %d0, 0x800400000; mov.b64 %d1, 0x800400000; setp.eq.u32 %p0, 0, 0;\n"
         "wgmma.fence.sync.aligned; wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%r4, %r5, %r6, %r7}, %d0, %d1, %p0, 1, 1, "
         "0, 0; wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;\n"
         "barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned; stmatrix.sync.aligned.m8n8.x4.shared.b16 [%r2], {%r4, %r5, "
         "%r6, %r7}; setmaxnreg.dec.sync.aligned.u32 40; ret; }\n",
};

static uint64_t random_state = 1;
static uint32_t draw(uint32_t below) {
  random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
  return (uint32_t)((random_state >> 32) * below >> 32);
}

static size_t accepted, finished;
static ptx_report latest;
static ptx_kind attempt(const char *text, size_t size) {
  ptx_device *device = ptx_device_create(1 << 24);
  uint64_t buffer = ptx_device_allocate(device, 4096, 256, "p");
  ptx_device_fill(device, buffer, 0, 4, 4096);
  ptx_report report;
  ptx_module *module = ptx_module_create(device, text, size, &report);
  if (!module) {
    assert_true(report.kind == PTX_SYNTAX || report.kind == PTX_MEMORY);
    char place[32];
    snprintf(place, sizeof place, "%u:%u: ", report.line, report.column);
    if (report.kind == PTX_SYNTAX && strncmp(report.text, place, strlen(place)) != 0) fail_msg("no place in '%s'", report.text);
  } else {
    accepted++;
    ptx_kernel_info info;
    for (size_t i = 0; i < 2 && ptx_module_kernel(module, NULL, i, &info); i++) {
      uint8_t arguments[4096] = {0};
      memcpy(arguments, &buffer, 8);
      ptx_launch launch = {.kernel = info.name,
                           .grid = {1, 1, 1},
                           .block = {128, 1, 1},
                           .shared_bytes = 16384,
                           .arguments = arguments,
                           .argument_bytes = info.parameter_bytes < sizeof arguments ? info.parameter_bytes : 0,
                           .seed = draw(100),
                           .limit = 20000};
      if (info.block[0]) memcpy(launch.block, info.block, sizeof launch.block);
      if (ptx_launch_run(module, &launch, &report)) finished++;
      else assert_true(report.kind > PTX_OK && report.kind < PTX_KINDS && report.text[0]);
    }
  }
  latest = report;
  ptx_module_destroy(module);
  ptx_device_destroy(device);
  return latest.kind;
}

static void broken_test(void **state) {
  (void)state;
  static char text[8192];
  for (size_t g = 0; g < sizeof good / sizeof *good; g++) {
    size_t size = strlen(good[g]);
    if (attempt(good[g], size) != PTX_OK) fail_msg("text %zu: %s", g, latest.text);
    for (size_t end = 0; end < size; end += 1 + end % 3) attempt(good[g], end);
    for (int round = 0; round < 1500; round++) {
      memcpy(text, good[g], size + 1);
      size_t now = size;
      for (uint32_t change = 1 + draw(3); change > 0; change--) {
        size_t at = draw((uint32_t)now);
        switch (draw(5)) {
        case 0: text[at] = (char)(text[at] ^ (1 << draw(7))); break;
        case 1: text[at] = ".,;:{}[]()%@!|+-_0123456789abfrstuw \n\t"[draw(38)]; break;
        case 2: /* a piece is gone */
          if (now > 40) {
            size_t piece = 1 + draw(12);
            if (piece > now - at) piece = now - at;
            memmove(text + at, text + at + piece, now - at - piece);
            now -= piece;
          }
          break;
        case 3: { /* a piece comes twice */
          size_t from = draw((uint32_t)now), piece = 1 + draw(30);
          if (piece > now - from) piece = now - from;
          if (now + piece >= sizeof text) break;
          char copy[32];
          memcpy(copy, text + from, piece);
          memmove(text + at + piece, text + at, now - at);
          memcpy(text + at, copy, piece);
          now += piece;
          break;
        }
        default: { /* a digit is another: registers, sizes, offsets, types */
          size_t digit = at;
          while (digit < now && (text[digit] < '0' || text[digit] > '9')) digit++;
          if (digit < now) text[digit] = (char)('0' + draw(10));
        }
        }
      }
      attempt(text, now);
    }
  }
  /* The changes are small enough that not all are refused, and large enough that not all run. */
  assert_true(accepted > 100 && finished > 50 && finished < accepted);
}

/* What LLVM writes around kernels is read: comments, scopes, names that hide others, ranges of registers. */
static void scopes_test(void **state) {
  (void)state;
  frame frame = {.threads = 1};
  expect_kind(frame_run(&frame, "mov.b32 %r10, 1; { .reg .b32 %r10; mov.b32 %r10, 2; { .reg .b32 x; mov.b32 x, 3; st.global.u32 "
                                "[%d1+8], x; } st.global.u32 [%d1+4], %r10; } st.global.u32 [%d1], %r10; /* ; } */ // ; }\n"
                                "{ bra same; same: } { bra same; trap; same: } mov.b32 %r11, -0x10; st.global.u32 [%d1+12], %r11; "
                                "st.global.u32 [%d1+0x10], 07; st.global.u32 [%d1+20], 0b101; bra end; trap; end:"),
              PTX_OK, &frame, "scopes");
  static const uint32_t wanted[] = {1, 2, 3, (uint32_t)-16, 7, 5};
  assert_memory_equal(frame.y, wanted, sizeof wanted);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(wrong_test), cmocka_unit_test(broken_test), cmocka_unit_test(scopes_test)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
