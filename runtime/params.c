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

/* The key of tensor `index`: "{}" stands for it when there are several. plan_check bounds the length and the number of braces. */
static void format_key(const hmoe_plan *plan, const hmoe_plan_param *param, uint32_t index, char *out, size_t size) {
  const char *key = HMOE_PLAN_ARRAY(plan, param->key, char);
  int length = (int)param->key.count;
  int hole = 0;
  while (hole + 1 < length && !(key[hole] == '{' && key[hole + 1] == '}')) hole++;
  if (param->count > 1) snprintf(out, size, "%.*s%u%.*s", hole, key, index, length - hole - 2, key + hole + 2);
  else snprintf(out, size, "%.*s", length, key);
}

static void format_shape(uint32_t rank, const uint64_t *shape, char *out, size_t size) {
  size_t used = (size_t)snprintf(out, size, "[");
  for (uint32_t i = 0; i < rank && i < HMOE_TENSOR_RANK_MAX && used < size; i++)
    used += (size_t)snprintf(out + used, size - used, "%s%llu", i ? ", " : "", (unsigned long long)shape[i]);
  if (used < size) snprintf(out + used, size - used, "%s]", rank > HMOE_TENSOR_RANK_MAX ? ", ..." : "");
}

static hmoe_status check_tensor(const hmoe_safetensors *file, const hmoe_plan_param *param, const hmoe_tensor *tensor) {
  bool same = tensor->rank == param->rank;
  for (uint32_t i = 0; same && i < param->rank; i++) same = tensor->shape[i] == param->shape[i];
  if (!same) {
    char expected[128], found[256];
    format_shape(param->rank, param->shape, expected, sizeof expected);
    format_shape(tensor->rank, tensor->shape, found, sizeof found);
    return hmoe_fail(HMOE_INVALID_WEIGHTS, "%s: tensor '%s': expected shape %s, found %s", file->name, tensor->name, expected,
                     found);
  }
  if (!tensor->dtype->read)
    return hmoe_fail(HMOE_INVALID_WEIGHTS, "%s: tensor '%s': expected F32, F16, BF16 or F64, found %s", file->name, tensor->name,
                     tensor->dtype->name);
  return HMOE_OK;
}

static hmoe_status resolve(hmoe_params *params, const hmoe_plan *plan, const hmoe_safetensors *file) {
  char key[HMOE_NAME_MAX + 16], first_missing[sizeof key] = "";
  uint64_t missing = 0;
  for (uint64_t p = 0; p < params->count; p++) {
    for (uint32_t i = 0; i < params->list[p].count; i++) {
      format_key(plan, &params->list[p], i, key, sizeof key);
      hmoe_tensor *tensor = hmoe_safetensors_find(file, key);
      params->tensors[params->first[p] + i] = tensor;
      if (tensor) tensor->used = true;
      else if (missing++ == 0) memcpy(first_missing, key, sizeof key);
    }
  }
  if (missing > 1)
    return hmoe_fail(HMOE_INVALID_WEIGHTS, "%s: no tensor '%s', and %llu more are missing", file->name, first_missing,
                     (unsigned long long)missing - 1);
  if (missing) return hmoe_fail(HMOE_INVALID_WEIGHTS, "%s: no tensor '%s'", file->name, first_missing);
  for (uint64_t p = 0; p < params->count; p++)
    for (uint32_t i = 0; i < params->list[p].count; i++)
      HMOE_TRY(check_tensor(file, &params->list[p], params->tensors[params->first[p] + i]));
  return HMOE_OK;
}

hmoe_status hmoe_params_init(hmoe_params *params, const hmoe_plan *plan, const hmoe_safetensors *file,
                             const hmoe_allocator *allocator) {
  *params = (hmoe_params){.allocator = allocator,
                          .mapping = file->mapping,
                          .list = HMOE_PLAN_ARRAY(plan, plan->params, hmoe_plan_param),
                          .count = plan->params.count};
  void *memory = NULL;
  hmoe_status status = hmoe_allocate(allocator, params->count * sizeof *params->first, "the parameters", &memory);
  params->first = memory;
  if (status != HMOE_OK) goto done;
  for (uint64_t p = 0; p < params->count; p++) {
    params->first[p] = params->total;
    params->total += params->list[p].count;
  }
  status = hmoe_allocate(allocator, hmoe_mul(params->total, sizeof *params->tensors), "the parameters", &memory);
  params->tensors = memory;
  if (status == HMOE_OK) status = resolve(params, plan, file);
done:
  if (status != HMOE_OK) hmoe_params_deinit(params);
  return status;
}

void hmoe_params_deinit(hmoe_params *params) {
  if (!params->allocator) return;
  hmoe_release(params->allocator, params->tensors, params->total * sizeof *params->tensors);
  hmoe_release(params->allocator, params->first, params->count * sizeof *params->first);
  *params = (hmoe_params){0};
}

void hmoe_params_drop(const hmoe_params *params, uint64_t index) {
  for (uint32_t i = 0; i < params->list[index].count; i++) {
    const hmoe_tensor *tensor = params->tensors[params->first[index] + i];
    hmoe_mapping_drop(params->mapping, tensor->data, tensor->end - tensor->begin);
  }
}

void hmoe_params_note_surplus(const hmoe_safetensors *file, const hmoe_options *options) {
  enum { NAMED = 4 };
  if (!options->note) return;
  char text[1024];
  size_t used = 0, surplus = 0;
  for (size_t i = 0; i < file->count; i++) surplus += !file->tensors[i].used;
  if (!surplus) return;
  used +=
      (size_t)snprintf(text, sizeof text, "%.300s: %zu tensor%s not used:", file->name, surplus, surplus == 1 ? " is" : "s are");
  size_t named = 0;
  for (size_t i = 0; i < file->count && named < NAMED; i++) {
    if (file->tensors[i].used) continue;
    used += (size_t)snprintf(text + used, sizeof text - used, "%s %.120s", named ? "," : "", file->tensors[i].name);
    named++;
  }
  if (surplus > named) snprintf(text + used, sizeof text - used, ", and %zu more", surplus - named);
  options->note(options->note_context, text);
}
