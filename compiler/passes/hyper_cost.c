/* The cost model of HyperExperts.
 *
 *   table     costs memory: one packed D, U per selection set. Per token only relu(x D) U is left: 4 h b FLOP.
 *   cache     the same per token once a set was seen; holds as many sets as the budget allows.
 *   factored  4 h b (H + 1) FLOP per token as two dense products, and a b (H + 1) intermediate; no table.
 *   per_token the FLOPs of factored, but writes and reads 2 h b numbers per token: never cheaper, kept as the paper's way.
 *
 * Table when it fits the budget; else the cache when it holds at least a quarter of the sets, since then hits are likely enough to pay
 * for the sets that are generated and thrown away; else factored. */
#include "passes/hyper_cost.h"

#include <stdio.h>
#include <string.h>

#include "ir/ops.h"
#include "plain_text.h"

static const char *const strategy_names[HMOEC_STRATEGY_COUNT] = {"auto", "table", "cache", "factored", "per_token"};

const char *hmoec_strategy_name(hmoec_strategy strategy) { return strategy_names[strategy]; }

bool hmoec_strategy_parse(const char *name, size_t length, hmoec_strategy *out_strategy) {
  for (int i = 0; i < HMOEC_STRATEGY_COUNT; i++)
    if (strlen(strategy_names[i]) == length && memcmp(strategy_names[i], name, length) == 0) {
      *out_strategy = (hmoec_strategy)i;
      return true;
    }
  return false;
}

static int64_t saturating_multiply(int64_t a, int64_t b) {
  int64_t product;
  return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}

hmoec_hyper_cost hmoec_hyper_cost_of(const hmoec_hyper_case *hyper) {
  const int64_t h = hyper->d_model, b = hyper->bottleneck, H = hyper->hidden;
  const hmoec_target *target = hyper->target;
  hmoec_hyper_cost cost = {0};
  cost.sets = hmoec_binomial(hyper->experts, hyper->top_k);
  int64_t set_elements = hmoec_right_elements(target, hyper->format, h, b) + hmoec_right_elements(target, hyper->format, b, h);
  cost.set_bytes = hmoec_format_bytes(hyper->format, set_elements);
  if (hyper->generated_biases)
    cost.set_bytes += hmoec_format_bytes(HMOEC_FORMAT_F32, hmoec_round_columns(target, b) + hmoec_round_columns(target, h));
  cost.table_bytes = saturating_multiply(cost.sets, cost.set_bytes);
  cost.budget_bytes = hyper->budget_bytes;
  if (cost.budget_bytes == 0) {
    cost.budget_bytes = hyper->expert_bytes / 2 > (1 << 20) ? hyper->expert_bytes / 2 : (1 << 20);
    int64_t row_an_expert = saturating_multiply(hyper->experts, cost.set_bytes);
    if (cost.budget_bytes < row_an_expert) cost.budget_bytes = row_an_expert;
  }
  cost.cache_slots = cost.budget_bytes / cost.set_bytes;
  if (cost.cache_slots < 16) cost.cache_slots = 16;
  if (cost.cache_slots > cost.sets) cost.cache_slots = cost.sets;
  if (cost.cache_slots > HMOEC_MOST_SLOTS) cost.cache_slots = HMOEC_MOST_SLOTS;
  double outputs = 2.0 * (double)h * (double)b + (hyper->generated_biases ? (double)(h + b) : 0.0);
  cost.generate_flops = 2.0 * (double)H * outputs;
  cost.apply_flops = 4.0 * (double)h * (double)b;
  cost.factored_flops = 4.0 * (double)h * (double)b * (double)(H + 1) + 4.0 * (double)b * (double)(H + 1);
  cost.factored_bytes = 4.0 * 4.0 * (double)hmoec_round_columns(target, b) * (double)(H + 1);
  return cost;
}

hmoec_strategy hmoec_hyper_choose(const hmoec_hyper_case *hyper, const hmoec_hyper_cost *cost, char *reason, size_t size) {
  const double mib = 1 << 20;
  if (!hyper->from_selection) {
    hmoe_plain_format(reason, size,
                      "no table of what this generator reads: factored moves %.1f KB per token, generating moves %.1f KB",
                      cost->factored_bytes / 1e3, 2.0 * (double)cost->set_bytes / 1e3);
    return HMOEC_STRATEGY_FACTORED;
  }
  if (cost->table_bytes <= cost->budget_bytes) {
    hmoe_plain_format(
        reason, size,
        "%lld selection sets of %.1f KB make a table of %.2f MiB, within %.2f MiB; per token %.3f MFLOP in place of %.3f",
        (long long)cost->sets, (double)cost->set_bytes / 1e3, (double)cost->table_bytes / mib, (double)cost->budget_bytes / mib,
        cost->apply_flops / 1e6, (cost->apply_flops + cost->generate_flops) / 1e6);
    return HMOEC_STRATEGY_TABLE;
  }
  if (cost->sets != INT64_MAX && cost->cache_slots >= cost->sets / 4) {
    hmoe_plain_format(
        reason, size,
        "a table of %lld sets would take %.2f MiB, over %.2f MiB; a cache of %lld sets holds a quarter or more of them",
        (long long)cost->sets, (double)cost->table_bytes / mib, (double)cost->budget_bytes / mib, (long long)cost->cache_slots);
    return HMOEC_STRATEGY_CACHE;
  }
  if (cost->sets == INT64_MAX)
    hmoe_plain_format(reason, size, "more selection sets than can be counted; factored takes %.3f MFLOP per token",
                      cost->factored_flops / 1e6);
  else
    hmoe_plain_format(
        reason, size,
        "%lld selection sets would take %.2f MiB, over %.2f MiB, and a cache would hold %lld of them; factored takes %.3f "
        "MFLOP per token",
        (long long)cost->sets, (double)cost->table_bytes / mib, (double)cost->budget_bytes / mib, (long long)cost->cache_slots,
        cost->factored_flops / 1e6);
  return HMOEC_STRATEGY_FACTORED;
}
