/* LOOP over groups: which of a chunk's groups are to be generated, and where. The host knows how many there may be, these how many there are.
 *
 *   hmoe_loop_find    CACHED: a warp a group of the chunk: found[i] = the slot that has its set, or -1
 *   hmoe_loop_chunk   in one block of threads: slots for groups that have none, what is to be generated, and the chunk's blocks
 * dims: first group, chunk, top_k, slots (GROUPS: 0). buffers as the step's bindings, then a cache's book (abi_cuda.h).
 *
 * A cache's slots are taken in a circle. One that the chunk uses is passed; one that was used since it was passed last, is passed once more. Which are taken
 * depends on the runs before and nothing else. */
#include <stddef.h>

#include "target/cuda/cuda.h"

enum { THREADS = 256, WARPS = THREADS / CUDA_WARP, FIRST = 0, CHUNK, TOP_K, SLOTS, SHARED_BYTES = WARPS * 4, MOST_HALVES = 32 };

static const MlirType none = {NULL};
static const MlirValue nothing = {NULL};

typedef struct chunk {
  hmoec_cuda_emitter *e;
  ir_builder *ir;
  const hmoec_cuda_task *task;
  MlirValue blocks;
  MlirValue first, groups; /* groups [first, first + groups) of the run are the chunk's */
  MlirValue top_k, slots, cached;
  MlirValue stamps, found, keys, now;
  MlirValue zero, one;
} chunk;

static MlirValue header_field(const chunk *c, size_t offset) {
  return ir_extend(c->ir, cuda_i32(c->e, c->blocks, ir_i64(c->ir, (int64_t)offset / 4)));
}

static MlirValue stamp_at(const chunk *c, MlirValue slot) { return ir_at(c->ir, c->stamps, c->ir->i64, slot); }

static chunk chunk_of(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  chunk c = {.e = e, .ir = ir, .task = task, .zero = ir_i64(ir, 0), .one = ir_i64(ir, 1)};
  c.blocks = cuda_binding(e, task, HMOE_BIND_LOOP_BLOCKS);
  c.first = cuda_dim(e, task, FIRST);
  c.top_k = cuda_dim(e, task, TOP_K);
  c.slots = cuda_dim(e, task, SLOTS);
  c.cached = ir_compare_i(ir, IR_GT, c.slots, c.zero);
  c.keys = cuda_binding(e, task, HMOE_CUDA_LOOP_KEYS);
  c.stamps = cuda_binding(e, task, HMOE_CUDA_LOOP_STAMPS);
  c.found = cuda_binding(e, task, HMOE_CUDA_LOOP_FOUND);
  MlirValue left = ir_sub_i(ir, header_field(&c, offsetof(hmoe_blocks, groups)), c.first);
  c.groups = ir_max_i(ir, ir_min_i(ir, left, cuda_dim(e, task, CHUNK)), c.zero);
  ir_branch cached;
  ir_if_begin(ir, &cached, c.cached, ir->i64);
  ir_if_else(ir, &cached, ir_add_i(ir, ir_load(ir, ir->i64, stamp_at(&c, c.slots), 8), c.one));
  c.now = ir_if_end(ir, &cached, c.zero);
  return c;
}

/* The set of group i of the chunk; set `number` of a list of sets. */
static MlirValue set_at(const chunk *c, MlirValue sets, MlirValue number) {
  return ir_at(c->ir, sets, c->ir->i32, ir_mul_i(c->ir, number, c->top_k));
}
static MlirValue set_of(const chunk *c, MlirValue i) {
  return set_at(c, cuda_binding(c->e, c->task, HMOE_BIND_LOOP_SETS), ir_add_i(c->ir, c->first, i));
}

static void emit_find(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  chunk c = chunk_of(e, task);
  ir_builder *ir = &e->ir;
  MlirValue i = ir_add_i(ir, ir_mul_i(ir, task->task, ir_i64(ir, WARPS)), task->warp), no = ir_i64(ir, -1);
  ir_branch real, lane, hit;
  ir_loop s;
  ir_if_begin(ir, &real, ir_compare_i(ir, IR_LT, i, c.groups), none);
  MlirValue set = set_of(&c, i);
  ir_for_begin(ir, &s, task->lane, c.slots, CUDA_WARP, 1, &no);
  MlirValue same = cuda_same_set(e, set_at(&c, c.keys, s.index), set, c.top_k);
  ir_for_end(ir, &s, (MlirValue[]){ir_select(ir, same, s.index, s.args[0])});
  MlirValue slot = cuda_reduce(e, CUDA_MAX_I, ir_truncate(ir, s.args[0]));
  ir_if_begin(ir, &lane, ir_compare_i(ir, IR_EQ, task->lane, c.zero), none);
  cuda_put(e, c.found, i, slot);
  ir_if_begin(ir, &hit, ir_compare_i(ir, IR_GE, slot, ir_i32(ir, 0)), none);
  ir_store(ir, c.now, stamp_at(&c, ir_extend(ir, slot)), 8);
  cuda_if_end(e, &hit);
  cuda_if_end(e, &lane);
  cuda_if_end(e, &real);
}

static MlirValue block_field(const chunk *c, MlirValue number, size_t offset) {
  return ir_extend(c->ir, cuda_i32(c->e, cuda_block_at(c->e, c->blocks, number), ir_i64(c->ir, (int64_t)offset / 4)));
}

/* The first of blocks [low, high), which are in the order of their groups, that is of `group` or a later one; high: there is none. */
static MlirValue first_block_of(const chunk *c, MlirValue low, MlirValue high, MlirValue group) {
  ir_builder *ir = c->ir;
  ir_loop i; /* halves an interval */
  ir_for_begin(ir, &i, c->zero, ir_i64(ir, MOST_HALVES), 1, 2, (MlirValue[]){low, high});
  MlirValue middle = ir_div_i(ir, ir_add_i(ir, i.args[0], i.args[1]), ir_i64(ir, 2));
  ir_branch open;
  ir_if_begin(ir, &open, ir_compare_i(ir, IR_LT, i.args[0], i.args[1]), ir->i1);
  MlirValue before = ir_compare_i(ir, IR_LT, block_field(c, middle, offsetof(hmoe_block, group)), group);
  ir_if_else(ir, &open, before);
  MlirValue above = ir_if_end(ir, &open, ir_compare_i(ir, IR_NE, c->zero, c->zero));
  ir_for_end(ir, &i,
             (MlirValue[]){ir_select(ir, above, ir_add_i(ir, middle, c->one), i.args[0]), ir_select(ir, above, i.args[1], middle)});
  return i.args[0];
}

/* 1 where group i of the chunk is there and has no slot, else 0. */
static MlirValue lacks_slot(const chunk *c, MlirValue i) {
  ir_builder *ir = c->ir;
  ir_branch real, cached;
  ir_if_begin(ir, &real, ir_compare_i(ir, IR_LT, i, c->groups), ir->i64);
  ir_if_begin(ir, &cached, c->cached, ir->i64);
  MlirValue empty = ir_compare_i(ir, IR_LT, cuda_i32(c->e, c->found, i), ir_i32(ir, 0));
  ir_if_else(ir, &cached, ir_select(ir, empty, c->one, c->zero));
  MlirValue lacks = ir_if_end(ir, &cached, c->one);
  ir_if_else(ir, &real, lacks);
  return ir_if_end(ir, &real, c->zero);
}

/* How many groups of the chunk have no slot. */
static MlirValue count_missing(const chunk *c) {
  ir_builder *ir = c->ir;
  ir_loop g;
  ir_for_begin(ir, &g, c->zero, c->groups, THREADS, 1, &c->zero);
  MlirValue lacks = lacks_slot(c, ir_add_i(ir, g.index, c->task->thread)), before, all;
  cuda_prefix_sums(c->e, c->task, THREADS, 1, &lacks, &before, &all);
  ir_for_end(ir, &g, (MlirValue[]){ir_add_i(ir, g.args[0], all)});
  return g.args[0];
}

/* taken[0 .. wanted) = the slots that are next in the circle, which goes round twice at most: all that the chunk does not use were passed then. */
static void take_slots(const chunk *c, MlirValue wanted) {
  ir_builder *ir = c->ir;
  MlirValue round = ir_add_i(ir, c->slots, ir_i64(ir, THREADS - 1));
  round = ir_mul_i(ir, ir_div_i(ir, round, ir_i64(ir, THREADS)), ir_i64(ir, THREADS));
  MlirValue hand = ir_at_constant(ir, stamp_at(c, c->slots), ir->i64, 1);
  MlirValue start = ir_add_i(ir, ir_load(ir, ir->i64, hand, 8), c->one);
  ir_loop p, once;
  ir_for_begin(ir, &p, c->zero, ir_add_i(ir, round, round), THREADS, 1, &c->zero);
  MlirValue open = ir_compare_i(ir, IR_LT, p.args[0], wanted);
  ir_for_begin(ir, &once, c->zero, ir_select(ir, open, c->one, c->zero), 1, 1, &p.args[0]);
  MlirValue at = ir_add_i(ir, ir_rem_i(ir, p.index, round), c->task->thread), left = ir_sub_i(ir, wanted, p.args[0]);
  MlirValue slot = ir_rem_i(ir, ir_add_i(ir, start, at), c->slots);
  ir_branch real, take, last, pass;
  ir_if_begin(ir, &real, ir_compare_i(ir, IR_LT, at, c->slots), ir->i64);
  ir_if_else(ir, &real, ir_load(ir, ir->i64, stamp_at(c, slot), 8));
  MlirValue stamp = ir_if_end(ir, &real, c->now), free = ir_compare_i(ir, IR_LT, stamp, c->zero);
  MlirValue counted = ir_select(ir, free, c->one, c->zero), before, all;
  cuda_prefix_sums(c->e, c->task, THREADS, 1, &counted, &before, &all);
  MlirValue reached = ir_compare_i(ir, IR_LT, before, left);
  ir_if_begin(ir, &take, ir_and(ir, reached, free), none);
  cuda_put(c->e, cuda_binding(c->e, c->task, HMOE_CUDA_LOOP_TAKEN), ir_add_i(ir, p.args[0], before), ir_truncate(ir, slot));
  ir_store(ir, c->now, stamp_at(c, slot), 8);
  ir_if_begin(ir, &last, ir_compare_i(ir, IR_EQ, ir_add_i(ir, before, c->one), left), none);
  ir_store(ir, slot, hand, 8);
  cuda_if_end(c->e, &last);
  ir_if_else(ir, &take, nothing);
  ir_if_begin(ir, &pass, ir_and(ir, reached, ir_compare_i(ir, IR_NE, stamp, c->now)), none);
  ir_store(ir, ir_i64(ir, -1), stamp_at(c, slot), 8);
  cuda_if_end(c->e, &pass);
  ir_if_end(ir, &take, nothing);
  ir_for_end(ir, &once, (MlirValue[]){ir_add_i(ir, p.args[0], all)});
  ir_for_end(ir, &p, &once.args[0]);
}

static void put_set(const chunk *c, MlirValue sets, MlirValue number, MlirValue set) {
  ir_builder *ir = c->ir;
  ir_branch unwanted;
  ir_loop m;
  ir_if_begin(ir, &unwanted, cuda_is_null(c->e, sets), none);
  ir_if_else(ir, &unwanted, nothing);
  ir_for_begin(ir, &m, c->zero, c->top_k, 1, 0, NULL);
  cuda_put(c->e, set_at(c, sets, number), m.index, cuda_i32(c->e, set, m.index));
  ir_for_end(ir, &m, NULL);
  ir_if_end(ir, &unwanted, nothing);
}

/* list[number] = value, where there is such a list. */
static void put_todo(const chunk *c, uint32_t binding, MlirValue number, MlirValue value) {
  MlirValue list = cuda_binding(c->e, c->task, binding);
  ir_branch unwanted;
  ir_if_begin(c->ir, &unwanted, cuda_is_null(c->e, list), none);
  ir_if_else(c->ir, &unwanted, nothing);
  cuda_put(c->e, list, number, ir_truncate(c->ir, value));
  ir_if_end(c->ir, &unwanted, nothing);
}

/* The first token of a group: its blocks are among [low, high). */
static void put_token(const chunk *c, MlirValue number, MlirValue low, MlirValue high, MlirValue group) {
  MlirValue row_token = cuda_binding(c->e, c->task, HMOE_BIND_LOOP_ROW_TOKEN);
  ir_branch unwanted;
  ir_if_begin(c->ir, &unwanted, cuda_is_null(c->e, cuda_binding(c->e, c->task, HMOE_BIND_LOOP_TODO_TOKEN)), none);
  ir_if_else(c->ir, &unwanted, nothing);
  MlirValue row = block_field(c, first_block_of(c, low, high, group), offsetof(hmoe_block, row));
  put_todo(c, HMOE_BIND_LOOP_TODO_TOKEN, number, ir_extend(c->ir, cuda_i32(c->e, row_token, row)));
  ir_if_end(c->ir, &unwanted, nothing);
}

/* Every group gets its slot: of a cache in found[], else its number. */
static void give_slots(const chunk *c, MlirValue low, MlirValue high) {
  ir_builder *ir = c->ir;
  ir_loop g;
  ir_branch todo, cached;
  ir_for_begin(ir, &g, c->zero, c->groups, THREADS, 1, &c->zero);
  MlirValue i = ir_add_i(ir, g.index, c->task->thread), lacks = lacks_slot(c, i), before, all;
  cuda_prefix_sums(c->e, c->task, THREADS, 1, &lacks, &before, &all);
  MlirValue number = ir_add_i(ir, g.args[0], before);
  ir_if_begin(ir, &todo, ir_compare_i(ir, IR_GT, lacks, c->zero), none);
  MlirValue set = set_of(c, i);
  ir_if_begin(ir, &cached, c->cached, ir->i64);
  MlirValue taken = cuda_i32(c->e, cuda_binding(c->e, c->task, HMOE_CUDA_LOOP_TAKEN), number);
  cuda_put(c->e, c->found, i, taken);
  put_set(c, c->keys, ir_extend(ir, taken), set);
  ir_if_else(ir, &cached, ir_extend(ir, taken));
  MlirValue slot = ir_if_end(ir, &cached, i);
  put_todo(c, HMOE_BIND_LOOP_TODO_SLOT, number, slot);
  put_set(c, cuda_binding(c->e, c->task, HMOE_BIND_LOOP_TODO_SETS), number, set);
  put_token(c, number, low, high, ir_add_i(ir, c->first, i));
  cuda_if_end(c->e, &todo);
  ir_for_end(ir, &g, (MlirValue[]){ir_add_i(ir, g.args[0], all)});
}

/* Blocks [low, high) are of slots from now on. */
static void name_slots(const chunk *c, MlirValue low, MlirValue high) {
  ir_builder *ir = c->ir;
  ir_loop b;
  ir_branch cached;
  ir_for_begin(ir, &b, ir_add_i(ir, low, c->task->thread), high, THREADS, 0, NULL);
  MlirValue i = ir_sub_i(ir, block_field(c, b.index, offsetof(hmoe_block, group)), c->first);
  ir_if_begin(ir, &cached, c->cached, ir->i32);
  ir_if_else(ir, &cached, cuda_i32(c->e, c->found, i));
  MlirValue slot = ir_if_end(ir, &cached, ir_truncate(ir, i));
  cuda_put(c->e, cuda_block_at(c->e, c->blocks, b.index), ir_i64(ir, offsetof(hmoe_block, group) / 4), slot);
  ir_for_end(ir, &b, NULL);
}

/* What the first thread has to say of the chunk; nobody reads it any more. */
static void end_chunk(const chunk *c, MlirValue low, MlirValue high, MlirValue all, MlirValue missing) {
  ir_builder *ir = c->ir;
  const struct {
    size_t at;
    MlirValue value;
  } fields[] = {{offsetof(hmoe_blocks, first), low},
                {offsetof(hmoe_blocks, count), high},
                {offsetof(hmoe_blocks, all), all},
                {offsetof(hmoe_blocks, todo), missing}};
  ir_branch one, cached;
  ir_if_begin(ir, &one, ir_compare_i(ir, IR_EQ, c->task->thread, c->zero), none);
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
    cuda_put(c->e, c->blocks, ir_i64(ir, (int64_t)fields[i].at / 4), ir_truncate(ir, fields[i].value));
  ir_if_begin(ir, &cached, c->cached, none);
  ir_store(ir, c->now, stamp_at(c, c->slots), 8);
  cuda_if_end(c->e, &cached);
  cuda_if_end(c->e, &one);
}

static void emit_chunk(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  chunk c = chunk_of(e, task);
  ir_builder *ir = &e->ir;
  MlirValue begins = ir_compare_i(ir, IR_EQ, c.first, c.zero), count = header_field(&c, offsetof(hmoe_blocks, count));
  MlirValue low = ir_select(ir, begins, c.zero, count),
            all = ir_select(ir, begins, count, header_field(&c, offsetof(hmoe_blocks, all)));
  MlirValue high = first_block_of(&c, low, all, ir_add_i(ir, c.first, c.groups)), missing = count_missing(&c);
  ir_branch cached;
  ir_if_begin(ir, &cached, c.cached, none);
  take_slots(&c, missing);
  cuda_if_end(e, &cached);
  give_slots(&c, low, all);
  cuda_barrier(e);
  name_slots(&c, low, high);
  end_chunk(&c, low, high, all, missing);
}

const hmoec_cuda_step hmoec_cuda_loop_steps[] = {
    {"hmoe_loop_find", THREADS, 0, emit_find},
    {"hmoe_loop_chunk", THREADS, SHARED_BYTES, emit_chunk},
    {NULL, 0, 0, NULL},
};
