/* Functions written in C (Inputs/activations.c, which is part of this program too): what the interpreter computes, and what kernels
 * compute on every CPU version, against what the C compiler makes of them. */
#include "Inputs/activations.c"
#include "c_functions.h"

typedef struct function_row {
  const char *name;
  size_t arity;
  c_function function;
  double bound; /* of kernels, in 2^-24 (|y| + max(1, |up|) (1 + |x|)); 0: the same float */
} function_row;

#define ONE(function, bound) {#function, 1, {.one = function}, bound}
#define TWO(function, bound) {#function, 2, {.two = function}, bound}

static const function_row functions[] = {
    ONE(plain_relu, 0),
    ONE(relu_if, 0),
    ONE(relu6, 0),
    ONE(squared_relu, 0),
    ONE(leaky, 0),
    ONE(elu, 2),
    ONE(selu, 2),
    ONE(gelu_erf, 2),
    ONE(gelu_powf, 2),
    ONE(plain_silu, 2),
    ONE(quick_gelu, 2),
    ONE(softplus, 2),
    ONE(mish, 2),
    ONE(hard_swish, 0),
    ONE(hard_tanh, 0),
    ONE(snake, 2),
    ONE(softsign, 0),
    ONE(tanh_shrink, 2),
    ONE(score_sqrt, 2),
    ONE(piecewise, 0),
    ONE(horner, 0),
    ONE(loop_break, 0),
    ONE(loop_nested, 0),
    ONE(switched, 0),
    ONE(narrow_integers, 0),
    ONE(wide_integers, 0),
    ONE(in_double, 0),
    ONE(hyperbolic, 2),
    ONE(casts, 0),
    ONE(commas, 0),
    ONE(choices, 0),
    ONE(logical, 0),
    ONE(several, 0),
    ONE(fused, 0),
    ONE(selected, 0),
    ONE(rounded, 0),
    ONE(classified, 0),
    ONE(constants, 0),
    ONE(shadowed, 0),
    ONE(helpers, 0),
    ONE(reciprocal, 0),
    ONE(remainders, 0),
    TWO(swiglu, 2),
    TWO(geglu, 2),
    TWO(reglu, 0),
    TWO(clamped_swiglu, 2),
    TWO(powers, 2),
    TWO(angles, 2),
    TWO(ordered, 0),
    TWO(up_only, 0),
};
enum { FUNCTIONS = sizeof functions / sizeof functions[0] };

/* The calls of interpreter and C compiler are to one library, and all else is exact: the results are the same. */
enum { INTERPRETER_BOUND = 0 };

/* Which of 0 and -0 fmin and fmax give is open, and compilers differ. */
static bool chooses_zero(const function_row *f) { return strcmp(f->name, "relu6") == 0; }

static float points[2 * POINTS], want[POINTS], got[POINTS];

static void call_all(const function_row *f) {
  c_points_fill(f->arity, points);
  for (int i = 0; i < POINTS; i++) want[i] = c_function_call(f->function, f->arity, (float[]){points[i], points[POINTS + i]});
}

static hmoec_scalar_library import(void) {
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(stderr);
  c_import all = c_import_begin(diagnostics);
  for (int i = 0; i < FUNCTIONS; i++)
    assert_true(c_import_add(&all, HMOE_SOURCE_DIR "/tests/numeric/Inputs/activations.c", functions[i].name, 1u << 1 | 1u << 2));
  hmoec_scalar_library library = c_import_end(&all);
  hmoec_diagnostics_destroy(diagnostics);
  assert_int_equal(library.count, FUNCTIONS);
  return library;
}

static void test_interpreter(void **state) {
  (void)state;
  hmoec_scalar_library library = import();
  bool failed = false;
  for (size_t k = 0; k < FUNCTIONS; k++) {
    const hmoec_scalar_program *program = &library.programs[k];
    hmoec_scalar_value *values = calloc(program->value_count, sizeof *values);
    assert_non_null(values);
    assert_int_equal(program->argument_count, functions[k].arity);
    double worst = 0;
    int at = 0;
    call_all(&functions[k]);
    for (int i = 0; i < POINTS; i++) {
      float y = hmoec_scalar_run(program, values, (float[]){points[i], points[POINTS + i]});
      double error = c_distance(y, want[i]);
      if (want[i] == 0 && y == 0 && signbit(want[i]) != signbit(y) && !chooses_zero(&functions[k])) error = 1;
      if (error > worst) worst = error, at = i, got[i] = y;
    }
    if (worst > INTERPRETER_BOUND)
      printf("%s: %g ulp at %a %a: %a, C has %a\n", functions[k].name, worst, (double)points[at], (double)points[POINTS + at],
             (double)got[at], (double)want[at]);
    failed |= worst > INTERPRETER_BOUND;
    free(values);
  }
  hmoec_scalar_library_deinit(&library);
  assert_false(failed);
}

/* Where the result is within rounding of the largest float, infinity is as good. */
static double error_at(const function_row *f, int i, float y) {
  double exact = (double)want[i], x = fabs((double)points[i]), up = f->arity == 1 ? 1 : fmax(1, fabs((double)points[POINTS + i]));
  if (f->bound == 0 || isnan(exact) || isnan(y) || isinf(exact)) return c_distance(y, want[i]) > 0 ? INFINITY : 0;
  if (isinf(up)) up = 8; /* a function that is finite there has clamped it, the largest of these to 7, and adds 1 */
  double scale = fabs(exact) + (isinf(x) ? 0 : (1 + x) * up);
  return fabs((double)y - exact) / (0x1p-24 * scale + 0x1p-149);
}

static void test_kernels(void **state) {
  (void)state;
  hmoec_scalar_library library = import();
  hmoec_kernel kernels[FUNCTIONS];
  for (size_t i = 0; i < FUNCTIONS; i++) kernels[i] = c_kernel(&library, i);
  harness_unit u = harness_compile_functions(kernels, FUNCTIONS, hmoec_cpu_schedule_default(16), &library);
  bool failed = false;
  for (size_t k = 0; k < FUNCTIONS; k++) {
    const function_row *f = &functions[k];
    call_all(f);
    HARNESS_EACH_VERSION(u, v) {
      double worst = 0;
      int at = 0;
      c_kernel_run(&u, v, k, f->arity, points, got);
      for (int i = 0; i < POINTS; i++) {
        double error = error_at(f, i, got[i]);
        if (error > worst) worst = error, at = i;
      }
      if (f->bound > 0 || worst > 0)
        printf("%-16s version %d: worst %.3f, bound %g, at %a %a: %a, C has %a\n", f->name, v, worst, f->bound, (double)points[at],
               (double)points[POINTS + at], (double)got[at], (double)want[at]);
      failed |= !(worst <= f->bound);
    }
  }
  harness_destroy(&u);
  hmoec_scalar_library_deinit(&library);
  assert_false(failed);
}

int main(void) {
  harness_seed();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_interpreter), cmocka_unit_test(test_kernels)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
