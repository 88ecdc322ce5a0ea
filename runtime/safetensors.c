/* Reads a safetensors file: [8 bytes: header length, little endian][header: JSON][data].
 *
 *   {"NAME": {"dtype": "F32", "shape": [8, 768], "data_offsets": [begin, end]}, ..., "__metadata__": {"KEY": "TEXT", ...}}
 *
 * Guarantees, when init returns OK: every tensor lies inside the data, has a known type, is exactly as long as its shape says, is
 * named once, and the tensors cover the data without overlap or hole, as the format demands. The file may come from anywhere: nothing
 * in it is used before it is checked. */
#include "runtime_internal.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t header_max_bytes = 100u << 20;

#define BAD(...) hmoe_fail(HMOE_INVALID_WEIGHTS, __VA_ARGS__)

static uint64_t load_u64(const uint8_t *bytes) {
  uint64_t value;
  memcpy(&value, bytes, sizeof value);
  return value;
}

/* Doubles hold integers exactly up to 2^53, which no file reaches. */
static bool read_count(const cJSON *item, uint64_t *out_value) {
  if (!cJSON_IsNumber(item)) return false;
  double value = item->valuedouble;
  if (!(value >= 0 && value <= 0x1p53)) return false;
  *out_value = (uint64_t)value;
  return (double)*out_value == value;
}

static hmoe_status check_metadata(const char *file, const cJSON *metadata) {
  if (!cJSON_IsObject(metadata)) return BAD("%s: __metadata__: expected an object of strings", file);
  const cJSON *item;
  cJSON_ArrayForEach(item, metadata) {
    if (!cJSON_IsString(item)) return BAD("%s: __metadata__: expected a string for '%.200s'", file, item->string);
  }
  return HMOE_OK;
}

static hmoe_status read_shape(const char *file, const cJSON *shape, hmoe_tensor *tensor) {
  if (!cJSON_IsArray(shape)) return BAD("%s: tensor '%.200s': shape: expected an array", file, tensor->name);
  tensor->elements = 1;
  const cJSON *item;
  cJSON_ArrayForEach(item, shape) {
    uint64_t size;
    if (!read_count(item, &size))
      return BAD("%s: tensor '%.200s': shape: expected integers >= 0, found something else at position %u", file, tensor->name,
                 tensor->rank);
    if (tensor->rank < HMOE_TENSOR_RANK_MAX) tensor->shape[tensor->rank] = size;
    tensor->rank++;
    tensor->elements = hmoe_mul(tensor->elements, size);
  }
  return HMOE_OK;
}

static hmoe_status read_tensor(const char *file, const cJSON *item, const uint8_t *data, uint64_t data_bytes, hmoe_tensor *tensor) {
  *tensor = (hmoe_tensor){.name = item->string};
  if (!cJSON_IsObject(item)) return BAD("%s: tensor '%.200s': expected an object", file, tensor->name);
  const cJSON *fields[3] = {NULL, NULL, NULL};
  static const char *const field_names[3] = {"dtype", "shape", "data_offsets"};
  const cJSON *field;
  cJSON_ArrayForEach(field, item) {
    int which = 0;
    while (which < 3 && strcmp(field->string, field_names[which]) != 0) which++;
    if (which == 3) return BAD("%s: tensor '%.200s': unknown field '%.60s'", file, tensor->name, field->string);
    fields[which] = field;
  }
  for (int which = 0; which < 3; which++)
    if (!fields[which]) return BAD("%s: tensor '%.200s': no field '%s'", file, tensor->name, field_names[which]);

  if (!cJSON_IsString(fields[0])) return BAD("%s: tensor '%.200s': dtype: expected a string", file, tensor->name);
  tensor->dtype = hmoe_dtype_find(fields[0]->valuestring);
  if (!tensor->dtype)
    return BAD("%s: tensor '%.200s': dtype: expected F32, BF16, F16, ..., found '%.60s'", file, tensor->name,
               fields[0]->valuestring);
  HMOE_TRY(read_shape(file, fields[1], tensor));

  const cJSON *offsets = fields[2];
  if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 || !read_count(offsets->child, &tensor->begin) ||
      !read_count(offsets->child->next, &tensor->end))
    return BAD("%s: tensor '%.200s': data_offsets: expected two integers >= 0", file, tensor->name);
  if (tensor->begin <= tensor->end && tensor->end > data_bytes)
    return BAD(
        "%s: truncated: tensor '%.200s' ends at byte %llu of the data, the file has %llu of them; download or write it again", file,
        tensor->name, (unsigned long long)tensor->end, (unsigned long long)data_bytes);
  if (tensor->begin > tensor->end)
    return BAD("%s: tensor '%.200s': data_offsets: expected begin <= end, found [%llu, %llu]", file, tensor->name,
               (unsigned long long)tensor->begin, (unsigned long long)tensor->end);
  uint64_t bits = hmoe_mul(tensor->elements, tensor->dtype->bits);
  if (bits == UINT64_MAX || bits % 8 != 0 || bits / 8 != tensor->end - tensor->begin)
    return BAD("%s: tensor '%.200s': %s and shape make %llu bytes, data_offsets %llu", file, tensor->name, tensor->dtype->name,
               (unsigned long long)(bits / 8), (unsigned long long)(tensor->end - tensor->begin));
  tensor->data = data + tensor->begin;
  return HMOE_OK;
}

static int by_offset(const void *left, const void *right) {
  const hmoe_tensor *a = left, *b = right;
  if (a->begin != b->begin) return a->begin < b->begin ? -1 : 1;
  return (a->end > b->end) - (a->end < b->end);
}

static int by_name(const void *left, const void *right) {
  return strcmp(((const hmoe_tensor *)left)->name, ((const hmoe_tensor *)right)->name);
}

/* The data must be covered, in order, without overlap or hole. */
static hmoe_status check_cover(hmoe_safetensors *file, uint64_t data_bytes) {
  qsort(file->tensors, file->count, sizeof *file->tensors, by_offset);
  uint64_t covered = 0;
  for (size_t i = 0; i < file->count; i++) {
    const hmoe_tensor *tensor = &file->tensors[i];
    if (tensor->begin < covered)
      return BAD("%s: tensors '%.200s' and '%.200s' overlap", file->name, file->tensors[i - 1].name, tensor->name);
    if (tensor->begin > covered)
      return BAD("%s: %llu bytes before tensor '%.200s' belong to no tensor", file->name,
                 (unsigned long long)(tensor->begin - covered), tensor->name);
    covered = tensor->end;
  }
  if (covered < data_bytes)
    return BAD("%s: %llu bytes at the end of the file belong to no tensor", file->name, (unsigned long long)(data_bytes - covered));
  return HMOE_OK;
}

static hmoe_status not_safetensors(const char *name, const hmoe_mapping *mapping) {
  char found[HMOE_CONTENT_CHARS];
  hmoe_content content = hmoe_content_find(mapping->data, mapping->size_bytes);
  if (content == HMOE_CONTENT_SAFETENSORS || (content == HMOE_CONTENT_UNKNOWN && mapping->size_bytes >= 8))
    return BAD("%s: expected a safetensors or .hmw file: a header of %llu bytes is not plausible", name,
               (unsigned long long)load_u64(mapping->data));
  return BAD("%s: expected a safetensors or .hmw file, found %s", name,
             hmoe_content_string(mapping->data, mapping->size_bytes, found));
}

static hmoe_status read_file(hmoe_safetensors *file, const hmoe_mapping *mapping) {
  const char *name = file->name;
  if (mapping->size_bytes < 8) return not_safetensors(name, mapping);
  uint64_t length = load_u64(mapping->data);
  hmoe_content content = hmoe_content_find(mapping->data, mapping->size_bytes);
  bool other = content != HMOE_CONTENT_SAFETENSORS && content != HMOE_CONTENT_UNKNOWN;
  if (other || length > header_max_bytes || length < 2) return not_safetensors(name, mapping);
  if (length > mapping->size_bytes - 8)
    return BAD("%s: truncated: the header is %llu bytes long, the file has %llu; download or write it again", name,
               (unsigned long long)length, (unsigned long long)mapping->size_bytes - 8);
  HMOE_TRY(hmoe_json_read(name, "header", (const char *)mapping->data + 8, length, 8, &file->json));

  const uint8_t *data = mapping->data + 8 + length;
  uint64_t data_bytes = mapping->size_bytes - 8 - length;
  size_t items = 0;
  const cJSON *item;
  cJSON_ArrayForEach(item, file->json) items++;
  void *memory = NULL;
  HMOE_TRY(hmoe_allocate(file->allocator, hmoe_mul(items, sizeof *file->tensors), "the list of tensors", &memory));
  file->tensors = memory;
  file->capacity = items;
  cJSON_ArrayForEach(item, file->json) {
    if (!strcmp(item->string, "__metadata__")) {
      HMOE_TRY(check_metadata(name, item));
    } else {
      HMOE_TRY(read_tensor(name, item, data, data_bytes, &file->tensors[file->count]));
      file->tensors[file->count++].mapping = mapping;
    }
  }
  HMOE_TRY(check_cover(file, data_bytes));
  qsort(file->tensors, file->count, sizeof *file->tensors, by_name);
  return HMOE_OK;
}

hmoe_status hmoe_safetensors_init(hmoe_safetensors *file, const hmoe_mapping *mapping, const hmoe_allocator *allocator) {
  *file = (hmoe_safetensors){.allocator = allocator, .name = mapping->name};
  hmoe_status status = read_file(file, mapping);
  if (status != HMOE_OK) hmoe_safetensors_deinit(file);
  return status;
}

void hmoe_safetensors_deinit(hmoe_safetensors *file) {
  if (!file->allocator) return;
  hmoe_release(file->allocator, file->tensors, hmoe_mul(file->capacity, sizeof *file->tensors));
  cJSON_Delete(file->json);
  *file = (hmoe_safetensors){0};
}

hmoe_tensor *hmoe_safetensors_find(const hmoe_safetensors *file, const char *name) {
  size_t low = 0, high = file->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = strcmp(name, file->tensors[middle].name);
    if (order == 0) return &file->tensors[middle];
    if (order < 0) high = middle;
    else low = middle + 1;
  }
  return NULL;
}
