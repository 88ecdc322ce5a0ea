/* The steps that run at open, each against its formula in <hmoe/abi.h>: PACK, COPY, SELECTIONS, WEIGHT_EMBEDDING, and the
 * PARAM buffers that kernels read. */
#include "runtime_fixture.h"

#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

/* Opens a plan that only has entry 0; the caller reads model->arena. */
static hmoe_model *open_plan(fixture_plan *plan, hmoe_weights weights, uint32_t threads) {
  hmoe_options options = fixture_options(threads);
  hmoe_model *model;
  assert_ok(hmoe_model_open(plan_finish(plan, NULL, 0), &weights, &options, &model));
  return model;
}

static const float *arena_of(const hmoe_model *model) { return (const float *)(const void *)model->arena; }

typedef struct pack_case {
  const char *name;
  uint32_t count; /* tensors in the stack */
  uint64_t elements;
  uint64_t columns, q_count, col_count, col_stride, q_stride, outer, inner, outer_stride, inner_stride, offset, groups,
      group_stride;
  uint64_t dst_group_bytes, first_panel, first_depth, outer_pitch, panel_depth;
  uint32_t format;
  uint64_t real_q; /* 0: q_count */
  uint32_t paired;
  uint32_t between;
} pack_case;

static const pack_case pack_cases[] = {
    {"torch [out, in]", 1, 40 * 70, 64, 1, 40, 70, 0, 1, 70, 0, 1, 0, 1, 0, 2 * 70 * 128, 0, 0, 0, 70, 0, 0, 0, 0},
    {"[in, out]", 1, 40 * 70, 96, 1, 70, 1, 0, 1, 40, 0, 70, 0, 1, 0, 3 * 40 * 128, 0, 0, 0, 40, 0, 0, 0, 0},
    {"stack of tensors", 3, 33 * 5, 64, 1, 33, 5, 0, 1, 5, 0, 1, 0, 3, 0, 2 * 5 * 128, 0, 0, 0, 5, 0, 0, 0, 0},
    {"groups of one tensor", 1, 4 * 33 * 5, 64, 1, 33, 5, 0, 1, 5, 0, 1, 0, 4, 33 * 5, 3 * 7 * 128, 1, 2, 0, 7, 0, 0, 0, 0},
    {"a generator's rows", 1, 64 * 3 * 10, 192, 3, 64, 10, 640, 1, 10, 0, 1, 0, 1, 0, 6 * 10 * 128, 0, 0, 0, 10, 0, 0, 0, 0},
    {"two depths", 1, 40 * 100, 64, 1, 40, 100, 0, 3, 20, 33, 1, 7, 1, 0, 2 * 80 * 128, 0, 4, 25, 80, 0, 0, 0, 0},
    {"all padding", 1, 8, 32, 1, 0, 1, 0, 1, 4, 0, 1, 0, 1, 0, 4 * 128, 0, 0, 0, 4, 0, 0, 0, 0},
    {"real permutations", 1, 64 * 3 * 10, 256, 4, 60, 10, 640, 1, 10, 0, 1, 0, 1, 0, 8 * 10 * 128, 0, 0, 0, 10, 0, 3, 0, 0},
    {"a generator of pairs", 1, 40 * 33 * 3, 2048, 32, 40, 99, 3, 1, 3, 0, 1, 0, 1, 0, 64 * 3 * 128, 0, 0, 0, 3, 0, 31, 1, 0},
    {"tensors of many pages", 3, 96 * 100, 96, 1, 96, 100, 0, 1, 100, 0, 1, 0, 3, 0, 3 * 100 * 128, 0, 0, 0, 100, 0, 0, 0, 0},
    {"groups of many pages", 1, 5 * 6400, 64, 1, 64, 1, 0, 1, 100, 0, 64, 0, 5, 6400, 2 * 100 * 128, 0, 0, 0, 100, 0, 0, 0, 0},
    {"pairs of [out, in]", 1, 40 * 70, 64, 1, 40, 70, 0, 1, 70, 0, 1, 0, 1, 0, 2 * 96 * 64, 0, 0, 0, 96, 1, 0, 0, 0},
    {"pairs of [in, out]", 1, 41 * 70, 96, 1, 70, 1, 0, 1, 41, 0, 70, 0, 1, 0, 3 * 64 * 64, 0, 0, 0, 64, 1, 0, 0, 0},
    {"pairs, odd depth, strided", 1, 40 * 67 * 2, 64, 1, 40, 134, 0, 1, 67, 0, 2, 1, 1, 0, 2 * 96 * 64, 0, 0, 0, 96, 1, 0, 0, 0},
    {"pairs, stack", 3, 33 * 5, 64, 1, 33, 5, 0, 1, 5, 0, 1, 0, 3, 0, 3 * 32 * 64, 1, 0, 0, 32, 1, 0, 0, 0},
    {"pairs, two depths", 1, 40 * 100, 64, 1, 40, 100, 0, 3, 19, 33, 1, 7, 1, 0, 2 * 96 * 64, 0, 4, 26, 96, 1, 0, 0, 0},
    {"pairs that make pairs", 1, 64 * 70 * 9, 4096, 64, 50, 9, 450, 1, 9, 0, 1, 0, 1, 0, 128 * 32 * 64, 0, 0, 0, 32, 1, 63, 1, 0},
    {"every other panel", 3, 70 * 5, 96, 1, 70, 5, 0, 1, 5, 0, 1, 0, 3, 0, 7 * 5 * 128, 1, 0, 0, 5, 0, 0, 0, 1},
    {"every third panel of pairs", 1, 40 * 70, 64, 1, 40, 70, 0, 1, 70, 0, 1, 0, 1, 0, 4 * 96 * 64, 0, 0, 0, 96, 1, 0, 0, 2},
};

static uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static float from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static float bf16_value(uint16_t half) { return from_bits((uint32_t)half << 16); }

/* The nearer of the two neighbours, the even one of two as near. */
static float nearest_bf16(float value) {
  uint32_t bits = bits_of(value);
  float low = bf16_value((uint16_t)(bits >> 16)), high = bf16_value((uint16_t)((bits >> 16) + 1));
  double below = fabs((double)value - (double)low), above = fabs((double)high - (double)value);
  return below < above || (below == above && (bits >> 16) % 2 == 0) ? low : high;
}

static float *make_values(const pack_case *c) {
  float *values = malloc(c->count * c->elements * sizeof *values);
  for (uint64_t i = 0; i < c->count * c->elements; i++) values[i] = (float)(i + 1);
  return values;
}

/* What the formula of <hmoe/abi.h> makes of it, in elements of the destination. */
static float *expected_pack(const pack_case *c, uint32_t layout, const float *values) {
  uint64_t element_bytes = c->format ? 2 : 4, row = c->format ? 64 : 32, real_q = c->real_q ? c->real_q : c->q_count;
  float *expected = calloc(c->dst_group_bytes / element_bytes * c->groups, sizeof *expected);
  for (uint64_t g = 0; g < c->groups; g++)
    for (uint64_t o = 0; o < c->columns; o++)
      for (uint64_t ko = 0; ko < c->outer; ko++)
        for (uint64_t ki = 0; ki < c->inner; ki++) {
          uint64_t p = o / 32 / c->q_count, q = o / 32 % c->q_count, col = p * 32 + o % 32;
          if (c->paired) {
            p = o / 64 / (c->q_count / 2);
            q = o / 64 % (c->q_count / 2) * 2 + o % 2;
            col = p * 32 + o / 2 % 32;
          }
          if (layout == HMOE_LAYOUT_COLUMNS) {
            q = o % c->q_count;
            col = o / c->q_count;
          }
          uint64_t d = c->first_depth + ko * c->outer_pitch + ki, panel = c->first_panel + o / 32 * (1 + c->between);
          uint64_t at = g * c->dst_group_bytes / element_bytes + panel * c->panel_depth * 32;
          at += c->format ? d / 2 * row + o % 32 * 2 + d % 2 : d * row + o % 32;
          if (layout == HMOE_LAYOUT_COLUMNS) at = (g * c->dst_group_bytes / 4) + (c->first_panel * 32 + o) * c->panel_depth + d;
          uint64_t from = c->offset + q * c->q_stride + col * c->col_stride + ko * c->outer_stride + ki * c->inner_stride;
          uint64_t group_start = c->count > 1 ? g * c->elements : g * c->group_stride;
          float value = col >= c->col_count || q >= real_q ? 0 : values[group_start + from];
          expected[at] = c->format ? nearest_bf16(value) : value;
        }
  return expected;
}

/* The same weights as a file, of which open lets go page by page. */
static hmoe_weights write_file(hmoe_weights weights, char path[32]) {
  strcpy(path, "/tmp/hmoe-pack-XXXXXX");
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, weights.data, weights.size_bytes), weights.size_bytes);
  close(fd);
  return (hmoe_weights){.path = path};
}

static void check_pack(const pack_case *c, uint32_t layout, bool from_buffer, bool mapped, uint32_t threads) {
  fixture_plan *plan = plan_create("pack");
  uint32_t param = plan_param(plan, c->count > 1 ? "w.{}" : "w", c->count, SHAPE(c->elements));
  fixture_entry *entry = plan_entry(plan, "open");
  uint64_t dst_bytes = c->dst_group_bytes * c->groups;
  uint32_t dst = plan_weight(plan, entry, dst_bytes);
  uint32_t source = plan_buffer(entry, HMOE_BUFFER_PARAM, param, 0, 0, 0, HMOE_NONE);
  plan_step(plan, entry, HMOE_STEP_PACK, HMOE_NONE, BINDINGS(AT(dst), AT(from_buffer ? source : HMOE_NONE)),
            FIELDS(pack,
                   .source = {.param = from_buffer ? HMOE_NONE : param,
                              .offset = c->offset,
                              .groups = {c->groups, c->group_stride},
                              .columns = {c->col_count, c->col_stride},
                              .generated = {c->real_q ? c->real_q : c->q_count, c->q_stride},
                              .parts = {c->outer, c->outer_stride},
                              .depth = {c->inner, c->inner_stride}},
                   .destination = {.layout = layout,
                                   .format = c->format,
                                   .generated_format = c->paired,
                                   .between = c->between,
                                   .columns = c->columns,
                                   .generated_rows = c->q_count,
                                   .group_bytes = c->dst_group_bytes,
                                   .first_column = c->first_panel * HMOE_PANEL,
                                   .first_row = c->first_depth,
                                   .part_rows = c->outer_pitch,
                                   .operand_rows = c->panel_depth}));

  fixture_file file = {0};
  float *values = make_values(c);
  for (uint32_t i = 0; i < c->count; i++) {
    char name[16];
    snprintf(name, sizeof name, c->count > 1 ? "w.%u" : "w", i);
    file_tensor(&file, name, "F32", FILE_SHAPE(c->elements), values + i * c->elements, c->elements * sizeof *values);
  }
  hmoe_weights weights = file_finish(&file);
  char path[32] = "";
  if (mapped) weights = write_file(weights, path);
  hmoe_model *model = open_plan(plan, weights, threads);
  if (mapped) unlink(path);
  float *expected = expected_pack(c, layout, values);
  for (uint64_t i = 0; i < dst_bytes / (c->format ? 2 : 4); i++) {
    float found = c->format ? bf16_value(((const uint16_t *)(const void *)model->arena)[i]) : arena_of(model)[i];
    if (expected[i] != found)
      fail_msg("%s: element %llu: expected %g, found %g", c->name, (unsigned long long)i, (double)expected[i], (double)found);
  }
  hmoe_model_close(model);
  free(expected);
  free(values);
  file_deinit(&file);
  free(plan);
}

static void test_pack(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof pack_cases / sizeof *pack_cases; i++) {
    const pack_case *c = &pack_cases[i];
    uint32_t layouts = c->format || c->paired || c->between ? HMOE_LAYOUT_PANELS : HMOE_LAYOUT_COLUMNS;
    for (uint32_t layout = HMOE_LAYOUT_PANELS; layout <= layouts; layout++) {
      check_pack(c, layout, false, false, 1);
      check_pack(c, layout, false, false, 2);
      check_pack(c, layout, false, true, 2);
      if (c->count > 1) continue;
      check_pack(c, layout, true, false, 1);
      check_pack(c, layout, true, true, 2);
    }
  }
}

static void test_pack_types(void **state) {
  (void)state;
  fixture_plan *plan = plan_create("types");
  uint32_t param = plan_param(plan, "w.{}", 3, SHAPE(32));
  fixture_entry *entry = plan_entry(plan, "open");
  uint32_t dst = plan_weight(plan, entry, 3 * 128);
  plan_step(
      plan, entry, HMOE_STEP_PACK, HMOE_NONE, BINDINGS(AT(dst)),
      FIELDS(
          pack,
          .source = {.param = param, .groups = {3, 0}, .columns = {32, 1}, .generated = {1, 0}, .parts = {1, 0}, .depth = {1, 0}},
          .destination = {
              .layout = HMOE_LAYOUT_PANELS, .columns = 32, .generated_rows = 1, .group_bytes = 128, .operand_rows = 1}));
  fixture_file file = {0};
  uint16_t brain[32];
  double precise[32];
  float plain[32];
  for (int i = 0; i < 32; i++) {
    plain[i] = (float)i;
    precise[i] = i;
    uint32_t bits;
    memcpy(&bits, &plain[i], 4);
    brain[i] = (uint16_t)(bits >> 16);
  }
  uint8_t shift = 0;
  file_tensor(&file, "odd", "U8", FILE_SHAPE(1), &shift, 1); /* what follows is not aligned */
  file_tensor(&file, "w.0", "BF16", FILE_SHAPE(32), brain, sizeof brain);
  file_tensor(&file, "w.1", "F64", FILE_SHAPE(32), precise, sizeof precise);
  file_tensor(&file, "w.2", "F32", FILE_SHAPE(32), plain, sizeof plain);
  hmoe_model *model = open_plan(plan, file_finish(&file), 1);
  for (int i = 0; i < 96; i++) assert_true(arena_of(model)[i] == (float)(i % 32));
  hmoe_model_close(model);
  file_deinit(&file);
  free(plan);
}

/* One column of each of: f32 rounded, bf16 as it is, f16. */
static void test_pair_values(void **state) {
  (void)state;
  static const struct {
    uint32_t source;
    uint16_t expected;
  } cases[] = {
      {0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, {0x3f808001, 0x3f81}, {0x3f80ffff, 0x3f81},
      {0xbf808000, 0xbf80}, {0xbf818000, 0xbf82}, {0x7f7fffff, 0x7f80}, {0x7f800000, 0x7f80}, {0xff800000, 0xff80},
      {0x7fc00000, 0x7fc0}, {0x7f800001, 0x7fc0}, {0xffffffff, 0xffff}, {0x7fbfffff, 0x7fff}, {0x00000001, 0x0000},
      {0x80000000, 0x8000}, {0x00008000, 0x0000}, {0x00018000, 0x0002}, {0x007fffff, 0x0080}, {0x3fffffff, 0x4000},
  };
  enum { CASES = sizeof cases / sizeof *cases };
  float plain[CASES];
  uint16_t brain[CASES], half[CASES];
  for (size_t i = 0; i < CASES; i++) {
    plain[i] = from_bits(cases[i].source);
    brain[i] = (uint16_t)(cases[i].source >> 16 | (i % 3 == 0 ? 0x7f81u : 0)); /* signalling NaN among them */
    half[i] = (uint16_t)(0x3c00 + i); /* 1 + i / 1024 */
  }
  for (uint64_t by_row = 0; by_row < 2; by_row++) {
    fixture_plan *plan = plan_create("values");
    uint32_t param = plan_param(plan, "w.{}", 3, SHAPE(CASES));
    fixture_entry *entry = plan_entry(plan, "open");
    uint32_t dst = plan_weight(plan, entry, 3 * 2048);
    /* CASES columns of one row, or one column of CASES rows. */
    plan_step(plan, entry, HMOE_STEP_PACK, HMOE_NONE, BINDINGS(AT(dst)),
              FIELDS(pack,
                     .source = {.param = param,
                                .groups = {3, 0},
                                .columns = {by_row ? CASES : 1, by_row ? 1 : CASES},
                                .generated = {1, 0},
                                .parts = {1, 0},
                                .depth = {by_row ? 1 : CASES, 1}},
                     .destination = {.layout = HMOE_LAYOUT_PANELS,
                                     .format = HMOE_FORMAT_BF16,
                                     .columns = 32,
                                     .generated_rows = 1,
                                     .group_bytes = 2048,
                                     .operand_rows = 32}));
    fixture_file file = {0};
    file_tensor(&file, "w.0", "F32", FILE_SHAPE(CASES), plain, sizeof plain);
    file_tensor(&file, "w.1", "BF16", FILE_SHAPE(CASES), brain, sizeof brain);
    file_tensor(&file, "w.2", "F16", FILE_SHAPE(CASES), half, sizeof half);
    hmoe_model *model = open_plan(plan, file_finish(&file), 1);
    const uint16_t *found = (const uint16_t *)(const void *)model->arena;
    for (size_t i = 0; i < CASES; i++) {
      size_t at = by_row ? 2 * i : i / 2 * 64 + i % 2;
      assert_int_equal(found[at], cases[i].expected);
      assert_int_equal(found[1024 + at], brain[i]);
      assert_int_equal((uint32_t)found[2048 + at] << 16, bits_of(nearest_bf16(1 + (float)i / 1024)));
    }
    hmoe_model_close(model);
    file_deinit(&file);
    free(plan);
  }
}

/* A workspace holds anything before it is packed into: the rows up to a multiple of 32 come out zero. */
static void *allocate_dirty(void *context, size_t size, size_t alignment) {
  (void)context;
  void *memory = aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  return memset(memory, 0xa5, size);
}

static void release_dirty(void *context, void *memory, size_t size) {
  (void)context;
  (void)size;
  free(memory);
}

static void test_pairs_in_workspace(void **state) {
  (void)state;
  for (uint64_t depth = 1; depth <= 64; depth += depth % 2 ? 2 : 10) {
    fixture_plan *plan = plan_create("workspace");
    uint32_t param = plan_param(plan, "w", 1, SHAPE(40 * 64));
    fixture_entry *entry = plan_entry(plan, "open");
    uint64_t bytes = 2 * 64 * 64;
    uint32_t dst = plan_weight(plan, entry, bytes), between = plan_temporary(entry, bytes, 0, HMOE_NONE);
    plan_step(
        plan, entry, HMOE_STEP_PACK, HMOE_NONE, BINDINGS(AT(between)),
        FIELDS(
            pack,
            .source =
                {.param = param, .groups = {1, 0}, .columns = {40, 64}, .generated = {1, 0}, .parts = {1, 0}, .depth = {depth, 1}},
            .destination = {.layout = HMOE_LAYOUT_PANELS,
                            .format = HMOE_FORMAT_BF16,
                            .columns = 64,
                            .generated_rows = 1,
                            .group_bytes = bytes,
                            .part_rows = depth,
                            .operand_rows = 64}));
    plan_copy(plan, entry, BINDINGS(AT(dst), AT(between)), bytes);
    fixture_file file = {0};
    float values[40 * 64];
    for (int i = 0; i < 40 * 64; i++) values[i] = 1;
    file_tensor(&file, "w", "F32", FILE_SHAPE(40 * 64), values, sizeof values);
    hmoe_options options = fixture_options(1);
    options.allocator = &(hmoe_allocator){NULL, allocate_dirty, release_dirty};
    hmoe_weights weights = file_finish(&file);
    hmoe_model *model;
    assert_ok(hmoe_model_open(plan_finish(plan, NULL, 0), &weights, &options, &model));
    const uint16_t *found = (const uint16_t *)(const void *)model->arena;
    uint64_t padded = (depth + 31) / 32 * 32;
    for (uint64_t n = 0; n < 64; n++)
      for (uint64_t d = 0; d < 64; d++) {
        uint16_t expected = d >= padded ? 0xa5a5 : d < depth && n < 40 ? 0x3f80 : 0;
        assert_int_equal(found[(n / 32 * 32 + d / 2) * 64 + n % 32 * 2 + d % 2], expected);
      }
    hmoe_model_close(model);
    file_deinit(&file);
    free(plan);
  }
}

static void test_pack_vector(void **state) {
  (void)state;
  fixture_plan *plan = plan_create("vectors");
  uint32_t stacked = plan_param(plan, "b.{}", 2, SHAPE(5));
  uint32_t generated = plan_param(plan, "g", 1, SHAPE(192));
  fixture_entry *entry = plan_entry(plan, "open");
  uint32_t a = plan_weight(plan, entry, 2 * 64), b = plan_weight(plan, entry, 192 * 4), c = plan_weight(plan, entry, 2048 * 4),
           d = plan_weight(plan, entry, 3 * 160 * 4);
  plan_step(
      plan, entry, HMOE_STEP_PACK, HMOE_NONE, BINDINGS(AT(a)),
      FIELDS(
          pack,
          .source = {.param = stacked, .groups = {2, 0}, .columns = {5, 1}, .generated = {1, 0}, .parts = {1, 0}, .depth = {1, 0}},
          .destination = {.layout = HMOE_LAYOUT_VECTOR, .columns = 7, .generated_rows = 1, .group_bytes = 64, .first_column = 3}));
  plan_step(
      plan, entry, HMOE_STEP_PACK, HMOE_NONE, BINDINGS(AT(b)),
      FIELDS(pack,
             .source =
                 {.param = generated, .groups = {1, 0}, .columns = {60, 3}, .generated = {3, 1}, .parts = {1, 0}, .depth = {1, 0}},
             .destination = {.layout = HMOE_LAYOUT_VECTOR, .columns = 192, .generated_rows = 3}));
  plan_step(
      plan, entry, HMOE_STEP_PACK, HMOE_NONE, BINDINGS(AT(c)),
      FIELDS(pack,
             .source =
                 {.param = generated, .groups = {1, 0}, .columns = {38, 5}, .generated = {5, 1}, .parts = {1, 0}, .depth = {1, 0}},
             .destination = {
                 .layout = HMOE_LAYOUT_VECTOR, .generated_format = HMOE_FORMAT_BF16, .columns = 2048, .generated_rows = 32}));
  /* Vectors of two sources that alternate. */
  for (uint64_t half = 0; half < 2; half++)
    plan_step(plan, entry, HMOE_STEP_PACK, HMOE_NONE, BINDINGS(AT(d)),
              FIELDS(pack,
                     .source = {.param = generated,
                                .offset = half * 7,
                                .groups = {3, 50},
                                .columns = {40, 1},
                                .generated = {1, 0},
                                .parts = {1, 0},
                                .depth = {1, 0}},
                     .destination = {.layout = HMOE_LAYOUT_VECTOR,
                                     .between = 1,
                                     .columns = 64,
                                     .generated_rows = 1,
                                     .group_bytes = 160 * 4,
                                     .first_column = 32 * half}));
  fixture_file file = {0};
  float values[192];
  for (int i = 0; i < 192; i++) values[i] = (float)(i + 1);
  file_tensor(&file, "b.0", "F32", FILE_SHAPE(5), values, 20);
  file_tensor(&file, "b.1", "F32", FILE_SHAPE(5), values + 5, 20);
  file_tensor(&file, "g", "F32", FILE_SHAPE(192), values, sizeof values);
  hmoe_model *model = open_plan(plan, file_finish(&file), 2);
  for (int g = 0; g < 2; g++)
    for (int i = 0; i < 16; i++) assert_true(arena_of(model)[g * 16 + i] == (i >= 3 && i < 8 ? values[g * 5 + i - 3] : 0));
  for (int o = 0; o < 192; o++) {
    int p = o / 96, q = o / 32 % 3, col = p * 32 + o % 32;
    assert_true(arena_of(model)[32 + o] == (col < 60 ? values[q + col * 3] : 0));
  }
  for (int o = 0; o < 2048; o++) {
    int q = o / 64 % 16 * 2 + o % 2, col = o / 1024 * 32 + o / 2 % 32;
    assert_true(arena_of(model)[224 + o] == (col < 38 && q < 5 ? values[q + col * 5] : 0));
  }
  for (int o = 0; o < 3 * 160; o++) {
    int g = o / 160, panel = o % 160 / 32, half = panel % 2, col = panel / 2 * 32 + o % 32;
    assert_true(arena_of(model)[2272 + o] == (panel < 4 && col < 40 ? values[g * 50 + half * 7 + col] : 0));
  }
  hmoe_model_close(model);
  file_deinit(&file);
  free(plan);
}

static void test_pack_bounds(void **state) {
  (void)state;
#define SOURCE(field) offsetof(hmoe_step_pack, source.field), sizeof(((hmoe_step_pack *)0)->source.field)
#define DESTINATION(field) offsetof(hmoe_step_pack, destination.field), sizeof(((hmoe_step_pack *)0)->destination.field)
  static const struct {
    size_t offset, size;
    uint64_t value;
    const char *message;
  } cases[] = {
      {DESTINATION(columns), 33, "33 columns of 1 generated rows"},
      {DESTINATION(columns), 128, "binding 0 has 128 bytes, 512 are needed"},
      {SOURCE(columns.count), 33, NULL},
      {SOURCE(columns.stride), 2, "reads element 62 of parameter 0, which has 32"},
      {SOURCE(offset), 1, "reads element 32 of parameter 0, which has 32"},
      {SOURCE(groups.count), 2, "reads element 63 of parameter 0, which has 32"},
      {DESTINATION(group_bytes), 3, "groups of 3 bytes"},
      {DESTINATION(first_column), 32, "binding 0 has 128 bytes, 256 are needed"},
      {DESTINATION(first_column), 1, "panels from column 1 on"},
      {DESTINATION(first_row), 1, "depth row 1 of 1"},
      {DESTINATION(operand_rows), UINT64_MAX, "binding 0 has 128 bytes, 18446744073709551615 are needed"},
      {DESTINATION(operand_rows), 0, "depth row 0 of 0"},
      {SOURCE(generated.stride), 1, NULL},
      {SOURCE(offset), UINT64_MAX, "reads element 18446744073709551614 of parameter 0, which has 32"},
      {SOURCE(groups.count), UINT64_MAX, "reads element 18446744073709551614 of parameter 0, which has 32"},
      {SOURCE(groups.count), 0, NULL},
      {SOURCE(groups.stride), 1, NULL},
      {DESTINATION(generated_rows), 0, "32 columns of 0 generated rows"},
      {DESTINATION(generated_rows), 2, "32 columns of 2 generated rows"},
      {SOURCE(depth.count), UINT64_MAX, "depth row 18446744073709551614 of 1"},
      {SOURCE(depth.count), 0, NULL},
      {SOURCE(parts.count), 2, "depth row 1 of 1"},
      {SOURCE(parts.count), 0, NULL},
      {DESTINATION(group_bytes), 0, NULL},
      {SOURCE(param), 1, "source: param 1 of 1, in entry 0"},
      {SOURCE(param), HMOE_NONE, "neither a parameter nor a buffer to read"},
      {DESTINATION(format), HMOE_FORMAT_BF16, "bf16 from depth row 0 on of 1"},
      {DESTINATION(format), UINT32_MAX, "format 4294967295 of layout 1"},
      {DESTINATION(layout), UINT32_MAX, "format 0 of layout 4294967295"},
      {DESTINATION(layout), HMOE_LAYOUT_COLUMNS, NULL},
      {DESTINATION(layout), HMOE_LAYOUT_VECTOR, NULL},
      {SOURCE(generated.count), 2, "2 of 1 generated rows of format 0"},
      {SOURCE(generated.count), 0, NULL},
      {DESTINATION(generated_format), HMOE_FORMAT_BF16, "1 of 1 generated rows of format 1"},
      {DESTINATION(generated_format), 2, "1 of 1 generated rows of format 2"},
      {DESTINATION(between), UINT32_MAX, NULL},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fixture_plan *plan = plan_create("bounds");
    uint32_t param = plan_param(plan, "w", 1, SHAPE(32));
    fixture_entry *entry = plan_entry(plan, "open");
    uint32_t dst = plan_weight(plan, entry, 128);
    hmoe_step_pack pack = {.source = {param, 0, 0, {1, 32}, {32, 1}, {1, 0}, {1, 0}, {1, 0}},
                           .destination = {.layout = HMOE_LAYOUT_PANELS,
                                           .columns = 32,
                                           .generated_rows = 1,
                                           .group_bytes = 128,
                                           .part_rows = 1,
                                           .operand_rows = 1}};
    memcpy((uint8_t *)&pack + cases[i].offset, &cases[i].value, cases[i].size);
    plan_step(plan, entry, HMOE_STEP_PACK, HMOE_NONE, BINDINGS(AT(dst)), sizeof pack, &pack);
    fixture_file file = {0};
    float values[32] = {0};
    file_tensor(&file, "w", "F32", FILE_SHAPE(32), values, sizeof values);
    hmoe_weights weights = file_finish(&file);
    hmoe_options options = fixture_options(1);
    hmoe_model *model;
    hmoe_status status = hmoe_model_open(plan_finish(plan, NULL, 0), &weights, &options, &model);
    if (!cases[i].message) assert_ok(status);
    else assert_fails(status, HMOE_INCOMPATIBLE, cases[i].message);
    hmoe_model_close(model);
    file_deinit(&file);
    free(plan);
  }
}

/* Parameters are there while entry 0 runs, and no longer. */
static void test_pack_elsewhere(void **state) {
  (void)state;
  fixture_plan *plan = plan_create("elsewhere");
  uint32_t param = plan_param(plan, "w", 1, SHAPE(32));
  plan_entry(plan, "open");
  fixture_entry *entry = plan_entry(plan, "run");
  plan_vector(plan, entry, plan_temporary(entry, 128, 0, HMOE_NONE), param, 32);
  hmoe_plan_limits limits;
  assert_fails(hmoe_plan_check(plan_finish(plan, NULL, 0), &limits), HMOE_INCOMPATIBLE,
               "entry 1 step 0 (pack): source: param 0 of 1, in entry 1");
  free(plan);
}

static void test_copy_and_selections(void **state) {
  (void)state;
  fixture_plan *plan = plan_create("copy");
  uint32_t param = plan_param(plan, "w", 1, SHAPE(2, 3, 4));
  fixture_entry *entry = plan_entry(plan, "open");
  uint32_t copy = plan_weight(plan, entry, 128), sets = plan_weight(plan, entry, 35 * 3 * 4);
  uint32_t source = plan_buffer(entry, HMOE_BUFFER_PARAM, param, 0, 96, 0, HMOE_NONE);
  /* The middle columns of [2][3][4], side by side. */
  plan_step(plan, entry, HMOE_STEP_COPY, HMOE_NONE, BINDINGS({copy, 0, 4, 0}, {source, 0, 4, 0}),
            FIELDS(copy, .outer = {2, 32, 48}, .inner = {3, 8, 16}, .run_bytes = 8));
  plan_step(plan, entry, HMOE_STEP_SELECTIONS, HMOE_NONE, BINDINGS(AT(sets)),
            FIELDS(selections, .experts = 7, .top_k = 3, .sets = 35));
  fixture_file file = {0};
  float values[24];
  for (int i = 0; i < 24; i++) values[i] = (float)(i + 1);
  file_tensor(&file, "w", "F32", FILE_SHAPE(2, 3, 4), values, sizeof values);
  hmoe_model *model = open_plan(plan, file_finish(&file), 1);
  float expected[32] = {0};
  for (int a = 0; a < 2; a++)
    for (int b = 0; b < 3; b++)
      for (int c = 0; c < 2; c++) expected[1 + a * 8 + b * 2 + c] = values[a * 12 + b * 4 + 1 + c];
  assert_memory_equal(model->arena, expected, sizeof expected);
  const int32_t *set = (const int32_t *)(const void *)(model->arena + 128);
  for (uint64_t s = 0; s < 35; s++, set += 3) {
    assert_true(0 <= set[0] && set[0] < set[1] && set[1] < set[2] && set[2] < 7);
    uint64_t rank = (uint64_t)set[0] + hmoe_binomial((uint64_t)set[1], 2) + hmoe_binomial((uint64_t)set[2], 3);
    assert_int_equal(rank, s);
  }
  hmoe_model_close(model);
  file_deinit(&file);
  free(plan);
}

/* The network of Table 5 stage by stage, in double, with every intermediate kept. */
static void embed_plainly(const float *wi, const float *wo, int rows, int cols, const float *d1, const float *p1, const float *d2,
                          const float *p2, int c1, int c2, double *out) {
  int r1 = rows / 5, k1 = cols / 5, r2 = r1 / 16, k2 = k1 / 6, r3 = r2 / 3, k3 = k2 / 3;
  double *a = calloc((size_t)(2 * r1 * k1), sizeof *a), *b = calloc((size_t)(c1 * r2 * k2), sizeof *b);
  for (int ch = 0; ch < 2; ch++)
    for (int i = 0; i < r1 * k1; i++)
      for (int u = 0; u < 5; u++)
        for (int v = 0; v < 5; v++) {
          int y = i / k1 * 5 + u, x = i % k1 * 5 + v;
          a[ch * r1 * k1 + i] += (double)d1[(ch * 5 + u) * 5 + v] * (double)(ch == 0 ? wi[y * cols + x] : wo[x * rows + y]);
        }
  for (int c = 0; c < c1; c++)
    for (int i = 0; i < r2 * k2; i++)
      for (int u = 0; u < 16; u++)
        for (int v = 0; v < 6; v++)
          for (int ch = 0; ch < 2; ch++)
            b[c * r2 * k2 + i] += (double)p1[c * 2 + ch] * a[ch * r1 * k1 + (i / k2 * 16 + u) * k1 + i % k2 * 6 + v] / 96;
  for (int o = 0; o < c2; o++) out[o] = 0;
  assert_true(r3 / 8 == 1 && k3 / 8 == 1);
  for (int y = 0; y < 8; y++)
    for (int x = 0; x < 8; x++)
      for (int c = 0; c < c1; c++) {
        double value = 0;
        for (int u = 0; u < 3; u++)
          for (int v = 0; v < 3; v++) value += (double)d2[(c * 3 + u) * 3 + v] * b[c * r2 * k2 + (y * 3 + u) * k2 + x * 3 + v];
        for (int o = 0; o < c2; o++) out[o] += (double)p2[o * c1 + c] * value / 64;
      }
  free(a);
  free(b);
}

static float *random_floats(size_t count, uint64_t *seed) {
  float *values = malloc(count * sizeof *values);
  for (size_t i = 0; i < count; i++) values[i] = (float)(fixture_random(seed) % 2001) / 1000.0f - 1.0f;
  return values;
}

/* bytes: of the buffer that it is written to; too few are refused. */
static void check_weight_embedding(bool stacked, uint64_t bytes, const char *refusal) {
  enum { ROWS = 1927, COLS = 733, C1 = 3, C2 = 5, EXPERTS = 2 };
  size_t elements = (size_t)ROWS * COLS;
  uint64_t seed = 7;
  float *wi = random_floats(EXPERTS * elements, &seed), *wo = random_floats(EXPERTS * elements, &seed),
        *d1 = random_floats(50, &seed);
  float *p1 = random_floats(C1 * 2, &seed), *d2 = random_floats(C1 * 9, &seed), *p2 = random_floats(C2 * C1, &seed);
  fixture_plan *plan = plan_create("embedding");
  fixture_file file = {0};
  if (stacked) {
    plan_param(plan, "e.{}.wi", EXPERTS, SHAPE(ROWS, COLS));
    plan_param(plan, "e.{}.wo", EXPERTS, SHAPE(COLS, ROWS));
    for (uint32_t i = 0; i < EXPERTS; i++) {
      char name[16];
      snprintf(name, sizeof name, "e.%u.wi", i);
      file_tensor(&file, name, "F32", FILE_SHAPE(ROWS, COLS), wi + i * elements, elements * 4);
      snprintf(name, sizeof name, "e.%u.wo", i);
      file_tensor(&file, name, "F32", FILE_SHAPE(COLS, ROWS), wo + i * elements, elements * 4);
    }
  } else {
    plan_param(plan, "wi", 1, SHAPE(EXPERTS, ROWS, COLS));
    plan_param(plan, "wo", 1, SHAPE(EXPERTS, COLS, ROWS));
    file_tensor(&file, "wi", "F32", FILE_SHAPE(EXPERTS, ROWS, COLS), wi, EXPERTS * elements * 4);
    file_tensor(&file, "wo", "F32", FILE_SHAPE(EXPERTS, COLS, ROWS), wo, EXPERTS * elements * 4);
  }
  plan_param(plan, "d1", 1, SHAPE(2, 1, 5, 5));
  plan_param(plan, "p1", 1, SHAPE(C1, 2, 1, 1));
  plan_param(plan, "d2", 1, SHAPE(C1, 1, 3, 3));
  plan_param(plan, "p2", 1, SHAPE(C2, C1, 1, 1));
  file_tensor(&file, "d1", "F32", FILE_SHAPE(2, 1, 5, 5), d1, 200);
  file_tensor(&file, "p1", "F32", FILE_SHAPE(C1, 2, 1, 1), p1, C1 * 8);
  file_tensor(&file, "d2", "F32", FILE_SHAPE(C1, 1, 3, 3), d2, C1 * 36);
  file_tensor(&file, "p2", "F32", FILE_SHAPE(C2, C1, 1, 1), p2, C2 * C1 * 4);
  fixture_entry *entry = plan_entry(plan, "open");
  uint32_t dst = plan_weight(plan, entry, bytes);
  plan_step(plan, entry, HMOE_STEP_WEIGHT_EMBEDDING, HMOE_NONE, BINDINGS(AT(dst)),
            FIELDS(weight_embedding, 0, 1, 2, 3, 4, 5, .row_floats = 8));
  hmoe_model *model = NULL;
  hmoe_weights weights = file_finish(&file);
  if (refusal) {
    hmoe_options options = fixture_options(2);
    assert_fails(hmoe_model_open(plan_finish(plan, NULL, 0), &weights, &options, &model), HMOE_INCOMPATIBLE, refusal);
  } else {
    model = open_plan(plan, weights, 2);
  }
  for (size_t e = 0; model && e < EXPERTS; e++) {
    double expected[C2];
    embed_plainly(wi + e * elements, wo + e * elements, ROWS, COLS, d1, p1, d2, p2, C1, C2, expected);
    for (size_t o = 0; o < C2; o++) {
      double found = (double)arena_of(model)[e * 8 + o];
      if (fabs(found - expected[o]) > 1e-7 + 1e-6 * fabs(expected[o])) fail_msg("expected %g, found %g", expected[o], found);
    }
  }
  hmoe_model_close(model);
  file_deinit(&file);
  free(plan);
  float *all[] = {wi, wo, d1, p1, d2, p2};
  for (int i = 0; i < 6; i++) free(all[i]);
}

static void test_weight_embedding(void **state) {
  (void)state;
  check_weight_embedding(true, 64, NULL);
  check_weight_embedding(false, 64, NULL);
  /* Two rows of 8 floats, of which 5 are written: 13 floats. */
  check_weight_embedding(false, 52, NULL);
  check_weight_embedding(true, 48, "plan: entry 0 step 0 (weight_embedding): binding 0 has 48 bytes, 52 are needed");
}

/* Parameters that do not fit each other: nothing of them is read. */
static void test_weight_embedding_shapes(void **state) {
  (void)state;
#define EMBEDDING "plan: entry 0 step 0 (weight_embedding): "
  enum { ROWS = 1920, COLS = 720 }; /* the least that there is an embedding of */
  static const char pair[] = EMBEDDING "wi and wo: expected one [d_ff, d_model] and one [d_model, d_ff] an expert";
  static const char transposed[] = EMBEDDING "wo: expected the shape of wi transposed";
  static const char kernels[] = EMBEDDING "expected kernels [2, 1, 5, 5], [C1, 2, 1, 1], [C1, 1, 3, 3] and [C2, C1, 1, 1]";
#define WEIGHTS                                                                                                                    \
  {2, {ROWS, COLS}}, {                                                                                                             \
    2, { COLS, ROWS }                                                                                                              \
  }
#define D1                                                                                                                         \
  { 4, {2, 1, 5, 5} }
#define P1                                                                                                                         \
  { 4, {3, 2, 1, 1} }
#define D2                                                                                                                         \
  { 4, {3, 1, 3, 3} }
#define P2                                                                                                                         \
  { 4, {5, 3, 1, 1} }
  static const struct {
    struct {
      uint32_t rank;
      uint64_t dims[4];
    } shapes[6];
    const char *refusal;
  } cases[] = {
      {{{1, {ROWS}}, {1, {ROWS}}, D1, P1, D2, P2}, pair},
      {{D1, D1, D1, P1, D2, P2}, pair},
      {{{2, {ROWS, COLS}}, {3, {1, COLS, ROWS}}, D1, P1, D2, P2}, pair},
      {{{3, {1, ROWS, COLS}}, {3, {2, COLS, ROWS}}, D1, P1, D2, P2}, pair},
      {{{2, {ROWS, COLS}}, {2, {COLS + 1, ROWS}}, D1, P1, D2, P2}, transposed},
      {{{2, {ROWS, COLS}}, {2, {COLS, ROWS - 1}}, D1, P1, D2, P2}, transposed},
      {{{2, {ROWS, COLS}}, {2, {ROWS, COLS}}, D1, P1, D2, P2}, transposed},
      {{{2, {1919, 720}}, {2, {720, 1919}}, D1, P1, D2, P2},
       EMBEDDING "weights of 1919 x 720 give 0 x 1 embeddings, 1 x 1 is needed"},
      {{{2, {1920, 719}}, {2, {719, 1920}}, D1, P1, D2, P2},
       EMBEDDING "weights of 1920 x 719 give 1 x 0 embeddings, 1 x 1 is needed"},
      {{{2, {3840, 720}}, {2, {720, 3840}}, D1, P1, D2, P2},
       EMBEDDING "weights of 3840 x 720 give 2 x 1 embeddings, 1 x 1 is needed"},
      {{{2, {1920, 2160}}, {2, {2160, 1920}}, D1, P1, D2, P2},
       EMBEDDING "weights of 1920 x 2160 give 1 x 3 embeddings, 1 x 1 is needed"},
      {{WEIGHTS, {4, {2, 1, 5, 4}}, P1, D2, P2}, kernels},
      {{WEIGHTS, {4, {1, 1, 5, 5}}, P1, D2, P2}, kernels},
      {{WEIGHTS, {3, {2, 5, 5}}, P1, D2, P2}, kernels},
      {{WEIGHTS, D1, {4, {3, 1, 1, 1}}, D2, P2}, kernels},
      {{WEIGHTS, D1, P1, {4, {2, 1, 3, 3}}, P2}, kernels},
      {{WEIGHTS, D1, P1, {4, {3, 1, 3, 5}}, P2}, kernels},
      {{WEIGHTS, D1, P1, D2, {4, {5, 2, 1, 1}}}, kernels},
      {{WEIGHTS, D1, P1, D2, {4, {9, 3, 1, 1}}}, EMBEDDING "rows of 8 floats overlap"},
  };
#undef WEIGHTS
#undef D1
#undef P1
#undef D2
#undef P2
#undef EMBEDDING
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    static const char *const names[] = {"wi", "wo", "d1", "p1", "d2", "p2"};
    fixture_plan *plan = plan_create("embedding");
    fixture_file file = {0};
    float *zeros[6];
    for (int i = 0; i < 6; i++) {
      const uint64_t *shape = cases[c].shapes[i].dims;
      const uint32_t rank = cases[c].shapes[i].rank;
      size_t elements = 1;
      for (uint32_t d = 0; d < rank; d++) elements *= shape[d];
      zeros[i] = calloc(elements, sizeof *zeros[i]);
      plan_param(plan, names[i], 1, rank, shape);
      file_tensor(&file, names[i], "F32", rank, shape, zeros[i], elements * sizeof *zeros[i]);
    }
    fixture_entry *entry = plan_entry(plan, "open");
    plan_step(plan, entry, HMOE_STEP_WEIGHT_EMBEDDING, HMOE_NONE, BINDINGS(AT(plan_weight(plan, entry, 96))),
              FIELDS(weight_embedding, 0, 1, 2, 3, 4, 5, .row_floats = 8));
    hmoe_model *model = NULL;
    hmoe_weights weights = file_finish(&file);
    hmoe_options options = fixture_options(1);
    assert_fails(hmoe_model_open(plan_finish(plan, NULL, 0), &weights, &options, &model), HMOE_INCOMPATIBLE, cases[c].refusal);
    file_deinit(&file);
    free(plan);
    for (int i = 0; i < 6; i++) free(zeros[i]);
  }
}

/* Opening reads the steps there are and not one more: behind the last one is memory that cannot be read. */
static void test_last_step(void **state) {
  (void)state;
  enum { ROWS = 40, PAGE = 4096 };
  fixture_plan *plan = plan_create("last step");
  fixture_file file = {0};
  float values[ROWS];
  for (int i = 0; i < ROWS; i++) values[i] = (float)i;
  fixture_entry *entry = plan_entry(plan, "open");
  for (uint32_t i = 0; i < 2; i++) {
    char name[8];
    snprintf(name, sizeof name, "v%u", i);
    plan_param(plan, name, 1, SHAPE(ROWS));
    file_tensor(&file, name, "F32", FILE_SHAPE(ROWS), values, sizeof values);
    uint32_t source = plan_buffer(entry, HMOE_BUFFER_PARAM, i, 0, ROWS * 4, 0, HMOE_NONE), dst = plan_weight(plan, entry, ROWS * 4);
    plan_copy(plan, entry, BINDINGS(AT(dst), AT(source)), ROWS * 4);
  }
  hmoe_model_object object = *plan_finish(plan, NULL, 0);
  uint8_t *pages = mmap(NULL, FIXTURE_BYTES + 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(pages != MAP_FAILED);
  assert_int_equal(mprotect(pages + FIXTURE_BYTES + PAGE, PAGE, PROT_NONE), 0);
  size_t step_bytes = 2 * sizeof(hmoe_plan_step), used = object.plan_bytes;
  uint8_t *blob = pages + FIXTURE_BYTES + PAGE - used - step_bytes;
  memcpy(blob, object.plan, used);
  hmoe_plan *header = (hmoe_plan *)(void *)blob;
  hmoe_plan_entry *open = (hmoe_plan_entry *)(void *)(blob + header->entries.offset);
  memcpy(blob + used, blob + open->steps.offset, step_bytes);
  open->steps.offset = (uint32_t)used;
  header->bytes = object.plan_bytes = used + step_bytes;
  object.plan = blob;
  hmoe_weights weights = file_finish(&file);
  hmoe_options options = fixture_options(1);
  hmoe_model *model;
  assert_ok(hmoe_model_open(&object, &weights, &options, &model));
  for (int i = 0; i < 2; i++) assert_memory_equal(arena_of(model) + i * 48, values, sizeof values);
  hmoe_model_close(model);
  munmap(pages, FIXTURE_BYTES + 2 * PAGE);
  file_deinit(&file);
  free(plan);
}

/* right(K, N) of the CUDA images' planes (abi_cuda.h): where element (k, n) is, in bf16 ones. */
static uint64_t plane_index(uint64_t depth, uint64_t k, uint64_t n) {
  return ((n / 32 * ((depth + 63) / 64) + k / 64) * 32 + n % 32) * 64 + ((k % 64 / 8) ^ (n % 8)) * 8 + k % 8;
}

static hmoe_model *open_pack(fixture_plan *plan, const char *dtype, uint64_t elements, const void *values, size_t bytes) {
  fixture_file file = {0};
  file_tensor(&file, "w", dtype, FILE_SHAPE(elements), values, bytes);
  hmoe_weights weights = file_finish(&file);
  hmoe_options options = fixture_options(2);
  hmoe_model *model;
  assert_ok(hmoe_model_open(plan_finish(plan, NULL, 0), &weights, &options, &model));
  file_deinit(&file);
  return model;
}

enum { PLANE_VALUES = 1 << 15 };

static float plane_value(uint64_t element) { return (float)(1 + element * 7 % 251); } /* is bf16 */

static void test_planes(void **state) {
  (void)state;
  typedef struct plane_case {
    uint64_t groups, group_stride, columns, column_stride, parts, part_stride, depth, depth_stride, offset;
    uint64_t padded, first_column, first_row, part_rows, operand_rows;
    uint32_t between;
  } plane_case;
  static const plane_case cases[] = {
      {1, 0, 33, 1, 1, 0, 70, 33, 0, 64, 0, 0, 0, 128, 0},       {1, 0, 64, 1, 1, 0, 64, 64, 5, 64, 0, 0, 0, 64, 0},
      {1, 0, 40, 130, 1, 0, 130, 1, 3, 64, 0, 0, 0, 192, 0},     {1, 0, 40, 1, 1, 0, 9, 40, 0, 64, 32, 50, 0, 64, 1},
      {2, 5000, 70, 43, 2, 20, 20, 1, 7, 96, 32, 3, 64, 128, 2}, {3, 4000, 32, 1, 3, 640, 20, 32, 0, 32, 0, 0, 20, 64, 0},
      {2, 0, 31, 2, 1, 0, 8, 62, 1, 32, 0, 56, 0, 64, 0},
  };
  static uint16_t expected[1 << 17];
  static float floats[PLANE_VALUES];
  static uint16_t halves[PLANE_VALUES];
  for (uint64_t i = 0; i < PLANE_VALUES; i++) {
    uint32_t bits;
    floats[i] = plane_value(i);
    memcpy(&bits, &floats[i], sizeof bits);
    halves[i] = (uint16_t)(bits >> 16);
  }
  for (size_t i = 0; i < 2 * (sizeof cases / sizeof *cases); i++) {
    const plane_case *at = &cases[i / 2];
    bool is_bf16 = i % 2;
    uint64_t groups = at->groups, columns = at->columns, depth = at->depth, rows = at->operand_rows, first = at->first_column,
             padded = at->padded;
    uint64_t panels = first / 32 + (padded / 32 - 1) * (1 + (uint64_t)at->between) + 1, group = panels * 32 * rows;
    assert_true(groups * group <= sizeof expected / sizeof *expected);
    memset(expected, 0, sizeof expected);
    for (uint64_t g = 0; g < groups; g++)
      for (uint64_t c = 0; c < columns; c++)
        for (uint64_t j = 0; j < at->parts; j++)
          for (uint64_t k = 0; k < depth; k++) {
            uint64_t from = at->offset + g * at->group_stride + c * at->column_stride + j * at->part_stride + k * at->depth_stride;
            uint64_t n = first + c / 32 * (1 + (uint64_t)at->between) * 32 + c % 32;
            assert_true(from < PLANE_VALUES);
            expected[g * group + plane_index(rows, at->first_row + j * at->part_rows + k, n)] = halves[from];
          }
    fixture_plan *plan = plan_create("planes");
    uint32_t param = plan_param(plan, "w", 1, SHAPE(PLANE_VALUES));
    fixture_entry *entry = plan_entry(plan, "open");
    uint32_t to = plan_weight(plan, entry, groups * group * 2);
    plan_step(plan, entry, HMOE_STEP_PACK, HMOE_NONE, BINDINGS(AT(to)),
              FIELDS(pack,
                     .source = {param,
                                0,
                                at->offset,
                                {groups, at->group_stride},
                                {columns, at->column_stride},
                                {1, 0},
                                {at->parts, at->part_stride},
                                {depth, at->depth_stride}},
                     .destination = {.layout = HMOE_LAYOUT_PLANES,
                                     .format = HMOE_FORMAT_BF16,
                                     .between = at->between,
                                     .columns = padded,
                                     .generated_rows = 1,
                                     .group_bytes = group * 2,
                                     .first_column = first,
                                     .first_row = at->first_row,
                                     .part_rows = at->part_rows,
                                     .operand_rows = rows}));
    hmoe_model *model = is_bf16 ? open_pack(plan, "BF16", PLANE_VALUES, halves, sizeof halves)
                                : open_pack(plan, "F32", PLANE_VALUES, floats, sizeof floats);
    const uint16_t *found = (const void *)model->arena;
    for (uint64_t e = 0; e < groups * group; e++)
      if (found[e] != expected[e])
        fail_msg("case %zu: element %llu is %x, expected %x", i, (unsigned long long)e, found[e], expected[e]);
    hmoe_model_close(model);
    free(plan);
  }
}

/* Columns of a generator, in the order in which what they make lies in planes: column number o makes element o of right(rows, columns). */
static void test_generated_planes(void **state) {
  (void)state;
  enum { ROWS = 128, MADE = 64, COLUMNS = 50, GENERATED = 100, DEPTH = 3 };
  static float values[PLANE_VALUES], expected[ROWS * MADE * DEPTH];
  for (uint64_t i = 0; i < PLANE_VALUES; i++) values[i] = plane_value(i);
  memset(expected, 0, sizeof expected);
  for (uint64_t q = 0; q < GENERATED; q++)
    for (uint64_t c = 0; c < COLUMNS; c++)
      for (uint64_t k = 0; k < DEPTH; k++) {
        uint64_t o = plane_index(ROWS, q, c);
        expected[(o / 32 * DEPTH + k) * 32 + o % 32] = plane_value(q * 300 + c * 4 + k + 2);
      }
  fixture_plan *plan = plan_create("generated planes");
  uint32_t param = plan_param(plan, "w", 1, SHAPE(PLANE_VALUES));
  fixture_entry *entry = plan_entry(plan, "open");
  uint32_t to = plan_weight(plan, entry, sizeof expected);
  plan_step(plan, entry, HMOE_STEP_PACK, HMOE_NONE, BINDINGS(AT(to)),
            FIELDS(pack, .source = {param, 0, 2, {1, 0}, {COLUMNS, 4}, {GENERATED, 300}, {1, 0}, {DEPTH, 1}},
                   .destination = {.layout = HMOE_LAYOUT_PANELS,
                                   .generated_format = HMOE_FORMAT_BF16,
                                   .generated_layout = HMOE_LAYOUT_PLANES,
                                   .columns = ROWS * MADE,
                                   .generated_rows = ROWS,
                                   .operand_rows = DEPTH}));
  hmoe_model *model = open_pack(plan, "F32", PLANE_VALUES, values, sizeof values);
  const float *found = (const void *)model->arena;
  for (uint64_t e = 0; e < sizeof expected / sizeof *expected; e++)
    if (!(found[e] >= expected[e] && found[e] <= expected[e]))
      fail_msg("element %llu is %g, expected %g", (unsigned long long)e, (double)found[e], (double)expected[e]);
  hmoe_model_close(model);
  free(plan);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_pack),
      cmocka_unit_test(test_pair_values),
      cmocka_unit_test(test_pairs_in_workspace),
      cmocka_unit_test(test_pack_types),
      cmocka_unit_test(test_pack_vector),
      cmocka_unit_test(test_pack_bounds),
      cmocka_unit_test(test_pack_elsewhere),
      cmocka_unit_test(test_copy_and_selections),
      cmocka_unit_test(test_weight_embedding),
      cmocka_unit_test(test_weight_embedding_shapes),
      cmocka_unit_test(test_last_step),
      cmocka_unit_test(test_planes),
      cmocka_unit_test(test_generated_planes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
