/* Any bytes as the index of a checkpoint: reading them must end in a list of tensors in files beside it, or in a message. */
#include "runtime_internal.h"

#include <stdlib.h>
#include <string.h>

#include "fuzz/target.h"

bool fuzz_accepts(const uint8_t *data, size_t size) {
  hmoe_allocator allocator = hmoe_allocator_default();
  hmoe_mapping mapping = {.data = data, .size_bytes = size, .name = "folder/fuzz.json"};
  hmoe_index index;
  if (!hmoe_index_detect(&mapping) || hmoe_index_init(&index, &mapping, &allocator) != HMOE_OK) return false;
  for (size_t i = 0; i < index.count; i++) {
    const hmoe_index_entry *entry = &index.entries[i];
    if (entry->number >= index.files || hmoe_index_find(&index, entry->tensor) != entry) abort();
    if (strchr(entry->file, '/') || !strcmp(entry->file, "..") || !strcmp(entry->file, "fuzz.json")) abort();
  }
  hmoe_index_deinit(&index);
  return true;
}
