/* Command lines, by a table of options. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "commands/commands.h"
#include "hmoe/generate.h"
#include "plain_text.h"
#include "support/paths.h"

typedef bool (*option_reader)(hmoec_arguments *options, const char *value, const char *name, hmoec_diagnostics *diagnostics);

/* A help that ends in ": " goes on with the values that the library lists; NULL: it is not listed. */
typedef struct option_row {
  const char *name, *argument, *help;
  size_t field;              /* of a text */
  option_reader read;        /* of the others */
  bool repeats;              /* may be given more than once */
} option_row;

static bool read_integer(const char *value, int64_t minimum, const char *name, int64_t *out, hmoec_diagnostics *diagnostics) {
  char *end;
  errno = 0;
  long long parsed = strtoll(value, &end, 10);
  bool plain = value[*value == '-'] >= '0' && value[*value == '-'] <= '9'; /* neither blanks nor a plus sign before */
  if (!plain || *end || errno == ERANGE || parsed < minimum)
    return hmoec_usage_error(diagnostics, "expected %s to be an integer of at least %lld, found '%s'", name, (long long)minimum,
                             value);
  *out = parsed;
  return true;
}

/* NAME=VALUE into name (128 bytes) and a pointer to the value; form: what the help calls it. */
static bool split(const char *text, const char *option, const char *form, char *name, const char **value,
                  hmoec_diagnostics *diagnostics) {
  const char *equals = strchr(text, '=');
  if (!equals || equals == text || equals - text >= 128 || !equals[1])
    return hmoec_usage_error(diagnostics, "expected %s %s, found '%s'", option, form, text);
  memcpy(name, text, (size_t)(equals - text));
  name[equals - text] = 0;
  *value = equals + 1;
  return true;
}

static bool read_define(hmoec_arguments *o, const char *value, const char *name, hmoec_diagnostics *diagnostics) {
  size_t count = o->options.define_count;
  if (count == HMOEC_MAX_LIST) return hmoec_usage_error(diagnostics, "more than %d -D", HMOEC_MAX_LIST);
  o->defines[count].name = o->define_names[count];
  if (!split(value, name, "NAME=VALUE", o->define_names[count], &o->defines[count].value, diagnostics)) return false;
  o->options.define_count++;
  return true;
}

static bool read_text(const char **list, size_t *count, const char *value, const char *name, hmoec_diagnostics *diagnostics) {
  if (*count == HMOEC_MAX_LIST) return hmoec_usage_error(diagnostics, "more than %d %s", HMOEC_MAX_LIST, name);
  list[(*count)++] = value;
  return true;
}
static bool read_c_include(hmoec_arguments *o, const char *value, const char *name, hmoec_diagnostics *d) {
  if (!hmoec_is_directory(value)) return hmoec_usage_error(d, "expected %s to be a directory, found '%s'", name, value);
  return read_text(o->c_includes, &o->options.c_include_count, value, name, d);
}
static bool read_c_define(hmoec_arguments *o, const char *value, const char *name, hmoec_diagnostics *d) {
  size_t length = strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
  if (!length || (*value >= '0' && *value <= '9') || (value[length] && value[length] != '=' && value[length] != '('))
    return hmoec_usage_error(d, "expected %s NAME[=VALUE], found '%s'", name, value);
  return read_text(o->c_defines, &o->options.c_define_count, value, name, d);
}

static bool read_binding(hmoec_binding_option *list, size_t *count, const char *value, const char *name,
                         hmoec_diagnostics *diagnostics) {
  if (*count == HMOEC_MAX_LIST) return hmoec_usage_error(diagnostics, "more than %d %s", HMOEC_MAX_LIST, name);
  if (!split(value, name, "NAME=FILE.npy", list[*count].name, &list[*count].file, diagnostics)) return false;
  for (size_t i = 0; i < *count; i++)
    if (strcmp(list[i].name, list[*count].name) == 0)
      return hmoec_usage_error(diagnostics, "%s %s is given twice", name, list[i].name);
  (*count)++;
  return true;
}

static bool read_input(hmoec_arguments *o, const char *value, const char *name, hmoec_diagnostics *d) {
  return read_binding(o->inputs, &o->input_count, value, name, d);
}
static bool read_output(hmoec_arguments *o, const char *value, const char *name, hmoec_diagnostics *d) {
  return read_binding(o->outputs, &o->output_count, value, name, d);
}
static bool read_seed(hmoec_arguments *o, const char *value, const char *name, hmoec_diagnostics *d) {
  o->seed_given = true;
  return read_integer(value, 0, name, &o->seed, d);
}

static bool read_threads(hmoec_arguments *o, const char *value, const char *name, hmoec_diagnostics *d) {
  if (!read_integer(value, 1, name, &o->threads, d)) return false;
  return o->threads <= 4096 ? true
                            : hmoec_usage_error(d, "expected %s to be at most 4096, found %lld", name, (long long)o->threads);
}

static bool read_tokens(hmoec_arguments *o, const char *value, const char *name, hmoec_diagnostics *diagnostics) {
  char number[32];
  for (const char *at = value;; at++) {
    size_t length = strcspn(at, ",");
    if (!length || length >= sizeof number || o->token_count == HMOEC_MAX_LIST)
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

/* Bytes with an optional K, M or G (binary). */
static bool read_bytes(const char *value, const char *name, int64_t *out, hmoec_diagnostics *diagnostics) {
  char *end;
  errno = 0;
  long long number = strtoll(value, &end, 10);
  const char *suffixes = "KMG", *suffix = *end ? strchr(suffixes, *end) : NULL;
  int shift = suffix ? 10 * (int)(suffix - suffixes + 1) : 0;
  if (end == value || errno == ERANGE || number < 1 || number > (INT64_C(1) << (50 - shift)) || (*end && (!suffix || end[1])))
    return hmoec_usage_error(diagnostics, "expected %s to be bytes, such as 64M, found '%s'%s", name, value,
                             errno == ERANGE || number > (INT64_C(1) << (50 - shift)) ? ", over 2^50" : "");
  *out = (int64_t)number << shift;
  return true;
}
static bool read_budget(hmoec_arguments *o, const char *value, const char *name, hmoec_diagnostics *d) {
  return read_bytes(value, name, &o->options.table_budget_bytes, d);
}
static bool read_memory(hmoec_arguments *o, const char *value, const char *name, hmoec_diagnostics *d) {
  return read_bytes(value, name, &o->options.memory_bytes, d);
}

/* Seconds, with an optional s, m or h behind them. */
static bool read_seconds(hmoec_arguments *o, const char *value, const char *name, hmoec_diagnostics *diagnostics) {
  static const struct {
    char suffix;
    int64_t seconds;
  } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}};
  const int64_t most = 7 * 24 * 3600;
  char *end;
  errno = 0;
  long long number = strtoll(value, &end, 10);
  int64_t unit = *end ? 0 : 1;
  for (size_t i = 0; *end && !end[1] && i < sizeof units / sizeof *units; i++)
    if (*end == units[i].suffix) unit = units[i].seconds;
  bool plain = *value >= '0' && *value <= '9';
  if (!plain || errno || !unit || number < 1 || number > most / unit)
    return hmoec_usage_error(diagnostics, "expected %s to be seconds from 1 to %lld, such as 90, 5m or 2h, found '%s'", name,
                             (long long)most, value);
  o->budget_seconds = (double)(number * unit);
  return true;
}

static bool read_count(const char *value, const char *name, int64_t *out, hmoec_diagnostics *d) {
  if (!read_integer(value, 0, name, out, d)) return false;
  return *out <= INT32_MAX ? true : hmoec_usage_error(d, "expected %s to fit 31 bits, found %s", name, value);
}
static bool read_rows(hmoec_arguments *o, const char *value, const char *name, hmoec_diagnostics *d) {
  return read_integer(value, 1, name, &o->rows, d) &&
         (o->rows <= 1 << 26 || hmoec_usage_error(d, "expected %s to be at most 2^26, found %s", name, value));
}
static bool read_real(const char *value, const char *name, const char *expected, double least, double most, double *out,
                      hmoec_diagnostics *d) {
  char *end;
  errno = 0;
  double parsed = hmoe_plain_number(value, &end);
  if (end == value || *end || errno == ERANGE || !(parsed >= least && parsed <= most))
    return hmoec_usage_error(d, "expected %s to be %s, found '%s'", name, expected, value);
  *out = parsed;
  return true;
}
/* ---- generation ---- */

typedef enum generation_kind { TOKEN, TOKENS, WORD, INTEGER, STOPPING, NUMBER } generation_kind;

/* What an option of generation may be, and where it goes. */
typedef struct generation_row {
  const char *name;
  generation_kind kind;
  size_t field;         /* of hmoe_generation */
  size_t list;          /* of tokens: which of token_lists */
  double least, most;   /* of an integer or a number */
  const char *expected; /* of a number */
} generation_row;

#define FIELD(name) offsetof(hmoe_generation, name)

static const generation_row generation_rows[] = {
    {"--start-token", TOKEN, FIELD(start_token), 0, 0, 0, NULL},
    {"--pad-token", TOKEN, FIELD(pad_token), 1, 0, 0, NULL},
    {"--forced-bos-token", TOKEN, FIELD(forced_bos_token), 2, 0, 0, NULL},
    {"--end-token", TOKENS, FIELD(end_token), 3, 0, 0, NULL},
    {"--forced-eos-token", TOKENS, FIELD(forced_eos_token), 4, 0, 0, NULL},
    {"--suppress-tokens", TOKENS, FIELD(suppress_tokens), 5, 0, 0, NULL},
    {"--begin-suppress-tokens", TOKENS, FIELD(begin_suppress_tokens), 6, 0, 0, NULL},
    {"--bad-word", WORD, FIELD(bad_words), 7, 0, 0, NULL},
    {"--max-new-tokens", INTEGER, FIELD(max_new_tokens), 0, 0, INT32_MAX, NULL},
    {"--max-length", INTEGER, FIELD(max_length), 0, 1, INT32_MAX, NULL},
    {"--min-new-tokens", INTEGER, FIELD(min_new_tokens), 0, 0, INT32_MAX, NULL},
    {"--min-length", INTEGER, FIELD(min_length), 0, 0, INT32_MAX, NULL},
    {"--beams", INTEGER, FIELD(beams), 0, 1, INT32_MAX, NULL},
    {"--early-stopping", STOPPING, FIELD(early_stopping), 0, 0, 0, NULL},
    {"--no-repeat-ngram", INTEGER, FIELD(no_repeat_ngram), 0, 0, INT32_MAX, NULL},
    {"--top-k", INTEGER, FIELD(top_k), 0, 0, INT32_MAX, NULL},
    {"--length-penalty", NUMBER, FIELD(length_penalty), 0, -100, 100, "a number from -100 to 100"},
    {"--repetition-penalty", NUMBER, FIELD(repetition_penalty), 0, 1e-6, 1e6, "a number from 1e-06 to 1e+06"},
    {"--temperature", NUMBER, FIELD(temperature), 0, 1e-6, 1e6, "a number from 1e-06 to 1e+06"},
    {"--top-p", NUMBER, FIELD(top_p), 0, 1e-6, 1, "a number from 1e-06 to 1"},
    {"--min-p", NUMBER, FIELD(min_p), 0, 0, 1, "a number from 0 to 1"},
};

/* "1,2,3" behind what the list has. */
static bool read_token_list(const char *value, const char *name, int64_t *list, size_t *count, hmoec_diagnostics *d) {
  char number[32];
  for (const char *at = value;; at++) {
    size_t length = strcspn(at, ",");
    if (length >= sizeof number)
      return hmoec_usage_error(d, "expected %s to be tokens such as 1,64,512, or none, found '%s'", name, value);
    if (*count + 1 >= HMOEC_MAX_TOKENS) return hmoec_usage_error(d, "more than %d tokens for %s", HMOEC_MAX_TOKENS - 2, name);
    memcpy(number, at, length);
    number[length] = 0;
    if (!read_count(number, name, &list[*count], d)) return false;
    ++*count;
    at += length;
    if (!*at) return true;
  }
}

static bool read_generation_tokens(hmoec_arguments *o, const generation_row *row, const char *value, hmoec_diagnostics *d) {
  hmoe_tokens tokens;
  int64_t *list = o->token_lists[row->list];
  memcpy(&tokens, (char *)&o->generation + row->field, sizeof tokens);
  bool none = strcmp(value, "none") == 0;
  if (tokens.tokens && (row->kind == TOKEN || none || !tokens.count))
    return hmoec_usage_error(d, row->kind == TOKEN ? "%s is given twice" : "%s none goes with no other %s", row->name, row->name);
  tokens.tokens = list;
  if (!none && !read_token_list(value, row->name, list, &tokens.count, d)) return false;
  if (row->kind == TOKEN && tokens.count > 1)
    return hmoec_usage_error(d, "expected %s to be one token, found '%s'", row->name, value);
  if (row->kind == WORD && !none) list[tokens.count++] = HMOE_WORD_END;
  memcpy((char *)&o->generation + row->field, &tokens, sizeof tokens);
  return true;
}

static bool read_generation_integer(hmoec_arguments *o, const generation_row *row, const char *value, hmoec_diagnostics *d) {
  int64_t integer = 0;
  bool none = row->least <= 0 && strcmp(value, "none") == 0;
  if (row->kind == STOPPING) {
    static const char *const names[] = {"false", "true", "never"};
    while (integer < 3 && strcmp(names[integer], value) != 0) integer++;
    if (integer == 3) return hmoec_usage_error(d, "expected %s to be true, false or never, found '%s'", row->name, value);
  } else if (!none) {
    if (!read_integer(value, (int64_t)row->least, row->name, &integer, d)) return false;
    if (integer > (int64_t)row->most) return hmoec_usage_error(d, "expected %s to fit 31 bits, found %s", row->name, value);
  }
  if (integer == 0) integer = HMOE_OFF;
  memcpy((char *)&o->generation + row->field, &integer, sizeof integer);
  return true;
}

static bool read_generation_number(hmoec_arguments *o, const generation_row *row, const char *value, hmoec_diagnostics *d) {
  double number = 0;
  if (!read_real(value, row->name, row->expected, row->least, row->most, &number, d)) return false;
  float narrow = (float)number;
  bool zero = narrow >= 0 && narrow <= 0;
  if (zero) narrow = row->field == FIELD(length_penalty) ? HMOE_NO_LENGTH_PENALTY : (float)HMOE_OFF;
  memcpy((char *)&o->generation + row->field, &narrow, sizeof narrow);
  return true;
}

static bool read_generation(hmoec_arguments *o, const char *value, const char *name, hmoec_diagnostics *diagnostics) {
  const generation_row *row = generation_rows;
  while (strcmp(row->name, name) != 0) row++; /* every option that is read so has a row */
  switch (row->kind) {
  case TOKEN:
  case TOKENS:
  case WORD: return read_generation_tokens(o, row, value, diagnostics);
  case INTEGER:
  case STOPPING: return read_generation_integer(o, row, value, diagnostics);
  case NUMBER: return read_generation_number(o, row, value, diagnostics);
  }
  return false;
}

static bool read_sample(hmoec_arguments *o, const char *value, const char *name, hmoec_diagnostics *d) {
  (void)value;
  int64_t sample = strcmp(name, "--sample") == 0 ? 1 : HMOE_OFF;
  if (o->generation.sample && o->generation.sample != sample)
    return hmoec_usage_error(d, "--sample and --greedy exclude each other");
  o->generation.sample = sample;
  return true;
}

static bool read_machine(hmoec_arguments *o, const char *value, const char *name, hmoec_diagnostics *d) {
  (void)value;
  (void)name;
  (void)d;
  o->machine = true;
  return true;
}

static bool read_complete(hmoec_arguments *o, const char *value, const char *name, hmoec_diagnostics *d) {
  (void)value;
  (void)name;
  (void)d;
  o->complete = true;
  return true;
}

#define STRING(field) offsetof(hmoec_arguments, field), NULL, false
#define READ(function) 0, function, false
#define EACH(function) 0, function, true

static const option_row rows[] = {
    {"-o", "PATH", "where the result goes", STRING(output)},
    {"-D", "NAME=VALUE", "override a dim or an option of the spec", EACH(read_define)},
    {"--c-include", "DIR", "a directory that functions written in C include from", EACH(read_c_include)},
    {"--c-define", "NAME[=VALUE]", "a macro of functions written in C", EACH(read_c_define)},
    {"--weights", "FILE",
     "weights: .safetensors, a directory or index of some, or .hmw made by `hmoec pack` (default: MODEL, if it is a directory)",
     STRING(weights)},
    {"--input", "NAME=FILE.npy", "an input of the model", EACH(read_input)},
    {"--output", "NAME=FILE.npy", "where an output goes", EACH(read_output)},
    {"--entry", "NAME", "which entry to run", STRING(entry)},
    {"--max-new-tokens", "N", "most tokens to generate for each row", READ(read_generation)},
    {"--max-length", "N", "the same, start token or prompt counted", READ(read_generation)},
    {"--min-new-tokens", "N|none", "no end token before N new ones", READ(read_generation)},
    {"--min-length", "N|none", "the same, start token or prompt counted", READ(read_generation)},
    {"--beams", "N", "beam search with N hypotheses a row; 1: none", READ(read_generation)},
    {"--length-penalty", "P", "with beams: scores are divided by length^P", READ(read_generation)},
    {"--early-stopping", "E", "with beams: when a row is done: true, false, never", READ(read_generation)},
    {"--no-repeat-ngram", "N|none", "no n-gram of N tokens comes twice", READ(read_generation)},
    {"--repetition-penalty", "P", "logits of tokens that a row has are divided by P, multiplied if below 0", READ(read_generation)},
    {"--greedy", NULL, "take the likeliest token: neither beams nor sampling", READ(read_sample)},
    {"--sample", NULL, "draw tokens; the next five say it too", READ(read_sample)},
    {"--temperature", "T", "when sampling: logits are divided by T", READ(read_generation)},
    {"--top-k", "K|none", "when sampling: only from the K likeliest", READ(read_generation)},
    {"--top-p", "P", "when sampling: only from the likeliest that together have probability P", READ(read_generation)},
    {"--min-p", "P", "when sampling: only what is at least P times as likely as the likeliest", READ(read_generation)},
    {"--start-token", "ID", "what an encoder-decoder begins with", READ(read_generation)},
    {"--pad-token", "ID|none", "what fills up finished rows; none: the first end token", READ(read_generation)},
    {"--end-token", "ID[,ID...]|none", "what ends a row; may be repeated", EACH(read_generation)},
    {"--forced-bos-token", "ID|none", "the token behind a start of one token", READ(read_generation)},
    {"--forced-eos-token", "ID[,ID...]|none", "the last token that may be generated is one of these", READ(read_generation)},
    {"--suppress-tokens", "ID[,ID...]|none", "never generated", READ(read_generation)},
    {"--begin-suppress-tokens", "ID[,ID...]|none", "not generated first", READ(read_generation)},
    {"--bad-word", "ID[,ID...]|none", "tokens that never come one after the other; may be repeated", EACH(read_generation)},
    {"--threads", "N", "threads to run on (default: the CPUs this process may use)", READ(read_threads)},
    {"--tokens", "N[,N...]", "token counts; strategies are weighed for them (default: 512)", READ(read_tokens)},
    {"--rows", "N", "batch rows, of --tokens tokens each (default: 1)", READ(read_rows)},
    {"--seed", "S", "seed of random weights and inputs, or of sampling", READ(read_seed)},
    {"--strategy", "S", "how HyperExperts are folded: ", STRING(options.strategy)},
    {"--table-budget", "BYTES", "most bytes of a HyperExpert table or cache, e.g. 64M (default: half of the layer's experts)",
     READ(read_budget)},
    {"--memory", "BYTES", "most bytes of all tables and caches of the model, each where it saves the most time", READ(read_memory)},
    {"--routing", "R", "how often experts are selected together: even, zipf:S or a file of counts (default: zipf:0.5)",
     STRING(options.routing)},
    {"--write-routing", "FILE", "write how often --input selects which experts, for --routing", STRING(write_routing)},
    {"--target", "T", "what code is for: ", STRING(options.target)},
    {"--mcpu", "CPU",
     "schedule code for this CPU: native, or a name that LLVM has; with --target cuda: chips, with commas between them, or all",
     STRING(options.mcpu)},
    {"--cpu", "VERSION", "run this code version, if there is one for the --dtype (default: the best): ", STRING(options.cpu)},
    {"--dtype", "T", "what products are computed in (default: f32): ", STRING(options.dtype)},
    {"--tuning", "FILE", "what `hmoec tune` measured, which code is made and run by", STRING(options.tuning)},
    {"--budget", "SECONDS", "how long to search: 90, 5m, 2h", READ(read_seconds)},
    {"--report", "DIR", "write what was found as a page with pictures", STRING(report)},
    {"--merge", "FILE",
     "put two tuning files together: what FILE and a second one have, of which the second counts where both say something",
     STRING(merge)},
    {"--machine", NULL, "measure the numbers of this machine that times are predicted by", READ(read_machine)},
    {"--measure", "FILE", NULL, STRING(measure)}, /* of children */
    {"--emit", "WHAT", "obj, or text to -o or standard output: hmoe, hmk, mlir, llvm, asm; with --target cuda also ptx, cubin",
     STRING(emit)},
    {"--versus", "MODEL", "a second model, run in turns with the first", STRING(versus)},
    {"--json", "FILE", "write the numbers as JSON", STRING(json)},
    {"--save-weights", "FILE", "keep the random weights as .safetensors", STRING(save_weights)},
    {"--complete", NULL, "fail too where something is left out of the comparison, or has no value to compare", READ(read_complete)},
    {"--print-ir-after", "PASS", "print the IR after a pass, or after all", STRING(options.print_ir_after)},
    {"--dump-ir", "DIR", "write the IR after every pass to DIR", STRING(options.dump_directory)},
};

static bool accepts(const hmoec_command *command, const char *name) {
  for (size_t i = 0; command->accepts[i]; i++)
    if (strcmp(command->accepts[i], name) == 0) return true;
  return false;
}

void hmoec_arguments_help(const hmoec_command *command, FILE *out) {
  fprintf(out, "usage: hmoec %s %s\n\n%s\n\noptions:\n", command->name, command->usage, command->summary);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (!accepts(command, rows[i].name) || !rows[i].help) continue;
    int width = fprintf(out, "  %s %s", rows[i].name, rows[i].argument ? rows[i].argument : "");
    fprintf(out, "%*s%s", width < 30 ? 30 - width : 1, "", rows[i].help);
    bool listed = rows[i].help[strlen(rows[i].help) - 1] == ' ';
    const char *value;
    for (size_t v = 0; listed && (value = hmoec_option_value(rows[i].name + 2, v)); v++) fprintf(out, "%s%s", v ? ", " : "", value);
    fputc('\n', out);
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
    if (accepts(command, rows[i].name) && rows[i].help) names[count++] = rows[i].name;
  const char *value, *close = match(argument, &value) ? NULL : hmoec_closest_name(argument, names, count);
  return hmoec_usage_error(diagnostics, "hmoec %s has no option '%s'%s%s%s hmoec %s --help", command->name, argument,
                           close ? "; did you mean " : "", close ? close : "", close ? "? See" : "; see", command->name);
}

/* Messages of the library go where the commands' own go, and set the exit status as these do. */
static void print_and_count(void *context, const hmoec_message *message) {
  hmoec_message_print(stderr, message);
  if (message->severity == HMOEC_ERROR) hmoec_diagnostics_count(context, message->status);
}

static void print_ir(void *context, const char *text, size_t bytes) {
  (void)context;
  fwrite(text, 1, bytes, stderr);
}

/* A file that is read, and what the command line calls it; NULL: no more. */
static const char *input_at(const hmoec_arguments *o, size_t index, const char **out_option) {
  const char *given[] = {o->model, o->weights, o->versus}, *options[] = {"MODEL", "--weights", "--versus"};
  *out_option = index < 3 ? options[index] : "--input";
  return index < 3 ? given[index] : index - 3 < o->input_count ? o->inputs[index - 3].file : NULL;
}

bool hmoec_output_check(const hmoec_arguments *o, const char *option, const char *output, hmoec_diagnostics *diagnostics) {
  const char *input, *input_option;
  for (size_t i = 0; i < 3 + o->input_count; i++)
    if ((input = input_at(o, i, &input_option)) && hmoec_is_same_file(input, output))
      return hmoec_usage_error(diagnostics, "%s would write over %s, which is %s too", option, output, input_option);
  return true;
}

static bool outputs_check(const hmoec_arguments *o, hmoec_diagnostics *diagnostics) {
  const char *given[] = {o->output, o->json, o->save_weights, o->write_routing},
             *options[] = {"-o", "--json", "--save-weights", "--write-routing"};
  for (size_t i = 0; i < sizeof given / sizeof *given; i++)
    if (given[i] && !hmoec_output_check(o, options[i], given[i], diagnostics)) return false;
  for (size_t i = 0; i < o->output_count; i++) {
    if (!hmoec_output_check(o, "--output", o->outputs[i].file, diagnostics)) return false;
    for (size_t j = 0; j < i; j++)
      if (hmoec_is_same_file(o->outputs[i].file, o->outputs[j].file))
        return hmoec_usage_error(diagnostics, "--output %s and --output %s are one file, %s", o->outputs[j].name,
                                 o->outputs[i].name, o->outputs[i].file);
  }
  return true;
}

bool hmoec_arguments_parse(const hmoec_command *command, int argc, char **argv, hmoec_arguments *out_arguments, bool *out_help,
                           hmoec_diagnostics *diagnostics) {
  *out_arguments = (hmoec_arguments){.options = {.struct_size = sizeof(hmoec_options),
                                                 .message = print_and_count,
                                                 .message_context = diagnostics,
                                                 .defines = out_arguments->defines,
                                                 .c_includes = out_arguments->c_includes,
                                                 .c_defines = out_arguments->c_defines,
                                                 .print = print_ir},
                                     .argc = argc,
                                     .argv = argv,
                                     .generation = {.struct_size = sizeof(hmoe_generation)}};
  *out_help = false;
  bool seen[sizeof rows / sizeof *rows] = {false}, options = true; /* options: no -- came yet, behind which all is MODEL */
  for (int i = 0; i < argc; i++) {
    if (options && strcmp(argv[i], "--") == 0) {
      options = false;
      continue;
    }
    if (options && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
      *out_help = true;
      return true;
    }
    if (!options || argv[i][0] != '-' || !argv[i][1]) {
      if (out_arguments->model)
        return hmoec_usage_error(diagnostics, "expected one MODEL, found '%s' and '%s'", out_arguments->model, argv[i]);
      if (!*argv[i]) return hmoec_usage_error(diagnostics, "expected a MODEL, found an empty text");
      out_arguments->model = argv[i];
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
    if (seen[row - rows] && !row->repeats) return hmoec_usage_error(diagnostics, "%s is given twice", row->name);
    seen[row - rows] = true;
    if (row->read ? !row->read(out_arguments, value, row->name, diagnostics) : false) return false;
    if (!row->read) *(const char **)(void *)((char *)out_arguments + row->field) = value;
  }
  if (!out_arguments->model && !command->model_optional)
    return hmoec_usage_error(diagnostics, "expected a MODEL; usage: hmoec %s %s", command->name, command->usage);
  for (size_t i = 0; i < out_arguments->token_count; i++) { /* what strategies are weighed for */
    int64_t tokens = out_arguments->tokens[i] * (out_arguments->rows ? out_arguments->rows : 1);
    if (tokens > out_arguments->options.tokens) out_arguments->options.tokens = tokens;
  }
  if (hmoec_options_validate(&out_arguments->options, "--") != HMOEC_OK) return false;
  if (!out_arguments->weights && !out_arguments->save_weights && !out_arguments->versus && accepts(command, "--weights") &&
      out_arguments->model && hmoec_is_directory(out_arguments->model))
    out_arguments->weights = out_arguments->model;
  if (!out_arguments->options.dump_directory) out_arguments->options.repro_file = "repro.mlir";
  return outputs_check(out_arguments, diagnostics);
}
