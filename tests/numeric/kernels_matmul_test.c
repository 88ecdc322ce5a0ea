/* MATMUL against plain loops in double precision: random descriptions and shapes, every version, splits bit for bit. */
#include "kernels_harness.h"

enum { GROUPS = 3, MAX_ROWS = 320, LDA = 208 };

typedef struct problem {
  hmoec_matmul_spec spec;
  int64_t rows, a_rows, c_rows, blocks, panels;
  harness_buffer a, b, c, blocks_buffer, gather, scatter, bias, row_gate, gated_bias, pass, pass_index;
  float *c_before;
} problem;

static double reference_activation(hmoec_activation activation, double x) {
  switch (activation) {
  case HMOEC_ACTIVATION_RELU: return x > 0 ? x : 0;
  case HMOEC_ACTIVATION_GELU: return 0.5 * x * (1 + erf(x / sqrt(2.0)));
  case HMOEC_ACTIVATION_GELU_NEW: return 0.5 * x * (1 + tanh(sqrt(2.0 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
  case HMOEC_ACTIVATION_SILU: return x / (1 + exp(-x));
  default: return x;
  }
}

static hmoec_matmul_spec random_spec(const hmoec_cpu_schedule *schedule, int64_t number) {
  static const int64_t depths[] = {1, 2, 3, 7, 16, 31, 48, 64, 97, 128, 200},
                       widths[] = {1, 5, 16, 31, 32, 33, 64, 70, 96, 101, 224};
  hmoec_matmul_spec s = {
      .k = depths[harness_below(11)], .n = widths[harness_below(11)], .row_block = 1 + harness_below(schedule->row_block)};
  int64_t panels = (s.n + 31) / 32;
  s.a_in_place = harness_coin();
  s.lda = s.a_in_place ? schedule->lda : s.k + harness_below(5);
  s.c_padded = harness_coin();
  s.ldc = s.c_padded ? panels * 32 + 16 * harness_below(2) : s.n + harness_below(4);
  s.grouped = number % 2;
  s.has_gather = !s.a_in_place && harness_coin();
  s.has_scatter = harness_coin();
  s.has_bias = harness_coin();
  s.has_row_gate = harness_coin();
  s.has_gated_bias = s.has_row_gate && harness_coin();
  s.has_pass = s.grouped && s.has_row_gate && harness_coin();
  s.accumulate = harness_coin();
  s.b_group_bytes = s.grouped ? panels * s.k * 32 * 4 + 64 * harness_below(2) : 0;
  s.bias_group_floats = s.n + harness_below(3);
  s.pass_ld = s.n + harness_below(3);
  s.segments = panels > 1 && harness_coin() ? 2 : 1;
  for (int64_t i = 0; i < s.segments; i++)
    s.segment[i] =
        (hmoec_matmul_segment){panels, (hmoec_activation)harness_below(HMOEC_ACTIVATION_COUNT), s.has_row_gate && harness_coin()};
  if (s.segments == 2) s.segment[0].panel_end = 1 + harness_below(panels - 1);
  if (s.grouped && harness_coin()) s.dropped_panel_begin = harness_below(panels + 1);
  if (s.grouped && harness_coin()) s.dropped_k_begin = harness_below(s.k);
  return s;
}

static harness_buffer random_permutation(int64_t count, int64_t range) { /* distinct numbers below range */
  harness_buffer b = harness_alloc((size_t)count * 4);
  int32_t all[2 * MAX_ROWS], *data = b.data;
  for (int64_t i = 0; i < range; i++) all[i] = (int32_t)i;
  for (int64_t i = 0; i < count; i++) {
    int64_t j = i + harness_below(range - i);
    data[i] = all[j];
    all[j] = all[i];
  }
  return b;
}

static problem problem_create(const hmoec_matmul_spec *s, int64_t rows) {
  problem p = {.spec = *s, .rows = rows, .panels = (s->n + 31) / 32};
  p.a_rows = rows + (s->has_gather ? 5 : 0);
  p.c_rows = rows + (s->has_scatter ? 3 : 0);
  p.a = harness_floats((p.a_rows + (s->a_in_place ? 16 : 0)) * s->lda);
  p.b = harness_floats(GROUPS * (s->grouped ? s->b_group_bytes / 4 : 0) + p.panels * s->k * 32);
  p.c = harness_floats(p.c_rows * s->ldc);
  p.bias = harness_floats((GROUPS - 1) * s->bias_group_floats + s->n);
  p.row_gate = harness_floats(rows);
  p.gated_bias = harness_floats(GROUPS * p.panels * 32);
  p.pass = harness_floats((rows + 1) * s->pass_ld);
  p.gather = random_permutation(rows, p.a_rows);
  p.scatter = random_permutation(rows, p.c_rows);
  p.pass_index = random_permutation(rows, rows + 1);
  p.c_before = malloc(p.c.bytes + 1);
  memcpy(p.c_before, p.c.data, p.c.bytes);

  p.blocks_buffer = harness_alloc(sizeof(hmoe_blocks) + sizeof(hmoe_block) * (size_t)(rows + 1));
  hmoe_block *block = (hmoe_block *)((hmoe_blocks *)p.blocks_buffer.data + 1);
  for (int64_t row = 0; s->grouped && row < rows; p.blocks++) {
    int64_t size = 1 + harness_below(s->row_block);
    if (size > rows - row) size = rows - row;
    block[p.blocks] = (hmoe_block){(int32_t)harness_below(GROUPS), (int32_t)row, (int32_t)size, harness_below(3) == 0};
    row += size;
  }
  if (!s->grouped) p.blocks = (rows + s->row_block - 1) / s->row_block;
  return p;
}

static void problem_destroy(problem *p) {
  harness_free(&p->a), harness_free(&p->b), harness_free(&p->c), harness_free(&p->blocks_buffer), harness_free(&p->gather);
  harness_free(&p->scatter), harness_free(&p->bias), harness_free(&p->row_gate), harness_free(&p->gated_bias),
      harness_free(&p->pass);
  harness_free(&p->pass_index);
  free(p->c_before);
}

/* C as it must be (zeros in the last panel's padding), and how far rounding may take it. */
static void reference_rows(const problem *p, int64_t row, int64_t rows, int64_t group, bool dropped, double *want, double *bound) {
  const hmoec_matmul_spec *s = &p->spec;
  const float *a = p->a.data, *b = p->b.data, *bias = p->bias.data, *gates = p->row_gate.data, *gated_bias = p->gated_bias.data;
  const float *pass = p->pass.data;
  for (int64_t r = row; r < row + rows; r++) {
    int64_t from = s->has_gather ? ((int32_t *)p->gather.data)[r] : r, to = s->has_scatter ? ((int32_t *)p->scatter.data)[r] : r;
    int64_t first = dropped ? s->dropped_panel_begin * 32 : 0;
    for (int64_t n = s->n; s->c_padded && first < s->n && n < p->panels * 32; n++) want[to * s->ldc + n] = 0;
    for (int64_t n = first; n < s->n; n++) {
      const float *panel = b + (s->grouped ? group * s->b_group_bytes / 4 : 0) + n / 32 * s->k * 32 + n % 32;
      double sum = 0, size = 0;
      for (int64_t k = dropped ? s->dropped_k_begin : 0; k < s->k; k++) {
        double product = (double)a[from * s->lda + k] * (double)panel[k * 32];
        sum += product;
        size += fabs(product);
      }
      const hmoec_matmul_segment *segment = &s->segment[s->segments == 2 && n / 32 >= s->segment[0].panel_end];
      double gate = s->has_row_gate ? (double)gates[r] : 0, v = sum;
      if (s->has_bias) v += (double)bias[group * s->bias_group_floats + n];
      v = reference_activation(segment->activation, v);
      if (segment->gated) v *= gate;
      bool passed = s->has_pass && dropped;
      if (s->has_gated_bias && !passed) v += gate * (double)gated_bias[group * p->panels * 32 + n];
      if (passed) v += gate * (double)pass[((int32_t *)p->pass_index.data)[r] * s->pass_ld + n];
      if (s->accumulate) v += (double)p->c_before[to * s->ldc + n];
      want[to * s->ldc + n] = v;
      bound[to * s->ldc + n] = 1e-6 * (size + 4);
    }
  }
}

static void check_problem(const harness_unit *u, size_t kernel, problem *p) {
  const hmoec_matmul_spec *s = &p->spec;
  size_t count = p->c.bytes / 4;
  double *want = malloc((count + 1) * 8), *bound = calloc(count + 1, 8);
  float *first = malloc(p->c.bytes + 1), *got = p->c.data;
  for (size_t i = 0; i < count; i++) want[i] = (double)p->c_before[i];
  const hmoe_block *block = (const hmoe_block *)((const hmoe_blocks *)p->blocks_buffer.data + 1);
  if (!s->grouped) reference_rows(p, 0, p->rows, 0, false, want, bound);
  for (int64_t i = 0; s->grouped && i < p->blocks; i++)
    reference_rows(p, block[i].row, block[i].rows, block[i].group, block[i].dropped, want, bound);

  void *buffers[11] = {p->a.data, p->b.data, p->c.data};
  if (s->grouped) buffers[3] = p->blocks_buffer.data;
  if (s->has_gather) buffers[4] = p->gather.data;
  if (s->has_scatter) buffers[5] = p->scatter.data;
  if (s->has_bias) buffers[6] = p->bias.data;
  if (s->has_row_gate) buffers[7] = p->row_gate.data;
  if (s->has_gated_bias) buffers[8] = p->gated_bias.data;
  if (s->has_pass) buffers[9] = p->pass.data, buffers[10] = p->pass_index.data;

  HARNESS_EACH_VERSION(v) for (int64_t splits = 1; splits <= p->panels; splits++) {
    memcpy(p->c.data, p->c_before, p->c.bytes);
    harness_run(u, v, kernel, buffers, p->rows, p->blocks, splits);
    for (size_t i = 0; i < count; i++) {
      if (!(fabs((double)got[i] - want[i]) <= bound[i]))
        fail_msg("kernel %zu version %d rows %" PRId64 " splits %" PRId64 ": C[%zu][%zu] is %g, expected %g", kernel, v, p->rows,
                 splits, i / (size_t)s->ldc, i % (size_t)s->ldc, (double)got[i], want[i]);
    }
    if (splits == 1) memcpy(first, got, p->c.bytes);
    assert_memory_equal(first, got, p->c.bytes);
  }
  free(want), free(bound), free(first);
}

static void test_random_specs(void **state) {
  (void)state;
  enum { KERNELS = 12, UNITS = 4 };
  static const int64_t row_counts[] = {0, 1, 2, 3, 5, 13, 14, 15, 29, 113, 300};
  for (int unit = 0; unit < UNITS; unit++) {
    hmoec_cpu_schedule schedule = hmoec_cpu_schedule_default(200);
    assert_int_equal(schedule.lda, LDA);
    schedule.row_block = 40;
    if (unit == UNITS - 1) /* another register tile */
      for (int v = 0; v <= HMOE_CPU_AVX512; v++) schedule.tile_rows[v] = 9 - 2 * v, schedule.tile_vectors[v] = 1 + (v > 0);
    hmoec_kernel kernels[KERNELS];
    for (int i = 0; i < KERNELS; i++)
      kernels[i] = (hmoec_kernel){.family = HMOEC_KERNEL_MATMUL, .spec.matmul = random_spec(&schedule, i)};
    harness_unit u = harness_compile(kernels, KERNELS, schedule);
    for (size_t i = 0; i < KERNELS; i++)
      for (size_t r = 0; r < sizeof row_counts / sizeof row_counts[0]; r++) {
        problem p = problem_create(&kernels[i].spec.matmul, row_counts[r]);
        check_problem(&u, i, &p);
        problem_destroy(&p);
      }
    harness_destroy(&u);
  }
}

/* The same rows in blocks of another size give the same bits. */
static void test_row_blocks_agree(void **state) {
  (void)state;
  hmoec_cpu_schedule schedule = hmoec_cpu_schedule_default(200);
  hmoec_kernel kernels[3];
  for (int i = 0; i < 3; i++) {
    hmoec_matmul_spec s = {.k = 173,
                           .n = 90,
                           .lda = 173,
                           .ldc = 90,
                           .row_block = (int64_t[]){1, 13, 112}[i],
                           .segments = 1,
                           .segment = {{3, HMOEC_ACTIVATION_GELU, false}}};
    kernels[i] = (hmoec_kernel){.family = HMOEC_KERNEL_MATMUL, .spec.matmul = s};
  }
  harness_unit u = harness_compile(kernels, 3, schedule);
  problem p = problem_create(&kernels[0].spec.matmul, 131);
  void *buffers[11] = {p.a.data, p.b.data, p.c.data};
  float *first = malloc(p.c.bytes);
  HARNESS_EACH_VERSION(v) for (size_t i = 0; i < 3; i++) {
    int64_t block = kernels[i].spec.matmul.row_block;
    harness_run(&u, v, i, buffers, 131, (131 + block - 1) / block, 2);
    if (i == 0) memcpy(first, p.c.data, p.c.bytes);
    assert_memory_equal(first, p.c.data, p.c.bytes);
  }
  free(first);
  problem_destroy(&p);
  harness_destroy(&u);
}

int main(void) {
  harness_seed();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_specs), cmocka_unit_test(test_row_blocks_agree)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
