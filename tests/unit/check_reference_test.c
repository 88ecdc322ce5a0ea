/* What `check` makes of two runs: how far they are apart, what is left out, which groups rounding sends to other experts. The numbers are small enough to be
 * known. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "library/check_reference.h"

enum { MOST = 8 };

static const hmoec_tensor *tensor_of(hmoec_tensor *tensor, int64_t rows, int64_t columns, double *data) {
  *tensor = (hmoec_tensor){.shape = {.element = HMOEC_F32, .rank = 2, .dims = {rows, columns}}, .data = data};
  return tensor;
}

static bool same(double a, double b) { return a == b || fabs(a - b) <= 1e-12 * fabs(b) || (isnan(a) && isnan(b)); }

static void test_differences(void **state) {
  (void)state;
  static const struct {
    int64_t groups;
    bool whole, tied[MOST];
    double want[MOST];
    float found[MOST];
    int64_t compared;
    double largest, worst, relative, distance, nearest;
  } cases[] = {
      /* Four rows of two. */
      {4, false, {0}, {1, -2, 3, 4, 0, 0, 0, 0}, {1, -2, 3, 4, 0, 0, 0, 0}, 8, 4, 0, 0, 0, -1},
      {4, false, {0}, {0, 0, 3, 4, 0, 0, 0, 0}, {0, 0, 3, 2, 0, 0, 0, 0}, 8, 4, 2, 0.5, 0.4, -1},
      {4, false, {0, 1}, {0, 0, 3, 4, 0, 0, 1, 0}, {0, 0, 3, 2, 0, 0, 2, 0}, 6, 1, 1, 1, 1, -1},
      {4, false, {1, 1, 1, 1}, {1, 1, 1, 1, 1, 1, 1, 1}, {2, 2, 2, 2, 2, 2, 2, 2}, 0, 0, 0, 0, 0, -1},
      /* Of zeros, the error itself. */
      {4, false, {0}, {0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 3, 0, 4, 0, 0}, 8, 0, 4, 4, 5, -1},
      /* Rows of a batch: the nearest of those that say something, tied or not. */
      {4, true, {1, 0, 0, 0}, {3, 4, 3, 4, 3, 4, 0, 0}, {3, 4.5, 3, 2, 3, 3, 0, 0}, 6, 4, 2, 0.5, 0.31622776601683794, 0.1},
      {4, true, {0}, {0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 0}, 8, 0, 0, 0, 0, -1},
      {4, true, {0}, {0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 2, 0, 0}, 8, 0, 2, 2, 2, 2},
      /* Groups that do not divide what there is: any tie leaves all of it out. */
      {3, false, {0}, {1, 0, 0, 0, 0, 0, 0, 0}, {1, 0, 0, 0, 0, 0, 0, 0}, 8, 1, 0, 0, 0, -1},
      {3, true, {0, 0, 1}, {1, 0, 0, 0, 0, 0, 0, 0}, {2, 0, 0, 0, 0, 0, 0, 0}, 0, 0, 0, 0, 0, -1},
      {0, false, {0}, {1, 0, 0, 0, 0, 0, 0, 0}, {2, 0, 0, 0, 0, 0, 0, 0}, 8, 1, 1, 1, 1, -1},
      /* NaN and infinities are themselves, and infinitely far from numbers; beyond f32 there are only these. */
      {4,
       false,
       {0},
       {NAN, INFINITY, -INFINITY, 1e300, -1e300, 5, 0, 0},
       {NAN, INFINITY, -INFINITY, INFINITY, -INFINITY, 5, 0, 0},
       8,
       5,
       0,
       0,
       0,
       -1},
      {4, false, {0}, {1, 0, 0, 0, 0, 0, 0, 0}, {NAN, 0, 0, 0, 0, 0, 0, 0}, 8, 1, INFINITY, INFINITY, INFINITY, -1},
      {4, false, {0}, {1, FLT_MAX, 0, 0, 0, 0, 0, 0}, {1, FLT_MAX, 0, 0, 0, 0, 0, 0}, 8, FLT_MAX, 0, 0, 0, -1},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    hmoec_check_inputs in = {.whole = cases[i].whole, .groups = cases[i].groups};
    bool tied[MOST];
    double want[MOST];
    memcpy(tied, cases[i].tied, sizeof tied);
    memcpy(want, cases[i].want, sizeof want);
    hmoec_check_reference r = {.inputs = &in, .tied = tied};
    tensor_of(&r.outputs[0], 4, 2, want);
    for (int g = 0; g < MOST; g++) r.tied_count += tied[g];
    hmoec_check_difference d = hmoec_check_difference_of(&r, 0, cases[i].found);
    if (d.compared != cases[i].compared || !same(d.largest, cases[i].largest) || !same(d.worst, cases[i].worst) ||
        !same(d.relative, cases[i].relative) || !same(d.distance, cases[i].distance) || !same(d.nearest, cases[i].nearest))
      fail_msg("case %zu: %lld compared, largest %.17g, worst %.17g, relative %.17g, distance %.17g, nearest %.17g", i,
               (long long)d.compared, d.largest, d.worst, d.relative, d.distance, d.nearest);
    assert_int_equal(hmoec_check_all_tied(&r), cases[i].groups > 0 && r.tied_count == cases[i].groups);
    for (int64_t e = 0; e < MOST; e++) {
      bool out = cases[i].groups == 4 ? tied[e / 2] : r.tied_count > 0;
      assert_int_equal(hmoec_check_is_left_out(&r, 0, e), out);
    }
  }
  hmoec_check_inputs in = {.groups = 1};
  bool tied[1] = {true};
  assert_true(hmoec_check_all_tied(&(hmoec_check_reference){.inputs = &in, .tied = tied, .tied_count = 1}));
  assert_false(hmoec_check_all_tied(&(hmoec_check_reference){.inputs = &in, .tied = tied}));
}

static void test_within(void **state) {
  (void)state;
  const hmoec_check_tolerance most = {.worst = 0.5, .distance = 0.25, .nearest = 0.125};
  hmoec_check_difference at = {.relative = 0.5, .distance = 0.25, .nearest = 0.125};
  assert_true(hmoec_check_within(&at, &most));
  at.nearest = -1;
  assert_true(hmoec_check_within(&at, &most));
  double *const fields[] = {&at.relative, &at.distance, &at.nearest};
  for (size_t i = 0; i < 3; i++) {
    double was = *fields[i];
    *fields[i] = nextafter(i == 2 ? 0.125 : was, 1);
    assert_false(hmoec_check_within(&at, &most));
    *fields[i] = NAN;
    assert_false(hmoec_check_within(&at, &most));
    *fields[i] = was;
  }
}

/* Three tokens of three experts, one of which is selected. */
static void test_flips(void **state) {
  (void)state;
  /* The exact routes are those of logits 3 2 0, 0 3 0 and 0 0 3, all kept: expert e for token e. The rounded ones are given for the first token, but for its last logit, and
   * whether the last one is kept; others are as the exact ones. */
  static const struct {
    double logits[2], rounded[2]; /* the first two, of the first token */
    double pick, kept_last;
    bool blurred, tied[3];
    int64_t flips;
    bool out[3];
  } cases[] = {
      {{3, 2}, {3, 2}, 0, 1, true, {0}, 0, {0}},
      /* Logits move by 0.4, of at most a tenth of (1 + 3); by more, it is an error. */
      {{3, 2}, {2.6, 2.4}, 1, 1, true, {0}, 1, {1, 0, 0}},
      {{3, 2}, {2.5, 2.4}, 1, 1, true, {0}, 0, {0}},
      {{3, 2}, {2.6, 2.4}, 1, 1, false, {0}, 0, {0}},
      /* The 1 is for logits that are all smaller. */
      {{0.5, 0.4}, {0.36, 0.44}, 1, 1, true, {0}, 1, {1, 0, 0}},
      {{0.5, 0.4}, {0.34, 0.44}, 1, 1, true, {0}, 0, {0}},
      /* One that was a tie before is no other one. */
      {{3, 2}, {2.6, 2.4}, 1, 1, true, {1, 0, 1}, 0, {1, 0, 1}},
      /* Of the same expert, but without room there. */
      {{3, 2}, {3, 2}, 0, 0, true, {0}, 1, {0, 0, 1}},
      /* Infinite logits do not count for what is large. */
      {{INFINITY, 1}, {INFINITY, 0.75}, 1, 1, true, {0}, 0, {0}},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    double logits[2][9] = {{3, 2, 0, 0, 3, 0, 0, 0, 3}, {3, 2, 0, 0, 3, 0, 0, 0, 3}},
           picks[2][3] = {{0, 1, 2}, {cases[i].pick, 1, 2}};
    double kept[2][3] = {{1, 1, 1}, {1, 1, cases[i].kept_last}};
    hmoec_tensor tensors[6];
    memcpy(logits[0], cases[i].logits, sizeof cases[i].logits);
    memcpy(logits[1], cases[i].rounded, sizeof cases[i].rounded);
    for (int t = 0; t < 2; t++) {
      tensor_of(&tensors[t], 3, 3, logits[t]);
      tensor_of(&tensors[2 + t], 3, 1, picks[t]);
      tensor_of(&tensors[4 + t], 3, 1, kept[t]);
    }
    hmoec_check_route a = {
        .top_k = 1, .blurred = cases[i].blurred, .logits = &tensors[0], .indices = &tensors[2], .kept = &tensors[4]};
    hmoec_check_route b = {
        .top_k = 1, .blurred = cases[i].blurred, .logits = &tensors[1], .indices = &tensors[3], .kept = &tensors[5]};
    hmoec_check_inputs in = {.groups = 3};
    bool tied[3], *out;
    memcpy(tied, cases[i].tied, sizeof tied);
    hmoec_check_reference exact = {.inputs = &in, .tied = tied, .routes = &a, .route_count = 1};
    for (int g = 0; g < 3; g++) exact.tied_count += tied[g];
    const hmoec_check_reference rounded = {.inputs = &in, .routes = &b, .route_count = 1}, none = {.inputs = &in};
    int64_t flips = hmoec_check_reference_flips(&exact, &rounded, 0.1, &out);
    if (flips != cases[i].flips || memcmp(out, cases[i].out, sizeof tied) != 0)
      fail_msg("case %zu: %lld flips, %d %d %d", i, (long long)flips, out[0], out[1], out[2]);
    assert_memory_equal(tied, cases[i].tied, sizeof tied);
    free(out);
    assert_int_equal(hmoec_check_reference_flips(&exact, &none, 0.1, &out), 0); /* of another number of routes */
    free(out);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_differences), cmocka_unit_test(test_within),
                                     cmocka_unit_test(test_flips)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
