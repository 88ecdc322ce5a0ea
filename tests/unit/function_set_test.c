/* Functions in C as a model asks for them: how they are named there, what is read once, and what they are called in the module. */
#include "frontend/function_set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "ir/context.h"
#include "ir/ops.h"
#include "ir/scalar.h"

enum { ONE = 1 << 1, TWO = 1 << 2 };

static const hmoec_location here = {.file = "m.spec", .line = 7, .column = 5};
static char folder[] = "/tmp/hmoec-set-XXXXXX";
static MlirContext context;

static void file_write(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static int setup(void **state) {
  (void)state;
  context = hmoec_context_create();
  if (!mkdtemp(folder) || chdir(folder) != 0 || mkdir("one", 0700) != 0 || mkdir("two", 0700) != 0 || mkdir("three", 0700) != 0)
    return -1;
  file_write("f.c",
             "float g(float x) { return x; }\nfloat run(float x) { return x; }\nfloat h(float x, float y) { return x * y; }\n"
             "float k(float x) { return K * x; }\nfloat l(float x) { return x + L + M; }\n");
  file_write("a:b.c", "float g(float x) { return 2 * x; }\n");
  file_write("i.c", "#include \"i.h\"\nfloat i(float x) { return x * I; }\n");
  file_write("two/i.h", "#define I 3\n");
  file_write("j.c", "#include \"j.h\"\n#include \"i.h\"\nfloat j(float x) { return x * I * J; }\n");
  file_write("three/j.h", "#define J 3\n");
  return 0;
}

static int teardown(void **state) {
  (void)state;
  char command[64];
  snprintf(command, sizeof command, "rm -rf %s", folder);
  hmoec_context_destroy(context);
  return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

static void keep(void *user, const hmoec_message *message) {
  if (message->severity == HMOEC_ERROR)
    fprintf(user, "%s%u:%u: %s", ftell(user) ? "\n" : "", message->at.line, message->at.column, message->text);
}

/* One text, and all errors about it; NULL: it is taken, and the reference is this. */
static void test_texts(void **state) {
  (void)state;
  static const struct {
    const char *text;
    unsigned arities;
    const char *reference, *errors;
  } rows[] = {
      {"c:f.c:g", ONE, "@g", ""},
      {"c:f.c:h", TWO, "@h", ""},
      {"c:f.c:h", ONE | TWO, "@h", ""},
      {"c:a:b.c:g", ONE, "@g", ""},
      {"c:./f.c:g", ONE, "@g", ""},
      {"c:f.c:run", ONE, "@run_2", ""},
      {"c:", ONE, NULL, "7:5: expected c:FILE:FUNCTION, found 'c:'"},
      {"c:f.c", ONE, NULL, "7:5: expected c:FILE:FUNCTION, found 'c:f.c'"},
      {"c::g", ONE, NULL, "7:5: expected c:FILE:FUNCTION, found 'c::g'"},
      {"c:f.c:", ONE, NULL, "7:5: expected c:FILE:FUNCTION, found 'c:f.c:'"},
      {"c:f.c:\n-DK=2", ONE, NULL, "7:5: expected c:FILE:FUNCTION, found 'c:f.c:'"},
      {"c:none.c:g", ONE, NULL, "7:5: cannot read the C file none.c: No such file or directory"},
      {"c:f.c:h", ONE, NULL, "3:7: 'h' cannot be an activation: expected float (float), found float (float, float)"},
      {"c:f.c:k\n-DK=2\n-DL\n-DM=3", ONE, "@k", ""},
      {"c:f.c:l\n-DM=1\n-DK\n-DL=2", ONE, "@l", ""},
      {"c:i.c:i\n-Itwo", ONE, "@i", ""},
      {"c:i.c:i\n-Ione\n-Itwo", ONE, "@i", ""},
      {"c:i.c:i\n-Itwo\n-Ione", ONE, "@i", ""},
      {"c:j.c:j\n-Itwo", ONE, "@j", ""},
      {"c:f.c:g\n-O2", ONE, NULL, "7:5: c:f.c:g: expected -IDIRECTORY or -DNAME, found '-O2'"},
      {"c:f.c:g\n", ONE, NULL, "7:5: c:f.c:g: expected -IDIRECTORY or -DNAME, found ''"},
      {"c:f.c:g\n-DK\n\n-DL", ONE, NULL, "7:5: c:f.c:g: expected -IDIRECTORY or -DNAME, found ''"},
  };
  static const char *const fill[] = {"K=1", "L=1", "M=1"}; /* which f.c needs */
  static const char *const include[] = {"three", "one"};
  const hmoec_c_flags flags = {.defines = fill, .define_count = 3, .includes = include, .include_count = 2};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char *errors = NULL;
    size_t size;
    FILE *stream = open_memstream(&errors, &size);
    hmoec_diagnostics *diagnostics = hmoec_diagnostics_create_with(keep, stream);
    hmoec_function_set *set = hmoec_function_set_create(context, diagnostics, "m", &flags);
    const char *found = hmoec_function_set_get(set, here, rows[i].text, "an activation", rows[i].arities);
    fflush(stream);
    if (strcmp(errors, rows[i].errors) != 0) fail_msg("%s: expected '%s', found '%s'", rows[i].text, rows[i].errors, errors);
    if (rows[i].reference) assert_string_equal(found, rows[i].reference);
    else assert_null(found);
    hmoec_function_set_destroy(set);
    hmoec_diagnostics_destroy(diagnostics);
    fclose(stream);
    free(errors);
  }
  hmoec_function_set_destroy(NULL);
  assert_true(hmoec_names_c_function("c:") && hmoec_names_c_function("c:f.c:g"));
  assert_false(hmoec_names_c_function("c") || hmoec_names_c_function("C:") || hmoec_names_c_function("ac:") ||
               hmoec_names_c_function(""));
}

/* A text is read once, whatever comes of it; names that are taken get a number; all go to the module in the order in which they were asked for. */
static void test_set(void **state) {
  (void)state;
  static const char *const fill[] = {"K=1", "L=1", "M=1"};
  const hmoec_c_flags flags = {.defines = fill, .define_count = 3};
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  hmoec_function_set *set = hmoec_function_set_create(context, diagnostics, "k", &flags);
  const char *g = hmoec_function_set_get(set, here, "c:f.c:g", "an activation", ONE);
  assert_string_equal(g, "@g");
  assert_string_equal(hmoec_function_set_get(set, here, "c:a:b.c:g", "an activation", ONE), "@g_2");
  assert_string_equal(hmoec_function_set_get(set, here, "c:./f.c:g", "an activation", ONE), "@g_3");
  assert_string_equal(hmoec_function_set_get(set, here, "c:f.c:k", "an activation", ONE), "@k_2"); /* the model's name */
  assert_string_equal(hmoec_function_set_get(set, here, "c:f.c:h", "an activation", TWO), "@h");
  for (int i = 0; i < 9; i++) { /* the list grows */
    char text[64], reference[16];
    snprintf(text, sizeof text, "c:f.c:l\n-DN=%d", i);
    snprintf(reference, sizeof reference, i ? "@l_%d" : "@l", i + 1);
    assert_string_equal(hmoec_function_set_get(set, here, text, "an activation", ONE), reference);
  }
  assert_int_equal(hmoec_diagnostics_errors(diagnostics), 0);
  assert_null(hmoec_function_set_get(set, here, "c:none.c:g", "an activation", ONE));
  assert_int_equal(hmoec_diagnostics_errors(diagnostics), 1);
  assert_null(hmoec_function_set_get(set, here, "c:none.c:g", "an activation", ONE));
  assert_int_equal(hmoec_diagnostics_errors(diagnostics), 1); /* it was said */
  rename("f.c", "other.c");
  assert_ptr_equal(hmoec_function_set_get(set, here, "c:f.c:g", "an activation", ONE | TWO), g);
  assert_int_equal(hmoec_diagnostics_errors(diagnostics), 1);
  rename("other.c", "f.c");
  hmoec_diagnostics_forget(diagnostics);
  assert_null(hmoec_function_set_get(set, here, "c:f.c:g", "a gate of two", TWO));
  assert_string_equal(hmoec_diagnostics_first(diagnostics), "g is a function of 1 arguments and cannot be a gate of two");
  hmoec_diagnostics_forget(diagnostics);
  assert_null(hmoec_function_set_get(set, here, "c:f.c:h", "a gate", ONE));
  assert_string_equal(hmoec_diagnostics_first(diagnostics), "h is a function of 2 arguments and cannot be a gate");

  MlirModule module = mlirModuleCreateEmpty(mlirLocationUnknownGet(context));
  hmoec_function_set_move(set, mlirModuleGetBody(module));
  hmoec_function_set_move(set, mlirModuleGetBody(module)); /* once */
  static const char *const names[] = {"g", "g_2", "g_3", "k_2", "h", "l", "l_2", "l_3", "l_4", "l_5", "l_6", "l_7", "l_8", "l_9"};
  MlirOperation op = mlirBlockGetFirstOperation(mlirModuleGetBody(module));
  for (size_t i = 0; i < sizeof names / sizeof *names; i++, op = mlirOperationGetNextInBlock(op)) {
    assert_true(hmoec_is_scalar_function(op));
    assert_true(mlirStringRefEqual(hmoec_op_string(op, "sym_name"), mlirStringRefCreateFromCString(names[i])));
  }
  assert_true(mlirOperationIsNull(op));
  hmoec_function_set_destroy(set);
  mlirModuleDestroy(module);
  hmoec_diagnostics_destroy(diagnostics);
}

/* Names leave room for a number. */
static void test_lengths(void **state) {
  (void)state;
  for (int length = HMOEC_SCALAR_MAX_NAME - 4; length <= HMOEC_SCALAR_MAX_NAME - 3; length++) {
    char text[256];
    snprintf(text, sizeof text, "float f%0*d(float x) { return x; }\n", length - 1, 0);
    file_write("long.c", text);
    hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
    hmoec_function_set *set = hmoec_function_set_create(context, diagnostics, "m", NULL);
    snprintf(text, sizeof text, "c:long.c:f%0*d", length - 1, 0);
    const char *found = hmoec_function_set_get(set, here, text, "an activation", ONE);
    assert_int_equal(found != NULL, length == HMOEC_SCALAR_MAX_NAME - 4);
    assert_int_equal(hmoec_diagnostics_errors(diagnostics), found ? 0 : 1);
    if (!found)
      assert_non_null(
          strstr(hmoec_diagnostics_first(diagnostics), "the name of a C function has at most 56 characters here, found 'f00"));
    hmoec_function_set_destroy(set);
    hmoec_diagnostics_destroy(diagnostics);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_texts), cmocka_unit_test(test_set), cmocka_unit_test(test_lengths)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
