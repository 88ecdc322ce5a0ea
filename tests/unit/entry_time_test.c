/* Predicted times of entries: of every kind of step, in loops and chooses, for sizes from none to very many. */
#include "module_fixture.h"

#include <math.h>
#include <string.h>

#include "library/entry_time.h"
#include "library/session.h"

typedef struct opened {
  hmoec_diagnostics *diagnostics;
  hmoec_session session;
} opened;

static void open_model(opened *o, const char *model, const char *dtype, const hmoec_define *defines, size_t count) {
  char path[256];
  hmoec_options options = {.struct_size = sizeof options, .dtype = dtype, .defines = defines, .define_count = count};
  snprintf(path, sizeof path, "%s/models/%s.spec", HMOE_SOURCE_DIR, model);
  o->diagnostics = hmoec_diagnostics_create(stderr);
  assert_true(hmoec_session_init(&o->session, &options, o->diagnostics) && hmoec_session_load(&o->session, path) &&
              hmoec_session_plan(&o->session));
}

static void close_model(opened *o) {
  hmoec_session_deinit(&o->session);
  hmoec_diagnostics_destroy(o->diagnostics);
}

static hmoec_entry_time predict(const opened *o, uint32_t entry, hmoec_run_case run) {
  hmoec_entry_time time;
  assert_true(hmoec_entry_time_init(&o->session.unit, entry, &run, &time));
  assert_true(isfinite(time.seconds) && time.seconds >= 0 && isfinite(time.bound) && time.bound >= 0);
  double sum = 0;
  for (uint32_t i = 0; i < time.step_count; i++) {
    const hmoec_step_time *s = &time.steps[i];
    assert_true(isfinite(s->seconds) && s->seconds >= 0 && isfinite(s->bound) && s->bound >= 0 && s->runs >= 0 && s->rows >= 0);
    sum += s->seconds;
  }
  assert_true(fabs(sum - time.seconds) <= 1e-9 * sum);
  return time;
}

static double seconds_of(const opened *o, hmoec_run_case run) {
  hmoec_entry_time time = predict(o, 1, run);
  double seconds = time.seconds;
  hmoec_entry_time_deinit(&time);
  return seconds;
}

static const hmoec_run_case usual = {.rows = 1, .tokens = 64, .version = 2, .threads = 1};

/* Each strategy has its own steps: loops over rows, over groups, and over what a cache lacks. */
static void test_strategies(void **state) {
  (void)state;
  static const char *const strategies[] = {"table", "cache", "factored", "per_token"}, *const dtypes[] = {"f32", "bf16"};
  static const int64_t tokens[] = {0, 1, 2, 7, 64, 1000, 30000};
  for (size_t s = 0; s < 4; s++)
    for (size_t d = 0; d < 2; d++) {
      opened o;
      const hmoec_define defines[] = {
          {"d_model", "96"}, {"d_ff", "160"}, {"top_k", "2"}, {"bottleneck", "16"}, {"strategy", strategies[s]}};
      open_model(&o, "hypermoe-layer", dtypes[d], defines, 5);
      double before = 0;
      for (size_t t = 0; t < sizeof tokens / sizeof *tokens; t++) {
        hmoec_run_case run = usual;
        run.tokens = tokens[t];
        hmoec_entry_time time = predict(&o, 1, run);
        if (time.seconds < 0.9 * before) fail_msg("%s: %lld tokens take less than fewer", strategies[s], (long long)tokens[t]);
        assert_true(tokens[t] == 0 || time.weight_bytes > 0);
        before = time.seconds;
        hmoec_entry_time_deinit(&time);
      }
      close_model(&o);
    }
}

static void test_whole_models(void **state) {
  (void)state;
  static const char *const models[] = {"switch-hypermoe-tiny", "gpt2-hypermoe-tiny"};
  for (size_t m = 0; m < 2; m++) {
    opened o;
    open_model(&o, models[m], "f32", NULL, 0);
    const hmoe_plan *plan = o.session.unit.plan;
    for (uint32_t e = 0; e < plan->entries.count; e++) {
      hmoec_run_case run = {.rows = 3, .tokens = 5, .past = 40, .version = 0, .threads = 4};
      hmoec_entry_time time = predict(&o, e, run);
      hmoec_entry_time_deinit(&time);
    }
    close_model(&o);
  }
}

/* More threads never take longer, nor do many more than there are tasks; a version of longer vectors takes less; equal cases equal times. */
static void test_cases(void **state) {
  (void)state;
  opened o;
  open_model(&o, "hypermoe-layer", "f32", (const hmoec_define[]){{"experts", "16"}}, 1);
  hmoec_run_case run = usual;
  double one = seconds_of(&o, run);
  assert_true(one == seconds_of(&o, run));
  run.threads = 2;
  double two = seconds_of(&o, run);
  assert_true(two < 0.65 * one && two > 0.45 * one);
  run.threads = 100000;
  assert_true(seconds_of(&o, run) <= two);
  run = usual;
  run.tokens = 1000;
  double wide = seconds_of(&o, run);
  run.version = 0;
  assert_true(seconds_of(&o, run) > 3 * wide);
  run = usual;
  run.tokens = 8;
  double drawn = seconds_of(&o, run);
  run.even = true;
  double even = seconds_of(&o, run); /* all 8 tokens at experts of their own */
  run.even = false;
  run.skew = 4;
  double skewed = seconds_of(&o, run); /* nearly all at one, or two */
  assert_true(even > drawn && drawn > skewed);
  close_model(&o);
}

/* Of a choose one way is taken, and what the other one would take is said, too. */
static void test_choose(void **state) {
  (void)state;
  opened o;
  open_model(&o, "moe-layer", "f32", (const hmoec_define[]){{"experts", "1"}}, 1);
  const hmoe_plan *plan = o.session.unit.plan;
  const hmoe_plan_entry *entry = (const hmoe_plan_entry *)(const void *)((const char *)plan + plan->entries.offset) + 1;
  const hmoe_plan_step *steps = (const void *)((const char *)plan + entry->steps.offset);
  hmoec_run_case run = usual;
  run.tokens = 1;
  run.threads = 2;
  hmoec_entry_time time = predict(&o, 1, run);
  uint32_t choose = 0;
  while (choose < time.step_count && steps[choose].kind != HMOE_STEP_CHOOSE) choose++;
  assert_true(choose + 3 < time.step_count);
  const hmoec_step_time *pair = &time.steps[choose + 1], *up = pair + 1, *down = pair + 2;
  assert_true(pair->runs == 0 && pair->seconds == 0 && pair->once > 0); /* one block cannot be shared */
  assert_true(up->runs > 0.99 && down->runs > 0.99 && up->once + down->once < pair->once);
  assert_true(up->shared && down->shared);
  hmoec_entry_time_deinit(&time);
  close_model(&o);
}

/* What is not known of a machine is not predicted. */
static void test_no_machine(void **state) {
  (void)state;
  opened o;
  hmoec_entry_time time;
  open_model(&o, "moe-layer", "f32", NULL, 0);
  o.session.unit.machine = NULL;
  assert_false(hmoec_entry_time_init(&o.session.unit, 1, &usual, &time));
  hmoec_entry_time_deinit(&time);
  close_model(&o);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_strategies), cmocka_unit_test(test_whole_models),
                                     cmocka_unit_test(test_cases), cmocka_unit_test(test_choose),
                                     cmocka_unit_test(test_no_machine)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
