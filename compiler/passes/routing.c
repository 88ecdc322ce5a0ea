/* Ranks are put together to runs, so that a choice costs the same for a hundred sets and for 1e20: the first FEW ranks stand alone, runs behind them grow by a factor, at least
 * 5 %. The sum over a run's ranks is taken as the integral, whose error is far below that of any assumption. */
#include "passes/routing.h"

#include <math.h>
#include <stdlib.h>

enum { FEW = 64, MOST_RUNS = 1024 };

static const double MOST_SETS = 1e300, LEAST_GROWTH = 1.05;

double hmoec_set_count(int64_t experts, int64_t top_k) {
  double count = 1;
  if (top_k > experts - top_k) top_k = experts - top_k;
  for (int64_t i = 1; i <= top_k && count < MOST_SETS; i++) count *= (double)(experts - top_k + i) / (double)i;
  return count < MOST_SETS ? floor(count + 0.5) : MOST_SETS;
}

/* The sum of 1 / r^s over ranks from first to last: as the integral, from half a rank before to half a rank behind. */
static double weight(double first, double last, double s) {
  double from = first - 0.5, to = last + 0.5;
  if (first == last) return pow(first, -s); /* NOLINT: equal, not near */
  if (fabs(s - 1) < 1e-9) return log(to / from);
  return (pow(to, 1 - s) - pow(from, 1 - s)) / (1 - s);
}

static bool assumed(hmoec_ranks *ranks, double sets, double exponent) {
  double growth = pow(sets / (double)FEW, 1.0 / (MOST_RUNS - FEW - 1)), sum = 0;
  if (growth < LEAST_GROWTH) growth = LEAST_GROWTH;
  ranks->runs = malloc((MOST_RUNS + 1) * sizeof *ranks->runs);
  if (!ranks->runs) return false;
  for (double first = 1; first <= sets;) {
    double last = first < (double)FEW ? first : floor(first * growth);
    if (last > sets || ranks->count == MOST_RUNS) last = sets;
    hmoec_rank_run run = {.sets = last - first + 1, .chance = weight(first, last, exponent)};
    sum += run.chance;
    run.chance /= run.sets;
    ranks->runs[ranks->count++] = run;
    if (last + 1 <= first) break; /* beyond 2^53 */
    first = last + 1;
  }
  for (size_t i = 0; i < ranks->count; i++) ranks->runs[i].chance /= sum;
  return true;
}

static bool counted(hmoec_ranks *ranks, double sets, const hmoec_set_counts *counts) {
  double total = 0, often = 0, often_sets = 0;
  ranks->runs = malloc((counts->count + 1) * sizeof *ranks->runs);
  if (!ranks->runs) return false;
  for (size_t i = 0; i < counts->count; i++) total += counts->times[i];
  for (size_t i = 0; i < counts->count && counts->times[i] > 1; i++) {
    double chance = counts->times[i] / total;
    hmoec_rank_run *last = ranks->count ? &ranks->runs[ranks->count - 1] : NULL;
    if (last && last->chance <= chance) last->sets++;
    else ranks->runs[ranks->count++] = (hmoec_rank_run){.sets = 1, .chance = chance};
    often += counts->times[i];
    often_sets++;
  }
  double others = sets - often_sets;
  if (often < total && others > 0)
    ranks->runs[ranks->count++] = (hmoec_rank_run){.sets = others, .chance = (total - often) / total / others};
  return true;
}

bool hmoec_ranks_init(hmoec_ranks *ranks, double sets, double exponent, const hmoec_set_counts *counts) {
  *ranks = (hmoec_ranks){0};
  return counts && counts->count ? counted(ranks, sets, counts) : assumed(ranks, sets, exponent);
}

void hmoec_ranks_deinit(hmoec_ranks *ranks) {
  free(ranks->runs);
  *ranks = (hmoec_ranks){0};
}

double hmoec_ranks_distinct(const hmoec_ranks *ranks, double draws, double skip) {
  double distinct = 0;
  if (draws <= 0) return 0;
  for (size_t i = 0; i < ranks->count; i++) {
    hmoec_rank_run run = ranks->runs[i];
    double left = run.sets > skip ? run.sets - skip : 0;
    skip = run.sets > skip ? 0 : skip - run.sets;
    distinct += left * -expm1(draws * log1p(-run.chance));
  }
  return fmin(distinct, draws); /* rounding */
}
