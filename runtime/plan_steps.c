/* Validation of an entry's steps, first what all have in common, then the structure of each kind: what runs a step afterwards reads fields. And
 * what is asked of steps from above: which of them belong to a loop, which parameters they read. */
#include "device.h"
#include "plan_check.h"

#include "plain_text.h"

#include <stdarg.h>

static const uint64_t ids_limit_max = (uint64_t)1 << 31; /* what is below it fits an i32 */

typedef hmoe_plan_checker checker;
#define bad hmoe_step_bad

enum { ANY = 0 };
typedef struct step_rule {
  const char *name;
  uint32_t bindings, field_bytes;
  bool rows; /* rows_dim is required */
  hmoe_status (*check)(const checker *check, const hmoe_plan_step *step, const void *fields);
} step_rule;
static const step_rule rules[HMOE_STEP_COUNT];

const char *hmoe_step_name(uint32_t kind) { return kind < HMOE_STEP_COUNT ? rules[kind].name : "unknown"; }

uint32_t hmoe_step_bindings(uint32_t kind) { return kind < HMOE_STEP_COUNT ? rules[kind].bindings : ANY; }

hmoe_status hmoe_step_bad(const checker *check, const char *format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  hmoe_plain_vformat(text, sizeof text, format, arguments);
  va_end(arguments);
  const hmoe_plan_step *steps = HMOE_PLAN_ARRAY(check->plan, check->entry->steps, hmoe_plan_step);
  return HMOE_BAD_PLAN("entry %u step %u (%s): %s", check->entry_index, check->step_index,
                       hmoe_step_name(steps[check->step_index].kind), text);
}

/* ---- what all steps have ---- */

static uint32_t buffer_index(const checker *check, const hmoe_plan_step *step, uint32_t binding) {
  return HMOE_PLAN_ARRAY(check->plan, step->bindings, hmoe_plan_binding)[binding].buffer;
}

/* NULL for HMOE_NONE. */
static const hmoe_plan_buffer *buffer_of(const checker *check, const hmoe_plan_step *step, uint32_t binding) {
  uint32_t buffer = buffer_index(check, step, binding);
  return buffer == HMOE_NONE ? NULL : &HMOE_PLAN_ARRAY(check->plan, check->entry->buffers, hmoe_plan_buffer)[buffer];
}

/* The input that a binding reads, if it is one that the caller may leave out. */
static const hmoe_plan_tensor *optional_input(const checker *check, const hmoe_plan_step *step, uint32_t binding) {
  const hmoe_plan_buffer *buffer = buffer_of(check, step, binding);
  if (!buffer || buffer->kind != HMOE_BUFFER_INPUT) return NULL;
  const hmoe_plan_tensor *tensor = &HMOE_PLAN_ARRAY(check->plan, check->entry->inputs, hmoe_plan_tensor)[buffer->index];
  return tensor->optional ? tensor : NULL;
}

static hmoe_status check_bindings(const checker *check, const hmoe_plan_step *step) {
  const hmoe_plan_binding *bindings = HMOE_PLAN_ARRAY(check->plan, step->bindings, hmoe_plan_binding);
  for (uint32_t i = 0; i < step->bindings.count; i++) {
    if ((bindings[i].offset_bytes | bindings[i].advance_bytes) % sizeof(float)) return bad(check, "binding %u is not aligned", i);
    if (bindings[i].buffer == HMOE_NONE) continue;
    if (bindings[i].buffer >= check->entry->buffers.count)
      return bad(check, "binding %u names buffer %u of %u", i, bindings[i].buffer, check->entry->buffers.count);
    if (optional_input(check, step, i) && (step->kind != HMOE_STEP_IDS || i != HMOE_BIND_IDS_SOURCE))
      return bad(check, "binding %u is an input that may be missing", i);
  }
  return HMOE_OK;
}

static hmoe_status check_form(const checker *check, const hmoe_plan_step *step) {
  if (step->kind >= HMOE_STEP_COUNT)
    return HMOE_BAD_PLAN("entry %u step %u: unknown kind %u", check->entry_index, check->step_index, step->kind);
  const step_rule *rule = &rules[step->kind];
  HMOE_TRY(hmoe_plan_check_span(check, step->bindings, sizeof(hmoe_plan_binding), "bindings"));
  HMOE_TRY(hmoe_plan_check_span(check, step->fields, 1, "fields"));
  if (step->fields.count != rule->field_bytes || step->fields.offset % 8)
    return bad(check, "expected fields of %u bytes, found %u at %u", rule->field_bytes, step->fields.count, step->fields.offset);
  if (rule->bindings != ANY && step->bindings.count != rule->bindings)
    return bad(check, "expected %u bindings, found %u", rule->bindings, step->bindings.count);
  if (rule->rows && step->rows_dim == HMOE_NONE) return bad(check, "rows are missing");
  if (step->rows_dim != HMOE_NONE && step->rows_dim >= check->entry->dims.count)
    return bad(check, "dim %u of %u", step->rows_dim, check->entry->dims.count);
  return check_bindings(check, step);
}

/* ---- pieces of fields ---- */

static hmoe_status check_dim(const checker *check, const char *field, uint32_t dim, bool may_be_none) {
  if (dim < check->entry->dims.count || (dim == HMOE_NONE && may_be_none)) return HMOE_OK;
  return bad(check, "%s: dim %u of %u", field, dim, check->entry->dims.count);
}

static hmoe_status check_top_k(const checker *check, uint32_t experts, uint32_t top_k) {
  if (top_k >= 1 && top_k <= HMOE_TOP_K_MAX && experts >= 1 && experts <= INT32_MAX / 8) return HMOE_OK;
  return bad(check, "%u experts, top_k %u", experts, top_k);
}

/* What bounds the blocks of rows. */
static hmoe_status check_blocks(const checker *check, uint32_t row_block, uint32_t groups) {
  if (row_block >= 1 && row_block <= INT32_MAX && groups >= 1) return HMOE_OK;
  return bad(check, "blocks of %u rows in %u groups", row_block, groups);
}

static hmoe_status check_param(const checker *check, const char *field, uint32_t param) {
  if (check->entry_index == 0 && param < check->plan->params.count) return HMOE_OK;
  return bad(check, "%s: param %u of %u, in entry %u", field, param, check->plan->params.count, check->entry_index);
}

/* ---- kernels and the steps around them ---- */

static hmoe_status check_tunings(const checker *check, hmoe_plan_span span, uint32_t least) {
  HMOE_TRY(hmoe_plan_check_span(check, span, sizeof(hmoe_plan_tuning), "tunings"));
  const hmoe_plan_tuning *tunings = HMOE_PLAN_ARRAY(check->plan, span, hmoe_plan_tuning);
  for (uint32_t i = 0; i < span.count; i++)
    if (tunings[i].first_rows > tunings[i].last_rows || tunings[i].value < least || tunings[i].value > INT32_MAX)
      return bad(check, "tuning %u: %u for %llu to %llu rows", i, tunings[i].value, (unsigned long long)tunings[i].first_rows,
                 (unsigned long long)tunings[i].last_rows);
  return HMOE_OK;
}

static hmoe_status check_kernel(const checker *check, const hmoe_plan_step *step, const void *fields) {
  const hmoe_step_kernel *kernel = fields;
  if (kernel->kernel >= check->object->kernel_count)
    return bad(check, "kernel %u of %u", kernel->kernel, check->object->kernel_count);
  if (kernel->grid > HMOE_GRID_BLOCKS) return bad(check, "unknown grid %u", kernel->grid);
  HMOE_TRY(check_blocks(check, kernel->row_block, kernel->groups));
  bool blocks = kernel->grid == HMOE_GRID_BLOCKS;
  if (!blocks && kernel->groups != 1) return bad(check, "%u groups without blocks", kernel->groups);
  if (blocks && (kernel->blocks_binding >= step->bindings.count || !buffer_of(check, step, kernel->blocks_binding)))
    return bad(check, "binding %u of %u has no blocks", kernel->blocks_binding, step->bindings.count);
  if (kernel->column_splits < 1 || kernel->column_splits > INT32_MAX)
    return bad(check, "columns in %u parts", kernel->column_splits);
  HMOE_TRY(hmoe_plan_check_span(check, kernel->dims, sizeof(uint32_t), "kernel dims"));
  if (kernel->dims.count > HMOE_KERNEL_DIMS_MAX) return bad(check, "%u dims, at most %d", kernel->dims.count, HMOE_KERNEL_DIMS_MAX);
  const uint32_t *dims = HMOE_PLAN_ARRAY(check->plan, kernel->dims, uint32_t);
  for (uint32_t i = 0; i < kernel->dims.count; i++) HMOE_TRY(check_dim(check, "dims", dims[i], false));
  HMOE_TRY(hmoe_plan_check_span(check, kernel->work, sizeof(uint32_t), "kernel work"));
  if (kernel->work.count > HMOE_KERNEL_DIMS_MAX)
    return bad(check, "work of %u dims, at most %d", kernel->work.count, HMOE_KERNEL_DIMS_MAX);
  const uint32_t *work = HMOE_PLAN_ARRAY(check->plan, kernel->work, uint32_t);
  for (uint32_t i = 0; i < kernel->work.count; i++) HMOE_TRY(check_dim(check, "work", work[i], false));
  if (kernel->tasks < 1 || kernel->tasks > INT32_MAX) return bad(check, "%u tasks a thread", kernel->tasks);
  return check_tunings(check, kernel->tunings, 1);
}

static hmoe_status check_group(const checker *check, const hmoe_plan_step *step, const void *fields) {
  const hmoe_step_group *group = fields;
  HMOE_TRY(check_top_k(check, group->experts, group->top_k));
  HMOE_TRY(check_blocks(check, group->row_block, group->experts));
  HMOE_TRY(check_dim(check, "scope_dim", group->scope_dim, true));
  bool history = buffer_of(check, step, HMOE_BIND_GROUP_HISTORY);
  HMOE_TRY(check_dim(check, "past_dim", group->past_dim, !history));
  return check_dim(check, "stride_dim", group->stride_dim, !history);
}

static hmoe_status check_group_sets(const checker *check, const hmoe_plan_step *step, const void *fields) {
  (void)step;
  const hmoe_step_group_sets *group = fields;
  HMOE_TRY(check_top_k(check, group->experts, group->top_k));
  HMOE_TRY(check_blocks(check, group->row_block, 1));
  if (group->mode > HMOE_SETS_TOKEN) return bad(check, "unknown mode %u", group->mode);
  if (group->mode == HMOE_SETS_RANK && hmoe_binomial(group->experts, group->top_k) > INT32_MAX)
    return bad(check, "the sets of %u of %u experts cannot be numbered", group->top_k, group->experts);
  return HMOE_OK;
}

/* Whether `count` steps fit behind the step at hand. */
static bool reaches(const checker *check, uint64_t count) {
  return count < (uint64_t)check->entry->steps.count - check->step_index;
}

/* No CHOOSE of the steps [first, cut) reaches past cut. */
static hmoe_status check_cut(const checker *check, uint32_t first, uint32_t cut) {
  const hmoe_plan_step *steps = HMOE_PLAN_ARRAY(check->plan, check->entry->steps, hmoe_plan_step);
  for (uint32_t i = first; i < cut; i++)
    if (steps[i].kind == HMOE_STEP_CHOOSE && hmoe_step_body(check->plan, &steps[i]) >= cut - i)
      return bad(check, "the choose at step %u reaches past the generating steps", i);
  return HMOE_OK;
}

static hmoe_status check_cached(const checker *check, const hmoe_step_loop *loop) {
  if (loop->cache >= check->plan->caches.count || loop->generate_steps > loop->steps)
    return bad(check, "cache %u of %u, %u generating steps of %u", loop->cache, check->plan->caches.count, loop->generate_steps,
               loop->steps);
  const hmoe_plan_cache *cache = &HMOE_PLAN_ARRAY(check->plan, check->plan->caches, hmoe_plan_cache)[loop->cache];
  if (loop->chunk > cache->slots || loop->top_k != cache->top_k)
    return bad(check, "chunks of %u sets of %u, the cache has %llu slots for sets of %u", loop->chunk, loop->top_k,
               (unsigned long long)cache->slots, cache->top_k);
  /* The loop lets go of the cache's lock after the generating steps: no step may stand on both sides of that. */
  return check_cut(check, check->step_index + 1, check->step_index + 1 + loop->generate_steps);
}

/* Loops nest at most once, groups inside rows: then every chunk dimension has one loop that sets it. */
static hmoe_status check_loop(const checker *check, const hmoe_plan_step *step, const void *fields) {
  const hmoe_step_loop *loop = fields;
  if (loop->kind > HMOE_LOOP_CACHED || loop->steps == 0 || !reaches(check, loop->steps) || loop->chunk < 1 ||
      loop->chunk > INT32_MAX)
    return bad(check, "kind %u over %u steps by %u", loop->kind, loop->steps, loop->chunk);
  (void)step;
  const hmoe_plan_step *steps = HMOE_PLAN_ARRAY(check->plan, check->entry->steps, hmoe_plan_step);
  uint32_t end = check->step_index + loop->steps;
  for (uint32_t inner = check->step_index + 1; inner <= end; inner++) {
    if (steps[inner].kind != HMOE_STEP_LOOP && steps[inner].kind != HMOE_STEP_CHOOSE) continue;
    if (hmoe_step_body(check->plan, &steps[inner]) > end - inner)
      return bad(check, "the %s at step %u must stand whole inside", hmoe_step_name(steps[inner].kind), inner);
    const hmoe_step_loop *nested = HMOE_STEP_FIELDS(check->plan, &steps[inner]);
    if (steps[inner].kind == HMOE_STEP_LOOP && (loop->kind != HMOE_LOOP_ROWS || nested->kind == HMOE_LOOP_ROWS))
      return bad(check, "the loop at step %u: only one over groups may stand inside one over rows", inner);
  }
  if (loop->kind == HMOE_LOOP_ROWS) return HMOE_OK;
  if (loop->top_k > HMOE_TOP_K_MAX || loop->groups < 1) return bad(check, "%u groups, top_k %u", loop->groups, loop->top_k);
  if (!buffer_of(check, step, HMOE_BIND_LOOP_BLOCKS)) return bad(check, "no blocks");
  return loop->kind == HMOE_LOOP_CACHED ? check_cached(check, loop) : HMOE_OK;
}

/* Two ways of plain steps. */
static hmoe_status check_choose(const checker *check, const hmoe_plan_step *step, const void *fields) {
  const hmoe_step_choose *choose = fields;
  uint64_t body = (uint64_t)choose->first_steps + choose->second_steps;
  if (choose->first_steps == 0 || choose->second_steps == 0 || !reaches(check, body) || choose->percent > INT32_MAX ||
      choose->block_rows > INT32_MAX)
    return bad(check, "%u or %u steps, by %u percent or from %u rows of a block on", choose->first_steps, choose->second_steps,
               choose->percent, choose->block_rows);
  HMOE_TRY(check_tunings(check, choose->tunings, 0));
  HMOE_TRY(check_blocks(check, choose->row_block, choose->groups));
  if (!buffer_of(check, step, HMOE_BIND_CHOOSE_BLOCKS) && choose->groups != 1)
    return bad(check, "%u groups without blocks", choose->groups);
  const hmoe_plan_step *steps = HMOE_PLAN_ARRAY(check->plan, check->entry->steps, hmoe_plan_step);
  for (uint64_t inner = check->step_index + 1; inner <= check->step_index + body; inner++)
    if (steps[inner].kind == HMOE_STEP_LOOP || steps[inner].kind == HMOE_STEP_CHOOSE)
      return bad(check, "the %s at step %u may not stand inside", hmoe_step_name(steps[inner].kind), (unsigned)inner);
  return HMOE_OK;
}

/* ---- open ---- */

/* Where a source's last element is, plus one; saturating. */
static uint64_t source_end(const hmoe_pack_source *source, uint64_t columns, bool stacked) {
  uint64_t end = hmoe_add(source->offset, hmoe_pack_extent(source, columns));
  return stacked ? end : hmoe_add(end, hmoe_axis_last(source->groups));
}

static hmoe_status check_pack_source(const checker *check, const hmoe_plan_step *step, const hmoe_pack_source *source,
                                     uint64_t columns) {
  if (source->param == HMOE_NONE)
    return buffer_of(check, step, HMOE_BIND_PACK_SOURCE) ? HMOE_OK : bad(check, "neither a parameter nor a buffer to read");
  HMOE_TRY(check_param(check, "source", source->param));
  const hmoe_plan_param *param = &HMOE_PLAN_ARRAY(check->plan, check->plan->params, hmoe_plan_param)[source->param];
  bool stacked = param->count > 1;
  if (stacked && source->groups.count > param->count)
    return bad(check, "%llu groups of %u tensors", (unsigned long long)source->groups.count, param->count);
  uint64_t end = source_end(source, columns, stacked), elements = hmoe_param_elements(param);
  if (hmoe_pack_extent(source, columns) && end > elements)
    return bad(check, "reads element %llu of parameter %u, which has %llu", (unsigned long long)end - 1, source->param,
               (unsigned long long)elements);
  return HMOE_OK;
}

static hmoe_status check_pack(const checker *check, const hmoe_plan_step *step, const void *fields) {
  const hmoe_step_pack *pack = fields;
  const hmoe_pack_destination *to = &pack->destination;
  HMOE_TRY(hmoe_cpu_device.check_pack(check, pack));
  HMOE_TRY(check_pack_source(check, step, &pack->source, to->columns / to->generated_rows));
  if (to->group_bytes % sizeof(float)) return bad(check, "groups of %llu bytes", (unsigned long long)to->group_bytes);
  if (hmoe_pack_writes(pack) && pack->source.groups.count > 1 && !to->group_bytes)
    return bad(check, "groups would overwrite each other");
  return HMOE_OK;
}

static hmoe_status check_copy(const checker *check, const hmoe_plan_step *step, const void *fields) {
  (void)step;
  const hmoe_step_copy *copy = fields;
  bool some = copy->outer.count && copy->inner.count && copy->run_bytes;
  if (some &&
      ((copy->outer.count > 1 && !copy->outer.destination_stride) || (copy->inner.count > 1 && !copy->inner.destination_stride)))
    return bad(check, "copies would overwrite each other");
  return HMOE_OK;
}

static hmoe_status check_selections(const checker *check, const hmoe_plan_step *step, const void *fields) {
  (void)step;
  const hmoe_step_selections *selections = fields;
  HMOE_TRY(check_top_k(check, selections->experts, selections->top_k));
  if (selections->sets == hmoe_binomial(selections->experts, selections->top_k)) return HMOE_OK;
  return bad(check, "%llu sets", (unsigned long long)selections->sets);
}

static hmoe_status check_weight_embedding(const checker *check, const hmoe_plan_step *step, const void *fields) {
  (void)fields;
  static const char *const names[] = {"wi", "wo", "depthwise1", "pointwise1", "depthwise2", "pointwise2"};
  uint32_t params[HMOE_STEP_PARAMS_MAX], count = hmoe_step_params(check->plan, step, params);
  for (uint32_t i = 0; i < count; i++) HMOE_TRY(check_param(check, names[i], params[i]));
  return HMOE_OK;
}

static hmoe_status check_relative_bias(const checker *check, const hmoe_plan_step *step, const void *fields) {
  (void)step;
  const hmoe_step_relative_bias *bias = fields;
  uint32_t directions = bias->bidirectional ? 2 : 1, exact = bias->buckets / directions / 2;
  bool good = bias->bidirectional <= 1 && bias->buckets % directions == 0 && exact >= 1 && bias->max_distance > exact;
  const uint32_t sizes[] = {bias->buckets, bias->heads, bias->max_distance, bias->row_floats, bias->pad};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) good = good && sizes[i] <= INT32_MAX;
  if (good && bias->heads >= 1) return HMOE_OK;
  return bad(check, "%u buckets to distance %u, %u heads in rows of %u after %u", bias->buckets, bias->max_distance, bias->heads,
             bias->row_floats, bias->pad);
}

/* ---- tokens ---- */

static hmoe_status check_limit(const checker *check, uint64_t limit) {
  return limit >= 1 && limit <= ids_limit_max ? HMOE_OK : bad(check, "limit %llu", (unsigned long long)limit);
}

/* Integers below the limit fit an i32, and so does what stands for an input that is not given. */
static hmoe_status check_ids(const checker *check, const hmoe_plan_step *step, const void *fields) {
  const hmoe_step_ids *ids = fields;
  const hmoe_plan_buffer *source = buffer_of(check, step, HMOE_BIND_IDS_SOURCE);
  if (!source || source->kind != HMOE_BUFFER_INPUT) return bad(check, "expected an input");
  if (ids->element_bytes != sizeof(int32_t) && ids->element_bytes != sizeof(int64_t))
    return bad(check, "elements of %u bytes", ids->element_bytes);
  HMOE_TRY(check_limit(check, ids->limit));
  const hmoe_plan_tensor *tensor = optional_input(check, step, HMOE_BIND_IDS_SOURCE);
  if (tensor && ((uint64_t)ids->fill >= ids->limit || ids->fill != tensor->fill))
    return bad(check, "an input of %lld by default, filled with %lld, below %llu", (long long)tensor->fill, (long long)ids->fill,
               (unsigned long long)ids->limit);
  return HMOE_OK;
}

/* mask: the binding of it. */
static hmoe_status check_tokens(const checker *check, const hmoe_plan_step *step, const hmoe_plan_tokens *tokens, uint32_t mask) {
  HMOE_TRY(check_dim(check, "rows_dim", tokens->rows_dim, false));
  HMOE_TRY(check_dim(check, "length_dim", tokens->length_dim, false));
  HMOE_TRY(check_dim(check, "past_dim", tokens->past_dim, true));
  if (!buffer_of(check, step, HMOE_BIND_TOKENS_DESTINATION)) return bad(check, "no destination");
  return check_dim(check, "stride_dim", tokens->stride_dim, !buffer_of(check, step, mask));
}

static hmoe_status check_positions(const checker *check, const hmoe_plan_step *step, const void *fields) {
  const hmoe_step_positions *positions = fields;
  HMOE_TRY(check_tokens(check, step, &positions->tokens, HMOE_BIND_TOKENS_SOURCE));
  return check_limit(check, positions->limit);
}

static hmoe_status check_last_rows(const checker *check, const hmoe_plan_step *step, const void *fields) {
  const hmoe_step_last_rows *last_rows = fields;
  return check_tokens(check, step, &last_rows->tokens, HMOE_BIND_TOKENS_SOURCE);
}

static hmoe_status check_append_mask(const checker *check, const hmoe_plan_step *step, const void *fields) {
  const hmoe_step_append_mask *append = fields;
  HMOE_TRY(check_tokens(check, step, &append->tokens, HMOE_BIND_TOKENS_DESTINATION));
  if (buffer_of(check, step, HMOE_BIND_TOKENS_DESTINATION)->kind != HMOE_BUFFER_STATE)
    return bad(check, "expected a mask of a state");
  return buffer_of(check, step, HMOE_BIND_TOKENS_SOURCE) ? HMOE_OK : bad(check, "no source");
}

/* ---- the table ---- */

static const step_rule rules[HMOE_STEP_COUNT] = {
    [HMOE_STEP_KERNEL] = {"kernel", ANY, sizeof(hmoe_step_kernel), true, check_kernel},
    [HMOE_STEP_GROUP] = {"group", HMOE_BIND_GROUP_COUNT, sizeof(hmoe_step_group), true, check_group},
    [HMOE_STEP_GROUP_SETS] = {"group_sets", HMOE_BIND_GROUP_SETS_COUNT, sizeof(hmoe_step_group_sets), true, check_group_sets},
    [HMOE_STEP_LOOP] = {"loop", HMOE_BIND_LOOP_COUNT, sizeof(hmoe_step_loop), true, check_loop},
    [HMOE_STEP_CHOOSE] = {"choose", HMOE_BIND_CHOOSE_COUNT, sizeof(hmoe_step_choose), true, check_choose},
    [HMOE_STEP_PACK] = {"pack", HMOE_BIND_PACK_COUNT, sizeof(hmoe_step_pack), false, check_pack},
    [HMOE_STEP_COPY] = {"copy", HMOE_BIND_COPY_COUNT, sizeof(hmoe_step_copy), false, check_copy},
    [HMOE_STEP_SELECTIONS] = {"selections", HMOE_BIND_SELECTIONS_COUNT, sizeof(hmoe_step_selections), false, check_selections},
    [HMOE_STEP_WEIGHT_EMBEDDING] = {"weight_embedding", HMOE_BIND_WEIGHT_EMBEDDING_COUNT, sizeof(hmoe_step_weight_embedding), false,
                                    check_weight_embedding},
    [HMOE_STEP_RELATIVE_BIAS] = {"relative_bias", HMOE_BIND_RELATIVE_BIAS_COUNT, sizeof(hmoe_step_relative_bias), false,
                                 check_relative_bias},
    [HMOE_STEP_IDS] = {"ids", HMOE_BIND_IDS_COUNT, sizeof(hmoe_step_ids), true, check_ids},
    [HMOE_STEP_POSITIONS] = {"positions", HMOE_BIND_TOKENS_COUNT, sizeof(hmoe_step_positions), false, check_positions},
    [HMOE_STEP_LAST_ROWS] = {"last_rows", HMOE_BIND_TOKENS_COUNT, sizeof(hmoe_step_last_rows), false, check_last_rows},
    [HMOE_STEP_APPEND_MASK] = {"append_mask", HMOE_BIND_TOKENS_COUNT, sizeof(hmoe_step_append_mask), false, check_append_mask},
};

hmoe_status hmoe_plan_check_steps(checker *check, hmoe_plan_limits *limits) {
  const hmoe_plan_step *steps = HMOE_PLAN_ARRAY(check->plan, check->entry->steps, hmoe_plan_step);
  uint32_t count = check->entry->steps.count;
  for (check->step_index = 0; check->step_index < count; check->step_index++)
    HMOE_TRY(check_form(check, &steps[check->step_index]));
  for (check->step_index = 0; check->step_index < count; check->step_index++) {
    const hmoe_plan_step *step = &steps[check->step_index];
    const void *fields = HMOE_STEP_FIELDS(check->plan, step);
    HMOE_TRY(rules[step->kind].check(check, step, fields));
    if (step->bindings.count > limits->bindings) limits->bindings = step->bindings.count;
    const hmoe_step_loop *loop = fields;
    if (step->kind == HMOE_STEP_LOOP && loop->kind != HMOE_LOOP_ROWS)
      limits->loop_groups = hmoe_max(limits->loop_groups, loop->chunk);
  }
  return HMOE_OK;
}

/* ---- asked from above ---- */

uint64_t hmoe_step_body(const hmoe_plan *plan, const hmoe_plan_step *step) {
  const void *fields = HMOE_STEP_FIELDS(plan, step);
  const hmoe_step_loop *loop = fields;
  const hmoe_step_choose *choose = fields;
  if (step->kind == HMOE_STEP_LOOP) return loop->steps;
  return step->kind == HMOE_STEP_CHOOSE ? (uint64_t)choose->first_steps + choose->second_steps : 0;
}

uint32_t hmoe_step_params(const hmoe_plan *plan, const hmoe_plan_step *step, uint32_t out_params[HMOE_STEP_PARAMS_MAX]) {
  const void *fields = HMOE_STEP_FIELDS(plan, step);
  const hmoe_step_pack *pack = fields;
  const hmoe_step_weight_embedding *e = fields;
  uint32_t count = 0;
  if (step->kind == HMOE_STEP_PACK && pack->source.param != HMOE_NONE) out_params[count++] = pack->source.param;
  if (step->kind == HMOE_STEP_WEIGHT_EMBEDDING) {
    const uint32_t all[] = {e->wi, e->wo, e->depthwise1, e->pointwise1, e->depthwise2, e->pointwise2};
    for (; count < sizeof all / sizeof *all; count++) out_params[count] = all[count];
  }
  return count;
}

/* ---- the geometry of PACK ---- */

uint64_t hmoe_axis_last(hmoe_pack_axis axis) { return axis.count ? hmoe_mul(axis.count - 1, axis.stride) : 0; }

uint64_t hmoe_pack_extent(const hmoe_pack_source *source, uint64_t columns) {
  hmoe_pack_axis read = {hmoe_min(source->columns.count, columns), source->columns.stride};
  if (!read.count || !source->generated.count || !source->parts.count || !source->depth.count) return 0;
  uint64_t last = hmoe_add(hmoe_axis_last(read), hmoe_axis_last(source->generated));
  return hmoe_add(hmoe_add(last, hmoe_add(hmoe_axis_last(source->parts), hmoe_axis_last(source->depth))), 1);
}

uint64_t hmoe_pack_depth_end(const hmoe_pack_source *source, const hmoe_pack_destination *to) {
  return hmoe_add(hmoe_axis_last((hmoe_pack_axis){source->parts.count, to->part_rows}), source->depth.count);
}

bool hmoe_pack_writes(const hmoe_step_pack *pack) {
  const hmoe_pack_source *source = &pack->source;
  return pack->destination.columns && source->groups.count && source->parts.count && source->depth.count;
}
