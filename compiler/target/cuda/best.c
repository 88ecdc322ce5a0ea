/* The largest of rows of logits: what generation samples from, when it needs no others.
 *
 *   hmoe_best    of each row those that reach its `wanted` largest, in their order      dims: columns, wanted, room
 * is no step of a plan, but asked for behind a run. A block a row; wanted < columns; buffers: f32 [rows][columns], and 32-bit words
 * [rows][count, room places, room values as f32]. count: of those there are, equal ones as the last among them, but never NaN nor -inf; it may be more than
 * room, and then the others are not written. Where there are fewer, places are -1 and values 0.
 *
 * The least of them is found by counting: two bits of its key at a time, from the top. Most elements are not looked at then: a block's threads have a part of the
 * row each, and as the `wanted` largest of their largest are elements, too, what is below the least of those is not among them. */
#include <float.h>
#include <math.h>

#include "target/cuda/cuda.h"

enum {
  THREADS = 256,
  DIGIT_BITS = 2,
  DIGITS = 1 << DIGIT_BITS,
  LEVELS = DIGITS - 1,
  ROUNDS = 32 / DIGIT_BITS,
  MOST_KEPT = 2048, /* keys that there is room for */
  LARGEST_AT = LEVELS * THREADS / CUDA_WARP * 4, /* behind what sums use */
  KEPT_AT = LARGEST_AT + THREADS * 4,
  SHARED_BYTES = KEPT_AT + MOST_KEPT * 4
};
enum { COLUMNS, WANTED, ROOM };

static const MlirType none = {NULL};

/* i32 that order as the values they stand for. */
typedef struct keys {
  MlirValue base, count;
  bool of_values; /* they are f32 */
} keys;

/* NaN is as -inf. */
static MlirValue key_at(hmoec_cuda_emitter *e, const keys *k, MlirValue i) {
  ir_builder *ir = &e->ir;
  if (!k->of_values) return cuda_i32(e, k->base, i);
  MlirValue x = cuda_f32(e, k->base, i);
  return ir_order_key(ir, ir_select(ir, ir_compare_f(ir, IR_EQ, x, x), x, ir_f32(ir, -INFINITY)));
}

static MlirValue one_if(hmoec_cuda_emitter *e, MlirValue condition) {
  return ir_select(&e->ir, condition, ir_i64(&e->ir, 1), ir_i64(&e->ir, 0));
}

/* The largest key that at least `wanted` keys reach; all threads come, and get it. Bits that are not fixed yet are 0, and so the key is no larger than
 * that; the sign is turned where bits are meant, as they order without one. */
static MlirValue find_least(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, const keys *k, MlirValue wanted) {
  ir_builder *ir = &e->ir;
  MlirValue sign = ir_i32(ir, INT32_MIN), zeros[LEVELS], levels[LEVELS], more[LEVELS], before[LEVELS], all[LEVELS];
  for (int j = 0; j < LEVELS; j++) zeros[j] = ir_i64(ir, 0);
  ir_loop round, i;
  ir_for_begin(ir, &round, ir_i64(ir, 0), ir_i64(ir, ROUNDS), 1, 1, &sign);
  MlirValue done = ir_mul_i(ir, round.index, ir_i64(ir, DIGIT_BITS));
  MlirValue shift = ir_truncate(ir, ir_sub_i(ir, ir_i64(ir, 32 - DIGIT_BITS), done));
  for (int j = 0; j < LEVELS; j++) levels[j] = ir_xor(ir, round.args[0], ir_shift_left(ir, ir_i32(ir, j + 1), shift));
  ir_for_begin(ir, &i, task->thread, k->count, THREADS, LEVELS, zeros);
  MlirValue key = key_at(e, k, i.index);
  for (int j = 0; j < LEVELS; j++) more[j] = ir_add_i(ir, i.args[j], one_if(e, ir_compare_i(ir, IR_GE, key, levels[j])));
  ir_for_end(ir, &i, more);
  cuda_prefix_sums(e, task, THREADS, LEVELS, i.args, before, all);
  MlirValue least = round.args[0];
  for (int j = 0; j < LEVELS; j++) least = ir_select(ir, ir_compare_i(ir, IR_GE, all[j], wanted), levels[j], least);
  ir_for_end(ir, &round, &least);
  return round.args[0];
}

/* How many of the keys from `begin` on, `step` apart, reach a bound. */
static MlirValue count_from(hmoec_cuda_emitter *e, const keys *k, MlirValue begin, MlirValue end, int64_t step, MlirValue bound) {
  ir_builder *ir = &e->ir;
  MlirValue zero = ir_i64(ir, 0);
  ir_loop i;
  ir_for_begin(ir, &i, begin, end, step, 1, &zero);
  MlirValue reaches = ir_compare_i(ir, IR_GE, key_at(e, k, i.index), bound);
  ir_for_end(ir, &i, (MlirValue[]){ir_add_i(ir, i.args[0], one_if(e, reaches))});
  return i.args[0];
}

/* A key that at least `wanted` elements of the row reach, and few others. */
static MlirValue find_bound(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, const keys *row, MlirValue wanted) {
  ir_builder *ir = &e->ir;
  MlirValue lowest = ir_i32(ir, INT32_MIN);
  const keys largest = {cuda_shared(e, LARGEST_AT), ir_i64(ir, THREADS), false};
  ir_loop i;
  ir_branch enough;
  ir_if_begin(ir, &enough, ir_compare_i(ir, IR_LE, wanted, largest.count), ir->i32);
  ir_for_begin(ir, &i, task->thread, row->count, THREADS, 1, &lowest);
  ir_for_end(ir, &i, (MlirValue[]){ir_max_i(ir, i.args[0], key_at(e, row, i.index))});
  cuda_put(e, largest.base, task->thread, i.args[0]);
  cuda_barrier(e);
  ir_if_else(ir, &enough, find_least(e, task, &largest, wanted));
  return ir_if_end(ir, &enough, lowest);
}

/* Of the row's keys that reach the bound, which are kept where there is room for them. */
static MlirValue find_threshold(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, const keys *row, MlirValue wanted) {
  ir_builder *ir = &e->ir;
  MlirValue bound = find_bound(e, task, row, wanted), before, all;
  MlirValue own = count_from(e, row, task->thread, row->count, THREADS, bound);
  cuda_prefix_sums(e, task, THREADS, 1, &own, &before, &all);
  keys kept = {cuda_shared(e, KEPT_AT), all, false};
  ir_loop i;
  ir_branch fits, reaches;
  ir_if_begin(ir, &fits, ir_compare_i(ir, IR_LE, all, ir_i64(ir, MOST_KEPT)), ir->i32);
  ir_for_begin(ir, &i, task->thread, row->count, THREADS, 1, &before);
  MlirValue key = key_at(e, row, i.index), is_kept = ir_compare_i(ir, IR_GE, key, bound);
  ir_if_begin(ir, &reaches, is_kept, none);
  cuda_put(e, kept.base, i.args[0], key);
  cuda_if_end(e, &reaches);
  ir_for_end(ir, &i, (MlirValue[]){ir_add_i(ir, i.args[0], one_if(e, is_kept))});
  cuda_barrier(e);
  ir_if_else(ir, &fits, find_least(e, task, &kept, wanted));
  return ir_if_end(ir, &fits, find_least(e, task, row, wanted));
}

/* The elements of a thread lie side by side here, so that all of them come in order. */
static void emit_best(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue columns = cuda_dim(e, task, COLUMNS), room = cuda_dim(e, task, ROOM), one = ir_i64(ir, 1), before, all;
  const keys row = {ir_at(ir, cuda_binding(e, task, 0), ir->f32, ir_mul_i(ir, task->task, columns)), columns, true};
  MlirValue words = ir_add_i(ir, one, ir_add_i(ir, room, room));
  MlirValue out = ir_at(ir, cuda_binding(e, task, 1), ir->i32, ir_mul_i(ir, task->task, words));
  MlirValue places = ir_at_constant(ir, out, ir->i32, 1), values = ir_at(ir, places, ir->i32, room);
  MlirValue least = ir_max_i(ir, find_threshold(e, task, &row, cuda_dim(e, task, WANTED)), ir_order_key(ir, ir_f32(ir, -FLT_MAX)));
  MlirValue part = ir_div_i(ir, ir_add_i(ir, columns, ir_i64(ir, THREADS - 1)), ir_i64(ir, THREADS));
  MlirValue begin = ir_min_i(ir, ir_mul_i(ir, task->thread, part), columns), end = ir_min_i(ir, ir_add_i(ir, begin, part), columns);
  MlirValue own = count_from(e, &row, begin, end, 1, least);
  cuda_prefix_sums(e, task, THREADS, 1, &own, &before, &all);
  ir_loop i;
  ir_branch written, first;
  ir_for_begin(ir, &i, begin, end, 1, 1, &before);
  MlirValue taken = ir_compare_i(ir, IR_GE, key_at(e, &row, i.index), least);
  ir_if_begin(ir, &written, ir_and(ir, taken, ir_compare_i(ir, IR_LT, i.args[0], room)), none);
  cuda_put(e, places, i.args[0], ir_truncate(ir, i.index));
  cuda_put(e, values, i.args[0], cuda_f32(e, row.base, i.index));
  cuda_if_end(e, &written);
  ir_for_end(ir, &i, (MlirValue[]){ir_add_i(ir, i.args[0], one_if(e, taken))});
  ir_for_begin(ir, &i, ir_add_i(ir, all, task->thread), room, THREADS, 0, NULL);
  cuda_put(e, places, i.index, ir_i32(ir, -1));
  cuda_put(e, values, i.index, ir_f32(ir, 0));
  ir_for_end(ir, &i, NULL);
  ir_if_begin(ir, &first, ir_compare_i(ir, IR_EQ, task->thread, ir_i64(ir, 0)), none);
  cuda_put(e, out, ir_i64(ir, 0), ir_truncate(ir, all));
  cuda_if_end(e, &first);
}

const hmoec_cuda_step hmoec_cuda_best_steps[] = {{"hmoe_best", THREADS, SHARED_BYTES, emit_best}, {NULL, 0, 0, NULL}};
