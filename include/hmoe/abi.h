/* The contract between generated objects and the runtime. Version 9.
 *
 * An object exports one hmoe_model_object: a plan, and the kernels that it runs, in an image for each kind of machine. The plan is one
 * relocatable blob of the plain structures below; hmoe_plan_span holds byte offsets from its start. It says which tensors to read, which
 * buffers exist, and which steps run at open (entry 0) and per run (entries 1..). Entries that decode keep keys and values in a
 * state (hmoe_state) that the caller owns. The runtime executes steps in order with a barrier
 * between them; a step's tasks run in parallel. Little endian; every offset is a multiple of 8; all fields are written.
 *
 * How weights, keys and values are laid out is a matter of those who read them, the kernels; the plan says it where it packs them, and the runtime
 * follows. What CPU images read: abi_cpu.h. A row of weights is one group's operand; group g starts at g * group_stride_bytes.
 */
#ifndef HMOE_ABI_H
#define HMOE_ABI_H

#include <stddef.h>
#include <stdint.h>

#define HMOE_ABI_VERSION 9u
#define HMOE_PLAN_MAGIC 0x4e4c5048u /* "HPLN" */
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
  const int64_t *dims;  /* values of the dimensions that the step names, in order; NULL: it names none */
} hmoe_kernel_call;

/* scratch: this worker's private memory, 64-byte aligned, scratch_bytes of the function long. */
typedef void (*hmoe_kernel_fn)(const hmoe_kernel_call *call, int64_t task, void *scratch);

/* A kernel in an image. Neither call nor name: no entry that the image's target runs has a step of it. */
typedef struct hmoe_function {
  hmoe_kernel_fn call;    /* of images that are linked; else NULL */
  const char *name;       /* of images that are loaded: its name in the code; else NULL */
  uint64_t scratch_bytes; /* what a task has to itself: a worker's memory, or what threads that run one together share */
  uint32_t threads;       /* that run a task together: 1 in images that are linked */
  uint32_t column_steps;  /* that a task takes at least, where columns are split: as many of column_splits; 0: 1 */
  /* How long it takes on one thread of the machine that the object was compiled for, all its threads being at work, in picoseconds; 0: nobody knows.
   * What is decided by them changes no result. */
  uint64_t row_ps; /* a row, or an item of the step's `work`: arithmetic */
  uint64_t block_ps; /* a block at least, however few its rows: its right operands are read */
  uint64_t split_row_ps; /* what a row takes again in every part that its columns are cut into */
} hmoe_function;

/* What it costs on such a machine to give work to other threads, in picoseconds. All 0: nobody knows. */
typedef struct hmoe_sharing {
  uint64_t barrier_ps; /* to begin and end a step on several threads that wait awake */
  uint64_t wake_ps; /* the caller's time, to wake threads that sleep */
  uint64_t asleep_ps; /* from there until they are at work */
} hmoe_sharing;

/* The kernels for one kind of machine. Code is linked into the object, as for CPUs, or bytes that a device's driver loads. */
typedef struct hmoe_image {
  const char *target; /* "cpu" */
  const char *version; /* of the target's: "portable" */
  const hmoe_function *functions; /* kernel_count of the object */
  const void *code; /* code_bytes long; NULL: linked */
  uint64_t code_bytes;
  hmoe_sharing sharing;
} hmoe_image;

typedef struct hmoe_model_object {
  uint32_t abi_version;
  uint32_t kernel_count;
  const void *plan; /* hmoe_plan, plan_bytes long, 8-byte aligned */
  uint64_t plan_bytes;
  const hmoe_image *images;
  uint32_t image_count, reserved;
} hmoe_model_object;

/* One unit of grouped work: rows [row, row + rows) of the sorted order, all of one group. */
typedef struct hmoe_block {
  int32_t group; /* which row of weights */
  int32_t row;
  int32_t rows; /* 1..row_block */
  int32_t dropped; /* 1: over capacity; only the part of the product that capacity does not cut is computed */
} hmoe_block;

/* Header of a blocks buffer; hmoe_block[] follows it. */
typedef struct hmoe_blocks {
  int32_t count; /* blocks */
  int32_t groups; /* distinct groups (grouping by selection set); experts otherwise */
  int32_t rows; /* rows in all blocks */
  int32_t first; /* a device that reads no counts has a LOOP over groups here: the chunk's blocks are [first, count), */
  int32_t all; /* of so many in all chunks, */
  int32_t todo; /* and so many of its groups are to be generated. Else 0 */
  int32_t reserved[10];
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
 * up; STATE: of the state's scope source / 3, source % 3 being 0: rows, 1: capacity (a multiple of the plan's state_positions), 2: length
 * before the run.
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

/* ---- steps ---- */

/* buffer: index into the entry's buffers, or HMOE_NONE. In a loop the pointer advances by advance_bytes for each item done. */
typedef struct hmoe_plan_binding {
  uint32_t buffer, reserved;
  uint64_t offset_bytes, advance_bytes;
} hmoe_plan_binding;

/* Each kind has a structure of its fields, hmoe_step_KIND, and an enumeration of its bindings: a step has all of them, in that order, and
 * HMOE_NONE for what is not there. POSITIONS, LAST_ROWS and APPEND_MASK share theirs. A KERNEL's bindings are what its kernel wants. */
enum {
  HMOE_STEP_KERNEL = 0,
  HMOE_STEP_GROUP = 1,
  HMOE_STEP_GROUP_SETS = 2,
  HMOE_STEP_LOOP = 3,
  HMOE_STEP_CHOOSE = 4,
  HMOE_STEP_PACK = 5,
  HMOE_STEP_COPY = 6,
  HMOE_STEP_SELECTIONS = 7,
  HMOE_STEP_WEIGHT_EMBEDDING = 8,
  HMOE_STEP_RELATIVE_BIAS = 9,
  HMOE_STEP_IDS = 10,
  HMOE_STEP_POSITIONS = 11,
  HMOE_STEP_LAST_ROWS = 12,
  HMOE_STEP_APPEND_MASK = 13,
  HMOE_STEP_COUNT = 14,
};

typedef struct hmoe_plan_step {
  uint32_t kind;
  uint32_t rows_dim; /* the dimension that counts its rows, or HMOE_NONE; GROUP, GROUP_SETS, IDS and grids need one */
  hmoe_plan_span bindings; /* hmoe_plan_binding */
  hmoe_plan_span fields; /* one hmoe_step_KIND: its offset, its size in bytes */
} hmoe_plan_step;

/* How many blocks there are at most, as far as the plan tells: of rows in so many groups, a block being at most row_block rows of one group,
 *   bound(rows, row_block, groups) = (rows + min(rows, groups) * (row_block - 1)) / row_block
 * and of one group exactly so many. KERNEL and CHOOSE have row_block and groups, so that a device that does not read counts while it runs can
 * size a grid and choose a way; what GROUP and GROUP_SETS count in a blocks buffer is never more, but on CPUs, which may cut a run into smaller blocks. */

/* A value that was measured to be better than the one that a step has, for rows from first_rows to last_rows, for code of this version (by its number;
 * HMOE_NONE: any) on so many threads (0: any). Of several that fit the first counts. */
typedef struct hmoe_plan_tuning {
  uint64_t first_rows, last_rows;
  uint32_t version, threads;
  uint32_t value, reserved;
} hmoe_plan_tuning;

/* KERNEL runs a kernel of the object.
 * tasks: ROWS and DENSE: a block is row_block rows of value(rows_dim), groups is 1; BLOCKS: the blocks of a blocks buffer, in a loop over
 * groups the chunk's. The columns of DENSE and BLOCKS are cut, too: splits tasks a block. The device picks splits in [1, column_splits] from
 * the work and the threads; results do not depend on it. */
enum { HMOE_GRID_ROWS = 0, HMOE_GRID_DENSE = 1, HMOE_GRID_BLOCKS = 2 };
typedef struct hmoe_step_kernel {
  uint32_t kernel;
  uint32_t grid; /* HMOE_GRID_* */
  uint32_t row_block; /* most rows of a block */
  uint32_t groups; /* most groups that the blocks are of; HMOE_NONE: as many as there are rows */
  uint32_t blocks_binding; /* BLOCKS: which of the bindings is the blocks buffer */
  uint32_t column_splits; /* most parts that the columns can be cut into */
  uint32_t
      tasks; /* a thread: CPUs cut few blocks into columns until there are so many, which end together though blocks differ in size */
  uint32_t reserved;
  hmoe_plan_span dims; /* uint32_t: the dimensions whose values call.dims has, in order */
  hmoe_plan_span
      work; /* uint32_t: dimensions whose product counts what row_ps of the function is the time of; none: it is of a row */
  hmoe_plan_span tunings; /* of `tasks` */
} hmoe_step_kernel;

/* GROUP sorts rows (token, slot) by expert: a counting sort, in a group by token, then slot. rows_dim: tokens * top_k.
 * With a capacity a group's rows past it form blocks of their own with dropped = 1, after the kept ones of that group. n rows are cut into
 * ceil(n/m) blocks whose sizes differ by at most one, m being row_block or, on CPUs, fewer; the same in GROUP_SETS. With a history a scope's count begins with the experts of the
 * past tokens in it, and its own are written behind them. */
enum {
  HMOE_BIND_GROUP_INDICES = 0, /* i32 [rows/top_k, top_k] */
  HMOE_BIND_GROUP_GATES = 1, /* f32, the same shape; or none */
  HMOE_BIND_GROUP_BLOCKS = 2, /* out */
  HMOE_BIND_GROUP_ROW_TOKEN = 3, /* out: i32 [rows]: source row */
  HMOE_BIND_GROUP_ROW_SLOT = 4, /* out: i32 [rows]: token * top_k + slot; or none */
  HMOE_BIND_GROUP_ROW_GATE = 5, /* out: f32 [rows]; or none */
  HMOE_BIND_GROUP_COUNTERS = 6, /* scratch: i32 [4 * experts] */
  HMOE_BIND_GROUP_HISTORY = 7, /* i32 [scopes][value(stride_dim)][top_k], or none */
  HMOE_BIND_GROUP_COUNT = 8,
};
typedef struct hmoe_step_group {
  uint32_t experts, top_k;
  uint32_t row_block;
  uint32_t scope_dim; /* capacity counts anew every value(scope_dim) tokens (a row of the batch); HMOE_NONE: never */
  uint64_t capacity; /* of an expert in a scope; 0: none */
  uint32_t past_dim, stride_dim; /* with a history: tokens in it, and room for so many in a scope's; else HMOE_NONE */
} hmoe_step_group;

/* GROUP_SETS groups tokens by their selection set (sorted expert tuple). rows_dim: tokens. block.group is, by mode: RANK: the set's place in
 * colexicographic order (a row of a table); DISTINCT: its number among those that appear; TOKEN: the token, each a group of its own. */
enum { HMOE_SETS_RANK = 0, HMOE_SETS_DISTINCT = 1, HMOE_SETS_TOKEN = 2 };
enum {
  HMOE_BIND_GROUP_SETS_INDICES = 0, /* i32 [tokens, top_k]; TOKEN: or none (no sets then) */
  HMOE_BIND_GROUP_SETS_BLOCKS = 1, /* out */
  HMOE_BIND_GROUP_SETS_ROW_TOKEN = 2, /* out: i32 [tokens] */
  HMOE_BIND_GROUP_SETS_SETS = 3, /* out: i32 [tokens][top_k], ascending; one a distinct group, on CPUs as they appear */
  HMOE_BIND_GROUP_SETS_SCRATCH = 4, /* i32 [8 * tokens + 64] */
  HMOE_BIND_GROUP_SETS_COUNT = 5,
};
typedef struct hmoe_step_group_sets {
  uint32_t experts, top_k;
  uint32_t row_block;
  uint32_t mode; /* HMOE_SETS_* */
} hmoe_step_group_sets;

/* LOOP runs the next `steps` steps once a chunk, then continues after them.
 * ROWS: chunks of the rows of rows_dim; sets every CHUNK dimension. GROUPS: chunks of the distinct groups of a GROUP_SETS result (DISTINCT or
 * TOKEN), of which there are min(value(rows_dim), groups) at most; CACHED: the same with a selection cache of the model. Both set every MISSING
 * dimension: groups of the chunk to generate (GROUPS: all). block.group becomes the slot in [0, chunk) (GROUPS) or the cache's (CACHED), and
 * steps over blocks see only the chunk's. A device that reads no counts runs as many chunks as there may be, with dimensions that are bounds.
 * ROWS binds nothing. GROUPS and CACHED may stand inside ROWS, nothing else nests, and advance_bytes counts rows of the ROWS loop then. A GROUP_SETS result is
 * looped over once: its blocks are rewritten. */
enum { HMOE_LOOP_ROWS = 0, HMOE_LOOP_GROUPS = 1, HMOE_LOOP_CACHED = 2 };
enum {
  HMOE_BIND_LOOP_BLOCKS = 0,
  HMOE_BIND_LOOP_SETS = 1, /* or none */
  HMOE_BIND_LOOP_TODO_SETS = 2, /* out: i32 [chunk][top_k]; or none */
  HMOE_BIND_LOOP_TODO_SLOT = 3, /* out: i32 [chunk]; or none */
  HMOE_BIND_LOOP_TODO_TOKEN = 4, /* out: i32 [chunk]: the first token of the group; or none */
  HMOE_BIND_LOOP_ROW_TOKEN = 5,
  HMOE_BIND_LOOP_COUNT = 6,
};
typedef struct hmoe_step_loop {
  uint32_t kind; /* HMOE_LOOP_* */
  uint32_t steps;
  uint32_t chunk; /* most rows, or groups, of a chunk */
  uint32_t groups; /* GROUPS and CACHED: most groups that there can be */
  uint32_t top_k; /* GROUPS and CACHED */
  uint32_t generate_steps; /* CACHED: how many of the steps generate: they run under the cache's lock */
  uint32_t cache; /* CACHED: the cache's number */
  uint32_t reserved;
} hmoe_step_loop;

/* CHOOSE runs the next first_steps steps, or the second_steps ones after those, then continues after both. Both ways compute the same: on CPUs the
 * same bits, elsewhere what rounds the same numbers and sums them in f32.
 * On CPUs the first way is taken when its time, by the times of the kernels, is at most `percent` hundredths of the second one's. Where one of the kernels has
 * none, and elsewhere, it is for enough rows: rows >= block_rows * blocks. Blocks and rows are those of the
 * blocks buffer, in a loop over groups the chunk's (of a device that reads no counts all of the loop's); without one value(rows_dim) and its bound. May stand whole inside loops (in a cached one:
 * whole among the generating steps or after them); no loop, no other CHOOSE in it. */
enum {
  HMOE_BIND_CHOOSE_BLOCKS = 0, /* or none */
  HMOE_BIND_CHOOSE_COUNT = 1,
};
typedef struct hmoe_step_choose {
  uint32_t first_steps, second_steps; /* at least 1 */
  uint32_t percent, block_rows;
  uint32_t row_block, groups; /* of the blocks, as for KERNEL */
  hmoe_plan_span tunings; /* of `percent` */
} hmoe_step_choose;

/* PACK puts matrices, or vectors, into the layout that kernels read. */

/* Things that are a stride of elements apart. */
typedef struct hmoe_pack_axis {
  uint64_t count, stride;
} hmoe_pack_axis;

/* Where the elements are: an array of five axes. The depth of a matrix, its k, is in parts of so many rows; one part, mostly. A generator's matrix
 * makes matrices: it has `generated` columns for each column of what it makes, one a row of that. Others have one. */
typedef struct hmoe_pack_source {
  uint32_t param; /* a parameter, of any type that converts; HMOE_NONE: the binding, f32 */
  uint32_t reserved;
  uint64_t offset; /* of the first element: in the tensor, or from the binding on */
  hmoe_pack_axis groups; /* of a parameter that is a stack (count > 1) a group is a tensor, and the stride is not used */
  hmoe_pack_axis columns, generated;
  hmoe_pack_axis parts, depth; /* of a vector: one of one */
} hmoe_pack_source;

/* Where they go, and as what. A group of the destination is an operand, or a part of one: `columns` columns from first_column on, of the depth rows
 * from first_row on. Column o in [0, columns) is generated row q of column c of the source, 0 where that has no such row or column; with one generated
 * row o is c, else the order is that in which what the columns make comes out in the layout. */
typedef struct hmoe_pack_destination {
  uint32_t layout; /* HMOE_LAYOUT_* */
  uint32_t format; /* HMOE_FORMAT_*: of its elements */
  uint32_t generated_format; /* HMOE_FORMAT_*: of what a generator's columns make */
  uint32_t between; /* column steps of the layout that belong to other matrices, between two of its own */
  uint32_t generated_layout; /* HMOE_LAYOUT_*: of what a generator's columns make: PLANES; of anything else PANELS, or columns */
  uint32_t reserved;
  uint64_t columns, generated_rows; /* padding among them */
  uint64_t group_bytes; /* group g begins at g*group_bytes of the binding */
  uint64_t first_column, first_row; /* where in a group the columns and the depth begin */
  uint64_t part_rows; /* from one part of the depth to the next */
  uint64_t operand_rows; /* depth of all that is packed side by side with this */
} hmoe_pack_destination;

/* VECTOR   f32 alone: column o at element first_column + o of the group.
 * COLUMNS  the transpose, f32 alone: row i of part j of column o at element (first_column + o)*operand_rows + first_row + j*part_rows + i of the
 *          group; o = c*generated_rows + q, and columns is a multiple of generated_rows.
 * PANELS   CPU images' own, as is the order of VECTOR with several generated rows, and `between` of both: abi_cpu.h.
 * PLANES   CUDA images' own, bf16 alone: abi_cuda.h. columns and `between` are as those of PANELS.
 * Other rows that no pack writes are what they were: zero in the weight arena. */
enum { HMOE_LAYOUT_VECTOR = 0, HMOE_LAYOUT_PANELS = 1, HMOE_LAYOUT_COLUMNS = 2, HMOE_LAYOUT_PLANES = 3, HMOE_LAYOUT_COUNT = 4 };
enum { HMOE_FORMAT_F32 = 0, HMOE_FORMAT_BF16 = 1, HMOE_FORMAT_COUNT = 2 };

enum {
  HMOE_BIND_PACK_DESTINATION = 0,
  HMOE_BIND_PACK_SOURCE = 1, /* where there is no parameter */
  HMOE_BIND_PACK_COUNT = 2,
};
typedef struct hmoe_step_pack {
  hmoe_pack_source source;
  hmoe_pack_destination destination;
} hmoe_step_pack;

/* COPY moves outer.count x inner.count runs of run_bytes bytes; strides are in bytes. */
enum { HMOE_BIND_COPY_DESTINATION = 0, HMOE_BIND_COPY_SOURCE = 1, HMOE_BIND_COPY_COUNT = 2 };
typedef struct hmoe_copy_axis {
  uint64_t count, destination_stride, source_stride;
} hmoe_copy_axis;
typedef struct hmoe_step_copy {
  hmoe_copy_axis outer, inner;
  uint64_t run_bytes;
} hmoe_step_copy;

/* SELECTIONS lists all sets of top_k experts: i32 [sets][top_k], ascending tuples in colexicographic order. */
enum { HMOE_BIND_SELECTIONS_DESTINATION = 0, HMOE_BIND_SELECTIONS_COUNT = 1 };
typedef struct hmoe_step_selections {
  uint32_t experts, top_k;
  uint64_t sets; /* C(experts, top_k) */
} hmoe_step_selections;

/* WEIGHT_EMBEDDING is the convolutional embedding of expert weights (Table 5 of the paper): f32 [experts][row_floats]. All but the last field
 * are parameters. */
enum { HMOE_BIND_WEIGHT_EMBEDDING_DESTINATION = 0, HMOE_BIND_WEIGHT_EMBEDDING_COUNT = 1 };
typedef struct hmoe_step_weight_embedding {
  uint32_t wi, wo;
  uint32_t depthwise1, pointwise1, depthwise2, pointwise2;
  uint64_t row_floats; /* from row to row of the destination */
} hmoe_step_weight_embedding;

/* RELATIVE_BIAS is the bias of a relative position, out of its bucket's.
 *   destination[head][i] = source[bucket(r)][head], r = max(-M, min(M, i - pad - M)) = key - query, M = max_distance
 * bucket: T5's (Raffel et al. 2020). The logarithm is f32's. */
enum {
  HMOE_BIND_RELATIVE_BIAS_DESTINATION = 0, /* f32 [heads][row_floats] */
  HMOE_BIND_RELATIVE_BIAS_SOURCE = 1, /* f32 [buckets][heads] */
  HMOE_BIND_RELATIVE_BIAS_COUNT = 2,
};
typedef struct hmoe_step_relative_bias {
  uint32_t buckets, heads;
  uint32_t bidirectional; /* 1: both directions, 0: backward only */
  uint32_t max_distance;
  uint32_t row_floats;
  uint32_t pad;
} hmoe_step_relative_bias;

/* IDS takes integers of the caller's and checks them: HMOE_INVALID_ARGUMENT, with the input's name and the place, for a value outside
 * [0, limit). rows_dim: elements. */
enum {
  HMOE_BIND_IDS_SOURCE = 0, /* an INPUT buffer */
  HMOE_BIND_IDS_DESTINATION = 1, /* i32 [rows] */
  HMOE_BIND_IDS_COUNT = 2,
};
typedef struct hmoe_step_ids {
  uint32_t element_bytes; /* of the source: 4 or 8 */
  uint32_t reserved;
  uint64_t limit; /* at most 2^31 */
  int64_t fill; /* what every element is when the caller gives no input: the input's own default */
} hmoe_step_ids;

/* Rows of `length` tokens that come after `past` others, and a mask of them all; as dimensions. */
typedef struct hmoe_plan_tokens {
  uint32_t rows_dim, length_dim;
  uint32_t past_dim; /* HMOE_NONE: none */
  uint32_t stride_dim; /* of the mask: elements from row to row; HMOE_NONE: there is no mask */
} hmoe_plan_tokens;

/* POSITIONS: how many real tokens a row had before, i32 [rows][length]
 *   destination[b][t] = max(0, (sum over u <= past + t of mask[b][u]) - 1); HMOE_INVALID_ARGUMENT where that is not below limit
 * LAST_ROWS: the row of each batch row's last real token, i32 [rows]
 *   destination[b] = b*length + the largest t < length with mask[b][past + t] != 0, or length - 1 if there is none
 * APPEND_MASK: destination[b][past + t] = source[b][t], source i32 [rows][length], destination a mask, a STATE buffer */
enum {
  HMOE_BIND_TOKENS_SOURCE = 0, /* POSITIONS and LAST_ROWS: the mask i32 [rows][value(stride_dim)], or none (all 1) */
  HMOE_BIND_TOKENS_DESTINATION = 1,
  HMOE_BIND_TOKENS_COUNT = 2,
};
typedef struct hmoe_step_positions {
  hmoe_plan_tokens tokens;
  uint64_t limit; /* at most 2^31 */
} hmoe_step_positions;
typedef struct hmoe_step_last_rows {
  hmoe_plan_tokens tokens;
} hmoe_step_last_rows;
typedef struct hmoe_step_append_mask {
  hmoe_plan_tokens tokens;
} hmoe_step_append_mask;

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
 * round_up(length, state_positions) / capacity part is in use: what a part is, the kernels know. */
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
  hmoe_plan_span name; /* model */
  hmoe_plan_span params; /* hmoe_plan_param */
  hmoe_plan_span entries; /* hmoe_plan_entry; [0] runs at open */
  hmoe_plan_span caches; /* hmoe_plan_cache; cache arenas are allocated at open */
  hmoe_plan_span states; /* hmoe_plan_state */
  uint64_t state_positions; /* a state's capacity is a multiple of it, at most 65536: what its kernels read at once */
  hmoe_plan_span generation; /* hmoe_plan_setting, each setting at most once */
  uint64_t layout; /* stamp of the weight arena, of entry 0 alone: .hmw files carry the one they were packed for */
} hmoe_plan;

#endif
