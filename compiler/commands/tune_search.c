/* The search of hmoec tune. For each bucket of tokens:
 *
 *   screen    every value of every knob by itself, a few turns each
 *   combine   those that look faster, the best first, are added up one by one as long as that looks faster still
 *   confirm   the two best of all this, in many turns of another process; a gain beyond doubt is kept
 *
 * Knobs of the whole object come first, with a quarter of the time: each value is measured in all buckets, and the best on the whole is kept if it is slower beyond doubt in none
 * and faster beyond doubt in one. The default is what everything is measured against, so that
 * nothing can be found that is worse. Screens of thirty candidates promise gains that are not there: what counts is the second measurement alone. */
#include "commands/tune.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plain_text.h"
#include "support/clock.h"

enum {
  SCREEN_TURNS = 6,
  CONFIRM_TURNS = 20,
  MOST_CANDIDATES = TUNE_MOST_KNOBS * TUNE_MOST_TRIED,
  FINALISTS = 2,
  MOST_COMBINED = 6,
  MOST_OBJECT = 16
};
#define TURN_SECONDS 0.012
#define LIMIT_SECONDS 30.0 /* of a candidate, beside its turns */
#define LEAST_GAIN 1.003 /* what a screen has to promise */

static volatile sig_atomic_t interrupted;
static void interrupt(int signal) {
  (void)signal;
  interrupted = 1;
}

/* ---- buckets: runs of about the same shape ---- */

static const int64_t bucket_ends[] = {1, 8, 32, 128, 512, HMOEC_TUNING_MOST};
enum { BUCKETS = sizeof bucket_ends / sizeof *bucket_ends };

static size_t bucket_of(int64_t tokens) {
  size_t b = 0;
  while (tokens > bucket_ends[b]) b++;
  return b;
}

static bool buckets_make(const hmoec_arguments *arguments, tune_result *result, hmoec_diagnostics *diagnostics) {
  static const int64_t usual[] = {1, 8, 32, 128, 512};
  const int64_t *tokens = arguments->token_count ? arguments->tokens : usual;
  size_t count = arguments->token_count ? arguments->token_count : sizeof usual / sizeof *usual;
  const tune_bucket *taken[BUCKETS] = {NULL};
  for (size_t i = 0; i < count; i++) {
    if (tokens[i] < 1) return hmoec_usage_error(diagnostics, "expected --tokens of hmoec tune to be at least 1, found 0");
    size_t b = bucket_of(tokens[i]);
    int64_t first = b ? bucket_ends[b - 1] + 1 : 1;
    if (taken[b])
      return hmoec_usage_error(diagnostics,
                               "--tokens %lld and %lld are measured as one: what is found for one is taken from %lld to %lld",
                               (long long)taken[b]->tokens, (long long)tokens[i], (long long)first, (long long)bucket_ends[b]);
    tune_bucket *bucket = &result->buckets[result->bucket_count++];
    *bucket = (tune_bucket){.tokens = tokens[i], .first = first, .last = bucket_ends[b]};
    taken[b] = bucket;
  }
  return true;
}

/* ---- progress ---- */

typedef struct search {
  tune_job job;
  tune_result *result;
  hmoec_diagnostics *diagnostics;
  double begin, budget, shown;
  bool terminal;
  const char *doing;
  int64_t tokens;
  size_t done, total; /* candidates of the bucket */
  double best; /* what the screen promises so far */
  double end; /* of the bucket's share of the budget */
} search;

static double left_of(const search *s) { return s->budget - (hmoec_clock_seconds() - s->begin); }

static void show(search *s, bool last) {
  double now = hmoec_clock_seconds(), left = left_of(s);
  if (!last && now - s->shown < (s->terminal ? 0.5 : 10)) return;
  s->shown = now;
  if (last && !s->terminal) return;
  hmoe_plain_print(stderr, "%stune: %lld tokens: %s, %zu of %zu done, best so far %.3f, %.0f s left%s",
                   s->terminal ? "\r\033[K" : "", (long long)s->tokens, s->doing, s->done, s->total, s->best, left > 0 ? left : 0.0,
                   s->terminal && !last ? "" : "\n");
  fflush(stderr);
}

static bool watch(void *context, size_t done) {
  search *s = context;
  s->done = done;
  show(s, false);
  return !interrupted && hmoec_clock_seconds() < s->end;
}

/* ---- candidates ---- */

static tune_candidate base_candidate(const tune_model *model) {
  tune_candidate c = {.turns = 0};
  for (size_t k = 0; k < model->knob_count; k++) c.values[k] = model->knobs[k].base;
  return c;
}

static double promise(const tune_candidate *c) { return c->failed || c->turns < 3 ? 0 : tune_median(c->gains, c->turns); }

static int by_promise(const void *a, const void *b) {
  double x = promise(a), y = promise(b);
  return (x < y) - (x > y);
}

static bool measure(search *s, tune_candidate *candidates, size_t count, size_t turns, const char *doing, double seconds) {
  s->job.turns = turns;
  s->job.limit_seconds = LIMIT_SECONDS + 20 * (double)turns * s->job.turn_seconds;
  s->doing = doing;
  s->done = 0;
  s->total = count;
  double now = hmoec_clock_seconds();
  s->end = now + seconds;
  bool ok = tune_measure(&s->job, &s->result->model, candidates, count, s->diagnostics);
  for (size_t i = 0; i < count; i++)
    if (promise(&candidates[i]) > s->best) s->best = promise(&candidates[i]);
  return ok;
}

/* Every value of every knob by itself; of the object's knobs, or of the steps'. */
static size_t list_singles(const tune_model *model, bool of_object, tune_candidate *out) {
  size_t count = 0;
  for (size_t k = 0; k < model->knob_count; k++)
    for (size_t v = 0; v < model->knobs[k].tried_count && count < MOST_CANDIDATES; v++) {
      if ((model->knobs[k].kernel == NULL) != of_object || model->knobs[k].tried[v] == model->knobs[k].base) continue;
      out[count] = base_candidate(model);
      out[count++].values[k] = model->knobs[k].tried[v];
    }
  return count;
}

/* The knobs in which a candidate differs from another. */
static bool overlaps(const tune_model *model, const tune_candidate *a, const tune_candidate *b) {
  for (size_t k = 0; k < model->knob_count; k++)
    if (a->values[k] != model->knobs[k].base && b->values[k] != model->knobs[k].base) return true;
  return false;
}

/* The sums of those that look faster, the best first: of one, of two, ... Returns how many sums of two and more there are. */
static size_t list_sums(const tune_model *model, const tune_candidate *sorted, size_t count, tune_candidate *out) {
  tune_candidate sum = base_candidate(model);
  size_t made = 0, parts = 0;
  for (size_t i = 0; i < count && parts < MOST_COMBINED; i++) {
    if (promise(&sorted[i]) < LEAST_GAIN || overlaps(model, &sum, &sorted[i])) continue;
    for (size_t k = 0; k < model->knob_count; k++)
      if (sorted[i].values[k] != model->knobs[k].base) sum.values[k] = sorted[i].values[k];
    if (++parts > 1) out[made++] = sum;
  }
  return made;
}

/* ---- the object ---- */

/* Measures candidates in all buckets; gains[c]: the geometric mean of their medians, 0 where one failed, was not measured, or is slower beyond doubt. */
static bool measure_everywhere(search *s, tune_candidate *candidates, size_t count, size_t turns, const char *doing, double seconds,
                               tune_interval *gains, bool *faster) {
  size_t buckets = s->result->bucket_count;
  for (size_t c = 0; c < count; c++) gains[c] = (tune_interval){1, 1, 1}, faster[c] = false;
  for (size_t b = 0; b < buckets; b++) {
    s->job.tokens = s->tokens = s->result->buckets[b].tokens;
    for (size_t c = 0; c < count; c++) candidates[c].turns = 0;
    if (!measure(s, candidates, count, turns, doing, seconds / (double)buckets)) return false;
    for (size_t c = 0; c < count; c++) {
      tune_interval gain = tune_interval_of(candidates[c].gains, candidates[c].turns);
      bool ok = !candidates[c].failed && candidates[c].turns == turns && gain.high >= 1;
      double part = 1 / (double)buckets;
      gains[c] = ok ? (tune_interval){gains[c].low * pow(gain.low, part), gains[c].median * pow(gain.median, part),
                                      gains[c].high * pow(gain.high, part)}
                    : (tune_interval){0, 0, 0};
      faster[c] = faster[c] || tune_is_better(&candidates[c]);
    }
  }
  return true;
}

static bool search_object(search *s, double seconds) {
  tune_model *model = &s->result->model;
  tune_candidate *all = calloc(MOST_CANDIDATES, sizeof *all);
  tune_interval gains[MOST_OBJECT];
  bool faster[MOST_OBJECT];
  if (!all) return hmoec_machine_error(s->diagnostics, "out of memory");
  size_t count = list_singles(model, true, all), best = 0;
  if (count > MOST_OBJECT) count = MOST_OBJECT;
  bool ok = measure_everywhere(s, all, count, SCREEN_TURNS, "screening code", 0.6 * seconds, gains, faster);
  for (size_t c = 1; ok && c < count; c++)
    if (gains[c].median > gains[best].median) best = c;
  bool promises = ok && count && gains[best].median >= LEAST_GAIN && !interrupted;
  if (promises) ok = measure_everywhere(s, all + best, 1, CONFIRM_TURNS, "confirming code", 0.8 * seconds, gains, faster);
  if (ok && promises && faster[0] && gains[0].median >= LEAST_GAIN) {
    s->result->object_found = true;
    s->result->object_gain = gains[0];
    for (size_t k = 0; k < model->knob_count; k++) model->knobs[k].base = all[best].values[k];
  }
  free(all);
  return ok;
}

/* ---- one bucket ---- */

static bool search_bucket(search *s, tune_bucket *bucket, double seconds) {
  const tune_model *model = &s->result->model;
  double begin = hmoec_clock_seconds();
  tune_candidate *all = calloc(MOST_CANDIDATES + MOST_COMBINED, sizeof *all), *finals = calloc(FINALISTS, sizeof *finals);
  bool ok = all && finals ? true : hmoec_machine_error(s->diagnostics, "out of memory");
  s->job.tokens = s->tokens = bucket->tokens;
  s->best = 1;
  bucket->best = base_candidate(model);
  size_t count = ok ? list_singles(model, false, all) : 0;
  ok = ok && measure(s, all, count, SCREEN_TURNS, "screening", 0.6 * seconds);
  for (size_t i = 0; ok && i < count; i++) {
    bucket->tried += all[i].turns > 0;
    bucket->failed += all[i].failed;
  }
  bucket->complete = bucket->tried + bucket->failed == count;
  if (ok) qsort(all, count, sizeof *all, by_promise);
  size_t sums = ok && !interrupted ? list_sums(model, all, count, all + count) : 0;
  if (sums) ok = measure(s, all + count, sums, SCREEN_TURNS, "combining", 0.8 * seconds - (hmoec_clock_seconds() - begin));
  count += sums;
  if (ok) qsort(all, count, sizeof *all, by_promise);
  size_t finalists = 0;
  for (size_t i = 0; ok && i < count && finalists < FINALISTS; i++) {
    if (promise(&all[i]) < LEAST_GAIN) continue;
    finals[finalists] = all[i];
    finals[finalists++].turns = 0;
  }
  if (ok && finalists == 0) { /* something is measured, to say how fast it is */
    finals[0] = base_candidate(model);
    ok = measure(s, finals, 1, SCREEN_TURNS, "measuring", LIMIT_SECONDS);
  } else if (ok) {
    ok = measure(s, finals, finalists, CONFIRM_TURNS, "confirming", LIMIT_SECONDS + 0.4 * seconds);
  }
  for (size_t i = 0; ok && i < (finalists ? finalists : 1); i++) {
    const tune_candidate *f = &finals[i];
    if (f->turns && !(bucket->default_seconds > 0)) {
      bucket->default_seconds = tune_median(f->default_seconds, f->turns);
      bucket->gain = (tune_interval){1, 1, 1};
      bucket->self = tune_interval_of(f->selves, f->turns);
    }
    if (!finalists || f->turns < CONFIRM_TURNS || !tune_is_better(f)) continue;
    if (bucket->found && promise(f) <= bucket->gain.median) continue;
    bucket->found = true;
    bucket->best = *f;
    bucket->gain = tune_interval_of(f->gains, f->turns);
    bucket->self = tune_interval_of(f->selves, f->turns);
    bucket->default_seconds = tune_median(f->default_seconds, f->turns);
    bucket->tuned_seconds = tune_median(f->seconds, f->turns);
  }
  if (!bucket->found) bucket->tuned_seconds = bucket->default_seconds;
  bucket->predicted_seconds = model->predicted_seconds;
  bucket->bound_seconds = model->bound_seconds;
  bucket->hopeful = model->hopeful;
  show(s, true);
  free(all);
  free(finals);
  return ok;
}

/* ---- the file ---- */

static size_t changed_knobs(const tune_model *model, const tune_candidate *c, size_t out[TUNE_MOST_KNOBS]) {
  size_t count = 0;
  for (size_t k = 0; k < model->knob_count; k++)
    if (c->values[k] != model->knobs[k].base) out[count++] = k;
  return count;
}

static int64_t scaled(int64_t tokens, int64_t rows_per_token) {
  int64_t rows;
  return __builtin_mul_overflow(tokens, rows_per_token, &rows) || rows > HMOEC_TUNING_MOST ? HMOEC_TUNING_MOST : rows;
}

/* An entry of the object, of what all entries share. */
static hmoec_tuning_entry entry_of(const tune_model *model) {
  hmoec_tuning_entry entry = {.kernel = model->object,
                              .format = model->format,
                              .place = {.target = model->target, .version = model->version, .threads = model->threads},
                              .compiler = hmoec_version()};
  for (size_t i = 0; i < 3 && model->caches[i] > 0; i++) entry.place.caches[entry.place.cache_count++] = model->caches[i];
  return entry;
}

/* An entry for each knob that was found, or one of the whole object that says that nothing was. */
static bool put_bucket(hmoec_tuning *tuning, const tune_model *model, const tune_bucket *bucket) {
  size_t changed[TUNE_MOST_KNOBS], count = changed_knobs(model, &bucket->best, changed);
  hmoec_tuning_entry entry = entry_of(model);
  entry.first_rows = bucket->first;
  entry.last_rows = bucket->last;
  entry.default_ns = round(1e9 * bucket->default_seconds);
  entry.tuned_ns = round(1e9 * bucket->tuned_seconds);
  entry.low = bucket->gain.low;
  entry.high = bucket->gain.high;
  if (!(bucket->default_seconds > 0)) return true; /* it was never measured */
  bool ok = count > 0 || hmoec_tuning_put(tuning, &entry);
  for (size_t i = 0; i < count; i++) {
    const tune_knob *knob = &model->knobs[changed[i]];
    const hmoec_tuning_knob value = {.name = knob->name, .value = bucket->best.values[changed[i]]};
    entry.kernel = knob->kernel;
    entry.first_rows = scaled(bucket->first, knob->rows_per_token);
    entry.last_rows = scaled(bucket->last, knob->rows_per_token);
    entry.knob_count = 1;
    entry.knobs = &value;
    ok = hmoec_tuning_put(tuning, &entry) && ok;
  }
  return ok;
}

/* What was found for all buckets. */
static bool put_object(hmoec_tuning *tuning, const tune_result *result) {
  const tune_model *model = &result->model;
  hmoec_tuning_knob values[TUNE_MOST_KNOBS];
  hmoec_tuning_entry entry = entry_of(model);
  entry.first_rows = 1;
  entry.last_rows = HMOEC_TUNING_MOST;
  entry.default_ns = round(1e6 * result->object_gain.median); /* a ratio: there is no one time of all buckets */
  entry.tuned_ns = 1e6;
  entry.low = result->object_gain.low;
  entry.high = result->object_gain.high;
  entry.knobs = values;
  for (size_t k = 0; k < model->knob_count; k++)
    if (model->knobs[k].base != model->knobs[k].value)
      values[entry.knob_count++] = (hmoec_tuning_knob){.name = model->knobs[k].name, .value = model->knobs[k].base};
  return !result->object_found || hmoec_tuning_put(tuning, &entry);
}

/* What is in the file already stays, but for what was measured again. */
static bool save(search *s, hmoec_tuning *tuning, const tune_bucket *bucket) {
  const char *path = s->job.arguments->output;
  return (put_bucket(tuning, &s->result->model, bucket) ||
          hmoec_machine_error(s->diagnostics, "internal: an entry does not fit a tuning file")) &&
         hmoec_tuning_write(tuning, path, s->diagnostics);
}

/* ---- all of it ---- */

static bool search_all(search *s, hmoec_tuning *tuning) {
  tune_result *result = s->result;
  if (!tune_list(&s->job, &result->model, s->diagnostics)) return false;
  if (!search_object(s, 0.25 * left_of(s))) return false;
  if (!put_object(tuning, result)) return hmoec_machine_error(s->diagnostics, "internal: an entry does not fit a tuning file");
  for (size_t b = 0; b < result->bucket_count && !interrupted; b++) {
    double seconds = left_of(s) / (double)(result->bucket_count - b);
    if (seconds < 1) seconds = 1;
    if (!search_bucket(s, &result->buckets[b], seconds) || !save(s, tuning, &result->buckets[b])) return false;
  }
  result->interrupted = interrupted != 0;
  return true;
}

/* A directory for what children read; removed with what is in it. */
static bool directory_make(char *path, size_t size, hmoec_diagnostics *diagnostics) {
  const char *root = getenv("TMPDIR");
  snprintf(path, size, "%s/hmoec-tune-XXXXXX", root && *root ? root : "/tmp");
  return mkdtemp(path) ||
         hmoec_machine_error(diagnostics, "cannot make a directory in %s: %s", root && *root ? root : "/tmp", strerror(errno));
}

static void directory_remove(const char *path) {
  static const char *const files[] = {"request", "packed.hmw"};
  char file[4200];
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    snprintf(file, sizeof file, "%s/%s", path, files[i]);
    unlink(file);
  }
  rmdir(path);
}

bool tune_search(const hmoec_arguments *arguments, tune_result *result, hmoec_diagnostics *diagnostics) {
  char directory[4096] = "";
  hmoec_tuning tuning;
  *result = (tune_result){.bucket_count = 0};
  hmoec_tuning_init(&tuning);
  bool ok = buckets_make(arguments, result, diagnostics);
  if (ok && access(arguments->output, F_OK) == 0) ok = hmoec_tuning_read(&tuning, arguments->output, diagnostics);
  ok = ok && directory_make(directory, sizeof directory, diagnostics);
  if (ok) {
    search s = {.result = result,
                .diagnostics = diagnostics,
                .begin = hmoec_clock_seconds(),
                .budget = arguments->budget_seconds,
                .terminal = isatty(STDERR_FILENO),
                .doing = "opening",
                .tokens = result->buckets[0].tokens,
                .best = 1};
    s.shown = s.begin;
    s.end = s.begin + 24 * 3600.0;
    s.job = (tune_job){.arguments = arguments,
                       .directory = directory,
                       .tokens = result->buckets[0].tokens,
                       .turn_seconds = TURN_SECONDS,
                       .watch = watch,
                       .watch_context = &s};
    struct sigaction action = {.sa_handler = interrupt}, before_int, before_term;
    sigaction(SIGINT, &action, &before_int);
    sigaction(SIGTERM, &action, &before_term);
    ok = search_all(&s, &tuning);
    sigaction(SIGINT, &before_int, NULL);
    sigaction(SIGTERM, &before_term, NULL);
    directory_remove(directory);
  }
  hmoec_tuning_deinit(&tuning);
  return ok;
}
