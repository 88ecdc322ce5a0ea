/* What the files of the emulator share: types, parsed and bound instructions, warps, blocks, memory.
 *
 * ptx_parse.c makes kernels of text, ptx_bind.c looks instructions up in the tables of ptx_scalar.c, ptx_access.c, ptx_async.c and
 * ptx_matrix.c and resolves their operands, ptx_run.c runs them. ptx_memory.c knows what may be touched.
 *
 * A register of a warp is 32 values side by side, as wide as it was declared; a predicate is a mask of lanes. Functions over lanes compute all 32 and
 * do not ask which are active: the one that writes the register does.
 *
 * Who is ordered after whom is told by vector clocks: an entry for each warp of the cluster and for each mbarrier. A warp's own entry grows with
 * whatever others may synchronise with. */
#ifndef HMOE_TESTS_GPU_PTX_INTERNAL_H
#define HMOE_TESTS_GPU_PTX_INTERNAL_H

#include "ptx.h"
#include "ptx_layouts.h"

#include <setjmp.h>
#include <stdalign.h>
#include <string.h>

enum { LANES = 32, NONE = -1, WIDEST = 8 };
#define ALL_LANES 0xffffffffu
/* Loops over lanes for what a processor of today has, and for any; results are the same bits. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) &&                           \
    !defined(__SANITIZE_THREAD__)
#define FAST __attribute__((target_clones("fma", "default")))
#else
#define FAST
#endif
#define EACH_LANE(l) for (int l = 0; l < LANES; l++)
#define EACH_ACTIVE(l, active)                                                                                                     \
  for (uint32_t left_ = (active), l = 0; left_ && ((l = (uint32_t)__builtin_ctz(left_)), 1); left_ &= left_ - 1)

/* Where addresses of a space begin among generic ones. Global ones are themselves, from 2^36 on. */
#define SHARED_WINDOW (UINT64_C(1) << 44)
#define LOCAL_WINDOW (UINT64_C(1) << 45)
#define PARAM_WINDOW (UINT64_C(1) << 46)
/* In shared addresses: 0 is the block's own memory, n + 1 that of block n of the cluster. */
enum { RANK_SHIFT = 24 };

typedef enum ptx_type {
  T_NONE,
  T_PRED,
  T_B8,
  T_U8,
  T_S8,
  T_B16,
  T_U16,
  T_S16,
  T_F16,
  T_BF16,
  T_B32,
  T_U32,
  T_S32,
  T_F32,
  T_F16X2,
  T_BF16X2,
  T_TF32,
  T_B64,
  T_U64,
  T_S64,
  T_F64,
  T_B128,
  TYPES
} ptx_type;
typedef struct ptx_type_info {
  const char *name;
  uint8_t bytes;
  char letter; /* p, b, u, s, f */
} ptx_type_info;
extern const ptx_type_info ptx_types[TYPES];

typedef enum ptx_space { SPACE_NONE, SPACE_GLOBAL, SPACE_CONST, SPACE_SHARED, SPACE_LOCAL, SPACE_PARAM, SPACES } ptx_space;

/* ---- memory that lives until its owner ends ---- */

typedef struct ptx_arena {
  struct arena_block *blocks;
  size_t total;
} ptx_arena;
void *ptx_arena_allocate(ptx_arena *arena, size_t bytes); /* zeros, aligned to 64; NULL: no memory */
void ptx_arena_release(ptx_arena *arena);

/* ---- text ---- */

typedef struct ptx_symbol {
  const char *name;
  ptx_space space;
  uint64_t alignment, bytes;
  uint64_t value; /* offset in its space, or the address */
  bool is_dynamic; /* shared memory whose size the launch gives */
} ptx_symbol;

typedef enum operand_kind {
  OPERAND_REGISTER,
  OPERAND_INTEGER,
  OPERAND_FLOAT,
  OPERAND_SPECIAL,
  OPERAND_SYMBOL,
  OPERAND_LABEL,
  OPERAND_ADDRESS,
  OPERAND_VECTOR,
  OPERAND_PAIR,
  OPERAND_SINK
} operand_kind;
typedef struct ptx_operand {
  operand_kind kind;
  bool negated;               /* !p */
  uint32_t at;                /* in the text */
  int32_t reg;                /* REGISTER */
  int32_t special;            /* SPECIAL */
  const ptx_symbol *symbol;   /* SYMBOL */
  int64_t value;              /* INTEGER; of LABEL its instruction; of SYMBOL and ADDRESS what is added */
  double number;              /* FLOAT */
  struct ptx_operand *items;  /* VECTOR, PAIR: the parts; ADDRESS: the base and what follows a comma */
  uint32_t count;
} ptx_operand;

typedef struct ptx_register {
  ptx_type type;
  uint32_t offset; /* in a warp's registers */
  uint8_t bytes;   /* of a lane; 0 for predicates, whose mask takes 4 for all */
} ptx_register;

struct ptx_warp;
struct ptx_instruction;
typedef enum ptx_step {
  STEP_NEXT,
  STEP_BLOCKED, /* nothing happened; to be tried again */
  STEP_SPIN,    /* done, but the loop around it waits for others */
  STEP_JUMP,    /* active lanes go to the instruction's target */
  STEP_EXIT     /* active lanes end */
} ptx_step;
typedef ptx_step ptx_run_function(struct ptx_warp *warp, const struct ptx_instruction *instruction, uint32_t active);
typedef void ptx_lanes_function(void *out, const void *const *in);
typedef uint32_t ptx_compare_function(const void *const *in);

/* What is read: a register, 32 equal values, or a special register, as elements of `bytes`. */
typedef struct ptx_source {
  const void *constant;
  int32_t reg, special;
  uint32_t offset;
  uint8_t bytes, register_bytes;
  bool negated, is_signed;
} ptx_source;
typedef struct ptx_target {
  int32_t reg; /* NONE: nobody wants it */
  uint32_t offset;
  uint8_t bytes, register_bytes;
} ptx_target;
/* base + offset; a symbol's address is in offset, and tells the space. */
typedef struct ptx_address {
  ptx_source base;
  int64_t offset;
  ptx_space space;
} ptx_address;

/* What instructions keep that the common fields have no room for: kinds, sizes, immediates. */
typedef struct ptx_extra {
  int64_t a, b;
  const void *table;
} ptx_extra;

typedef struct ptx_instruction {
  ptx_run_function *run;
  union {
    ptx_lanes_function *lanes;
    ptx_compare_function *compare;
  };
  int32_t predicate;
  bool predicate_not, is_event; /* is_event: others may wait for it */
  uint8_t source_count, target_count, rounding, type;
  bool flush, saturate, relu, approximate;
  uint32_t kind;     /* index of its name in the module */
  uint32_t at, size; /* in the text */
  uint32_t jump;
  ptx_source *sources;
  ptx_target *targets;
  ptx_address address, second;
  ptx_source extra_source;
  ptx_extra extra;
} ptx_instruction;

/* A parsed instruction, before it is bound. */
typedef struct ptx_statement {
  const char *name;
  const char *parts[16]; /* opcode and modifiers */
  uint32_t part_count, used; /* used: a bit for each part that the opcode's row understood */
  ptx_operand *operands;
  uint32_t operand_count;
  uint32_t at;
} ptx_statement;

typedef struct ptx_parameter {
  const char *name;
  uint32_t offset, bytes;
} ptx_parameter;

typedef struct ptx_kernel {
  const char *name;
  uint32_t at;
  ptx_parameter *parameters;
  uint32_t parameter_count, parameter_bytes;
  ptx_instruction *code;
  uint32_t code_count;
  ptx_register *registers;
  uint32_t register_count, register_bytes;
  uint32_t static_shared, dynamic_shared, local_bytes; /* dynamic_shared: where it begins */
  uint32_t required[3], most_threads, cluster[3];
} ptx_kernel;

struct ptx_module {
  ptx_device *device;
  ptx_arena arena;
  const char *text;
  size_t size;
  ptx_kernel *kernels;
  size_t kernel_count, kernel_room;
  ptx_symbol **symbols;
  size_t symbol_count, symbol_room;
  const char **names; /* of instructions */
  uint64_t *counts;
  size_t name_count, name_room;
  ptx_counters counters;
};

/* While text is read. Errors leave through `on_error`. */
typedef struct ptx_parser {
  ptx_module *module;
  ptx_kernel *kernel;
  const char *text;
  size_t size, pos;
  ptx_report *report;
  jmp_buf on_error;
  struct name_table *locals;
} ptx_parser;
_Noreturn void ptx_parse_fail(ptx_parser *parser, size_t at, const char *format, ...) __attribute__((format(printf, 3, 4)));
void *ptx_parse_allocate(ptx_parser *parser, size_t bytes);
void ptx_module_parse(ptx_parser *parser);
bool ptx_is_opcode(const char *name);
/* Fills `out` from the statement, whose opcode is one. */
void ptx_bind(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out);
void ptx_place(const char *text, size_t size, size_t at, uint32_t *out_line, uint32_t *out_column);

/* ---- binding: the helpers of the tables ---- */

typedef void ptx_bind_function(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out);
typedef struct ptx_opcode {
  const char *name;
  ptx_bind_function *bind;
} ptx_opcode;
extern const ptx_opcode ptx_scalar_opcodes[], ptx_access_opcodes[], ptx_control_opcodes[], ptx_async_opcodes[],
    ptx_matrix_opcodes[];

bool ptx_take(ptx_statement *statement, const char *modifier);       /* understood, if there */
const char *ptx_take_prefix(ptx_statement *statement, const char *prefix); /* "L2::" */
int ptx_take_one(ptx_statement *statement, const char *const *modifiers);  /* index, or NONE */
ptx_type ptx_take_type(ptx_statement *statement);                   /* the first type not yet taken, or T_NONE */
ptx_space ptx_take_space(ptx_statement *statement);
void ptx_want_operands(ptx_parser *parser, const ptx_statement *statement, uint32_t least, uint32_t most);
void ptx_bind_target(ptx_parser *parser, const ptx_operand *operand, unsigned bytes, ptx_target *out); /* bytes 0: a predicate */
void ptx_bind_source(ptx_parser *parser, const ptx_operand *operand, ptx_type type, ptx_source *out);
void ptx_bind_address(ptx_parser *parser, const ptx_operand *operand, ptx_address *out);
/* One target, then sources of one type: the shape of most instructions. */
void ptx_bind_lanes(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out, ptx_type target, const ptx_type *sources,
                    unsigned count);
int64_t ptx_want_integer(ptx_parser *parser, const ptx_operand *operand);
int ptx_special_find(const char *name, size_t size);

/* ---- device memory ---- */

/* Who touched a unit of global memory. block: launch << 24 | block + 1, or of readers ..MANY; the others count in that launch and block only, and are
 * clock << 11 | warp << 6 | lane. */
typedef struct global_writer {
  uint32_t block, last;
} global_writer;
typedef struct global_reader {
  uint32_t block, last, other; /* other: of another warp than the last */
} global_reader;

typedef struct ptx_allocation {
  uint64_t base, bytes;
  char name[32];
  uint8_t *data, *written; /* a byte each; written 1: initialised */
  /* Of each unit of 2^shift bytes. NULL: nobody touched any yet. */
  global_writer *writers;
  global_reader *readers;
  uint8_t shift;
  bool freed, settled; /* see ptx_device_settle */
} ptx_allocation;

struct ptx_device {
  ptx_allocation **list;
  size_t count, room;
  uint64_t next, used_bytes, budget_bytes;
  size_t latest; /* found last */
  uint32_t serial; /* of the launch, 8 bits */
  bool hasty[256]; /* launches that let the next one begin before they had waited themselves */
};
ptx_allocation *ptx_device_at(const ptx_device *device, uint64_t address, uint64_t bytes); /* NULL: not within one that is there */

/* ---- shared memory ---- */

/* What is known of a word, or of a byte of a word whose bytes were touched one by one. */
typedef struct shared_cell {
  uint32_t clock; /* of the last write */
  int16_t writer; /* warp or mbarrier; NONE: nobody */
  uint8_t lane; /* of the writer, or MANY_LANES */
  uint8_t state;
  uint8_t written; /* bits: bytes of the word that are initialised; of a byte, bit 0 */
  uint16_t storing; /* bulk stores in flight that read it */
} shared_cell;
enum { CELL_GENERIC = 1, CELL_IN_FLIGHT = 2, CELL_SPLIT = 4, CELL_READ = 8, CELL_WGMMA = 16 };
enum { MANY_LANES = 63 }; /* in place of a lane: all of the warp, or several that are not told apart */

typedef struct ptx_mbarrier {
  uint32_t address;
  bool is_live;
  int64_t expected, pending, tx;
  uint64_t phase;
  int32_t agent; /* its entry in clocks */
  uint32_t *gathered, *released;
  uint32_t (*gathered_lanes)[LANES],
      (*released_lanes)[LANES]; /* [warp of the cluster]: what its lanes did before, who arrived came after */
  int32_t init_warp;
  uint32_t init_clock;
} ptx_mbarrier;

typedef struct pending_wgmma { /* what a warp issued */
  struct ptx_warp *warp;
  const struct ptx_instruction *instruction;
  bool adds;
} pending_wgmma;

typedef struct wgmma_record {
  uint32_t pc;
  uint64_t a, b;
  uint8_t issued; /* warps: one may be ahead of the others by several wgmma */
  bool executed;
  pending_wgmma pending[4];
  uint32_t seen[4]; /* clock of each warp when it had waited; 0: not yet */
} wgmma_record;

typedef struct ptx_shared {
  uint32_t bytes, words;
  uint8_t *data;
  shared_cell *cells, *fine; /* a word; a byte, made when the first is needed */
  uint32_t *reads, *fine_reads; /* [warp of the cluster][word or byte]: clock << 6 | lane */
  uint32_t *wgmma; /* [word][warpgroup]: 1 + index in records */
  wgmma_record **records; /* [warpgroup] */
  uint32_t *record_count, *record_room;
  ptx_mbarrier *mbarriers;
  uint32_t mbarrier_count, mbarrier_room;
} ptx_shared;

typedef enum access_mode { ACCESS_READ, ACCESS_WRITE, ACCESS_ASYNC_READ, ACCESS_ASYNC_WRITE } access_mode;

/* ---- execution ---- */

typedef struct lane_group {
  uint32_t pc, lanes;
} lane_group;

typedef struct copy_piece { /* of cp.async: one lane's */
  uint32_t to, bytes;
  uint8_t lane;
  uint8_t data[16];
} copy_piece;
typedef struct copy_queue { /* groups, the open one last: ends[i] is where group i ends */
  copy_piece *pieces;
  uint32_t count, room, begin;
  uint32_t *ends;
  uint32_t group_count, group_room, first_group;
} copy_queue;

typedef struct bulk_transfer {
  bool is_load, is_done, is_forgotten; /* of a store: nobody waits for it any more */
  struct ptx_cta *cta; /* whose shared memory */
  uint32_t shared, bytes, room;
  uint64_t global;
  uint8_t *data; /* of a store: what is stored */
  uint32_t mbarrier; /* of a load: index in the block's */
  uint32_t *clock; /* when it was issued */
  int operation; /* of a store: 0 writes, others as cp.reduce names them */
  ptx_type type;
  struct bulk_transfer *next;
} bulk_transfer;

typedef struct store_in_flight {
  bulk_transfer *transfer;
  uint32_t group; /* of its lane, from 1; 0: not committed */
  uint8_t lane;
  bool was_read; /* its source may be written again */
} store_in_flight;

typedef enum wait_reason { WAIT_NOTHING, WAIT_LANES, WAIT_BARRIER, WAIT_CLUSTER, WAIT_GROUP, WAIT_POOL } wait_reason;

typedef struct ptx_warp {
  struct ptx_cta *cta;
  struct ptx_launch_state *state;
  uint8_t *file; /* registers */
  uint32_t *defined, *tags;
  uint8_t *dirty;
  uint32_t index, agent; /* in the block, in the cluster */
  uint32_t began, alive; /* lanes */
  uint32_t early; /* lanes of a dependent launch that have not waited for the launch before */
  lane_group groups[LANES];
  uint32_t group_count;
  uint32_t pc; /* while an instruction runs */
  uint32_t spun;
  wait_reason waits;
  uint32_t barrier;
  uint64_t barrier_turn, cluster_turn;
  bool in_barrier, in_cluster;
  uint32_t *clock, *fence_clock;
  /* Its own clock when all its lanes were last ordered among each other; and some of them. learnt[l][m]: what lane m did before that clock, lane l
   * comes after; NULL until lanes meet that are not all. */
  uint32_t met, some_met, (*learnt)[LANES];
  uint32_t *fences, fence_count, fence_room; /* clocks of its proxy fences */
  uint32_t init_fence; /* clock of its latest fence that publishes mbarriers */
  copy_queue copies;
  store_in_flight *stores;
  uint32_t store_count, store_room, store_groups[LANES];
  uint32_t wgmma_issued, wgmma_waited, wgmma_groups, wgmma_room,
      *wgmma_ends; /* ends: how many were issued when a group was committed */
  uint32_t registers; /* a thread, of setmaxnreg */
  uint8_t *local;
  uint64_t instructions;
  uint64_t idle_epoch;
  uint32_t idle_visits;
  alignas(64) uint8_t scratch[10][LANES * WIDEST];
} ptx_warp;

typedef struct ptx_barrier {
  uint32_t arrived, expected;
  uint64_t turn;
  uint32_t *gathered, *released;
} ptx_barrier;

typedef struct ptx_cta {
  struct ptx_launch_state *state;
  uint32_t id[3], rank, linear;
  ptx_warp *warps;
  ptx_shared shared;
  ptx_barrier barriers[16];
  uint32_t pool; /* registers a thread, of all warps */
} ptx_cta;

/* What a launch needs while it runs. */
typedef struct ptx_launch_state {
  ptx_module *module;
  ptx_kernel *kernel;
  const ptx_launch *launch;
  ptx_report *report;
  jmp_buf on_error;
  ptx_arena arena; /* of a cluster */
  uint8_t *arguments;
  uint32_t cluster[3], cluster_size, threads, warps, agents, mbarrier_agents;
  uint32_t shared_bytes;
  ptx_cta *ctas;
  bulk_transfer **transfers;
  uint32_t transfer_count, transfer_room;
  bulk_transfer *spare;
  ptx_barrier cluster_barrier;
  uint64_t random, events, epoch, instructions, limit;
  uint32_t live, idle;
  ptx_warp **all, **schedule; /* by agent; those that have not ended */
} ptx_launch_state;

_Noreturn void ptx_fail(ptx_warp *warp, ptx_kind kind, const char *format, ...) __attribute__((format(printf, 3, 4)));
_Noreturn void ptx_state_fail(ptx_launch_state *state, ptx_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void *ptx_state_allocate(ptx_launch_state *state, size_t bytes);
void *ptx_state_grow(ptx_launch_state *state, void *old, uint32_t count, uint32_t *room, size_t item_bytes);
uint32_t ptx_random(ptx_launch_state *state, uint32_t below);

/* Elements of the source's width, 32 of them; `slot`: which scratch may be used. */
const void *ptx_fetch(ptx_warp *warp, const ptx_source *source, uint32_t active, unsigned slot);
uint32_t ptx_fetch_mask(ptx_warp *warp, const ptx_source *source, uint32_t active);
uint32_t ptx_fetch_uniform(ptx_warp *warp, const ptx_source *source, uint32_t active); /* the first active lane's */
void ptx_put(ptx_warp *warp, const ptx_target *target, uint32_t active, const void *lanes, unsigned bytes, bool is_signed);
void ptx_put_mask(ptx_warp *warp, const ptx_target *target, uint32_t active, uint32_t mask);
uint8_t *ptx_claim(ptx_warp *warp, const ptx_target *target, uint32_t active); /* the register, to be written where active */
void ptx_addresses(ptx_warp *warp, const ptx_address *address, uint32_t active, unsigned slot, uint64_t *out);
/* The block that a shared address is in; the address becomes the place in it. */
ptx_cta *ptx_shared_block(ptx_warp *warp, uint64_t *address);

void ptx_tick(ptx_warp *warp);
void ptx_meet(ptx_warp *warp, uint32_t lanes); /* tick, and what these lanes did before, or know of, all of them come after */
void ptx_learn(ptx_warp *warp, uint32_t lanes,
               const uint32_t until[LANES]); /* these lanes come after what each did before its clock */
/* Whether `lane` comes after what `other` of the same warp did at `clock`. */
static inline bool ptx_lane_knows(const ptx_warp *warp, unsigned lane, unsigned other, uint32_t clock) {
  if (clock < warp->met) return true;
  if (lane == MANY_LANES || other == MANY_LANES) return clock < warp->some_met;
  return lane == other || (warp->learnt && clock < warp->learnt[lane][other]);
}
void ptx_join(ptx_launch_state *state, uint32_t *into, const uint32_t *from);
bool ptx_converged(ptx_warp *warp, uint32_t active, uint32_t needed); /* else the caller returns STEP_BLOCKED */

/* Memory: checks, then does. Lanes give `bytes` each. */
ptx_allocation *ptx_global_range(ptx_warp *warp, uint64_t address, uint64_t bytes);
void ptx_global_read(ptx_warp *warp, const uint64_t *addresses, uint32_t active, unsigned bytes, uint8_t (*out)[16]);
void ptx_global_write(ptx_warp *warp, const uint64_t *addresses, uint32_t active, unsigned bytes, uint8_t (*from)[16]);
/* Where the lane may not touch it yet: the launch before may do so. */
void ptx_global_want(ptx_warp *warp, const ptx_allocation *allocation, uint64_t at, uint64_t bytes, bool is_write, unsigned lane);
/* One range; `from` as of ptx_shared_touch. */
void ptx_global_touch(ptx_warp *warp, ptx_allocation *allocation, uint64_t at, uint64_t bytes, bool is_write, unsigned lane,
                      const uint8_t *from);
void ptx_shared_create(ptx_launch_state *state, ptx_cta *cta);
/* Lanes of one block, which are in `places`, in its shared memory: `bytes` each, a multiple of their alignment. */
void ptx_shared_read(ptx_warp *warp, ptx_cta *cta, const uint32_t *places, uint32_t active, unsigned bytes, uint8_t (*out)[16]);
/* One range; `from` tells a write what it writes (NULL: not compared). */
void ptx_shared_touch(ptx_warp *warp, ptx_cta *cta, uint32_t address, uint32_t bytes, access_mode mode, unsigned lane,
                      const uint8_t *from);
void ptx_shared_written(ptx_launch_state *state, ptx_cta *cta, uint32_t address, uint32_t bytes, int agent, uint32_t clock,
                        unsigned lane, bool generic);
/* Pieces of 16 bytes that a wgmma reads: the record it will be known by until all of its warps have waited. */
void ptx_shared_async_read(ptx_warp *warp, ptx_cta *cta, const uint32_t *pieces, uint32_t count, uint32_t warpgroup,
                           uint32_t record);
typedef enum wavefront_kind { WAVEFRONT_LOAD, WAVEFRONT_STORE, WAVEFRONT_COPY } wavefront_kind;
void ptx_wavefronts(ptx_warp *warp, wavefront_kind kind, const uint32_t *addresses, uint32_t active, unsigned bytes);

/* Asynchronous operations. */
void ptx_transfer_complete(ptx_launch_state *state, uint32_t index);
void ptx_warp_ends(ptx_warp *warp);
void ptx_mbarrier_report(const ptx_launch_state *state, char *text, size_t size);
ptx_mbarrier *ptx_mbarrier_at(ptx_warp *warp, ptx_cta *cta, uint32_t address);

/* ---- numbers ---- */

uint16_t ptx_f32_to_f16(double value, bool toward_zero);
float ptx_f16_to_f32(uint16_t bits);
uint16_t ptx_f32_to_bf16(float value, bool toward_zero);
static inline float ptx_bf16_to_f32(uint16_t bits) {
  uint32_t word = (uint32_t)bits << 16;
  float value;
  memcpy(&value, &word, 4);
  return value;
}
static inline double ptx_add_odd(double x,
                                 double y) { /* x + y, rounded to odd: rounding once more is as if there had been one rounding */
  double sum = x + y, part = sum - x, error = (x - (sum - part)) + (y - part);
  if (error != 0 && sum - sum == 0) {
    uint64_t bits;
    memcpy(&bits, &sum, 8);
    if (!(bits & 1)) bits += (error > 0) == (sum > 0) ? 1 : UINT64_MAX;
    memcpy(&sum, &bits, 8);
  }
  return sum;
}

#endif
