/* Every op of the function is the same op on vectors; math ops are those of math.h; `if` is a choice of lanes.
 *
 * A small function is written out wherever it is used, which is several times in a kernel. A large one is a function NAME.NUMBER.VERSION of
 * the object, on vectors in registers, which all kernels of a CPU version call, and where it has many math ops, these are functions
 * too, math.NAME.TYPE.VERSION: code grows with the function, not with its uses. */
#include "target/code/scalar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "target/code/math.h"

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

/* A value of the program. A double is often one in name only: a float meets a constant or a function of C's default type. Then
 *
 *   exact     the float that it is, widened, or null: floor((double)x) is (double)floorf(x)
 *   rounded   the float that it becomes when it is narrowed, or null: (float)sqrt((double)x) is sqrtf(x), as 53 bits are enough that
 *             rounding twice is rounding once. LLVM knows the same of + - * / */
typedef struct vector {
  MlirValue value, exact, rounded;
} vector;

/* A program on its way into a function. */
typedef struct writer {
  ir_builder *ir;
  const hmoec_scalar_program *program;
  vector *values;
  bool calls_math;
} writer;

enum { MATH_INSTRUCTIONS = 30 };

/* Instructions that an op takes, roughly: one, or those of an elementary function. */
static size_t instructions_of(const hmoec_scalar_op *op) {
  switch ((hmoec_scalar_code)op->code) {
  case HMOEC_SCALAR_CONSTANT:
  case HMOEC_SCALAR_IF:
  case HMOEC_SCALAR_YIELD:
  case HMOEC_SCALAR_RETURN: return 0;
  case HMOEC_SCALAR_FMA:
  case HMOEC_SCALAR_COPYSIGN:
  case HMOEC_SCALAR_ABSF:
  case HMOEC_SCALAR_CEIL:
  case HMOEC_SCALAR_FLOOR:
  case HMOEC_SCALAR_ROUND:
  case HMOEC_SCALAR_ROUNDEVEN:
  case HMOEC_SCALAR_SQRT:
  case HMOEC_SCALAR_TRUNC: return 1;
  default: return op->code == HMOEC_SCALAR_REMF || op->code > HMOEC_SCALAR_FMA ? MATH_INSTRUCTIONS : 1;
  }
}

/* A function of the module from vectors to a vector: the caller writes its body if the result is true, and ends it. */
static bool function_begin(ir_builder *ir, ir_inner_function *inner, const char *name, int count, MlirType type, MlirValue *own) {
  if (ir_has_function(ir, name)) return false;
  ir_inner_function_begin(ir, inner, name, count, type, own);
  return true;
}

enum { MAX_SYMBOL = 128, MAX_OPERANDS = 3 };

static MlirValue call_math(ir_builder *ir, const char *name, int count, const MlirValue *x) {
  char symbol[MAX_SYMBOL];
  MlirType type = mlirValueGetType(x[0]);
  snprintf(symbol, sizeof symbol, "math.%s.%s.%s", name, mlirTypeEqual(type, ir->vf64) ? "f64" : "f32", ir->version);
  ir_inner_function inner;
  MlirValue own[MAX_OPERANDS];
  if (function_begin(ir, &inner, symbol, count, type, own)) ir_inner_function_end(ir, &inner, ir_math(ir, name, count, own));
  return ir_call_function(ir, symbol, count, x);
}

static MlirValue emit_op(writer *w, const hmoec_scalar_op *op, const MlirValue *x, uint32_t result_type) {
  static const char math[] = "math.";
  ir_builder *ir = w->ir;
  const char *name = hmoec_scalar_name((hmoec_scalar_code)op->code);
  int count = (int)op->operand_count;
  double exponent;
  if (strncmp(name, math, sizeof math - 1) == 0) {
    name += sizeof math - 1;
    bool product = op->code == HMOEC_SCALAR_POWF && ir_is_splat_of(x[1], &exponent);
    bool called = w->calls_math && instructions_of(op) == MATH_INSTRUCTIONS && !product;
    return called ? call_math(ir, name, count, x) : ir_math(ir, name, count, x);
  }
  MlirType type = ir_vector_of(ir, element_of(ir, result_type));
  bool compares = op->code == HMOEC_SCALAR_CMPF || op->code == HMOEC_SCALAR_CMPI;
  return ir_op(ir, name, type, count, x, compares ? "predicate" : NULL, mlirIntegerAttrGet(ir->i64, op->predicate));
}

static vector number(ir_builder *ir, const hmoec_scalar_op *op) {
  vector v = {.value = constant(ir, op)};
  double number;
  memcpy(&number, &op->bits, sizeof number);
  if (op->type == HMOEC_SCALAR_F64 && (double)(float)number == number) v.exact = v.rounded = ir_vector_f32(ir, (float)number);
  return v;
}

static vector choose(ir_builder *ir, MlirValue condition, const vector *yes, const vector *no) {
  vector v = {.value = ir_select(ir, condition, yes->value, no->value)};
  if (!mlirValueIsNull(yes->exact) && !mlirValueIsNull(no->exact)) v.exact = ir_select(ir, condition, yes->exact, no->exact);
  if (!mlirValueIsNull(yes->rounded) && !mlirValueIsNull(no->rounded))
    v.rounded = ir_select(ir, condition, yes->rounded, no->rounded);
  return v;
}

/* Whether the op gives a float for floats, as it is. */
static bool is_exact(uint32_t code) {
  static const hmoec_scalar_code codes[] = {HMOEC_SCALAR_NEGF,  HMOEC_SCALAR_MINNUMF,   HMOEC_SCALAR_MAXNUMF, HMOEC_SCALAR_REMF,
                                            HMOEC_SCALAR_ABSF,  HMOEC_SCALAR_COPYSIGN,  HMOEC_SCALAR_CEIL,    HMOEC_SCALAR_FLOOR,
                                            HMOEC_SCALAR_ROUND, HMOEC_SCALAR_ROUNDEVEN, HMOEC_SCALAR_TRUNC};
  for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
    if (codes[i] == code) return true;
  return false;
}

static vector compute(writer *w, const hmoec_scalar_op *op) {
  const vector *x[MAX_OPERANDS];
  MlirValue values[MAX_OPERANDS], floats[MAX_OPERANDS];
  bool narrow = op->type == HMOEC_SCALAR_F64;
  for (uint32_t o = 0; o < op->operand_count; o++) {
    x[o] = &w->values[w->program->operands[op->operands + o]];
    values[o] = x[o]->value;
    floats[o] = x[o]->exact;
    narrow = narrow && !mlirValueIsNull(floats[o]);
  }
  if (op->code == HMOEC_SCALAR_SELECT) return choose(w->ir, values[0], x[1], x[2]);
  if (op->code == HMOEC_SCALAR_TRUNCF && !mlirValueIsNull(x[0]->rounded)) return (vector){.value = x[0]->rounded};
  vector v = {.value = {NULL}};
  if (narrow && is_exact(op->code)) {
    v.exact = v.rounded = emit_op(w, op, floats, HMOEC_SCALAR_F32);
    v.value = ir_widen(w->ir, v.exact);
    return v;
  }
  v.value = emit_op(w, op, values, w->program->types[op->results]);
  if (op->code == HMOEC_SCALAR_EXTF) v.exact = v.rounded = values[0];
  if (narrow && op->code == HMOEC_SCALAR_SQRT) v.rounded = emit_op(w, op, floats, HMOEC_SCALAR_F32);
  return v;
}

/* Emits ops from `begin` to the terminator of their block, which is returned. */
static const hmoec_scalar_op *emit_block(writer *w, size_t begin) {
  const hmoec_scalar_program *program = w->program;
  for (size_t i = begin;; i = program->ops[i].next) {
    const hmoec_scalar_op *op = &program->ops[i];
    if (op->code == HMOEC_SCALAR_RETURN || op->code == HMOEC_SCALAR_YIELD) return op;
    if (op->code == HMOEC_SCALAR_CONSTANT) {
      w->values[op->results] = number(w->ir, op);
    } else if (op->code == HMOEC_SCALAR_IF) {
      const hmoec_scalar_op *yes = emit_block(w, i + 1), *no = emit_block(w, op->else_begin);
      MlirValue condition = w->values[program->operands[op->operands]].value;
      for (uint32_t r = 0; r < op->result_count; r++)
        w->values[op->results + r] = choose(w->ir, condition, &w->values[program->operands[yes->operands + r]],
                                            &w->values[program->operands[no->operands + r]]);
    } else {
      w->values[op->results] = compute(w, op);
    }
  }
}

static MlirValue emit_body(ir_builder *ir, const hmoec_scalar_program *program, const MlirValue *arguments, bool calls_math) {
  writer w = {.ir = ir, .program = program, .calls_math = calls_math};
  w.values = calloc(program->value_count, sizeof *w.values);
  if (!w.values) {
    ir->failed = true;
    return arguments[0];
  }
  for (size_t i = 0; i < program->argument_count; i++) w.values[i].value = arguments[i];
  const hmoec_scalar_op *end = emit_block(&w, 0);
  MlirValue result = w.values[program->operands[end->operands]].value;
  free(w.values);
  return result;
}

MlirValue ir_scalar(ir_builder *ir, const hmoec_scalar_program *program, const MlirValue *arguments) {
  enum { NAME_CHARS = 60, LARGE = 300, MANY = 12 }; /* a call costs about ten instructions */
  size_t instructions = 0, math_ops = 0;
  for (size_t i = 0; i < program->op_count; i++) {
    instructions += instructions_of(&program->ops[i]);
    math_ops += instructions_of(&program->ops[i]) == MATH_INSTRUCTIONS;
  }
  if (instructions <= LARGE) return emit_body(ir, program, arguments, false);

  char symbol[MAX_SYMBOL]; /* no name of a kernel has a point */
  int count = (int)program->argument_count;
  snprintf(symbol, sizeof symbol, "%.*s.%zu.%s", NAME_CHARS, hmoec_scalar_reference(program->name),
           (size_t)(program - ir->functions->programs), ir->version);
  ir_inner_function inner;
  MlirValue own[HMOEC_SCALAR_MAX_ARGUMENTS];
  if (function_begin(ir, &inner, symbol, count, ir->vf32, own))
    ir_inner_function_end(ir, &inner, emit_body(ir, program, own, math_ops > MANY));
  return ir_call_function(ir, symbol, count, arguments);
}
