/* Compiled code against the reference interpreter, for every strategy that is possible and every CPU version of this machine.
 *
 * f32 is compared with the source in double precision. bf16 is compared with what was folded of it, by an interpreter that rounds where compiled
 * code does, which sees errors far below those of bf16 itself; and, as that shares the choice of what is rounded, with the source too. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "interpreter/parameters.h"
#include "ir/entry.h"
#include "library/check_reference.h"
#include "library/report.h"
#include "library/session.h"
#include "library/signature.h"
#include "passes/hyper_cost.h"
#include "passes/rewrite.h"
#include "plain_text.h"
#include "runtime_internal.h"
#include "support/paths.h"

#define DEFAULT_TOKENS 64
#define FEWEST_TOKENS 3 /* of a whole model: one a batch row */
#define SHORTER 3 /* batch rows of a default size, which are more of them: see hmoec_check_tolerance_rounded */
#define MOST_TOKENS (1 << 26)
#define MOST_TABLE_BYTES (INT64_C(1) << 30)
#define MOST_MOVED                                                                                                                 \
  5e-2 /* of the largest logit: as far as rounding to bf16 takes a value of a layer, see hmoec_check_tolerance_exact */

/* Of layers, and of whole models, where errors go through many of them. */
hmoec_check_tolerance hmoec_check_tolerance_exact(hmoec_format dtype, bool whole) {
  static const hmoec_check_tolerance tolerances[HMOEC_FORMAT_COUNT][2] = {
      [HMOEC_FORMAT_F32] = {{2e-5, INFINITY, INFINITY}, {5e-5, INFINITY, INFINITY}},
      [HMOEC_FORMAT_BF16] = {{5e-2, 1e-2, INFINITY}, {1e-1, 3e-2, INFINITY}},
  };
  return tolerances[dtype][whole];
}

/* Compiled code and the interpreter agree to about 1e-7, until one of them sums to the other side of a number where rounding changes. From
 * there on attention spreads what is left of such a difference over the tokens behind it, up to half of the error of bf16. Batch rows are
 * short enough for one to stay without, the likelier the more they are. */
hmoec_check_tolerance hmoec_check_tolerance_rounded(hmoec_format dtype, bool whole) {
  static const hmoec_check_tolerance bf16[2] = {{4e-3, 1e-3, INFINITY}, {2e-2, 8e-3, 1e-3}};
  return dtype == HMOEC_FORMAT_BF16 ? bf16[whole] : hmoec_check_tolerance_exact(dtype, whole);
}

int64_t hmoec_check_longest(hmoec_format dtype) { return dtype == HMOEC_FORMAT_BF16 ? 24 : 0; }
double hmoec_check_tie(hmoec_format dtype) { return dtype == HMOEC_FORMAT_BF16 ? 2e-3 : 1e-6; }

/* What became of the outputs that were compared. */
typedef struct tally {
  size_t ok, wrong;
  size_t
      nothing; /* nothing of it was there to compare, or only zeros, infinities and NaN: it says nothing, and counts as neither */
  size_t strategies_left_out;
  int64_t groups_left_out; /* the most of any comparison */
} tally;

/* What is asked for, and what came of it. */
typedef struct request {
  const char *path;
  const hmoec_options *options;
  const hmoec_check_options *check;
  hmoe_options open; /* its cpu is set for each */
  hmoec_format dtype;
  hmoec_report report;
  hmoec_diagnostics *diagnostics;
  const char *fault; /* HMOE_CHECK_FAULT */
  tally *tally;
} request;

/* Everything a strategy's code is compared with. */
typedef struct references {
  const hmoec_check_reference *exact;
  const hmoec_check_reference *rounded; /* the same as `exact` where nothing is rounded */
} references;

/* For tests of check itself: HMOE_CHECK_FAULT=KIND:FACTOR changes what a run gave before it is compared, so that the error is FACTOR times what
 * is allowed.
 *   first, last    moves that value by FACTOR times the tolerance of one value
 *   norm           scales all values, by FACTOR times the tolerance of the 2-norm
 *   nearest        the same with the tolerance of the nearest batch row
 *   nan            the last value is NaN
 *   zero           both are 0: what is compared, and what it is compared with
 * exact-KIND does so for the comparison of bf16 with the interpreter in double precision only. weights:PATH opens compiled code with weights that the
 * interpreter does not see, and shape has the signature say one column more. */
static const char *fault_of(const request *q, const char *kind, double *out_factor) {
  size_t length = strlen(kind);
  if (!q->fault || strncmp(q->fault, kind, length) != 0 || (q->fault[length] && q->fault[length] != ':')) return NULL;
  const char *value = q->fault[length] ? q->fault + length + 1 : "";
  if (out_factor) *out_factor = hmoe_plain_number(value, NULL);
  return value;
}

/* The first value that is not left out, or the last. */
static int64_t compared_value(const hmoec_check_reference *r, size_t output, int64_t count, bool first) {
  int64_t at = first ? 0 : count - 1;
  while (at >= 0 && at < count && hmoec_check_is_left_out(r, output, at)) at += first ? 1 : -1;
  return at < count ? at : -1;
}

static void spoil(const request *q, const char *prefix, const hmoec_check_reference *r, size_t output, hmoec_check_tolerance most,
                  float *values) {
  enum { FIRST, LAST, NORM, NEAREST, NOT_A_NUMBER, ZERO, KINDS };
  static const char *const kinds[KINDS] = {"first", "last", "norm", "nearest", "nan", "zero"};
  int64_t count = hmoec_shape_elements(&r->outputs[output].shape);
  double largest = hmoec_check_difference_of(r, output, values).largest, factor;
  for (int k = 0; q->fault && k < KINDS; k++) {
    char kind[32];
    snprintf(kind, sizeof kind, "%s%s", prefix, kinds[k]);
    if (!fault_of(q, kind, &factor)) continue;
    int64_t at = compared_value(r, output, count, k == FIRST);
    if ((k == FIRST || k == LAST) && at >= 0) values[at] = (float)((double)values[at] + factor * most.worst * largest);
    if (k == NOT_A_NUMBER && at >= 0) values[at] = NAN;
    for (int64_t i = 0; i < count && (k == NORM || k == NEAREST); i++)
      values[i] = (float)((double)values[i] * (1 + factor * (k == NORM ? most.distance : most.nearest)));
    for (int64_t i = 0; i < count && k == ZERO; i++) values[i] = 0, r->outputs[output].data[i] = 0;
  }
}

/* How far one output is from a reference. */
static bool compare_with(const request *q, const char *prefix, const hmoec_check_reference *r, size_t output,
                         hmoec_check_tolerance most, const float *found, hmoec_check_difference *out_difference, bool *out_within) {
  size_t count = (size_t)hmoec_shape_elements(&r->outputs[output].shape);
  float *values = malloc((count + 1) * sizeof *values);
  if (!values) return hmoec_machine_error(q->diagnostics, "out of memory");
  memcpy(values, found, count * sizeof *values);
  spoil(q, prefix, r, output, most, values);
  *out_difference = hmoec_check_difference_of(r, output, values);
  *out_within = hmoec_check_within(out_difference, &most);
  free(values);
  return true;
}

static void report_value(const request *q, bool known, double value) {
  if (known) hmoec_report_printf(&q->report, " %10.3g", value);
  else hmoec_report_printf(&q->report, " %10s", "-");
}

static void report_error(const request *q, bool known, double error) {
  if (known) hmoec_report_printf(&q->report, " %10.2e", error);
  else hmoec_report_printf(&q->report, " %10s", "-");
}

/* Runs an opened model and prints its error per output. */
static bool compare(hmoe_model *model, const references *refs, const char *strategy, const char *cpu, const request *q) {
  const hmoec_check_inputs *in = refs->exact->inputs;
  float *outputs[HMOEC_MAX_TENSORS];
  bool ok = hmoec_check_run(model, refs->rounded, outputs, q->diagnostics);
  for (size_t i = 0; ok && i < in->signature.output_count; i++) {
    hmoec_check_difference d, exact;
    bool within, near = true;
    ok = compare_with(q, "", refs->rounded, i, hmoec_check_tolerance_rounded(q->dtype, in->whole), outputs[i], &d, &within);
    if (ok && refs->exact != refs->rounded)
      ok = compare_with(q, "exact-", refs->exact, i, hmoec_check_tolerance_exact(q->dtype, in->whole), outputs[i], &exact, &near);
    if (!ok) break;
    hmoec_report_printf(&q->report, "%-10s %-11s %-8s", strategy, cpu, in->signature.outputs[i].name);
    report_value(q, d.compared > 0, d.largest);
    report_value(q, d.compared > 0, d.worst);
    report_error(q, d.compared > 0, d.relative);
    if (refs->exact != refs->rounded) {
      report_error(q, d.compared > 0, d.distance);
      report_error(q, d.nearest >= 0, d.nearest);
      report_error(q, exact.compared > 0, exact.distance);
    }
    bool nothing = within && near && !(d.largest > 0) && !(d.compared == 0 && d.nearest >= 0);
    hmoec_report_printf(&q->report, "  %s\n",
                        !within      ? "WRONG"
                        : !near      ? "WRONG: too far from f64"
                        : !nothing   ? "ok"
                        : d.compared ? "ok, but no value is other than 0"
                                     : "nothing to compare");
    if (!within || !near) q->tally->wrong++;
    else if (nothing) q->tally->nothing++;
    else q->tally->ok++;
  }
  for (size_t i = 0; i < HMOEC_MAX_TENSORS; i++) free(outputs[i]);
  return ok;
}

static bool has_hyper_expert(MlirOperation function, MlirBlock block, void *user) {
  (void)function;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op))
    if (hmoec_op_is(op, "hmoe.hyper_expert")) *(bool *)user = true;
  return true;
}

/* A session for a strategy; NULL: the one the model would have. */
static bool begin_session(const request *q, const char *strategy, hmoec_diagnostics *diagnostics, hmoec_session *out_session) {
  hmoec_options forced = *q->options;
  forced.strategy = strategy;
  return hmoec_session_init(out_session, &forced, diagnostics);
}

/* Whether a strategy is left out here, and why: tables that would not fit, and strategies that the model excludes. A failure that is no
 * fault of the model's is not left out: check_strategy reports it. */
static bool left_out(const request *q, const char *strategy, char *out_reason, size_t size) {
  hmoec_diagnostics *quiet = hmoec_diagnostics_create(NULL);
  bool out = true;
  snprintf(out_reason, size, "out of memory");
  hmoec_session session;
  if (quiet && begin_session(q, strategy, quiet, &session)) {
    bool planned = hmoec_session_load(&session, q->path) && hmoec_session_plan(&session);
    if (!planned && hmoec_diagnostics_status(quiet) == HMOEC_MACHINE_ERROR) out = false;
    else if (!planned) snprintf(out_reason, size, "not possible for this model: %s", hmoec_diagnostics_first(quiet));
    else if (hmoec_op_int(mlirModuleGetOperation(session.planned), "hmk.weight_bytes") > MOST_TABLE_BYTES &&
             strcmp(strategy, "table") == 0)
      snprintf(out_reason, size, "its table is over 1 GiB");
    else out = false;
    hmoec_session_deinit(&session);
  }
  hmoec_diagnostics_destroy(quiet);
  return out;
}

/* Does a comparison say something of batch rows that have ties? */
static bool compares_nearest(const request *q, const hmoec_check_inputs *in) {
  return in->whole && isfinite(hmoec_check_tolerance_rounded(q->dtype, true).nearest);
}

/* Says which groups a comparison leaves out. strategy: whose, or NULL. */
static void report_ties(const request *q, const hmoec_check_reference *r, const char *strategy) {
  const hmoec_check_inputs *in = r->inputs;
  if (r->tied_count > q->tally->groups_left_out) q->tally->groups_left_out = r->tied_count;
  if (!r->tied_count) return;
  if (strategy) hmoec_report_printf(&q->report, "%-10s ", strategy);
  if (in->whole)
    hmoec_report_printf(&q->report, "%lld of %lld batch rows left out%s: the routing of a token in them is a tie within rounding\n",
                        (long long)r->tied_count, (long long)in->groups,
                        compares_nearest(q, in) ? ", but for the one that is nearest" : "");
  else hmoec_report_printf(&q->report, "%lld tokens left out: their routing is a tie within rounding\n", (long long)r->tied_count);
}

/* Code of one strategy on every CPU version. weights: for compiled code. */
static bool check_versions(const request *q, hmoec_session *session, const char *strategy, const references *refs,
                           const char *weights) {
  const char *versions[HMOEC_MOST_VERSIONS];
  size_t version_count = hmoec_session_versions(session, versions);
  bool ok = true;
  if (q->options->cpu) { /* one that the machine lacks is refused on opening */
    versions[0] = q->options->cpu;
    version_count = 1;
  }
  bool on_device = session->unit.target->host && !q->options->cpu; /* else the host runs the same object */
  if (on_device) {
    versions[0] = session->unit.target->name;
    version_count = 1;
  }
  const char *others = fault_of(q, "weights", NULL);
  for (size_t v = 0; ok && v < version_count; v++) {
    hmoe_model *model = NULL;
    hmoe_options open = q->open;
    if (on_device) open.device = versions[v];
    else open.cpu = versions[v];
    ok = hmoec_session_open(session, &(hmoe_weights){.path = others ? others : weights}, &open, &model) &&
         compare(model, refs, strategy, versions[v], q);
    hmoe_model_close(model);
  }
  return ok;
}

/* What code of a session rounds. */
static hmoec_rounds rounds_of(const hmoec_session *session, hmoec_format dtype) {
  return session->unit.target->packs_rows[dtype] ? hmoec_products_round : hmoec_products_and_rows_round;
}

static bool check_strategy(const request *q, const char *strategy, const hmoec_check_reference *exact, const char *weights) {
  hmoec_session session;
  hmoec_check_reference rounded = {.inputs = exact->inputs}, less = *exact; /* it has other ties, and owns these only */
  references refs = {.exact = exact, .rounded = exact};
  less.tied = NULL;
  const char *name = strategy ? strategy : "-";
  bool ok = begin_session(q, strategy, q->diagnostics, &session) && hmoec_session_load(&session, q->path) &&
            hmoec_session_jit(&session, true);
  if (ok && q->dtype == HMOEC_FORMAT_BF16) {
    ok = hmoec_check_reference_init(&rounded, exact->inputs, session.folded, weights, rounds_of(&session, q->dtype),
                                    hmoec_check_tie(q->dtype), q->diagnostics);
    refs.rounded = &rounded;
    int64_t flips = ok ? hmoec_check_reference_flips(exact, &rounded, MOST_MOVED, &less.tied) : 0;
    if (ok && flips < 0) ok = hmoec_machine_error(q->diagnostics, "out of memory");
    if (ok) report_ties(q, &rounded, name);
    if (ok && flips)
      hmoec_report_printf(&q->report, "%-10s %lld of %lld %s not compared with f64: rounding to bf16 changes their routing\n", name,
                          (long long)flips, (long long)exact->inputs->groups, exact->inputs->whole ? "batch rows" : "tokens");
    less.tied_count += flips;
    if (less.tied_count > q->tally->groups_left_out) q->tally->groups_left_out = less.tied_count;
    refs.exact = &less;
    if (ok && hmoec_check_all_tied(&rounded) && !compares_nearest(q, exact->inputs))
      ok = hmoec_error(q->diagnostics, (hmoec_location){0}, "nothing is left to compare of strategy %s: try another --seed", name);
  }
  ok = ok && check_versions(q, &session, name, &refs, weights);
  hmoec_check_reference_deinit(&rounded);
  free(less.tied);
  hmoec_session_deinit(&session);
  return ok;
}

static void print_head(const request *q, const hmoec_check_inputs *in) {
  const hmoec_report *report = &q->report;
  for (size_t i = 0; i < in->signature.size_count && in->whole; i++)
    hmoec_report_printf(report, "%s %lld, ", in->signature.size_names[i], (long long)in->sizes[i]);
  if (!in->whole) hmoec_report_printf(report, "%lld tokens, ", (long long)in->groups);
  hmoec_report_printf(report, "seed %llu, %s, %s\n%-10s %-11s %-8s %10s %10s %10s", (unsigned long long)q->check->seed,
                      q->check->weights ? q->check->weights : "random weights", hmoec_format_name(q->dtype), "strategy", "cpu",
                      "output", "max |y|", "max error", "relative");
  hmoec_report_printf(report, q->dtype == HMOEC_FORMAT_F32 ? "\n" : "     2-norm    nearest   from f64\n");
}

/* With every strategy that is possible, or the one that is asked for. */
static bool check_strategies(const request *q, const hmoec_check_reference *exact, bool hyper, const char *weights) {
  const char *asked = hmoec_options_pass(q->options).strategy;
  bool forced = asked != NULL, ok = true;
  for (size_t i = 0; i < q->options->define_count; i++) forced = forced || strcmp(q->options->defines[i].name, "strategy") == 0;
  if (!hyper || forced) return check_strategy(q, asked, exact, weights);
  int checked = 0;
  for (int s = HMOEC_STRATEGY_TABLE; ok && s < HMOEC_STRATEGY_COUNT; s++) {
    const char *name = hmoec_strategy_name((hmoec_strategy)s);
    char reason[512];
    if (left_out(q, name, reason, sizeof reason)) {
      hmoec_report_printf(&q->report, "%-10s left out: %s\n", name, reason);
      q->tally->strategies_left_out++;
    } else {
      ok = check_strategy(q, name, exact, weights);
      checked++;
    }
  }
  if (ok && !checked) ok = check_strategy(q, NULL, exact, weights); /* says where the model is wrong */
  return ok;
}

/* Inputs of as many tokens as asked for, or else of so few that not all is left out; and what the interpreter makes of them. */
static bool find_inputs(const request *q, const hmoec_session *session, const hmoec_signature *signature, const char *weights,
                        hmoec_check_inputs *in, hmoec_check_reference *exact) {
  int64_t tokens = q->check->tokens ? *q->check->tokens : DEFAULT_TOKENS;
  int64_t longest = hmoec_check_longest(q->dtype) / (q->check->tokens ? 1 : SHORTER);
  for (;; tokens /= 2) {
    bool ok = hmoec_check_inputs_init(in, session->source, signature, q->check->seed, tokens, longest, q->diagnostics) &&
              hmoec_check_reference_init(exact, in, session->source, weights, NULL, hmoec_check_tie(q->dtype), q->diagnostics);
    if (!ok || !hmoec_check_all_tied(exact) || compares_nearest(q, in)) return ok;
    if (q->check->tokens || !in->whole || tokens <= FEWEST_TOKENS) break;
    hmoec_check_reference_deinit(exact);
    hmoec_check_inputs_deinit(in);
  }
  return hmoec_error(q->diagnostics, (hmoec_location){0},
                     in->whole
                         ? "nothing is left to compare: every batch row has a token whose routing is a tie within rounding; try "
                           "another --seed%s"
                         : "nothing is left to compare: the routing of every token is a tie within rounding; try another --seed%s",
                     q->check->tokens && in->whole ? " or fewer --tokens" : "");
}

/* The counts, and whether they are what was asked for. */
static bool conclude(const request *q, const hmoec_check_inputs *in) {
  const tally *t = q->tally;
  const char *groups = in->whole ? "batch rows" : "tokens";
  char left_out[128] = "nothing";
  if (t->groups_left_out && t->strategies_left_out)
    snprintf(left_out, sizeof left_out, "%lld of %lld %s, %zu strategies", (long long)t->groups_left_out, (long long)in->groups,
             groups, t->strategies_left_out);
  else if (t->groups_left_out)
    snprintf(left_out, sizeof left_out, "%lld of %lld %s", (long long)t->groups_left_out, (long long)in->groups, groups);
  else if (t->strategies_left_out) snprintf(left_out, sizeof left_out, "%zu strategies", t->strategies_left_out);
  hmoec_report_printf(&q->report, "%zu compared, %zu within the tolerance", t->ok + t->wrong, t->ok);
  if (t->nothing) hmoec_report_printf(&q->report, "; %zu without a value to compare", t->nothing);
  hmoec_report_printf(&q->report, "; %s left out\n", left_out);

  hmoec_check_tolerance rounded = hmoec_check_tolerance_rounded(q->dtype, in->whole),
                        exact = hmoec_check_tolerance_exact(q->dtype, in->whole);
  if (t->wrong && q->dtype == HMOEC_FORMAT_F32)
    return hmoec_error(q->diagnostics, (hmoec_location){0},
                       "compiled code differs from the interpreter by more than %.0e of max |y|", exact.worst);
  if (t->wrong)
    return hmoec_error(q->diagnostics, (hmoec_location){0},
                       "compiled code differs from the interpreter that rounds to bf16 by more than %.0e of max |y| or %.0e in the "
                       "2-norm, or from the one that does not by more than %.0e or %.0e",
                       rounded.worst, rounded.distance, exact.worst, exact.distance);
  if (q->check->complete && (t->groups_left_out || t->strategies_left_out || t->nothing || !t->ok))
    return hmoec_error(q->diagnostics, (hmoec_location){0},
                       "the comparison is not complete: %s left out, %zu outputs without a value", left_out, t->nothing);
  return true;
}

static bool check(const request *q) {
  hmoec_session session;
  hmoec_signature signature;
  hmoec_check_inputs in = {.groups = 0};
  hmoec_check_reference exact = {.inputs = NULL};
  hmoec_temporary temporary = {.path = ""};
  const char *weights = q->check->weights;
  bool hyper = false;
  if (q->check->tokens && (*q->check->tokens < 0 || *q->check->tokens > MOST_TOKENS))
    return hmoec_usage_error(q->diagnostics, "expected tokens to be from 0 to %d, found %lld", MOST_TOKENS,
                             (long long)*q->check->tokens);
  bool ok = hmoec_session_init(&session, q->options, q->diagnostics) && hmoec_session_load(&session, q->path) &&
            hmoec_session_plan(&session) && hmoec_signature_read(&session.unit, NULL, &signature, q->diagnostics);
  if (ok && fault_of(q, "shape", NULL)) signature.outputs[0].shape.dims[signature.outputs[0].shape.rank - 1]++;
  if (ok && !weights) {
    weights = q->check->save_weights;
    if (!weights) {
      ok = hmoec_temporary_open("check", &temporary, q->diagnostics);
      weights = temporary.path;
    }
    ok = ok && hmoec_random_weights_write(session.source, q->check->seed, weights, q->diagnostics);
  }
  if (ok) hmoec_each_function(session.source, has_hyper_expert, &hyper);
  ok = ok && find_inputs(q, &session, &signature, weights, &in, &exact);
  if (ok) print_head(q, &in);
  if (ok && q->dtype == HMOEC_FORMAT_F32) report_ties(q, &exact, NULL);
  else if (ok && exact.tied_count)
    hmoec_report_printf(&q->report, "%lld of %lld %s not compared with f64: rounding to bf16 may change their routing\n",
                        (long long)exact.tied_count, (long long)in.groups, in.whole ? "batch rows" : "tokens");
  ok = ok && check_strategies(q, &exact, hyper, weights) && conclude(q, &in);
  hmoec_temporary_close(&temporary);
  hmoec_check_reference_deinit(&exact);
  hmoec_check_inputs_deinit(&in);
  hmoec_session_deinit(&session);
  return ok;
}

hmoec_status hmoec_check(const char *path, const hmoec_options *options, const hmoec_check_options *check_options) {
  hmoec_options read;
  hmoec_check_options how;
  tally counts = {0};
  request q = {.path = path,
               .options = &read,
               .check = &how,
               .diagnostics = hmoec_sink_create(options),
               .fault = getenv("HMOE_CHECK_FAULT"),
               .tally = &counts};
  bool ok = q.diagnostics && hmoec_options_read(options, "", &read, q.diagnostics) &&
            hmoec_struct_read(check_options, "the check options", offsetof(hmoec_check_options, weights), sizeof how, &how,
                              q.diagnostics);
  if (ok) {
    hmoe_status status = hmoe_options_read(how.open, &q.open);
    ok = status == HMOE_OK ? hmoec_environment_check(&read, &q.open, q.diagnostics) : hmoec_runtime_error(q.diagnostics, status);
  }
  if (ok) {
    q.dtype = hmoec_options_pass(&read).dtype;
    q.report = (hmoec_report){.print = how.print, .context = how.print_context};
    ok = check(&q);
  }
  hmoec_status status = ok ? HMOEC_OK : hmoec_sink_failure(q.diagnostics);
  hmoec_diagnostics_destroy(q.diagnostics);
  return status;
}
