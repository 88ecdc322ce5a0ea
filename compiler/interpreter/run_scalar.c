#include "interpreter/run_scalar.h"

#include <math.h>
#include <string.h>

static const unsigned bits_of[HMOEC_SCALAR_TYPES] = {[HMOEC_SCALAR_I1] = 1,   [HMOEC_SCALAR_I8] = 8,   [HMOEC_SCALAR_I16] = 16,
                                                     [HMOEC_SCALAR_I32] = 32, [HMOEC_SCALAR_I64] = 64, [HMOEC_SCALAR_F32] = 32,
                                                     [HMOEC_SCALAR_F64] = 64};

/* The low bits as a value of the type. */
static int64_t wrap(uint64_t value, uint32_t type) {
  unsigned bits = bits_of[type];
  if (bits == 1) return (int64_t)(value & 1);
  if (bits == 64) return (int64_t)value;
  uint64_t sign = UINT64_C(1) << (bits - 1), low = value & ((sign << 1) - 1);
  return (int64_t)((low ^ sign) - sign);
}

static uint64_t unsigned_of(int64_t value, uint32_t type) {
  return bits_of[type] == 64 ? (uint64_t)value : (uint64_t)value & ((UINT64_C(1) << bits_of[type]) - 1);
}

/* What x86 gives where C leaves it open: the lowest value. */
static int64_t to_signed(double x, uint32_t type) {
  double limit = ldexp(1, (int)bits_of[type] - 1), whole = trunc(x);
  int64_t lowest = wrap(UINT64_C(1) << (bits_of[type] - 1), type);
  return whole >= -limit && whole < limit ? (int64_t)whole : lowest;
}

static int64_t to_unsigned(double x, uint32_t type) {
  double whole = trunc(x);
  return whole > -1 && whole < ldexp(1, (int)bits_of[type]) ? wrap((uint64_t)whole, type) : wrap(UINT64_MAX, type);
}

static bool compare_floats(uint32_t predicate, double a, double b) {
  bool unordered = isnan(a) || isnan(b);
  switch (predicate) { /* arith::CmpFPredicate */
  case 0: return false;
  case 1: return a == b;
  case 2: return a > b;
  case 3: return a >= b;
  case 4: return a < b;
  case 5: return a <= b;
  case 6: return !unordered && a != b;
  case 7: return !unordered;
  case 8: return unordered || a == b;
  case 9: return unordered || a > b;
  case 10: return unordered || a >= b;
  case 11: return unordered || a < b;
  case 12: return unordered || a <= b;
  case 13: return unordered || a != b;
  case 14: return unordered;
  default: return true;
  }
}

static bool compare_integers(uint32_t predicate, int64_t a, int64_t b, uint32_t type) {
  uint64_t ua = unsigned_of(a, type), ub = unsigned_of(b, type);
  if (type == HMOEC_SCALAR_I1 && predicate >= 2 && predicate <= 5) a = -a, b = -b; /* a signed bit is 0 or -1 */
  switch (predicate) { /* arith::CmpIPredicate */
  case 0: return a == b;
  case 1: return a != b;
  case 2: return a < b;
  case 3: return a <= b;
  case 4: return a > b;
  case 5: return a >= b;
  case 6: return ua < ub;
  case 7: return ua <= ub;
  case 8: return ua > ub;
  default: return ua >= ub;
  }
}

static int64_t integer_op(const hmoec_scalar_op *op, int64_t a, int64_t b) {
  uint64_t ua = unsigned_of(a, op->type), ub = unsigned_of(b, op->type);
  unsigned bits = bits_of[op->type];
  switch (op->code) {
  case HMOEC_SCALAR_ADDI: return wrap((uint64_t)a + (uint64_t)b, op->type);
  case HMOEC_SCALAR_SUBI: return wrap((uint64_t)a - (uint64_t)b, op->type);
  case HMOEC_SCALAR_MULI: return wrap((uint64_t)a * (uint64_t)b, op->type);
  case HMOEC_SCALAR_DIVSI: return b == -1 ? wrap(0 - (uint64_t)a, op->type) : a / b;
  case HMOEC_SCALAR_REMSI: return b == -1 ? 0 : a % b;
  case HMOEC_SCALAR_DIVUI: return wrap(ua / ub, op->type);
  case HMOEC_SCALAR_REMUI: return wrap(ua % ub, op->type);
  case HMOEC_SCALAR_ANDI: return a & b;
  case HMOEC_SCALAR_ORI: return a | b;
  case HMOEC_SCALAR_XORI: return a ^ b;
  case HMOEC_SCALAR_SHLI: return ub < bits ? wrap(ua << ub, op->type) : 0;
  case HMOEC_SCALAR_SHRUI: return ub < bits ? wrap(ua >> ub, op->type) : 0;
  default: return a >> (ub < bits ? ub : bits - 1); /* SHRSI */
  }
}

/* X(CODE, the library's function without the f of floats) */
#define LIBRARY_1(X)                                                                                                               \
  X(ABSF, fabs)                                                                                                                    \
  X(ACOS, acos)                                                                                                                    \
  X(ACOSH, acosh)                                                                                                                  \
  X(ASIN, asin)                                                                                                                    \
  X(ASINH, asinh)                                                                                                                  \
  X(ATAN, atan)                                                                                                                    \
  X(ATANH, atanh)                                                                                                                  \
  X(CBRT, cbrt)                                                                                                                    \
  X(CEIL, ceil)                                                                                                                    \
  X(COS, cos)                                                                                                                      \
  X(COSH, cosh)                                                                                                                    \
  X(ERF, erf)                                                                                                                      \
  X(ERFC, erfc)                                                                                                                    \
  X(EXP, exp)                                                                                                                      \
  X(EXP2, exp2) X(EXPM1, expm1) X(FLOOR, floor) X(LOG, log) X(LOG10, log10) X(LOG1P, log1p) X(LOG2, log2) X(ROUND, round)          \
      X(ROUNDEVEN, rint) X(SIN, sin) X(SINH, sinh) X(SQRT, sqrt) X(TAN, tan) X(TANH, tanh) X(TRUNC, trunc)
#define LIBRARY_2(X) X(ATAN2, atan2) X(COPYSIGN, copysign) X(POWF, pow) X(REMF, fmod) X(MINNUMF, fmin) X(MAXNUMF, fmax)

static float f32_op(const hmoec_scalar_op *op, float a, float b, float c) {
  switch (op->code) {
  case HMOEC_SCALAR_ADDF: return a + b;
  case HMOEC_SCALAR_SUBF: return a - b;
  case HMOEC_SCALAR_MULF: return a * b;
  case HMOEC_SCALAR_DIVF: return a / b;
  case HMOEC_SCALAR_NEGF: return -a;
#define CASE_1(code, function)                                                                                                     \
  case HMOEC_SCALAR_##code: return function##f(a);
    LIBRARY_1(CASE_1)
#undef CASE_1
#define CASE_2(code, function)                                                                                                     \
  case HMOEC_SCALAR_##code: return function##f(a, b);
    LIBRARY_2(CASE_2)
#undef CASE_2
  default: return fmaf(a, b, c);
  }
}

static double f64_op(const hmoec_scalar_op *op, double a, double b, double c) {
  switch (op->code) {
  case HMOEC_SCALAR_ADDF: return a + b;
  case HMOEC_SCALAR_SUBF: return a - b;
  case HMOEC_SCALAR_MULF: return a * b;
  case HMOEC_SCALAR_DIVF: return a / b;
  case HMOEC_SCALAR_NEGF: return -a;
#define CASE_1(code, function)                                                                                                     \
  case HMOEC_SCALAR_##code: return function(a);
    LIBRARY_1(CASE_1)
#undef CASE_1
#define CASE_2(code, function)                                                                                                     \
  case HMOEC_SCALAR_##code: return function(a, b);
    LIBRARY_2(CASE_2)
#undef CASE_2
  default: return fma(a, b, c);
  }
}

static double number(hmoec_scalar_value value, uint32_t type) {
  return type == HMOEC_SCALAR_F32 ? (double)value.f32 : type == HMOEC_SCALAR_F64 ? value.f64 : (double)value.i;
}

static hmoec_scalar_value constant(const hmoec_scalar_op *op) {
  double real;
  memcpy(&real, &op->bits, sizeof real);
  if (op->type == HMOEC_SCALAR_F32) return (hmoec_scalar_value){.f32 = (float)real};
  if (op->type == HMOEC_SCALAR_F64) return (hmoec_scalar_value){.f64 = real};
  return (hmoec_scalar_value){.i = (int64_t)op->bits};
}

/* An operation with one result, from its operands. from: the type of the first one. */
static hmoec_scalar_value evaluate(const hmoec_scalar_op *op, const hmoec_scalar_value x[3], uint32_t from) {
  double real = number(x[0], from);
  switch (op->code) {
  case HMOEC_SCALAR_CMPF: return (hmoec_scalar_value){.i = compare_floats(op->predicate, real, number(x[1], from))};
  case HMOEC_SCALAR_CMPI: return (hmoec_scalar_value){.i = compare_integers(op->predicate, x[0].i, x[1].i, from)};
  case HMOEC_SCALAR_SELECT: return x[0].i ? x[1] : x[2];
  case HMOEC_SCALAR_EXTSI: return (hmoec_scalar_value){.i = from == HMOEC_SCALAR_I1 ? -x[0].i : x[0].i};
  case HMOEC_SCALAR_EXTUI: return (hmoec_scalar_value){.i = (int64_t)unsigned_of(x[0].i, from)};
  case HMOEC_SCALAR_TRUNCI: return (hmoec_scalar_value){.i = wrap((uint64_t)x[0].i, op->type)};
  case HMOEC_SCALAR_FPTOSI: return (hmoec_scalar_value){.i = to_signed(real, op->type)};
  case HMOEC_SCALAR_FPTOUI: return (hmoec_scalar_value){.i = to_unsigned(real, op->type)};
  case HMOEC_SCALAR_SITOFP: {
    int64_t i = from == HMOEC_SCALAR_I1 ? -x[0].i : x[0].i;
    return op->type == HMOEC_SCALAR_F32 ? (hmoec_scalar_value){.f32 = (float)i} : (hmoec_scalar_value){.f64 = (double)i};
  }
  case HMOEC_SCALAR_UITOFP: {
    uint64_t u = unsigned_of(x[0].i, from);
    return op->type == HMOEC_SCALAR_F32 ? (hmoec_scalar_value){.f32 = (float)u} : (hmoec_scalar_value){.f64 = (double)u};
  }
  case HMOEC_SCALAR_EXTF:
  case HMOEC_SCALAR_TRUNCF:
    return op->type == HMOEC_SCALAR_F32 ? (hmoec_scalar_value){.f32 = (float)real} : (hmoec_scalar_value){.f64 = real};
  default:
    if (op->type == HMOEC_SCALAR_F32) return (hmoec_scalar_value){.f32 = f32_op(op, x[0].f32, x[1].f32, x[2].f32)};
    if (op->type == HMOEC_SCALAR_F64) return (hmoec_scalar_value){.f64 = f64_op(op, x[0].f64, x[1].f64, x[2].f64)};
    return (hmoec_scalar_value){.i = integer_op(op, x[0].i, x[1].i)};
  }
}

/* Runs ops from `begin` to the terminator of their block, whose index is returned. Arms nest no deeper than HMOEC_SCALAR_MAX_DEPTH. */
static const hmoec_scalar_op *run_block(const hmoec_scalar_program *program, hmoec_scalar_value *values, size_t begin) {
  for (size_t i = begin;; i = program->ops[i].next) {
    const hmoec_scalar_op *op = &program->ops[i];
    const uint32_t *operands = program->operands + op->operands;
    if (op->code == HMOEC_SCALAR_RETURN || op->code == HMOEC_SCALAR_YIELD) return op;
    if (op->code == HMOEC_SCALAR_CONSTANT) {
      values[op->results] = constant(op);
    } else if (op->code == HMOEC_SCALAR_IF) {
      const hmoec_scalar_op *yield = run_block(program, values, values[operands[0]].i ? i + 1 : op->else_begin);
      for (uint32_t r = 0; r < op->result_count; r++) values[op->results + r] = values[program->operands[yield->operands + r]];
    } else {
      hmoec_scalar_value x[3] = {{0}};
      for (uint32_t o = 0; o < op->operand_count; o++) x[o] = values[operands[o]];
      values[op->results] = evaluate(op, x, program->types[operands[0]]);
    }
  }
}

float hmoec_scalar_run(const hmoec_scalar_program *program, hmoec_scalar_value *values, const float *arguments) {
  for (size_t i = 0; i < program->argument_count; i++) values[i].f32 = arguments[i];
  const hmoec_scalar_op *end = run_block(program, values, 0);
  return values[program->operands[end->operands]].f32;
}
