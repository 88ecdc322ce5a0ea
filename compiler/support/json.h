/* JSON files with places: a config, an index of shards. */
#ifndef HMOEC_SUPPORT_JSON_H
#define HMOEC_SUPPORT_JSON_H

#include <stddef.h>

#include "support/arena.h"
#include "support/diagnostics.h"

struct cJSON;

typedef struct hmoec_json {
  const char *path, *text; /* arena */
  size_t size;
  struct cJSON *root; /* an object; owned */
} hmoec_json;

/* Reads a file that holds one object, of at most limit_bytes; false, reported at its line, if it does not. Where it holds the same key twice
 * in one object, that is an error too. deinit is always fine. */
bool hmoec_json_read(hmoec_arena *arena, const char *path, size_t limit_bytes, hmoec_diagnostics *diagnostics,
                     hmoec_json *out_json);
/* The same of text that is there, with a zero behind it; borrowed. */
bool hmoec_json_parse(hmoec_arena *arena, const char *path, const char *text, size_t size, hmoec_diagnostics *diagnostics,
                      hmoec_json *out_json);
void hmoec_json_deinit(hmoec_json *json);

/* Where a key of the object itself stands; just the file, if it is not there. */
hmoec_location hmoec_json_key_location(const hmoec_json *json, const char *key);
/* All keys in the order of the text, which is the order of the tree: for those who need every place. */
typedef struct hmoec_json_keys {
  const hmoec_json *json;
  size_t offset;
  hmoec_location at; /* of offset */
} hmoec_json_keys;
hmoec_json_keys hmoec_json_keys_of(const hmoec_json *json);
/* Where the next one stands; just the file behind the last. */
hmoec_location hmoec_json_next_key(hmoec_json_keys *keys);
/* A value as short text, for "found ...". */
const char *hmoec_json_value_string(hmoec_arena *arena, const struct cJSON *value);

#endif
