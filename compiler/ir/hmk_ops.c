#include "ir/hmk_ops.h"

#include <stdlib.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "hmoe/abi.h"

static const hmoec_hmk_info infos[] = {
    {"grouped_matmul",
     {"a", "b", "c", "blocks", "gather", "scatter", "bias", "row_gate", "gated_bias", "pass", "pass_index", "norm_weight",
      "norm_bias"},
     0x7,
     HMOE_STEP_KERNEL},
    {"grouped_ffn",
     {"a", "b", "c", "blocks", "gather", "scatter", "bias", "row_gate", "gated_bias", "pass", "pass_index", "first_b", "first_bias",
      "norm_weight", "norm_bias"},
     0x807,
     HMOE_STEP_KERNEL},
    {"route_topk", {"logits", "indices", "gates"}, 0x7, HMOE_STEP_KERNEL},
    {"combine", {"slots", "y"}, 0x3, HMOE_STEP_KERNEL},
    {"select_embedding", {"sets", "table", "out"}, 0x7, HMOE_STEP_KERNEL},
    {"contract", {"t1", "r", "beta", "v"}, 0xb, HMOE_STEP_KERNEL},
    {"map_rows", {"in", "index", "out", "factor"}, 0x5, HMOE_STEP_KERNEL},
    {"norm_rows", {"x", "weight", "bias", "out", "index"}, 0xb, HMOE_STEP_KERNEL},
    {"pack_rows", {"a", "out", "blocks", "gather", "norm_weight", "norm_bias"}, 0x3, HMOE_STEP_KERNEL},
    {"embed_rows", {"ids", "table", "out"}, 0x7, HMOE_STEP_KERNEL},
    {"store_kv", {"k", "v", "keys", "values"}, 0xf, HMOE_STEP_KERNEL},
    {"attention", {"q", "keys", "values", "bias", "mask", "out", "parts"}, 0x27, HMOE_STEP_KERNEL},
    {"check_ids", {"source", "dst"}, 0x3, HMOE_STEP_IDS},
    {"positions", {"mask", "dst"}, 0x2, HMOE_STEP_POSITIONS},
    {"last_rows", {"mask", "dst"}, 0x2, HMOE_STEP_LAST_ROWS},
    {"append_mask", {"src", "dst"}, 0x3, HMOE_STEP_APPEND_MASK},
    {"relative_bias", {"dst", "source"}, 0x3, HMOE_STEP_RELATIVE_BIAS},
    {"group_tokens",
     {"indices", "gates", "blocks", "row_token", "row_slot", "row_gate", "counters", "history"},
     0x7f,
     HMOE_STEP_GROUP},
    {"group_selections", {"indices", "blocks", "row_token", "sets", "scratch"}, 0x16, HMOE_STEP_GROUP_SETS},
    {"loop", {"blocks", "sets", "todo_sets", "todo_slot", "todo_token", "row_token"}, 0, HMOE_STEP_LOOP},
    {"choose", {"blocks"}, 0, HMOE_STEP_CHOOSE},
    {"pack", {"dst", "source"}, 0x3, HMOE_STEP_PACK},
    {"pack_vector", {"dst", "source"}, 0x3, HMOE_STEP_PACK},
    {"copy", {"dst", "src"}, 0x3, HMOE_STEP_COPY},
    {"all_selections", {"dst"}, 0x1, HMOE_STEP_SELECTIONS},
    {"weight_embedding",
     {"dst", "wi", "wo", "depthwise1", "pointwise1", "depthwise2", "pointwise2"},
     0x7f,
     HMOE_STEP_WEIGHT_EMBEDDING},
};

const hmoec_hmk_info *hmoec_hmk_info_of(MlirOperation op) {
  MlirStringRef name = mlirIdentifierStr(mlirOperationGetName(op));
  if (name.length < 5 || memcmp(name.data, "hmk.", 4) != 0) return NULL;
  for (size_t i = 0; i < sizeof infos / sizeof *infos; i++)
    if (strlen(infos[i].name) == name.length - 4 && memcmp(infos[i].name, name.data + 4, name.length - 4) == 0) return &infos[i];
  return NULL;
}

intptr_t hmoec_hmk_operand(MlirOperation op, const hmoec_hmk_info *info, size_t role) {
  MlirAttribute bind = mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("bind"));
  for (intptr_t i = 0; i < mlirArrayAttrGetNumElements(bind); i++) {
    MlirStringRef name = mlirStringAttrGetValue(mlirArrayAttrGetElement(bind, i));
    if (strlen(info->roles[role]) == name.length && memcmp(info->roles[role], name.data, name.length) == 0) return i;
  }
  return -1;
}

const char *const hmoec_role_names[] = {"plain", "rows", "right", "vector", "table", "keys", "values", "distances", NULL};
_Static_assert(sizeof hmoec_role_names / sizeof *hmoec_role_names == HMOEC_ROLE_COUNT + 1, "a name for each role");

int64_t hmoec_role_rank(hmoec_role role) {
  switch (role) {
  case HMOEC_ROLE_PLAIN: return 0;
  case HMOEC_ROLE_RIGHT:
  case HMOEC_ROLE_TABLE:
  case HMOEC_ROLE_KEYS:
  case HMOEC_ROLE_VALUES: return 3;
  default: return 2;
  }
}

int64_t hmoec_hmk_element_bytes(MlirOperation buffer) {
  return hmoec_op_string_is(buffer, "element", "bf16") ? 2 : hmoec_op_string_is(buffer, "element", "i64") ? 8 : 4;
}

int64_t hmoec_hmk_array(MlirOperation op, const char *name, intptr_t index) {
  return mlirDenseI64ArrayGetElement(mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString(name)), index);
}

intptr_t hmoec_hmk_array_size(MlirOperation op, const char *name) {
  MlirAttribute array = mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString(name));
  return mlirAttributeIsNull(array) || !mlirAttributeIsADenseI64Array(array) ? -1 : mlirDenseArrayGetNumElements(array);
}

int64_t hmoec_hmk_of_operand(MlirOperation op, const char *name, intptr_t operand) {
  return hmoec_hmk_array_size(op, name) < 0 ? 0 : hmoec_hmk_array(op, name, operand);
}

static MlirStringRef ref(const char *text) { return mlirStringRefCreateFromCString(text); }

static MlirAttribute integer(MlirContext context, int64_t value) {
  return mlirIntegerAttrGet(mlirIntegerTypeGet(context, 64), value);
}

int64_t hmoec_hmk_dim(MlirOperation function, int64_t kind, int64_t source, int64_t factor) {
  intptr_t count = hmoec_hmk_array_size(function, "hmk.dims");
  for (intptr_t i = 0; i + 2 < count; i += 3)
    if (hmoec_hmk_array(function, "hmk.dims", i) == kind && hmoec_hmk_array(function, "hmk.dims", i + 1) == source &&
        hmoec_hmk_array(function, "hmk.dims", i + 2) == factor)
      return i / 3;
  int64_t *dims = malloc((size_t)(count + 3) * sizeof *dims);
  if (!dims) return -1;
  for (intptr_t i = 0; i < count; i++) dims[i] = hmoec_hmk_array(function, "hmk.dims", i);
  dims[count] = kind;
  dims[count + 1] = source;
  dims[count + 2] = factor;
  mlirOperationSetAttributeByName(function, ref("hmk.dims"),
                                  mlirDenseI64ArrayGet(mlirOperationGetContext(function), count + 3, dims));
  free(dims);
  return count / 3;
}

void hmoec_hmk_set_int(MlirOperation op, const char *name, int64_t value) {
  mlirOperationSetAttributeByName(op, ref(name), integer(mlirOperationGetContext(op), value));
}

enum { MOST_NAMED = 16 };

static void named_set(MlirOperation op, const char *list, const char *const *names, const int64_t *values, size_t count) {
  MlirContext context = mlirOperationGetContext(op);
  MlirNamedAttribute entries[MOST_NAMED];
  if (count > MOST_NAMED) count = MOST_NAMED;
  for (size_t i = 0; i < count; i++)
    entries[i] = (MlirNamedAttribute){mlirIdentifierGet(context, ref(names[i])), integer(context, values[i])};
  mlirOperationSetAttributeByName(op, ref(list), mlirDictionaryAttrGet(context, (intptr_t)count, entries));
}

static int64_t named(MlirOperation op, const char *list, const char *name) {
  MlirAttribute all = mlirOperationGetAttributeByName(op, ref(list));
  MlirAttribute value = mlirAttributeIsNull(all) || !mlirAttributeIsADictionary(all)
                            ? mlirAttributeGetNull()
                            : mlirDictionaryAttrGetElementByName(all, ref(name));
  return !mlirAttributeIsNull(value) && mlirAttributeIsAInteger(value) ? mlirIntegerAttrGetValueInt(value) : 0;
}

void hmoec_hmk_schedule_set(MlirOperation op, const char *const *names, const int64_t *values, size_t count) {
  named_set(op, "schedule", names, values, count);
}

int64_t hmoec_hmk_schedule(MlirOperation op, const char *name) { return named(op, "schedule", name); }

void hmoec_hmk_layout_set(MlirOperation op, const char *const *names, const int64_t *values, size_t count) {
  named_set(op, "layout", names, values, count);
}

int64_t hmoec_hmk_layout(MlirOperation op, const char *name) { return named(op, "layout", name); }
