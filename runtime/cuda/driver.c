/* Finds the driver, once a process. */
#include "cuda/driver.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
  pthread_once_t once;
  hmoe_cuda_driver driver;
  char problem[512]; /* "": none */
} process = {.once = PTHREAD_ONCE_INIT};

/* Whether the driver is older than what PTX and images ask for. */
enum { LEAST_VERSION = 11040 };

static void load(void) {
  const char *given = getenv("HMOE_CUDA_DRIVER"), *name = given && *given ? given : "libcuda.so.1";
  void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char *why = dlerror();
    snprintf(process.problem, sizeof process.problem, "there is no CUDA driver: %s", why ? why : name);
    return;
  }
  const struct {
    void *slot;
    const char *exported;
    bool later;
  } functions[] = {
#define HMOE_CUDA_ROW(name, exported, arguments) {&process.driver.name, exported, false},
#define HMOE_CUDA_LATER_ROW(name, exported, arguments) {&process.driver.name, exported, true},
      HMOE_CUDA_FUNCTIONS(HMOE_CUDA_ROW) HMOE_CUDA_LATER_FUNCTIONS(HMOE_CUDA_LATER_ROW)
#undef HMOE_CUDA_ROW
#undef HMOE_CUDA_LATER_ROW
  };
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    void *function = dlsym(library, functions[i].exported);
    if (!function && !functions[i].later) {
      snprintf(process.problem, sizeof process.problem, "the CUDA driver %s has no %s: it is too old", name, functions[i].exported);
      return;
    }
    memcpy(functions[i].slot, &function, sizeof function);
  }
  CUresult result = process.driver.cuInit(0);
  const char *text = NULL;
  int version = 0, count = 0;
  if (result == CUDA_SUCCESS) result = process.driver.cuDriverGetVersion(&version);
  if (result == CUDA_SUCCESS && version < LEAST_VERSION) {
    snprintf(process.problem, sizeof process.problem, "the CUDA driver is of version %d.%d, expected %d.%d or later",
             version / 1000, version % 1000 / 10, LEAST_VERSION / 1000, LEAST_VERSION % 1000 / 10);
    return;
  }
  if (result == CUDA_SUCCESS) result = process.driver.cuDeviceGetCount(&count);
  if (result == CUDA_SUCCESS && count == 0) result = CUDA_ERROR_NO_DEVICE;
  if (result == CUDA_SUCCESS) return;
  process.driver.cuGetErrorString(result, &text);
  snprintf(process.problem, sizeof process.problem, "the CUDA driver could not be initialised: %s", text ? text : "no text");
}

hmoe_status hmoe_cuda_driver_get(const hmoe_cuda_driver **out_driver) {
  *out_driver = NULL;
  pthread_once(&process.once, load);
  if (*process.problem) return hmoe_fail(HMOE_UNSUPPORTED, "%s", process.problem);
  *out_driver = &process.driver;
  return HMOE_OK;
}

static hmoe_status status_of(CUresult result) {
  switch (result) {
  case CUDA_ERROR_OUT_OF_MEMORY: return HMOE_OUT_OF_MEMORY;
  case CUDA_ERROR_NO_DEVICE:
  case CUDA_ERROR_INVALID_DEVICE:
  case CUDA_ERROR_NO_BINARY_FOR_GPU:
  case CUDA_ERROR_INVALID_PTX:
  case CUDA_ERROR_UNSUPPORTED_PTX_VERSION:
  case CUDA_ERROR_NOT_SUPPORTED: return HMOE_UNSUPPORTED;
  default: return HMOE_DEVICE_FAILED;
  }
}

hmoe_status hmoe_cuda_failed(const hmoe_cuda_driver *driver, const char *call, const char *what, CUresult result) {
  const char *name = NULL, *text = NULL;
  driver->cuGetErrorName(result, &name);
  driver->cuGetErrorString(result, &text);
  hmoe_status status = status_of(result);
  return hmoe_fail(status, "CUDA: %s: %s (%s)%s%s", call, name ? name : "an error", text ? text : "no text", what ? ": " : "",
                   what ? what : "");
}
