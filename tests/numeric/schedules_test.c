/* Random legal schedules on random layers, every other one in bf16: the schedule may change speed, never results. HMOE_TEST_SEED repeats a
 * run. */
#include "../unit/module_fixture.h"

#include <math.h>
#include <unistd.h>

#include "interpreter/interpreter.h"
#include "interpreter/parameters.h"
#include "library/session.h"
#include "sanitized.h"
#include "target/cpu/knobs.h"

#define TOLERANCE 2e-5 /* f32: the largest error, of the largest value */
#define TOLERANCE_BF16 1e-2 /* bf16: the 2-norm of the errors, of the values' */
enum { LAYERS = 8, SCHEDULES = 1, MOST_TOKENS = 150 };

static uint64_t state;

static int64_t pick(int64_t low, int64_t high) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return low + (int64_t)((state >> 33) % (uint64_t)(high - low + 1));
}

/* A register tile that schedules may choose for a version. */
static void random_tile(int version, int64_t *out_rows, int64_t *out_vectors) {
  static const int64_t lanes[HMOE_CPU_COUNT] = {4, 8, 16, 16, 16};
  do {
    *out_rows = pick(1, 14);
    *out_vectors = INT64_C(1) << pick(0, 3);
  } while (*out_vectors * lanes[version] > 32 || *out_rows * *out_vectors < 8 || *out_rows * *out_vectors > 28);
}

/* Another value for every knob, within what it may be. */
static hmoec_schedule random_schedule(int64_t widest) {
  const hmoec_target *target = &hmoec_target_cpu;
  hmoec_schedule schedule = {{0}};
  for (size_t k = 0; k < target->knob_count; k++) {
    const hmoec_knob *knob = &target->knobs[k];
    int64_t least = knob->least > 1 ? knob->least : 1, most = 2 * knob->value + 2;
    if (knob->value) schedule.value[k] = pick(least, most < knob->most ? most : knob->most);
  }
  for (size_t v = 0; v < HMOE_CPU_COUNT; v++) {
    random_tile((int)v, &schedule.value[CPU_TILE_ROWS + v], &schedule.value[CPU_TILE_VECTORS + v]);
    random_tile((int)v, &schedule.value[CPU_TILE_ROWS_BF16 + v], &schedule.value[CPU_TILE_VECTORS_BF16 + v]);
  }
  schedule.value[CPU_ROW_BLOCK_BF16] = pick(1, 300);
  target->prepare(&schedule, widest + 32 * pick(0, 3));
  return schedule;
}

typedef struct layer {
  hmoec_options options;
  hmoec_define defines[12];
  char texts[12][32];
  hmoec_format dtype;
  hmoec_schedule schedule;
  uint32_t threads;
  const char *weights;
  int64_t tokens;
  float *x;
  hmoec_tensor input, expected;
} layer;

static const char model[] = HMOE_SOURCE_DIR "/models/hypermoe-layer.spec";

static void define(layer *l, const char *name, int64_t value) {
  snprintf(l->texts[l->options.define_count], sizeof l->texts[0], "%lld", (long long)value);
  l->defines[l->options.define_count] = (hmoec_define){name, l->texts[l->options.define_count]};
  l->options.define_count++;
}

static void random_layer(layer *l, hmoec_format dtype) {
  static const char *const strategies[] = {NULL, "table", "cache", "factored", "per_token"};
  *l = (layer){.options = {.struct_size = sizeof l->options, .defines = l->defines, .dtype = hmoec_format_name(dtype)},
               .dtype = dtype,
               .tokens = pick(1, MOST_TOKENS)};
  l->options.strategy = strategies[pick(0, 4)];
  int64_t experts = pick(2, 9);
  define(l, "d_model", pick(1, 90));
  define(l, "d_ff", pick(1, 150));
  define(l, "experts", experts);
  define(l, "top_k", pick(1, experts - 1));
  define(l, "bottleneck", pick(1, 40));
  define(l, "hyper_hidden", pick(1, 20));
  define(l, "capacity", pick(0, 1) * pick(1, 20));
  define(l, "generated_bias", pick(0, 1));
  define(l, "selection_hidden", pick(1, 20));
  define(l, "expert_embedding", pick(1, 20));
}

/* What the interpreter makes of random weights and inputs; the weights stay in l->weights. */
static void interpret(layer *l, hmoec_diagnostics *diagnostics, uint64_t seed) {
  hmoec_session session;
  assert_true(hmoec_session_init(&session, &l->options, diagnostics));
  assert_true(hmoec_session_load(&session, model));
  assert_true(hmoec_random_weights_write(session.source, seed, l->weights, diagnostics));
  MlirOperation function = hmoec_entry_find(session.source, NULL);
  hmoec_shape shape = hmoec_entry_input_shape(function, 0);
  shape.dims[0] = l->tokens;
  assert_true(hmoec_tensor_init(&l->input, &shape));
  size_t count = (size_t)(shape.dims[0] * shape.dims[1]);
  l->x = calloc(count, sizeof(float));
  assert_non_null(l->x);
  hmoec_random_fill(seed, "x", 1.0, count, l->x);
  for (size_t i = 0; i < count; i++) l->input.data[i] = (double)l->x[i];
  hmoec_checkpoint *checkpoint;
  assert_true(hmoec_checkpoint_open(l->weights, diagnostics, &checkpoint));
  hmoec_parameter_source source = hmoec_checkpoint_source(checkpoint);
  assert_true(hmoec_interpret(function, &source, &l->input, 1, &l->expected, 1, diagnostics));
  hmoec_checkpoint_close(checkpoint);
  hmoec_session_deinit(&session);
}

/* How far y is from what is expected, by the measure of the layer's type; NaN counts as far. */
static double error_of(const layer *l, const float *y, size_t count) {
  double worst = 0, largest = 0, errors = 0, values = 0;
  for (size_t i = 0; i < count; i++) {
    double want = l->expected.data[i], error = isnan(y[i]) ? INFINITY : fabs((double)y[i] - want);
    worst = fmax(worst, error);
    largest = fmax(largest, fabs(want));
    errors += error * error;
    values += want * want;
  }
  if (errors == 0) return 0;
  return l->dtype == HMOEC_FORMAT_BF16 ? sqrt(errors / values) : worst / largest;
}

static void report(const layer *l, const char *version, double error) {
  print_error("%s, %s, strategy %s, %lld tokens: error %g; schedule", version, hmoec_format_name(l->dtype),
              l->options.strategy ? l->options.strategy : "of the model", (long long)l->tokens, error);
  for (size_t k = 0; k < hmoec_target_cpu.knob_count; k++)
    print_error(" %s.%s=%lld", hmoec_target_cpu.knobs[k].of, hmoec_target_cpu.knobs[k].name, (long long)l->schedule.value[k]);
  print_error("\n");
  for (size_t d = 0; d < l->options.define_count; d++)
    print_error("  -D %s=%s\n", l->options.defines[d].name, l->options.defines[d].value);
}

static void compare(layer *l, hmoec_diagnostics *diagnostics) {
  size_t count = (size_t)(l->expected.shape.dims[0] * l->expected.shape.dims[1]);
  float *y = malloc(count * sizeof *y);
  assert_non_null(y);
  hmoec_session session;
  assert_true(hmoec_session_init(&session, &l->options, diagnostics));
  assert_true(hmoec_session_load(&session, model));
  session.pass.schedule = l->schedule;
  assert_true(hmoec_session_jit(&session, !SANITIZED));
  const char *versions[HMOEC_MOST_VERSIONS];
  size_t version_count = hmoec_session_versions(&session, versions);
  assert_true(version_count > 0);
  for (size_t v = 0; v < version_count; v++) {
    hmoe_model *opened;
    const hmoe_options options = {.struct_size = sizeof options, .threads = l->threads, .cpu = versions[v]};
    assert_true(hmoec_session_open(&session, &(hmoe_weights){.path = l->weights}, &options, &opened));
    memset(y, 0xff, count * sizeof *y);
    assert_int_equal(hmoe_model_run(opened, 1, &l->tokens, (const void *const[]){l->x}, (void *const[]){y}), HMOE_OK);
    double error = error_of(l, y, count);
    if (!(error <= (l->dtype == HMOEC_FORMAT_BF16 ? TOLERANCE_BF16 : TOLERANCE))) {
      report(l, versions[v], error);
      fail();
    }
    hmoe_model_close(opened);
  }
  hmoec_session_deinit(&session);
  free(y);
}

static void test_random_schedules(void **unused) {
  (void)unused;
  const char *given = getenv("HMOE_TEST_SEED");
  uint64_t seed = given ? strtoull(given, NULL, 10) : 20240;
  printf("seed %llu\n", (unsigned long long)seed);
  state = seed;
  char path[] = "/tmp/hmoe-schedules-XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  close(fd);
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(stderr);
  for (int i = 0; i < LAYERS; i++) {
    layer l;
    random_layer(&l, (hmoec_format)(i % HMOEC_FORMAT_COUNT));
    l.weights = path;
    l.threads = (uint32_t)pick(1, 4);
    interpret(&l, diagnostics, seed + (uint64_t)i);
    for (int s = 0; s < SCHEDULES; s++) {
      l.schedule = random_schedule(1000);
      compare(&l, diagnostics);
    }
    hmoec_tensor_deinit(&l.input);
    hmoec_tensor_deinit(&l.expected);
    free(l.x);
  }
  hmoec_diagnostics_destroy(diagnostics);
  unlink(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_schedules)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
