#include "support/pointer_map.h"

#include <stdint.h>
#include <stdlib.h>

/* Where a key is, or the empty place where it belongs. */
static size_t place_of(const hmoec_pointer_map *map, const void *key) {
  size_t at = (size_t)(((uint64_t)(uintptr_t)key * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (map->places - 1);
  while (map->keys[at] && map->keys[at] != key) at = (at + 1) & (map->places - 1);
  return at;
}

static bool grow(hmoec_pointer_map *map) {
  hmoec_pointer_map larger = {.places = map->places ? 2 * map->places : 64, .count = map->count};
  larger.keys = calloc(larger.places, sizeof *larger.keys);
  larger.numbers = calloc(larger.places, sizeof *larger.numbers);
  if (!larger.keys || !larger.numbers) {
    hmoec_pointer_map_deinit(&larger);
    return false;
  }
  for (size_t i = 0; i < map->places; i++) {
    if (!map->keys[i]) continue;
    size_t at = place_of(&larger, map->keys[i]);
    larger.keys[at] = map->keys[i];
    larger.numbers[at] = map->numbers[i];
  }
  hmoec_pointer_map_deinit(map);
  *map = larger;
  return true;
}

bool hmoec_pointer_map_set(hmoec_pointer_map *map, const void *key, size_t number) {
  if (2 * (map->count + 1) > map->places && !grow(map)) return false;
  size_t at = place_of(map, key);
  map->count += !map->keys[at];
  map->keys[at] = key;
  map->numbers[at] = number;
  return true;
}

size_t hmoec_pointer_map_get(const hmoec_pointer_map *map, const void *key) {
  if (!map->places) return HMOEC_NO_NUMBER;
  size_t at = place_of(map, key);
  return map->keys[at] ? map->numbers[at] : HMOEC_NO_NUMBER;
}

void hmoec_pointer_map_deinit(hmoec_pointer_map *map) {
  free(map->keys);
  free(map->numbers);
  *map = (hmoec_pointer_map){0};
}
