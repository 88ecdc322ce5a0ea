/* Functions in C: those of c_functions.h must give what they give natively; what cannot be read must be refused at its place. */
#include "frontend/c_function.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ir/context.h"
#include "ir/location.h"
#include "limit_testing.h"
#include "unit/c_function_evaluator.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wfloat-conversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wimplicit-fallthrough"
#pragma GCC diagnostic ignored "-Wparentheses"
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#pragma GCC diagnostic ignored "-Wunused-value"
#pragma GCC diagnostic ignored "-Wtype-limits"
#pragma GCC diagnostic ignored "-Wtautological-compare"
#pragma GCC diagnostic ignored "-Wshift-negative-value"
#include "unit/c_functions.h"
#pragma GCC diagnostic pop

enum { ONE = 1 << 1, TWO = 1 << 2 };

static const char functions_path[] = HMOE_SOURCE_DIR "/tests/unit/c_functions.h";
static MlirContext context;
static const char *start_folder;
static char folder[] = "/tmp/hmoec-c-XXXXXX";

static void print_piece(MlirStringRef piece, void *user) { fwrite(piece.data, 1, piece.length, user); }

typedef struct import_result {
  bool ok;
  MlirOperation function;
  char *messages, *ir; /* ir: NULL unless ok */
  unsigned errors;
} import_result;

/* In this process, which is quicker; what is there for files that are no good for that goes through the other. */
static bool (*import_how)(MlirContext, hmoec_diagnostics *, hmoec_location, const char *, const char *, const hmoec_c_flags *,
                          const char *, unsigned, MlirOperation *) = hmoec_c_function_read;

static int through_process(void **state) {
  (void)state, import_how = hmoec_c_function_import;
  return 0;
}
static int in_process(void **state) {
  (void)state, import_how = hmoec_c_function_read;
  return 0;
}
#define THROUGH_PROCESS(test) cmocka_unit_test_setup_teardown(test, through_process, in_process)

static import_result import_in(MlirContext in, const char *file, const char *name, const hmoec_c_flags *flags, unsigned arities) {
  import_result result = {0};
  size_t size;
  FILE *out = open_memstream(&result.messages, &size);
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(out);
  const hmoec_location at = {.file = "m.spec", .line = 7, .column = 5};
  result.ok = import_how(in, diagnostics, at, file, name, flags, "an activation", arities, &result.function);
  result.errors = hmoec_diagnostics_errors(diagnostics);
  hmoec_diagnostics_destroy(diagnostics);
  fclose(out);
  if (!result.ok) return result;
  FILE *ir = open_memstream(&result.ir, &size);
  mlirOperationPrint(result.function, print_piece, ir);
  fclose(ir);
  return result;
}

static import_result import(const char *file, const char *name, unsigned arities) {
  return import_in(context, file, name, NULL, arities);
}

static void result_deinit(import_result *result) {
  if (result->ok) mlirOperationDestroy(result->function);
  free(result->messages);
  free(result->ir);
}

static void file_write(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static import_result import_text(const char *text, const char *name, unsigned arities) {
  file_write("f.c", text);
  return import("f.c", name, arities);
}

static void expect(const char *text, const char *wanted, const char *shown) {
  if (strstr(text, wanted)) return;
  print_error("expected \"%s\" in\n%s\n%s\n", wanted, text, shown);
  fail();
}

/* ---- What is accepted ---- */

typedef struct accepted {
  const char *name;
  float (*one)(float);
  float (*two)(float, float);
  bool finite_only; /* what C leaves undefined for NaN and infinities: conversions to int */
} accepted;

#define F(name) {#name, name, NULL, false}
#define FINITE(name) {#name, name, NULL, true}
#define F2(name) {#name, NULL, name, false}
static const accepted accepted_functions[] = {
    F(relu),
    F(relu_early),
    F(relu_max),
    F(leaky),
    F(squared_relu),
    F(gelu),
    F(gelu_double),
    F(gelu_new),
    F(gelu_loop),
    F(sigmoid),
    F(silu),
    F(mish),
    F(softplus),
    F(hard_swish),
    F(elu),
    F(generic_float),
    F(generic_double),
    F2(swiglu),
    F2(clamped),
    F(piecewise),
    F(nested_returns),
    F(taylor),
    F(break_loop),
    F(last_value),
    F(return_in_loop),
    F(newton),
    F(for_parts),
    F(constant_switch),
    FINITE(run_time_switch),
    F(switch_in_loop),
    F(shadowed),
    F(effects),
    FINITE(integers),
    F(int_constants),
    FINITE(doubles),
    F(truths),
    FINITE(rounding),
    F(transcendental),
    F(folded),
    F(classified),
    F(from_macro),
    F(constant_logic),
    F(constant_comparisons),
    FINITE(comparisons_at_run_time),
    F(parentheses),
    F(same_in_two_ways),
    FINITE(absolute),
    F(with_attributes),
    F(generic_callee),
    F(many_arguments),
    F(void_calls),
    FINITE(shifts),
    FINITE(narrow_types),
    F2(orders),
    F2(of_doubles),
};

static void check_value(const accepted *row, MlirOperation function, float a, float b) {
  double wanted = (double)(row->one ? row->one(a) : row->two(a, b)), found = test_call(function, (double)a, (double)b);
  if (isnan(wanted) ? isnan(found) : wanted == found || fabs(wanted - found) <= 2e-6 * fabs(wanted)) return;
  print_error("%s(%.9g, %.9g) is %.9g, found %.9g\n", row->name, (double)a, (double)b, wanted, found);
  fail();
}

static void test_accepted(void **state) {
  (void)state;
  static const float special[] = {0,  -0.0f, 1,  -1,   2,    3,    4,    5,     6,     7,       8,   9,
                                  10, -2,    -3, 0.1f, 0.5f, 1.5f, 2.5f, -2.5f, 1e-3f, -1e-40f, 100, -200};
  static const float extreme[] = {INFINITY, -INFINITY, NAN, 1e30f, -1e30f};
  for (size_t i = 0; i < sizeof accepted_functions / sizeof *accepted_functions; i++) {
    const accepted *row = &accepted_functions[i];
    import_result result = import(functions_path, row->name, row->one ? ONE : TWO);
    if (!result.ok || *result.messages) fail_msg("%s: %s", row->name, result.messages);
    assert_true(mlirOperationVerify(result.function));
    for (float x = -30; x < 30; x += 0.37f) check_value(row, result.function, x, 1 - x / 3);
    for (size_t k = 0; k < sizeof special / sizeof *special; k++) check_value(row, result.function, special[k], special[k] + 1);
    for (size_t k = 0; k < sizeof extreme / sizeof *extreme && !row->finite_only; k++)
      check_value(row, result.function, extreme[k], -extreme[k]);
    result_deinit(&result);
  }
}

typedef struct printed {
  const char *text, *ir;
} printed;

#define BODY(text) "func.func private @f(%arg0: f32) -> f32 {\n" text "}\n"
static const printed printed_functions[] = {
    {"float f(float x) { return x; }", BODY("  return %arg0 : f32\n")},
    {"float f(float x) { return 1 + 2 * 3.5f; }", BODY("  %cst = arith.constant 8.000000e+00 : f32\n  return %cst : f32\n")},
    {"float f(float x) { float a = 1.5f, b = 2; return a - 1 / b * 0.5f + +x * 0; }",
     BODY("  %cst = arith.constant 0.000000e+00 : f32\n  %cst_0 = arith.constant 1.250000e+00 : f32\n"
          "  %0 = arith.mulf %arg0, %cst : f32\n  %1 = arith.addf %cst_0, %0 : f32\n  return %1 : f32\n")},
    {"float f(float x) { double a = 1.5, b = 2; return a * b - 1 / b + 0.25; }",
     BODY("  %cst = arith.constant 2.750000e+00 : f32\n  return %cst : f32\n")},
    {"float f(float x) { unsigned a = 2, b = 3; return ((a - b) >> 28) + a * b; }",
     BODY("  %cst = arith.constant 2.100000e+01 : f32\n  return %cst : f32\n")},
    {"float f(float x) { if (x > 2) return x; return 2; }", BODY("  %cst = arith.constant 2.000000e+00 : f32\n"
                                                                 "  %0 = arith.cmpf ogt, %arg0, %cst : f32\n"
                                                                 "  %1 = arith.select %0, %arg0, %cst : f32\n"
                                                                 "  return %1 : f32\n")},
    {"#include <math.h>\nfloat f(float x) { float y = x; if (x > 2) y = expf(x); else return x; return expf(y); }",
     BODY("  %cst = arith.constant 2.000000e+00 : f32\n"
          "  %0 = arith.cmpf ogt, %arg0, %cst : f32\n"
          "  %1 = scf.if %0 -> (f32) {\n"
          "    %2 = math.exp %arg0 : f32\n"
          "    %3 = math.exp %2 : f32\n"
          "    scf.yield %3 : f32\n"
          "  } else {\n"
          "    scf.yield %arg0 : f32\n"
          "  }\n"
          "  return %1 : f32\n")},
    /* What is not used is not there, nor a loop that ends with the same. */
    {"#include <math.h>\nfloat f(float x) { if (x > 0) expf(x); return x; }", BODY("  return %arg0 : f32\n")},
    {"#include <math.h>\nfloat f(float x) { float y = expf(x); for (int i = 0; i < 9; i++) y = i; return x * (y == 8); }",
     BODY("  return %arg0 : f32\n")},
    {"#include <math.h>\nfloat f(float x) { float a, b; if (x < 0) { a = expf(x); b = sinf(x); } else { a = x; b = cosf(x); } "
     "return a; }",
     BODY("  %cst = arith.constant 0.000000e+00 : f32\n"
          "  %0 = arith.cmpf olt, %arg0, %cst : f32\n"
          "  %1 = scf.if %0 -> (f32) {\n"
          "    %2 = math.exp %arg0 : f32\n"
          "    scf.yield %2 : f32\n"
          "  } else {\n"
          "    scf.yield %arg0 : f32\n"
          "  }\n"
          "  return %1 : f32\n")},
    {"#include <math.h>\nfloat f(float x) { return x > 0 && isinf(x) ? 1 : 0; }",
     BODY("  %cst = arith.constant 0.000000e+00 : f32\n"
          "  %cst_0 = arith.constant 0x7F800000 : f32\n"
          "  %c-1_i32 = arith.constant -1 : i32\n"
          "  %c1_i32 = arith.constant 1 : i32\n"
          "  %c0_i32 = arith.constant 0 : i32\n"
          "  %0 = arith.cmpf ogt, %arg0, %cst : f32\n"
          "  %1 = math.absf %arg0 : f32\n"
          "  %2 = arith.cmpf oeq, %1, %cst_0 : f32\n"
          "  %3 = arith.cmpf olt, %arg0, %cst : f32\n"
          "  %4 = arith.select %3, %c-1_i32, %c1_i32 : i32\n"
          "  %5 = arith.select %2, %4, %c0_i32 : i32\n"
          "  %6 = arith.cmpi ne, %5, %c0_i32 : i32\n"
          "  %7 = arith.andi %0, %6 : i1\n"
          "  %8 = arith.uitofp %7 : i1 to f32\n"
          "  return %8 : f32\n")},
};

static void test_printed(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof printed_functions / sizeof *printed_functions; i++) {
    import_result result = import_text(printed_functions[i].text, "f", ONE);
    if (!result.ok) fail_msg("%s\n%s", printed_functions[i].text, result.messages);
    assert_true(mlirOperationVerify(result.function));
    assert_string_equal(result.ir, printed_functions[i].ir);
    result_deinit(&result);
  }
}

/* Ops have the place of their expression; of code from a macro, the macro's. */
static void test_places(void **state) {
  (void)state;
  import_result result = import_text("#define TWICE(v) ((v) * 2)\nstatic float g(float v) {\n  return -v;\n}\n"
                                     "float f(float x) {\n  return g(x) +\n    TWICE(x);\n}\n",
                                     "f", ONE);
  assert_true(result.ok);
  static const struct {
    const char *name;
    unsigned line, column;
  } places[] = {{"arith.negf", 3, 10}, {"arith.mulf", 7, 5}, {"arith.addf", 6, 10}, {"func.return", 5, 7}};
  MlirBlock body = mlirRegionGetFirstBlock(mlirOperationGetRegion(result.function, 0));
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    bool found = false;
    for (MlirOperation op = mlirBlockGetFirstOperation(body); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
      MlirStringRef name = mlirIdentifierStr(mlirOperationGetName(op));
      if (!mlirStringRefEqual(name, mlirStringRefCreateFromCString(places[i].name))) continue;
      hmoec_location location = hmoec_location_of_op(op);
      assert_string_equal(location.file, "f.c");
      assert_int_equal(location.line, places[i].line);
      assert_int_equal(location.column, places[i].column);
      found = true;
    }
    assert_true(found);
  }
  result_deinit(&result);
}

/* The ops of a block with their places, as they stand; those of the arms of an if behind it. */
static void print_places(MlirBlock block, FILE *out) {
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
    MlirStringRef name = mlirIdentifierStr(mlirOperationGetName(op));
    hmoec_location at = hmoec_location_of_op(op);
    fprintf(out, "%.*s %u:%u\n", (int)name.length, name.data, at.line, at.column);
    for (intptr_t i = 0; i < mlirOperationGetNumRegions(op); i++)
      print_places(mlirRegionGetFirstBlock(mlirOperationGetRegion(op, i)), out);
  }
}

/* Every way to an op: conversions, operators, branches and their joins, calls and what a call of math.h becomes. */
static void test_all_places(void **state) {
  (void)state;
  static const char text[] = "#include <math.h>\n"
                             "static int g(float v) {\n"
                             "  return -v;\n"
                             "}\n"
                             "float f(float x) {\n"
                             "  double w = x;\n"
                             "  float y = x * 2,\n"
                             "        z;\n"
                             "  z = x / w;\n"
                             "  y += z;\n"
                             "  int n = x;\n"
                             "  n++;\n"
                             "  --n;\n"
                             "  if (n)\n"
                             "    y = n;\n"
                             "  for (int i = 0; i < 2; i++) {\n"
                             "    if (y > 3)\n"
                             "      break;\n"
                             "    y = expf(y);\n"
                             "  }\n"
                             "  switch (n) {\n"
                             "  case 1:\n"
                             "    y = x > 0 ? y : sinf(z);\n"
                             "    break;\n"
                             "  default:\n"
                             "    y = !(x < 2) && y > 4;\n"
                             "  }\n"
                             "  return g(y) +\n"
                             "         fmaf(x, y, z) -\n"
                             "         fdimf(x, y) *\n"
                             "         isinf(x) +\n"
                             "         (~n & (int)w);\n"
                             "}\n";
  static const char expected[] = "arith.constant 7:13\narith.constant 12:3\narith.constant 14:7\narith.constant 17:9\n"
                                 "arith.constant 17:5\narith.constant 17:5\narith.constant 16:3\narith.constant 26:21\n"
                                 "arith.constant 31:10\narith.constant 31:10\narith.extf 6:14\narith.mulf 7:13\n"
                                 "arith.extf 9:7\narith.divf 9:7\narith.truncf 9:7\narith.addf 10:3\narith.fptosi 11:11\n"
                                 "arith.addi 12:3\narith.subi 13:3\narith.cmpi 14:7\narith.sitofp 15:9\narith.select 14:3\n"
                                 "arith.cmpf 17:9\nscf.if 17:5\nscf.yield 17:5\nmath.exp 19:9\nscf.yield 17:5\nscf.if 16:3\n"
                                 "scf.yield 16:3\narith.cmpf 17:9\nscf.if 17:5\nscf.yield 17:5\nmath.exp 19:9\n"
                                 "scf.yield 17:5\narith.xori 17:5\nscf.yield 16:3\narith.select 16:3\narith.select 16:3\n"
                                 "arith.cmpi 21:3\nscf.if 21:3\narith.cmpf 23:9\nscf.if 23:9\nscf.yield 23:9\n"
                                 "math.sin 23:21\nscf.yield 23:9\nscf.yield 21:3\narith.cmpf 26:11\narith.xori 26:9\n"
                                 "arith.cmpf 26:21\narith.andi 26:9\narith.uitofp 26:9\nscf.yield 21:3\narith.negf 3:10\n"
                                 "arith.fptosi 3:10\narith.sitofp 28:10\nmath.fma 29:10\narith.addf 28:10\n"
                                 "arith.cmpf 30:10\narith.subf 30:10\narith.select 30:10\nmath.absf 31:10\n"
                                 "arith.cmpf 31:10\narith.cmpf 31:10\narith.select 31:10\narith.select 31:10\n"
                                 "arith.sitofp 31:10\narith.mulf 30:10\narith.subf 28:10\narith.xori 32:11\n"
                                 "arith.fptosi 32:16\narith.andi 32:11\narith.sitofp 32:10\narith.addf 28:10\n"
                                 "func.return 5:7\n";
  import_result result = import_text(text, "f", ONE);
  if (!result.ok) fail_msg("%s", result.messages);
  char *found = NULL;
  size_t size;
  FILE *stream = open_memstream(&found, &size);
  print_places(mlirRegionGetFirstBlock(mlirOperationGetRegion(result.function, 0)), stream);
  fclose(stream);
  assert_string_equal(found, expected);
  free(found);
  result_deinit(&result);
}

/* ---- What is refused ---- */

typedef struct refused {
  const char *text, *message;
} refused;

#define FN(body) "float f(float x) { " body " }"
static const refused refused_functions[] = {
    /* Signatures. */
    {"double f(double x) { return x; }",
     "f.c:1:8: error: 'f' cannot be an activation: expected float (float), found double (double)"},
    {"float f(void) { return 1; }", "f.c:1:7: error: 'f' cannot be an activation: expected float (float), found float (void)"},
    {"float f(float a, float b) { return a; }", "f.c:1:7: error: 'f' cannot be an activation: expected float (float), found"},
    {"float f(float *x) { return *x; }", "expected float (float), found float (float *)"},
    {"float f(float x, ...) { return x; }", "expected float (float), found float (float, ...)"},
    {"float f(int x) { return x; }", "expected float (float), found float (int)"},
    {"long double f(float x) { return x; }", "expected float (float), found long double (float)"},
    {"float f(volatile float x) { return x; }", "f.c:1:24: error: 'x' has the type 'volatile float': volatile is not supported"},
    {"float f(float x);", "f.c:1:7: error: 'f' is only declared: it needs a body"},
    {"float g(float x) { return x; }", "m.spec:7:5: error: there is no function 'f' in f.c; did you mean 'g'?"},
    {"float gelu(float x) { return x; }", "m.spec:7:5: error: there is no function 'f' in f.c\n"},
    /* Names. */
    {"float k = 2;\n" FN("return k * x;"),
     "f.c:2:27: error: 'k' is a global variable: globals are not supported, use an enum or a macro"},
    {"const float k = 2;\n" FN("return k * x;"), "f.c:2:27: error: 'k' is a global variable"},
    {"float k;\n" FN("k = x; return x;"), "f.c:2:20: error: 'k' is a global variable"},
    {FN("extern float k; return k;"), "f.c:1:33: error: 'k' is a global variable"},
    {FN("static int n; n++; return n;"), "f.c:1:31: error: static local variable 'n'"},
    {FN("static const int n; return n;"), "f.c:1:37: error: static local variable 'n'"},
    {FN("float y; return y;"), "f.c:1:36: error: 'y' is read before it is given a value"},
    {FN("float y; if (x > 0) y = 1; return y;"), "f.c:1:54: error: 'y' may be read before it is given a value"},
    {FN("int y; y++; return x;"), "f.c:1:27: error: 'y' is read before it is given a value"},
    /* Types. */
    {FN("float a[2] = {1, 2}; return a[0];"), "f.c:1:26: error: 'a' has the type 'float[2]': arrays are not supported"},
    {FN("int n = 3; float a[n]; return x;"), "f.c:1:37: error: 'a' has the type 'float[n]': arrays of variable length"},
    {FN("float *p = &x; return *p;"), "f.c:1:27: error: 'p' has the type 'float *': pointers are not supported"},
    {FN("return *&x;"), "f.c:1:27: error: pointers are not supported"},
    {FN("*&x = 1; return x;"), "f.c:1:20: error: pointers are not supported"},
    {"struct s { float v; };\n" FN("struct s s = {x}; return s.v;"), "f.c:2:29: error: 's' has the type 'struct s': structures"},
    {"struct s { float v; };\n" FN("return ((struct s){x}).v;"), "f.c:2:43: error: structures and unions are not supported"},
    {FN("return (float){x};"), "f.c:1:27: error: compound literals are not supported"},
    {FN("return \"abc\"[1];"), "f.c:1:27: error: arrays are not supported"},
    {FN("long double y = x; return y;"), "f.c:1:32: error: 'y' has the type 'long double': no type wider than double"},
    {FN("return x * 2.0L;"), "f.c:1:27: error: the expression has the type 'long double'"},
    {FN("float _Complex c = x; return x;"),
     "f.c:1:35: error: 'c' has the type '_Complex float': complex numbers are not supported"},
    {FN("volatile float y = x; return y;"), "f.c:1:35: error: 'y' has the type 'volatile float': volatile is not supported"},
    {FN("_Atomic int y = 1; return x + y;"), "f.c:1:32: error: 'y' has the type '_Atomic(int)': atomic types are not supported"},
    {FN("__int128 y = 1; return x + y;"), "f.c:1:29: error: 'y' has the type '__int128': no integer wider than 64 bits"},
    {FN("_BitInt(7) y = 1; return x + y;"),
     "f.c:1:31: error: 'y' has the type '_BitInt(7)': only void, integers, float and double are supported"},
    {FN("_Float16 y = x; return y;"), "f.c:1:29: error: 'y' has the type '_Float16': floats of 16 bits are not supported"},
    {FN("typedef float v4 __attribute__((vector_size(16))); v4 v = {x}; return v[0];"), "error: 'v' has the type 'v4'"},
    /* Expressions. */
    {FN("return x ?: 2;"), "f.c:1:27: error: this kind of expression is not supported"},
    {FN("return ({ x; });"), "f.c:1:27: error: statements in expressions are not supported"},
    {FN("int n = x; return 7 / n;"), "f.c:1:38: error: an integer division by a value known only at run time"},
    {FN("int n = x; n %= n; return n;"), "f.c:1:31: error: an integer remainder by a value known only at run time"},
    {FN("int n = x, z = 0; return n / z;"), "f.c:1:45: error: division by zero"},
    {FN("int z = 0; return 3 % z;"), "f.c:1:38: error: remainder by zero"},
    {FN("int n = 2147483647; n = n + 1; return n;"), "f.c:1:44: error: the result of the constant '+' does not fit in 'int'"},
    {FN("int n = -2147483647 - 1; return -n;"), "f.c:1:52: error: the result of the constant '-' does not fit in 'int'"},
    {FN("int n = 40; return 1 << n;"), "f.c:1:39: error: a shift of 'int' by 40: the amount must be from 0 to 31"},
    {FN("float big = 1e20f; int n = big; return n;"), "f.c:1:47: error: the value 1e+20 does not fit in 'int'"},
    {"static float a[2];\n" FN("a[0] = x; return x;"), "f.c:2:20: error: arrays are not supported"},
    {"static struct { float v; } s;\n" FN("s.v = x; return x;"), "f.c:2:22: error: structures and unions are not supported"},
    {"static struct { float v; } s;\n" FN("return s.v;"), "f.c:2:29: error: structures and unions are not supported"},
    {FN("float y = x; __real__ y = 1; return y;"), "f.c:1:33: error: only local variables can be assigned to"},
    {FN("return __real__ x;"), "f.c:1:27: error: complex numbers are not supported"},
    {FN("return x + (float)1.0fi;"), "f.c:1:38: error: complex numbers are not supported"},
    {FN("return (long)&&l; l: return x;"), "f.c:1:33: error: addresses of labels are not supported"},
    {FN("return __builtin_choose_expr(1, x, 2);"), "f.c:1:27: error: this kind of expression is not supported"},
    {FN("return *\"abc\" + x;"), "f.c:1:27: error: pointers are not supported"},
    {FN("int n = x; return n << 32;"), "f.c:1:38: error: a shift of 'int' by 32: the amount must be from 0 to 31"},
    {FN("long n = x; return n >> 64;"), "f.c:1:39: error: a shift of 'long' by 64: the amount must be from 0 to 63"},
    {FN("unsigned n = x; return n >> -1;"), "f.c:1:43: error: a shift of 'unsigned int' by -1: the amount must be from 0 to 31"},
    {FN("int n = -2147483647 - 1; return n / -1;"), "f.c:1:52: error: the result of the constant '/' does not fit in 'int'"},
    {FN("int n = -2147483647 - 1; return n * 2;"), "f.c:1:52: error: the result of the constant '*' does not fit in 'int'"},
    {FN("long n = 9223372036854775807; return n + 1;"), "f.c:1:57: error: the result of the constant '+' does not fit in 'long'"},
    {FN("long n = 9223372036854775807; return n * 2;"), "f.c:1:57: error: the result of the constant '*' does not fit in 'long'"},
    {FN("long n = -9223372036854775807; return n - 2;"), "f.c:1:58: error: the result of the constant '-' does not fit in 'long'"},
    /* Statements. */
    {FN("int n = 3; typedef float v[n]; return x;"), "f.c:1:45: error: arrays of variable length are not supported"},
    {"#pragma clang diagnostic ignored \"-Wreturn-mismatch\"\n" FN("if (x > 0) return; return x;"),
     "f.c:2:31: error: expected a value to return"},
    {FN("switch ((int)x) { case 1 ... 2: return 1; } return x;"), "f.c:1:38: error: ranges of cases are not supported"},
    {FN("do { if (x > 1) x = 2; } while (x > 1); return x;"), "f.c:1:52: error: the loop's condition depends on the argument 'x'"},
    {FN("for (float y = x; y > 1; y--) ; return x;"), "f.c:1:38: error: the loop's condition depends on the argument 'x'"},
    {FN("_Thread_local static float y; return y;"), "f.c:1:47: error: static local variable 'y': a function that keeps something"},
    {FN("asm(\"\" : \"+r\"(x)); return x;"), "f.c:1:20: error: inline assembly is not supported"},
    {FN("while (x > 1) x /= 2; return x;"), "f.c:1:27: error: the loop's condition depends on the argument 'x'"},
    {FN("for (int i = 0; i < x; i++) ; return x;"), "f.c:1:36: error: the loop's condition depends on the argument 'x'"},
    {FN("int n = 0; if (x > 0) n = 3; while (n--) ; return x;"),
     "f.c:1:56: error: the loop's condition depends on the argument 'x'"},
    {FN("for (;;) ; return x;"), "f.c:1:20: error: the loops of the function run more than 4096 times"},
    {FN("for (int i = 0; i < 5000; i++) x += 1; return x;"), "f.c:1:20: error: the loops of the function run more than 4096 times"},
    {FN("for (int i = 0; i < 4000; i++) x += x * x + x * x * x + x; return x;"),
     "error: the function needs more than 20000 operations"},
    {FN("again: x += 1; goto again;"), "f.c:1:20: error: labels are not supported"},
    {FN("if (x > 1) goto end; x = 1; end: return x;"), "f.c:1:31: error: goto is not supported"},
    {FN("__asm__(\"nop\"); return x;"), "f.c:1:20: error: inline assembly is not supported"},
    {FN("switch (2) { case 1 ... 3: return x; } return 1;"), "f.c:1:33: error: ranges of cases are not supported"},
    {FN("switch (2) { case 1: if (x > 1) { case 2: x = 1; } } return x;"), "f.c:1:54: error: a case inside another statement"},
    {FN("if (x > 1) return x;"), "error: 'f' may end without returning a value"},
    {FN("switch ((int)x) { float y = 2; case 0: return y; } return 1;"), "f.c:1:66: error: 'y' is read before"},
    /* Calls. */
    {"float g(float x);\n" FN("return g(x);"), "f.c:2:27: error: 'g' has no body in this file"},
    {"#include <stdio.h>\n" FN("printf(\"%f\", x); return x;"), "f.c:2:20: error: 'printf' is not supported"},
    {"#include <math.h>\n" FN("return tgammaf(x);"), "f.c:2:27: error: 'tgammaf' is not supported"},
    {"#include <math.h>\n" FN("return ldexpf(1, x);"), "f.c:2:27: error: 'ldexp' is supported with a constant exponent"},
    {"#include <math.h>\n" FN("int e; return frexpf(x, &e);"), "f.c:2:34: error: 'frexpf' is not supported"},
    {FN("return __builtin_popcount(3) + x;"), "f.c:1:27: error: '__builtin_popcount' is not supported"},
    {FN("float (*p)(float) = f; return p(x);"), "f.c:1:28: error: 'p' has the type 'float (*)(float)': pointers"},
    {"float (*p)(float);\n" FN("return p(x);"), "f.c:2:27: error: calls through pointers are not supported"},
    {FN("return x > 0 ? f(x - 1) : 0;"), "f.c:1:35: error: 'f' calls itself: recursion is not supported"},
    {"float f(float);\nstatic float g(float x) { return f(x); }\n" FN("return g(x);"),
     "f.c:2:34: error: 'f' is called by a function that it calls: recursion is not supported"},
    {"static float a(float v) { return v; }\nstatic float b(float v) { return -v; }\n" FN(
         "return _Generic(x, float: a, double: b)(x);"),
     "f.c:3:27: error: this _Generic has several expressions of one type"},
    {"static float g() { return 1; }\n" FN("return g(x);"), "f.c:2:27: error: 'g' takes a variable number of arguments"},
    {"static float g(float a, float b, float c, float d, float e, float f, float g, float h, float i, float j, float k, float l, "
     "float m, float n, float o, float p, float q) { return q; }\n" FN(
         "return g(x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x);"),
     "f.c:2:27: error: 'g' is called with more than 16 arguments"},
    {"#include <math.h>\n" FN("return ldexpf(x, 127);"),
     "f.c:2:27: error: 'ldexp' is supported with a constant exponent from -126 to 126"},
    {"#include <math.h>\n" FN("return ldexpf(x, -127);"),
     "f.c:2:27: error: 'ldexp' is supported with a constant exponent from -126 to 126"},
    {"#include <math.h>\n" FN("return ldexp(x, 1023);"),
     "f.c:2:27: error: 'ldexp' is supported with a constant exponent from -1022 to 1022"},
    {"#include <math.h>\n" FN("return ldexp(x, -1023);"),
     "f.c:2:27: error: 'ldexp' is supported with a constant exponent from -1022 to 1022"},
    {"#include <math.h>\n" FN("return lroundf(1e20f);"), "f.c:2:27: error: the value 1e+20 does not fit in 'long'"},
    {"#include <stdlib.h>\n" FN("int n = -2147483647 - 1; return abs(n);"),
     "f.c:2:52: error: the result of the constant '-' does not fit in 'int'"},
    {"static float g(float x, ...) { return x; }\n" FN("return g(x, 1);"),
     "f.c:2:27: error: 'g' takes a variable number of arguments"},
    {"static float g(float *p) { return *p; }\n" FN("return g(&x);"), "error: pointers are not supported: this takes an address"},
    {"static float g(float a[2]) { return a[0]; }\n" FN("return g(0);"),
     "f.c:2:29: error: the expression has the type 'float[2]': arrays"},
    {"static float g(float x) { return x / (int)sizeof(int[(int)x]); }\n" FN("return g(x);"), "error: this kind of expression"},
    {"#define LOOP for (int i = 0; i < 3;)\n" FN("LOOP i++; return x;"),
     "f.c:2:20: error: a 'for' from a macro needs all of its three parts"},
    /* What clang refuses. */
    {FN("return y;"), "f.c:1:27: error: use of undeclared identifier 'y'"},
    {FN("return sinf(x);"), "f.c:1:27: error: call to undeclared library function 'sinf'"},
    {"float f(float x) { return x", "f.c:1:28: error: expected"},
    {"#include \"none.h\"\n" FN("return x;"), "f.c:1:10: error: 'none.h' file not found"},
    {"", "m.spec:7:5: error: there is no function 'f' in f.c"},
    {"\x01\xff\xfe{", "error"},
};

static void test_refused(void **state) {
  (void)state;
  unsigned failures = 0;
  for (size_t i = 0; i < sizeof refused_functions / sizeof *refused_functions; i++) {
    const refused *row = &refused_functions[i];
    import_result result = import_text(row->text, "f", ONE);
    /* Who asked is where the error is, or in a note behind it. */
    bool ok = !result.ok && result.errors >= 1 && strstr(result.messages, row->message) && strstr(result.messages, "m.spec:7:5: ");
    if (!ok) print_error("%s\nexpected %s\nfound %s\n", row->text, row->message, result.ok ? result.ir : result.messages);
    failures += !ok;
    result_deinit(&result);
  }
  assert_int_equal(failures, 0);
}

/* What nests without end is refused, by clang or by us. */
static void test_nesting(void **state) {
  (void)state;
  static const struct {
    const char *before, *piece, *after, *message;
  } rows[] = {
      {"float f(float x) { return x", " + x", "; }", "nested deeper than 256 levels"},
      {"float f(float x) { return ", "- ", "x; }", "nested deeper than 256 levels"},
      {"float f(float x) { ", "if (x > 0) ", "return x; return x; }", "nested deeper than 256 levels"},
      {"float f(float x) { ", "if (x > 0) return 1; x += 1; ", "return x; }", "nested deeper than 256 levels"},
      {"float f(float x) { ", "if (x > 0) x = 1; else ", "x = 2; return x; }", "nested deeper than 256 levels"},
      {"float f(float x) { ", "x = ", "2; return x; }", "nested deeper than 256 levels"},
      {"float f(float x) { switch ((int)x) { case -1: ", "case __COUNTER__: x++; ", "} return x; }",
       "needs more than 20000 operations"},
      {"float f(float x) { return ", "(", "x; }", "error: expected ')'"},
      {"float f(float x) { ", "{", "return x; }", "error: expected '}'"},
  };
  static const size_t counts[] = {400, 30000};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
      char *text = repeated(rows[i].before, rows[i].piece, counts[k], rows[i].after, NULL);
      import_result result = import_text(text, "f", ONE);
      assert_false(result.ok);
      if (k == 0) expect(result.messages, rows[i].message, rows[i].piece);
      else expect(result.messages, "error", rows[i].piece);
      result_deinit(&result);
      free(text);
    }
}

/* A constant of each integer type at the ends of what it holds: cut towards zero, and one that does not fit. */
static void test_ranges(void **state) {
  (void)state;
  static const struct {
    const char *type, *least, *below, *most, *above; /* least and most: with a fraction, where doubles have one */
    double of_least, of_most;
  } rows[] = {
      {"signed char", "-128.9", "-129.0", "127.9", "128.0", -128, 127},
      {"unsigned char", "-0.9", "-1.0", "255.9", "256.0", 0, 255},
      {"short", "-32768.9", "-32769.0", "32767.9", "32768.0", -32768, 32767},
      {"unsigned short", "-0.9", "-1.0", "65535.9", "65536.0", 0, 65535},
      {"int", "-2147483648.9", "-2147483649.0", "2147483647.9", "2147483648.0", -2147483648.0, 2147483647},
      {"unsigned int", "-0.9", "-1.0", "4294967295.9", "4294967296.0", 0, 4294967295.0},
      {"long", "-9223372036854775808.0", "-9223372036854777856.0", "9223372036854774784.0", "9223372036854775808.0",
       -9223372036854775808.0, 9223372036854774784.0},
      {"unsigned long", "-0.9", "-1.0", "18446744073709549568.0", "18446744073709551616.0", 0, 18446744073709549568.0},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const char *const values[] = {rows[i].least, rows[i].most, rows[i].below, rows[i].above};
    for (size_t v = 0; v < 4; v++) {
      char text[256], message[256];
      snprintf(text, sizeof text, "float f(float x) { double y = %s; %s n = y; return (float)(n - (double)%.1f); }", values[v],
               rows[i].type, v == 0 ? rows[i].of_least : rows[i].of_most);
      import_result result = import_text(text, "f", ONE);
      if (result.ok != (v < 2)) fail_msg("%s\n%s", text, result.messages);
      if (result.ok) {
        if (test_call(result.function, 1, 0) != 0) fail_msg("%s\n%s", text, result.ir);
      } else {
        snprintf(message, sizeof message, "does not fit in '%s'\n", rows[i].type);
        expect(result.messages, message, text);
      }
      result_deinit(&result);
    }
  }
}

/* As much as a function may have, and one more, which is refused. */
static void test_limits(void **state) {
  (void)state;
  static const struct {
    const char *format; /* of the number, and of a text that is repeated so often, and of its end */
    const char *piece, *end;
    size_t most;
    const char *message;
  } rows[] = {
      {"float f(float x) { for (int i = 0; i < %zu; i++) x = 1; return x; }%s%s", "", "", 4096,
       "f.c:1:20: error: the loops of the function run more than 4096 times\n"},
      {"float f(float x) { for (int k = 0; k < 96; k++) x = 1; for (int i = 0; i < %zu; i++) x = 1; return x; }%s%s", "", "", 4000,
       "f.c:1:56: error: the loops of the function run more than 4096 times\n"},
      {"#include <math.h>\nfloat f(float x) { for (int i = 0; i < %zu; i++) x = sinf(x); return x; }%s%s", "", "", 256,
       "f.c:2:54: error: the function calls functions of math.h more than 256 times\n"},
      {"float f(float x) { for (int i = 0; i < 3999; i++) x = x * x + x * x + x * x; for (int i = 0; i < %zu; i++) x += x; return "
       "x; }%s%s",
       "", "", 5, "error: the function needs more than 20000 operations\n"},
      {"float f(float x) { return /* %zu */ %sx%s; }", "- ", "", 251, "nested deeper than 256 levels\n"},
      {"float f(float x) { /* %zu */ %sreturn x;%s }", "{", "}", 125, "nested deeper than 256 levels\n"},
      /* How far a condition is followed to the argument that is named. */
      {"float f(float x) { for (int i = 0; i < %zu; i++) x = 2 - x; while (x > 1) x = 1; return x; }%s%s", "", "", 99,
       "at run time:"},
  };
  unsigned failures = 0;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    for (size_t count = rows[i].most; count <= rows[i].most + 1; count++) {
      char *pieces = repeated("", rows[i].piece, count, "", NULL), *ends = repeated("", rows[i].end, count, "", NULL), *text = NULL;
      assert_true(asprintf(&text, rows[i].format, count, pieces, ends) > 0);
      import_result result = import_text(text, "f", ONE);
      bool said = strstr(result.messages, rows[i].message) != NULL;
      if (said != (count > rows[i].most))
        print_error("row %zu, %zu: %.2000s\n", i, count, result.ok ? "accepted" : result.messages);
      failures += said != (count > rows[i].most);
      result_deinit(&result);
      free(pieces);
      free(ends);
      free(text);
    }
  assert_int_equal(failures, 0);
}

/* Two calls a function make 2^40 calls. */
static void test_call_count(void **state) {
  (void)state;
  size_t size;
  char *text = NULL;
  FILE *stream = open_memstream(&text, &size);
  fputs("static int g0(int n) { return n; }\n", stream);
  for (int i = 1; i < 20; i++) fprintf(stream, "static int g%d(int n) { return g%d(n) - g%d(n); }\n", i, i - 1, i - 1);
  fputs("float f(float x) { return g19(1) + x; }\n", stream);
  fclose(stream);
  import_result result = import_text(text, "f", ONE);
  assert_false(result.ok);
  expect(result.messages, "the function takes more than 500000 steps to read", "");
  result_deinit(&result);
  free(text);
}

/* libclang does not say which association was taken: the result's type tells, where it can. */
static void test_generic(void **state) {
  (void)state;
  import_result result = import_text("float f(float x) {\n  return x * _Generic(x, float: 1.5f, double: 2.5f);\n}\n", "f", ONE);
  assert_false(result.ok);
  assert_int_equal(result.errors, 1);
  expect(result.messages, "f.c:2:14: error: this _Generic has several expressions of one type, which is not supported", "");
  result_deinit(&result);
}

/* ---- Messages ---- */

static void test_calls_are_noted(void **state) {
  (void)state;
  import_result result = import_text("static float h(float v) { int n = v; return 1 / n; }\n"
                                     "static float g(float v) { return h(v) + 1; }\n"
                                     "float f(float x) { return 2 * g(x); }\n",
                                     "f", ONE);
  assert_false(result.ok);
  assert_int_equal(result.errors, 1);
  expect(result.messages,
         "f.c:1:45: error: an integer division by a value known only at run time is not supported: it could trap\n", "");
  expect(result.messages, "f.c:2:34: note: 'h' is called here\n", "");
  expect(result.messages, "f.c:3:31: note: 'g' is called here\n", "");
  expect(result.messages, "m.spec:7:5: note: needed here\n", "");
  result_deinit(&result);
}

static void test_clang_messages(void **state) {
  (void)state;
  /* A warning does not refuse; the notes of a message follow it. */
  import_result result = import_text("float f(float x) {\n  if (x = 1) return x;\n  return 2;\n}\n", "f", ONE);
  assert_true(result.ok);
  assert_int_equal(result.errors, 0);
  expect(result.messages, "f.c:2:9: warning: using the result of an assignment as a condition without parentheses\n  if (x = 1)",
         "");
  expect(result.messages, "f.c:2:9: note: place parentheses around the assignment", "");
  expect(result.messages, "f.c:2:9: note: use '==' to turn this assignment into an equality comparison", "");
  result_deinit(&result);
  /* An error's only note. */
  result = import_text("static float g(float v);\nfloat g(float v) { return v; }\nfloat f(float x) { return g(x); }\n"
                       "static int g(int v);\n",
                       "f", ONE);
  assert_false(result.ok);
  expect(result.messages, "f.c:4:12: error: conflicting types for 'g'\n", "");
  expect(result.messages, "f.c:2:7: note: previous definition is here\n", "");
  result_deinit(&result);
  result = import_text("float f(float x) {\n  return a + b;\n}\n", "f", ONE);
  assert_false(result.ok);
  assert_int_equal(result.errors, 2);
  result_deinit(&result);
}

static void test_files(void **state) {
  (void)state;
  import_result result = import("none.c", "f", ONE);
  assert_false(result.ok);
  expect(result.messages, "m.spec:7:5: error: cannot read the C file none.c: No such file or directory", "");
  result_deinit(&result);
  result = import(".", "f", ONE);
  assert_false(result.ok);
  expect(result.messages, "m.spec:7:5: error: cannot read the C file .: it is a directory", "");
  result_deinit(&result);
  /* Names with spaces and dashes; includes and defines. */
  assert_true(mkdir("in cludes", 0700) == 0);
  file_write("in cludes/k h.h", "static inline float k(float x) { return K * x + L; }\n");
  file_write("-a b.c", "#include \"k h.h\"\nfloat f(float x) { return k(x); }\n");
  const char *includes[] = {"none", "in cludes"}, *defines[] = {"K=2.5f", "L"};
  const hmoec_c_flags flags = {includes, 2, defines, 2};
  result = import_in(context, "-a b.c", "f", &flags, ONE | TWO);
  if (!result.ok) fail_msg("%s", result.messages);
  assert_true(test_call(result.function, 2, 0) == 6);
  result_deinit(&result);
  unlink("in cludes/k h.h");
  unlink("-a b.c");
  rmdir("in cludes");
}

/* ---- Threads ---- */

static void *import_some(void *user) {
  MlirContext own = hmoec_context_create();
  size_t *accepted_count = user;
  for (size_t i = 0; i < 4; i++) {
    import_result result = import_in(own, functions_path, accepted_functions[i].name, NULL, ONE);
    *accepted_count += result.ok;
    result_deinit(&result);
  }
  hmoec_context_destroy(own);
  return NULL;
}

static void test_threads(void **state) {
  (void)state;
  pthread_t threads[3];
  size_t counts[3] = {0};
  for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&threads[i], NULL, import_some, &counts[i]), 0);
  for (int i = 0; i < 3; i++) {
    pthread_join(threads[i], NULL);
    assert_int_equal(counts[i], 4);
  }
}

static int setup(void **state) {
  (void)state;
  context = hmoec_context_create();
  start_folder = getcwd(NULL, 0);
  return mkdtemp(folder) && chdir(folder) == 0 && context.ptr ? 0 : -1;
}

static int teardown(void **state) {
  (void)state;
  hmoec_context_destroy(context);
  unlink("f.c");
  int failed = chdir(start_folder) | rmdir(folder);
  free((void *)(uintptr_t)start_folder);
  return failed;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_accepted),   cmocka_unit_test(test_printed),        cmocka_unit_test(test_places),
      cmocka_unit_test(test_all_places), cmocka_unit_test(test_refused),        THROUGH_PROCESS(test_nesting),
      cmocka_unit_test(test_call_count), cmocka_unit_test(test_ranges),         cmocka_unit_test(test_limits),
      cmocka_unit_test(test_generic),    THROUGH_PROCESS(test_calls_are_noted), THROUGH_PROCESS(test_clang_messages),
      THROUGH_PROCESS(test_files),       THROUGH_PROCESS(test_threads),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
