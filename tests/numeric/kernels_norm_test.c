/* NORM and EMBED against plain loops in double precision, every version; products that normalise rows against NORM and a product that does
 * not, bit for bit. */
#include "matmul_problem.h"

static const int64_t some_rows[] = {0, 1, 2, 13, 33, 130};
enum { SOME_ROWS = sizeof some_rows / sizeof some_rows[0] };

static int64_t blocks_of(int64_t rows, int64_t row_block) { return (rows + row_block - 1) / row_block; }

/* out[0:n) */
static void reference_norm(hmoec_norm kind, const float *x, const float *weight, const float *bias, int64_t n, double epsilon,
                           double scale, double *out) {
  double mean = 0, squares = 0;
  for (int64_t i = 0; kind == HMOEC_NORM_LAYER && i < n; i++) mean += (double)x[i] / (double)n;
  for (int64_t i = 0; i < n; i++) squares += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
  for (int64_t i = 0; i < n; i++) {
    out[i] = ((double)x[i] - mean) / sqrt(squares + epsilon) * (double)weight[i];
    if (kind == HMOEC_NORM_LAYER) out[i] += (double)bias[i];
    out[i] *= scale;
  }
}

/* ---- NORM ---- */

static hmoec_norm_spec random_norm(void) {
  static const int64_t widths[] = {1, 5, 16, 17, 31, 33, 64, 100, 131, 768};
  hmoec_norm_spec s = {.kind = harness_coin() ? HMOEC_NORM_RMS : HMOEC_NORM_LAYER,
                       .n = widths[harness_below(10)],
                       .epsilon = harness_coin() ? 1e-6 : 1e-5,
                       .scale = harness_coin() ? 1.0 : 0.125,
                       .out_format = harness_format(harness_coin()),
                       .has_index = harness_coin(),
                       .row_block = 1 + harness_below(20)};
  s.ld_x = s.n + harness_below(4);
  s.ld_out = harness_coin() ? s.n + harness_below(40) : harness_up(s.n, 32) + 16 * harness_below(2);
  return s;
}

static void check_norm(const harness_unit *u, size_t kernel, int64_t rows) {
  const hmoec_norm_spec *s = &u->kernels[kernel].spec.norm;
  harness_buffer x = harness_floats((rows + 1) * s->ld_x), weight = harness_floats(s->n), bias = harness_floats(s->n);
  harness_buffer index = harness_alloc((size_t)rows * 4),
                 out = harness_alloc((size_t)(rows * s->ld_out) * (hmoec_is_bf16(s->out_format) ? 2 : 4));
  for (int64_t r = 0; r < rows; r++) ((int32_t *)index.data)[r] = (int32_t)harness_below(rows + 1);
  float *from = x.data, away = harness_coin() ? 0.0f : 3.0f;
  for (int64_t i = 0; i < (rows + 1) * s->ld_x; i++) {
    from[i] += away;
    if (i % s->ld_x >= s->n || (i / s->ld_x == rows && !s->has_index)) from[i] = NAN;
  }
  double *want = malloc((size_t)(rows * s->ld_out + 1) * 8);
  for (int64_t i = 0; i < rows * s->ld_out; i++)
    want[i] = i % s->ld_out < harness_up(s->n, 32) ? 0 : (double)harness_from_bf16(0x4049);
  for (int64_t r = 0; r < rows; r++)
    reference_norm(s->kind, from + (s->has_index ? ((int32_t *)index.data)[r] : r) * s->ld_x, weight.data, bias.data, s->n,
                   s->epsilon, s->scale, want + r * s->ld_out);
  HARNESS_EACH_VERSION(*u, v) {
    for (int64_t i = 0; i < rows * s->ld_out; i++)
      element_set(out.data, hmoec_is_bf16(s->out_format), i, harness_from_bf16(0x4049));
    void *buffers[] = {from, weight.data, s->kind == HMOEC_NORM_LAYER ? bias.data : NULL, out.data,
                       s->has_index ? index.data : NULL};
    harness_run(u, v, kernel, buffers, rows, blocks_of(rows, s->row_block), 1);
    for (int64_t i = 0; i < rows * s->ld_out; i++) {
      double got = (double)element(out.data, hmoec_is_bf16(s->out_format), i), bound = 2e-6 * (1 + fabs(want[i]) + (double)away);
      if (hmoec_is_bf16(s->out_format)) bound += fabs(want[i]) * 0x1p-8;
      if (s->n < 3) bound *= 300; /* what is left of x - mean(x) is rounding */
      if (i % s->ld_out >= s->n) bound = 0;
      if (!(fabs(got - want[i]) <= bound))
        fail_msg("norm kind %d, n %" PRId64 ", rows %" PRId64 ", version %d: out[%" PRId64 "][%" PRId64 "] is %.9g, expected %.9g",
                 s->kind, s->n, rows, v, i / s->ld_out, i % s->ld_out, got, want[i]);
    }
  }
  harness_free(&x), harness_free(&weight), harness_free(&bias), harness_free(&index), harness_free(&out);
  free(want);
}

static void test_norm(void **state) {
  (void)state;
  enum { KERNELS = 16 };
  hmoec_kernel kernels[KERNELS + 1];
  for (int i = 0; i < KERNELS; i++) kernels[i] = (hmoec_kernel){.family = HMOEC_KERNEL_NORM, .spec.norm = random_norm()};
  kernels[KERNELS] = problem_bf16_product();
  harness_unit u = harness_compile(kernels, KERNELS + HARNESS_BF16_PRODUCTS, hmoec_cpu_schedule_default(64));
  for (size_t i = 0; i < KERNELS; i++)
    for (int r = 0; r < SOME_ROWS; r++) check_norm(&u, i, some_rows[r]);
  harness_destroy(&u);
}

/* ---- MATMUL with a norm ---- */

enum { NORMALISING = 0, NORM_STEP, PRODUCT_STEP, STEPS };

static void check_normalising(const harness_unit *u, size_t first, int64_t rows) {
  const hmoec_matmul_spec *s = &u->kernels[first + NORMALISING].spec.matmul;
  const hmoec_norm_spec *n = &u->kernels[first + NORM_STEP].spec.norm;
  problem p = problem_create(s, rows, NULL);
  void *buffers[BINDINGS], *want = malloc(p.c.bytes + 1);
  problem_bind(&p, buffers);
  harness_buffer normalised = harness_alloc((size_t)(p.a_rows * n->ld_out) * (hmoec_is_bf16(s->format) ? 2 : 4));
  HARNESS_EACH_VERSION(*u, v) {
    harness_run(u, v, first + NORM_STEP, (void *[]){buffers[0], buffers[11], buffers[12], normalised.data, NULL}, p.a_rows,
                blocks_of(p.a_rows, n->row_block), 1);
    void *step[BINDINGS];
    memcpy(step, buffers, sizeof step);
    step[0] = normalised.data, step[11] = step[12] = NULL;
    memcpy(p.c.data, p.c_before, p.c.bytes);
    harness_run(u, v, first + PRODUCT_STEP, step, rows, p.blocks, 1);
    memcpy(want, p.c.data, p.c.bytes);
    for (int64_t splits = 1; splits <= p.panels; splits += p.panels > 1 ? p.panels - 1 : 1) {
      memcpy(p.c.data, p.c_before, p.c.bytes);
      harness_run(u, v, first + NORMALISING, buffers, rows, p.blocks, splits);
      for (int64_t i = 0; i < problem_c_count(&p); i++)
        if (isnan(element(want, hmoec_is_bf16(s->c_format), i))) problem_fail(&p, "NaN", v, splits, i, 0);
      if (memcmp(want, p.c.data, p.c.bytes) != 0) problem_fail(&p, "normalised before and within", v, splits, 0, NAN);
    }
  }
  harness_free(&normalised);
  problem_destroy(&p);
  free(want);
}

static void test_products(void **state) {
  (void)state;
  enum { SPECS = 10 };
  hmoec_cpu_schedule schedule = hmoec_cpu_schedule_default(DEEPEST);
  schedule.row_block = HARNESS_MOST_BLOCK_ROWS;
  hmoec_kernel kernels[SPECS * STEPS];
  for (int i = 0; i < SPECS; i++) {
    bool bf16 = HARNESS_BF16_PRODUCTS && i % 2;
    hmoec_matmul_spec s = random_spec(&schedule, bf16, false);
    s.a_in_place = false;
    s.a_format = HMOEC_FORMAT_F32;
    s.a_stride = s.k + harness_below(5);
    s.norm = i % 4 < 2 ? HMOEC_NORM_RMS : HMOEC_NORM_LAYER;
    s.norm_epsilon = 1e-5;
    s.norm_scale = harness_coin() ? 1.0 : 0.25;
    kernels[i * STEPS + NORMALISING] = (hmoec_kernel){.family = HMOEC_KERNEL_MATMUL, .spec.matmul = s};
    kernels[i * STEPS + NORM_STEP] = (hmoec_kernel){.family = HMOEC_KERNEL_NORM,
                                                    .spec.norm = {.kind = s.norm,
                                                                  .n = s.k,
                                                                  .ld_x = s.a_stride,
                                                                  .ld_out = s.k,
                                                                  .epsilon = 1e-5,
                                                                  .scale = s.norm_scale,
                                                                  .out_format = harness_format(bf16),
                                                                  .row_block = 7}};
    s.norm = HMOEC_NORM_NONE;
    s.a_format = harness_format(bf16);
    s.a_stride = s.k;
    kernels[i * STEPS + PRODUCT_STEP] = (hmoec_kernel){.family = HMOEC_KERNEL_MATMUL, .spec.matmul = s};
  }
  harness_unit u = harness_compile(kernels, SPECS * STEPS, schedule);
  for (size_t i = 0; i < SPECS; i++)
    for (int r = 0; r < SOME_ROWS; r++) check_normalising(&u, i * STEPS, some_rows[r]);
  harness_destroy(&u);
}

/* ---- EMBED ---- */

static void check_embed(const harness_unit *u, size_t kernel, int64_t rows) {
  enum { VOCABULARY = 77 };
  const hmoec_embed_spec *s = &u->kernels[kernel].spec.embed;
  float *transposed = malloc((size_t)(s->n * VOCABULARY) * 4); /* [n, VOCABULARY] */
  for (int64_t i = 0; i < s->n * VOCABULARY; i++) transposed[i] = harness_float();
  bool pairs = s->layout == HMOEC_TABLE_RIGHT && hmoec_is_bf16(s->format);
  harness_buffer table = harness_alloc((size_t)(s->layout == HMOEC_TABLE_ROWS ? s->n * VOCABULARY * 4
                                                : pairs                       ? harness_pairs_bytes(s->n, VOCABULARY)
                                                                              : harness_panels_bytes(s->n, VOCABULARY)));
  if (pairs) harness_pack_pairs(transposed, s->n, VOCABULARY, table.data);
  else if (s->layout == HMOEC_TABLE_RIGHT) harness_pack_panels(transposed, s->n, VOCABULARY, table.data);
  for (int64_t i = 0; s->layout == HMOEC_TABLE_ROWS && i < s->n * VOCABULARY; i++)
    ((float *)table.data)[i] = transposed[i % s->n * VOCABULARY + i / s->n];
  harness_buffer ids = harness_alloc((size_t)rows * 4), out = harness_floats(rows * s->ld_out);
  for (int64_t r = 0; r < rows; r++) ((int32_t *)ids.data)[r] = (int32_t)(r == 0 ? VOCABULARY - 1 : harness_below(VOCABULARY));
  float *before = malloc(out.bytes + 1), *got = out.data;
  memcpy(before, got, out.bytes);
  HARNESS_EACH_VERSION(*u, v) {
    memcpy(got, before, out.bytes);
    harness_run(u, v, kernel, (void *[]){ids.data, table.data, got}, rows, blocks_of(rows, s->row_block), 1);
    for (int64_t i = 0; i < rows * s->ld_out; i++) {
      float want = before[i], x;
      if (i % s->ld_out < s->n) {
        x = transposed[i % s->ld_out * VOCABULARY + ((int32_t *)ids.data)[i / s->ld_out]];
        if (pairs) x = harness_from_bf16(harness_bf16(x));
        want = s->accumulate ? want + x : x;
      }
      if (got[i] != want)
        fail_msg("embed n %" PRId64 ", version %d: out[%" PRId64 "] is %g, expected %g", s->n, v, i, (double)got[i], (double)want);
    }
  }
  harness_free(&table), harness_free(&ids), harness_free(&out);
  free(transposed), free(before);
}

static void test_embed(void **state) {
  (void)state;
  static const int64_t widths[] = {1, 2, 31, 64, 77, 100};
  enum { KERNELS = 18 };
  hmoec_kernel kernels[KERNELS];
  for (int i = 0; i < KERNELS; i++) {
    int64_t n = widths[i / 3];
    kernels[i] = (hmoec_kernel){.family = HMOEC_KERNEL_EMBED,
                                .spec.embed = {n, n + harness_below(3), i % 3 ? HMOEC_TABLE_RIGHT : HMOEC_TABLE_ROWS,
                                               harness_format(i % 3 == 2), harness_coin(), 1 + harness_below(20)}};
  }
  harness_unit u = harness_compile(kernels, KERNELS, hmoec_cpu_schedule_default(64));
  for (size_t i = 0; i < KERNELS; i++)
    for (int r = 0; r < SOME_ROWS; r++) check_embed(&u, i, some_rows[r]);
  harness_destroy(&u);
}

int main(void) {
  harness_seed();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_norm), cmocka_unit_test(test_products), cmocka_unit_test(test_embed)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
