/* How often sets come: assumed, or counted; and the files of counts. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "library/routing_file.h"

static void expect_near(const char *what, double expected, double found) {
  if (!(fabs(found - expected) <= 2e-3 * fabs(expected) + 1e-12)) fail_msg("%s: expected %g, found %g", what, expected, found);
}

/* By the sum over all sets. */
static double exact(double sets, double exponent, double draws, double skip) {
  double sum = 0, distinct = 0;
  for (double r = 1; r <= sets; r++) sum += pow(r, -exponent);
  for (double r = skip + 1; r <= sets; r++) distinct += 1 - pow(1 - pow(r, -exponent) / sum, draws);
  return distinct;
}

static void test_assumed(void **state) {
  (void)state;
  static const double sets[] = {1, 2, 63, 64, 65, 2016, 100000}, exponents[] = {0, 0.5, 1, 2}, draws[] = {1, 64, 512},
                      skips[] = {0, 1, 16, 100};
  for (size_t n = 0; n < sizeof sets / sizeof *sets; n++)
    for (size_t s = 0; s < 4; s++) {
      hmoec_ranks ranks;
      double total = 0, all = 0;
      assert_true(hmoec_ranks_init(&ranks, sets[n], exponents[s], NULL));
      for (size_t i = 0; i < ranks.count; i++) {
        total += ranks.runs[i].sets;
        all += ranks.runs[i].sets * ranks.runs[i].chance;
        assert_true(i == 0 || ranks.runs[i].chance <= ranks.runs[i - 1].chance * (1 + 1e-9));
      }
      expect_near("sets", sets[n], total);
      expect_near("chances", 1, all);
      for (size_t d = 0; d < 3; d++)
        for (size_t k = 0; k < 4; k++) {
          char what[96];
          snprintf(what, sizeof what, "%g sets, zipf %g, %g draws, %g skipped", sets[n], exponents[s], draws[d], skips[k]);
          expect_near(what, exact(sets[n], exponents[s], draws[d], skips[k]), hmoec_ranks_distinct(&ranks, draws[d], skips[k]));
        }
      assert_true(hmoec_ranks_distinct(&ranks, 0, 0) == 0);
      hmoec_ranks_deinit(&ranks);
    }
}

/* What no sum can go through. */
static void test_many_sets(void **state) {
  (void)state;
  static const struct {
    double sets, exponent, distinct;
  } rows[] = {{1.43e12, 0, 512}, {1.43e12, 0.5, 511.999}, {9e58, 0, 512}, {1e300, 0, 512}, {1e300, 0.5, 512}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    hmoec_ranks ranks;
    assert_true(hmoec_ranks_init(&ranks, rows[i].sets, rows[i].exponent, NULL));
    expect_near("distinct", rows[i].distinct, hmoec_ranks_distinct(&ranks, 512, 0));
    hmoec_ranks_deinit(&ranks);
  }
  hmoec_ranks ranks; /* where the first ones have it all, more sets change nothing */
  assert_true(hmoec_ranks_init(&ranks, 1.43e12, 3, NULL));
  expect_near("skewed", exact(100000, 3, 512, 4), hmoec_ranks_distinct(&ranks, 512, 4));
  hmoec_ranks_deinit(&ranks);
  assert_true(hmoec_set_count(8, 2) == 28 && hmoec_set_count(8, 6) == 28 && hmoec_set_count(64, 2) == 2016);
  assert_true(hmoec_set_count(5, 5) == 1 && hmoec_set_count(5, 1) == 5);
  expect_near("C(128, 8)", 1429702652400.0, hmoec_set_count(128, 8));
  expect_near("C(200, 100)", 9.0548514656103e58, hmoec_set_count(200, 100));
  assert_true(hmoec_set_count(100000, 50000) == 1e300);
}

/* Counts: 5, 3, 2 and two sets that came once, of 10 sets: what came once is shared by the 7 others. */
static void test_counted(void **state) {
  (void)state;
  static const double times[] = {5, 3, 3, 1, 1};
  const hmoec_set_counts counts = {.experts = 5, .top_k = 2, .times = times, .count = 5};
  hmoec_ranks ranks;
  assert_true(hmoec_ranks_init(&ranks, 10, 0.5, &counts));
  assert_int_equal(ranks.count, 3);
  assert_true(ranks.runs[0].sets == 1 && ranks.runs[1].sets == 2 && ranks.runs[2].sets == 7);
  expect_near("first", 5.0 / 13, ranks.runs[0].chance);
  expect_near("second", 3.0 / 13, ranks.runs[1].chance);
  expect_near("others", 2.0 / 13 / 7, ranks.runs[2].chance);
  expect_near("one draw", 1, hmoec_ranks_distinct(&ranks, 1, 0));
  expect_near("without the first two", 5.0 / 13, hmoec_ranks_distinct(&ranks, 1, 2));
  hmoec_ranks_deinit(&ranks);
  const hmoec_set_counts all = {.experts = 5, .top_k = 1, .times = times, .count = 3};
  assert_true(hmoec_ranks_init(&ranks, 3, 0.5, &all)); /* nothing came once */
  assert_int_equal(ranks.count, 2);
  hmoec_ranks_deinit(&ranks);
  static const double once[] = {1, 1};
  const hmoec_set_counts few = {.experts = 64, .top_k = 2, .times = once, .count = 2};
  assert_true(hmoec_ranks_init(&ranks, 2016, 2, &few)); /* tells nothing: even */
  assert_int_equal(ranks.count, 1);
  expect_near("even", 1.0 / 2016, ranks.runs[0].chance);
  hmoec_ranks_deinit(&ranks);
}

/* ---- files ---- */

static void record(void *context, const hmoec_message *message) {
  if (message->severity == HMOEC_ERROR) snprintf(context, 512, "%u:%u: %s", message->at.line, message->at.column, message->text);
}

static void test_texts(void **state) {
  (void)state;
#define SETS "expected 2 different experts below 4 and a count of at least 1, found "
  static const struct {
    const char *text, *error; /* NULL: none */
  } rows[] = {
      {"even", NULL},
      {"zipf:0", NULL},
      {"zipf:16", NULL},
      {"zipf:1.5", NULL},
      {"zipf:", "0:0: expected routing zipf:S to have a number from 0 to 16, found 'zipf:'"},
      {"zipf:-1", "0:0: expected routing zipf:S to have a number from 0 to 16, found 'zipf:-1'"},
      {"zipf:16.1", "0:0: expected routing zipf:S to have a number from 0 to 16, found 'zipf:16.1'"},
      {"zipf:nan", "0:0: expected routing zipf:S to have a number from 0 to 16, found 'zipf:nan'"},
      {"zipf:1x", "0:0: expected routing zipf:S to have a number from 0 to 16, found 'zipf:1x'"},
      {"no_such_file", "0:0: cannot open: No such file or directory"},
      {"{\"layers\": [{\"experts\": 4, \"top_k\": 2, \"sets\": [[0, 1, 17], [3, 1, 5]]}]}", NULL},
      {"{\"layers\": [{\"experts\": 4, \"top_k\": 4, \"sets\": [[0, 1, 2, 3, 1]]}]}", NULL},
      {"{\"layers\": [", "1:13: the file ends inside of its JSON: it is cut short"},
      {"{}", "0:0: expected layers to be a list of one or more, found nothing"},
      {"{\"layers\": []}", "1:2: expected layers to be a list of one or more, found []"},
      {"{\"layers\": 3}", "1:2: expected layers to be a list of one or more, found 3"},
      {"{\"layer\": 3}", "1:2: expected layers, found 'layer'"},
      {"{\n\"layers\": [3]}", "2:1: layers[0]: expected an object of experts, top_k and sets, found 3"},
      {"{\"layers\": [{\"sets\": [], \"x\": 1}]}", "1:2: layers[0]: expected experts, top_k and sets, found 'x'"},
      {"{\"layers\": [{\"top_k\": 2, \"sets\": []}]}",
       "1:2: layers[0]: expected experts to be an integer of at least 1, found nothing"},
      {"{\"layers\": [{\"experts\": 0}]}", "1:2: layers[0]: expected experts to be an integer of at least 1, found 0"},
      {"{\"layers\": [{\"experts\": 1.5}]}", "1:2: layers[0]: expected experts to be an integer of at least 1, found 1.5"},
      {"{\"layers\": [{\"experts\": 4, \"top_k\": 0}]}",
       "1:2: layers[0]: expected top_k to be from 1 to the number of experts, found 0"},
      {"{\"layers\": [{\"experts\": 4, \"top_k\": 5}]}",
       "1:2: layers[0]: expected top_k to be from 1 to the number of experts, found 5"},
      {"{\"layers\": [{\"experts\": 4000, \"top_k\": 1025}]}",
       "1:2: layers[0]: expected top_k to be from 1 to the number of experts, found 1025"},
      {"{\"layers\": [{\"experts\": 4, \"top_k\": 2}]}",
       "1:2: layers[0]: expected sets to be a list of one or more, found nothing"},
      {"{\"layers\": [{\"experts\": 4, \"top_k\": 2, \"sets\": []}]}",
       "1:2: layers[0]: expected sets to be a list of one or more, found []"},
      {"{\"layers\": [{\"experts\": 4, \"top_k\": 2, \"sets\": [[0, 1, 1], 3]}]}", "1:2: layers[0].sets[1]: " SETS "3"},
      {"{\"layers\": [{\"experts\": 4, \"top_k\": 2, \"sets\": [[0, 1]]}]}", "1:2: layers[0].sets[0]: " SETS "[0,1]"},
      {"{\"layers\": [{\"experts\": 4, \"top_k\": 2, \"sets\": [[0, 1, 2, 3]]}]}", "1:2: layers[0].sets[0]: " SETS "[0,1,2,3]"},
      {"{\"layers\": [{\"experts\": 4, \"top_k\": 2, \"sets\": [[0, 4, 2]]}]}", "1:2: layers[0].sets[0]: " SETS "[0,4,2]"},
      {"{\"layers\": [{\"experts\": 4, \"top_k\": 2, \"sets\": [[-1, 3, 2]]}]}", "1:2: layers[0].sets[0]: " SETS "[-1,3,2]"},
      {"{\"layers\": [{\"experts\": 4, \"top_k\": 2, \"sets\": [[3, 3, 2]]}]}", "1:2: layers[0].sets[0]: " SETS "[3,3,2]"},
      {"{\"layers\": [{\"experts\": 4, \"top_k\": 2, \"sets\": [[2, 3, 0]]}]}", "1:2: layers[0].sets[0]: " SETS "[2,3,0]"},
      {"{\"layers\": [{\"experts\": 4, \"top_k\": 2, \"sets\": [[2, 3, \"1\"]]}]}", "1:2: layers[0].sets[0]: " SETS "[2,3,\"1\"]"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char found[512] = "";
    hmoec_arena *arena = hmoec_arena_create();
    hmoec_diagnostics *diagnostics = hmoec_diagnostics_create_with(record, found);
    hmoec_routing routing;
    bool ok = hmoec_routing_read(arena, rows[i].text, diagnostics, &routing);
    if (ok != !rows[i].error || strcmp(found, rows[i].error ? rows[i].error : "") != 0)
      fail_msg("%s: expected '%s', found '%s'", rows[i].text, rows[i].error ? rows[i].error : "", found);
    hmoec_diagnostics_destroy(diagnostics);
    hmoec_arena_destroy(arena);
  }
}

static void test_values(void **state) {
  (void)state;
  hmoec_arena *arena = hmoec_arena_create();
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  hmoec_routing routing;
  assert_true(hmoec_routing_read(arena, NULL, diagnostics, &routing) && routing.exponent == 0.5 && !routing.layers);
  assert_true(hmoec_routing_read(arena, "even", diagnostics, &routing) && routing.exponent == 0 && !routing.layers);
  assert_true(hmoec_routing_read(arena, "zipf:1.25", diagnostics, &routing) && routing.exponent == 1.25 && !routing.layers);
  /* What was selected comes back, the most frequent set first. */
  static const double rows[] = {3, 1, 0, 2, 1, 3, 2, 1}, one[] = {6};
  const hmoec_selections layers[] = {{.experts = 4, .top_k = 2, .rows = rows, .count = 4},
                                     {.experts = 7, .top_k = 1, .rows = one, .count = 1}};
  char *text = hmoec_routing_print(layers, 2);
  assert_string_equal(text, "{\"layers\": [\n"
                            "  {\"experts\": 4, \"top_k\": 2, \"sets\": [[0, 2, 1], [1, 2, 1], [1, 3, 2]]},\n"
                            "  {\"experts\": 7, \"top_k\": 1, \"sets\": [[6, 1]]}\n"
                            "]}\n");
  assert_true(hmoec_routing_read(arena, text, diagnostics, &routing));
  assert_int_equal(routing.layer_count, 2);
  assert_true(routing.layers[0].experts == 4 && routing.layers[0].top_k == 2 && routing.layers[0].count == 3);
  assert_true(routing.layers[0].times[0] == 2 && routing.layers[0].times[1] == 1 && routing.layers[0].times[2] == 1);
  assert_true(routing.layers[1].experts == 7 && routing.layers[1].top_k == 1 && routing.layers[1].count == 1);
  free(text);
  hmoec_diagnostics_destroy(diagnostics);
  hmoec_arena_destroy(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_assumed), cmocka_unit_test(test_many_sets),
                                     cmocka_unit_test(test_counted), cmocka_unit_test(test_texts), cmocka_unit_test(test_values)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
