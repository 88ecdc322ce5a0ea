/* Runs a fuzz target without libFuzzer: on each file as it is, then on pseudo-random mutations of them, the same for a seed.
 *
 *   fuzz_x [-runs=N] [-seed=S] [FILE...]      without files: mutations of the empty input and of a few built-in ones
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEEDS_MAX = 256, INPUT_MAX = 1 << 20, GROWTH = 64 };

typedef struct input {
  uint8_t *data;
  size_t size;
} input;

static uint64_t random_state;

static uint32_t next_random(void) {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(random_state >> 32);
}

static input copy_input(const void *data, size_t size) {
  input copy = {malloc(size ? size : 1), size};
  if (!copy.data) exit(2);
  if (size) memcpy(copy.data, data, size);
  return copy;
}

static input read_input(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) {
    fprintf(stderr, "%s: cannot open\n", path);
    exit(2);
  }
  uint8_t *buffer = malloc(INPUT_MAX);
  if (!buffer) exit(2);
  size_t size = fread(buffer, 1, INPUT_MAX, file);
  fclose(file);
  input seed = copy_input(buffer, size);
  free(buffer);
  return seed;
}

/* One change to bytes[0..size), which has room for GROWTH more; returns the new size. */
static size_t mutate(uint8_t *bytes, size_t size, size_t room) {
  static const char *const words[] = {"\"", "{", "}", "[", "]", ",", ":", "0", "-1", "1e99", "9007199254740993", "\"F32\"", "\"shape\":", "\\u0000"};
  size_t at = size ? next_random() % size : 0;
  switch (next_random() % 6) {
    case 0:
      if (size) bytes[at] ^= (uint8_t)(1u << next_random() % 8);
      return size;
    case 1:
      if (size) bytes[at] = (uint8_t)next_random();
      return size;
    case 2: { /* remove */
      size_t count = size ? 1 + next_random() % 8 : 0;
      if (count > size - at) count = size - at;
      memmove(bytes + at, bytes + at + count, size - at - count);
      return size - count;
    }
    case 3: { /* insert a word */
      const char *word = words[next_random() % (sizeof words / sizeof *words)];
      size_t length = strlen(word);
      if (size + length > room) return size;
      memmove(bytes + at + length, bytes + at, size - at);
      memcpy(bytes + at, word, length);
      return size + length;
    }
    case 4: { /* an integer field */
      static const uint64_t numbers[] = {0, 1, 8, 255, 4096, UINT32_MAX, UINT64_MAX, (uint64_t)INT64_MAX};
      uint64_t number = numbers[next_random() % 8];
      size_t width = next_random() % 2 ? 8 : 4;
      if (size >= width) memcpy(bytes + next_random() % (size - width + 1), &number, width);
      return size;
    }
    default: return next_random() % 8 ? size : at; /* truncate, now and then */
  }
}

int main(int argc, char **argv) {
  static const char tensors[] =
      "12345678{\"__metadata__\":{\"a\":\"b\"},\"w\":{\"dtype\":\"F16\",\"shape\":[2,1],\"data_offsets\":[0,4]},\"x\":{\"dtype\":\"U8\",\"shape\":[],"
      "\"data_offsets\":[4,5]}}.....";
  input seeds[SEEDS_MAX];
  size_t count = 0;
  unsigned long runs = 10000;
  for (int i = 1; i < argc; i++) {
    if (!strncmp(argv[i], "-runs=", 6)) runs = strtoul(argv[i] + 6, NULL, 10);
    else if (!strncmp(argv[i], "-seed=", 6)) random_state = strtoul(argv[i] + 6, NULL, 10);
    else if (count < SEEDS_MAX - 2) seeds[count++] = read_input(argv[i]);
  }
  seeds[count++] = copy_input("", 0);
  seeds[count] = copy_input(tensors, sizeof tensors - 1);
  uint64_t header = (uint64_t)(strstr(tensors + 8, "}}....") + 2 - (tensors + 8)); /* in place of 12345678 */
  memcpy(seeds[count++].data, &header, 8);

  for (size_t i = 0; i < count; i++) LLVMFuzzerTestOneInput(seeds[i].data, seeds[i].size);
  for (unsigned long run = 0; run < runs; run++) {
    const input *seed = &seeds[next_random() % count];
    size_t size = seed->size, room = seed->size + GROWTH;
    uint8_t *bytes = malloc(room);
    if (!bytes) return 2;
    memcpy(bytes, seed->data, size);
    for (uint32_t changes = 1 + next_random() % 4; changes; changes--) size = mutate(bytes, size, room);
    input exact = copy_input(bytes, size); /* exactly as long as it is: reading past it is caught */
    LLVMFuzzerTestOneInput(exact.data, exact.size);
    free(exact.data);
    free(bytes);
  }
  for (size_t i = 0; i < count; i++) free(seeds[i].data);
  printf("%lu runs, %zu seeds\n", runs, count);
  return 0;
}
