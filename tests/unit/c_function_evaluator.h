/* A small evaluator of what c_function.h gives, on values that are kept in a list. */
#ifndef HMOE_TESTS_UNIT_C_FUNCTION_EVALUATOR_H
#define HMOE_TESTS_UNIT_C_FUNCTION_EVALUATOR_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

typedef struct test_number {
  double f;  /* of f32 exactly, of f64 */
  int64_t i; /* of iN, sign-extended */
} test_number;

typedef struct test_numbers {
  MlirValue keys[4096];
  test_number values[4096];
  size_t count;
} test_numbers;

static test_number test_get(const test_numbers *all, MlirValue key) {
  for (size_t i = all->count; i; i--)
    if (mlirValueEqual(all->keys[i - 1], key)) return all->values[i - 1];
  fail_msg("a value is used before it is defined");
  return (test_number){0};
}

static void test_set(test_numbers *all, MlirValue key, test_number value) {
  assert_true(all->count < sizeof all->keys / sizeof *all->keys);
  MlirType type = mlirValueGetType(key);
  if (mlirTypeIsAF32(type)) value.f = (double)(float)value.f;
  if (mlirTypeIsAInteger(type)) {
    unsigned unused = 64 - mlirIntegerTypeGetWidth(type);
    value.i = (int64_t)((uint64_t)value.i << unused) >> unused;
  }
  all->keys[all->count] = key;
  all->values[all->count++] = value;
}

#define UNARY(op, function) {op, function, function##f}
static const struct {
  const char *name;
  double (*of_double)(double);
  float (*of_float)(float);
} test_unary[] = {
    UNARY("math.absf", fabs),   UNARY("math.acos", acos),      UNARY("math.acosh", acosh), UNARY("math.asin", asin),
    UNARY("math.asinh", asinh), UNARY("math.atan", atan),      UNARY("math.atanh", atanh), UNARY("math.cbrt", cbrt),
    UNARY("math.ceil", ceil),   UNARY("math.cos", cos),        UNARY("math.cosh", cosh),   UNARY("math.erf", erf),
    UNARY("math.erfc", erfc),   UNARY("math.exp", exp),        UNARY("math.exp2", exp2),   UNARY("math.expm1", expm1),
    UNARY("math.floor", floor), UNARY("math.log", log),        UNARY("math.log10", log10), UNARY("math.log1p", log1p),
    UNARY("math.log2", log2),   UNARY("math.roundeven", rint), UNARY("math.round", round), UNARY("math.sin", sin),
    UNARY("math.sinh", sinh),   UNARY("math.sqrt", sqrt),      UNARY("math.tan", tan),     UNARY("math.tanh", tanh),
    UNARY("math.trunc", trunc),
};

static bool test_compare(bool is_float, int64_t predicate, test_number a, test_number b) {
  uint64_t u = (uint64_t)a.i, v = (uint64_t)b.i;
  if (is_float) switch (predicate) {
    case 1: return a.f == b.f;
    case 2: return a.f > b.f;
    case 3: return a.f >= b.f;
    case 4: return a.f < b.f;
    case 5: return a.f <= b.f;
    case 13: return a.f != b.f;
    default: fail_msg("a comparison that C does not have");
    }
  switch (predicate) {
  case 0: return a.i == b.i;
  case 1: return a.i != b.i;
  case 2: return a.i < b.i;
  case 3: return a.i <= b.i;
  case 4: return a.i > b.i;
  case 5: return a.i >= b.i;
  case 6: return u < v;
  case 7: return u <= v;
  case 8: return u > v;
  default: return u >= v;
  }
}

static bool test_float_op(const char *name, const test_number *x, bool is_f32, double *out) {
#define IS(text) (strcmp(name, text) == 0)
  for (size_t i = 0; i < sizeof test_unary / sizeof *test_unary; i++)
    if (IS(test_unary[i].name)) {
      *out = is_f32 ? (double)test_unary[i].of_float((float)x[0].f) : test_unary[i].of_double(x[0].f);
      return true;
    }
  double a = x[0].f, b = x[1].f;
  if (IS("arith.addf")) *out = a + b;
  else if (IS("arith.subf")) *out = a - b;
  else if (IS("arith.mulf")) *out = a * b;
  else if (IS("arith.divf")) *out = a / b;
  else if (IS("arith.remf")) *out = fmod(a, b);
  else if (IS("arith.negf")) *out = -a;
  else if (IS("arith.minnumf")) *out = fmin(a, b);
  else if (IS("arith.maxnumf")) *out = fmax(a, b);
  else if (IS("arith.extf") || IS("arith.truncf")) *out = a;
  else if (IS("math.copysign")) *out = copysign(a, b);
  else if (IS("math.atan2")) *out = is_f32 ? (double)atan2f((float)a, (float)b) : atan2(a, b);
  else if (IS("math.powf")) *out = is_f32 ? (double)powf((float)a, (float)b) : pow(a, b);
  else if (IS("math.fma")) *out = is_f32 ? (double)fmaf((float)a, (float)b, (float)x[2].f) : fma(a, b, x[2].f);
  else return false;
  return true;
}

/* width: of the operands, whose unsigned values differ from their signed ones. */
static bool test_int_op(const char *name, const test_number *x, unsigned width, int64_t *out) {
  uint64_t mask = width == 64 ? UINT64_MAX : (UINT64_C(1) << width) - 1;
  int64_t a = x[0].i, b = x[1].i;
  uint64_t u = (uint64_t)a & mask, v = (uint64_t)b & mask;
  if (IS("arith.addi")) *out = (int64_t)(u + v);
  else if (IS("arith.subi")) *out = (int64_t)(u - v);
  else if (IS("arith.muli")) *out = (int64_t)(u * v);
  else if (IS("arith.divsi")) *out = a / b;
  else if (IS("arith.divui")) *out = (int64_t)(u / v);
  else if (IS("arith.remsi")) *out = a % b;
  else if (IS("arith.remui")) *out = (int64_t)(u % v);
  else if (IS("arith.andi")) *out = a & b;
  else if (IS("arith.ori")) *out = a | b;
  else if (IS("arith.xori")) *out = a ^ b;
  else if (IS("arith.shli")) *out = (int64_t)(u << v);
  else if (IS("arith.shrsi")) *out = a >> v;
  else if (IS("arith.shrui")) *out = (int64_t)(u >> v);
  else if (IS("arith.extsi") || IS("arith.trunci")) *out = a;
  else if (IS("arith.extui")) *out = (int64_t)u;
  else if (IS("arith.fptosi")) *out = (int64_t)x[0].f;
  else if (IS("arith.fptoui")) *out = (int64_t)(uint64_t)x[0].f;
  else return false;
  return true;
}

/* Executes a block and gives what its terminator has as operands. */
static void test_run_block(test_numbers *all, MlirBlock block, test_number *results) {
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
    char name[64];
    MlirStringRef text = mlirIdentifierStr(mlirOperationGetName(op));
    snprintf(name, sizeof name, "%.*s", (int)text.length, text.data);
    intptr_t count = mlirOperationGetNumOperands(op);
    test_number x[16] = {0}, result = {0};
    assert_true(count <= 16);
    for (intptr_t i = 0; i < count; i++) x[i] = test_get(all, mlirOperationGetOperand(op, i));
    if (IS("func.return") || IS("scf.yield")) {
      memcpy(results, x, (size_t)count * sizeof *x);
      return;
    }
    if (IS("scf.if")) {
      test_number yielded[16];
      size_t outside = all->count;
      test_run_block(all, mlirRegionGetFirstBlock(mlirOperationGetRegion(op, x[0].i ? 0 : 1)), yielded);
      all->count = outside;
      for (intptr_t i = 0; i < mlirOperationGetNumResults(op); i++) test_set(all, mlirOperationGetResult(op, i), yielded[i]);
      continue;
    }
    MlirType type = mlirValueGetType(mlirOperationGetResult(op, 0));
    MlirType of_operand = count ? mlirValueGetType(mlirOperationGetOperand(op, 0)) : type;
    unsigned width = mlirTypeIsAInteger(of_operand) ? mlirIntegerTypeGetWidth(of_operand) : 64;
    MlirAttribute value = mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("value"));
    MlirAttribute predicate = mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("predicate"));
    if (IS("arith.constant")) {
      if (mlirAttributeIsAFloat(value)) result.f = mlirFloatAttrGetValueDouble(value);
      else result.i = mlirIntegerAttrGetValueInt(value);
    } else if (IS("arith.cmpf") || IS("arith.cmpi")) {
      result.i = test_compare(IS("arith.cmpf"), mlirIntegerAttrGetValueInt(predicate), x[0], x[1]);
    } else if (IS("arith.select")) {
      result = x[0].i ? x[1] : x[2];
    } else if (IS("arith.sitofp")) {
      result.f = mlirTypeIsAF32(type) ? (double)(float)x[0].i : (double)x[0].i;
    } else if (IS("arith.uitofp")) {
      uint64_t u = (uint64_t)x[0].i & (width == 64 ? UINT64_MAX : (UINT64_C(1) << width) - 1);
      result.f = mlirTypeIsAF32(type) ? (double)(float)u : (double)u;
    } else if (!test_float_op(name, x, mlirTypeIsAF32(type), &result.f) && !test_int_op(name, x, width, &result.i)) {
      fail_msg("%s is not an op that a function may have", name);
    }
    test_set(all, mlirOperationGetResult(op, 0), result);
  }
}
#undef IS

static double test_call(MlirOperation function, double a, double b) {
  static test_numbers all;
  MlirBlock body = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
  test_number result;
  all.count = 0;
  test_set(&all, mlirBlockGetArgument(body, 0), (test_number){.f = a});
  if (mlirBlockGetNumArguments(body) > 1) test_set(&all, mlirBlockGetArgument(body, 1), (test_number){.f = b});
  test_run_block(&all, body, &result);
  return result.f;
}

#endif
