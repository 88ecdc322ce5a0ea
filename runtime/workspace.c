/* Memory of a run. Each run in progress has one of the model's workspaces to itself; finished runs leave theirs, so that later runs of
 * the same size allocate nothing. Slots are laid out for the sizes of the run at hand and the block behind them only grows. */
#include "device.h"

#include <stdio.h>
#include <string.h>

/* No buffer is larger, and products of two stay below 2^63. */
static const int64_t dim_max = (int64_t)1 << 40;

static hmoe_status create(hmoe_model *model, const hmoe_device *device, hmoe_workspace **out_workspace) {
  const hmoe_plan_limits *limits = &model->limits;
  /* One block: the structure, then its tables from the widest element down. */
  uint64_t bytes = sizeof(hmoe_workspace);
  uint64_t dims_at = bytes;
  bytes = hmoe_add(bytes, limits->dims * sizeof(int64_t));
  uint64_t buffers_at = bytes;
  bytes = hmoe_add(bytes, limits->buffers * sizeof(hmoe_memory));
  uint64_t slots_at = bytes;
  bytes = hmoe_add(bytes, limits->slots * sizeof(uint64_t));

  void *memory = NULL;
  HMOE_TRY(hmoe_allocate(&model->allocator, bytes, "a workspace", &memory));
  memset(memory, 0, bytes);
  uint8_t *base = memory;
  hmoe_workspace *workspace = memory;
  workspace->self_bytes = bytes;
  workspace->dims = (int64_t *)(void *)(base + dims_at);
  workspace->buffers = (hmoe_memory *)(void *)(base + buffers_at);
  workspace->slot_offsets = (uint64_t *)(void *)(base + slots_at);
  workspace->device = device;
  hmoe_status status = device->workspace_begin(model, workspace);
  if (status != HMOE_OK) {
    device->workspace_end(model, workspace);
    hmoe_release(&model->allocator, workspace, workspace->self_bytes);
    return status;
  }
  workspace->taken = true;
  workspace->owner = pthread_self();
  pthread_mutex_lock(&model->mutex);
  workspace->next = model->workspaces;
  model->workspaces = workspace;
  model->workspace_bytes += workspace->own_bytes;
  pthread_mutex_unlock(&model->mutex);
  *out_workspace = workspace;
  return HMOE_OK;
}

hmoe_status hmoe_workspace_acquire(hmoe_model *model, const hmoe_device *device, hmoe_workspace **out_workspace) {
  pthread_mutex_lock(&model->mutex);
  hmoe_workspace *workspace = model->workspaces;
  while (workspace && (workspace->taken || workspace->device != device)) workspace = workspace->next;
  if (workspace) {
    workspace->taken = true;
    workspace->owner = pthread_self();
  }
  pthread_mutex_unlock(&model->mutex);
  if (!workspace) return create(model, device, out_workspace);
  *out_workspace = workspace;
  return HMOE_OK;
}

void hmoe_workspace_return(hmoe_model *model, hmoe_workspace *workspace) {
  pthread_mutex_lock(&model->mutex);
  workspace->taken = false;
  pthread_mutex_unlock(&model->mutex);
}

void hmoe_workspace_destroy(hmoe_model *model, hmoe_workspace *workspace) {
  pthread_mutex_lock(&model->mutex);
  hmoe_workspace **link = &model->workspaces;
  while (*link && *link != workspace) link = &(*link)->next;
  if (*link) {
    *link = workspace->next;
    model->workspace_bytes -= workspace->own_bytes + workspace->slots_bytes + workspace->tensors_bytes;
  }
  pthread_mutex_unlock(&model->mutex);
  const hmoe_device *device = workspace->device;
  hmoe_status settled = device->settle ? device->settle(model, workspace) : HMOE_OK;
  (void)settled; /* nobody hears of it any more */
  device->release(model, workspace->slots, workspace->slots_bytes);
  device->release(model, workspace->tensors, workspace->tensors_bytes);
  device->workspace_end(model, workspace);
  hmoe_release(&model->allocator, workspace, workspace->self_bytes);
}

/* No run is begun meanwhile, so the list stays as it is. */
hmoe_status hmoe_model_wait(hmoe_model *model) {
  if (!model) return hmoe_fail(HMOE_INVALID_ARGUMENT, "wait: the model is NULL");
  char first[HMOE_MESSAGE_BYTES] = "";
  hmoe_status status = HMOE_OK;
  for (hmoe_workspace *w = model->workspaces; w; w = w->next) {
    hmoe_status found = w->device->settle ? w->device->settle(model, w) : HMOE_OK;
    if (found == HMOE_OK || status != HMOE_OK) continue;
    status = found;
    snprintf(first, sizeof first, "%s", hmoe_last_error());
  }
  return status == HMOE_OK ? status : hmoe_fail(status, "%s", first);
}

void hmoe_workspaces_before_fork(void *object) {
  hmoe_model *model = object;
  pthread_mutex_lock(&model->mutex);
}

void hmoe_workspaces_after_fork(void *object, bool child) {
  hmoe_model *model = object;
  pthread_mutex_unlock(&model->mutex);
  if (!child) return;
  for (hmoe_workspace *w = model->workspaces; w; w = w->next)
    if (w->taken && !pthread_equal(w->owner, pthread_self())) w->taken = false;
}

/* A block of the workspace's that only grows; what was in it is lost. */
static hmoe_status reserve(hmoe_run *run, uint64_t bytes, const char *what, uint8_t **block, uint64_t *block_bytes) {
  hmoe_model *model = run->model;
  if (bytes <= *block_bytes) return HMOE_OK;
  void *memory = NULL;
  /* Kernels of devices may read rows behind those that a block has, of which nothing comes. */
  HMOE_TRY(run->device->allocate(model, bytes, !run->device->host_memory, what, &memory));
  uint64_t old_bytes = *block_bytes;
  void *old = *block;
  if (old && run->device->settle) {
    hmoe_status status = run->device->settle(model, run->workspace);
    if (status != HMOE_OK) return run->device->release(model, memory, bytes), status;
  }
  pthread_mutex_lock(&model->mutex);
  *block = memory;
  *block_bytes = bytes;
  model->workspace_bytes += bytes - old_bytes;
  pthread_mutex_unlock(&model->mutex);
  run->device->release(model, old, old_bytes);
  return HMOE_OK;
}

hmoe_status hmoe_run_reserve_tensors(hmoe_run *run, uint64_t size_bytes) {
  return reserve(run, size_bytes, "the inputs and outputs of a run", &run->workspace->tensors, &run->workspace->tensors_bytes);
}

hmoe_status hmoe_run_derive_dims(hmoe_run *run) {
  int64_t *values = run->workspace->dims;
  for (uint32_t i = 0; i < run->entry->dims.count; i++) {
    const hmoe_plan_dim *dim = &run->dims[i];
    uint64_t value = dim->factor;
    switch (dim->kind) {
    case HMOE_DIM_SCALE: value = hmoe_mul(dim->factor, (uint64_t)values[dim->source]); break;
    case HMOE_DIM_MIN: value = hmoe_min(dim->factor, (uint64_t)values[dim->source]); break;
    case HMOE_DIM_CONST: break;
    case HMOE_DIM_PRODUCT: value = hmoe_mul((uint64_t)values[dim->source], (uint64_t)values[dim->factor]); break;
    case HMOE_DIM_SUM: value = hmoe_add((uint64_t)values[dim->source], (uint64_t)values[dim->factor]); break;
    case HMOE_DIM_ROUND_UP: value = hmoe_round_up((uint64_t)values[dim->source], dim->factor); break;
    case HMOE_DIM_CEIL_DIV: value = hmoe_round_up((uint64_t)values[dim->source], dim->factor) / dim->factor; break;
    default: continue; /* has its value */
    }
    if (value > (uint64_t)dim_max)
      return hmoe_fail(HMOE_INVALID_ARGUMENT, "the run is too large: dimension %u of entry %u exceeds %lld", i, run->entry_index,
                       (long long)dim_max);
    values[i] = (int64_t)value;
  }
  return HMOE_OK;
}

hmoe_status hmoe_run_begin(hmoe_run *run, const int64_t *dims) {
  hmoe_workspace *workspace = run->workspace;
  for (uint32_t i = 0; i < run->entry->dims.count; i++) {
    const hmoe_plan_dim *dim = &run->dims[i];
    if (dim->kind == HMOE_DIM_INPUT) {
      if (dims[i] < 0 || dims[i] > dim_max)
        return hmoe_fail(HMOE_INVALID_ARGUMENT, "dims[%u]: expected 0 to %lld, found %lld", i, (long long)dim_max,
                         (long long)dims[i]);
      workspace->dims[i] = dims[i];
    } else if (dim->kind == HMOE_DIM_CHUNK || dim->kind == HMOE_DIM_MISSING) {
      workspace->dims[i] = (int64_t)hmoe_min(dim->factor, (uint64_t)dim_max); /* sizes are for the largest chunk */
    } else if (dim->kind == HMOE_DIM_STATE) {
      const hmoe_state_scope *scope = &run->state->scopes[dim->source / 3];
      workspace->dims[i] = dim->source % 3 == 0 ? scope->rows : dim->source % 3 == 1 ? scope->capacity : scope->length;
    }
  }
  HMOE_TRY(hmoe_run_derive_dims(run));

  hmoe_model *model = run->model;
  uint8_t *weights = run->entry_index ? model->weights : (uint8_t *)(uintptr_t)model->arena; /* entry 0 writes the host's */
  for (uint32_t i = 0; i < run->entry->buffers.count; i++) {
    const hmoe_plan_buffer *buffer = &run->buffers[i];
    uint64_t bytes = buffer->fixed_bytes;
    if (buffer->dim != HMOE_NONE) bytes = hmoe_add(bytes, hmoe_mul((uint64_t)workspace->dims[buffer->dim], buffer->bytes_per_row));
    uint8_t *data = NULL;
    if (buffer->kind == HMOE_BUFFER_WEIGHT) data = weights + buffer->offset;
    if (buffer->kind == HMOE_BUFFER_CACHE) data = model->caches[buffer->index].arena + buffer->offset;
    workspace->buffers[i] = (hmoe_memory){data, bytes};
    if (buffer->kind == HMOE_BUFFER_STATE) workspace->buffers[i] = run->state->tensors[buffer->index];
  }
  return HMOE_OK;
}

hmoe_status hmoe_run_place_slots(hmoe_run *run) {
  hmoe_workspace *workspace = run->workspace;
  memset(workspace->slot_offsets, 0, run->entry->slots * sizeof *workspace->slot_offsets);
  for (uint32_t i = 0; i < run->entry->buffers.count; i++) {
    if (run->buffers[i].kind != HMOE_BUFFER_WORKSPACE) continue;
    uint64_t *slot = &workspace->slot_offsets[run->buffers[i].index];
    *slot = hmoe_max(*slot, workspace->buffers[i].size_bytes);
  }
  uint64_t total = 0;
  for (uint32_t i = 0; i < run->entry->slots; i++) {
    uint64_t size = workspace->slot_offsets[i];
    workspace->slot_offsets[i] = total;
    total = hmoe_add(total, hmoe_round_up(size, HMOE_ALIGNMENT));
  }
  HMOE_TRY(reserve(run, total, "the workspace of a run", &workspace->slots, &workspace->slots_bytes));
  for (uint32_t i = 0; i < run->entry->buffers.count; i++)
    if (run->buffers[i].kind == HMOE_BUFFER_WORKSPACE && workspace->slots) /* NULL: nothing was ever needed */
      workspace->buffers[i].data = workspace->slots + workspace->slot_offsets[run->buffers[i].index];
  return HMOE_OK;
}
