/* What goes on beside the instructions: mbarriers, cp.async, bulk copies, proxy fences, the pool of registers.
 *
 * A bulk copy is a transfer that completes at a random time after it was issued; a load reads its source then. Its destination is in flight from issue to
 * completion, the source of a store until its thread has waited for it. cp.async completes when it is waited for, which is the latest time allowed, or when an
 * mbarrier is told of it. */
#include "ptx_internal.h"

#include <stdio.h>

enum { MOST_COUNT = (1 << 20) - 1 };

/* Shared addresses of the lanes, and the block of each. */
static void shared_places(ptx_warp *warp, const ptx_address *address, uint32_t active, unsigned slot, uint32_t *out_place,
                          ptx_cta **out_cta) {
  uint64_t *addresses = (uint64_t *)(void *)warp->scratch[9];
  ptx_addresses(warp, address, active, slot, addresses);
  EACH_ACTIVE(l, active) {
    out_cta[l] = ptx_shared_block(warp, &addresses[l]);
    out_place[l] = (uint32_t)addresses[l];
  }
}

static ptx_instruction *with_sources(ptx_parser *parser, ptx_instruction *out, unsigned count) {
  out->sources = ptx_parse_allocate(parser, (count ? count : 1) * sizeof *out->sources);
  out->source_count = (uint8_t)count;
  return out;
}

static _Noreturn void unknown(ptx_parser *parser, const ptx_statement *statement) {
  ptx_parse_fail(parser, statement->at, "'%s' is not known here", statement->name);
}

static void skip_scopes(ptx_statement *statement) {
  static const char *const words[] = {"release", "acquire", "relaxed", "acq_rel",    "sc", "cta",
                                      "cluster", "gpu",     "sys",     "noComplete", NULL};
  while (ptx_take_one(statement, words) != NONE) {}
}

/* ---- mbarriers ---- */

static ptx_mbarrier *find_mbarrier(ptx_cta *cta, uint32_t address) {
  for (uint32_t i = 0; i < cta->shared.mbarrier_count; i++)
    if (cta->shared.mbarriers[i].address == address && cta->shared.mbarriers[i].is_live) return &cta->shared.mbarriers[i];
  return NULL;
}

ptx_mbarrier *ptx_mbarrier_at(ptx_warp *warp, ptx_cta *cta, uint32_t address) {
  ptx_mbarrier *found = find_mbarrier(cta, address);
  if (!found) ptx_fail(warp, PTX_MBARRIER, "there is no mbarrier at shared address %#x: it was not initialised", address);
  if ((uint32_t)found->init_warp != warp->agent && warp->clock[found->init_warp] < found->init_clock)
    ptx_fail(warp, PTX_MBARRIER, "the mbarrier at %#x is used with no synchronisation after its init", address);
  return found;
}

static void phase_check(ptx_launch_state *state, ptx_mbarrier *barrier) {
  if (barrier->pending || barrier->tx) return;
  ptx_join(state, barrier->released, barrier->gathered);
  memcpy(barrier->released_lanes, barrier->gathered_lanes, state->warps * state->cluster_size * sizeof *barrier->gathered_lanes);
  barrier->phase++;
  barrier->pending = barrier->expected;
  state->events++;
}

static void arrive(ptx_warp *warp, ptx_mbarrier *barrier, int64_t count, unsigned lane) {
  if (barrier->pending < count)
    ptx_fail(warp, PTX_MBARRIER, "mbarrier at %#x: %lld arrivals where %lld are pending", barrier->address, (long long)count,
             (long long)barrier->pending);
  barrier->pending -= count;
  ptx_join(warp->state, barrier->gathered, warp->clock);
  uint32_t *known = barrier->gathered_lanes[warp->agent]; /* of its own warp: what the lane itself did, and comes after */
  for (unsigned m = 0; m < LANES; m++) {
    uint32_t until = m == lane ? warp->clock[warp->agent] + 1 : warp->met;
    if (m != lane && warp->learnt && warp->learnt[lane][m] > until) until = warp->learnt[lane][m];
    if (until > known[m]) known[m] = until;
  }
}

static void expect_bytes(ptx_warp *warp, ptx_mbarrier *barrier, int64_t bytes) {
  barrier->tx += bytes;
  if (barrier->tx > MOST_COUNT || barrier->tx < -MOST_COUNT)
    ptx_fail(warp, PTX_MBARRIER, "mbarrier at %#x: the count of bytes becomes %lld", barrier->address, (long long)barrier->tx);
}

static ptx_step run_mbarrier_init(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  uint32_t place[LANES];
  ptx_cta *cta[LANES];
  shared_places(warp, &instruction->address, active, 0, place, cta);
  const uint32_t *count = instruction->extra.a ? NULL : ptx_fetch(warp, instruction->sources, active, 1);
  ptx_launch_state *state = warp->state;
  EACH_ACTIVE(l, active) {
    ptx_shared *shared = &cta[l]->shared;
    if (place[l] % 8) ptx_fail(warp, PTX_MISALIGNED, "an mbarrier at %#x is not aligned to 8 bytes", place[l]);
    if (place[l] + 8 > shared->bytes)
      ptx_fail(warp, PTX_BOUNDS, "shared address %#x (8 bytes) is past the %u bytes of the block", place[l], shared->bytes);
    ptx_mbarrier *barrier = find_mbarrier(cta[l], place[l]);
    if (instruction->extra.a) {
      if (!barrier) ptx_fail(warp, PTX_MBARRIER, "there is no mbarrier at shared address %#x: it was not initialised", place[l]);
      barrier->is_live = false;
      continue;
    }
    if (!count[l] || count[l] > MOST_COUNT)
      ptx_fail(warp, PTX_MBARRIER, "an mbarrier for %u arrivals: expected 1 to %d", count[l], MOST_COUNT);
    if (!barrier) {
      shared->mbarriers =
          ptx_state_grow(state, shared->mbarriers, shared->mbarrier_count, &shared->mbarrier_room, sizeof *shared->mbarriers);
      barrier = &shared->mbarriers[shared->mbarrier_count++];
      int32_t agent = (int32_t)(state->warps * state->cluster_size + state->mbarrier_agents++);
      if (agent >= (int32_t)state->agents) ptx_fail(warp, PTX_MBARRIER, "more mbarriers than are known here");
      *barrier = (ptx_mbarrier){.address = place[l], .agent = agent};
      barrier->gathered = ptx_state_allocate(state, state->agents * sizeof(uint32_t));
      barrier->released = ptx_state_allocate(state, state->agents * sizeof(uint32_t));
      size_t lanes = (size_t)state->warps * state->cluster_size * sizeof *barrier->gathered_lanes;
      barrier->gathered_lanes = ptx_state_allocate(state, lanes);
      barrier->released_lanes = ptx_state_allocate(state, lanes);
    } else ptx_fail(warp, PTX_MBARRIER, "the mbarrier at %#x is initialised again, and was not invalidated", place[l]);
    barrier->is_live = true;
    barrier->expected = barrier->pending = count[l];
    barrier->tx = 0;
    barrier->phase = 0;
    barrier->init_warp = (int32_t)warp->agent;
    barrier->init_clock = warp->clock[warp->agent];
  }
  return STEP_NEXT;
}

static ptx_step run_mbarrier_arrive(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  uint32_t place[LANES];
  ptx_cta *cta[LANES];
  uint64_t *out = (uint64_t *)(void *)warp->scratch[4];
  shared_places(warp, &instruction->address, active, 0, place, cta);
  bool expects = instruction->extra.a, drops = instruction->extra.b;
  const uint32_t *number = instruction->source_count ? ptx_fetch(warp, instruction->sources, active, 1) : NULL;
  EACH_ACTIVE(l, active) {
    ptx_mbarrier *barrier = ptx_mbarrier_at(warp, cta[l], place[l]);
    if (expects) expect_bytes(warp, barrier, number[l]);
    int64_t count = expects || !number ? 1 : number[l];
    out[l] = barrier->phase;
    arrive(warp, barrier, count, l);
    if (drops) barrier->expected -= count;
    phase_check(warp->state, barrier);
  }
  ptx_tick(warp);
  if (instruction->target_count) ptx_put(warp, instruction->targets, active, out, 8, false);
  return STEP_NEXT;
}

static ptx_step run_mbarrier_bytes(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  uint32_t place[LANES];
  ptx_cta *cta[LANES];
  shared_places(warp, &instruction->address, active, 0, place, cta);
  const uint32_t *bytes = ptx_fetch(warp, instruction->sources, active, 1);
  EACH_ACTIVE(l, active) {
    ptx_mbarrier *barrier = ptx_mbarrier_at(warp, cta[l], place[l]);
    expect_bytes(warp, barrier, instruction->extra.a ? bytes[l] : -(int64_t)bytes[l]);
    if (!instruction->extra.a) phase_check(warp->state, barrier);
  }
  return STEP_NEXT;
}

static ptx_step run_mbarrier_wait(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  uint32_t place[LANES], yes = 0, together = 0;
  ptx_cta *cta[LANES];
  shared_places(warp, &instruction->address, active, 0, place, cta);
  const void *phase = ptx_fetch(warp, instruction->sources, active, 1);
  const ptx_mbarrier *last = NULL;
  EACH_ACTIVE(l, active) {
    const ptx_mbarrier *barrier = ptx_mbarrier_at(warp, cta[l], place[l]);
    bool is_over = instruction->extra.a ? (barrier->phase & 1) != (((const uint32_t *)phase)[l] & 1)
                                        : barrier->phase != ((const uint64_t *)phase)[l];
    if (!is_over) continue;
    yes |= 1u << l;
    if (barrier != last) { /* of its own warp a lane learns what went into the phase */
      if (last) ptx_learn(warp, together, last->released_lanes[warp->agent]);
      together = 0;
      ptx_join(warp->state, warp->clock, barrier->released);
    }
    together |= 1u << l;
    last = barrier;
  }
  if (last) ptx_learn(warp, together, last->released_lanes[warp->agent]);
  ptx_put_mask(warp, instruction->targets, active, yes);
  return yes == active ? STEP_NEXT : STEP_SPIN;
}

static void bind_mbarrier(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  static const char *const kinds[] = {"init",      "inval",     "arrive",      "arrive_drop", "try_wait",
                                      "test_wait", "expect_tx", "complete_tx", NULL};
  const ptx_operand *operands = statement->operands;
  int kind = ptx_take_one(statement, kinds);
  skip_scopes(statement);
  bool expects = kind == 2 || kind == 3 ? ptx_take(statement, "expect_tx") : false,
       parity = kind == 4 || kind == 5 ? ptx_take(statement, "parity") : false;
  ptx_take_space(statement);
  ptx_take(statement, "b64");
  out->targets = ptx_parse_allocate(parser, sizeof *out->targets);
  out->is_event = kind <= 3 || kind >= 6;
  switch (kind) {
  case 0:
  case 1:
    ptx_want_operands(parser, statement, kind ? 1 : 2, kind ? 1 : 2);
    ptx_bind_address(parser, &operands[0], &out->address);
    with_sources(parser, out, !kind);
    if (!kind) ptx_bind_source(parser, &operands[1], T_U32, out->sources);
    out->extra.a = kind;
    out->run = run_mbarrier_init;
    return;
  case 2:
  case 3: {
    unsigned has_target = statement->operand_count && operands[0].kind != OPERAND_ADDRESS,
             rest = statement->operand_count - has_target;
    if (rest < 1 + (unsigned)expects || rest > 2)
      ptx_parse_fail(parser, statement->at, "'%s' takes an address and a number", statement->name);
    out->target_count = (uint8_t)has_target;
    if (has_target) ptx_bind_target(parser, &operands[0], 8, out->targets);
    ptx_bind_address(parser, &operands[has_target], &out->address);
    with_sources(parser, out, rest - 1);
    if (rest > 1) ptx_bind_source(parser, &operands[has_target + 1], T_U32, out->sources);
    out->extra.a = expects;
    out->extra.b = kind == 3;
    out->run = run_mbarrier_arrive;
    return;
  }
  case 4:
  case 5:
    ptx_want_operands(parser, statement, 3, 4);
    out->target_count = 1;
    ptx_bind_target(parser, &operands[0], 0, out->targets);
    ptx_bind_address(parser, &operands[1], &out->address);
    with_sources(parser, out, 1);
    ptx_bind_source(parser, &operands[2], parity ? T_U32 : T_U64, out->sources);
    out->extra.a = parity;
    out->run = run_mbarrier_wait;
    return;
  case 6:
  case 7:
    ptx_want_operands(parser, statement, 2, 2);
    ptx_bind_address(parser, &operands[0], &out->address);
    with_sources(parser, out, 1);
    ptx_bind_source(parser, &operands[1], T_U32, out->sources);
    out->extra.a = kind == 6;
    out->run = run_mbarrier_bytes;
    return;
  default: unknown(parser, statement);
  }
}

void ptx_mbarrier_report(const ptx_launch_state *state, char *text, size_t size) {
  size_t used = 0;
  for (uint32_t c = 0; c < state->cluster_size; c++)
    for (uint32_t i = 0; i < state->ctas[c].shared.mbarrier_count && used + 140 < size; i++) {
      const ptx_mbarrier *barrier = &state->ctas[c].shared.mbarriers[i];
      if (!barrier->is_live) continue;
      char block[48] = "";
      if (state->cluster_size > 1) snprintf(block, sizeof block, " of block %u of the cluster", c);
      used += (size_t)snprintf(text + used, size - used,
                               "\n  mbarrier at %#x%s: phase %llu, %lld of %lld arrivals pending, %lld bytes expected",
                               barrier->address, block, (unsigned long long)barrier->phase, (long long)barrier->pending,
                               (long long)barrier->expected, (long long)barrier->tx);
    }
}

/* ---- cp.async ---- */

static ptx_step run_cp_async(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  uint32_t place[LANES], size = (uint32_t)instruction->extra.a, full = 0;
  ptx_cta *cta[LANES];
  uint64_t *from = (uint64_t *)(void *)warp->scratch[8];
  alignas(16) uint8_t data[LANES][16];
  shared_places(warp, &instruction->address, active, 0, place, cta);
  ptx_addresses(warp, &instruction->second, active, 1, from);
  const uint32_t *bytes = NULL;
  uint32_t ignored = 0;
  if (instruction->source_count && instruction->extra.b) ignored = ptx_fetch_mask(warp, instruction->sources, active);
  else if (instruction->source_count) bytes = ptx_fetch(warp, instruction->sources, active, 2);
  memset(data, 0, sizeof data);
  EACH_ACTIVE(l, active) {
    uint32_t wanted = ignored >> l & 1 ? 0 : bytes ? bytes[l] : size;
    if (wanted > size) ptx_fail(warp, PTX_BOUNDS, "cp.async of %u bytes out of %u", size, wanted);
    if (place[l] % size || (wanted && from[l] % size))
      ptx_fail(warp, PTX_MISALIGNED, "cp.async of %u bytes from %#llx to %#x: not aligned", size, (unsigned long long)from[l],
               place[l]);
    if (wanted == size) full |= 1u << l;
    else if (wanted) {
      ptx_allocation *allocation = ptx_global_range(warp, from[l], wanted);
      uint64_t at = from[l] - allocation->base;
      const uint8_t *hole = memchr(allocation->written + at, 0, wanted);
      if (hole)
        ptx_fail(warp, PTX_UNINITIALISED, "%s: byte %llu was never written", allocation->name,
                 (unsigned long long)(hole - allocation->written));
      ptx_global_touch(warp, allocation, at, wanted, false, l, NULL);
      memcpy(data[l], allocation->data + at, wanted);
      warp->state->module->counters.global_read_bytes += wanted;
    }
  }
  if (full) ptx_global_read(warp, from, full, size, data);
  copy_queue *queue = &warp->copies;
  EACH_ACTIVE(l, active) {
    if (cta[l] != warp->cta) ptx_fail(warp, PTX_BOUNDS, "cp.async to another block of the cluster");
    ptx_shared_touch(warp, warp->cta, place[l], size, ACCESS_ASYNC_WRITE, l, NULL);
    queue->pieces = ptx_state_grow(warp->state, queue->pieces, queue->count, &queue->room, sizeof *queue->pieces);
    copy_piece *piece = &queue->pieces[queue->count++];
    *piece = (copy_piece){.to = place[l], .bytes = size, .lane = (uint8_t)l};
    memcpy(piece->data, data[l], 16);
  }
  ptx_wavefronts(warp, WAVEFRONT_COPY, place, active, size);
  return STEP_NEXT;
}

/* The first `end` pieces have come. */
static void copies_arrive(ptx_warp *warp, uint32_t end) {
  copy_queue *queue = &warp->copies;
  for (uint32_t i = queue->begin; i < end; i++) {
    const copy_piece *piece = &queue->pieces[i];
    memcpy(warp->cta->shared.data + piece->to, piece->data, piece->bytes);
    ptx_shared_written(warp->state, warp->cta, piece->to, piece->bytes, (int)warp->agent, warp->clock[warp->agent], piece->lane,
                       true);
  }
  if (end > queue->begin) queue->begin = end;
  if (queue->begin == queue->count) { /* from the beginning again: the lists stay as small as what is in flight */
    uint32_t open = queue->group_count;
    for (uint32_t i = queue->first_group; i < open; i++) queue->ends[i] = 0;
    queue->begin = queue->count = 0;
  }
}

static ptx_step run_cp_commit(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  (void)instruction, (void)active;
  copy_queue *queue = &warp->copies;
  if (queue->first_group && queue->first_group == queue->group_count) queue->first_group = queue->group_count = 0;
  if (queue->first_group > 64) { /* those that were waited for make room */
    memmove(queue->ends, queue->ends + queue->first_group, (queue->group_count - queue->first_group) * sizeof *queue->ends);
    queue->group_count -= queue->first_group;
    queue->first_group = 0;
  }
  queue->ends = ptx_state_grow(warp->state, queue->ends, queue->group_count, &queue->group_room, sizeof *queue->ends);
  queue->ends[queue->group_count++] = queue->count;
  return STEP_NEXT;
}

static ptx_step run_cp_wait(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  (void)active;
  copy_queue *queue = &warp->copies;
  ptx_tick(warp);
  if (instruction->extra.b) { /* wait_all: the open group, too */
    queue->first_group = queue->group_count;
    copies_arrive(warp, queue->count);
  } else {
    int64_t groups = (int64_t)(queue->group_count - queue->first_group) - instruction->extra.a;
    if (groups > 0) {
      uint32_t end = queue->ends[queue->first_group + (uint32_t)groups - 1];
      queue->first_group += (uint32_t)groups;
      copies_arrive(warp, end);
    }
  }
  return STEP_NEXT;
}

static ptx_step run_cp_arrive(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  uint32_t place[LANES];
  ptx_cta *cta[LANES];
  shared_places(warp, &instruction->address, active, 0, place, cta);
  warp->copies.first_group = warp->copies.group_count;
  copies_arrive(warp, warp->copies.count);
  EACH_ACTIVE(l, active) {
    ptx_mbarrier *barrier = ptx_mbarrier_at(warp, cta[l], place[l]);
    if (!instruction->extra.a) barrier->pending++;
    arrive(warp, barrier, 1, l);
    phase_check(warp->state, barrier);
  }
  ptx_tick(warp);
  return STEP_NEXT;
}

/* ---- bulk copies ---- */

static bulk_transfer *transfer_of(ptx_launch_state *state, uint32_t bytes, bool with_data) {
  bulk_transfer *transfer = state->spare;
  if (transfer) state->spare = transfer->next;
  else {
    transfer = ptx_state_allocate(state, sizeof *transfer);
    transfer->clock = ptx_state_allocate(state, state->agents * sizeof(uint32_t));
  }
  uint8_t *data = transfer->data;
  uint32_t room = transfer->room;
  if (with_data && room < bytes) data = ptx_state_allocate(state, room = bytes);
  *transfer = (bulk_transfer){.clock = transfer->clock, .data = data, .room = room, .bytes = bytes};
  state->transfers = ptx_state_grow(state, state->transfers, state->transfer_count, &state->transfer_room, sizeof(bulk_transfer *));
  state->transfers[state->transfer_count++] = transfer;
  return transfer;
}

static void release(ptx_launch_state *state, bulk_transfer *transfer) {
  transfer->next = state->spare;
  state->spare = transfer;
}

static uint16_t half_sum(uint16_t a, uint16_t b, ptx_type type) {
  if (type == T_F16) return ptx_f32_to_f16((double)ptx_f16_to_f32(a) + (double)ptx_f16_to_f32(b), false);
  return ptx_f32_to_bf16(ptx_bf16_to_f32(a) + ptx_bf16_to_f32(b), false);
}

/* What cp.reduce.async.bulk does to memory, element by element. */
static void reduce(uint8_t *to, const uint8_t *from, uint32_t bytes, int operation, ptx_type type) {
  unsigned width = ptx_types[type].bytes;
  for (uint32_t i = 0; i < bytes; i += width) {
    uint64_t old = 0, x = 0;
    memcpy(&old, to + i, width);
    memcpy(&x, from + i, width);
    float a, b;
    memcpy(&a, &old, 4), memcpy(&b, &x, 4);
    if (type == T_F32) {
      float sum = a + b;
      memcpy(&old, &sum, 4);
    } else if (type == T_F16 || type == T_BF16) old = half_sum((uint16_t)old, (uint16_t)x, type);
    else {
      bool less = ptx_types[type].letter == 's' ? (width == 8 ? (int64_t)x < (int64_t)old : (int32_t)x < (int32_t)old) : x < old;
      switch (operation) {
      case 1: old += x; break;
      case 2: old = less ? x : old; break;
      case 3: old = less ? old : x; break;
      case 4: old &= x; break;
      case 5: old |= x; break;
      default: old ^= x; break;
      }
    }
    memcpy(to + i, &old, width);
  }
}

void ptx_transfer_complete(ptx_launch_state *state, uint32_t index) {
  bulk_transfer *transfer = state->transfers[index];
  state->transfers[index] = state->transfers[--state->transfer_count];
  state->events++;
  ptx_allocation *allocation = ptx_device_at(state->module->device, transfer->global, transfer->bytes);
  uint64_t at = transfer->global - allocation->base;
  if (transfer->is_load) {
    ptx_mbarrier *barrier = &transfer->cta->shared.mbarriers[transfer->mbarrier];
    memcpy(transfer->cta->shared.data + transfer->shared, allocation->data + at, transfer->bytes);
    uint32_t clock = barrier->gathered[barrier->agent] > barrier->released[barrier->agent] ? barrier->gathered[barrier->agent]
                                                                                           : barrier->released[barrier->agent];
    ptx_join(state, barrier->gathered, transfer->clock);
    barrier->gathered[barrier->agent] = ++clock;
    ptx_shared_written(state, transfer->cta, transfer->shared, transfer->bytes, barrier->agent, clock, MANY_LANES, false);
    barrier->tx -= transfer->bytes;
    phase_check(state, barrier);
    release(state, transfer);
    return;
  }
  if (transfer->operation) reduce(allocation->data + at, transfer->data, transfer->bytes, transfer->operation, transfer->type);
  else memcpy(allocation->data + at, transfer->data, transfer->bytes);
  memset(allocation->written + at, 1, transfer->bytes);
  transfer->is_done = true;
  if (transfer->is_forgotten) release(state, transfer);
}

static void want_sixteens(ptx_warp *warp, uint64_t global, uint32_t shared, uint32_t bytes) {
  if (global % 16 || shared % 16 || bytes % 16 || !bytes)
    ptx_fail(warp, PTX_MISALIGNED, "a bulk copy of %u bytes, global address %#llx, shared address %#x: expected multiples of 16",
             bytes, (unsigned long long)global, shared);
}

static ptx_step run_bulk_load(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  uint32_t place[LANES], at_barrier[LANES];
  ptx_cta *cta[LANES], *barrier_cta[LANES];
  uint64_t *from = (uint64_t *)(void *)warp->scratch[8];
  shared_places(warp, &instruction->address, active, 0, place, cta);
  shared_places(warp, (const ptx_address *)instruction->extra.table, active, 0, at_barrier, barrier_cta);
  ptx_addresses(warp, &instruction->second, active, 1, from);
  const uint32_t *bytes = ptx_fetch(warp, &instruction->sources[0], active, 2);
  const uint16_t *masks = instruction->extra.a ? ptx_fetch(warp, &instruction->sources[1], active, 3) : NULL;
  ptx_launch_state *state = warp->state;
  EACH_ACTIVE(l, active) {
    want_sixteens(warp, from[l], place[l], bytes[l]);
    ptx_allocation *allocation = ptx_global_range(warp, from[l], bytes[l]);
    uint64_t at = from[l] - allocation->base;
    const uint8_t *hole = memchr(allocation->written + at, 0, bytes[l]);
    if (hole)
      ptx_fail(warp, PTX_UNINITIALISED, "%s: byte %llu was never written", allocation->name,
               (unsigned long long)(hole - allocation->written));
    ptx_global_touch(warp, allocation, at, bytes[l], false, l, NULL);
    state->module->counters.global_read_bytes += bytes[l];
    uint32_t mask = masks ? masks[l] : 1u << cta[l]->rank;
    if (!mask || mask >> state->cluster_size)
      ptx_fail(warp, PTX_BOUNDS, "a copy to the blocks %#x of a cluster of %u", mask, state->cluster_size);
    EACH_ACTIVE(rank, mask) {
      ptx_cta *target = &state->ctas[rank];
      ptx_cta *signalled = masks ? target : barrier_cta[l];
      if (signalled != target) ptx_fail(warp, PTX_MBARRIER, "destination and mbarrier of a copy are in two blocks");
      ptx_mbarrier *barrier = ptx_mbarrier_at(warp, target, at_barrier[l]);
      if (state->all[barrier->init_warp]->init_fence < barrier->init_clock)
        ptx_fail(warp, PTX_MBARRIER,
                 "the init of the mbarrier at %#x was not made known to the async proxy (fence.mbarrier_init or fence.proxy.async "
                 "by who did it)",
                 barrier->address);
      ptx_shared_touch(warp, target, place[l], bytes[l], ACCESS_ASYNC_WRITE, l, NULL);
      bulk_transfer *transfer = transfer_of(state, bytes[l], false);
      transfer->is_load = true;
      transfer->cta = target;
      transfer->shared = place[l];
      transfer->global = from[l];
      transfer->mbarrier = (uint32_t)(barrier - target->shared.mbarriers);
      memcpy(transfer->clock, warp->clock, state->agents * sizeof(uint32_t));
    }
  }
  return STEP_NEXT;
}

static void mark_storing(ptx_cta *cta, uint32_t address, uint32_t bytes, int by) {
  for (uint32_t word = address / 4; word < (address + bytes) / 4; word++)
    cta->shared.cells[word].storing = (uint16_t)(cta->shared.cells[word].storing + by);
}

static ptx_step run_bulk_store(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  uint32_t place[LANES];
  ptx_cta *cta[LANES];
  uint64_t *to = (uint64_t *)(void *)warp->scratch[8];
  shared_places(warp, &instruction->address, active, 0, place, cta);
  ptx_addresses(warp, &instruction->second, active, 1, to);
  const uint32_t *bytes = ptx_fetch(warp, &instruction->sources[0], active, 2);
  EACH_ACTIVE(l, active) {
    want_sixteens(warp, to[l], place[l], bytes[l]);
    ptx_allocation *allocation = ptx_global_range(warp, to[l], bytes[l]);
    uint64_t at = to[l] - allocation->base;
    ptx_global_want(warp, allocation, at, bytes[l], true, l);
    if (instruction->extra.a) {
      const uint8_t *hole = memchr(allocation->written + at, 0, bytes[l]);
      if (hole)
        ptx_fail(warp, PTX_UNINITIALISED, "%s: byte %llu was never written", allocation->name,
                 (unsigned long long)(hole - allocation->written));
    } else ptx_global_touch(warp, allocation, at, bytes[l], true, l, NULL);
    if (cta[l] != warp->cta) ptx_fail(warp, PTX_BOUNDS, "a bulk store out of another block of the cluster");
    ptx_shared_touch(warp, cta[l], place[l], bytes[l], ACCESS_ASYNC_READ, l, NULL);
    mark_storing(cta[l], place[l], bytes[l], 1);
    bulk_transfer *transfer = transfer_of(warp->state, bytes[l], true);
    transfer->cta = cta[l];
    transfer->shared = place[l];
    transfer->global = to[l];
    transfer->operation = (int)instruction->extra.a;
    transfer->type = (ptx_type)instruction->extra.b;
    memcpy(transfer->data, cta[l]->shared.data + place[l], bytes[l]);
    warp->stores = ptx_state_grow(warp->state, warp->stores, warp->store_count, &warp->store_room, sizeof *warp->stores);
    warp->stores[warp->store_count++] = (store_in_flight){.transfer = transfer, .lane = (uint8_t)l};
    warp->state->module->counters.global_written_bytes += bytes[l];
  }
  return STEP_NEXT;
}

/* Groups are a thread's own. */
static ptx_step run_bulk_commit(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  (void)instruction;
  EACH_ACTIVE(l, active) warp->store_groups[l]++;
  for (uint32_t i = 0; i < warp->store_count; i++)
    if (active >> warp->stores[i].lane & 1 && !warp->stores[i].group)
      warp->stores[i].group = warp->store_groups[warp->stores[i].lane];
  return STEP_NEXT;
}

static ptx_step run_bulk_wait(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  bool only_read = instruction->extra.b;
  uint32_t kept = 0;
  for (uint32_t i = 0; i < warp->store_count; i++) {
    const store_in_flight *store = &warp->stores[i];
    bool meant = active >> store->lane & 1 && store->group &&
                 (int64_t)store->group <= (int64_t)warp->store_groups[store->lane] - instruction->extra.a;
    if (meant && !only_read && !store->transfer->is_done) return warp->waits = WAIT_GROUP, STEP_BLOCKED;
  }
  ptx_launch_state *state = warp->state;
  for (uint32_t i = 0; i < warp->store_count; i++) {
    store_in_flight *store = &warp->stores[i];
    bulk_transfer *transfer = store->transfer;
    bool meant = active >> store->lane & 1 && store->group &&
                 (int64_t)store->group <= (int64_t)warp->store_groups[store->lane] - instruction->extra.a;
    if (meant && !store->was_read) {
      store->was_read = true;
      mark_storing(transfer->cta, transfer->shared, transfer->bytes, -1);
      for (uint32_t word = transfer->shared / 4; word < (transfer->shared + transfer->bytes) / 4;
           word++) { /* who writes next must know of this wait */
        transfer->cta->shared.reads[(size_t)warp->agent * transfer->cta->shared.words + word] =
            warp->clock[warp->agent] << 6 | store->lane;
        transfer->cta->shared.cells[word].state |= CELL_READ;
      }
    }
    if (meant && transfer->is_done) release(state, transfer);
    else warp->stores[kept++] = *store;
  }
  warp->store_count = kept;
  ptx_tick(warp);
  return STEP_NEXT;
}

static ptx_step run_nothing(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  (void)warp, (void)instruction, (void)active;
  return STEP_NEXT;
}

static void bind_bulk(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out, bool reduces) {
  static const char *const operations[] = {"add", "min", "max", "and", "or", "xor", NULL};
  const ptx_operand *operands = statement->operands;
  if (ptx_take(statement, "commit_group")) {
    ptx_want_operands(parser, statement, 0, 0);
    out->run = run_bulk_commit;
    return;
  }
  if (ptx_take(statement, "wait_group")) {
    out->extra.b = ptx_take(statement, "read");
    ptx_want_operands(parser, statement, 1, 1);
    out->extra.a = ptx_want_integer(parser, operands);
    out->run = run_bulk_wait;
    return;
  }
  if (ptx_take(statement, "prefetch")) {
    statement->used = UINT32_MAX;
    out->run = run_nothing;
    return;
  }
  if (ptx_take(statement, "tensor"))
    ptx_parse_fail(parser, statement->at, "'%s': copies by tensor map are not known here", statement->name);
  uint32_t place = 3u + reduces; /* of the two spaces in the name */
  bool has_spaces = statement->part_count > place + 1;
  const char *first = has_spaces ? statement->parts[place] : "", *second = has_spaces ? statement->parts[place + 1] : "";
  bool hint = ptx_take(statement, "L2::cache_hint");
  out->is_event = true;
  if ((!strcmp(first, "shared::cluster") || !strcmp(first, "shared::cta")) && !strcmp(second, "global") && !reduces) {
    statement->used |= 3u << place;
    bool multicast = ptx_take(statement, "multicast::cluster");
    if (!ptx_take(statement, "mbarrier::complete_tx::bytes")) unknown(parser, statement);
    uint32_t count = 4u + multicast + hint;
    ptx_want_operands(parser, statement, count, count);
    ptx_bind_address(parser, &operands[0], &out->address);
    ptx_bind_address(parser, &operands[1], &out->second);
    with_sources(parser, out, 2);
    ptx_bind_source(parser, &operands[2], T_U32, &out->sources[0]);
    ptx_address *barrier = ptx_parse_allocate(parser, sizeof *barrier);
    ptx_bind_address(parser, &operands[3], barrier);
    out->extra.table = barrier;
    if (multicast) ptx_bind_source(parser, &operands[4], T_U16, &out->sources[1]);
    out->extra.a = multicast;
    out->run = run_bulk_load;
    return;
  }
  if (!strcmp(first, "global") && !strcmp(second, "shared::cta")) {
    statement->used |= 3u << place;
    if (!ptx_take(statement, "bulk_group")) unknown(parser, statement);
    if (reduces) {
      int operation = ptx_take_one(statement, operations);
      ptx_take(statement, "noftz");
      ptx_type type = ptx_take_type(statement);
      char letter = ptx_types[type].letter;
      unsigned width = ptx_types[type].bytes;
      bool fits = operation == 0  ? letter == 'u' || letter == 's' || type == T_F32 || type == T_F16 || type == T_BF16
                  : operation < 3 ? letter == 'u' || letter == 's'
                                  : letter == 'b';
      if (operation == NONE || !fits || (width < 4 && letter != 'f')) unknown(parser, statement);
      out->extra.a = operation + 1;
      out->extra.b = type;
    }
    ptx_want_operands(parser, statement, 3u + hint, 3u + hint);
    ptx_bind_address(parser, &operands[0], &out->second);
    ptx_bind_address(parser, &operands[1], &out->address);
    with_sources(parser, out, 1);
    ptx_bind_source(parser, &operands[2], T_U32, &out->sources[0]);
    out->run = run_bulk_store;
    return;
  }
  unknown(parser, statement);
}

static void bind_cp(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  static const char *const caches[] = {"ca", "cg", NULL};
  const ptx_operand *operands = statement->operands;
  bool reduces = ptx_take(statement, "reduce");
  if (!ptx_take(statement, "async")) unknown(parser, statement);
  if (ptx_take(statement, "bulk")) {
    bind_bulk(parser, statement, out, reduces);
    return;
  }
  if (ptx_take(statement, "commit_group")) {
    ptx_want_operands(parser, statement, 0, 0);
    out->run = run_cp_commit;
    return;
  }
  out->extra.b = ptx_take(statement, "wait_all");
  if (out->extra.b || ptx_take(statement, "wait_group")) {
    ptx_want_operands(parser, statement, !out->extra.b, !out->extra.b);
    if (!out->extra.b) out->extra.a = ptx_want_integer(parser, operands);
    out->run = run_cp_wait;
    return;
  }
  if (ptx_take(statement, "mbarrier")) {
    if (!ptx_take(statement, "arrive")) unknown(parser, statement);
    out->extra.a = ptx_take(statement, "noinc");
    ptx_take_space(statement);
    ptx_take(statement, "b64");
    ptx_want_operands(parser, statement, 1, 1);
    ptx_bind_address(parser, operands, &out->address);
    out->is_event = true;
    out->run = run_cp_arrive;
    return;
  }
  if (ptx_take_one(statement, caches) == NONE || reduces) unknown(parser, statement);
  bool hint = ptx_take(statement, "L2::cache_hint");
  while (ptx_take_prefix(statement, "L2::")) {}
  if (!ptx_take(statement, "global") || ptx_take_space(statement) != SPACE_SHARED) unknown(parser, statement);
  ptx_want_operands(parser, statement, 3, 4u + hint);
  ptx_bind_address(parser, &operands[0], &out->address);
  ptx_bind_address(parser, &operands[1], &out->second);
  out->extra.a = ptx_want_integer(parser, &operands[2]);
  if (out->extra.a != 4 && out->extra.a != 8 && out->extra.a != 16)
    ptx_parse_fail(parser, operands[2].at, "expected 4, 8 or 16 bytes");
  bool has_size = statement->operand_count == 4u + hint;
  with_sources(parser, out, has_size);
  if (has_size) {
    out->extra.b = operands[3].kind == OPERAND_REGISTER && parser->kernel->registers[operands[3].reg].type == T_PRED;
    ptx_bind_source(parser, &operands[3], out->extra.b ? T_PRED : T_U32, out->sources);
  }
  out->is_event = true;
  out->run = run_cp_async;
}

/* ---- fences ---- */

enum { FENCE_PROXY = 1, FENCE_INIT = 2 };
static ptx_step run_fence(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  (void)active;
  uint32_t now = warp->clock[warp->agent];
  if (instruction->extra.a) warp->init_fence = now;
  if (instruction->extra.a & FENCE_PROXY) {
    warp->fences = ptx_state_grow(warp->state, warp->fences, warp->fence_count, &warp->fence_room, sizeof *warp->fences);
    warp->fences[warp->fence_count++] = now;
    memcpy(warp->fence_clock, warp->clock, warp->state->agents * sizeof(uint32_t));
  }
  ptx_tick(warp);
  return STEP_NEXT;
}
static void bind_fence(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  ptx_want_operands(parser, statement, 0, 0);
  if (ptx_take(statement, "proxy")) {
    if (ptx_take(statement, "async")) out->extra.a = FENCE_PROXY;
    else if (!ptx_take(statement, "alias") && !ptx_take(statement, "async::generic")) unknown(parser, statement);
    ptx_take_space(statement);
  } else if (ptx_take(statement, "mbarrier_init")) out->extra.a = FENCE_INIT;
  ptx_take(statement, "gl");
  skip_scopes(statement);
  out->run = run_fence;
}

/* ---- registers ---- */

static ptx_step run_setmaxnreg(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  if (!ptx_converged(warp, active, ALL_LANES)) return STEP_BLOCKED;
  uint32_t wanted = (uint32_t)instruction->extra.a, have = warp->registers;
  bool grows = instruction->extra.b;
  if (wanted != have && (wanted > have) != grows)
    ptx_fail(warp, PTX_POOL, "the warp has %u registers a thread, which .%s does not bring to %u", have, grows ? "inc" : "dec",
             wanted);
  if (grows && warp->cta->pool < wanted - have) return warp->waits = WAIT_POOL, STEP_BLOCKED;
  warp->cta->pool = grows ? warp->cta->pool - (wanted - have) : warp->cta->pool + (have - wanted);
  warp->registers = wanted;
  return STEP_NEXT;
}
static void bind_setmaxnreg(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  out->extra.b = ptx_take(statement, "inc");
  if (!out->extra.b && !ptx_take(statement, "dec")) unknown(parser, statement);
  ptx_take(statement, "sync"), ptx_take(statement, "aligned"), ptx_take(statement, "u32");
  ptx_want_operands(parser, statement, 1, 1);
  out->extra.a = ptx_want_integer(parser, statement->operands);
  if (out->extra.a < 24 || out->extra.a > 256 || out->extra.a % 8)
    ptx_parse_fail(parser, statement->operands[0].at, "expected a multiple of 8 from 24 to 256");
  out->is_event = true;
  out->run = run_setmaxnreg;
}

const ptx_opcode ptx_async_opcodes[] = {{"mbarrier", bind_mbarrier},     {"cp", bind_cp},
                                        {"fence", bind_fence},           {"membar", bind_fence},
                                        {"setmaxnreg", bind_setmaxnreg}, {NULL, NULL}};

/* ---- ends ---- */

void ptx_warp_ends(ptx_warp *warp) {
  warp->state->module->counters.abandoned_copies += warp->copies.count - warp->copies.begin;
  for (uint32_t i = 0; i < warp->store_count; i++) {
    if (!warp->stores[i].was_read)
      ptx_fail(warp, PTX_IN_FLIGHT, "the warp ends and did not wait for a bulk store: its source may be gone before it was read");
    bulk_transfer *transfer = warp->stores[i].transfer;
    if (transfer->is_done) release(warp->state, transfer);
    else transfer->is_forgotten = true;
  }
  warp->store_count = 0;
  if (warp->wgmma_issued != warp->wgmma_waited) ptx_fail(warp, PTX_IN_FLIGHT, "the warp ends with wgmma in flight");
}
