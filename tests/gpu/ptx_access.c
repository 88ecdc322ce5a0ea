/* Loads, stores, atomics, copies of registers, addresses of other spaces. */
#include "ptx_internal.h"

#include <math.h>

/* ---- mov ---- */

/* What a register is (defined, in flight, written since the fence) goes with its value: a copy of an accumulator in flight is the same accumulator. */
static ptx_step run_copy(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  const ptx_source *source = instruction->sources;
  const ptx_target *target = instruction->targets;
  unsigned bytes = target->register_bytes;
  uint8_t *to = warp->file + target->offset;
  const uint8_t *from = warp->file + source->offset;
  if (active == ALL_LANES) memmove(to, from, bytes * LANES);
  else EACH_ACTIVE(l, active) memcpy(to + l * bytes, from + l * bytes, bytes);
  warp->defined[target->reg] = (warp->defined[target->reg] & ~active) | (warp->defined[source->reg] & active);
  warp->tags[target->reg] = warp->tags[source->reg];
  warp->dirty[target->reg] = warp->dirty[source->reg];
  return STEP_NEXT;
}
static ptx_step run_move(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  const void *in = ptx_fetch(warp, instruction->sources, active, 0);
  ptx_put(warp, instruction->targets, active, in, instruction->targets->bytes, false);
  return STEP_NEXT;
}
static ptx_step run_move_mask(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  ptx_put_mask(warp, instruction->targets, active, ptx_fetch_mask(warp, instruction->sources, active));
  return STEP_NEXT;
}
/* {a, b} to one register: undefined parts make an undefined register, which is no error until somebody uses it. */
static ptx_step run_pack(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  unsigned part = instruction->sources->bytes, whole = part * instruction->source_count;
  uint8_t *out = warp->scratch[4];
  uint32_t defined = active;
  for (unsigned i = 0; i < instruction->source_count; i++) {
    const ptx_source *source = &instruction->sources[i];
    uint32_t there = source->reg >= 0 ? warp->defined[source->reg] & active : active;
    const uint8_t *in = ptx_fetch(warp, source, there, 0);
    for (unsigned l = 0; l < LANES; l++) memcpy(out + l * whole + i * part, in + l * part, part);
    defined &= there;
  }
  ptx_put(warp, instruction->targets, active, out, whole, false);
  if (instruction->targets->reg >= 0) warp->defined[instruction->targets->reg] &= ~active | defined;
  return STEP_NEXT;
}
static ptx_step run_unpack(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  unsigned whole = instruction->sources->bytes, part = whole / instruction->target_count;
  const ptx_source *source = instruction->sources;
  uint32_t there = source->reg >= 0 ? warp->defined[source->reg] & active : active;
  const uint8_t *in = ptx_fetch(warp, source, there, 0);
  uint8_t copy[LANES * WIDEST];
  memcpy(copy, in, (size_t)whole * LANES); /* a part may be the register itself */
  for (unsigned i = 0; i < instruction->target_count; i++) {
    uint8_t *out = warp->scratch[4];
    for (unsigned l = 0; l < LANES; l++) memcpy(out + l * part, copy + l * whole + i * part, part);
    ptx_put(warp, &instruction->targets[i], active, out, part, false);
    if (instruction->targets[i].reg >= 0) warp->defined[instruction->targets[i].reg] &= ~active | there;
  }
  return STEP_NEXT;
}

static void bind_mov(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  ptx_type type = ptx_take_type(statement);
  ptx_want_operands(parser, statement, 2, 2);
  if (type == T_NONE || type == T_B8 || type == T_B128)
    ptx_parse_fail(parser, statement->at, "'%s' is not known here", statement->name);
  const ptx_operand *target = &statement->operands[0], *source = &statement->operands[1];
  bool pack = source->kind == OPERAND_VECTOR, unpack = target->kind == OPERAND_VECTOR;
  unsigned parts = pack ? source->count : unpack ? target->count : 1, bytes = ptx_types[type].bytes;
  if (pack && unpack) ptx_parse_fail(parser, statement->at, "expected one register on one side");
  if (parts != 1 && (parts > 4 || bytes % parts || bytes == 1))
    ptx_parse_fail(parser, statement->at, "%u bits do not fall into %u parts", bytes * 8, parts);
  static const ptx_type by_bytes[] = {T_NONE, T_B8, T_B16, T_NONE, T_B32, T_NONE, T_NONE, T_NONE, T_B64};
  ptx_type part = parts == 1 ? type : by_bytes[bytes / parts];
  if (part == T_NONE || parts == 0) ptx_parse_fail(parser, statement->at, "%u bits do not fall into %u parts", bytes * 8, parts);
  out->targets = ptx_parse_allocate(parser, 4 * sizeof *out->targets);
  out->sources = ptx_parse_allocate(parser, 4 * sizeof *out->sources);
  out->type = (uint8_t)type;
  out->target_count = (uint8_t)(unpack ? parts : 1);
  out->source_count = (uint8_t)(pack ? parts : 1);
  for (unsigned i = 0; i < out->target_count; i++)
    ptx_bind_target(parser, unpack ? &target->items[i] : target, type == T_PRED ? 0 : ptx_types[unpack ? part : type].bytes,
                    &out->targets[i]);
  for (unsigned i = 0; i < out->source_count; i++)
    ptx_bind_source(parser, pack ? &source->items[i] : source, pack ? part : type, &out->sources[i]);
  bool plain = out->sources->reg >= 0 && out->targets->reg >= 0 && out->sources->register_bytes == out->targets->register_bytes;
  out->run = pack ? run_pack : unpack ? run_unpack : type == T_PRED ? run_move_mask : plain ? run_copy : run_move;
}

/* ---- addresses ---- */

static const uint64_t windows[SPACES] = {
    [SPACE_SHARED] = SHARED_WINDOW, [SPACE_LOCAL] = LOCAL_WINDOW, [SPACE_PARAM] = PARAM_WINDOW};

static ptx_space space_of(uint64_t address) {
  return address >= PARAM_WINDOW    ? SPACE_PARAM
         : address >= LOCAL_WINDOW  ? SPACE_LOCAL
         : address >= SHARED_WINDOW ? SPACE_SHARED
                                    : SPACE_GLOBAL;
}

static ptx_step run_cvta(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  const uint64_t *in = ptx_fetch(warp, instruction->sources, active, 0);
  uint64_t *out = (uint64_t *)(void *)warp->scratch[4], delta = (uint64_t)instruction->extra.a;
  EACH_LANE(l) out[l] = in[l] + delta;
  ptx_put(warp, instruction->targets, active, out, 8, false);
  return STEP_NEXT;
}
static void bind_cvta(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  bool to = ptx_take(statement, "to");
  ptx_space space = ptx_take_space(statement);
  ptx_type type = ptx_take_type(statement), sources[] = {T_U64};
  if (space == SPACE_NONE || type != T_U64) ptx_parse_fail(parser, statement->at, "'%s' is not known here", statement->name);
  ptx_bind_lanes(parser, statement, out, T_U64, sources, 1);
  out->extra.a = (int64_t)(to ? 0 - windows[space] : windows[space]);
  out->run = run_cvta;
}
static ptx_step run_isspacep(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  const uint64_t *in = ptx_fetch(warp, instruction->sources, active, 0);
  uint32_t mask = 0;
  EACH_LANE(l) mask |= (uint32_t)(space_of(in[l]) == (ptx_space)instruction->extra.a) << l;
  ptx_put_mask(warp, instruction->targets, active, mask);
  return STEP_NEXT;
}
static void bind_isspacep(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  static const ptx_type sources[] = {T_U64};
  ptx_space space = ptx_take_space(statement);
  if (space == SPACE_NONE || space == SPACE_CONST) ptx_parse_fail(parser, statement->at, "'%s' is not known here", statement->name);
  ptx_bind_lanes(parser, statement, out, T_PRED, sources, 1);
  out->extra.a = space;
  out->run = run_isspacep;
}

/* The block of the cluster that a shared address names; what is left is the place in it. */
ptx_cta *ptx_shared_block(ptx_warp *warp, uint64_t *address) {
  if (*address >= SHARED_WINDOW) *address -= SHARED_WINDOW;
  uint64_t rank = *address >> RANK_SHIFT;
  if (rank > warp->state->cluster_size)
    ptx_fail(warp, PTX_BOUNDS, "shared address %#llx is in no block of the cluster", (unsigned long long)*address);
  *address &= (UINT64_C(1) << RANK_SHIFT) - 1;
  return rank ? &warp->state->ctas[rank - 1] : warp->cta;
}

static ptx_step run_mapa(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  const uint64_t *in = ptx_fetch(warp, &instruction->sources[0], active, 0);
  const uint32_t *rank = ptx_fetch(warp, &instruction->sources[1], active, 1);
  uint64_t *out = (uint64_t *)(void *)warp->scratch[4];
  EACH_LANE(l) {
    out[l] = 0;
    if (!(active >> l & 1)) continue;
    if (rank[l] >= warp->state->cluster_size) ptx_fail(warp, PTX_BOUNDS, "there is no block %u in the cluster", rank[l]);
    uint64_t base = in[l] & ~((UINT64_C(1) << 32) - 1), within = in[l] & ((UINT64_C(1) << RANK_SHIFT) - 1);
    out[l] = base | (uint64_t)(rank[l] + 1) << RANK_SHIFT | within;
  }
  ptx_put(warp, instruction->targets, active, out, 8, false);
  return STEP_NEXT;
}
static ptx_step run_mapa32(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  const uint32_t *in = ptx_fetch(warp, &instruction->sources[0], active, 0),
                 *rank = ptx_fetch(warp, &instruction->sources[1], active, 1);
  uint32_t *out = (uint32_t *)(void *)warp->scratch[4];
  EACH_LANE(l) {
    if ((active >> l & 1) && rank[l] >= warp->state->cluster_size)
      ptx_fail(warp, PTX_BOUNDS, "there is no block %u in the cluster", rank[l]);
    out[l] = (rank[l] + 1) << RANK_SHIFT | (in[l] & ((1u << RANK_SHIFT) - 1));
  }
  ptx_put(warp, instruction->targets, active, out, 4, false);
  return STEP_NEXT;
}
static void bind_mapa(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  ptx_take_space(statement);
  ptx_type type = ptx_take_type(statement), sources[] = {type, T_U32};
  if (type != T_U32 && type != T_U64) ptx_parse_fail(parser, statement->at, "'%s' is not known here", statement->name);
  ptx_bind_lanes(parser, statement, out, type, sources, 2);
  out->run = type == T_U64 ? run_mapa : run_mapa32;
}

/* ---- ld and st ---- */

static const uint64_t *spread_addresses(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active, ptx_space *out_space) {
  uint64_t *addresses = (uint64_t *)(void *)warp->scratch[8];
  ptx_addresses(warp, &instruction->address, active, 0, addresses);
  *out_space = (ptx_space)instruction->extra.a;
  if (*out_space == SPACE_NONE) {
    *out_space = SPACE_GLOBAL;
    bool first = true;
    EACH_ACTIVE(l, active) {
      ptx_space space = space_of(addresses[l]);
      if (!first && space != *out_space)
        ptx_fail(warp, PTX_BOUNDS, "lanes touch different spaces in one instruction: that is not known here");
      *out_space = space;
      first = false;
      addresses[l] -= windows[space];
    }
  }
  return addresses;
}

static void shared_lanes(ptx_warp *warp, const uint64_t *addresses, uint32_t active, unsigned bytes, uint8_t (*data)[16],
                         bool is_write) {
  uint32_t places[LANES];
  ptx_cta *ctas[LANES], *one = NULL;
  bool same_block = true;
  EACH_ACTIVE(l, active) {
    uint64_t address = addresses[l];
    ctas[l] = ptx_shared_block(warp, &address);
    if (address & (bytes - 1))
      ptx_fail(warp, PTX_MISALIGNED, "%u bytes at shared address %#llx are not aligned", bytes, (unsigned long long)address);
    places[l] = (uint32_t)address;
    same_block = same_block && (!one || one == ctas[l]);
    one = ctas[l];
  }
  if (is_write) EACH_ACTIVE(l, active) {
      ptx_shared_touch(warp, ctas[l], places[l], bytes, ACCESS_WRITE, l, data[l]);
      memcpy(ctas[l]->shared.data + places[l], data[l], bytes);
    }
  else if (same_block) ptx_shared_read(warp, one, places, active, bytes, data);
  else EACH_ACTIVE(l, active) ptx_shared_read(warp, ctas[l], places, 1u << l, bytes, data);
  if (same_block) ptx_wavefronts(warp, is_write ? WAVEFRONT_STORE : WAVEFRONT_LOAD, places, active, bytes);
}

static void own_lanes(ptx_warp *warp, const uint64_t *addresses, uint32_t active, unsigned bytes, uint8_t (*data)[16],
                      bool is_write, bool is_param) {
  uint64_t size = is_param ? warp->state->kernel->parameter_bytes : warp->state->kernel->local_bytes;
  EACH_ACTIVE(l, active) {
    if (addresses[l] > size || bytes > size - addresses[l])
      ptx_fail(warp, PTX_BOUNDS, "%s address %#llx (%u bytes) is past the %llu bytes there are", is_param ? "parameter" : "local",
               (unsigned long long)addresses[l], bytes, (unsigned long long)size);
    if (addresses[l] & (bytes - 1))
      ptx_fail(warp, PTX_MISALIGNED, "%u bytes at %s address %#llx are not aligned", bytes, is_param ? "parameter" : "local",
               (unsigned long long)addresses[l]);
    if (is_param) {
      memcpy(data[l], warp->state->arguments + addresses[l], bytes);
      continue;
    }
    uint8_t *own = warp->local + (size_t)l * 2 * size; /* the bytes, and whether each was written */
    if (is_write) {
      memcpy(own + addresses[l], data[l], bytes);
      memset(own + size + addresses[l], 1, bytes);
      continue;
    }
    if (memchr(own + size + addresses[l], 0, bytes))
      ptx_fail(warp, PTX_UNINITIALISED, "local byte %#llx was never written", (unsigned long long)addresses[l]);
    memcpy(data[l], own + addresses[l], bytes);
  }
}

static void access_lanes(ptx_warp *warp, ptx_space space, const uint64_t *addresses, uint32_t active, unsigned bytes,
                         uint8_t (*data)[16], bool is_write) {
  switch (space) {
  case SPACE_SHARED: shared_lanes(warp, addresses, active, bytes, data, is_write); break;
  case SPACE_LOCAL: own_lanes(warp, addresses, active, bytes, data, is_write, false); break;
  case SPACE_PARAM: own_lanes(warp, addresses, active, bytes, data, false, true); break;
  default:
    if (is_write) ptx_global_write(warp, addresses, active, bytes, data);
    else ptx_global_read(warp, addresses, active, bytes, data);
  }
}

/* Part i of what each lane has, side by side; or back. All lanes, whatever is active: the others' are not looked at. */
static inline __attribute__((always_inline)) void part_of_lanes(uint8_t (*data)[16], unsigned i, uint8_t *part,
                                                                const unsigned bytes, bool back) {
  EACH_LANE(l) {
    if (back) memcpy(data[l] + i * bytes, part + (unsigned)l * bytes, bytes);
    else memcpy(part + (unsigned)l * bytes, data[l] + i * bytes, bytes);
  }
}
static void move_part(uint8_t (*data)[16], unsigned i, uint8_t *part, unsigned bytes, bool back) {
  switch (bytes) {
  case 1: part_of_lanes(data, i, part, 1, back); break;
  case 2: part_of_lanes(data, i, part, 2, back); break;
  case 4: part_of_lanes(data, i, part, 4, back); break;
  default: part_of_lanes(data, i, part, 8, back);
  }
}

static ptx_step run_ld(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  alignas(16) uint8_t data[LANES][16];
  ptx_space space;
  const uint64_t *addresses = spread_addresses(warp, instruction, active, &space);
  unsigned bytes = ptx_types[instruction->type].bytes, whole = bytes * instruction->target_count;
  access_lanes(warp, space, addresses, active, whole, data, false);
  for (unsigned i = 0; i < instruction->target_count; i++) {
    uint8_t *out = warp->scratch[4];
    move_part(data, i, out, bytes, false);
    ptx_put(warp, &instruction->targets[i], active, out, bytes, ptx_types[instruction->type].letter == 's');
  }
  return STEP_NEXT;
}

static ptx_step run_st(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  alignas(16) uint8_t data[LANES][16];
  ptx_space space;
  unsigned bytes = ptx_types[instruction->type].bytes;
  const uint64_t *addresses = spread_addresses(warp, instruction, active, &space);
  for (unsigned i = 0; i < instruction->source_count; i++) {
    const uint8_t *in = ptx_fetch(warp, &instruction->sources[i], active, 1);
    move_part(data, i, (uint8_t *)(uintptr_t)in, bytes, true);
  }
  access_lanes(warp, space, addresses, active, bytes * instruction->source_count, data, true);
  return STEP_NEXT;
}

/* Orders, scopes and hints: all accesses here are as strong as any, and caches are not there. */
static void skip_hints(ptx_statement *statement) {
  static const char *const words[] = {"weak", "volatile", "relaxed", "acquire", "release", "acq_rel", "mmio",
                                      "cta",  "cluster",  "gpu",     "sys",     "nc",      "ca",      "cg",
                                      "cs",   "lu",       "cv",      "wb",      "wt",      "unified", NULL};
  while (ptx_take_one(statement, words) != NONE) {}
  while (ptx_take_prefix(statement, "L1::") || ptx_take_prefix(statement, "L2::")) {}
}

static void bind_memory(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  static const char *const vectors[] = {"v2", "v4", "v8", NULL};
  bool is_store = statement->parts[0][0] == 's';
  bool has_policy = false;
  for (uint32_t i = 1; i < statement->part_count; i++) has_policy |= !strcmp(statement->parts[i], "L2::cache_hint");
  skip_hints(statement);
  ptx_space space = ptx_take_space(statement);
  int vector = ptx_take_one(statement, vectors);
  ptx_type type = ptx_take_type(statement);
  unsigned parts = vector == NONE ? 1 : 2u << vector;
  if (type == T_NONE || type == T_PRED || type == T_B128 || parts * ptx_types[type].bytes > 16)
    ptx_parse_fail(parser, statement->at, "'%s' is not known here", statement->name);
  ptx_want_operands(parser, statement, 2u + has_policy, 2u + has_policy);
  const ptx_operand *address = &statement->operands[is_store ? 0 : 1], *value = &statement->operands[is_store ? 1 : 0];
  ptx_bind_address(parser, address, &out->address);
  if (space == SPACE_NONE) space = out->address.space;
  if (is_store && (space == SPACE_CONST || space == SPACE_PARAM))
    ptx_parse_fail(parser, statement->at, "this memory can't be written");
  unsigned found = value->kind == OPERAND_VECTOR ? value->count : 1;
  if (found != parts) ptx_parse_fail(parser, value->at, "expected %u values, found %u", parts, found);
  out->type = (uint8_t)type;
  out->extra.a = space;
  out->sources = ptx_parse_allocate(parser, 4 * sizeof *out->sources);
  out->targets = ptx_parse_allocate(parser, 4 * sizeof *out->targets);
  *(is_store ? &out->source_count : &out->target_count) = (uint8_t)parts;
  for (unsigned i = 0; i < parts; i++) {
    const ptx_operand *part = value->kind == OPERAND_VECTOR ? &value->items[i] : value;
    if (is_store) ptx_bind_source(parser, part, type, &out->sources[i]);
    else ptx_bind_target(parser, part, ptx_types[type].bytes, &out->targets[i]);
  }
  out->is_event = is_store;
  out->run = is_store ? run_st : run_ld;
}

/* ---- atomics ---- */

enum { ATOM_ADD, ATOM_MIN, ATOM_MAX, ATOM_AND, ATOM_OR, ATOM_XOR, ATOM_EXCH, ATOM_CAS, ATOM_INC, ATOM_DEC };

static uint64_t changed(int operation, ptx_type type, uint64_t old, uint64_t x, uint64_t y) {
  unsigned bytes = ptx_types[type].bytes;
  float a, b;
  double c, d;
  memcpy(&a, &old, 4), memcpy(&b, &x, 4), memcpy(&c, &old, 8), memcpy(&d, &x, 8);
  int64_t signed_old = bytes == 4 ? (int32_t)(uint32_t)old : (int64_t)old,
          signed_x = bytes == 4 ? (int32_t)(uint32_t)x : (int64_t)x;
  switch (operation) {
  case ATOM_ADD:
    if (type == T_F32) {
      float sum = a + b;
      uint32_t bits = 0x7fffffff;
      if (sum == sum) memcpy(&bits, &sum, 4);
      return bits;
    }
    if (type == T_F64) {
      double sum = c + d;
      uint64_t bits;
      memcpy(&bits, &sum, 8);
      return bits;
    }
    if (type == T_F16X2 || type == T_BF16X2 || type == T_F16 || type == T_BF16) {
      uint64_t result = 0;
      for (unsigned i = 0; i < bytes / 2; i++) {
        uint16_t p = (uint16_t)(old >> 16 * i), q = (uint16_t)(x >> 16 * i);
        bool half = type == T_F16X2 || type == T_F16;
        float sum = half ? ptx_f16_to_f32(p) + ptx_f16_to_f32(q) : ptx_bf16_to_f32(p) + ptx_bf16_to_f32(q);
        result |= (uint64_t)(half ? ptx_f32_to_f16((double)sum, false) : ptx_f32_to_bf16(sum, false)) << 16 * i;
      }
      return result;
    }
    return old + x;
  case ATOM_MIN: return ptx_types[type].letter == 's' ? (signed_old < signed_x ? old : x) : old < x ? old : x;
  case ATOM_MAX: return ptx_types[type].letter == 's' ? (signed_old > signed_x ? old : x) : old > x ? old : x;
  case ATOM_AND: return old & x;
  case ATOM_OR: return old | x;
  case ATOM_XOR: return old ^ x;
  case ATOM_EXCH: return x;
  case ATOM_CAS: return old == x ? y : old;
  case ATOM_INC: return old >= x ? 0 : old + 1;
  default: return old == 0 || old > x ? x : old - 1;
  }
}

/* Lanes in random order. Two blocks may add to one place; that neither reads nor writes it otherwise, the rules for blocks see to. */
static ptx_step run_atom(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  ptx_space space;
  const uint64_t *addresses = spread_addresses(warp, instruction, active, &space);
  unsigned bytes = ptx_types[instruction->type].bytes;
  const uint8_t *x = ptx_fetch(warp, &instruction->sources[0], active, 1),
                *y = instruction->source_count > 1 ? ptx_fetch(warp, &instruction->sources[1], active, 2) : NULL;
  uint8_t *out = warp->scratch[4], order[LANES];
  unsigned count = 0;
  EACH_ACTIVE(l, active) order[count++] = (uint8_t)l;
  for (unsigned i = count; i > 1; i--) {
    unsigned j = ptx_random(warp->state, i);
    uint8_t kept = order[i - 1];
    order[i - 1] = order[j];
    order[j] = kept;
  }
  for (unsigned i = 0; i < count; i++) {
    unsigned l = order[i];
    uint64_t address = addresses[l], old = 0, a = 0, b = 0;
    if (address & (bytes - 1))
      ptx_fail(warp, PTX_MISALIGNED, "%u bytes at %#llx are not aligned", bytes, (unsigned long long)address);
    uint8_t *place;
    if (space == SPACE_SHARED) {
      ptx_cta *cta = ptx_shared_block(warp, &address);
      ptx_shared *shared = &cta->shared;
      if (address + bytes > shared->bytes)
        ptx_fail(warp, PTX_BOUNDS, "shared address %#llx (%u bytes) is past the %u bytes of the block", (unsigned long long)address,
                 bytes, shared->bytes);
      for (uint64_t byte = address; byte < address + bytes; byte++)
        if (!(shared->cells[byte / 4].written >> (byte & 3) & 1))
          ptx_fail(warp, PTX_UNINITIALISED, "shared byte %#llx was never written", (unsigned long long)byte);
      for (uint64_t word = address / 4; word < (address + bytes + 3) / 4; word++)
        if (shared->cells[word].state & CELL_IN_FLIGHT || shared->cells[word].storing)
          ptx_fail(warp, PTX_IN_FLIGHT, "shared byte %#llx is used by an asynchronous copy in flight",
                   (unsigned long long)word * 4);
      place = shared->data + address;
    } else if (space == SPACE_GLOBAL) {
      ptx_allocation *allocation = ptx_global_range(warp, address, bytes);
      uint64_t at = address - allocation->base;
      for (unsigned byte = 0; byte < bytes; byte++)
        if (!allocation->written[at + byte])
          ptx_fail(warp, PTX_UNINITIALISED, "%s: byte %llu was never written", allocation->name, (unsigned long long)(at + byte));
      ptx_global_want(warp, allocation, at, bytes, true, l);
      place = allocation->data + at;
      warp->state->module->counters.global_read_bytes += bytes;
      warp->state->module->counters.global_written_bytes += bytes;
    } else ptx_fail(warp, PTX_BOUNDS, "an atomic operation on memory of a lane's own");
    memcpy(&old, place, bytes);
    memcpy(&a, x + l * bytes, bytes);
    if (y) memcpy(&b, y + l * bytes, bytes);
    uint64_t now = changed((int)instruction->extra.b, instruction->type, old, a, b);
    memcpy(place, &now, bytes);
    memcpy(out + l * bytes, &old, bytes);
  }
  if (instruction->target_count)
    ptx_put(warp, instruction->targets, active, out, bytes, ptx_types[instruction->type].letter == 's');
  return STEP_NEXT;
}

static void bind_atom(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  static const char *const names[] = {"add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec", NULL};
  bool returns = statement->parts[0][0] == 'a';
  if (!strcmp(statement->parts[0], "red") && ptx_take(statement, "async"))
    ptx_parse_fail(parser, statement->at, "'%s' is not known here", statement->name);
  int operation = ptx_take_one(statement, names);
  skip_hints(statement);
  ptx_take(statement, "noftz");
  ptx_space space = ptx_take_space(statement);
  ptx_type type = ptx_take_type(statement);
  char letter = ptx_types[type].letter;
  unsigned bytes = ptx_types[type].bytes;
  bool fits = operation == ATOM_ADD                            ? letter != 'b'
              : operation == ATOM_MIN || operation == ATOM_MAX ? letter == 'u' || letter == 's'
              : operation == ATOM_INC || operation == ATOM_DEC ? type == T_U32
                                                               : letter == 'b';
  if (operation == NONE || type == T_NONE || !fits || bytes > 8 || (bytes < 4 && operation != ATOM_ADD && operation != ATOM_CAS))
    ptx_parse_fail(parser, statement->at, "'%s' is not known here", statement->name);
  unsigned first = returns, values = operation == ATOM_CAS ? 2 : 1;
  ptx_want_operands(parser, statement, first + 1 + values, first + 1 + values);
  out->type = (uint8_t)type;
  out->targets = ptx_parse_allocate(parser, sizeof *out->targets);
  out->sources = ptx_parse_allocate(parser, 2 * sizeof *out->sources);
  if (returns) ptx_bind_target(parser, statement->operands, bytes, out->targets);
  out->target_count = returns;
  ptx_bind_address(parser, &statement->operands[first], &out->address);
  out->source_count = (uint8_t)values;
  for (unsigned i = 0; i < values; i++) ptx_bind_source(parser, &statement->operands[first + 1 + i], type, &out->sources[i]);
  out->extra.a = space == SPACE_NONE ? out->address.space : space;
  out->extra.b = operation;
  out->is_event = true;
  out->run = run_atom;
}

/* ---- what only tells the caches something ---- */

static ptx_step run_nothing(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  (void)warp, (void)instruction, (void)active;
  return STEP_NEXT;
}
static void bind_hint(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  skip_hints(statement);
  ptx_take_space(statement);
  while (ptx_take_prefix(statement, "L1") || ptx_take_prefix(statement, "L2") || ptx_take(statement, "tensormap")) {}
  if (!statement->operand_count) ptx_parse_fail(parser, statement->at, "'%s' takes an address", statement->name);
  ptx_bind_address(parser, statement->operands, &out->address);
  out->run = run_nothing;
}
static void bind_createpolicy(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  statement->used = UINT32_MAX;
  if (!statement->operand_count) ptx_parse_fail(parser, statement->at, "'%s' takes a register", statement->name);
  out->targets = ptx_parse_allocate(parser, sizeof *out->targets);
  out->sources = ptx_parse_allocate(parser, sizeof *out->sources);
  ptx_bind_target(parser, statement->operands, 8, out->targets);
  ptx_operand zero = {.kind = OPERAND_INTEGER};
  ptx_bind_source(parser, &zero, T_B64, out->sources);
  out->run = run_move;
}

const ptx_opcode ptx_access_opcodes[] = {{"mov", bind_mov},
                                         {"cvta", bind_cvta},
                                         {"isspacep", bind_isspacep},
                                         {"mapa", bind_mapa},
                                         {"ld", bind_memory},
                                         {"ldu", bind_memory},
                                         {"st", bind_memory},
                                         {"atom", bind_atom},
                                         {"red", bind_atom},
                                         {"prefetch", bind_hint},
                                         {"prefetchu", bind_hint},
                                         {"applypriority", bind_hint},
                                         {"createpolicy", bind_createpolicy},
                                         {NULL, NULL}};
