/* Validation of the plan blob. The blob comes with the object and is not hostile, but it may come from another compiler version or a
 * broken build: after this check no span leaves the blob, every index points at something, and what an entry may touch fits its kind.
 * What depends on sizes known only at run time (is a binding large enough?) is checked by the steps themselves. Steps: plan_steps.c. */
#include "generate_internal.h"
#include "plan_check.h"

#include <string.h>

typedef hmoe_plan_checker checker;
enum { STATE_POSITIONS_MAX = 1 << 16 };
#define BAD HMOE_BAD_PLAN
#define check_span hmoe_plan_check_span

hmoe_status hmoe_plan_check_span(const checker *check, hmoe_plan_span span, size_t element_bytes, const char *what) {
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
  HMOE_TRY(hmoe_plan_check_steps(check, limits));
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
  if (plan->weight_bytes > PTRDIFF_MAX) return BAD("sizes overflow");
  if (plan->state_positions < 1 || plan->state_positions > STATE_POSITIONS_MAX)
    return BAD("positions of states in multiples of %llu", (unsigned long long)plan->state_positions);

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
