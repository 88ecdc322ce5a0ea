/* Reads the index of a checkpoint in several files, which says where each tensor is.
 *
 *   {"metadata": ..., "weight_map": {"TENSOR": "FILE", ...}}
 *
 * Guarantees, when init returns OK: every tensor is named once, and every file is the name of another file beside the index: no path,
 * not the index itself. What is not weight_map is not looked at. The file may come from anywhere. */
#include "runtime_internal.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t index_max_bytes = 100u << 20;

#define BAD(...) hmoe_fail(HMOE_INVALID_WEIGHTS, __VA_ARGS__)

/* JSON text has no zero bytes, the header's length of a safetensors file has some. */
bool hmoe_index_detect(const hmoe_mapping *mapping) {
  uint64_t at = 0;
  while (at < mapping->size_bytes && strchr(" \n\t\r", mapping->data[at]) && mapping->data[at]) at++;
  if (at == mapping->size_bytes || mapping->data[at] != '{') return false;
  return !memchr(mapping->data, 0, hmoe_min(mapping->size_bytes, 8));
}

static const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

static hmoe_status read_entry(const hmoe_index *index, const cJSON *item, hmoe_index_entry *out) {
  if (!cJSON_IsString(item)) return BAD("%s: weight_map: expected a file name for tensor '%.200s'", index->name, item->string);
  const char *file = item->valuestring;
  if (!*file || strchr(file, '/') || strstr(file, "..") || !strcmp(file, "."))
    return BAD("%s: weight_map: tensor '%.200s': expected the name of a file beside the index, found '%.200s'", index->name,
               item->string, file);
  if (!strcmp(file, base_name(index->name)))
    return BAD("%s: weight_map: tensor '%.200s': the index is cyclic: it names itself", index->name, item->string);
  *out = (hmoe_index_entry){.tensor = item->string, .file = file};
  return HMOE_OK;
}

static int by_file(const void *left, const void *right) {
  return strcmp(((const hmoe_index_entry *)left)->file, ((const hmoe_index_entry *)right)->file);
}

static int by_tensor(const void *left, const void *right) {
  return strcmp(((const hmoe_index_entry *)left)->tensor, ((const hmoe_index_entry *)right)->tensor);
}

static void number_files(hmoe_index *index) {
  qsort(index->entries, index->count, sizeof *index->entries, by_file);
  for (size_t i = 0; i < index->count; i++) {
    if (i == 0 || by_file(&index->entries[i - 1], &index->entries[i]) != 0) index->files++;
    index->entries[i].number = (uint32_t)(index->files - 1);
  }
}

static hmoe_status read_index(hmoe_index *index, const hmoe_mapping *mapping) {
  if (mapping->size_bytes > index_max_bytes)
    return BAD("%s: an index of %llu bytes is not plausible", index->name, (unsigned long long)mapping->size_bytes);
  uint64_t start = 0;
  while (start < mapping->size_bytes && mapping->data[start] != '{') start++; /* blanks, when it was detected */
  HMOE_TRY(
      hmoe_json_read(index->name, "index", (const char *)mapping->data + start, mapping->size_bytes - start, start, &index->json));
  const cJSON *map = cJSON_GetObjectItemCaseSensitive(index->json, "weight_map"), *item;
  if (!map) return BAD("%s: expected an index, found an object without weight_map", index->name);
  if (!cJSON_IsObject(map)) return BAD("%s: weight_map: expected an object of file names", index->name);
  size_t items = 0;
  cJSON_ArrayForEach(item, map) items++;
  void *memory = NULL;
  HMOE_TRY(hmoe_allocate(index->allocator, hmoe_mul(items, sizeof *index->entries), "the index of a checkpoint", &memory));
  index->entries = memory;
  index->capacity = items;
  cJSON_ArrayForEach(item, map) {
    HMOE_TRY(read_entry(index, item, &index->entries[index->count]));
    index->count++;
  }
  number_files(index);
  qsort(index->entries, index->count, sizeof *index->entries, by_tensor);
  return HMOE_OK;
}

hmoe_status hmoe_index_init(hmoe_index *index, const hmoe_mapping *mapping, const hmoe_allocator *allocator) {
  *index = (hmoe_index){.allocator = allocator, .name = mapping->name};
  hmoe_status status = read_index(index, mapping);
  if (status != HMOE_OK) hmoe_index_deinit(index);
  return status;
}

void hmoe_index_deinit(hmoe_index *index) {
  if (!index->allocator) return;
  hmoe_release(index->allocator, index->entries, hmoe_mul(index->capacity, sizeof *index->entries));
  cJSON_Delete(index->json);
  *index = (hmoe_index){0};
}

hmoe_index_entry *hmoe_index_find(const hmoe_index *index, const char *tensor) {
  if (!index->count) return NULL;
  hmoe_index_entry key = {.tensor = tensor};
  return bsearch(&key, index->entries, index->count, sizeof key, by_tensor);
}
