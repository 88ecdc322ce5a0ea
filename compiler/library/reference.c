#include "library/reference.h"

#include <stdlib.h>
#include <string.h>

#include "interpreter/parameters.h"
#include "ir/entry.h"
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

bool hmoec_reference_run(hmoec_session *session, const hmoe_weights *weights, const int64_t *dims, const void *const *inputs,
                         void *const *outputs) {
  MlirOperation function = hmoec_entry_find(session->source, NULL);
  hmoec_signature signature;
  hmoec_tensor in[HMOEC_MAX_TENSORS] = {0}, out[HMOEC_MAX_TENSORS] = {0};
  hmoec_checkpoint *checkpoint = NULL;
  size_t input_count = hmoec_entry_input_count(function), output_count = hmoec_entry_output_count(function);
  if (!hmoec_signature_read(&session->unit, NULL, &signature, session->diagnostics)) return false;
  if (input_count != signature.input_count || output_count != signature.output_count)
    return hmoec_error(session->diagnostics, (hmoec_location){0}, "entry %s does not have the model's inputs and outputs",
                       signature.name);
  if (!weights || weights->kind != HMOE_WEIGHTS_PATH || !weights->path)
    return hmoec_usage_error(session->diagnostics, "the interpreter reads weights from a path");
  if ((signature.size_count && !dims) || (input_count && !inputs) || !outputs)
    return hmoec_usage_error(session->diagnostics, "expected %s, found NULL",
                             signature.size_count && !dims ? "dims"
                             : input_count && !inputs      ? "inputs"
                                                           : "outputs");
  for (size_t i = 0; i < signature.size_count; i++)
    if (dims[i] < 0) return hmoec_usage_error(session->diagnostics, "expected %s to be at least 0", signature.size_names[i]);
  bool ok = hmoec_checkpoint_open(weights->path, session->diagnostics, &checkpoint);
  for (size_t i = 0; ok && i < input_count; i++)
    ok = input_make(session, function, &signature.inputs[i], dims, inputs[i], in, input_count);
  if (ok) {
    hmoec_parameter_source source = hmoec_checkpoint_source(checkpoint);
    ok = hmoec_interpret(function, &source, in, input_count, out, output_count, session->diagnostics);
  }
  for (size_t i = 0; ok && i < output_count; i++) {
    size_t place = place_of(function, signature.outputs[i].name, output_count, hmoec_entry_output_name);
    size_t elements = place < output_count ? (size_t)hmoec_shape_elements(&out[place].shape) : 0;
    for (size_t e = 0; e < elements && outputs[i]; e++) ((float *)outputs[i])[e] = (float)out[place].data[e];
  }
  for (size_t i = 0; i < HMOEC_MAX_TENSORS; i++) {
    hmoec_tensor_deinit(&in[i]);
    hmoec_tensor_deinit(&out[i]);
  }
  hmoec_checkpoint_close(checkpoint);
  return ok;
}
