/* ROUTE, COMBINE, SELECT, CONTRACT, ROWS and MAP against plain loops in double precision, every version. */
#include <float.h>

#include "kernels_harness.h"

static const int64_t row_counts[] = {0, 1, 2, 13, 33, 130};
enum { ROW_COUNTS = sizeof row_counts / sizeof row_counts[0] };

static int64_t blocks_of(int64_t rows, int64_t row_block) { return (rows + row_block - 1) / row_block; }

static void check_near(const float *got, const double *want, int64_t count, double bound, const char *what, int version) {
  for (int64_t i = 0; i < count; i++)
    if (isnan(want[i])   ? !isnan(got[i])
        : isinf(want[i]) ? (double)got[i] != want[i]
                         : !(fabs((double)got[i] - want[i]) <= bound * (1 + fabs(want[i]))))
      fail_msg("%s, version %d: element %" PRId64 " is %g, expected %g", what, version, i, (double)got[i], want[i]);
}

/* ---- ROUTE ---- */

static bool comes_before(float a, float b) { return isnan(a) ? !isnan(b) : a > b; } /* NaN counts as the largest value */

/* Gates that are relu or sigmoid of the logit. Of relu the scores decide; no rounding is in the way. */
static void reference_score(const hmoec_route_spec *s, const float *x, int32_t *indices, double *gates) {
  bool taken[1024] = {false}, relu = s->score == HMOEC_ACTIVATION_RELU;
  double sum = 0;
  for (int64_t k = 0; k < s->top_k; k++) {
    int64_t index = -1;
    for (int64_t j = 0; j < s->experts; j++) {
      float key = relu && x[j] < 0 ? 0 : x[j];
      if (!taken[j] && (index < 0 || comes_before(key, relu && x[index] < 0 ? 0 : x[index]))) index = j;
    }
    taken[index] = true;
    indices[k] = (int32_t)index;
    double logit = (double)x[index];
    gates[k] = !relu ? 1 / (1 + exp(-logit)) : logit < 0 ? 0 : logit;
    sum += gates[k];
  }
  for (int64_t k = 0; s->renorm && k < s->top_k; k++) gates[k] = sum == 0 ? 0 : gates[k] / sum;
}

static void reference_route(const hmoec_route_spec *s, const float *x, int32_t *indices, double *gates) {
  if (s->gate == HMOEC_GATE_SCORE) {
    reference_score(s, x, indices, gates);
    return;
  }
  bool taken[1024] = {false};
  double all = 0, selected = 0, best = 0;
  for (int64_t k = 0; k < s->top_k; k++) {
    int64_t index = -1;
    for (int64_t j = 0; j < s->experts; j++)
      if (!taken[j] && (index < 0 || comes_before(x[j], x[index]))) index = j;
    taken[index] = true;
    indices[k] = (int32_t)index;
    if (k == 0) best = (double)x[index];
    gates[k] = exp((double)x[index] - best);
    selected += gates[k];
  }
  for (int64_t j = 0; j < s->experts; j++) all += exp((double)x[j] - best);
  for (int64_t k = 0; k < s->top_k; k++) gates[k] /= s->gate == HMOEC_GATE_SOFTMAX_THEN_TOPK ? all : selected;
}

static void test_route(void **state) {
  (void)state;
  static const int64_t experts[] = {1, 2, 3, 8, 15, 16, 17, 64, 101, 256, 70, 300}, ks[] = {1, 1, 2, 8, 3, 2, 17, 6, 4, 8, 70, 5};
  enum { SIZES = 12, KERNELS = 2 * SIZES };
  hmoec_kernel kernels[KERNELS];
  for (int i = 0; i < SIZES; i++) {
    hmoec_route_spec s = {.experts = experts[i], .top_k = ks[i], .ldl = experts[i] + harness_below(4), .row_block = 16};
    s.gate = (hmoec_gate)(i % HMOEC_GATE_SCORE);
    kernels[i] = (hmoec_kernel){.family = HMOEC_KERNEL_ROUTE, .spec.route = s};
    s.gate = HMOEC_GATE_SCORE;
    s.score = harness_below(3) ? HMOEC_ACTIVATION_SIGMOID : HMOEC_ACTIVATION_RELU;
    s.renorm = harness_below(2);
    kernels[SIZES + i] = (hmoec_kernel){.family = HMOEC_KERNEL_ROUTE, .spec.route = s};
  }
  harness_unit u = harness_compile(kernels, KERNELS, hmoec_cpu_schedule_default(64));
  for (size_t i = 0; i < KERNELS; i++)
    for (int r = 0; r < ROW_COUNTS; r++) {
      const hmoec_route_spec *s = &kernels[i].spec.route;
      int64_t rows = row_counts[r];
      harness_buffer logits = harness_floats(rows * s->ldl), indices = harness_floats(rows * s->top_k),
                     gates = harness_floats(rows * s->top_k);
      float *x = logits.data;
      for (int64_t j = 0; j < rows * s->ldl; j++) { /* ties, and what must not break the choice, in some rows rarely */
        bool is_wild = j / s->ldl % 2;
        static const float special[] = {0, -0.0f, NAN, -INFINITY, -FLT_MAX, 80, -80, 1e30f, INFINITY, -NAN, 1e-40f};
        int64_t pick = harness_below(is_wild ? 40 : 400);
        x[j] = pick < 11 ? special[pick] : pick < 23 ? (float)harness_below(3) : 4 * x[j];
        if (r == 3) x[j] = NAN;
        if (r == 2) x[j] = -INFINITY;
      }
      int32_t *want_index = malloc(4 * (size_t)(rows * s->top_k + 1));
      double *want = malloc(8 * (size_t)(rows * s->top_k + 1));
      for (int64_t t = 0; t < rows; t++) reference_route(s, x + t * s->ldl, want_index + t * s->top_k, want + t * s->top_k);
      HARNESS_EACH_VERSION(u, v) {
        harness_run(&u, v, i, (void *[]){x, indices.data, gates.data}, rows, blocks_of(rows, s->row_block), 1);
        assert_memory_equal(indices.data, want_index, 4 * (size_t)(rows * s->top_k));
        check_near(gates.data, want, rows * s->top_k, 1e-6, "route", v);
      }
      harness_free(&logits), harness_free(&indices), harness_free(&gates);
      free(want_index), free(want);
    }
  harness_destroy(&u);
}

/* ---- COMBINE ---- */

static void test_combine(void **state) {
  (void)state;
  static const hmoec_combine_spec specs[] = {{1, 1, 1, 2, false, 7},
                                             {17, 2, 20, 17, true, 16},
                                             {64, 3, 64, 64, false, 16},
                                             {100, 8, 112, 101, true, 1},
                                             {1300, 2, 1304, 1301, true, 3}};
  enum { KERNELS = sizeof specs / sizeof *specs };
  hmoec_kernel kernels[KERNELS];
  for (int i = 0; i < KERNELS; i++) kernels[i] = (hmoec_kernel){.family = HMOEC_KERNEL_COMBINE, .spec.combine = specs[i]};
  harness_unit u = harness_compile(kernels, KERNELS, hmoec_cpu_schedule_default(64));
  for (size_t i = 0; i < KERNELS; i++)
    for (int r = 0; r < ROW_COUNTS; r++) {
      const hmoec_combine_spec *s = &specs[i];
      int64_t rows = row_counts[r];
      harness_buffer slots = harness_floats(rows * s->top_k * s->ld_slots), y = harness_floats(rows * s->ld_y);
      float *before = malloc(y.bytes + 1), *got = y.data, *from = slots.data;
      double *want = malloc(8 * (y.bytes / 4 + 1));
      memcpy(before, got, y.bytes);
      for (int64_t j = 0; j < rows * s->ld_y; j++) {
        want[j] = (double)before[j];
        if (j % s->ld_y >= s->n) continue;
        if (!s->accumulate) want[j] = 0;
        for (int64_t k = 0; k < s->top_k; k++) want[j] += (double)from[(j / s->ld_y * s->top_k + k) * s->ld_slots + j % s->ld_y];
      }
      HARNESS_EACH_VERSION(u, v) {
        memcpy(got, before, y.bytes);
        harness_run(&u, v, i, (void *[]){from, got}, rows, blocks_of(rows, s->row_block), 1);
        check_near(got, want, rows * s->ld_y, 1e-6, "combine", v);
      }
      harness_free(&slots), harness_free(&y);
      free(before), free(want);
    }
  harness_destroy(&u);
}

/* ---- SELECT ---- */

static void test_select(void **state) {
  (void)state;
  static const hmoec_select_spec specs[] = {{3, 1, 1, 4, HMOEC_UNSELECTED, false, 5},
                                            {8, 2, 31, 48, HMOEC_UNSELECTED, true, 16},
                                            {8, 8, 64, 64, HMOEC_UNSELECTED, true, 16}, /* of none: 0 */
                                            {16, 3, 100, 101, HMOEC_SELECTED, true, 16},
                                            {1, 1, 16, 16, HMOEC_SELECTED, false, 1}};
  enum { KERNELS = 5 };
  hmoec_kernel kernels[KERNELS];
  for (int i = 0; i < KERNELS; i++) kernels[i] = (hmoec_kernel){.family = HMOEC_KERNEL_SELECT, .spec.select = specs[i]};
  harness_unit u = harness_compile(kernels, KERNELS, hmoec_cpu_schedule_default(64));
  for (size_t i = 0; i < KERNELS; i++)
    for (int r = 0; r < ROW_COUNTS; r++) {
      const hmoec_select_spec *s = &specs[i];
      int64_t rows = row_counts[r];
      harness_buffer sets = harness_alloc((size_t)(rows * s->top_k) * 4), table = harness_floats(s->experts * s->embedding);
      harness_buffer out = harness_floats(rows * s->ld_out);
      int32_t *set = sets.data;
      double *want = calloc((size_t)(rows * s->ld_out) + 1, 8);
      for (int64_t t = 0; t < rows; t++) {
        bool member[16] = {false};
        for (int64_t k = 0; k < s->top_k; k++) {
          int64_t j;
          do j = harness_below(s->experts);
          while (member[j]);
          member[j] = true;
          set[t * s->top_k + k] = (int32_t)j;
        }
        for (int64_t c = 0; c < s->embedding; c++) {
          for (int64_t j = 0; j < s->experts; j++)
            if (member[j] == (s->of == HMOEC_SELECTED))
              want[t * s->ld_out + c] += (double)((float *)table.data)[j * s->embedding + c];
          int64_t summed = s->of == HMOEC_SELECTED ? s->top_k : s->experts - s->top_k;
          if (s->mean && summed) want[t * s->ld_out + c] /= (double)summed;
        }
      }
      HARNESS_EACH_VERSION(u, v) {
        harness_run(&u, v, i, (void *[]){set, table.data, out.data}, rows, blocks_of(rows, s->row_block), 1);
        check_near(out.data, want, rows * s->ld_out, 2e-6, "select", v);
      }
      harness_free(&sets), harness_free(&table), harness_free(&out);
      free(want);
    }
  harness_destroy(&u);
}

/* ---- CONTRACT ---- */

static void test_contract(void **state) {
  (void)state;
  enum { KERNELS = 4 };
  static const int64_t hiddens[KERNELS] = {1, 15, 64, 37}, bottlenecks[KERNELS] = {1, 32, 64, 45};
  hmoec_kernel kernels[KERNELS];
  for (int i = 0; i < KERNELS; i++) {
    int64_t h = hiddens[i], b = bottlenecks[i];
    kernels[i] =
        (hmoec_kernel){.family = HMOEC_KERNEL_CONTRACT,
                       .spec.contract = {h, b, harness_up(b, 32) * (h + 1), h + 1, b + i, b * (h + 1) + i, 32, i % 2 == 1, 8}};
  }
  harness_unit u = harness_compile(kernels, KERNELS, hmoec_cpu_schedule_default(64));
  for (size_t i = 0; i < KERNELS; i++)
    for (int r = 0; r < ROW_COUNTS; r++) {
      const hmoec_contract_spec *s = &kernels[i].spec.contract;
      int64_t rows = row_counts[r], entries = s->hidden + 1;
      harness_buffer t1 = harness_floats(rows * s->ld1), rr = harness_floats(rows * s->ldr), beta = harness_floats(rows * s->ldb);
      harness_buffer v_out = harness_floats(rows * s->ldv);
      double *want = malloc((size_t)(rows * s->ldv) * 8 + 1);
      for (int64_t j = 0; j < rows * s->ldv; j++) want[j] = (double)((float *)v_out.data)[j];
      for (int64_t t = 0; t < rows; t++)
        for (int64_t k = 0; k < s->bottleneck; k++) {
          double z = s->has_beta ? (double)((float *)beta.data)[t * s->ldb + k] : 0;
          for (int64_t m = 0; m <= s->hidden; m++) {
            double rho = m < s->hidden ? (double)((float *)rr.data)[t * s->ldr + m] : 1;
            z += rho * (double)((float *)t1.data)[t * s->ld1 + (k / 32 * entries + m) * 32 + k % 32];
          }
          if (z < 0) z = 0;
          for (int64_t m = 0; m <= s->hidden; m++)
            want[t * s->ldv + k * entries + m] = z * (m < s->hidden ? (double)((float *)rr.data)[t * s->ldr + m] : 1);
        }
      HARNESS_EACH_VERSION(u, v) {
        harness_run(&u, v, i, (void *[]){t1.data, rr.data, s->has_beta ? beta.data : NULL, v_out.data}, rows,
                    blocks_of(rows, s->row_block), 1);
        check_near(v_out.data, want, rows * s->ldv, 1e-5, "contract", v);
      }
      harness_free(&t1), harness_free(&rr), harness_free(&beta), harness_free(&v_out);
      free(want);
    }
  harness_destroy(&u);
}

/* ---- ROWS ---- */

static void test_rows(void **state) {
  (void)state;
#define RELU HMOEC_ACTIVATION_RELU
#define FACTOR .has_factor = true, .scale = 0.5, .row_block = 16
  static const hmoec_rows_spec specs[] = {
      {.n = 1, .ld_in = 1, .in_step = 1, .ld_out = 16, .padding = 15, .scale = 1, .row_block = 4},
      {.n = 31, .ld_in = 33, .in_step = 1, .ld_out = 48, .padding = 17, .scale = 1, .has_index = true, .row_block = 16},
      {.n = 64, .ld_in = 64, .in_step = 1, .ld_out = 64, .scale = 1, .has_index = true, .activation = RELU, .row_block = 16},
      {.n = 70, .ld_in = 80, .in_step = 1, .ld_out = 70, .scale = 1, .accumulate = true, .row_block = 3},
      {.n = 37, .ld_in = 37, .in_step = 1, .ld_out = 64, .scale = 1, .accumulate = true, .activation = RELU, .row_block = 16},
      {.n = 21, .ld_in = 32, .in_step = 1, .ld_out = 32, .scale = -0.125, .row_block = 16},
      {.n = 9, .ld_in = 32, .in_step = 1, .ld_out = 32, .padding = 5, .scale = 1, .row_block = 16},
      {.n = 45, .ld_in = 48, .in_step = 1, .ld_out = 64, .ld_factor = 47, FACTOR, .factor_columns = true, .activation = RELU},
      {.n = 33, .ld_in = 48, .in_step = 1, .ld_out = 64, .ld_factor = 3, FACTOR, .padding = 31},
      {.n = 17, .ld_in = 17, .in_step = 1, .ld_out = 20, .ld_factor = 0, FACTOR, .factor_columns = true, .accumulate = true},
      {.n = 7, .ld_in = 24, .in_step = 1, .ld_out = 9, .ld_factor = 1, FACTOR, .has_index = true, .accumulate = true},
      {.n = 1, .ld_in = 1, .in_step = 2, .ld_out = 2, .scale = 1, .row_block = 16},
      {.n = 11, .ld_in = 32, .in_step = 3, .ld_out = 16, .padding = 5, .scale = 1, .row_block = 5},
      {.n = 19, .ld_in = 0, .in_step = 1, .ld_out = 32, .scale = 1, .accumulate = true, .row_block = 16}};
#undef RELU
#undef FACTOR
  enum { KERNELS = sizeof specs / sizeof specs[0] };
  hmoec_kernel kernels[KERNELS];
  for (int i = 0; i < KERNELS; i++) kernels[i] = (hmoec_kernel){.family = HMOEC_KERNEL_ROWS, .spec.rows = specs[i]};
  harness_unit u = harness_compile(kernels, KERNELS, hmoec_cpu_schedule_default(64));
  for (size_t i = 0; i < KERNELS; i++)
    for (int r = 0; r < ROW_COUNTS; r++) {
      const hmoec_rows_spec *s = &specs[i];
      int64_t rows = row_counts[r];
      harness_buffer in = harness_floats((rows + 1) * s->ld_in + s->n), out = harness_floats(rows * s->ld_out),
                     index = harness_alloc((size_t)rows * 4), factor = harness_floats(rows * s->ld_factor + s->n);
      for (int64_t t = 0; t < rows; t++) ((int32_t *)index.data)[t] = (int32_t)harness_below(rows + 1);
      float *before = malloc(out.bytes + 1), *want = malloc(out.bytes + 1);
      memcpy(before, out.data, out.bytes);
      for (int64_t j = 0; j < rows * s->ld_out; j++) {
        int64_t t = j / s->ld_out, c = j % s->ld_out, from = s->has_index ? ((int32_t *)index.data)[t] : t;
        float x = c < s->n ? ((float *)in.data)[from * s->ld_in + c * s->in_step] : 0;
        if (s->activation == HMOEC_ACTIVATION_RELU && x < 0) x = 0;
        x *= (float)s->scale;
        if (s->has_factor && c < s->n) x *= ((float *)factor.data)[t * s->ld_factor + (s->factor_columns ? c : 0)];
        want[j] = c >= s->n + s->padding ? before[j] : s->accumulate && c < s->n ? before[j] + x : x;
      }
      HARNESS_EACH_VERSION(u, v) {
        memcpy(out.data, before, out.bytes);
        harness_run(&u, v, i, (void *[]){in.data, s->has_index ? index.data : NULL, out.data, s->has_factor ? factor.data : NULL},
                    rows, blocks_of(rows, s->row_block), 1);
        for (int64_t j = 0; j < rows * s->ld_out; j++) assert_true(((float *)out.data)[j] == want[j]);
      }
      harness_free(&in), harness_free(&out), harness_free(&index), harness_free(&factor);
      free(before), free(want);
    }
  harness_destroy(&u);
}

/* ---- the object as a whole ---- */

#ifndef HARNESS_CUDA

static void test_equal_units_equal_bytes(void **state) {
  (void)state;
  hmoec_kernel kernels[] = {
      {.family = HMOEC_KERNEL_ROUTE, .spec.route = {8, 2, 32, HMOEC_GATE_SOFTMAX_THEN_TOPK, HMOEC_ACTIVATION_NONE, false, 16}},
      {.family = HMOEC_KERNEL_MATMUL,
       .spec.matmul = {.k = 48,
                       .n = 70,
                       .a_stride = 48,
                       .c_stride = 70,
                       .segments = 1,
                       .row_block = 64,
                       .segment = {{70, HMOEC_ACTIVATION_SILU, false, false}}}}};
  harness_unit u = harness_compile(kernels, 2, hmoec_cpu_schedule_default(48));
  hmoec_cpu_unit unit = {
      .name = "m", .kernels = kernels, .kernel_count = 2, .plan = "p", .plan_bytes = 1, .schedule = u.schedule, .versions = 7};
  const hmoec_output forms[] = {HMOEC_OUTPUT_OBJECT, HMOEC_OUTPUT_ASSEMBLY, HMOEC_OUTPUT_LLVM, HMOEC_OUTPUT_MLIR};
  for (size_t f = 0; f < 4; f++) {
    char *first, *second;
    size_t first_size, second_size;
    assert_true(hmoec_cpu_generate(u.context, &unit, forms[f], u.diagnostics, &first, &first_size));
    assert_true(hmoec_cpu_generate(u.context, &unit, forms[f], u.diagnostics, &second, &second_size));
    assert_int_equal(first_size, second_size);
    assert_memory_equal(first, second, first_size);
    free(first), free(second);
  }
  harness_destroy(&u);
}

/* Vector registers betray a version: portable code has xmm alone and no VEX instructions, AVX2 no zmm. Nothing calls out. */
static void test_versions_keep_to_their_instructions(void **state) {
  (void)state;
  hmoec_kernel kernels[] = {
      {.family = HMOEC_KERNEL_ROWS,
       .spec.rows =
           {.n = 37, .ld_in = 37, .in_step = 1, .ld_out = 37, .scale = 1, .activation = HMOEC_ACTIVATION_GELU, .row_block = 16}},
      {.family = HMOEC_KERNEL_ROUTE, .spec.route = {20, 2, 32, HMOEC_GATE_SOFTMAX_THEN_TOPK, HMOEC_ACTIVATION_NONE, false, 16}},
      {.family = HMOEC_KERNEL_MATMUL,
       .spec.matmul = {.k = 48,
                       .n = 70,
                       .a_stride = 48,
                       .c_stride = 70,
                       .segments = 1,
                       .row_block = 64,
                       .segment = {{70, HMOEC_ACTIVATION_SILU, false, false}}}}};
  harness_unit u = harness_compile(kernels, 3, hmoec_cpu_schedule_default(48));
  hmoec_cpu_unit unit = {
      .name = "m", .kernels = kernels, .kernel_count = 3, .plan = "p", .plan_bytes = 1, .schedule = u.schedule, .versions = 7};
  for (int with_mcpu = 0; with_mcpu < 2; with_mcpu++) {
    unit.mcpu = with_mcpu ? "znver4" : NULL;
    char *text;
    size_t size;
    assert_true(hmoec_cpu_generate(u.context, &unit, HMOEC_OUTPUT_ASSEMBLY, u.diagnostics, &text, &size));
    int version = -1, seen[HMOE_CPU_COUNT] = {0};
    for (char *line = text, *end; line < text + size; line = end + 1) {
      end = memchr(line, '\n', (size_t)(text + size - line));
      if (!end) break;
      *end = 0;
      if (strncmp(line, "m_", 2) == 0)
        version = strstr(line, "_portable") ? HMOE_CPU_PORTABLE : strstr(line, "_avx2") ? HMOE_CPU_AVX2 : HMOE_CPU_AVX512;
      if (line[0] != '\t' || line[1] == '.' || version < 0) continue;
      bool wide = strstr(line, "%zmm") || strstr(line, "%k1"), vex = line[1] == 'v';
      seen[version] += wide ? 2 : vex;
      if (version == HMOE_CPU_PORTABLE && (vex || wide || strstr(line, "%ymm"))) fail_msg("portable: %s", line);
      if (version == HMOE_CPU_AVX2 && wide) fail_msg("avx2: %s", line);
      if (strncmp(line, "\tcall", 5) == 0 && !strchr(line, '*')) fail_msg("a call by name: %s", line);
    }
    assert_true(seen[HMOE_CPU_AVX2] > 0 && seen[HMOE_CPU_AVX512] > seen[HMOE_CPU_AVX2]);
    free(text);
  }
  harness_destroy(&u);
}

static void test_versions_left_out(void **state) {
  (void)state;
  hmoec_kernel kernel = {.family = HMOEC_KERNEL_ROWS,
                         .spec.rows = {.n = 16, .ld_in = 16, .ld_out = 16, .in_step = 1, .scale = 1, .row_block = 4}};
  harness_unit u = harness_compile(&kernel, 1, hmoec_cpu_schedule_default(16));
  hmoec_cpu_unit unit = {.name = "m",
                         .kernels = &kernel,
                         .kernel_count = 1,
                         .plan = "",
                         .plan_bytes = 0,
                         .schedule = u.schedule,
                         .versions = 1u << HMOE_CPU_PORTABLE,
                         .mcpu = "znver4"};
  char *bytes;
  size_t size;
  hmoec_loaded *loaded;
  const hmoe_model_object *object;
  assert_true(hmoec_cpu_generate(u.context, &unit, HMOEC_OUTPUT_OBJECT, u.diagnostics, &bytes, &size));
  assert_true(hmoec_object_load("m", bytes, size, u.diagnostics, &loaded, &object));
  assert_int_equal(object->image_count, 1);
  assert_string_equal(object->images[0].target, "cpu");
  assert_string_equal(object->images[0].version, "portable");
  assert_null(object->images[0].code);
  assert_non_null(object->images[0].functions[0].call);
  assert_null(object->images[0].functions[0].name);
  assert_int_equal(object->images[0].functions[0].scratch_bytes, hmoec_cpu_scratch_bytes(&u.schedule, &kernel, 1));
  assert_int_equal(object->images[0].functions[0].threads, 1);
  hmoec_loaded_destroy(loaded);
  free(bytes);
  harness_destroy(&u);
}

static void test_wrong_descriptions_are_refused(void **state) {
  (void)state;
#define ROWS .in_step = 1, .scale = 1, .row_block = 4
  hmoec_kernel good = {.family = HMOEC_KERNEL_ROWS, .spec.rows = {.n = 16, .ld_in = 16, .ld_out = 16, ROWS}};
  harness_unit u = harness_compile(&good, 1, hmoec_cpu_schedule_default(16));
  hmoec_kernel wrong[] = {
      {.family = HMOEC_KERNEL_ROWS, .spec.rows = {.n = 16, .ld_in = 15, .ld_out = 16, ROWS}},
      {.family = HMOEC_KERNEL_ROWS, .spec.rows = {.n = 16, .ld_in = 16, .ld_out = 16, .padding = 1, ROWS}},
      {.family = HMOEC_KERNEL_ROWS, .spec.rows = {.n = 16, .ld_in = 16, .ld_out = 16, .in_step = 1, .scale = NAN, .row_block = 4}},
      {.family = HMOEC_KERNEL_ROWS, .spec.rows = {.n = 8, .ld_in = 14, .ld_out = 16, .in_step = 2, .scale = 1, .row_block = 4}},
      {.family = HMOEC_KERNEL_ROWS, .spec.rows = {.n = 8, .ld_in = 16, .ld_out = 16, .in_step = 2, .scale = 2, .row_block = 4}},
      {.family = HMOEC_KERNEL_ROWS,
       .spec.rows = {.n = 16, .ld_in = 16, .ld_out = 16, .ld_factor = 15, .has_factor = true, .factor_columns = true, ROWS}},
      {.family = HMOEC_KERNEL_ROUTE, .spec.route = {4, 5, 4, HMOEC_GATE_SOFTMAX_THEN_TOPK, HMOEC_ACTIVATION_NONE, false, 16}},
      {.family = HMOEC_KERNEL_ROUTE, .spec.route = {4, 2, 4, HMOEC_GATE_SOFTMAX_THEN_TOPK, HMOEC_ACTIVATION_NONE, true, 16}},
      {.family = HMOEC_KERNEL_MATMUL, .spec.matmul = {.k = 100000, .n = 1, .a_stride = 100000, .c_stride = 1}},
      {.family = HMOEC_KERNEL_MATMUL,
       .spec.matmul = {.k = 1,
                       .n = 1,
                       .a_stride = 1,
                       .c_stride = 1,
                       .row_block = 1,
                       .segments = 1,
                       .segment = {{.end = 1, .multiply = true}},
                       .accumulate = true}},
      {.family = HMOEC_KERNEL_MATMUL,
       .spec.matmul = {.k = 1,
                       .n = 1,
                       .a_stride = 1,
                       .c_stride = 1,
                       .row_block = 1,
                       .segments = 1,
                       .segment = {{.end = 1}},
                       .norm = HMOEC_NORM_RMS,
                       .grouped = true}},
      {.family = HMOEC_KERNEL_NORM, .spec.norm = {.n = 16, .ld_x = 16, .ld_out = 16, .row_block = 4}},
      {.family = HMOEC_KERNEL_EMBED, .spec.embed = {16, 16, (hmoec_table_layout)2, HMOEC_FORMAT_F32, false, 4}},
      {.family = HMOEC_KERNEL_STORE, .spec.store = {2, 16, 32, 31, 4}},
      {.family = HMOEC_KERNEL_ATTENTION, /* the schedule has no room for a row of weights */
       .spec.attention = {.heads = 1, .head_size = 16, .ld_q = 16, .ld_out = 32, .scale = 1, .query_block = 8}},
      {.family = HMOEC_KERNEL_FAMILY_COUNT}};
#undef ROWS
  hmoec_diagnostics *quiet = hmoec_diagnostics_create(NULL);
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    hmoec_cpu_unit unit = {.name = "m", .kernels = &wrong[i], .kernel_count = 1, .schedule = u.schedule, .versions = 7};
    char *bytes;
    size_t size;
    assert_false(hmoec_cpu_generate(u.context, &unit, HMOEC_OUTPUT_OBJECT, quiet, &bytes, &size));
    assert_null(bytes);
    assert_int_equal(hmoec_diagnostics_errors(quiet), i + 1);
  }
  hmoec_loaded *loaded = (hmoec_loaded *)quiet; /* whatever was there before */
  const hmoe_model_object *object = (const hmoe_model_object *)quiet;
  assert_false(hmoec_object_load("m", "not an object", 13, quiet, &loaded, &object));
  assert_null(loaded);
  assert_null(object);
  hmoec_diagnostics_destroy(quiet);
  harness_destroy(&u);
}

#endif

int main(void) {
  harness_seed();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_route),
      cmocka_unit_test(test_combine),
      cmocka_unit_test(test_select),
      cmocka_unit_test(test_contract),
      cmocka_unit_test(test_rows),
#ifndef HARNESS_CUDA
      cmocka_unit_test(test_equal_units_equal_bytes),
      cmocka_unit_test(test_versions_left_out),
      cmocka_unit_test(test_versions_keep_to_their_instructions),
      cmocka_unit_test(test_wrong_descriptions_are_refused),
#endif
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
