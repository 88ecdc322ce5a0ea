/* Divides memory among the HyperExperts of a model. Each has a ladder of points: no memory, caches of 16 slots and more by half an octave, the table. Of all steps
 * up that still fit, from where a layer is to any of its points above, the one that saves the most time a byte is taken, of equal ones the first layer's; until none saves anything.
 * What is left then goes to caches that grow by less than a rung. */
#include <stdlib.h>

#include "passes/hyper_cost.h"

enum { MOST_RUNGS = 2 * HMOEC_HYPER_SIZES + 2 };

typedef struct ladder {
  hmoec_hyper_point rungs[MOST_RUNGS];
  size_t count;
  size_t next; /* the best step up; count: none */
  double gain; /* of that step, a byte */
} ladder;

/* What an option says that one HyperExpert may take. */
static int64_t most_of(const hmoec_hyper_layer *layer) { return layer->hyper.budget_bytes ? layer->hyper.budget_bytes : INT64_MAX; }

static void ladder_init(ladder *l, const hmoec_hyper_layer *layer) {
  const hmoec_hyper_cost *cost = &layer->cost;
  int64_t slots[HMOEC_HYPER_SIZES];
  size_t sizes = hmoec_hyper_sizes(cost, slots);
  *l = (ladder){.count = 0};
  l->rungs[l->count++] = layer->forced ? layer->chosen : hmoec_hyper_fastest(cost, 0);
  if (layer->forced) return;
  for (size_t i = 0; i < sizes; i++) {
    int64_t between = slots[i] + slots[i] / 2;
    l->rungs[l->count++] = hmoec_hyper_point_of(cost, HMOEC_STRATEGY_CACHE, slots[i]);
    if (between < cost->sets && between <= HMOEC_MOST_SLOTS)
      l->rungs[l->count++] = hmoec_hyper_point_of(cost, HMOEC_STRATEGY_CACHE, between);
  }
  hmoec_hyper_point all = hmoec_hyper_fastest(cost, INT64_MAX);
  if (all.strategy == HMOEC_STRATEGY_TABLE) l->rungs[l->count++] = all;
  while (l->count > 1 && l->rungs[l->count - 1].bytes > most_of(layer)) l->count--;
}

/* The best step up from `at` that takes no more than `left`. */
static void look(ladder *l, const hmoec_hyper_point *at, int64_t left) {
  l->next = l->count;
  l->gain = 0;
  for (size_t i = 1; i < l->count; i++) {
    const hmoec_hyper_point *rung = &l->rungs[i];
    int64_t more = rung->bytes - at->bytes;
    if (more <= 0 || more > left || rung->seconds >= at->seconds) continue;
    double gain = (at->seconds - rung->seconds) / (double)more;
    if (gain <= l->gain) continue;
    l->gain = gain;
    l->next = i;
  }
}

static size_t best_of(const ladder *ladders, size_t count) {
  size_t best = 0;
  for (size_t i = 1; i < count; i++)
    if (ladders[i].gain > ladders[best].gain) best = i;
  return best;
}

/* To the layer that makes the most of it, as long as one does. */
static void use_rest(const hmoec_hyper_layer *layers, size_t count, int64_t left, hmoec_hyper_point *points) {
  for (;;) {
    size_t best = count;
    hmoec_hyper_point better = {0};
    double saved = 0;
    for (size_t i = 0; i < count; i++) {
      if (layers[i].forced) continue;
      int64_t bytes = points[i].bytes + left, most = most_of(&layers[i]);
      hmoec_hyper_point point = hmoec_hyper_fastest(&layers[i].cost, bytes < most ? bytes : most);
      if (points[i].seconds - point.seconds <= saved) continue;
      saved = points[i].seconds - point.seconds;
      better = point;
      best = i;
    }
    if (best == count) return;
    left -= better.bytes - points[best].bytes;
    points[best] = better;
  }
}

bool hmoec_hyper_share(const hmoec_hyper_layer *layers, size_t count, int64_t bytes, hmoec_hyper_point *points) {
  ladder *ladders = calloc(count + 1, sizeof *ladders);
  if (!ladders) return false;
  int64_t left = bytes;
  for (size_t i = 0; i < count; i++) {
    ladder_init(&ladders[i], &layers[i]);
    points[i] = ladders[i].rungs[0];
    left -= points[i].bytes < left ? points[i].bytes : left; /* of what is forced */
  }
  for (size_t i = 0; i < count; i++) look(&ladders[i], &points[i], left);
  for (size_t i; count && (i = best_of(ladders, count), ladders[i].gain > 0);) {
    const hmoec_hyper_point *rung = &ladders[i].rungs[ladders[i].next];
    if (rung->bytes - points[i].bytes <= left) { /* it did, before others took theirs */
      left -= rung->bytes - points[i].bytes;
      points[i] = *rung;
    }
    look(&ladders[i], &points[i], left);
  }
  free(ladders);
  use_rest(layers, count, left, points);
  return true;
}

void hmoec_hyper_report_deinit(hmoec_hyper_report *report) {
  for (size_t i = 0; i < report->count; i++) hmoec_hyper_cost_deinit(&report->layers[i].cost);
  free(report->layers);
  *report = (hmoec_hyper_report){0};
}

bool hmoec_hyper_report_choose(hmoec_hyper_report *report, int64_t memory_bytes) {
  hmoec_hyper_point *points = calloc(report->count + 1, sizeof *points);
  bool ok = points && (!memory_bytes || hmoec_hyper_share(report->layers, report->count, memory_bytes, points));
  for (size_t i = 0; ok && i < report->count; i++) {
    hmoec_hyper_layer *layer = &report->layers[i];
    layer->within_bytes = memory_bytes ? memory_bytes : layer->cost.budget_bytes;
    if (layer->forced) continue;
    layer->chosen = memory_bytes ? points[i] : hmoec_hyper_fastest(&layer->cost, layer->cost.budget_bytes);
  }
  free(points);
  return ok;
}
