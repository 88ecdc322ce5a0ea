/* The least an application needs, from the root of the project:
 *   hmoec compile models/hypermoe-layer.spec -o out
 *   cc -Iout examples/minimal/main.c out/hypermoe_layer.o $(pkg-config --cflags --libs hmoert) -o app && ./app weights.safetensors */
#include "hypermoe_layer.h"
#include <stdio.h>

int main(int argument_count, char **arguments) {
  static float x[4 * 768] = {1.0f}, y[4 * 768]; /* 4 tokens, d_model 768 */
  hypermoe_layer *model = NULL;
  if (argument_count != 2 || hypermoe_layer_open(arguments[1], NULL, &model) ||
      hypermoe_layer_run(model, &(hypermoe_layer_args){.tokens = 4, .x = x, .y = y}))
    return fprintf(stderr, "%s\n", argument_count == 2 ? hmoe_last_error() : "usage: app WEIGHTS"), 1;
  printf("y[0][0] = %g\n", (double)y[0]);
  hypermoe_layer_close(model);
}
