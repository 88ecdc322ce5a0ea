#include "library/check_reference.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "interpreter/parameters.h"
#include "interpreter/run_scalar.h"
#include "ir/entry.h"
#include "library/signature.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

/* Logits this close, relative to the largest, may order either way: in a layer, whose router is f32 and sees the input itself; and for
 * each attention before it, which adds to the rounding that the router sees. */
#define TIE 1e-6
#define BLURRED                                                                                                                    \
  1e-5 /* where attention adds more than this, it is bf16 that does: norms, products and experts before a router do so too */

#define LEAST_BATCH 3

/* The size of the run: `tokens` of a layer; of a whole model batch rows of a third, or of `longest`, and targets of another odd length. */
static void choose_sizes(hmoec_check_inputs *in, MlirOperation function, int64_t tokens, int64_t longest) {
  int64_t rows = longest && tokens / longest > LEAST_BATCH ? tokens / longest : LEAST_BATCH;
  int64_t batch = tokens < rows ? tokens : rows, length = batch ? tokens / batch : 0, most = hmoec_most_positions(function);
  for (size_t i = 0; i < in->signature.size_count; i++) {
    if (in->signature.size_count == 1) in->sizes[i] = in->whole && length < most ? length : in->whole ? most : tokens;
    else if (i == 0) in->sizes[i] = batch;
    else in->sizes[i] = i == 1 ? length : length * 2 / 3 / (int64_t)(i - 1) | (length > 0);
    if (i > 0 && in->sizes[i] > most) in->sizes[i] = most;
  }
}

static size_t count_ops(MlirOperation function, const char *name) {
  MlirBlock block = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
  size_t count = 0;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op))
    count += hmoec_op_is(op, name);
  return count;
}

/* A random input of the entry, and the same for the interpreter, whose function has it under the same name. */
static bool make_input(hmoec_check_inputs *in, MlirOperation function, size_t index, uint64_t seed,
                       hmoec_diagnostics *diagnostics) {
  const hmoec_signature_tensor *tensor = &in->signature.inputs[index];
  hmoec_shape shape = hmoec_signature_shape(tensor, in->sizes);
  size_t count = (size_t)hmoec_shape_elements(&shape), place = 0;
  while (place < hmoec_entry_input_count(function) && strcmp(hmoec_entry_input_name(function, place).data, tensor->name) != 0)
    place++;
  if (place == hmoec_entry_input_count(function))
    return hmoec_error(diagnostics, (hmoec_location){0}, "entry %s has an input %s, which the model has not", in->signature.name,
                       tensor->name);
  in->data[index] = calloc(count + 1, hmoec_element_bytes(shape.element));
  if (!in->data[index] || !hmoec_tensor_init(&in->tensors[place], &shape)) return hmoec_machine_error(diagnostics, "out of memory");
  hmoec_random_input(function, tensor->name, &shape, seed, in->data[index]);
  for (size_t e = 0; e < count; e++)
    in->tensors[place].data[e] = shape.element == HMOEC_F32   ? (double)((const float *)in->data[index])[e]
                                 : shape.element == HMOEC_I64 ? (double)((const int64_t *)in->data[index])[e]
                                                              : (double)((const int32_t *)in->data[index])[e];
  return true;
}

bool hmoec_check_inputs_init(hmoec_check_inputs *in, MlirModule module, const hmoec_signature *signature, uint64_t seed,
                             int64_t tokens, int64_t longest, hmoec_diagnostics *diagnostics) {
  MlirOperation function = hmoec_entry_find(module, NULL);
  *in = (hmoec_check_inputs){.signature = *signature};
  if (hmoec_entry_input_count(function) != signature->input_count || hmoec_entry_output_count(function) != signature->output_count)
    return hmoec_error(diagnostics, (hmoec_location){0}, "entry %s does not have the model's inputs and outputs", signature->name);
  in->whole = count_ops(function, "hmoe.attention") > 0 || signature->size_count > 1;
  choose_sizes(in, function, tokens, longest);
  in->groups = in->whole ? in->sizes[0] : tokens;
  for (size_t i = 0; i < signature->input_count; i++)
    if (!make_input(in, function, i, seed, diagnostics)) return false;
  return true;
}

void hmoec_check_inputs_deinit(hmoec_check_inputs *in) {
  for (size_t i = 0; i < HMOEC_MAX_TENSORS; i++) {
    hmoec_tensor_deinit(&in->tensors[i]);
    free(in->data[i]);
  }
  *in = (hmoec_check_inputs){.groups = 0};
}

static const char *const blurring[] = {"hmoe.experts",
                                       "hmoe.gated_experts",
                                       "hmoe.fused_experts",
                                       "hmoe.fused_gated_experts",
                                       "hmoe.hyper_expert",
                                       "hmoe.indexed_hyper_expert",
                                       "hmoe.factored_hyper_expert",
                                       "hmoe.multiply",
                                       "hmoe.rms_norm",
                                       "hmoe.layer_norm",
                                       "hmoe.attention"};

enum { ROUTE_LOGITS, ROUTE_INDICES, ROUTE_KEPT, ROUTE_VALUES };

/* Makes a function return what its routes read and select too, after its own results, in place of what it was made to return before. The
 * interpreter takes results from the return, whatever the function's type says. out_gates: the routes' gates. */
static size_t return_routes(MlirOperation function, size_t own_count, hmoec_check_route *out_routes, MlirStringRef *out_gates) {
  MlirBlock block = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
  MlirOperation old = mlirBlockGetTerminator(block);
  MlirOperationState state = mlirOperationStateGet(mlirStringRefCreateFromCString("func.return"), mlirOperationGetLocation(old));
  for (intptr_t i = 0; i < (intptr_t)own_count; i++) {
    MlirValue own = mlirOperationGetOperand(old, i);
    mlirOperationStateAddOperands(&state, 1, &own);
  }
  size_t count = 0;
  int64_t attentions = 0;
  bool blurred = false;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
    attentions += hmoec_op_is(op, "hmoe.attention");
    for (size_t i = 0; i < sizeof blurring / sizeof *blurring; i++) blurred = blurred || hmoec_op_is(op, blurring[i]);
    if (!hmoec_op_is(op, "hmoe.route")) continue;
    MlirValue values[ROUTE_VALUES] = {[ROUTE_LOGITS] = mlirOperationGetOperand(op, 0),
                                      [ROUTE_INDICES] = mlirOperationGetResult(op, 0),
                                      [ROUTE_KEPT] = mlirOperationGetResult(op, 2)};
    mlirOperationStateAddOperands(&state, ROUTE_VALUES, values);
    out_gates[count] = hmoec_op_string(op, "gate");
    out_routes[count++] = (hmoec_check_route){
        .top_k = hmoec_op_int(op, "top_k"), .capacity = hmoec_op_int(op, "capacity"), .attentions = attentions, .blurred = blurred};
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

/* The group of element i of `count`; -1: of no one group, as with rows of another input's size. */
static int64_t group_of(const hmoec_check_inputs *in, int64_t count, int64_t i) {
  return in->groups > 0 && count % in->groups == 0 ? i / (count / in->groups) : -1;
}

/* -1: all groups. */
static void leave_out(hmoec_check_reference *r, int64_t group) {
  for (int64_t g = 0; g < r->inputs->groups; g++) {
    if (group >= 0 && g != group) continue;
    r->tied_count += !r->tied[g];
    r->tied[g] = true;
  }
}

static double largest_finite(const double *values, int64_t count) {
  double largest = 0;
  for (int64_t i = 0; i < count; i++) largest = fmax(largest, isfinite(values[i]) ? fabs(values[i]) : 0);
  return largest;
}

/* Tokens of which rounding may select others: either choice is right. score: the gate's function where it is written in C, and the largest
 * scores are selected; NULL: the largest logits are. With a capacity, tokens after a tie may find the room taken that they have in the
 * reference, or the other way round. */
static bool find_ties(hmoec_check_reference *r, const hmoec_check_route *from, const hmoec_scalar_program *score,
                      double tie_per_attention) {
  const hmoec_tensor *logits = from->logits;
  int64_t experts = logits->shape.dims[logits->shape.rank - 1], rows = hmoec_shape_elements(&logits->shape) / experts, ties = 0;
  bool flat = logits->shape.rank < 3; /* its capacity is one of all rows */
  bool once = from->blurred && tie_per_attention > BLURRED && from->attentions == 0;
  double threshold = TIE + (once ? tie_per_attention : (double)from->attentions * tie_per_attention);
  candidate *all = malloc((size_t)experts * sizeof *all);
  hmoec_scalar_value *values = malloc((score ? score->value_count : 1) * sizeof *values);
  int64_t *picks = calloc((size_t)experts, sizeof *picks);
  for (int64_t t = 0; all && values && picks && from->top_k < experts && t < rows; t++) {
    const double *row = logits->data + t * experts;
    int64_t group = group_of(r->inputs, rows, t);
    double size = largest_finite(row, experts);
    for (int64_t e = 0; e < experts; e++) {
      double within = threshold * (1 + size);
      all[e] = score ? candidate_of_score(score, values, row[e], within) : candidate_of_logit(row[e], within);
      all[e].expert = e;
    }
    for (int64_t s = 0; s < from->top_k; s++) {
      int64_t pick = ++picks[(int64_t)from->indices->data[t * from->top_k + s]];
      if (flat && from->capacity && pick - ties <= from->capacity && pick + ties > from->capacity) leave_out(r, group);
    }
    if (!is_tied(all, (size_t)experts, (size_t)from->top_k)) continue;
    leave_out(r, group);
    ties++;
  }
  bool ok = all && values && picks;
  free(all);
  free(values);
  free(picks);
  return ok;
}

/* Whether two references select the same experts for a token, and have room for it there. */
static bool same_picks(const hmoec_check_route *a, const hmoec_check_route *b, int64_t token) {
  int64_t first = token * a->top_k, same = 0;
  for (int64_t i = first; i < first + a->top_k; i++)
    for (int64_t j = first; j < first + a->top_k; j++)
      same += a->indices->data[i] == b->indices->data[j] && a->kept->data[i] == b->kept->data[j];
  return same == a->top_k;
}

int64_t hmoec_check_reference_flips(const hmoec_check_reference *exact, const hmoec_check_reference *rounded, double most,
                                    bool **out_tied) {
  int64_t groups = exact->inputs->groups;
  hmoec_check_reference with = *exact;
  with.tied = *out_tied = malloc((size_t)groups + 1);
  if (!with.tied) return -1;
  memcpy(with.tied, exact->tied, (size_t)groups);
  for (size_t i = 0; i < exact->route_count && exact->route_count == rounded->route_count; i++) {
    const hmoec_check_route *a = &exact->routes[i], *b = &rounded->routes[i];
    int64_t experts = a->logits->shape.dims[a->logits->shape.rank - 1], rows = hmoec_shape_elements(&a->logits->shape) / experts;
    for (int64_t t = 0; a->blurred && t < rows; t++) {
      const double *x = a->logits->data + t * experts, *y = b->logits->data + t * experts;
      double moved = 0;
      for (int64_t e = 0; e < experts; e++) moved = fmax(moved, fabs(x[e] - y[e]));
      if (!same_picks(a, b, t) && moved <= most * (1 + largest_finite(x, experts)))
        leave_out(&with, group_of(with.inputs, rows, t));
    }
  }
  return with.tied_count - exact->tied_count;
}

/* The module is the reference's own. */
static bool interpret(hmoec_check_reference *r, MlirModule module, const char *weights, hmoec_rounds rounds,
                      double tie_per_attention, hmoec_diagnostics *diagnostics) {
  const hmoec_check_inputs *in = r->inputs;
  MlirOperation function = hmoec_entry_find(module, NULL);
  if (rounds && !hmoec_mark_f32(module)) return hmoec_machine_error(diagnostics, "out of memory");
  size_t own = in->signature.output_count, most_routes = count_ops(function, "hmoe.route") + 1;
  MlirStringRef *gates = calloc(most_routes, sizeof *gates);
  r->routes = calloc(most_routes, sizeof *r->routes);
  r->route_count = r->routes && gates ? return_routes(function, own, r->routes, gates) : 0;
  r->result_count = own + ROUTE_VALUES * r->route_count;
  r->results = calloc(r->result_count + 1, sizeof *r->results);
  r->tied = calloc((size_t)in->groups + 1, sizeof *r->tied);
  hmoec_checkpoint *checkpoint = NULL;
  bool ok = gates && r->routes && r->results && r->tied ? true : hmoec_machine_error(diagnostics, "out of memory");
  ok = ok && hmoec_checkpoint_open(weights, diagnostics, &checkpoint);
  if (ok) {
    hmoec_parameter_source source = hmoec_checkpoint_source(checkpoint);
    ok = hmoec_interpret_rounded(function, &source, in->tensors, in->signature.input_count, r->results, r->result_count, rounds,
                                 diagnostics);
  }
  for (size_t i = 0; ok && i < own; i++)
    for (size_t o = 0; o < own; o++)
      if (strcmp(hmoec_entry_output_name(function, o).data, in->signature.outputs[i].name) == 0) r->outputs[i] = r->results[o];
  hmoec_scalar_library functions = {0};
  ok = ok && hmoec_scalar_library_init(module, diagnostics, &functions);
  for (size_t i = 0; ok && i < r->route_count; i++) {
    const hmoec_scalar_program *score = hmoec_scalar_library_find(&functions, gates[i].data, gates[i].length);
    const hmoec_tensor *values = &r->results[own + ROUTE_VALUES * i];
    r->routes[i].logits = &values[ROUTE_LOGITS];
    r->routes[i].indices = &values[ROUTE_INDICES];
    r->routes[i].kept = &values[ROUTE_KEPT];
    ok = in->groups == 0 || find_ties(r, &r->routes[i], score, tie_per_attention) ||
         hmoec_machine_error(diagnostics, "out of memory");
  }
  hmoec_scalar_library_deinit(&functions);
  hmoec_checkpoint_close(checkpoint);
  free(gates);
  return ok;
}

bool hmoec_check_reference_init(hmoec_check_reference *r, const hmoec_check_inputs *inputs, MlirModule module, const char *weights,
                                hmoec_rounds rounds, double tie_per_attention, hmoec_diagnostics *diagnostics) {
  *r = (hmoec_check_reference){.inputs = inputs};
  MlirModule own = mlirModuleFromOperation(mlirOperationClone(mlirModuleGetOperation(module)));
  bool ok = interpret(r, own, weights, rounds, tie_per_attention, diagnostics);
  mlirModuleDestroy(own);
  return ok;
}

void hmoec_check_reference_deinit(hmoec_check_reference *r) {
  for (size_t i = 0; r->results && i < r->result_count; i++) hmoec_tensor_deinit(&r->results[i]);
  free(r->results);
  free(r->routes);
  free(r->tied);
  *r = (hmoec_check_reference){.inputs = NULL};
}

bool hmoec_check_all_tied(const hmoec_check_reference *r) { return r->inputs->groups > 0 && r->tied_count == r->inputs->groups; }

bool hmoec_check_is_left_out(const hmoec_check_reference *r, size_t output, int64_t index) {
  int64_t group = group_of(r->inputs, hmoec_shape_elements(&r->outputs[output].shape), index);
  return group >= 0 ? r->tied[group] : r->tied_count > 0;
}

/* Sums over values of an output. */
typedef struct sums {
  double worst, largest, error_squares, squares;
} sums;

/* NaN is NaN, and an infinity itself; NaN in place of a number is an infinite error. */
static void add_value(sums *to, double found, double want) {
  if (fabs(want) > (double)FLT_MAX) want = (double)(float)want; /* what f32 has for it */
  if (found == want ? isinf(found) : isnan(found) && isnan(want)) return;
  double error = fabs(found - want);
  if (isnan(error)) error = INFINITY;
  to->worst = fmax(to->worst, error);
  to->largest = fmax(to->largest, fabs(want));
  to->error_squares += error * error;
  to->squares += want * want;
}

static double distance_of(const sums *of) {
  return of->squares > 0 ? sqrt(of->error_squares / of->squares) : sqrt(of->error_squares);
}

/* The smallest of the batch rows' distances, of those left out too; -1 without batch rows. */
static double nearest_of(const hmoec_check_reference *r, size_t output, const float *found) {
  int64_t count = hmoec_shape_elements(&r->outputs[output].shape), groups = r->inputs->whole ? r->inputs->groups : 0;
  double nearest = -1;
  for (int64_t g = 0; g < groups && count > 0 && count % groups == 0; g++) {
    sums row = {0};
    for (int64_t e = g * (count / groups); e < (g + 1) * (count / groups); e++)
      add_value(&row, (double)found[e], r->outputs[output].data[e]);
    double distance = distance_of(&row);
    if (isnan(distance)) distance = INFINITY;
    if (row.squares + row.error_squares == 0) continue; /* a row of zeros says nothing */
    if (nearest < 0 || distance < nearest) nearest = distance;
  }
  return nearest;
}

hmoec_check_difference hmoec_check_difference_of(const hmoec_check_reference *r, size_t output, const float *found) {
  hmoec_check_difference d = {.nearest = nearest_of(r, output, found)};
  sums all = {0};
  int64_t count = hmoec_shape_elements(&r->outputs[output].shape);
  for (int64_t e = 0; e < count; e++) {
    if (hmoec_check_is_left_out(r, output, e)) continue;
    add_value(&all, (double)found[e], r->outputs[output].data[e]);
    d.compared++;
  }
  d.largest = all.largest;
  d.worst = all.worst;
  d.relative = all.largest > 0 ? all.worst / all.largest : all.worst;
  d.distance = distance_of(&all);
  return d;
}

bool hmoec_check_within(const hmoec_check_difference *d, const hmoec_check_tolerance *most) {
  return d->relative <= most->worst && d->distance <= most->distance && d->nearest <= most->nearest;
}

/* Compiled code writes what the interpreter gives, or buffers of the one size are compared with the other's. A signature has both sizes of rows
 * that are flattened. */
static bool shapes_agree(const hmoec_check_reference *r, hmoec_diagnostics *diagnostics) {
  for (size_t i = 0; i < r->inputs->signature.output_count; i++) {
    const hmoec_signature_tensor *output = &r->inputs->signature.outputs[i];
    hmoec_shape found = hmoec_signature_shape(output, r->inputs->sizes), expected = r->outputs[i].shape;
    bool same = hmoec_shape_elements(&found) == hmoec_shape_elements(&expected) &&
                found.dims[found.rank - 1] == expected.dims[expected.rank - 1];
    char expected_text[HMOEC_SHAPE_CHARS], found_text[HMOEC_SHAPE_CHARS];
    if (!same)
      return hmoec_error(diagnostics, (hmoec_location){0}, "expected output %s to be %s, compiled code gives %s", output->name,
                         hmoec_shape_string(&expected, expected_text, sizeof expected_text),
                         hmoec_shape_string(&found, found_text, sizeof found_text));
  }
  return true;
}

bool hmoec_check_run(hmoe_model *model, const hmoec_check_reference *r, float *outputs[HMOEC_MAX_TENSORS],
                     hmoec_diagnostics *diagnostics) {
  const hmoec_check_inputs *in = r->inputs;
  for (size_t i = 0; i < HMOEC_MAX_TENSORS; i++) outputs[i] = NULL;
  bool ok = shapes_agree(r, diagnostics);
  for (size_t i = 0; ok && i < in->signature.output_count; i++) {
    size_t count = (size_t)hmoec_shape_elements(&r->outputs[i].shape);
    outputs[i] = malloc((count + 1) * sizeof(float));
    ok = outputs[i] ? true : hmoec_machine_error(diagnostics, "out of memory");
    if (ok) memset(outputs[i], 0xff, count * sizeof(float)); /* NaN: what a run forgets to write shows */
  }
  if (!ok) return false;
  hmoe_status status = hmoe_model_run(model, in->signature.entry, in->sizes, (const void *const *)in->data, (void *const *)outputs);
  return status == HMOE_OK || hmoec_runtime_error(diagnostics, status);
}
