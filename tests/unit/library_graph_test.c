/* Graphs built call by call: each call makes the op that a spec makes of the same arguments, and what it cannot take is refused by name. */
#include "library_fixture.h"

static const char spec[] =
    "model calls\n"
    "dim rows = ?, width = ?, d = 8\n"
    "generation {\n"
    "  end_token = [3, 4]\n"
    "  top_p = 0.5\n"
    "  early_stopping = never\n"
    "  bad_words = [[1, 2], [5]]\n"
    "}\n"
    "input ids: i32[rows, width] = 6\n"
    "input x: f32[rows, width, d]\n"
    "param t: [11, d] from \"t\"\n"
    "param n1: [d] from \"a.n1\"\n"
    "param n2: [d] from \"a.n2\"\n"
    "param n3: [d] from \"n3\"\n"
    "a = rms_norm(multiply(x, embedding(ids, t)), n1, epsilon = 0.125)\n"
    "b = flatten(layer_norm(a, n2, n3, epsilon = 0.25))\n"
    "param router: [5, d] from \"router\"\n"
    "param rb: [5] from \"rb\"\n"
    "r = route(linear(b, router, bias = rb), top_k = 2, gate = sigmoid, capacity = 3, renorm = 1)\n"
    "param wi[e < 5]: [12, d] from \"e.{e}.wi\"\n"
    "param wo[e < 5]: [d, 12] from \"e.{e}.wo\"\n"
    "param bi[e < 5]: [12] from \"e.{e}.bi\"\n"
    "param bo[e < 5]: [d] from \"e.{e}.bo\"\n"
    "m = experts(b, r, wi, wo, bi, bo, activation = gelu)\n"
    "param vi0[e < 5]: [12, d] from \"g.{e}.wi_0\"\n"
    "param vi1[e < 5]: [12, d] from \"g.{e}.wi_1\"\n"
    "param vo[e < 5]: [d, 12] from \"g.{e}.wo\"\n"
    "param ci0[e < 5]: [12] from \"g.{e}.bi_0\"\n"
    "param ci1[e < 5]: [12] from \"g.{e}.bi_1\"\n"
    "param co[e < 5]: [d] from \"g.{e}.bo\"\n"
    "gm = gated_experts(b, r, vi0, vi1, vo, ci0, ci1, co, activation = silu)\n"
    "param sets: [5, 7] from \"sets\"\n"
    "param layers: [3, 2] from \"layers\"\n"
    "s = append_row(selection_embedding(r, sets, of = selected, aggregate = sum), layers, row = 1)\n"
    "param wd: [16, 9] from \"wd\"\n"
    "param bd: [16] from \"bd\"\n"
    "param wu: [16, 9] from \"wu\"\n"
    "param bu: [16] from \"bu\"\n"
    "param vd: [2, 9] from \"vd\"\n"
    "param cd: [2] from \"cd\"\n"
    "param vu: [8, 9] from \"vu\"\n"
    "param cu: [8] from \"cu\"\n"
    "param wr: [2, 16] from \"wr\"\n"
    "h = hypernetwork(s, wd, bd, wu, bu, vd, cd, vu, cu, bottleneck = 2)\n"
    "output y = add(add(combine(m, r), combine(gm, r)), activate(hyper_expert(b, h, strategy = cache), function = gelu_new))\n"
    "output z = linear(b, reshape(wr, shape = [4, d]))\n";

/* The same, call by call. */
static void build(hmoec_graph *g) {
  const char *const dims[] = {"rows", "width"};
  const int64_t six = 6, ends[] = {3, 4}, words[] = {1, 2, -1, 5, -1}, never = 2, shape[] = {4, 8};
#define VECTOR(key, n) hmoec_graph_parameter(g, key, HMOEC_SHAPE(HMOEC_F32, n))
#define MATRIX(key, m, n) hmoec_graph_parameter(g, key, HMOEC_SHAPE(HMOEC_F32, m, n))
#define STACK(key, ...) hmoec_graph_stack(g, key, 5, HMOEC_SHAPE(HMOEC_F32, __VA_ARGS__))
  hmoec_graph_generation(g, "end_token", ends, 1); /* the last one counts */
  hmoec_graph_generation(g, "end_token", ends, 2);
  hmoec_graph_generation_number(g, "top_p", 0.5);
  hmoec_graph_generation(g, "early_stopping", &never, 1);
  hmoec_graph_generation(g, "bad_words", words, 5);
  hmoec_graph_value ids = hmoec_graph_input_named(g, "ids", HMOEC_SHAPE(HMOEC_I32, HMOEC_DYNAMIC, HMOEC_DYNAMIC), dims, &six);
  hmoec_graph_value x = hmoec_graph_input_named(g, "x", HMOEC_SHAPE(HMOEC_F32, HMOEC_DYNAMIC, HMOEC_DYNAMIC, 8), dims, NULL);
  hmoec_graph_value t = MATRIX("t", 11, 8);
  hmoec_graph_scope_begin(g, "%s", "a");
  hmoec_graph_value n1 = VECTOR("n1", 8), n2 = VECTOR("n2", 8), n3 = VECTOR("/n3", 8);
  hmoec_graph_scope_end(g);
  hmoec_graph_value table = hmoec_graph_op(g, "embedding", (hmoec_graph_value[]){ids, t}, 2, NULL, 0, NULL);
  hmoec_graph_value a = hmoec_graph_rms_norm(g, hmoec_graph_multiply(g, x, table), n1, 0.125);
  hmoec_graph_value normed = hmoec_graph_layer_norm(g, a, n2, n3, 0.25);
  hmoec_graph_value b = hmoec_graph_op(g, "flatten", &normed, 1, NULL, 0, NULL);
  hmoec_graph_value router = MATRIX("router", 5, 8), rb = VECTOR("rb", 5);
  hmoec_graph_routing r = hmoec_graph_route(g, hmoec_graph_linear(g, b, router, rb), 2, "sigmoid", 3, 7);
  hmoec_graph_scope_begin(g, "e");
  hmoec_graph_value wi = STACK("{}.wi", 12, 8), wo = STACK("{}.wo", 8, 12), bi = STACK("{}.bi", 12), bo = STACK("{}.bo", 8);
  hmoec_graph_scope_end(g);
  hmoec_graph_value m = hmoec_graph_experts(g, b, r, wi, wo, bi, bo, "gelu");
  hmoec_graph_value vi0 = STACK("g.{}.wi_0", 12, 8), vi1 = STACK("g.{}.wi_1", 12, 8), vo = STACK("g.{}.wo", 8, 12),
                    ci0 = STACK("g.{}.bi_0", 12), ci1 = STACK("g.{}.bi_1", 12), co = STACK("g.{}.bo", 8);
  hmoec_graph_value gm = hmoec_graph_gated_experts(g, b, r, vi0, vi1, vo, ci0, ci1, co, "silu");
  hmoec_graph_value sets = MATRIX("sets", 5, 7), layers = MATRIX("layers", 3, 2);
  hmoec_graph_value s = hmoec_graph_append_row(g, hmoec_graph_selection_embedding(g, r, sets, "selected", "sum"), layers, 1);
  hmoec_graph_value wd = MATRIX("wd", 16, 9), bd = VECTOR("bd", 16), wu = MATRIX("wu", 16, 9), bu = VECTOR("bu", 16),
                    vd = MATRIX("vd", 2, 9), cd = VECTOR("cd", 2), vu = MATRIX("vu", 8, 9), cu = VECTOR("cu", 8),
                    wr = MATRIX("wr", 2, 16);
  hmoec_graph_generated h = hmoec_graph_hypernetwork(g, s, wd, bd, wu, bu, vd, cd, vu, cu, 2);
  hmoec_graph_value plain = hmoec_graph_combine(g, m, r), gated = hmoec_graph_combine(g, gm, r);
  hmoec_graph_value sum = hmoec_graph_add(g, plain, gated);
  hmoec_graph_value hyper = hmoec_graph_activate(g, hmoec_graph_hyper_expert(g, b, h, "cache"), "gelu_new");
  hmoec_graph_output(g, "y", hmoec_graph_add(g, sum, hyper));
  const hmoec_attribute reshaped = {.name = "shape", .kind = HMOEC_ATTRIBUTE_INTS, .ints = shape, .int_count = 2};
  hmoec_graph_output(g, "z", hmoec_graph_linear(g, b, hmoec_graph_op(g, "reshape", &wr, 1, &reshaped, 1, NULL), HMOEC_NONE));

  /* Shapes, and asking again. */
  assert_ptr_equal(MATRIX("router", 5, 8).handle, router.handle);
  const hmoec_shape stack = hmoec_graph_shape(g, wi), named = hmoec_graph_shape(g, ids), down = hmoec_graph_shape(g, h.down),
                    up = hmoec_graph_shape(g, h.up), beta = hmoec_graph_shape(g, h.beta), gamma = hmoec_graph_shape(g, h.gamma);
  assert_true(stack.rank == 3 && stack.dims[0] == 5 && stack.dims[1] == 12 && stack.dims[2] == 8);
  assert_true(named.element == HMOEC_I32 && named.rank == 2 && named.dims[1] == HMOEC_DYNAMIC);
  assert_true(down.rank == 3 && down.dims[1] == 8 && down.dims[2] == 2 && up.dims[1] == 2 && up.dims[2] == 8);
  assert_true(beta.rank == 2 && beta.dims[1] == 2 && gamma.dims[1] == 8);
  assert_true(hmoec_graph_shape(g, r.indices).element == HMOEC_I32 && hmoec_graph_shape(g, r.gates).element == HMOEC_F32);
  assert_non_null(r.kept.handle);
}

static void expect_output(hmoec_compilation *a, hmoec_compilation *b, hmoec_output output) {
  char *found, *expected;
  size_t size, expected_size;
  assert_int_equal(hmoec_compilation_emit(a, output, &found, &size), HMOEC_OK);
  assert_int_equal(hmoec_compilation_emit(b, output, &expected, &expected_size), HMOEC_OK);
  if (size != expected_size || memcmp(found, expected, size) != 0)
    fail_msg("expected\n%.*s\nfound\n%.*s", (int)expected_size, expected, (int)size, found);
  hmoec_free(found);
  hmoec_free(expected);
}

static void test_every_call(void **state) {
  (void)state;
  messages all;
  hmoec_options options = options_to(&all);
  hmoec_graph *graph;
  hmoec_compilation *built, *read;
  assert_int_equal(hmoec_graph_create("calls", &options, &graph), HMOEC_OK);
  build(graph);
  assert_string_equal(all.text, "");
  assert_int_equal(hmoec_compile_graph(graph, &options, &built), HMOEC_OK);
  assert_int_equal(hmoec_compile_text("calls.spec", spec, sizeof spec - 1, &options, &read), HMOEC_OK);
  static const hmoec_output outputs[] = {HMOEC_OUTPUT_HMOE, HMOEC_OUTPUT_HMK, HMOEC_OUTPUT_HEADER, HMOEC_OUTPUT_MANIFEST};
  for (size_t i = 0; i < 4; i++) expect_output(built, read, outputs[i]);
  assert_string_equal(all.text, "");
  hmoec_compilation_destroy(read);
  hmoec_compilation_destroy(built);
  hmoec_graph_destroy(graph);
}

/* ---- refusals ---- */

typedef struct given {
  hmoec_graph *g, *other;
  hmoec_graph_value x, w, foreign;
  hmoec_graph_routing routing;
} given;

static hmoec_shape shape_of(int64_t rank) {
  hmoec_shape shape = {.element = HMOEC_F32, .rank = rank, .dims = {2, 3, 5, 7}};
  return shape;
}

static void long_scope(given *f, int length) {
  char prefix[2048];
  memset(prefix, 'p', sizeof prefix);
  prefix[length] = 0;
  hmoec_graph_scope_begin(f->g, "%s", prefix);
}

static void attributes(given *f, size_t count) {
  static char names[64][8];
  hmoec_attribute all[64];
  for (size_t i = 0; i < count; i++) {
    snprintf(names[i], sizeof names[i], "n%zu", i);
    all[i] = HMOEC_INT(names[i], 0);
  }
  hmoec_graph_op(f->g, "activate", &f->x, 1, all, count, NULL);
}

static void one_attribute(given *f, hmoec_attribute attribute) { hmoec_graph_op(f->g, "activate", &f->x, 1, &attribute, 1, NULL); }

static void block(given *f, hmoec_graph_argument argument) {
  const char path[] = HMOE_SOURCE_DIR "/models/layer-common.spec";
  hmoec_graph_value result = f->x;
  hmoec_graph_include(f->g, path, (const hmoec_define[]){{"d_model", "8"}}, 1);
  assert_int_equal(hmoec_graph_block(f->g, "switch_route", &argument, 1, &result, 1), 0);
  assert_null(result.handle);
}

static void dims_of(given *f, const hmoec_shape *shape, const char *first, const char *second) {
  const char *const names[] = {first, second, NULL};
  hmoec_graph_input_named(f->g, "a", *shape, names, NULL);
}

#define CASE(name, ...)                                                                                                            \
  static void name(given *f) { __VA_ARGS__; }
CASE(rank_5, hmoec_graph_input(f->g, "a", shape_of(5)))
CASE(parameter_rank, hmoec_graph_parameter(f->g, "w", shape_of(-1)))
CASE(element_i1, hmoec_graph_input(f->g, "a", (hmoec_shape){.element = HMOEC_I1, .rank = 1, .dims = {2}}))
CASE(element, hmoec_graph_input(f->g, "a", (hmoec_shape){.element = (hmoec_element)(HMOEC_I64 + 1), .rank = 1, .dims = {2}}))
CASE(stack_none, hmoec_graph_stack(f->g, "s.{}", 0, shape_of(2)))
CASE(stack_rank, hmoec_graph_stack(f->g, "s.{}", 2, shape_of(4)))
CASE(stack_negative, hmoec_graph_stack(f->g, "s.{}", 2, shape_of(-1)))
CASE(second_name, dims_of(f, &HMOEC_SHAPE(HMOEC_F32, HMOEC_DYNAMIC, HMOEC_DYNAMIC, 3), "rows", NULL))
CASE(name_behind, dims_of(f, &HMOEC_SHAPE(HMOEC_F32, 3, HMOEC_DYNAMIC), NULL, NULL))
CASE(scope_long, long_scope(f, 256); hmoec_graph_scope_end(f->g))
CASE(scope_format, hmoec_graph_scope_begin(f->g, "%0*d", 1500, 3); hmoec_graph_scope_end(f->g))
CASE(setting, hmoec_graph_generation(f->g, "top_q", NULL, 0))
CASE(setting_null, hmoec_graph_generation(f->g, "end_token", NULL, 2))
CASE(setting_number, hmoec_graph_generation(f->g, "top_p", (const int64_t[]){1}, 1))
CASE(number_setting, hmoec_graph_generation_number(f->g, "top_k", 2))
CASE(number_unknown, hmoec_graph_generation_number(f->g, "top_q", 2))
CASE(operand_count,
     hmoec_graph_op(f->g, "activate", (hmoec_graph_value[]){f->x, f->x}, 2, &HMOEC_TEXT("function", "relu"), 1, NULL))
CASE(operand_gap, hmoec_graph_op(f->g, "experts", (hmoec_graph_value[]){f->x, f->x, HMOEC_NONE, f->w, f->w}, 5, NULL, 0, NULL))
CASE(operand_missing, hmoec_graph_op(f->g, "linear", (hmoec_graph_value[]){f->x, HMOEC_NONE}, 2, NULL, 0, NULL))
CASE(operand_foreign, hmoec_graph_op(f->g, "linear", (hmoec_graph_value[]){f->foreign, f->w}, 2, NULL, 0, NULL))
CASE(bias_foreign, hmoec_graph_linear(f->g, f->x, f->w, f->foreign))
CASE(attributes_many, attributes(f, 9))
CASE(attribute_nameless, one_attribute(f, HMOEC_TEXT(NULL, "relu")))
CASE(attribute_kind,
     one_attribute(f, (hmoec_attribute){.name = "function", .kind = (hmoec_attribute_kind)(HMOEC_ATTRIBUTE_FLOAT + 1)}))
CASE(attribute_text, one_attribute(f, HMOEC_TEXT("function", NULL)))
static void attribute_unknown(given *f) {
  const hmoec_attribute both[] = {HMOEC_TEXT("function", "relu"), HMOEC_INT("functions", 1)};
  hmoec_graph_op(f->g, "activate", &f->x, 1, both, 2, NULL);
}
CASE(attribute_other, one_attribute(f, HMOEC_INT("function", 1)))
CASE(op_unknown, hmoec_graph_op(f->g, "", &f->x, 1, NULL, 0, NULL))
CASE(op_internal, hmoec_graph_op(f->g, "parameter", NULL, 0, NULL, 0, NULL))
CASE(output_none, hmoec_graph_output(f->g, "y", HMOEC_NONE))
CASE(output_same, hmoec_graph_output(f->g, "x", f->x))
CASE(block_kind, block(f, (hmoec_graph_argument){.kind = (hmoec_argument_kind)(HMOEC_ARGUMENT_TEXT + 1)}))
CASE(block_text, block(f, (hmoec_graph_argument){.kind = HMOEC_ARGUMENT_TEXT}))
CASE(block_foreign, block(f, HMOEC_VALUE_ARGUMENT(f->foreign)))
CASE(block_name, block(f, (hmoec_graph_argument){.name = "z", .kind = HMOEC_ARGUMENT_VALUE, .values = {f->x}}))
CASE(scope_end, hmoec_graph_scope_begin(f->g, "a"); hmoec_graph_scope_end(f->g); hmoec_graph_scope_end(f->g))

static const struct {
  void (*run)(given *);
  hmoec_status status;
  const char *message;
} refusals[] = {
    {rank_5, HMOEC_INPUT_ERROR, "input 'a': expected 0 to 4 dimensions, found 5"},
    {parameter_rank, HMOEC_INPUT_ERROR, "parameter 'w': expected 0 to 4 dimensions, found -1"},
    {element, HMOEC_INPUT_ERROR, "input 'a': expected an element of hmoec_element, found 4"},
    {element_i1, HMOEC_INPUT_ERROR, "input 'a': expected f32, i32 or i64 elements, found i1[2]"},
    {stack_none, HMOEC_INPUT_ERROR, "parameter \"s.{}\": expected a stack of 1 or more tensors of at most 3 dimensions"},
    {stack_rank, HMOEC_INPUT_ERROR, "parameter \"s.{}\": expected a stack of 1 or more tensors of at most 3 dimensions"},
    {stack_negative, HMOEC_INPUT_ERROR, "parameter \"s.{}\": expected a stack of 1 or more tensors of at most 3 dimensions"},
    {second_name, HMOEC_INPUT_ERROR, "input 'a': its dynamic dimension 1 has no name"},
    {name_behind, HMOEC_INPUT_ERROR, "input 'a': its dynamic dimension 0 has no name"},
    {scope_long, HMOEC_INPUT_ERROR, "a scope is longer than 255 characters"},
    {scope_format, HMOEC_INPUT_ERROR, "a scope is longer than 255 characters"},
    {setting, HMOEC_INPUT_ERROR, "generation has no setting 'top_q'; did you mean 'top_k'?"},
    {setting_null, HMOEC_INPUT_ERROR, "end_token: 2 values at NULL"},
    {setting_number, HMOEC_INPUT_ERROR, "top_p is a number: hmoec_graph_generation_number"},
    {number_setting, HMOEC_INPUT_ERROR, "top_k is not a number: hmoec_graph_generation"},
    {number_unknown, HMOEC_INPUT_ERROR, "generation has no setting 'top_q'; did you mean 'top_k'?"},
    {operand_count, HMOEC_INPUT_ERROR, "activate takes no more than 1 operands, found 2"},
    {operand_gap, HMOEC_INPUT_ERROR, "experts: operand kept is missing"},
    {operand_missing, HMOEC_INPUT_ERROR, "linear: operand w is missing"},
    {operand_foreign, HMOEC_INPUT_ERROR, "linear: operand x is a value of another graph"},
    {bias_foreign, HMOEC_INPUT_ERROR, "linear: operand bias is a value of another graph"},
    {attributes_many, HMOEC_INPUT_ERROR, "activate: more than 8 attributes"},
    {attribute_nameless, HMOEC_INPUT_ERROR, "activate: an attribute has no name"},
    {attribute_kind, HMOEC_INPUT_ERROR, "activate: expected function to be of a hmoec_attribute_kind, found 4"},
    {attribute_text, HMOEC_INPUT_ERROR, "activate: attribute function has no text"},
    {attribute_unknown, HMOEC_INPUT_ERROR, "activate has no attribute \"functions\"; did you mean function?"},
    {attribute_other, HMOEC_INPUT_ERROR, "activate: expected function to be a name, found an integer"},
    {op_unknown, HMOEC_INPUT_ERROR, "there is no op named ''"},
    {op_internal, HMOEC_INPUT_ERROR, "parameter cannot be built like this"},
    {output_none, HMOEC_INPUT_ERROR, "output 'y' is given no value"},
    {output_same, HMOEC_INPUT_ERROR, "there is already an input or output named 'x'"},
    {block_kind, HMOEC_INPUT_ERROR, "an argument of a block has no value"},
    {block_text, HMOEC_INPUT_ERROR, "an argument of a block has no value"},
    {block_foreign, HMOEC_INPUT_ERROR, "an argument of a block is a value of another graph"},
    {block_name, HMOEC_INPUT_ERROR, "block switch_route has no argument 'z'; did you mean 'x'?"},
    {scope_end, HMOEC_USAGE_ERROR, "graph m: a scope ends that did not begin"},
};

static void test_refusals(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
    messages all, foreign;
    hmoec_options options = options_to(&all), foreign_options = options_to(&foreign);
    given f;
    char expected[512];
    assert_int_equal(hmoec_graph_create("other", &foreign_options, &f.other), HMOEC_OK);
    f.foreign = hmoec_graph_input(f.other, "x", HMOEC_SHAPE(HMOEC_F32, HMOEC_DYNAMIC, 8));
    assert_int_equal(hmoec_graph_create("m", &options, &f.g), HMOEC_OK);
    f.x = hmoec_graph_input(f.g, "x", HMOEC_SHAPE(HMOEC_F32, HMOEC_DYNAMIC, 8));
    f.w = hmoec_graph_parameter(f.g, "w", HMOEC_SHAPE(HMOEC_F32, 8, 8));
    hmoec_graph_at(f.g, "program.c", 70 + (unsigned)i);
    refusals[i].run(&f);
    /* Wrong usage has no place, what is wrong with the model has the caller's. */
    if (refusals[i].status == HMOEC_USAGE_ERROR) snprintf(expected, sizeof expected, "hmoec: error: %s\n", refusals[i].message);
    else snprintf(expected, sizeof expected, "program.c:%zu: error: %s\n", 70 + i, refusals[i].message);
    if (strncmp(all.text, expected, strlen(expected)) != 0 || all.errors != 1)
      fail_msg("%zu: expected %sfound %s", i, expected, all.text);
    assert_int_equal(hmoec_graph_status(f.g), refusals[i].status);
    hmoec_compilation *compilation;
    assert_int_equal(hmoec_compile_graph(f.g, &options, &compilation), refusals[i].status);
    assert_null(compilation);
    assert_int_equal(all.errors, 1);
    hmoec_graph_destroy(f.g);
    hmoec_graph_destroy(f.other);
  }
}

/* A block says nothing of a value that an error left out, and of others what is wrong. */
static void test_blocks_after_errors(void **state) {
  (void)state;
  messages all;
  hmoec_options options = options_to(&all);
  given f;
  assert_int_equal(hmoec_graph_create("m", &options, &f.g), HMOEC_OK);
  f.x = hmoec_graph_input(f.g, "x", HMOEC_SHAPE(HMOEC_F32, HMOEC_DYNAMIC, 8));
  hmoec_graph_value nothing = hmoec_graph_op(f.g, "linear", &f.x, 1, NULL, 0, NULL);
  assert_int_equal(all.errors, 1);
  block(&f, HMOEC_VALUE_ARGUMENT(nothing));
  assert_int_equal(all.errors, 1);
  hmoec_graph_block(f.g, "switch_route", &(hmoec_graph_argument){.name = "z", .kind = HMOEC_ARGUMENT_VALUE, .values = {f.x}}, 1,
                    NULL, 0);
  assert_int_equal(all.errors, 2);
  assert_non_null(strstr(all.text, "block switch_route has no argument 'z'"));
  hmoec_graph_destroy(f.g);
}

/* What is just allowed. */
static void test_limits(void **state) {
  (void)state;
  messages all;
  hmoec_options options = options_to(&all);
  given f;
  hmoec_graph_value results[HMOEC_MAX_RESULTS];
  assert_int_equal(hmoec_graph_create("m", &options, &f.g), HMOEC_OK);
  assert_int_equal(hmoec_graph_shape(f.g, hmoec_graph_parameter(f.g, "four", shape_of(4))).rank, 4);
  assert_int_equal(hmoec_graph_shape(f.g, hmoec_graph_stack(f.g, "s.{}", 1, shape_of(3))).rank, 4);
  long_scope(&f, 255);
  hmoec_graph_scope_end(f.g);
  for (int i = 0; i < 9; i++) hmoec_graph_scope_begin(f.g, "s%d", i);
  hmoec_graph_scope_begin(f.g, "%s", "");
  hmoec_graph_value deep = hmoec_graph_parameter(f.g, "w", HMOEC_SHAPE(HMOEC_F32, 8, 8));
  for (int i = 0; i < 10; i++) hmoec_graph_scope_end(f.g);
  assert_ptr_equal(hmoec_graph_parameter(f.g, "s0.s1.s2.s3.s4.s5.s6.s7.s8.w", HMOEC_SHAPE(HMOEC_F32, 8, 8)).handle, deep.handle);
  hmoec_graph_value x = hmoec_graph_input(f.g, "x", HMOEC_SHAPE(HMOEC_F32, HMOEC_DYNAMIC, 8));
  for (size_t i = 0; i < HMOEC_MAX_RESULTS; i++) results[i] = x;
  hmoec_graph_value y = hmoec_graph_op(f.g, "activate", &x, 1, &HMOEC_TEXT("function", "relu"), 1, results);
  assert_ptr_equal(y.handle, results[0].handle);
  for (size_t i = 1; i < HMOEC_MAX_RESULTS; i++) assert_null(results[i].handle);
  hmoec_graph_value trailing[] = {y, deep, HMOEC_NONE};
  assert_non_null(hmoec_graph_op(f.g, "linear", trailing, 3, NULL, 0, NULL).handle);
  assert_string_equal(all.text, "");
  assert_int_equal(hmoec_graph_status(f.g), HMOEC_OK);
  hmoec_graph_destroy(f.g);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_call), cmocka_unit_test(test_refusals),
                                     cmocka_unit_test(test_blocks_after_errors), cmocka_unit_test(test_limits)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
