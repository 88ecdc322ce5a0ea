/* FFN against its two products as steps of their own, through a hidden buffer: bit for bit the same, f32 and bf16, in every version and for
 * any number of hidden columns at one time. The two steps are compared with plain loops first. */
#include "matmul_problem.h"

enum { SPECS = 3, CHUNKS = 3, FIRST = 0, SECOND = SPECS, FUSED = 2 * SPECS, KERNELS = (2 + CHUNKS) * SPECS, WIDEST = 224 };

static hmoec_ffn_spec random_ffn(const hmoec_cpu_schedule *schedule, bool bf16, bool grouped) {
  hmoec_ffn_spec ffn = {random_spec(schedule, bf16, grouped), random_spec(schedule, bf16, grouped), 1};
  hmoec_matmul_spec *first = &ffn.first, *second = &ffn.second;
  int64_t hidden = harness_up(first->n, 32), lda = bf16 ? schedule->lda_bf16 : schedule->lda;
  first->has_scatter = first->dropped_bare = first->has_pass = first->has_gated_bias = first->accumulate = false;
  first->c_padded = true;
  first->c_format = harness_format(bf16);
  first->c_stride = lda;
  first->dropped_k_begin = 0;
  second->paired = false;
  first->segment[0].multiply = first->segment[1].multiply = second->segment[0].multiply = second->segment[1].multiply = false;
  if (!grouped && !first->a_in_place && !hmoec_is_bf16(first->a_format)) {
    first->norm = (hmoec_norm)harness_below(HMOEC_NORM_COUNT);
    first->norm_epsilon = 1e-5;
    first->norm_scale = harness_coin() ? 1.0 : 0.5;
  }
  if (harness_below(4) == 0) first->dropped_column = hidden; /* a dropped row has no hidden values */

  second->k = harness_coin() ? first->n : hidden;
  second->b_group_bytes = bf16 ? harness_pairs_bytes(second->k, second->n) : harness_panels_bytes(second->k, second->n);
  second->b_group_bytes = grouped ? second->b_group_bytes + 64 * harness_below(2) : 0;
  second->a_in_place = true;
  second->a_format = harness_format(bf16);
  second->a_stride = lda;
  second->has_gather = false;
  second->row_block = first->row_block;
  second->dropped_column = 0;
  second->dropped_k_begin = first->dropped_column < second->k ? first->dropped_column : second->k;
  return ffn;
}

static void bind_fused(const problem *first, const problem *second, void *out_buffers[BINDINGS]) {
  problem_bind(second, out_buffers);
  out_buffers[0] = first->a.data;
  out_buffers[4] = first->spec.has_gather ? first->gather.data : NULL;
  if (first->spec.has_row_gate) out_buffers[7] = first->row_gate.data;
  out_buffers[11] = first->b.data;
  out_buffers[12] = first->spec.has_bias ? first->bias.data : NULL;
  if (first->spec.norm != HMOEC_NORM_NONE) out_buffers[13] = first->norm_weight.data;
  if (first->spec.norm == HMOEC_NORM_LAYER) out_buffers[14] = first->norm_bias.data;
}

/* The rows of `second`'s A are the hidden buffer. Returns how many elements of C changed. */
static int64_t check_ffn(const harness_unit *u, int64_t number, int64_t rows) {
  problem first = problem_create(&u->kernels[FIRST + number].spec.matmul, rows, NULL);
  problem second = problem_create(&u->kernels[SECOND + number].spec.matmul, rows, &first);
  void *buffers[BINDINGS], *want = malloc(second.c.bytes + 1);
  int64_t changed = 0;
  HARNESS_EACH_VERSION(*u, v) {
    memset(second.a.data, 0xff, second.a.bytes);
    memcpy(second.c.data, second.c_before, second.c.bytes);
    problem_bind(&first, buffers);
    buffers[2] = second.a.data;
    harness_run(u, v, (size_t)(FIRST + number), buffers, rows, first.blocks, 1);
    problem_bind(&second, buffers);
    harness_run(u, v, (size_t)(SECOND + number), buffers, rows, first.blocks, 1);
    if (rows <= 33) {
      expectation e = problem_expect(&second);
      int64_t wrong = problem_wrong(&second, &e);
      if (wrong >= 0) problem_fail(&second, "the second step", v, 1, wrong, e.want[wrong]);
      expectation_destroy(&e);
    }
    memcpy(want, second.c.data, second.c.bytes);
    changed += memcmp(want, second.c_before, second.c.bytes) != 0;

    bind_fused(&first, &second, buffers);
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
      size_t kernel = (size_t)(FUSED + number * CHUNKS + chunk);
      memcpy(second.c.data, second.c_before, second.c.bytes);
      harness_run(u, v, kernel, buffers, rows, first.blocks, 1);
      for (int64_t i = 0; i < problem_c_count(&second); i++) {
        float is = element(second.c.data, hmoec_is_bf16(second.spec.c_format), i),
              was = element(want, hmoec_is_bf16(second.spec.c_format), i);
        if (memcmp(&is, &was, 4) == 0) continue;
        print_error("chunks of %" PRId64 " columns, first:", u->kernels[kernel].spec.ffn.chunk_columns);
        print_spec(&first.spec);
        problem_fail(&second, "fused and in two steps", v, 1, i, (double)was);
      }
    }
  }
  problem_destroy(&first);
  problem_destroy(&second);
  free(want);
  return changed;
}

static void check_unit(hmoec_cpu_schedule schedule, bool bf16) {
  static const int64_t counts[] = {0, 1, 2, 4, 5, 15, 16, 17, 31, 33, 70, 113};
  hmoec_kernel kernels[KERNELS];
  for (int i = 0; i < SPECS; i++) {
    hmoec_ffn_spec ffn = random_ffn(&schedule, bf16, i % 2);
    int64_t hidden_panels = (ffn.first.n + 31) / 32, chunks[CHUNKS] = {1, harness_coin() ? 2 : 8, hidden_panels};
    kernels[FIRST + i] = (hmoec_kernel){.family = HMOEC_KERNEL_MATMUL, .spec.matmul = ffn.first};
    kernels[SECOND + i] = (hmoec_kernel){.family = HMOEC_KERNEL_MATMUL, .spec.matmul = ffn.second};
    ffn.first.c_stride = hidden_panels * 32; /* there is no buffer */
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
      ffn.chunk_columns = 32 * chunks[chunk];
      kernels[FUSED + i * CHUNKS + chunk] = (hmoec_kernel){.family = HMOEC_KERNEL_FFN, .spec.ffn = ffn};
    }
  }
  harness_unit u = harness_compile(kernels, KERNELS, schedule);
  for (int i = 0; i < SPECS; i++) {
    int64_t changed = 0;
    for (size_t r = 0; r < sizeof counts / sizeof counts[0]; r++) changed += check_ffn(&u, i, counts[r]);
    assert_true(changed > 0);
  }
  harness_destroy(&u);
}

static void check_units(bool bf16) {
  hmoec_cpu_schedule schedule = hmoec_cpu_schedule_default(WIDEST);
  schedule.row_block = 40;
  check_unit(schedule, bf16);
  schedule.row_block = 112;
  random_tiles(&schedule);
  check_unit(schedule, bf16);
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
  setenv("HMOE_TEST_EMULATE_AMX", "1", 1); /* which looks at what tiles are loaded for; kernels_bf16_test runs on AMX itself */
  harness_seed();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_f32), cmocka_unit_test(test_bf16)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
