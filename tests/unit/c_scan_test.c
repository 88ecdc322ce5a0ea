/* How much a C file may have of operators in an expression and of branches in a function: as many, and one more, which is refused where it stands. */
#include "frontend/c_scan.h"
#include "limit_testing.h"
#include "support/limits.h"

/* before, `count` pieces, after; mark: how far into a piece the scanner is when it counts it. */
static void check(const char *before, const char *piece, const char *after, int most, size_t mark, const char *message) {
  for (int count = most; count <= most + 1; count++) {
    size_t size, place = strlen(before) + (size_t)most * strlen(piece) + mark;
    char *text = repeated(before, piece, (size_t)count, after, &size);
    said found = {.errors = 0};
    hmoec_diagnostics *diagnostics = hmoec_diagnostics_create_with(keep_said, &found);
    bool ok = hmoec_c_scan(diagnostics, "f.c", text, size);
    hmoec_diagnostics_destroy(diagnostics);
    if (ok != (count == most) || found.errors != (ok ? 0 : 1)) fail_msg("%d times \"%s\": %s", count, piece, found.text);
    if (!ok) said_check(&found, "f.c", text, place, message, piece);
    free(text);
  }
}

static void test_limits(void **state) {
  (void)state;
  /* What does not count: comments, strings and characters, words, dots and what closes; what begins anew: a semicolon, a comma, a brace, a #. */
  static const char *const befores[] = {"float f(float x) {\n  return x",
                                        "/* + + \n + */ // + +\nfloat f(float x) {\n  x = \"++\\\"++\" '+' 1.5 ) ] .a;\n  return x",
                                        "return x /* + + \n + */ // + +\n",
                                        "return x \"++\\\"++\" '+' '\\'' 1.5 ) ] .a _b b_ \t\r\n",
                                        "return x \"+ +\n", /* ends with its line */
                                        "return x '+ +\\\n+ +\n",
                                        "x = + + + + + + , x",
                                        "x = + + + + +\n#x",
                                        "x = + + + {x",
                                        "// + x\nx }x"};
  char operators[128], statements[128];
  snprintf(operators, sizeof operators, "an expression of more than %d operators is not supported", HMOEC_C_MAX_OPERATORS);
  snprintf(statements, sizeof statements, "a function of more than %d branches and loops is not supported", HMOEC_C_MAX_STATEMENTS);
  for (size_t i = 0; i < sizeof befores / sizeof *befores; i++)
    check(befores[i], "+\nx", ";\n}\n", HMOEC_C_MAX_OPERATORS, 1, operators);
  static const char *const words[] = {"if", "else", "for", "while", "do", "switch", "case", "default"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    char piece[32];
    snprintf(piece, sizeof piece, " %s;\n", words[i]);
    check("float f(float x) { /* if */ \"if\"; iffy; elsewhere; i_f; _if; if_; if1; 1if;\n", piece, "}\n", HMOEC_C_MAX_STATEMENTS,
          1 + strlen(words[i]), statements);
  }
  /* The end of a function, and not of a body in it, begins anew. */
  check("float g(float x) { if; if; if; { if; } }\nfloat f(float x) {", " if;", "}\n", HMOEC_C_MAX_STATEMENTS, 3, statements);
  check("float f(float x) { { if; } if;", " if;", "}\n", HMOEC_C_MAX_STATEMENTS - 2, 3, statements);
  check("} float f(float x) { { if; } if;", " if;", "}\n", HMOEC_C_MAX_STATEMENTS - 2, 3, statements);
}

/* A zero character begins nothing anew. */
static void test_zero(void **state) {
  (void)state;
  size_t size;
  char *text = repeated("", "+ ", HMOEC_C_MAX_OPERATORS + 1, "", &size);
  text[size - 3] = '\0';
  said found = {.errors = 0};
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create_with(keep_said, &found);
  assert_false(hmoec_c_scan(diagnostics, "f.c", text, size));
  assert_int_equal(found.at.column, size);
  hmoec_diagnostics_destroy(diagnostics);
  free(text);
}

/* Text that ends anywhere. */
static void test_cut(void **state) {
  (void)state;
  static const char text[] = "/* a */ // b\n\"c\\\"d\" 'e' f + g; /* h";
  for (size_t size = 0; size <= sizeof text - 1; size++) {
    hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
    char *copy = malloc(size + 1); /* a NUL behind it, and nothing else */
    assert_non_null(copy);
    memcpy(copy, text, size);
    copy[size] = 0;
    assert_true(hmoec_c_scan(diagnostics, "f.c", copy, size));
    free(copy);
    hmoec_diagnostics_destroy(diagnostics);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_limits), cmocka_unit_test(test_zero), cmocka_unit_test(test_cut)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
