#include "library/routing_file.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plain_text.h"
#include "support/json.h"
#include "support/limits.h"

static const double MOST_EXPONENT = 16, MOST_TIMES = 9007199254740992.0; /* 2^53 */
enum { MOST_TOP_K = 1024 };

typedef struct reader {
  hmoec_arena *arena;
  hmoec_diagnostics *diagnostics;
  hmoec_json json;
} reader;

/* An error in a set of a layer, or in the layer itself: set < 0. */
static bool refuse(const reader *r, size_t layer, long set, const char *expected, const cJSON *found) {
  char place[96];
  if (set < 0) snprintf(place, sizeof place, "layers[%zu]", layer);
  else snprintf(place, sizeof place, "layers[%zu].sets[%ld]", layer, set);
  return hmoec_error(r->diagnostics, hmoec_json_key_location(&r->json, "layers"), "%s: expected %s, found %s", place, expected,
                     found ? hmoec_json_value_string(r->arena, found) : "nothing");
}

static bool integer(const cJSON *item, double least, double most, int64_t *out) {
  if (!cJSON_IsNumber(item) || !(item->valuedouble >= least && item->valuedouble <= most)) return false;
  *out = (int64_t)item->valuedouble;
  return (double)*out >= item->valuedouble;
}

static int ascending(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static int descending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x < y) - (x > y);
}

/* A set's experts in ascending order, and its count behind them. */
static bool set_read(const reader *r, const hmoec_set_counts *counts, const cJSON *set, size_t layer, long index, int64_t *out) {
  size_t k = (size_t)counts->top_k;
  char expected[96];
  snprintf(expected, sizeof expected, "%zu different experts below %lld and a count of at least 1", k, (long long)counts->experts);
  if (!cJSON_IsArray(set)) return refuse(r, layer, index, expected, set);
  const cJSON *item = set->child;
  for (size_t i = 0; i <= k; i++, item = item->next)
    if (!item || !integer(item, i == k ? 1 : 0, i == k ? MOST_TIMES : (double)counts->experts - 1, &out[i]))
      return refuse(r, layer, index, expected, set);
  if (item) return refuse(r, layer, index, expected, set);
  qsort(out, k, sizeof *out, ascending);
  for (size_t i = 1; i < k; i++)
    if (out[i] == out[i - 1]) return refuse(r, layer, index, expected, set);
  return true;
}

static bool same_key(const cJSON *item, const char *const *keys) {
  while (*keys && strcmp(*keys, item->string) != 0) keys++;
  return *keys != NULL;
}

static bool layer_read(const reader *r, const cJSON *layer, size_t index, hmoec_set_counts *out) {
  static const char *const keys[] = {"experts", "top_k", "sets", NULL};
  if (!cJSON_IsObject(layer)) return refuse(r, index, -1, "an object of experts, top_k and sets", layer);
  for (const cJSON *item = layer->child; item; item = item->next)
    if (!same_key(item, keys))
      return hmoec_error(r->diagnostics, hmoec_json_key_location(&r->json, "layers"),
                         "layers[%zu]: expected experts, top_k and sets, found '%.200s'", index, item->string);
  const cJSON *experts = cJSON_GetObjectItemCaseSensitive(layer, "experts"),
              *top_k = cJSON_GetObjectItemCaseSensitive(layer, "top_k"), *sets = cJSON_GetObjectItemCaseSensitive(layer, "sets");
  if (!integer(experts, 1, INT32_MAX, &out->experts))
    return refuse(r, index, -1, "experts to be an integer of at least 1", experts);
  double most_k = (double)out->experts < (double)MOST_TOP_K ? (double)out->experts : (double)MOST_TOP_K;
  if (!integer(top_k, 1, most_k, &out->top_k)) return refuse(r, index, -1, "top_k to be from 1 to the number of experts", top_k);
  if (!cJSON_IsArray(sets) || !sets->child) return refuse(r, index, -1, "sets to be a list of one or more", sets);
  size_t count = (size_t)cJSON_GetArraySize(sets), at = 0;
  double *times = hmoec_arena_alloc_array(r->arena, count, sizeof *times);
  int64_t *set = hmoec_arena_alloc_array(r->arena, (size_t)out->top_k + 1, sizeof *set);
  for (const cJSON *item = sets->child; item; item = item->next, at++) {
    if (!set_read(r, out, item, index, (long)at, set)) return false;
    times[at] = (double)set[out->top_k];
  }
  qsort(times, count, sizeof *times, descending);
  out->times = times;
  out->count = count;
  return true;
}

static bool layers_read(reader *r, hmoec_routing *out) {
  for (const cJSON *item = r->json.root->child; item; item = item->next)
    if (strcmp(item->string, "layers") != 0)
      return hmoec_error(r->diagnostics, hmoec_json_key_location(&r->json, item->string), "expected layers, found '%.200s'",
                         item->string);
  const cJSON *layers = cJSON_GetObjectItemCaseSensitive(r->json.root, "layers");
  if (!cJSON_IsArray(layers) || !layers->child)
    return hmoec_error(r->diagnostics, hmoec_json_key_location(&r->json, "layers"),
                       "expected layers to be a list of one or more, found %s",
                       layers ? hmoec_json_value_string(r->arena, layers) : "nothing");
  size_t count = (size_t)cJSON_GetArraySize(layers), at = 0;
  hmoec_set_counts *counts = hmoec_arena_alloc_array(r->arena, count, sizeof *counts);
  for (const cJSON *item = layers->child; item; item = item->next, at++)
    if (!layer_read(r, item, at, &counts[at])) return false;
  out->layers = counts;
  out->layer_count = count;
  return true;
}

bool hmoec_routing_read(hmoec_arena *arena, const char *text, hmoec_diagnostics *diagnostics, hmoec_routing *out_routing) {
  *out_routing = (hmoec_routing){.exponent = HMOEC_ROUTING_EXPONENT};
  if (!text) return true;
  if (strcmp(text, "even") == 0) {
    out_routing->exponent = 0;
    return true;
  }
  if (strncmp(text, "zipf:", 5) == 0) {
    char *end;
    double exponent = hmoe_plain_number(text + 5, &end);
    if (end == text + 5 || *end || !(exponent >= 0 && exponent <= MOST_EXPONENT))
      return hmoec_usage_error(diagnostics, "expected routing zipf:S to have a number from 0 to %g, found '%s'", MOST_EXPONENT,
                               text);
    out_routing->exponent = exponent;
    return true;
  }
  reader r = {.arena = arena, .diagnostics = diagnostics};
  bool ok = *text == '{' ? hmoec_json_parse(arena, "routing", text, strlen(text), diagnostics, &r.json)
                         : hmoec_json_read(arena, text, HMOEC_ROUTING_MAX_BYTES, diagnostics, &r.json);
  ok = ok && layers_read(&r, out_routing);
  hmoec_json_deinit(&r.json);
  return ok;
}

/* ---- writing ---- */

static int sets_compare(const void *a, const void *b, void *top_k) {
  const int32_t *x = a, *y = b;
  for (size_t i = 0; i < *(const size_t *)top_k; i++)
    if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
  return 0;
}

static int experts_compare(const void *a, const void *b) {
  int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
  return (x > y) - (x < y);
}

/* A line of a layer, its sets in order. */
static bool layer_print(FILE *out, const hmoec_selections *layer) {
  size_t k = (size_t)layer->top_k, count = layer->count;
  int32_t *sets = malloc((count * k + 1) * sizeof *sets);
  if (!sets) return false;
  for (size_t i = 0; i < count * k; i++) sets[i] = (int32_t)layer->rows[i];
  for (size_t i = 0; i < count; i++) qsort(sets + i * k, k, sizeof *sets, experts_compare);
  qsort_r(sets, count, k * sizeof *sets, sets_compare, &k);
  fprintf(out, "  {\"experts\": %lld, \"top_k\": %lld, \"sets\": [", (long long)layer->experts, (long long)layer->top_k);
  for (size_t i = 0, same; i < count; i += same) {
    same = 1;
    while (i + same < count && sets_compare(sets + i * k, sets + (i + same) * k, &k) == 0) same++;
    fputs(i ? ", [" : "[", out);
    for (size_t e = 0; e < k; e++) fprintf(out, "%d, ", sets[i * k + e]);
    fprintf(out, "%zu]", same);
  }
  fputs("]}", out);
  free(sets);
  return true;
}

char *hmoec_routing_print(const hmoec_selections *layers, size_t count) {
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  if (!out) return NULL;
  fputs("{\"layers\": [\n", out);
  bool ok = true;
  for (size_t i = 0; ok && i < count; i++) {
    ok = layer_print(out, &layers[i]);
    fputs(i + 1 < count ? ",\n" : "\n", out);
  }
  fputs("]}\n", out);
  if (fclose(out) == 0 && ok) return text;
  free(text);
  return NULL;
}
