/* Random legal schedules on random layers: the schedule may change speed, never results. HMOE_TEST_SEED repeats a run. */
#include "../unit/module_fixture.h"

#include <math.h>
#include <unistd.h>

#include "codegen/cpu/codegen.h"
#include "commands/commands.h"
#include "interpreter/interpreter.h"
#include "interpreter/parameters.h"

#define TOLERANCE 2e-5
enum { LAYERS = 6, SCHEDULES = 3, MOST_TOKENS = 150 };

static uint64_t state;

static int64_t pick(int64_t low, int64_t high) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return low + (int64_t)((state >> 33) % (uint64_t)(high - low + 1));
}

static hmoec_cpu_schedule random_schedule(int64_t deepest) {
  static const int64_t lanes[3] = {4, 8, 16};
  hmoec_cpu_schedule schedule = hmoec_cpu_schedule_default(deepest + 32 * pick(0, 3));
  schedule.row_block = pick(1, 4) == 1 ? pick(1, 5) : pick(6, 130);
  for (int v = 0; v < 3; v++) {
    do {
      schedule.tile_rows[v] = pick(1, 14);
      schedule.tile_vectors[v] = INT64_C(1) << pick(0, 3);
    } while (schedule.tile_vectors[v] * lanes[v] > 32 || schedule.tile_rows[v] * schedule.tile_vectors[v] < 8 ||
             schedule.tile_rows[v] * schedule.tile_vectors[v] > 28);
  }
  return schedule;
}

typedef struct layer {
  hmoec_options options;
  char texts[12][32];
  const char *weights;
  int64_t tokens;
  float *x;
  hmoec_tensor input, expected;
} layer;

static void define(layer *l, const char *name, int64_t value) {
  snprintf(l->texts[l->options.define_count], sizeof l->texts[0], "%lld", (long long)value);
  l->options.defines[l->options.define_count] = (hmoec_define){name, l->texts[l->options.define_count]};
  l->options.define_count++;
}

static void random_layer(layer *l) {
  static const char *const strategies[] = {NULL, "table", "cache", "factored", "per_token"};
  *l = (layer){.options = {.model = HMOE_SOURCE_DIR "/models/hypermoe-layer.spec", .pass = hmoec_pass_options_default()},
               .tokens = pick(1, MOST_TOKENS)};
  l->options.pass.strategy = strategies[pick(0, 4)];
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
  assert_true(hmoec_session_init(&session, diagnostics));
  assert_true(hmoec_session_load(&session, &l->options, l->options.model));
  assert_true(hmoec_random_weights_write(session.module, seed, l->weights, diagnostics));
  MlirOperation function = hmoec_entry_find(session.module, NULL);
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

static void compare(layer *l, hmoec_diagnostics *diagnostics) {
  const char *versions[3];
  size_t version_count = hmoec_machine_versions(versions), count = (size_t)(l->expected.shape.dims[0] * l->expected.shape.dims[1]);
  float *y = malloc(count * sizeof *y);
  assert_non_null(y);
  hmoec_session session;
  assert_true(hmoec_session_init(&session, diagnostics));
  assert_true(hmoec_session_load(&session, &l->options, l->options.model) && hmoec_session_fold(&session, &l->options) &&
              hmoec_session_plan(&session, &l->options) && hmoec_session_jit(&session, &l->options));
  for (size_t v = 0; v < version_count; v++) {
    hmoe_model *model;
    assert_true(hmoec_session_open(&session, &l->options, l->weights, versions[v], &model));
    memset(y, 0xff, count * sizeof *y);
    assert_int_equal(hmoe_model_run(model, 1, &l->tokens, (const void *const[]){l->x}, (void *const[]){y}), HMOE_OK);
    double worst = 0, largest = 0;
    for (size_t i = 0; i < count; i++) {
      double error = fabs((double)y[i] - l->expected.data[i]);
      worst = error <= worst ? worst : isnan(error) ? INFINITY : error;
      largest = fmax(largest, fabs(l->expected.data[i]));
    }
    if (!(worst <= TOLERANCE * largest)) {
      const hmoec_cpu_schedule *s = &l->options.pass.schedule;
      print_error("%s: error %g of %g; row_block %lld, tile %lldx%lld\n", versions[v], worst, largest, (long long)s->row_block,
                  (long long)s->tile_rows[2], (long long)s->tile_vectors[2]);
      for (size_t d = 0; d < l->options.define_count; d++)
        print_error("  -D %s=%s\n", l->options.defines[d].name, l->options.defines[d].value);
      fail();
    }
    hmoe_model_close(model);
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
    random_layer(&l);
    l.weights = path;
    l.options.threads = pick(1, 4);
    interpret(&l, diagnostics, seed + (uint64_t)i);
    for (int s = 0; s < SCHEDULES; s++) {
      l.options.pass.schedule = random_schedule(1000);
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
