/* Validation of the plan blob. The blob comes with the object and is not hostile, but it may come from another compiler version or a
 * broken build: after this check no span leaves the blob, every index points at something, and what an entry may touch fits its kind.
 * What depends on sizes known only at run time (is a binding large enough?) is checked by the steps themselves. */
#include "generate_internal.h"

#include <string.h>

enum { KERNEL_ARGS = 5 }; /* before the dimensions */
static const uint64_t ids_limit_max = (uint64_t)1 << 31; /* what is below it fits an i32 */

#define BAD(...) hmoe_fail(HMOE_INCOMPATIBLE, "plan: " __VA_ARGS__)

/* What a step kind needs at least. KERNEL, LOOP and CHOOSE need more by their args. */
typedef struct step_rule {
  const char *name;
  uint32_t bindings, args;
  bool rows; /* rows_dim is required */
  uint32_t dims, no_dims; /* bits: args that are dimensions; those of them that may be HMOE_NONE */
} step_rule;

static const step_rule step_rules[HMOE_STEP_COUNT] = {
    [HMOE_STEP_KERNEL] = {"kernel", 0, 3, false, 0, 0},
    [HMOE_STEP_GROUP] = {"group", 7, 4, true, 0x70, 0x10},
    [HMOE_STEP_GROUP_SETS] = {"group_sets", 5, 4, true, 0, 0},
    [HMOE_STEP_LOOP] = {"loop", 0, 3, false, 0, 0},
    [HMOE_STEP_PACK] = {"pack", 1, 21, false, 0, 0},
    [HMOE_STEP_PACK_VECTOR] = {"pack_vector", 1, 21, false, 0, 0},
    [HMOE_STEP_COPY] = {"copy", 2, 7, false, 0, 0},
    [HMOE_STEP_SELECTIONS] = {"selections", 1, 3, false, 0, 0},
    [HMOE_STEP_WEIGHT_EMBEDDING] = {"weight_embedding", 1, 7, false, 0, 0},
    [HMOE_STEP_CHOOSE] = {"choose", 1, 5, false, 0, 0},
    [HMOE_STEP_IDS] = {"ids", 2, 3, true, 0, 0},
    [HMOE_STEP_POSITIONS] = {"positions", 2, 5, false, 0xf, 0xc},
    [HMOE_STEP_LAST_ROWS] = {"last_rows", 2, 4, false, 0xf, 0xc},
    [HMOE_STEP_APPEND_MASK] = {"append_mask", 2, 4, false, 0xf, 0x4},
    [HMOE_STEP_RELATIVE_BIAS] = {"relative_bias", 2, 6, false, 0, 0},
};

const char *hmoe_step_name(uint32_t kind) { return kind < HMOE_STEP_COUNT ? step_rules[kind].name : "unknown"; }

typedef struct checker {
  const hmoe_model_object *object;
  const hmoe_plan *plan;
  const hmoe_plan_entry *entry;
  uint32_t entry_index, step_index;
  uint32_t input_dims;
} checker;

static hmoe_status check_span(const checker *check, hmoe_plan_span span, size_t element_bytes, const char *what) {
  uint64_t end = (uint64_t)span.offset + (uint64_t)span.count * element_bytes;
  if (end > check->plan->bytes || (element_bytes > 1 && span.count && span.offset % 8 != 0))
    return BAD("entry %u: %s: span [%u, +%u x %zu] leaves the plan of %llu bytes or is not aligned", check->entry_index, what,
               span.offset, span.count, element_bytes, (unsigned long long)check->plan->bytes);
  return HMOE_OK;
}

static uint32_t count_holes(const char *key, uint32_t length) {
  uint32_t holes = 0;
  for (uint32_t i = 0; i + 1 < length; i++) holes += key[i] == '{' && key[i + 1] == '}';
  return holes;
}

/* One name, or several separated by line feeds. */
static hmoe_status check_key(const checker *check, const hmoe_plan_param *param) {
  HMOE_TRY(check_span(check, param->key, 1, "key"));
  const char *key = HMOE_PLAN_ARRAY(check->plan, param->key, char);
  uint32_t length = param->key.count, begin = 0;
  if (length > HMOE_KEY_MAX || memchr(key, 0, length)) return BAD("a key has %u characters, or a zero one", length);
  for (uint32_t i = 0; i <= length; i++) {
    if (i < length && key[i] != '\n') continue;
    if (i == begin || i - begin > HMOE_NAME_MAX)
      return BAD("key '%.*s': a name of %u characters", (int)hmoe_min(length, HMOE_NAME_MAX), key, i - begin);
    begin = i + 1;
  }
  uint32_t holes = count_holes(key, length);
  if (param->count == 0 || (param->count > 1 && holes != 1))
    return BAD("key '%.*s': %u tensors need one \"{}\", found %u", (int)hmoe_min(length, HMOE_NAME_MAX), key, param->count, holes);
  if (memchr(key, '\n', length) && holes)
    return BAD("key '%.*s': a stack of tensors has one name", (int)hmoe_min(length, HMOE_NAME_MAX), key);
  return HMOE_OK;
}

static hmoe_status check_param(const checker *check, const hmoe_plan_param *param) {
  HMOE_TRY(check_key(check, param));
  const char *key = HMOE_PLAN_ARRAY(check->plan, param->key, char);
  int length = (int)hmoe_min(param->key.count, HMOE_NAME_MAX);
  if (param->rank < 1 || param->rank > 4) return BAD("key '%.*s': expected rank 1 to 4, found %u", length, key, param->rank);
  if (hmoe_mul(hmoe_mul(hmoe_param_elements(param), param->count), sizeof(float)) == UINT64_MAX)
    return BAD("key '%.*s': the shape overflows", length, key);
  return HMOE_OK;
}

static hmoe_status check_states(const checker *check) {
  const hmoe_plan *plan = check->plan;
  HMOE_TRY(check_span(check, plan->states, sizeof(hmoe_plan_state), "states"));
  const hmoe_plan_state *states = HMOE_PLAN_ARRAY(plan, plan->states, hmoe_plan_state);
  for (uint32_t i = 0; i < plan->states.count; i++) {
    const hmoe_plan_state *state = &states[i];
    if (state->scope >= HMOE_SCOPE_COUNT || state->segments < 1 || state->position_bytes < 1 ||
        state->position_bytes > PTRDIFF_MAX || state->position_bytes % ((uint64_t)sizeof(float) * state->segments))
      return BAD("state %u: %llu bytes a position in %u segments of scope %u", i, (unsigned long long)state->position_bytes,
                 state->segments, state->scope);
  }
  return HMOE_OK;
}

static hmoe_status check_generation(const checker *check) {
  const hmoe_plan *plan = check->plan;
  HMOE_TRY(check_span(check, plan->generation, sizeof(hmoe_plan_setting), "generation"));
  const hmoe_plan_setting *settings = HMOE_PLAN_ARRAY(plan, plan->generation, hmoe_plan_setting);
  uint32_t seen = 0;
  for (uint32_t i = 0; i < plan->generation.count; i++) {
    const hmoe_plan_setting *setting = &settings[i];
    if (setting->setting >= HMOE_SETTING_COUNT || seen & UINT32_C(1) << setting->setting)
      return BAD("generation: setting %u is unknown, or there twice", setting->setting);
    seen |= UINT32_C(1) << setting->setting;
    HMOE_TRY(check_span(check, setting->values, sizeof(int64_t), hmoe_setting_name(setting->setting)));
    if (!hmoe_setting_valid(setting->setting, HMOE_PLAN_ARRAY(plan, setting->values, int64_t), setting->values.count))
      return BAD("generation: %s cannot have the %u values it has", hmoe_setting_name(setting->setting), setting->values.count);
  }
  return HMOE_OK;
}

static hmoe_status check_dims(checker *check) {
  const hmoe_plan_dim *dims = HMOE_PLAN_ARRAY(check->plan, check->entry->dims, hmoe_plan_dim);
  check->input_dims = 0;
  for (uint32_t i = 0; i < check->entry->dims.count; i++) {
    const hmoe_plan_dim *dim = &dims[i];
    if (dim->kind >= HMOE_DIM_COUNT) return BAD("entry %u: dim %u has unknown kind %u", check->entry_index, i, dim->kind);
    if (dim->kind == HMOE_DIM_INPUT) {
      if (check->input_dims != i || check->entry_index == 0)
        return BAD("entry %u: dim %u: inputs come first, and entry 0 has none", check->entry_index, i);
      check->input_dims++;
    }
    bool two = dim->kind == HMOE_DIM_PRODUCT || dim->kind == HMOE_DIM_SUM;
    bool rounds = dim->kind == HMOE_DIM_ROUND_UP || dim->kind == HMOE_DIM_CEIL_DIV;
    bool one = dim->kind == HMOE_DIM_SCALE || dim->kind == HMOE_DIM_MIN || rounds;
    if ((one || two) && dim->source >= i)
      return BAD("entry %u: dim %u: source %u is not an earlier dim", check->entry_index, i, dim->source);
    if (two && dim->factor >= i)
      return BAD("entry %u: dim %u: factor %llu is not an earlier dim", check->entry_index, i, (unsigned long long)dim->factor);
    if (rounds && dim->factor < 1) return BAD("entry %u: dim %u: multiples of 0", check->entry_index, i);
    if (dim->kind == HMOE_DIM_STATE && (!check->entry->needs_state || dim->source >= 3 * HMOE_SCOPE_COUNT))
      return BAD("entry %u: dim %u: value %u of a state%s", check->entry_index, i, dim->source,
                 check->entry->needs_state ? "" : " that the entry does not need");
    if (dim->kind != HMOE_DIM_INPUT && dim->factor > INT64_MAX)
      return BAD("entry %u: dim %u: the factor overflows", check->entry_index, i);
  }
  return HMOE_OK;
}

static hmoe_status check_tensors(const checker *check, hmoe_plan_span span, bool inputs) {
  const char *what = inputs ? "input" : "output";
  HMOE_TRY(check_span(check, span, sizeof(hmoe_plan_tensor), what));
  const hmoe_plan_tensor *tensors = HMOE_PLAN_ARRAY(check->plan, span, hmoe_plan_tensor);
  for (uint32_t i = 0; i < span.count; i++) {
    HMOE_TRY(check_span(check, tensors[i].name, 1, what));
    if (tensors[i].dtype > 2 || tensors[i].rank > 4)
      return BAD("entry %u: %s %u: unknown dtype %u or rank %u", check->entry_index, what, i, tensors[i].dtype, tensors[i].rank);
    for (uint32_t d = 0; d < tensors[i].rank; d++)
      if (tensors[i].shape[d] < 0 && ~(uint64_t)tensors[i].shape[d] >= check->entry->dims.count)
        return BAD("entry %u: %s %u: shape %lld of %u dims", check->entry_index, what, i, (long long)tensors[i].shape[d],
                   check->entry->dims.count);
    if (tensors[i].needed_by && (!inputs || tensors[i].optional))
      return BAD("entry %u: %s %u: needed by outputs 0x%x", check->entry_index, what, i, tensors[i].needed_by);
    if (tensors[i].optional > inputs) return BAD("entry %u: %s %u: optional %u", check->entry_index, what, i, tensors[i].optional);
  }
  return HMOE_OK;
}

/* Names of the INPUT dims, or none at all; what a run adds to a state. */
static hmoe_status check_state_use(const checker *check) {
  const hmoe_plan_entry *entry = check->entry;
  HMOE_TRY(check_span(check, entry->dim_names, sizeof(hmoe_plan_span), "dim names"));
  if (entry->dim_names.count && entry->dim_names.count != check->input_dims)
    return BAD("entry %u: %u names of %u dims", check->entry_index, entry->dim_names.count, check->input_dims);
  const hmoe_plan_span *names = HMOE_PLAN_ARRAY(check->plan, entry->dim_names, hmoe_plan_span);
  for (uint32_t i = 0; i < entry->dim_names.count; i++) HMOE_TRY(check_span(check, names[i], 1, "dim name"));
  if (entry->needs_state > 1 || (entry->needs_state && check->entry_index == 0))
    return BAD("entry %u: needs %u states", check->entry_index, entry->needs_state);
  for (int scope = 0; scope < HMOE_SCOPE_COUNT; scope++) {
    uint32_t dim = entry->advance[scope];
    if (dim != HMOE_NONE && (!entry->needs_state || dim >= entry->dims.count))
      return BAD("entry %u: scope %d advances by dim %u of %u%s", check->entry_index, scope, dim, entry->dims.count,
                 entry->needs_state ? "" : ", without a state");
  }
  return HMOE_OK;
}

static hmoe_status check_buffer(const checker *check, uint32_t index, const hmoe_plan_buffer *buffer) {
  const hmoe_plan *plan = check->plan;
  const hmoe_plan_entry *entry = check->entry;
  bool opening = check->entry_index == 0;
  uint64_t limit = UINT64_MAX - 1; /* of offset + bytes; a saturated sum exceeds every limit */
  bool good = buffer->dim == HMOE_NONE || buffer->dim < entry->dims.count;
  switch (buffer->kind) {
  case HMOE_BUFFER_INPUT: good = good && !opening && buffer->index < entry->inputs.count; break;
  case HMOE_BUFFER_OUTPUT: good = good && !opening && buffer->index < entry->outputs.count; break;
  case HMOE_BUFFER_WEIGHT: limit = plan->weight_bytes; break;
  case HMOE_BUFFER_WORKSPACE: good = good && buffer->index < entry->slots; break;
  case HMOE_BUFFER_CACHE:
    good = good && buffer->index < plan->caches.count;
    if (good) limit = HMOE_PLAN_ARRAY(plan, plan->caches, hmoe_plan_cache)[buffer->index].bytes;
    break;
  case HMOE_BUFFER_PARAM: good = good && opening && buffer->index < plan->params.count; break;
  case HMOE_BUFFER_STATE: good = good && entry->needs_state && buffer->index < plan->states.count; break;
  default: good = false;
  }
  if (!good)
    return BAD("entry %u: buffer %u (kind %u, index %u, dim %u) names something that is not there", check->entry_index, index,
               buffer->kind, buffer->index, buffer->dim);
  bool in_arena = buffer->kind == HMOE_BUFFER_WEIGHT || buffer->kind == HMOE_BUFFER_CACHE;
  uint64_t end = hmoe_add(buffer->fixed_bytes, in_arena ? buffer->offset : 0);
  if (end > limit)
    return BAD("entry %u: buffer %u ends at %llu of %llu bytes", check->entry_index, index, (unsigned long long)end,
               (unsigned long long)limit);
  if (in_arena && buffer->offset % sizeof(float)) return BAD("entry %u: buffer %u is not aligned", check->entry_index, index);
  if (in_arena && buffer->dim != HMOE_NONE)
    return BAD("entry %u: buffer %u: weights and caches have fixed sizes", check->entry_index, index);
  return HMOE_OK;
}

static hmoe_status check_top_k(const checker *check, uint64_t experts, uint64_t top_k) {
  if (top_k < 1 || top_k > HMOE_TOP_K_MAX || experts < 1 || experts > INT32_MAX / 8)
    return BAD("entry %u step %u: %llu experts, top_k %llu", check->entry_index, check->step_index, (unsigned long long)experts,
               (unsigned long long)top_k);
  return HMOE_OK;
}

static hmoe_status check_kernel(const checker *check, const hmoe_plan_step *step, const uint64_t *args, uint32_t arg_count) {
  uint64_t grid = args[0];
  if (step->kernel >= check->object->kernel_count)
    return BAD("entry %u step %u: kernel %u of %u", check->entry_index, check->step_index, step->kernel,
               check->object->kernel_count);
  bool good = grid <= HMOE_GRID_BLOCKS && args[1] >= 1 && args[1] <= INT32_MAX && args[2] <= INT32_MAX;
  if (grid == HMOE_GRID_BLOCKS) good = good && arg_count >= 4 && args[3] < step->bindings.count;
  else good = good && step->rows_dim != HMOE_NONE;
  if (!good) return BAD("entry %u step %u: kernel: bad grid", check->entry_index, check->step_index);
  if (arg_count > KERNEL_ARGS + HMOE_KERNEL_DIMS_MAX)
    return BAD("entry %u step %u: kernel: more than %d dims", check->entry_index, check->step_index, HMOE_KERNEL_DIMS_MAX);
  for (uint32_t i = KERNEL_ARGS; i < arg_count; i++)
    if (args[i] >= check->entry->dims.count)
      return BAD("entry %u step %u: kernel: dim %llu of %u", check->entry_index, check->step_index, (unsigned long long)args[i],
                 check->entry->dims.count);
  return HMOE_OK;
}

static const hmoe_plan_buffer *buffer_of(const checker *check, const hmoe_plan_step *step, uint32_t binding) {
  uint32_t buffer = HMOE_PLAN_ARRAY(check->plan, step->bindings, hmoe_plan_binding)[binding].buffer;
  return buffer == HMOE_NONE ? NULL : &HMOE_PLAN_ARRAY(check->plan, check->entry->buffers, hmoe_plan_buffer)[buffer];
}

/* The input that a binding reads, if it is one that the caller may leave out. */
static const hmoe_plan_tensor *optional_input(const checker *check, const hmoe_plan_step *step, uint32_t binding) {
  const hmoe_plan_buffer *buffer = buffer_of(check, step, binding);
  if (!buffer || buffer->kind != HMOE_BUFFER_INPUT) return NULL;
  const hmoe_plan_tensor *tensor = &HMOE_PLAN_ARRAY(check->plan, check->entry->inputs, hmoe_plan_tensor)[buffer->index];
  return tensor->optional ? tensor : NULL;
}

/* Integers below the limit fit an i32, and so does what stands for an input that is not given. */
static hmoe_status check_ids(const checker *check, const hmoe_plan_step *step, const uint64_t *args) {
  const hmoe_plan_buffer *source = buffer_of(check, step, 0);
  if (!source || source->kind != HMOE_BUFFER_INPUT)
    return BAD("entry %u step %u (ids): expected an input", check->entry_index, check->step_index);
  if ((args[0] != sizeof(int32_t) && args[0] != sizeof(int64_t)) || args[1] < 1 || args[1] > ids_limit_max)
    return BAD("entry %u step %u (ids): elements of %llu bytes below %llu", check->entry_index, check->step_index,
               (unsigned long long)args[0], (unsigned long long)args[1]);
  const hmoe_plan_tensor *tensor = optional_input(check, step, 0);
  if (tensor && (args[2] >= args[1] || args[2] != (uint64_t)tensor->fill))
    return BAD("entry %u step %u (ids): an input of %lld by default, filled with %llu, below %llu", check->entry_index,
               check->step_index, (long long)tensor->fill, (unsigned long long)args[2], (unsigned long long)args[1]);
  return HMOE_OK;
}

/* Of steps over rows of tokens. Dimensions are checked by the rule; a mask needs a row stride. */
static hmoe_status check_tokens(const checker *check, const hmoe_plan_step *step, const uint64_t *args) {
  const hmoe_plan_buffer *first = buffer_of(check, step, 0), *second = buffer_of(check, step, 1);
  bool good = first || step->kind != HMOE_STEP_APPEND_MASK;
  good = good && second && (second->kind == HMOE_BUFFER_STATE || step->kind != HMOE_STEP_APPEND_MASK);
  good = good && (!first || args[3] != HMOE_NONE);
  good = good && (step->kind != HMOE_STEP_POSITIONS || (args[4] >= 1 && args[4] <= ids_limit_max));
  if (good) return HMOE_OK;
  return BAD("entry %u step %u (%s): bad bindings or limit", check->entry_index, check->step_index, step_rules[step->kind].name);
}

static hmoe_status check_relative_bias(const checker *check, const uint64_t *args) {
  uint64_t directions = args[2] ? 2 : 1, exact = args[0] / directions / 2;
  bool good = args[2] <= 1 && args[0] % directions == 0 && exact >= 1 && args[3] > exact && args[1] >= 1;
  for (int i = 0; i < 6; i++) good = good && args[i] <= INT32_MAX;
  if (good) return HMOE_OK;
  return BAD("entry %u step %u (relative_bias): %llu buckets to distance %llu", check->entry_index, check->step_index,
             (unsigned long long)args[0], (unsigned long long)args[3]);
}

/* Of those args that there are. */
static hmoe_status check_dim_args(const checker *check, const hmoe_plan_step *step, const uint64_t *args) {
  const step_rule *rule = &step_rules[step->kind];
  for (uint32_t i = 0; i < step->args.count && rule->dims >> i; i++) {
    if (!(rule->dims >> i & 1) || (args[i] == HMOE_NONE && rule->no_dims >> i & 1)) continue;
    if (args[i] >= check->entry->dims.count)
      return BAD("entry %u step %u (%s): arg %u: dim %llu of %u", check->entry_index, check->step_index, rule->name, i,
                 (unsigned long long)args[i], check->entry->dims.count);
  }
  return HMOE_OK;
}

/* No CHOOSE of the steps [first, cut) reaches past cut. */
static hmoe_status check_cut(const checker *check, uint32_t first, uint32_t cut) {
  const hmoe_plan_step *steps = HMOE_PLAN_ARRAY(check->plan, check->entry->steps, hmoe_plan_step);
  for (uint32_t i = first; i < cut; i++) {
    if (steps[i].kind != HMOE_STEP_CHOOSE) continue;
    const uint64_t *args = HMOE_PLAN_ARRAY(check->plan, steps[i].args, uint64_t);
    if (hmoe_add(args[0], args[1]) >= cut - i)
      return BAD("entry %u step %u: a choose reaches past the generating steps", check->entry_index, i);
  }
  return HMOE_OK;
}

/* Loops nest at most once, groups inside rows: then every chunk dimension has one loop that sets it. */
static hmoe_status check_loop(const checker *check, const hmoe_plan_step *step, const uint64_t *args, uint32_t arg_count) {
  uint32_t index = check->step_index;
  uint64_t body = args[0], kind = args[1], chunk = args[2];
  if (kind > HMOE_LOOP_CACHED || body == 0 || body >= check->entry->steps.count - index || chunk < 1 || chunk > INT32_MAX)
    return BAD("entry %u step %u: loop of kind %llu over %llu steps by %llu", check->entry_index, index, (unsigned long long)kind,
               (unsigned long long)body, (unsigned long long)chunk);
  if (kind == HMOE_LOOP_ROWS) {
    if (step->rows_dim == HMOE_NONE) return BAD("entry %u step %u: a loop over rows needs rows", check->entry_index, index);
  } else {
    if (step->bindings.count < 6 || arg_count < (kind == HMOE_LOOP_CACHED ? 6u : 4u))
      return BAD("entry %u step %u: loop: too few bindings or args", check->entry_index, index);
    if (args[3] > HMOE_TOP_K_MAX)
      return BAD("entry %u step %u: loop: top_k %llu", check->entry_index, index, (unsigned long long)args[3]);
  }
  if (kind == HMOE_LOOP_CACHED) {
    if (args[5] >= check->plan->caches.count || args[4] > body)
      return BAD("entry %u step %u: loop: cache %llu, %llu generating steps", check->entry_index, index,
                 (unsigned long long)args[5], (unsigned long long)args[4]);
    const hmoe_plan_cache *cache = &HMOE_PLAN_ARRAY(check->plan, check->plan->caches, hmoe_plan_cache)[args[5]];
    if (chunk > cache->slots || args[3] != cache->top_k)
      return BAD("entry %u step %u: loop: chunks of %llu sets of %llu, the cache has %llu slots for sets of %u", check->entry_index,
                 index, (unsigned long long)chunk, (unsigned long long)args[3], (unsigned long long)cache->slots, cache->top_k);
  }
  const hmoe_plan_step *steps = HMOE_PLAN_ARRAY(check->plan, check->entry->steps, hmoe_plan_step);
  for (uint32_t inner = index + 1; inner <= index + body; inner++) {
    if (steps[inner].kind != HMOE_STEP_LOOP && steps[inner].kind != HMOE_STEP_CHOOSE) continue;
    const uint64_t *inner_args = HMOE_PLAN_ARRAY(check->plan, steps[inner].args, uint64_t);
    /* The spans of later steps are not checked yet. */
    HMOE_TRY(check_span(check, steps[inner].args, sizeof(uint64_t), "args"));
    uint64_t left = index + body - inner;
    if (steps[inner].kind == HMOE_STEP_CHOOSE) {
      if (steps[inner].args.count < 2 || hmoe_add(inner_args[0], inner_args[1]) > left)
        return BAD("entry %u step %u: a choose must stand whole inside a loop", check->entry_index, inner);
    } else if (kind != HMOE_LOOP_ROWS || steps[inner].args.count < 3 || inner_args[1] == HMOE_LOOP_ROWS || inner_args[0] > left) {
      return BAD("entry %u step %u: only a loop over groups may stand, whole, inside a loop over rows", check->entry_index, inner);
    }
  }
  /* A cached loop lets go of its lock after the generating steps: no step may stand on both sides of that. */
  if (kind == HMOE_LOOP_CACHED) return check_cut(check, index + 1, index + 1 + (uint32_t)args[4]);
  return HMOE_OK;
}

/* Two ways of plain steps. */
static hmoe_status check_choose(const checker *check, const hmoe_plan_step *step, const uint64_t *args) {
  uint32_t index = check->step_index;
  uint64_t body = hmoe_add(args[0], args[1]);
  if (args[0] == 0 || args[1] == 0 || body >= check->entry->steps.count - index || args[2] > INT32_MAX || args[3] > INT32_MAX)
    return BAD("entry %u step %u: choose between %llu and %llu steps from %llu blocks and %llu rows on", check->entry_index, index,
               (unsigned long long)args[0], (unsigned long long)args[1], (unsigned long long)args[2], (unsigned long long)args[3]);
  const hmoe_plan_binding *bindings = HMOE_PLAN_ARRAY(check->plan, step->bindings, hmoe_plan_binding);
  if (bindings[0].buffer == HMOE_NONE && (step->rows_dim == HMOE_NONE || args[4] < 1 || args[4] > INT32_MAX))
    return BAD("entry %u step %u: a choose without blocks needs rows and a row block", check->entry_index, index);
  const hmoe_plan_step *steps = HMOE_PLAN_ARRAY(check->plan, check->entry->steps, hmoe_plan_step);
  for (uint32_t inner = index + 1; inner <= index + body; inner++)
    if (steps[inner].kind == HMOE_STEP_LOOP || steps[inner].kind == HMOE_STEP_CHOOSE)
      return BAD("entry %u step %u: no loop and no other choose may stand inside a choose", check->entry_index, inner);
  return HMOE_OK;
}

static hmoe_status check_step(const checker *check, const hmoe_plan_step *step, hmoe_plan_limits *limits) {
  uint32_t entry = check->entry_index, index = check->step_index;
  if (step->kind >= HMOE_STEP_COUNT) return BAD("entry %u step %u: unknown kind %u", entry, index, step->kind);
  const step_rule *rule = &step_rules[step->kind];
  HMOE_TRY(check_span(check, step->bindings, sizeof(hmoe_plan_binding), "bindings"));
  HMOE_TRY(check_span(check, step->args, sizeof(uint64_t), "args"));
  if (rule->rows && step->rows_dim == HMOE_NONE) return BAD("entry %u step %u (%s): rows are missing", entry, index, rule->name);
  if (step->bindings.count < rule->bindings || step->args.count < rule->args)
    return BAD("entry %u step %u (%s): expected %u bindings and %u args at least, found %u and %u", entry, index, rule->name,
               rule->bindings, rule->args, step->bindings.count, step->args.count);
  if (step->rows_dim != HMOE_NONE && step->rows_dim >= check->entry->dims.count)
    return BAD("entry %u step %u (%s): dim %u of %u", entry, index, rule->name, step->rows_dim, check->entry->dims.count);
  const hmoe_plan_binding *bindings = HMOE_PLAN_ARRAY(check->plan, step->bindings, hmoe_plan_binding);
  for (uint32_t i = 0; i < step->bindings.count; i++) {
    if ((bindings[i].offset_bytes | bindings[i].advance_bytes) % sizeof(float))
      return BAD("entry %u step %u (%s): binding %u is not aligned", entry, index, rule->name, i);
    if (bindings[i].buffer != HMOE_NONE && bindings[i].buffer >= check->entry->buffers.count)
      return BAD("entry %u step %u (%s): binding %u names buffer %u of %u", entry, index, rule->name, i, bindings[i].buffer,
                 check->entry->buffers.count);
  }
  for (uint32_t i = 0; i < step->bindings.count; i++)
    if (optional_input(check, step, i) && (step->kind != HMOE_STEP_IDS || i != 0))
      return BAD("entry %u step %u (%s): binding %u is an input that may be missing", entry, index, rule->name, i);
  if (step->bindings.count > limits->bindings) limits->bindings = step->bindings.count;

  const uint64_t *args = HMOE_PLAN_ARRAY(check->plan, step->args, uint64_t);
  HMOE_TRY(check_dim_args(check, step, args));
  switch (step->kind) {
  case HMOE_STEP_KERNEL: return check_kernel(check, step, args, step->args.count);
  case HMOE_STEP_LOOP:
    HMOE_TRY(check_loop(check, step, args, step->args.count));
    if (args[1] != HMOE_LOOP_ROWS) limits->loop_groups = hmoe_max(limits->loop_groups, args[2]);
    return HMOE_OK;
  case HMOE_STEP_CHOOSE: return check_choose(check, step, args);
  case HMOE_STEP_IDS: return check_ids(check, step, args);
  case HMOE_STEP_POSITIONS:
  case HMOE_STEP_LAST_ROWS:
  case HMOE_STEP_APPEND_MASK: return check_tokens(check, step, args);
  case HMOE_STEP_RELATIVE_BIAS: return check_relative_bias(check, args);
  case HMOE_STEP_GROUP:
  case HMOE_STEP_GROUP_SETS:
    HMOE_TRY(check_top_k(check, args[0], args[1]));
    if (args[3] < 1 || args[3] > INT32_MAX)
      return BAD("entry %u step %u (%s): row block %llu", entry, index, rule->name, (unsigned long long)args[3]);
    if (step->kind == HMOE_STEP_GROUP_SETS &&
        (args[2] > HMOE_SETS_TOKEN || (args[2] == HMOE_SETS_RANK && hmoe_binomial(args[0], args[1]) > INT32_MAX)))
      return BAD("entry %u step %u (%s): mode %llu", entry, index, rule->name, (unsigned long long)args[2]);
    return HMOE_OK;
  case HMOE_STEP_SELECTIONS:
    HMOE_TRY(check_top_k(check, args[0], args[1]));
    if (args[2] != hmoe_binomial(args[0], args[1]))
      return BAD("entry %u step %u (%s): %llu sets", entry, index, rule->name, (unsigned long long)args[2]);
    return HMOE_OK;
  case HMOE_STEP_PACK:
  case HMOE_STEP_PACK_VECTOR:
    if (args[0] != HMOE_NONE ? entry != 0 || args[0] >= check->plan->params.count : step->bindings.count < 2)
      return BAD("entry %u step %u (%s): no source", entry, index, rule->name);
    return HMOE_OK;
  case HMOE_STEP_WEIGHT_EMBEDDING:
    for (int i = 0; i < 6; i++)
      if (entry != 0 || args[i] >= check->plan->params.count)
        return BAD("entry %u step %u (%s): param %d", entry, index, rule->name, i);
    return HMOE_OK;
  default: return HMOE_OK;
  }
}

static hmoe_status check_entry(checker *check, hmoe_plan_limits *limits) {
  const hmoe_plan_entry *entry = check->entry;
  HMOE_TRY(check_span(check, entry->name, 1, "name"));
  HMOE_TRY(check_span(check, entry->dims, sizeof(hmoe_plan_dim), "dims"));
  HMOE_TRY(check_tensors(check, entry->inputs, true));
  HMOE_TRY(check_tensors(check, entry->outputs, false));
  HMOE_TRY(check_span(check, entry->buffers, sizeof(hmoe_plan_buffer), "buffers"));
  HMOE_TRY(check_span(check, entry->steps, sizeof(hmoe_plan_step), "steps"));
  if (entry->slots > entry->buffers.count)
    return BAD("entry %u: %u slots for %u buffers", check->entry_index, entry->slots, entry->buffers.count);
  HMOE_TRY(check_dims(check));
  HMOE_TRY(check_state_use(check));
  const hmoe_plan_buffer *buffers = HMOE_PLAN_ARRAY(check->plan, entry->buffers, hmoe_plan_buffer);
  for (uint32_t i = 0; i < entry->buffers.count; i++) HMOE_TRY(check_buffer(check, i, &buffers[i]));
  const hmoe_plan_step *steps = HMOE_PLAN_ARRAY(check->plan, entry->steps, hmoe_plan_step);
  for (check->step_index = 0; check->step_index < entry->steps.count; check->step_index++)
    HMOE_TRY(check_step(check, &steps[check->step_index], limits));
  if (entry->dims.count > limits->dims) limits->dims = entry->dims.count;
  if (entry->buffers.count > limits->buffers) limits->buffers = entry->buffers.count;
  if (entry->slots > limits->slots) limits->slots = entry->slots;
  return HMOE_OK;
}

hmoe_status hmoe_plan_check(const hmoe_model_object *object, hmoe_plan_limits *out_limits) {
  *out_limits = (hmoe_plan_limits){0};
  if (object->abi_version != HMOE_ABI_VERSION)
    return hmoe_fail(HMOE_INCOMPATIBLE, "the object has ABI version %u, hmoe %s runs version %u: compile the model again",
                     object->abi_version, HMOE_VERSION, HMOE_ABI_VERSION);
  const hmoe_plan *plan = object->plan;
  if (!plan || (uintptr_t)plan % 8 != 0 || object->plan_bytes < sizeof *plan) return BAD("missing, too short or not aligned");
  if (plan->magic != HMOE_PLAN_MAGIC || plan->abi_version != HMOE_ABI_VERSION || plan->bytes != object->plan_bytes)
    return BAD("expected magic %08x, version %u and %llu bytes, found %08x, %u and %llu", HMOE_PLAN_MAGIC, HMOE_ABI_VERSION,
               (unsigned long long)object->plan_bytes, plan->magic, plan->abi_version, (unsigned long long)plan->bytes);
  if (plan->weight_bytes > PTRDIFF_MAX || plan->scratch_bytes > PTRDIFF_MAX) return BAD("sizes overflow");

  checker check = {.object = object, .plan = plan};
  HMOE_TRY(check_span(&check, plan->name, 1, "name"));
  HMOE_TRY(check_span(&check, plan->params, sizeof(hmoe_plan_param), "params"));
  HMOE_TRY(check_span(&check, plan->entries, sizeof(hmoe_plan_entry), "entries"));
  HMOE_TRY(check_span(&check, plan->caches, sizeof(hmoe_plan_cache), "caches"));
  HMOE_TRY(check_states(&check));
  HMOE_TRY(check_generation(&check));
  const hmoe_plan_param *params = HMOE_PLAN_ARRAY(plan, plan->params, hmoe_plan_param);
  for (uint32_t i = 0; i < plan->params.count; i++) HMOE_TRY(check_param(&check, &params[i]));
  const hmoe_plan_cache *caches = HMOE_PLAN_ARRAY(plan, plan->caches, hmoe_plan_cache);
  for (uint32_t i = 0; i < plan->caches.count; i++)
    if (caches[i].slots < 1 || caches[i].slots > INT32_MAX / 2 || caches[i].top_k < 1 || caches[i].top_k > HMOE_TOP_K_MAX)
      return BAD("cache %u: %llu slots, top_k %u", i, (unsigned long long)caches[i].slots, caches[i].top_k);
  if (plan->entries.count == 0) return BAD("no entries");
  const hmoe_plan_entry *entries = HMOE_PLAN_ARRAY(plan, plan->entries, hmoe_plan_entry);
  for (uint32_t i = 0; i < plan->entries.count; i++) {
    check.entry = &entries[i];
    check.entry_index = i;
    HMOE_TRY(check_entry(&check, out_limits));
  }
  return HMOE_OK;
}
