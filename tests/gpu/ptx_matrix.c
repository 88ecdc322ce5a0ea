/* Matrix instructions, by the layouts of ptx_layouts.h.
 *
 * Sums are f32, in the order of k; what a device does between is not specified either. A wgmma is computed when the fourth warp of its group has issued it;
 * its accumulators belong to it until the warp has waited, its operands in shared memory until all four have, and the writer knows. */
#include "ptx_internal.h"

/* ---- ldmatrix, stmatrix, movmatrix: 8 x 8 of 16 bits; lane l has row l / 4, columns 2 (l % 4) and the next ---- */

static uint16_t half_of(const uint32_t *words, uint32_t index) { return (uint16_t)(words[index / 2] >> 16 * (index % 2)); }

static void matrix_addresses(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active, uint32_t *places, ptx_cta **cta) {
  uint64_t *addresses = (uint64_t *)(void *)warp->scratch[8];
  ptx_addresses(warp, &instruction->address, active, 0, addresses);
  for (uint32_t l = 0; l < 8 * (uint32_t)instruction->extra.a; l++) {
    cta[l] = ptx_shared_block(warp, &addresses[l]);
    places[l] = (uint32_t)addresses[l];
    if (places[l] % 16) ptx_fail(warp, PTX_MISALIGNED, "lane %u gives row address %#x: not aligned to 16 bytes", l, places[l]);
  }
}

static ptx_step run_ldmatrix(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  if (!ptx_converged(warp, active, ALL_LANES)) return STEP_BLOCKED;
  uint32_t places[LANES], *out = (uint32_t *)(void *)warp->scratch[4];
  ptx_cta *cta[LANES];
  matrix_addresses(warp, instruction, active, places, cta);
  for (uint32_t m = 0; m < instruction->target_count; m++) {
    uint32_t rows[32];
    for (uint32_t r = 0; r < 8; r++) {
      ptx_shared_touch(warp, cta[8 * m + r], places[8 * m + r], 16, ACCESS_READ, MANY_LANES, NULL);
      memcpy(rows + 4 * r, cta[8 * m + r]->shared.data + places[8 * m + r], 16);
    }
    ptx_wavefronts(warp, WAVEFRONT_LOAD, places + 8 * m, 0xff, 16);
    EACH_LANE(l) {
      uint32_t row = (uint32_t)l / 4, column = 2 * ((uint32_t)l % 4);
      out[l] = instruction->extra.b ? (uint32_t)half_of(rows, (column + 1) * 8 + row) << 16 | half_of(rows, column * 8 + row)
                                    : rows[4 * row + column / 2];
    }
    ptx_put(warp, &instruction->targets[m], active, out, 4, false);
  }
  return STEP_NEXT;
}

static ptx_step run_stmatrix(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  if (!ptx_converged(warp, active, ALL_LANES)) return STEP_BLOCKED;
  uint32_t places[LANES];
  ptx_cta *cta[LANES];
  matrix_addresses(warp, instruction, active, places, cta);
  for (uint32_t m = 0; m < instruction->source_count; m++) {
    const uint32_t *in = ptx_fetch(warp, &instruction->sources[m], active, 1);
    uint16_t rows[8][8];
    for (uint32_t l = 0; l < LANES; l++)
      for (uint32_t h = 0; h < 2; h++) {
        uint32_t row = l / 4, column = 2 * (l % 4) + h;
        rows[instruction->extra.b ? column : row][instruction->extra.b ? row : column] = (uint16_t)(in[l] >> 16 * h);
      }
    for (uint32_t r = 0; r < 8; r++) {
      ptx_shared_touch(warp, cta[8 * m + r], places[8 * m + r], 16, ACCESS_WRITE, MANY_LANES, NULL);
      memcpy(cta[8 * m + r]->shared.data + places[8 * m + r], rows[r], 16);
    }
    ptx_wavefronts(warp, WAVEFRONT_STORE, places + 8 * m, 0xff, 16);
  }
  return STEP_NEXT;
}

static ptx_step run_movmatrix(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  if (!ptx_converged(warp, active, ALL_LANES)) return STEP_BLOCKED;
  const uint32_t *in = ptx_fetch(warp, instruction->sources, active, 0);
  uint32_t *out = (uint32_t *)(void *)warp->scratch[4];
  EACH_LANE(l) {
    uint32_t row = (uint32_t)l / 4, column = 2 * ((uint32_t)l % 4);
    out[l] = (uint32_t)half_of(in, (column + 1) * 8 + row) << 16 | half_of(in, column * 8 + row);
  }
  ptx_put(warp, instruction->targets, active, out, 4, false);
  return STEP_NEXT;
}

static _Noreturn void unknown(ptx_parser *parser, const ptx_statement *statement) {
  ptx_parse_fail(parser, statement->at, "'%s' is not known here", statement->name);
}

static uint32_t parts_of(const ptx_operand *operand) { return operand->kind == OPERAND_VECTOR ? operand->count : 1; }
static const ptx_operand *part_of(const ptx_operand *operand, uint32_t i) {
  return operand->kind == OPERAND_VECTOR ? &operand->items[i] : operand;
}

static void bind_sources(ptx_parser *parser, ptx_instruction *out, const ptx_operand *operand, ptx_type type) {
  for (uint32_t i = 0; i < parts_of(operand); i++)
    ptx_bind_source(parser, part_of(operand, i), type, &out->sources[out->source_count++]);
}

static void bind_ldmatrix(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  static const char *const counts[] = {"x1", "x2", "x4", NULL};
  bool stores = statement->parts[0][0] == 's';
  if (!ptx_take(statement, "sync") || !ptx_take(statement, "aligned") || !ptx_take(statement, "m8n8")) unknown(parser, statement);
  int count = ptx_take_one(statement, counts);
  out->extra.b = ptx_take(statement, "trans");
  if (count == NONE || ptx_take_space(statement) != SPACE_SHARED || !ptx_take(statement, "b16")) unknown(parser, statement);
  ptx_want_operands(parser, statement, 2, 2);
  const ptx_operand *registers = &statement->operands[stores];
  uint32_t parts = 1u << count;
  if (parts_of(registers) != parts)
    ptx_parse_fail(parser, registers->at, "expected %u registers, found %u", parts, parts_of(registers));
  ptx_bind_address(parser, &statement->operands[!stores], &out->address);
  out->extra.a = parts;
  out->targets = ptx_parse_allocate(parser, parts * sizeof *out->targets);
  out->sources = ptx_parse_allocate(parser, parts * sizeof *out->sources);
  if (stores) bind_sources(parser, out, registers, T_B32);
  else {
    out->target_count = (uint8_t)parts;
    for (uint32_t i = 0; i < parts; i++) ptx_bind_target(parser, part_of(registers, i), 4, &out->targets[i]);
  }
  out->is_event = stores;
  out->run = stores ? run_stmatrix : run_ldmatrix;
}
static void bind_movmatrix(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  static const ptx_type sources[] = {T_B32};
  if (!ptx_take(statement, "sync") || !ptx_take(statement, "aligned") || !ptx_take(statement, "m8n8") ||
      !ptx_take(statement, "trans") || !ptx_take(statement, "b16"))
    unknown(parser, statement);
  ptx_bind_lanes(parser, statement, out, T_B32, sources, 1);
  out->run = run_movmatrix;
}

/* ---- products ---- */

/* d[m][n] += a[m][k] b[k][n], rows of d and b `stride` apart */
FAST static void multiply(float *d, const float *a, const float *b, uint32_t m, uint32_t n, uint32_t k, uint32_t stride) {
  for (uint32_t i = 0; i < m; i++)
    for (uint32_t p = 0; p < k; p++) {
      float x = a[i * k + p];
      float *row = d + i * stride;
      const float *from = b + p * stride;
      for (uint32_t j = 0; j < n; j++) row[j] += x * from[j];
    }
}

static float value_of(uint16_t bits, ptx_type type) { return type == T_BF16 ? ptx_bf16_to_f32(bits) : ptx_f16_to_f32(bits); }
static ptx_step run_mma(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  if (!ptx_converged(warp, active, ALL_LANES)) return STEP_BLOCKED;
  uint32_t k = (uint32_t)instruction->extra.a, a_count = k / 4, b_count = k / 8;
  ptx_type type = (ptx_type)instruction->extra.b;
  bool single = instruction->type == T_F32;
  uint32_t c_count = single ? 4 : 2;
  float a[16 * 16], b[16 * 8], d[16 * 8];
  for (uint32_t i = 0; i < a_count; i++) {
    const uint32_t *in = ptx_fetch(warp, &instruction->sources[i], active, 0);
    for (uint32_t l = 0; l < LANES; l++)
      for (uint32_t h = 0; h < 2; h++) {
        matrix_place place = ptx_mma_a(l, 2 * i + h);
        a[place.row * k + place.column] = value_of((uint16_t)(in[l] >> 16 * h), type);
      }
  }
  for (uint32_t i = 0; i < b_count; i++) {
    const uint32_t *in = ptx_fetch(warp, &instruction->sources[a_count + i], active, 0);
    for (uint32_t l = 0; l < LANES; l++)
      for (uint32_t h = 0; h < 2; h++) {
        matrix_place place = ptx_mma_b(l, 2 * i + h);
        b[place.row * 8 + place.column] = value_of((uint16_t)(in[l] >> 16 * h), type);
      }
  }
  for (uint32_t i = 0; i < c_count; i++) {
    const uint32_t *in = ptx_fetch(warp, &instruction->sources[a_count + b_count + i], active, 0);
    for (uint32_t l = 0; l < LANES; l++)
      for (uint32_t h = 0; h < (single ? 1u : 2u); h++) {
        matrix_place place = ptx_mma_c(l, single ? i : 2 * i + h);
        float value;
        if (single) memcpy(&value, &in[l], 4);
        else value = ptx_f16_to_f32((uint16_t)(in[l] >> 16 * h));
        d[place.row * 8 + place.column] = value;
      }
  }
  multiply(d, a, b, 16, 8, k, 8);
  uint32_t *out = (uint32_t *)(void *)warp->scratch[4];
  for (uint32_t i = 0; i < c_count; i++) {
    for (uint32_t l = 0; l < LANES; l++) {
      out[l] = 0;
      for (uint32_t h = 0; h < (single ? 1u : 2u); h++) {
        matrix_place place = ptx_mma_c(l, single ? i : 2 * i + h);
        float value = d[place.row * 8 + place.column];
        if (single) memcpy(&out[l], &value, 4);
        else out[l] |= (uint32_t)ptx_f32_to_f16((double)value, false) << 16 * h;
      }
    }
    ptx_put(warp, &instruction->targets[i], active, out, 4, false);
  }
  return STEP_NEXT;
}

static void bind_mma(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  static const char *const shapes[] = {"m16n8k8", "m16n8k16", NULL};
  if (!ptx_take(statement, "sync") || !ptx_take(statement, "aligned")) unknown(parser, statement);
  int shape = ptx_take_one(statement, shapes);
  if (shape == NONE || !ptx_take(statement, "row") || !ptx_take(statement, "col")) unknown(parser, statement);
  ptx_type d = ptx_take_type(statement), a = ptx_take_type(statement), b = ptx_take_type(statement), c = ptx_take_type(statement);
  if (a != b || c != d || (a != T_F16 && a != T_BF16) || (d != T_F32 && (d != T_F16 || a != T_F16))) unknown(parser, statement);
  uint32_t k = shape ? 16 : 8, counts[] = {d == T_F32 ? 4 : 2, k / 4, k / 8, d == T_F32 ? 4 : 2};
  ptx_want_operands(parser, statement, 4, 4);
  for (int i = 0; i < 4; i++)
    if (parts_of(&statement->operands[i]) != counts[i])
      ptx_parse_fail(parser, statement->operands[i].at, "expected %u registers, found %u", counts[i],
                     parts_of(&statement->operands[i]));
  out->targets = ptx_parse_allocate(parser, 4 * sizeof *out->targets);
  out->sources = ptx_parse_allocate(parser, 16 * sizeof *out->sources);
  out->target_count = (uint8_t)counts[0];
  for (uint32_t i = 0; i < counts[0]; i++) ptx_bind_target(parser, part_of(&statement->operands[0], i), 4, &out->targets[i]);
  for (int i = 1; i < 4; i++) bind_sources(parser, out, &statement->operands[i], T_B32);
  out->type = (uint8_t)d;
  out->extra.a = k;
  out->extra.b = a;
  out->run = run_mma;
}

/* ---- wgmma ---- */

typedef struct wgmma_form {
  uint32_t n, k, accumulators;
  ptx_type d, a;
  int scale_a, scale_b;
  unsigned major_a, major_b;
  bool a_in_registers;
} wgmma_form;

/* 16 bytes each: where the operand's rows [first, first + rows) are. */
static uint32_t units_of(uint64_t descriptor, uint32_t first, uint32_t rows, uint32_t k, unsigned major, uint32_t *out) {
  uint32_t count = 0;
  if (major == 0) {
    for (uint32_t r = first; r < first + rows; r++)
      for (uint32_t p = 0; p < k; p += 8) out[count++] = ptx_wgmma_address(descriptor, r, p, 0, 2);
  } else {
    for (uint32_t p = 0; p < k; p++)
      for (uint32_t r = first; r < first + rows; r += 8) out[count++] = ptx_wgmma_address(descriptor, r, p, 1, 2);
  }
  return count;
}

/* Rows [first, first + rows) of an operand, times `scale`: element (row, k) goes to out[(row - first) * row_step + k * k_step]. Pieces of 16 bytes lie along k, or along the rows. */
static void decode(const ptx_shared *shared, uint64_t descriptor, uint32_t first, uint32_t rows, unsigned major, int scale,
                   const wgmma_form *form, float *out, uint32_t row_step, uint32_t k_step) {
  uint32_t per = 8, along = major ? row_step : k_step, lines = major ? form->k : rows, pieces = (major ? rows : form->k) / per;
  for (uint32_t line = 0; line < lines; line++)
    for (uint32_t piece = 0; piece < pieces; piece++) {
      uint32_t row = major ? piece * per : line, k = major ? line : piece * per;
      const uint8_t *from = shared->data + ptx_wgmma_address(descriptor, first + row, k, major, 2);
      float *to = out + row * row_step + k * k_step;
      for (uint32_t i = 0; i < per; i++) {
        uint16_t half;
        memcpy(&half, from + 2 * i, 2);
        float value = value_of(half, form->a);
        to[i * along] = scale < 0 ? -value : value;
      }
    }
}

/* Accumulators of a warp to d[16][n], or back. */
static void exchange(ptx_warp *warp, const ptx_instruction *instruction, const wgmma_form *form, float *d, bool load) {
  for (uint32_t i = 0; i < form->accumulators; i++) {
    uint32_t *lanes = (uint32_t *)(void *)(warp->file + instruction->targets[i].offset);
    if (form->d == T_F32) {
      matrix_place first = ptx_wgmma_d(0, i);
      for (uint32_t l = 0; l < LANES; l++) { /* rows and columns of lanes do not depend on the register */
        float *value = &d[(first.row + l / 4) * form->n + first.column + 2 * (l % 4)];
        if (load) memcpy(value, &lanes[l], 4);
        else memcpy(&lanes[l], value, 4);
      }
      continue;
    }
    for (uint32_t l = 0; l < LANES; l++)
      for (uint32_t h = 0; h < 2; h++) {
        matrix_place place = ptx_wgmma_d(l, 2 * i + h);
        float *value = &d[place.row * form->n + place.column];
        if (load) *value = ptx_f16_to_f32((uint16_t)(lanes[l] >> 16 * h));
        else lanes[l] = (lanes[l] & ~(0xffffu << 16 * h)) | (uint32_t)ptx_f32_to_f16((double)*value, false) << 16 * h;
      }
  }
}

/* All four warps are here: their rows are computed from what shared memory holds now. */
static void compute(ptx_cta *cta, const wgmma_record *record) {
  const pending_wgmma *pending = record->pending;
  const wgmma_form *form = pending[0].instruction->extra.table;
  uint32_t n = form->n, k = form->k;
  static _Thread_local float a[64 * 16], b[16 * 256], d[16 * 256];
  decode(&cta->shared, record->b, 0, n, form->major_b, form->scale_b, form, b, 1, n);
  for (uint32_t w = 0; w < 4; w++) {
    ptx_warp *warp = pending[w].warp;
    const ptx_instruction *instruction = pending[w].instruction;
    if (form->a_in_registers) {
      for (uint32_t i = 0; i < 4; i++) {
        const uint32_t *in = (const uint32_t *)(const void *)(warp->file + instruction->sources[2 + i].offset);
        for (uint32_t l = 0; l < LANES; l++) {
          for (uint32_t h = 0; h < 2; h++) {
            matrix_place place = ptx_mma_a(l, 2 * i + h);
            a[place.row * k + place.column] = value_of((uint16_t)(in[l] >> 16 * h), form->a) * (float)form->scale_a;
          }
        }
      }
    } else decode(&cta->shared, record->a, 16 * w, 16, form->major_a, form->scale_a, form, a, k, 1);
    exchange(warp, instruction, form, d, true);
    if (!pending[w].adds) memset(d, 0, 16 * n * sizeof *d);
    multiply(d, a, b, 16, n, k, n);
    exchange(warp, instruction, form, d, false);
  }
}

static uint64_t uniform64(ptx_warp *warp, const ptx_source *source, uint32_t active) {
  const uint64_t *lanes = ptx_fetch(warp, source, active, 0);
  EACH_LANE(l)
  if (lanes[l] != lanes[0])
    ptx_fail(warp, PTX_DESCRIPTOR, "the descriptor of lane %d is %#llx, that of lane 0 %#llx", l, (unsigned long long)lanes[l],
             (unsigned long long)lanes[0]);
  if (lanes[0] >> 49 & 7) ptx_fail(warp, PTX_DESCRIPTOR, "a descriptor with a base offset is not known here");
  return lanes[0];
}

static ptx_step run_wgmma(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  if (!ptx_converged(warp, active, ALL_LANES)) return STEP_BLOCKED;
  const wgmma_form *form = instruction->extra.table;
  ptx_cta *cta = warp->cta;
  ptx_shared *shared = &cta->shared;
  uint32_t group = warp->index / 4, member = warp->index % 4, units[1024];
  if (group * 4 + 4 > warp->state->warps) ptx_fail(warp, PTX_DESCRIPTOR, "the warp is in no warpgroup of four");
  uint64_t b = uniform64(warp, &instruction->sources[1], active),
           a = form->a_in_registers ? 0 : uniform64(warp, &instruction->sources[0], active);
  bool adds = ptx_fetch_mask(warp, &instruction->extra_source, active) & 1;
  uint32_t number = warp->wgmma_issued;
  if (number == shared->record_count[group]) {
    shared->records[group] =
        ptx_state_grow(warp->state, shared->records[group], number, &shared->record_room[group], sizeof(wgmma_record));
    shared->records[group][number] = (wgmma_record){.pc = warp->pc, .a = a, .b = b};
    shared->record_count[group]++;
  }
  wgmma_record *record = &shared->records[group][number];
  if (record->pc != warp->pc || record->a != a || record->b != b)
    ptx_fail(
        warp, PTX_DESCRIPTOR,
        "the warps of warpgroup %u do not issue the same wgmma: another had descriptors %#llx and %#llx, this one %#llx and %#llx",
        group, (unsigned long long)record->a, (unsigned long long)record->b, (unsigned long long)a, (unsigned long long)b);
  ptx_shared_async_read(warp, cta, units, units_of(b, 0, form->n, form->k, form->major_b, units), group, number + 1);
  if (form->a_in_registers)
    for (uint32_t i = 0; i < 4; i++) {
      /* In flight they may be: several wgmma may have one A. */
      if (warp->defined[instruction->sources[2 + i].reg] != ALL_LANES)
        ptx_fail(warp, PTX_REGISTER, "register %u of operand A was never written", i);
      if (warp->dirty[instruction->sources[2 + i].reg])
        ptx_fail(warp, PTX_ACCUMULATOR, "registers of operand A were written after the last wgmma.fence");
    }
  else ptx_shared_async_read(warp, cta, units, units_of(a, 16 * member, 16, form->k, form->major_a, units), group, number + 1);
  for (uint32_t i = 0; i < form->accumulators; i++) {
    int32_t reg = instruction->targets[i].reg;
    if (warp->dirty[reg] && !warp->tags[reg])
      ptx_fail(warp, PTX_ACCUMULATOR, "accumulator %u was written after the last wgmma.fence", i);
    if (adds && warp->defined[reg] != ALL_LANES) ptx_fail(warp, PTX_REGISTER, "accumulator %u was never written", i);
  }
  warp->wgmma_issued++;
  for (uint32_t i = 0; i < form->accumulators + (form->a_in_registers ? 4 : 0); i++) {
    int32_t reg = i < form->accumulators ? instruction->targets[i].reg : instruction->sources[2 + i - form->accumulators].reg;
    warp->defined[reg] = ALL_LANES;
    warp->tags[reg] = warp->wgmma_groups + 1;
    warp->dirty[reg] = 0;
  }
  record->pending[member] = (pending_wgmma){warp, instruction, adds};
  if (++record->issued == 4) {
    compute(cta, record);
    record->executed = true;
    warp->state->events++;
  }
  return STEP_NEXT;
}

static ptx_step run_wgmma_fence(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  (void)instruction;
  if (!ptx_converged(warp, active, ALL_LANES)) return STEP_BLOCKED;
  memset(warp->dirty, 0, warp->state->kernel->register_count);
  return STEP_NEXT;
}

static ptx_step run_wgmma_commit(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  (void)instruction;
  if (!ptx_converged(warp, active, ALL_LANES)) return STEP_BLOCKED;
  warp->wgmma_ends = ptx_state_grow(warp->state, warp->wgmma_ends, warp->wgmma_groups, &warp->wgmma_room, sizeof *warp->wgmma_ends);
  warp->wgmma_ends[warp->wgmma_groups++] = warp->wgmma_issued;
  return STEP_NEXT;
}

static ptx_step run_wgmma_wait(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  if (!ptx_converged(warp, active, ALL_LANES)) return STEP_BLOCKED;
  int64_t done = (int64_t)warp->wgmma_groups - instruction->extra.a; /* so many groups must be complete */
  if (done > 0) {
    uint32_t group = warp->index / 4, end = warp->wgmma_ends[done - 1];
    wgmma_record *records = warp->cta->shared.records[group];
    for (uint32_t i = warp->wgmma_waited; i < end; i++)
      if (!records[i].executed) return warp->waits = WAIT_GROUP, STEP_BLOCKED;
    for (uint32_t i = warp->wgmma_waited; i < end; i++) records[i].seen[warp->index % 4] = warp->clock[warp->agent];
    if (end > warp->wgmma_waited) warp->wgmma_waited = end;
    for (uint32_t i = 0; i < warp->state->kernel->register_count; i++)
      if (warp->tags[i] && warp->tags[i] <= done) warp->tags[i] = 0;
  }
  ptx_tick(warp);
  return STEP_NEXT;
}

static int scale_of(ptx_parser *parser, const ptx_operand *operand) {
  int64_t value = ptx_want_integer(parser, operand);
  if (value != 1 && value != -1) ptx_parse_fail(parser, operand->at, "expected 1 or -1");
  return (int)value;
}
static unsigned major_of(ptx_parser *parser, const ptx_operand *operand) {
  int64_t value = ptx_want_integer(parser, operand);
  if (value != 0 && value != 1) ptx_parse_fail(parser, operand->at, "expected 0 or 1");
  return (unsigned)value;
}

static void bind_wgmma(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  const ptx_operand *operands = statement->operands;
  static const char *const kinds[] = {"fence", "commit_group", "wait_group", "mma_async", NULL};
  int kind = ptx_take_one(statement, kinds);
  if (kind == NONE || !ptx_take(statement, "sync") || !ptx_take(statement, "aligned")) unknown(parser, statement);
  if (kind < 3) {
    ptx_want_operands(parser, statement, kind == 2, kind == 2);
    if (kind == 2) out->extra.a = ptx_want_integer(parser, operands);
    out->run = kind == 0 ? run_wgmma_fence : kind == 1 ? run_wgmma_commit : run_wgmma_wait;
    return;
  }
  wgmma_form *form = ptx_parse_allocate(parser, sizeof *form);
  const char *shape = ptx_take_prefix(statement, "m64n");
  uint32_t n = 0, k = 0;
  if (!shape) unknown(parser, statement);
  for (shape += 4; *shape >= '0' && *shape <= '9' && n < 1000; shape++) n = n * 10 + (uint32_t)(*shape - '0');
  if (*shape++ != 'k') unknown(parser, statement);
  for (; *shape >= '0' && *shape <= '9' && k < 1000; shape++) k = k * 10 + (uint32_t)(*shape - '0');
  ptx_type d = ptx_take_type(statement), a = ptx_take_type(statement), b = ptx_take_type(statement);
  if (*shape || n % 8 || !n || n > 256 || a != b || (a != T_F16 && a != T_BF16) || k != 16 ||
      (d != T_F32 && (d != T_F16 || a != T_F16)))
    unknown(parser, statement);
  *form = (wgmma_form){.n = n, .k = k, .d = d, .a = a};
  form->accumulators = d == T_F32 ? n / 2 : n / 4;
  if (statement->operand_count < 4) ptx_want_operands(parser, statement, 6, 8);
  form->a_in_registers = operands[1].kind == OPERAND_VECTOR;
  uint32_t majors = form->a_in_registers ? 1 : 2;
  ptx_want_operands(parser, statement, 6 + majors, 6 + majors);
  if (parts_of(&operands[0]) != form->accumulators)
    ptx_parse_fail(parser, operands[0].at, "expected %u accumulators, found %u", form->accumulators, parts_of(&operands[0]));
  if (form->a_in_registers && operands[1].count != 4)
    ptx_parse_fail(parser, operands[1].at, "expected 4 registers, found %u", operands[1].count);
  out->targets = ptx_parse_allocate(parser, form->accumulators * sizeof *out->targets);
  out->sources = ptx_parse_allocate(parser, 6 * sizeof *out->sources);
  for (uint32_t i = 0; i < form->accumulators; i++) {
    ptx_bind_target(parser, part_of(&operands[0], i), 4, &out->targets[i]);
    if (out->targets[i].reg < 0 || out->targets[i].register_bytes != 4)
      ptx_parse_fail(parser, part_of(&operands[0], i)->at, "expected an accumulator of 32 bits");
  }
  if (form->a_in_registers) {
    for (uint32_t i = 0; i < 4; i++) {
      ptx_bind_source(parser, &operands[1].items[i], T_B32, &out->sources[2 + i]);
      if (out->sources[2 + i].reg < 0 || out->sources[2 + i].register_bytes != 4)
        ptx_parse_fail(parser, operands[1].items[i].at, "expected a register of 32 bits");
    }
  } else ptx_bind_source(parser, &operands[1], T_U64, &out->sources[0]);
  ptx_bind_source(parser, &operands[2], T_U64, &out->sources[1]);
  ptx_bind_source(parser, &operands[3], T_PRED, &out->extra_source);
  form->scale_a = scale_of(parser, &operands[4]);
  form->scale_b = scale_of(parser, &operands[5]);
  if (majors == 2) form->major_a = major_of(parser, &operands[6]);
  form->major_b = major_of(parser, &operands[5 + majors]);
  out->extra.table = form;
  out->is_event = true;
  out->run = run_wgmma;
}

const ptx_opcode ptx_matrix_opcodes[] = {{"ldmatrix", bind_ldmatrix}, {"stmatrix", bind_ldmatrix}, {"movmatrix", bind_movmatrix},
                                         {"mma", bind_mma},           {"wgmma", bind_wgmma},       {NULL, NULL}};
