/* Tuning files: what is read of good ones and said of broken ones, that writing and reading give the same, and the laws of merging. */
#include <dirent.h>
#include <math.h>
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

#include "tuning/database.h"

#define AT "\"target\": \"cpu\", \"version\": \"fast\", \"threads\": 2, \"caches\": [49152, 2097152]"
#define MACHINE "{\"name\": \"m\", " AT ", \"numbers\": {\"fma\": 61.25, \"barrier\": 3e-07}}"
#define ENTRY(rows)                                                                                                                \
  "{\"kernel\": \"ffn k=768\", \"format\": \"f32\", \"rows\": " rows ", " AT                                                       \
  ", \"compiler\": \"0.1.0\", \"knobs\": {\"b.x\": 4, \"a.x\": 115}, "                                                             \
  "\"default_ns\": 12345, \"tuned_ns\": 11345.5, \"low\": 1.04, \"high\": 1.09}"
#define FILE_OF(machines, entries) "{\"hmoec_tuning\": 1,\n \"machines\": [" machines "],\n \"entries\": [" entries "]}\n"

typedef struct said {
  char text[512], note[512];
  unsigned line, column, note_line;
  size_t errors, notes;
} said;

static void keep(void *context, const hmoec_message *message) {
  said *s = context;
  bool error = message->severity == HMOEC_ERROR;
  snprintf(error ? s->text : s->note, sizeof s->text, "%s", message->text);
  *(error ? &s->line : &s->note_line) = message->at.line;
  if (error) s->column = message->at.column;
  ++*(error ? &s->errors : &s->notes);
}

static bool parse(hmoec_tuning *tuning, const char *text, said *out_said) {
  *out_said = (said){.errors = 0};
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create_with(keep, out_said);
  hmoec_tuning_init(tuning);
  bool ok = hmoec_tuning_parse(tuning, "tuning.json", text, strlen(text), diagnostics);
  hmoec_diagnostics_destroy(diagnostics);
  return ok;
}

static void take(hmoec_tuning *tuning, const char *text) {
  said s;
  if (!parse(tuning, text, &s)) fail_msg("%u:%u: %s in\n%s", s.line, s.column, s.text, text);
}

static void test_read(void **state) {
  (void)state;
  hmoec_tuning t;
  take(&t, FILE_OF("\n  " MACHINE, "\n  " ENTRY("[9, 32]") ",\n  " ENTRY("[1, 8]")));
  assert_int_equal(t.machine_count, 1);
  const hmoec_tuning_machine *m = t.machines[0];
  assert_string_equal(m->name, "m");
  assert_string_equal(m->place.target, "cpu");
  assert_string_equal(m->place.version, "fast");
  assert_int_equal(m->place.threads, 2);
  assert_int_equal(m->place.cache_count, 2);
  assert_int_equal(m->place.caches[0], 49152);
  assert_int_equal(m->place.caches[1], 2097152);
  assert_int_equal(m->number_count, 2);
  assert_string_equal(m->numbers[0].name, "barrier");
  assert_string_equal(m->numbers[1].name, "fma");
  assert_true(m->numbers[0].value == 3e-7 && m->numbers[1].value == 61.25);
  assert_string_equal(m->at.file, "tuning.json");
  assert_int_equal(m->at.line, 3);
  assert_int_equal(m->at.column, 4);
  assert_int_equal(t.entry_count, 2);
  for (int i = 0; i < 2; i++) {
    const hmoec_tuning_entry *e = t.entries[i];
    assert_string_equal(e->kernel, "ffn k=768");
    assert_string_equal(e->format, "f32");
    assert_int_equal(e->first_rows, i ? 9 : 1);
    assert_int_equal(e->last_rows, i ? 32 : 8);
    assert_string_equal(e->place.target, "cpu");
    assert_int_equal(e->place.cache_count, 2);
    assert_string_equal(e->compiler, "0.1.0");
    assert_int_equal(e->knob_count, 2);
    assert_string_equal(e->knobs[0].name, "a.x");
    assert_int_equal(e->knobs[0].value, 115);
    assert_string_equal(e->knobs[1].name, "b.x");
    assert_int_equal(e->knobs[1].value, 4);
    assert_true(e->default_ns == 12345 && e->tuned_ns == 11345.5 && e->low == 1.04 && e->high == 1.09);
    assert_int_equal(e->at.line, i ? 5 : 6);
    assert_int_equal(e->at.column, 4);
    assert_int_equal(e->knobs[1].at.line, i ? 5 : 6);
    assert_int_equal(e->knobs[1].at.column, strstr(ENTRY("[9, 32]"), "\"b.x\"") - ENTRY("[9, 32]") + 3 - (i ? 0 : 1));
  }
  hmoec_tuning_deinit(&t);
}

/* ---- what is refused ---- */

#define LINE3(entry) FILE_OF("", "\n  " entry)
#define REST ", \"default_ns\": 1, \"tuned_ns\": 1, \"low\": 1, \"high\": 1}"
#define HEAD "{\"kernel\": \"k\", \"format\": \"f32\", "
#define KEY HEAD "\"rows\": [1, 8], " AT ", \"compiler\": \"0.1.0\", "
#define TEN "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define THOUSAND HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED

/* marks where the message has to be: the first § of the text is taken out. */
static void test_refused(void **state) {
  (void)state;
  static const struct {
    const char *text, *message;
  } rows[] = {
      /* no JSON, or not of our kind */
      {"", "expected JSON, found an empty file"},
      {"§hello", "this is not JSON"},
      {"{\"hmoec_tuning\": 1} §x", "this is not JSON"},
      {"{\"hmoec_tuning\": 1,§", "the file ends inside of its JSON: it is cut short"},
      {"{\"hmoec_tuning\": 1, \"machines\": [{\"na§", "the file ends inside of its JSON: it is cut short"},
      {"§[1]", "expected an object { ... }, found an array"},
      {"§{}", "expected a tuning file, with \"hmoec_tuning\": 1"},
      {"§{\"entries\": []}", "expected a tuning file, with \"hmoec_tuning\": 1"},
      {"{\"entries\": 5, §\"hmoec_tuning\": 2}", "this is version 2 of tuning files; expected 1, which this compiler reads"},
      {"{§\"hmoec_tuning\": 1.5}", "expected hmoec_tuning to be 1, found 1.5"},
      {"{§\"hmoec_tuning\": \"1\"}", "expected hmoec_tuning to be 1, found \"1\""},
      {"{§\"hmoec_tuning\": 0}", "expected hmoec_tuning to be 1, found 0"},
      {"{\"hmoec_tuning\": 1, §\"hmoec_tuning\": 1}", "'hmoec_tuning' is given twice"},
      {"{\"hmoec_tuning\": 1,\n §\"entry\": []}", "unknown key 'entry'; expected hmoec_tuning, machines, entries"},
      {"{\"hmoec_tuning\": 1,\n §\"entires\": []}", "unknown key 'entires'; did you mean entries?"},
      {"{\"hmoec_tuning\": 1,\n §\"entries\": {}}", "expected entries to be a list [ ... ], found {}"},
      {"{\"hmoec_tuning\": 1,\n §\"machines\": null}", "expected machines to be a list [ ... ], found null"},
      {"{\"hmoec_tuning\": 1,\n §\"machines\": [7]}", "expected item 1 of machines to be an object, found 7"},
      /* items */
      {"{\"hmoec_tuning\": 1,\n §\"entries\": [{}]}", "item 1 of entries has no kernel"},
      {LINE3(ENTRY("[1, 2]") ",\n  {§\"kernel\": \"k\"}"), "item 2 of entries has no format"},
      {LINE3("{§\"kernel\": \"k\", \"format\": \"f\", \"rows\": [1, 2], " AT
             ", \"compiler\": \"1\", \"default_ns\": 1, \"tuned_ns\": 1, "
             "\"low\": 1, \"high\": 1}"),
       "item 1 of entries has no knobs"},
      {LINE3("{§\"kernel\": \"k\", \"format\": \"f\", \"rows\": [1, 2], " AT
             ", \"compiler\": \"1\", \"knobs\": {}, \"default_ns\": 1, "
             "\"tuned_ns\": 1, \"low\": 1}"),
       "item 1 of entries has no high"},
      {FILE_OF("{§\"name\": \"m\", " AT "}", ""), "item 1 of machines has no numbers"},
      {LINE3("{§\"kernal\": 1}"), "unknown key 'kernal'; did you mean kernel?"},
      {LINE3("{§\"\": 1}"),
       "unknown key ''; expected kernel, format, rows, target, version, threads, caches, compiler, knobs, default_ns, tuned_ns, "
       "low, high"},
      {FILE_OF("{§\"kernel\": 1}", ""), "unknown key 'kernel'; expected name, target, version, threads, caches, numbers"},
      {LINE3("{\"kernel\": \"k\", \"low\": 1, §\"kernel\": \"k\"}"), "'kernel' is given twice"},
      /* texts */
      {LINE3("{§\"kernel\": 5}"), "expected kernel to be a text of 1 to 2000 characters of ASCII, found 5"},
      {LINE3("{§\"kernel\": \"\"}"), "expected kernel to be a text of 1 to 2000 characters of ASCII, found \"\""},
      {LINE3("{§\"kernel\": \"a\\nb\"}"), "expected kernel to be a text of 1 to 2000 characters of ASCII, found \"a\\nb\""},
      {LINE3("{§\"kernel\": \"\\u00e4\"}"), "expected kernel to be a text of 1 to 2000 characters of ASCII, found \"\xc3\xa4\""},
      {LINE3("{§\"kernel\": \"\\u007f\"}"), "expected kernel to be a text of 1 to 2000 characters of ASCII, found \"\x7f\""},
      {LINE3("{§\"kernel\": \"" THOUSAND THOUSAND "x\"}"),
       "expected kernel to be a text of 1 to 2000 characters of ASCII, found \"" TEN TEN TEN TEN TEN "012345678..."},
      {LINE3("{\"kernel\": \"k\", §\"format\": null}"),
       "expected format to be a text of 1 to 2000 characters of ASCII, found null"},
      {LINE3("{§\"target\": []}"), "expected target to be a text of 1 to 2000 characters of ASCII, found []"},
      {LINE3("{§\"version\": true}"), "expected version to be a text of 1 to 2000 characters of ASCII, found true"},
      {LINE3("{§\"compiler\": 0.1}"), "expected compiler to be a text of 1 to 2000 characters of ASCII, found 0.1"},
      {FILE_OF("{§\"name\": 1}", ""), "expected name to be a text of 1 to 2000 characters of ASCII, found 1"},
      /* integers */
      {LINE3(HEAD "§\"rows\": 9}"), "expected rows to be two integers from 1, the second not below the first, found 9"},
      {LINE3(HEAD "§\"rows\": []}"), "expected rows to be two integers from 1, the second not below the first, found []"},
      {LINE3(HEAD "§\"rows\": [9]}"), "expected rows to be two integers from 1, the second not below the first, found [9]"},
      {LINE3(HEAD "§\"rows\": [9, 10, 11]}"),
       "expected rows to be two integers from 1, the second not below the first, found [9,10,11]"},
      {LINE3(HEAD "§\"rows\": [9, 8]}"), "expected rows to be two integers from 1, the second not below the first, found [9,8]"},
      {LINE3(HEAD "§\"rows\": [0, 8]}"), "expected rows to be two integers from 1, the second not below the first, found [0,8]"},
      {LINE3(HEAD "§\"rows\": [-1, 8]}"), "expected rows to be two integers from 1, the second not below the first, found [-1,8]"},
      {LINE3(HEAD "§\"rows\": [1, 8.5]}"),
       "expected rows to be two integers from 1, the second not below the first, found [1,8.5]"},
      {LINE3(HEAD "§\"rows\": [1, 1e300]}"),
       "expected rows to be two integers from 1, the second not below the first, found [1,1e+300]"},
      {LINE3(HEAD "§\"rows\": [1, 9007199254740994]}"),
       "expected rows to be two integers from 1, the second not below the first, found [1,9007199254740994]"},
      {LINE3(HEAD "§\"rows\": [{\"rows\": 1}, 2]}"),
       "expected rows to be two integers from 1, the second not below the first, found [{\"rows\":1},2]"},
      {LINE3("{§\"threads\": 0}"), "expected threads to be an integer from 1, found 0"},
      {LINE3("{§\"threads\": 1e999}"), "expected threads to be an integer from 1, found a number that is too large"},
      {LINE3("{§\"threads\": \"2\"}"), "expected threads to be an integer from 1, found \"2\""},
      {FILE_OF("{§\"threads\": 2.5}", ""), "expected threads to be an integer from 1, found 2.5"},
      {LINE3("{§\"caches\": 5}"), "expected caches to be at most 8 integers from 0, found 5"},
      {LINE3("{§\"caches\": [1, -1]}"), "expected caches to be at most 8 integers from 0, found [1,-1]"},
      {LINE3("{§\"caches\": [1, 2, 3, 4, 5, 6, 7, 8, 9]}"),
       "expected caches to be at most 8 integers from 0, found [1,2,3,4,5,6,7,8,9]"},
      {LINE3("{§\"caches\": {\"a\": 1}}"), "expected caches to be at most 8 integers from 0, found {\"a\":1}"},
      /* knobs and numbers */
      {LINE3(KEY "§\"knobs\": []" REST), "expected knobs to be an object of at most 256 values, found []"},
      {LINE3(KEY "\"knobs\": {\"a\": 1,\n §\"b\": -1}" REST), "expected b to be an integer from 0, found -1"},
      {LINE3(KEY "\"knobs\": {§\"a\": 1.25}" REST), "expected a to be an integer from 0, found 1.25"},
      {LINE3(KEY "\"knobs\": {§\"a\": \"1\"}" REST), "expected a to be an integer from 0, found \"1\""},
      {LINE3(KEY "\"knobs\": {§\"a\": {\"b\": 1}}" REST), "expected a to be an integer from 0, found {\"b\":1}"},
      {LINE3(KEY "\"knobs\": {§\"\": 1}" REST), "expected names in knobs to have 1 to 2000 characters of ASCII"},
      {LINE3(KEY "\"knobs\": {§\"" THOUSAND THOUSAND "x\": 1}" REST),
       "expected names in knobs to have 1 to 2000 characters of ASCII"},
      {LINE3(KEY "\"knobs\": {\"a\": 1, §\"a\": 1}" REST), "'a' is given twice"},
      {FILE_OF("{\"name\": \"m\", §\"numbers\": 1}", ""), "expected numbers to be an object of at most 256 values, found 1"},
      {FILE_OF("{\"name\": \"m\", \"numbers\": {§\"a\": -1}}", ""), "expected a to be a number from 0, found -1"},
      {FILE_OF("{\"name\": \"m\", \"numbers\": {§\"a\": null}}", ""), "expected a to be a number from 0, found null"},
      {FILE_OF("{\"name\": \"m\", \"numbers\": {§\"a\": 1e999}}", ""),
       "expected a to be a number from 0, found a number that is too large"},
      {FILE_OF("{\"name\": \"m\", \"numbers\": {§\"a\\t\": 1}}", ""),
       "expected names in numbers to have 1 to 2000 characters of ASCII"},
      {FILE_OF("{\"name\": \"m\", \"numbers\": {\"a\": §NaN}}", ""), "NaN is not a number of JSON"},
      {FILE_OF("{\"name\": \"m\", \"numbers\": {\"a\": §-Infinity}}", ""), "-Infinity is not a number of JSON"},
      /* times */
      {LINE3("{§\"default_ns\": 0}"), "expected default_ns to be a number above 0, found 0"},
      {LINE3("{§\"tuned_ns\": -5}"), "expected tuned_ns to be a number above 0, found -5"},
      {LINE3("{§\"low\": \"1\"}"), "expected low to be a number above 0, found \"1\""},
      {LINE3("{§\"high\": 1e400}"), "expected high to be a number above 0, found a number that is too large"},
      {LINE3("{§\"kernel\": \"k\", \"format\": \"f32\", \"rows\": [1, 8], " AT
             ", \"compiler\": \"0.1.0\", \"knobs\": {}, \"default_ns\": 1, "
             "\"tuned_ns\": 1, \"low\": 1.5, \"high\": 1.25}"),
       "expected low to be at most high, found more"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    static char text[8192];
    static const char mark[] = "§";
    const char *at = strstr(rows[i].text, mark);
    size_t before = at ? (size_t)(at - rows[i].text) : 0;
    snprintf(text, sizeof text, "%.*s%s", (int)before, rows[i].text, at ? at + strlen(mark) : rows[i].text);
    said s;
    hmoec_tuning t;
    if (parse(&t, text, &s)) fail_msg("row %zu was read: %s", i, text);
    unsigned line = at ? 1 : 0, column = at ? 1 : 0;
    for (size_t c = 0; c < before; c++) {
      bool end = text[c] == '\n';
      line += end;
      column = end ? 1 : column + 1;
    }
    if (s.errors != 1 || strcmp(s.text, rows[i].message) != 0 || s.line != line || s.column != column)
      fail_msg("row %zu: expected %u:%u: %s\nfound %zu, %u:%u: %s\nin %s", i, line, column, rows[i].message, s.errors, s.line,
               s.column, s.text, text);
    assert_true(t.entry_count == 0 && t.machine_count == 0 && !t.entries && !t.machines);
    hmoec_tuning_deinit(&t);
  }
}

/* What stands twice is said where it is again, and where it was first. */
static void test_twice(void **state) {
  (void)state;
  said s;
  hmoec_tuning t;
  assert_false(parse(&t, FILE_OF("\n  " MACHINE ",\n  " MACHINE, ""), &s));
  assert_string_equal(s.text, "this machine is given twice");
  assert_string_equal(s.note, "first given here");
  assert_true(s.errors == 1 && s.notes == 1 && s.line == 4 && s.column == 4 && s.note_line == 3);
  hmoec_tuning_deinit(&t);
  assert_false(parse(&t, FILE_OF("", "\n  " ENTRY("[5, 6]") ",\n  " ENTRY("[1, 2]") ",\n  " ENTRY("[5, 6]")), &s));
  assert_string_equal(s.text, "this entry is given twice");
  assert_true(s.errors == 1 && s.notes == 1 && s.line == 6 && s.note_line == 4);
  hmoec_tuning_deinit(&t);
}

/* Lists may be missing, items have their keys in any order, and knobs may be none. */
static void test_accepted(void **state) {
  (void)state;
  static const struct {
    const char *text;
    size_t machines, entries;
  } rows[] = {
      {"{\"hmoec_tuning\": 1}", 0, 0},
      {"{\"machines\": [], \"hmoec_tuning\": 1.0}\n\n", 0, 0},
      {"{\"entries\": [" KEY "\"knobs\": {}" REST "],\r\n\t\"machines\": [" MACHINE "], \"hmoec_tuning\": 1}", 1, 1},
      {LINE3("{\"high\": 2, \"low\": 1, \"tuned_ns\": 1e-3, \"default_ns\": 5, \"knobs\": {\"k\": 9007199254740992, \"z\": 0}, "
             "\"compiler\": "
             "\"\\u0041 "
             "\\\"\\\\\", \"caches\": [0], \"threads\": 1, \"version\": \"v\", \"target\": \"t\", \"rows\": [9007199254740992, "
             "9007199254740992], \"format\": \"f\", \"kernel\": \"" THOUSAND THOUSAND "\"}"),
       0, 1},
      {FILE_OF("", ENTRY("[1, 8]") ", " ENTRY("[1, 9]") ", " ENTRY("[2, 8]")), 0, 3},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    hmoec_tuning t;
    take(&t, rows[i].text);
    assert_int_equal(t.machine_count, rows[i].machines);
    assert_int_equal(t.entry_count, rows[i].entries);
    hmoec_tuning_deinit(&t);
  }
}

/* ---- files ---- */

static char folder[] = "/tmp/hmoec-tuning-XXXXXX";
static char file[64];

static int make_folder(void **state) {
  (void)state;
  bool ok = mkdtemp(folder) != NULL;
  snprintf(file, sizeof file, "%s/tuning.json", folder);
  return ok ? 0 : -1;
}

static int remove_folder(void **state) {
  (void)state;
  unlink(file);
  return rmdir(folder); /* nothing else is left there */
}

static void write_bytes(const char *bytes, size_t size) {
  FILE *out = fopen(file, "wb");
  assert_true(out && fwrite(bytes, 1, size, out) == size && fclose(out) == 0);
}

/* What reading the file says; "" when it is read. */
static said read_file(const char *path, hmoec_tuning *tuning) {
  said s = {.errors = 0};
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create_with(keep, &s);
  hmoec_tuning_init(tuning);
  bool ok = hmoec_tuning_read(tuning, path, diagnostics);
  assert_int_equal(ok, s.errors == 0);
  hmoec_diagnostics_destroy(diagnostics);
  return s;
}

static void expect_refused(const char *path, const char *message) {
  hmoec_tuning t;
  said s = read_file(path, &t);
  assert_string_equal(s.text, message);
  assert_true(t.entry_count == 0 && s.errors == 1);
  hmoec_tuning_deinit(&t);
}

static void test_files(void **state) {
  (void)state;
  static char deep[1 << 16];
  expect_refused(file, "cannot open: No such file or directory");
  expect_refused(folder, "cannot open: it is a directory");
  write_bytes("", 0);
  expect_refused(file, "expected JSON, found an empty file");
  write_bytes("\x7f"
              "ELF\0\0\0\0\0\0\0\0\0\0\0\0",
              16);
  expect_refused(file, "expected JSON, found an ELF object or program");
  write_bytes("{\"hmoec_tuning\": 1}\0\0\0", 22);
  expect_refused(file, "expected JSON, found bytes of no known kind");
  static char late[1 << 16] = "{\"hmoec_tuning\": 1}";
  memset(late + 19, ' ', sizeof late - 19);
  memcpy(late + sizeof late - 9, "\0more", 5);
  write_bytes(late, sizeof late);
  expect_refused(file, "this is not JSON");
  memset(deep, '[', sizeof deep);
  memcpy(deep, "{\"a\":", 5);
  write_bytes(deep, sizeof deep);
  expect_refused(file, "brackets nest more than 1000 deep");
  /* 100 MB, of which nearly nothing is on the disk. */
  write_bytes(late, sizeof late);
  assert_int_equal(truncate(file, 100 << 20), 0);
  expect_refused(file, "cannot open: it is larger than 4096 KiB");
}

static hmoec_tuning_place place_of(const char *version, int64_t threads, int64_t cache) {
  return (hmoec_tuning_place){.target = "cpu", .version = version, .threads = threads, .cache_count = 2, .caches = {32768, cache}};
}

static const hmoec_tuning_knob one_knob[] = {{"a.x", 5, {NULL, 0, 0}}};

static hmoec_tuning_entry entry_of(const char *kernel, int64_t first, int64_t last, const char *version, int64_t threads,
                                   int64_t cache) {
  return (hmoec_tuning_entry){.kernel = kernel,
                              .format = "f32",
                              .first_rows = first,
                              .last_rows = last,
                              .place = place_of(version, threads, cache),
                              .compiler = "0.1.0",
                              .knob_count = 1,
                              .knobs = one_knob,
                              .default_ns = 100,
                              .tuned_ns = 90,
                              .low = 1.05,
                              .high = 1.2};
}

static char *written(const hmoec_tuning *tuning, size_t *out_size) {
  static char text[1 << 18];
  said s = {.errors = 0};
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create_with(keep, &s);
  if (!hmoec_tuning_write(tuning, file, diagnostics)) fail_msg("%s", s.text);
  hmoec_diagnostics_destroy(diagnostics);
  FILE *in = fopen(file, "rb");
  assert_non_null(in);
  *out_size = fread(text, 1, sizeof text - 1, in);
  fclose(in);
  assert_true(*out_size < sizeof text - 1);
  text[*out_size] = 0;
  return strdup(text);
}

static void expect_written(const hmoec_tuning *tuning, const char *expected) {
  size_t size;
  char *text = written(tuning, &size);
  assert_string_equal(text, expected);
  free(text);
}

static void test_written(void **state) {
  (void)state;
  hmoec_tuning t;
  hmoec_tuning_init(&t);
  expect_written(&t, FILE_OF("", ""));
  hmoec_tuning_deinit(&t);
  /* Sorted by keys, knobs by name, one line each. */
  take(&t, FILE_OF(MACHINE ", {\"name\": \"a \\\"b\\\\\", " AT ", \"numbers\": {}}",
                   ENTRY("[10, 11]") "," ENTRY("[9, 32]") "," ENTRY("[9, 10]") ", " KEY "\"knobs\": {}" REST));
  expect_written(&t, "{\"hmoec_tuning\": 1,\n \"machines\": [\n"
                     "  {\"name\": \"a \\\"b\\\\\", " AT ", \"numbers\": {}},\n"
                     "  {\"name\": \"m\", " AT ", \"numbers\": {\"barrier\": 3e-07, \"fma\": 61.25}}\n ],\n \"entries\": [\n"
#define SORTED(rows)                                                                                                               \
  "  {\"kernel\": \"ffn k=768\", \"format\": \"f32\", \"rows\": " rows ", " AT                                                     \
  ", \"compiler\": \"0.1.0\", \"knobs\": {\"a.x\": 115, \"b.x\": 4}, \"default_ns\": 12345, \"tuned_ns\": 11345.5, \"low\": "      \
  "1.04, \"high\": 1.09}"
                 SORTED("[9, 10]") ",\n" SORTED("[9, 32]") ",\n" SORTED("[10, 11]") ",\n"
                                                                                    "  " KEY "\"knobs\": {}" REST "\n ]}\n");
  hmoec_tuning_deinit(&t);
}

static void test_not_written(void **state) {
  (void)state;
  static const char *const messages[] = {"cannot write: No such file or directory",
                                         "cannot write: 4298111 bytes, more than the 4194304 that are read"};
  char path[128];
  hmoec_tuning t;
  snprintf(path, sizeof path, "%s/none/tuning.json", folder);
  write_bytes("as it was", 9);
  hmoec_tuning_init(&t);
  for (int i = 0; i < 2; i++) {
    said s = {.errors = 0};
    hmoec_diagnostics *diagnostics = hmoec_diagnostics_create_with(keep, &s);
    for (int64_t rows = 1; i == 1 && rows < 3500; rows++) {
      hmoec_tuning_entry e = entry_of(THOUSAND, rows, rows, "v", 1, 9);
      assert_true(hmoec_tuning_put(&t, &e));
    }
    assert_false(hmoec_tuning_write(&t, i ? file : path, diagnostics));
    assert_string_equal(s.text, messages[i]);
    hmoec_diagnostics_destroy(diagnostics);
  }
  hmoec_tuning_deinit(&t);
  expect_refused(file, "this is not JSON");
}

/* ---- random databases ---- */

static uint64_t random_state = 1;

static uint64_t pick(uint64_t below) {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return (random_state >> 33) % below;
}

/* Any positive number, of all sizes. */
static double random_number(void) {
  uint64_t bits = (pick(0x7ff) << 52) | (pick(1u << 26) << 26) | pick(1u << 26);
  double number;
  memcpy(&number, &bits, sizeof number);
  return number > 0 ? number : 1;
}

static const char *random_text(char text[16]) {
  static const char letters[] = "ab\"\\ =~!/{}[]:,";
  size_t length = 1 + pick(3);
  for (size_t i = 0; i < length; i++) text[i] = letters[pick(sizeof letters - 1)];
  text[length] = 0;
  return text;
}

static void put_random(hmoec_tuning *t, const char *compiler) {
  char texts[4][16], names[4][16];
  hmoec_tuning_knob knobs[4];
  hmoec_tuning_number numbers[4];
  size_t count = pick(5);
  for (size_t i = 0; i < count; i++) {
    snprintf(names[i], sizeof names[i], "%c.%zu", (char)('a' + (char)pick(9)), i);
    knobs[i] = (hmoec_tuning_knob){.name = names[i], .value = (int64_t)(pick(1u << 30) << pick(24))};
    numbers[i] = (hmoec_tuning_number){.name = names[i], .value = random_number()};
  }
  double low = random_number(), high = random_number();
  hmoec_tuning_entry e = {.kernel = random_text(texts[0]),
                          .format = pick(2) ? "f32" : "bf16",
                          .first_rows = 1 + (int64_t)pick(3),
                          .last_rows = 3 + (int64_t)pick(3),
                          .place = {.target = random_text(texts[1]),
                                    .version = pick(2) ? "v" : "w",
                                    .threads = 1 + (int64_t)pick(3),
                                    .cache_count = pick(3),
                                    .caches = {(int64_t)pick(2), (int64_t)pick(2)}},
                          .compiler = compiler,
                          .knob_count = count,
                          .knobs = knobs,
                          .default_ns = random_number(),
                          .tuned_ns = random_number(),
                          .low = low < high ? low : high,
                          .high = low < high ? high : low};
  assert_true(hmoec_tuning_put(t, &e));
  hmoec_tuning_machine m = {.name = random_text(texts[2]), .place = e.place, .number_count = count, .numbers = numbers};
  assert_true(hmoec_tuning_put_machine(t, &m));
}

static void random_tuning(hmoec_tuning *t, const char *compiler) {
  hmoec_tuning_init(t);
  for (uint64_t i = 0, count = pick(60); i < count; i++) put_random(t, compiler);
}

static void expect_equal(const hmoec_tuning *a, const hmoec_tuning *b) {
  assert_int_equal(a->entry_count, b->entry_count);
  assert_int_equal(a->machine_count, b->machine_count);
  size_t size, other;
  char *text = written(a, &size), *same = written(b, &other);
  assert_string_equal(text, same);
  free(text);
  free(same);
}

static void test_round_trip(void **state) {
  (void)state;
  for (int i = 0; i < 100; i++) {
    hmoec_tuning t, back;
    random_tuning(&t, "0.1.0");
    size_t size;
    char *text = written(&t, &size);
    said s = read_file(file, &back);
    if (s.errors) fail_msg("%u:%u: %s in\n%s", s.line, s.column, s.text, text);
    assert_int_equal(back.entry_count, t.entry_count);
    for (size_t e = 0; e < t.entry_count; e++) {
      const hmoec_tuning_entry *x = t.entries[e], *y = back.entries[e];
      assert_string_equal(x->kernel, y->kernel);
      assert_string_equal(x->place.target, y->place.target);
      assert_memory_equal(x->place.caches, y->place.caches, sizeof x->place.caches);
      assert_int_equal(x->knob_count, y->knob_count);
      for (size_t k = 0; k < x->knob_count; k++) {
        assert_string_equal(x->knobs[k].name, y->knobs[k].name);
        assert_int_equal(x->knobs[k].value, y->knobs[k].value);
      }
      assert_memory_equal(&x->default_ns, &y->default_ns, sizeof(double));
      assert_memory_equal(&x->tuned_ns, &y->tuned_ns, sizeof(double));
      assert_memory_equal(&x->low, &y->low, sizeof(double));
      assert_memory_equal(&x->high, &y->high, sizeof(double));
    }
    assert_int_equal(back.machine_count, t.machine_count);
    for (size_t m = 0; m < t.machine_count; m++)
      for (size_t n = 0; n < t.machines[m]->number_count; n++)
        assert_memory_equal(&t.machines[m]->numbers[n].value, &back.machines[m]->numbers[n].value, sizeof(double));
    expect_equal(&t, &back);
    free(text);
    hmoec_tuning_deinit(&t);
    hmoec_tuning_deinit(&back);
  }
}

/* A merged copy. */
static void merged(hmoec_tuning *out, const hmoec_tuning *a, const hmoec_tuning *b) {
  hmoec_tuning_init(out);
  hmoec_tuning_merge(out, a);
  if (b) hmoec_tuning_merge(out, b);
}

static void test_merging(void **state) {
  (void)state;
  for (int i = 0; i < 60; i++) {
    hmoec_tuning a, b, c, empty, ab, ba, bc, left, right, again;
    random_tuning(&a, "1");
    random_tuning(&b, i % 2 ? "1" : "2"); /* every other time no key is in two of them */
    random_tuning(&c, i % 2 ? "1" : "3");
    hmoec_tuning_init(&empty);
    merged(&again, &a, &a);
    expect_equal(&again, &a);
    hmoec_tuning_deinit(&again);
    merged(&again, &a, &empty);
    expect_equal(&again, &a);
    hmoec_tuning_deinit(&again);
    merged(&again, &empty, &a);
    expect_equal(&again, &a);
    merged(&ab, &a, &b);
    merged(&ba, &b, &a);
    merged(&bc, &b, &c);
    merged(&left, &ab, &c);
    merged(&right, &a, &bc);
    expect_equal(&left, &right); /* also where keys are equal */
    assert_int_equal(ab.entry_count, ba.entry_count);
    if (i % 2 == 0) assert_int_equal(ab.entry_count, a.entry_count + b.entry_count);
    for (size_t e = 0; e < b.entry_count; e++) { /* the second wins */
      const hmoec_tuning_entry *x = b.entries[e];
      bool found = false;
      for (size_t j = 0; j < ab.entry_count; j++)
        found |=
            strcmp(ab.entries[j]->kernel, x->kernel) == 0 && memcmp(&ab.entries[j]->tuned_ns, &x->tuned_ns, sizeof(double)) == 0;
      assert_true(found);
    }
    hmoec_tuning *const all[] = {&a, &b, &c, &empty, &ab, &ba, &bc, &left, &right, &again};
    for (size_t j = 0; j < sizeof all / sizeof *all; j++) hmoec_tuning_deinit(all[j]);
  }
}

/* ---- putting and finding ---- */

static void test_put_refused(void **state) {
  (void)state;
  static const hmoec_tuning_knob twice[] = {{"a", 1, {NULL, 0, 0}}, {"b", 1, {NULL, 0, 0}}, {"a", 2, {NULL, 0, 0}}};
  static const hmoec_tuning_knob negative[] = {{"a", -1, {NULL, 0, 0}}}, nameless[] = {{"", 1, {NULL, 0, 0}}};
  static const hmoec_tuning_number numbers[][2] = {{{"a", -1}}, {{"", 1}}, {{"a", 1}, {"a", 1}}, {{"a", (double)INFINITY}}};
  static hmoec_tuning_knob many[257];
  static char names[257][8];
  for (size_t i = 0; i < 257; i++) {
    snprintf(names[i], sizeof names[i], "%zu", i);
    many[i].name = names[i];
  }
  hmoec_tuning t;
  hmoec_tuning_init(&t);
  const hmoec_tuning_entry good = entry_of("k", 1, 8, "v", 2, 9);
#define REFUSED(change)                                                                                                            \
  do {                                                                                                                             \
    hmoec_tuning_entry e = good;                                                                                                   \
    change;                                                                                                                        \
    assert_false(hmoec_tuning_put(&t, &e));                                                                                        \
  } while (0)
  REFUSED(e.kernel = NULL);
  REFUSED(e.kernel = "");
  REFUSED(e.format = "a\n");
  REFUSED(e.compiler = "\x7f");
  REFUSED(e.kernel = THOUSAND THOUSAND "x");
  REFUSED(e.first_rows = 0);
  REFUSED(e.last_rows = 0);
  REFUSED(e.last_rows = HMOEC_TUNING_MOST + 1);
  REFUSED(e.place.target = "");
  REFUSED(e.place.version = NULL);
  REFUSED(e.place.threads = 0);
  REFUSED(e.place.cache_count = 9);
  REFUSED(e.place.caches[0] = -1);
  REFUSED(e.place.caches[1] = -1);
  REFUSED(e.default_ns = 0);
  REFUSED(e.tuned_ns = (double)NAN);
  REFUSED(e.high = (double)INFINITY);
  REFUSED(e.low = -1);
  REFUSED(e.low = e.high * 2);
  REFUSED((e.knobs = twice, e.knob_count = 3));
  REFUSED(e.knobs = negative);
  REFUSED(e.knobs = nameless);
  REFUSED((e.knobs = many, e.knob_count = 257));
  for (size_t i = 0; i < 4; i++) {
    hmoec_tuning_machine m = {.name = "m", .place = good.place, .number_count = i == 2 ? 2 : 1, .numbers = numbers[i]};
    assert_false(hmoec_tuning_put_machine(&t, &m));
  }
  hmoec_tuning_machine m = {.name = "", .place = good.place};
  assert_false(hmoec_tuning_put_machine(&t, &m));
  assert_int_equal(t.entry_count + t.machine_count, 0);
  hmoec_tuning_entry e = good;
  e.knobs = many;
  e.knob_count = 256;
  assert_true(hmoec_tuning_put(&t, &good) && hmoec_tuning_put(&t, &e));
  assert_int_equal(t.entry_count, 1);
  assert_int_equal(t.entries[0]->knob_count, 256);
  hmoec_tuning_deinit(&t);
}

static void put(hmoec_tuning *t, hmoec_tuning_entry e, double tuned_ns) {
  e.tuned_ns = tuned_ns;
  assert_true(hmoec_tuning_put(t, &e));
}

static void test_find(void **state) {
  (void)state;
  hmoec_tuning t;
  hmoec_tuning_init(&t);
  put(&t, entry_of("k", 1, 8, "v", 2, 9), 1);
  put(&t, entry_of("k", 9, 32, "v", 2, 9), 2);
  put(&t, entry_of("k", 9, 32, "v", 2, 8), 3); /* other caches, put later */
  put(&t, entry_of("k", 9, 32, "w", 2, 9), 4);
  put(&t, entry_of("k", 9, 32, "v", 4, 9), 5);
  put(&t, entry_of("l", 9, 32, "v", 2, 9), 6);
  put(&t, entry_of("k", 33, HMOEC_TUNING_MOST, "v", 2, 9), 7);
  put(&t, entry_of("k", 20, 25, "v", 2, 9), 8);
  hmoec_tuning_entry other = entry_of("k", 9, 32, "v", 2, 9);
  other.format = "bf16";
  put(&t, other, 9);
  other.format = "f32";
  other.compiler = "0.2.0";
  put(&t, other, 10);
  assert_int_equal(t.entry_count, 10);
  const hmoec_tuning_query query = {.kernel = "k", .format = "f32", .compiler = "0.1.0"};
  static const struct {
    int64_t rows;
    const char *version;
    int64_t threads, cache;
    double found; /* 0: none */
  } rows[] = {{1, "v", 2, 9, 1},  {8, "v", 2, 9, 1},
              {9, "v", 2, 9, 2},  {32, "v", 2, 9, 2},
              {9, "v", 2, 8, 3},  {9, "v", 2, 7, 0},
              {9, "w", 2, 9, 4},  {9, "v", 4, 9, 5},
              {9, "v", 3, 9, 0},  {33, "v", 2, 9, 7},
              {22, "v", 2, 9, 8}, {0, "v", 2, 9, 0},
              {8, "v", 2, 8, 0},  {INT64_C(1) << 40, "v", 2, 9, 7},
              {9, "x", 2, 9, 0}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    hmoec_tuning_place place = place_of(rows[i].version, rows[i].threads, rows[i].cache);
    const hmoec_tuning_entry *found = hmoec_tuning_find(&t, &query, rows[i].rows, &place);
    if (found ? found->tuned_ns != rows[i].found : rows[i].found != 0)
      fail_msg("row %zu: found %g", i, found ? found->tuned_ns : 0);
    place.cache_count = 1;
    assert_null(hmoec_tuning_find(&t, &query, rows[i].rows, &place));
    place.cache_count = 2;
    place.target = "gpu";
    assert_null(hmoec_tuning_find(&t, &query, rows[i].rows, &place));
  }
  /* In order, of those that differ in caches alone the last. */
  static const struct {
    hmoec_tuning_query query;
    double found[12];
  } lists[] = {
      {{.kernel = "k", .format = "f32", .target = "cpu", .compiler = "0.1.0"}, {1, 3, 5, 4, 8, 7}},
      {{.kernel = "k", .format = "f32", .target = "cpu"}, {1, 3, 10, 5, 4, 8, 7}},
      {{.kernel = "k", .version = "w"}, {4}},
      {{.format = "bf16"}, {9}},
      {{.kernel = "m"}, {0}},
      {{.target = "gpu"}, {0}},
      {{.kernel = NULL}, {9, 1, 3, 10, 5, 4, 8, 7, 6}},
  };
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
    const hmoec_tuning_entry *e;
    size_t n = 0;
    for (size_t cursor = 0; (e = hmoec_tuning_next(&t, &lists[i].query, &cursor)); n++)
      if (e->tuned_ns != lists[i].found[n]) fail_msg("list %zu, %zu: found %g", i, n, e->tuned_ns);
    assert_true(lists[i].found[n] == 0);
  }
  /* What is put again goes behind those that differ from it in caches alone. */
  put(&t, entry_of("k", 9, 32, "v", 2, 9), 11);
  assert_int_equal(t.entry_count, 10);
  size_t cursor = 0;
  hmoec_tuning_next(&t, &query, &cursor);
  assert_true(hmoec_tuning_next(&t, &query, &cursor)->tuned_ns == 11);
  hmoec_tuning_deinit(&t);
}

/* Those that differ in caches alone stay in the order of the file. */
static void test_caches_in_order(void **state) {
  (void)state;
#define CACHES(caches, ns)                                                                                                         \
  HEAD "\"rows\": [1, 8], \"target\": \"cpu\", \"version\": \"v\", \"threads\": 1, \"caches\": " caches                            \
       ", \"compiler\": \"1\", \"knobs\": {}, \"default_ns\": 1, \"tuned_ns\": " ns ", \"low\": 1, \"high\": 1}"
  hmoec_tuning t, back;
  take(&t, FILE_OF("", CACHES("[3, 2]", "1") ", " CACHES("[3]", "2") ", " CACHES("[9]", "3") ", " CACHES("[1]", "4")));
  for (size_t i = 0; i < 4; i++) assert_true(t.entries[i]->tuned_ns == (double)i + 1);
  size_t size, cursor = 0;
  free(written(&t, &size));
  assert_int_equal(read_file(file, &back).errors, 0);
  for (size_t i = 0; i < 4; i++) assert_true(back.entries[i]->tuned_ns == (double)i + 1);
  assert_true(hmoec_tuning_next(&t, &(hmoec_tuning_query){.kernel = NULL}, &cursor)->tuned_ns == 4);
  assert_null(hmoec_tuning_next(&t, &(hmoec_tuning_query){.kernel = NULL}, &cursor));
  hmoec_tuning_deinit(&t);
  hmoec_tuning_deinit(&back);
}

static void test_machines(void **state) {
  (void)state;
  hmoec_tuning t;
  hmoec_tuning_init(&t);
  const hmoec_tuning_number numbers[] = {{"b", 1}, {"a", 2}, {"c", 3}};
  static const struct {
    const char *name, *version;
    int64_t threads;
  } rows[] = {{"q", "v", 2}, {"p", "w", 2}, {"p", "v", 12}, {"p", "v", 2}, {"p", "v", 12}};
  for (size_t i = 0; i < 5; i++) {
    hmoec_tuning_machine m = {.name = rows[i].name,
                              .place = place_of(rows[i].version, rows[i].threads, (int64_t)i),
                              .number_count = 3,
                              .numbers = numbers};
    assert_true(hmoec_tuning_put_machine(&t, &m));
  }
  assert_int_equal(t.machine_count, 4); /* caches are not in the key */
  static const int64_t order[] = {3, 4, 1, 0};
  for (size_t i = 0; i < 4; i++) assert_int_equal(t.machines[i]->place.caches[1], order[i]);
  assert_string_equal(t.machines[0]->numbers[0].name, "a");
  assert_true(t.machines[0]->numbers[0].value == 2);
  assert_ptr_equal(hmoec_tuning_machine_find(&t, "p", "cpu", "v", 12), t.machines[1]);
  assert_ptr_equal(hmoec_tuning_machine_find(&t, "q", "cpu", "v", 2), t.machines[3]);
  assert_null(hmoec_tuning_machine_find(&t, "q", "cpu", "v", 12));
  assert_null(hmoec_tuning_machine_find(&t, "q", "gpu", "v", 2));
  hmoec_tuning_deinit(&t);
}

static bool knows(void *context, const char *knob) {
  ++*(size_t *)context;
  return strcmp(knob, "old") != 0;
}

static void test_unused(void **state) {
  (void)state;
  hmoec_tuning t;
  hmoec_tuning_init(&t);
  static const hmoec_tuning_knob old[] = {{"a", 1, {NULL, 0, 0}}, {"old", 1, {NULL, 0, 0}}};
  size_t asked = 0;
  hmoec_tuning_unused unused = hmoec_tuning_count_unused(&t, "cpu", "0.1.0", knows, &asked);
  assert_true(!unused.first && unused.of_targets + unused.of_compilers + unused.of_knobs == 0);
  for (int64_t i = 0; i < 16; i++) {
    hmoec_tuning_entry e = entry_of("k", i + 1, 20, "v", 2, 9);
    if (i & 1) e.place.target = "gpu";
    if (i & 2) e.compiler = "0.0.9";
    if (i & 4) e.knobs = old, e.knob_count = 2;
    put(&t, e, (double)i + 1);
  }
  unused = hmoec_tuning_count_unused(&t, "cpu", "0.1.0", knows, &asked);
  assert_int_equal(unused.of_targets, 8);
  assert_int_equal(unused.of_compilers, 4);
  assert_int_equal(unused.of_knobs, 2);
  assert_ptr_equal(unused.first, t.entries[1]);
  assert_true(asked > 0);
  unused = hmoec_tuning_count_unused(&t, "gpu", NULL, NULL, NULL);
  assert_true(unused.of_targets == 8 && unused.of_compilers == 0 && unused.of_knobs == 0 && unused.first == t.entries[0]);
  hmoec_tuning_deinit(&t);
}

/* ---- a writer that is ended ---- */

/* Writes one of two databases after the other until it is killed. */
static void write_forever(const hmoec_tuning *a, const hmoec_tuning *b, int ready) {
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(stderr);
  for (unsigned i = 0;; i++) {
    if (!hmoec_tuning_write(i % 2 ? a : b, file, diagnostics)) _exit(1);
    if (i == 0 && write(ready, "x", 1) != 1) _exit(1);
  }
}

static void test_killed(void **state) {
  (void)state;
  enum { MOMENTS = 100, ENTRIES = 100 };
  hmoec_tuning a, b;
  hmoec_tuning_init(&a);
  hmoec_tuning_init(&b);
  for (int64_t i = 1; i <= ENTRIES; i++) {
    put(&a, entry_of(HUNDRED, i, i, "v", 1, 9), 1);
    put(&b, entry_of(HUNDRED, i, i, "v", 1, 9), 2);
  }
  size_t seen[3] = {0}, interrupted = 0;
  for (int moment = 0; moment < MOMENTS; moment++) {
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t writer = fork();
    assert_true(writer >= 0);
    if (writer == 0) write_forever(&a, &b, ready[1]);
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    usleep((useconds_t)pick(3000));
    int status;
    assert_int_equal(kill(writer, SIGKILL), 0);
    assert_int_equal(waitpid(writer, &status, 0), writer);
    assert_true(WIFSIGNALED(status));
    hmoec_tuning t;
    said s = read_file(file, &t);
    if (s.errors) fail_msg("moment %d: %u:%u: %s", moment, s.line, s.column, s.text);
    assert_int_equal(t.entry_count, ENTRIES);
    double which = t.entries[0]->tuned_ns;
    for (size_t i = 0; i < ENTRIES; i++) assert_true(t.entries[i]->tuned_ns == which);
    seen[(size_t)which]++;
    hmoec_tuning_deinit(&t);
    /* What was complete and had its other name already may be left. */
    DIR *files = opendir(folder);
    assert_non_null(files);
    for (const struct dirent *entry; (entry = readdir(files));) {
      char path[512];
      snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
      if (strncmp(entry->d_name, "tuning.json.", 12) == 0) interrupted += unlink(path) == 0;
    }
    closedir(files);
  }
  assert_true(seen[1] > 0 && seen[2] > 0);
  assert_true(interrupted < MOMENTS);
  hmoec_tuning_deinit(&a);
  hmoec_tuning_deinit(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_read),        cmocka_unit_test(test_refused),    cmocka_unit_test(test_twice),
      cmocka_unit_test(test_accepted),    cmocka_unit_test(test_files),      cmocka_unit_test(test_written),
      cmocka_unit_test(test_not_written), cmocka_unit_test(test_round_trip), cmocka_unit_test(test_merging),
      cmocka_unit_test(test_put_refused), cmocka_unit_test(test_find),       cmocka_unit_test(test_caches_in_order),
      cmocka_unit_test(test_machines),    cmocka_unit_test(test_unused),     cmocka_unit_test(test_killed)};
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
