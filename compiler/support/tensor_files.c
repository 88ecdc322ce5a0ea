#include "support/tensor_files.h"

#include "support/arena.h"

struct hmoec_tensor_files {
  hmoec_arena *arena;
  hmoec_diagnostics *diagnostics;
  hmoe_allocator allocator;
  hmoe_checkpoint checkpoint;
};

static bool files_open(hmoec_tensor_files *files, const char *path) {
  const hmoe_weights weights = {.kind = HMOE_WEIGHTS_PATH, .path = hmoec_arena_strdup(files->arena, path)};
  hmoe_status status = hmoe_checkpoint_open(&files->checkpoint, &weights, &files->allocator);
  if (status != HMOE_OK) return hmoec_runtime_error(files->diagnostics, status);
  if (hmoe_packed_detect(&files->checkpoint.mapping))
    return hmoec_error(files->diagnostics, (hmoec_location){.file = files->checkpoint.mapping.name},
                       "these are packed weights; the .safetensors file that they were packed from is needed here");
  status = hmoe_checkpoint_read(&files->checkpoint);
  return status == HMOE_OK || hmoec_runtime_error(files->diagnostics, status);
}

bool hmoec_tensor_files_open(const char *path, hmoec_diagnostics *diagnostics, hmoec_tensor_files **out_files) {
  hmoec_arena *arena = hmoec_arena_create();
  hmoec_tensor_files *files = hmoec_arena_alloc(arena, sizeof *files);
  *files = (hmoec_tensor_files){.arena = arena, .diagnostics = diagnostics, .allocator = hmoe_allocator_default()};
  *out_files = files;
  if (files_open(files, path)) return true;
  hmoec_tensor_files_close(files);
  *out_files = NULL;
  return false;
}

void hmoec_tensor_files_close(hmoec_tensor_files *files) {
  if (!files) return;
  if (files->checkpoint.allocator) hmoe_checkpoint_close(&files->checkpoint);
  hmoec_arena_destroy(files->arena);
}

bool hmoec_tensor_files_find(hmoec_tensor_files *files, const char *key, const hmoe_tensor **out_tensor) {
  hmoe_tensor *tensor;
  hmoe_status status = hmoe_checkpoint_find(&files->checkpoint, key, &tensor);
  *out_tensor = tensor;
  return status == HMOE_OK || hmoec_runtime_error(files->diagnostics, status);
}

bool hmoec_tensor_files_have(hmoec_tensor_files *files, const char *key) {
  bool there, equal;
  return hmoe_checkpoint_look(&files->checkpoint, key, &there, &equal) != HMOE_OK || there;
}

bool hmoec_tensor_files_tied(hmoec_tensor_files *files, const char *key) {
  bool there, equal;
  return hmoe_checkpoint_look(&files->checkpoint, key, &there, &equal) != HMOE_OK || equal;
}

size_t hmoec_tensor_files_count(const hmoec_tensor_files *files) { return hmoe_checkpoint_count(&files->checkpoint); }

const char *hmoec_tensor_files_name(const hmoec_tensor_files *files, size_t number) {
  return number < hmoec_tensor_files_count(files) ? hmoe_checkpoint_name(&files->checkpoint, number) : NULL;
}

const char *hmoec_tensor_files_unused(const hmoec_tensor_files *files, size_t number) {
  return number < hmoec_tensor_files_count(files) ? hmoe_checkpoint_unused(&files->checkpoint, number) : NULL;
}

const char *hmoec_tensor_files_path(const hmoec_tensor_files *files) { return files->checkpoint.mapping.name; }
