/* Runs in streams: which come after which. A workspace is one run's at a time in the order of the device, while the host may have given it to the next:
 *
 *   in the same stream    the stream keeps the order
 *   in another            waits, on the device, for the event behind the latest queued run
 *
 * Runs that the host waits for have a word of their own for what is wrong with their inputs; those that are queued share one, which only grows less until
 * settle reads it. */
#include "cuda/cuda.h"

static hmoe_status clear_word(const hmoe_cuda_driver *driver, CUdeviceptr word, CUstream stream) {
  HMOE_CUDA_TRY(driver, cuMemsetD8Async, word, 0xff, sizeof(uint64_t), stream);
  return HMOE_OK;
}

hmoe_status hmoe_cuda_run_begin(hmoe_run *run) {
  const hmoe_cuda_model *model = hmoe_cuda_own(run->model);
  hmoe_cuda_workspace *own = run->workspace->own;
  own->ordered = run->workspace->stream ? run->workspace->stream : own->stream;
  own->trouble = own->words + (run->queued ? sizeof own->found : 0);
  if (own->queued && own->queued != own->ordered) HMOE_CUDA_TRY(model->driver, cuStreamWaitEvent, own->ordered, own->ended, 0);
  if (own->stale) HMOE_TRY(clear_word(model->driver, own->words, own->ordered));
  own->stale = false;
  return HMOE_OK;
}

hmoe_status hmoe_cuda_run_queued(hmoe_run *run) {
  const hmoe_cuda_driver *driver = hmoe_cuda_own(run->model)->driver;
  hmoe_cuda_workspace *own = run->workspace->own;
  CUresult result = CUDA_SUCCESS;
  if (!own->ended) result = driver->cuEventCreate(&own->ended, CU_EVENT_DISABLE_TIMING);
  if (result != CUDA_SUCCESS) own->ended = NULL;
  else result = driver->cuEventRecord(own->ended, own->ordered);
  own->queued = own->ordered;
  if (result == CUDA_SUCCESS) return HMOE_OK;
  hmoe_status status = hmoe_cuda_failed(driver, own->ended ? "cuEventRecord" : "cuEventCreate", NULL, result);
  if (driver->cuStreamSynchronize(own->ordered) == CUDA_SUCCESS) own->queued = NULL; /* nothing else would know when it ends */
  return status;
}

hmoe_status hmoe_cuda_settle(const hmoe_cuda_driver *driver, hmoe_cuda_workspace *own) {
  uint64_t found = UINT64_MAX;
  if (!own->queued) return HMOE_OK;
  own->queued = NULL;
  HMOE_CUDA_TRY(driver, cuEventSynchronize, own->ended);
  HMOE_CUDA_TRY(driver, cuMemcpyDtoHAsync, &found, own->words + sizeof found, sizeof found, own->stream);
  HMOE_CUDA_TRY(driver, cuStreamSynchronize, own->stream);
  if (found == UINT64_MAX) return HMOE_OK;
  HMOE_TRY(clear_word(driver, own->words + sizeof found, own->stream));
  HMOE_CUDA_TRY(driver, cuStreamSynchronize, own->stream);
  return hmoe_fail(HMOE_INVALID_ARGUMENT,
                   "a queued run was given ids that are none of the model's, or more tokens than it has positions");
}
