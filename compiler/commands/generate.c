/* hmoec generate: tokens from a prompt, by the runtime's generation. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands/commands.h"
#include "hmoe/generate.h"
#include "plain_text.h"
#include "support/clock.h"
#include "support/npy.h"

/* int32 or int64 [rows, length] as int64. */
static bool read_integers(const char *file, const char *name, hmoec_npy *array, int64_t **out_values,
                          hmoec_diagnostics *diagnostics) {
  hmoec_location at = {.file = file};
  if (!hmoec_npy_read(file, diagnostics, array)) return false;
  if (array->type == HMOEC_NPY_F32)
    return hmoec_error(diagnostics, at, "input %s: expected int64 or int32, found floating point", name);
  if (array->rank != 2)
    return hmoec_error(diagnostics, at, "input %s: expected [rows, length], found rank %d", name, (int)array->rank);
  size_t count = (size_t)array->dims[0] * (size_t)array->dims[1];
  *out_values = malloc((count + 1) * sizeof **out_values);
  if (!*out_values) return hmoec_machine_error(diagnostics, "out of memory");
  for (size_t i = 0; i < count; i++)
    (*out_values)[i] = array->type == HMOEC_NPY_I64 ? ((const int64_t *)array->data)[i] : ((const int32_t *)array->data)[i];
  return true;
}

static bool read_prompt(const hmoec_arguments *arguments, hmoec_npy arrays[2], int64_t *values[2], hmoe_prompt *out_prompt,
                        hmoec_diagnostics *diagnostics) {
  static const char *const names[2] = {"input_ids", "attention_mask"};
  for (size_t i = 0; i < arguments->input_count; i++) {
    int which = strcmp(arguments->inputs[i].name, names[0]) == 0 ? 0 : strcmp(arguments->inputs[i].name, names[1]) == 0 ? 1 : -1;
    if (which < 0)
      return hmoec_usage_error(diagnostics, "hmoec generate has the inputs input_ids and attention_mask, not '%s'",
                               arguments->inputs[i].name);
    if (!read_integers(arguments->inputs[i].file, names[which], &arrays[which], &values[which], diagnostics)) return false;
  }
  if (!values[0]) return hmoec_usage_error(diagnostics, "expected --input input_ids=FILE.npy");
  for (int d = 0; d < 2 && values[1]; d++)
    if (arrays[1].dims[d] != arrays[0].dims[d])
      return hmoec_error(diagnostics, (hmoec_location){0},
                         "input attention_mask: expected [%" PRId64 ", %" PRId64 "] as input_ids, found [%" PRId64 ", %" PRId64 "]",
                         arrays[0].dims[0], arrays[0].dims[1], arrays[1].dims[0], arrays[1].dims[1]);
  *out_prompt =
      (hmoe_prompt){.rows = arrays[0].dims[0], .length = arrays[0].dims[1], .input_ids = values[0], .attention_mask = values[1]};
  return true;
}

/* A decoder's new tokens come behind the prompt with its padding. */
static void warn_of_padding(const hmoec_arguments *arguments, const hmoe_prompt *prompt, const hmoe_model *model,
                            hmoec_diagnostics *diagnostics) {
  if (!prompt->attention_mask || prompt->length == 0 || hmoe_model_entry(model, "prepare")) return;
  int64_t first = -1, count = 0;
  for (int64_t row = 0; row < prompt->rows; row++) {
    if (prompt->attention_mask[(row + 1) * prompt->length - 1] != 0) continue;
    if (count++ == 0) first = row;
  }
  const char *file = NULL;
  for (size_t i = 0; i < arguments->input_count; i++)
    if (strcmp(arguments->inputs[i].name, "attention_mask") == 0) file = arguments->inputs[i].file;
  if (count)
    hmoec_warning(diagnostics, (hmoec_location){.file = file},
                  "%" PRId64 " row%s end%s in padding, row %" PRId64
                  " first: generation continues behind it; pad prompts of a decoder "
                  "on the left",
                  count, count > 1 ? "s" : "", count > 1 ? "" : "s", first);
}

/* A line that is written over, on a terminal, from the second second on. */
typedef struct progress {
  int64_t steps;
  double begun, shown;
  bool drawn;
} progress;

static int show_progress(void *context, int64_t step, const int64_t *tokens, int64_t rows) {
  (void)tokens;
  progress *p = context;
  double now = hmoec_clock_seconds();
  if (now - p->begun > 2 && now - p->shown > 0.2) {
    hmoe_plain_print(stderr, "\rtoken %" PRId64 " of at most %" PRId64 ", %" PRId64 " rows, %.1f tokens/s ", step + 1, p->steps,
                     rows, (double)(rows * (step + 1)) / (now - p->begun));
    p->shown = now;
    p->drawn = true;
  }
  return 0;
}

/* What contradicts itself on the command line, whatever the model says. */
static bool check_options(const hmoec_arguments *arguments, hmoec_diagnostics *diagnostics) {
  const hmoe_generation *g = &arguments->generation;
  const char *sampling = g->sample > 0 ? "--sample" : NULL;
  const struct {
    const char *name;
    bool given;
  } rows[] = {{"--temperature", g->temperature > 0},
              {"--top-k", g->top_k != 0},
              {"--top-p", g->top_p > 0},
              {"--min-p", g->min_p > 0 || g->min_p < 0},
              {"--seed", arguments->seed_given}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows && !sampling; i++)
    if (rows[i].given) sampling = rows[i].name;
  if (sampling && g->sample < 0) return hmoec_usage_error(diagnostics, "%s and --greedy exclude each other", sampling);
  if (sampling && g->beams > 1) return hmoec_usage_error(diagnostics, "%s and --beams exclude each other", sampling);
  if (g->sample < 0 && g->beams > 1) return hmoec_usage_error(diagnostics, "--greedy and --beams exclude each other");
  int64_t most = g->max_new_tokens < 0 ? 0 : g->max_new_tokens;
  if (g->max_new_tokens && g->min_new_tokens > most)
    return hmoec_usage_error(diagnostics, "--min-new-tokens %" PRId64 " is more than --max-new-tokens %" PRId64, g->min_new_tokens,
                             most);
  if (!g->max_new_tokens && g->max_length && g->min_length > g->max_length)
    return hmoec_usage_error(diagnostics, "--min-length %" PRId64 " is more than --max-length %" PRId64, g->min_length,
                             g->max_length);
  return true;
}

/* What the runtime refuses of the settings, which are options here. A max_length that the model says is none of them. */
static bool report_generation(const hmoec_arguments *arguments, hmoe_status status, hmoec_diagnostics *diagnostics) {
  static const char field[] = "generation.";
  const char *text = hmoe_last_error(), *name = text + strlen(field), *colon = strchr(text, ':');
  bool of_model = strncmp(name, "max_length:", strlen("max_length:")) == 0 && !arguments->generation.max_length;
  if (status != HMOE_INVALID_ARGUMENT || strncmp(text, field, strlen(field)) != 0 || !colon || of_model)
    return hmoec_runtime_error(diagnostics, status);
  char option[64] = "--";
  for (size_t i = 2; i + 1 < sizeof option && name < colon; i++, name++) option[i] = *name == '_' ? '-' : *name;
  if (strcmp(option, "--bad-words") == 0) option[strlen("--bad-word")] = '\0'; /* one each time */
  return hmoec_usage_error(diagnostics, "%s%s", option, colon);
}

static hmoe_generation generation_of(const hmoec_arguments *arguments, progress *p) {
  hmoe_generation g = arguments->generation;
  g.seed = (uint64_t)arguments->seed;
  if (arguments->seed_given) g.sample = 1;
  if (g.sample < 0) g.beams = HMOE_OFF;
  if (isatty(STDERR_FILENO)) {
    g.on_tokens = show_progress;
    g.on_tokens_context = p;
  }
  return g;
}

static bool run(const hmoec_arguments *arguments, hmoec_diagnostics *diagnostics) {
  if (!hmoec_weights_given(arguments, "generate", diagnostics)) return false;
  if (!hmoec_one_token_count(arguments, "generate", diagnostics)) return false;
  if (!arguments->output) return hmoec_usage_error(diagnostics, "hmoec generate needs -o FILE.npy");
  if (!check_options(arguments, diagnostics)) return false;
  hmoec_compilation *compilation = NULL;
  hmoec_npy arrays[2] = {0};
  int64_t *values[2] = {NULL, NULL}, *tokens = NULL, length = 0;
  hmoe_prompt prompt;
  hmoe_model *model = NULL;
  progress p = {0};
  hmoe_generation generation = generation_of(arguments, &p);
  bool ok = read_prompt(arguments, arrays, values, &prompt, diagnostics) && hmoec_open_model(arguments, &compilation, &model);
  if (ok) {
    warn_of_padding(arguments, &prompt, model, diagnostics);
    int64_t width = hmoe_generation_width(model, &prompt, &generation);
    size_t bytes;
    if (width < 0) ok = report_generation(arguments, HMOE_INVALID_ARGUMENT, diagnostics);
    else if (__builtin_mul_overflow((size_t)prompt.rows, (size_t)width * sizeof *tokens, &bytes) ||
             !(tokens = calloc(1, bytes + 8)))
      ok = hmoec_machine_error(diagnostics, "out of memory for the tokens");
    p.begun = p.shown = hmoec_clock_seconds();
    p.steps = width - (hmoe_model_entry(model, "prepare") ? 1 : prompt.length);
    if (ok) {
      hmoe_status status = hmoe_model_generate(model, &prompt, &generation, tokens, &length);
      if (p.drawn) fputs("\r\033[K", stderr);
      ok = status == HMOE_OK || report_generation(arguments, status, diagnostics);
    }
    for (int64_t row = 1; ok && row < prompt.rows; row++) /* the columns that were filled in, without gaps */
      memmove(tokens + row * length, tokens + row * width, (size_t)length * sizeof *tokens);
  }
  ok = ok && hmoec_npy_write(arguments->output, HMOEC_NPY_I64, 2, (int64_t[]){prompt.rows, length}, tokens, diagnostics);
  hmoe_model_close(model);
  for (int i = 0; i < 2; i++) {
    hmoec_npy_deinit(&arrays[i]);
    free(values[i]);
  }
  free(tokens);
  hmoec_compilation_destroy(compilation);
  return ok;
}

static const char *const accepted[] = {"--weights",
                                       "--input",
                                       "--max-new-tokens",
                                       "--max-length",
                                       "--min-new-tokens",
                                       "--min-length",
                                       "-o",
                                       "--beams",
                                       "--length-penalty",
                                       "--early-stopping",
                                       "--no-repeat-ngram",
                                       "--repetition-penalty",
                                       "--greedy",
                                       "--sample",
                                       "--temperature",
                                       "--top-k",
                                       "--top-p",
                                       "--min-p",
                                       "--seed",
                                       "--start-token",
                                       "--pad-token",
                                       "--end-token",
                                       "--forced-bos-token",
                                       "--forced-eos-token",
                                       "--suppress-tokens",
                                       "--begin-suppress-tokens",
                                       "--bad-word",
                                       "-D",
                                       "--c-include",
                                       "--c-define",
                                       "--threads",
                                       "--cpu",
                                       "--target",
                                       "--mcpu",
                                       "--dtype",
                                       "--tuning",
                                       "--strategy",
                                       "--table-budget",
                                       "--memory",
                                       "--routing",
                                       "--tokens",
                                       NULL};
const hmoec_command hmoec_command_generate = {
    "generate",
    "generate tokens from a prompt: greedily, with beams, or by sampling",
    "MODEL --weights W --input input_ids=FILE.npy [--input attention_mask=FILE.npy] -o TOKENS.npy [options]",
    accepted,
    run,
    false};
