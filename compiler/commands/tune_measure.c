/* Measuring for hmoec tune, on both sides: the child, which runs a trial and writes a line for each thing that it finds, and the parent, which starts children,
 * reads their lines, and goes on with a new child behind a candidate that ended one.
 *
 *   machine TARGET VERSION FORMAT THREADS L1 L2 L3 OBJECT PRIORITY
 *   knob NAME VALUE ROWS_A_TOKEN TRIED,TRIED,... KERNEL
 *   predict TOKENS NS BOUND_NS HOPEFUL
 *   begin NUMBER
 *   turn NUMBER NS NS NS
 *   done
 *
 * Fields end at tabs. The request is a file of the same kind. */
#include "commands/tune.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "plain_text.h"
#include "support/clock.h"
#include "support/process.h"
#include "support/statistics.h"

enum { LINE_BYTES = 8192, MOST_FIELDS = 16, MOST_ANSWER = 64 << 20 };

static bool no_memory(hmoec_diagnostics *diagnostics) { return hmoec_machine_error(diagnostics, "out of memory"); }

/* Cuts a line at tabs. */
static size_t split_fields(char *line, char **out_fields) {
  size_t count = 0;
  for (char *rest = line, *field; count < MOST_FIELDS && (field = strsep(&rest, "\t"));) out_fields[count++] = field;
  return count;
}

static double number(const char *text) { return (double)strtoll(text, NULL, 10); }

/* ---- the child ---- */

typedef struct request {
  int64_t tokens;
  size_t turns;
  double turn_seconds, pause_seconds;
  char packed[4096];
  FILE *candidates; /* a line each, from here on */
} request;

/* "run TOKENS TURNS TURN_US PAUSE_US PACKED", then a line of values for each candidate. */
static bool request_open(const char *path, request *out, hmoec_diagnostics *diagnostics) {
  char line[LINE_BYTES], *fields[MOST_FIELDS];
  *out = (request){.candidates = fopen(path, "re")};
  bool ok = out->candidates && fgets(line, sizeof line, out->candidates);
  if (ok) line[strcspn(line, "\n")] = 0;
  if (!ok || split_fields(line, fields) != 6 || strcmp(fields[0], "run") != 0)
    return hmoec_error(diagnostics, (hmoec_location){.file = path}, "expected a request of hmoec tune");
  out->tokens = strtoll(fields[1], NULL, 10);
  out->turns = (size_t)number(fields[2]);
  out->turn_seconds = 1e-6 * number(fields[3]);
  out->pause_seconds = 1e-6 * number(fields[4]);
  snprintf(out->packed, sizeof out->packed, "%s", fields[5]);
  return true;
}

/* All threads of this process: nobody else has theirs for the time of a turn, and rests between turns leave them to others. False: this is not allowed here. */
static bool be_realtime(bool on) {
  const struct sched_param priority = {.sched_priority = on ? 1 : 0};
  DIR *threads = opendir("/proc/self/task");
  bool ok = threads != NULL;
  for (const struct dirent *thread; threads && (thread = readdir(threads));) {
    long number = strtol(thread->d_name, NULL, 10);
    if (number > 0) ok = sched_setscheduler((pid_t)number, on ? SCHED_FIFO : SCHED_OTHER, &priority) == 0 && ok;
  }
  if (threads) closedir(threads);
  return ok;
}

static long long ns(double seconds) { return (long long)(1e9 * seconds + 0.5); }

static void say_model(hmoec_trial *trial, const request *r, bool realtime) {
  hmoec_trial_machine m;
  hmoec_trial_machine_of(trial, &m);
  printf("machine\t%s\t%s\t%s\t%u\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%s\t%s\n", m.target, m.version, m.format, m.threads,
         m.cache_bytes[0], m.cache_bytes[1], m.cache_bytes[2], m.object, realtime ? "realtime" : "normal");
  hmoec_trial_knob knob;
  for (size_t i = 0; hmoec_trial_knob_at(trial, i, &knob); i++) {
    printf("knob\t%s\t%" PRId64 "\t%" PRId64 "\t", knob.name, knob.value, knob.rows_per_token);
    for (size_t v = 0; v < knob.tried_count; v++) printf("%s%" PRId64, v ? "," : "", knob.tried[v]);
    printf("\t%s\n", knob.kernel ? knob.kernel : "");
  }
  double seconds, bound;
  int hopeful = hmoec_trial_predict(trial, r->tokens, &seconds, &bound);
  printf("predict\t%" PRId64 "\t%lld\t%lld\t%d\n", r->tokens, ns(seconds), ns(bound), hopeful);
  fflush(stdout);
}

static void rest(double seconds) {
  struct timespec time = {(time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds))};
  nanosleep(&time, NULL);
}

/* One turn: otherwise, so, otherwise again. */
static bool measure_turn(hmoec_trial *trial, const request *r, const int64_t *values, double seconds[3]) {
  const int64_t *const order[3] = {NULL, values, NULL};
  bool ok = true;
  be_realtime(true);
  for (int i = 0; i < 3 && ok; i++)
    ok = hmoec_trial_run(trial, order[i], r->tokens, r->turn_seconds, r->pause_seconds, &seconds[i]) == HMOEC_OK;
  be_realtime(false);
  return ok;
}

static bool measure_candidate(hmoec_trial *trial, const request *r, size_t index, const int64_t *values) {
  double seconds[3], warm;
  printf("begin\t%zu\n", index);
  fflush(stdout);
  if (hmoec_trial_run(trial, values, r->tokens, 0, 0, &warm) != HMOEC_OK ||
      hmoec_trial_run(trial, NULL, r->tokens, 0, 0, &warm) != HMOEC_OK)
    return false;
  for (size_t t = 0; t < r->turns; t++) {
    if (!measure_turn(trial, r, values, seconds)) return false;
    printf("turn\t%zu\t%lld\t%lld\t%lld\n", index, ns(seconds[0]), ns(seconds[1]), ns(seconds[2]));
    fflush(stdout);
    rest(r->turn_seconds);
  }
  return true;
}

static bool measure_all(hmoec_trial *trial, const request *r, hmoec_diagnostics *diagnostics) {
  char line[LINE_BYTES];
  for (size_t index = 0; fgets(line, sizeof line, r->candidates); index++) {
    int64_t values[TUNE_MOST_KNOBS] = {0};
    size_t count = 0;
    for (char *at = line, *end; count < TUNE_MOST_KNOBS; at = end) {
      values[count] = strtoll(at, &end, 10);
      if (end == at) break;
      count++;
    }
    hmoec_trial_knob knob;
    if (hmoec_trial_knob_at(trial, count, &knob) || (count && !hmoec_trial_knob_at(trial, count - 1, &knob)))
      return hmoec_usage_error(diagnostics, "expected a value for each knob, found %zu", count);
    if (!measure_candidate(trial, r, index, values)) return false;
  }
  return true;
}

bool tune_child(const hmoec_arguments *arguments, const char *path, hmoec_diagnostics *diagnostics) {
  request r;
  hmoec_trial *trial = NULL;
  bool ok = request_open(path, &r, diagnostics);
  const hmoec_trial_options options = {.struct_size = sizeof options,
                                       .weights = arguments->weights,
                                       .packed = r.packed,
                                       .entry = arguments->entry,
                                       .threads = (uint32_t)arguments->threads,
                                       .seed = (uint64_t)arguments->seed};
  bool realtime = ok && be_realtime(true); /* as turns will be */
  be_realtime(false);
  ok = ok && hmoec_trial_create(arguments->model, &arguments->options, &options, &trial) == HMOEC_OK;
  if (ok) say_model(trial, &r, realtime);
  ok = ok && measure_all(trial, &r, diagnostics);
  if (ok) puts("done");
  hmoec_trial_destroy(trial);
  if (r.candidates) fclose(r.candidates);
  return ok;
}

/* ---- the parent ---- */

void tune_model_deinit(tune_model *model) {
  for (size_t i = 0; i < model->knob_count; i++) free(model->knobs[i].kernel);
  model->knob_count = 0;
}

typedef struct listener {
  const tune_job *job;
  tune_model *model;
  tune_candidate *candidates;
  size_t count, first, current, done; /* first: which candidate the child's first is */
  bool began, finished, failed, stopped;
  double begun; /* when the current one did */
  char line[LINE_BYTES];
  size_t used;
  char said[512]; /* the last line that is none of ours */
} listener;

static void take_machine(tune_model *m, char **fields) {
  snprintf(m->target, sizeof m->target, "%s", fields[1]);
  snprintf(m->version, sizeof m->version, "%s", fields[2]);
  snprintf(m->format, sizeof m->format, "%s", fields[3]);
  m->threads = strtoll(fields[4], NULL, 10);
  for (int i = 0; i < 3; i++) m->caches[i] = strtoll(fields[5 + i], NULL, 10);
  snprintf(m->object, sizeof m->object, "%s", fields[8]);
  m->realtime = strcmp(fields[9], "realtime") == 0;
}

static bool take_knob(tune_model *m, size_t number_of, char **fields) {
  if (number_of >= TUNE_MOST_KNOBS) return false;
  tune_knob *k = &m->knobs[number_of];
  *k = (tune_knob){.value = strtoll(fields[2], NULL, 10), .rows_per_token = strtoll(fields[3], NULL, 10)};
  k->base = k->value;
  snprintf(k->name, sizeof k->name, "%s", fields[1]);
  for (char *at = fields[4], *end; k->tried_count < TUNE_MOST_TRIED; at = end + 1) {
    k->tried[k->tried_count] = strtoll(at, &end, 10);
    if (end == at) break;
    k->tried_count++;
    if (*end != ',') break;
  }
  if (*fields[5] && !(k->kernel = strdup(fields[5]))) return false;
  m->knob_count = number_of + 1;
  return true;
}

static void take_turn(tune_candidate *c, char **fields) {
  double first = number(fields[2]), so = number(fields[3]), again = number(fields[4]);
  if (c->turns == TUNE_MOST_TURNS || !(first > 0 && so > 0 && again > 0)) return;
  c->gains[c->turns] = (first + again) / 2 / so;
  c->selves[c->turns] = first / again;
  c->seconds[c->turns] = 1e-9 * so;
  c->default_seconds[c->turns++] = 1e-9 * (first + again) / 2;
}

static void take_line(listener *l, char *line) {
  char *fields[MOST_FIELDS], copy[sizeof l->said];
  snprintf(copy, sizeof copy, "%s", line);
  size_t count = split_fields(line, fields), index = count > 1 ? l->first + (size_t)number(fields[1]) : 0;
  if (count == 10 && strcmp(fields[0], "machine") == 0) {
    if (l->model->knob_count == 0) take_machine(l->model, fields);
    l->began = true;
  } else if (count == 6 && strcmp(fields[0], "knob") == 0) {
    if (!l->finished && l->candidates == NULL && !take_knob(l->model, l->model->knob_count, fields)) l->failed = true;
  } else if (count == 5 && strcmp(fields[0], "predict") == 0) {
    l->model->predicted_seconds = 1e-9 * number(fields[2]);
    l->model->bound_seconds = 1e-9 * number(fields[3]);
    l->model->hopeful = number(fields[4]) > 0;
  } else if (count == 2 && strcmp(fields[0], "begin") == 0 && index < l->count) {
    l->current = index;
    l->done = index;
    l->begun = hmoec_clock_seconds();
  } else if (count == 5 && strcmp(fields[0], "turn") == 0 && index < l->count) {
    take_turn(&l->candidates[index], fields);
  } else if (count == 1 && strcmp(fields[0], "done") == 0) {
    l->finished = true;
  } else if (*copy) {
    snprintf(l->said, sizeof l->said, "%s", copy);
  }
}

static bool listen(void *context, const char *bytes, size_t size) {
  listener *l = context;
  for (size_t i = 0; i < size; i++) {
    if (bytes[i] != '\n') {
      if (l->used + 1 < LINE_BYTES) l->line[l->used++] = bytes[i];
      continue;
    }
    l->line[l->used] = 0;
    l->used = 0;
    take_line(l, l->line);
  }
  if (size == 0 && l->job->watch && !l->job->watch(l->job->watch_context, l->done)) l->stopped = true;
  bool late = l->began && l->count && hmoec_clock_seconds() - l->begun > l->job->limit_seconds;
  return !l->stopped && !late;
}

/* The candidates from `first` on that have no turns yet, for a child to read. */
static bool request_write(const tune_job *job, const tune_model *model, const tune_candidate *candidates, size_t first,
                          size_t count, const char *path, hmoec_diagnostics *diagnostics) {
  FILE *file = fopen(path, "we");
  if (!file) return hmoec_machine_error(diagnostics, "cannot write %s: %s", path, strerror(errno));
  fprintf(file, "run\t%lld\t%zu\t%lld\t%lld\t%s/packed.hmw\n", (long long)job->tokens, job->turns,
          (long long)(1e6 * job->turn_seconds), (long long)(1e6 * job->pause_seconds), job->directory);
  for (size_t i = first; i < count; i++) {
    for (size_t k = 0; k < model->knob_count; k++) fprintf(file, "%s%lld", k ? " " : "", (long long)candidates[i].values[k]);
    fputc('\n', file);
  }
  return fclose(file) == 0 || hmoec_machine_error(diagnostics, "cannot write %s: %s", path, strerror(errno));
}

/* This command line again, with the request. */
static const char **child_arguments(const hmoec_arguments *arguments, const char *request) {
  const char **list = calloc((size_t)arguments->argc + 5, sizeof *list);
  size_t count = 0;
  if (!list) return NULL;
  list[count++] = "hmoec";
  list[count++] = "tune";
  for (int i = 0; i < arguments->argc; i++) list[count++] = arguments->argv[i];
  list[count++] = "--measure";
  list[count++] = request;
  return list;
}

/* One child, for candidates from l->first on. */
static bool run_child(listener *l, hmoec_diagnostics *diagnostics) {
  char path[4096];
  snprintf(path, sizeof path, "%s/request", l->job->directory);
  if (!request_write(l->job, l->model, l->candidates, l->first, l->count, path, diagnostics)) return false;
  const char **arguments = child_arguments(l->job->arguments, path);
  if (!arguments) return no_memory(diagnostics);
  const hmoec_program program = {
      .path = "/proc/self/exe", .arguments = arguments, .errors_too = true, .watch = listen, .watch_context = l};
  hmoec_answer answer;
  l->began = l->finished = l->stopped = false;
  l->used = 0;
  l->begun = hmoec_clock_seconds();
  int error = hmoec_program_run(&program, MOST_ANSWER, INT64_C(86400000), &answer);
  free(answer.bytes);
  free(arguments);
  if (error) return hmoec_machine_error(diagnostics, "cannot start a child of hmoec tune: %s", strerror(error));
  return true;
}

bool tune_list(const tune_job *job, tune_model *out_model, hmoec_diagnostics *diagnostics) {
  *out_model = (tune_model){.knob_count = 0};
  listener l = {.job = job, .model = out_model};
  if (!run_child(&l, diagnostics)) return false;
  if (l.finished && !l.failed) return true;
  if (l.stopped) return hmoec_error(diagnostics, (hmoec_location){0}, "interrupted before anything was measured");
  return hmoec_error(diagnostics, (hmoec_location){.file = job->arguments->model}, "cannot be measured%s%s", *l.said ? ": " : "",
                     l.said);
}

bool tune_measure(const tune_job *job, tune_model *model, tune_candidate *candidates, size_t count,
                  hmoec_diagnostics *diagnostics) {
  listener l = {.job = job, .model = model, .candidates = candidates, .count = count};
  int useless = 0;
  while (l.first < count) {
    l.current = l.first;
    if (!run_child(&l, diagnostics)) return false;
    if (l.finished || l.stopped) return true;
    if (!l.began && ++useless == 3)
      return hmoec_error(diagnostics, (hmoec_location){.file = job->arguments->model}, "can no longer be measured%s%s",
                         *l.said ? ": " : "", l.said);
    if (!l.began) continue;
    candidates[l.current].failed = true;
    l.first = l.current + 1;
  }
  return true;
}

/* ---- ratios ---- */

/* How many of `count` order statistics may be left out on either side: the chance that the true median lies outside is at most 5 %. */
static size_t left_out(size_t count) {
  double chance = 1, tail = 0;
  for (size_t i = 0; i < count; i++) chance /= 2;
  for (size_t k = 0; k < count / 2; k++) {
    tail += chance;
    if (2 * tail > 0.05) return k ? k - 1 : 0;
    chance *= (double)(count - k) / (double)(k + 1);
  }
  return 0;
}

tune_interval tune_interval_of(const double *ratios, size_t count) {
  double sorted[TUNE_MOST_TURNS];
  if (count == 0) return (tune_interval){0, 0, 0};
  memcpy(sorted, ratios, count * sizeof *sorted);
  hmoec_sort(sorted, count);
  size_t out = left_out(count);
  return (tune_interval){sorted[out], hmoec_median(sorted, count), sorted[count - 1 - out]};
}

double tune_median(const double *values, size_t count) { return tune_interval_of(values, count).median; }

bool tune_is_better(const tune_candidate *candidate) {
  enum { LEAST_TURNS = 6 }; /* fewer have no interval of 95 % */
  if (candidate->failed || candidate->turns < LEAST_TURNS) return false;
  tune_interval gain = tune_interval_of(candidate->gains, candidate->turns),
                self = tune_interval_of(candidate->selves, candidate->turns);
  return gain.low > 1 && gain.low > self.high;
}
