/* Elementary functions over every 97th float (HMOE_TEST_FLOAT_STEP=1: all of them) against the C library in double precision.
 * The bounds are the ones compiler/codegen/cpu/math.h states. */
#include <float.h>

#include "kernels_harness.h"

typedef struct function_row {
  const char *name;
  hmoec_function function;
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
    {"exp", HMOEC_FUNCTION_EXP, exp, {1.1, 1.1}, true, 0, INFINITY},
    {"tanh", HMOEC_FUNCTION_TANH, tanh, {1.5, 1.5}, true, -1, 1},
    {"erf", HMOEC_FUNCTION_ERF, erf, {1.5, 1.5}, true, -1, 1},
    {"relu", HMOEC_FUNCTION_RELU, relu, {0, 0}, true, 0, INFINITY},
    {"gelu", HMOEC_FUNCTION_GELU, gelu, {2.0, 2.0}, false, 0, INFINITY},
    {"gelu_new", HMOEC_FUNCTION_GELU_NEW, gelu_new, {2.0, 2.0}, false, 0, INFINITY},
    {"silu", HMOEC_FUNCTION_SILU, silu, {2.0, 2.0}, false, 0, INFINITY},
    {"sigmoid", HMOEC_FUNCTION_SIGMOID, sigmoid, {2.5, 2.5}, true, 0, 1},
};
enum { FUNCTIONS = sizeof functions / sizeof functions[0], BATCH = 1 << 16 };

/* Distance of floats around `exact`, denormals included. */
static double ulp_of(double exact) {
  int exponent;
  frexp(exact, &exponent);
  return ldexp(1, (exponent < -125 ? -125 : exponent) - 24);
}

static double error_of(const function_row *f, float x, float got) {
  double want = f->reference((double)x);
  if (fabs(want) > (double)FLT_MAX * (1 + 0x1p-25)) return isinf(got) && (got > 0) == (want > 0) ? 0 : INFINITY;
  if (isinf(got)) return (0x1p128 - fabs(want)) / ulp_of(want); /* rounding up to infinity counts as the next float */
  return fabs((double)got - want) / (f->in_ulp ? ulp_of(want) : 0x1p-24 * (1 + fabs((double)x)));
}

static void sweep(const harness_unit *u, int version, size_t kernel, uint64_t step) {
  const function_row *f = &functions[kernel];
  harness_buffer in = harness_alloc(BATCH * 4), out = harness_alloc(BATCH * 4);
  float *x = in.data, *y = out.data, worst_x = 0;
  double worst = 0;
  for (uint64_t bits = harness_random() % step; bits < (uint64_t)1 << 32;) {
    int64_t count = 0;
    for (; count < BATCH && bits < (uint64_t)1 << 32; count++, bits += step) {
      uint32_t pattern = (uint32_t)bits;
      memcpy(&x[count], &pattern, 4);
    }
    hmoe_kernel_call call = {.buffers = (void *[]){x, y}, .rows = count, .splits = 1};
    u->object->kernels[version][kernel](&call, 0, NULL);
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
      double error = error_of(f, x[i], y[i]);
      if (!(error <= worst)) worst = error, worst_x = x[i];
    }
  }
  double bound = f->bound[version == HMOE_CPU_PORTABLE];
  printf("%-8s version %d: worst %.3f at %a, bound %.2f\n", f->name, version, worst, (double)worst_x, bound);
  if (!(worst <= bound)) fail_msg("%s, version %d: %.3f at %a, bound %.2f", f->name, version, worst, (double)worst_x, bound);
  harness_free(&in), harness_free(&out);
}

static void test_all_functions(void **state) {
  (void)state;
  hmoec_kernel kernels[FUNCTIONS];
  for (int i = 0; i < FUNCTIONS; i++)
    kernels[i] = (hmoec_kernel){.family = HMOEC_KERNEL_MAP, .spec.map = {functions[i].function, BATCH}};
  harness_unit u = harness_compile(kernels, FUNCTIONS, hmoec_cpu_schedule_default(16));
  const char *given = getenv("HMOE_TEST_FLOAT_STEP");
  uint64_t step = given ? strtoull(given, NULL, 10) : 0;
  if (step == 0) step = 97;
  HARNESS_EACH_VERSION(u, v) for (size_t i = 0; i < FUNCTIONS; i++) sweep(&u, v, i, step);
  harness_destroy(&u);
}

static void test_specials(void **state) {
  (void)state;
  hmoec_kernel kernels[FUNCTIONS];
  for (int i = 0; i < FUNCTIONS; i++)
    kernels[i] = (hmoec_kernel){.family = HMOEC_KERNEL_MAP, .spec.map = {functions[i].function, 4}};
  harness_unit u = harness_compile(kernels, FUNCTIONS, hmoec_cpu_schedule_default(16));
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

int main(void) {
  harness_seed();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_specials), cmocka_unit_test(test_all_functions)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
