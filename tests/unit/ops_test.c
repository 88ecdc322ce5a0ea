/* The op table: what builds, what is refused and why, and what the verifier says of the result. */
#include "module_fixture.h"

#include <math.h>
#include <stdio.h>

#include <mlir-c/BuiltinTypes.h>

#include "ir/op_reader.h"
#include "passes/rewrite.h"

static hmoec_attribute int_attribute(const char *name, int64_t value) {
  return (hmoec_attribute){.name = name, .kind = HMOEC_ATTRIBUTE_INT, .integer = value};
}
static hmoec_attribute string_attribute(const char *name, const char *value) {
  return (hmoec_attribute){.name = name, .kind = HMOEC_ATTRIBUTE_STRING, .string = value};
}

/* A block whose arguments have the given shapes; ops are built at its end. */
typedef struct bench {
  module_fixture fixture;
  MlirBlock block;
  MlirLocation location;
  MlirValue values[HMOEC_MAX_OPERANDS];
} bench;

static hmoec_shape f32(int64_t rank, const int64_t *dims) {
  hmoec_shape shape = {.element = HMOEC_F32, .rank = rank};
  for (int64_t i = 0; i < rank; i++) shape.dims[i] = dims[i];
  return shape;
}
#define F32(...) f32(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[]){__VA_ARGS__})
#define T HMOEC_DYNAMIC

static void bench_init(bench *bench, size_t count, const hmoec_shape *shapes) {
  fixture_init(&bench->fixture, NULL);
  MlirContext context = bench->fixture.context;
  bench->location = mlirLocationFileLineColGet(context, mlirStringRefCreateFromCString("layer.spec"), 3, 5);
  MlirType types[HMOEC_MAX_OPERANDS];
  MlirLocation locations[HMOEC_MAX_OPERANDS];
  for (size_t i = 0; i < count; i++) {
    types[i] = hmoec_shape_to_type(context, &shapes[i]);
    locations[i] = bench->location;
  }
  bench->block = mlirBlockCreate((intptr_t)count, types, locations);
  for (size_t i = 0; i < count; i++) bench->values[i] = mlirBlockGetArgument(bench->block, (intptr_t)i);
}

static void bench_deinit(bench *bench) {
  mlirBlockDestroy(bench->block);
  fixture_deinit(&bench->fixture);
}

static MlirOperation bench_build(bench *bench, const char *name, size_t operands, const hmoec_attribute *attributes,
                                 size_t attribute_count) {
  return hmoec_op_build(bench->fixture.context, bench->fixture.diagnostics, bench->block, (MlirOperation){NULL}, bench->location,
                        name, bench->values, operands, attributes, attribute_count);
}

/* Builds one op and compares its results, "a; b", or its first error. */
static void check(const char *name, size_t operands, const hmoec_shape *shapes, const hmoec_attribute *attributes,
                  size_t attribute_count, const char *expected, const char *error) {
  bench bench;
  bench_init(&bench, operands, shapes);
  MlirOperation op = bench_build(&bench, name, operands, attributes, attribute_count);
  assert_string_equal(hmoec_diagnostics_first(bench.fixture.diagnostics), error ? error : "");
  assert_int_equal(mlirOperationIsNull(op), error != NULL);
  char found[512] = "";
  for (intptr_t i = 0; !error && i < mlirOperationGetNumResults(op); i++) {
    hmoec_shape shape;
    char text[HMOEC_SHAPE_CHARS];
    assert_true(hmoec_shape_from_type(mlirValueGetType(mlirOperationGetResult(op, i)), &shape));
    snprintf(found + strlen(found), sizeof found - strlen(found), "%s%s", i ? "; " : "",
             hmoec_shape_string(&shape, text, sizeof text));
  }
  if (!error) {
    assert_string_equal(found, expected);
    assert_true(mlirOperationVerify(op));
  }
  bench_deinit(&bench);
}

#define SHAPES(...)                                                                                                                \
  sizeof((hmoec_shape[]){__VA_ARGS__}) / sizeof(hmoec_shape), (hmoec_shape[]) { __VA_ARGS__ }
#define ATTRIBUTES(...) (hmoec_attribute[]){__VA_ARGS__}, sizeof((hmoec_attribute[]){__VA_ARGS__}) / sizeof(hmoec_attribute)
#define NO_ATTRIBUTES NULL, 0

static const hmoec_shape indices = {.element = HMOEC_I32, .rank = 2, .dims = {T, 1}},
                         kept = {.element = HMOEC_I1, .rank = 2, .dims = {T, 1}};

static void test_results(void **state) {
  (void)state;
  check("linear", SHAPES(F32(T, 8), F32(4, 8)), NO_ATTRIBUTES, "f32[?, 4]", NULL);
  check("linear", SHAPES(F32(T, 8), F32(4, 8), F32(4)), NO_ATTRIBUTES, "f32[?, 4]", NULL);
  check("route", SHAPES(F32(T, 8)), ATTRIBUTES(int_attribute("top_k", 2)), "i32[?, 2]; f32[?, 2]; i1[?, 2]", NULL);
  check("experts", SHAPES(F32(T, 8), indices, kept, F32(4, 16, 8), F32(4, 8, 16)), NO_ATTRIBUTES, "f32[?, 1, 8]", NULL);
  check("experts", SHAPES(F32(T, 8), indices, kept, F32(4, 16, 8), F32(4, 8, 16), F32(4, 16), F32(4, 8)), NO_ATTRIBUTES,
        "f32[?, 1, 8]", NULL);
  check("hypernetwork", SHAPES(F32(T, 5), F32(24, 5), F32(24), F32(24, 5), F32(24)), ATTRIBUTES(int_attribute("bottleneck", 3)),
        "f32[?, 8, 3]; f32[?, 3, 8]", NULL);
  check("hypernetwork", SHAPES(F32(T, 5), F32(24, 5), F32(24), F32(24, 5), F32(24), F32(3, 5), F32(3), F32(8, 5), F32(8)),
        ATTRIBUTES(int_attribute("bottleneck", 3)), "f32[?, 8, 3]; f32[?, 3, 8]; f32[?, 3]; f32[?, 8]", NULL);
  check("all_selections", 0, NULL, ATTRIBUTES(int_attribute("experts", 16), int_attribute("top_k", 2)), "i32[120, 2]", NULL);
  check("distinct_selections", SHAPES(indices), ATTRIBUTES(int_attribute("experts", 4)), "i32[?, 1]; i32[?]", NULL);
  check("fused_experts",
        SHAPES(F32(T, 8), indices, F32(T, 1), kept, F32(4, 16, 8), F32(4, 8, 16), F32(4, 8, 2), F32(4, 2, 8), F32(4, 2), F32(4, 8)),
        ATTRIBUTES(int_attribute("generated_biases", 1)), "f32[?, 8]", NULL);
  check("fused_gated_experts",
        SHAPES(F32(T, 8), indices, F32(T, 1), kept, F32(4, 16, 8), F32(4, 16, 8), F32(4, 8, 16), F32(4, 8, 2), F32(4, 2, 8),
               F32(4, 16), F32(4, 16), F32(4, 8)),
        ATTRIBUTES(int_attribute("expert_biases", 1)), "f32[?, 8]", NULL);
  check("fused_gated_experts",
        SHAPES(F32(T, 8), indices, F32(T, 1), kept, F32(4, 16, 8), F32(4, 16, 8), F32(4, 8, 16), F32(4, 8, 2), F32(4, 2, 8),
               F32(4, 2), F32(4, 8)),
        ATTRIBUTES(int_attribute("expert_biases", 1)), NULL,
        "fused_gated_experts: expert_biases = 1 and generated_biases = 0 need 12 operands, found 11");
  check("fused_gated_experts",
        SHAPES(F32(T, 8), indices, F32(T, 1), kept, F32(4, 16, 8), F32(4, 15, 8), F32(4, 8, 16), F32(4, 8, 2), F32(4, 2, 8)),
        NO_ATTRIBUTES, NULL, "fused_gated_experts: expected wi_1 f32[4, 16, 8], found f32[4, 15, 8]");
  check("weight_embedding",
        SHAPES(F32(8, 3072, 768), F32(8, 768, 3072), F32(2, 1, 5, 5), F32(32, 2, 1, 1), F32(32, 1, 3, 3), F32(128, 32, 1, 1)),
        NO_ATTRIBUTES, "f32[8, 128]", NULL);
}

static void test_shape_errors(void **state) {
  (void)state;
  check("linear", SHAPES(F32(T, 8), F32(4, 7)), NO_ATTRIBUTES, NULL, "linear: expected w f32[out, 8], found f32[4, 7]");
  check("linear", SHAPES(F32(T, 8), F32(T, 8)), NO_ATTRIBUTES, NULL, "linear: expected w f32[out, 8], found f32[?, 8]");
  check("linear", SHAPES(F32(T, 8)), NO_ATTRIBUTES, NULL, "linear: expected 2 or 3 operands (x, w, bias), found 1");
  check("experts", SHAPES(F32(T, 768), indices, kept, F32(8, 3072, 512), F32(8, 768, 3072)), NO_ATTRIBUTES, NULL,
        "experts: expected wi f32[experts, d_ff, 768], found f32[8, 3072, 512]");
  check("experts", SHAPES(F32(T, 768), indices, kept, F32(8, 3072, 768), F32(8, 768, 3071)), NO_ATTRIBUTES, NULL,
        "experts: expected wo f32[8, 768, 3072], found f32[8, 768, 3071]");
  check("hypernetwork", SHAPES(F32(T, 5), F32(25, 5), F32(25), F32(25, 5), F32(25)), ATTRIBUTES(int_attribute("bottleneck", 3)),
        NULL, "hypernetwork: the 25 rows of wd are not a multiple of bottleneck = 3");
  check("reshape", SHAPES(F32(1, 12)),
        ATTRIBUTES((hmoec_attribute){.name = "shape", .kind = HMOEC_ATTRIBUTE_INTS, .ints = (int64_t[]){3, 5}, .int_count = 2}),
        NULL, "reshape: f32[1, 12] has 12 elements, f32[3, 5] has 15");
  check("slice", SHAPES(F32(3, 4)), ATTRIBUTES(int_attribute("begin", 2), int_attribute("end", 5)), NULL,
        "slice: columns [2, 5) are not a part of [0, 4)");
}

/* Slices, concat and scale: axes, steps, numbers near the ends of what fits. */
static void test_parts(void **state) {
  (void)state;
  check("slice", SHAPES(F32(3, 4)), ATTRIBUTES(int_attribute("begin", 1), int_attribute("end", 4), int_attribute("step", 2)),
        "f32[3, 2]", NULL);
  check("slice", SHAPES(F32(3, 4)),
        ATTRIBUTES(int_attribute("begin", 1), int_attribute("end", 4), int_attribute("step", INT32_MAX)), "f32[3, 1]", NULL);
  check("slice", SHAPES(F32(3, 10, 4)),
        ATTRIBUTES(int_attribute("begin", 1), int_attribute("end", 10), int_attribute("step", 2), int_attribute("axis", 1)),
        "f32[3, 5, 4]", NULL);
  check("slice", SHAPES(F32(3, 10, 4)),
        ATTRIBUTES(int_attribute("begin", 0), int_attribute("end", 10), int_attribute("step", 3), int_attribute("axis", -2)),
        "f32[3, 4, 4]", NULL);
  check("slice", SHAPES(F32(3, 10, 4)),
        ATTRIBUTES(int_attribute("begin", 2), int_attribute("end", 3), int_attribute("axis", 0), int_attribute("squeeze", 1)),
        "f32[10, 4]", NULL);
  check("slice", SHAPES(F32(3, 10, 4)),
        ATTRIBUTES(int_attribute("begin", 9), int_attribute("end", 10), int_attribute("axis", 1), int_attribute("squeeze", 1)),
        "f32[3, 4]", NULL);
  check("slice", SHAPES(F32(7)), ATTRIBUTES(int_attribute("begin", 1), int_attribute("end", 7), int_attribute("step", 5)), "f32[2]",
        NULL);
  check("slice", SHAPES(F32(T, T, 8)), ATTRIBUTES(int_attribute("begin", 2), int_attribute("end", 8), int_attribute("step", 3)),
        "f32[?, ?, 2]", NULL);
  check("slice", SHAPES(F32(T, 8)), ATTRIBUTES(int_attribute("begin", 2), int_attribute("end", 3), int_attribute("squeeze", 1)),
        "f32[?]", NULL);
  check("slice", SHAPES(F32(3, 4)), ATTRIBUTES(int_attribute("begin", 2), int_attribute("end", 2)), NULL,
        "slice: columns [2, 2) are not a part of [0, 4)");
  check("slice", SHAPES(F32(3, 4)), ATTRIBUTES(int_attribute("begin", 3), int_attribute("end", 1)), NULL,
        "slice: columns [3, 1) are not a part of [0, 4)");
  check("slice", SHAPES(F32(3, 4)), ATTRIBUTES(int_attribute("begin", 1), int_attribute("end", 4), int_attribute("axis", 0)), NULL,
        "slice: [1, 4) of axis 0 is not a part of [0, 3)");
  check("slice", SHAPES(F32(3, 4)), ATTRIBUTES(int_attribute("begin", 0), int_attribute("end", 1), int_attribute("axis", 2)), NULL,
        "slice: there is no axis 2 in f32[3, 4]");
  check("slice", SHAPES(F32(3, 4)), ATTRIBUTES(int_attribute("begin", 0), int_attribute("end", 1), int_attribute("axis", -3)), NULL,
        "slice: there is no axis -3 in f32[3, 4]");
  check("slice", SHAPES(F32(3, 4)),
        ATTRIBUTES(int_attribute("begin", 0), int_attribute("end", 1), int_attribute("axis", INT64_MIN)), NULL,
        "slice: expected axis to be between -4 and 3, found -9223372036854775808");
  check("slice", SHAPES(F32(3, 4)), ATTRIBUTES(int_attribute("begin", 0), int_attribute("end", 1), int_attribute("step", 0)), NULL,
        "slice: expected step to be at least 1, found 0");
  check("slice", SHAPES(F32(3, 4)),
        ATTRIBUTES(int_attribute("begin", 0), int_attribute("end", 1), int_attribute("step", INT64_MAX)), NULL,
        "slice: expected step to be at least 1 and to fit 31 bits, found 9223372036854775807");
  check("slice", SHAPES(F32(3, 4)), ATTRIBUTES(int_attribute("begin", INT64_MAX), int_attribute("end", INT64_MAX)), NULL,
        "slice: expected begin to be at least 0 and to fit 31 bits, found 9223372036854775807");
  check("slice", SHAPES(F32(T, 4)), ATTRIBUTES(int_attribute("begin", 0), int_attribute("end", 1), int_attribute("axis", 0)), NULL,
        "slice: axis 0 of f32[?, 4] is known only at run time");
  check("slice", SHAPES(F32(T, T, 4)), ATTRIBUTES(int_attribute("begin", 0), int_attribute("end", 1), int_attribute("axis", 1)),
        NULL, "slice: axis 1 of f32[?, ?, 4] is known only at run time");
  check("slice", SHAPES(F32(2, 3, 4, 5)), ATTRIBUTES(int_attribute("begin", 0), int_attribute("end", 1)), NULL,
        "slice: expected x to have 1 to 3 dimensions, found f32[2, 3, 4, 5]");
  check("slice", SHAPES(F32(3, 4)),
        ATTRIBUTES(int_attribute("begin", 0), int_attribute("end", 4), int_attribute("step", 3), int_attribute("squeeze", 1)), NULL,
        "slice: only a single column can become a vector, found 2 columns");
  check("slice", SHAPES(F32(3, 4)),
        ATTRIBUTES(int_attribute("begin", 0), int_attribute("end", 3), int_attribute("axis", 0), int_attribute("squeeze", 1)), NULL,
        "slice: only a single part can be squeezed, found 3");
  check("slice", SHAPES(F32(4)), ATTRIBUTES(int_attribute("begin", 0), int_attribute("end", 1), int_attribute("squeeze", 1)), NULL,
        "slice: only a column of a matrix can become a vector");
  check("slice", SHAPES(F32(T, T, 4)), ATTRIBUTES(int_attribute("begin", 0), int_attribute("end", 1), int_attribute("squeeze", 1)),
        NULL, "slice: only a column of a matrix can become a vector");
  check("slice", SHAPES(indices), ATTRIBUTES(int_attribute("begin", 0), int_attribute("end", 1)), NULL,
        "slice: expected x to be f32, found i32[?, 1]");
  check("concat", SHAPES(F32(T, 4), F32(T, 1), F32(T, 7)), NO_ATTRIBUTES, "f32[?, 12]", NULL);
  check("concat", SHAPES(F32(T, T, 4), F32(T, T, 1)), NO_ATTRIBUTES, "f32[?, ?, 5]", NULL);
  check("concat", SHAPES(F32(3, 4), F32(1, 4)), ATTRIBUTES(int_attribute("axis", 0)), "f32[4, 4]", NULL);
  check("concat", SHAPES(F32(3, 2, 4), F32(3, 5, 4)), ATTRIBUTES(int_attribute("axis", -2)), "f32[3, 7, 4]", NULL);
  check("concat", SHAPES(F32(2), F32(1), F32(1), F32(1), F32(1), F32(1), F32(1), F32(1)), NO_ATTRIBUTES, "f32[9]", NULL);
  check("concat", SHAPES(F32(3, 4)), NO_ATTRIBUTES, NULL,
        "concat: expected 2 or 3 or 4 or 5 or 6 or 7 or 8 operands (a, b, c, d, e, f, g, h), found 1");
  check("concat", SHAPES(F32(3, 4), F32(2, 4)), NO_ATTRIBUTES, NULL,
        "concat: expected b to be as a but in axis 1, which is f32[3, 4], found f32[2, 4]");
  check("concat", SHAPES(F32(3, 4), F32(3, 4), F32(3)), ATTRIBUTES(int_attribute("axis", 0)), NULL,
        "concat: expected c to be as a but in axis 0, which is f32[3, 4], found f32[3]");
  check("concat", SHAPES(F32(T, 4), F32(T, 4)), ATTRIBUTES(int_attribute("axis", 0)), NULL,
        "concat: axis 0 of f32[?, 4] is known only at run time");
  check("concat", SHAPES(F32(3, 4), F32(T, 4)), ATTRIBUTES(int_attribute("axis", 0)), NULL,
        "concat: expected b to be as a but in axis 0, which is f32[3, 4], found f32[?, 4]");
  check("concat", SHAPES(F32(3, 4), indices), NO_ATTRIBUTES, NULL,
        "concat: expected b to be as a but in axis 1, which is f32[3, 4], found i32[?, 1]");
  check("concat", SHAPES(F32(INT64_C(1) << 62, 4), F32(INT64_C(1) << 62, 4)), ATTRIBUTES(int_attribute("axis", 0)), NULL,
        "concat: the result is too large");
  check("concat", SHAPES(F32(3, 4), F32(3, 4)), ATTRIBUTES(int_attribute("axis", 2)), NULL,
        "concat: there is no axis 2 in f32[3, 4]");
  check("scale", SHAPES(F32(T, 4)), ATTRIBUTES((hmoec_attribute){.name = "by", .kind = HMOEC_ATTRIBUTE_FLOAT, .number = -0.5}),
        "f32[?, 4]", NULL);
  check("scale", SHAPES(F32(T, 4), F32(4)), NO_ATTRIBUTES, "f32[?, 4]", NULL);
  check("scale", SHAPES(F32(T, T, 4), F32(T, T, 1)), NO_ATTRIBUTES, "f32[?, ?, 4]", NULL);
  check("scale", SHAPES(F32(3, 4), F32(3, 1)), ATTRIBUTES(int_attribute("inverse_sqrt", 4)), "f32[3, 4]", NULL);
  check("scale", SHAPES(F32(5), F32(5)), NO_ATTRIBUTES, "f32[5]", NULL);
  check("scale", SHAPES(F32(T, 4), F32(5)), NO_ATTRIBUTES, NULL,
        "scale: expected factor f32[4], a value a column, or f32[?, 1], a value a row, found f32[5]");
  check("scale", SHAPES(F32(3, 4), F32(3)), NO_ATTRIBUTES, NULL,
        "scale: expected factor f32[4], a value a column, or f32[3, 1], a value a row, found f32[3]");
  check("scale", SHAPES(F32(T, 4), F32(T, 4)), NO_ATTRIBUTES, NULL,
        "scale: expected factor f32[4], a value a column, or f32[?, 1], a value a row, found f32[?, 4]");
  check("scale", SHAPES(F32(T, 4), indices), NO_ATTRIBUTES, NULL,
        "scale: expected factor f32[4], a value a column, or f32[?, 1], a value a row, found i32[?, 1]");
  check("scale", SHAPES(F32(T, 4)), ATTRIBUTES(int_attribute("inverse_sqrt", 0)), NULL,
        "scale: expected inverse_sqrt to be at least 1, found 0");
  check("scale", SHAPES(F32(T, 4)), ATTRIBUTES((hmoec_attribute){.name = "by", .kind = HMOEC_ATTRIBUTE_FLOAT, .number = NAN}), NULL,
        "scale: expected by to be between -1e30 and 1e30, found nan");
  check("scale", SHAPES(F32(T, 4)), ATTRIBUTES((hmoec_attribute){.name = "by", .kind = HMOEC_ATTRIBUTE_FLOAT, .number = -INFINITY}),
        NULL, "scale: expected by to be between -1e30 and 1e30, found -inf");
}

static void test_refusals(void **state) {
  (void)state;
  check("route", SHAPES(F32(T, 4)), ATTRIBUTES(int_attribute("top_k", 5)), NULL,
        "route: top_k = 5 is more than the 4 experts there are");
  check("selection_embedding", SHAPES(indices, F32(1, 6)), NO_ATTRIBUTES, NULL,
        "selection_embedding: no expert is left unselected: top_k = 1 of 1 experts");
  check("weight_embedding",
        SHAPES(F32(8, 3072, 1600), F32(8, 1600, 3072), F32(2, 1, 5, 5), F32(32, 2, 1, 1), F32(32, 1, 3, 3), F32(128, 32, 1, 1)),
        NO_ATTRIBUTES, NULL, "weight_embedding: d_ff = 3072, d_model = 1600 ends at an image of 1x2, expected 1x1");
  check("weight_embedding",
        SHAPES(F32(8, 256, 64), F32(8, 64, 256), F32(2, 1, 5, 5), F32(32, 2, 1, 1), F32(32, 1, 3, 3), F32(128, 32, 1, 1)),
        NO_ATTRIBUTES, NULL, "weight_embedding: d_ff = 256, d_model = 64 is too small: depthwise 3x3 is left with an image of 3x2");
  check("all_selections", 0, NULL, ATTRIBUTES(int_attribute("experts", 64), int_attribute("top_k", 32)), NULL,
        "all_selections: too many sets of 32 out of 64 experts");
  check("parameter", 0, NULL, ATTRIBUTES(string_attribute("key", "w")), NULL,
        "parameter has a result shape that cannot be inferred");
}

static void test_attribute_errors(void **state) {
  (void)state;
  check("route", SHAPES(F32(T, 4)), NO_ATTRIBUTES, NULL, "route: top_k is missing");
  check("route", SHAPES(F32(T, 4)), ATTRIBUTES(int_attribute("top_k", 0)), NULL, "route: expected top_k to be at least 1, found 0");
  check(
      "route", SHAPES(F32(T, 4)), ATTRIBUTES(int_attribute("top_k", 1), string_attribute("gate", "softmax_then_top")), NULL,
      "route: expected gate to be one of softmax_then_topk, topk_then_softmax, softmax_topk_renorm, sigmoid or a C function, found "
      "\"softmax_then_top\"; did you mean softmax_then_topk?");
  check("route", SHAPES(F32(T, 4)), ATTRIBUTES(int_attribute("top_k", 1), int_attribute("renorm", 2)), NULL,
        "route: expected renorm to be between 0 and 1, found 2");
  check("route", SHAPES(F32(T, 4)), ATTRIBUTES(int_attribute("top_k", 1), int_attribute("renorm", 1)), NULL,
        "route: renorm = 1 divides the gates of gate = sigmoid by their sum; in place of gate = softmax_then_topk take "
        "softmax_topk_renorm, or topk_then_softmax, whose gates sum to 1 as they are");
  check("route", SHAPES(F32(T, 4)), ATTRIBUTES(int_attribute("topk", 1)), NULL,
        "route has no attribute \"topk\"; did you mean top_k?");
  check("route", SHAPES(F32(T, 4)), ATTRIBUTES(string_attribute("top_k", "two")), NULL,
        "route: expected top_k to be an integer, found a name");
  check("append_row", SHAPES(F32(T, 8), F32(4, 8)), ATTRIBUTES(int_attribute("row", 4)), NULL,
        "append_row: row 4 of a table of 4 rows");
  check("take_row", SHAPES(F32(4, 8)), ATTRIBUTES(int_attribute("row", 4)), NULL, "take_row: row 4 of a table of 4 rows");
  check("rout", 0, NULL, NO_ATTRIBUTES, NULL, "there is no op named \"rout\"");
}

static void test_sizes_do_not_overflow(void **state) {
  (void)state;
  const int64_t big = INT64_C(1) << 62;
  check("append_row", SHAPES(F32(T, big), F32(4, big)), ATTRIBUTES(int_attribute("row", 0)), NULL,
        "append_row: the result is too wide");
  check("linear", SHAPES(F32(big, 2), F32(8, 2)), NO_ATTRIBUTES, NULL,
        "linear: the result f32[4611686018427387904, 8] is too large");
  assert_int_equal(hmoec_binomial(16, 8), 12870);
  assert_int_equal(hmoec_binomial(62, 31), INT64_C(465428353255261088));
  assert_int_equal(hmoec_binomial(100, 50), INT64_MAX);
  assert_int_equal(hmoec_binomial(INT64_MAX, 2), INT64_MAX);
  assert_int_equal(hmoec_binomial(3, 4), 0);
}

#define KEY_51 "a.key.of.fifty.one.characters.for.the.limit.of.keys"
#define KEY_255 KEY_51 KEY_51 KEY_51 KEY_51 KEY_51

static void test_parameters(void **state) {
  assert_int_equal(sizeof KEY_255, 256);
  (void)state;
  static const struct {
    const char *key;
    int64_t count;
    hmoec_shape shape;
    const char *error;
  } cases[] = {
      {"w", 0, {.rank = 2, .dims = {2, 3}}, ""},
      {"w.{}", 2, {.rank = 2, .dims = {2, 3}}, ""},
      {"w.{}", 0, {.rank = 2, .dims = {2, 3}}, "parameter \"w.{}\": a single tensor has no \"{}\" in its key, found 1"},
      {"w", 2, {.rank = 2, .dims = {2, 3}}, "parameter \"w\": a stack has one \"{}\" in its key, found 0"},
      {"w.{}", 3, {.rank = 2, .dims = {2, 3}}, "parameter \"w.{}\": expected a stack of 3 tensors, found f32[2, 3]"},
      {"w",
       0,
       {.rank = 2, .dims = {T, 3}},
       "parameter \"w\": expected every dimension to be known and at least 1, found f32[?, 3]"},
      {"", 0, {.rank = 1, .dims = {3}}, "parameter: the key is empty"},
      {"a\nb", 0, {.rank = 1, .dims = {3}}, ""},
      {"a\n", 0, {.rank = 1, .dims = {3}}, "parameter \"a\": one of its keys is empty"},
      {"a\n\nb", 0, {.rank = 1, .dims = {3}}, "parameter \"a\": one of its keys is empty"},
      {"a.{}\nb.{}", 2, {.rank = 2, .dims = {2, 3}}, "parameter \"a.{}\": a stack has one key, not several"},
      {"w", 0, {.element = HMOEC_I32, .rank = 1, .dims = {3}}, "parameter \"w\": expected f32 elements, found i32[3]"},
      {"w", 0, {.rank = 0}, "parameter \"w\": expected tensors of rank 1 or more, found f32[]"},
      {"w", 0, {.rank = 1, .dims = {1}}, ""},
      {"w", 0, {.rank = 1, .dims = {0}}, "parameter \"w\": expected every dimension to be known and at least 1, found f32[0]"},
      {"w.{}", 2, {.rank = 1, .dims = {2}}, "parameter \"w.{}\": expected tensors of rank 1 or more, found f32[2]"},
      {"w.{}", 2, {.rank = 0}, "parameter \"w.{}\": expected a stack of 2 tensors, found f32[]"},
      {"{}", 2, {.rank = 2, .dims = {2, 3}}, ""},
      {"{}.{}", 2, {.rank = 2, .dims = {2, 3}}, "parameter \"{}.{}\": a stack has one \"{}\" in its key, found 2"},
      {"w{", 0, {.rank = 1, .dims = {3}}, ""},
      {"w",
       0,
       {.rank = 2, .dims = {INT64_C(1) << 31, INT64_C(1) << 31}},
       "parameter \"w\": f32[2147483648, 2147483648] is too large"},
      {KEY_255, 0, {.rank = 1, .dims = {3}}, ""},
      {KEY_255 "k", 0, {.rank = 1, .dims = {3}}, "parameter: expected a key of at most 255 characters, found 256"},
      {"a\nb",
       0,
       {.rank = 2, .dims = {T, 3}},
       "parameter \"a\": expected every dimension to be known and at least 1, found f32[?, 3]"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    bench bench;
    bench_init(&bench, 0, NULL);
    MlirOperation op = hmoec_parameter_build(bench.fixture.context, bench.fixture.diagnostics, bench.block, (MlirOperation){NULL},
                                             bench.location, cases[i].key, cases[i].count, &cases[i].shape);
    assert_string_equal(hmoec_diagnostics_first(bench.fixture.diagnostics), cases[i].error);
    assert_int_equal(mlirOperationIsNull(op), *cases[i].error != '\0');
    bench_deinit(&bench);
  }
}

/* A clone has all attributes of its op: numbers, lists however they are written, names of any length, and defaults that are not written. */
static void test_clones(void **state) {
  (void)state;
  static const char text[] =
      "func.func private @a_function_whose_name_is_longer_than_any_of_the_names_that_the_language_of_models_has(%x: f32) -> f32 {\n"
      "return %x : f32 }\n"
      "func.func @f(%x: tensor<?x6xf32>, %i: tensor<?x1xi32>, %k: tensor<?x1xi1>) -> tensor<?x6xf32> {\n"
      "%w = \"hmoe.parameter\"() {key = \"w\", count = 0 : i64} : () -> tensor<6xf32>\n"
      "%m = \"hmoe.parameter\"() {key = \"m\", count = 0 : i64} : () -> tensor<4x6xf32>\n"
      "%s = \"hmoe.parameter\"() {key = \"s.{}\", count = 4 : i64} : () -> tensor<4x6x6xf32>\n"
      "%0 = \"hmoe.rms_norm\"(%x, %w) {epsilon = 2.5e-1 : f64} : (tensor<?x6xf32>, tensor<6xf32>) -> tensor<?x6xf32>\n"
      "%1 = \"hmoe.reshape\"(%m) {shape = [2, 12]} : (tensor<4x6xf32>) -> tensor<2x12xf32>\n"
      "%2 = \"hmoe.reshape\"(%m) {shape = array<i64: 8, 3>} : (tensor<4x6xf32>) -> tensor<8x3xf32>\n"
      "%3 = \"hmoe.activate\"(%0) {function = "
      "\"@a_function_whose_name_is_longer_than_any_of_the_names_that_the_language_of_models_has\"} : "
      "(tensor<?x6xf32>) -> tensor<?x6xf32>\n"
      "%4 = \"hmoe.experts\"(%3, %i, %k, %s, %s) {activation = \"relu\", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0>} : "
      "(tensor<?x6xf32>, tensor<?x1xi32>, tensor<?x1xi1>, tensor<4x6x6xf32>, tensor<4x6x6xf32>) -> tensor<?x1x6xf32>\n"
      "return %0 : tensor<?x6xf32> }\n";
  module_fixture fixture;
  fixture_init(&fixture, NULL);
  fixture.module = hmoec_module_parse(fixture.context, "test.mlir", text, strlen(text));
  assert_false(mlirModuleIsNull(fixture.module));
  MlirOperation function = mlirOperationGetNextInBlock(mlirBlockGetFirstOperation(mlirModuleGetBody(fixture.module)));
  size_t count, compared = 0;
  MlirOperation *ops = hmoec_block_ops(mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0)), &count);
  assert_non_null(ops);
  for (size_t i = 0; i < count; i++) {
    if (hmoec_op_is(ops[i], "func.return") || hmoec_op_is(ops[i], "hmoe.parameter")) continue;
    MlirValue operands[HMOEC_MAX_OPERANDS];
    for (intptr_t o = 0; o < mlirOperationGetNumOperands(ops[i]); o++) operands[o] = mlirOperationGetOperand(ops[i], o);
    hmoec_rewriter rewriter = hmoec_rewriter_before(ops[i], fixture.diagnostics);
    MlirOperation clone = hmoec_rewriter_clone(&rewriter, ops[i], operands);
    assert_string_equal(hmoec_diagnostics_first(fixture.diagnostics), "");
    assert_false(mlirOperationIsNull(clone));
    hmoec_op_reader original, again;
    assert_true(hmoec_op_read(ops[i], fixture.diagnostics, &original) && hmoec_op_read(clone, fixture.diagnostics, &again));
    for (size_t a = 0; original.inference.info->attributes[a].name; a++) {
      const hmoec_attribute *want = &original.inference.attributes[a], *found = &again.inference.attributes[a];
      assert_true(want->number == found->number && want->integer == found->integer && want->int_count == found->int_count);
      if (want->int_count) assert_memory_equal(want->ints, found->ints, want->int_count * sizeof *want->ints);
      if (want->kind == HMOEC_ATTRIBUTE_STRING) assert_string_equal(want->string, found->string);
      compared++;
    }
    if (hmoec_op_is(ops[i], "hmoe.activate"))
      assert_true(mlirStringRefEqual(hmoec_op_string(clone, "function"), hmoec_op_string(ops[i], "function")));
  }
  assert_int_equal(compared, 6);
  free(ops);
  fixture_deinit(&fixture);
}

/* What MLIR itself refuses is said once, in its words. */
static void test_invalid_ir(void **state) {
  (void)state;
  static const char text[] = "func.func @f(%x: tensor<?x6xf32> {hmoe.name = \"x\"}) -> (tensor<?x6xf32> {hmoe.name = \"y\"}) {\n"
                             "return %x : tensor<?x6xf32> }\n";
  module_fixture fixture;
  fixture_init(&fixture, NULL);
  fixture_parse(&fixture, text);
  MlirOperation function = mlirBlockGetFirstOperation(mlirModuleGetBody(fixture.module));
  mlirOperationDestroy(mlirBlockGetTerminator(mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0))));
  assert_false(hmoec_verify(fixture.module, fixture.diagnostics));
  assert_int_equal(hmoec_diagnostics_errors(fixture.diagnostics), 1);
  assert_string_not_equal(hmoec_diagnostics_first(fixture.diagnostics), "the module is not valid IR");
  fixture_deinit(&fixture);
  /* Where nobody listens to MLIR, ours. */
  fixture = (module_fixture){.diagnostics = hmoec_diagnostics_create(NULL), .context = hmoec_context_create()};
  hmoec_diagnostics *elsewhere = hmoec_diagnostics_create(NULL);
  hmoec_diagnostics_attach(elsewhere, fixture.context);
  fixture_parse(&fixture, text);
  function = mlirBlockGetFirstOperation(mlirModuleGetBody(fixture.module));
  mlirOperationDestroy(mlirBlockGetTerminator(mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0))));
  assert_false(hmoec_verify(fixture.module, fixture.diagnostics));
  assert_int_equal(hmoec_diagnostics_errors(fixture.diagnostics), 1);
  assert_string_equal(hmoec_diagnostics_first(fixture.diagnostics), "the module is not valid IR");
  fixture_deinit(&fixture);
  hmoec_diagnostics_destroy(elsewhere);
}

/* A shape as text, in a buffer of every size; to a type and back; compared; and how many elements it has. */
static void test_shapes(void **state) {
  (void)state;
  static const struct {
    hmoec_shape shape;
    const char *text;
    int64_t elements;
  } rows[] = {
      {{.element = HMOEC_F32, .rank = 0}, "f32[]", 1},
      {{.element = HMOEC_I1, .rank = 1, .dims = {7}}, "i1[7]", 7},
      {{.element = HMOEC_I32, .rank = 1, .dims = {T}}, "i32[?]", 1},
      {{.element = HMOEC_I64, .rank = 2, .dims = {T, 24}}, "i64[?, 24]", 24},
      {{.element = HMOEC_F32, .rank = 3, .dims = {3, T, 5}}, "f32[3, ?, 5]", 15},
      {{.element = HMOEC_F32, .rank = 4, .dims = {2, 3, 5, 7}}, "f32[2, 3, 5, 7]", 210},
      {{.element = HMOEC_F32, .rank = 2, .dims = {0, 7}}, "f32[0, 7]", 0},
      {{.element = HMOEC_F32, .rank = 2, .dims = {INT64_C(1) << 31, INT64_C(1) << 31}},
       "f32[2147483648, 2147483648]",
       INT64_C(1) << 62},
      {{.element = HMOEC_F32, .rank = 2, .dims = {INT64_C(1) << 32, INT64_C(1) << 31}}, "f32[4294967296, 2147483648]", INT64_MAX},
      {{.element = HMOEC_F32, .rank = 2, .dims = {-3, 2}}, "f32[-3, 2]", INT64_MAX},
  };
  MlirContext context = hmoec_context_create();
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char buffer[HMOEC_SHAPE_CHARS + 1];
    size_t length = strlen(rows[i].text);
    for (size_t size = 1; size <= length + 3; size++) {
      memset(buffer, '#', sizeof buffer);
      assert_ptr_equal(hmoec_shape_string(&rows[i].shape, buffer, size), buffer);
      assert_int_equal(strlen(buffer), length < size ? length : size - 1);
      assert_memory_equal(buffer, rows[i].text, strlen(buffer));
      for (size_t k = size; k < sizeof buffer; k++) assert_int_equal(buffer[k], '#');
    }
    assert_true(hmoec_shape_elements(&rows[i].shape) == rows[i].elements);
    if (rows[i].shape.rank && rows[i].shape.dims[0] == -3) continue; /* of no type */
    hmoec_shape again;
    assert_true(hmoec_shape_from_type(hmoec_shape_to_type(context, &rows[i].shape), &again));
    assert_int_equal(again.element, rows[i].shape.element);
    assert_int_equal(again.rank, rows[i].shape.rank);
    assert_memory_equal(again.dims, rows[i].shape.dims, sizeof again.dims);
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
      if (rows[i].shape.element != rows[k].shape.element || rows[i].shape.rank != rows[k].shape.rank)
        assert_false(hmoec_shape_compatible(&rows[i].shape, &rows[k].shape));
    for (int64_t d = 0; d < again.rank; d++) {
      bool dynamic = again.dims[d] == T;
      again.dims[d] = T;
      assert_true(hmoec_shape_compatible(&rows[i].shape, &again) && hmoec_shape_compatible(&again, &rows[i].shape));
      again.dims[d] = 12345;
      assert_int_equal(hmoec_shape_compatible(&rows[i].shape, &again), dynamic);
      again.dims[d] = rows[i].shape.dims[d];
    }
  }
  static const char *const others[] = {"f32",           "tensor<*xf32>",         "tensor<4xf64>",
                                       "tensor<4xi8>",  "tensor<4xsi32>",        "vector<4xf32>",
                                       "memref<4xf32>", "tensor<1x1x1x1x1xf32>", "tensor<4xf32, 3 : i64>"};
  hmoec_shape shape;
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    assert_false(hmoec_shape_from_type(mlirTypeParseGet(context, mlirStringRefCreateFromCString(others[i])), &shape));
  hmoec_context_destroy(context);
  /* Binomials up to the largest that fits. */
  static const struct {
    int64_t n, k, value;
  } binomials[] = {{0, 0, 1},
                   {1, 0, 1},
                   {1, 1, 1},
                   {5, 2, 10},
                   {5, 3, 10},
                   {5, 5, 1},
                   {5, 6, 0},
                   {5, -1, 0},
                   {66, 33, INT64_C(7219428434016265740)},
                   {67, 33, INT64_MAX},
                   {10, 1, 10},
                   {10, 9, 10},
                   {INT64_MAX, 1, INT64_MAX},
                   {INT64_MAX, 0, 1},
                   {4294967296, 2, INT64_C(9223372034707292160)}};
  for (size_t i = 0; i < sizeof binomials / sizeof *binomials; i++)
    if (hmoec_binomial(binomials[i].n, binomials[i].k) != binomials[i].value)
      fail_msg("%lld over %lld: %lld", (long long)binomials[i].n, (long long)binomials[i].k,
               (long long)hmoec_binomial(binomials[i].n, binomials[i].k));
}

/* Every row of the table has an op in the dialect file, and its operands are named. */
static void test_table_is_complete(void **state) {
  (void)state;
  char *text = file_text(HMOE_SOURCE_DIR "/dialects/hmoe.irdl.mlir");
  size_t rows = 0, ops = 0;
  for (const hmoec_op_info *info; (info = hmoec_op_info_at(rows)); rows++) {
    char name[96];
    snprintf(name, sizeof name, "irdl.operation @%s {", info->name);
    assert_non_null(strstr(text, name));
    assert_ptr_equal(hmoec_op_info_find(info->name), info);
  }
  for (const char *at = text; (at = strstr(at, "irdl.operation @")); at++) ops++;
  assert_int_equal(rows, ops);
  assert_null(hmoec_op_info_find("softmax"));
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_results),
      cmocka_unit_test(test_shape_errors),
      cmocka_unit_test(test_parts),
      cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_attribute_errors),
      cmocka_unit_test(test_sizes_do_not_overflow),
      cmocka_unit_test(test_parameters),
      cmocka_unit_test(test_table_is_complete),
      cmocka_unit_test(test_clones),
      cmocka_unit_test(test_invalid_ir),
      cmocka_unit_test(test_shapes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
