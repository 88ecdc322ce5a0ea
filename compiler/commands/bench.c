/* hmoec bench: medians and ratios of one or two models, run in turns, beside the machine's ceilings from the same run. Of whole models a
 * size is one batch row of so many tokens, encoder and decoder alike. */
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "commands/ceilings.h"
#include "commands/commands.h"
#include "plain_text.h"
#include "support/clock.h"
#include "support/output_file.h"
#include "support/paths.h"
#include "support/statistics.h"

#define MAX_RUNS 2000
#define SECONDS_A_SIZE 1.0 /* per model */
#define LEAST_RUNS 7

typedef struct subject {
  const char *path;
  hmoec_compilation *compilation;
  hmoe_model *model;
  hmoec_signature signature;
  int64_t sizes[HMOEC_MAX_SIZES];
  void *inputs[HMOEC_MAX_TENSORS], *outputs[HMOEC_MAX_TENSORS];
  double seconds[MAX_RUNS];
  size_t runs;
} subject;

static bool subject_open(subject *s, const char *path, const hmoec_arguments *arguments, hmoec_diagnostics *diagnostics) {
  hmoec_temporary temporary = {.path = ""};
  const char *weights = arguments->weights;
  s->path = path;
  if (hmoec_compile_file(path, &arguments->options, &s->compilation) != HMOEC_OK) return false;
  bool ok = true;
  if (!weights) {
    ok = hmoec_temporary_open("bench", &temporary, diagnostics);
    weights = temporary.path;
    ok = ok && hmoec_compilation_random_weights(s->compilation, (uint64_t)arguments->seed, weights) == HMOEC_OK;
  }
  hmoec_open_progress progress;
  hmoe_options open_options = hmoec_open_options(arguments, &progress);
  ok = ok && hmoec_compilation_signature(s->compilation, NULL, &s->signature) == HMOEC_OK &&
       hmoec_compilation_open(s->compilation, &(hmoe_weights){.path = weights}, &open_options, &s->model) == HMOEC_OK;
  hmoec_open_finish(&progress);
  hmoec_temporary_close(&temporary);
  return ok;
}

static void data_free(subject *s) {
  for (size_t i = 0; i < HMOEC_MAX_TENSORS; i++) {
    free(s->inputs[i]);
    free(s->outputs[i]);
    s->inputs[i] = s->outputs[i] = NULL;
  }
}

/* Inputs and room for outputs of a size. */
static bool data_make(subject *s, int64_t tokens, uint64_t seed, hmoec_diagnostics *diagnostics) {
  data_free(s);
  for (size_t i = 0; i < s->signature.size_count; i++) s->sizes[i] = i == 0 && s->signature.size_count > 1 ? 1 : tokens;
  for (size_t i = 0; i < s->signature.input_count; i++) {
    hmoec_shape shape = hmoec_signature_shape(&s->signature.inputs[i], s->sizes);
    s->inputs[i] = calloc((size_t)hmoec_shape_elements(&shape), hmoec_element_bytes(shape.element));
    if (!s->inputs[i]) return hmoec_machine_error(diagnostics, "out of memory");
    hmoec_compilation_random_input(s->compilation, &s->signature.inputs[i], s->sizes, seed, s->inputs[i]);
  }
  for (size_t i = 0; i < s->signature.output_count; i++) {
    hmoec_shape shape = hmoec_signature_shape(&s->signature.outputs[i], s->sizes);
    s->outputs[i] = calloc((size_t)hmoec_shape_elements(&shape), hmoec_element_bytes(shape.element));
    if (!s->outputs[i]) return hmoec_machine_error(diagnostics, "out of memory");
  }
  return true;
}

static bool same_tensors(const hmoec_signature_tensor *a, size_t a_count, const hmoec_signature_tensor *b, size_t b_count) {
  bool same = a_count == b_count;
  for (size_t i = 0; same && i < a_count; i++) same = hmoec_shape_compatible(&a[i].shape, &b[i].shape);
  return same;
}

static void subject_close(subject *s) {
  data_free(s);
  hmoe_model_close(s->model);
  hmoec_compilation_destroy(s->compilation);
}

static double median(const double *values, size_t count) {
  double *sorted = malloc(count * sizeof *sorted), result;
  if (!sorted) return values[count / 2];
  memcpy(sorted, values, count * sizeof *sorted);
  hmoec_sort(sorted, count);
  result = hmoec_median(sorted, count);
  free(sorted);
  return result;
}

static bool run_once(subject *s, double *out_seconds, hmoec_diagnostics *diagnostics) {
  double begin = hmoec_clock_seconds();
  hmoe_status status =
      hmoe_model_run(s->model, s->signature.entry, s->sizes, (const void *const *)s->inputs, (void *const *)s->outputs);
  *out_seconds = hmoec_clock_seconds() - begin;
  return status == HMOE_OK ? true : hmoec_runtime_error(diagnostics, status);
}

/* Runs all subjects in turns until each had its second. */
static bool measure(subject *subjects, size_t count, int64_t tokens, uint64_t seed, hmoec_diagnostics *diagnostics) {
  double spent = 0, ignored;
  for (size_t i = 0; i < count; i++) {
    subjects[i].runs = 0;
    if (!data_make(&subjects[i], tokens, seed, diagnostics)) return false;
    for (int warm = 0; warm < 2; warm++)
      if (!run_once(&subjects[i], &ignored, diagnostics)) return false;
  }
  for (size_t round = 0; round < MAX_RUNS && (round < LEAST_RUNS || spent < SECONDS_A_SIZE * (double)count); round++)
    for (size_t i = 0; i < count; i++) {
      if (!run_once(&subjects[i], &subjects[i].seconds[subjects[i].runs], diagnostics)) return false;
      spent += subjects[i].seconds[subjects[i].runs++];
    }
  return true;
}

/* Median over the rounds of subject 1's time by subject 0's: above 1, the model is faster than the other. */
static double paired_ratio(const subject *subjects) {
  double ratios[MAX_RUNS];
  for (size_t i = 0; i < subjects[0].runs; i++) ratios[i] = subjects[1].seconds[i] / subjects[0].seconds[i];
  return median(ratios, subjects[0].runs);
}

/* What products are held against. */
typedef struct peak {
  const char *name;
  double gflops;
} peak;

static void report(const subject *subjects, size_t count, int64_t tokens, const peak *ceiling, cJSON *list) {
  cJSON *row = cJSON_CreateObject();
  cJSON_AddNumberToObject(row, "tokens", (double)tokens);
  cJSON *models = cJSON_AddArrayToObject(row, "models");
  for (size_t i = 0; i < count; i++) {
    const char *name = hmoec_compilation_name(subjects[i].compilation);
    double seconds = median(subjects[i].seconds, subjects[i].runs),
           gflops = 1e-9 * hmoec_compilation_flops(subjects[i].compilation, tokens, 1) / seconds;
    hmoe_plain_print(stdout, "%8lld  %-24s %10.3f ms %12.0f tokens/s %9.1f GFLOP/s %5.1f %% of the %s", (long long)tokens, name,
                     1e3 * seconds, seconds > 0 ? (double)tokens / seconds : 0, gflops,
                     ceiling->gflops > 0 ? 100 * gflops / ceiling->gflops : 0, ceiling->name);
    cJSON *model = cJSON_CreateObject();
    cJSON_AddStringToObject(model, "model", name);
    cJSON_AddNumberToObject(model, "median_seconds", seconds);
    cJSON_AddNumberToObject(model, "runs", (double)subjects[i].runs);
    cJSON_AddNumberToObject(model, "gflops", gflops);
    cJSON_AddItemToArray(models, model);
    if (i == 0 && count == 2) {
      double ratio = paired_ratio(subjects);
      hmoe_plain_print(stdout, "   %.3fx the speed of %s", ratio, hmoec_compilation_name(subjects[1].compilation));
      cJSON_AddNumberToObject(row, "speed_ratio", ratio);
    }
    putchar('\n');
  }
  fflush(stdout);
  cJSON_AddItemToArray(list, row);
}

static bool run(const hmoec_arguments *arguments, hmoec_diagnostics *diagnostics) {
  static const int64_t default_tokens[] = {1, 8, 64, 512};
  const int64_t *tokens = arguments->token_count ? arguments->tokens : default_tokens;
  size_t token_count = arguments->token_count ? arguments->token_count : sizeof default_tokens / sizeof *default_tokens,
         count = arguments->versus ? 2 : 1;
  for (size_t i = 0; i < token_count; i++)
    if (tokens[i] < 1) return hmoec_usage_error(diagnostics, "expected --tokens of hmoec bench to be at least 1, found 0");
  subject *subjects = calloc(2, sizeof *subjects);
  cJSON *root = cJSON_CreateObject();
  bool ok = subjects ? true : hmoec_machine_error(diagnostics, "out of memory");
  const char *paths[] = {arguments->model, arguments->versus};
  for (size_t i = 0; ok && i < count; i++) ok = subject_open(&subjects[i], paths[i], arguments, diagnostics);
  const hmoec_signature *first = ok ? &subjects[0].signature : NULL, *other = ok ? &subjects[1].signature : NULL;
  if (ok && count == 2 &&
      !(same_tensors(first->inputs, first->input_count, other->inputs, other->input_count) &&
        same_tensors(first->outputs, first->output_count, other->outputs, other->output_count)))
    ok = hmoec_error(diagnostics, (hmoec_location){.file = arguments->versus},
                     "expected inputs and outputs of the same width as %s", arguments->model);
  if (!ok) goto done;

  size_t threads = hmoe_model_threads(subjects[0].model);
  const char *cpu = hmoe_model_cpu(subjects[0].model);
  double fma_gflops = hmoec_ceiling_gflops(cpu, threads), read_gbytes = hmoec_ceiling_gigabytes_per_second(threads);
  const char *dtype = arguments->options.dtype ? arguments->options.dtype : "f32";
  double bf16_gflops = strcmp(dtype, "bf16") == 0 ? hmoec_ceiling_bf16_gflops(cpu, threads) : 0;
  peak ceiling = bf16_gflops > 0 ? (peak){"bf16 peak", bf16_gflops} : (peak){"FMA peak", fma_gflops};
  hmoe_plain_print(stdout,
                   "%zu threads, %s code, products in %s; ceilings measured now: %.1f GFLOP/s %s, %.1f GB/s read from memory\n",
                   threads, cpu, dtype, ceiling.gflops, ceiling.name, read_gbytes);
  cJSON_AddNumberToObject(root, "threads", (double)threads);
  cJSON_AddStringToObject(root, "cpu", cpu);
  cJSON_AddStringToObject(root, "dtype", dtype);
  cJSON_AddNumberToObject(root, "fma_gflops", fma_gflops);
  if (bf16_gflops > 0) cJSON_AddNumberToObject(root, "bf16_gflops", bf16_gflops);
  cJSON_AddNumberToObject(root, "read_gbytes", read_gbytes);
  cJSON *list = cJSON_AddArrayToObject(root, "sizes");
  for (size_t i = 0; ok && i < token_count; i++) {
    ok = measure(subjects, count, tokens[i], (uint64_t)arguments->seed, diagnostics);
    if (ok) report(subjects, count, tokens[i], &ceiling, list);
  }
  if (ok && arguments->json) {
    char *text = hmoe_plain_json_print(root, true);
    ok = text ? hmoec_file_write(arguments->json, text, strlen(text), diagnostics)
              : hmoec_machine_error(diagnostics, "out of memory");
    cJSON_free(text);
  }
done:
  cJSON_Delete(root);
  if (subjects)
    for (size_t i = 0; i < 2; i++) subject_close(&subjects[i]);
  free(subjects);
  return ok;
}

static const char *const accepted[] = {
    "-D",         "--c-include",    "--c-define", "--weights", "--versus", "--tokens", "--json",  "--seed",   "--threads", "--cpu",
    "--strategy", "--table-budget", "--memory",   "--routing", "--target", "--mcpu",   "--dtype", "--tuning", NULL};
const hmoec_command hmoec_command_bench = {"bench",
                                           "time a model, alone or against another",
                                           "MODEL [--versus OTHER] [--tokens 1,8,64,512] [--json FILE] [options]",
                                           accepted,
                                           run,
                                           false};
