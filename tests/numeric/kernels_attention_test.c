/* ATTENTION and STORE against plain loops in double precision: random descriptions and lengths, every version. Keys and values are stored by
 * the kernel, in a state that is NaN where nothing was stored. */
#include <float.h>

#include "matmul_problem.h"

enum { DIMS = 7, STORE_BLOCK = 16 };

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* ---- a problem: what attention reads, and what it must write ---- */

typedef struct shape {
  int64_t batch, kv_rows, length, past, kv_length, capacity, mask_ld;
} shape;

typedef struct attention_problem {
  hmoec_attention_spec spec;
  hmoec_store_spec store;
  shape shape;
  harness_buffer q, k, v, bias, mask, out; /* k and v: f32 [kv_rows * kv_length, ld] */
  harness_buffer keys, values;
  double *want, *bound; /* [batch * length, ld_out]; bound 0: to the bit */
} attention_problem;

static const float untouched = 3.140625f; /* a bf16 number */

static bool is_masked(const attention_problem *p, int64_t kv_row, int64_t j) {
  return p->spec.has_mask && ((const int32_t *)p->mask.data)[kv_row * p->shape.mask_ld + j] == 0;
}

static void reference_row(const attention_problem *p, int64_t row, int64_t position, int64_t head) {
  const hmoec_attention_spec *s = &p->spec;
  const shape *h = &p->shape;
  int64_t kv_row = row / (h->batch / h->kv_rows), t = h->past + position, d = s->head_size;
  const float *q = (const float *)p->q.data + (row * h->length + position) * s->ld_q + head * d;
  const float *k = (const float *)p->k.data + kv_row * h->kv_length * p->store.ld_k + head * d;
  const float *v = (const float *)p->v.data + kv_row * h->kv_length * p->store.ld_v + head * d;
  int64_t end = s->causal && t + 1 < h->kv_length ? t + 1 : h->kv_length;
  enum { MOST_KEYS = 2304 };
  double scores[MOST_KEYS], most = -INFINITY, total = 0, largest = 0; /* of the sums' absolute values: how far scores may be off */
  assert_true(end <= MOST_KEYS);
  for (int64_t j = 0; j < end; j++) {
    double magnitude = 0;
    scores[j] = 0;
    for (int64_t i = 0; i < d; i++) {
      double product = s->scale * (double)q[i] * (double)k[j * p->store.ld_k + i];
      scores[j] += product;
      magnitude += fabs(product);
    }
    if (magnitude > largest) largest = magnitude;
    int64_t difference = j - t;
    if (difference > s->max_distance) difference = s->max_distance;
    if (difference < -s->max_distance) difference = -s->max_distance;
    if (s->has_bias) scores[j] += (double)((const float *)p->bias.data)[head * s->bias_ld + s->bias_zero + difference];
    if (is_masked(p, kv_row, j)) scores[j] = (double)-FLT_MAX;
    if (scores[j] > most) most = scores[j];
  }
  for (int64_t j = 0; j < end; j++) total += scores[j] = exp(scores[j] - most);
  for (int64_t i = 0; i < d; i++) {
    double sum = 0, size = 0;
    for (int64_t j = 0; j < end; j++) {
      sum += scores[j] / total * (double)v[j * p->store.ld_v + i];
      size += scores[j] / total * fabs((double)v[j * p->store.ld_v + i]);
    }
    int64_t at = (row * h->length + position) * s->ld_out + head * d + i;
    p->want[at] = sum;
    p->bound[at] = end == 0 ? 0 : (2e-6 + 4e-7 * largest) * size + 1e-6 + (hmoec_is_bf16(s->out_format) ? fabs(sum) * 0x1p-8 : 0);
  }
}

/* One value a difference up to max_distance; the same further away; NaN where nothing may be read. */
static void fill_bias(attention_problem *p) {
  const hmoec_attention_spec *s = &p->spec;
  int64_t most = s->max_distance;
  for (int64_t head = 0; head < s->heads; head++) {
    float *zero = (float *)p->bias.data + head * s->bias_ld + s->bias_zero;
    for (int64_t i = -s->bias_zero; i < s->bias_ld - s->bias_zero; i++) {
      if (i < -most) zero[i] = i < -most - HMOE_PANEL ? NAN : zero[-most];
      if (i > most) zero[i] = i > most + HMOE_PANEL ? NAN : zero[most];
    }
  }
}

/* Of a row of the mask: some keys, none, or all but the last block's. */
static void fill_mask(attention_problem *p) {
  const shape *h = &p->shape;
  p->mask = harness_alloc((size_t)(h->kv_rows * h->mask_ld) * 4);
  int32_t *mask = p->mask.data;
  for (int64_t row = 0; row < h->kv_rows; row++) {
    int64_t kind = harness_below(4);
    for (int64_t j = 0; j < h->mask_ld; j++) {
      bool is_on = kind == 0 ? false : kind == 1 ? j >= h->kv_length - 5 : kind == 2 ? j < h->kv_length / 2 : harness_below(3) > 0;
      mask[row * h->mask_ld + j] = is_on ? 1 : 0;
    }
  }
}

/* Something that is not finite, in one of so many rows. */
static void spoil(harness_buffer *b, int64_t rows, int64_t ld, int64_t columns, int64_t one_of) {
  static const float what[] = {NAN, INFINITY, -INFINITY};
  for (int64_t row = 0; row < rows; row++)
    if (harness_below(one_of) == 0) ((float *)b->data)[row * ld + harness_below(columns)] = what[harness_below(3)];
}

/* Of differences all but some, or all but one: whole tiles of keys count nothing, or all that a query sees. */
static void spoil_bias(attention_problem *p) {
  const hmoec_attention_spec *s = &p->spec;
  int64_t most = s->max_distance, width = 2 * most + 1;
  for (int64_t head = 0; head < s->heads; head++) {
    int64_t kept = harness_below(width), reach = harness_coin() ? 0 : harness_below(width);
    for (int64_t i = 0; i < width; i++)
      if (i < kept - reach || i > kept + reach) ((float *)p->bias.data)[head * s->bias_ld + s->bias_zero - most + i] = -INFINITY;
  }
}

static attention_problem attention_create_of(const hmoec_attention_spec *spec, const hmoec_store_spec *store, const shape *h,
                                             bool is_spoiled) {
  attention_problem p = {.spec = *spec, .store = *store, .shape = *h};
  int64_t kv = h->kv_rows * h->kv_length, d = spec->heads * spec->head_size, elements = h->batch * h->length * spec->ld_out;
  p.q = harness_floats(h->batch * h->length * spec->ld_q);
  p.k = harness_floats(kv * store->ld_k);
  p.v = harness_floats(kv * store->ld_v);
  for (int64_t i = 0; i < h->batch * h->length * spec->ld_q; i++)
    ((float *)p.q.data)[i] = i % spec->ld_q < d ? 4 * ((float *)p.q.data)[i] : NAN;
  for (int64_t i = 0; i < kv * store->ld_k; i++)
    if (i % store->ld_k >= d) ((float *)p.k.data)[i] = NAN;
  for (int64_t i = 0; i < kv * store->ld_v; i++)
    if (i % store->ld_v >= d) ((float *)p.v.data)[i] = NAN;
  p.bias = harness_floats(spec->heads * spec->bias_ld);
  if (is_spoiled) {
    spoil(&p.q, h->batch * h->length, spec->ld_q, d, 12);
    if (harness_coin()) spoil(&p.k, kv, store->ld_k, d, 100); /* queries that see it have no result */
    spoil(&p.v, kv, store->ld_v, d, 12);
    ((float *)p.v.data)[(kv - 1) * store->ld_v] = INFINITY;
    spoil_bias(&p);
  }
  fill_bias(&p);
  fill_mask(&p);
  p.out = harness_alloc((size_t)elements * (hmoec_is_bf16(spec->out_format) ? 2 : 4));
  p.keys = harness_alloc((size_t)(h->kv_rows * spec->heads * h->capacity * spec->head_size) * 4);
  p.values = harness_alloc((size_t)(h->kv_rows * spec->heads * h->capacity * harness_up(spec->head_size, HMOE_PANEL)) * 4);
  p.want = malloc((size_t)(elements + 1) * 8);
  p.bound = calloc((size_t)elements + 1, 8);
  assert_true(p.want && p.bound);
  for (int64_t i = 0; i < elements; i++) p.want[i] = i % spec->ld_out < harness_up(d, HMOE_PANEL) ? 0 : (double)untouched;
  for (int64_t i = 0; i < h->batch * h->length * spec->heads; i++)
    reference_row(&p, i / spec->heads / h->length, i / spec->heads % h->length, i % spec->heads);
  return p;
}

static attention_problem attention_create(const hmoec_attention_spec *spec, const hmoec_store_spec *store, const shape *h) {
  return attention_create_of(spec, store, h, false);
}

static void attention_destroy(attention_problem *p) {
  harness_free(&p->q), harness_free(&p->k), harness_free(&p->v), harness_free(&p->bias), harness_free(&p->mask);
  harness_free(&p->out), harness_free(&p->keys), harness_free(&p->values);
  free(p->want), free(p->bound);
}

/* Positions [from, to) of all rows, by the kernel. */
static void store_positions(const harness_unit *u, int version, size_t kernel, attention_problem *p, int64_t from, int64_t to) {
  const shape *h = &p->shape;
  const hmoec_store_spec *s = &p->store;
  int64_t length = to - from, rows = h->kv_rows * length;
  harness_buffer k = harness_alloc((size_t)(rows * s->ld_k) * 4), v = harness_alloc((size_t)(rows * s->ld_v) * 4);
  for (int64_t r = 0; r < rows; r++) {
    int64_t source = r / length * h->kv_length + from + r % length;
    memcpy((float *)k.data + r * s->ld_k, (float *)p->k.data + source * s->ld_k, (size_t)s->ld_k * 4);
    memcpy((float *)v.data + r * s->ld_v, (float *)p->v.data + source * s->ld_v, (size_t)s->ld_v * 4);
  }
  int64_t dims[] = {length, from, h->capacity};
  harness_run_dims(u, version, kernel, (void *[]){k.data, v.data, p->keys.data, p->values.data}, dims, 3, rows,
                   ceil_div(rows, s->row_block), 1);
  harness_free(&k), harness_free(&v);
}

/* Every position of the layout of abi.h, taken apart. */
static void check_state(const attention_problem *p, int version) {
  const shape *h = &p->shape;
  int64_t d = p->spec.head_size, heads = p->spec.heads, padded = harness_up(d, HMOE_PANEL);
  const float *keys = p->keys.data, *values = p->values.data, *k = p->k.data, *v = p->v.data;
  for (int64_t n = 0; n < h->kv_rows * heads * h->capacity; n++) {
    int64_t t = n % h->capacity, head = n / h->capacity % heads, row = n / h->capacity / heads;
    for (int64_t i = 0; i < padded; i++) {
      float value = values[((row * heads + head) * (padded / 32) + i / 32) * h->capacity * 32 + t * 32 + i % 32];
      int64_t source = row * h->kv_length + t;
      float want = t >= h->kv_length ? NAN : i < d ? v[source * p->store.ld_v + head * d + i] : 0.0f;
      bool is_right = isnan(want) ? isnan(value) : value == want;
      if (i < d) {
        float key = keys[(((row * heads + head) * (h->capacity / 32) + t / 32) * d + i) * 32 + t % 32];
        float want_key = t >= h->kv_length ? NAN : k[source * p->store.ld_k + head * d + i];
        is_right &= isnan(want_key) ? isnan(key) : key == want_key;
      }
      if (!is_right) fail_msg("store, version %d: head %" PRId64 ", position %" PRId64 ", element %" PRId64, version, head, t, i);
    }
  }
}

static void store_all(const harness_unit *u, int version, size_t kernel, attention_problem *p) {
  memset(p->keys.data, 0xff, p->keys.bytes);
  memset(p->values.data, 0xff, p->values.bytes);
  int64_t first = harness_below(p->shape.kv_length + 1);
  store_positions(u, version, kernel, p, 0, first);
  store_positions(u, version, kernel, p, first, p->shape.kv_length);
  check_state(p, version);
}

#ifdef HARNESS_CUDA
/* Into how many tasks the keys of a head may fall, 1: into no more than one. */
static int64_t most_shares(const attention_problem *p) {
  const shape *h = &p->shape;
  bool is_few = h->length <= HMOE_CUDA_SHARED_QUERIES && h->length <= p->spec.query_block;
  int64_t parts = h->length * ceil_div(h->kv_length, HMOE_CUDA_PART_KEYS);
  return is_few && parts ? parts : 1;
}

/* With shared keys: what parts leave, in memory that was never written, is put together. */
static void attend_shared(const harness_unit *u, size_t kernel, attention_problem *p, void **buffers, const int64_t *dims,
                          int64_t rows, int64_t shares) {
  int64_t floats = rows * most_shares(p) * hmoec_cuda_attention_part_floats(p->spec.head_size);
  harness_buffer parts = harness_alloc((size_t)floats * 4);
  memset(parts.data, 0xff, parts.bytes);
  buffers[6] = parts.data;
  harness_run_dims(u, 0, kernel, buffers, dims, DIMS, rows, rows, shares);
  harness_run_dims(u, 0, kernel, buffers, dims, DIMS, rows, rows, 0);
  harness_free(&parts);
}

static int64_t shares_wanted; /* 0: any */
#endif

static void attend(const harness_unit *u, int version, size_t kernel, attention_problem *p) {
  const shape *h = &p->shape;
  const hmoec_attention_spec *s = &u->kernels[kernel].spec.attention;
  for (int64_t i = 0; i < h->batch * h->length * s->ld_out; i++)
    element_set(p->out.data, hmoec_is_bf16(s->out_format), i, untouched);
  void *buffers[] = {
      p->q.data,   p->keys.data, p->values.data, s->has_bias ? p->bias.data : NULL, s->has_mask ? p->mask.data : NULL,
      p->out.data, NULL};
  int64_t dims[DIMS] = {h->batch, h->length, h->past, h->kv_length, h->capacity, h->kv_rows, h->mask_ld};
  int64_t rows = h->batch * s->heads * ceil_div(h->length, s->query_block);
#ifdef HARNESS_CUDA
  int64_t most = most_shares(p), shares = shares_wanted ? shares_wanted : harness_coin() ? 1 : 1 + harness_below(most);
  if (shares > 1 && most > 1) {
    attend_shared(u, kernel, p, buffers, dims, rows, shares);
    return;
  }
#endif
  harness_run_dims(u, version, kernel, buffers, dims, DIMS, rows, rows, 1);
}

static void attention_fail(const attention_problem *p, const char *what, int version, int64_t at, double want) {
  const hmoec_attention_spec *s = &p->spec;
  const shape *h = &p->shape;
  print_error("heads %" PRId64 " of %" PRId64 "%s%s%s%s, query block %" PRId64 "; batch %" PRId64 " of %" PRId64
              " rows, length %" PRId64 ", past %" PRId64 ", keys %" PRId64 ", capacity %" PRId64 "\n",
              s->heads, s->head_size, s->causal ? " causal" : "", s->has_bias ? " bias" : "", s->has_mask ? " mask" : "",
              hmoec_is_bf16(s->out_format) ? " bf16" : "", s->query_block, h->batch, h->kv_rows, h->length, h->past, h->kv_length,
              h->capacity);
  fail_msg("%s, version %d: out[%" PRId64 "][%" PRId64 "] is %.9g, expected %.9g", what, version, at / s->ld_out, at % s->ld_out,
           (double)element(p->out.data, hmoec_is_bf16(s->out_format), at), want);
}

static bool is_near(double value, double want, double bound) {
  if (isnan(want)) return isnan(value);
  return isinf(want) ? value == want : fabs(value - want) <= bound;
}

static void attention_check(int version, const attention_problem *p) {
  for (int64_t i = 0; i < p->shape.batch * p->shape.length * p->spec.ld_out; i++)
    if (!is_near((double)element(p->out.data, hmoec_is_bf16(p->spec.out_format), i), p->want[i], p->bound[i]))
      attention_fail(p, "attention", version, i, p->want[i]);
}

/* ---- random problems ---- */

static hmoec_attention_spec random_attention(const hmoec_cpu_schedule *schedule) {
  static const int64_t sizes[] = {16, 24, 32, 48, 64, 7, 96};
  hmoec_attention_spec s = {.heads = 1 + harness_below(4),
                            .head_size = sizes[harness_below(7)],
                            .causal = harness_coin(),
                            .has_bias = harness_coin(),
                            .has_mask = harness_coin(),
                            .out_format = harness_format(harness_below(3) == 0),
                            .max_distance = harness_coin() ? 128 : 1 + harness_below(60),
                            .query_block = 1 + harness_below(schedule->row_block)};
  s.scale = harness_coin() ? 1.0 : 1.0 / sqrt((double)s.head_size);
  s.ld_q = s.heads * s.head_size + harness_below(3);
  s.ld_out = harness_up(s.heads * s.head_size, HMOE_PANEL) + harness_below(3);
  s.bias_zero = s.max_distance + HMOE_PANEL + harness_below(3);
  s.bias_ld = s.bias_zero + s.max_distance + HMOE_PANEL + 1 + harness_below(3);
  return s;
}

/* `length` keys; as many queries, or a few after the others, or unrelated ones. */
static shape random_shape(int64_t length) {
  shape h = {.kv_rows = 1 + harness_below(2), .kv_length = length};
  h.batch = h.kv_rows * (length < 200 ? 1 + harness_below(2) : 1);
  int64_t kind = harness_below(4);
  if (kind == 0) h.length = length;
  if (kind == 1) h.length = length > 0, h.past = length - h.length;
  if (kind == 2) h.length = length ? 1 + harness_below(length) : 0, h.past = length - h.length;
  if (kind == 3) h.length = 1 + harness_below(40), h.past = harness_below(20);
  h.capacity = harness_up(length ? length : 1, HMOE_PANEL) + HMOE_PANEL * harness_below(3);
  h.mask_ld = length + harness_below(3);
  return h;
}

/* What specs below have in common. */
static hmoec_attention_spec attention_spec(int64_t heads, int64_t head_size) {
  enum { DISTANCE = 40 };
  int64_t width = harness_up(heads * head_size, HMOE_PANEL);
  return (hmoec_attention_spec){.heads = heads,
                                .head_size = head_size,
                                .ld_q = heads * head_size,
                                .ld_out = width,
                                .scale = 1.0 / sqrt((double)head_size),
                                .max_distance = DISTANCE,
                                .bias_zero = DISTANCE + HMOE_PANEL,
                                .bias_ld = 2 * (DISTANCE + HMOE_PANEL) + 1};
}

/* By kernels `attention` and, which stores for it, the next one. */
static void check_problem(const harness_unit *u, size_t attention, attention_problem *p) {
  HARNESS_EACH_VERSION(*u, v) {
    store_all(u, v, attention + 1, p);
    attend(u, v, attention, p);
    attention_check(v, p);
  }
}

static const int64_t lengths[] = {0, 1, 2, 31, 32, 33, 63, 127, 128, 129, 160, 300};

static void check_unit(hmoec_cpu_schedule schedule) {
  enum { SPECS = HARNESS_IS_SLOW ? 3 : 6 };
  hmoec_kernel kernels[2 * SPECS + 1];
  for (int i = 0; i < SPECS; i++) {
    hmoec_attention_spec s = random_attention(&schedule);
    int64_t d = s.heads * s.head_size;
    kernels[2 * i] = (hmoec_kernel){.family = HMOEC_KERNEL_ATTENTION, .spec.attention = s};
    kernels[2 * i + 1] = (hmoec_kernel){
        .family = HMOEC_KERNEL_STORE,
        .spec.store = {s.heads, s.head_size, d + harness_below(3), d + harness_below(3), 1 + harness_below(STORE_BLOCK)}};
  }
  kernels[2 * SPECS] = problem_bf16_product();
  harness_unit u = harness_compile(kernels, 2 * SPECS + HARNESS_BF16_PRODUCTS, schedule);
  for (size_t i = 0; i < SPECS; i++)
    for (size_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++) {
      shape h = random_shape(lengths[l]);
      attention_problem p = attention_create(&kernels[2 * i].spec.attention, &kernels[2 * i + 1].spec.store, &h);
      check_problem(&u, 2 * i, &p);
      attention_destroy(&p);
    }
  harness_destroy(&u);
}

static void test_random_specs(void **state) {
  (void)state;
  for (int unit = 0; unit < (HARNESS_IS_SLOW ? 1 : 4); unit++) {
    hmoec_cpu_schedule schedule = hmoec_cpu_schedule_default(DEEPEST);
    schedule.row_block = unit % 2 ? 64 : 20;
    if (unit >= 2) random_tiles(&schedule);
    check_unit(schedule);
  }
}

/* ---- keys, values, queries and biases that are not finite: what a query sees reaches its result, and nothing else does ---- */

static void test_not_finite(void **state) {
  (void)state;
  static const int64_t sizes[] = {64, 7, 80, 1};
  enum { SIZES = sizeof sizes / sizeof *sizes };
  static const shape shapes[] = {{1, 1, 70, 0, 70, 96, 70},
                                 {2, 1, 3, 120, 123, 128, 130},
                                 {1, 1, 20, 0, 20, 32, 20},
                                 {2, 2, 12, 60, 72, 96, 72},
                                 {1, 1, 40, 90, 130, 160, 130}};
  hmoec_kernel kernels[2 * SIZES + 1];
  for (int i = 0; i < SIZES; i++) {
    hmoec_attention_spec s = attention_spec(2, sizes[i]);
    s.causal = i % 2 == 0;
    s.has_bias = i < 3;
    s.has_mask = i == 2;
    s.query_block = 64;
    kernels[2 * i] = (hmoec_kernel){.family = HMOEC_KERNEL_ATTENTION, .spec.attention = s};
    kernels[2 * i + 1] = (hmoec_kernel){.family = HMOEC_KERNEL_STORE, .spec.store = {2, sizes[i], s.ld_q, s.ld_q, STORE_BLOCK}};
  }
  kernels[2 * SIZES] = problem_bf16_product();
  harness_unit u = harness_compile(kernels, 2 * SIZES + HARNESS_BF16_PRODUCTS, hmoec_cpu_schedule_default(DEEPEST));
  for (size_t i = 0; i < SIZES; i++)
    for (size_t n = 0; n < sizeof shapes / sizeof *shapes; n++) {
      attention_problem p = attention_create_of(&kernels[2 * i].spec.attention, &kernels[2 * i + 1].spec.store, &shapes[n], true);
      check_problem(&u, 2 * i, &p);
      attention_destroy(&p);
    }
  harness_destroy(&u);
}

#ifdef HARNESS_CUDA
/* Heads of every width that has queries in tiles of its own size, and results in columns of its own number. */
static void test_wide_heads(void **state) {
  (void)state;
  static const int64_t sizes[] = {65, 129, 300, 512};
  enum { SIZES = sizeof sizes / sizeof *sizes };
  static const shape shapes[] = {
      {1, 1, 19, 50, 69, 96, 69}, {1, 1, 2, 700, 702, 704, 702}, {1, 1, 5, 0, 0, 32, 0}, {1, 1, 70, 0, 1, 32, 1}};
  for (int i = 0; i < SIZES; i++) {
    hmoec_attention_spec s = attention_spec(1, sizes[i]);
    s.causal = i % 2 == 0;
    int64_t at_one_time = hmoec_cuda_attention_rows(s.head_size);
    assert_int_equal(at_one_time, i < 1 ? 64 : i < 2 ? 32 : 16);
    s.query_block = i % 2 ? 2 * at_one_time : at_one_time; /* a task's queries may be more than that */
    hmoec_kernel kernels[] = {{.family = HMOEC_KERNEL_ATTENTION, .spec.attention = s},
                              {.family = HMOEC_KERNEL_STORE, .spec.store = {1, sizes[i], s.ld_q, s.ld_q, STORE_BLOCK}}};
    harness_unit u = harness_compile(kernels, 2, hmoec_cpu_schedule_default(DEEPEST));
    for (size_t n = 0; n < sizeof shapes / sizeof *shapes; n++) {
      attention_problem p = attention_create(&s, &kernels[1].spec.store, &shapes[n]);
      store_all(&u, 0, 1, &p);
      attend(&u, 0, 0, &p);
      attention_check(0, &p);
      attention_destroy(&p);
    }
    harness_destroy(&u);
  }
}

/* However many tasks share the keys, bits are those of one. */
static void test_shared_keys(void **state) {
  (void)state;
  static const int64_t sizes[] = {24, 64, 300};
  static const shape shapes[] = {
      {2, 1, 1, 520, 521, 544, 530}, {1, 1, 8, 62, 70, 96, 70}, {1, 1, 3, 0, 190, 192, 190}, {1, 1, 1, 2240, 2241, 2272, 2241}};
  for (int i = 0; i < 3; i++) {
    hmoec_attention_spec s = attention_spec(2, sizes[i]);
    s.causal = i != 1;
    s.has_bias = i == 0;
    s.has_mask = i < 2;
    s.query_block = 16;
    hmoec_kernel kernels[] = {{.family = HMOEC_KERNEL_ATTENTION, .spec.attention = s},
                              {.family = HMOEC_KERNEL_STORE, .spec.store = {2, sizes[i], s.ld_q, s.ld_q, STORE_BLOCK}}};
    harness_unit u = harness_compile(kernels, 2, hmoec_cpu_schedule_default(DEEPEST));
    for (size_t n = 0; n < sizeof shapes / sizeof *shapes - (i == 2); n++) {
      attention_problem p = attention_create_of(&s, &kernels[1].spec.store, &shapes[n], n == 1);
      int64_t most = most_shares(&p), shares[] = {1, 2, 3 + harness_below(most - 2), most};
      char *first = malloc(p.out.bytes);
      store_all(&u, 0, 1, &p);
      for (size_t k = 0; k < sizeof shares / sizeof *shares; k++) {
        shares_wanted = shares[k];
        attend(&u, 0, 0, &p);
        attention_check(0, &p);
        if (!k) memcpy(first, p.out.data, p.out.bytes);
        if (memcmp(first, p.out.data, p.out.bytes) != 0) fail_msg("%" PRId64 " tasks share keys: other bits", shares[k]);
      }
      shares_wanted = 0;
      free(first);
      attention_destroy(&p);
    }
    harness_destroy(&u);
  }
}

#else
/* A unit of nothing else has the micro-kernels too, and a unit that only stores what it needs: together they attend. */
static void test_alone(void **state) {
  (void)state;
  hmoec_kernel kernel = {.family = HMOEC_KERNEL_ATTENTION,
                         .spec.attention = {.heads = 1, .head_size = 16, .ld_q = 16, .ld_out = 32, .scale = 1, .query_block = 8}};
  hmoec_kernel store = {.family = HMOEC_KERNEL_STORE, .spec.store = {1, 16, 16, 16, STORE_BLOCK}};
  harness_unit attention = harness_compile(&kernel, 1, hmoec_cpu_schedule_default(128));
  harness_unit storing = harness_compile(&store, 1, hmoec_cpu_schedule_default(128));
  const shape h = {.batch = 2, .kv_rows = 2, .length = 5, .kv_length = 40, .capacity = 64, .mask_ld = 40};
  attention_problem p = attention_create(&kernel.spec.attention, &store.spec.store, &h);
  int versions = 0;
  HARNESS_EACH_VERSION(attention, v) {
    assert_non_null(harness_function(attention.object, v, 0)->call);
    store_all(&storing, v, 0, &p);
    attend(&attention, v, 0, &p);
    attention_check(v, &p);
    versions++;
  }
  assert_true(versions >= 1);
  attention_destroy(&p);
  harness_destroy(&storing);
  harness_destroy(&attention);
}

#endif

/* ---- bits: a row of queries has the same result whatever it is computed with ---- */

static void compare_bits(const attention_problem *p, const char *want, int64_t rows, const char *what, int version) {
  if (memcmp(want, p->out.data, (size_t)(rows * p->spec.ld_out) * 4) != 0) fail_msg("%s, version %d: other bits", what, version);
}

static void test_bits(void **state) {
  (void)state;
#ifdef HARNESS_CUDA
  static const int64_t blocks[] = {64, 3, 14};
#else
  static const int64_t blocks[] = {64, 1, 3, 14, 33};
#endif
  enum { BLOCKS = sizeof blocks / sizeof blocks[0], LENGTH = HARNESS_IS_SLOW ? 40 : 150, PAST = 21 };
  for (int kind = 0; kind < 4; kind++) {
    hmoec_kernel kernels[BLOCKS + 1];
    hmoec_attention_spec s = {
        .heads = 2, .head_size = kind % 2 ? 64 : 24, .causal = kind < 3, .has_bias = kind == 1, .has_mask = kind == 2};
    s.scale = 0.25;
    s.ld_q = s.ld_out = harness_up(s.heads * s.head_size, HMOE_PANEL);
    s.max_distance = 128;
    s.bias_zero = 160;
    s.bias_ld = 330;
    for (int i = 0; i < BLOCKS; i++) {
      s.query_block = blocks[i];
      kernels[i] = (hmoec_kernel){.family = HMOEC_KERNEL_ATTENTION, .spec.attention = s};
    }
    kernels[BLOCKS] =
        (hmoec_kernel){.family = HMOEC_KERNEL_STORE, .spec.store = {s.heads, s.head_size, s.ld_q, s.ld_q, STORE_BLOCK}};
    const hmoec_store_spec *store = &kernels[BLOCKS].spec.store;
    hmoec_cpu_schedule schedule = hmoec_cpu_schedule_default(DEEPEST);
    harness_unit u = harness_compile(kernels, BLOCKS + 1, schedule);
    shape h = {.batch = 2,
               .kv_rows = 2,
               .length = LENGTH,
               .past = PAST,
               .kv_length = PAST + LENGTH,
               .capacity = 192,
               .mask_ld = PAST + LENGTH};
    attention_problem all = attention_create(&kernels[0].spec.attention, store, &h);

    /* The second row alone, in a larger state. */
    shape one = h;
    one.batch = one.kv_rows = 1;
    one.capacity = 320;
    attention_problem second = attention_create(&kernels[0].spec.attention, store, &one);
    size_t kv = (size_t)(h.kv_length * s.ld_q), q = (size_t)(LENGTH * s.ld_q);
    memcpy(second.k.data, (float *)all.k.data + kv, kv * 4), memcpy(second.v.data, (float *)all.v.data + kv, kv * 4);
    memcpy(second.q.data, (float *)all.q.data + q, q * 4), memcpy(second.bias.data, all.bias.data, all.bias.bytes);
    memcpy(second.mask.data, (int32_t *)all.mask.data + h.mask_ld, (size_t)h.mask_ld * 4);

    char *first = malloc(all.out.bytes);
    HARNESS_EACH_VERSION(u, v) {
      store_all(&u, v, BLOCKS, &all);
      store_all(&u, v, BLOCKS, &second);
      attend(&u, v, 0, &all);
      attention_check(v, &all);
      memcpy(first, all.out.data, all.out.bytes);
      for (size_t i = 0; i < BLOCKS; i++) {
        attend(&u, v, i, &all);
        compare_bits(&all, first, 2 * LENGTH, "query blocks", v);
        attend(&u, v, i, &second);
        compare_bits(&second, first + second.out.bytes, LENGTH, "one row of a batch", v);
      }
      /* One query after the other, with the keys that exist by then. */
      shape whole = second.shape;
      void *queries = second.q.data;
      for (int64_t t = 0; s.causal && t < LENGTH; t++) {
        second.shape.length = 1;
        second.shape.past = PAST + t;
        second.shape.kv_length = PAST + t + 1;
        second.q.data = (float *)queries + t * s.ld_q;
        attend(&u, v, 0, &second);
        compare_bits(&second, first + second.out.bytes + (size_t)(t * s.ld_out) * 4, 1, "one query", v);
      }
      second.q.data = queries;
      second.shape = whole;
    }
    free(first);
    attention_destroy(&all), attention_destroy(&second);
    harness_destroy(&u);
  }
}

int main(void) {
  harness_seed();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_specs),
#ifdef HARNESS_CUDA
                                     cmocka_unit_test(test_wide_heads), cmocka_unit_test(test_shared_keys),
#else
                                     cmocka_unit_test(test_alone),
#endif
                                     cmocka_unit_test(test_not_finite), cmocka_unit_test(test_bits)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
