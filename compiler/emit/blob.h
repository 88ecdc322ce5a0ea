/* A growing byte buffer whose parts are found by offset: what the plan is assembled in. */
#ifndef HMOEC_EMIT_BLOB_H
#define HMOEC_EMIT_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hmoe/abi.h"

typedef struct hmoec_blob {
  unsigned char *data;
  size_t size, capacity;
  bool failed;
} hmoec_blob;

/* Appends bytes at the next multiple of 8 and returns their span; `count` is what the span says. Failure is remembered in the blob. */
hmoe_plan_span hmoec_blob_append(hmoec_blob *blob, const void *bytes, size_t size, size_t count);

#endif
