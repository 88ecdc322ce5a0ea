/* Much memory of the host's to the device, in chunks: a chunk is copied into pinned memory by the model's threads while the device reads the one before
 * out of another such buffer. A buffer is written again when the copy out of it is known to have ended, by an event behind it.
 *
 *   threads   c0     c1     c2          c3          ...
 *   device           c0     c1   wait   c2   wait   c3
 *
 * Where there is no pinned memory to have, the driver copies out of the host's own, which it does in its own way. */
#include "cuda/cuda.h"

#include <string.h>

enum { BUFFERS = 2, CHUNK_BYTES = 4 << 20, TASK_BYTES = 256 << 10 };

typedef struct upload {
  hmoe_model *model;
  const hmoe_cuda_model *own;
  void *buffers[BUFFERS]; /* NULL: none is pinned */
  CUevent read[BUFFERS]; /* the latest copy out of a buffer */
} upload;

typedef struct chunk_copy {
  uint8_t *to;
  const uint8_t *from;
  uint64_t size_bytes;
} chunk_copy;

static void copy_part(void *context, uint64_t task, void *scratch) {
  (void)scratch;
  const chunk_copy *copy = context;
  uint64_t begin = task * TASK_BYTES;
  memcpy(copy->to + begin, copy->from + begin, hmoe_min(TASK_BYTES, copy->size_bytes - begin));
}

static void release_buffers(upload *u) {
  const hmoe_cuda_driver *driver = u->own->driver;
  for (int i = 0; i < BUFFERS; i++) {
    if (u->read[i]) driver->cuEventDestroy(u->read[i]);
    if (u->buffers[i]) driver->cuMemFreeHost(u->buffers[i]);
    u->read[i] = NULL;
    u->buffers[i] = NULL;
  }
}

/* Both buffers, or none. */
static void pin_buffers(upload *u) {
  const hmoe_cuda_driver *driver = u->own->driver;
  bool all = true;
  for (int i = 0; i < BUFFERS && all; i++) {
    if (driver->cuMemAllocHost(&u->buffers[i], CHUNK_BYTES) != CUDA_SUCCESS) u->buffers[i] = NULL;
    if (driver->cuEventCreate(&u->read[i], CU_EVENT_DISABLE_TIMING) != CUDA_SUCCESS) u->read[i] = NULL;
    all = u->buffers[i] && u->read[i];
  }
  if (!all) release_buffers(u);
}

/* The chunk where the device may read it for long. */
static hmoe_status stage(upload *u, int buffer, bool used, const uint8_t **chunk, uint64_t size_bytes) {
  if (!u->buffers[buffer]) return HMOE_OK;
  if (used) HMOE_CUDA_TRY(u->own->driver, cuEventSynchronize, u->read[buffer]);
  chunk_copy copy = {u->buffers[buffer], *chunk, size_bytes};
  hmoe_job job = {.task = copy_part, .context = &copy, .count = (size_bytes + TASK_BYTES - 1) / TASK_BYTES};
  *chunk = u->buffers[buffer];
  return hmoe_workers_run(&u->model->workers, &job);
}

static hmoe_status upload_chunks(upload *u, CUdeviceptr to, const uint8_t *from, uint64_t size_bytes, hmoe_progress *progress) {
  const hmoe_cuda_driver *driver = u->own->driver;
  uint64_t count = 0;
  for (uint64_t begin = 0; begin < size_bytes; begin += CHUNK_BYTES, count++) {
    int buffer = (int)(count % BUFFERS);
    uint64_t bytes = hmoe_min(CHUNK_BYTES, size_bytes - begin);
    const uint8_t *chunk = from + begin;
    HMOE_TRY(stage(u, buffer, count >= BUFFERS, &chunk, bytes));
    HMOE_CUDA_TRY(driver, cuMemcpyHtoDAsync, to + begin, chunk, bytes, u->own->stream);
    if (u->buffers[buffer]) HMOE_CUDA_TRY(driver, cuEventRecord, u->read[buffer], u->own->stream);
    hmoe_progress_add(progress, bytes);
  }
  return HMOE_OK;
}

hmoe_status hmoe_cuda_fill(hmoe_model *model, void *to, const void *from, uint64_t size_bytes, hmoe_progress *progress) {
  upload u = {.model = model, .own = hmoe_cuda_own(model)};
  if (size_bytes > CHUNK_BYTES) pin_buffers(&u);
  hmoe_status status = upload_chunks(&u, (CUdeviceptr)(uintptr_t)to, from, size_bytes, progress);
  CUresult ended = u.own->driver->cuStreamSynchronize(u.own->stream); /* also after a failure: buffers are being read */
  release_buffers(&u);
  if (status == HMOE_OK && ended != CUDA_SUCCESS)
    return hmoe_cuda_failed(u.own->driver, "cuStreamSynchronize", "weights on their way", ended);
  return status;
}
