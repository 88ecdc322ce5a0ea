/* MATMUL in f32 on a GPU: numeric/kernels_matmul_test.c, with CUDA kernels in the emulator; and which of its ways a kernel takes. */
#define HARNESS_CUDA
#define main main_of_all
#include "numeric/kernels_matmul_test.c"
#undef main

/* What is not grouped, in both ways: depths and columns that no loop divides, shares of rows and columns bit for bit. A block waits twice a step of columns for each part
 * of few rows, and else, as where the device has counted the rows, for every 16 of depth. */
static void test_ways(void **state) {
  (void)state;
  static const int64_t shapes[][2] = {{1, 1},    {3, 33},   {31, 64},   {127, 65}, {128, 96},
                                      {129, 31}, {200, 70}, {1100, 20}, {300, 100}},
                       rows[] = {1, 3, 4, 5, 9};
  enum { SHAPES = sizeof shapes / sizeof *shapes, ROWS = sizeof rows / sizeof *rows };
  hmoec_kernel kernels[SHAPES];
  for (int i = 0; i < SHAPES; i++)
    kernels[i] = (hmoec_kernel){.family = HMOEC_KERNEL_MATMUL,
                                .spec.matmul = {.k = shapes[i][0],
                                                .n = shapes[i][1],
                                                .a_stride = shapes[i][0] + i % 3,
                                                .c_stride = shapes[i][1],
                                                .segments = 1,
                                                .segment = {{shapes[i][1], HMOEC_ACTIVATION_NONE, false, false}},
                                                .row_block = 40,
                                                .paired = i % 2 && shapes[i][1] > 32,
                                                .norm = i % 3 == 1 ? HMOEC_NORM_LAYER : HMOEC_NORM_NONE,
                                                .norm_epsilon = 1e-5}};
  harness_unit u = harness_compile(kernels, SHAPES, hmoec_cpu_schedule_default(DEEPEST));
  for (int i = 0; i < SHAPES; i++)
    for (int r = 0; r < ROWS; r++) {
      hmoec_matmul_spec plain = kernels[i].spec.matmul;
      problem p = problem_create(&plain, rows[r], NULL);
      if (plain.norm == HMOEC_NORM_NONE) problem_check(&u, (size_t)i, &p, -1);
      void *buffers[BINDINGS], *first = malloc(p.c.bytes);
      problem_bind(&p, buffers);
      uint64_t before = ptx_module_count(u.module, "bar"), warps = 8;
      harness_run(&u, 0, (size_t)i, buffers, rows[r], 1, 1);
      memcpy(first, p.c.data, p.c.bytes);
      uint64_t waits = (ptx_module_count(u.module, "bar") - before) / warps, width = plain.n <= 64 && !plain.paired ? 8 : 32;
      uint64_t steps = ((uint64_t)plain.n + width - 1) / width, parts = ((uint64_t)rows[r] + 3) / 4;
      assert_int_equal(waits, 2 * steps * (plain.paired ? 2 : 1) * parts + (plain.norm == HMOEC_NORM_NONE ? 0 : 2 * parts));
      const int64_t splits[] = {2, 3, (int64_t)(steps * parts), (int64_t)(steps * parts) + 5};
      for (int s = 0; s < 4; s++) {
        memcpy(p.c.data, p.c_before, p.c.bytes);
        harness_run(&u, 0, (size_t)i, buffers, rows[r], 1, splits[s]);
        if (memcmp(first, p.c.data, p.c.bytes) != 0) problem_fail(&p, "shares differ", 0, splits[s], 0, NAN);
      }
      const int32_t counted = (int32_t)rows[r];
      u.counted = &counted;
      before = ptx_module_count(u.module, "bar");
      if (plain.norm == HMOEC_NORM_NONE) problem_check(&u, (size_t)i, &p, -1);
      else harness_run(&u, 0, (size_t)i, buffers, rows[r], 1, 1);
      if (plain.k > 32) assert_true(ptx_module_count(u.module, "bar") - before > 4 * warps * ((uint64_t)plain.n + 63) / 64);
      u.counted = NULL;
      free(first);
      problem_destroy(&p);
    }
  harness_destroy(&u);
}

/* Rows that the device has counted are none of few, and give the bits of many. */
static void test_counted(void **state) {
  (void)state;
  enum { ROWS = 12, N = 64, K = 100, TILE_WAITS = 2 * ((K + 15) / 16) + 2 };
  const hmoec_kernel kernel = {.family = HMOEC_KERNEL_MATMUL,
                               .spec.matmul = {.k = K,
                                               .n = N,
                                               .a_stride = K,
                                               .c_stride = N,
                                               .segments = 1,
                                               .segment = {{N, HMOEC_ACTIVATION_NONE, false, false}},
                                               .row_block = 40}};
  harness_unit u = harness_compile(&kernel, 1, hmoec_cpu_schedule_default(DEEPEST));
  problem p = problem_create(&kernel.spec.matmul, ROWS, NULL);
  void *buffers[BINDINGS];
  float many[ROWS * N];
  problem_bind(&p, buffers);
  static const int32_t counts[] = {12, 1, 8, 12};
  for (int i = 0; i < 4; i++) {
    u.counted = &counts[i];
    memset(p.c.data, 0, p.c.bytes);
    uint64_t before = ptx_module_count(u.module, "bar"), warps = 8;
    harness_run(&u, 0, 0, buffers, i == 1 ? 8 : ROWS, 1, 1); /* of 8 that there may be */
    assert_int_equal(ptx_module_count(u.module, "bar") - before, warps * TILE_WAITS);
    if (!i) memcpy(many, p.c.data, sizeof many);
    assert_memory_equal(p.c.data, many, (size_t)counts[i] * N * sizeof *many);
  }
  problem_destroy(&p);
  harness_destroy(&u);
}

int main(void) {
  harness_seed();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_specs), cmocka_unit_test(test_row_blocks_agree),
                                     cmocka_unit_test(test_ways), cmocka_unit_test(test_counted)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
