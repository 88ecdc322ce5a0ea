/* The machine's numbers, as kernels reach them: small graphs are compiled by the library and run, and what they take is taken apart by what the model of
 * times is made of (docs/tuning.md). Every time is the lower quartile of its repeats, which others on the machine disturb least. What no small graph shows
 * alone (keys of attention, grouping) is derived, or left to the machine that is assumed. */
#include "commands/machine.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands/ceilings.h"
#include "plain_text.h"
#include "support/clock.h"
#include "support/paths.h"
#include "support/statistics.h"
#include "tuning/database.h"

enum { REPEATS = 41, MOST_NUMBERS = 64, NAME_CHARS = 64 };
/* Of products, and of rows: few and many. */
static const int64_t SIZE = 512, SHALLOW = 64, LARGE = 2048, WIDE = 768, FEW = 40, MANY = 200;
static const double TURN = 40e-6, BUSY = 1e-3;

typedef struct numbers {
  hmoec_diagnostics *diagnostics;
  char names[MOST_NUMBERS][NAME_CHARS];
  hmoec_tuning_number list[MOST_NUMBERS];
  size_t count;
} numbers;

/* False: it is no number that a machine has. */
static bool set(numbers *n, const char *name, const char *version, double value, double least, double most) {
  char *to = n->names[n->count];
  snprintf(to, NAME_CHARS, "%s%s%s", name, version ? "." : "", version ? version : "");
  if (!(value >= least && value <= most))
    return hmoec_machine_error(n->diagnostics, "cannot measure this machine: %s would be %g, expected %g to %g; is it very busy?",
                               to, value, least, most);
  char digits[NAME_CHARS];
  hmoe_plain_format(digits, sizeof digits, "%.4g", value); /* more are noise */
  n->list[n->count++] = (hmoec_tuning_number){to, hmoe_plain_number(digits, NULL)};
  return true;
}

static double quartile(double *values, size_t count) {
  hmoec_sort(values, count);
  return values[count / 4];
}

/* ---- graphs ---- */

typedef struct graph_case {
  const char *what; /* "linear", an activation, "norm", "route" */
  int64_t columns, out; /* of a linear; of route: top_k */
  const char *dtype, *version;
  int64_t threads;
} graph_case;

typedef struct subject {
  hmoec_compilation *compilation;
  hmoe_model *model;
} subject;

static void quiet(void *context, const hmoec_message *message) { (void)context, (void)message; }

static hmoec_graph_value build(hmoec_graph *g, const graph_case *c) {
  hmoec_graph_value x = hmoec_graph_input(g, "x", HMOEC_SHAPE(HMOEC_F32, HMOEC_DYNAMIC, c->columns));
  if (strcmp(c->what, "linear") == 0)
    return hmoec_graph_linear(g, x, hmoec_graph_parameter(g, "w", HMOEC_SHAPE(HMOEC_F32, c->out, c->columns)), HMOEC_NONE);
  if (strcmp(c->what, "norm") == 0)
    return hmoec_graph_rms_norm(g, x, hmoec_graph_parameter(g, "w", HMOEC_SHAPE(HMOEC_F32, c->columns)), 1e-6);
  if (strcmp(c->what, "route") == 0) return hmoec_graph_route(g, x, c->out, "softmax_then_topk", 0, 0).gates;
  return hmoec_graph_activate(g, x, c->what);
}

/* False: not on this machine. */
static bool subject_open(subject *s, const graph_case *c, hmoec_diagnostics *diagnostics) {
  hmoec_options options = {.struct_size = sizeof options, .dtype = c->dtype, .cpu = c->version, .message = quiet};
  hmoec_graph *graph = NULL;
  hmoec_temporary weights = {.path = ""};
  *s = (subject){NULL, NULL};
  bool ok = hmoec_temporary_open("machine", &weights, diagnostics) && hmoec_graph_create("machine", &options, &graph) == HMOEC_OK;
  if (ok) hmoec_graph_output(graph, "y", build(graph, c));
  hmoe_options open = {.struct_size = sizeof open, .threads = (uint32_t)c->threads, .cpu = c->version};
  ok = ok && hmoec_compile_graph(graph, &options, &s->compilation) == HMOEC_OK &&
       hmoec_compilation_random_weights(s->compilation, 1, weights.path) == HMOEC_OK &&
       hmoec_compilation_open(s->compilation, &(hmoe_weights){.path = weights.path}, &open, &s->model) == HMOEC_OK;
  hmoec_temporary_close(&weights);
  hmoec_graph_destroy(graph);
  return ok;
}

static void subject_close(subject *s) {
  hmoe_model_close(s->model);
  hmoec_compilation_destroy(s->compilation);
}

/* Seconds of a run on so many rows; 0: it failed. */
static double seconds_of(subject *s, const graph_case *c, int64_t rows) {
  double times[REPEATS];
  size_t out = (size_t)(c->out > c->columns ? c->out : c->columns);
  float *x = calloc((size_t)(rows * c->columns), sizeof *x), *y = calloc((size_t)rows * out, sizeof *y);
  bool ok = x && y;
  for (int64_t i = 0; ok && i < rows * c->columns; i++) x[i] = (float)((i * 7919) % 2003) / 1001.5f - 1;
  const void *const inputs[] = {x};
  void *const outputs[] = {y};
  double once = 0;
  for (int warm = 0; ok && warm < 3; warm++) {
    double begin = hmoec_clock_seconds();
    ok = hmoe_model_run(s->model, 1, &rows, inputs, outputs) == HMOE_OK;
    once = hmoec_clock_seconds() - begin;
  }
  int runs = once < TURN ? (int)(TURN / (once > 1e-9 ? once : 1e-9)) + 1 : 1, repeats = once < BUSY ? REPEATS : REPEATS / 4;
  for (int r = 0; ok && r < repeats; r++) {
    double begin = hmoec_clock_seconds();
    for (int i = 0; ok && i < runs; i++) ok = hmoe_model_run(s->model, 1, &rows, inputs, outputs) == HMOE_OK;
    times[r] = (hmoec_clock_seconds() - begin) / runs;
  }
  free(x);
  free(y);
  if (!ok) return 0;
  return quartile(times, (size_t)repeats);
}

/* Of one graph at several numbers of rows; false: it does not run here. */
static bool times_of(const graph_case *c, const int64_t *rows, size_t count, double *out, hmoec_diagnostics *diagnostics) {
  subject s;
  bool ok = subject_open(&s, c, diagnostics);
  for (size_t i = 0; ok && i < count; i++) ok = (out[i] = seconds_of(&s, c, rows[i])) > 0;
  subject_close(&s);
  return ok;
}

/* ---- products ---- */

/* A row tile of r rows takes (r + tile) / rate: from 4 rows to 12; where these take alike, tiles are higher than that, and many rows say the rate. */
static bool products(numbers *n, const char *version, bool bf16, double *out_sums, bool *out_runs) {
  static const int64_t rows[] = {1, 4, 12, 64};
  graph_case c = {"linear", SIZE, SIZE, bf16 ? "bf16" : "f32", version, 1};
  double t[4], shallow[4], flops = 2.0 * (double)(SIZE * SIZE), bytes = (bf16 ? 2.0 : 4.0) * (double)(SIZE * SIZE);
  *out_runs = times_of(&c, rows, 4, t, n->diagnostics);
  c.columns = SHALLOW;
  *out_runs = *out_runs && times_of(&c, rows, 4, shallow, n->diagnostics);
  if (!*out_runs) return true;
  bool high = t[2] < 1.7 * t[1];
  double row = high ? t[3] / 64 : (t[2] - t[1]) / 8, tile = high ? 0 : fmax(0, t[1] / row - 4);
  /* An eighth of the depth has an eighth of the arithmetic, and all of the sums. */
  double depth = (double)SIZE / (double)SHALLOW;
  *out_sums = 1e9 * fmax(0, depth * shallow[3] - t[3]) / (depth - 1) / 64 / ((double)SIZE / 32);
  return set(n, bf16 ? "flops_bf16" : "flops", version, 1e-9 * flops / row, 0.1, 1e5) &&
         set(n, bf16 ? "tile_bf16" : "tile", version, fmin(tile, 8), 0, 8) &&
         set(n, bf16 ? "read_bf16" : "read", version, 1e-9 * bytes / t[0], 0.1, 1e5);
}

/* The numbers of f32 of one version, as those of another. */
static bool as_in_f32(numbers *n, const char *of, const char *version) {
  static const char *const names[] = {"flops", "tile", "read"};
  size_t count = n->count;
  for (size_t i = 0; i < count; i++)
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
      size_t length = strlen(names[k]);
      if (strncmp(n->list[i].name, names[k], length) != 0 || n->list[i].name[length] != '.' ||
          strcmp(n->list[i].name + length + 1, of) != 0)
        continue;
      if (!set(n, names[k], version, n->list[i].value, 0, HUGE_VAL)) return false;
    }
  return true;
}

/* ---- threads ---- */

typedef struct pair_of_threads {
  _Atomic int turn; /* odd: the other's */
  _Atomic bool stop;
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  bool go;
  double awake_at;
} pair_of_threads;

static void *spin_back(void *context) {
  pair_of_threads *p = context;
  while (!atomic_load(&p->stop)) {
    int turn = atomic_load(&p->turn);
    if (turn & 1) atomic_store(&p->turn, turn + 1);
  }
  return NULL;
}

static void *sleep_once(void *context) {
  pair_of_threads *p = context;
  pthread_mutex_lock(&p->mutex);
  while (!p->go) pthread_cond_wait(&p->wake, &p->mutex);
  p->awake_at = hmoec_clock_seconds();
  pthread_mutex_unlock(&p->mutex);
  return NULL;
}

/* There and back between two threads that wait awake; what waking one takes its waker, and until it runs. In microseconds. */
static bool sharing(numbers *n) {
  double back[REPEATS], wake[REPEATS], asleep[REPEATS];
  enum { ROUNDS = 200 };
  pair_of_threads p = {.turn = 0};
  pthread_t other;
  if (pthread_create(&other, NULL, spin_back, &p)) return hmoec_machine_error(n->diagnostics, "cannot start a thread");
  for (int r = 0; r < REPEATS; r++) {
    double begin = hmoec_clock_seconds();
    for (int i = 0; i < ROUNDS; i++) {
      atomic_fetch_add(&p.turn, 1);
      while (atomic_load(&p.turn) & 1) continue;
    }
    back[r] = (hmoec_clock_seconds() - begin) / (double)ROUNDS;
  }
  atomic_store(&p.stop, true);
  pthread_join(other, NULL);
  for (int r = 0; r < REPEATS; r++) {
    p.go = false;
    pthread_mutex_init(&p.mutex, NULL);
    pthread_cond_init(&p.wake, NULL);
    if (pthread_create(&other, NULL, sleep_once, &p)) return hmoec_machine_error(n->diagnostics, "cannot start a thread");
    usleep(2000); /* it is asleep by then */
    double begin = hmoec_clock_seconds();
    pthread_mutex_lock(&p.mutex);
    p.go = true;
    pthread_cond_broadcast(&p.wake);
    pthread_mutex_unlock(&p.mutex);
    double called = hmoec_clock_seconds();
    pthread_join(other, NULL);
    wake[r] = called - begin;
    asleep[r] = fmax(0, p.awake_at - begin);
    pthread_cond_destroy(&p.wake);
    pthread_mutex_destroy(&p.mutex);
  }
  return set(n, "barrier", NULL, 1e6 * 1.5 * quartile(back, REPEATS), 0.001, 1e4) &&
         set(n, "wake", NULL, 1e6 * quartile(wake, REPEATS), 0.001, 1e5) &&
         set(n, "asleep", NULL, 1e6 * quartile(asleep, REPEATS), 0.001, 1e5);
}

/* ---- rows, and bandwidths ---- */

/* Seconds of a row of one of many. */
static bool row_seconds(const graph_case *c, double *out, hmoec_diagnostics *diagnostics) {
  const int64_t rows[] = {FEW, MANY};
  double t[2];
  if (!times_of(c, rows, 2, t, diagnostics)) return false;
  *out = fmax(0, t[1] - t[0]) / (double)(MANY - FEW);
  return true;
}

static bool rows_of_values(numbers *n, const char *version) {
  double copy, silu, norm, one, eight, narrow;
  static const int64_t single = 1;
  bool ok = row_seconds(&(graph_case){"relu", WIDE, 0, "f32", version, 1}, &copy, n->diagnostics) &&
            row_seconds(&(graph_case){"silu", WIDE, 0, "f32", version, 1}, &silu, n->diagnostics) &&
            row_seconds(&(graph_case){"norm", WIDE, 0, "f32", version, 1}, &norm, n->diagnostics) &&
            row_seconds(&(graph_case){"route", 64, 1, "f32", version, 1}, &one, n->diagnostics) &&
            row_seconds(&(graph_case){"route", 64, 8, "f32", version, 1}, &eight, n->diagnostics) &&
            times_of(&(graph_case){"linear", SIZE, 8, "f32", version, 1}, &single, 1, &narrow, n->diagnostics);
  if (!ok) return hmoec_machine_error(n->diagnostics, "cannot run what measures this machine: %s", hmoe_last_error());
  double function = 1e9 * fmax(0, silu - copy) / (double)WIDE;
  return set(n, "element", NULL, 1e9 * copy / (double)WIDE, 1e-4, 1e3) &&
         set(n, "norm", NULL, 1e9 * norm / (double)WIDE, 1e-4, 1e3) && set(n, "function", NULL, function, 1e-4, 1e3) &&
         set(n, "pick", NULL, 1e9 * (eight - one) / 7, 1e-3, 1e5) &&
         set(n, "latency", NULL, 1e9 * narrow / (double)SIZE, 1e-3, 1e3) && set(n, "query", NULL, 100 * function, 1e-3, 1e6) &&
         set(n, "keys", NULL, 67 * function, 1e-3, 1e6) && set(n, "grouped", NULL, 40 * 1e9 * copy / (double)WIDE, 1e-3, 1e6) &&
         set(n, "step", NULL, 0.1, 0, 1);
}

static bool bandwidths(numbers *n, const char *version, int64_t threads) {
  static const int64_t single = 1;
  double t, bytes = 4.0 * (double)(LARGE * LARGE);
  if (!times_of(&(graph_case){"linear", LARGE, LARGE, "f32", version, threads}, &single, 1, &t, n->diagnostics))
    return hmoec_machine_error(n->diagnostics, "cannot run what measures this machine: %s", hmoe_last_error());
  return set(n, "read_l3", NULL, 1e-9 * bytes / t / (double)threads, 0.05, 1e4) &&
         set(n, "read_memory", NULL, hmoec_ceiling_gigabytes_per_second(1), 0.05, 1e4) &&
         set(n, "read_shared", NULL, hmoec_ceiling_gigabytes_per_second((size_t)threads) / (double)threads, 0.05, 1e4);
}

/* ---- what it is called ---- */

static void processor_name(char *out, size_t size) {
  char line[512];
  FILE *file = fopen("/proc/cpuinfo", "r");
  snprintf(out, size, "this machine");
  while (file && fgets(line, sizeof line, file)) {
    const char *value = strchr(line, ':');
    if (strncmp(line, "model name", 10) != 0 || !value) continue;
    while (*++value == ' ' || *value == '\t') continue;
    size_t used = 0;
    for (; *value && *value != '\n' && used + 1 < size; value++)
      if (*value >= ' ' && *value <= '~') out[used++] = *value;
    out[used] = 0;
    break;
  }
  if (file) fclose(file);
}

static bool keep(const hmoec_arguments *arguments, const hmoec_tuning_machine *machine, hmoec_diagnostics *diagnostics) {
  hmoec_tuning tuning;
  hmoec_tuning_init(&tuning);
  bool ok = access(arguments->output, F_OK) != 0 || hmoec_tuning_read(&tuning, arguments->output, diagnostics);
  if (ok && machine && !hmoec_tuning_put_machine(&tuning, machine))
    ok = hmoec_machine_error(diagnostics, "no tuning file can have this machine");
  ok = ok && (!machine || hmoec_tuning_write(&tuning, arguments->output, diagnostics));
  hmoec_tuning_deinit(&tuning);
  return ok;
}

bool hmoec_machine_measure(const hmoec_arguments *arguments, hmoec_diagnostics *diagnostics) {
  if (arguments->output && !keep(arguments, NULL, diagnostics)) return false;
  numbers *n = calloc(1, sizeof *n);
  if (!n) return hmoec_machine_error(diagnostics, "out of memory");
  n->diagnostics = diagnostics;
  char name[96];
  const char *version, *best = NULL, *plain = NULL;
  double sums = 0, best_sums = 0, best_sums_bf16 = 0;
  bool ok = true;
  int64_t threads = arguments->threads > 0 ? arguments->threads : (int64_t)sysconf(_SC_NPROCESSORS_ONLN);
  /* The best comes first. Code for products in bf16 computes those in f32 as the best version for these does. */
  const char *others[MOST_NUMBERS];
  size_t other_count = 0;
  for (size_t v = 0; ok && (version = hmoec_option_value("cpu", v)); v++) {
    bool in_f32, in_bf16 = false;
    fprintf(stderr, "products, %s code\n", version);
    ok = products(n, version, false, &sums, &in_f32);
    if (in_f32 && !plain) {
      plain = version;
      best_sums = sums;
      for (size_t i = 0; ok && i < other_count; i++) ok = as_in_f32(n, plain, others[i]);
    }
    ok = ok && products(n, version, true, &sums, &in_bf16);
    if (in_bf16 && !(best_sums_bf16 > 0)) best_sums_bf16 = sums;
    if (!best && (in_f32 || in_bf16)) best = version;
    if (in_bf16 && !in_f32 && other_count < MOST_NUMBERS) others[other_count++] = version;
  }
  if (ok && !(best && plain)) ok = hmoec_machine_error(diagnostics, "cannot run what measures this machine: %s", hmoe_last_error());
  ok = ok && set(n, "sums", NULL, best_sums, 0, 1e4) && set(n, "sums_bf16", NULL, best_sums_bf16, 0, 1e4);
  if (ok) fprintf(stderr, "rows\n");
  ok = ok && rows_of_values(n, plain);
  if (ok) fprintf(stderr, "threads and memory\n");
  ok = ok && sharing(n) && bandwidths(n, plain, threads);
  processor_name(name, sizeof name);
  const long caches[] = {sysconf(_SC_LEVEL1_DCACHE_SIZE), sysconf(_SC_LEVEL2_CACHE_SIZE), sysconf(_SC_LEVEL3_CACHE_SIZE)};
  hmoec_tuning_machine machine = {.name = name,
                                  .place = {.target = "cpu", .version = best, .threads = threads, .cache_count = 3},
                                  .number_count = n->count,
                                  .numbers = n->list};
  for (int i = 0; i < 3; i++) machine.place.caches[i] = caches[i] > 0 ? caches[i] : 0;
  if (ok && arguments->output) ok = keep(arguments, &machine, diagnostics);
  if (ok) printf("%s, %s code, %lld threads\n", name, best, (long long)threads);
  for (size_t i = 0; ok && i < n->count; i++) hmoe_plain_print(stdout, "%-24s %12.4g\n", n->list[i].name, n->list[i].value);
  free(n);
  return ok;
}
