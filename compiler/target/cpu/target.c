/* The CPU as a target: its knobs and its layouts.
 *
 * Right operands [k, n] are panels of HMOE_PANEL columns: [ceil(n / 32)][k][32] of f32, or of bf16 [ceil(n / 32)][ceil(k / 32) * 16][32] words of two
 * halves, of depth 2 i and 2 i + 1. Rows that products read in place have one stride in all of an object, so that micro-kernels address them with
 * constants: no multiple of a power of two, which would put a column of them into few sets of a cache. */
#include "target/cpu/emit.h"
#include "target/cpu/knobs.h"
#include "target/cpu/time.h"

/* What today's servers have at least, a core. */
enum { L1_BYTES = 32 << 10, L2_BYTES = 1 << 20, USUAL_WIDTH = 1024 };
enum { AMX_L2_BYTES = 2 << 20, LEAST_BLOCK_BF16 = 64, MOST_BLOCK_BF16 = 256, AMX_TILES = 32 }; /* a core; rows; of two tiles */
enum { MOST = 1 << 20 };
#define MOST_STRIDE (INT64_C(1) << 56)

#define VERSIONS(first, knob, most, a, b, c, d, e)                                                                                 \
  [(first) + HMOE_CPU_PORTABLE] = {"target", knob ".portable", 1, most, a, false},                                                 \
             [(first) + HMOE_CPU_AVX2] = {"target", knob ".avx2", 1, most, b, false},                                              \
             [(first) + HMOE_CPU_AVX512] = {"target", knob ".avx512", 1, most, c, false},                                          \
             [(first) + HMOE_CPU_AVX512_BF16] = {"target", knob ".avx512_bf16", 1, most, d, false},                                \
             [(first) + HMOE_CPU_AMX] = {"target", knob ".amx", 1, most, e, false}

/* The model behind row_block and chunk_panels: rows of A and their sums, of a layer of the usual width, take a quarter of the second-level cache
 * each; the other half is for panels that come and go. Of a fused pair, the part of a panel that a chunk of the hidden block meets fits the
 * first-level cache. AMX multiplies faster than memory gives weights to blocks of so few rows: blocks of groups in bf16 have more, as long as rows of
 * the widest operand fit the second-level cache of a core that has it. A fused pair reads its weights once for both products, but is cut by blocks
 * alone: it needs enough of them for all threads, and enough rows in each to be worth the weights; the sums of a block wait in a worker's scratch, hence most_columns. */
static const hmoec_knob knobs[CPU_KNOB_COUNT] = {
    [CPU_ROW_STRIDE] = {"target", "row_stride", 16, MOST_STRIDE, 0, true}, /* of rows that products read in place */
    [CPU_ROW_STRIDE_BF16] = {"target", "row_stride_bf16", 32, MOST_STRIDE, 0, true},
    [CPU_AHEAD_WORDS] = {"target", "ahead_words", 0, MOST, 4096,
                         false}, /* how far behind what it reads an only row tile prefetches */
    [CPU_HIDE_LATENCY] = {"target", "hide_latency", 1, 14, 8, false}, /* accumulators that few rows have at least */
    [CPU_PART_STEPS] = {"target", "part_steps", 1, MOST, 64, false}, /* steps of k of a panel that is walked in parts */
    [CPU_FETCH_ROWS] = {"target", "fetch_rows", 1, 32, 5, false}, /* fewer leave prefetching to the processor */
    VERSIONS(CPU_TILE_ROWS, "tile_rows", 32, 4, 6, 14, 14, 14),
    VERSIONS(CPU_TILE_VECTORS, "tile_vectors", 8, 2, 2, 2, 2, 2),
    VERSIONS(CPU_TILE_ROWS_BF16, "tile_rows_bf16", 32, 4, 4, 12, 14, 14), /* AMX has its own */
    VERSIONS(CPU_TILE_VECTORS_BF16, "tile_vectors_bf16", 8, 2, 2, 2, 2, 2),
    [CPU_ROW_BLOCK] = {"matmul", "row_block", 1, MOST, L2_BYTES / 4 / (USUAL_WIDTH * 4), false}, /* whole tiles of AMX */
    [CPU_ROW_BLOCK_BF16] = {"matmul", "row_block_bf16", 1, MOST, 0, false}, /* of groups that a product in bf16 multiplies */
    [CPU_CHUNK_PANELS] = {"ffn", "chunk_panels", 1, MOST, L1_BYTES / (HMOE_PANEL * HMOE_PANEL * 4),
                          false}, /* f32; of bf16 four times as many */
    [CPU_TASKS] = {"kernel", "tasks_a_thread", 1, MOST, 8, false}, /* a thread, of steps with few blocks */
    [CPU_PERCENT] = {"choose", "percent", 0, MOST, 100,
                     false}, /* of the time of two steps, up to which a pair is taken; see hmoe_step_choose */
    [CPU_BLOCK_ROWS] = {"choose", "block_rows", 0, MOST, 16, false}, /* where no times are known */
    [CPU_MOST_COLUMNS] = {"choose", "most_columns", 1, MOST_STRIDE, 8192, false},
    [CPU_PER_TOKEN_CHUNK] = {"loop", "per_token_chunk", 1, MOST, 32, false}, /* tokens whose D and U exist at one time */
    [CPU_FACTORED_CHUNK] = {"loop", "factored_chunk", 1, MOST, 256,
                            false}, /* tokens whose factored intermediates exist at one time */
    [CPU_ROUTE_ROWS] = {"route", "row_block", 1, MOST, 32, false},
    [CPU_COMBINE_ROWS] = {"combine", "row_block", 1, MOST, 16, false},
    [CPU_SELECT_ROWS] = {"select", "row_block", 1, MOST, 8, false},
    [CPU_CONTRACT_ROWS] = {"contract", "row_block", 1, MOST, 8, false},
    [CPU_MAP_ROWS] = {"rows", "row_block", 1, MOST, 16, false},
    [CPU_NORM_ROWS] = {"norm", "row_block", 1, MOST, 16, false},
    [CPU_EMBED_ROWS] = {"embed", "row_block", 1, MOST, 8, false},
    [CPU_STORE_ROWS] = {"store", "row_block", 1, MOST, 32, false},
    [CPU_QUERY_ROWS] = {"attention", "query_block", 1, MOST, 64, false},
};
/* What was worth a percent or more somewhere, or close to it (docs/tuning.md). A percentage of 0 means never a pair, one of 10,000 always. */
static const hmoec_knob_tried tried[] = {
    {CPU_PERCENT, true, 4, {0, 85, 115, 10000}},
    {CPU_TASKS, true, 4, {1, 2, 4, 16}},
    {CPU_FETCH_ROWS, false, 2, {7, 9}},
    {CPU_HIDE_LATENCY, false, 2, {2, 4}},
};

_Static_assert((int)CPU_KNOB_COUNT <= (int)HMOEC_MOST_KNOBS, "a schedule has room for all knobs");
_Static_assert((int)HMOE_CPU_COUNT <= (int)HMOEC_MOST_VERSIONS, "a set has room for all versions");

int64_t hmoec_cpu_knob(const hmoec_schedule *schedule, size_t number) { return hmoec_knob_at(&hmoec_target_cpu, schedule, number); }

static void prepare(hmoec_schedule *schedule, int64_t widest) {
  int64_t lines = (widest + 15) / 16, lines_bf16 = (widest + 31) / 32;
  if (!schedule->value[CPU_ROW_STRIDE]) schedule->value[CPU_ROW_STRIDE] = (lines | 1) * 16;
  if (!schedule->value[CPU_ROW_STRIDE_BF16]) schedule->value[CPU_ROW_STRIDE_BF16] = (lines_bf16 | 1) * 32;
  int64_t rows = AMX_L2_BYTES / (2 * schedule->value[CPU_ROW_STRIDE_BF16]) / AMX_TILES * AMX_TILES;
  rows = rows < LEAST_BLOCK_BF16 ? LEAST_BLOCK_BF16 : rows > MOST_BLOCK_BF16 ? MOST_BLOCK_BF16 : rows;
  if (!schedule->value[CPU_ROW_BLOCK_BF16]) schedule->value[CPU_ROW_BLOCK_BF16] = rows;
}

hmoec_cpu_schedule hmoec_cpu_schedule_of(const hmoec_schedule *schedule) {
  hmoec_cpu_schedule s = {.lda = hmoec_cpu_knob(schedule, CPU_ROW_STRIDE),
                          .lda_bf16 = hmoec_cpu_knob(schedule, CPU_ROW_STRIDE_BF16),
                          .row_block = hmoec_cpu_knob(schedule, CPU_ROW_BLOCK),
                          .row_block_bf16 = hmoec_cpu_knob(schedule, CPU_ROW_BLOCK_BF16),
                          .ahead_words = hmoec_cpu_knob(schedule, CPU_AHEAD_WORDS),
                          .hide_latency = hmoec_cpu_knob(schedule, CPU_HIDE_LATENCY),
                          .part_steps = hmoec_cpu_knob(schedule, CPU_PART_STEPS),
                          .fetch_rows = hmoec_cpu_knob(schedule, CPU_FETCH_ROWS)};
  for (size_t v = 0; v < HMOE_CPU_COUNT; v++) {
    s.tile_rows[v] = hmoec_cpu_knob(schedule, CPU_TILE_ROWS + v);
    s.tile_vectors[v] = hmoec_cpu_knob(schedule, CPU_TILE_VECTORS + v);
    s.tile_rows_bf16[v] = hmoec_cpu_knob(schedule, CPU_TILE_ROWS_BF16 + v);
    s.tile_vectors_bf16[v] = hmoec_cpu_knob(schedule, CPU_TILE_VECTORS_BF16 + v);
  }
  return s;
}

hmoec_cpu_schedule hmoec_cpu_schedule_default(int64_t deepest) {
  hmoec_schedule schedule = {{0}};
  prepare(&schedule, deepest);
  return hmoec_cpu_schedule_of(&schedule);
}

/* ---- layouts ---- */

static int64_t whole_panels(int64_t columns) { return (columns + HMOE_PANEL - 1) / HMOE_PANEL * HMOE_PANEL; }

static int64_t right_depth(hmoec_format format, int64_t k) { return hmoec_is_bf16(format) ? whole_panels(k) : k; }

static int64_t right_elements(hmoec_format format, int64_t k, int64_t n) { return whole_panels(n) * right_depth(format, k); }

/* Keys [head][position][size], values [head][panel][position][32]: right operands of attention's two products. */
static hmoec_layout layout(const hmoec_schedule *schedule, const hmoec_operand *o) {
  int64_t columns = whole_panels(o->columns), depth = right_depth(o->format, o->depth);
  switch (o->role) {
  case HMOEC_ROLE_ROWS:
    if (!o->in_place) return (hmoec_layout){.stride = columns};
    return (hmoec_layout){.stride = hmoec_cpu_knob(schedule, hmoec_is_bf16(o->format) ? CPU_ROW_STRIDE_BF16 : CPU_ROW_STRIDE),
                          .slack = HMOEC_SLACK_ROWS};
  case HMOEC_ROLE_RIGHT: return (hmoec_layout){.stride = columns * depth, .depth = depth, .columns = columns};
  case HMOEC_ROLE_KEYS: return (hmoec_layout){.stride = o->depth * o->columns, .parts = o->depth};
  case HMOEC_ROLE_VALUES: return (hmoec_layout){.stride = o->depth * columns, .parts = o->depth * columns / HMOE_PANEL};
  default: return (hmoec_layout){0};
  }
}

static int64_t right_column(hmoec_format format, int64_t k, int64_t column) { return column * right_depth(format, k); }

static int64_t abi_format(hmoec_format format) { return hmoec_is_bf16(format) ? HMOE_FORMAT_BF16 : HMOE_FORMAT_F32; }

static void pack(const hmoec_packing *p, int64_t out_args[HMOEC_PACK_ARGS]) {
  bool vector = p->k_inner == 0;
  int64_t q = right_depth(p->generates, p->q), columns = vector && !p->padded ? p->columns : q * whole_panels(p->columns);
  int64_t depth = right_depth(p->format, p->operand_k ? p->operand_k : p->k_inner), n = p->operand_n ? p->operand_n : columns;
  int64_t first_column = p->first_column + (p->pair == HMOEC_PAIR_UPS ? HMOE_PANEL : 0); /* of pairs every other panel */
  const int64_t args[HMOEC_PACK_ARGS] = {
      [HMOEC_PACK_LAYOUT] = vector ? HMOE_LAYOUT_VECTOR : HMOE_LAYOUT_PANELS,
      [HMOEC_PACK_COLUMNS] = columns,
      [HMOEC_PACK_GENERATED_ROWS] = q,
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
      [HMOEC_PACK_GROUP_BYTES] = vector ? 4 * n : hmoec_format_bytes(p->format, whole_panels(n) * depth),
      [HMOEC_PACK_FIRST_COLUMN] = first_column,
      [HMOEC_PACK_FIRST_ROW] = p->first_k,
      [HMOEC_PACK_PART_ROWS] = p->outer_pitch ? p->outer_pitch : depth,
      [HMOEC_PACK_OPERAND_DEPTH] = depth,
      [HMOEC_PACK_FORMAT] = abi_format(p->format),
      [HMOEC_PACK_SOURCE_GENERATED] = p->q,
      [HMOEC_PACK_GENERATED_FORMAT] = abi_format(p->generates),
      [HMOEC_PACK_BETWEEN] = p->pair != HMOEC_PAIR_NONE,
  };
  for (int i = 0; i < HMOEC_PACK_ARGS; i++) out_args[i] = args[i];
}

/* Halves of a word come from two rows of depth. */
static bool packs_any_depth(hmoec_format format) { return !hmoec_is_bf16(format); }

/* A panel of f32 is a group [depth, 32]. */
static void repack(hmoec_format format, int64_t k, int64_t n, int64_t out_args[HMOEC_PACK_ARGS]) {
  const hmoec_packing panels = {.columns = HMOE_PANEL,
                                .column_stride = 1,
                                .q = 1,
                                .k_outer = 1,
                                .k_inner = k,
                                .k_inner_stride = HMOE_PANEL,
                                .groups = whole_panels(n) / HMOE_PANEL,
                                .source_group_stride = HMOE_PANEL * k,
                                .format = format};
  pack(&panels, out_args);
}

static void insert(hmoec_format format, int64_t groups, int64_t k, int64_t n, int64_t first_k, int64_t part_k, int64_t *out_offset,
                   int64_t out_args[HMOEC_COPY_ARGS]) {
  int64_t panel = hmoec_format_bytes(format, right_depth(format, part_k) * HMOE_PANEL);
  const int64_t args[HMOEC_COPY_ARGS] = {groups,
                                         hmoec_format_bytes(format, right_elements(format, k, n)),
                                         hmoec_format_bytes(format, right_elements(format, part_k, n)),
                                         whole_panels(n) / HMOE_PANEL,
                                         hmoec_format_bytes(format, right_depth(format, k) * HMOE_PANEL),
                                         panel,
                                         panel};
  for (int i = 0; i < HMOEC_COPY_ARGS; i++) out_args[i] = args[i];
  *out_offset = first_k * HMOE_PANEL;
}

static uint64_t scratch_bytes(const hmoec_schedule *schedule, const hmoec_kernel *kernels, size_t count) {
  hmoec_cpu_schedule cpu = hmoec_cpu_schedule_of(schedule);
  return hmoec_cpu_scratch_bytes(&cpu, kernels, count);
}

const hmoec_target hmoec_target_cpu = {
    .name = "cpu",
    .formats = {[HMOEC_FORMAT_F32] = true, [HMOEC_FORMAT_BF16] = true},
    .knobs = knobs,
    .knob_count = CPU_KNOB_COUNT,
    .tried = tried,
    .tried_count = sizeof tried / sizeof *tried,
    .column_step = HMOE_PANEL,
    .position_step = HMOE_PANEL,
    .position_pad = HMOE_PANEL,
    .attention_width = HMOEC_KEY_BLOCK,
    .prepare = prepare,
    .layout = layout,
    .right_column = right_column,
    .pack = pack,
    .packs_any_depth = packs_any_depth,
    .repack = repack,
    .insert = insert,
    .scratch_bytes = scratch_bytes,
    .place = hmoec_cpu_place,
    .numbers = hmoec_cpu_numbers,
    .number_count = HMOEC_CPU_NUMBERS,
    .machines = hmoec_cpu_machines,
    .machine_count = HMOEC_CPU_MACHINES,
    .kernel_time = hmoec_cpu_kernel_time,
    .task_time = hmoec_cpu_task_time,
    .task_bound = hmoec_cpu_task_bound,
    .step_time = hmoec_cpu_step_time,
    .run_block_rows = hmoec_cpu_run_block_rows,
    .sharing_time = hmoec_cpu_sharing_time,
    .rates = hmoec_cpu_rates,
    .initialise = hmoec_cpu_initialise,
    .version = hmoec_cpu_version_at,
    .lacks = hmoec_cpu_version_lacks,
    .processors = hmoec_cpu_processors,
    .generate = hmoec_cpu_generate_unit,
};
