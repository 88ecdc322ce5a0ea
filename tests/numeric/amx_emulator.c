/* See amx_emulator.h. From the top: the tiles, what each instruction does to them, decoding, the signal handler. */
#include "amx_emulator.h"

#if defined(__x86_64__) && defined(__linux__)

#include <cpuid.h>
#include <immintrin.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { TILES = 8, ROWS = 16, ROW_BYTES = 64 };

/* The operand of ldtilecfg, byte for byte. */
typedef struct tile_config {
  uint8_t palette, start_row, reserved0[14];
  uint16_t row_bytes[TILES], reserved1[8];
  uint8_t rows[TILES], reserved2[8];
} tile_config;
_Static_assert(sizeof(tile_config) == 64, "as the processor reads it");

/* Unconfigured: all of config is zero. Bytes of a tile past its rows and columns are zero. */
static _Thread_local struct {
  _Alignas(64) tile_config config;
  _Alignas(64) uint8_t data[TILES][ROWS][ROW_BYTES];
  bool is_loaded[TILES]; /* and neither multiplied nor stored since */
} tiles;

static struct {
  atomic_uint_fast64_t configs, releases, zeros, loads, stores, products, idle_loads;
} counts;

static _Noreturn void fault(const char *instruction, const char *why) {
  char text[256];
  int size = snprintf(text, sizeof text, "amx_emulator: %s would fault: %s\n", instruction, why);
  if (write(STDERR_FILENO, text, size > 0 ? (size_t)size : 0) < 0) _exit(1);
  abort();
}

/* ---- instructions ---- */

/* What the tile held is gone, or no longer known to be of use. */
static void forget(unsigned tile) {
  counts.idle_loads += tiles.is_loaded[tile];
  tiles.is_loaded[tile] = false;
}

static bool all_zero(const void *bytes, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (((const uint8_t *)bytes)[i]) return false;
  return true;
}

static void load_config(const void *from) {
  counts.configs++;
  tile_config c;
  memcpy(&c, from, sizeof c);
  if (c.palette > 1) fault("ldtilecfg", "unknown palette");
  if (c.palette == 0) c = (tile_config){0};
  if (!all_zero(c.reserved0, sizeof c.reserved0) || !all_zero(c.reserved1, sizeof c.reserved1) ||
      !all_zero(c.reserved2, sizeof c.reserved2))
    fault("ldtilecfg", "reserved bytes are not zero");
  for (int t = 0; t < TILES; t++) {
    if (c.row_bytes[t] > ROW_BYTES) fault("ldtilecfg", "more than 64 bytes in a row");
    if (c.rows[t] > ROWS) fault("ldtilecfg", "more than 16 rows");
    if ((c.rows[t] == 0) != (c.row_bytes[t] == 0)) fault("ldtilecfg", "a tile with rows or columns, but not both");
  }
  for (unsigned t = 0; t < TILES; t++) forget(t);
  tiles.config = c;
  memset(tiles.data, 0, sizeof tiles.data);
}

static void release(void) {
  counts.releases++;
  for (unsigned t = 0; t < TILES; t++) forget(t);
  memset(&tiles, 0, sizeof tiles);
}

static void need_tile(const char *instruction, unsigned tile) {
  if (tiles.config.palette == 0) fault(instruction, "tiles are not configured");
  if (tile >= TILES) fault(instruction, "there are 8 tiles");
  if (tiles.config.rows[tile] == 0) fault(instruction, "the tile is not configured");
}

static void zero_tile(unsigned tile) {
  counts.zeros++;
  need_tile("tilezero", tile);
  forget(tile);
  memset(tiles.data[tile], 0, sizeof tiles.data[tile]);
  tiles.config.start_row = 0;
}

/* Where loads and stores begin; a nonzero start is what an interrupted one leaves behind. */
static unsigned first_row(const char *instruction, unsigned tile) {
  need_tile(instruction, tile);
  if (tiles.config.row_bytes[tile] % 4 != 0) fault(instruction, "columns are not whole words");
  if (tiles.config.start_row >= tiles.config.rows[tile]) fault(instruction, "the start row is past the tile");
  return tiles.config.start_row;
}

static void load_tile(unsigned tile, const char *from, int64_t stride) {
  counts.loads++;
  unsigned row = first_row("tileloadd", tile), rows = tiles.config.rows[tile], bytes = tiles.config.row_bytes[tile];
  forget(tile);
  tiles.is_loaded[tile] = true;
  for (; row < rows; row++) {
    memcpy(tiles.data[tile][row], from + (int64_t)row * stride, bytes);
    memset(tiles.data[tile][row] + bytes, 0, ROW_BYTES - bytes);
  }
  for (row = rows; row < ROWS; row++) memset(tiles.data[tile][row], 0, ROW_BYTES);
  tiles.config.start_row = 0;
}

static void store_tile(unsigned tile, char *to, int64_t stride) {
  counts.stores++;
  unsigned row = first_row("tilestored", tile), rows = tiles.config.rows[tile], bytes = tiles.config.row_bytes[tile];
  for (; row < rows; row++) memcpy(to + (int64_t)row * stride, tiles.data[tile][row], bytes);
  tiles.is_loaded[tile] = false;
  tiles.config.start_row = 0;
}

/* c[m][n] += (sum of a[m][2k] * b[k][2n]) + (sum of a[m][2k+1] * b[k][2n+1]), each sum from zero by fused steps, k ascending. Columns past
 * c's are computed and not kept. Rounding is MXCSR's: the caller has set it to what the instruction uses. */
__attribute__((noinline, target("avx512f"))) static void multiply(unsigned c, unsigned a, unsigned b) {
  const unsigned rows = tiles.config.rows[c], depth = tiles.config.row_bytes[a] / 4, columns = tiles.config.row_bytes[c] / 4;
  const __m512i high = _mm512_set1_epi32((int)0xffff0000);
  const __mmask16 kept = (__mmask16)((1u << columns) - 1);
  for (unsigned m = 0; m < rows; m++) {
    __m512 even = _mm512_setzero_ps(), odd = _mm512_setzero_ps();
    for (unsigned k = 0; k < depth; k++) {
      uint32_t pair;
      memcpy(&pair, tiles.data[a][m] + 4 * k, 4);
      __m512i left = _mm512_set1_epi32((int)pair), right = _mm512_loadu_si512(tiles.data[b][k]);
      even = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(left, 16)), _mm512_castsi512_ps(_mm512_slli_epi32(right, 16)),
                             even);
      odd = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_si512(left, high)), _mm512_castsi512_ps(_mm512_and_si512(right, high)),
                            odd);
    }
    __m512 sum = _mm512_add_ps(_mm512_loadu_ps(tiles.data[c][m]), _mm512_add_ps(even, odd));
    _mm512_storeu_ps(tiles.data[c][m], _mm512_maskz_mov_ps(kept, sum));
  }
}

static void product(unsigned c, unsigned a, unsigned b) {
  static const char name[] = "tdpbf16ps";
  enum { MXCSR_OF_TILES = 0x9fc0 }; /* to nearest even, no exceptions, denormals count as zero and become zero */
  counts.products++;
  need_tile(name, c), need_tile(name, a), need_tile(name, b);
  const tile_config *config = &tiles.config;
  if (c == a || a == b || c == b) fault(name, "two operands are one tile");
  if (config->row_bytes[c] % 4 != 0 || config->row_bytes[a] % 4 != 0 || config->row_bytes[b] % 4 != 0)
    fault(name, "columns are not whole words");
  if (config->rows[c] != config->rows[a]) fault(name, "rows of C and A differ");
  if (config->row_bytes[c] != config->row_bytes[b]) fault(name, "columns of C and B differ");
  if (config->row_bytes[a] / 4 != config->rows[b]) fault(name, "pairs of A and rows of B differ");
  _mm_setcsr(MXCSR_OF_TILES); /* the handler's: the end of the signal brings the program's back */
  atomic_signal_fence(memory_order_seq_cst);
  multiply(c, a, b);
  tiles.is_loaded[a] = tiles.is_loaded[b] = tiles.is_loaded[c] = false;
  tiles.config.start_row = 0;
}

/* ---- decoding ---- */

typedef struct instruction {
  const uint8_t *end;
  uint8_t opcode, prefix, reg, other; /* prefix: 0 none, 1 66, 2 F3, 3 F2; other: the register in vvvv */
  bool is_memory, has_sib;
  uint8_t rm; /* a register operand */
  uint64_t base, index; /* a memory operand: base + displacement; index * scale */
} instruction;

static uint64_t general_register(const greg_t *registers, unsigned number) {
  static const uint8_t order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  return (uint64_t)registers[order[number]];
}

/* VEX.128.pp.0F38.W0 opcode modrm [sib] [displacement]. False: not of this form. Reads no byte past the instruction. */
static bool decode(const uint8_t *at, const greg_t *registers, instruction *out) {
  if (at[0] != 0xc4 || (at[1] & 0x1f) != 2 || (at[2] & 0x84) != 0) return false;
  unsigned extend_reg = at[1] & 0x80 ? 0 : 8, extend_index = at[1] & 0x40 ? 0 : 8, extend_base = at[1] & 0x20 ? 0 : 8;
  *out = (instruction){.opcode = at[3], .prefix = at[2] & 3, .other = (uint8_t)(~at[2] >> 3 & 15)};
  if (out->opcode != 0x49 && out->opcode != 0x4b && out->opcode != 0x5c) return false;
  unsigned mod = at[4] >> 6, rm = at[4] & 7;
  out->reg = (uint8_t)((at[4] >> 3 & 7) | extend_reg);
  const uint8_t *next = at + 5;
  out->is_memory = mod != 3;
  out->has_sib = out->is_memory && rm == 4;
  if (!out->is_memory) {
    out->rm = (uint8_t)(rm | extend_base);
    out->end = next;
    return true;
  }
  unsigned base = rm, displacement_bytes = mod == 1 ? 1 : mod == 2 ? 4 : 0;
  if (out->has_sib) {
    unsigned sib = *next++, index = (sib >> 3 & 7) | extend_index;
    if (index != 4) out->index = general_register(registers, index) << (sib >> 6);
    base = sib & 7;
  }
  bool is_bare = mod == 0 && base == 5; /* a displacement alone; without a SIB byte, from the next instruction */
  if (is_bare) displacement_bytes = 4;
  else out->base = general_register(registers, base | extend_base);
  if (displacement_bytes == 1) out->base += (uint64_t)(int64_t)(int8_t)*next;
  if (displacement_bytes == 4) {
    int32_t displacement;
    memcpy(&displacement, next, 4);
    out->base += (uint64_t)(int64_t)displacement;
  }
  out->end = next + displacement_bytes;
  if (is_bare && !out->has_sib) out->base += (uint64_t)(uintptr_t)out->end;
  return true;
}

/* Does the instruction, if it is one of AMX. The rows of loads and stores are index * scale apart. */
static bool execute(const instruction *i) {
  enum { NONE, P66, PF3, PF2 };
  char *address = (char *)(uintptr_t)(i->base + (i->opcode == 0x49 ? i->index : 0));
  if (i->opcode == 0x5c) {
    if (i->prefix != PF3 || i->is_memory) return false;
    product(i->reg, i->rm, i->other);
    return true;
  }
  if (i->other != 0) return false;
  if (i->opcode == 0x4b) {
    if (i->prefix == NONE || !i->has_sib) return false;
    if (i->prefix == PF3) store_tile(i->reg, address, (int64_t)i->index);
    else load_tile(i->reg, address, (int64_t)i->index);
    return true;
  }
  if (i->is_memory && i->reg == 0 && i->prefix == NONE) load_config(address);
  else if (i->is_memory && i->reg == 0 && i->prefix == P66) memcpy(address, &tiles.config, sizeof tiles.config);
  else if (!i->is_memory && i->reg == 0 && i->rm == 0 && i->prefix == NONE) release();
  else if (!i->is_memory && i->rm == 0 && i->prefix == PF2) zero_tile(i->reg);
  else return false;
  return true;
}

/* ---- the machine ---- */

/* The processor has tiles, and the system keeps them: configuring them works for every process, the rest for those that asked. */
static bool machine_configures_tiles(void) {
  enum { OSXSAVE = 1u << 27, AMX_BF16 = 1u << 22, AMX_TILE = 1u << 24, TILE_STATE = 3u << 17 };
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & OSXSAVE)) return false;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & AMX_BF16) || !(d & AMX_TILE)) return false;
  __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
  return (a & TILE_STATE) == TILE_STATE;
}

static bool machine_has_tiles(void) {
  enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 }; /* of arch_prctl */
  return !getenv("HMOE_TEST_EMULATE_AMX") && machine_configures_tiles() &&
         syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

/* Where the machine itself configures and releases tiles, what it has is what counts: in a signal handler, what lies in the frame. */
static void follow(tile_config now) {
  now.start_row = tiles.config.start_row;
  if (memcmp(&now, &tiles.config, sizeof now) != 0) load_config(&now);
}

static void follow_frame(const ucontext_t *context) {
  enum { TILE_CONFIG = 17, HEADER = 512 };
  unsigned size, offset, c, d;
  if (!machine_configures_tiles() || !__get_cpuid_count(13, TILE_CONFIG, &size, &offset, &c, &d)) return;
  const uint8_t *area = (const uint8_t *)context->uc_mcontext.fpregs;
  uint64_t present;
  tile_config now = {0};
  memcpy(&present, area + HEADER, sizeof present);
  if (present >> TILE_CONFIG & 1) memcpy(&now, area + offset, sizeof now);
  follow(now);
}

__attribute__((target("amx-tile"))) static void follow_machine(void) {
  _Alignas(64) tile_config now;
  if (!machine_configures_tiles()) return;
  _tile_storeconfig(&now);
  follow(now);
}

/* ---- the handler ---- */

static struct sigaction previous;

static void on_illegal(int number, siginfo_t *info, void *context) {
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  instruction i;
  follow_frame(context);
  if (decode((const uint8_t *)(uintptr_t)registers[REG_RIP], registers, &i) && execute(&i)) {
    registers[REG_RIP] = (greg_t)(uintptr_t)i.end;
    return;
  }
  if (previous.sa_flags & SA_SIGINFO) previous.sa_sigaction(number, info, context);
  else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) previous.sa_handler(number);
  else sigaction(SIGILL, &(struct sigaction){.sa_handler = SIG_DFL}, NULL); /* it runs again, and ends the process */
}

bool amx_emulator_needed(void) {
  static atomic_int known; /* 0: not asked yet, 1: needed, 2: not needed */
  if (known == 0) known = machine_has_tiles() ? 2 : 1;
  return known == 1;
}

bool amx_emulator_install(void) {
  if (!amx_emulator_needed()) return true;
  if (!__builtin_cpu_supports("avx512f")) return false;
  struct sigaction now;
  if (sigaction(SIGILL, NULL, &now) != 0) return false;
  if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_illegal) return true;
  previous = now;
  struct sigaction ours = {.sa_sigaction = on_illegal, .sa_flags = SA_SIGINFO | SA_NODEFER};
  return sigaction(SIGILL, &ours, NULL) == 0;
}

amx_emulator_counts amx_emulator_read_counts(void) {
  return (amx_emulator_counts){counts.configs, counts.releases, counts.zeros,     counts.loads,
                               counts.stores,  counts.products, counts.idle_loads};
}

bool amx_emulator_is_configured(void) {
  if (amx_emulator_needed()) follow_machine();
  return tiles.config.palette != 0;
}

#else

bool amx_emulator_needed(void) { return true; }
bool amx_emulator_install(void) { return false; }
amx_emulator_counts amx_emulator_read_counts(void) { return (amx_emulator_counts){0}; }
bool amx_emulator_is_configured(void) { return false; }

#endif
