/* hmoec run: compiles in memory, opens weights, runs once on .npy files. */
#include <stdlib.h>
#include <string.h>

#include "commands/commands.h"
#include "ir/entry.h"
#include "support/npy.h"

#define MAX_TENSORS 16

/* The model's signature, read before the passes consume it. */
typedef struct signature {
  size_t input_count, output_count;
  char inputs[MAX_TENSORS][128], outputs[MAX_TENSORS][128];
  hmoec_shape input_shapes[MAX_TENSORS], output_shapes[MAX_TENSORS];
} signature;

static void copy_name(char *to, MlirStringRef name) {
  size_t length = name.length < 127 ? name.length : 127;
  memcpy(to, name.data, length);
  to[length] = 0;
}

static bool read_signature(MlirModule module, const char *entry, signature *out, hmoec_diagnostics *diagnostics) {
  MlirOperation function = hmoec_entry_find(module, NULL);
  if (mlirOperationIsNull(function)) return hmoec_error(diagnostics, (hmoec_location){0}, "the model has no entry");
  if (entry && strcmp(entry, "run") != 0)
    return hmoec_usage_error(diagnostics, "there is no entry '%s'; the model has: run", entry);
  *out = (signature){.input_count = hmoec_entry_input_count(function), .output_count = hmoec_entry_output_count(function)};
  if (out->input_count > MAX_TENSORS || out->output_count > MAX_TENSORS)
    return hmoec_error(diagnostics, (hmoec_location){0}, "the model has more than %d inputs or outputs", MAX_TENSORS);
  for (size_t i = 0; i < out->input_count; i++) {
    copy_name(out->inputs[i], hmoec_entry_input_name(function, i));
    out->input_shapes[i] = hmoec_entry_input_shape(function, i);
  }
  for (size_t i = 0; i < out->output_count; i++) {
    copy_name(out->outputs[i], hmoec_entry_output_name(function, i));
    out->output_shapes[i] = hmoec_entry_output_shape(function, i);
  }
  return true;
}

/* Which of `names` each --input or --output means; an unknown name is an error. */
static bool match_names(const char *option, const hmoec_binding_option *given, size_t given_count, char names[][128], size_t count,
                        const char **out_files, hmoec_diagnostics *diagnostics) {
  const char *list[MAX_TENSORS];
  for (size_t i = 0; i < count; i++) list[i] = names[i];
  for (size_t g = 0; g < given_count; g++) {
    bool known = false;
    for (size_t i = 0; i < count; i++) {
      if (strcmp(given[g].name, names[i]) != 0) continue;
      out_files[i] = given[g].file;
      known = true;
    }
    const char *close = known ? NULL : hmoec_closest_name(given[g].name, list, count);
    if (!known)
      return hmoec_usage_error(diagnostics, "the model has no %s '%s'; it has '%s'%s", option + 2, given[g].name,
                               close   ? close
                               : count ? names[0]
                                       : "",
                               count > 1 ? " and others" : "");
  }
  return true;
}

static bool read_input(const char *file, const char *name, const hmoec_shape *shape, int64_t *tokens, hmoec_npy *out_array,
                       hmoec_diagnostics *diagnostics) {
  if (!hmoec_npy_read(file, diagnostics, out_array)) return false;
  hmoec_shape found = {.element = HMOEC_F32, .rank = out_array->rank <= HMOEC_MAX_RANK ? out_array->rank : 0};
  for (int64_t i = 0; i < found.rank; i++) found.dims[i] = out_array->dims[i];
  char expected_text[HMOEC_SHAPE_CHARS], found_text[HMOEC_SHAPE_CHARS];
  hmoec_location at = {.file = file};
  if (out_array->type != HMOEC_NPY_F32)
    return hmoec_error(diagnostics, at, "input %s: expected float32, found an integer type", name);
  if (out_array->rank != shape->rank || !hmoec_shape_compatible(shape, &found))
    return hmoec_error(diagnostics, at, "input %s: expected %s, found %s", name,
                       hmoec_shape_string(shape, expected_text, sizeof expected_text),
                       hmoec_shape_string(&found, found_text, sizeof found_text));
  if (*tokens >= 0 && *tokens != out_array->dims[0])
    return hmoec_error(diagnostics, at, "input %s: expected %lld rows as in the inputs before, found %lld", name,
                       (long long)*tokens, (long long)out_array->dims[0]);
  *tokens = out_array->dims[0];
  return true;
}

static bool run(const hmoec_options *options, hmoec_diagnostics *diagnostics) {
  if (!options->weights) return hmoec_usage_error(diagnostics, "hmoec run needs --weights FILE");
  hmoec_session session;
  signature names;
  hmoec_npy inputs[MAX_TENSORS] = {0};
  float *outputs[MAX_TENSORS] = {0};
  const char *input_files[MAX_TENSORS] = {0}, *output_files[MAX_TENSORS] = {0};
  const void *input_data[MAX_TENSORS];
  void *output_data[MAX_TENSORS];
  hmoe_model *model = NULL;
  int64_t tokens = -1;
  bool ok =
      hmoec_session_init(&session, diagnostics) && hmoec_session_load(&session, options, options->model) &&
      read_signature(session.module, options->entry, &names, diagnostics) &&
      match_names("--input", options->inputs, options->input_count, names.inputs, names.input_count, input_files, diagnostics) &&
      match_names("--output", options->outputs, options->output_count, names.outputs, names.output_count, output_files,
                  diagnostics);
  for (size_t i = 0; ok && i < names.input_count; i++) {
    ok = input_files[i] ? read_input(input_files[i], names.inputs[i], &names.input_shapes[i], &tokens, &inputs[i], diagnostics)
                        : hmoec_usage_error(diagnostics, "expected --input %s=FILE.npy", names.inputs[i]);
    input_data[i] = inputs[i].data;
  }
  if (ok && options->output_count == 0 && names.output_count > 0)
    ok = hmoec_usage_error(diagnostics, "expected --output %s=FILE.npy", names.outputs[0]);
  for (size_t i = 0; ok && i < names.output_count; i++) {
    outputs[i] = calloc((size_t)(tokens > 0 ? tokens : 1) * (size_t)names.output_shapes[i].dims[1], sizeof(float));
    ok = outputs[i] ? true : hmoec_machine_error(diagnostics, "out of memory for output %s", names.outputs[i]);
    output_data[i] = outputs[i];
  }
  ok = ok && hmoec_session_fold(&session, options) && hmoec_session_plan(&session, options) &&
       hmoec_session_jit(&session, options, false) && hmoec_session_open(&session, options, options->weights, options->cpu, &model);
  if (ok) {
    hmoe_status status = hmoe_model_run(model, 1, &tokens, input_data, output_data);
    ok = status == HMOE_OK ? true : hmoec_runtime_error(diagnostics, status);
  }
  for (size_t i = 0; ok && i < names.output_count; i++)
    if (output_files[i])
      ok = hmoec_npy_write(output_files[i], HMOEC_NPY_F32, 2, (int64_t[]){tokens, names.output_shapes[i].dims[1]}, outputs[i],
                           diagnostics);
  hmoe_model_close(model);
  for (size_t i = 0; i < MAX_TENSORS; i++) {
    hmoec_npy_deinit(&inputs[i]);
    free(outputs[i]);
  }
  hmoec_session_deinit(&session);
  return ok;
}

static const char *const accepted[] = {"-D",       "--weights", "--input", "--output", "--entry",    "--threads",      "--cpu",
                                       "--target", "--mcpu",    "--dtype", "--tuning", "--strategy", "--table-budget", NULL};
const hmoec_command hmoec_command_run = {"run", "run a model once on .npy files",
                                         "MODEL --weights W --input NAME=FILE.npy... --output NAME=FILE.npy... [options]", accepted,
                                         run};
