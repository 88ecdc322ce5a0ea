#include "support/text_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *hmoec_text_file_read(hmoec_arena *arena, const char *path, size_t limit_bytes, size_t *out_size, const char **out_reason) {
  char *text = NULL;
  struct stat info;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not make us wait */
  if (fd < 0 || fstat(fd, &info) != 0) {
    int error = errno;
    bool link = error == ENOENT && hmoe_path_exists(path);
    *out_reason = hmoec_arena_printf(arena, "%s%s", strerror(error), link ? hmoe_path_hint(path) : "");
    goto done;
  }
  if (!S_ISREG(info.st_mode)) {
    *out_reason = S_ISDIR(info.st_mode) ? "it is a directory" : "it is not a regular file";
    goto done;
  }
  if ((uint64_t)info.st_size > limit_bytes) {
    *out_reason = hmoec_arena_printf(arena, "it is larger than %zu KiB", limit_bytes >> 10);
    goto done;
  }
  char *buffer = hmoec_arena_alloc(arena, (size_t)info.st_size + 1);
  size_t size = 0;
  while (size < (size_t)info.st_size) {
    ssize_t count = read(fd, buffer + size, (size_t)info.st_size - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      *out_reason = hmoec_arena_strdup(arena, strerror(errno));
      goto done;
    }
    if (count == 0) break; /* it was cut while we read it */
    size += (size_t)count;
  }
  *out_size = size;
  text = buffer;
done:
  if (fd >= 0) close(fd);
  return text;
}

size_t hmoec_file_begin(const char *path, uint8_t out[HMOE_CONTENT_BYTES]) {
  struct stat info;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  ssize_t count = fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode) ? read(fd, out, HMOE_CONTENT_BYTES) : -1;
  if (fd >= 0) close(fd);
  return count > 0 ? (size_t)count : 0;
}
