/* The arena and the map from names to indices. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/arena.h"
#include "support/name_map.h"
#include "support/pointer_map.h"

static void test_arena(void **state) {
  (void)state;
  hmoec_arena *arena = hmoec_arena_create();
  for (size_t size = 0; size < 300000; size = size * 3 + 1) {
    unsigned char *bytes = hmoec_arena_alloc(arena, size);
    assert_int_equal((uintptr_t)bytes % _Alignof(max_align_t), 0);
    for (size_t i = 0; i < size; i++) assert_int_equal(bytes[i], 0);
    memset(bytes, 0xA5, size); /* the next one must be zeroed all the same */
  }
  assert_string_equal(hmoec_arena_strdup(arena, "text"), "text");
  assert_string_equal(hmoec_arena_strndup(arena, "text", 2), "te");
  assert_string_equal(hmoec_arena_printf(arena, "%d-%s", 7, "x"), "7-x");
  const int numbers[] = {1, 2, 3};
  int *grown = hmoec_arena_grow(arena, numbers, 3, 6, sizeof *numbers);
  assert_memory_equal(grown, numbers, sizeof numbers);
  assert_int_equal(grown[5], 0);
  assert_non_null(hmoec_arena_grow(arena, NULL, 0, 1, 8));
  hmoec_arena_destroy(arena);
  hmoec_arena_destroy(NULL);
}

/* Texts end, whatever comes behind them, also those as long as what an arena gives at a time. */
static void test_arena_texts(void **state) {
  (void)state;
  for (size_t length = 0; length < 50; length++) {
    hmoec_arena *arena = hmoec_arena_create();
    char text[64] = "";
    memset(text, 'x', length);
    const char *texts[] = {hmoec_arena_strdup(arena, text), hmoec_arena_strndup(arena, text, length),
                           hmoec_arena_printf(arena, "%s", text)};
    memset(hmoec_arena_alloc(arena, 16), 'y', 16);
    for (size_t i = 0; i < 3; i++) assert_string_equal(texts[i], text);
    hmoec_arena_destroy(arena);
  }
}

/* Who asks for more than there can be ends the process, which says why. */
static void test_arena_limits(void **state) {
  (void)state;
  static const struct {
    size_t count, element_bytes;
  } cases[] = {{1, SIZE_MAX}, {1, SIZE_MAX - 1}, {1, SIZE_MAX / 2 + 1}, {SIZE_MAX / 2 + 1, 2}, {SIZE_MAX / 16 + 2, 16}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int ends[2], status;
    char said[64] = "";
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
      dup2(ends[1], STDERR_FILENO);
      signal(SIGABRT, SIG_DFL);
      hmoec_arena_alloc_array(hmoec_arena_create(), cases[i].count, cases[i].element_bytes);
      _exit(0);
    }
    close(ends[1]);
    assert_true(read(ends[0], said, sizeof said - 1) >= 0);
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_string_equal(said, "hmoec: out of memory\n");
  }
}

static void test_name_map(void **state) {
  (void)state;
  hmoec_arena *arena = hmoec_arena_create();
  hmoec_name_map map = {.arena = arena};
  assert_int_equal(hmoec_name_map_find(&map, "a"), HMOEC_NO_NAME);
  for (size_t i = 0; i < 1000; i++) assert_int_equal(hmoec_name_map_add(&map, hmoec_arena_printf(arena, "name%zu", i)), i);
  for (size_t i = 0; i < 1000; i++) assert_int_equal(hmoec_name_map_find(&map, hmoec_arena_printf(arena, "name%zu", i)), i);
  assert_int_equal(hmoec_name_map_add(&map, "name7"), 7);
  assert_int_equal(map.count, 1000);
  assert_int_equal(hmoec_name_map_find(&map, ""), HMOEC_NO_NAME);
  hmoec_arena_destroy(arena);
}

static void test_pointer_map(void **state) {
  (void)state;
  static const char keys[1000];
  hmoec_pointer_map map = {0};
  hmoec_pointer_map_deinit(&map);
  for (int turn = 0; turn < 2; turn++) { /* a map that was given back is an empty one */
    assert_int_equal(hmoec_pointer_map_get(&map, &keys[0]), HMOEC_NO_NUMBER);
    for (size_t i = 0; i < sizeof keys; i++) assert_true(hmoec_pointer_map_set(&map, &keys[i], i));
    assert_true(hmoec_pointer_map_set(&map, &keys[7], 5000));
    for (size_t i = 0; i < sizeof keys; i++) assert_int_equal(hmoec_pointer_map_get(&map, &keys[i]), i == 7 ? 5000 : i);
    assert_int_equal(map.count, sizeof keys);
    assert_int_equal(hmoec_pointer_map_get(&map, &map), HMOEC_NO_NUMBER);
    hmoec_pointer_map_deinit(&map);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_arena), cmocka_unit_test(test_arena_texts),
                                     cmocka_unit_test(test_arena_limits), cmocka_unit_test(test_name_map),
                                     cmocka_unit_test(test_pointer_map)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
