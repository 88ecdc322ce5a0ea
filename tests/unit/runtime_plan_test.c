/* What is refused of a plan, each with its whole text: entry, step and numbers included; and what is not, a step before each limit. One plan with
 * every kind of step is right; a row of the tables changes places of it. */
#include "runtime_fixture.h"

enum { IDS_INPUT, X_INPUT, Y_OUTPUT, WORDS, ROWS, CACHED }; /* buffers of entry 1 */
enum { MASK_INPUT, MASK_STATE, POSITIONS }; /* of entry 2 */

static void do_nothing(const hmoe_kernel_call *call, int64_t task, void *scratch) { (void)call, (void)task, (void)scratch; }

static const hmoe_kernel_fn kernels[] = {do_nothing, do_nothing};

static void plan_opening(fixture_plan *plan) {
  fixture_entry *e = plan_entry(plan, "open");
  uint32_t weight = plan_weight(plan, e, 256), param = plan_buffer(e, HMOE_BUFFER_PARAM, 0, 0, 128, 0, HMOE_NONE);
  plan_dim(e, HMOE_DIM_CONST, 0, 5);
  plan_panels(plan, e, (hmoe_plan_binding)AT(weight), 0, 1, 32, 1);
  plan_vector(plan, e, weight, 0, 32);
  plan_step(plan, e, HMOE_STEP_SELECTIONS, HMOE_NONE, BINDINGS(AT(weight)),
            FIELDS(selections, .experts = 4, .top_k = 2, .sets = 6)); /* 2 */
  plan_step(plan, e, HMOE_STEP_WEIGHT_EMBEDDING, HMOE_NONE, BINDINGS(AT(weight)), FIELDS(weight_embedding, .row_floats = 8));
  plan_step(plan, e, HMOE_STEP_RELATIVE_BIAS, HMOE_NONE, BINDINGS(AT(weight), AT(param)), /* 4 */
            FIELDS(relative_bias, .buckets = 8, .heads = 2, .bidirectional = 1, .max_distance = 16, .row_floats = 64, .pad = 8));
  plan_step(plan, e, HMOE_STEP_COPY, HMOE_NONE, BINDINGS(AT(weight), AT(param)),
            FIELDS(copy, .outer = {2, 8, 8}, .inner = {2, 4, 4}, .run_bytes = 4));
}

static void plan_loop(fixture_plan *plan, fixture_entry *e, uint32_t rows_dim, const hmoe_step_loop *loop) {
  bool groups = loop->kind != HMOE_LOOP_ROWS;
  plan_step(plan, e, HMOE_STEP_LOOP, rows_dim,
            BINDINGS(AT(groups ? WORDS : HMOE_NONE), AT(WORDS), AT(WORDS), AT(WORDS), AT(WORDS), AT(WORDS)), sizeof *loop, loop);
}

static void plan_sets(fixture_plan *plan, fixture_entry *e, uint32_t rows_dim, uint32_t mode) {
  plan_step(plan, e, HMOE_STEP_GROUP_SETS, rows_dim, BINDINGS(AT(WORDS), AT(WORDS), AT(WORDS), AT(WORDS), AT(WORDS)),
            FIELDS(group_sets, .experts = 4, .top_k = 2, .row_block = 8, .mode = mode));
}

static void plan_ways(fixture_plan *plan, fixture_entry *e, uint32_t rows_dim, uint32_t blocks, uint32_t groups) {
  plan_step(plan, e, HMOE_STEP_CHOOSE, rows_dim, BINDINGS(AT(blocks)),
            FIELDS(choose, .first_steps = 1, .second_steps = 1, .percent = 1, .block_rows = 1, .row_block = 8, .groups = groups));
}

static void plan_forward(fixture_plan *plan) {
  fixture_entry *e = plan_entry(plan, "forward");
  uint32_t rows = plan_dim(e, HMOE_DIM_INPUT, 0, 0), length = plan_dim(e, HMOE_DIM_INPUT, 0, 0);
  plan_dim(e, HMOE_DIM_SCALE, rows, 3);
  plan_dim(e, HMOE_DIM_PRODUCT, rows, length);
  plan_dim(e, HMOE_DIM_ROUND_UP, rows, 32);
  plan_input(plan, e, "ids", 2, 8);
  e->inputs[0].optional = 1;
  plan_input(plan, e, "x", 0, 8);
  plan_output(plan, e, "y", 0, 8);
  plan_temporary(e, 256, 64, rows);
  plan_temporary(e, 256, 64, rows);
  plan_buffer(e, HMOE_BUFFER_CACHE, 0, 0, 32, 0, HMOE_NONE);
  plan_step(plan, e, HMOE_STEP_IDS, rows, BINDINGS(AT(IDS_INPUT), AT(WORDS)),
            FIELDS(ids, .element_bytes = 8, .limit = 100)); /* 0 */
  plan_step(plan, e, HMOE_STEP_KERNEL, rows, BINDINGS(AT(X_INPUT), AT(Y_OUTPUT)),
            FIELDS(kernel, .kernel = 1, .row_block = 1, .groups = 1, .column_splits = 1, .tasks = 8,
                   .dims = plan_dims(plan, DIMS(length))));
  plan_step(
      plan, e, HMOE_STEP_GROUP, rows, /* 2 */
      BINDINGS(AT(WORDS), AT(WORDS), AT(WORDS), AT(WORDS), AT(WORDS), AT(WORDS), AT(WORDS)),
      FIELDS(group, .experts = 4, .top_k = 2, .row_block = 8, .scope_dim = length, .past_dim = HMOE_NONE, .stride_dim = HMOE_NONE));
  plan_sets(plan, e, rows, HMOE_SETS_DISTINCT);
  plan_loop(plan, e, rows, /* 4 */
            &(hmoe_step_loop){
                .kind = HMOE_LOOP_CACHED, .steps = 5, .chunk = 4, .groups = 6, .top_k = 2, .generate_steps = 4, .cache = 0});
  plan_kernel(plan, e, 0, rows, BINDINGS(AT(CACHED)));
  plan_ways(plan, e, rows, HMOE_NONE, 1); /* 6 */
  plan_kernel(plan, e, 0, rows, BINDINGS(AT(CACHED)));
  plan_kernel(plan, e, 0, rows, BINDINGS(AT(CACHED))); /* 8 */
  plan_step(plan, e, HMOE_STEP_KERNEL, rows, BINDINGS(AT(WORDS), AT(CACHED)),
            FIELDS(kernel, .grid = HMOE_GRID_BLOCKS, .row_block = 8, .groups = 4, .column_splits = 1, .tasks = 8));
  plan_loop(plan, e, rows, &(hmoe_step_loop){.kind = HMOE_LOOP_ROWS, .steps = 4, .chunk = 7}); /* 10 */
  plan_sets(plan, e, rows, HMOE_SETS_TOKEN);
  plan_loop(plan, e, rows, /* 12 */
            &(hmoe_step_loop){.kind = HMOE_LOOP_GROUPS, .steps = 1, .chunk = 4, .groups = HMOE_NONE, .top_k = 2});
  plan_kernel(plan, e, 0, rows, BINDINGS(AT(ROWS)));
  plan_kernel(plan, e, 0, rows, BINDINGS(AT(ROWS))); /* 14 */
  plan_sets(plan, e, rows, HMOE_SETS_RANK);
  plan_ways(plan, e, rows, WORDS, 6); /* 16 */
  plan_kernel(plan, e, 0, rows, BINDINGS(AT(ROWS)));
  plan_kernel(plan, e, 0, rows, BINDINGS(AT(ROWS))); /* 18 */
}

static void plan_decode(fixture_plan *plan) {
  fixture_entry *e = plan_entry(plan, "decode");
  uint32_t length = plan_dim(e, HMOE_DIM_INPUT, 0, 0);
  uint32_t rows = plan_dim(e, HMOE_DIM_STATE, 0, 0), capacity = plan_dim(e, HMOE_DIM_STATE, 1, 0);
  uint32_t past = plan_dim(e, HMOE_DIM_STATE, 2, 0);
  plan_dim(e, HMOE_DIM_SUM, past, length);
  e->entry.needs_state = 1;
  e->entry.advance[HMOE_SCOPE_TARGET] = length;
  plan_input(plan, e, "mask", 1, 4);
  plan_buffer(e, HMOE_BUFFER_STATE, 0, 0, 0, 0, HMOE_NONE);
  plan_temporary(e, 0, 4, length);
  plan_kernel(plan, e, 0, length, BINDINGS(AT(POSITIONS)));
  plan_step(plan, e, HMOE_STEP_APPEND_MASK, HMOE_NONE, BINDINGS(AT(MASK_INPUT), AT(MASK_STATE)),
            FIELDS(append_mask, .tokens = {rows, length, past, capacity}));
  plan_step(plan, e, HMOE_STEP_POSITIONS, HMOE_NONE, BINDINGS(AT(MASK_STATE), AT(POSITIONS)),
            FIELDS(positions, .tokens = {rows, length, past, capacity}, .limit = 64));
  plan_step(plan, e, HMOE_STEP_LAST_ROWS, HMOE_NONE, BINDINGS(AT(MASK_STATE), AT(POSITIONS)),
            FIELDS(last_rows, .tokens = {rows, length, past, capacity}));
}

static fixture_plan *make_plan(void) {
  fixture_plan *plan = plan_create("whole");
  plan_param(plan, "w", 1, SHAPE(32));
  plan_param(plan, "e.{}.w", 2, SHAPE(4));
  plan_param(plan, "a\nb", 1, SHAPE(4));
  plan_cache(plan, 8, 64, 2);
  plan_state(plan, HMOE_SCOPE_TARGET, 1, 4);
  plan_state(plan, HMOE_SCOPE_TARGET, 2, 32);
  plan_setting(plan, HMOE_SETTING_START_TOKEN, (int64_t[]){5}, 1);
  plan_setting(plan, HMOE_SETTING_SAMPLE, (int64_t[]){1}, 1);
  plan_opening(plan);
  plan_forward(plan);
  plan_decode(plan);
  plan_finish(plan, kernels, 2);
  return plan;
}

/* ---- places ---- */

typedef enum target {
  NOWHERE,
  OBJECT,
  HEADER,
  PARAM,
  KEY,
  STATE,
  CACHE,
  SETTING,
  ENTRY,
  DIM,
  NAME,
  INPUT,
  OUTPUT,
  BUFFER,
  STEP,
  BINDING,
  STEP_FIELDS,
  KERNEL_DIM
} target;

/* Of entry `entry` and, of bindings and fields, of step `step`. */
typedef struct place {
  target target;
  uint32_t entry, step, index;
  size_t offset, size;
  uint64_t value;
} place;
#define FIELD(structure, field) offsetof(structure, field), sizeof(((structure *)0)->field)
#define IN_OBJECT(field, value) {OBJECT, 0, 0, 0, FIELD(hmoe_model_object, field), value}
#define IN_HEADER(field, value) {HEADER, 0, 0, 0, FIELD(hmoe_plan, field), value}
#define IN_PARAM(index, field, value) {PARAM, 0, 0, index, FIELD(hmoe_plan_param, field), value}
#define IN_KEY(param, at, value) {KEY, 0, param, at, 0, 1, value}
#define IN_STATE(index, field, value) {STATE, 0, 0, index, FIELD(hmoe_plan_state, field), value}
#define IN_CACHE(field, value) {CACHE, 0, 0, 0, FIELD(hmoe_plan_cache, field), value}
#define IN_SETTING(index, field, value) {SETTING, 0, 0, index, FIELD(hmoe_plan_setting, field), value}
#define IN_ENTRY(entry, field, value) {ENTRY, entry, 0, 0, FIELD(hmoe_plan_entry, field), value}
#define IN_DIM(entry, index, field, value) {DIM, entry, 0, index, FIELD(hmoe_plan_dim, field), value}
#define IN_NAME(entry, index, value) {NAME, entry, 0, index, 0, sizeof(hmoe_plan_span), value}
#define IN_INPUT(entry, index, field, value) {INPUT, entry, 0, index, FIELD(hmoe_plan_tensor, field), value}
#define IN_OUTPUT(entry, index, field, value) {OUTPUT, entry, 0, index, FIELD(hmoe_plan_tensor, field), value}
#define IN_BUFFER(entry, index, field, value) {BUFFER, entry, 0, index, FIELD(hmoe_plan_buffer, field), value}
#define IN_STEP(entry, step, field, value) {STEP, entry, 0, step, FIELD(hmoe_plan_step, field), value}
#define IN_BINDING(entry, step, index, field, value) {BINDING, entry, step, index, FIELD(hmoe_plan_binding, field), value}
#define IN_FIELD(entry, step, kind, field, value) {STEP_FIELDS, entry, step, 0, FIELD(hmoe_step_##kind, field), value}
#define IN_KERNEL_DIM(entry, step, index, value) {KERNEL_DIM, entry, step, index, 0, sizeof(uint32_t), value}

static void damage(fixture_plan *plan, const place *place) {
  if (place->target == NOWHERE) return;
  const hmoe_plan *header = (const hmoe_plan *)(void *)plan->bytes;
  const hmoe_plan_entry *e = &HMOE_PLAN_ARRAY(plan->bytes, header->entries, hmoe_plan_entry)[place->entry];
  const hmoe_plan_step *step = &HMOE_PLAN_ARRAY(plan->bytes, e->steps, hmoe_plan_step)[place->step];
  const hmoe_step_kernel *kernel = HMOE_STEP_FIELDS(plan->bytes, step);
  const struct {
    hmoe_plan_span span;
    size_t bytes;
  } arrays[] = {[PARAM] = {header->params, sizeof(hmoe_plan_param)},
                [STATE] = {header->states, sizeof(hmoe_plan_state)},
                [CACHE] = {header->caches, sizeof(hmoe_plan_cache)},
                [SETTING] = {header->generation, sizeof(hmoe_plan_setting)},
                [DIM] = {e->dims, sizeof(hmoe_plan_dim)},
                [NAME] = {e->dim_names, sizeof(hmoe_plan_span)},
                [INPUT] = {e->inputs, sizeof(hmoe_plan_tensor)},
                [OUTPUT] = {e->outputs, sizeof(hmoe_plan_tensor)},
                [BUFFER] = {e->buffers, sizeof(hmoe_plan_buffer)},
                [STEP] = {e->steps, sizeof(hmoe_plan_step)},
                [BINDING] = {step->bindings, sizeof(hmoe_plan_binding)},
                [STEP_FIELDS] = {step->fields, 0},
                [KERNEL_DIM] = {kernel->dims, sizeof(uint32_t)}};
  uint8_t *at = plan->bytes;
  switch (place->target) {
  case OBJECT: at = (uint8_t *)&plan->object; break;
  case HEADER: break;
  case KEY: at += HMOE_PLAN_ARRAY(plan->bytes, header->params, hmoe_plan_param)[place->step].key.offset + place->index; break;
  case ENTRY: at = (uint8_t *)(uintptr_t)e; break;
  default:
    assert_true(place->index < arrays[place->target].span.count);
    at += arrays[place->target].span.offset + place->index * arrays[place->target].bytes;
  }
  memcpy(at + place->offset, &place->value, place->size < 8 ? place->size : 8); /* of a span: its offset and count */
}

/* A span's words. */
#define SPAN(offset, count) ((uint64_t)(count) << 32 | (offset))

enum { PLACES = 6 };
#define IN_PACK(field, value) IN_FIELD(0, 0, pack, field, value)
#define PLANES IN_PACK(destination.layout, HMOE_LAYOUT_PLANES), IN_PACK(destination.format, HMOE_FORMAT_BF16)
#define TO_PLANES IN_PACK(destination.generated_layout, HMOE_LAYOUT_PLANES), IN_PACK(destination.generated_format, HMOE_FORMAT_BF16)

/* PLAN: the bytes of the plan; VERSION: the ABI's; a last * stands for any text. */
static const struct {
  place places[PLACES];
  const char *text;
} rows[] = {
    {{IN_OBJECT(abi_version, 2)}, "the object has ABI version 2, hmoe 0.1.0 runs version VERSION: compile the model again"},
    {{IN_OBJECT(plan_bytes, 8)}, "plan: missing, too short or not aligned"},
    {{IN_HEADER(magic, 1)}, "plan: expected magic 4e4c5048, version VERSION and PLAN bytes, found 00000001, VERSION and PLAN"},
    {{IN_HEADER(weight_bytes, UINT64_MAX)}, "plan: sizes overflow"},
    {{IN_HEADER(state_positions, 0)}, "plan: positions of states in multiples of 0"},
    {{IN_HEADER(state_positions, 65537)}, "plan: positions of states in multiples of 65537"},
    {{IN_HEADER(name, SPAN(1 << 16, 9))},
     "plan: entry 0: name: span [65536, +9 x 1] leaves the plan of PLAN bytes or is not aligned"},
    {{IN_HEADER(params, SPAN(12, 3))}, "plan: entry 0: params: span [12, +3 x 48] leaves the plan of PLAN bytes or is not aligned"},
    {{IN_HEADER(entries, SPAN(64, 1000000))},
     "plan: entry 0: entries: span [64, +1000000 x 72] leaves the plan of PLAN bytes or is not aligned"},
    {{IN_HEADER(entries, SPAN(64, 0))}, "plan: no entries"},
    {{IN_HEADER(caches, SPAN(64, 1 << 30))},
     "plan: entry 0: caches: span [64, +1073741824 x 24] leaves the plan of PLAN bytes or is not aligned"},
    {{IN_HEADER(states, SPAN(64, 1 << 30))},
     "plan: entry 0: states: span [64, +1073741824 x 16] leaves the plan of PLAN bytes or is not aligned"},
    {{IN_HEADER(generation, SPAN(64, 1 << 30))},
     "plan: entry 0: generation: span [64, +1073741824 x 16] leaves the plan of PLAN bytes or is not aligned"},
    {{IN_SETTING(1, setting, 22)}, "plan: generation: setting 22 is unknown, or there twice"},
    {{IN_SETTING(1, setting, HMOE_SETTING_START_TOKEN)}, "plan: generation: setting 0 is unknown, or there twice"},
    {{IN_SETTING(0, values, SPAN(0, 1 << 20))},
     "plan: entry 0: start_token: span [0, +1048576 x 8] leaves the plan of PLAN bytes or is not aligned"},
    {{IN_SETTING(0, values.count, 2)}, "plan: generation: start_token cannot have the 2 values it has"},
    {{IN_SETTING(1, values.count, 0)}, "plan: generation: sample cannot have the 0 values it has"},
    {{IN_PARAM(0, key, SPAN(0, 1 << 20))},
     "plan: entry 0: key: span [0, +1048576 x 1] leaves the plan of PLAN bytes or is not aligned"},
    {{IN_PARAM(0, key, SPAN(0, 1024))}, "plan: a key has 1024 characters, or a zero one"},
    {{IN_KEY(1, 0, 0)}, "plan: a key has 6 characters, or a zero one"},
    {{IN_KEY(2, 0, '\n')}, "plan: key '\n\nb': a name of 0 characters"},
    {{IN_PARAM(0, count, 0)}, "plan: key 'w': 0 tensors need one \"{}\", found 0"},
    {{IN_PARAM(0, count, 2)}, "plan: key 'w': 2 tensors need one \"{}\", found 0"},
    {{IN_KEY(1, 2, 'x')}, "plan: key 'e.x}.w': 2 tensors need one \"{}\", found 0"},
    {{IN_KEY(1, 1, '\n')}, "plan: key 'e\n{}.w': a stack of tensors has one name"},
    {{IN_PARAM(1, key.count, 3)}, "plan: key 'e.{': 2 tensors need one \"{}\", found 0"}, /* of a key no more than there is */
    {{IN_PARAM(1, key.count, 4), IN_KEY(1, 1, '\n')}, "plan: key 'e\n{}': a stack of tensors has one name"},
    {{IN_PARAM(1, key.count, 4), IN_KEY(1, 0, '\n')}, "plan: key '\n.{}': a name of 0 characters"},
    {{IN_PARAM(1, rank, 0)}, "plan: key 'e.{}.w': expected rank 1 to 4, found 0"},
    {{IN_PARAM(1, rank, 5)}, "plan: key 'e.{}.w': expected rank 1 to 4, found 5"},
    {{IN_PARAM(0, shape[0], UINT64_MAX / 2)}, "plan: key 'w': the shape overflows"},
    {{IN_STATE(1, scope, 2)}, "plan: state 1: 32 bytes a position in 2 segments of scope 2"},
    {{IN_STATE(1, segments, 0)}, "plan: state 1: 32 bytes a position in 0 segments of scope 0"},
    {{IN_STATE(1, position_bytes, 12)}, "plan: state 1: 12 bytes a position in 2 segments of scope 0"},
    {{IN_CACHE(slots, 0)}, "plan: cache 0: 0 slots, top_k 2"},
    {{IN_CACHE(top_k, HMOE_TOP_K_MAX + 1)}, "plan: cache 0: 8 slots, top_k 4097"},
    {{IN_ENTRY(2, name, SPAN(0, 1 << 20))},
     "plan: entry 2: name: span [0, +1048576 x 1] leaves the plan of PLAN bytes or is not aligned"},
    {{IN_ENTRY(1, dims, SPAN(4, 2))}, "plan: entry 1: dims: span [4, +2 x 16] leaves the plan of PLAN bytes or is not aligned"},
    {{IN_ENTRY(1, slots, 7)}, "plan: entry 1: 7 slots for 6 buffers"},
    {{IN_DIM(1, 2, kind, 11)}, "plan: entry 1: dim 2 has unknown kind 11"},
    {{IN_DIM(1, 3, kind, HMOE_DIM_INPUT)}, "plan: entry 1: dim 3: inputs come first, and entry 0 has none"},
    {{IN_DIM(0, 0, kind, HMOE_DIM_INPUT)}, "plan: entry 0: dim 0: inputs come first, and entry 0 has none"},
    {{IN_DIM(1, 2, source, 2)}, "plan: entry 1: dim 2: source 2 is not an earlier dim"},
    {{IN_DIM(2, 4, factor, 4)}, "plan: entry 2: dim 4: factor 4 is not an earlier dim"},
    {{IN_DIM(1, 4, factor, 0)}, "plan: entry 1: dim 4: multiples of 0"},
    {{IN_DIM(2, 3, source, 6)}, "plan: entry 2: dim 3: value 6 of a state"},
    {{IN_DIM(1, 2, kind, HMOE_DIM_STATE)}, "plan: entry 1: dim 2: value 0 of a state that the entry does not need"},
    {{IN_DIM(1, 2, factor, 1ull << 63)}, "plan: entry 1: dim 2: the factor overflows"},
    {{IN_INPUT(1, 1, name, SPAN(0, 1 << 20))},
     "plan: entry 1: input: span [0, +1048576 x 1] leaves the plan of PLAN bytes or is not aligned"},
    {{IN_INPUT(1, 1, dtype, 3)}, "plan: entry 1: input 1: unknown dtype 3 or rank 2"},
    {{IN_OUTPUT(1, 0, rank, 5)}, "plan: entry 1: output 0: unknown dtype 0 or rank 5"},
    {{IN_INPUT(2, 0, shape[0], (uint64_t)-6)}, "plan: entry 2: input 0: shape -6 of 5 dims"},
    {{IN_INPUT(1, 0, optional, 2)}, "plan: entry 1: input 0: optional 2"},
    {{IN_OUTPUT(1, 0, optional, 1)}, "plan: entry 1: output 0: optional 1"},
    {{IN_INPUT(1, 0, needed_by, 1)}, "plan: entry 1: input 0: needed by outputs 0x1"},
    {{IN_OUTPUT(1, 0, needed_by, 2)}, "plan: entry 1: output 0: needed by outputs 0x2"},
    {{IN_ENTRY(1, dim_names.count, 1)}, "plan: entry 1: 1 names of 2 dims"},
    {{IN_NAME(1, 1, SPAN(0, 1 << 20))},
     "plan: entry 1: dim name: span [0, +1048576 x 1] leaves the plan of PLAN bytes or is not aligned"},
    {{IN_ENTRY(0, needs_state, 1)}, "plan: entry 0: needs 1 states"},
    {{IN_ENTRY(1, needs_state, 2)}, "plan: entry 1: needs 2 states"},
    {{IN_ENTRY(2, advance[1], 5)}, "plan: entry 2: scope 1 advances by dim 5 of 5"},
    {{IN_ENTRY(1, advance[0], 0)}, "plan: entry 1: scope 0 advances by dim 0 of 5, without a state"},
    {{IN_BUFFER(1, 3, kind, 7)}, "plan: entry 1: buffer 3 (kind 7, index 0, dim 0) names something that is not there"},
    {{IN_BUFFER(1, 0, index, 2)}, "plan: entry 1: buffer 0 (kind 0, index 2, dim 0) names something that is not there"},
    {{IN_BUFFER(1, 2, index, 1)}, "plan: entry 1: buffer 2 (kind 1, index 1, dim 0) names something that is not there"},
    {{IN_BUFFER(1, 3, index, 2)}, "plan: entry 1: buffer 3 (kind 3, index 2, dim 0) names something that is not there"},
    {{IN_BUFFER(1, 5, index, 1)}, "plan: entry 1: buffer 5 (kind 4, index 1, dim 4294967295) names something that is not there"},
    {{IN_BUFFER(0, 1, index, 3)}, "plan: entry 0: buffer 1 (kind 5, index 3, dim 4294967295) names something that is not there"},
    {{IN_BUFFER(2, 1, index, 2)}, "plan: entry 2: buffer 1 (kind 6, index 2, dim 4294967295) names something that is not there"},
    {{IN_BUFFER(2, 2, dim, 5)}, "plan: entry 2: buffer 2 (kind 3, index 0, dim 5) names something that is not there"},
    {{IN_BUFFER(0, 0, offset, 4)}, "plan: entry 0: buffer 0 ends at 260 of 256 bytes"},
    {{IN_BUFFER(1, 5, fixed_bytes, 65)}, "plan: entry 1: buffer 5 ends at 65 of 64 bytes"},
    {{IN_BUFFER(0, 0, fixed_bytes, 255), IN_BUFFER(0, 0, offset, 1)}, "plan: entry 0: buffer 0 is not aligned"},
    {{IN_BUFFER(1, 5, dim, 0)}, "plan: entry 1: buffer 5: weights and caches have fixed sizes"},
    {{IN_STEP(1, 9, kind, 14)}, "plan: entry 1 step 9: unknown kind 14"},
    {{IN_STEP(1, 7, bindings, SPAN(4, 1))},
     "plan: entry 1: bindings: span [4, +1 x 24] leaves the plan of PLAN bytes or is not aligned"},
    {{IN_STEP(1, 7, fields, SPAN(1 << 20, 40))},
     "plan: entry 1: fields: span [1048576, +40 x 1] leaves the plan of PLAN bytes or is not aligned"},
    {{IN_STEP(1, 7, fields, SPAN(44, 40))}, "plan: entry 1 step 7 (kernel): expected fields of 56 bytes, found 40 at 44"},
    {{IN_STEP(1, 7, fields.count, 39)}, "plan: entry 1 step 7 (kernel): expected fields of 56 bytes, found 39 at *"},
    {{IN_STEP(1, 3, fields.count, 24)}, "plan: entry 1 step 3 (group_sets): expected fields of 16 bytes, found 24 at *"},
    {{IN_STEP(1, 4, kind, HMOE_STEP_COPY)}, "plan: entry 1 step 4 (copy): expected fields of 56 bytes, found 32 at *"},
    {{IN_STEP(1, 2, bindings.count, 7)}, "plan: entry 1 step 2 (group): expected 8 bindings, found 7"},
    {{IN_STEP(1, 12, bindings.count, 5)}, "plan: entry 1 step 12 (loop): expected 6 bindings, found 5"},
    {{IN_STEP(0, 0, bindings.count, 1)}, "plan: entry 0 step 0 (pack): expected 2 bindings, found 1"},
    {{IN_STEP(1, 15, rows_dim, HMOE_NONE)}, "plan: entry 1 step 15 (group_sets): rows are missing"},
    {{IN_STEP(1, 14, rows_dim, HMOE_NONE)}, "plan: entry 1 step 14 (kernel): rows are missing"},
    {{IN_STEP(1, 10, rows_dim, HMOE_NONE)}, "plan: entry 1 step 10 (loop): rows are missing"},
    {{IN_STEP(1, 6, rows_dim, HMOE_NONE)}, "plan: entry 1 step 6 (choose): rows are missing"},
    {{IN_STEP(2, 0, rows_dim, 5)}, "plan: entry 2 step 0 (kernel): dim 5 of 5"},
    {{IN_BINDING(1, 9, 1, offset_bytes, 2)}, "plan: entry 1 step 9 (kernel): binding 1 is not aligned"},
    {{IN_BINDING(1, 9, 1, advance_bytes, 1)}, "plan: entry 1 step 9 (kernel): binding 1 is not aligned"},
    {{IN_BINDING(1, 9, 1, buffer, 6)}, "plan: entry 1 step 9 (kernel): binding 1 names buffer 6 of 6"},
    {{IN_BINDING(1, 9, 1, buffer, IDS_INPUT)}, "plan: entry 1 step 9 (kernel): binding 1 is an input that may be missing"},
    {{IN_BINDING(1, 0, 1, buffer, IDS_INPUT)}, "plan: entry 1 step 0 (ids): binding 1 is an input that may be missing"},
    {{IN_FIELD(1, 13, kernel, kernel, 2)}, "plan: entry 1 step 13 (kernel): kernel 2 of 2"},
    {{IN_FIELD(1, 1, kernel, grid, 3)}, "plan: entry 1 step 1 (kernel): unknown grid 3"},
    {{IN_FIELD(1, 1, kernel, tasks, 0)}, "plan: entry 1 step 1 (kernel): 0 tasks a thread"},
    {{IN_FIELD(1, 1, kernel, tasks, 1u << 31)}, "plan: entry 1 step 1 (kernel): 2147483648 tasks a thread"},
    {{IN_FIELD(1, 1, kernel, work, SPAN(0, 9))}, "plan: entry 1 step 1 (kernel): work of 9 dims, at most 8"},
    {{IN_FIELD(1, 1, kernel, work, SPAN(0, 1))}, "plan: entry 1 step 1 (kernel): work: dim *"},
    {{IN_FIELD(1, 1, kernel, work, SPAN(2, 1))}, "plan: entry 1: kernel work: span [2, +1 x 4] *"},
    {{IN_FIELD(1, 1, kernel, tunings, SPAN(2, 1))}, "plan: entry 1: tunings: span [2, +1 x 32] *"},
    {{IN_FIELD(1, 1, kernel, tunings, SPAN(0, 1))}, "plan: entry 1 step 1 (kernel): tuning 0: *"},
    {{IN_FIELD(1, 16, choose, tunings, SPAN(0, 1))}, "plan: entry 1 step 16 (choose): tuning 0: *"},
    {{IN_FIELD(1, 8, kernel, row_block, 0)}, "plan: entry 1 step 8 (kernel): blocks of 0 rows in 1 groups"},
    {{IN_FIELD(1, 8, kernel, row_block, 1u << 31)}, "plan: entry 1 step 8 (kernel): blocks of 2147483648 rows in 1 groups"},
    {{IN_FIELD(1, 9, kernel, groups, 0)}, "plan: entry 1 step 9 (kernel): blocks of 8 rows in 0 groups"},
    {{IN_FIELD(1, 8, kernel, groups, 2)}, "plan: entry 1 step 8 (kernel): 2 groups without blocks"},
    {{IN_FIELD(1, 9, kernel, blocks_binding, 2)}, "plan: entry 1 step 9 (kernel): binding 2 of 2 has no blocks"},
    {{IN_BINDING(1, 9, 0, buffer, HMOE_NONE)}, "plan: entry 1 step 9 (kernel): binding 0 of 2 has no blocks"},
    {{IN_FIELD(1, 9, kernel, column_splits, 0)}, "plan: entry 1 step 9 (kernel): columns in 0 parts"},
    {{IN_FIELD(1, 9, kernel, column_splits, 1u << 31)}, "plan: entry 1 step 9 (kernel): columns in 2147483648 parts"},
    {{IN_FIELD(1, 1, kernel, dims, SPAN(0, 1 << 20))},
     "plan: entry 1: kernel dims: span [0, +1048576 x 4] leaves the plan of PLAN bytes or is not aligned"},
    {{IN_FIELD(1, 1, kernel, dims.count, 9)}, "plan: entry 1 step 1 (kernel): 9 dims, at most 8"},
    {{IN_KERNEL_DIM(1, 1, 0, 5)}, "plan: entry 1 step 1 (kernel): dims: dim 5 of 5"},
    {{IN_FIELD(1, 2, group, experts, 0)}, "plan: entry 1 step 2 (group): 0 experts, top_k 2"},
    {{IN_FIELD(1, 2, group, experts, 1u << 28)}, "plan: entry 1 step 2 (group): 268435456 experts, top_k 2"},
    {{IN_FIELD(1, 2, group, top_k, HMOE_TOP_K_MAX + 1)}, "plan: entry 1 step 2 (group): 4 experts, top_k 4097"},
    {{IN_FIELD(1, 2, group, row_block, 0)}, "plan: entry 1 step 2 (group): blocks of 0 rows in 4 groups"},
    {{IN_FIELD(1, 2, group, scope_dim, 5)}, "plan: entry 1 step 2 (group): scope_dim: dim 5 of 5"},
    {{IN_FIELD(1, 2, group, past_dim, 5)}, "plan: entry 1 step 2 (group): past_dim: dim 5 of 5"},
    {{IN_FIELD(1, 2, group, stride_dim, 5)}, "plan: entry 1 step 2 (group): stride_dim: dim 5 of 5"},
    {{IN_BINDING(1, 2, 7, buffer, WORDS)}, "plan: entry 1 step 2 (group): past_dim: dim 4294967295 of 5"},
    {{IN_BINDING(1, 2, 7, buffer, WORDS), IN_FIELD(1, 2, group, past_dim, 0)},
     "plan: entry 1 step 2 (group): stride_dim: dim 4294967295 of 5"},
    {{IN_FIELD(1, 3, group_sets, experts, 0)}, "plan: entry 1 step 3 (group_sets): 0 experts, top_k 2"},
    {{IN_FIELD(1, 3, group_sets, top_k, 0)}, "plan: entry 1 step 3 (group_sets): 4 experts, top_k 0"},
    {{IN_FIELD(1, 3, group_sets, row_block, 0)}, "plan: entry 1 step 3 (group_sets): blocks of 0 rows in 1 groups"},
    {{IN_FIELD(1, 11, group_sets, mode, 3)}, "plan: entry 1 step 11 (group_sets): unknown mode 3"},
    {{IN_FIELD(1, 15, group_sets, experts, 1 << 20)},
     "plan: entry 1 step 15 (group_sets): the sets of 2 of 1048576 experts cannot be numbered"},
    {{IN_FIELD(1, 10, loop, kind, 3)}, "plan: entry 1 step 10 (loop): kind 3 over 4 steps by 7"},
    {{IN_FIELD(1, 4, loop, steps, 0)}, "plan: entry 1 step 4 (loop): kind 2 over 0 steps by 4"},
    {{IN_FIELD(1, 4, loop, steps, 15)}, "plan: entry 1 step 4 (loop): kind 2 over 15 steps by 4"},
    {{IN_FIELD(1, 12, loop, chunk, 0)}, "plan: entry 1 step 12 (loop): kind 1 over 1 steps by 0"},
    {{IN_FIELD(1, 12, loop, chunk, 1u << 31)}, "plan: entry 1 step 12 (loop): kind 1 over 1 steps by 2147483648"},
    {{IN_FIELD(1, 12, loop, groups, 0)}, "plan: entry 1 step 12 (loop): 0 groups, top_k 2"},
    {{IN_FIELD(1, 12, loop, top_k, HMOE_TOP_K_MAX + 1)}, "plan: entry 1 step 12 (loop): 4294967295 groups, top_k 4097"},
    {{IN_BINDING(1, 12, 0, buffer, HMOE_NONE)}, "plan: entry 1 step 12 (loop): no blocks"},
    {{IN_FIELD(1, 4, loop, cache, 1)}, "plan: entry 1 step 4 (loop): cache 1 of 1, 4 generating steps of 5"},
    {{IN_FIELD(1, 4, loop, generate_steps, 6)}, "plan: entry 1 step 4 (loop): cache 0 of 1, 6 generating steps of 5"},
    {{IN_FIELD(1, 4, loop, chunk, 9)}, "plan: entry 1 step 4 (loop): chunks of 9 sets of 2, the cache has 8 slots for sets of 2"},
    {{IN_FIELD(1, 4, loop, top_k, 1)}, "plan: entry 1 step 4 (loop): chunks of 4 sets of 1, the cache has 8 slots for sets of 2"},
    {{IN_FIELD(1, 4, loop, generate_steps, 3)},
     "plan: entry 1 step 4 (loop): the choose at step 6 reaches past the generating steps"},
    {{IN_FIELD(1, 4, loop, steps, 3)}, "plan: entry 1 step 4 (loop): the choose at step 6 must stand whole inside"},
    {{IN_FIELD(1, 6, choose, second_steps, 3)}, "plan: entry 1 step 4 (loop): the choose at step 6 must stand whole inside"},
    {{IN_FIELD(1, 10, loop, steps, 2), IN_FIELD(1, 12, loop, steps, 2)},
     "plan: entry 1 step 10 (loop): the loop at step 12 must stand whole inside"},
    {{IN_FIELD(1, 12, loop, kind, HMOE_LOOP_ROWS)},
     "plan: entry 1 step 10 (loop): the loop at step 12: only one over groups may stand inside one over rows"},
    {{IN_FIELD(1, 10, loop, kind, HMOE_LOOP_GROUPS)},
     "plan: entry 1 step 10 (loop): the loop at step 12: only one over groups may stand inside one over rows"},
    {{IN_FIELD(1, 6, choose, first_steps, 0)},
     "plan: entry 1 step 6 (choose): 0 or 1 steps, by 1 percent or from 1 rows of a block on"},
    {{IN_FIELD(1, 6, choose, second_steps, 0)},
     "plan: entry 1 step 6 (choose): 1 or 0 steps, by 1 percent or from 1 rows of a block on"},
    {{IN_FIELD(1, 16, choose, second_steps, 2)},
     "plan: entry 1 step 16 (choose): 1 or 2 steps, by 1 percent or from 1 rows of a block on"},
    {{IN_FIELD(1, 16, choose, percent, 1u << 31)},
     "plan: entry 1 step 16 (choose): 1 or 1 steps, by 2147483648 percent or from 1 rows of a block on"},
    {{IN_FIELD(1, 16, choose, block_rows, 1u << 31)},
     "plan: entry 1 step 16 (choose): 1 or 1 steps, by 1 percent or from 2147483648 rows of a block on"},
    {{IN_FIELD(1, 6, choose, row_block, 0)}, "plan: entry 1 step 6 (choose): blocks of 0 rows in 1 groups"},
    {{IN_FIELD(1, 16, choose, groups, 0)}, "plan: entry 1 step 16 (choose): blocks of 8 rows in 0 groups"},
    {{IN_FIELD(1, 6, choose, groups, 2)}, "plan: entry 1 step 6 (choose): 2 groups without blocks"},
    {{IN_STEP(1, 18, kind, HMOE_STEP_CHOOSE), IN_STEP(1, 18, fields.count, 32)},
     "plan: entry 1 step 16 (choose): the choose at step 18 may not stand inside"},
    {{IN_STEP(1, 17, kind, HMOE_STEP_CHOOSE), IN_STEP(1, 17, fields.count, 32)},
     "plan: entry 1 step 16 (choose): the choose at step 17 may not stand inside"},
    {{IN_FIELD(0, 2, selections, experts, 0)}, "plan: entry 0 step 2 (selections): 0 experts, top_k 2"},
    {{IN_FIELD(0, 2, selections, top_k, 0)}, "plan: entry 0 step 2 (selections): 4 experts, top_k 0"},
    {{IN_FIELD(0, 2, selections, sets, 7)}, "plan: entry 0 step 2 (selections): 7 sets"},
    {{IN_FIELD(0, 1, pack, source.parts.count, 2)}, "plan: entry 0 step 1 (pack): a vector in 2 parts of depth 1"},
    {{IN_FIELD(0, 1, pack, source.depth.count, 0)}, "plan: entry 0 step 1 (pack): a vector in 1 parts of depth 0"},
    {{IN_FIELD(0, 1, pack, destination.format, HMOE_FORMAT_BF16)}, "plan: entry 0 step 1 (pack): format 1 of layout 0"},
    {{IN_FIELD(0, 1, pack, destination.layout, 3)}, "plan: entry 0 step 1 (pack): format 0 of layout 3"},
    {{IN_FIELD(0, 1, pack, destination.generated_rows, 2)}, "plan: entry 0 step 1 (pack): 32 columns of 2 generated rows"},
    {{IN_FIELD(0, 0, pack, source.parts.count, 2)}, "plan: entry 0 step 0 (pack): parts of the depth would overwrite each other"},
    {{IN_FIELD(0, 1, pack, destination.between, 1), IN_FIELD(0, 1, pack, destination.columns, 31)},
     "plan: entry 0 step 1 (pack): 31 columns of 1 generated rows"},
    {{IN_FIELD(0, 0, pack, destination.between, 1), IN_FIELD(0, 0, pack, destination.layout, HMOE_LAYOUT_COLUMNS)},
     "plan: entry 0 step 0 (pack): 1 panels between those of a layout without panels"},
    {{IN_FIELD(0, 0, pack, source.param, 3)}, "plan: entry 0 step 0 (pack): source: param 3 of 3, in entry 0"},
    {{IN_FIELD(0, 0, pack, source.param, HMOE_NONE)}, "plan: entry 0 step 0 (pack): neither a parameter nor a buffer to read"},
    {{IN_FIELD(0, 0, pack, source.param, 1), IN_FIELD(0, 0, pack, source.groups.count, 3)},
     "plan: entry 0 step 0 (pack): 3 groups of 2 tensors"},
    {{IN_FIELD(0, 0, pack, source.groups.count, 2), IN_FIELD(0, 0, pack, destination.group_bytes, 0)},
     "plan: entry 0 step 0 (pack): groups would overwrite each other"},
    {{IN_FIELD(0, 3, weight_embedding, wi, 3)}, "plan: entry 0 step 3 (weight_embedding): wi: param 3 of 3, in entry 0"},
    {{IN_FIELD(0, 3, weight_embedding, wo, 3)}, "plan: entry 0 step 3 (weight_embedding): wo: param 3 of 3, in entry 0"},
    {{IN_FIELD(0, 3, weight_embedding, depthwise1, 3)},
     "plan: entry 0 step 3 (weight_embedding): depthwise1: param 3 of 3, in entry 0"},
    {{IN_FIELD(0, 3, weight_embedding, pointwise1, 3)},
     "plan: entry 0 step 3 (weight_embedding): pointwise1: param 3 of 3, in entry 0"},
    {{IN_FIELD(0, 3, weight_embedding, depthwise2, 3)},
     "plan: entry 0 step 3 (weight_embedding): depthwise2: param 3 of 3, in entry 0"},
    {{IN_FIELD(0, 3, weight_embedding, pointwise2, HMOE_NONE)},
     "plan: entry 0 step 3 (weight_embedding): pointwise2: param 4294967295 of 3, in entry 0"},
    {{IN_FIELD(0, 4, relative_bias, buckets, 7)},
     "plan: entry 0 step 4 (relative_bias): 7 buckets to distance 16, 2 heads in rows of 64 after 8"},
    {{IN_FIELD(0, 4, relative_bias, max_distance, 2)},
     "plan: entry 0 step 4 (relative_bias): 8 buckets to distance 2, 2 heads in rows of 64 after 8"},
    {{IN_FIELD(0, 4, relative_bias, bidirectional, 2)},
     "plan: entry 0 step 4 (relative_bias): 8 buckets to distance 16, 2 heads in rows of 64 after 8"},
    {{IN_FIELD(0, 4, relative_bias, heads, 0)},
     "plan: entry 0 step 4 (relative_bias): 8 buckets to distance 16, 0 heads in rows of 64 after 8"},
    {{IN_FIELD(0, 4, relative_bias, heads, 1u << 31)},
     "plan: entry 0 step 4 (relative_bias): 8 buckets to distance 16, 2147483648 heads in rows of 64 after 8"},
    {{IN_FIELD(0, 4, relative_bias, row_floats, 1u << 31)},
     "plan: entry 0 step 4 (relative_bias): 8 buckets to distance 16, 2 heads in rows of 2147483648 after 8"},
    {{IN_FIELD(0, 4, relative_bias, pad, 1u << 31)},
     "plan: entry 0 step 4 (relative_bias): 8 buckets to distance 16, 2 heads in rows of 64 after 2147483648"},
    {{IN_FIELD(0, 5, copy, outer.destination_stride, 0)}, "plan: entry 0 step 5 (copy): copies would overwrite each other"},
    {{IN_FIELD(0, 5, copy, inner.destination_stride, 0)}, "plan: entry 0 step 5 (copy): copies would overwrite each other"},
    {{IN_BINDING(1, 0, 0, buffer, WORDS)}, "plan: entry 1 step 0 (ids): expected an input"},
    {{IN_BINDING(1, 0, 0, buffer, HMOE_NONE)}, "plan: entry 1 step 0 (ids): expected an input"},
    {{IN_FIELD(1, 0, ids, element_bytes, 2)}, "plan: entry 1 step 0 (ids): elements of 2 bytes"},
    {{IN_FIELD(1, 0, ids, limit, 0)}, "plan: entry 1 step 0 (ids): limit 0"},
    {{IN_FIELD(1, 0, ids, limit, (1ull << 31) + 1)}, "plan: entry 1 step 0 (ids): limit 2147483649"},
    {{IN_FIELD(1, 0, ids, fill, 3)}, "plan: entry 1 step 0 (ids): an input of 0 by default, filled with 3, below 100"},
    {{IN_FIELD(1, 0, ids, fill, 200), IN_INPUT(1, 0, fill, 200)},
     "plan: entry 1 step 0 (ids): an input of 200 by default, filled with 200, below 100"},
    {{IN_FIELD(2, 1, append_mask, tokens.rows_dim, HMOE_NONE)},
     "plan: entry 2 step 1 (append_mask): rows_dim: dim 4294967295 of 5"},
    {{IN_FIELD(2, 1, append_mask, tokens.stride_dim, HMOE_NONE)},
     "plan: entry 2 step 1 (append_mask): stride_dim: dim 4294967295 of 5"},
    {{IN_BINDING(2, 1, 0, buffer, HMOE_NONE)}, "plan: entry 2 step 1 (append_mask): no source"},
    {{IN_BINDING(2, 1, 1, buffer, HMOE_NONE)}, "plan: entry 2 step 1 (append_mask): no destination"},
    {{IN_BINDING(2, 1, 1, buffer, POSITIONS)}, "plan: entry 2 step 1 (append_mask): expected a mask of a state"},
    {{IN_FIELD(2, 2, positions, tokens.length_dim, 5)}, "plan: entry 2 step 2 (positions): length_dim: dim 5 of 5"},
    {{IN_FIELD(2, 2, positions, tokens.stride_dim, HMOE_NONE)},
     "plan: entry 2 step 2 (positions): stride_dim: dim 4294967295 of 5"},
    {{IN_FIELD(2, 2, positions, limit, 0)}, "plan: entry 2 step 2 (positions): limit 0"},
    {{IN_FIELD(2, 2, positions, limit, (1ull << 31) + 1)}, "plan: entry 2 step 2 (positions): limit 2147483649"},
    {{IN_FIELD(2, 3, last_rows, tokens.past_dim, 9)}, "plan: entry 2 step 3 (last_rows): past_dim: dim 9 of 5"},
    {{IN_BINDING(2, 3, 1, buffer, HMOE_NONE)}, "plan: entry 2 step 3 (last_rows): no destination"},
    {{IN_OBJECT(plan_bytes, sizeof(hmoe_plan) - 1)}, "plan: missing, too short or not aligned"},
    {{IN_OBJECT(plan, 0)}, "plan: missing, too short or not aligned"},
    {{IN_HEADER(abi_version, 2)}, "plan: expected magic 4e4c5048, version VERSION and PLAN bytes, found 4e4c5048, 2 and PLAN"},
    {{IN_HEADER(bytes, 64)}, "plan: expected magic 4e4c5048, version VERSION and PLAN bytes, found 4e4c5048, VERSION and 64"},
    {{IN_HEADER(weight_bytes, (uint64_t)PTRDIFF_MAX + 1)}, "plan: sizes overflow"},
    {{IN_KEY(1, 4, '{'), IN_KEY(1, 5, '}')}, "plan: key 'e.{}{}': 2 tensors need one \"{}\", found 2"},
    {{IN_PARAM(0, shape[0], UINT64_MAX / 4 + 1)}, "plan: key 'w': the shape overflows"},
    {{IN_PARAM(1, shape[0], UINT64_MAX / 8 + 1)}, "plan: key 'e.{}.w': the shape overflows"},
    {{IN_STATE(1, position_bytes, 0)}, "plan: state 1: 0 bytes a position in 2 segments of scope 0"},
    {{IN_STATE(0, position_bytes, 6)}, "plan: state 0: 6 bytes a position in 1 segments of scope 0"},
    {{IN_STATE(1, position_bytes, (uint64_t)PTRDIFF_MAX + 1)},
     "plan: state 1: 9223372036854775808 bytes a position in 2 segments of scope 0"},
    {{IN_CACHE(slots, INT32_MAX / 2 + 1)}, "plan: cache 0: 1073741824 slots, top_k 2"},
    {{IN_CACHE(top_k, 0)}, "plan: cache 0: 8 slots, top_k 0"},
    {{IN_CACHE(slots, 3)}, "plan: entry 1 step 4 (loop): chunks of 4 sets of 2, the cache has 3 slots for sets of 2"},
    {{IN_ENTRY(1, dim_names.count, 3)}, "plan: entry 1: 3 names of 2 dims"},
    {{IN_BUFFER(1, 3, kind, HMOE_BUFFER_PARAM)},
     "plan: entry 1: buffer 3 (kind 5, index 0, dim 0) names something that is not there"},
    {{IN_BUFFER(1, 3, kind, HMOE_BUFFER_STATE)},
     "plan: entry 1: buffer 3 (kind 6, index 0, dim 0) names something that is not there"},
    {{IN_BUFFER(0, 1, kind, HMOE_BUFFER_INPUT)},
     "plan: entry 0: buffer 1 (kind 0, index 0, dim 4294967295) names something that is not there"},
    {{IN_BUFFER(0, 1, kind, HMOE_BUFFER_OUTPUT)},
     "plan: entry 0: buffer 1 (kind 1, index 0, dim 4294967295) names something that is not there"},
    {{IN_BUFFER(1, 3, fixed_bytes, UINT64_MAX)},
     "plan: entry 1: buffer 3 ends at 18446744073709551615 of 18446744073709551614 bytes"},
    {{IN_BUFFER(1, 5, offset, 36)}, "plan: entry 1: buffer 5 ends at 68 of 64 bytes"},
    {{IN_BUFFER(1, 5, offset, 2)}, "plan: entry 1: buffer 5 is not aligned"},
    {{IN_BUFFER(0, 0, dim, 0)}, "plan: entry 0: buffer 0: weights and caches have fixed sizes"},
    {{IN_ENTRY(1, buffers, SPAN(4, 6))},
     "plan: entry 1: buffers: span [4, +6 x 40] leaves the plan of PLAN bytes or is not aligned"},
    {{IN_ENTRY(1, steps, SPAN(4, 6))}, "plan: entry 1: steps: span [4, +6 x 24] leaves the plan of PLAN bytes or is not aligned"},
    {{IN_ENTRY(1, inputs, SPAN(4, 2))}, "plan: entry 1: input: span [4, +2 x 64] leaves the plan of PLAN bytes or is not aligned"},
    {{IN_ENTRY(1, outputs, SPAN(4, 1))},
     "plan: entry 1: output: span [4, +1 x 64] leaves the plan of PLAN bytes or is not aligned"},
    {{IN_ENTRY(1, dim_names, SPAN(4, 2))},
     "plan: entry 1: dim names: span [4, +2 x 8] leaves the plan of PLAN bytes or is not aligned"},
    {{IN_FIELD(1, 2, group, top_k, 0)}, "plan: entry 1 step 2 (group): 4 experts, top_k 0"},
    {{IN_FIELD(1, 2, group, row_block, 1u << 31)}, "plan: entry 1 step 2 (group): blocks of 2147483648 rows in 4 groups"},
    {{IN_FIELD(1, 15, group_sets, experts, 65537)},
     "plan: entry 1 step 15 (group_sets): the sets of 2 of 65537 experts cannot be numbered"},
    {{IN_FIELD(1, 10, loop, steps, 9)}, "plan: entry 1 step 10 (loop): kind 0 over 9 steps by 7"},
    {{IN_FIELD(1, 4, loop, generate_steps, 2)},
     "plan: entry 1 step 4 (loop): the choose at step 6 reaches past the generating steps"},
    {{IN_STEP(1, 10, kind, HMOE_STEP_CHOOSE), IN_STEP(1, 10, bindings.count, 1), IN_STEP(1, 10, fields.count, 32),
      IN_FIELD(1, 10, choose, first_steps, 1), IN_FIELD(1, 10, choose, row_block, 1), IN_FIELD(1, 10, choose, groups, 1)},
     "plan: entry 1 step 10 (choose): the loop at step 12 may not stand inside"},
    {{IN_PACK(destination.columns, 30), IN_PACK(destination.layout, HMOE_LAYOUT_PANELS)},
     "plan: entry 0 step 0 (pack): 30 columns of 1 generated rows"},
    {{IN_PACK(destination.layout, HMOE_LAYOUT_COLUMNS), IN_PACK(destination.columns, 31), IN_PACK(destination.generated_rows, 2)},
     "plan: entry 0 step 0 (pack): 31 columns of 2 generated rows"},
    {{IN_PACK(destination.layout, HMOE_LAYOUT_VECTOR), IN_PACK(destination.columns, 64), IN_PACK(destination.generated_rows, 3)},
     "plan: entry 0 step 0 (pack): 64 columns of 3 generated rows"},
    {{IN_PACK(destination.format, HMOE_FORMAT_COUNT)}, "plan: entry 0 step 0 (pack): format 2 of layout 1"},
    {{IN_PACK(destination.layout, HMOE_LAYOUT_COUNT)}, "plan: entry 0 step 0 (pack): format 0 of layout 4"},
    {{IN_PACK(destination.layout, HMOE_LAYOUT_PLANES)}, "plan: entry 0 step 0 (pack): format 0 of layout 3"},
    {{IN_PACK(destination.layout, HMOE_LAYOUT_COLUMNS), IN_PACK(destination.format, HMOE_FORMAT_BF16)},
     "plan: entry 0 step 0 (pack): format 1 of layout 2"},
    {{IN_PACK(destination.generated_layout, HMOE_LAYOUT_PLANES), IN_PACK(destination.generated_rows, 64),
      IN_PACK(destination.columns, 2048)},
     "plan: entry 0 step 0 (pack): 2048 columns of 64 generated rows in planes"},
    {{TO_PLANES, IN_PACK(destination.generated_rows, 32), IN_PACK(destination.columns, 1024)},
     "plan: entry 0 step 0 (pack): 1024 columns of 32 generated rows in planes"},
    {{IN_PACK(destination.generated_format, HMOE_FORMAT_BF16), IN_PACK(destination.generated_rows, 16),
      IN_PACK(destination.columns, 512)},
     "plan: entry 0 step 0 (pack): 1 of 16 generated rows of format 1"},
    {{IN_PACK(destination.generated_format, HMOE_FORMAT_BF16), IN_PACK(destination.generated_rows, 32),
      IN_PACK(destination.layout, HMOE_LAYOUT_COLUMNS)},
     "plan: entry 0 step 0 (pack): 1 of 32 generated rows of format 1"},
    {{IN_PACK(destination.generated_format, HMOE_FORMAT_COUNT)}, "plan: entry 0 step 0 (pack): 1 of 1 generated rows of format 2"},
    {{IN_PACK(source.generated.count, 2)}, "plan: entry 0 step 0 (pack): 2 of 1 generated rows of format 0"},
    {{PLANES, IN_PACK(destination.operand_rows, 32)}, "plan: entry 0 step 0 (pack): planes of depth 32 from column 0 on"},
    {{PLANES, IN_PACK(destination.operand_rows, 64), IN_PACK(destination.first_column, 16)},
     "plan: entry 0 step 0 (pack): planes of depth 64 from column 16 on"},
    {{PLANES, IN_PACK(destination.operand_rows, 64), IN_PACK(destination.first_row, 64)},
     "plan: entry 0 step 0 (pack): depth row 64 of 64"},
    {{IN_PACK(destination.format, HMOE_FORMAT_BF16), IN_PACK(destination.operand_rows, 3)},
     "plan: entry 0 step 0 (pack): bf16 from depth row 0 on of 3"},
    {{IN_PACK(destination.format, HMOE_FORMAT_BF16), IN_PACK(destination.operand_rows, 4), IN_PACK(destination.first_row, 1)},
     "plan: entry 0 step 0 (pack): bf16 from depth row 1 on of 4"},
    {{IN_PACK(destination.format, HMOE_FORMAT_BF16), IN_PACK(destination.operand_rows, 4), IN_PACK(source.parts.count, 2),
      IN_PACK(destination.part_rows, 1)},
     "plan: entry 0 step 0 (pack): bf16 from depth row 0 on of 4"},
    {{IN_PACK(destination.first_column, 16)}, "plan: entry 0 step 0 (pack): panels from column 16 on"},
    {{IN_PACK(source.parts.count, 2), IN_PACK(destination.part_rows, 2), IN_PACK(destination.operand_rows, 2)},
     "plan: entry 0 step 0 (pack): depth row 2 of 2"},
    {{IN_PACK(source.offset, 1)}, "plan: entry 0 step 0 (pack): reads element 32 of parameter 0, which has 32"},
    {{IN_PACK(destination.group_bytes, 2)}, "plan: entry 0 step 0 (pack): groups of 2 bytes"},
    {{IN_FIELD(0, 2, selections, top_k, 3)}, "plan: entry 0 step 2 (selections): 6 sets"},
    {{IN_FIELD(0, 4, relative_bias, buckets, 3), IN_FIELD(0, 4, relative_bias, bidirectional, 0),
      IN_FIELD(0, 4, relative_bias, max_distance, 1)},
     "plan: entry 0 step 4 (relative_bias): 3 buckets to distance 1, 2 heads in rows of 64 after 8"},
    {{IN_FIELD(0, 4, relative_bias, buckets, 1), IN_FIELD(0, 4, relative_bias, bidirectional, 0)},
     "plan: entry 0 step 4 (relative_bias): 1 buckets to distance 16, 2 heads in rows of 64 after 8"},
    {{IN_FIELD(0, 4, relative_bias, buckets, 1u << 31), IN_FIELD(0, 4, relative_bias, max_distance, 1u << 30)},
     "plan: entry 0 step 4 (relative_bias): 2147483648 buckets to distance 1073741824, 2 heads in rows of 64 after 8"},
    {{IN_FIELD(0, 4, relative_bias, max_distance, 1u << 31)},
     "plan: entry 0 step 4 (relative_bias): 8 buckets to distance 2147483648, 2 heads in rows of 64 after 8"},
    {{IN_FIELD(1, 0, ids, fill, 100), IN_INPUT(1, 0, fill, 100)},
     "plan: entry 1 step 0 (ids): an input of 100 by default, filled with 100, below 100"},
    {{IN_FIELD(1, 0, ids, fill, 0), IN_INPUT(1, 0, fill, 3)},
     "plan: entry 1 step 0 (ids): an input of 3 by default, filled with 0, below 100"},
    {{IN_STEP(2, 0, rows_dim, 7)}, "plan: entry 2 step 0 (kernel): dim 7 of 5"},
    {{IN_KERNEL_DIM(1, 1, 0, 7)}, "plan: entry 1 step 1 (kernel): dims: dim 7 of 5"},
    {{IN_BINDING(1, 9, 1, buffer, 8)}, "plan: entry 1 step 9 (kernel): binding 1 names buffer 8 of 6"},
    {{IN_FIELD(1, 13, kernel, kernel, 4)}, "plan: entry 1 step 13 (kernel): kernel 4 of 2"},
    {{IN_FIELD(1, 9, kernel, blocks_binding, 4)}, "plan: entry 1 step 9 (kernel): binding 4 of 2 has no blocks"},
    {{IN_PACK(source.param, 5)}, "plan: entry 0 step 0 (pack): source: param 5 of 3, in entry 0"},
    {{IN_PACK(destination.first_row, 4)}, "plan: entry 0 step 0 (pack): depth row 4 of 1"},
    {{IN_STEP(1, 9, kind, 17)}, "plan: entry 1 step 9: unknown kind 17"},
    {{IN_KEY(2, 2, '\n')}, "plan: key 'a\n\n': a name of 0 characters"},
    {{IN_INPUT(1, 1, optional, 1), IN_INPUT(1, 1, needed_by, 6)}, "plan: entry 1: input 1: needed by outputs 0x6"},
    {{IN_INPUT(1, 1, optional, 3)}, "plan: entry 1: input 1: optional 3"},
    {{IN_INPUT(1, 1, shape[1], (uint64_t)-9)}, "plan: entry 1: input 1: shape -9 of 5 dims"},
    {{IN_FIELD(2, 1, append_mask, tokens.past_dim, 5)}, "plan: entry 2 step 1 (append_mask): past_dim: dim 5 of 5"},
    {{IN_FIELD(2, 2, positions, tokens.length_dim, HMOE_NONE)},
     "plan: entry 2 step 2 (positions): length_dim: dim 4294967295 of 5"},
    {{IN_FIELD(2, 3, last_rows, tokens.stride_dim, HMOE_NONE)},
     "plan: entry 2 step 3 (last_rows): stride_dim: dim 4294967295 of 5"},
};

/* What nothing is wrong with: the last values that the limits of those rows admit, and what they do not concern. */
static const place taken[][PLACES] = {
    {IN_HEADER(weight_bytes, PTRDIFF_MAX)},
    {IN_HEADER(state_positions, 1)},
    {IN_HEADER(state_positions, 65536)},
    {IN_HEADER(name, SPAN(1, 3))}, /* text is not aligned */
    {IN_SETTING(0, values.count, 0)},
    {IN_PARAM(0, shape[0], UINT64_MAX / 4)},
    {IN_PARAM(1, shape[0], UINT64_MAX / 8)},
    {IN_PARAM(1, rank, 4)},
    {IN_PARAM(1, count, 1)},
    {IN_STATE(1, scope, HMOE_SCOPE_SOURCE)},
    {IN_STATE(1, position_bytes, PTRDIFF_MAX / 8 * 8)},
    {IN_STATE(1, position_bytes, 8)},
    {IN_STATE(0, segments, 1), IN_STATE(0, position_bytes, 12)},
    {IN_CACHE(slots, INT32_MAX / 2)},
    {IN_CACHE(slots, 4)},
    {IN_CACHE(top_k, HMOE_TOP_K_MAX), IN_FIELD(1, 4, loop, top_k, HMOE_TOP_K_MAX)},
    {IN_CACHE(top_k, 1), IN_FIELD(1, 4, loop, top_k, 1)},
    {IN_ENTRY(1, dim_names, SPAN(4, 0))},
    {IN_ENTRY(1, slots, 6)},
    {IN_ENTRY(2, advance[1], 4)},
    {IN_INPUT(2, 0, shape[0], (uint64_t)-5)},
    {IN_INPUT(1, 1, rank, 4)},
    {IN_INPUT(1, 1, rank, 0), IN_INPUT(1, 1, shape[0], (uint64_t)-6)},
    {IN_INPUT(1, 1, dtype, 2)},
    {IN_INPUT(1, 1, needed_by, 1)},
    {IN_BUFFER(2, 2, dim, 4)},
    {IN_BUFFER(1, 3, fixed_bytes, UINT64_MAX - 1)},
    {IN_BUFFER(1, 3, offset, 1)},
    {IN_BUFFER(1, 5, offset, 32)},
    {IN_BUFFER(1, 5, fixed_bytes, 64)},
    {IN_BUFFER(2, 1, index, 1)},
    {IN_STEP(1, 7, rows_dim, 4)},
    {IN_STEP(0, 5, rows_dim, 0)},
    {IN_BINDING(1, 9, 1, offset_bytes, 4)},
    {IN_BINDING(1, 9, 1, advance_bytes, 4)},
    {IN_BINDING(1, 9, 1, buffer, HMOE_NONE)},
    {IN_FIELD(1, 8, kernel, row_block, INT32_MAX)},
    {IN_FIELD(1, 9, kernel, groups, HMOE_NONE)},
    {IN_FIELD(1, 9, kernel, column_splits, INT32_MAX)},
    {IN_FIELD(1, 9, kernel, blocks_binding, 1)},
    {IN_FIELD(1, 8, kernel, blocks_binding, 9)}, /* of a grid that has none */
    {IN_FIELD(1, 8, kernel, grid, HMOE_GRID_DENSE)},
    {IN_FIELD(1, 1, kernel, dims.count, 0)},
    {IN_KERNEL_DIM(1, 1, 0, 4)},
    {IN_FIELD(1, 2, group, experts, INT32_MAX / 8)},
    {IN_FIELD(1, 2, group, experts, 1)},
    {IN_FIELD(1, 2, group, top_k, HMOE_TOP_K_MAX)},
    {IN_FIELD(1, 2, group, top_k, 1)},
    {IN_FIELD(1, 2, group, row_block, INT32_MAX)},
    {IN_FIELD(1, 2, group, scope_dim, 4)},
    {IN_FIELD(1, 2, group, scope_dim, HMOE_NONE)},
    {IN_FIELD(1, 2, group, past_dim, 4), IN_FIELD(1, 2, group, stride_dim, 4)},
    {IN_BINDING(1, 2, 7, buffer, WORDS), IN_FIELD(1, 2, group, past_dim, 0), IN_FIELD(1, 2, group, stride_dim, 0)},
    {IN_FIELD(1, 15, group_sets, experts, 65536)}, /* 2^31 - 2^15 sets */
    {IN_FIELD(1, 11, group_sets, experts, 1 << 20)}, /* sets that need no numbers */
    {IN_FIELD(1, 10, loop, steps, 8)},
    {IN_FIELD(1, 10, loop, chunk, INT32_MAX)},
    {IN_FIELD(1, 10, loop, chunk, 1)},
    {IN_FIELD(1, 10, loop, top_k, HMOE_TOP_K_MAX + 1)}, /* over rows: no groups */
    {IN_FIELD(1, 12, loop, chunk, INT32_MAX)},
    {IN_FIELD(1, 12, loop, groups, 1)},
    {IN_FIELD(1, 12, loop, top_k, HMOE_TOP_K_MAX)},
    {IN_FIELD(1, 12, loop, cache, 1)}, /* which it does not use */
    {IN_FIELD(1, 4, loop, generate_steps, 5)},
    {IN_FIELD(1, 4, loop, generate_steps, 1)},
    {IN_FIELD(1, 4, loop, generate_steps, 0)},
    {IN_FIELD(1, 4, loop, chunk, 8)},
    {IN_FIELD(1, 4, loop, steps, 4)},
    {IN_FIELD(1, 10, loop, kind, HMOE_LOOP_GROUPS), IN_FIELD(1, 10, loop, steps, 1), IN_FIELD(1, 10, loop, groups, 1),
     IN_BINDING(1, 10, 0, buffer, WORDS)},
    {IN_FIELD(1, 16, choose, percent, INT32_MAX)},
    {IN_FIELD(1, 16, choose, block_rows, INT32_MAX)},
    {IN_FIELD(1, 16, choose, percent, 0), IN_FIELD(1, 16, choose, block_rows, 0)},
    {IN_FIELD(1, 16, choose, row_block, INT32_MAX)},
    {IN_FIELD(1, 16, choose, groups, HMOE_NONE)},
    {IN_PACK(destination.layout, HMOE_LAYOUT_COLUMNS), IN_PACK(destination.columns, 30), IN_PACK(destination.generated_rows, 2)},
    {IN_PACK(destination.layout, HMOE_LAYOUT_COLUMNS), IN_PACK(destination.columns, 31)},
    {IN_PACK(destination.layout, HMOE_LAYOUT_VECTOR), IN_PACK(destination.columns, 64), IN_PACK(destination.generated_rows, 2)},
    {IN_FIELD(0, 1, pack, destination.between, 1)},
    {IN_FIELD(0, 1, pack, destination.columns, 31)},
    {PLANES, IN_PACK(destination.operand_rows, 64), IN_PACK(destination.first_row, 63)},
    {PLANES, IN_PACK(destination.operand_rows, 64), IN_PACK(destination.first_column, 32)},
    {TO_PLANES, IN_PACK(destination.generated_rows, 64), IN_PACK(destination.columns, 2048)},
    {IN_PACK(destination.generated_format, HMOE_FORMAT_BF16), IN_PACK(destination.generated_rows, 32),
     IN_PACK(destination.columns, 1024), IN_PACK(source.generated.count, 32), IN_PACK(source.columns.count, 1)},
    {IN_PACK(destination.format, HMOE_FORMAT_BF16), IN_PACK(destination.operand_rows, 2), IN_PACK(destination.part_rows, 1)},
    {IN_PACK(destination.format, HMOE_FORMAT_BF16), IN_PACK(destination.operand_rows, 4), IN_PACK(destination.first_row, 2)},
    {IN_PACK(destination.format, HMOE_FORMAT_BF16), IN_PACK(destination.operand_rows, 4), IN_PACK(source.parts.count, 2),
     IN_PACK(destination.part_rows, 2)},
    {IN_PACK(source.parts.count, 2), IN_PACK(destination.part_rows, 1), IN_PACK(destination.operand_rows, 2)},
    {IN_PACK(destination.first_row, 2), IN_PACK(destination.operand_rows, 3)},
    {IN_PACK(destination.first_column, 32)},
    {IN_PACK(destination.first_row, 5), IN_PACK(destination.columns, 0)}, /* nothing is written */
    {IN_PACK(destination.first_row, 5), IN_PACK(source.groups.count, 0)},
    {IN_PACK(destination.first_row, 5), IN_PACK(source.parts.count, 0)},
    {IN_PACK(destination.first_row, 5), IN_PACK(source.depth.count, 0)},
    {IN_PACK(source.offset, 1), IN_PACK(source.columns.count, 31)},
    {IN_PACK(source.groups.count, 2)}, /* of the same elements */
    {IN_PACK(source.groups.count, 2), IN_PACK(source.groups.stride, 16), IN_PACK(source.columns.count, 16)},
    {IN_PACK(source.param, 1), IN_PACK(source.columns.count, 4), IN_PACK(source.groups.count, 2),
     IN_PACK(source.groups.stride, 99)},
    {IN_PACK(destination.group_bytes, 0)},
    {IN_PACK(destination.group_bytes, 4)},
    {IN_PACK(source.param, HMOE_NONE), IN_BINDING(0, 0, 1, buffer, 0)},
    {IN_FIELD(0, 2, selections, top_k, 3), IN_FIELD(0, 2, selections, sets, 4)},
    {IN_FIELD(0, 4, relative_bias, max_distance, 3)},
    {IN_FIELD(0, 4, relative_bias, buckets, 2), IN_FIELD(0, 4, relative_bias, bidirectional, 0)},
    {IN_FIELD(0, 4, relative_bias, buckets, 3), IN_FIELD(0, 4, relative_bias, bidirectional, 0),
     IN_FIELD(0, 4, relative_bias, max_distance, 2)},
    {IN_FIELD(0, 4, relative_bias, buckets, 4)},
    {IN_FIELD(0, 4, relative_bias, max_distance, INT32_MAX)},
    {IN_FIELD(0, 4, relative_bias, heads, INT32_MAX)},
    {IN_FIELD(0, 4, relative_bias, heads, 1)},
    {IN_FIELD(0, 4, relative_bias, row_floats, INT32_MAX)},
    {IN_FIELD(0, 4, relative_bias, pad, INT32_MAX)},
    {IN_FIELD(0, 5, copy, outer.destination_stride, 0), IN_FIELD(0, 5, copy, outer.count, 1)},
    {IN_FIELD(0, 5, copy, inner.destination_stride, 0), IN_FIELD(0, 5, copy, inner.count, 1)},
    {IN_FIELD(0, 5, copy, outer.destination_stride, 0), IN_FIELD(0, 5, copy, inner.count, 0)},
    {IN_FIELD(0, 5, copy, inner.destination_stride, 0), IN_FIELD(0, 5, copy, outer.count, 0)},
    {IN_FIELD(0, 5, copy, inner.destination_stride, 0), IN_FIELD(0, 5, copy, run_bytes, 0)},
    {IN_FIELD(1, 0, ids, element_bytes, 4)},
    {IN_FIELD(1, 0, ids, limit, 1)},
    {IN_FIELD(1, 0, ids, limit, 1ull << 31)},
    {IN_FIELD(1, 0, ids, fill, 99), IN_INPUT(1, 0, fill, 99)},
    {IN_FIELD(1, 0, ids, fill, 200), IN_INPUT(1, 0, optional, 0)},
    {IN_FIELD(2, 1, append_mask, tokens.past_dim, HMOE_NONE)},
    {IN_FIELD(2, 2, positions, tokens.rows_dim, 4)},
    {IN_FIELD(2, 2, positions, tokens.stride_dim, HMOE_NONE), IN_BINDING(2, 2, 0, buffer, HMOE_NONE)},
    {IN_FIELD(2, 2, positions, limit, 1)},
    {IN_FIELD(2, 2, positions, limit, 1ull << 31)},
    {IN_FIELD(2, 3, last_rows, tokens.stride_dim, HMOE_NONE), IN_BINDING(2, 3, 0, buffer, HMOE_NONE)},
};

static void expand(const char *text, uint64_t plan_bytes, char *out, size_t size) {
  static const char *const words[] = {"PLAN", "VERSION"};
  const uint64_t numbers[] = {plan_bytes, HMOE_ABI_VERSION};
  while (*text) {
    size_t w = 0, used = 1;
    while (w < 2 && strncmp(text, words[w], strlen(words[w])) != 0) w++;
    if (w == 2) *out = *text++;
    else {
      used = (size_t)snprintf(out, size, "%llu", (unsigned long long)numbers[w]);
      text += strlen(words[w]);
    }
    assert_true(used < size);
    out += used;
    size -= used;
  }
  *out = '\0';
}

static void test_rows(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    fixture_plan *plan = make_plan();
    hmoe_plan_limits limits;
    assert_ok(hmoe_plan_check(&plan->object, &limits));
    for (int p = 0; p < PLACES; p++) damage(plan, &rows[i].places[p]);
    hmoe_status status = hmoe_plan_check(&plan->object, &limits);
    char text[512];
    expand(rows[i].text, plan->used, text, sizeof text);
    char *rest = strchr(text, '*');
    if (rest) *rest = '\0';
    if (status != HMOE_INCOMPATIBLE ||
        (rest ? strncmp(hmoe_last_error(), text, strlen(text)) : strcmp(hmoe_last_error(), text)) != 0)
      fail_msg("row %zu: expected\n%s\nfound %s\n%s", i, text, hmoe_status_string(status), status ? hmoe_last_error() : "");
    free(plan);
  }
}

static void test_taken(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
    fixture_plan *plan = make_plan();
    hmoe_plan_limits limits;
    for (int p = 0; p < PLACES; p++) damage(plan, &taken[i][p]);
    if (hmoe_plan_check(&plan->object, &limits) != HMOE_OK) fail_msg("row %zu: %s", i, hmoe_last_error());
    free(plan);
  }
}

static void check_one(const place *place, const char *text) {
  fixture_plan *plan = make_plan();
  hmoe_plan_limits limits;
  damage(plan, place);
  hmoe_status status = hmoe_plan_check(&plan->object, &limits);
  if (text) assert_fails(status, HMOE_INCOMPATIBLE, text);
  else assert_ok(status);
  free(plan);
}

/* A dimension that comes of others: of earlier ones alone. Dimension 3 of entry 1 is of each kind in turn; both its numbers are dimension 0 before. */
static void test_derived_dims(void **state) {
  (void)state;
  static const struct {
    uint32_t kind;
    bool source, factor_dim, rounds;
  } kinds[] = {
      {HMOE_DIM_SCALE, true, false, false},   {HMOE_DIM_MIN, true, false, false},    {HMOE_DIM_CONST, false, false, false},
      {HMOE_DIM_PRODUCT, true, true, false},  {HMOE_DIM_SUM, true, true, false},     {HMOE_DIM_ROUND_UP, true, false, true},
      {HMOE_DIM_CEIL_DIV, true, false, true}, {HMOE_DIM_CHUNK, false, false, false}, {HMOE_DIM_MISSING, false, false, false}};
  static const struct {
    uint32_t source;
    uint64_t factor;
  } values[] = {{2, 1}, {3, 1}, {HMOE_NONE, 1}, {0, 0}, {0, 2}, {0, 3}, {0, INT64_MAX}, {0, (uint64_t)INT64_MAX + 1}};
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
    for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
      fixture_plan *plan = make_plan();
      hmoe_plan_limits limits;
      damage(plan, &(place)IN_DIM(1, 3, kind, kinds[k].kind));
      damage(plan, &(place)IN_DIM(1, 3, source, values[v].source));
      damage(plan, &(place)IN_DIM(1, 3, factor, values[v].factor));
      char text[128] = "";
      if (kinds[k].source && values[v].source >= 3)
        snprintf(text, sizeof text, "entry 1: dim 3: source %u is not an earlier dim", values[v].source);
      else if (kinds[k].factor_dim && values[v].factor >= 3)
        snprintf(text, sizeof text, "entry 1: dim 3: factor %llu is not an earlier dim", (unsigned long long)values[v].factor);
      else if (kinds[k].rounds && values[v].factor == 0) snprintf(text, sizeof text, "entry 1: dim 3: multiples of 0");
      else if (values[v].factor > INT64_MAX) snprintf(text, sizeof text, "entry 1: dim 3: the factor overflows");
      hmoe_status status = hmoe_plan_check(&plan->object, &limits);
      if (*text) assert_fails(status, HMOE_INCOMPATIBLE, text);
      else if (status != HMOE_OK) fail_msg("kind %u, values %zu: %s", kinds[k].kind, v, hmoe_last_error());
      free(plan);
    }
  check_one(&(place)IN_DIM(1, 1, factor, UINT64_MAX), NULL); /* an input's has no meaning */
  for (uint32_t value = 0; value <= 3 * HMOE_SCOPE_COUNT; value++)
    check_one(&(place)IN_DIM(2, 3, source, value), value < 3 * HMOE_SCOPE_COUNT ? NULL : "entry 2: dim 3: value 6 of a state");
}

/* Spans end with the plan, at the latest; and it begins on 8 bytes. */
static void test_ends(void **state) {
  (void)state;
  fixture_plan *plan = make_plan();
  hmoe_plan_limits limits;
  hmoe_plan *header = (hmoe_plan *)(void *)plan->bytes;
  char text[128];
  const hmoe_plan_span name = header->name;
  for (uint32_t past = 0; past < 2; past++) {
    header->name = (hmoe_plan_span){plan->used - 5, 5 + past};
    snprintf(text, sizeof text, "entry 0: name: span [%u, +6 x 1] leaves the plan of %u bytes or is not aligned", plan->used - 5,
             plan->used);
    if (past) assert_fails(hmoe_plan_check(&plan->object, &limits), HMOE_INCOMPATIBLE, text);
    else assert_ok(hmoe_plan_check(&plan->object, &limits));
  }
  header->name = name;
  const hmoe_plan_span values = {plan->used - 8, 1}; /* the last word: 32 bytes a position */
  ((hmoe_plan_setting *)(void *)(plan->bytes + header->generation.offset))->values = values;
  assert_ok(hmoe_plan_check(&plan->object, &limits));
  ((hmoe_plan_setting *)(void *)(plan->bytes + header->generation.offset))->values.offset += 4;
  snprintf(text, sizeof text, "entry 0: start_token: span [%u, +1 x 8] leaves the plan of %u bytes or is not aligned",
           plan->used - 4, plan->used);
  assert_fails(hmoe_plan_check(&plan->object, &limits), HMOE_INCOMPATIBLE, text);
  plan->object.plan = (const hmoe_plan *)(const void *)(plan->bytes + 4);
  assert_fails(hmoe_plan_check(&plan->object, &limits), HMOE_INCOMPATIBLE, "plan: missing, too short or not aligned");
  free(plan);
}

/* Names of 255 characters, keys of 1023. */
static void test_long_keys(void **state) {
  (void)state;
  static const struct {
    uint32_t name, names; /* characters, of each of so many */
    const char *begin, *text;
  } cases[] = {{255, 1, "", NULL},
               {256, 1, "", "': a name of 256 characters"},
               {255, 4, "", NULL},
               {256, 4, "", "a key has 1027 characters, or a zero one"},
               {1024, 1, "", "a key has 1024 characters, or a zero one"},
               {1023, 1, "", "': a name of 1023 characters"},
               {127, 8, "", NULL},
               {127, 9, "", "a key has 1151 characters, or a zero one"},
               {256, 1, "first\n", "': a name of 256 characters"},
               {255, 1, "first\n", NULL}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char key[2048];
    uint32_t used = (uint32_t)snprintf(key, sizeof key, "%s", cases[i].begin);
    for (uint32_t n = 0; n < cases[i].names; n++) {
      if (n) key[used++] = '\n';
      memset(key + used, 'a', cases[i].name);
      used += cases[i].name;
    }
    key[used] = '\0';
    fixture_plan *plan = plan_create("keys");
    plan_param(plan, key, 1, SHAPE(1));
    plan_entry(plan, "open");
    hmoe_plan_limits limits;
    hmoe_status status = hmoe_plan_check(plan_finish(plan, NULL, 0), &limits);
    if (cases[i].text) assert_fails(status, HMOE_INCOMPATIBLE, cases[i].text);
    else assert_ok(status);
    if (cases[i].text && cases[i].text[0] == '\'') { /* and so much of it is told */
      char text[512];
      snprintf(text, sizeof text, "plan: key '%.255s%s", key, cases[i].text);
      assert_string_equal(hmoe_last_error(), text);
    }
    free(plan);
  }
}

/* A cache's lock is let go of between two steps: no choice spans them, be it the first thing in the loop. Of two caches the second is wrong. */
static void test_caches(void **state) {
  (void)state;
  for (uint32_t generate = 0; generate <= 5; generate++) {
    fixture_plan *plan = plan_create("caches");
    plan_cache(plan, 8, 64, 2);
    plan_cache(plan, 9, 64, 1);
    plan_entry(plan, "open");
    fixture_entry *e = plan_entry(plan, "run");
    uint32_t rows = plan_dim(e, HMOE_DIM_INPUT, 0, 0), words = plan_temporary(e, 64, 0, HMOE_NONE);
    plan_step(plan, e, HMOE_STEP_LOOP, rows, BINDINGS(AT(words)),
              FIELDS(loop, .kind = HMOE_LOOP_CACHED, .steps = 4, .chunk = 9, .groups = 3, .top_k = 1, .generate_steps = generate,
                     .cache = 1));
    plan_step(plan, e, HMOE_STEP_CHOOSE, rows, BINDINGS(AT(words)),
              FIELDS(choose, .first_steps = 1, .second_steps = 1, .row_block = 1, .groups = 1));
    for (int i = 0; i < 3; i++) plan_kernel(plan, e, 0, rows, BINDINGS(AT(words)));
    plan_finish(plan, kernels, 1);
    hmoe_plan_limits limits;
    hmoe_status status = hmoe_plan_check(&plan->object, &limits);
    if (generate == 1 || generate == 2)
      assert_fails(status, HMOE_INCOMPATIBLE, "entry 1 step 0 (loop): the choose at step 1 reaches past the generating steps");
    else if (generate == 5) assert_fails(status, HMOE_INCOMPATIBLE, "entry 1 step 0 (loop): cache 1 of 2, 5 generating steps of 4");
    else assert_ok(status);
    hmoe_plan_cache *caches = (hmoe_plan_cache *)(void *)(plan->bytes + ((hmoe_plan *)(void *)plan->bytes)->caches.offset);
    caches[1].slots = 0;
    assert_fails(hmoe_plan_check(&plan->object, &limits), HMOE_INCOMPATIBLE, "plan: cache 1: 0 slots, top_k 1");
    free(plan);
  }
}

/* What entry 0 has no names for, even where it lists some. */
static void test_opening_tensors(void **state) {
  (void)state;
  for (int side = 0; side < 2; side++) {
    fixture_plan *plan = plan_create("opening");
    fixture_entry *e = plan_entry(plan, "open");
    hmoe_plan_limits limits;
    plan_dim(e, HMOE_DIM_CONST, 0, 1);
    if (side) plan_output(plan, e, "y", 0, 4);
    else plan_input(plan, e, "x", 0, 4);
    char text[128];
    snprintf(text, sizeof text, "entry 0: buffer 0 (kind %d, index 0, dim 0) names something that is not there", side);
    assert_fails(hmoe_plan_check(plan_finish(plan, NULL, 0), &limits), HMOE_INCOMPATIBLE, text);
    free(plan);
  }
}

/* What tables of a run are made for: the most of any entry. */
static void test_limits(void **state) {
  (void)state;
  fixture_plan *plan = make_plan();
  hmoe_plan_limits limits;
  assert_ok(hmoe_plan_check(&plan->object, &limits));
  assert_int_equal(limits.dims, 5);
  assert_int_equal(limits.buffers, 6);
  assert_int_equal(limits.slots, 2);
  assert_int_equal(limits.bindings, 8);
  assert_int_equal(limits.loop_groups, 4); /* not the 7 of the loop over rows */
  damage(plan, &(place)IN_FIELD(1, 12, loop, chunk, 9));
  assert_ok(hmoe_plan_check(&plan->object, &limits));
  assert_int_equal(limits.loop_groups, 9);
  damage(plan, &(place)IN_FIELD(1, 12, loop, chunk, 3));
  damage(plan, &(place)IN_ENTRY(2, slots, 3));
  assert_ok(hmoe_plan_check(&plan->object, &limits));
  assert_int_equal(limits.loop_groups, 4);
  assert_int_equal(limits.slots, 3);
  free(plan);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows),         cmocka_unit_test(test_taken),
                                     cmocka_unit_test(test_derived_dims), cmocka_unit_test(test_ends),
                                     cmocka_unit_test(test_long_keys),    cmocka_unit_test(test_opening_tensors),
                                     cmocka_unit_test(test_limits),       cmocka_unit_test(test_caches)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
