/* Four threads build, compile, load, run and interpret at once; every one gets the same object. Runs under the thread sanitizer too. */
#include "library_fixture.h"

#include <math.h>
#include <pthread.h>
#include <unistd.h>

enum { THREADS = 4, ROUNDS = 3, TOKENS = 5 };

typedef struct worker {
  pthread_t thread;
  int number, failed;
  char *object; /* of the last round */
  size_t object_size;
} worker;

static void ignore(void *context, const hmoec_message *message) {
  worker *w = context;
  w->failed += message->severity == HMOEC_ERROR;
}

static int round_of(worker *w, int round) {
  const hmoec_options options = {.struct_size = sizeof options, .message = ignore, .message_context = w};
  hmoec_graph *graph = NULL;
  hmoec_compilation *compilation = NULL, *read = NULL;
  hmoe_model *model = NULL;
  char path[64];
  const int64_t tokens = TOKENS;
  float x[TOKENS * D_MODEL], y[TOKENS * D_MODEL], expected[TOKENS * D_MODEL];
  for (int i = 0; i < TOKENS * D_MODEL; i++) x[i] = sinf((float)(i + w->number + round));
  snprintf(path, sizeof path, "/tmp/hmoe-threads-%d-%d.safetensors", (int)getpid(), w->number);
  const hmoe_weights weights = {.path = path};
  int failed = 1;
  if (hmoec_graph_create("mixture", &options, &graph)) goto done;
  build_mixture(graph, "c:" ACTIVATIONS ":quick_gelu");
  if (hmoec_compile_graph(graph, &options, &compilation) ||
      hmoec_compile_text("mixture.spec", mixture_spec, strlen(mixture_spec), &options, &read) ||
      hmoec_compilation_random_weights(compilation, (uint64_t)w->number, path) ||
      hmoec_compilation_open(compilation, &weights, NULL, &model) ||
      hmoe_model_run(model, 1, &tokens, (const void *[]){x}, (void *[]){y}) ||
      hmoec_compilation_interpret(compilation, &weights, &tokens, (const void *[]){x}, (void *[]){expected}))
    goto done;
  failed = 0;
  for (int i = 0; i < TOKENS * D_MODEL; i++) failed |= !(fabsf(y[i] - expected[i]) < 1e-5F);
  hmoec_free(w->object);
  failed |= hmoec_compilation_emit(compilation, HMOEC_OUTPUT_OBJECT, &w->object, &w->object_size) != HMOEC_OK;
done:
  hmoe_model_close(model);
  hmoec_compilation_destroy(read);
  hmoec_compilation_destroy(compilation);
  hmoec_graph_destroy(graph);
  unlink(path);
  return failed;
}

static void *work(void *context) {
  worker *w = context;
  for (int round = 0; round < ROUNDS; round++) w->failed += round_of(w, round);
  return NULL;
}

static void test_at_once(void **state) {
  (void)state;
  worker workers[THREADS] = {0};
  for (int i = 0; i < THREADS; i++) {
    workers[i].number = i;
    assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) pthread_join(workers[i].thread, NULL);
  for (int i = 0; i < THREADS; i++) {
    assert_int_equal(workers[i].failed, 0);
    assert_int_equal(workers[i].object_size, workers[0].object_size);
    assert_memory_equal(workers[i].object, workers[0].object, workers[0].object_size);
  }
  for (int i = 0; i < THREADS; i++) hmoec_free(workers[i].object);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_at_once)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
