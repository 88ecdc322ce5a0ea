/* What the verifier says of entry functions and of what they carry: a row is one thing that differs from a sound model, and all that is said of it. */
#include "module_fixture.h"

#include <stdio.h>

#include "ir/c_names.h"
#include "ir/generation.h"

static MlirContext context;

static int setup(void **state) {
  (void)state;
  context = hmoec_context_create();
  return mlirContextIsNull(context) ? -1 : 0;
}

static int teardown(void **state) {
  (void)state;
  hmoec_context_destroy(context);
  return 0;
}

static void keep(void *user, const hmoec_message *message) {
  fprintf(user, "%u:%u: %s\n", message->at.line, message->at.column, message->text);
}

/* All messages about a module, a line each; the caller's. */
static char *messages_of(const char *text) {
  size_t size;
  char *messages = NULL;
  FILE *stream = open_memstream(&messages, &size);
  assert_non_null(stream);
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create_with(keep, stream);
  MlirDiagnosticHandlerID handler = hmoec_diagnostics_attach(diagnostics, context);
  MlirModule module = hmoec_module_parse(context, "m.mlir", text, strlen(text));
  if (!mlirModuleIsNull(module)) {
    bool ok = hmoec_verify(module, diagnostics);
    assert_int_equal(ok, hmoec_diagnostics_errors(diagnostics) == 0);
    mlirModuleDestroy(module);
  }
  mlirContextDetachDiagnosticHandler(context, handler);
  hmoec_diagnostics_destroy(diagnostics);
  fclose(stream);
  return messages;
}

/* A model of these arguments and attributes, whose output is a parameter. */
static char *model_text(const char *arguments, const char *output, const char *attributes) {
  char *text = malloc(32768);
  assert_non_null(text);
  snprintf(text, 32768,
           "func.func @m(%s) -> (tensor<4xf32> {%s}) attributes {%s} {\n"
           "%%p = \"hmoe.parameter\"() {key = \"p\", count = 0 : i64} : () -> tensor<4xf32>\nreturn %%p : tensor<4xf32>\n}\n",
           arguments, output, attributes);
  return text;
}

static void check(const char *arguments, const char *output, const char *attributes, const char *expected) {
  char *text = model_text(arguments, output, attributes), *found = messages_of(text), wanted[1024] = "";
  for (const char *at = expected; *at; at += strcspn(at, "\n") + 1) {
    snprintf(wanted + strlen(wanted), sizeof wanted - strlen(wanted), "1:1: %.*s\n", (int)strcspn(at, "\n"), at);
    if (!strchr(at, '\n')) break;
  }
  if (strcmp(found, wanted) != 0) fail_msg("%sexpected\n%sfound\n%s", text, wanted, found);
  free(found);
  free(text);
}

static const char output[] = "hmoe.name = \"y\"";
#define ARGUMENT(type, attributes) "%x: tensor<" type "> {hmoe.name = \"x\"" attributes "}"

static void test_names(void **state) {
  (void)state;
  static const struct {
    const char *name, *message; /* of an argument; %s: which */
  } rows[] = {
      {"\"x1\"", ""},
      {"\"_x\"", ""},
      {"\"X_9z\"", ""},
      {"\"\"", "the name \"\" of %s is not an identifier"},
      {"\"1x\"", "the name \"1x\" of %s is not an identifier"},
      {"\"x-y\"", "the name \"x-y\" of %s is not an identifier"},
      {"\"x.y\"", "the name \"x.y\" of %s is not an identifier"},
      {"\"x \"", "the name \"x \" of %s is not an identifier"},
      {"\"int\"", "\"int\" cannot name %s: it is a keyword of C or C++"},
      {"\"int64_t\"", "\"int64_t\" cannot name %s: it is a type of C"},
      {"\"stdio\"", ""},
      {"3", "%s has no name: expected the string attribute hmoe.name"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char text[256], message[256];
    snprintf(text, sizeof text, "%%a: tensor<4xf32> {hmoe.name = \"a\"}, %%x: tensor<4xf32> {hmoe.name = %s}", rows[i].name);
    snprintf(message, sizeof message, rows[i].message, "argument 1");
    check(text, output, "", message);
    snprintf(text, sizeof text, "hmoe.name = %s", rows[i].name);
    snprintf(message, sizeof message, rows[i].message, "result 0");
    check("", text, "", message);
  }
  check(ARGUMENT("4xf32", ""), "", "", "result 0 has no name: expected the string attribute hmoe.name");
  check("%x: tensor<4xf32>", output, "", "argument 0 has no name: expected the string attribute hmoe.name");
  check("%x: tensor<4xf32>, %z: tensor<4xf32> {hmoe.name = \"z\"}", output, "",
        "argument 0 has no name: expected the string attribute hmoe.name");
  check("%x: tensor<4xf32> {hmoe.name = \"x\"}, %z: tensor<4xf32> {hmoe.name = \"x\"}", output, "", "the name \"x\" is used twice");
  check("%x: tensor<4xf32> {hmoe.name = \"y\"}, %z: tensor<4xf32> {hmoe.name = \"x\"}", output, "", "the name \"y\" is used twice");
  for (int length = HMOEC_MOST_NAME; length <= HMOEC_MOST_NAME + 1; length++) {
    char text[256], message[256] = "";
    snprintf(text, sizeof text, "hmoe.name = \"y%0*d\"", length - 1, 0);
    if (length > HMOEC_MOST_NAME)
      snprintf(message, sizeof message, "the name of result 0 is longer than %d characters", HMOEC_MOST_NAME);
    check("", text, "", message);
    snprintf(text, sizeof text, "hmoe.model = \"y%0*d\"", length - 1, 0);
    if (length > HMOEC_MOST_NAME)
      snprintf(message, sizeof message, "the model's name is longer than %d characters", HMOEC_MOST_NAME);
    check("", output, text, message);
    snprintf(text, sizeof text, "%%x: tensor<?xf32> {hmoe.name = \"x\", hmoe.dims = [\"n%0*d\"]}", length - 1, 0);
    if (length > HMOEC_MOST_NAME)
      snprintf(message, sizeof message, "\"n%0*d\" cannot name a dimension of argument 0: it is not an identifier", length - 1, 0);
    check(text, output, "", message);
  }
  /* 64 inputs and outputs. */
  for (int count = 63; count <= 64; count++) {
    char arguments[8192] = "";
    for (int i = 0; i < count; i++)
      snprintf(arguments + strlen(arguments), 128, "%s%%a%d: tensor<4xf32> {hmoe.name = \"a%d\"}", i ? ", " : "", i, i);
    check(arguments, output, "", count > 63 ? "more than 64 inputs and outputs" : "");
  }
}

static void test_models(void **state) {
  (void)state;
  static const struct {
    const char *attributes, *message;
  } rows[] = {
      {"hmoe.model = \"n\"", ""},
      {"hmoe.model = 3", "expected hmoe.model to be a string"},
      {"hmoe.model = \"a b\"", "the model's name \"a b\" is not an identifier"},
      {"hmoe.model = \"\"", "the model's name \"\" is not an identifier"},
      {"hmoe.model = \"int\"", "\"int\" cannot name a model: it is a keyword of C or C++"},
      {"hmoe.model = \"stdio\"", "\"stdio\" cannot name a model: it is a header of C"},
      {"hmoe.model = \"int64_t\"", ""},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) check("", output, rows[i].attributes, rows[i].message);
  static const struct {
    const char *text, *messages;
  } modules[] = {
      {"module {}\n", "1:1: the model has no function\n"},
      {"module {\nmodule {}\n}\n", "2:1: expected functions in a model, found builtin.module\n1:1: the model has no function\n"},
      {"func.func @stdio() -> (tensor<4xf32> {hmoe.name = \"y\"}) {\n%p = \"hmoe.parameter\"() {key = \"p\", count = 0 : i64} : () "
       "-> "
       "tensor<4xf32>\nreturn %p : tensor<4xf32>\n}\n",
       "1:1: \"stdio\" cannot name a model: it is a header of C\n"},
      {"func.func nested @m() -> (tensor<4xf32> {hmoe.name = \"y\"})\n", "1:1: the function has no body\n"},
      {"func.func private @f(%x: f32) -> f32 {\nreturn %x : f32\n}\n", "1:1: the model has no function\n"},
      {"func.func private @run(%x: f32) -> f32 {\nreturn %x : f32\n}\n",
       "1:1: a function cannot be named run: entries of models are\n1:1: the model has no function\n"},
      {"func.func private @\"a b\"(%x: f32) -> f32 {\nreturn %x : f32\n}\n",
       "1:1: the function's name \"a b\" is not an identifier\n1:1: the model has no function\n"},
      {"func.func private @f(%x: f32) -> f32\n", "1:1: function @f has no body\n1:1: the model has no function\n"},
      {"func.func private @f(%x: f32, %y: f32, %z: f32) -> f32 {\nreturn %x : f32\n}\n",
       "1:1: function @f: expected one or two arguments of f32, and one result of f32\n1:1: the model has no function\n"},
      {"func.func private @f() -> f32 {\n%x = arith.constant 1.0 : f32\nreturn %x : f32\n}\n",
       "1:1: function @f: expected one or two arguments of f32, and one result of f32\n1:1: the model has no function\n"},
      {"func.func private @f(%x: f32, %y: f64) -> f32 {\nreturn %x : f32\n}\n",
       "1:1: function @f: expected one or two arguments of f32, and one result of f32\n1:1: the model has no function\n"},
      {"func.func private @f(%x: f32, %y: f64) -> f64 {\nreturn %y : f64\n}\n",
       "1:1: function @f: expected one or two arguments of f32, and one result of f32\n1:1: the model has no function\n"},
      {"func.func private @f(%x: f32) -> (f32, f32) {\nreturn %x, %x : f32, f32\n}\n",
       "1:1: function @f: expected one or two arguments of f32, and one result of f32\n1:1: the model has no function\n"},
      {"func.func private @f(%x: f32) -> f32 {\nreturn %x : f32\n^a:\nreturn %x : f32\n}\n",
       "1:1: function @f has more than one block\n1:1: the model has no function\n"},
  };
  for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
    char *found = messages_of(modules[i].text);
    if (strcmp(found, modules[i].messages) != 0) fail_msg("%sexpected\n%sfound\n%s", modules[i].text, modules[i].messages, found);
    free(found);
  }
}

/* Which dimensions may be known at run time only, by element and rank, and how large tensors are. */
static void test_tensors(void **state) {
  (void)state;
  static const char *const elements[] = {"f32", "i32", "i64", "i1"};
  static const struct {
    const char *dims, *text;
    bool numbers, tokens; /* is it a tensor of f32 or i1, of i32 or i64? */
  } shapes[] = {
      {"", "", true, true},
      {"4x", "4", true, true},
      {"?x", "?", true, true},
      {"?x4x", "?, 4", true, true},
      {"4x?x", "4, ?", false, true},
      {"?x?x", "?, ?", false, true},
      {"?x?x4x", "?, ?, 4", true, true},
      {"4x?x4x", "4, ?, 4", true, true},
      {"?x4x?x", "?, 4, ?", false, false},
      {"?x?x?x", "?, ?, ?", false, false},
      {"4x4x4x4x", "4, 4, 4, 4", true, true},
      {"?x4x4x4x", "?, 4, 4, 4", true, true},
      {"?x?x4x4x", "?, ?, 4, 4", false, true},
      {"4x4x?x4x", "4, 4, ?, 4", false, false},
      {"4x4x4x?x", "4, 4, 4, ?", false, false},
  };
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
    for (size_t e = 0; e < 4; e++) {
      char argument[128], message[256] = "";
      snprintf(argument, sizeof argument, "%%x: tensor<%s%s> {hmoe.name = \"x\"}", shapes[s].dims, elements[e]);
      if (e % 3 ? !shapes[s].tokens : !shapes[s].numbers)
        snprintf(message, sizeof message,
                 "argument 0 is %s[%s]: only the first dimension, or batch and length, may be known at run time", elements[e],
                 shapes[s].text);
      check(argument, output, "", message);
    }
  static const char *const others[] = {
      "tensor<4xf64>", "tensor<4xf16>",         "tensor<4xi8>",   "tensor<4xsi32>", "tensor<*xf32>",   "f32",
      "vector<4xf32>", "tensor<1x1x1x1x4xf32>", "tensor<4xui64>", "tensor<4xbf16>", "tensor<4xindex>", "tensor<4xi16>"};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    char argument[128];
    snprintf(argument, sizeof argument, "%%x: %s {hmoe.name = \"x\"}", others[i]);
    check(argument, output, "", "argument 0 is not a tensor of f32, i32, i64 or i1 of rank 4 or less");
  }
  check(ARGUMENT("0xf32", ""), output, "", "argument 0 is f32[0]: expected dimensions of at least 1");
  check(ARGUMENT("?x0xf32", ""), output, "", "argument 0 is f32[?, 0]: expected dimensions of at least 1");
  check(ARGUMENT("1xf32", ""), output, "", "");
  assert_true(HMOEC_MOST_ELEMENTS == INT64_C(1) << 44);
  check(ARGUMENT("1048576x16777216xf32", ""), output, "", "");
  check(ARGUMENT("17592186044416xf32", ""), output, "", "");
  check(ARGUMENT("17592186044417xf32", ""), output, "", "argument 0 is too large: f32[17592186044417]");
  check(ARGUMENT("9223372036854775807x9223372036854775807xf32", ""), output, "",
        "argument 0 is too large: f32[9223372036854775807, 9223372036854775807]");
}

static void test_dims(void **state) {
  (void)state;
  static const struct {
    const char *argument, *message;
  } rows[] = {
      {ARGUMENT("4xf32", ", hmoe.dims = []"), ""},
      {ARGUMENT("4xf32", ", hmoe.dims = [\"n\"]"),
       "argument 0: expected hmoe.dims to name the 0 dimensions that are known at run time only"},
      {ARGUMENT("?xf32", ", hmoe.dims = [\"n\"]"), ""},
      {ARGUMENT("?xf32", ", hmoe.dims = []"),
       "argument 0: expected hmoe.dims to name the 1 dimensions that are known at run time only"},
      {ARGUMENT("?x?xi64", ", hmoe.dims = [\"n\", \"m\"]"), ""},
      {ARGUMENT("?x?xi64", ", hmoe.dims = [\"n\", \"n\"]"), ""},
      {ARGUMENT("?x?xi64", ", hmoe.dims = [\"n\"]"),
       "argument 0: expected hmoe.dims to name the 2 dimensions that are known at run time only"},
      {ARGUMENT("?x?xi64", ", hmoe.dims = [\"n\", 3]"), "argument 0: expected the names in hmoe.dims to be strings"},
      {ARGUMENT("?x?xi64", ", hmoe.dims = [\"1\", \"m n\"]"),
       "\"1\" cannot name a dimension of argument 0: it is not an identifier\n\"m n\" cannot name a dimension of argument 0: it is "
       "not an "
       "identifier"},
      {ARGUMENT("?x?xi64", ", hmoe.dims = [\"x\", \"int\"]"), "\"x\" cannot name a dimension of argument 0: it is the name of an "
                                                              "input or output\n\"int\" cannot name a dimension of argument 0: "
                                                              "it is a keyword of C or C++"},
      {ARGUMENT("?xf32", ", hmoe.dims = [\"y\"]"),
       "\"y\" cannot name a dimension of argument 0: it is the name of an input or output"},
      {ARGUMENT("?xf32", ", hmoe.dims = [\"stdio\"]"), ""},
      {"%x: tensor<?xf32> {hmoe.name = \"tokens\"}",
       "\"tokens\" cannot name a dimension of argument 0: it is the name of an input or output"},
      {"%x: tensor<?xf32> {hmoe.name = \"batch\"}", ""},
      {"%x: tensor<?x?xi64> {hmoe.name = \"tokens\"}", ""},
      {"%x: tensor<?x?xi64> {hmoe.name = \"batch\"}",
       "\"batch\" cannot name a dimension of argument 0: it is the name of an input or output"},
      {"%x: tensor<?x?xi64> {hmoe.name = \"length\"}",
       "\"length\" cannot name a dimension of argument 0: it is the name of an input or output"},
      {"%x: tensor<?x?xi64> {hmoe.name = \"depth\"}", ""},
      {"%x: tensor<4xf32> {hmoe.name = \"tokens\"}", ""},
      {"%x: tensor<4xf32> {hmoe.name = \"x\"}, %z: tensor<?xf32> {hmoe.name = \"z\", hmoe.dims = [\"x\"]}",
       "\"x\" cannot name a dimension of argument 1: it is the name of an input or output"},
      /* Defaults. */
      {ARGUMENT("4xi64", ", hmoe.default = 9223372036854775807 : i64"), ""},
      {ARGUMENT("4xi32", ", hmoe.default = 2147483647 : i64"), ""},
      {ARGUMENT("4xi32", ", hmoe.default = -2147483648 : i64"), ""},
      {ARGUMENT("4xi32", ", hmoe.default = 2147483648 : i64"), "argument 0: the default 2147483648 does not fit in 32 bits"},
      {ARGUMENT("4xi32", ", hmoe.default = -2147483649 : i64"), "argument 0: the default -2147483649 does not fit in 32 bits"},
      {ARGUMENT("4xi64", ", hmoe.default = 1 : i32"), "argument 0: expected hmoe.default to be an i64"},
      {ARGUMENT("4xi64", ", hmoe.default = 1.0 : f64"), "argument 0: expected hmoe.default to be an i64"},
      {ARGUMENT("4xi64", ", hmoe.default = 1 : index"), "argument 0: expected hmoe.default to be an i64"},
      {ARGUMENT("4xf32", ", hmoe.default = 1 : i64"), "argument 0: only i32 and i64 inputs have a default"},
      {ARGUMENT("4xi1", ", hmoe.default = 1 : i64"), "argument 0: only i32 and i64 inputs have a default"},
      {"%x: tensor<4xf32> {hmoe.name = \"x\"}, %z: tensor<4xf32> {hmoe.name = \"z\", hmoe.default = 1 : i64}",
       "argument 1: only i32 and i64 inputs have a default"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) check(rows[i].argument, output, "", rows[i].message);
}

/* Each setting of generation at its ends, as an attribute of the function. */
static void test_settings(void **state) {
  (void)state;
  static const char token[] = "a token of at least 0, or none", tokens[] = "tokens of at least 0, or none",
                    words[] = "lists of tokens of at least 0, none of them empty, or none", count[] = "an integer of at least 0",
                    one[] = "an integer of at least 1", stopping[] = "true, false or never", flag[] = "true or false",
                    top_k[] = "an integer of at least 0, which is all", number[] = "a number", above[] = "a number above 0",
                    share[] = "a number above 0, at most 1", least[] = "a number of at least 0, at most 1";
  static const struct {
    const char *name, *value, *expected, *found; /* found NULL: it is taken */
  } rows[] = {
      {"start_token", "", token, NULL},
      {"start_token", "0", token, NULL},
      {"start_token", "2147483647", token, NULL},
      {"start_token", "2147483648", token, ", found 2147483648"},
      {"start_token", "-1", token, ", found -1"},
      {"start_token", "1, 2", token, ", found 2 tokens"},
      {"start_token", "1, 2, 3", token, ", found 3 tokens"},
      {"pad_token", "-1", token, ", found -1"},
      {"forced_bos_token", "3, 4", token, ", found 2 tokens"},
      {"end_token", "", tokens, NULL},
      {"end_token", "0, 2147483647, 5", tokens, NULL},
      {"end_token", "0, -1, 5", tokens, ", found -1"},
      {"end_token", "0, 7, 2147483648", tokens, ", found 2147483648"},
      {"forced_eos_token", "-5", tokens, ", found -5"},
      {"suppress_tokens", "-5", tokens, ", found -5"},
      {"begin_suppress_tokens", "-5", tokens, ", found -5"},
      {"bad_words", "", words, NULL},
      {"bad_words", "1, -1", words, NULL},
      {"bad_words", "1, 2, -1, 3, -1", words, NULL},
      {"bad_words", "-1", words, ""},
      {"bad_words", "1", words, ""},
      {"bad_words", "1, -1, -1", words, ""},
      {"bad_words", "1, -1, 2", words, ""},
      {"bad_words", "-1, 1, -1", words, ""},
      {"bad_words", "1, -2, -1", words, ", found -2"},
      {"bad_words", "2147483648, -1", words, ", found 2147483648"},
      {"max_new_tokens", "0", count, NULL},
      {"max_new_tokens", "2147483647", count, NULL},
      {"max_new_tokens", "-1", count, ", found -1"},
      {"max_new_tokens", "2147483648", count, " that fits 31 bits, found 2147483648"},
      {"max_new_tokens", "", count, ", found 0 values"},
      {"max_new_tokens", "1, 2", count, ", found 2 values"},
      {"max_length", "-1", count, ", found -1"},
      {"min_new_tokens", "-1", count, ", found -1"},
      {"min_length", "-1", count, ", found -1"},
      {"no_repeat_ngram", "-1", count, ", found -1"},
      {"no_repeat_ngram", "0", count, NULL},
      {"beams", "1", one, NULL},
      {"beams", "0", one, ", found 0"},
      {"early_stopping", "0", stopping, NULL},
      {"early_stopping", "2", stopping, NULL},
      {"early_stopping", "3", stopping, ", found 3"},
      {"early_stopping", "-1", stopping, ", found -1"},
      {"sample", "0", flag, NULL},
      {"sample", "1", flag, NULL},
      {"sample", "2", flag, ", found 2"},
      {"top_k", "0", top_k, NULL},
      {"top_k", "-1", top_k, ", found -1"},
      {"length_penalty", "-3.0e38", number, NULL},
      {"length_penalty", "3.0e38", number, NULL},
      {"length_penalty", "3.5e38", number, ", found 3.5e+38"},
      {"length_penalty", "-3.5e38", number, ", found -3.5e+38"},
      {"length_penalty", "0x7FF8000000000000", number, ", found nan"},
      {"repetition_penalty", "1.0e-30", above, NULL},
      {"repetition_penalty", "0.0", above, ", found 0"},
      {"repetition_penalty", "1.0e-60", above, ", found 1e-60"}, /* 0 as a float */
      {"repetition_penalty", "-1.0", above, ", found -1"},
      {"repetition_penalty", "3.5e38", above, ", found 3.5e+38"},
      {"temperature", "0.0", above, ", found 0"},
      {"temperature", "2.0", above, NULL},
      {"top_p", "1.0", share, NULL},
      {"top_p", "1.0e-3", share, NULL},
      {"top_p", "0.0", share, ", found 0"},
      {"top_p", "1.001", share, ", found 1.001"},
      {"min_p", "0.0", least, NULL},
      {"min_p", "1.0", least, NULL},
      {"min_p", "-0.001", least, ", found -0.001"},
      {"min_p", "1.001", least, ", found 1.001"},
  };
  uint32_t seen = 0;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    bool real = rows[i].expected == number || rows[i].expected == above || rows[i].expected == share || rows[i].expected == least;
    char attributes[256], message[256] = "";
    const char *open = real ? "" : *rows[i].value ? "array<i64: " : "array<i64", *close = real ? " : f64" : ">";
    snprintf(attributes, sizeof attributes, "hmoe.generation = {%s = %s%s%s}", rows[i].name, open, rows[i].value, close);
    if (rows[i].found) snprintf(message, sizeof message, "expected %s to be %s%s", rows[i].name, rows[i].expected, rows[i].found);
    check("", output, attributes, message);
    uint32_t setting = hmoec_setting_find(rows[i].name);
    assert_true(setting < HMOE_SETTING_COUNT);
    assert_string_equal(hmoec_setting_name(setting), rows[i].name);
    assert_string_equal(hmoec_setting_expected(setting), rows[i].expected);
    seen |= UINT32_C(1) << setting;
  }
  assert_true(seen == (UINT32_C(1) << HMOE_SETTING_COUNT) - 1); /* all of them */
  static const struct {
    const char *attributes, *message;
  } others[] = {
      {"hmoe.generation = {}", ""},
      {"hmoe.generation = 3 : i64", "expected hmoe.generation to be a dictionary"},
      {"hmoe.generation = {beam = array<i64: 1>}", "hmoe.generation: there is no setting 'beam'"},
      {"hmoe.generation = {beams = array<i32: 1>}", "expected beams of hmoe.generation to be array<i64: ...>"},
      {"hmoe.generation = {beams = 1 : i64}", "expected beams of hmoe.generation to be array<i64: ...>"},
      {"hmoe.generation = {top_p = 1.0 : f32}", "expected top_p of hmoe.generation to be an f64"},
      {"hmoe.generation = {top_p = 1 : i64}", "expected top_p of hmoe.generation to be an f64"},
      {"hmoe.generation = {min_length = array<i64: 3>}", ""},
      {"hmoe.generation = {max_length = array<i64: 2>}", ""},
      {"hmoe.generation = {min_length = array<i64: 3>, max_length = array<i64: 3>}", ""},
      {"hmoe.generation = {min_length = array<i64: 4>, max_length = array<i64: 3>}", "min_length = 4 is more than max_length = 3"},
      {"hmoe.generation = {min_new_tokens = array<i64: 4>, max_new_tokens = array<i64: 4>}", ""},
      {"hmoe.generation = {min_new_tokens = array<i64: 5>, max_new_tokens = array<i64: 4>}",
       "min_new_tokens = 5 is more than max_new_tokens = 4"},
      {"hmoe.generation = {min_new_tokens = array<i64: 5>, max_length = array<i64: 4>}", ""},
      {"hmoe.generation = {min_length = array<i64: 5>, max_new_tokens = array<i64: 4>}", ""},
  };
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) check("", output, others[i].attributes, others[i].message);
  assert_int_equal(hmoec_setting_find("beam"), HMOE_SETTING_COUNT);
  assert_int_equal(hmoec_setting_find(""), HMOE_SETTING_COUNT);
}

/* One op that is wrong, and all that is said of it. */
static void test_ops(void **state) {
  (void)state;
#define T2 "tensor<?x4xf32>"
  static const struct {
    const char *op, *messages; /* each behind "2:6: " */
  } rows[] = {
      {"\"hmoe.activate\"(%x) {function = \"relu\"} : (" T2 ") -> " T2, ""},
      {"\"hmoe.activate\"(%x) {function = \"rel\"} : (" T2 ") -> " T2,
       "activate: expected function to be one of relu, gelu, gelu_new, silu, sigmoid, none or a C function, found \"rel\"; did you "
       "mean relu?"},
      {"\"hmoe.activate\"(%x) {function = \"@f\"} : (" T2 ") -> " T2,
       "activate: function names the function @f, which is not there"},
      {"\"hmoe.activate\"(%x) {function = \"relu\", slope = 1 : i64} : (" T2 ") -> " T2, "activate has no attribute \"slope\""},
      {"\"hmoe.activate\"(%x) {function = \"relu\", operandSegmentSizes = array<i32: 1>} : (" T2 ") -> " T2,
       "activate: operandSegmentSizes does not say which operands there are"},
      {"\"hmoe.activate\"(%x) {function = \"relu\", resultSegmentSizes = array<i32: 1>} : (" T2 ") -> " T2,
       "activate: resultSegmentSizes does not say which results there are"},
      {"\"hmoe.activate\"(%x) {function = \"relu\"} : (" T2 ") -> tensor<?x5xf32>",
       "activate: expected result 0 to be f32[?, 4], found f32[?, 5]"},
      {"\"hmoe.activate\"(%x) {function = \"relu\"} : (" T2 ") -> tensor<4xf32>",
       "activate: expected result 0 to be f32[?, 4], found f32[4]"},
      {"\"hmoe.activate\"(%x) {function = \"relu\"} : (" T2 ") -> tensor<?x4xi32>",
       "activate: expected result 0 to be f32[?, 4], found i32[?, 4]"},
      {"\"hmoe.activate\"(%x) {function = \"relu\"} : (" T2 ") -> tensor<?x4xf64>", "activate: expected result 0 to be f32[?, 4]"},
      {"\"hmoe.activate\"(%x) {function = \"relu\"} : (" T2 ") -> tensor<3x4xf32>",
       "activate: expected result 0 to be f32[?, 4], found f32[3, 4]"},
      {"\"hmoe.concat\"(%x, %x) {operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>} : (" T2 ", " T2 ") -> tensor<?x8xf32>",
       ""},
      {"\"hmoe.concat\"(%x, %x) {operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>, axis = 3 : i32} : (" T2 ", " T2
       ") -> tensor<?x8xf32>",
       "concat: expected axis to be an i64"},
      {"\"hmoe.concat\"(%x, %x) {operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>, axis = 5 : i64} : (" T2 ", " T2
       ") -> tensor<?x8xf32>",
       "concat: expected axis to be between -4 and 3, found 5"},
      {"\"hmoe.slice\"(%x) {begin = 0 : i64, end = 4 : i64, squeeze = 0 : i64} : (" T2 ") -> " T2, ""},
      {"\"hmoe.scale\"(%x) {by = 2.0 : f64} : (" T2 ") -> " T2, ""},
      {"\"hmoe.scale\"(%x) {by = 2.0 : f32} : (" T2 ") -> " T2, "scale: expected by to be an f64"},
      {"\"hmoe.scale\"(%x) {by = 2 : i64} : (" T2 ") -> " T2, "scale: expected by to be an f64"},
      {"\"hmoe.parameter\"() {key = \"a\", count = 0 : i64} : () -> tensor<4xf64>",
       "parameter: the result is not a tensor of rank 4 or less"},
      {"\"hmoe.parameter\"() {key = \"\", count = 0 : i64} : () -> tensor<4xf32>", "parameter: the key is empty"},
      {"\"hmoe.parameter\"() {key = \"a\", count = -1 : i64} : () -> tensor<4xf32>",
       "parameter: expected count to be at least 0, found -1"},
      {"\"hmoe.parameter\"() {key = \"a.{}\", count = 4 : i64} : () -> tensor<4x2xf32>", ""},
      {"\"hmoe.parameter\"() {key = \"a.{}\", count = 4 : i64} : () -> tensor<3x2xf32>",
       "parameter \"a.{}\": expected a stack of 4 tensors, found f32[3, 2]"},
      {"\"hmoe.reshape\"(%q) {shape = [2, 2]} : (tensor<4xf32>) -> tensor<2x2xf32>", ""},
      {"\"hmoe.reshape\"(%q) {shape = [2 : i64, 2 : i32]} : (tensor<4xf32>) -> tensor<2x2xf32>",
       "reshape: expected shape to be a short list of i64"},
      {"\"hmoe.reshape\"(%q) {shape = array<i32: 2, 2>} : (tensor<4xf32>) -> tensor<2x2xf32>",
       "reshape: expected shape to be a short list of i64"},
      {"\"hmoe.reshape\"(%q) {shape = 4 : i64} : (tensor<4xf32>) -> tensor<2x2xf32>",
       "reshape: expected shape to be a short list of i64"},
      {"\"hmoe.reshape\"(%q) {shape = array<i64: 2, 2, 1, 1, 1, 1, 1, 1, 1>} : (tensor<4xf32>) -> tensor<2x2xf32>",
       "reshape: expected a shape of rank 4 or less, found rank 9"},
      {"\"hmoe.reshape\"(%q) {shape = array<i64: 2, 2>, at_open} : (tensor<4xf32>) -> tensor<2x2xf32>", ""},
      {"\"hmoe.activate\"(%x) {function = \"relu\", at_open} : (" T2 ") -> " T2, "activate is at_open, but x depends on an input"},
      {"\"hmoe.activate\"(%q) {function = \"relu\", at_open} : (tensor<4xf32>) -> tensor<4xf32>", ""},
      {"arith.addf %q, %q : tensor<4xf32>", "arith.addf is not an op of the model dialect"},
      {"\"hmoe.hyper_expert\"(%x, %q, %q, %q) {strategy = \"auto\", operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>} : (" T2
       ", tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> " T2,
       "hyper_expert: expected 3 or 5 operands (x, down, up, beta, gamma), found 4"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char text[2048], wanted[1024] = "";
    snprintf(text, sizeof text,
             "func.func @m(%%x: " T2
             " {hmoe.name = \"x\"}) -> (tensor<4xf32> {hmoe.name = \"y\"}) { %%q = \"hmoe.parameter\"() {key = \"q\", "
             "count = 0 : i64} : () -> tensor<4xf32>\n%%a = %s\nreturn %%q : tensor<4xf32>\n}\n",
             rows[i].op);
    char *found = messages_of(text);
    for (const char *at = rows[i].messages; *at; at += strcspn(at, "\n") + 1) {
      snprintf(wanted + strlen(wanted), sizeof wanted - strlen(wanted), "2:6: %.*s\n", (int)strcspn(at, "\n"), at);
      if (!strchr(at, '\n')) break;
    }
    if (strcmp(found, wanted) != 0) fail_msg("%sexpected\n%sfound\n%s", rows[i].op, wanted, found);
    free(found);
  }
#undef T2
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_names), cmocka_unit_test(test_models),   cmocka_unit_test(test_tensors),
                                     cmocka_unit_test(test_dims),  cmocka_unit_test(test_settings), cmocka_unit_test(test_ops)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
