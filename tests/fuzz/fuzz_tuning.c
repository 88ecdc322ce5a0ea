/* Any bytes as a tuning file: reading them must end in a message, or in lists that are in order and that come back as they are when they are written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz/target.h"
#include "tuning/database.h"

/* What it is written as, in the file in memory. */
static char *written(const hmoec_tuning *tuning, int fd, hmoec_diagnostics *diagnostics, size_t *out_size) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  if (!hmoec_tuning_write(tuning, path, diagnostics)) abort();
  off_t size = lseek(fd, 0, SEEK_END);
  char *text = size > 0 ? calloc((size_t)size + 1, 1) : NULL;
  if (!text || pread(fd, text, (size_t)size, 0) != size) abort();
  *out_size = (size_t)size;
  return text;
}

static void check_order(const hmoec_tuning *t) {
  for (size_t i = 1; i < t->entry_count; i++)
    if (strcmp(t->entries[i - 1]->kernel, t->entries[i]->kernel) > 0) abort();
  for (size_t i = 0; i < t->entry_count; i++) {
    const hmoec_tuning_entry *e = t->entries[i];
    const hmoec_tuning_query query = {e->kernel, e->format, e->place.target, e->place.version, e->compiler};
    if (!hmoec_tuning_find(t, &query, e->last_rows, &e->place) || !e->at.line) abort();
    for (size_t k = 1; k < e->knob_count; k++)
      if (strcmp(e->knobs[k - 1].name, e->knobs[k].name) >= 0) abort();
  }
}

bool fuzz_accepts(const uint8_t *data, size_t size) {
  static int fd = -1;
  if (fd < 0) fd = memfd_create("tuning", MFD_CLOEXEC);
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  char *text = malloc(size + 1);
  if (fd < 0 || !diagnostics || !text) abort();
  if (size) memcpy(text, data, size);
  text[size] = 0;
  hmoec_tuning read, copy, again;
  hmoec_tuning_init(&read);
  bool ok = hmoec_tuning_parse(&read, "fuzz.json", text, size, diagnostics);
  if (ok != (hmoec_diagnostics_errors(diagnostics) == 0)) abort();
  if (!ok && (read.entries || read.machines)) abort();
  if (ok) {
    size_t first_size, second_size;
    check_order(&read);
    hmoec_tuning_init(&copy);
    hmoec_tuning_merge(&copy, &read);
    char *first = written(&copy, fd, diagnostics, &first_size);
    hmoec_tuning_init(&again);
    if (!hmoec_tuning_parse(&again, "again.json", first, first_size, diagnostics) || again.entry_count != read.entry_count ||
        again.machine_count != read.machine_count)
      abort();
    char *second = written(&again, fd, diagnostics, &second_size);
    if (first_size != second_size || memcmp(first, second, first_size) != 0) abort();
    free(first);
    free(second);
    hmoec_tuning_deinit(&copy);
    hmoec_tuning_deinit(&again);
  }
  hmoec_tuning_deinit(&read);
  hmoec_diagnostics_destroy(diagnostics);
  free(text);
  return ok;
}
