/* Parameters from a checkpoint, through the runtime's reader. */
#include <string.h>

#include "interpreter/parameters.h"
#include "support/tensor_files.h"

bool hmoec_checkpoint_open(const char *path, hmoec_diagnostics *diagnostics, hmoec_checkpoint **out_checkpoint) {
  return hmoec_tensor_files_open(path, diagnostics, out_checkpoint);
}

void hmoec_checkpoint_close(hmoec_checkpoint *checkpoint) { hmoec_tensor_files_close(checkpoint); }

static bool same_dims(const hmoe_tensor *tensor, int64_t rank, const int64_t *dims) {
  bool same = tensor->rank == (uint64_t)rank;
  for (int64_t i = 0; same && i < rank; i++) same = tensor->shape[i] == (uint64_t)dims[i];
  return same;
}

static bool get(void *user, const char *key, int64_t rank, const int64_t *dims, double *out, hmoec_diagnostics *diagnostics,
                hmoec_location location) {
  hmoec_checkpoint *checkpoint = user;
  const hmoe_tensor *tensor;
  if (!hmoec_tensor_files_find(checkpoint, key, &tensor)) return false;
  if (!tensor) {
    size_t first = strcspn(key, "\n");
    return hmoec_error(diagnostics, location, "%s has no tensor \"%.*s\"%s", hmoec_tensor_files_path(checkpoint), (int)first, key,
                       key[first] ? ", nor one of its other names" : "");
  }
  const char *name = tensor->name, *file = tensor->mapping->name;
  if (!same_dims(tensor, rank, dims)) {
    hmoec_shape expected = {.rank = rank}, found = {.rank = tensor->rank < HMOEC_MAX_RANK ? tensor->rank : HMOEC_MAX_RANK};
    for (int64_t i = 0; i < rank; i++) expected.dims[i] = dims[i];
    for (int64_t i = 0; i < found.rank; i++) found.dims[i] = (int64_t)tensor->shape[i];
    char expected_text[HMOEC_SHAPE_CHARS], found_text[HMOEC_SHAPE_CHARS];
    return hmoec_error(diagnostics, location, "expected \"%s\" to be %s, found %s in %s", name,
                       hmoec_shape_string(&expected, expected_text, sizeof expected_text),
                       hmoec_shape_string(&found, found_text, sizeof found_text), file);
  }
  if (!tensor->dtype->read)
    return hmoec_error(diagnostics, location, "\"%s\" in %s has elements of type %s, expected floating point", name, file,
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
