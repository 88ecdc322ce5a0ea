/* See fake_cuda.h. From the top: state, calls and requests; devices and contexts; modules; memory; work in streams; graphs; launches.
 *
 * Everything is under one lock. Work is a list in its stream; `drain` does it. A mark is a place in a stream that is reached or not: events and the order
 * between streams are made of marks, and waiting for one drains its stream up to it. */
#include "fake_cuda.h"

#include "ptx.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))
enum {
  MOST_FUNCTIONS = 128,
  MOST_DEVICES = 8,
  CONTEXT_STACK = 16,
  PLAIN_SHARED_BYTES = 48 * 1024,
  OPTIN_SHARED_BYTES = 227 * 1024
};

typedef struct mark {
  unsigned references;
  bool is_reached;
  double seconds;
  struct CUstream_st *stream; /* where it stands; NULL once it is reached */
} mark;

typedef enum work_kind {
  WORK_NONE,
  WORK_TO_DEVICE,
  WORK_FROM_DEVICE,
  WORK_ON_DEVICE,
  WORK_SET,
  WORK_KERNEL,
  WORK_FREE,
  WORK_MARK,
  WORK_WAIT
} work_kind;
typedef struct work {
  struct work *next;
  work_kind kind;
  CUdeviceptr to, from;
  const void *source; /* of the host: the bytes, or where they will be */
  void *target, *owned;
  size_t bytes;
  unsigned value, width;
  mark *mark;
  struct CUfunc_st *function;
  ptx_launch launch;
} work;

struct CUstream_st {
  struct CUstream_st *next;
  unsigned flags;
  work *first, **last;
  work_kind latest; /* what was queued last, done or not */
  uint32_t launch; /* the number of the latest that was done */
  struct CUgraph_st *capture; /* work goes there instead */
  bool is_origin, is_invalid;
  int mode;
  pthread_t thread; /* that began the capture */
};
struct CUevent_st {
  struct CUevent_st *next;
  mark *mark; /* of the latest record */
  unsigned flags;
  struct CUgraph_st *capture;
};
struct CUgraph_st {
  struct CUgraph_st *next;
  work *first, **last;
  work_kind latest;
};
struct CUgraphExec_st {
  struct CUgraphExec_st *next;
  work *first;
};
struct CUctx_st {
  CUdevice ordinal;
  unsigned references;
};
struct CUfunc_st {
  struct CUfunc_st *next;
  struct CUmod_st *module;
  char *name;
  ptx_kernel_info info;
  int dynamic_shared;
};
struct CUmod_st {
  struct CUmod_st *next;
  ptx_module *module;
  struct CUfunc_st *functions;
};
typedef struct host_range {
  struct host_range *next;
  const char *begin;
  size_t bytes;
  bool is_ours;
} host_range;

typedef struct function_count {
  char name[48];
  uint64_t calls;
  unsigned fail_in;
  CUresult result;
} function_count;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
  bool is_initialised, has_read_environment, is_idle;
  int devices, version, multiprocessors, capability, later_capability; /* of devices after the first; 0: as that */
  uint64_t memory_bytes, seed;
  ptx_device *memory; /* devices share one address space, and one memory */
  struct CUctx_st contexts[MOST_DEVICES];
  struct CUstream_st legacy, *streams;
  struct CUmod_st *modules;
  /* What programs destroy; what a call that fails has left is still the driver's. */
  struct CUevent_st *events;
  struct CUgraph_st *graphs;
  struct CUgraphExec_st *executables;
  host_range *pinned;
  fake_cuda_counters counters;
  function_count functions[MOST_FUNCTIONS];
  size_t function_count;
  CUresult broken; /* by a kernel: the context's last word */
  ptx_report report;
} driver;
static _Thread_local struct {
  CUcontext contexts[CONTEXT_STACK];
  int depth;
} thread;

/* Lists of what programs make and destroy. */
#define LISTED(type, one, list)                                                                                                    \
  static type one##_made(void) {                                                                                                   \
    type fresh = calloc(1, sizeof *fresh);                                                                                         \
    if (!fresh) abort();                                                                                                           \
    fresh->next = driver.list;                                                                                                     \
    return driver.list = fresh;                                                                                                    \
  }                                                                                                                                \
  static void one##_unmade(type old) {                                                                                             \
    type *at = &driver.list;                                                                                                       \
    while (*at && *at != old) at = &(*at)->next;                                                                                   \
    if (!*at) abort(); /* it was destroyed before */                                                                               \
    *at = old->next;                                                                                                               \
    free(old);                                                                                                                     \
  }
LISTED(CUevent, event, events)
LISTED(CUgraph, graph, graphs)
LISTED(CUgraphExec, executable, executables)
#undef LISTED

/* ---- requests ---- */

static size_t stem(const char *name) {
  size_t size = strlen(name);
  return size > 3 && !strcmp(name + size - 3, "_v2") ? size - 3 : size;
}

static function_count *count_of(const char *name) {
  size_t size = stem(name);
  for (size_t i = 0; i < driver.function_count; i++)
    if (strlen(driver.functions[i].name) == size && !strncmp(driver.functions[i].name, name, size)) return &driver.functions[i];
  if (driver.function_count == MOST_FUNCTIONS || size >= sizeof driver.functions->name) return &driver.functions[0];
  function_count *fresh = &driver.functions[driver.function_count++];
  *fresh = (function_count){.calls = 0};
  memcpy(fresh->name, name, size);
  return fresh;
}

static uint64_t environment(const char *name, uint64_t otherwise) {
  const char *text = getenv(name);
  return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

static void read_environment(void) {
  if (driver.has_read_environment) return;
  driver.has_read_environment = true;
  driver.devices = (int)environment("FAKE_CUDA_DEVICES", 1);
  if (driver.devices > MOST_DEVICES) driver.devices = MOST_DEVICES;
  driver.version = (int)environment("FAKE_CUDA_DRIVER", 13000);
  driver.capability = (int)environment("FAKE_CUDA_CAPABILITY", 90);
  driver.multiprocessors = 4; /* few, so that persistent kernels have something to do in turns */
  driver.memory_bytes = environment("FAKE_CUDA_MEMORY", UINT64_C(1) << 30);
  driver.seed = environment("FAKE_CUDA_SEED", 0);
  driver.legacy.last = &driver.legacy.first;
  const char *requests = getenv("FAKE_CUDA_FAIL");
  while (requests && *requests) {
    char name[48];
    unsigned n;
    int result, used = 0;
    if (sscanf(requests, "%47[^:]:%u:%d%n", name, &n, &result, &used) < 3) {
      fprintf(stderr, "fake_cuda: FAKE_CUDA_FAIL is FUNCTION:N:RESULT, found '%s'\n", requests);
      abort();
    }
    function_count *count = count_of(name);
    count->fail_in = n;
    count->result = (CUresult)result;
    requests += used;
    requests += *requests == ',';
  }
}

/* What a request says of this call. */
static CUresult asked_for(function_count *count) {
  if (!count->fail_in || --count->fail_in) return CUDA_SUCCESS;
  return count->result;
}

enum { NEEDS_NOTHING, NEEDS_INIT, NEEDS_CONTEXT };
/* Takes the lock. Not CUDA_SUCCESS: that is what the function gives. */
static CUresult enter(const char *name, int needs) {
  pthread_mutex_lock(&lock);
  read_environment();
  function_count *count = count_of(name);
  count->calls++;
  CUresult asked = asked_for(count);
  if (asked != CUDA_SUCCESS) return asked;
  if (needs >= NEEDS_INIT && !driver.is_initialised) return CUDA_ERROR_NOT_INITIALIZED;
  if (needs >= NEEDS_CONTEXT && (!thread.depth || !thread.contexts[thread.depth - 1])) return CUDA_ERROR_INVALID_CONTEXT;
  if (needs >= NEEDS_CONTEXT && !thread.contexts[thread.depth - 1]->references) return CUDA_ERROR_INVALID_CONTEXT;
  if (needs >= NEEDS_CONTEXT && driver.broken) return driver.broken;
  return CUDA_SUCCESS;
}
static CUresult leave(CUresult result) {
  pthread_mutex_unlock(&lock);
  return result;
}
#define ENTER(needs)                                                                                                               \
  do {                                                                                                                             \
    CUresult entered_ = enter(__func__, needs);                                                                                    \
    if (entered_ != CUDA_SUCCESS) return leave(entered_);                                                                          \
  } while (0)

/* ---- streams and work ---- */

static void let_go(mark *mark) {
  if (mark && --mark->references == 0) free(mark);
}
static void free_work(work *work) {
  let_go(work->mark);
  free(work->owned);
  free(work);
}
static void free_list(work *first) {
  while (first) {
    work *next = first->next;
    free_work(first);
    first = next;
  }
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static CUresult result_of(ptx_kind kind) {
  switch (kind) {
  case PTX_BOUNDS: return CUDA_ERROR_ILLEGAL_ADDRESS;
  case PTX_MISALIGNED: return CUDA_ERROR_MISALIGNED_ADDRESS;
  case PTX_DEADLOCK:
  case PTX_ENDLESS: return CUDA_ERROR_LAUNCH_TIMEOUT;
  case PTX_MEMORY: return CUDA_ERROR_OUT_OF_MEMORY;
  default: return CUDA_ERROR_LAUNCH_FAILED;
  }
}

static void reach(mark *mark);

static void perform(work *work) {
  bool ok = true;
  ptx_report report;
  switch (work->kind) {
  case WORK_TO_DEVICE:
    ok = ptx_device_write(driver.memory, work->to, work->source, work->bytes);
    driver.counters.bytes_to_device += work->bytes;
    break;
  case WORK_FROM_DEVICE:
    ok = ptx_device_read(driver.memory, work->from, work->target, work->bytes, &report);
    driver.counters.bytes_from_device += work->bytes;
    if (ok && report.kind == PTX_UNINITIALISED) {
      for (size_t i = 0; i < work->bytes; i++) driver.counters.unwritten_bytes += ((unsigned char *)work->target)[i] == 0xcd;
      driver.report = report;
    }
    break;
  case WORK_ON_DEVICE:
    ok = ptx_device_copy(driver.memory, work->to, work->from, work->bytes);
    driver.counters.bytes_on_device += work->bytes;
    break;
  case WORK_SET:
    ok = ptx_device_fill(driver.memory, work->to, work->value, work->width, work->bytes);
    driver.counters.bytes_set += work->bytes;
    break;
  case WORK_KERNEL: {
    driver.counters.kernels++;
    CUresult asked = asked_for(count_of("kernel"));
    work->launch.seed = driver.seed + driver.counters.kernels;
    ptx_module *module = work->function->module->module;
    driver.counters.early_bytes -= ptx_module_counters(module).early_bytes;
    if (asked != CUDA_SUCCESS) driver.broken = asked;
    else if (!driver.is_idle && !ptx_launch_run(module, &work->launch, &driver.report))
      driver.broken = result_of(driver.report.kind);
    driver.counters.early_bytes += ptx_module_counters(module).early_bytes;
    if (driver.broken && getenv("FAKE_CUDA_REPORT")) fprintf(stderr, "fake_cuda: %s\n", driver.report.text);
    break;
  }
  case WORK_FREE: ok = ptx_device_free(driver.memory, work->to); break;
  case WORK_MARK:
    work->mark->is_reached = true;
    work->mark->stream = NULL;
    work->mark->seconds = now();
    break;
  case WORK_WAIT: reach(work->mark); break;
  case WORK_NONE: break;
  }
  if (!ok) {
    driver.broken = CUDA_ERROR_ILLEGAL_ADDRESS;
    snprintf(driver.report.text, sizeof driver.report.text, "memory was freed before queued work used it");
  }
}

static void perform_first(CUstream stream) {
  work *work = stream->first;
  stream->first = work->next;
  if (!stream->first) stream->last = &stream->first;
  work->launch.before = stream->launch;
  if (!driver.broken || work->kind == WORK_MARK) perform(work);
  if (work->kind == WORK_KERNEL) stream->launch = ptx_device_launch(driver.memory);
  free_work(work);
}
static void reach(mark *mark) {
  while (!mark->is_reached && mark->stream && mark->stream->first) perform_first(mark->stream);
}
static void drain(CUstream stream) {
  while (stream->first) perform_first(stream);
}

static work *append(work ***last, work_kind kind) {
  work *fresh = calloc(1, sizeof *fresh);
  if (!fresh) abort();
  fresh->kind = kind;
  **last = fresh;
  *last = &fresh->next;
  return fresh;
}
static mark *place_mark(CUstream stream) {
  mark *fresh = calloc(1, sizeof *fresh);
  if (!fresh) abort();
  fresh->references = 1;
  fresh->stream = stream;
  append(&stream->last, WORK_MARK)->mark = fresh;
  return fresh;
}
/* What `behind` does from now on comes after what `before` has to do by now. */
static void depend(CUstream behind, CUstream before) {
  if (!before->first || behind == before) return;
  mark *mark = place_mark(before);
  mark->references++;
  append(&behind->last, WORK_WAIT)->mark = mark;
}
/* The legacy stream and those that block wait for each other. */
static void after_blocking_streams(void) {
  for (CUstream other = driver.streams; other; other = other->next)
    if (!(other->flags & CU_STREAM_NON_BLOCKING)) depend(&driver.legacy, other);
}
static work *queue(CUstream stream, work_kind kind) {
  if (stream->capture) {
    stream->capture->latest = kind;
    return append(&stream->capture->last, kind);
  }
  if (stream == &driver.legacy) after_blocking_streams();
  else if (!(stream->flags & CU_STREAM_NON_BLOCKING)) depend(stream, &driver.legacy);
  stream->latest = kind;
  return append(&stream->last, kind);
}

static bool is_stream(CUstream stream) {
  for (CUstream other = driver.streams; other; other = other->next)
    if (other == stream) return true;
  return false;
}
/* NULL, 1 (the legacy stream by name) and 2 (a thread's own, which is the legacy one here). */
static CUstream find_stream(CUstream stream) {
  if ((uintptr_t)stream <= 2) return &driver.legacy;
  return is_stream(stream) ? stream : NULL;
}
#define STREAM(name)                                                                                                               \
  CUstream name##_ = find_stream(name);                                                                                            \
  if (!name##_) return leave(CUDA_ERROR_INVALID_HANDLE)

/* Calls that would wait for a stream in capture, or that a capture of this mode does not allow, spoil it. */
static bool spoils_capture(bool waits) {
  bool spoils = false;
  for (CUstream stream = driver.streams; stream; stream = stream->next) {
    bool mine = stream->mode == CU_STREAM_CAPTURE_MODE_GLOBAL || pthread_equal(stream->thread, pthread_self());
    if (stream->capture && stream->mode != CU_STREAM_CAPTURE_MODE_RELAXED && (waits || mine)) spoils = stream->is_invalid = true;
  }
  return spoils;
}

/* ---- initialisation, devices, contexts ---- */

EXPORT CUresult cuInit(unsigned flags) {
  ENTER(NEEDS_NOTHING);
  if (flags) return leave(CUDA_ERROR_INVALID_VALUE);
  if (driver.devices < 1) return leave(CUDA_ERROR_NO_DEVICE);
  if (!driver.memory) driver.memory = ptx_device_create(driver.memory_bytes);
  if (!driver.memory) return leave(CUDA_ERROR_OUT_OF_MEMORY);
  for (int i = 0; i < MOST_DEVICES; i++) driver.contexts[i].ordinal = i;
  driver.is_initialised = true;
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuDriverGetVersion(int *version) {
  ENTER(NEEDS_NOTHING);
  if (!version) return leave(CUDA_ERROR_INVALID_VALUE);
  *version = driver.version;
  return leave(CUDA_SUCCESS);
}

static const struct {
  CUresult result;
  const char *name, *text;
} errors[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
    {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {CUDA_ERROR_INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {CUDA_ERROR_NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {CUDA_ERROR_INVALID_PTX, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
     "the provided PTX was compiled with an unsupported toolchain."},
    {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
    {CUDA_ERROR_LAUNCH_TIMEOUT, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"},
    {CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED",
     "part or all of the requested memory range is already mapped"},
    {CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED",
     "pointer does not correspond to a registered memory region"},
    {CUDA_ERROR_MISALIGNED_ADDRESS, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
    {CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED",
     "capture was not ended in the same stream as it began"},
    {CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE, "CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE",
     "the graph update was not performed because it included changes which violated constraints specific to instantiated graph "
     "update"},
    {CUDA_ERROR_UNKNOWN, "CUDA_ERROR_UNKNOWN", "unknown error"},
};
EXPORT CUresult cuGetErrorName(CUresult error, const char **text) {
  for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
    if (errors[i].result == error) return *text = errors[i].name, CUDA_SUCCESS;
  return *text = NULL, CUDA_ERROR_INVALID_VALUE;
}
EXPORT CUresult cuGetErrorString(CUresult error, const char **text) {
  for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
    if (errors[i].result == error) return *text = errors[i].text, CUDA_SUCCESS;
  return *text = NULL, CUDA_ERROR_INVALID_VALUE;
}

EXPORT CUresult cuDeviceGetCount(int *count) {
  ENTER(NEEDS_INIT);
  if (!count) return leave(CUDA_ERROR_INVALID_VALUE);
  *count = driver.devices;
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  ENTER(NEEDS_INIT);
  if (!device) return leave(CUDA_ERROR_INVALID_VALUE);
  if (ordinal < 0 || ordinal >= driver.devices) return leave(CUDA_ERROR_INVALID_DEVICE);
  *device = ordinal;
  return leave(CUDA_SUCCESS);
}
static int capability_of(CUdevice device) {
  return device && driver.later_capability ? driver.later_capability : driver.capability;
}
/* That of the thread's context. */
static int current_capability(void) { return capability_of(thread.contexts[thread.depth - 1]->ordinal); }
#define DEVICE(device)                                                                                                             \
  if ((device) < 0 || (device) >= driver.devices) return leave(CUDA_ERROR_INVALID_DEVICE)
EXPORT CUresult cuDeviceGetName(char *name, int size, CUdevice device) {
  ENTER(NEEDS_INIT);
  DEVICE(device);
  if (!name || size < 1) return leave(CUDA_ERROR_INVALID_VALUE);
  snprintf(name, (size_t)size, "emulator of capability %d.%d", capability_of(device) / 10, capability_of(device) % 10);
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device) {
  ENTER(NEEDS_INIT);
  DEVICE(device);
  if (!value) return leave(CUDA_ERROR_INVALID_VALUE);
  int capability = capability_of(device);
  bool hopper = capability >= 90;
  switch (attribute) {
  case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
  case 2:
  case 3: *value = 1024; break;
  case 4: *value = 64; break;
  case 5: *value = 0x7fffffff; break;
  case 6:
  case 7: *value = 65535; break;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: *value = PLAIN_SHARED_BYTES; break;
  case CU_DEVICE_ATTRIBUTE_WARP_SIZE: *value = 32; break;
  case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
  case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR: *value = 65536; break;
  case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: *value = 1000000; break;
  case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = driver.multiprocessors; break;
  case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
  case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
  case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: *value = 1; break;
  case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: *value = 1000000; break;
  case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH: *value = 5120; break;
  case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: *value = 50 << 20; break;
  case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: *value = 2048; break;
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = capability / 10; break;
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = capability % 10; break;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: *value = (hopper ? 228 : 164) * 1024; break;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: *value = (hopper ? 227 : 163) * 1024; break;
  case CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH: *value = hopper; break;
  default: return leave(CUDA_ERROR_INVALID_VALUE);
  }
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
  ENTER(NEEDS_INIT);
  DEVICE(device);
  *bytes = driver.memory_bytes;
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  ENTER(NEEDS_INIT);
  DEVICE(device);
  if (!context) return leave(CUDA_ERROR_INVALID_VALUE);
  driver.contexts[device].references++;
  *context = &driver.contexts[device];
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  ENTER(NEEDS_INIT);
  DEVICE(device);
  if (!driver.contexts[device].references) return leave(CUDA_ERROR_INVALID_CONTEXT);
  driver.contexts[device].references--;
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuCtxSetCurrent(CUcontext context) {
  ENTER(NEEDS_INIT);
  if (!thread.depth) thread.depth = 1;
  thread.contexts[thread.depth - 1] = context;
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuCtxGetCurrent(CUcontext *context) {
  ENTER(NEEDS_INIT);
  *context = thread.depth ? thread.contexts[thread.depth - 1] : NULL;
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuCtxPushCurrent_v2(CUcontext context) {
  ENTER(NEEDS_INIT);
  if (!context) return leave(CUDA_ERROR_INVALID_CONTEXT);
  if (thread.depth == CONTEXT_STACK) return leave(CUDA_ERROR_OUT_OF_MEMORY);
  thread.contexts[thread.depth++] = context;
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuCtxPopCurrent_v2(CUcontext *context) {
  ENTER(NEEDS_INIT);
  if (!thread.depth) return leave(CUDA_ERROR_INVALID_CONTEXT);
  CUcontext popped = thread.contexts[--thread.depth];
  if (context) *context = popped;
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuCtxGetDevice(CUdevice *device) {
  ENTER(NEEDS_CONTEXT);
  *device = thread.contexts[thread.depth - 1]->ordinal;
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuCtxSynchronize(void) {
  ENTER(NEEDS_CONTEXT);
  if (spoils_capture(true)) return leave(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  driver.counters.synchronisations++;
  drain(&driver.legacy);
  for (CUstream stream = driver.streams; stream; stream = stream->next) drain(stream);
  return leave(driver.broken);
}

/* ---- modules ---- */

/* Which toolkit brought a version of PTX, as the driver counts: 8.6 came with 12.7. */
static int driver_for(int major, int minor) {
  static const int newest[][2] = {{8, 12000}, {9, 13000}};
  if (major < 7) return 0;
  if (major == 7) return 11000 + 10 * minor;
  if (major == 8 && minor <= 5) return newest[0][1] + 10 * minor;
  if (major == 8) return newest[0][1] + 10 * (minor + 1);
  return newest[1][1] + 10 * minor + 1000 * (major - 9);
}

static CUresult load(CUmodule *out, const char *image, char *log, size_t log_bytes) {
  unsigned char first[4];
  memcpy(first, image, 1);
  driver.report = (ptx_report){.kind = PTX_OK};
  CUresult result = CUDA_SUCCESS;
  if (first[0] == 0x7f || first[0] == 0x50) {
    snprintf(driver.report.text, sizeof driver.report.text, "the image is %s: the emulator takes PTX only",
             first[0] == 0x7f ? "a cubin" : "a fat binary");
    result = CUDA_ERROR_NO_BINARY_FOR_GPU;
  }
  ptx_module *module = NULL;
  if (!result) {
    int major = 0, minor = 0, capability = 0, own = current_capability();
    char suffix = ' ';
    const char *version = strstr(image, ".version"), *target = strstr(image, ".target");
    if (version && sscanf(version, ".version %d.%d", &major, &minor) == 2 && driver_for(major, minor) > driver.version) {
      snprintf(driver.report.text, sizeof driver.report.text, "PTX %d.%d needs a driver of version %d or later, found %d", major,
               minor, driver_for(major, minor), driver.version);
      result = CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
    } else if (target && sscanf(target, ".target sm_%d%c", &capability, &suffix) >= 1 &&
               (suffix == 'a' ? capability != own : capability > own)) {
      snprintf(driver.report.text, sizeof driver.report.text, "PTX for sm_%d%s does not run on capability %d.%d", capability,
               suffix == 'a' ? "a" : "", own / 10, own % 10);
      result = CUDA_ERROR_NO_BINARY_FOR_GPU;
    } else {
      module = ptx_module_create(driver.memory, image, strlen(image), &driver.report);
      if (!module) result = driver.report.kind == PTX_MEMORY ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_PTX;
    }
  }
  if (log && log_bytes) snprintf(log, log_bytes, "%s", driver.report.text);
  if (result) return result;
  CUmodule fresh = calloc(1, sizeof *fresh);
  if (!fresh) abort();
  fresh->module = module;
  fresh->next = driver.modules;
  driver.modules = fresh;
  driver.counters.live_modules++;
  *out = fresh;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuModuleLoadData(CUmodule *module, const void *image) {
  ENTER(NEEDS_CONTEXT);
  if (!module || !image) return leave(CUDA_ERROR_INVALID_VALUE);
  return leave(load(module, image, NULL, 0));
}
EXPORT CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned count, int *options, void **values) {
  ENTER(NEEDS_CONTEXT);
  if (!module || !image || (count && (!options || !values))) return leave(CUDA_ERROR_INVALID_VALUE);
  char *log = NULL;
  size_t log_bytes = 0;
  for (unsigned i = 0; i < count; i++) {
    if (options[i] == CU_JIT_ERROR_LOG_BUFFER) log = values[i];
    if (options[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES) log_bytes = (size_t)(uintptr_t)values[i];
  }
  return leave(load(module, image, log, log_bytes));
}
static void forget_module(CUmodule module) {
  while (module->functions) {
    CUfunction next = module->functions->next;
    free(module->functions->name);
    free(module->functions);
    module->functions = next;
  }
  ptx_module_destroy(module->module);
  free(module);
  driver.counters.live_modules--;
}
EXPORT CUresult cuModuleUnload(CUmodule module) {
  ENTER(NEEDS_CONTEXT);
  CUmodule *at = &driver.modules;
  while (*at && *at != module) at = &(*at)->next;
  if (!*at) return leave(CUDA_ERROR_INVALID_HANDLE);
  drain(&driver.legacy); /* what was launched of it runs first */
  for (CUstream stream = driver.streams; stream; stream = stream->next) drain(stream);
  *at = module->next;
  forget_module(module);
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
  ENTER(NEEDS_CONTEXT);
  ptx_kernel_info info;
  if (!function || !module || !name) return leave(CUDA_ERROR_INVALID_VALUE);
  if (!ptx_module_kernel(module->module, name, 0, &info)) return leave(CUDA_ERROR_NOT_FOUND);
  for (CUfunction one = module->functions; one; one = one->next)
    if (!strcmp(one->name, name)) return *function = one, leave(CUDA_SUCCESS);
  CUfunction fresh = calloc(1, sizeof *fresh);
  if (!fresh) abort();
  *fresh = (struct CUfunc_st){.next = module->functions,
                              .module = module,
                              .name = strdup(name),
                              .info = info,
                              .dynamic_shared = PLAIN_SHARED_BYTES - (int)info.shared_bytes};
  module->functions = *function = fresh;
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuModuleGetGlobal_v2(CUdeviceptr *address, size_t *bytes, CUmodule module, const char *name) {
  ENTER(NEEDS_CONTEXT);
  uint64_t at, size;
  if (!module || !name) return leave(CUDA_ERROR_INVALID_VALUE);
  if (!ptx_module_global(module->module, name, &at, &size)) return leave(CUDA_ERROR_NOT_FOUND);
  if (address) *address = at;
  if (bytes) *bytes = size;
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuFuncGetAttribute(int *value, int attribute, CUfunction function) {
  ENTER(NEEDS_CONTEXT);
  if (!value || !function) return leave(CUDA_ERROR_INVALID_VALUE);
  switch (attribute) {
  case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = (int)function->info.most_threads; break;
  case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES: *value = (int)function->info.shared_bytes; break;
  case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES: *value = 0; break;
  case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES: *value = (int)function->info.local_bytes; break;
  case CU_FUNC_ATTRIBUTE_NUM_REGS: *value = 32; break; /* nothing here allocates registers */
  case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: *value = function->dynamic_shared; break;
  default: return leave(CUDA_ERROR_INVALID_VALUE);
  }
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuFuncSetAttribute(CUfunction function, int attribute, int value) {
  ENTER(NEEDS_CONTEXT);
  if (!function) return leave(CUDA_ERROR_INVALID_HANDLE);
  if (attribute == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT) return leave(CUDA_SUCCESS);
  int most = (current_capability() >= 90 ? OPTIN_SHARED_BYTES : 163 * 1024) - (int)function->info.shared_bytes;
  if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || value < 0 || value > most)
    return leave(CUDA_ERROR_INVALID_VALUE);
  function->dynamic_shared = value;
  return leave(CUDA_SUCCESS);
}

/* ---- memory ---- */

static CUresult allocate(CUdeviceptr *address, size_t bytes) {
  if (!address || !bytes) return CUDA_ERROR_INVALID_VALUE;
  char name[32];
  snprintf(name, sizeof name, "allocation %llu", (unsigned long long)++driver.counters.allocations);
  *address = ptx_device_allocate(driver.memory, bytes, 512, name);
  return *address ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}
static bool begins(CUdeviceptr address) {
  uint64_t base, bytes;
  return ptx_device_find(driver.memory, address, &base, &bytes) && base == address;
}
static bool is_within(CUdeviceptr address, size_t bytes) {
  uint64_t base, size;
  return ptx_device_find(driver.memory, address, &base, &size) && bytes <= size - (address - base);
}

EXPORT CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t bytes) {
  ENTER(NEEDS_CONTEXT);
  if (spoils_capture(false)) return leave(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  CUresult result = allocate(address, bytes);
  driver.counters.live_allocations += result == CUDA_SUCCESS;
  return leave(result);
}
EXPORT CUresult cuMemFree_v2(CUdeviceptr address) {
  ENTER(NEEDS_CONTEXT);
  if (!address) return leave(CUDA_SUCCESS);
  if (spoils_capture(false)) return leave(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  if (!begins(address)) return leave(CUDA_ERROR_INVALID_VALUE);
  drain(&driver.legacy); /* freeing waits for what is queued */
  for (CUstream stream = driver.streams; stream; stream = stream->next) drain(stream);
  if (!ptx_device_free(driver.memory, address)) return leave(CUDA_ERROR_INVALID_VALUE);
  driver.counters.live_allocations--;
  return leave(driver.broken);
}
EXPORT CUresult cuMemAllocAsync(CUdeviceptr *address, size_t bytes, CUstream stream) {
  ENTER(NEEDS_CONTEXT);
  STREAM(stream);
  if (stream_->capture) return leave(CUDA_ERROR_NOT_SUPPORTED);
  CUresult result = allocate(address, bytes);
  driver.counters.live_allocations += result == CUDA_SUCCESS;
  return leave(result);
}
EXPORT CUresult cuMemFreeAsync(CUdeviceptr address, CUstream stream) {
  ENTER(NEEDS_CONTEXT);
  STREAM(stream);
  if (stream_->capture) return leave(CUDA_ERROR_NOT_SUPPORTED);
  if (!begins(address)) return leave(CUDA_ERROR_INVALID_VALUE);
  queue(stream_, WORK_FREE)->to = address;
  driver.counters.live_allocations--;
  return leave(CUDA_SUCCESS);
}

static void pin(void *memory, size_t bytes, bool is_ours) {
  host_range *fresh = calloc(1, sizeof *fresh);
  if (!fresh) abort();
  *fresh = (host_range){driver.pinned, memory, bytes, is_ours};
  driver.pinned = fresh;
  driver.counters.live_host_allocations += is_ours;
}
static host_range **find_pinned(const void *memory) {
  host_range **at = &driver.pinned;
  while (*at && (*at)->begin != memory) at = &(*at)->next;
  return at;
}
static bool is_pinned(const void *memory, size_t bytes) {
  for (const host_range *range = driver.pinned; range; range = range->next)
    if ((const char *)memory >= range->begin && (const char *)memory + bytes <= range->begin + range->bytes) return true;
  return false;
}
EXPORT CUresult cuMemAllocHost_v2(void **memory, size_t bytes) {
  ENTER(NEEDS_CONTEXT);
  if (!memory || !bytes) return leave(CUDA_ERROR_INVALID_VALUE);
  *memory = malloc(bytes);
  if (!*memory) return leave(CUDA_ERROR_OUT_OF_MEMORY);
  pin(*memory, bytes, true);
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuMemFreeHost(void *memory) {
  ENTER(NEEDS_CONTEXT);
  host_range **at = find_pinned(memory), *range = *at;
  if (!range || !range->is_ours) return leave(CUDA_ERROR_INVALID_VALUE);
  *at = range->next;
  free(memory);
  free(range);
  driver.counters.live_host_allocations--;
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuMemHostRegister_v2(void *memory, size_t bytes, unsigned flags) {
  ENTER(NEEDS_CONTEXT);
  if (!memory || !bytes || flags > 15) return leave(CUDA_ERROR_INVALID_VALUE);
  if (*find_pinned(memory)) return leave(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
  pin(memory, bytes, false);
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuMemHostUnregister(void *memory) {
  ENTER(NEEDS_CONTEXT);
  host_range **at = find_pinned(memory), *range = *at;
  if (!range || range->is_ours) return leave(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
  *at = range->next;
  free(range);
  return leave(CUDA_SUCCESS);
}

/* Copies. One that waits, and one to the host's pageable memory, is done when the call returns. */
static CUresult to_device(CUdeviceptr to, const void *from, size_t bytes, CUstream stream, bool waits) {
  if (!bytes) return CUDA_SUCCESS;
  if (!from || !is_within(to, bytes)) return CUDA_ERROR_INVALID_VALUE;
  if (waits && spoils_capture(true)) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  work *work = queue(stream, WORK_TO_DEVICE);
  work->to = to;
  work->source = from;
  work->bytes = bytes;
  if (!waits && !stream->capture && !is_pinned(from, bytes)) { /* a graph reads when it runs */
    if (!(work->owned = malloc(bytes))) abort();
    work->source = memcpy(work->owned, from, bytes);
  }
  driver.counters.copies++;
  if (!waits) return CUDA_SUCCESS;
  driver.counters.synchronisations++;
  drain(stream);
  return driver.broken;
}
static CUresult from_device(void *to, CUdeviceptr from, size_t bytes, CUstream stream, bool waits) {
  if (!bytes) return CUDA_SUCCESS;
  if (!to || !is_within(from, bytes)) return CUDA_ERROR_INVALID_VALUE;
  if (waits && spoils_capture(true)) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  work *work = queue(stream, WORK_FROM_DEVICE);
  work->from = from;
  work->target = to;
  work->bytes = bytes;
  driver.counters.copies++;
  driver.counters.synchronisations += waits;
  if (stream->capture || (!waits && is_pinned(to, bytes))) return CUDA_SUCCESS;
  drain(stream);
  return driver.broken;
}
static CUresult on_device(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  if (!bytes) return CUDA_SUCCESS;
  if (!is_within(to, bytes) || !is_within(from, bytes)) return CUDA_ERROR_INVALID_VALUE;
  work *work = queue(stream, WORK_ON_DEVICE);
  work->to = to;
  work->from = from;
  work->bytes = bytes;
  driver.counters.copies++;
  return CUDA_SUCCESS;
}
static CUresult set(CUdeviceptr to, unsigned value, unsigned width, size_t count, CUstream stream) {
  if (!count) return CUDA_SUCCESS;
  if (!is_within(to, count * width) || to % width) return CUDA_ERROR_INVALID_VALUE;
  work *work = queue(stream, WORK_SET);
  work->to = to;
  work->value = value;
  work->width = width;
  work->bytes = count * width;
  return CUDA_SUCCESS;
}
EXPORT CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes) {
  ENTER(NEEDS_CONTEXT);
  return leave(to_device(to, from, bytes, &driver.legacy, true));
}
EXPORT CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes) {
  ENTER(NEEDS_CONTEXT);
  return leave(from_device(to, from, bytes, &driver.legacy, true));
}
EXPORT CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) { /* the host does not wait for it */
  ENTER(NEEDS_CONTEXT);
  if (spoils_capture(true)) return leave(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  return leave(on_device(to, from, bytes, &driver.legacy));
}
EXPORT CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
  ENTER(NEEDS_CONTEXT);
  STREAM(stream);
  return leave(to_device(to, from, bytes, stream_, false));
}
EXPORT CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
  ENTER(NEEDS_CONTEXT);
  STREAM(stream);
  return leave(from_device(to, from, bytes, stream_, false));
}
EXPORT CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  ENTER(NEEDS_CONTEXT);
  STREAM(stream);
  return leave(on_device(to, from, bytes, stream_));
}
EXPORT CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t count) {
  ENTER(NEEDS_CONTEXT);
  if (spoils_capture(true)) return leave(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  return leave(set(to, value, 1, count, &driver.legacy));
}
EXPORT CUresult cuMemsetD32_v2(CUdeviceptr to, unsigned value, size_t count) {
  ENTER(NEEDS_CONTEXT);
  if (spoils_capture(true)) return leave(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  return leave(set(to, value, 4, count, &driver.legacy));
}
EXPORT CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream stream) {
  ENTER(NEEDS_CONTEXT);
  STREAM(stream);
  return leave(set(to, value, 1, count, stream_));
}
EXPORT CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream stream) {
  ENTER(NEEDS_CONTEXT);
  STREAM(stream);
  return leave(set(to, value, 4, count, stream_));
}
EXPORT CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes) {
  ENTER(NEEDS_CONTEXT);
  *total_bytes = driver.memory_bytes;
  *free_bytes = driver.memory_bytes - ptx_device_used_bytes(driver.memory);
  return leave(CUDA_SUCCESS);
}

static CUresult describe(void *value, int attribute, CUdeviceptr address) {
  uint64_t base, bytes;
  bool device = ptx_device_find(driver.memory, address, &base, &bytes),
       host = !device && is_pinned((const void *)(uintptr_t)address, 1);
  if (!value || (!device && !host)) return CUDA_ERROR_INVALID_VALUE;
  switch (attribute) {
  case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
    *(unsigned *)value = device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
    return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: *(int *)value = 0; return CUDA_SUCCESS;
  default: break;
  }
  if (!device) return CUDA_ERROR_INVALID_VALUE;
  switch (attribute) {
  case CU_POINTER_ATTRIBUTE_DEVICE_POINTER: *(CUdeviceptr *)value = address; return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR: *(CUdeviceptr *)value = base; return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_RANGE_SIZE: *(size_t *)value = bytes; return CUDA_SUCCESS;
  default: return CUDA_ERROR_INVALID_VALUE;
  }
}
EXPORT CUresult cuPointerGetAttribute(void *value, int attribute, CUdeviceptr address) {
  ENTER(NEEDS_CONTEXT);
  return leave(describe(value, attribute, address));
}
EXPORT CUresult cuPointerGetAttributes(unsigned count, int *attributes, void **values, CUdeviceptr address) {
  ENTER(NEEDS_CONTEXT);
  for (unsigned i = 0; i < count; i++)
    if (describe(values[i], attributes[i], address) != CUDA_SUCCESS) { /* zero says that nothing is known */
      bool wide = attributes[i] == CU_POINTER_ATTRIBUTE_DEVICE_POINTER || attributes[i] == CU_POINTER_ATTRIBUTE_RANGE_START_ADDR ||
                  attributes[i] == CU_POINTER_ATTRIBUTE_RANGE_SIZE;
      memset(values[i], 0, wide ? 8 : 4);
    }
  return leave(CUDA_SUCCESS);
}

/* ---- streams and events ---- */

EXPORT CUresult cuStreamCreate(CUstream *stream, unsigned flags) {
  ENTER(NEEDS_CONTEXT);
  if (!stream || flags > 1) return leave(CUDA_ERROR_INVALID_VALUE);
  CUstream fresh = calloc(1, sizeof *fresh);
  if (!fresh) abort();
  fresh->flags = flags;
  fresh->last = &fresh->first;
  fresh->next = driver.streams;
  driver.streams = *stream = fresh;
  driver.counters.live_streams++;
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuStreamDestroy_v2(CUstream stream) {
  ENTER(NEEDS_INIT);
  if (!is_stream(stream)) return leave(CUDA_ERROR_INVALID_HANDLE);
  drain(stream); /* its work is done all the same */
  CUstream *at = &driver.streams;
  while (*at != stream) at = &(*at)->next;
  *at = stream->next;
  free(stream);
  driver.counters.live_streams--;
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuStreamSynchronize(CUstream stream) {
  ENTER(NEEDS_CONTEXT);
  STREAM(stream);
  if (stream_->capture) return stream_->is_invalid = true, leave(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  driver.counters.synchronisations++;
  if (stream_ == &driver.legacy) after_blocking_streams();
  drain(stream_);
  return leave(driver.broken);
}
EXPORT CUresult cuStreamQuery(CUstream stream) {
  ENTER(NEEDS_CONTEXT);
  STREAM(stream);
  if (stream_->capture) return stream_->is_invalid = true, leave(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  if (!stream_->first) return leave(CUDA_SUCCESS);
  perform_first(stream_); /* so that who asks again and again comes to an end */
  return leave(driver.broken ? driver.broken : CUDA_ERROR_NOT_READY);
}
EXPORT CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags) {
  ENTER(NEEDS_CONTEXT);
  STREAM(stream);
  if (!event || flags > 1) return leave(CUDA_ERROR_INVALID_VALUE);
  if (event->capture) { /* the stream joins the capture; its order is the order of the calls */
    if (stream_->capture && stream_->capture != event->capture) return leave(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    if (stream_ == &driver.legacy) return leave(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    stream_->capture = event->capture;
    return leave(CUDA_SUCCESS);
  }
  if (stream_->capture) return stream_->is_invalid = true, leave(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  if (!event->mark || event->mark->is_reached) return leave(CUDA_SUCCESS);
  event->mark->references++;
  queue(stream_, WORK_WAIT)->mark = event->mark;
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuEventCreate(CUevent *event, unsigned flags) {
  ENTER(NEEDS_CONTEXT);
  if (!event || flags > 7) return leave(CUDA_ERROR_INVALID_VALUE);
  *event = event_made();
  (*event)->flags = flags;
  driver.counters.live_events++;
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuEventDestroy_v2(CUevent event) {
  ENTER(NEEDS_INIT);
  if (!event) return leave(CUDA_ERROR_INVALID_HANDLE);
  let_go(event->mark);
  event_unmade(event);
  driver.counters.live_events--;
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuEventRecord(CUevent event, CUstream stream) {
  ENTER(NEEDS_CONTEXT);
  STREAM(stream);
  if (!event) return leave(CUDA_ERROR_INVALID_HANDLE);
  event->capture = stream_->capture;
  if (stream_->capture) return leave(CUDA_SUCCESS);
  let_go(event->mark);
  mark *fresh = calloc(1, sizeof *fresh);
  if (!fresh) abort();
  *fresh = (mark){.references = 2, .stream = stream_};
  event->mark = queue(stream_, WORK_MARK)->mark = fresh;
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuEventQuery(CUevent event) {
  ENTER(NEEDS_CONTEXT);
  if (!event) return leave(CUDA_ERROR_INVALID_HANDLE);
  if (event->capture) return leave(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  if (!event->mark || event->mark->is_reached) return leave(CUDA_SUCCESS);
  if (event->mark->stream && event->mark->stream->first) perform_first(event->mark->stream);
  return leave(driver.broken ? driver.broken : CUDA_ERROR_NOT_READY);
}
EXPORT CUresult cuEventSynchronize(CUevent event) {
  ENTER(NEEDS_CONTEXT);
  if (!event) return leave(CUDA_ERROR_INVALID_HANDLE);
  if (event->capture) return leave(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  driver.counters.synchronisations++;
  if (event->mark) reach(event->mark);
  return leave(driver.broken);
}
EXPORT CUresult cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end) {
  ENTER(NEEDS_CONTEXT);
  if (!milliseconds || !start || !end || !start->mark || !end->mark || ((start->flags | end->flags) & CU_EVENT_DISABLE_TIMING))
    return leave(CUDA_ERROR_INVALID_HANDLE);
  if (!start->mark->is_reached || !end->mark->is_reached) return leave(CUDA_ERROR_NOT_READY);
  *milliseconds = (float)((end->mark->seconds - start->mark->seconds) * 1e3); /* of the emulator: says nothing of a device */
  return leave(CUDA_SUCCESS);
}

/* ---- graphs ---- */

EXPORT CUresult cuStreamBeginCapture_v2(CUstream stream, int mode) {
  ENTER(NEEDS_CONTEXT);
  STREAM(stream);
  if (stream_ == &driver.legacy) return leave(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  if (stream_->capture || mode < 0 || mode > 2) return leave(CUDA_ERROR_INVALID_VALUE);
  CUgraph fresh = graph_made();
  fresh->last = &fresh->first;
  stream_->capture = fresh;
  stream_->is_origin = true;
  stream_->is_invalid = false;
  stream_->mode = mode;
  stream_->thread = pthread_self();
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph) {
  ENTER(NEEDS_CONTEXT);
  STREAM(stream);
  if (!graph || !stream_->capture) return leave(CUDA_ERROR_INVALID_VALUE);
  if (!stream_->is_origin) return leave(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
  CUgraph made = stream_->capture;
  bool is_invalid = false;
  for (CUstream other = driver.streams; other; other = other->next)
    if (other->capture == made) {
      is_invalid |= other->is_invalid;
      other->capture = NULL;
      other->is_origin = other->is_invalid = false;
    }
  *graph = is_invalid ? NULL : made;
  if (is_invalid) {
    free_list(made->first);
    graph_unmade(made);
    return leave(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  }
  driver.counters.live_graphs++;
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuStreamIsCapturing(CUstream stream, int *status) {
  ENTER(NEEDS_CONTEXT);
  STREAM(stream);
  *status = !stream_->capture     ? CU_STREAM_CAPTURE_STATUS_NONE
            : stream_->is_invalid ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                  : CU_STREAM_CAPTURE_STATUS_ACTIVE;
  return leave(CUDA_SUCCESS);
}

/* A copy with bytes of its own. */
static void copy_work(work *to, const work *from) {
  work *next = to->next;
  *to = *from;
  to->next = next;
  size_t bytes = from->kind == WORK_KERNEL ? from->launch.argument_bytes : from->bytes;
  if (!from->owned) return;
  if (!(to->owned = malloc(bytes ? bytes : 1))) abort();
  memcpy(to->owned, from->owned, bytes);
  if (from->kind == WORK_KERNEL) to->launch.arguments = to->owned;
  else to->source = to->owned;
}
static void fill_exec(CUgraphExec exec, const struct CUgraph_st *graph) {
  work **last = &exec->first;
  exec->first = NULL;
  for (const work *one = graph->first; one; one = one->next) copy_work(append(&last, one->kind), one);
}
static CUresult instantiate(CUgraphExec *exec, CUgraph graph) {
  if (!exec || !graph) return CUDA_ERROR_INVALID_VALUE;
  *exec = executable_made();
  fill_exec(*exec, graph);
  driver.counters.live_graphs++;
  return CUDA_SUCCESS;
}
EXPORT CUresult cuGraphInstantiate_v2(CUgraphExec *exec, CUgraph graph, CUgraphNode *error_node, char *log, size_t log_bytes) {
  ENTER(NEEDS_CONTEXT);
  if (error_node) *error_node = NULL;
  if (log && log_bytes) *log = '\0';
  return leave(instantiate(exec, graph));
}
EXPORT CUresult cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph, unsigned long long flags) {
  ENTER(NEEDS_CONTEXT);
  (void)flags;
  return leave(instantiate(exec, graph));
}
EXPORT CUresult cuGraphExecUpdate(CUgraphExec exec, CUgraph graph, CUgraphNode *error_node, int *result) {
  ENTER(NEEDS_CONTEXT);
  if (!exec || !graph || !error_node || !result) return leave(CUDA_ERROR_INVALID_VALUE);
  *error_node = NULL;
  *result = 0;
  const work *have = exec->first, *want = graph->first;
  while (have && want && have->kind == want->kind) have = have->next, want = want->next;
  if (have || want) return *result = 2, leave(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
  free_list(exec->first);
  fill_exec(exec, graph);
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream) {
  ENTER(NEEDS_CONTEXT);
  STREAM(stream);
  if (!exec) return leave(CUDA_ERROR_INVALID_VALUE);
  if (stream_->capture) return leave(CUDA_ERROR_NOT_SUPPORTED);
  for (const work *one = exec->first; one; one = one->next) copy_work(queue(stream_, one->kind), one);
  driver.counters.graph_launches++;
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuGraphDestroy(CUgraph graph) {
  ENTER(NEEDS_INIT);
  if (!graph) return leave(CUDA_ERROR_INVALID_VALUE);
  free_list(graph->first);
  graph_unmade(graph);
  driver.counters.live_graphs--;
  return leave(CUDA_SUCCESS);
}
EXPORT CUresult cuGraphExecDestroy(CUgraphExec exec) {
  ENTER(NEEDS_INIT);
  if (!exec) return leave(CUDA_ERROR_INVALID_VALUE);
  free_list(exec->first);
  executable_unmade(exec);
  driver.counters.live_graphs--;
  return leave(CUDA_SUCCESS);
}

/* ---- launches ---- */

static CUresult launch(CUfunction function, const ptx_launch *shape, CUstream stream, void **parameters, void **extra) {
  if (!function) return CUDA_ERROR_INVALID_HANDLE;
  uint64_t threads = 1;
  for (int i = 0; i < 3; i++) {
    if (!shape->grid[i] || !shape->block[i]) return CUDA_ERROR_INVALID_VALUE;
    threads *= shape->block[i];
  }
  if (threads > function->info.most_threads) return CUDA_ERROR_INVALID_VALUE;
  if (function->info.block[0] && memcmp(function->info.block, shape->block, sizeof shape->block)) return CUDA_ERROR_INVALID_VALUE;
  if (shape->shared_bytes > (unsigned)(function->dynamic_shared < 0 ? 0 : function->dynamic_shared)) {
    snprintf(driver.report.text, sizeof driver.report.text,
             "%s: %u bytes of dynamic shared memory, %d are allowed (cuFuncSetAttribute)", function->name, shape->shared_bytes,
             function->dynamic_shared);
    return CUDA_ERROR_INVALID_VALUE;
  }
  uint32_t bytes = function->info.parameter_bytes;
  if (bytes && !parameters && !extra) return CUDA_ERROR_INVALID_VALUE;
  unsigned char *arguments = calloc(1, bytes ? bytes : 1);
  if (!arguments) abort();
  if (parameters)
    for (uint32_t i = 0; i < function->info.parameters; i++) {
      uint32_t offset, size;
      if (ptx_module_parameter(function->module->module, function->name, i, &offset, &size))
        memcpy(arguments + offset, parameters[i], size);
    }
  else if (extra) {
    const void *buffer = NULL;
    size_t given = 0;
    for (; *extra != CU_LAUNCH_PARAM_END; extra += 2) {
      if (extra[0] == CU_LAUNCH_PARAM_BUFFER_POINTER) buffer = extra[1];
      if (extra[0] == CU_LAUNCH_PARAM_BUFFER_SIZE) given = *(const size_t *)extra[1];
    }
    if (given < bytes || !buffer) return free(arguments), CUDA_ERROR_INVALID_VALUE;
    memcpy(arguments, buffer, bytes);
  }
  if (shape->dependence) {
    driver.counters.dependents++;
    driver.counters.misplaced += (stream->capture ? stream->capture->latest : stream->latest) != WORK_KERNEL;
  }
  work *work = queue(stream, WORK_KERNEL);
  work->function = function;
  work->owned = arguments;
  work->launch = *shape;
  work->launch.kernel = function->name;
  work->launch.arguments = arguments;
  work->launch.argument_bytes = bytes;
  driver.counters.launches += !stream->capture;
  return CUDA_SUCCESS;
}
EXPORT CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                               unsigned block_y, unsigned block_z, unsigned shared_bytes, CUstream stream, void **parameters,
                               void **extra) {
  ENTER(NEEDS_CONTEXT);
  STREAM(stream);
  ptx_launch shape = {.grid = {grid_x, grid_y, grid_z}, .block = {block_x, block_y, block_z}, .shared_bytes = shared_bytes};
  return leave(launch(function, &shape, stream_, parameters, extra));
}
EXPORT CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **parameters, void **extra) {
  ENTER(NEEDS_CONTEXT);
  if (!config || (config->numAttrs && !config->attrs)) return leave(CUDA_ERROR_INVALID_VALUE);
  CUstream stream = config->hStream;
  STREAM(stream);
  ptx_launch shape = {.grid = {config->gridDimX, config->gridDimY, config->gridDimZ},
                      .block = {config->blockDimX, config->blockDimY, config->blockDimZ},
                      .shared_bytes = config->sharedMemBytes};
  for (unsigned i = 0; i < config->numAttrs; i++)
    if (config->attrs[i].id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION) {
      if (!config->attrs[i].value.programmaticStreamSerializationAllowed) continue;
      if (current_capability() < 90) return leave(CUDA_ERROR_NOT_SUPPORTED);
      if (stream_->capture && driver.version < 12030) {
        stream_->is_invalid = true;
        return leave(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
      }
      shape.dependence = PTX_DEPENDENT;
    } else if (config->attrs[i].id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION) {
      shape.cluster[0] = config->attrs[i].value.clusterDim.x;
      shape.cluster[1] = config->attrs[i].value.clusterDim.y;
      shape.cluster[2] = config->attrs[i].value.clusterDim.z;
    }
  return leave(launch(function, &shape, stream_, parameters, extra));
}

/* ---- the functions by name ---- */

#define FUNCTION(name) {#name, (void (*)(void))name}
static const struct {
  const char *name;
  void (*function)(void);
} exported[] = {FUNCTION(cuInit),
                FUNCTION(cuDriverGetVersion),
                FUNCTION(cuGetErrorName),
                FUNCTION(cuGetErrorString),
                FUNCTION(cuGetProcAddress_v2),
                FUNCTION(cuDeviceGetCount),
                FUNCTION(cuDeviceGet),
                FUNCTION(cuDeviceGetName),
                FUNCTION(cuDeviceGetAttribute),
                FUNCTION(cuDeviceTotalMem_v2),
                FUNCTION(cuDevicePrimaryCtxRetain),
                FUNCTION(cuDevicePrimaryCtxRelease_v2),
                FUNCTION(cuCtxSetCurrent),
                FUNCTION(cuCtxGetCurrent),
                FUNCTION(cuCtxPushCurrent_v2),
                FUNCTION(cuCtxPopCurrent_v2),
                FUNCTION(cuCtxGetDevice),
                FUNCTION(cuCtxSynchronize),
                FUNCTION(cuModuleLoadData),
                FUNCTION(cuModuleLoadDataEx),
                FUNCTION(cuModuleUnload),
                FUNCTION(cuModuleGetFunction),
                FUNCTION(cuModuleGetGlobal_v2),
                FUNCTION(cuFuncGetAttribute),
                FUNCTION(cuFuncSetAttribute),
                FUNCTION(cuMemAlloc_v2),
                FUNCTION(cuMemFree_v2),
                FUNCTION(cuMemAllocAsync),
                FUNCTION(cuMemFreeAsync),
                FUNCTION(cuMemAllocHost_v2),
                FUNCTION(cuMemFreeHost),
                FUNCTION(cuMemHostRegister_v2),
                FUNCTION(cuMemHostUnregister),
                FUNCTION(cuMemcpyHtoD_v2),
                FUNCTION(cuMemcpyDtoH_v2),
                FUNCTION(cuMemcpyDtoD_v2),
                FUNCTION(cuMemcpyHtoDAsync_v2),
                FUNCTION(cuMemcpyDtoHAsync_v2),
                FUNCTION(cuMemcpyDtoDAsync_v2),
                FUNCTION(cuMemsetD8_v2),
                FUNCTION(cuMemsetD32_v2),
                FUNCTION(cuMemsetD8Async),
                FUNCTION(cuMemsetD32Async),
                FUNCTION(cuMemGetInfo_v2),
                FUNCTION(cuPointerGetAttribute),
                FUNCTION(cuPointerGetAttributes),
                FUNCTION(cuStreamCreate),
                FUNCTION(cuStreamDestroy_v2),
                FUNCTION(cuStreamSynchronize),
                FUNCTION(cuStreamQuery),
                FUNCTION(cuStreamWaitEvent),
                FUNCTION(cuStreamBeginCapture_v2),
                FUNCTION(cuStreamEndCapture),
                FUNCTION(cuStreamIsCapturing),
                FUNCTION(cuEventCreate),
                FUNCTION(cuEventDestroy_v2),
                FUNCTION(cuEventRecord),
                FUNCTION(cuEventQuery),
                FUNCTION(cuEventSynchronize),
                FUNCTION(cuEventElapsedTime),
                FUNCTION(cuGraphInstantiateWithFlags),
                FUNCTION(cuGraphInstantiate_v2),
                FUNCTION(cuGraphExecUpdate),
                FUNCTION(cuGraphLaunch),
                FUNCTION(cuGraphDestroy),
                FUNCTION(cuGraphExecDestroy),
                FUNCTION(cuLaunchKernel),
                FUNCTION(cuLaunchKernelEx)};

EXPORT CUresult cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags, int *status) {
  ENTER(NEEDS_NOTHING);
  (void)version, (void)flags;
  if (!symbol || !function) return leave(CUDA_ERROR_INVALID_VALUE);
  *function = NULL;
  if (status) *status = 1; /* not found */
  for (size_t i = 0; i < sizeof exported / sizeof *exported; i++)
    if (stem(exported[i].name) == stem(symbol) && !strncmp(exported[i].name, symbol, stem(symbol))) {
      memcpy(function, &exported[i].function, sizeof *function);
      if (status) *status = 0;
      return leave(CUDA_SUCCESS);
    }
  return leave(status ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND);
}
EXPORT CUresult cuGetProcAddress(const char *symbol, void **function, int version, uint64_t flags) {
  return cuGetProcAddress_v2(symbol, function, version, flags, NULL);
}

/* ---- for tests ---- */

EXPORT void fake_cuda_reset(void) {
  pthread_mutex_lock(&lock);
  free_list(driver.legacy.first);
  while (driver.streams) {
    CUstream next = driver.streams->next;
    free_list(driver.streams->first);
    free(driver.streams);
    driver.streams = next;
  }
  while (driver.events) {
    let_go(driver.events->mark);
    event_unmade(driver.events);
  }
  while (driver.graphs) {
    free_list(driver.graphs->first);
    graph_unmade(driver.graphs);
  }
  while (driver.executables) {
    free_list(driver.executables->first);
    executable_unmade(driver.executables);
  }
  while (driver.modules) {
    CUmodule next = driver.modules->next;
    forget_module(driver.modules);
    driver.modules = next;
  }
  while (driver.pinned) {
    host_range *next = driver.pinned->next;
    if (driver.pinned->is_ours) free((void *)(uintptr_t)driver.pinned->begin);
    free(driver.pinned);
    driver.pinned = next;
  }
  ptx_device_destroy(driver.memory);
  memset(&driver, 0, sizeof driver);
  thread.depth = 0;
  read_environment();
  pthread_mutex_unlock(&lock);
}
#define SETTER(name, type, field)                                                                                                  \
  EXPORT void name(type value) {                                                                                                   \
    pthread_mutex_lock(&lock);                                                                                                     \
    read_environment();                                                                                                            \
    driver.field = value;                                                                                                          \
    pthread_mutex_unlock(&lock);                                                                                                   \
  }
SETTER(fake_cuda_set_devices, int, devices)
SETTER(fake_cuda_set_driver, int, version)
SETTER(fake_cuda_set_capability, int, capability)
SETTER(fake_cuda_set_multiprocessors, int, multiprocessors)
SETTER(fake_cuda_set_later_capability, int, later_capability)
SETTER(fake_cuda_set_memory, uint64_t, memory_bytes) /* before cuInit */
SETTER(fake_cuda_set_seed, uint64_t, seed)
SETTER(fake_cuda_set_idle, bool, is_idle)

EXPORT void fake_cuda_fail(const char *function, unsigned n, CUresult result) {
  pthread_mutex_lock(&lock);
  read_environment();
  function_count *count = count_of(function);
  count->fail_in = n;
  count->result = result;
  pthread_mutex_unlock(&lock);
}
EXPORT fake_cuda_counters fake_cuda_get_counters(void) {
  pthread_mutex_lock(&lock);
  if (driver.memory) driver.counters.live_bytes = ptx_device_used_bytes(driver.memory);
  fake_cuda_counters counters = driver.counters;
  pthread_mutex_unlock(&lock);
  return counters;
}
EXPORT uint64_t fake_cuda_calls(const char *function) {
  pthread_mutex_lock(&lock);
  uint64_t calls = count_of(function)->calls;
  pthread_mutex_unlock(&lock);
  return calls;
}
EXPORT uint64_t fake_cuda_instructions(const char *name) {
  pthread_mutex_lock(&lock);
  uint64_t sum = 0;
  for (CUmodule module = driver.modules; module; module = module->next) sum += ptx_module_count(module->module, name);
  pthread_mutex_unlock(&lock);
  return sum;
}
EXPORT const char *fake_cuda_report(void) {
  static _Thread_local char text[sizeof driver.report.text];
  pthread_mutex_lock(&lock);
  memcpy(text, driver.report.text, sizeof text);
  pthread_mutex_unlock(&lock);
  return text;
}
