#include "support/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool hmoec_is_directory(const char *path) {
  struct stat info;
  return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool hmoec_is_same_file(const char *a, const char *b) {
  struct stat of_a, of_b;
  if (stat(a, &of_a) != 0 || stat(b, &of_b) != 0) return strcmp(a, b) == 0;
  return S_ISREG(of_a.st_mode) && S_ISREG(of_b.st_mode) && of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
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
    int error = mkdir(copy, 0777) == 0 ? 0 : errno;
    if (error == EEXIST) error = hmoec_is_directory(copy) ? 0 : ENOTDIR;
    if (error) ok = hmoec_error(diagnostics, (hmoec_location){.file = path}, "cannot make this directory: %s", strerror(error));
    *at = end;
    if (!end) break;
  }
  free(copy);
  return ok;
}

bool hmoec_temporary_open(const char *stem, hmoec_temporary *out_file, hmoec_diagnostics *diagnostics) {
  *out_file = (hmoec_temporary){.fd = -1};
  const char *directory = getenv("TMPDIR");
  if (!directory || !*directory) directory = "/tmp";
  if (access("/proc/self/fd", X_OK) == 0) out_file->fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (out_file->fd >= 0) {
    snprintf(out_file->path, sizeof out_file->path, "/proc/self/fd/%d", out_file->fd);
    return true;
  }
  int written = snprintf(out_file->path, sizeof out_file->path, "%s/hmoec-%s-XXXXXX", directory, stem);
  errno = ENAMETOOLONG;
  out_file->named =
      written > 0 && written < (int)sizeof out_file->path && (out_file->fd = mkostemp(out_file->path, O_CLOEXEC)) >= 0;
  if (out_file->named) return true;
  out_file->path[0] = 0;
  return hmoec_machine_error(diagnostics, "cannot make a temporary file in %s: %s", directory, strerror(errno));
}

void hmoec_temporary_close(hmoec_temporary *file) {
  if (!file->path[0]) return;
  if (file->named) unlink(file->path);
  close(file->fd);
  file->path[0] = 0;
}
