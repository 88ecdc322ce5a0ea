/* The shape rules and the attribute ranges of all ops, at their limits and one past them: a row is an op, the shapes of its operands, its attributes, and
 * the shapes of its results or what is said. */
#include "module_fixture.h"

#include <stdio.h>

#include "passes/rewrite.h"

typedef struct rule {
  const char *op, *operands, *attributes, *expected;
} rule;

static const struct {
  const char *name;
  hmoec_element element;
} elements[] = {{"f32", HMOEC_F32}, {"i32", HMOEC_I32}, {"i64", HMOEC_I64}, {"i1", HMOEC_I1}};

/* "f32[?,8]"; returns what follows. */
static const char *shape_read(const char *text, hmoec_shape *out_shape) {
  size_t e = 0, length = strcspn(text, "[");
  while (strlen(elements[e].name) != length || strncmp(elements[e].name, text, length) != 0) e++;
  *out_shape = (hmoec_shape){.element = elements[e].element};
  text += length + 1;
  while (*text != ']') {
    char *end = (char *)(uintptr_t)text + 1;
    out_shape->dims[out_shape->rank++] = *text == '?' ? HMOEC_DYNAMIC : strtoll(text, &end, 10);
    text = end + (*end == ',');
  }
  return text + 1;
}

/* "a=1 b=word c=0.5 d=[2,3]" */
static size_t attributes_read(char *text, hmoec_attribute *out, int64_t ints[8]) {
  size_t count = 0;
  for (char *rest = text, *pair; (pair = strtok_r(rest, " ", &rest)); count++) {
    char *value = strchr(pair, '=');
    *value++ = 0;
    out[count] = (hmoec_attribute){.name = pair};
    if (*value == '[') {
      out[count].kind = HMOEC_ATTRIBUTE_INTS;
      out[count].ints = ints;
      for (char *at = value + 1; *at && *at != ']'; at += *at == ',') ints[out[count].int_count++] = strtoll(at, &at, 10);
    } else if (strchr(value, '.')) {
      out[count].kind = HMOEC_ATTRIBUTE_FLOAT;
      out[count].number = strtod(value, NULL);
    } else if ((*value >= '0' && *value <= '9') || *value == '-') {
      out[count].integer = strtoll(value, NULL, 10);
    } else {
      out[count].kind = HMOEC_ATTRIBUTE_STRING;
      out[count].string = value;
    }
  }
  return count;
}

static void run(MlirContext context, const rule *rule, char *out, size_t size) {
  MlirType types[HMOEC_MAX_OPERANDS];
  MlirValue values[HMOEC_MAX_OPERANDS];
  MlirLocation locations[HMOEC_MAX_OPERANDS], location = mlirLocationUnknownGet(context);
  hmoec_attribute attributes[HMOEC_MAX_ATTRIBUTES];
  int64_t ints[8];
  char text[256];
  size_t operands = 0;
  hmoec_shape shape;
  for (const char *at = rule->operands; *at; at += *at == ' ') {
    at = shape_read(at, &shape);
    types[operands] = hmoec_shape_to_type(context, &shape);
    locations[operands++] = location;
  }
  MlirBlock block = mlirBlockCreate((intptr_t)operands, types, locations);
  for (size_t i = 0; i < operands; i++) values[i] = mlirBlockGetArgument(block, (intptr_t)i);
  assert_true(strlen(rule->attributes) < sizeof text);
  strcpy(text, rule->attributes);
  size_t count = attributes_read(text, attributes, ints);
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  MlirOperation op =
      hmoec_op_build(context, diagnostics, block, (MlirOperation){NULL}, location, rule->op, values, operands, attributes, count);
  snprintf(out, size, "%s", hmoec_diagnostics_first(diagnostics));
  assert_int_equal(mlirOperationIsNull(op), hmoec_diagnostics_errors(diagnostics) > 0);
  for (intptr_t i = 0; !mlirOperationIsNull(op) && i < mlirOperationGetNumResults(op); i++) {
    char result[HMOEC_SHAPE_CHARS];
    assert_true(hmoec_shape_from_type(mlirValueGetType(mlirOperationGetResult(op, i)), &shape));
    snprintf(out + strlen(out), size - strlen(out), "%s%s", i ? "; " : "", hmoec_shape_string(&shape, result, sizeof result));
  }
  hmoec_diagnostics_destroy(diagnostics);
  mlirBlockDestroy(block);
}

static const rule rules[] = {
    {"linear", "f32[?,8] f32[4,8]", "", "f32[?, 4]"},
    {"linear", "f32[?,?,8] f32[4,8] f32[4]", "", "f32[?, ?, 4]"},
    {"linear", "f32[3,8] f32[4,8]", "", "f32[3, 4]"},
    {"linear", "f32[?,8] f32[4,8] f32[5]", "", "linear: expected bias f32[4], found f32[5]"},
    {"linear", "f32[?,8] f32[4,8] f32[1,4]", "", "linear: expected bias f32[4], found f32[1, 4]"},
    {"linear", "f32[8] f32[4,8]", "", "linear: expected x f32[tokens, in], found f32[8]"},
    {"linear", "f32[?,?,?,8] f32[4,8]", "", "linear: expected x f32[tokens, in], found f32[?, ?, ?, 8]"},
    {"linear", "i32[?,8] f32[4,8]", "", "linear: expected x f32[tokens, in], found i32[?, 8]"},
    {"linear", "f32[?,8] i32[4,8]", "", "linear: expected w f32[out, 8], found i32[4, 8]"},
    {"linear", "f32[?,?,8] f32[4,9]", "", "linear: expected w f32[out, 8], found f32[4, 9]"},
    {"activate", "f32[?,8]", "function=gelu", "f32[?, 8]"},
    {"activate", "f32[5]", "function=none", "f32[5]"},
    {"activate", "i32[?,8]", "function=relu", "activate: expected x to be f32, found i32[?, 8]"},
    {"activate", "f32[?,8]", "", "activate: function is missing"},
    {"activate", "f32[?,8]", "function=tanh",
     "activate: expected function to be one of relu, gelu, gelu_new, silu, sigmoid, none or a C function, found \"tanh\""},
    {"activate", "f32[?,8]", "function=1", "activate: expected function to be a name, found an integer"},
    {"add", "f32[?,8] f32[?,8]", "", "f32[?, 8]"},
    {"add", "f32[?,8] f32[3,8]", "", "f32[3, 8]"},
    {"add", "f32[3,8] f32[?,8]", "", "f32[3, 8]"},
    {"add", "f32[3,8] f32[4,8]", "", "add: expected two equal shapes, found f32[3, 8] and f32[4, 8]"},
    {"add", "f32[?,8] f32[?,?,8]", "", "add: expected two equal shapes, found f32[?, 8] and f32[?, ?, 8]"},
    {"add", "i32[?,8] i32[?,8]", "", "add: expected a to be f32, found i32[?, 8]"},
    {"add", "f32[?,8] i32[?,8]", "", "add: expected two equal shapes, found f32[?, 8] and i32[?, 8]"},
    {"multiply", "f32[?,8] f32[?,8]", "", "f32[?, 8]"},
    {"multiply", "f32[2,8] f32[2,9]", "", "multiply: expected two equal shapes, found f32[2, 8] and f32[2, 9]"},
    {"multiply", "i64[?,8] i64[?,8]", "", "multiply: expected a to be f32, found i64[?, 8]"},
    {"reshape", "f32[2,6]", "shape=[3,4]", "f32[3, 4]"},
    {"reshape", "f32[2,6]", "shape=[3,2,2,1]", "f32[3, 2, 2, 1]"},
    {"reshape", "f32[2,6]", "shape=[12]", "f32[12]"},
    {"reshape", "f32[2,6]", "shape=[3,2,2,1,1]", "reshape: expected a shape of rank 4 or less, found rank 5"},
    {"reshape", "f32[2,6]", "shape=[3,5]", "reshape: f32[2, 6] has 12 elements, f32[3, 5] has 15"},
    {"reshape", "f32[?,6]", "shape=[6]", "reshape: f32[?, 6] has a dimension that is known only at run time"},
    {"reshape", "f32[2,6]", "shape=[0,12]", "reshape: expected shape to be at least 1, found 0"},
    {"reshape", "f32[2,6]", "", "reshape: shape is missing"},
    {"reshape", "f32[2,6]", "shape=4", "reshape: expected shape to be a list of integers, found an integer"},
    {"slice", "f32[?,8]", "begin=2 end=8", "f32[?, 6]"},
    {"slice", "f32[?,8]", "begin=7 end=8 squeeze=1", "f32[?]"},
    {"slice", "f32[4,8]", "begin=2 end=3 squeeze=1", "f32[4]"},
    {"slice", "f32[?,8]", "begin=2 end=9", "slice: columns [2, 9) are not a part of [0, 8)"},
    {"slice", "f32[?,8]", "begin=3 end=3", "slice: columns [3, 3) are not a part of [0, 8)"},
    {"slice", "f32[?,8]", "begin=-1 end=3", "slice: expected begin to be at least 0, found -1"},
    {"slice", "f32[?,8]", "begin=0 end=0", "slice: expected end to be at least 1, found 0"},
    {"slice", "f32[?,8]", "begin=0 end=2 squeeze=1", "slice: only a single column can become a vector, found 2 columns"},
    {"slice", "f32[?,8]", "begin=0 end=2 squeeze=2", "slice: expected squeeze to be between 0 and 1, found 2"},
    {"slice", "f32[?,?,8]", "begin=0 end=1 squeeze=1", "slice: only a column of a matrix can become a vector"},
    {"slice", "f32[?,?,8]", "begin=1 end=7", "f32[?, ?, 6]"},
    {"slice", "f32[2,3,8]", "begin=0 end=1 squeeze=1", "f32[2, 3]"},
    {"slice", "i32[?,8]", "begin=0 end=1", "slice: expected x to be f32, found i32[?, 8]"},
    {"slice", "f32[2,2,2,8]", "begin=0 end=1", "slice: expected x to have 1 to 3 dimensions, found f32[2, 2, 2, 8]"},
    {"slice", "f32[8]", "begin=3 end=5", "f32[2]"},
    {"slice", "f32[8]", "begin=3 end=4 squeeze=1", "slice: only a column of a matrix can become a vector"},
    {"slice", "f32[4,8]", "begin=1 end=4 axis=0", "f32[3, 8]"},
    {"slice", "f32[4,8]", "begin=1 end=2 axis=0 squeeze=1", "f32[8]"},
    {"slice", "f32[4,8]", "begin=1 end=3 axis=0 squeeze=1", "slice: only a single part can be squeezed, found 2"},
    {"slice", "f32[4,8]", "begin=1 end=5 axis=0", "slice: [1, 5) of axis 0 is not a part of [0, 4)"},
    {"slice", "f32[4,8]", "begin=1 end=2 axis=2", "slice: there is no axis 2 in f32[4, 8]"},
    {"slice", "f32[4,8]", "begin=1 end=2 axis=-1", "f32[4, 1]"},
    {"slice", "f32[4,8]", "begin=1 end=2 axis=-2", "f32[1, 8]"},
    {"slice", "f32[4,8]", "begin=1 end=2 axis=-3", "slice: there is no axis -3 in f32[4, 8]"},
    {"slice", "f32[?,8]", "begin=1 end=2 axis=0", "slice: axis 0 of f32[?, 8] is known only at run time"},
    {"slice", "f32[?,9]", "begin=1 end=9 step=3", "f32[?, 3]"},
    {"slice", "f32[?,9]", "begin=1 end=8 step=3", "f32[?, 3]"},
    {"slice", "f32[?,9]", "begin=1 end=8 step=0", "slice: expected step to be at least 1, found 0"},
    {"concat", "f32[?,8] f32[?,3]", "", "f32[?, 11]"},
    {"concat", "f32[2,8] f32[3,8]", "axis=0", "f32[5, 8]"},
    {"concat", "f32[?,8] f32[?,3] f32[?,1]", "", "f32[?, 12]"},
    {"concat", "f32[?,8] f32[?,?,3]", "", "concat: expected b to be as a but in axis 1, which is f32[?, 8], found f32[?, ?, 3]"},
    {"concat", "f32[3,8] f32[4,3]", "", "concat: expected b to be as a but in axis 1, which is f32[3, 8], found f32[4, 3]"},
    {"concat", "f32[3,8] f32[?,3]", "", "f32[3, 11]"},
    {"concat", "f32[?,8] i32[?,3]", "", "concat: expected b to be as a but in axis 1, which is f32[?, 8], found i32[?, 3]"},
    {"concat", "f32[?,8] f32[?,?]", "", "concat: expected b to be as a but in axis 1, which is f32[?, 8], found f32[?, ?]"},
    {"concat", "i32[?,8] i32[?,3]", "", "concat: expected a to be f32, found i32[?, 8]"},
    {"concat", "f32[?,8] f32[?,3]", "axis=2", "concat: there is no axis 2 in f32[?, 8]"},
    {"concat", "f32[?,4611686018427387904] f32[?,4611686018427387904]", "", "concat: the result is too large"},
    {"scale", "f32[?,8]", "inverse_sqrt=3", "f32[?, 8]"},
    {"scale", "f32[?,8]", "inverse_sqrt=0", "scale: expected inverse_sqrt to be at least 1, found 0"},
    {"scale", "f32[?,8] f32[8]", "", "f32[?, 8]"},
    {"scale", "f32[?,8] f32[?,1]", "", "f32[?, 8]"},
    {"scale", "f32[?,8] f32[3,1]", "", "f32[3, 8]"},
    {"scale", "f32[?,8] f32[7]", "", "scale: expected factor f32[8], a value a column, or f32[?, 1], a value a row, found f32[7]"},
    {"scale", "f32[?,8] f32[?,2]", "",
     "scale: expected factor f32[8], a value a column, or f32[?, 1], a value a row, found f32[?, 2]"},
    {"scale", "f32[?,8] i32[8]", "", "scale: expected factor f32[8], a value a column, or f32[?, 1], a value a row, found i32[8]"},
    {"scale", "f32[?,8]", "", "f32[?, 8]"},
    {"scale", "i32[?,8]", "inverse_sqrt=3", "scale: expected x to be f32, found i32[?, 8]"},
    {"route", "f32[?,4]", "top_k=4", "i32[?, 4]; f32[?, 4]; i1[?, 4]"},
    {"route", "f32[?,4]", "top_k=5", "route: top_k = 5 is more than the 4 experts there are"},
    {"route", "f32[?,?,4]", "top_k=2", "i32[?, 2]; f32[?, 2]; i1[?, 2]"},
    {"route", "f32[2,3,4]", "top_k=2", "i32[6, 2]; f32[6, 2]; i1[6, 2]"},
    {"route", "f32[?,4]", "top_k=2 capacity=-1", "route: expected capacity to be at least 0, found -1"},
    {"route", "f32[?,4]", "top_k=2 capacity=2147483647", "i32[?, 2]; f32[?, 2]; i1[?, 2]"},
    {"route", "f32[?,4]", "top_k=2 capacity=2147483648",
     "route: expected capacity to be at least 0 and to fit 31 bits, found 2147483648"},
    {"route", "f32[?,4]", "top_k=2147483648", "route: expected top_k to be at least 1 and to fit 31 bits, found 2147483648"},
    {"route", "f32[?,4]", "top_k=2 gate=sigmoid renorm=1", "i32[?, 2]; f32[?, 2]; i1[?, 2]"},
    {"route", "f32[?,4]", "top_k=2 gate=topk_then_softmax renorm=1",
     "route: renorm = 1 divides the gates of gate = sigmoid by their sum; in place of gate = topk_then_softmax take "
     "softmax_topk_renorm, or topk_then_softmax, whose gates sum to 1 as they are"},
    {"route", "f32[?,4]", "top_k=2 per_call=2", "route: expected per_call to be between 0 and 1, found 2"},
    {"experts", "f32[?,8] i32[?,2] i1[?,2] f32[4,6,8] f32[4,8,6] f32[4,6] f32[4,8]", "", "f32[?, 2, 8]"},
    {"experts", "f32[?,8] i32[?,2] i1[?,2] f32[4,6,8] f32[4,8,6] f32[4,6]", "",
     "experts: expected 5 or 7 operands (x, indices, kept, wi, wo, bi, bo), found 6"},
    {"experts", "f32[?,8] i32[?,2] i1[?,3] f32[4,6,8] f32[4,8,6]", "", "experts: expected kept i1[tokens, 2], found i1[?, 3]"},
    {"experts", "f32[?,8] i32[?,2] f32[?,2] f32[4,6,8] f32[4,8,6]", "", "experts: expected kept i1[tokens, 2], found f32[?, 2]"},
    {"experts", "f32[?,8] i64[?,2] i1[?,2] f32[4,6,8] f32[4,8,6]", "",
     "experts: expected indices i32[tokens, top_k], found i64[?, 2]"},
    {"experts", "f32[?,8] i32[?,2] i1[?,2] f32[4,6,8] f32[5,8,6]", "", "experts: expected wo f32[4, 8, 6], found f32[5, 8, 6]"},
    {"experts", "f32[?,8] i32[?,2] i1[?,2] f32[4,6,8] f32[4,8,6] f32[4,8] f32[4,8]", "",
     "experts: expected bi f32[4, 6], found f32[4, 8]"},
    {"experts", "f32[?,8] i32[?,2] i1[?,2] f32[4,6,8] f32[4,8,6] f32[4,6] f32[4,6]", "",
     "experts: expected bo f32[4, 8], found f32[4, 6]"},
    {"experts", "f32[3,8] i32[4,2] i1[4,2] f32[4,6,8] f32[4,8,6]", "", "experts: expected indices i32[3, top_k], found i32[4, 2]"},
    {"experts", "f32[?,8] i32[?,2] i1[?,2] f32[4,6,8] f32[4,8,6]", "dropped=pass", "f32[?, 2, 8]"},
    {"experts", "f32[?,8] i32[?,2] i1[?,2] f32[4,6,8] f32[4,8,6]", "dropped=keep",
     "experts: expected dropped to be one of pass, zero, found \"keep\""},
    {"gated_experts", "f32[?,8] i32[?,2] i1[?,2] f32[4,6,8] f32[4,6,8] f32[4,8,6]", "", "f32[?, 2, 8]"},
    {"gated_experts", "f32[?,8] i32[?,2] i1[?,2] f32[4,6,8] f32[4,6,8] f32[4,8,6] f32[4,6] f32[4,6] f32[4,8]", "", "f32[?, 2, 8]"},
    {"gated_experts", "f32[?,8] i32[?,2] i1[?,2] f32[4,6,8] f32[4,7,8] f32[4,8,6]", "",
     "gated_experts: expected wi_1 f32[4, 6, 8], found f32[4, 7, 8]"},
    {"gated_experts", "f32[?,8] i32[?,2] i1[?,2] f32[4,6,8] f32[4,6,8] f32[4,8,7]", "",
     "gated_experts: expected wo f32[4, 8, 6], found f32[4, 8, 7]"},
    {"gated_experts", "f32[?,8] i32[?,2] i1[?,2] f32[4,6,8] f32[4,6,8] f32[4,8,6] f32[4,7] f32[4,6] f32[4,8]", "",
     "gated_experts: expected bi_0 f32[4, 6], found f32[4, 7]"},
    {"gated_experts", "f32[?,8] i32[?,2] i1[?,2] f32[4,6,8] f32[4,6,8] f32[4,8,6] f32[4,6] f32[4,7] f32[4,8]", "",
     "gated_experts: expected bi_1 f32[4, 6], found f32[4, 7]"},
    {"gated_experts", "f32[?,8] i32[?,2] i1[?,2] f32[4,6,8] f32[4,6,8] f32[4,8,6] f32[4,6] f32[4,6] f32[4,6]", "",
     "gated_experts: expected bo f32[4, 8], found f32[4, 6]"},
    {"gated_experts", "f32[?,8] i32[?,2] i1[?,2] f32[4,6,8] f32[4,6,8] f32[4,8,6] f32[4,6] f32[4,6]", "",
     "gated_experts: expected 6 or 9 operands (x, indices, kept, wi_0, wi_1, wo, bi_0, bi_1, bo), found 8"},
    {"combine", "f32[?,2,8] f32[?,2]", "", "f32[?, 8]"},
    {"combine", "f32[?,2,8] f32[?,3]", "", "combine: expected gates f32[tokens, 2], found f32[?, 3]"},
    {"combine", "f32[3,2,8] f32[4,2]", "", "combine: expected gates f32[3, 2], found f32[4, 2]"},
    {"combine", "f32[?,8] f32[?,2]", "", "combine: expected o f32[tokens, top_k, d_model], found f32[?, 8]"},
    {"selection_embedding", "i32[?,2] f32[3,6]", "", "f32[?, 6]"},
    {"selection_embedding", "i32[?,2] f32[2,6]", "", "selection_embedding: no expert is left unselected: top_k = 2 of 2 experts"},
    {"selection_embedding", "i32[?,2] f32[2,6]", "of=selected", "f32[?, 6]"},
    {"selection_embedding", "i32[?,2] f32[1,6]", "of=selected",
     "selection_embedding: top_k = 2 is more than the 1 experts there are"},
    {"selection_embedding", "i32[?,2] f32[3,6]", "of=none",
     "selection_embedding: expected of to be one of selected, unselected, found \"none\""},
    {"selection_embedding", "i32[?,2] f32[3,6]", "aggregate=max",
     "selection_embedding: expected aggregate to be one of sum, mean, found \"max\""},
    {"append_row", "f32[?,3] f32[4,5]", "row=3", "f32[?, 8]"},
    {"append_row", "f32[?,3] f32[4,5]", "row=4", "append_row: row 4 of a table of 4 rows"},
    {"append_row", "f32[?,3] f32[4,5]", "row=-1", "append_row: expected row to be at least 0, found -1"},
    {"append_row", "f32[?,3] f32[4]", "row=0", "append_row: expected table f32[rows, embedding], found f32[4]"},
    {"append_row", "f32[?,3] f32[4,5]", "", "append_row: row is missing"},
    {"take_row", "f32[4,5]", "row=3", "f32[1, 5]"},
    {"take_row", "f32[4,5]", "row=4", "take_row: row 4 of a table of 4 rows"},
    {"take_row", "f32[5]", "row=0", "take_row: expected table f32[rows, columns], found f32[5]"},
    {"hypernetwork", "f32[?,5] f32[24,5] f32[24] f32[24,5] f32[24]", "bottleneck=24", "f32[?, 1, 24]; f32[?, 24, 1]"},
    {"hypernetwork", "f32[?,5] f32[24,5] f32[24] f32[24,5] f32[24]", "bottleneck=25",
     "hypernetwork: the 24 rows of wd are not a multiple of bottleneck = 25"},
    {"hypernetwork", "f32[?,5] f32[24,5] f32[24] f32[24,5] f32[24]", "bottleneck=0",
     "hypernetwork: expected bottleneck to be at least 1, found 0"},
    {"hypernetwork", "f32[?,5] f32[24,6] f32[24] f32[24,5] f32[24]", "bottleneck=3",
     "hypernetwork: expected wd f32[d_model*bottleneck, 5], found f32[24, 6]"},
    {"hypernetwork", "f32[?,5] f32[24,5] f32[23] f32[24,5] f32[24]", "bottleneck=3",
     "hypernetwork: expected bd f32[24], found f32[23]"},
    {"hypernetwork", "f32[?,5] f32[24,5] f32[24] f32[23,5] f32[24]", "bottleneck=3",
     "hypernetwork: expected wu f32[24, 5], found f32[23, 5]"},
    {"hypernetwork", "f32[?,5] f32[24,5] f32[24] f32[24,6] f32[24]", "bottleneck=3",
     "hypernetwork: expected wu f32[24, 5], found f32[24, 6]"},
    {"hypernetwork", "f32[?,5] f32[24,5] f32[24] f32[24,5] f32[23]", "bottleneck=3",
     "hypernetwork: expected bu f32[24], found f32[23]"},
    {"hypernetwork", "f32[?,5] f32[24,5] f32[24] f32[24,5] f32[24] f32[4,5] f32[3] f32[8,5] f32[8]", "bottleneck=3",
     "hypernetwork: expected vd f32[3, 5], found f32[4, 5]"},
    {"hypernetwork", "f32[?,5] f32[24,5] f32[24] f32[24,5] f32[24] f32[3,5] f32[4] f32[8,5] f32[8]", "bottleneck=3",
     "hypernetwork: expected cd f32[3], found f32[4]"},
    {"hypernetwork", "f32[?,5] f32[24,5] f32[24] f32[24,5] f32[24] f32[3,5] f32[3] f32[9,5] f32[8]", "bottleneck=3",
     "hypernetwork: expected vu f32[8, 5], found f32[9, 5]"},
    {"hypernetwork", "f32[?,5] f32[24,5] f32[24] f32[24,5] f32[24] f32[3,5] f32[3] f32[8,5] f32[9]", "bottleneck=3",
     "hypernetwork: expected cu f32[8], found f32[9]"},
    {"hyper_expert", "f32[?,8] f32[?,8,3] f32[?,3,8]", "", "f32[?, 8]"},
    {"hyper_expert", "f32[?,8] f32[?,8,3] f32[?,3,8] f32[?,3] f32[?,8]", "", "f32[?, 8]"},
    {"hyper_expert", "f32[?,8] f32[?,7,3] f32[?,3,8]", "",
     "hyper_expert: expected down f32[tokens, 8, bottleneck], found f32[?, 7, 3]"},
    {"hyper_expert", "f32[?,8] f32[?,8,3] f32[?,4,8]", "", "hyper_expert: expected up f32[tokens, 3, 8], found f32[?, 4, 8]"},
    {"hyper_expert", "f32[?,8] f32[?,8,3] f32[?,3,8] f32[?,4] f32[?,8]", "",
     "hyper_expert: expected beta f32[tokens, 3], found f32[?, 4]"},
    {"hyper_expert", "f32[?,8] f32[?,8,3] f32[?,3,8] f32[?,3] f32[?,7]", "",
     "hyper_expert: expected gamma f32[tokens, 8], found f32[?, 7]"},
    {"hyper_expert", "f32[?,8] f32[?,8,3] f32[?,3,8]", "strategy=tables",
     "hyper_expert: expected strategy to be one of auto, table, cache, factored, per_token, found \"tables\"; did you mean table?"},
    {"indexed_hyper_expert", "f32[?,8] i32[?] f32[5,8,3] f32[5,3,8]", "", "f32[?, 8]"},
    {"indexed_hyper_expert", "f32[?,8] i32[?] f32[5,8,3] f32[6,3,8]", "",
     "indexed_hyper_expert: expected up f32[5, 3, 8], found f32[6, 3, 8]"},
    {"indexed_hyper_expert", "f32[?,8] i64[?] f32[5,8,3] f32[5,3,8]", "",
     "indexed_hyper_expert: expected which i32[tokens], found i64[?]"},
    {"indexed_hyper_expert", "f32[?,8] i32[?] f32[5,8,3] f32[5,3,8] f32[5,3] f32[5,8]", "", "f32[?, 8]"},
    {"indexed_hyper_expert", "f32[?,8] i32[?] f32[5,8,3] f32[5,3,8] f32[5,2] f32[5,8]", "",
     "indexed_hyper_expert: expected beta f32[5, 3], found f32[5, 2]"},
    {"indexed_hyper_expert", "f32[?,8] i32[?] f32[5,8,3] f32[5,3,8] f32[5,3] f32[5,3]", "",
     "indexed_hyper_expert: expected gamma f32[5, 8], found f32[5, 3]"},
    {"factored_hyper_expert", "f32[?,8] f32[?,5] f32[24,5] f32[24] f32[24,5] f32[24]", "bottleneck=3", "f32[?, 8]"},
    {"factored_hyper_expert", "f32[?,8] f32[?,5] f32[24,5] f32[24] f32[24,5] f32[24]", "bottleneck=4",
     "factored_hyper_expert: expected wd f32[32, 5], found f32[24, 5]"},
    {"factored_hyper_expert", "f32[?,4611686018427387904] f32[?,5] f32[24,5] f32[24] f32[24,5] f32[24]", "bottleneck=4",
     "factored_hyper_expert: d_model*bottleneck is too large"},
    {"factored_hyper_expert", "f32[3,8] f32[4,5] f32[24,5] f32[24] f32[24,5] f32[24]", "bottleneck=3",
     "factored_hyper_expert: expected r f32[3, hidden], found f32[4, 5]"},
    {"all_selections", "", "experts=4 top_k=4", "i32[1, 4]"},
    {"all_selections", "", "experts=4 top_k=5", "all_selections: top_k = 5 is more than the 4 experts there are"},
    {"all_selections", "", "experts=34 top_k=16", "all_selections: too many sets of 16 out of 34 experts"},
    {"all_selections", "", "experts=33 top_k=16", "i32[1166803110, 16]"},
    {"selection_rank", "i32[?,4]", "experts=4", "i32[?]"},
    {"selection_rank", "i32[?,5]", "experts=4", "selection_rank: top_k = 5 is more than the 4 experts there are"},
    {"selection_rank", "i32[?,16]", "experts=34", "selection_rank: too many sets of 16 out of 34 experts"},
    {"distinct_selections", "i32[?,4]", "experts=4", "i32[?, 4]; i32[?]"},
    {"distinct_selections", "i32[?,5]", "experts=4", "distinct_selections: top_k = 5 is more than the 4 experts there are"},
    {"distinct_selections", "i32[?,16]", "experts=34", "i32[?, 16]; i32[?]"},
    {"fused_experts", "f32[?,8] i32[?,1] f32[?,1] i1[?,1] f32[4,6,8] f32[4,8,6] f32[4,8,2] f32[4,2,8]", "", "f32[?, 8]"},
    {"fused_experts", "f32[?,8] i32[?,2] f32[?,1] i1[?,1] f32[4,6,8] f32[4,8,6] f32[4,8,2] f32[4,2,8]", "",
     "fused_experts: expected indices i32[tokens, 1], found i32[?, 2]"},
    {"fused_experts", "f32[?,8] i32[?,1] f32[?,2] i1[?,1] f32[4,6,8] f32[4,8,6] f32[4,8,2] f32[4,2,8]", "",
     "fused_experts: expected gates f32[tokens, 1], found f32[?, 2]"},
    {"fused_experts", "f32[?,8] i32[?,1] f32[?,1] i1[?,1] f32[4,6,8] f32[4,8,6] f32[5,8,2] f32[4,2,8]", "",
     "fused_experts: expected down f32[4, 8, bottleneck], found f32[5, 8, 2]"},
    {"fused_experts", "f32[?,8] i32[?,1] f32[?,1] i1[?,1] f32[4,6,8] f32[4,8,6] f32[4,8,2] f32[4,3,8]", "",
     "fused_experts: expected up f32[4, 2, 8], found f32[4, 3, 8]"},
    {"fused_experts",
     "f32[?,8] i32[?,1] f32[?,1] i1[?,1] f32[4,6,8] f32[4,8,6] f32[4,8,2] f32[4,2,8] f32[4,6] f32[4,8] f32[4,2] f32[4,8]",
     "expert_biases=1 generated_biases=1", "f32[?, 8]"},
    {"fused_experts",
     "f32[?,8] i32[?,1] f32[?,1] i1[?,1] f32[4,6,8] f32[4,8,6] f32[4,8,2] f32[4,2,8] f32[4,6] f32[4,8] f32[4,2] f32[4,8]",
     "expert_biases=1", "fused_experts: expert_biases = 1 and generated_biases = 0 need 10 operands, found 12"},
    {"fused_experts", "f32[?,8] i32[?,1] f32[?,1] i1[?,1] f32[4,6,8] f32[4,8,6] f32[4,8,2] f32[4,2,8] f32[4,7] f32[4,8]",
     "expert_biases=1", "fused_experts: expected bi f32[4, 6], found f32[4, 7]"},
    {"fused_experts", "f32[?,8] i32[?,1] f32[?,1] i1[?,1] f32[4,6,8] f32[4,8,6] f32[4,8,2] f32[4,2,8] f32[4,6] f32[4,7]",
     "expert_biases=1", "fused_experts: expected bo f32[4, 8], found f32[4, 7]"},
    {"fused_experts", "f32[?,8] i32[?,1] f32[?,1] i1[?,1] f32[4,6,8] f32[4,8,6] f32[4,8,2] f32[4,2,8] f32[4,3] f32[4,8]",
     "generated_biases=1", "fused_experts: expected beta f32[4, 2], found f32[4, 3]"},
    {"fused_experts", "f32[?,8] i32[?,1] f32[?,1] i1[?,1] f32[4,6,8] f32[4,8,6] f32[4,8,2] f32[4,2,8] f32[4,2] f32[4,7]",
     "generated_biases=1", "fused_experts: expected gamma f32[4, 8], found f32[4, 7]"},
    {"fused_gated_experts",
     "f32[?,8] i32[?,1] f32[?,1] i1[?,1] f32[4,6,8] f32[4,6,8] f32[4,8,6] f32[4,8,2] f32[4,2,8] f32[4,6] f32[4,6] f32[4,8] "
     "f32[4,2] f32[4,8]",
     "expert_biases=1 generated_biases=1", "f32[?, 8]"},
    {"fused_gated_experts",
     "f32[?,8] i32[?,1] f32[?,1] i1[?,1] f32[4,6,8] f32[4,6,8] f32[4,8,6] f32[4,8,2] f32[4,2,8] f32[4,6] f32[4,5] f32[4,8]",
     "expert_biases=1", "fused_gated_experts: expected bi_1 f32[4, 6], found f32[4, 5]"},
    {"fused_gated_experts",
     "f32[?,8] i32[?,1] f32[?,1] i1[?,1] f32[4,6,8] f32[4,6,8] f32[4,8,6] f32[4,8,2] f32[4,2,8] f32[4,6] f32[4,6] f32[4,6]",
     "expert_biases=1", "fused_gated_experts: expected bo f32[4, 8], found f32[4, 6]"},
    {"embedding", "i64[?,?] f32[9,4]", "", "f32[?, ?, 4]"},
    {"embedding", "i32[2,3] f32[9,4]", "", "f32[2, 3, 4]"},
    {"embedding", "f32[?,?] f32[9,4]", "", "embedding: expected ids i64[batch, length], found f32[?, ?]"},
    {"embedding", "i32[?] f32[9,4]", "", "embedding: expected ids i32[batch, length], found i32[?]"},
    {"embedding", "i32[?,?] f32[4]", "", "embedding: expected table f32[rows, d_model], found f32[4]"},
    {"position_embedding", "i64[?,?] f32[9,4]", "", "f32[?, ?, 4]"},
    {"rms_norm", "f32[?,8] f32[8]", "", "f32[?, 8]"},
    {"rms_norm", "f32[?,?,8] f32[8]", "epsilon=0.5", "f32[?, ?, 8]"},
    {"rms_norm", "f32[?,8] f32[7]", "", "rms_norm: expected weight f32[8], found f32[7]"},
    {"rms_norm", "f32[?,8] f32[8]", "epsilon=-0.5", "rms_norm: expected epsilon to be between 0 and 1e30, found -0.5"},
    {"layer_norm", "f32[?,8] f32[8] f32[8]", "", "f32[?, 8]"},
    {"layer_norm", "f32[?,8] f32[8] f32[9]", "", "layer_norm: expected bias f32[8], found f32[9]"},
    {"layer_norm", "f32[?,8] f32[8]", "", "layer_norm: expected 3 operands (x, weight, bias), found 2"},
    {"transpose", "f32[3,5]", "", "f32[5, 3]"},
    {"transpose", "f32[2,3,5]", "", "f32[2, 5, 3]"},
    {"transpose", "f32[5]", "", "transpose: expected a matrix or a stack of them, found f32[5]"},
    {"transpose", "f32[2,2,3,5]", "", "transpose: expected a matrix or a stack of them, found f32[2, 2, 3, 5]"},
    {"transpose", "f32[?,5]", "", "transpose: f32[?, 5] has a dimension that is known only at run time"},
    {"transpose", "f32[5,?]", "", "transpose: f32[5, ?] has a dimension that is known only at run time"},
    {"transpose", "f32[2,?,5]", "", "transpose: f32[2, ?, 5] has a dimension that is known only at run time"},
    {"transpose", "f32[2,5,?]", "", "transpose: f32[2, 5, ?] has a dimension that is known only at run time"},
    {"transpose", "i32[3,5]", "", "transpose: expected w to be f32, found i32[3, 5]"},
    {"flatten", "f32[?,?,8]", "", "f32[?, 8]"},
    {"flatten", "f32[2,3,8]", "", "f32[6, 8]"},
    {"flatten", "f32[2,?,8]", "", "f32[?, 8]"},
    {"flatten", "f32[?,8]", "", "flatten: expected x f32[batch, length, columns], found f32[?, 8]"},
    {"unflatten", "f32[?,8] f32[?,?,3]", "", "f32[?, ?, 8]"},
    {"unflatten", "f32[6,8] i32[2,3]", "", "f32[2, 3, 8]"},
    {"unflatten", "f32[7,8] i32[2,3]", "", "unflatten: x has 7 rows, expected 6 as in i32[2, 3]"},
    {"unflatten", "f32[?,8] f32[?]", "", "unflatten: expected like to have a batch and a length, found f32[?]"},
    {"relative_bias", "f32[32,4]", "", "f32[4, 257]"},
    {"relative_bias", "f32[32,4]", "bidirectional=1", "f32[4, 257]"},
    {"relative_bias", "f32[33,4]", "bidirectional=1",
     "relative_bias: 33 buckets in two directions do not reach max_distance = 128"},
    {"relative_bias", "f32[3,4]", "bidirectional=1", "relative_bias: 3 buckets in two directions do not reach max_distance = 128"},
    {"relative_bias", "f32[4,4]", "bidirectional=1 max_distance=2", "f32[4, 5]"},
    {"relative_bias", "f32[4,4]", "bidirectional=1 max_distance=1",
     "relative_bias: 4 buckets in two directions do not reach max_distance = 1"},
    {"relative_bias", "f32[2,4]", "max_distance=2", "f32[4, 5]"},
    {"relative_bias", "f32[2,4]", "max_distance=1", "relative_bias: 2 buckets in one direction do not reach max_distance = 1"},
    {"relative_bias", "f32[1,4]", "max_distance=9", "relative_bias: 1 buckets in one direction do not reach max_distance = 9"},
    {"relative_bias", "f32[32,4]", "max_distance=1048576", "f32[4, 2097153]"},
    {"relative_bias", "f32[32,4]", "max_distance=1048577",
     "relative_bias: expected max_distance to be between 1 and 1048576, found 1048577"},
    {"relative_bias", "f32[32,4]", "max_distance=0", "relative_bias: expected max_distance to be between 1 and 1048576, found 0"},
    {"attention", "f32[?,?,8] f32[?,?,8] f32[?,?,8]", "heads=8", "f32[?, ?, 8]"},
    {"attention", "f32[?,?,8] f32[?,?,8] f32[?,?,8]", "heads=3", "attention: 8 columns are not 3 equal heads"},
    {"attention", "f32[?,?,8] f32[?,?,8] f32[?,?,8]", "heads=0", "attention: expected heads to be at least 1, found 0"},
    {"attention", "f32[?,?,8] f32[?,?,9] f32[?,?,8]", "heads=2", "attention: expected k f32[batch, keys, 8], found f32[?, ?, 9]"},
    {"attention", "f32[?,?,8] f32[?,?,8] f32[?,?,9]", "heads=2", "attention: expected v f32[batch, keys, 8], found f32[?, ?, 9]"},
    {"attention", "f32[2,?,8] f32[3,?,8] f32[3,?,8]", "heads=2", "attention: expected k f32[2, keys, 8], found f32[3, ?, 8]"},
    {"attention", "f32[2,5,8] f32[2,6,8] f32[2,7,8]", "heads=2", "attention: expected v f32[2, 6, 8], found f32[2, 7, 8]"},
    {"attention", "f32[?,?,8] f32[?,?,8] f32[?,?,8] f32[2,5]", "heads=2 biased=1", "f32[?, ?, 8]"},
    {"attention", "f32[?,?,8] f32[?,?,8] f32[?,?,8] f32[2,3]", "heads=2 biased=1", "f32[?, ?, 8]"},
    {"attention", "f32[?,?,8] f32[?,?,8] f32[?,?,8] f32[2,1]", "heads=2 biased=1",
     "attention: expected a bias of 2 M + 1 distances, found 1"},
    {"attention", "f32[?,?,8] f32[?,?,8] f32[?,?,8] f32[2,4]", "heads=2 biased=1",
     "attention: expected a bias of 2 M + 1 distances, found 4"},
    {"attention", "f32[?,?,8] f32[?,?,8] f32[?,?,8] f32[3,5]", "heads=2 biased=1",
     "attention: expected bias f32[2, distances], found f32[3, 5]"},
    {"attention", "f32[?,?,8] f32[?,?,8] f32[?,?,8]", "heads=2 biased=1", "attention: biased = 1, but there is no bias"},
    {"attention", "f32[?,?,8] f32[?,?,8] f32[?,?,8] f32[2,5] i64[?,?]", "heads=2 biased=1", "f32[?, ?, 8]"},
    {"attention", "f32[?,?,8] f32[?,?,8] f32[?,?,8] f32[2,5] i64[?,?]", "heads=2", "attention: biased = 0, but there is a bias"},
    {"attention", "f32[?,?,8] f32[?,?,8] f32[?,?,8] i32[?,?]", "heads=2", "f32[?, ?, 8]"},
    {"attention", "f32[?,?,8] f32[?,?,8] f32[?,?,8] f32[?,?]", "heads=2",
     "attention: expected mask i64[batch, keys], found f32[?, ?]"},
    {"attention", "f32[2,5,8] f32[2,6,8] f32[2,6,8] i32[2,5]", "heads=2", "attention: expected mask i32[2, 6], found i32[2, 5]"},
    {"attention", "f32[?,?,8] f32[?,?,8] f32[?,?,8]", "heads=2 causal=2",
     "attention: expected causal to be between 0 and 1, found 2"},
    {"attention", "f32[?,?,8] f32[?,?,8] f32[?,?,8]", "heads=2 divisor=1048576", "f32[?, ?, 8]"},
    {"attention", "f32[?,?,8] f32[?,?,8] f32[?,?,8]", "heads=2 divisor=1048577",
     "attention: expected divisor to be between 0 and 1048576, found 1048577"},
    {"weight_embedding", "f32[2,240,90] f32[2,90,240] f32[2,1,5,5] f32[4,2,1,1] f32[4,1,3,3] f32[7,4,1,1]", "",
     "weight_embedding: d_ff = 240, d_model = 90 is too small: average pool 8x8 is left with an image of 1x1"},
    {"weight_embedding", "f32[2,1920,720] f32[2,720,1920] f32[2,1,5,5] f32[4,2,1,1] f32[4,1,3,3] f32[7,4,1,1]", "", "f32[2, 7]"},
    {"weight_embedding", "f32[2,1919,720] f32[2,720,1919] f32[2,1,5,5] f32[4,2,1,1] f32[4,1,3,3] f32[7,4,1,1]", "",
     "weight_embedding: d_ff = 1919, d_model = 720 is too small: average pool 8x8 is left with an image of 7x8"},
    {"weight_embedding", "f32[2,1920,719] f32[2,719,1920] f32[2,1,5,5] f32[4,2,1,1] f32[4,1,3,3] f32[7,4,1,1]", "",
     "weight_embedding: d_ff = 1920, d_model = 719 is too small: average pool 8x8 is left with an image of 8x7"},
    {"weight_embedding", "f32[2,3839,1439] f32[2,1439,3839] f32[2,1,5,5] f32[4,2,1,1] f32[4,1,3,3] f32[7,4,1,1]", "", "f32[2, 7]"},
    {"weight_embedding", "f32[2,3840,1439] f32[2,1439,3840] f32[2,1,5,5] f32[4,2,1,1] f32[4,1,3,3] f32[7,4,1,1]", "",
     "weight_embedding: d_ff = 3840, d_model = 1439 ends at an image of 2x1, expected 1x1"},
    {"weight_embedding", "f32[2,1920,720] f32[2,720,1920] f32[1,1,5,5] f32[4,2,1,1] f32[4,1,3,3] f32[7,4,1,1]", "",
     "weight_embedding: expected depthwise1 f32[2, 1, 5, 5], found f32[1, 1, 5, 5]"},
    {"weight_embedding", "f32[2,1920,720] f32[2,720,1920] f32[2,1,5,5] f32[4,1,1,1] f32[4,1,3,3] f32[7,4,1,1]", "",
     "weight_embedding: expected pointwise1 f32[channels, 2, 1, 1], found f32[4, 1, 1, 1]"},
    {"weight_embedding", "f32[2,1920,720] f32[2,720,1920] f32[2,1,5,5] f32[4,2,1,1] f32[3,1,3,3] f32[7,4,1,1]", "",
     "weight_embedding: expected depthwise2 f32[4, 1, 3, 3], found f32[3, 1, 3, 3]"},
    {"weight_embedding", "f32[2,1920,720] f32[2,720,1920] f32[2,1,5,5] f32[4,2,1,1] f32[4,1,3,3] f32[7,3,1,1]", "",
     "weight_embedding: expected pointwise2 f32[embedding, 4, 1, 1], found f32[7, 3, 1, 1]"},
};

static void test_rules(void **state) {
  (void)state;
  MlirContext context = hmoec_context_create();
  for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
    char found[1024];
    run(context, &rules[i], found, sizeof found);
    if (strcmp(found, rules[i].expected) != 0)
      fail_msg("%s %s %s: expected\n%s\nfound\n%s", rules[i].op, rules[i].operands, rules[i].attributes, rules[i].expected, found);
  }
  hmoec_context_destroy(context);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_rules)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
