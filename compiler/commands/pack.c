/* hmoec pack: weights packed and folded ahead of time, to be mapped in place. */
#include "commands/commands.h"

static bool run(const hmoec_options *options, hmoec_diagnostics *diagnostics) {
  if (!options->weights) return hmoec_usage_error(diagnostics, "hmoec pack needs --weights FILE");
  if (!options->output) return hmoec_usage_error(diagnostics, "hmoec pack needs -o MODEL.hmw");
  hmoec_session session;
  bool ok = hmoec_session_init(&session, diagnostics) && hmoec_session_load(&session, options, options->model) &&
            hmoec_session_fold(&session, options) && hmoec_session_plan(&session, options) &&
            hmoec_session_jit(&session, options, false) && hmoec_session_pack(&session, options, options->weights, options->output);
  if (ok)
    fprintf(stderr, "%s: %.1f MB packed from %s\n", options->output,
            (double)((const hmoe_plan *)session.unit.plan)->weight_bytes / 1e6, options->weights);
  hmoec_session_deinit(&session);
  return ok;
}

static const char *const accepted[] = {"-o",    "-D",      "--weights", "--threads",  "--target",       "--mcpu",
                                       "--cpu", "--dtype", "--tuning",  "--strategy", "--table-budget", NULL};
const hmoec_command hmoec_command_pack = {"pack", "pack and fold weights ahead of time",
                                          "MODEL --weights W.safetensors -o MODEL.hmw [-D NAME=VALUE]... [options]", accepted, run};
