/* The cost model of HyperExperts. Of a run of n tokens with d different sets, F, read and touch being the machine's rates (target/machine.h):
 *
 *   table      4 h b n / F | d * set / read                          one packed D, U per selection set is in memory; a | b: they overlap
 *   generate   4 h b H m / F + 8 * 2 h b m / touch | passes * G / read     of m sets: the generator, of G bytes, is read once a pass
 *   cache      table + generate of the sets that it lacks, + 2 set / read of each, whose slot has left the caches
 *   per_token  table with n sets that were just written, + generate of n, in passes of a chunk of tokens
 *   factored   4 h b (H + 1) n / F | passes * G / read + what is between its products: 2 b (H + 1) numbers a token, which are
 *              written, fetched and written back, and read
 *
 * and of each step the least that one takes. Which sets a cache lacks: it keeps those that are used most. A run that has more sets than a pass of the loop
 * over sets holds goes through several passes, and each takes slots from what is kept. */
#include "passes/hyper_cost.h"

#include <math.h>
#include <string.h>

#include "ir/ops.h"
#include "plain_text.h"

enum { LEAST_SLOTS = 16, LEAST_CHUNK = 32 };

/* What these products reach of a machine's rates: fitted to layers of 256 and 768 columns. */
static const double REACHED = 0.75, GENERATOR_READ = 1.1, COLD_SLOT = 2;

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

static int64_t slots_within(const hmoec_hyper_cost *cost, int64_t bytes) {
  int64_t slots = bytes / cost->set_bytes;
  if (slots > cost->sets) slots = cost->sets;
  return slots > HMOEC_MOST_SLOTS ? HMOEC_MOST_SLOTS : slots;
}

static int64_t least_slots(const hmoec_hyper_cost *cost) { return cost->sets < LEAST_SLOTS ? cost->sets : LEAST_SLOTS; }

/* What is taken where a target and its host say nothing. */
static hmoec_machine_rates rates_of(const hmoec_target *target, hmoec_format format) {
  const hmoec_target *host = target->rates || !target->host ? target : target->host;
  const hmoec_machine *machine = hmoec_target_machine(target);
  if (host->rates && machine) {
    hmoec_machine_rates rates = host->rates(machine, machine->version, format);
    rates.flops *= REACHED;
    return rates;
  }
  return (hmoec_machine_rates){.flops = 1e11, .read = 2e10, .touch = 2e10, .step = 1e-6};
}

bool hmoec_hyper_cost_init(hmoec_hyper_cost *cost, const hmoec_hyper_case *hyper) {
  const int64_t h = hyper->d_model, b = hyper->bottleneck, H = hyper->hidden;
  const hmoec_target *target = hyper->target;
  *cost = (hmoec_hyper_cost){.hyper = hyper, .rates = rates_of(target, hyper->format), .distinct = (double)hyper->tokens};
  cost->sets = hmoec_binomial(hyper->experts, hyper->top_k);
  int64_t set_elements = hmoec_right_elements(target, hyper->format, h, b) + hmoec_right_elements(target, hyper->format, b, h);
  cost->set_bytes = hmoec_format_bytes(hyper->format, set_elements);
  if (hyper->generated_biases)
    cost->set_bytes += hmoec_format_bytes(HMOEC_FORMAT_F32, hmoec_round_columns(target, b) + hmoec_round_columns(target, h));
  cost->table_bytes = saturating_multiply(cost->sets, cost->set_bytes);
  cost->budget_bytes = hyper->budget_bytes;
  if (cost->budget_bytes == 0) {
    cost->budget_bytes = hyper->expert_bytes / 2 > (1 << 20) ? hyper->expert_bytes / 2 : (1 << 20);
    int64_t row_an_expert = saturating_multiply(hyper->experts, cost->set_bytes);
    if (cost->budget_bytes < row_an_expert) cost->budget_bytes = row_an_expert;
  }
  cost->cache_slots = slots_within(cost, cost->budget_bytes);
  if (cost->cache_slots < least_slots(cost)) cost->cache_slots = least_slots(cost);
  double outputs = 2.0 * (double)h * (double)b + (hyper->generated_biases ? (double)(h + b) : 0.0);
  cost->generate_flops = 2.0 * (double)H * outputs;
  cost->apply_flops = 4.0 * (double)h * (double)b;
  cost->factored_flops = 4.0 * (double)h * (double)b * (double)(H + 1) + 4.0 * (double)b * (double)(H + 1);
  cost->factored_bytes = 4.0 * 4.0 * (double)hmoec_round_columns(target, b) * (double)(H + 1);
  cost->generator_bytes = (double)hmoec_format_bytes(hyper->format, 1) * 2.0 * (double)h * (double)b * (double)(H + 1);
  if (!hyper->from_selection) return true;
  if (!hmoec_ranks_init(&cost->ranks, hmoec_set_count(hyper->experts, hyper->top_k), hyper->exponent, hyper->counts)) return false;
  cost->distinct = hmoec_ranks_distinct(&cost->ranks, (double)hyper->tokens, 0);
  return true;
}

void hmoec_hyper_cost_deinit(hmoec_hyper_cost *cost) { hmoec_ranks_deinit(&cost->ranks); }

/* ---- times ---- */

/* Of two things that overlap: the larger, and more where they are alike. */
static double overlapped(double a, double b) { return sqrt(sqrt(a * a * a * a + b * b * b * b)); }

static double apply_seconds(const hmoec_hyper_cost *cost, double sets) {
  return overlapped(cost->apply_flops * (double)cost->hyper->tokens / cost->rates.flops,
                    sets * (double)cost->set_bytes / cost->rates.read) +
         cost->rates.step;
}

/* passes: so often is the generator read. */
static double generate_seconds(const hmoec_hyper_cost *cost, double sets, double passes) {
  double elements = cost->generate_flops / (2.0 * (double)cost->hyper->hidden);
  return overlapped(sets * (cost->generate_flops / cost->rates.flops + 8 * elements / cost->rates.touch),
                    passes * GENERATOR_READ * cost->generator_bytes / cost->rates.read) +
         2 * passes * cost->rates.step;
}

static double passes_of(const hmoec_hyper_cost *cost, const char *knob) {
  const hmoec_schedule defaults = {0};
  int64_t chunk = hmoec_knob_value(cost->hyper->target, &defaults, "loop", knob);
  return chunk > 0 ? ceil((double)cost->hyper->tokens / (double)chunk) : 1;
}

/* A run of more sets than slots takes a quarter of these at a time, but no few (runtime/cpu/loop.c). */
static double cache_seconds(const hmoec_hyper_cost *cost, double slots) {
  double chunk = cost->distinct > slots ? fmin(slots, fmax((double)LEAST_CHUNK, floor(slots / 4))) : slots;
  double passes = ceil(cost->distinct / chunk), kept = passes > 1 ? slots - chunk : slots;
  if (passes < 1) return cost->rates.step;
  double missing = fmin(hmoec_ranks_distinct(&cost->ranks, (double)cost->hyper->tokens, kept), cost->distinct);
  double generating =
      passes * -expm1(cost->distinct / passes * log1p(-missing / cost->distinct)); /* passes that lack one or more */
  return apply_seconds(cost, cost->distinct) + (passes - 1) * cost->rates.step + generate_seconds(cost, missing, generating) +
         COLD_SLOT * missing * (double)cost->set_bytes / cost->rates.read;
}

static double factored_seconds(const hmoec_hyper_cost *cost) {
  double tokens = (double)cost->hyper->tokens, passes = passes_of(cost, "factored_chunk");
  return overlapped(tokens * cost->factored_flops / cost->rates.flops, passes * cost->generator_bytes / cost->rates.read) +
         tokens * cost->factored_bytes * (2.5 / cost->rates.read + 1 / cost->rates.touch) + 3 * passes * cost->rates.step;
}

static double per_token_seconds(const hmoec_hyper_cost *cost) {
  double tokens = (double)cost->hyper->tokens;
  return apply_seconds(cost, tokens) + generate_seconds(cost, tokens, passes_of(cost, "per_token_chunk"));
}

hmoec_hyper_point hmoec_hyper_point_of(const hmoec_hyper_cost *cost, hmoec_strategy strategy, int64_t slots) {
  hmoec_hyper_point point = {.strategy = strategy};
  switch (strategy) {
  case HMOEC_STRATEGY_TABLE:
    point.bytes = cost->table_bytes;
    point.seconds = apply_seconds(cost, cost->distinct);
    break;
  case HMOEC_STRATEGY_CACHE:
    point.slots = slots;
    point.bytes = saturating_multiply(slots, cost->set_bytes);
    point.seconds = cache_seconds(cost, (double)slots);
    break;
  case HMOEC_STRATEGY_PER_TOKEN: point.seconds = per_token_seconds(cost); break;
  case HMOEC_STRATEGY_AUTO:
  case HMOEC_STRATEGY_FACTORED:
  case HMOEC_STRATEGY_COUNT: point.seconds = factored_seconds(cost); break;
  }
  return point;
}

/* ---- the choice ---- */

static void take_faster(hmoec_hyper_point *best, hmoec_hyper_point other) {
  if (other.seconds < best->seconds) *best = other;
}

bool hmoec_hyper_has_table(const hmoec_hyper_cost *cost) {
  return cost->hyper->from_selection && cost->sets <= HMOEC_TABLE_MOST_SETS && cost->table_bytes <= HMOEC_TABLE_MOST_BYTES;
}

/* What the rates of a host say of loops is not so on its device. */
static bool has_per_token(const hmoec_hyper_cost *cost) { return !cost->hyper->target->host; }

hmoec_hyper_point hmoec_hyper_fastest(const hmoec_hyper_cost *cost, int64_t bytes) {
  hmoec_hyper_point best = hmoec_hyper_point_of(cost, HMOEC_STRATEGY_FACTORED, 0);
  if (has_per_token(cost)) take_faster(&best, hmoec_hyper_point_of(cost, HMOEC_STRATEGY_PER_TOKEN, 0));
  if (!cost->hyper->from_selection) return best;
  int64_t slots = slots_within(cost, bytes);
  if (hmoec_hyper_has_table(cost) && cost->table_bytes <= bytes)
    take_faster(&best, hmoec_hyper_point_of(cost, HMOEC_STRATEGY_TABLE, 0));
  else if (slots >= least_slots(cost)) take_faster(&best, hmoec_hyper_point_of(cost, HMOEC_STRATEGY_CACHE, slots));
  return best;
}

size_t hmoec_hyper_sizes(const hmoec_hyper_cost *cost, int64_t out_slots[HMOEC_HYPER_SIZES]) {
  size_t count = 0;
  if (!cost->hyper->from_selection) return 0;
  for (int64_t slots = LEAST_SLOTS; slots < cost->sets && slots <= HMOEC_MOST_SLOTS && count < HMOEC_HYPER_SIZES; slots *= 2)
    out_slots[count++] = slots;
  return count;
}

void hmoec_hyper_reason(const hmoec_hyper_cost *cost, const hmoec_hyper_point *chosen, int64_t bytes, char *out, size_t size) {
  const double mib = 1 << 20;
  char fastest[96];
  if (chosen->slots) hmoe_plain_format(fastest, sizeof fastest, "a cache of %lld of them is the fastest", (long long)chosen->slots);
  else hmoe_plain_format(fastest, sizeof fastest, "%s is the fastest", strategy_names[chosen->strategy]);
  if (!cost->hyper->from_selection) {
    hmoe_plain_format(out, size, "no table of what this generator reads; for %lld tokens %s", (long long)cost->hyper->tokens,
                      fastest);
  } else if (!hmoec_hyper_has_table(cost)) {
    hmoe_plain_format(out, size, "%.4g selection sets are too many for a table; for %lld tokens, within %.2f MiB, %s",
                      hmoec_set_count(cost->hyper->experts, cost->hyper->top_k), (long long)cost->hyper->tokens,
                      (double)bytes / mib, fastest);
  } else if (chosen->strategy == HMOEC_STRATEGY_TABLE) {
    hmoe_plain_format(out, size,
                      "%lld selection sets of %.1f KB make a table of %.2f MiB, within %.2f MiB; for %lld tokens it is the fastest",
                      (long long)cost->sets, (double)cost->set_bytes / 1e3, (double)cost->table_bytes / mib, (double)bytes / mib,
                      (long long)cost->hyper->tokens);
  } else {
    hmoe_plain_format(out, size, "a table of %lld sets would take %.2f MiB; for %lld tokens, within %.2f MiB, %s",
                      (long long)cost->sets, (double)cost->table_bytes / mib, (long long)cost->hyper->tokens, (double)bytes / mib,
                      fastest);
  }
}
