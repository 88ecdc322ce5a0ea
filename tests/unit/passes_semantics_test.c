/* The passes on models leave what a model computes as it is: the interpreter before and after each of them, for every strategy. */
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "module_fixture.h"

#include "interpreter/interpreter.h"
#include "interpreter/parameters.h"
#include "passes/passes.h"

enum { TOKENS = 41 };

/* Four experts, top-2, generated from the mean of the unselected; d_model 6, bottleneck 3, embedding 5, layer embedding 2. */
static const char top2[] =
    "func.func @f(%x: tensor<?x6xf32> {hmoe.name = \"x\"}) -> (tensor<?x6xf32> {hmoe.name = \"y\"}) {\n"
    "%router = \"hmoe.parameter\"() {key = \"router\", count = 0} : () -> tensor<4x6xf32>\n"
    "%wi = \"hmoe.parameter\"() {key = \"wi.{}\", count = 4} : () -> tensor<4x8x6xf32>\n"
    "%wo = \"hmoe.parameter\"() {key = \"wo.{}\", count = 4} : () -> tensor<4x6x8xf32>\n"
    "%table = \"hmoe.parameter\"() {key = \"table\", count = 0} : () -> tensor<4x5xf32>\n"
    "%layers = \"hmoe.parameter\"() {key = \"layers\", count = 0} : () -> tensor<3x2xf32>\n"
    "%l1 = \"hmoe.parameter\"() {key = \"l1\", count = 0} : () -> tensor<7x7xf32>\n"
    "%c1 = \"hmoe.parameter\"() {key = \"c1\", count = 0} : () -> tensor<7xf32>\n"
    "%wd = \"hmoe.parameter\"() {key = \"wd\", count = 0} : () -> tensor<18x7xf32>\n"
    "%bd = \"hmoe.parameter\"() {key = \"bd\", count = 0} : () -> tensor<18xf32>\n"
    "%wu = \"hmoe.parameter\"() {key = \"wu\", count = 0} : () -> tensor<18x7xf32>\n"
    "%bu = \"hmoe.parameter\"() {key = \"bu\", count = 0} : () -> tensor<18xf32>\n"
    "%l = \"hmoe.linear\"(%x, %router) : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>\n"
    "%i, %g, %k = \"hmoe.route\"(%l) {top_k = 2, gate = \"softmax_topk_renorm\", capacity = 9} : (tensor<?x4xf32>) -> "
    "(tensor<?x2xi32>, tensor<?x2xf32>, tensor<?x2xi1>)\n"
    "%o = \"hmoe.experts\"(%x, %i, %k, %wi, %wo) {activation = \"gelu_new\", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, "
    "0>} : (tensor<?x6xf32>, "
    "tensor<?x2xi32>, tensor<?x2xi1>, tensor<4x8x6xf32>, tensor<4x6x8xf32>) -> tensor<?x2x6xf32>\n"
    "%m = \"hmoe.combine\"(%o, %g) : (tensor<?x2x6xf32>, tensor<?x2xf32>) -> tensor<?x6xf32>\n"
    "%s = \"hmoe.selection_embedding\"(%i, %table) {of = \"unselected\", aggregate = \"mean\"} : (tensor<?x2xi32>, "
    "tensor<4x5xf32>) -> tensor<?x5xf32>\n"
    "%a = \"hmoe.append_row\"(%s, %layers) {row = 1} : (tensor<?x5xf32>, tensor<3x2xf32>) -> tensor<?x7xf32>\n"
    "%b = \"hmoe.linear\"(%a, %l1, %c1) : (tensor<?x7xf32>, tensor<7x7xf32>, tensor<7xf32>) -> tensor<?x7xf32>\n"
    "%r = \"hmoe.activate\"(%b) {function = \"relu\"} : (tensor<?x7xf32>) -> tensor<?x7xf32>\n"
    "%d, %u = \"hmoe.hypernetwork\"(%r, %wd, %bd, %wu, %bu) {bottleneck = 3, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0, "
    "0, 0>, "
    "resultSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<?x7xf32>, tensor<18x7xf32>, tensor<18xf32>, tensor<18x7xf32>, "
    "tensor<18xf32>) -> "
    "(tensor<?x6x3xf32>, tensor<?x3x6xf32>)\n"
    "%h = \"hmoe.hyper_expert\"(%x, %d, %u) {strategy = \"auto\", operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : "
    "(tensor<?x6xf32>, tensor<?x6x3xf32>, "
    "tensor<?x3x6xf32>) -> tensor<?x6xf32>\n"
    "%y = \"hmoe.add\"(%m, %h) : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>\n"
    "return %y : tensor<?x6xf32> }\n";

/* Four gated experts, top-1, with all biases; generated from the selected. */
static const char gated[] =
    "func.func @f(%x: tensor<?x6xf32> {hmoe.name = \"x\"}) -> (tensor<?x6xf32> {hmoe.name = \"y\"}) {\n"
    "%router = \"hmoe.parameter\"() {key = \"router\", count = 0} : () -> tensor<4x6xf32>\n"
    "%wi_0 = \"hmoe.parameter\"() {key = \"wi_0.{}\", count = 4} : () -> tensor<4x8x6xf32>\n"
    "%wi_1 = \"hmoe.parameter\"() {key = \"wi_1.{}\", count = 4} : () -> tensor<4x8x6xf32>\n"
    "%wo = \"hmoe.parameter\"() {key = \"wo.{}\", count = 4} : () -> tensor<4x6x8xf32>\n"
    "%bi_0 = \"hmoe.parameter\"() {key = \"bi_0.{}\", count = 4} : () -> tensor<4x8xf32>\n"
    "%bi_1 = \"hmoe.parameter\"() {key = \"bi_1.{}\", count = 4} : () -> tensor<4x8xf32>\n"
    "%bo = \"hmoe.parameter\"() {key = \"bo.{}\", count = 4} : () -> tensor<4x6xf32>\n"
    "%table = \"hmoe.parameter\"() {key = \"table\", count = 0} : () -> tensor<4x5xf32>\n"
    "%wd = \"hmoe.parameter\"() {key = \"wd\", count = 0} : () -> tensor<18x5xf32>\n"
    "%bd = \"hmoe.parameter\"() {key = \"bd\", count = 0} : () -> tensor<18xf32>\n"
    "%vd = \"hmoe.parameter\"() {key = \"vd\", count = 0} : () -> tensor<3x5xf32>\n"
    "%cd = \"hmoe.parameter\"() {key = \"cd\", count = 0} : () -> tensor<3xf32>\n"
    "%vu = \"hmoe.parameter\"() {key = \"vu\", count = 0} : () -> tensor<6x5xf32>\n"
    "%cu = \"hmoe.parameter\"() {key = \"cu\", count = 0} : () -> tensor<6xf32>\n"
    "%l = \"hmoe.linear\"(%x, %router) : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>\n"
    "%i, %g, %k = \"hmoe.route\"(%l) {top_k = 1, gate = \"softmax_then_topk\", capacity = 9} : (tensor<?x4xf32>) -> "
    "(tensor<?x1xi32>, tensor<?x1xf32>, tensor<?x1xi1>)\n"
    "%o = \"hmoe.gated_experts\"(%x, %i, %k, %wi_0, %wi_1, %wo, %bi_0, %bi_1, %bo) {activation = \"silu\", operandSegmentSizes = "
    "array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1>} : (tensor<?x6xf32>, tensor<?x1xi32>, tensor<?x1xi1>, tensor<4x8x6xf32>, "
    "tensor<4x8x6xf32>, tensor<4x6x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x6xf32>) -> tensor<?x1x6xf32>\n"
    "%m = \"hmoe.combine\"(%o, %g) : (tensor<?x1x6xf32>, tensor<?x1xf32>) -> tensor<?x6xf32>\n"
    "%r = \"hmoe.selection_embedding\"(%i, %table) {of = \"selected\", aggregate = \"mean\"} : (tensor<?x1xi32>, "
    "tensor<4x5xf32>) -> tensor<?x5xf32>\n"
    "%d, %u, %b, %c = \"hmoe.hypernetwork\"(%r, %wd, %bd, %wd, %bd, %vd, %cd, %vu, %cu) {bottleneck = 3, operandSegmentSizes = "
    "array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1>, resultSegmentSizes = array<i32: 1, 1, 1, 1>} : (tensor<?x5xf32>, tensor<18x5xf32>, "
    "tensor<18xf32>, tensor<18x5xf32>, tensor<18xf32>, tensor<3x5xf32>, tensor<3xf32>, tensor<6x5xf32>, tensor<6xf32>) -> "
    "(tensor<?x6x3xf32>, tensor<?x3x6xf32>, tensor<?x3xf32>, tensor<?x6xf32>)\n"
    "%h = \"hmoe.hyper_expert\"(%x, %d, %u, %b, %c) {strategy = \"auto\", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1>} : "
    "(tensor<?x6xf32>, tensor<?x6x3xf32>, tensor<?x3x6xf32>, tensor<?x3xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>\n"
    "%y = \"hmoe.add\"(%m, %h) : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>\n"
    "return %y : tensor<?x6xf32> }\n";

static hmoec_tensor interpret(module_fixture *fixture, hmoec_random_parameters *parameters) {
  MlirOperation entry = hmoec_entry_find(fixture->module, NULL);
  hmoec_shape shape = hmoec_entry_input_shape(entry, 0);
  shape.dims[0] = TOKENS;
  hmoec_tensor x, y;
  assert_true(hmoec_tensor_init(&x, &shape));
  size_t count = (size_t)hmoec_shape_elements(&shape);
  float *values = calloc(count, sizeof *values);
  assert_non_null(values);
  hmoec_random_fill(1, "x", 1, count, values);
  for (size_t i = 0; i < count; i++) x.data[i] = (double)values[i];
  hmoec_parameter_source source = hmoec_random_parameters_source(parameters);
  assert_true(hmoec_interpret(entry, &source, &x, 1, &y, 1, fixture->diagnostics));
  free(values);
  hmoec_tensor_deinit(&x);
  return y;
}

static bool contains(MlirModule module, const char *op_name) {
  MlirBlock block = mlirRegionGetFirstBlock(mlirOperationGetRegion(hmoec_entry_find(module, NULL), 0));
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op))
    if (hmoec_op_is(op, op_name)) return true;
  return false;
}

/* made: an op that the strategy leads to, so that the test does not pass because nothing happened. */
static void check_passes(const char *text, const char *strategy, const char *made) {
  module_fixture fixture;
  fixture_init(&fixture, stderr);
  fixture_parse(&fixture, text);
  hmoec_random_parameters *parameters = hmoec_random_parameters_create(fixture.module, 2);
  assert_non_null(parameters);
  hmoec_tensor before = interpret(&fixture, parameters);
  hmoec_pass_options options = hmoec_pass_options_default();
  options.strategy = strategy;
  const hmoec_pass *pass;
  for (size_t i = 0; (pass = hmoec_pass_at(i)) && strcmp(pass->name, "plan-kernels") != 0; i++) {
    assert_true(pass->run(fixture.module, &options, fixture.diagnostics));
    assert_true(hmoec_verify(fixture.module, fixture.diagnostics));
    hmoec_tensor after = interpret(&fixture, parameters);
    for (int64_t e = 0; e < hmoec_shape_elements(&before.shape); e++)
      if (!(fabs(after.data[e] - before.data[e]) < 1e-9))
        fail_msg("%s, strategy %s: element %td", pass->name, strategy, (ptrdiff_t)e);
    hmoec_tensor_deinit(&after);
  }
  if (!contains(fixture.module, made)) fail_msg("strategy %s made no %s", strategy, made);
  hmoec_tensor_deinit(&before);
  hmoec_random_parameters_destroy(parameters);
  fixture_deinit(&fixture);
}

static void test_top2(void **state) {
  (void)state;
  check_passes(top2, "table", "hmoe.all_selections");
  check_passes(top2, "cache", "hmoe.distinct_selections");
  check_passes(top2, "factored", "hmoe.factored_hyper_expert");
  check_passes(top2, "per_token", "hmoe.hypernetwork");
}

static void check_golden(const char *layer) {
  char path[512];
  snprintf(path, sizeof path, "%s/tests/golden/%s/layer.mlir", HMOE_SOURCE_DIR, layer);
  char *text = file_text(path);
  check_passes(text, "table", "hmoe.fused_experts");
  check_passes(text, "cache", "hmoe.distinct_selections");
  check_passes(text, "factored", "hmoe.factored_hyper_expert");
  check_passes(text, "per_token", "hmoe.hypernetwork");
  free(text);
}

static void test_gated(void **state) {
  (void)state;
  check_passes(gated, "table", "hmoe.fused_gated_experts");
  check_passes(gated, "factored", "hmoe.factored_hyper_expert");
}

static void test_hypermoe(void **state) { (void)state, check_golden("layer-hypermoe"); }
static void test_capacity(void **state) { (void)state, check_golden("layer-hypermoe-capacity"); }

/* A module that is wrong before a pass stands for a pass that breaks it. The file to repeat it with is left where it was asked for, and only there:
 * the library has written repro.mlir into an application's working directory. */
static void test_reproducer(void **state) {
  (void)state;
  static const char wrong[] = "func.func @f(%x: tensor<?x6xf32> {hmoe.name = \"x\"}) -> (tensor<?x7xf32> {hmoe.name = \"y\"}) {\n"
                              "%y = \"hmoe.activate\"(%x) {function = \"relu\"} : (tensor<?x6xf32>) -> tensor<?x7xf32>\n"
                              "return %y : tensor<?x7xf32> }\n";
  module_fixture fixture;
  fixture_init(&fixture, NULL);
  fixture.module = hmoec_module_parse(fixture.context, "test.mlir", wrong, strlen(wrong));
  assert_false(mlirModuleIsNull(fixture.module));
  char directory[] = "/tmp/hmoec-repro-XXXXXX", here[4096], path[64], again[64];
  assert_non_null(mkdtemp(directory));
  assert_non_null(getcwd(here, sizeof here));
  assert_int_equal(chdir(directory), 0);
  hmoec_pass_options options = hmoec_pass_options_default();
  snprintf(path, sizeof path, "%s/a.mlir", directory);
  snprintf(again, sizeof again, "%s/repro.mlir", directory);
  const hmoec_pass_trace nowhere = {.print_after = NULL}, file = {.repro_file = path}, dumps = {.dump_dir = directory};
  assert_false(hmoec_passes_run(fixture.module, "fold-layer-embedding", NULL, &options, NULL, fixture.diagnostics));
  assert_false(hmoec_passes_run(fixture.module, "fold-layer-embedding", NULL, &options, &nowhere, fixture.diagnostics));
  assert_int_equal(rmdir(directory), 0); /* empty */
  assert_int_equal(mkdir(directory, 0700), 0);
  char *said, note[160];
  size_t size;
  FILE *stream = open_memstream(&said, &size);
  assert_non_null(stream);
  hmoec_diagnostics *heard = hmoec_diagnostics_create(stream);
  assert_false(hmoec_passes_run(fixture.module, "fold-layer-embedding", NULL, &options, &file, heard));
  hmoec_diagnostics_destroy(heard);
  fclose(stream);
  snprintf(note, sizeof note, "note: the module before pass fold-layer-embedding is in %s\n", path);
  assert_non_null(strstr(said, note));
  free(said);
  char *text = file_text(path);
  assert_non_null(strstr(text, "// hmoec-opt --fold-layer-embedding"));
  assert_non_null(strstr(text, "hmoe.activate"));
  free(text);
  assert_int_equal(unlink(path), 0);
  assert_false(hmoec_passes_run(fixture.module, "fold-layer-embedding", NULL, &options, &dumps, fixture.diagnostics));
  assert_int_equal(unlink(again), 0);
  assert_int_equal(chdir(here), 0);
  assert_int_equal(rmdir(directory), 0);
  fixture_deinit(&fixture);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_top2), cmocka_unit_test(test_gated), cmocka_unit_test(test_hypermoe),
                                     cmocka_unit_test(test_capacity), cmocka_unit_test(test_reproducer)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
