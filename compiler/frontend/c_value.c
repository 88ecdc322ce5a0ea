/* Arithmetic on values as C defines it, without ops where both sides are constant. A float's operations are done on floats. What C
 * leaves undefined is an error where it is seen (overflow of a constant), and gives some value where it is not; no op traps. */
#include <math.h>
#include <string.h>

#include "frontend/c_parts.h"

hmoec_c_value hmoec_c_integer(hmoec_c_type type, int64_t value) {
  uint64_t bits = (uint64_t)value;
  if (type.bits < 64) {
    unsigned unused = 64 - type.bits;
    bits = type.is_signed ? (uint64_t)((int64_t)(bits << unused) >> unused) : bits << unused >> unused;
  }
  return (hmoec_c_value){.type = type, .kind = HMOEC_C_CONSTANT, .integer = (int64_t)bits};
}

hmoec_c_value hmoec_c_floating(hmoec_c_type type, double value) {
  return (hmoec_c_value){.type = type, .kind = HMOEC_C_CONSTANT, .floating = type.bits == 32 ? (double)(float)value : value};
}

hmoec_c_value hmoec_c_truth(bool value) { return hmoec_c_integer(hmoec_c_bool, value); }

hmoec_c_value hmoec_c_of_truth(hmoec_c_type type, MlirValue truth) {
  return (hmoec_c_value){.type = type, .kind = HMOEC_C_TRUTH, .value = truth};
}

hmoec_c_value hmoec_c_runtime(hmoec_c_type type, MlirValue value) {
  hmoec_c_kind kind = type.class == HMOEC_C_INTEGER && type.bits == 1 ? HMOEC_C_TRUTH : HMOEC_C_RUNTIME;
  return (hmoec_c_value){.type = type, .kind = kind, .value = value};
}

bool hmoec_c_is(hmoec_c_value truth, bool value) { return truth.kind == HMOEC_C_CONSTANT && truth.integer == value; }

bool hmoec_c_same(hmoec_c_value a, hmoec_c_value b) {
  if (a.kind != b.kind || !hmoec_c_type_equal(a.type, b.type)) return false;
  if (a.kind == HMOEC_C_UNSET || a.kind == HMOEC_C_PERHAPS) return true;
  if (a.kind != HMOEC_C_CONSTANT) return mlirValueEqual(a.value, b.value);
  return a.integer == b.integer && memcmp(&a.floating, &b.floating, sizeof a.floating) == 0;
}

/* ---- Truths ---- */

hmoec_c_value hmoec_c_condition(hmoec_c_reader *reader, hmoec_c_value value) {
  bool is_integer = value.type.class == HMOEC_C_INTEGER;
  if (value.kind == HMOEC_C_CONSTANT) return hmoec_c_truth(is_integer ? value.integer != 0 : value.floating != 0);
  if (value.kind == HMOEC_C_TRUTH) return hmoec_c_of_truth(hmoec_c_bool, value.value);
  hmoec_c_value zero = is_integer ? hmoec_c_integer(value.type, 0) : hmoec_c_floating(value.type, 0);
  hmoec_c_value truth = {0};
  hmoec_c_binary(reader, CXBinaryOperator_NE, value, zero, &truth);
  return hmoec_c_of_truth(hmoec_c_bool, truth.value);
}

hmoec_c_value hmoec_c_not(hmoec_c_reader *reader, hmoec_c_value truth) {
  if (truth.kind == HMOEC_C_CONSTANT) return hmoec_c_truth(!truth.integer);
  return hmoec_c_of_truth(hmoec_c_bool, hmoec_c_emit_not(reader, truth.value));
}

/* arith.andi or arith.ori of truths. */
static hmoec_c_value truth_join(hmoec_c_reader *reader, bool is_or, hmoec_c_value a, hmoec_c_value b) {
  if (hmoec_c_is(a, is_or) || hmoec_c_is(b, is_or)) return hmoec_c_truth(is_or);
  if (a.kind == HMOEC_C_CONSTANT) return b;
  if (b.kind == HMOEC_C_CONSTANT || hmoec_c_same(a, b)) return a;
  MlirValue operands[] = {a.value, b.value};
  return hmoec_c_of_truth(
      hmoec_c_bool, hmoec_c_emit(reader, is_or ? "arith.ori" : "arith.andi", hmoec_c_emit_type(reader, hmoec_c_bool), operands, 2));
}

hmoec_c_value hmoec_c_or(hmoec_c_reader *reader, hmoec_c_value a, hmoec_c_value b) { return truth_join(reader, true, a, b); }

bool hmoec_c_is_truth(hmoec_c_value value) {
  return value.kind == HMOEC_C_TRUTH ||
         (value.kind == HMOEC_C_CONSTANT && value.type.class == HMOEC_C_INTEGER && (value.integer == 0 || value.integer == 1));
}

hmoec_c_value hmoec_c_choose(hmoec_c_reader *reader, hmoec_c_value condition, hmoec_c_value a, hmoec_c_value b) {
  if (hmoec_c_same(a, b)) return a;
  if (condition.kind == HMOEC_C_CONSTANT) return condition.integer ? a : b;
  bool a_set = a.kind != HMOEC_C_UNSET && a.kind != HMOEC_C_PERHAPS, b_set = b.kind != HMOEC_C_UNSET && b.kind != HMOEC_C_PERHAPS;
  if (!a_set || !b_set) return (hmoec_c_value){.type = a.type, .kind = HMOEC_C_PERHAPS};
  if (hmoec_c_is_truth(a) && hmoec_c_is_truth(b)) {
    hmoec_c_value chosen, yes = a, no = b;
    yes.type = no.type = hmoec_c_bool;
    if (hmoec_c_is(no, false)) chosen = truth_join(reader, false, condition, yes);
    else if (hmoec_c_is(yes, true)) chosen = truth_join(reader, true, condition, no);
    else if (hmoec_c_is(no, true)) chosen = truth_join(reader, true, hmoec_c_not(reader, condition), yes);
    else if (hmoec_c_is(yes, false)) chosen = truth_join(reader, false, hmoec_c_not(reader, condition), no);
    else {
      MlirValue operands[] = {condition.value, yes.value, no.value};
      MlirType type = hmoec_c_emit_type(reader, hmoec_c_bool);
      chosen = hmoec_c_of_truth(hmoec_c_bool, hmoec_c_emit(reader, "arith.select", type, operands, 3));
    }
    chosen.type = a.type;
    return chosen;
  }
  MlirValue straight, yes = hmoec_c_materialize(reader, a), no = hmoec_c_materialize(reader, b);
  bool inverted = hmoec_c_is_not(condition.value, &straight);
  MlirValue operands[] = {inverted ? straight : condition.value, inverted ? no : yes, inverted ? yes : no};
  MlirType type = hmoec_c_emit_type(reader, a.type);
  return hmoec_c_runtime(a.type, hmoec_c_emit(reader, "arith.select", type, operands, 3));
}

/* ---- Conversions ---- */

static bool constant_to_integer(hmoec_c_reader *reader, double value, hmoec_c_type type, hmoec_c_value *out_value) {
  double truncated = trunc(value), most = ldexp(1, (int)(type.is_signed ? type.bits - 1 : type.bits));
  if (!(truncated < most && truncated >= (type.is_signed ? -most : 0)))
    return hmoec_c_refuse(reader, "the value %g does not fit in '%s'", value, hmoec_c_type_name(type));
  *out_value = hmoec_c_integer(type, type.is_signed ? (int64_t)truncated : (int64_t)(uint64_t)truncated);
  return true;
}

static hmoec_c_value constant_to_floating(hmoec_c_value value, hmoec_c_type type) {
  if (value.type.class == HMOEC_C_FLOATING) return hmoec_c_floating(type, value.floating);
  if (type.bits == 64)
    return hmoec_c_floating(type, value.type.is_signed ? (double)value.integer : (double)(uint64_t)value.integer);
  /* Straight to float: by way of double it would be rounded twice. */
  return hmoec_c_floating(type, (double)(value.type.is_signed ? (float)value.integer : (float)(uint64_t)value.integer));
}

static hmoec_c_value converted(hmoec_c_reader *reader, const char *op, hmoec_c_value value, hmoec_c_type type) {
  return hmoec_c_runtime(type, hmoec_c_emit(reader, op, hmoec_c_emit_type(reader, type), &value.value, 1));
}

bool hmoec_c_convert(hmoec_c_reader *reader, hmoec_c_value value, hmoec_c_type type, hmoec_c_value *out_value) {
  hmoec_c_value result = value;
  bool from_integer = value.type.class == HMOEC_C_INTEGER, to_integer = type.class == HMOEC_C_INTEGER;
  if (type.class == HMOEC_C_VOID) {
    result = (hmoec_c_value){.type = type, .kind = HMOEC_C_CONSTANT};
  } else if (value.type.class == HMOEC_C_VOID) {
    return hmoec_c_refuse(reader, "a void expression has no value");
  } else if (hmoec_c_type_equal(value.type, type)) {
  } else if (to_integer && type.bits == 1) {
    result = hmoec_c_condition(reader, value);
  } else if (value.kind == HMOEC_C_CONSTANT) {
    if (!to_integer) result = constant_to_floating(value, type);
    else if (!from_integer) return constant_to_integer(reader, value.floating, type, out_value);
    else result = hmoec_c_integer(type, value.integer);
  } else if (from_integer && to_integer) {
    if (value.kind == HMOEC_C_TRUTH || value.type.bits == type.bits) result.type = type;
    else if (value.type.bits > type.bits) result = converted(reader, "arith.trunci", value, type);
    else result = converted(reader, value.type.is_signed ? "arith.extsi" : "arith.extui", value, type);
  } else if (from_integer) {
    bool is_signed = value.kind != HMOEC_C_TRUTH && value.type.is_signed;
    result = converted(reader, is_signed ? "arith.sitofp" : "arith.uitofp", value, type);
  } else if (to_integer) {
    result = converted(reader, type.is_signed ? "arith.fptosi" : "arith.fptoui", value, type);
  } else {
    result = converted(reader, type.bits == 64 ? "arith.extf" : "arith.truncf", value, type);
  }
  *out_value = result;
  return true;
}

/* ---- Operators ---- */

typedef struct operator_row {
  const char *name;                       /* in C */
  const char *floating, *of_signed, *of_unsigned; /* ops; NULL: none */
} operator_row;

static const operator_row operators[CXBinaryOperator_Last + 1] = {
    [CXBinaryOperator_Mul] = {"*", "arith.mulf", "arith.muli", "arith.muli"},
    [CXBinaryOperator_Div] = {"/", "arith.divf", "arith.divsi", "arith.divui"},
    [CXBinaryOperator_Rem] = {"%", NULL, "arith.remsi", "arith.remui"},
    [CXBinaryOperator_Add] = {"+", "arith.addf", "arith.addi", "arith.addi"},
    [CXBinaryOperator_Sub] = {"-", "arith.subf", "arith.subi", "arith.subi"},
    [CXBinaryOperator_Shl] = {"<<", NULL, "arith.shli", "arith.shli"},
    [CXBinaryOperator_Shr] = {">>", NULL, "arith.shrsi", "arith.shrui"},
    [CXBinaryOperator_And] = {"&", NULL, "arith.andi", "arith.andi"},
    [CXBinaryOperator_Xor] = {"^", NULL, "arith.xori", "arith.xori"},
    [CXBinaryOperator_Or] = {"|", NULL, "arith.ori", "arith.ori"},
};

typedef struct comparison_row {
  int64_t floating, of_signed, of_unsigned; /* predicates of arith.cmpf and arith.cmpi */
} comparison_row;

static const comparison_row comparisons[CXBinaryOperator_Last + 1] = {
    [CXBinaryOperator_LT] = {4, 2, 6}, [CXBinaryOperator_GT] = {2, 4, 8}, [CXBinaryOperator_LE] = {5, 3, 7},
    [CXBinaryOperator_GE] = {3, 5, 9}, [CXBinaryOperator_EQ] = {1, 0, 0}, [CXBinaryOperator_NE] = {13, 1, 1},
};

static bool is_comparison(enum CXBinaryOperatorKind kind) { return kind >= CXBinaryOperator_LT && kind <= CXBinaryOperator_NE; }

static bool ordered(enum CXBinaryOperatorKind kind, bool less, bool equal, bool unordered) {
  switch (kind) {
  case CXBinaryOperator_LT: return less;
  case CXBinaryOperator_GT: return !less && !equal && !unordered;
  case CXBinaryOperator_LE: return less || equal;
  case CXBinaryOperator_GE: return !less && !unordered;
  case CXBinaryOperator_EQ: return equal;
  default: return !equal;
  }
}

static hmoec_c_value compare(hmoec_c_reader *reader, enum CXBinaryOperatorKind kind, hmoec_c_value a, hmoec_c_value b) {
  bool floating = a.type.class == HMOEC_C_FLOATING, is_signed = a.type.is_signed;
  if (a.kind == HMOEC_C_CONSTANT && b.kind == HMOEC_C_CONSTANT) {
    bool less, equal, unordered = false;
    if (floating) {
      less = a.floating < b.floating;
      equal = a.floating == b.floating;
      unordered = isnan(a.floating) || isnan(b.floating);
    } else {
      less = is_signed ? a.integer < b.integer : (uint64_t)a.integer < (uint64_t)b.integer;
      equal = a.integer == b.integer;
    }
    return hmoec_c_integer(hmoec_c_int, ordered(kind, less, equal, unordered));
  }
  const comparison_row *row = &comparisons[kind];
  MlirValue left = hmoec_c_materialize(reader, a), right = hmoec_c_materialize(reader, b);
  int64_t predicate = floating ? row->floating : is_signed ? row->of_signed : row->of_unsigned;
  return hmoec_c_of_truth(hmoec_c_int,
                          hmoec_c_emit_compare(reader, floating ? "arith.cmpf" : "arith.cmpi", predicate, left, right));
}

static double float_operation(enum CXBinaryOperatorKind kind, float a, float b) {
  switch (kind) {
  case CXBinaryOperator_Mul: return (double)(a * b);
  case CXBinaryOperator_Div: return (double)(a / b);
  case CXBinaryOperator_Add: return (double)(a + b);
  default: return (double)(a - b);
  }
}

static double double_operation(enum CXBinaryOperatorKind kind, double a, double b) {
  switch (kind) {
  case CXBinaryOperator_Mul: return a * b;
  case CXBinaryOperator_Div: return a / b;
  case CXBinaryOperator_Add: return a + b;
  default: return a - b;
  }
}

static bool overflow(hmoec_c_reader *reader, enum CXBinaryOperatorKind kind, hmoec_c_type type) {
  return hmoec_c_refuse(reader, "the result of the constant '%s' does not fit in '%s'", operators[kind].name,
                        hmoec_c_type_name(type));
}

/* Constants; a shift's amount and a divisor have been checked. */
static bool integer_operation(hmoec_c_reader *reader, enum CXBinaryOperatorKind kind, hmoec_c_type type, int64_t a, int64_t b,
                              hmoec_c_value *out_value) {
  int64_t exact = 0;
  bool overflows = false;
  uint64_t wrapped = 0, ua = (uint64_t)a, ub = (uint64_t)b;
  switch (kind) {
  case CXBinaryOperator_Mul:
    overflows = __builtin_mul_overflow(a, b, &exact);
    wrapped = ua * ub;
    break;
  case CXBinaryOperator_Add:
    overflows = __builtin_add_overflow(a, b, &exact);
    wrapped = ua + ub;
    break;
  case CXBinaryOperator_Sub:
    overflows = __builtin_sub_overflow(a, b, &exact);
    wrapped = ua - ub;
    break;
  case CXBinaryOperator_Div:
    if (!type.is_signed) wrapped = ua / ub;
    else if (b == -1) overflows = __builtin_sub_overflow((int64_t)0, a, &exact);
    else exact = a / b;
    break;
  case CXBinaryOperator_Rem:
    if (!type.is_signed) wrapped = ua % ub;
    else exact = b == -1 ? 0 : a % b;
    break;
  /* As compilers define it, a left shift drops what does not fit. */
  case CXBinaryOperator_Shl: exact = hmoec_c_integer(type, (int64_t)(wrapped = ua << ub)).integer; break;
  case CXBinaryOperator_Shr:
    exact = a >> b;
    wrapped = ua >> ub;
    break;
  case CXBinaryOperator_And: exact = (int64_t)(wrapped = ua & ub); break;
  case CXBinaryOperator_Xor: exact = (int64_t)(wrapped = ua ^ ub); break;
  default: exact = (int64_t)(wrapped = ua | ub); break;
  }
  *out_value = hmoec_c_integer(type, type.is_signed ? exact : (int64_t)wrapped);
  if (type.is_signed && (overflows || out_value->integer != exact)) return overflow(reader, kind, type);
  return true;
}

/* x / -1 may overflow, which traps: it is 0 - x. x % -1 is 0. */
static hmoec_c_value divide_by_minus_one(hmoec_c_reader *reader, enum CXBinaryOperatorKind kind, hmoec_c_value a) {
  hmoec_c_value zero = hmoec_c_integer(a.type, 0);
  if (kind == CXBinaryOperator_Rem) return zero;
  MlirValue operands[] = {hmoec_c_materialize(reader, zero), hmoec_c_materialize(reader, a)};
  return hmoec_c_runtime(a.type, hmoec_c_emit(reader, "arith.subi", hmoec_c_emit_type(reader, a.type), operands, 2));
}

static bool is_one(hmoec_c_value value) { return value.kind == HMOEC_C_CONSTANT && value.floating == 1; }

bool hmoec_c_binary(hmoec_c_reader *reader, enum CXBinaryOperatorKind kind, hmoec_c_value a, hmoec_c_value b,
                    hmoec_c_value *out_value) {
  if (is_comparison(kind)) {
    *out_value = compare(reader, kind, a, b);
    return true;
  }
  const operator_row *row = &operators[kind];
  hmoec_c_type type = a.type;
  bool floating = type.class == HMOEC_C_FLOATING, constant = a.kind == HMOEC_C_CONSTANT && b.kind == HMOEC_C_CONSTANT;
  if (!row->name || (floating && !row->floating)) return hmoec_c_refuse(reader, "this operator is not supported");
  if (floating && constant) {
    double result = type.bits == 32 ? float_operation(kind, (float)a.floating, (float)b.floating)
                                    : double_operation(kind, a.floating, b.floating);
    *out_value = hmoec_c_floating(type, result);
    return true;
  }
  if (floating && is_one(b) && (kind == CXBinaryOperator_Mul || kind == CXBinaryOperator_Div)) {
    *out_value = a;
    return true;
  }
  if (floating && is_one(a) && kind == CXBinaryOperator_Mul) {
    *out_value = b;
    return true;
  }
  if (kind == CXBinaryOperator_Shl || kind == CXBinaryOperator_Shr) {
    if (b.kind == HMOEC_C_CONSTANT && (b.integer < 0 || b.integer >= (int64_t)type.bits))
      return hmoec_c_refuse(reader, "a shift of '%s' by %lld: the amount must be from 0 to %u", hmoec_c_type_name(type),
                            (long long)b.integer, type.bits - 1);
    if (!hmoec_c_convert(reader, b, type, &b)) return false;
  }
  if (!floating && (kind == CXBinaryOperator_Div || kind == CXBinaryOperator_Rem)) {
    const char *what = kind == CXBinaryOperator_Div ? "division" : "remainder";
    if (b.kind != HMOEC_C_CONSTANT)
      return hmoec_c_refuse(reader, "an integer %s by a value known only at run time is not supported: it could trap", what);
    if (b.integer == 0) return hmoec_c_refuse(reader, "%s by zero", what);
    if (!constant && type.is_signed && b.integer == -1) {
      *out_value = divide_by_minus_one(reader, kind, a);
      return true;
    }
  }
  if (constant) return integer_operation(reader, kind, type, a.integer, b.integer, out_value);
  bool bitwise = kind == CXBinaryOperator_And || kind == CXBinaryOperator_Or || kind == CXBinaryOperator_Xor;
  const char *op = floating ? row->floating : type.is_signed ? row->of_signed : row->of_unsigned;
  if (bitwise && a.kind == HMOEC_C_TRUTH && b.kind == HMOEC_C_TRUTH) {
    MlirType truth = hmoec_c_emit_type(reader, hmoec_c_bool);
    *out_value = hmoec_c_of_truth(type, hmoec_c_emit(reader, op, truth, (MlirValue[]){a.value, b.value}, 2));
    return true;
  }
  MlirValue left = hmoec_c_materialize(reader, a), right = hmoec_c_materialize(reader, b);
  *out_value = hmoec_c_runtime(type, hmoec_c_emit(reader, op, hmoec_c_emit_type(reader, type), (MlirValue[]){left, right}, 2));
  return true;
}

bool hmoec_c_unary(hmoec_c_reader *reader, enum CXUnaryOperatorKind kind, hmoec_c_value a, hmoec_c_value *out_value) {
  bool floating = a.type.class == HMOEC_C_FLOATING;
  switch (kind) {
  case CXUnaryOperator_Plus: *out_value = a; return true;
  case CXUnaryOperator_Not:
    if (floating) break;
    return hmoec_c_binary(reader, CXBinaryOperator_Xor, a, hmoec_c_integer(a.type, -1), out_value);
  case CXUnaryOperator_Minus:
    if (!floating) return hmoec_c_binary(reader, CXBinaryOperator_Sub, hmoec_c_integer(a.type, 0), a, out_value);
    if (a.kind == HMOEC_C_CONSTANT) *out_value = hmoec_c_floating(a.type, -a.floating);
    else *out_value = hmoec_c_runtime(a.type, hmoec_c_emit(reader, "arith.negf", hmoec_c_emit_type(reader, a.type), &a.value, 1));
    return true;
  default: break;
  }
  return hmoec_c_refuse(reader, "this operator is not supported");
}
