/* Runs of one layer with pauses between them, in turns: what waking threads costs, and what it saves.
 *   pauses WEIGHTS D_MODEL TOKENS,.. MICROSECONDS,.. LIBRARY[:THREADS] ..
 * A library holds hypermoe_layer and the runtime; each of them is opened on its threads (0: all). Prints microseconds of a run, the median of turns'
 * medians, a column a library, and the first of them against the best of the others. Between runs the caller computes, as an application would. */
#include <dlfcn.h>
#include <hmoe/abi.h>
#include <hmoe/runtime.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MODES = 8, TURNS = 15, RUNS = 300, WARM = 12, TURN_US = 10000, LIST = 32 };

typedef struct mode {
  hmoe_model *model;
  hmoe_status (*run)(hmoe_model *, uint32_t, const int64_t *, const void *const *, void *const *);
  const char *(*error)(void);
  double turns[TURNS];
} mode;

static double now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec * 1e-3;
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *values, int count) {
  qsort(values, (size_t)count, sizeof *values, compare);
  return values[count / 2];
}

static int read_list(char *text, long long *values) {
  int count = 0;
  for (char *word = strtok(text, ","); word && count < LIST; word = strtok(NULL, ",")) values[count++] = atoll(word);
  return count;
}

static bool open_mode(mode *m, char *name, const char *path) {
  char *colon = strrchr(name, ':');
  if (colon) *colon = 0;
  void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (!library) return fprintf(stderr, "pauses: %s\n", dlerror()), false;
  hmoe_status (*open)(const hmoe_model_object *, const hmoe_weights *, const hmoe_options *, hmoe_model **);
  *(void **)&open = dlsym(library, "hmoe_model_open");
  *(void **)&m->run = dlsym(library, "hmoe_model_run");
  *(void **)&m->error = dlsym(library, "hmoe_last_error");
  const void *object = dlsym(library, "hypermoe_layer_object");
  if (!open || !m->run || !m->error || !object) return fprintf(stderr, "pauses: %s has no layer\n", name), false;
  hmoe_options options = {.struct_size = sizeof options, .threads = colon ? (uint32_t)atoi(colon + 1) : 0};
  hmoe_weights weights = {.kind = HMOE_WEIGHTS_PATH, .path = path};
  if (open(object, &weights, &options, &m->model) == HMOE_OK) return true;
  return fprintf(stderr, "pauses: %s\n", m->error()), false;
}

/* Median of a turn's runs, in microseconds. */
static double take_turn(const mode *m, int64_t tokens, double pause, const float *x, float *y) {
  static double taken[RUNS];
  double begin = now_us();
  int count = 0;
  for (int i = 0; count < RUNS && (count < 9 || now_us() - begin < (double)TURN_US); i++) {
    double start = now_us();
    if (m->run(m->model, 1, &tokens, (const void *const[]){x}, (void *const[]){y}) != HMOE_OK) {
      fprintf(stderr, "pauses: %s\n", m->error());
      exit(1);
    }
    double end = now_us();
    if (i >= WARM) taken[count++] = end - start;
    while (now_us() - end < pause) {}
  }
  return median(taken, count);
}

int main(int argument_count, char **arguments) {
  static mode modes[MODES];
  long long tokens[LIST], pauses[LIST], most = 0;
  int count = argument_count - 5;
  if (count < 1 || count > MODES) return 2;
  int d_model = atoi(arguments[2]), token_count = read_list(arguments[3], tokens), pause_count = read_list(arguments[4], pauses);
  for (int i = 0; i < count; i++)
    if (!open_mode(&modes[i], arguments[5 + i], arguments[1])) return 1;
  for (int i = 0; i < token_count; i++) most = tokens[i] > most ? tokens[i] : most;
  size_t elements = (size_t)most * (size_t)d_model;
  float *x = malloc(elements * sizeof *x), *y = malloc(elements * sizeof *y);
  if (!x || !y) return 1;
  uint32_t random = 1;
  for (size_t i = 0; i < elements; i++) {
    random = random * 1664525u + 1013904223u;
    x[i] = (float)(int32_t)random / 2147483648.0f;
  }
  for (int t = 0; t < token_count; t++)
    for (int p = 0; p < pause_count; p++) {
      for (int turn = 0; turn < TURNS; turn++)
        for (int i = 0; i < count; i++) {
          mode *m = &modes[(i + turn) % count];
          m->turns[turn] = take_turn(m, tokens[t], (double)pauses[p], x, y);
        }
      double mine = median(modes[0].turns, TURNS), best = 0;
      printf("%4lld tokens, pause %3lld us: %8.1f", tokens[t], pauses[p], mine);
      for (int i = 1; i < count; i++) {
        double other = median(modes[i].turns, TURNS);
        printf(" %8.1f", other);
        if (i == 1 || other < best) best = other;
      }
      if (count > 1) printf("   %.2f", best / mine);
      printf("\n");
      fflush(stdout);
    }
  return 0;
}
