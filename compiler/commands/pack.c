/* hmoec pack: weights packed and folded ahead of time, to be mapped in place. */
#include <string.h>
#include <sys/stat.h>

#include "commands/commands.h"
#include "plain_text.h"

static bool run(const hmoec_arguments *arguments, hmoec_diagnostics *diagnostics) {
  if (!hmoec_weights_given(arguments, "pack", diagnostics)) return false;
  if (!hmoec_one_token_count(arguments, "pack", diagnostics)) return false;
  if (!arguments->output) return hmoec_usage_error(diagnostics, "hmoec pack needs -o MODEL.hmw");
  if (strcmp(arguments->output, "-") == 0)
    return hmoec_usage_error(diagnostics, "packed weights are written in place: expected -o MODEL.hmw, found '-'");
  hmoec_compilation *compilation = NULL;
  hmoec_open_progress progress;
  hmoe_options options = hmoec_open_options(arguments, &progress);
  bool ok =
      hmoec_compile_file(arguments->model, &arguments->options, &compilation) == HMOEC_OK &&
      hmoec_compilation_pack(compilation, &(hmoe_weights){.path = arguments->weights}, &options, arguments->output) == HMOEC_OK;
  hmoec_open_finish(&progress);
  struct stat info;
  if (ok && stat(arguments->output, &info) == 0)
    hmoe_plain_print(stderr, "%s: %.1f MB packed from %s\n", arguments->output, (double)info.st_size / 1e6, arguments->weights);
  hmoec_compilation_destroy(compilation);
  return ok;
}

static const char *const accepted[] = {
    "-o",      "-D",       "--c-include", "--c-define",     "--weights", "--threads", "--target", "--mcpu", "--cpu",
    "--dtype", "--tuning", "--strategy",  "--table-budget", "--memory",  "--routing", "--tokens", NULL};
const hmoec_command hmoec_command_pack = {"pack",
                                          "pack and fold weights ahead of time",
                                          "MODEL --weights W.safetensors -o MODEL.hmw [-D NAME=VALUE]... [options]",
                                          accepted,
                                          run,
                                          false};
