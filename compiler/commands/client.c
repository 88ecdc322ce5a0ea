/* What commands that open and run models share. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "commands/commands.h"
#include "library/session.h"

double hmoec_clock_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

bool hmoec_report_runtime(hmoec_diagnostics *diagnostics, hmoe_status status) { return hmoec_runtime_error(diagnostics, status); }

/* A line that is written over, on a terminal, once packing takes longer than a second. */
static void show_packing(void *context, uint64_t done_bytes, uint64_t total_bytes) {
  enum { WIDTH = 30 };
  hmoec_open_progress *p = context;
  if (hmoec_clock_seconds() - p->begun < 1 || !total_bytes) return;
  char bar[WIDTH + 1] = {0};
  memset(bar, '.', WIDTH);
  memset(bar, '#', (size_t)((double)WIDTH * (double)done_bytes / (double)total_bytes));
  fprintf(stderr, "\rpacking [%s] %.1f of %.1f GB ", bar, (double)done_bytes / 1e9, (double)total_bytes / 1e9);
  p->drawn = true;
}

hmoe_options hmoec_open_options(const hmoec_arguments *arguments, hmoec_open_progress *progress) {
  hmoe_options options = {.struct_size = sizeof options,
                          .threads = (uint32_t)arguments->threads,
                          .flags = HMOE_VERIFY_WEIGHTS}; /* a tool may take the time */
  *progress = (hmoec_open_progress){.begun = hmoec_clock_seconds()};
  if (isatty(STDERR_FILENO)) {
    options.progress = show_packing;
    options.progress_context = progress;
  }
  return options;
}

void hmoec_open_finish(hmoec_open_progress *progress) {
  if (progress->drawn) fputs("\r\033[K", stderr);
}

bool hmoec_open_model(const hmoec_arguments *arguments, hmoec_compilation **out_compilation, hmoe_model **out_model) {
  hmoec_open_progress progress;
  *out_model = NULL;
  if (!*out_compilation && hmoec_compile_file(arguments->model, &arguments->options, out_compilation) != HMOEC_OK) return false;
  hmoe_options options = hmoec_open_options(arguments, &progress);
  hmoec_status status = hmoec_compilation_open(*out_compilation, &(hmoe_weights){.path = arguments->weights}, &options, out_model);
  hmoec_open_finish(&progress);
  return status == HMOEC_OK;
}

bool hmoec_make_temporary(const char *stem, char out_path[HMOEC_TEMPORARY_CHARS], hmoec_diagnostics *diagnostics) {
  const char *directory = getenv("TMPDIR");
  if (!directory || !*directory) directory = "/tmp";
  int written = snprintf(out_path, HMOEC_TEMPORARY_CHARS, "%s/hmoec-%s-XXXXXX", directory, stem);
  errno = ENAMETOOLONG;
  int fd = written > 0 && written < HMOEC_TEMPORARY_CHARS ? mkstemp(out_path) : -1;
  if (fd < 0) return hmoec_machine_error(diagnostics, "cannot make a temporary file in %s: %s", directory, strerror(errno));
  close(fd);
  return true;
}

bool hmoec_write_file(const char *path, const char *bytes, size_t size, hmoec_diagnostics *diagnostics) {
  if (strcmp(path, "-") != 0) return hmoec_file_write(path, bytes, size, diagnostics);
  if (fwrite(bytes, 1, size, stdout) == size && fflush(stdout) == 0) return true;
  return hmoec_error(diagnostics, (hmoec_location){0}, "cannot write to standard output: %s", strerror(errno));
}
