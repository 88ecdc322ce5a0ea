#include "library/explain_hyper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plain_text.h"

static void print_point(const hmoec_report *report, const hmoec_hyper_point *point, bool chosen) {
  char size[32] = "";
  if (point->slots) snprintf(size, sizeof size, " of %lld", (long long)point->slots);
  hmoec_report_printf(report, "  %12.3f %12.1f  %c %s%s\n", (double)point->bytes / 1e6, 1e6 * point->seconds, chosen ? '*' : ' ',
                      hmoec_strategy_name(point->strategy), size);
}

static bool same_point(const hmoec_hyper_point *a, const hmoec_hyper_point *b) {
  return a->strategy == b->strategy && a->slots == b->slots;
}

/* The chosen cache among the sizes, where it is none of them. */
static void print_caches(const hmoec_report *report, const hmoec_hyper_layer *layer) {
  int64_t slots[HMOEC_HYPER_SIZES], chosen = layer->chosen.slots;
  size_t count = hmoec_hyper_sizes(&layer->cost, slots);
  for (size_t i = 0; i < count; i++) {
    if (chosen && chosen < slots[i] && (i == 0 || chosen > slots[i - 1])) print_point(report, &layer->chosen, true);
    hmoec_hyper_point point = hmoec_hyper_point_of(&layer->cost, HMOEC_STRATEGY_CACHE, slots[i]);
    print_point(report, &point, same_point(&point, &layer->chosen));
  }
  if (chosen && (count == 0 || chosen > slots[count - 1])) print_point(report, &layer->chosen, true);
}

static void print_layer(const hmoec_report *report, const hmoec_hyper_layer *layer, const hmoec_routing *routing) {
  const hmoec_hyper_cost *cost = &layer->cost;
  char assumed[48] = "counted";
  if (!layer->hyper.counts) hmoe_plain_format(assumed, sizeof assumed, "zipf %g assumed", routing->exponent);
  hmoec_report_printf(report, "HyperExpert of line %u, ", layer->at.line);
  if (layer->hyper.from_selection)
    hmoec_report_printf(report, "%lld of %lld experts: %.4g selection sets of %.1f KB, of which %lld tokens have %.1f (%s)\n",
                        (long long)layer->hyper.top_k, (long long)layer->hyper.experts,
                        hmoec_set_count(layer->hyper.experts, layer->hyper.top_k), (double)cost->set_bytes / 1e3,
                        (long long)layer->hyper.tokens, cost->distinct, assumed);
  else hmoec_report_printf(report, "whose generator reads more than selections: %lld tokens\n", (long long)layer->hyper.tokens);
  hmoec_report_printf(report, "  %12s %12s    strategy\n", "MB", "us a run");
  for (int s = HMOEC_STRATEGY_FACTORED; s <= HMOEC_STRATEGY_PER_TOKEN; s++) {
    hmoec_hyper_point point = hmoec_hyper_point_of(cost, (hmoec_strategy)s, 0);
    print_point(report, &point, same_point(&point, &layer->chosen));
  }
  print_caches(report, layer);
  hmoec_hyper_point table = hmoec_hyper_point_of(cost, HMOEC_STRATEGY_TABLE, 0);
  if (hmoec_hyper_has_table(cost)) print_point(report, &table, layer->chosen.strategy == HMOEC_STRATEGY_TABLE);
}

static bool same_layer(const hmoec_hyper_layer *a, const hmoec_hyper_layer *b) {
  hmoec_hyper_case x = a->hyper, y = b->hyper;
  return same_point(&a->chosen, &b->chosen) && x.d_model == y.d_model && x.bottleneck == y.bottleneck && x.hidden == y.hidden &&
         x.experts == y.experts && x.top_k == y.top_k && x.generated_biases == y.generated_biases &&
         x.from_selection == y.from_selection && x.expert_bytes == y.expert_bytes && !x.counts && !y.counts;
}

/* Points of all layers in a line: their memory, time, and how many have which strategy. */
static void print_model(const hmoec_report *report, const hmoec_hyper_point *points, size_t count, int64_t given) {
  double seconds = 0, bytes = 0;
  size_t of[HMOEC_STRATEGY_COUNT] = {0};
  for (size_t i = 0; i < count; i++) {
    seconds += points[i].seconds;
    bytes += (double)points[i].bytes;
    of[points[i].strategy]++;
  }
  hmoec_report_printf(report, "  %12.3f %12.3f %12.1f   ", (double)given / 1e6, bytes / 1e6, 1e6 * seconds);
  for (int s = HMOEC_STRATEGY_TABLE; s < HMOEC_STRATEGY_COUNT; s++)
    if (of[s]) hmoec_report_printf(report, " %zu %s", of[s], hmoec_strategy_name((hmoec_strategy)s));
  hmoec_report_printf(report, "\n");
}

/* A quarter to four times of what there is. */
static bool print_memory(const hmoec_report *report, const hmoec_hyper_report *hypers, int64_t given) {
  hmoec_hyper_point *points = calloc(hypers->count + 1, sizeof *points);
  if (!points) return false;
  hmoec_report_printf(report, "the model by --memory\n  %12s %12s %12s    strategies\n", "MB", "MB taken", "us a run");
  bool ok = true;
  for (int64_t quarters = 1; ok && quarters <= 16; quarters *= 2) {
    int64_t bytes = given / 4 > INT64_MAX / quarters ? INT64_MAX : given / 4 * quarters;
    ok = hmoec_hyper_share(hypers->layers, hypers->count, bytes, points);
    if (ok) print_model(report, points, hypers->count, bytes);
  }
  free(points);
  return ok;
}

bool hmoec_explain_hyper(const hmoec_report *report, const hmoec_hyper_report *hypers, int64_t memory_bytes,
                         const hmoec_routing *routing) {
  int64_t given = 0;
  bool any_sets = false;
  if (!hypers->count) return true;
  hmoec_report_printf(report, "what memory buys, as predicted (* is chosen):\n");
  for (size_t i = 0; i < hypers->count; i++) {
    const hmoec_hyper_layer *layer = &hypers->layers[i];
    size_t same = 0;
    while (same < i && !same_layer(&hypers->layers[same], layer)) same++;
    if (same == i) print_layer(report, layer, routing);
    else hmoec_report_printf(report, "HyperExpert of line %u: number %zu is as number %zu\n", layer->at.line, i + 1, same + 1);
    any_sets = any_sets || layer->hyper.from_selection;
    if (layer->hyper.from_selection && layer->cost.budget_bytes <= INT64_MAX - given) given += layer->cost.budget_bytes;
  }
  bool ok = !any_sets || print_memory(report, hypers, memory_bytes ? memory_bytes : given);
  hmoec_report_printf(report, "\n");
  return ok;
}
