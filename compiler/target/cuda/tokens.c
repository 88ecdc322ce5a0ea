/* Steps over rows of tokens, a thread an element, or a warp where it goes through a mask; see include/hmoe/abi.h for what they compute. The host cannot be told at once that a value is none of
 * the model's: the first such element, by step and place, is kept in a word that the run's end reads.
 *
 *   hmoe_ids          dst[i] = src[i], or fill where there is no source      dims: bytes of an element, limit, fill, step
 *   hmoe_positions    dst[b][t] = real tokens before                         dims: rows, length, past, stride, limit, step
 *   hmoe_last_rows    dst[b] = the row of b's last real token                dims: rows, length, past, stride
 *   hmoe_append_mask  dst[b][past + t] = src[b][t]                           dims: rows, length, past, stride
 * call.rows: elements; buffers as the step's bindings, the word last.
 *
 *   hmoe_pick         dst[b] = the first of the largest of row b, i32        dims: columns
 * is no step of a plan: generation asks for it behind a run. A block a row; buffers: f32 [rows][columns], dst. NaN is never taken, nor is -inf: -1 is
 * where a row has nothing else. */
#include <math.h>

#include "target/cuda/cuda.h"

enum { THREADS = 256, TROUBLE = HMOE_CUDA_BINDINGS_MAX - 1, PLACE_BITS = 40 };

static const MlirType none = {NULL};
static const MlirValue nothing = {NULL};

/* A value that is not in [0, limit) is kept as trouble, element i of the step being the first such unless an earlier one is, and becomes 0: what comes
 * after reads something that is there. */
static MlirValue check(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, MlirValue value, MlirValue limit, MlirValue step,
                       MlirValue i) {
  ir_builder *ir = &e->ir;
  MlirValue inside = ir_and(ir, ir_compare_i(ir, IR_GE, value, ir_i64(ir, 0)), ir_compare_i(ir, IR_LT, value, limit));
  ir_branch branch;
  ir_if_begin(ir, &branch, inside, none);
  ir_if_else(ir, &branch, nothing);
  cuda_atomic_least(e, cuda_binding(e, task, TROUBLE), ir_or(ir, ir_shift_left(ir, step, ir_i64(ir, PLACE_BITS)), i));
  ir_if_end(ir, &branch, nothing);
  return ir_select(ir, inside, value, ir_i64(ir, 0));
}

static void emit_ids(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue source = cuda_binding(e, task, HMOE_BIND_IDS_SOURCE), to = cuda_binding(e, task, HMOE_BIND_IDS_DESTINATION);
  ir_branch real;
  MlirValue i = cuda_element_begin(e, task, THREADS, &real);
  ir_branch given, wide;
  ir_if_begin(ir, &given, cuda_is_null(e, source), ir->i64);
  ir_if_else(ir, &given, cuda_dim(e, task, 2));
  ir_if_begin(ir, &wide, ir_compare_i(ir, IR_EQ, cuda_dim(e, task, 0), ir_i64(ir, sizeof(int64_t))), ir->i64);
  ir_if_else(ir, &wide, ir_load(ir, ir->i64, ir_at(ir, source, ir->i64, i), 8));
  MlirValue value = ir_if_end(ir, &wide, ir_extend(ir, cuda_i32(e, source, i)));
  value = check(e, task, value, cuda_dim(e, task, 1), cuda_dim(e, task, 3), i);
  value = ir_if_end(ir, &given, value);
  cuda_put(e, to, i, ir_truncate(ir, value));
  cuda_if_end(e, &real);
}

/* Dims of all steps but ids. */
enum { ROWS, LENGTH, PAST, STRIDE, LIMIT, STEP };

/* The element that this warp has of a step of call.rows elements, inside of an if that it has one. */
static MlirValue warp_element_begin(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, ir_branch *real) {
  ir_builder *ir = &e->ir;
  MlirValue i = ir_add_i(ir, ir_mul_i(ir, task->task, ir_i64(ir, THREADS / CUDA_WARP)), task->warp);
  ir_if_begin(ir, real, ir_compare_i(ir, IR_LT, i, task->rows), none);
  return i;
}

/* A warp goes through `count` numbers of a mask, several of each lane at one time: the sum of all, or the place of the last that is not 0, -1: none is. */
static MlirValue over_mask(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, MlirValue mask, MlirValue count, bool last) {
  enum { AT_ONCE = 8 };
  ir_builder *ir = &e->ir;
  MlirValue initial = ir_i32(ir, last ? -1 : 0), zero = ir_i32(ir, 0), at[AT_ONCE], values[AT_ONCE];
  ir_loop u;
  ir_for_begin(ir, &u, task->lane, count, AT_ONCE * CUDA_WARP, 1, &initial);
  for (int64_t i = 0; i < AT_ONCE; i++) { /* behind the end the first again, which does not count */
    at[i] = ir_add_i(ir, u.index, ir_i64(ir, i * CUDA_WARP));
    values[i] = cuda_i32(e, mask, i ? ir_select(ir, ir_compare_i(ir, IR_LT, at[i], count), at[i], u.index) : at[i]);
  }
  MlirValue found = u.args[0];
  for (int64_t i = 0; i < AT_ONCE; i++) {
    MlirValue there = ir_compare_i(ir, IR_LT, at[i], count);
    if (last) there = ir_and(ir, there, ir_compare_i(ir, IR_NE, values[i], zero));
    found = last ? ir_select(ir, there, ir_truncate(ir, at[i]), found) : ir_add_i(ir, found, ir_select(ir, there, values[i], zero));
  }
  ir_for_end(ir, &u, &found);
  return ir_extend(ir, cuda_reduce_over(e, last ? CUDA_MAX_I : CUDA_SUM_I, u.args[0], CUDA_WARP / 2, 1));
}

static void emit_positions(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue mask = cuda_binding(e, task, HMOE_BIND_TOKENS_SOURCE), length = cuda_dim(e, task, LENGTH),
            past = cuda_dim(e, task, PAST);
  MlirValue zero = ir_i64(ir, 0), one = ir_i64(ir, 1);
  ir_branch real, masked, first;
  MlirValue i = warp_element_begin(e, task, &real);
  MlirValue row = ir_at(ir, mask, ir->i32, ir_mul_i(ir, ir_div_i(ir, i, length), cuda_dim(e, task, STRIDE)));
  MlirValue end = ir_add_i(ir, past, ir_add_i(ir, ir_rem_i(ir, i, length), one));
  ir_if_begin(ir, &masked, cuda_is_null(e, mask), ir->i64);
  ir_if_else(ir, &masked, end);
  MlirValue tokens = ir_if_end(ir, &masked, over_mask(e, task, row, end, false));
  ir_if_begin(ir, &first, ir_compare_i(ir, IR_EQ, task->lane, zero), none);
  MlirValue position = ir_max_i(ir, ir_sub_i(ir, tokens, one), zero);
  position = check(e, task, position, cuda_dim(e, task, LIMIT), cuda_dim(e, task, STEP), i);
  cuda_put(e, cuda_binding(e, task, HMOE_BIND_TOKENS_DESTINATION), i, ir_truncate(ir, position));
  cuda_if_end(e, &first);
  cuda_if_end(e, &real);
}

static void emit_last_rows(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue mask = cuda_binding(e, task, HMOE_BIND_TOKENS_SOURCE), length = cuda_dim(e, task, LENGTH), zero = ir_i64(ir, 0),
            one = ir_i64(ir, 1);
  ir_branch real, masked, first;
  MlirValue i = warp_element_begin(e, task, &real);
  MlirValue begin = ir_add_i(ir, ir_mul_i(ir, i, cuda_dim(e, task, STRIDE)), cuda_dim(e, task, PAST)),
            last = ir_sub_i(ir, length, one);
  ir_if_begin(ir, &masked, cuda_is_null(e, mask), ir->i64);
  ir_if_else(ir, &masked, last);
  MlirValue found = over_mask(e, task, ir_at(ir, mask, ir->i32, begin), length, true);
  MlirValue at = ir_if_end(ir, &masked, ir_select(ir, ir_compare_i(ir, IR_LT, found, zero), last, found));
  ir_if_begin(ir, &first, ir_compare_i(ir, IR_EQ, task->lane, zero), none);
  cuda_put(e, cuda_binding(e, task, HMOE_BIND_TOKENS_DESTINATION), i, ir_truncate(ir, ir_add_i(ir, ir_mul_i(ir, i, length), at)));
  cuda_if_end(e, &first);
  cuda_if_end(e, &real);
}

static void emit_append_mask(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue source = cuda_binding(e, task, HMOE_BIND_TOKENS_SOURCE), length = cuda_dim(e, task, LENGTH);
  ir_branch real;
  MlirValue i = cuda_element_begin(e, task, THREADS, &real);
  MlirValue row = ir_mul_i(ir, ir_div_i(ir, i, length), cuda_dim(e, task, STRIDE));
  MlirValue at = ir_add_i(ir, ir_add_i(ir, row, cuda_dim(e, task, PAST)), ir_rem_i(ir, i, length));
  cuda_put(e, cuda_binding(e, task, HMOE_BIND_TOKENS_DESTINATION), at, cuda_i32(e, source, i));
  cuda_if_end(e, &real);
}

/* Shared memory: of each warp the largest, then where. */
enum { PICK_WARPS = THREADS / CUDA_WARP, PICK_PLACES_AT = PICK_WARPS * 4, PICK_BYTES = 2 * PICK_PLACES_AT };

static void emit_pick(hmoec_cuda_emitter *e, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue columns = cuda_dim(e, task, 0), zero = ir_i64(ir, 0);
  MlirValue row = ir_at(ir, cuda_binding(e, task, 0), ir->f32, ir_mul_i(ir, task->task, columns));
  MlirValue found[] = {ir_f32(ir, -INFINITY), ir_i32(ir, INT32_MAX)};
  ir_loop c; /* a thread's places rise: of equal ones it keeps the first */
  ir_for_begin(ir, &c, task->thread, columns, THREADS, 2, found);
  MlirValue x = cuda_f32(e, row, c.index), larger = ir_compare_f(ir, IR_GT, x, c.args[0]);
  ir_for_end(ir, &c,
             (MlirValue[]){ir_select(ir, larger, x, c.args[0]), ir_select(ir, larger, ir_truncate(ir, c.index), c.args[1])});
  MlirValue value = c.args[0], place = c.args[1];
  cuda_reduce_first(e, &value, &place);
  MlirValue values = cuda_shared(e, 0), places = cuda_shared(e, PICK_PLACES_AT);
  ir_branch first;
  ir_if_begin(ir, &first, ir_compare_i(ir, IR_EQ, task->lane, zero), none);
  cuda_put(e, values, task->warp, value);
  cuda_put(e, places, task->warp, place);
  cuda_if_end(e, &first);
  cuda_barrier(e);
  ir_if_begin(ir, &first, ir_compare_i(ir, IR_EQ, task->thread, zero), none);
  value = cuda_f32(e, values, zero);
  place = cuda_i32(e, places, zero);
  for (int64_t w = 1; w < PICK_WARPS; w++) {
    MlirValue other = cuda_f32(e, values, ir_i64(ir, w)), other_place = cuda_i32(e, places, ir_i64(ir, w));
    MlirValue takes = cuda_goes_before(e, other, other_place, value, place);
    value = ir_select(ir, takes, other, value);
    place = ir_select(ir, takes, other_place, place);
  }
  MlirValue nowhere = ir_compare_i(ir, IR_EQ, place, ir_i32(ir, INT32_MAX));
  cuda_put(e, cuda_binding(e, task, 1), task->task, ir_select(ir, nowhere, ir_i32(ir, -1), place));
  cuda_if_end(e, &first);
}

const hmoec_cuda_step hmoec_cuda_token_steps[] = {
    {"hmoe_ids", THREADS, 0, emit_ids},
    {"hmoe_positions", THREADS, 0, emit_positions},
    {"hmoe_last_rows", THREADS, 0, emit_last_rows},
    {"hmoe_append_mask", THREADS, 0, emit_append_mask},
    {"hmoe_pick", THREADS, PICK_BYTES, emit_pick},
    {NULL, 0, 0, NULL},
};
