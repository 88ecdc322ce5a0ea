/* GROUP_SETS: tokens by their selection set, a thread a token.
 *
 *   hmoe_sets_token   every token a group of its own
 *   hmoe_sets_rank    scratch[t] = the set's place in colexicographic order: RANK's number of a token
 *   hmoe_sets_sort    sets[t] = the token's set, ascending
 *   hmoe_sets_first   scratch[t] = the first token that has the set: DISTINCT's number of a token
 *   hmoe_sets_place   a token goes behind those of lower number, and those of its own before it: tokens squared compares, all at once; scratch[T + place] = number
 *   hmoe_sets_block   in one block of threads: where numbers begin, and the blocks of rows of one number
 * dims: experts, top_k, row_block, sets, distinct. buffers as the step's bindings. The order of RANK's groups is ascending here, that of appearance on CPUs;
 * DISTINCT's is that of appearance, and rows of a group are in the order of tokens, on both. */
#include "target/cuda/cuda.h"

enum { THREADS = 256, WARPS = THREADS / CUDA_WARP, EXPERTS = 0, TOP_K, ROW_BLOCK, SETS, DISTINCT, SHARED_BYTES = 2 * WARPS * 8 };

static const MlirType none = {NULL};
static const MlirValue nothing = {NULL};

static MlirValue clamped(ir_builder *ir, MlirValue index, MlirValue experts) {
  MlirValue zero = ir_i64(ir, 0),
            inside = ir_and(ir, ir_compare_i(ir, IR_GE, index, zero), ir_compare_i(ir, IR_LT, index, experts));
  return ir_select(ir, inside, index, zero);
}

/* How many members of a token's set are less than `member`, or the same and listed before it: its place when the set ascends. */
static MlirValue place_of(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, MlirValue set, MlirValue s, MlirValue member) {
  ir_builder *ir = &e->ir;
  MlirValue zero = ir_i64(ir, 0), one = ir_i64(ir, 1);
  ir_loop o;
  ir_for_begin(ir, &o, zero, cuda_dim(e, task, TOP_K), 1, 1, &zero);
  MlirValue other = clamped(ir, ir_extend(ir, cuda_i32(e, set, o.index)), cuda_dim(e, task, EXPERTS));
  MlirValue before = ir_or(ir, ir_compare_i(ir, IR_LT, other, member),
                           ir_and(ir, ir_compare_i(ir, IR_EQ, other, member), ir_compare_i(ir, IR_LT, o.index, s)));
  ir_for_end(ir, &o, (MlirValue[]){ir_add_i(ir, o.args[0], ir_select(ir, before, one, zero))});
  return o.args[0];
}

/* Set number `to` of sets: the members of token t's, ascending; nothing where there is nobody to read it. */
static void put_set(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, MlirValue t, MlirValue to) {
  ir_builder *ir = &e->ir;
  MlirValue indices = cuda_binding(e, task, HMOE_BIND_GROUP_SETS_INDICES), sets = cuda_binding(e, task, HMOE_BIND_GROUP_SETS_SETS);
  MlirValue top_k = cuda_dim(e, task, TOP_K);
  ir_branch unwanted;
  ir_if_begin(ir, &unwanted, ir_or(ir, cuda_is_null(e, indices), cuda_is_null(e, sets)), none);
  ir_if_else(ir, &unwanted, nothing);
  MlirValue from = ir_at(ir, indices, ir->i32, ir_mul_i(ir, t, top_k)), set = ir_at(ir, sets, ir->i32, ir_mul_i(ir, to, top_k));
  ir_loop s;
  ir_for_begin(ir, &s, ir_i64(ir, 0), top_k, 1, 0, NULL);
  MlirValue member = clamped(ir, ir_extend(ir, cuda_i32(e, from, s.index)), cuda_dim(e, task, EXPERTS));
  cuda_put(e, set, place_of(e, task, from, s.index, member), ir_truncate(ir, member));
  ir_for_end(ir, &s, NULL);
  ir_if_end(ir, &unwanted, nothing);
}

static void emit_token(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue blocks = cuda_binding(e, task, HMOE_BIND_GROUP_SETS_BLOCKS), one = ir_i64(ir, 1);
  ir_branch real, first;
  MlirValue t = cuda_element_begin(e, task, THREADS, &real);
  cuda_put(e, cuda_binding(e, task, HMOE_BIND_GROUP_SETS_ROW_TOKEN), t, ir_truncate(ir, t));
  cuda_put_block(e, blocks, t, t, t, one, 0);
  put_set(e, task, t, t);
  cuda_if_end(e, &real);
  ir_if_begin(ir, &first, ir_compare_i(ir, IR_EQ, task->task, ir_i64(ir, 0)), none);
  cuda_put_blocks_header(e, task, blocks, task->rows, task->rows);
  cuda_if_end(e, &first);
}

/* n over k: exact where it fits, and what does not is more than any number of sets; k is at most the members of a set. */
static MlirValue binomial(hmoec_cuda_emitter *e, MlirValue n, MlirValue k) {
  ir_builder *ir = &e->ir;
  MlirValue one = ir_i64(ir, 1), most = ir_i64(ir, INT32_MAX);
  ir_loop i;
  ir_for_begin(ir, &i, ir_i64(ir, 0), k, 1, 1, &one);
  /* C(n, i + 1) = C(n, i) (n - i) / (i + 1); n - i <= 0 gives 0, and it stays that */
  MlirValue next = ir_mul_i(ir, i.args[0], ir_max_i(ir, ir_sub_i(ir, n, i.index), ir_i64(ir, 0)));
  ir_for_end(ir, &i, (MlirValue[]){ir_min_i(ir, ir_div_i(ir, next, ir_add_i(ir, i.index, one)), most)});
  return i.args[0];
}

static void emit_rank(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue indices = cuda_binding(e, task, HMOE_BIND_GROUP_SETS_INDICES), top_k = cuda_dim(e, task, TOP_K), zero = ir_i64(ir, 0);
  ir_branch real;
  MlirValue t = cuda_element_begin(e, task, THREADS, &real), from = ir_at(ir, indices, ir->i32, ir_mul_i(ir, t, top_k));
  ir_loop s;
  ir_for_begin(ir, &s, zero, top_k, 1, 1, &zero);
  MlirValue member = clamped(ir, ir_extend(ir, cuda_i32(e, from, s.index)), cuda_dim(e, task, EXPERTS));
  MlirValue place = ir_add_i(ir, place_of(e, task, from, s.index, member), ir_i64(ir, 1));
  ir_for_end(ir, &s, (MlirValue[]){ir_add_i(ir, s.args[0], binomial(e, member, place))});
  MlirValue rank = ir_min_i(ir, s.args[0], ir_sub_i(ir, cuda_dim(e, task, SETS), ir_i64(ir, 1)));
  cuda_put(e, cuda_binding(e, task, HMOE_BIND_GROUP_SETS_SCRATCH), t, ir_truncate(ir, rank));
  cuda_if_end(e, &real);
}

/* This token's set at its own place: hmoe_sets_block puts those of groups there, when none is read any more. */
static void emit_sort(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  ir_branch real;
  MlirValue t = cuda_element_begin(e, task, THREADS, &real);
  put_set(e, task, t, t);
  cuda_if_end(e, &real);
}

static void emit_first(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue sets = cuda_binding(e, task, HMOE_BIND_GROUP_SETS_SETS), top_k = cuda_dim(e, task, TOP_K), zero = ir_i64(ir, 0);
  ir_branch real;
  MlirValue t = cuda_element_begin(e, task, THREADS, &real), own = ir_at(ir, sets, ir->i32, ir_mul_i(ir, t, top_k));
  ir_loop u;
  ir_for_begin(ir, &u, zero, t, 1, 1, &t);
  MlirValue same = cuda_same_set(e, ir_at(ir, sets, ir->i32, ir_mul_i(ir, u.index, top_k)), own, top_k);
  ir_for_end(ir, &u, (MlirValue[]){ir_min_i(ir, u.args[0], ir_select(ir, same, u.index, t))});
  cuda_put(e, cuda_binding(e, task, HMOE_BIND_GROUP_SETS_SCRATCH), t, ir_truncate(ir, u.args[0]));
  cuda_if_end(e, &real);
}

static void emit_place(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue ranks = cuda_binding(e, task, HMOE_BIND_GROUP_SETS_SCRATCH), zero = ir_i64(ir, 0), one = ir_i64(ir, 1);
  ir_branch real;
  MlirValue t = cuda_element_begin(e, task, THREADS, &real), own = cuda_i32(e, ranks, t);
  ir_loop u;
  ir_for_begin(ir, &u, zero, task->rows, 1, 1, &zero);
  MlirValue other = cuda_i32(e, ranks, u.index);
  MlirValue before = ir_or(ir, ir_compare_i(ir, IR_LT, other, own),
                           ir_and(ir, ir_compare_i(ir, IR_EQ, other, own), ir_compare_i(ir, IR_LT, u.index, t)));
  ir_for_end(ir, &u, (MlirValue[]){ir_add_i(ir, u.args[0], ir_select(ir, before, one, zero))});
  cuda_put(e, cuda_binding(e, task, HMOE_BIND_GROUP_SETS_ROW_TOKEN), u.args[0], ir_truncate(ir, t));
  cuda_put(e, ranks, ir_add_i(ir, task->rows, u.args[0]), own);
  cuda_if_end(e, &real);
}

/* The first row from which on the number of the sorted rows is above `rank`, from row `at` on. */
static MlirValue end_of(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, MlirValue sorted, MlirValue rank, MlirValue at) {
  ir_builder *ir = &e->ir;
  MlirValue one = ir_i64(ir, 1);
  ir_loop i; /* halves an interval: 32 times are enough */
  ir_for_begin(ir, &i, ir_i64(ir, 0), ir_i64(ir, 32), 1, 2, (MlirValue[]){at, task->rows});
  MlirValue middle = ir_div_i(ir, ir_add_i(ir, i.args[0], i.args[1]), ir_i64(ir, 2));
  MlirValue open = ir_compare_i(ir, IR_LT, i.args[0], i.args[1]);
  ir_branch inside;
  ir_if_begin(ir, &inside, open, ir->i32);
  ir_if_else(ir, &inside, cuda_i32(e, sorted, middle));
  MlirValue there = ir_if_end(ir, &inside, rank), above = ir_compare_i(ir, IR_GT, there, rank);
  MlirValue low = ir_select(ir, ir_and(ir, open, ir_compare_i(ir, IR_LE, there, rank)), ir_add_i(ir, middle, one), i.args[0]);
  MlirValue high = ir_select(ir, ir_and(ir, open, above), middle, i.args[1]);
  ir_for_end(ir, &i, (MlirValue[]){low, high});
  return i.args[0];
}

/* One block of threads: each chunk of rows finds those that begin a group, and how many blocks that group has. */
static void emit_block(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue zero = ir_i64(ir, 0), one = ir_i64(ir, 1), step = cuda_dim(e, task, ROW_BLOCK);
  MlirValue blocks = cuda_binding(e, task, HMOE_BIND_GROUP_SETS_BLOCKS);
  MlirValue distinct = ir_compare_i(ir, IR_NE, cuda_dim(e, task, DISTINCT), zero);
  MlirValue sorted = ir_at(ir, cuda_binding(e, task, HMOE_BIND_GROUP_SETS_SCRATCH), ir->i32, task->rows);
  ir_loop c; /* carries groups and blocks */
  ir_for_begin(ir, &c, zero, task->rows, THREADS, 2, (MlirValue[]){zero, zero});
  MlirValue row = ir_add_i(ir, c.index, task->thread), no = ir_compare_i(ir, IR_NE, zero, zero);
  ir_branch real, later, begins;
  ir_if_begin(ir, &real, ir_compare_i(ir, IR_LT, row, task->rows), ir->i1);
  ir_if_begin(ir, &later, ir_compare_i(ir, IR_GT, row, zero), ir->i1);
  MlirValue differs = ir_compare_i(ir, IR_NE, cuda_i32(e, sorted, row), cuda_i32(e, sorted, ir_sub_i(ir, row, one)));
  ir_if_else(ir, &later, differs);
  MlirValue is_first = ir_if_end(ir, &later, ir_compare_i(ir, IR_EQ, zero, zero));
  ir_if_else(ir, &real, is_first);
  is_first = ir_if_end(ir, &real, no);
  ir_if_begin(ir, &begins, is_first, ir->i64);
  ir_if_else(ir, &begins, end_of(e, task, sorted, cuda_i32(e, sorted, row), row));
  MlirValue end = ir_if_end(ir, &begins, row), rows = ir_sub_i(ir, end, row);
  MlirValue count = ir_div_i(ir, ir_add_i(ir, rows, ir_sub_i(ir, step, one)), step);
  MlirValue before[2], all[2];
  cuda_prefix_sums(e, task, THREADS, 2, (MlirValue[]){ir_select(ir, is_first, one, zero), count}, before, all);
  ir_branch sets;
  ir_if_begin(ir, &sets, is_first, none);
  MlirValue token = ir_extend(ir, cuda_i32(e, cuda_binding(e, task, HMOE_BIND_GROUP_SETS_ROW_TOKEN), row));
  put_set(e, task, token, ir_add_i(ir, c.args[0], before[0]));
  cuda_if_end(e, &sets);
  ir_loop b;
  ir_for_begin(ir, &b, zero, count, 1, 0, NULL);
  MlirValue begin = ir_div_i(ir, ir_mul_i(ir, rows, b.index), count),
            next = ir_div_i(ir, ir_mul_i(ir, rows, ir_add_i(ir, b.index, one)), count);
  MlirValue number = ir_add_i(ir, ir_add_i(ir, c.args[1], before[1]), b.index);
  MlirValue group = ir_select(ir, distinct, ir_add_i(ir, c.args[0], before[0]), ir_extend(ir, cuda_i32(e, sorted, row)));
  cuda_put_block(e, blocks, number, group, ir_add_i(ir, row, begin), ir_sub_i(ir, next, begin), 0);
  ir_for_end(ir, &b, NULL);
  ir_for_end(ir, &c, (MlirValue[]){ir_add_i(ir, c.args[0], all[0]), ir_add_i(ir, c.args[1], all[1])});
  cuda_put_blocks_header(e, task, blocks, c.args[1], c.args[0]);
}

const hmoec_cuda_step hmoec_cuda_set_steps[] = {
    {"hmoe_sets_token", THREADS, 0, emit_token},
    {"hmoe_sets_rank", THREADS, 0, emit_rank},
    {"hmoe_sets_sort", THREADS, 0, emit_sort},
    {"hmoe_sets_first", THREADS, 0, emit_first},
    {"hmoe_sets_place", THREADS, 0, emit_place},
    {"hmoe_sets_block", THREADS, SHARED_BYTES, emit_block},
    {NULL, 0, 0, NULL},
};
