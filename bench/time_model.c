/* Predicted against measured times: of every step of a run, and of runs, over models of many sizes.
 *
 *   time_model [MACHINE.tuning]       all cells; a table of runs, of products, and the worst of each
 *   time_model -v [..] NAME           the steps of one cell
 *
 * Models have random weights, the routing is what these make of random inputs: experts are not as even as those that the model draws. Every cell is run in
 * turns, each step is the lower quartile of them. Built by hand: see tools/time-model. */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hmoe/abi.h"
#include "hmoe/compiler.h"
#include "kernel/family.h"
#include "library/entry_time.h"
#include "library/session.h"
#include "support/clock.h"

typedef struct cell {
  const char *name, *model, *dtype, *defines, *entry;
  int64_t rows, tokens;
} cell;

#define LAYER "models/hypermoe-layer.spec"
static const cell cells[] = {
    {"768/3072/8 f32 1", LAYER, "f32", "d_model=768 d_ff=3072 experts=8", NULL, 1, 1},
    {"768/3072/8 f32 512", LAYER, "f32", "d_model=768 d_ff=3072 experts=8", NULL, 1, 512},
    {"768/3072/8 bf16 8", LAYER, "bf16", "d_model=768 d_ff=3072 experts=8", NULL, 1, 8},
    {"768/3072/8 bf16 64", LAYER, "bf16", "d_model=768 d_ff=3072 experts=8", NULL, 1, 64},
    {"640/1728/6 f32 17", LAYER, "f32", "d_model=640 d_ff=1728 experts=6 bottleneck=40", NULL, 1, 17},
    {"640/1728/6 bf16 100", LAYER, "bf16", "d_model=640 d_ff=1728 experts=6 bottleneck=40", NULL, 1, 100},
    {"1000/2730/10 f32 8", LAYER, "f32", "d_model=1000 d_ff=2730 experts=10 top_k=2 bottleneck=24", NULL, 1, 8},
    {"1000/2730/10 bf16 300", LAYER, "bf16", "d_model=1000 d_ff=2730 experts=10 top_k=2 bottleneck=24", NULL, 1, 300},
    {"256/512/64 f32 16", LAYER, "f32", "d_model=256 d_ff=512 experts=64 top_k=8", NULL, 1, 16},
    {"256/512/64 bf16 256", LAYER, "bf16", "d_model=256 d_ff=512 experts=64 top_k=8", NULL, 1, 256},
    {"96/160/8 f32 8", LAYER, "f32", "d_model=96 d_ff=160 experts=8 bottleneck=16", NULL, 1, 8},
    {"96/160/8 bf16 32", LAYER, "bf16", "d_model=96 d_ff=160 experts=8 bottleneck=16", NULL, 1, 32},
    {"4096/14336/4 bf16 1", LAYER, "bf16", "d_model=4096 d_ff=14336 experts=4", NULL, 1, 1},
    {"4096/14336/4 bf16 128", LAYER, "bf16", "d_model=4096 d_ff=14336 experts=4", NULL, 1, 128},
    {"switch-tiny f32 1x16", "models/switch-hypermoe-tiny.spec", "f32", "", NULL, 1, 16},
    {"gpt2-tiny bf16 4x32", "models/gpt2-hypermoe-tiny.spec", "bf16", "", NULL, 4, 32},
};
enum { CELLS = sizeof cells / sizeof *cells, MOST_STEPS = 4096, MOST_TURNS = 200, MOST_DEFINES = 16, THREADS = 2, LARGE = 64 };

typedef struct error {
  const char *cell;
  double predicted, measured;
} error;

static double off(double predicted, double measured) { return measured > 0 ? predicted / measured - 1 : 0; }

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The lower quartile: what is not disturbed by others, where they disturb less than three turns of four. */
static double undisturbed(double *values, size_t count) {
  if (!count) return 0;
  qsort(values, count, sizeof *values, by_value);
  return values[count / 4];
}

static size_t read_defines(char *text, hmoec_define out[MOST_DEFINES]) {
  size_t count = 0;
  for (char *next = text, *word; (word = strsep(&next, " ")) && count < MOST_DEFINES;) {
    char *value = strchr(word, '=');
    if (!value) continue;
    *value = 0;
    out[count++] = (hmoec_define){word, value + 1};
  }
  return count;
}

/* Milliseconds of every step, added up over a run, from the lines that HMOE_DEBUG=run makes. */
static void read_trace(const char *text, double out_steps[MOST_STEPS], double out_rows[MOST_STEPS]) {
  memset(out_steps, 0, MOST_STEPS * sizeof *out_steps);
  for (const char *line = text; (line = strstr(line, "hmoe: entry ")); line++) {
    unsigned entry, step;
    const char *end = strstr(line, " ms");
    if (sscanf(line, "hmoe: entry %u step %u", &entry, &step) != 2 || !end || step >= MOST_STEPS) continue;
    while (end > line && end[-1] != ' ') end--;
    out_steps[step] += strtod(end, NULL);
    const char *of = strstr(line, "rows=");
    if (of && of < end) out_rows[step] = strtod(of + 5, NULL);
  }
}

static double (*samples)[MOST_TURNS]; /* of a step */
static double rows[MOST_STEPS];

/* Whole runs without a trace, then runs with one. */
static bool measure(hmoe_model *plain, hmoe_model *traced, const hmoec_signature *s, hmoec_session *session, const cell *c,
                    double *out_run, double out_steps[MOST_STEPS], size_t step_count) {
  int64_t sizes[HMOEC_MAX_SIZES];
  void *inputs[HMOEC_MAX_TENSORS], *outputs[HMOEC_MAX_TENSORS];
  (void)session;
  for (size_t i = 0; i < s->size_count; i++) sizes[i] = i == 0 && s->size_count > 1 ? c->rows : c->tokens;
  for (size_t i = 0; i < s->input_count; i++) {
    hmoec_shape shape = hmoec_signature_shape(&s->inputs[i], sizes);
    int64_t count = hmoec_shape_elements(&shape);
    inputs[i] = calloc((size_t)count + 1, 8);
    for (int64_t j = 0; j < count; j++) {
      double value = (double)((uint64_t)(j + 1) * 2654435761u % 1000003) / 500001.5 - 1;
      if (shape.element == HMOEC_F32) ((float *)inputs[i])[j] = (float)(1.7 * value);
      else ((int64_t *)inputs[i])[j] = strstr(s->inputs[i].name, "mask") ? 1 : (j * 7 + 3) % 60;
    }
  }
  for (size_t i = 0; i < s->output_count; i++) {
    hmoec_shape shape = hmoec_signature_shape(&s->outputs[i], sizes);
    outputs[i] = calloc((size_t)hmoec_shape_elements(&shape) + 1, 8);
  }
  double runs[MOST_TURNS], spent = 0, steps[MOST_STEPS];
  size_t turns = 0;
  bool ok = true;
  for (; ok && turns < MOST_TURNS && (turns < 15 || spent < 2.5); turns++) {
    char *text = NULL;
    size_t size;
    for (int warm = 0; warm < 2; warm++) ok = ok && !hmoe_model_run(plain, s->entry, sizes, (const void *const *)inputs, outputs);
    double begin = hmoec_clock_seconds();
    ok = ok && !hmoe_model_run(plain, s->entry, sizes, (const void *const *)inputs, outputs);
    runs[turns] = hmoec_clock_seconds() - begin;
    FILE *kept = stderr;
    stderr = open_memstream(&text, &size);
    ok = ok && !hmoe_model_run(traced, s->entry, sizes, (const void *const *)inputs, outputs);
    fclose(stderr);
    stderr = kept;
    read_trace(text, steps, rows);
    free(text);
    for (size_t i = 0; i < step_count && i < MOST_STEPS; i++) samples[i][turns] = 1e-3 * steps[i];
    spent += hmoec_clock_seconds() - begin;
  }
  *out_run = undisturbed(runs, turns);
  for (size_t i = 0; i < step_count && i < MOST_STEPS; i++) out_steps[i] = undisturbed(samples[i], turns);
  for (size_t i = 0; i < s->input_count; i++) free(inputs[i]);
  for (size_t i = 0; i < s->output_count; i++) free(outputs[i]);
  return ok;
}

static void note(error *worst, const char *cell, double predicted, double measured) {
  if (fabs(off(predicted, measured)) > fabs(off(worst->predicted, worst->measured))) *worst = (error){cell, predicted, measured};
}

static error worst_run, worst_large, worst_small;
static int runs_held, runs_all, large_held, large_all, small_held, small_all;

static bool run_cell(const cell *c, bool verbose) {
  char defines_text[256], weights[64];
  hmoec_define defines[MOST_DEFINES];
  snprintf(defines_text, sizeof defines_text, "%s", c->defines);
  snprintf(weights, sizeof weights, "/tmp/time_model-%d.safetensors", (int)getpid());
  hmoec_options options = {.struct_size = sizeof options,
                           .dtype = c->dtype,
                           .defines = defines,
                           .define_count = read_defines(defines_text, defines),
                           .message = hmoec_message_print,
                           .message_context = stderr};
  hmoec_compilation *compilation = NULL;
  hmoec_session session;
  hmoec_signature signature;
  hmoe_model *plain = NULL, *traced = NULL;
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(stderr);
  hmoe_options open = {.struct_size = sizeof open, .threads = THREADS};
  hmoec_entry_time time = {0};
  static double steps[MOST_STEPS];
  double run;
  bool ok = hmoec_session_init(&session, &options, diagnostics) && hmoec_session_load(&session, c->model) &&
            hmoec_session_plan(&session) && !hmoec_compile_file(c->model, &options, &compilation) &&
            !hmoec_compilation_random_weights(compilation, 1, weights) &&
            !hmoec_compilation_open(compilation, &(hmoe_weights){.path = weights}, &open, &plain);
  setenv("HMOE_DEBUG", "run", 1);
  FILE *kept = stderr, *null = fopen("/dev/null", "w");
  stderr = null;
  ok = ok && !hmoec_compilation_open(compilation, &(hmoe_weights){.path = weights}, &open, &traced);
  stderr = kept;
  fclose(null);
  unsetenv("HMOE_DEBUG");
  unlink(weights);
  hmoec_run_case size = {.rows = c->rows, .tokens = c->tokens, .version = HMOEC_MOST_VERSIONS, .threads = THREADS};
  ok = ok && !hmoec_compilation_signature(compilation, c->entry, &signature);
  for (size_t v = 0; ok && v < hmoec_code_version_count(session.unit.target); v++)
    if (!strcmp(session.unit.target->version(v).name, hmoe_model_cpu(plain))) size.version = v;
  ok = ok && hmoec_entry_time_init(&session.unit, signature.entry, &size, &time) &&
       measure(plain, traced, &signature, &session, c, &run, steps, time.step_count);
  if (ok) {
    const hmoe_plan *plan = session.unit.plan;
    const hmoe_plan_entry *entry =
        (const hmoe_plan_entry *)(const void *)((const char *)plan + plan->entries.offset) + signature.entry;
    const hmoe_plan_step *plan_steps = (const void *)((const char *)plan + entry->steps.offset);
    double large_predicted = 0, large_measured = 0, as_run = 0, small_predicted = 0, small_measured = 0;
    for (uint32_t i = 0; i < time.step_count; i++) {
      const hmoec_step_time *t = &time.steps[i];
      bool kernel = plan_steps[i].kind == HMOE_STEP_KERNEL;
      const hmoe_step_kernel *fields = (const void *)((const char *)plan + plan_steps[i].fields.offset);
      hmoec_kernel_family family = kernel ? session.unit.kernels[fields->kernel].family : HMOEC_KERNEL_FAMILY_COUNT;
      bool product = family == HMOEC_KERNEL_MATMUL || family == HMOEC_KERNEL_FFN;
      double predicted = t->runs > 1 ? t->seconds : t->once > 0 ? t->once : t->seconds;
      if (steps[i] > 0 && plan_steps[i].kind != HMOE_STEP_CHOOSE && plan_steps[i].kind != HMOE_STEP_LOOP) as_run += predicted;
      if (product && steps[i] > 0 && predicted > 0) {
        bool many = rows[i] >= LARGE;
        double error_of = off(predicted, steps[i]);
        *(many ? &large_predicted : &small_predicted) += predicted;
        *(many ? &large_measured : &small_measured) += steps[i];
        ++*(many ? &large_all : &small_all);
        if (fabs(error_of) <= (many ? 0.15 : 0.30)) ++*(many ? &large_held : &small_held);
        note(many ? &worst_large : &worst_small, c->name, predicted, steps[i]);
      }
      if (verbose && (steps[i] > 0 || t->seconds > 0) && plan_steps[i].kind != HMOE_STEP_CHOOSE &&
          plan_steps[i].kind != HMOE_STEP_LOOP) {
        char text[HMOEC_KERNEL_CHARS] = "";
        if (kernel) hmoec_kernel_print(&session.unit.kernels[fields->kernel], &session.unit.functions, text);
        printf("  %3u %6.0f rows %s %9.2f us predicted %9.2f measured %+6.0f %% %s  %.90s\n", i, rows[i],
               t->runs > 0 ? "taken" : "     ", 1e6 * predicted, 1e6 * steps[i], 100 * off(predicted, steps[i]),
               t->shared ? "shared" : "alone ",
               kernel                                  ? text
               : plan_steps[i].kind == HMOE_STEP_GROUP ? "group"
                                                       : "other");
      }
    }
    runs_all++;
    runs_held += fabs(off(as_run, run)) <= (c->rows * c->tokens >= LARGE ? 0.15 : 0.30);
    note(&worst_run, c->name, as_run, run);
    printf("%-24s %10.1f %10.1f %+6.0f %%   best way %10.1f, bound %3.0f %%", c->name, 1e6 * as_run, 1e6 * run,
           100 * off(as_run, run), 1e6 * time.seconds, 100 * time.bound / time.seconds);
    if (large_measured > 0) printf("   products of 64 rows and more %+4.0f %%", 100 * off(large_predicted, large_measured));
    if (small_measured > 0) printf("   of fewer %+4.0f %%", 100 * off(small_predicted, small_measured));
    printf("\n");
    fflush(stdout);
  } else {
    printf("%-24s failed: %s\n", c->name, hmoe_last_error());
  }
  hmoec_entry_time_deinit(&time);
  hmoe_model_close(plain);
  hmoe_model_close(traced);
  hmoec_compilation_destroy(compilation);
  hmoec_session_deinit(&session);
  hmoec_diagnostics_destroy(diagnostics);
  return ok;
}

int main(int argc, char **argv) {
  bool verbose = argc > 1 && !strcmp(argv[1], "-v"), ok = true;
  const char *wanted = argc > 1 + verbose ? argv[1 + verbose] : NULL;
  samples = calloc(MOST_STEPS, sizeof *samples);
  printf("%-24s %10s %10s %8s\n", "cell, us of a run", "predicted", "measured", "off by");
  for (size_t i = 0; i < CELLS; i++)
    if (!wanted || strstr(cells[i].name, wanted)) ok &= run_cell(&cells[i], verbose);
  printf("within 15 %% (64 rows and more) or 30 %%: runs %d of %d, products of 64 rows and more %d of %d, of fewer %d of %d\n",
         runs_held, runs_all, large_held, large_all, small_held, small_all);
  printf("worst: run %+.0f %% (%s), product of 64 rows and more %+.0f %% (%s), of fewer %+.0f %% (%s)\n",
         100 * off(worst_run.predicted, worst_run.measured), worst_run.cell ? worst_run.cell : "-",
         100 * off(worst_large.predicted, worst_large.measured), worst_large.cell ? worst_large.cell : "-",
         100 * off(worst_small.predicted, worst_small.measured), worst_small.cell ? worst_small.cell : "-");
  free(samples);
  return ok ? 0 : 1;
}
