/* One run of a layer on one thread: valgrind counts its instructions.
 *   one_run WEIGHTS CPU TOKENS D_MODEL */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <activation_layer.h>

int main(int argument_count, char **arguments) {
  if (argument_count != 5) return 2;
  long long tokens = atoll(arguments[3]), d_model = atoll(arguments[4]);
  size_t elements = (size_t)(tokens * d_model);
  float *x = malloc(elements * sizeof *x), *y = malloc(elements * sizeof *y);
  activation_layer *layer = NULL;
  hmoe_options options = {.struct_size = sizeof options, .threads = 1, .cpu = arguments[2]};
  bool ok = x && y;
  for (size_t i = 0; ok && i < elements; i++) x[i] = (float)(i * 7919 % 2003) / 1001.0f - 1.0f;
  ok = ok && activation_layer_open(arguments[1], &options, &layer) == HMOE_OK &&
       activation_layer_run(layer, &(activation_layer_args){.tokens = tokens, .x = x, .y = y}) == HMOE_OK;
  if (!ok) fprintf(stderr, "one_run: %s\n", hmoe_last_error());
  activation_layer_close(layer);
  free(x);
  free(y);
  return !ok;
}
