/* hmoec check: compiled code against the reference interpreter, for every strategy that is possible and every CPU version of this machine. */
#include <math.h>
#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands/commands.h"
#include "hmoe/abi.h"
#include "interpreter/interpreter.h"
#include "interpreter/parameters.h"
#include "ir/entry.h"
#include "passes/hyper_cost.h"
#include "passes/rewrite.h"

/* How far compiled code may be from the interpreter, which computes in double with weights that are not rounded. */
static const struct {
  double worst; /* of one value, relative to max |y| */
  double distance; /* ||y - ref|| / ||ref||, 2-norms */
} tolerances[HMOEC_DTYPE_COUNT] = {
    [HMOEC_DTYPE_F32] = {2e-5, INFINITY},
    [HMOEC_DTYPE_BF16] = {5e-2, 1e-2},
};

#define TIE 1e-6 /* logits this close, relative to the largest, may order either way in f32 */
#define DEFAULT_TOKENS 64
#define MAX_TENSORS 16
#define MOST_TABLE_BYTES (INT64_C(1) << 30)

typedef struct reference {
  int64_t tokens;
  size_t input_count, output_count;
  hmoec_tensor inputs[MAX_TENSORS], outputs[MAX_TENSORS]; /* double */
  float *input_data[MAX_TENSORS];
  bool *tied; /* per token: f32 rounding may pick other experts than double does */
  int64_t tied_count;
  char names[MAX_TENSORS][128];
} reference;

static void reference_deinit(reference *r) {
  for (size_t i = 0; i < MAX_TENSORS; i++) {
    hmoec_tensor_deinit(&r->inputs[i]);
    hmoec_tensor_deinit(&r->outputs[i]);
    free(r->input_data[i]);
  }
  free(r->tied);
}

/* The logits of a route op, as the only result of a copy of the module; null when there is no memory for it. */
static MlirModule logits_module(MlirModule module, MlirOperation *out_function, size_t which) {
  MlirModule copy = mlirModuleFromOperation(mlirOperationClone(mlirModuleGetOperation(module)));
  MlirOperation function = hmoec_entry_find(copy, NULL), route = {NULL};
  MlirBlock body = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
  for (MlirOperation op = mlirBlockGetFirstOperation(body); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op))
    if (hmoec_op_is(op, "hmoe.route") && which-- == 0) route = op;
  if (mlirOperationIsNull(route)) {
    mlirModuleDestroy(copy);
    return (MlirModule){NULL};
  }
  MlirContext context = mlirModuleGetContext(module);
  MlirOperation old = mlirBlockGetTerminator(body);
  MlirValue logits = mlirOperationGetOperand(route, 0);
  MlirType result = mlirValueGetType(logits), inputs[MAX_TENSORS];
  intptr_t input_count = mlirBlockGetNumArguments(body);
  for (intptr_t i = 0; i < input_count; i++) inputs[i] = mlirValueGetType(mlirBlockGetArgument(body, i));
  MlirOperationState state = mlirOperationStateGet(mlirStringRefCreateFromCString("func.return"), mlirOperationGetLocation(old));
  mlirOperationStateAddOperands(&state, 1, &logits);
  mlirOperationDestroy(old);
  mlirBlockAppendOwnedOperation(body, mlirOperationCreate(&state));
  MlirAttribute first_name =
      mlirArrayAttrGetElement(mlirOperationGetAttributeByName(function, mlirStringRefCreateFromCString("res_attrs")), 0);
  mlirOperationSetAttributeByName(function, mlirStringRefCreateFromCString("function_type"),
                                  mlirTypeAttrGet(mlirFunctionTypeGet(context, input_count, inputs, 1, &result)));
  mlirOperationSetAttributeByName(function, mlirStringRefCreateFromCString("res_attrs"), mlirArrayAttrGet(context, 1, &first_name));
  *out_function = function;
  return copy;
}

static int descending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x < y) - (x > y);
}

/* Tokens whose last selected and first unselected logit lie within f32 rounding of each other: either choice is right. */
static bool find_ties(reference *r, MlirModule module, const hmoec_parameter_source *source, hmoec_diagnostics *diagnostics) {
  r->tied = calloc((size_t)r->tokens + 1, sizeof *r->tied);
  if (!r->tied) return hmoec_machine_error(diagnostics, "out of memory");
  MlirOperation function = hmoec_entry_find(module, NULL);
  MlirBlock body = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
  size_t which = 0;
  bool ok = true;
  for (MlirOperation op = mlirBlockGetFirstOperation(body); ok && !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
    if (!hmoec_op_is(op, "hmoe.route")) continue;
    int64_t top_k = hmoec_op_int(op, "top_k"), experts = hmoec_value_shape(mlirOperationGetOperand(op, 0)).dims[1];
    MlirOperation copy_function;
    MlirModule copy = logits_module(module, &copy_function, which++);
    if (mlirModuleIsNull(copy)) return hmoec_machine_error(diagnostics, "out of memory");
    hmoec_tensor logits = {0};
    ok = hmoec_interpret(copy_function, source, r->inputs, r->input_count, &logits, 1, diagnostics);
    for (int64_t t = 0; ok && top_k < experts && t < r->tokens; t++) {
      double *row = logits.data + t * experts;
      qsort(row, (size_t)experts, sizeof *row, descending);
      double size = fmax(fabs(row[0]), fabs(row[experts - 1]));
      if (!r->tied[t] && row[top_k - 1] - row[top_k] < TIE * (1 + size)) {
        r->tied[t] = true;
        r->tied_count++;
      }
    }
    hmoec_tensor_deinit(&logits);
    mlirModuleDestroy(copy);
  }
  return ok;
}

/* Random inputs, and what the interpreter makes of them. */
static bool reference_init(reference *r, MlirModule module, const char *weights, uint64_t seed, int64_t tokens,
                           hmoec_diagnostics *diagnostics) {
  *r = (reference){.tokens = tokens};
  MlirOperation function = hmoec_entry_find(module, NULL);
  r->input_count = hmoec_entry_input_count(function);
  r->output_count = hmoec_entry_output_count(function);
  if (r->input_count > MAX_TENSORS || r->output_count > MAX_TENSORS)
    return hmoec_error(diagnostics, (hmoec_location){0}, "the model has more than %d inputs or outputs", MAX_TENSORS);
  for (size_t i = 0; i < r->input_count; i++) {
    hmoec_shape shape = hmoec_entry_input_shape(function, i);
    for (int64_t d = 0; d < shape.rank; d++)
      if (shape.dims[d] == HMOEC_DYNAMIC) shape.dims[d] = tokens;
    if (!hmoec_tensor_init(&r->inputs[i], &shape)) return hmoec_machine_error(diagnostics, "out of memory");
    size_t count = 1;
    for (int64_t d = 0; d < shape.rank; d++) count *= (size_t)shape.dims[d];
    r->input_data[i] = calloc(count + 1, sizeof(float));
    if (!r->input_data[i]) return hmoec_machine_error(diagnostics, "out of memory");
    char key[160];
    MlirStringRef name = hmoec_entry_input_name(function, i);
    snprintf(key, sizeof key, "input %.*s", (int)name.length, name.data);
    hmoec_random_fill(seed, key, 1.0, count, r->input_data[i]);
    for (size_t e = 0; e < count; e++) r->inputs[i].data[e] = (double)r->input_data[i][e];
  }
  for (size_t i = 0; i < r->output_count; i++) {
    MlirStringRef name = hmoec_entry_output_name(function, i);
    snprintf(r->names[i], sizeof r->names[i], "%.*s", (int)name.length, name.data);
  }
  hmoec_checkpoint *checkpoint;
  if (!hmoec_checkpoint_open(weights, diagnostics, &checkpoint)) return false;
  hmoec_parameter_source source = hmoec_checkpoint_source(checkpoint);
  bool ok = hmoec_interpret(function, &source, r->inputs, r->input_count, r->outputs, r->output_count, diagnostics) &&
            find_ties(r, module, &source, diagnostics);
  hmoec_checkpoint_close(checkpoint);
  return ok;
}

/* Runs an opened model and prints its error per output. */
static bool compare(hmoe_model *model, const reference *r, hmoec_dtype dtype, const char *strategy, const char *cpu,
                    bool *out_within, hmoec_diagnostics *diagnostics) {
  float *outputs[MAX_TENSORS] = {0};
  bool ok = true;
  size_t counts[MAX_TENSORS] = {0};
  for (size_t i = 0; ok && i < r->output_count; i++) {
    counts[i] = (size_t)r->tokens * (size_t)r->outputs[i].shape.dims[1];
    outputs[i] = malloc((counts[i] + 1) * sizeof(float));
    ok = outputs[i] ? true : hmoec_machine_error(diagnostics, "out of memory");
    if (ok) memset(outputs[i], 0xff, counts[i] * sizeof(float)); /* NaN: what a run forgets to write shows */
  }
  if (ok) {
    hmoe_status status = hmoe_model_run(model, 1, &r->tokens, (const void *const *)r->input_data, (void *const *)outputs);
    ok = status == HMOE_OK ? true : hmoec_runtime_error(diagnostics, status);
  }
  for (size_t i = 0; ok && i < r->output_count; i++) {
    double worst = 0, largest = 0, error_squares = 0, squares = 0;
    for (size_t e = 0; e < counts[i]; e++) {
      if (r->tied[(int64_t)e / r->outputs[i].shape.dims[1]]) continue;
      double error = fabs((double)outputs[i][e] - r->outputs[i].data[e]);
      if (!(error <= worst)) worst = isnan(error) ? INFINITY : error;
      largest = fmax(largest, fabs(r->outputs[i].data[e]));
      error_squares += error * error;
      squares += r->outputs[i].data[e] * r->outputs[i].data[e];
    }
    double relative = largest > 0 ? worst / largest : worst,
           distance = squares > 0 ? sqrt(error_squares / squares) : sqrt(error_squares);
    bool within = relative <= tolerances[dtype].worst && !(distance > tolerances[dtype].distance);
    printf("%-10s %-11s %-8s %10.3g %10.3g %10.2e", strategy, cpu, r->names[i], largest, worst, relative);
    if (dtype != HMOEC_DTYPE_F32) printf(" %10.2e", distance);
    printf("  %s\n", within ? "ok" : "WRONG");
    *out_within = *out_within && within;
  }
  fflush(stdout);
  for (size_t i = 0; i < MAX_TENSORS; i++) free(outputs[i]);
  return ok;
}

static bool has_hyper_expert(MlirOperation function, MlirBlock block, void *user) {
  (void)function;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op))
    if (hmoec_op_is(op, "hmoe.hyper_expert")) *(bool *)user = true;
  return true;
}

/* Whether a strategy is left out here, and why: tables that would not fit, and strategies that the model excludes. */
static bool left_out(const hmoec_options *options, const char *strategy, char *out_reason, size_t size) {
  hmoec_diagnostics *quiet = hmoec_diagnostics_create(NULL);
  bool out = true;
  snprintf(out_reason, size, "out of memory");
  hmoec_session session;
  if (quiet && hmoec_session_init(&session, quiet)) {
    hmoec_options forced = *options;
    forced.pass.strategy = strategy;
    if (!hmoec_session_load(&session, &forced, forced.model) || !hmoec_session_fold(&session, &forced) ||
        !hmoec_session_plan(&session, &forced))
      snprintf(out_reason, size, "not possible for this model: %s", hmoec_diagnostics_first(quiet));
    else if (hmoec_op_int(mlirModuleGetOperation(session.module), "hmk.weight_bytes") > MOST_TABLE_BYTES &&
             strcmp(strategy, "table") == 0)
      snprintf(out_reason, size, "its table is over 1 GiB");
    else out = false;
    hmoec_session_deinit(&session);
  }
  hmoec_diagnostics_destroy(quiet);
  return out;
}

static bool check_strategy(const hmoec_options *options, const char *strategy, const reference *r, const char *weights,
                           bool *out_within, hmoec_diagnostics *diagnostics) {
  hmoec_options forced = *options;
  forced.pass.strategy = strategy;
  hmoec_session session;
  const char *versions[HMOE_CPU_COUNT];
  size_t version_count = 0;
  bool ok = hmoec_session_init(&session, diagnostics) && hmoec_session_load(&session, &forced, forced.model) &&
            hmoec_session_fold(&session, &forced) && hmoec_session_plan(&session, &forced) &&
            hmoec_session_jit(&session, &forced, true);
  if (ok) version_count = hmoec_session_versions(&session, versions);
  if (options->cpu) { /* one that the machine lacks is refused on opening */
    versions[0] = options->cpu;
    version_count = 1;
  }
  for (size_t v = 0; ok && v < version_count; v++) {
    hmoe_model *model = NULL;
    ok = hmoec_session_open(&session, &forced, weights, versions[v], &model) &&
         compare(model, r, options->pass.dtype, strategy ? strategy : "-", versions[v], out_within, diagnostics);
    hmoe_model_close(model);
  }
  hmoec_session_deinit(&session);
  return ok;
}

static bool run(const hmoec_options *options, hmoec_diagnostics *diagnostics) {
  hmoec_session session;
  reference r = {0};
  char temporary[HMOEC_TEMPORARY_CHARS];
  const char *weights = options->weights;
  bool made = false, hyper = false, within = true;
  int64_t tokens = options->token_count ? options->tokens[0] : DEFAULT_TOKENS;
  uint64_t seed = (uint64_t)options->seed;
  bool ok = hmoec_session_init(&session, diagnostics) && hmoec_session_load(&session, options, options->model);
  if (ok && !weights) {
    weights = options->save_weights;
    if (!weights) {
      ok = made = hmoec_make_temporary("check", temporary, diagnostics);
      weights = temporary;
    }
    ok = ok && hmoec_random_weights_write(session.module, seed, weights, diagnostics);
  }
  ok = ok && reference_init(&r, session.module, weights, seed, tokens, diagnostics);
  if (ok) {
    hmoec_each_function(session.module, has_hyper_expert, &hyper);
    hmoec_dtype dtype = options->pass.dtype;
    printf("%lld tokens, seed %llu, %s, %s\n%-10s %-11s %-8s %10s %10s %10s", (long long)tokens, (unsigned long long)seed,
           options->weights ? options->weights : "random weights", hmoec_dtype_name(dtype), "strategy", "cpu", "output", "max |y|",
           "max error", "relative");
    puts(dtype == HMOEC_DTYPE_F32 ? "" : "     2-norm");
    if (r.tied_count) printf("%lld tokens left out: their routing is a tie within f32 rounding\n", (long long)r.tied_count);
    bool forced = options->pass.strategy != NULL;
    for (size_t i = 0; i < options->define_count; i++) forced = forced || strcmp(options->defines[i].name, "strategy") == 0;
    if (!hyper || forced) {
      ok = check_strategy(options, options->pass.strategy, &r, weights, &within, diagnostics);
    } else {
      int checked = 0;
      for (int s = HMOEC_STRATEGY_TABLE; ok && s < HMOEC_STRATEGY_COUNT; s++) {
        const char *name = hmoec_strategy_name((hmoec_strategy)s);
        char reason[512];
        if (left_out(options, name, reason, sizeof reason)) {
          printf("%-10s left out: %s\n", name, reason);
        } else {
          ok = check_strategy(options, name, &r, weights, &within, diagnostics);
          checked++;
        }
      }
      if (ok && !checked) ok = check_strategy(options, NULL, &r, weights, &within, diagnostics); /* says where the model is wrong */
    }
  }
  if (ok && !within && options->pass.dtype == HMOEC_DTYPE_F32)
    ok = hmoec_error(diagnostics, (hmoec_location){0}, "compiled code differs from the interpreter by more than %.0e of max |y|",
                     tolerances[HMOEC_DTYPE_F32].worst);
  else if (ok && !within)
    ok = hmoec_error(diagnostics, (hmoec_location){0},
                     "compiled code differs from the interpreter by more than %.0e of max |y|, or %.0e in the 2-norm",
                     tolerances[options->pass.dtype].worst, tolerances[options->pass.dtype].distance);
  if (made) unlink(temporary);
  reference_deinit(&r);
  hmoec_session_deinit(&session);
  return ok;
}

static const char *const accepted[] = {"-D",         "--weights",      "--tokens",       "--seed",  "--threads",
                                       "--cpu",      "--target",       "--mcpu",         "--dtype", "--tuning",
                                       "--strategy", "--table-budget", "--save-weights", NULL};
const hmoec_command hmoec_command_check = {"check", "compare compiled code with the reference interpreter",
                                           "MODEL [--weights W] [--tokens N] [--seed S] [options]", accepted, run};
