/* Reading scalar functions: their limits, at each what is just taken and what is just refused, and what of an op is kept. */
#include "module_fixture.h"

#include <stdio.h>

#include "ir/scalar.h"

/* A function whose body is `count` times a piece, of a name of so many characters. */
static char *function_text(size_t name_length, const char *piece, const char *closing, size_t count) {
  size_t size;
  char *text = NULL;
  FILE *stream = open_memstream(&text, &size);
  assert_non_null(stream);
  fputs("func.func private @f", stream);
  for (size_t i = 1; i < name_length; i++) fputc('g', stream);
  fputs("(%x: f32) -> f32 {\n%c = arith.constant true\n", stream);
  for (size_t i = 0; i < count; i++) fputs(piece, stream);
  for (size_t i = 0; i < count; i++) fputs(closing, stream);
  fputs("return %x : f32\n}\n", stream);
  fclose(stream);
  return text;
}

/* The first message about a module of such functions, or "". */
static const char *message_of(module_fixture *f, const char *text) {
  static char message[512];
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  MlirModule module = hmoec_module_parse(f->context, "scalar.mlir", text, strlen(text));
  assert_false(mlirModuleIsNull(module));
  hmoec_scalar_library library;
  bool ok = hmoec_scalar_library_init(module, diagnostics, &library);
  snprintf(message, sizeof message, "%s", hmoec_diagnostics_first(diagnostics));
  assert_int_equal(ok, *message == '\0');
  hmoec_scalar_library_deinit(&library);
  hmoec_diagnostics_destroy(diagnostics);
  mlirModuleDestroy(module);
  return message;
}

static void test_limits(void **state) {
  (void)state;
  module_fixture f;
  fixture_init(&f, NULL);
  static const char open_if[] = "scf.if %c {\n", close_if[] = "scf.yield } else { scf.yield }\n",
                    add[] = "arith.addf %x, %x : f32\n";
  const struct {
    const char *piece, *closing;
    size_t count;
    const char *message;
  } cases[] = {
      {add, "", HMOEC_SCALAR_MAX_OPS - 2, ""}, /* the constant and the return are ops, too */
      {add, "", HMOEC_SCALAR_MAX_OPS - 1, "function @f has more than 24000 ops"},
      {open_if, close_if, HMOEC_SCALAR_MAX_DEPTH, ""},
      {open_if, close_if, HMOEC_SCALAR_MAX_DEPTH + 1, "function @f: conditions nest more than 200 deep"},
      {"scf.if %c { scf.yield }\n", "", 1, "function @f: an scf.if without two arms has no effect here"},
      {"%t = arith.constant dense<1.0> : tensor<2xf32>\n", "", 1,
       "function @f: expected values of f32, f64, i1, i8, i16, i32 or i64"},
      {"%i = arith.constant 3 : i24\n", "", 1, "function @f: expected values of f32, f64, i1, i8, i16, i32 or i64"},
      {"%n = arith.constant 7 : i32\n%d = arith.divsi %n, %n : i32\n", "", 1, ""},
      {"%n = arith.constant 0 : i32\n%d = arith.divsi %n, %n : i32\n", "", 1,
       "function @f: expected arith.divsi by a constant that is not 0"},
      {"%i = arith.fptosi %x : f32 to i32\n%d = arith.remui %i, %i : i32\n", "", 1,
       "function @f: expected arith.remui by a constant that is not 0"},
      {"%i = arith.fptosi %x : f32 to i32\n%n = arith.constant 2 : i32\n%d = arith.remsi %i, %n : i32\n%u = arith.divui %i, %n : "
       "i32\n",
       "", 1, ""},
      {"%n = arith.constant 2 : i32\n%i = arith.fptosi %x : f32 to i32\n%d = arith.divui %n, %i : i32\n", "", 1,
       "function @f: expected arith.divui by a constant that is not 0"},
      {"%h = arith.truncf %x : f32 to f16\n", "", 1, "function @f: expected values of f32, f64, i1, i8, i16, i32 or i64"},
      {"%d = arith.extf %x : f32 to f64\n%s = arith.truncf %d to_nearest_even : f64 to f32\n", "", 1, ""},
      {"%d = arith.extf %x : f32 to f64\n%s = arith.truncf %d downward : f64 to f32\n", "", 1,
       "function @f: expected arith.truncf to round to nearest even"},
      {"%q = math.sqrt %x : f32\n%a = math.absf %q : f32\n", "", 1, ""},
      {"%q = math.erf %x : f32\n%s = arith.shli %c, %c : i1\n%z = math.ctlz %c : i1\n", "", 1,
       "function @f: math.ctlz is not an op of scalar functions"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char *text = function_text(1, cases[i].piece, cases[i].closing, cases[i].count);
    const char *found = message_of(&f, text);
    if (strcmp(found, cases[i].message) != 0) fail_msg("case %zu: expected '%s', found '%s'", i, cases[i].message, found);
    free(text);
  }
  /* The verifier's: names. */
  for (size_t length = HMOEC_SCALAR_MAX_NAME; length <= HMOEC_SCALAR_MAX_NAME + 1; length++) {
    char *text = function_text(length, "", "", 0);
    hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
    MlirModule module = hmoec_module_parse(f.context, "scalar.mlir", text, strlen(text));
    assert_false(hmoec_verify(module, diagnostics));
    assert_string_equal(hmoec_diagnostics_first(diagnostics), length > HMOEC_SCALAR_MAX_NAME
                                                                  ? "the function's name is longer than 60 characters"
                                                                  : "the model has no function");
    hmoec_diagnostics_destroy(diagnostics);
    mlirModuleDestroy(module);
    free(text);
  }
  fixture_deinit(&f);
}

static void test_program(void **state) {
  (void)state;
  static const char text[] = "func.func private @g(%x: f32, %y: f32) -> f32 {\n"
                             "%k = arith.constant -3 : i32\n%t = arith.constant true\n%h = arith.constant 1.5 : f64\n"
                             "%c = arith.cmpf olt, %x, %y : f32\n"
                             "%r:2 = scf.if %c -> (f32, i32) {\n%a = arith.addf %x, %y : f32\nscf.yield %a, %k : f32, i32\n} else "
                             "{\nscf.yield %y, %k : f32, i32\n}\n"
                             "%i = arith.cmpi slt, %r#1, %k : i32\n"
                             "%s = arith.select %i, %r#0, %x : f32\nreturn %s : f32\n}\n"
                             "func.func private @h(%x: f32) -> f32 { return %x : f32 }\n";
  module_fixture f;
  fixture_init(&f, NULL);
  MlirModule module = hmoec_module_parse(f.context, "scalar.mlir", text, strlen(text));
  hmoec_scalar_library library, again;
  assert_true(hmoec_scalar_library_init(module, f.diagnostics, &library));
  assert_int_equal(library.count, 2);
  const hmoec_scalar_program *p = &library.programs[0];
  assert_string_equal(p->name, "@g");
  assert_int_equal(p->argument_count, 2);
  static const struct {
    hmoec_scalar_code code;
    uint32_t type, results, result_count, operand_count, next;
  } ops[] = {
      {HMOEC_SCALAR_CONSTANT, HMOEC_SCALAR_I32, 2, 1, 0, 1}, {HMOEC_SCALAR_CONSTANT, HMOEC_SCALAR_I1, 3, 1, 0, 2},
      {HMOEC_SCALAR_CONSTANT, HMOEC_SCALAR_F64, 4, 1, 0, 3}, {HMOEC_SCALAR_CMPF, HMOEC_SCALAR_F32, 5, 1, 2, 4},
      {HMOEC_SCALAR_IF, HMOEC_SCALAR_F32, 6, 2, 1, 8},
  };
  for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
    const hmoec_scalar_op *op = &p->ops[i];
    assert_int_equal(op->code, ops[i].code);
    assert_int_equal(op->type, ops[i].type);
    assert_int_equal(op->results, ops[i].results);
    assert_int_equal(op->result_count, ops[i].result_count);
    assert_int_equal(op->operand_count, ops[i].operand_count);
    assert_int_equal(op->next, ops[i].next);
  }
  assert_int_equal((int64_t)p->ops[0].bits, -3);
  assert_int_equal(p->ops[1].bits, 1); /* true is -1 where it is read as an integer */
  double half;
  memcpy(&half, &p->ops[2].bits, sizeof half);
  assert_true(half == 1.5);
  assert_int_equal(p->ops[3].predicate, 4); /* olt */
  assert_int_equal(p->ops[4].else_begin, 7);
  assert_int_equal(p->ops[5].code, HMOEC_SCALAR_ADDF);
  assert_int_equal(p->ops[8].code, HMOEC_SCALAR_CMPI);
  assert_int_equal(p->ops[8].type, HMOEC_SCALAR_I32);
  assert_int_equal(p->ops[8].predicate, 2); /* slt */
  assert_int_equal(p->operands[p->ops[8].operands], 7);
  assert_int_equal(p->operands[p->ops[8].operands + 1], 2);
  /* Found by name, whole; the hash is of all of it. */
  assert_ptr_equal(hmoec_scalar_library_find(&library, "@g...", 2), p);
  assert_ptr_equal(hmoec_scalar_library_find(&library, "@h", 2), &library.programs[1]);
  assert_null(hmoec_scalar_library_find(&library, "@", 1));
  assert_null(hmoec_scalar_library_find(&library, "@gg", 3));
  uint64_t hash = hmoec_scalar_library_hash(&library, 5);
  assert_true(hmoec_scalar_library_init(module, f.diagnostics, &again));
  assert_true(hmoec_scalar_library_hash(&again, 5) == hash && hmoec_scalar_library_hash(&again, 6) != hash);
  again.programs[0].ops[0].bits ^= 1;
  assert_true(hmoec_scalar_library_hash(&again, 5) != hash);
  again.programs[0].ops[0].bits ^= 1;
  again.programs[0].operands[0] ^= 1;
  assert_true(hmoec_scalar_library_hash(&again, 5) != hash);
  again.programs[0].operands[0] ^= 1;
  again.programs[1].types[0] ^= 1;
  assert_true(hmoec_scalar_library_hash(&again, 5) != hash);
  again.programs[1].types[0] ^= 1;
  assert_true(hmoec_scalar_library_hash(&again, 5) == hash);
  again.programs[0].types[again.programs[0].value_count - 1] ^= 1;
  assert_true(hmoec_scalar_library_hash(&again, 5) != hash);
  hmoec_scalar_library_deinit(&again);
  hmoec_scalar_library_deinit(&library);
  mlirModuleDestroy(module);
  fixture_deinit(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_limits), cmocka_unit_test(test_program)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
