/* Places in the file system. */
#ifndef HMOEC_SUPPORT_PATHS_H
#define HMOEC_SUPPORT_PATHS_H

#include <stdbool.h>

#include "support/diagnostics.h"

/* Is the path a directory? */
bool hmoec_is_directory(const char *path);
/* Makes a directory and its parents. */
bool hmoec_make_directory(const char *path, hmoec_diagnostics *diagnostics);
/* An empty file in TMPDIR, or /tmp; the caller unlinks it. */
#define HMOEC_TEMPORARY_CHARS 4096
bool hmoec_make_temporary(const char *stem, char out_path[HMOEC_TEMPORARY_CHARS], hmoec_diagnostics *diagnostics);

#endif
