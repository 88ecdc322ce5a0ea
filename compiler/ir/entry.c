#include "ir/entry.h"

#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

static MlirStringRef ref(const char *text) { return mlirStringRefCreateFromCString(text); }

static MlirAttribute get(MlirOperation function, const char *name) { return mlirOperationGetAttributeByName(function, ref(name)); }

MlirStringRef hmoec_entry_name(MlirOperation function) { return mlirStringAttrGetValue(get(function, "sym_name")); }

MlirOperation hmoec_entry_find(MlirModule module, const char *name) {
  MlirOperation op = mlirBlockGetFirstOperation(mlirModuleGetBody(module));
  while (!mlirOperationIsNull(op) &&
         !(hmoec_op_is(op, "func.func") && (!name || mlirStringRefEqual(hmoec_entry_name(op), ref(name)))))
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

const char *hmoec_name_taken(MlirStringRef name, bool model) {
  static const char *const keywords[] = {
      "auto",   "break",    "case",     "char",     "const",     "continue",      "default",      "do",     "double",
      "else",   "enum",     "extern",   "float",    "for",       "goto",          "if",           "inline", "int",
      "long",   "register", "restrict", "return",   "short",     "signed",        "sizeof",       "static", "struct",
      "switch", "typedef",  "union",    "unsigned", "void",      "volatile",      "while",        "bool",   "true",
      "false",  "nullptr",  "alignas",  "alignof",  "constexpr", "static_assert", "thread_local", "typeof", "class",
      "delete", "new",      "this",     "template", "namespace", "operator",      "private",      "public"};
  for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
    if (mlirStringRefEqual(name, ref(keywords[i]))) return "a keyword of C or C++";
  if (model) return name.length >= 5 && memcmp(name.data, "hmoe_", 5) == 0 ? "a name of the runtime's" : NULL;
  return mlirStringRefEqual(name, ref("tokens")) ? "the name of the token count" : NULL;
}
