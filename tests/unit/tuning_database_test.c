/* Tuning files: what is read of good ones and said of broken ones, that writing and reading give the same, and the laws of merging. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_read)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
