/* Elementary functions by their names in the math dialect. What has no code of its own is called in the C library. */
#include <string.h>

#include "target/code/math.h"
#include "target/code/math_parts.h"

static MlirValue exp_f32(ir_builder *ir, const MlirValue *x) { return ir_exp(ir, x[0]); }
static MlirValue tanh_f32(ir_builder *ir, const MlirValue *x) { return ir_tanh(ir, x[0]); }
static MlirValue erf_f32(ir_builder *ir, const MlirValue *x) { return ir_erf(ir, x[0]); }

typedef struct function_row {
  const char *name;
  int count;
  math_emitter *f32, *f64;
  const char *library; /* where an emitter is NULL */
} function_row;

static const function_row functions[] = {
    {"absf", 1, math_abs, math_abs, NULL},
    {"acos", 1, math_acos_f32, NULL, "acos"},
    {"acosh", 1, math_acosh_f32, NULL, "acosh"},
    {"asin", 1, math_asin_f32, NULL, "asin"},
    {"asinh", 1, math_asinh_f32, NULL, "asinh"},
    {"atan", 1, math_atan_f32, NULL, "atan"},
    {"atan2", 2, math_atan2_f32, NULL, "atan2"},
    {"atanh", 1, math_atanh_f32, NULL, "atanh"},
    {"cbrt", 1, math_cbrt_f32, NULL, "cbrt"},
    {"ceil", 1, math_ceil, math_ceil, NULL},
    {"copysign", 2, math_copysign, math_copysign, NULL},
    {"cos", 1, math_cos_f32, NULL, "cos"},
    {"cosh", 1, math_cosh_f32, NULL, "cosh"},
    {"erf", 1, erf_f32, NULL, "erf"},
    {"erfc", 1, math_erfc_f32, NULL, "erfc"},
    {"exp", 1, exp_f32, math_exp, NULL},
    {"exp2", 1, math_exp2_f32, NULL, "exp2"},
    {"expm1", 1, math_expm1, math_expm1, NULL},
    {"floor", 1, math_floor, math_floor, NULL},
    {"fma", 3, math_fma, math_fma, NULL},
    {"log", 1, math_log, math_log, NULL},
    {"log10", 1, math_log10, math_log10, NULL},
    {"log1p", 1, math_log1p, math_log1p, NULL},
    {"log2", 1, math_log2, math_log2, NULL},
    {"powf", 2, math_pow, math_pow, NULL},
    {"round", 1, math_round, math_round, NULL},
    {"roundeven", 1, math_roundeven, math_roundeven, NULL},
    {"sin", 1, math_sin_f32, NULL, "sin"},
    {"sinh", 1, math_sinh_f32, NULL, "sinh"},
    {"sqrt", 1, math_sqrt, math_sqrt, NULL},
    {"tan", 1, math_tan_f32, NULL, "tan"},
    {"tanh", 1, tanh_f32, math_tanh_f64, NULL},
    {"trunc", 1, math_trunc, math_trunc, NULL},
};

static const function_row *find(const char *name, int count) {
  for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
    if (strcmp(functions[i].name, name) == 0) return functions[i].count == count ? &functions[i] : NULL;
  return NULL;
}

MlirValue ir_math(ir_builder *ir, const char *name, int count, const MlirValue *operands) {
  const function_row *function = find(name, count);
  if (!function) {
    ir->failed = true;
    return operands[0];
  }
  math_emitter *emit = math_is_f64(ir, operands[0]) ? function->f64 : function->f32;
  return emit ? emit(ir, operands) : ir_call_library(ir, function->library, count, operands);
}
