#include "kernel/format.h"

#include <string.h>

const char *const hmoec_format_names[] = {[HMOEC_FORMAT_F32] = "f32", [HMOEC_FORMAT_BF16] = "bf16", [HMOEC_FORMAT_COUNT] = NULL};

static const int64_t element_bytes[HMOEC_FORMAT_COUNT] = {[HMOEC_FORMAT_F32] = 4, [HMOEC_FORMAT_BF16] = 2};

const char *hmoec_format_name(hmoec_format format) { return hmoec_format_names[format]; }

bool hmoec_format_find(const char *name, hmoec_format *out_format) {
  for (int f = 0; f < HMOEC_FORMAT_COUNT; f++) {
    if (strcmp(name, hmoec_format_names[f]) != 0) continue;
    *out_format = (hmoec_format)f;
    return true;
  }
  return false;
}

int64_t hmoec_format_bytes(hmoec_format format, int64_t elements) { return element_bytes[format] * elements; }
