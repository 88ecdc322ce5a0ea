/* A GPU as a device. */
#include "cuda/cuda.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const code_names[HMOE_CUDA_CODE_COUNT] = {
    [HMOE_CUDA_GROUP_ONCE] = "hmoe_group_once",
    [HMOE_CUDA_GROUP_COUNT] = "hmoe_group_count",
    [HMOE_CUDA_GROUP_WRITE] = "hmoe_group_write",
    [HMOE_CUDA_GROUP_HISTORY] = "hmoe_group_history",
    [HMOE_CUDA_SETS_TOKEN] = "hmoe_sets_token",
    [HMOE_CUDA_SETS_FEW] = "hmoe_sets_few",
    [HMOE_CUDA_SETS_ONCE] = "hmoe_sets_once",
    [HMOE_CUDA_SETS_SORT] = "hmoe_sets_sort",
    [HMOE_CUDA_SETS_PLACE] = "hmoe_sets_place",
    [HMOE_CUDA_SETS_BLOCK] = "hmoe_sets_block",
    [HMOE_CUDA_LOOP_FIND] = "hmoe_loop_find",
    [HMOE_CUDA_LOOP_CHUNK] = "hmoe_loop_chunk",
    [HMOE_CUDA_IDS] = "hmoe_ids",
    [HMOE_CUDA_POSITIONS] = "hmoe_positions",
    [HMOE_CUDA_LAST_ROWS] = "hmoe_last_rows",
    [HMOE_CUDA_APPEND_MASK] = "hmoe_append_mask",
    [HMOE_CUDA_PICK] = "hmoe_pick",
    [HMOE_CUDA_BEST] = "hmoe_best",
};

static hmoe_status enter(const hmoe_model *model) {
  const hmoe_cuda_model *own = hmoe_cuda_own(model);
  HMOE_CUDA_TRY(own->driver, cuCtxPushCurrent, own->context);
  return HMOE_OK;
}

static hmoe_status leave(const hmoe_model *model, hmoe_status status) {
  CUcontext before;
  CUresult result = hmoe_cuda_own(model)->driver->cuCtxPopCurrent(&before);
  if (status == HMOE_OK && result != CUDA_SUCCESS)
    return hmoe_cuda_failed(hmoe_cuda_own(model)->driver, "cuCtxPopCurrent", NULL, result);
  return status;
}

/* What is given back is gone whatever the driver says of it: between these two no failure is of use to anybody. */
static bool may_release(const hmoe_model *model) {
  return hmoe_cuda_own(model)->driver->cuCtxPushCurrent(hmoe_cuda_own(model)->context) == CUDA_SUCCESS;
}

static void released(const hmoe_model *model) {
  CUcontext before;
  hmoe_cuda_own(model)->driver->cuCtxPopCurrent(&before);
}

/* ---- open ---- */

enum {
  OVERLAPS_IN_GRAPHS_VERSION = 12030
}; /* of a driver that records in graphs that a kernel may be launched before another has ended */

static bool may_overlap(const hmoe_model *model, const hmoe_cuda_model *own, uint32_t flags) {
  bool waits = false;
  for (uint32_t i = 0; i < model->object->kernel_count; i++) waits |= !!(own->image->functions[i].column_steps & HMOE_CUDA_WAITS);
  return waits && !(flags & HMOE_DEVICE_APART) && own->driver->cuLaunchKernelEx &&
         !(own->graphs && own->driver_version < OVERLAPS_IN_GRAPHS_VERSION);
}

/* Whether a chip runs an image: "sm_80" and "sm_90a" are machine code, of which that with a letter runs on its own chip alone and others on later
 * ones of their generation; "compute_80" is PTX, which the driver makes code of for any later chip. */
static bool runs(const hmoe_image *image, int major, int minor, int *out_rank) {
  int chip = 0, length = 0;
  bool code = sscanf(image->version, "sm_%d%n", &chip, &length) == 1;
  if (!code && sscanf(image->version, "compute_%d%n", &chip, &length) != 1) return false;
  bool exact = image->version[length] == 'a';
  int wanted = major * 10 + minor;
  *out_rank = chip * 4 + (code ? 2 : 0) + (exact ? 1 : 0);
  if (exact) return chip == wanted;
  return code ? chip / 10 == major && chip <= wanted : chip <= wanted;
}

static hmoe_status read_chip(const hmoe_cuda_driver *driver, CUdevice device, hmoe_chip *out_chip) {
  HMOE_CUDA_TRY(driver, cuDeviceGetAttribute, &out_chip->major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device);
  HMOE_CUDA_TRY(driver, cuDeviceGetAttribute, &out_chip->minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device);
  HMOE_CUDA_TRY(driver, cuDriverGetVersion, &out_chip->driver);
  return HMOE_OK;
}

static bool cuda_chip(int number, hmoe_chip *out_chip) {
  const hmoe_cuda_driver *driver;
  CUdevice device;
  int count = 0;
  return hmoe_cuda_driver_get(&driver) == HMOE_OK && driver->cuDeviceGetCount(&count) == CUDA_SUCCESS && number < count &&
         driver->cuDeviceGet(&device, number) == CUDA_SUCCESS && read_chip(driver, device, out_chip) == HMOE_OK;
}

/* The best of those that rank below what *limit says, and its rank there. */
static hmoe_status choose_image(const hmoe_model *model, hmoe_cuda_model *own, int *limit) {
  int best = -1, rank = 0;
  hmoe_chip chip;
  char name[128] = "a device";
  HMOE_TRY(read_chip(own->driver, own->device, &chip));
  own->driver_version = chip.driver;
  HMOE_CUDA_TRY(own->driver, cuDeviceGetAttribute, &own->multiprocessors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, own->device);
  own->driver->cuDeviceGetName(name, sizeof name, own->device);
  for (uint32_t i = 0; i < model->object->image_count; i++) {
    const hmoe_image *image = &model->object->images[i];
    if (strcmp(image->target, "cuda") != 0 || !runs(image, chip.major, chip.minor, &rank) || rank <= best || rank >= *limit)
      continue;
    best = rank;
    own->image = image;
  }
  *limit = best;
  if (best >= 0 || own->image) return HMOE_OK;
  char versions[128] = "none for GPUs";
  size_t used = 0;
  for (uint32_t i = 0; i < model->object->image_count && used < sizeof versions; i++)
    if (strcmp(model->object->images[i].target, "cuda") == 0)
      used += (size_t)snprintf(versions + used, sizeof versions - used, "%s%s", used ? ", " : "", model->object->images[i].version);
  return hmoe_fail(HMOE_UNSUPPORTED,
                   "the object has no code for %s (sm_%d%d), it has %s: compile it with --target cuda for that chip", name,
                   chip.major, chip.minor, versions);
}

/* A driver older than an image's code, or PTX, may take another image. */
static bool is_refused(CUresult result) {
  return result == CUDA_ERROR_INVALID_IMAGE || result == CUDA_ERROR_NO_BINARY_FOR_GPU ||
         result == CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
}

static hmoe_status load_module(const hmoe_model *model, hmoe_cuda_model *own, int rank) {
  CUresult result = own->driver->cuModuleLoadDataEx(&own->module, own->image->code, 0, NULL, NULL);
  while (is_refused(result)) {
    HMOE_TRY(choose_image(model, own, &rank));
    if (rank < 0) break;
    result = own->driver->cuModuleLoadDataEx(&own->module, own->image->code, 0, NULL, NULL);
  }
  if (result != CUDA_SUCCESS) return hmoe_cuda_failed(own->driver, "cuModuleLoadDataEx", own->image->version, result);
  for (uint32_t i = 0; i < model->object->kernel_count; i++) {
    const char *name = own->image->functions[i].name;
    result = name ? own->driver->cuModuleGetFunction(&own->functions[i], own->module, name) : CUDA_SUCCESS;
    if (result != CUDA_SUCCESS) return hmoe_cuda_failed(own->driver, "cuModuleGetFunction", name, result);
    uint64_t bytes = name ? own->image->functions[i].scratch_bytes : 0;
    if (bytes > HMOE_CUDA_OWN_SHARED_BYTES)
      result = own->driver->cuFuncSetAttribute(own->functions[i], CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, (int)bytes);
    if (result != CUDA_SUCCESS) return hmoe_cuda_failed(own->driver, "cuFuncSetAttribute", name, result);
  }
  for (int i = 0; i < HMOE_CUDA_CODE_COUNT; i++) { /* an image has what its model's steps need */
    result = own->driver->cuModuleGetFunction(&own->code[i], own->module, code_names[i]);
    if (result != CUDA_SUCCESS && result != CUDA_ERROR_NOT_FOUND)
      return hmoe_cuda_failed(own->driver, "cuModuleGetFunction", code_names[i], result);
  }
  HMOE_CUDA_TRY(own->driver, cuStreamCreate, &own->stream, CU_STREAM_NON_BLOCKING);
  return hmoe_cuda_create_books(model, own);
}

/* "cuda" or "cuda:1" */
static hmoe_status find_device(const hmoe_options *options, hmoe_cuda_model *own) {
  const char *number = options->device ? strchr(options->device, ':') : NULL;
  int ordinal = number ? atoi(number + 1) : 0, count = 0;
  HMOE_CUDA_TRY(own->driver, cuDeviceGetCount, &count);
  if (ordinal >= count)
    return hmoe_fail(HMOE_UNSUPPORTED, "options.device: there are %d CUDA devices, found \"%s\"", count, options->device);
  HMOE_CUDA_TRY(own->driver, cuDeviceGet, &own->device, ordinal);
  return HMOE_OK;
}

static hmoe_status cuda_open(hmoe_model *model, const hmoe_options *options) {
  const hmoe_cuda_driver *driver;
  HMOE_TRY(hmoe_cuda_driver_get(&driver));
  uint64_t bytes = sizeof(hmoe_cuda_model) + model->object->kernel_count * sizeof(CUfunction);
  void *memory = NULL;
  HMOE_TRY(hmoe_allocate(&model->allocator, bytes, "a model's CUDA functions", &memory));
  memset(memory, 0, bytes);
  hmoe_cuda_model *own = model->device_own = memory;
  own->driver = driver;
  own->self_bytes = bytes;
  pthread_mutex_init(&own->caches_mutex, NULL);
  own->graphs = options->flags & HMOE_DEVICE_GRAPHS;
  HMOE_TRY(find_device(options, own));
  int rank = INT_MAX;
  HMOE_TRY(choose_image(model, own, &rank));
  HMOE_CUDA_TRY(driver, cuDevicePrimaryCtxRetain, &own->context, own->device);
  HMOE_TRY(enter(model));
  HMOE_TRY(leave(model, load_module(model, own, rank)));
  own->overlaps = may_overlap(model, own, options->flags);
  return HMOE_OK;
}

static void cuda_close(hmoe_model *model) {
  hmoe_cuda_model *own = hmoe_cuda_own(model);
  if (!own) return;
  if (own->context) {
    if (may_release(model)) {
      if (own->stream) own->driver->cuStreamDestroy(own->stream);
      if (own->books) own->driver->cuMemFree(own->books);
      if (own->caches_used) own->driver->cuEventDestroy(own->caches_used);
      if (own->module) own->driver->cuModuleUnload(own->module);
      released(model);
    }
    own->driver->cuDevicePrimaryCtxRelease(own->device);
  }
  pthread_mutex_destroy(&own->caches_mutex);
  hmoe_release(&model->allocator, own, own->self_bytes);
  model->device_own = NULL;
}

/* ---- memory and copies ---- */

/* Addresses of the device travel as pointers that nobody on the host follows. */
static CUdeviceptr address_of(const void *memory) { return (CUdeviceptr)(uintptr_t)memory; }

hmoe_status hmoe_cuda_allocate(const hmoe_cuda_driver *driver, uint64_t size_bytes, const char *what, CUdeviceptr *out_address) {
  *out_address = 0;
  CUresult result = driver->cuMemAlloc(out_address, size_bytes ? size_bytes : 1);
  if (result == CUDA_SUCCESS) return HMOE_OK;
  char text[160];
  *out_address = 0;
  snprintf(text, sizeof text, "%s, %llu bytes", what, (unsigned long long)size_bytes);
  return hmoe_cuda_failed(driver, "cuMemAlloc", text, result);
}

/* Streams do not wait for each other: what one has filled is there when this returns. */
static hmoe_status fill_zeros(const hmoe_cuda_model *own, CUdeviceptr address, uint64_t size_bytes) {
  HMOE_CUDA_TRY(own->driver, cuMemsetD8Async, address, 0, size_bytes, own->stream);
  HMOE_CUDA_TRY(own->driver, cuStreamSynchronize, own->stream);
  return HMOE_OK;
}

static hmoe_status allocate(const hmoe_cuda_model *own, uint64_t size_bytes, bool zeros, const char *what, void **out_memory) {
  CUdeviceptr address;
  HMOE_TRY(hmoe_cuda_allocate(own->driver, size_bytes, what, &address));
  hmoe_status status = zeros && size_bytes ? fill_zeros(own, address, size_bytes) : HMOE_OK;
  if (status == HMOE_OK) *out_memory = (void *)(uintptr_t)address;
  else own->driver->cuMemFree(address);
  return status;
}

static hmoe_status cuda_allocate(hmoe_model *model, uint64_t size_bytes, bool zeros, const char *what, void **out_memory) {
  *out_memory = NULL;
  HMOE_TRY(enter(model));
  return leave(model, allocate(hmoe_cuda_own(model), size_bytes, zeros, what, out_memory));
}

static void cuda_release(hmoe_model *model, void *memory, uint64_t size_bytes) {
  (void)size_bytes;
  if (!memory || !may_release(model)) return;
  hmoe_cuda_own(model)->driver->cuMemFree(address_of(memory));
  released(model);
}

static CUstream stream_of(const hmoe_model *model, const hmoe_workspace *workspace) {
  const hmoe_cuda_workspace *own = workspace ? workspace->own : NULL;
  return own ? own->ordered : hmoe_cuda_own(model)->stream;
}

static hmoe_status create_stream(const hmoe_cuda_driver *driver, hmoe_cuda_workspace *own) {
  HMOE_CUDA_TRY(driver, cuStreamCreate, &own->stream, CU_STREAM_NON_BLOCKING);
  HMOE_TRY(hmoe_cuda_allocate(driver, 2 * sizeof own->found, "words of a workspace", &own->words));
  HMOE_CUDA_TRY(driver, cuMemsetD8Async, own->words, 0xff, 2 * sizeof own->found, own->stream);
  HMOE_CUDA_TRY(driver, cuStreamSynchronize, own->stream); /* the first run may be in another stream */
  return HMOE_OK;
}

static hmoe_status cuda_workspace_begin(hmoe_model *model, hmoe_workspace *workspace) {
  void *memory = NULL;
  HMOE_TRY(hmoe_allocate(&model->allocator, sizeof(hmoe_cuda_workspace), "a workspace", &memory));
  workspace->own = memory;
  memset(memory, 0, sizeof(hmoe_cuda_workspace));
  HMOE_TRY(enter(model));
  return leave(model, create_stream(hmoe_cuda_own(model)->driver, memory));
}

static void cuda_workspace_end(hmoe_model *model, hmoe_workspace *workspace) {
  hmoe_cuda_workspace *own = workspace->own;
  if (!own) return;
  if (own->stream && may_release(model)) {
    hmoe_cuda_own(model)->driver->cuStreamDestroy(own->stream);
    if (own->words) hmoe_cuda_own(model)->driver->cuMemFree(own->words);
    if (own->ended) hmoe_cuda_own(model)->driver->cuEventDestroy(own->ended);
    if (own->graph) hmoe_cuda_own(model)->driver->cuGraphExecDestroy(own->graph);
    released(model);
  }
  hmoe_release(&model->allocator, own, sizeof *own);
}

static hmoe_status upload(const hmoe_model *model, CUstream stream, void *to, const void *from, uint64_t size_bytes) {
  if (size_bytes) HMOE_CUDA_TRY(hmoe_cuda_own(model)->driver, cuMemcpyHtoDAsync, address_of(to), from, size_bytes, stream);
  return HMOE_OK;
}

static hmoe_status download(const hmoe_model *model, CUstream stream, void *to, const void *from, uint64_t size_bytes) {
  if (size_bytes) HMOE_CUDA_TRY(hmoe_cuda_own(model)->driver, cuMemcpyDtoHAsync, to, address_of(from), size_bytes, stream);
  return HMOE_OK;
}

static hmoe_status synchronise(const hmoe_model *model, CUstream stream) {
  HMOE_CUDA_TRY(hmoe_cuda_own(model)->driver, cuStreamSynchronize, stream);
  return HMOE_OK;
}

static hmoe_status cuda_upload(hmoe_model *model, hmoe_workspace *workspace, void *to, const void *from, uint64_t size_bytes) {
  HMOE_TRY(enter(model));
  return leave(model, upload(model, stream_of(model, workspace), to, from, size_bytes));
}

static hmoe_status cuda_fill(hmoe_model *model, void *to, const void *from, uint64_t size_bytes, hmoe_progress *progress) {
  HMOE_TRY(enter(model));
  return leave(model, hmoe_cuda_fill(model, to, from, size_bytes, progress));
}

static hmoe_status cuda_download(hmoe_model *model, hmoe_workspace *workspace, void *to, const void *from, uint64_t size_bytes) {
  HMOE_TRY(enter(model));
  return leave(model, download(model, stream_of(model, workspace), to, from, size_bytes));
}

/* What the run's steps found comes with the rest of what it gives. */
static hmoe_status end_run(const hmoe_model *model, hmoe_cuda_workspace *own) {
  HMOE_CUDA_TRY(hmoe_cuda_own(model)->driver, cuMemcpyDtoHAsync, &own->found, own->words, sizeof own->found, own->ordered);
  return HMOE_OK;
}

static hmoe_status cuda_fence(hmoe_model *model, hmoe_workspace *workspace) {
  HMOE_TRY(enter(model));
  hmoe_status status = workspace ? end_run(model, workspace->own) : HMOE_OK,
              ended = synchronise(model, stream_of(model, workspace));
  if (status == HMOE_OK) status = ended;
  hmoe_cuda_workspace *own = workspace ? workspace->own : NULL;
  if (own && (status != HMOE_OK || own->found != UINT64_MAX)) own->stale = true;
  return leave(model, status);
}

static hmoe_status cuda_finish(hmoe_run *run) {
  HMOE_TRY(enter(run->model));
  return leave(run->model, hmoe_cuda_finish_run(run));
}

/* ---- steps ---- */

/* Launches in the device's context. */
#define IN_CONTEXT(name)                                                                                                           \
  static hmoe_status name(hmoe_run *run, const hmoe_plan_step *step) {                                                             \
    HMOE_TRY(enter(run->model));                                                                                                   \
    return leave(run->model, hmoe_cuda_##name(run, step));                                                                         \
  }
IN_CONTEXT(step_kernel)
IN_CONTEXT(step_group)
IN_CONTEXT(step_group_sets)
IN_CONTEXT(step_loop)
IN_CONTEXT(step_ids)
IN_CONTEXT(step_positions)
IN_CONTEXT(step_last_rows)
IN_CONTEXT(step_append_mask)
#undef IN_CONTEXT

static hmoe_status cuda_run_begin(hmoe_run *run) {
  HMOE_TRY(enter(run->model));
  return leave(run->model, hmoe_cuda_run_begin(run));
}

static hmoe_status cuda_run_queued(hmoe_run *run) {
  HMOE_TRY(enter(run->model));
  return leave(run->model, hmoe_cuda_run_queued(run));
}

static hmoe_status cuda_settle(hmoe_model *model, hmoe_workspace *workspace) {
  HMOE_TRY(enter(model));
  return leave(model, hmoe_cuda_settle(hmoe_cuda_own(model)->driver, workspace->own));
}

/* From before the steps of a run are queued until they are. */
static void lock_caches(const hmoe_model *model) {
  if (model->plan->caches.count) pthread_mutex_lock(&hmoe_cuda_own(model)->caches_mutex);
}

static void unlock_caches(const hmoe_model *model) {
  if (model->plan->caches.count) pthread_mutex_unlock(&hmoe_cuda_own(model)->caches_mutex);
}

static hmoe_status cuda_steps_begin(hmoe_run *run) {
  lock_caches(run->model);
  hmoe_status status = enter(run->model);
  if (status == HMOE_OK) status = leave(run->model, hmoe_cuda_steps_begin(run));
  if (status != HMOE_OK) unlock_caches(run->model);
  return status;
}

/* The failure of a step has its message already. */
static hmoe_status cuda_steps_end(hmoe_run *run, hmoe_status status) {
  hmoe_status entered = enter(run->model);
  if (entered == HMOE_OK) entered = leave(run->model, hmoe_cuda_steps_end(run, status));
  unlock_caches(run->model);
  return entered;
}

static hmoe_status cuda_pick(hmoe_run *run, const hmoe_pick *pick, const void *values, uint64_t columns) {
  HMOE_TRY(enter(run->model));
  return leave(run->model, hmoe_cuda_pick(run, pick, values, columns));
}

static hmoe_status step_at_open(hmoe_run *run, const hmoe_plan_step *step) {
  return hmoe_step_fail(run, step, "%s belongs to entry 0, which runs on the host", hmoe_step_name(step->kind));
}

static hmoe_status cuda_reorder(hmoe_state *state, size_t moves, uint64_t positions) {
  HMOE_TRY(enter(state->model));
  return leave(state->model, hmoe_cuda_reorder_rows(state, moves, positions));
}

const hmoe_device hmoe_cuda_device = {
    .name = "cuda",
    .numbered = true,
    .chip = cuda_chip,
    .open = cuda_open,
    .close = cuda_close,
    .allocate = cuda_allocate,
    .release = cuda_release,
    .workspace_begin = cuda_workspace_begin,
    .workspace_end = cuda_workspace_end,
    .fill = cuda_fill,
    .upload = cuda_upload,
    .download = cuda_download,
    .fence = cuda_fence,
    .run_begin = cuda_run_begin,
    .run_queued = cuda_run_queued,
    .settle = cuda_settle,
    .steps_begin = cuda_steps_begin,
    .steps_end = cuda_steps_end,
    .pick = cuda_pick,
    .finish = cuda_finish,
    .steps = {[HMOE_STEP_KERNEL] = step_kernel,
              [HMOE_STEP_GROUP] = step_group,
              [HMOE_STEP_GROUP_SETS] = step_group_sets,
              [HMOE_STEP_LOOP] = step_loop,
              [HMOE_STEP_CHOOSE] = hmoe_cuda_step_choose,
              [HMOE_STEP_PACK] = step_at_open,
              [HMOE_STEP_COPY] = step_at_open,
              [HMOE_STEP_SELECTIONS] = step_at_open,
              [HMOE_STEP_WEIGHT_EMBEDDING] = step_at_open,
              [HMOE_STEP_RELATIVE_BIAS] = step_at_open,
              [HMOE_STEP_IDS] = step_ids,
              [HMOE_STEP_POSITIONS] = step_positions,
              [HMOE_STEP_LAST_ROWS] = step_last_rows,
              [HMOE_STEP_APPEND_MASK] = step_append_mask},
    .reorder = cuda_reorder,
};
