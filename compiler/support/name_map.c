/* Open addressing with linear probing, at most half full. */
#include "support/name_map.h"

#include <string.h>

/* FNV-1a. */
static size_t hash(const char *name) {
  uint64_t value = 14695981039346656037u;
  for (; *name; name++) value = (value ^ (unsigned char)*name) * 1099511628211u;
  return (size_t)(value ^ value >> 32);
}

/* The slot that holds the name, or the free one where it belongs. */
static size_t *slot_of(const hmoec_name_map *map, const char *name) {
  size_t at = hash(name) & (map->slot_count - 1);
  while (map->slots[at] && strcmp(map->names[map->slots[at] - 1], name) != 0) at = (at + 1) & (map->slot_count - 1);
  return &map->slots[at];
}

size_t hmoec_name_map_find(const hmoec_name_map *map, const char *name) {
  if (!map->slot_count) return HMOEC_NO_NAME;
  size_t slot = *slot_of(map, name);
  return slot ? slot - 1 : HMOEC_NO_NAME;
}

static void map_grow(hmoec_name_map *map) {
  map->slot_count = map->slot_count ? 2 * map->slot_count : 16;
  map->slots = hmoec_arena_alloc_array(map->arena, map->slot_count, sizeof *map->slots);
  map->names = hmoec_arena_grow(map->arena, map->names, map->count, map->slot_count / 2, sizeof *map->names);
  for (size_t i = 0; i < map->count; i++) *slot_of(map, map->names[i]) = i + 1;
}

size_t hmoec_name_map_add(hmoec_name_map *map, const char *name) {
  if (map->count == map->slot_count / 2) map_grow(map);
  size_t *slot = slot_of(map, name);
  if (!*slot) {
    map->names[map->count++] = name;
    *slot = map->count;
  }
  return *slot - 1;
}
