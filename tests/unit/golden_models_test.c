/* Whole models in the interpreter against the outputs of the published implementation: what the ops mean, and how models are made of them. */
#include <math.h>
#include <stdio.h>

#include "module_fixture.h"

#include "frontend/load.h"
#include "interpreter/interpreter.h"
#include "interpreter/parameters.h"
#include "support/npy.h"

#define TOLERANCE 2e-5 /* of the largest output: the published values are sums in f32 */
#define MOST_TENSORS 4

static hmoec_tensor tensor_read(const char *folder, const char *name, hmoec_diagnostics *diagnostics) {
  char path[512];
  snprintf(path, sizeof path, "%s/tests/golden/%s/%s.npy", HMOE_SOURCE_DIR, folder, name);
  hmoec_npy file;
  assert_true(hmoec_npy_read(path, diagnostics, &file));
  hmoec_shape shape = {.element = file.type == HMOEC_NPY_I64 ? HMOEC_I64 : HMOEC_F32, .rank = file.rank};
  memcpy(shape.dims, file.dims, (size_t)file.rank * sizeof *shape.dims);
  hmoec_tensor tensor;
  assert_true(hmoec_tensor_init(&tensor, &shape));
  for (int64_t i = 0; i < file.elements; i++)
    tensor.data[i] = file.type == HMOEC_NPY_I64 ? (double)((const int64_t *)file.data)[i] : (double)((const float *)file.data)[i];
  hmoec_npy_deinit(&file);
  return tensor;
}

static void compare(const char *folder, const char *name, const hmoec_tensor *found, hmoec_diagnostics *diagnostics) {
  hmoec_tensor expected = tensor_read(folder, name, diagnostics);
  assert_true(hmoec_shape_compatible(&found->shape, &expected.shape));
  double largest = 0, error = 0;
  int64_t count = hmoec_shape_elements(&expected.shape);
  for (int64_t i = 0; i < count; i++) {
    assert_true(isfinite(found->data[i]) != 0);
    largest = fmax(largest, fabs(expected.data[i]));
    error = fmax(error, fabs(found->data[i] - expected.data[i]));
  }
  print_message("%s: %s: largest error %.2g of the largest value, %.3g\n", folder, name, error / largest, largest);
  assert_true(error < TOLERANCE * largest);
  hmoec_tensor_deinit(&expected);
}

/* A model with the weights of a folder. */
typedef struct golden {
  const char *folder;
  module_fixture fixture;
  hmoec_checkpoint *checkpoint;
  MlirOperation entry;
  size_t input_count, output_count;
} golden;

static golden golden_open(const char *spec, const char *folder, const hmoec_define *defines, size_t define_count) {
  golden model = {.folder = folder};
  char path[2][512];
  snprintf(path[0], sizeof path[0], "%s/models/%s", HMOE_SOURCE_DIR, spec);
  snprintf(path[1], sizeof path[1], "%s/tests/golden/%s/model.safetensors", HMOE_SOURCE_DIR, folder);
  fixture_init(&model.fixture, stderr);
  hmoec_diagnostics *diagnostics = model.fixture.diagnostics;
  assert_true(hmoec_load_model(model.fixture.context, path[0],
                               &(hmoec_load_options){.defines = defines, .define_count = define_count}, diagnostics,
                               &model.fixture.module));
  assert_true(hmoec_checkpoint_open(path[1], diagnostics, &model.checkpoint));
  model.entry = hmoec_entry_find(model.fixture.module, NULL);
  model.input_count = hmoec_entry_input_count(model.entry);
  model.output_count = hmoec_entry_output_count(model.entry);
  assert_true(model.input_count <= MOST_TENSORS && model.output_count <= MOST_TENSORS);
  return model;
}

static void golden_close(golden *model) {
  hmoec_checkpoint_close(model->checkpoint);
  fixture_deinit(&model->fixture);
}

static void golden_run(golden *model, const hmoec_tensor *inputs, hmoec_tensor *outputs) {
  hmoec_parameter_source source = hmoec_checkpoint_source(model->checkpoint);
  assert_true(
      hmoec_interpret(model->entry, &source, inputs, model->input_count, outputs, model->output_count, model->fixture.diagnostics));
}

static void tensors_deinit(hmoec_tensor *tensors, size_t count) {
  for (size_t i = 0; i < count; i++) hmoec_tensor_deinit(&tensors[i]);
}

/* Ones: no token is padding. */
static hmoec_tensor whole_mask(const hmoec_shape *shape) {
  hmoec_tensor mask;
  assert_true(hmoec_tensor_init(&mask, shape));
  for (int64_t t = 0; t < hmoec_shape_elements(shape); t++) mask.data[t] = 1;
  return mask;
}

/* Inputs are files of their names; a GPT-2 has no mask. */
static void check_outputs(golden *model, bool masked) {
  hmoec_tensor inputs[MOST_TENSORS], outputs[MOST_TENSORS];
  for (size_t i = 0; i < model->input_count; i++)
    inputs[i] = i > 0 && !masked
                    ? whole_mask(&inputs[0].shape)
                    : tensor_read(model->folder, hmoec_entry_input_name(model->entry, i).data, model->fixture.diagnostics);
  golden_run(model, inputs, outputs);
  for (size_t i = 0; i < model->output_count; i++)
    compare(model->folder, hmoec_entry_output_name(model->entry, i).data, &outputs[i], model->fixture.diagnostics);
  tensors_deinit(inputs, model->input_count);
  tensors_deinit(outputs, model->output_count);
}

/* The first `length` tokens of each row. */
static hmoec_tensor prefix(const hmoec_tensor *tokens, int64_t length) {
  hmoec_shape shape = tokens->shape;
  shape.dims[1] = length;
  hmoec_tensor result;
  assert_true(hmoec_tensor_init(&result, &shape));
  for (int64_t b = 0; b < shape.dims[0]; b++)
    for (int64_t t = 0; t < length; t++) result.data[b * length + t] = tokens->data[b * tokens->shape.dims[1] + t];
  return result;
}

/* Every token of greedy.npy after the first `given` ones is the largest logit after the prefix before it; ids is the input that grows. */
static void check_greedy(golden *model, size_t ids, int64_t given) {
  hmoec_tensor greedy = tensor_read(model->folder, "greedy", model->fixture.diagnostics), inputs[MOST_TENSORS],
               outputs[MOST_TENSORS];
  for (int64_t length = given; length < greedy.shape.dims[1]; length++) {
    for (size_t i = 0; i < model->input_count; i++) {
      const char *name = hmoec_entry_input_name(model->entry, i).data;
      if (i == ids) inputs[i] = prefix(&greedy, length);
      else if (i > ids) inputs[i] = whole_mask(&inputs[ids].shape);
      else inputs[i] = tensor_read(model->folder, name, model->fixture.diagnostics);
    }
    golden_run(model, inputs, outputs);
    int64_t vocab = outputs[0].shape.dims[2];
    for (int64_t b = 0; b < greedy.shape.dims[0]; b++) {
      const double *last = outputs[0].data + ((b + 1) * length - 1) * vocab;
      int64_t best = 0;
      for (int64_t v = 1; v < vocab; v++)
        if (last[v] > last[best]) best = v;
      assert_int_equal(best, (int64_t)greedy.data[b * greedy.shape.dims[1] + length]);
    }
    tensors_deinit(inputs, model->input_count);
    tensors_deinit(outputs, model->output_count);
  }
  hmoec_tensor_deinit(&greedy);
}

/* input_ids, attention_mask, decoder_input_ids; the decoder begins with one token. */
static void check_switch(const char *folder, const char *spec) {
  golden model = golden_open(spec, folder, NULL, 0);
  check_outputs(&model, true);
  check_greedy(&model, 2, 1);
  golden_close(&model);
}

static void check_gpt2(const char *folder, const char *top_k, const char *experts) {
  const hmoec_define defines[] = {{"top_k", top_k}, {"experts", experts}};
  golden model = golden_open("gpt2-hypermoe-tiny.spec", folder, defines, 2);
  check_outputs(&model, false);
  check_greedy(&model, 0, 5);
  golden_close(&model);
}

static void test_switch_hypermoe(void **state) { (void)state, check_switch("switch-hypermoe-tiny", "switch-hypermoe-tiny.spec"); }
static void test_switch_moe(void **state) { (void)state, check_switch("switch-moe-tiny", "switch-tiny.spec"); }
static void test_gpt2_top_1(void **state) { (void)state, check_gpt2("gpt2-hypermoe-tiny-k1", "1", "4"); }
static void test_gpt2_top_2(void **state) { (void)state, check_gpt2("gpt2-hypermoe-tiny-k2", "2", "5"); }

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_switch_hypermoe),
      cmocka_unit_test(test_switch_moe),
      cmocka_unit_test(test_gpt2_top_1),
      cmocka_unit_test(test_gpt2_top_2),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
