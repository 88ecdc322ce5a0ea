/* What the constructs of the spec language mean: each row is a spec and what its module must hold, in order. */
#include "ir/location.h"
#include "spec_testing.h"

typedef struct sound_spec {
  const char *text;
  const char *wanted[12]; /* pieces of the printed module, in order */
} sound_spec;

#define HEAD                                                                                                                       \
  "model m\n"                                                                                                                      \
  "dim n = ?, h = 8, e = 4, layers = 3\n"                                                                                          \
  "option act = relu in {relu, gelu}, flag = 0 in {0, 1}, size = -3\n"                                                             \
  "input x: f32[n, h]\n"

#define ATTENTION "model m\ndim n = ?, l = ?\ninput q: f32[n, l, 8]\ninput mask: i64[n, l] = 1\nparam b: [2, 9] from \"b\"\n"

static const sound_spec sound_specs[] = {
    /* The entry function. */
    {HEAD "output y = x\n",
     {"func.func @m(%arg0: tensor<?x8xf32> {hmoe.dims = [\"n\"], hmoe.name = \"x\"}) -> (tensor<?x8xf32> {hmoe.name = \"y\"})",
      "hmoe.model = \"m\"", "return %arg0"}},
    {HEAD "input ids: i64[n]\noutput y = x\noutput z = ids\n",
     {"%arg1: tensor<?xi64> {hmoe.dims = [\"n\"], hmoe.name = \"ids\"}", "hmoe.name = \"y\"", "hmoe.name = \"z\"",
      "return %arg0, %arg1"}},
    /* Integers: precedence, division towards zero, conditions. */
    {HEAD "param w: [1 + 2 * 3, (1 + 2) * 3, -7 / 2 + 10, -7 % 4 + 10] from \"w\"\noutput y = add(w, w)\n",
     {"tensor<7x9x7x7xf32>"}},
    {HEAD "param w: [1 + (h == 8), 1 + (h != 8), 1 + (1 < 2 and 2 >= 3 or not 0), 2 - -1] from \"w\"\noutput y = add(w, w)\n",
     {"tensor<2x1x2x3xf32>"}},
    {HEAD "param w: [5 if flag else 6, 7 if not flag else 1 / 0, 1 + (0 and 1 / 0), 1 or 1 / 0] from \"w\"\noutput y = add(w, w)\n",
     {"tensor<6x7x1x1xf32>"}},
    {HEAD "dim f = h * e, g = f / 2\nparam w: [g, h] from \"w\"\noutput y = linear(x, w)\n", {"tensor<16x8xf32>"}},
    {HEAD "check 9223372036854775807 > 0 and size == -3, \"no\"\noutput y = x\n", {"return"}},
    {HEAD "check act == relu and act != gelu and act == \"relu\" and relu == act, \"no\"\noutput y = x\n", {"return"}},
    {HEAD "d, f = pair()\nblock pair() { return 2, 3 }\nparam w: [d, f] from \"w\"\noutput y = add(w, w)\n", {"tensor<2x3xf32>"}},
    /* Params: keys, stacks, scopes, conditions, sharing. */
    {HEAD "param w: f32[h, h] from \"a.{act}.{h}.{size}\"\noutput y = linear(x, w)\n", {"count = 0 : i64, key = \"a.relu.8.-3\""}},
    {HEAD "param w[i < e]: [h] from \"a.{i}.b\"\noutput y = add(w, w)\n", {"count = 4 : i64, key = \"a.{}.b\"", "tensor<4x8xf32>"}},
    {HEAD "scope \"a\" {\n  scope \"b.{h}\" { param w: [h] from \"c\" }\n  param v: [h] from \"d\"\n  param u: [h] from \"/e\"\n}\n"
          "output y = add(add(w, v), u)\n",
     {"key = \"a.b.8.c\"", "key = \"a.d\"", "key = \"e\""}},
    {HEAD "block b() {\n  param w: [h, h] from \"w\"\n  return w\n}\nscope \"s\" { w = b() }\noutput y = linear(x, w)\n",
     {"key = \"s.w\""}},
    {HEAD "param w: [h, h] from \"w\"\nparam b: [h] from \"b\" if flag\noutput y = linear(x, w, bias = b)\n",
     {"\"hmoe.linear\"(%arg0, %0) :"}},
    {HEAD "param w: [h, h] from \"w\"\nparam b: [h] from \"b\" if not flag\noutput y = linear(x, w, b)\n",
     {"\"hmoe.linear\"(%arg0, %0, %1) :"}},
    {HEAD "param w: [h, h] from \"w\"\nparam b: [h] from \"b\"\noutput y = linear(x, w, b if 1)\n",
     {"\"hmoe.linear\"(%arg0, %0, %1) :"}},
    {HEAD "param a: [h, h] from \"w\"\nparam b: [h, h] from \"w\"\noutput y = linear(linear(x, a), b)\n",
     {"hmoe.parameter", "%1 = \"hmoe.linear\"(%arg0, %0)", "\"hmoe.linear\"(%1, %0)"}},
    /* Control. */
    {HEAD "for l in 0..layers {\n  param w: [h, h] from \"l.{l}\"\n  x = linear(x, w)\n}\noutput y = x\n",
     {"key = \"l.0\"", "%1 = \"hmoe.linear\"(%arg0", "key = \"l.1\"", "%3 = \"hmoe.linear\"(%1", "key = \"l.2\"",
      "%5 = \"hmoe.linear\"(%3", "return %5"}},
    {HEAD "for l in 2..2 { x = add(x, x) }\nfor l in 3..1 { x = add(x, x) }\noutput y = x\n", {"return %arg0"}},
    {HEAD "for l in 0..3 {\n  if l % 2 == 1 { x = add(x, x) } else if l == 2 {\n    x = activate(x, function = act)\n  }\n  else { "
          "x = activate(x, function = gelu) }\n}\n"
          "output y = x\n",
     {"function = \"gelu\"", "hmoe.add", "function = \"relu\"", "return"}},
    {HEAD "for i in 0..2 {\n  for j in i..2 {\n    param w: [h, h] from \"{i}{j}\"\n    x = linear(x, w)\n  }\n}\noutput y = x\n",
     {"key = \"00\"", "key = \"01\"", "key = \"11\"", "return"}},
    {HEAD "block b(p, times = 2) {\n  for i in 0..times { p = add(p, p) }\n  return p\n}\noutput y = b(b(x), times = 1)\n",
     {"%0 = \"hmoe.add\"(%arg0", "%1 = \"hmoe.add\"(%0", "%2 = \"hmoe.add\"(%1", "return %2"}},
    {HEAD "block b(p) {\n  if flag { return add(p, p) }\n  return p\n}\noutput y = b(x)\n", {"return %arg0"}},
    {HEAD "block b(p) {\n  for i in 0..9 { if i == 2 { return p } else { p = add(p, p) } }\n}\noutput y = b(p = x)\n",
     {"hmoe.add", "%1 = \"hmoe.add\"", "return %1"}},
    {HEAD "block b(p, w = h, v = w * 2) {\n  param q: [v, w] from \"q\"\n  return linear(p, q)\n}\noutput y = b(x)\n",
     {"tensor<16x8xf32>"}},
    {HEAD "block b() { check h == 8, \"no\" }\nb()\noutput y = x\n", {"return"}},
    /* Several results. */
    {HEAD "param r: [e, h] from \"r\"\nparam wi: [e, 2, h] from \"wi\"\nparam wo: [e, h, 2] from \"wo\"\n"
          "t = route(linear(x, r), top_k = 2, gate = topk_then_softmax)\noutput y = combine(experts(x, t, wi, wo), t)\n",
     {"%4:3 = \"hmoe.route\"", "\"hmoe.experts\"(%arg0, %4#0, %4#2, %1, %2)", "\"hmoe.combine\"(%5, %4#1)"}},
    {HEAD
     "param r: [e, h] from \"r\"\nparam wi: [e, 2, h] from \"wi\"\nparam wo: [e, h, 2] from \"wo\"\n"
     "i, g, k = route(linear(x, r), top_k = 2)\noutput y = combine(gates = g, o = experts(x, i, k, wi, wo, activation = act))\n",
     {"%4:3 = \"hmoe.route\"", "\"hmoe.experts\"(%arg0, %4#0, %4#2, %1, %2)", "\"hmoe.combine\"(%5, %4#1)"}},
    {HEAD "param r: [e, h] from \"r\"\nt = route(linear(x, r), top_k = 1)\noutput y = t.gates\n", {"return %2#1"}},
    {HEAD "block w() {\n  param a: [2, h] from \"a\"\n  param b: [h, 2] from \"b\"\n  return a, b\n}\np = w()\na, b = p\n"
          "output y = linear(linear(x, a), b)\n",
     {"hmoe.parameter", "hmoe.parameter", "\"hmoe.linear\"(%arg0, %0)", "\"hmoe.linear\"(%2, %1)"}},
    {HEAD
     "block w() {\n  param a: [2, h] from \"a\"\n  param b: [2] from \"b\" if flag\n  return a, b\n}\noutput y = linear(x, w())\n",
     {"\"hmoe.linear\"(%arg0, %0) :"}},
    {HEAD "param r: [e, h] from \"r\"\noutput y = reshape(slice(r, begin = 1, end = 1 + e), shape = [2, e * 2])\n",
     {"shape = array<i64: 2, 8>"}},
    /* Decimal numbers: values of options and of arguments, attributes; an integer will do where a number is wanted. */
    {HEAD "option eps = 1e-6, scale = 2.50\nparam g: [h] from \"g\"\noutput y = rms_norm(x, g, epsilon = eps)\n",
     {"hmoe.rms_norm", "epsilon = 9.9999999999999995E-7 : f64"}},
    {HEAD
     "option eps = 0.5 in {0.5, 1E+1, 0}\nparam g: [h] from \"g\"\nblock b(p, w, epsilon = eps) { return rms_norm(p, w, epsilon = "
     "epsilon) }\noutput y = b(b(x, g), g, epsilon = 1)\n",
     {"epsilon = 5.000000e-01 : f64", "epsilon = 1.000000e+00 : f64"}},
    {HEAD "option eps = 0.5\ncheck eps == 0.5 and eps != 1 and 1.0 == 1 and (2.5 if flag else 0.5) == eps, \"no\"\noutput y = x\n",
     {"return"}},
    /* Truth is 1 and 0, as a default, as a choice and in expressions. */
    {HEAD "option yes = true, no = false, may = true in {false, true}\ncheck yes == 1 and no == 0 and may == 1 and true == 1 and "
          "false == 0, "
          "\"\"\noutput y = add(x, x) if yes and not no else x\n",
     {"hmoe.add", "return %0"}},
    /* Inputs that may be left out, and names of dimensions. */
    {HEAD "dim m = ?\ninput ids: i64[n, m] = -1\ninput mask: i32[n] = 1 + 0\noutput y = x\noutput z = ids\noutput w = mask\n",
     {"%arg0: tensor<?x8xf32> {hmoe.dims = [\"n\"], hmoe.name = \"x\"}",
      "%arg1: tensor<?x?xi64> {hmoe.default = -1 : i64, hmoe.dims = [\"n\", \"m\"], hmoe.name = \"ids\"}",
      "%arg2: tensor<?xi32> {hmoe.default = 1 : i64, hmoe.dims = [\"n\"], hmoe.name = \"mask\"}"}},
    {"model m\ninput x: f32[3]\noutput y = x\n", {"%arg0: tensor<3xf32> {hmoe.name = \"x\"}"}},
    {"model m\ndim n = ?\ninput tokens: f32[n]\noutput y = tokens\n", {"{hmoe.dims = [\"n\"], hmoe.name = \"tokens\"}"}},
    /* A tensor with several names. */
    {HEAD "scope \"a\" { param w: [h, h] from \"b.{h}\" or \"/c\" or \"d\" if 1 }\noutput y = linear(x, w)\n",
     {"key = \"a.b.8\\0Ac\\0Aa.d\""}},
    {HEAD "param a: [h, h] from \"p\" or \"q\"\nparam b: [h, h] from \"p\" or \"q\"\noutput y = linear(linear(x, a), b)\n",
     {"hmoe.parameter", "%1 = \"hmoe.linear\"(%arg0, %0)", "\"hmoe.linear\"(%1, %0)"}},
    /* Optional operands, each of its own. */
    {ATTENTION "output y = attention(q, q, q, heads = 2)\n", {"(%arg0, %arg0, %arg0) {biased = 0", "array<i32: 1, 1, 1, 0, 0>"}},
    {ATTENTION "output y = attention(q, q, q, b, heads = 2)\n",
     {"(%arg0, %arg0, %arg0, %0) {biased = 1", "array<i32: 1, 1, 1, 1, 0>"}},
    {ATTENTION "output y = attention(q, q, q, mask = mask, heads = 2)\n",
     {"(%arg0, %arg0, %arg0, %arg1) {biased = 0", "array<i32: 1, 1, 1, 0, 1>"}},
    {ATTENTION "output y = attention(q, q, q, b, mask, heads = 2, causal = 1)\n",
     {"(%arg0, %arg0, %arg0, %0, %arg1) {biased = 1 : i64, causal = 1", "array<i32: 1, 1, 1, 1, 1>"}},
    {ATTENTION "output y = attention(q, q, q, b if 0, mask if 1, heads = 2)\n", {"array<i32: 1, 1, 1, 0, 1>"}},
    /* Generation. */
    {HEAD "generation { start_token = 0\nend_token = [1, 2]\npad_token = none }\noutput y = x\n",
     {"hmoe.generation = {end_token = array<i64: 1, 2>, pad_token = array<i64>, start_token = array<i64: 0>}, hmoe.model = \"m\""}},
    {HEAD "option end = 3, heat = 0.5\ngeneration {\n  end_token = end + 1\n  temperature = heat\n  top_p = 1\n  sample = true\n"
          "  early_stopping = never\n  bad_words = [[1, 2], [end]]\n}\ngeneration { end_token = 5 }\noutput y = x\n",
     {"hmoe.generation = {bad_words = array<i64: 1, 2, -1, 3, -1>, early_stopping = array<i64: 2>, end_token = array<i64: 5>, "
      "sample = array<i64: 1>, temperature = 5.000000e-01 : f64, top_p = 1.000000e+00 : f64}"}},
    {HEAD "generation { bad_words = [1, 2]\nsuppress_tokens = 4 }\noutput y = x\n",
     {"bad_words = array<i64: 1, 2, -1>, suppress_tokens = array<i64: 4>"}},
    {HEAD "generation {\n}\noutput y = x\n", {"attributes {hmoe.model = \"m\"}"}},
    /* Layout of the text. */
    {HEAD "block b(p,) { return add(p, p,) }\nz = b(x,)\noutput y = z\n", {"hmoe.add", "return %0"}},
    {HEAD "w = 1 if 0\nz = add(x, x) if 1 == 1 else x\ncheck (2 if 0 else 3) == 3 and -(-2) == 2 and - -2 == 2 and not not 1 and 2 "
          "- 1 - 1 == 0, \"no\"\noutput y = z\n",
     {"hmoe.add"}},
    {HEAD
     "check 1 < 2 and 1 <= 2 and not 2 <= 1 and not 1 > 2 and not 1 >= 2 and 2 >= 1 and not 2 < 1 and 5 - 2 == 3 and 5 * 2 == 10 "
     "and 5 + 2 == 7 and 7 / 2 == 3, \"no\"\noutput y = x\n",
     {"return"}},
    {HEAD
     "check 0.5 == 0.5 and 2.0 == 2 and 2 == 2.0 and 0.5 != 2 and 2 != 0.5 and not 0.5 != 0.5 and not 0.5 == 0.25 and -0.5 != 0.5, "
     "\"no\"\noutput y = x\n",
     {"return"}},
    {HEAD "check 7 % 3 == 1 and -7 % 3 == -1 and 7 / -2 == -3 and 8 / 2 / 2 == 2 and 1 <= 1 and 1 >= 1 and not 1 < 1 and not 1 > 1 "
          "and 2 > 1, \"no\"\noutput y = x\n",
     {"return %arg0"}},
    {HEAD "check 0 or 0 or 1 and 1, \"no\"\ncheck not (1 and 0), \"no\"\ncheck 1 or foo, \"no\"\ncheck not (0 and foo), "
          "\"no\"\noutput y = x\n",
     {"return %arg0"}},
    {"\xEF\xBB\xBFmodel m\r\ndim n = ?,\r\n    h = 8 # comment \xc3\xa9\r\n\r\ninput x: f32[\r\n  n, h\r\n]\r\noutput y = "
     "add(x,\r\n  x)",
     {"hmoe.add"}},
    {"model m\ninput x: f32[2]\noption o = a in {\n  a,  # one\n  b\n}\nif o == a { output y = x } else { output z = x }\n",
     {"hmoe.name = \"y\""}},
};

static void test_sound_specs(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof sound_specs / sizeof *sound_specs; i++) {
    test_result result = test_build(NULL, sound_specs[i].text, strlen(sound_specs[i].text), NULL, NULL, 0);
    if (!result.built) {
      print_error("%s\n%s\n", result.messages, sound_specs[i].text);
      fail();
    }
    test_expect_in_order(result.ir, sound_specs[i].wanted);
    test_result_deinit(&result);
  }
}

static void test_defines(void **state) {
  (void)state;
  static const char text[] =
      "model m\ndim n = ?, h = 8, f = 2 * h\noption act = relu in {relu, gelu}, flag = 0 in {0, 1}, size = 3, name = \"a b\"\n"
      "input x: f32[n, h]\nparam w: [f, h] from \"{flag}.{size}.{name}\"\noutput y = activate(linear(x, w), function = act)\n";
  static const hmoec_define defines[] = {{"h", "4"},     {"act", "gelu"},       {"h", "5"}, {"flag", "true"},
                                         {"size", "-7"}, {"name", "two words"}, {"n", "?"}};
  test_result result = test_build(NULL, text, strlen(text), NULL, defines, 7);
  assert_true(result.built);
  test_expect_in_order(result.ir, (const char *const[]){"tensor<?x5xf32>", "key = \"1.-7.two words\"", "tensor<10x5xf32>",
                                                        "function = \"gelu\"", NULL});
  test_result_deinit(&result);

  /* A decimal option takes decimals and integers. */
  static const char epsilon[] =
      "model m\ninput x: f32[4]\noption e = 1e-6, c = 0.5 in {0.5, 2}, i = 1 in {0.25, 1}\nparam g: [4] from \"g\"\n"
      "z = reshape(x, shape = [1, 4])\noutput y = rms_norm(rms_norm(z, g, epsilon = e), g, epsilon = c)\n"
      "check i == 0.25, \"{i}\"\n";
  static const hmoec_define decimals[] = {{"e", "0.25"}, {"c", "2"}, {"i", "0.25"}};
  result = test_build(NULL, epsilon, strlen(epsilon), NULL, decimals, 3);
  assert_true(result.built);
  test_expect_in_order(result.ir, (const char *const[]){"epsilon = 2.500000e-01", "epsilon = 2.000000e+00", NULL});
  test_result_deinit(&result);

  /* A dim that follows from another may be set itself. */
  static const hmoec_define derived[] = {{"f", "3"}};
  result = test_build(NULL, text, strlen(text), NULL, derived, 1);
  assert_true(result.built);
  test_expect(result.ir, "tensor<3x8xf32>", text);
  test_result_deinit(&result);
}

/* Settings of generation that are said from outside go before the spec's own. */
static void test_generation_defines(void **state) {
  (void)state;
  static const char text[] =
      "model m\ninput x: f32[2]\ngeneration { end_token = 9\ntemperature = 0.25\nsample = true }\noutput y = x\n";
  static const struct {
    const char *name, *value, *wanted; /* NULL: it is refused */
  } rows[] = {
      {"end_token", "none", "end_token = array<i64>,"},
      {"end_token", "3", "end_token = array<i64: 3>,"},
      {"end_token", "3,4,5", "end_token = array<i64: 3, 4, 5>,"},
      {"end_token", "", NULL},
      {"end_token", "3,,4", NULL},
      {"end_token", "3 4", NULL},
      {"end_token", "never", NULL},
      {"start_token", "7", "start_token = array<i64: 7>,"},
      {"start_token", "none", "start_token = array<i64>,"},
      {"early_stopping", "true", "early_stopping = array<i64: 1>,"},
      {"early_stopping", "false", "early_stopping = array<i64: 0>,"},
      {"early_stopping", "never", "early_stopping = array<i64: 2>,"},
      {"early_stopping", "2", "early_stopping = array<i64: 2>,"},
      {"early_stopping", "none", NULL},
      {"sample", "false", "sample = array<i64: 0>,"},
      {"sample", "true", "sample = array<i64: 1>,"},
      {"sample", "0", "sample = array<i64: 0>,"},
      {"sample", "never", NULL},
      {"temperature", "0.5", "temperature = 5.000000e-01 : f64"},
      {"temperature", "2", "temperature = 2.000000e+00 : f64"},
      {"temperature", "1e-1", "temperature = 1.000000e-01 : f64"},
      {"temperature", "-0.5", NULL},
      {"temperature", "-", NULL},
      {"temperature", "", NULL},
      {"temperature", "1x", NULL},
      {"temperature", "1.", NULL},
      {"temperature", "1e400", NULL},
      {"temperature", "true", NULL},
      {"temperature", "none", NULL},
      {"length_penalty", "-1.5", "length_penalty = -1.500000e+00 : f64"},
      {"length_penalty", "-3", "length_penalty = -3.000000e+00 : f64"},
      {"length_penalty", "--3", NULL},
      {"beams", "3", "beams = array<i64: 3>,"},
      {"beams", "none", NULL},
      {"beams", "false", NULL},
      {"beams", "2.0", NULL},
      {"bad_words", "none", "bad_words = array<i64>,"},
      {"bad_words", "1", NULL},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char name[64];
    snprintf(name, sizeof name, "generation.%s", rows[i].name);
    const hmoec_define define = {name, rows[i].value};
    test_result result = test_build(NULL, text, strlen(text), NULL, &define, 1);
    if (result.built != (rows[i].wanted != NULL))
      fail_msg("%s = %s: %s", name, rows[i].value, result.built ? "taken" : result.messages);
    if (result.built) test_expect(result.ir, rows[i].wanted, result.ir);
    else {
      char begin[128];
      snprintf(begin, sizeof begin, "-D %s=%s: error: expected %s to be ", name, rows[i].value, rows[i].name);
      assert_int_equal(result.errors, 1);
      assert_ptr_equal(strstr(result.messages, begin), result.messages);
    }
    test_result_deinit(&result);
  }
  static const hmoec_define several[] = {
      {"generation.end_token", "3"}, {"generation.temperature", "0.5"}, {"generation.beams", "2"}};
  test_result result = test_build(NULL, text, strlen(text), NULL, several, 3);
  assert_true(result.built);
  test_expect_in_order(result.ir, (const char *const[]){"beams = array<i64: 2>", "end_token = array<i64: 3>",
                                                        "temperature = 5.000000e-01 : f64", NULL});
  test_result_deinit(&result);
}

/* Bytes that a comment and a string may hold. */
static void test_bytes(void **state) {
  (void)state;
  static const struct {
    const char *bytes;
    int refused; /* 0: none */
  } rows[] = {
      {"\x7e", 0},
      {"\t", 0},
      {"\r", 0},
      {"\x1f", 0x1f},
      {"\x01", 0x01},
      {"\x7f", 0x7f},
      {"\x80", 0x80},
      {"\xbf", 0xbf},
      {"\xc1\xbf", 0xc1},
      {"\xc2\x80", 0},
      {"\xdf\xbf", 0},
      {"\xc2", 0xc2},
      {"\xc2\x7f", 0xc2},
      {"\xc2\xc0", 0xc2},
      {"\xe0\xa0\x80", 0},
      {"\xe0\x9f\xbf", 0xe0},
      {"\xed\x9f\xbf", 0},
      {"\xed\xa0\x80", 0xed},
      {"\xee\x80\x80", 0},
      {"\xef\xbf\xbf", 0},
      {"\xe1\x80", 0xe1},
      {"\xe1\x80\xc0", 0xe1},
      {"\xf0\x90\x80\x80", 0},
      {"\xf0\x8f\xbf\xbf", 0xf0},
      {"\xf4\x8f\xbf\xbf", 0},
      {"\xf4\x90\x80\x80", 0xf4},
      {"\xf5\x80\x80\x80", 0xf5},
      {"\xf1\x80\x80", 0xf1},
      {"\xf1\x80\x80\x7f", 0xf1},
      {"\xff", 0xff},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    for (int where = 0; where < 3; where++) {
      char text[256], message[128];
      static const char *const formats[] = {"model m\ninput x: f32[2]\noutput y = x # ab%s c\n",
                                            "model m\ninput x: f32[2]\ncheck 1, \"ab%s\"\noutput y = x\n",
                                            "model m\ninput x: f32[2]\noutput y = x\n#234567890123%s"};
      static const unsigned lines[] = {3, 3, 4}, columns[] = {18, 13, 14};
      snprintf(text, sizeof text, formats[where], rows[i].bytes);
      test_result result = test_build(NULL, text, strlen(text), NULL, NULL, 0);
      bool control = rows[i].refused < 0x20 || rows[i].refused == 0x7f;
      snprintf(message, sizeof message,
               control ? "m.spec:%u:%u: error: control character 0x%02X in the text\n"
                       : "m.spec:%u:%u: error: byte 0x%02X is not valid UTF-8\n",
               lines[where], columns[where], (unsigned)rows[i].refused);
      if (result.built != !rows[i].refused) fail_msg("row %zu, %d: %s", i, where, result.messages);
      if (!result.built) assert_ptr_equal(strstr(result.messages, message), result.messages);
      test_result_deinit(&result);
    }
}

/* Numbers as long and as large as they may be, and how they are taken. */
static void test_numbers(void **state) {
  (void)state;
  static const struct {
    const char *number, *epsilon; /* NULL: refused */
  } rows[] = {
      {"0.5", "5.000000e-01"},
      {"5e-1", "5.000000e-01"},
      {"5E-1", "5.000000e-01"},
      {"50.0e-2", "5.000000e-01"},
      {"0.05e+1", "5.000000e-01"},
      {"0.05e1", "5.000000e-01"},
      {"2", "2.000000e+00"},
      {"2.0", "2.000000e+00"},
      {"00.5", "5.000000e-01"},
      {"1e30", "1.000000e+30"},
      {"1e-300", "1.000000e-300"},
      {"1e400", NULL},
      {"1e", NULL},
      {"1.", NULL},
      {"1.e5", NULL},
      {"1e+", NULL},
      {"1_0", NULL},
      {"0x1", NULL},
      {"1e5x", NULL},
      {"1.5.5", NULL},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char text[512], wanted[64];
    snprintf(text, sizeof text, "model m\ninput x: f32[2, 4]\nparam g: [4] from \"g\"\noutput y = rms_norm(x, g, epsilon = %s)\n",
             rows[i].number);
    test_result result = test_build(NULL, text, strlen(text), NULL, NULL, 0);
    if (result.built != (rows[i].epsilon != NULL)) fail_msg("%s: %s", rows[i].number, result.built ? "taken" : result.messages);
    if (rows[i].epsilon) {
      snprintf(wanted, sizeof wanted, "epsilon = %s : f64", rows[i].epsilon);
      test_expect(result.ir, wanted, rows[i].number);
    }
    test_result_deinit(&result);
  }
  for (int length = 127; length <= 128; length++) {
    char text[512];
    snprintf(text, sizeof text,
             "model m\ninput x: f32[2, 4]\nparam g: [4] from \"g\"\noutput y = rms_norm(x, g, epsilon = 0.5%0*d)\n", length - 3, 0);
    test_result result = test_build(NULL, text, strlen(text), NULL, NULL, 0);
    assert_int_equal(result.built, length == 127);
    test_result_deinit(&result);
  }
}

static void test_include(void **state) {
  (void)state;
  static const test_file files[] = {
      {"parts/common.spec", "include \"dims.spec\"\nblock twice(p) { return add(p, p) }\n"},
      {"parts/dims.spec", "dim n = ?, h = 8\n"},
      {NULL, NULL},
  };
  static const char text[] = "model m\ninclude \"parts/common.spec\"\ninput x: f32[n, h]\noutput y = twice(x)\n";
  const hmoec_define define = {"h", "16"};
  test_result result = test_build(NULL, text, strlen(text), files, &define, 1);
  assert_true(result.built);
  test_expect(result.ir, "tensor<?x16xf32>", text);
  test_result_deinit(&result);
}

/* Files in one another, and files in all: as many, and one more. */
static void test_include_limits(void **state) {
  (void)state;
  enum { MOST = 70 };
  static char names[MOST][16], texts[MOST][64];
  for (size_t deep = 0; deep < 2; deep++)
    for (size_t count = deep ? 8 : 64; count <= (deep ? 9u : 65u); count++) {
      test_file all[MOST + 1] = {{NULL, NULL}};
      char text[4096] = "model m\n", *end = text + strlen(text);
      for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "f%zu.spec", i);
        if (deep && i + 1 < count) snprintf(texts[i], sizeof texts[i], "include \"f%zu.spec\"\n", i + 1);
        else snprintf(texts[i], sizeof texts[i], "dim d%zu = %zu\n", i, i);
        all[i] = (test_file){names[i], texts[i]};
        if (!deep || i == 0) end += snprintf(end, 64, "include \"%s\"\n", names[i]);
      }
      snprintf(end, 128, "input x: f32[d%zu + 1]\noutput y = x\n", count - 1);
      test_result result = test_build(NULL, text, strlen(text), all, NULL, 0);
      bool sound = count == (deep ? 8 : 64);
      if (result.built != sound) fail_msg("%zu: %s", count, result.built ? "taken" : result.messages);
      if (!sound)
        test_expect(result.messages,
                    deep ? "f7.spec:1:9: error: files are included deeper than 8 levels\n"
                         : "m.spec:66:9: error: more than 64 files are included\n",
                    text);
      test_result_deinit(&result);
    }
}

/* After 50 errors nothing more is said. */
static void test_most_errors(void **state) {
  (void)state;
  for (size_t lines = 49; lines <= 60; lines += lines == 49 ? 1 : 10) {
    char text[4096] = "model m\ninput x: f32[2]\noutput y = x\n";
    for (size_t i = 0; i < lines; i++) strcat(text, "zz = foo\n");
    test_result result = test_build(NULL, text, strlen(text), NULL, NULL, 0);
    assert_int_equal(result.errors, lines < 50 ? lines : 50);
    test_result_deinit(&result);
  }
}

/* Keys, and words from outside, as long as they may be. */
static void test_lengths(void **state) {
  (void)state;
  for (int more = 0; more < 2; more++) {
    char text[4096], word[256];
    snprintf(word, sizeof word, "%0*d", 100 + more, 7);
    const hmoec_define define = {"o", word};
    static const char option[] = "model m\noption o = \"a\"\ninput x: f32[2]\noutput y = x\n";
    test_result result = test_build(NULL, option, strlen(option), NULL, &define, 1);
    assert_int_equal(result.built, !more);
    if (more) test_expect(result.messages, "error: expected a word of 1 to 100 characters for the option o\n", word);
    test_result_deinit(&result);
    snprintf(text, sizeof text,
             "model m\ninput x: f32[2]\nscope \"%0*d\" { scope \"%0*d\" { param w: [2] from \"k\" } }\noutput y = x\n", 500, 0,
             497 + more, 0);
    result = test_build(NULL, text, strlen(text), NULL, NULL, 0);
    assert_int_equal(strstr(result.messages, "error: the checkpoint key is longer than 1000 characters\n") != NULL, more);
    assert_int_equal(result.errors, 1); /* such a key is too long for a checkpoint, too */
    test_result_deinit(&result);
    snprintf(text, sizeof text, "model m\ninput x: f32[2]\nparam w: [2] from \"%0*d\" or \"%0*d\"\noutput y = x\n", 500, 1,
             499 + more, 2);
    result = test_build(NULL, text, strlen(text), NULL, NULL, 0);
    assert_int_equal(strstr(result.messages, "error: the keys of 'w' are longer than 1000 characters together\n") != NULL, more);
    assert_int_equal(result.errors, 1);
    test_result_deinit(&result);
  }
  const hmoec_define empty = {"o", ""};
  static const char option[] = "model m\noption o = \"a\"\ninput x: f32[2]\noutput y = x\n";
  test_result result = test_build(NULL, option, strlen(option), NULL, &empty, 1);
  test_expect(result.messages, "-D o=: error: expected a word of 1 to 100 characters for the option o\n", option);
  test_result_deinit(&result);
}

static void test_warnings(void **state) {
  (void)state;
  static const char text[] =
      "model m\ndim n = ?\ninput x: f32[n]\ninput z: f32[n]\nparam w: [3] from \"w\"\nparam v: [3] from \"v\" if 0\noutput y = x\n";
  test_result result = test_build(NULL, text, strlen(text), NULL, NULL, 0);
  assert_true(result.built);
  test_expect(result.messages, "m.spec:4:7: warning: input 'z' is not used", text);
  test_expect(result.messages, "m.spec:5:7: warning: param 'w' is not used", text);
  test_refuse(result.messages, "'v'");
  test_result_deinit(&result);
}

/* Every op carries the place of its call. */
static void test_locations(void **state) {
  (void)state;
  static const char text[] = HEAD "z = add(x, x)\nblock b(p) {\n  return activate(add(p, p), function = act)\n}\noutput y = b(z)\n";
  MlirModule module;
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  assert_true(hmoec_spec_build(test_context(), diagnostics, NULL, "m.spec", text, strlen(text), NULL, &module));
  MlirOperation function = mlirBlockGetFirstOperation(mlirModuleGetBody(module));
  MlirOperation op = mlirBlockGetFirstOperation(mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0)));
  static const unsigned places[][2] = {{5, 5}, {7, 19}, {7, 10}};
  for (size_t i = 0; i < 3; i++, op = mlirOperationGetNextInBlock(op)) {
    hmoec_location at = hmoec_location_of_op(op);
    assert_string_equal(at.file, "m.spec");
    assert_int_equal(at.line, places[i][0]);
    assert_int_equal(at.column, places[i][1]);
  }
  mlirModuleDestroy(module);
  hmoec_diagnostics_destroy(diagnostics);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sound_specs),        cmocka_unit_test(test_defines),     cmocka_unit_test(test_include),
      cmocka_unit_test(test_generation_defines), cmocka_unit_test(test_bytes),       cmocka_unit_test(test_numbers),
      cmocka_unit_test(test_include_limits),     cmocka_unit_test(test_most_errors), cmocka_unit_test(test_lengths),
      cmocka_unit_test(test_warnings),           cmocka_unit_test(test_locations),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
