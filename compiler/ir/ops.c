/* The op table, and building ops from it: check operands and attributes, run the shape rule, make the op. The shape rules
 * themselves are in ops_infer.c. */
#include "ir/ops.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "ir/location.h"
#include "ir/ops_infer.h"

static const char *const gates[] = {"softmax_then_topk", "topk_then_softmax", "softmax_topk_renorm", "sigmoid", NULL};
static const char *const activations[] = {"relu", "gelu", "gelu_new", "silu", "sigmoid", NULL};
static const char *const functions[] = {"relu", "gelu", "gelu_new", "silu", "sigmoid", "none", NULL};
static const char *const selections[] = {"selected", "unselected", NULL};
static const char *const dropped[] = {"pass", "zero", NULL};
static const char *const aggregates[] = {"sum", "mean", NULL};
static const char *const strategies[] = {"auto", "table", "cache", "factored", "per_token", NULL};

#define COUNTS_1(a) (1u << (a))
#define COUNTS_2(a, b) (1u << (a) | 1u << (b))
#define REQUIRED_INT(attribute, low)                                                                                               \
  {.name = attribute, .kind = HMOEC_ATTRIBUTE_INT, .required = true, .minimum = low, .maximum = INT32_MAX}
#define INT(attribute, low, high, value)                                                                                           \
  {.name = attribute, .kind = HMOEC_ATTRIBUTE_INT, .minimum = low, .maximum = high, .default_int = value}
/* Not written where it has its default. */
#define OMITTED(attribute, low, high, value)                                                                                       \
  {.name = attribute, .kind = HMOEC_ATTRIBUTE_INT, .minimum = low, .maximum = high, .default_int = value, .omitted = true}
/* Of a tensor; negative ones count from behind the last. */
#define AXIS OMITTED("axis", -HMOEC_MAX_RANK, HMOEC_MAX_RANK - 1, -1)
#define NUMBER(attribute, value) {.name = attribute, .kind = HMOEC_ATTRIBUTE_FLOAT, .default_number = value}
/* May be negative; not written where it is 1. */
#define FACTOR(attribute) {.name = attribute, .kind = HMOEC_ATTRIBUTE_FLOAT, .minimum = -1, .default_number = 1, .omitted = true}
#define CHOICE(attribute, list, value) {.name = attribute, .kind = HMOEC_ATTRIBUTE_STRING, .choices = list, .default_text = value}
#define FUNCTION(attribute, list, value, counts)                                                                                   \
  {.name = attribute, .kind = HMOEC_ATTRIBUTE_STRING, .choices = list, .default_text = value, .arities = counts}

/* What takes the place of an expert's output where capacity drops a token. */
#define DROPPED {.name = "dropped", .kind = HMOEC_ATTRIBUTE_STRING, .choices = dropped, .default_text = "pass", .omitted = true}

/* The words of the table, without their prefixes. */
#define CONDITION HMOEC_OPERAND_CONDITION
#define INDICES HMOEC_OPERAND_INDICES
#define KNOWN HMOEC_OPERAND_KNOWN
#define PARAMETER HMOEC_OPERAND_PARAMETER
#define MATRIX HMOEC_ROLE_MATRIX
#define BIAS HMOEC_ROLE_BIAS
#define WO HMOEC_ROLE_WO
#define DOWN HMOEC_ROLE_DOWN
#define DOWN_BIAS HMOEC_ROLE_DOWN_BIAS
#define UP HMOEC_ROLE_UP
#define UP_BIAS HMOEC_ROLE_UP_BIAS
#define DEPTHWISE HMOEC_ROLE_DEPTHWISE
#define POINTWISE HMOEC_ROLE_POINTWISE
#define POSITION HMOEC_ROLE_POSITION
#define DISTANCE HMOEC_ROLE_DISTANCE
#define ROW_WISE HMOEC_OP_ROW_WISE
#define VIEW HMOEC_OP_VIEW
#define PRODUCT HMOEC_OP_PRODUCT
#define GROUPED HMOEC_OP_GROUPED
#define LOOKUP HMOEC_OP_LOOKUP
#define AT_OPEN HMOEC_OP_AT_OPEN
#define PER_SET HMOEC_OP_PER_SET
#define WEIGHTED HMOEC_OP_WEIGHTED

#define ROWS(text) {.name = text}
#define OPERAND(text, what) {.name = text, .kind = what}
#define WEIGHT(text, what, plays) {.name = text, .kind = what, .role = plays}

static const hmoec_op_info ops[] = {
    {.name = "parameter",
     .legal_counts = COUNTS_1(0),
     .attributes = {{.name = "key", .kind = HMOEC_ATTRIBUTE_STRING, .required = true}, INT("count", 0, INT32_MAX, 0)},
     .facts = AT_OPEN,
     .infer = NULL,
     .from_spec = true},
    {.name = "linear",
     .operands = {ROWS("x"), WEIGHT("w", KNOWN, MATRIX), WEIGHT("bias", KNOWN, BIAS)},
     .required_operands = 2,
     .legal_counts = COUNTS_2(2, 3),
     .facts = ROW_WISE | PRODUCT | AT_OPEN | PER_SET,
     .flops = {{2, 2, {{1, 0}, {1, 1}}}},
     .infer = hmoec_infer_linear,
     .from_spec = true},
    {.name = "activate",
     .operands = {ROWS("x")},
     .required_operands = 1,
     .attributes =
         {{.name = "function", .kind = HMOEC_ATTRIBUTE_STRING, .required = true, .choices = functions, .arities = COUNTS_1(1)}},
     .facts = ROW_WISE | AT_OPEN | PER_SET,
     .infer = hmoec_infer_activate,
     .from_spec = true},
    {.name = "add",
     .operands = {ROWS("a"), ROWS("b")},
     .required_operands = 2,
     .facts = ROW_WISE | AT_OPEN | PER_SET,
     .infer = hmoec_infer_add,
     .from_spec = true},
    {.name = "reshape",
     .operands = {OPERAND("x", KNOWN)},
     .required_operands = 1,
     .attributes = {{.name = "shape", .kind = HMOEC_ATTRIBUTE_INTS, .required = true, .minimum = 1, .maximum = INT32_MAX}},
     .facts = VIEW | AT_OPEN,
     .infer = hmoec_infer_reshape,
     .from_spec = true},
    {.name = "slice",
     .operands = {ROWS("x")},
     .required_operands = 1,
     .attributes = {REQUIRED_INT("begin", 0), REQUIRED_INT("end", 1), INT("squeeze", 0, 1, 0), AXIS,
                    OMITTED("step", 1, INT32_MAX, 1)},
     .facts = VIEW | ROW_WISE | AT_OPEN | PER_SET,
     .infer = hmoec_infer_slice,
     .from_spec = true},
    {.name = "concat",
     .operands = {ROWS("a"), ROWS("b"), ROWS("c"), ROWS("d"), ROWS("e"), ROWS("f"), ROWS("g"), ROWS("h")},
     .required_operands = 2,
     .legal_counts = 0x1fc,
     .attributes = {AXIS},
     .facts = ROW_WISE | AT_OPEN | PER_SET,
     .infer = hmoec_infer_concat,
     .operand_segments = true,
     .from_spec = true},
    {.name = "route",
     .operands = {OPERAND("logits", CONDITION)},
     .required_operands = 1,
     .attributes = {REQUIRED_INT("top_k", 1),
                    FUNCTION("gate", gates, "softmax_then_topk", COUNTS_1(1)),
                    INT("capacity", 0, INT32_MAX, 0),
                    {.name = "per_call", .kind = HMOEC_ATTRIBUTE_INT, .maximum = 1, .omitted = true},
                    {.name = "renorm", .kind = HMOEC_ATTRIBUTE_INT, .maximum = 1, .omitted = true}},
     .infer = hmoec_infer_route,
     .from_spec = true},
    {.name = "experts",
     .operands = {ROWS("x"), OPERAND("indices", INDICES), ROWS("kept"), WEIGHT("wi", KNOWN, MATRIX), WEIGHT("wo", KNOWN, WO),
                  WEIGHT("bi", KNOWN, BIAS), WEIGHT("bo", KNOWN, BIAS)},
     .required_operands = 5,
     .legal_counts = COUNTS_2(5, 7),
     .attributes = {FUNCTION("activation", activations, "relu", COUNTS_1(1)), DROPPED},
     .facts = GROUPED,
     .flops = {{4, 3, {{1, 1}, {3, 1}, {3, 2}}}},
     .infer = hmoec_infer_experts,
     .operand_segments = true,
     .from_spec = true},
    {.name = "combine",
     .operands = {ROWS("o"), ROWS("gates")},
     .required_operands = 2,
     .infer = hmoec_infer_combine,
     .from_spec = true},
    {.name = "selection_embedding",
     .operands = {OPERAND("indices", INDICES), OPERAND("table", KNOWN)},
     .required_operands = 2,
     .attributes = {CHOICE("of", selections, "unselected"), CHOICE("aggregate", aggregates, "mean")},
     .facts = AT_OPEN | PER_SET,
     .infer = hmoec_infer_selection_embedding,
     .from_spec = true},
    {.name = "append_row",
     .operands = {ROWS("x"), OPERAND("table", KNOWN)},
     .required_operands = 2,
     .attributes = {REQUIRED_INT("row", 0)},
     .facts = ROW_WISE | AT_OPEN | PER_SET,
     .infer = hmoec_infer_append_row,
     .from_spec = true},
    {.name = "take_row",
     .operands = {OPERAND("table", KNOWN)},
     .required_operands = 1,
     .attributes = {REQUIRED_INT("row", 0)},
     .facts = VIEW | AT_OPEN,
     .infer = hmoec_infer_take_row},
    {.name = "hypernetwork",
     .operands = {OPERAND("r", CONDITION), WEIGHT("wd", KNOWN, DOWN), WEIGHT("bd", KNOWN, DOWN_BIAS), WEIGHT("wu", KNOWN, UP),
                  WEIGHT("bu", KNOWN, UP_BIAS), WEIGHT("vd", KNOWN, MATRIX), WEIGHT("cd", KNOWN, BIAS), WEIGHT("vu", KNOWN, MATRIX),
                  WEIGHT("cu", KNOWN, BIAS)},
     .required_operands = 5,
     .legal_counts = COUNTS_2(5, 9),
     .attributes = {REQUIRED_INT("bottleneck", 1)},
     .facts = PRODUCT | AT_OPEN | PER_SET,
     .flops = {{4, 2, {{1, 0}, {1, 1}}}},
     .infer = hmoec_infer_hypernetwork,
     .operand_segments = true,
     .result_segments = 4,
     .from_spec = true},
    {.name = "hyper_expert",
     .operands = {ROWS("x"), ROWS("down"), ROWS("up"), ROWS("beta"), ROWS("gamma")},
     .required_operands = 3,
     .legal_counts = COUNTS_2(3, 5),
     .attributes = {CHOICE("strategy", strategies, "auto")},
     .facts = WEIGHTED,
     .flops = {{4, 2, {{1, 1}, {1, 2}}}},
     .infer = hmoec_infer_hyper_expert,
     .operand_segments = true,
     .from_spec = true},
    {.name = "weight_embedding",
     .operands = {WEIGHT("wi", PARAMETER, MATRIX), WEIGHT("wo", PARAMETER, WO), WEIGHT("depthwise1", PARAMETER, DEPTHWISE),
                  WEIGHT("pointwise1", PARAMETER, POINTWISE), WEIGHT("depthwise2", PARAMETER, DEPTHWISE),
                  WEIGHT("pointwise2", PARAMETER, POINTWISE)},
     .required_operands = 6,
     .facts = AT_OPEN,
     .infer = hmoec_infer_weight_embedding,
     .from_spec = true},
    {.name = "all_selections",
     .legal_counts = COUNTS_1(0),
     .attributes = {REQUIRED_INT("experts", 1), REQUIRED_INT("top_k", 1)},
     .facts = AT_OPEN,
     .infer = hmoec_infer_all_selections},
    {.name = "selection_rank",
     .operands = {OPERAND("indices", INDICES)},
     .required_operands = 1,
     .attributes = {REQUIRED_INT("experts", 1)},
     .infer = hmoec_infer_selection_rank},
    {.name = "distinct_selections",
     .operands = {OPERAND("indices", INDICES)},
     .required_operands = 1,
     .attributes = {REQUIRED_INT("experts", 1)},
     .infer = hmoec_infer_distinct_selections},
    {.name = "indexed_hyper_expert",
     .operands = {ROWS("x"), ROWS("which"), ROWS("down"), ROWS("up"), ROWS("beta"), ROWS("gamma")},
     .required_operands = 4,
     .legal_counts = COUNTS_2(4, 6),
     .attributes = {INT("memoize", 0, 1, 0)},
     .facts = WEIGHTED,
     .flops = {{4, 2, {{2, 1}, {2, 2}}}},
     .infer = hmoec_infer_indexed_hyper_expert,
     .operand_segments = true},
    {.name = "factored_hyper_expert",
     .operands = {ROWS("x"), OPERAND("r", CONDITION), WEIGHT("wd", KNOWN, DOWN), WEIGHT("bd", KNOWN, DOWN_BIAS),
                  WEIGHT("wu", KNOWN, UP), WEIGHT("bu", KNOWN, UP_BIAS), WEIGHT("vd", KNOWN, MATRIX), WEIGHT("cd", KNOWN, BIAS),
                  WEIGHT("vu", KNOWN, MATRIX), WEIGHT("cu", KNOWN, BIAS)},
     .required_operands = 6,
     .legal_counts = COUNTS_2(6, 10),
     .attributes = {REQUIRED_INT("bottleneck", 1)},
     .flops = {{4, 2, {{2, 0}, {2, 1}}}, {4, 1, {{2, 0}}}},
     .infer = hmoec_infer_factored_hyper_expert,
     .operand_segments = true},
    {.name = "fused_experts",
     .operands = {ROWS("x"), OPERAND("indices", INDICES), ROWS("gates"), ROWS("kept"), WEIGHT("wi", KNOWN, MATRIX),
                  WEIGHT("wo", KNOWN, WO), OPERAND("down", KNOWN), OPERAND("up", KNOWN), WEIGHT("bi", KNOWN, BIAS),
                  WEIGHT("bo", KNOWN, BIAS), WEIGHT("beta", KNOWN, BIAS), WEIGHT("gamma", KNOWN, BIAS)},
     .required_operands = 8,
     .legal_counts = COUNTS_1(8) | COUNTS_2(10, 12),
     .attributes = {FUNCTION("activation", activations, "relu", COUNTS_1(1)), INT("expert_biases", 0, 1, 0),
                    INT("generated_biases", 0, 1, 0), DROPPED},
     .facts = GROUPED | WEIGHTED,
     .flops = {{4, 2, {{4, 1}, {4, 2}}}, {4, 2, {{4, 2}, {6, 2}}}},
     .infer = hmoec_infer_fused_experts,
     .operand_segments = true},
    {.name = "fused_gated_experts",
     .operands = {ROWS("x"), OPERAND("indices", INDICES), ROWS("gates"), ROWS("kept"), WEIGHT("wi_0", KNOWN, MATRIX),
                  WEIGHT("wi_1", KNOWN, MATRIX), WEIGHT("wo", KNOWN, WO), OPERAND("down", KNOWN), OPERAND("up", KNOWN),
                  WEIGHT("bi_0", KNOWN, BIAS), WEIGHT("bi_1", KNOWN, BIAS), WEIGHT("bo", KNOWN, BIAS), WEIGHT("beta", KNOWN, BIAS),
                  WEIGHT("gamma", KNOWN, BIAS)},
     .required_operands = 9,
     .legal_counts = COUNTS_2(9, 11) | COUNTS_2(12, 14),
     .attributes = {FUNCTION("activation", activations, "gelu_new", COUNTS_2(1, 2)), INT("expert_biases", 0, 1, 0),
                    INT("generated_biases", 0, 1, 0), DROPPED},
     .facts = GROUPED | WEIGHTED,
     .flops = {{6, 2, {{4, 1}, {4, 2}}}, {4, 2, {{4, 2}, {7, 2}}}},
     .infer = hmoec_infer_fused_gated_experts,
     .operand_segments = true},
    {.name = "embedding",
     .operands = {ROWS("ids"), OPERAND("table", PARAMETER)},
     .required_operands = 2,
     .facts = LOOKUP,
     .infer = hmoec_infer_embedding,
     .from_spec = true},
    {.name = "position_embedding",
     .operands = {ROWS("mask"), WEIGHT("table", PARAMETER, POSITION)},
     .required_operands = 2,
     .facts = LOOKUP,
     .infer = hmoec_infer_embedding,
     .from_spec = true},
    {.name = "rms_norm",
     .operands = {ROWS("x"), WEIGHT("weight", KNOWN, HMOEC_ROLE_NORM)},
     .required_operands = 2,
     .attributes = {NUMBER("epsilon", 1e-6)},
     .facts = ROW_WISE | HMOEC_OP_NORM | AT_OPEN,
     .infer = hmoec_infer_norm,
     .from_spec = true},
    {.name = "layer_norm",
     .operands = {ROWS("x"), WEIGHT("weight", KNOWN, HMOEC_ROLE_NORM), WEIGHT("bias", KNOWN, BIAS)},
     .required_operands = 3,
     .attributes = {NUMBER("epsilon", 1e-5)},
     .facts = ROW_WISE | HMOEC_OP_NORM | AT_OPEN,
     .infer = hmoec_infer_norm,
     .from_spec = true},
    {.name = "scale",
     .operands = {ROWS("x"), ROWS("factor")},
     .required_operands = 1,
     .legal_counts = COUNTS_2(1, 2),
     .attributes = {OMITTED("inverse_sqrt", 1, INT32_MAX, 0), FACTOR("by")},
     .facts = ROW_WISE | AT_OPEN | PER_SET,
     .infer = hmoec_infer_scale,
     .from_spec = true},
    {.name = "multiply",
     .operands = {ROWS("a"), ROWS("b")},
     .required_operands = 2,
     .facts = ROW_WISE | AT_OPEN | PER_SET,
     .infer = hmoec_infer_add,
     .from_spec = true},
    {.name = "transpose",
     .operands = {OPERAND("w", KNOWN)},
     .required_operands = 1,
     .facts = VIEW | AT_OPEN,
     .infer = hmoec_infer_transpose,
     .from_spec = true},
    {.name = "flatten",
     .operands = {ROWS("x")},
     .required_operands = 1,
     .facts = VIEW,
     .infer = hmoec_infer_flatten,
     .from_spec = true},
    {.name = "unflatten",
     .operands = {ROWS("x"), ROWS("like")},
     .required_operands = 2,
     .facts = VIEW,
     .infer = hmoec_infer_unflatten,
     .from_spec = true},
    {.name = "relative_bias",
     .operands = {WEIGHT("table", PARAMETER, DISTANCE)},
     .required_operands = 1,
     .attributes = {INT("bidirectional", 0, 1, 0), INT("max_distance", 1, 1 << 20, 128)},
     .facts = AT_OPEN,
     .infer = hmoec_infer_relative_bias,
     .from_spec = true},
    {.name = "attention",
     .operands = {ROWS("q"), ROWS("k"), ROWS("v"), ROWS("bias"), ROWS("mask")},
     .required_operands = 3,
     .legal_counts = COUNTS_1(3) | COUNTS_2(4, 5),
     .attributes = {REQUIRED_INT("heads", 1),
                    INT("causal", 0, 1, 0),
                    INT("scaled", 0, 1, 0),
                    INT("biased", 0, 1, 0),
                    {.name = "divisor", .kind = HMOEC_ATTRIBUTE_INT, .maximum = 1 << 20, .omitted = true}},
     .flops = {{4, 2, {{1, 1}, {0, 2}}}},
     .infer = hmoec_infer_attention,
     .operand_segments = true,
     .first_optional = "biased",
     .from_spec = true},
    {.name = "gated_experts",
     .operands = {ROWS("x"), OPERAND("indices", INDICES), ROWS("kept"), WEIGHT("wi_0", KNOWN, MATRIX),
                  WEIGHT("wi_1", KNOWN, MATRIX), WEIGHT("wo", KNOWN, WO), WEIGHT("bi_0", KNOWN, BIAS), WEIGHT("bi_1", KNOWN, BIAS),
                  WEIGHT("bo", KNOWN, BIAS)},
     .required_operands = 6,
     .legal_counts = COUNTS_2(6, 9),
     .attributes = {FUNCTION("activation", activations, "gelu_new", COUNTS_2(1, 2)), DROPPED},
     .facts = GROUPED,
     .flops = {{6, 3, {{1, 1}, {3, 1}, {3, 2}}}},
     .infer = hmoec_infer_gated_experts,
     .operand_segments = true,
     .from_spec = true},
};

const hmoec_op_info *hmoec_op_info_at(size_t index) { return index < sizeof ops / sizeof *ops ? &ops[index] : NULL; }

const hmoec_op_info *hmoec_op_info_find(const char *name) {
  for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
    if (strcmp(ops[i].name, name) == 0) return &ops[i];
  return NULL;
}

const hmoec_op_info *hmoec_op_info_of(MlirOperation op) {
  static const char dialect[] = "hmoe.";
  MlirStringRef name = mlirIdentifierStr(mlirOperationGetName(op));
  size_t skip = sizeof dialect - 1;
  if (name.length <= skip || memcmp(name.data, dialect, skip) != 0) return NULL;
  for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
    if (strlen(ops[i].name) == name.length - skip && memcmp(ops[i].name, name.data + skip, name.length - skip) == 0) return &ops[i];
  return NULL;
}

bool hmoec_op_has(MlirOperation op, unsigned fact) {
  const hmoec_op_info *info = hmoec_op_info_of(op);
  return info && (info->facts & fact) != 0;
}

bool hmoec_op_is_fused(MlirOperation op) { return hmoec_op_has(op, HMOEC_OP_GROUPED) && hmoec_op_has(op, HMOEC_OP_WEIGHTED); }

hmoec_operand_kind hmoec_operand_kind_of(MlirOperation op, intptr_t operand) {
  return hmoec_op_info_of(op)->operands[operand].kind;
}

static MlirStringRef ref(const char *text) { return mlirStringRefCreateFromCString(text); }

static MlirAttribute get(MlirOperation op, const char *name) { return mlirOperationGetAttributeByName(op, ref(name)); }

bool hmoec_op_at_open(MlirOperation op) { return !mlirAttributeIsNull(get(op, "at_open")); }

/* The row of an attribute that is omitted where it has its default; NULL: it is none. */
static const hmoec_attribute_info *omitted(MlirOperation op, const char *name) {
  const hmoec_op_info *info = hmoec_op_info_of(op);
  for (size_t i = 0; info && info->attributes[i].name; i++)
    if (strcmp(info->attributes[i].name, name) == 0) return &info->attributes[i];
  return NULL;
}

int64_t hmoec_op_int(MlirOperation op, const char *name) {
  MlirAttribute attribute = get(op, name);
  if (!mlirAttributeIsNull(attribute)) return mlirIntegerAttrGetValueInt(attribute);
  const hmoec_attribute_info *row = omitted(op, name);
  return row ? row->default_int : 0;
}

double hmoec_op_number(MlirOperation op, const char *name) {
  MlirAttribute attribute = get(op, name);
  const hmoec_attribute_info *row = mlirAttributeIsNull(attribute) ? omitted(op, name) : NULL;
  return row ? row->default_number : mlirFloatAttrGetValueDouble(attribute);
}

MlirStringRef hmoec_op_string(MlirOperation op, const char *name) { return mlirStringAttrGetValue(get(op, name)); }

bool hmoec_op_is(MlirOperation op, const char *full_name) {
  return mlirStringRefEqual(mlirIdentifierStr(mlirOperationGetName(op)), ref(full_name));
}

bool hmoec_op_string_is(MlirOperation op, const char *name, const char *value) {
  MlirAttribute attribute = get(op, name);
  return !mlirAttributeIsNull(attribute) && mlirStringRefEqual(mlirStringAttrGetValue(attribute), ref(value));
}

bool hmoec_operand_count_check(const hmoec_op_info *info, size_t count, hmoec_diagnostics *diagnostics, hmoec_location location) {
  unsigned legal = info->legal_counts ? info->legal_counts : 1u << info->required_operands;
  if (count <= HMOEC_MAX_OPERANDS && (legal >> count & 1u)) return true;
  char expected[64] = "";
  for (unsigned i = 0; i <= HMOEC_MAX_OPERANDS; i++) {
    if (!(legal >> i & 1u)) continue;
    size_t used = strlen(expected);
    snprintf(expected + used, sizeof expected - used, "%s%u", used ? " or " : "", i);
  }
  char names[256] = "";
  for (size_t i = 0; info->operands[i].name; i++) {
    size_t used = strlen(names);
    snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", info->operands[i].name);
  }
  return hmoec_error(diagnostics, location, "%s: expected %s operands%s%s%s, found %zu", info->name, expected, *names ? " (" : "",
                     names, *names ? ")" : "", count);
}

static bool choice_check(const hmoec_op_info *info, const hmoec_attribute_info *row, const char *value,
                         hmoec_diagnostics *diagnostics, hmoec_location location) {
  char list[256] = "";
  size_t count = 0;
  if (row->arities && value[0] == '@') return true; /* the verifier looks for the function */
  for (; row->choices[count]; count++) {
    if (strcmp(row->choices[count], value) == 0) return true;
    size_t used = strlen(list);
    snprintf(list + used, sizeof list - used, "%s%s", count ? ", " : "", row->choices[count]);
  }
  const char *close = hmoec_closest_name(value, row->choices, count);
  return hmoec_error(diagnostics, location, "%s: expected %s to be one of %s%s, found \"%s\"%s%s%s", info->name, row->name, list,
                     row->arities ? " or a C function" : "", value, close ? "; did you mean " : "", close ? close : "",
                     close ? "?" : "");
}

static bool range_check(const hmoec_op_info *info, const hmoec_attribute_info *row, int64_t value, hmoec_diagnostics *diagnostics,
                        hmoec_location location) {
  if (value >= row->minimum && value <= row->maximum) return true;
  if (row->maximum == INT32_MAX)
    return hmoec_error(diagnostics, location, "%s: expected %s to be at least %" PRId64 "%s, found %" PRId64, info->name, row->name,
                       row->minimum, value > row->maximum ? " and to fit 31 bits" : "", value);
  return hmoec_error(diagnostics, location, "%s: expected %s to be between %" PRId64 " and %" PRId64 ", found %" PRId64, info->name,
                     row->name, row->minimum, row->maximum, value);
}

bool hmoec_attribute_check(const hmoec_op_info *info, const hmoec_attribute_info *row, const hmoec_attribute *value,
                           hmoec_diagnostics *diagnostics, hmoec_location location) {
  switch (row->kind) {
  case HMOEC_ATTRIBUTE_STRING: return !row->choices || choice_check(info, row, value->string, diagnostics, location);
  case HMOEC_ATTRIBUTE_INT: return range_check(info, row, value->integer, diagnostics, location);
  case HMOEC_ATTRIBUTE_FLOAT:
    return (value->number >= (row->minimum < 0 ? -1e30 : 0) && value->number <= 1e30) ||
           hmoec_error(diagnostics, location, "%s: expected %s to be between %s and 1e30, found %g", info->name, row->name,
                       row->minimum < 0 ? "-1e30" : "0", value->number);
  case HMOEC_ATTRIBUTE_INTS: break;
  }
  for (size_t i = 0; i < value->int_count; i++)
    if (!range_check(info, row, value->ints[i], diagnostics, location)) return false;
  return true;
}

static const char *const kind_names[] = {[HMOEC_ATTRIBUTE_INT] = "an integer",
                                         [HMOEC_ATTRIBUTE_STRING] = "a name",
                                         [HMOEC_ATTRIBUTE_INTS] = "a list of integers",
                                         [HMOEC_ATTRIBUTE_FLOAT] = "a number"};

static bool unknown_attribute(const hmoec_op_info *info, const char *name, hmoec_diagnostics *diagnostics,
                              hmoec_location location) {
  const char *names[HMOEC_MAX_ATTRIBUTES];
  size_t count = 0;
  for (; info->attributes[count].name; count++) names[count] = info->attributes[count].name;
  const char *close = hmoec_closest_name(name, names, count);
  return hmoec_error(diagnostics, location, "%s has no attribute \"%s\"%s%s%s", info->name, name, close ? "; did you mean " : "",
                     close ? close : "", close ? "?" : "");
}

/* given -> inference->attributes, one per row of the table, defaults filled in. */
static bool attributes_fill(hmoec_inference *inference, const hmoec_attribute *given, size_t given_count) {
  const hmoec_op_info *info = inference->info;
  bool ok = true;
  for (size_t g = 0; g < given_count; g++) {
    size_t i = 0;
    while (info->attributes[i].name && strcmp(info->attributes[i].name, given[g].name) != 0) i++;
    if (!info->attributes[i].name) ok = unknown_attribute(info, given[g].name, inference->diagnostics, inference->location);
  }
  for (size_t i = 0; info->attributes[i].name; i++) {
    const hmoec_attribute_info *row = &info->attributes[i];
    size_t g = 0;
    while (g < given_count && strcmp(given[g].name, row->name) != 0) g++;
    if (g == given_count) {
      if (row->required) ok = hmoec_error(inference->diagnostics, inference->location, "%s: %s is missing", info->name, row->name);
      inference->attributes[i] = (hmoec_attribute){.name = row->name,
                                                   .kind = row->kind,
                                                   .integer = row->default_int,
                                                   .string = row->default_text,
                                                   .number = row->default_number};
      continue;
    }
    inference->attributes[i] = given[g];
    if (given[g].kind != row->kind)
      ok = hmoec_error(inference->diagnostics, inference->location, "%s: expected %s to be %s, found %s", info->name, row->name,
                       kind_names[row->kind], kind_names[given[g].kind]);
    else if (!hmoec_attribute_check(info, row, &given[g], inference->diagnostics, inference->location)) ok = false;
  }
  return ok;
}

size_t hmoec_operand_segments(const hmoec_inference *inference, int32_t *out_sizes) {
  const hmoec_op_info *info = inference->info;
  if (!info->operand_segments) return 0;
  size_t total = 0;
  while (info->operands[total].name) total++;
  bool all = inference->operand_count == total, none = inference->operand_count == info->required_operands;
  for (size_t i = 0; i < total; i++) out_sizes[i] = i < info->required_operands || all;
  if (all || none) return total;
  if (info->first_optional) { /* one of several: the first, or the last */
    bool first = false;
    for (size_t i = 0; info->attributes[i].name; i++)
      if (strcmp(info->attributes[i].name, info->first_optional) == 0) first = inference->attributes[i].integer != 0;
    out_sizes[first ? info->required_operands : total - 1] = 1;
    return total;
  }
  /* The first of them; of fused experts with some of the biases expert_biases says which. */
  bool first = true;
  for (size_t i = 0; info->attributes[i].name; i++)
    if (strcmp(info->attributes[i].name, "expert_biases") == 0) first = inference->attributes[i].integer != 0;
  size_t some = inference->operand_count - info->required_operands;
  for (size_t i = 0; i < some; i++) out_sizes[first ? info->required_operands + i : total - 1 - i] = 1;
  return total;
}

size_t hmoec_result_segments(const hmoec_inference *inference, int32_t *out_sizes) {
  for (size_t i = 0; i < inference->info->result_segments; i++) out_sizes[i] = i < inference->result_count;
  return inference->info->result_segments;
}

static MlirAttribute attribute_to_mlir(MlirContext context, const hmoec_attribute *attribute) {
  switch (attribute->kind) {
  case HMOEC_ATTRIBUTE_INT: return mlirIntegerAttrGet(mlirIntegerTypeGet(context, 64), attribute->integer);
  case HMOEC_ATTRIBUTE_STRING: return mlirStringAttrGet(context, ref(attribute->string));
  case HMOEC_ATTRIBUTE_FLOAT: return mlirFloatAttrDoubleGet(context, mlirF64TypeGet(context), attribute->number);
  case HMOEC_ATTRIBUTE_INTS: return mlirDenseI64ArrayGet(context, (intptr_t)attribute->int_count, attribute->ints);
  }
  return mlirAttributeGetNull();
}

static bool is_default(const hmoec_attribute_info *row, const hmoec_attribute *attribute) {
  switch (row->kind) {
  case HMOEC_ATTRIBUTE_STRING: return strcmp(attribute->string, row->default_text) == 0;
  case HMOEC_ATTRIBUTE_INT: return attribute->integer == row->default_int;
  case HMOEC_ATTRIBUTE_FLOAT: return attribute->number >= row->default_number && attribute->number <= row->default_number;
  case HMOEC_ATTRIBUTE_INTS: break;
  }
  return false;
}

/* Makes the op that an inference with results describes. */
static MlirOperation op_create(MlirContext context, const hmoec_inference *inference, MlirBlock block, MlirOperation insert_before,
                               MlirLocation location, const MlirValue *operands) {
  char full_name[64];
  snprintf(full_name, sizeof full_name, "hmoe.%s", inference->info->name);
  MlirOperationState state = mlirOperationStateGet(ref(full_name), location);
  MlirNamedAttribute attributes[HMOEC_MAX_ATTRIBUTES + 2];
  intptr_t attribute_count = 0;
  for (size_t i = 0; inference->info->attributes[i].name; i++) {
    const hmoec_attribute_info *row = &inference->info->attributes[i];
    const hmoec_attribute *attribute = &inference->attributes[i];
    if (row->omitted && is_default(row, attribute)) continue;
    attributes[attribute_count++] =
        mlirNamedAttributeGet(mlirIdentifierGet(context, ref(row->name)), attribute_to_mlir(context, attribute));
  }
  int32_t sizes[HMOEC_MAX_OPERANDS];
  intptr_t size_count = (intptr_t)hmoec_operand_segments(inference, sizes);
  if (size_count)
    attributes[attribute_count++] = mlirNamedAttributeGet(mlirIdentifierGet(context, ref("operandSegmentSizes")),
                                                          mlirDenseI32ArrayGet(context, size_count, sizes));
  size_count = (intptr_t)hmoec_result_segments(inference, sizes);
  if (size_count)
    attributes[attribute_count++] = mlirNamedAttributeGet(mlirIdentifierGet(context, ref("resultSegmentSizes")),
                                                          mlirDenseI32ArrayGet(context, size_count, sizes));
  MlirType results[HMOEC_MAX_RESULTS];
  for (size_t i = 0; i < inference->result_count; i++) results[i] = hmoec_shape_to_type(context, &inference->results[i]);
  if (inference->operand_count) mlirOperationStateAddOperands(&state, (intptr_t)inference->operand_count, operands);
  mlirOperationStateAddResults(&state, (intptr_t)inference->result_count, results);
  if (attribute_count) mlirOperationStateAddAttributes(&state, attribute_count, attributes);
  MlirOperation op = mlirOperationCreate(&state);
  if (mlirOperationIsNull(op)) {
    hmoec_error(inference->diagnostics, inference->location, "%s could not be built", inference->info->name);
    return op;
  }
  if (mlirOperationIsNull(insert_before)) mlirBlockAppendOwnedOperation(block, op);
  else mlirBlockInsertOwnedOperationBefore(block, insert_before, op);
  return op;
}

bool hmoec_results_check(hmoec_inference *inference) {
  char text[HMOEC_SHAPE_CHARS];
  for (size_t i = 0; i < inference->result_count; i++) {
    const hmoec_shape *result = &inference->results[i];
    if (hmoec_shape_elements(result) > HMOEC_MOST_ELEMENTS)
      return hmoec_error(inference->diagnostics, inference->location, "%s: the result %s is too large", inference->info->name,
                         hmoec_shape_string(result, text, sizeof text));
  }
  return true;
}

MlirOperation hmoec_op_build(MlirContext context, hmoec_diagnostics *diagnostics, MlirBlock block, MlirOperation insert_before,
                             MlirLocation location, const char *name, const MlirValue *operands, size_t operand_count,
                             const hmoec_attribute *attributes, size_t attribute_count) {
  const MlirOperation none = {NULL};
  hmoec_inference inference = {
      .info = hmoec_op_info_find(name), .diagnostics = diagnostics, .location = hmoec_location_of(location)};
  if (!inference.info) return hmoec_error(diagnostics, inference.location, "there is no op named \"%s\"", name), none;
  if (!inference.info->infer)
    return hmoec_error(diagnostics, inference.location, "%s has a result shape that cannot be inferred", name), none;
  if (!hmoec_operand_count_check(inference.info, operand_count, diagnostics, inference.location)) return none;
  inference.operand_count = operand_count;
  for (size_t i = 0; i < operand_count; i++)
    if (!hmoec_shape_from_type(mlirValueGetType(operands[i]), &inference.operands[i]))
      return hmoec_error(diagnostics, inference.location, "%s: %s is not a tensor of f32, i32, i64 or i1 of rank 4 or less", name,
                         inference.info->operands[i].name),
             none;
  if (!attributes_fill(&inference, attributes, attribute_count) || !inference.info->infer(&inference) ||
      !hmoec_results_check(&inference))
    return none;
  return op_create(context, &inference, block, insert_before, location, operands);
}

bool hmoec_parameter_check(hmoec_diagnostics *diagnostics, hmoec_location location, MlirStringRef key, int64_t count,
                           const hmoec_shape *result) {
  char text[HMOEC_SHAPE_CHARS];
  hmoec_shape_string(result, text, sizeof text);
  const char *newline = key.length ? memchr(key.data, '\n', key.length) : NULL;
  int length = (int)(newline ? newline - key.data : (ptrdiff_t)key.length); /* messages show the first name */
  if (key.length == 0) return hmoec_error(diagnostics, location, "parameter: the key is empty");
  if (memchr(key.data, 0, key.length)) return hmoec_error(diagnostics, location, "parameter: the key holds a zero character");
  if (key.length > HMOEC_MOST_KEY)
    return hmoec_error(diagnostics, location, "parameter: expected a key of at most %d characters, found %zu", HMOEC_MOST_KEY,
                       key.length);
  if (newline && count)
    return hmoec_error(diagnostics, location, "parameter \"%.*s\": a stack has one key, not several", length, key.data);
  for (size_t i = 0, begin = 0; newline && i <= key.length; i++) {
    if (i < key.length && key.data[i] != '\n') continue;
    if (i == begin) return hmoec_error(diagnostics, location, "parameter \"%.*s\": one of its keys is empty", length, key.data);
    begin = i + 1;
  }
  if (result->element != HMOEC_F32)
    return hmoec_error(diagnostics, location, "parameter \"%.*s\": expected f32 elements, found %s", length, key.data, text);
  for (int64_t i = 0; i < result->rank; i++)
    if (result->dims[i] < 1)
      return hmoec_error(diagnostics, location, "parameter \"%.*s\": expected every dimension to be known and at least 1, found %s",
                         length, key.data, text);
  if (hmoec_shape_elements(result) > HMOEC_MOST_ELEMENTS)
    return hmoec_error(diagnostics, location, "parameter \"%.*s\": %s is too large", length, key.data, text);
  size_t places = 0;
  for (size_t i = 0; i + 1 < key.length; i++) places += key.data[i] == '{' && key.data[i + 1] == '}';
  if (count == 0 ? places != 0 : places != 1)
    return hmoec_error(diagnostics, location, "parameter \"%.*s\": a %s has %s \"{}\" in its key, found %zu", length, key.data,
                       count ? "stack" : "single tensor", count ? "one" : "no", places);
  if (count && (result->rank < 1 || result->dims[0] != count))
    return hmoec_error(diagnostics, location, "parameter \"%.*s\": expected a stack of %" PRId64 " tensors, found %s", length,
                       key.data, count, text);
  if (result->rank == (count ? 1 : 0))
    return hmoec_error(diagnostics, location, "parameter \"%.*s\": expected tensors of rank 1 or more, found %s", length, key.data,
                       text);
  return true;
}

MlirOperation hmoec_parameter_build(MlirContext context, hmoec_diagnostics *diagnostics, MlirBlock block,
                                    MlirOperation insert_before, MlirLocation location, const char *key, int64_t count,
                                    const hmoec_shape *result) {
  hmoec_inference inference = {
      .info = hmoec_op_info_find("parameter"), .diagnostics = diagnostics, .location = hmoec_location_of(location)};
  const hmoec_attribute attributes[] = {{.name = "key", .kind = HMOEC_ATTRIBUTE_STRING, .string = key},
                                        {.name = "count", .kind = HMOEC_ATTRIBUTE_INT, .integer = count}};
  if (!attributes_fill(&inference, attributes, 2) ||
      !hmoec_parameter_check(diagnostics, inference.location, ref(key), count, result))
    return (MlirOperation){NULL};
  inference.result_count = 1;
  inference.results[0] = *result;
  return op_create(context, &inference, block, insert_before, location, NULL);
}
