/* Every op of the function is the same op on vectors; math ops are those of math.h; `if` is a choice of lanes. */
#include "codegen/cpu/scalar.h"

#include <stdlib.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "codegen/cpu/math.h"

static MlirType element_of(const ir_builder *ir, uint32_t type) {
  const MlirType elements[HMOEC_SCALAR_TYPES] = {
      [HMOEC_SCALAR_I1] = ir->i1,   [HMOEC_SCALAR_I8] = ir->i8,   [HMOEC_SCALAR_I16] = ir->i16, [HMOEC_SCALAR_I32] = ir->i32,
      [HMOEC_SCALAR_I64] = ir->i64, [HMOEC_SCALAR_F32] = ir->f32, [HMOEC_SCALAR_F64] = ir->f64};
  return elements[type];
}

static MlirValue constant(ir_builder *ir, const hmoec_scalar_op *op) {
  MlirType element = element_of(ir, op->type);
  if (op->type != HMOEC_SCALAR_F32 && op->type != HMOEC_SCALAR_F64)
    return ir_splat_of(ir, mlirIntegerAttrGet(element, op->type == HMOEC_SCALAR_I1 ? -(int64_t)op->bits : (int64_t)op->bits));
  double number;
  memcpy(&number, &op->bits, sizeof number);
  return ir_splat_of(ir, mlirFloatAttrDoubleGet(ir->context, element, number));
}

static MlirValue emit_op(ir_builder *ir, const hmoec_scalar_op *op, const MlirValue *x, uint32_t result_type) {
  static const char math[] = "math.";
  const char *name = hmoec_scalar_name((hmoec_scalar_code)op->code);
  if (strncmp(name, math, sizeof math - 1) == 0) return ir_math(ir, name + sizeof math - 1, (int)op->operand_count, x);
  MlirType type = ir_vector_of(ir, element_of(ir, result_type));
  bool compares = op->code == HMOEC_SCALAR_CMPF || op->code == HMOEC_SCALAR_CMPI;
  return ir_op(ir, name, type, op->operand_count, x, compares ? "predicate" : NULL, mlirIntegerAttrGet(ir->i64, op->predicate));
}

/* Emits ops from `begin` to the terminator of their block, which is returned. */
static const hmoec_scalar_op *emit_block(ir_builder *ir, const hmoec_scalar_program *program, MlirValue *values, size_t begin) {
  for (size_t i = begin;; i = program->ops[i].next) {
    const hmoec_scalar_op *op = &program->ops[i];
    const uint32_t *operands = program->operands + op->operands;
    if (op->code == HMOEC_SCALAR_RETURN || op->code == HMOEC_SCALAR_YIELD) return op;
    if (op->code == HMOEC_SCALAR_CONSTANT) {
      values[op->results] = constant(ir, op);
    } else if (op->code == HMOEC_SCALAR_IF) {
      const hmoec_scalar_op *yes = emit_block(ir, program, values, i + 1), *no = emit_block(ir, program, values, op->else_begin);
      for (uint32_t r = 0; r < op->result_count; r++)
        values[op->results + r] = ir_select(ir, values[operands[0]], values[program->operands[yes->operands + r]],
                                            values[program->operands[no->operands + r]]);
    } else {
      MlirValue x[3];
      for (uint32_t o = 0; o < op->operand_count; o++) x[o] = values[operands[o]];
      values[op->results] = emit_op(ir, op, x, program->types[op->results]);
    }
  }
}

MlirValue ir_scalar(ir_builder *ir, const hmoec_scalar_program *program, const MlirValue *arguments) {
  MlirValue *values = malloc(program->value_count * sizeof *values);
  if (!values) {
    ir->failed = true;
    return arguments[0];
  }
  memcpy(values, arguments, program->argument_count * sizeof *values);
  const hmoec_scalar_op *end = emit_block(ir, program, values, 0);
  MlirValue result = values[program->operands[end->operands]];
  free(values);
  return result;
}
