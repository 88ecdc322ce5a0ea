/* What strategies of a HyperExpert cost and which one is taken: at each limit one case on either side of it, and the whole reason. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "passes/hyper_cost.h"

/* Sets of 8 KiB on CPUs: both matrices are [32, 32]. */
enum { WIDTH = 32, SET_BYTES = 2 * WIDTH * WIDTH * 4, MIB = 1 << 20 };

static hmoec_hyper_case case_of(int64_t experts, int64_t top_k) {
  return (hmoec_hyper_case){.d_model = WIDTH,
                            .bottleneck = WIDTH,
                            .hidden = 16,
                            .experts = experts,
                            .top_k = top_k,
                            .target = &hmoec_target_cpu,
                            .from_selection = true};
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
    hmoec_hyper_cost cost = hmoec_hyper_cost_of(&hyper);
    if (cost.budget_bytes != rows[i].budget || cost.cache_slots != rows[i].slots)
      fail_msg("row %zu: expected a budget of %lld and %lld slots, found %lld and %lld", i, (long long)rows[i].budget,
               (long long)rows[i].slots, (long long)cost.budget_bytes, (long long)cost.cache_slots);
  }
}

static void test_costs(void **state) {
  (void)state;
  hmoec_hyper_case hyper = case_of(8, 2);
  hyper.d_model = 40; /* 64 columns as they are stored */
  hmoec_hyper_cost cost = hmoec_hyper_cost_of(&hyper);
  assert_int_equal(cost.sets, 28);
  assert_int_equal(cost.set_bytes, 4 * (40 * 32 + 32 * 64));
  assert_int_equal(cost.table_bytes, 28 * cost.set_bytes);
  assert_true(cost.generate_flops == 2.0 * 16 * 2 * 40 * 32);
  assert_true(cost.apply_flops == 4.0 * 40 * 32);
  assert_true(cost.factored_flops == 4.0 * 40 * 32 * 17 + 4.0 * 32 * 17);
  assert_true(cost.factored_bytes == 16.0 * 32 * 17);
  hyper.generated_biases = true;
  cost = hmoec_hyper_cost_of(&hyper);
  assert_int_equal(cost.set_bytes, 4 * (40 * 32 + 32 * 64 + 32 + 64));
  assert_true(cost.generate_flops == 2.0 * 16 * (2 * 40 * 32 + 40 + 32));
  hyper.experts = 200; /* C(200, 100) is no number of 64 bits */
  hyper.top_k = 100;
  cost = hmoec_hyper_cost_of(&hyper);
  assert_true(cost.sets == INT64_MAX && cost.table_bytes == INT64_MAX);
}

static void test_choice(void **state) {
  (void)state;
  static const struct {
    int64_t experts, top_k, budget;
    bool from_selection;
    hmoec_strategy strategy;
    const char *reason;
  } rows[] = {
      {8, 2, 28 * SET_BYTES, true, HMOEC_STRATEGY_TABLE,
       "28 selection sets of 8.2 KB make a table of 0.22 MiB, within 0.22 MiB; per token 0.004 MFLOP in place of 0.070"},
      {8, 2, 28 * SET_BYTES - 1, true, HMOEC_STRATEGY_CACHE,
       "a table of 28 sets would take 0.22 MiB, over 0.22 MiB; a cache of 27 sets holds a quarter or more of them"},
      {16, 2, 30 * SET_BYTES, true, HMOEC_STRATEGY_CACHE,
       "a table of 120 sets would take 0.94 MiB, over 0.23 MiB; a cache of 30 sets holds a quarter or more of them"},
      {16, 2, 29 * SET_BYTES, true, HMOEC_STRATEGY_FACTORED,
       "120 selection sets would take 0.94 MiB, over 0.23 MiB, and a cache would hold 29 of them; factored takes 0.072 MFLOP per "
       "token"},
      {200, 100, 30 * SET_BYTES, true, HMOEC_STRATEGY_FACTORED,
       "more selection sets than can be counted; factored takes 0.072 MFLOP per token"},
      {8, 2, 28 * SET_BYTES, false, HMOEC_STRATEGY_FACTORED,
       "no table of what this generator reads: factored moves 8.7 KB per token, generating moves 16.4 KB"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    hmoec_hyper_case hyper = case_of(rows[i].experts, rows[i].top_k);
    hyper.target = &hmoec_target_cpu;
    hyper.from_selection = rows[i].from_selection;
    hyper.budget_bytes = rows[i].budget;
    hmoec_hyper_cost cost = hmoec_hyper_cost_of(&hyper);
    char reason[512] = "";
    hmoec_strategy strategy = hmoec_hyper_choose(&hyper, &cost, reason, sizeof reason);
    if (strategy != rows[i].strategy || strcmp(reason, rows[i].reason) != 0)
      fail_msg("expected %s: %s; found %s: %s", hmoec_strategy_name(rows[i].strategy), rows[i].reason,
               hmoec_strategy_name(strategy), reason);
  }
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
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_budget), cmocka_unit_test(test_costs), cmocka_unit_test(test_choice),
                                     cmocka_unit_test(test_names)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
