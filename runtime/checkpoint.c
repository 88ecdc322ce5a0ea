/* A checkpoint: the tensors of one safetensors file, or of several that an index names.
 *
 *   DIRECTORY -> DIRECTORY/model.safetensors, or else DIRECTORY/model.safetensors.index.json
 *   index     -> the files beside it, each opened when the first of its tensors is asked for
 *
 * Files in which nothing is looked for need not exist, nor tensors that an index names and nobody needs. Which tensor a key means: keys.c. */
#include "runtime_internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char *const file_names[] = {"model.safetensors", "model.safetensors.index.json", NULL};
const char *const hmoe_foreign_weights[] = {
    "pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack", "model.onnx", NULL};

/* folder, of `length` characters, and name. */
static hmoe_status join(const hmoe_allocator *allocator, const char *folder, size_t length, const char *name,
                        hmoe_memory *out_path) {
  uint64_t bytes = length + strlen(name) + 2;
  void *memory = NULL;
  *out_path = (hmoe_memory){0};
  HMOE_TRY(hmoe_allocate(allocator, bytes, "a file name", &memory));
  const char *slash = length && folder[length - 1] != '/' ? "/" : "";
  snprintf(memory, bytes, "%.*s%s%s", (int)length, folder, slash, name);
  *out_path = (hmoe_memory){memory, bytes};
  return HMOE_OK;
}

/* The first of `names` that is in the folder; NULL path: none. */
static hmoe_status find_in_folder(const hmoe_checkpoint *checkpoint, const char *folder, const char *const *names,
                                  hmoe_memory *out_path) {
  for (size_t i = 0; names[i]; i++) {
    HMOE_TRY(join(checkpoint->allocator, folder, strlen(folder), names[i], out_path));
    if (hmoe_path_exists((const char *)out_path->data)) return HMOE_OK;
    hmoe_release(checkpoint->allocator, out_path->data, out_path->size_bytes);
    *out_path = (hmoe_memory){0};
  }
  return HMOE_OK;
}

static hmoe_status find_file(hmoe_checkpoint *checkpoint, const char *folder) {
  HMOE_TRY(find_in_folder(checkpoint, folder, file_names, &checkpoint->path));
  if (checkpoint->path.data) return HMOE_OK;
  hmoe_memory foreign;
  HMOE_TRY(find_in_folder(checkpoint, folder, hmoe_foreign_weights, &foreign));
  hmoe_status status =
      foreign.data
          ? hmoe_fail(HMOE_IO_ERROR,
                      "%s: expected %s or %s, found %s: convert it in Python with save_pretrained(DIR, safe_serialization=True)",
                      folder, file_names[0], file_names[1], strrchr((const char *)foreign.data, '/') + 1)
          : hmoe_fail(HMOE_IO_ERROR, "%s: expected %s or %s in the directory, found neither", folder, file_names[0], file_names[1]);
  hmoe_release(checkpoint->allocator, foreign.data, foreign.size_bytes);
  return status;
}

hmoe_status hmoe_checkpoint_open(hmoe_checkpoint *checkpoint, const hmoe_weights *weights, const hmoe_allocator *allocator) {
  *checkpoint = (hmoe_checkpoint){.allocator = allocator};
  hmoe_weights file = *weights;
  struct stat info;
  hmoe_status status = HMOE_OK;
  if (file.kind == HMOE_WEIGHTS_PATH && file.path && *file.path && stat(file.path, &info) == 0 && S_ISDIR(info.st_mode)) {
    status = find_file(checkpoint, file.path);
    file.path = (const char *)checkpoint->path.data;
  }
  if (status == HMOE_OK) status = hmoe_mapping_init(&checkpoint->mapping, &file);
  if (status == HMOE_OK && hmoe_index_detect(&checkpoint->mapping) && file.kind != HMOE_WEIGHTS_PATH)
    status = hmoe_fail(HMOE_INVALID_WEIGHTS, "%s: an index of several files is opened by its path", checkpoint->mapping.name);
  if (status != HMOE_OK) hmoe_checkpoint_close(checkpoint);
  return status;
}

hmoe_status hmoe_checkpoint_read(hmoe_checkpoint *checkpoint) {
  if (!hmoe_index_detect(&checkpoint->mapping)) {
    hmoe_mapping_expect_reading(&checkpoint->mapping);
    HMOE_TRY(hmoe_safetensors_init(&checkpoint->file, &checkpoint->mapping, checkpoint->allocator));
    return hmoe_checkpoint_sort_cores(checkpoint);
  }
  HMOE_TRY(hmoe_index_init(&checkpoint->index, &checkpoint->mapping, checkpoint->allocator));
  uint64_t bytes = hmoe_mul(checkpoint->index.files, sizeof *checkpoint->shards);
  void *memory = NULL;
  HMOE_TRY(hmoe_allocate(checkpoint->allocator, bytes, "the files of a checkpoint", &memory));
  memset(memory, 0, bytes);
  checkpoint->shards = memory;
  return hmoe_checkpoint_sort_cores(checkpoint);
}

void hmoe_checkpoint_close(hmoe_checkpoint *checkpoint) {
  const hmoe_allocator *allocator = checkpoint->allocator;
  hmoe_release(allocator, checkpoint->cores, hmoe_checkpoint_count(checkpoint) * sizeof *checkpoint->cores);
  for (size_t i = 0; checkpoint->shards && i < checkpoint->index.files; i++) {
    hmoe_shard *shard = &checkpoint->shards[i];
    hmoe_safetensors_deinit(&shard->file);
    hmoe_mapping_deinit(&shard->mapping);
    hmoe_release(allocator, shard->path.data, shard->path.size_bytes);
  }
  hmoe_release(allocator, checkpoint->shards, checkpoint->index.files * sizeof *checkpoint->shards);
  hmoe_index_deinit(&checkpoint->index);
  hmoe_safetensors_deinit(&checkpoint->file);
  hmoe_mapping_deinit(&checkpoint->mapping);
  hmoe_release(allocator, checkpoint->path.data, checkpoint->path.size_bytes);
  *checkpoint = (hmoe_checkpoint){0};
}

static hmoe_status map_shard(const hmoe_checkpoint *checkpoint, const hmoe_index_entry *entry, hmoe_shard *shard) {
  const char *index = checkpoint->mapping.name, *slash = strrchr(index, '/');
  if (!shard->path.data)
    HMOE_TRY(join(checkpoint->allocator, index, slash ? (size_t)(slash - index) + 1 : 0, entry->file, &shard->path));
  hmoe_weights weights = {.kind = HMOE_WEIGHTS_PATH, .path = (const char *)shard->path.data};
  hmoe_status status = hmoe_mapping_init(&shard->mapping, &weights);
  if (status != HMOE_OK) {
    char reason[HMOE_MESSAGE_BYTES];
    snprintf(reason, sizeof reason, "%s", hmoe_last_error());
    return hmoe_fail(status, "%s: tensor '%.200s' is in %s", index, entry->tensor, reason);
  }
  if (!hmoe_index_detect(&shard->mapping)) return HMOE_OK;
  return hmoe_fail(HMOE_INVALID_WEIGHTS, "%s: tensor '%.200s' is in '%.200s', which is an index itself: cyclic", index,
                   entry->tensor, entry->file);
}

static hmoe_status open_shard(const hmoe_checkpoint *checkpoint, const hmoe_index_entry *entry, hmoe_shard *shard) {
  HMOE_TRY(map_shard(checkpoint, entry, shard));
  hmoe_mapping_expect_reading(&shard->mapping);
  return hmoe_safetensors_init(&shard->file, &shard->mapping, checkpoint->allocator);
}

size_t hmoe_checkpoint_count(const hmoe_checkpoint *checkpoint) {
  return checkpoint->shards ? checkpoint->index.count : checkpoint->file.count;
}

const char *hmoe_checkpoint_name(const hmoe_checkpoint *checkpoint, size_t number) {
  return checkpoint->shards ? checkpoint->index.entries[number].tensor : checkpoint->file.tensors[number].name;
}

bool hmoe_checkpoint_number(const hmoe_checkpoint *checkpoint, const char *name, size_t *out_number) {
  if (!checkpoint->shards) {
    const hmoe_tensor *tensor = hmoe_safetensors_find(&checkpoint->file, name);
    if (tensor) *out_number = (size_t)(tensor - checkpoint->file.tensors);
    return tensor;
  }
  const hmoe_index_entry *entry = hmoe_index_find(&checkpoint->index, name);
  if (entry) *out_number = (size_t)(entry - checkpoint->index.entries);
  return entry;
}

hmoe_status hmoe_checkpoint_tensor(const hmoe_checkpoint *checkpoint, size_t number, hmoe_tensor **out_tensor) {
  *out_tensor = NULL;
  if (!checkpoint->shards) {
    *out_tensor = &checkpoint->file.tensors[number];
    return HMOE_OK;
  }
  const hmoe_index_entry *entry = &checkpoint->index.entries[number];
  hmoe_shard *shard = &checkpoint->shards[entry->number];
  if (!shard->file.allocator) HMOE_TRY(open_shard(checkpoint, entry, shard));
  *out_tensor = hmoe_safetensors_find(&shard->file, entry->tensor);
  return HMOE_OK;
}

void hmoe_checkpoint_use(const hmoe_checkpoint *checkpoint, size_t number) {
  if (checkpoint->shards) checkpoint->index.entries[number].used = true;
  else checkpoint->file.tensors[number].used = true;
}

const char *hmoe_checkpoint_unused(const hmoe_checkpoint *checkpoint, size_t number) {
  bool used = checkpoint->shards ? checkpoint->index.entries[number].used : checkpoint->file.tensors[number].used;
  return used ? NULL : hmoe_checkpoint_name(checkpoint, number);
}
