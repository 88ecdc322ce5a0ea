/* Random C functions, and those of Inputs/corners.c: what the interpreter and every kernel version compute must be what the C compiler makes of the same text, bit for
 * bit (NaN is NaN). Every operation in them is exact or rounds once, and what C leaves open is not executed: the C compiler is told that
 * integers wrap, as they do here. HMOE_TEST_SEED sets the seed, HMOE_TEST_ROUNDS the number of files. */
#include <dlfcn.h>
#include <unistd.h>

#include "c_functions.h"

enum { FUNCTIONS = 24, MOST_FUNCTIONS = 128, MAX_TEXT = 1 << 16, MAX_NAMES = 40 };

/* ---- Text ---- */

typedef struct writer {
  char text[MAX_TEXT];
  size_t size;
  unsigned names; /* made so far in this function */
  unsigned in_scope; /* variables that may be used: scope[0 .. in_scope) */
  struct {
    unsigned name;
    bool is_floating;
  } scope[MAX_NAMES];
  unsigned helpers; /* h0(float, int) to h[helpers - 1], which may be called */
  unsigned loops; /* around */
  unsigned size_limit;
} writer;

static void __attribute__((format(printf, 2, 3))) put(writer *w, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(w->text + w->size, MAX_TEXT - w->size, format, arguments);
  va_end(arguments);
  assert_true(length >= 0 && w->size + (size_t)length < MAX_TEXT);
  w->size += (size_t)length;
}

static unsigned below(unsigned bound) { return (unsigned)harness_below((int64_t)bound); }
#define PICK(list) ((list)[below(sizeof(list) / sizeof *(list))])

/* ---- Expressions; every one stands in parentheses or is one word. None has a side effect. ---- */

static void put_floating(writer *w, int depth);
static void put_integer(writer *w, int depth);

static void put_any(writer *w, int depth) {
  if (below(3)) put_floating(w, depth);
  else put_integer(w, depth);
}

/* A variable of a kind; false if there is none. */
static bool put_variable(writer *w, bool is_floating) {
  unsigned found[MAX_NAMES], count = 0;
  for (unsigned i = 0; i < w->in_scope; i++)
    if (w->scope[i].is_floating == is_floating) found[count++] = w->scope[i].name;
  if (!count) return false;
  put(w, "v%u", found[below(count)]);
  return true;
}

static void put_binary(writer *w, void (*left)(writer *, int), const char *op, void (*right)(writer *, int), int depth) {
  put(w, "(");
  left(w, depth - 1);
  put(w, " %s ", op);
  right(w, depth - 1);
  put(w, ")");
}

static void put_truth(writer *w, int depth) {
  static const char *const comparisons[] = {"<", ">", "<=", ">=", "==", "!="}, *const joins[] = {"&&", "||"};
  switch (depth <= 0 ? 0 : below(6)) {
  case 0:
  case 1:
  case 2: put_binary(w, put_any, PICK(comparisons), put_any, depth); return;
  case 3: put_binary(w, put_truth, PICK(joins), put_truth, depth); return;
  case 4: put(w, "(!"), put_any(w, depth - 1), put(w, ")"); return;
  default: put_any(w, depth - 1); return;
  }
}

static void put_choice(writer *w, void (*value)(writer *, int), int depth) {
  put(w, "("), put_truth(w, depth - 1), put(w, " ? "), value(w, depth - 1), put(w, " : "), value(w, depth - 1), put(w, ")");
}

static void put_floating(writer *w, int depth) {
  static const char *const literals[] = {"0.5f", "1.0f", "-2.0f", "0x1.8p-3f", "1e-3f", "3.0",
                                         "0.1",  ".25f", "100.f", "1e10f",     "-0.0f", "0.f"};
  static const char *const operators[] = {"+", "-", "*", "/", "+", "*"};
  static const char *const exact[] = {"fabsf", "floorf", "ceilf", "truncf", "rintf", "roundf",    "sqrtf",
                                      "fabs",  "floor",  "rint",  "round",  "sqrt",  "nearbyintf"};
  static const char *const casts[] = {"float", "double", "float", "const float"};
  if (depth <= 0) {
    if (below(3) == 0 || !put_variable(w, true)) put(w, "%s", PICK(literals));
    return;
  }
  switch (below(13)) {
  case 0:
  case 1:
  case 2: put_binary(w, put_floating, PICK(operators), put_any, depth); return;
  case 3: put_binary(w, put_any, PICK(operators), put_floating, depth); return;
  case 4: put(w, "(- "), put_floating(w, depth - 1), put(w, ")"); return;
  case 5: put(w, "((%s)", PICK(casts)), put_any(w, depth - 1), put(w, ")"); return;
  case 6: put_choice(w, put_floating, depth); return;
  case 7:
  case 8: put(w, "%s(", PICK(exact)), put_any(w, depth - 1), put(w, ")"); return;
  case 9:
    put(w, "fmaf("), put_any(w, depth - 1), put(w, ", "), put_floating(w, depth - 1), put(w, ", "), put_any(w, depth - 1),
        put(w, ")");
    return;
  case 10: /* a choice whose arms differ in type: the other kind is converted */
    put(w, "("), put_truth(w, depth - 1), put(w, " ? "), put_integer(w, depth - 1), put(w, " : "), put_floating(w, depth - 1);
    put(w, ")");
    return;
  case 11:
    if (w->helpers) {
      put(w, "h%u(", below(w->helpers)), put_any(w, depth - 1), put(w, ", "), put_integer(w, depth - 1), put(w, ")");
      return;
    } /* fall through */
  default: put_floating(w, 0); return;
  }
}

static void put_integer(writer *w, int depth) {
  static const char *const literals[] = {"0",
                                         "1",
                                         "2",
                                         "-1",
                                         "7",
                                         "100",
                                         "0x55",
                                         "017",
                                         "'a'",
                                         "3u",
                                         "1000000007",
                                         "0xffffffffu",
                                         "5L",
                                         "0x123456789abcLL",
                                         "sizeof(float)",
                                         "~0u",
                                         "E1",
                                         "E2"};
  static const char *const operators[] = {"+", "-", "*", "&", "|", "^"}, *const divisions[] = {"/", "%"},
                           *const shifts[] = {"<<", ">>"};
  static const char *const divisors[] = {"3", "7", "-5", "10u", "255", "64", "-1", "1000000007L", "13ul", "(char)-3"};
  static const char *const casts[] = {"int",   "unsigned", "short",         "unsigned short", "signed char", "unsigned char",
                                      "_Bool", "long",     "unsigned long", "char",           "enum e"};
  static const char *const conversions[] = {"to_int", "to_long", "to_char", "to_unsigned", "lround", "lrintf"};
  if (depth <= 0) {
    if (below(3) == 0 || !put_variable(w, false)) put(w, "%s", PICK(literals));
    return;
  }
  switch (below(13)) {
  case 0:
  case 1:
  case 2: put_binary(w, put_integer, PICK(operators), put_integer, depth); return;
  case 3: put(w, "("), put_integer(w, depth - 1), put(w, " %s %s)", PICK(divisions), PICK(divisors)); return;
  case 4:
    put(w, "("), put_integer(w, depth - 1), put(w, " %s (", PICK(shifts)), put_integer(w, depth - 1),
        put(w, " & %d))", harness_coin() ? 7 : 31);
    return;
  case 5: put(w, "(%s ", harness_coin() ? "~" : "-"), put_integer(w, depth - 1), put(w, ")"); return;
  case 6: put(w, "((%s)", PICK(casts)), put_integer(w, depth - 1), put(w, ")"); return;
  case 7: put_choice(w, put_integer, depth); return;
  case 8:
  case 9: {
    const char *conversion = PICK(conversions);
    bool limited = conversion[0] == 'l';
    put(w, limited ? "%s(limited(" : "%s(", conversion), put_floating(w, depth - 1), put(w, limited ? "))" : ")");
    return;
  }
  case 10: put(w, "(!!"), put_truth(w, depth - 1), put(w, ")"); return;
  case 11: put(w, "isnan("), put_floating(w, depth - 1), put(w, ")"); return;
  default: put_integer(w, 0); return;
  }
}

/* ---- Statements ---- */

static void put_statement(writer *w, int depth);

static void put_block(writer *w, int depth) {
  unsigned outside = w->in_scope;
  put(w, "{\n");
  for (unsigned i = 1 + below(3); i; i--) put_statement(w, depth);
  put(w, "}\n");
  w->in_scope = outside;
}

static void put_declaration(writer *w) {
  static const char *const floating[] = {"float", "double", "float", "real"};
  static const char *const integers[] = {"int",  "unsigned", "short",          "unsigned char", "signed char",
                                         "long", "_Bool",    "unsigned short", "enum e"};
  if (w->in_scope == MAX_NAMES) return;
  bool is_floating = harness_coin();
  unsigned name = w->names++;
  put(w, "%s v%u = ", is_floating ? PICK(floating) : PICK(integers), name);
  if (is_floating) put_floating(w, 2);
  else put_integer(w, 2);
  put(w, ";\n");
  w->scope[w->in_scope].name = name;
  w->scope[w->in_scope++].is_floating = is_floating;
}

static void put_assignment(writer *w) {
  static const char *const of_floating[] = {"=", "+=", "-=", "*=", "="}, *const of_integer[] = {
                                                                             "=", "+=", "-=", "*=", "^=", "|=", "&="};
  static const char *const steps[] = {"++", "--"};
  bool is_floating = harness_coin();
  size_t before = w->size;
  bool prefix = below(8) == 0;
  if (prefix) put(w, "%s", PICK(steps));
  if (!put_variable(w, is_floating) && !put_variable(w, is_floating = !is_floating)) {
    w->size = before;
    put(w, ";\n");
    return;
  }
  if (!prefix && below(8) == 0) put(w, "%s", PICK(steps));
  else if (!prefix && is_floating) put(w, " %s ", PICK(of_floating)), put_any(w, 3);
  else if (!prefix && below(6) == 0) put(w, " %s %s", harness_coin() ? "/=" : "%=", harness_coin() ? "3" : "7u");
  else if (!prefix && below(6) == 0) put(w, " %s 3", harness_coin() ? "<<=" : ">>=");
  else if (!prefix) put(w, " %s ", PICK(of_integer)), put_integer(w, 3);
  put(w, ";\n");
}

static void put_loop(writer *w, int depth) {
  unsigned counter = w->names++, rounds = 1 + below(4), outside = w->in_scope;
  w->loops++;
  switch (below(3)) {
  case 0: put(w, "for (int v%u = %u; v%u %s 0; v%u--) ", counter, rounds, counter, harness_coin() ? ">" : "!=", counter); break;
  case 1: put(w, "for (unsigned v%u = 0; v%u < %u; ++v%u) ", counter, counter, rounds, counter); break;
  default:
    put(w, "for (long v%u = 0, w%u = %u; ; v%u += 2) { if (v%u >= w%u) break;\n", counter, counter, rounds, counter, counter,
        counter);
  }
  bool braced = w->text[w->size - 1] == '\n';
  put_block(w, depth - 1);
  if (braced) put(w, "}\n");
  w->loops--;
  w->in_scope = outside;
}

static void put_switch(writer *w, int depth) {
  static const char *const ends[] = {"break;\n", "", "break;\n"};
  int at_default = (int)below(5);
  put(w, "switch ("), put_integer(w, 2), put(w, " & 7) {\n");
  for (int i = 0; i < 5; i++) {
    if (i == at_default) put(w, "default:\n");
    put(w, "case %d:\n", 2 * i - 1);
    if (below(4) == 0) put(w, "case %d: ", 2 * i);
    put_block(w, depth - 1);
    put(w, "%s", PICK(ends));
  }
  put(w, "}\n");
}

static void put_statement(writer *w, int depth) {
  if (w->size > w->size_limit) depth = 0;
  switch (depth <= 0 ? below(3) : below(12)) {
  case 0:
  case 1: put_assignment(w); return;
  case 2: put_declaration(w); return;
  case 3:
  case 4:
    put(w, "if "), put(w, "("), put_truth(w, 2), put(w, ") "), put_block(w, depth - 1);
    if (harness_coin()) put(w, "else "), put_block(w, depth - 1);
    return;
  case 5: put(w, "if ("), put_truth(w, 2), put(w, ") return "), put_any(w, 2), put(w, ";\n"); return;
  case 6:
  case 7:
    if (w->loops < 2) put_loop(w, depth);
    return;
  case 8:
    if (w->loops) put(w, "if ("), put_truth(w, 2), put(w, ") %s;\n", harness_coin() ? "break" : "continue");
    return;
  case 9: put_switch(w, depth); return;
  case 10: put_block(w, depth - 1); return;
  default: /* what && and || skip */
    if (w->in_scope) {
      unsigned which = below(w->in_scope);
      put_truth(w, 2), put(w, " %s (v%u = ", harness_coin() ? "&&" : "||", w->scope[which].name);
      (w->scope[which].is_floating ? put_any : put_integer)(w, 2);
      put(w, ", "), put_any(w, 1), put(w, ");\n");
    }
    return;
  }
}

/* A function whose parameters are v0 and v1. */
static void put_body(writer *w, bool second_is_floating, size_t parameters, unsigned statements) {
  w->names = (unsigned)parameters;
  w->in_scope = (unsigned)parameters;
  w->scope[0].name = 0, w->scope[0].is_floating = true;
  w->scope[1].name = 1, w->scope[1].is_floating = second_is_floating;
  w->size_limit = (unsigned)w->size + 1500;
  put(w, "{\n");
  for (unsigned i = 0; i < statements; i++) put_statement(w, 3);
  put(w, "return "), put_any(w, 3), put(w, ";\n}\n");
}

static const char prelude[] = "#include <math.h>\n"
                              "enum e { E1 = 5, E2 = 1000 };\n"
                              "typedef float real;\n"
                              "static int to_int(double x) { return x > -2e9 && x < 2e9 ? (int)x : 7; }\n"
                              "static long to_long(double x) { if (x > -9e18 && x < 9e18) return (long)x; return -3; }\n"
                              "static signed char to_char(float x) { return x > -128 && x < 127 ? x : 0; }\n"
                              "static unsigned to_unsigned(float x) { return x > -0.5f && x < 4e9f ? (unsigned)x : 11; }\n"
                              "static float limited(float x) { return x > -1e18f && x < 1e18f ? x : 0; }\n";

/* f0 to f[FUNCTIONS - 1]; the odd ones have two arguments. */
static void put_file(writer *w) {
  *w = (writer){.size = 0};
  put(w, "%s", prelude);
  for (unsigned i = 0; i < 3; i++) {
    w->helpers = i;
    put(w, "static float h%u(float v0, int v1) ", i);
    put_body(w, false, 2, 2);
  }
  for (unsigned i = 0; i < FUNCTIONS; i++) {
    w->helpers = below(4);
    put(w, i % 2 ? "float f%u(float v0, float v1) " : "float f%u(float v0) ", i);
    put_body(w, true, 1 + i % 2, 3 + below(5));
  }
}

/* ---- Comparison ---- */

typedef struct c_file {
  char folder[32], source[64], object[64];
  void *handle;
} c_file;

static void file_compile(c_file *file, const char *text) {
  char command[1024];
  snprintf(file->folder, sizeof file->folder, "/tmp/hmoe-c-XXXXXX");
  assert_non_null(mkdtemp(file->folder));
  snprintf(file->source, sizeof file->source, "%s/f.c", file->folder);
  snprintf(file->object, sizeof file->object, "%s/f.so", file->folder);
  FILE *out = fopen(file->source, "w");
  assert_non_null(out);
  assert_int_equal(fwrite(text, 1, strlen(text), out), strlen(text));
  fclose(out);
  snprintf(command, sizeof command, "%s -std=gnu17 -O1 -w -ffp-contract=off -fwrapv -shared -fPIC -o %s %s -lm", HMOE_C_COMPILER,
           file->object, file->source);
  assert_int_equal(system(command), 0);
  file->handle = dlopen(file->object, RTLD_NOW | RTLD_LOCAL);
  assert_non_null(file->handle);
}

static void file_remove(c_file *file) {
  dlclose(file->handle);
  unlink(file->source), unlink(file->object), rmdir(file->folder);
}

static void show(const char *text, const char *name) {
  char head[64];
  snprintf(head, sizeof head, "float %s(", name);
  const char *begin = strstr(text, head), *end = strstr(begin + 1, "\nfloat ");
  fprintf(stderr, "%.*s\n", (int)(end ? end - begin : (ptrdiff_t)strlen(begin)), begin);
}

static void compare(const char *text, const char *what, const char *name, const float *points, const float *want, const float *got,
                    bool *failed) {
  for (int i = 0; i < POINTS; i++) {
    if (c_distance(got[i], want[i]) == 0) continue;
    fprintf(stderr, "%s: %s(%a, %a) is %a, C has %a\n", what, name, (double)points[i], (double)points[POINTS + i], (double)got[i],
            (double)want[i]);
    show(text, name);
    *failed = true;
    return;
  }
}

typedef struct tested_function {
  char name[32];
  c_function function;
  float points[2 * POINTS], want[POINTS];
} tested_function;

/* Those functions of the text whose line begins `float PREFIX`, of one argument or two; the ones that are accepted come first. */
static size_t import(const char *text, const char *prefix, const c_file *file, hmoec_scalar_library *out_library,
                     tested_function *out_functions, size_t *out_total) {
  size_t count = 0;
  char begin[32];
  snprintf(begin, sizeof begin, "\nfloat %s", prefix);
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  c_import all = c_import_begin(diagnostics);
  *out_total = 0;
  for (const char *at = strstr(text, begin); at; at = strstr(at + 1, begin)) {
    tested_function *f = &out_functions[count];
    const char *name = at + strlen("\nfloat ");
    assert_true(count < MOST_FUNCTIONS);
    snprintf(f->name, sizeof f->name, "%.*s", (int)strcspn(name, "("), name);
    size_t errors = hmoec_diagnostics_errors(diagnostics);
    bool ok = c_import_add(&all, file->source, f->name, 1u << 1 | 1u << 2);
    assert_int_equal(hmoec_diagnostics_errors(diagnostics) - errors, !ok);
    void *symbol = dlsym(file->handle, f->name);
    assert_non_null(symbol);
    memcpy(&f->function, &symbol, sizeof symbol);
    if (!ok) fprintf(stderr, "%s is refused\n", f->name);
    count += ok;
    ++*out_total;
  }
  *out_library = c_import_end(&all);
  hmoec_diagnostics_destroy(diagnostics);
  assert_int_equal(out_library->count, count);
  return count;
}

static size_t check_text(const char *text, const char *prefix, size_t *out_total) {
  static float got[POINTS];
  c_file file;
  file_compile(&file, text);
  tested_function *functions = malloc(MOST_FUNCTIONS * sizeof *functions);
  assert_non_null(functions);
  hmoec_scalar_library library;
  size_t count = import(text, prefix, &file, &library, functions, out_total);
  hmoec_kernel kernels[MOST_FUNCTIONS];
  bool failed = false;
  for (size_t k = 0; k < count; k++) {
    const hmoec_scalar_program *program = &library.programs[k];
    tested_function *f = &functions[k];
    hmoec_scalar_value *values = calloc(program->value_count, sizeof *values);
    assert_non_null(values);
    c_points_fill(program->argument_count, f->points);
    for (int i = 0; i < POINTS; i++) {
      const float x[] = {f->points[i], f->points[POINTS + i]};
      f->want[i] = c_function_call(f->function, program->argument_count, x);
      got[i] = hmoec_scalar_run(program, values, x);
    }
    compare(text, "interpreter", f->name, f->points, f->want, got, &failed);
    free(values);
    kernels[k] = c_kernel(&library, k);
  }
  harness_unit u = harness_compile_functions(kernels, count, hmoec_cpu_schedule_default(16), &library);
  HARNESS_EACH_VERSION(u, v) for (size_t k = 0; k < count; k++) {
    char what[32];
    snprintf(what, sizeof what, "version %d", v);
    c_kernel_run(&u, v, k, library.programs[k].argument_count, functions[k].points, got);
    compare(text, what, functions[k].name, functions[k].points, functions[k].want, got, &failed);
  }
  harness_destroy(&u);
  hmoec_scalar_library_deinit(&library);
  file_remove(&file);
  free(functions);
  assert_false(failed);
  return count;
}

static void test_random_functions(void **state) {
  (void)state;
  const char *given = getenv("HMOE_TEST_ROUNDS");
  unsigned rounds = given ? (unsigned)strtoul(given, NULL, 10) : 1;
  size_t accepted = 0, total = 0;
  writer *w = malloc(sizeof *w);
  assert_non_null(w);
  for (unsigned i = 0; i < rounds; i++) {
    size_t of_file;
    put_file(w);
    accepted += check_text(w->text, "f", &of_file);
    total += of_file;
  }
  free(w);
  printf("%zu of %zu functions accepted\n", accepted, total);
  assert_int_equal(total, rounds * FUNCTIONS);
  assert_true(accepted * 2 >= total);
}

static void test_corners(void **state) {
  (void)state;
  static char text[MAX_TEXT];
  size_t total, accepted;
  FILE *in = fopen(HMOE_SOURCE_DIR "/tests/numeric/Inputs/corners.c", "r");
  assert_non_null(in);
  size_t size = fread(text, 1, sizeof text - 1, in);
  fclose(in);
  text[size] = 0;
  accepted = check_text(text, "c_", &total);
  assert_int_equal(accepted, total);
  assert_true(total > 80);
}

int main(void) {
  harness_seed();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_functions), cmocka_unit_test(test_corners)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
