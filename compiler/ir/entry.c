#include "ir/entry.h"

#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "ir/scalar.h"

static MlirStringRef ref(const char *text) { return mlirStringRefCreateFromCString(text); }

static MlirAttribute get(MlirOperation function, const char *name) { return mlirOperationGetAttributeByName(function, ref(name)); }

MlirStringRef hmoec_entry_name(MlirOperation function) { return mlirStringAttrGetValue(get(function, "sym_name")); }

MlirOperation hmoec_entry_find(MlirModule module, const char *name) {
  MlirOperation op = mlirBlockGetFirstOperation(mlirModuleGetBody(module));
  while (!mlirOperationIsNull(op) && !(hmoec_op_is(op, "func.func") && !hmoec_is_scalar_function(op) &&
                                       (!name || mlirStringRefEqual(hmoec_entry_name(op), ref(name)))))
    op = mlirOperationGetNextInBlock(op);
  return op;
}

static MlirType type_of(MlirOperation function) { return mlirTypeAttrGetValue(get(function, "function_type")); }

size_t hmoec_entry_input_count(MlirOperation function) { return (size_t)mlirFunctionTypeGetNumInputs(type_of(function)); }
size_t hmoec_entry_output_count(MlirOperation function) { return (size_t)mlirFunctionTypeGetNumResults(type_of(function)); }

static MlirStringRef name_at(MlirAttribute dictionaries, size_t index) {
  return mlirStringAttrGetValue(
      mlirDictionaryAttrGetElementByName(mlirArrayAttrGetElement(dictionaries, (intptr_t)index), ref("hmoe.name")));
}

MlirStringRef hmoec_entry_input_name(MlirOperation function, size_t index) { return name_at(get(function, "arg_attrs"), index); }
MlirStringRef hmoec_entry_output_name(MlirOperation function, size_t index) { return name_at(get(function, "res_attrs"), index); }

static hmoec_shape shape_of(MlirType type) {
  hmoec_shape shape = {0};
  hmoec_shape_from_type(type, &shape); /* cannot fail: the module is verified */
  return shape;
}

hmoec_shape hmoec_entry_input_shape(MlirOperation function, size_t index) {
  return shape_of(mlirFunctionTypeGetInput(type_of(function), (intptr_t)index));
}
hmoec_shape hmoec_entry_output_shape(MlirOperation function, size_t index) {
  return shape_of(mlirFunctionTypeGetResult(type_of(function), (intptr_t)index));
}

/* An attribute of an argument, null if there is none. */
static MlirAttribute argument_attribute(MlirOperation function, size_t index, const char *name) {
  return mlirDictionaryAttrGetElementByName(mlirArrayAttrGetElement(get(function, "arg_attrs"), (intptr_t)index), ref(name));
}

const char *const *hmoec_default_dim_names(size_t count) {
  static const char *const one[] = {"tokens"}, *const several[HMOEC_MAX_RANK] = {"batch", "length", "depth", "width"};
  return count == 1 ? one : several;
}

MlirStringRef hmoec_entry_dim_name(MlirOperation function, size_t input, size_t dim) {
  hmoec_shape shape = hmoec_entry_input_shape(function, input);
  size_t count = 0, before = 0;
  for (size_t i = 0; i < (size_t)shape.rank; i++) {
    if (shape.dims[i] != HMOEC_DYNAMIC) continue;
    count++;
    before += i < dim;
  }
  MlirAttribute dims = argument_attribute(function, input, "hmoe.dims");
  if (mlirAttributeIsNull(dims)) return ref(hmoec_default_dim_names(count)[before]);
  return mlirStringAttrGetValue(mlirArrayAttrGetElement(dims, (intptr_t)before));
}

size_t hmoec_entry_dim_names(MlirOperation function, MlirStringRef *out_names) {
  MlirStringRef names[HMOEC_MOST_DIM_NAMES];
  size_t count = 0;
  for (size_t i = 0; i < hmoec_entry_input_count(function); i++) {
    hmoec_shape shape = hmoec_entry_input_shape(function, i);
    for (size_t d = 0; d < (size_t)shape.rank && count < HMOEC_MOST_DIM_NAMES; d++) {
      if (shape.dims[d] != HMOEC_DYNAMIC) continue;
      MlirStringRef name = hmoec_entry_dim_name(function, i, d);
      size_t known = 0;
      while (known < count && !mlirStringRefEqual(names[known], name)) known++;
      if (known == count) names[count++] = name;
    }
  }
  for (size_t i = 0; out_names && i < count; i++) out_names[i] = names[i];
  return count;
}

bool hmoec_entry_input_default(MlirOperation function, size_t index, int64_t *out_value) {
  MlirAttribute given = argument_attribute(function, index, "hmoe.default");
  if (mlirAttributeIsNull(given)) return false;
  *out_value = mlirIntegerAttrGetValueInt(given);
  return true;
}

MlirAttribute hmoec_entry_generation(MlirOperation function) { return get(function, "hmoe.generation"); }
