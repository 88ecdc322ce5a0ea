/* How often tokens come with which selection set: what is assumed of it, or was counted in a sample. Choices go by it, and no result does.
 *
 * Sets stand by rank, the most frequent first. Assumed: the r-th comes with a probability of 1 / r^exponent, by what they add up to; 0 is even. */
#ifndef HMOEC_PASSES_ROUTING_H
#define HMOEC_PASSES_ROUTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What was counted of one mixture. */
typedef struct hmoec_set_counts {
  int64_t experts, top_k;
  const double *times; /* a count for each set that was seen, at least 1, the largest first */
  size_t count;
} hmoec_set_counts;

/* layers NULL: nothing was counted, and `exponent` is assumed of all. Else they are those of the HyperExperts that have selection sets, in program order. */
typedef struct hmoec_routing {
  double exponent;
  const hmoec_set_counts *layers; /* borrowed */
  size_t layer_count;
} hmoec_routing;

#define HMOEC_ROUTING_EXPONENT 0.5 /* where nobody says anything */

/* Neighbours in rank that are taken as equally frequent. */
typedef struct hmoec_rank_run {
  double sets, chance; /* how many; of one of them */
} hmoec_rank_run;

typedef struct hmoec_ranks {
  hmoec_rank_run *runs; /* owned; less and less frequent */
  size_t count;
} hmoec_ranks;

/* sets: how many there are, at least 1, which need not be countable. counts NULL: none. What was seen once, and sets that were not, are taken as equally frequent. False: no memory. */
bool hmoec_ranks_init(hmoec_ranks *ranks, double sets, double exponent, const hmoec_set_counts *counts);
void hmoec_ranks_deinit(hmoec_ranks *ranks);

/* How many different sets so many draws have on average, those of the `skip` first ranks left out. */
double hmoec_ranks_distinct(const hmoec_ranks *ranks, double draws, double skip);

/* C(n, k), also where no integer holds it; at most 1e300. */
double hmoec_set_count(int64_t experts, int64_t top_k);

#endif
