/* The fake driver: what a program gets from it when all is well, and each way it can be asked to fail. */
#include "fake_cuda.h"
#include "ptx_testing.h"

#include <dlfcn.h>
#include <pthread.h>

static const char scale[] =
    ".version 8.6\n.target sm_90a\n.address_size 64\n.global .align 4 .u32 calls[2] = {7, 0};\n"
    ".visible .entry scale(.param .u64 x, .param .u32 n, .param .u32 by) { .reg .pred %p; .reg .b32 %r<8>; .reg .b64 %d<3>;\n"
    "ld.param.u64 %d0, [x]; ld.param.u32 %r0, [n]; ld.param.u32 %r1, [by]; mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mov.u32 "
    "%r4, %tid.x; mad.lo.s32 %r2, %r2, %r3, %r4;\n"
    "setp.ge.u32 %p, %r2, %r0; @%p ret; mul.wide.u32 %d1, %r2, 4; add.s64 %d0, %d0, %d1; ld.global.u32 %r5, [%d0]; mul.lo.s32 %r5, "
    "%r5, %r1; st.global.u32 [%d0], %r5; ret; }\n"
    ".extern .shared .align 16 .b8 dynamic[];\n.visible .entry big() { .reg .b32 %r; mov.u32 %r, dynamic; ret; }\n"
    ".visible .entry wild(.param .u64 x) { .reg .b64 %d; .reg .b32 %r; ld.param.u64 %d, [x]; ld.global.u32 %r, [%d+1048576]; ret; "
    "}\n"
    ".visible .entry pair() { .reg .b32 %r; .reg .pred %p; mov.u32 %r, %cluster_nctarank; setp.ne.u32 %p, %r, 2; @%p trap; ret; "
    "}\n"
    ".visible .entry waits(.param .u64 x) { .reg .b64 %d; griddepcontrol.wait; ld.param.u64 %d, [x]; st.global.u32 [%d], 1; ret; "
    "}\n"
    ".visible .entry early(.param .u64 x) { .reg .b64 %d; ld.param.u64 %d, [x]; st.global.u32 [%d], 1; griddepcontrol.wait; ret; "
    "}\n";

#define GOOD(call) assert_int_equal(call, CUDA_SUCCESS)
enum { COUNT = 1000 };
static CUcontext context;
static CUmodule module;
static CUfunction function;
static CUdeviceptr memory;
static uint32_t host[COUNT];

static void begin(void) {
  fake_cuda_reset();
  GOOD(cuInit(0));
  GOOD(cuDevicePrimaryCtxRetain(&context, 0));
  GOOD(cuCtxSetCurrent(context));
  GOOD(cuModuleLoadDataEx(&module, scale, 0, NULL, NULL));
  GOOD(cuModuleGetFunction(&function, module, "scale"));
  GOOD(cuMemAlloc_v2(&memory, sizeof host));
  for (uint32_t i = 0; i < COUNT; i++) host[i] = i;
  GOOD(cuMemcpyHtoD_v2(memory, host, sizeof host));
}
static CUresult launch(CUstream stream, uint32_t by) {
  uint32_t n = COUNT;
  void *parameters[] = {&memory, &n, &by};
  return cuLaunchKernel(function, (COUNT + 127) / 128, 1, 1, 128, 1, 1, 0, stream, parameters, NULL);
}
static void expect_scaled(uint32_t by) {
  for (uint32_t i = 0; i < COUNT; i++) assert_int_equal(host[i], i * by);
}

static void plain_test(void **state) {
  (void)state;
  begin();
  GOOD(launch(NULL, 3));
  GOOD(cuMemcpyDtoH_v2(host, memory, sizeof host));
  expect_scaled(3);
  /* The address is none of the host's, and is known as the device's. */
  assert_true(memory > UINT64_C(1) << 35 && memory < UINT64_C(1) << 44);
  unsigned type;
  CUdeviceptr base;
  size_t size, free_bytes, total;
  GOOD(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, memory + 100));
  assert_int_equal(type, CU_MEMORYTYPE_DEVICE);
  int attributes[] = {CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, CU_POINTER_ATTRIBUTE_RANGE_SIZE};
  void *values[] = {&base, &size};
  GOOD(cuPointerGetAttributes(2, attributes, values, memory + 100));
  assert_true(base == memory && size == sizeof host);
  assert_int_equal(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (CUdeviceptr)(uintptr_t)host),
                   CUDA_ERROR_INVALID_VALUE);
  GOOD(cuMemGetInfo_v2(&free_bytes, &total));
  assert_true(total == UINT64_C(1) << 30 && free_bytes < total - sizeof host);
  uint32_t calls[2];
  GOOD(cuModuleGetGlobal_v2(&base, &size, module, "calls"));
  assert_int_equal(size, 8);
  GOOD(cuMemcpyDtoH_v2(calls, base, 8));
  assert_int_equal(calls[0], 7);
  int value;
  GOOD(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, function));
  assert_int_equal(value, 1024);
  GOOD(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 0));
  assert_int_equal(value, 9);
  GOOD(cuMemsetD32_v2(memory, 5, COUNT));
  GOOD(cuMemsetD8_v2(memory + 4, 1, 4));
  GOOD(cuMemcpyDtoH_v2(host, memory, sizeof host));
  assert_true(host[0] == 5 && host[1] == 0x01010101 && host[999] == 5);
  /* The other way to pass arguments. */
  struct {
    CUdeviceptr x;
    uint32_t n, by;
  } buffer = {memory, COUNT, 2};
  size_t bytes = sizeof buffer;
  void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &buffer, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes, CU_LAUNCH_PARAM_END};
  GOOD(cuLaunchKernel(function, 8, 1, 1, 128, 1, 1, 0, NULL, NULL, extra));
  GOOD(cuCtxSynchronize());
  GOOD(cuMemcpyDtoH_v2(host, memory, 4));
  assert_int_equal(host[0], 10);
  fake_cuda_counters counters = fake_cuda_get_counters();
  assert_true(counters.launches == 2 && counters.kernels == 2 && counters.live_modules == 1 && counters.live_allocations == 1);
  assert_int_equal(counters.bytes_to_device, sizeof host);
  assert_int_equal(counters.bytes_from_device, 2 * sizeof host + 8 + 4);
  assert_int_equal(counters.bytes_set, sizeof host + 4);
  assert_int_equal(counters.synchronisations, 1 + 4 + 1);
  assert_int_equal(fake_cuda_calls("cuMemcpyDtoH"), 4);
  assert_int_equal(fake_cuda_instructions("st.global"), 2 * 32);
  GOOD(cuMemFree_v2(memory));
  GOOD(cuModuleUnload(module));
  counters = fake_cuda_get_counters();
  assert_true(counters.live_modules == 0 && counters.live_allocations == 0 && counters.live_bytes == 0);
}

/* What was queued has not happened until something is synchronised with. */
static void order_test(void **state) {
  (void)state;
  begin();
  CUstream a, b, free_stream;
  CUevent event, late;
  uint32_t *pinned;
  GOOD(cuStreamCreate(&a, CU_STREAM_DEFAULT));
  GOOD(cuStreamCreate(&b, CU_STREAM_DEFAULT));
  GOOD(cuStreamCreate(&free_stream, CU_STREAM_NON_BLOCKING));
  GOOD(cuEventCreate(&event, CU_EVENT_DEFAULT));
  GOOD(cuEventCreate(&late, CU_EVENT_DEFAULT));
  GOOD(cuMemAllocHost_v2((void **)&pinned, sizeof host));
  memset(pinned, 0xee, sizeof host);
  GOOD(launch(a, 2));
  GOOD(cuMemcpyDtoHAsync_v2(pinned, memory, sizeof host, a));
  assert_int_equal(pinned[1], 0xeeeeeeee);
  assert_int_equal(cuStreamQuery(a), CUDA_ERROR_NOT_READY);
  GOOD(cuStreamSynchronize(a));
  GOOD(cuStreamQuery(a));
  assert_int_equal(pinned[1], 2);
  /* Pinned memory is read when the copy runs, other memory at the call. */
  for (int i = 0; i < COUNT; i++) pinned[i] = host[i] = 1;
  GOOD(cuMemcpyHtoDAsync_v2(memory, pinned, 4, a));
  GOOD(cuMemcpyHtoDAsync_v2(memory + 4, host, 4, a));
  pinned[0] = host[0] = 9;
  GOOD(cuStreamSynchronize(a));
  GOOD(cuMemcpyDtoH_v2(host, memory, 8));
  assert_true(host[0] == 9 && host[1] == 1);
  /* A copy to pageable memory is done when the call returns. */
  GOOD(cuMemsetD32Async(memory, 77, 1, a));
  GOOD(cuMemcpyDtoHAsync_v2(host, memory, 4, a));
  assert_int_equal(host[0], 77);
  /* An event orders streams: b waits for what a had before it, not for what came after. */
  GOOD(cuMemsetD32Async(memory, 1, 1, a));
  GOOD(cuEventRecord(event, a));
  GOOD(cuMemsetD32Async(memory, 2, 1, a));
  GOOD(cuStreamWaitEvent(b, event, 0));
  GOOD(cuMemcpyDtoDAsync_v2(memory + 4, memory, 4, b));
  GOOD(cuEventRecord(late, b));
  GOOD(cuEventSynchronize(late));
  GOOD(cuEventQuery(event));
  float milliseconds = -1;
  GOOD(cuEventElapsedTime(&milliseconds, event, late));
  assert_true(milliseconds >= 0);
  GOOD(cuMemcpyDtoHAsync_v2(host, memory, 8, free_stream));
  assert_true(host[0] == 1 && host[1] == 1);
  GOOD(cuStreamSynchronize(a));
  /* The legacy stream waits for those that block; the free one and it do not know of each other. */
  GOOD(cuMemsetD32Async(memory, 3, 1, a));
  GOOD(cuMemcpyDtoH_v2(host, memory, 4));
  assert_int_equal(host[0], 3);
  GOOD(cuMemsetD32Async(memory, 4, 1, free_stream));
  GOOD(cuMemcpyDtoH_v2(host, memory, 4));
  assert_int_equal(host[0], 3);
  GOOD(cuStreamSynchronize(free_stream));
  GOOD(cuMemcpyDtoH_v2(host, memory, 4));
  assert_int_equal(host[0], 4);
  /* What the legacy stream has comes before what a blocking one gets later. */
  GOOD(cuMemsetD32_v2(memory, 5, 1));
  GOOD(cuMemcpyDtoHAsync_v2(pinned, memory, 4, b));
  GOOD(cuStreamSynchronize(b));
  assert_int_equal(pinned[0], 5);
  GOOD(cuMemsetD32Async(memory, 6, 1, a));
  GOOD(cuStreamSynchronize(NULL));
  GOOD(cuStreamQuery(a));
  /* Memory that is freed in a stream is there for the work before. */
  CUdeviceptr other;
  GOOD(cuMemAllocAsync(&other, 64, a));
  GOOD(cuMemsetD32Async(other, 8, 16, a));
  GOOD(cuMemcpyDtoDAsync_v2(memory, other, 64, a));
  GOOD(cuMemFreeAsync(other, a));
  GOOD(cuMemcpyDtoH_v2(host, memory, 4));
  assert_int_equal(host[0], 8);
  assert_int_equal(cuMemcpyDtoH_v2(host, other, 4), CUDA_ERROR_INVALID_VALUE);
  GOOD(cuMemFreeHost(pinned));
  GOOD(cuEventDestroy_v2(event));
  GOOD(cuEventDestroy_v2(late));
  GOOD(cuStreamDestroy_v2(a));
  GOOD(cuStreamDestroy_v2(b));
  GOOD(cuStreamDestroy_v2(free_stream));
  fake_cuda_counters counters = fake_cuda_get_counters();
  assert_true(!counters.live_events && !counters.live_streams && !counters.live_host_allocations);
}

/* Freed while work is queued: the work finds that out. */
static void freed_test(void **state) {
  (void)state;
  begin();
  CUstream a, b;
  GOOD(cuStreamCreate(&a, CU_STREAM_NON_BLOCKING));
  GOOD(cuStreamCreate(&b, CU_STREAM_NON_BLOCKING));
  GOOD(launch(a, 2));
  GOOD(cuMemFreeAsync(memory, b));
  GOOD(cuStreamSynchronize(b));
  assert_int_equal(cuStreamSynchronize(a), CUDA_ERROR_ILLEGAL_ADDRESS);
  assert_non_null(strstr(fake_cuda_report(), "freed"));
  /* The context is of no use any more. */
  assert_int_equal(cuMemAlloc_v2(&memory, 4), CUDA_ERROR_ILLEGAL_ADDRESS);
  assert_int_equal(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
}

static CUresult allocate_little(void) {
  CUdeviceptr address;
  GOOD(cuCtxSetCurrent(context));
  return cuMemAlloc_v2(&address, 64);
}
static void *call_in_thread(void *of) {
  CUresult (**call)(void) = of;
  return (void *)(uintptr_t)(*call)();
}
static CUresult in_another_thread(CUresult (*call)(void)) {
  pthread_t thread;
  void *said;
  assert_int_equal(pthread_create(&thread, NULL, call_in_thread, &call), 0);
  assert_int_equal(pthread_join(thread, &said), 0);
  return (CUresult)(uintptr_t)said;
}

static void graph_test(void **state) {
  (void)state;
  begin();
  CUstream stream, side;
  CUgraph graph;
  CUgraphExec exec;
  CUevent fork, join;
  int status;
  GOOD(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  GOOD(cuStreamCreate(&side, CU_STREAM_NON_BLOCKING));
  GOOD(cuEventCreate(&fork, CU_EVENT_DISABLE_TIMING));
  GOOD(cuEventCreate(&join, CU_EVENT_DISABLE_TIMING));
  GOOD(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  GOOD(cuStreamIsCapturing(stream, &status));
  assert_int_equal(status, CU_STREAM_CAPTURE_STATUS_ACTIVE);
  GOOD(launch(stream, 2));
  GOOD(cuEventRecord(fork, stream));
  GOOD(cuStreamWaitEvent(side, fork, 0));
  GOOD(launch(side, 5));
  GOOD(cuEventRecord(join, side));
  GOOD(cuStreamWaitEvent(stream, join, 0));
  assert_int_equal(cuStreamEndCapture(side, &graph), CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
  GOOD(cuStreamEndCapture(stream, &graph));
  GOOD(cuStreamIsCapturing(side, &status));
  assert_int_equal(status, CU_STREAM_CAPTURE_STATUS_NONE);
  GOOD(cuGraphInstantiateWithFlags(&exec, graph, 0));
  GOOD(cuGraphDestroy(graph));
  assert_int_equal(fake_cuda_get_counters().kernels, 0); /* capture runs nothing */
  GOOD(cuGraphLaunch(exec, stream));
  GOOD(cuGraphLaunch(exec, stream));
  GOOD(cuStreamSynchronize(stream));
  GOOD(cuMemcpyDtoH_v2(host, memory, sizeof host));
  expect_scaled(100);
  assert_int_equal(fake_cuda_get_counters().graph_launches, 2);
  assert_int_equal(fake_cuda_get_counters().kernels, 4);
  assert_int_equal(fake_cuda_get_counters().launches, 0);
  /* An update gives the nodes new arguments; a launch that is queued keeps its own. */
  CUgraphNode node;
  int why;
  GOOD(cuGraphLaunch(exec, stream));
  for (int by = 1; by <= 2; by++) {
    GOOD(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    for (int i = 0; i < (by == 1 ? 2 : 3); i++) GOOD(launch(stream, (uint32_t)(1 + 2 * i)));
    GOOD(cuStreamEndCapture(stream, &graph));
    assert_int_equal(cuGraphExecUpdate(exec, graph, &node, &why), by == 1 ? CUDA_SUCCESS : CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
    assert_int_equal(why, by == 1 ? 0 : 2);
    GOOD(cuGraphDestroy(graph));
  }
  GOOD(cuGraphLaunch(exec, stream));
  GOOD(cuStreamSynchronize(stream));
  GOOD(cuMemcpyDtoH_v2(host, memory, sizeof host));
  expect_scaled(100 * 10 * 3);
  GOOD(cuGraphExecDestroy(exec));
  assert_int_equal(fake_cuda_get_counters().live_graphs, 0);
  /* Who waits or allocates in a capture spoils it. */
  CUdeviceptr other;
  static CUresult (*const spoilers[])(void) = {cuCtxSynchronize};
  for (int i = 0; i < 4; i++) {
    GOOD(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    GOOD(launch(stream, 2));
    CUresult said = i == 0   ? spoilers[0]()
                    : i == 1 ? cuMemAlloc_v2(&other, 64)
                    : i == 2 ? cuMemcpyDtoH_v2(host, memory, 4)
                             : cuStreamSynchronize(stream);
    assert_int_equal(said, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    assert_int_equal(cuStreamEndCapture(stream, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    assert_null(graph);
  }
  GOOD(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  assert_int_equal(cuMemAlloc_v2(&other, 64), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  assert_int_equal(cuStreamEndCapture(stream, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  GOOD(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  assert_int_equal(in_another_thread(allocate_little), CUDA_SUCCESS);
  GOOD(cuStreamEndCapture(stream, &graph));
  GOOD(cuGraphDestroy(graph));
  GOOD(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
  GOOD(cuMemAlloc_v2(&other, 64));
  GOOD(cuStreamEndCapture(stream, &graph));
  GOOD(cuGraphDestroy(graph));
  GOOD(cuEventDestroy_v2(fork));
  GOOD(cuEventDestroy_v2(join));
}

/* Launches that may begin before the one before has ended: what they do too soon is reported, in graphs, too; those behind something else than a kernel are
 * counted, and chips and drivers that know no such launches refuse them. */
static void dependent_test(void **state) {
  (void)state;
  begin();
  CUstream stream;
  CUgraph graph;
  CUgraphExec exec;
  CUfunction waits, early;
  GOOD(cuModuleGetFunction(&waits, module, "waits"));
  GOOD(cuModuleGetFunction(&early, module, "early"));
  GOOD(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  CUlaunchAttribute attribute = {.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
                                 .value.programmaticStreamSerializationAllowed = 1};
  CUlaunchConfig config = {1, 1, 1, 1, 1, 1, 0, stream, &attribute, 1};
  void *parameters[] = {&memory};
  GOOD(cuLaunchKernelEx(&config, waits, parameters, NULL));
  GOOD(cuLaunchKernelEx(&config, waits, parameters, NULL));
  GOOD(cuMemsetD8Async(memory, 1, 4, stream));
  GOOD(cuLaunchKernelEx(&config, waits, parameters, NULL));
  attribute.value.programmaticStreamSerializationAllowed = 0;
  GOOD(cuLaunchKernelEx(&config, early, parameters, NULL));
  attribute.value.programmaticStreamSerializationAllowed = 1;
  GOOD(cuStreamSynchronize(stream));
  assert_int_equal(fake_cuda_get_counters().dependents, 3);
  assert_int_equal(fake_cuda_get_counters().misplaced, 2);
  fake_cuda_set_driver(12020);
  GOOD(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  assert_int_equal(cuLaunchKernelEx(&config, waits, parameters, NULL), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  assert_int_equal(cuStreamEndCapture(stream, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  fake_cuda_set_driver(12030);
  fake_cuda_set_capability(80);
  assert_int_equal(cuLaunchKernelEx(&config, waits, parameters, NULL), CUDA_ERROR_NOT_SUPPORTED);
  fake_cuda_set_capability(90);
  GOOD(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  GOOD(cuLaunchKernelEx(&config, early, parameters, NULL));
  GOOD(cuStreamEndCapture(stream, &graph));
  assert_int_equal(fake_cuda_get_counters().misplaced, 3);
  GOOD(cuGraphInstantiateWithFlags(&exec, graph, 0));
  GOOD(cuGraphLaunch(exec, stream));
  assert_int_equal(cuStreamSynchronize(stream), CUDA_ERROR_LAUNCH_FAILED);
  assert_non_null(strstr(fake_cuda_report(), "before its griddepcontrol.wait"));
}

static void modules_test(void **state) {
  (void)state;
  begin();
  CUmodule other;
  char log[200] = "";
  int options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void *values[] = {log, (void *)(uintptr_t)sizeof log};
  assert_int_equal(cuModuleLoadDataEx(&other, ".version 8.6\n.target sm_90a\n.entry k() { frob.b32 x; }", 2, options, values),
                   CUDA_ERROR_INVALID_PTX);
  assert_string_equal(log, "3:14: the instruction 'frob.b32' is not known here");
  assert_int_equal(cuModuleLoadData(&other, "\177ELF cubin"), CUDA_ERROR_NO_BINARY_FOR_GPU);
  assert_non_null(strstr(fake_cuda_report(), "a cubin"));
  assert_int_equal(cuModuleLoadData(&other, "\x50\xed\x55\xba"), CUDA_ERROR_NO_BINARY_FOR_GPU);
  assert_int_equal(cuModuleLoadData(&other, ".version 8.0\n.target sm_100\n.entry k() { ret; }"), CUDA_ERROR_NO_BINARY_FOR_GPU);
  fake_cuda_set_capability(100);
  assert_int_equal(cuModuleLoadData(&other, scale), CUDA_ERROR_NO_BINARY_FOR_GPU); /* sm_90a is of 9.0 alone */
  GOOD(cuModuleLoadData(&other, ".version 8.0\n.target sm_80\n.entry k() { ret; }"));
  GOOD(cuModuleUnload(other));
  fake_cuda_set_capability(90);
  fake_cuda_set_driver(12040);
  assert_int_equal(cuModuleLoadData(&other, scale), CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
  assert_non_null(strstr(fake_cuda_report(), "PTX 8.6 needs a driver of version 12070 or later, found 12040"));
  fake_cuda_set_driver(12070);
  GOOD(cuModuleLoadData(&other, scale));
  assert_int_equal(cuModuleGetFunction(&function, other, "none"), CUDA_ERROR_NOT_FOUND);
  /* More shared memory than usual has to be asked for. */
  GOOD(cuModuleGetFunction(&function, other, "big"));
  assert_int_equal(cuLaunchKernel(function, 1, 1, 1, 32, 1, 1, 49 * 1024, NULL, NULL, NULL), CUDA_ERROR_INVALID_VALUE);
  assert_non_null(strstr(fake_cuda_report(), "cuFuncSetAttribute"));
  assert_int_equal(cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 228 * 1024),
                   CUDA_ERROR_INVALID_VALUE);
  GOOD(cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 227 * 1024));
  GOOD(cuLaunchKernel(function, 1, 1, 1, 32, 1, 1, 227 * 1024, NULL, NULL, NULL));
  assert_int_equal(cuLaunchKernel(function, 0, 1, 1, 32, 1, 1, 0, NULL, NULL, NULL), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuLaunchKernel(function, 1, 1, 1, 1025, 1, 1, 0, NULL, NULL, NULL), CUDA_ERROR_INVALID_VALUE);
  GOOD(cuModuleGetFunction(&function, other, "pair"));
  CUlaunchAttribute attribute = {.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, .value.clusterDim = {2, 1, 1}};
  CUlaunchConfig config = {.gridDimX = 4,
                           .gridDimY = 1,
                           .gridDimZ = 1,
                           .blockDimX = 32,
                           .blockDimY = 1,
                           .blockDimZ = 1,
                           .attrs = &attribute,
                           .numAttrs = 1};
  GOOD(cuLaunchKernelEx(&config, function, NULL, NULL));
  GOOD(cuCtxSynchronize());
}

static void failures_test(void **state) {
  (void)state;
  /* A kernel that goes wrong: the launch is fine, the synchronisation tells, and so does everything after it. */
  begin();
  GOOD(cuModuleGetFunction(&function, module, "wild"));
  void *parameters[] = {&memory};
  GOOD(cuLaunchKernel(function, 1, 1, 1, 32, 1, 1, 0, NULL, parameters, NULL));
  assert_int_equal(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
  assert_non_null(strstr(fake_cuda_report(), "wild: block (0, 0, 0) warp 0"));
  assert_int_equal(cuMemcpyDtoH_v2(host, memory, 4), CUDA_ERROR_ILLEGAL_ADDRESS);
  const char *text;
  GOOD(cuGetErrorName(CUDA_ERROR_ILLEGAL_ADDRESS, &text));
  assert_string_equal(text, "CUDA_ERROR_ILLEGAL_ADDRESS");
  assert_int_equal(cuGetErrorString((CUresult)12345, &text), CUDA_ERROR_INVALID_VALUE);
  /* Requests: no device, an old driver, out of memory, the n-th call, a kernel. */
  fake_cuda_reset();
  fake_cuda_set_devices(0);
  assert_int_equal(cuInit(0), CUDA_ERROR_NO_DEVICE);
  int number;
  assert_int_equal(cuDeviceGetCount(&number), CUDA_ERROR_NOT_INITIALIZED);
  fake_cuda_set_driver(11080);
  GOOD(cuDriverGetVersion(&number));
  assert_int_equal(number, 11080);
  begin();
  fake_cuda_fail("cuMemAlloc", 2, CUDA_ERROR_OUT_OF_MEMORY);
  CUdeviceptr other;
  GOOD(cuMemAlloc_v2(&other, 64));
  assert_int_equal(cuMemAlloc_v2(&other, 64), CUDA_ERROR_OUT_OF_MEMORY);
  GOOD(cuMemAlloc_v2(&other, 64));
  assert_int_equal(cuMemAlloc_v2(&other, (size_t)2 << 30), CUDA_ERROR_OUT_OF_MEMORY);
  fake_cuda_fail("cuLaunchKernel", 1, CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
  assert_int_equal(launch(NULL, 2), CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
  fake_cuda_fail("kernel", 2, CUDA_ERROR_LAUNCH_FAILED);
  GOOD(launch(NULL, 2));
  GOOD(launch(NULL, 2));
  assert_int_equal(cuStreamSynchronize(NULL), CUDA_ERROR_LAUNCH_FAILED);
  /* By the environment. */
  setenv("FAKE_CUDA_DEVICES", "2", 1);
  setenv("FAKE_CUDA_MEMORY", "4096", 1);
  setenv("FAKE_CUDA_CAPABILITY", "80", 1);
  setenv("FAKE_CUDA_FAIL", "cuDeviceGet:1:999,cuMemAlloc:1:2", 1);
  fake_cuda_reset();
  GOOD(cuInit(0));
  GOOD(cuDeviceGetCount(&number));
  assert_int_equal(number, 2);
  CUdevice device;
  assert_int_equal(cuDeviceGet(&device, 1), CUDA_ERROR_UNKNOWN);
  GOOD(cuDeviceGet(&device, 1));
  assert_int_equal(cuDeviceGet(&device, 2), CUDA_ERROR_INVALID_DEVICE);
  assert_int_equal(cuMemAlloc_v2(&other, 64), CUDA_ERROR_OUT_OF_MEMORY);
  assert_int_equal(cuMemAlloc_v2(&other, 64), CUDA_ERROR_INVALID_CONTEXT);
  GOOD(cuDevicePrimaryCtxRetain(&context, device));
  GOOD(cuCtxPushCurrent_v2(context));
  GOOD(cuCtxGetDevice(&device));
  assert_int_equal(device, 1);
  GOOD(cuMemAlloc_v2(&other, 4096));
  assert_int_equal(cuMemAlloc_v2(&other, 1), CUDA_ERROR_OUT_OF_MEMORY);
  GOOD(cuCtxPopCurrent_v2(&context));
  assert_int_equal(cuCtxSynchronize(), CUDA_ERROR_INVALID_CONTEXT);
  for (const char *const *name = (const char *const[]){"DEVICES", "MEMORY", "CAPABILITY", "FAIL", NULL}; *name; name++) {
    char variable[40];
    snprintf(variable, sizeof variable, "FAKE_CUDA_%s", *name);
    unsetenv(variable);
  }
  /* Arguments that a driver refuses. */
  begin();
  assert_int_equal(cuMemcpyHtoD_v2(memory + sizeof host - 2, host, 4), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuMemcpyDtoH_v2(host, (CUdeviceptr)(uintptr_t)host, 4), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuMemFree_v2(memory + 4), CUDA_ERROR_INVALID_VALUE);
  GOOD(cuMemFree_v2(memory));
  assert_int_equal(cuMemFree_v2(memory), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuStreamSynchronize((CUstream)(void *)host), CUDA_ERROR_INVALID_HANDLE);
  assert_int_equal(cuMemHostUnregister(host), CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
  GOOD(cuMemHostRegister_v2(host, sizeof host, 0));
  assert_int_equal(cuMemHostRegister_v2(host, sizeof host, 0), CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
  GOOD(cuMemHostUnregister(host));
  /* Bytes that nobody wrote come as 0xcd, and are counted. */
  GOOD(cuMemAlloc_v2(&memory, 64));
  GOOD(cuMemsetD32_v2(memory, 1, 8));
  GOOD(cuMemcpyDtoH_v2(host, memory, 64));
  assert_int_equal(host[15], 0xcdcdcdcd);
  assert_int_equal(fake_cuda_get_counters().unwritten_bytes, 32);
}

/* As a program finds it that opens the driver by its name. */
static void library_test(void **state) {
  (void)state;
  void *library = dlopen(FAKE_CUDA_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  if (!library) fail_msg("%s", dlerror());
  CUresult (*get)(const char *, void **, int, uint64_t, int *);
  void *symbol = dlsym(library, "cuGetProcAddress_v2");
  assert_non_null(symbol);
  memcpy(&get, &symbol, sizeof get);
  static const char *const names[] = {"cuInit",
                                      "cuMemAlloc",
                                      "cuMemAlloc_v2",
                                      "cuGraphInstantiateWithFlags",
                                      "cuLaunchKernelEx",
                                      "cuCtxPushCurrent",
                                      "cuDevicePrimaryCtxRelease",
                                      "cuStreamBeginCapture"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    void *found = NULL;
    int status = 9;
    GOOD(get(names[i], &found, 12000, 0, &status));
    if (!found || status) fail_msg("%s is not found", names[i]);
  }
  void *found = library;
  int status = 0;
  GOOD(get("cuNothing", &found, 12000, 0, &status));
  assert_true(!found && status == 1);
  assert_null(dlsym(library, "ptx_module_create")); /* its own affair */
  dlclose(library);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(plain_test),     cmocka_unit_test(order_test),
                                     cmocka_unit_test(freed_test),     cmocka_unit_test(graph_test),
                                     cmocka_unit_test(dependent_test), cmocka_unit_test(modules_test),
                                     cmocka_unit_test(failures_test),  cmocka_unit_test(library_test)};
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  fake_cuda_reset();
  return failed;
}
