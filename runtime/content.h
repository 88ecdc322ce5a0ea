/* What a file is, told by its bytes, and what a path may have been meant to be. For runtime, compiler and command line; needs nothing of
 * theirs. */
#ifndef HMOE_CONTENT_H
#define HMOE_CONTENT_H

#include <stdbool.h>
#include <stdint.h>

typedef enum hmoe_content {
  HMOE_CONTENT_OTHER, /* a known kind that nothing here reads */
  HMOE_CONTENT_UNKNOWN,
  HMOE_CONTENT_EMPTY,
  HMOE_CONTENT_SAFETENSORS,
  HMOE_CONTENT_PACKED,
  HMOE_CONTENT_NPY,
  HMOE_CONTENT_JSON,
  HMOE_CONTENT_TEXT,
} hmoe_content;

#define HMOE_CONTENT_CHARS 256
#define HMOE_CONTENT_BYTES 512
/* What bytes are, by the first HMOE_CONTENT_BYTES. */
hmoe_content hmoe_content_find(const uint8_t *data, uint64_t bytes);
/* For "expected ..., found ": "a GGUF file: what to do about it", or how a text begins. Returns out. */
const char *hmoe_content_string(const uint8_t *data, uint64_t bytes, char out[HMOE_CONTENT_CHARS]);
/* Is there anything by that name, if only a link to nothing, or something that is not to be looked at? What opens it then says why not. */
bool hmoe_path_exists(const char *path);
/* "; what it may be" of a path that there is not, as the name of a model of the Hub; "" if nothing comes to mind. */
const char *hmoe_path_hint(const char *path);

#endif
