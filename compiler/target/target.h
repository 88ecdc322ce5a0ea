/* What a target is: a table that all other rooms ask and none looks behind. Passes plan by its layouts and knobs, the library has it make code;
 * target/cpu fills the first table. docs/design.md says in which order the entries are called.
 *
 * Rows of values are row-major: [rows, stride], a stride of elements that the target chooses. Right operands (weights of products), keys, values and the
 * bias of relative positions are laid out as the target likes: planning asks for sizes and for where a part begins, and writes neither. */
#ifndef HMOEC_TARGET_TARGET_H
#define HMOEC_TARGET_TARGET_H

#include <mlir-c/IR.h>

#include "ir/hmk_ops.h"
#include "kernel/kernels.h"
#include "support/diagnostics.h"
#include "target/machine.h"

/* ---- schedules: named values that may be tuned; results depend on none of them ---- */

typedef struct hmoec_knob {
  const char *of; /* a kernel family ("matmul"), a step ("choose"), or "target": what all kernels of an object share */
  const char *name; /* "row_block" */
  int64_t least, most, value; /* value: the default; 0: the target chooses, see prepare */
  bool changes_layout; /* packed weights, or buffers between kernels, depend on it */
} hmoec_knob;

enum { HMOEC_MOST_KNOBS = 64 };
/* A value for every knob of a target, in the order of its table; 0: the default. */
typedef struct hmoec_schedule {
  int64_t value[HMOEC_MOST_KNOBS];
} hmoec_schedule;

/* Values of a knob that are worth trying, besides its default. */
enum { HMOEC_MOST_TRIED = 6 };
typedef struct hmoec_knob_tried {
  size_t knob; /* of the target's table */
  bool of_steps; /* any step may have its own for some numbers of rows (hmoe_plan_tuning); else all kernels of an object share it */
  size_t count;
  int64_t values[HMOEC_MOST_TRIED];
} hmoec_knob_tried;

/* ---- layouts ---- */

/* An item of a buffer: the axes of its role but for the first. */
typedef struct hmoec_operand {
  hmoec_role role;
  hmoec_format format; /* of its elements */
  int64_t depth; /* the second of three axes: RIGHT, TABLE, KEYS, VALUES */
  int64_t columns; /* the last axis; of PLAIN all but the first in one */
  bool in_place; /* ROWS: products of the format read them without a copy */
  int64_t groups; /* ROWS in place: of how many groups they may be blocks; 0: they are one behind the other */
  /* RIGHT and VECTOR of a generator, whose columns are the elements of what it generates: right operands [generated_rows, columns / generated_rows] of
   * another format; 0: of no generator. */
  int64_t generated_rows;
  hmoec_format generates;
} hmoec_operand;

typedef struct hmoec_layout {
  int64_t stride; /* elements from an item to the next */
  int64_t slack; /* items readable behind the last */
  int64_t depth, columns; /* with the padding: RIGHT both, VECTOR and DISTANCES columns */
  int64_t parts; /* KEYS, VALUES: equal parts of a position, each of which lies with the same part of other positions */
  int64_t zero; /* DISTANCES: the column of distance 0 */
} hmoec_layout;

/* Two matrices whose columns are the gates and the ups of a paired product (kernels.h) lie together in a right operand, and take twice the columns of
 * one, rounded up to column_step; in which order is the target's. */
typedef enum hmoec_pair { HMOEC_PAIR_NONE = 0, HMOEC_PAIR_GATES, HMOEC_PAIR_UPS } hmoec_pair;

/* A matrix [k, n] in memory that becomes a right operand, or a part of one: element (ko * k_inner + ki, column) of source group g is at
 *   source_offset + g * source_group_stride + ko * k_outer_stride + ki * k_inner_stride + column * column_stride
 * and becomes depth first_k + ko * outer_pitch + ki, column first_column + column, of the operand's group g. With q > 1 the columns are those of a generator
 * whose rows are right operands [q, columns] themselves: (r, column) is in the source q_stride * r further on. Vectors (k_inner 0) become vectors. As
 * planned, a source that is rows is as if they had no gaps, and what it is packed into is known by its buffer; `pack` is told all. */
typedef struct hmoec_packing {
  int64_t columns, column_stride;
  int64_t q, q_stride;
  int64_t k_outer, k_inner, k_outer_stride, k_inner_stride, source_offset, groups, source_group_stride;
  int64_t first_column; /* a multiple of column_step */
  hmoec_pair pair; /* of matrices and vectors alike; first_column is where the pair's columns begin */
  int64_t first_k, outer_pitch; /* pitch 0: k_inner */
  bool side_by_side; /* the q are no rows of what is generated, but column_step columns each, one behind the other; of one group */
  hmoec_format format; /* of the operand */
  int64_t operand_k,
      operand_n; /* all of it, n with its padding; of vectors the elements of a group, which are planned for memory that is plain; 0: this matrix alone */
  hmoec_format generates;
  bool padded; /* of vectors: zeros up to a multiple of column_step */
} hmoec_packing;

/* ---- code ---- */

/* Code exists in versions, one for each set of instructions that machines may have. Their numbers begin at 0, the least demanding one. */
typedef struct hmoec_code_version {
  const char *name; /* "portable"; NULL: there is none of that number */
  hmoec_format products; /* f32: any kernels are worth it; another one: kernels with products of that format are, and no others */
} hmoec_code_version;
enum { HMOEC_MOST_VERSIONS = 16 };

struct hmoec_unit; /* emit/unit.h: kernels, their functions and their schedule, and the plan */
struct hmoe_chip; /* runtime_internal.h */

/* ---- the table ---- */

typedef struct hmoec_target {
  const char *name; /* "cpu" */
  bool formats[HMOEC_FORMAT_COUNT];
  /* NULL, or the target of the machine that the object is for, whose code runs entry 0: this one has its layouts and its knobs, and adds images. */
  const struct hmoec_target *host;
  const hmoec_knob *knobs;
  size_t knob_count;
  const hmoec_knob_tried *tried; /* what `hmoec tune` searches; none of them changes a layout */
  size_t tried_count;
  /* Products of a format read rows in place that pack_rows has laid out, or products have, and no other step writes; or few rows as they are. Code of
   * the host is for entry 0 alone then. */
  bool packs_rows[HMOEC_FORMAT_COUNT];
  /* Rows of many groups are packed, a group's blocks padded, where what comes of it is at most so many times the rows that there are. */
  int64_t packed_most;
  /* Products read and write so many bytes of a row at a time where rows begin at multiples of them, and are told where not; 0: they never ask. */
  int64_t piece_bytes;
  /* Values that lie side by side in rows, or in a right operand, begin at multiples of so many columns. */
  int64_t column_step;
  /* What is inserted into a right operand of a format begins at a multiple of so many rows of depth; 0: of column_step. */
  int64_t depth_step[HMOEC_FORMAT_COUNT];
  int64_t position_step; /* keys and values have room for multiples of so many positions */
  int64_t position_pad; /* differences of positions that a relative bias has room for on either side */
  int64_t attention_width; /* rows that products read in place are no narrower where a model has attention */
  /* Tasks share the keys of few queries in decoding: of how many queries at most, of so many rows of sequences and heads, keys of a part, and floats that a part
   * leaves. Zeros: each task has all keys of its queries. */
  struct {
    int64_t queries, rows, keys;
    int64_t (*part_floats)(int64_t head_size);
  } shared_keys;

  /* Chooses what the schedule leaves open. widest: the deepest product, and the widest rows that one reads. */
  void (*prepare)(hmoec_schedule *schedule, int64_t widest);
  /* Of ROWS, RIGHT, KEYS and VALUES that no generator has; others follow from the constants. Ask hmoec_layout_of. */
  hmoec_layout (*layout)(const hmoec_schedule *schedule, const hmoec_operand *operand);
  /* Where a column that is a multiple of column_step begins. */
  int64_t (*right_column)(hmoec_format format, int64_t k, int64_t column);
  /* The numbers of hmk.pack, or of hmk.pack_vector where k_inner is 0. */
  void (*pack)(const hmoec_packing *packing, int64_t out_args[HMOEC_PACK_ARGS]);
  /* Whether operands of a format are packed row of depth by row, in any order; others are made of a finished one in f32, by repack. */
  bool (*packs_any_depth)(hmoec_format format);
  void (*repack)(hmoec_format format, int64_t k, int64_t n, int64_t out_args[HMOEC_PACK_ARGS]);
  /* Copies right operands [part_k, n] into depth first_k of those of [k, n]. *out_offset: elements. */
  void (*insert)(hmoec_format format, int64_t groups, int64_t k, int64_t n, int64_t first_k, int64_t part_k, int64_t *out_offset,
                 int64_t out_args[HMOEC_COPY_ARGS]);

  /* A worker's scratch for these kernels, in bytes. */
  uint64_t (*scratch_bytes)(const hmoec_schedule *schedule, const hmoec_kernel *kernels, size_t count);

  /* NULL, or what of a kernel the target has no code for, in the user's words, in a buffer of HMOEC_KERNEL_CHARS. The function NULL: it has code for all. */
  const char *(*refuses)(const hmoec_kernel *kernel, char *buffer);
  /* Gives a step of a planned function its schedule, by the pass `place`. False: no memory. */
  bool (*place)(MlirOperation function, MlirOperation step, const hmoec_schedule *schedule);

  /* What the numbers of a machine are, and machines whose numbers are known; the first is what is assumed where none is named. NULL: the host's. */
  const hmoec_machine_number *numbers;
  size_t number_count;
  const hmoec_machine *machines;
  size_t machine_count;
  /* Predicted times of a kernel's code. weight_bytes: of the whole model, by which weights are in a cache or not. */
  hmoec_kernel_time (*kernel_time)(const hmoec_machine *machine, size_t version, const hmoec_schedule *schedule,
                                   const hmoec_kernel *kernel, uint64_t weight_bytes);
  /* Of a task, to the row, in seconds. NULL: times are a kernel's alone. bound: of the task's arithmetic at the highest rate, and of its bytes at the highest
   * bandwidth, the larger, where nothing is lost; what is no product is as it is. */
  double (*task_time)(const hmoec_machine *machine, size_t version, const hmoec_schedule *schedule, const hmoec_kernel *kernel,
                      const hmoec_task *task);
  double (*task_bound)(const hmoec_machine *machine, size_t version, const hmoec_schedule *schedule, const hmoec_kernel *kernel,
                       const hmoec_task *task);
  /* Of a step that is no kernel's, of so many rows; NULL: none takes any. */
  double (*step_time)(const hmoec_machine *machine, uint32_t kind, double rows);
  /* Rows of a block at most, as a run cuts so many rows into blocks; NULL: row_block of them. */
  int64_t (*run_block_rows)(int64_t row_block, int64_t rows, int64_t threads);
  hmoec_sharing_time (*sharing_time)(const hmoec_machine *machine);
  hmoec_machine_rates (*rates)(const hmoec_machine *machine, size_t version, hmoec_format format);

  /* Makes the target known to LLVM. Once a process, by hmoec_targets_initialise. */
  void (*initialise)(void);
  hmoec_code_version (*version)(size_t number);
  /* NULL where this machine runs a version, else the first thing that it lacks. */
  const char *(*lacks)(size_t version);
  /* Processors that code can be tuned for, which changes no result and no need; then NULL. "native" is the one of this machine. */
  const char *const *processors;
  bool
      many_processors; /* code is made for some of them, a list such as "a,b"; "all" is one of them then, and what is made where none is named */
  /* Of many_processors: the one whose code a device of the machine runs best, whatever becomes of its driver; NULL: none. */
  const char *(*processor_of)(const struct hmoe_chip *chip);
  /* Code of some versions, a bit set of 1u << number, as OBJECT, ASSEMBLY, LLVM or MLIR, or as CUBIN. processor: NULL, or of processors. *out_bytes is
   * malloc'd, owned by the caller, *out_size long (not terminated). Equal units give equal bytes. False with an error. */
  bool (*generate)(MlirContext context, const struct hmoec_unit *unit, uint32_t versions, const char *processor, hmoec_output form,
                   hmoec_diagnostics *diagnostics, char **out_bytes, size_t *out_size);
} hmoec_target;

extern const hmoec_target hmoec_target_cpu;
extern const hmoec_target hmoec_target_cuda;
/* Those there are, then NULL; the first is the default. */
extern const hmoec_target *const hmoec_targets[];
/* NULL: there is none of that name. */
const hmoec_target *hmoec_target_find(const char *name);
/* Once a process, from any thread: before LLVM makes code, or loads it. */
void hmoec_targets_initialise(void);

hmoec_layout hmoec_layout_of(const hmoec_target *target, const hmoec_schedule *schedule, const hmoec_operand *operand);
/* Elements of a right operand [k, n], which no knob changes. */
int64_t hmoec_right_elements(const hmoec_target *target, hmoec_format format, int64_t k, int64_t n);

/* Whether there may be something between the rows of an operand: always where knobs say how far they are apart. */
bool hmoec_has_gaps(const hmoec_target *target, const hmoec_schedule *schedule, const hmoec_operand *operand);

/* What is planned of a packing, as attributes of hmk.pack: at most HMOEC_PACKING_ATTRIBUTES. Returns their number. */
enum { HMOEC_PACKING_ATTRIBUTES = 2 };
size_t hmoec_packing_write(const hmoec_packing *packing, MlirContext context, MlirNamedAttribute *out_attributes);
hmoec_packing hmoec_packing_read(MlirOperation pack);

size_t hmoec_code_version_count(const hmoec_target *target);
/* The number of a version; as many as there are where it is none. */
size_t hmoec_code_version_find(const hmoec_target *target, const char *name);
/* The versions that kernels are worth, as a bit set. */
uint32_t hmoec_code_versions_of(const hmoec_target *target, const hmoec_kernel *kernels, size_t count);

/* The machine that is assumed where none is named: its own first, or the host's; NULL: there is none. */
const hmoec_machine *hmoec_target_machine(const hmoec_target *target);

/* Its own, or the host's. */
const hmoec_knob *hmoec_target_knobs(const hmoec_target *target);
size_t hmoec_target_knob_count(const hmoec_target *target);
/* The number of the knob of a name such as "choose.percent"; as many as there are where it is none. */
size_t hmoec_knob_find(const hmoec_target *target, const char *name, size_t length);
/* Of knob `number`; of the knob of that name, 0 where the target has none. */
int64_t hmoec_knob_at(const hmoec_target *target, const hmoec_schedule *schedule, size_t number);
int64_t hmoec_knob_value(const hmoec_target *target, const hmoec_schedule *schedule, const char *of, const char *name);

/* A planned module says for which target it is, and what of its schedule differs from the defaults: hmk.target and hmk.schedule. */
void hmoec_schedule_write(MlirOperation module, const hmoec_target *target, const hmoec_schedule *schedule);
/* False, with an error: planned for another target, or with a knob that it does not have, or out of range. */
bool hmoec_schedule_read(MlirOperation module, const hmoec_target *target, hmoec_diagnostics *diagnostics,
                         hmoec_schedule *out_schedule);

/* For place: tasks of an attention are blocks of so many queries of a head; `tasks` of its schedule is the dimension that counts them, in the place of
 * its rows. False: no memory. */
bool hmoec_place_attention(MlirOperation function, MlirOperation attention, int64_t query_block);

/* For place: whether some product in a format, or a fused pair of them, multiplies the blocks that a step reads or writes; false of one without blocks. */
bool hmoec_multiplies_blocks_in(MlirOperation step, hmoec_format format);

static inline int64_t hmoec_round_columns(const hmoec_target *target, int64_t columns) {
  return (columns + target->column_step - 1) / target->column_step * target->column_step;
}

/* Where the depth that follows so many rows of it may begin. */
static inline int64_t hmoec_round_depth(const hmoec_target *target, hmoec_format format, int64_t depth) {
  int64_t step = target->depth_step[format] ? target->depth_step[format] : target->column_step;
  return (depth + step - 1) / step * step;
}

#endif
