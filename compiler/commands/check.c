/* hmoec check: compiled code against the reference interpreter, on every CPU version of this machine. */
#include "commands/commands.h"

/* Lines of the report come between openings, each of which may have left its progress on the terminal. */
static void print_report(void *context, const char *text, size_t bytes) {
  hmoec_open_finish(context);
  fwrite(text, 1, bytes, stdout);
  if (bytes && text[bytes - 1] == '\n') fflush(stdout);
}

static bool run(const hmoec_arguments *arguments, hmoec_diagnostics *diagnostics) {
  if (!hmoec_one_token_count(arguments, "check", diagnostics)) return false;
  hmoec_open_progress progress;
  hmoe_options open = hmoec_open_options(arguments, &progress);
  hmoec_check_options check = {.struct_size = sizeof check,
                               .weights = arguments->weights,
                               .save_weights = arguments->save_weights,
                               .tokens = arguments->token_count ? arguments->tokens : NULL,
                               .seed = (uint64_t)arguments->seed,
                               .open = &open,
                               .print = print_report,
                               .print_context = &progress,
                               .complete = arguments->complete};
  hmoec_status status = hmoec_check(arguments->model, &arguments->options, &check);
  hmoec_open_finish(&progress);
  return status == HMOEC_OK;
}

static const char *const accepted[] = {"-D",         "--c-include",    "--c-define", "--weights", "--tokens",       "--seed",
                                       "--threads",  "--cpu",          "--target",   "--mcpu",    "--dtype",        "--tuning",
                                       "--strategy", "--table-budget", "--memory",   "--routing", "--save-weights", "--complete",
                                       NULL};
const hmoec_command hmoec_command_check = {"check",
                                           "compare compiled code with the reference interpreter",
                                           "MODEL [--weights W] [--tokens N] [--seed S] [--complete] [options]",
                                           accepted,
                                           run,
                                           false};
