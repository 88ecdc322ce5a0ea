#include "support/output_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void deinit(hmoec_output_file *file) {
  free(file->temporary);
  free(file->path);
  *file = (hmoec_output_file){0};
}

bool hmoec_output_file_open(const char *path, hmoec_diagnostics *diagnostics, hmoec_output_file *out_file) {
  static const char suffix[] = ".XXXXXX";
  *out_file =
      (hmoec_output_file){.diagnostics = diagnostics, .path = strdup(path), .temporary = malloc(strlen(path) + sizeof suffix)};
  if (!out_file->path || !out_file->temporary) {
    deinit(out_file);
    return hmoec_machine_error(diagnostics, "%s: out of memory", path);
  }
  struct stat info;
  if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) { /* a device or a pipe is written to, not replaced */
    out_file->temporary[0] = 0;
    int direct = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC); /* a pipe that nobody reads must not make us wait */
    if (direct >= 0) fcntl(direct, F_SETFL, O_WRONLY);
    out_file->stream = direct >= 0 ? fdopen(direct, "wb") : NULL;
    if (out_file->stream) return true;
    hmoec_error(diagnostics, (hmoec_location){.file = path}, "cannot write: %s", strerror(errno));
    if (direct >= 0) close(direct);
    deinit(out_file);
    return false;
  }
  memcpy(out_file->temporary, path, strlen(path));
  memcpy(out_file->temporary + strlen(path), suffix, sizeof suffix);
  int descriptor = mkstemp(out_file->temporary);
  if (descriptor >= 0) {
    /* mkstemp makes private files; ours get the usual mode. */
    mode_t mask = umask(0);
    umask(mask);
    fchmod(descriptor, 0666 & ~mask);
    out_file->stream = fdopen(descriptor, "wb");
  }
  if (out_file->stream) return true;
  hmoec_error(diagnostics, (hmoec_location){.file = path}, "cannot write: %s", strerror(errno));
  if (descriptor >= 0) {
    close(descriptor);
    unlink(out_file->temporary);
  }
  deinit(out_file);
  return false;
}

bool hmoec_output_file_commit(hmoec_output_file *file) {
  errno = 0;
  bool ok = !ferror(file->stream);
  ok = fclose(file->stream) == 0 && ok;
  bool direct = !*file->temporary;
  ok = ok && (direct || rename(file->temporary, file->path) == 0);
  if (!ok) {
    hmoec_error(file->diagnostics, (hmoec_location){.file = file->path}, "cannot write: %s",
                errno ? strerror(errno) : "a write failed");
    if (!direct) unlink(file->temporary);
  }
  deinit(file);
  return ok;
}

void hmoec_output_file_abandon(hmoec_output_file *file) {
  fclose(file->stream);
  if (*file->temporary) unlink(file->temporary);
  deinit(file);
}

bool hmoec_file_write(const char *path, const char *bytes, size_t size, hmoec_diagnostics *diagnostics) {
  hmoec_output_file file;
  if (!hmoec_output_file_open(path, diagnostics, &file)) return false;
  fwrite(bytes, 1, size, file.stream);
  return hmoec_output_file_commit(&file);
}
