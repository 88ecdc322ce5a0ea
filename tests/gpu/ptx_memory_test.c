/* Memory and order: each rule broken by a few lines of PTX, and the same lines unbroken. */
#include "ptx_testing.h"

typedef struct memory_case {
  const char *name;
  ptx_kind kind;
  const char *body;
  uint32_t blocks, threads;
  const char *says; /* in the report */
} memory_case;

static const memory_case cases[] = {
    {"read", PTX_OK, "ld.global.u32 %r10, [%d0+4]; st.global.u32 [%d1], %r10;", 1, 32, NULL},
    {"past the end", PTX_BOUNDS, "ld.global.u32 %r10, [%d0+8192];", 1, 32, "byte 8192 of x, which has 8192"},
    {"a vector past the end", PTX_BOUNDS, "ld.global.v4.u32 {%r10,%r11,%r12,%r13}, [%d0+8192];", 1, 32, NULL},
    {"before the beginning", PTX_BOUNDS, "ld.global.u32 %r10, [%d0+-4];", 1, 32, "in no allocation"},
    {"null", PTX_BOUNDS, "mov.u64 %d10, 0; ld.global.u32 %r10, [%d10];", 1, 32, NULL},
    {"a lane alone", PTX_BOUNDS,
     "mul.wide.u32 %d10, %r0, 300; and.b64 %d10, %d10, -4; add.s64 %d10, %d10, %d0; ld.global.u32 %r10, [%d10];", 1, 32, NULL},
    {"never written", PTX_UNINITIALISED, "ld.global.u32 %r10, [%d1+8];", 1, 32, "y: byte 8 was never written"},
    {"half written", PTX_UNINITIALISED, "mov.b16 %h0, 1; st.global.u16 [%d1], %h0; ld.global.u32 %r10, [%d1];", 1, 1, "byte 2"},
    {"misaligned", PTX_MISALIGNED, "ld.global.u32 %r10, [%d0+2];", 1, 32, NULL},
    {"misaligned vector", PTX_MISALIGNED, "ld.global.v2.u32 {%r10,%r11}, [%d0+4];", 1, 32, NULL},
    {"predicated off", PTX_OK, "setp.gt.u32 %p0, %r0, 99; @%p0 ld.global.u32 %r10, [%d0+8192];", 1, 32, NULL},
    {"shared never written", PTX_UNINITIALISED, "ld.shared.u32 %r10, [smem+8];", 1, 32, NULL},
    {"shared half written", PTX_UNINITIALISED, "mov.b32 %r10, 1; st.shared.u8 [smem], %r10; ld.shared.u16 %h0, [smem];", 1, 1,
     "byte 0x1"},
    {"shared past the end", PTX_BOUNDS, "st.shared.u32 [smem+16384], %r0;", 1, 1, "past the 16384 bytes"},
    {"shared misaligned", PTX_MISALIGNED, "st.shared.u32 [smem+2], %r0;", 1, 1, NULL},
    {"shared, generic address", PTX_OK,
     "mov.u64 %d10, smem; cvta.shared.u64 %d10, %d10; shl.b64 %d11, %d2, 2; add.s64 %d10, %d10, %d11; st.u32 [%d10], %r0; ld.u32 "
     "%r10, [%d10]; add.s64 %d12, %d1, %d11; st.u32 [%d12], %r10;",
     1, 64, NULL},
    {"local", PTX_OK,
     ".local .align 8 .b8 depot[64]; mov.u64 %d10, depot; cvta.local.u64 %d10, %d10; st.u32 [%d10+8], %r0; ld.local.u32 %r10, "
     "[depot+8]; setp.ne.u32 %p0, %r10, %r0; @%p0 trap;",
     1, 64, NULL},
    {"local never written", PTX_UNINITIALISED,
     ".local .align 8 .b8 depot[64]; st.local.u32 [depot], %r0; ld.local.u32 %r10, [depot+4];", 1, 32, NULL},
    {"local past the end", PTX_BOUNDS, ".local .align 8 .b8 depot[64]; st.local.u32 [depot+64], %r0;", 1, 32, NULL},
    {"a parameter past the end", PTX_BOUNDS, "ld.param.u64 %d10, [k_y+8];", 1, 32, NULL},
    {"register never written", PTX_REGISTER, "add.s32 %r10, %r11, 1;", 1, 32, "lane 0"},
    {"register of some lanes", PTX_REGISTER, "setp.lt.u32 %p0, %r0, 5; @%p0 mov.b32 %r11, 1; add.s32 %r10, %r11, 1;", 1, 32,
     "lane 5"},
    {"predicate never written", PTX_REGISTER, "@%p3 add.s32 %r10, %r0, 1;", 1, 32, NULL},
    {"a copy of nothing that nobody uses", PTX_OK, "mov.b32 %r10, %r11; mov.b64 %d10, {%r10, %r0};", 1, 32, NULL},
    {"what is not chosen may be nothing", PTX_OK, "setp.ge.u32 %p0, %r0, 0; selp.b32 %r10, %r0, %r11, %p0;", 1, 32, NULL},
    {"two blocks write", PTX_BLOCKS, "st.global.u32 [%d1], %r1;", 2, 1, "written by two blocks"},
    {"one writes, one reads", PTX_BLOCKS,
     "setp.eq.u32 %p0, %r1, 0; @%p0 st.global.u32 [%d0], %r1; @!%p0 ld.global.u32 %r10, [%d0];", 2, 1, NULL},
    {"both read", PTX_OK, "ld.global.u32 %r10, [%d0];", 2, 1, NULL},
    {"halves of a word", PTX_OK,
     "cvt.u16.u32 %h0, %r1; mul.wide.u32 %d10, %r1, 2; add.s64 %d10, %d10, %d1; st.global.u16 [%d10], %h0;", 2, 1, NULL},
    {"bytes of a word, then the word", PTX_BLOCKS,
     "cvt.u64.u32 %d10, %r1; add.s64 %d10, %d10, %d1; st.global.u8 [%d10], %r1; setp.eq.u32 %p0, %r1, 0; mov.b16 %h1, 0; @%p0 "
     "st.global.u16 [%d1], %h1;",
     2, 1, NULL},
    {"atomics of both", PTX_OK, "atom.global.add.u32 %r10, [%d0], 1; red.global.add.f32 [%d0+4], 0f3F800000;", 2, 64, NULL},
    {"atomic on nothing", PTX_UNINITIALISED, "atom.global.add.u32 %r10, [%d1], 1;", 1, 1, NULL},
    {"neighbours with a barrier", PTX_OK,
     "shl.b32 %r10, %r0, 2; mov.u32 %r11, smem; add.s32 %r12, %r11, %r10; st.shared.u32 [%r12], %r0; bar.sync 0; xor.b32 %r10, "
     "%r10, 128; add.s32 %r12, %r11, %r10; ld.shared.u32 %r13, [%r12];",
     1, 64, NULL},
    {"neighbours without", PTX_RACE,
     "shl.b32 %r10, %r0, 2; mov.u32 %r11, smem; add.s32 %r12, %r11, %r10; st.shared.u32 [%r12], %r0; bar.sync 0; st.shared.u32 "
     "[%r12], %r0; xor.b32 %r10, %r10, 128; "
     "add.s32 %r12, %r11, %r10; ld.shared.u32 %r13, [%r12];",
     1, 64, NULL},
    {"read, then another warp writes", PTX_RACE,
     "setp.lt.u32 %p0, %r0, 32; @%p0 st.shared.u32 [smem], 7; bar.sync 0; @%p0 ld.shared.u32 %r10, [smem]; @!%p0 st.shared.u32 "
     "[smem], 8;",
     1, 64, "with no synchronisation between"},
    {"two warps write", PTX_RACE,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 32; or.pred %p0, %p0, %p1; @%p0 st.shared.u32 [smem], %r0;", 1, 64,
     "was written by warp"},
    {"two warps write bytes of a word", PTX_OK,
     "shr.u32 %r10, %r0, 5; mov.u32 %r11, smem; add.s32 %r11, %r11, %r10; and.b32 %r12, %r0, 31; setp.eq.u32 %p0, %r12, 0; @%p0 "
     "st.shared.u8 [%r11], %r0; bar.sync 0; mov.u32 %r11, smem; ld.shared.u16 %h0, [%r11];",
     1, 64, NULL},
    {"a byte and the word", PTX_RACE,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 32; @%p0 st.shared.u8 [smem+1], %r0; @%p1 st.shared.u32 [smem], %r0;", 1, 64,
     NULL},
    {"a word is read, then a byte of it written", PTX_RACE,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 32; @%p0 st.shared.u32 [smem], %r0; bar.sync 0; @%p0 ld.shared.u32 %r10, "
     "[smem]; @%p1 st.shared.u8 [smem+1], %r0;",
     1, 64, NULL},
    {"lanes of a warp without bar.warp", PTX_RACE,
     "shl.b32 %r10, %r0, 2; mov.u32 %r11, smem; add.s32 %r12, %r11, %r10; st.shared.u32 [%r12], %r0; xor.b32 %r10, %r10, 4; "
     "add.s32 %r12, %r11, %r10; ld.shared.u32 %r13, [%r12];",
     1, 32, "of its warp wrote"},
    {"lanes of a warp with bar.warp", PTX_OK,
     "shl.b32 %r10, %r0, 2; mov.u32 %r11, smem; add.s32 %r12, %r11, %r10; st.shared.u32 [%r12], %r0; bar.warp.sync -1; xor.b32 "
     "%r10, %r10, 4; add.s32 %r12, %r11, %r10; ld.shared.u32 %r13, [%r12];",
     1, 32, NULL},
    {"lanes write different values to one place", PTX_RACE, "st.shared.u32 [smem], %r0;", 1, 32, NULL},
    {"lanes write one value to one place", PTX_OK, "st.shared.u32 [smem], 5;", 1, 32, NULL},
    {"a lane reads, another of its warp writes", PTX_RACE,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 1; @%p0 st.shared.u32 [smem], 1; bar.warp.sync -1; @%p0 ld.shared.u32 %r10, "
     "[smem]; @%p1 st.shared.u32 [smem], 2;",
     1, 32, "of its warp read"},
    {"global: a neighbour's word without bar.warp", PTX_RACE,
     "shl.b64 %d10, %d2, 2; add.s64 %d10, %d10, %d1; st.global.u32 [%d10], %r0; xor.b64 %d11, %d2, 1; shl.b64 %d11, %d11, 2; "
     "add.s64 %d11, %d11, %d1; ld.global.u32 %r10, [%d11];",
     1, 32, "of its warp wrote with no bar.warp.sync"},
    {"global: a neighbour's word with bar.warp", PTX_OK,
     "shl.b64 %d10, %d2, 2; add.s64 %d10, %d10, %d1; st.global.u32 [%d10], %r0; bar.warp.sync -1; xor.b64 %d11, %d2, 1; shl.b64 "
     "%d11, %d11, 2; add.s64 %d11, %d11, %d1; ld.global.u32 %r10, [%d11];",
     1, 32, NULL},
    {"global: a neighbour's word in many blocks", PTX_RACE,
     "setp.eq.u32 %p0, %r1, 1; @!%p0 bra end; shl.b64 %d10, %d2, 2; add.s64 %d10, %d10, %d1; st.global.u32 [%d10], %r0; xor.b64 "
     "%d11, %d2, 1; shl.b64 %d11, %d11, 2; add.s64 %d11, %d11, %d1; ld.global.u32 %r10, [%d11]; end:",
     3, 32, "of its warp wrote"},
    {"global: a lane's own word", PTX_OK,
     "shl.b64 %d10, %d2, 2; add.s64 %d10, %d10, %d1; st.global.u32 [%d10], %r0; ld.global.u32 %r10, [%d10]; add.s32 %r10, %r10, 1; "
     "st.global.u32 [%d10], %r10;",
     1, 64, NULL},
    {"global: a shuffle orders no memory", PTX_RACE,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 1; @%p0 st.global.u32 [%d1], 7; shfl.sync.idx.b32 %r11, %r0, 0, 31, -1; "
     "ld.global.u32 %r10, [%d1];",
     1, 32, "lane 0 of its warp wrote"},
    {"global: a vote orders no memory", PTX_RACE,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 1; @%p0 st.global.u32 [%d1], 7; vote.sync.ballot.b32 %r11, %p1, -1; "
     "ld.global.u32 %r10, [%d1];",
     1, 32, "lane 0 of its warp wrote"},
    {"global: a reduction orders no memory", PTX_RACE,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 1; @%p0 st.global.u32 [%d1], 7; redux.sync.add.s32 %r11, %r0, -1; "
     "ld.global.u32 %r10, [%d1];",
     1, 32, "lane 0 of its warp wrote"},
    {"global: a fence orders no memory", PTX_RACE,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 1; @%p0 st.global.u32 [%d1], 7; membar.gl; fence.acq_rel.gpu; ld.global.u32 "
     "%r10, [%d1];",
     1, 32, "lane 0 of its warp wrote"},
    {"global: ends of branches orders no memory", PTX_RACE,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 1; @%p0 st.global.u32 [%d1], 7; @%p0 bra one; mov.u32 %r11, 1; bra two; one: "
     "mov.u32 %r11, 2; two: ld.global.u32 %r10, [%d1];",
     1, 32, "lane 0 of its warp wrote"},
    {"global: a lane reads, another of its warp writes", PTX_RACE,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 1; @%p0 ld.global.u32 %r10, [%d0]; @%p1 st.global.u32 [%d0], 2;", 1, 32,
     "lane 0 of its warp read"},
    {"global: a lane reads, another of its warp writes behind bar.warp", PTX_OK,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 1; @%p0 ld.global.u32 %r10, [%d0]; bar.warp.sync -1; @%p1 st.global.u32 "
     "[%d0], 2;",
     1, 32, NULL},
    {"global: all lanes read, one writes", PTX_RACE,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 1; ld.global.u32 %r10, [%d0]; @%p0 st.global.u32 [%d0], 2;", 1, 32,
     "other lanes of its warp read"},
    {"global: lanes write different values to one place", PTX_RACE, "st.global.u32 [%d1], %r0;", 1, 32, "of its warp wrote"},
    {"global: lanes write one value to one place", PTX_OK, "st.global.u32 [%d1], 5;", 1, 32, NULL},
    {"global: bytes of a word", PTX_OK, "add.s64 %d10, %d1, %d2; st.global.u8 [%d10], %r0;", 1, 64, NULL},
    {"global: a byte, and the word", PTX_RACE,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 1; @%p0 st.global.u32 [%d1], 1; bar.warp.sync -1; @%p1 st.global.u8 [%d1+1], "
     "2; @%p0 ld.global.u32 %r10, [%d1];",
     1, 32, "lane 1 of its warp wrote"},
    {"global: warps with a barrier", PTX_OK,
     "shl.b64 %d10, %d2, 2; add.s64 %d10, %d10, %d1; st.global.u32 [%d10], %r0; bar.sync 0; xor.b64 %d11, %d2, 32; shl.b64 %d11, "
     "%d11, 2; add.s64 %d11, %d11, %d1; ld.global.u32 %r10, [%d11];",
     1, 64, NULL},
    {"global: warps without a barrier", PTX_RACE,
     "shl.b64 %d10, %d2, 2; add.s64 %d10, %d10, %d1; st.global.u32 [%d10], %r0; bar.sync 0; st.global.u32 [%d10], 9; xor.b64 %d11, "
     "%d2, 32; shl.b64 %d11, %d11, 2; add.s64 %d11, %d11, %d1; ld.global.u32 %r10, [%d11];",
     1, 64, "with no synchronisation between"},
    {"global: a warp reads, another writes", PTX_RACE,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 1; setp.eq.u32 %p2, %r0, 32; @%p0 ld.global.u32 %r10, [%d0]; @%p2 "
     "st.global.u32 [%d0], 2;",
     1, 64, "with no synchronisation between"},
    {"global: all warps read, one writes", PTX_RACE,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 1; ld.global.u32 %r10, [%d0]; @%p0 st.global.u32 [%d0], 2;", 1, 128,
     "read with"},
    {"global: all warps read, one writes behind a barrier", PTX_OK,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 1; ld.global.u32 %r10, [%d0]; bar.sync 0; @%p0 st.global.u32 [%d0], 2;", 1,
     128, NULL},
    {"global: warps write one value", PTX_OK, "st.global.u32 [%d1], 5;", 1, 64, NULL},
    {"global: a copy reads what a lane wrote", PTX_RACE,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 1; @%p0 st.global.v4.u32 [%d0], {%r0, %r0, %r0, %r0}; @%p1 "
     "cp.async.cg.shared.global [smem], [%d0], 16; cp.async.wait_all;",
     1, 32, "lane 0 of its warp wrote"},
    {"halves of a warp: bar.warp of both", PTX_OK,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 1; setp.lt.u32 %p2, %r0, 2;  @%p0 st.global.u32 [%d1], 7; @!%p2 bra out; "
     "bar.warp.sync 3; @%p1 ld.global.u32 %r10, [%d1]; out:",
     1, 32, NULL},
    {"halves of a warp: bar.warp without the reader", PTX_RACE,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 1; setp.lt.u32 %p2, %r0, 2;  setp.eq.u32 %p3, %r0, 2; @%p0 st.global.u32 "
     "[%d1], 7; @!%p2 bra out; bar.warp.sync 3; out: @%p3 ld.global.u32 %r10, [%d1];",
     1, 32, "lane 2 reads byte 0 of y, which lane 0"},
    {"a chain of bar.warp", PTX_OK,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 1; setp.lt.u32 %p2, %r0, 2;  setp.eq.u32 %p3, %r0, 2; setp.lt.u32 %p4, %r0, "
     "1; @%p0 st.global.u32 [%d1], 7; @!%p2 bra a; bar.warp.sync 3; a: or.pred %p5, %p1, %p3; @!%p5 bra b; bar.warp.sync 6; b: "
     "@%p3 ld.global.u32 %r10, [%d1];",
     1, 32, NULL},
    {"a chain of bar.warp in the wrong order", PTX_RACE,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 1; setp.lt.u32 %p2, %r0, 2;  setp.eq.u32 %p3, %r0, 2; @%p0 st.global.u32 "
     "[%d1], 7; or.pred %p5, %p1, %p3; @!%p5 bra b; bar.warp.sync 6; b: @!%p2 bra a; bar.warp.sync 3; a: @%p3 ld.global.u32 %r10, "
     "[%d1];",
     1, 32, "lane 0 of its warp wrote"},
    {"shared: bar.warp without the reader", PTX_RACE,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 1; setp.lt.u32 %p2, %r0, 2;  setp.eq.u32 %p3, %r0, 2; @%p0 st.shared.u32 "
     "[smem], 7; @!%p2 bra out; bar.warp.sync 3; out: @%p3 ld.shared.u32 %r10, [smem];",
     1, 32, "lane 2 reads shared byte 0, which lane 0"},
    {"shared: all lanes read, one writes", PTX_RACE,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 1; @%p0 st.shared.u32 [smem], 7; bar.warp.sync -1; ld.shared.u32 %r10, "
     "[smem]; @%p0 st.shared.u32 [smem], 8;",
     1, 32, "several lanes of its warp read"},
    {"shared: ldmatrix of what lanes wrote", PTX_RACE,
     "shl.b32 %r10, %r0, 4; mov.u32 %r11, smem; add.s32 %r10, %r10, %r11; st.shared.v4.u32 [%r10], {%r0, %r0, %r0, %r0}; "
     "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r12, %r13, %r14, %r15}, [%r10];",
     1, 32, "several lanes read shared byte"},
    {"shared: ldmatrix behind bar.warp", PTX_OK,
     "shl.b32 %r10, %r0, 4; mov.u32 %r11, smem; add.s32 %r10, %r10, %r11; st.shared.v4.u32 [%r10], {%r0, %r0, %r0, %r0}; "
     "bar.warp.sync -1; ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r12, %r13, %r14, %r15}, [%r10];",
     1, 32, NULL},
    {"shared: stmatrix, then a lane", PTX_RACE,
     "shl.b32 %r10, %r0, 4; mov.u32 %r11, smem; add.s32 %r10, %r10, %r11; stmatrix.sync.aligned.m8n8.x4.shared.b16 [%r10], {%r0, "
     "%r0, %r0, %r0}; ld.shared.u32 %r12, [%r10];",
     1, 32, "which several lanes of its warp wrote"},
    {"shared: all lanes wait for an mbarrier", PTX_OK,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 1; @%p0 mbarrier.init.shared.b64 [smem+64], 1; bar.sync 0; @%p0 st.shared.u32 "
     "[smem], 7; @%p0 mbarrier.arrive.shared.b64 %d12, [smem+64]; again: mbarrier.try_wait.parity.shared.b64 %p4, [smem+64], 0; "
     "@!%p4 bra again; ld.shared.u32 %r10, [smem];",
     1, 32, NULL},
    {"shared: one lane waits for an mbarrier and reads", PTX_OK,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 1; @%p0 mbarrier.init.shared.b64 [smem+64], 1; bar.sync 0; @%p0 st.shared.u32 "
     "[smem], 7; @%p0 mbarrier.arrive.shared.b64 %d12, [smem+64]; @!%p1 bra out; again: mbarrier.try_wait.parity.shared.b64 %p4, "
     "[smem+64], 0; @!%p4 bra again; ld.shared.u32 %r10, [smem]; out:",
     1, 32, NULL},
    {"shared: an mbarrier that a lane arrived at before it wrote", PTX_RACE,
     "setp.eq.u32 %p0, %r0, 0; @%p0 mbarrier.init.shared.b64 [smem+64], 1; bar.sync 0; @%p0 mbarrier.arrive.shared.b64 %d12, "
     "[smem+64]; @%p0 st.shared.u32 [smem], 7; again: mbarrier.try_wait.parity.shared.b64 %p4, [smem+64], 0; @!%p4 bra again; "
     "ld.shared.u32 %r10, [smem];",
     1, 32, "lane 0 of its warp wrote"},
    {"shared: a lane arrives at an mbarrier for another, which it does not come after", PTX_RACE,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 1; @%p0 mbarrier.init.shared.b64 [smem+64], 1; bar.sync 0; @%p1 st.shared.u32 "
     "[smem], 7; @%p0 mbarrier.arrive.shared.b64 %d12, [smem+64]; again: mbarrier.try_wait.parity.shared.b64 %p4, [smem+64], 0; "
     "@!%p4 "
     "bra again; @!%p1 ld.shared.u32 %r10, [smem];",
     1, 32, "lane 1 of its warp wrote"},
    {"shared: a lane arrives at an mbarrier for another, which it comes after", PTX_OK,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 1; setp.le.u32 %p2, %r0, 1; @%p0 mbarrier.init.shared.b64 [smem+64], 1; "
     "bar.sync 0; @%p1 st.shared.u32 "
     "[smem], 7; @%p2 bar.warp.sync 3; @%p0 mbarrier.arrive.shared.b64 %d12, [smem+64]; again: mbarrier.try_wait.parity.shared.b64 "
     "%p4, "
     "[smem+64], 0; @!%p4 bra again; @!%p1 ld.shared.u32 %r10, [smem];",
     1, 32, NULL},
    {"shared: one lane waits for an mbarrier, another reads", PTX_RACE,
     "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r0, 1; setp.eq.u32 %p2, %r0, 2; @%p0 mbarrier.init.shared.b64 [smem+64], 1; "
     "bar.sync 0; @%p0 st.shared.u32 [smem], 7; @%p0 mbarrier.arrive.shared.b64 %d12, [smem+64]; @!%p1 bra out; again: "
     "mbarrier.try_wait.parity.shared.b64 %p4, [smem+64], 0; @!%p4 bra again; out: @%p2 ld.shared.u32 %r10, [smem];",
     1, 32, "lane 2 reads shared byte 0, which lane 0"},
    {"named barriers of half the block", PTX_OK,
     "shr.u32 %r10, %r0, 6; add.s32 %r10, %r10, 1; mov.u32 %r11, 64; bar.sync %r10, %r11;", 1, 128, NULL},
    {"too many at a barrier", PTX_BARRIER, "bar.sync 1, 32;  bar.sync 1, 64; ", 1, 96, NULL},
    {"a barrier of no whole warps", PTX_BARRIER, "bar.sync 1, 40;", 1, 64, "multiple of 32"},
    {"arrive and sync", PTX_OK, "setp.lt.u32 %p0, %r0, 32; @%p0 bra first; bar.sync 2, 64; ret; first: bar.arrive 2, 64;", 1, 64,
     NULL},
    {"a barrier that some don't reach", PTX_DEADLOCK, "setp.lt.u32 %p0, %r0, 32; @%p0 bra out; bar.sync 0; out:", 1, 96,
     "warp 2 at line"},
    {"lanes part at a barrier and end", PTX_OK, "setp.lt.u32 %p0, %r0, 7; @%p0 bra out; out: bar.sync 0;", 1, 64, NULL},
    {"lanes wait for each other at two places", PTX_DIVERGENCE,
     "setp.lt.u32 %p0, %r0, 7; @%p0 bra there; bar.sync 0; bra out; there: bar.sync 1, 32; out:", 1, 32, "wait for them at line"},
    {"shfl with lanes that are elsewhere", PTX_DIVERGENCE,
     "setp.lt.u32 %p0, %r0, 7; @%p0 bra there; shfl.sync.idx.b32 %r10, %r0, 0, 31, -1; bra out; there: bar.warp.sync -1; out:", 1,
     32, NULL},
    {"shfl from a lane that is not in the mask", PTX_DIVERGENCE,
     "setp.lt.u32 %p0, %r0, 7; @%p0 shfl.sync.idx.b32 %r10, %r0, 9, 31, 0x7f;", 1, 32, "not in the mask"},
    {"shfl with a mask that leaves itself out", PTX_DIVERGENCE, "shfl.sync.idx.b32 %r10, %r0, 0, 31, 0xff;", 1, 32, "lane 8"},
    {"shfl of those in the mask", PTX_OK,
     "setp.lt.u32 %p0, %r0, 8; @%p0 bra here; bra out; here: shfl.sync.idx.b32 %r10, %r0, 3, 31, 0xff; out:", 1, 32, NULL},
    {"hints and what has nothing to wait for", PTX_OK,
     "prefetch.global.L2 [%d0]; createpolicy.fractional.L2::evict_first.b64 %d10, 1.0; "
     "ld.global.nc.L1::no_allocate.L2::cache_hint.v4.b32 {%r10, %r11, %r12, %r13}, [%d0], %d10;"
     "nanosleep.u32 20; griddepcontrol.wait; griddepcontrol.launch_dependents; membar.gl; fence.acq_rel.gpu; "
     "ld.volatile.global.u32 %r10, [%d0]; ld.relaxed.gpu.global.u32 %r10, [%d0];",
     1, 32, NULL},
    {"spaces of addresses", PTX_OK,
     ".local .align 8 .b8 depot[64]; mov.u64 %d10, smem; cvta.shared.u64 %d11, %d10; isspacep.shared %p0, %d11; @!%p0 trap; "
     "isspacep.global %p0, %d11; @%p0 trap; cvta.to.shared.u64 %d12, %d11; setp.ne.s64 %p1, %d12, %d10;"
     "@%p1 trap; isspacep.global %p0, %d0; @!%p0 trap; mov.u64 %d13, depot; cvta.local.u64 %d13, %d13; isspacep.local %p0, %d13; "
     "@!%p0 trap; cvta.to.global.u64 %d14, %d0; ld.u32 %r10, [%d14];",
     1, 32, NULL},
    {"lanes touch two spaces", PTX_BOUNDS,
     "mov.u64 %d10, smem; cvta.shared.u64 %d10, %d10; setp.lt.u32 %p0, %r0, 3; selp.b64 %d11, %d10, %d1, %p0; st.u32 [%d11], 1;", 1,
     32, "different spaces"},
    {"no end", PTX_ENDLESS, "again: add.s32 %r10, %r0, 1; bra again;", 1, 64, "still running"},
    {"trap", PTX_TRAP, "setp.eq.u32 %p0, %r0, 40; @%p0 trap;", 1, 64, "warp 1"},
    {"a function", PTX_TRAP, "call.uni f, (%r0);", 1, 32, NULL},
};

static void cases_test(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (uint64_t seed = 0; seed < 6; seed++) {
      frame frame = {.blocks = cases[i].blocks, .threads = cases[i].threads, .seed = seed};
      expect_kind(frame_run(&frame, cases[i].body), cases[i].kind, &frame, cases[i].name);
      if (cases[i].says && !strstr(frame.report.text, cases[i].says))
        fail_msg("%s: expected '%s' in\n%s", cases[i].name, cases[i].says, frame.report.text);
      if (cases[i].kind != PTX_OK && cases[i].kind != PTX_DEADLOCK && cases[i].kind != PTX_ENDLESS)
        assert_true(frame.report.line > 5 && frame.report.column >= 1);
    }
}

/* Dependent launches: what is touched before the launch before has been waited for. Of y nothing was written but what `before`, a launch of its own, wrote. */
static void dependent_test(void **state) {
  (void)state;
  enum { APART = 1, DEPENDENT = 2, ON_ALL = 4 }; /* launches that are told of it */
  static const struct {
    const char *name, *before, *body, *says;
    int reported;
    const char *between;
    bool is_settled;
  } early[] = {
      {"waits first", NULL,
       "griddepcontrol.launch_dependents; griddepcontrol.wait; ld.global.u32 %r10, [%d0]; st.global.u32 [%d1], 1;", NULL, 0, NULL,
       false},
      {"never waits", NULL, "mov.u32 %r10, 1;", "lane 0 of a dependent launch ends without", DEPENDENT | ON_ALL, NULL, false},
      {"a lane that does not", NULL, "setp.eq.u32 %p0, %r0, 37; @!%p0 griddepcontrol.wait;", "warp 1: lane 5 of",
       DEPENDENT | ON_ALL, NULL, false},
      {"a lane that ends before", NULL, "setp.eq.u32 %p0, %r0, 37; @%p0 exit; griddepcontrol.wait;", "warp 1: lane 5 of",
       DEPENDENT | ON_ALL, NULL, false},
      {"writes before", NULL, "st.global.u32 [%d0], 1; griddepcontrol.wait;", "writes byte 0 of x before", DEPENDENT | ON_ALL, NULL,
       false},
      {"one lane writes before", NULL, "setp.eq.u32 %p0, %r0, 3; @%p0 st.global.u32 [%d0+8], 1; griddepcontrol.wait;",
       "lane 3 writes byte 8 of x before", DEPENDENT | ON_ALL, NULL, false},
      {"adds before", NULL, "red.global.add.u32 [%d0], 1; griddepcontrol.wait;", "byte 0 of x before", DEPENDENT | ON_ALL, NULL,
       false},
      {"reads what is the host's before", NULL, "ld.global.u32 %r10, [%d0]; griddepcontrol.wait;", "reads byte 0 of x before",
       ON_ALL, NULL, false},
      {"reads a launch's before", "st.global.u32 [%d1+4], 1;", "ld.global.u32 %r10, [%d1+4]; griddepcontrol.wait;",
       "reads byte 4 of y before", DEPENDENT | ON_ALL, NULL, false},
      {"copies a launch's before", "st.global.v4.u32 [%d1], {%r0, %r0, %r0, %r0};",
       "mov.u32 %r10, smem; cp.async.cg.shared.global [%r10], [%d1], 16; cp.async.wait_all; griddepcontrol.wait;",
       "reads byte 0 of y before", DEPENDENT | ON_ALL, NULL, false},
      {"reads what is older than a launch that waits first", "st.global.u32 [%d1+4], 1;",
       "ld.global.u32 %r10, [%d1+4]; griddepcontrol.wait;", "reads byte 4 of y before", ON_ALL,
       "griddepcontrol.wait; griddepcontrol.launch_dependents; st.global.u32 [%d1+8], 1;", false},
      {"copies what is older, and settled", "st.global.v4.u32 [%d1], {%r0, %r0, %r0, %r0};",
       "mov.u32 %r10, smem; cp.async.cg.shared.global [%r10], [%d1], 16; cp.async.wait_all; griddepcontrol.wait;", NULL, 0,
       "griddepcontrol.wait; griddepcontrol.launch_dependents;", true},
      {"reads x, which is not settled", NULL, "ld.global.u32 %r10, [%d0]; griddepcontrol.wait;", "reads byte 0 of x before", ON_ALL,
       NULL, true},
      {"reads what is not older than a launch that waits first", "st.global.u32 [%d1+4], 1;",
       "ld.global.u32 %r10, [%d1+8]; griddepcontrol.wait;", "reads byte 8 of y before", DEPENDENT | ON_ALL,
       "griddepcontrol.wait; griddepcontrol.launch_dependents; st.global.u32 [%d1+8], 1;", false},
      {"reads what is older than a launch that does not wait first", "st.global.u32 [%d1+4], 1;",
       "ld.global.u32 %r10, [%d1+4]; griddepcontrol.wait;", "reads byte 4 of y before", DEPENDENT | ON_ALL,
       "griddepcontrol.launch_dependents; griddepcontrol.wait; st.global.u32 [%d1+8], 1;", false},
      {"writes what is older than a launch that waits first", "st.global.u32 [%d1+4], 1;",
       "st.global.u32 [%d1+4], 1; griddepcontrol.wait;", "writes byte 4 of y before", DEPENDENT | ON_ALL,
       "griddepcontrol.wait; griddepcontrol.launch_dependents; st.global.u32 [%d1+8], 1;", false},
      {"reads a launch's behind", "st.global.u32 [%d1], 1;", "griddepcontrol.wait; ld.global.u32 %r10, [%d1];", NULL, 0, NULL,
       false},
      {"shared memory is its own", NULL,
       "shl.b32 %r10, %r0, 2; mov.u32 %r11, smem; add.s32 %r10, %r10, %r11; st.shared.u32 [%r10], 1; griddepcontrol.wait;", NULL, 0,
       NULL, false},
  };
  for (size_t i = 0; i < sizeof early / sizeof *early; i++)
    for (int d = PTX_APART; d <= PTX_DEPENDENT_ON_ALL; d++) {
      frame frame = {.threads = early[i].before ? 1 : 64,
                     .before = early[i].before,
                     .between = early[i].between,
                     .is_settled = early[i].is_settled,
                     .seed = i,
                     .dependence = (ptx_dependence)d};
      bool reported = early[i].reported >> d & 1;
      expect_kind(frame_run(&frame, early[i].body), reported ? PTX_EARLY : PTX_OK, &frame, early[i].name);
      if (reported && !strstr(frame.report.text, early[i].says))
        fail_msg("%s: expected '%s' in\n%s", early[i].name, early[i].says, frame.report.text);
      if (reported) assert_true(frame.report.line > 5);
    }
}

/* Atomics: what 64 lanes of two warps leave. */
typedef struct atom_case {
  const char *text;
  uint32_t before, after;
} atom_case;
static const atom_case atoms[] = {
    {"atom.global.add.u32 %r10, [%d1], 2;", 5, 133},
    {"red.global.min.s32 [%d1], %r0;", (uint32_t)-3, (uint32_t)-3},
    {"red.global.max.u32 [%d1], %r0;", 7, 63},
    {"red.global.and.b32 [%d1], %r0;", 0xff, 0},
    {"red.global.or.b32 [%d1], %r0;", 0x100, 0x13f},
    {"red.global.xor.b32 [%d1], 1;", 1, 1},
    {"atom.global.exch.b32 %r10, [%d1], 9;", 1, 9},
    {"atom.global.cas.b32 %r10, [%d1], 1, 77;", 1, 77},
    {"atom.global.cas.b32 %r10, [%d1], 2, 77;", 1, 1},
    {"atom.global.inc.u32 %r10, [%d1], 9;", 0, 4},
    {"atom.global.dec.u32 %r10, [%d1], 9;", 0, 6},
    {"red.global.add.f32 [%d1], 0f3F800000;", 0x3f800000, 0x42820000},
    {"red.global.add.noftz.bf16x2 [%d1], 0x3f803f80;", 0, 0x42804280},
};
static void atoms_test(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof atoms / sizeof *atoms; i++)
    for (int shared = 0; shared < 2; shared++) {
      char body[512], changed[128];
      const char *global = strstr(atoms[i].text, "global"), *place = strstr(atoms[i].text, "[%d1]");
      if (shared)
        snprintf(changed, sizeof changed, "%.*sshared%.*s[smem]%s", (int)(global - atoms[i].text), atoms[i].text,
                 (int)(place - global - 6), global + 6, place + 5);
      else snprintf(changed, sizeof changed, "%s", atoms[i].text);
      snprintf(body, sizeof body,
               "setp.eq.u32 %%p0, %%r0, 0; mov.b32 %%r20, %u; @%%p0 st.global.u32 [%%d1], %%r20; @%%p0 st.shared.u32 [smem], "
               "%%r20; bar.sync 0; %s bar.sync 0; "
               "@%%p0 %s",
               atoms[i].before, changed,
               shared ? "ld.shared.u32 %r21, [smem]; @%p0 st.global.u32 [%d1], %r21;" : "ld.global.u32 %r21, [%d1];");
      frame frame = {.threads = 64, .seed = i};
      expect_kind(frame_run(&frame, body), PTX_OK, &frame, changed);
      if (frame.y[0] != atoms[i].after) fail_msg("%s: leaves %#x, expected %#x", changed, frame.y[0], atoms[i].after);
    }
}

/* Old values are each given once. */
static void tickets_test(void **state) {
  (void)state;
  frame frame = {.threads = 256};
  expect_kind(frame_run(&frame, "setp.eq.u32 %p0, %r0, 0; @%p0 st.shared.u32 [smem], 0; bar.sync 0; atom.shared.add.u32 %r10, "
                                "[smem], 1; mul.wide.u32 %d10, %r10, 4; add.s64 %d10, %d10, %d1; st.global.u32 [%d10], %r0;"),
              PTX_OK, &frame, "tickets");
  uint32_t seen[8] = {0};
  for (int i = 0; i < 256; i++) {
    assert_true(frame.y[i] < 256);
    seen[frame.y[i] / 32] |= 1u << frame.y[i] % 32;
  }
  for (int i = 0; i < 8; i++) assert_int_equal(seen[i], 0xffffffff);
}

static void counters_test(void **state) {
  (void)state;
  frame frame = {.threads = 32};
  /* 4 bytes a lane side by side; then every lane 128 bytes further: 32 in one bank; then all the same word */
  expect_kind(frame_run(&frame,
                        "shl.b32 %r10, %r0, 2; mov.u32 %r11, smem; add.s32 %r12, %r11, %r10; st.shared.u32 [%r12], %r0; bar.sync "
                        "0; shl.b32 %r10, %r0, 7; add.s32 %r12, %r11, %r10; st.shared.u32 [%r12], %r0; bar.sync 0;"
                        "ld.shared.u32 %r13, [%r11]; shl.b32 %r10, %r0, 4; add.s32 %r12, %r11, %r10; st.shared.v4.u32 [%r12], "
                        "{%r0, %r0, %r0, %r0}; shl.b64 %d10, %d2, 2; add.s64 %d10, %d10, %d0; ld.global.u32 %r14, [%d10];"),
              PTX_OK, &frame, "counters");
  assert_int_equal(frame.counters.store_wavefronts, 1 + 1 + 4);
  assert_int_equal(frame.counters.store_conflicts, 31);
  assert_int_equal(frame.counters.load_wavefronts, 1);
  assert_int_equal(frame.counters.load_conflicts, 0);
  assert_int_equal(frame.counters.global_read_bytes, 128);
  assert_int_equal(frame.counters.blocks, 1);
  assert_true(frame.counters.instructions > 20);
}

/* The same seed gives the same run, another one another order. */
static void seeds_test(void **state) {
  (void)state;
  static const char body[] = "setp.eq.u32 %p0, %r0, 0; @%p0 st.shared.u32 [smem], 0; bar.sync 0; atom.shared.add.u32 %r10, [smem], "
                             "1; shl.b64 %d10, %d2, 2; add.s64 %d10, %d10, %d1; st.global.u32 [%d10], %r10;";
  frame a = {.threads = 512, .seed = 3}, b = {.threads = 512, .seed = 3}, c = {.threads = 512, .seed = 4};
  expect_kind(frame_run(&a, body), PTX_OK, &a, "a");
  expect_kind(frame_run(&b, body), PTX_OK, &b, "b");
  expect_kind(frame_run(&c, body), PTX_OK, &c, "c");
  assert_memory_equal(a.y, b.y, 2048);
  assert_memory_not_equal(a.y, c.y, 2048);
}

static void device_test(void **state) {
  (void)state;
  ptx_device *device = ptx_device_create(1000);
  uint64_t a = ptx_device_allocate(device, 600, 256, "a"), base, bytes;
  assert_true(a && a % 256 == 0);
  assert_int_equal(ptx_device_allocate(device, 600, 256, "b"), 0);
  assert_int_equal(ptx_device_used_bytes(device), 600);
  assert_false(ptx_device_free(device, a + 1));
  assert_true(ptx_device_find(device, a + 599, &base, &bytes) && base == a && bytes == 600);
  assert_false(ptx_device_find(device, a + 600, &base, &bytes));
  uint8_t data[600];
  ptx_report report;
  assert_true(ptx_device_read(device, a, data, 600, &report));
  assert_int_equal(report.kind, PTX_UNINITIALISED);
  assert_int_equal(data[599], 0xcd);
  assert_true(ptx_device_fill(device, a, 0x0201, 2, 600));
  assert_true(ptx_device_read(device, a, data, 600, &report) && data[599] == 2 && data[0] == 1 && report.kind == PTX_OK);
  assert_false(ptx_device_read(device, a + 1, data, 600, &report));
  assert_int_equal(report.kind, PTX_BOUNDS);
  assert_true(ptx_device_free(device, a));
  assert_false(ptx_device_free(device, a));
  assert_false(ptx_device_write(device, a, data, 1));
  uint64_t b = ptx_device_allocate(device, 1000, 256, "b");
  assert_true(b > a);
  ptx_device_destroy(device);
}

/* Memory that was freed is known as that. */
static void freed_test(void **state) {
  (void)state;
  static const char text[] = ".version 8.6\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 p) { .reg .b64 %d; .reg "
                             ".b32 %r; ld.param.u64 %d, [p]; ld.global.u32 %r, [%d]; ret; }";
  ptx_device *device = ptx_device_create(0);
  uint64_t a = ptx_device_allocate(device, 64, 64, "gone"), zero = 0;
  ptx_device_write(device, a, &zero, 8);
  ptx_report report;
  ptx_module *module = ptx_module_create(device, text, strlen(text), &report);
  assert_non_null(module);
  ptx_launch launch = {.kernel = "k", .grid = {1, 1, 1}, .block = {1, 1, 1}, .arguments = &a, .argument_bytes = 8};
  assert_true(ptx_launch_run(module, &launch, &report));
  ptx_device_free(device, a);
  assert_false(ptx_launch_run(module, &launch, &report));
  assert_int_equal(report.kind, PTX_BOUNDS);
  assert_non_null(strstr(report.text, "gone: byte 0 of memory that was freed"));
  assert_int_equal(ptx_module_count(module, "ld"), 3);
  assert_int_equal(ptx_module_count(module, "ld.global"), 1);
  ptx_module_reset(module);
  assert_int_equal(ptx_module_count(module, "ld"), 0);
  ptx_module_destroy(module);
  ptx_device_destroy(device);
}

/* Who touched what is forgotten from launch to launch, also after many. */
static void launches_forget_test(void **state) {
  (void)state;
  static const char text[] =
      ".version 8.6\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 p, .param .u32 turn) { .reg .b64 %d<3>; .reg "
      ".b32 %r<4>; ld.param.u64 %d0, [p]; ld.param.u32 %r0, [turn]; mov.u32 %r1, %ctaid.x;"
      "add.s32 %r2, %r1, %r0; and.b32 %r2, %r2, 1; mul.wide.u32 %d1, %r2, 4; add.s64 %d1, %d1, %d0; st.global.u32 [%d1], %r1; "
      "ld.global.u32 %r3, [%d1]; ret; }";
  ptx_device *device = ptx_device_create(0);
  uint64_t y = ptx_device_allocate(device, 8, 64, "y");
  ptx_report report;
  ptx_module *module = ptx_module_create(device, text, strlen(text), &report);
  if (!module) fail_msg("%s", report.text);
  for (uint32_t i = 0; i < 600; i++) {
    struct {
      uint64_t y;
      uint32_t turn;
    } arguments = {y, i};
    ptx_launch launch = {
        .kernel = "k", .grid = {2, 1, 1}, .block = {1, 1, 1}, .arguments = &arguments, .argument_bytes = 12, .seed = i};
    if (!ptx_launch_run(module, &launch, &report)) fail_msg("launch %u: %s", i, report.text);
  }
  ptx_module_destroy(module);
  ptx_device_destroy(device);
}

/* Threads and blocks of three dimensions know their places. */
static void places_test(void **state) {
  (void)state;
  static const char text[] =
      ".version 8.6\n.target sm_90a\n.address_size 64\n.visible .entry k(.param .u64 p) { .reg .b64 %d<3>; .reg .b32 %r<32>; "
      "ld.param.u64 %d0, [p];"
      "mov.u32 %r0, %tid.x; mov.u32 %r1, %tid.y; mov.u32 %r2, %tid.z; mov.u32 %r3, %ntid.x; mov.u32 %r4, %ntid.y; mov.u32 %r5, "
      "%ntid.z; mad.lo.s32 %r6, %r2, %r4, %r1; mad.lo.s32 %r6, %r6, %r3, %r0;"
      "mov.u32 %r7, %ctaid.x; mov.u32 %r8, %ctaid.y; mov.u32 %r9, %ctaid.z; mov.u32 %r10, %nctaid.x; mov.u32 %r11, %nctaid.y; "
      "mad.lo.s32 %r12, %r9, %r11, %r8; mad.lo.s32 %r12, %r12, %r10, %r7;"
      "mul.lo.s32 %r13, %r3, %r4; mul.lo.s32 %r13, %r13, %r5; mad.lo.s32 %r14, %r12, %r13, %r6; mul.wide.u32 %d1, %r14, 8; add.s64 "
      "%d1, %d1, %d0;"
      "mov.u32 %r15, %cluster_ctarank; mov.u32 %r16, %clusterid.x; mov.u32 %r17, %cluster_ctaid.x; mov.u32 %r18, %warpid; shl.b32 "
      "%r16, %r16, 8; shl.b32 %r17, %r17, 16; shl.b32 %r18, %r18, 24;"
      "or.b32 %r15, %r15, %r16; or.b32 %r15, %r15, %r17; or.b32 %r15, %r15, %r18; st.global.v2.u32 [%d1], {%r14, %r15}; ret; }";
  enum { BLOCKS = 4 * 3 * 2, THREADS = 5 * 4 * 3 };
  static uint32_t out[BLOCKS * THREADS][2];
  ptx_device *device = ptx_device_create(0);
  uint64_t y = ptx_device_allocate(device, sizeof out, 64, "y");
  ptx_report report;
  ptx_module *module = ptx_module_create(device, text, strlen(text), &report);
  if (!module) fail_msg("%s", report.text);
  ptx_launch launch = {
      .kernel = "k", .grid = {4, 3, 2}, .block = {5, 4, 3}, .cluster = {2, 1, 1}, .arguments = &y, .argument_bytes = 8};
  if (!ptx_launch_run(module, &launch, &report)) fail_msg("%s", report.text);
  assert_true(ptx_device_read(device, y, out, sizeof out, &report) && report.kind == PTX_OK);
  for (uint32_t i = 0; i < BLOCKS * THREADS; i++) {
    uint32_t x = i / THREADS % 4, warp = i % THREADS / 32;
    assert_int_equal(out[i][0], i);
    assert_int_equal(out[i][1], x % 2 | x / 2 << 8 | x % 2 << 16 | warp << 24);
  }
  ptx_module_destroy(module);
  ptx_device_destroy(device);
}

/* Launches that no device takes. */
static void launches_test(void **state) {
  (void)state;
  static const char text[] = ".version 8.6\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 p) .reqntid 64, 1, 1 { "
                             ".shared .align 16 .b8 s[1000]; ret; } .entry free() .maxntid 128 { ret; }\n"
                             ".entry pair() .reqnctapercluster 2, 1, 1 { ret; }";
  ptx_device *device = ptx_device_create(0);
  ptx_report report;
  ptx_module *module = ptx_module_create(device, text, strlen(text), &report);
  if (!module) fail_msg("%s", report.text);
  uint64_t a = 0;
  static const struct {
    const char *kernel, *says;
    uint32_t grid[3], block[3], cluster, shared;
    size_t arguments;
  } cases[] = {
      {"k", NULL, {1, 1, 1}, {64, 1, 1}, 0, 0, 8},
      {"none", "no kernel", {1, 1, 1}, {64, 1, 1}, 0, 0, 8},
      {"k", "is 0", {0, 1, 1}, {64, 1, 1}, 0, 0, 8},
      {"k", "too large", {1, 65536, 1}, {64, 1, 1}, 0, 0, 8},
      {"k", "reqntid", {1, 1, 1}, {32, 1, 1}, 0, 0, 8},
      {"k", "arguments", {1, 1, 1}, {64, 1, 1}, 0, 0, 4},
      {"k", "shared memory", {1, 1, 1}, {64, 1, 1}, 0, 240000, 8},
      {"free", "maxntid", {1, 1, 1}, {129, 1, 1}, 0, 0, 0},
      {"free", "1024", {1, 1, 1}, {64, 64, 1}, 0, 0, 0},
      {"free", "multiple of the cluster", {3, 1, 1}, {64, 1, 1}, 2, 0, 0},
      {"pair", "reqnctapercluster", {4, 1, 1}, {64, 1, 1}, 4, 0, 0},
      {"pair", NULL, {4, 1, 1}, {64, 1, 1}, 0, 0, 0},
      {"free", "16 blocks", {32, 1, 1}, {64, 1, 1}, 32, 0, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    ptx_launch launch = {.kernel = cases[i].kernel,
                         .arguments = &a,
                         .argument_bytes = cases[i].arguments,
                         .shared_bytes = cases[i].shared,
                         .cluster = {cases[i].cluster, 0, 0}};
    memcpy(launch.grid, cases[i].grid, 12);
    memcpy(launch.block, cases[i].block, 12);
    bool ok = ptx_launch_run(module, &launch, &report);
    if (ok != !cases[i].says || (!ok && (report.kind != PTX_LAUNCH || !strstr(report.text, cases[i].says))))
      fail_msg("case %zu: %s", i, report.text);
  }
  ptx_kernel_info info;
  assert_true(ptx_module_kernel(module, "k", 0, &info) && info.shared_bytes == 1000 && info.block[0] == 64 &&
              info.parameter_bytes == 8 && info.parameters == 1);
  assert_true(ptx_module_kernel(module, NULL, 2, &info) && !strcmp(info.name, "pair") && info.cluster[0] == 2);
  assert_false(ptx_module_kernel(module, NULL, 3, &info));
  ptx_module_destroy(module);
  ptx_device_destroy(device);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(cases_test),    cmocka_unit_test(atoms_test),    cmocka_unit_test(tickets_test),
      cmocka_unit_test(counters_test), cmocka_unit_test(seeds_test),    cmocka_unit_test(device_test),
      cmocka_unit_test(freed_test),    cmocka_unit_test(launches_test), cmocka_unit_test(launches_forget_test),
      cmocka_unit_test(places_test),   cmocka_unit_test(dependent_test)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
