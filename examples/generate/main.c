/* Generates tokens with any compiled model that decodes, and prints each as soon as it is there. MODEL is the model's name. From the root of the project:
 *
 *   hmoec compile models/switch-base-8.spec -o out
 *   cc -DMODEL=switch_base_8 -Iout examples/generate/main.c out/switch_base_8.o $(pkg-config --cflags --libs hmoert) -o generate
 *   ./generate weights.safetensors -n 20 8774 19 3 9 1
 *
 * Token ids go in and come out: text is a tokenizer's matter. A decoder continues them, an encoder-decoder answers them. */
#ifndef MODEL
#error "compile with -DMODEL=name, for the model whose header is name.h"
#endif
#define QUOTE(text) #text
#define HEADER_OF(name) QUOTE(name.h)
#define JOIN(name, call) name##_##call
#define CALL_OF(name, call) JOIN(name, call)
#define CALL(call) CALL_OF(MODEL, call)

#include HEADER_OF(MODEL)
#include <hmoe/generate.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char usage[] = "usage: generate WEIGHTS [options] TOKEN...\n"
                            "  -n COUNT        most tokens to generate (20)\n"
                            "  -b COUNT        beams (1)\n"
                            "  -g COUNT        n-grams of COUNT tokens do not repeat\n"
                            "  -s SEED         draw tokens instead of taking the likeliest\n"
                            "  -t TEMPERATURE  of the draw (1)\n"
                            "  -k COUNT        draw from the COUNT likeliest\n"
                            "  -p SHARE        draw from the likeliest that together have this probability\n";

/* One row was asked for. A closed output ends generation. */
static int print_token(void *context, int64_t step, const int64_t *tokens, int64_t rows) {
  (void)context;
  (void)rows;
  return printf(step ? " %lld" : "%lld", (long long)tokens[0]) < 0 || fflush(stdout) != 0;
}

/* The whole of `text` as a number in [low, high]. */
static int read_integer(const char *text, long long low, long long high, long long *out_value) {
  char *end;
  errno = 0;
  *out_value = strtoll(text, &end, 10);
  return end != text && !*end && !errno && *out_value >= low && *out_value <= high;
}

static int read_number(const char *text, float *out_value) {
  char *end;
  *out_value = strtof(text, &end);
  return end != text && !*end;
}

static int read_option(int letter, const char *text, hmoe_generation *options) {
  long long value = 0;
  switch (letter) {
  case 't': return read_number(text, &options->temperature);
  case 'p': return read_number(text, &options->top_p);
  case 's':
    if (!read_integer(text, 0, INT64_MAX, &value)) return 0;
    options->sample = 1;
    options->seed = (uint64_t)value;
    return 1;
  }
  if (!read_integer(text, 0, INT32_MAX, &value)) return 0;
  switch (letter) {
  case 'n': options->max_new_tokens = value ? value : HMOE_OFF; return 1;
  case 'b': options->beams = value ? value : HMOE_OFF; return 1;
  case 'g': options->no_repeat_ngram = value ? value : HMOE_OFF; return 1;
  case 'k': options->top_k = value ? value : HMOE_OFF; return 1;
  }
  return 0;
}

int main(int argument_count, char **arguments) {
  if (argument_count < 3) return fputs(usage, stderr), 2;
  const char *weights = arguments[1];
  hmoe_generation options = {.struct_size = sizeof options, .max_new_tokens = 20, .on_tokens = print_token};
  optind = 2;
  for (int letter; (letter = getopt(argument_count, arguments, "+n:b:g:s:t:k:p:")) != -1;) {
    if (letter == '?') return fputs(usage, stderr), 2;
    if (!read_option(letter, optarg, &options)) return fprintf(stderr, "-%c: not a number: %s\n", letter, optarg), 2;
  }
  int64_t length = argument_count - optind;
  if (length < 1) return fputs(usage, stderr), 2;

  int status = 1;
  MODEL *model = NULL;
  int64_t *ids = malloc((size_t)length * sizeof *ids), *tokens = NULL;
  if (!ids) {
    fprintf(stderr, "no memory\n");
    goto done;
  }
  for (int64_t i = 0; i < length; i++) {
    long long token;
    if (!read_integer(arguments[optind + i], 0, INT64_MAX, &token)) {
      fprintf(stderr, "not a token: %s\n", arguments[optind + i]);
      goto done;
    }
    ids[i] = token;
  }
  if (CALL(open)(weights, NULL, &model)) goto failed;

  hmoe_prompt prompt = {.rows = 1, .length = length, .input_ids = ids};
  int64_t width = hmoe_generation_width((const hmoe_model *)model, &prompt, &options);
  if (width < 0) goto failed;
  tokens = malloc((size_t)width * sizeof *tokens);
  if (!tokens) {
    fprintf(stderr, "no memory\n");
    goto done;
  }
  int64_t filled;
  if (CALL(generate)(model, &prompt, &options, tokens, &filled)) goto failed;
  printf("\n");
  if (fflush(stdout) || ferror(stdout)) {
    perror("standard output");
    goto done;
  }
  status = 0;
  goto done;

failed:
  fprintf(stderr, "%s\n", hmoe_last_error());
done:
  CALL(close)(model);
  free(tokens);
  free(ids);
  return status;
}
