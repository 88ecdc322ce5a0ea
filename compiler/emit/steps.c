#include "emit/steps.h"

#include <stdlib.h>
#include <string.h>

#include "ir/location.h"
#include "kernel/family.h"

/* The step at hand. */
typedef struct step_source {
  hmoec_step_reader *reader;
  MlirOperation op;
  const hmoec_hmk_info *info;
} step_source;

/* ---- attributes ---- */

static uint32_t int_of(const step_source *s, const char *name) {
  int64_t value = hmoec_op_int(s->op, name);
  if (value < 0 || value >= HMOE_NONE)
    s->reader->plan->refused |= !hmoec_error(s->reader->plan->diagnostics, hmoec_location_of_op(s->op),
                                             "expected %s of %s to fit 32 bits, found %lld", name, s->info->name, (long long)value);
  return (uint32_t)value;
}

/* Of the op's schedule. */
static uint32_t scheduled(const step_source *s, const char *name) { return (uint32_t)hmoec_hmk_schedule(s->op, name); }

static uint64_t long_of(const step_source *s, const char *name) { return (uint64_t)hmoec_op_int(s->op, name); }

static uint32_t dim_of(int64_t dim) { return dim < 0 ? HMOE_NONE : (uint32_t)dim; }

/* Dimension i that the op names, HMOE_NONE for what it does not. */
static uint32_t listed_dim(const step_source *s, intptr_t i) {
  return i < hmoec_hmk_array_size(s->op, "dims") ? dim_of(hmoec_hmk_array(s->op, "dims", i)) : HMOE_NONE;
}

static uint64_t arg(const step_source *s, intptr_t i) { return (uint64_t)hmoec_hmk_array(s->op, "args", i); }

/* The number of a word, 0 where it is none of them. */
static uint32_t word_of(const step_source *s, const char *name, const char *const *words, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    if (hmoec_op_string_is(s->op, name, words[i])) return i;
  return 0;
}

/* The hmk.buffer of a role; null where it is not bound. */
static MlirOperation buffer_of(const step_source *s, size_t role) {
  intptr_t operand = hmoec_hmk_operand(s->op, s->info, role);
  return operand < 0 ? (MlirOperation){NULL} : mlirOpResultGetOwner(mlirOperationGetOperand(s->op, operand));
}

static hmoe_plan_span append(const step_source *s, const void *fields, size_t bytes) {
  return hmoec_blob_append(&s->reader->plan->blob, fields, bytes, bytes);
}

/* ---- blocks ---- */

/* Rows of a block and most groups, of the blocks in a buffer: as the op that grouped them says, in a loop over them no more than a chunk. */
typedef struct block_bound {
  uint32_t row_block, groups;
} block_bound;

static uint32_t sets_of(int64_t experts, int64_t top_k) {
  int64_t sets = hmoec_binomial(experts, top_k);
  return sets < 0 || sets >= HMOE_NONE ? HMOE_NONE : (uint32_t)sets;
}

static block_bound bound_of(const step_source *s, MlirOperation blocks) {
  size_t found = hmoec_pointer_map_get(&s->reader->groupings, blocks.ptr);
  if (found == HMOEC_NO_NUMBER) {
    s->reader->plan->refused |= !hmoec_error(s->reader->plan->diagnostics, hmoec_location_of_op(s->op),
                                             "internal: nothing has grouped the rows of hmk.%s", s->info->name);
    return (block_bound){1, 1};
  }
  MlirOperation grouping = {(void *)found};
  int64_t experts = hmoec_op_int(grouping, "experts"), top_k = hmoec_op_int(grouping, "top_k");
  block_bound bound = {.row_block = (uint32_t)hmoec_hmk_schedule(grouping, "row_block")};
  if (hmoec_op_is(grouping, "hmk.group_tokens")) /* dropped rows are a group of their own */
    bound.groups = (uint32_t)experts * (hmoec_op_int(grouping, "capacity") ? 2 : 1);
  else bound.groups = hmoec_op_string_is(grouping, "mode", "token") ? HMOE_NONE : sets_of(experts, top_k);
  if (s->reader->loop_left > 0) {
    const step_source loop = {s->reader, s->reader->loop, hmoec_hmk_info_of(s->reader->loop)};
    uint32_t chunk = int_of(&loop, "chunk");
    if (mlirOperationEqual(buffer_of(&loop, HMOE_BIND_LOOP_BLOCKS), blocks) && chunk < bound.groups) bound.groups = chunk;
  }
  return bound;
}

/* Remembers what a step does to blocks. */
static void follow_blocks(const step_source *s) {
  hmoec_step_reader *r = s->reader;
  r->loop_left -= r->loop_left > 0;
  size_t role = s->info->step == HMOE_STEP_GROUP ? HMOE_BIND_GROUP_BLOCKS : HMOE_BIND_GROUP_SETS_BLOCKS;
  if (s->info->step == HMOE_STEP_GROUP || s->info->step == HMOE_STEP_GROUP_SETS)
    if (!hmoec_pointer_map_set(&r->groupings, buffer_of(s, role).ptr, (size_t)s->op.ptr)) r->plan->failed = true;
  if (s->info->step == HMOE_STEP_LOOP && !hmoec_op_string_is(s->op, "kind", "rows")) {
    r->loop = s->op;
    r->loop_left = hmoec_op_int(s->op, "body");
  }
}

/* ---- the kinds ---- */

/* The kernel's number: found among the distinct ones or added. */
static uint32_t add_kernel(hmoec_plan_writer *plan, const hmoec_kernel *kernel) {
  hmoec_unit *unit = plan->unit;
  for (size_t i = 0; i < unit->kernel_count; i++)
    if (memcmp(&unit->kernels[i], kernel, sizeof *kernel) == 0) return (uint32_t)i;
  hmoec_kernel *grown = realloc(unit->kernels, (unit->kernel_count + 1) * sizeof *grown);
  if (!grown) {
    plan->failed = true;
    return 0;
  }
  unit->kernels = grown;
  memcpy(&unit->kernels[unit->kernel_count], kernel, sizeof *kernel);
  return (uint32_t)unit->kernel_count++;
}

static uint32_t column_splits(const hmoec_target *target, int64_t columns) {
  return (uint32_t)(hmoec_round_columns(target, columns) / target->column_step);
}

/* Of attention, whose tasks have as many queries as there are: rows of sequences and heads, queries, keys. */
static hmoe_plan_span work_dims(const step_source *s, const hmoec_kernel *kernel) {
  const uint32_t dims[] = {dim_of(hmoec_op_int(s->op, "rows")), listed_dim(s, 1), listed_dim(s, 3)};
  if (kernel->family != HMOEC_KERNEL_ATTENTION) return (hmoe_plan_span){0, 0};
  return hmoec_blob_append(&s->reader->plan->blob, dims, sizeof dims, sizeof dims / sizeof *dims);
}

/* `tunings` of an op: first row, last row, version and threads (-1: any), value. */
static hmoe_plan_span tunings(const step_source *s) {
  enum { FIELDS = 5 };
  intptr_t count = hmoec_hmk_array_size(s->op, "tunings") / FIELDS;
  hmoe_plan_span span = {0, 0};
  for (intptr_t i = 0; i < count; i++) {
    int64_t version = hmoec_hmk_array(s->op, "tunings", FIELDS * i + 2),
            threads = hmoec_hmk_array(s->op, "tunings", FIELDS * i + 3);
    hmoe_plan_tuning tuning = {.first_rows = (uint64_t)hmoec_hmk_array(s->op, "tunings", FIELDS * i),
                               .last_rows = (uint64_t)hmoec_hmk_array(s->op, "tunings", FIELDS * i + 1),
                               .version = version < 0 ? HMOE_NONE : (uint32_t)version,
                               .threads = threads < 0 ? 0 : (uint32_t)threads,
                               .value = (uint32_t)hmoec_hmk_array(s->op, "tunings", FIELDS * i + 4)};
    hmoe_plan_span at = hmoec_blob_append(&s->reader->plan->blob, &tuning, sizeof tuning, 1);
    if (i == 0) span.offset = at.offset;
    span.count++;
  }
  return span;
}

static hmoe_plan_span kernel_fields(const step_source *s) {
  hmoec_plan_writer *plan = s->reader->plan;
  hmoec_kernel kernel;
  if (!hmoec_kernel_read(s->op, &plan->unit->functions, &kernel)) {
    plan->refused |=
        !hmoec_error(plan->diagnostics, hmoec_location_of_op(s->op), "internal: hmk.%s is of no kernel family", s->info->name);
    return (hmoe_plan_span){0, 0};
  }
  const hmoec_matmul_spec *product = kernel.family == HMOEC_KERNEL_MATMUL ? &kernel.spec.matmul
                                     : kernel.family == HMOEC_KERNEL_FFN  ? &kernel.spec.ffn.second
                                                                          : NULL;
  bool packs = kernel.family == HMOEC_KERNEL_PACK_ROWS,
       grouped = product ? product->grouped : packs && kernel.spec.pack_rows.grouped;
  hmoe_step_kernel fields = {.kernel = add_kernel(plan, &kernel),
                             .grid = !product && !packs ? HMOE_GRID_ROWS
                                     : grouped          ? HMOE_GRID_BLOCKS
                                                        : HMOE_GRID_DENSE,
                             .row_block = kernel.family == HMOEC_KERNEL_ATTENTION ? 1 : scheduled(s, "row_block"),
                             .groups = 1,
                             .column_splits = packs ? column_splits(plan->unit->target, kernel.spec.pack_rows.n)
                                              : kernel.family == HMOEC_KERNEL_MATMUL ? column_splits(plan->unit->target, product->n)
                                                                                     : 1,
                             .tasks = scheduled(s, "tasks_a_thread"),
                             .work = work_dims(s, &kernel),
                             .tunings = tunings(s)};
  if (!fields.tasks) fields.tasks = 1; /* blocks of it are not cut */
  if (fields.grid == HMOE_GRID_BLOCKS) {
    while (strcmp(s->info->roles[fields.blocks_binding], "blocks") != 0) fields.blocks_binding++;
    block_bound bound = bound_of(s, buffer_of(s, fields.blocks_binding));
    fields.row_block = bound.row_block;
    fields.groups = bound.groups;
  }
  uint32_t dims[HMOEC_MAX_STEP_DIMS];
  intptr_t count = hmoec_hmk_array_size(s->op, "dims");
  for (intptr_t i = 0; i < count; i++) dims[i] = listed_dim(s, i);
  if (count > 0) fields.dims = hmoec_blob_append(&plan->blob, dims, (size_t)count * sizeof *dims, (size_t)count);
  return append(s, &fields, sizeof fields);
}

static hmoe_plan_span group_fields(const step_source *s) {
  hmoe_step_group fields = {.experts = int_of(s, "experts"),
                            .top_k = int_of(s, "top_k"),
                            .row_block = scheduled(s, "row_block"),
                            .scope_dim = dim_of(hmoec_op_int(s->op, "scope")),
                            .capacity = long_of(s, "capacity"),
                            .past_dim = listed_dim(s, 0),
                            .stride_dim = listed_dim(s, 1)};
  return append(s, &fields, sizeof fields);
}

static hmoe_plan_span group_sets_fields(const step_source *s) {
  static const char *const modes[] = {"rank", "distinct", "token"};
  hmoe_step_group_sets fields = {.experts = int_of(s, "experts"),
                                 .top_k = int_of(s, "top_k"),
                                 .row_block = scheduled(s, "row_block"),
                                 .mode = word_of(s, "mode", modes, 3)};
  return append(s, &fields, sizeof fields);
}

static hmoe_plan_span loop_fields(const step_source *s) {
  static const char *const kinds[] = {"rows", "groups", "cached"};
  hmoec_plan_writer *plan = s->reader->plan;
  hmoe_step_loop fields = {.kind = word_of(s, "kind", kinds, 3), .steps = int_of(s, "body"), .chunk = int_of(s, "chunk")};
  if (fields.kind != HMOE_LOOP_ROWS) {
    fields.groups = bound_of(s, buffer_of(s, HMOE_BIND_LOOP_BLOCKS)).groups;
    fields.top_k = int_of(s, "top_k");
  }
  if (fields.kind == HMOE_LOOP_CACHED) {
    fields.generate_steps = int_of(s, "generate");
    fields.cache = int_of(s, "cache");
    if (fields.cache < plan->cache_count) plan->caches[fields.cache].top_k = fields.top_k;
  }
  return append(s, &fields, sizeof fields);
}

static hmoe_plan_span choose_fields(const step_source *s) {
  MlirOperation blocks = buffer_of(s, HMOE_BIND_CHOOSE_BLOCKS);
  block_bound bound = mlirOperationIsNull(blocks) ? (block_bound){scheduled(s, "row_block"), 1} : bound_of(s, blocks);
  hmoe_step_choose fields = {.first_steps = int_of(s, "first"),
                             .second_steps = int_of(s, "second"),
                             .percent = scheduled(s, "percent"),
                             .block_rows = scheduled(s, "block_rows"),
                             .row_block = bound.row_block,
                             .groups = bound.groups,
                             .tunings = tunings(s)};
  return append(s, &fields, sizeof fields);
}

/* The source of a pack that is a parameter is read from the checkpoint, and not through a binding. */
static bool reads_param(const step_source *s) { return hmoec_op_string_is(buffer_of(s, HMOE_BIND_PACK_SOURCE), "kind", "param"); }

static hmoe_plan_span pack_fields(const step_source *s) {
  bool vector = arg(s, HMOEC_PACK_LAYOUT) == HMOE_LAYOUT_VECTOR;
  hmoe_step_pack fields = {
      .source = {.param = reads_param(s) ? (uint32_t)hmoec_op_int(buffer_of(s, HMOE_BIND_PACK_SOURCE), "index") : HMOE_NONE,
                 .offset = arg(s, HMOEC_PACK_SOURCE_OFFSET),
                 .groups = {arg(s, HMOEC_PACK_GROUPS), arg(s, HMOEC_PACK_GROUP_STRIDE)},
                 .columns = {arg(s, HMOEC_PACK_SOURCE_COLUMNS), arg(s, HMOEC_PACK_COLUMN_STRIDE)},
                 .generated = {arg(s, HMOEC_PACK_SOURCE_GENERATED), arg(s, HMOEC_PACK_GENERATED_STRIDE)},
                 .parts = {1, 0},
                 .depth = {1, 0}},
      .destination = {.layout = (uint32_t)arg(s, HMOEC_PACK_LAYOUT),
                      .generated_format = (uint32_t)arg(s, HMOEC_PACK_GENERATED_FORMAT),
                      .between = (uint32_t)arg(s, HMOEC_PACK_BETWEEN),
                      .generated_layout = (uint32_t)arg(s, HMOEC_PACK_GENERATED_LAYOUT),
                      .columns = arg(s, HMOEC_PACK_COLUMNS),
                      .generated_rows = arg(s, HMOEC_PACK_GENERATED_ROWS),
                      .group_bytes = arg(s, HMOEC_PACK_GROUP_BYTES),
                      .first_column = arg(s, HMOEC_PACK_FIRST_COLUMN)}};
  if (!vector) {
    fields.source.parts = (hmoe_pack_axis){arg(s, HMOEC_PACK_PARTS), arg(s, HMOEC_PACK_PART_STRIDE)};
    fields.source.depth = (hmoe_pack_axis){arg(s, HMOEC_PACK_DEPTH), arg(s, HMOEC_PACK_DEPTH_STRIDE)};
    fields.destination.format = (uint32_t)arg(s, HMOEC_PACK_FORMAT);
    fields.destination.first_row = arg(s, HMOEC_PACK_FIRST_ROW);
    fields.destination.part_rows = arg(s, HMOEC_PACK_PART_ROWS);
    fields.destination.operand_rows = arg(s, HMOEC_PACK_OPERAND_DEPTH);
  }
  return append(s, &fields, sizeof fields);
}

static hmoe_plan_span copy_fields(const step_source *s) {
  hmoe_step_copy fields = {
      .outer = {arg(s, 0), arg(s, 1), arg(s, 2)}, .inner = {arg(s, 3), arg(s, 4), arg(s, 5)}, .run_bytes = arg(s, 6)};
  return append(s, &fields, sizeof fields);
}

static hmoe_plan_span selections_fields(const step_source *s) {
  hmoe_step_selections fields = {.experts = int_of(s, "experts"), .top_k = int_of(s, "top_k"), .sets = long_of(s, "sets")};
  return append(s, &fields, sizeof fields);
}

static hmoe_plan_span weight_embedding_fields(const step_source *s) {
  uint32_t params[6];
  for (size_t i = 0; i < 6; i++) params[i] = (uint32_t)hmoec_op_int(buffer_of(s, i + 1), "index");
  hmoe_step_weight_embedding fields = {.wi = params[0],
                                       .wo = params[1],
                                       .depthwise1 = params[2],
                                       .pointwise1 = params[3],
                                       .depthwise2 = params[4],
                                       .pointwise2 = params[5],
                                       .row_floats = (uint64_t)hmoec_hmk_layout(buffer_of(s, 0), "row_bytes") / sizeof(float)};
  return append(s, &fields, sizeof fields);
}

static hmoe_plan_span relative_bias_fields(const step_source *s) {
  hmoe_step_relative_bias fields = {.buckets = int_of(s, "buckets"),
                                    .heads = int_of(s, "heads"),
                                    .bidirectional = int_of(s, "bidirectional"),
                                    .max_distance = int_of(s, "max_distance"),
                                    .row_floats = (uint32_t)hmoec_hmk_layout(s->op, "columns"),
                                    .pad = (uint32_t)hmoec_hmk_layout(s->op, "pad")};
  return append(s, &fields, sizeof fields);
}

static hmoe_plan_span ids_fields(const step_source *s) {
  hmoe_step_ids fields = {.element_bytes = (uint32_t)hmoec_hmk_element_bytes(buffer_of(s, HMOE_BIND_IDS_SOURCE)),
                          .limit = long_of(s, "limit"),
                          .fill = hmoec_op_int(s->op, "fill")};
  return append(s, &fields, sizeof fields);
}

static hmoe_plan_tokens tokens_of(const step_source *s) {
  return (hmoe_plan_tokens){listed_dim(s, 0), listed_dim(s, 1), listed_dim(s, 2), listed_dim(s, 3)};
}

static hmoe_plan_span positions_fields(const step_source *s) {
  hmoe_step_positions fields = {.tokens = tokens_of(s), .limit = long_of(s, "limit")};
  return append(s, &fields, sizeof fields);
}

static hmoe_plan_span last_rows_fields(const step_source *s) {
  hmoe_step_last_rows fields = {.tokens = tokens_of(s)};
  return append(s, &fields, sizeof fields);
}

static hmoe_plan_span append_mask_fields(const step_source *s) {
  hmoe_step_append_mask fields = {.tokens = tokens_of(s)};
  return append(s, &fields, sizeof fields);
}

static hmoe_plan_span (*const kinds[HMOE_STEP_COUNT])(const step_source *) = {
    [HMOE_STEP_KERNEL] = kernel_fields,
    [HMOE_STEP_GROUP] = group_fields,
    [HMOE_STEP_GROUP_SETS] = group_sets_fields,
    [HMOE_STEP_LOOP] = loop_fields,
    [HMOE_STEP_CHOOSE] = choose_fields,
    [HMOE_STEP_PACK] = pack_fields,
    [HMOE_STEP_COPY] = copy_fields,
    [HMOE_STEP_SELECTIONS] = selections_fields,
    [HMOE_STEP_WEIGHT_EMBEDDING] = weight_embedding_fields,
    [HMOE_STEP_RELATIVE_BIAS] = relative_bias_fields,
    [HMOE_STEP_IDS] = ids_fields,
    [HMOE_STEP_POSITIONS] = positions_fields,
    [HMOE_STEP_LAST_ROWS] = last_rows_fields,
    [HMOE_STEP_APPEND_MASK] = append_mask_fields,
};

/* Roles that the step reads through its fields and not through a binding. */
static bool in_fields(const step_source *s, size_t role) {
  if (s->info->step == HMOE_STEP_WEIGHT_EMBEDDING) return role > 0;
  return s->info->step == HMOE_STEP_PACK && role == HMOE_BIND_PACK_SOURCE && reads_param(s);
}

static hmoe_plan_span read_bindings(const step_source *s) {
  hmoe_plan_binding bindings[HMOEC_MAX_ROLES] = {0};
  size_t count = 0;
  for (; count < HMOEC_MAX_ROLES && s->info->roles[count]; count++) {
    bindings[count].buffer = HMOE_NONE;
    intptr_t operand = hmoec_hmk_operand(s->op, s->info, count);
    if (operand < 0 || in_fields(s, count)) continue;
    bindings[count].buffer = (uint32_t)hmoec_pointer_map_get(s->reader->buffers, buffer_of(s, count).ptr);
    bindings[count].offset_bytes = (uint64_t)hmoec_hmk_of_operand(s->op, "offsets", operand);
    bindings[count].advance_bytes = (uint64_t)hmoec_hmk_of_operand(s->op, "advances", operand);
  }
  if (s->info->step == HMOE_STEP_WEIGHT_EMBEDDING) count = HMOE_BIND_WEIGHT_EMBEDDING_COUNT;
  return hmoec_blob_append(&s->reader->plan->blob, bindings, count * sizeof *bindings, count);
}

/* Its rows, or tasks that place has made of them. */
static uint32_t rows_dim(MlirOperation op) {
  int64_t tasks = hmoec_hmk_schedule(op, "tasks");
  return tasks > 0 ? (uint32_t)tasks : dim_of(hmoec_op_int(op, "rows"));
}

hmoe_plan_step hmoec_step_read(hmoec_step_reader *reader, MlirOperation op, const hmoec_hmk_info *info) {
  step_source s = {reader, op, info};
  hmoe_plan_step step = {.kind = info->step, .rows_dim = rows_dim(op), .bindings = read_bindings(&s)};
  step.fields = kinds[info->step](&s);
  follow_blocks(&s);
  return step;
}

void hmoec_step_reader_deinit(hmoec_step_reader *reader) { hmoec_pointer_map_deinit(&reader->groupings); }
