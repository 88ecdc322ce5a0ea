/* The public library: graphs, compilations, what they give, and what is refused. */
#include "library_fixture.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static void expect_text(const messages *all, const char *expected) {
  if (strstr(all->text, expected)) return;
  print_error("expected \"%s\" in\n%s\n", expected, all->text);
  fail();
}

static char *emit(hmoec_compilation *compilation, hmoec_output output, size_t *out_size) {
  char *bytes;
  assert_int_equal(hmoec_compilation_emit(compilation, output, &bytes, out_size), HMOEC_OK);
  assert_non_null(bytes);
  assert_true(*out_size > 0);
  return bytes;
}

static void expect_same(hmoec_compilation *a, hmoec_compilation *b, hmoec_output output) {
  size_t a_size, b_size;
  char *a_bytes = emit(a, output, &a_size), *b_bytes = emit(b, output, &b_size);
  assert_int_equal(a_size, b_size);
  assert_memory_equal(a_bytes, b_bytes, a_size);
  hmoec_free(a_bytes);
  hmoec_free(b_bytes);
}

/* A graph and the spec of the same model: one IR, one object; with the activation built in, and in C. */
static void test_graph_is_spec(void **state) {
  (void)state;
  static const char *const activations[] = {"relu", "c:" ACTIVATIONS ":quick_gelu"};
  for (size_t i = 0; i < 2; i++) {
    messages all;
    hmoec_options options = options_to(&all);
    const hmoec_define define = {"activation", activations[i]};
    hmoec_options spec_options = options;
    hmoec_graph *graph;
    hmoec_compilation *built, *read;
    spec_options.defines = &define;
    spec_options.define_count = 1;
    assert_int_equal(hmoec_graph_create("mixture", &options, &graph), HMOEC_OK);
    build_mixture(graph, activations[i]);
    assert_int_equal(hmoec_graph_status(graph), HMOEC_OK);
    assert_int_equal(hmoec_compile_graph(graph, &options, &built), HMOEC_OK);
    assert_int_equal(hmoec_compile_text("mixture.spec", mixture_spec, strlen(mixture_spec), &spec_options, &read), HMOEC_OK);
    assert_string_equal(hmoec_compilation_name(built), "mixture");
    for (int output = HMOEC_OUTPUT_OBJECT; output <= HMOEC_OUTPUT_ASSEMBLY; output++)
      expect_same(built, read, (hmoec_output)output);
    assert_string_equal(all.text, "");
    hmoec_compilation_destroy(read);
    hmoec_compilation_destroy(built);
    hmoec_graph_destroy(graph);
  }
}

/* One graph, compiled twice, with other options; and then it stays as it is. */
static void test_graph_compiles_again(void **state) {
  (void)state;
  messages all;
  hmoec_options options = options_to(&all), bf16 = options;
  hmoec_graph *graph;
  hmoec_compilation *first, *second, *third;
  size_t size;
  bf16.dtype = "bf16";
  assert_int_equal(hmoec_graph_create("mixture", &options, &graph), HMOEC_OK);
  build_mixture(graph, "silu");
  assert_int_equal(hmoec_compile_graph(graph, &options, &first), HMOEC_OK);
  assert_int_equal(hmoec_compile_graph(graph, &bf16, &second), HMOEC_OK);
  assert_int_equal(hmoec_compile_graph(graph, NULL, &third), HMOEC_OK);
  expect_same(first, third, HMOEC_OUTPUT_OBJECT);
  char *hmk = emit(second, HMOEC_OUTPUT_HMK, &size);
  assert_non_null(memmem(hmk, size, "bf16", 4));
  hmoec_free(hmk);
  assert_null(hmoec_graph_input(graph, "z", HMOEC_SHAPE(HMOEC_F32, 3)).handle);
  expect_text(&all, "graph mixture was compiled and can no longer be changed");
  hmoec_compilation_destroy(third);
  hmoec_compilation_destroy(second);
  hmoec_compilation_destroy(first);
  hmoec_graph_destroy(graph);
}

/* Compiled code, run in this process, against the interpreter. */
static void test_open_run_interpret(void **state) {
  (void)state;
  enum { TOKENS = 7 };
  messages all;
  hmoec_options options = options_to(&all);
  hmoec_graph *graph;
  hmoec_compilation *compilation;
  hmoe_model *model;
  hmoec_signature signature;
  char path[] = "/tmp/hmoe-library-XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  close(fd);
  const hmoe_weights weights = {.path = path};
  const int64_t tokens = TOKENS;
  float x[TOKENS * D_MODEL], y[TOKENS * D_MODEL], expected[TOKENS * D_MODEL];
  for (int i = 0; i < TOKENS * D_MODEL; i++) x[i] = sinf((float)i);
  assert_int_equal(hmoec_graph_create("mixture", &options, &graph), HMOEC_OK);
  build_mixture(graph, "c:" ACTIVATIONS ":quick_gelu");
  assert_int_equal(hmoec_compile_graph(graph, &options, &compilation), HMOEC_OK);
  assert_int_equal(hmoec_compilation_signature(compilation, NULL, &signature), HMOEC_OK);
  assert_string_equal(signature.name, "run");
  assert_string_equal(signature.size_names[0], "tokens");
  assert_int_equal(signature.input_count, 1);
  assert_string_equal(signature.inputs[0].name, "x");
  assert_int_equal(signature.inputs[0].shape.dims[1], D_MODEL);
  assert_int_equal(hmoec_compilation_signature(compilation, "decode", &signature), HMOEC_USAGE_ERROR);
  expect_text(&all, "there is no entry 'decode'; the model has: run");
  assert_int_equal(hmoec_compilation_random_weights(compilation, 3, path), HMOEC_OK);
  assert_int_equal(hmoec_compilation_open(compilation, &weights, NULL, &model), HMOEC_OK);
  assert_int_equal(hmoe_model_run(model, 1, &tokens, (const void *[]){x}, (void *[]){y}), HMOE_OK);
  assert_int_equal(hmoec_compilation_interpret(compilation, &weights, &tokens, (const void *[]){x}, (void *[]){expected}),
                   HMOEC_OK);
  for (int i = 0; i < TOKENS * D_MODEL; i++) assert_true(fabsf(y[i] - expected[i]) < 1e-5F);
  hmoe_model_close(model);

  unlink(path); /* a failure says what the runtime says, and what went before does not count */
  assert_int_equal(hmoec_compilation_open(compilation, &weights, NULL, &model), HMOEC_INPUT_ERROR);
  assert_null(model);
  expect_text(&all, path);
  assert_int_equal(hmoec_compilation_interpret(compilation, &(hmoe_weights){.kind = HMOE_WEIGHTS_FD}, &tokens, (const void *[]){x},
                                               (void *[]){y}),
                   HMOEC_USAGE_ERROR);
  hmoec_compilation_destroy(compilation);
  hmoec_graph_destroy(graph);
}

static void test_write(void **state) {
  (void)state;
  messages all;
  hmoec_options options = options_to(&all);
  hmoec_compilation *compilation;
  char directory[] = "/tmp/hmoe-library-XXXXXX", path[128];
  static const char *const suffixes[] = {"h", "json", "o"};
  assert_non_null(mkdtemp(directory));
  assert_int_equal(hmoec_compile_text("mixture.spec", mixture_spec, strlen(mixture_spec), &options, &compilation), HMOEC_OK);
  snprintf(path, sizeof path, "%s/deep/er", directory);
  assert_int_equal(hmoec_compilation_write(compilation, path), HMOEC_OK);
  for (size_t i = 0; i < 3; i++) {
    struct stat info;
    snprintf(path, sizeof path, "%s/deep/er/mixture.%s", directory, suffixes[i]);
    assert_int_equal(stat(path, &info), 0);
    assert_true(info.st_size > 100);
    unlink(path);
  }
  snprintf(path, sizeof path, "%s/deep/er", directory);
  rmdir(path);
  snprintf(path, sizeof path, "%s/deep", directory);
  rmdir(path);
  rmdir(directory);
  assert_int_equal(hmoec_compilation_write(compilation, "/dev/null/x"), HMOEC_INPUT_ERROR);
  hmoec_compilation_destroy(compilation);
}

/* Every refused call says why at its place, and what comes of it is quiet. */
static void test_graph_errors(void **state) {
  (void)state;
  messages all;
  hmoec_options options = options_to(&all);
  hmoec_graph *graph;
  hmoec_compilation *compilation;
  assert_int_equal(hmoec_graph_create("two words", &options, &graph), HMOEC_INPUT_ERROR);
  assert_null(graph);
  expect_text(&all, "the model name 'two words' is not a C identifier");
  options = options_to(&all);
  assert_int_equal(hmoec_graph_create("m", &options, &graph), HMOEC_OK);
  hmoec_graph_value x = hmoec_graph_input(graph, "x", HMOEC_SHAPE(HMOEC_F32, HMOEC_DYNAMIC, 8));
  hmoec_graph_value w = hmoec_graph_parameter(graph, "w", HMOEC_SHAPE(HMOEC_F32, 4, 9));
  hmoec_graph_at(graph, "model.c", 12);
  hmoec_graph_value y = hmoec_graph_linear(graph, x, w, HMOEC_NONE);
  assert_null(y.handle);
  expect_text(&all, "model.c:12: error: linear: expected w f32[out, 8], found f32[4, 9]");
  hmoec_graph_at(graph, "model.c", 13);
  y = hmoec_graph_activate(graph, y, "relu"); /* of what failed: nothing more is said */
  hmoec_graph_output(graph, "y", y);
  assert_int_equal(all.errors, 1);
  assert_int_equal(hmoec_graph_status(graph), HMOEC_INPUT_ERROR);
  assert_int_equal(hmoec_compile_graph(graph, &options, &compilation), HMOEC_INPUT_ERROR);
  assert_null(compilation);
  assert_int_equal(all.errors, 1);
  hmoec_graph_activate(graph, x, "swish");
  expect_text(&all, "model.c:13: error: activate: expected function to be one of relu");
  hmoec_graph_activate(graph, x, "c:nothing.c:f");
  expect_text(&all, "nothing.c");
  hmoec_graph_activate(graph, x, NULL);
  expect_text(&all, "activate: attribute function has no text");
  hmoec_graph_op(graph, "liner", &x, 1, NULL, 0, NULL);
  expect_text(&all, "there is no op named 'liner'");
  hmoec_graph_op(graph, "add", (hmoec_graph_value[]){x, x, x}, 3, NULL, 0, NULL);
  expect_text(&all, "add takes no more than 2 operands, found 3");
  hmoec_graph_op(graph, "fused_experts", &x, 1, NULL, 0, NULL);
  expect_text(&all, "fused_experts cannot be built like this");
  hmoec_graph_stack(graph, "s{}", 0, HMOEC_SHAPE(HMOEC_F32, 3));
  expect_text(&all, "expected a stack of 1 or more tensors");
  assert_int_equal(hmoec_graph_shape(graph, HMOEC_NONE).rank, 0);
  assert_int_equal(hmoec_graph_shape(graph, x).dims[0], HMOEC_DYNAMIC);
  hmoec_graph_destroy(graph);

  options = options_to(&all); /* an operand that was never made */
  assert_int_equal(hmoec_graph_create("m", &options, &graph), HMOEC_OK);
  x = hmoec_graph_input(graph, "x", HMOEC_SHAPE(HMOEC_F32, HMOEC_DYNAMIC, 8));
  hmoec_graph_add(graph, x, HMOEC_NONE);
  expect_text(&all, "add: operand b is missing");
  hmoec_graph_destroy(graph);

  options = options_to(&all);
  assert_int_equal(hmoec_graph_create("m", &options, &graph), HMOEC_OK);
  hmoec_graph_output(graph, "y", HMOEC_NONE);
  expect_text(&all, "output 'y' is given no value");
  hmoec_graph_scope_end(graph);
  expect_text(&all, "a scope ends that did not begin");
  hmoec_graph_destroy(graph);
}

/* What a careless program passes: every call is refused with its reason. */
static void test_careless_graph(void **state) {
  (void)state;
  enum { ROWS = 24 };
  messages all;
  hmoec_options options = options_to(&all);
  hmoec_graph *g, *other;
  const hmoec_shape good = HMOEC_SHAPE(HMOEC_F32, HMOEC_DYNAMIC, 8), deep = {.rank = 1000}, negative = {.rank = -1},
                    strange = {.element = (hmoec_element)77, .rank = 1, .dims = {8}};
  const hmoec_attribute twice[] = {HMOEC_TEXT("function", "relu"), HMOEC_TEXT("function", "gelu")};
  const hmoec_attribute kind = {.name = "function", .kind = (hmoec_attribute_kind)77},
                        ints = {.name = "shape", .kind = HMOEC_ATTRIBUTE_INTS, .int_count = 2};
  assert_int_equal(hmoec_graph_create(NULL, &options, &g), HMOEC_INPUT_ERROR);
  assert_null(g);
  expect_text(&all, "the model name '' is not a C identifier");
  assert_int_equal(hmoec_graph_create("other", &options, &other), HMOEC_OK);
  hmoec_graph_value foreign = hmoec_graph_input(other, "x", good);
  for (int row = 0; row < ROWS; row++) {
    static const char *const expected[ROWS] = {
        "expected the name of an input, found NULL",
        "input 'a': expected 0 to 4 dimensions, found 1000",
        "input 'a': expected 0 to 4 dimensions, found -1",
        "input 'a': expected an element of hmoec_element, found 77",
        "input 'a': its dynamic dimension 0 has no name",
        "expected the key of a parameter, found NULL",
        "parameter 'w': expected 0 to 4 dimensions, found 1000",
        "expected the key of a stack, found NULL",
        "expected the prefix of a scope, found NULL",
        "expected the name of an output, found NULL",
        "output 'y' is given a value of another graph",
        "expected the name of a setting, found NULL",
        "expected the name of an op, found NULL",
        "expected operands, found NULL",
        "expected attributes, found NULL",
        "activate: attribute function is given twice",
        "activate: expected function to be of a hmoec_attribute_kind, found 77",
        "reshape: attribute shape has no integers",
        "add: operand b is a value of another graph",
        "activate: expected function to be a name or c:FILE:FUNCTION, found \"@f\"",
        "expected the path of a spec, found NULL",
        "expected 2 definitions, found NULL in place of number 1",
        "expected the name of a block, found NULL",
        "expected arguments, found NULL",
    };
    options = options_to(&all);
    assert_int_equal(hmoec_graph_create("m", &options, &g), HMOEC_OK);
    hmoec_graph_value x = hmoec_graph_input(g, "x", good);
    hmoec_graph_at(g, NULL, 0);
    switch (row) {
    case 0: hmoec_graph_input(g, NULL, good); break;
    case 1: hmoec_graph_input(g, "a", deep); break;
    case 2: hmoec_graph_input(g, "a", negative); break;
    case 3: hmoec_graph_input(g, "a", strange); break;
    case 4: hmoec_graph_input_named(g, "a", good, NULL, NULL); break;
    case 5: hmoec_graph_parameter(g, NULL, good); break;
    case 6: hmoec_graph_parameter(g, "w", deep); break;
    case 7: hmoec_graph_stack(g, NULL, 2, good); break;
    case 8: hmoec_graph_scope_begin(g, NULL); break;
    case 9: hmoec_graph_output(g, NULL, x); break;
    case 10: hmoec_graph_output(g, "y", foreign); break;
    case 11: hmoec_graph_generation(g, NULL, NULL, 0); break;
    case 12: hmoec_graph_op(g, NULL, &x, 1, NULL, 0, NULL); break;
    case 13: hmoec_graph_op(g, "add", NULL, 2, NULL, 0, NULL); break;
    case 14: hmoec_graph_op(g, "activate", &x, 1, NULL, 1, NULL); break;
    case 15: hmoec_graph_op(g, "activate", &x, 1, twice, 2, NULL); break;
    case 16: hmoec_graph_op(g, "activate", &x, 1, &kind, 1, NULL); break;
    case 17: hmoec_graph_op(g, "reshape", &x, 1, &ints, 1, NULL); break;
    case 18: hmoec_graph_add(g, x, foreign); break;
    case 19: hmoec_graph_activate(g, x, "@f"); break;
    case 20: hmoec_graph_include(g, NULL, NULL, 0); break;
    case 21: hmoec_graph_include(g, "a.spec", NULL, 2); break;
    case 22: hmoec_graph_block(g, NULL, NULL, 0, NULL, 3); break;
    default: hmoec_graph_block(g, "b", NULL, 1, NULL, 3);
    }
    expect_text(&all, expected[row]);
    assert_int_equal(all.errors, 1);
    assert_int_equal(hmoec_graph_shape(g, foreign).rank, 0);
    hmoec_graph_add(g, x, HMOEC_NONE); /* might come of the error before */
    hmoec_graph_op(g, "add", &x, 1, NULL, 0, NULL); /* cannot */
    assert_int_equal(all.errors, 2);
    hmoec_graph_destroy(g);
  }
  hmoec_graph_destroy(other);
}

/* Of a graph or compilation that could not be made, everything is refused, in silence. */
static void test_nothing(void **state) {
  (void)state;
  hmoec_graph_value results[HMOEC_MAX_RESULTS];
  hmoec_compilation *compilation;
  hmoec_signature signature;
  const struct hmoe_model_object *object;
  hmoe_model *model;
  char *bytes;
  size_t size;
  hmoec_graph_at(NULL, "a.c", 1);
  hmoec_graph_scope_begin(NULL, "a");
  hmoec_graph_scope_end(NULL);
  build_mixture(NULL, "relu");
  hmoec_graph_generation(NULL, "pad_token", NULL, 0);
  hmoec_graph_generation_number(NULL, "top_p", 1);
  hmoec_graph_include(NULL, "a.spec", NULL, 0);
  assert_int_equal(hmoec_graph_block(NULL, "b", NULL, 0, results, HMOEC_MAX_RESULTS), 0);
  assert_null(results[0].handle);
  assert_int_equal(hmoec_graph_shape(NULL, HMOEC_NONE).rank, 0);
  assert_int_equal(hmoec_graph_status(NULL), HMOEC_USAGE_ERROR);
  assert_int_equal(hmoec_compile_graph(NULL, NULL, &compilation), HMOEC_USAGE_ERROR);
  assert_null(compilation);
  assert_null(hmoec_compilation_name(NULL));
  assert_int_equal(hmoec_compilation_emit(NULL, HMOEC_OUTPUT_OBJECT, &bytes, &size), HMOEC_USAGE_ERROR);
  assert_int_equal(hmoec_compilation_write(NULL, "x"), HMOEC_USAGE_ERROR);
  assert_int_equal(hmoec_compilation_load(NULL, &object), HMOEC_USAGE_ERROR);
  assert_int_equal(hmoec_compilation_open(NULL, NULL, NULL, &model), HMOEC_USAGE_ERROR);
  assert_null(model);
  assert_int_equal(hmoec_compilation_pack(NULL, NULL, NULL, NULL), HMOEC_USAGE_ERROR);
  assert_int_equal(hmoec_compilation_signature(NULL, NULL, &signature), HMOEC_USAGE_ERROR);
  assert_int_equal(hmoec_compilation_interpret(NULL, NULL, NULL, NULL, NULL), HMOEC_USAGE_ERROR);
  assert_int_equal(hmoec_compilation_random_weights(NULL, 0, "x"), HMOEC_USAGE_ERROR);
  hmoec_compilation_destroy(NULL);
  hmoec_graph_destroy(NULL);
}

static void test_careless_compilation(void **state) {
  (void)state;
  messages all;
  hmoec_options options = options_to(&all);
  hmoec_compilation *c;
  hmoe_model *model;
  char *text;
  const int64_t tokens = 1;
  const hmoe_weights weights = {.path = "/nothing.safetensors"};
  assert_int_equal(hmoec_compile_file(NULL, &options, &c), HMOEC_USAGE_ERROR);
  expect_text(&all, "expected the path of a model, found NULL");
  assert_int_equal(hmoec_compile_text(NULL, "", 0, &options, &c), HMOEC_USAGE_ERROR);
  assert_int_equal(hmoec_compile_text("m.spec", NULL, 0, &options, &c), HMOEC_USAGE_ERROR);
  assert_int_equal(hmoec_import_directory(NULL, &options, &text), HMOEC_USAGE_ERROR);
  assert_int_equal(all.errors, 4);
  options.dump_directory = "";
  assert_int_equal(hmoec_compile_text("m.spec", mixture_spec, strlen(mixture_spec), &options, &c), HMOEC_USAGE_ERROR);
  expect_text(&all, "expected a directory to write to, found ''");
  options = options_to(&all);
  assert_int_equal(hmoec_compile_text("m.spec", mixture_spec, strlen(mixture_spec), &options, &c), HMOEC_OK);
  assert_int_equal(hmoec_compilation_write(c, ""), HMOEC_USAGE_ERROR);
  assert_int_equal(hmoec_compilation_write(c, NULL), HMOEC_USAGE_ERROR);
  assert_int_equal(hmoec_compilation_random_weights(c, 0, NULL), HMOEC_USAGE_ERROR);
  assert_int_equal(hmoec_compilation_interpret(c, NULL, &tokens, NULL, NULL), HMOEC_USAGE_ERROR);
  assert_int_equal(hmoec_compilation_interpret(c, &weights, NULL, NULL, NULL), HMOEC_USAGE_ERROR);
  expect_text(&all, "expected dims, found NULL");
  assert_int_equal(hmoec_compilation_interpret(c, &weights, &tokens, NULL, NULL), HMOEC_USAGE_ERROR);
  assert_int_equal(hmoec_compilation_open(c, NULL, NULL, &model), HMOEC_INPUT_ERROR);

  /* Options of an older and of a newer header. */
  size_t *older = calloc(1, 16);
  struct {
    hmoe_options options;
    char more[64];
  } newer = {.options = {.struct_size = sizeof newer}};
  assert_non_null(older);
  *older = 16;
  options_to(&all);
  assert_int_equal(hmoec_compilation_open(c, &weights, (const void *)older, &model), HMOEC_INPUT_ERROR);
  expect_text(&all, "/nothing.safetensors");
  options_to(&all);
  assert_int_equal(hmoec_compilation_open(c, &weights, &newer.options, &model), HMOEC_INPUT_ERROR);
  expect_text(&all, "/nothing.safetensors");
  newer.more[3] = 1;
  assert_int_equal(hmoec_compilation_pack(c, &weights, &newer.options, "x"), HMOEC_INPUT_ERROR);
  expect_text(&all, "is set that hmoe");
  free(older);
  hmoec_compilation_destroy(c);
}

/* Values live as long as their graph, also after it was compiled. */
static void test_values_after_compile(void **state) {
  (void)state;
  messages all;
  hmoec_options options = options_to(&all);
  hmoec_graph *g;
  hmoec_compilation *c;
  assert_int_equal(hmoec_graph_create("m", &options, &g), HMOEC_OK);
  hmoec_graph_value x = hmoec_graph_input(g, "x", HMOEC_SHAPE(HMOEC_F32, HMOEC_DYNAMIC, 8));
  hmoec_graph_value y = hmoec_graph_activate(g, x, "relu");
  hmoec_graph_output(g, "y", y);
  assert_int_equal(hmoec_compile_graph(g, &options, &c), HMOEC_OK);
  assert_int_equal(hmoec_graph_shape(g, x).dims[1], 8);
  assert_int_equal(hmoec_graph_shape(g, y).dims[1], 8);
  hmoec_compilation_destroy(c);
  hmoec_graph_destroy(g);
}

static void test_scopes(void **state) {
  (void)state;
  messages all;
  hmoec_options options = options_to(&all);
  hmoec_graph *graph;
  hmoec_compilation *compilation;
  size_t size;
  assert_int_equal(hmoec_graph_create("scopes", &options, &graph), HMOEC_OK);
  hmoec_graph_value x = hmoec_graph_input(graph, "x", HMOEC_SHAPE(HMOEC_F32, HMOEC_DYNAMIC, 8));
  hmoec_graph_scope_begin(graph, "block.%d", 3);
  hmoec_graph_scope_begin(graph, "mlp");
  hmoec_graph_value w = hmoec_graph_parameter(graph, "wi.weight", HMOEC_SHAPE(HMOEC_F32, 8, 8));
  hmoec_graph_value b = hmoec_graph_parameter(graph, "/shared.bias\nwi.bias", HMOEC_SHAPE(HMOEC_F32, 8));
  hmoec_graph_scope_end(graph);
  hmoec_graph_output(graph, "y", hmoec_graph_linear(graph, x, w, b));
  assert_int_equal(hmoec_compile_graph(graph, &options, &compilation), HMOEC_USAGE_ERROR);
  expect_text(&all, "a scope did not end");
  hmoec_graph_destroy(graph);

  options = options_to(&all);
  assert_int_equal(hmoec_graph_create("scopes", &options, &graph), HMOEC_OK);
  x = hmoec_graph_input(graph, "x", HMOEC_SHAPE(HMOEC_F32, HMOEC_DYNAMIC, 8));
  hmoec_graph_scope_begin(graph, "block.%d", 3);
  hmoec_graph_scope_begin(graph, "mlp");
  w = hmoec_graph_parameter(graph, "wi.weight", HMOEC_SHAPE(HMOEC_F32, 8, 8));
  b = hmoec_graph_parameter(graph, "/shared.bias\nwi.bias", HMOEC_SHAPE(HMOEC_F32, 8));
  hmoec_graph_scope_end(graph);
  hmoec_graph_scope_end(graph);
  hmoec_graph_output(graph, "y", hmoec_graph_linear(graph, x, w, b));
  assert_int_equal(hmoec_compile_graph(graph, &options, &compilation), HMOEC_OK);
  char *ir = emit(compilation, HMOEC_OUTPUT_HMOE, &size);
  static const char weight_key[] = "\"block.3.mlp.wi.weight\"", bias_key[] = "\"shared.bias\\0Ablock.3.mlp.wi.bias\"";
  assert_non_null(memmem(ir, size, weight_key, sizeof weight_key - 1));
  assert_non_null(memmem(ir, size, bias_key, sizeof bias_key - 1));
  hmoec_free(ir);
  hmoec_compilation_destroy(compilation);
  hmoec_graph_destroy(graph);
}

/* Blocks of a spec called from C give what the spec gives that calls them. */
static void test_blocks(void **state) {
  (void)state;
  static const char declarations[] = "include \"" HMOE_SOURCE_DIR "/models/layer-common.spec\"\n"
                                     "dim bottleneck = 64, hyper_hidden = 128\n"
                                     "dim expert_embedding = 128, selection_hidden = 128, selection_embedding = 128\n"
                                     "dim layer_embedding = 10, layers = 12, layer = 1\n"
                                     "option condition = unselected in {unselected, selected, hidden_state, expert_weights, none}\n"
                                     "option aggregate = mean in {mean, sum}\n"
                                     "option generated_bias = 0 in {0, 1}\n"
                                     "option strategy = auto in {auto, table, cache, factored, per_token}\n"
                                     "include \"" HMOE_SOURCE_DIR "/models/hypermoe-common.spec\"\n";
  messages all;
  hmoec_options options = options_to(&all), spec_options;
  const hmoec_define defines[] = {{"d_model", "48"}, {"d_ff", "80"}, {"bottleneck", "8"}, {"activation", "gelu"}};
  hmoec_graph *graph;
  hmoec_compilation *built, *read;
  char path[] = "/tmp/hmoe-blocks-XXXXXX.spec";
  int fd = mkstemps(path, 5);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, declarations, sizeof declarations - 1), sizeof declarations - 1);
  close(fd);

  assert_int_equal(hmoec_graph_create("hypermoe_layer", &options, &graph), HMOEC_OK);
  hmoec_graph_include(graph, path, defines, 4);
  hmoec_graph_value x = hmoec_graph_input(graph, "x", HMOEC_SHAPE(HMOEC_F32, HMOEC_DYNAMIC, 48)), routing[3], mixture, weights[2],
                    hyper;
  assert_int_equal(hmoec_graph_block(graph, "switch_route", &HMOEC_VALUE_ARGUMENT(x), 1, routing, 3), 3);
  const hmoec_graph_routing r = {routing[0], routing[1], routing[2]};
  assert_int_equal(hmoec_graph_block(graph, "switch_experts",
                                     (hmoec_graph_argument[]){HMOEC_VALUE_ARGUMENT(x), HMOEC_ROUTING_ARGUMENT(r)}, 2, &mixture, 1),
                   1);
  assert_int_equal(hmoec_graph_block(graph, "switch_weights", NULL, 0, weights, 2), 2);
  const hmoec_graph_argument arguments[] = {
      HMOEC_VALUE_ARGUMENT(x),
      HMOEC_ROUTING_ARGUMENT(r),
      HMOEC_VALUE_ARGUMENT(weights[0]),
      HMOEC_VALUE_ARGUMENT(weights[1]),
      {.name = "generator", .kind = HMOEC_ARGUMENT_TEXT, .text = "param_gen"},
      {.name = "row", .kind = HMOEC_ARGUMENT_INT, .integer = 1},
      {.name = "rows", .kind = HMOEC_ARGUMENT_INT, .integer = 12},
  };
  assert_int_equal(hmoec_graph_block(graph, "hyper", arguments, 7, &hyper, 1), 1);
  hmoec_graph_output(graph, "y", hmoec_graph_add(graph, mixture, hyper));
  assert_int_equal(hmoec_compile_graph(graph, &options, &built), HMOEC_OK);
  spec_options = options;
  spec_options.defines = defines;
  spec_options.define_count = 4;
  assert_int_equal(hmoec_compile_file(HMOE_SOURCE_DIR "/models/hypermoe-layer.spec", &spec_options, &read), HMOEC_OK);
  expect_same(built, read, HMOEC_OUTPUT_HMOE);
  expect_same(built, read, HMOEC_OUTPUT_OBJECT);
  assert_string_equal(all.text, "");
  hmoec_compilation_destroy(read);
  hmoec_compilation_destroy(built);
  hmoec_graph_destroy(graph);

  options = options_to(&all); /* what is refused */
  assert_int_equal(hmoec_graph_create("m", &options, &graph), HMOEC_OK);
  hmoec_graph_at(graph, "model.c", 7);
  assert_int_equal(hmoec_graph_block(graph, "hyper", NULL, 0, NULL, 0), 0);
  expect_text(&all, "model.c:7: error: there is no block named 'hyper': no spec was included");
  hmoec_graph_include(graph, "/nothing.spec", NULL, 0);
  expect_text(&all, "model.c:7: error: cannot open /nothing.spec: No such file or directory");
  hmoec_graph_include(graph, HMOE_SOURCE_DIR "/models/moe-layer.spec", NULL, 0);
  expect_text(&all, "has dims, options, checks and blocks at its top level, nothing else");
  hmoec_graph_destroy(graph);
  options = options_to(&all);
  assert_int_equal(hmoec_graph_create("m", &options, &graph), HMOEC_OK);
  hmoec_graph_include(graph, HMOE_SOURCE_DIR "/models/layer-common.spec", &(hmoec_define){"topk", "2"}, 1);
  expect_text(&all, "the spec has no dim or option 'topk'; did you mean 'top_k'?");
  hmoec_graph_destroy(graph);
  options = options_to(&all);
  assert_int_equal(hmoec_graph_create("m", &options, &graph), HMOEC_OK);
  hmoec_graph_include(graph, HMOE_SOURCE_DIR "/models/layer-common.spec", NULL, 0);
  hmoec_graph_at(graph, "model.c", 9);
  hmoec_graph_block(graph, "switch_rout", NULL, 0, NULL, 0);
  expect_text(&all, "model.c:9: error: there is no block named 'switch_rout'; did you mean 'switch_route'?");
  hmoec_graph_block(graph, "switch_route", NULL, 0, NULL, 0);
  expect_text(&all, "model.c:9: error: block switch_route: argument 'x' is missing");
  hmoec_graph_destroy(graph);
  unlink(path);
}

static void test_options(void **state) {
  (void)state;
  hmoec_compilation *compilation;
  messages all;
  const struct {
    hmoec_options options;
    const char *expected;
  } rows[] = {
      {{.dtype = "f16"}, "expected dtype f32 or bf16, found 'f16'"},
      {{.strategy = "tables"}, "expected strategy auto, table, cache, factored or per_token, found 'tables'"},
      {{.mcpu = "znver"}, "expected mcpu native or a CPU that LLVM knows, found 'znver'"},
      {{.cpu = "sse"}, "expected cpu amx, avx512_bf16, avx512, avx2 or portable, found 'sse'"},
      {{.table_budget_bytes = -1}, "to be at least 0"},
      {{.define_count = 1}, "expected 1 definitions, found NULL in place of number 1"},
      {{.defines = &(const hmoec_define){.name = "tokens"}, .define_count = 1}, "found NULL in place of the value of number 1"},
      {{.c_include_count = 2}, "expected 2 directories of c_includes, found NULL in place of number 1"},
      {{.c_defines = &(const char *const){NULL}, .c_define_count = 1}, "expected 1 macros of c_defines, found NULL in place of"},
      {{.print_ir_after = "parse"}, "expected print-ir-after a pass, or all, found 'parse'"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    hmoec_options options = rows[i].options, sink = options_to(&all);
    options.struct_size = sizeof options;
    options.message = sink.message;
    options.message_context = sink.message_context;
    assert_int_equal(hmoec_compile_text("m.spec", mixture_spec, strlen(mixture_spec), &options, &compilation), HMOEC_USAGE_ERROR);
    assert_null(compilation);
    expect_text(&all, rows[i].expected);
  }
  hmoec_options options = options_to(&all);
  options.struct_size = sizeof options + 8;
  assert_int_equal(hmoec_compile_text("m.spec", mixture_spec, strlen(mixture_spec), &options, &compilation), HMOEC_USAGE_ERROR);
  expect_text(&all, "expected struct_size of the options to be their sizeof");
  options.struct_size = 8;
  assert_int_equal(hmoec_compile_text("m.spec", mixture_spec, strlen(mixture_spec), &options, &compilation), HMOEC_USAGE_ERROR);
  options = options_to(&all);
  options.struct_size = 0; /* forgotten */
  assert_int_equal(hmoec_compile_text("m.spec", mixture_spec, strlen(mixture_spec), &options, &compilation), HMOEC_USAGE_ERROR);
  expect_text(&all, "found 0");
  assert_int_equal(hmoec_api_version(), HMOEC_API_VERSION);
  assert_string_equal(hmoec_version(), HMOE_VERSION);
}

/* Messages come with their place and line; without a callback nothing is said. */
static void test_messages(void **state) {
  (void)state;
  static const char broken[] = "model m\ndim n = ?\ninput x: f32[n, 4]\noutput y = activte(x, function = relu)\n";
  messages all;
  hmoec_options options = options_to(&all);
  hmoec_compilation *compilation;
  char *text;
  assert_int_equal(hmoec_compile_text("m.spec", broken, strlen(broken), &options, &compilation), HMOEC_INPUT_ERROR);
  expect_text(&all, "m.spec:4:12: error: there is no op or block named 'activte'; did you mean 'activate'?\n"
                    "output y = activte(x, function = relu)\n           ^\n");
  assert_int_equal(hmoec_compile_text("m.spec", broken, strlen(broken), NULL, &compilation), HMOEC_INPUT_ERROR);
  assert_int_equal(hmoec_compile_file("/nothing/m.spec", &options, &compilation), HMOEC_INPUT_ERROR);
  expect_text(&all, "/nothing/m.spec: error: cannot open: No such file or directory");
  assert_int_equal(hmoec_import_directory("/dev", &options, &text), HMOEC_INPUT_ERROR);
  assert_null(text);
  assert_int_equal(hmoec_import_directory(HMOE_SOURCE_DIR "/tests/golden/switch-moe-tiny", &options, &text), HMOEC_OK);
  assert_int_equal(strncmp(text, "#", 1) && strncmp(text, "model", 5), 0);
  hmoec_free(text);
}

static void collect(void *context, const char *text, size_t bytes) {
  (void)text;
  *(size_t *)context += bytes;
}

static void test_trace(void **state) {
  (void)state;
  messages all;
  hmoec_options options = options_to(&all);
  hmoec_compilation *compilation;
  size_t bytes = 0;
  options.print_ir_after = "fold-duplicates";
  options.print = collect;
  options.print_context = &bytes;
  assert_int_equal(hmoec_compile_text("m.spec", mixture_spec, strlen(mixture_spec), &options, &compilation), HMOEC_OK);
  assert_true(bytes > 500);
  hmoec_compilation_destroy(compilation);
}

/* Inputs, sizes and costs without running anything. */
static void test_shapes_and_costs(void **state) {
  (void)state;
  enum { TOKENS = 7 };
  messages all;
  hmoec_options options = options_to(&all);
  hmoec_compilation *compilation;
  hmoec_signature signature;
  const int64_t tokens = TOKENS;
  char text[HMOEC_SHAPE_CHARS];
  float first[TOKENS * D_MODEL], again[TOKENS * D_MODEL], other[TOKENS * D_MODEL];
  assert_int_equal(hmoec_compile_text("m.spec", mixture_spec, strlen(mixture_spec), &options, &compilation), HMOEC_OK);
  assert_int_equal(hmoec_compilation_signature(compilation, NULL, &signature), HMOEC_OK);
  hmoec_shape shape = hmoec_signature_shape(&signature.inputs[0], &tokens);
  assert_string_equal(hmoec_shape_string(&signature.inputs[0].shape, text, sizeof text), "f32[?, 24]");
  assert_string_equal(hmoec_shape_string(&shape, text, sizeof text), "f32[7, 24]");
  assert_int_equal(hmoec_shape_elements(&shape), TOKENS * D_MODEL);
  assert_int_equal(hmoec_element_bytes(shape.element), sizeof(float));
  assert_true(hmoec_shape_compatible(&shape, &signature.inputs[0].shape));
  assert_false(hmoec_shape_compatible(&shape, &HMOEC_SHAPE(HMOEC_F32, TOKENS, D_FF)));
  hmoec_compilation_random_input(compilation, &signature.inputs[0], &tokens, 1, first);
  hmoec_compilation_random_input(compilation, &signature.inputs[0], &tokens, 1, again);
  hmoec_compilation_random_input(compilation, &signature.inputs[0], &tokens, 2, other);
  assert_memory_equal(first, again, sizeof first);
  assert_memory_not_equal(first, other, sizeof first);
  double router = 2.0 * TOKENS * EXPERTS * D_MODEL, experts = 2.0 * TOKENS * 2 * 2 * D_FF * D_MODEL;
  assert_true(hmoec_compilation_flops(compilation, TOKENS, 1) == router + experts);
  hmoec_compilation_destroy(compilation);
}

typedef struct printed {
  char text[8192];
  size_t size;
} printed;

static void print_into(void *context, const char *text, size_t bytes) {
  printed *all = context;
  assert_true(all->size + bytes < sizeof all->text);
  memcpy(all->text + all->size, text, bytes);
  all->size += bytes;
}

static void test_reports(void **state) {
  (void)state;
  messages all;
  hmoec_options options = options_to(&all);
  const int64_t tokens = 5, negative = -1;
  printed out = {.size = 0};
  char path[] = "/tmp/hmoe-library-XXXXXX.spec";
  int fd = mkstemps(path, 5);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, mixture_spec, strlen(mixture_spec)), strlen(mixture_spec));
  close(fd);

  hmoec_check_options check = {.struct_size = sizeof check, .tokens = &tokens, .print = print_into, .print_context = &out};
  assert_int_equal(hmoec_check(path, &options, &check), HMOEC_OK);
  assert_non_null(strstr(out.text, "5 tokens, seed 0, random weights, f32\n"));
  assert_non_null(strstr(out.text, "portable    y "));
  assert_null(strstr(out.text, "WRONG"));
  assert_int_equal(hmoec_check(path, NULL, NULL), HMOEC_OK);
  assert_string_equal(all.text, "");
  check.weights = "/nowhere.safetensors";
  assert_int_equal(hmoec_check(path, &options, &check), HMOEC_INPUT_ERROR);
  expect_text(&all, "/nowhere.safetensors: error: cannot open: No such file or directory");
  check.tokens = &negative;
  assert_int_equal(hmoec_check(path, &options, &check), HMOEC_USAGE_ERROR);
  expect_text(&all, "expected tokens to be from 0 to 67108864, found -1");
  check.struct_size = 0;
  assert_int_equal(hmoec_check(path, &options, &check), HMOEC_USAGE_ERROR);
  expect_text(&all, "expected struct_size of the check options to be their sizeof");

  options = options_to(&all);
  out = (printed){.size = 0};
  hmoec_explain_options explain = {.struct_size = sizeof explain, .rows = 2, .print = print_into, .print_context = &out};
  assert_int_equal(hmoec_explain(path, &options, &explain), HMOEC_OK);
  assert_non_null(strstr(out.text, "2 rows of 512 tokens, products in f32."));
  assert_non_null(strstr(out.text, "\nexperts "));
  assert_int_equal(hmoec_explain(path, NULL, NULL), HMOEC_OK);
  assert_string_equal(all.text, "");
  options.dtype = "f16";
  assert_int_equal(hmoec_explain(path, &options, &explain), HMOEC_USAGE_ERROR);
  expect_text(&all, "expected dtype f32 or bf16, found 'f16'");
  assert_int_equal(hmoec_options_validate(&options, "--"), HMOEC_USAGE_ERROR);
  expect_text(&all, "expected --dtype f32 or bf16, found 'f16'");
  assert_int_equal(hmoec_options_validate(NULL, NULL), HMOEC_OK);
  unlink(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_graph_is_spec),
      cmocka_unit_test(test_graph_compiles_again),
      cmocka_unit_test(test_open_run_interpret),
      cmocka_unit_test(test_write),
      cmocka_unit_test(test_graph_errors),
      cmocka_unit_test(test_careless_graph),
      cmocka_unit_test(test_nothing),
      cmocka_unit_test(test_careless_compilation),
      cmocka_unit_test(test_values_after_compile),
      cmocka_unit_test(test_scopes),
      cmocka_unit_test(test_blocks),
      cmocka_unit_test(test_options),
      cmocka_unit_test(test_messages),
      cmocka_unit_test(test_trace),
      cmocka_unit_test(test_shapes_and_costs),
      cmocka_unit_test(test_reports),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
