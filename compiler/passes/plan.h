/* What the files of plan-kernels share: memory, dimensions and steps of the hmk functions being written.
 *
 * Two functions are written side by side: OPEN fills the weight arena once, RUN is the entry that is being planned; entries are planned one after
 * the other from the same graph (plan_entries.c), and what one packs at open the others use. A memory is a buffer that steps name; its
 * hmk.buffer op is made on first use in a function. A place is where the value of an hmoe op lives.
 *
 *   plan_kernels.c   the pass: functions, signatures, the order of things
 *   plan_entries.c   which entries a model has, and which ops are in each
 *   plan_graph.c     what ops are to each other and to the entry at hand
 *   plan_check.c     what can be planned
 *   plan_rows.c      row-wise ops: linear, norms, activate, add; plan_views.c: slices and other views; plan_memory.c: where results go
 *   plan_gated.c     two linears that are one product, gates and ups
 *   plan_attention.c ids, embeddings, attention and its states
 *   plan_matmul.c    products, packs, maps; plan_experts.c, plan_hyper.c: experts, HyperExperts
 *   plan_builder.c   memory, dimensions, steps; plan_dtype.c: what is f32 whatever the dtype */
#ifndef HMOEC_PASSES_PLAN_H
#define HMOEC_PASSES_PLAN_H

#include "hmoe/abi.h"
#include "kernel/family.h"
#include "passes/passes.h"
#include "passes/rewrite.h"
#include "support/arena.h"
#include "support/pointer_map.h"

enum { PLAN_OPEN = 0, PLAN_RUN = 1 };

typedef struct plan_memory {
  const char *kind, *element; /* as on hmk.buffer */
  hmoec_operand operand; /* what an item of it is */
  int64_t shape[4], rank;
  int64_t index, part, scope, dim, extra_rows;
  char *key;                  /* param */
  int64_t count;
  MlirValue value[2];         /* per function; null until used there */
  bool written;               /* destinations: whether a step wrote it, so that the next must accumulate */
  bool shared;                /* destinations: others read it before it is complete, at op number shared_at */
  size_t first_write, shared_at; /* destinations: the first op to write it, of what it was given to until now */
} plan_memory;

/* A bound operand of a step: where in the memory, as its items were without gaps; of right operands a column of the first. apart: from a row to the
 * next where it is not the memory's own, else PLAN_OWN. by: rows that it goes on by with every item of a loop. */
enum { PLAN_OWN = -1 };
typedef struct plan_binding {
  plan_memory *memory;
  int64_t at, apart, by;
} plan_binding;

/* A [rows, cols] view of memory, in elements as if it had no gaps; f32, or rows of a format that products of that format alone read. */
typedef struct plan_place {
  plan_memory *memory;
  int64_t offset, row_stride, col_stride;
  hmoec_format format;
  int64_t group_stride; /* of stacks of matrices: from one to the next */
} plan_place;

/* Which dimensions count the rows of a value: count = batch * length, or all there is, and batch and length are -1. Of the model where they
 * are kept in a plan_value, of the entry where plan_rows_of gives them. */
typedef struct plan_rows {
  int64_t count, batch, length;
} plan_rows;

typedef struct plan_value {
  MlirValue value;
  plan_rows rows;
  plan_place place;
  plan_memory *destination;
  size_t first_write; /* the number of the op that is the first to write its destination, if it is given one */
  int64_t capacity, scope; /* of `kept`: scope is the entry dimension after which capacity counts anew, or -1 */
  plan_memory *history; /* of `kept`: what decoding keeps of earlier tokens' experts, or NULL */
  plan_memory *mask; /* of a mask input: where attention reads it, of row stride mask_dim */
  int64_t mask_dim;
  bool from_last; /* in DECODE: one row a batch row, the last */
} plan_value;

enum { PLAN_MOST_DIMS = 8 }; /* dynamic dimensions of a model */

/* An entry: what is planned of the graph. */
typedef enum plan_entry_kind { PLAN_ALL, PLAN_ENCODE, PLAN_PREPARE, PLAN_DECODE } plan_entry_kind;
typedef struct plan_entry {
  plan_entry_kind kind;
  const char *name;
  bool *member; /* by number of op: planned here */
  MlirOperation
      *pair; /* by number of op: the linear, or product of linears, that is planned as one step with this one; null: none */
  int64_t dim[PLAN_MOST_DIMS]; /* entry dimension of each of the model's; -1: not there */
  int64_t output; /* DECODE: the only output */
} plan_entry;

/* What is made once, at open or as a state, for several ops or entries to use: by what it is and by what it is made of. What does not tell two
 * apart is 0. */
typedef enum plan_making {
  PLAN_WEIGHT, /* a right operand of a place */
  PLAN_VECTOR, /* a vector of one */
  PLAN_TABLE, /* rows of one, without gaps */
  PLAN_STACK, /* a parameter's stack in one piece */
  PLAN_DENSE, /* all elements of one, without gaps */
  PLAN_MERGED, /* the right operand of several linears, by the first */
  PLAN_MERGED_BIAS, /* their bias */
  PLAN_STATE, /* a tensor of the states; part: which */
  PLAN_EXPERTS, /* what the experts of an op are packed to; part: which */
  PLAN_GENERATOR, /* the right operand of a generator, by its weights; part: what it generates */
  PLAN_GENERATOR_BIAS, /* its bias */
  PLAN_GENERATED, /* what is generated for an op; part: which */
  PLAN_FACTORED /* the two right operands of a factored HyperExpert; part: which */
} plan_making;
typedef struct plan_key {
  const void *owner; /* an op, a memory */
  plan_making making;
  int fn;
  hmoec_format format;
  int64_t part, scope;
  int64_t offset, row_stride, col_stride; /* of the place that it is made of, and how much of it */
  int64_t rows, columns;
} plan_key;
typedef struct plan_memo {
  struct plan_memo *next;
  plan_key key;
  plan_memory *made;
} plan_memo;

typedef struct plan_dim {
  int64_t kind, source, factor;
} plan_dim;

/* What is known of the model: filled in once, before anything is planned. */
typedef struct plan_graph {
  hmoec_diagnostics *diagnostics;
  const hmoec_pass_options *options;
  const hmoec_target *target;
  hmoec_schedule schedule;
  hmoec_scalar_library functions; /* that activations name */
  MlirOperation *ops; /* in order */
  size_t op_count;
  hmoec_pointer_map op_at; /* number in ops */
  bool *depends; /* by number of op: on what is generated (plan_entries.c) */
  MlirStringRef dim_names[PLAN_MOST_DIMS]; /* the model's dynamic dimensions */
  int64_t model_dims, target_batch, target_length; /* of the tokens that are generated; -1: none are */
} plan_graph;

/* What is being written: grows as long as planning goes on (plan_builder.c). */
typedef struct plan_output {
  MlirContext context;
  MlirType memory_type;
  MlirLocation location; /* of the hmoe op being planned */
  MlirBlock block[2];
  plan_dim *dims[2]; /* of open, and of the entry */
  int64_t dim_count[2];
  plan_memory **memories; /* each stays where it is */
  size_t memory_count;
  plan_memo *memos; /* a list */
  int64_t weights, states, params, caches; /* how many there are */
  hmoec_arena *arena; /* what the planner keeps of all this */
  bool failed; /* a size overflowed */
} plan_output;

/* The entry at hand. */
typedef struct plan_here {
  const plan_entry *entry; /* being planned; NULL: open */
  plan_rows rows; /* of the op being planned */
  MlirValue last_from; /* DECODE: the value whose last rows are taken; null: none */
  int64_t input_numbers[16]; /* by argument of the model; -1: no input of the entry */
} plan_here;

typedef struct planner {
  plan_graph graph;
  plan_output out;
  plan_here here;
  plan_value **values; /* each stays where it is */
  size_t value_count;
  hmoec_pointer_map value_at; /* number in values */
} planner;

/* ---- plan_graph.c ---- */
int64_t plan_columns(MlirValue value); /* the last dimension */
/* Whether the rows of this op are distinct selection sets: planned inside its cache loop. */
bool plan_is_per_set(MlirOperation op);
hmoec_activation plan_activation(const plan_graph *graph, MlirStringRef name);
size_t plan_op_number(const plan_graph *graph, MlirOperation op);
/* Whether an op is planned in this entry; for others than ops of the graph (the return): no. */
bool plan_is_member(const planner *p, MlirOperation op);
/* Whether an op reads its operands in this entry: members, the return, and attention that PREPARE fills the state for. */
bool plan_is_reader(const planner *p, MlirOperation op);
/* Whether a value depends on what is generated. */
bool plan_depends(const planner *p, MlirValue value);
bool plan_is_attention(MlirOperation op);
/* An attention whose keys are of the source, read by what is generated. */
bool plan_is_cross(const planner *p, MlirOperation op);
/* Operands of attention from its optional ones on; null where there are none. */
MlirValue plan_attention_bias(MlirOperation attention);
MlirValue plan_attention_mask(MlirOperation attention);
/* Whether a product of two linears is done by their kernels, the second multiplying what the first wrote: nothing else reads the factors. */
bool plan_is_product_of_linears(MlirOperation multiply);
/* The linear of run time that has a table of embeddings as its weight, or null: the rows are read out of what is packed for it. */
MlirOperation plan_tied_linear(MlirValue table);

/* ---- plan_check.c ---- */
/* Whether everything in a function can be planned; reports all that cannot. */
bool plan_check(const plan_graph *graph);

/* ---- plan_entries.c ---- */
enum { PLAN_MOST_ENTRIES = 4 };
/* Rows of every value, and the entries; *out_count of them. */
bool plan_entries_init(planner *p, MlirOperation function, MlirBlock body, plan_entry out_entries[PLAN_MOST_ENTRIES],
                       size_t *out_count);
/* The value's rows, in dimensions of the entry. */
plan_rows plan_rows_of(planner *p, MlirValue value);
bool plan_is_needed(planner *p, MlirOperation function, intptr_t argument, MlirValue output, plan_rows rows);

/* ---- plan_builder.c ---- */
/* Where what a key stands for is remembered: NULL there until it is made. */
plan_memory **plan_made(planner *p, plan_key key);
/* The state tensor of an owner, of which it has one for each of these. */
enum { PLAN_KEYS, PLAN_VALUES, PLAN_MASK, PLAN_HISTORY };
/* operand: of a position. */
plan_memory *plan_state_memory(planner *p, const void *owner, int64_t tag, const char *element, int64_t scope,
                               hmoec_operand operand);
int64_t plan_dim_get(planner *p, int fn, int64_t kind, int64_t source, int64_t factor);
/* Memory of the caller's, or a parameter, as it lies there. */
plan_memory *plan_memory_create(planner *p, const char *kind, const char *element, int64_t dim, int64_t rank, const int64_t *shape);
/* `items` such operands, for good: in the weight arena, in a cache. */
plan_memory *plan_weight(planner *p, int64_t items, hmoec_operand operand);
plan_memory *plan_cache(planner *p, int64_t cache, int64_t part, int64_t items, hmoec_operand operand);
/* `dim` of them per run (or per open); dim HMOE_NONE-like -1: `items`. */
plan_memory *plan_workspace(planner *p, int64_t dim, int64_t items, hmoec_operand operand);
/* [dim rows, columns] per run without gaps. dim -1: `rows` rows. */
plan_memory *plan_plain(planner *p, const char *element, int64_t dim, int64_t rows, int64_t columns);
/* Rows of a format. in_place: products of the format read them without a copy. */
plan_memory *plan_rows_memory(planner *p, hmoec_format format, int64_t dim, int64_t columns, bool in_place);
/* The same, in place, of rows that are blocks of so many groups; of any number of them: as many as are packed. */
enum { PLAN_ANY_GROUPS = -1 };
plan_memory *plan_block_rows(planner *p, hmoec_format format, int64_t dim, int64_t columns, int64_t groups);
/* A right operand [k, n]; a vector [n] of f32. */
static inline hmoec_operand plan_right(hmoec_format format, int64_t k, int64_t n) {
  return (hmoec_operand){.role = HMOEC_ROLE_RIGHT, .format = format, .depth = k, .columns = n};
}
static inline hmoec_operand plan_vector_of(int64_t n) { return (hmoec_operand){.role = HMOEC_ROLE_VECTOR, .columns = n}; }
plan_value *plan_value_get(planner *p, MlirValue value); /* made on first use; stays where it is */
/* The rows of a value in dimensions of the model; counts are -1 where it has none. */
plan_rows plan_model_rows(const planner *p, MlirValue value);
/* NULL: nothing is known of it yet. */
const plan_value *plan_value_find(const planner *p, MlirValue value);

/* One step under construction. */
typedef struct plan_step {
  planner *p;
  int fn;
  const char *name;
  int64_t rows_dim;
  size_t binding_count, attribute_count;
  plan_binding bindings[16];
  const char *roles[16];
  MlirNamedAttribute attributes[HMOEC_KERNEL_MAX_ATTRIBUTES + 8];
} plan_step;

plan_step plan_step_begin(planner *p, int fn, const char *name, int64_t rows_dim);
/* The step of a kernel: what is left to say are its buffers, which are what its has_ fields tell, and dims. */
plan_step plan_kernel_begin(planner *p, int fn, const hmoec_kernel *kernel, int64_t rows_dim);
void plan_bind(plan_step *step, const char *role, plan_binding binding); /* a binding without memory is left out */
void plan_int(plan_step *step, const char *name, int64_t value);
void plan_string(plan_step *step, const char *name, const char *value);
void plan_ints(plan_step *step, const char *name, const int64_t *values, size_t count);
MlirOperation plan_step_end(plan_step *step);

static inline plan_binding plan_at(plan_memory *memory) { return (plan_binding){.memory = memory, .apart = PLAN_OWN}; }
/* The rows of a place whose columns are side by side. */
plan_binding plan_rows_at(plan_place place);

/* What the target says: of columns, of gaps, of a knob. */
static inline int64_t plan_round(const plan_graph *graph, int64_t columns) { return hmoec_round_columns(graph->target, columns); }
/* Whether there may be something between the rows of a memory. */
static inline bool plan_has_gaps(const plan_graph *graph, const plan_memory *memory) {
  return hmoec_has_gaps(graph->target, &graph->schedule, &memory->operand);
}
/* Whether so many elements from the begin of a place on lie one after the other: a part of one row does. */
static inline bool plan_lies_dense(const planner *p, const plan_place *place, int64_t elements) {
  int64_t columns = place->memory->operand.columns;
  return !plan_has_gaps(&p->graph, place->memory) || place->offset % columns + elements <= columns;
}
static inline int64_t plan_knob(const plan_graph *graph, const char *of, const char *name) {
  return hmoec_knob_value(graph->target, &graph->schedule, of, name);
}

/* ---- plan_dtype.c ---- */
/* What the products of an op of run time are computed in; the marks of hmoec_mark_f32 say which are f32. */
hmoec_format plan_format(const plan_graph *graph, MlirOperation op);

/* ---- plan_matmul.c ---- */
typedef struct plan_matmul {
  int fn;
  int64_t rows_dim;
  hmoec_matmul_spec spec; /* what tells buffers, layouts and the schedule is not filled in */
  int64_t groups; /* that the blocks of its rows are of, as plan_block_rows has them; 0: it has none */
  plan_binding a, b, c, blocks, gather, scatter, bias, row_gate, gated_bias, pass, pass_index, norm_weight, norm_bias;
} plan_matmul;

/* A matmul of k, n with one segment; A is `a`. */
plan_matmul plan_matmul_init(planner *p, int fn, int64_t rows_dim, hmoec_format format, int64_t k, int64_t n, plan_place a);
/* C of a product. */
void plan_matmul_into(plan_matmul *m, plan_place c);
void plan_matmul_emit(planner *p, const plan_matmul *matmul);
/* Two products, the second of what the first wrote. */
void plan_two(planner *p, const plan_matmul *first, const plan_matmul *second);
/* The two grouped products of a feed-forward network, where second's A is first's C: in one step where there are rows enough, else one
 * after the other. */
void plan_pair(planner *p, const plan_matmul *first, const plan_matmul *second);

/* B of x w^T from w viewed as [n, k]: what is said of the source, all of it. */
hmoec_packing plan_packing(plan_place w, int64_t n, int64_t k);
/* Into a right operand, a vector, a table; into memory without gaps, from an element on. */
void plan_pack_emit(planner *p, plan_binding destination, plan_memory *source, const hmoec_packing *packing);
/* Packs w [n, k] for use in `fn`. */
plan_memory *plan_linear_weight(planner *p, int fn, plan_place w, hmoec_format format, int64_t n, int64_t k);
/* A vector [n] that kernels of `fn` can read; packed when it is a parameter. */
plan_binding plan_vector(planner *p, int fn, plan_place v, int64_t n);

/* A step that maps rows: what its kernel is told (hmoec_rows_spec). index NULL: all rows of `in`. */
typedef struct plan_mapping {
  hmoec_activation function;
  plan_place in, out;
  int64_t in_step; /* 0: 1 */
  plan_memory *index;
  plan_binding factor;
  bool factor_columns;
  int64_t first, columns; /* of out */
  double scale; /* where it is scaled */
  bool scaled, accumulate;
} plan_mapping;
void plan_map_emit(planner *p, int fn, int64_t rows_dim, const plan_mapping *map);
/* out (+)= function(in) */
void plan_map(planner *p, int fn, int64_t rows_dim, hmoec_activation function, plan_place in, plan_place out, int64_t columns,
              bool accumulate);

/* ---- plan_experts.c, plan_hyper.c ---- */
/* The rows of a batch sorted by expert, or by selection set. */
typedef struct plan_grouping {
  MlirValue indices;
  int64_t capacity;
  plan_memory *blocks, *row_token, *row_slot, *row_gate, *sets;
} plan_grouping;

/* The blocks that `dim` rows are cut into. */
plan_memory *plan_blocks(planner *p, int64_t dim);
/* mode: rank, distinct or token (indices null). Tokens are the rows of the op being planned. */
plan_grouping plan_group_selections(planner *p, MlirValue indices, int64_t experts, const char *mode);

/* The generator of a HyperExpert: the operands of its hypernetwork op. */
typedef struct plan_generator {
  int64_t d_model, bottleneck, hidden;
  bool biases;
  MlirValue r, operands[8];
} plan_generator;
plan_generator plan_generator_of(MlirOperation hypernetwork);
typedef enum plan_part { PLAN_DOWN, PLAN_UP, PLAN_BETA, PLAN_GAMMA } plan_part;
/* One generated row of a part: a right operand; a vector. */
hmoec_operand plan_part_of(const planner *p, const plan_generator *generator, plan_part part);
/* c[scatter(row)] = the part generated from r[gather(row)]. */
void plan_generate(planner *p, int fn, int64_t rows_dim, const plan_generator *generator, plan_part part, plan_place r,
                   plan_binding gather, plan_binding scatter, plan_binding c);

/* ---- plan_memory.c ---- */
/* All of a [rows, columns] memory. */
plan_place plan_whole_place(plan_memory *memory);
/* The destination of a value: what an enclosing add or the caller gave it, else workspace. *out_accumulate: whether to add to it. */
plan_place plan_destination(planner *p, MlirValue value, int64_t rows_dim, bool *out_accumulate);
/* Rows as what reads them wants them: of that format, as wide as products read in place where any does. */
plan_place plan_product_rows(planner *p, MlirValue result, int64_t rows_dim);
/* The format of the rows of a value: the dtype where products in it read them and nothing else does, else f32. */
hmoec_format plan_rows_format(const planner *p, MlirValue value);
/* Backwards over the entry: what it returns goes to the caller's memory, what an add sums to the add's. outputs: by result, or NULL. */
void plan_assign_destinations(planner *p, MlirOperation terminator, plan_memory **outputs);

/* ---- plan_rows.c ---- */
/* Which linears of the entry are pairs. Before destinations are given. */
void plan_find_pairs(planner *p);
/* Fills in A of a dense product from the rows of x: a norm that its reader does, if there is one. */
plan_matmul plan_dense_matmul(planner *p, int fn, int64_t rows_dim, hmoec_format format, int64_t k, int64_t n, MlirValue x);

/* ---- plan_gated.c ---- */
/* Two linears that are one product; activation: of the gates, null: none. */
typedef struct plan_gates {
  MlirOperation gate, up, activation, multiply;
} plan_gates;
/* The linear behind a factor of a product of linears, and what activates it; null: nothing. */
MlirOperation plan_factor_linear(MlirValue factor, MlirOperation *out_activation);
/* Of a linear or of what multiplies two. False: it is not one of those. */
bool plan_gates_of(MlirOperation op, plan_gates *out);
/* The product of gates and ups, without C. */
plan_matmul plan_gated_product(planner *p, const plan_gates *gates, int64_t rows_dim);

/* ---- plan_attention.c ---- */
/* The integers among the entry's inputs: checked, masks where attention reads them. Before anything else in the entry. */
bool plan_integers(planner *p, MlirOperation function, MlirBlock body);
/* PREPARE: keys and values that what is generated will read. */
bool plan_prepare_states(planner *p);
/* Whether rows of a value are taken apart: then it has memory of its own, in f32. */
static inline bool plan_is_last_from(const planner *p, MlirValue value) {
  return !mlirValueIsNull(p->here.last_from) && mlirValueEqual(value, p->here.last_from);
}
/* DECODE: the last rows of p->here.last_from take its place. */
void plan_take_last(planner *p);

/* What an op of rows at open has written, as its value's rank has it: rows are a vector, or those of all matrices of a stack. */
void plan_set_rank(planner *p, MlirValue value);
/* A matrix of parameters that kernels of fn read in place, its rows without gaps; in RUN it is copied to the weight arena. */
plan_binding plan_table(planner *p, int fn, plan_place table, int64_t rows, int64_t columns);
/* Where kernels of fn read the rows of a value: columns side by side. At open, what lies otherwise (transposed) is copied first; a vector is one row,
 * and a stack has those of all its matrices. */
plan_place plan_rows_place(planner *p, int fn, MlirValue value);

/* ---- plan_ops.c ---- */
enum {
  PLAN_GIVEN = 1 << 0, /* writes the memory it is given, or adds to it */
  PLAN_PASSES = 1 << 1, /* passes that memory on to what makes its operands */
  PLAN_DEFERRED = 1 << 2, /* may leave the reading of its rows to what reads its result: views, norms */
  PLAN_WAITS = 1 << 3, /* may be computed together with a product that follows, as one step */
};
bool plan_has(MlirOperation op, unsigned fact);
/* The deepest product of the graph, and the widest rows that are made for one to read. */
int64_t plan_widest(const plan_graph *graph);
/* Whether an op has no steps of its own: what reads its results plans it. */
bool plan_by_reader(MlirOperation op);
/* An op of function fn, whose rows are rows_dim. */
bool plan_op(planner *p, MlirOperation op, int fn, int64_t rows_dim);
/* An op of the entry; its rows are p->here.rows. */
bool plan_member(planner *p, MlirOperation op);

/* The rules of single ops, of entries and of any function. */
#define PLAN_ENTRY_OP(name) bool name(planner *p, MlirOperation op)
#define PLAN_ROWS_OP(name) bool name(planner *p, MlirOperation op, int fn, int64_t rows_dim)
PLAN_ENTRY_OP(plan_route);
PLAN_ENTRY_OP(plan_combine);
PLAN_ENTRY_OP(plan_fused_experts);
PLAN_ENTRY_OP(plan_hyper_expert);
PLAN_ENTRY_OP(plan_indexed_hyper_expert);
PLAN_ENTRY_OP(plan_factored_hyper_expert);
PLAN_ENTRY_OP(plan_embedding);
PLAN_ENTRY_OP(plan_attention);
PLAN_ROWS_OP(plan_parameter);
PLAN_ROWS_OP(plan_linear);
PLAN_ROWS_OP(plan_activate);
PLAN_ROWS_OP(plan_add);
PLAN_ROWS_OP(plan_multiply);
PLAN_ROWS_OP(plan_scale);
PLAN_ROWS_OP(plan_norm);
PLAN_ROWS_OP(plan_append_row);
PLAN_ROWS_OP(plan_view);
PLAN_ROWS_OP(plan_slice);
PLAN_ROWS_OP(plan_concat);
PLAN_ROWS_OP(plan_selection_embedding);
PLAN_ROWS_OP(plan_all_selections);
PLAN_ROWS_OP(plan_weight_embedding);
PLAN_ROWS_OP(plan_relative_bias);

#endif
