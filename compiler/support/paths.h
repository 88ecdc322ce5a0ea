/* Places in the file system. */
#ifndef HMOEC_SUPPORT_PATHS_H
#define HMOEC_SUPPORT_PATHS_H

#include <stdbool.h>

#include "support/diagnostics.h"

/* Is the path a directory? */
bool hmoec_is_directory(const char *path);
/* Do both lead to one regular file, which is there, or are they one text? */
bool hmoec_is_same_file(const char *a, const char *b);
/* Makes a directory and its parents. */
bool hmoec_make_directory(const char *path, hmoec_diagnostics *diagnostics);
/* An empty file in TMPDIR, or /tmp, that this process can open by its path until it is closed. Where the file system offers that it has no
 * name of its own, so that a process that is ended leaves nothing. */
typedef struct hmoec_temporary {
  char path[4096]; /* "": not open */
  int fd;
  bool named;
} hmoec_temporary;

bool hmoec_temporary_open(const char *stem, hmoec_temporary *out_file, hmoec_diagnostics *diagnostics);
void hmoec_temporary_close(hmoec_temporary *file);

#endif
