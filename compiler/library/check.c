/* Compiled code against the reference interpreter, for every strategy that is possible and every CPU version of this machine. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hmoe/abi.h"
#include "interpreter/interpreter.h"
#include "interpreter/parameters.h"
#include "interpreter/run_scalar.h"
#include "ir/entry.h"
#include "library/report.h"
#include "library/session.h"
#include "library/signature.h"
#include "passes/hyper_cost.h"
#include "passes/rewrite.h"
#include "runtime_internal.h"
#include "support/paths.h"

/* How far compiled code may be from the interpreter, which computes in double with weights that are not rounded. */
typedef struct tolerance {
  double worst; /* of one value, relative to max |y| */
  double distance; /* ||y - ref|| / ||ref||, 2-norms */
} tolerance;

/* Of layers, and of whole models, where errors go through many of them. */
static const tolerance tolerances[HMOEC_DTYPE_COUNT][2] = {
    [HMOEC_DTYPE_F32] = {{2e-5, INFINITY}, {5e-5, INFINITY}},
    [HMOEC_DTYPE_BF16] = {{5e-2, 1e-2}, {1e-1, 3e-2}},
};

/* Logits this close, relative to the largest, may order either way: in a layer, whose router is f32 and sees the input itself; and for
 * each attention before it, which adds to the rounding that the router sees. */
#define TIE 1e-6
static const double tie_per_attention[HMOEC_DTYPE_COUNT] = {[HMOEC_DTYPE_F32] = 1e-6, [HMOEC_DTYPE_BF16] = 2e-3};

#define DEFAULT_TOKENS 64
#define MOST_BATCH 3
#define MOST_TOKENS (1 << 26)
#define MOST_TABLE_BYTES (INT64_C(1) << 30)

/* What is asked for. */
typedef struct request {
  const char *path;
  const hmoec_options *options;
  const hmoec_check_options *check;
  hmoe_options open; /* its cpu is set for each */
  hmoec_dtype dtype;
  hmoec_report report;
  hmoec_diagnostics *diagnostics;
} request;

/* What the interpreter makes of random inputs, in the order of the function's signature and of the entry's, which are the same by name. */
typedef struct reference {
  hmoec_signature signature;
  int64_t sizes[HMOEC_MAX_SIZES];
  bool whole; /* a whole model: attention makes of a tie at one token a tie of its batch row */
  int64_t groups, tied_count; /* what is left out as a whole: batch rows of a whole model, tokens of a layer */
  bool *tied; /* per group: f32 rounding may pick other experts than double does */
  hmoec_tensor inputs[HMOEC_MAX_TENSORS]; /* of the function */
  void *input_data[HMOEC_MAX_TENSORS]; /* of the entry */
  hmoec_tensor outputs[HMOEC_MAX_TENSORS]; /* of the entry; borrowed from `results` */
  hmoec_tensor *results; /* of the function, and the logits of its routes */
  size_t result_count;
} reference;

static void reference_deinit(reference *r) {
  for (size_t i = 0; i < HMOEC_MAX_TENSORS; i++) {
    hmoec_tensor_deinit(&r->inputs[i]);
    free(r->input_data[i]);
  }
  for (size_t i = 0; r->results && i < r->result_count; i++) hmoec_tensor_deinit(&r->results[i]);
  free(r->results);
  free(r->tied);
}

/* The size of the run: `tokens` of a layer; of a whole model batch rows of a third, and targets of another odd length. */
static void choose_sizes(reference *r, MlirOperation function, int64_t tokens) {
  int64_t batch = tokens < MOST_BATCH ? tokens : MOST_BATCH, length = batch ? tokens / batch : 0,
          most = hmoec_most_positions(function);
  for (size_t i = 0; i < r->signature.size_count; i++) {
    if (r->signature.size_count == 1) r->sizes[i] = r->whole && length < most ? length : r->whole ? most : tokens;
    else if (i == 0) r->sizes[i] = batch;
    else r->sizes[i] = i == 1 ? length : length * 2 / 3 / (int64_t)(i - 1) | (length > 0);
    if (i > 0 && r->sizes[i] > most) r->sizes[i] = most;
  }
}

static size_t count_ops(MlirOperation function, const char *name) {
  MlirBlock block = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
  size_t count = 0;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op))
    count += hmoec_op_is(op, name);
  return count;
}

/* A route op of the function. */
typedef struct route {
  int64_t top_k, attentions; /* before it */
  MlirStringRef gate;
} route;

/* Makes a function return the logits of its routes too, after its own results, in place of what it was made to return before. The
 * interpreter takes results from the return, whatever the function's type says. */
static size_t return_logits(MlirOperation function, size_t own_count, route *out_routes) {
  MlirBlock block = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
  MlirOperation old = mlirBlockGetTerminator(block);
  MlirOperationState state = mlirOperationStateGet(mlirStringRefCreateFromCString("func.return"), mlirOperationGetLocation(old));
  for (intptr_t i = 0; i < (intptr_t)own_count; i++) {
    MlirValue own = mlirOperationGetOperand(old, i);
    mlirOperationStateAddOperands(&state, 1, &own);
  }
  size_t count = 0;
  int64_t attentions = 0;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
    attentions += hmoec_op_is(op, "hmoe.attention");
    if (!hmoec_op_is(op, "hmoe.route")) continue;
    MlirValue logits = mlirOperationGetOperand(op, 0);
    mlirOperationStateAddOperands(&state, 1, &logits);
    out_routes[count++] =
        (route){.top_k = hmoec_op_int(op, "top_k"), .attentions = attentions, .gate = hmoec_op_string(op, "gate")};
  }
  mlirOperationDestroy(old);
  mlirBlockAppendOwnedOperation(block, mlirOperationCreate(&state));
  return count;
}

/* What selection goes by, for one expert: its value, and the least and the largest that rounding may make of it. NaN is the largest. */
typedef struct candidate {
  double value, least, most;
  int64_t expert;
} candidate;

static double nan_largest(double x) { return isnan(x) ? INFINITY : x; }

/* The logit itself. */
static candidate candidate_of_logit(double logit, double within) {
  logit = nan_largest(logit);
  double half = isfinite(logit) ? within / 2 : 0;
  return (candidate){.value = logit, .least = logit - half, .most = logit + half};
}

/* The score, at the logit and at its neighbours. Where all are one number, as where a score saturates, kernels give it too. */
static candidate candidate_of_score(const hmoec_scalar_program *score, hmoec_scalar_value *values, double logit, double within) {
  candidate made = {.least = INFINITY, .most = -INFINITY};
  for (int side = -1; side <= 1; side++) {
    double y = nan_largest((double)hmoec_scalar_run(score, values, (float[]){(float)(logit + side * within)}));
    if (side == 0) made.value = y;
    made.least = fmin(made.least, y);
    made.most = fmax(made.most, y);
  }
  double rounding = made.least < made.most ? TIE * fabs(made.value) : 0;
  if (isfinite(made.value)) made.least -= rounding, made.most += rounding;
  return made;
}

static int by_rank(const void *a, const void *b) {
  const candidate *x = a, *y = b;
  return x->value != y->value ? (x->value < y->value) - (x->value > y->value) : (x->expert > y->expert) - (x->expert < y->expert);
}

/* Could one that is not selected come before one that is? Equal values that rounding leaves alone are no tie: the lower index is first. */
static bool is_tied(candidate *all, size_t count, size_t top_k) {
  double least = INFINITY, most = -INFINITY;
  qsort(all, count, sizeof *all, by_rank);
  for (size_t i = 0; i < count; i++) {
    if (i < top_k) least = fmin(least, all[i].least);
    else most = fmax(most, all[i].most);
  }
  return least < most;
}

/* Tokens of which rounding may select others: either choice is right. score: the gate's function where it is written in C, and the largest
 * scores are selected; NULL: the largest logits are. */
static bool find_ties(reference *r, const hmoec_tensor *logits, const route *from, const hmoec_scalar_program *score,
                      hmoec_dtype dtype) {
  int64_t experts = logits->shape.dims[logits->shape.rank - 1], rows = hmoec_shape_elements(&logits->shape) / experts;
  double threshold = TIE + (double)from->attentions * tie_per_attention[dtype];
  candidate *all = malloc((size_t)experts * sizeof *all);
  hmoec_scalar_value *values = malloc((score ? score->value_count : 1) * sizeof *values);
  for (int64_t t = 0; all && values && from->top_k < experts && t < rows; t++) {
    const double *row = logits->data + t * experts;
    int64_t group = t / (rows / r->groups);
    double size = 0;
    for (int64_t e = 0; e < experts; e++) size = fmax(size, isfinite(row[e]) ? fabs(row[e]) : 0);
    for (int64_t e = 0; e < experts; e++) {
      double within = threshold * (1 + size);
      all[e] = score ? candidate_of_score(score, values, row[e], within) : candidate_of_logit(row[e], within);
      all[e].expert = e;
    }
    if (r->tied[group] || !is_tied(all, (size_t)experts, (size_t)from->top_k)) continue;
    r->tied[group] = true;
    r->tied_count++;
  }
  bool ok = all && values;
  free(all);
  free(values);
  return ok;
}

/* A random input of the entry, and the same for the interpreter, whose function has it under the same name. */
static bool make_input(reference *r, MlirOperation function, size_t index, uint64_t seed, hmoec_diagnostics *diagnostics) {
  const hmoec_signature_tensor *tensor = &r->signature.inputs[index];
  hmoec_shape shape = hmoec_signature_shape(tensor, r->sizes);
  size_t count = (size_t)hmoec_shape_elements(&shape), place = 0;
  while (place < hmoec_entry_input_count(function) && strcmp(hmoec_entry_input_name(function, place).data, tensor->name) != 0)
    place++;
  if (place == hmoec_entry_input_count(function))
    return hmoec_error(diagnostics, (hmoec_location){0}, "entry %s has an input %s, which the model has not", r->signature.name,
                       tensor->name);
  r->input_data[index] = calloc(count + 1, hmoec_element_bytes(shape.element));
  if (!r->input_data[index] || !hmoec_tensor_init(&r->inputs[place], &shape))
    return hmoec_machine_error(diagnostics, "out of memory");
  hmoec_random_input(function, tensor->name, &shape, seed, r->input_data[index]);
  for (size_t e = 0; e < count; e++)
    r->inputs[place].data[e] = shape.element == HMOEC_F32   ? (double)((const float *)r->input_data[index])[e]
                               : shape.element == HMOEC_I64 ? (double)((const int64_t *)r->input_data[index])[e]
                                                            : (double)((const int32_t *)r->input_data[index])[e];
  return true;
}

/* Random inputs, and what the interpreter makes of them. `function` is changed. */
static bool reference_init(reference *r, MlirOperation function, const char *weights, uint64_t seed, int64_t tokens,
                           hmoec_dtype dtype, hmoec_diagnostics *diagnostics) {
  size_t own = hmoec_entry_output_count(function), input_count = hmoec_entry_input_count(function);
  if (input_count != r->signature.input_count || own != r->signature.output_count)
    return hmoec_error(diagnostics, (hmoec_location){0}, "entry %s does not have the model's inputs and outputs",
                       r->signature.name);
  r->whole = count_ops(function, "hmoe.attention") > 0 || r->signature.size_count > 1;
  choose_sizes(r, function, tokens);
  for (size_t i = 0; i < input_count; i++)
    if (!make_input(r, function, i, seed, diagnostics)) return false;
  route *routes = calloc(count_ops(function, "hmoe.route") + 1, sizeof *routes);
  size_t route_count = routes ? return_logits(function, own, routes) : 0;
  r->results = calloc(own + route_count + 1, sizeof *r->results);
  hmoec_checkpoint *checkpoint = NULL;
  bool ok = routes && r->results ? true : hmoec_machine_error(diagnostics, "out of memory");
  ok = ok && hmoec_checkpoint_open(weights, diagnostics, &checkpoint);
  if (ok) {
    hmoec_parameter_source source = hmoec_checkpoint_source(checkpoint);
    r->result_count = own + route_count;
    ok = hmoec_interpret(function, &source, r->inputs, input_count, r->results, r->result_count, diagnostics);
  }
  for (size_t i = 0; ok && i < own; i++)
    for (size_t o = 0; o < own; o++)
      if (strcmp(hmoec_entry_output_name(function, o).data, r->signature.outputs[i].name) == 0) r->outputs[i] = r->results[o];
  if (ok) {
    r->groups = r->whole ? r->sizes[0] : tokens;
    r->tied = calloc((size_t)r->groups + 1, sizeof *r->tied);
    ok = r->tied ? true : hmoec_machine_error(diagnostics, "out of memory");
  }
  hmoec_scalar_library functions = {0};
  ok = ok && hmoec_scalar_library_init(mlirModuleFromOperation(mlirOperationGetParentOperation(function)), diagnostics, &functions);
  for (size_t i = 0; ok && r->groups > 0 && i < route_count; i++) {
    const hmoec_scalar_program *score = hmoec_scalar_library_find(&functions, routes[i].gate.data, routes[i].gate.length);
    ok = find_ties(r, &r->results[own + i], &routes[i], score, dtype) || hmoec_machine_error(diagnostics, "out of memory");
  }
  hmoec_scalar_library_deinit(&functions);
  hmoec_checkpoint_close(checkpoint);
  free(routes);
  return ok;
}

static bool all_tied(const reference *r) { return r->whole && r->groups > 0 && r->tied_count == r->groups; }

/* The reference of as many tokens as asked for, or else of so few that not every batch row of a whole model has a tie. */
static bool reference_find(reference *r, MlirOperation function, const char *weights, const request *q) {
  const hmoec_signature signature = r->signature;
  int64_t tokens = q->check->tokens ? *q->check->tokens : DEFAULT_TOKENS;
  for (;; tokens /= 2) {
    bool ok = reference_init(r, function, weights, q->check->seed, tokens, q->dtype, q->diagnostics);
    if (!ok || !all_tied(r)) return ok;
    if (q->check->tokens || tokens <= MOST_BATCH) break;
    reference_deinit(r);
    *r = (reference){.signature = signature};
  }
  return hmoec_error(q->diagnostics, (hmoec_location){0},
                     "nothing is left to compare: every batch row has a token whose routing is a tie within rounding; try another "
                     "--seed%s",
                     q->check->tokens ? " or fewer --tokens" : "");
}

/* Runs an opened model and prints its error per output. */
static bool compare(hmoe_model *model, const reference *r, const char *strategy, const char *cpu, bool *out_within,
                    const request *q) {
  float *outputs[HMOEC_MAX_TENSORS] = {0};
  bool ok = true;
  size_t output_count = r->signature.output_count;
  for (size_t i = 0; ok && i < output_count; i++) {
    size_t count = (size_t)hmoec_shape_elements(&r->outputs[i].shape);
    outputs[i] = malloc((count + 1) * sizeof(float));
    ok = outputs[i] ? true : hmoec_machine_error(q->diagnostics, "out of memory");
    if (ok) memset(outputs[i], 0xff, count * sizeof(float)); /* NaN: what a run forgets to write shows */
  }
  if (ok) {
    hmoe_status status =
        hmoe_model_run(model, r->signature.entry, r->sizes, (const void *const *)r->input_data, (void *const *)outputs);
    ok = status == HMOE_OK ? true : hmoec_runtime_error(q->diagnostics, status);
  }
  const tolerance *most = &tolerances[q->dtype][r->whole];
  for (size_t i = 0; ok && i < output_count; i++) {
    double worst = 0, largest = 0, error_squares = 0, squares = 0;
    int64_t count = hmoec_shape_elements(&r->outputs[i].shape), each = r->groups > 0 ? count / r->groups : 0;
    for (int64_t e = 0; e < count; e++) {
      if (each > 0 && e / each < r->groups && r->tied[e / each]) continue;
      double y = (double)outputs[i][e], want = r->outputs[i].data[e];
      if (fabs(want) > (double)FLT_MAX) want = (double)(float)want; /* what f32 has for it */
      if (y == want ? isinf(y) : isnan(y) && isnan(want)) continue;
      double error = fabs(y - want);
      if (!(error <= worst)) worst = isnan(error) ? INFINITY : error;
      largest = fmax(largest, fabs(want));
      error_squares += error * error;
      squares += want * want;
    }
    double relative = largest > 0 ? worst / largest : worst,
           distance = squares > 0 ? sqrt(error_squares / squares) : sqrt(error_squares);
    bool within = relative <= most->worst && !(distance > most->distance);
    hmoec_report_printf(&q->report, "%-10s %-11s %-8s %10.3g %10.3g %10.2e", strategy, cpu, r->signature.outputs[i].name, largest,
                        worst, relative);
    if (q->dtype != HMOEC_DTYPE_F32) hmoec_report_printf(&q->report, " %10.2e", distance);
    hmoec_report_printf(&q->report, "  %s\n", within ? "ok" : "WRONG");
    *out_within = *out_within && within;
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

/* Whether a strategy is left out here, and why: tables that would not fit, and strategies that the model excludes. A failure that is no
 * fault of the model's is not left out: check_strategy reports it. */
static bool left_out(const request *q, const char *strategy, char *out_reason, size_t size) {
  hmoec_diagnostics *quiet = hmoec_diagnostics_create(NULL);
  bool out = true;
  snprintf(out_reason, size, "out of memory");
  hmoec_session session;
  hmoec_options forced = *q->options;
  forced.strategy = strategy;
  if (quiet && hmoec_session_init(&session, &forced, quiet)) {
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

static bool check_strategy(const request *q, const char *strategy, const reference *r, const char *weights, bool *out_within) {
  hmoec_options forced = *q->options;
  forced.strategy = strategy;
  hmoec_session session;
  const char *versions[HMOE_CPU_COUNT];
  size_t version_count = 0;
  bool ok = hmoec_session_init(&session, &forced, q->diagnostics) && hmoec_session_load(&session, q->path) &&
            hmoec_session_jit(&session, true);
  if (ok) version_count = hmoec_session_versions(&session, versions);
  if (q->options->cpu) { /* one that the machine lacks is refused on opening */
    versions[0] = q->options->cpu;
    version_count = 1;
  }
  for (size_t v = 0; ok && v < version_count; v++) {
    hmoe_model *model = NULL;
    hmoe_options open = q->open;
    open.cpu = versions[v];
    ok = hmoec_session_open(&session, &(hmoe_weights){.path = weights}, &open, &model) &&
         compare(model, r, strategy ? strategy : "-", versions[v], out_within, q);
    hmoe_model_close(model);
  }
  hmoec_session_deinit(&session);
  return ok;
}

static void print_head(const request *q, const reference *r) {
  const hmoec_report *report = &q->report;
  for (size_t i = 0; i < r->signature.size_count && r->whole; i++)
    hmoec_report_printf(report, "%s %lld, ", r->signature.size_names[i], (long long)r->sizes[i]);
  if (!r->whole) hmoec_report_printf(report, "%lld tokens, ", (long long)r->groups);
  hmoec_report_printf(report, "seed %llu, %s, %s\n%-10s %-11s %-8s %10s %10s %10s", (unsigned long long)q->check->seed,
                      q->check->weights ? q->check->weights : "random weights", hmoec_dtype_name(q->dtype), "strategy", "cpu",
                      "output", "max |y|", "max error", "relative");
  hmoec_report_printf(report, q->dtype == HMOEC_DTYPE_F32 ? "\n" : "     2-norm\n");
  if (r->tied_count && r->whole)
    hmoec_report_printf(report, "%lld of %lld batch rows left out: the routing of a token in them is a tie within rounding\n",
                        (long long)r->tied_count, (long long)r->groups);
  else if (r->tied_count)
    hmoec_report_printf(report, "%lld tokens left out: their routing is a tie within f32 rounding\n", (long long)r->tied_count);
}

/* With every strategy that is possible, or the one that is asked for. */
static bool check_strategies(const request *q, const reference *r, bool hyper, const char *weights, bool *out_within) {
  const char *asked = hmoec_options_pass(q->options).strategy;
  bool forced = asked != NULL, ok = true;
  for (size_t i = 0; i < q->options->define_count; i++) forced = forced || strcmp(q->options->defines[i].name, "strategy") == 0;
  if (!hyper || forced) return check_strategy(q, asked, r, weights, out_within);
  int checked = 0;
  for (int s = HMOEC_STRATEGY_TABLE; ok && s < HMOEC_STRATEGY_COUNT; s++) {
    const char *name = hmoec_strategy_name((hmoec_strategy)s);
    char reason[512];
    if (left_out(q, name, reason, sizeof reason)) {
      hmoec_report_printf(&q->report, "%-10s left out: %s\n", name, reason);
    } else {
      ok = check_strategy(q, name, r, weights, out_within);
      checked++;
    }
  }
  if (ok && !checked) ok = check_strategy(q, NULL, r, weights, out_within); /* says where the model is wrong */
  return ok;
}

static bool check(const request *q) {
  hmoec_session session;
  reference r = {0};
  hmoec_temporary temporary = {.path = ""};
  const char *weights = q->check->weights;
  bool hyper = false, within = true;
  if (q->check->tokens && (*q->check->tokens < 0 || *q->check->tokens > MOST_TOKENS))
    return hmoec_usage_error(q->diagnostics, "expected tokens to be from 0 to %d, found %lld", MOST_TOKENS,
                             (long long)*q->check->tokens);
  bool ok = hmoec_session_init(&session, q->options, q->diagnostics) && hmoec_session_load(&session, q->path) &&
            hmoec_session_plan(&session) && hmoec_signature_read(&session.unit, NULL, &r.signature, q->diagnostics);
  if (ok && !weights) {
    weights = q->check->save_weights;
    if (!weights) {
      ok = hmoec_temporary_open("check", &temporary, q->diagnostics);
      weights = temporary.path;
    }
    ok = ok && hmoec_random_weights_write(session.source, q->check->seed, weights, q->diagnostics);
  }
  if (ok) hmoec_each_function(session.source, has_hyper_expert, &hyper);
  ok = ok && reference_find(&r, hmoec_entry_find(session.source, NULL), weights, q);
  if (ok) print_head(q, &r);
  ok = ok && check_strategies(q, &r, hyper, weights, &within);
  const tolerance *most = &tolerances[q->dtype][r.whole];
  if (ok && !within && q->dtype == HMOEC_DTYPE_F32)
    ok = hmoec_error(q->diagnostics, (hmoec_location){0}, "compiled code differs from the interpreter by more than %.0e of max |y|",
                     most->worst);
  else if (ok && !within)
    ok = hmoec_error(q->diagnostics, (hmoec_location){0},
                     "compiled code differs from the interpreter by more than %.0e of max |y|, or %.0e in the 2-norm", most->worst,
                     most->distance);
  hmoec_temporary_close(&temporary);
  reference_deinit(&r);
  hmoec_session_deinit(&session);
  return ok;
}

hmoec_status hmoec_check(const char *path, const hmoec_options *options, const hmoec_check_options *check_options) {
  hmoec_options read;
  hmoec_check_options how;
  request q = {.path = path, .options = &read, .check = &how, .diagnostics = hmoec_sink_create(options)};
  bool ok = q.diagnostics && hmoec_options_read(options, "", &read, q.diagnostics) &&
            hmoec_struct_read(check_options, "the check options", offsetof(hmoec_check_options, weights), sizeof how, &how,
                              q.diagnostics);
  if (ok) {
    hmoe_status status = hmoe_options_read(how.open, &q.open);
    ok = status == HMOE_OK || hmoec_runtime_error(q.diagnostics, status);
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
