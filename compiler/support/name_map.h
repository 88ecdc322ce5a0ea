/* A map from names to 0, 1, 2, ... in the order they were added; what belongs to a name stands in an array of the caller's at that
 * index. Lives in an arena; a zeroed map with its arena set is empty. */
#ifndef HMOEC_SUPPORT_NAME_MAP_H
#define HMOEC_SUPPORT_NAME_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/arena.h"

#define HMOEC_NO_NAME SIZE_MAX

typedef struct hmoec_name_map {
  hmoec_arena *arena;
  const char **names; /* borrowed texts, by index */
  size_t count;
  size_t *slots; /* index + 1, 0: free */
  size_t slot_count;
} hmoec_name_map;

/* The index of a name, or HMOEC_NO_NAME. */
size_t hmoec_name_map_find(const hmoec_name_map *map, const char *name);
/* The index of a name that may be new; it is new iff it equals the count from before. `name` must live as long as the map. */
size_t hmoec_name_map_add(hmoec_name_map *map, const char *name);

#endif
