/* GROUP: the same code for every model, its sizes in the call. Nothing is read by the host, and what is written does not depend on the order in which
 * blocks run. One to three launches of a block an expert, in chunks of 256 rows (token, slot):
 *
 *   hmoe_group_once     without a capacity: every block counts the rows of all experts; then as hmoe_group_write
 *   hmoe_group_count    with one: kept and dropped rows of the expert
 *   hmoe_group_write    where its rows and blocks begin, from the counts of those before it; then each row goes behind the earlier ones of its expert
 *   hmoe_group_history  the experts of this run's rows, behind those of earlier ones
 * Few tokens' rows, without a capacity, are grouped by the block of threads that has chosen their experts (route.c), and there is no launch.
 * A row is kept while fewer than `capacity` rows of its expert come before it in its scope, those of earlier runs included.
 *
 * buffers as the bindings of the step; dims: below. include/hmoe/abi.h has the step, runtime/cpu/group.c the same in plain loops. */
#include <stdio.h>

#include "target/cuda/cuda.h"

enum { THREADS = 256, WARPS = THREADS / CUDA_WARP };

/* call.dims; call.rows is the rows. */
enum { EXPERTS, TOP_K, CAPACITY, ROW_BLOCK, SCOPE_ROWS, PAST_ROWS, HISTORY_STRIDE, DIMS };
_Static_assert((int)DIMS <= (int)HMOE_CUDA_DIMS_MAX, "a step's dims");

static const MlirType none = {NULL};
static const MlirValue nothing = {NULL};

typedef struct grouping {
  hmoec_cuda_emitter *e;
  const hmoec_cuda_task *task;
  MlirValue dims[DIMS];
  MlirValue indices, gates, blocks, row_token, row_slot, row_gate, counters,
      history; /* gates, row_slot, row_gate, history may be 0 */
  MlirValue expert, zero, one;
} grouping;

static grouping grouping_begin(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  grouping g = {.e = e, .task = task, .zero = ir_i64(&e->ir, 0), .one = ir_i64(&e->ir, 1), .expert = task->task};
  for (int i = 0; i < DIMS; i++) g.dims[i] = cuda_dim(e, task, i);
  g.indices = cuda_binding(e, task, HMOE_BIND_GROUP_INDICES);
  g.gates = cuda_binding(e, task, HMOE_BIND_GROUP_GATES);
  g.blocks = cuda_binding(e, task, HMOE_BIND_GROUP_BLOCKS);
  g.row_token = cuda_binding(e, task, HMOE_BIND_GROUP_ROW_TOKEN);
  g.row_slot = cuda_binding(e, task, HMOE_BIND_GROUP_ROW_SLOT);
  g.row_gate = cuda_binding(e, task, HMOE_BIND_GROUP_ROW_GATE);
  g.counters = cuda_binding(e, task, HMOE_BIND_GROUP_COUNTERS);
  g.history = cuda_binding(e, task, HMOE_BIND_GROUP_HISTORY);
  return g;
}

/* The expert of an element of indices or of the history; one out of range is 0. */
static MlirValue expert_at(grouping *g, MlirValue base, MlirValue i) {
  ir_builder *ir = &g->e->ir;
  MlirValue index = ir_extend(ir, cuda_i32(g->e, base, i));
  MlirValue inside = ir_and(ir, ir_compare_i(ir, IR_GE, index, g->zero), ir_compare_i(ir, IR_LT, index, g->dims[EXPERTS]));
  return ir_select(ir, inside, index, g->zero);
}

static MlirValue number(ir_builder *ir, MlirValue i1) { return ir_select(ir, i1, ir_i64(ir, 1), ir_i64(ir, 0)); }

static MlirValue to_i64(ir_builder *ir, MlirValue i32) { return ir_extend(ir, i32); }

/* a / b of what 32 bits hold, in which a GPU divides much faster. */
static MlirValue quotient(grouping *g, MlirValue a, MlirValue b) {
  ir_builder *ir = &g->e->ir;
  return ir_extend(ir, ir_div_i(ir, ir_truncate(ir, a), ir_truncate(ir, b)));
}

static MlirValue bits_of(ir_builder *ir, MlirValue i32) {
  return ir_op(ir, "llvm.intr.ctpop", ir->i32, 1, &i32, NULL, (MlirAttribute){NULL});
}

/* How often threads of the block before this one say yes, and *out_all how often all do; each has `count` votes. Words of shared memory from `at` on are used, one a
 * warp, and again only behind a barrier: two prefixes with words of their own, by turns, are one for each other. All come. */
static MlirValue prefix_of(grouping *g, const MlirValue *yes, int count, MlirValue at, MlirValue *out_all) {
  ir_builder *ir = &g->e->ir;
  MlirValue mine = ir_i32(ir, 0), whole = mine, lower = ir_intrinsic(ir, "llvm.nvvm.read.ptx.sreg.lanemask.lt", ir->i32, 0, NULL);
  for (int i = 0; i < count; i++) {
    MlirValue votes = ir_intrinsic(ir, "llvm.nvvm.vote.ballot.sync", ir->i32, 2, (MlirValue[]){ir_i32(ir, -1), yes[i]});
    MlirValue before = ir_and(ir, votes, lower);
    mine = ir_add_i(ir, mine, bits_of(ir, before));
    whole = ir_add_i(ir, whole, bits_of(ir, votes));
  }
  MlirValue sums = ir_at(ir, cuda_shared(g->e, 0), ir->i8, at);
  ir_branch first;
  ir_if_begin(ir, &first, ir_compare_i(ir, IR_EQ, g->task->lane, g->zero), none);
  cuda_put(g->e, sums, g->task->warp, whole);
  cuda_if_end(g->e, &first);
  cuda_barrier(g->e);
  MlirValue sum = to_i64(ir, mine), all = g->zero;
  for (int64_t w = 0; w < WARPS; w++) {
    MlirValue votes = to_i64(ir, cuda_i32(g->e, sums, ir_i64(ir, w)));
    MlirValue earlier = ir_compare_i(ir, IR_LT, ir_i64(ir, w), g->task->warp);
    sum = ir_add_i(ir, sum, ir_select(ir, earlier, votes, g->zero));
    all = ir_add_i(ir, all, votes);
  }
  *out_all = all;
  return sum;
}

static MlirValue prefix(grouping *g, MlirValue yes, MlirValue at, MlirValue *out_all) { return prefix_of(g, &yes, 1, at, out_all); }

/* Rows of this expert among earlier runs' rows of a row's scope. */
static MlirValue count_history(grouping *g, MlirValue row) {
  ir_builder *ir = &g->e->ir;
  ir_branch has;
  ir_if_begin(ir, &has, cuda_is_null(g->e, g->history), ir->i64);
  ir_if_else(ir, &has, g->zero);
  MlirValue begin = ir_mul_i(ir, ir_div_i(ir, row, g->dims[SCOPE_ROWS]), g->dims[HISTORY_STRIDE]);
  ir_loop h;
  ir_for_begin(ir, &h, g->zero, g->dims[PAST_ROWS], 1, 1, &g->zero);
  MlirValue same = ir_compare_i(ir, IR_EQ, expert_at(g, g->history, ir_add_i(ir, begin, h.index)), g->expert);
  ir_for_end(ir, &h, (MlirValue[]){ir_add_i(ir, h.args[0], number(ir, same))});
  return ir_if_end(ir, &has, h.args[0]);
}

/* Shared memory: a word a warp, twice; then the expert's rows before each of the chunk's, and before its end. */
enum { SUMS_BYTES = WARPS * 4, PREFIX_AT = 2 * SUMS_BYTES, SHARED_BYTES = PREFIX_AT + (THREADS + 1) * 4 };
/* Behind it, of hmoe_group_once: kept rows of all experts, and dropped ones, of which there are none. */
enum { COUNTERS_AT = SHARED_BYTES, ONCE_BYTES = COUNTERS_AT + 2 * HMOE_CUDA_GROUP_EXPERTS * 4 };

/* What a chunk knows of this thread's row. */
typedef struct chunk_row {
  MlirValue row, is_mine, keeps; /* i64; i1: there is such a row, and it is this expert's; i1: and is kept */
  MlirValue kept_before, dropped_before; /* of this expert, in earlier chunks and in this one */
  MlirValue token, gate; /* null: not known yet */
} chunk_row;

static MlirValue gate_of(grouping *g, MlirValue row) {
  ir_builder *ir = &g->e->ir;
  ir_branch gated;
  ir_if_begin(ir, &gated, cuda_is_null(g->e, g->gates), ir->f32);
  ir_if_else(ir, &gated, ir_f32(ir, 1.0f));
  return ir_if_end(ir, &gated, cuda_f32(g->e, g->gates, row));
}

enum { AT_ONCE = 4 }; /* rows of a thread, which are loaded together */

/* Rows begin + i * step that there are, and their experts. */
static void load_rows(grouping *g, MlirValue begin, int64_t step, MlirValue rows[AT_ONCE], MlirValue real[AT_ONCE],
                      MlirValue experts[AT_ONCE]) {
  ir_builder *ir = &g->e->ir;
  MlirValue last = ir_sub_i(ir, g->task->rows, g->one);
  for (int64_t i = 0; i < AT_ONCE; i++) {
    rows[i] = ir_add_i(ir, begin, ir_i64(ir, i * step));
    real[i] = ir_compare_i(ir, IR_LE, rows[i], last);
    experts[i] = expert_at(g, g->indices, ir_min_i(ir, rows[i], last));
  }
}

/* Without a capacity, in chunks of 1024 rows: use(row). All threads come. */
static void each_kept_row(grouping *g, void (*use)(grouping *g, const chunk_row *row, void *user), void *user) {
  ir_builder *ir = &g->e->ir;
  MlirValue rows[AT_ONCE], mine[AT_ONCE], experts[AT_ONCE], gates[AT_ONCE], all,
      own = ir_mul_i(ir, g->task->thread, ir_i64(ir, AT_ONCE));
  ir_loop c; /* carries the expert's rows, and which words of shared memory are the prefix's */
  ir_for_begin(ir, &c, g->zero, g->task->rows, THREADS * AT_ONCE, 2, (MlirValue[]){g->zero, g->zero});
  load_rows(g, ir_add_i(ir, c.index, own), 1, rows, mine, experts);
  MlirValue token = quotient(g, rows[0], g->dims[TOP_K]), slot = ir_sub_i(ir, rows[0], ir_mul_i(ir, token, g->dims[TOP_K]));
  for (int i = 0; i < AT_ONCE; i++) {
    gates[i] = gate_of(g, ir_select(ir, mine[i], rows[i], g->zero));
    mine[i] = ir_and(ir, mine[i], ir_compare_i(ir, IR_EQ, experts[i], g->expert));
  }
  MlirValue before = ir_add_i(ir, c.args[0], prefix_of(g, mine, AT_ONCE, c.args[1], &all));
  for (int i = 0; i < AT_ONCE; i++) {
    chunk_row r = {.row = rows[i],
                   .is_mine = mine[i],
                   .keeps = mine[i],
                   .kept_before = before,
                   .dropped_before = g->zero,
                   .token = token,
                   .gate = gates[i]};
    use(g, &r, user);
    slot = ir_add_i(ir, slot, g->one);
    MlirValue ends = ir_compare_i(ir, IR_EQ, slot, g->dims[TOP_K]); /* the next row is the next token's first */
    token = ir_select(ir, ends, ir_add_i(ir, token, g->one), token);
    slot = ir_select(ir, ends, g->zero, slot);
    before = ir_add_i(ir, before, number(ir, mine[i]));
  }
  ir_for_end(ir, &c, (MlirValue[]){ir_add_i(ir, c.args[0], all), ir_sub_i(ir, ir_i64(ir, SUMS_BYTES), c.args[1])});
}

/* For every chunk: use(row). The rows of this expert that are kept, and that are dropped. All threads come. */
static void each_row(grouping *g, void (*use)(grouping *g, const chunk_row *row, void *user), void *user, MlirValue *out_kept,
                     MlirValue *out_dropped) {
  ir_builder *ir = &g->e->ir;
  MlirValue width = ir_i64(ir, THREADS), rows = g->task->rows, capacity = g->dims[CAPACITY], scope = g->dims[SCOPE_ROWS];
  MlirValue counts = cuda_shared(g->e, PREFIX_AT);
  ir_loop c; /* carries kept, dropped, and the expert's rows before the scope that the chunk begins in */
  ir_for_begin(ir, &c, g->zero, rows, THREADS, 3, (MlirValue[]){g->zero, g->zero, g->zero});
  chunk_row r = {.row = ir_add_i(ir, c.index, g->task->thread)};
  MlirValue carried = ir_add_i(ir, c.args[0], c.args[1]), all_mine, all_kept;
  ir_branch real;
  ir_if_begin(ir, &real, ir_compare_i(ir, IR_LT, r.row, rows), ir->i1);
  ir_if_else(ir, &real, ir_compare_i(ir, IR_EQ, expert_at(g, g->indices, r.row), g->expert));
  r.is_mine = ir_if_end(ir, &real, ir_compare_i(ir, IR_NE, g->zero, g->zero));
  MlirValue before = ir_add_i(ir, carried, prefix(g, r.is_mine, g->zero, &all_mine)), total = ir_add_i(ir, carried, all_mine);
  cuda_put(g->e, counts, g->task->thread, ir_truncate(ir, before));
  ir_branch last;
  ir_if_begin(ir, &last, ir_compare_i(ir, IR_EQ, g->task->thread, g->zero), none);
  cuda_put(g->e, counts, width, ir_truncate(ir, total));
  cuda_if_end(g->e, &last);
  cuda_barrier(g->e);

  /* The rank of a row in its scope: what is before it, less what is before the scope, and what the history has. */
  MlirValue start = ir_sub_i(ir, r.row, ir_rem_i(ir, r.row, scope));
  ir_branch limited, within;
  ir_if_begin(ir, &limited, ir_and(ir, r.is_mine, ir_compare_i(ir, IR_NE, capacity, g->zero)), ir->i1);
  ir_if_begin(ir, &within, ir_compare_i(ir, IR_GE, start, c.index), ir->i64);
  MlirValue inside = to_i64(ir, cuda_i32(g->e, counts, ir_sub_i(ir, start, c.index)));
  ir_if_else(ir, &within, inside);
  MlirValue before_scope = ir_if_end(ir, &within, c.args[2]);
  MlirValue rank = ir_add_i(ir, ir_sub_i(ir, before, before_scope), count_history(g, r.row));
  ir_if_else(ir, &limited, ir_compare_i(ir, IR_LT, rank, capacity));
  r.keeps = ir_if_end(ir, &limited, r.is_mine);
  r.kept_before = ir_add_i(ir, c.args[0], prefix(g, r.keeps, ir_i64(ir, SUMS_BYTES), &all_kept));
  r.dropped_before = ir_sub_i(ir, before, r.kept_before);
  if (use) use(g, &r, user);

  /* The scope that the next chunk begins in. */
  MlirValue next = ir_add_i(ir, c.index, width), next_start = ir_sub_i(ir, next, ir_rem_i(ir, next, scope));
  ir_if_begin(ir, &within, ir_compare_i(ir, IR_GE, next_start, c.index), ir->i64);
  MlirValue counted = to_i64(ir, cuda_i32(g->e, counts, ir_sub_i(ir, next_start, c.index)));
  ir_if_else(ir, &within, counted);
  MlirValue next_scope = ir_if_end(ir, &within, c.args[2]);
  MlirValue kept = ir_add_i(ir, c.args[0], all_kept);
  ir_for_end(ir, &c, (MlirValue[]){kept, ir_sub_i(ir, total, kept), next_scope});
  *out_kept = c.args[0];
  *out_dropped = c.args[1];
}

static void emit_count(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  grouping g = grouping_begin(e, task);
  MlirValue kept, dropped;
  each_row(&g, NULL, NULL, &kept, &dropped);
  ir_branch first;
  ir_if_begin(ir, &first, ir_compare_i(ir, IR_EQ, task->thread, g.zero), none);
  cuda_put(e, g.counters, g.expert, ir_truncate(ir, kept));
  cuda_put(e, g.counters, ir_add_i(ir, g.dims[EXPERTS], g.expert), ir_truncate(ir, dropped));
  cuda_if_end(e, &first);
}

/* ---- hmoe_group_write ---- */

static MlirValue blocks_of(grouping *g, MlirValue rows) {
  ir_builder *ir = &g->e->ir;
  MlirValue others = quotient(g, ir_sub_i(ir, rows, g->one), g->dims[ROW_BLOCK]);
  return ir_select(ir, ir_compare_i(ir, IR_EQ, rows, g->zero), g->zero, ir_add_i(ir, others, g->one));
}

typedef struct places {
  MlirValue first_row, first_dropped; /* of the expert */
} places;

/* A row goes behind the earlier ones of its expert. */
static void put_row(grouping *g, const chunk_row *r, void *user) {
  ir_builder *ir = &g->e->ir;
  const places *p = user;
  ir_branch mine, branch;
  ir_if_begin(ir, &mine, r->is_mine, none);
  MlirValue kept_at = ir_add_i(ir, p->first_row, r->kept_before), dropped_at = ir_add_i(ir, p->first_dropped, r->dropped_before);
  MlirValue to = ir_select(ir, r->keeps, kept_at, dropped_at);
  MlirValue token = mlirValueIsNull(r->token) ? quotient(g, r->row, g->dims[TOP_K]) : r->token;
  cuda_put(g->e, g->row_token, to, ir_truncate(ir, token));
  ir_if_begin(ir, &branch, cuda_is_null(g->e, g->row_slot), none);
  ir_if_else(ir, &branch, nothing);
  cuda_put(g->e, g->row_slot, to, ir_truncate(ir, r->row));
  ir_if_end(ir, &branch, nothing);
  ir_if_begin(ir, &branch, cuda_is_null(g->e, g->row_gate), none);
  ir_if_else(ir, &branch, nothing);
  MlirValue gate = mlirValueIsNull(r->gate) ? gate_of(g, r->row) : r->gate;
  cuda_put(g->e, g->row_gate, to, gate);
  ir_if_end(ir, &branch, nothing);
  cuda_if_end(g->e, &mine);
}

/* Blocks of rows [row, row + rows), of sizes that differ by one at most, from block `first` on. */
static void put_blocks(grouping *g, MlirValue first, MlirValue row, MlirValue rows, int32_t dropped) {
  ir_builder *ir = &g->e->ir;
  MlirValue count = blocks_of(g, rows);
  ir_loop b;
  ir_for_begin(ir, &b, g->task->thread, count, THREADS, 0, NULL);
  MlirValue begin = ir_div_i(ir, ir_mul_i(ir, rows, b.index), count);
  MlirValue end = ir_div_i(ir, ir_mul_i(ir, rows, ir_add_i(ir, b.index, g->one)), count);
  cuda_put_block(g->e, g->blocks, ir_add_i(ir, first, b.index), g->expert, ir_add_i(ir, row, begin), ir_sub_i(ir, end, begin),
                 dropped);
  ir_for_end(ir, &b, NULL);
}

/* Rows and blocks of the experts before this one, a thread an expert. */
static void count_before(grouping *g, MlirValue *out_rows, MlirValue *out_blocks) {
  ir_builder *ir = &g->e->ir;
  MlirValue before[2], all[2];
  ir_loop l;
  ir_for_begin(ir, &l, g->task->thread, g->expert, THREADS, 2, (MlirValue[]){g->zero, g->zero});
  MlirValue kept = to_i64(ir, cuda_i32(g->e, g->counters, l.index));
  MlirValue dropped = to_i64(ir, cuda_i32(g->e, g->counters, ir_add_i(ir, g->dims[EXPERTS], l.index)));
  MlirValue blocks = ir_add_i(ir, blocks_of(g, kept), blocks_of(g, dropped));
  ir_for_end(ir, &l, (MlirValue[]){ir_add_i(ir, l.args[0], ir_add_i(ir, kept, dropped)), ir_add_i(ir, l.args[1], blocks)});
  cuda_prefix_sums(g->e, g->task, THREADS, 2, l.args, before, all);
  *out_rows = all[0];
  *out_blocks = all[1];
}

/* With the counters of all experts known. once: there is no capacity. */
static void write_expert(grouping *g, bool once) {
  hmoec_cuda_emitter *e = g->e;
  ir_builder *ir = &e->ir;
  MlirValue experts = g->dims[EXPERTS], row, first_block, same_kept, same_dropped;
  count_before(g, &row, &first_block);
  MlirValue kept = to_i64(ir, cuda_i32(e, g->counters, g->expert));
  MlirValue dropped = to_i64(ir, cuda_i32(e, g->counters, ir_add_i(ir, experts, g->expert)));
  places p = {.first_row = row, .first_dropped = ir_add_i(ir, row, kept)};
  if (once) each_kept_row(g, put_row, &p);
  else each_row(g, put_row, &p, &same_kept, &same_dropped);
  MlirValue kept_blocks = blocks_of(g, kept), next_block = ir_add_i(ir, first_block, kept_blocks);
  put_blocks(g, first_block, row, kept, 0);
  if (!once) put_blocks(g, next_block, p.first_dropped, dropped, 1);

  /* The last expert knows how many there are. */
  MlirValue is_last = ir_compare_i(ir, IR_EQ, ir_add_i(ir, g->expert, g->one), experts);
  ir_branch header;
  ir_if_begin(ir, &header, is_last, none);
  cuda_put_blocks_header(e, g->task, g->blocks, ir_add_i(ir, next_block, blocks_of(g, dropped)), experts);
  cuda_if_end(e, &header);
}

static void emit_write(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  grouping g = grouping_begin(e, task);
  write_expert(&g, false);
}

static void emit_once(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  grouping g = grouping_begin(e, task);
  ir_loop i;
  g.counters = cuda_shared(e, COUNTERS_AT);
  ir_for_begin(ir, &i, task->thread, ir_add_i(ir, g.dims[EXPERTS], g.dims[EXPERTS]), THREADS, 0, NULL);
  cuda_put(e, g.counters, i.index, ir_i32(ir, 0));
  ir_for_end(ir, &i, NULL);
  cuda_barrier(e);
  MlirValue rows[AT_ONCE], real[AT_ONCE], experts[AT_ONCE];
  ir_for_begin(ir, &i, task->thread, task->rows, THREADS * AT_ONCE, 0, NULL);
  load_rows(&g, i.index, THREADS, rows, real, experts);
  for (int r = 0; r < AT_ONCE; r++) {
    ir_branch there;
    ir_if_begin(ir, &there, real[r], none);
    cuda_atomic_add(e, ir_at(ir, g.counters, ir->i32, experts[r]), ir_i32(ir, 1));
    cuda_if_end(e, &there);
  }
  ir_for_end(ir, &i, NULL);
  cuda_barrier(e);
  write_expert(&g, true);
}

/* A thread a row. */
static void emit_history(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  grouping g = grouping_begin(e, task);
  MlirValue scope = g.dims[SCOPE_ROWS];
  ir_branch real;
  MlirValue i = cuda_element_begin(e, task, THREADS, &real);
  MlirValue row = ir_mul_i(ir, ir_div_i(ir, i, scope), g.dims[HISTORY_STRIDE]);
  MlirValue at = ir_add_i(ir, ir_add_i(ir, row, g.dims[PAST_ROWS]), ir_rem_i(ir, i, scope));
  cuda_put(e, g.history, at, cuda_i32(e, g.indices, i));
  cuda_if_end(e, &real);
}

/* ---- of tokens whose experts one block of threads has chosen ---- */

enum { CHOSEN_SUMS_BYTES = 2 * CUDA_ROUTE_WARPS * 4, CHOSEN_MOST = HMOE_CUDA_GROUP_EXPERTS / CUDA_WARP /* rows of a thread */ };

/* Shared memory: what prefix sums need; then of each expert a bit a token that chose it, and of each where its rows begin. */
int64_t hmoec_cuda_chosen_shared_bytes(int64_t experts) { return CHOSEN_SUMS_BYTES + 2 * experts * 4; }

/* if grouping is wanted { */
static void wanted_begin(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, ir_branch *out_wanted) {
  ir_if_begin(&e->ir, out_wanted, cuda_is_null(e, cuda_binding(e, task, HMOE_CUDA_CHOSEN_BLOCKS)), none);
  ir_if_else(&e->ir, out_wanted, nothing);
}

void hmoec_cuda_chosen_begin(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, int64_t experts) {
  ir_builder *ir = &e->ir;
  ir_branch wanted;
  ir_loop i;
  wanted_begin(e, task, &wanted);
  ir_for_begin(ir, &i, task->thread, ir_i64(ir, experts), CUDA_ROUTE_THREADS, 0, NULL);
  cuda_put(e, cuda_shared(e, CHOSEN_SUMS_BYTES), i.index, ir_i32(ir, 0));
  ir_for_end(ir, &i, NULL);
  cuda_barrier(e);
  ir_if_end(ir, &wanted, nothing);
}

void hmoec_cuda_chosen(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, MlirValue token, int64_t count, const MlirValue *experts,
                       const MlirValue *chosen) {
  ir_builder *ir = &e->ir;
  MlirValue tokens = cuda_shared(e, CHOSEN_SUMS_BYTES);
  ir_branch wanted, branch;
  wanted_begin(e, task, &wanted);
  MlirValue bit = ir_shift_left(ir, ir_i32(ir, 1), ir_truncate(ir, token));
  for (int64_t i = 0; i < count; i++) {
    ir_if_begin(ir, &branch, chosen[i], none);
    cuda_atomic_add(e, ir_at(ir, tokens, ir->i32, ir_extend(ir, experts[i])), bit); /* no token chooses an expert twice */
    cuda_if_end(e, &branch);
  }
  ir_if_end(ir, &wanted, nothing);
}

/* Where each expert's rows begin, and its blocks are put, a thread an expert. The number of all blocks. */
static MlirValue put_all_blocks(grouping *g, MlirValue tokens, MlirValue firsts, int64_t experts) {
  ir_builder *ir = &g->e->ir;
  MlirValue all_experts = ir_i64(ir, experts), before[2], all[2];
  ir_loop c, b; /* carries rows and blocks of the experts before */
  ir_for_begin(ir, &c, g->zero, all_experts, CUDA_ROUTE_THREADS, 2, (MlirValue[]){g->zero, g->zero});
  MlirValue expert = ir_add_i(ir, c.index, g->task->thread), real = ir_compare_i(ir, IR_LT, expert, all_experts);
  MlirValue chose = cuda_i32(g->e, tokens, ir_min_i(ir, expert, ir_i64(ir, experts - 1)));
  MlirValue rows = ir_select(ir, real, to_i64(ir, bits_of(ir, chose)), g->zero), count = blocks_of(g, rows);
  cuda_prefix_sums(g->e, g->task, CUDA_ROUTE_THREADS, 2, (MlirValue[]){rows, count}, before, all);
  MlirValue row = ir_add_i(ir, c.args[0], before[0]), first = ir_add_i(ir, c.args[1], before[1]);
  ir_branch there;
  ir_if_begin(ir, &there, real, none);
  cuda_put(g->e, firsts, expert, ir_truncate(ir, row));
  ir_for_begin(ir, &b, g->zero, count, 1, 0, NULL);
  MlirValue begin = quotient(g, ir_mul_i(ir, rows, b.index), count);
  MlirValue end = quotient(g, ir_mul_i(ir, rows, ir_add_i(ir, b.index, g->one)), count);
  cuda_put_block(g->e, g->blocks, ir_add_i(ir, first, b.index), expert, ir_add_i(ir, row, begin), ir_sub_i(ir, end, begin), 0);
  ir_for_end(ir, &b, NULL);
  cuda_if_end(g->e, &there);
  ir_for_end(ir, &c, (MlirValue[]){ir_add_i(ir, c.args[0], all[0]), ir_add_i(ir, c.args[1], all[1])});
  return c.args[1];
}

void hmoec_cuda_group_chosen(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, int64_t experts, int64_t top_k) {
  ir_builder *ir = &e->ir;
  hmoec_cuda_task rows = *task;
  rows.rows = ir_mul_i(ir, task->rows, ir_i64(ir, top_k));
  grouping g = {.e = e,
                .task = &rows,
                .dims = {[EXPERTS] = ir_i64(ir, experts), [TOP_K] = ir_i64(ir, top_k), [ROW_BLOCK] = cuda_dim(e, task, 0)},
                .indices = cuda_binding(e, task, HMOE_CUDA_CHOSEN_INDICES),
                .gates = cuda_binding(e, task, HMOE_CUDA_CHOSEN_GATES),
                .blocks = cuda_binding(e, task, HMOE_CUDA_CHOSEN_BLOCKS),
                .row_token = cuda_binding(e, task, HMOE_CUDA_CHOSEN_ROW_TOKEN),
                .row_slot = cuda_binding(e, task, HMOE_CUDA_CHOSEN_ROW_SLOT),
                .row_gate = cuda_binding(e, task, HMOE_CUDA_CHOSEN_ROW_GATE),
                .zero = ir_i64(ir, 0),
                .one = ir_i64(ir, 1)};
  MlirValue tokens = cuda_shared(e, CHOSEN_SUMS_BYTES), firsts = cuda_shared(e, CHOSEN_SUMS_BYTES + experts * 4);
  chunk_row mine[CHOSEN_MOST];
  MlirValue of[CHOSEN_MOST], last = ir_sub_i(ir, rows.rows, g.one);
  int64_t count = (top_k * CUDA_ROUTE_WARPS + CUDA_ROUTE_THREADS - 1) / CUDA_ROUTE_THREADS;
  ir_branch wanted;
  wanted_begin(e, task, &wanted);
  cuda_barrier(e);
  for (int64_t i = 0; i < count; i++) { /* asked for before places are known */
    MlirValue row = ir_add_i(ir, task->thread, ir_i64(ir, i * CUDA_ROUTE_THREADS)), at = ir_min_i(ir, row, last);
    of[i] = expert_at(&g, g.indices, at);
    mine[i] = (chunk_row){
        .row = row, .is_mine = ir_compare_i(ir, IR_LE, row, last), .dropped_before = g.zero, .gate = cuda_f32(e, g.gates, at)};
    mine[i].keeps = mine[i].is_mine;
  }
  MlirValue blocks = put_all_blocks(&g, tokens, firsts, experts);
  cuda_put_blocks_header(e, &rows, g.blocks, blocks, g.dims[EXPERTS]);
  cuda_barrier(e);
  for (int64_t i = 0; i < count; i++) {
    mine[i].token = quotient(&g, mine[i].row, g.dims[TOP_K]);
    MlirValue earlier = ir_sub_i(ir, ir_shift_left(ir, ir_i32(ir, 1), ir_truncate(ir, mine[i].token)), ir_i32(ir, 1));
    MlirValue before = bits_of(ir, ir_and(ir, cuda_i32(e, tokens, of[i]), earlier));
    mine[i].kept_before = to_i64(ir, ir_add_i(ir, cuda_i32(e, firsts, of[i]), before));
    put_row(&g, &mine[i], &(places){g.zero, g.zero});
  }
  ir_if_end(ir, &wanted, nothing);
}

const hmoec_cuda_step hmoec_cuda_group_steps[] = {
    {"hmoe_group_once", THREADS, ONCE_BYTES, emit_once},
    {"hmoe_group_count", THREADS, SHARED_BYTES, emit_count},
    {"hmoe_group_write", THREADS, SHARED_BYTES, emit_write},
    {"hmoe_group_history", THREADS, 0, emit_history},
    {NULL, 0, 0, NULL},
};
