#include "support/output_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1 << 16 };

static void deinit(hmoec_output_file *file) {
  free(file->temporary);
  free(file->path);
  free(file->buffer);
  *file = (hmoec_output_file){.fd = -1};
}

static bool refuse(hmoec_output_file *file, const char *path, int reason) {
  hmoec_error(file->diagnostics, (hmoec_location){.file = path}, "cannot write: %s", strerror(reason));
  deinit(file);
  return false;
}

/* A link to a process's own files leads to what is open already, not to a place. */
static bool is_descriptor(const char *path) { return strncmp(path, "/dev/", 5) == 0 || strncmp(path, "/proc/", 6) == 0; }

static bool open_in_place(hmoec_output_file *file, const char *path) {
  file->temporary[0] = 0;
  file->fd = strcmp(path, "-") == 0
                 ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1)
                 : open(path, O_WRONLY | O_TRUNC | O_NONBLOCK | O_CLOEXEC); /* a pipe nobody reads must not make us wait */
  if (file->fd < 0) return refuse(file, path, errno);
  if (strcmp(path, "-") != 0) fcntl(file->fd, F_SETFL, O_WRONLY);
  return true;
}

/* A file without a name, in the directory of the path; -1 where there are none, or where it could not be given one later. */
static int open_unnamed(const char *path) {
  const char *slash = strrchr(path, '/');
  char *directory = !slash ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
  int fd = directory && access("/proc/self/fd", X_OK) == 0 ? open(directory, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666) : -1;
  free(directory);
  return fd;
}

bool hmoec_output_file_open(const char *path, hmoec_diagnostics *diagnostics, hmoec_output_file *out_file) {
  static const char suffix[] = ".XXXXXX";
  struct stat info;
  bool there = stat(path, &info) == 0;
  char *target = there && !is_descriptor(path) ? realpath(path, NULL) : NULL;
  if (!target) target = strdup(path);
  *out_file = (hmoec_output_file){.fd = -1, .diagnostics = diagnostics, .path = target, .buffer = malloc(BUFFER_BYTES)};
  if (target) out_file->temporary = malloc(strlen(target) + sizeof suffix);
  if (!out_file->temporary || !out_file->buffer) {
    deinit(out_file);
    return hmoec_machine_error(diagnostics, "%s: out of memory", path);
  }
  if (strcmp(path, "-") == 0 || is_descriptor(path) || (there && !S_ISREG(info.st_mode))) return open_in_place(out_file, path);
  if (there && access(target, W_OK) != 0) return refuse(out_file, path, errno); /* a file that may not be changed is not replaced */
  sprintf(out_file->temporary, "%s%s", target, suffix);
  out_file->fd = open_unnamed(target);
  out_file->unnamed = out_file->fd >= 0;
  if (out_file->unnamed) return true;
  out_file->fd = mkostemp(out_file->temporary, O_CLOEXEC);
  if (out_file->fd < 0) return refuse(out_file, path, errno);
  /* mkstemp makes private files; ours get the usual mode. */
  mode_t mask = umask(0);
  umask(mask);
  fchmod(out_file->fd, 0666 & ~mask);
  return true;
}

static void flush(hmoec_output_file *file, const char *bytes, size_t size) {
  while (size && !file->error) {
    ssize_t written = write(file->fd, bytes, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) file->error = errno;
    else if (written == 0) file->error = ENOSPC;
    else bytes += written, size -= (size_t)written;
  }
}

void hmoec_output_file_write(hmoec_output_file *file, const void *bytes, size_t size) {
  if (size > BUFFER_BYTES - file->used) {
    flush(file, file->buffer, file->used);
    file->used = 0;
  }
  if (size >= BUFFER_BYTES) {
    flush(file, bytes, size);
  } else if (size) {
    memcpy(file->buffer + file->used, bytes, size);
    file->used += size;
  }
}

/* A file system may say only now that there is no room. */
static void finish(hmoec_output_file *file) {
  flush(file, file->buffer, file->used);
  file->used = 0;
  if (file->unnamed && !file->error) {
    char self[64];
    snprintf(self, sizeof self, "/proc/self/fd/%d", file->fd);
    size_t stem = strlen(file->path);
    for (unsigned i = 0; i < 1000; i++) { /* others may be on their way to this name */
      snprintf(file->temporary + stem, 8, ".%06u", ((unsigned)getpid() * 1000u + i) % 1000000u);
      file->error = linkat(AT_FDCWD, self, AT_FDCWD, file->temporary, AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
      if (file->error != EEXIST) break;
    }
    file->unnamed = file->error != 0;
  }
  if (close(file->fd) != 0 && errno != EINTR && !file->error) file->error = errno;
  file->fd = -1;
}

bool hmoec_output_files_commit(hmoec_output_file *files, size_t count) {
  size_t failed = count;
  for (size_t i = 0; i < count; i++) {
    finish(&files[i]);
    if (files[i].error && failed == count) failed = i;
  }
  for (size_t i = 0; failed == count && i < count; i++) {
    if (!*files[i].temporary) continue;
    if (rename(files[i].temporary, files[i].path) == 0) {
      files[i].temporary[0] = 0;
    } else {
      files[i].error = errno;
      failed = i;
    }
  }
  if (failed < count)
    hmoec_error(files[failed].diagnostics,
                (hmoec_location){.file = strcmp(files[failed].path, "-") == 0 ? NULL : files[failed].path},
                strcmp(files[failed].path, "-") == 0 ? "cannot write to standard output: %s" : "cannot write: %s",
                strerror(files[failed].error));
  for (size_t i = 0; i < count; i++) hmoec_output_file_abandon(&files[i]);
  return failed == count;
}

void hmoec_output_file_abandon(hmoec_output_file *file) {
  if (!file->path) return;
  if (file->fd >= 0) close(file->fd);
  if (*file->temporary && !file->unnamed) unlink(file->temporary);
  deinit(file);
}

bool hmoec_file_write(const char *path, const char *bytes, size_t size, hmoec_diagnostics *diagnostics) {
  hmoec_output_file file;
  if (!hmoec_output_file_open(path, diagnostics, &file)) return false;
  hmoec_output_file_write(&file, bytes, size);
  return hmoec_output_files_commit(&file, 1);
}
