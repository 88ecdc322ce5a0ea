/* hmoec explain: what a model costs and what the compiler chose, op by op, with the numbers behind each choice. */
#include "commands/commands.h"

static void print_report(void *context, const char *text, size_t bytes) { fwrite(text, 1, bytes, context); }

static bool run(const hmoec_arguments *arguments, hmoec_diagnostics *diagnostics) {
  if (!hmoec_one_token_count(arguments, "explain", diagnostics)) return false;
  hmoec_explain_options explain = {.struct_size = sizeof explain,
                                   .tokens = arguments->token_count ? arguments->tokens : NULL,
                                   .rows = arguments->rows,
                                   .threads = arguments->threads,
                                   .print = print_report,
                                   .print_context = stdout};
  return hmoec_explain(arguments->model, &arguments->options, &explain) == HMOEC_OK;
}

static const char *const accepted[] = {"-D",         "--c-include",    "--c-define", "--tokens", "--rows",
                                       "--strategy", "--table-budget", "--target",   "--mcpu",   "--dtype",
                                       "--tuning",   "--threads",      NULL};
const hmoec_command hmoec_command_explain = {"explain",
                                             "show FLOPs, bytes and the chosen strategy of every op",
                                             "MODEL [--tokens N] [--rows N] [--threads N] [-D NAME=VALUE]... [options]",
                                             accepted,
                                             run,
                                             false};
