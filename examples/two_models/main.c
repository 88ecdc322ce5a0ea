/* Two compiled models in one program, on the application's own threads: a mixture of experts, and the same experts with a
 * HyperExpert beside them. One weights file serves both: the plain layer ignores the tensors it does not need, and says so.
 *
 *   two_models WEIGHTS.safetensors
 *
 * The first model opens the file by name, the second is given its bytes. What the HyperExpert adds is printed, with the time both take. */
#include "hypermoe_layer.h"
#include "moe_layer.h"
#include "pool.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { TOKENS = 256, D_MODEL = 64, RUNS = 21, THREADS = 2 };

static void print_note(void *context, const char *message) { printf("%s: note: %s\n", (const char *)context, message); }

/* The whole file, malloc'd; NULL if it cannot be read. */
static void *read_file(const char *path, size_t *out_size) {
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  char *bytes = NULL;
  long size = fseek(file, 0, SEEK_END) ? -1 : ftell(file);
  if (size > 0 && !fseek(file, 0, SEEK_SET)) bytes = malloc((size_t)size);
  if (bytes && fread(bytes, 1, (size_t)size, file) != (size_t)size) {
    free(bytes);
    bytes = NULL;
  }
  fclose(file);
  *out_size = bytes ? (size_t)size : 0;
  return bytes;
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int main(int argument_count, char **arguments) {
  if (argument_count != 2) {
    fprintf(stderr, "usage: two_models WEIGHTS.safetensors\n");
    return 2;
  }
  static float x[TOKENS * D_MODEL], plain[TOKENS * D_MODEL], hyper[TOKENS * D_MODEL];
  for (size_t i = 0; i < TOKENS * D_MODEL; i++) x[i] = sinf(0.7f * (float)i);

  int status = 1;
  size_t size = 0;
  void *bytes = NULL;
  moe_layer *moe = NULL;
  hypermoe_layer *hypermoe = NULL;
  pool *threads = pool_create(THREADS);
  if (!threads) {
    fprintf(stderr, "cannot start %d threads\n", THREADS);
    goto done;
  }
  hmoe_executor executor = pool_executor(threads);

  hmoe_options options = {.struct_size = sizeof options, .executor = &executor, .note = print_note, .note_context = "moe_layer"};
  if (moe_layer_open(arguments[1], &options, &moe)) goto failed;

  bytes = read_file(arguments[1], &size);
  if (!bytes) {
    fprintf(stderr, "cannot read %s\n", arguments[1]);
    goto done;
  }
  hmoe_weights weights = {.kind = HMOE_WEIGHTS_MEMORY, .data = bytes, .size_bytes = size};
  options.note_context = "hypermoe_layer";
  if (hypermoe_layer_open_weights(&weights, &options, &hypermoe)) goto failed;

  double moe_seconds = INFINITY, hypermoe_seconds = INFINITY; /* the shortest of RUNS */
  for (int i = 0; i < RUNS; i++) {
    double start = seconds();
    if (moe_layer_run(moe, &(moe_layer_args){.tokens = TOKENS, .x = x, .y = plain})) goto failed;
    double middle = seconds();
    if (hypermoe_layer_run(hypermoe, &(hypermoe_layer_args){.tokens = TOKENS, .x = x, .y = hyper})) goto failed;
    moe_seconds = fmin(moe_seconds, middle - start);
    hypermoe_seconds = fmin(hypermoe_seconds, seconds() - middle);
  }

  double size_plain = 0, size_difference = 0;
  for (size_t i = 0; i < TOKENS * D_MODEL; i++) {
    size_plain += fabs((double)plain[i]);
    size_difference += fabs((double)hyper[i] - (double)plain[i]);
  }
  printf("moe_layer       %8.1f us for %d tokens, mean |y| %.4g\n", 1e6 * moe_seconds, TOKENS, size_plain / (TOKENS * D_MODEL));
  printf("hypermoe_layer  %8.1f us for %d tokens, the HyperExpert moves y by %.4g on average\n", 1e6 * hypermoe_seconds, TOKENS,
         size_difference / (TOKENS * D_MODEL));
  status = 0;
  goto done;

failed:
  fprintf(stderr, "%s\n", hmoe_last_error());
done:
  hypermoe_layer_close(hypermoe);
  moe_layer_close(moe);
  pool_destroy(threads);
  free(bytes);
  return status;
}
