/* The entry points of a fuzzer, for the target of fuzz_accepts.
 *
 * Before the first input the corpus is looked at: seeds whose names begin with "good" have to be accepted, those that begin with "bad"
 * refused, others may be either. A target that refuses everything at its door tests nothing, and nothing else would show it. At the end the
 * number of inputs that were accepted is printed. */
#include "fuzz/target.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SEED_BYTES = 1 << 20 };

int LLVMFuzzerInitialize(int *argument_count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long long accepted, inputs;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  accepted += fuzz_accepts(data, size);
  inputs++;
  return 0;
}

static void print_counts(void) { fprintf(stderr, "accepted %llu of %llu inputs\n", accepted, inputs); }

/* An exact copy on the heap: reading past the end is then seen by the address sanitizer. */
static bool accepts_file(const char *path) {
  static uint8_t buffer[MAX_SEED_BYTES];
  FILE *file = fopen(path, "rb");
  size_t size = file ? fread(buffer, 1, sizeof buffer, file) : 0;
  if (file) fclose(file);
  uint8_t *copy = size ? malloc(size) : NULL;
  if (!copy) {
    fprintf(stderr, "%s: expected a seed, found nothing to read\n", path);
    exit(1);
  }
  memcpy(copy, buffer, size);
  bool taken = fuzz_accepts(copy, size);
  free(copy);
  return taken;
}

static bool begins_with(const char *text, const char *prefix) { return strncmp(text, prefix, strlen(prefix)) == 0; }

int LLVMFuzzerInitialize(int *argument_count, char ***arguments) {
  (void)argument_count, (void)arguments;
  const char folder[] = HMOE_FUZZ_CORPUS;
  DIR *seeds = opendir(folder);
  int good = 0, wrong = 0;
  for (const struct dirent *entry; seeds && (entry = readdir(seeds));) {
    bool expected = begins_with(entry->d_name, "good");
    if (!expected && !begins_with(entry->d_name, "bad")) continue;
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    good += expected;
    if (accepts_file(path) == expected) continue;
    fprintf(stderr, "%s: expected this seed to be %s\n", path, expected ? "accepted" : "refused");
    wrong++;
  }
  if (seeds) closedir(seeds);
  if (!good) fprintf(stderr, "%s: expected a seed whose name begins with \"good\", found none\n", folder);
  if (!good || wrong) exit(1);
  atexit(print_counts);
  return 0;
}
