/* Finds a plan's parameters in a checkpoint: every key, of a type that converts to f32, in exactly the shape the model was compiled
 * for. Tensors that no parameter names are remarked on, once. */
#include "runtime_internal.h"

#include <stdio.h>
#include <string.h>

uint64_t hmoe_param_elements(const hmoe_plan_param *param) {
  uint64_t elements = 1;
  for (uint32_t i = 0; i < param->rank; i++) elements = hmoe_mul(elements, param->shape[i]);
  return elements;
}

/* The key of tensor `index`: "{}" stands for it when there are several. plan_check bounds lengths and the number of braces. */
static void format_key(const hmoe_plan *plan, const hmoe_plan_param *param, uint32_t index, char *out, size_t size) {
  const char *key = HMOE_PLAN_ARRAY(plan, param->key, char);
  int length = (int)param->key.count, hole = 0;
  if (param->count > 1) {
    while (!(key[hole] == '{' && key[hole + 1] == '}')) hole++;
    snprintf(out, size, "%.*s%u%.*s", hole, key, index, length - hole - 2, key + hole + 2);
    return;
  }
  snprintf(out, size, "%.*s", length, key);
}

/* The names of a key: "'a' or 'b'". */
static void format_names(const char *key, char *out, size_t size) {
  size_t used = 0;
  for (const char *at = key; *at && used < size;) {
    int length = (int)strcspn(at, "\n");
    used += (size_t)snprintf(out + used, size - used, "%s'%.*s'", at > key ? " or " : "", length, at);
    at += length + (at[length] == '\n');
  }
}

static void format_shape(uint32_t rank, const uint64_t *shape, char *out, size_t size) {
  size_t used = (size_t)snprintf(out, size, "[");
  for (uint32_t i = 0; i < rank && i < HMOE_TENSOR_RANK_MAX && used < size; i++)
    used += (size_t)snprintf(out + used, size - used, "%s%llu", i ? ", " : "", (unsigned long long)shape[i]);
  if (used < size) snprintf(out + used, size - used, "%s]", rank > HMOE_TENSOR_RANK_MAX ? ", ..." : "");
}

static hmoe_status check_tensor(const hmoe_plan_param *param, const hmoe_tensor *tensor) {
  const char *file = tensor->mapping->name;
  bool same = tensor->rank == param->rank;
  for (uint32_t i = 0; same && i < param->rank; i++) same = tensor->shape[i] == param->shape[i];
  if (!same) {
    char expected[128], found[256];
    format_shape(param->rank, param->shape, expected, sizeof expected);
    format_shape(tensor->rank, tensor->shape, found, sizeof found);
    return hmoe_fail(HMOE_INVALID_WEIGHTS, "%s: tensor '%s': expected shape %s, found %s", file, tensor->name, expected, found);
  }
  if (!tensor->dtype->read)
    return hmoe_fail(HMOE_INVALID_WEIGHTS, "%s: tensor '%s': expected F32, F16, BF16 or F64, found %s", file, tensor->name,
                     tensor->dtype->name);
  return HMOE_OK;
}

static hmoe_status resolve(hmoe_params *params, const hmoe_plan *plan, const hmoe_checkpoint *checkpoint) {
  const char *file = checkpoint->mapping.name;
  char key[HMOE_KEY_MAX + 16], first_missing[600] = "";
  uint64_t missing = 0;
  for (uint64_t p = 0; p < params->count; p++) {
    for (uint32_t i = 0; i < params->list[p].count; i++) {
      hmoe_tensor *tensor;
      format_key(plan, &params->list[p], i, key, sizeof key);
      HMOE_TRY(hmoe_checkpoint_find(checkpoint, key, &tensor));
      params->tensors[params->first[p] + i] = tensor;
      if (!tensor && missing++ == 0) format_names(key, first_missing, sizeof first_missing);
    }
  }
  if (missing > 1)
    return hmoe_fail(HMOE_INVALID_WEIGHTS, "%s: no tensor %s, and %llu more are missing", file, first_missing,
                     (unsigned long long)missing - 1);
  if (missing) return hmoe_fail(HMOE_INVALID_WEIGHTS, "%s: no tensor %s", file, first_missing);
  for (uint64_t p = 0; p < params->count; p++)
    for (uint32_t i = 0; i < params->list[p].count; i++)
      HMOE_TRY(check_tensor(&params->list[p], params->tensors[params->first[p] + i]));
  return HMOE_OK;
}

/* How often entry 0 reads each parameter: steps that read it as it is, and copies of it. */
static void count_readers(const hmoe_plan *plan, uint64_t *readers) {
  const hmoe_plan_entry *entry = HMOE_PLAN_ARRAY(plan, plan->entries, hmoe_plan_entry);
  const hmoe_plan_step *steps = HMOE_PLAN_ARRAY(plan, entry->steps, hmoe_plan_step);
  const hmoe_plan_buffer *buffers = HMOE_PLAN_ARRAY(plan, entry->buffers, hmoe_plan_buffer);
  for (uint32_t s = 0; s < entry->steps.count; s++) {
    uint32_t read[HMOE_STEP_PARAMS_MAX], count = hmoe_step_params(plan, &steps[s], read);
    for (uint32_t i = 0; i < count; i++) readers[read[i]]++;
  }
  for (uint32_t i = 0; i < entry->buffers.count; i++)
    if (buffers[i].kind == HMOE_BUFFER_PARAM) readers[buffers[i].index]++;
}

static void share_bytes(hmoe_params *params, const hmoe_plan *plan) {
  memset(params->share_bytes, 0, params->count * sizeof *params->share_bytes);
  count_readers(plan, params->share_bytes);
  for (uint64_t p = 0; p < params->count; p++) {
    uint64_t readers = params->share_bytes[p], bytes = 0;
    if (!readers) continue;
    for (uint32_t i = 0; i < params->list[p].count; i++) {
      const hmoe_tensor *tensor = params->tensors[params->first[p] + i];
      bytes += tensor->end - tensor->begin;
    }
    params->share_bytes[p] = bytes / readers;
    params->read_bytes += bytes;
  }
}

hmoe_status hmoe_params_init(hmoe_params *params, const hmoe_plan *plan, const hmoe_checkpoint *checkpoint,
                             const hmoe_allocator *allocator) {
  *params = (hmoe_params){
      .allocator = allocator, .list = HMOE_PLAN_ARRAY(plan, plan->params, hmoe_plan_param), .count = plan->params.count};
  void *memory = NULL;
  hmoe_status status = hmoe_allocate(allocator, 2 * params->count * sizeof *params->first, "the parameters", &memory);
  params->first = memory;
  if (status != HMOE_OK) goto done;
  params->share_bytes = params->first + params->count;
  for (uint64_t p = 0; p < params->count; p++) {
    params->first[p] = params->total;
    params->total += params->list[p].count;
  }
  status = hmoe_allocate(allocator, hmoe_mul(params->total, sizeof *params->tensors), "the parameters", &memory);
  params->tensors = memory;
  if (status == HMOE_OK) status = resolve(params, plan, checkpoint);
  if (status == HMOE_OK) share_bytes(params, plan);
done:
  if (status != HMOE_OK) hmoe_params_deinit(params);
  return status;
}

void hmoe_params_deinit(hmoe_params *params) {
  if (!params->allocator) return;
  hmoe_release(params->allocator, params->tensors, params->total * sizeof *params->tensors);
  hmoe_release(params->allocator, params->first, 2 * params->count * sizeof *params->first);
  *params = (hmoe_params){0};
}

void hmoe_params_drop(const hmoe_params *params, uint64_t index) {
  for (uint32_t i = 0; i < params->list[index].count; i++) {
    const hmoe_tensor *tensor = params->tensors[params->first[index] + i];
    hmoe_mapping_drop(tensor->mapping, tensor->data, tensor->end - tensor->begin);
  }
}

void hmoe_params_note_surplus(const hmoe_checkpoint *checkpoint, const hmoe_options *options) {
  enum { NAMED = 4 };
  if (!options->note) return;
  char text[1024];
  size_t used = 0, surplus = 0, count = hmoe_checkpoint_count(checkpoint);
  for (size_t i = 0; i < count; i++) surplus += hmoe_checkpoint_unused(checkpoint, i) != NULL;
  if (!surplus) return;
  used += (size_t)snprintf(text, sizeof text, "%.300s: %zu tensor%s not used:", checkpoint->mapping.name, surplus,
                           surplus == 1 ? " is" : "s are");
  size_t named = 0;
  for (size_t i = 0; i < count && named < NAMED; i++) {
    const char *name = hmoe_checkpoint_unused(checkpoint, i);
    if (!name) continue;
    used += (size_t)snprintf(text + used, sizeof text - used, "%s %.120s", named ? "," : "", name);
    named++;
  }
  if (surplus > named) snprintf(text + used, sizeof text - used, ", and %zu more", surplus - named);
  options->note(options->note_context, text);
}
