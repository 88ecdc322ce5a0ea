/* What emit makes of planned functions: every field of the plan against the number that the module has for it, the header and the manifest against
 * what the model says. */
#include "module_fixture.h"

#include <cjson/cJSON.h>

#include "emit/header.h"
#include "hmoe/abi.h"
#include "kernel/family.h"
#include "library/session.h"
#include "target/target.h"

enum { MOST_TEXT = 1 << 16, MOST_OPERANDS = 8 };

/* ---- a module in which no two numbers are the same ---- */

typedef struct text {
  char at[MOST_TEXT];
  size_t used;
} text;

static void add(text *t, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  t->used += (size_t)vsnprintf(t->at + t->used, sizeof t->at - t->used, format, arguments);
  va_end(arguments);
  assert_true(t->used < sizeof t->at);
}

/* %name: an hmk.buffer; more: attributes that kinds have of their own. */
static void add_buffer(text *t, const char *name, const char *kind, const char *element, const char *shape, int index, int offset,
                       int dim, int row_bytes, int slack, int slot, const char *more) {
  add(t,
      "%%%s = \"hmk.buffer\"() {kind = \"%s\", role = \"plain\", element = \"%s\", shape = array<i64: %s>, index = %d : i64, dim = "
      "%d : i64, "
      "slot = %d : i64, layout = {row_bytes = %d : i64, slack_rows = %d : i64, offset = %d : i64}%s} : () -> !hmk.memory\n",
      name, kind, element, shape, index, dim, slot, row_bytes, slack, offset, more);
}

/* A step. bound: "role:buffer role:buffer"; operand i has offset 100*rows + 4*i and advance 1000*rows + 4*i, where rows is at least 0. */
static void add_step(text *t, const char *name, const char *bound, int rows, const char *attributes) {
  char copy[512], operands[512] = "", roles[512] = "", offsets[256] = "", advances[256] = "", types[512] = "";
  int count = 0;
  assert_true(strlen(bound) < sizeof copy);
  strcpy(copy, bound);
  for (char *rest = copy, *pair; (pair = strtok_r(rest, " ", &rest)); count++) {
    const char *comma = count ? ", " : "";
    char *buffer = strchr(pair, ':');
    assert_non_null(buffer);
    *buffer++ = 0;
    snprintf(operands + strlen(operands), sizeof operands - strlen(operands), "%s%%%s", comma, buffer);
    snprintf(roles + strlen(roles), sizeof roles - strlen(roles), "%s\"%s\"", comma, pair);
    snprintf(offsets + strlen(offsets), sizeof offsets - strlen(offsets), "%s%d", comma, rows < 0 ? 0 : 100 * rows + 4 * count);
    snprintf(advances + strlen(advances), sizeof advances - strlen(advances), "%s%d", comma,
             rows < 0 ? 0 : 1000 * rows + 4 * count);
    snprintf(types + strlen(types), sizeof types - strlen(types), "%s!hmk.memory", comma);
  }
  add(t, "\"hmk.%s\"(%s) {bind = [%s], offsets = array<i64%s%s>, advances = array<i64%s%s>, rows = %d : i64%s%s} : (%s) -> ()\n",
      name, operands, roles, count ? ": " : "", offsets, count ? ": " : "", advances, rows, *attributes ? ", " : "", attributes,
      types);
}

static const hmoe_plan *plan_of(const hmoec_unit *unit) { return unit->plan; }
static const void *at(const hmoec_unit *unit, hmoe_plan_span span) { return (const char *)unit->plan + span.offset; }
static const hmoe_plan_entry *entry_of(const hmoec_unit *unit, uint32_t index) {
  return (const hmoe_plan_entry *)at(unit, plan_of(unit)->entries) + index;
}

static void expect_name(const hmoec_unit *unit, hmoe_plan_span span, const char *name) {
  assert_int_equal(span.count, strlen(name));
  assert_memory_equal(at(unit, span), name, strlen(name));
}

/* A step of the entry: its kind, its rows, the buffers of its bindings (-1: none) with the offsets of add_step, and its fields. */
static void expect_step(const hmoec_unit *unit, const hmoe_plan_entry *entry, uint32_t index, uint32_t kind, int rows,
                        const int *buffers, size_t count, const void *fields, size_t bytes) {
  const hmoe_plan_step *step = (const hmoe_plan_step *)at(unit, entry->steps) + index;
  assert_true(index < entry->steps.count);
  assert_int_equal(step->kind, kind);
  assert_true(step->rows_dim == (rows < 0 ? HMOE_NONE : (uint32_t)rows));
  assert_int_equal(step->bindings.count, count);
  const hmoe_plan_binding *bindings = at(unit, step->bindings);
  uint64_t operand = 0;
  for (size_t i = 0; i < count; i++) {
    uint64_t times = rows < 0 ? 0 : (uint64_t)rows, place = rows < 0 ? 0 : 4 * operand;
    if (buffers[i] < 0) {
      assert_true(bindings[i].buffer == HMOE_NONE && bindings[i].offset_bytes == 0 && bindings[i].advance_bytes == 0);
      continue;
    }
    assert_int_equal(bindings[i].buffer, buffers[i]);
    assert_int_equal(bindings[i].offset_bytes, 100 * times + place);
    assert_int_equal(bindings[i].advance_bytes, 1000 * times + place);
    assert_int_equal(bindings[i].reserved, 0);
    operand++;
  }
  assert_int_equal(step->fields.count, bytes);
  const unsigned char *found = at(unit, step->fields), *expected = fields;
  for (size_t i = 0; i < bytes; i++)
    if (found[i] != expected[i])
      fail_msg("step %u of kind %u: byte %zu of its fields is %u, expected %u", index, kind, i, found[i], expected[i]);
}
#define EXPECT(index, kind, rows, type, buffers, ...)                                                                              \
  expect_step(&unit, entry, index, kind, rows, (const int[])BUFFERS buffers, sizeof((const int[])BUFFERS buffers) / sizeof(int),   \
              &(const type){__VA_ARGS__}, sizeof(type))
#define BUFFERS(...) {__VA_ARGS__}

static bool unit_make(module_fixture *fixture, const char *module, hmoec_unit *out_unit) {
  hmoec_diagnostics_add_source(fixture->diagnostics, "test.mlir", module, strlen(module));
  fixture->module = hmoec_module_parse(fixture->context, "test.mlir", module, strlen(module));
  assert_false(mlirModuleIsNull(fixture->module));
  return hmoec_unit_init(fixture->module, &hmoec_target_cpu, fixture->diagnostics, out_unit);
}

static void add_pack(text *t, const char *name, const char *bound, int begin) {
  char args[512] = "args = array<i64: ";
  for (int i = 0; i < HMOEC_PACK_ARGS; i++) {
    int value = begin + i;
    if (i == HMOEC_PACK_LAYOUT) value = strcmp(name, "pack") == 0 ? HMOE_LAYOUT_COLUMNS : HMOE_LAYOUT_VECTOR;
    snprintf(args + strlen(args), sizeof args - strlen(args), "%s%d", i ? ", " : "", value);
  }
  strcat(args, ">");
  add_step(t, name, bound, -1, args);
}

static void test_open_steps(void **state) {
  (void)state;
  static text t;
  module_fixture fixture;
  hmoec_unit unit;
  t.used = 0;
  add(&t,
      "module attributes {hmk.dtype = \"bf16\", hmk.schedule = {}, hmk.target = \"cpu\", hmk.weight_bytes = 123456789012 : i64}{\n"
      "func.func @open() attributes {hmk.dims = array<i64>} {\n");
  add_buffer(&t, "w", "weight", "f32", "3, 5, 7", 5, 48, -1, 140, 2, -1, "");
  add_buffer(&t, "p", "param", "f32", "11, 13", 1, 0, -1, 52, 0, -1, ", key = \"a.{}.{x}\", count = 1 : i64");
  add_buffer(&t, "q", "param", "f32", "17, 19, 23, 29", 0, 0, -1, 9000, 0, -1, ", key = \"b.{}.c{}\", count = 6 : i64");
  add_buffer(&t, "k", "workspace", "i32", "31", 0, 0, -1, 4, 0, 4, "");
  add_buffer(&t, "e", "param", "f32", "2", 2, 0, -1, 4, 0, -1, ", key = \"e\", count = 0 : i64");
  add_buffer(&t, "f", "param", "f32", "2", 3, 0, -1, 4, 0, -1, ", key = \"f\", count = 0 : i64");
  add_buffer(&t, "g", "param", "f32", "2", 4, 0, -1, 4, 0, -1, ", key = \"g\", count = 0 : i64");
  add_buffer(&t, "h", "param", "f32", "2", 5, 0, -1, 4, 0, -1, ", key = \"h\", count = 0 : i64");
  add_pack(&t, "pack", "dst:w source:q", 40);
  add_pack(&t, "pack", "dst:w source:k", 70);
  add_pack(&t, "pack_vector", "dst:w source:p", 100);
  add_step(&t, "copy", "dst:w src:k", -1, "depth = 9 : i64, args = array<i64: 41, 42, 43, 44, 45, 46, 47>");
  add_step(&t, "all_selections", "dst:k", -1, "experts = 51 : i64, top_k = 52 : i64, sets = 5300000000 : i64");
  add_step(&t, "weight_embedding", "dst:w wi:q wo:p depthwise1:e pointwise1:f depthwise2:g pointwise2:h", -1, "");
  add_step(&t, "relative_bias", "dst:w source:k", -1,
           "buckets = 71 : i64, heads = 72 : i64, bidirectional = 1 : i64, max_distance = 74 : i64, layout = {columns = 75 : i64, "
           "pad = 76 : i64}");
  add(&t, "return\n}\nfunc.func @run() attributes {hmk.dims = array<i64>, hmk.model = \"m\"} {\nreturn\n}\n}\n");
  fixture_init(&fixture, stderr);
  assert_true(unit_make(&fixture, t.at, &unit));
  assert_string_equal(unit.name, "m");
  assert_int_equal(unit.dtype, HMOEC_FORMAT_BF16);
  assert_true(unit.target == &hmoec_target_cpu);
  const hmoe_plan *plan = plan_of(&unit);
  assert_int_equal(plan->magic, HMOE_PLAN_MAGIC);
  assert_int_equal(plan->abi_version, HMOE_ABI_VERSION);
  assert_true(plan->bytes == unit.plan_bytes && plan->weight_bytes == 123456789012);
  assert_int_equal(plan->state_positions, hmoec_target_cpu.position_step);
  expect_name(&unit, plan->name, "m");
  assert_int_equal(plan->entries.count, 2);

  const hmoe_plan_param *params = at(&unit, plan->params);
  static const char *const keys[] = {"b.{}.c{}", "a.0.{x}", "e", "f", "g", "h"};
  assert_int_equal(plan->params.count, 6);
  for (uint32_t i = 0; i < 6; i++) {
    expect_name(&unit, params[i].key, keys[i]);
    assert_int_equal(params[i].count, i ? 1 : 6);
    assert_int_equal(params[i].rank, i == 0 ? 4 : i == 1 ? 2 : 1);
  }
  static const uint64_t shape[] = {17, 19, 23, 29};
  assert_memory_equal(params[0].shape, shape, sizeof shape);
  assert_true(params[1].shape[0] == 11 && params[1].shape[1] == 13 && params[5].shape[0] == 2);

  const hmoe_plan_entry *entry = entry_of(&unit, 0);
  expect_name(&unit, entry->name, "open");
  assert_true(entry->buffers.count == 8 && entry->steps.count == 7 && entry->slots == 5 && !entry->needs_state);
  const hmoe_plan_buffer *buffers = at(&unit, entry->buffers);
  assert_true(buffers[0].kind == HMOE_BUFFER_WEIGHT && buffers[0].index == 0 && buffers[0].offset == 48 &&
              buffers[0].dim == HMOE_NONE && !buffers[0].bytes_per_row);
  assert_int_equal(buffers[0].fixed_bytes, (3 + 2) * 140);
  assert_true(buffers[1].kind == HMOE_BUFFER_PARAM && buffers[1].index == 1 && buffers[2].index == 0);
  assert_true(buffers[3].kind == HMOE_BUFFER_WORKSPACE && buffers[3].index == 4 && buffers[3].fixed_bytes == 4 * 31);

#define SOURCE(n, ...)                                                                                                             \
  {                                                                                                                                \
    .param = (__VA_ARGS__), .offset = n + HMOEC_PACK_SOURCE_OFFSET,                                                                \
    .groups = {n + HMOEC_PACK_GROUPS, n + HMOEC_PACK_GROUP_STRIDE},                                                                \
    .columns = {n + HMOEC_PACK_SOURCE_COLUMNS, n + HMOEC_PACK_COLUMN_STRIDE},                                                      \
    .generated = {n + HMOEC_PACK_SOURCE_GENERATED, n + HMOEC_PACK_GENERATED_STRIDE},                                               \
    .parts = {n + HMOEC_PACK_PARTS, n + HMOEC_PACK_PART_STRIDE}, .depth = {                                                        \
      n + HMOEC_PACK_DEPTH,                                                                                                        \
      n + HMOEC_PACK_DEPTH_STRIDE                                                                                                  \
    }                                                                                                                              \
  }
#define DESTINATION(n)                                                                                                             \
  {.layout = HMOE_LAYOUT_COLUMNS,                                                                                                  \
   .format = n + HMOEC_PACK_FORMAT,                                                                                                \
   .generated_format = n + HMOEC_PACK_GENERATED_FORMAT,                                                                            \
   .between = n + HMOEC_PACK_BETWEEN,                                                                                              \
   .generated_layout = n + HMOEC_PACK_GENERATED_LAYOUT,                                                                            \
   .columns = n + HMOEC_PACK_COLUMNS,                                                                                              \
   .generated_rows = n + HMOEC_PACK_GENERATED_ROWS,                                                                                \
   .group_bytes = n + HMOEC_PACK_GROUP_BYTES,                                                                                      \
   .first_column = n + HMOEC_PACK_FIRST_COLUMN,                                                                                    \
   .first_row = n + HMOEC_PACK_FIRST_ROW,                                                                                          \
   .part_rows = n + HMOEC_PACK_PART_ROWS,                                                                                          \
   .operand_rows = n + HMOEC_PACK_OPERAND_DEPTH}
  EXPECT(0, HMOE_STEP_PACK, -1, hmoe_step_pack, (0, -1), .source = SOURCE(40, 0), .destination = DESTINATION(40));
  EXPECT(1, HMOE_STEP_PACK, -1, hmoe_step_pack, (0, 3), .source = SOURCE(70, HMOE_NONE), .destination = DESTINATION(70));
  hmoe_step_pack vector = {.source = SOURCE(100, 1), .destination = DESTINATION(100)};
  vector.source.parts = vector.source.depth = (hmoe_pack_axis){1, 0};
  vector.destination.layout = HMOE_LAYOUT_VECTOR;
  vector.destination.format = 0;
  vector.destination.first_row = vector.destination.part_rows = vector.destination.operand_rows = 0;
  expect_step(&unit, entry, 2, HMOE_STEP_PACK, -1, (const int[]){0, -1}, 2, &vector, sizeof vector);
  EXPECT(3, HMOE_STEP_COPY, -1, hmoe_step_copy, (0, 3), .outer = {41, 42, 43}, .inner = {44, 45, 46}, .run_bytes = 47);
  EXPECT(4, HMOE_STEP_SELECTIONS, -1, hmoe_step_selections, (3), .experts = 51, .top_k = 52, .sets = 5300000000);
  EXPECT(5, HMOE_STEP_WEIGHT_EMBEDDING, -1, hmoe_step_weight_embedding, (0), .wi = 0, .wo = 1, .depthwise1 = 2, .pointwise1 = 3,
         .depthwise2 = 4, .pointwise2 = 5, .row_floats = 140 / 4);
  EXPECT(6, HMOE_STEP_RELATIVE_BIAS, -1, hmoe_step_relative_bias, (0, 3), .buckets = 71, .heads = 72, .bidirectional = 1,
         .max_distance = 74, .row_floats = 75, .pad = 76);
  hmoec_unit_deinit(&unit);
  fixture_deinit(&fixture);
}

static void test_run_steps(void **state) {
  (void)state;
  static text t;
  module_fixture fixture;
  hmoec_unit unit;
  t.used = 0;
  add(&t,
      "module attributes {hmk.dtype = \"f32\", hmk.schedule = {}, hmk.target = \"cpu\", hmk.weight_bytes = 0 : i64, hmk.states = "
      "array<i64: 0, 3, 40, "
      "1, 5, 60>,\n"
      "hmk.generation = {end_token = array<i64: 7, 9>, pad_token = array<i64>, temperature = 2.500000e-01 : f64, max_length = "
      "array<i64: 12>}} {\n"
      "func.func @open() attributes {hmk.dims = array<i64>} {\nreturn\n}\n"
      "func.func @decode() attributes {hmk.model = \"m\", hmk.advance = array<i64: 1, -1>, hmk.dim_names = [\"length\", "
      "\"wide\"],\n"
      "hmk.dims = array<i64: 0, 21, 22, 0, 0, 0, 10, 4, 25, 10, 3, 0, 1, 1, 32, 9, 2, 8>, hmk.needed_by = array<i64: 3, 0, 1>,\n"
      "hmk.inputs = [\"x\", tensor<?x4xf32>, array<i64: -1, 4>, unit, \"ids\", tensor<?x?xi64>, array<i64: -4, -2>, unit, "
      "\"mask\", tensor<?xi32>, array<i64: -3>, 5],\n"
      "hmk.outputs = [\"y\", tensor<?x3x2xf32>, array<i64: -5, 3, 2>, unit]} {\n");
  add_buffer(&t, "i", "input", "i64", "0, 3", 2, 0, 1, 24, 0, -1, "");
  add_buffer(&t, "o", "output", "f32", "0, 5", 1, 0, 0, 20, 2, -1, "");
  add_buffer(&t, "w", "workspace", "bf16", "0, 7, 3", 0, 0, 5, 42, 4, 2, "");
  add_buffer(&t, "v", "workspace", "i32", "11", 0, 0, -1, 4, 0, 6, "");
  add_buffer(&t, "s", "state", "f32", "0, 9", 1, 0, 2, 36, 3, -1, "");
  add_buffer(&t, "c", "cache", "f32", "13, 6", 1, 20, -1, 24, 0, -1, "");
  add_buffer(&t, "d", "cache", "bf16", "13, 4", 1, 4, -1, 8, 0, -1, "");
  add_buffer(&t, "b", "workspace", "i32", "0, 4", 0, 0, 1, 16, 4, 3, "");
  add_buffer(&t, "u", "workspace", "i32", "0, 4", 0, 0, 1, 16, 4, 1, "");
  add_buffer(&t, "j", "input", "i32", "0", 0, 0, 1, 4, 0, -1, "");
  enum { I, O, W, V, S, C, D, B, U, J };
  add_step(&t, "check_ids", "source:i dst:v", 2, "limit = 81 : i64, fill = -82 : i64");
  add_step(&t, "check_ids", "source:j dst:v", 1, "limit = 83 : i64, fill = 84 : i64");
  add_step(&t, "positions", "mask:s dst:v", 3, "dims = array<i64: 2, 0, 3, 1>, limit = 85 : i64");
  add_step(&t, "last_rows", "dst:v", 2, "dims = array<i64: 1, 3, -1, 2>");
  add_step(&t, "append_mask", "src:v dst:s", 1, "dims = array<i64: 3, 2, 1, 0>");
  add_step(&t, "group_tokens", "indices:v blocks:b row_token:w counters:o history:s", 4,
           "experts = 9 : i64, top_k = 2 : i64, capacity = 93 : i64, dims = array<i64: 5, 3>, scope = 1 : i64, schedule = "
           "{row_block = 94 : i64}");
  add_step(&t, "choose", "blocks:b", 1,
           "first = 1 : i64, second = 2 : i64, schedule = {block_rows = 95 : i64, percent = 96 : i64, row_block = 97 : i64}");
  for (int i = 0; i < 3; i++) add_step(&t, "last_rows", "mask:s dst:v", 0, "dims = array<i64: 0, 1, 2, 3>");
  add_step(&t, "choose", "", 3,
           "first = 2 : i64, second = 1 : i64, schedule = {block_rows = 98 : i64, percent = 99 : i64, row_block = 101 : i64}");
  for (int i = 0; i < 3; i++) add_step(&t, "last_rows", "mask:s dst:v", 0, "dims = array<i64: 0, 1, 2, 3>");
  add_step(&t, "group_selections", "indices:v blocks:u row_token:w sets:o scratch:s", 5,
           "experts = 9 : i64, top_k = 2 : i64, mode = \"distinct\", schedule = {row_block = 102 : i64}");
  /* 36 sets of 2 of 9; in the loop's body blocks are of a chunk of 20, behind it of 36 again. */
  add_step(&t, "loop", "blocks:u sets:o todo_token:v row_token:w", 1,
           "body = 4 : i64, kind = \"cached\", chunk = 20 : i64, top_k = 2 : i64, generate = 0 : i64, cache = 1 : i64");
  add_step(&t, "choose", "blocks:u", 1,
           "first = 1 : i64, second = 1 : i64, schedule = {block_rows = 1 : i64, percent = 1 : i64, row_block = 1 : i64}");
  for (int i = 0; i < 2; i++) add_step(&t, "last_rows", "mask:s dst:v", 0, "dims = array<i64: 0, 1, 2, 3>");
  add_step(&t, "last_rows", "mask:s dst:v", 0, "dims = array<i64: 0, 1, 2, 3>");
  add_step(&t, "choose", "blocks:u", 1,
           "first = 1 : i64, second = 1 : i64, schedule = {block_rows = 1 : i64, percent = 1 : i64, row_block = 1 : i64}");
  for (int i = 0; i < 2; i++) add_step(&t, "last_rows", "mask:s dst:v", 0, "dims = array<i64: 0, 1, 2, 3>");
  add_step(&t, "group_selections", "blocks:u row_token:w scratch:s", 5,
           "experts = 40 : i64, top_k = 20 : i64, mode = \"token\", schedule = {row_block = 103 : i64}");
  add_step(&t, "loop", "blocks:u row_token:w", 1,
           "body = 1 : i64, kind = \"groups\", chunk = 104 : i64, top_k = 3 : i64, generate = 0 : i64, cache = -1 : i64");
  add_step(&t, "last_rows", "mask:s dst:v", 0, "dims = array<i64: 0, 1, 2, 3>");
  add_step(&t, "loop", "", 4,
           "body = 1 : i64, kind = \"rows\", chunk = 105 : i64, top_k = 106 : i64, generate = 0 : i64, cache = -1 : i64");
  add_step(&t, "last_rows", "mask:s dst:v", 0, "dims = array<i64: 0, 1, 2, 3>");
  add_step(&t, "group_selections", "indices:v blocks:u row_token:w scratch:s", 5,
           "experts = 40 : i64, top_k = 20 : i64, mode = \"rank\", schedule = {row_block = 107 : i64}");
  add_step(&t, "choose", "blocks:u", 1,
           "first = 1 : i64, second = 1 : i64, schedule = {block_rows = 1 : i64, percent = 1 : i64, row_block = 1 : i64}");
  for (int i = 0; i < 2; i++) add_step(&t, "last_rows", "mask:s dst:v", 0, "dims = array<i64: 0, 1, 2, 3>");
  add_step(&t, "group_tokens", "indices:v gates:v blocks:b row_token:w row_slot:v row_gate:v counters:o", 4,
           "experts = 7 : i64, top_k = 1 : i64, capacity = 0 : i64, dims = array<i64>, scope = -1 : i64, schedule = {row_block = "
           "64 : i64}");
  add_step(&t, "choose", "blocks:b", 1,
           "first = 1 : i64, second = 1 : i64, schedule = {block_rows = 1 : i64, percent = 1 : i64, row_block = 1 : i64}");
  add(&t, "return\n}\n}\n");
  fixture_init(&fixture, stderr);
  assert_true(unit_make(&fixture, t.at, &unit));
  const hmoe_plan *plan = plan_of(&unit);
  const hmoe_plan_state *states = at(&unit, plan->states);
  assert_true(plan->states.count == 2 && states[0].scope == 0 && states[0].segments == 3 && states[0].position_bytes == 40);
  assert_true(states[1].scope == 1 && states[1].segments == 5 && states[1].position_bytes == 60);
  const hmoe_plan_setting *settings = at(&unit, plan->generation);
  assert_int_equal(plan->generation.count, 4);
  static const uint32_t names[] = {HMOE_SETTING_PAD_TOKEN, HMOE_SETTING_END_TOKEN, HMOE_SETTING_MAX_LENGTH,
                                   HMOE_SETTING_TEMPERATURE},
                        counts[] = {0, 2, 1, 1};
  for (size_t i = 0; i < 4; i++) assert_true(settings[i].setting == names[i] && settings[i].values.count == counts[i]);
  const int64_t *ends = at(&unit, settings[1].values);
  double temperature;
  memcpy(&temperature, at(&unit, settings[3].values), sizeof temperature);
  assert_true(ends[0] == 7 && ends[1] == 9 && temperature >= 0.25 && temperature <= 0.25);
  assert_int_equal(*(const int64_t *)at(&unit, settings[2].values), 12);
  const hmoe_plan_cache *caches = at(&unit, plan->caches);
  assert_int_equal(plan->caches.count, 2);
  assert_true(caches[0].slots == 0 && caches[1].slots == 13 && caches[1].top_k == 2);
  assert_int_equal(caches[1].bytes, 20 + 4 * 13 * 6); /* to the end of the one that ends last */

  const hmoe_plan_entry *entry = entry_of(&unit, 1);
  expect_name(&unit, entry->name, "decode");
  assert_true(entry->needs_state == 1 && entry->advance[0] == 1 && entry->advance[1] == HMOE_NONE && entry->slots == 7);
  static const hmoe_plan_dim dims[] = {{0, 21, 22}, {0, 0, 0}, {10, 4, 25}, {10, 3, 0}, {1, 1, 32}, {9, 2, 8}};
  assert_int_equal(entry->dims.count, 6);
  assert_memory_equal(at(&unit, entry->dims), dims, sizeof dims);
  const hmoe_plan_span *dim_names = at(&unit, entry->dim_names);
  assert_int_equal(entry->dim_names.count, 2);
  expect_name(&unit, dim_names[0], "length");
  expect_name(&unit, dim_names[1], "wide");
  static const char *const of_dims[] = {"length", "wide", "source_capacity", "source_rows", "?", "?"};
  for (int64_t i = 0; i < 6; i++) {
    int length;
    const char *name = hmoec_unit_dim_name(&unit, entry, i, &length);
    assert_int_equal(length, strlen(of_dims[i]));
    assert_memory_equal(name, of_dims[i], (size_t)length);
  }

  const hmoe_plan_tensor *inputs = at(&unit, entry->inputs), *output = at(&unit, entry->outputs);
  static const struct {
    const char *name;
    uint32_t dtype, rank, optional, needed_by;
    int64_t shape[3], fill;
  } tensors[] = {{"x", 0, 2, 0, 3, {-1, 4, 0}, 0},
                 {"ids", 2, 2, 0, 0, {-4, -2, 0}, 0},
                 {"mask", 1, 1, 1, 1, {-3, 0, 0}, 5},
                 {"y", 0, 3, 0, 0, {-5, 3, 2}, 0}};
  assert_true(entry->inputs.count == 3 && entry->outputs.count == 1);
  for (size_t i = 0; i < 4; i++) {
    const hmoe_plan_tensor *found = i < 3 ? &inputs[i] : output;
    expect_name(&unit, found->name, tensors[i].name);
    assert_true(found->dtype == tensors[i].dtype && found->rank == tensors[i].rank && found->optional == tensors[i].optional);
    assert_true(found->needed_by == tensors[i].needed_by && found->fill == tensors[i].fill && found->shape[3] == 0);
    assert_memory_equal(found->shape, tensors[i].shape, sizeof tensors[i].shape);
  }

  size_t header_size;
  char *header = hmoec_header_print(&unit, &header_size);
  assert_non_null(header);
  assert_non_null(strstr(header, "  float *y; /* output, borrowed during the call: f32 [?, 3, 2], row-major */\n"));
  assert_non_null(strstr(
      header, "const int32_t *mask; /* input, borrowed during the call: i32 [source_capacity], row-major; NULL: all 5 */\n"));
  free(header);

  static const hmoe_plan_buffer expected[] = {
      {.kind = HMOE_BUFFER_INPUT, .index = 2, .bytes_per_row = 24, .dim = 1},
      {.kind = HMOE_BUFFER_OUTPUT, .index = 1, .fixed_bytes = 40, .bytes_per_row = 20, .dim = 0},
      {.kind = HMOE_BUFFER_WORKSPACE, .index = 2, .fixed_bytes = 4 * 2 * 21, .bytes_per_row = 2 * 21, .dim = 5},
      {.kind = HMOE_BUFFER_WORKSPACE, .index = 6, .fixed_bytes = 44, .dim = HMOE_NONE},
      {.kind = HMOE_BUFFER_STATE, .index = 1, .dim = HMOE_NONE},
      {.kind = HMOE_BUFFER_CACHE, .index = 1, .offset = 20, .fixed_bytes = 4 * 13 * 6, .dim = HMOE_NONE},
      {.kind = HMOE_BUFFER_CACHE, .index = 1, .offset = 4, .fixed_bytes = 2 * 13 * 4, .dim = HMOE_NONE},
      {.kind = HMOE_BUFFER_WORKSPACE, .index = 3, .fixed_bytes = 64, .bytes_per_row = 16, .dim = 1},
      {.kind = HMOE_BUFFER_WORKSPACE, .index = 1, .fixed_bytes = 64, .bytes_per_row = 16, .dim = 1},
      {.kind = HMOE_BUFFER_INPUT, .index = 0, .bytes_per_row = 4, .dim = 1},
  };
  assert_int_equal(entry->buffers.count, sizeof expected / sizeof *expected);
  assert_memory_equal(at(&unit, entry->buffers), expected, sizeof expected);

  uint32_t i = 0;
  EXPECT(i++, HMOE_STEP_IDS, 2, hmoe_step_ids, (I, V), .element_bytes = 8, .limit = 81, .fill = -82);
  EXPECT(i++, HMOE_STEP_IDS, 1, hmoe_step_ids, (J, V), .element_bytes = 4, .limit = 83, .fill = 84);
  EXPECT(i++, HMOE_STEP_POSITIONS, 3, hmoe_step_positions, (S, V), .tokens = {2, 0, 3, 1}, .limit = 85);
  EXPECT(i++, HMOE_STEP_LAST_ROWS, 2, hmoe_step_last_rows, (-1, V), .tokens = {1, 3, HMOE_NONE, 2});
  EXPECT(i++, HMOE_STEP_APPEND_MASK, 1, hmoe_step_append_mask, (V, S), .tokens = {3, 2, 1, 0});
  EXPECT(i++, HMOE_STEP_GROUP, 4, hmoe_step_group, (V, -1, B, W, -1, -1, O, S), .experts = 9, .top_k = 2, .row_block = 94,
         .scope_dim = 1, .capacity = 93, .past_dim = 5, .stride_dim = 3);
  EXPECT(i, HMOE_STEP_CHOOSE, 1, hmoe_step_choose, (B), .first_steps = 1, .second_steps = 2, .percent = 96, .block_rows = 95,
         .row_block = 94, .groups = 18); /* 9 experts, and the rows over capacity of each */
  i += 4;
  EXPECT(i, HMOE_STEP_CHOOSE, 3, hmoe_step_choose, (-1), .first_steps = 2, .second_steps = 1, .percent = 99, .block_rows = 98,
         .row_block = 101, .groups = 1);
  i += 4;
  EXPECT(i++, HMOE_STEP_GROUP_SETS, 5, hmoe_step_group_sets, (V, U, W, O, S), .experts = 9, .top_k = 2, .row_block = 102,
         .mode = HMOE_SETS_DISTINCT);
  EXPECT(i++, HMOE_STEP_LOOP, 1, hmoe_step_loop, (U, O, -1, -1, V, W), .kind = HMOE_LOOP_CACHED, .steps = 4, .chunk = 20,
         .groups = 36, .top_k = 2, .cache = 1);
  EXPECT(i, HMOE_STEP_CHOOSE, 1, hmoe_step_choose, (U), 1, 1, 1, 1, 102, 20, {0, 0});
  i += 4;
  EXPECT(i, HMOE_STEP_CHOOSE, 1, hmoe_step_choose, (U), 1, 1, 1, 1, 102, 36, {0, 0});
  i += 3;
  EXPECT(i++, HMOE_STEP_GROUP_SETS, 5, hmoe_step_group_sets, (-1, U, W, -1, S), .experts = 40, .top_k = 20, .row_block = 103,
         .mode = HMOE_SETS_TOKEN);
  EXPECT(i, HMOE_STEP_LOOP, 1, hmoe_step_loop, (U, -1, -1, -1, -1, W), .kind = HMOE_LOOP_GROUPS, .steps = 1, .chunk = 104,
         .groups = HMOE_NONE, .top_k = 3);
  i += 2;
  EXPECT(i, HMOE_STEP_LOOP, 4, hmoe_step_loop, (-1, -1, -1, -1, -1, -1), .kind = HMOE_LOOP_ROWS, .steps = 1, .chunk = 105);
  i += 2;
  EXPECT(i++, HMOE_STEP_GROUP_SETS, 5, hmoe_step_group_sets, (V, U, W, -1, S), .experts = 40, .top_k = 20, .row_block = 107,
         .mode = HMOE_SETS_RANK);
  EXPECT(i, HMOE_STEP_CHOOSE, 1, hmoe_step_choose, (U), 1, 1, 1, 1, 107, HMOE_NONE, {0, 0}); /* C(40, 20) is more than 32 bits */
  i += 3;
  EXPECT(i++, HMOE_STEP_GROUP, 4, hmoe_step_group, (V, V, B, W, V, V, O, -1), .experts = 7, .top_k = 1, .row_block = 64,
         .scope_dim = HMOE_NONE, .past_dim = HMOE_NONE, .stride_dim = HMOE_NONE);
  EXPECT(i++, HMOE_STEP_CHOOSE, 1, hmoe_step_choose, (B), 1, 1, 1, 1, 64, 7, {0, 0});
  assert_int_equal(entry->steps.count, i);
  hmoec_unit_deinit(&unit);
  fixture_deinit(&fixture);
}

/* Numbers that a plan has no room for, and blocks that nothing has made. */
static void test_refused_steps(void **state) {
  (void)state;
  static const struct {
    const char *name, *bound, *attributes, *message;
  } rows[] = {
      {"all_selections", "dst:v", "experts = 4294967294 : i64, top_k = 0 : i64, sets = 1 : i64", NULL},
      {"all_selections", "dst:v", "experts = 4294967295 : i64, top_k = 1 : i64, sets = 1 : i64",
       "expected experts of all_selections to fit 32 bits, found 4294967295"},
      {"all_selections", "dst:v", "experts = 1 : i64, top_k = -1 : i64, sets = 1 : i64",
       "expected top_k of all_selections to fit 32 bits, found -1"},
      {"choose", "blocks:v", "first = 1 : i64, second = 1 : i64", "internal: nothing has grouped the rows of hmk.choose"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    static text t;
    module_fixture fixture;
    hmoec_unit unit;
    t.used = 0;
    add(&t, "module attributes {hmk.dtype = \"f32\", hmk.schedule = {}, hmk.target = \"cpu\", hmk.weight_bytes = 0 : i64}{\n"
            "func.func @run() attributes {hmk.dims = array<i64>, hmk.model = \"m\"} {\n");
    add_buffer(&t, "v", "workspace", "i32", "11", 0, 0, -1, 4, 0, 6, "");
    add_step(&t, rows[i].name, rows[i].bound, -1, rows[i].attributes);
    add(&t, "return\n}\n}\n");
    fixture_init(&fixture, NULL);
    assert_true(unit_make(&fixture, t.at, &unit) == !rows[i].message);
    assert_string_equal(hmoec_diagnostics_first(fixture.diagnostics), rows[i].message ? rows[i].message : "");
    assert_int_equal(hmoec_diagnostics_errors(fixture.diagnostics), rows[i].message ? 1 : 0);
    if (!rows[i].message) hmoec_unit_deinit(&unit);
    assert_null(unit.name);
    fixture_deinit(&fixture);
  }
}

/* A module that is not planned, or for another target, is none to read; what is said is that. */
static void test_other_modules(void **state) {
  (void)state;
  static const struct {
    const char *attributes, *message;
  } rows[] = {{"hmk.dtype = \"f32\", hmk.weight_bytes = 0 : i64, hmk.target = \"cuda\", hmk.schedule = {}",
               "expected a module planned for target cpu, found cuda"},
              {"hmk.dtype = \"f32\", hmk.weight_bytes = 0 : i64, hmk.schedule = {}",
               "expected a planned module with hmk.target and hmk.schedule"},
              {"hmk.dtype = \"f32\", hmk.weight_bytes = 0 : i64, hmk.target = \"cpu\"",
               "expected a planned module with hmk.target and hmk.schedule"}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char module[512];
    module_fixture fixture;
    hmoec_unit unit;
    snprintf(module, sizeof module,
             "module attributes {%s} {\nfunc.func @run() attributes {hmk.dims = array<i64>, hmk.model = \"m\"} {\nreturn\n}\n}\n",
             rows[i].attributes);
    fixture_init(&fixture, NULL);
    assert_false(unit_make(&fixture, module, &unit));
    assert_string_equal(hmoec_diagnostics_first(fixture.diagnostics), rows[i].message);
    assert_true(!unit.plan && !unit.name && !unit.kernels);
    fixture_deinit(&fixture);
  }
}

/* ---- plans of models ---- */

static void session_make(hmoec_session *session, hmoec_diagnostics *diagnostics, const char *path, const char *spec,
                         const hmoec_define *defines, size_t define_count, const char *dtype) {
  const hmoec_options options = {.struct_size = sizeof options, .defines = defines, .define_count = define_count, .dtype = dtype};
  assert_true(hmoec_session_init(session, &options, diagnostics));
  assert_true(path ? hmoec_session_load(session, path)
                   : hmoec_session_load_spec(session, "test.spec", spec, spec ? strlen(spec) : 0));
  assert_true(hmoec_session_plan(session));
}

/* Of an object for GPUs the host has code for what opening runs, and where its rows are laid out as the GPU's for all. */
static void test_kernels_of_the_host(void **state) {
  (void)state;
  for (int bf16 = 0; bf16 < 2; bf16++) {
    const hmoec_define defines[] = {{"d_model", "40"}, {"d_ff", "56"}};
    const hmoec_options options = {
        .struct_size = sizeof options, .defines = defines, .define_count = 2, .dtype = bf16 ? "bf16" : "f32", .target = "cuda"};
    hmoec_session session;
    hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(stderr);
    assert_true(hmoec_session_init(&session, &options, diagnostics));
    assert_true(hmoec_session_load(&session, HMOE_SOURCE_DIR "/models/hypermoe-layer.spec") && hmoec_session_plan(&session));
    const hmoe_plan_entry *open = entry_of(&session.unit, 0);
    const hmoe_plan_step *steps = at(&session.unit, open->steps);
    uint32_t of_open = 0;
    for (uint32_t i = 0; i < open->steps.count; i++) {
      const hmoe_step_kernel *fields = at(&session.unit, steps[i].fields);
      if (steps[i].kind == HMOE_STEP_KERNEL && fields->kernel >= of_open) of_open = fields->kernel + 1;
    }
    assert_in_range(of_open, 1, session.unit.kernel_count - 1);
    assert_int_equal(session.unit.host_kernels, bf16 ? of_open : session.unit.kernel_count);
    hmoec_session_deinit(&session);
    hmoec_diagnostics_destroy(diagnostics);
  }
}

/* Kernels beside the ops that they are read from. */
static void test_kernels(void **state) {
  (void)state;
  static const struct {
    const char *path, *dtype;
    hmoec_define defines[4];
    size_t count;
  } models[] = {
      {HMOE_SOURCE_DIR "/models/gpt2-hypermoe-tiny.spec", "f32", {{"layers", "1"}}, 1},
      {HMOE_SOURCE_DIR "/models/hypermoe-layer.spec",
       "bf16",
       {{"d_model", "40"}, {"d_ff", "56"}, {"strategy", "factored"}, {"top_k", "2"}},
       4},
      {HMOE_SOURCE_DIR "/models/hypermoe-layer.spec",
       "f32",
       {{"d_model", "40"}, {"d_ff", "56"}, {"strategy", "cache"}, {"top_k", "2"}},
       4},
  };
  size_t grids[3] = {0};
  for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
    hmoec_session session;
    hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(stderr);
    session_make(&session, diagnostics, models[m].path, NULL, models[m].defines, models[m].count, models[m].dtype);
    const hmoec_unit *unit = &session.unit;
    size_t highest = 0;
    uint32_t index = 0;
    MlirBlock body = mlirModuleGetBody(session.planned);
    for (MlirOperation function = mlirBlockGetFirstOperation(body); !mlirOperationIsNull(function);
         function = mlirOperationGetNextInBlock(function), index++) {
      const hmoe_plan_entry *entry = entry_of(unit, index);
      const hmoe_plan_step *step = at(unit, entry->steps);
      MlirBlock block = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
      for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
        const hmoec_hmk_info *info = hmoec_hmk_info_of(op);
        if (!info) continue;
        assert_int_equal(step->kind, info->step);
        const hmoe_step_kernel *fields = at(unit, step->fields);
        step++;
        if (info->step != HMOE_STEP_KERNEL) continue;
        hmoec_kernel kernel;
        assert_true(hmoec_kernel_read(op, &unit->functions, &kernel));
        assert_true(fields->kernel <= highest && fields->kernel < unit->kernel_count);
        highest += fields->kernel == highest;
        assert_memory_equal(&unit->kernels[fields->kernel], &kernel, sizeof kernel);
        assert_int_equal(fields->work.count, kernel.family == HMOEC_KERNEL_ATTENTION ? 3 : 0);
        bool matmul = strcmp(info->name, "grouped_matmul") == 0, ffn = strcmp(info->name, "grouped_ffn") == 0;
        size_t role = 0;
        while (info->roles[role] && strcmp(info->roles[role], "blocks") != 0) role++;
        bool blocks = info->roles[role] && hmoec_hmk_operand(op, info, role) >= 0;
        assert_int_equal(fields->grid, blocks ? HMOE_GRID_BLOCKS : matmul || ffn ? HMOE_GRID_DENSE : HMOE_GRID_ROWS);
        assert_int_equal(fields->blocks_binding, blocks ? role : 0);
        if (!blocks) assert_int_equal(fields->groups, 1);
        /* That of blocks is the grouping's, which is what the product itself has room for. */
        assert_int_equal(fields->row_block, strcmp(info->name, "attention") == 0 ? 1 : hmoec_hmk_schedule(op, "row_block"));
        grids[fields->grid]++;
        int64_t columns = matmul ? kernel.spec.matmul.n : 1, column_step = matmul ? hmoec_target_cpu.column_step : 1;
        assert_int_equal(fields->column_splits, (columns + column_step - 1) / column_step);
        intptr_t dims = hmoec_hmk_array_size(op, "dims");
        assert_int_equal(fields->dims.count, dims > 0 ? dims : 0);
        for (intptr_t d = 0; d < dims; d++) {
          int64_t dim = hmoec_hmk_array(op, "dims", d);
          assert_true(((const uint32_t *)at(unit, fields->dims))[d] == (dim < 0 ? HMOE_NONE : (uint32_t)dim));
        }
      }
      assert_true(step == (const hmoe_plan_step *)at(unit, entry->steps) + entry->steps.count);
    }
    assert_int_equal(highest, unit->kernel_count); /* all are used */
    for (size_t i = 0; i < highest; i++)
      for (size_t j = 0; j < i; j++) assert_memory_not_equal(&unit->kernels[i], &unit->kernels[j], sizeof *unit->kernels);
    assert_int_equal(unit->scratch_bytes, hmoec_target_cpu.scratch_bytes(&unit->schedule, unit->kernels, unit->kernel_count));
    assert_true(plan_of(unit)->weight_bytes == (uint64_t)hmoec_op_int(mlirModuleGetOperation(session.planned), "hmk.weight_bytes"));
    hmoec_session_deinit(&session);
    hmoec_diagnostics_destroy(diagnostics);
  }
  for (size_t i = 0; i < 3; i++) assert_true(grids[i] > 3);
}

/* ---- text ---- */

/* Line by line, so that a failure shows one. */
static void expect_lines(const char *found, const char *expected) {
  for (int line = 1; *found || *expected; line++) {
    size_t a = strcspn(found, "\n"), b = strcspn(expected, "\n");
    if (a != b || memcmp(found, expected, a) != 0)
      fail_msg("line %d: expected\n%.*s\nfound\n%.*s", line, (int)b, expected, (int)a, found);
    found += a + (found[a] == '\n');
    expected += b + (expected[b] == '\n');
  }
}

#define PREAMBLE(NAME, HEADER)                                                                                                     \
  "#ifndef " NAME "_H\n#define " NAME "_H\n\n#include <hmoe/" HEADER ".h>\n\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n"
#define OPENING(name)                                                                                                              \
  "typedef struct " name " " name "; /* an open model; an hmoe_model by another name */\n\n"                                       \
  "extern const struct hmoe_model_object " name "_object;\n\n"                                                                     \
  "/* Opens weights from a .safetensors or .hmw file, or a checkpoint's directory. options may be NULL. On success *out_model is " \
  "owned by the caller: " name "_close. */\n"                                                                                      \
  "HMOE_MUST_USE static inline hmoe_status " name "_open(const char *path, const hmoe_options *options, struct " name              \
  " **out_model) {\n  hmoe_weights weights = {HMOE_WEIGHTS_PATH, path, -1, 0, 0};\n"                                               \
  "  return hmoe_model_open(&" name "_object, &weights, options, (hmoe_model **)out_model);\n}\n\n"                                \
  "/* The same from memory, or from an open file descriptor. */\n"                                                                 \
  "HMOE_MUST_USE static inline hmoe_status " name "_open_weights(const hmoe_weights *weights, const hmoe_options *options, "       \
  "struct " name " **out_model) {\n"                                                                                               \
  "  return hmoe_model_open(&" name "_object, weights, options, (hmoe_model **)out_model);\n}\n\n"
#define CLOSING(name)                                                                                                              \
  "/* Writes the packed, folded weights: a .hmw file that opens without packing. */\n"                                             \
  "HMOE_MUST_USE static inline hmoe_status " name "_save(const " name " *model, const char *path) {\n"                             \
  "  return hmoe_model_save((const hmoe_model *)model, path);\n}\n\n"                                                              \
  "/* NULL is allowed. No run may be under way. */\n"                                                                              \
  "static inline void " name "_close(" name " *model) { hmoe_model_close((hmoe_model *)model); }\n\n"                              \
  "#ifdef __cplusplus\n}\n#endif\n#endif\n"
#define ARGUMENTS " Pointers are aligned for their elements; outputs do not overlap inputs; 0 rows are allowed. */\ntypedef struct "

static const char layer_header[] =
    "/* two_in: a model compiled by hmoec " HMOE_VERSION
    ". Link two_in.o and libhmoert. <hmoe/runtime.h> documents errors, options and threads. */\n" PREAMBLE("TWO_IN", "runtime")
        OPENING(
            "two_in") "/* The whole model." ARGUMENTS "two_in_forward_args {\n"
                      "  int64_t rows;\n"
                      "  int64_t length;\n"
                      "  const int32_t *ids; /* input, borrowed during the call: i32 [rows, length], row-major */\n"
                      "  const float *x; /* input, borrowed during the call: f32 [rows, length, 6], row-major */\n"
                      "  float *sum; /* output, borrowed during the call: f32 [rows, length, 6], row-major */\n"
                      "  float *z; /* output, borrowed during the call: f32 [rows, length, 3], row-major */\n"
                      "} two_in_forward_args;\n\n"
                      "/* May be called from several threads on one model. */\n"
                      "HMOE_MUST_USE static inline hmoe_status two_in_forward(two_in *model, const two_in_forward_args *args) {\n"
                      "  const int64_t dims[] = {args->rows, args->length};\n"
                      "  const void *const inputs[] = {args->ids, args->x};\n"
                      "  void *const outputs[] = {args->sum, args->z};\n"
                      "  return hmoe_model_run((hmoe_model *)model, 1, dims, inputs, outputs);\n}\n\n" CLOSING("two_in");

static const char whole_header[] =
    "/* gpt2_hypermoe_tiny: a model compiled by hmoec " HMOE_VERSION
    ". Link gpt2_hypermoe_tiny.o and libhmoert. <hmoe/runtime.h> documents errors, options and threads. */\n" PREAMBLE(
        "GPT2_HYPERMOE_TINY", "generate")
        OPENING(
            "gpt2_hypermoe_tiny") "/* The whole model." ARGUMENTS "gpt2_hypermoe_tiny_forward_args {\n"
                                  "  int64_t batch;\n"
                                  "  int64_t length;\n"
                                  "  const int64_t *input_ids; /* input, borrowed during the call: i64 [batch, length], row-major "
                                  "*/\n"
                                  "  const int64_t *attention_mask; /* input, borrowed during the call: i64 [batch, length], "
                                  "row-major; NULL: all 1 */\n"
                                  "  float *logits; /* output, borrowed during the call: f32 [batch, length, 197], row-major */\n"
                                  "} gpt2_hypermoe_tiny_forward_args;\n\n"
                                  "/* May be called from several threads on one model. */\n"
                                  "HMOE_MUST_USE static inline hmoe_status gpt2_hypermoe_tiny_forward(gpt2_hypermoe_tiny *model, "
                                  "const "
                                  "gpt2_hypermoe_tiny_forward_args *args) {\n"
                                  "  const int64_t dims[] = {args->batch, args->length};\n"
                                  "  const void *const inputs[] = {args->input_ids, args->attention_mask};\n"
                                  "  void *const outputs[] = {args->logits};\n"
                                  "  return hmoe_model_run((hmoe_model *)model, 1, dims, inputs, outputs);\n}\n\n";
static const char decoding_header[] =
    "/* The next tokens of every row, behind those that the state has; the last one's "
    "logits." ARGUMENTS "gpt2_hypermoe_tiny_decode_args {\n"
    "  int64_t length;\n"
    "  const int64_t *input_ids; /* input, borrowed during the call: i64 [target_rows, length], "
    "row-major */\n"
    "  const int64_t *attention_mask; /* input, borrowed during the call: i64 [target_rows, length], "
    "row-major; NULL: all 1 */\n"
    "  float *logits; /* output, borrowed during the call: f32 [target_rows, 197], row-major */\n"
    "} gpt2_hypermoe_tiny_decode_args;\n\n"
    "/* One state is used by one call at a time. */\n"
    "HMOE_MUST_USE static inline hmoe_status gpt2_hypermoe_tiny_decode(gpt2_hypermoe_tiny *model, "
    "hmoe_state *state, const "
    "gpt2_hypermoe_tiny_decode_args *args) {\n"
    "  const int64_t dims[] = {args->length};\n"
    "  const void *const inputs[] = {args->input_ids, args->attention_mask};\n"
    "  void *const outputs[] = {args->logits};\n"
    "  return hmoe_model_run_state((hmoe_model *)model, 2, state, dims, inputs, outputs);\n}\n\n"
    "/* Room to decode in: see hmoe_state_create. The model must outlive it; release it by "
    "hmoe_state_destroy. */\n"
    "HMOE_MUST_USE static inline hmoe_status gpt2_hypermoe_tiny_state_create(gpt2_hypermoe_tiny "
    "*model, const hmoe_state_options "
    "*options, hmoe_state **out_state) {\n"
    "  return hmoe_state_create((hmoe_model *)model, options, out_state);\n}\n\n"
    "/* Tokens out of a prompt: see <hmoe/generate.h>. tokens [rows, "
    "gpt2_hypermoe_tiny_generation_width]; *length columns are filled "
    "in. */\n"
    "static inline int64_t gpt2_hypermoe_tiny_generation_width(const gpt2_hypermoe_tiny *model, "
    "const hmoe_prompt *prompt, const "
    "hmoe_generation *options) {\n"
    "  return hmoe_generation_width((const hmoe_model *)model, prompt, options);\n}\n"
    "HMOE_MUST_USE static inline hmoe_status gpt2_hypermoe_tiny_generate(gpt2_hypermoe_tiny *model, "
    "const hmoe_prompt *prompt, const "
    "hmoe_generation *options, int64_t *tokens, int64_t *length) {\n"
    "  return hmoe_model_generate((hmoe_model *)model, prompt, options, tokens, "
    "length);\n}\n\n" CLOSING("gpt2_hypermoe_tiny");

static const char two_in[] = "model two_in\ndim rows = ?, length = ?\ninput ids: i32[rows, length]\ninput x: f32[rows, length, 6]\n"
                             "param t: [9, 6] from \"t\"\nparam w: [3, 6] from \"w\"\nparam u: [6, 6] from \"u.0\" or \"u.1\"\n"
                             "output sum = add(embedding(ids, t), linear(x, u))\noutput z = linear(x, w)\n";

static const char one_in[] = "model one\ndim n = ?\ninput x: f32[n, 6]\noutput y = add(x, x)\n";
static const char run_header[] =
    "/* one: a model compiled by hmoec " HMOE_VERSION
    ". Link one.o and libhmoert. <hmoe/runtime.h> documents errors, options and threads. */\n" PREAMBLE("ONE", "runtime")
        OPENING("one") "/* One run." ARGUMENTS "one_args {\n"
                       "  int64_t n;\n"
                       "  const float *x; /* input, borrowed during the call: f32 [n, 6], row-major */\n"
                       "  float *y; /* output, borrowed during the call: f32 [n, 6], row-major */\n"
                       "} one_args;\n\n"
                       "/* May be called from several threads on one model. */\n"
                       "HMOE_MUST_USE static inline hmoe_status one_run(one *model, const one_args *args) {\n"
                       "  const int64_t dims[] = {args->n};\n"
                       "  const void *const inputs[] = {args->x};\n"
                       "  void *const outputs[] = {args->y};\n"
                       "  return hmoe_model_run((hmoe_model *)model, 1, dims, inputs, outputs);\n}\n\n" CLOSING("one");

static char *header_of(const hmoec_unit *unit) {
  size_t size;
  char *found = hmoec_header_print(unit, &size);
  assert_non_null(found);
  assert_int_equal(size, strlen(found));
  return found;
}

static void test_headers(void **state) {
  (void)state;
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(stderr);
  hmoec_session session;
  session_make(&session, diagnostics, NULL, two_in, NULL, 0, NULL);
  char *found = header_of(&session.unit);
  expect_lines(found, layer_header);
  free(found);
  hmoec_session_deinit(&session);
  session_make(&session, diagnostics, HMOE_SOURCE_DIR "/models/gpt2-hypermoe-tiny.spec", NULL, &(const hmoec_define){"layers", "1"},
               1, NULL);
  found = header_of(&session.unit);
  char expected[sizeof whole_header + sizeof decoding_header];
  snprintf(expected, sizeof expected, "%s%s", whole_header, decoding_header);
  expect_lines(found, expected);
  free(found);
  hmoec_session_deinit(&session);
  session_make(&session, diagnostics, NULL, one_in, NULL, 0, NULL);
  found = header_of(&session.unit);
  expect_lines(found, run_header);
  free(found);
  hmoec_session_deinit(&session);
  /* An encoder-decoder has two entries more. */
  session_make(&session, diagnostics, HMOE_SOURCE_DIR "/models/switch-hypermoe-tiny.spec", NULL, NULL, 0, NULL);
  found = header_of(&session.unit);
  static const char *const parts[] = {
      "/* What does not depend on what is generated: the encoder." ARGUMENTS "switch_hypermoe_tiny_encode_args {\n",
      "switch_hypermoe_tiny_prepare(switch_hypermoe_tiny *model, hmoe_state *state, const switch_hypermoe_tiny_prepare_args *args) "
      "{\n",
      "/* Before decoding: encodes, and puts what decoding reads of it into the state. The state's source_rows rows." ARGUMENTS
      "switch_hypermoe_tiny_prepare_args {\n",
      "[source_rows, ", "  void *const outputs[] = {0};\n"};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    if (!strstr(found, parts[i])) fail_msg("expected %s in\n%s", parts[i], found);
  free(found);
  hmoec_session_deinit(&session);
  hmoec_diagnostics_destroy(diagnostics);
}

/* A number of a manifest that depends on layouts: it is what the plan has, and is left out of the text that is compared. */
static void take_number(cJSON *object, const char *name, double expected) {
  cJSON *item = cJSON_DetachItemFromObject(object, name);
  if (!item || !cJSON_IsNumber(item) || item->valuedouble < expected || item->valuedouble > expected)
    fail_msg("%s: expected %g, found %g", name, expected, item ? item->valuedouble : -1);
  cJSON_Delete(item);
}

/* The kernels of an entry's steps, likewise. */
static void take_step_kernels(cJSON *object, const hmoec_unit *unit, const hmoe_plan_entry *entry) {
  cJSON *list = cJSON_DetachItemFromObject(object, "step_kernels"), *item;
  const hmoe_plan_step *step = (const void *)((const char *)unit->plan + entry->steps.offset);
  assert_int_equal(cJSON_GetArraySize(list), entry->steps.count);
  cJSON_ArrayForEach(item, list) {
    const hmoe_step_kernel *fields = (const void *)((const char *)unit->plan + step->fields.offset);
    if (step->kind != HMOE_STEP_KERNEL) assert_true(cJSON_IsNull(item));
    else assert_int_equal(item->valueint, fields->kernel);
    step++;
  }
  cJSON_Delete(list);
}

static void expect_manifest(const hmoec_session *session, const char *expected) {
  static const char *const strategies[] = {"table: fits", "cache: \"too\" many"};
  const hmoec_unit *unit = &session->unit;
  size_t size;
  hmoec_kernel_use uses[] = {{.name = "k_0", .registers = 168, .shared_bytes = 1024}};
  hmoec_made_image made[] = {{.target = "gpu", .version = "old", .kernels = uses, .kernel_count = 1},
                             {.target = "gpu", .version = "text"}};
  const hmoec_made_images images = {.at = made, .count = 2};
  char *found = hmoec_manifest_print(unit, 5, &images, strategies, 2, &size), stamp[32];
  assert_non_null(found);
  assert_true(size == strlen(found) && found[size - 1] == '\n' && found[size - 2] == '}');
  cJSON *root = cJSON_Parse(found), *entry, *entries = cJSON_GetObjectItem(root, "entries");
  free(found);
  assert_non_null(root);
  cJSON *layout = cJSON_DetachItemFromObject(root, "layout");
  snprintf(stamp, sizeof stamp, "%016llx", (unsigned long long)plan_of(unit)->layout);
  assert_string_equal(cJSON_GetStringValue(layout), stamp);
  cJSON_Delete(layout);
  take_number(root, "abi", HMOE_ABI_VERSION);
  take_number(root, "weight_bytes", (double)plan_of(unit)->weight_bytes);
  take_number(root, "kernels", (double)unit->kernel_count);
  uint32_t index = 1;
  cJSON_ArrayForEach(entry, entries) {
    take_number(entry, "steps", entry_of(unit, index)->steps.count);
    take_step_kernels(entry, unit, entry_of(unit, index++));
  }
  assert_int_equal(index, plan_of(unit)->entries.count);
  cJSON *schedule = cJSON_DetachItemFromObject(root, "schedule"), *of;
  for (size_t i = 0; i < unit->target->knob_count; i++) {
    const hmoec_knob *knob = &unit->target->knobs[i];
    of = cJSON_GetObjectItem(schedule, knob->of);
    assert_non_null(of);
    take_number(of, knob->name, (double)hmoec_knob_value(unit->target, &unit->schedule, knob->of, knob->name));
  }
  cJSON_ArrayForEach(of, schedule) assert_int_equal(cJSON_GetArraySize(of), 0);
  cJSON_Delete(schedule);
  cJSON *listed = cJSON_DetachItemFromObject(root, "images");
  char *printed = cJSON_PrintUnformatted(listed);
  assert_string_equal(printed, "[{\"target\":\"cpu\",\"version\":\"portable\"},{\"target\":\"cpu\",\"version\":\"avx512\"},"
                               "{\"target\":\"gpu\",\"version\":\"old\",\"kernels\":[{\"name\":\"k_0\",\"registers\":168,"
                               "\"shared_bytes\":1024}]},{\"target\":\"gpu\",\"version\":\"text\"}]");
  cJSON_free(printed);
  cJSON_Delete(listed);
  char *rest = cJSON_PrintUnformatted(root);
  if (strcmp(rest, expected) != 0) fail_msg("expected\n%s\nfound\n%s", expected, rest);
  cJSON_free(rest);
  cJSON_Delete(root);
}

#define HEAD(name, dtype)                                                                                                          \
  "{\"model\":\"" name "\",\"hmoec\":\"" HMOE_VERSION "\",\"target\":\"cpu\",\"dtype\":\"" dtype "\",\"entries\":["
#define STRATEGIES "\"strategies\":[\"table: fits\",\"cache: \\\"too\\\" many\"],"

static void test_manifests(void **state) {
  (void)state;
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(stderr);
  hmoec_session session;
  session_make(&session, diagnostics, NULL, two_in, NULL, 0, "bf16");
  expect_manifest(
      &session,
      HEAD("two_in",
           "bf16") "{\"name\":\"forward\",\"inputs\":[{\"name\":\"ids\",\"dtype\":\"i32\",\"shape\":[\"rows\",\"length\"]},"
                   "{\"name\":\"x\",\"dtype\":\"f32\",\"shape\":[\"rows\",\"length\",6]}],"
                   "\"outputs\":[{\"name\":\"sum\",\"dtype\":\"f32\",\"shape\":[\"rows\",\"length\",6]},"
                   "{\"name\":\"z\",\"dtype\":\"f32\",\"shape\":[\"rows\",\"length\",3]}]}],"
                   "\"parameters\":[{\"key\":\"t\",\"count\":1,\"shape\":[9,6]},{\"key\":\"w\",\"count\":1,\"shape\":[3,6]},"
                   "{\"key\":\"u.0\\nu.1\",\"count\":1,\"shape\":[6,6]}]," STRATEGIES "\"functions\":[]}");
  hmoec_session_deinit(&session);
  static const char generator[] =
      "model g\ndim n = ?\ninput x: f32[n, 4]\ngeneration {\n sample = 0\n bad_words = [[3, 4], [5]]\n "
      "end_token = [7, 8]\n pad_token = none\n "
      "start_token = 2\n temperature = 0.5\n early_stopping = 1\n max_length = 9\n}\n"
      "output y = activate(x, function = \"c:" HMOE_SOURCE_DIR "/examples/compiler/activations.c:quick_gelu\")\n";
  session_make(&session, diagnostics, NULL, generator, NULL, 0, NULL);
  expect_manifest(&session,
                  HEAD("g", "f32") "{\"name\":\"run\",\"inputs\":[{\"name\":\"x\",\"dtype\":\"f32\",\"shape\":[\"n\",4]}],"
                                   "\"outputs\":[{\"name\":\"y\",\"dtype\":\"f32\",\"shape\":[\"n\",4]}]}],\"parameters\":[],"
                                   "\"generation\":{\"start_token\":[2],\"pad_token\":[],\"end_token\":[7,8],\"bad_words\":[[3,4],["
                                   "5]],\"max_length\":9,"
                                   "\"early_stopping\":true,\"sample\":false,\"temperature\":0.5}," STRATEGIES
                                   "\"functions\":[\"quick_gelu\"]}");
  hmoec_session_deinit(&session);
  session_make(&session, diagnostics, HMOE_SOURCE_DIR "/models/gpt2-hypermoe-tiny.spec", NULL, &(const hmoec_define){"layers", "1"},
               1, NULL);
  size_t size;
  char *found = hmoec_manifest_print(&session.unit, 0, &session.images, NULL, 0, &size);
  cJSON *root = cJSON_Parse(found), *decode = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "entries"), 1);
  char *inputs = cJSON_PrintUnformatted(cJSON_GetObjectItem(decode, "inputs"));
  assert_string_equal(inputs,
                      "[{\"name\":\"input_ids\",\"dtype\":\"i64\",\"shape\":[\"target_rows\",\"length\"]},"
                      "{\"name\":\"attention_mask\",\"dtype\":\"i64\",\"shape\":[\"target_rows\",\"length\"],\"default\":1}]");
  assert_true(cJSON_IsTrue(cJSON_GetObjectItem(decode, "state")));
  cJSON_free(inputs);
  cJSON_Delete(root);
  free(found);
  hmoec_session_deinit(&session);
  hmoec_diagnostics_destroy(diagnostics);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_open_steps), cmocka_unit_test(test_run_steps),           cmocka_unit_test(test_refused_steps),
      cmocka_unit_test(test_kernels),    cmocka_unit_test(test_kernels_of_the_host), cmocka_unit_test(test_other_modules),
      cmocka_unit_test(test_headers),    cmocka_unit_test(test_manifests),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
