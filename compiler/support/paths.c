#include "support/paths.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool hmoec_is_directory(const char *path) {
  struct stat info;
  return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool hmoec_make_directory(const char *path, hmoec_diagnostics *diagnostics) {
  if (!path || !*path) return hmoec_usage_error(diagnostics, "expected a directory to write to, found %s", path ? "''" : "NULL");
  char *copy = strdup(path);
  if (!copy) return hmoec_machine_error(diagnostics, "out of memory");
  bool ok = true;
  for (char *at = copy + 1; ok; at++) {
    char end = *at;
    if (end && end != '/') continue;
    *at = 0;
    struct stat info;
    if (mkdir(copy, 0777) != 0 && !(errno == EEXIST && stat(copy, &info) == 0 && S_ISDIR(info.st_mode)))
      ok = hmoec_error(diagnostics, (hmoec_location){.file = path}, "cannot make this directory: %s",
                       strerror(errno == EEXIST ? ENOTDIR : errno));
    *at = end;
    if (!end) break;
  }
  free(copy);
  return ok;
}

bool hmoec_make_temporary(const char *stem, char out_path[HMOEC_TEMPORARY_CHARS], hmoec_diagnostics *diagnostics) {
  const char *directory = getenv("TMPDIR");
  if (!directory || !*directory) directory = "/tmp";
  int written = snprintf(out_path, HMOEC_TEMPORARY_CHARS, "%s/hmoec-%s-XXXXXX", directory, stem);
  errno = ENAMETOOLONG;
  int fd = written > 0 && written < HMOEC_TEMPORARY_CHARS ? mkstemp(out_path) : -1;
  if (fd < 0) return hmoec_machine_error(diagnostics, "cannot make a temporary file in %s: %s", directory, strerror(errno));
  close(fd);
  return true;
}
