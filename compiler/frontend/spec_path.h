/* Paths of included files, as text. */
#ifndef HMOEC_FRONTEND_SPEC_PATH_H
#define HMOEC_FRONTEND_SPEC_PATH_H

#include "support/arena.h"

/* `name` relative to the directory of `file`; an absolute name is itself. */
const char *hmoec_path_beside(hmoec_arena *arena, const char *file, const char *name);
/* The real path where the file exists, the text itself otherwise: two names of one file become equal. */
const char *hmoec_path_normalise(hmoec_arena *arena, const char *path);

#endif
