#include "target/plain.h"

#include <string.h>

#include "ir/hmk_ops.h"
#include "kernel/family.h"

enum { MOST = 1 << 20 };

/* Small and odd, so that small models are cut into several of everything. */
static const hmoec_knob knobs[] = {
    {"matmul", "row_block", 1, MOST, 5, false},      {"ffn", "chunk_columns", PLAIN_STEP, MOST, 8, false},
    {"choose", "block_rows", 0, MOST, 2, false},     {"choose", "most_columns", 1, MOST, MOST, false},
    {"loop", "per_token_chunk", 1, MOST, 3, false},  {"loop", "factored_chunk", 1, MOST, 7, false},
    {"route", "row_block", 1, MOST, 3, false},       {"combine", "row_block", 1, MOST, 2, false},
    {"select", "row_block", 1, MOST, 3, false},      {"contract", "row_block", 1, MOST, 2, false},
    {"rows", "row_block", 1, MOST, 3, false},        {"norm", "row_block", 1, MOST, 2, false},
    {"embed", "row_block", 1, MOST, 3, false},       {"store", "row_block", 1, MOST, 3, false},
    {"attention", "query_block", 1, MOST, 3, false},
};

static void prepare(hmoec_schedule *schedule, int64_t widest) {
  (void)schedule;
  (void)widest;
}

static int64_t whole(int64_t columns) { return (columns + PLAIN_STEP - 1) / PLAIN_STEP * PLAIN_STEP; }

static hmoec_layout layout(const hmoec_schedule *schedule, const hmoec_operand *o) {
  (void)schedule;
  int64_t columns = whole(o->columns);
  switch (o->role) {
  case HMOEC_ROLE_ROWS: return (hmoec_layout){.stride = columns + (o->in_place ? PLAIN_STEP : 0)};
  case HMOEC_ROLE_RIGHT: return (hmoec_layout){.stride = columns * o->depth, .depth = o->depth, .columns = columns};
  default: return (hmoec_layout){.stride = o->depth * o->columns, .parts = o->depth}; /* KEYS, VALUES: a part a head */
  }
}

static int64_t right_column(hmoec_format format, int64_t k, int64_t column) {
  (void)format;
  return column * k;
}

static void pack(const hmoec_packing *p, int64_t out_args[HMOEC_PACK_ARGS]) {
  /* A generator's vector is a matrix of depth 1: its elements are in the order of the generated operand's. Columns that are to lie side by side, in
   * one piece each, are groups. */
  bool vector = p->k_inner == 0 && p->q == 1, apart = p->side_by_side && p->q > 1;
  int64_t q = apart ? 1 : p->q, columns = (vector && !p->padded ? p->columns : whole(p->columns)) * q;
  int64_t k_inner = p->k_inner == 0 && !vector ? 1 : p->k_inner, depth = p->operand_k ? p->operand_k : k_inner;
  int64_t n = p->operand_n ? p->operand_n : columns;
  int64_t behind = p->pair == HMOEC_PAIR_UPS ? whole(p->columns) : 0; /* of pairs: all gates, then all ups */
  const int64_t args[HMOEC_PACK_ARGS] = {vector ? HMOE_LAYOUT_VECTOR : HMOE_LAYOUT_COLUMNS,
                                         columns,
                                         q,
                                         p->columns,
                                         p->column_stride,
                                         apart ? 0 : p->q_stride,
                                         vector       ? 0
                                         : p->k_outer ? p->k_outer
                                                      : 1,
                                         k_inner,
                                         p->k_outer_stride,
                                         p->k_inner_stride,
                                         p->source_offset,
                                         apart ? p->q : p->groups,
                                         apart ? p->q_stride : p->source_group_stride,
                                         4 * (apart    ? columns * depth
                                              : vector ? n
                                                       : whole(n) * depth),
                                         p->first_column + behind,
                                         p->first_k,
                                         p->outer_pitch ? p->outer_pitch : depth,
                                         depth,
                                         0,
                                         q,
                                         0,
                                         0,
                                         0};
  memcpy(out_args, args, sizeof args);
}

static bool packs_any_depth(hmoec_format format) {
  (void)format;
  return true;
}

static void insert(hmoec_format format, int64_t groups, int64_t k, int64_t n, int64_t first_k, int64_t part_k, int64_t *out_offset,
                   int64_t out_args[HMOEC_COPY_ARGS]) {
  (void)format;
  const int64_t args[HMOEC_COPY_ARGS] = {groups, 4 * whole(n) * k, 4 * whole(n) * part_k, whole(n), 4 * k, 4 * part_k, 4 * part_k};
  memcpy(out_args, args, sizeof args);
  *out_offset = first_k;
}

static uint64_t scratch_bytes(const hmoec_schedule *schedule, const hmoec_kernel *kernels, size_t count) {
  (void)schedule;
  (void)kernels;
  (void)count;
  return 64;
}

/* ---- place ---- */

/* The family, or step, whose knobs a step has. */
static const char *knobs_of(MlirOperation op) {
  const hmoec_hmk_info *info = hmoec_hmk_info_of(op);
  for (int f = 0; f < HMOEC_KERNEL_FAMILY_COUNT; f++) {
    const char *name = hmoec_family_op((hmoec_kernel_family)f);
    if (strcmp(name, info->name) == 0) return hmoec_family_name((hmoec_kernel_family)f);
  }
  return info->name;
}

static bool place(MlirOperation function, MlirOperation op, const hmoec_schedule *schedule) {
  const char *of = knobs_of(op), *names[4];
  int64_t values[4];
  size_t count = 0;
  if (strcmp(of, "attention") == 0)
    return hmoec_place_attention(function, op, hmoec_knob_value(&plain_target, schedule, of, "query_block"));
  /* Blocks of rows are made by one step and read by others. */
  static const char *const blocks[] = {"ffn", "choose", "group_tokens", "group_selections"};
  for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
    if (strcmp(of, blocks[i]) != 0) continue;
    names[count] = "row_block";
    values[count++] = hmoec_knob_value(&plain_target, schedule, "matmul", "row_block");
  }
  for (size_t i = 0; i < plain_target.knob_count; i++) {
    if (strcmp(plain_target.knobs[i].of, of) != 0) continue;
    names[count] = plain_target.knobs[i].name;
    values[count++] = hmoec_knob_at(&plain_target, schedule, i);
  }
  if (count) hmoec_hmk_schedule_set(op, names, values, count);
  return true;
}

const hmoec_target plain_target = {
    .name = "plain",
    .formats = {[HMOEC_FORMAT_F32] = true},
    .knobs = knobs,
    .knob_count = sizeof knobs / sizeof *knobs,
    .column_step = PLAIN_STEP,
    .position_step = 1,
    .position_pad = 1,
    .attention_width = 1,
    .prepare = prepare,
    .layout = layout,
    .right_column = right_column,
    .pack = pack,
    .packs_any_depth = packs_any_depth,
    .insert = insert,
    .scratch_bytes = scratch_bytes,
    .place = place,
};

/* ---- functions of the ABI: one for each number, of the unit at hand ---- */

static const hmoec_unit *current;

#define FUNCTION(number)                                                                                                           \
  static void kernel_##number(const hmoe_kernel_call *call, int64_t task, void *scratch) {                                         \
    (void)scratch;                                                                                                                 \
    plain_run(&current->kernels[number - 1000], call, task);                                                                       \
  }
#define TEN(action, tens)                                                                                                          \
  action(tens##0) action(tens##1) action(tens##2) action(tens##3) action(tens##4) action(tens##5) action(tens##6) action(tens##7)  \
      action(tens##8) action(tens##9)
#define ALL(action)                                                                                                                \
  TEN(action, 100)                                                                                                                 \
  TEN(action, 101)                                                                                                                 \
  TEN(action, 102)                                                                                                                 \
  TEN(action, 103) TEN(action, 104) TEN(action, 105) TEN(action, 106) TEN(action, 107) TEN(action, 108) TEN(action, 109)
ALL(FUNCTION)
#define NAME(number) kernel_##number,
static const hmoe_kernel_fn functions[] = {ALL(NAME)};

bool plain_kernels(const hmoec_unit *unit, const hmoe_kernel_fn **out_functions) {
  current = unit;
  *out_functions = functions;
  return unit->kernel_count <= sizeof functions / sizeof *functions;
}
