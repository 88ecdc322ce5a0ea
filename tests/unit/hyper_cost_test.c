/* What strategies of a HyperExpert cost and which one is taken: at each limit one case on either side of it, and the whole reason. How memory is divided. */
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "passes/hyper_cost.h"

/* Sets of 8 KiB on CPUs: both matrices are [32, 32]. */
enum { WIDTH = 32, SET_BYTES = 2 * WIDTH * WIDTH * 4, MIB = 1 << 20 };

/* Numbers that times are easily told from: a FLOP is a ps, a byte read 100, one touched 10, a step a us. */
static hmoec_machine_rates test_rates(const hmoec_machine *machine, size_t version, hmoec_format format) {
  (void)machine;
  (void)version;
  (void)format;
  return (hmoec_machine_rates){.flops = 1e12 / 0.75, .read = 1e10, .touch = 1e11, .step = 1e-6};
}

static hmoec_target target;

static int setup(void **state) {
  (void)state;
  target = hmoec_target_cpu;
  target.rates = test_rates;
  return 0;
}

static hmoec_hyper_case case_of(int64_t experts, int64_t top_k) {
  return (hmoec_hyper_case){.d_model = WIDTH,
                            .bottleneck = WIDTH,
                            .hidden = 16,
                            .experts = experts,
                            .top_k = top_k,
                            .tokens = 512,
                            .target = &target,
                            .from_selection = true};
}

static hmoec_hyper_cost cost_of(const hmoec_hyper_case *hyper) {
  hmoec_hyper_cost cost;
  assert_true(hmoec_hyper_cost_init(&cost, hyper));
  return cost;
}

static void test_budget(void **state) {
  (void)state;
  static const struct {
    int64_t experts, top_k, expert_bytes, given, budget, slots;
  } rows[] = {
      /* Half of the experts' bytes, a MiB at least, and a set an expert at least. */
      {8, 2, 0, 0, MIB, 28},
      {8, 2, 2 * MIB, 0, MIB, 28},
      {8, 4, 2 * MIB + 2, 0, MIB + 1, 70},
      {128, 1, 0, 0, MIB, 128},
      {129, 1, 0, 0, 129 * SET_BYTES, 129},
      {129, 2, 0, 0, 129 * SET_BYTES, 129},
      {129, 2, 4 * MIB, 0, 2 * MIB, 256},
      {256, 2, 4 * MIB, 0, 2 * MIB, 256},
      {257, 2, 4 * MIB, 0, 257 * SET_BYTES, 257},
      /* What is given counts as it is; a cache has 16 sets at least, and no more than there are, or than a cache may have. */
      {129, 2, 4 * MIB, 1, 1, 16},
      {129, 2, 4 * MIB, 17 * SET_BYTES - 1, 17 * SET_BYTES - 1, 16},
      {129, 2, 4 * MIB, 17 * SET_BYTES, 17 * SET_BYTES, 17},
      {7, 1, 0, 1, 1, 7},
      {64, 8, 0, INT64_MAX, INT64_MAX, HMOEC_MOST_SLOTS},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    hmoec_hyper_case hyper = case_of(rows[i].experts, rows[i].top_k);
    hyper.expert_bytes = rows[i].expert_bytes;
    hyper.budget_bytes = rows[i].given;
    hmoec_hyper_cost cost = cost_of(&hyper);
    if (cost.budget_bytes != rows[i].budget || cost.cache_slots != rows[i].slots)
      fail_msg("row %zu: expected a budget of %lld and %lld slots, found %lld and %lld", i, (long long)rows[i].budget,
               (long long)rows[i].slots, (long long)cost.budget_bytes, (long long)cost.cache_slots);
    hmoec_hyper_cost_deinit(&cost);
  }
}

static void test_costs(void **state) {
  (void)state;
  hmoec_hyper_case hyper = case_of(8, 2);
  hyper.d_model = 40; /* 64 columns as they are stored */
  hmoec_hyper_cost cost = cost_of(&hyper);
  assert_int_equal(cost.sets, 28);
  assert_int_equal(cost.set_bytes, 4 * (40 * 32 + 32 * 64));
  assert_int_equal(cost.table_bytes, 28 * cost.set_bytes);
  assert_true(cost.generate_flops == 2.0 * 16 * 2 * 40 * 32);
  assert_true(cost.apply_flops == 4.0 * 40 * 32);
  assert_true(cost.factored_flops == 4.0 * 40 * 32 * 17 + 4.0 * 32 * 17);
  assert_true(cost.factored_bytes == 16.0 * 32 * 17);
  assert_true(cost.generator_bytes == 4.0 * 2 * 40 * 32 * 17);
  hmoec_hyper_cost_deinit(&cost);
  hyper.format = HMOEC_FORMAT_BF16;
  cost = cost_of(&hyper);
  assert_true(cost.generator_bytes == 2.0 * 2 * 40 * 32 * 17);
  assert_int_equal(cost.set_bytes, 2 * (64 * 32 + 32 * 64));
  hmoec_hyper_cost_deinit(&cost);
  hyper.format = HMOEC_FORMAT_F32;
  hyper.generated_biases = true;
  cost = cost_of(&hyper);
  assert_int_equal(cost.set_bytes, 4 * (40 * 32 + 32 * 64 + 32 + 64));
  assert_true(cost.generate_flops == 2.0 * 16 * (2 * 40 * 32 + 40 + 32));
  hmoec_hyper_cost_deinit(&cost);
  hyper.experts = 200; /* C(200, 100) is no number of 64 bits */
  hyper.top_k = 100;
  cost = cost_of(&hyper);
  assert_true(cost.sets == INT64_MAX && cost.table_bytes == INT64_MAX);
  assert_true(cost.distinct > 511.99 && cost.distinct <= 512);
  hmoec_hyper_cost_deinit(&cost);
}

static void expect_us(const char *what, double expected, double seconds) {
  if (fabs(1e6 * seconds - expected) > 1e-3 * expected) fail_msg("%s: expected %.5g us, found %.5g", what, expected, 1e6 * seconds);
}

static double both(double a, double b) { return pow(pow(a, 4) + pow(b, 4), 0.25); }

/* Of each strategy, by hand. */
static void test_times(void **state) {
  (void)state;
  hmoec_hyper_case hyper = case_of(8, 2);
  hmoec_hyper_cost cost = cost_of(&hyper);
  double us = 1e-6, apply = 512 * 4096 * us, generator = 8.0 * 1024 * 17 * 1e-4, read = 1.1 * generator, elements = 2048;
  expect_us("table", both(apply, 28 * 8192e-4) + 1, hmoec_hyper_point_of(&cost, HMOEC_STRATEGY_TABLE, 0).seconds);
  double made = 512 * (65536 * us + 8 * elements * 1e-5);
  expect_us("per_token", both(apply, 512 * 8192e-4) + 1 + both(made, 16 * read) + 2 * 16,
            hmoec_hyper_point_of(&cost, HMOEC_STRATEGY_PER_TOKEN, 0).seconds);
  expect_us("factored", both(512 * (4096 * 17 + 4 * 32 * 17) * us, 2 * generator) + 512 * 16 * 32 * 17 * (2.5e-4 + 1e-5) + 3 * 2,
            hmoec_hyper_point_of(&cost, HMOEC_STRATEGY_FACTORED, 0).seconds);
  /* Of more sets than slots all 16 are taken at a time, and none stays; with a slot for each there is nothing to make. */
  double missing = cost.distinct * (65536 * us + 8 * elements * 1e-5), passes = 2; /* each lacks all */
  expect_us("cache",
            both(apply, cost.distinct * 8192e-4) + 1 + 1 + both(missing, passes * read) + 2 * passes + 2 * cost.distinct * 8192e-4,
            hmoec_hyper_point_of(&cost, HMOEC_STRATEGY_CACHE, 16).seconds);
  expect_us("whole cache", 1e6 * hmoec_hyper_point_of(&cost, HMOEC_STRATEGY_TABLE, 0).seconds,
            hmoec_hyper_point_of(&cost, HMOEC_STRATEGY_CACHE, 28).seconds);
  hmoec_hyper_cost_deinit(&cost);
  hyper.tokens = 257; /* chunks of 256 and of 32 tokens */
  cost = cost_of(&hyper);
  made = 257 * (65536 * us + 8 * elements * 1e-5);
  expect_us("per_token of 257", both(257 * 4096 * us, 257 * 8192e-4) + 1 + both(made, 9 * read) + 2 * 9,
            hmoec_hyper_point_of(&cost, HMOEC_STRATEGY_PER_TOKEN, 0).seconds);
  expect_us("factored of 257",
            both(257 * (4096 * 17 + 4 * 32 * 17) * us, 2 * generator) + 257 * 16 * 32 * 17 * (2.5e-4 + 1e-5) + 3 * 2,
            hmoec_hyper_point_of(&cost, HMOEC_STRATEGY_FACTORED, 0).seconds);
  hmoec_hyper_cost_deinit(&cost);
  hyper = case_of(64, 2); /* where a quarter of the slots is more than 32, three quarters stay */
  hyper.tokens = 4096;
  cost = cost_of(&hyper);
  double lacks = hmoec_ranks_distinct(&cost.ranks, 4096, 192), turns = ceil(cost.distinct / 64);
  missing = lacks * (65536 * us + 8 * elements * 1e-5);
  expect_us("cache of many",
            both(4096 * 4096 * us, cost.distinct * 8192e-4) + turns + both(missing, turns * read) + 2 * turns + 2 * lacks * 8192e-4,
            hmoec_hyper_point_of(&cost, HMOEC_STRATEGY_CACHE, 256).seconds);
  hmoec_hyper_cost_deinit(&cost);
}

/* No tokens take no time but that of steps, and nothing is a NaN. */
static void test_no_tokens(void **state) {
  (void)state;
  hmoec_hyper_case hyper = case_of(8, 2);
  hyper.tokens = 0;
  hmoec_hyper_cost cost = cost_of(&hyper);
  for (int s = HMOEC_STRATEGY_TABLE; s < HMOEC_STRATEGY_COUNT; s++) {
    double seconds = hmoec_hyper_point_of(&cost, (hmoec_strategy)s, 16).seconds;
    assert_true(seconds >= 0 && seconds <= 1e-6);
  }
  hmoec_hyper_cost_deinit(&cost);
}

/* More memory is never slower, more tokens never faster, and skew helps a cache; of any number of sets. */
static void test_monotone(void **state) {
  (void)state;
  static const int64_t shapes[][2] = {{8, 1}, {16, 4}, {64, 2}, {64, 8}, {128, 8}, {200, 100}};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    double before = 0;
    for (int64_t tokens = 1; tokens <= 4096; tokens *= 4) {
      hmoec_hyper_case hyper = case_of(shapes[i][0], shapes[i][1]);
      hyper.tokens = tokens;
      hmoec_hyper_cost cost = cost_of(&hyper);
      double most = INFINITY;
      for (int64_t bytes = 1; bytes < INT64_C(1) << 42; bytes *= 2) {
        double seconds = hmoec_hyper_fastest(&cost, bytes).seconds;
        assert_true(isfinite(seconds) && seconds > 0);
        if (hmoec_hyper_fastest(&cost, bytes).bytes > bytes) fail_msg("more memory than there is");
        if (bytes >= 64 * cost.set_bytes && seconds > 1.0001 * most)
          fail_msg("%lld bytes take longer than half of them", (long long)bytes);
        most = seconds;
      }
      double factored = hmoec_hyper_point_of(&cost, HMOEC_STRATEGY_FACTORED, 0).seconds;
      assert_true(factored > before);
      before = factored;
      hmoec_hyper_cost_deinit(&cost);
    }
    double even = 0;
    for (int s = 0; s <= 8; s++) {
      hmoec_hyper_case hyper = case_of(shapes[i][0], shapes[i][1]);
      hyper.exponent = s / 2.0;
      hmoec_hyper_cost cost = cost_of(&hyper);
      double seconds = hmoec_hyper_point_of(&cost, HMOEC_STRATEGY_CACHE, 8).seconds;
      assert_true(isfinite(seconds));
      if (s > 0 && seconds > 1.0001 * even)
        fail_msg("%lld of %lld, zipf %g: slower than with less skew", (long long)shapes[i][1], (long long)shapes[i][0], s / 2.0);
      even = seconds;
      hmoec_hyper_cost_deinit(&cost);
    }
  }
}

static void test_choice(void **state) {
  (void)state;
  static const struct {
    int64_t experts, top_k, budget;
    bool from_selection;
    double exponent;
    hmoec_strategy strategy;
    int64_t slots;
    const char *reason;
  } rows[] = {
      {8, 2, 28 * SET_BYTES, true, 0, HMOEC_STRATEGY_TABLE, 0,
       "28 selection sets of 8.2 KB make a table of 0.22 MiB, within 0.22 MiB; for 512 tokens it is the fastest"},
      {8, 2, 28 * SET_BYTES - 1, true, 0, HMOEC_STRATEGY_CACHE, 27,
       "a table of 28 sets would take 0.22 MiB; for 512 tokens, within 0.22 MiB, a cache of 27 of them is the fastest"},
      {16, 2, 16 * SET_BYTES, true, 0, HMOEC_STRATEGY_CACHE, 16, NULL},
      {16, 2, 16 * SET_BYTES - 1, true, 0, HMOEC_STRATEGY_PER_TOKEN, 0,
       "a table of 120 sets would take 0.94 MiB; for 512 tokens, within 0.12 MiB, per_token is the fastest"},
      {64, 8, 30 * SET_BYTES, true, 0, HMOEC_STRATEGY_PER_TOKEN, 0,
       "4.426e+09 selection sets are too many for a table; for 512 tokens, within 0.23 MiB, per_token is the fastest"},
      {64, 8, 30 * SET_BYTES, true, 3, HMOEC_STRATEGY_CACHE, 30, NULL},
      {200, 100, 30 * SET_BYTES, true, 0, HMOEC_STRATEGY_PER_TOKEN, 0,
       "9.055e+58 selection sets are too many for a table; for 512 tokens, within 0.23 MiB, per_token is the fastest"},
      {8, 2, 28 * SET_BYTES, false, 0, HMOEC_STRATEGY_PER_TOKEN, 0,
       "no table of what this generator reads; for 512 tokens per_token is the fastest"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    hmoec_hyper_case hyper = case_of(rows[i].experts, rows[i].top_k);
    hyper.from_selection = rows[i].from_selection;
    hyper.exponent = rows[i].exponent;
    hyper.budget_bytes = rows[i].budget;
    hmoec_hyper_cost cost = cost_of(&hyper);
    char reason[512] = "";
    hmoec_hyper_point chosen = hmoec_hyper_fastest(&cost, cost.budget_bytes);
    hmoec_hyper_reason(&cost, &chosen, cost.budget_bytes, reason, sizeof reason);
    if (chosen.strategy != rows[i].strategy || chosen.slots != rows[i].slots ||
        (rows[i].reason && strcmp(reason, rows[i].reason) != 0))
      fail_msg("row %zu: expected %s of %lld: %s; found %s of %lld: %s", i, hmoec_strategy_name(rows[i].strategy),
               (long long)rows[i].slots, rows[i].reason ? rows[i].reason : "", hmoec_strategy_name(chosen.strategy),
               (long long)chosen.slots, reason);
    hmoec_hyper_cost_deinit(&cost);
  }
}

/* A table has 2^24 sets at most; a device does not generate a token at a time where only its host's rates are known. */
static void test_possible(void **state) {
  (void)state;
  hmoec_hyper_case hyper = case_of(5793, 2); /* 16776528 sets */
  hmoec_hyper_cost cost = cost_of(&hyper);
  assert_true(hmoec_hyper_has_table(&cost));
  assert_int_equal(hmoec_hyper_fastest(&cost, INT64_MAX).strategy, HMOEC_STRATEGY_TABLE);
  hmoec_hyper_cost_deinit(&cost);
  hyper.experts = 5794;
  cost = cost_of(&hyper);
  assert_false(hmoec_hyper_has_table(&cost));
  assert_int_equal(hmoec_hyper_fastest(&cost, INT64_MAX).strategy, HMOEC_STRATEGY_CACHE);
  hmoec_hyper_cost_deinit(&cost);
  hyper.d_model = 4096; /* 2^40 bytes */
  hyper.bottleneck = 1024;
  hyper.experts = 256;
  cost = cost_of(&hyper); /* 32640 sets of 32 MiB */
  assert_true(hmoec_hyper_has_table(&cost));
  hmoec_hyper_cost_deinit(&cost);
  hyper.experts = 257; /* 32896 */
  cost = cost_of(&hyper);
  assert_false(hmoec_hyper_has_table(&cost));
  hmoec_hyper_cost_deinit(&cost);
  hmoec_target device = target;
  device.host = &target;
  device.rates = NULL;
  hyper = case_of(16, 2);
  hyper.target = &device;
  cost = cost_of(&hyper);
  assert_true(fabs(cost.rates.flops - 1e12) < 1);
  assert_int_equal(hmoec_hyper_fastest(&cost, 0).strategy, HMOEC_STRATEGY_FACTORED);
  hmoec_hyper_cost_deinit(&cost);
  device.host = NULL; /* nobody knows anything */
  device.machines = NULL;
  cost = cost_of(&hyper);
  assert_true(cost.rates.flops > 0 && cost.rates.read > 0 && cost.rates.touch > 0 && cost.rates.step > 0);
  hmoec_hyper_cost_deinit(&cost);
}

static void test_sizes(void **state) {
  (void)state;
  static const struct {
    int64_t experts, top_k;
    bool from_selection;
    size_t count;
    int64_t last;
  } rows[] = {{16, 1, true, 0, 0},
              {17, 1, true, 1, 16},
              {8, 2, true, 1, 16},
              {9, 2, true, 2, 32},
              {64, 2, true, 7, 1024},
              {64, 8, true, 21, HMOEC_MOST_SLOTS},
              {200, 100, true, 21, HMOEC_MOST_SLOTS},
              {64, 2, false, 0, 0}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    hmoec_hyper_case hyper = case_of(rows[i].experts, rows[i].top_k);
    hyper.from_selection = rows[i].from_selection;
    hmoec_hyper_cost cost = cost_of(&hyper);
    int64_t slots[HMOEC_HYPER_SIZES] = {0};
    size_t count = hmoec_hyper_sizes(&cost, slots);
    if (count != rows[i].count || (count && slots[count - 1] != rows[i].last))
      fail_msg("row %zu: expected %zu sizes up to %lld, found %zu up to %lld", i, rows[i].count, (long long)rows[i].last, count,
               count ? (long long)slots[count - 1] : 0);
    hmoec_hyper_cost_deinit(&cost);
  }
}

/* ---- memory of a model ---- */

enum { LAYERS = 3 };

/* 120, 28 and 120 sets; the last one's tokens are ten times as many. */
static hmoec_hyper_report report_make(void) {
  hmoec_hyper_report report = {.layers = calloc(LAYERS, sizeof(hmoec_hyper_layer)), .count = LAYERS};
  for (size_t i = 0; i < LAYERS; i++) {
    report.layers[i].hyper = case_of(i == 1 ? 8 : 16, 2);
    if (i == 2) report.layers[i].hyper.tokens = 5120;
    report.layers[i].cost = cost_of(&report.layers[i].hyper);
  }
  return report;
}

static void expect_points(int line, hmoec_hyper_report *report, int64_t memory, const int64_t *slots /* -1: a table */) {
  int64_t taken = 0;
  assert_true(hmoec_hyper_report_choose(report, memory));
  for (size_t i = 0; i < LAYERS; i++) {
    const hmoec_hyper_point *p = &report->layers[i].chosen;
    int64_t found = p->strategy == HMOEC_STRATEGY_TABLE ? -1 : p->slots;
    if (found != slots[i])
      fail_msg("line %d: expected %lld for layer %zu, found %lld", line, (long long)slots[i], i, (long long)found);
    taken += p->bytes;
  }
  assert_true(taken <= memory);
}
#define EXPECT_POINTS(report, memory, ...) expect_points(__LINE__, report, memory, (const int64_t[]){__VA_ARGS__})

static void test_share(void **state) {
  (void)state;
  hmoec_hyper_report report = report_make();
  EXPECT_POINTS(&report, 1, 0, 0, 0);
  EXPECT_POINTS(&report, 16 * SET_BYTES - 1, 0, 0, 0);
  EXPECT_POINTS(&report, 16 * SET_BYTES, 0, 0, 16); /* where a byte saves the most */
  EXPECT_POINTS(&report, 268 * SET_BYTES, -1, -1, -1);
  EXPECT_POINTS(&report, 1000 * SET_BYTES, -1, -1, -1);
  assert_int_equal(report.layers[0].within_bytes, 1000 * SET_BYTES);
  /* What is left over goes to a cache, set by set. */
  EXPECT_POINTS(&report, 267 * SET_BYTES, 119, -1, -1);
  EXPECT_POINTS(&report, 267 * SET_BYTES - 1, 118, -1, -1);
  /* What is forced is taken off, and stays; what one layer may have is a limit of its own. */
  report.layers[2].forced = true;
  report.layers[2].chosen = hmoec_hyper_point_of(&report.layers[2].cost, HMOEC_STRATEGY_CACHE, 100);
  EXPECT_POINTS(&report, 128 * SET_BYTES, 0, -1, 100);
  EXPECT_POINTS(&report, 128 * SET_BYTES - 1, 0, 16, 100); /* 27 of 28 take as long */
  report.layers[1].hyper.budget_bytes = 20 * SET_BYTES;
  EXPECT_POINTS(&report, 1000 * SET_BYTES, -1, 16, 100);
  report.layers[2].forced = false;
  /* Without memory for all each has its budget. */
  assert_true(hmoec_hyper_report_choose(&report, 0));
  assert_int_equal(report.layers[0].chosen.strategy, HMOEC_STRATEGY_TABLE);
  assert_int_equal(report.layers[0].within_bytes, MIB);
  hmoec_hyper_report_deinit(&report);
  assert_null(report.layers);
  assert_true(hmoec_hyper_report_choose(&report, 1)); /* of none */
}

/* Whatever is divided: more of it is never slower in all, and equal calls give equal points. */
static void test_share_monotone(void **state) {
  (void)state;
  hmoec_hyper_report report = report_make();
  double before = INFINITY;
  for (int64_t sets = 0; sets <= 280; sets++) {
    hmoec_hyper_point points[LAYERS], again[LAYERS];
    double seconds = 0;
    assert_true(hmoec_hyper_share(report.layers, LAYERS, sets * SET_BYTES, points));
    assert_true(hmoec_hyper_share(report.layers, LAYERS, sets * SET_BYTES, again));
    for (size_t i = 0; i < LAYERS; i++) {
      assert_true(points[i].strategy == again[i].strategy && points[i].slots == again[i].slots);
      seconds += points[i].seconds;
    }
    if (seconds > 1.1 * before) fail_msg("%lld sets take longer than %lld", (long long)sets, (long long)sets - 1);
    before = seconds < before ? seconds : before;
  }
  hmoec_hyper_report_deinit(&report);
}

static void test_names(void **state) {
  (void)state;
  static const char *const names[] = {"auto", "table", "cache", "factored", "per_token"};
  for (int i = 0; i < HMOEC_STRATEGY_COUNT; i++) {
    hmoec_strategy found = HMOEC_STRATEGY_COUNT;
    assert_string_equal(hmoec_strategy_name((hmoec_strategy)i), names[i]);
    assert_true(hmoec_strategy_parse(names[i], strlen(names[i]), &found));
    assert_int_equal(found, i);
    assert_false(hmoec_strategy_parse(names[i], strlen(names[i]) - 1, &found));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_budget),         cmocka_unit_test(test_costs),    cmocka_unit_test(test_times),
      cmocka_unit_test(test_no_tokens),      cmocka_unit_test(test_monotone), cmocka_unit_test(test_choice),
      cmocka_unit_test(test_possible),       cmocka_unit_test(test_sizes),    cmocka_unit_test(test_share),
      cmocka_unit_test(test_share_monotone), cmocka_unit_test(test_names)};
  return cmocka_run_group_tests(tests, setup, NULL);
}
