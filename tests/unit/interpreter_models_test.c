/* The interpreter's ops of whole models against direct formulas, at odd sizes; and random whole models stay tame. */
#include <float.h>
#include <math.h>
#include <stdio.h>

#include "module_fixture.h"

#include "frontend/load.h"
#include "frontend/spec.h"
#include "interpreter/interpreter.h"
#include "interpreter/parameters.h"

#define MOST_INPUTS 8
#define TOLERANCE 1e-12

/* Inputs of a small spec, in the order it declares them. */
typedef struct inputs {
  hmoec_tensor tensors[MOST_INPUTS];
  size_t count;
} inputs;

static hmoec_tensor *input_add(inputs *in, hmoec_element element, int64_t rank, const int64_t *dims) {
  hmoec_shape shape = {.element = element, .rank = rank};
  memcpy(shape.dims, dims, (size_t)rank * sizeof *dims);
  hmoec_tensor *tensor = &in->tensors[in->count++];
  assert_true(hmoec_tensor_init(tensor, &shape));
  return tensor;
}

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})
#define RANK(...) (sizeof DIMS(__VA_ARGS__) / sizeof(int64_t))

/* Random values of variance 1; a key has its own. */
static const double *random_input(inputs *in, const char *key, int64_t rank, const int64_t *dims) {
  hmoec_tensor *tensor = input_add(in, HMOEC_F32, rank, dims);
  size_t count = (size_t)hmoec_shape_elements(&tensor->shape);
  float *values = malloc((count + 1) * sizeof *values);
  assert_non_null(values);
  hmoec_random_fill(3, key, 1, count, values);
  for (size_t i = 0; i < count; i++) tensor->data[i] = (double)values[i];
  free(values);
  return tensor->data;
}
#define RANDOM(in, key, ...) random_input(in, key, RANK(__VA_ARGS__), DIMS(__VA_ARGS__))

/* i64 [batch, length] */
static const double *integer_input(inputs *in, int64_t batch, int64_t length, const double *values) {
  hmoec_tensor *tensor = input_add(in, HMOEC_I64, 2, DIMS(batch, length));
  memcpy(tensor->data, values, (size_t)(batch * length) * sizeof *values);
  return tensor->data;
}

/* Runs a spec; with `error`, it is to fail in that way. The inputs are freed. */
static void run_spec(const char *text, inputs *in, hmoec_tensor *outputs, size_t output_count, const char *error) {
  module_fixture fixture;
  fixture_init(&fixture, error ? NULL : stderr);
  hmoec_diagnostics_add_source(fixture.diagnostics, "test.spec", text, strlen(text));
  assert_true(hmoec_spec_build(fixture.context, fixture.diagnostics, NULL, "test.spec", text, strlen(text), NULL, &fixture.module));
  hmoec_random_parameters *parameters = hmoec_random_parameters_create(fixture.module, 7);
  assert_non_null(parameters);
  hmoec_parameter_source source = hmoec_random_parameters_source(parameters);
  bool ok = hmoec_interpret(hmoec_entry_find(fixture.module, NULL), &source, in->tensors, in->count, outputs, output_count,
                            fixture.diagnostics);
  assert_int_equal(ok, error == NULL);
  if (error) assert_string_equal(hmoec_diagnostics_first(fixture.diagnostics), error);
  hmoec_random_parameters_destroy(parameters);
  fixture_deinit(&fixture);
}

static void inputs_deinit(inputs *in) {
  for (size_t i = 0; i < in->count; i++) hmoec_tensor_deinit(&in->tensors[i]);
  in->count = 0;
}

static void expect_near(double found, double expected) {
  if (fabs(found - expected) <= TOLERANCE * fmax(1, fabs(expected))) return;
  print_error("expected %.17g, found %.17g\n", expected, found);
  fail();
}

static void test_embedding(void **state) {
  (void)state;
  inputs in = {0};
  const double *ids = integer_input(&in, 2, 3, (double[]){4, 0, 1, 1, 4, 2}), *rows = RANDOM(&in, "rows", 5, 7);
  hmoec_tensor y;
  run_spec("model m\ndim b = ?, s = ?\ninput ids: i64[b, s]\ninput rows: f32[5, 7]\noutput y = embedding(ids, rows)", &in, &y, 1,
           NULL);
  for (size_t t = 0; t < 6; t++)
    for (size_t i = 0; i < 7; i++) assert_true(y.data[t * 7 + i] == rows[(size_t)ids[t] * 7 + i]);
  hmoec_tensor_deinit(&y);
  inputs_deinit(&in);
}

static void test_ids_outside_of_the_table(void **state) {
  (void)state;
  static const double wrong[] = {5, -1};
  static const char *const messages[] = {"embedding: id 5 of token [1, 2] is outside of a table of 5 rows",
                                         "embedding: id -1 of token [1, 2] is outside of a table of 5 rows"};
  for (size_t i = 0; i < 2; i++) {
    inputs in = {0};
    integer_input(&in, 2, 3, (double[]){4, 0, 1, 1, 4, wrong[i]});
    RANDOM(&in, "rows", 5, 7);
    hmoec_tensor y;
    run_spec("model m\ndim b = ?, s = ?\ninput ids: i64[b, s]\ninput rows: f32[5, 7]\noutput y = embedding(ids, rows)", &in, &y, 1,
             messages[i]);
    inputs_deinit(&in);
  }
}

static const char positions_text[] =
    "model m\ndim b = ?, s = ?\ninput mask: i64[b, s]\ninput rows: f32[3, 2]\noutput y = position_embedding(mask, rows)";

/* Padding before, within and after. */
static void test_position_embedding(void **state) {
  (void)state;
  inputs in = {0};
  integer_input(&in, 3, 4, (double[]){1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 1, 0});
  const double *rows = RANDOM(&in, "rows", 3, 2);
  static const size_t expected[] = {0, 1, 2, 2, 0, 0, 0, 1, 0, 0, 1, 1};
  hmoec_tensor y;
  run_spec(positions_text, &in, &y, 1, NULL);
  for (size_t t = 0; t < 12; t++)
    for (size_t i = 0; i < 2; i++) assert_true(y.data[t * 2 + i] == rows[expected[t] * 2 + i]);
  hmoec_tensor_deinit(&y);
  inputs_deinit(&in);
}

static void test_positions_past_the_table(void **state) {
  (void)state;
  inputs in = {0};
  integer_input(&in, 1, 4, (double[]){1, 1, 1, 1});
  RANDOM(&in, "rows", 3, 2);
  hmoec_tensor y;
  run_spec(positions_text, &in, &y, 1, "position_embedding: position 3 of token [0, 3] is outside of a table of 3 rows");
  inputs_deinit(&in);
}

/* Both norms, on rows of either rank: sums of squares in the other order, variance as E[x^2] - E[x]^2. */
static void test_norms(void **state) {
  (void)state;
  enum { B = 2, S = 3, H = 7 };
  inputs in = {0};
  const double *x = RANDOM(&in, "x", B, S, H), *weight = RANDOM(&in, "weight", H), *bias = RANDOM(&in, "bias", H);
  hmoec_tensor y[3];
  run_spec("model m\ndim b = ?, s = ?\ninput x: f32[b, s, 7]\ninput weight: f32[7]\ninput bias: f32[7]\n"
           "output rms = rms_norm(x, weight)\noutput layer = layer_norm(x, weight, bias)\n"
           "output flat = rms_norm(flatten(x), weight)",
           &in, y, 3, NULL);
  for (size_t t = 0; t < B * S; t++) {
    double sum = 0, squares = 0;
    for (size_t i = H; i-- > 0;) {
      sum += x[t * H + i] / H;
      squares += x[t * H + i] * x[t * H + i] / H;
    }
    for (size_t i = 0; i < H; i++) {
      double value = x[t * H + i];
      expect_near(y[0].data[t * H + i], weight[i] * value * pow(squares + 1e-6, -0.5));
      expect_near(y[2].data[t * H + i], weight[i] * value * pow(squares + 1e-6, -0.5));
      expect_near(y[1].data[t * H + i], bias[i] + weight[i] * (value - sum) * pow(squares - sum * sum + 1e-5, -0.5));
    }
  }
  assert_int_equal(y[1].shape.rank, 3);
  assert_int_equal(y[2].shape.rank, 2);
  for (size_t i = 0; i < 3; i++) hmoec_tensor_deinit(&y[i]);
  inputs_deinit(&in);
}

/* multiply, scale, transpose, flatten, unflatten, and linear, activate, add and slice on three dimensions. */
static void test_rows_of_batches(void **state) {
  (void)state;
  enum { B = 3, S = 5, C = 4, O = 7 };
  inputs in = {0};
  const double *x = RANDOM(&in, "x", B, S, C), *w = RANDOM(&in, "w", C, O), *bias = RANDOM(&in, "bias", O);
  hmoec_tensor y[4];
  run_spec("model m\ndim b = ?, s = ?\ninput x: f32[b, s, 4]\ninput w: f32[4, 7]\ninput bias: f32[7]\n"
           "z = linear(x, transpose(w), bias)\noutput whole = z\noutput part = slice(z, begin = 2, end = 5)\n"
           "output squared = scale(multiply(z, activate(z, function = relu)), inverse_sqrt = 48)\n"
           "output back = unflatten(flatten(add(z, z)), x)",
           &in, y, 4, NULL);
  for (size_t t = 0; t < B * S; t++)
    for (size_t o = 0; o < O; o++) {
      double z = bias[o];
      for (size_t i = 0; i < C; i++) z += x[t * C + i] * w[i * O + o];
      expect_near(y[0].data[t * O + o], z);
      if (o >= 2 && o < 5) expect_near(y[1].data[t * 3 + o - 2], z);
      expect_near(y[2].data[t * O + o], z * fmax(z, 0) / sqrt(48));
      expect_near(y[3].data[t * O + o], 2 * z);
    }
  assert_int_equal(y[3].shape.rank, 3);
  assert_int_equal(y[3].shape.dims[1], S);
  for (size_t i = 0; i < 4; i++) hmoec_tensor_deinit(&y[i]);
  inputs_deinit(&in);
}

/* Axes and steps of slices, pieces along every axis, and factors of columns and of rows. */
static void test_parts(void **state) {
  (void)state;
  enum { N = 3, F = 5, D = 4 };
  inputs in = {0};
  const double *w = RANDOM(&in, "w", N, F, D), *v = RANDOM(&in, "v", F, D), *c = RANDOM(&in, "c", D);
  hmoec_tensor y[8];
  run_spec("model m\ninput w: f32[3, 5, 4]\ninput v: f32[5, 4]\ninput c: f32[4]\n"
           "output middle = slice(w, axis = 1, begin = 1, end = 5, step = 3)\noutput one = slice(w, axis = -3, begin = 2, end = 3, "
           "squeeze = 1)\n"
           "output rows = concat(v, slice(v, axis = 0, begin = 0, end = 5, step = 2), axis = 0)\n"
           "output wide = concat(w, slice(w, begin = 3, end = 4), w)\noutput vector = concat(c, slice(c, begin = 1, end = 4, step "
           "= 2))\n"
           "output columns = scale(v, c, by = -3)\noutput row = scale(w, slice(w, begin = 2, end = 3), inverse_sqrt = 4)\n"
           "output stacks = concat(w, slice(w, axis = 1, begin = 4, end = 5), axis = 1)",
           &in, y, 8, NULL);
  static const int64_t shapes[][4] = {{3, 3, 2, 4}, {2, 5, 4}, {2, 8, 4},    {3, 3, 5, 9},
                                      {1, 6},       {2, 5, 4}, {3, 3, 5, 4}, {3, 3, 6, 4}};
  for (size_t i = 0; i < 8; i++) {
    assert_int_equal(y[i].shape.rank, shapes[i][0]);
    for (int64_t d = 0; d < shapes[i][0]; d++) assert_int_equal(y[i].shape.dims[d], shapes[i][1 + d]);
  }
  for (size_t n = 0; n < N; n++)
    for (size_t f = 0; f < F; f++)
      for (size_t d = 0; d < D; d++) {
        double x = w[(n * F + f) * D + d];
        if (f == 1 || f == 4) expect_near(y[0].data[(n * 2 + f / 4) * D + d], x);
        if (n == 2) expect_near(y[1].data[f * D + d], x);
        expect_near(y[3].data[(n * F + f) * 9 + d], x);
        expect_near(y[3].data[(n * F + f) * 9 + 5 + d], x);
        expect_near(y[3].data[(n * F + f) * 9 + 4], w[(n * F + f) * D + 3]);
        expect_near(y[6].data[(n * F + f) * D + d], x * w[(n * F + f) * D + 2] / 2);
        expect_near(y[7].data[(n * 6 + f) * D + d], x);
        if (f == 4) expect_near(y[7].data[(n * 6 + 5) * D + d], x);
      }
  for (size_t f = 0; f < F; f++)
    for (size_t d = 0; d < D; d++) {
      expect_near(y[2].data[f * D + d], v[f * D + d]);
      if (f % 2 == 0) expect_near(y[2].data[(5 + f / 2) * D + d], v[f * D + d]);
      expect_near(y[5].data[f * D + d], -3 * v[f * D + d] * c[d]);
    }
  const double vector[] = {c[0], c[1], c[2], c[3], c[1], c[3]};
  for (size_t i = 0; i < 6; i++) expect_near(y[4].data[i], vector[i]);
  for (size_t i = 0; i < 8; i++) hmoec_tensor_deinit(&y[i]);
  inputs_deinit(&in);
}

static void test_transpose_stack(void **state) {
  (void)state;
  inputs in = {0};
  const double *w = RANDOM(&in, "w", 2, 3, 5);
  hmoec_tensor y;
  run_spec("model m\ninput w: f32[2, 3, 5]\noutput y = transpose(w)", &in, &y, 1, NULL);
  for (size_t n = 0; n < 2; n++)
    for (size_t i = 0; i < 3; i++)
      for (size_t j = 0; j < 5; j++) assert_true(y.data[(n * 5 + j) * 3 + i] == w[(n * 3 + i) * 5 + j]);
  hmoec_tensor_deinit(&y);
  inputs_deinit(&in);
}

/* Where T5's buckets begin, as published: 32 buckets up to 128. From the last on, and beyond max_distance, the bucket stays. */
static void test_relative_bias(void **state) {
  (void)state;
  enum { M = 128, HEADS = 3, WIDTH = 2 * M + 1 };
  static const int begins[2][32] = {
      {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113},
      {0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91}};
  inputs in = {0};
  const double *rows = RANDOM(&in, "rows", 32, HEADS);
  hmoec_tensor y[2];
  run_spec("model m\ninput rows: f32[32, 3]\noutput backward = relative_bias(rows)\n"
           "output both = relative_bias(rows, bidirectional = 1)",
           &in, y, 2, NULL);
  for (size_t both = 0; both < 2; both++)
    for (int r = -M; r <= M; r++) {
      size_t count = both ? 16 : 32, bucket = 0;
      int n = both ? abs(r) : r < 0 ? -r : 0;
      while (bucket + 1 < count && begins[both][bucket + 1] <= n) bucket++;
      if (both && r > 0) bucket += 16;
      for (size_t head = 0; head < HEADS; head++)
        assert_true(y[both].data[head * WIDTH + (size_t)(r + M)] == rows[bucket * HEADS + head]);
    }
  for (size_t i = 0; i < 2; i++) hmoec_tensor_deinit(&y[i]);
  inputs_deinit(&in);
}

/* An attention of the test: what the spec says, and the sizes. */
typedef struct attention_case {
  const char *attributes; /* and operands after v */
  size_t batch, queries, keys, heads, head_size;
  bool causal, scaled;
  const double *bias, *mask; /* [heads, 2 most + 1]; [batch, keys] */
  int64_t most;
} attention_case;

/* One output value by the definition: a sum over exponentials, none of which is shifted. Fully masked rows are means. */
static double attention_at(const attention_case *c, const double *q, const double *k, const double *v, size_t b, size_t t,
                           size_t i) {
  size_t width = c->heads * c->head_size, head = i / c->head_size;
  double top = 0, bottom = 0, plain = 0, count = 0;
  for (size_t j = 0; j < c->keys && !(c->causal && j > t); j++) {
    double s = 0, value = v[(b * c->keys + j) * width + i];
    for (size_t d = head * c->head_size; d < (head + 1) * c->head_size; d++)
      s += q[(b * c->queries + t) * width + d] * k[(b * c->keys + j) * width + d];
    if (c->scaled) s /= sqrt((double)c->head_size);
    if (c->bias) {
      int64_t r = (int64_t)j - (int64_t)t;
      if (r > c->most) r = c->most;
      if (r < -c->most) r = -c->most;
      s += c->bias[head * (size_t)(2 * c->most + 1) + (size_t)(r + c->most)];
    }
    plain += value;
    count++;
    if (c->mask && c->mask[b * c->keys + j] == 0) continue;
    top += exp(s) * value;
    bottom += exp(s);
  }
  return bottom > 0 ? top / bottom : plain / count;
}

static void check_attention(attention_case c, inputs *in) {
  int64_t batch = (int64_t)c.batch, width = (int64_t)(c.heads * c.head_size);
  const double *q = RANDOM(in, "q", batch, (int64_t)c.queries, width), *k = RANDOM(in, "k", batch, (int64_t)c.keys, width),
               *v = RANDOM(in, "v", batch, (int64_t)c.keys, width);
  char text[1024];
  snprintf(text, sizeof text,
           "model m\ndim b = ?, s = ?, r = ?\n%s%sinput q: f32[b, s, %zu]\ninput k: f32[b, r, %zu]\ninput v: f32[b, r, %zu]\n"
           "output y = attention(q, k, v%s, heads = %zu, causal = %d, scaled = %d)",
           c.bias ? "input bias: f32[3, 7]\n" : "", c.mask ? "input mask: i64[b, r]\n" : "", (size_t)width, (size_t)width,
           (size_t)width, c.attributes, c.heads, c.causal, c.scaled);
  hmoec_tensor y;
  run_spec(text, in, &y, 1, NULL);
  for (size_t b = 0; b < c.batch; b++)
    for (size_t t = 0; t < c.queries; t++)
      for (size_t i = 0; i < (size_t)width; i++)
        expect_near(y.data[(b * c.queries + t) * (size_t)width + i], attention_at(&c, q, k, v, b, t, i));
  hmoec_tensor_deinit(&y);
  inputs_deinit(in);
}

static void test_attention(void **state) {
  (void)state;
  inputs in = {0};
  check_attention((attention_case){.attributes = "", .batch = 2, .queries = 5, .keys = 9, .heads = 3, .head_size = 5}, &in);
  check_attention(
      (attention_case){.attributes = "", .batch = 1, .queries = 1, .keys = 1, .heads = 1, .head_size = 1, .scaled = true}, &in);
}

static void test_attention_causal(void **state) {
  (void)state;
  inputs in = {0};
  attention_case c = {
      .attributes = "", .batch = 2, .queries = 7, .keys = 7, .heads = 3, .head_size = 4, .causal = true, .scaled = true};
  check_attention(c, &in);
  c.keys = 4; /* more queries than keys */
  check_attention(c, &in);
}

/* The bias ends at distance 3, which 11 keys and 6 queries pass on both sides. */
static void test_attention_biased(void **state) {
  (void)state;
  for (int causal = 0; causal < 2; causal++) {
    inputs in = {0};
    attention_case c = {
        .attributes = ", bias", .batch = 2, .queries = 6, .keys = 11, .heads = 3, .head_size = 2, .causal = causal != 0, .most = 3};
    c.bias = RANDOM(&in, "bias", 3, 7);
    check_attention(c, &in);
  }
}

/* A row with trailing padding, one with padding in front, one without a token: its outputs are means, of what causality leaves. */
static void test_attention_masked(void **state) {
  (void)state;
  const double mask[] = {1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0};
  for (int causal = 0; causal < 2; causal++)
    for (int biased = 0; biased < 2; biased++) {
      inputs in = {0};
      attention_case c = {.attributes = biased ? ", bias, mask" : ", mask = mask",
                          .batch = 3,
                          .queries = 5,
                          .keys = 5,
                          .heads = 3,
                          .head_size = 3,
                          .causal = causal != 0,
                          .scaled = true,
                          .most = 3};
      if (biased) c.bias = RANDOM(&in, "bias", 3, 7);
      c.mask = integer_input(&in, 3, 5, mask);
      check_attention(c, &in);
    }
}

/* What is masked or comes later is not looked at, or has no weight: it may be as large as it likes. */
static void test_attention_ignores_the_future(void **state) {
  (void)state;
  inputs in = {0};
  RANDOM(&in, "q", 1, 3, 2);
  RANDOM(&in, "k", 1, 3, 2);
  RANDOM(&in, "v", 1, 3, 2);
  for (size_t i = 4; i < 6; i++) in.tensors[1].data[i] = in.tensors[2].data[i] = NAN;
  hmoec_tensor y;
  run_spec("model m\ndim b = ?, s = ?\ninput q: f32[b, s, 2]\ninput k: f32[b, s, 2]\ninput v: f32[b, s, 2]\n"
           "output y = attention(q, k, v, heads = 1, causal = 1)",
           &in, &y, 1, NULL);
  for (size_t i = 0; i < 6; i++) assert_int_equal(isfinite(y.data[i]) != 0, i < 4);
  hmoec_tensor_deinit(&y);
  inputs_deinit(&in);
}

/* Capacity 2 counts anew in every batch row. */
static void test_route_capacity_per_batch_row(void **state) {
  (void)state;
  inputs in = {0};
  hmoec_tensor *logits = input_add(&in, HMOEC_F32, 3, DIMS(2, 4, 2));
  const double picks[] = {1, 1, 1, 0, 1, 0, 1, 1}; /* rows: 1 1 1 0 and 1 0 1 1 */
  for (size_t t = 0; t < 8; t++) logits->data[2 * t + (size_t)picks[t]] = log(3);
  hmoec_tensor y[3];
  run_spec("model m\ndim b = ?, s = ?\ninput l: f32[b, s, 2]\nr = route(l, top_k = 1, capacity = 2)\n"
           "output indices = r.indices\noutput gates = r.gates\noutput kept = r.kept",
           &in, y, 3, NULL);
  const double kept[] = {1, 1, 0, 1, 1, 1, 1, 0};
  assert_int_equal(y[0].shape.rank, 2);
  assert_int_equal(y[0].shape.dims[0], 8);
  for (size_t t = 0; t < 8; t++) {
    assert_true(y[0].data[t] == picks[t]);
    expect_near(y[1].data[t], 0.75);
    assert_true(y[2].data[t] == kept[t]);
  }
  for (size_t i = 0; i < 3; i++) hmoec_tensor_deinit(&y[i]);
  inputs_deinit(&in);
}

static double gelu_new(double x) { return x / (1 + exp(-2 * sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x))); }

static void test_gated_experts(void **state) {
  (void)state;
  enum { T = 5, H = 3, N = 4, F = 7, K = 2 };
  inputs in = {0};
  const double *x = RANDOM(&in, "x", T, H), *wi_0 = RANDOM(&in, "wi_0", N, F, H), *wi_1 = RANDOM(&in, "wi_1", N, F, H),
               *wo = RANDOM(&in, "wo", N, H, F);
  RANDOM(&in, "l", T, N);
  hmoec_tensor y[3];
  run_spec("model m\ndim t = ?\ninput x: f32[t, 3]\ninput wi_0: f32[4, 7, 3]\ninput wi_1: f32[4, 7, 3]\ninput wo: f32[4, 3, 7]\n"
           "input l: f32[t, 4]\nr = route(l, top_k = 2, capacity = 2)\noutput o = gated_experts(x, r, wi_0, wi_1, wo)\n"
           "output indices = r.indices\noutput kept = r.kept",
           &in, y, 3, NULL);
  size_t dropped = 0;
  for (size_t p = 0; p < T * K; p++) {
    size_t t = p / K, e = (size_t)y[1].data[p];
    dropped += y[2].data[p] == 0;
    for (size_t j = 0; j < H; j++) {
      double sum = 0;
      for (size_t f = 0; f < F; f++) {
        double a = 0, b = 0;
        for (size_t i = 0; i < H; i++) {
          a += x[t * H + i] * wi_0[(e * F + f) * H + i];
          b += x[t * H + i] * wi_1[(e * F + f) * H + i];
        }
        sum += gelu_new(a) * b * wo[(e * H + j) * F + f];
      }
      expect_near(y[0].data[p * H + j], y[2].data[p] != 0 ? sum : x[t * H + j]);
    }
  }
  assert_true(dropped > 0 && dropped < T * K);
  for (size_t i = 0; i < 3; i++) hmoec_tensor_deinit(&y[i]);
  inputs_deinit(&in);
}

/* One expert of one hidden unit: relu(2 * 3 + 1) = 7 times 2 * 5 - 6 = 4, times wo 0.5, plus bo; gate sigmoid(log 3) = 3/4. */
static void test_gated_experts_biases(void **state) {
  (void)state;
  inputs in = {0};
  const double values[] = {2, log(3), 3, 5, 0.5, 1, -6, 10}; /* in the order of the inputs */
  for (int i = 0; i < 8; i++) input_add(&in, HMOEC_F32, i < 2 || i > 4 ? 2 : 3, DIMS(1, 1, 1))->data[0] = values[i];
  hmoec_tensor y;
  run_spec("model m\ndim t = ?\ninput x: f32[t, 1]\ninput l: f32[t, 1]\ninput wi_0: f32[1, 1, 1]\ninput wi_1: f32[1, 1, 1]\n"
           "input wo: f32[1, 1, 1]\ninput bi_0: f32[1, 1]\ninput bi_1: f32[1, 1]\ninput bo: f32[1, 1]\n"
           "r = route(l, top_k = 1, gate = sigmoid)\n"
           "output y = combine(gated_experts(x, r, wi_0, wi_1, wo, bi_0, bi_1, bo, activation = relu), r)",
           &in, &y, 1, NULL);
  expect_near(y.data[0], 0.75 * (7 * 4 * 0.5 + 10));
  hmoec_tensor_deinit(&y);
  inputs_deinit(&in);
}

static double deviation(const hmoec_tensor *tensor) {
  double squares = 0;
  int64_t count = hmoec_shape_elements(&tensor->shape);
  for (int64_t i = 0; i < count; i++) squares += tensor->data[i] * tensor->data[i];
  return sqrt(squares / (double)count);
}

/* The encoder-decoder of the golden cases, larger and with random parameters: what comes out is about 1. */
static void test_random_models_are_tame(void **state) {
  (void)state;
  const hmoec_define defines[] = {{"d_model", "96"},       {"d_kv", "32"},          {"d_ff", "192"},
                                  {"encoder_layers", "6"}, {"decoder_layers", "6"}, {"hyper_hidden", "32"}};
  char path[512];
  snprintf(path, sizeof path, "%s/models/switch-hypermoe-tiny.spec", HMOE_SOURCE_DIR);
  module_fixture fixture;
  fixture_init(&fixture, stderr);
  assert_true(hmoec_load_model(fixture.context, path, &(hmoec_load_options){.defines = defines, .define_count = 6},
                               fixture.diagnostics, &fixture.module));
  hmoec_random_parameters *parameters = hmoec_random_parameters_create(fixture.module, 7);
  assert_non_null(parameters);
  hmoec_parameter_source source = hmoec_random_parameters_source(parameters);
  inputs in = {0};
  double ids[2 * 21], mask[2 * 21];
  for (size_t i = 0; i < 42; i++) {
    ids[i] = (double)(i * 37 % 211);
    mask[i] = i < 33;
  }
  integer_input(&in, 2, 21, ids);
  integer_input(&in, 2, 21, mask);
  integer_input(&in, 2, 9, ids);
  hmoec_tensor y[2];
  assert_true(hmoec_interpret(hmoec_entry_find(fixture.module, NULL), &source, in.tensors, 3, y, 2, fixture.diagnostics));
  for (size_t i = 0; i < 2; i++) {
    print_message("deviation of output %zu: %.3g\n", i, deviation(&y[i]));
    assert_true(deviation(&y[i]) > 0.5 && deviation(&y[i]) < 2);
    hmoec_tensor_deinit(&y[i]);
  }
  inputs_deinit(&in);
  /* Weights of norms are about 1, and the tied table is an embedding, though the head is its last use. */
  double weight[96], embedding[211 * 96], sum = 0, squares = 0;
  hmoec_location nowhere = {0};
  assert_true(source.get(source.user, "decoder.final_layer_norm.weight", 1, DIMS(96), weight, fixture.diagnostics, nowhere));
  assert_true(source.get(source.user, "shared.weight", 2, DIMS(211, 96), embedding, fixture.diagnostics, nowhere));
  for (size_t i = 0; i < 96; i++) sum += weight[i] / 96;
  for (size_t i = 0; i < 211 * 96; i++) squares += embedding[i] * embedding[i] / (211 * 96);
  assert_true(fabs(sum - 1) < 0.05 && fabs(squares - 1) < 0.05);
  hmoec_random_parameters_destroy(parameters);
  fixture_deinit(&fixture);
}

/* A tensor that two functions use, as an embedding and as a matrix: random values are those of its first use in the text. */
static void test_random_values_by_first_use(void **state) {
  (void)state;
#define EMBEDS                                                                                                                     \
  "func.func @embeds(%i: tensor<?x?xi32> {hmoe.dims = [\"rows\", \"length\"], hmoe.name = \"i\"}) -> (tensor<?x?x64xf32> "         \
  "{hmoe.name = \"y\"}) {\n"                                                                                                       \
  "%w = \"hmoe.parameter\"() {count = 0 : i64, key = \"w\"} : () -> tensor<64x64xf32>\n"                                           \
  "%y = \"hmoe.embedding\"(%i, %w) : (tensor<?x?xi32>, tensor<64x64xf32>) -> tensor<?x?x64xf32>\n"                                 \
  "return %y : tensor<?x?x64xf32>\n}\n"
#define MULTIPLIES                                                                                                                 \
  "func.func @multiplies(%x: tensor<?x64xf32> {hmoe.dims = [\"tokens\"], hmoe.name = \"x\"}) -> (tensor<?x64xf32> "                \
  "{hmoe.name = \"y\"}) {\n"                                                                                                       \
  "%w = \"hmoe.parameter\"() {count = 0 : i64, key = \"w\"} : () -> tensor<64x64xf32>\n"                                           \
  "%y = \"hmoe.linear\"(%x, %w) : (tensor<?x64xf32>, tensor<64x64xf32>) -> tensor<?x64xf32>\n"                                     \
  "return %y : tensor<?x64xf32>\n}\n"
  static const char *const texts[] = {EMBEDS MULTIPLIES, MULTIPLIES EMBEDS, MULTIPLIES, EMBEDS};
  static const bool embeds[] = {true, false, false, true};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    module_fixture fixture;
    fixture_init(&fixture, stderr);
    fixture_parse(&fixture, texts[i]);
    hmoec_random_parameters *parameters = hmoec_random_parameters_create(fixture.module, 7);
    assert_non_null(parameters);
    hmoec_parameter_source source = hmoec_random_parameters_source(parameters);
    static double w[64 * 64];
    double squares = 0;
    assert_true(source.get(source.user, "w", 2, DIMS(64, 64), w, fixture.diagnostics, (hmoec_location){0}));
    for (size_t k = 0; k < 64 * 64; k++) squares += w[k] * w[k];
    assert_true(embeds[i] == (squares > 64 * 32));
    hmoec_random_parameters_destroy(parameters);
    fixture_deinit(&fixture);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_embedding),
      cmocka_unit_test(test_ids_outside_of_the_table),
      cmocka_unit_test(test_position_embedding),
      cmocka_unit_test(test_positions_past_the_table),
      cmocka_unit_test(test_norms),
      cmocka_unit_test(test_rows_of_batches),
      cmocka_unit_test(test_parts),
      cmocka_unit_test(test_transpose_stack),
      cmocka_unit_test(test_relative_bias),
      cmocka_unit_test(test_attention),
      cmocka_unit_test(test_attention_causal),
      cmocka_unit_test(test_attention_biased),
      cmocka_unit_test(test_attention_masked),
      cmocka_unit_test(test_attention_ignores_the_future),
      cmocka_unit_test(test_route_capacity_per_batch_row),
      cmocka_unit_test(test_gated_experts),
      cmocka_unit_test(test_gated_experts_biases),
      cmocka_unit_test(test_random_models_are_tame),
      cmocka_unit_test(test_random_values_by_first_use),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
