/* The diagnostic sink: what is printed, counted and remembered. */
#include "ir/location.h"
#include "library/report.h"
#include "module_fixture.h"
#include "runtime_internal.h"

#include <stdio.h>
#include <unistd.h>

/* Everything a sink printed. */
typedef struct printed {
  char *text;
  size_t size;
  FILE *stream;
  hmoec_diagnostics *diagnostics;
} printed;

static void printed_init(printed *printed) {
  printed->stream = open_memstream(&printed->text, &printed->size);
  assert_non_null(printed->stream);
  printed->diagnostics = hmoec_diagnostics_create(printed->stream);
}

static void printed_check(printed *printed, const char *expected) {
  fflush(printed->stream);
  assert_string_equal(printed->text, expected);
  hmoec_diagnostics_destroy(printed->diagnostics);
  fclose(printed->stream);
  free(printed->text);
}

static void append(void *context, const char *text, size_t bytes) { fwrite(text, 1, bytes, context); }

/* A piece of a report is as long as it is. */
static void test_report(void **state) {
  (void)state;
  enum { MOST = 1030 };
  for (int length = 0; length <= MOST; length += length < 508 || length > 514 ? 103 - length % 103 / 2 : 1) {
    char *text, expected[MOST + 2];
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    assert_non_null(stream);
    for (int i = 0; i < length; i++) expected[i] = (char)('a' + i % 23);
    expected[length] = '\0';
    hmoec_report_printf(&(hmoec_report){append, stream}, "%s%d", expected, 7);
    hmoec_report_printf(&(hmoec_report){NULL, stream}, "%d", 8);
    fclose(stream);
    assert_int_equal(size, length + 1);
    assert_memory_equal(text, expected, (size_t)length);
    assert_int_equal(text[length], '7');
    free(text);
  }
}

static void test_caret(void **state) {
  (void)state;
  printed printed;
  printed_init(&printed);
  const char text[] = "model m\n\tr = ruote(x)\n";
  hmoec_diagnostics_add_source(printed.diagnostics, "m.spec", text, sizeof text - 1);
  assert_false(hmoec_error(printed.diagnostics, (hmoec_location){"m.spec", 2, 6}, "there is no op named \"%s\"", "ruote"));
  hmoec_note(printed.diagnostics, (hmoec_location){"m.spec", 1, 0}, "in this model");
  hmoec_warning(printed.diagnostics, (hmoec_location){"m.spec", 9, 1}, "past the end");
  hmoec_error(printed.diagnostics, (hmoec_location){.file = "/nowhere/x.npy"}, "cannot open");
  assert_int_equal(hmoec_diagnostics_errors(printed.diagnostics), 2);
  assert_string_equal(hmoec_diagnostics_first(printed.diagnostics), "there is no op named \"ruote\"");
  printed_check(&printed, "m.spec:2:6: error: there is no op named \"ruote\"\n\tr = ruote(x)\n\t    ^\n"
                          "m.spec:1: note: in this model\nmodel m\n"
                          "m.spec:9:1: warning: past the end\n"
                          "/nowhere/x.npy: error: cannot open\n");
}

/* Whatever is in names and files, a message is one line, and its line shows no byte that a terminal would obey. */
static void test_odd_bytes(void **state) {
  (void)state;
  printed printed;
  printed_init(&printed);
  const char text[] = "a\x1b[31m \xff\xc3\xa4 b\n";
  hmoec_diagnostics_add_source(printed.diagnostics, "x\ny.spec", text, sizeof text - 1);
  hmoec_error(printed.diagnostics, (hmoec_location){"x\ny.spec", 1, 12}, "no '%s'", "\x1b[2J\t\xc3\xa4\r");
  printed_check(&printed, "x\\ny.spec:1:12: error: no '\\x1b[2J\\t\xc3\xa4\\x0d'\na?[31m ?\xc3\xa4 b\n          ^\n");
}

/* A long line is shown in part: at most 160 characters, of which 80 stand before the place. */
static void test_long_lines(void **state) {
  (void)state;
  static const struct {
    size_t length;
    unsigned column;
    size_t skipped, shown, caret;
  } rows[] = {
      {1, 1, 0, 1, 0},          {1, 2, 0, 1, 1},          {1, 9, 0, 1, 1},          {0, 1, 0, 0, 0},         {0, 5, 0, 0, 0},
      {160, 1, 0, 160, 0},      {160, 160, 0, 160, 159},  {160, 999, 0, 160, 160},  {161, 1, 0, 160, 0},     {161, 81, 0, 160, 80},
      {161, 82, 1, 160, 80},    {161, 83, 2, 159, 80},    {161, 161, 80, 81, 80},   {161, 162, 81, 80, 80},  {161, 999, 81, 80, 80},
      {400, 300, 219, 160, 80}, {400, 321, 240, 160, 80}, {400, 322, 241, 159, 80}, {400, 400, 319, 81, 80},
  };
  char line[512], expected[1024];
  for (size_t i = 0; i < sizeof line; i++) line[i] = (char)('!' + (char)(i % 89));
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    for (int ended = 0; ended < 3; ended++) { /* by the file's end, a newline, or both characters */
      static const char *const ends[] = {"", "\n", "\r\nmore"};
      char text[1024];
      int size = snprintf(text, sizeof text, "first\n%.*s%s", (int)rows[i].length, line, ends[ended]);
      printed printed;
      printed_init(&printed);
      hmoec_diagnostics_add_source(printed.diagnostics, "m.spec", text, (size_t)size);
      hmoec_error(printed.diagnostics, (hmoec_location){"m.spec", 2, rows[i].column}, "here");
      snprintf(expected, sizeof expected, "m.spec:2:%u: error: here\n%.*s\n%*s^\n", rows[i].column, (int)rows[i].shown,
               line + rows[i].skipped, (int)rows[i].caret, "");
      printed_check(&printed, expected);
    }
}

/* Which line is shown, where there is one. */
static void test_lines(void **state) {
  (void)state;
  static const struct {
    unsigned line;
    const char *shown; /* NULL: none */
  } rows[] = {{0, NULL}, {1, "one"}, {2, ""}, {3, ""}, {4, "\rfo\rur"}, {5, "five"}, {6, NULL}, {7, NULL}};
  const char text[] = "one\n\n\r\n\rfo\rur\r\nfive";
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    printed printed;
    printed_init(&printed);
    hmoec_diagnostics_add_source(printed.diagnostics, "other.spec", "other", 5);
    hmoec_diagnostics_add_source(printed.diagnostics, "m.spec", text, sizeof text - 1);
    hmoec_diagnostics_add_source(printed.diagnostics, "another.spec", "another", 7);
    hmoec_error(printed.diagnostics, (hmoec_location){"m.spec", rows[i].line, 0}, "here");
    char expected[128], shown[32] = "";
    for (const char *at = rows[i].shown; at && *at; at++) snprintf(shown + strlen(shown), 3, "%c", *at == '\r' ? '?' : *at);
    if (rows[i].line == 0) snprintf(expected, sizeof expected, "m.spec: error: here\n");
    else snprintf(expected, sizeof expected, "m.spec:%u: error: here\n%s%s", rows[i].line, shown, rows[i].shown ? "\n" : "");
    printed_check(&printed, expected);
  }
}

/* The line of a file that nobody registered comes from the file, where it can be read. */
static void test_file_lines(void **state) {
  (void)state;
  char path[] = "/tmp/hmoe-diagnostics-XXXXXX", expected[256];
  int fd = mkstemp(path);
  assert_true(fd >= 0 && write(fd, "one\ntwo", 7) == 7);
  close(fd);
  printed printed;
  printed_init(&printed);
  hmoec_error(printed.diagnostics, (hmoec_location){path, 2, 3}, "here");
  unlink(path);
  hmoec_error(printed.diagnostics, (hmoec_location){path, 1, 1}, "read once");
  hmoec_error(printed.diagnostics, (hmoec_location){"/none", 1, 1}, "no file");
  hmoec_error(printed.diagnostics, (hmoec_location){"/tmp", 1, 1}, "a directory");
  hmoec_error(printed.diagnostics, (hmoec_location){.line = 1, .column = 2}, "no name");
  snprintf(expected, sizeof expected,
           "%s:2:3: error: here\ntwo\n  ^\n%s:1:1: error: read once\none\n^\n/none:1:1: error: no file\n/tmp:1:1: error: a "
           "directory\nhmoec: error: no name\n",
           path, path);
  printed_check(&printed, expected);
}

/* A file that is empty has a first line, and one of up to 64 MiB is read. */
static void test_odd_files(void **state) {
  (void)state;
  static const struct {
    off_t size;
    const char *shown;
  } rows[] = {{0, "\n^\n"}, {4, "one\n^\n"}, {64 << 20, "one\n^\n"}, {(64 << 20) + 1, ""}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char path[] = "/tmp/hmoe-diagnostics-XXXXXX", expected[256];
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, "one\n", 4) == 4 && ftruncate(fd, rows[i].size) == 0);
    close(fd);
    printed printed;
    printed_init(&printed);
    hmoec_error(printed.diagnostics, (hmoec_location){path, 1, 1}, "here");
    unlink(path);
    snprintf(expected, sizeof expected, "%s:1:1: error: here\n%s", path, rows[i].shown);
    printed_check(&printed, expected);
  }
}

/* Characters of several bytes are shown whole and take one column; what is none is a question mark a byte. */
static void test_characters(void **state) {
  (void)state;
  static const struct {
    const char *bytes, *shown;
    size_t columns;
  } rows[] = {
      {"\x7e", "\x7e", 1},
      {"\x7f", "?", 1},
      {"\x1f", "?", 1},
      {"\x20", " ", 1},
      {"\x80", "?", 1},
      {"\xbf", "?", 1},
      {"\xc1\x80", "??", 2},
      {"\xc2\x80", "\xc2\x80", 1},
      {"\xdf\xbf", "\xdf\xbf", 1},
      {"\xe0\xa0\x80", "\xe0\xa0\x80", 1},
      {"\xef\xbf\xbf", "\xef\xbf\xbf", 1},
      {"\xf0\x90\x80\x80", "\xf0\x90\x80\x80", 1},
      {"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf", 1},
      {"\xf5\x80\x80\x80", "????", 4},
      {"\xc3", "?", 1},
      {"\xe2\x82", "??", 2},
      {"\xe2\x82"
       "a",
       "??a", 3},
      {"\xe2"
       "a\x82",
       "?a?", 3},
      {"\xf0\x90\x80", "???", 3},
      {"\xf0\x90"
       "a\x80",
       "??a?", 4},
      {"\xc2\xc0", "??", 2},
      {"\xc2\x7f", "??", 2},
      {"\xff\xfe", "??", 2},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    printed printed;
    printed_init(&printed);
    hmoec_diagnostics_add_source(printed.diagnostics, "m.spec", rows[i].bytes, strlen(rows[i].bytes));
    hmoec_error(printed.diagnostics, (hmoec_location){"m.spec", 1, 100}, "here");
    char expected[128];
    snprintf(expected, sizeof expected, "m.spec:1:100: error: here\n%s\n%*s^\n", rows[i].shown, (int)rows[i].columns, "");
    printed_check(&printed, expected);
  }
  /* In names and texts, what moves a cursor is written as in C. */
  printed printed;
  printed_init(&printed);
  hmoec_error(printed.diagnostics, (hmoec_location){.file = "\x01\x1f \x7e\x7f\x80"}, "%s", "\n\t\x20\x0b");
  printed_check(&printed, "\\x01\\x1f \x7e\\x7f\x80: error: \\n\\t \\x0b\n");
}

/* A message is printed whole, however long. */
static void test_long_texts(void **state) {
  (void)state;
  static const int lengths[] = {0, 1, 510, 511, 512, 513, 5000};
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    char *expected = malloc(6000), *text = malloc(6000);
    snprintf(text, 6000, "%0*d", lengths[i], 7);
    if (!lengths[i]) *text = '\0';
    snprintf(expected, 6000, "hmoec: warning: %s\n", text);
    printed printed;
    printed_init(&printed);
    hmoec_warning(printed.diagnostics, (hmoec_location){0}, "%s", text);
    printed_check(&printed, expected);
    free(expected);
    free(text);
  }
}

static void test_failure_classes(void **state) {
  (void)state;
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  assert_int_equal(hmoec_diagnostics_status(diagnostics), HMOEC_OK);
  hmoec_warning(diagnostics, (hmoec_location){0}, "only a warning");
  assert_int_equal(hmoec_diagnostics_status(diagnostics), HMOEC_OK);
  hmoec_error(diagnostics, (hmoec_location){0}, "input");
  assert_int_equal(hmoec_diagnostics_status(diagnostics), HMOEC_INPUT_ERROR);
  hmoec_machine_error(diagnostics, "machine");
  hmoec_error(diagnostics, (hmoec_location){0}, "input");
  assert_int_equal(hmoec_diagnostics_status(diagnostics), HMOEC_MACHINE_ERROR);
  hmoec_diagnostics_destroy(diagnostics);
}

/* The worst class is kept, whatever comes later; what is forgotten was never there; what was reported elsewhere has no text. */
static void test_classes_kept(void **state) {
  (void)state;
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  static const hmoec_status classes[] = {HMOEC_INPUT_ERROR, HMOEC_USAGE_ERROR, HMOEC_MACHINE_ERROR};
  for (size_t first = 0; first < 3; first++)
    for (size_t second = 0; second < 3; second++) {
      hmoec_diagnostics_count(diagnostics, classes[first]);
      assert_int_equal(hmoec_diagnostics_status(diagnostics), classes[first]);
      hmoec_diagnostics_count(diagnostics, classes[second]);
      assert_int_equal(hmoec_diagnostics_status(diagnostics), classes[first > second ? first : second]);
      assert_int_equal(hmoec_diagnostics_errors(diagnostics), 2);
      assert_string_equal(hmoec_diagnostics_first(diagnostics), "");
      assert_false(hmoec_usage_error(diagnostics, "text %d", 1));
      assert_int_equal(hmoec_diagnostics_status(diagnostics), first == 2 || second == 2 ? HMOEC_MACHINE_ERROR : HMOEC_USAGE_ERROR);
      assert_false(hmoec_error(diagnostics, (hmoec_location){0}, "text %d", 2));
      assert_string_equal(hmoec_diagnostics_first(diagnostics), "text 1");
      hmoec_diagnostics_forget(diagnostics);
      assert_int_equal(hmoec_diagnostics_status(diagnostics), HMOEC_OK);
      assert_int_equal(hmoec_diagnostics_errors(diagnostics), 0);
      assert_string_equal(hmoec_diagnostics_first(diagnostics), "");
    }
  hmoec_diagnostics_destroy(diagnostics);
  hmoec_diagnostics_destroy(NULL);
}

/* How many lines of a text begin with this. */
static size_t lines_with(const char *text, const char *begin) {
  size_t count = 0;
  for (const char *line = text; line; line = strchr(line, '\n'), line += line != NULL)
    count += strncmp(line, begin, strlen(begin)) == 0;
  return count;
}

/* 20 errors and 100 warnings are shown with their notes, each for itself; then one line says that there are more. */
static void test_most_messages(void **state) {
  (void)state;
  for (int more = 0; more < 3; more++) {
    printed printed;
    printed_init(&printed);
    for (int i = 0; i < 100 + more; i++) {
      hmoec_warning(printed.diagnostics, (hmoec_location){0}, "odd");
      hmoec_note(printed.diagnostics, (hmoec_location){0}, "of odd");
      if (i >= 20 + more) continue;
      hmoec_error(printed.diagnostics, (hmoec_location){0}, "bad");
      hmoec_note(printed.diagnostics, (hmoec_location){0}, "of bad");
    }
    hmoec_diagnostics_forget(printed.diagnostics); /* and from the beginning */
    hmoec_note(printed.diagnostics, (hmoec_location){0}, "alone");
    hmoec_error(printed.diagnostics, (hmoec_location){0}, "bad");
    fflush(printed.stream);
    static const char *const lines[] = {"hmoec: warning: odd",
                                        "hmoec: note: of odd",
                                        "hmoec: error: bad",
                                        "hmoec: note: of bad",
                                        "hmoec: note: alone",
                                        "hmoec: note: too many errors, the rest is not shown\n",
                                        "hmoec: note: too many warnings, the rest is not shown\n"};
    const size_t counts[] = {100, 100, 21, 20, 1, more != 0, more != 0};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) assert_int_equal(lines_with(printed.text, lines[i]), counts[i]);
    hmoec_diagnostics_destroy(printed.diagnostics);
    fclose(printed.stream);
    free(printed.text);
  }
}

static void test_many_errors(void **state) {
  (void)state;
  printed printed;
  printed_init(&printed);
  for (int i = 0; i < 30; i++) {
    hmoec_error(printed.diagnostics, (hmoec_location){0}, "error %d", i);
    hmoec_note(printed.diagnostics, (hmoec_location){0}, "note %d", i);
  }
  fflush(printed.stream);
  assert_int_equal(hmoec_diagnostics_errors(printed.diagnostics), 30);
  assert_non_null(strstr(printed.text, "error 19\nhmoec: note: note 19\nhmoec: note: too many errors, the rest is not shown\n"));
  assert_null(strstr(printed.text, "error 20"));
  hmoec_diagnostics_destroy(printed.diagnostics);
  fclose(printed.stream);
  free(printed.text);
}

static void test_mlir_errors_come_through(void **state) {
  (void)state;
  printed printed;
  printed_init(&printed);
  MlirContext context = hmoec_context_create();
  hmoec_diagnostics_attach(printed.diagnostics, context);
  const char text[] = "// A comment.\nfunc.func @f( {\n";
  hmoec_diagnostics_add_source(printed.diagnostics, "m.mlir", text, sizeof text - 1);
  assert_true(mlirModuleIsNull(hmoec_module_parse(context, "m.mlir", text, sizeof text - 1)));
  hmoec_context_destroy(context);
  fflush(printed.stream);
  assert_int_equal(hmoec_diagnostics_status(printed.diagnostics), HMOEC_INPUT_ERROR);
  assert_ptr_equal(strstr(printed.text, "m.mlir:2:"), printed.text);
  assert_non_null(strstr(printed.text, "\nfunc.func @f( {\n"));
  hmoec_diagnostics_destroy(printed.diagnostics);
  fclose(printed.stream);
  free(printed.text);
}

static void test_closest_name(void **state) {
  (void)state;
  const char *const names[] = {"route", "linear", "experts", "add"};
  assert_string_equal(hmoec_closest_name("expert", names, 4), "experts");
  assert_string_equal(hmoec_closest_name("lniear", names, 4), "linear");
  assert_string_equal(hmoec_closest_name("ad", names, 4), "add");
  assert_null(hmoec_closest_name("softmax", names, 4));
  assert_null(hmoec_closest_name("x", names, 0));
}

/* What the runtime says becomes an error at the file that it names, by the class of its status. */
static void test_runtime_errors(void **state) {
  (void)state;
  char folder[] = "/tmp/hmoe-odd: name-XXXXXX", texts[5][128];
  assert_non_null(mkdtemp(folder));
  static const char *const formats[] = {"%s: is bad", "%s: of: two", "none: is bad: of two", "nothing at all", "/tmp: is bad"};
  for (size_t i = 0; i < 5; i++) snprintf(texts[i], sizeof texts[i], formats[i], folder);
  enum { ODD, ODD_OF, NONE, NOTHING, FOLDER };
  const struct {
    hmoe_status status;
    int text;
    hmoec_status failure;
    const char *file, *rest; /* NULL: no file, and all of the text */
  } rows[] = {
      {HMOE_IO_ERROR, ODD, HMOEC_INPUT_ERROR, folder, "is bad"},
      {HMOE_IO_ERROR, ODD_OF, HMOEC_INPUT_ERROR, folder, "of: two"},
      {HMOE_IO_ERROR, NONE, HMOEC_INPUT_ERROR, "none", "is bad: of two"},
      {HMOE_IO_ERROR, NOTHING, HMOEC_INPUT_ERROR, NULL, NULL},
      {HMOE_INVALID_WEIGHTS, ODD, HMOEC_INPUT_ERROR, folder, "is bad"},
      {HMOE_INVALID_WEIGHTS, NONE, HMOEC_INPUT_ERROR, NULL, NULL},
      {HMOE_INCOMPATIBLE, FOLDER, HMOEC_INPUT_ERROR, "/tmp", "is bad"},
      {HMOE_INCOMPATIBLE, NOTHING, HMOEC_INPUT_ERROR, NULL, NULL},
      {HMOE_INVALID_ARGUMENT, FOLDER, HMOEC_INPUT_ERROR, NULL, NULL},
      {HMOE_INTERNAL, FOLDER, HMOEC_INPUT_ERROR, NULL, NULL},
      {HMOE_UNSUPPORTED, FOLDER, HMOEC_MACHINE_ERROR, NULL, NULL},
      {HMOE_OUT_OF_MEMORY, FOLDER, HMOEC_MACHINE_ERROR, NULL, NULL},
      {HMOE_DEVICE_FAILED, FOLDER, HMOEC_MACHINE_ERROR, NULL, NULL},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    printed printed;
    char expected[256];
    printed_init(&printed);
    assert_int_equal(hmoe_fail(rows[i].status, "%s", texts[rows[i].text]), rows[i].status);
    assert_false(hmoec_runtime_error(printed.diagnostics, rows[i].status));
    assert_int_equal(hmoec_diagnostics_status(printed.diagnostics), rows[i].failure);
    snprintf(expected, sizeof expected, "%s: error: %s\n", rows[i].file ? rows[i].file : "hmoec",
             rows[i].file ? rows[i].rest : texts[rows[i].text]);
    printed_check(&printed, expected);
  }
  rmdir(folder);
}

/* One change is close to a name of up to 5 characters, and one more for each 3 characters of the name asked for. */
static void test_distances(void **state) {
  (void)state;
  static const struct {
    const char *name, *candidate;
    bool close;
  } rows[] = {
      {"add", "add", true},
      {"add", "ADD", true},
      {"aZd", "AzD", true},
      {"add", "and", true},
      {"add", "ad", true},
      {"add", "addd", true},
      {"add", "dad", true},
      {"add", "dda", false},
      {"add", "axx", false},
      {"a", "b", true},
      {"a", "", true},
      {"", "a", true},
      {"", "ab", false},
      {"a", "bc", false},
      {"ab", "ba", true},
      {"abcde", "xbcdx", false},
      {"abcdef", "xbcdex", true},
      {"abcdef", "xbcxex", false},
      {"abcdef", "badcef", true},
      {"abcdef", "badcfe", false},
      {"abcdefghi", "badcfeghi", true},
      {"abcdefghi", "badcfehgi", false},
      {"abcdef", "abcd", true},
      {"abcdef", "abc", false},
      {"abcdef", "abcdefgh", true},
      {"abcdef", "abcdefghi", false},
      {"abcdef", "cdef", true},
      {"abcdef", "xxabcdef", true},
      {"abcdef", "bcdefa", true},
      {"abcdef", "cabdef", true},
      {"@[`{", "`{@[", false},
      {"[[[", "{{{", false},
      {"@", "`", true},
      {"@@@@", "``@@", false},
      {"[[[[", "{{[[", false},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const char *found = hmoec_closest_name(rows[i].name, &rows[i].candidate, 1);
    if ((found != NULL) != rows[i].close) fail_msg("%s and %s", rows[i].name, rows[i].candidate);
    if (found) assert_ptr_equal(found, rows[i].candidate);
  }
  /* The nearest is taken, of several the first. */
  const char *const names[] = {"abcdxx", "abcdex", "abcdxf", "abcdef", "ABCDEF"};
  for (size_t from = 0; from < 5; from++)
    assert_ptr_equal(hmoec_closest_name("abcdef", names + from, 5 - from), names[from < 4 ? 3 : 4]);
  assert_ptr_equal(hmoec_closest_name("abcdef", names, 1), names[0]);
  assert_ptr_equal(hmoec_closest_name("abcdef", names, 2), names[1]);
  assert_ptr_equal(hmoec_closest_name("abcdef", names, 3), names[1]);
  /* Names of 128 characters and more are close to nothing. */
  char longest[130];
  memset(longest, 'a', sizeof longest);
  longest[127] = '\0';
  const char *candidate = longest;
  assert_ptr_equal(hmoec_closest_name(longest, &candidate, 1), longest);
  longest[127] = 'a', longest[128] = '\0';
  assert_null(hmoec_closest_name(longest, &candidate, 1));
  candidate = longest + 1;
  assert_null(hmoec_closest_name(longest, &candidate, 1));
  candidate = longest;
  assert_null(hmoec_closest_name(longest + 1, &candidate, 1));
}

/* Where an op says it stands, in each form that MLIR has for it. */
static void test_locations(void **state) {
  (void)state;
  MlirContext context = hmoec_context_create();
  char *extra = hmoec_location_file_create("m.mlir", 3);
  MlirLocation unknown = mlirLocationUnknownGet(context),
               first = mlirLocationFileLineColGet(context, mlirStringRefCreateFromCString("a.c"), 7, 9),
               second = mlirLocationFileLineColGet(context, mlirStringRefCreateFromCString("b.c"), 8, 10),
               name = mlirLocationNameGet(context, mlirStringRefCreateFromCString("value"), second);
  const struct {
    MlirLocation location;
    const char *file; /* NULL: none */
    unsigned line, column;
  } rows[] = {
      {{NULL}, NULL, 0, 0},
      {unknown, NULL, 0, 0},
      {first, "a.c", 7, 9},
      {name, "b.c", 8, 10},
      {mlirLocationNameGet(context, mlirStringRefCreateFromCString("value"), unknown), NULL, 0, 0},
      {mlirLocationCallSiteGet(first, second), "a.c", 7, 9},
      {mlirLocationCallSiteGet(name, first), "b.c", 8, 10},
      {mlirLocationFusedGet(context, 2, (MlirLocation[]){first, second}, (MlirAttribute){NULL}), "a.c", 7, 9},
      {mlirLocationFusedGet(context, 2, (MlirLocation[]){second, first}, (MlirAttribute){NULL}), "b.c", 8, 10},
      {mlirLocationFusedGet(
           context, 3, (MlirLocation[]){mlirLocationNameGet(context, mlirStringRefCreateFromCString("n"), unknown), name, first},
           (MlirAttribute){NULL}),
       "b.c", 8, 10},
      {mlirLocationFileLineColGet(context, mlirStringRefCreateFromCString(extra), 2, 5), "m.mlir", 2, 5},
      {mlirLocationFileLineColGet(context, mlirStringRefCreateFromCString(extra), 3, 5), "m.mlir", 3, 5},
      {mlirLocationFileLineColGet(context, mlirStringRefCreateFromCString(extra), 4, 5), "m.mlir", 3, 5},
      {mlirLocationFileLineColGet(context, mlirStringRefCreateFromCString(extra), 9, 1), "m.mlir", 8, 1},
      {mlirLocationFileLineColGet(context, mlirStringRefCreateFromCString("\1x:y"), 9, 1), "\1x:y", 9, 1},
      {mlirLocationFileLineColGet(context, mlirStringRefCreateFromCString("3:y"), 9, 1), "3:y", 9, 1},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    hmoec_location found = hmoec_location_of(rows[i].location);
    if (!rows[i].file) assert_null(found.file);
    else assert_string_equal(found.file, rows[i].file);
    assert_int_equal(found.line, rows[i].line);
    assert_int_equal(found.column, rows[i].column);
  }
  free(extra);
  hmoec_context_destroy(context);
}

/* MLIR's own messages: each severity as it is, notes behind, the text whole up to 1023 characters. */
static void test_mlir_texts(void **state) {
  (void)state;
  MlirContext context = hmoec_context_create();
  MlirLocation at = mlirLocationFileLineColGet(context, mlirStringRefCreateFromCString("/none.mlir"), 3, 4);
  static const int lengths[] = {1, 700, 1022, 1023, 1024, 3000};
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    printed printed;
    printed_init(&printed);
    MlirDiagnosticHandlerID id = hmoec_diagnostics_attach(printed.diagnostics, context);
    char text[3001], expected[3100];
    for (int k = 0; k < lengths[i]; k++) text[k] = (char)('!' + k % 89);
    text[lengths[i]] = '\0';
    mlirEmitError(at, text);
    mlirContextDetachDiagnosticHandler(context, id);
    snprintf(expected, sizeof expected, "/none.mlir:3:4: error: %.1023s\n", text);
    printed_check(&printed, expected);
  }
  hmoec_context_destroy(context);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_report),          cmocka_unit_test(test_caret),       cmocka_unit_test(test_odd_bytes),
      cmocka_unit_test(test_long_lines),      cmocka_unit_test(test_lines),       cmocka_unit_test(test_file_lines),
      cmocka_unit_test(test_characters),      cmocka_unit_test(test_long_texts),  cmocka_unit_test(test_classes_kept),
      cmocka_unit_test(test_most_messages),   cmocka_unit_test(test_odd_files),   cmocka_unit_test(test_runtime_errors),
      cmocka_unit_test(test_distances),       cmocka_unit_test(test_locations),   cmocka_unit_test(test_mlir_texts),
      cmocka_unit_test(test_failure_classes), cmocka_unit_test(test_many_errors), cmocka_unit_test(test_mlir_errors_come_through),
      cmocka_unit_test(test_closest_name)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
