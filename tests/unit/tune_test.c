/* What hmoec tune takes for a gain, and the trials that it measures with. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "commands/tune.h"
#include "support/clock.h"

/* ---- ratios ---- */

static void test_intervals(void **state) {
  (void)state;
  double ratios[TUNE_MOST_TURNS];
  /* How many of so many may be left out on either side, so that the median is within with 95 %: from tables of the sign test. */
  static const struct {
    size_t count, out;
  } rows[] = {{1, 0}, {2, 0}, {5, 0}, {6, 0}, {8, 0}, {9, 1}, {11, 1}, {12, 2}, {20, 5}, {25, 7}, {50, 17}, {64, 23}};
  for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
    size_t count = rows[r].count;
    for (size_t i = 0; i < count; i++)
      ratios[i] = (double)((i * 7 + 3) % count + 1); /* 1 to count, shuffled where 7 does not divide */
    if (count % 7 == 0) continue;
    tune_interval interval = tune_interval_of(ratios, count);
    if (interval.low != (double)(rows[r].out + 1) || interval.high != (double)(count - rows[r].out))
      fail_msg("of %zu: expected %zu left out, found %g to %g", count, rows[r].out, interval.low, interval.high);
    assert_true(interval.median == ((double)count + 1) / 2);
    assert_true(tune_median(ratios, count) == interval.median);
  }
  tune_interval none = tune_interval_of(ratios, 0);
  assert_true(none.low == 0 && none.median == 0 && none.high == 0);
}

static tune_candidate candidate_of(size_t turns, double gain, double self) {
  tune_candidate c = {.turns = turns};
  for (size_t i = 0; i < turns; i++) {
    c.gains[i] = gain * (1 + 1e-6 * (double)i);
    c.selves[i] = i % 2 ? self : 1 / self;
  }
  return c;
}

static void test_better(void **state) {
  (void)state;
  tune_candidate c = candidate_of(20, 1.05, 1.01);
  assert_true(tune_is_better(&c));
  c.failed = true;
  assert_false(tune_is_better(&c));
  c = candidate_of(5, 1.05, 1.01); /* too few to say */
  assert_false(tune_is_better(&c));
  c = candidate_of(6, 1.05, 1.01);
  assert_true(tune_is_better(&c));
  c = candidate_of(20, 1.05, 1.06); /* the default is as far from itself */
  assert_false(tune_is_better(&c));
  c = candidate_of(20, 0.99, 1.001);
  assert_false(tune_is_better(&c));
  c = candidate_of(20, 0.99999, 1); /* 1 at most */
  assert_false(tune_is_better(&c));
  c = candidate_of(20, 1.05, 1.01);
  for (size_t i = 0; i < 6; i++) c.gains[i] = 0.99; /* more than chance leaves out */
  assert_false(tune_is_better(&c));
  c = candidate_of(20, 1.05, 1.01);
  for (size_t i = 0; i < 5; i++) c.gains[i] = 0.99;
  assert_true(tune_is_better(&c));
}

/* ---- trials ---- */

static char said[4096];
static void keep(void *context, const hmoec_message *message) {
  (void)context;
  snprintf(said + strlen(said), sizeof said - strlen(said), "%s\n", message->text);
}

#define SPEC HMOE_SOURCE_DIR "/models/moe-layer.spec"

static void test_trial(void **state) {
  (void)state;
  const hmoec_define defines[] = {{"d_model", "48"}, {"d_ff", "80"}, {"experts", "3"}};
  const hmoec_options options = {
      .struct_size = sizeof options, .message = keep, .defines = defines, .define_count = 3, .cpu = "portable"};
  const hmoec_trial_options how = {.struct_size = sizeof how, .threads = 2};
  hmoec_trial *trial;
  assert_int_equal(hmoec_trial_create(SPEC, &options, &how, &trial), HMOEC_OK);
  hmoec_trial_machine machine;
  hmoec_trial_machine_of(trial, &machine);
  assert_string_equal(machine.target, "cpu");
  assert_string_equal(machine.version, "portable");
  assert_string_equal(machine.format, "f32");
  assert_int_equal(machine.threads, 2);
  assert_int_equal(strncmp(machine.object, "object ", 7), 0);

  hmoec_trial_knob knob;
  int64_t values[TUNE_MOST_KNOBS];
  size_t count = 0, of_object = 0, pairs = 0;
  for (; hmoec_trial_knob_at(trial, count, &knob); count++) {
    assert_true(count < TUNE_MOST_KNOBS && knob.tried_count > 0);
    values[count] = knob.value;
    of_object += !knob.kernel;
    pairs += strcmp(knob.name, "choose.percent") == 0;
    assert_int_equal(knob.rows_per_token, knob.kernel ? 1 : 0);
    if (knob.kernel) assert_true(strstr(knob.kernel, "matmul") == knob.kernel || strstr(knob.kernel, "ffn") == knob.kernel);
  }
  assert_int_equal(pairs, 1); /* one layer of experts */
  assert_true(of_object > 0 && count > of_object + pairs);
  assert_false(hmoec_trial_knob_at(trial, count, &knob));

  /* A run, with every value of every knob; of the object's, which are compiled, the first. */
  double seconds = 0;
  assert_int_equal(hmoec_trial_run(trial, NULL, 5, 0, 0, &seconds), HMOEC_OK);
  assert_true(seconds > 0);
  for (size_t k = 0; k < count; k++) {
    hmoec_trial_knob_at(trial, k, &knob);
    for (size_t v = 0; v < (knob.kernel ? knob.tried_count : 1); v++) {
      values[k] = knob.tried[v];
      assert_int_equal(hmoec_trial_run(trial, values, 5, 0, 0, &seconds), HMOEC_OK);
      assert_true(seconds > 0);
    }
    values[k] = knob.value;
  }
  assert_int_equal(hmoec_trial_run(trial, values, 0, 0, 0, &seconds), HMOEC_OK);
  double begin = hmoec_clock_seconds();
  assert_int_equal(hmoec_trial_run(trial, values, 2, 0.02, 0.005, &seconds), HMOEC_OK);
  assert_true(hmoec_clock_seconds() - begin >= 0.02);
  assert_true(seconds < 0.005); /* pauses are not of the run */

  said[0] = 0;
  values[0] = -1;
  assert_int_equal(hmoec_trial_run(trial, values, 5, 0, 0, &seconds), HMOEC_USAGE_ERROR);
  assert_non_null(strstr(said, "found -1"));
  assert_int_equal(hmoec_trial_run(trial, NULL, -1, 0, 0, &seconds), HMOEC_USAGE_ERROR);
  assert_int_equal(hmoec_trial_run(trial, NULL, 1, NAN, 0, &seconds), HMOEC_USAGE_ERROR);
  assert_int_equal(hmoec_trial_run(trial, NULL, 1, 0, -1, &seconds), HMOEC_USAGE_ERROR);
  assert_int_equal(hmoec_trial_run(NULL, NULL, 1, 0, 0, &seconds), HMOEC_USAGE_ERROR);
  hmoec_trial_destroy(trial);
  hmoec_trial_destroy(NULL);

  /* Of top-2 a token has two rows; steps that run a chunk at a time, or a set, have no knobs. */
  const hmoec_define two[] = {{"d_model", "48"}, {"d_ff", "80"}, {"experts", "4"}, {"top_k", "2"}, {"bottleneck", "8"}};
  const hmoec_options factored = {.struct_size = sizeof factored,
                                  .message = keep,
                                  .defines = two,
                                  .define_count = 5,
                                  .cpu = "portable",
                                  .strategy = "factored"};
  assert_int_equal(hmoec_trial_create(HMOE_SOURCE_DIR "/models/hypermoe-layer.spec", &factored, &how, &trial), HMOEC_OK);
  size_t of_picks = 0, of_tokens = 0;
  for (size_t k = 0; hmoec_trial_knob_at(trial, k, &knob); k++) {
    if (!knob.kernel) continue;
    of_picks += knob.rows_per_token == 2;
    of_tokens += knob.rows_per_token == 1;
    assert_true(knob.rows_per_token == 1 || knob.rows_per_token == 2);
  }
  assert_int_equal(of_picks, 3); /* the experts, as a pair and as two steps */
  assert_int_equal(of_tokens, 4); /* the generator's chain, the same, and its embedding */
  double predicted, bound;
  hmoec_trial_predict(trial, 64, &predicted, &bound);
  assert_true(predicted > 0 && bound > 0 && bound <= predicted);
  assert_true(hmoec_trial_predict(trial, 0, &predicted, &bound) && predicted == 0 && bound == 0);
  hmoec_trial_destroy(trial);

  said[0] = 0;
  assert_int_equal(hmoec_trial_create(NULL, &options, &how, &trial), HMOEC_USAGE_ERROR);
  assert_null(trial);
  assert_non_null(strstr(said, "expected the path of a model, found NULL"));
  assert_int_equal(hmoec_trial_create(SPEC, &options, &how, NULL), HMOEC_USAGE_ERROR);
  const hmoec_trial_options decode = {.struct_size = sizeof decode, .entry = "decode"};
  assert_int_equal(hmoec_trial_create(SPEC, &options, &decode, &trial), HMOEC_USAGE_ERROR);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_intervals), cmocka_unit_test(test_better), cmocka_unit_test(test_trial)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
