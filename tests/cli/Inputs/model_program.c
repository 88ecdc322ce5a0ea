/* A whole model through its header.   model_program WEIGHTS
 * decode, token by token and several at once, gives what generate gives, on two states of two threads; forward and encode agree with it. */
#include "switch_hypermoe_tiny.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 3, LENGTH = 7, NEW = 9, WIDTH = NEW + 1, VOCAB = 211, D_MODEL = 48 };

typedef switch_hypermoe_tiny model;

static void check(hmoe_status status, const char *what) {
  if (!status) return;
  fprintf(stderr, "%s: %s\n", what, hmoe_last_error());
  exit(1);
}

static void expect(int condition, const char *what) {
  if (condition) return;
  fprintf(stderr, "wrong: %s\n", what);
  exit(1);
}

static int64_t largest(const float *logits) {
  int64_t best = 0;
  for (int64_t v = 1; v < VOCAB; v++)
    if (logits[v] > logits[best]) best = v;
  return best;
}

typedef struct prompt {
  int64_t ids[ROWS * LENGTH], mask[ROWS * LENGTH];
} prompt;

static prompt make_prompt(int64_t seed) {
  prompt p;
  for (int64_t i = 0; i < ROWS * LENGTH; i++) {
    p.ids[i] = (seed + 37 * i) % VOCAB;
    p.mask[i] = i % LENGTH < LENGTH - 2 * (i / LENGTH);
  }
  return p;
}

static void generate(model *m, const prompt *p, int64_t *tokens) {
  hmoe_prompt given = {.rows = ROWS, .length = LENGTH, .input_ids = p->ids, .attention_mask = p->mask};
  hmoe_generation options = {.struct_size = sizeof options, .max_new_tokens = NEW, .end_token = HMOE_NO_TOKENS};
  expect(switch_hypermoe_tiny_generation_width(m, &given, &options) == WIDTH, "width");
  int64_t length;
  check(switch_hypermoe_tiny_generate(m, &given, &options, tokens, &length), "generate");
  expect(length == WIDTH, "length");
}

/* Greedy decoding by hand: `tokens` [ROWS, WIDTH] begin with a token; `logits` are those after the last step. */
static void decode(model *m, hmoe_state *state, const prompt *p, int64_t *tokens, float *logits) {
  check(switch_hypermoe_tiny_prepare(
            m, state, &(switch_hypermoe_tiny_prepare_args){.length = LENGTH, .input_ids = p->ids, .attention_mask = p->mask}),
        "prepare");
  expect(hmoe_state_source_length(state) == LENGTH, "source length");
  for (int64_t step = 0; step < NEW; step++) {
    int64_t last[ROWS];
    for (int64_t row = 0; row < ROWS; row++) last[row] = tokens[row * WIDTH + step];
    check(switch_hypermoe_tiny_decode(
              m, state, &(switch_hypermoe_tiny_decode_args){.target = 1, .decoder_input_ids = last, .logits = logits}),
          "decode");
    expect(hmoe_state_length(state) == step + 1, "length of the state");
    for (int64_t row = 0; row < ROWS; row++) tokens[row * WIDTH + step + 1] = largest(logits + row * VOCAB);
  }
}

static float apart(const float *a, const float *b, size_t count) {
  float most = 0;
  for (size_t i = 0; i < count; i++) most = fmaxf(most, fabsf(a[i] - b[i]));
  return most;
}

static hmoe_state *make_state(model *m) {
  hmoe_state_options options = {
      .struct_size = sizeof options, .target_rows = ROWS, .target_capacity = NEW, .source_rows = ROWS, .source_capacity = LENGTH};
  hmoe_state *state = NULL;
  check(switch_hypermoe_tiny_state_create(m, &options, &state), "state");
  return state;
}

/* One thread: a state that is used for several prompts. */
typedef struct job {
  model *m;
  int64_t seed;
} job;

static void *run(void *argument) {
  const job *j = argument;
  hmoe_state *state = make_state(j->m);
  for (int64_t i = 0; i < 4; i++) {
    prompt p = make_prompt(j->seed + 11 * i);
    int64_t expected[ROWS * WIDTH], tokens[ROWS * WIDTH] = {0};
    float stepped[ROWS * VOCAB], whole[ROWS * VOCAB], all[ROWS * NEW * VOCAB], hidden[ROWS * LENGTH * D_MODEL],
        encoded[ROWS * LENGTH * D_MODEL];
    generate(j->m, &p, expected);
    decode(j->m, state, &p, tokens, stepped);
    expect(!memcmp(tokens, expected, sizeof tokens), "tokens decoded by hand");

    /* The last four tokens at once, after going back. */
    int64_t four[ROWS * 4], prefix[ROWS * NEW];
    for (int64_t row = 0; row < ROWS; row++) {
      memcpy(four + 4 * row, tokens + row * WIDTH + NEW - 4, sizeof *four * 4);
      memcpy(prefix + NEW * row, tokens + row * WIDTH, sizeof *prefix * NEW);
    }
    check(hmoe_state_rewind(state, NEW - 4), "rewind");
    check(switch_hypermoe_tiny_decode(j->m, state,
                                      &(switch_hypermoe_tiny_decode_args){.target = 4, .decoder_input_ids = four, .logits = whole}),
          "decode four");
    expect(apart(stepped, whole, ROWS * VOCAB) < 1e-5f, "four tokens at once");

    check(switch_hypermoe_tiny_forward(j->m, &(switch_hypermoe_tiny_forward_args){.batch = ROWS,
                                                                                  .length = LENGTH,
                                                                                  .target = NEW,
                                                                                  .input_ids = p.ids,
                                                                                  .attention_mask = p.mask,
                                                                                  .decoder_input_ids = prefix,
                                                                                  .logits = all,
                                                                                  .encoder_hidden = hidden}),
          "forward");
    for (int64_t row = 0; row < ROWS; row++)
      expect(apart(stepped + row * VOCAB, all + ((row + 1) * NEW - 1) * VOCAB, VOCAB) < 1e-5f, "decode and forward");
    check(switch_hypermoe_tiny_encode(
              j->m,
              &(switch_hypermoe_tiny_encode_args){
                  .batch = ROWS, .length = LENGTH, .input_ids = p.ids, .attention_mask = p.mask, .encoder_hidden = encoded}),
          "encode");
    expect(!memcmp(hidden, encoded, sizeof hidden), "encode and forward");
    check(hmoe_state_rewind(state, 0), "rewind to nothing");
  }

  /* What a state refuses: more than it has room for, decoding before prepare. */
  float logits[ROWS * VOCAB];
  int64_t many[ROWS * (NEW + 1)] = {0};
  prompt p = make_prompt(j->seed);
  switch_hypermoe_tiny_decode_args args = {.target = 1, .decoder_input_ids = many, .logits = logits};
  expect(switch_hypermoe_tiny_decode(j->m, state, &args) == HMOE_INVALID_ARGUMENT, "decode without a source");
  check(switch_hypermoe_tiny_prepare(j->m, state, &(switch_hypermoe_tiny_prepare_args){.length = LENGTH, .input_ids = p.ids}),
        "prepare without a mask");
  args.target = NEW + 1;
  expect(switch_hypermoe_tiny_decode(j->m, state, &args) == HMOE_INVALID_ARGUMENT, "more tokens than room");
  many[5] = VOCAB;
  args.target = 2;
  expect(switch_hypermoe_tiny_decode(j->m, state, &args) == HMOE_INVALID_ARGUMENT, "a token outside of the vocabulary");
  expect(strstr(hmoe_last_error(), "'decoder_input_ids'[2, 1] = 211") != NULL, hmoe_last_error());
  expect(hmoe_state_length(state) == 0, "a failed run adds nothing");
  hmoe_state_destroy(state);
  return NULL;
}

int main(int argument_count, char **arguments) {
  if (argument_count != 2) return 2;
  model *m = NULL;
  hmoe_options options = {.struct_size = sizeof options, .threads = 2};
  check(switch_hypermoe_tiny_open(arguments[1], &options, &m), "open");
  job jobs[2] = {{m, 5}, {m, 100}};
  pthread_t threads[2];
  for (int i = 0; i < 2; i++)
    if (pthread_create(&threads[i], NULL, run, &jobs[i])) return 2;
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  switch_hypermoe_tiny_close(m);
  puts("ok");
}
