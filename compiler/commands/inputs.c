/* Inputs of a model from .npy files: which is which, and whether they fit the model and each other. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "commands/commands.h"
#include "support/npy.h"

bool hmoec_match_names(const char *option, const hmoec_binding_option *given, size_t given_count,
                       const hmoec_signature_tensor *tensors, size_t count, const char **out_files,
                       hmoec_diagnostics *diagnostics) {
  const char *list[HMOEC_MAX_TENSORS];
  for (size_t i = 0; i < count; i++) list[i] = tensors[i].name;
  for (size_t g = 0; g < given_count; g++) {
    bool known = false;
    for (size_t i = 0; i < count; i++) {
      if (strcmp(given[g].name, list[i]) != 0) continue;
      out_files[i] = given[g].file;
      known = true;
    }
    if (known) continue;
    char names[1024] = "";
    for (size_t i = 0, used = 0; i < count && used < sizeof names; i++)
      used += (size_t)snprintf(names + used, sizeof names - used, "%s'%s'", i == 0 ? "" : i + 1 == count ? " and " : ", ", list[i]);
    const char *close = count > 1 ? hmoec_closest_name(given[g].name, list, count) : NULL;
    return hmoec_usage_error(diagnostics, "the model has no %s '%s'; it has %s%s%s%s", option + 2, given[g].name, names,
                             close ? "; did you mean '" : "", close ? close : "", close ? "'?" : "");
  }
  return true;
}

/* Integers as the entry wants them: int32 and int64 stand for each other where the values allow it. */
static bool convert_integers(const char *name, hmoec_element element, hmoec_location at, hmoec_npy *array,
                             hmoec_diagnostics *diagnostics) {
  hmoec_npy_type wanted = element == HMOEC_I64 ? HMOEC_NPY_I64 : HMOEC_NPY_I32;
  if (array->type == wanted) return true;
  size_t bytes = (size_t)array->elements * hmoec_element_bytes(element);
  void *data = malloc(bytes + 1);
  if (!data) return hmoec_machine_error(diagnostics, "out of memory for input %s", name);
  for (int64_t i = 0; i < array->elements; i++) {
    if (wanted == HMOEC_NPY_I64) {
      ((int64_t *)data)[i] = ((const int32_t *)array->data)[i];
      continue;
    }
    int64_t value = ((const int64_t *)array->data)[i];
    if (value < INT32_MIN || value > INT32_MAX) {
      free(data);
      return hmoec_error(diagnostics, at, "input %s: %" PRId64 " at %" PRId64 " does not fit an int32", name, value, i);
    }
    ((int32_t *)data)[i] = (int32_t)value;
  }
  free(array->data);
  array->data = data;
  array->type = wanted;
  array->size_bytes = bytes;
  return true;
}

static bool read_input(const char *file, const hmoec_signature *signature, const hmoec_signature_tensor *tensor,
                       hmoec_run_sizes *sizes, hmoec_npy *out_array, hmoec_diagnostics *diagnostics) {
  if (!hmoec_npy_read(file, diagnostics, out_array)) return false;
  const hmoec_shape *shape = &tensor->shape;
  hmoec_shape found = {.element = shape->element, .rank = out_array->rank <= HMOEC_MAX_RANK ? out_array->rank : 0};
  for (int64_t i = 0; i < found.rank; i++) found.dims[i] = out_array->dims[i];
  char expected_text[HMOEC_SHAPE_CHARS], found_text[HMOEC_SHAPE_CHARS];
  hmoec_location at = {.file = file};
  if (shape->element == HMOEC_F32 && out_array->type != HMOEC_NPY_F32)
    return hmoec_error(diagnostics, at, "input %s: expected float32, found an integer type", tensor->name);
  if (shape->element != HMOEC_F32 && out_array->type == HMOEC_NPY_F32)
    return hmoec_error(diagnostics, at, "input %s: expected int64 or int32, found floating point", tensor->name);
  if (out_array->rank != shape->rank || !hmoec_shape_compatible(shape, &found))
    return hmoec_error(diagnostics, at, "input %s: expected %s, found %s", tensor->name,
                       hmoec_shape_string(shape, expected_text, sizeof expected_text),
                       hmoec_shape_string(&found, found_text, sizeof found_text));
  for (int64_t d = 0; d < shape->rank; d++) {
    if (shape->dims[d] != HMOEC_DYNAMIC) continue;
    size_t size = tensor->sizes[d];
    if (sizes->inputs[size] && sizes->values[size] != found.dims[d])
      return hmoec_error(diagnostics, at, "input %s: expected %s to be %" PRId64 " as in input %s, found %" PRId64, tensor->name,
                         signature->size_names[size], sizes->values[size], sizes->inputs[size], found.dims[d]);
    sizes->values[size] = found.dims[d];
    sizes->inputs[size] = tensor->name;
  }
  return shape->element == HMOEC_F32 || convert_integers(tensor->name, shape->element, at, out_array, diagnostics);
}

bool hmoec_inputs_read(const char *const *files, const hmoec_signature *signature, hmoec_run_sizes *sizes, hmoec_npy *arrays,
                       const void **out_data, hmoec_diagnostics *diagnostics) {
  for (size_t i = 0; i < signature->input_count; i++) {
    const hmoec_signature_tensor *tensor = &signature->inputs[i];
    if (!files[i] && tensor->optional) continue;
    if (!files[i]) return hmoec_usage_error(diagnostics, "expected --input %s=FILE.npy", tensor->name);
    if (!read_input(files[i], signature, tensor, sizes, &arrays[i], diagnostics)) return false;
    out_data[i] = arrays[i].data;
  }
  for (size_t i = 0; i < signature->size_count; i++)
    if (!sizes->inputs[i]) return hmoec_usage_error(diagnostics, "no --input says what %s is", signature->size_names[i]);
  return true;
}
