/* ROUTE, COMBINE, SELECT, CONTRACT and ROWS on a GPU: numeric/kernels_rows_test.c, with CUDA kernels in the emulator; and tasks that share columns of COMBINE. */
#define HARNESS_CUDA
#define main main_of_all
#include "numeric/kernels_rows_test.c"
#undef main

/* Slots are added in their order, however many are loaded at one time, and whichever task has a column: of many slots a loop, of few several columns of a thread. */
static void test_shares(void **state) {
  (void)state;
  static const struct {
    hmoec_combine_spec spec;
    int64_t columns; /* of a part */
  } cases[] = {{{712, 1, 712, 720, false, 1}, 512}, {{600, 2, 601, 600, true, 1}, 512},   {{400, 3, 401, 403, false, 2}, 256},
               {{300, 4, 300, 300, true, 1}, 256},  {{256, 6, 256, 257, false, 1}, 128},  {{129, 8, 130, 129, true, 1}, 128},
               {{129, 9, 129, 129, false, 1}, 128}, {{140, 16, 140, 140, false, 1}, 128}, {{3, 29, 4, 3, true, 1}, 128}};
  enum { CASES = sizeof cases / sizeof *cases };
  hmoec_kernel kernels[CASES];
  for (int i = 0; i < CASES; i++) kernels[i] = (hmoec_kernel){.family = HMOEC_KERNEL_COMBINE, .spec.combine = cases[i].spec};
  harness_unit u = harness_compile(kernels, CASES, hmoec_cpu_schedule_default(64));
  for (size_t i = 0; i < CASES; i++) {
    const hmoec_combine_spec *s = &cases[i].spec;
    int64_t rows = 3, parts = (s->n + cases[i].columns - 1) / cases[i].columns;
    assert_int_equal(hmoec_cuda_column_steps(&kernels[i], u.chip) & HMOE_CUDA_COLUMN_STEPS, parts);
    harness_buffer slots = harness_floats(rows * s->top_k * s->ld_slots), y = harness_floats(rows * s->ld_y);
    float *before = malloc(y.bytes), *want = malloc(y.bytes), *got = y.data, *from = slots.data;
    memcpy(before, got, y.bytes);
    memcpy(want, got, y.bytes);
    for (int64_t r = 0; r < rows; r++)
      for (int64_t c = 0; c < s->n; c++) {
        float sum = from[r * s->top_k * s->ld_slots + c];
        for (int64_t k = 1; k < s->top_k; k++) sum += from[(r * s->top_k + k) * s->ld_slots + c];
        want[r * s->ld_y + c] = s->accumulate ? before[r * s->ld_y + c] + sum : sum;
      }
    const int64_t splits[] = {1, 2, parts, parts + 3};
    for (int t = 0; t < 4; t++) {
      memcpy(got, before, y.bytes);
      harness_run(&u, 0, i, (void *[]){from, got}, rows, (rows + s->row_block - 1) / s->row_block, splits[t]);
      assert_memory_equal(got, want, y.bytes);
    }
    harness_free(&slots), harness_free(&y);
    free(before), free(want);
  }
  harness_destroy(&u);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_shares)};
  int failed = main_of_all();
  return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
