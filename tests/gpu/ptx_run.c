/* Warps: who runs next, where lanes part and meet again, barriers, and what lanes tell each other.
 *
 * A warp has groups of lanes, each at an instruction. The group at the lowest one runs first, so that lanes that parted meet where their ways join; lanes
 * that have found in vain what they wait for give way to the others. A warp runs for a random number of instructions, then a random one of the cluster's
 * goes on; asynchronous copies complete in between. When every warp has been visited several times and nothing has happened that anyone could wait
 * for, the report names the places of all. */
#include "ptx_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { QUANTUM = 400, IDLE_VISITS = 3, MOST_SPINS = 8, MOST_SHARED_BYTES = 227 * 1024, MBARRIERS = 128 };

/* ---- failing ---- */

static void describe(const ptx_warp *warp, uint32_t pc, char *out, size_t size) {
  const ptx_module *module = warp->state->module;
  const ptx_instruction *instruction = &warp->state->kernel->code[pc];
  uint32_t line, column;
  ptx_place(module->text, module->size, instruction->at, &line, &column);
  char text[120];
  size_t used = 0;
  bool space = false;
  for (uint32_t i = 0; i < instruction->size && used + 2 < sizeof text; i++) {
    char c = module->text[instruction->at + i];
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
      space = used > 0;
      continue;
    }
    if (space) text[used++] = ' ';
    space = false;
    text[used++] = c;
  }
  text[used] = '\0';
  snprintf(out, size, "line %u: %s", line, text);
}

static _Noreturn void leave(ptx_launch_state *state, ptx_kind kind, const ptx_warp *warp, const char *format, va_list arguments) {
  ptx_report *report = state->report;
  *report = (ptx_report){.kind = kind};
  int used = 0;
  if (warp) {
    char place[256];
    ptx_place(state->module->text, state->module->size, state->kernel->code[warp->pc].at, &report->line, &report->column);
    describe(warp, warp->pc, place, sizeof place);
    used = snprintf(report->text, sizeof report->text, "%u:%u: %s: block (%u, %u, %u) warp %u: ", report->line, report->column,
                    state->kernel->name, warp->cta->id[0], warp->cta->id[1], warp->cta->id[2], warp->index);
    used += vsnprintf(report->text + used, sizeof report->text - (size_t)used - 300, format, arguments);
    if (used > (int)sizeof report->text - 300) used = (int)sizeof report->text - 300;
    snprintf(report->text + used, sizeof report->text - (size_t)used, "\n  %s", place);
  } else vsnprintf(report->text, sizeof report->text, format, arguments);
  longjmp(state->on_error, 1);
}

void ptx_fail(ptx_warp *warp, ptx_kind kind, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  leave(warp->state, kind, warp, format, arguments);
}

void ptx_state_fail(ptx_launch_state *state, ptx_kind kind, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  leave(state, kind, NULL, format, arguments);
}

void *ptx_state_allocate(ptx_launch_state *state, size_t bytes) {
  void *memory = ptx_arena_allocate(&state->arena, bytes ? bytes : 1);
  if (!memory) ptx_state_fail(state, PTX_MEMORY, "no memory left for the launch");
  return memory;
}

void *ptx_state_grow(ptx_launch_state *state, void *old, uint32_t count, uint32_t *room, size_t item_bytes) {
  if (count < *room) return old;
  uint32_t more = *room ? *room * 2 : 16;
  void *fresh = ptx_state_allocate(state, more * item_bytes);
  if (count) memcpy(fresh, old, count * item_bytes);
  *room = more;
  return fresh;
}

uint32_t ptx_random(ptx_launch_state *state, uint32_t below) {
  state->random ^= state->random << 13;
  state->random ^= state->random >> 7;
  state->random ^= state->random << 17;
  return (uint32_t)((state->random >> 32) * below >> 32);
}

/* Everything at a place, for deadlocks and endless launches. */
static void places(ptx_launch_state *state, char *text, size_t size) {
  size_t used = 0;
  static const char *const reasons[] = {"",
                                        " (waits for lanes of its warp)",
                                        " (waits at a barrier)",
                                        " (waits for the cluster)",
                                        " (waits for a group to complete)",
                                        " (waits for registers)"};
  for (uint32_t i = 0; i < state->live && used + 220 < size; i++) {
    const ptx_warp *warp = state->schedule[i];
    for (uint32_t g = 0; g < warp->group_count && used + 220 < size; g++) {
      char place[256], lanes[32] = "", block[64] = "";
      describe(warp, warp->groups[g].pc, place, sizeof place);
      if (warp->groups[g].lanes != ALL_LANES) snprintf(lanes, sizeof lanes, " lanes %#x", warp->groups[g].lanes);
      if (state->cluster_size > 1) snprintf(block, sizeof block, "block %u of the cluster ", warp->cta->rank);
      used += (size_t)snprintf(text + used, size - used, "\n  %swarp %u%s at %.110s%s", block, warp->index, lanes, place,
                               reasons[warp->waits]);
    }
  }
  ptx_mbarrier_report(state, text + used, size - used);
}

/* ---- registers ---- */

static void special_lanes(ptx_warp *warp, int special, uint64_t *out) {
  const ptx_cta *cta = warp->cta;
  const ptx_launch_state *state = warp->state;
  const ptx_launch *launch = state->launch;
  uint64_t value = 0;
  EACH_LANE(l) {
    uint32_t thread = warp->index * LANES + (uint32_t)l, bx = launch->block[0], by = launch->block[1];
    switch (special) {
    case 0: value = thread % bx; break;
    case 1: value = thread / bx % by; break;
    case 2: value = thread / (bx * by); break;
    case 3:
    case 4:
    case 5: value = launch->block[special - 3]; break;
    case 6:
    case 7:
    case 8: value = cta->id[special - 6]; break;
    case 9:
    case 10:
    case 11: value = launch->grid[special - 9]; break;
    case 12: value = (uint64_t)l; break;
    case 13: value = warp->index; break;
    case 14: value = state->warps; break;
    case 15: value = UINT64_C(1) << l; break;
    case 16: value = (UINT64_C(1) << l) - 1; break;
    case 17: value = (UINT64_C(2) << l) - 1; break;
    case 18: value = ALL_LANES & ~((UINT64_C(2) << l) - 1); break;
    case 19: value = ALL_LANES & ~((UINT64_C(1) << l) - 1); break;
    case 20:
    case 21:
    case 22:
    case 45: value = state->instructions; break;
    case 44: value = state->instructions >> 32; break;
    case 23: value = launch->shared_bytes; break;
    case 24: value = state->shared_bytes; break;
    case 26: value = 1; break;
    case 28: value = cta->rank; break;
    case 29: value = state->cluster_size; break;
    case 30:
    case 31:
    case 32: value = cta->id[special - 30] % state->cluster[special - 30]; break;
    case 33:
    case 34:
    case 35: value = state->cluster[special - 33]; break;
    case 36:
    case 37:
    case 38: value = cta->id[special - 36] / state->cluster[special - 36]; break;
    case 39:
    case 40:
    case 41: value = launch->grid[special - 39] / state->cluster[special - 39]; break;
    case 42: value = state->cluster_size > 1; break;
    case 43: value = LANES; break;
    default: value = 0; break;
    }
    out[l] = value;
  }
}

static _Noreturn void bad_read(ptx_warp *warp, int32_t reg, uint32_t active) {
  if (warp->tags[reg])
    ptx_fail(warp, PTX_ACCUMULATOR, "a register is read that belongs to a wgmma in flight: no wgmma.wait_group yet");
  uint32_t missing = active & ~warp->defined[reg];
  ptx_fail(warp, PTX_REGISTER, "lane %d reads a register that was never written", __builtin_ctz(missing));
}

static inline void check_read(ptx_warp *warp, int32_t reg, uint32_t active) {
  if ((active & ~warp->defined[reg]) | warp->tags[reg]) bad_read(warp, reg, active);
}

const void *ptx_fetch(ptx_warp *warp, const ptx_source *source, uint32_t active, unsigned slot) {
  if (source->constant) return source->constant;
  if (source->reg >= 0) {
    if (active) check_read(warp, source->reg, active);
    const uint8_t *in = warp->file + source->offset;
    if (source->register_bytes == source->bytes) return in;
    uint8_t *out = warp->scratch[slot];
    unsigned from = source->register_bytes, to = source->bytes;
    for (unsigned l = 0; l < LANES; l++) memcpy(out + l * to, in + l * from, to);
    return out;
  }
  alignas(64) uint64_t wide[LANES];
  special_lanes(warp, source->special, wide);
  uint8_t *out = warp->scratch[slot];
  for (unsigned l = 0; l < LANES; l++) memcpy(out + l * source->bytes, &wide[l], source->bytes);
  return out;
}

uint32_t ptx_fetch_mask(ptx_warp *warp, const ptx_source *source, uint32_t active) {
  uint32_t mask;
  if (source->constant) memcpy(&mask, source->constant, 4);
  else {
    check_read(warp, source->reg, active);
    memcpy(&mask, warp->file + source->offset, 4);
  }
  return source->negated ? ~mask : mask;
}

uint32_t ptx_fetch_uniform(ptx_warp *warp, const ptx_source *source, uint32_t active) {
  const uint32_t *lanes = ptx_fetch(warp, source, active, 3);
  return lanes[__builtin_ctz(active)];
}

uint8_t *ptx_claim(ptx_warp *warp, const ptx_target *target, uint32_t active) {
  int32_t reg = target->reg;
  if (warp->tags[reg])
    ptx_fail(warp, PTX_ACCUMULATOR, "a register is written that belongs to a wgmma in flight: no wgmma.wait_group yet");
  warp->defined[reg] |= active;
  warp->dirty[reg] = 1;
  return warp->file + target->offset;
}

void ptx_put(ptx_warp *warp, const ptx_target *target, uint32_t active, const void *lanes, unsigned bytes, bool is_signed) {
  if (target->reg < 0) return;
  uint8_t *out = ptx_claim(warp, target, active);
  const uint8_t *in = lanes;
  unsigned to = target->register_bytes;
  if (to == bytes && active == ALL_LANES) memmove(out, in, bytes * LANES);
  else if (to == bytes && bytes == 4) {
    uint32_t *r = (uint32_t *)(void *)out;
    const uint32_t *v = (const uint32_t *)lanes;
    EACH_LANE(l) r[l] = active >> l & 1 ? v[l] : r[l];
  } else if (to == bytes && bytes == 8) {
    uint64_t *r = (uint64_t *)(void *)out;
    const uint64_t *v = (const uint64_t *)lanes;
    EACH_LANE(l) r[l] = active >> l & 1 ? v[l] : r[l];
  } else EACH_ACTIVE(l, active) {
      uint64_t value = 0;
      memcpy(&value, in + l * bytes, bytes);
      if (is_signed && bytes < 8) value = (uint64_t)((int64_t)(value << (64 - 8 * bytes)) >> (64 - 8 * bytes));
      memcpy(out + l * to, &value, to);
    }
}

void ptx_put_mask(ptx_warp *warp, const ptx_target *target, uint32_t active, uint32_t mask) {
  if (target->reg < 0) return;
  uint8_t *out = ptx_claim(warp, target, active);
  uint32_t old;
  memcpy(&old, out, 4);
  old = (old & ~active) | (mask & active);
  memcpy(out, &old, 4);
}

void ptx_addresses(ptx_warp *warp, const ptx_address *address, uint32_t active, unsigned slot, uint64_t *out) {
  if (address->base.reg < 0) {
    EACH_LANE(l) out[l] = (uint64_t)address->offset;
    return;
  }
  const void *base = ptx_fetch(warp, &address->base, active, slot);
  if (address->base.bytes == 8) EACH_LANE(l) out[l] = ((const uint64_t *)base)[l] + (uint64_t)address->offset;
  else EACH_LANE(l) out[l] = (uint32_t)(((const uint32_t *)base)[l] + (uint32_t)address->offset);
}

/* ---- clocks ---- */

void ptx_tick(ptx_warp *warp) { warp->clock[warp->agent]++; }
static bool are_all(const ptx_warp *warp, uint32_t lanes) { return !(warp->began & ~lanes); }

static void make_learnt(ptx_warp *warp) {
  if (!warp->learnt) warp->learnt = ptx_state_allocate(warp->state, LANES * sizeof *warp->learnt);
}

void ptx_meet(ptx_warp *warp, uint32_t lanes) {
  if (are_all(warp, lanes)) {
    warp->met = ++warp->clock[warp->agent];
    return;
  }
  make_learnt(warp);
  warp->some_met = ++warp->clock[warp->agent];
  uint32_t all[LANES] = {0};
  EACH_ACTIVE(l, lanes) EACH_LANE(m) all[m] = warp->learnt[l][m] > all[m] ? warp->learnt[l][m] : all[m];
  for (uint32_t m = 0; m < LANES; m++)
    if (lanes >> m & 1) all[m] = warp->some_met;
  for (uint32_t l = 0; l < LANES; l++)
    if (lanes >> l & 1) memcpy(warp->learnt[l], all, sizeof all);
}

void ptx_learn(ptx_warp *warp, uint32_t lanes, const uint32_t until[LANES]) {
  uint32_t least = UINT32_MAX, most = 0;
  EACH_ACTIVE(m, warp->began) {
    least = until[m] < least ? until[m] : least;
    most = until[m] > most ? until[m] : most;
  }
  if (least > warp->some_met) warp->some_met = least;
  if (are_all(warp, lanes) && least > warp->met) warp->met = least;
  if (most <= warp->met) return;
  make_learnt(warp);
  EACH_ACTIVE(l, lanes) EACH_LANE(m) if (until[m] > warp->learnt[l][m]) warp->learnt[l][m] = until[m];
}

void ptx_join(ptx_launch_state *state, uint32_t *into, const uint32_t *from) {
  for (uint32_t i = 0; i < state->agents; i++)
    if (from[i] > into[i]) into[i] = from[i];
}

bool ptx_converged(ptx_warp *warp, uint32_t active, uint32_t needed) {
  if (!(needed & warp->alive & ~active)) return true;
  warp->waits = WAIT_LANES;
  return false;
}

/* ---- control ---- */

static ptx_step run_bra(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  (void)warp, (void)instruction, (void)active;
  return STEP_JUMP;
}
static void bind_bra(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  ptx_take(statement, "uni");
  ptx_want_operands(parser, statement, 1, 1);
  if (statement->operands[0].kind != OPERAND_LABEL) ptx_parse_fail(parser, statement->operands[0].at, "expected a label");
  out->jump = (uint32_t)statement->operands[0].value;
  out->run = run_bra;
}
static ptx_step run_exit(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  (void)instruction;
  if (active & warp->early)
    ptx_fail(warp, PTX_EARLY, "lane %d of a dependent launch ends without griddepcontrol.wait",
             __builtin_ctz(active & warp->early));
  return STEP_EXIT;
}
static void bind_exit(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  ptx_take(statement, "uni");
  ptx_want_operands(parser, statement, 0, 0);
  out->is_event = true;
  out->run = run_exit;
}
static ptx_step run_trap(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  (void)instruction, (void)active;
  ptx_fail(warp, PTX_TRAP, "trap");
}
static void bind_trap(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  ptx_want_operands(parser, statement, 0, 0);
  out->run = run_trap;
}
static ptx_step run_call(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  (void)instruction, (void)active;
  ptx_fail(warp, PTX_TRAP, "functions are not known here");
}
static void bind_call(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  (void)parser;
  ptx_take(statement, "uni");
  out->run = run_call;
}
static ptx_step run_nothing(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  (void)warp, (void)active;
  return instruction->extra.a ? STEP_SPIN : STEP_NEXT;
}
static void bind_nanosleep(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  ptx_take(statement, "u32");
  ptx_want_operands(parser, statement, 1, 1);
  out->extra.a = 1;
  out->run = run_nothing;
}
/* Launches follow each other here: who waits for the launch before has only said so. */
static ptx_step run_wait_for_launch(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  (void)instruction;
  warp->early &= ~active;
  return STEP_NEXT;
}
static ptx_step run_let_next_begin(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  (void)instruction;
  ptx_device *device = warp->state->module->device;
  if (warp->early & active) device->hasty[device->serial] = true;
  return STEP_NEXT;
}
static void bind_griddepcontrol(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  bool waits = ptx_take(statement, "wait");
  if (!waits && !ptx_take(statement, "launch_dependents"))
    ptx_parse_fail(parser, statement->at, "'%s' is not known here", statement->name);
  ptx_want_operands(parser, statement, 0, 0);
  out->run = waits ? run_wait_for_launch : run_let_next_begin;
}

/* ---- barriers of a block ---- */

/* WAIT until the turn that the warp arrived in is over. */
static ptx_step barrier(ptx_warp *warp, uint32_t id, uint32_t count, bool only_arrives) {
  ptx_launch_state *state = warp->state;
  ptx_barrier *bar = &warp->cta->barriers[id];
  if (warp->in_barrier && warp->barrier == id) {
    if (bar->turn == warp->barrier_turn) return warp->waits = WAIT_BARRIER, STEP_BLOCKED;
    ptx_join(state, warp->clock, bar->released);
    ptx_meet(warp, ALL_LANES);
    warp->in_barrier = false;
    return STEP_NEXT;
  }
  if (!bar->gathered) {
    bar->gathered = ptx_state_allocate(state, state->agents * sizeof(uint32_t));
    bar->released = ptx_state_allocate(state, state->agents * sizeof(uint32_t));
  }
  if (bar->arrived && bar->expected != count)
    ptx_fail(warp, PTX_BARRIER, "barrier %u: %u threads expected here, %u by those who came first", id, count, bar->expected);
  bar->expected = count;
  bar->arrived += LANES; /* a warp counts whole */
  ptx_join(state, bar->gathered, warp->clock);
  ptx_tick(warp);
  state->events++;
  if (bar->arrived > count)
    ptx_fail(warp, PTX_BARRIER, "barrier %u: %u threads arrive where %u are expected", id, bar->arrived, count);
  uint64_t turn = bar->turn;
  if (bar->arrived == count) {
    uint32_t *kept = bar->released;
    bar->released = bar->gathered;
    bar->gathered = kept;
    memset(kept, 0, state->agents * sizeof(uint32_t));
    bar->turn++;
    bar->arrived = 0;
  }
  if (only_arrives) return STEP_NEXT;
  warp->in_barrier = true;
  warp->barrier = id;
  warp->barrier_turn = turn;
  return barrier(warp, id, count, false);
}

static ptx_step run_bar(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  if (!ptx_converged(warp, active, ALL_LANES)) return STEP_BLOCKED;
  uint32_t id = ptx_fetch_uniform(warp, &instruction->sources[0], active), count = warp->state->warps * LANES;
  if (instruction->source_count > 1) count = ptx_fetch_uniform(warp, &instruction->sources[1], active);
  if (id > 15) ptx_fail(warp, PTX_BARRIER, "there are 16 barriers, found number %u", id);
  if (!count || count % LANES || count > 1024)
    ptx_fail(warp, PTX_BARRIER, "a barrier of %u threads: expected a multiple of 32", count);
  return barrier(warp, id, count, instruction->extra.a);
}
static ptx_step run_bar_warp(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  uint32_t mask = ptx_fetch_uniform(warp, &instruction->sources[0], active);
  if (active & ~mask) ptx_fail(warp, PTX_DIVERGENCE, "a lane that is not in the mask %#x comes to bar.warp.sync", mask);
  if (!ptx_converged(warp, active, mask)) return STEP_BLOCKED;
  ptx_meet(warp, mask);
  return STEP_NEXT;
}
static ptx_step run_cluster_arrive(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  (void)instruction;
  ptx_launch_state *state = warp->state;
  ptx_barrier *bar = &state->cluster_barrier;
  if (!ptx_converged(warp, active, ALL_LANES)) return STEP_BLOCKED;
  if (warp->in_cluster) ptx_fail(warp, PTX_BARRIER, "barrier.cluster.arrive for the second time without a wait");
  if (!bar->gathered) {
    bar->gathered = ptx_state_allocate(state, state->agents * sizeof(uint32_t));
    bar->released = ptx_state_allocate(state, state->agents * sizeof(uint32_t));
  }
  if (!instruction->extra.a) { /* .relaxed orders nothing */
    ptx_join(state, bar->gathered, warp->clock);
    warp->init_fence = warp->clock[warp->agent];
  }
  ptx_tick(warp);
  warp->in_cluster = true;
  warp->cluster_turn = bar->turn;
  if (++bar->arrived == state->warps * state->cluster_size) {
    uint32_t *kept = bar->released;
    bar->released = bar->gathered;
    bar->gathered = kept;
    memset(kept, 0, state->agents * sizeof(uint32_t));
    bar->turn++;
    bar->arrived = 0;
  }
  return STEP_NEXT;
}
static ptx_step run_cluster_wait(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  (void)instruction;
  if (!ptx_converged(warp, active, ALL_LANES)) return STEP_BLOCKED;
  if (!warp->in_cluster) ptx_fail(warp, PTX_BARRIER, "barrier.cluster.wait without an arrive");
  if (warp->state->cluster_barrier.turn == warp->cluster_turn) return warp->waits = WAIT_CLUSTER, STEP_BLOCKED;
  ptx_join(warp->state, warp->clock, warp->state->cluster_barrier.released);
  ptx_meet(warp, ALL_LANES);
  warp->in_cluster = false;
  return STEP_NEXT;
}

static void bind_bar(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  ptx_take(statement, "aligned");
  ptx_take(statement, "cta");
  out->sources = ptx_parse_allocate(parser, 2 * sizeof *out->sources);
  out->is_event = false;
  if (ptx_take(statement, "cluster")) {
    bool arrives = ptx_take(statement, "arrive");
    if (!arrives && !ptx_take(statement, "wait")) ptx_parse_fail(parser, statement->at, "'%s' is not known here", statement->name);
    out->extra.a = ptx_take(statement, "relaxed");
    ptx_take(statement, "release"), ptx_take(statement, "acquire");
    out->is_event = arrives;
    out->run = arrives ? run_cluster_arrive : run_cluster_wait;
    return;
  }
  if (ptx_take(statement, "warp")) {
    ptx_take(statement, "sync");
    ptx_want_operands(parser, statement, 1, 1);
    ptx_bind_source(parser, statement->operands, T_U32, out->sources);
    out->run = run_bar_warp;
    return;
  }
  out->extra.a = ptx_take(statement, "arrive");
  if (!out->extra.a && !ptx_take(statement, "sync"))
    ptx_parse_fail(parser, statement->at, "'%s' is not known here", statement->name);
  ptx_want_operands(parser, statement, out->extra.a ? 2 : 1, 2);
  out->source_count = (uint8_t)statement->operand_count;
  for (unsigned i = 0; i < out->source_count; i++) ptx_bind_source(parser, &statement->operands[i], T_U32, &out->sources[i]);
  out->run = run_bar;
}

/* ---- lanes to lanes ---- */

/* False: others of the mask have still to come. */
static bool gathered(ptx_warp *warp, const ptx_source *source, uint32_t active, uint32_t *out_mask) {
  const uint32_t *masks = ptx_fetch(warp, source, active, 3);
  uint32_t mask = masks[__builtin_ctz(active)];
  EACH_ACTIVE(l, active)
  if (masks[l] != mask || !(mask >> l & 1))
    ptx_fail(warp, PTX_DIVERGENCE, "lane %u has the mask %#x: expected the same in all lanes that take part, with themselves in it",
             l, masks[l]);
  *out_mask = mask & warp->alive;
  return ptx_converged(warp, active, mask);
}

static ptx_step run_shfl(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  uint32_t mask;
  if (!gathered(warp, &instruction->sources[3], active, &mask)) return STEP_BLOCKED;
  const uint32_t *value = ptx_fetch(warp, &instruction->sources[0], active, 0),
                 *by = ptx_fetch(warp, &instruction->sources[1], active, 1),
                 *clamps = ptx_fetch(warp, &instruction->sources[2], active, 2);
  uint32_t *out = (uint32_t *)(void *)warp->scratch[4], inside = 0;
  EACH_LANE(l) {
    out[l] = 0;
    if (!(active >> l & 1)) continue;
    int b = (int)(by[l] & 31), clamp = (int)(clamps[l] & 31), segment = (int)(clamps[l] >> 8 & 31), from, least = l & segment,
        most = least | (clamp & ~segment);
    bool ok;
    switch (instruction->extra.a) {
    case 0: from = l - b, ok = from >= most; break; /* up: the clamp is the least lane */
    case 1: from = l + b, ok = from <= most; break;
    case 2: from = l ^ b, ok = from <= most; break;
    default: from = least | (b & ~segment), ok = from <= most; break;
    }
    if (!ok) from = l;
    if (!(mask >> from & 1))
      ptx_fail(warp, PTX_DIVERGENCE, "lane %d takes from lane %d, which is not in the mask or has ended", l, from);
    out[l] = value[from];
    inside |= (uint32_t)ok << l;
  }
  ptx_put(warp, &instruction->targets[0], active, out, 4, false);
  if (instruction->target_count > 1) ptx_put_mask(warp, &instruction->targets[1], active, inside);
  return STEP_NEXT;
}
static void bind_shfl(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  static const char *const modes[] = {"up", "down", "bfly", "idx", NULL};
  bool sync = ptx_take(statement, "sync");
  int mode = ptx_take_one(statement, modes);
  if (!sync || mode == NONE || !ptx_take(statement, "b32"))
    ptx_parse_fail(parser, statement->at, "'%s' is not known here", statement->name);
  ptx_want_operands(parser, statement, 5, 5);
  const ptx_operand *target = statement->operands;
  out->extra.a = mode;
  out->targets = ptx_parse_allocate(parser, 2 * sizeof *out->targets);
  out->sources = ptx_parse_allocate(parser, 4 * sizeof *out->sources);
  out->target_count = target->kind == OPERAND_PAIR ? 2 : 1;
  ptx_bind_target(parser, target->kind == OPERAND_PAIR ? &target->items[0] : target, 4, &out->targets[0]);
  if (target->kind == OPERAND_PAIR) ptx_bind_target(parser, &target->items[1], 0, &out->targets[1]);
  for (unsigned i = 0; i < 4; i++) ptx_bind_source(parser, &statement->operands[i + 1], T_B32, &out->sources[i]);
  out->source_count = 4;
  out->run = run_shfl;
}

static ptx_step run_vote(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  uint32_t mask;
  if (!gathered(warp, &instruction->sources[1], active, &mask)) return STEP_BLOCKED;
  uint32_t yes = ptx_fetch_mask(warp, &instruction->sources[0], active) & mask;
  if (instruction->extra.a == 3) {
    uint32_t *out = (uint32_t *)(void *)warp->scratch[4];
    EACH_LANE(l) out[l] = yes;
    ptx_put(warp, instruction->targets, active, out, 4, false);
    return STEP_NEXT;
  }
  bool answer = instruction->extra.a == 0 ? yes == mask : instruction->extra.a == 1 ? yes != 0 : yes == mask || yes == 0;
  ptx_put_mask(warp, instruction->targets, active, answer ? ALL_LANES : 0);
  return STEP_NEXT;
}
static void bind_vote(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  static const char *const modes[] = {"all", "any", "uni", "ballot", NULL};
  bool sync = ptx_take(statement, "sync");
  int mode = ptx_take_one(statement, modes);
  if (!sync || mode == NONE || !ptx_take(statement, mode == 3 ? "b32" : "pred"))
    ptx_parse_fail(parser, statement->at, "'%s' is not known here", statement->name);
  static const ptx_type sources[] = {T_PRED, T_U32};
  ptx_bind_lanes(parser, statement, out, mode == 3 ? T_B32 : T_PRED, sources, 2);
  out->extra.a = mode;
  out->run = run_vote;
}

static ptx_step run_activemask(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  uint32_t *out = (uint32_t *)(void *)warp->scratch[4];
  EACH_LANE(l) out[l] = active;
  ptx_put(warp, instruction->targets, active, out, 4, false);
  return STEP_NEXT;
}
static void bind_activemask(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  ptx_take(statement, "b32");
  ptx_bind_lanes(parser, statement, out, T_B32, NULL, 0);
  out->run = run_activemask;
}

static ptx_step run_redux(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  uint32_t mask;
  if (!gathered(warp, &instruction->sources[1], active, &mask)) return STEP_BLOCKED;
  const uint32_t *value = ptx_fetch(warp, &instruction->sources[0], active, 0);
  uint32_t result = 0, *out = (uint32_t *)(void *)warp->scratch[4];
  bool first = true, is_signed = instruction->type == T_S32;
  EACH_ACTIVE(l, mask & active) {
    uint32_t x = value[l];
    bool less = is_signed ? (int32_t)x < (int32_t)result : x < result;
    if (first) result = x;
    else switch (instruction->extra.a) {
      case 0: result += x; break;
      case 1: result = less ? x : result; break;
      case 2: result = less ? result : x; break;
      case 3: result &= x; break;
      case 4: result |= x; break;
      default: result ^= x; break;
      }
    first = false;
  }
  EACH_LANE(l) out[l] = result;
  ptx_put(warp, instruction->targets, active, out, 4, false);
  return STEP_NEXT;
}
static void bind_redux(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  static const char *const names[] = {"add", "min", "max", "and", "or", "xor", NULL};
  bool sync = ptx_take(statement, "sync");
  int operation = ptx_take_one(statement, names);
  ptx_type type = ptx_take_type(statement), sources[] = {type, T_U32};
  bool fits = operation < 3 ? type == T_U32 || type == T_S32 : type == T_B32;
  if (!sync || operation == NONE || !fits) ptx_parse_fail(parser, statement->at, "'%s' is not known here", statement->name);
  ptx_bind_lanes(parser, statement, out, type, sources, 2);
  out->extra.a = operation;
  out->run = run_redux;
}

static ptx_step run_match(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  uint32_t mask;
  if (!gathered(warp, &instruction->sources[1], active, &mask)) return STEP_BLOCKED;
  unsigned bytes = instruction->sources[0].bytes;
  const uint8_t *value = ptx_fetch(warp, &instruction->sources[0], active, 0);
  uint32_t *out = (uint32_t *)(void *)warp->scratch[4], all = 0;
  for (unsigned l = 0; l < LANES; l++) {
    out[l] = 0;
    EACH_ACTIVE(other, mask) if (!memcmp(value + l * bytes, value + other * bytes, bytes)) out[l] |= 1u << other;
    if (instruction->extra.a && out[l] != mask) out[l] = 0;
    if (active >> l & 1 && out[l]) all = ALL_LANES;
  }
  ptx_put(warp, &instruction->targets[0], active, out, 4, false);
  if (instruction->target_count > 1) ptx_put_mask(warp, &instruction->targets[1], active, all);
  return STEP_NEXT;
}
static void bind_match(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  bool all = ptx_take(statement, "all"), any = !all && ptx_take(statement, "any"), sync = ptx_take(statement, "sync");
  ptx_type type = ptx_take_type(statement);
  if (!sync || !(all || any) || (type != T_B32 && type != T_B64))
    ptx_parse_fail(parser, statement->at, "'%s' is not known here", statement->name);
  ptx_want_operands(parser, statement, 3, 3);
  const ptx_operand *target = statement->operands;
  out->targets = ptx_parse_allocate(parser, 2 * sizeof *out->targets);
  out->sources = ptx_parse_allocate(parser, 2 * sizeof *out->sources);
  out->target_count = target->kind == OPERAND_PAIR ? 2 : 1;
  ptx_bind_target(parser, target->kind == OPERAND_PAIR ? &target->items[0] : target, 4, &out->targets[0]);
  if (target->kind == OPERAND_PAIR) ptx_bind_target(parser, &target->items[1], 0, &out->targets[1]);
  ptx_bind_source(parser, &statement->operands[1], type, &out->sources[0]);
  ptx_bind_source(parser, &statement->operands[2], T_U32, &out->sources[1]);
  out->source_count = 2;
  out->extra.a = all;
  out->run = run_match;
}

static ptx_step run_elect(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  uint32_t mask;
  if (!gathered(warp, &instruction->sources[0], active, &mask)) return STEP_BLOCKED;
  uint32_t leader = (uint32_t)__builtin_ctz(mask), *out = (uint32_t *)(void *)warp->scratch[4];
  EACH_LANE(l) out[l] = leader;
  ptx_put(warp, &instruction->targets[0], active, out, 4, false);
  ptx_put_mask(warp, &instruction->targets[1], active, 1u << leader);
  return STEP_NEXT;
}
static void bind_elect(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  ptx_want_operands(parser, statement, 2, 2);
  const ptx_operand *target = statement->operands;
  if (!ptx_take(statement, "sync") || target->kind != OPERAND_PAIR)
    ptx_parse_fail(parser, statement->at, "'%s' takes d|p", statement->name);
  out->targets = ptx_parse_allocate(parser, 2 * sizeof *out->targets);
  out->sources = ptx_parse_allocate(parser, sizeof *out->sources);
  out->target_count = 2;
  out->source_count = 1;
  ptx_bind_target(parser, &target->items[0], 4, &out->targets[0]);
  ptx_bind_target(parser, &target->items[1], 0, &out->targets[1]);
  ptx_bind_source(parser, &statement->operands[1], T_U32, out->sources);
  out->run = run_elect;
}

const ptx_opcode ptx_control_opcodes[] = {{"bra", bind_bra},
                                          {"ret", bind_exit},
                                          {"exit", bind_exit},
                                          {"trap", bind_trap},
                                          {"call", bind_call},
                                          {"nanosleep", bind_nanosleep},
                                          {"griddepcontrol", bind_griddepcontrol},
                                          {"bar", bind_bar},
                                          {"barrier", bind_bar},
                                          {"shfl", bind_shfl},
                                          {"vote", bind_vote},
                                          {"activemask", bind_activemask},
                                          {"redux", bind_redux},
                                          {"match", bind_match},
                                          {"elect", bind_elect},
                                          {NULL, NULL}};

/* ---- a warp for a while ---- */

static void advance(ptx_warp *warp, uint32_t index, uint32_t pc, uint32_t lanes, uint32_t *split_lanes, uint32_t split_pc) {
  /* The group at `index` goes to pc with `lanes`; *split_lanes go to split_pc. Groups at one place are one. */
  warp->groups[index] = (lane_group){pc, lanes};
  if (*split_lanes) warp->groups[warp->group_count++] = (lane_group){split_pc, *split_lanes};
  if (!lanes) warp->groups[index] = warp->groups[--warp->group_count];
  for (uint32_t i = 0; i < warp->group_count; i++)
    for (uint32_t j = i + 1; j < warp->group_count;)
      if (warp->groups[j].pc == warp->groups[i].pc) {
        warp->groups[i].lanes |= warp->groups[j].lanes;
        warp->groups[j] = warp->groups[--warp->group_count];
      } else j++;
}

/* The group to run next, of those not in `blocked`. */
static uint32_t choose(const ptx_warp *warp, uint32_t blocked) {
  uint32_t best = UINT32_MAX;
  bool best_spun = false;
  for (uint32_t i = 0; i < warp->group_count; i++) {
    if (blocked >> i & 1) continue;
    bool spun = !(warp->groups[i].lanes & ~warp->spun);
    if (best != UINT32_MAX && (spun > best_spun || (spun == best_spun && warp->groups[i].pc > warp->groups[best].pc))) continue;
    best = i;
    best_spun = spun;
  }
  return best;
}

static uint32_t active_lanes(ptx_warp *warp, const ptx_instruction *instruction, uint32_t lanes) {
  if (instruction->predicate < 0) return lanes;
  uint32_t mask;
  check_read(warp, instruction->predicate, lanes);
  memcpy(&mask, warp->file + warp->state->kernel->registers[instruction->predicate].offset, 4);
  return lanes & (instruction->predicate_not ? ~mask : mask);
}

/* False: it only waited. */
static bool visit(ptx_warp *warp, uint32_t quantum) {
  ptx_launch_state *state = warp->state;
  const ptx_instruction *code = state->kernel->code;
  uint64_t *counts = state->module->counts, events = state->events;
  uint32_t spins = 0, blocked = 0, all_wait_for_lanes = 1;
  warp->spun = 0;
  while (quantum > 0 && warp->group_count) {
    uint32_t index = warp->group_count == 1 && !blocked ? 0 : choose(warp, blocked);
    if (index == UINT32_MAX) {
      if (all_wait_for_lanes && warp->group_count > 1) {
        char other[256];
        describe(warp, warp->groups[0].pc, other, sizeof other);
        warp->pc = warp->groups[1].pc;
        ptx_fail(warp, PTX_DIVERGENCE, "lanes %#x wait here for all lanes of the warp, and lanes %#x wait for them at %s",
                 warp->groups[1].lanes, warp->groups[0].lanes, other);
      }
      break;
    }
    uint32_t pc = warp->groups[index].pc, lanes = warp->groups[index].lanes;
    const ptx_instruction *instruction = &code[pc];
    warp->pc = pc;
    uint32_t active = active_lanes(warp, instruction, lanes), none = 0;
    warp->waits = WAIT_NOTHING;
    ptx_step step = active ? instruction->run(warp, instruction, active) : STEP_NEXT;
    if (step == STEP_BLOCKED) {
      blocked |= 1u << index;
      all_wait_for_lanes &= warp->waits == WAIT_LANES;
      continue;
    }
    blocked = 0;
    all_wait_for_lanes = 1;
    quantum--;
    warp->instructions++;
    counts[instruction->kind]++;
    if (active && instruction->is_event) state->events++;
    if (step == STEP_NEXT || step == STEP_SPIN) {
      if (warp->group_count == 1) warp->groups[0].pc = pc + 1;
      else advance(warp, index, pc + 1, lanes, &none, 0);
    } else if (step == STEP_JUMP) {
      uint32_t rest = lanes & ~active;
      if (!rest && warp->group_count == 1) warp->groups[0].pc = instruction->jump;
      else advance(warp, index, instruction->jump, active, &rest, pc + 1);
    } else {
      warp->alive &= ~active;
      uint32_t rest = lanes & ~active;
      advance(warp, index, pc + 1, rest, &none, 0);
    }
    if (step == STEP_SPIN) {
      warp->spun |= lanes;
      if (!(warp->alive & ~warp->spun) || ++spins > MOST_SPINS) break;
    }
  }
  return quantum == 0 || state->events != events || !warp->group_count;
}

/* ---- a cluster of blocks ---- */

static void warp_create(ptx_launch_state *state, ptx_cta *cta, uint32_t index) {
  ptx_warp *warp = &cta->warps[index];
  const ptx_kernel *kernel = state->kernel;
  warp->cta = cta;
  warp->state = state;
  warp->index = index;
  warp->agent = cta->rank * state->warps + index;
  warp->file = ptx_state_allocate(state, kernel->register_bytes + 64);
  warp->defined = ptx_state_allocate(state, kernel->register_count * sizeof(uint32_t));
  warp->tags = ptx_state_allocate(state, kernel->register_count * sizeof(uint32_t));
  warp->dirty = ptx_state_allocate(state, kernel->register_count);
  warp->clock = ptx_state_allocate(state, state->agents * sizeof(uint32_t));
  warp->fence_clock = ptx_state_allocate(state, state->agents * sizeof(uint32_t));
  warp->clock[warp->agent] = 1;
  if (kernel->local_bytes) warp->local = ptx_state_allocate(state, (size_t)LANES * 2 * kernel->local_bytes);
  uint32_t first = index * LANES, left = state->threads - first;
  warp->began = warp->alive = left >= LANES ? ALL_LANES : (1u << left) - 1;
  warp->early = state->launch->dependence == PTX_APART ? 0 : warp->began;
  warp->groups[0] = (lane_group){0, warp->alive};
  warp->group_count = 1;
  uint32_t start = 65536 / (state->warps * LANES);
  warp->registers = (start > 255 ? 255 : start) / 8 * 8;
  state->all[warp->agent] = warp;
  state->schedule[state->live++] = warp;
}

static void run_cluster(ptx_launch_state *state, const uint32_t first[3]) {
  state->arena = (ptx_arena){0};
  state->ctas = ptx_state_allocate(state, state->cluster_size * sizeof *state->ctas);
  state->all = ptx_state_allocate(state, (size_t)state->cluster_size * state->warps * sizeof(ptx_warp *));
  state->schedule = ptx_state_allocate(state, (size_t)state->cluster_size * state->warps * sizeof(ptx_warp *));
  state->live = state->idle = 0;
  state->transfers = NULL;
  state->spare = NULL;
  state->transfer_count = state->transfer_room = 0;
  state->mbarrier_agents = 0;
  state->cluster_barrier = (ptx_barrier){0};
  for (uint32_t rank = 0; rank < state->cluster_size; rank++) {
    ptx_cta *cta = &state->ctas[rank];
    cta->state = state;
    cta->rank = rank;
    cta->id[0] = first[0] + rank % state->cluster[0];
    cta->id[1] = first[1] + rank / state->cluster[0] % state->cluster[1];
    cta->id[2] = first[2] + rank / (state->cluster[0] * state->cluster[1]);
    cta->linear = cta->id[0] + state->launch->grid[0] * (cta->id[1] + state->launch->grid[1] * cta->id[2]);
    cta->warps = ptx_state_allocate(state, state->warps * sizeof(ptx_warp));
    ptx_shared_create(state, cta);
    for (uint32_t i = 0; i < state->warps; i++) warp_create(state, cta, i);
    state->module->counters.blocks++;
  }
  while (state->live) {
    if (state->transfer_count && ptx_random(state, 10) < 3) {
      ptx_transfer_complete(state, ptx_random(state, state->transfer_count));
      state->epoch++;
      state->idle = 0;
    }
    uint32_t pick = ptx_random(state, state->live);
    ptx_warp *warp = state->schedule[pick];
    uint64_t before = warp->instructions;
    bool moved = visit(warp, 1 + ptx_random(state, QUANTUM));
    state->instructions += warp->instructions - before;
    if (!warp->group_count) {
      ptx_warp_ends(warp);
      state->schedule[pick] = state->schedule[--state->live];
      moved = true;
    }
    if (moved) {
      state->epoch++;
      state->idle = 0;
    } else {
      if (warp->idle_epoch != state->epoch) warp->idle_epoch = state->epoch, warp->idle_visits = 0;
      if (++warp->idle_visits == IDLE_VISITS && ++state->idle == state->live) {
        if (state->transfer_count) {
          ptx_transfer_complete(state, ptx_random(state, state->transfer_count));
          state->epoch++;
          state->idle = 0;
          continue;
        }
        char text[sizeof state->report->text - 200];
        places(state, text, sizeof text);
        ptx_state_fail(state, PTX_DEADLOCK, "%s: deadlock in block (%u, %u, %u)%s", state->kernel->name, first[0], first[1],
                       first[2], text);
      }
    }
    if (state->instructions > state->limit) {
      char text[sizeof state->report->text - 200];
      places(state, text, sizeof text);
      ptx_state_fail(state, PTX_ENDLESS, "%s: still running after %llu instructions of warps%s", state->kernel->name,
                     (unsigned long long)state->limit, text);
    }
  }
  for (uint32_t i = 0; i < state->transfer_count;) /* stores that nobody waits for come to their end all the same */
    if (state->transfers[i]->is_load) i++;
    else ptx_transfer_complete(state, i);
  if (state->transfer_count)
    ptx_state_fail(state, PTX_IN_FLIGHT, "%s: block (%u, %u, %u) ended with %u asynchronous copies in flight", state->kernel->name,
                   first[0], first[1], first[2], state->transfer_count);
  ptx_arena_release(&state->arena);
}

/* ---- launches ---- */

static const char *refuse(ptx_launch_state *state, const ptx_launch *launch) {
  static _Thread_local char text[256];
  const ptx_kernel *kernel = state->kernel;
  uint64_t threads = 1, blocks = 1;
  for (int i = 0; i < 3; i++) {
    if (!launch->grid[i] || !launch->block[i]) return "a size of the grid or block is 0";
    if (launch->block[i] > 1024 || launch->grid[i] > (i ? 65535u : 0x7fffffffu)) return "a size of the grid or block is too large";
    threads *= launch->block[i];
    blocks *= launch->grid[i];
    state->cluster[i] = launch->cluster[i] ? launch->cluster[i] : kernel->cluster[i] ? kernel->cluster[i] : 1;
    if (kernel->cluster[i] && state->cluster[i] != kernel->cluster[i]) return "the cluster is not the one of .reqnctapercluster";
    if (launch->grid[i] % state->cluster[i]) return "the grid is no multiple of the cluster";
  }
  if (threads > 1024) return "a block has more than 1024 threads";
  if (blocks >= 0xfffffe) return "more blocks than are known here";
  if (kernel->required[0] && memcmp(kernel->required, launch->block, sizeof kernel->required)) {
    snprintf(text, sizeof text, "the block is %u x %u x %u threads, .reqntid wants %u x %u x %u", launch->block[0],
             launch->block[1], launch->block[2], kernel->required[0], kernel->required[1], kernel->required[2]);
    return text;
  }
  if (kernel->most_threads && threads > kernel->most_threads) return "a block has more threads than .maxntid";
  state->cluster_size = state->cluster[0] * state->cluster[1] * state->cluster[2];
  if (state->cluster_size > 16) return "a cluster has more than 16 blocks";
  state->threads = (uint32_t)threads;
  state->warps = (state->threads + LANES - 1) / LANES;
  uint64_t shared = launch->shared_bytes ? (uint64_t)kernel->dynamic_shared + launch->shared_bytes : kernel->static_shared;
  if (shared > MOST_SHARED_BYTES) {
    snprintf(text, sizeof text, "%llu bytes of shared memory, more than %d", (unsigned long long)shared, MOST_SHARED_BYTES);
    return text;
  }
  state->shared_bytes = (uint32_t)shared;
  if (launch->argument_bytes != kernel->parameter_bytes) {
    snprintf(text, sizeof text, "%zu bytes of arguments, the kernel takes %u", launch->argument_bytes, kernel->parameter_bytes);
    return text;
  }
  return NULL;
}

uint32_t ptx_device_launch(const ptx_device *device) { return device->serial; }

static void next_serial(ptx_device *device) {
  device->serial = device->serial % 255 + 1;
  device->hasty[device->serial] = false;
  if (device->serial > 1) return;
  /* What is left of launches long ago must not look like this one's. */
  for (size_t i = 0; i < device->count; i++) {
    ptx_allocation *allocation = device->list[i];
    if (!allocation->writers) continue;
    size_t units = (allocation->bytes >> allocation->shift) + 1;
    memset(allocation->writers, 0, units * sizeof *allocation->writers);
    memset(allocation->readers, 0, units * sizeof *allocation->readers);
  }
}

bool ptx_launch_run(ptx_module *module, const ptx_launch *launch, ptx_report *out_report) {
  ptx_launch_state state = {
      .module = module, .launch = launch, .report = out_report, .limit = launch->limit ? launch->limit : UINT64_C(1) << 30};
  *out_report = (ptx_report){.kind = PTX_OK};
  for (size_t i = 0; i < module->kernel_count && !state.kernel; i++)
    if (!strcmp(module->kernels[i].name, launch->kernel)) state.kernel = &module->kernels[i];
  const char *why = state.kernel ? refuse(&state, launch) : "the module has no kernel of that name";
  if (why) {
    out_report->kind = PTX_LAUNCH;
    snprintf(out_report->text, sizeof out_report->text, "%s: %s", launch->kernel, why);
    return false;
  }
  uint32_t clusters[3], *volatile order = NULL;
  uint64_t count = 1;
  for (int i = 0; i < 3; i++) count *= clusters[i] = launch->grid[i] / state.cluster[i];
  uint8_t *volatile arguments = malloc(state.kernel->parameter_bytes + 16u);
  order = malloc(count * sizeof *order);
  state.arguments = arguments;
  state.agents = state.warps * state.cluster_size + MBARRIERS * state.cluster_size;
  volatile bool ok = false;
  if (!arguments || !order) {
    out_report->kind = PTX_MEMORY;
    snprintf(out_report->text, sizeof out_report->text, "no memory left for the launch");
  } else if (!setjmp(state.on_error)) {
    if (launch->argument_bytes) memcpy(arguments, launch->arguments, launch->argument_bytes);
    state.random = (launch->seed + 1) * UINT64_C(0x9e3779b97f4a7c15) | 1;
    for (int i = 0; i < 8; i++) ptx_random(&state, 2);
    next_serial(module->device);
    module->counters.launches++;
    for (uint64_t i = 0; i < count; i++) order[i] = (uint32_t)i;
    for (uint64_t i = count; i > 1; i--) {
      uint64_t j = ptx_random(&state, (uint32_t)i);
      uint32_t kept = order[i - 1];
      order[i - 1] = order[j];
      order[j] = kept;
    }
    for (uint64_t i = 0; i < count; i++) {
      uint32_t at = order[i], first[3] = {at % clusters[0] * state.cluster[0], at / clusters[0] % clusters[1] * state.cluster[1],
                                          at / (clusters[0] * clusters[1]) * state.cluster[2]};
      run_cluster(&state, first);
    }
    ok = true;
  }
  ptx_arena_release(&state.arena);
  module->counters.instructions += state.instructions;
  free(arguments);
  free(order);
  return ok;
}
