/* hmoec tune: fits a model's code to the machine that it runs on. */
#include "commands/tune.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands/machine.h"
#include "plain_text.h"

static void print(const tune_result *r) {
  const tune_model *m = &r->model;
  hmoe_plain_print(stdout, "%s code of target %s, %s, %lld threads; turns at %s priority\n\n", m->version, m->target, m->format,
                   (long long)m->threads, m->realtime ? "real-time" : "normal");
  printf("%10s %14s %14s %8s %17s  %s\n", "tokens", "default", "tuned", "gain", "interval", "by");
  for (size_t b = 0; b < r->bucket_count; b++) {
    const tune_bucket *k = &r->buckets[b];
    if (!(k->default_seconds > 0)) {
      printf("%10lld  not measured: the time was over\n", (long long)k->tokens);
      continue;
    }
    hmoe_plain_print(stdout, "%10lld %11.4f ms %11.4f ms %8.3f", (long long)k->tokens, 1e3 * k->default_seconds,
                     1e3 * k->tuned_seconds, k->gain.median);
    if (k->found) {
      hmoe_plain_print(stdout, "   %.3f to %.3f  ", k->gain.low, k->gain.high);
      const char *comma = "";
      for (size_t i = 0; i < m->knob_count; i++) {
        if (k->best.values[i] == m->knobs[i].base) continue;
        printf("%s%s = %lld", comma, m->knobs[i].name, (long long)k->best.values[i]);
        comma = ", ";
      }
    } else {
      printf("%19s nothing better found", "");
    }
    printf(" (%zu tried%s", k->tried, k->complete ? "" : ", not all");
    if (k->failed) printf(", %zu failed", k->failed);
    if (k->predicted_seconds > 0)
      hmoe_plain_print(stdout, "; predicted %.4f ms, %.0f %% of the bound%s", 1e3 * k->predicted_seconds,
                       100 * k->bound_seconds / k->predicted_seconds, k->hopeful ? "" : ": little to find");
    puts(")");
  }
  for (size_t i = 0; r->object_found && i < m->knob_count; i++)
    if (m->knobs[i].base != m->knobs[i].value)
      hmoe_plain_print(stdout, "\nall code: %.3f, %.3f to %.3f, by %s = %lld; gains above are on the whole\n",
                       r->object_gain.median, r->object_gain.low, r->object_gain.high, m->knobs[i].name,
                       (long long)m->knobs[i].base);
  if (r->interrupted) puts("\ninterrupted: what was found until then is kept");
}

/* --merge A B: B stands where MODEL does otherwise. */
static bool merge(const hmoec_arguments *arguments, hmoec_diagnostics *diagnostics) {
  hmoec_tuning a, b;
  if (!arguments->model) return hmoec_usage_error(diagnostics, "expected --merge A B, found the end of the line");
  hmoec_tuning_init(&a);
  hmoec_tuning_init(&b);
  bool ok = hmoec_tuning_read(&a, arguments->merge, diagnostics) && hmoec_tuning_read(&b, arguments->model, diagnostics);
  if (ok) hmoec_tuning_merge(&a, &b);
  ok = ok && hmoec_tuning_write(&a, arguments->output, diagnostics);
  if (ok) printf("%zu entries and %zu machines\n", a.entry_count, a.machine_count);
  hmoec_tuning_deinit(&a);
  hmoec_tuning_deinit(&b);
  return ok;
}

static bool run(const hmoec_arguments *arguments, hmoec_diagnostics *diagnostics) {
  if (arguments->measure) return tune_child(arguments, arguments->measure, diagnostics);
  if (arguments->machine) {
    if (arguments->model) return hmoec_usage_error(diagnostics, "hmoec tune --machine takes no MODEL, found %s", arguments->model);
    return hmoec_machine_measure(arguments, diagnostics);
  }
  if (!arguments->output) return hmoec_usage_error(diagnostics, "hmoec tune needs -o FILE");
  if (arguments->merge) return merge(arguments, diagnostics);
  if (!arguments->model) return hmoec_usage_error(diagnostics, "expected a MODEL; usage: hmoec tune %s", hmoec_command_tune.usage);
  if (!(arguments->budget_seconds > 0)) return hmoec_usage_error(diagnostics, "hmoec tune needs --budget SECONDS");
  tune_result *result = calloc(1, sizeof *result);
  if (!result) return hmoec_machine_error(diagnostics, "out of memory");
  bool ok = tune_search(arguments, result, diagnostics);
  if (ok) print(result);
  if (ok && arguments->report) ok = tune_report(result, arguments->report, diagnostics);
  tune_model_deinit(&result->model);
  free(result);
  return ok;
}

static const char *const accepted[] = {"-o",       "-D",        "--c-include", "--c-define", "--weights",  "--budget",
                                       "--tokens", "--threads", "--seed",      "--cpu",      "--strategy", "--table-budget",
                                       "--memory", "--routing", "--target",    "--dtype",    "--report",   "--measure",
                                       "--merge",  "--machine", NULL};
const hmoec_command hmoec_command_tune = {
    "tune",
    "measure what a model's code is fastest with on this machine",
    "MODEL --budget SECONDS -o TUNING [--tokens 1,8,64] [options] | --merge A B -o C | --machine [-o TUNING]",
    accepted,
    run,
    true};
