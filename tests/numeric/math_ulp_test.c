/* Elementary functions against the C library in a wider type: activations over every 389th float, ir_math's over every 8191st
 * (HMOE_TEST_FLOAT_STEP=1: all of them), special values, pairs and doubles at random. The bounds are the ones compiler/target/code/math.h
 * states. */
#include <float.h>

#include "map_kernels.h"

typedef struct function_row {
  const char *name;
  map_function function;
  double (*reference)(double);
  double bound[2]; /* with fma, without. exp, tanh, erf, sigmoid: in ulp of the result; others: in 2^-24 (1 + |x|) */
  bool in_ulp;
  float at_minus_infinity, at_infinity;
} function_row;

static double relu(double x) { return x < 0 ? 0 : x; }
static double gelu(double x) { return x < -40 ? 0 : 0.5 * x * erfc(-x / sqrt(2.0)); }
static double gelu_new(double x) {
  double u = sqrt(2.0 / acos(-1.0)) * (x + 0.044715 * x * x * x);
  return x < -40 ? 0 : x / (1 + exp(-2 * u));
}
static double silu(double x) { return x < -800 ? 0 : x / (1 + exp(-x)); }

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

static const function_row functions[] = {
    {"exp", {.code = ir_exp}, exp, {1.1, 1.1}, true, 0, INFINITY},
    {"tanh", {.code = ir_tanh}, tanh, {1.5, 1.5}, true, -1, 1},
    {"erf", {.code = ir_erf}, erf, {1.5, 1.5}, true, -1, 1},
    {"relu", {.activation = HMOEC_ACTIVATION_RELU}, relu, {0, 0}, true, 0, INFINITY},
    {"gelu", {.activation = HMOEC_ACTIVATION_GELU}, gelu, {2.0, 2.0}, false, 0, INFINITY},
    {"gelu_new", {.activation = HMOEC_ACTIVATION_GELU_NEW}, gelu_new, {2.0, 2.0}, false, 0, INFINITY},
    {"silu", {.activation = HMOEC_ACTIVATION_SILU}, silu, {2.0, 2.0}, false, 0, INFINITY},
    {"sigmoid", {.activation = HMOEC_ACTIVATION_SIGMOID}, sigmoid, {2.5, 2.5}, true, 0, 1},
};
enum { FUNCTIONS = sizeof functions / sizeof functions[0], BATCH = 1 << 16 };

/* Distance of floats around `exact`, denormals included: from the bits, as frexp and ldexp would take most of the test's time. */
static double ulp_of(double exact) {
  uint64_t bits;
  memcpy(&bits, &exact, 8);
  uint64_t exponent = bits >> 52 & 0x7ff, least = 1023 - 126; /* of 2^-126 */
  bits = ((exponent < least ? least : exponent) - 23) << 52;
  memcpy(&exact, &bits, 8);
  return exact;
}

static double error_of(const function_row *f, float x, double want, float got) {
  if (fabs(want) > (double)FLT_MAX * (1 + 0x1p-25)) return isinf(got) && (got > 0) == (want > 0) ? 0 : INFINITY;
  if (isinf(got)) return (0x1p128 - fabs(want)) / ulp_of(want); /* rounding up to infinity counts as the next float */
  return fabs((double)got - want) / (f->in_ulp ? ulp_of(want) : 0x1p-24 * (1 + fabs((double)x)));
}

static void sweep(const harness_unit *u, size_t kernel, uint64_t step) {
  static double want[BATCH];
  const function_row *f = &functions[kernel];
  harness_buffer in = harness_alloc(BATCH * 4), out = harness_alloc(BATCH * 4);
  float *x = in.data, *y = out.data, worst_x[HMOE_CPU_COUNT] = {0};
  double worst[HMOE_CPU_COUNT] = {0};
  for (uint64_t bits = harness_random() % step; bits < (uint64_t)1 << 32;) {
    int64_t count = 0;
    for (; count < BATCH && bits < (uint64_t)1 << 32; count++, bits += step) {
      uint32_t pattern = (uint32_t)bits;
      memcpy(&x[count], &pattern, 4);
      want[count] = f->reference((double)x[count]);
    }
    hmoe_kernel_call call = {.buffers = (void *[]){x, y}, .rows = count, .splits = 1};
    HARNESS_EACH_VERSION(*u, v) {
      harness_function(u->object, v, kernel)->call(&call, 0, NULL);
      for (int64_t i = 0; i < count; i++) {
        if (isnan(x[i])) {
          if (!isnan(y[i])) fail_msg("%s(NaN) is %g", f->name, (double)y[i]);
          continue;
        }
        if (isinf(x[i])) {
          if (y[i] != (x[i] < 0 ? f->at_minus_infinity : f->at_infinity))
            fail_msg("%s(%g) is %g", f->name, (double)x[i], (double)y[i]);
          continue;
        }
        double error = error_of(f, x[i], want[i], y[i]);
        if (!(error <= worst[v])) worst[v] = error, worst_x[v] = x[i];
      }
    }
  }
  HARNESS_EACH_VERSION(*u, v) {
    double bound = f->bound[v == HMOE_CPU_PORTABLE];
    printf("%-8s version %d: worst %.3f at %a, bound %.2f\n", f->name, v, worst[v], (double)worst_x[v], bound);
    if (!(worst[v] <= bound)) fail_msg("%s, version %d: %.3f at %a, bound %.2f", f->name, v, worst[v], (double)worst_x[v], bound);
  }
  harness_free(&in), harness_free(&out);
}

static uint64_t step_or(uint64_t usual) {
  const char *given = getenv("HMOE_TEST_FLOAT_STEP");
  if (SANITIZED) usual *= 16;
  uint64_t step = given ? strtoull(given, NULL, 10) : 0;
  return step ? step : usual;
}

static void test_all_functions(void **state) {
  (void)state;
  map_function maps[FUNCTIONS];
  for (int i = 0; i < FUNCTIONS; i++) maps[i] = functions[i].function;
  harness_unit u = map_compile(maps, FUNCTIONS, BATCH);
  uint64_t step = step_or(389);
  for (size_t i = 0; i < FUNCTIONS; i++) sweep(&u, i, step);
  harness_destroy(&u);
}

static void test_specials(void **state) {
  (void)state;
  map_function maps[FUNCTIONS];
  for (int i = 0; i < FUNCTIONS; i++) maps[i] = functions[i].function;
  harness_unit u = map_compile(maps, FUNCTIONS, 4);
  for (size_t i = 0; i < FUNCTIONS; i++) HARNESS_EACH_VERSION(u, v) {
      harness_buffer in = harness_floats(11), out = harness_floats(11); /* three tasks, the last one ragged */
      float *x = in.data, *y = out.data;
      x[0] = NAN, x[1] = INFINITY, x[2] = -INFINITY, x[3] = FLT_MAX, x[4] = -FLT_MAX, x[5] = -NAN, x[10] = 0;
      harness_run(&u, v, i, (void *[]){x, y}, 11, 3, 1);
      assert_true(isnan(y[0]) && isnan(y[5]));
      assert_true(y[1] == functions[i].at_infinity && y[2] == functions[i].at_minus_infinity);
      assert_true(y[4] == functions[i].at_minus_infinity);
      assert_true(y[10] == (float)functions[i].reference(0));
      harness_free(&in), harness_free(&out);
    }
  harness_destroy(&u);
}

/* ---- ir_math: operands and result of one type; values of every kind come out as C says, signs of zeros included ---- */

typedef struct math_row {
  const char *name;
  int operands;
  double bound; /* ulp of the result, in any version */
  double (*one)(double);
  double (*two)(double, double);
  double (*three)(double, double, double);
  long double (*precise)(long double); /* f64: of what has own code; the others are the library, bit for bit */
  double bound_f64;
} math_row;

static const math_row rows[] = {
    {"absf", 1, 0, .one = fabs, .precise = fabsl},
    {"acos", 1, 0.51, .one = acos},
    {"acosh", 1, 0.51, .one = acosh},
    {"asin", 1, 0.51, .one = asin},
    {"asinh", 1, 0.51, .one = asinh},
    {"atan", 1, 0.51, .one = atan},
    {"atan2", 2, 0.51, .two = atan2},
    {"atanh", 1, 0.51, .one = atanh},
    {"cbrt", 1, 0.51, .one = cbrt},
    {"ceil", 1, 0, .one = ceil, .precise = ceill},
    {"copysign", 2, 0, .two = copysign},
    {"cos", 1, 0.8, .one = cos},
    {"cosh", 1, 0.51, .one = cosh},
    {"erf", 1, 1.5, .one = erf},
    {"erfc", 1, 0.51, .one = erfc},
    {"exp", 1, 1.1, .one = exp, .precise = expl, .bound_f64 = 2},
    {"exp2", 1, 1.5, .one = exp2},
    {"expm1", 1, 1.5, .one = expm1, .precise = expm1l, .bound_f64 = 2},
    {"floor", 1, 0, .one = floor, .precise = floorl},
    {"fma", 3, 0.5, .three = fma},
    {"log", 1, 1.5, .one = log, .precise = logl, .bound_f64 = 2},
    {"log10", 1, 1.5, .one = log10, .precise = log10l, .bound_f64 = 2},
    {"log1p", 1, 2, .one = log1p, .precise = log1pl, .bound_f64 = 2},
    {"log2", 1, 1.5, .one = log2, .precise = log2l, .bound_f64 = 2},
    {"powf", 2, 0.51, .two = pow},
    {"round", 1, 0, .one = round, .precise = roundl},
    {"roundeven", 1, 0, .one = nearbyint, .precise = nearbyintl},
    {"sin", 1, 0.8, .one = sin},
    {"sinh", 1, 0.51, .one = sinh},
    {"sqrt", 1, 0.5, .one = sqrt, .precise = sqrtl, .bound_f64 = 0.5},
    {"tan", 1, 1.5, .one = tan},
    {"tanh", 1, 1.5, .one = tanh, .precise = tanhl, .bound_f64 = 2},
    {"trunc", 1, 0, .one = trunc, .precise = truncl},
};
enum { ROWS = sizeof rows / sizeof rows[0], POINTS = 1 << 12 };

static const double specials[] = {
    0,      0x1p-149, 0x1.8p-130, FLT_MIN, 0x1p-30, 0x1.fffffep-2, 0.5,     0x1.000002p-1, 0x1.fffffep-1,     1,
    1.5,    2,        2.5,        3,       3.5,     8388607.5,     8388608, 8388609,       16777215,          0x1p24,
    0x1p60, 88.72284, 104,        127.5,   128,     150,           0x1p19,  524289,        FLT_MAX,           INFINITY,
    NAN,    DBL_MIN,  0x1p-1074,  709.7,   1024,    DBL_MAX,       0x1p52,  0x1p53,        4503599627370495.5};
enum { SPECIALS = 2 * sizeof specials / sizeof specials[0] };
static double special(size_t i) { return i % 2 ? -specials[i / 2 % (SPECIALS / 2)] : specials[i / 2 % (SPECIALS / 2)]; }

typedef struct worst_case {
  double error;
  double at[3];
} worst_case;

static double reference(const math_row *f, const double *x) {
  return f->one ? f->one(x[0]) : f->two ? f->two(x[0], x[1]) : f->three(x[0], x[1], x[2]);
}

/* NaN for NaN, the same infinity or what rounds to it, zeros of the same sign; else the distance in ulp. */
static double math_error(long double want, double got, int precision, int least, double largest) {
  if (isnan(want) || isnan(got)) return isnan(want) && isnan(got) ? 0 : INFINITY;
  long double half = ldexpl((long double)largest, -precision - 1);
  if (fabsl(want) > (long double)largest + half) return isinf(got) && (got > 0) == (want > 0) ? 0 : INFINITY;
  if ((want == 0 || got == 0) && (signbit(want) != 0) != (signbit(got) != 0)) return INFINITY;
  int exponent;
  frexpl(want, &exponent);
  long double ulp = ldexpl(1, (exponent < least ? least : exponent) - precision);
  if (isinf(got))
    return (got > 0) != (want > 0) ? INFINITY : (double)((ldexpl(1, precision == 24 ? 128 : 1024) - fabsl(want)) / ulp);
  return (double)(fabsl((long double)got - want) / ulp);
}

/* The same of floats; nearly all are numbers of the same sign, for which doubles are wide enough. */
static double error_f32(double want, double got) {
  if (want * got > 0 && fabs(want) <= (double)FLT_MAX && fabs(got) <= (double)FLT_MAX) return fabs(got - want) / ulp_of(want);
  return math_error((long double)want, got, 24, -125, (double)FLT_MAX);
}

static void note(worst_case *worst, double error, const double *x, int operands) {
  if (error <= worst->error) return;
  worst->error = error;
  memcpy(worst->at, x, (size_t)operands * sizeof *x);
}

static void check_worst(const char *name, const char *type, int version, const worst_case *worst, double bound) {
  printf("%-9s %s version %d: worst %.4f at %a %a %a, bound %.2f\n", name, type, version, worst->error, worst->at[0], worst->at[1],
         worst->at[2], bound);
  if (!(worst->error <= bound))
    fail_msg("%s %s, version %d: %.4f at %a %a %a", name, type, version, worst->error, worst->at[0], worst->at[1], worst->at[2]);
}

/* Runs POINTS elements of `bytes` each. */
static void run_points(const harness_unit *u, int version, size_t kernel, harness_buffer *in, harness_buffer *out) {
  hmoe_kernel_call call = {.buffers = (void *[]){in[0].data, out->data, in[1].data, in[2].data}, .rows = POINTS, .splits = 1};
  harness_function(u->object, version, kernel)->call(&call, 0, NULL);
}

static float random_float(void) {
  uint32_t pattern = (uint32_t)(harness_random() >> 16);
  float value;
  memcpy(&value, &pattern, 4);
  return value;
}

/* Operand `which` of element i of pass `pass`: specials with specials, any bits, and numbers of usual sizes. */
static float operand(int pass, int64_t i, int which) {
  if (pass < 2) {
    int64_t all = pass * POINTS + i;
    if (which == 1) all /= SPECIALS;
    if (which == 2) all *= 7;
    return (float)special((size_t)(all % SPECIALS));
  }
  if (pass % 3 == 0) return random_float();
  float x = harness_float() * (float)(1 << harness_below(8));
  return pass % 3 == 1 || which == 1 ? x : fabsf(x);
}

/* `pass` counts batches of one float after another for functions of one operand, and of random ones for the others. */
static bool fill_f32(const math_row *f, int64_t pass, uint64_t step, float *const *x) {
  enum { PAIR_PASSES = 200 };
  if (f->operands > 1) {
    for (int64_t i = 0; i < POINTS; i++)
      for (int j = 0; j < f->operands; j++) x[j][i] = operand((int)pass, i, j);
    return pass < PAIR_PASSES;
  }
  for (int64_t i = 0; i < POINTS; i++) {
    uint64_t bits = (uint64_t)(pass - 1) * POINTS * step + (uint64_t)i * step;
    uint32_t pattern = (uint32_t)bits;
    if (pass == 0) x[0][i] = (float)special((size_t)i);
    else memcpy(&x[0][i], &pattern, 4);
  }
  return pass == 0 || (uint64_t)(pass - 1) * POINTS * step < (uint64_t)1 << 32;
}

static void test_math_f32(void **state) {
  (void)state;
  map_function maps[ROWS];
  for (int i = 0; i < ROWS; i++) maps[i] = (map_function){.math = rows[i].name, .operands = rows[i].operands};
  harness_unit u = map_compile(maps, ROWS, POINTS);
  harness_buffer in[3], out = harness_alloc(POINTS * 4);
  float *x[3];
  for (int j = 0; j < 3; j++) in[j] = harness_alloc(POINTS * 4), x[j] = in[j].data;
  static double want[POINTS];
  uint64_t step = step_or(8191);
  bool failed = false;
  for (size_t k = 0; k < ROWS; k++) {
    const math_row *f = &rows[k];
    worst_case worst[HMOE_CPU_COUNT] = {{0}};
    for (int64_t pass = 0; fill_f32(f, pass, step, x); pass++) {
      for (int64_t i = 0; i < POINTS; i++) {
        double at[3] = {(double)x[0][i], (double)x[1][i], (double)x[2][i]};
        want[i] = f->three ? (double)fmaf(x[0][i], x[1][i], x[2][i]) : reference(f, at);
      }
      HARNESS_EACH_VERSION(u, v) {
        run_points(&u, v, k, in, &out);
        const float *y = out.data;
        for (int64_t i = 0; i < POINTS; i++) {
          double error = error_f32(want[i], (double)y[i]);
          if (error > worst[v].error)
            note(&worst[v], error, (double[]){(double)x[0][i], (double)x[1][i], (double)x[2][i]}, f->operands);
        }
      }
    }
    HARNESS_EACH_VERSION(u, v) {
      printf("%-9s f32 version %d: worst %.4f at %a %a, bound %.2f\n", f->name, v, worst[v].error, worst[v].at[0], worst[v].at[1],
             f->bound);
      failed |= !(worst[v].error <= f->bound);
    }
  }
  for (int j = 0; j < 3; j++) harness_free(&in[j]);
  harness_free(&out), harness_destroy(&u);
  assert_false(failed);
}

/* powf with constant exponents, f32 and f64 */
static void test_constant_powers(void **state) {
  (void)state;
  static long double want[POINTS];
  static const double exponents[] = {0.5, -16, -5, -3, -2, -1, 0, 1, 2, 3, 4, 5, 7, 12, 16, 17, 1.5, -0.5};
  enum { COUNT = sizeof exponents / sizeof exponents[0] };
  map_function maps[2 * COUNT];
  for (int i = 0; i < 2 * COUNT; i++)
    maps[i] =
        (map_function){.math = "powf", .operands = 2, .is_f64 = i >= COUNT, .has_constant = true, .constant = exponents[i % COUNT]};
  harness_unit u = map_compile(maps, 2 * COUNT, POINTS);
  harness_buffer in[3] = {harness_alloc(POINTS * 8), {0}, {0}}, out = harness_alloc(POINTS * 8);
  for (size_t k = 0; k < 2 * COUNT; k++) {
    double n = exponents[k % COUNT];
    bool is_f64 = k >= COUNT, is_short = (n >= -2 && n <= 4 && n == floor(n)) || n == 0.5;
    worst_case worst[HMOE_CPU_COUNT] = {{0}};
    for (int pass = 0; pass < 40; pass++) {
      for (int64_t i = 0; i < POINTS; i++) {
        double value = pass == 0 ? special((size_t)i) : (double)operand(2 + pass, i, 1);
        if (is_f64) ((double *)in[0].data)[i] = value;
        else ((float *)in[0].data)[i] = (float)value;
        want[i] = is_f64 ? powl((long double)value, (long double)n) : (long double)pow((double)(float)value, n);
      }
      HARNESS_EACH_VERSION(u, v) {
        run_points(&u, v, k, in, &out);
        for (int64_t i = 0; i < POINTS; i++) {
          double x = is_f64 ? ((double *)in[0].data)[i] : (double)((float *)in[0].data)[i];
          double y = is_f64 ? ((double *)out.data)[i] : (double)((float *)out.data)[i];
          note(&worst[v], is_f64 ? math_error(want[i], y, 53, -1021, DBL_MAX) : error_f32((double)want[i], y), &x, 1);
        }
      }
    }
    char name[32];
    snprintf(name, sizeof name, "x^%g", n);
    HARNESS_EACH_VERSION(u, v) check_worst(name, is_f64 ? "f64" : "f32", v, &worst[v], is_short ? 2 : is_f64 ? 1 : 0.51);
  }
  harness_free(&in[0]), harness_free(&out), harness_destroy(&u);
}

static void test_math_f64(void **state) {
  (void)state;
  static long double want[POINTS];
  map_function maps[ROWS];
  for (int i = 0; i < ROWS; i++) maps[i] = (map_function){.math = rows[i].name, .operands = rows[i].operands, .is_f64 = true};
  harness_unit u = map_compile(maps, ROWS, POINTS);
  harness_buffer in[3], out = harness_alloc(POINTS * 8);
  for (int j = 0; j < 3; j++) in[j] = harness_alloc(POINTS * 8);
  for (size_t k = 0; k < ROWS; k++) {
    const math_row *f = &rows[k];
    worst_case worst[HMOE_CPU_COUNT] = {{0}};
    for (int pass = 0; pass < (f->precise ? 30 : 3); pass++) {
      for (int j = 0; j < 3; j++)
        for (int64_t i = 0; i < POINTS; i++) {
          double value = special((size_t)(i / (j ? SPECIALS : 1)));
          uint64_t bits = harness_random();
          if (pass == 1) memcpy(&value, &bits, 8);
          if (pass > 1) value = ldexp((double)(int64_t)bits, (int)harness_below(pass % 4 == 0 ? 64 : 12) - 63);
          ((double *)in[j].data)[i] = value;
        }
      for (int64_t i = 0; i < POINTS; i++) {
        double x[3];
        for (int j = 0; j < 3; j++) x[j] = ((double *)in[j].data)[i];
        want[i] = f->precise ? f->precise((long double)x[0]) : (long double)reference(f, x);
      }
      HARNESS_EACH_VERSION(u, v) {
        run_points(&u, v, k, in, &out);
        for (int64_t i = 0; i < POINTS; i++) {
          double x[3], y = ((double *)out.data)[i];
          for (int j = 0; j < 3; j++) x[j] = ((double *)in[j].data)[i];
          note(&worst[v], math_error(want[i], y, 53, -1021, DBL_MAX), x, f->operands);
        }
      }
    }
    HARNESS_EACH_VERSION(u, v) check_worst(f->name, "f64", v, &worst[v], f->bound_f64);
  }
  for (int j = 0; j < 3; j++) harness_free(&in[j]);
  harness_free(&out), harness_destroy(&u);
}

int main(void) {
  harness_seed();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_specials), cmocka_unit_test(test_math_f32),
                                     cmocka_unit_test(test_constant_powers), cmocka_unit_test(test_math_f64),
                                     cmocka_unit_test(test_all_functions)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
