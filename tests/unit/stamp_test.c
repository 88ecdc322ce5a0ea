/* The stamp of packed weights: models whose arenas differ have different ones; schedules, and what only runs use, change nothing. */
#include "module_fixture.h"

#include <unistd.h>

#include <mlir-c/BuiltinAttributes.h>

#include "emit/stamp.h"
#include "hmoe/abi.h"
#include "interpreter/parameters.h"
#include "library/session.h"
#include "target/target.h"

static const char layer[] = HMOE_SOURCE_DIR "/models/hypermoe-layer.spec";

static void session_load(hmoec_session *session, hmoec_diagnostics *diagnostics, const hmoec_options *options, const char *path,
                         const char *spec) {
  assert_true(hmoec_session_init(session, options, diagnostics));
  assert_true(path ? hmoec_session_load(session, path)
                   : hmoec_session_load_spec(session, "test.spec", spec, spec ? strlen(spec) : 0));
}

static uint64_t stamp_of(const hmoec_options *options, const char *path, const char *spec) {
  hmoec_session session;
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(stderr);
  session_load(&session, diagnostics, options, path, spec);
  assert_true(hmoec_session_plan(&session));
  uint64_t stamp = ((const hmoe_plan *)session.unit.plan)->layout;
  hmoec_session_deinit(&session);
  hmoec_diagnostics_destroy(diagnostics);
  return stamp;
}

#define HEAD(name) "model " name "\ndim n = ?\ninput x: f32[n, 7]\n"

#define ABC "param a: [7, 7] from \"a\"\nparam b: [7, 7] from \"b\"\nparam c: [7, 7] from \"c\"\n"

static const char base[] = HEAD("m") "param w: [5, 7] from \"w\"\noutput y = activate(linear(x, w), function = relu)\n";

/* No two of them have the same bytes in their arenas, or not at the same places. */
static void test_other_weights(void **state) {
  (void)state;
  static const struct {
    const char *spec, *dtype;
  } rows[] = {
      {base, "f32"},
      {base, "bf16"},
      {HEAD("m") "param w: [6, 7] from \"w\"\noutput y = activate(linear(x, w), function = relu)\n", "f32"},
      {HEAD("m") "param w: [5, 7] from \"v\"\noutput y = activate(linear(x, w), function = relu)\n", "f32"},
      {HEAD("m") "param w: [7, 5] from \"w\"\noutput y = linear(x, transpose(w))\n", "f32"},
      {HEAD("m") "param w: [5, 7] from \"w\"\nparam v: [5, 7] from \"v\"\noutput y = linear(x, w)\noutput z = linear(x, v)\n",
       "f32"},
      {HEAD("m") "param w: [5, 7] from \"v\"\nparam v: [5, 7] from \"w\"\noutput y = linear(x, w)\noutput z = linear(x, v)\n",
       "f32"},
      {HEAD("m") "param w: [5, 7] from \"w\"\nparam b: [5] from \"b\"\noutput y = linear(x, w, b)\n", "f32"},
      /* computed at open: [5, 7] = a [5, 4] times b [7, 4] */
      {HEAD("m") "param a: [5, 4] from \"a\"\nparam b: [7, 4] from \"b\"\noutput y = linear(x, linear(a, b))\n", "f32"},
      {HEAD("m") "param a: [5, 4] from \"a\"\nparam b: [7, 4] from \"b\"\n"
                 "output y = linear(x, activate(linear(a, b), function = relu))\n",
       "f32"},
      {HEAD("m") "param a: [5, 4] from \"a\"\nparam b: [7, 4] from \"b\"\n"
                 "output y = linear(x, activate(linear(a, b), function = gelu))\n",
       "f32"},
      {HEAD("m") "param a: [5, 4] from \"b\"\nparam b: [7, 4] from \"a\"\noutput y = linear(x, linear(a, b))\n", "f32"},
      /* the same steps of the same buffers, bound otherwise */
      {HEAD("m") ABC "output y = linear(x, linear(a, b))\noutput z = linear(x, linear(a, c))\n", "f32"},
      {HEAD("m") ABC "output y = linear(x, linear(a, b))\noutput z = linear(x, linear(b, c))\n", "f32"},
  };
  enum { ROWS = sizeof rows / sizeof *rows };
  uint64_t stamps[ROWS];
  for (size_t i = 0; i < ROWS; i++) {
    const hmoec_options options = {.struct_size = sizeof options, .dtype = rows[i].dtype};
    stamps[i] = stamp_of(&options, NULL, rows[i].spec);
    for (size_t j = 0; j < i; j++)
      if (stamps[j] == stamps[i]) fail_msg("rows %zu and %zu have one stamp", j, i);
  }
}

static void test_same_weights(void **state) {
  (void)state;
  static const char *const rows[] = {
      base,
      HEAD("m") "param w: [5, 7] from \"w\"\noutput y = activate(linear(x, w), function = gelu)\n",
      HEAD("other") "param w: [5, 7] from \"w\"\noutput y = linear(x, w)\n",
      HEAD("m") "param w: [5, 7] from \"w\"\ninput z: f32[n, 5]\noutput y = add(linear(x, w), z)\n",
  };
  const hmoec_options options = {.struct_size = sizeof options};
  uint64_t stamp = stamp_of(&options, NULL, base);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (stamp_of(&options, NULL, rows[i]) != stamp) fail_msg("row %zu has another stamp", i);
}

/* Functions that are written in C are known by what they compute. */
static void test_functions(void **state) {
  (void)state;
  uint64_t stamps[3];
  for (size_t i = 0; i < 3; i++) {
    char text[1024];
    snprintf(text, sizeof text,
             "func.func private @f(%%x: f32) -> f32 {\n  %%c = arith.constant %d.0 : f32\n  %%y = arith.mulf %%x, %%c : f32\n"
             "  return %%y : f32\n}\n"
             "func.func @m(%%x: tensor<?x7xf32> {hmoe.name = \"x\"}) -> (tensor<?x5xf32> {hmoe.name = \"y\"}) {\n"
             "  %%w = \"hmoe.parameter\"() {key = \"w\", count = 0 : i64} : () -> tensor<5x7xf32>\n"
             "  %%v = \"hmoe.activate\"(%%w) {function = \"@f\"} : (tensor<5x7xf32>) -> tensor<5x7xf32>\n"
             "  %%y = \"hmoe.linear\"(%%x, %%v) : (tensor<?x7xf32>, tensor<5x7xf32>) -> tensor<?x5xf32>\n"
             "  return %%y : tensor<?x5xf32>\n}\n",
             i == 1 ? 3 : 2);
    hmoec_session session;
    hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(stderr);
    assert_true(hmoec_session_init(&session, NULL, diagnostics));
    assert_true(hmoec_session_load_module(&session, "test.mlir", text, strlen(text)) && hmoec_session_plan(&session));
    stamps[i] = ((const hmoe_plan *)session.unit.plan)->layout;
    hmoec_session_deinit(&session);
    hmoec_diagnostics_destroy(diagnostics);
  }
  assert_true(stamps[0] == stamps[2]);
  assert_true(stamps[0] != stamps[1]);
}

/* Layers whose tables are generated at open, and what only the strategy decides. */
static void test_strategies(void **state) {
  (void)state;
  static const char *const strategies[] = {"table", "factored"};
  static const char *const sizes[] = {"4", "5"};
  uint64_t stamps[4];
  for (size_t i = 0; i < 4; i++) {
    const hmoec_define defines[] = {{"d_model", "40"}, {"d_ff", "56"}, {"top_k", "2"}, {"experts", sizes[i / 2]}};
    const hmoec_options options = {
        .struct_size = sizeof options, .defines = defines, .define_count = 4, .strategy = strategies[i % 2]};
    stamps[i] = stamp_of(&options, layer, NULL);
    for (size_t j = 0; j < i; j++) assert_true(stamps[i] != stamps[j]);
  }
}

static const struct {
  const char *path, *dtype, *strategy;
  hmoec_define defines[5];
  size_t count;
} models[] = {
    {layer, "f32", "table", {{"d_model", "40"}, {"d_ff", "56"}, {"experts", "4"}, {"top_k", "2"}, {"bottleneck", "5"}}, 5},
    {layer, "bf16", "table", {{"d_model", "40"}, {"d_ff", "56"}, {"experts", "4"}, {"bottleneck", "5"}}, 4},
    {layer, "f32", "factored", {{"d_model", "40"}, {"d_ff", "56"}, {"experts", "4"}, {"top_k", "2"}}, 4},
    {layer, "bf16", "per_token", {{"d_model", "40"}, {"d_ff", "56"}, {"experts", "4"}, {"top_k", "2"}}, 4},
    {HMOE_SOURCE_DIR "/models/gpt2-hypermoe-tiny.spec", "f32", NULL, {{"layers", "1"}}, 1},
    {HMOE_SOURCE_DIR "/models/switch-hypermoe-tiny.spec", "bf16", NULL, {{"encoder_layers", "1"}}, 1},
};
enum { MODELS = sizeof models / sizeof *models };

static hmoec_options options_of(size_t m) {
  return (hmoec_options){.struct_size = sizeof(hmoec_options),
                         .defines = models[m].defines,
                         .define_count = models[m].count,
                         .dtype = models[m].dtype,
                         .strategy = models[m].strategy};
}

/* Another value of any knob that no layout depends on changes plans, and no stamp. */
static void test_knobs(void **state) {
  (void)state;
  const hmoec_target *target = &hmoec_target_cpu;
  size_t changed = 0, knob_count = 0;
  for (size_t m = 0; m < MODELS; m++) {
    const hmoec_options options = options_of(m);
    hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(stderr);
    hmoec_session usual;
    session_load(&usual, diagnostics, &options, models[m].path, NULL);
    assert_true(hmoec_session_plan(&usual));
    for (size_t k = 0; k < target->knob_count; k++) {
      const hmoec_knob *knob = &target->knobs[k];
      if (knob->changes_layout) continue;
      hmoec_session other;
      session_load(&other, diagnostics, &options, models[m].path, NULL);
      other.pass.schedule.value[k] = knob->value > 1 ? knob->value / 2 : knob->value + 2;
      assert_true(hmoec_session_plan(&other));
      if (((const hmoe_plan *)other.unit.plan)->layout != ((const hmoe_plan *)usual.unit.plan)->layout)
        fail_msg("%s: %s.%s changes the stamp", models[m].path, knob->of, knob->name);
      changed += other.unit.plan_bytes != usual.unit.plan_bytes || other.unit.kernel_count != usual.unit.kernel_count ||
                 memcmp(other.unit.plan, usual.unit.plan, usual.unit.plan_bytes) != 0 ||
                 memcmp(other.unit.kernels, usual.unit.kernels, usual.unit.kernel_count * sizeof *usual.unit.kernels) != 0;
      knob_count++;
      hmoec_session_deinit(&other);
    }
    hmoec_session_deinit(&usual);
    hmoec_diagnostics_destroy(diagnostics);
  }
  assert_true(knob_count > MODELS * 20);
  assert_in_range(changed, 20, knob_count);
}

/* Nor do values that were measured to be better, which a step has beside its own. */
static void test_tunings(void **state) {
  (void)state;
  const hmoec_options options = options_of(0);
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(stderr);
  hmoec_session session;
  session_load(&session, diagnostics, &options, layer, NULL);
  assert_true(hmoec_session_plan(&session));
  MlirOperation open = mlirBlockGetFirstOperation(mlirModuleGetBody(session.planned));
  MlirOperation op = mlirBlockGetFirstOperation(mlirRegionGetFirstBlock(mlirOperationGetRegion(open, 0)));
  while (!hmoec_op_is(op, "hmk.grouped_matmul")) op = mlirOperationGetNextInBlock(op);
  static const int64_t values[] = {1, 8, -1, -1, 4};
  static const char *const names[] = {"tunings", "untold"};
  for (int i = 0; i < 2; i++) {
    mlirOperationSetAttributeByName(op, mlirStringRefCreateFromCString(names[i]), mlirDenseI64ArrayGet(session.context, 5, values));
    uint64_t stamp;
    assert_true(hmoec_arena_stamp(session.planned, &hmoec_target_cpu, &session.unit.functions, &stamp));
    assert_int_equal(stamp == ((const hmoe_plan *)session.unit.plan)->layout, i == 0);
  }
  hmoec_session_deinit(&session);
  hmoec_diagnostics_destroy(diagnostics);
}

/* What one schedule has packed, an object of another opens, and computes the same. */
static void test_opens(void **state) {
  (void)state;
  char checkpoint[] = "/tmp/hmoe-stamp-XXXXXX", packed[sizeof checkpoint + 4];
  int fd = mkstemp(checkpoint);
  assert_true(fd >= 0);
  close(fd);
  snprintf(packed, sizeof packed, "%s.hmw", checkpoint);
  enum { TOKENS = 5, WIDTH = 40 };
  const int64_t tokens = TOKENS;
  static float x[TOKENS * WIDTH], y[2][TOKENS * WIDTH];
  hmoec_random_fill(7, "x", 1.0, TOKENS * WIDTH, x);
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(stderr);
  for (int other = 0; other < 2; other++) {
    const hmoec_options options = options_of(0);
    hmoec_session session;
    hmoe_model *model;
    session_load(&session, diagnostics, &options, layer, NULL);
    if (!other) assert_true(hmoec_random_weights_write(session.source, 3, checkpoint, diagnostics));
    for (size_t k = 0; other && k < hmoec_target_cpu.knob_count; k++) {
      const hmoec_knob *knob = &hmoec_target_cpu.knobs[k];
      if (!knob->changes_layout && strcmp(knob->of, "target") != 0) session.pass.schedule.value[k] = 2;
    }
    assert_true(hmoec_session_jit(&session, false));
    if (!other) assert_true(hmoec_session_pack(&session, &(hmoe_weights){.path = checkpoint}, NULL, packed));
    assert_true(hmoec_session_open(&session, &(hmoe_weights){.path = packed}, NULL, &model));
    assert_int_equal(hmoe_model_run(model, 1, &tokens, (const void *const[]){x}, (void *const[]){y[other]}), HMOE_OK);
    hmoe_model_close(model);
    hmoec_session_deinit(&session);
  }
  assert_memory_equal(y[0], y[1], sizeof y[0]);
  hmoec_diagnostics_destroy(diagnostics);
  unlink(checkpoint);
  unlink(packed);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_other_weights), cmocka_unit_test(test_same_weights),
                                     cmocka_unit_test(test_functions),     cmocka_unit_test(test_strategies),
                                     cmocka_unit_test(test_knobs),         cmocka_unit_test(test_tunings),
                                     cmocka_unit_test(test_opens)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
