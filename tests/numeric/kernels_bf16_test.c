/* MATMUL in bf16 against plain loops in double precision on the same rounded operands: random descriptions and shapes, every version,
 * splits and row blocks bit for bit. A model of a kernel, right and wrong in many ways, tests the test. */
#include "matmul_problem.h"

/* ---- rounding and packing ---- */

static void test_rounding(void **state) {
  (void)state;
  static const struct {
    uint32_t bits;
    uint16_t half;
  } cases[] = {{0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f808001, 0x3f81}, {0x3f807fff, 0x3f80}, {0x3f818000, 0x3f82},
               {0xbf818000, 0xbf82}, {0x3fff8000, 0x4000}, {0x7f7f7fff, 0x7f7f}, {0x7f7f8000, 0x7f80}, {0x7f800000, 0x7f80},
               {0xff800000, 0xff80}, {0x80000000, 0x8000}, {0x00008001, 0x0001}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    float value;
    memcpy(&value, &cases[i].bits, 4);
    assert_int_equal(harness_bf16(value), cases[i].half);
  }
  static const uint32_t nans[] = {0x7f800001, 0x7fffffff, 0xffffffff, 0xff808000};
  for (size_t i = 0; i < 4; i++) {
    float value;
    memcpy(&value, &nans[i], 4);
    assert_true(isnan(harness_from_bf16(harness_bf16(value))));
  }
}

/* Every position of the layout of abi.h, taken apart. */
static void test_packing(void **state) {
  (void)state;
  enum { K = 37, N = 45, DEPTH = 64, PANELS = 2 };
  float b[K * N];
  uint16_t pairs[PANELS * DEPTH * 32];
  for (int i = 0; i < K * N; i++) b[i] = 1 + (float)(i % 128) / 128 + (float)(i / 128);
  assert_int_equal(harness_pairs_bytes(K, N), sizeof pairs);
  harness_pack_pairs(b, K, N, pairs);
  for (int at = 0; at < PANELS * DEPTH * 32; at++) {
    int panel = at / (DEPTH * 32), word = at / 64 % (DEPTH / 2), n = panel * 32 + at / 2 % 32, k = 2 * word + at % 2;
    assert_int_equal(pairs[at], k < K && n < N ? harness_bf16(b[k * N + n]) : 0);
  }
}

/* ---- a model, to test the test ---- */

enum {
  RIGHT,
  A_TRUNCATED,
  A_NOT_ROUNDED,
  C_TRUNCATED,
  LAST_K_LEFT_OUT,
  HALVES_SWAPPED,
  FIRST_GROUP_ONLY,
  NO_GATHER,
  NO_SCATTER,
  NO_BIAS,
  BIAS_OF_FIRST_GROUP,
  FIRST_ACTIVATION_ONLY,
  NO_GATES,
  GATED_BIAS_WHEN_PASSED,
  NO_PASS,
  NOT_ACCUMULATED,
  NOT_MULTIPLIED,
  DROPPED_AS_KEPT,
  DROPPED_FROM_K_ZERO,
  PADDING_NOT_ZERO,
  COLUMN_PAST_N,
  ROW_TOO_MANY,
  LAST_ROW_LEFT_OUT,
  LAST_PANEL_LEFT_OUT,
  PAIRS_SWAPPED,
  PAIRS_WITHOUT_UPS,
  PAIRS_ONE_BIAS,
  PAIRS_ALL_OVER,
  MODELS
};

static float model_left(const hmoec_matmul_spec *s, const void *a, int64_t i, int model) {
  float value = element(a, hmoec_is_bf16(s->a_format), i);
  uint32_t bits;
  memcpy(&bits, &value, 4);
  bits &= 0xffff0000;
  if (model == A_TRUNCATED) memcpy(&value, &bits, 4);
  return model == A_NOT_ROUNDED ? value : harness_from_bf16(harness_bf16(value));
}

/* A sum of column n of B, with the bias of column bias_n. */
static float model_sum(const hmoec_matmul_spec *s, void *const *buffers, const hmoe_block *block, int64_t r, int64_t n,
                       int64_t bias_n, int model) {
  int64_t depth = harness_up(s->k, 32), group = model == FIRST_GROUP_ONLY ? 0 : block->group;
  int64_t row = s->has_gather && model != NO_GATHER ? ((int32_t *)buffers[4])[r] : r;
  const uint16_t *b = (const uint16_t *)((const char *)buffers[1] + group * s->b_group_bytes);
  float v = 0;
  for (int64_t k = block->dropped && model != DROPPED_FROM_K_ZERO ? s->dropped_k_begin : 0; k < s->k - (model == LAST_K_LEFT_OUT);
       k++) {
    int64_t half = k % 2 != (model == HALVES_SWAPPED);
    v += model_left(s, buffers[0], row * s->a_stride + k, model) *
         harness_from_bf16(b[(((n / 32) * (depth / 2) + k / 2) * 32 + n % 32) * 2 + half]);
  }
  int64_t bias_group = model == BIAS_OF_FIRST_GROUP ? 0 : block->group;
  if (s->has_bias && model != NO_BIAS) v += ((float *)buffers[6])[bias_group * s->bias_group_floats + bias_n];
  return v;
}

static float model_value(const hmoec_matmul_spec *s, void *const *buffers, const hmoe_block *block, int64_t r, int64_t n,
                         int model) {
  int64_t panels = (s->n + 31) / 32, column = right_column(s, n), up = column + 32;
  if (model == PAIRS_ALL_OVER && s->paired && !is_pair(s, n)) column = n < 32 * panels / 2 ? 2 * n : n;
  if (model == PAIRS_SWAPPED && is_pair(s, n)) column += 32, up -= 32;
  float v = model_sum(s, buffers, block, r, column, column, model);
  bool second = problem_segment(s, n) == 1;
  v = (float)reference_activation(s->segment[second && model != FIRST_ACTIVATION_ONLY].activation, (double)v);
  if (is_pair(s, n) && model != PAIRS_WITHOUT_UPS)
    v *= model_sum(s, buffers, block, r, up, model == PAIRS_ONE_BIAS ? column : up, model);
  float gate = s->has_row_gate ? ((float *)buffers[7])[r] : 0;
  bool passed = s->has_pass && block->dropped;
  bool bare = s->dropped_bare && block->dropped;
  if (s->segment[second].gated && model != NO_GATES) v = (passed && model != NO_PASS) || bare ? 0 : v * gate;
  if (s->has_gated_bias && ((!passed && !bare) || model == GATED_BIAS_WHEN_PASSED))
    v += gate * ((float *)buffers[8])[block->group * panels * 32 + n];
  if (passed && model != NO_PASS) v += gate * ((float *)buffers[9])[((int32_t *)buffers[10])[r] * s->pass_ld + n];
  return v;
}

static void model_run(const problem *p, int64_t splits, int model) {
  const hmoec_matmul_spec *s = &p->spec;
  void *buffers[BINDINGS];
  problem_bind(p, buffers);
  for (int64_t task = 0; task < p->blocks * splits; task++) {
    int64_t number = task / splits, split = task % splits;
    hmoe_block block = {.row = (int32_t)(number * s->row_block)};
    if (s->grouped) block = *problem_block(p, number);
    else block.rows = (int32_t)(p->rows - block.row < s->row_block ? p->rows - block.row : s->row_block);
    if (model == DROPPED_AS_KEPT) block.dropped = 0;
    int64_t begin = split * p->panels / splits, end = (split + 1) * p->panels / splits;
    if (model == LAST_PANEL_LEFT_OUT && end == p->panels) end--;
    if (block.dropped && begin < s->dropped_column / 32) begin = s->dropped_column / 32;
    int64_t last = block.row + block.rows - (model == LAST_ROW_LEFT_OUT);
    if (model == ROW_TOO_MANY && last < p->rows) last++;
    for (int64_t r = block.row; r < last; r++) {
      int64_t to = s->has_scatter && model != NO_SCATTER ? ((int32_t *)p->scatter.data)[r] : r;
      for (int64_t n = begin * 32; n < end * 32; n++) {
        if (n >= s->n + (model == COLUMN_PAST_N) && !s->c_padded) break;
        if (n >= s->c_stride || (n >= s->n && model == PADDING_NOT_ZERO)) break;
        float v = n < s->n ? model_value(s, buffers, &block, r, n, model) : model == COLUMN_PAST_N;
        int64_t at = to * s->c_stride + n;
        uint32_t bits;
        if (s->accumulate && model != NOT_ACCUMULATED) v += ((float *)p->c.data)[at];
        bool second = problem_segment(s, n) == 1;
        if (s->segment[second].multiply && model != NOT_MULTIPLIED && n < s->n)
          v *= element(p->c.data, hmoec_is_bf16(s->c_format), at);
        if (problem_is_padding(s, n) && s->c_padded && model != COLUMN_PAST_N) v = 0;
        memcpy(&bits, &v, 4);
        if (hmoec_is_bf16(s->c_format) && model == C_TRUNCATED) ((uint16_t *)p->c.data)[at] = (uint16_t)(bits >> 16);
        else element_set(p->c.data, hmoec_is_bf16(s->c_format), at, v);
      }
    }
  }
}

static void test_model(void **state) {
  (void)state;
  enum { PROBLEMS = 200 };
  hmoec_cpu_schedule schedule = hmoec_cpu_schedule_default(DEEPEST);
  schedule.row_block = 7;
  int caught[MODELS] = {0};
  for (int i = 0; i < PROBLEMS; i++) {
    hmoec_matmul_spec s = random_spec(&schedule, true, i % 3);
    problem p = problem_create(&s, 1 + harness_below(15), NULL);
    expectation e = problem_expect(&p);
    for (int model = RIGHT; model < MODELS; model++) {
      memcpy(p.c.data, p.c_before, p.c.bytes);
      model_run(&p, 1 + harness_below(p.panels), model);
      int64_t wrong = problem_wrong(&p, &e);
      caught[model] += wrong >= 0;
      if (model == RIGHT && wrong >= 0) problem_fail(&p, "the model", -1, 0, wrong, e.want[wrong]);
    }
    expectation_destroy(&e);
    problem_destroy(&p);
  }
  for (int model = RIGHT + 1; model < MODELS; model++)
    if (!caught[model]) fail_msg("wrong kernel %d passed", model);
}

/* ---- the kernels ---- */

static void test_random_specs(void **state) {
  (void)state;
  enum { UNITS = 4, KERNELS = 9 };
  uint64_t products = amx_emulator_read_counts().products;
  for (int unit = 0; unit < UNITS; unit++) {
    hmoec_cpu_schedule schedule = hmoec_cpu_schedule_default(DEEPEST);
    schedule.row_block = unit % 2 ? 112 : 40;
    if (unit >= 2) random_tiles(&schedule);
    check_random_unit(schedule, true, KERNELS, unit == 0);
  }
  if (harness_has_version(HMOE_CPU_AMX) && amx_emulator_needed())
    assert_true(amx_emulator_read_counts().products > products); /* tiles were used */
}

static void test_row_blocks_agree(void **state) {
  (void)state;
  hmoec_cpu_schedule schedule = hmoec_cpu_schedule_default(DEEPEST);
  hmoec_matmul_spec s = {.format = HMOEC_FORMAT_BF16,
                         .k = 173,
                         .n = 90,
                         .a_stride = 173,
                         .c_stride = 90,
                         .segments = 1,
                         .segment = {{90, HMOEC_ACTIVATION_GELU, false, false}}};
  check_row_blocks(s, schedule);
  s.paired = true;
  check_row_blocks(s, schedule);
  s.a_in_place = true;
  s.a_format = HMOEC_FORMAT_BF16;
  s.a_stride = schedule.lda_bf16;
  check_row_blocks(s, schedule);
}

/* Some rows of A are NaN or infinite: the others do not change, and these are NaN themselves. */
static void test_wild_rows(void **state) {
  (void)state;
  enum { KERNELS = 3, ROWS = 70, K = 77, N = 65, LDC = 65 };
  static const uint32_t wild[] = {0x7fc00000, 0x7f800001, 0x7fffffff, 0xffffffff, 0xffc00000};
  hmoec_cpu_schedule schedule = hmoec_cpu_schedule_default(DEEPEST);
  hmoec_kernel kernels[KERNELS];
  for (int i = 0; i < KERNELS; i++) /* f32, bf16, bf16 in place */
    kernels[i] = (hmoec_kernel){.family = HMOEC_KERNEL_MATMUL,
                                .spec.matmul = {.format = HMOEC_FORMAT_BF16,
                                                .a_format = harness_format(i > 0),
                                                .a_in_place = i == 2,
                                                .k = K,
                                                .n = N,
                                                .a_stride = i == 2 ? schedule.lda_bf16 : K,
                                                .c_stride = LDC,
                                                .row_block = 40,
                                                .segments = 1,
                                                .segment = {{N, HMOEC_ACTIVATION_NONE, false, false}}}};
  harness_unit u = harness_compile(kernels, KERNELS, schedule);
  for (size_t i = 0; i < KERNELS; i++) {
    const hmoec_matmul_spec *s = &kernels[i].spec.matmul;
    problem p = problem_create(s, ROWS, NULL);
    expectation e = problem_expect(&p);
    void *buffers[BINDINGS];
    problem_bind(&p, buffers);
    for (int64_t r = 0; r < ROWS; r++)
      if (r % 7 == 3) {
        uint32_t bits = wild[r / 7 % 5];
        int64_t at = r * s->a_stride + r % K;
        if (hmoec_is_bf16(s->a_format)) ((uint16_t *)p.a.data)[at] = (uint16_t)(bits >> 16 | 0x40);
        else memcpy((float *)p.a.data + at, &bits, 4);
      }
    HARNESS_EACH_VERSION(u, v) {
      memset(p.c.data, 0xff, p.c.bytes);
      harness_run(&u, v, i, buffers, ROWS, 2, 1);
      for (int64_t at = 0; at < ROWS * LDC; at++) {
        float got = ((float *)p.c.data)[at];
        bool is_wild = at / LDC % 7 == 3;
        if (is_wild ? !isnan(got) : !(fabs((double)got - e.want[at]) <= e.bound[at]))
          problem_fail(&p, "beside wild rows", v, 1, at, is_wild ? NAN : e.want[at]);
      }
    }
    expectation_destroy(&e);
    problem_destroy(&p);
  }
  harness_destroy(&u);
}

int main(void) {
  harness_seed();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_rounding),     cmocka_unit_test(test_packing),          cmocka_unit_test(test_model),
      cmocka_unit_test(test_random_specs), cmocka_unit_test(test_row_blocks_agree), cmocka_unit_test(test_wild_rows)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
