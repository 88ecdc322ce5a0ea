/* hmoec explain: what a model costs and what the compiler chose, op by op, with the numbers behind each choice. */
#include <string.h>

#include "commands/commands.h"
#include "support/output_file.h"

static void print_report(void *context, const char *text, size_t bytes) { fwrite(text, 1, bytes, context); }

/* How the sample that is given is routed, as text. */
static bool routing_read(const hmoec_arguments *arguments, char **out_text, hmoec_diagnostics *diagnostics) {
  hmoec_compilation *compilation = NULL;
  hmoec_signature signature = {0};
  hmoec_npy arrays[HMOEC_MAX_TENSORS] = {0};
  const char *files[HMOEC_MAX_TENSORS] = {0};
  const void *data[HMOEC_MAX_TENSORS] = {0};
  hmoec_run_sizes sizes = {0};
  bool ok =
      hmoec_compile_file(arguments->model, &arguments->options, &compilation) == HMOEC_OK &&
      hmoec_compilation_signature(compilation, NULL, &signature) == HMOEC_OK &&
      hmoec_match_names("--input", arguments->inputs, arguments->input_count, signature.inputs, signature.input_count, files,
                        diagnostics) &&
      hmoec_inputs_read(files, &signature, &sizes, arrays, data, diagnostics) &&
      hmoec_compilation_routing(compilation, &(hmoe_weights){.path = arguments->weights}, sizes.values, data, out_text) == HMOEC_OK;
  for (size_t i = 0; i < HMOEC_MAX_TENSORS; i++) hmoec_npy_deinit(&arrays[i]);
  hmoec_compilation_destroy(compilation);
  return ok;
}

static bool options_check(const hmoec_arguments *arguments, hmoec_diagnostics *diagnostics) {
  if (!hmoec_one_token_count(arguments, "explain", diagnostics)) return false;
  if (arguments->write_routing && !arguments->input_count)
    return hmoec_usage_error(diagnostics, "--write-routing needs --input NAME=FILE.npy");
  if (!arguments->input_count) return true;
  if (arguments->options.routing) return hmoec_usage_error(diagnostics, "--routing and --input exclude each other");
  return hmoec_weights_given(arguments, "explain --input", diagnostics);
}

static bool run(const hmoec_arguments *arguments, hmoec_diagnostics *diagnostics) {
  char *routing = NULL;
  hmoec_options options = arguments->options;
  bool ok = options_check(arguments, diagnostics);
  if (ok && arguments->input_count) {
    ok = routing_read(arguments, &routing, diagnostics);
    if (ok && arguments->write_routing) ok = hmoec_file_write(arguments->write_routing, routing, strlen(routing), diagnostics);
    options.routing = routing;
  }
  hmoec_explain_options explain = {.struct_size = sizeof explain,
                                   .tokens = arguments->token_count ? arguments->tokens : NULL,
                                   .rows = arguments->rows,
                                   .threads = arguments->threads,
                                   .print = print_report,
                                   .print_context = stdout};
  ok = ok && hmoec_explain(arguments->model, &options, &explain) == HMOEC_OK;
  hmoec_free(routing);
  return ok;
}

static const char *const accepted[] = {
    "-D",        "--c-include", "--c-define",      "--tokens", "--rows", "--strategy", "--table-budget", "--memory",  "--routing",
    "--weights", "--input",     "--write-routing", "--target", "--mcpu", "--dtype",    "--tuning",       "--threads", NULL};
const hmoec_command hmoec_command_explain = {
    "explain",
    "show FLOPs, bytes and the chosen strategy of every op",
    "MODEL [--tokens N] [--rows N] [--threads N] [--weights W --input NAME=FILE.npy...] [-D NAME=VALUE]... [options]",
    accepted,
    run,
    false};
