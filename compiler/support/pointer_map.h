/* Numbers by address: what a pass knows of an op or a value. Zero-initialise; deinit frees. */
#ifndef HMOEC_SUPPORT_POINTER_MAP_H
#define HMOEC_SUPPORT_POINTER_MAP_H

#include <stdbool.h>
#include <stddef.h>

#define HMOEC_NO_NUMBER ((size_t)-1)

typedef struct hmoec_pointer_map {
  const void **keys; /* by hash, NULL: empty */
  size_t *numbers;
  size_t count, places; /* places: a power of two, at least twice count, or 0 */
} hmoec_pointer_map;

/* Sets or replaces. key is not NULL. False when memory is short; the map is as it was then. */
bool hmoec_pointer_map_set(hmoec_pointer_map *map, const void *key, size_t number);
/* HMOEC_NO_NUMBER if the key is not there. */
size_t hmoec_pointer_map_get(const hmoec_pointer_map *map, const void *key);
void hmoec_pointer_map_deinit(hmoec_pointer_map *map);

#endif
