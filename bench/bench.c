/* Compares, in one process and by turns: the compiled moe_layer and hypermoe_layer, and the layer written on OpenBLAS.
 *
 *   bench WEIGHTS.safetensors OUT.json THREADS TOKENS...
 *
 * One weights file serves all three. Each turn gives every contender the same inputs; the order of turns alternates, a pause before
 * each lets the threads of the last one go to sleep, and its first run is not counted. Inputs change from run to run, so that with few
 * tokens the experts change too and weights come from memory, as they do between the layers of a model. Times are medians. */
#include "commands/ceilings.h"
#include "hypermoe_layer.h"
#include "moe_layer.h"
#include "openblas_layer.h"

#include <cblas.h>
#include <cjson/cJSON.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TURNS = 9, MAX_RUNS_A_TURN = 64, INPUTS = 16, MAX_SAMPLES = TURNS * MAX_RUNS_A_TURN };
static const double turn_seconds = 0.25, pause_seconds = 0.05;

typedef enum contender { OURS_MOE, OURS_HYPERMOE, OPENBLAS_BY_PRODUCT, OPENBLAS_BY_EXPERT, CONTENDERS } contender;

static const char *const contender_names[CONTENDERS] = {"moe_layer", "hypermoe_layer", "openblas_by_product", "openblas_by_expert"};

typedef struct bench {
  moe_layer *moe;
  hypermoe_layer *hypermoe;
  openblas_layer *openblas;
  size_t max_tokens, d_model;
  float *inputs; /* [INPUTS][max_tokens][d_model] */
  float *y[CONTENDERS];
} bench;

typedef struct sample {
  double seconds[CONTENDERS][MAX_SAMPLES];
  size_t count[CONTENDERS];
} sample;

static double now_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int compare_doubles(const void *left, const void *right) {
  double a = *(const double *)left, b = *(const double *)right;
  return (a > b) - (a < b);
}

/* Of sorted values. */
static double median(const double *values, size_t count) {
  return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* Uniform in [-1, 1): an LCG, so that every machine sees the same tokens. */
static void fill(float *values, size_t count) {
  uint64_t state = 1;
  for (size_t i = 0; i < count; i++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    values[i] = (float)(int32_t)(state >> 32) * 0x1p-31f;
  }
}

static hmoe_status run_one(bench *b, contender who, size_t tokens, size_t input) {
  const float *x = b->inputs + input * b->max_tokens * b->d_model;
  float *y = b->y[who];
  switch (who) {
  case OURS_MOE: return moe_layer_run(b->moe, &(moe_layer_args){.tokens = (int64_t)tokens, .x = x, .y = y});
  case OURS_HYPERMOE: return hypermoe_layer_run(b->hypermoe, &(hypermoe_layer_args){.tokens = (int64_t)tokens, .x = x, .y = y});
  default: openblas_layer_run(b->openblas, tokens, x, y); return HMOE_OK;
  }
}

static hmoe_status take_turn(bench *b, contender who, size_t tokens, sample *into) {
  struct timespec pause = {.tv_nsec = (long)(pause_seconds * 1e9)};
  nanosleep(&pause, NULL);
  if (who == OPENBLAS_BY_PRODUCT || who == OPENBLAS_BY_EXPERT)
    openblas_layer_set_threading(b->openblas, who == OPENBLAS_BY_PRODUCT ? OPENBLAS_INNER : OPENBLAS_OUTER);
  hmoe_status status = run_one(b, who, tokens, 0);
  double start = now_seconds();
  for (size_t i = 0; i < MAX_RUNS_A_TURN && !status && now_seconds() - start < turn_seconds; i++) {
    double begin = now_seconds();
    status = run_one(b, who, tokens, (i + 1) % INPUTS);
    into->seconds[who][into->count[who]++] = now_seconds() - begin;
  }
  return status;
}

/* max |a - b| / max |b| of the contenders' results on one input. */
static double difference(const float *a, const float *b, size_t count) {
  double largest = 0, apart = 0;
  for (size_t i = 0; i < count; i++) {
    largest = fmax(largest, fabs((double)b[i]));
    apart = fmax(apart, fabs((double)a[i] - (double)b[i]));
  }
  return largest > 0 ? apart / largest : apart;
}

/* Experts that a run uses, on average over the inputs: what it must read. */
static double mean_experts_used(bench *b, size_t tokens) {
  size_t used = 0;
  for (size_t input = 0; input < INPUTS; input++) {
    (void)run_one(b, OPENBLAS_BY_PRODUCT, tokens, input);
    used += openblas_layer_experts_used(b->openblas);
  }
  return (double)used / (double)INPUTS;
}

static hmoe_status measure(bench *b, size_t tokens, cJSON *out) {
  static sample samples;
  memset(&samples, 0, sizeof samples);
  hmoe_status status = HMOE_OK;
  for (contender who = 0; who < CONTENDERS && !status; who++) status = run_one(b, who, tokens, 0);
  if (status) return status;
  double apart = difference(b->y[OURS_MOE], b->y[OPENBLAS_BY_PRODUCT], tokens * b->d_model);

  for (int turn = 0; turn < TURNS && !status; turn++)
    for (int i = 0; i < CONTENDERS && !status; i++)
      status = take_turn(b, (contender)(turn % 2 ? CONTENDERS - 1 - i : i), tokens, &samples);
  if (status) return status;

  cJSON *row = cJSON_CreateObject();
  cJSON_AddNumberToObject(row, "tokens", (double)tokens);
  cJSON_AddNumberToObject(row, "difference", apart);
  cJSON_AddNumberToObject(row, "experts_used", mean_experts_used(b, tokens));
  cJSON *seconds = cJSON_AddObjectToObject(row, "median_seconds"), *fastest = cJSON_AddObjectToObject(row, "fastest_seconds");
  for (contender who = 0; who < CONTENDERS; who++) {
    qsort(samples.seconds[who], samples.count[who], sizeof(double), compare_doubles);
    cJSON_AddNumberToObject(seconds, contender_names[who], median(samples.seconds[who], samples.count[who]));
    cJSON_AddNumberToObject(fastest, contender_names[who], samples.seconds[who][0]);
  }
  cJSON_AddItemToArray(out, row);
  fprintf(stderr, "%6zu tokens: moe %.3f ms, hypermoe %.3f ms, openblas %.3f / %.3f ms\n", tokens,
          1e3 * cJSON_GetObjectItem(seconds, contender_names[OURS_MOE])->valuedouble,
          1e3 * cJSON_GetObjectItem(seconds, contender_names[OURS_HYPERMOE])->valuedouble,
          1e3 * cJSON_GetObjectItem(seconds, contender_names[OPENBLAS_BY_PRODUCT])->valuedouble,
          1e3 * cJSON_GetObjectItem(seconds, contender_names[OPENBLAS_BY_EXPERT])->valuedouble);
  return HMOE_OK;
}

static int write_json(const cJSON *report, const char *path) {
  char *text = cJSON_Print(report);
  FILE *file = text ? fopen(path, "w") : NULL;
  int fine = file && fputs(text, file) >= 0 && fputc('\n', file) >= 0;
  if (file && fclose(file)) fine = 0;
  cJSON_free(text);
  if (!fine) perror(path);
  return fine;
}

int main(int argument_count, char **arguments) {
  if (argument_count < 5) {
    fprintf(stderr, "usage: bench WEIGHTS.safetensors OUT.json THREADS TOKENS...\n");
    return 2;
  }
  const char *weights = arguments[1];
  uint32_t threads = (uint32_t)strtoul(arguments[3], NULL, 10);
  bench b = {0};
  for (int i = 4; i < argument_count; i++) {
    size_t tokens = strtoul(arguments[i], NULL, 10);
    if (tokens > b.max_tokens) b.max_tokens = tokens;
  }

  int status = 1;
  cJSON *report = cJSON_CreateObject();
  hmoe_options options = {.struct_size = sizeof options, .threads = threads};
  if (moe_layer_open(weights, &options, &b.moe) || hypermoe_layer_open(weights, &options, &b.hypermoe)) goto failed;
  b.openblas = openblas_layer_open(weights, b.max_tokens, threads);
  if (!b.openblas) goto done;
  b.d_model = openblas_layer_d_model(b.openblas);
  size_t floats = b.max_tokens * b.d_model;
  b.inputs = malloc(INPUTS * floats * sizeof(float));
  int have_memory = b.inputs != NULL;
  for (int i = 0; i < CONTENDERS; i++) have_memory &= (b.y[i] = calloc(floats, sizeof(float))) != NULL;
  if (!have_memory) {
    fprintf(stderr, "bench: out of memory\n");
    goto done;
  }
  fill(b.inputs, INPUTS * floats);

  const char *cpu = hmoe_model_cpu((hmoe_model *)b.moe);
  cJSON_AddStringToObject(report, "cpu_version", cpu);
  cJSON_AddStringToObject(report, "openblas", openblas_get_config());
  cJSON_AddNumberToObject(report, "threads", threads);
  cJSON_AddNumberToObject(report, "d_model", (double)b.d_model);
  cJSON_AddNumberToObject(report, "d_ff", (double)openblas_layer_d_ff(b.openblas));
  cJSON_AddNumberToObject(report, "experts", (double)openblas_layer_experts(b.openblas));
  nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL); /* the peer's threads stop spinning */
  double gflops = hmoec_ceiling_gflops(cpu, threads), gigabytes = hmoec_ceiling_gigabytes_per_second(threads);
  cJSON *rows = cJSON_AddArrayToObject(report, "rows");
  for (int i = 4; i < argument_count; i++)
    if (measure(&b, strtoul(arguments[i], NULL, 10), rows)) goto failed;
  /* Before and after: a ceiling measured in a disturbed moment would be none. */
  cJSON_AddNumberToObject(report, "peak_gflops", fmax(gflops, hmoec_ceiling_gflops(cpu, threads)));
  cJSON_AddNumberToObject(report, "peak_gigabytes_per_second", fmax(gigabytes, hmoec_ceiling_gigabytes_per_second(threads)));
  status = write_json(report, arguments[2]) ? 0 : 1;
  goto done;

failed:
  fprintf(stderr, "bench: %s\n", hmoe_last_error());
done:
  for (int i = 0; i < CONTENDERS; i++) free(b.y[i]);
  free(b.inputs);
  openblas_layer_close(b.openblas);
  hypermoe_layer_close(b.hypermoe);
  moe_layer_close(b.moe);
  cJSON_Delete(report);
  return status;
}
