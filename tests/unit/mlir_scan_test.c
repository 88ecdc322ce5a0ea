/* What text of MLIR may have of depth, names, numbers, strings and aliases: as much, and one more, which is refused where it stands. */
#include "frontend/mlir_scan.h"
#include "limit_testing.h"
#include "support/limits.h"

/* Looks at exactly these bytes. */
static bool scan(const char *text, size_t size, said *out_said) {
  *out_said = (said){.errors = 0};
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create_with(keep_said, out_said);
  char *copy = malloc(size ? size : 1);
  assert_true(diagnostics && copy);
  memcpy(copy, text, size);
  bool ok = hmoec_mlir_scan(diagnostics, "m.mlir", copy, size);
  assert_int_equal(out_said->errors, ok ? 0 : 1);
  free(copy);
  hmoec_diagnostics_destroy(diagnostics);
  return ok;
}

/* The piece is taken `most` times and not once more: that is said at the last piece, or at the beginning of what is too long. */
typedef enum spot { AT_PIECE, BEHIND_PIECE, AT_WHOLE, AT_QUOTE } spot;

static void check(const char *before, const char *piece, const char *after, size_t most, spot where, const char *message) {
  for (size_t count = most; count <= most + 1; count++) {
    size_t size, whole = strlen(before), pieces = count * strlen(piece);
    char *text = repeated(before, piece, count, after, &size);
    said found;
    bool ok = scan(text, size, &found);
    if (ok != (count == most)) fail_msg("\"%.60s\" and %zu times \"%s\": %s", before, count, piece, found.text);
    size_t offset = where == AT_PIECE       ? whole + pieces - strlen(piece)
                    : where == BEHIND_PIECE ? whole + pieces
                    : where == AT_QUOTE     ? whole - 1
                    : !whole                ? 0
                                            : whole - strspn(before + whole - 1, "%#!@^");
    if (!ok) said_check(&found, "m.mlir", text, offset, message, before);
    free(text);
  }
}

#define DEEP "brackets nest more than 100 deep"
#define LONG_ALIAS "an alias stands for more than 10000 words"

static void test_depth(void **state) {
  (void)state;
  assert_int_equal(HMOEC_MLIR_MAX_DEPTH, 100);
  static const char *const brackets[] = {"(", "[", "{", "<", " (", "\n["};
  for (size_t i = 0; i < 4; i++) check("a\n b ", brackets[i], "", 100, AT_PIECE, DEEP);
  check("", "([{<", "", 25, AT_PIECE, DEEP);
  static const struct {
    const char *before;
    size_t left;
  } rows[] = {
      {"()[]{}<>", 100},  {"([{<>}])", 100}, {"(]", 99},      {"((]])", 99},       {"<(>)>", 100},  {")]}>", 100},
      {"\"((\" ", 100},   {"// ((\n", 100},  {"/ (", 99},     {"\"(\\\"(\"(", 99}, {"\"((\n", 100}, {"\"((\\\n", 100},
      {"<->", 99},        {"<-\n>", 100},    {"<->>", 100},   {"<- >", 100},       {"<-->", 99},    {"<x>", 100},
      {"() -> () <", 99}, {"'('", 99},       {"<a->b>", 100},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) check(rows[i].before, "(", "", rows[i].left, AT_PIECE, DEEP);
}

static void test_names(void **state) {
  (void)state;
  static const char message[] = "a name of more than 1000 characters is not supported";
  assert_int_equal(HMOEC_MLIR_MAX_WORD, 1000);
  static const char *const letters[] = {"g", "Z", "_", "$", "z"};
  for (size_t i = 0; i < sizeof letters / sizeof *letters; i++) {
    static const char *const marks[] = {"%", "#", "!", "@", "^"};
    size_t size;
    char *text = repeated("", letters[i], 1001, "", &size);
    said found;
    assert_true(scan(text, 1000, &found));
    assert_false(scan(text, size, &found));
    said_check(&found, "m.mlir", text, 0, message, letters[i]);
    free(text);
    for (size_t k = 0; k < sizeof marks / sizeof *marks; k++) {
      check(marks[k], letters[i], "\n", 999, AT_WHOLE, message);
      for (size_t count = 998; count <= 999; count++) { /* dashes are part of them */
        char begin[8];
        snprintf(begin, sizeof begin, "%sg", marks[k]);
        text = repeated(begin, "-", count, "", &size);
        assert_int_equal(scan(text, size, &found), count == 998);
        free(text);
      }
    }
  }
  /* Names that a digit begins, and words without a mark, end at a dash. */
  static const char *const cut[] = {"%1", "#1", "g"};
  for (size_t i = 0; i < sizeof cut / sizeof *cut; i++) {
    size_t size;
    char *text = repeated(cut[i], "-", 3000, "", &size);
    said found;
    assert_true(scan(text, size, &found));
    free(text);
  }
}

static void test_numbers(void **state) {
  (void)state;
  static const char message[] = "a number of more than 100 digits is not supported";
  assert_int_equal(HMOEC_MLIR_MAX_NUMBER, 100);
  static const char *const digits[] = {"0", "9", "a", "f", "A", "F", "."}, *const befores[] = {"",  "\nx = ", "123g",
                                                                                               "%", "#g",     "1-"};
  for (size_t i = 0; i < sizeof digits / sizeof *digits; i++)
    for (size_t k = 0; k < sizeof befores / sizeof *befores; k++) check(befores[k], digits[i], " ", 100, AT_PIECE, message);
  check("", "1g", " ", 500, AT_WHOLE, "a name of more than 1000 characters is not supported");
}

static void test_strings(void **state) {
  (void)state;
  static const char message[] = "a string of more than 65536 characters is not supported";
  assert_int_equal(HMOEC_MLIR_MAX_STRING, 65536);
  check("a\n \"", "x", "\" b", 65534, AT_QUOTE, message);
  check("\"", "\\\"", "\"", 32767, AT_QUOTE, message);
  check("\"", "x", "\n(", 65535, AT_QUOTE, message); /* ends with its line */
  check("\"", "x", "\\\n(", 65534, AT_QUOTE, message);
  check("\"", "x", "", 65535, AT_QUOTE, message);
  check("\"", "x", "\\", 65534, AT_QUOTE, message);
}

static void test_words(void **state) {
  (void)state;
  static const struct {
    const char *text;
    size_t offset;
    const char *message; /* NULL: taken */
  } rows[] = {
      /* Results. */
      {"%a#1000", 0, NULL},
      {" %a#1001", 3, "a result beyond number 1000 is not supported"},
      {"%a#0001000", 0, NULL},
      {"%a#0001001", 2, "a result beyond number 1000 is not supported"},
      {"%a#99999999999999999999999", 2, "a result beyond number 1000 is not supported"},
      {"%a#1000x9", 0, NULL},
      {"%a#7, #9\n#1001", 9, "a result beyond number 1000 is not supported"},
      /* Integers. */
      {"i128 si128 ui128 4xi128 ?xi128", 0, NULL},
      {"a i129", 2, "an integer of more than 128 bits is not supported"},
      {"a si129", 3, "an integer of more than 128 bits is not supported"},
      {"a ui129", 3, "an integer of more than 128 bits is not supported"},
      {"<4xi129", 3, "an integer of more than 128 bits is not supported"},
      {"<4x56xui129", 7, "an integer of more than 128 bits is not supported"},
      {"<?xi129", 3, "an integer of more than 128 bits is not supported"},
      {"<*xi129", 3, "an integer of more than 128 bits is not supported"},
      {"<[4]xsi129", 6, "an integer of more than 128 bits is not supported"},
      {"i0129", 0, "an integer of more than 128 bits is not supported"},
      {"i99999999999999999999999999999999", 0, "an integer of more than 128 bits is not supported"},
      {">xi129 ti129 i129a i1_29 sui129 %i129 @i129 x129 s129 i si", 0, NULL},
      /* What a model cannot hold. */
      {"b affine_map", 2, "a model cannot hold 'affine_map'"},
      {"b affine_set<", 2, "a model cannot hold 'affine_set'"},
      {"\n dense_resource", 2, "a model cannot hold 'dense_resource'"},
      {"opaque", 0, "a model cannot hold 'opaque'"},
      {"affine_maps affine_ma opaqu %opaque @opaque #opaque !opaque x.opaque \"opaque\" // opaque", 0, NULL},
      {"a {-#", 2, "a model cannot hold resources"},
      {"{-# #-}", 0, "a model cannot hold resources"},
      {"{ -# {-", 0, NULL},
      {"{-- {#", 0, NULL},
      {"[-#", 0, NULL},
      /* Lines and comments. */
      {"// opaque\n// opaque\r\n\t /\n\n  opaque", 28, "a model cannot hold 'opaque'"},
      {"\"a\nb\" opaque", 7, NULL}, /* in the second string, which is not closed */
      {"\"a\n opaque", 4, "a model cannot hold 'opaque'"},
      {"//", 0, NULL},
      {"/", 0, NULL},
      {"", 0, NULL},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    said found;
    bool ok = scan(rows[i].text, strlen(rows[i].text), &found);
    if (ok != !rows[i].message) fail_msg("%s: %s", rows[i].text, ok ? "taken" : found.text);
    if (!ok) said_check(&found, "m.mlir", rows[i].text, rows[i].offset, rows[i].message, rows[i].text);
  }
  /* A zero character is space, as to MLIR. */
  said found;
  assert_false(scan("\0\0opaque", 8, &found));
  assert_int_equal(found.at.column, 3);
}

/* The words of an alias's value, and where it ends. */
static void test_alias_words(void **state) {
  (void)state;
  assert_int_equal(HMOEC_MLIR_MAX_ALIAS_WORDS, 10000);
  static const struct {
    const char *before, *piece;
    size_t most;
  } rows[] = {
      {"#a = ", "1 ", 9999},
      {"!a\n = ", "x ", 9999},
      {"#a = ", "\"s\"", 9999},
      {"#a = ", "%x ", 9999},
      {"#a = ", "#7 ", 9999},
      {"#a = ", "#z ", 9999},
      {"#a = ", ", ", 9999},
      {"#a =\n", "1 ", 9999},
      {"#a = 1 :\n", "1 ", 9997},
      {"!a = () ->\n", "1 ", 9995},
      {"#a = -\n", "1 ", 9998},
      {"#a = (\n", "1\n", 9998},
      {"#a = 1 ", "1 ", 9998},
      {"#a = 1\n, ", "1 ", 9997},
      {"#a = 1 // c\n , ", "1 ", 9997},
      {"#a = 1\n#b = ", "1 ", 9999},
      {"#a = [1, 2]\n#b = ", "#a ", 1428},
      {"#a = 1\n#b = #a\n#c = ", "#b ", 1999},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    check(rows[i].before, rows[i].piece, "", rows[i].most, AT_PIECE, LONG_ALIAS);
  static const char *const ended[] = {"#a = 1\n", "#a = 1 // c\n", "#a = (1)\n\"s\" ", "#a = (\n)\n%x ", "#a.b = ", "(#a = ", "#a ",
                                      "%a = ",    "@a = "};
  for (size_t i = 0; i < sizeof ended / sizeof *ended; i++) {
    size_t size;
    char *text = repeated(ended[i], "1 ", 10001, "", &size);
    said found;
    if (!scan(text, size, &found)) fail_msg("%s: %s", ended[i], found.text);
    free(text);
  }
}

/* What aliases stand for where they are used: their depth, and their words in all. */
static void test_alias_uses(void **state) {
  (void)state;
  check("#a = ((x))\nf ", "(", "#a", 98, BEHIND_PIECE, DEEP);
  check("!a = ((x))\nf ", "(", "!a", 98, BEHIND_PIECE, DEEP);
  check("#a = ((x))\n#b = (#a)\nf ", "(", "#b", 97, BEHIND_PIECE, DEEP);
  check("#a = ((x))\n#b = [(y)] #a\nf ", "(", "#b", 98, BEHIND_PIECE, DEEP);
  check("#a = (((x)))\n#a = 1\nf ", "(", "#a", 97, BEHIND_PIECE, DEEP);
  check("f(#a = ((x)))\ng ", "(", "#a", 100, AT_PIECE, DEEP);
  check("#a.b = ((x))\nf ", "(", "#a.b", 100, AT_PIECE, DEEP);
  check("#a = ((x))\nf ", "(", "!a #aa #", 100, AT_PIECE, DEEP);

  assert_int_equal(HMOEC_MLIR_MAX_ALIASED_WORDS, 1000000);
  size_t size;
  char *before = repeated("#a = ", "1 ", 4999, "\nf ", &size);
  check(before, "#a ", "", 200, AT_PIECE, "aliases stand for more than 1000000 words in all");
  free(before);

  /* Each of many keeps what it stands for. */
  enum { ALIASES = 70 };
  char *all = NULL;
  FILE *stream = open_memstream(&all, &size);
  for (int i = 0; i < ALIASES; i++) fprintf(stream, "#a%d = %.*sx%.*s\n", i, 1 + i % 7, "((((((((", 1 + i % 7, "))))))))");
  fputs("f ", stream);
  fclose(stream);
  for (int i = 0; i < ALIASES; i++) {
    char use[16];
    snprintf(use, sizeof use, "#a%d", i);
    check(all, "(", use, (size_t)(99 - i % 7), BEHIND_PIECE, DEEP);
  }
  free(all);
}

/* Text that ends anywhere. */
static void test_cut(void **state) {
  (void)state;
  static const char text[] = "#a = [1 : i64] // c\n\"x\\\"y\" {-\n-#} %a-b#7 -> tensor<4x?xi32> / #a = !b";
  for (size_t size = 0; size <= sizeof text - 1; size++) {
    said found;
    assert_true(scan(text, size, &found));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_depth),      cmocka_unit_test(test_names),
                                     cmocka_unit_test(test_numbers),    cmocka_unit_test(test_strings),
                                     cmocka_unit_test(test_words),      cmocka_unit_test(test_alias_words),
                                     cmocka_unit_test(test_alias_uses), cmocka_unit_test(test_cut)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
