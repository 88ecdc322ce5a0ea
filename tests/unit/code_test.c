/* The layer that kernels are written in: what cannot be built is remembered and leaves a value of the right type; operations that change no result, and so
 * no other test, are what they are called. */
#include "module_fixture.h"

#include <stdio.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "target/code/ir.h"
#include "target/code/lower.h"
#include "target/target.h"

enum { LANES = 8 };

typedef struct bench {
  module_fixture fixture;
  ir_builder ir;
  MlirModule module;
  MlirValue pointer, number;
} bench;

static void bench_init(bench *b, bool fma, const ir_bf16 *bf16) {
  fixture_init(&b->fixture, NULL);
  hmoec_context_add_upstream(b->fixture.context);
  mlirContextGetOrLoadDialect(b->fixture.context, mlirStringRefCreateFromCString("llvm"));
  mlirContextLoadAllAvailableDialects(b->fixture.context);
  ir_init(&b->ir, b->fixture.context, LANES, fma, bf16);
  b->module = mlirModuleCreateEmpty(b->ir.location);
  MlirValue arguments[2];
  ir_function_begin(&b->ir, mlirModuleGetBody(b->module), "f", 2, (MlirType[]){b->ir.ptr, b->ir.i64}, mlirAttributeGetNull(),
                    arguments);
  b->pointer = arguments[0];
  b->number = arguments[1];
}

static void bench_deinit(bench *b) {
  mlirModuleDestroy(b->module);
  fixture_deinit(&b->fixture);
}

static void append(MlirStringRef piece, void *stream) { fwrite(piece.data, 1, piece.length, stream); }

/* The last op of the block, without its results' numbers. */
static const char *last_op(const bench *b) {
  static char text[4096];
  FILE *stream = fmemopen(text, sizeof text, "w");
  MlirOperation op = mlirBlockGetFirstOperation(b->ir.block), next;
  while (next = mlirOperationGetNextInBlock(op), !mlirOperationIsNull(next)) op = next;
  MlirOpPrintingFlags flags = mlirOpPrintingFlagsCreate();
  mlirOpPrintingFlagsPrintGenericOpForm(flags);
  mlirOperationPrintWithFlags(op, flags, append, stream);
  mlirOpPrintingFlagsDestroy(flags);
  fclose(stream);
  const char *name = strchr(text, '"');
  return name ? name : text;
}

static void expect_last(const bench *b, const char *piece) {
  const char *text = last_op(b);
  if (!strstr(text, piece)) fail_msg("expected '%s' in %s", piece, text);
}

static void test_failures(void **state) {
  (void)state;
  bench b;
  for (int i = 0; i < 6; i++) {
    bench_init(&b, true, NULL);
    MlirValue v = ir_vector_f32(&b.ir, 1), many[IR_LOOP_ARGS + 1], result = v;
    for (int k = 0; k <= IR_LOOP_ARGS; k++) many[k] = v;
    ir_loop loop;
    assert_false(b.ir.failed);
    switch (i) {
    case 0: result = ir_call_library(&b.ir, "", 0, many); break;
    case 1: result = ir_call_library(&b.ir, "a_function_of_thirty_characters_", 1, &v); break;
    case 2: result = ir_call_library(&b.ir, "fma", 0, many); break;
    case 3: result = ir_call_library(&b.ir, "fma", 4, many); break;
    case 4: ir_reduce(&b.ir, "no_such_kind", v); break;
    default: ir_for_begin(&b.ir, &loop, b.number, b.number, 1, IR_LOOP_ARGS + 1, many); assert_int_equal(loop.count, IR_LOOP_ARGS);
    }
    if (!b.ir.failed) fail_msg("case %d", i);
    assert_true(mlirTypeEqual(mlirValueGetType(result), b.ir.vf32));
    bench_deinit(&b);
  }
  /* What just can be built. */
  bench_init(&b, true, NULL);
  MlirValue v = ir_vector_f32(&b.ir, 1), many[IR_LOOP_ARGS];
  for (int k = 0; k < IR_LOOP_ARGS; k++) many[k] = v;
  ir_call_library(&b.ir, "a_function_of_thirty_character", 1, &v);
  ir_call_library(&b.ir, "fma", 3, many);
  ir_reduce(&b.ir, "add", v);
  ir_loop loop;
  ir_for_begin(&b.ir, &loop, b.number, b.number, 1, IR_LOOP_ARGS, many);
  assert_int_equal(loop.count, IR_LOOP_ARGS);
  assert_false(b.ir.failed);
  bench_deinit(&b);
}

static void test_memory(void **state) {
  (void)state;
  bench b;
  bench_init(&b, true, NULL);
  for (int level = 1; level <= 2; level++) {
    char hint[64];
    ir_prefetch(&b.ir, b.pointer, level);
    snprintf(hint, sizeof hint, "cache = 1 : i32, hint = %d : i32, rw = 0 : i32", 4 - level);
    expect_last(&b, "\"llvm.intr.prefetch\"");
    expect_last(&b, hint);
  }
  for (int64_t align = 1; align <= 64; align *= 4) {
    char text[64];
    snprintf(text, sizeof text, "alignment = %d : i64", (int)align);
    MlirValue v = ir_load(&b.ir, b.ir.vf32, b.pointer, align);
    expect_last(&b, "\"llvm.load\"");
    expect_last(&b, text);
    ir_store(&b.ir, v, b.pointer, align);
    expect_last(&b, "\"llvm.store\"");
    expect_last(&b, text);
  }
  const struct {
    MlirType type;
    const char *alignment;
  } masked[] = {{b.ir.vf32, "alignment = 4 : i32"},
                {b.ir.vi16, "alignment = 2 : i32"},
                {b.ir.vi32, "alignment = 4 : i32"},
                {b.ir.vf64, "alignment = 8 : i32"}};
  MlirValue mask = ir_prefix_mask(&b.ir, 3);
  expect_last(&b, "dense<[true, true, true, false, false, false, false, false]>");
  for (size_t i = 0; i < sizeof masked / sizeof *masked; i++) {
    MlirValue v = ir_load_masked(&b.ir, masked[i].type, b.pointer, mask);
    expect_last(&b, masked[i].alignment);
    ir_store_masked(&b.ir, v, b.pointer, mask);
    expect_last(&b, masked[i].alignment);
  }
  for (int64_t distance = 1; distance < LANES; distance *= 2) {
    MlirValue v = ir_vector_f32(&b.ir, 1);
    ir_exchange(&b.ir, v, distance);
    expect_last(&b, distance == 1   ? "1, 0, 3, 2, 5, 4, 7, 6>"
                    : distance == 2 ? "2, 3, 0, 1, 6, 7, 4, 5>"
                                    : "4, 5, 6, 7, 0, 1, 2, 3>");
  }
  assert_false(b.ir.failed);
  bench_deinit(&b);
}

static bool refuses(LLVMModuleRef module, const void *user, hmoec_diagnostics *diagnostics) {
  (void)module;
  (void)user;
  return hmoec_machine_error(diagnostics, "refused");
}

/* What cannot be lowered is an error, at whatever step. */
static void test_lower(void **state) {
  (void)state;
  static const struct {
    const char *triple, *passes;
    hmoec_code_add_fn add;
    const char *error; /* NULL: there is none */
  } cases[] = {
      {"x86_64-unknown-linux-gnu", "default<O1>", NULL, NULL},
      {"none-unknown-linux-gnu", "default<O1>", NULL, "looking up the target"},
      {"x86_64-unknown-linux-gnu", "default<O1>", refuses, "refused"},
      {"x86_64-unknown-linux-gnu", "no-such-pass", NULL, "no-such-pass"},
  };
  hmoec_targets_initialise();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    bench b;
    bench_init(&b, true, NULL);
    ir_function_end(&b.ir);
    hmoec_code_machine machine = {.called = "test",
                                  .triple = cases[i].triple,
                                  .processor = "",
                                  .features = "",
                                  .llvm_passes = cases[i].passes,
                                  .level = LLVMCodeGenLevelDefault,
                                  .relocation = LLVMRelocPIC,
                                  .model = LLVMCodeModelDefault};
    char *bytes = NULL;
    size_t size = 0;
    bool ok =
        hmoec_code_lower(b.module, &machine, "m", cases[i].add, NULL, HMOEC_OUTPUT_OBJECT, b.fixture.diagnostics, &bytes, &size);
    const char *said = hmoec_diagnostics_errors(b.fixture.diagnostics) ? hmoec_diagnostics_first(b.fixture.diagnostics) : "";
    if (ok != !cases[i].error || !strstr(said, cases[i].error ? cases[i].error : "") || (bytes != NULL) != ok)
      fail_msg("%zu: %d '%s'", i, ok, said);
    free(bytes);
    bench_deinit(&b);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_failures), cmocka_unit_test(test_memory), cmocka_unit_test(test_lower)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
