#include "emit/blob.h"

#include <stdlib.h>
#include <string.h>

hmoe_plan_span hmoec_blob_append(hmoec_blob *blob, const void *bytes, size_t size, size_t count) {
  size_t begin = (blob->size + 7) / 8 * 8, end = begin + size;
  if (end > blob->capacity && !blob->failed) {
    size_t capacity = end * 2 + 1024;
    unsigned char *grown = capacity < UINT32_MAX ? realloc(blob->data, capacity) : NULL;
    if (!grown) {
      blob->failed = true;
    } else {
      blob->data = grown;
      blob->capacity = capacity;
    }
  }
  if (blob->failed) return (hmoe_plan_span){0, 0};
  memset(blob->data + blob->size, 0, begin - blob->size);
  if (size) memcpy(blob->data + begin, bytes, size);
  blob->size = end;
  return (hmoe_plan_span){(uint32_t)begin, (uint32_t)count};
}
