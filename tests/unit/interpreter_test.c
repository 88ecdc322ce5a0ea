/* The interpreter against the outputs of the published implementation, and its ops against each other. */
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "module_fixture.h"

#include "interpreter/evaluate.h"
#include "interpreter/interpreter.h"
#include "interpreter/parameters.h"
#include "support/npy.h"

static double largest(const double *values, size_t count) {
  double largest = 0;
  for (size_t i = 0; i < count; i++) largest = fmax(largest, fabs(values[i]));
  return largest;
}

static double distance(const double *a, const double *b, size_t count) {
  double largest = 0;
  for (size_t i = 0; i < count; i++) {
    assert_false(isnan(a[i]) || isnan(b[i]));
    largest = fmax(largest, fabs(a[i] - b[i]));
  }
  return largest;
}

static hmoec_tensor tensor_from_npy(const hmoec_npy *array) {
  hmoec_shape shape = {.element = HMOEC_F32, .rank = array->rank};
  memcpy(shape.dims, array->dims, (size_t)array->rank * sizeof *shape.dims);
  hmoec_tensor tensor;
  assert_true(hmoec_tensor_init(&tensor, &shape));
  for (int64_t i = 0; i < array->elements; i++) tensor.data[i] = (double)((const float *)array->data)[i];
  return tensor;
}

static void check_golden(const char *layer) {
  char path[4][512];
  const char *files[] = {"layer.mlir", "model.safetensors", "x.npy", "y.npy"};
  for (size_t i = 0; i < 4; i++) snprintf(path[i], sizeof path[i], "%s/tests/golden/%s/%s", HMOE_SOURCE_DIR, layer, files[i]);
  module_fixture fixture;
  fixture_init(&fixture, stderr);
  char *text = file_text(path[0]);
  fixture_parse(&fixture, text);
  free(text);
  hmoec_checkpoint *checkpoint;
  hmoec_npy x_file, y_file;
  assert_true(hmoec_checkpoint_open(path[1], fixture.diagnostics, &checkpoint));
  assert_true(hmoec_npy_read(path[2], fixture.diagnostics, &x_file));
  assert_true(hmoec_npy_read(path[3], fixture.diagnostics, &y_file));
  hmoec_tensor x = tensor_from_npy(&x_file), expected = tensor_from_npy(&y_file), y;
  hmoec_parameter_source source = hmoec_checkpoint_source(checkpoint);
  assert_true(hmoec_interpret(hmoec_entry_find(fixture.module, NULL), &source, &x, 1, &y, 1, fixture.diagnostics));
  assert_true(hmoec_shape_compatible(&y.shape, &expected.shape));
  size_t count = (size_t)hmoec_shape_elements(&y.shape);
  double error = distance(y.data, expected.data, count) / largest(expected.data, count);
  print_message("%s: largest error %.2g of the largest output\n", layer, error);
  assert_true(error < 2e-5);
  hmoec_tensor_deinit(&x);
  hmoec_tensor_deinit(&y);
  hmoec_tensor_deinit(&expected);
  hmoec_npy_deinit(&x_file);
  hmoec_npy_deinit(&y_file);
  hmoec_checkpoint_close(checkpoint);
  fixture_deinit(&fixture);
}

static void test_golden_moe(void **state) { (void)state, check_golden("layer-moe"); }
static void test_golden_hypermoe(void **state) { (void)state, check_golden("layer-hypermoe"); }
static void test_golden_capacity(void **state) { (void)state, check_golden("layer-hypermoe-capacity"); }

/* Runs text on random parameters and on inputs of variance 1, f32[tokens, width]. */
static hmoec_tensor run_text(const char *text, int64_t tokens, int64_t width) {
  module_fixture fixture;
  fixture_init(&fixture, stderr);
  fixture_parse(&fixture, text);
  hmoec_random_parameters *parameters = hmoec_random_parameters_create(fixture.module, 7);
  assert_non_null(parameters);
  hmoec_tensor x, y;
  assert_true(hmoec_tensor_init(&x, &(hmoec_shape){.element = HMOEC_F32, .rank = 2, .dims = {tokens, width}}));
  size_t count = (size_t)(tokens * width);
  float *values = malloc((count + 1) * sizeof *values);
  assert_non_null(values);
  hmoec_random_fill(7, "x", 1, count, values);
  for (size_t i = 0; i < count; i++) x.data[i] = (double)values[i];
  hmoec_parameter_source source = hmoec_random_parameters_source(parameters);
  assert_true(hmoec_interpret(hmoec_entry_find(fixture.module, NULL), &source, &x, 1, &y, 1, fixture.diagnostics));
  free(values);
  hmoec_tensor_deinit(&x);
  hmoec_random_parameters_destroy(parameters);
  fixture_deinit(&fixture);
  return y;
}

static void check_same(const char *a_text, const char *b_text, int64_t tokens, int64_t width) {
  hmoec_tensor a = run_text(a_text, tokens, width), b = run_text(b_text, tokens, width);
  assert_true(hmoec_shape_compatible(&a.shape, &b.shape));
  size_t count = (size_t)hmoec_shape_elements(&a.shape);
  assert_true(distance(a.data, b.data, count) <= 1e-12 * largest(a.data, count));
  assert_true(largest(a.data, count) > 0.1);
  hmoec_tensor_deinit(&a);
  hmoec_tensor_deinit(&b);
}

/* A top-2 HyperExpert over 4 experts; d_model 6, bottleneck 3, embedding 5 = hidden. */
#define HYPER_BEGIN                                                                                                                \
  "func.func @f(%x: tensor<?x6xf32> {hmoe.name = \"x\"}) -> (tensor<?x6xf32> {hmoe.name = \"y\"}) {\n"                             \
  "%router = \"hmoe.parameter\"() {key = \"router\", count = 0} : () -> tensor<4x6xf32>\n"                                         \
  "%table = \"hmoe.parameter\"() {key = \"table\", count = 0} : () -> tensor<4x5xf32>\n"                                           \
  "%wd = \"hmoe.parameter\"() {key = \"wd\", count = 0} : () -> tensor<18x5xf32>\n"                                                \
  "%bd = \"hmoe.parameter\"() {key = \"bd\", count = 0} : () -> tensor<18xf32>\n"                                                  \
  "%wu = \"hmoe.parameter\"() {key = \"wu\", count = 0} : () -> tensor<18x5xf32>\n"                                                \
  "%bu = \"hmoe.parameter\"() {key = \"bu\", count = 0} : () -> tensor<18xf32>\n"                                                  \
  "%l = \"hmoe.linear\"(%x, %router) : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>\n"                                    \
  "%i, %g, %k = \"hmoe.route\"(%l) {top_k = 2, gate = \"topk_then_softmax\", capacity = 0} : (tensor<?x4xf32>) -> "                \
  "(tensor<?x2xi32>, tensor<?x2xf32>, tensor<?x2xi1>)\n"
#define EMBED(result, sets, rows)                                                                                                  \
  "%" result " = \"hmoe.selection_embedding\"(%" sets ", %table) {of = \"unselected\", aggregate = \"mean\"} : (tensor<" rows      \
  "x2xi32>, tensor<4x5xf32>) -> tensor<" rows "x5xf32>\n"
#define GENERATE(r, rows)                                                                                                          \
  "%d, %u = \"hmoe.hypernetwork\"(%" r                                                                                             \
  ", %wd, %bd, %wu, %bu) {bottleneck = 3, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0, 0, 0>, "                           \
  "resultSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<" rows                                                                   \
  "x5xf32>, tensor<18x5xf32>, tensor<18xf32>, tensor<18x5xf32>, tensor<18xf32>) -> "                                               \
  "(tensor<" rows "x6x3xf32>, tensor<" rows "x3x6xf32>)\n"
#define INDEXED(rows)                                                                                                              \
  "%y = \"hmoe.indexed_hyper_expert\"(%x, %w, %d, %u) {memoize = 0, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0>} : "        \
  "(tensor<?x6xf32>, "                                                                                                             \
  "tensor<?xi32>, tensor<" rows "x6x3xf32>, tensor<" rows "x3x6xf32>) -> tensor<?x6xf32>\n"
#define HYPER_END "return %y : tensor<?x6xf32> }\n"

static const char per_token[] =
    HYPER_BEGIN EMBED("r", "i", "?") GENERATE("r", "?") "%y = \"hmoe.hyper_expert\"(%x, %d, %u) {strategy = \"auto\", "
                                                        "operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<?x6xf32>, "
                                                        "tensor<?x6x3xf32>, tensor<?x3x6xf32>) -> tensor<?x6xf32>\n" HYPER_END;

static const char table[] =
    HYPER_BEGIN "%sets = \"hmoe.all_selections\"() {experts = 4, top_k = 2} : () -> tensor<6x2xi32>\n"
                "%w = \"hmoe.selection_rank\"(%i) {experts = 4} : (tensor<?x2xi32>) -> tensor<?xi32>\n" EMBED("r", "sets", "6")
                    GENERATE("r", "6") INDEXED("6") HYPER_END;

static const char cache[] = HYPER_BEGIN
    "%sets, %w = \"hmoe.distinct_selections\"(%i) {experts = 4} : (tensor<?x2xi32>) -> (tensor<?x2xi32>, tensor<?xi32>)\n" EMBED(
        "r", "sets", "?") GENERATE("r", "?") INDEXED("?") HYPER_END;

static const char factored[] =
    HYPER_BEGIN EMBED("r", "i", "?") "%y = \"hmoe.factored_hyper_expert\"(%x, %r, %wd, %bd, %wu, %bu) {bottleneck = 3, "
                                     "operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 0>} : "
                                     "(tensor<?x6xf32>, tensor<?x5xf32>, tensor<18x5xf32>, tensor<18xf32>, tensor<18x5xf32>, "
                                     "tensor<18xf32>) -> tensor<?x6xf32>\n" HYPER_END;

static void test_strategies_agree(void **state) {
  (void)state;
  check_same(per_token, table, 33, 6);
  check_same(per_token, cache, 33, 6);
  check_same(per_token, factored, 33, 6);
}

/* Top-1 of 3 experts with capacity 2, expert biases and a table of HyperExperts with generated biases; d_model 4, d_ff 5, bottleneck 2. */
#define TOP1_BEGIN                                                                                                                 \
  "func.func @f(%x: tensor<?x4xf32> {hmoe.name = \"x\"}) -> (tensor<?x4xf32> {hmoe.name = \"y\"}) {\n"                             \
  "%router = \"hmoe.parameter\"() {key = \"router\", count = 0} : () -> tensor<3x4xf32>\n"                                         \
  "%wi = \"hmoe.parameter\"() {key = \"expert.{}.wi\", count = 3} : () -> tensor<3x5x4xf32>\n"                                     \
  "%wo = \"hmoe.parameter\"() {key = \"expert.{}.wo\", count = 3} : () -> tensor<3x4x5xf32>\n"                                     \
  "%bi = \"hmoe.parameter\"() {key = \"bi\", count = 0} : () -> tensor<3x5xf32>\n"                                                 \
  "%bo = \"hmoe.parameter\"() {key = \"bo\", count = 0} : () -> tensor<3x4xf32>\n"                                                 \
  "%down = \"hmoe.parameter\"() {key = \"down\", count = 0} : () -> tensor<3x4x2xf32>\n"                                           \
  "%up = \"hmoe.parameter\"() {key = \"up\", count = 0} : () -> tensor<3x2x4xf32>\n"                                               \
  "%beta = \"hmoe.parameter\"() {key = \"beta\", count = 0} : () -> tensor<3x2xf32>\n"                                             \
  "%gamma = \"hmoe.parameter\"() {key = \"gamma\", count = 0} : () -> tensor<3x4xf32>\n"                                           \
  "%l = \"hmoe.linear\"(%x, %router) : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>\n"                                    \
  "%i, %g, %k = \"hmoe.route\"(%l) {top_k = 1, gate = \"softmax_then_topk\", capacity = 2} : (tensor<?x3xf32>) -> "                \
  "(tensor<?x1xi32>, tensor<?x1xf32>, tensor<?x1xi1>)\n"

static const char apart[] = TOP1_BEGIN
    "%o = \"hmoe.experts\"(%x, %i, %k, %wi, %wo, %bi, %bo) {activation = \"silu\", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, "
    "1, 1>} : "
    "(tensor<?x4xf32>, tensor<?x1xi32>, tensor<?x1xi1>, tensor<3x5x4xf32>, tensor<3x4x5xf32>, tensor<3x5xf32>, tensor<3x4xf32>) -> "
    "tensor<?x1x4xf32>\n"
    "%m = \"hmoe.combine\"(%o, %g) : (tensor<?x1x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>\n"
    "%w = \"hmoe.selection_rank\"(%i) {experts = 3} : (tensor<?x1xi32>) -> tensor<?xi32>\n"
    "%h = \"hmoe.indexed_hyper_expert\"(%x, %w, %down, %up, %beta, %gamma) {memoize = 0, operandSegmentSizes = array<i32: 1, 1, 1, "
    "1, 1, 1>} : "
    "(tensor<?x4xf32>, tensor<?xi32>, tensor<3x4x2xf32>, tensor<3x2x4xf32>, tensor<3x2xf32>, tensor<3x4xf32>) -> tensor<?x4xf32>\n"
    "%y = \"hmoe.add\"(%m, %h) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>\n"
    "return %y : tensor<?x4xf32> }\n";

static const char fused[] = TOP1_BEGIN "%y = \"hmoe.fused_experts\"(%x, %i, %g, %k, %wi, %wo, %down, %up, %bi, %bo, %beta, %gamma) "
                                       "{activation = \"silu\", expert_biases = 1, "
                                       "generated_biases = 1, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, "
                                       "1>} : (tensor<?x4xf32>, tensor<?x1xi32>, tensor<?x1xf32>, "
                                       "tensor<?x1xi1>, tensor<3x5x4xf32>, tensor<3x4x5xf32>, tensor<3x4x2xf32>, "
                                       "tensor<3x2x4xf32>, tensor<3x5xf32>, tensor<3x4xf32>, tensor<3x2xf32>, "
                                       "tensor<3x4xf32>) -> tensor<?x4xf32>\n"
                                       "return %y : tensor<?x4xf32> }\n";

/* The roles of parameters differ between the two, so both take the parameters of the first. */
static void test_fused_experts(void **state) {
  (void)state;
  hmoec_tensor results[2];
  module_fixture first;
  fixture_init(&first, stderr);
  fixture_parse(&first, apart);
  hmoec_random_parameters *parameters = hmoec_random_parameters_create(first.module, 11);
  hmoec_parameter_source source = hmoec_random_parameters_source(parameters);
  float values[9 * 4];
  hmoec_random_fill(5, "x", 1, 9 * 4, values);
  hmoec_tensor x;
  assert_true(hmoec_tensor_init(&x, &(hmoec_shape){.rank = 2, .dims = {9, 4}}));
  for (size_t i = 0; i < 9 * 4; i++) x.data[i] = (double)values[i];
  assert_true(hmoec_interpret(hmoec_entry_find(first.module, NULL), &source, &x, 1, &results[0], 1, first.diagnostics));
  module_fixture second;
  fixture_init(&second, stderr);
  fixture_parse(&second, fused);
  assert_true(hmoec_interpret(hmoec_entry_find(second.module, NULL), &source, &x, 1, &results[1], 1, second.diagnostics));
  assert_true(distance(results[0].data, results[1].data, 9 * 4) < 1e-12);
  for (size_t i = 0; i < 2; i++) hmoec_tensor_deinit(&results[i]);
  hmoec_tensor_deinit(&x);
  hmoec_random_parameters_destroy(parameters);
  fixture_deinit(&first);
  fixture_deinit(&second);
}

static void test_no_tokens(void **state) {
  (void)state;
  hmoec_tensor y = run_text(cache, 0, 6);
  assert_int_equal(y.shape.dims[0], 0);
  hmoec_tensor_deinit(&y);
}

/* Runs one op on given logits [tokens, 4]; result `which` of route. */
static hmoec_tensor run_route(const double *logits, int64_t tokens, const char *attributes, const char *type, const char *result) {
  char text[1024];
  snprintf(text, sizeof text,
           "func.func @f(%%l: tensor<?x4xf32> {hmoe.name = \"l\"}) -> (tensor<?x2x%s> {hmoe.name = \"y\"}) {\n"
           "%%i, %%g, %%k = \"hmoe.route\"(%%l) {top_k = 2, %s} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>, "
           "tensor<?x2xi1>)\n"
           "return %s : tensor<?x2x%s> }\n",
           type, attributes, result, type);
  module_fixture fixture;
  fixture_init(&fixture, stderr);
  fixture_parse(&fixture, text);
  hmoec_tensor input = {.shape = {.element = HMOEC_F32, .rank = 2, .dims = {tokens, 4}}, .data = (double *)(uintptr_t)logits}, y;
  hmoec_parameter_source none = {0};
  assert_true(hmoec_interpret(hmoec_entry_find(fixture.module, "f"), &none, &input, 1, &y, 1, fixture.diagnostics));
  fixture_deinit(&fixture);
  return y;
}

static void check_values(hmoec_tensor y, const double *expected, size_t count) {
  for (size_t i = 0; i < count; i++)
    assert_true(isnan(expected[i]) ? isnan(y.data[i]) : y.data[i] == expected[i] || fabs(y.data[i] - expected[i]) < 1e-12);
  hmoec_tensor_deinit(&y);
}

static void test_route_order(void **state) {
  (void)state;
  /* Ties go to the lower index; NaN is above all; among NaN the lower index again. */
  const double logits[] = {1, 3, 3, 2, NAN, INFINITY, 7, NAN, NAN, NAN, NAN, NAN};
  check_values(run_route(logits, 3, "gate = \"topk_then_softmax\", capacity = 0", "i32", "%i"), (double[]){1, 2, 0, 3, 0, 1}, 6);
}

static void test_route_gates(void **state) {
  (void)state;
  const double logits[] = {log(1), log(4), log(2), log(3)};
  check_values(run_route(logits, 1, "gate = \"softmax_then_topk\", capacity = 0", "f32", "%g"), (double[]){0.4, 0.3}, 2);
  check_values(run_route(logits, 1, "gate = \"topk_then_softmax\", capacity = 0", "f32", "%g"), (double[]){4.0 / 7, 3.0 / 7}, 2);
  check_values(run_route(logits, 1, "gate = \"softmax_topk_renorm\", capacity = 0", "f32", "%g"), (double[]){4.0 / 7, 3.0 / 7}, 2);
  /* 1 / (1 + 1/4) and 1 / (1 + 1/3), and those divided by their sum, 31/20 */
  check_values(run_route(logits, 1, "gate = \"sigmoid\", capacity = 0", "f32", "%g"), (double[]){0.8, 0.75}, 2);
  check_values(run_route(logits, 1, "gate = \"sigmoid\", capacity = 0, renorm = 1", "f32", "%g"), (double[]){16.0 / 31, 15.0 / 31},
               2);
}

/* Logits decide, also where sigmoid rounds them to one value; limits are no NaN, and a sum of 0 gives gates of 0. */
static void test_route_sigmoid_extremes(void **state) {
  (void)state;
  const double logits[] = {50, 60, INFINITY, 40, -INFINITY, -INFINITY, -INFINITY, -INFINITY};
  check_values(run_route(logits, 2, "gate = \"sigmoid\", capacity = 0", "i32", "%i"), (double[]){2, 1, 0, 1}, 4);
  check_values(run_route(logits, 2, "gate = \"sigmoid\", capacity = 0", "f32", "%g"), (double[]){1, 1, 0, 0}, 4);
  check_values(run_route(logits, 2, "gate = \"sigmoid\", capacity = 0, renorm = 1", "f32", "%g"), (double[]){0.5, 0.5, 0, 0}, 4);
}

/* A NaN is selected, and every gate that its value has a part in is NaN; the row after it is not touched. Infinity, and a row that is minus
 * infinity throughout, have no softmax. */
static void test_route_not_finite(void **state) {
  (void)state;
  const double nan_logits[] = {1, NAN, 2, 3, 0, 0, -INFINITY, 0}, inf_logits[] = {1, INFINITY, 2, 3},
               low_logits[] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
  const double s3 = 1 / (1 + exp(-3.0));
  static const char *const softmaxes[] = {"gate = \"softmax_then_topk\", capacity = 0",
                                          "gate = \"topk_then_softmax\", capacity = 0",
                                          "gate = \"softmax_topk_renorm\", capacity = 0"};
  for (size_t i = 0; i < 3; i++) {
    double even = i == 0 ? 1.0 / 3 : 0.5;
    check_values(run_route(nan_logits, 2, softmaxes[i], "i32", "%i"), (double[]){1, 3, 0, 1}, 4);
    check_values(run_route(nan_logits, 2, softmaxes[i], "f32", "%g"), (double[]){NAN, NAN, even, even}, 4);
    check_values(run_route(inf_logits, 1, softmaxes[i], "i32", "%i"), (double[]){1, 3}, 2);
    check_values(run_route(inf_logits, 1, softmaxes[i], "f32", "%g"), (double[]){NAN, NAN}, 2);
    check_values(run_route(low_logits, 1, softmaxes[i], "i32", "%i"), (double[]){0, 1}, 2);
    check_values(run_route(low_logits, 1, softmaxes[i], "f32", "%g"), (double[]){NAN, NAN}, 2);
  }
  check_values(run_route(nan_logits, 2, "gate = \"sigmoid\", capacity = 0", "f32", "%g"), (double[]){NAN, s3, 0.5, 0.5}, 4);
  check_values(run_route(nan_logits, 2, "gate = \"sigmoid\", capacity = 0, renorm = 1", "f32", "%g"),
               (double[]){NAN, NAN, 0.5, 0.5}, 4);
}

static void test_route_capacity(void **state) {
  (void)state;
  /* Picks: (1, 3), (1, 3), (1, 0): the third pick of expert 1 is past a capacity of 2. */
  const double logits[] = {1, 4, 2, 3, 1, 4, 2, 3, 3, 4, 2, 1};
  check_values(run_route(logits, 3, "gate = \"softmax_then_topk\", capacity = 2", "i1", "%k"), (double[]){1, 1, 1, 1, 0, 1}, 6);
}

static void test_sizes_of_a_run_are_checked(void **state) {
  (void)state;
  const char *text =
      "func.func @f(%a: tensor<?x2xf32> {hmoe.name = \"a\"}, %b: tensor<?x2xf32> {hmoe.name = \"b\"}) -> (tensor<?x2xf32> "
      "{hmoe.name = \"y\"}) {\n"
      "%y = \"hmoe.add\"(%a, %b) : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>\n return %y : tensor<?x2xf32> }";
  module_fixture fixture;
  fixture_init(&fixture, NULL);
  fixture_parse(&fixture, text);
  hmoec_tensor inputs[2], y;
  assert_true(hmoec_tensor_init(&inputs[0], &(hmoec_shape){.rank = 2, .dims = {3, 2}}));
  assert_true(hmoec_tensor_init(&inputs[1], &(hmoec_shape){.rank = 2, .dims = {4, 2}}));
  hmoec_parameter_source none = {0};
  MlirOperation entry = hmoec_entry_find(fixture.module, NULL);
  assert_false(hmoec_interpret(entry, &none, inputs, 2, &y, 1, fixture.diagnostics));
  assert_string_equal(hmoec_diagnostics_first(fixture.diagnostics),
                      "add: expected two equal shapes, found f32[3, 2] and f32[4, 2]");
  assert_false(hmoec_interpret(entry, &none, inputs, 1, &y, 1, fixture.diagnostics));
  hmoec_tensor_deinit(&inputs[0]);
  hmoec_tensor_deinit(&inputs[1]);
  fixture_deinit(&fixture);
}

static void test_random_weights_file(void **state) {
  (void)state;
  char path[] = "/tmp/hmoec-weights-XXXXXX";
  int descriptor = mkstemp(path);
  assert_true(descriptor >= 0);
  close(descriptor);
  module_fixture fixture;
  fixture_init(&fixture, stderr);
  char golden[512];
  snprintf(golden, sizeof golden, "%s/tests/golden/layer-hypermoe/layer.mlir", HMOE_SOURCE_DIR);
  char *text = file_text(golden);
  fixture_parse(&fixture, text);
  free(text);
  assert_true(hmoec_random_weights_write(fixture.module, 3, path, fixture.diagnostics));
  hmoec_checkpoint *checkpoint;
  assert_true(hmoec_checkpoint_open(path, fixture.diagnostics, &checkpoint));
  hmoec_random_parameters *parameters = hmoec_random_parameters_create(fixture.module, 3);
  hmoec_parameter_source from_file = hmoec_checkpoint_source(checkpoint), generated = hmoec_random_parameters_source(parameters);
  double a[128 * 64], b[128 * 64];
  const int64_t dims[] = {128, 64};
  assert_true(from_file.get(from_file.user, "experts.expert_7.wi.weight", 2, dims, a, fixture.diagnostics, (hmoec_location){0}));
  assert_true(generated.get(generated.user, "experts.expert_7.wi.weight", 2, dims, b, fixture.diagnostics, (hmoec_location){0}));
  assert_memory_equal(a, b, sizeof a);
  double squares = 0;
  for (size_t i = 0; i < sizeof a / sizeof *a; i++) squares += a[i] * a[i];
  assert_true(fabs(squares / 128 - 1) < 0.1); /* variance 1 / 64 */
  hmoec_random_parameters_destroy(parameters);
  hmoec_checkpoint_close(checkpoint);
  fixture_deinit(&fixture);
  unlink(path);
}

/* d_ff 3072, d_model 768 ends at 1x1; constant weights make every stage a constant. */
static bool get_constant(void *user, const char *key, int64_t rank, const int64_t *dims, double *out,
                         hmoec_diagnostics *diagnostics, hmoec_location location) {
  (void)user, (void)diagnostics, (void)location;
  int64_t count = 1;
  for (int64_t i = 0; i < rank; i++) count *= dims[i];
  double value = strcmp(key, "wo") == 0 ? 3 : strcmp(key, "wi") == 0 ? 2 : 1;
  for (int64_t i = 0; i < count; i++) out[i] = value;
  return true;
}

static void test_weight_embedding(void **state) {
  (void)state;
  const char *text = "func.func @f(%x: tensor<?x3xf32> {hmoe.name = \"x\"}) -> (tensor<1x3xf32> {hmoe.name = \"y\"}) {\n"
                     "%wi = \"hmoe.parameter\"() {key = \"wi\", count = 0} : () -> tensor<1x3072x768xf32>\n"
                     "%wo = \"hmoe.parameter\"() {key = \"wo\", count = 0} : () -> tensor<1x768x3072xf32>\n"
                     "%d1 = \"hmoe.parameter\"() {key = \"d1\", count = 0} : () -> tensor<2x1x5x5xf32>\n"
                     "%p1 = \"hmoe.parameter\"() {key = \"p1\", count = 0} : () -> tensor<4x2x1x1xf32>\n"
                     "%d2 = \"hmoe.parameter\"() {key = \"d2\", count = 0} : () -> tensor<4x1x3x3xf32>\n"
                     "%p2 = \"hmoe.parameter\"() {key = \"p2\", count = 0} : () -> tensor<3x4x1x1xf32>\n"
                     "%s = \"hmoe.weight_embedding\"(%wi, %wo, %d1, %p1, %d2, %p2) : (tensor<1x3072x768xf32>, "
                     "tensor<1x768x3072xf32>, tensor<2x1x5x5xf32>, "
                     "tensor<4x2x1x1xf32>, tensor<4x1x3x3xf32>, tensor<3x4x1x1xf32>) -> tensor<1x3xf32>\n"
                     "return %s : tensor<1x3xf32> }";
  module_fixture fixture;
  fixture_init(&fixture, stderr);
  fixture_parse(&fixture, text);
  hmoec_tensor x, y;
  assert_true(hmoec_tensor_init(&x, &(hmoec_shape){.rank = 2, .dims = {0, 3}}));
  hmoec_parameter_source constant = {.get = get_constant};
  assert_true(hmoec_interpret(hmoec_entry_find(fixture.module, NULL), &constant, &x, 1, &y, 1, fixture.diagnostics));
  for (size_t i = 0; i < 3; i++) assert_true(fabs(y.data[i] - 25 * (2 + 3) * 9 * 4) < 1e-6);
  hmoec_tensor_deinit(&x);
  hmoec_tensor_deinit(&y);
  fixture_deinit(&fixture);
}

/* ---- what is refused, and where results are after that ---- */

static bool get_zero(void *user, const char *key, int64_t rank, const int64_t *dims, double *out, hmoec_diagnostics *diagnostics,
                     hmoec_location location) {
  (void)user, (void)key, (void)rank, (void)dims, (void)out, (void)diagnostics, (void)location;
  return true;
}

/* The first error of the fixture, which is then a new one. */
static void expect_refused(const char *text, const hmoec_tensor *inputs, size_t input_count, size_t output_count,
                           const char *error) {
  module_fixture fixture;
  fixture_init(&fixture, NULL);
  fixture_parse(&fixture, text);
  hmoec_tensor outputs[3];
  double nothing = 0;
  for (size_t i = 0; i < 3; i++) outputs[i] = (hmoec_tensor){.data = &nothing};
  hmoec_parameter_source zero = {.get = get_zero};
  bool ok = hmoec_interpret(hmoec_entry_find(fixture.module, NULL), &zero, inputs, input_count, outputs, output_count,
                            fixture.diagnostics);
  assert_int_equal(ok, error == NULL);
  if (error) assert_string_equal(hmoec_diagnostics_first(fixture.diagnostics), error);
  for (size_t i = 0; i < output_count; i++) {
    assert_int_equal(outputs[i].data != NULL, ok);
    hmoec_tensor_deinit(&outputs[i]);
  }
  fixture_deinit(&fixture);
}

static void test_refused(void **state) {
  (void)state;
  static const char text[] = "func.func @f(%a: tensor<?x2xf32> {hmoe.name = \"a\"}, %b: tensor<?x2xf32> {hmoe.name = \"b\"}) -> "
                             "(tensor<?x2xf32> {hmoe.name = "
                             "\"y\"}, tensor<3xf32> {hmoe.name = \"z\"}) {\n"
                             "%p = \"hmoe.parameter\"() {key = \"p\", count = 0} : () -> tensor<3xf32>\n"
                             "%y = \"hmoe.add\"(%a, %b) : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>\n"
                             "return %y, %p : tensor<?x2xf32>, tensor<3xf32> }";
  hmoec_tensor same[2], wide[2], deep[2];
  for (int i = 0; i < 2; i++) {
    assert_true(hmoec_tensor_init(&same[i], &(hmoec_shape){.rank = 2, .dims = {3, 2}}));
    wide[i] = deep[i] = same[i];
  }
  wide[1].shape.dims[1] = 3;
  deep[0].shape = (hmoec_shape){.rank = 1, .dims = {6}};
  expect_refused(text, same, 2, 2, NULL);
  expect_refused(text, same, 1, 2, "expected 2 inputs, found 1");
  expect_refused(text, same, 2, 1, "expected room for 2 outputs, found 1");
  expect_refused(text, same, 2, 3, "expected room for 2 outputs, found 3");
  expect_refused(text, wide, 2, 2, "expected input b to be f32[?, 2], found f32[3, 3]");
  expect_refused(text, deep, 2, 2, "expected input a to be f32[?, 2], found f32[6]");
  for (int i = 0; i < 2; i++) hmoec_tensor_deinit(&same[i]);
}

static void test_tensors(void **state) {
  (void)state;
  static const struct {
    hmoec_shape shape;
    bool fine;
  } cases[] = {{{.rank = 0}, true},
               {{.rank = 2, .dims = {0, 5}}, true},
               {{.rank = 2, .dims = {5, -1}}, false},
               {{.rank = 2, .dims = {HMOEC_DYNAMIC, 5}}, false},
               {{.rank = 2, .dims = {5, 3, -7}}, true}, /* behind the rank */
               {{.rank = 2, .dims = {INT64_C(1) << 30, INT64_C(1) << 30}}, false}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    hmoec_tensor tensor;
    assert_int_equal(hmoec_tensor_init(&tensor, &cases[i].shape), cases[i].fine);
    assert_int_equal(tensor.data != NULL, cases[i].fine);
    assert_int_equal(tensor.shape.rank, cases[i].shape.rank);
    for (int64_t e = 0; tensor.data && e < hmoec_shape_elements(&cases[i].shape); e++) assert_true(tensor.data[e] == 0);
    hmoec_tensor_deinit(&tensor);
    assert_null(tensor.data);
  }
}

/* To the nearest of 8 bits, of two to the even one; what has no fraction stays what it is. */
static void test_bf16(void **state) {
  (void)state;
  static const double pairs[][2] = {{1, 1},
                                    {-1, -1},
                                    {0, 0},
                                    {1.00390625, 1}, /* half way: 1 is even */
                                    {1.01171875, 1.015625}, /* half way again */
                                    {1.003906250931322574615478515625, 1}, /* a float rounds this to the half way first */
                                    {1.00390637, 1.0078125},
                                    {-1.01171875, -1.015625},
                                    {INFINITY, INFINITY},
                                    {-INFINITY, -INFINITY},
                                    {3.4e38, INFINITY},
                                    {3.38e38, 0x1.fcp127},
                                    {0x1p-133, 0x1p-133},
                                    {0x1p-135, 0}};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    double found = hmoec_round_bf16(pairs[i][0]), *copy = hmoec_rounded_copy(pairs[i], 1);
    if (found != pairs[i][1]) fail_msg("%.17g: expected %.17g, found %.17g", pairs[i][0], pairs[i][1], found);
    assert_true(copy[0] == pairs[i][1]);
    free(copy);
  }
  assert_true(isnan(hmoec_round_bf16(NAN)));
  assert_true(signbit(hmoec_round_bf16(-0.0)) != 0);
  free(hmoec_rounded_copy(NULL, 0));
}

/* Functions at points where the formulas are known, and at their limits. */
static void test_functions(void **state) {
  (void)state;
  static const struct {
    const char *name;
    double at_one, at_minus_two, at_infinity, at_minus_infinity;
  } cases[] = {{"relu", 1, 0, INFINITY, 0},
               {"gelu", 0.84134474606854293, -0.045500263896358414, INFINITY, 0},
               {"gelu_new", 0.84119199060827677, -0.045402305912224988, INFINITY, 0},
               {"silu", 0.73105857863000488, -0.2384058440442351, INFINITY, 0},
               {"sigmoid", 0.73105857863000488, 0.11920292202211755, 1, 0},
               {"none", 1, -2, INFINITY, -INFINITY}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[512];
    snprintf(text, sizeof text,
             "func.func @f(%%x: tensor<?x5xf32> {hmoe.name = \"x\"}) -> (tensor<?x5xf32> {hmoe.name = \"y\"}) {\n"
             "%%y = \"hmoe.activate\"(%%x) {function = \"%s\"} : (tensor<?x5xf32>) -> tensor<?x5xf32>\n"
             "return %%y : tensor<?x5xf32> }\n",
             cases[i].name);
    module_fixture fixture;
    fixture_init(&fixture, stderr);
    fixture_parse(&fixture, text);
    double x[] = {1, -2, INFINITY, -INFINITY, NAN};
    hmoec_tensor input = {.shape = {.element = HMOEC_F32, .rank = 2, .dims = {1, 5}}, .data = x}, y;
    hmoec_parameter_source none = {0};
    assert_true(hmoec_interpret(hmoec_entry_find(fixture.module, "f"), &none, &input, 1, &y, 1, fixture.diagnostics));
    fixture_deinit(&fixture);
    check_values(y, (const double[]){cases[i].at_one, cases[i].at_minus_two, cases[i].at_infinity, cases[i].at_minus_infinity, NAN},
                 5);
  }
}

/* Sources of parameters: what they have not, or have otherwise. */
static void test_sources_refuse(void **state) {
  (void)state;
  char path[512], text[1024];
  snprintf(path, sizeof path, "%s/tests/golden/layer-moe/model.safetensors", HMOE_SOURCE_DIR);
  static const char name[] = "router.classifier.weight"; /* [8, 64] */
  static const struct {
    const char *key;
    int64_t rank, dims[3];
    const char *format; /* of the path */
  } cases[] = {
      {"router.classifier.weight", 2, {8, 64}, NULL},
      {"other\nrouter.classifier.weight", 2, {8, 64}, NULL},
      {"router.classifier.weight", 2, {8, 63}, "expected \"router.classifier.weight\" to be f32[8, 63], found f32[8, 64] in %s"},
      {"router.classifier.weight", 2, {9, 64}, "expected \"router.classifier.weight\" to be f32[9, 64], found f32[8, 64] in %s"},
      {"router.classifier.weight", 1, {8}, "expected \"router.classifier.weight\" to be f32[8], found f32[8, 64] in %s"},
      {"router.classifier.weight",
       3,
       {8, 64, 1},
       "expected \"router.classifier.weight\" to be f32[8, 64, 1], found f32[8, 64] in %s"},
      {"router", 2, {8, 64}, "%s has no tensor \"router\""},
      {"router\nclassifier", 2, {8, 64}, "%s has no tensor \"router\", nor one of its other names"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
    hmoec_checkpoint *checkpoint;
    assert_true(hmoec_checkpoint_open(path, diagnostics, &checkpoint));
    hmoec_parameter_source source = hmoec_checkpoint_source(checkpoint);
    double out[8 * 64 + 1];
    out[8 * 64] = 9;
    bool ok = source.get(source.user, cases[i].key, cases[i].rank, cases[i].dims, out, diagnostics, (hmoec_location){0});
    assert_int_equal(ok, cases[i].format == NULL);
    if (cases[i].format) {
      snprintf(text, sizeof text, cases[i].format, path);
      assert_string_equal(hmoec_diagnostics_first(diagnostics), text);
    }
    assert_true(out[8 * 64] == 9);
    hmoec_checkpoint_close(checkpoint);
    hmoec_diagnostics_destroy(diagnostics);
  }
  module_fixture fixture;
  fixture_init(&fixture, NULL);
  snprintf(path, sizeof path, "%s/tests/golden/layer-moe/layer.mlir", HMOE_SOURCE_DIR);
  char *layer = file_text(path);
  fixture_parse(&fixture, layer);
  free(layer);
  hmoec_random_parameters *parameters = hmoec_random_parameters_create(fixture.module, 3);
  hmoec_parameter_source random = hmoec_random_parameters_source(parameters);
  static double values[8 * 64];
  assert_true(random.get(random.user, name, 2, (const int64_t[]){8, 64}, values, fixture.diagnostics, (hmoec_location){0}));
  assert_false(random.get(random.user, name, 2, (const int64_t[]){64, 8}, values, fixture.diagnostics, (hmoec_location){0}));
  assert_string_equal(hmoec_diagnostics_first(fixture.diagnostics),
                      "the random parameters have no \"router.classifier.weight\" of this shape");
  assert_false(random.get(random.user, name, 1, (const int64_t[]){8}, values, fixture.diagnostics, (hmoec_location){0}));
  assert_false(random.get(random.user, "none", 2, (const int64_t[]){8, 64}, values, fixture.diagnostics, (hmoec_location){0}));
  hmoec_random_parameters_destroy(parameters);
  fixture_deinit(&fixture);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_golden_moe),
      cmocka_unit_test(test_golden_hypermoe),
      cmocka_unit_test(test_golden_capacity),
      cmocka_unit_test(test_strategies_agree),
      cmocka_unit_test(test_fused_experts),
      cmocka_unit_test(test_no_tokens),
      cmocka_unit_test(test_route_order),
      cmocka_unit_test(test_route_gates),
      cmocka_unit_test(test_route_sigmoid_extremes),
      cmocka_unit_test(test_route_not_finite),
      cmocka_unit_test(test_route_capacity),
      cmocka_unit_test(test_sizes_of_a_run_are_checked),
      cmocka_unit_test(test_random_weights_file),
      cmocka_unit_test(test_weight_embedding),
      cmocka_unit_test(test_refused),
      cmocka_unit_test(test_tensors),
      cmocka_unit_test(test_bf16),
      cmocka_unit_test(test_functions),
      cmocka_unit_test(test_sources_refuse),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
