/* Statements to instructions: opcodes are looked up in the tables, whose rows take the modifiers they understand; one that is left is an error. */
#include "ptx_internal.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- modifiers ---- */

bool ptx_take(ptx_statement *statement, const char *modifier) {
  for (uint32_t i = 1; i < statement->part_count; i++)
    if (!(statement->used >> i & 1) && !strcmp(statement->parts[i], modifier)) return statement->used |= 1u << i, true;
  return false;
}

const char *ptx_take_prefix(ptx_statement *statement, const char *prefix) {
  for (uint32_t i = 1; i < statement->part_count; i++)
    if (!(statement->used >> i & 1) && !strncmp(statement->parts[i], prefix, strlen(prefix)))
      return statement->used |= 1u << i, statement->parts[i];
  return NULL;
}

int ptx_take_one(ptx_statement *statement, const char *const *modifiers) {
  for (int i = 0; modifiers[i]; i++)
    if (ptx_take(statement, modifiers[i])) return i;
  return NONE;
}

ptx_type ptx_take_type(ptx_statement *statement) {
  for (uint32_t i = 1; i < statement->part_count; i++)
    for (int t = 1; t < TYPES; t++)
      if (!(statement->used >> i & 1) && !strcmp(statement->parts[i], ptx_types[t].name))
        return statement->used |= 1u << i, (ptx_type)t;
  return T_NONE;
}

ptx_space ptx_take_space(ptx_statement *statement) {
  static const char *const names[] = {"global", "const", "shared",       "shared::cta", "shared::cluster",
                                      "local",  "param", "param::entry", NULL};
  static const ptx_space spaces[] = {SPACE_GLOBAL, SPACE_CONST, SPACE_SHARED, SPACE_SHARED,
                                     SPACE_SHARED, SPACE_LOCAL, SPACE_PARAM,  SPACE_PARAM};
  int found = ptx_take_one(statement, names);
  return found == NONE ? SPACE_NONE : spaces[found];
}

void ptx_want_operands(ptx_parser *parser, const ptx_statement *statement, uint32_t least, uint32_t most) {
  if (statement->operand_count >= least && statement->operand_count <= most) return;
  if (least == most)
    ptx_parse_fail(parser, statement->at, "'%s' takes %u operands, found %u", statement->name, least, statement->operand_count);
  ptx_parse_fail(parser, statement->at, "'%s' takes %u to %u operands, found %u", statement->name, least, most,
                 statement->operand_count);
}

int64_t ptx_want_integer(ptx_parser *parser, const ptx_operand *operand) {
  if (operand->kind != OPERAND_INTEGER) ptx_parse_fail(parser, operand->at, "expected an integer");
  return operand->value;
}

/* ---- special registers ---- */

static const char *const specials[] = {"%tid.x",
                                       "%tid.y",
                                       "%tid.z",
                                       "%ntid.x",
                                       "%ntid.y",
                                       "%ntid.z",
                                       "%ctaid.x",
                                       "%ctaid.y",
                                       "%ctaid.z",
                                       "%nctaid.x",
                                       "%nctaid.y",
                                       "%nctaid.z",
                                       "%laneid",
                                       "%warpid",
                                       "%nwarpid",
                                       "%lanemask_eq",
                                       "%lanemask_lt",
                                       "%lanemask_le",
                                       "%lanemask_gt",
                                       "%lanemask_ge",
                                       "%clock",
                                       "%clock64",
                                       "%globaltimer",
                                       "%dynamic_smem_size",
                                       "%total_smem_size",
                                       "%smid",
                                       "%nsmid",
                                       "%gridid",
                                       "%cluster_ctarank",
                                       "%cluster_nctarank",
                                       "%cluster_ctaid.x",
                                       "%cluster_ctaid.y",
                                       "%cluster_ctaid.z",
                                       "%cluster_nctaid.x",
                                       "%cluster_nctaid.y",
                                       "%cluster_nctaid.z",
                                       "%clusterid.x",
                                       "%clusterid.y",
                                       "%clusterid.z",
                                       "%nclusterid.x",
                                       "%nclusterid.y",
                                       "%nclusterid.z",
                                       "%is_explicit_cluster",
                                       "WARP_SZ",
                                       "%clock_hi",
                                       "%globaltimer_lo"};

int ptx_special_find(const char *name, size_t size) {
  for (size_t i = 0; i < sizeof specials / sizeof *specials; i++)
    if (strlen(specials[i]) == size && !memcmp(specials[i], name, size)) return (int)i;
  return NONE;
}

/* ---- operands ---- */

static const ptx_register *register_of(ptx_parser *parser, const ptx_operand *operand) {
  if (operand->kind != OPERAND_REGISTER) ptx_parse_fail(parser, operand->at, "expected a register");
  return &parser->kernel->registers[operand->reg];
}

void ptx_bind_target(ptx_parser *parser, const ptx_operand *operand, unsigned bytes, ptx_target *out) {
  *out = (ptx_target){.reg = NONE, .bytes = (uint8_t)bytes};
  if (operand->kind == OPERAND_SINK) return;
  const ptx_register *reg = register_of(parser, operand);
  if (operand->negated) ptx_parse_fail(parser, operand->at, "a register that is written can't be negated");
  if ((reg->type == T_PRED) != (bytes == 0))
    ptx_parse_fail(parser, operand->at, bytes ? "expected a register, found a predicate" : "expected a predicate");
  if (reg->bytes < bytes)
    ptx_parse_fail(parser, operand->at, "expected a register of %u bits, found one of %u", bytes * 8, reg->bytes * 8u);
  if (bytes && reg->bytes > WIDEST) ptx_parse_fail(parser, operand->at, "registers of 128 bits are not known here");
  *out = (ptx_target){operand->reg, reg->offset, (uint8_t)bytes, reg->bytes};
}

static const void *spread(ptx_parser *parser, uint64_t value, unsigned bytes) {
  uint8_t *all = ptx_parse_allocate(parser, (size_t)LANES * bytes);
  EACH_LANE(l) memcpy(all + (size_t)l * bytes, &value, bytes);
  return all;
}

void ptx_bind_source(ptx_parser *parser, const ptx_operand *operand, ptx_type type, ptx_source *out) {
  unsigned bytes = type == T_PRED ? 0 : ptx_types[type].bytes;
  *out = (ptx_source){.reg = NONE,
                      .special = NONE,
                      .bytes = (uint8_t)bytes,
                      .negated = operand->negated,
                      .is_signed = ptx_types[type].letter == 's'};
  if (operand->negated && type != T_PRED) ptx_parse_fail(parser, operand->at, "only a predicate can be negated");
  switch (operand->kind) {
  case OPERAND_REGISTER: {
    const ptx_register *reg = register_of(parser, operand);
    if ((reg->type == T_PRED) != (type == T_PRED))
      ptx_parse_fail(parser, operand->at,
                     type == T_PRED ? "expected a predicate" : "expected a value of type %s, found a predicate",
                     ptx_types[type].name);
    if (reg->bytes < bytes)
      ptx_parse_fail(parser, operand->at, "expected a value of %u bits, found a register of %u", bytes * 8, reg->bytes * 8u);
    if (reg->bytes > WIDEST) ptx_parse_fail(parser, operand->at, "registers of 128 bits are not known here");
    out->reg = operand->reg;
    out->offset = reg->offset;
    out->register_bytes = reg->bytes;
    return;
  }
  case OPERAND_INTEGER:
    if (type == T_PRED) {
      static const uint32_t none = 0, all = ALL_LANES;
      out->constant = operand->value ? &all : &none;
    } else out->constant = spread(parser, (uint64_t)operand->value, bytes);
    return;
  case OPERAND_FLOAT: {
    uint64_t bits = 0;
    float single = (float)operand->number;
    if (bytes == 8) memcpy(&bits, &operand->number, 8);
    else if (bytes == 4 && operand->count == 4) bits = (uint32_t)operand->value;
    else if (bytes == 4) memcpy(&bits, &single, 4);
    else if (type == T_BF16) bits = ptx_f32_to_bf16(single, false);
    else if (bytes == 2) bits = ptx_f32_to_f16(operand->number, false);
    else ptx_parse_fail(parser, operand->at, "expected a value of type %s, found a number with a point", ptx_types[type].name);
    out->constant = spread(parser, bits, bytes);
    return;
  }
  case OPERAND_SYMBOL:
    if (bytes < 4 || type == T_PRED)
      ptx_parse_fail(parser, operand->at, "an address does not fit a value of type %s", ptx_types[type].name);
    out->constant = spread(parser, operand->symbol->value + (uint64_t)operand->value, bytes);
    return;
  case OPERAND_SPECIAL:
    if (bytes < 2) ptx_parse_fail(parser, operand->at, "a special register does not fit a value of type %s", ptx_types[type].name);
    out->special = operand->special;
    return;
  default: ptx_parse_fail(parser, operand->at, "expected a register or a number");
  }
}

void ptx_bind_address(ptx_parser *parser, const ptx_operand *operand, ptx_address *out) {
  if (operand->kind != OPERAND_ADDRESS) ptx_parse_fail(parser, operand->at, "expected an address in brackets");
  const ptx_operand *base = &operand->items[0];
  *out = (ptx_address){.base = {.reg = NONE, .special = NONE, .bytes = 8}, .offset = operand->value, .space = SPACE_NONE};
  if (base->kind == OPERAND_REGISTER) {
    unsigned bytes = parser->kernel->registers[base->reg].bytes;
    if (bytes < 4) ptx_parse_fail(parser, base->at, "expected an address of 32 or 64 bits");
    ptx_bind_source(parser, base, bytes == 8 ? T_U64 : T_U32, &out->base);
  } else if (base->kind == OPERAND_SYMBOL) {
    out->offset += (int64_t)base->symbol->value;
    out->space = base->symbol->space;
  } else out->offset = base->value;
}

static ptx_step run_lanes(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  const void *in[4];
  for (unsigned i = 0; i < instruction->source_count; i++) in[i] = ptx_fetch(warp, &instruction->sources[i], active, i);
  const ptx_target *target = instruction->targets;
  if (active == ALL_LANES && target->reg >= 0 && target->register_bytes == target->bytes) {
    instruction->lanes(ptx_claim(warp, target, active), in);
    return STEP_NEXT;
  }
  instruction->lanes(warp->scratch[4], in);
  ptx_put(warp, target, active, warp->scratch[4], target->bytes, ptx_types[instruction->type].letter == 's');
  return STEP_NEXT;
}

void ptx_bind_lanes(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out, ptx_type target, const ptx_type *sources,
                    unsigned count) {
  ptx_want_operands(parser, statement, count + 1, count + 1);
  out->targets = ptx_parse_allocate(parser, sizeof *out->targets);
  out->sources = ptx_parse_allocate(parser, count * sizeof *out->sources);
  out->target_count = 1;
  out->source_count = (uint8_t)count;
  out->type = (uint8_t)target;
  ptx_bind_target(parser, &statement->operands[0], target == T_PRED ? 0 : ptx_types[target].bytes, out->targets);
  for (unsigned i = 0; i < count; i++) ptx_bind_source(parser, &statement->operands[i + 1], sources[i], &out->sources[i]);
  out->run = run_lanes;
}

/* ---- opcodes ---- */

static const ptx_opcode *find_opcode(const char *name) {
  static const ptx_opcode *const tables[] = {ptx_scalar_opcodes, ptx_access_opcodes, ptx_control_opcodes, ptx_async_opcodes,
                                             ptx_matrix_opcodes};
  for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
    for (const ptx_opcode *row = tables[t]; row->name; row++)
      if (!strcmp(row->name, name)) return row;
  return NULL;
}

bool ptx_is_opcode(const char *name) { return find_opcode(name) != NULL; }

void ptx_bind(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  find_opcode(statement->parts[0])->bind(parser, statement, out);
  for (uint32_t i = 1; i < statement->part_count; i++)
    if (!(statement->used >> i & 1))
      ptx_parse_fail(parser, statement->at, "'%s' is not known here: '.%s'", statement->name, statement->parts[i]);
}
