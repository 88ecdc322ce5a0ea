/* Packed weights (.hmw): the weight arena of an opened model in a file, to be mapped and used in place by any number of processes.
 *
 *   [packed_header][zeros up to data_offset, a multiple of 4096][weight_bytes of data]
 *
 * Opening costs the same whatever the size: it reads the header. The checksum over the data is a hash of hashes of its chunks, so that
 * all threads can compute it.
 *
 * The stamp says what the data is made of and how it is laid out: objects with one stamp and one name share files, whatever their schedules. */
#include "device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum { FORMAT_VERSION = 2, DATA_OFFSET = 4096, NAME_BYTES = 256, HASH_CHUNK = 4 << 20 };

static const char magic[8] = {'H', 'M', 'O', 'E', 'W', 'T', 'S', '\n'};

typedef struct packed_header {
  char magic[8];
  uint32_t format_version, header_bytes;
  uint64_t layout;       /* plan.layout */
  uint64_t weight_bytes;
  uint64_t data_offset;
  uint64_t data_hash;    /* XXH3 of the XXH3s of the data's chunks of HASH_CHUNK bytes */
  char name[NAME_BYTES]; /* of the model, zero-padded */
  uint64_t header_hash;  /* XXH3 of all bytes before it */
} packed_header;

static uint64_t hash_of_header(const packed_header *header) { return XXH3_64bits(header, offsetof(packed_header, header_hash)); }

typedef struct hash_job {
  const hmoe_model *model;
  const uint8_t *data;
  uint64_t size_bytes;
  uint64_t *hashes;
} hash_job;

static void hash_chunk(void *context, uint64_t task, void *scratch) {
  (void)scratch;
  const hash_job *job = context;
  uint64_t begin = task * HASH_CHUNK;
  uint64_t bytes = hmoe_min(HASH_CHUNK, job->size_bytes - begin);
  job->hashes[task] = XXH3_64bits(job->data + begin, bytes);
  hmoe_packing_drop(job->model, job->data + begin, bytes);
}

static hmoe_status hash_of_data(const hmoe_model *model, const uint8_t *data, uint64_t *out_hash) {
  uint64_t size_bytes = model->plan->weight_bytes, chunks = (size_bytes + HASH_CHUNK - 1) / HASH_CHUNK;
  void *memory = NULL;
  HMOE_TRY(hmoe_allocate(&model->allocator, chunks * sizeof(uint64_t), "the checksums of packed weights", &memory));
  hash_job job = {model, data, size_bytes, memory};
  hmoe_status status = hmoe_workers_run(&model->workers, &(hmoe_job){.task = hash_chunk, .context = &job, .count = chunks});
  *out_hash = XXH3_64bits(memory, chunks * sizeof(uint64_t));
  hmoe_release(&model->allocator, memory, chunks * sizeof(uint64_t));
  return status;
}

static void copy_name(const hmoe_plan *plan, char name[NAME_BYTES]) {
  memset(name, 0, NAME_BYTES);
  memcpy(name, HMOE_PLAN_ARRAY(plan, plan->name, char), hmoe_min(plan->name.count, NAME_BYTES - 1));
}

bool hmoe_packed_detect(const hmoe_mapping *mapping) {
  return mapping->size_bytes >= sizeof magic && !memcmp(mapping->data, magic, sizeof magic);
}

hmoe_status hmoe_packed_open(const hmoe_model *model, const hmoe_mapping *mapping, uint32_t flags, const uint8_t **out_arena) {
  const hmoe_plan *plan = model->plan;
  const char *file = mapping->name;
  packed_header header;
  if (mapping->size_bytes < DATA_OFFSET)
    return hmoe_fail(HMOE_INVALID_WEIGHTS, "%s: truncated: expected at least %d bytes, found %llu", file, DATA_OFFSET,
                     (unsigned long long)mapping->size_bytes);
  memcpy(&header, mapping->data, sizeof header);
  if (header.format_version != FORMAT_VERSION)
    return hmoe_fail(HMOE_INCOMPATIBLE, "%s: expected .hmw format %d, found %u: pack it again", file, FORMAT_VERSION,
                     header.format_version);
  if (header.header_bytes != sizeof header || header.header_hash != hash_of_header(&header) || header.name[NAME_BYTES - 1] != 0 ||
      header.data_offset != DATA_OFFSET)
    return hmoe_fail(HMOE_INVALID_WEIGHTS, "%s: the header is damaged (its checksum does not match)", file);

  char name[NAME_BYTES];
  copy_name(plan, name);
  if (strcmp(header.name, name) != 0)
    return hmoe_fail(HMOE_INCOMPATIBLE, "%s: packed for model '%s', this is '%s'", file, header.name, name);
  if (memcmp(header.name, name, NAME_BYTES) != 0)
    return hmoe_fail(HMOE_INVALID_WEIGHTS, "%s: the header is damaged (something follows the model's name)", file);
  if (header.layout != plan->layout)
    return hmoe_fail(HMOE_INCOMPATIBLE,
                     "%s: packed for another model, strategy, dtype or compiler (stamp %016llx, expected %016llx): pack it again",
                     file, (unsigned long long)header.layout, (unsigned long long)plan->layout);
  if (header.weight_bytes != plan->weight_bytes)
    return hmoe_fail(HMOE_INCOMPATIBLE, "%s: expected %llu bytes of weights, found %llu: pack it again", file,
                     (unsigned long long)plan->weight_bytes, (unsigned long long)header.weight_bytes);
  uint64_t expected = hmoe_add(DATA_OFFSET, header.weight_bytes);
  if (mapping->size_bytes != expected)
    return hmoe_fail(HMOE_INVALID_WEIGHTS, "%s: %s: expected %llu bytes, found %llu", file,
                     mapping->size_bytes < expected ? "truncated" : "too long", (unsigned long long)expected,
                     (unsigned long long)mapping->size_bytes);
  const uint8_t *data = mapping->data + DATA_OFFSET;
  if ((uintptr_t)data % HMOE_ALIGNMENT)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "%s: packed weights in memory must be %d-byte aligned", file, HMOE_ALIGNMENT);
  if (flags & HMOE_VERIFY_WEIGHTS) {
    uint64_t hash;
    HMOE_TRY(hash_of_data(model, data, &hash));
    if (hash != header.data_hash)
      return hmoe_fail(HMOE_INVALID_WEIGHTS, "%s: the data is damaged (its checksum does not match)", file);
  }
  *out_arena = data;
  return HMOE_OK;
}

static bool write_all(int fd, const void *data, uint64_t size_bytes) {
  const uint8_t *bytes = data;
  while (size_bytes) {
    ssize_t written = write(fd, bytes, hmoe_min(size_bytes, 1u << 30));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes += written;
    size_bytes -= (uint64_t)written;
  }
  return true;
}

static void directory_of(const char *path, char *out_directory) {
  const char *slash = strrchr(path, '/');
  if (slash) snprintf(out_directory, (size_t)(slash - path) + 2, "%s", path);
  else strcpy(out_directory, ".");
}

/* The name must survive a crash as well as the bytes do; not every file system offers it, so failure is no error. */
static void sync_directory(const char *path, char *directory) {
  directory_of(path, directory);
  int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  (void)fsync(fd);
  close(fd);
}

/* A file on its way, renamed when complete: without a name until then, so that a process that is ended leaves nothing, or where the file
 * system does not offer that, under a temporary one beside its own. */
struct hmoe_packing {
  const hmoe_allocator *allocator; /* borrowed */
  const char *path; /* borrowed */
  char *temporary;
  uint64_t name_bytes, size_bytes;
  int fd;
  bool unnamed;
  uint8_t *mapping; /* of the whole file, where it is packed in place */
};

static hmoe_status create_file(hmoe_packing *file, const char *path, const hmoe_allocator *allocator) {
  static _Atomic unsigned files;
  *file = (hmoe_packing){.allocator = allocator, .path = path, .name_bytes = strlen(path) + 64, .fd = -1};
  struct stat info;
  if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) /* renaming onto a device would replace it */
    return hmoe_fail(HMOE_IO_ERROR, "%s: cannot write: not a regular file", path);
  void *memory = NULL;
  HMOE_TRY(hmoe_allocate(allocator, file->name_bytes, "a file name", &memory));
  file->temporary = memory;
  directory_of(path, file->temporary);
  if (access("/proc/self/fd", X_OK) == 0) file->fd = open(file->temporary, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
  file->unnamed = file->fd >= 0;
  snprintf(file->temporary, file->name_bytes, "%s.%ld.%u.tmp", path, (long)getpid(), atomic_fetch_add(&files, 1));
  if (file->unnamed) return HMOE_OK;
  file->fd = open(file->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file->fd >= 0) return HMOE_OK;
  hmoe_status status = hmoe_fail(HMOE_IO_ERROR, "%s: cannot create: %s", path, strerror(errno));
  hmoe_release(allocator, file->temporary, file->name_bytes);
  return status;
}

static hmoe_status cannot_write(const hmoe_packing *file, int reason) {
  return hmoe_fail(HMOE_IO_ERROR, "%s: cannot write: %s", file->path, strerror(reason));
}

/* Renames the file if all went well, else removes it. */
static hmoe_status finish_file(hmoe_packing *file, hmoe_status status) {
  if (file->mapping) munmap(file->mapping, file->size_bytes);
  if (status == HMOE_OK && fsync(file->fd) != 0) status = cannot_write(file, errno);
  if (status == HMOE_OK && file->unnamed) {
    char self[64];
    snprintf(self, sizeof self, "/proc/self/fd/%d", file->fd);
    if (linkat(AT_FDCWD, self, AT_FDCWD, file->temporary, AT_SYMLINK_FOLLOW) == 0) file->unnamed = false;
    else status = cannot_write(file, errno);
  }
  if (close(file->fd) != 0 && status == HMOE_OK) status = cannot_write(file, errno);
  if (status == HMOE_OK && rename(file->temporary, file->path) != 0) status = cannot_write(file, errno);
  if (status == HMOE_OK) sync_directory(file->path, file->temporary);
  else if (!file->unnamed) unlink(file->temporary);
  hmoe_release(file->allocator, file->temporary, file->name_bytes);
  return status;
}

static hmoe_status make_head(const hmoe_model *model, const uint8_t *data, uint8_t out_head[DATA_OFFSET]) {
  packed_header header = {.format_version = FORMAT_VERSION,
                          .header_bytes = sizeof header,
                          .layout = model->plan->layout,
                          .weight_bytes = model->plan->weight_bytes,
                          .data_offset = DATA_OFFSET};
  HMOE_TRY(hash_of_data(model, data, &header.data_hash));
  memcpy(header.magic, magic, sizeof magic);
  copy_name(model->plan, header.name);
  header.header_hash = hash_of_header(&header);
  memset(out_head, 0, DATA_OFFSET);
  memcpy(out_head, &header, sizeof header);
  return HMOE_OK;
}

static hmoe_status save(const hmoe_model *model, const uint8_t *data, const char *path) {
  uint8_t head[DATA_OFFSET];
  hmoe_packing file;
  HMOE_TRY(make_head(model, data, head));
  HMOE_TRY(create_file(&file, path, &model->allocator));
  bool written = write_all(file.fd, head, sizeof head) && write_all(file.fd, data, model->plan->weight_bytes);
  return finish_file(&file, written ? HMOE_OK : cannot_write(&file, errno));
}

hmoe_status hmoe_model_save(const hmoe_model *model, const char *path) {
  if (!model || !path || !*path) return hmoe_fail(HMOE_INVALID_ARGUMENT, "save: model and path must be given");
  if (model->arena) return save(model, model->arena, path);
  /* The device has them alone. */
  hmoe_model *owner = (hmoe_model *)(uintptr_t)model; /* downloading changes nothing of it */
  uint64_t bytes = model->plan->weight_bytes;
  void *data = NULL;
  HMOE_TRY(hmoe_allocate(&model->allocator, bytes, "the packed weights", &data));
  hmoe_status status = model->device->download(owner, NULL, data, model->weights, bytes);
  if (status == HMOE_OK) status = model->device->fence(owner, NULL);
  if (status == HMOE_OK) status = save(model, data, path);
  hmoe_release(&model->allocator, data, bytes);
  return status;
}

/* ---- packing in place: the arena is the file ---- */

hmoe_status hmoe_packing_begin(hmoe_model *model, const char *path) {
  void *memory = NULL;
  HMOE_TRY(hmoe_allocate(&model->allocator, sizeof(hmoe_packing), "a file", &memory));
  hmoe_packing *file = memory;
  hmoe_status status = create_file(file, path, &model->allocator);
  if (status != HMOE_OK) {
    hmoe_release(&model->allocator, file, sizeof *file);
    return status;
  }
  /* All of its room is taken now: on a full disk a write into a mapping would end the process. */
  file->size_bytes = hmoe_add(DATA_OFFSET, model->plan->weight_bytes);
  int reason = file->size_bytes > INT64_MAX ? EFBIG : posix_fallocate(file->fd, 0, (off_t)file->size_bytes);
  void *mapping = MAP_FAILED;
  if (!reason) {
    mapping = mmap(NULL, file->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
    reason = errno;
  }
  if (mapping == MAP_FAILED) {
    status = finish_file(file, cannot_write(file, reason));
    hmoe_release(&model->allocator, file, sizeof *file);
    return status;
  }
  file->mapping = mapping;
  model->packing = file;
  model->arena = file->mapping + DATA_OFFSET;
  return HMOE_OK;
}

void hmoe_packing_drop(const hmoe_model *model, const uint8_t *data, uint64_t size_bytes) {
  if (!model->packing) return;
  uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), begin = hmoe_round_up((uintptr_t)data, page), end = (uintptr_t)data + size_bytes;
  if (end > begin + page)
    (void)madvise((void *)(uintptr_t)begin, (end - begin) / page * page, MADV_DONTNEED); /* the file keeps them */
}

hmoe_status hmoe_packing_end(hmoe_model *model, hmoe_status status) {
  hmoe_packing *file = model->packing;
  if (!file) return status;
  uint8_t head[DATA_OFFSET];
  if (status == HMOE_OK) status = make_head(model, model->arena, head);
  if (status == HMOE_OK) memcpy(file->mapping, head, sizeof head);
  if (status == HMOE_OK && msync(file->mapping, file->size_bytes, MS_SYNC) != 0) status = cannot_write(file, errno);
  model->packing = NULL;
  model->arena = NULL;
  status = finish_file(file, status);
  hmoe_release(&model->allocator, file, sizeof *file);
  return status;
}
