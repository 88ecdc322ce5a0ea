/* Runs a fuzz target without libFuzzer: every file of the corpus as it is, then mutations of them. Takes libFuzzer's options:
 *   fuzz_NAME [-runs=N] [-seed=N] [-max_total_time=SECONDS] FILE|FOLDER...
 * A file or folder that is not there, and a folder without files, is an error.
 * The input of a crash is in crash-NAME in the working directory: it is written before each run, so that nothing is lost. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argument_count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_INPUT_BYTES = 1 << 20, MAX_SEEDS = 4096 };

typedef struct input {
  uint8_t *data;
  size_t size;
} input;

typedef struct corpus {
  input inputs[MAX_SEEDS];
  size_t count;
} corpus;

static uint64_t random_next(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

static int corpus_add_file(corpus *into, const char *path) {
  FILE *file = fopen(path, "rb");
  uint8_t *data = file && into->count < MAX_SEEDS ? malloc(MAX_INPUT_BYTES) : NULL;
  size_t size = data ? fread(data, 1, MAX_INPUT_BYTES, file) : 0;
  int fine = data && !ferror(file);
  if (file) fclose(file);
  if (fine) into->inputs[into->count++] = (input){.data = data, .size = size};
  else fprintf(stderr, "%s: cannot be read, or is one too many\n", path), free(data);
  return fine;
}

static int corpus_add(corpus *into, const char *path) {
  DIR *folder = opendir(path);
  if (!folder) return corpus_add_file(into, path);
  size_t before = into->count;
  int fine = 1;
  for (const struct dirent *entry; (entry = readdir(folder));) {
    char name[4096];
    int length = snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
    struct stat status;
    if (length < (int)sizeof name && !stat(name, &status) && S_ISREG(status.st_mode)) fine &= corpus_add_file(into, name);
  }
  closedir(folder);
  if (fine && into->count == before) fine = 0, fprintf(stderr, "%s: no files\n", path);
  return fine;
}

static int input_compare(const void *left, const void *right) {
  const input *a = left, *b = right;
  if (a->size != b->size) return a->size < b->size ? -1 : 1;
  return a->size ? memcmp(a->data, b->data, a->size) : 0;
}

/* One to eight small changes: flip, set, remove, insert, repeat, or a piece of another input. */
static size_t mutate(uint8_t *data, size_t size, const corpus *from, uint64_t *state) {
  for (uint64_t change = random_next(state) % 8 + 1; change > 0; change--) {
    size_t at = size ? random_next(state) % size : 0;
    size_t length = size ? random_next(state) % (size - at < 32 ? size - at : 32) : 0;
    switch (random_next(state) % 6) {
    case 0:
      if (size) data[at] ^= (uint8_t)(1u << (random_next(state) % 8));
      break;
    case 1:
      if (size) data[at] = (uint8_t)random_next(state);
      break;
    case 2:
      memmove(data + at, data + at + length, size - at - length);
      size -= length;
      break;
    case 3:
      if (size + 1 <= MAX_INPUT_BYTES) {
        memmove(data + at + 1, data + at, size - at);
        data[at] = (uint8_t)"0123456789-?[]{}(),:.=%\"\\\n abz\xff"[random_next(state) % 32];
        size++;
      }
      break;
    case 4:
      if (size + length <= MAX_INPUT_BYTES) {
        memmove(data + at + length, data + at, size - at);
        size += length;
      }
      break;
    default: {
      const input *other = &from->inputs[random_next(state) % from->count];
      if (!other->size) break;
      size_t begin = random_next(state) % other->size;
      size_t piece = other->size - begin < 64 ? other->size - begin : 64;
      if (at + piece > MAX_INPUT_BYTES) break;
      memcpy(data + at, other->data + begin, piece);
      if (at + piece > size) size = at + piece;
    }
    }
  }
  return size;
}

/* The running input, in a file, so that it survives any way of dying. */
typedef struct record {
  char path[256];
  int fd;
} record;

static int record_open(record *out_record, const char *program) {
  const char *base = strrchr(program, '/');
  snprintf(out_record->path, sizeof out_record->path, "crash-%s", base ? base + 1 : program);
  out_record->fd = open(out_record->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  return out_record->fd >= 0;
}

static int run_one(const record *crash, const uint8_t *data, size_t size) {
  if (ftruncate(crash->fd, 0) || pwrite(crash->fd, data, size, 0) != (ssize_t)size) return 0;
  /* An exact copy on the heap: reading past the end is then seen by the address sanitizer. */
  uint8_t *copy = malloc(size ? size : 1);
  if (!copy) return 0;
  memcpy(copy, data, size);
  LLVMFuzzerTestOneInput(copy, size);
  free(copy);
  return 1;
}

int main(int argument_count, char **arguments) {
  static corpus seeds;
  static uint8_t buffer[MAX_INPUT_BYTES];
  unsigned long long runs = 2000, seed = 1, seconds = 60;
  int fine = 1;
  LLVMFuzzerInitialize(&argument_count, &arguments);
  for (int i = 1; i < argument_count; i++) {
    const char *argument = arguments[i];
    if (sscanf(argument, "-runs=%llu", &runs) == 1 || sscanf(argument, "-seed=%llu", &seed) == 1 ||
        sscanf(argument, "-max_total_time=%llu", &seconds) == 1 || argument[0] == '-')
      continue;
    fine &= corpus_add(&seeds, argument);
  }
  qsort(seeds.inputs, seeds.count, sizeof seeds.inputs[0], input_compare);
  if (!fine || !seeds.count) {
    fprintf(stderr, "%s: expected files or folders of seeds\n", arguments[0]);
    return 1;
  }

  record crash;
  if (!record_open(&crash, arguments[0])) {
    fprintf(stderr, "%s: %s\n", crash.path, strerror(errno));
    return 1;
  }
  for (size_t i = 0; i < seeds.count && fine; i++) fine = run_one(&crash, seeds.inputs[i].data, seeds.inputs[i].size);
  uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  time_t end = time(NULL) + (time_t)seconds;
  unsigned long long done = 0;
  for (; done < runs && fine && time(NULL) < end; done++) {
    const input *from = &seeds.inputs[random_next(&state) % seeds.count];
    if (from->size) memcpy(buffer, from->data, from->size);
    fine = run_one(&crash, buffer, mutate(buffer, from->size, &seeds, &state));
  }
  close(crash.fd);
  unlink(crash.path);
  for (size_t i = 0; i < seeds.count; i++) free(seeds.inputs[i].data);
  printf("%zu inputs, %llu mutations, seed %llu\n", seeds.count, done, seed);
  return fine ? 0 : 1;
}
