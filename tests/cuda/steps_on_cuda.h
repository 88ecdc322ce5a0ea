/* Steps that are no kernels, in the emulator: words of the device, launches by name. */
#ifndef STEPS_ON_CUDA_H
#define STEPS_ON_CUDA_H

#define HARNESS_CUDA
#include "numeric/kernels_harness.h"

enum { STEP_THREADS = 256 };

static inline uint64_t step_words(const harness_unit *u, const void *words, int64_t count) {
  uint64_t address = ptx_device_allocate(u->device, (uint64_t)count * 4 + 4, 256, "words");
  if (words) assert_true(ptx_device_write(u->device, address, words, (uint64_t)count * 4));
  return address;
}

static inline void step_launch_of(const harness_unit *u, const char *name, int64_t grid, int64_t threads,
                                  const hmoe_cuda_call *call) {
  ptx_report report;
  ptx_launch launch = {.kernel = name,
                       .grid = {(uint32_t)grid, 1, 1},
                       .block = {(uint32_t)threads, 1, 1},
                       .arguments = call,
                       .argument_bytes = sizeof *call,
                       .seed = harness_random(),
                       .dependence = u->chip->waits ? PTX_DEPENDENT_ON_ALL : PTX_APART};
  if (grid && !ptx_launch_run(u->module, &launch, &report)) harness_report(u, &report);
}

static inline void step_launch(const harness_unit *u, const char *name, int64_t grid, const hmoe_cuda_call *call) {
  step_launch_of(u, name, grid, STEP_THREADS, call);
}

static inline void step_expect(const harness_unit *u, uint64_t address, const void *want, int64_t count, const char *what) {
  int32_t *got = malloc((size_t)count * 4 + 4);
  ptx_report report = {.kind = PTX_OK};
  if (!ptx_device_read(u->device, address, got, (uint64_t)count * 4, &report)) fail_msg("%s: %s", what, report.text);
  for (int64_t i = 0; i < count; i++)
    if (got[i] != ((const int32_t *)want)[i])
      fail_msg("%s: word %" PRId64 " is %d, expected %d", what, i, got[i], ((const int32_t *)want)[i]);
  free(got);
}

#endif
