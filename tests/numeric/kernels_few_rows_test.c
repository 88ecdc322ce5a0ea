/* Few rows, of which micro-kernels take several panels at once: the first rows of a block by themselves get the bits that they get among others, in
 * shares of every number of panels; of single panels, of pairs, of pairs and what comes after them. */
#include "matmul_problem.h"

enum { KINDS = 3, KERNELS = 2 * KINDS, ROWS = 13, FEW_ROWS = 7, DEPTH = 70 };

static hmoec_matmul_spec make_spec(bool bf16, int64_t panels, int64_t kind) {
  int64_t n = 32 * panels - (kind == 1 ? 0 : 9), border = (panels + 1) / 2 * 32;
  hmoec_matmul_segment whole = {.end = n, .activation = HMOEC_ACTIVATION_RELU};
  hmoec_matmul_spec s = {.format = harness_format(bf16),
                         .k = DEPTH,
                         .n = n,
                         .a_stride = DEPTH,
                         .c_stride = n,
                         .row_block = ROWS,
                         .segments = 1,
                         .segment = {whole, whole},
                         .paired = kind > 0};
  if (kind == 2 && border < n) s.segments = 2, s.segment[0].end = border;
  return s;
}

/* The first `rows` in every number of shares: as `all` has them, and the others as they were. */
static void check_rows(const harness_unit *u, int version, size_t kernel, const problem *p, const char *all, int64_t rows) {
  void *buffers[BINDINGS];
  char *c = p->c.data, *before = p->c_before;
  size_t written = (size_t)(rows * p->spec.c_stride) * 4;
  problem_bind(p, buffers);
  for (int64_t splits = 1; splits <= p->panels + 1; splits++) {
    memcpy(c, before, p->c.bytes);
    harness_run(u, version, kernel, buffers, rows, 1, splits);
    if (memcmp(c, all, written) == 0 && memcmp(c + written, before + written, p->c.bytes - written) == 0) continue;
    print_spec(&p->spec);
    fail_msg("version %d: %" PRId64 " rows in %" PRId64 " shares", version, rows, splits);
  }
}

static void check_unit(bool bf16, hmoec_cpu_schedule schedule) {
  hmoec_kernel kernels[KERNELS];
  for (int64_t i = 0; i < KERNELS; i++)
    kernels[i] = (hmoec_kernel){.family = HMOEC_KERNEL_MATMUL, .spec.matmul = make_spec(bf16, i < KINDS ? 7 : 9, i % KINDS)};
  harness_unit u = harness_compile(kernels, KERNELS, schedule);
  for (size_t i = 0; i < KERNELS; i++) {
    problem p = problem_create(&kernels[i].spec.matmul, ROWS, NULL);
    expectation e = problem_expect(&p);
    void *buffers[BINDINGS];
    char *all = malloc(p.c.bytes);
    assert_non_null(all);
    problem_bind(&p, buffers);
    HARNESS_EACH_VERSION(u, v) {
      harness_run(&u, v, i, buffers, ROWS, 1, 1);
      int64_t wrong = problem_wrong(&p, &e);
      if (wrong >= 0) problem_fail(&p, "all rows", v, 1, wrong, e.want[wrong]);
      memcpy(all, p.c.data, p.c.bytes);
      for (int64_t rows = 1; rows <= FEW_ROWS; rows++) check_rows(&u, v, i, &p, all, rows);
    }
    expectation_destroy(&e);
    problem_destroy(&p);
    free(all);
  }
  harness_destroy(&u);
}

/* By default, and where two tiles of unequal rows take unequal numbers of panels at once. */
static void check_units(bool bf16) {
  hmoec_cpu_schedule schedule = hmoec_cpu_schedule_default(DEPTH);
  check_unit(bf16, schedule);
  schedule.hide_latency = 14;
  for (int v = HMOE_CPU_AVX512; v < HMOE_CPU_COUNT; v++) schedule.tile_rows[v] = schedule.tile_rows_bf16[v] = 4;
  check_unit(bf16, schedule);
}

static void test_f32(void **state) {
  (void)state;
  check_units(false);
}

static void test_bf16(void **state) {
  (void)state;
  check_units(true);
}

int main(void) {
  harness_seed();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_f32), cmocka_unit_test(test_bf16)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
