/* The command line: what each option reads, at its limits and one past them, which commands take it, and which files would be written over. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "commands/commands.h"

#define FLAG_OPTIONS " --greedy --sample --complete "

static const hmoec_command *const commands[] = {&hmoec_command_compile, &hmoec_command_pack,     &hmoec_command_run,
                                                &hmoec_command_check,   &hmoec_command_bench,    &hmoec_command_explain,
                                                &hmoec_command_import,  &hmoec_command_generate, &hmoec_command_tune};
static char messages[8192], folder[] = "/tmp/hmoec-arguments-XXXXXX";
static hmoec_arguments *room; /* a block of its own, so that guards see what is written behind it */
#define a (*room)
static hmoec_diagnostics *sink;
static bool help;

static void keep(void *context, const hmoec_message *message) {
  (void)context;
  size_t used = strlen(messages);
  snprintf(messages + used, sizeof messages - used, "%s\n", message->text);
}

static const hmoec_command *command_of(const char *name) {
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
    if (strcmp(commands[i]->name, name) == 0) return commands[i];
  fail_msg("there is no command %s", name);
  return NULL;
}

/* "run m.spec --threads 3": words between blanks; ~ is an empty one. */
static bool parse(const char *line) {
  enum { MOST_WORDS = 256 };
  static char text[16384];
  static char *words[MOST_WORDS];
  int count = 0;
  assert_true(strlen(line) < sizeof text);
  strcpy(text, line);
  for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
    assert_true(count < MOST_WORDS);
    words[count++] = strcmp(word, "~") == 0 ? word + 1 : word;
  }
  *messages = 0;
  hmoec_diagnostics_forget(sink);
  errno = ERANGE; /* of something before */
  return hmoec_arguments_parse(command_of(words[0]), count - 1, words + 1, &a, &help, sink);
}

static void taken(const char *line) {
  if (!parse(line) || *messages) fail_msg("%s: %s", line, messages);
}

/* Refused as wrong usage, with this message and no other. */
static void refused(const char *line, const char *format, ...) {
  char expected[4096];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(expected, sizeof expected, format, arguments);
  va_end(arguments);
  bool ok = parse(line);
  size_t length = strlen(expected);
  if (ok || hmoec_diagnostics_status(sink) != HMOEC_USAGE_ERROR || strncmp(messages, expected, length) != 0 ||
      strcmp(messages + length, "\n") != 0)
    fail_msg("%s: expected \"%s\", found \"%s\"", line, expected, messages);
}

/* A line with one word `count` times. */
static const char *repeated(const char *begin, const char *format, int count) {
  static char line[16384];
  size_t used = (size_t)snprintf(line, sizeof line, "%s", begin);
  for (int i = 0; i < count; i++) used += (size_t)snprintf(line + used, sizeof line - used, format, i);
  assert_true(used < sizeof line);
  return line;
}

/* ---- which command takes what ---- */

static void test_options_of_commands(void **state) {
  (void)state;
  static const struct {
    const char *command, *options;
  } rows[] = {
      {"compile", "-o -D --c-include --c-define --tokens --strategy --table-budget --memory --routing --target --mcpu --dtype "
                  "--tuning --emit --print-ir-after --dump-ir"},
      {"pack", "-o -D --c-include --c-define --weights --threads --tokens --strategy --table-budget --memory --routing --target "
               "--mcpu --cpu --dtype --tuning"},
      {"run", "-D --c-include --c-define --weights --input --output --entry --threads --tokens --strategy --table-budget --memory "
              "--routing --target --mcpu "
              "--cpu --dtype --tuning"},
      {"check", "-D --c-include --c-define --weights --threads --tokens --seed --strategy --table-budget --memory --routing "
                "--target --mcpu --cpu "
                "--dtype --tuning --save-weights --complete"},
      {"bench", "-D --c-include --c-define --weights --threads --tokens --seed --strategy --table-budget --memory --routing "
                "--target --mcpu --cpu "
                "--dtype --tuning --versus --json"},
      {"explain",
       "-D --c-include --c-define --weights --input --threads --tokens --rows --strategy --table-budget --memory --routing "
       "--write-routing --target --mcpu --dtype --tuning"},
      {"import", "-o"},
      {"tune", "-o -D --c-include --c-define --weights --threads --tokens --seed --strategy --table-budget --memory --routing "
               "--target --cpu --dtype "
               "--budget --report --merge --machine"},
      {"generate",
       "-o -D --c-include --c-define --weights --input --max-new-tokens --max-length --min-new-tokens --min-length --beams "
       "--length-penalty --early-stopping --no-repeat-ngram --repetition-penalty --greedy --sample --temperature --top-k --top-p "
       "--min-p --start-token --pad-token --end-token --forced-bos-token --forced-eos-token --suppress-tokens "
       "--begin-suppress-tokens --bad-word --threads --tokens --seed --strategy --table-budget --memory --routing --target --mcpu "
       "--cpu --dtype --tuning"},
  };
  for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
    /* The help has these in the order of the table, one a line. */
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    const hmoec_command *command = command_of(rows[r].command);
    hmoec_arguments_help(command, out);
    fclose(out);
    char expected[1024], found[2048] = "";
    snprintf(expected, sizeof expected, "usage: hmoec %s %s\n\n%s\n\noptions:\n", command->name, command->usage, command->summary);
    assert_int_equal(strncmp(text, expected, strlen(expected)), 0);
    for (char *line = text + strlen(expected); *line; line = strchr(line, '\n') + 1) {
      char name[64];
      assert_true(strncmp(line, "  -", 3) == 0 && strcspn(line, "\n") > 32);
      assert_int_equal(sscanf(line, " %63s", name), 1);
      /* Helps stand below each other, but where the option is too long for that. */
      size_t width = strcspn(line + 2, " ") + 2;
      bool flag = strstr(FLAG_OPTIONS " --help ", name);
      if (!flag) width += 1 + strcspn(line + width + 1, " ");
      if (width < 30) assert_true(line[29] == ' ' && line[30] != ' ');
      else assert_true(line[width] == ' ' && line[width + 1] != ' ');
      if (strcmp(name, "--help") != 0)
        snprintf(found + strlen(found), sizeof found - strlen(found), "%s%s", *found ? " " : "", name);
    }
    assert_string_equal(found, rows[r].options);
    assert_non_null(strstr(text, "\n  --help                      this text\n"));
    free(text);
    /* What it does not take is refused by name. */
    for (size_t other = 0; other < sizeof rows / sizeof *rows; other++) {
      char names[1024], line[256];
      strcpy(names, rows[other].options);
      for (char *rest = names, *name; (name = strtok_r(rest, " ", &rest));) {
        char between[128];
        snprintf(between, sizeof between, " %s ", name);
        char own[1024];
        snprintf(own, sizeof own, " %s ", rows[r].options);
        if (strstr(own, between)) continue;
        snprintf(line, sizeof line, "%s m %s 1", rows[r].command, name);
        refused(line, "hmoec %s has no option '%s'; see hmoec %s --help", rows[r].command, name, rows[r].command);
      }
    }
  }
}

static void test_values_in_help(void **state) {
  (void)state;
  char *text;
  size_t size;
  FILE *out = open_memstream(&text, &size);
  assert_non_null(out);
  hmoec_arguments_help(&hmoec_command_run, out);
  fclose(out);
  assert_non_null(strstr(text, "\n  --dtype T                   what products are computed in (default: f32): f32, bf16\n"));
  assert_non_null(strstr(text, "\n  --entry NAME                which entry to run\n"));
  assert_non_null(
      strstr(text, "\n  --strategy S                how HyperExperts are folded: auto, table, cache, factored, per_token\n"));
  free(text);
}

/* ---- the line ---- */

static void test_lines(void **state) {
  (void)state;
  taken("run m.spec");
  assert_string_equal(a.model, "m.spec");
  assert_true(!help && !a.weights && !a.output && !a.entry && !a.seed_given && !a.complete && a.threads == 0 && a.rows == 0);
  assert_int_equal(a.generation.struct_size, sizeof a.generation);
  assert_int_equal(a.options.struct_size, sizeof a.options);
  assert_string_equal(a.options.repro_file, "repro.mlir");
  assert_true(!a.options.dump_directory && !a.options.define_count && a.options.defines == a.defines);
  taken("compile m.spec --dump-ir d");
  assert_null(a.options.repro_file);
  assert_string_equal(a.options.dump_directory, "d");
  taken("run -"); /* a name, and no option */
  assert_string_equal(a.model, "-");
  taken("run -- -x");
  assert_string_equal(a.model, "-x");
  taken("run --entry -- m"); /* a value */
  assert_string_equal(a.entry, "--");
  taken("run m --entry=e=f");
  assert_string_equal(a.entry, "e=f");
  taken("run --entry e m");
  assert_string_equal(a.entry, "e");
  taken("compile m -od");
  assert_string_equal(a.output, "d");
  taken("compile m -o=d");
  assert_string_equal(a.output, "=d");
  taken("compile -Dn=1 m -D n2=x=y");
  assert_int_equal(a.options.define_count, 2);
  assert_string_equal(a.defines[0].name, "n");
  assert_string_equal(a.defines[0].value, "1");
  assert_string_equal(a.defines[1].name, "n2");
  assert_string_equal(a.defines[1].value, "x=y");
  for (int i = 0; i < 3; i++) {
    static const char *const lines[] = {"run --help", "run m -h --nothing", "run m --help n"};
    taken(lines[i]);
    assert_true(help);
  }
  refused("run", "expected a MODEL; usage: hmoec run %s", hmoec_command_run.usage);
  refused("run ~", "expected a MODEL, found an empty text");
  refused("run m n", "expected one MODEL, found 'm' and 'n'");
  refused("run m -- -h", "expected one MODEL, found 'm' and '-h'");
  refused("run m --entry", "expected --entry NAME, found the end of the line");
  refused("run m --entry ~", "expected --entry NAME, found an empty text");
  refused("run m --entry=", "expected --entry NAME, found an empty text");
  refused("run m --entry e --entry f", "--entry is given twice");
  refused("run m --entrye f", "hmoec run has no option '--entrye'; did you mean --entry? See hmoec run --help");
  refused("check m --complete=1", "--complete takes no value, found '1'");
  refused("check m --complete --complete", "--complete is given twice");
  refused("run m --zzzzzzzzzz", "hmoec run has no option '--zzzzzzzzzz'; see hmoec run --help");
  taken("check m --complete");
  assert_true(a.complete);
  taken("run m --tuning f");
  assert_string_equal(a.options.tuning, "f");
  taken("tune m --budget 90 -o f");
  assert_true(a.budget_seconds == 90);
  taken("tune m --budget 5m -o f");
  assert_true(a.budget_seconds == 300);
  taken("tune m --budget 168h -o f");
  assert_true(a.budget_seconds == 604800);
  static const char *const budgets[] = {"0", "-1", "1x", "1mm", "m", "169h", "604801", "99999999999999999999", "1.5"};
  for (size_t i = 0; i < sizeof budgets / sizeof *budgets; i++) {
    char line[128], text[256];
    snprintf(line, sizeof line, "tune m --budget %s", budgets[i]);
    snprintf(text, sizeof text, "expected --budget to be seconds from 1 to 604800, such as 90, 5m or 2h, found '%s'", budgets[i]);
    refused(line, text);
  }
  taken("tune --merge f g -o h");
  assert_string_equal(a.model, "g");
  refused("tune m --measur", "hmoec tune has no option '--measur'; see hmoec tune --help");
  assert_false(parse("compile m --dtype f16")); /* the library's message is printed, and counts */
  assert_int_equal(hmoec_diagnostics_status(sink), HMOEC_USAGE_ERROR);
  assert_string_equal(messages, "");
}

static void test_texts(void **state) {
  (void)state;
  taken("compile m -o 1 --emit 2 --strategy table --target cpu --mcpu native --dtype bf16 --print-ir-after all --dump-ir 3");
  assert_string_equal(a.output, "1");
  assert_string_equal(a.emit, "2");
  assert_string_equal(a.options.strategy, "table");
  assert_string_equal(a.options.target, "cpu");
  assert_string_equal(a.options.mcpu, "native");
  assert_string_equal(a.options.dtype, "bf16");
  assert_string_equal(a.options.print_ir_after, "all");
  assert_string_equal(a.options.dump_directory, "3");
  taken("bench m --weights 4 --versus 5 --json 6 --cpu portable");
  assert_string_equal(a.weights, "4");
  assert_string_equal(a.versus, "5");
  assert_string_equal(a.json, "6");
  assert_string_equal(a.options.cpu, "portable");
  taken("check m --save-weights 7");
  assert_string_equal(a.save_weights, "7");
}

/* ---- lists ---- */

static void test_definitions(void **state) {
  (void)state;
  static const char *const wrong[] = {"n", "=1", "n=", "="};
  char line[512], name[160] = "";
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    snprintf(line, sizeof line, "compile m -D %s", wrong[i]);
    refused(line, "expected -D NAME=VALUE, found '%s'", wrong[i]);
  }
  memset(name, 'n', 127);
  snprintf(line, sizeof line, "compile m -D %s=1", name);
  taken(line);
  assert_string_equal(a.defines[0].name, name);
  memset(name, 'n', 128);
  snprintf(line, sizeof line, "compile m -D %s=1", name);
  refused(line, "expected -D NAME=VALUE, found '%s=1'", name);
  taken(repeated("compile m", " -Dn%d=1", 64));
  assert_int_equal(a.options.define_count, 64);
  assert_string_equal(a.defines[63].name, "n63");
  refused(repeated("compile m", " -Dn%d=1", 65), "more than 64 -D");

  taken("compile m --c-define A --c-define _b2=x --c-define F(x)=x --c-define C=");
  assert_int_equal(a.options.c_define_count, 4);
  assert_string_equal(a.c_defines[0], "A");
  assert_string_equal(a.c_defines[3], "C=");
  static const char *const macros[] = {"=1", "2a", "a-b", "(x)", "a b"};
  for (size_t i = 0; i < 4; i++) {
    snprintf(line, sizeof line, "compile m --c-define %s", macros[i]);
    refused(line, "expected --c-define NAME[=VALUE], found '%s'", macros[i]);
  }
  taken(repeated("compile m", " --c-define A%d", 64));
  assert_true(a.options.c_define_count == 64 && a.options.c_defines == a.c_defines);
  refused(repeated("compile m", " --c-define A%d", 65), "more than 64 --c-define");
  taken("compile m --c-include / --c-include /tmp");
  assert_true(a.options.c_include_count == 2 && a.options.c_includes == a.c_includes);
  assert_string_equal(a.c_includes[1], "/tmp");
  refused("compile m --c-include /dev/null", "expected --c-include to be a directory, found '/dev/null'");
  taken(repeated("compile m", " --c-include=/", 64));
  refused(repeated("compile m", " --c-include=/", 65), "more than 64 --c-include");
}

static void test_bindings(void **state) {
  (void)state;
  taken("run m --input x=a.npy --input y=b=c --output x=d");
  assert_true(a.input_count == 2 && a.output_count == 1);
  assert_string_equal(a.inputs[0].name, "x");
  assert_string_equal(a.inputs[0].file, "a.npy");
  assert_string_equal(a.inputs[1].name, "y");
  assert_string_equal(a.inputs[1].file, "b=c");
  assert_string_equal(a.outputs[0].name, "x");
  assert_string_equal(a.outputs[0].file, "d");
  refused("run m --input x=a --input y=b --input x=c", "--input x is given twice");
  refused("run m --output x=a --output x=c", "--output x is given twice");
  refused("run m --input x", "expected --input NAME=FILE.npy, found 'x'");
  refused("run m --output x=", "expected --output NAME=FILE.npy, found 'x='");
  taken(repeated("run m", " --input n%d=f", 64));
  assert_int_equal(a.input_count, 64);
  refused(repeated("run m", " --input n%d=f", 65), "more than 64 --input");
  taken(repeated("run m", " --output n%d=/f%1$d", 64));
  refused(repeated("run m", " --output n%d=/f%1$d", 65), "more than 64 --output");
}

/* ---- numbers ---- */

static void test_integers(void **state) {
  (void)state;
  static const struct {
    const char *command, *option;
    int64_t least;
    const char *most, *past, *message; /* of `past` */
    size_t field;
  } rows[] = {
      {"check", "--seed", 0, "9223372036854775807", "9223372036854775808",
       "expected --seed to be an integer of at least 0, found '9223372036854775808'", offsetof(hmoec_arguments, seed)},
      {"run", "--threads", 1, "4096", "4097", "expected --threads to be at most 4096, found 4097",
       offsetof(hmoec_arguments, threads)},
      {"explain", "--rows", 1, "67108864", "67108865", "expected --rows to be at most 2^26, found 67108865",
       offsetof(hmoec_arguments, rows)},
      {"explain", "--tokens", 0, "67108864", "67108865", "expected --tokens to be at most 2^26, found 67108865",
       offsetof(hmoec_arguments, tokens)},
      {"generate", "--max-new-tokens", 0, "2147483647", "2147483648", "expected --max-new-tokens to fit 31 bits, found 2147483648",
       offsetof(hmoec_arguments, generation.max_new_tokens)},
      {"generate", "--max-length", 1, "2147483647", "2147483648", "expected --max-length to fit 31 bits, found 2147483648",
       offsetof(hmoec_arguments, generation.max_length)},
      {"generate", "--min-new-tokens", 0, "2147483647", "2147483648", "expected --min-new-tokens to fit 31 bits, found 2147483648",
       offsetof(hmoec_arguments, generation.min_new_tokens)},
      {"generate", "--min-length", 0, "2147483647", "2147483648", "expected --min-length to fit 31 bits, found 2147483648",
       offsetof(hmoec_arguments, generation.min_length)},
      {"generate", "--beams", 1, "2147483647", "2147483648", "expected --beams to fit 31 bits, found 2147483648",
       offsetof(hmoec_arguments, generation.beams)},
      {"generate", "--no-repeat-ngram", 0, "2147483647", "2147483648",
       "expected --no-repeat-ngram to fit 31 bits, found 2147483648", offsetof(hmoec_arguments, generation.no_repeat_ngram)},
      {"generate", "--top-k", 0, "2147483647", "2147483648", "expected --top-k to fit 31 bits, found 2147483648",
       offsetof(hmoec_arguments, generation.top_k)},
  };
  static const char *const wrong[] = {"x", "1x", "+1", "-", "0x1", "1.5", "9999999999999999999999", "-9999999999999999999999"};
  for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
    char line[256];
    const int64_t *value = (const int64_t *)(const void *)((const char *)&a + rows[r].field);
    bool generation = strcmp(rows[r].command, "generate") == 0;
    snprintf(line, sizeof line, "%s m %s %d", rows[r].command, rows[r].option, (int)rows[r].least);
    taken(line);
    assert_int_equal(*value, generation && rows[r].least == 0 ? HMOE_OFF : rows[r].least);
    snprintf(line, sizeof line, "%s m %s %d", rows[r].command, rows[r].option, (int)rows[r].least - 1);
    refused(line, "expected %s to be an integer of at least %d, found '%d'", rows[r].option, (int)rows[r].least,
            (int)rows[r].least - 1);
    snprintf(line, sizeof line, "%s m %s %s", rows[r].command, rows[r].option, rows[r].most);
    taken(line);
    assert_true(*value == strtoll(rows[r].most, NULL, 10));
    snprintf(line, sizeof line, "%s m %s %s", rows[r].command, rows[r].option, rows[r].past);
    refused(line, "%s", rows[r].message);
    for (size_t w = 0; w < sizeof wrong / sizeof *wrong; w++) {
      snprintf(line, sizeof line, "%s m %s %s", rows[r].command, rows[r].option, wrong[w]);
      refused(line, "expected %s to be an integer of at least %d, found '%s'", rows[r].option, (int)rows[r].least, wrong[w]);
    }
    snprintf(line, sizeof line, "%s m %s none", rows[r].command, rows[r].option);
    if (generation && rows[r].least == 0) {
      taken(line);
      assert_int_equal(*value, HMOE_OFF);
    } else {
      refused(line, "expected %s to be an integer of at least %d, found 'none'", rows[r].option, (int)rows[r].least);
    }
  }
  taken("check m --seed 0");
  assert_true(a.seed_given);
}

static void test_token_counts(void **state) {
  (void)state;
  taken("bench m --tokens 3,0,67108864");
  assert_int_equal(a.token_count, 3);
  assert_true(a.tokens[0] == 3 && a.tokens[1] == 0 && a.tokens[2] == 67108864);
  static const char *const wrong[] = {",", "1,", ",1", "1,,2", "00000000000000000000000000000001"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    char line[128];
    snprintf(line, sizeof line, "bench m --tokens %s", wrong[i]);
    refused(line, "expected --tokens to be a list such as 1,64,512, found '%s'", wrong[i]);
  }
  taken("bench m --tokens 0000000000000000000000000000001"); /* 31 digits */
  taken(repeated("bench m --tokens 7", ",%d", 63));
  assert_int_equal(a.token_count, 64);
  assert_true(a.tokens[0] == 7 && a.tokens[63] == 62);
  assert_false(parse(repeated("bench m --tokens 7", ",%d", 64)));
  assert_non_null(strstr(messages, "expected --tokens to be a list such as 1,64,512, found '7,0,"));
}

static void test_budgets(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int64_t bytes;
  } rows[] = {{"1", 1},
              {"1K", 1 << 10},
              {"3M", 3 << 20},
              {"5G", INT64_C(5) << 30},
              {"1125899906842624", INT64_C(1) << 50},
              {"1099511627776K", INT64_C(1) << 50},
              {"1073741824M", INT64_C(1) << 50},
              {"1048576G", INT64_C(1) << 50}};
  char line[128];
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    snprintf(line, sizeof line, "compile m --table-budget %s", rows[i].text);
    taken(line);
    assert_true(a.options.table_budget_bytes == rows[i].bytes);
  }
  static const char *const wrong[] = {"0", "-1", "K", "1k", "1KB", "1T", "x", "1.5G"}, *const large[] = {"1125899906842625",
                                                                                                         "1099511627777K",
                                                                                                         "1073741825M", "1048577G",
                                                                                                         "99999999999999999999"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    snprintf(line, sizeof line, "compile m --table-budget %s", wrong[i]);
    refused(line, "expected --table-budget to be bytes, such as 64M, found '%s'", wrong[i]);
  }
  for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
    snprintf(line, sizeof line, "compile m --table-budget %s", large[i]);
    refused(line, "expected --table-budget to be bytes, such as 64M, found '%s', over 2^50", large[i]);
  }
}

static void test_numbers(void **state) {
  (void)state;
  static const struct {
    const char *option, *least, *below, *most, *above, *expected;
    float zero; /* what 0 reads as, where it is allowed */
    size_t field;
  } rows[] = {
      {"--length-penalty", "-100", "-100.01", "100", "100.01", "a number from -100 to 100", HMOE_NO_LENGTH_PENALTY,
       offsetof(hmoe_generation, length_penalty)},
      {"--repetition-penalty", "1e-06", "9e-07", "1e6", "1000001", "a number from 1e-06 to 1e+06", 0,
       offsetof(hmoe_generation, repetition_penalty)},
      {"--temperature", "1e-06", "9e-07", "1e6", "1000001", "a number from 1e-06 to 1e+06", 0,
       offsetof(hmoe_generation, temperature)},
      {"--top-p", "1e-06", "9e-07", "1", "1.0000001", "a number from 1e-06 to 1", 0, offsetof(hmoe_generation, top_p)},
      {"--min-p", "0.5", "-0.001", "1", "1.0000001", "a number from 0 to 1", (float)HMOE_OFF, offsetof(hmoe_generation, min_p)},
  };
  for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
    const char *const good[] = {rows[r].least, rows[r].most, "0.25"}, *const wrong[] = {rows[r].below, rows[r].above, "nan",
                                                                                        "inf",         "x",           "1x",
                                                                                        "1e999",       "none"};
    char line[128];
    const float *value = (const float *)(const void *)((const char *)&a.generation + rows[r].field);
    for (size_t i = 0; i < 3; i++) {
      snprintf(line, sizeof line, "generate m %s %s", rows[r].option, good[i]);
      taken(line);
      float expected = strtof(good[i], NULL);
      assert_true(*value <= expected && *value >= expected);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
      snprintf(line, sizeof line, "generate m %s %s", rows[r].option, wrong[i]);
      refused(line, "expected %s to be %s, found '%s'", rows[r].option, rows[r].expected, wrong[i]);
    }
    snprintf(line, sizeof line, "generate m %s 0", rows[r].option);
    if (rows[r].zero < 0) {
      taken(line);
      assert_true(*value <= rows[r].zero && *value >= rows[r].zero);
    } else {
      refused(line, "expected %s to be %s, found '0'", rows[r].option, rows[r].expected);
    }
  }
}

/* ---- generation ---- */

static void expect_tokens(const hmoe_tokens *found, size_t count, ...) {
  va_list values;
  va_start(values, count);
  assert_non_null(found->tokens);
  assert_int_equal(found->count, count);
  for (size_t i = 0; i < count; i++) assert_int_equal(found->tokens[i], va_arg(values, int));
  va_end(values);
}

static void test_tokens(void **state) {
  (void)state;
  static const char *const names[] = {"--start-token",      "--pad-token",       "--forced-bos-token",      "--end-token",
                                      "--forced-eos-token", "--suppress-tokens", "--begin-suppress-tokens", "--bad-word"};
  const hmoe_tokens *const fields[] = {
      &a.generation.start_token,      &a.generation.pad_token,       &a.generation.forced_bos_token,      &a.generation.end_token,
      &a.generation.forced_eos_token, &a.generation.suppress_tokens, &a.generation.begin_suppress_tokens, &a.generation.bad_words};
  enum { COUNT = 8, ONE = 3, ENDS = 3, WORDS = 7 }; /* the first three are one token each */
  char line[512] = "generate m";
  taken(line);
  for (int i = 0; i < COUNT; i++) assert_true(!fields[i]->tokens && !fields[i]->count);
  for (int i = 0; i < COUNT; i++) snprintf(line + strlen(line), sizeof line - strlen(line), " %s %d", names[i], 10 + i);
  taken(line); /* all at once: none has another's room */
  for (int i = 0; i < COUNT; i++) {
    if (i == WORDS) expect_tokens(fields[i], 2, 10 + i, HMOE_WORD_END);
    else expect_tokens(fields[i], 1, 10 + i);
  }
  for (int i = 0; i < COUNT; i++) {
    snprintf(line, sizeof line, "generate m %s none", names[i]);
    taken(line);
    expect_tokens(fields[i], 0);
    snprintf(line, sizeof line, "generate m %s 2147483648", names[i]);
    refused(line, "expected %s to fit 31 bits, found 2147483648", names[i]);
    snprintf(line, sizeof line, "generate m %s 2147483647", names[i]);
    taken(line);
    assert_int_equal(fields[i]->tokens[0], 2147483647);
    snprintf(line, sizeof line, "generate m %s -1", names[i]);
    refused(line, "expected %s to be an integer of at least 0, found '-1'", names[i]);
    snprintf(line, sizeof line, "generate m %s 1,x", names[i]);
    refused(line, "expected %s to be an integer of at least 0, found 'x'", names[i]);
    snprintf(line, sizeof line, "generate m %s 1,2", names[i]);
    if (i < ONE) refused(line, "expected %s to be one token, found '1,2'", names[i]);
    else taken(line);
    if (i >= ONE) expect_tokens(fields[i], i == WORDS ? 3 : 2, 1, 2, HMOE_WORD_END);
    bool repeats = i == ENDS || i == WORDS;
    snprintf(line, sizeof line, "generate m %s 1 %s 2,3", names[i], names[i]);
    if (!repeats) refused(line, "%s is given twice", names[i]);
    else taken(line);
    if (i == WORDS) expect_tokens(fields[i], 5, 1, HMOE_WORD_END, 2, 3, HMOE_WORD_END);
    else if (repeats) expect_tokens(fields[i], 3, 1, 2, 3);
    for (int order = 0; order < 2; order++) {
      snprintf(line, sizeof line, "generate m %s %s %s %s", names[i], order ? "none" : "1", names[i], order ? "1" : "none");
      refused(line, repeats ? "%s none goes with no other %s" : "%s is given twice", names[i], names[i]);
    }
  }
  char many[64];
  for (int i = ONE; i < COUNT; i++) {
    snprintf(many, sizeof many, "generate m %s 5", names[i]);
    taken(repeated(many, ",%d", 1022));
    assert_int_equal(fields[i]->tokens[1022], 1021);
    refused(repeated(many, ",%d", 1023), "more than 1022 tokens for %s", names[i]);
  }
  snprintf(line, sizeof line, "generate m --end-token %s", "0000000000000000000000000000001"); /* 31 digits */
  taken(line);
  refused("generate m --end-token 00000000000000000000000000000001",
          "expected --end-token to be tokens such as 1,64,512, or none, found '00000000000000000000000000000001'");
}

static void test_stopping_and_sampling(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int64_t value;
  } rows[] = {{"false", HMOE_OFF}, {"true", 1}, {"never", 2}};
  char line[128];
  for (size_t i = 0; i < 3; i++) {
    snprintf(line, sizeof line, "generate m --early-stopping %s", rows[i].text);
    taken(line);
    assert_int_equal(a.generation.early_stopping, rows[i].value);
  }
  refused("generate m --early-stopping maybe", "expected --early-stopping to be true, false or never, found 'maybe'");
  taken("generate m --greedy");
  assert_int_equal(a.generation.sample, HMOE_OFF);
  taken("generate m --sample");
  assert_int_equal(a.generation.sample, 1);
  refused("generate m --sample --greedy", "--sample and --greedy exclude each other");
  refused("generate m --greedy --sample", "--sample and --greedy exclude each other");
}

/* ---- files ---- */

static void test_own_weights(void **state) {
  (void)state;
  static const char *const with[] = {"pack", "run", "check", "bench", "generate", "explain"}, *const without[] = {"compile",
                                                                                                                  "import"};
  char line[256];
  for (size_t i = 0; i < 6; i++) {
    snprintf(line, sizeof line, "%s %s", with[i], folder);
    taken(line);
    assert_string_equal(a.weights, folder);
    snprintf(line, sizeof line, "%s %s --weights w", with[i], folder);
    taken(line);
    assert_string_equal(a.weights, "w");
    snprintf(line, sizeof line, "%s m", with[i]);
    taken(line);
    assert_null(a.weights);
  }
  for (size_t i = 0; i < 2; i++) {
    snprintf(line, sizeof line, "%s %s", without[i], folder);
    taken(line);
    assert_null(a.weights);
  }
  snprintf(line, sizeof line, "check %s --save-weights w", folder);
  taken(line);
  assert_null(a.weights);
  snprintf(line, sizeof line, "bench %s --versus m", folder);
  taken(line);
  assert_null(a.weights);
}

/* Each output against each input, by another path of the same file, and by the same text where there is no file. */
static void test_written_over(void **state) {
  (void)state;
  static const struct {
    const char *line, *output, *input; /* F is the file */
  } rows[] = {
      {"compile F -o F", "-o", "MODEL"},
      {"pack m --weights F -o F", "-o", "--weights"},
      {"generate m --weights w --input a=b --input c=F -o F", "-o", "--input"},
      {"bench F --json F", "--json", "MODEL"},
      {"bench m --weights F --json F", "--json", "--weights"},
      {"bench m --versus F --json F", "--json", "--versus"},
      {"check F --save-weights F", "--save-weights", "MODEL"},
      {"check m --weights F --save-weights F", "--save-weights", "--weights"},
      {"run F --output y=F", "--output", "MODEL"},
      {"run m --weights F --output z=/z --output y=F", "--output", "--weights"},
      {"run m --input x=F --output y=F", "--output", "--input"},
      {"run m --input x=/x --input w=F --output z=/z --output y=F", "--output", "--input"},
  };
  char path[64], other[64];
  snprintf(path, sizeof path, "%s/f", folder);
  snprintf(other, sizeof other, "%s/./f", folder);
  for (int there = 0; there < 2; there++) {
    if (there) {
      FILE *file = fopen(path, "w");
      assert_non_null(file);
      fclose(file);
    }
    const char *second = there ? other : path;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
      char line[512] = "";
      int count = 0;
      for (const char *at = rows[r].line; *at; at++) {
        size_t used = strlen(line);
        bool file = *at == 'F' && (at[1] == ' ' || !at[1]);
        if (file) snprintf(line + used, sizeof line - used, "%s", count++ ? second : path);
        else snprintf(line + used, sizeof line - used, "%c", *at);
      }
      assert_int_equal(count, 2);
      refused(line, "%s would write over %s, which is %s too", rows[r].output, second, rows[r].input);
    }
    char line[512];
    snprintf(line, sizeof line, "run m --output a=%s --output b=/b --output c=%s", path, second);
    refused(line, "--output a and --output c are one file, %s", second);
  }
  unlink(path);
  taken("run m --weights w --input x=a --input y=b --output z=c --output u=d");
}

static int setup(void **state) {
  (void)state;
  sink = hmoec_diagnostics_create_with(keep, NULL);
  room = malloc(sizeof *room);
  return sink && room && mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state) {
  (void)state;
  hmoec_diagnostics_destroy(sink);
  free(room);
  return rmdir(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_options_of_commands),
      cmocka_unit_test(test_values_in_help),
      cmocka_unit_test(test_lines),
      cmocka_unit_test(test_texts),
      cmocka_unit_test(test_definitions),
      cmocka_unit_test(test_bindings),
      cmocka_unit_test(test_integers),
      cmocka_unit_test(test_token_counts),
      cmocka_unit_test(test_budgets),
      cmocka_unit_test(test_numbers),
      cmocka_unit_test(test_tokens),
      cmocka_unit_test(test_stopping_and_sampling),
      cmocka_unit_test(test_own_weights),
      cmocka_unit_test(test_written_over),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
