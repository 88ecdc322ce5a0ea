/* What the strategies of a HyperExpert cost, and which one to take. Sizes are those of the target's layouts. */
#ifndef HMOEC_PASSES_HYPER_COST_H
#define HMOEC_PASSES_HYPER_COST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

/* One HyperExpert: what the choice depends on. */
typedef struct hmoec_hyper_case {
  int64_t d_model, bottleneck, hidden, experts, top_k, tokens;
  bool generated_biases;
  const hmoec_target *target;
  hmoec_format format;     /* of the products; biases and intermediates are f32 */
  bool from_selection;     /* the generator sees the selection set alone, not the token */
  int64_t expert_bytes;    /* of the layer's own experts */
  int64_t budget_bytes;    /* 0: the default, max(expert_bytes / 2, 1 MiB), and always enough for one row an expert */
} hmoec_hyper_case;

typedef struct hmoec_hyper_cost {
  int64_t sets;            /* C(experts, top_k); INT64_MAX when it does not fit */
  int64_t set_bytes;       /* D, U (and biases) of one set, packed */
  int64_t table_bytes;     /* sets * set_bytes, saturating */
  int64_t budget_bytes;    /* what applies */
  int64_t cache_slots;     /* sets the cache holds within the budget, at least 16 */
  double generate_flops;   /* per set or token: r -> D, U */
  double apply_flops;      /* per token: relu(x D) U */
  double factored_flops;   /* per token */
  double factored_bytes;   /* per token, intermediates written and read */
} hmoec_hyper_cost;

hmoec_hyper_cost hmoec_hyper_cost_of(const hmoec_hyper_case *hyper);

/* The cheapest strategy that is possible, with the reason and its numbers written to `reason`. */
hmoec_strategy hmoec_hyper_choose(const hmoec_hyper_case *hyper, const hmoec_hyper_cost *cost, char *reason, size_t size);

#endif
