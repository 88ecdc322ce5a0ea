/* HyperExperts that are generated while a model runs, on GPUs, with the tests' driver: results are the host's, whatever a cache has; nothing waits for the
 * device before a run's end; what a run left that could not be queued is not the next one's. */
#include "cuda_fixture.h"

#include "hmoe/generate.h"

#include <pthread.h>
#include <unistd.h>

enum { WIDTH = 20, MOST_TOKENS = 90, SLOTS = 16 /* of 28 sets: the least that a cache has */ };

static const char *const strategies[] = {"table", "cache", "per_token"};
enum { TABLE, CACHE, PER_TOKEN, STRATEGIES };

typedef struct layer {
  hmoec_compilation *compilation;
  const struct hmoe_model_object *object;
  hmoe_model *host, *device, *graphs;
} layer;

static char weights_path[] = "/tmp/hmoe-cuda-cache-XXXXXX.safetensors";

static hmoe_model *open_layer(const layer *l, const char *device, uint32_t flags) {
  hmoe_options options = {.struct_size = sizeof options, .device = device, .threads = 1, .flags = flags};
  hmoe_model *model;
  expect_ok(hmoe_model_open(l->object, &(hmoe_weights){.path = weights_path}, &options, &model));
  return model;
}

static layer layer_open(int strategy) {
  static const hmoec_define defines[] = {{"d_model", "20"},   {"d_ff", "33"},         {"experts", "8"},       {"top_k", "2"},
                                         {"bottleneck", "9"}, {"hyper_hidden", "20"}, {"generated_bias", "1"}};
  const hmoec_options options = {.struct_size = sizeof options,
                                 .target = "cuda",
                                 .mcpu = "sm_90a", /* the driver's chip alone */
                                 .strategy = strategies[strategy],
                                 .table_budget_bytes = strategy == CACHE ? 1 : 0,
                                 .defines = defines,
                                 .define_count = sizeof defines / sizeof *defines};
  layer l = {.object = NULL};
  assert_int_equal(hmoec_compile_file(HMOE_SOURCE_DIR "/models/hypermoe-layer.spec", &options, &l.compilation), HMOEC_OK);
  assert_int_equal(hmoec_compilation_load(l.compilation, &l.object), HMOEC_OK);
  if (strategy == TABLE) { /* the first: all have the same weights */
    close(mkstemps(weights_path, (int)strlen(".safetensors")));
    assert_int_equal(hmoec_compilation_random_weights(l.compilation, 3, weights_path), HMOEC_OK);
  }
  l.host = open_layer(&l, NULL, 0);
  l.device = open_layer(&l, "cuda", 0);
  l.graphs = open_layer(&l, "cuda", HMOE_DEVICE_GRAPHS);
  return l;
}

static layer layers[STRATEGIES];

static int open_layers(void **state) {
  fake_open(state);
  for (int s = 0; s < STRATEGIES; s++) layers[s] = layer_open(s);
  return 0;
}

static int close_layers(void **state) {
  for (int s = 0; s < STRATEGIES; s++) {
    hmoe_model_close(layers[s].host);
    hmoe_model_close(layers[s].device);
    hmoe_model_close(layers[s].graphs);
    hmoec_compilation_destroy(layers[s].compilation);
  }
  unlink(weights_path);
  return fake_close(state);
}

static hmoe_status run(hmoe_model *model, int64_t tokens, const float *x, float *y) {
  return hmoe_model_run(model, 1, &tokens, (const void *const[]){x}, (void *const[]){y});
}

static void fill(float *x, int64_t tokens, uint32_t seed) {
  for (int64_t i = 0; i < tokens * WIDTH; i++) {
    seed = seed * 1664525u + 1013904223u;
    x[i] = (float)(int32_t)seed / (float)INT32_MAX * 2;
  }
}

static void expect_near(const float *found, const float *wanted, int64_t count) {
  float largest = 0;
  for (int64_t i = 0; i < count; i++) largest = wanted[i] > largest ? wanted[i] : -wanted[i] > largest ? -wanted[i] : largest;
  for (int64_t i = 0; i < count; i++)
    if (!(found[i] - wanted[i] <= 2e-5f * largest && wanted[i] - found[i] <= 2e-5f * largest))
      fail_msg("value %lld is %g, the host's %g", (long long)i, (double)found[i], (double)wanted[i]);
}

/* Runs of no, one and odd numbers of tokens, more sets than slots, the same again: what is generated is the same bits every time, whatever is in the cache then, and a run
 * waits once. */
static void test_layers(void **state) {
  (void)state;
  static const int64_t counts[] = {MOST_TOKENS, 0, 1, 3, 33, MOST_TOKENS, 65};
  static float x[MOST_TOKENS * WIDTH], host[MOST_TOKENS * WIDTH], y[MOST_TOKENS * WIDTH];
  static float first[STRATEGIES][MOST_TOKENS * WIDTH], longest[STRATEGIES][MOST_TOKENS * WIDTH];
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    int64_t tokens = counts[i], values = tokens * WIDTH;
    fill(x, tokens, (uint32_t)tokens);
    for (int s = 0; s < STRATEGIES; s++) {
      expect_ok(run(layers[s].host, tokens, x, host));
      for (int g = 0; g < 2; g++) {
        fake_cuda_counters before = fake.get_counters();
        uint64_t waits = fake.calls("cuStreamWaitEvent");
        expect_ok(run(g ? layers[s].graphs : layers[s].device, tokens, x, y));
        uint64_t ends = fake.get_counters().synchronisations - before.synchronisations;
        if (i) assert_int_equal(ends, tokens > 0); /* the first run makes the workspace, and waits for that */
        assert_int_equal(fake.calls("cuStreamWaitEvent") - waits, tokens > 0 && s == CACHE);
        expect_near(y, host, values);
        if (!g) memcpy(first[s], y, sizeof y);
        if (!g && !i) memcpy(longest[s], y, sizeof y);
        assert_memory_equal(y, first[s], (size_t)values * sizeof *y);
        if (tokens == MOST_TOKENS) assert_memory_equal(y, longest[s], sizeof y);
      }
    }
  }
}

/* What a run finds in the cache it does not generate. */
static void test_hits(void **state) {
  (void)state;
  enum { TOKENS = 5, NAMES = 4 };
  static float x[TOKENS * WIDTH], first[TOKENS * WIDTH], y[TOKENS * WIDTH];
  hmoe_model *model = open_layer(&layers[CACHE], "cuda", 0);
  uint64_t before, products[3];
  fill(x, TOKENS, 11);
  for (int i = 0; i < 3; i++) {
    before = fake.instructions("fma");
    expect_ok(run(model, TOKENS, x, i ? y : first));
    products[i] = fake.instructions("fma") - before;
    if (i) assert_memory_equal(y, first, sizeof y);
  }
  print_message("%llu, then %llu multiplications\n", (unsigned long long)products[0], (unsigned long long)products[1]);
  assert_true(products[1] < products[0]);
  assert_int_equal(products[2], products[1]);
  hmoe_model_close(model);
}

/* A set whose weights were not made has none, whatever the run before had planned. */
static void test_failures(void **state) {
  (void)state;
  enum { TOKENS = 9 };
  static float x[TOKENS * WIDTH], wanted[TOKENS * WIDTH], y[TOKENS * WIDTH];
  static const char *const functions[] = {"cuLaunchKernel",  "cuStreamWaitEvent", "cuEventRecord",
                                          "cuMemsetD8Async", "cuCtxPushCurrent",  "cuCtxPopCurrent"};
  fill(x, TOKENS, 5);
  expect_ok(run(layers[CACHE].device, TOKENS, x, wanted));
  for (size_t f = 0; f < sizeof functions / sizeof *functions; f++)
    for (unsigned n = 1;; n += 1 + n / 2) {
      hmoe_model *model = open_layer(&layers[CACHE], "cuda", 0);
      uint64_t calls = fake.calls(functions[f]);
      fake.fail_call(functions[f], n, CUDA_ERROR_UNKNOWN);
      hmoe_status status = run(model, TOKENS, x, y);
      fake.fail_call(functions[f], 0, CUDA_SUCCESS);
      bool done = fake.calls(functions[f]) - calls < n;
      if (done) expect_ok(status);
      else assert_int_equal(status, HMOE_DEVICE_FAILED);
      while (fake.pop(NULL) == CUDA_SUCCESS) assert_string_equal(functions[f], "cuCtxPopCurrent");
      expect_ok(run(model, TOKENS, x, y));
      assert_memory_equal(y, wanted, sizeof y);
      hmoe_model_close(model);
      if (!done) continue;
      if (n == 1) fail_msg("%s is never called", functions[f]);
      break;
    }
}

typedef struct runner {
  pthread_t thread;
  hmoe_model *model;
  float x[33 * WIDTH], wanted[33 * WIDTH], y[33 * WIDTH];
  int64_t tokens;
  int wrong;
} runner;

static void *run_often(void *context) {
  runner *r = context;
  for (int i = 0; i < 6; i++)
    if (run(r->model, r->tokens, r->x, r->y) != HMOE_OK || memcmp(r->y, r->wanted, (size_t)r->tokens * WIDTH * sizeof *r->y) != 0)
      r->wrong++;
  return NULL;
}

/* Runs at one time share a cache that has room for neither's sets and the other's. */
static void test_threads(void **state) {
  (void)state;
  static runner runners[3];
  hmoe_model *model = open_layer(&layers[CACHE], "cuda", 0), *alone = open_layer(&layers[CACHE], "cuda", 0);
  for (int i = 0; i < 3; i++) {
    runners[i].model = model;
    runners[i].tokens = 33 - 11 * i;
    fill(runners[i].x, runners[i].tokens, (uint32_t)(50 + i));
    expect_ok(run(alone, runners[i].tokens, runners[i].x, runners[i].wanted));
  }
  for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&runners[i].thread, NULL, run_often, &runners[i]), 0);
  for (int i = 0; i < 3; i++) pthread_join(runners[i].thread, NULL);
  for (int i = 0; i < 3; i++) assert_int_equal(runners[i].wrong, 0);
  hmoe_model_close(alone);
  hmoe_model_close(model);
}

/* Tokens of a whole model, and as many waits as a table's. */
static void test_tokens(void **state) {
  (void)state;
  enum { NEW_TOKENS = 4 };
  static const int64_t ids[] = {5, 17, 9, 0, 40, 21}, mask[] = {1, 1, 1, 0, 1, 1};
  uint64_t waits[STRATEGIES];
  for (int s = 0; s < STRATEGIES; s++) {
    const hmoec_options options = {.struct_size = sizeof options, .target = "cuda", .mcpu = "sm_90a", .strategy = strategies[s]};
    hmoec_compilation *compilation;
    const struct hmoe_model_object *object;
    assert_int_equal(hmoec_compile_file(HMOE_SOURCE_DIR "/tests/golden/gpt2-hypermoe-tiny-k2", &options, &compilation), HMOEC_OK);
    assert_int_equal(hmoec_compilation_load(compilation, &object), HMOEC_OK);
    int64_t tokens[2][64] = {{0}}, length = 0;
    for (int device = 0; device < 2; device++) {
      hmoe_options opening = {.struct_size = sizeof opening, .device = device ? "cuda" : NULL, .threads = 1};
      hmoe_model *model;
      expect_ok(hmoe_model_open(object,
                                &(hmoe_weights){.path = HMOE_SOURCE_DIR "/tests/golden/gpt2-hypermoe-tiny-k2/model.safetensors"},
                                &opening, &model));
      hmoe_prompt prompt = {.rows = 2, .length = 3, .input_ids = ids, .attention_mask = mask};
      hmoe_generation generation = {.struct_size = sizeof generation, .max_new_tokens = NEW_TOKENS, .end_token = HMOE_NO_TOKENS};
      assert_in_range(hmoe_generation_width(model, &prompt, &generation), 1, 32);
      fake_cuda_counters before = fake.get_counters();
      expect_ok(hmoe_model_generate(model, &prompt, &generation, tokens[device], &length));
      waits[s] = fake.get_counters().synchronisations - before.synchronisations;
      hmoe_model_close(model);
    }
    assert_memory_equal(tokens[0], tokens[1], sizeof tokens[0]);
    assert_int_equal(waits[s], waits[TABLE]);
    hmoec_compilation_destroy(compilation);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_layers), cmocka_unit_test(test_hits), cmocka_unit_test(test_failures),
                                     cmocka_unit_test(test_threads), cmocka_unit_test(test_tokens)};
  return cmocka_run_group_tests(tests, open_layers, close_layers);
}
