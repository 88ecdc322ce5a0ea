/* What the files of the CUDA code generator share: the emitter, what a kernel starts from, and one entry point a kernel family.
 *
 * hmoec_cuda_generate_ptx (codegen.c) opens one kernel for each description and has the family fill it:
 *   product.c                                    what all products have in common: blocks, buffers, the epilogue
 *   matmul.c few.c                               products in f32, a tile of rows and columns in shared memory; of few rows
 *   pack_rows.c stream.c                         rows in planes for products in bf16; such products of few rows
 *   tile80.c tile90.c                            and of many, in tiles: on all chips, and on sm_90a
 *   route.c rows.c norm.c hyper.c                a warp a row
 *   attention.c                                  a block a tile of queries, or a few of them
 *   gpu.c                                        threads, warps, barriers, shared memory
 *   group.c sets.c loop.c tokens.c best.c        steps that are no kernels, the same for every model
 * Kernels compute on scalars, a thread each; elementary functions and functions in C are those of target/code, on vectors of one element. */
#ifndef HMOEC_TARGET_CUDA_CUDA_H
#define HMOEC_TARGET_CUDA_CUDA_H

#include "hmoe/abi_cuda.h"
#include "kernel/family.h"
#include "support/diagnostics.h"
#include "target/code/ir.h"

enum { CUDA_LEAST_SHARED = 163 << 10 }; /* bytes of shared memory that a block has on every chip */
enum { CUDA_WARP = 32, CUDA_PANEL = 32 /* columns of a right operand side by side, as in abi_cpu.h */ };
enum { CUDA_PIECE_BYTES = 16 }; /* what a thread reads or writes of a row at a time, where rows begin at multiples of it */
static inline int64_t cuda_panels_of(int64_t columns) { return (columns + CUDA_PANEL - 1) / CUDA_PANEL; }
static inline int64_t cuda_planes_of(int64_t depth) { return (depth + HMOE_CUDA_PLANE - 1) / HMOE_CUDA_PLANE; }

/* A chip that code is made for. */
typedef struct hmoec_cuda_chip {
  const char *name;     /* "sm_90a" */
  const char *features; /* LLVM's: the version of PTX */
  bool has_wgmma;
  bool waits; /* its kernels may be launched before those that they depend on have ended, and wait for them */
  int driver; /* the least version of a driver that takes its PTX, as 12080 */
} hmoec_cuda_chip;
extern const hmoec_cuda_chip hmoec_cuda_chips[]; /* then one without a name */

/* When a kernel waits for the launch before: at once; not yet, where the call says that something is older: the family reads that, and then calls cuda_follow; later: the
 * family calls it before it touches the device's memory, and rows are never counted by the device. */
typedef enum hmoec_cuda_waits { CUDA_WAITS, CUDA_WAITS_UNLESS_OLDER, CUDA_WAITS_LATER } hmoec_cuda_waits;

typedef struct hmoec_cuda_emitter {
  const hmoec_cuda_chip *chip;
  ir_builder ir;
  MlirBlock module_body;
  MlirType global, shared; /* pointers */
  MlirValue shared_base; /* of the kernel being written; null: it has none */
  hmoec_cuda_waits waits; /* of the kernel being written, for the chip */
} hmoec_cuda_emitter;

/* What every kernel starts from. All but `call` are i64. rows: those that there are, where the device has counted them. */
typedef struct hmoec_cuda_task {
  MlirValue call; /* hmoe_cuda_call */
  MlirValue task, rows, splits, first_block, blocks;
  MlirValue thread, warp, lane; /* in the block */
  MlirValue tasks; /* of the launch */
} hmoec_cuda_task;

/* ---- gpu.c ---- */
/* A kernel of so many threads, a multiple of a warp, and bytes of shared memory; its body becomes ir->block. alone: it may take all registers that there are for one
 * block; else ptxas leaves room for several where it likes, though registers must be spilled for it. Where the chip has launches that begin before the one before
 * has ended, the kernel has waited for that as `waits` says. */
hmoec_cuda_task hmoec_cuda_kernel_begin(hmoec_cuda_emitter *e, const char *name, int64_t threads, int64_t shared_bytes, bool alone,
                                        hmoec_cuda_waits waits);
void hmoec_cuda_kernel_end(hmoec_cuda_emitter *e);
/* In every thread: goes on when the launch before has ended and all that it wrote is seen; the launch behind this one may begin. In this order: whoever begins knows
 * that all launches have ended but the one before it, which has come past here, and may read what those wrote. Nothing may be written before. */
void cuda_follow(hmoec_cuda_emitter *e);
void cuda_follow_unless(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, int64_t least); /* where call.early is less than that */
MlirValue cuda_binding(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, int64_t number);
MlirValue cuda_dim(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, int64_t number);
/* base[index] of f32 or i32, in any memory. */
MlirValue cuda_f32(hmoec_cuda_emitter *e, MlirValue base, MlirValue index);
MlirValue cuda_i32(hmoec_cuda_emitter *e, MlirValue base, MlirValue index);
void cuda_put(hmoec_cuda_emitter *e, MlirValue base, MlirValue index, MlirValue value); /* elements as wide as the value */
/* base + row * ld elements of f32, or of a type. */
MlirValue cuda_row(hmoec_cuda_emitter *e, MlirValue base, MlirValue row, int64_t ld);
MlirValue cuda_row_of(hmoec_cuda_emitter *e, MlirValue base, MlirType element, MlirValue row, int64_t ld);
/* i32 index[i] as i64; i itself where there is no index. */
MlirValue cuda_index(hmoec_cuda_emitter *e, MlirValue index, MlirValue i);
/* Shared memory of the kernel from a byte on. */
MlirValue cuda_shared(hmoec_cuda_emitter *e, int64_t byte);
void cuda_barrier(hmoec_cuda_emitter *e); /* of the block: all its threads come */
void cuda_warp_barrier(hmoec_cuda_emitter *e); /* of the warp: all its lanes come */
/* Element i of a vector, a vector with another one, and element i of a structure. */
MlirValue cuda_element(hmoec_cuda_emitter *e, MlirValue vector, MlirType type, int64_t i);
/* Four f32 side by side, at a multiple of their bytes. */
void cuda_load_four(hmoec_cuda_emitter *e, MlirValue from, MlirValue out_values[4]);
MlirValue cuda_with_element(hmoec_cuda_emitter *e, MlirValue vector, MlirValue value, int64_t i);
MlirValue cuda_member(hmoec_cuda_emitter *e, MlirValue structure, MlirType type, int64_t i);
/* The vector of two numbers. */
MlirValue cuda_two(hmoec_cuda_emitter *e, MlirValue first, MlirValue second);
/* Of all lanes of a warp, in a fixed order; every lane gets it. All lanes come. MAX: NaN may be passed over. */
typedef enum cuda_reduction { CUDA_SUM, CUDA_MAX, CUDA_SUM_I, CUDA_MAX_I, CUDA_MIN_I } cuda_reduction;
MlirValue cuda_reduce(hmoec_cuda_emitter *e, cuda_reduction how, MlirValue value);
/* The same of lanes that so many are between, `farthest` first and then half of that each time: of 16 lanes side by side with 8 and 1. */
MlirValue cuda_reduce_over(hmoec_cuda_emitter *e, cuda_reduction how, MlirValue value, int32_t farthest, int32_t nearest);
/* Of the lanes' values the largest and where it was found, the lowest place among equal ones; none is NaN, places are i32. Every lane gets both. All lanes
 * come. */
void cuda_reduce_first(hmoec_cuda_emitter *e, MlirValue *value, MlirValue *place);
/* Sums of `count` i32 numbers, i64 here, over the threads before this one and over all. They use shared memory from byte 0 on, 4 bytes a number and warp. All
 * threads come. */
void cuda_prefix_sums(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, int64_t threads, int count, const MlirValue *values,
                      MlirValue *out_before, MlirValue *out_all);
/* Whether a value at a place goes before another: it is larger, or equal and further in front. */
MlirValue cuda_goes_before(hmoec_cuda_emitter *e, MlirValue value, MlirValue place, MlirValue other, MlirValue other_place);
/* Whether two sets of so many experts, i32 in ascending order, are the same. */
MlirValue cuda_same_set(hmoec_cuda_emitter *e, MlirValue set, MlirValue other, MlirValue top_k);
/* An i32 or f32 of the lane so many below; a lane that has none there gets its own. All lanes come. */
MlirValue cuda_lane_below(hmoec_cuda_emitter *e, MlirValue value, int32_t distance);
/* An f32 of a lane, an i32 of which the last five bits count. All lanes come. */
MlirValue cuda_lane_value(hmoec_cuda_emitter *e, MlirValue value, MlirValue lane);
/* The i64 at an address becomes the lesser of it and `value`, unsigned, whatever else does the same. */
void cuda_atomic_least(hmoec_cuda_emitter *e, MlirValue address, MlirValue value);
/* The integer at an address grows by `value`, whatever else does the same. */
void cuda_atomic_add(hmoec_cuda_emitter *e, MlirValue address, MlirValue value);
/* a * b + c, rounded once. */
MlirValue cuda_fma(hmoec_cuda_emitter *e, MlirValue a, MlirValue b, MlirValue c);
/* f(x) of a scalar; function: of two arguments, on x and y. */
MlirValue cuda_activation(hmoec_cuda_emitter *e, hmoec_activation activation, MlirValue x);
MlirValue cuda_activation_of_two(hmoec_cuda_emitter *e, hmoec_activation activation, MlirValue x, MlirValue y);
MlirValue cuda_exp(hmoec_cuda_emitter *e, MlirValue x);
MlirValue cuda_to_bf16(hmoec_cuda_emitter *e, MlirValue x); /* i16 */
MlirValue cuda_from_bf16(hmoec_cuda_emitter *e, MlirValue half);
/* The i32 of two numbers rounded to bf16. */
MlirValue cuda_bf16_word(hmoec_cuda_emitter *e, MlirValue low, MlirValue high);
/* The i32 of two i16. */
MlirValue cuda_word(hmoec_cuda_emitter *e, MlirValue low, MlirValue high);
/* The rows of the task's row_block that this thread's warp has, one of `warps`: for (r = begin; r < end; r += warps). */
void cuda_rows_begin(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, int64_t row_block, int64_t warps, ir_loop *out_loop);
MlirValue cuda_is_null(hmoec_cuda_emitter *e, MlirValue pointer);
/* The element that this thread has of a step of call.rows elements, inside of an if that it has one: cuda_if_end ends it. */
MlirValue cuda_element_begin(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, int64_t threads, ir_branch *real);
/* Ends an if without a result and without an else. */
void cuda_if_end(hmoec_cuda_emitter *e, ir_branch *branch);
/* Block `number` of a blocks buffer; its header, by the first threads of a block that knows how many there are. */
MlirValue cuda_block_at(hmoec_cuda_emitter *e, MlirValue blocks, MlirValue number);
void cuda_put_block(hmoec_cuda_emitter *e, MlirValue blocks, MlirValue number, MlirValue group, MlirValue row, MlirValue rows,
                    int32_t dropped);
void cuda_put_blocks_header(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, MlirValue blocks, MlirValue count,
                            MlirValue groups);
/* A block of rows, and this task's share of its columns: `split` of call.splits. */
typedef struct cuda_block {
  MlirValue number, split; /* number: of those that the step sees */
  MlirValue row, rows, group; /* rows [row, row + rows), of a group */
  MlirValue dropped; /* i1 */
  ir_branch exists;
  bool grouped;
} cuda_block;
/* blocks: a blocks buffer, or null: blocks of row_block rows each. What follows, up to cuda_block_end, is done where there is such a block: as many tasks are
 * launched as there can be. */
void cuda_block_begin(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, MlirValue blocks, int64_t row_block,
                      cuda_block *out_block);
/* Block `number` of those that the step sees, which is there. */
void cuda_block_load(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, MlirValue blocks, int64_t row_block, MlirValue number,
                     cuda_block *out_block);
/* How many blocks the step sees: in a loop over groups the chunk's. */
MlirValue cuda_block_count(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, MlirValue blocks, int64_t row_block);
void cuda_block_end(hmoec_cuda_emitter *e, cuda_block *block);
/* This task's share of `count` things side by side, such as panels: [*out_begin, *out_end). */
void cuda_block_share(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, const cuda_block *block, int64_t count,
                      MlirValue *out_begin, MlirValue *out_end);
/* place(k, r) of hmoe/abi_cuda.h. */
MlirValue cuda_place(hmoec_cuda_emitter *e, MlirValue k, MlirValue r);
/* sums + a b, on vectors of 4 f32: mma.m16n8k16 of words of bf16. All lanes come. */
MlirValue cuda_mma_bf16(hmoec_cuda_emitter *e, const MlirValue a[4], const MlirValue b[2], MlirValue sums);
/* 16 bytes from global to shared memory, or zeros where `bytes`, an i32, is 0. commit: the thread's copies since the last one are a group; wait: until so many
 * of its groups at most are on the way. Others see what has come behind a barrier. */
void cuda_copy_async(hmoec_cuda_emitter *e, MlirValue to, MlirValue from, MlirValue bytes);
void cuda_copy_commit(hmoec_cuda_emitter *e);
void cuda_copy_wait(hmoec_cuda_emitter *e, int32_t groups);
/* Text of PTX, as LLVM has it inline, that stays where it is. result: a type, a structure of several, or null. */
MlirValue cuda_assembly(hmoec_cuda_emitter *e, const char *text, const char *constraints, MlirType result, intptr_t count,
                        const MlirValue *operands);
/* 1, 2 or 4 f32 side by side of global memory, in one piece, where `real`, an i1, is not 0; else 0. The load stays where it is. */
void cuda_load_where(hmoec_cuda_emitter *e, MlirValue from, MlirValue real, int count, MlirValue *out_values);
/* ldmatrix.x4: lanes 8 i to 8 i + 7 give the lines of matrix i; a lane gets a word of each. All lanes come. */
void cuda_load_matrices(hmoec_cuda_emitter *e, MlirValue line, MlirValue out_words[4]);
/* Columns [begin, end) that this lane has, and no others. */
void cuda_columns_begin(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, int64_t begin, int64_t end, intptr_t count,
                        const MlirValue *initial, ir_loop *out_loop);
/* The same of columns [0, n), several of a lane at one time, so that all of them are loaded before one is stored: `at` of those that are not there is the first
 * one's. Between begin and end, cuda_some_columns_put stores those that are there. */
enum { CUDA_COLUMNS_AT_ONCE = 8 };
typedef struct cuda_some_columns {
  ir_loop loop;
  MlirValue at[CUDA_COLUMNS_AT_ONCE], there[CUDA_COLUMNS_AT_ONCE];
} cuda_some_columns;
void cuda_some_columns_begin(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, int64_t n, cuda_some_columns *out_columns);
void cuda_some_columns_put(hmoec_cuda_emitter *e, const cuda_some_columns *columns, MlirValue to,
                           const MlirValue values[CUDA_COLUMNS_AT_ONCE]);
void cuda_some_columns_end(hmoec_cuda_emitter *e, cuda_some_columns *columns);

/* ---- families ---- */
enum { CUDA_ROW_THREADS = 128, CUDA_ROW_WARPS = CUDA_ROW_THREADS / CUDA_WARP };
enum { CUDA_ROUTE_THREADS = 256, CUDA_ROUTE_WARPS = CUDA_ROUTE_THREADS / CUDA_WARP }; /* of ROUTE: so many tokens are one task */
void hmoec_cuda_emit_route(hmoec_cuda_emitter *e, const hmoec_route_spec *spec, const hmoec_cuda_task *task);
int64_t hmoec_cuda_route_shared_bytes(const hmoec_route_spec *spec); /* 0: it does not group */
/* Grouping the rows of what the block's threads, CUDA_ROUTE_THREADS, choose of one token a warp at most, where it is wanted (hmoe/abi_cuda.h): all threads come before
 * anything is chosen; who sees that `chosen`, an i1 each, are a token's experts, i32, says so; all come when what was chosen has been written. group.c. */
void hmoec_cuda_chosen_begin(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, int64_t experts);
void hmoec_cuda_chosen(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, MlirValue token, int64_t count, const MlirValue *experts,
                       const MlirValue *chosen);
void hmoec_cuda_group_chosen(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, int64_t experts, int64_t top_k);
int64_t hmoec_cuda_chosen_shared_bytes(int64_t experts);
void hmoec_cuda_emit_combine(hmoec_cuda_emitter *e, const hmoec_combine_spec *spec, const hmoec_cuda_task *task);
int64_t hmoec_cuda_combine_parts(const hmoec_combine_spec *spec); /* of a row's columns, that tasks can share */
void hmoec_cuda_emit_rows(hmoec_cuda_emitter *e, const hmoec_rows_spec *spec, const hmoec_cuda_task *task);
void hmoec_cuda_emit_embed(hmoec_cuda_emitter *e, const hmoec_embed_spec *spec, const hmoec_cuda_task *task);
void hmoec_cuda_emit_select(hmoec_cuda_emitter *e, const hmoec_select_spec *spec, const hmoec_cuda_task *task);
void hmoec_cuda_emit_contract(hmoec_cuda_emitter *e, const hmoec_contract_spec *spec, const hmoec_cuda_task *task);
int64_t hmoec_cuda_contract_shared_bytes(const hmoec_contract_spec *spec);
void hmoec_cuda_emit_norm(hmoec_cuda_emitter *e, const hmoec_norm_spec *spec, const hmoec_cuda_task *task);

void hmoec_cuda_emit_store(hmoec_cuda_emitter *e, const hmoec_store_spec *spec, const hmoec_cuda_task *task);
/* Columns that a head may have. */
int64_t hmoec_cuda_attention_most_head(void);
/* Queries of a head that a block has at one time. */
int64_t hmoec_cuda_attention_rows(int64_t head_size);
/* Floats that a tile of shared keys gives a query (hmoe/abi_cuda.h). */
int64_t hmoec_cuda_attention_part_floats(int64_t head_size);
enum { CUDA_ATTENTION_THREADS = 256 };
int64_t hmoec_cuda_attention_shared_bytes(const hmoec_attention_spec *spec);
void hmoec_cuda_emit_attention(hmoec_cuda_emitter *e, const hmoec_attention_spec *spec, const hmoec_cuda_task *task);

/* Statistics of a row, which all lanes of a warp come for: y = (x - mean) * factor, with the weights and the rest to follow (norm.c). */
typedef struct cuda_statistics {
  MlirValue mean, factor; /* mean: null of rms */
} cuda_statistics;
cuda_statistics cuda_statistics_of(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, hmoec_norm kind, int64_t n, double epsilon,
                                   double scale, MlirValue row);
/* One column's value. weight, bias: its own; bias null of rms. */
MlirValue cuda_normalised(hmoec_cuda_emitter *e, hmoec_norm kind, double scale, const cuda_statistics *s, MlirValue x,
                          MlirValue weight, MlirValue bias);

/* Rows that a kernel normalises while it loads them: their statistics wait in shared memory. kind NONE: nothing is done, and values stay. */
typedef struct cuda_row_norm {
  hmoec_norm kind;
  int64_t n;
  double epsilon, scale;
  MlirValue weight, bias; /* bias: of LAYER */
  int64_t shared_at, rows; /* where the statistics are, and of how many rows at most */
} cuda_row_norm;
int64_t cuda_row_norm_bytes(hmoec_norm kind, int64_t rows);
/* Of rows [0, rows), a warp a row: row_of(user, i) is where row i lies. All threads of the block come; what follows may read. */
void cuda_row_norm_begin(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, const cuda_row_norm *norm, int64_t warps,
                         MlirValue rows, MlirValue (*row_of)(void *user, MlirValue i), void *user);
cuda_statistics cuda_row_norm_of(hmoec_cuda_emitter *e, const cuda_row_norm *norm, MlirValue i);
/* Column k of the row with these statistics, whose value is x. */
MlirValue cuda_row_norm_apply(hmoec_cuda_emitter *e, const cuda_row_norm *norm, const cuda_statistics *s, MlirValue x, MlirValue k);

/* A way to multiply: what a block of threads has, and the panels of C that are its least share. */
typedef struct hmoec_cuda_way {
  int64_t threads;
  uint32_t column_steps; /* see hmoe_function */
  bool alone; /* see hmoec_cuda_kernel_begin */
  hmoec_cuda_waits waits;
  int64_t (*shared_bytes)(const hmoec_matmul_spec *spec);
  void (*emit)(hmoec_cuda_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cuda_task *task);
} hmoec_cuda_way;
extern const hmoec_cuda_way hmoec_cuda_matmul, hmoec_cuda_stream, hmoec_cuda_stream_narrow, hmoec_cuda_tile80, hmoec_cuda_tile90;
/* A product in f32 takes its way for few with so many rows for each block that there may be, and, without groups, with so many values of C: tiles of more than that
 * are enough for all multiprocessors. */
enum {
  CUDA_FEW_MOST = 8,
  CUDA_FEW_VALUES = 1 << 18,
  CUDA_NARROW = 64 /* columns, of products whose tasks share less than a panel */
};
/* Whether a product has so few columns that tasks share less than a panel, so that many of them have a share. */
bool cuda_is_narrow(const hmoec_matmul_spec *spec);
enum { CUDA_PACK_THREADS = 256 };
int64_t hmoec_cuda_pack_rows_shared_bytes(const hmoec_pack_rows_spec *spec);
void hmoec_cuda_emit_pack_rows(hmoec_cuda_emitter *e, const hmoec_pack_rows_spec *spec, const hmoec_cuda_task *task);

/* Code for steps that are no kernels; each list ends with one without a name. */
typedef struct hmoec_cuda_step {
  const char *name;
  int64_t threads, shared_bytes;
  void (*emit)(hmoec_cuda_emitter *e, const hmoec_cuda_task *task);
} hmoec_cuda_step;
extern const hmoec_cuda_step hmoec_cuda_group_steps[], hmoec_cuda_set_steps[], hmoec_cuda_loop_steps[], hmoec_cuda_token_steps[],
    hmoec_cuda_best_steps[];

/* ---- codegen.c ---- */
typedef struct hmoec_cuda_unit {
  const char *name; /* of the model: kernels are NAME_<index> */
  const hmoec_kernel *kernels;
  size_t kernel_count;
  const bool *wanted; /* of each kernel: whether there is to be code for it; NULL: for all */
  const hmoec_scalar_library *functions; /* that kernels name, or NULL */
  const hmoec_cuda_chip *chip;
  uint32_t steps; /* bit k: there is to be code for steps of kind HMOE_STEP_k; CUDA_GENERATES: for the choice of tokens */
} hmoec_cuda_unit;
enum { CUDA_GENERATES = HMOE_STEP_COUNT, CUDA_ALL_STEPS = (1 << (HMOE_STEP_COUNT + 1)) - 1 };
/* Threads of a block that runs a kernel, and bytes of shared memory it takes; 0 threads: there is no code for it. */
int64_t hmoec_cuda_threads(const hmoec_kernel *kernel, const hmoec_cuda_chip *chip);
int64_t hmoec_cuda_shared_bytes(const hmoec_kernel *kernel, const hmoec_cuda_chip *chip);
/* See hmoe_function.column_steps. */
uint32_t hmoec_cuda_column_steps(const hmoec_kernel *kernel, const hmoec_cuda_chip *chip);
/* PTX of kernels: malloc'd, terminated, owned by the caller. Equal units give equal text. False with an error. */
bool hmoec_cuda_generate_ptx(MlirContext context, const hmoec_cuda_unit *unit, hmoec_diagnostics *diagnostics, char **out_ptx);
/* See hmoec_target.initialise. */
void hmoec_cuda_initialise(void);

#endif
