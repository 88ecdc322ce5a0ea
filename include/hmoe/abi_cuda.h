/* What CUDA images and the CUDA device of the runtime share beside abi.h.
 *
 * A kernel is an entry of the image by its function's name, launched with blocks of `threads` threads. A block runs one task, the one of its number:
 * block * splits + split for grids of rows or blocks, as on CPUs. Its only parameter is a hmoe_cuda_call, by value. f32 right operands, keys and
 * values are laid out as those of CPU images (abi_cpu.h), so that one .hmw serves both. What products in bf16 read is in planes of 64 of depth, in the
 * order in which tensor cores want it in shared memory:
 *
 *   right(K, N)  [ceil(N/32)][ceil(K/64)][32][64] bf16: element (k, n) at (((n/32)*ceil(K/64) + k/64)*32 + n%32)*64 + place(k, n), zero-padded.
 *   rows(R, K)   [ceil(K/64)][R][64] bf16, of rows in place: element (r, k) at ((k/64)*R + r)*64 + place(k, r), zero for k >= K. Row i of block b,
 *                of those that the step sees, is row b*row_block + i, row_block 128, and R is row_block times as many blocks as there may be (call.blocks).
 *   place(k, r) = (k%64/8 ^ r%8)*8 + k%8: the eight pieces of 16 bytes that a line of 128 has are in an order of the line's own.
 *
 * PACK's HMOE_LAYOUT_PLANES is right(K, N), K being operand_rows, a multiple of 64: row i of part j of column o is element (first_row + j*part_rows + i,
 * first_column + o), which begins at a multiple of 32, moved on by `between` as in PANELS. Padding is left as it is. Column o of a generator that makes
 * right operands in planes, of K = generated_rows, makes the element that is number o in memory. */
#ifndef HMOE_ABI_CUDA_H
#define HMOE_ABI_CUDA_H

#include "hmoe/abi.h"

enum { HMOE_CUDA_BINDINGS_MAX = 16, HMOE_CUDA_DIMS_MAX = 8 };
/* Of column_steps of a function; the bits above say what follows. Of a kernel over rows: as many tasks at most share a block of them; 0: one. */
enum { HMOE_CUDA_COLUMN_STEPS = (1 << 25) - 1 };
/* There: as many blocks of threads as there are multiprocessors, or tasks where they are fewer, share all of them. */
enum { HMOE_CUDA_PERSISTENT = 1 << 30 };
/* There, too: tasks may share a block's rows as well, 4 at a time, or one where there are tasks for that, as of 8 rows at most, and 8 columns at a time. What has no share does nothing. */
enum { HMOE_CUDA_PARTS = 1 << 29, HMOE_CUDA_PART_ROWS = 4, HMOE_CUDA_LONE_ROWS = 8, HMOE_CUDA_STEP_PARTS = 4 };
/* There, too, of attention: tasks may share the keys of a sequence's head. Of at most 8 queries (dims[1]), where dims[0] times heads, the rows, are at most 512
 * and binding 6 has room. A part is 64 keys of a query, and parts are as many as can be done at one time by a task. Launched with splits above 1, tasks have a
 * share of the parts each, and leave what these give in binding 6; with splits 0, a task for each row, they are put together. Bits are those of splits 1. */
enum {
  HMOE_CUDA_SHARES_KEYS = 1 << 28,
  HMOE_CUDA_SHARED_QUERIES = 8,
  HMOE_CUDA_SHARED_ROWS = 512,
  HMOE_CUDA_PART_KEYS = 64,
  HMOE_CUDA_PARTS_AT_ONCE = 8
};
/* There, too: all code of the image, of steps that are no kernels as well, waits in every thread for the launch before, before it touches memory of the device, but
 * for what it reads early, and only then lets the next launch begin: it may be launched while that one still runs, and all others before that have ended. */
enum { HMOE_CUDA_WAITS = 1 << 27 };
/* There, too, of choosing experts: launched with one task, it groups the rows as well, without a capacity, where HMOE_CUDA_CHOSEN_BLOCKS is bound; dims[0] is then the
 * row_block of GROUP. Gates are its own. */
enum {
  HMOE_CUDA_GROUPS = 1 << 26,
  HMOE_CUDA_CHOSEN_INDICES = 1,
  HMOE_CUDA_CHOSEN_GATES,
  HMOE_CUDA_CHOSEN_BLOCKS, /* as GROUP's, and those that follow: any of the last two may be 0 */
  HMOE_CUDA_CHOSEN_ROW_TOKEN,
  HMOE_CUDA_CHOSEN_ROW_SLOT,
  HMOE_CUDA_CHOSEN_ROW_GATE
};
/* There, too, of products: what the call says is older than the launch before is read before that has ended. */
enum { HMOE_CUDA_READS_EARLY = 1 << 25, HMOE_CUDA_RIGHT_OPERAND = 1 /* a binding */ };
enum {
  HMOE_CUDA_EARLY_NOTHING,
  HMOE_CUDA_EARLY_WEIGHTS, /* blocks and right operand; then there is no count */
  HMOE_CUDA_EARLY_ALL /* and the rows, with what says which they are and normalises them: all that is read before something is written */
};
#define HMOE_CUDA_ROW_BINDINGS {0, 4, 11, 12}
enum { HMOE_CUDA_PLANE = 64 };
enum { HMOE_CUDA_GROUP_EXPERTS = 1024 }; /* rows of so many experts, or sets, at most are grouped by one launch */
enum {
  HMOE_CUDA_RANKED_TOKENS = 2048,
  HMOE_CUDA_RANKED_MEMBERS = 2048
}; /* and by sets so many tokens, of no more experts times top_k */
/* Buffers of the loops' code behind those that LOOP binds: a selection cache's book. All ones: no slot is filled. */
enum {
  HMOE_CUDA_LOOP_KEYS = HMOE_BIND_LOOP_COUNT, /* i32 [slots][top_k]: the set that a slot has, or -1 */
  HMOE_CUDA_LOOP_STAMPS, /* i64 [slots]: the last chunk that used the slot, -1: none, or it was passed since; then the latest chunk, and the slot
                                                 that was taken last */
  HMOE_CUDA_LOOP_FOUND, /* i32 [slots]: the slots of the chunk's groups */
  HMOE_CUDA_LOOP_TAKEN, /* i32 [slots]: those among them that are to be generated anew */
};
enum { HMOE_CUDA_OWN_SHARED_BYTES = 48 << 10 }; /* kernels whose scratch_bytes are more get it at the launch */

/* place(k, r) of k < 64. Its own inverse: where k lies in the line, and what lies at k. */
static inline uint64_t hmoe_cuda_place(uint64_t k, uint64_t r) { return ((k / 8) ^ (r % 8)) * 8 + k % 8; }

typedef struct hmoe_cuda_call {
  uint64_t buffers[HMOE_CUDA_BINDINGS_MAX]; /* addresses of the device, one a binding; 0 for HMOE_NONE */
  int64_t rows; /* as in hmoe_kernel_call, as are the next two */
  int64_t splits;
  int64_t first_block;
  int64_t blocks; /* most blocks that there may be of these rows */
  int64_t dims[HMOE_CUDA_DIMS_MAX];
  uint64_t count; /* where the device has how many of the rows there are: the address of an i32; 0: all */
  uint64_t early; /* HMOE_CUDA_EARLY_... */
} hmoe_cuda_call;

#endif
