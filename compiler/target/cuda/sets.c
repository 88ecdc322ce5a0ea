/* GROUP_SETS: tokens by their selection set.
 *
 *   hmoe_sets_token   every token a group of its own, a thread a token
 *   hmoe_sets_few     all of it in one block of threads, of no more tokens than it has threads
 *   hmoe_sets_once    by RANK, of not too many sets and tokens: a block of threads a set, each of which counts the tokens of all sets
 *   of any number, one after the other:
 *   hmoe_sets_sort    a block of threads sorts as many tokens as it has threads, its part of all: scratch[3 T + i] = token
 *   hmoe_sets_place   a warp a token: a lane finds by halving how many tokens of a part go before it, so that all are counted in tokens times parts steps
 *   hmoe_sets_block   in one block of threads: the groups, and the blocks of their rows
 *
 * A token's key is its set, ascending (DISTINCT, in sets[t]), or the set's place in colexicographic order (RANK, in scratch[t]). Tokens are sorted by their keys, and those of one
 * key are in order: row r is of token row_token[r], and its group is rows [scratch[T + r], scratch[2 T + r]). Groups are in the order of keys; on CPUs it is that of
 * appearance, with the same rows in each.
 * dims: experts, top_k, row_block, sets, distinct. buffers as the step's bindings. */
#include "target/cuda/cuda.h"

enum { THREADS = 256, WARPS = THREADS / CUDA_WARP, PART = THREADS, SHARED_BYTES = 2 * WARPS * 4 };
enum { EXPERTS = 0, TOP_K, ROW_BLOCK, SETS, DISTINCT }; /* dims */
enum { KEYS = 0, BEGINS, ENDS, ORDER }; /* in scratch, call.rows each */
enum {
  MATES = 8, /* tokens that one is compared with at a time */
  HALVES = 9, /* halvings of an interval of PART until it is empty */
  EACH = 4 /* rows that a thread of hmoe_sets_block has at a time */
};
_Static_assert(1 << (HALVES - 1) >= PART, "halvings enough");
/* Shared memory of hmoe_sets_once: words of the prefixes; tokens of each set; each token's set; see rank_of; the first token of the block's set. */
enum {
  COUNTERS_AT = 3 * WARPS * 4,
  RANKS_AT = COUNTERS_AT + HMOE_CUDA_GROUP_EXPERTS * 4,
  CHOICES_AT = RANKS_AT + HMOE_CUDA_RANKED_TOKENS * 4,
  FIRST_AT = CHOICES_AT + HMOE_CUDA_RANKED_MEMBERS * 4,
  ONCE_BYTES = FIRST_AT + 4
};

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

/* Set number `to` of sets: the members of token t's, ascending, those that it has at first, first + step ..; nothing where there is nobody to read it. */
static void put_members(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, MlirValue t, MlirValue to, MlirValue begin,
                        int64_t step) {
  ir_builder *ir = &e->ir;
  MlirValue indices = cuda_binding(e, task, HMOE_BIND_GROUP_SETS_INDICES), sets = cuda_binding(e, task, HMOE_BIND_GROUP_SETS_SETS);
  MlirValue top_k = cuda_dim(e, task, TOP_K);
  ir_branch unwanted;
  ir_if_begin(ir, &unwanted, ir_or(ir, cuda_is_null(e, indices), cuda_is_null(e, sets)), none);
  ir_if_else(ir, &unwanted, nothing);
  MlirValue from = ir_at(ir, indices, ir->i32, ir_mul_i(ir, t, top_k)), set = ir_at(ir, sets, ir->i32, ir_mul_i(ir, to, top_k));
  ir_loop s;
  ir_for_begin(ir, &s, begin, top_k, step, 0, NULL);
  MlirValue member = clamped(ir, ir_extend(ir, cuda_i32(e, from, s.index)), cuda_dim(e, task, EXPERTS));
  cuda_put(e, set, place_of(e, task, from, s.index, member), ir_truncate(ir, member));
  ir_for_end(ir, &s, NULL);
  ir_if_end(ir, &unwanted, nothing);
}

static void put_set(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, MlirValue t, MlirValue to) {
  put_members(e, task, t, to, ir_i64(&e->ir, 0), 1);
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

/* choices: member over place + 1 in shared memory, at place * experts + member, or null. */
static MlirValue rank_of(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, MlirValue t, MlirValue choices) {
  ir_builder *ir = &e->ir;
  MlirValue top_k = cuda_dim(e, task, TOP_K), zero = ir_i64(ir, 0);
  MlirValue from = ir_at(ir, cuda_binding(e, task, HMOE_BIND_GROUP_SETS_INDICES), ir->i32, ir_mul_i(ir, t, top_k));
  ir_loop s;
  ir_for_begin(ir, &s, zero, top_k, 1, 1, &zero);
  MlirValue member = clamped(ir, ir_extend(ir, cuda_i32(e, from, s.index)), cuda_dim(e, task, EXPERTS));
  MlirValue place = place_of(e, task, from, s.index, member), before;
  if (mlirValueIsNull(choices)) before = binomial(e, member, ir_add_i(ir, place, ir_i64(ir, 1)));
  else before = ir_extend(ir, cuda_i32(e, choices, ir_add_i(ir, ir_mul_i(ir, place, cuda_dim(e, task, EXPERTS)), member)));
  ir_for_end(ir, &s, (MlirValue[]){ir_add_i(ir, s.args[0], before)});
  return ir_min_i(ir, s.args[0], ir_sub_i(ir, cuda_dim(e, task, SETS), ir_i64(ir, 1)));
}

/* ---- keys ---- */

static MlirValue scratch_at(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, int64_t part) {
  ir_builder *ir = &e->ir;
  return ir_at(ir, cuda_binding(e, task, HMOE_BIND_GROUP_SETS_SCRATCH), ir->i32, ir_mul_i(ir, task->rows, ir_i64(ir, part)));
}

static MlirValue is_distinct(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  return ir_compare_i(&e->ir, IR_NE, cuda_dim(e, task, DISTINCT), ir_i64(&e->ir, 0));
}

/* Keys of all tokens, `words` each, which order as their words do, the first before the others. */
typedef struct keys {
  MlirValue at, words;
} keys;

static keys keys_of(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue distinct = is_distinct(e, task);
  return (keys){ir_select(ir, distinct, cuda_binding(e, task, HMOE_BIND_GROUP_SETS_SETS), scratch_at(e, task, KEYS)),
                ir_select(ir, distinct, cuda_dim(e, task, TOP_K), ir_i64(ir, 1))};
}

static MlirValue key_of(hmoec_cuda_emitter *e, const keys *k, MlirValue t) {
  return ir_at(&e->ir, k->at, e->ir.i32, ir_mul_i(&e->ir, t, k->words));
}

static void put_key(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, MlirValue t) {
  ir_builder *ir = &e->ir;
  ir_branch distinct;
  ir_if_begin(ir, &distinct, is_distinct(e, task), none);
  put_set(e, task, t, t);
  ir_if_else(ir, &distinct, nothing);
  cuda_put(e, scratch_at(e, task, KEYS), t, ir_truncate(ir, rank_of(e, task, t, nothing)));
  ir_if_end(ir, &distinct, nothing);
}

/* Of `count` keys whether each is less than `own`, and whether it is the same. */
static void compare_keys(hmoec_cuda_emitter *e, const keys *k, MlirValue own, int count, const MlirValue *others,
                         MlirValue *out_less, MlirValue *out_same) {
  ir_builder *ir = &e->ir;
  MlirValue zero = ir_i64(ir, 0), yes = ir_compare_i(ir, IR_EQ, zero, zero), no = ir_compare_i(ir, IR_NE, zero, zero);
  MlirValue found[2 * MATES];
  ir_loop w; /* carries less, then same */
  for (int i = 0; i < count; i++) found[i] = no, found[count + i] = yes;
  ir_for_begin(ir, &w, zero, k->words, 1, 2 * count, found);
  MlirValue word = cuda_i32(e, own, w.index);
  for (int i = 0; i < count; i++) {
    MlirValue other = cuda_i32(e, others[i], w.index), same = w.args[count + i];
    found[i] = ir_or(ir, w.args[i], ir_and(ir, same, ir_compare_i(ir, IR_LT, other, word)));
    found[count + i] = ir_and(ir, same, ir_compare_i(ir, IR_EQ, other, word));
  }
  ir_for_end(ir, &w, found);
  for (int i = 0; i < count; i++) out_less[i] = w.args[i], out_same[i] = w.args[count + i];
}

/* How many tokens have lesser keys, how many go before a token, and how many have no greater keys. */
typedef struct counts {
  MlirValue less, before, through;
} counts;

static MlirValue add_one(ir_builder *ir, MlirValue count, MlirValue i1) {
  return ir_add_i(ir, count, ir_select(ir, i1, ir_i64(ir, 1), ir_i64(ir, 0)));
}

/* Of tokens [begin, end), whose keys are there, all compared with token t. */
static counts count_all(hmoec_cuda_emitter *e, const keys *k, MlirValue t, MlirValue begin, MlirValue end) {
  ir_builder *ir = &e->ir;
  MlirValue zero = ir_i64(ir, 0), last = ir_sub_i(ir, end, ir_i64(ir, 1)), own = key_of(e, k, t);
  MlirValue others[MATES], less[MATES], same[MATES];
  ir_loop u;
  ir_for_begin(ir, &u, begin, end, MATES, 3, (MlirValue[]){zero, zero, zero});
  counts c = {u.args[0], u.args[1], u.args[2]};
  for (int64_t m = 0; m < MATES; m++) others[m] = key_of(e, k, ir_min_i(ir, ir_add_i(ir, u.index, ir_i64(ir, m)), last));
  compare_keys(e, k, own, MATES, others, less, same);
  for (int64_t m = 0; m < MATES; m++) {
    MlirValue other = ir_add_i(ir, u.index, ir_i64(ir, m)), real = ir_compare_i(ir, IR_LE, other, last);
    MlirValue is_less = ir_and(ir, real, less[m]), is_same = ir_and(ir, real, same[m]);
    c.less = add_one(ir, c.less, is_less);
    c.before = add_one(ir, c.before, ir_or(ir, is_less, ir_and(ir, is_same, ir_compare_i(ir, IR_LT, other, t))));
    c.through = add_one(ir, c.through, ir_or(ir, is_less, is_same));
  }
  ir_for_end(ir, &u, (MlirValue[]){c.less, c.before, c.through});
  return (counts){u.args[0], u.args[1], u.args[2]};
}

/* Of the sorted tokens order[begin, end), which are PART at most. before: not known. */
static counts count_sorted(hmoec_cuda_emitter *e, const keys *k, MlirValue order, MlirValue t, MlirValue begin, MlirValue end) {
  ir_builder *ir = &e->ir;
  MlirValue one = ir_i64(ir, 1), last = ir_sub_i(ir, end, one), own = key_of(e, k, t);
  ir_loop i; /* carries two intervals, of where what is less ends and of where what is greater begins */
  ir_for_begin(ir, &i, ir_i64(ir, 0), ir_i64(ir, HALVES), 1, 4, (MlirValue[]){begin, end, begin, end});
  MlirValue next[4], middle[2], others[2], less[2], same[2];
  for (int b = 0; b < 2; b++) {
    middle[b] = ir_div_i(ir, ir_add_i(ir, i.args[2 * b], i.args[2 * b + 1]), ir_i64(ir, 2));
    others[b] = key_of(e, k, ir_extend(ir, cuda_i32(e, order, ir_min_i(ir, middle[b], last))));
  }
  compare_keys(e, k, own, 2, others, less, same);
  for (int b = 0; b < 2; b++) {
    MlirValue low = i.args[2 * b], high = i.args[2 * b + 1], open = ir_compare_i(ir, IR_LT, low, high);
    MlirValue passed = b ? ir_or(ir, less[b], same[b]) : less[b];
    next[2 * b] = ir_select(ir, ir_and(ir, open, passed), ir_add_i(ir, middle[b], one), low);
    next[2 * b + 1] = ir_select(ir, passed, high, ir_min_i(ir, middle[b], high));
  }
  ir_for_end(ir, &i, next);
  return (counts){.less = ir_sub_i(ir, i.args[0], begin), .through = ir_sub_i(ir, i.args[2], begin)};
}

static void put_row(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, MlirValue t, const counts *c) {
  ir_builder *ir = &e->ir;
  cuda_put(e, cuda_binding(e, task, HMOE_BIND_GROUP_SETS_ROW_TOKEN), c->before, ir_truncate(ir, t));
  cuda_put(e, scratch_at(e, task, BEGINS), c->before, ir_truncate(ir, c->less));
  cuda_put(e, scratch_at(e, task, ENDS), c->before, ir_truncate(ir, c->through));
}

/* ---- groups ---- */

typedef struct group_row {
  MlirValue begins; /* i1: the row is the first of its group */
  MlirValue rows, blocks; /* which has so many, or 0 */
} group_row;

static group_row group_row_at(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, MlirValue row) {
  ir_builder *ir = &e->ir;
  MlirValue zero = ir_i64(ir, 0), one = ir_i64(ir, 1), step = cuda_dim(e, task, ROW_BLOCK);
  MlirValue real = ir_compare_i(ir, IR_LT, row, task->rows), at = ir_select(ir, real, row, zero);
  MlirValue begin = ir_extend(ir, cuda_i32(e, scratch_at(e, task, BEGINS), at)),
            end = ir_extend(ir, cuda_i32(e, scratch_at(e, task, ENDS), at));
  group_row g = {.begins = ir_and(ir, real, ir_compare_i(ir, IR_EQ, begin, row))};
  g.rows = ir_select(ir, g.begins, ir_sub_i(ir, end, begin), zero);
  g.blocks = ir_div_i(ir, ir_add_i(ir, g.rows, ir_sub_i(ir, step, one)), step);
  return g;
}

/* Group `number`, whose first row this is: its set, and its blocks from block `first` on. */
static void put_group(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, const group_row *g, MlirValue row, MlirValue number,
                      MlirValue first) {
  ir_builder *ir = &e->ir;
  MlirValue token = ir_extend(ir, cuda_i32(e, cuda_binding(e, task, HMOE_BIND_GROUP_SETS_ROW_TOKEN), row));
  put_set(e, task, token, number);
  ir_branch distinct;
  ir_if_begin(ir, &distinct, is_distinct(e, task), ir->i64);
  ir_if_else(ir, &distinct, number);
  MlirValue group = ir_if_end(ir, &distinct, ir_extend(ir, cuda_i32(e, scratch_at(e, task, KEYS), token)));
  ir_loop b;
  ir_for_begin(ir, &b, ir_i64(ir, 0), g->blocks, 1, 0, NULL);
  MlirValue begin = ir_div_i(ir, ir_mul_i(ir, g->rows, b.index), g->blocks);
  MlirValue next = ir_div_i(ir, ir_mul_i(ir, g->rows, ir_add_i(ir, b.index, ir_i64(ir, 1))), g->blocks);
  cuda_put_block(e, cuda_binding(e, task, HMOE_BIND_GROUP_SETS_BLOCKS), ir_add_i(ir, first, b.index), group,
                 ir_add_i(ir, row, begin), ir_sub_i(ir, next, begin), 0);
  ir_for_end(ir, &b, NULL);
}

/* In one block of threads, of rows that all of it may read. */
static void put_groups(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue zero = ir_i64(ir, 0), own = ir_mul_i(ir, task->thread, ir_i64(ir, EACH));
  ir_loop c, r; /* carry groups and blocks */
  ir_for_begin(ir, &c, zero, task->rows, THREADS * EACH, 2, (MlirValue[]){zero, zero});
  MlirValue sums[2] = {zero, zero}, before[2], all[2];
  for (int64_t i = 0; i < EACH; i++) {
    group_row g = group_row_at(e, task, ir_add_i(ir, ir_add_i(ir, c.index, own), ir_i64(ir, i)));
    sums[0] = add_one(ir, sums[0], g.begins);
    sums[1] = ir_add_i(ir, sums[1], g.blocks);
  }
  cuda_prefix_sums(e, task, THREADS, 2, sums, before, all);
  for (int i = 0; i < 2; i++) before[i] = ir_add_i(ir, c.args[i], before[i]);
  ir_for_begin(ir, &r, zero, ir_i64(ir, EACH), 1, 2, before);
  MlirValue row = ir_add_i(ir, ir_add_i(ir, c.index, own), r.index);
  group_row g = group_row_at(e, task, row);
  ir_branch begins;
  ir_if_begin(ir, &begins, g.begins, none);
  put_group(e, task, &g, row, r.args[0], r.args[1]);
  cuda_if_end(e, &begins);
  ir_for_end(ir, &r, (MlirValue[]){add_one(ir, r.args[0], g.begins), ir_add_i(ir, r.args[1], g.blocks)});
  ir_for_end(ir, &c, (MlirValue[]){ir_add_i(ir, c.args[0], all[0]), ir_add_i(ir, c.args[1], all[1])});
  cuda_put_blocks_header(e, task, cuda_binding(e, task, HMOE_BIND_GROUP_SETS_BLOCKS), c.args[1], c.args[0]);
}

/* ---- steps ---- */

/* Keys of the block's tokens, which it may read then; returns this thread's token. */
static MlirValue put_keys(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, ir_branch *real) {
  MlirValue t = cuda_element_begin(e, task, THREADS, real);
  put_key(e, task, t);
  cuda_if_end(e, real);
  cuda_barrier(e);
  return t;
}

static void emit_few(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  ir_branch real;
  MlirValue t = put_keys(e, task, &real);
  keys k = keys_of(e, task);
  ir_if_begin(ir, &real, ir_compare_i(ir, IR_LT, t, task->rows), none);
  counts c = count_all(e, &k, t, ir_i64(ir, 0), task->rows);
  put_row(e, task, t, &c);
  cuda_if_end(e, &real);
  cuda_barrier(e);
  put_groups(e, task);
}

/* Tokens of a set, and the blocks that it has of them. */
static MlirValue tokens_of(hmoec_cuda_emitter *e, MlirValue set) {
  return ir_extend(&e->ir, cuda_i32(e, cuda_shared(e, COUNTERS_AT), set));
}

static MlirValue blocks_of(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, MlirValue tokens) {
  ir_builder *ir = &e->ir;
  MlirValue step = ir_truncate(ir, cuda_dim(e, task, ROW_BLOCK)), rest = ir_sub_i(ir, step, ir_i32(ir, 1));
  return ir_extend(ir, ir_div_i(ir, ir_add_i(ir, ir_truncate(ir, tokens), rest), step));
}

/* The sets of all tokens to shared memory, and how many each has. */
static void count_ranks(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  ir_loop s, t, c;
  MlirValue experts = cuda_dim(e, task, EXPERTS);
  ir_for_begin(ir, &s, task->thread, cuda_dim(e, task, SETS), THREADS, 0, NULL);
  cuda_put(e, cuda_shared(e, COUNTERS_AT), s.index, ir_i32(ir, 0));
  ir_for_end(ir, &s, NULL);
  ir_for_begin(ir, &c, task->thread, ir_mul_i(ir, experts, cuda_dim(e, task, TOP_K)), THREADS, 0, NULL);
  MlirValue place = ir_div_i(ir, c.index, experts), member = ir_rem_i(ir, c.index, experts);
  cuda_put(e, cuda_shared(e, CHOICES_AT), c.index, ir_truncate(ir, binomial(e, member, ir_add_i(ir, place, ir_i64(ir, 1)))));
  ir_for_end(ir, &c, NULL);
  cuda_barrier(e);
  ir_for_begin(ir, &t, task->thread, task->rows, THREADS, 0, NULL);
  MlirValue rank = rank_of(e, task, t.index, cuda_shared(e, CHOICES_AT));
  cuda_put(e, cuda_shared(e, RANKS_AT), t.index, ir_truncate(ir, rank));
  cuda_atomic_add(e, ir_at(ir, cuda_shared(e, COUNTERS_AT), ir->i32, rank), ir_i32(ir, 1));
  ir_for_end(ir, &t, NULL);
  cuda_barrier(e);
}

/* The rows of this block's set, from row `first` on: its tokens, in their order. All threads know the first of them then, if there is one. */
static MlirValue put_tokens(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, MlirValue first) {
  ir_builder *ir = &e->ir;
  MlirValue own = ir_truncate(ir, task->task), last = ir_sub_i(ir, task->rows, ir_i64(ir, 1)), mine[EACH];
  ir_loop c; /* carries the next row */
  ir_for_begin(ir, &c, ir_i64(ir, 0), task->rows, THREADS * EACH, 1, &first);
  MlirValue begin = ir_add_i(ir, c.index, ir_mul_i(ir, task->thread, ir_i64(ir, EACH))), count = ir_i64(ir, 0), before, all;
  for (int64_t i = 0; i < EACH; i++) {
    MlirValue t = ir_add_i(ir, begin, ir_i64(ir, i));
    MlirValue rank = cuda_i32(e, cuda_shared(e, RANKS_AT), ir_min_i(ir, t, last));
    mine[i] = ir_and(ir, ir_compare_i(ir, IR_LE, t, last), ir_compare_i(ir, IR_EQ, rank, own));
    count = add_one(ir, count, mine[i]);
  }
  cuda_prefix_sums(e, task, THREADS, 1, &count, &before, &all);
  MlirValue row = ir_add_i(ir, c.args[0], before);
  for (int64_t i = 0; i < EACH; i++) {
    MlirValue t = ir_add_i(ir, begin, ir_i64(ir, i));
    ir_branch is_mine, is_first;
    ir_if_begin(ir, &is_mine, mine[i], none);
    cuda_put(e, cuda_binding(e, task, HMOE_BIND_GROUP_SETS_ROW_TOKEN), row, ir_truncate(ir, t));
    ir_if_begin(ir, &is_first, ir_compare_i(ir, IR_EQ, row, first), none);
    cuda_put(e, cuda_shared(e, FIRST_AT), ir_i64(ir, 0), ir_truncate(ir, t));
    cuda_if_end(e, &is_first);
    cuda_if_end(e, &is_mine);
    row = add_one(ir, row, mine[i]);
  }
  ir_for_end(ir, &c, (MlirValue[]){ir_add_i(ir, c.args[0], all)});
  cuda_barrier(e);
  return ir_extend(ir, cuda_i32(e, cuda_shared(e, FIRST_AT), ir_i64(ir, 0)));
}

static void emit_once(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  enum { TOKENS, GROUPS, BLOCKS, SUMS };
  MlirValue zero = ir_i64(ir, 0), one = ir_i64(ir, 1), own = task->task, before[SUMS], all[SUMS],
            blocks = cuda_binding(e, task, HMOE_BIND_GROUP_SETS_BLOCKS);
  ir_loop s, b;
  count_ranks(e, task);
  ir_for_begin(ir, &s, task->thread, own, THREADS, SUMS, (MlirValue[]){zero, zero, zero});
  MlirValue tokens = tokens_of(e, s.index);
  ir_for_end(ir, &s,
             (MlirValue[]){ir_add_i(ir, s.args[TOKENS], tokens), add_one(ir, s.args[GROUPS], ir_compare_i(ir, IR_NE, tokens, zero)),
                           ir_add_i(ir, s.args[BLOCKS], blocks_of(e, task, tokens))});
  cuda_prefix_sums(e, task, THREADS, SUMS, s.args, before, all); /* of all threads: what the sets before this one have */
  MlirValue rows = tokens_of(e, own), count = blocks_of(e, task, rows);
  ir_branch is_met, is_last;
  ir_if_begin(ir, &is_met, ir_compare_i(ir, IR_GT, rows, zero), none); /* by all threads, or by none */
  put_members(e, task, put_tokens(e, task, all[TOKENS]), all[GROUPS], task->thread, THREADS);
  cuda_if_end(e, &is_met);
  ir_for_begin(ir, &b, task->thread, count, THREADS, 0, NULL);
  MlirValue begin = ir_div_i(ir, ir_mul_i(ir, rows, b.index), count);
  MlirValue end = ir_div_i(ir, ir_mul_i(ir, rows, ir_add_i(ir, b.index, one)), count);
  cuda_put_block(e, blocks, ir_add_i(ir, all[BLOCKS], b.index), own, ir_add_i(ir, all[TOKENS], begin), ir_sub_i(ir, end, begin), 0);
  ir_for_end(ir, &b, NULL);
  ir_if_begin(ir, &is_last, ir_compare_i(ir, IR_EQ, ir_add_i(ir, own, one), cuda_dim(e, task, SETS)), none);
  cuda_put_blocks_header(e, task, blocks, ir_add_i(ir, all[BLOCKS], count),
                         add_one(ir, all[GROUPS], ir_compare_i(ir, IR_NE, rows, zero)));
  cuda_if_end(e, &is_last);
}

static void emit_sort(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  ir_branch real;
  MlirValue t = put_keys(e, task, &real), begin = ir_mul_i(ir, task->task, ir_i64(ir, PART));
  keys k = keys_of(e, task);
  ir_if_begin(ir, &real, ir_compare_i(ir, IR_LT, t, task->rows), none);
  counts c = count_all(e, &k, t, begin, ir_min_i(ir, ir_add_i(ir, begin, ir_i64(ir, PART)), task->rows));
  cuda_put(e, scratch_at(e, task, ORDER), ir_add_i(ir, begin, c.before), ir_truncate(ir, t));
  cuda_if_end(e, &real);
}

static MlirValue sum_of_lanes(hmoec_cuda_emitter *e, MlirValue value) {
  return ir_extend(&e->ir, cuda_reduce(e, CUDA_SUM_I, ir_truncate(&e->ir, value)));
}

static void emit_place(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue zero = ir_i64(ir, 0), size = ir_i64(ir, PART), order = scratch_at(e, task, ORDER);
  MlirValue i = ir_add_i(ir, ir_mul_i(ir, task->task, ir_i64(ir, WARPS)), task->warp);
  MlirValue parts = ir_div_i(ir, ir_add_i(ir, task->rows, ir_i64(ir, PART - 1)), size), own = ir_div_i(ir, i, size);
  ir_branch real, first;
  ir_loop p;
  ir_if_begin(ir, &real, ir_compare_i(ir, IR_LT, i, task->rows), none);
  keys k = keys_of(e, task);
  MlirValue t = ir_extend(ir, cuda_i32(e, order, i));
  ir_for_begin(ir, &p, task->lane, parts, CUDA_WARP, 3, (MlirValue[]){zero, zero, zero});
  MlirValue begin = ir_mul_i(ir, p.index, size);
  counts c = count_sorted(e, &k, order, t, begin, ir_min_i(ir, ir_add_i(ir, begin, size), task->rows));
  /* Of those with its key the tokens of earlier parts go before it; of its own part, what is sorted before it. */
  c.before = ir_select(ir, ir_compare_i(ir, IR_LT, p.index, own), c.through, c.less);
  c.before = ir_select(ir, ir_compare_i(ir, IR_EQ, p.index, own), ir_sub_i(ir, i, begin), c.before);
  ir_for_end(ir, &p,
             (MlirValue[]){ir_add_i(ir, p.args[0], c.less), ir_add_i(ir, p.args[1], c.before), ir_add_i(ir, p.args[2], c.through)});
  counts all = {sum_of_lanes(e, p.args[0]), sum_of_lanes(e, p.args[1]), sum_of_lanes(e, p.args[2])};
  ir_if_begin(ir, &first, ir_compare_i(ir, IR_EQ, task->lane, zero), none);
  put_row(e, task, t, &all);
  cuda_if_end(e, &first);
  cuda_if_end(e, &real);
}

const hmoec_cuda_step hmoec_cuda_set_steps[] = {
    {"hmoe_sets_token", THREADS, 0, emit_token},
    {"hmoe_sets_few", THREADS, SHARED_BYTES, emit_few},
    {"hmoe_sets_once", THREADS, ONCE_BYTES, emit_once},
    {"hmoe_sets_sort", THREADS, 0, emit_sort},
    {"hmoe_sets_place", THREADS, 0, emit_place},
    {"hmoe_sets_block", THREADS, SHARED_BYTES, put_groups},
    {NULL, 0, 0, NULL},
};
