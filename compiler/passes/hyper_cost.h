/* What the strategies of a HyperExpert cost, in bytes and in time, and which one to take. Sizes are those of the target's layouts. */
#ifndef HMOEC_PASSES_HYPER_COST_H
#define HMOEC_PASSES_HYPER_COST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "passes/routing.h"
#include "support/diagnostics.h"
#include "target/target.h"

typedef enum hmoec_strategy {
  HMOEC_STRATEGY_AUTO,
  HMOEC_STRATEGY_TABLE,
  HMOEC_STRATEGY_CACHE,
  HMOEC_STRATEGY_FACTORED,
  HMOEC_STRATEGY_PER_TOKEN,
  HMOEC_STRATEGY_COUNT
} hmoec_strategy;

const char *hmoec_strategy_name(hmoec_strategy strategy);
/* False if `name` is none. */
bool hmoec_strategy_parse(const char *name, size_t length, hmoec_strategy *out_strategy);

/* A table has no more, of sets and of bytes. */
#define HMOEC_TABLE_MOST_SETS (INT64_C(1) << 24)
#define HMOEC_TABLE_MOST_BYTES (INT64_C(1) << 40)

/* One HyperExpert: what the choice depends on. */
typedef struct hmoec_hyper_case {
  int64_t d_model, bottleneck, hidden, experts, top_k, tokens;
  bool generated_biases;
  const hmoec_target *target;
  hmoec_format format; /* of the products; biases and intermediates are f32 */
  bool from_selection; /* the generator sees the selection set alone, not the token */
  int64_t expert_bytes; /* of the layer's own experts */
  int64_t budget_bytes; /* 0: the default, max(expert_bytes / 2, 1 MiB), and always enough for one row an expert */
  double exponent; /* of routing that is assumed */
  const hmoec_set_counts *counts; /* of routing that was counted; NULL: not. Borrowed */
} hmoec_hyper_case;

typedef struct hmoec_hyper_cost {
  const hmoec_hyper_case *hyper; /* borrowed, as long as this */
  hmoec_machine_rates rates;
  int64_t sets; /* C(experts, top_k); INT64_MAX when it does not fit */
  int64_t set_bytes; /* D, U (and biases) of one set, packed */
  int64_t table_bytes; /* sets * set_bytes, saturating */
  int64_t budget_bytes; /* what applies */
  int64_t cache_slots; /* sets the cache holds within the budget, at least 16 */
  double generate_flops; /* per set or token: r -> D, U */
  double apply_flops; /* per token: relu(x D) U */
  double factored_flops; /* per token */
  double factored_bytes; /* per token, intermediates written and read */
  double generator_bytes; /* what generating reads, however few sets there are */
  double distinct; /* sets that a run has on average; its tokens, where they have no sets */
  hmoec_ranks ranks; /* owned; empty where there are no sets */
} hmoec_hyper_cost;

/* False: no memory. */
bool hmoec_hyper_cost_init(hmoec_hyper_cost *cost, const hmoec_hyper_case *hyper);
void hmoec_hyper_cost_deinit(hmoec_hyper_cost *cost);

/* One way of doing it: what it takes in memory, and the time of a run of `tokens`, as predicted. */
typedef struct hmoec_hyper_point {
  hmoec_strategy strategy;
  int64_t slots; /* of a cache, else 0 */
  int64_t bytes;
  double seconds;
} hmoec_hyper_point;

/* Whether its sets are few enough for one. */
bool hmoec_hyper_has_table(const hmoec_hyper_cost *cost);
/* slots: of a cache. A table needs countable sets, and a cache slots. */
hmoec_hyper_point hmoec_hyper_point_of(const hmoec_hyper_cost *cost, hmoec_strategy strategy, int64_t slots);
/* The least time within so many bytes, of equal ones the fewest bytes. A cache has all slots that fit, and 16 or all sets at least. */
hmoec_hyper_point hmoec_hyper_fastest(const hmoec_hyper_cost *cost, int64_t bytes);

/* Cache sizes that are worth a look, small ones first: powers of two up to the number of sets. Returns how many, at most HMOEC_HYPER_SIZES. */
enum { HMOEC_HYPER_SIZES = 32 };
size_t hmoec_hyper_sizes(const hmoec_hyper_cost *cost, int64_t out_slots[HMOEC_HYPER_SIZES]);

/* Why a point that was chosen is better than what else there is, within so many bytes, in words and numbers. */
void hmoec_hyper_reason(const hmoec_hyper_cost *cost, const hmoec_hyper_point *chosen, int64_t bytes, char *out, size_t size);

/* ---- the HyperExperts of a model ---- */

typedef struct hmoec_hyper_layer {
  hmoec_location at;
  hmoec_hyper_case hyper;
  hmoec_hyper_cost cost;
  bool forced;
  hmoec_hyper_point chosen;
  int64_t within_bytes; /* the memory that it was chosen within */
} hmoec_hyper_layer;

/* In program order. Zero-initialise. */
typedef struct hmoec_hyper_report {
  hmoec_hyper_layer *layers; /* owned */
  size_t count;
} hmoec_hyper_report;

void hmoec_hyper_report_deinit(hmoec_hyper_report *report);

/* Chooses for all that are not forced. memory_bytes: of all tables and caches together; 0: each has its own budget. False: no memory of ours. */
bool hmoec_hyper_report_choose(hmoec_hyper_report *report, int64_t memory_bytes);

/* Divides memory among the HyperExperts of a model that are not forced: where a byte saves the most time it goes first. points[i] becomes what layer i
 * is to take. All of them get what needs no memory, whatever there is. False: no memory of ours. */
bool hmoec_hyper_share(const hmoec_hyper_layer *layers, size_t count, int64_t bytes, hmoec_hyper_point *points);

#endif
