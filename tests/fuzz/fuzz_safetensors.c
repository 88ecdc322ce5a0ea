/* Any bytes as a checkpoint: reading them must end in a list of tensors that lie inside the bytes, or in a message. */
#include "runtime_internal.h"

#include <stdlib.h>
#include <string.h>

#include "fuzz/target.h"

bool fuzz_accepts(const uint8_t *data, size_t size) {
  hmoe_allocator allocator = hmoe_allocator_default();
  hmoe_mapping mapping = {.data = data, .size_bytes = size, .name = "fuzz"};
  hmoe_safetensors file;
  if (hmoe_safetensors_init(&file, &mapping, &allocator) != HMOE_OK) return false;
  for (size_t i = 0; i < file.count; i++) {
    const hmoe_tensor *tensor = &file.tensors[i];
    if (tensor->data < data || tensor->data + (tensor->end - tensor->begin) > data + size) abort();
    if (hmoe_safetensors_find(&file, tensor->name) != tensor) abort();
    float last;
    if (tensor->dtype->read && tensor->elements)
      tensor->dtype->read(tensor->data + (tensor->elements - 1) * (tensor->dtype->bits / 8), 1, 1, &last, 1);
  }
  hmoe_safetensors_deinit(&file);
  return true;
}
