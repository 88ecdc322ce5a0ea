/* A whole application: reads x.npy, runs the layer, writes y.npy.   layer_program WEIGHTS X.npy Y.npy
 * Compiled as -DLAYER=hypermoe_layer and as -DLAYER=moe_layer. y has x's shape, so x's .npy header serves both. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
#define TEXT2(a) #a
#define TEXT(a) TEXT2(a)
#define HEADER(name) TEXT(name.h)
#include HEADER(LAYER)

static unsigned char header[65536];

int main(int argument_count, char **arguments) {
  if (argument_count != 4) return 2;
  FILE *in = fopen(arguments[2], "rb");
  if (!in || fread(header, 1, 10, in) != 10) return 2;
  size_t header_bytes = 10 + header[8] + 256u * header[9];
  if (fread(header + 10, 1, header_bytes - 10, in) != header_bytes - 10) return 2;
  const char *shape = strstr((char *)header + 10, "'shape': (");
  int tokens = 0, width = 0;
  if (!shape || sscanf(shape, "'shape': (%d, %d)", &tokens, &width) != 2) return 2;
  size_t count = (size_t)tokens * (size_t)width;
  float *x = malloc(count * sizeof(float)), *y = calloc(count, sizeof(float));
  if (!x || !y || fread(x, sizeof(float), count, in) != count) return 2;
  fclose(in);

  LAYER *model = NULL;
  hmoe_options options = {.struct_size = sizeof options, .threads = 2};
  hmoe_status status = JOIN(LAYER, _open)(arguments[1], &options, &model);
  /* Twice: the second run finds the workspace of the first. */
  for (int i = 0; i < 2 && !status; i++) status = JOIN(LAYER, _run)(model, &(JOIN(LAYER, _args)){.tokens = tokens, .x = x, .y = y});
  if (status) fprintf(stderr, "%s: %s\n", hmoe_status_string(status), hmoe_last_error());
  JOIN(LAYER, _close)(model);

  FILE *out = status ? NULL : fopen(arguments[3], "wb");
  int written = out && fwrite(header, 1, header_bytes, out) == header_bytes && fwrite(y, sizeof(float), count, out) == count;
  if (out && fclose(out)) written = 0;
  free(x);
  free(y);
  return written ? 0 : 1;
}
