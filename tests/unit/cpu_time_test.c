/* Predicted times of CPU code: of every family, version and size they are numbers, and more work never takes less time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "target/cpu/time.h"

static const hmoec_machine *const machine = &hmoec_cpu_machines[0];
enum { KERNELS = 24 };

static hmoec_matmul_spec product(int64_t k, int64_t n, hmoec_format format) {
  return (hmoec_matmul_spec){.k = k,
                             .n = n,
                             .a_stride = k,
                             .c_stride = n,
                             .format = format,
                             .segments = 1,
                             .segment = {{.end = n, .activation = HMOEC_ACTIVATION_GELU}},
                             .row_block = 64};
}

static size_t add_products(hmoec_kernel *out, int64_t k, int64_t n, hmoec_format format) {
  hmoec_matmul_spec first = product(k, n, format), second = product(n, k, format), paired = first;
  paired.paired = true;
  out[0] = (hmoec_kernel){.family = HMOEC_KERNEL_MATMUL, .spec.matmul = first};
  out[1] = (hmoec_kernel){.family = HMOEC_KERNEL_MATMUL, .spec.matmul = paired};
  out[2] = (hmoec_kernel){.family = HMOEC_KERNEL_FFN, .spec.ffn = {first, second, 256}};
  return 3;
}

/* Of every family, small and large. */
static size_t all_kernels(hmoec_kernel out[KERNELS]) {
  size_t count = 0;
  count += add_products(out + count, 768, 3072, HMOEC_FORMAT_F32);
  count += add_products(out + count, 768, 3072, HMOEC_FORMAT_BF16);
  count += add_products(out + count, 1, 1, HMOEC_FORMAT_F32);
  count += add_products(out + count, 1, 1, HMOEC_FORMAT_BF16);
  out[count++] = (hmoec_kernel){.family = HMOEC_KERNEL_ROUTE, .spec.route = {.experts = 64, .top_k = 8}};
  out[count++] = (hmoec_kernel){.family = HMOEC_KERNEL_COMBINE, .spec.combine = {.n = 768, .top_k = 2}};
  out[count++] = (hmoec_kernel){.family = HMOEC_KERNEL_SELECT, .spec.select = {.experts = 64, .top_k = 8, .embedding = 128}};
  out[count++] = (hmoec_kernel){.family = HMOEC_KERNEL_CONTRACT, .spec.contract = {.hidden = 128, .bottleneck = 64}};
  out[count++] = (hmoec_kernel){.family = HMOEC_KERNEL_ROWS, .spec.rows = {.n = 768, .activation = HMOEC_ACTIVATION_SILU}};
  out[count++] = (hmoec_kernel){.family = HMOEC_KERNEL_NORM, .spec.norm = {.kind = HMOEC_NORM_LAYER, .n = 768}};
  out[count++] = (hmoec_kernel){.family = HMOEC_KERNEL_EMBED, .spec.embed = {.n = 768, .layout = HMOEC_TABLE_RIGHT}};
  out[count++] = (hmoec_kernel){.family = HMOEC_KERNEL_STORE, .spec.store = {.heads = 12, .head_size = 64}};
  out[count++] = (hmoec_kernel){.family = HMOEC_KERNEL_ATTENTION, .spec.attention = {.heads = 12, .head_size = 64}};
  out[count++] = (hmoec_kernel){.family = HMOEC_KERNEL_PACK_ROWS, .spec.pack_rows = {.n = 768}};
  return count;
}

static void is_a_time(double seconds) { assert_true(isfinite(seconds) && seconds >= 0); }

static void test_sizes(void **state) {
  (void)state;
  static const double rows[] = {0, 1, 2, 3, 13, 14, 15, 16, 17, 33, 64, 256, 1e6, 1e15};
  hmoec_kernel kernels[KERNELS];
  size_t count = all_kernels(kernels);
  bool seen[HMOEC_KERNEL_FAMILY_COUNT] = {false};
  for (size_t i = 0; i < count; i++)
    for (size_t version = 0; version < HMOE_CPU_COUNT; version++) {
      seen[kernels[i].family] = true;
      double before = 0;
      for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        hmoec_task task = {.rows = rows[r], .keys = rows[r], .splits = 1, .weight_bytes = 1 << 20, .threads = 1};
        double time = hmoec_cpu_task_time(machine, version, NULL, &kernels[i], &task),
               bound = hmoec_cpu_task_bound(machine, version, NULL, &kernels[i], &task);
        is_a_time(time);
        is_a_time(bound);
        if (time < 0.93 * before)
          fail_msg("kernel %zu, version %zu: %g rows take less than fewer", i, version, rows[r]); /* tiles */
        if (bound > 1.001 * time) fail_msg("kernel %zu, version %zu, %g rows: the bound is above the time", i, version, rows[r]);
        before = time > before ? time : before;
      }
    }
  for (int family = 0; family < HMOEC_KERNEL_FAMILY_COUNT; family++) assert_true(seen[family]);
}

/* Weights that lie further away, and threads that read at the same time. */
static void test_weights(void **state) {
  (void)state;
  static const uint64_t bytes[] = {0,         1 << 10, 1 << 20, 3 << 20, 8 << 20, 64 << 20, UINT64_C(200) << 20, UINT64_C(1) << 34,
                                   UINT64_MAX};
  const hmoec_kernel kernel = {.family = HMOEC_KERNEL_MATMUL, .spec.matmul = product(1024, 1024, HMOEC_FORMAT_F32)};
  double before = 0, near = 0;
  for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
    hmoec_task task = {.rows = 1, .splits = 1, .weight_bytes = bytes[i], .threads = 2};
    double time = hmoec_cpu_task_time(machine, HMOE_CPU_AVX512, NULL, &kernel, &task);
    is_a_time(time);
    assert_true(time >= before);
    before = time;
    if (i == 0) near = time;
    assert_true(hmoec_cpu_kernel_time(machine, HMOE_CPU_AVX512, NULL, &kernel, bytes[i]).block >= near);
  }
  assert_true(before > 4 * near); /* 15 GB/s, where it was 145 */
}

/* Shares of columns are all of them together; a share of none takes next to nothing. */
static void test_splits(void **state) {
  (void)state;
  const hmoec_kernel kernel = {.family = HMOEC_KERNEL_MATMUL, .spec.matmul = product(512, 100, HMOEC_FORMAT_F32)};
  hmoec_task task = {.rows = 32, .splits = 1, .weight_bytes = 1 << 20, .threads = 1};
  double whole = hmoec_cpu_task_time(machine, HMOE_CPU_AVX512, NULL, &kernel, &task), sum = 0, least = whole;
  task.splits = 5;
  for (task.split = 0; task.split < 5; task.split++) {
    double share = hmoec_cpu_task_time(machine, HMOE_CPU_AVX512, NULL, &kernel, &task);
    sum += share;
    least = share < least ? share : least;
  }
  assert_true(sum > whole && sum < 1.2 * whole + 5e-6); /* rows are copied again in each */
  assert_true(least < 0.1 * whole);
}

static void test_three_numbers(void **state) {
  (void)state;
  hmoec_kernel kernels[KERNELS];
  size_t count = all_kernels(kernels);
  for (size_t i = 0; i < count; i++)
    for (size_t version = 0; version < HMOE_CPU_COUNT; version++) {
      hmoec_kernel_time time = hmoec_cpu_kernel_time(machine, version, NULL, &kernels[i], UINT64_C(1) << 30);
      is_a_time(time.row);
      is_a_time(time.block);
      is_a_time(time.split_row);
      assert_true(time.row > 0 && time.block > 0);
    }
  hmoec_kernel_time wide = hmoec_cpu_kernel_time(machine, HMOE_CPU_AVX512, NULL, &kernels[0], 1 << 20),
                    narrow = hmoec_cpu_kernel_time(machine, HMOE_CPU_PORTABLE, NULL, &kernels[0], 1 << 20);
  assert_true(narrow.row > 3 * wide.row && narrow.row < 10 * wide.row);
  assert_true(wide.split_row > 0);
  kernels[0].spec.matmul.a_in_place = true;
  assert_true(hmoec_cpu_kernel_time(machine, HMOE_CPU_AVX512, NULL, &kernels[0], 1 << 20).split_row == 0);
}

/* What a file says of a machine may be anything from 0 on. */
static void test_odd_machines(void **state) {
  (void)state;
  static const double values[] = {0, 1e-300, 1, 1e12};
  hmoec_kernel kernels[KERNELS];
  size_t count = all_kernels(kernels);
  for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
    hmoec_machine odd = {.version = HMOE_CPU_AVX2, .threads = v ? 1 : 0};
    for (int i = 0; i < HMOEC_CPU_NUMBERS; i++) odd.number[i] = values[v];
    for (size_t i = 0; i < count; i++)
      for (size_t version = 0; version < HMOE_CPU_COUNT; version++) {
        hmoec_task task = {.rows = 7, .keys = 9, .splits = 1, .weight_bytes = 1 << 24, .threads = 1};
        is_a_time(hmoec_cpu_task_time(&odd, version, NULL, &kernels[i], &task));
        is_a_time(hmoec_cpu_kernel_time(&odd, version, NULL, &kernels[i], 0).row);
      }
    hmoec_machine_rates rates = hmoec_cpu_rates(&odd, HMOE_CPU_AVX2, HMOEC_FORMAT_F32);
    assert_true(isfinite(rates.flops) && isfinite(rates.read) && isfinite(rates.touch) && isfinite(rates.step));
    is_a_time(hmoec_cpu_sharing_time(&odd).wake);
  }
}

static void test_numbers(void **state) {
  (void)state;
  for (int i = 0; i < HMOEC_CPU_NUMBERS; i++) {
    assert_non_null(hmoec_cpu_numbers[i].name);
    assert_non_null(hmoec_cpu_numbers[i].unit);
    for (int j = 0; j < i; j++) assert_string_not_equal(hmoec_cpu_numbers[i].name, hmoec_cpu_numbers[j].name);
    for (int m = 0; m < HMOEC_CPU_MACHINES; m++) is_a_time(hmoec_cpu_machines[m].number[i]);
  }
  assert_true((int)HMOEC_CPU_NUMBERS <= (int)HMOEC_MOST_NUMBERS);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes),        cmocka_unit_test(test_weights),
                                     cmocka_unit_test(test_splits),       cmocka_unit_test(test_three_numbers),
                                     cmocka_unit_test(test_odd_machines), cmocka_unit_test(test_numbers)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
