/* What commands that open and run models share. */
#include <string.h>
#include <unistd.h>

#include "commands/commands.h"
#include "plain_text.h"
#include "support/clock.h"

/* A line that is written over, on a terminal, once packing takes longer than a second. */
static void show_packing(void *context, uint64_t done_bytes, uint64_t total_bytes) {
  enum { WIDTH = 30 };
  hmoec_open_progress *p = context;
  double now = hmoec_clock_seconds();
  if (p->begun == 0) p->begun = now;
  bool soon = now - p->begun < 1;
  if (done_bytes == total_bytes) p->begun = 0; /* what follows is of another opening */
  if (soon || !total_bytes) return;
  char bar[WIDTH + 1] = {0};
  memset(bar, '.', WIDTH);
  memset(bar, '#', (size_t)((double)WIDTH * (double)done_bytes / (double)total_bytes));
  hmoe_plain_print(stderr, "\rpacking [%s] %.1f of %.1f GB ", bar, (double)done_bytes / 1e9, (double)total_bytes / 1e9);
  p->drawn = true;
}

bool hmoec_one_token_count(const hmoec_arguments *arguments, const char *command, hmoec_diagnostics *diagnostics) {
  return arguments->token_count <= 1 ||
         hmoec_usage_error(diagnostics, "expected one number for --tokens of hmoec %s, found %zu", command, arguments->token_count);
}

bool hmoec_weights_given(const hmoec_arguments *arguments, const char *command, hmoec_diagnostics *diagnostics) {
  if (arguments->weights) return true;
  hmoec_compilation *compilation = NULL;
  bool refused =
      access(arguments->model, F_OK) != 0 && hmoec_compile_file(arguments->model, &arguments->options, &compilation) != HMOEC_OK;
  hmoec_compilation_destroy(compilation);
  return refused ? false : hmoec_usage_error(diagnostics, "hmoec %s needs --weights FILE", command);
}

hmoe_options hmoec_open_options(const hmoec_arguments *arguments, hmoec_open_progress *progress) {
  hmoe_options options = {.struct_size = sizeof options,
                          .threads = (uint32_t)arguments->threads,
                          .flags = HMOE_VERIFY_WEIGHTS}; /* a tool may take the time */
  *progress = (hmoec_open_progress){0};
  if (isatty(STDERR_FILENO)) {
    options.progress = show_packing;
    options.progress_context = progress;
  }
  return options;
}

void hmoec_open_finish(hmoec_open_progress *progress) {
  if (progress->drawn) fputs("\r\033[K", stderr);
  progress->drawn = false;
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
