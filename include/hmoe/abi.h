/* The contract between generated objects and the runtime. Version 4.
 *
 * An object exports one hmoe_model_object: kernels (one function table per CPU version) and a plan. The plan is one relocatable
 * blob of the plain structures below; hmoe_plan_span holds byte offsets from its start. It says which tensors to read, which
 * buffers exist, and which steps run at open (entry 0) and per run (entries 1..). Entries that decode keep keys and values in a
 * state (hmoe_state) that the caller owns. The runtime executes steps in order with a barrier
 * between them; a step's tasks run in parallel. Little endian; every offset is a multiple of 8; all fields are written.
 *
 * Layout names used below:
 *   panels(K, N)  the right operand of a product, [ceil(N/32)][K][32] f32: element (k, n) at ((n/32)*K + k)*32 + n%32, zero-padded.
 *   pairs(K, N)   the same for bf16 products, [ceil(N/32)][D/2][32][2] bf16 with D = K rounded up to 32: element (k, n) at
 *                 (((n/32)*(D/2) + k/2)*32 + n%32)*2 + k%2, zero-padded. Two neighbours in k share a 32-bit word.
 *   A row of weights is one group's operand; group g starts at g * group_stride_bytes.
 *   keys, values  what attention reads, of R rows of at most C positions (C a multiple of 32), heads of D: right operands of its two
 *                 products, as they are. keys: [R][heads][C/32][D][32] f32, element (row, head, position t, i) at
 *                 (((row*heads + head)*(C/32) + t/32)*D + i)*32 + t%32. values: [R][heads][ceil(D/32)][C][32] f32, element
 *                 at (((row*heads + head)*ceil(D/32) + i/32)*C + t)*32 + i%32, zero for i >= D. Positions that were not written
 *                 are whatever they are.
 */
#ifndef HMOE_ABI_H
#define HMOE_ABI_H

#include <stddef.h>
#include <stdint.h>

#define HMOE_ABI_VERSION 4u
#define HMOE_PLAN_MAGIC 0x4e4c5048u /* "HPLN" */
#define HMOE_PANEL 32               /* columns of a panel, and what depths of pairs are rounded up to */
#define HMOE_NONE 0xffffffffu
#define HMOE_TOP_K_MAX 4096         /* experts of a token: grouping sorts them on the stack */

typedef struct hmoe_plan_span {
  uint32_t offset, count;
} hmoe_plan_span; /* bytes from the plan's start; elements */

/* ---- kernels ---- */

/* Arguments of every kernel task. */
typedef struct hmoe_kernel_call {
  void *const *buffers; /* one per binding of the step, in order; NULL for HMOE_NONE */
  int64_t rows;         /* value of the step's rows dimension */
  int64_t splits;       /* column splits: task = block * splits + split */
  int64_t first_block;  /* grid BLOCKS: blocks are counted from here */
  const int64_t *dims;  /* values of the dimensions that the step's args name, in order; NULL: it names none */
} hmoe_kernel_call;

/* scratch: this worker's private memory, 64-byte aligned, plan.scratch_bytes long. */
typedef void (*hmoe_kernel_fn)(const hmoe_kernel_call *call, int64_t task, void *scratch);

/* The last two are in objects with bf16 products only. */
enum {
  HMOE_CPU_PORTABLE = 0,
  HMOE_CPU_AVX2 = 1,
  HMOE_CPU_AVX512 = 2,
  HMOE_CPU_AVX512_BF16 = 3,
  HMOE_CPU_AMX = 4, /* AVX512_BF16 and tiles; the system must have granted them to the process */
  HMOE_CPU_COUNT = 5,
};

typedef struct hmoe_model_object {
  uint32_t abi_version;
  uint32_t kernel_count;
  const void *plan;                                /* hmoe_plan, plan_bytes long, 8-byte aligned */
  uint64_t plan_bytes;
  const hmoe_kernel_fn *kernels[HMOE_CPU_COUNT];   /* kernel_count each; NULL: this version is not in the object */
} hmoe_model_object;

/* One unit of grouped work: rows [row, row + rows) of the sorted order, all of one group. */
typedef struct hmoe_block {
  int32_t group;   /* which row of weights */
  int32_t row;
  int32_t rows;    /* 1..row_block */
  int32_t dropped; /* 1: over capacity; only the part of the product that capacity does not cut is computed */
} hmoe_block;

/* Header of a blocks buffer; hmoe_block[] follows it. */
typedef struct hmoe_blocks {
  int32_t count;       /* blocks */
  int32_t groups;      /* distinct groups (grouping by selection set); experts otherwise */
  int32_t rows;        /* rows in all blocks */
  int32_t reserved[13];
} hmoe_blocks;

/* ---- the plan ---- */

/* A tensor of the checkpoint. With count > 1 the key holds one "{}" that stands for 0..count-1, and the parameter is their stack. A key may
 * be several, separated by a line feed: names of one tied tensor; those that the checkpoint has must be equal. */
typedef struct hmoe_plan_param {
  hmoe_plan_span key; /* characters, not terminated */
  uint32_t count;
  uint32_t rank; /* of one tensor, 1..4 */
  uint64_t shape[4]; /* of one tensor */
} hmoe_plan_param;

/* A dimension of an entry. value(i): INPUT: given by the caller; SCALE: factor * value(source); MIN: min(factor, value(source));
 * CHUNK, MISSING: set by the enclosing loop step, at most `factor`; CONST: factor; PRODUCT: value(source) * value(factor); SUM:
 * value(source) + value(factor); ROUND_UP: value(source) rounded up to a multiple of factor; CEIL_DIV: value(source) / factor, rounded
 * up; STATE: of the state's scope source / 3, source % 3 being 0: rows, 1: capacity (a multiple of 32), 2: length before the run.
 * A source, and a factor that is one, is always an earlier dimension. */
enum {
  HMOE_DIM_INPUT = 0,
  HMOE_DIM_SCALE = 1,
  HMOE_DIM_MIN = 2,
  HMOE_DIM_CHUNK = 3,
  HMOE_DIM_MISSING = 4,
  HMOE_DIM_CONST = 5,
  HMOE_DIM_PRODUCT = 6,
  HMOE_DIM_SUM = 7,
  HMOE_DIM_ROUND_UP = 8,
  HMOE_DIM_CEIL_DIV = 9,
  HMOE_DIM_STATE = 10,
  HMOE_DIM_COUNT = 11,
};
typedef struct hmoe_plan_dim {
  uint32_t kind, source;
  uint64_t factor;
} hmoe_plan_dim;

enum {
  HMOE_BUFFER_INPUT = 0, /* index: input of the entry */
  HMOE_BUFFER_OUTPUT = 1, /* index: output of the entry */
  HMOE_BUFFER_WEIGHT = 2, /* at `offset` of the weight arena: written at open, read-only afterwards, saved to .hmw */
  HMOE_BUFFER_WORKSPACE = 3, /* index: workspace slot; per run */
  HMOE_BUFFER_CACHE = 4, /* at `offset` of the model's selection cache, shared by runs */
  HMOE_BUFFER_PARAM = 5, /* index: parameter (count 1, f32-converted copy made by the runtime at open); open only */
  HMOE_BUFFER_STATE = 6, /* index: a tensor of the plan's states, in the state that the run is given; its size is the state's */
};
/* The weight arena is zero before entry 0 runs; workspace and caches are not initialised. index of a CACHE buffer: the cache's number.
 * WEIGHT and CACHE buffers have fixed sizes; offsets and advances are multiples of 4.
 * bytes = fixed_bytes + value(dim) * bytes_per_row; dim HMOE_NONE: fixed. Entry 0 uses WORKSPACE too; it is released after open. */
typedef struct hmoe_plan_buffer {
  uint32_t kind, index;
  uint64_t offset;
  uint64_t fixed_bytes, bytes_per_row;
  uint32_t dim, reserved;
} hmoe_plan_buffer;

/* buffer: index into the entry's buffers, or HMOE_NONE. In a loop the pointer advances by advance_bytes for each item done. */
typedef struct hmoe_plan_binding {
  uint32_t buffer, reserved;
  uint64_t offset_bytes, advance_bytes;
} hmoe_plan_binding;

/* Steps. bindings and args by kind:
 *
 * KERNEL   runs kernels[kernel]. bindings: as the kernel wants. args: [0] grid, [1] row_block, [2] panels (most column splits),
 *          [3] binding number of the blocks buffer (grid BLOCKS), [4] about how many FLOP one row takes: a step too small to share
 *          runs on the calling thread, [5].. dimensions whose values call.dims has. rows_dim: value for call.rows.
 *          tasks: ROWS ceil(rows/row_block); DENSE that * splits; BLOCKS blocks.count * splits. The runtime picks splits in
 *          [1, panels] from the work and the threads; results do not depend on it.
 * GROUP    counting sort by expert. bindings: [0] indices i32 [rows/top_k, top_k], [1] gates f32 same shape, out: [2] blocks,
 *          [3] row_token i32 [rows]: source row, [4] row_slot i32 [rows]: token*top_k+slot, [5] row_gate f32 [rows],
 *          [6] counters i32 [4*groups], [7] history i32 [scopes][value(args[6])][top_k] or HMOE_NONE. args: [0] experts, [1] top_k,
 *          [2] capacity (0: none), [3] row_block, [4] a dimension or HMOE_NONE: capacity counts anew every value([4]) tokens (a row of the
 *          batch), [5], [6] with a history: dimensions past and row stride: a scope's count begins with the experts of the past tokens
 *          in its history, and its own are written behind them. rows_dim: tokens*top_k. Order inside a group: token, then slot. With capacity, a group's rows past it form blocks
 *          of their own with dropped=1, after the kept ones of that group. n rows are cut into ceil(n/row_block) blocks whose sizes
 *          differ by at most one; the same in GROUP_SETS.
 * GROUP_SETS  groups tokens by their selection set (sorted expert tuple). bindings: [0] indices i32 [tokens, top_k], out: [1] blocks,
 *          [2] row_token i32 [tokens], [3] sets i32 [tokens][top_k] (ascending; one per distinct group, in order of first
 *          appearance), [4] scratch i32 [8*tokens + 64]. args: [0] experts, [1] top_k, [2] mode: 0: block.group = rank of the set in
 *          colexicographic order (table row); 1: block.group = distinct index; 2: every token its own group (sets filled too),
 *          [3] row_block. rows_dim: tokens. For mode 2 binding [0] may be HMOE_NONE (no sets then).
 * LOOP     runs the next args[0] steps once per chunk, then continues after them. args: [1] kind: 0 rows: chunks of rows of
 *          rows_dim, at most args[2] each; sets the CHUNK dim. 1 groups: chunks of at most args[2] distinct groups of a
 *          GROUP_SETS(mode 1 or 2) result; 2 cached groups: as 1, with the model's selection cache.
 *          bindings (kinds 1, 2): [0] blocks, [1] sets or NONE, out: [2] todo_sets i32 [args[2]][top_k] or NONE,
 *          [3] todo_slot i32 [args[2]], [4] todo_token i32 [args[2]] (first token of the group), [5] row_token i32.
 *          MISSING dim: groups of the chunk to generate (kind 1: all). block.group becomes the slot in [0, args[2]) (kind 1) or the
 *          cache slot (kind 2). KERNEL steps with grid BLOCKS see only the chunk's blocks. args[3]: top_k; args[4] (kind 2): how
 *          many of the args[0] steps generate: they run under the cache's lock; args[5] (kind 2): cache number.
 *          A rows loop sets every CHUNK dim, a groups loop every MISSING dim; groups loops may stand inside a rows loop, nothing else
 *          nests, and advance_bytes counts rows of the rows loop then. A GROUP_SETS result is looped over once: its blocks are rewritten.
 * PACK     a right operand into panels. bindings: [0] dst, [1] source buffer (f32) when args[0] is HMOE_NONE. args: [0] param or
 *          HMOE_NONE; columns: [1] N, a multiple of 32, [2] Q, [3] ncols, [4] col stride, [5] q stride; depth: [6] K outer, [7] K inner,
 *          [8] outer stride, [9] inner stride; [10] source offset, [11] groups, [12] source group stride (all of the source, in elements);
 *          dst: [13] group stride in bytes, [14] first panel, [15] first depth row, [16] outer pitch in depth rows, [17] depth rows of a panel.
 *          o in [0, N): o = (p*Q + q)*32 + c, col = p*32 + c; value 0 where col >= ncols.
 *          dst[g][args[14] + o/32][args[15] + ko*args[16] + ki][o%32] = src[g][args[10] + q*args[5] + col*args[4] + ko*args[8] + ki*args[9]].
 *          Q > 1 permutes a generator's rows so that what it generates is itself in panels.
 *          [18] format: 0 panels; 1 pairs: dst is bf16, args[15], [17] and, with K outer > 1, [16] are even, and row d of panel P is
 *          the half d%2 of words dst[g][P][d/2][o%32]; sources are rounded to nearest, ties to even; NaN becomes a quiet NaN, bf16
 *          sources keep their bits. A pack of pairs with K outer 1 and first depth row 0 also zeroes rows K inner .. min(K inner
 *          rounded up to 32, args[17]) of its panels; packs of other rows of them come later. Other rows that no pack writes are what
 *          they were: zero in the weight arena. [19] real Q, at most Q: value 0 where q >= real Q.
 *          [20] paired: 1: what the columns generate is itself in pairs: Q is a multiple of 32, and o in [0, N) means
 *          o = ((p*(Q/2) + q/2)*32 + c)*2 + q%2 instead. Of a stacked parameter (count > 1)
 *          src[g] is tensor g; otherwise src[g] = source + g*args[12]. Weights of any supported dtype are converted to f32.
 * PACK_VECTOR  the same for vectors: dst[g*args[13]/4 + args[14] + o] = src[g][args[10] + q*args[5] + col*args[4]]; args numbered as
 *          for PACK ([6]-[9], [15]-[18] unused; always f32); N need not be a multiple of 32 when Q = 1 (then col = o).
 * COPY     bindings: [0] dst, [1] src. args: [0] outer, [1] outer dst stride, [2] outer src stride, [3] middle, [4] middle dst stride,
 *          [5] middle src stride, [6] bytes. All in bytes but the counts.
 * SELECTIONS  bindings: [0] dst i32 [C(experts, top_k)][top_k], ascending tuples in colexicographic order. args: [0] experts,
 *          [1] top_k, [2] sets.
 * WEIGHT_EMBEDDING  the convolutional embedding of expert weights (Table 5 of the paper). bindings: [0] dst f32 [experts, embedding].
 *          args: params [0] wi, [1] wo, [2] depthwise 1, [3] pointwise 1, [4] depthwise 2, [5] pointwise 2; [6] dst row stride (floats).
 * CHOOSE   runs the next args[0] steps, or the args[1] steps after those, then continues after both. Both ways compute the same bits
 *          and have a step at least. bindings: [0] blocks, or HMOE_NONE. The first way is for enough rows: blocks >= args[2] * threads
 *          and rows >= args[3] * blocks. Blocks and rows are those of the blocks buffer, in a loop over groups the chunk's; without a
 *          blocks buffer rows is the value of rows_dim, blocks ceil(rows/args[4]). May stand whole inside loops (in a cached one: whole
 *          among the generating steps or after them); no loop, no other CHOOSE in it.
 * IDS      integers of the caller's, checked. bindings: [0] an INPUT buffer, [1] dst i32 [rows]. args: [0] bytes of a source element, 4 or 8;
 *          [1] limit: HMOE_INVALID_ARGUMENT, with the input's name and the place, for a value outside [0, limit); [2] what every element is
 *          when the caller gives no input. rows_dim: elements.
 * POSITIONS  how many real tokens a row had before: bindings: [0] mask i32 [rows][value(args[3])] or HMOE_NONE (all 1), [1] dst i32
 *          [rows][length]. args: dimensions [0] rows, [1] length, [2] past or HMOE_NONE (0), [3] the mask's row stride; [4] limit.
 *          dst[b][t] = max(0, (sum over u <= past + t of mask[b][u]) - 1); HMOE_INVALID_ARGUMENT where that is not below limit.
 * LAST_ROWS  the row of each batch row's last real token: bindings: [0] mask i32 or HMOE_NONE, [1] dst i32 [rows]. args: as of POSITIONS,
 *          [0] to [3]. dst[b] = b*length + the largest t < length with mask[b][past + t] != 0, or length - 1 if there is none.
 * APPEND_MASK  bindings: [0] src i32 [rows][length], [1] dst i32 [rows][value(args[3])], a STATE buffer. args: as of POSITIONS, [0] to
 *          [3]. dst[b][past + t] = src[b][t].
 * RELATIVE_BIAS  the bias of a relative position, out of its bucket's. bindings: [0] dst f32 [heads][args[4]], [1] source f32
 *          [buckets][heads]. args: [0] buckets, [1] heads, [2] 1: both directions, 0: backward only, [3] max_distance M,
 *          [4] row stride of dst, [5] pad P. dst[head][i] = source[bucket(r)][head], r = max(-M, min(M, i - P - M)) = key - query.
 *          bucket: T5's (Raffel et al. 2020). The logarithm is f32's.
 */
enum {
  HMOE_STEP_KERNEL = 0,
  HMOE_STEP_GROUP = 1,
  HMOE_STEP_GROUP_SETS = 2,
  HMOE_STEP_LOOP = 3,
  HMOE_STEP_PACK = 4,
  HMOE_STEP_PACK_VECTOR = 5,
  HMOE_STEP_COPY = 6,
  HMOE_STEP_SELECTIONS = 7,
  HMOE_STEP_WEIGHT_EMBEDDING = 8,
  HMOE_STEP_CHOOSE = 9,
  HMOE_STEP_IDS = 10,
  HMOE_STEP_POSITIONS = 11,
  HMOE_STEP_LAST_ROWS = 12,
  HMOE_STEP_APPEND_MASK = 13,
  HMOE_STEP_RELATIVE_BIAS = 14,
  HMOE_STEP_COUNT = 15,
};
enum { HMOE_GRID_ROWS = 0, HMOE_GRID_DENSE = 1, HMOE_GRID_BLOCKS = 2 };
enum { HMOE_LOOP_ROWS = 0, HMOE_LOOP_GROUPS = 1, HMOE_LOOP_CACHED = 2 };
enum { HMOE_SETS_RANK = 0, HMOE_SETS_DISTINCT = 1, HMOE_SETS_TOKEN = 2 };

typedef struct hmoe_plan_step {
  uint32_t kind, kernel;
  uint32_t rows_dim, reserved; /* index of the entry's dims or HMOE_NONE */
  hmoe_plan_span bindings; /* hmoe_plan_binding */
  hmoe_plan_span args; /* uint64_t */
} hmoe_plan_step;

/* A tensor of an entry's signature, for messages and for tools. shape -1-d means dimension d of the entry. */
typedef struct hmoe_plan_tensor {
  hmoe_plan_span name;
  uint32_t dtype; /* 0 f32, 1 i32, 2 i64 */
  uint32_t rank;
  int64_t shape[4];
  uint32_t optional; /* 1: an input that may be NULL: every element is `fill` then */
  uint32_t needed_by; /* bit o: an input without elements is refused where output o has some, which are computed from it */
  int64_t fill;
} hmoe_plan_tensor;

/* Keys, values and masks of rows of tokens are kept in a state, in two scopes: what is being generated, and what it is generated from.
 * A scope has rows, a capacity and a length; the caller chooses the first two (hmoe_state_create). */
enum { HMOE_SCOPE_TARGET = 0, HMOE_SCOPE_SOURCE = 1, HMOE_SCOPE_COUNT = 2 };

/* One tensor of a state: rows * capacity * position_bytes, row after row. A row is `segments` equal parts, of each of which the first
 * round_up(length, 32) / capacity part is in use: heads of keys, panels of values. */
typedef struct hmoe_plan_state {
  uint32_t scope, segments;
  uint64_t position_bytes;
} hmoe_plan_state;

typedef struct hmoe_plan_entry {
  hmoe_plan_span name;
  hmoe_plan_span dims; /* hmoe_plan_dim; the INPUT ones come first, in the caller's order */
  hmoe_plan_span inputs, outputs; /* hmoe_plan_tensor */
  hmoe_plan_span buffers; /* hmoe_plan_buffer */
  hmoe_plan_span steps; /* hmoe_plan_step */
  uint32_t slots; /* workspace slots; a slot is as large as its largest buffer */
  uint32_t needs_state; /* 1: a run is given a state */
  uint32_t advance[HMOE_SCOPE_COUNT]; /* the dimension that a run adds to the scope's length, or HMOE_NONE: lengths stay */
  hmoe_plan_span dim_names; /* hmoe_plan_span, of characters: the INPUT dimensions */
} hmoe_plan_entry;

/* A bounded store of generated HyperExpert weights, keyed by selection set. Slot s of a CACHE buffer is its row s. */
typedef struct hmoe_plan_cache {
  uint64_t slots, bytes; /* bytes of all CACHE buffers together */
  uint32_t top_k, reserved;
} hmoe_plan_cache;

/* What generation does where its caller says nothing: <hmoe/generate.h> has a field of each name. What the values of a setting are:
 * tokens, of at least 0 (none: no token); words: the tokens of each, then -1; an integer of at least 0 (flags: 0 or 1; EARLY_STOPPING: 0 to
 * 2, as there); a number, as the bits of a double. */
enum {
  HMOE_SETTING_START_TOKEN = 0, /* at most one token; so are the next two */
  HMOE_SETTING_PAD_TOKEN = 1,
  HMOE_SETTING_FORCED_BOS_TOKEN = 2,
  HMOE_SETTING_END_TOKEN = 3, /* tokens */
  HMOE_SETTING_FORCED_EOS_TOKEN = 4,
  HMOE_SETTING_SUPPRESS_TOKENS = 5,
  HMOE_SETTING_BEGIN_SUPPRESS_TOKENS = 6,
  HMOE_SETTING_BAD_WORDS = 7, /* words */
  HMOE_SETTING_MAX_NEW_TOKENS = 8, /* an integer */
  HMOE_SETTING_MAX_LENGTH = 9,
  HMOE_SETTING_MIN_NEW_TOKENS = 10,
  HMOE_SETTING_MIN_LENGTH = 11,
  HMOE_SETTING_BEAMS = 12,
  HMOE_SETTING_EARLY_STOPPING = 13,
  HMOE_SETTING_NO_REPEAT_NGRAM = 14,
  HMOE_SETTING_SAMPLE = 15,
  HMOE_SETTING_TOP_K = 16,
  HMOE_SETTING_LENGTH_PENALTY = 17, /* a number */
  HMOE_SETTING_REPETITION_PENALTY = 18,
  HMOE_SETTING_TEMPERATURE = 19,
  HMOE_SETTING_TOP_P = 20,
  HMOE_SETTING_MIN_P = 21,
  HMOE_SETTING_COUNT = 22,
};
typedef struct hmoe_plan_setting {
  uint32_t setting, reserved;
  hmoe_plan_span values; /* int64_t */
} hmoe_plan_setting;

typedef struct hmoe_plan {
  uint32_t magic, abi_version;
  uint64_t bytes; /* of the whole blob */
  uint64_t weight_bytes; /* weight arena */
  uint64_t scratch_bytes; /* per worker, the largest over the kernels */
  hmoe_plan_span name; /* model */
  hmoe_plan_span params; /* hmoe_plan_param */
  hmoe_plan_span entries; /* hmoe_plan_entry; [0] runs at open */
  hmoe_plan_span caches; /* hmoe_plan_cache; cache arenas are allocated at open */
  hmoe_plan_span states; /* hmoe_plan_state */
  hmoe_plan_span generation; /* hmoe_plan_setting, each setting at most once */
  uint64_t layout; /* stamp of packed weights, over plan and kernels: .hmw files carry the one they were packed for */
} hmoe_plan;

#endif
