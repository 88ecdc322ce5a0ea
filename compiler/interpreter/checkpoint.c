/* Parameters from a .safetensors file, through the runtime's reader. */
#include <stdlib.h>
#include <string.h>

#include "interpreter/parameters.h"
#include "runtime_internal.h"

struct hmoec_checkpoint {
  char *path;
  hmoe_allocator allocator;
  hmoe_mapping mapping;
  hmoe_safetensors file;
};

bool hmoec_checkpoint_open(const char *path, hmoec_diagnostics *diagnostics, hmoec_checkpoint **out_checkpoint) {
  *out_checkpoint = NULL;
  hmoec_checkpoint *checkpoint = calloc(1, sizeof *checkpoint);
  if (!checkpoint || !(checkpoint->path = strdup(path))) {
    free(checkpoint);
    return hmoec_machine_error(diagnostics, "%s: out of memory", path);
  }
  checkpoint->allocator = hmoe_allocator_default();
  const hmoe_weights weights = {.kind = HMOE_WEIGHTS_PATH, .path = checkpoint->path};
  bool mapped = hmoe_mapping_init(&checkpoint->mapping, &weights) == HMOE_OK;
  if (mapped && hmoe_packed_detect(&checkpoint->mapping)) {
    hmoec_error(diagnostics, (hmoec_location){.file = path},
                "these are packed weights; the interpreter needs the .safetensors file they were packed from");
    hmoe_mapping_deinit(&checkpoint->mapping);
    free(checkpoint->path);
    free(checkpoint);
    return false;
  }
  if (mapped && hmoe_safetensors_init(&checkpoint->file, &checkpoint->mapping, &checkpoint->allocator) == HMOE_OK) {
    *out_checkpoint = checkpoint;
    return true;
  }
  if (mapped) hmoe_mapping_deinit(&checkpoint->mapping);
  free(checkpoint->path);
  free(checkpoint);
  return hmoec_error(diagnostics, (hmoec_location){0}, "%s", hmoe_last_error()); /* the runtime's message names the file */
}

void hmoec_checkpoint_close(hmoec_checkpoint *checkpoint) {
  if (!checkpoint) return;
  hmoe_safetensors_deinit(&checkpoint->file);
  hmoe_mapping_deinit(&checkpoint->mapping);
  free(checkpoint->path);
  free(checkpoint);
}

static bool same_dims(const hmoe_tensor *tensor, int64_t rank, const int64_t *dims) {
  bool same = tensor->rank == (uint64_t)rank;
  for (int64_t i = 0; same && i < rank; i++) same = tensor->shape[i] == (uint64_t)dims[i];
  return same;
}

/* The first there is of the names in key, which are separated by line feeds. */
static const hmoe_tensor *find(const hmoec_checkpoint *checkpoint, const char *key) {
  const hmoe_tensor *tensor = NULL;
  for (const char *name = key; !tensor && name; name = strchr(name, '\n')) {
    char single[HMOEC_MOST_KEY + 1];
    name += name > key; /* past the line feed */
    size_t length = strcspn(name, "\n");
    if (length < sizeof single) {
      memcpy(single, name, length);
      single[length] = 0;
      tensor = hmoe_safetensors_find(&checkpoint->file, single);
    }
  }
  return tensor;
}

static bool get(void *user, const char *key, int64_t rank, const int64_t *dims, double *out, hmoec_diagnostics *diagnostics,
                hmoec_location location) {
  const hmoec_checkpoint *checkpoint = user;
  const char *file = checkpoint->path;
  const hmoe_tensor *tensor = find(checkpoint, key);
  if (!tensor) return hmoec_error(diagnostics, location, "%s has no tensor \"%s\"", file, key);
  if (!same_dims(tensor, rank, dims)) {
    hmoec_shape expected = {.rank = rank}, found = {.rank = tensor->rank < HMOEC_MAX_RANK ? tensor->rank : HMOEC_MAX_RANK};
    for (int64_t i = 0; i < rank; i++) expected.dims[i] = dims[i];
    for (int64_t i = 0; i < found.rank; i++) found.dims[i] = (int64_t)tensor->shape[i];
    char expected_text[HMOEC_SHAPE_CHARS], found_text[HMOEC_SHAPE_CHARS];
    return hmoec_error(diagnostics, location, "expected \"%s\" to be %s, found %s in %s", key,
                       hmoec_shape_string(&expected, expected_text, sizeof expected_text),
                       hmoec_shape_string(&found, found_text, sizeof found_text), file);
  }
  if (!tensor->dtype->read)
    return hmoec_error(diagnostics, location, "\"%s\" in %s has elements of type %s, expected floating point", key, file,
                       tensor->dtype->name);
  enum { CHUNK = 1024 };
  float chunk[CHUNK];
  uint64_t bytes = tensor->dtype->bits / 8;
  for (uint64_t i = 0; i < tensor->elements; i += CHUNK) {
    uint64_t count = tensor->elements - i < CHUNK ? tensor->elements - i : CHUNK;
    tensor->dtype->read(tensor->data + i * bytes, 1, count, chunk, 1);
    for (uint64_t j = 0; j < count; j++) out[i + j] = (double)chunk[j];
  }
  return true;
}

hmoec_parameter_source hmoec_checkpoint_source(hmoec_checkpoint *checkpoint) {
  return (hmoec_parameter_source){.get = get, .user = checkpoint};
}
