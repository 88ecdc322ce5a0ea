/* math.h: one row a function, under the name of its double version; the float version ends in f. Constants are folded in double
 * and rounded, so that a float's result is the nearest in all but a few cases. Functions with another result than a value (frexp), and
 * those that have neither an op nor a short equivalent (tgamma), are not here. */
#include <math.h>
#include <string.h>

#include "frontend/c_parts.h"

/* The values are of one floating type. */
typedef bool math_compose(hmoec_c_reader *reader, const hmoec_c_math *function, const hmoec_c_value *values,
                          hmoec_c_value *out_value);

struct hmoec_c_math {
  const char *name;
  unsigned arity;
  const char *op; /* of an arity */
  double (*fold1)(double);
  double (*fold2)(double, double);
  math_compose *compose; /* instead of an op */
  int detail;
};

static hmoec_c_value number(hmoec_c_value like, double value) { return hmoec_c_floating(like.type, value); }

static bool apply(hmoec_c_reader *reader, const char *name, const hmoec_c_value *values, size_t count, hmoec_c_value *out_value) {
  unsigned bits = 0;
  return hmoec_c_math_call(reader, hmoec_c_math_find(name, &bits), values[0].type.bits, name, values, count, out_value);
}

/* ---- What is composed ---- */

/* x != x */
static bool compose_isnan(hmoec_c_reader *reader, const hmoec_c_math *function, const hmoec_c_value *values,
                          hmoec_c_value *out_value) {
  (void)function;
  return hmoec_c_binary(reader, CXBinaryOperator_NE, values[0], values[0], out_value);
}

/* |x| == inf, |x| < inf; NaN is neither */
static bool compose_magnitude(hmoec_c_reader *reader, const hmoec_c_math *function, const hmoec_c_value *values,
                              hmoec_c_value *out_value) {
  hmoec_c_value magnitude;
  return apply(reader, "fabs", values, 1, &magnitude) &&
         hmoec_c_binary(reader, (enum CXBinaryOperatorKind)function->detail, magnitude, number(values[0], INFINITY), out_value);
}

/* |x| == inf ? x < 0 ? -1 : 1 : 0 */
static bool compose_isinf_sign(hmoec_c_reader *reader, const hmoec_c_math *function, const hmoec_c_value *values,
                               hmoec_c_value *out_value) {
  hmoec_c_value infinite, negative;
  (void)function;
  if (!apply(reader, "isinf", values, 1, &infinite)) return false;
  if (!hmoec_c_binary(reader, CXBinaryOperator_LT, values[0], number(values[0], 0), &negative)) return false;
  hmoec_c_value sign = hmoec_c_choose(reader, hmoec_c_condition(reader, negative), hmoec_c_integer(hmoec_c_int, -1),
                                      hmoec_c_integer(hmoec_c_int, 1));
  *out_value = hmoec_c_choose(reader, hmoec_c_condition(reader, infinite), sign, hmoec_c_integer(hmoec_c_int, 0));
  return true;
}

/* |x| >= the smallest normal & |x| < inf */
static bool compose_isnormal(hmoec_c_reader *reader, const hmoec_c_math *function, const hmoec_c_value *values,
                             hmoec_c_value *out_value) {
  hmoec_c_value magnitude, large, finite;
  double smallest = values[0].type.bits == 32 ? 0x1p-126 : 0x1p-1022;
  (void)function;
  return apply(reader, "fabs", values, 1, &magnitude) &&
         hmoec_c_binary(reader, CXBinaryOperator_GE, magnitude, number(values[0], smallest), &large) &&
         hmoec_c_binary(reader, CXBinaryOperator_LT, magnitude, number(values[0], INFINITY), &finite) &&
         hmoec_c_binary(reader, CXBinaryOperator_And, large, finite, out_value);
}

/* copysign(1, x) < 0, which sees the sign of zeros and NaN too */
static bool compose_signbit(hmoec_c_reader *reader, const hmoec_c_math *function, const hmoec_c_value *values,
                            hmoec_c_value *out_value) {
  hmoec_c_value sign, pair[] = {number(values[0], 1), values[0]};
  (void)function;
  return apply(reader, "copysign", pair, 2, &sign) &&
         hmoec_c_binary(reader, CXBinaryOperator_LT, sign, number(values[0], 0), out_value);
}

static bool compose_comparison(hmoec_c_reader *reader, const hmoec_c_math *function, const hmoec_c_value *values,
                               hmoec_c_value *out_value) {
  return hmoec_c_binary(reader, (enum CXBinaryOperatorKind)function->detail, values[0], values[1], out_value);
}

/* x < y | x > y; x != x | y != y */
static bool compose_two_comparisons(hmoec_c_reader *reader, const hmoec_c_math *function, const hmoec_c_value *values,
                                    hmoec_c_value *out_value) {
  bool unordered = function->detail;
  hmoec_c_value first, second;
  enum CXBinaryOperatorKind one = unordered ? CXBinaryOperator_NE : CXBinaryOperator_LT;
  enum CXBinaryOperatorKind two = unordered ? CXBinaryOperator_NE : CXBinaryOperator_GT;
  return hmoec_c_binary(reader, one, values[0], values[unordered ? 0 : 1], &first) &&
         hmoec_c_binary(reader, two, values[unordered ? 1 : 0], values[1], &second) &&
         hmoec_c_binary(reader, CXBinaryOperator_Or, first, second, out_value);
}

/* x <= y ? 0 : x - y, NaN where one is */
static bool compose_fdim(hmoec_c_reader *reader, const hmoec_c_math *function, const hmoec_c_value *values,
                         hmoec_c_value *out_value) {
  hmoec_c_value below, difference;
  (void)function;
  if (!hmoec_c_binary(reader, CXBinaryOperator_LE, values[0], values[1], &below)) return false;
  if (!hmoec_c_binary(reader, CXBinaryOperator_Sub, values[0], values[1], &difference)) return false;
  *out_value = hmoec_c_choose(reader, hmoec_c_condition(reader, below), number(values[0], 0), difference);
  return true;
}

static bool compose_fma(hmoec_c_reader *reader, const hmoec_c_math *function, const hmoec_c_value *values,
                        hmoec_c_value *out_value) {
  hmoec_c_type type = values[0].type;
  (void)function;
  bool constant = true;
  MlirValue operands[3];
  for (int i = 0; i < 3; i++) constant &= values[i].kind == HMOEC_C_CONSTANT;
  if (constant) {
    double a = values[0].floating, b = values[1].floating, c = values[2].floating;
    /* In double it would be rounded twice. */
    *out_value = hmoec_c_floating(type, type.bits == 32 ? (double)fmaf((float)a, (float)b, (float)c) : fma(a, b, c));
    return true;
  }
  for (int i = 0; i < 3; i++) operands[i] = hmoec_c_materialize(reader, values[i]);
  *out_value = hmoec_c_runtime(type, hmoec_c_emit(reader, "math.fma", hmoec_c_emit_type(reader, type), operands, 3));
  return true;
}

/* ---- What takes or gives integers: called with the arguments as they are ---- */

/* x * 2^n for a constant n whose power is a normal number */
static bool compose_ldexp(hmoec_c_reader *reader, const hmoec_c_math *function, const hmoec_c_value *values,
                          hmoec_c_value *out_value) {
  int64_t most = values[0].type.bits == 32 ? 126 : 1022;
  if (values[1].kind != HMOEC_C_CONSTANT || values[1].integer < -most || values[1].integer > most)
    return hmoec_c_refuse(reader, "'%s' is supported with a constant exponent from -%lld to %lld only", function->name,
                          (long long)most, (long long)most);
  return hmoec_c_binary(reader, CXBinaryOperator_Mul, values[0], number(values[0], ldexp(1, (int)values[1].integer)), out_value);
}

static bool compose_to_long(hmoec_c_reader *reader, const hmoec_c_math *function, const hmoec_c_value *values,
                            hmoec_c_value *out_value) {
  static const hmoec_c_type of_long = {HMOEC_C_INTEGER, 64, true};
  hmoec_c_value rounded;
  return apply(reader, function->detail ? "rint" : "round", values, 1, &rounded) &&
         hmoec_c_convert(reader, rounded, of_long, out_value);
}

static bool compose_abs(hmoec_c_reader *reader, const hmoec_c_math *function, const hmoec_c_value *values,
                        hmoec_c_value *out_value) {
  hmoec_c_value negative, minus;
  (void)function;
  if (!hmoec_c_binary(reader, CXBinaryOperator_LT, values[0], hmoec_c_integer(values[0].type, 0), &negative)) return false;
  if (values[0].kind == HMOEC_C_CONSTANT && !negative.integer) {
    *out_value = values[0];
    return true;
  }
  if (!hmoec_c_unary(reader, CXUnaryOperator_Minus, values[0], &minus)) return false;
  *out_value = hmoec_c_choose(reader, hmoec_c_condition(reader, negative), minus, values[0]);
  return true;
}

/* ---- The table ---- */

static const hmoec_c_math functions[] = {
    {.name = "fabs", .arity = 1, .op = "math.absf", .fold1 = fabs},
    {.name = "acos", .arity = 1, .op = "math.acos", .fold1 = acos},
    {.name = "acosh", .arity = 1, .op = "math.acosh", .fold1 = acosh},
    {.name = "asin", .arity = 1, .op = "math.asin", .fold1 = asin},
    {.name = "asinh", .arity = 1, .op = "math.asinh", .fold1 = asinh},
    {.name = "atan", .arity = 1, .op = "math.atan", .fold1 = atan},
    {.name = "atanh", .arity = 1, .op = "math.atanh", .fold1 = atanh},
    {.name = "cbrt", .arity = 1, .op = "math.cbrt", .fold1 = cbrt},
    {.name = "ceil", .arity = 1, .op = "math.ceil", .fold1 = ceil},
    {.name = "cos", .arity = 1, .op = "math.cos", .fold1 = cos},
    {.name = "cosh", .arity = 1, .op = "math.cosh", .fold1 = cosh},
    {.name = "erf", .arity = 1, .op = "math.erf", .fold1 = erf},
    {.name = "erfc", .arity = 1, .op = "math.erfc", .fold1 = erfc},
    {.name = "exp", .arity = 1, .op = "math.exp", .fold1 = exp},
    {.name = "exp2", .arity = 1, .op = "math.exp2", .fold1 = exp2},
    {.name = "expm1", .arity = 1, .op = "math.expm1", .fold1 = expm1},
    {.name = "floor", .arity = 1, .op = "math.floor", .fold1 = floor},
    {.name = "log", .arity = 1, .op = "math.log", .fold1 = log},
    {.name = "log10", .arity = 1, .op = "math.log10", .fold1 = log10},
    {.name = "log1p", .arity = 1, .op = "math.log1p", .fold1 = log1p},
    {.name = "log2", .arity = 1, .op = "math.log2", .fold1 = log2},
    {.name = "nearbyint", .arity = 1, .op = "math.roundeven", .fold1 = nearbyint},
    {.name = "rint", .arity = 1, .op = "math.roundeven", .fold1 = rint},
    {.name = "round", .arity = 1, .op = "math.round", .fold1 = round},
    {.name = "roundeven", .arity = 1, .op = "math.roundeven", .fold1 = rint},
    {.name = "sin", .arity = 1, .op = "math.sin", .fold1 = sin},
    {.name = "sinh", .arity = 1, .op = "math.sinh", .fold1 = sinh},
    {.name = "sqrt", .arity = 1, .op = "math.sqrt", .fold1 = sqrt},
    {.name = "tan", .arity = 1, .op = "math.tan", .fold1 = tan},
    {.name = "tanh", .arity = 1, .op = "math.tanh", .fold1 = tanh},
    {.name = "trunc", .arity = 1, .op = "math.trunc", .fold1 = trunc},
    {.name = "atan2", .arity = 2, .op = "math.atan2", .fold2 = atan2},
    {.name = "copysign", .arity = 2, .op = "math.copysign", .fold2 = copysign},
    {.name = "fmax", .arity = 2, .op = "arith.maxnumf", .fold2 = fmax},
    {.name = "fmin", .arity = 2, .op = "arith.minnumf", .fold2 = fmin},
    {.name = "fmod", .arity = 2, .op = "arith.remf", .fold2 = fmod},
    {.name = "pow", .arity = 2, .op = "math.powf", .fold2 = pow},
    {.name = "fdim", .arity = 2, .compose = compose_fdim},
    {.name = "fma", .arity = 3, .compose = compose_fma},
    {.name = "isnan", .arity = 1, .compose = compose_isnan},
    {.name = "isinf", .arity = 1, .compose = compose_magnitude, .detail = CXBinaryOperator_EQ},
    {.name = "isinf_sign", .arity = 1, .compose = compose_isinf_sign},
    {.name = "isfinite", .arity = 1, .compose = compose_magnitude, .detail = CXBinaryOperator_LT},
    {.name = "finite", .arity = 1, .compose = compose_magnitude, .detail = CXBinaryOperator_LT},
    {.name = "isnormal", .arity = 1, .compose = compose_isnormal},
    {.name = "signbit", .arity = 1, .compose = compose_signbit},
    {.name = "isgreater", .arity = 2, .compose = compose_comparison, .detail = CXBinaryOperator_GT},
    {.name = "isgreaterequal", .arity = 2, .compose = compose_comparison, .detail = CXBinaryOperator_GE},
    {.name = "isless", .arity = 2, .compose = compose_comparison, .detail = CXBinaryOperator_LT},
    {.name = "islessequal", .arity = 2, .compose = compose_comparison, .detail = CXBinaryOperator_LE},
    {.name = "islessgreater", .arity = 2, .compose = compose_two_comparisons, .detail = 0},
    {.name = "isunordered", .arity = 2, .compose = compose_two_comparisons, .detail = 1},
};

static const hmoec_c_math of_integers[] = {
    {.name = "ldexp", .arity = 2, .compose = compose_ldexp},
    {.name = "scalbn", .arity = 2, .compose = compose_ldexp},
    {.name = "scalbln", .arity = 2, .compose = compose_ldexp},
    {.name = "lround", .arity = 1, .compose = compose_to_long, .detail = 0},
    {.name = "llround", .arity = 1, .compose = compose_to_long, .detail = 0},
    {.name = "lrint", .arity = 1, .compose = compose_to_long, .detail = 1},
    {.name = "llrint", .arity = 1, .compose = compose_to_long, .detail = 1},
    {.name = "abs", .arity = 1, .compose = compose_abs},
    {.name = "labs", .arity = 1, .compose = compose_abs},
    {.name = "llabs", .arity = 1, .compose = compose_abs},
};

static const hmoec_c_math *table_find(const hmoec_c_math *table, size_t rows, const char *name, size_t length) {
  for (size_t i = 0; i < rows; i++)
    if (strlen(table[i].name) == length && memcmp(table[i].name, name, length) == 0) return &table[i];
  return NULL;
}

const hmoec_c_math *hmoec_c_math_find(const char *name, unsigned *out_bits) {
  static const char prefix[] = "__builtin_";
  if (strncmp(name, prefix, sizeof prefix - 1) == 0) name += sizeof prefix - 1;
  else if (strncmp(name, "__", 2) == 0) name += 2; /* __isnanf and the like, which macros of math.h call */
  size_t length = strlen(name);
  *out_bits = 64;
  for (int is_float = 0; is_float < 2; is_float++) {
    const hmoec_c_math *found = table_find(functions, sizeof functions / sizeof *functions, name, length);
    if (!found) found = table_find(of_integers, sizeof of_integers / sizeof *of_integers, name, length);
    if (found) return found;
    if (length < 2 || name[length - 1] != 'f') break;
    length--;
    *out_bits = 32;
  }
  return NULL;
}

static bool is_of_integers(const hmoec_c_math *function) {
  for (size_t i = 0; i < sizeof of_integers / sizeof *of_integers; i++)
    if (function == &of_integers[i]) return true;
  return false;
}

bool hmoec_c_math_call(hmoec_c_reader *reader, const hmoec_c_math *function, unsigned bits, const char *name,
                       const hmoec_c_value *arguments, size_t count, hmoec_c_value *out_value) {
  if (count != function->arity) return hmoec_c_refuse(reader, "'%s' takes %u arguments, found %zu", name, function->arity, count);
  if (is_of_integers(function)) {
    hmoec_c_class first = function->compose == compose_abs ? HMOEC_C_INTEGER : HMOEC_C_FLOATING;
    bool fits = arguments[0].type.class == first && (count < 2 || arguments[1].type.class == HMOEC_C_INTEGER);
    if (!fits) return hmoec_c_refuse(reader, "'%s' has other types here than in the library", name);
    return function->compose(reader, function, arguments, out_value);
  }
  /* Classifications have no version for each type: they take any. */
  hmoec_c_type type = {HMOEC_C_FLOATING, bits, true};
  if (function->compose && arguments[0].type.class == HMOEC_C_FLOATING && function->compose != compose_fma &&
      function->compose != compose_fdim) {
    type = arguments[0].type;
    if (count > 1 && arguments[1].type.bits > type.bits) type = arguments[1].type;
  }
  hmoec_c_value values[3];
  bool constant = true;
  for (size_t i = 0; i < count; i++) {
    if (!hmoec_c_convert(reader, arguments[i], type, &values[i])) return false;
    constant &= values[i].kind == HMOEC_C_CONSTANT;
  }
  if (function->compose) return function->compose(reader, function, values, out_value);
  if (constant) {
    double result = count == 1 ? function->fold1(values[0].floating) : function->fold2(values[0].floating, values[1].floating);
    *out_value = hmoec_c_floating(type, result);
    return true;
  }
  if (++reader->calls > HMOEC_C_MAX_CALLS)
    return hmoec_c_refuse(reader, "the function calls functions of math.h more than %d times", HMOEC_C_MAX_CALLS);
  MlirValue operands[2];
  for (size_t i = 0; i < count; i++) operands[i] = hmoec_c_materialize(reader, values[i]);
  *out_value = hmoec_c_runtime(type, hmoec_c_emit(reader, function->op, hmoec_c_emit_type(reader, type), operands, count));
  return true;
}
