/* MATMUL in f32 against plain loops in double precision: random descriptions and shapes, every version, splits bit for bit. */
#include "matmul_problem.h"

static void test_random_specs(void **state) {
  (void)state;
  enum { UNITS = HARNESS_IS_SLOW ? 1 : 4, KERNELS = 12 };
  for (int unit = 0; unit < UNITS; unit++) {
    hmoec_cpu_schedule schedule = hmoec_cpu_schedule_default(DEEPEST);
    schedule.row_block = 40;
    if (unit == UNITS - 1) random_tiles(&schedule);
    check_random_unit(schedule, false, KERNELS, !HARNESS_IS_SLOW);
  }
}

static void test_row_blocks_agree(void **state) {
  (void)state;
  hmoec_matmul_spec s = {
      .k = 173, .n = 90, .a_stride = 173, .c_stride = 90, .segments = 1, .segment = {{90, HMOEC_ACTIVATION_GELU, false, false}}};
  check_row_blocks(s, hmoec_cpu_schedule_default(DEEPEST));
  s.paired = true;
  check_row_blocks(s, hmoec_cpu_schedule_default(DEEPEST));
}

int main(void) {
  harness_seed();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_specs), cmocka_unit_test(test_row_blocks_agree)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
