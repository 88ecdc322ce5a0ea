/* fold-duplicates: removes ops whose results are not used and merges equal ops.
 *
 *   %a = f(%x) ; %b = f(%x) ; g(%a, %b)  ->  %a = f(%x) ; g(%a, %a)
 *
 * IRDL ops carry no traits, so upstream cse and canonicalize leave them alone; every op of the hmoe dialect is pure, which is what
 * this pass relies on. Requires verified IR, keeps it verified. Cost: linear in ops, operands and attributes. */
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

static uint64_t mix(uint64_t hash, const void *pointer) {
  hash = (hash ^ (uint64_t)(uintptr_t)pointer) * UINT64_C(0x9e3779b97f4a7c15);
  return hash ^ hash >> 29;
}

/* Equal for equal ops: names, types and attributes are unique objects, values their own. Attributes come in any order. */
static uint64_t hash_op(MlirOperation op) {
  uint64_t hash = mix(0, mlirIdentifierStr(mlirOperationGetName(op)).data), attributes = 0;
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) hash = mix(hash, mlirOperationGetOperand(op, i).ptr);
  for (intptr_t i = 0; i < mlirOperationGetNumResults(op); i++)
    hash = mix(hash, mlirValueGetType(mlirOperationGetResult(op, i)).ptr);
  for (intptr_t i = 0; i < mlirOperationGetNumAttributes(op); i++) {
    MlirNamedAttribute attribute = mlirOperationGetAttribute(op, i);
    attributes += mix(mix(0, mlirIdentifierStr(attribute.name).data), attribute.attribute.ptr);
  }
  return hash + attributes;
}

/* The ops seen so far by their hash; at least half of the places stay null, so that a search ends. */
typedef struct op_table {
  MlirOperation *places;
  size_t mask;
} op_table;

/* The equal op that is in the table already, or null: then `op` is in it now. */
static MlirOperation find_or_add(op_table *table, MlirOperation op) {
  size_t at = (size_t)hash_op(op) & table->mask;
  for (; !mlirOperationIsNull(table->places[at]); at = (at + 1) & table->mask)
    if (equal_ops(table->places[at], op)) return table->places[at];
  table->places[at] = op;
  return (MlirOperation){NULL};
}

static bool clean_block(MlirOperation function, MlirBlock block, void *user) {
  (void)function;
  (void)user;
  size_t count, size = 16;
  MlirOperation *ops = hmoec_block_ops(block, &count);
  while (size < 2 * count) size *= 2;
  op_table table = {calloc(size, sizeof *table.places), size - 1};
  if (!ops || !table.places) {
    free(table.places);
    free(ops);
    return false;
  }
  for (size_t i = 0; i < count; i++) {
    if (!is_pure(ops[i])) continue;
    MlirOperation first = find_or_add(&table, ops[i]);
    if (mlirOperationIsNull(first)) continue;
    for (intptr_t r = 0; r < mlirOperationGetNumResults(ops[i]); r++)
      mlirValueReplaceAllUsesOfWith(mlirOperationGetResult(ops[i], r), mlirOperationGetResult(first, r));
    mlirOperationDestroy(ops[i]);
    ops[i] = (MlirOperation){NULL};
  }
  free(table.places);
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
