#include "ir/op_reader.h"

#include <stdio.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "ir/location.h"
#include "ir/ops_infer.h"

static MlirStringRef ref(const char *text) { return mlirStringRefCreateFromCString(text); }

static bool is_i64(MlirAttribute attribute) {
  if (!mlirAttributeIsAInteger(attribute)) return false;
  MlirType type = mlirAttributeGetType(attribute);
  return mlirTypeIsAInteger(type) && mlirIntegerTypeGetWidth(type) == 64;
}

/* A DenseI64Array, or an array of i64. */
static bool ints_read(MlirAttribute attribute, int64_t *out_ints, size_t *out_count) {
  bool dense = mlirAttributeIsADenseI64Array(attribute);
  if (!dense && !mlirAttributeIsAArray(attribute)) return false;
  intptr_t count = dense ? mlirDenseArrayGetNumElements(attribute) : mlirArrayAttrGetNumElements(attribute);
  if (count > HMOEC_MAX_INTS) return false;
  for (intptr_t i = 0; i < count; i++) {
    if (!dense && !is_i64(mlirArrayAttrGetElement(attribute, i))) return false;
    out_ints[i] =
        dense ? mlirDenseI64ArrayGetElement(attribute, i) : mlirIntegerAttrGetValueInt(mlirArrayAttrGetElement(attribute, i));
  }
  *out_count = (size_t)count;
  return true;
}

/* A string attribute as C text; a choice that does not fit is none of the choices, cut or not. */
static const char *string_read(hmoec_op_reader *reader, size_t index, MlirAttribute attribute) {
  MlirStringRef value = mlirStringAttrGetValue(attribute);
  snprintf(reader->text[index], sizeof reader->text[index], "%.*s", (int)(value.length < 256 ? value.length : 256), value.data);
  return reader->text[index];
}

static bool attribute_read(hmoec_op_reader *reader, size_t index, MlirOperation op) {
  hmoec_inference *inference = &reader->inference;
  const hmoec_attribute_info *row = &inference->info->attributes[index];
  hmoec_attribute *out = &inference->attributes[index];
  *out = (hmoec_attribute){.name = row->name, .kind = row->kind};
  MlirAttribute attribute = mlirOperationGetAttributeByName(op, ref(row->name));
  if (mlirAttributeIsNull(attribute) && row->omitted) {
    out->integer = row->default_int;
    out->string = row->default_text;
    out->number = row->default_number;
    return true;
  }
  if (mlirAttributeIsNull(attribute))
    return hmoec_error(inference->diagnostics, inference->location, "%s: %s is missing", inference->info->name, row->name);
  const char *expected = NULL;
  switch (row->kind) {
  case HMOEC_ATTRIBUTE_INT:
    if (is_i64(attribute)) out->integer = mlirIntegerAttrGetValueInt(attribute);
    else expected = "an i64";
    break;
  case HMOEC_ATTRIBUTE_STRING:
    if (mlirAttributeIsAString(attribute)) out->string = string_read(reader, index, attribute);
    else expected = "a string";
    break;
  case HMOEC_ATTRIBUTE_FLOAT:
    if (mlirAttributeIsAFloat(attribute) && mlirTypeIsAF64(mlirAttributeGetType(attribute)))
      out->number = mlirFloatAttrGetValueDouble(attribute);
    else expected = "an f64";
    break;
  case HMOEC_ATTRIBUTE_INTS:
    out->ints = reader->ints;
    if (!ints_read(attribute, reader->ints, &out->int_count)) expected = "a short list of i64";
    break;
  }
  if (expected)
    return hmoec_error(inference->diagnostics, inference->location, "%s: expected %s to be %s", inference->info->name, row->name,
                       expected);
  return hmoec_attribute_check(inference->info, row, out, inference->diagnostics, inference->location);
}

bool hmoec_op_read(MlirOperation op, hmoec_diagnostics *diagnostics, hmoec_op_reader *out_reader) {
  *out_reader = (hmoec_op_reader){.inference = {.diagnostics = diagnostics, .location = hmoec_location_of_op(op)}};
  hmoec_inference *inference = &out_reader->inference;
  MlirStringRef full_name = mlirIdentifierStr(mlirOperationGetName(op));
  char name[64];
  snprintf(name, sizeof name, "%.*s", (int)full_name.length, full_name.data);
  if (strncmp(name, "hmoe.", 5) == 0) inference->info = hmoec_op_info_find(name + 5);
  if (!inference->info) return hmoec_error(diagnostics, inference->location, "%s is not an op of the model dialect", name);
  inference->operand_count = (size_t)mlirOperationGetNumOperands(op);
  if (!hmoec_operand_count_check(inference->info, inference->operand_count, diagnostics, inference->location)) return false;
  for (size_t i = 0; i < inference->operand_count; i++)
    if (!hmoec_shape_from_type(mlirValueGetType(mlirOperationGetOperand(op, (intptr_t)i)), &inference->operands[i]))
      return hmoec_error(diagnostics, inference->location, "%s: %s is not a tensor of f32, i32, i64 or i1 of rank %d or less",
                         inference->info->name, inference->info->operands[i].name, HMOEC_MAX_RANK);
  bool ok = true;
  for (size_t i = 0; inference->info->attributes[i].name; i++) ok = attribute_read(out_reader, i, op) && ok;
  return ok;
}
