/* Arguments that calls of the libraries cannot use, function by function: NULL, sizes, numbers that name nothing, and calls out of order. Each
 * is refused with a message that says what was expected, or does nothing where the call has no status; none crashes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "hmoe/compiler.h"
#include "hmoe/generate.h"

static char messages[4096];

static void keep(void *context, const hmoec_message *message) {
  (void)context;
  size_t used = strlen(messages);
  snprintf(messages + used, sizeof messages - used, "%s\n", message->text);
}

static const hmoec_options options = {.struct_size = sizeof options, .message = keep};
static const char spec[] =
    "model p\ndim tokens = ?\ninput x: f32[tokens, 3]\nparam w: [3, 3] from \"w\"\noutput y = linear(x, w)\n";
static char folder[] = "/tmp/hmoec-arguments-XXXXXX", weights_path[64];

static hmoec_compilation *compilation;
static hmoe_model *model;
static const struct hmoe_model_object *object;
static hmoec_signature signature;
static int64_t dims[] = {2};
static float x[6], y[6];
static const void *inputs[] = {x}, *no_inputs[] = {NULL};
static void *outputs[] = {y}, *no_outputs[] = {NULL};

static int setup(void **state) {
  (void)state;
  if (!mkdtemp(folder)) return -1;
  snprintf(weights_path, sizeof weights_path, "%s/w.safetensors", folder);
  const hmoe_weights weights = {.path = weights_path};
  return hmoec_compile_text("p.spec", spec, sizeof spec - 1, &options, &compilation) != HMOEC_OK ||
                 hmoec_compilation_random_weights(compilation, 1, weights_path) != HMOEC_OK ||
                 hmoec_compilation_open(compilation, &weights, NULL, &model) != HMOEC_OK ||
                 hmoec_compilation_load(compilation, &object) != HMOEC_OK ||
                 hmoec_compilation_signature(compilation, NULL, &signature) != HMOEC_OK
             ? -1
             : 0;
}

static int teardown(void **state) {
  (void)state;
  hmoe_model_close(model);
  hmoec_compilation_destroy(compilation);
  unlink(weights_path);
  return rmdir(folder); /* fails if a call left a file */
}

static void expect(const char *call, hmoec_status found, hmoec_status status, const char *message) {
  if (found != status || !strstr(messages, message) || (!*message && *messages))
    fail_msg("%s: expected status %d and \"%s\", found %d and \"%s\"", call, (int)status, message, (int)found, messages);
  *messages = 0;
}
#define USAGE(call, message) expect(#call, call, HMOEC_USAGE_ERROR, message)
#define INPUT(call, message) expect(#call, call, HMOEC_INPUT_ERROR, message)

static void expect_runtime(const char *call, hmoe_status found, hmoe_status status, const char *message) {
  if (found != status || !strstr(hmoe_last_error(), message))
    fail_msg("%s: expected %s and \"%s\", found %s and \"%s\"", call, hmoe_status_string(status), message,
             hmoe_status_string(found), hmoe_last_error());
}
#define INVALID(call, message) expect_runtime(#call, call, HMOE_INVALID_ARGUMENT, message)

static void test_compilations(void **state) {
  (void)state;
  hmoec_compilation *made = compilation;
  USAGE(hmoec_compile_file(NULL, &options, &made), "expected the path of a model, found NULL");
  assert_null(made);
  USAGE(hmoec_compile_file("", &options, &made), "expected the path of a model, found ''");
  USAGE(hmoec_compile_file("m.spec", &options, NULL), "expected a place for the compilation, found NULL");
  USAGE(hmoec_compile_file("m.spec", NULL, NULL), "");
  USAGE(hmoec_compile_text(NULL, spec, sizeof spec - 1, &options, &made), "expected a name for the text, found NULL");
  USAGE(hmoec_compile_text("m", NULL, 3, &options, &made), "expected the text of a spec, found NULL");
  USAGE(hmoec_compile_text("m", spec, sizeof spec - 1, &options, NULL), "expected a place for the compilation, found NULL");
  USAGE(hmoec_compile_graph(NULL, &options, &made), "");
  hmoec_graph *graph;
  const hmoec_define define = {.name = "d", .value = "3"};
  hmoec_options defining = options;
  defining.defines = &define;
  defining.define_count = 1;
  assert_int_equal(hmoec_graph_create("g", &options, &graph), HMOEC_OK);
  hmoec_graph_output(graph, "y", hmoec_graph_input(graph, "x", HMOEC_SHAPE(HMOEC_F32, HMOEC_DYNAMIC, 3)));
  USAGE(hmoec_compile_graph(graph, &defining, &made), "d=3: only a spec has dims and options");
  hmoec_graph_destroy(graph);
  USAGE(hmoec_compile_text("m", spec, 3, &(hmoec_options){.struct_size = 0, .message = keep}, &made), "struct_size");
  USAGE(hmoec_compile_text("m", spec, 3, &(hmoec_options){.struct_size = sizeof options + 8, .message = keep}, &made),
        "struct_size");
  hmoec_options wrong = options;
  wrong.define_count = 2;
  USAGE(hmoec_compile_text("m", spec, 3, &wrong, &made), "expected 2 definitions, found NULL");
  wrong = options;
  wrong.tokens = -1;
  USAGE(hmoec_options_validate(&wrong, NULL), "expected table-budget, memory and tokens to be at least 0");
  wrong = options;
  wrong.mcpu = wrong.cpu = wrong.dtype = "";
  USAGE(hmoec_options_validate(&wrong, NULL), "expected dtype f32 or bf16, found ''");
  wrong = options;
  wrong.target = "gpu";
  USAGE(hmoec_options_validate(&wrong, "--"), "expected --target cpu or cuda, found 'gpu'");
  wrong.struct_size = offsetof(hmoec_options, target); /* of a program that knows no target */
  assert_int_equal(hmoec_options_validate(&wrong, "--"), HMOEC_OK);

  char *bytes = folder;
  size_t size = 7;
  USAGE(hmoec_compilation_emit(NULL, HMOEC_OUTPUT_OBJECT, &bytes, &size), "");
  assert_true(!bytes && size == 0);
  USAGE(hmoec_compilation_emit(compilation, HMOEC_OUTPUT_OBJECT, NULL, &size), "expected a place for the bytes, found NULL");
  USAGE(hmoec_compilation_emit(compilation, HMOEC_OUTPUT_OBJECT, &bytes, NULL), "expected a place for their number, found NULL");
  USAGE(hmoec_compilation_emit(compilation, (hmoec_output)99, &bytes, &size), "there is no output number 99");
  USAGE(hmoec_compilation_emit(compilation, (hmoec_output)-1, &bytes, &size), "there is no output number -1");
  assert_null(bytes);
  USAGE(hmoec_compilation_write(NULL, folder), "");
  USAGE(hmoec_compilation_write(compilation, NULL), "expected a directory to write to, found NULL");
  USAGE(hmoec_compilation_write(compilation, ""), "expected a directory to write to, found ''");
  USAGE(hmoec_compilation_random_weights(compilation, 0, NULL), "expected the path of a file, found NULL");
  USAGE(hmoec_compilation_random_weights(compilation, 0, ""), "expected the path of a file, found ''");
  USAGE(hmoec_import_directory(NULL, &options, &bytes), "expected a directory, found NULL");
  USAGE(hmoec_import_directory("", &options, &bytes), "expected a directory, found ''");
  USAGE(hmoec_import_directory(folder, &options, NULL), "expected a place for the text, found NULL");
  INPUT(hmoec_import_directory("owner/model", &options, &bytes), "of the Hugging Face Hub is downloaded first");
  USAGE(hmoec_check(NULL, &options, NULL), "expected the path of a model, found NULL");
  USAGE(hmoec_check("m", &options, &(hmoec_check_options){.struct_size = 3}), "struct_size");
  USAGE(hmoec_explain("", &options, NULL), "expected the path of a model, found ''");
  USAGE(hmoec_explain("m", &options, &(hmoec_explain_options){.struct_size = 0}), "struct_size");
  assert_null(hmoec_compilation_name(NULL));
  hmoec_compilation_destroy(NULL);
  hmoec_free(NULL);
}

/* What is listed is taken, and nothing else. */
static void test_option_values(void **state) {
  (void)state;
  static const struct {
    const char *name, *first;
    size_t field, least;
  } texts[] = {{"target", "cpu", offsetof(hmoec_options, target), 2},
               {"dtype", "f32", offsetof(hmoec_options, dtype), 2},
               {"strategy", "auto", offsetof(hmoec_options, strategy), 5},
               {"cpu", "amx", offsetof(hmoec_options, cpu), 5},
               {"mcpu", "native", offsetof(hmoec_options, mcpu), 20},
               {"print-ir-after", "all", offsetof(hmoec_options, print_ir_after), 8}};
  for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
    size_t count = 0;
    const char *value;
    assert_string_equal(hmoec_option_value(texts[t].name, 0), texts[t].first);
    for (; (value = hmoec_option_value(texts[t].name, count)); count++) {
      hmoec_options with = options;
      *(const char **)(void *)((char *)&with + texts[t].field) = value;
      assert_int_equal(hmoec_options_validate(&with, "--"), HMOEC_OK);
      *(const char **)(void *)((char *)&with + texts[t].field) = "none of them";
      USAGE(hmoec_options_validate(&with, "--"), "found 'none of them'");
    }
    assert_true(count >= texts[t].least);
    assert_null(hmoec_option_value(texts[t].name, count + 1));
  }
  assert_null(hmoec_option_value("tokens", 0));
  assert_null(hmoec_option_value(NULL, 0));
}

static void test_opening(void **state) {
  (void)state;
  const hmoe_weights weights = {.path = weights_path};
  hmoe_model *opened = model;
  const struct hmoe_model_object *loaded = object;
  USAGE(hmoec_compilation_load(compilation, NULL), "expected a place for the object, found NULL");
  USAGE(hmoec_compilation_load(NULL, &loaded), "");
  assert_null(loaded);
  USAGE(hmoec_compilation_open(compilation, &weights, NULL, NULL), "expected a place for the model, found NULL");
  INPUT(hmoec_compilation_open(compilation, NULL, NULL, &opened), "open: weights is NULL");
  assert_null(opened);
  INPUT(hmoec_compilation_open(compilation, &(hmoe_weights){.kind = 7}, NULL, &opened), "weights.kind: expected a path");
  INPUT(hmoec_compilation_open(compilation, &(hmoe_weights){.path = NULL}, NULL, &opened), "weights.path is NULL");
  INPUT(hmoec_compilation_open(compilation, &(hmoe_weights){.kind = HMOE_WEIGHTS_FD, .fd = -1}, NULL, &opened),
        "Bad file descriptor");
  INPUT(hmoec_compilation_open(compilation, &weights, &(hmoe_options){.struct_size = 3}, &opened), "options.struct_size");
  INPUT(hmoec_compilation_pack(compilation, NULL, NULL, "p.hmw"), "pack: weights is not given");
  USAGE(hmoec_compilation_pack(compilation, &weights, NULL, NULL), "expected the path of a file, found NULL");
  USAGE(hmoec_compilation_pack(compilation, &weights, NULL, ""), "expected the path of a file, found ''");

  INVALID(hmoe_model_open(NULL, &weights, NULL, &opened), "object is NULL");
  INVALID(hmoe_model_open(object, NULL, NULL, &opened), "weights is NULL");
  INVALID(hmoe_model_open(object, &weights, NULL, NULL), "out_model is NULL");
  INVALID(hmoe_model_pack(object, &weights, NULL, NULL), "the path is not given");
  INVALID(hmoe_model_save(NULL, "p.hmw"), "");
  INVALID(hmoe_model_save(model, NULL), "");
  hmoe_model_close(NULL);
}

static void test_signatures(void **state) {
  (void)state;
  USAGE(hmoec_compilation_signature(compilation, NULL, NULL), "expected a place for the signature, found NULL");
  USAGE(hmoec_compilation_signature(compilation, "", &signature), "there is no entry ''; the model has: run");
  assert_int_equal(hmoec_compilation_signature(compilation, NULL, &signature), HMOEC_OK);
  assert_int_equal(hmoec_signature_shape(NULL, dims).rank, 0);
  assert_true(hmoec_signature_shape(&signature.inputs[0], NULL).dims[0] == HMOEC_DYNAMIC);
  hmoec_compilation_random_input(NULL, &signature.inputs[0], dims, 0, x);
  hmoec_compilation_random_input(compilation, NULL, dims, 0, x);
  hmoec_compilation_random_input(compilation, &signature.inputs[0], NULL, 0, x);
  hmoec_compilation_random_input(compilation, &signature.inputs[0], dims, 0, NULL);
  assert_true(hmoec_compilation_flops(NULL, 1, 1) <= 0 && hmoec_compilation_flops(compilation, -3, 1) >= 0);

  const hmoec_shape none = {.rank = 99}, odd = {.element = (hmoec_element)77, .rank = 1};
  char text[HMOEC_SHAPE_CHARS];
  assert_string_equal(hmoec_shape_string(NULL, text, sizeof text), "no shape");
  assert_string_equal(hmoec_shape_string(&none, text, sizeof text), "no shape");
  assert_string_equal(hmoec_shape_string(&odd, text, sizeof text), "no shape");
  assert_null(hmoec_shape_string(&none, NULL, 0));
  assert_true(hmoec_shape_elements(NULL) == INT64_MAX && hmoec_shape_elements(&none) == INT64_MAX);
  assert_false(hmoec_shape_compatible(NULL, NULL));
  assert_false(hmoec_shape_compatible(&none, &none));
  hmoec_message_print(NULL, &(hmoec_message){.text = "text"});
  hmoec_message_print(stderr, NULL);
  hmoec_message_print(stderr, &(hmoec_message){.text = NULL});
  hmoec_message_print(stderr, &(hmoec_message){.severity = (hmoec_severity)9, .text = "text"});
}

static void test_runs(void **state) {
  (void)state;
  const hmoe_weights weights = {.path = weights_path};
  USAGE(hmoec_compilation_interpret(NULL, &weights, dims, inputs, outputs), "");
  USAGE(hmoec_compilation_interpret(compilation, NULL, dims, inputs, outputs), "the interpreter reads weights from a path");
  USAGE(hmoec_compilation_interpret(compilation, &weights, NULL, inputs, outputs), "expected dims, found NULL");
  USAGE(hmoec_compilation_interpret(compilation, &weights, dims, NULL, outputs), "expected inputs, found NULL");
  USAGE(hmoec_compilation_interpret(compilation, &weights, dims, inputs, NULL), "expected outputs, found NULL");
  USAGE(hmoec_compilation_interpret(compilation, &weights, dims, no_inputs, outputs), "input x is NULL");
  USAGE(hmoec_compilation_interpret(compilation, &weights, (int64_t[]){-1}, inputs, outputs), "expected tokens to be at least 0");
  INVALID(hmoe_model_run(NULL, 1, dims, inputs, outputs), "");
  INVALID(hmoe_model_run(model, 0, dims, inputs, outputs), "");
  INVALID(hmoe_model_run(model, 99, dims, inputs, outputs), "");
  INVALID(hmoe_model_run(model, 1, NULL, inputs, outputs), "");
  INVALID(hmoe_model_run(model, 1, dims, NULL, outputs), "");
  INVALID(hmoe_model_run(model, 1, dims, inputs, NULL), "");
  INVALID(hmoe_model_run(model, 1, dims, no_inputs, outputs), "x");
  INVALID(hmoe_model_run(model, 1, dims, inputs, no_outputs), "y");
  INVALID(hmoe_model_run(model, 1, (int64_t[]){-1}, inputs, outputs), "");
  assert_null(hmoe_model_cpu(NULL));
  assert_true(hmoe_model_threads(NULL) == 0 && hmoe_model_weight_bytes(NULL) == 0 && hmoe_model_workspace_bytes(NULL) == 0);
  assert_true(hmoe_state_length(NULL) == 0 && hmoe_state_source_length(NULL) == 0 && hmoe_state_bytes(NULL) == 0);
  hmoe_state *made;
  INVALID(hmoe_state_create(NULL, NULL, &made), "");
  INVALID(hmoe_state_create(model, &(hmoe_state_options){.struct_size = sizeof(hmoe_state_options)}, &made), "");
  INVALID(hmoe_state_rewind(NULL, 0), "");
  INVALID(hmoe_state_reorder(NULL, NULL), "");
  hmoe_state_destroy(NULL);
  int64_t tokens[4], length;
  INVALID(hmoe_model_generate(NULL, NULL, NULL, tokens, &length), "");
  INVALID(hmoe_model_generate(model, NULL, NULL, tokens, &length), "");
  assert_true(hmoe_generation_width(NULL, NULL, NULL) < 0);
  assert_non_null(hmoe_status_string((hmoe_status)99));
}

static void test_graphs(void **state) {
  (void)state;
  hmoec_graph *graph = NULL;
  USAGE(hmoec_graph_create("g", &options, NULL), "expected a place for the graph, found NULL");
  INPUT(hmoec_graph_create(NULL, &options, &graph), "the model name '' is not a C identifier");
  INPUT(hmoec_graph_create("", &options, &graph), "the model name '' is not a C identifier");
  INPUT(hmoec_graph_create("typename", &options, &graph), "'typename' cannot name the model: it is a keyword of C or C++");
  assert_null(graph);
  assert_int_equal(hmoec_graph_status(NULL), HMOEC_USAGE_ERROR);
  hmoec_graph_destroy(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_compilations), cmocka_unit_test(test_option_values),
                                     cmocka_unit_test(test_opening),      cmocka_unit_test(test_signatures),
                                     cmocka_unit_test(test_runs),         cmocka_unit_test(test_graphs)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
