#include "passes/rewrite.h"

#include <stdlib.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/IR.h>

#include "ir/op_reader.h"
#include "ir/scalar.h"

hmoec_rewriter hmoec_rewriter_before(MlirOperation op, hmoec_diagnostics *diagnostics) {
  return (hmoec_rewriter){mlirOperationGetContext(op), diagnostics, mlirOperationGetBlock(op), op};
}

bool hmoec_each_function(MlirModule module, bool (*visit)(MlirOperation function, MlirBlock body, void *user), void *user) {
  MlirBlock body = mlirModuleGetBody(module);
  bool ok = true;
  for (MlirOperation op = mlirBlockGetFirstOperation(body), next; !mlirOperationIsNull(op); op = next) {
    next = mlirOperationGetNextInBlock(op);
    if (!hmoec_op_is(op, "func.func") || hmoec_is_scalar_function(op)) continue;
    MlirBlock block = mlirRegionGetFirstBlock(mlirOperationGetRegion(op, 0));
    if (!mlirBlockIsNull(block)) ok = visit(op, block, user) && ok;
  }
  return ok;
}

MlirOperation hmoec_rewriter_op(hmoec_rewriter *rewriter, const char *name, const MlirValue *operands, size_t operand_count,
                                const hmoec_attribute *attributes, size_t attribute_count) {
  return hmoec_op_build(rewriter->context, rewriter->diagnostics, rewriter->block, rewriter->before,
                        mlirOperationGetLocation(rewriter->before), name, operands, operand_count, attributes, attribute_count);
}

MlirOperation hmoec_rewriter_clone(hmoec_rewriter *rewriter, MlirOperation op, const MlirValue *operands) {
  hmoec_op_reader reader;
  if (!hmoec_op_read(op, rewriter->diagnostics, &reader)) return (MlirOperation){NULL};
  const hmoec_op_info *info = reader.inference.info;
  hmoec_attribute *attributes = reader.inference.attributes;
  char *strings[HMOEC_MAX_ATTRIBUTES] = {0};
  MlirOperation clone = {NULL};
  size_t given = 0;
  for (size_t i = 0; info->attributes[i].name; i++) {
    MlirAttribute whole = mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString(info->attributes[i].name));
    if (mlirAttributeIsNull(whole)) continue; /* it has its default, which need not be what can be given */
    attributes[given] = attributes[i];
    if (info->attributes[i].kind == HMOEC_ATTRIBUTE_STRING) { /* the reader cuts long texts */
      MlirStringRef value = mlirStringAttrGetValue(whole);
      attributes[given].string = strings[given] = strndup(value.data, value.length);
      if (!strings[given]) {
        hmoec_machine_error(rewriter->diagnostics, "out of memory");
        goto done;
      }
    }
    given++;
  }
  clone = hmoec_op_build(rewriter->context, rewriter->diagnostics, rewriter->block, rewriter->before, mlirOperationGetLocation(op),
                         info->name, operands, (size_t)mlirOperationGetNumOperands(op), attributes, given);
done:
  for (size_t i = 0; i < HMOEC_MAX_ATTRIBUTES; i++) free(strings[i]);
  return clone;
}

MlirOperation hmoec_defining_op(MlirValue value) {
  return mlirValueIsAOpResult(value) ? mlirOpResultGetOwner(value) : (MlirOperation){NULL};
}

MlirOperation hmoec_single_user(MlirValue value) {
  MlirOpOperand use = mlirValueGetFirstUse(value);
  if (mlirOpOperandIsNull(use) || !mlirOpOperandIsNull(mlirOpOperandGetNextUse(use))) return (MlirOperation){NULL};
  return mlirOpOperandGetOwner(use);
}

bool hmoec_value_unused(MlirValue value) { return mlirOpOperandIsNull(mlirValueGetFirstUse(value)); }

bool hmoec_op_unused(MlirOperation op) {
  for (intptr_t i = 0; i < mlirOperationGetNumResults(op); i++)
    if (!hmoec_value_unused(mlirOperationGetResult(op, i))) return false;
  return true;
}

hmoec_shape hmoec_value_shape(MlirValue value) {
  hmoec_shape shape = {0};
  hmoec_shape_from_type(mlirValueGetType(value), &shape);
  return shape;
}

MlirOperation *hmoec_block_ops(MlirBlock block, size_t *out_count) {
  size_t count = 0;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op))
    count++;
  MlirOperation *ops = malloc((count + 1) * sizeof *ops);
  if (!ops) {
    *out_count = 0;
    return NULL;
  }
  size_t i = 0;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op))
    ops[i++] = op;
  *out_count = count;
  return ops;
}
