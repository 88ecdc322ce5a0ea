#include "library/reference.h"

#include <stdlib.h>
#include <string.h>

#include "interpreter/parameters.h"
#include "ir/entry.h"
#include "library/routing_file.h"
#include "library/signature.h"

/* The place of a name among those of a function's inputs or outputs. */
static size_t place_of(MlirOperation function, const char *name, size_t count, MlirStringRef (*name_at)(MlirOperation, size_t)) {
  size_t place = 0;
  while (place < count && strcmp(name_at(function, place).data, name) != 0) place++;
  return place;
}

static double element(const void *data, hmoec_element type, size_t index) {
  return type == HMOEC_F32   ? (double)((const float *)data)[index]
         : type == HMOEC_I64 ? (double)((const int64_t *)data)[index]
                             : (double)((const int32_t *)data)[index];
}

/* An input as the interpreter takes it; one that is left out is its default. */
static bool input_make(hmoec_session *session, MlirOperation function, const hmoec_signature_tensor *tensor, const int64_t *dims,
                       const void *data, hmoec_tensor *inputs, size_t count) {
  size_t place = place_of(function, tensor->name, count, hmoec_entry_input_name);
  int64_t given = 0;
  if (place == count)
    return hmoec_error(session->diagnostics, (hmoec_location){0}, "the entry has an input %s, which the model has not",
                       tensor->name);
  if (!data && !hmoec_entry_input_default(function, place, &given))
    return hmoec_usage_error(session->diagnostics, "input %s is NULL, and has no default", tensor->name);
  hmoec_shape shape = hmoec_signature_shape(tensor, dims);
  if (!hmoec_tensor_init(&inputs[place], &shape))
    return hmoec_machine_error(session->diagnostics, "out of memory for input %s", tensor->name);
  size_t elements = (size_t)hmoec_shape_elements(&shape);
  for (size_t i = 0; i < elements; i++) inputs[place].data[i] = data ? element(data, shape.element, i) : (double)given;
  return true;
}

/* What a run of the interpreter is given. */
typedef struct reference_inputs {
  hmoec_tensor at[HMOEC_MAX_TENSORS];
  size_t count;
  hmoec_checkpoint *checkpoint;
} reference_inputs;

static bool inputs_init(hmoec_session *session, MlirOperation function, const hmoec_signature *signature,
                        const hmoe_weights *weights, const int64_t *dims, const void *const *inputs, reference_inputs *out) {
  *out = (reference_inputs){.count = hmoec_entry_input_count(function)};
  if (out->count != signature->input_count || hmoec_entry_output_count(function) != signature->output_count)
    return hmoec_error(session->diagnostics, (hmoec_location){0}, "entry %s does not have the model's inputs and outputs",
                       signature->name);
  if (!weights || weights->kind != HMOE_WEIGHTS_PATH || !weights->path)
    return hmoec_usage_error(session->diagnostics, "the interpreter reads weights from a path");
  if ((signature->size_count && !dims) || (out->count && !inputs))
    return hmoec_usage_error(session->diagnostics, "expected %s, found NULL", signature->size_count && !dims ? "dims" : "inputs");
  for (size_t i = 0; i < signature->size_count; i++)
    if (dims[i] < 0) return hmoec_usage_error(session->diagnostics, "expected %s to be at least 0", signature->size_names[i]);
  bool ok = hmoec_checkpoint_open(weights->path, session->diagnostics, &out->checkpoint);
  for (size_t i = 0; ok && i < out->count; i++)
    ok = input_make(session, function, &signature->inputs[i], dims, inputs[i], out->at, out->count);
  return ok;
}

static void inputs_deinit(reference_inputs *in) {
  for (size_t i = 0; i < HMOEC_MAX_TENSORS; i++) hmoec_tensor_deinit(&in->at[i]);
  hmoec_checkpoint_close(in->checkpoint);
}

bool hmoec_reference_run(hmoec_session *session, const hmoe_weights *weights, const int64_t *dims, const void *const *inputs,
                         void *const *outputs) {
  MlirOperation function = hmoec_entry_find(session->source, NULL);
  hmoec_signature signature;
  reference_inputs in;
  hmoec_tensor out[HMOEC_MAX_TENSORS] = {0};
  size_t output_count = hmoec_entry_output_count(function);
  if (!hmoec_signature_read(&session->unit, NULL, &signature, session->diagnostics)) return false;
  bool ok = inputs_init(session, function, &signature, weights, dims, inputs, &in);
  if (ok && !outputs) ok = hmoec_usage_error(session->diagnostics, "expected outputs, found NULL");
  if (ok) {
    hmoec_parameter_source source = hmoec_checkpoint_source(in.checkpoint);
    ok = hmoec_interpret(function, &source, in.at, in.count, out, output_count, session->diagnostics);
  }
  for (size_t i = 0; ok && i < output_count; i++) {
    size_t place = place_of(function, signature.outputs[i].name, output_count, hmoec_entry_output_name);
    size_t elements = place < output_count ? (size_t)hmoec_shape_elements(&out[place].shape) : 0;
    for (size_t e = 0; e < elements && outputs[i]; e++) ((float *)outputs[i])[e] = (float)out[place].data[e];
  }
  for (size_t i = 0; i < HMOEC_MAX_TENSORS; i++) hmoec_tensor_deinit(&out[i]);
  inputs_deinit(&in);
  return ok;
}

/* Of what was selected, the text; NULL: no memory, or nothing was. */
static char *selections_print(hmoec_session *session, const hmoec_hyper_selection *selections, const hmoec_tensor *rows,
                              size_t count) {
  hmoec_selections *layers = calloc(count + 1, sizeof *layers);
  if (!layers) return NULL;
  bool some = count > 0;
  for (size_t i = 0; i < count; i++) {
    layers[i] = (hmoec_selections){.experts = selections[i].experts,
                                   .top_k = selections[i].top_k,
                                   .rows = rows[i].data,
                                   .count = (size_t)rows[i].shape.dims[0]};
    some = some && layers[i].count > 0;
  }
  char *text = NULL;
  if (some) text = hmoec_routing_print(layers, count);
  else
    hmoec_usage_error(session->diagnostics, count ? "no tokens, no routing" : "the model has no HyperExpert with selection sets");
  free(layers);
  return text;
}

bool hmoec_reference_routing(hmoec_session *session, const hmoe_weights *weights, const int64_t *dims, const void *const *inputs,
                             char **out_text) {
  MlirModule module = mlirModuleFromOperation(mlirOperationClone(mlirModuleGetOperation(session->source)));
  MlirOperation function = hmoec_entry_find(module, NULL);
  hmoec_signature signature;
  reference_inputs in = {.count = 0};
  hmoec_hyper_selection *selections = NULL;
  hmoec_tensor *rows = NULL;
  MlirValue *values = NULL;
  size_t count = 0;
  *out_text = NULL;
  bool ok = hmoec_signature_read(&session->unit, NULL, &signature, session->diagnostics) &&
            hmoec_hyper_selections(module, &session->pass, session->diagnostics, &selections, &count) &&
            inputs_init(session, function, &signature, weights, dims, inputs, &in);
  if (ok) {
    rows = calloc(count + 1, sizeof *rows);
    values = calloc(count + 1, sizeof *values);
    ok = rows && values;
  }
  for (size_t i = 0; ok && i < count; i++) values[i] = selections[i].indices;
  if (ok) {
    hmoec_parameter_source source = hmoec_checkpoint_source(in.checkpoint);
    ok = hmoec_interpret_values(function, &source, in.at, in.count, values, rows, count, session->diagnostics);
  }
  unsigned errors = hmoec_diagnostics_errors(session->diagnostics);
  if (ok) *out_text = selections_print(session, selections, rows, count);
  if (!*out_text && hmoec_diagnostics_errors(session->diagnostics) == errors && (ok || errors == 0))
    hmoec_machine_error(session->diagnostics, "out of memory for routing");
  for (size_t i = 0; rows && i < count; i++) hmoec_tensor_deinit(&rows[i]);
  free(rows);
  free(values);
  free(selections);
  inputs_deinit(&in);
  mlirModuleDestroy(module);
  return *out_text != NULL;
}
