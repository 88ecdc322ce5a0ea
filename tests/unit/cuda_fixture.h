/* The tests' driver, as the runtime of this process finds it, and golden models on it and on the host. */
#ifndef CUDA_FIXTURE_H
#define CUDA_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dlfcn.h>

#include <cmocka.h>

#include "gpu/fake_cuda.h"
#include "hmoe/compiler.h"

/* The functions of the library that the runtime opens: the same copy of it. */
static struct {
  fake_cuda_counters (*get_counters)(void);
  uint64_t (*calls)(const char *function);
  uint64_t (*instructions)(const char *name);
  void (*fail_call)(const char *function, unsigned n, CUresult result);
  void (*set_devices)(int count);
  void (*set_driver)(int version);
  void (*set_capability)(int capability);
  void (*set_multiprocessors)(int count);
  void (*set_later_capability)(int capability);
  void (*set_idle)(bool is_idle);
  void (*reset)(void);
  CUresult (*init)(unsigned flags);
  CUresult (*pop)(CUcontext *context);
  CUresult (*retain)(CUcontext *context, CUdevice device);
  CUresult (*set_context)(CUcontext context);
  CUresult (*create_stream)(CUstream *stream, unsigned flags);
  CUresult (*destroy_stream)(CUstream stream);
  CUresult (*synchronise)(CUstream stream);
} fake;

static inline void fake_find(void *library, const char *name, void *out_function) {
  void *function = dlsym(library, name);
  if (!function) fail_msg("%s", dlerror());
  memcpy(out_function, &function, sizeof function);
}

static int fake_open(void **state) {
  (void)state;
  setenv("HMOE_CUDA_DRIVER", HMOE_FAKE_CUDA, 1);
  setenv("HMOE_PTXAS", "none", 1); /* the driver runs PTX */
  void *library = dlopen(HMOE_FAKE_CUDA, RTLD_NOW | RTLD_LOCAL);
  if (!library) fail_msg("%s", dlerror());
  fake_find(library, "fake_cuda_get_counters", &fake.get_counters);
  fake_find(library, "fake_cuda_calls", &fake.calls);
  fake_find(library, "fake_cuda_instructions", &fake.instructions);
  fake_find(library, "fake_cuda_fail", &fake.fail_call);
  fake_find(library, "fake_cuda_set_devices", &fake.set_devices);
  fake_find(library, "fake_cuda_set_driver", &fake.set_driver);
  fake_find(library, "fake_cuda_set_capability", &fake.set_capability);
  fake_find(library, "fake_cuda_set_multiprocessors", &fake.set_multiprocessors);
  fake_find(library, "fake_cuda_set_later_capability", &fake.set_later_capability);
  fake_find(library, "fake_cuda_set_idle", &fake.set_idle);
  fake_find(library, "fake_cuda_reset", &fake.reset);
  fake_find(library, "cuInit", &fake.init);
  fake_find(library, "cuCtxPopCurrent_v2", &fake.pop);
  fake_find(library, "cuDevicePrimaryCtxRetain", &fake.retain);
  fake_find(library, "cuCtxSetCurrent", &fake.set_context);
  fake_find(library, "cuStreamCreate", &fake.create_stream);
  fake_find(library, "cuStreamDestroy_v2", &fake.destroy_stream);
  fake_find(library, "cuStreamSynchronize", &fake.synchronise);
  return 0;
}

static inline void expect_ok(hmoe_status status) {
  if (status != HMOE_OK) fail_msg("%s: %s", hmoe_status_string(status), hmoe_last_error());
}

/* Golden models, compiled when one is first asked for. */
static struct {
  const char *name;
  hmoec_compilation *compilation;
} cuda_compilations[4];

static inline hmoec_compilation *cuda_compile(const char *name) {
  int i = 0;
  while (cuda_compilations[i].name && strcmp(cuda_compilations[i].name, name) != 0) i++;
  if (cuda_compilations[i].name) return cuda_compilations[i].compilation;
  char path[512];
  snprintf(path, sizeof path, "%s/tests/golden/%s", HMOE_SOURCE_DIR, name);
  static const hmoec_options options = {.struct_size = sizeof options, .target = "cuda", .mcpu = "sm_90a"}; /* the driver's */
  assert_int_equal(hmoec_compile_file(path, &options, &cuda_compilations[i].compilation), HMOEC_OK);
  cuda_compilations[i].name = name;
  return cuda_compilations[i].compilation;
}

static int fake_close(void **state) {
  (void)state;
  for (int i = 0; i < 4; i++) hmoec_compilation_destroy(cuda_compilations[i].compilation);
  return 0;
}

typedef struct cuda_model {
  const struct hmoe_model_object *object;
  char weights[512];
  hmoe_model *host, *device;
  uint64_t vocab;
} cuda_model;

static inline cuda_model cuda_model_find(const char *name) {
  cuda_model m = {.host = NULL};
  hmoec_compilation *compilation = cuda_compile(name);
  assert_int_equal(hmoec_compilation_load(compilation, &m.object), HMOEC_OK);
  hmoec_signature decode;
  assert_int_equal(hmoec_compilation_signature(compilation, "decode", &decode), HMOEC_OK);
  m.vocab = (uint64_t)decode.outputs[0].shape.dims[decode.outputs[0].shape.rank - 1];
  snprintf(m.weights, sizeof m.weights, "%s/tests/golden/%s/model.safetensors", HMOE_SOURCE_DIR, name);
  return m;
}

static inline hmoe_status cuda_model_open_on(const cuda_model *m, const char *device, hmoe_model **out_model) {
  hmoe_options options = {.struct_size = sizeof options, .device = device, .threads = 1};
  return hmoe_model_open(m->object, &(hmoe_weights){.path = m->weights}, &options, out_model);
}

static inline cuda_model cuda_model_open(const char *name) {
  cuda_model m = cuda_model_find(name);
  expect_ok(cuda_model_open_on(&m, NULL, &m.host));
  expect_ok(cuda_model_open_on(&m, "cuda", &m.device));
  return m;
}

static inline void cuda_model_close(cuda_model *m) {
  hmoe_model_close(m->host);
  hmoe_model_close(m->device);
}

#endif
