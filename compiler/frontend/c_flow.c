/* Where control may be, and what variables hold there.
 *
 * In a region exactly one of four ways out is reached: a truth for each, constant where it is known. Only the values of a way that may be
 * reached mean anything. A statement is executed where control falls through for certain; where it is known only at run time whether it
 * does (after `if (c) break;`), what follows becomes arm 0 of a branch on that truth, and arm 1 is what has happened otherwise.
 *
 *   branch c: arm 0 | arm 1   ->   the ops of both arms, arith.select     if the ops are few and cheap, and defined for any operand
 *                                  scf.if c -> results {..} else {..}      otherwise
 *
 * A value that differs becomes a result. One that only one arm gives (the other has left) needs no choice. */
#include <string.h>

#include "frontend/c_parts.h"

enum { MAX_CHEAP_OPS = 64 };

/* ---- States ---- */

void hmoec_c_state_init(hmoec_c_state *state) {
  *state = (hmoec_c_state){0};
  for (int way = 0; way < HMOEC_C_WAYS; way++) state->exits[way].reached = hmoec_c_truth(way == HMOEC_C_FALL);
}

hmoec_c_value hmoec_c_falls(const hmoec_c_reader *reader) { return reader->frame->state.exits[HMOEC_C_FALL].reached; }

/* The only way that may be reached is. */
static void state_settle(hmoec_c_state *state) {
  int possible = 0, last = 0;
  for (int way = 0; way < HMOEC_C_WAYS; way++) {
    if (hmoec_c_is(state->exits[way].reached, false)) continue;
    possible++;
    last = way;
  }
  if (possible == 1) state->exits[last].reached = hmoec_c_truth(true);
}

static hmoec_c_value *values_copy(const hmoec_c_reader *reader, const hmoec_c_value *values, size_t count, size_t capacity) {
  return hmoec_arena_grow(reader->arena, values, count, capacity ? capacity : 1, sizeof *values);
}

void hmoec_c_go(hmoec_c_reader *reader, hmoec_c_way way, const hmoec_c_value *value) {
  hmoec_c_frame *frame = reader->frame;
  const hmoec_c_exit *fall = &frame->state.exits[HMOEC_C_FALL];
  hmoec_c_state state;
  hmoec_c_state_init(&state);
  state.exits[HMOEC_C_FALL].reached = hmoec_c_truth(false);
  state.exits[way].reached = hmoec_c_truth(true);
  if (way != HMOEC_C_RETURN) state.exits[way].values = values_copy(reader, fall->values, frame->marks[way], frame->marks[way]);
  else if (value) state.exits[way].values = values_copy(reader, value, 1, 1);
  frame->state = state;
}

void hmoec_c_land(hmoec_c_reader *reader, hmoec_c_way way) {
  hmoec_c_frame *frame = reader->frame;
  hmoec_c_exit *from = &frame->state.exits[way], *fall = &frame->state.exits[HMOEC_C_FALL];
  size_t count = frame->marks[way];
  if (hmoec_c_is(from->reached, false)) return;
  hmoec_c_value *values = values_copy(reader, from->values, count, frame->variable_capacity);
  if (!hmoec_c_is(fall->reached, false)) {
    for (size_t i = 0; i < count; i++) values[i] = hmoec_c_choose(reader, fall->reached, fall->values[i], values[i]);
    fall->reached = hmoec_c_or(reader, fall->reached, from->reached);
  } else {
    fall->reached = from->reached;
  }
  fall->values = values;
  *from = (hmoec_c_exit){.reached = hmoec_c_truth(false)};
  state_settle(&frame->state);
}

/* ---- Variables ---- */

hmoec_c_value *hmoec_c_variable_add(hmoec_c_reader *reader, CXCursor cursor, hmoec_c_type type) {
  hmoec_c_frame *frame = reader->frame;
  hmoec_c_exit *fall = &frame->state.exits[HMOEC_C_FALL];
  if (frame->variable_count == frame->variable_capacity) {
    frame->variable_capacity = 2 * frame->variable_capacity + 8;
    frame->variables = hmoec_arena_grow(reader->arena, frame->variables, frame->variable_count, frame->variable_capacity,
                                        sizeof *frame->variables);
  }
  /* Another arm may have enlarged the list of variables: the values are copied each time, which is what a declaration costs. */
  fall->values = values_copy(reader, fall->values, frame->variable_count, frame->variable_capacity);
  const char *name = hmoec_c_text(reader, clang_getCursorSpelling(cursor));
  frame->variables[frame->variable_count] = (hmoec_c_variable){.cursor = cursor, .name = name, .type = type};
  hmoec_c_value *value = &fall->values[frame->variable_count++];
  *value = (hmoec_c_value){.type = type, .kind = HMOEC_C_UNSET};
  return value;
}

size_t hmoec_c_variable_find(const hmoec_c_reader *reader, CXCursor cursor) {
  for (size_t i = reader->frame->variable_count; i; i--)
    if (clang_equalCursors(reader->frame->variables[i - 1].cursor, cursor)) return i - 1;
  return SIZE_MAX;
}

/* ---- Branches ---- */

static void branch_open(hmoec_c_reader *reader, hmoec_c_branch *branch, hmoec_c_value condition) {
  MlirValue straight;
  bool inverted = hmoec_c_is_not(condition.value, &straight);
  MlirOperationState state =
      mlirOperationStateGet(mlirStringRefCreateFromCString("scf.if"), hmoec_c_mlir_location(reader, reader->place));
  MlirRegion regions[] = {mlirRegionCreate(), mlirRegionCreate()};
  *branch = (hmoec_c_branch){.place = reader->place, .condition = condition, .outer = reader->block};
  branch->variable_count = reader->frame->variable_count;
  for (unsigned arm = 0; arm < 2; arm++) {
    branch->blocks[arm] = mlirBlockCreate(0, NULL, NULL);
    mlirRegionAppendOwnedBlock(regions[inverted ? 1 - arm : arm], branch->blocks[arm]);
  }
  mlirOperationStateAddOperands(&state, 1, inverted ? &straight : &condition.value);
  mlirOperationStateAddOwnedRegions(&state, 2, regions);
  branch->op = mlirOperationCreate(&state);
  mlirBlockAppendOwnedOperation(reader->block, branch->op);
  reader->ops++;
}

static hmoec_c_state state_fork(const hmoec_c_reader *reader) {
  hmoec_c_state state;
  hmoec_c_state_init(&state);
  state.exits[HMOEC_C_FALL].values = values_copy(reader, reader->frame->state.exits[HMOEC_C_FALL].values,
                                                 reader->frame->variable_count, reader->frame->variable_capacity);
  return state;
}

void hmoec_c_branch_begin(hmoec_c_reader *reader, hmoec_c_branch *branch, hmoec_c_value condition) {
  branch_open(reader, branch, condition);
  for (unsigned arm = 0; arm < 2; arm++) branch->arms[arm] = state_fork(reader);
}

void hmoec_c_branch_begin_guard(hmoec_c_reader *reader, hmoec_c_branch *branch) {
  branch_open(reader, branch, hmoec_c_falls(reader));
  branch->arms[0] = state_fork(reader);
  branch->arms[1] = reader->frame->state;
  branch->arms[1].exits[HMOEC_C_FALL] = (hmoec_c_exit){.reached = hmoec_c_truth(false)};
  state_settle(&branch->arms[1]);
}

void hmoec_c_branch_enter(hmoec_c_reader *reader, hmoec_c_branch *branch, unsigned arm) {
  reader->frame->state = branch->arms[arm];
  reader->block = branch->blocks[arm];
}

void hmoec_c_branch_leave(hmoec_c_reader *reader, hmoec_c_branch *branch, unsigned arm) {
  branch->arms[arm] = reader->frame->state;
  reader->frame->variable_count = branch->variable_count;
  reader->block = branch->outer;
}

/* ---- Joining two arms ---- */

/* What becomes of a value of each arm. */
typedef struct joined_value {
  hmoec_c_value values[2];
  bool wanted[2];        /* false: this arm's does not matter */
  hmoec_c_value *out;
  intptr_t result;       /* of scf.if, or -1 */
} joined_value;

typedef struct joining {
  joined_value *values;
  size_t count;
} joining;

static void joining_add(joining *all, const hmoec_c_value *first, const hmoec_c_value *second, hmoec_c_value *out) {
  joined_value *added = &all->values[all->count++];
  *added = (joined_value){.wanted = {first != NULL, second != NULL}, .out = out, .result = -1};
  if (first) added->values[0] = *first;
  if (second) added->values[1] = *second;
}

/* Arithmetic, but what gives no value for some operands (an out-of-range fptosi or shift), and remainders, which are calls; and of
 * math what is an instruction. */
static bool is_cheap_op(MlirStringRef name) {
  static const char *const costly[] = {"arith.remf", "arith.fptosi", "arith.fptoui", "arith.shli", "arith.shrsi", "arith.shrui"};
  static const char *const cheap[] = {"math.absf", "math.copysign", "math.fma",       "math.sqrt",
                                      "math.ceil", "math.floor",    "math.roundeven", "math.trunc"};
  static const char arith[] = "arith.";
  bool is_arith = name.length >= sizeof arith - 1 && memcmp(name.data, arith, sizeof arith - 1) == 0;
  const char *const *listed = is_arith ? costly : cheap;
  size_t count = is_arith ? sizeof costly / sizeof *costly : sizeof cheap / sizeof *cheap;
  for (size_t i = 0; i < count; i++)
    if (mlirStringRefEqual(name, mlirStringRefCreateFromCString(listed[i]))) return !is_arith;
  return is_arith;
}

static bool is_cheap(MlirBlock block, unsigned *count) {
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op))
    if (++*count > MAX_CHEAP_OPS || !is_cheap_op(mlirIdentifierStr(mlirOperationGetName(op)))) return false;
  return true;
}

static bool is_set(hmoec_c_value value) { return value.kind != HMOEC_C_UNSET && value.kind != HMOEC_C_PERHAPS; }

static bool is_inside(hmoec_c_value value, MlirBlock block) {
  if (value.kind != HMOEC_C_TRUTH && value.kind != HMOEC_C_RUNTIME) return false;
  if (!mlirValueIsAOpResult(value.value)) return false;
  return mlirBlockEqual(mlirOperationGetBlock(mlirOpResultGetOwner(value.value)), block);
}

static void join_chosen(hmoec_c_reader *reader, const hmoec_c_branch *branch, joined_value *value) {
  if (!value->wanted[0] || !value->wanted[1]) *value->out = value->values[value->wanted[0] ? 0 : 1];
  else *value->out = hmoec_c_choose(reader, branch->condition, value->values[0], value->values[1]);
}

/* Makes it a result of scf.if if an arm defines it. */
static void join_as_result(const hmoec_c_branch *branch, joined_value *value) {
  bool needed = false;
  for (int arm = 0; arm < 2; arm++)
    needed |= value->wanted[arm] && is_set(value->values[arm]) && is_inside(value->values[arm], branch->blocks[arm]);
  for (int arm = 0; arm < 2; arm++) needed &= !value->wanted[arm] || is_set(value->values[arm]);
  if (!needed) return;
  for (int arm = 0; arm < 2; arm++)
    if (!value->wanted[arm]) {
      hmoec_c_type type = value->values[1 - arm].type;
      value->values[arm] = type.class == HMOEC_C_INTEGER ? hmoec_c_integer(type, 0) : hmoec_c_floating(type, 0);
    }
  value->result = 0;
}

/* The branch's op again, now with results. */
static void join_results(hmoec_c_reader *reader, hmoec_c_branch *branch, joining *all) {
  MlirValue *yields[2];
  MlirType *types = hmoec_arena_alloc_array(reader->arena, all->count, sizeof *types);
  bool *truths = hmoec_arena_alloc_array(reader->arena, all->count, sizeof *truths);
  intptr_t count = 0;
  for (int arm = 0; arm < 2; arm++) yields[arm] = hmoec_arena_alloc_array(reader->arena, all->count, sizeof **yields);
  for (size_t i = 0; i < all->count; i++) {
    joined_value *value = &all->values[i];
    if (value->result < 0) continue;
    /* Two ways often carry the same variable. */
    size_t same = 0;
    while (same < i && !(all->values[same].result >= 0 && hmoec_c_same(all->values[same].values[0], value->values[0]) &&
                         hmoec_c_same(all->values[same].values[1], value->values[1])))
      same++;
    if (same < i) {
      value->result = all->values[same].result;
      continue;
    }
    truths[count] = hmoec_c_is_truth(value->values[0]) && hmoec_c_is_truth(value->values[1]);
    for (int arm = 0; arm < 2; arm++) {
      hmoec_c_value yielded = value->values[arm];
      if (truths[count]) yielded.type = hmoec_c_bool;
      reader->block = branch->blocks[arm];
      yields[arm][count] = hmoec_c_materialize(reader, yielded);
    }
    types[count] = mlirValueGetType(yields[0][count]);
    value->result = count++;
  }
  reader->block = branch->outer;
  if (count == 0) {
    mlirOperationDestroy(branch->op);
    return;
  }
  MlirLocation location = mlirOperationGetLocation(branch->op);
  MlirOperationState state = mlirOperationStateGet(mlirStringRefCreateFromCString("scf.if"), location);
  MlirValue condition = mlirOperationGetOperand(branch->op, 0);
  MlirRegion regions[] = {mlirRegionCreate(), mlirRegionCreate()};
  for (int arm = 0; arm < 2; arm++) {
    MlirOperationState yield = mlirOperationStateGet(mlirStringRefCreateFromCString("scf.yield"), location);
    mlirOperationStateAddOperands(&yield, count, yields[arm]);
    mlirBlockAppendOwnedOperation(branch->blocks[arm], mlirOperationCreate(&yield));
  }
  mlirOperationStateAddOperands(&state, 1, &condition);
  mlirOperationStateAddResults(&state, count, types);
  mlirOperationStateAddOwnedRegions(&state, 2, regions);
  MlirOperation op = mlirOperationCreate(&state);
  mlirBlockAppendOwnedOperation(branch->outer, op);
  for (int i = 0; i < 2; i++) mlirRegionTakeBody(mlirOperationGetRegion(op, i), mlirOperationGetRegion(branch->op, i));
  mlirOperationDestroy(branch->op);
  for (size_t i = 0; i < all->count; i++) {
    joined_value *value = &all->values[i];
    if (value->result < 0) continue;
    MlirValue result = mlirOperationGetResult(op, value->result);
    hmoec_c_type type = value->values[0].type;
    *value->out = truths[value->result] ? hmoec_c_of_truth(type, result) : hmoec_c_runtime(type, result);
  }
}

static void join(hmoec_c_reader *reader, hmoec_c_branch *branch, joining *all) {
  unsigned cheap = 0;
  if (is_cheap(branch->blocks[0], &cheap) && is_cheap(branch->blocks[1], &cheap)) {
    for (int arm = 0; arm < 2; arm++) {
      MlirOperation op = mlirBlockGetFirstOperation(branch->blocks[arm]);
      while (!mlirOperationIsNull(op)) {
        MlirOperation next = mlirOperationGetNextInBlock(op);
        mlirOperationMoveBefore(op, branch->op);
        op = next;
      }
    }
    mlirOperationDestroy(branch->op);
  } else {
    for (size_t i = 0; i < all->count; i++) join_as_result(branch, &all->values[i]);
    join_results(reader, branch, all);
  }
  for (size_t i = 0; i < all->count; i++)
    if (all->values[i].result < 0) join_chosen(reader, branch, &all->values[i]);
}

void hmoec_c_branch_end(hmoec_c_reader *reader, hmoec_c_branch *branch, const hmoec_c_value *values, hmoec_c_value *out_value) {
  hmoec_c_frame *frame = reader->frame;
  size_t counts[HMOEC_C_WAYS] = {branch->variable_count, frame->marks[HMOEC_C_BREAK], frame->marks[HMOEC_C_CONTINUE],
                                 frame->result.class != HMOEC_C_VOID};
  size_t most = 1;
  for (int way = 0; way < HMOEC_C_WAYS; way++) most += 1 + counts[way];
  joining all = {.values = hmoec_arena_alloc_array(reader->arena, most, sizeof *all.values)};
  hmoec_c_state state;
  hmoec_c_state_init(&state);
  for (int way = 0; way < HMOEC_C_WAYS; way++) {
    hmoec_c_exit *exits[] = {&branch->arms[0].exits[way], &branch->arms[1].exits[way]}, *out = &state.exits[way];
    bool first = !hmoec_c_is(exits[0]->reached, false), second = !hmoec_c_is(exits[1]->reached, false);
    joining_add(&all, &exits[0]->reached, &exits[1]->reached, &out->reached);
    if (!first && !second) continue;
    out->values = values_copy(reader, NULL, 0, way == HMOEC_C_FALL ? frame->variable_capacity : counts[way]);
    for (size_t i = 0; i < counts[way]; i++)
      joining_add(&all, first ? &exits[0]->values[i] : NULL, second ? &exits[1]->values[i] : NULL, &out->values[i]);
  }
  if (values) joining_add(&all, &values[0], &values[1], out_value);
  reader->place = branch->place;
  join(reader, branch, &all);
  state_settle(&state);
  frame->state = state;
}
