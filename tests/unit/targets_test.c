/* What is the same for the versions, layouts and knobs of all targets, with the numbers of CPUs: layouts of every role, versions that kernels are worth,
 * schedules and packings in modules. */
#include "module_fixture.h"

#include <stdio.h>

#include <mlir-c/BuiltinAttributes.h>

#include "hmoe/abi_cpu.h"
#include "kernel/family.h"
#include "target/cpu/knobs.h"
#include "target/target.h"

static const hmoec_target *const cpu = &hmoec_target_cpu;

static void test_layouts(void **state) {
  (void)state;
  static const struct {
    hmoec_operand operand;
    hmoec_layout layout;
    bool gaps;
  } cases[] = {
      {{.role = HMOEC_ROLE_PLAIN, .columns = 5}, {.stride = 5, .columns = 5}, false},
      {{.role = HMOEC_ROLE_PLAIN, .columns = 64}, {.stride = 64, .columns = 64}, false},
      {{.role = HMOEC_ROLE_PLAIN, .columns = 5, .in_place = true}, {.stride = 5, .columns = 5}, false},
      {{.role = HMOEC_ROLE_ROWS, .columns = 32}, {.stride = 32}, false},
      {{.role = HMOEC_ROLE_ROWS, .columns = 33}, {.stride = 64}, true},
      {{.role = HMOEC_ROLE_ROWS, .columns = 31, .format = HMOEC_FORMAT_BF16}, {.stride = 32}, true},
      {{.role = HMOEC_ROLE_ROWS, .columns = 32, .in_place = true}, {.stride = 144, .slack = 16}, true},
      {{.role = HMOEC_ROLE_ROWS, .columns = 144, .in_place = true}, {.stride = 144, .slack = 16}, true},
      {{.role = HMOEC_ROLE_ROWS, .columns = 32, .format = HMOEC_FORMAT_BF16, .in_place = true}, {.stride = 160, .slack = 16}, true},
      {{.role = HMOEC_ROLE_RIGHT, .depth = 7, .columns = 33}, {.stride = 448, .depth = 7, .columns = 64}, false},
      {{.role = HMOEC_ROLE_RIGHT, .depth = 7, .columns = 32, .format = HMOEC_FORMAT_BF16},
       {.stride = 1024, .depth = 32, .columns = 32},
       false},
      {{.role = HMOEC_ROLE_RIGHT, .depth = 33, .columns = 32, .format = HMOEC_FORMAT_BF16},
       {.stride = 2048, .depth = 64, .columns = 32},
       false},
      {{.role = HMOEC_ROLE_VECTOR, .columns = 33}, {.stride = 64, .columns = 64}, false},
      {{.role = HMOEC_ROLE_TABLE, .depth = 3, .columns = 11}, {.stride = 64}, false},
      {{.role = HMOEC_ROLE_TABLE, .depth = 2, .columns = 16}, {.stride = 32}, false},
      {{.role = HMOEC_ROLE_KEYS, .depth = 3, .columns = 5}, {.stride = 15, .parts = 3}, false},
      {{.role = HMOEC_ROLE_VALUES, .depth = 3, .columns = 33}, {.stride = 192, .parts = 6}, false},
      {{.role = HMOEC_ROLE_DISTANCES, .columns = 20}, {.stride = 128, .columns = 128, .zero = 52}, false},
      {{.role = HMOEC_ROLE_DISTANCES, .columns = 31}, {.stride = 128, .columns = 128, .zero = 63}, false},
      {{.role = HMOEC_ROLE_DISTANCES, .columns = 32}, {.stride = 160, .columns = 160, .zero = 64}, false},
      /* Of a generator as many columns as what it generates takes, [5, 33] and in pairs of bf16 [32, 64]. */
      {{.role = HMOEC_ROLE_RIGHT, .depth = 2, .columns = 165, .generated_rows = 5},
       {.stride = 640, .depth = 2, .columns = 320},
       false},
      {{.role = HMOEC_ROLE_RIGHT, .depth = 2, .columns = 165, .generated_rows = 5, .generates = HMOEC_FORMAT_BF16},
       {.stride = 4096, .depth = 2, .columns = 2048},
       false},
      {{.role = HMOEC_ROLE_VECTOR, .columns = 165, .generated_rows = 5}, {.stride = 320, .columns = 320}, false},
  };
  hmoec_schedule schedule = {{0}};
  cpu->prepare(&schedule, 130);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const hmoec_layout *l = &cases[i].layout;
    hmoec_layout found = hmoec_layout_of(cpu, &schedule, &cases[i].operand);
    if (found.stride != l->stride || found.slack != l->slack || found.depth != l->depth || found.columns != l->columns ||
        found.parts != l->parts || found.zero != l->zero)
      fail_msg("case %zu: found stride %lld, slack %lld, depth %lld, columns %lld, parts %lld, zero %lld", i,
               (long long)found.stride, (long long)found.slack, (long long)found.depth, (long long)found.columns,
               (long long)found.parts, (long long)found.zero);
    if (hmoec_has_gaps(cpu, &schedule, &cases[i].operand) != cases[i].gaps) fail_msg("case %zu: gaps", i);
  }
  assert_int_equal(hmoec_right_elements(cpu, HMOEC_FORMAT_F32, 7, 33), 448);
  assert_int_equal(hmoec_right_elements(cpu, HMOEC_FORMAT_BF16, 7, 33), 2048);
  assert_int_equal(cpu->right_column(HMOEC_FORMAT_F32, 7, 64), 448);
  assert_int_equal(cpu->right_column(HMOEC_FORMAT_BF16, 7, 64), 2048);
}

/* Rows that are read in place are an odd number of cache lines apart; what the schedule says stays. */
static void test_row_strides(void **state) {
  (void)state;
  static const struct {
    int64_t widest, stride, stride_bf16;
  } cases[] = {{1, 16, 32},  {16, 16, 32}, {17, 48, 32},  {32, 48, 32},  {33, 48, 96},
               {48, 48, 96}, {49, 80, 96}, {96, 112, 96}, {97, 112, 160}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    hmoec_schedule schedule = {{0}};
    cpu->prepare(&schedule, cases[i].widest);
    assert_int_equal(schedule.value[CPU_ROW_STRIDE], cases[i].stride);
    assert_int_equal(schedule.value[CPU_ROW_STRIDE_BF16], cases[i].stride_bf16);
    schedule = (hmoec_schedule){.value = {[CPU_ROW_STRIDE] = 4000, [CPU_ROW_STRIDE_BF16] = 4032}};
    cpu->prepare(&schedule, cases[i].widest);
    assert_int_equal(schedule.value[CPU_ROW_STRIDE], 4000);
    assert_int_equal(schedule.value[CPU_ROW_STRIDE_BF16], 4032);
  }
}

/* Rows of blocks in bf16 as wide as the widest fit 2 MiB, in whole pairs of AMX tiles, 64 to 256 of them; what the schedule says stays. */
static void test_row_blocks(void **state) {
  (void)state;
  static const struct {
    int64_t widest, rows;
  } cases[] = {{1, 256}, {3072, 256}, {4064, 256}, {4128, 224}, {8192, 96}, {10912, 96}, {10944, 64}, {100000, 64}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    hmoec_schedule schedule = {{0}};
    cpu->prepare(&schedule, cases[i].widest);
    assert_int_equal(schedule.value[CPU_ROW_BLOCK_BF16], cases[i].rows);
    assert_int_equal(schedule.value[CPU_ROW_BLOCK], 0);
    schedule = (hmoec_schedule){.value = {[CPU_ROW_BLOCK_BF16] = 7}};
    cpu->prepare(&schedule, cases[i].widest);
    assert_int_equal(schedule.value[CPU_ROW_BLOCK_BF16], 7);
  }
}

static void test_versions(void **state) {
  (void)state;
  static const char *const names[] = {"portable", "avx2", "avx512", "avx512_bf16", "amx"};
  assert_int_equal(hmoec_code_version_count(cpu), 5);
  for (size_t v = 0; v < 5; v++) {
    assert_string_equal(cpu->version(v).name, names[v]);
    assert_int_equal(cpu->version(v).products, v < 3 ? HMOEC_FORMAT_F32 : HMOEC_FORMAT_BF16);
  }
  assert_null(cpu->version(5).name);
  hmoec_kernel kernels[2];
  memset(kernels, 0, sizeof kernels);
  for (size_t i = 0; i < 2; i++) {
    kernels[i].family = HMOEC_KERNEL_MATMUL;
    kernels[i].spec.matmul.format = HMOEC_FORMAT_F32;
  }
  assert_int_equal(hmoec_code_versions_of(cpu, kernels, 0), 7);
  assert_int_equal(hmoec_code_versions_of(cpu, kernels, 2), 7);
  kernels[1].spec.matmul.format = HMOEC_FORMAT_BF16;
  assert_int_equal(hmoec_code_versions_of(cpu, kernels, 1), 7);
  assert_int_equal(hmoec_code_versions_of(cpu, kernels, 2), 31);
  assert_int_equal(hmoec_code_versions_of(cpu, kernels + 1, 1), 31); /* products in bf16 alone run on any machine, too */
  assert_ptr_equal(hmoec_target_find("cpu"), cpu);
  assert_ptr_equal(hmoec_target_find("cuda"), &hmoec_target_cuda);
  assert_null(hmoec_target_find("cp"));
}

/* ---- schedules ---- */

static void test_knobs(void **state) {
  (void)state;
  const hmoec_target *const targets[] = {&hmoec_target_cpu,
                                         &hmoec_target_cuda}; /* one with knobs of its own, one with its host's */
  for (size_t t = 0; t < 2; t++) {
    const hmoec_knob *knobs = hmoec_target_knobs(targets[t]);
    assert_int_equal(hmoec_target_knob_count(targets[t]), CPU_KNOB_COUNT);
    for (size_t i = 0; i < CPU_KNOB_COUNT; i++) {
      hmoec_schedule schedule = {{0}};
      assert_int_equal(hmoec_knob_value(targets[t], &schedule, knobs[i].of, knobs[i].name), knobs[i].value);
      schedule.value[i] = 777;
      assert_int_equal(hmoec_knob_value(targets[t], &schedule, knobs[i].of, knobs[i].name), 777);
      assert_int_equal(hmoec_knob_at(targets[t], &schedule, i), 777);
    }
    const hmoec_schedule none = {{0}};
    assert_int_equal(hmoec_knob_value(targets[t], &none, "matmul", "query_block"), 0);
    assert_int_equal(hmoec_knob_value(targets[t], &none, "attention", "row_block"), 0);
  }
}

/* What is read of a module's attributes; the first message, or "". */
static const char *schedule_message(module_fixture *f, const hmoec_target *target, const char *attributes,
                                    hmoec_schedule *out_schedule) {
  static char message[512];
  char text[1024];
  snprintf(text, sizeof text, "module attributes {%s} {}", attributes);
  MlirModule module = hmoec_module_parse(f->context, "schedule.mlir", text, strlen(text));
  assert_false(mlirModuleIsNull(module));
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  bool ok =
      hmoec_schedule_read(module.ptr ? mlirModuleGetOperation(module) : (MlirOperation){NULL}, target, diagnostics, out_schedule);
  snprintf(message, sizeof message, "%s", hmoec_diagnostics_first(diagnostics));
  assert_int_equal(ok, hmoec_diagnostics_errors(diagnostics) == 0);
  hmoec_diagnostics_destroy(diagnostics);
  mlirModuleDestroy(module);
  return message;
}

static void test_schedules_in_modules(void **state) {
  (void)state;
  module_fixture f;
  fixture_init(&f, NULL);
  const hmoec_knob *knobs = hmoec_target_knobs(cpu);
  char attributes[512], expected[512];
  hmoec_schedule schedule;
  for (size_t i = 0; i < CPU_KNOB_COUNT; i++)
    for (int side = 0; side < 4; side++) {
      int64_t value = side == 0 ? knobs[i].least : side == 1 ? knobs[i].most : side == 2 ? knobs[i].least - 1 : knobs[i].most + 1;
      snprintf(attributes, sizeof attributes, "hmk.target = \"cpu\", hmk.schedule = {\"%s.%s\" = %lld}", knobs[i].of, knobs[i].name,
               (long long)value);
      snprintf(expected, sizeof expected, "hmk.schedule: expected %s.%s to be an integer from %lld to %lld", knobs[i].of,
               knobs[i].name, (long long)knobs[i].least, (long long)knobs[i].most);
      assert_string_equal(schedule_message(&f, cpu, attributes, &schedule), side < 2 ? "" : expected);
      for (size_t k = 0; side < 2 && k < HMOEC_MOST_KNOBS; k++) assert_int_equal(schedule.value[k], k == i ? value : 0);
    }
  static const struct {
    const char *attributes, *message;
  } cases[] = {
      {"hmk.target = \"cpu\", hmk.schedule = {}", ""},
      {"hmk.target = \"cpu\", hmk.schedule = {matmul.row_block = 9, target.row_stride = 48}", ""},
      {"hmk.target = \"cpu\", hmk.schedule = {matmul.row_block = \"9\"}",
       "hmk.schedule: expected matmul.row_block to be an integer from 1 to 1048576"},
      {"hmk.target = \"cpu\", hmk.schedule = {matmul.rows = 9}", "hmk.schedule: target cpu has no knob matmul.rows"},
      {"hmk.target = \"cuda\", hmk.schedule = {}", "expected a module planned for target cpu, found cuda"},
      {"hmk.target = \"cpu\"", "expected a planned module with hmk.target and hmk.schedule"},
      {"hmk.target = 1, hmk.schedule = {}", "expected a planned module with hmk.target and hmk.schedule"},
      {"hmk.target = \"cpu\", hmk.schedule = 1", "expected a planned module with hmk.target and hmk.schedule"},
      {"hmk.schedule = {}", "expected a planned module with hmk.target and hmk.schedule"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_string_equal(schedule_message(&f, cpu, cases[i].attributes, &schedule), cases[i].message);

  /* A target's knobs end where it says. */
  hmoec_target fewer = *cpu;
  fewer.knob_count--;
  const hmoec_knob *other = &knobs[fewer.knob_count];
  snprintf(attributes, sizeof attributes, "hmk.target = \"cpu\", hmk.schedule = {\"%s.%s\" = %lld}", other->of, other->name,
           (long long)other->most);
  snprintf(expected, sizeof expected, "hmk.schedule: target cpu has no knob %s.%s", other->of, other->name);
  assert_string_equal(schedule_message(&f, &fewer, attributes, &schedule), expected);
  memset(&schedule, 0, sizeof schedule);
  schedule.value[fewer.knob_count] = other->most;
  assert_int_equal(hmoec_knob_value(&fewer, &schedule, other->of, other->name), 0);
  MlirModule module = mlirModuleCreateEmpty(mlirLocationUnknownGet(f.context));
  hmoec_schedule_write(mlirModuleGetOperation(module), &fewer, &schedule);
  MlirAttribute entries =
      mlirOperationGetAttributeByName(mlirModuleGetOperation(module), mlirStringRefCreateFromCString("hmk.schedule"));
  assert_int_equal(mlirDictionaryAttrGetNumElements(entries), 0);
  mlirModuleDestroy(module);

  /* Only what is not the default is written. */
  module = mlirModuleCreateEmpty(mlirLocationUnknownGet(f.context));
  MlirOperation op = mlirModuleGetOperation(module);
  hmoec_schedule written = {{0}}, read;
  written.value[CPU_ROW_STRIDE] = 48;
  written.value[CPU_ROW_BLOCK] = knobs[CPU_ROW_BLOCK].value;
  written.value[CPU_QUERY_ROWS] = 7;
  hmoec_schedule_write(op, cpu, &written);
  assert_true(hmoec_schedule_read(op, cpu, f.diagnostics, &read));
  written.value[CPU_ROW_BLOCK] = 0;
  assert_memory_equal(&written, &read, sizeof read);
  mlirModuleDestroy(module);
  fixture_deinit(&f);
}

/* ---- packings ---- */

/* Every field another number; written and read, and what the CPU makes of it. */
static void test_packings(void **state) {
  (void)state;
  module_fixture f;
  fixture_init(&f, NULL);
  const hmoec_packing whole = {.columns = 33,
                               .column_stride = 2,
                               .q = 3,
                               .q_stride = 4,
                               .k_outer = 5,
                               .k_outer_stride = 6,
                               .k_inner = 7,
                               .k_inner_stride = 8,
                               .groups = 9,
                               .source_group_stride = 10,
                               .source_offset = 11,
                               .first_column = 64,
                               .first_k = 12,
                               .outer_pitch = 13,
                               .operand_n = 160,
                               .pair = HMOEC_PAIR_UPS,
                               .side_by_side = true};
  const hmoec_packing plain = {
      .columns = 8, .column_stride = 6, .q = 1, .k_outer = 1, .k_inner = 6, .k_inner_stride = 1, .groups = 1};
  hmoec_packing gates = plain;
  gates.pair = HMOEC_PAIR_GATES;
  const hmoec_packing *const packings[] = {&whole, &plain, &gates};
  for (size_t i = 0; i < 3; i++) {
    MlirNamedAttribute attributes[HMOEC_PACKING_ATTRIBUTES];
    assert_int_equal(hmoec_packing_write(packings[i], f.context, attributes), 2);
    MlirModule module = mlirModuleCreateEmpty(mlirLocationUnknownGet(f.context));
    MlirOperation op = mlirModuleGetOperation(module);
    for (size_t a = 0; a < 2; a++)
      mlirOperationSetAttributeByName(op, mlirIdentifierStr(attributes[a].name), attributes[a].attribute);
    assert_int_equal(mlirDictionaryAttrGetNumElements(attributes[0].attribute), i == 0 ? 6 : 2);
    assert_int_equal(mlirDictionaryAttrGetNumElements(attributes[1].attribute), i == 0 ? 6 : i == 1 ? 0 : 1);
    hmoec_packing read = hmoec_packing_read(op);
    assert_memory_equal(&read, packings[i], sizeof read);
    mlirModuleDestroy(module);
  }

  struct {
    hmoec_packing packing;
    int64_t columns, generated, first_column, group_bytes, part_rows, depth, between;
  } cases[] = {
      {whole, 192, 3, 96, 4480, 13, 7, 1}, {plain, 32, 1, 0, 768, 6, 6, 0},      {gates, 32, 1, 0, 768, 6, 6, 1},
      {plain, 32, 1, 0, 2048, 32, 32, 0},  {plain, 1024, 32, 0, 24576, 6, 6, 0}, {plain, 32, 1, 0, 1280, 10, 10, 0},
      {plain, 8, 1, 0, 32, 0, 0, 0},       {plain, 32, 1, 0, 128, 0, 0, 0},      {plain, 8, 1, 0, 400, 0, 0, 0},
  };
  cases[3].packing.format = HMOEC_FORMAT_BF16;
  cases[4].packing.generates = HMOEC_FORMAT_BF16;
  cases[5].packing.operand_k = 10;
  for (size_t i = 6; i < 9; i++) cases[i].packing.k_inner = cases[i].packing.k_inner_stride = 0;
  cases[7].packing.padded = true;
  cases[8].packing.operand_n = 100;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const hmoec_packing *p = &cases[i].packing;
    int64_t out[HMOEC_PACK_ARGS];
    cpu->pack(p, out);
    const int64_t expected[HMOEC_PACK_ARGS] = {
        [HMOEC_PACK_LAYOUT] = p->k_inner ? HMOE_LAYOUT_PANELS : HMOE_LAYOUT_VECTOR,
        [HMOEC_PACK_COLUMNS] = cases[i].columns,
        [HMOEC_PACK_GENERATED_ROWS] = cases[i].generated,
        [HMOEC_PACK_SOURCE_COLUMNS] = p->columns,
        [HMOEC_PACK_COLUMN_STRIDE] = p->column_stride,
        [HMOEC_PACK_GENERATED_STRIDE] = p->q_stride,
        [HMOEC_PACK_PARTS] = p->k_outer,
        [HMOEC_PACK_DEPTH] = p->k_inner,
        [HMOEC_PACK_PART_STRIDE] = p->k_outer_stride,
        [HMOEC_PACK_DEPTH_STRIDE] = p->k_inner_stride,
        [HMOEC_PACK_SOURCE_OFFSET] = p->source_offset,
        [HMOEC_PACK_GROUPS] = p->groups,
        [HMOEC_PACK_GROUP_STRIDE] = p->source_group_stride,
        [HMOEC_PACK_GROUP_BYTES] = cases[i].group_bytes,
        [HMOEC_PACK_FIRST_COLUMN] = cases[i].first_column,
        [HMOEC_PACK_FIRST_ROW] = p->first_k,
        [HMOEC_PACK_PART_ROWS] = cases[i].part_rows,
        [HMOEC_PACK_OPERAND_DEPTH] = cases[i].depth,
        [HMOEC_PACK_FORMAT] = p->format == HMOEC_FORMAT_BF16 ? HMOE_FORMAT_BF16 : HMOE_FORMAT_F32,
        [HMOEC_PACK_SOURCE_GENERATED] = p->q,
        [HMOEC_PACK_GENERATED_FORMAT] = p->generates == HMOEC_FORMAT_BF16 ? HMOE_FORMAT_BF16 : HMOE_FORMAT_F32,
        [HMOEC_PACK_BETWEEN] = cases[i].between,
    };
    for (int a = 0; a < HMOEC_PACK_ARGS; a++)
      if (out[a] != expected[a])
        fail_msg("case %zu: number %d: expected %lld, found %lld", i, a, (long long)expected[a], (long long)out[a]);
  }
  fixture_deinit(&f);
}

/* Parts of the depth of right operands that are copied into others. */
static void test_inserts(void **state) {
  (void)state;
  assert_true(cpu->packs_any_depth(HMOEC_FORMAT_F32));
  assert_false(cpu->packs_any_depth(HMOEC_FORMAT_BF16));
  int64_t offset, args[HMOEC_COPY_ARGS];
  cpu->insert(HMOEC_FORMAT_F32, 3, 10, 40, 4, 5, &offset, args);
  const int64_t f32[HMOEC_COPY_ARGS] = {3, 2560, 1280, 2, 1280, 640, 640};
  assert_int_equal(offset, 128);
  assert_memory_equal(args, f32, sizeof f32);
  cpu->insert(HMOEC_FORMAT_BF16, 2, 64, 40, 32, 20, &offset, args);
  const int64_t bf16[HMOEC_COPY_ARGS] = {2, 8192, 4096, 2, 4096, 2048, 2048};
  assert_int_equal(offset, 1024);
  assert_memory_equal(args, bf16, sizeof bf16);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_layouts),    cmocka_unit_test(test_row_strides),
                                     cmocka_unit_test(test_row_blocks), cmocka_unit_test(test_versions),
                                     cmocka_unit_test(test_knobs),      cmocka_unit_test(test_schedules_in_modules),
                                     cmocka_unit_test(test_packings),   cmocka_unit_test(test_inserts)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
