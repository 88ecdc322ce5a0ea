/* Hundreds of compilations in one process, every tenth with code that is generated and loaded: memory in use stays where it was. */
#include "library_fixture.h"

#include <malloc.h>

/* The least block of malloc, once a compilation, would be 7.5 KiB. */
enum { COMPILATIONS = 300, WARM = 60, LOADED_EVERY = 10, MOST_GROWN_BYTES = 5 << 10, MOST_GROWN_KIB = 200 };

static void compile_once(int number) {
  messages all;
  hmoec_options options = options_to(&all);
  hmoec_graph *graph;
  hmoec_compilation *compilation;
  const struct hmoe_model_object *object;
  assert_int_equal(hmoec_graph_create("mixture", &options, &graph), HMOEC_OK);
  build_mixture(graph, "c:" ACTIVATIONS ":quick_gelu");
  assert_int_equal(hmoec_compile_graph(graph, &options, &compilation), HMOEC_OK);
  if (number % LOADED_EVERY == 0) assert_int_equal(hmoec_compilation_load(compilation, &object), HMOEC_OK);
  hmoec_compilation_destroy(compilation);
  if (number % 3 == 0) { /* failures too leave nothing */
    assert_int_equal(hmoec_compile_text("m.spec", "model m\noutput y = nothing\n", 27, &options, &compilation), HMOEC_INPUT_ERROR);
    hmoec_graph_activate(graph, HMOEC_NONE, "c:nothing.c:f");
  }
  hmoec_graph_destroy(graph);
}

/* Memory of the process's own: pages of libraries come whenever code is reached first, and as many as the kernel finds cached. */
static long anonymous_kib(void) {
  char line[256];
  long kib = -1;
  FILE *file = fopen("/proc/self/status", "r");
  assert_non_null(file);
  while (kib < 0 && fgets(line, sizeof line, file))
    if (sscanf(line, "RssAnon: %ld kB", &kib) != 1) kib = -1;
  fclose(file);
  assert_true(kib > 0);
  return kib;
}

static void test_no_growth(void **state) {
  (void)state;
  for (int i = 0; i < WARM; i++) compile_once(i);
  size_t used = mallinfo2().uordblks;
  long kib = anonymous_kib();
  for (int i = WARM; i < COMPILATIONS; i++) compile_once(i);
  size_t used_after = mallinfo2().uordblks;
  long kib_after = anonymous_kib();
  printf("%d compilations: heap %zu -> %zu bytes, anonymous %ld -> %ld KiB\n", COMPILATIONS - WARM, used, used_after, kib,
         kib_after);
  assert_true(used_after <= used + MOST_GROWN_BYTES);
  assert_true(kib_after <= kib + MOST_GROWN_KIB);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_growth)};
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  (void)tests;
  return 77; /* they keep freed memory; the address sanitizer looks for leaks by itself */
#else
  return cmocka_run_group_tests(tests, NULL, NULL);
#endif
}
