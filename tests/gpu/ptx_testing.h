/* What tests of the emulator share: small kernels in a frame that declares registers and has two buffers and shared memory. */
#ifndef HMOE_TESTS_GPU_PTX_TESTING_H
#define HMOE_TESTS_GPU_PTX_TESTING_H

#include "ptx.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { FRAME_BYTES = 8192, FRAME_SHARED = 16384 };

/* %d0: `x`, FRAME_BYTES initialised as words 0, 1, 2, ..; %d1: `y`, as large, never written; %r0: thread, %r1: block, %d2: the thread, of 64 bits.
 * smem: FRAME_SHARED bytes. Free for use: %p, %h (b16), %r from 10, %d from 10. */
static const char frame_head[] =
    ".version 8.6\n.target sm_90a\n.address_size 64\n.extern .shared .align 1024 .b8 smem[];\n"
    ".visible .entry k(.param .u64 k_x, .param .u64 k_y)\n{\n"
    ".reg .pred %p<16>; .reg .b16 %h<32>; .reg .b32 %r<320>; .reg .b64 %d<64>;\n"
    "ld.param.u64 %d0, [k_x]; ld.param.u64 %d1, [k_y]; mov.u32 %r0, %tid.x; mov.u32 %r1, %ctaid.x; cvt.u64.u32 %d2, %r0;\n";

typedef struct frame {
  uint32_t blocks, threads, cluster;
  uint64_t seed, limit;
  ptx_dependence dependence;
  const char *before; /* what a launch does before, with the same buffers; NULL: there is none */
  const char *between; /* and what a dependent one does then, which the body's depends on; NULL: there is none */
  bool is_settled; /* y is older than what has not ended */
  uint32_t y[FRAME_BYTES / 4]; /* out: 0xcdcdcdcd where nobody wrote */
  ptx_report report;
  ptx_counters counters;
} frame;

/* What came of the body, in `frame`. */
static inline ptx_kind frame_run(frame *frame, const char *body) {
  const char *before = frame->before ? frame->before : "", *between = frame->between ? frame->between : "",
             *entry = strstr(frame_head, ".visible"), *rest = strstr(entry, " k(") + 2;
  size_t size = 3 * sizeof frame_head + strlen(body) + strlen(before) + strlen(between) + 128;
  char *text = malloc(size);
  assert_non_null(text);
  snprintf(text, size, "%s%s\nret;\n}\n.visible .entry before%s%s\nret;\n}\n.visible .entry between%s%s\nret;\n}\n", frame_head,
           body, rest, before, rest, between);
  ptx_device *device = ptx_device_create(0);
  assert_non_null(device);
  uint64_t arguments[2] = {ptx_device_allocate(device, FRAME_BYTES, 256, "x"), ptx_device_allocate(device, FRAME_BYTES, 256, "y")};
  uint32_t words[FRAME_BYTES / 4];
  for (uint32_t i = 0; i < FRAME_BYTES / 4; i++) words[i] = i;
  assert_true(ptx_device_write(device, arguments[0], words, sizeof words));
  ptx_module *module = ptx_module_create(device, text, strlen(text), &frame->report);
  if (module) {
    ptx_launch launch = {.kernel = "k",
                         .grid = {frame->blocks ? frame->blocks : 1, 1, 1},
                         .block = {frame->threads ? frame->threads : 32, 1, 1},
                         .cluster = {frame->cluster, 1, 1},
                         .shared_bytes = FRAME_SHARED,
                         .arguments = arguments,
                         .argument_bytes = sizeof arguments,
                         .seed = frame->seed,
                         .dependence = frame->dependence,
                         .limit = frame->limit ? frame->limit : 2000000};
    if (!frame->cluster) launch.cluster[1] = launch.cluster[2] = 0;
    ptx_launch first = launch;
    first.kernel = "before";
    first.dependence = PTX_APART;
    if (frame->is_settled) ptx_device_settle(device, arguments[1] + 4);
    bool ok = !frame->before || ptx_launch_run(module, &first, &frame->report);
    ptx_launch second = launch;
    second.kernel = "between";
    second.before = ptx_device_launch(device);
    if (ok && frame->between) {
      ok = ptx_launch_run(module, &second, &frame->report);
      launch.before = ptx_device_launch(device);
    }
    if (ok) ptx_launch_run(module, &launch, &frame->report);
    frame->counters = ptx_module_counters(module);
  }
  assert_true(ptx_device_read(device, arguments[1], frame->y, FRAME_BYTES, NULL));
  ptx_module_destroy(module);
  ptx_device_destroy(device);
  free(text);
  return frame->report.kind;
}

static inline void expect_kind(ptx_kind found, ptx_kind wanted, const frame *frame, const char *what) {
  if (found == wanted) return;
  fail_msg("%s: expected '%s', found '%s'\n%s", what, ptx_kind_name(wanted), ptx_kind_name(found), frame->report.text);
}

#endif
