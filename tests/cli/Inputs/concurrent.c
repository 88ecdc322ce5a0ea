/* One compiled model, four threads, uneven batches: every run must give, bit for bit, what the same run gives alone.
 *   concurrent WEIGHTS */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypermoe_layer.h"

enum { THREADS = 4, ROUNDS = 12, MOST = 97, WIDTH = 37 };

static float x[MOST * WIDTH], alone[MOST * WIDTH];
static hypermoe_layer *model;

static void *work(void *argument) {
  static const int sizes[] = {MOST, 1, 13, 0, 64, 2};
  size_t thread = *(size_t *)argument, wrong = 0;
  float *y = malloc(sizeof alone);
  for (size_t round = 0; round < ROUNDS; round++) {
    int tokens = sizes[(round + thread) % 6];
    memset(y, 0xff, sizeof alone);
    if (hypermoe_layer_run(model, &(hypermoe_layer_args){.tokens = tokens, .x = x, .y = y}) != HMOE_OK) wrong++;
    /* A token's result does not depend on the batch it is in. */
    if (memcmp(y, alone, (size_t)tokens * WIDTH * sizeof(float)) != 0) wrong++;
  }
  free(y);
  *(size_t *)argument = wrong;
  return NULL;
}

int main(int argument_count, char **arguments) {
  if (argument_count != 2) return 2;
  unsigned state = 12345;
  for (int i = 0; i < MOST * WIDTH; i++) {
    state = state * 1664525u + 1013904223u;
    x[i] = (float)(state >> 8) / (1 << 23) - 1.0f;
  }
  hmoe_options options = {.struct_size = sizeof options, .threads = 3};
  if (hypermoe_layer_open(arguments[1], &options, &model) != HMOE_OK ||
      hypermoe_layer_run(model, &(hypermoe_layer_args){.tokens = MOST, .x = x, .y = alone}) != HMOE_OK) {
    fprintf(stderr, "%s\n", hmoe_last_error());
    return 1;
  }
  pthread_t threads[THREADS];
  size_t results[THREADS], wrong = 0;
  for (size_t i = 0; i < THREADS; i++) {
    results[i] = i;
    if (pthread_create(&threads[i], NULL, work, &results[i]) != 0) return 2;
  }
  for (size_t i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    wrong += results[i];
  }
  hypermoe_layer_close(model);
  printf("%zu wrong runs\n", wrong);
  return wrong != 0;
}
