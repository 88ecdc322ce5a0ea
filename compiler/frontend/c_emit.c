/* Ops of the function that is being read: made at the current place, constants once, and what turns out to be unused removed. */
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "frontend/c_parts.h"

typedef struct hmoec_c_constant {
  hmoec_c_class class;
  unsigned bits;
  uint64_t image; /* of the double, or of the integer */
  MlirValue value;
} hmoec_c_constant;

static MlirStringRef ref(const char *text) { return mlirStringRefCreateFromCString(text); }

static MlirNamedAttribute attribute(const hmoec_c_reader *reader, const char *name, MlirAttribute value) {
  return mlirNamedAttributeGet(mlirIdentifierGet(reader->context, ref(name)), value);
}

MlirLocation hmoec_c_mlir_location(const hmoec_c_reader *reader, CXCursor cursor) {
  hmoec_location at = hmoec_c_place(reader, cursor);
  if (!at.file) return mlirLocationUnknownGet(reader->context);
  return mlirLocationFileLineColGet(reader->context, ref(at.file), at.line, at.column);
}

static MlirOperation create(hmoec_c_reader *reader, const char *name, MlirType type, const MlirValue *operands, size_t count,
                            const MlirNamedAttribute *attributes) {
  MlirOperationState state = mlirOperationStateGet(ref(name), hmoec_c_mlir_location(reader, reader->place));
  mlirOperationStateAddResults(&state, 1, &type);
  if (count) mlirOperationStateAddOperands(&state, (intptr_t)count, operands);
  if (attributes) mlirOperationStateAddAttributes(&state, 1, attributes);
  reader->ops++;
  return mlirOperationCreate(&state);
}

MlirValue hmoec_c_emit(hmoec_c_reader *reader, const char *name, MlirType type, const MlirValue *operands, size_t count) {
  MlirOperation op = create(reader, name, type, operands, count, NULL);
  mlirBlockAppendOwnedOperation(reader->block, op);
  return mlirOperationGetResult(op, 0);
}

MlirValue hmoec_c_emit_compare(hmoec_c_reader *reader, const char *name, int64_t predicate, MlirValue a, MlirValue b) {
  MlirAttribute number = mlirIntegerAttrGet(mlirIntegerTypeGet(reader->context, 64), predicate);
  MlirNamedAttribute named = attribute(reader, "predicate", number);
  MlirOperation op = create(reader, name, mlirIntegerTypeGet(reader->context, 1), (MlirValue[]){a, b}, 2, &named);
  mlirBlockAppendOwnedOperation(reader->block, op);
  return mlirOperationGetResult(op, 0);
}

MlirType hmoec_c_emit_type(const hmoec_c_reader *reader, hmoec_c_type type) {
  if (type.class == HMOEC_C_INTEGER) return mlirIntegerTypeGet(reader->context, type.bits);
  return type.bits == 32 ? mlirF32TypeGet(reader->context) : mlirF64TypeGet(reader->context);
}

static MlirValue constant_make(hmoec_c_reader *reader, hmoec_c_value value) {
  MlirType type = hmoec_c_emit_type(reader, value.type);
  MlirAttribute number;
  if (value.type.class == HMOEC_C_FLOATING) number = mlirFloatAttrDoubleGet(reader->context, type, value.floating);
  else if (value.type.bits == 1) number = mlirBoolAttrGet(reader->context, (int)value.integer);
  else
    number =
        mlirIntegerAttrGet(type, hmoec_c_integer((hmoec_c_type){HMOEC_C_INTEGER, value.type.bits, true}, value.integer).integer);
  MlirNamedAttribute named = attribute(reader, "value", number);
  MlirOperation op = create(reader, "arith.constant", type, NULL, 0, &named);
  if (mlirOperationIsNull(reader->last_constant)) mlirBlockInsertOwnedOperation(reader->entry, 0, op);
  else mlirBlockInsertOwnedOperationAfter(reader->entry, reader->last_constant, op);
  reader->last_constant = op;
  return mlirOperationGetResult(op, 0);
}

static MlirValue constant(hmoec_c_reader *reader, hmoec_c_value value) {
  hmoec_c_constant wanted = {.class = value.type.class, .bits = value.type.bits, .image = (uint64_t)value.integer};
  if (wanted.class == HMOEC_C_FLOATING) memcpy(&wanted.image, &value.floating, sizeof wanted.image);
  else if (wanted.bits < 64) wanted.image &= (UINT64_C(1) << wanted.bits) - 1; /* signed or not, it is one constant */
  for (size_t i = 0; i < reader->constant_count; i++) {
    const hmoec_c_constant *known = &reader->constants[i];
    if (known->class == wanted.class && known->bits == wanted.bits && known->image == wanted.image) return known->value;
  }
  if (reader->constant_count == reader->constant_capacity) {
    reader->constant_capacity = reader->constant_capacity ? 2 * reader->constant_capacity : 16;
    reader->constants = hmoec_arena_grow(reader->arena, reader->constants, reader->constant_count, reader->constant_capacity,
                                         sizeof *reader->constants);
  }
  wanted.value = constant_make(reader, value);
  reader->constants[reader->constant_count++] = wanted;
  return wanted.value;
}

MlirValue hmoec_c_materialize(hmoec_c_reader *reader, hmoec_c_value value) {
  switch (value.kind) {
  case HMOEC_C_CONSTANT: return constant(reader, value);
  case HMOEC_C_TRUTH:
    if (value.type.bits == 1) return value.value;
    return hmoec_c_emit(reader, "arith.extui", hmoec_c_emit_type(reader, value.type), &value.value, 1);
  case HMOEC_C_RUNTIME: return value.value;
  case HMOEC_C_UNSET:
  case HMOEC_C_PERHAPS: break;
  }
  return (MlirValue){NULL}; /* not reached: these are never read */
}

static bool op_is(MlirOperation op, const char *name) {
  return mlirStringRefEqual(mlirIdentifierStr(mlirOperationGetName(op)), ref(name));
}

/* Only hmoec_c_emit_not makes arith.xori of an i1 and a constant: its second operand. */
bool hmoec_c_is_not(MlirValue truth, MlirValue *out_of) {
  if (!mlirValueIsAOpResult(truth)) return false;
  MlirOperation op = mlirOpResultGetOwner(truth);
  MlirType type = mlirValueGetType(truth);
  if (!op_is(op, "arith.xori") || mlirIntegerTypeGetWidth(type) != 1) return false;
  MlirValue second = mlirOperationGetOperand(op, 1);
  if (!mlirValueIsAOpResult(second) || !op_is(mlirOpResultGetOwner(second), "arith.constant")) return false;
  *out_of = mlirOperationGetOperand(op, 0);
  return true;
}

MlirValue hmoec_c_emit_not(hmoec_c_reader *reader, MlirValue truth) {
  MlirValue inner;
  if (hmoec_c_is_not(truth, &inner)) return inner;
  MlirValue yes = constant(reader, hmoec_c_truth(true));
  return hmoec_c_emit(reader, "arith.xori", mlirValueGetType(truth), (MlirValue[]){truth, yes}, 2);
}

/* ---- What is unused ---- */

static bool value_used(MlirValue value) { return !mlirOpOperandIsNull(mlirValueGetFirstUse(value)); }

/* scf.if with the results that are used only. */
static MlirOperation narrow(MlirBlock block, MlirOperation op, intptr_t used) {
  intptr_t count = mlirOperationGetNumResults(op);
  MlirOperationState state = mlirOperationStateGet(ref("scf.if"), mlirOperationGetLocation(op));
  MlirValue condition = mlirOperationGetOperand(op, 0);
  mlirOperationStateAddOperands(&state, 1, &condition);
  MlirRegion regions[2] = {mlirRegionCreate(), mlirRegionCreate()};
  mlirOperationStateAddOwnedRegions(&state, 2, regions);
  hmoec_arena *scratch = hmoec_arena_create();
  MlirType *types = hmoec_arena_alloc_array(scratch, (size_t)used, sizeof *types);
  MlirValue *values = hmoec_arena_alloc_array(scratch, (size_t)used, sizeof *values);
  intptr_t kept = 0;
  for (intptr_t i = 0; i < count; i++)
    if (value_used(mlirOperationGetResult(op, i))) types[kept++] = mlirValueGetType(mlirOperationGetResult(op, i));
  mlirOperationStateAddResults(&state, used, types);
  MlirOperation narrowed = mlirOperationCreate(&state);
  mlirBlockInsertOwnedOperationBefore(block, op, narrowed);
  for (int arm = 0; arm < 2; arm++) {
    MlirBlock body = mlirRegionGetFirstBlock(mlirOperationGetRegion(op, arm));
    MlirOperation yield = mlirBlockGetTerminator(body);
    kept = 0;
    for (intptr_t i = 0; i < count; i++)
      if (value_used(mlirOperationGetResult(op, i))) values[kept++] = mlirOperationGetOperand(yield, i);
    MlirOperationState yielded = mlirOperationStateGet(ref("scf.yield"), mlirOperationGetLocation(yield));
    mlirOperationStateAddOperands(&yielded, used, values);
    mlirOperationDestroy(yield);
    mlirBlockAppendOwnedOperation(body, mlirOperationCreate(&yielded));
    mlirRegionTakeBody(mlirOperationGetRegion(narrowed, arm), mlirOperationGetRegion(op, arm));
  }
  kept = 0;
  for (intptr_t i = 0; i < count; i++) {
    MlirValue old = mlirOperationGetResult(op, i);
    if (value_used(old)) mlirValueReplaceAllUsesOfWith(old, mlirOperationGetResult(narrowed, kept++));
  }
  mlirOperationDestroy(op);
  hmoec_arena_destroy(scratch);
  return narrowed;
}

void hmoec_c_sweep(MlirBlock block) {
  size_t count = 0, capacity = 0;
  MlirOperation *ops = NULL;
  hmoec_arena *scratch = hmoec_arena_create();
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
    if (count == capacity) {
      capacity = capacity ? 2 * capacity : 64;
      ops = hmoec_arena_grow(scratch, ops, count, capacity, sizeof *ops);
    }
    ops[count++] = op;
  }
  /* From the last to the first, so that users go before what they use. */
  while (count) {
    MlirOperation op = ops[--count];
    intptr_t results = mlirOperationGetNumResults(op), used = 0;
    for (intptr_t i = 0; i < results; i++) used += value_used(mlirOperationGetResult(op, i));
    if (results && !used) {
      mlirOperationDestroy(op);
    } else if (mlirOperationGetNumRegions(op) == 2) {
      if (used < results) op = narrow(block, op, used);
      for (int arm = 0; arm < 2; arm++) hmoec_c_sweep(mlirRegionGetFirstBlock(mlirOperationGetRegion(op, arm)));
    }
  }
  hmoec_arena_destroy(scratch);
}
