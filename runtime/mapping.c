/* The bytes of a weights file: mapped read-only and shared, from a path or a descriptor, or borrowed from the caller's memory. A file
 * that another process shortens while it is mapped raises SIGBUS on access, as with any mapping: replace files by rename. */
#include "runtime_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static hmoe_status map_descriptor(hmoe_mapping *mapping, int fd) {
  struct stat info;
  if (fstat(fd, &info) != 0) return hmoe_fail(HMOE_IO_ERROR, "%s: cannot read: %s", mapping->name, strerror(errno));
  if (!S_ISREG(info.st_mode))
    return hmoe_fail(HMOE_IO_ERROR, "%s: expected a regular file, found a %s", mapping->name,
                     S_ISDIR(info.st_mode) ? "directory" : "device, pipe or socket");
  if (info.st_size == 0) return hmoe_fail(HMOE_INVALID_WEIGHTS, "%s: the file is empty: download or write it again", mapping->name);
  void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) return hmoe_fail(HMOE_IO_ERROR, "%s: cannot map: %s", mapping->name, strerror(errno));
  mapping->data = data;
  mapping->size_bytes = (uint64_t)info.st_size;
  mapping->mapped = true;
  return HMOE_OK;
}

static hmoe_status open_failure(const char *path, int error) {
  return hmoe_fail(HMOE_IO_ERROR, "%s: cannot open: %s%s", path, strerror(error), error == ENOENT ? hmoe_path_hint(path) : "");
}

hmoe_status hmoe_mapping_init(hmoe_mapping *mapping, const hmoe_weights *weights) {
  *mapping = (hmoe_mapping){.name = weights->path ? weights->path : "weights"};
  switch (weights->kind) {
  case HMOE_WEIGHTS_PATH: {
    if (!weights->path) return hmoe_fail(HMOE_INVALID_ARGUMENT, "weights.path is NULL");
    int fd;
    do fd = open(weights->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not block the open */
    while (fd < 0 && errno == EINTR);
    if (fd < 0) return open_failure(weights->path, errno);
    hmoe_status status = map_descriptor(mapping, fd);
    close(fd);
    return status;
  }
  case HMOE_WEIGHTS_FD: return map_descriptor(mapping, weights->fd);
  case HMOE_WEIGHTS_MEMORY:
    if (!weights->data) return hmoe_fail(HMOE_INVALID_ARGUMENT, "weights.data is NULL");
    mapping->data = weights->data;
    mapping->size_bytes = weights->size_bytes;
    return HMOE_OK;
  }
  return hmoe_fail(HMOE_INVALID_ARGUMENT, "weights.kind: expected a path, a descriptor or memory, found %d", (int)weights->kind);
}

void hmoe_mapping_expect_reading(const hmoe_mapping *mapping) {
  if (mapping->mapped) (void)madvise((void *)(uintptr_t)mapping->data, mapping->size_bytes, MADV_SEQUENTIAL);
}

void hmoe_mapping_drop(const hmoe_mapping *mapping, const uint8_t *data, uint64_t size_bytes) {
  if (!mapping->mapped) return;
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  uintptr_t begin = ((uintptr_t)data + page - 1) / page * page, end = ((uintptr_t)data + size_bytes) / page * page;
  if (begin < end) (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
}

void hmoe_mapping_deinit(hmoe_mapping *mapping) {
  if (mapping->mapped) munmap((void *)(uintptr_t)mapping->data, mapping->size_bytes);
  *mapping = (hmoe_mapping){0};
}
