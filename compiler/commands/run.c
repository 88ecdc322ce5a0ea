/* hmoec run: compiles in memory, opens weights, runs an entry once on .npy files. */
#include <stdlib.h>
#include <string.h>

#include "commands/commands.h"
#include "support/npy.h"

static bool outputs_allocate(const hmoec_signature *signature, const int64_t *sizes, void **out_data,
                             hmoec_diagnostics *diagnostics) {
  for (size_t i = 0; i < signature->output_count; i++) {
    hmoec_shape shape = hmoec_signature_shape(&signature->outputs[i], sizes);
    out_data[i] = calloc((size_t)hmoec_shape_elements(&shape) + 1, hmoec_element_bytes(shape.element));
    if (!out_data[i]) return hmoec_machine_error(diagnostics, "out of memory for output %s", signature->outputs[i].name);
  }
  return true;
}

static void output_print(hmoec_output_file *file, const hmoec_signature_tensor *tensor, const int64_t *sizes, const void *data) {
  static const hmoec_npy_type types[] = {[HMOEC_F32] = HMOEC_NPY_F32, [HMOEC_I32] = HMOEC_NPY_I32, [HMOEC_I64] = HMOEC_NPY_I64};
  hmoec_shape shape = hmoec_signature_shape(tensor, sizes);
  hmoec_npy_print(file, types[shape.element], shape.rank, shape.dims, data);
}

/* All outputs appear, or none. */
static bool outputs_write(const char *const *files, const hmoec_signature *signature, const int64_t *sizes, void *const *data,
                          hmoec_diagnostics *diagnostics) {
  hmoec_output_file open[HMOEC_MAX_TENSORS];
  size_t count = 0;
  bool ok = true;
  for (size_t i = 0; ok && i < signature->output_count; i++) {
    if (!files[i]) continue;
    ok = hmoec_output_file_open(files[i], diagnostics, &open[count]);
    if (ok) output_print(&open[count++], &signature->outputs[i], sizes, data[i]);
  }
  if (ok) return hmoec_output_files_commit(open, count);
  for (size_t i = 0; i < count; i++) hmoec_output_file_abandon(&open[i]);
  return false;
}

static bool run(const hmoec_arguments *arguments, hmoec_diagnostics *diagnostics) {
  if (!hmoec_one_token_count(arguments, "run", diagnostics)) return false;
  if (!hmoec_weights_given(arguments, "run", diagnostics)) return false;
  hmoec_compilation *compilation = NULL;
  hmoec_signature signature = {0};
  hmoec_npy inputs[HMOEC_MAX_TENSORS] = {0};
  void *outputs[HMOEC_MAX_TENSORS] = {0};
  const char *input_files[HMOEC_MAX_TENSORS] = {0}, *output_files[HMOEC_MAX_TENSORS] = {0};
  const void *input_data[HMOEC_MAX_TENSORS] = {0};
  hmoec_run_sizes sizes = {0};
  hmoe_model *model = NULL;
  bool ok = hmoec_compile_file(arguments->model, &arguments->options, &compilation) == HMOEC_OK &&
            hmoec_compilation_signature(compilation, arguments->entry, &signature) == HMOEC_OK;
  if (ok && signature.needs_state)
    ok = hmoec_usage_error(diagnostics, "entry '%s' goes on from a state, which files do not have: use hmoec generate",
                           signature.name);
  ok = ok &&
       hmoec_match_names("--input", arguments->inputs, arguments->input_count, signature.inputs, signature.input_count, input_files,
                         diagnostics) &&
       hmoec_match_names("--output", arguments->outputs, arguments->output_count, signature.outputs, signature.output_count,
                         output_files, diagnostics) &&
       hmoec_inputs_read(input_files, &signature, &sizes, inputs, input_data, diagnostics);
  if (ok && arguments->output_count == 0 && signature.output_count > 0)
    ok = hmoec_usage_error(diagnostics, "expected --output %s=FILE.npy", signature.outputs[0].name);
  ok = ok && outputs_allocate(&signature, sizes.values, outputs, diagnostics) && hmoec_open_model(arguments, &compilation, &model);
  if (ok) {
    hmoe_status status = hmoe_model_run(model, signature.entry, sizes.values, input_data, outputs);
    ok = status == HMOE_OK || hmoec_runtime_error(diagnostics, status);
  }
  ok = ok && outputs_write(output_files, &signature, sizes.values, outputs, diagnostics);
  hmoe_model_close(model);
  for (size_t i = 0; i < HMOEC_MAX_TENSORS; i++) {
    hmoec_npy_deinit(&inputs[i]);
    free(outputs[i]);
  }
  hmoec_compilation_destroy(compilation);
  return ok;
}

static const char *const accepted[] = {"-D",       "--c-include", "--c-define", "--weights",  "--input",
                                       "--output", "--entry",     "--threads",  "--cpu",      "--target",
                                       "--mcpu",   "--dtype",     "--tuning",   "--strategy", "--table-budget",
                                       "--memory", "--routing",   "--tokens",   NULL};
const hmoec_command hmoec_command_run = {"run",
                                         "run a model once on .npy files",
                                         "MODEL --weights W --input NAME=FILE.npy... --output NAME=FILE.npy... [options]",
                                         accepted,
                                         run,
                                         false};
