/* The diagnostic sink: what is printed, counted and remembered. */
#include "ir/location.h"
#include "module_fixture.h"

#include <stdio.h>

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

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_caret),
                                     cmocka_unit_test(test_odd_bytes),
                                     cmocka_unit_test(test_failure_classes),
                                     cmocka_unit_test(test_many_errors),
                                     cmocka_unit_test(test_mlir_errors_come_through),
                                     cmocka_unit_test(test_closest_name)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
