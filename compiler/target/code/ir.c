/* One operation a function; see ir.h. Result types are always given, never inferred. */
#include "target/code/ir.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <mlir-c/Dialect/LLVM.h>

enum { MAX_LANES = 16, MAX_OPERANDS = IR_LOOP_ARGS + 3 };

static MlirStringRef text(const char *string) { return mlirStringRefCreateFromCString(string); }

MlirType ir_vector_of(ir_builder *ir, MlirType element) { return mlirVectorTypeGet(1, &ir->lanes, element); }

void ir_init(ir_builder *ir, MlirContext context, int64_t lanes, bool has_fma, const ir_bf16 *bf16) {
  *ir = (ir_builder){
      .context = context, .location = mlirLocationUnknownGet(context), .lanes = lanes, .has_fma = has_fma, .bf16 = bf16};
  ir->i1 = mlirIntegerTypeGet(context, 1);
  ir->i8 = mlirIntegerTypeGet(context, 8);
  ir->i16 = mlirIntegerTypeGet(context, 16);
  ir->i32 = mlirIntegerTypeGet(context, 32);
  ir->i64 = mlirIntegerTypeGet(context, 64);
  ir->f32 = mlirF32TypeGet(context);
  ir->f64 = mlirF64TypeGet(context);
  ir->ptr = mlirLLVMPointerTypeGet(context, 0);
  ir->vi1 = ir_vector_of(ir, ir->i1);
  ir->vi16 = ir_vector_of(ir, ir->i16);
  ir->vi32 = ir_vector_of(ir, ir->i32);
  ir->vi64 = ir_vector_of(ir, ir->i64);
  ir->vf32 = ir_vector_of(ir, ir->f32);
  ir->vf64 = ir_vector_of(ir, ir->f64);
}

static MlirNamedAttribute named(ir_builder *ir, const char *name, MlirAttribute attribute) {
  return mlirNamedAttributeGet(mlirIdentifierGet(ir->context, text(name)), attribute);
}

static MlirAttribute integer(ir_builder *ir, MlirType type, int64_t value) {
  (void)ir;
  return mlirIntegerAttrGet(type, value);
}

/* Appends an operation; `type` null: no result. */
static MlirOperation append(ir_builder *ir, const char *name, MlirType type, intptr_t operands, const MlirValue *operand,
                            intptr_t attributes, const MlirNamedAttribute *attribute) {
  MlirOperationState state = mlirOperationStateGet(text(name), ir->location);
  if (!mlirTypeIsNull(type)) mlirOperationStateAddResults(&state, 1, &type);
  if (operands > 0) mlirOperationStateAddOperands(&state, operands, operand);
  if (attributes > 0) mlirOperationStateAddAttributes(&state, attributes, attribute);
  MlirOperation op = mlirOperationCreate(&state); /* never null: it infers no types */
  mlirBlockAppendOwnedOperation(ir->block, op);
  return op;
}

static MlirValue value_of(ir_builder *ir, const char *name, MlirType type, intptr_t operands, const MlirValue *operand,
                          intptr_t attributes, const MlirNamedAttribute *attribute) {
  return mlirOperationGetResult(append(ir, name, type, operands, operand, attributes, attribute), 0);
}

static MlirValue binary(ir_builder *ir, const char *name, MlirValue a, MlirValue b) {
  return value_of(ir, name, mlirValueGetType(a), 2, (MlirValue[]){a, b}, 0, NULL);
}

static MlirValue constant(ir_builder *ir, MlirAttribute value) {
  MlirNamedAttribute attribute = named(ir, "value", value);
  return value_of(ir, "arith.constant", mlirAttributeGetType(value), 0, NULL, 1, &attribute);
}

MlirValue ir_i8(ir_builder *ir, int64_t value) { return constant(ir, integer(ir, ir->i8, value)); }
MlirValue ir_i64(ir_builder *ir, int64_t value) { return constant(ir, integer(ir, ir->i64, value)); }
MlirValue ir_i32(ir_builder *ir, int32_t value) { return constant(ir, integer(ir, ir->i32, value)); }
MlirValue ir_f32(ir_builder *ir, float value) { return constant(ir, mlirFloatAttrDoubleGet(ir->context, ir->f32, (double)value)); }
MlirValue ir_vector_i16(ir_builder *ir, int16_t value) {
  return constant(ir, mlirDenseElementsAttrSplatGet(ir->vi16, integer(ir, ir->i16, value)));
}
MlirValue ir_vector_i32(ir_builder *ir, int32_t value) { return constant(ir, mlirDenseElementsAttrInt32SplatGet(ir->vi32, value)); }
MlirValue ir_vector_i64(ir_builder *ir, int64_t value) { return constant(ir, mlirDenseElementsAttrInt64SplatGet(ir->vi64, value)); }
MlirValue ir_vector_f64(ir_builder *ir, double value) { return constant(ir, mlirDenseElementsAttrDoubleSplatGet(ir->vf64, value)); }
MlirValue ir_vector_f32(ir_builder *ir, float value) { return constant(ir, mlirDenseElementsAttrFloatSplatGet(ir->vf32, value)); }

MlirValue ir_iota(ir_builder *ir) {
  int32_t elements[MAX_LANES];
  for (int32_t i = 0; i < MAX_LANES; i++) elements[i] = i;
  return constant(ir, mlirDenseElementsAttrInt32Get(ir->vi32, (intptr_t)ir->lanes, elements));
}

MlirValue ir_prefix_mask(ir_builder *ir, int64_t count) {
  int elements[MAX_LANES];
  for (int i = 0; i < MAX_LANES; i++) elements[i] = i < count;
  return constant(ir, mlirDenseElementsAttrBoolGet(ir->vi1, (intptr_t)ir->lanes, elements));
}

MlirValue ir_splat(ir_builder *ir, MlirValue scalar) {
  return value_of(ir, "vector.broadcast", ir_vector_of(ir, mlirValueGetType(scalar)), 1, &scalar, 0, NULL);
}

MlirValue ir_splat_to(ir_builder *ir, MlirValue scalar, int64_t lanes) {
  return value_of(ir, "vector.broadcast", mlirVectorTypeGet(1, &lanes, mlirValueGetType(scalar)), 1, &scalar, 0, NULL);
}

MlirValue ir_splat_of(ir_builder *ir, MlirAttribute value) {
  return constant(ir, mlirDenseElementsAttrSplatGet(ir_vector_of(ir, mlirAttributeGetType(value)), value));
}

MlirValue ir_op(ir_builder *ir, const char *name, MlirType type, intptr_t count, const MlirValue *operands,
                const char *attribute_name, MlirAttribute attribute) {
  MlirNamedAttribute attributes[1];
  if (attribute_name) attributes[0] = named(ir, attribute_name, attribute);
  return value_of(ir, name, type, count, operands, attribute_name ? 1 : 0, attributes);
}

/* The `value` of an arith.constant, or null; of an operation of another name, its first operand in *out_from. */
static MlirAttribute constant_value(MlirValue value, const char *other, MlirValue *out_from) {
  *out_from = (MlirValue){NULL};
  if (!mlirValueIsAOpResult(value)) return mlirAttributeGetNull();
  MlirOperation op = mlirOpResultGetOwner(value);
  MlirStringRef name = mlirIdentifierStr(mlirOperationGetName(op));
  if (mlirStringRefEqual(name, text("arith.constant"))) return mlirOperationGetAttributeByName(op, text("value"));
  if (other && mlirStringRefEqual(name, text(other))) *out_from = mlirOperationGetOperand(op, 0);
  return mlirAttributeGetNull();
}

bool ir_is_splat_of(MlirValue vector, double *out_value) {
  MlirValue scalar, none;
  MlirAttribute value = constant_value(vector, "vector.broadcast", &scalar);
  if (!mlirValueIsNull(scalar)) value = constant_value(scalar, NULL, &none);
  if (mlirAttributeIsNull(value)) return false;
  if (mlirAttributeIsADenseElements(value) && mlirDenseElementsAttrIsSplat(value))
    value = mlirDenseElementsAttrGetSplatValue(value);
  if (!mlirAttributeIsAFloat(value)) return false;
  *out_value = mlirFloatAttrGetValueDouble(value);
  return true;
}

MlirValue ir_add_i(ir_builder *ir, MlirValue a, MlirValue b) { return binary(ir, "arith.addi", a, b); }
MlirValue ir_sub_i(ir_builder *ir, MlirValue a, MlirValue b) { return binary(ir, "arith.subi", a, b); }
MlirValue ir_mul_i(ir_builder *ir, MlirValue a, MlirValue b) { return binary(ir, "arith.muli", a, b); }
MlirValue ir_div_i(ir_builder *ir, MlirValue a, MlirValue b) { return binary(ir, "arith.divui", a, b); }
MlirValue ir_rem_i(ir_builder *ir, MlirValue a, MlirValue b) { return binary(ir, "arith.remui", a, b); }
MlirValue ir_min_i(ir_builder *ir, MlirValue a, MlirValue b) { return binary(ir, "arith.minsi", a, b); }
MlirValue ir_max_i(ir_builder *ir, MlirValue a, MlirValue b) { return binary(ir, "arith.maxsi", a, b); }
MlirValue ir_and(ir_builder *ir, MlirValue a, MlirValue b) { return binary(ir, "arith.andi", a, b); }
MlirValue ir_or(ir_builder *ir, MlirValue a, MlirValue b) { return binary(ir, "arith.ori", a, b); }
MlirValue ir_xor(ir_builder *ir, MlirValue a, MlirValue b) { return binary(ir, "arith.xori", a, b); }
MlirValue ir_shift_left(ir_builder *ir, MlirValue a, MlirValue b) { return binary(ir, "arith.shli", a, b); }
MlirValue ir_shift_right(ir_builder *ir, MlirValue a, MlirValue b) { return binary(ir, "arith.shrsi", a, b); }
MlirValue ir_shift_right_unsigned(ir_builder *ir, MlirValue a, MlirValue b) { return binary(ir, "arith.shrui", a, b); }
MlirValue ir_add(ir_builder *ir, MlirValue a, MlirValue b) { return binary(ir, "arith.addf", a, b); }
MlirValue ir_sub(ir_builder *ir, MlirValue a, MlirValue b) { return binary(ir, "arith.subf", a, b); }
MlirValue ir_mul(ir_builder *ir, MlirValue a, MlirValue b) { return binary(ir, "arith.mulf", a, b); }
MlirValue ir_div(ir_builder *ir, MlirValue a, MlirValue b) { return binary(ir, "arith.divf", a, b); }

MlirValue ir_quotient(ir_builder *ir, MlirValue a, MlirValue b) {
  if (!ir->has_quotients) return ir_div(ir, a, b);
  MlirNamedAttribute how = named(ir, "fastmath", mlirAttributeParseGet(ir->context, text("#arith.fastmath<afn>")));
  return value_of(ir, "arith.divf", mlirValueGetType(a), 2, (MlirValue[]){a, b}, 1, &how);
}

MlirValue ir_sqrt(ir_builder *ir, MlirValue a) { return value_of(ir, "llvm.intr.sqrt", mlirValueGetType(a), 1, &a, 0, NULL); }

MlirValue ir_fma(ir_builder *ir, MlirValue a, MlirValue b, MlirValue c) {
  if (!ir->has_fma) return ir_add(ir, ir_mul(ir, a, b), c);
  return value_of(ir, "vector.fma", mlirValueGetType(a), 3, (MlirValue[]){a, b, c}, 0, NULL);
}

static MlirType bool_like(ir_builder *ir, MlirType type) { return mlirTypeIsAVector(type) ? ir->vi1 : ir->i1; }

MlirValue ir_compare_i(ir_builder *ir, ir_compare how, MlirValue a, MlirValue b) {
  static const int64_t predicates[] = {[IR_EQ] = 0, [IR_NE] = 1, [IR_LT] = 2, [IR_LE] = 3, [IR_GT] = 4, [IR_GE] = 5};
  MlirNamedAttribute predicate = named(ir, "predicate", integer(ir, ir->i64, predicates[how]));
  return value_of(ir, "arith.cmpi", bool_like(ir, mlirValueGetType(a)), 2, (MlirValue[]){a, b}, 1, &predicate);
}

MlirValue ir_compare_f(ir_builder *ir, ir_compare how, MlirValue a, MlirValue b) {
  static const int64_t predicates[] = {[IR_EQ] = 1, [IR_GT] = 2, [IR_GE] = 3, [IR_LT] = 4, [IR_LE] = 5, [IR_NE] = 6};
  MlirNamedAttribute predicate = named(ir, "predicate", integer(ir, ir->i64, predicates[how]));
  return value_of(ir, "arith.cmpf", bool_like(ir, mlirValueGetType(a)), 2, (MlirValue[]){a, b}, 1, &predicate);
}

MlirValue ir_select(ir_builder *ir, MlirValue condition, MlirValue yes, MlirValue no) {
  return value_of(ir, "arith.select", mlirValueGetType(yes), 3, (MlirValue[]){condition, yes, no}, 0, NULL);
}

/* Like v: a scalar, or a splat. */
static MlirValue i32_like(ir_builder *ir, MlirValue v, int32_t value) {
  return mlirTypeIsAVector(mlirValueGetType(v)) ? ir_vector_i32(ir, value) : ir_i32(ir, value);
}

MlirValue ir_order_key(ir_builder *ir, MlirValue v) {
  bool is_vector = mlirTypeIsAVector(mlirValueGetType(v));
  MlirValue plus_zero = ir_add(ir, v, is_vector ? ir_vector_f32(ir, 0.0f) : ir_f32(ir, 0.0f));
  MlirValue bits = ir_bitcast(ir, plus_zero, is_vector ? ir->vi32 : ir->i32);
  MlirValue sign = ir_shift_right(ir, bits, i32_like(ir, v, 31));
  MlirValue key = ir_xor(ir, bits, ir_and(ir, sign, i32_like(ir, v, INT32_MAX)));
  return ir_select(ir, ir_compare_f(ir, IR_EQ, v, v), key, i32_like(ir, v, INT32_MAX));
}

MlirValue ir_order_key_value(ir_builder *ir, MlirValue key) {
  MlirValue sign = ir_shift_right(ir, key, ir_i32(ir, 31));
  return ir_bitcast(ir, ir_xor(ir, key, ir_and(ir, sign, ir_i32(ir, INT32_MAX))), ir->f32);
}

MlirValue ir_bitcast(ir_builder *ir, MlirValue value, MlirType type) {
  return value_of(ir, "arith.bitcast", type, 1, &value, 0, NULL);
}

MlirValue ir_extend(ir_builder *ir, MlirValue value) { return value_of(ir, "arith.extsi", ir->i64, 1, &value, 0, NULL); }
MlirValue ir_truncate(ir_builder *ir, MlirValue value) { return value_of(ir, "arith.trunci", ir->i32, 1, &value, 0, NULL); }

MlirValue ir_widen(ir_builder *ir, MlirValue value) { return value_of(ir, "arith.extf", ir->vf64, 1, &value, 0, NULL); }
MlirValue ir_narrow(ir_builder *ir, MlirValue value) { return value_of(ir, "arith.truncf", ir->vf32, 1, &value, 0, NULL); }
MlirValue ir_widen_i(ir_builder *ir, MlirValue value) { return value_of(ir, "arith.extsi", ir->vi64, 1, &value, 0, NULL); }
MlirValue ir_narrow_i(ir_builder *ir, MlirValue value) { return value_of(ir, "arith.trunci", ir->vi32, 1, &value, 0, NULL); }
MlirValue ir_from_i32(ir_builder *ir, MlirValue value, MlirType type) {
  return value_of(ir, "arith.sitofp", type, 1, &value, 0, NULL);
}
MlirValue ir_to_i32(ir_builder *ir, MlirValue value) { return value_of(ir, "arith.fptosi", ir->vi32, 1, &value, 0, NULL); }

MlirValue ir_reduce(ir_builder *ir, const char *kind, MlirValue vector) {
  char written[64] = "#vector.kind<";
  strncat(written, kind, sizeof written - 16);
  strcat(written, ">");
  MlirAttribute attribute = mlirAttributeParseGet(ir->context, text(written));
  if (mlirAttributeIsNull(attribute)) {
    ir->failed = true;
    attribute = mlirUnitAttrGet(ir->context);
  }
  MlirNamedAttribute how = named(ir, "kind", attribute);
  return value_of(ir, "vector.reduction", mlirShapedTypeGetElementType(mlirValueGetType(vector)), 1, &vector, 1, &how);
}

MlirValue ir_exchange(ir_builder *ir, MlirValue vector, int64_t distance) {
  int64_t lanes[MAX_LANES];
  for (int64_t i = 0; i < MAX_LANES; i++) lanes[i] = i ^ distance;
  MlirNamedAttribute mask = named(ir, "mask", mlirDenseI64ArrayGet(ir->context, (intptr_t)ir->lanes, lanes));
  return value_of(ir, "vector.shuffle", mlirValueGetType(vector), 2, (MlirValue[]){vector, vector}, 1, &mask);
}

MlirValue ir_intrinsic(ir_builder *ir, const char *name, MlirType result, intptr_t count, const MlirValue *arguments) {
  int32_t segments[2] = {(int32_t)count, 0};
  MlirNamedAttribute list[] = {named(ir, "intrin", mlirStringAttrGet(ir->context, text(name))),
                               named(ir, "operandSegmentSizes", mlirDenseI32ArrayGet(ir->context, 2, segments)),
                               named(ir, "op_bundle_sizes", mlirDenseI32ArrayGet(ir->context, 0, NULL))};
  MlirOperation op = append(ir, "llvm.call_intrinsic", result, count, arguments, 3, list);
  return mlirTypeIsNull(result) ? (MlirValue){NULL} : mlirOperationGetResult(op, 0);
}

static MlirType bf16_vector(ir_builder *ir, int64_t count) { return mlirVectorTypeGet(1, &count, mlirBF16TypeGet(ir->context)); }

/* llvm.bitcast and not arith.bitcast: these types differ in the number of elements. */
static MlirValue recast(ir_builder *ir, MlirValue value, MlirType type) {
  return value_of(ir, "llvm.bitcast", type, 1, &value, 0, NULL);
}

MlirValue ir_from_bf16(ir_builder *ir, MlirValue value) {
  return ir_low_bf16(ir, value_of(ir, "arith.extui", ir->vi32, 1, &value, 0, NULL));
}

MlirValue ir_low_bf16(ir_builder *ir, MlirValue words) {
  return ir_bitcast(ir, ir_shift_left(ir, words, ir_vector_i32(ir, 16)), ir->vf32);
}

MlirValue ir_high_bf16(ir_builder *ir, MlirValue words) {
  return ir_bitcast(ir, ir_and(ir, words, ir_vector_i32(ir, (int32_t)0xffff0000)), ir->vf32);
}

MlirValue ir_dot_bf16(ir_builder *ir, MlirValue sum, MlirValue a, MlirValue b) {
  MlirType type = bf16_vector(ir, 2 * ir->lanes);
  return ir_intrinsic(ir, ir->bf16->dot, ir->vf32, 3, (MlirValue[]){sum, recast(ir, a, type), recast(ir, b, type)});
}

MlirValue ir_to_bf16(ir_builder *ir, MlirValue value) {
  if (ir->bf16) return recast(ir, ir_intrinsic(ir, ir->bf16->round, bf16_vector(ir, ir->lanes), 1, &value), ir->vi16);
  MlirValue bits = ir_bitcast(ir, value, ir->vi32), half = ir_vector_i32(ir, 16);
  MlirValue odd = ir_and(ir, ir_shift_right(ir, bits, half), ir_vector_i32(ir, 1));
  MlirValue rounded = ir_add_i(ir, bits, ir_add_i(ir, odd, ir_vector_i32(ir, 0x7fff)));
  MlirNamedAttribute unordered = named(ir, "predicate", integer(ir, ir->i64, 14));
  MlirValue is_nan = value_of(ir, "arith.cmpf", ir->vi1, 2, (MlirValue[]){value, value}, 1, &unordered);
  bits = ir_select(ir, is_nan, ir_or(ir, bits, ir_vector_i32(ir, 0x400000)), rounded);
  bits = ir_shift_right(ir, bits, half);
  return value_of(ir, "arith.trunci", ir->vi16, 1, &bits, 0, NULL);
}

static MlirValue pointer_add(ir_builder *ir, MlirValue base, MlirType type, intptr_t count, const MlirValue *index,
                             int32_t constant_index) {
  MlirNamedAttribute attributes[] = {named(ir, "elem_type", mlirTypeAttrGet(type)),
                                     named(ir, "rawConstantIndices", mlirDenseI32ArrayGet(ir->context, 1, &constant_index))};
  MlirValue operands[2] = {base};
  if (count > 0) operands[1] = index[0];
  return value_of(ir, "llvm.getelementptr", mlirValueGetType(base), 1 + count, operands, 2, attributes);
}

MlirValue ir_at(ir_builder *ir, MlirValue base, MlirType type, MlirValue index) {
  return pointer_add(ir, base, type, 1, &index, INT32_MIN);
}

MlirValue ir_at_constant(ir_builder *ir, MlirValue base, MlirType type, int64_t index) {
  if (index == 0) return base;
  if (index <= INT32_MIN || index > INT32_MAX) return ir_at(ir, base, type, ir_i64(ir, index));
  return pointer_add(ir, base, type, 0, NULL, (int32_t)index);
}

MlirValue ir_load(ir_builder *ir, MlirType type, MlirValue address, int64_t align_bytes) {
  MlirNamedAttribute alignment = named(ir, "alignment", integer(ir, ir->i64, align_bytes));
  return value_of(ir, "llvm.load", type, 1, &address, 1, &alignment);
}

void ir_store(ir_builder *ir, MlirValue value, MlirValue address, int64_t align_bytes) {
  MlirNamedAttribute alignment = named(ir, "alignment", integer(ir, ir->i64, align_bytes));
  append(ir, "llvm.store", (MlirType){NULL}, 2, (MlirValue[]){value, address}, 1, &alignment);
}

static int64_t element_bytes(MlirType vector) {
  MlirType element = mlirShapedTypeGetElementType(vector);
  if (mlirTypeIsAF64(element)) return 8;
  return mlirTypeIsAInteger(element) && mlirIntegerTypeGetWidth(element) == 16 ? 2 : 4;
}

MlirValue ir_load_masked(ir_builder *ir, MlirType type, MlirValue address, MlirValue mask) {
  MlirType element = mlirShapedTypeGetElementType(type);
  MlirAttribute zero = mlirTypeIsAFloat(element) ? mlirFloatAttrDoubleGet(ir->context, element, 0.0) : integer(ir, element, 0);
  MlirNamedAttribute alignment = named(ir, "alignment", integer(ir, ir->i32, element_bytes(type)));
  return value_of(ir, "llvm.intr.masked.load", type, 3,
                  (MlirValue[]){address, mask, constant(ir, mlirDenseElementsAttrSplatGet(type, zero))}, 1, &alignment);
}

void ir_store_masked(ir_builder *ir, MlirValue value, MlirValue address, MlirValue mask) {
  MlirNamedAttribute alignment = named(ir, "alignment", integer(ir, ir->i32, element_bytes(mlirValueGetType(value))));
  append(ir, "llvm.intr.masked.store", (MlirType){NULL}, 3, (MlirValue[]){value, address, mask}, 1, &alignment);
}

void ir_prefetch(ir_builder *ir, MlirValue address, int level) {
  MlirNamedAttribute how[] = {named(ir, "rw", integer(ir, ir->i32, 0)), named(ir, "hint", integer(ir, ir->i32, 4 - level)),
                              named(ir, "cache", integer(ir, ir->i32, 1))};
  append(ir, "llvm.intr.prefetch", (MlirType){NULL}, 1, &address, 3, how);
}

void ir_for_begin(ir_builder *ir, ir_loop *loop, MlirValue low, MlirValue high, int64_t step, intptr_t count,
                  const MlirValue *initial) {
  ir_for_begin_by(ir, loop, low, high, ir_i64(ir, step), count, initial);
}

void ir_for_begin_by(ir_builder *ir, ir_loop *loop, MlirValue low, MlirValue high, MlirValue step, intptr_t count,
                     const MlirValue *initial) {
  MlirValue operands[MAX_OPERANDS] = {low, high, step};
  MlirType types[MAX_OPERANDS] = {ir->i64};
  MlirLocation locations[MAX_OPERANDS];
  if (count > IR_LOOP_ARGS) {
    ir->failed = true;
    count = IR_LOOP_ARGS;
  }
  locations[0] = ir->location;
  for (intptr_t i = 0; i < count; i++) {
    operands[3 + i] = initial[i];
    types[1 + i] = mlirValueGetType(initial[i]);
    locations[1 + i] = ir->location;
  }
  MlirRegion region = mlirRegionCreate();
  MlirBlock body = mlirBlockCreate(1 + count, types, locations);
  mlirRegionAppendOwnedBlock(region, body);

  MlirOperationState state = mlirOperationStateGet(text("scf.for"), ir->location);
  mlirOperationStateAddOperands(&state, 3 + count, operands);
  mlirOperationStateAddResults(&state, count, types + 1);
  mlirOperationStateAddOwnedRegions(&state, 1, &region);
  loop->op = mlirOperationCreate(&state);
  mlirBlockAppendOwnedOperation(ir->block, loop->op);
  loop->outer = ir->block;
  loop->count = count;
  loop->index = mlirBlockGetArgument(body, 0);
  for (intptr_t i = 0; i < count; i++) loop->args[i] = mlirBlockGetArgument(body, 1 + i);
  ir->block = body;
}

void ir_for_end(ir_builder *ir, ir_loop *loop, const MlirValue *next) {
  append(ir, "scf.yield", (MlirType){NULL}, loop->count, next, 0, NULL);
  ir->block = loop->outer;
  for (intptr_t i = 0; i < loop->count; i++) loop->args[i] = mlirOperationGetResult(loop->op, i);
}

void ir_if_begin(ir_builder *ir, ir_branch *branch, MlirValue condition, MlirType type) {
  MlirRegion regions[2] = {mlirRegionCreate(), mlirRegionCreate()};
  MlirBlock first = mlirBlockCreate(0, NULL, NULL);
  mlirRegionAppendOwnedBlock(regions[0], first);
  MlirOperationState state = mlirOperationStateGet(text("scf.if"), ir->location);
  mlirOperationStateAddOperands(&state, 1, &condition);
  branch->has_result = !mlirTypeIsNull(type);
  if (branch->has_result) mlirOperationStateAddResults(&state, 1, &type);
  mlirOperationStateAddOwnedRegions(&state, 2, regions);
  branch->op = mlirOperationCreate(&state);
  mlirBlockAppendOwnedOperation(ir->block, branch->op);
  branch->outer = ir->block;
  ir->block = first;
}

void ir_if_else(ir_builder *ir, ir_branch *branch, MlirValue result) {
  append(ir, "scf.yield", (MlirType){NULL}, branch->has_result, &result, 0, NULL);
  MlirBlock second = mlirBlockCreate(0, NULL, NULL);
  mlirRegionAppendOwnedBlock(mlirOperationGetRegion(branch->op, 1), second);
  ir->block = second;
}

MlirValue ir_if_end(ir_builder *ir, ir_branch *branch, MlirValue result) {
  append(ir, "scf.yield", (MlirType){NULL}, branch->has_result, &result, 0, NULL);
  ir->block = branch->outer;
  return branch->has_result ? mlirOperationGetResult(branch->op, 0) : (MlirValue){NULL};
}

void ir_lanes_begin(ir_builder *ir, ir_lanes *lanes, int64_t begin, int64_t end) {
  (void)ir;
  *lanes = (ir_lanes){.begin = begin, .end = end, .state = IR_LANES_START};
}

bool ir_lanes_next(ir_builder *ir, ir_lanes *lanes) {
  int64_t whole_end = lanes->begin + (lanes->end - lanes->begin) / ir->lanes * ir->lanes;
  switch (lanes->state) {
  case IR_LANES_START:
    if (whole_end - lanes->begin == ir->lanes) { /* one vector: no loop */
      lanes->index = ir_i64(ir, lanes->begin);
      lanes->state = IR_LANES_WHOLE;
      return true;
    }
    if (whole_end > lanes->begin) {
      ir_for_begin(ir, &lanes->loop, ir_i64(ir, lanes->begin), ir_i64(ir, whole_end), ir->lanes, 0, NULL);
      lanes->index = lanes->loop.index;
      lanes->state = IR_LANES_LOOP;
      return true;
    }
    break;
  case IR_LANES_LOOP: ir_for_end(ir, &lanes->loop, NULL); break;
  case IR_LANES_WHOLE: break;
  case IR_LANES_REST: return false;
  }
  lanes->state = IR_LANES_REST;
  if (whole_end >= lanes->end) return false;
  lanes->index = ir_i64(ir, whole_end);
  lanes->masked = true;
  lanes->mask = ir_prefix_mask(ir, lanes->end - whole_end);
  return true;
}

MlirValue ir_lanes_load(ir_builder *ir, const ir_lanes *lanes, MlirType type, MlirValue row) {
  MlirValue address = ir_at(ir, row, mlirShapedTypeGetElementType(type), lanes->index);
  return lanes->masked ? ir_load_masked(ir, type, address, lanes->mask) : ir_load(ir, type, address, element_bytes(type));
}

void ir_lanes_store(ir_builder *ir, const ir_lanes *lanes, MlirValue value, MlirValue row) {
  MlirType type = mlirValueGetType(value);
  MlirValue address = ir_at(ir, row, mlirShapedTypeGetElementType(type), lanes->index);
  if (lanes->masked && (lanes->end - lanes->begin) % ir->lanes == 1) {
    /* LLVM 22 turns a store of 16-bit values under a mask of one lane into a store of two of them. */
    MlirValue operands[] = {value, ir_i64(ir, 0)};
    ir_store(ir, value_of(ir, "llvm.extractelement", mlirShapedTypeGetElementType(type), 2, operands, 0, NULL), address,
             element_bytes(type));
  } else if (lanes->masked) {
    ir_store_masked(ir, value, address, lanes->mask);
  } else {
    ir_store(ir, value, address, element_bytes(type));
  }
}

/* llvm.func with a body, which becomes ir->block; `result`: its type, or void. */
static void define(ir_builder *ir, const char *name, MlirType result, intptr_t count, const MlirType *types,
                   MlirValue *out_arguments) {
  enum { MAX_ARGUMENTS = 12 };
  assert(count <= MAX_ARGUMENTS);
  MlirLocation locations[MAX_ARGUMENTS];
  ir->location = mlirLocationNameGet(ir->context, text(name), mlirLocationUnknownGet(ir->context));
  for (intptr_t i = 0; i < MAX_ARGUMENTS; i++) locations[i] = ir->location;
  MlirRegion region = mlirRegionCreate();
  MlirBlock body = mlirBlockCreate(count, types, locations);
  mlirRegionAppendOwnedBlock(region, body);

  MlirType type = mlirLLVMFunctionTypeGet(result, count, types, false);
  MlirNamedAttribute list[] = {
      named(ir, "sym_name", mlirStringAttrGet(ir->context, text(name))), named(ir, "function_type", mlirTypeAttrGet(type)),
      named(ir, "linkage", mlirLLVMLinkageAttrGet(ir->context, MlirLLVMLinkageInternal)), named(ir, "passthrough", ir->attributes)};
  MlirOperationState state = mlirOperationStateGet(text("llvm.func"), ir->location);
  mlirOperationStateAddAttributes(&state, sizeof list / sizeof list[0], list);
  mlirOperationStateAddOwnedRegions(&state, 1, &region);
  mlirBlockAppendOwnedOperation(ir->module_body, mlirOperationCreate(&state));
  for (intptr_t i = 0; i < count; i++) out_arguments[i] = mlirBlockGetArgument(body, i);
  ir->block = body;
}

void ir_function_begin(ir_builder *ir, MlirBlock module_body, const char *name, intptr_t count, const MlirType *types,
                       MlirAttribute attributes, MlirValue *out_arguments) {
  ir->module_body = module_body;
  ir->attributes = attributes;
  define(ir, name, mlirLLVMVoidTypeGet(ir->context), count, types, out_arguments);
}

void ir_function_end(ir_builder *ir) { append(ir, "llvm.return", (MlirType){NULL}, 0, NULL, 0, NULL); }

void ir_inner_function_begin(ir_builder *ir, ir_inner_function *inner, const char *name, intptr_t count, MlirType type,
                             MlirValue *out_arguments) {
  MlirType types[] = {type, type, type};
  *inner = (ir_inner_function){.outer = ir->block, .outer_location = ir->location};
  define(ir, name, type, count, types, out_arguments);
}

void ir_inner_function_end(ir_builder *ir, const ir_inner_function *inner, MlirValue result) {
  append(ir, "llvm.return", (MlirType){NULL}, 1, &result, 0, NULL);
  ir->block = inner->outer;
  ir->location = inner->outer_location;
}

MlirValue ir_address_of(ir_builder *ir, const char *symbol) {
  MlirNamedAttribute name = named(ir, "global_name", mlirFlatSymbolRefAttrGet(ir->context, text(symbol)));
  return value_of(ir, "llvm.mlir.addressof", ir->ptr, 0, NULL, 1, &name);
}

void ir_constant_bytes(ir_builder *ir, MlirBlock module_body, const char *name, const int8_t *bytes, intptr_t size) {
  MlirRegion region = mlirRegionCreate();
  int64_t count = size;
  MlirAttribute value =
      mlirDenseElementsAttrInt8Get(mlirRankedTensorTypeGet(1, &count, ir->i8, mlirAttributeGetNull()), size, bytes);
  MlirNamedAttribute list[] = {
      named(ir, "sym_name", mlirStringAttrGet(ir->context, text(name))),
      named(ir, "global_type", mlirTypeAttrGet(mlirLLVMArrayTypeGet(ir->i8, (unsigned)size))),
      named(ir, "linkage", mlirLLVMLinkageAttrGet(ir->context, MlirLLVMLinkageInternal)),
      named(ir, "constant", mlirUnitAttrGet(ir->context)),
      named(ir, "alignment", integer(ir, ir->i64, 64)),
      named(ir, "addr_space", integer(ir, ir->i32, 0)),
      named(ir, "value", value),
  };
  MlirOperationState state = mlirOperationStateGet(text("llvm.mlir.global"), mlirLocationUnknownGet(ir->context));
  mlirOperationStateAddAttributes(&state, sizeof list / sizeof list[0], list);
  mlirOperationStateAddOwnedRegions(&state, 1, &region);
  mlirBlockAppendOwnedOperation(module_body, mlirOperationCreate(&state));
}

void ir_call(ir_builder *ir, MlirValue function, intptr_t count, const MlirValue *arguments) {
  enum { MAX_ARGUMENTS = 12 };
  assert(count <= MAX_ARGUMENTS);
  MlirValue operands[1 + MAX_ARGUMENTS] = {function};
  for (intptr_t i = 0; i < count; i++) operands[1 + i] = arguments[i];
  int32_t segments[2] = {(int32_t)count + 1, 0};
  MlirNamedAttribute list[] = {named(ir, "operandSegmentSizes", mlirDenseI32ArrayGet(ir->context, 2, segments)),
                               named(ir, "op_bundle_sizes", mlirDenseI32ArrayGet(ir->context, 0, NULL))};
  append(ir, "llvm.call", (MlirType){NULL}, count + 1, operands, 2, list);
}

bool ir_has_function(ir_builder *ir, const char *name) {
  for (MlirOperation op = mlirBlockGetFirstOperation(ir->module_body); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op)) {
    MlirAttribute given = mlirOperationGetAttributeByName(op, text("sym_name"));
    if (!mlirAttributeIsNull(given) && mlirStringRefEqual(mlirStringAttrGetValue(given), text(name))) return true;
  }
  return false;
}

/* llvm.func NAME, body elsewhere. */
static void declare(ir_builder *ir, const char *name, MlirType type) {
  MlirRegion region = mlirRegionCreate();
  MlirNamedAttribute list[] = {named(ir, "sym_name", mlirStringAttrGet(ir->context, text(name))),
                               named(ir, "function_type", mlirTypeAttrGet(type)),
                               named(ir, "linkage", mlirLLVMLinkageAttrGet(ir->context, MlirLLVMLinkageExternal))};
  MlirOperationState state = mlirOperationStateGet(text("llvm.func"), mlirLocationUnknownGet(ir->context));
  mlirOperationStateAddAttributes(&state, sizeof list / sizeof list[0], list);
  mlirOperationStateAddOwnedRegions(&state, 1, &region);
  mlirBlockAppendOwnedOperation(ir->module_body, mlirOperationCreate(&state));
}

MlirValue ir_call_function(ir_builder *ir, const char *name, int count, const MlirValue *arguments) {
  int32_t segments[2] = {count, 0};
  MlirNamedAttribute list[] = {named(ir, "callee", mlirFlatSymbolRefAttrGet(ir->context, text(name))),
                               named(ir, "operandSegmentSizes", mlirDenseI32ArrayGet(ir->context, 2, segments)),
                               named(ir, "op_bundle_sizes", mlirDenseI32ArrayGet(ir->context, 0, NULL))};
  return value_of(ir, "llvm.call", mlirValueGetType(arguments[0]), count, arguments, 3, list);
}

MlirValue ir_call_library(ir_builder *ir, const char *name, int count, const MlirValue *vectors) {
  enum { MOST = 3, NAME_SIZE = 32 };
  MlirType type = mlirValueGetType(vectors[0]), element = mlirShapedTypeGetElementType(type),
           types[MOST] = {element, element, element};
  char symbol[NAME_SIZE];
  int size = snprintf(symbol, sizeof symbol, "%s%s", name, mlirTypeIsAF64(element) ? "" : "f");
  if (count < 1 || count > MOST || size < 0 || (size_t)size >= sizeof symbol) {
    ir->failed = true;
    return vectors[0];
  }
  if (!ir_has_function(ir, symbol)) declare(ir, symbol, mlirLLVMFunctionTypeGet(element, count, types, false));
  MlirValue result = vectors[0];
  for (int64_t lane = 0; lane < ir->lanes; lane++) {
    MlirValue at = ir_i64(ir, lane), arguments[MOST];
    for (int i = 0; i < count; i++)
      arguments[i] = value_of(ir, "llvm.extractelement", element, 2, (MlirValue[]){vectors[i], at}, 0, NULL);
    MlirValue value = ir_call_function(ir, symbol, count, arguments);
    result = value_of(ir, "llvm.insertelement", type, 3, (MlirValue[]){result, value, at}, 0, NULL);
  }
  return result;
}
