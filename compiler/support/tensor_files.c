/* An index is {"weight_map": {"TENSOR": "FILE", ...}, ...}; the files lie beside it. */
#include "support/tensor_files.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/json.h"
#include "support/limits.h"
#include "support/name_map.h"
#include "support/paths.h"

enum { MAX_SHARDS = 4096 };

typedef struct shard {
  const char *path; /* arena */
  hmoe_mapping mapping;
  hmoe_safetensors file;
  bool mapped, read;
} shard;

struct hmoec_tensor_files {
  hmoec_arena *arena;
  hmoe_allocator allocator;
  const char *path;
  shard *shards;
  size_t shard_count;
};

static bool shard_open(hmoec_tensor_files *files, const char *path, hmoec_diagnostics *diagnostics) {
  shard *added = &files->shards[files->shard_count++];
  added->path = path;
  const hmoe_weights weights = {.kind = HMOE_WEIGHTS_PATH, .path = path};
  added->mapped = hmoe_mapping_init(&added->mapping, &weights) == HMOE_OK;
  if (added->mapped && hmoe_packed_detect(&added->mapping))
    return hmoec_error(diagnostics, (hmoec_location){.file = path},
                       "these are packed weights; the .safetensors file that they were packed from is needed here");
  added->read = added->mapped && hmoe_safetensors_init(&added->file, &added->mapping, &files->allocator) == HMOE_OK;
  return added->read || hmoec_error(diagnostics, (hmoec_location){0}, "%s", hmoe_last_error()); /* it names the file */
}

static const char *beside(hmoec_arena *arena, const char *path, const char *name) {
  const char *slash = strrchr(path, '/');
  return hmoec_arena_printf(arena, "%.*s%s", slash ? (int)(slash - path) + 1 : 0, path, name);
}

static bool has_suffix(const char *text, const char *suffix) {
  size_t length = strlen(text), suffix_length = strlen(suffix);
  return length >= suffix_length && strcmp(text + length - suffix_length, suffix) == 0;
}

/* Every tensor of the index is in the shard that it names. */
static bool index_check(hmoec_tensor_files *files, const hmoec_json *index, const cJSON *map, const hmoec_name_map *names,
                        hmoec_diagnostics *diagnostics) {
  const cJSON *item;
  cJSON_ArrayForEach(item, map) {
    shard *named = &files->shards[hmoec_name_map_find(names, item->valuestring)];
    if (!hmoe_safetensors_find(&named->file, item->string))
      return hmoec_error(diagnostics, (hmoec_location){.file = index->path}, "'%.200s' is said to be in %s, which does not have it",
                         item->string, item->valuestring);
  }
  return true;
}

static bool index_open(hmoec_tensor_files *files, const hmoec_json *index, hmoec_diagnostics *diagnostics) {
  const hmoec_location at = {.file = index->path};
  const cJSON *map = cJSON_GetObjectItemCaseSensitive(index->root, "weight_map"), *item;
  if (!cJSON_IsObject(map)) return hmoec_error(diagnostics, at, "expected an object \"weight_map\" of tensors and their files");
  hmoec_name_map names = {.arena = files->arena};
  cJSON_ArrayForEach(item, map) {
    if (!cJSON_IsString(item))
      return hmoec_error(diagnostics, at, "weight_map: expected the file of '%.200s' as a string", item->string);
    if (strchr(item->valuestring, '/') || !has_suffix(item->valuestring, ".safetensors"))
      return hmoec_error(diagnostics, at, "weight_map: expected a .safetensors file beside the index for '%.200s', found '%.200s'",
                         item->string, item->valuestring);
    hmoec_name_map_add(&names, item->valuestring);
  }
  if (names.count == 0) return hmoec_error(diagnostics, at, "weight_map: no tensor is named");
  if (names.count > MAX_SHARDS) return hmoec_error(diagnostics, at, "weight_map: more than %d files", MAX_SHARDS);
  files->shards = hmoec_arena_alloc_array(files->arena, names.count, sizeof *files->shards);
  for (size_t i = 0; i < names.count; i++) {
    const char *path = beside(files->arena, index->path, names.names[i]);
    if (access(path, F_OK) != 0) return hmoec_error(diagnostics, at, "the shard %s that it names is missing", names.names[i]);
    if (!shard_open(files, path, diagnostics)) return false;
  }
  return index_check(files, index, map, &names, diagnostics);
}

/* model.safetensors, or the index of its shards. */
static const char *directory_entry(hmoec_arena *arena, const char *directory, hmoec_diagnostics *diagnostics) {
  static const char *const names[] = {"model.safetensors", "model.safetensors.index.json"}, *const pickled[] = {
                                                                                                "pytorch_model.bin",
                                                                                                "pytorch_model.bin.index.json"};
  for (size_t i = 0; i < 2; i++) {
    const char *path = hmoec_arena_printf(arena, "%s/%s", directory, names[i]);
    if (access(path, F_OK) == 0) return path;
  }
  for (size_t i = 0; i < 2; i++) {
    if (access(hmoec_arena_printf(arena, "%s/%s", directory, pickled[i]), F_OK) != 0) continue;
    hmoec_error(
        diagnostics, (hmoec_location){.file = directory},
        "the weights are in %s: convert them to safetensors (model.safetensors), a format that runs no code when it is read",
        pickled[i]);
    return NULL;
  }
  hmoec_error(diagnostics, (hmoec_location){.file = directory},
              "it has neither model.safetensors nor model.safetensors.index.json");
  return NULL;
}

static bool files_open(hmoec_tensor_files *files, const char *path, hmoec_diagnostics *diagnostics) {
  size_t length = strlen(path);
  while (length > 1 && path[length - 1] == '/') length--;
  path = hmoec_arena_strndup(files->arena, path, length);
  files->path = hmoec_is_directory(path) ? directory_entry(files->arena, path, diagnostics) : path;
  if (!files->path) return false;
  if (!has_suffix(files->path, ".json")) {
    files->shards = hmoec_arena_alloc(files->arena, sizeof *files->shards);
    return shard_open(files, files->path, diagnostics);
  }
  hmoec_json index;
  bool ok = hmoec_json_read(files->arena, files->path, HMOEC_INDEX_MAX_BYTES, diagnostics, &index) &&
            index_open(files, &index, diagnostics);
  hmoec_json_deinit(&index);
  return ok;
}

bool hmoec_tensor_files_open(const char *path, hmoec_diagnostics *diagnostics, hmoec_tensor_files **out_files) {
  hmoec_arena *arena = hmoec_arena_create();
  hmoec_tensor_files *files = hmoec_arena_alloc(arena, sizeof *files);
  files->arena = arena;
  files->allocator = hmoe_allocator_default();
  *out_files = files;
  if (files_open(files, path, diagnostics)) return true;
  hmoec_tensor_files_close(files);
  *out_files = NULL;
  return false;
}

void hmoec_tensor_files_close(hmoec_tensor_files *files) {
  if (!files) return;
  for (size_t i = files->shard_count; i-- > 0;) {
    if (files->shards[i].read) hmoe_safetensors_deinit(&files->shards[i].file);
    if (files->shards[i].mapped) hmoe_mapping_deinit(&files->shards[i].mapping);
  }
  hmoec_arena_destroy(files->arena);
}

hmoe_tensor *hmoec_tensor_files_find(hmoec_tensor_files *files, const char *name, const char **out_file) {
  for (size_t i = 0; i < files->shard_count; i++) {
    hmoe_tensor *tensor = hmoe_safetensors_find(&files->shards[i].file, name);
    if (!tensor) continue;
    if (out_file) *out_file = files->shards[i].path;
    return tensor;
  }
  return NULL;
}

hmoe_tensor *hmoec_tensor_files_at(hmoec_tensor_files *files, size_t index) {
  for (size_t i = 0; i < files->shard_count; i++) {
    if (index < files->shards[i].file.count) return &files->shards[i].file.tensors[index];
    index -= files->shards[i].file.count;
  }
  return NULL;
}

const char *hmoec_tensor_files_path(const hmoec_tensor_files *files) { return files->path; }
