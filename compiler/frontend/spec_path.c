/* Paths of included files. */
#include "frontend/spec_path.h"

#include <stdlib.h>
#include <string.h>

const char *hmoec_path_beside(hmoec_arena *arena, const char *file, const char *name) {
  const char *slash = strrchr(file, '/');
  if (*name == '/' || !slash) return name;
  return hmoec_arena_printf(arena, "%.*s/%s", (int)(slash - file), file, name);
}

const char *hmoec_path_normalise(hmoec_arena *arena, const char *path) {
  char *real = realpath(path, NULL);
  const char *result = real ? hmoec_arena_strdup(arena, real) : path;
  free(real);
  return result;
}
