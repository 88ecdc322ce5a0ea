/* States: what decoding keeps of the tokens that were run before. A plan says which tensors there are (hmoe_plan_state); the caller
 * says for how many rows and tokens, and all memory is taken when a state is created.
 *
 *   create   tensor i: rows * capacity * position_bytes, zero
 *   run      adds value(entry.advance[scope]) to a scope's length, when the run succeeds
 *   rewind   the target's length goes back; 0 forgets the source too. Nothing moves: what lies behind a length is not read
 *   reorder  target row i becomes what row rows[i] was: copies the rows that change, of them what is in use
 *
 * A state is used by one call at a time; nothing here is shared between states. */
#include "device.h"

#include <string.h>

static const char *const scope_names[HMOE_SCOPE_COUNT] = {"target", "source"};

/* ---- which scopes a model has ---- */

static bool entry_uses(const hmoe_model *model, const hmoe_plan_entry *entry, uint32_t scope) {
  const hmoe_plan_dim *dims = HMOE_PLAN_ARRAY(model->plan, entry->dims, hmoe_plan_dim);
  for (uint32_t i = 0; i < entry->dims.count; i++)
    if (dims[i].kind == HMOE_DIM_STATE && dims[i].source / 3 == scope) return true;
  return entry->advance[scope] != HMOE_NONE;
}

static bool model_uses(const hmoe_model *model, uint32_t scope) {
  const hmoe_plan_state *states = HMOE_PLAN_ARRAY(model->plan, model->plan->states, hmoe_plan_state);
  for (uint32_t i = 0; i < model->plan->states.count; i++)
    if (states[i].scope == scope) return true;
  for (uint32_t i = 1; i < model->plan->entries.count; i++)
    if (entry_uses(model, &model->entries[i], scope)) return true;
  return false;
}

static bool needs_states(const hmoe_model *model) {
  for (uint32_t i = 1; i < model->plan->entries.count; i++)
    if (model->entries[i].needs_state) return true;
  return false;
}

/* ---- create ---- */

static hmoe_status read_scope(const hmoe_model *model, uint32_t scope, int64_t rows, int64_t tokens, hmoe_state_scope *out) {
  *out = (hmoe_state_scope){0};
  if (!model_uses(model, scope)) return HMOE_OK;
  const int64_t given[] = {rows, tokens};
  static const char *const what[] = {"rows", "capacity"};
  int64_t most = INT32_MAX - (int64_t)model->plan->state_positions; /* rounded up, it still fits */
  for (int i = 0; i < 2; i++)
    if (given[i] < 1 || given[i] > most)
      return hmoe_fail(HMOE_INVALID_ARGUMENT, "state: %s_%s: expected 1 to %lld, found %lld", scope_names[scope], what[i],
                       (long long)most, (long long)given[i]);
  *out = (hmoe_state_scope){
      .rows = rows, .limit = tokens, .capacity = (int64_t)hmoe_round_up((uint64_t)tokens, model->plan->state_positions)};
  return HMOE_OK;
}

static hmoe_status read_options(const hmoe_model *model, const hmoe_state_options *given,
                                hmoe_state_scope scopes[HMOE_SCOPE_COUNT]) {
  hmoe_state_options options;
  HMOE_TRY(hmoe_structure_read("state options", "hmoe_state_options", given, sizeof options, &options));
  HMOE_TRY(read_scope(model, HMOE_SCOPE_TARGET, options.target_rows, options.target_capacity, &scopes[HMOE_SCOPE_TARGET]));
  HMOE_TRY(read_scope(model, HMOE_SCOPE_SOURCE, options.source_rows, options.source_capacity, &scopes[HMOE_SCOPE_SOURCE]));
  int64_t targets = scopes[HMOE_SCOPE_TARGET].rows, sources = scopes[HMOE_SCOPE_SOURCE].rows;
  if (targets && sources && targets % sources)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "state: target_rows: expected a multiple of source_rows = %lld, found %lld",
                     (long long)sources, (long long)targets);
  return HMOE_OK;
}

/* Sizes of the tensors, then their addresses; the sum is saturated. */
static uint64_t lay_out(const hmoe_model *model, const hmoe_state_scope *scopes, uint8_t *data, hmoe_memory *tensors) {
  const hmoe_plan_state *states = HMOE_PLAN_ARRAY(model->plan, model->plan->states, hmoe_plan_state);
  uint64_t total = 0;
  for (uint32_t i = 0; i < model->plan->states.count; i++) {
    const hmoe_state_scope *scope = &scopes[states[i].scope];
    uint64_t size = hmoe_mul((uint64_t)scope->rows * (uint64_t)scope->capacity, states[i].position_bytes);
    if (tensors) tensors[i] = (hmoe_memory){data + total, size};
    total = hmoe_add(total, hmoe_round_up(size, HMOE_ALIGNMENT));
  }
  return total;
}

/* One block: the structure, then its tables from the widest element down. */
static hmoe_status create(hmoe_model *model, const hmoe_state_scope *scopes, hmoe_state **out_state) {
  uint64_t rows = (uint64_t)scopes[HMOE_SCOPE_TARGET].rows, tensors = model->plan->states.count;
  uint64_t tensors_at = sizeof(hmoe_state), moves_at = tensors_at + tensors * sizeof(hmoe_memory);
  uint64_t readers_at = moves_at + 2 * rows * sizeof(int32_t[2]), bytes = readers_at + 2 * rows * sizeof(int32_t);
  void *memory = NULL;
  HMOE_TRY(hmoe_allocate(&model->allocator, bytes, "a state", &memory));
  uint8_t *base = memory;
  hmoe_state *state = memory;
  *state = (hmoe_state){.model = model, .self_bytes = bytes, .taken = ATOMIC_FLAG_INIT};
  memcpy(state->scopes, scopes, sizeof state->scopes);
  state->tensors = (hmoe_memory *)(void *)(base + tensors_at);
  state->moves = (int32_t (*)[2])(void *)(base + moves_at);
  state->readers = (int32_t *)(void *)(base + readers_at);
  state->ready = state->readers + rows;
  uint64_t data_bytes = lay_out(model, scopes, NULL, NULL);
  hmoe_status status = model->device->allocate(model, data_bytes, true, "keys and values of a state", &memory);
  if (status == HMOE_OK) {
    state->data = memory;
    state->data_bytes = data_bytes;
    lay_out(model, scopes, state->data, state->tensors);
  }
  if (status == HMOE_OK) *out_state = state;
  else hmoe_state_destroy(state);
  return status;
}

hmoe_status hmoe_state_create(hmoe_model *model, const hmoe_state_options *options, hmoe_state **out_state) {
  if (!out_state) return hmoe_fail(HMOE_INVALID_ARGUMENT, "state: out_state is NULL");
  *out_state = NULL;
  if (!model || !options) return hmoe_fail(HMOE_INVALID_ARGUMENT, "state: %s is NULL", model ? "options" : "the model");
  if (!needs_states(model)) return hmoe_fail(HMOE_INVALID_ARGUMENT, "state: the model has no entry that needs one");
  hmoe_state_scope scopes[HMOE_SCOPE_COUNT];
  HMOE_TRY(read_options(model, options, scopes));
  return create(model, scopes, out_state);
}

void hmoe_state_destroy(hmoe_state *state) {
  if (!state) return;
  hmoe_model *model = state->model;
  model->device->release(model, state->data, state->data_bytes);
  hmoe_release(&model->allocator, state, state->self_bytes);
}

hmoe_status hmoe_state_take(hmoe_state *state, const char *call) {
  if (!atomic_flag_test_and_set_explicit(&state->taken, memory_order_acquire)) return HMOE_OK;
  return hmoe_fail(HMOE_INVALID_ARGUMENT, "%s: the state is in use by another call, which has not returned", call);
}

void hmoe_state_give_back(hmoe_state *state) { atomic_flag_clear_explicit(&state->taken, memory_order_release); }

int64_t hmoe_state_length(const hmoe_state *state) { return state ? state->scopes[HMOE_SCOPE_TARGET].length : 0; }

int64_t hmoe_state_source_length(const hmoe_state *state) { return state ? state->scopes[HMOE_SCOPE_SOURCE].length : 0; }

size_t hmoe_state_bytes(const hmoe_state *state) { return state ? state->self_bytes + state->data_bytes : 0; }

/* ---- runs ---- */

int64_t hmoe_state_growth(const hmoe_run *run, int scope) {
  uint32_t dim = run->entry->advance[scope];
  return dim == HMOE_NONE ? 0 : run->workspace->dims[dim];
}

static bool reads_length(const hmoe_run *run, uint32_t scope) {
  for (uint32_t i = 0; i < run->entry->dims.count; i++)
    if (run->dims[i].kind == HMOE_DIM_STATE && run->dims[i].source == 3 * scope + 2) return true;
  return false;
}

hmoe_status hmoe_state_check_run(const hmoe_run *run) {
  int length = (int)hmoe_min(run->entry->name.count, 200);
  const char *name = HMOE_PLAN_ARRAY(run->model->plan, run->entry->name, char);
  const hmoe_state_scope *source = &run->state->scopes[HMOE_SCOPE_SOURCE];
  bool fills = run->entry->advance[HMOE_SCOPE_SOURCE] != HMOE_NONE;
  if (fills && source->length)
    return hmoe_fail(HMOE_INVALID_ARGUMENT,
                     "run: entry '%.*s': the state has a source of %lld tokens: rewind it to 0 before another", length, name,
                     (long long)source->length);
  if (!fills && reads_length(run, HMOE_SCOPE_SOURCE) && !source->length)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "run: entry '%.*s': the state has no source yet", length, name);
  for (int s = 0; s < HMOE_SCOPE_COUNT; s++) {
    const hmoe_state_scope *scope = &run->state->scopes[s];
    int64_t growth = hmoe_state_growth(run, s);
    if (growth > scope->limit - scope->length)
      return hmoe_fail(HMOE_INVALID_ARGUMENT, "run: entry '%.*s': %lld tokens after %lld: the state's %s_capacity is %lld", length,
                       name, (long long)growth, (long long)scope->length, scope_names[s], (long long)scope->limit);
  }
  return HMOE_OK;
}

static hmoe_status rewind_to(hmoe_state *state, int64_t length) {
  hmoe_state_scope *target = &state->scopes[HMOE_SCOPE_TARGET];
  if (length < 0 || length > target->length)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "rewind: expected 0 to %lld tokens, found %lld", (long long)target->length,
                     (long long)length);
  target->length = length;
  if (length == 0) state->scopes[HMOE_SCOPE_SOURCE].length = 0;
  return HMOE_OK;
}

hmoe_status hmoe_state_rewind(hmoe_state *state, int64_t length) {
  if (!state) return hmoe_fail(HMOE_INVALID_ARGUMENT, "rewind: the state is NULL");
  HMOE_TRY(hmoe_state_take(state, "rewind"));
  hmoe_status status = rewind_to(state, length);
  hmoe_state_give_back(state);
  return status;
}

/* ---- reorder ---- */

/* The copies that make row i what row rows[i] was, in an order in which none overwrites what a later one reads: first rows that no
 * other becomes; what is left then are circles, and one row of each is put aside. */
static size_t plan_moves(hmoe_state *state, const int32_t *rows) {
  int32_t count = (int32_t)state->scopes[HMOE_SCOPE_TARGET].rows, ready = 0;
  size_t moves = 0;
  memset(state->readers, 0, (size_t)count * sizeof *state->readers);
  for (int32_t i = 0; i < count; i++)
    if (rows[i] != i) state->readers[rows[i]]++;
  for (int32_t i = 0; i < count; i++)
    if (rows[i] != i && state->readers[i] == 0) state->ready[ready++] = i;
  while (ready) {
    int32_t to = state->ready[--ready], from = rows[to];
    state->moves[moves][0] = to;
    state->moves[moves++][1] = from;
    state->readers[to] = -1; /* done */
    if (--state->readers[from] == 0 && rows[from] != from) state->ready[ready++] = from;
  }
  for (int32_t i = 0; i < count; i++) {
    if (rows[i] == i || state->readers[i] <= 0) continue;
    state->moves[moves][0] = HMOE_ASIDE;
    state->moves[moves++][1] = i;
    for (int32_t to = i; state->readers[to] > 0; to = rows[to]) {
      state->readers[to] = -1;
      state->moves[moves][0] = to;
      state->moves[moves++][1] = rows[to] == i ? HMOE_ASIDE : rows[to];
    }
  }
  return moves;
}

static hmoe_status reorder(hmoe_state *state, const int32_t *rows) {
  const hmoe_state_scope *target = &state->scopes[HMOE_SCOPE_TARGET];
  for (int64_t i = 0; i < target->rows; i++)
    if (rows[i] < 0 || rows[i] >= target->rows)
      return hmoe_fail(HMOE_INVALID_ARGUMENT, "reorder: rows[%lld]: expected 0 to %lld, found %d", (long long)i,
                       (long long)target->rows - 1, rows[i]);
  size_t moves = plan_moves(state, rows);
  uint64_t positions = hmoe_round_up((uint64_t)target->length, state->model->plan->state_positions);
  return moves && positions ? state->model->device->reorder(state, moves, positions) : HMOE_OK;
}

hmoe_status hmoe_state_reorder(hmoe_state *state, const int32_t *rows) {
  if (!state || !rows) return hmoe_fail(HMOE_INVALID_ARGUMENT, "reorder: %s is NULL", state ? "rows" : "the state");
  HMOE_TRY(hmoe_state_take(state, "reorder"));
  hmoe_status status = reorder(state, rows);
  hmoe_state_give_back(state);
  return status;
}
