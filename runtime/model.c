/* Opens and closes models. Open, read top to bottom: check the object, choose code and threads, find the weights, and either map
 * packed ones or pack the checkpoint's by running entry 0 on the host; what the checkpoint held is unmapped before open returns. A device with memory of
 * its own is given a copy. */
#include "device.h"

#include <string.h>

/* The weight arena is zero: padding must be. */
static hmoe_status create_arena(hmoe_model *model) {
  if (model->packing) return HMOE_OK;
  void *memory;
  HMOE_TRY(hmoe_workers_allocate(&model->workers, &model->allocator, model->plan->weight_bytes, "the packed weights", &memory));
  model->owned_arena = memory;
  model->arena = memory;
  return HMOE_OK;
}

/* Bytes that a device with memory of its own is given. */
static uint64_t uploaded_bytes(const hmoe_model *model) {
  return model->packing || model->device->host_memory ? 0 : model->plan->weight_bytes;
}

static hmoe_status pack_checkpoint(hmoe_model *model, hmoe_checkpoint *checkpoint, const hmoe_options *options,
                                   hmoe_progress *progress) {
  HMOE_TRY(hmoe_checkpoint_read(checkpoint));
  hmoe_params params;
  HMOE_TRY(hmoe_params_init(&params, model->plan, checkpoint, &model->allocator));
  hmoe_progress_begin(progress, options, params.read_bytes + uploaded_bytes(model));
  hmoe_status status = create_arena(model);
  if (status == HMOE_OK) status = hmoe_run_open_entry(model, &params, progress);
  if (status == HMOE_OK && !uploaded_bytes(model)) hmoe_progress_end(progress);
  if (status == HMOE_OK) hmoe_params_note_surplus(checkpoint, options);
  hmoe_params_deinit(&params);
  return status;
}

static hmoe_status open_weights(hmoe_model *model, const hmoe_weights *weights, const hmoe_options *options,
                                hmoe_progress *progress) {
  hmoe_checkpoint checkpoint;
  HMOE_TRY(hmoe_checkpoint_open(&checkpoint, weights, &model->allocator));
  hmoe_status status;
  if (model->packing && hmoe_packed_detect(&checkpoint.mapping)) {
    status = hmoe_fail(HMOE_INVALID_ARGUMENT, "%s: is packed already", checkpoint.mapping.name);
  } else if (hmoe_packed_detect(&checkpoint.mapping)) {
    status = hmoe_packed_open(model, &checkpoint.mapping, options->flags, &model->arena);
    if (status == HMOE_OK) {
      model->packed = checkpoint.mapping;
      model->packed.name = NULL;
      checkpoint.mapping = (hmoe_mapping){0};
      hmoe_progress_begin(progress, options, uploaded_bytes(model));
    }
  } else {
    status = pack_checkpoint(model, &checkpoint, options, progress);
  }
  hmoe_checkpoint_close(&checkpoint);
  return status;
}

static hmoe_status create_caches(hmoe_model *model) {
  uint32_t count = model->plan->caches.count;
  if (!count) return HMOE_OK;
  void *memory = NULL;
  HMOE_TRY(hmoe_allocate(&model->allocator, count * sizeof *model->caches, "the selection caches", &memory));
  memset(memory, 0, count * sizeof *model->caches);
  model->caches = memory;
  const hmoe_plan_cache *caches = HMOE_PLAN_ARRAY(model->plan, model->plan->caches, hmoe_plan_cache);
  for (uint32_t i = 0; i < count; i++) {
    HMOE_TRY(hmoe_cache_create(&caches[i], &model->allocator, &model->caches[i].cache));
    HMOE_TRY(model->device->allocate(model, caches[i].bytes, false, "the selection cache", &memory));
    model->caches[i].arena = memory;
  }
  return HMOE_OK;
}

/* Weights where the steps of the device read them; then the host needs no copy of its own. */
static hmoe_status upload_weights(hmoe_model *model, hmoe_progress *progress) {
  const hmoe_device *device = model->device;
  uint64_t bytes = model->plan->weight_bytes;
  if (device->host_memory) {
    model->weights = (uint8_t *)(uintptr_t)model->arena;
    return HMOE_OK;
  }
  void *memory = NULL;
  HMOE_TRY(device->allocate(model, bytes, false, "the packed weights", &memory));
  model->weights = memory;
  HMOE_TRY(device->fill(model, memory, model->arena, bytes, progress));
  hmoe_progress_end(progress);
  hmoe_release(&model->allocator, model->owned_arena, bytes);
  hmoe_mapping_deinit(&model->packed);
  model->owned_arena = NULL;
  model->arena = NULL;
  return HMOE_OK;
}

/* pack_path: pack into this file instead of opening; NULL: open. */
static hmoe_status open_model(hmoe_model *model, const hmoe_weights *weights, const hmoe_options *options, const char *pack_path) {
  hmoe_progress progress = {0};
  HMOE_TRY(hmoe_cpu_device.open(model, options));
  HMOE_TRY(hmoe_workers_init(&model->workers, options, &model->allocator));
  if (pack_path) {
    HMOE_TRY(hmoe_packing_begin(model, pack_path));
    return hmoe_packing_end(model, open_weights(model, weights, options, &progress));
  }
  HMOE_TRY(model->device != &hmoe_cpu_device ? model->device->open(model, options) : hmoe_cpu_check_runs(model));
  HMOE_TRY(create_caches(model));
  HMOE_TRY(open_weights(model, weights, options, &progress));
  return upload_weights(model, &progress);
}

/* device: NULL: the one that the options name. */
static hmoe_status create_model(const hmoe_device *device, const hmoe_model_object *object, const hmoe_weights *weights,
                                const hmoe_options *options, const char *pack_path, hmoe_model **out_model) {
  hmoe_options chosen;
  HMOE_TRY(hmoe_options_read(options, &chosen));
  if (!device) device = hmoe_device_find(chosen.device);
  hmoe_plan_limits limits;
  HMOE_TRY(hmoe_plan_check(object, &limits));
  HMOE_TRY(hmoe_fork_prepare());

  hmoe_allocator allocator = chosen.allocator ? *chosen.allocator : hmoe_allocator_default();
  void *memory = NULL;
  HMOE_TRY(hmoe_allocate(&allocator, sizeof(hmoe_model), "a model", &memory));
  hmoe_model *model = memory;
  *model = (hmoe_model){.self_bytes = sizeof *model,
                        .allocator = allocator,
                        .device = device,
                        .object = object,
                        .plan = object->plan,
                        .limits = limits};
  model->entries = HMOE_PLAN_ARRAY(model->plan, model->plan->entries, hmoe_plan_entry);
  model->debug_run = hmoe_debug_enabled("run");
  hmoe_debug_note_unknown(&chosen);
  pthread_mutex_init(&model->mutex, NULL);
  model->watch = (hmoe_fork_watch){model, hmoe_workspaces_before_fork, hmoe_workspaces_after_fork, NULL, NULL};
  hmoe_fork_watch_begin(&model->watch);
  hmoe_status status = open_model(model, weights, &chosen, pack_path);
  if (status == HMOE_OK && out_model) *out_model = model;
  else hmoe_model_close(model);
  return status;
}

hmoe_status hmoe_model_open_on(const hmoe_device *device, const hmoe_model_object *object, const hmoe_weights *weights,
                               const hmoe_options *options, hmoe_model **out_model) {
  if (!out_model) return hmoe_fail(HMOE_INVALID_ARGUMENT, "open: out_model is NULL");
  *out_model = NULL;
  if (!object || !weights) return hmoe_fail(HMOE_INVALID_ARGUMENT, "open: %s is NULL", object ? "weights" : "object");
  return create_model(device, object, weights, options, NULL, out_model);
}

hmoe_status hmoe_model_open(const hmoe_model_object *object, const hmoe_weights *weights, const hmoe_options *options,
                            hmoe_model **out_model) {
  return hmoe_model_open_on(NULL, object, weights, options, out_model);
}

hmoe_status hmoe_model_pack(const hmoe_model_object *object, const hmoe_weights *weights, const hmoe_options *options,
                            const char *path) {
  if (!object || !weights || !path || !*path)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "pack: %s is not given", !object ? "the object" : !weights ? "weights" : "the path");
  return create_model(NULL, object, weights, options, path, NULL);
}

void hmoe_model_close(hmoe_model *model) {
  if (!model) return;
  hmoe_fork_watch_end(&model->watch);
  while (model->workspaces) hmoe_workspace_destroy(model, model->workspaces);
  uint32_t caches = model->caches ? model->plan->caches.count : 0;
  const hmoe_plan_cache *plans = HMOE_PLAN_ARRAY(model->plan, model->plan->caches, hmoe_plan_cache);
  for (uint32_t i = 0; i < caches; i++) {
    hmoe_cache_destroy(model->caches[i].cache, &model->allocator);
    model->device->release(model, model->caches[i].arena, plans[i].bytes);
  }
  hmoe_release(&model->allocator, model->caches, caches * sizeof *model->caches);
  if (!model->device->host_memory) model->device->release(model, model->weights, model->plan->weight_bytes);
  if (model->device != &hmoe_cpu_device) model->device->close(model);
  hmoe_workers_deinit(&model->workers, &model->allocator);
  hmoe_release(&model->allocator, model->owned_arena, model->plan->weight_bytes);
  hmoe_mapping_deinit(&model->packed);
  pthread_mutex_destroy(&model->mutex);
  hmoe_allocator allocator = model->allocator;
  hmoe_release(&allocator, model, model->self_bytes);
}

uint32_t hmoe_model_entry(const hmoe_model *model, const char *name) {
  size_t length = model && name ? strlen(name) : 0;
  for (uint32_t i = 1; length && i < model->plan->entries.count; i++) {
    hmoe_plan_span span = model->entries[i].name;
    if (span.count == length && !memcmp(HMOE_PLAN_ARRAY(model->plan, span, char), name, length)) return i;
  }
  return 0;
}

const char *hmoe_model_cpu(const hmoe_model *model) { return model ? hmoe_cpu_name(model->cpu) : NULL; }

size_t hmoe_model_threads(const hmoe_model *model) { return model ? model->workers.threads : 0; }

size_t hmoe_model_weight_bytes(const hmoe_model *model) { return model ? model->plan->weight_bytes : 0; }

size_t hmoe_model_workspace_bytes(hmoe_model *model) {
  if (!model) return 0;
  pthread_mutex_lock(&model->mutex);
  size_t bytes = model->workspace_bytes;
  pthread_mutex_unlock(&model->mutex);
  return bytes;
}
