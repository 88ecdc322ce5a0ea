/* Opens and runs a compiled model with an allocator whose n-th call fails, for n = 1, 2, ...: each time HMOE_OUT_OF_MEMORY and nothing
 * leaked, until nothing fails any more.   failing_allocator WEIGHTS */
#include <stdio.h>
#include <stdlib.h>

#include "hypermoe_layer.h"

enum { TOKENS = 50, WIDTH = 37 };

typedef struct counter {
  long calls, failing, live;
} counter;

static void *allocate(void *context, size_t size_bytes, size_t alignment_bytes) {
  counter *c = context;
  if (++c->calls == c->failing) return NULL;
  void *memory = NULL;
  if (posix_memalign(&memory, alignment_bytes < sizeof(void *) ? sizeof(void *) : alignment_bytes, size_bytes) != 0) return NULL;
  c->live++;
  return memory;
}

static void release(void *context, void *memory, size_t size_bytes) {
  (void)size_bytes;
  if (memory) ((counter *)context)->live--;
  free(memory);
}

int main(int argument_count, char **arguments) {
  static float x[TOKENS * WIDTH], y[TOKENS * WIDTH];
  if (argument_count != 2) return 2;
  for (int i = 0; i < TOKENS * WIDTH; i++) x[i] = (float)(i % 13) - 6.0f;
  for (long n = 1;; n++) {
    counter count = {.failing = n};
    hmoe_allocator allocator = {&count, allocate, release};
    hmoe_options options = {.struct_size = sizeof options, .threads = 2, .allocator = &allocator};
    hypermoe_layer *model = NULL;
    hmoe_status status = hypermoe_layer_open(arguments[1], &options, &model);
    if (status == HMOE_OK) status = hypermoe_layer_run(model, &(hypermoe_layer_args){.tokens = TOKENS, .x = x, .y = y});
    if (status == HMOE_OK && n > count.calls) { /* the next run allocates nothing */
      long before = count.calls;
      status = hypermoe_layer_run(model, &(hypermoe_layer_args){.tokens = TOKENS / 2, .x = x, .y = y});
      if (count.calls != before) {
        printf("a later run made %ld allocations\n", count.calls - before);
        return 1;
      }
    }
    hypermoe_layer_close(model);
    if (count.live != 0) {
      printf("allocation %ld: %ld not released\n", n, count.live);
      return 1;
    }
    if (status == HMOE_OK) {
      printf("%ld allocations, each failed once\n", n - 1);
      return n < 5;
    }
    if (status != HMOE_OUT_OF_MEMORY) {
      printf("allocation %ld: %s: %s\n", n, hmoe_status_string(status), hmoe_last_error());
      return 1;
    }
  }
}
