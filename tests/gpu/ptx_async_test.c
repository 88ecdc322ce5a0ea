/* Asynchronous things: mbarriers, copies, wgmma, registers, clusters. Each rule broken by a few lines of PTX, and the same lines unbroken. */
#include "ptx_testing.h"

#pragma GCC diagnostic ignored "-Wmissing-field-initializers" /* `also` is there where it is needed */

typedef struct async_case {
  const char *name;
  ptx_kind kind;
  const char *body;
  uint32_t threads;
  const char *says;
  uint32_t cluster;
  ptx_kind also; /* what may be found first in another schedule; PTX_OK: nothing else */
} async_case;

/* Building stones. %p0: thread 0. */
#define FIRST "setp.eq.u32 %p0, %r0, 0; mov.u32 %r10, smem; "
#define INIT(count) FIRST "@%p0 mbarrier.init.shared.b64 [%r10], " #count "; @%p0 fence.mbarrier_init.release.cluster; bar.sync 0; "
#define WAIT(label, parity) label ": mbarrier.try_wait.parity.shared.b64 %p1, [%r10], " #parity "; @!%p1 bra " label "; "
#define EXPECT(bytes) "@%p0 mbarrier.arrive.expect_tx.shared.b64 %d20, [%r10], " #bytes "; "
#define LOAD(to, from, bytes)                                                                                                      \
  "@%p0 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r10+" #to "], [" from "], " #bytes ", [%r10]; "
#define OWN                                                                                                                        \
  "shl.b32 %r11, %r0, 4; add.s32 %r11, %r11, %r10; mul.wide.u32 %d11, %r0, 16; add.s64 %d12, %d0, %d11; add.s64 %d13, %d1, %d11; " /* 16 bytes of this thread: shared, x, y */
#define STORE_OWN "st.shared.v4.b32 [%r11+1024], {%r0, %r0, %r0, %r0}; "
#define BULK_STORE "@%p0 cp.async.bulk.global.shared::cta.bulk_group [%d1], [%r10+1024], 512; "
#define COMMIT "@%p0 cp.async.bulk.commit_group; "
#define COPY(to) "cp.async.cg.shared.global [%r11+" #to "], [%d12], 16; "
/* A wgmma of 64 x 8 x 16: A at smem + 1024, B at smem + 4096, no swizzle; the operands are written by all threads. */
#define OPERANDS                                                                                                                   \
  FIRST OWN "st.shared.v4.b32 [%r11+1024], {%r1, %r1, %r1, %r1}; setp.lt.u32 %p3, %r0, 16; @%p3 st.shared.v4.b32 [%r11+4096], "    \
            "{%r1, %r1, %r1, %r1}; "
#define DESCRIPTORS "mov.b64 %d30, 0x0000000800400040; mov.b64 %d31, 0x0000000800080100; setp.ne.u32 %p4, 1, 0; "
#define ZERO "mov.b32 %r20, 0; mov.b32 %r21, 0; mov.b32 %r22, 0; mov.b32 %r23, 0; "
#define WGMMA "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%r20, %r21, %r22, %r23}, %d30, %d31, %p4, 1, 1, 0, 0; "
#define READY "fence.proxy.async; bar.sync 0; "
#define WG_FENCE "wgmma.fence.sync.aligned; "
#define WG_COMMIT "wgmma.commit_group.sync.aligned; "
#define WG_WAIT "wgmma.wait_group.sync.aligned 0; "

static const async_case cases[] = {
    /* mbarriers */
    {"a hand-over", PTX_OK,
     INIT(1) "setp.eq.u32 %p2, %r0, 32; @%p0 st.shared.u32 [%r10+64], 7; @%p0 mbarrier.arrive.shared.b64 %d20, [%r10]; @!%p2 bra "
             "out; " WAIT("again", 0) "ld.shared.u32 %r12, [%r10+64]; out:",
     64, NULL, 0},
    {"without waiting", PTX_RACE,
     INIT(1) "setp.eq.u32 %p2, %r0, 32; @%p0 st.shared.u32 [%r10+64], 7; bar.sync 0; @%p0 st.shared.u32 [%r10+64], 8; @%p0 "
             "mbarrier.arrive.shared.b64 %d20, [%r10]; @%p2 ld.shared.u32 %r12, [%r10+64];",
     64, NULL, 0},
    {"by state", PTX_OK,
     INIT(1) "@!%p0 bra out; mbarrier.arrive.shared::cta.b64 %d20, [%r10]; again: mbarrier.test_wait.shared.b64 %p1, [%r10], %d20; "
             "@!%p1 bra again; out:",
     32, NULL, 0},
    {"too many arrive", PTX_MBARRIER, INIT(2) "@%p0 mbarrier.arrive.shared.b64 %d20, [%r10], 3;", 32,
     "3 arrivals where 2 are pending", 0},
    {"before init", PTX_MBARRIER, FIRST "@%p0 mbarrier.arrive.shared.b64 %d20, [%r10];", 32, "was not initialised", 0},
    {"init by two lanes", PTX_MBARRIER, FIRST "setp.lt.u32 %p1, %r0, 2; @%p1 mbarrier.init.shared.b64 [%r10], 1;", 32,
     "is initialised again", 0},
    {"init after inval", PTX_OK, INIT(1) "@%p0 mbarrier.inval.shared.b64 [%r10]; @%p0 mbarrier.init.shared.b64 [%r10], 1;", 32,
     NULL, 0},
    {"after inval", PTX_MBARRIER, INIT(1) "@%p0 mbarrier.inval.shared.b64 [%r10]; @%p0 mbarrier.arrive.shared.b64 %d20, [%r10];",
     32, "was not initialised", 0},
    {"no barrier after init", PTX_MBARRIER,
     FIRST "@%p0 mbarrier.init.shared.b64 [%r10], 1; setp.eq.u32 %p2, %r0, 32; @%p2 mbarrier.arrive.shared.b64 %d20, [%r10];", 64,
     NULL, 0},
    {"count of zero", PTX_MBARRIER, INIT(0), 32, "1 to 1048575", 0},
    {"count too large", PTX_MBARRIER, INIT(0x100000), 32, NULL, 0},
    {"misaligned", PTX_MISALIGNED, FIRST "@%p0 mbarrier.init.shared.b64 [%r10+4], 1;", 32, NULL, 0},
    {"nobody arrives", PTX_DEADLOCK, INIT(3) "@%p0 mbarrier.arrive.shared.b64 %d20, [%r10]; " WAIT("again", 0), 64,
     "mbarrier at 0: phase 0, 2 of 3 arrivals pending, 0 bytes expected", 0},
    {"the wrong parity", PTX_DEADLOCK, INIT(1) "@%p0 mbarrier.arrive.shared.b64 %d20, [%r10]; bar.sync 0; " WAIT("again", 1), 64,
     "warp 1", 0},
    {"parity of the phase before passes", PTX_OK, INIT(1) WAIT("again", 1), 64, NULL, 0},
    {"drop", PTX_OK,
     INIT(2) "@%p0 mbarrier.arrive_drop.shared.b64 %d20, [%r10]; @%p0 mbarrier.arrive.shared.b64 %d20, [%r10]; @%p0 "
             "mbarrier.arrive.shared.b64 %d20, [%r10]; " WAIT("again", 1),
     64, NULL, 0},
    {"too many bytes", PTX_MBARRIER, INIT(1) EXPECT(0x100000), 32, "count of bytes", 0},
    {"bytes by hand", PTX_OK, INIT(1) EXPECT(64) "@%p0 mbarrier.complete_tx.relaxed.cta.shared.b64 [%r10], 64; " WAIT("again", 0),
     32, NULL, 0},
    /* bulk loads */
    {"bulk load", PTX_OK,
     INIT(1) EXPECT(512) LOAD(1024, "%d0", 512) WAIT("again", 0) OWN
     "ld.shared.v4.b32 {%r12, %r13, %r14, %r15}, [%r11+1024]; st.global.v4.b32 [%d13], {%r12, %r13, %r14, %r15};",
     32, NULL, 0},
    {"nobody waits", PTX_IN_FLIGHT, INIT(1) EXPECT(512) LOAD(1024, "%d0", 512) "@%p0 ld.shared.u32 %r12, [%r10+1024];", 32,
     "destination of an asynchronous copy in flight", 0},
    {"written in flight", PTX_IN_FLIGHT, INIT(1) EXPECT(512) LOAD(1024, "%d0", 512) "@%p0 st.shared.u32 [%r10+1028], 1;", 32, NULL,
     0},
    {"a byte is written in flight", PTX_IN_FLIGHT, INIT(1) EXPECT(512) LOAD(1024, "%d0", 512) "@%p0 st.shared.u8 [%r10+1029], 1;",
     32, NULL, 0},
    {"two loads to one place", PTX_IN_FLIGHT, INIT(1) EXPECT(1024) LOAD(1024, "%d0", 512) LOAD(1024, "%d0", 512), 32, NULL, 0},
    {"another warp reads without the mbarrier", PTX_RACE,
     INIT(1) "setp.eq.u32 %p2, %r0, 32; @%p2 bra read; @!%p0 bra out; " EXPECT(512) LOAD(1024, "%d0+512", 512)
         WAIT("again", 0) "red.global.add.u32 [%d0], 1; bra out; read: atom.global.add.u32 %r12, [%d0], 0; setp.eq.u32 %p3, %r12, "
                          "0; @%p3 bra read; ld.shared.u32 %r13, [%r10+1024]; out:",
     64, "by an asynchronous copy", 0},
    {"the init was not fenced", PTX_MBARRIER,
     FIRST "@%p0 mbarrier.init.shared.b64 [%r10], 1; bar.sync 0; " EXPECT(512) LOAD(1024, "%d0", 512), 32,
     "made known to the async proxy", 0},
    {"fenced by the other fence", PTX_OK,
     FIRST "@%p0 mbarrier.init.shared.b64 [%r10], 1; fence.proxy.async.shared::cta; bar.sync 0; " EXPECT(512) LOAD(1024, "%d0", 512)
         WAIT("again", 0),
     32, NULL, 0},
    {"no sixteens", PTX_MISALIGNED, INIT(1) EXPECT(520) LOAD(1024, "%d0", 520), 32, NULL, 0},
    {"bulk load past the end", PTX_BOUNDS, INIT(1) EXPECT(512) LOAD(1024, "%d0+7936", 512), 32, "which has 8192", 0},
    {"bulk load past shared memory", PTX_BOUNDS, INIT(1) EXPECT(512) LOAD(16000, "%d0", 512), 32, NULL, 0},
    {"bulk load of nothing", PTX_UNINITIALISED, INIT(1) EXPECT(512) LOAD(1024, "%d1", 512), 32, "y: byte 0", 0},
    {"fewer bytes than expected", PTX_DEADLOCK, INIT(1) EXPECT(528) LOAD(1024, "%d0", 512) WAIT("again", 0), 32,
     "16 bytes expected", 0},
    {"ends in flight", PTX_IN_FLIGHT, INIT(1) EXPECT(528) LOAD(1024, "%d0", 512) "ret;", 32, NULL, 0},
    /* bulk stores */
    {"bulk store", PTX_OK,
     FIRST OWN STORE_OWN "fence.proxy.async.shared::cta; bar.sync 0; " BULK_STORE COMMIT "@%p0 cp.async.bulk.wait_group 0;", 32,
     NULL, 0},
    {"no fence", PTX_PROXY, FIRST OWN STORE_OWN "bar.sync 0; " BULK_STORE COMMIT "@%p0 cp.async.bulk.wait_group 0;", 32, NULL, 0},
    {"the fence of who stores, behind the barrier", PTX_OK,
     FIRST OWN STORE_OWN "bar.sync 0; fence.proxy.async; " BULK_STORE COMMIT "@%p0 cp.async.bulk.wait_group 0;", 64, NULL, 0},
    {"a fence before the write", PTX_PROXY,
     FIRST OWN "fence.proxy.async; " STORE_OWN "bar.sync 0; " BULK_STORE COMMIT "@%p0 cp.async.bulk.wait_group 0;", 32, NULL, 0},
    {"fence, but no barrier", PTX_RACE,
     FIRST OWN STORE_OWN
     "fence.proxy.async; bar.sync 0; " STORE_OWN
     "fence.proxy.async; setp.eq.u32 %p0, %r0, 32; setp.eq.u32 %p2, %r0, 0; @%p2 red.global.add.u32 [%d0], 1; @!%p0 bra out; spin: "
     "atom.global.add.u32 %r12, [%d0], 0; setp.eq.u32 %p3, %r12, 0; @%p3 bra spin; " BULK_STORE COMMIT
     "@%p0 cp.async.bulk.wait_group 0; out:",
     64, NULL, 0},
    {"source written before it is read", PTX_IN_FLIGHT,
     FIRST OWN STORE_OWN "fence.proxy.async; bar.sync 0; " BULK_STORE COMMIT
                         "@%p0 st.shared.u32 [%r10+1024], 1; @%p0 cp.async.bulk.wait_group 0;",
     32, "source of a bulk store", 0},
    {"source written after it is read", PTX_OK,
     FIRST OWN STORE_OWN "fence.proxy.async; bar.sync 0; " BULK_STORE COMMIT
                         "@%p0 cp.async.bulk.wait_group.read 0; @%p0 st.shared.u32 [%r10+1024], 1;",
     32, NULL, 0},
    {"another warp does not know", PTX_RACE,
     FIRST OWN STORE_OWN "fence.proxy.async; bar.sync 0; " BULK_STORE COMMIT
                         "@%p0 cp.async.bulk.wait_group.read 0; @%p0 st.shared.u32 [%r10], 1; bar.arrive 1, 128; setp.eq.u32 %p2, "
                         "%r0, 32; @%p2 st.shared.u32 [%r10], 1;",
     64, NULL, 0},
    {"another lane waits", PTX_IN_FLIGHT,
     FIRST OWN STORE_OWN "fence.proxy.async; bar.sync 0; " BULK_STORE COMMIT
                         "@!%p0 cp.async.bulk.wait_group 0; @%p0 st.shared.u32 [%r10+1024], 1;",
     32, NULL, 0},
    {"not committed", PTX_IN_FLIGHT,
     FIRST OWN STORE_OWN "fence.proxy.async; bar.sync 0; " BULK_STORE "@%p0 cp.async.bulk.wait_group 0;", 32,
     "did not wait for a bulk store", 0},
    {"one group may be open", PTX_OK,
     FIRST OWN STORE_OWN "fence.proxy.async; bar.sync 0; " BULK_STORE COMMIT COMMIT
                         "@%p0 cp.async.bulk.wait_group.read 1; @%p0 st.shared.u32 [%r10+1024], 1;",
     32, NULL, 0},
    {"nobody waits for a store", PTX_IN_FLIGHT, FIRST OWN STORE_OWN "fence.proxy.async; bar.sync 0; " BULK_STORE COMMIT, 32, NULL,
     0},
    {"a reduction onto nothing", PTX_UNINITIALISED,
     FIRST OWN STORE_OWN "fence.proxy.async; bar.sync 0; @%p0 cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32 [%d1], "
                         "[%r10+1024], 512; " COMMIT "@%p0 cp.async.bulk.wait_group 0;",
     32, NULL, 0},
    /* cp.async */
    {"copy", PTX_OK,
     FIRST OWN COPY(
         1024) "cp.async.commit_group; cp.async.wait_group 0; ld.shared.u32 %r12, [%r11+1024]; st.global.u32 [%d13], %r12;",
     32, NULL, 0},
    {"copy, wait for all", PTX_OK, FIRST OWN COPY(1024) "cp.async.wait_all; bar.sync 0; ld.shared.u32 %r12, [%r10+1040];", 64, NULL,
     0},
    {"copy, nobody waits", PTX_IN_FLIGHT, FIRST OWN COPY(1024) "cp.async.commit_group; ld.shared.u32 %r12, [%r11+1024];", 32, NULL,
     0},
    {"copy, not committed", PTX_IN_FLIGHT, FIRST OWN COPY(1024) "cp.async.wait_group 0; ld.shared.u32 %r12, [%r11+1024];", 32, NULL,
     0},
    {"copy, the group before", PTX_OK,
     FIRST OWN COPY(1024) "cp.async.commit_group; " COPY(
         2048) "cp.async.commit_group; cp.async.wait_group 1; ld.shared.u32 %r12, [%r11+1024]; cp.async.wait_all;",
     32, NULL, 0},
    {"copy, the group behind", PTX_IN_FLIGHT,
     FIRST OWN COPY(1024) "cp.async.commit_group; " COPY(
         2048) "cp.async.commit_group; cp.async.wait_group 1; ld.shared.u32 %r12, [%r11+2048]; cp.async.wait_all;",
     32, NULL, 0},
    {"copy, another thread reads", PTX_RACE, FIRST OWN COPY(1024) "cp.async.wait_all; ld.shared.u32 %r12, [%r10+1040];", 32, NULL,
     0},
    {"copy, too long a source", PTX_BOUNDS, FIRST OWN "mov.b32 %r12, 20; cp.async.ca.shared.global [%r11+1024], [%d12], 16, %r12;",
     32, NULL, 0},
    {"copy, misaligned", PTX_MISALIGNED, FIRST OWN "cp.async.ca.shared.global [%r11+1024], [%d12+4], 8;", 32, NULL, 0},
    {"copy, nothing of the source", PTX_OK,
     FIRST OWN "mov.b64 %d12, 0; mov.b32 %r12, 0; cp.async.cg.shared.global [%r11+1024], [%d12], 16, %r12; cp.async.wait_all; "
               "ld.shared.u32 %r13, [%r11+1036]; st.global.u32 [%d13], %r13;",
     32, NULL, 0},
    {"copy, told to an mbarrier", PTX_OK,
     INIT(64)
         OWN COPY(1024) "cp.async.mbarrier.arrive.noinc.shared.b64 [%r10]; " WAIT("again", 0) "ld.shared.u32 %r12, [%r10+1040];",
     64, NULL, 0},
    {"copy, told to an mbarrier, with its own arrival", PTX_OK,
     INIT(64) OWN COPY(1024) "cp.async.mbarrier.arrive.shared.b64 [%r10]; mbarrier.arrive.shared.b64 %d20, [%r10]; " WAIT(
         "again", 0) "ld.shared.u32 %r12, [%r10+1040];",
     64, NULL, 0},
    /* registers */
    {"the pool balances", PTX_OK,
     "setp.lt.u32 %p0, %r0, 128; @%p0 bra less; setmaxnreg.inc.sync.aligned.u32 232; bra out; less: "
     "setmaxnreg.dec.sync.aligned.u32 40; out:",
     384, NULL, 0},
    {"the pool does not", PTX_DEADLOCK,
     "setp.lt.u32 %p0, %r0, 128; @%p0 bra less; setmaxnreg.inc.sync.aligned.u32 240; bra out; less: "
     "setmaxnreg.dec.sync.aligned.u32 40; out:",
     384, "waits for registers", 0},
    {"fewer by .inc", PTX_POOL, "setmaxnreg.inc.sync.aligned.u32 40;", 384, NULL, 0},
    {"more by .dec", PTX_POOL, "setmaxnreg.dec.sync.aligned.u32 232;", 384, NULL, 0},
    {"no multiple of 8", PTX_SYNTAX, "setmaxnreg.dec.sync.aligned.u32 42;", 384, "multiple of 8", 0},
    /* wgmma */
    {"wgmma", PTX_OK, OPERANDS DESCRIPTORS ZERO READY WG_FENCE WGMMA WG_COMMIT WG_WAIT "st.global.u32 [%d1], %r20;", 128, NULL, 0},
    {"operands without a proxy fence", PTX_PROXY, OPERANDS DESCRIPTORS ZERO "bar.sync 0; " WG_FENCE WGMMA WG_COMMIT WG_WAIT, 128,
     NULL, 0},
    {"operands without a barrier", PTX_RACE,
     OPERANDS "bar.sync 0; " OPERANDS DESCRIPTORS ZERO "fence.proxy.async; " WG_FENCE WGMMA WG_COMMIT WG_WAIT, 128, NULL, 0,
     PTX_IN_FLIGHT},
    {"no wgmma.fence", PTX_ACCUMULATOR, OPERANDS DESCRIPTORS ZERO READY WGMMA WG_COMMIT WG_WAIT, 128,
     "written after the last wgmma.fence", 0},
    {"accumulator read in flight", PTX_ACCUMULATOR,
     OPERANDS DESCRIPTORS ZERO READY WG_FENCE WGMMA WG_COMMIT "add.f32 %r24, %r20, %r20; " WG_WAIT, 128,
     "is read that belongs to a wgmma in flight", 0},
    {"accumulator written in flight", PTX_ACCUMULATOR,
     OPERANDS DESCRIPTORS ZERO READY WG_FENCE WGMMA WG_COMMIT "mov.b32 %r20, 0; " WG_WAIT, 128, "is written", 0},
    {"accumulator copied in flight", PTX_OK,
     OPERANDS DESCRIPTORS ZERO READY WG_FENCE WGMMA WG_COMMIT "mov.b32 %r24, %r20; " WG_WAIT "add.f32 %r25, %r24, %r24;", 128, NULL,
     0},
    {"the copy is used in flight", PTX_ACCUMULATOR,
     OPERANDS DESCRIPTORS ZERO READY WG_FENCE WGMMA WG_COMMIT "mov.b32 %r24, %r20; add.f32 %r25, %r24, %r24; " WG_WAIT, 128, NULL,
     0},
    {"a group too few is waited for", PTX_ACCUMULATOR,
     OPERANDS DESCRIPTORS ZERO READY WG_FENCE WGMMA WG_COMMIT "wgmma.wait_group.sync.aligned 1; add.f32 %r25, %r20, %r20; " WG_WAIT,
     128, NULL, 0},
    {"two wgmma of one accumulator", PTX_OK,
     OPERANDS DESCRIPTORS ZERO READY WG_FENCE WGMMA WGMMA WG_COMMIT WGMMA WG_COMMIT WG_WAIT "add.f32 %r25, %r20, %r20;", 128, NULL,
     0},
    {"operand written in flight", PTX_IN_FLIGHT,
     OPERANDS DESCRIPTORS ZERO READY WG_FENCE WGMMA WG_COMMIT "st.shared.u32 [%r11+1024], %r1; " WG_WAIT, 128, NULL, 0, PTX_RACE},
    {"operand written when one warp has waited", PTX_IN_FLIGHT,
     OPERANDS DESCRIPTORS ZERO READY WG_FENCE WGMMA WG_COMMIT WG_WAIT "@%p0 st.shared.u32 [%r10+4096], 0;", 128,
     "a wgmma of warpgroup 0 may still read it", 0},
    {"operand written when all know", PTX_OK,
     OPERANDS DESCRIPTORS ZERO READY WG_FENCE WGMMA WG_COMMIT WG_WAIT "bar.sync 0; @%p0 st.shared.u32 [%r10+4096], 0;", 128, NULL,
     0},
    {"ends with wgmma in flight", PTX_IN_FLIGHT, OPERANDS DESCRIPTORS ZERO READY WG_FENCE WGMMA WG_COMMIT, 128,
     "ends with wgmma in flight", 0},
    {"no accumulator", PTX_REGISTER, OPERANDS DESCRIPTORS READY WG_FENCE WGMMA WG_COMMIT WG_WAIT, 128,
     "accumulator 0 was never written", 0},
    {"no accumulator, none added", PTX_OK,
     OPERANDS DESCRIPTORS "setp.ne.u32 %p4, 0, 0; " READY WG_FENCE WGMMA WG_COMMIT WG_WAIT "add.f32 %r25, %r20, %r20;", 128, NULL,
     0},
    {"descriptors of lanes differ", PTX_DESCRIPTOR,
     OPERANDS DESCRIPTORS ZERO "and.b64 %d32, %d2, 1; add.s64 %d30, %d30, %d32; " READY WG_FENCE WGMMA WG_COMMIT WG_WAIT, 128,
     "of lane 1", 0},
    {"descriptors of warps differ", PTX_DESCRIPTOR,
     OPERANDS DESCRIPTORS ZERO
     "shr.u64 %d32, %d2, 5; shl.b64 %d32, %d32, 32; add.s64 %d31, %d31, %d32; " READY WG_FENCE WGMMA WG_COMMIT WG_WAIT,
     128, "do not issue the same wgmma", 0},
    {"base offset", PTX_DESCRIPTOR,
     OPERANDS DESCRIPTORS ZERO "or.b64 %d31, %d31, 0x2000000000000; " READY WG_FENCE WGMMA WG_COMMIT WG_WAIT, 128, "base offset",
     0},
    {"half a warpgroup", PTX_DESCRIPTOR, OPERANDS DESCRIPTORS ZERO READY WG_FENCE WGMMA WG_COMMIT WG_WAIT, 64, "no warpgroup", 0},
    {"operand that nobody wrote", PTX_UNINITIALISED,
     OPERANDS DESCRIPTORS ZERO "add.s64 %d31, %d31, 64; " READY WG_FENCE WGMMA WG_COMMIT WG_WAIT, 128, NULL, 0},
    {"operand past the end", PTX_BOUNDS,
     OPERANDS DESCRIPTORS ZERO "mov.b64 %d31, 0x0000000800083000; " READY WG_FENCE WGMMA WG_COMMIT WG_WAIT, 128, NULL, 0},
    {"A in registers, written after the fence", PTX_ACCUMULATOR,
     OPERANDS DESCRIPTORS ZERO "mov.b32 %r30, 0; mov.b32 %r31, 0; mov.b32 %r32, 0; mov.b32 %r33, 0; " READY WG_FENCE
                               "mov.b32 %r30, 0; wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%r20, %r21, %r22, %r23}, "
                               "{%r30, %r31, %r32, %r33}, %d31, %p4, 1, 1, 0; " WG_COMMIT WG_WAIT,
     128, "operand A", 0},
    {"A in registers, written in flight", PTX_ACCUMULATOR,
     OPERANDS DESCRIPTORS ZERO "mov.b32 %r30, 0; mov.b32 %r31, 0; mov.b32 %r32, 0; mov.b32 %r33, 0; " READY WG_FENCE
                               "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%r20, %r21, %r22, %r23}, {%r30, %r31, %r32, "
                               "%r33}, %d31, %p4, 1, 1, 0; " WG_COMMIT "mov.b32 %r30, 1; " WG_WAIT,
     128, NULL, 0},
    {"A in registers that nobody wrote", PTX_REGISTER,
     OPERANDS DESCRIPTORS ZERO "mov.b32 %r30, 0; mov.b32 %r31, 0; mov.b32 %r32, 0; " READY WG_FENCE
                               "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%r20, %r21, %r22, %r23}, {%r30, %r31, %r32, "
                               "%r33}, %d31, %p4, 1, 1, 0; " WG_COMMIT WG_WAIT,
     128, "register 3 of operand A", 0},
    {"lanes apart at .aligned", PTX_DIVERGENCE,
     "setp.lt.u32 %p0, %r0, 5; @%p0 bra there; wgmma.fence.sync.aligned; bra out; there: wgmma.commit_group.sync.aligned; out:", 32,
     "wait here for all lanes", 0},
    {"a stmatrix row that is not aligned", PTX_MISALIGNED,
     FIRST "add.s32 %r11, %r10, %r0; stmatrix.sync.aligned.m8n8.x4.shared.b16 [%r11], {%r0, %r0, %r0, %r0};", 32, NULL, 0},
    /* clusters */
    {"cluster barrier", PTX_OK, "barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;", 64, NULL, 2},
    {"cluster wait alone", PTX_BARRIER, "barrier.cluster.wait.aligned;", 64, NULL, 2},
    {"one block does not come", PTX_DEADLOCK,
     "setp.eq.u32 %p0, %r1, 0; @%p0 bra out; barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned; out:", 64,
     "waits for the cluster", 2},
    {"memory of the other block", PTX_OK,
     FIRST "mov.u32 %r11, %cluster_ctarank; xor.b32 %r12, %r11, 1; mapa.shared::cluster.u32 %r13, %r10, %r12; @%p0 "
           "st.shared::cluster.u32 [%r13], %r11; barrier.cluster.arrive; barrier.cluster.wait; @%p0 ld.shared.u32 %r14, [%r10]; "
           "@%p0 setp.ne.u32 %p1, %r14, %r12; @%p0 bra check; bra out; check: @%p1 trap; out:",
     64, NULL, 2},
    {"memory of the other block, generic address", PTX_OK,
     FIRST "mov.u32 %r11, %cluster_ctarank; xor.b32 %r12, %r11, 1; mov.u64 %d10, smem; cvta.shared.u64 %d10, %d10; mapa.u64 %d11, "
           "%d10, %r12; @%p0 st.u32 [%d11], %r11; barrier.cluster.arrive; "
           "barrier.cluster.wait; ld.shared.u32 %r14, [%r10]; setp.ne.u32 %p1, %r14, %r12; @%p1 trap;",
     64, NULL, 2},
    {"memory of the other block, no barrier", PTX_RACE,
     FIRST
     "mov.u32 %r11, %cluster_ctarank; xor.b32 %r12, %r11, 1; mapa.shared::cluster.u32 %r13, %r10, %r12; @%p0 st.shared.u32 [%r10], "
     "0; barrier.cluster.arrive; barrier.cluster.wait; @%p0 st.shared::cluster.u32 [%r13], %r11; @%p0 ld.shared.u32 %r14, [%r10];",
     64, "of the cluster with no synchronisation between", 2},
    {"a block that is not there", PTX_BOUNDS, FIRST "mapa.shared::cluster.u32 %r13, %r10, 2;", 64, "no block 2", 2},
    {"an mbarrier of the other block", PTX_OK,
     INIT(1) "barrier.cluster.arrive; barrier.cluster.wait; mov.u32 %r11, %cluster_ctarank; xor.b32 %r12, %r11, 1; "
             "mapa.shared::cluster.u32 %r13, %r10, %r12; @%p0 mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r13]; " WAIT(
                 "again", 0) "barrier.cluster.arrive; barrier.cluster.wait;",
     64, NULL, 2},
    {"multicast", PTX_OK,
     INIT(1) "barrier.cluster.arrive; barrier.cluster.wait; " EXPECT(
         512) "mov.b16 %h0, 3; mov.u32 %r11, %cluster_ctarank; setp.ne.u32 %p2, %r11, 0; @%p2 bra wait; @!%p0 bra wait; "
              "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%r10+1024], [%d0], 512, "
              "[%r10], %h0; wait: " WAIT("again", 0) "ld.shared.u32 %r12, [%r10+1028]; setp.ne.u32 %p3, %r12, 1; @%p3 trap;",
     64, NULL, 2},
    {"multicast to a block that is not there", PTX_BOUNDS,
     INIT(1) "mov.b16 %h0, 7; " EXPECT(
         512) "@%p0 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%r10+1024], [%d0], 512, "
              "[%r10], %h0;",
     64, NULL, 2},
};

static void cases_test(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (uint64_t seed = 0; seed < 5; seed++) {
      frame frame = {.blocks = cases[i].cluster ? cases[i].cluster : 1,
                     .cluster = cases[i].cluster,
                     .threads = cases[i].threads,
                     .seed = seed};
      ptx_kind found = frame_run(&frame, cases[i].body);
      if (!cases[i].also || found != cases[i].also) expect_kind(found, cases[i].kind, &frame, cases[i].name);
      if (cases[i].says && !strstr(frame.report.text, cases[i].says))
        fail_msg("%s: expected '%s' in\n%s", cases[i].name, cases[i].says, frame.report.text);
    }
}

/* What copies leave. */
static void values_test(void **state) {
  (void)state;
  frame frame = {.threads = 32, .seed = 1};
  expect_kind(
      frame_run(&frame, INIT(1) EXPECT(512) LOAD(1024, "%d0", 512) WAIT("again", 0) OWN
                "ld.shared.v4.b32 {%r12, %r13, %r14, %r15}, [%r11+1024]; st.global.v4.b32 [%d13], {%r12, %r13, %r14, %r15};"),
      PTX_OK, &frame, "load");
  for (uint32_t i = 0; i < 128; i++) assert_int_equal(frame.y[i], i);
  expect_kind(
      frame_run(&frame, FIRST OWN STORE_OWN "fence.proxy.async; bar.sync 0; " BULK_STORE COMMIT "@%p0 cp.async.bulk.wait_group 0;"),
      PTX_OK, &frame, "store");
  for (uint32_t i = 0; i < 128; i++) assert_int_equal(frame.y[i], i / 4);
  assert_int_equal(frame.y[128], 0xcdcdcdcd);
  /* Nobody waits for the writing itself: it is done when the launch is. */
  expect_kind(frame_run(&frame, FIRST OWN STORE_OWN "fence.proxy.async; bar.sync 0; " BULK_STORE COMMIT
                                                    "@%p0 cp.async.bulk.wait_group.read 0;"),
              PTX_OK, &frame, "store");
  assert_int_equal(frame.y[127], 31);
  expect_kind(frame_run(&frame, FIRST OWN STORE_OWN
                        "add.s32 %r12, %r0, 100; st.global.v4.b32 [%d13], {%r12, %r12, %r12, %r12}; fence.proxy.async; bar.sync 0; "
                        "@%p0 cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32 [%d1], [%r10+1024], 512; " COMMIT
                        "@%p0 cp.async.bulk.wait_group 0;"),
              PTX_OK, &frame, "reduce");
  for (uint32_t i = 0; i < 128; i++) assert_int_equal(frame.y[i], 100 + i / 4 * 2);
  expect_kind(
      frame_run(&frame, FIRST OWN
                "mov.b32 %r12, 6; cp.async.ca.shared.global [%r11+1024], [%d12], 16, %r12; cp.async.wait_all; ld.shared.v4.b32 "
                "{%r12, %r13, %r14, %r15}, [%r11+1024]; st.global.v4.b32 [%d13], {%r12, %r13, %r14, %r15};"),
      PTX_OK, &frame, "copy");
  for (uint32_t i = 0; i < 128; i++) assert_int_equal(frame.y[i], i % 4 < 2 ? i : 0); /* half of the second word: its low bytes */
}

/* cp.reduce: words 0x40404040 in memory, words of `add` in shared memory. */
static void reductions_test(void **state) {
  (void)state;
  static const struct {
    const char *how;
    uint32_t with, leaves;
  } cases[] = {{"add.u32", 3, 0x40404043},
               {"min.u32", 0x50000000, 0x40404040},
               {"min.s32", 0x80000000, 0x80000000},
               {"max.u32", 0x80000000, 0x80000000},
               {"max.s32", 0x80000000, 0x40404040},
               {"and.b32", 0x00ff00f0, 0x00400040},
               {"or.b32", 1, 0x40404041},
               {"xor.b32", 0x40404040, 0},
               {"add.f32", 0x40404040, 0x40c04040},
               {"add.noftz.f16", 0x40404040, 0x44404440},
               {"add.noftz.bf16", 0x40404040, 0x40c040c0}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    frame frame = {.threads = 32, .seed = i};
    char body[1024];
    snprintf(body, sizeof body, "%s mov.b32 %%r13, %u; %s.%s %s",
             FIRST OWN "mov.b32 %r12, 0x40404040; st.global.v4.b32 [%d13], {%r12, %r12, %r12, %r12};", cases[i].with,
             "st.shared.v4.b32 [%r11+1024], {%r13, %r13, %r13, %r13}; fence.proxy.async; bar.sync 0; @%p0 "
             "cp.reduce.async.bulk.global.shared::cta.bulk_group",
             cases[i].how, "[%d1], [%r10+1024], 512; " COMMIT "@%p0 cp.async.bulk.wait_group 0;");
    expect_kind(frame_run(&frame, body), PTX_OK, &frame, cases[i].how);
    for (int w = 0; w < 128; w++)
      if (frame.y[w] != cases[i].leaves) fail_msg("%s: leaves %#x, expected %#x", cases[i].how, frame.y[w], cases[i].leaves);
  }
}

/* A pipeline of many groups, of which one is always open: what is behind it can be read. */
static void pipeline_test(void **state) {
  (void)state;
  frame frame = {.threads = 32};
  expect_kind(frame_run(&frame, FIRST OWN
                        "mov.b32 %r12, 0; mov.b32 %r14, 0; mov.b32 %r16, 1024; again: add.s32 %r13, %r11, %r16; xor.b32 %r16, "
                        "%r16, 3072; cp.async.cg.shared.global [%r13], [%d12], 16; cp.async.commit_group; cp.async.wait_group 1;"
                        "setp.eq.u32 %p2, %r12, 0; add.s32 %r17, %r11, %r16; @!%p2 ld.shared.u32 %r15, [%r17]; @!%p2 add.s32 %r14, "
                        "%r14, %r15; add.s32 %r12, %r12, 1; setp.lt.u32 %p1, %r12, 200; @%p1 bra again;"
                        "cp.async.wait_all; st.global.u32 [%d13], %r14;"),
              PTX_OK, &frame, "pipeline");
  for (uint32_t t = 0; t < 32; t++) assert_int_equal(frame.y[4 * t], 199 * 4 * t);
}

/* The report of a deadlock has the place of every warp and the state of every mbarrier. */
static void deadlock_test(void **state) {
  (void)state;
  frame frame = {.threads = 160, .seed = 2};
  expect_kind(
      frame_run(&frame, INIT(9) "@%p0 mbarrier.init.shared.b64 [%r10+8], 2; setp.gt.u32 %p2, %r0, 127; @%p2 bra other;\n" WAIT(
                            "again", 0) "\nother: bar.sync 3, 64;"),
      PTX_DEADLOCK, &frame, "deadlock");
  for (int warp = 0; warp < 5; warp++) {
    char text[32];
    snprintf(text, sizeof text, "\n  warp %d at line ", warp);
    if (!strstr(frame.report.text, text)) fail_msg("no '%s' in %s", text, frame.report.text);
  }
  assert_non_null(strstr(frame.report.text, "bar.sync 3, 64; (waits at a barrier)"));
  assert_non_null(strstr(frame.report.text, "mbarrier at 0: phase 0, 9 of 9 arrivals pending"));
  assert_non_null(strstr(frame.report.text, "mbarrier at 0x8: phase 0, 2 of 2 arrivals pending"));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(cases_test), cmocka_unit_test(values_test), cmocka_unit_test(deadlock_test),
                                     cmocka_unit_test(reductions_test), cmocka_unit_test(pipeline_test)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
