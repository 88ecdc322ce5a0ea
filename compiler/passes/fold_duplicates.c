/* fold-duplicates: removes ops whose results are not used and merges equal ops.
 *
 *   %a = f(%x) ; %b = f(%x) ; g(%a, %b)  ->  %a = f(%x) ; g(%a, %a)
 *
 * IRDL ops carry no traits, so upstream cse and canonicalize leave them alone; every op of the hmoe dialect is pure, which is what
 * this pass relies on. Requires verified IR, keeps it verified. Cost: quadratic in the ops of one kind, which are few. */
#include "passes/passes.h"

#include <stdlib.h>

#include "passes/rewrite.h"

static bool is_pure(MlirOperation op) { return hmoec_op_info_of(op) != NULL; }

static bool equal_ops(MlirOperation a, MlirOperation b) {
  if (!mlirIdentifierEqual(mlirOperationGetName(a), mlirOperationGetName(b))) return false;
  if (mlirOperationGetNumOperands(a) != mlirOperationGetNumOperands(b) ||
      mlirOperationGetNumResults(a) != mlirOperationGetNumResults(b))
    return false;
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(a); i++)
    if (!mlirValueEqual(mlirOperationGetOperand(a, i), mlirOperationGetOperand(b, i))) return false;
  for (intptr_t i = 0; i < mlirOperationGetNumResults(a); i++)
    if (!mlirTypeEqual(mlirValueGetType(mlirOperationGetResult(a, i)), mlirValueGetType(mlirOperationGetResult(b, i))))
      return false;
  if (mlirOperationGetNumAttributes(a) != mlirOperationGetNumAttributes(b)) return false;
  for (intptr_t i = 0; i < mlirOperationGetNumAttributes(a); i++) {
    MlirNamedAttribute attribute = mlirOperationGetAttribute(a, i);
    if (!mlirAttributeEqual(attribute.attribute, mlirOperationGetAttributeByName(b, mlirIdentifierStr(attribute.name))))
      return false;
  }
  return true;
}

static bool clean_block(MlirOperation function, MlirBlock block, void *user) {
  (void)function;
  (void)user;
  size_t count;
  MlirOperation *ops = hmoec_block_ops(block, &count);
  if (!ops) return false;
  for (size_t i = 0; i < count; i++) {
    if (!is_pure(ops[i])) continue;
    for (size_t j = 0; j < i; j++) {
      if (mlirOperationIsNull(ops[j]) || !is_pure(ops[j]) || !equal_ops(ops[j], ops[i])) continue;
      for (intptr_t r = 0; r < mlirOperationGetNumResults(ops[i]); r++)
        mlirValueReplaceAllUsesOfWith(mlirOperationGetResult(ops[i], r), mlirOperationGetResult(ops[j], r));
      mlirOperationDestroy(ops[i]);
      ops[i] = (MlirOperation){NULL};
      break;
    }
  }
  for (size_t i = count; i-- > 0;)
    if (!mlirOperationIsNull(ops[i]) && is_pure(ops[i]) && hmoec_op_unused(ops[i])) mlirOperationDestroy(ops[i]);
  free(ops);
  return true;
}

bool hmoec_fold_duplicates(MlirModule module, hmoec_pass_options *options, hmoec_diagnostics *diagnostics) {
  (void)options;
  (void)diagnostics;
  return hmoec_each_function(module, clean_block, NULL);
}
