/* The builder by hand, and the door that loads models from files. */
#include "ir/entry.h"
#include "spec_testing.h"

#include "ir/c_names.h"
#include "support/limits.h"

#include <sys/stat.h>
#include <unistd.h>

static const hmoec_location here = {.file = "by hand", .line = 1, .column = 1};

static void test_build_by_hand(void **state) {
  (void)state;
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  hmoec_builder *builder = hmoec_builder_create(test_context(), diagnostics, here, "plain", NULL);
  /* What lies behind the rank is no dimension. */
  const hmoec_shape x_shape = {.element = HMOEC_F32, .rank = 2, .dims = {HMOEC_DYNAMIC, 8, 0}},
                    w_shape = {.element = HMOEC_F32, .rank = 2, .dims = {4, 8, 1}},
                    same_shape = {.element = HMOEC_F32, .rank = 2, .dims = {4, 8, 2}};
  MlirValue x, w, again, results[HMOEC_MAX_RESULTS];
  size_t result_count;
  assert_true(hmoec_builder_input(builder, here, "x", &x_shape, &x));
  assert_true(hmoec_builder_parameter(builder, here, "w", 0, &w_shape, &w));
  assert_true(hmoec_builder_parameter(builder, here, "w", 0, &same_shape, &again));
  assert_true(mlirValueEqual(w, again));
  assert_true(hmoec_builder_op(builder, here, "linear", (MlirValue[]){x, w}, 2, NULL, 0, results, &result_count));
  assert_int_equal(result_count, 1);
  assert_true(hmoec_builder_output(builder, here, "y", results[0]));
  MlirModule module;
  assert_true(hmoec_builder_finish(builder, &module));
  assert_true(hmoec_verify(module, diagnostics));
  assert_int_equal(hmoec_diagnostics_errors(diagnostics), 0);
  mlirModuleDestroy(module);
  hmoec_builder_destroy(builder);
  hmoec_diagnostics_destroy(diagnostics);
}

static void test_named_dims(void **state) {
  (void)state;
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  hmoec_builder *builder = hmoec_builder_create(test_context(), diagnostics, here, "dims", NULL);
  const hmoec_shape ids = {.element = HMOEC_I64, .rank = 2, .dims = {HMOEC_DYNAMIC, HMOEC_DYNAMIC, HMOEC_DYNAMIC}},
                    columns = {.element = HMOEC_F32, .rank = 2, .dims = {HMOEC_DYNAMIC, 8}},
                    fixed = {.element = HMOEC_F32, .rank = 2, .dims = {4, 8}};
  const int64_t one = 1, large = INT64_C(1) << 40;
  MlirValue x, unused;
  assert_true(hmoec_builder_input_named(builder, here, "ids", &ids, (const char *const[]){"rows", "length", "more"}, &one, &x));
  assert_true(hmoec_builder_input(builder, here, "mask", &ids, &unused));
  assert_true(hmoec_builder_input(builder, here, "x", &columns, &unused));
  assert_true(hmoec_builder_input(builder, here, "w", &fixed, &unused));
  const int64_t seven = 7, ends[] = {9, 11}, negative[] = {3, -2};
  assert_true(hmoec_builder_setting(builder, here, "end_token", &(hmoec_setting_value){.integers = &seven, .count = 1}));
  assert_true(hmoec_builder_setting(builder, here, "end_token", &(hmoec_setting_value){.integers = ends, .count = 2}));
  assert_true(hmoec_builder_setting(builder, here, "top_p", &(hmoec_setting_value){.number = 0.5}));
  assert_true(hmoec_builder_output(builder, here, "y", x));
  MlirModule module;
  assert_true(hmoec_builder_finish(builder, &module));
  assert_true(hmoec_verify(module, diagnostics));

  MlirOperation entry = hmoec_entry_find(module, NULL);
  MlirStringRef names[HMOEC_MOST_DIM_NAMES];
  static const char *const expected[] = {"rows", "length", "batch", "tokens"};
  assert_int_equal(hmoec_entry_dim_names(entry, NULL), 4);
  assert_int_equal(hmoec_entry_dim_names(entry, names), 4);
  for (size_t i = 0; i < 4; i++) assert_true(mlirStringRefEqual(names[i], mlirStringRefCreateFromCString(expected[i])));
  assert_true(mlirStringRefEqual(hmoec_entry_dim_name(entry, 0, 1), mlirStringRefCreateFromCString("length")));
  assert_true(mlirStringRefEqual(hmoec_entry_dim_name(entry, 2, 0), mlirStringRefCreateFromCString("tokens")));
  int64_t given = 0;
  assert_true(hmoec_entry_input_default(entry, 0, &given));
  assert_int_equal(given, 1);
  assert_false(hmoec_entry_input_default(entry, 1, &given));
  hmoec_arena *arena = hmoec_arena_create();
  hmoec_generation generation;
  assert_true(hmoec_generation_from_attribute(hmoec_entry_generation(entry), arena, diagnostics, here, &generation));
  assert_int_equal(generation.values[HMOE_SETTING_END_TOKEN].count, 2);
  assert_memory_equal(generation.values[HMOE_SETTING_END_TOKEN].integers, ends, sizeof ends);
  assert_true(generation.values[HMOE_SETTING_TOP_P].number == 0.5);
  for (uint32_t i = 0; i < HMOE_SETTING_COUNT; i++)
    assert_int_equal(generation.given[i], i == HMOE_SETTING_END_TOKEN || i == HMOE_SETTING_TOP_P);
  hmoec_arena_destroy(arena);
  mlirModuleDestroy(module);
  hmoec_builder_destroy(builder);

  builder = hmoec_builder_create(test_context(), diagnostics, here, "dims", NULL);
  assert_int_equal(hmoec_diagnostics_errors(diagnostics), 0);
  assert_true(hmoec_builder_input(builder, here, "x", &columns, &x));
  assert_false(hmoec_builder_input(builder, here, "tokens", &fixed, &unused)); /* the name of a dimension */
  assert_false(hmoec_builder_output(builder, here, "tokens", x));
  assert_false(hmoec_builder_input_named(builder, here, "z", &columns, (const char *const[]){"x"}, NULL, &unused));
  assert_false(hmoec_builder_input_named(builder, here, "u", &columns, (const char *const[]){"a b"}, NULL, &unused));
  assert_false(hmoec_builder_input_named(builder, here, "v", &columns, (const char *const[]){"n"}, &one, &unused));
  const hmoec_shape narrow = {.element = HMOEC_I32, .rank = 1, .dims = {3}};
  assert_false(hmoec_builder_input_named(builder, here, "w", &narrow, NULL, &large, &unused));
  assert_false(hmoec_builder_setting(builder, here, "end_token", &(hmoec_setting_value){.integers = negative, .count = 2}));
  assert_false(hmoec_builder_setting(builder, here, "start_token", &(hmoec_setting_value){.integers = ends, .count = 2}));
  assert_false(hmoec_builder_setting(builder, here, "beams", &(hmoec_setting_value){0}));
  assert_false(hmoec_builder_setting(builder, here, "top_p", &(hmoec_setting_value){.number = 0}));
  assert_false(hmoec_builder_setting(builder, here, "other_token", &(hmoec_setting_value){.integers = ends, .count = 1}));
  assert_int_equal(hmoec_diagnostics_errors(diagnostics), 11);
  assert_false(hmoec_builder_finish(builder, &module));
  hmoec_builder_destroy(builder);
  hmoec_diagnostics_destroy(diagnostics);
}

static void test_builder_errors(void **state) {
  (void)state;
  const hmoec_shape shape = {.element = HMOEC_F32, .rank = 1, .dims = {8}}, other = {.element = HMOEC_F32, .rank = 1, .dims = {9}},
                    empty = {.element = HMOEC_F32, .rank = 1, .dims = {0}};
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  hmoec_builder *builder = hmoec_builder_create(test_context(), diagnostics, here, "2bad", NULL);
  MlirValue x, unused, results[HMOEC_MAX_RESULTS];
  size_t result_count;
  assert_int_equal(hmoec_diagnostics_errors(diagnostics), 1);
  assert_true(hmoec_builder_input(builder, here, "x", &shape, &x));
  assert_false(hmoec_builder_input(builder, here, "x", &shape, &unused));
  assert_false(hmoec_builder_input(builder, here, "a b", &shape, &unused));
  assert_false(hmoec_builder_input(builder, here, "z", &empty, &unused));
  assert_false(hmoec_builder_output(builder, here, "while", x));
  assert_true(hmoec_builder_parameter(builder, here, "w", 0, &shape, &unused));
  assert_false(hmoec_builder_parameter(builder, here, "w", 0, &other, &unused));
  assert_false(hmoec_builder_op(builder, here, "nothing", &x, 1, NULL, 0, results, &result_count));
  assert_true(hmoec_builder_output(builder, here, "y", x));
  MlirModule module;
  assert_false(hmoec_builder_finish(builder, &module));
  assert_int_equal(hmoec_diagnostics_errors(diagnostics), 7);
  hmoec_builder_destroy(builder);
  hmoec_builder_destroy(NULL);
  hmoec_diagnostics_destroy(diagnostics);
}

static void keep(void *user, const hmoec_message *message) {
  fprintf(user, "%s", message->text);
  if (message->severity == HMOEC_NOTE) fprintf(user, ": %s:%u:%u", message->at.file, message->at.line, message->at.column);
  fputc('\n', user);
}

/* What is said of each thing that cannot be, by name. */
static void test_builder_messages(void **state) {
  (void)state;
  char *messages = NULL;
  size_t size, count;
  FILE *stream = open_memstream(&messages, &size);
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create_with(keep, stream);
  hmoec_builder *builder = hmoec_builder_create(test_context(), diagnostics, here, "m", NULL);
  const hmoec_shape one = {.element = HMOEC_F32, .rank = 1, .dims = {HMOEC_DYNAMIC}},
                    two = {.element = HMOEC_I64, .rank = 2, .dims = {HMOEC_DYNAMIC, HMOEC_DYNAMIC}},
                    fixed = {.element = HMOEC_F32, .rank = 2, .dims = {4, 8}},
                    zero = {.element = HMOEC_F32, .rank = 2, .dims = {4, 0}},
                    truths = {.element = HMOEC_I1, .rank = 1, .dims = {4}},
                    large = {.element = HMOEC_F32, .rank = 2, .dims = {INT64_C(1) << 22, (INT64_C(1) << 22) + 1}},
                    narrow = {.element = HMOEC_I32, .rank = 1, .dims = {4}};
  const int64_t zero_default = 0, most = INT32_MAX, least = INT32_MIN, above = INT64_C(1) + INT32_MAX,
                below = INT64_C(-1) + INT32_MIN;
  MlirValue x, v;
  assert_true(hmoec_builder_input(builder, here, "x", &fixed, &x));
  assert_true(hmoec_builder_input_named(builder, here, "least", &narrow, NULL, &least, &v));
  assert_true(hmoec_builder_input_named(builder, here, "most", &narrow, NULL, &most, &v));
  assert_false(hmoec_builder_input_named(builder, here, "a", &two, (const char *const[]){"rows", "x"}, NULL, &v));
  assert_false(hmoec_builder_input_named(builder, here, "b", &two, (const char *const[]){"int", "rows"}, NULL, &v));
  assert_false(hmoec_builder_input_named(builder, here, "c", &one, (const char *const[]){"c"}, NULL, &v));
  assert_false(hmoec_builder_input_named(builder, here, "d", &narrow, NULL, &above, &v));
  assert_false(hmoec_builder_input_named(builder, here, "e", &narrow, NULL, &below, &v));
  assert_false(hmoec_builder_input_named(builder, here, "f", &fixed, NULL, &zero_default, &v));
  assert_false(hmoec_builder_input(builder, here, "g", &zero, &v));
  assert_false(hmoec_builder_input(builder, here, "h", &truths, &v));
  assert_false(hmoec_builder_input(builder, here, "i", &large, &v));
  assert_false(hmoec_builder_input(builder, here, "x", &fixed, &v));
  assert_false(hmoec_builder_output(builder, here, "x", x));
  assert_false(hmoec_builder_output(builder, here, "rows", x));
  assert_false(hmoec_builder_output(builder, here, "1y", x));
  assert_false(hmoec_builder_op(builder, here, "linear", &x, 1, NULL, 0, &v, &count));
  assert_false(hmoec_builder_setting(builder, here, "end_tokn", &(hmoec_setting_value){0}));
  assert_false(hmoec_builder_setting(builder, here, "zzzzzzzzz", &(hmoec_setting_value){0}));
  fflush(stream);
  assert_string_equal(messages, "'x' cannot name a dimension: it is the name of an input or output\n"
                                "'int' cannot name the dimension: it is a keyword of C or C++, and the generated header uses it\n"
                                "'c' cannot name a dimension: it is the name of an input or output\n"
                                "input 'd': the default 2147483648 does not fit in 32 bits\n"
                                "input 'e': the default -2147483649 does not fit in 32 bits\n"
                                "input 'f': only i32 and i64 inputs have a default, found f32[4, 8]\n"
                                "input 'g': expected dimensions of at least 1, found f32[4, 0]\n"
                                "input 'h': expected f32, i32 or i64 elements, found i1[4]\n"
                                "input 'i': f32[4194304, 4194305] is too large\n"
                                "there is already an input or output named 'x'\nit is declared here: by hand:1:1\n"
                                "there is already an input or output named 'x'\nit is declared here: by hand:1:1\n"
                                "'rows' cannot name the output: it is the name of a dimension\n"
                                "the output name '1y' is not a C identifier, but the generated header uses it\n"
                                "linear: expected 2 or 3 operands (x, w, bias), found 1\n"
                                "generation has no setting 'end_tokn'; did you mean 'end_token'?\n"
                                "generation has no setting 'zzzzzzzzz'\n");
  MlirModule module;
  assert_false(hmoec_builder_finish(builder, &module));
  hmoec_builder_destroy(builder);
  hmoec_diagnostics_destroy(diagnostics);
  fclose(stream);
  free(messages);
}

/* Writes a file in a new folder, loads it, and expects a message. */
static void expect_load(const char *name, const char *text, const hmoec_define *defines, size_t define_count, hmoec_status failure,
                        const char *message) {
  char folder[] = "/tmp/hmoec-load-XXXXXX", path[128];
  assert_non_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/%s", folder, name);
  if (text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
  }
  test_result result = test_build(path, NULL, 0, NULL, defines, define_count);
  unlink(path);
  rmdir(folder);
  assert_int_equal(result.built, failure == HMOEC_OK);
  assert_int_equal(result.failure, failure);
  test_expect(*message ? result.messages : result.ir, message, name);
  test_result_deinit(&result);
}

static const char mlir_text[] = "func.func @m(%x: tensor<?x8xf32> {hmoe.name = \"x\"}) -> (tensor<?x8xf32> {hmoe.name = \"y\"}) "
                                "attributes {hmoe.model = \"m\"} {\n"
                                "  %y = \"hmoe.add\"(%x, %x) : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>\n"
                                "  return %y : tensor<?x8xf32>\n}\n";

static void test_load(void **state) {
  (void)state;
  const hmoec_define define = {"h", "3"};
  expect_load("m.mlir", mlir_text, NULL, 0, HMOEC_OK, "");
  expect_load("m.mlir", mlir_text, &define, 1, HMOEC_USAGE_ERROR, "error: -D h=3: only a spec has dims and options");
  expect_load("m.mlir", "func.func @m(", NULL, 0, HMOEC_INPUT_ERROR, "m.mlir:1:");
  expect_load("m.spec", NULL, NULL, 0, HMOEC_INPUT_ERROR, "m.spec: error: cannot open: No such file or directory");
  MlirModule loaded = {&define}; /* what was there does not stay */
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  assert_false(hmoec_load_model(test_context(), "/none/m.spec", NULL, diagnostics, &loaded));
  assert_true(mlirModuleIsNull(loaded));
  hmoec_diagnostics_destroy(diagnostics);
  expect_load("m.txt", "", NULL, 0, HMOEC_INPUT_ERROR,
              "m.txt: error: expected a .spec or a .mlir file, or a Hugging Face directory, found an empty file");
  /* What a file holds counts, its name only where that does not tell. */
  static const char spec_text[] = "\xef\xbb\xbf# a comment\n\ndim n = ?\nmodel m\ninput x: f32[n, 8]\noutput y = add(x, x)\n";
  char aliased[1024], module[1024];
  snprintf(aliased, sizeof aliased, "// m\n#alias = loc(\"x\")\n%s", mlir_text);
  snprintf(module, sizeof module, "module {\n%s}\n", mlir_text);
  const char *const sound[] = {mlir_text, aliased, module, spec_text};
  for (size_t i = 0; i < 4; i++) {
    expect_load("m", sound[i], NULL, 0, HMOEC_OK, "");
    expect_load("m.spec", sound[i], NULL, 0, HMOEC_OK, "");
    expect_load("m.mlir", sound[i], NULL, 0, HMOEC_OK, "");
    expect_load("m.safetensors", sound[i], NULL, 0, HMOEC_OK, "");
  }
  /* Two slashes begin a comment, one does not. */
  static const char *const slashes[] = {"/", "/ m\n", "m/ a\n", "/* m */\n"};
  for (size_t i = 0; i < sizeof slashes / sizeof *slashes; i++) {
    char text[1024];
    snprintf(text, sizeof text, "%s\nmodel m\n", slashes[i]);
    expect_load("m.txt", text, NULL, 0, HMOEC_INPUT_ERROR,
                "m.txt: error: expected a .spec or a .mlir file, or a Hugging Face directory");
  }
  expect_load("m.txt", "// a module?\nwhatever\n", NULL, 0, HMOEC_INPUT_ERROR, "found text that begins \"// a module?\"");
  expect_load("m.spec", "GGUF", NULL, 0, HMOEC_INPUT_ERROR,
              "m.spec: error: expected a .spec or a .mlir file, or a Hugging Face directory, "
              "found a GGUF file");
  expect_load("m.h", "/* m */\n#ifndef M_H\n", NULL, 0, HMOEC_INPUT_ERROR, "found a C source or header");
  expect_load("config.json", "{\"model_type\": \"gpt2\"}", NULL, 0, HMOEC_INPUT_ERROR,
              "found JSON: of a Hugging Face model, give the directory that config.json is in");
  expect_load("m.hmw", "HMOEWTS\n", NULL, 0, HMOEC_INPUT_ERROR, "found packed weights (.hmw): MODEL is the spec or the directory");
  expect_load(".spec", "", NULL, 0, HMOEC_INPUT_ERROR, ".spec:1:1: error: the spec has no line `model NAME`");
  expect_load("", NULL, NULL, 0, HMOEC_INPUT_ERROR, ": error: it has no config.json");
  expect_load("m.spec", "model m\ninclude \"/dev/null\"\n", NULL, 0, HMOEC_INPUT_ERROR,
              "cannot include /dev/null: it is not a regular file");
  expect_load("m.spec", "model m\ninclude \"./m.spec\"\n", NULL, 0, HMOEC_INPUT_ERROR, "includes itself");
}

/* A spec as long as one may be, and one byte longer. */
static void test_load_size(void **state) {
  (void)state;
  static const char spec_text[] = "model m\ndim n = ?\ninput x: f32[n, 8]\noutput y = add(x, x)\n#";
  for (size_t size = HMOEC_SPEC_MAX_BYTES; size <= HMOEC_SPEC_MAX_BYTES + 1; size++) {
    bool fits = size == HMOEC_SPEC_MAX_BYTES;
    char *text = malloc(size + 1);
    assert_non_null(text);
    memset(text, '-', size);
    memcpy(text, spec_text, sizeof spec_text - 1);
    text[size] = '\0';
    expect_load("m.spec", text, NULL, 0, fits ? HMOEC_OK : HMOEC_INPUT_ERROR,
                fits ? "" : "m.spec: error: cannot open: it is larger than 1024 KiB");
    expect_load("m", text, NULL, 0, fits ? HMOEC_OK : HMOEC_INPUT_ERROR,
                fits ? "" : "m: error: cannot open: it is larger than 1024 KiB");
    free(text);
  }
}

/* A name without its ending: what there is of that name, in paths that are not too long to say. */
static void test_load_guess(void **state) {
  (void)state;
  char folder[] = "/tmp/hmoec-load-XXXXXX", deep[300], path[600], message[1400];
  assert_non_null(mkdtemp(folder));
  snprintf(deep, sizeof deep, "%s/%0*d", folder, 240, 0);
  assert_int_equal(mkdir(deep, 0700), 0);
  for (int i = 0; i < 5; i++) {
    int length = i < 3 ? (int)strlen(folder) + 2 : i == 3 ? 506 : 507;
    const char *suffix = i == 1 ? ".mlir" : i == 2 ? ".txt" : ".spec", *directory = i < 3 ? folder : deep;
    snprintf(path, sizeof path, "%s/%0*d%s", directory, length - (int)strlen(directory) - 1, 1, suffix);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    path[length] = '\0';
    if (i == 2 || i == 4) snprintf(message, sizeof message, "%s: error: cannot open: No such file or directory\n", path);
    else
      snprintf(message, sizeof message, "%s: error: cannot open: No such file or directory; did you mean %s%s?", path, path,
               suffix);
    test_result result = test_build(path, NULL, 0, NULL, NULL, 0);
    assert_false(result.built);
    test_expect(result.messages, message, path);
    test_result_deinit(&result);
    path[length] = *suffix;
    unlink(path);
  }
  snprintf(path, sizeof path, "%s/m.spec", folder);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fclose(file);
  snprintf(path, sizeof path, "%s/m.spec/m", folder);
  snprintf(message, sizeof message, "%s: error: cannot open: Not a directory\n", path);
  test_result result = test_build(path, NULL, 0, NULL, NULL, 0);
  test_expect(result.messages, message, path);
  test_result_deinit(&result);
  path[strlen(path) - 2] = '\0';
  unlink(path);
  rmdir(deep);
  rmdir(folder);
}

/* The first and the last word of each list, and what is no word of it: a part, two of them, one with the blank between. */
static void test_taken_names(void **state) {
  (void)state;
  static const char keyword[] = "a keyword of C or C++", macro[] = "a macro of C", type[] = "a type of C",
                    header[] = "a header of C", library[] = "a name of the C library", reserved[] = "a name that C or C++ reserves",
                    ours[] = "a name of the runtime's";
  static const struct {
    const char *name, *of_model, *of_port;
  } cases[] = {
      {"alignas", keyword, keyword},
      {"xor_eq", keyword, keyword},
      {"while", keyword, keyword},
      {"BUFSIZ", macro, macro},
      {"unix", macro, macro},
      {"int32_t", NULL, type},
      {"int64_t", NULL, type},
      {"aio", header, NULL},
      {"wordexp", header, NULL},
      {"FILE", library, NULL},
      {"yn", library, NULL},
      {"_Bool", reserved, reserved},
      {"_x", NULL, NULL},
      {"x_", NULL, NULL},
      {"x_Y", NULL, NULL},
      {"x__y", reserved, reserved},
      {"x__", reserved, reserved},
      {"__", reserved, reserved},
      {"_", NULL, NULL},
      {"hmoe", ours, NULL},
      {"hmoec", ours, NULL},
      {"HMOEC_X", ours, NULL},
      {"Hmoe_x", ours, NULL},
      {"hmoed", NULL, NULL},
      {"hmo", NULL, NULL},
      {"hmo_e", NULL, NULL},
      {"hmoecs", NULL, NULL},
      {"lignas", NULL, NULL},
      {"alignof and", NULL, NULL},
      {"alignas ", NULL, NULL},
      {" alignas", NULL, NULL},
      {"", NULL, NULL},
      {" ", NULL, NULL},
      {"xor_e", NULL, NULL},
      {"y", NULL, NULL},
      {"int", keyword, keyword},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (int model = 0; model < 2; model++) {
      const char *expected = model ? cases[i].of_model : cases[i].of_port,
                 *found = hmoec_name_taken(mlirStringRefCreateFromCString(cases[i].name), model);
      if (!expected != !found || (found && strcmp(expected, found) != 0))
        fail_msg("'%s' of a %s: expected %s, found %s", cases[i].name, model ? "model" : "port", expected ? expected : "none",
                 found ? found : "none");
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_build_by_hand), cmocka_unit_test(test_builder_errors),
                                     cmocka_unit_test(test_named_dims),    cmocka_unit_test(test_builder_messages),
                                     cmocka_unit_test(test_load),          cmocka_unit_test(test_taken_names),
                                     cmocka_unit_test(test_load_size),     cmocka_unit_test(test_load_guess)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
