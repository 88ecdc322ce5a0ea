/* The part of the CUDA driver that is used, found when it is first asked for: nothing of CUDA is needed to build or to link. Types and numbers are
 * those of the driver's published interface. */
#ifndef HMOE_CUDA_DRIVER_H
#define HMOE_CUDA_DRIVER_H

#include <stddef.h>
#include <stdint.h>

#include "runtime_internal.h"

typedef int CUresult;
typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
typedef struct CUgraph_st *CUgraph;
typedef struct CUgraphNode_st *CUgraphNode;
typedef struct CUgraphExec_st *CUgraphExec;

enum {
  CUDA_SUCCESS = 0,
  CUDA_ERROR_OUT_OF_MEMORY = 2,
  CUDA_ERROR_NO_DEVICE = 100,
  CUDA_ERROR_INVALID_DEVICE = 101,
  CUDA_ERROR_INVALID_IMAGE = 200,
  CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
  CUDA_ERROR_INVALID_PTX = 218,
  CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222,
  CUDA_ERROR_NOT_FOUND = 500,
  CUDA_ERROR_NOT_SUPPORTED = 801,
  CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE = 910
};
enum {
  CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76
};
enum { CU_STREAM_NON_BLOCKING = 1, CU_EVENT_DISABLE_TIMING = 2, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1 };
enum { CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8 };
enum { CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION = 6 };

typedef struct CUlaunchAttribute {
  int id;
  char pad[4];
  union {
    char pad[64];
    int programmaticStreamSerializationAllowed;
  } value;
} CUlaunchAttribute;
typedef struct CUlaunchConfig {
  unsigned gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes;
  CUstream hStream;
  CUlaunchAttribute *attrs;
  unsigned numAttrs;
} CUlaunchConfig;

/* Functions by the names that the library exports; a row is: result, name, exported name, arguments. */
#define HMOE_CUDA_FUNCTIONS(X)                                                                                                     \
  X(cuInit, "cuInit", (unsigned flags))                                                                                            \
  X(cuDriverGetVersion, "cuDriverGetVersion", (int *version))                                                                      \
  X(cuDeviceGetCount, "cuDeviceGetCount", (int *count))                                                                            \
  X(cuDeviceGet, "cuDeviceGet", (CUdevice * device, int ordinal))                                                                  \
  X(cuDeviceGetName, "cuDeviceGetName", (char *name, int length, CUdevice device))                                                 \
  X(cuDeviceGetAttribute, "cuDeviceGetAttribute", (int *value, int attribute, CUdevice device))                                    \
  X(cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain", (CUcontext * context, CUdevice device))                                  \
  X(cuDevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2", (CUdevice device))                                                  \
  X(cuCtxPushCurrent, "cuCtxPushCurrent_v2", (CUcontext context))                                                                  \
  X(cuCtxPopCurrent, "cuCtxPopCurrent_v2", (CUcontext * context))                                                                  \
  X(cuModuleLoadDataEx, "cuModuleLoadDataEx", (CUmodule * module, const void *image, unsigned count, int *options, void **values)) \
  X(cuModuleUnload, "cuModuleUnload", (CUmodule module))                                                                           \
  X(cuModuleGetFunction, "cuModuleGetFunction", (CUfunction * function, CUmodule module, const char *name))                        \
  X(cuFuncSetAttribute, "cuFuncSetAttribute", (CUfunction function, int attribute, int value))                                     \
  X(cuMemAlloc, "cuMemAlloc_v2", (CUdeviceptr * address, size_t bytes))                                                            \
  X(cuMemFree, "cuMemFree_v2", (CUdeviceptr address))                                                                              \
  X(cuMemsetD8Async, "cuMemsetD8Async", (CUdeviceptr address, unsigned char value, size_t count, CUstream stream))                 \
  X(cuMemcpyHtoDAsync, "cuMemcpyHtoDAsync_v2", (CUdeviceptr to, const void *from, size_t bytes, CUstream stream))                  \
  X(cuMemcpyDtoHAsync, "cuMemcpyDtoHAsync_v2", (void *to, CUdeviceptr from, size_t bytes, CUstream stream))                        \
  X(cuMemcpyDtoDAsync, "cuMemcpyDtoDAsync_v2", (CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream))                  \
  X(cuStreamCreate, "cuStreamCreate", (CUstream * stream, unsigned flags))                                                         \
  X(cuStreamDestroy, "cuStreamDestroy_v2", (CUstream stream))                                                                      \
  X(cuStreamSynchronize, "cuStreamSynchronize", (CUstream stream))                                                                 \
  X(cuMemAllocHost, "cuMemAllocHost_v2", (void **memory, size_t bytes))                                                            \
  X(cuMemFreeHost, "cuMemFreeHost", (void *memory))                                                                                \
  X(cuEventCreate, "cuEventCreate", (CUevent * event, unsigned flags))                                                             \
  X(cuEventDestroy, "cuEventDestroy_v2", (CUevent event))                                                                          \
  X(cuEventRecord, "cuEventRecord", (CUevent event, CUstream stream))                                                              \
  X(cuStreamWaitEvent, "cuStreamWaitEvent", (CUstream stream, CUevent event, unsigned flags))                                      \
  X(cuEventSynchronize, "cuEventSynchronize", (CUevent event))                                                                     \
  X(cuStreamBeginCapture, "cuStreamBeginCapture_v2", (CUstream stream, int mode))                                                  \
  X(cuStreamEndCapture, "cuStreamEndCapture", (CUstream stream, CUgraph * graph))                                                  \
  X(cuGraphInstantiate, "cuGraphInstantiateWithFlags", (CUgraphExec * exec, CUgraph graph, unsigned long long flags))              \
  X(cuGraphExecUpdate, "cuGraphExecUpdate", (CUgraphExec exec, CUgraph graph, CUgraphNode * node, int *result))                    \
  X(cuGraphLaunch, "cuGraphLaunch", (CUgraphExec exec, CUstream stream))                                                           \
  X(cuGraphDestroy, "cuGraphDestroy", (CUgraph graph))                                                                             \
  X(cuGraphExecDestroy, "cuGraphExecDestroy", (CUgraphExec exec))                                                                  \
  X(cuLaunchKernel, "cuLaunchKernel",                                                                                              \
    (CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z, \
     unsigned shared_bytes, CUstream stream, void **arguments, void **extra))                                                      \
  X(cuGetErrorName, "cuGetErrorName", (CUresult error, const char **name))                                                         \
  X(cuGetErrorString, "cuGetErrorString", (CUresult error, const char **text))

/* Those that older drivers lack: NULL there. */
#define HMOE_CUDA_LATER_FUNCTIONS(X)                                                                                               \
  X(cuLaunchKernelEx, "cuLaunchKernelEx", (const CUlaunchConfig *config, CUfunction function, void **arguments, void **extra))

typedef struct hmoe_cuda_driver {
#define HMOE_CUDA_MEMBER(name, exported, arguments) CUresult(*name) arguments;
  HMOE_CUDA_FUNCTIONS(HMOE_CUDA_MEMBER)
  HMOE_CUDA_LATER_FUNCTIONS(HMOE_CUDA_MEMBER)
#undef HMOE_CUDA_MEMBER
} hmoe_cuda_driver;

/* The process's, initialised; HMOE_UNSUPPORTED where there is none, with what the loader or the driver says. Any thread. HMOE_CUDA_DRIVER in the
 * environment names another library than libcuda.so.1. */
HMOE_MUST_USE hmoe_status hmoe_cuda_driver_get(const hmoe_cuda_driver **out_driver);

/* What a call of the driver said: HMOE_OUT_OF_MEMORY, HMOE_UNSUPPORTED where the driver or the device lacks something, else HMOE_DEVICE_FAILED; "CUDA: <call>: <name> (<text>)", with `what` behind it where it isn't NULL. */
HMOE_MUST_USE hmoe_status hmoe_cuda_failed(const hmoe_cuda_driver *driver, const char *call, const char *what, CUresult result);

/* Returns from a function where a call fails. */
#define HMOE_CUDA_TRY(driver, function, ...)                                                                                       \
  do {                                                                                                                             \
    CUresult result_ = (driver)->function(__VA_ARGS__);                                                                            \
    if (result_ != CUDA_SUCCESS) return hmoe_cuda_failed(driver, #function, NULL, result_);                                        \
  } while (0)

#endif
