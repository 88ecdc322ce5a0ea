/* Products to test with: random descriptions (kernels.h), operands for them, and what C must be, by plain loops in double precision.
 *
 * What a kernel must not use is NaN: rows of A past the last, columns of A past k (past k rounded to 32 where A is bf16 in place), columns
 * before dropped_k_begin of a dropped row, the space between groups. */
#ifndef MATMUL_PROBLEM_H
#define MATMUL_PROBLEM_H

#include "kernels_harness.h"

enum { GROUPS = 3, MAX_ROWS = 320, DEEPEST = 200, BINDINGS = 15 };

typedef struct problem {
  hmoec_matmul_spec spec;
  int64_t rows, a_rows, c_rows, blocks, panels;
  harness_buffer a, b, c, blocks_buffer, gather, scatter, bias, row_gate, gated_bias, pass, pass_index, norm_weight, norm_bias;
  float *weights; /* what b is: [GROUPS][k][right_columns], rounded if the product is bf16 */
  void *c_before;
} problem;

static inline double reference_activation(hmoec_activation activation, double x) {
  switch (activation) {
  case HMOEC_ACTIVATION_RELU: return x > 0 ? x : 0;
  case HMOEC_ACTIVATION_GELU: return 0.5 * x * (1 + erf(x / sqrt(2.0)));
  case HMOEC_ACTIVATION_GELU_NEW: return 0.5 * x * (1 + tanh(sqrt(2.0 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
  case HMOEC_ACTIVATION_SILU: return x / (1 + exp(-x));
  case HMOEC_ACTIVATION_SIGMOID: return 1 / (1 + exp(-x));
  default: return x;
  }
}

/* Element i of a buffer of bf16 or f32. */
static inline float element(const void *data, bool is_bf16, int64_t i) {
  return is_bf16 ? harness_from_bf16(((const uint16_t *)data)[i]) : ((const float *)data)[i];
}
static inline void element_set(void *data, bool is_bf16, int64_t i, float value) {
  if (is_bf16) ((uint16_t *)data)[i] = harness_bf16(value);
  else ((float *)data)[i] = value;
}

/* The column at which the second segment begins, or the end of the last panel; of products in bf16 on GPUs it is where a plane does. */
static inline int64_t second_segment(const hmoec_matmul_spec *s) {
#ifdef HARNESS_CUDA
  if (s->segments == 2 && hmoec_is_bf16(s->format)) return s->dropped_column;
#endif
  return harness_up(s->segment[0].end, 32);
}
/* Whether C is rows in planes, and where the zeros behind its last column end. */
static inline bool c_in_planes(const hmoec_matmul_spec *s) { return HARNESS_PLANES && hmoec_is_bf16(s->c_format) && !s->few_rows; }
static inline int64_t padded_columns(const hmoec_matmul_spec *s) { return harness_up(s->n, c_in_planes(s) ? 64 : 32); }

/* Of a paired product a panel of gates and one of ups alternate, as far as the first segment goes. */
static inline int64_t paired_panels(const hmoec_matmul_spec *s) { return s->paired ? second_segment(s) / 32 : 0; }
static inline bool is_pair(const hmoec_matmul_spec *s, int64_t n) { return n / 32 < paired_panels(s); }
/* The column of B, and of bias, behind column n of C, or behind its gate; its up is a panel further on. */
static inline int64_t right_column(const hmoec_matmul_spec *s, int64_t n) {
  return is_pair(s, n) ? n / 32 * 64 + n % 32 : n + 32 * paired_panels(s);
}
/* Columns of B up to the last that is used. */
static inline int64_t right_columns(const hmoec_matmul_spec *s) {
  return right_column(s, s->n - 1) + (is_pair(s, s->n - 1) ? 32 : 0) + 1;
}
static inline int64_t right_bytes(const hmoec_matmul_spec *s) {
  return hmoec_is_bf16(s->format) ? harness_pairs_bytes(s->k, right_columns(s)) : harness_panels_bytes(s->k, right_columns(s));
}

static inline hmoec_matmul_spec random_spec(const hmoec_cpu_schedule *schedule, bool bf16, bool grouped) {
  static const int64_t depths[] = {1, 2, 3, 7, 16, 31, 32, 33, 48, 64, 97, 128, DEEPEST},
                       widths[] = {1, 5, 16, 31, 32, 33, 64, 70, 96, 101, 224};
  hmoec_matmul_spec s = {.k = depths[harness_below(sizeof depths / sizeof depths[0])],
                         .n = widths[harness_below(sizeof widths / sizeof widths[0])],
                         .row_block = 1 + harness_below(schedule->row_block)};
  int64_t panels = (s.n + 31) / 32;
  s.format = harness_format(bf16);
  s.a_in_place = harness_coin();
  s.a_format = harness_format(bf16 && (s.a_in_place || harness_coin()));
  s.a_stride = s.a_in_place ? bf16 ? schedule->lda_bf16 : schedule->lda : s.k + harness_below(5);
  s.c_padded = harness_coin();
  s.c_stride = s.c_padded ? panels * 32 + 16 * harness_below(2) : s.n + harness_below(4);
  s.grouped = grouped;
  s.has_gather = !s.a_in_place && harness_coin();
  s.has_scatter = harness_coin();
  s.has_bias = harness_coin();
  s.has_row_gate = harness_coin();
  s.has_gated_bias = s.has_row_gate && harness_coin();
  s.has_pass = s.grouped && s.has_row_gate && harness_coin();
  s.dropped_bare = s.grouped && s.has_gated_bias && !s.has_pass && harness_coin();
  s.c_format = harness_format(bf16 && harness_coin());
  s.accumulate = !hmoec_is_bf16(s.c_format) && harness_coin();
  s.pass_ld = s.n + harness_below(3);
  s.segments = panels > 1 && harness_coin() ? 2 : 1;
  for (int64_t i = 0; i < s.segments; i++)
    s.segment[i] = (hmoec_matmul_segment){s.n, (hmoec_activation)harness_below(HMOEC_ACTIVATION_COUNT),
                                          s.has_row_gate && harness_coin(), !s.accumulate && harness_below(4) == 0};
  if (s.segments == 2) s.segment[0].end = 32 * (1 + harness_below(panels - 1));
  if (s.segments == 2 && s.c_padded && harness_coin()) s.segment[0].end -= harness_below(32);
  s.paired = harness_below(3) == 0;
  if (s.paired) s.segment[0].multiply = false;
  s.b_group_bytes = s.grouped ? right_bytes(&s) + 64 * harness_below(2) : 0;
  s.bias_group_floats = right_columns(&s) + harness_below(3);
  if (s.grouped && harness_coin()) s.dropped_column = 32 * harness_below(panels + 1);
  if (s.grouped && harness_coin()) s.dropped_k_begin = bf16 ? 32 * harness_below((s.k + 31) / 32) : harness_below(s.k);
  if (s.grouped && harness_below(8) == 0) s.dropped_k_begin = s.k;
  return s;
}

/* With it a unit has all versions, and none of its kernels is less for it. */
static inline hmoec_kernel problem_bf16_product(void) {
  return (hmoec_kernel){.family = HMOEC_KERNEL_MATMUL,
                        .spec.matmul = {.format = HMOEC_FORMAT_BF16,
                                        .k = 32,
                                        .n = 32,
                                        .a_stride = 32,
                                        .c_stride = 32,
                                        .row_block = 8,
                                        .segments = 1,
                                        .segment = {{.end = 32}}}};
}

/* Another register tile for every version, as far as a schedule may choose. */
static inline void random_tiles(hmoec_cpu_schedule *schedule) {
  static const int64_t lanes[HMOE_CPU_COUNT] = {4, 8, 16, 16, 16};
  for (int v = 0; v < HMOE_CPU_COUNT; v++)
    for (int bf16 = 0; bf16 < 2; bf16++) {
      int64_t *rows = bf16 ? &schedule->tile_rows_bf16[v] : &schedule->tile_rows[v];
      int64_t *vectors = bf16 ? &schedule->tile_vectors_bf16[v] : &schedule->tile_vectors[v];
      do {
        *rows = 1 + harness_below(14);
        *vectors = INT64_C(1) << harness_below(4);
      } while (*vectors * lanes[v] > 32 || *rows * *vectors < 8 || *rows * *vectors > 28);
    }
}

static inline harness_buffer random_permutation(int64_t count, int64_t range) { /* distinct numbers below range */
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

static inline const hmoe_block *problem_block(const problem *p, int64_t i) {
  return (const hmoe_block *)((const hmoe_blocks *)p->blocks_buffer.data + 1) + i;
}
static inline int64_t problem_source(const problem *p, int64_t r) {
  return p->spec.has_gather ? ((const int32_t *)p->gather.data)[r] : r;
}
static inline int64_t problem_destination(const problem *p, int64_t r) {
  return p->spec.has_scatter ? ((const int32_t *)p->scatter.data)[r] : r;
}
static inline int64_t problem_c_count(const problem *p) { return p->c_rows * p->spec.c_stride; }

/* Some rows lie exactly between two bf16 numbers. */
static inline float random_left(void) {
  float value = harness_float();
  uint32_t bits;
  memcpy(&bits, &value, 4);
  if (harness_below(4) == 0) bits = (bits & 0xffff0000) | 0x8000;
  memcpy(&value, &bits, 4);
  return value;
}

static inline void problem_fill_a(problem *p) {
  const hmoec_matmul_spec *s = &p->spec;
  int64_t rows = p->a_rows + (s->a_in_place ? 16 : 0),
          zero_end = s->a_in_place && hmoec_is_bf16(s->format) ? harness_up(s->k, HARNESS_DEPTH_STEP) : s->k;
  p->a = harness_alloc((size_t)(rows * s->a_stride) * (hmoec_is_bf16(s->a_format) ? 2 : 4));
  for (int64_t i = 0; i < rows * s->a_stride; i++) {
    int64_t row = i / s->a_stride, k = i % s->a_stride;
    element_set(p->a.data, hmoec_is_bf16(s->a_format), i, row >= p->a_rows || k >= zero_end ? NAN : k >= s->k ? 0 : random_left());
  }
  for (int64_t i = 0; s->grouped && i < p->blocks; i++)
    for (int64_t r = problem_block(p, i)->row;
         problem_block(p, i)->dropped && r < problem_block(p, i)->row + problem_block(p, i)->rows; r++)
      for (int64_t k = 0; k < s->dropped_k_begin; k++)
        element_set(p->a.data, hmoec_is_bf16(s->a_format), problem_source(p, r) * s->a_stride + k, NAN);
}

static inline void problem_fill_b(problem *p) {
  const hmoec_matmul_spec *s = &p->spec;
  int64_t groups = s->grouped ? GROUPS : 1, columns = right_columns(s);
  p->weights = malloc((size_t)(GROUPS * s->k * columns) * sizeof(float));
  assert_non_null(p->weights);
  for (int64_t i = 0; i < GROUPS * s->k * columns; i++) {
    p->weights[i] = harness_float();
    if (hmoec_is_bf16(s->format)) p->weights[i] = harness_from_bf16(harness_bf16(p->weights[i]));
  }
  p->b = harness_alloc((size_t)((groups - 1) * s->b_group_bytes + right_bytes(s)));
  memset(p->b.data, 0xff, p->b.bytes);
  for (int64_t g = 0; g < groups; g++) {
    char *to = (char *)p->b.data + g * s->b_group_bytes;
    if (hmoec_is_bf16(s->format)) harness_pack_pairs(p->weights + g * s->k * columns, s->k, columns, (uint16_t *)(void *)to);
    else harness_pack_panels(p->weights + g * s->k * columns, s->k, columns, (float *)(void *)to);
  }
}

/* n floats, and NaN up to a whole panel. */
static inline harness_buffer norm_floats(int64_t n) {
  harness_buffer b = harness_floats(harness_up(n, HMOE_PANEL));
  for (int64_t i = n; i < harness_up(n, HMOE_PANEL); i++) ((float *)b.data)[i] = NAN;
  return b;
}

/* `like`: a problem with the same rows, whose blocks and gates this one has too; or NULL. */
static inline problem problem_create(const hmoec_matmul_spec *s, int64_t rows, const problem *like) {
  problem p = {.spec = *s, .rows = rows, .panels = (s->n + 31) / 32};
  p.a_rows = rows + (s->has_gather ? 5 : 0);
  p.c_rows = rows + (s->has_scatter ? 3 : 0);
  p.gather = random_permutation(rows, p.a_rows);
  p.scatter = random_permutation(rows, p.c_rows);
  p.pass_index = random_permutation(rows, rows + 1);
  p.bias = harness_floats((GROUPS - 1) * s->bias_group_floats + right_columns(s));
  p.row_gate = harness_floats(rows);
  p.gated_bias = harness_floats(GROUPS * p.panels * 32);
  p.pass = harness_floats((rows + 1) * s->pass_ld);
  p.norm_weight = norm_floats(s->k);
  p.norm_bias = norm_floats(s->k);

  p.blocks_buffer = harness_alloc(sizeof(hmoe_blocks) + sizeof(hmoe_block) * (size_t)(rows + 1));
  hmoe_block *block = (hmoe_block *)((hmoe_blocks *)p.blocks_buffer.data + 1);
  for (int64_t row = 0; s->grouped && row < rows; p.blocks++) {
    int64_t size = 1 + harness_below(s->row_block);
    if (size > rows - row) size = rows - row;
    block[p.blocks] = (hmoe_block){(int32_t)harness_below(GROUPS), (int32_t)row, (int32_t)size, harness_below(3) == 0};
    row += size;
  }
  if (!s->grouped) p.blocks = (rows + s->row_block - 1) / s->row_block;
  if (like) {
    memcpy(p.blocks_buffer.data, like->blocks_buffer.data, p.blocks_buffer.bytes);
    memcpy(p.row_gate.data, like->row_gate.data, p.row_gate.bytes);
    p.blocks = like->blocks;
  }
  problem_fill_a(&p);
  problem_fill_b(&p);
  p.c = harness_alloc((size_t)problem_c_count(&p) * (hmoec_is_bf16(s->c_format) ? 2 : 4));
  for (int64_t i = 0; i < problem_c_count(&p); i++) element_set(p.c.data, hmoec_is_bf16(s->c_format), i, harness_float());
  p.c_before = malloc(p.c.bytes + 1);
  assert_non_null(p.c_before);
  memcpy(p.c_before, p.c.data, p.c.bytes);
  return p;
}

static inline void problem_destroy(problem *p) {
  harness_free(&p->a), harness_free(&p->b), harness_free(&p->c), harness_free(&p->blocks_buffer), harness_free(&p->gather);
  harness_free(&p->scatter), harness_free(&p->bias), harness_free(&p->row_gate), harness_free(&p->gated_bias);
  harness_free(&p->pass), harness_free(&p->pass_index), harness_free(&p->norm_weight), harness_free(&p->norm_bias);
  free(p->weights), free(p->c_before);
}

/* The bindings of a MATMUL; a buffer the description has no use for is NULL. */
static inline void problem_bind(const problem *p, void *out_buffers[BINDINGS]) {
  const hmoec_matmul_spec *s = &p->spec;
  void *buffers[BINDINGS] = {p->a.data, p->b.data, p->c.data};
  if (s->grouped) buffers[3] = p->blocks_buffer.data;
  if (s->has_gather) buffers[4] = p->gather.data;
  if (s->has_scatter) buffers[5] = p->scatter.data;
  if (s->has_bias) buffers[6] = p->bias.data;
  if (s->has_row_gate) buffers[7] = p->row_gate.data;
  if (s->has_gated_bias) buffers[8] = p->gated_bias.data;
  if (s->has_pass) buffers[9] = p->pass.data, buffers[10] = p->pass_index.data;
  if (s->norm != HMOEC_NORM_NONE) buffers[11] = p->norm_weight.data;
  if (s->norm == HMOEC_NORM_LAYER) buffers[12] = p->norm_bias.data;
  memcpy(out_buffers, buffers, sizeof buffers);
}

/* ---- what C must be ---- */

/* The segment of a column, and whether it lies between the segment's end and that of its panel. */
static inline int problem_segment(const hmoec_matmul_spec *s, int64_t n) { return s->segments == 2 && n >= second_segment(s); }
static inline bool problem_is_padding(const hmoec_matmul_spec *s, int64_t n) { return n >= s->segment[problem_segment(s, n)].end; }

/* want: C (zeros in the last panel's padding); bound: how far rounding may take it. */
/* A sum of column n of B with its bias; *out_size: of what is summed. */
static inline double reference_sum(const problem *p, int64_t from, int64_t group, int64_t first_k, int64_t n, double *out_size) {
  const hmoec_matmul_spec *s = &p->spec;
  double sum = 0;
  *out_size = 0;
  for (int64_t k = first_k; k < s->k; k++) {
    float a = element(p->a.data, hmoec_is_bf16(s->a_format), from * s->a_stride + k);
    if (hmoec_is_bf16(s->format)) a = harness_from_bf16(harness_bf16(a));
    double product = (double)a * (double)p->weights[(group * s->k + k) * right_columns(s) + n];
    sum += product;
    *out_size += fabs(product);
  }
  return s->has_bias ? sum + (double)((const float *)p->bias.data)[group * s->bias_group_floats + n] : sum;
}

static inline void reference_rows(const problem *p, int64_t row, int64_t rows, int64_t group, bool dropped, double *want,
                                  double *bound) {
  const hmoec_matmul_spec *s = &p->spec;
  const float *gates = p->row_gate.data, *gated_bias = p->gated_bias.data, *pass = p->pass.data;
  for (int64_t r = row; r < row + rows; r++) {
    int64_t from = problem_source(p, r), to = problem_destination(p, r), first = dropped ? s->dropped_column : 0;
    for (int64_t n = s->n; (s->c_padded || c_in_planes(s)) && first < s->n && n < padded_columns(s); n++)
      want[to * s->c_stride + n] = 0;
    for (int64_t n = first; n < s->n; n++) {
      int64_t first_k = dropped ? s->dropped_k_begin : 0, column = right_column(s, n);
      double size;
      const hmoec_matmul_segment *segment = &s->segment[problem_segment(s, n)];
      double gate = s->has_row_gate ? (double)gates[r] : 0, v = reference_sum(p, from, group, first_k, column, &size);
      v = reference_activation(segment->activation, v);
      if (is_pair(s, n)) { /* an error of either is multiplied by the other */
        double up_size, up = reference_sum(p, from, group, first_k, column + 32, &up_size);
        size = (size + 4) * (fabs(up) + 1) * 1.2 + (up_size + 4) * (fabs(v) + 1);
        v *= up;
      }
      bool passed = s->has_pass && dropped;
      bool bare = s->dropped_bare && dropped;
      if (segment->gated) v = passed || bare ? 0 : v * gate;
      if (s->has_gated_bias && !passed && !bare) v += gate * (double)gated_bias[group * p->panels * 32 + n];
      if (passed) v += gate * (double)pass[((int32_t *)p->pass_index.data)[r] * s->pass_ld + n];
      if (s->accumulate) v += (double)element(p->c_before, false, to * s->c_stride + n);
      if (segment->multiply) v *= (double)element(p->c_before, hmoec_is_bf16(s->c_format), to * s->c_stride + n);
      want[to * s->c_stride + n] = problem_is_padding(s, n) ? 0 : v;
      bound[to * s->c_stride + n] = 1e-6 * (size + 4) + (hmoec_is_bf16(s->c_format) ? fabs(v) * 0x1p-8 : 0);
    }
  }
}

typedef struct expectation {
  double *want, *bound; /* [c_rows, ldc] */
} expectation;

static inline expectation problem_expect(const problem *p) {
  size_t count = (size_t)problem_c_count(p);
  expectation e = {malloc((count + 1) * 8), calloc(count + 1, 8)};
  assert_true(e.want && e.bound);
  for (size_t i = 0; i < count; i++) e.want[i] = (double)element(p->c_before, hmoec_is_bf16(p->spec.c_format), (int64_t)i);
  if (!p->spec.grouped) reference_rows(p, 0, p->rows, 0, false, e.want, e.bound);
  for (int64_t i = 0; p->spec.grouped && i < p->blocks; i++) {
    const hmoe_block *block = problem_block(p, i);
    reference_rows(p, block->row, block->rows, block->group, block->dropped, e.want, e.bound);
  }
  return e;
}

static inline void expectation_destroy(expectation *e) { free(e->want), free(e->bound); }

/* The first element of C that is wrong, or -1. */
static inline int64_t problem_wrong(const problem *p, const expectation *e) {
  for (int64_t i = 0; i < problem_c_count(p); i++)
    if (!(fabs((double)element(p->c.data, hmoec_is_bf16(p->spec.c_format), i) - e->want[i]) <= e->bound[i])) return i;
  return -1;
}

/* Every field that is not zero, on stderr. */
static inline void print_spec(const hmoec_matmul_spec *s) {
  const struct {
    const char *name;
    int64_t value;
  } fields[] = {{"k", s->k},
                {"n", s->n},
                {"lda", s->a_stride},
                {"ldc", s->c_stride},
                {"bf16", hmoec_is_bf16(s->format)},
                {"a_bf16", hmoec_is_bf16(s->a_format)},
                {"c_bf16", hmoec_is_bf16(s->c_format)},
                {"a_in_place", s->a_in_place},
                {"c_padded", s->c_padded},
                {"grouped", s->grouped},
                {"has_gather", s->has_gather},
                {"has_scatter", s->has_scatter},
                {"has_bias", s->has_bias},
                {"has_row_gate", s->has_row_gate},
                {"has_gated_bias", s->has_gated_bias},
                {"has_pass", s->has_pass},
                {"dropped_bare", s->dropped_bare},
                {"accumulate", s->accumulate},
                {"paired", s->paired},
                {"b_group_bytes", s->b_group_bytes},
                {"bias_group_floats", s->bias_group_floats},
                {"pass_ld", s->pass_ld},
                {"dropped_column", s->dropped_column},
                {"dropped_k_begin", s->dropped_k_begin},
                {"norm", (int64_t)s->norm},
                {"row_block", s->row_block}};
  for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
    if (fields[i].value) print_error(" %s=%" PRId64, fields[i].name, fields[i].value);
  for (int64_t i = 0; i < s->segments; i++)
    print_error(" segment(end=%" PRId64 " %s%s%s)", s->segment[i].end, hmoec_activation_name(NULL, s->segment[i].activation),
                s->segment[i].gated ? " gated" : "", s->segment[i].multiply ? " multiplies" : "");
  print_error("\n");
}

/* ---- checks that kernels of f32 and of bf16 share ---- */

static inline void problem_fail(const problem *p, const char *what, int version, int64_t splits, int64_t wrong, double want) {
  print_spec(&p->spec);
  fail_msg("%s, version %d, rows %" PRId64 ", splits %" PRId64 ": C[%" PRId64 "][%" PRId64 "] is %.9g, expected %.9g", what,
           version, p->rows, splits, wrong / p->spec.c_stride, wrong % p->spec.c_stride,
           (double)element(p->c.data, hmoec_is_bf16(p->spec.c_format), wrong), want);
}

/* Runs a kernel in every version: right, and bit for bit the same for any number of splits. `twin`: a kernel that differs in that its C is
 * f32, or -1: the same, rounded. */
static inline void problem_check(const harness_unit *u, size_t kernel, problem *p, int64_t twin) {
  expectation e = problem_expect(p);
  void *buffers[BINDINGS], *first = malloc(p->c.bytes + 1);
  problem_bind(p, buffers);
  harness_choose_way(p->rows);
  int64_t step = p->rows <= 33 || p->panels < 3 ? 1 : p->panels - 1; /* many rows: one split and one for each panel */
  HARNESS_EACH_VERSION(*u, v) for (int64_t splits = 1; splits <= p->panels; splits += step) {
    memcpy(p->c.data, p->c_before, p->c.bytes);
    harness_run(u, v, kernel, buffers, p->rows, p->blocks, splits);
    int64_t wrong = problem_wrong(p, &e);
    if (wrong >= 0) problem_fail(p, "product", v, splits, wrong, e.want[wrong]);
    if (splits == 1) memcpy(first, p->c.data, p->c.bytes);
    if (memcmp(first, p->c.data, p->c.bytes) != 0) problem_fail(p, "splits differ", v, splits, 0, NAN);
    if (splits > 1 || twin < 0) continue;
    harness_buffer exact = harness_floats(problem_c_count(p));
    for (int64_t i = 0; i < problem_c_count(p); i++) ((float *)exact.data)[i] = element(p->c_before, true, i);
    buffers[2] = exact.data;
    harness_run(u, v, (size_t)twin, buffers, p->rows, p->blocks, splits);
    buffers[2] = p->c.data;
    for (int64_t i = 0; i < problem_c_count(p); i++)
      if (e.bound[i] > 0 && harness_bf16(((float *)exact.data)[i]) != ((uint16_t *)p->c.data)[i])
        problem_fail(p, "C is not the rounded f32", v, splits, i, (double)((float *)exact.data)[i]);
    harness_free(&exact);
  }
  expectation_destroy(&e);
  free(first);
}

static const int64_t row_counts[] = {0, 1, 2, 3, 5, 13, 14, 15, 16, 17, 29, 31, 32, 33, 113, 300};
enum { ROW_COUNTS = sizeof row_counts / sizeof row_counts[0] };

/* `kernels` random descriptions: with their f32 twins after them where C is bf16; of `rows` each: all, or two at random. */
static inline void check_random_unit(hmoec_cpu_schedule schedule, bool bf16, int64_t count, bool all_rows) {
  hmoec_kernel kernels[64];
  int64_t twins[32], total = count;
  for (int64_t i = 0; i < count; i++) {
    kernels[i] = (hmoec_kernel){.family = HMOEC_KERNEL_MATMUL, .spec.matmul = random_spec(&schedule, bf16, i % 2)};
    twins[i] = hmoec_is_bf16(kernels[i].spec.matmul.c_format) ? total : -1;
    if (twins[i] < 0) continue;
    kernels[total] = kernels[i];
    kernels[total++].spec.matmul.c_format = HMOEC_FORMAT_F32;
  }
  harness_unit u = harness_compile(kernels, (size_t)total, schedule);
  for (int64_t i = 0; i < count; i++)
    for (int64_t r = 0; r < (all_rows ? ROW_COUNTS : 2); r++) {
      problem p = problem_create(&kernels[i].spec.matmul, row_counts[all_rows ? r : harness_below(ROW_COUNTS)], NULL);
      problem_check(&u, (size_t)i, &p, twins[i]);
      problem_destroy(&p);
    }
  harness_destroy(&u);
}

/* The same rows in blocks of other sizes give the same bits; A as the description has it. */
static inline void check_row_blocks(hmoec_matmul_spec spec, hmoec_cpu_schedule schedule) {
  static const int64_t row_blocks[] = {1, 7, 13, 32, 33, HARNESS_MOST_BLOCK_ROWS};
  enum { COUNT = sizeof row_blocks / sizeof row_blocks[0], ROWS = 131 };
  hmoec_kernel kernels[COUNT];
  for (int i = 0; i < COUNT; i++) {
    kernels[i] = (hmoec_kernel){.family = HMOEC_KERNEL_MATMUL, .spec.matmul = spec};
    kernels[i].spec.matmul.row_block = row_blocks[i];
  }
  schedule.row_block = row_blocks[COUNT - 1];
  harness_unit u = harness_compile(kernels, COUNT, schedule);
  problem p = problem_create(&kernels[0].spec.matmul, ROWS, NULL);
  expectation e = problem_expect(&p);
  void *buffers[BINDINGS], *first[2] = {malloc(p.c.bytes), malloc(p.c.bytes)};
  problem_bind(&p, buffers);
  bool known[2];
  HARNESS_EACH_VERSION(u, v) for (size_t i = 0; i < COUNT; i++) {
    int64_t blocks = (ROWS + row_blocks[i] - 1) / row_blocks[i];
    int way = harness_way(ROWS, blocks);
    if (i == 0) known[0] = known[1] = false;
    memset(p.c.data, 0xff, p.c.bytes);
    harness_run(&u, v, i, buffers, ROWS, blocks, 2);
    if (!known[way]) memcpy(first[way], p.c.data, p.c.bytes);
    known[way] = true;
    if (memcmp(first[way], p.c.data, p.c.bytes) != 0) fail_msg("version %d: blocks of %" PRId64 " rows differ", v, row_blocks[i]);
    int64_t wrong = problem_wrong(&p, &e);
    if (wrong >= 0) problem_fail(&p, "row blocks", v, 2, wrong, e.want[wrong]);
  }
  expectation_destroy(&e);
  for (int way = 0; way < 2; way++) free(first[way]);
  problem_destroy(&p);
  harness_destroy(&u);
}

#endif
