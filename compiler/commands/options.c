/* Command-line options, as a table. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "commands/commands.h"
#include "hmoe/generate.h"
#include "runtime_internal.h"
#include "support/tensor_files.h"

typedef bool (*option_reader)(hmoec_options *options, const char *value, const char *name, hmoec_diagnostics *diagnostics);

typedef struct option_row {
  const char *name, *argument, *help;
  size_t field;              /* of a string option */
  option_reader read;        /* of the others */
} option_row;

static bool read_integer(const char *value, int64_t minimum, const char *name, int64_t *out, hmoec_diagnostics *diagnostics) {
  char *end;
  errno = 0;
  long long parsed = strtoll(value, &end, 10);
  if (end == value || *end || errno == ERANGE || parsed < minimum)
    return hmoec_usage_error(diagnostics, "expected %s to be an integer of at least %lld, found '%s'", name, (long long)minimum,
                             value);
  *out = parsed;
  return true;
}

/* NAME=VALUE into name (128 bytes) and a pointer to the value. */
static bool split(const char *text, const char *option, char *name, const char **value, hmoec_diagnostics *diagnostics) {
  const char *equals = strchr(text, '=');
  if (!equals || equals == text || equals - text >= 128 || !equals[1])
    return hmoec_usage_error(diagnostics, "expected %s NAME=VALUE, found '%s'", option, text);
  memcpy(name, text, (size_t)(equals - text));
  name[equals - text] = 0;
  *value = equals + 1;
  return true;
}

static bool read_define(hmoec_options *o, const char *value, const char *name, hmoec_diagnostics *diagnostics) {
  if (o->define_count == HMOEC_MAX_LIST) return hmoec_usage_error(diagnostics, "more than %d -D", HMOEC_MAX_LIST);
  hmoec_define *define = &o->defines[o->define_count];
  define->name = o->define_names[o->define_count];
  if (!split(value, name, o->define_names[o->define_count], &define->value, diagnostics)) return false;
  o->define_count++;
  return true;
}

static bool read_binding(hmoec_binding_option *list, size_t *count, const char *value, const char *name,
                         hmoec_diagnostics *diagnostics) {
  if (*count == HMOEC_MAX_LIST) return hmoec_usage_error(diagnostics, "more than %d %s", HMOEC_MAX_LIST, name);
  if (!split(value, name, list[*count].name, &list[*count].file, diagnostics)) return false;
  for (size_t i = 0; i < *count; i++)
    if (strcmp(list[i].name, list[*count].name) == 0)
      return hmoec_usage_error(diagnostics, "%s %s is given twice", name, list[i].name);
  (*count)++;
  return true;
}

static bool read_input(hmoec_options *o, const char *value, const char *name, hmoec_diagnostics *d) {
  return read_binding(o->inputs, &o->input_count, value, name, d);
}
static bool read_output(hmoec_options *o, const char *value, const char *name, hmoec_diagnostics *d) {
  return read_binding(o->outputs, &o->output_count, value, name, d);
}
static bool read_seed(hmoec_options *o, const char *value, const char *name, hmoec_diagnostics *d) {
  return read_integer(value, 0, name, &o->seed, d);
}

static bool read_threads(hmoec_options *o, const char *value, const char *name, hmoec_diagnostics *d) {
  if (!read_integer(value, 1, name, &o->threads, d)) return false;
  return o->threads <= 4096 ? true
                            : hmoec_usage_error(d, "expected %s to be at most 4096, found %lld", name, (long long)o->threads);
}

static bool read_tokens(hmoec_options *o, const char *value, const char *name, hmoec_diagnostics *diagnostics) {
  char number[32];
  for (const char *at = value;; at++) {
    size_t length = strcspn(at, ",");
    if (length >= sizeof number || o->token_count == HMOEC_MAX_LIST)
      return hmoec_usage_error(diagnostics, "expected %s to be a list such as 1,64,512, found '%s'", name, value);
    memcpy(number, at, length);
    number[length] = 0;
    if (!read_integer(number, 0, name, &o->tokens[o->token_count], diagnostics)) return false;
    if (o->tokens[o->token_count] > (1 << 26))
      return hmoec_usage_error(diagnostics, "expected %s to be at most 2^26, found %s", name, number);
    o->token_count++;
    at += length;
    if (!*at) return true;
  }
}

static bool read_strategy(hmoec_options *o, const char *value, const char *name, hmoec_diagnostics *diagnostics) {
  static const char *const names[] = {"auto", "table", "cache", "factored", "per_token"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(value, names[i]) == 0) {
      o->pass.strategy = strcmp(value, "auto") == 0 ? NULL : value;
      return true;
    }
  return hmoec_usage_error(diagnostics, "expected %s auto, table, cache, factored or per_token, found '%s'", name, value);
}

/* Bytes with an optional K, M or G (binary). */
static bool read_budget(hmoec_options *o, const char *value, const char *name, hmoec_diagnostics *diagnostics) {
  char *end;
  errno = 0;
  long long number = strtoll(value, &end, 10);
  const char *suffixes = "KMG", *suffix = *end ? strchr(suffixes, *end) : NULL;
  int shift = suffix ? 10 * (int)(suffix - suffixes + 1) : 0;
  if (end == value || errno == ERANGE || number < 1 || number > (INT64_C(1) << (50 - shift)) || (*end && (!suffix || end[1])))
    return hmoec_usage_error(diagnostics, "expected %s to be bytes, such as 64M, found '%s'%s", name, value,
                             errno == ERANGE || number > (INT64_C(1) << (50 - shift)) ? ", over 2^50" : "");
  o->pass.table_budget_bytes = (int64_t)number << shift;
  return true;
}

static bool read_target(hmoec_options *o, const char *value, const char *name, hmoec_diagnostics *diagnostics) {
  (void)o;
  if (strcmp(value, "cpu") == 0) return true;
  return hmoec_usage_error(diagnostics, strcmp(value, "cuda") == 0 ? "%s %s is not in this version" : "expected %s cpu, found '%s'",
                           name, value);
}

static bool read_dtype(hmoec_options *o, const char *value, const char *name, hmoec_diagnostics *diagnostics) {
  return hmoec_dtype_parse(value, &o->pass.dtype) ||
         hmoec_usage_error(diagnostics, "expected %s f32 or bf16, found '%s'", name, value);
}

static bool read_tuning(hmoec_options *o, const char *value, const char *name, hmoec_diagnostics *diagnostics) {
  (void)o;
  return hmoec_usage_error(diagnostics, "%s %s: tuning files are not in this version", name, value);
}

/* x86-64 names of LLVM 22; its C API cannot be asked. */
static const char *const cpus[] = {
    "native",       "generic",     "x86-64",      "x86-64-v2",      "x86-64-v3",      "x86-64-v4",        "nehalem",
    "westmere",     "sandybridge", "ivybridge",   "haswell",        "broadwell",      "skylake",          "skylake-avx512",
    "cascadelake",  "cooperlake",  "cannonlake",  "icelake-client", "icelake-server", "rocketlake",       "tigerlake",
    "alderlake",    "raptorlake",  "meteorlake",  "sapphirerapids", "emeraldrapids",  "graniterapids",    "graniterapids-d",
    "sierraforest", "arrowlake",   "arrowlake-s", "lunarlake",      "pantherlake",    "clearwaterforest", "diamondrapids",
    "btver2",       "bdver4",      "znver1",      "znver2",         "znver3",         "znver4",           "znver5"};

static bool read_mcpu(hmoec_options *o, const char *value, const char *name, hmoec_diagnostics *diagnostics) {
  for (size_t i = 0; i < sizeof cpus / sizeof *cpus; i++)
    if (strcmp(value, cpus[i]) == 0) {
      o->mcpu = value;
      return true;
    }
  const char *close = hmoec_closest_name(value, cpus, sizeof cpus / sizeof *cpus);
  return hmoec_usage_error(diagnostics, "expected %s native or a CPU that LLVM knows, found '%s'%s%s%s", name, value,
                           close ? "; did you mean " : "", close ? close : "", close ? "?" : "");
}

static bool read_cpu(hmoec_options *o, const char *value, const char *name, hmoec_diagnostics *diagnostics) {
  for (int i = 0; i < HMOE_CPU_COUNT; i++)
    if (strcmp(value, hmoe_cpu_name(i)) == 0) {
      o->cpu = value;
      return true;
    }
  return hmoec_usage_error(diagnostics, "expected %s amx, avx512_bf16, avx512, avx2 or portable, found '%s'", name, value);
}

static bool read_count(const char *value, const char *name, int64_t *out, hmoec_diagnostics *d) {
  if (!read_integer(value, 0, name, out, d)) return false;
  return *out <= INT32_MAX ? true : hmoec_usage_error(d, "expected %s to fit 31 bits, found %s", name, value);
}
static bool read_rows(hmoec_options *o, const char *value, const char *name, hmoec_diagnostics *d) {
  return read_integer(value, 1, name, &o->rows, d) &&
         (o->rows <= 1 << 26 || hmoec_usage_error(d, "expected %s to be at most 2^26, found %s", name, value));
}
static bool read_max_new_tokens(hmoec_options *o, const char *value, const char *name, hmoec_diagnostics *d) {
  return read_count(value, name, &o->max_new_tokens, d);
}
static bool read_beams(hmoec_options *o, const char *value, const char *name, hmoec_diagnostics *d) {
  return read_count(value, name, &o->beams, d);
}
static bool read_ngram(hmoec_options *o, const char *value, const char *name, hmoec_diagnostics *d) {
  return read_count(value, name, &o->no_repeat_ngram, d);
}
static bool read_top_k(hmoec_options *o, const char *value, const char *name, hmoec_diagnostics *d) {
  return read_count(value, name, &o->sample_top_k, d);
}

/* A token, or none. */
static bool read_token(const char *value, const char *name, int64_t *out, hmoec_diagnostics *d) {
  if (strcmp(value, "none") != 0) return read_count(value, name, out, d);
  *out = HMOE_TOKEN_NONE;
  return true;
}
static bool read_start_token(hmoec_options *o, const char *value, const char *name, hmoec_diagnostics *d) {
  return read_token(value, name, &o->start_token, d);
}
static bool read_end_token(hmoec_options *o, const char *value, const char *name, hmoec_diagnostics *d) {
  return read_token(value, name, &o->end_token, d);
}
static bool read_pad_token(hmoec_options *o, const char *value, const char *name, hmoec_diagnostics *d) {
  return read_token(value, name, &o->pad_token, d);
}

static bool read_real(const char *value, const char *name, double least, double most, double *out, hmoec_diagnostics *d) {
  char *end;
  errno = 0;
  double parsed = strtod(value, &end);
  if (end == value || *end || errno == ERANGE || !(parsed >= least && parsed <= most))
    return hmoec_usage_error(d, "expected %s to be a number from %g to %g, found '%s'", name, least, most, value);
  *out = parsed;
  return true;
}
static bool read_length_penalty(hmoec_options *o, const char *value, const char *name, hmoec_diagnostics *d) {
  o->has_length_penalty = true;
  return read_real(value, name, -100, 100, &o->length_penalty, d);
}
static bool read_temperature(hmoec_options *o, const char *value, const char *name, hmoec_diagnostics *d) {
  return read_real(value, name, 1e-6, 1e6, &o->temperature, d);
}
static bool read_top_p(hmoec_options *o, const char *value, const char *name, hmoec_diagnostics *d) {
  return read_real(value, name, 1e-6, 1, &o->top_p, d);
}
static bool read_sample(hmoec_options *o, const char *value, const char *name, hmoec_diagnostics *d) {
  (void)value;
  (void)name;
  (void)d;
  o->sample = true;
  return true;
}

#define STRING(field) offsetof(hmoec_options, field), NULL
#define READ(function) 0, function

static const option_row rows[] = {
    {"-o", "PATH", "where the result goes", STRING(output)},
    {"-D", "NAME=VALUE", "override a dim or an option of the spec", READ(read_define)},
    {"--weights", "FILE",
     "weights: .safetensors, a directory or index of some, or .hmw made by `hmoec pack` (default: MODEL, if it is a directory)",
     STRING(weights)},
    {"--input", "NAME=FILE.npy", "an input of the model", READ(read_input)},
    {"--output", "NAME=FILE.npy", "where an output goes", READ(read_output)},
    {"--entry", "NAME", "which entry to run", STRING(entry)},
    {"--max-new-tokens", "N", "most tokens to generate for each row", READ(read_max_new_tokens)},
    {"--beams", "N", "beam search with N hypotheses a row", READ(read_beams)},
    {"--length-penalty", "P", "with --beams: scores are divided by length^P (default: 1)", READ(read_length_penalty)},
    {"--no-repeat-ngram", "N", "no n-gram of N tokens comes twice", READ(read_ngram)},
    {"--sample", NULL, "draw tokens instead of taking the likeliest", READ(read_sample)},
    {"--temperature", "T", "with --sample: logits are divided by T", READ(read_temperature)},
    {"--top-k", "K", "with --sample: only from the K likeliest", READ(read_top_k)},
    {"--top-p", "P", "with --sample: only from the likeliest that together have probability P", READ(read_top_p)},
    {"--start-token", "ID", "what an encoder-decoder begins with (default: the model's)", READ(read_start_token)},
    {"--end-token", "ID|none", "what ends a row (default: the model's)", READ(read_end_token)},
    {"--pad-token", "ID|none", "what fills up finished rows (default: the model's)", READ(read_pad_token)},
    {"--threads", "N", "threads to run on (default: the CPUs this process may use)", READ(read_threads)},
    {"--tokens", "N[,N...]", "token counts", READ(read_tokens)},
    {"--rows", "N", "batch rows, of --tokens tokens each (default: 1)", READ(read_rows)},
    {"--seed", "S", "seed of random weights and inputs, or of --sample", READ(read_seed)},
    {"--strategy", "S", "how HyperExperts are folded: auto, table, cache, factored, per_token", READ(read_strategy)},
    {"--table-budget", "BYTES", "most bytes of a HyperExpert table or cache, e.g. 64M (default: half of the layer's experts)",
     READ(read_budget)},
    {"--target", "T", "cpu", READ(read_target)},
    {"--mcpu", "CPU", "schedule code for this CPU: native, znver4, sapphirerapids, ...", READ(read_mcpu)},
    {"--cpu", "VERSION",
     "run this code version: amx, avx512_bf16, avx512, avx2, portable (default: the best); the first two need --dtype bf16",
     READ(read_cpu)},
    {"--dtype", "T", "what products are computed in: f32, bf16 (default: f32)", READ(read_dtype)},
    {"--tuning", "FILE", "a tuning file", READ(read_tuning)},
    {"--emit", "WHAT", "obj, or text to -o or standard output: hmoe, hmk, mlir, llvm, asm", STRING(emit)},
    {"--versus", "MODEL", "a second model, run in turns with the first", STRING(versus)},
    {"--json", "FILE", "write the numbers as JSON", STRING(json)},
    {"--save-weights", "FILE", "keep the random weights as .safetensors", STRING(save_weights)},
    {"--print-ir-after", "PASS", "print the IR after a pass, or after all", STRING(trace.print_after)},
    {"--dump-ir", "DIR", "write the IR after every pass to DIR", STRING(trace.dump_dir)},
};

static bool accepts(const hmoec_command *command, const char *name) {
  for (size_t i = 0; command->accepts[i]; i++)
    if (strcmp(command->accepts[i], name) == 0) return true;
  return false;
}

void hmoec_options_help(const hmoec_command *command, FILE *out) {
  fprintf(out, "usage: hmoec %s %s\n\n%s\n\noptions:\n", command->name, command->usage, command->summary);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (!accepts(command, rows[i].name)) continue;
    int width = fprintf(out, "  %s %s", rows[i].name, rows[i].argument ? rows[i].argument : "");
    fprintf(out, "%*s%s\n", width < 30 ? 30 - width : 1, "", rows[i].help);
  }
  fprintf(out, "  --help%*s%s\n", 22, "", "this text");
}

/* The row an argument names, and its value: "--name value", "--name=value", "-Dvalue", "-o value". */
static const option_row *match(const char *argument, const char **value) {
  *value = NULL;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    size_t length = strlen(rows[i].name);
    if (strncmp(argument, rows[i].name, length) != 0) continue;
    if (!argument[length]) return &rows[i];
    if (length == 2) {
      *value = argument + 2;
      return &rows[i];
    }
    if (argument[length] == '=') {
      *value = argument + length + 1;
      return &rows[i];
    }
  }
  return NULL;
}

static bool unknown_option(const hmoec_command *command, const char *argument, hmoec_diagnostics *diagnostics) {
  const char *names[sizeof rows / sizeof *rows];
  size_t count = 0;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (accepts(command, rows[i].name)) names[count++] = rows[i].name;
  const char *close = hmoec_closest_name(argument, names, count);
  return hmoec_usage_error(diagnostics, "hmoec %s has no option '%s'%s%s%s; see hmoec %s --help", command->name, argument,
                           close ? "; did you mean " : "", close ? close : "", close ? "?" : "", command->name);
}

bool hmoec_options_parse(const hmoec_command *command, int argc, char **argv, hmoec_options *out_options, bool *out_help,
                         hmoec_diagnostics *diagnostics) {
  *out_options = (hmoec_options){.pass = hmoec_pass_options_default(),
                                 .max_new_tokens = -1,
                                 .start_token = HMOE_TOKEN_DEFAULT,
                                 .end_token = HMOE_TOKEN_DEFAULT,
                                 .pad_token = HMOE_TOKEN_DEFAULT};
  *out_help = false;
  for (int i = 0; i < argc; i++) {
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
      *out_help = true;
      return true;
    }
    if (argv[i][0] != '-' || !argv[i][1]) {
      if (out_options->model)
        return hmoec_usage_error(diagnostics, "expected one MODEL, found '%s' and '%s'", out_options->model, argv[i]);
      out_options->model = argv[i];
      continue;
    }
    const char *value;
    const option_row *row = match(argv[i], &value);
    if (!row || !accepts(command, row->name)) return unknown_option(command, argv[i], diagnostics);
    if (!row->argument) {
      if (value) return hmoec_usage_error(diagnostics, "%s takes no value, found '%s'", row->name, value);
      value = "1";
    }
    if (!value) {
      if (i + 1 == argc)
        return hmoec_usage_error(diagnostics, "expected %s %s, found the end of the line", row->name, row->argument);
      value = argv[++i];
    }
    if (!*value) return hmoec_usage_error(diagnostics, "expected %s %s, found an empty text", row->name, row->argument);
    if (row->read ? !row->read(out_options, value, row->name, diagnostics) : false) return false;
    if (!row->read) {
      const char *empty = NULL, **field = (const char **)(void *)((char *)out_options + row->field);
      if (*field != empty) return hmoec_usage_error(diagnostics, "%s is given twice", row->name);
      *field = value;
    }
  }
  if (!out_options->model)
    return hmoec_usage_error(diagnostics, "expected a MODEL; usage: hmoec %s %s", command->name, command->usage);
  if (!out_options->weights && !out_options->save_weights && !out_options->versus && accepts(command, "--weights") &&
      hmoec_is_directory(out_options->model))
    out_options->weights = out_options->model;
  return true;
}
