/* ROUTE: the router's epilogue, a warp a token.
 *
 *   key[j] = an integer that orders as what decides, logit or score: NaN above all, then +inf ... -inf
 *   top_k times: of the experts that come after the one selected last, in descending order of keys and ascending order of numbers, the first
 *   gate   = exp(logit - largest logit), or score(logit) ; divided by the sum over all experts, over the selected ones, or by nothing
 *
 * Nothing is marked: the selected ones are those before the last in that order. No memory is needed, and any number of experts is fine: of up to 256 a lane holds
 * its logits and keys, of more it reads them again in every round, from cache. A NaN that decides is selected first, and makes the gates of a softmax NaN, as infinity does.
 * softmax_topk_renorm divides out the sum over all experts, so it is topk_then_softmax. */
#include "target/cuda/cuda.h"

/* An increasing score picks what the logits pick, and these tell apart what the score rounds to one value. */
static bool score_decides(const hmoec_route_spec *spec) {
  return spec->gate == HMOEC_GATE_SCORE && spec->score != HMOEC_ACTIVATION_SIGMOID;
}

typedef struct choice {
  MlirValue key, expert; /* i32 */
} choice;

enum { MOST_HELD = 8 };

typedef struct row_logits {
  MlirValue logits; /* in memory */
  int64_t count; /* how many of them a lane holds: expert lane + 32 i; 0: none */
  MlirValue held[MOST_HELD], keys[MOST_HELD];
} row_logits;

static MlirValue key_of(hmoec_cuda_emitter *e, const hmoec_route_spec *spec, MlirValue logit) {
  return ir_order_key(&e->ir, score_decides(spec) ? cuda_activation(e, spec->score, logit) : logit);
}

static row_logits row_load(hmoec_cuda_emitter *e, const hmoec_route_spec *spec, const hmoec_cuda_task *task, MlirValue logits) {
  ir_builder *ir = &e->ir;
  row_logits row = {.logits = logits, .count = (spec->experts + CUDA_WARP - 1) / CUDA_WARP};
  if (row.count > MOST_HELD) row.count = 0;
  MlirValue there = {NULL};
  for (int64_t i = 0; i < row.count; i++) { /* behind the last expert the first again, with nobody's key */
    MlirValue expert = ir_add_i(ir, task->lane, ir_i64(ir, i * CUDA_WARP));
    bool may_end = (i + 1) * CUDA_WARP > spec->experts;
    if (may_end) there = ir_compare_i(ir, IR_LT, expert, ir_i64(ir, spec->experts));
    row.held[i] = cuda_f32(e, logits, may_end ? ir_select(ir, there, expert, ir_i64(ir, 0)) : expert);
    row.keys[i] = key_of(e, spec, row.held[i]);
    if (may_end) row.keys[i] = ir_select(ir, there, row.keys[i], ir_i32(ir, INT32_MIN));
  }
  return row;
}

/* Of an expert that all lanes have, i32. */
static MlirValue logit_of(hmoec_cuda_emitter *e, const row_logits *row, MlirValue expert) {
  ir_builder *ir = &e->ir;
  if (!row->count) return cuda_f32(e, row->logits, ir_extend(ir, expert));
  MlirValue held = row->held[0];
  for (int64_t i = 1; i < row->count; i++)
    held = ir_select(ir, ir_compare_i(ir, IR_GE, expert, ir_i32(ir, (int32_t)(i * CUDA_WARP))), row->held[i], held);
  return cuda_lane_value(e, held, expert);
}

/* best becomes the expert with that key, where it comes after `last` and before best. A lane meets its experts in ascending order. */
static void consider(hmoec_cuda_emitter *e, choice last, MlirValue key, MlirValue expert, choice *best) {
  ir_builder *ir = &e->ir;
  MlirValue after = ir_or(ir, ir_compare_i(ir, IR_LT, key, last.key),
                          ir_and(ir, ir_compare_i(ir, IR_EQ, key, last.key), ir_compare_i(ir, IR_GT, expert, last.expert)));
  MlirValue better = ir_and(ir, after, ir_compare_i(ir, IR_GT, key, best->key));
  *best = (choice){ir_select(ir, better, key, best->key), ir_select(ir, better, expert, best->expert)};
}

/* The first after `last`; all lanes get it. Keys below that of any number are nobody's. */
static choice choose(hmoec_cuda_emitter *e, const hmoec_route_spec *spec, const hmoec_cuda_task *task, const row_logits *row,
                     choice last) {
  ir_builder *ir = &e->ir;
  choice best = {ir_i32(ir, INT32_MIN), ir_i32(ir, INT32_MAX)};
  for (int64_t i = 0; i < row->count; i++)
    consider(e, last, row->keys[i], ir_truncate(ir, ir_add_i(ir, task->lane, ir_i64(ir, i * CUDA_WARP))), &best);
  if (!row->count) {
    ir_loop j;
    cuda_columns_begin(e, task, 0, spec->experts, 2, (MlirValue[]){best.key, best.expert}, &j);
    best = (choice){j.args[0], j.args[1]};
    consider(e, last, key_of(e, spec, cuda_f32(e, row->logits, j.index)), ir_truncate(ir, j.index), &best);
    ir_for_end(ir, &j, (MlirValue[]){best.key, best.expert});
    best = (choice){j.args[0], j.args[1]};
  }
  choice found = {.key = cuda_reduce(e, CUDA_MAX_I, best.key)};
  MlirValue is_best = ir_compare_i(ir, IR_EQ, best.key, found.key);
  found.expert = cuda_reduce(e, CUDA_MIN_I, ir_select(ir, is_best, best.expert, ir_i32(ir, INT32_MAX)));
  return found;
}

/* exp(logit - most) */
static MlirValue exponential(hmoec_cuda_emitter *e, MlirValue logit, MlirValue most) {
  return cuda_exp(e, ir_sub(&e->ir, logit, most));
}

void hmoec_cuda_emit_route(hmoec_cuda_emitter *e, const hmoec_route_spec *spec, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  bool is_softmax = spec->gate != HMOEC_GATE_SCORE, over_all = spec->gate == HMOEC_GATE_SOFTMAX_THEN_TOPK;
  MlirValue indices = cuda_binding(e, task, 1), gates = cuda_binding(e, task, 2), zero = ir_f32(ir, 0.0f);
  MlirType none = {NULL};
  ir_loop row;
  cuda_rows_begin(e, task, spec->row_block, CUDA_ROUTE_WARPS, &row);
  MlirValue logits = cuda_row(e, cuda_binding(e, task, 0), row.index, spec->ldl);
  MlirValue index_row = cuda_row(e, indices, row.index, spec->top_k), gate_row = cuda_row(e, gates, row.index, spec->top_k);
  row_logits held = row_load(e, spec, task, logits);
  choice nobody = {ir_i32(ir, INT32_MAX), ir_i32(ir, -1)}, first = choose(e, spec, task, &held, nobody);
  MlirValue most = logit_of(e, &held, first.expert), all = zero;
  for (int64_t i = 0; over_all && i < held.count; i++) { /* in the order of the loop below */
    MlirValue term = exponential(e, held.held[i], most), expert = ir_add_i(ir, task->lane, ir_i64(ir, i * CUDA_WARP));
    if ((i + 1) * CUDA_WARP > spec->experts)
      term = ir_select(ir, ir_compare_i(ir, IR_LT, expert, ir_i64(ir, spec->experts)), term, zero);
    all = ir_add(ir, all, term);
  }
  if (over_all && held.count) all = cuda_reduce(e, CUDA_SUM, all);
  if (over_all && !held.count) {
    ir_loop j;
    cuda_columns_begin(e, task, 0, spec->experts, 1, &zero, &j);
    ir_for_end(ir, &j, (MlirValue[]){ir_add(ir, j.args[0], exponential(e, cuda_f32(e, logits, j.index), most))});
    all = cuda_reduce(e, CUDA_SUM, j.args[0]);
  }
  MlirValue is_first_lane = ir_compare_i(ir, IR_EQ, task->lane, ir_i64(ir, 0));

  ir_loop s; /* rounds; carries the choice and the sum of the selected */
  ir_for_begin(ir, &s, ir_i64(ir, 0), ir_i64(ir, spec->top_k), 1, 3, (MlirValue[]){first.key, first.expert, zero});
  MlirValue logit = logit_of(e, &held, s.args[1]);
  MlirValue gate = is_softmax ? exponential(e, logit, most) : cuda_activation(e, spec->score, logit);
  ir_branch branch;
  ir_if_begin(ir, &branch, is_first_lane, none);
  cuda_put(e, index_row, s.index, s.args[1]);
  cuda_put(e, gate_row, s.index, over_all ? ir_div(ir, gate, all) : gate);
  ir_if_else(ir, &branch, zero);
  ir_if_end(ir, &branch, zero);
  choice next = choose(e, spec, task, &held, (choice){s.args[0], s.args[1]});
  /* After the last round there may be nobody left: what is loaded for it is that of expert 0. */
  MlirValue exists = ir_compare_i(ir, IR_LT, next.expert, ir_i32(ir, (int32_t)spec->experts));
  MlirValue expert = ir_select(ir, exists, next.expert, ir_i32(ir, 0));
  ir_for_end(ir, &s, (MlirValue[]){next.key, expert, ir_add(ir, s.args[2], gate)});

  if (!over_all &&
      (is_softmax || spec->renorm)) { /* each lane divides what lane 0 wrote: the warp's stores are seen by it behind a barrier */
    cuda_warp_barrier(e);
    ir_loop g;
    cuda_columns_begin(e, task, 0, spec->top_k, 0, NULL, &g);
    MlirValue divided = ir_div(ir, cuda_f32(e, gate_row, g.index), s.args[2]);
    if (!is_softmax) divided = ir_select(ir, ir_compare_f(ir, IR_EQ, s.args[2], zero), zero, divided);
    cuda_put(e, gate_row, g.index, divided);
    ir_for_end(ir, &g, NULL);
  }
  ir_for_end(ir, &row, NULL);
  if (hmoec_cuda_route_shared_bytes(spec)) hmoec_cuda_group_chosen(e, task, spec->experts, spec->top_k);
}

int64_t hmoec_cuda_route_shared_bytes(const hmoec_route_spec *spec) {
  return spec->experts <= HMOE_CUDA_GROUP_EXPERTS ? hmoec_cuda_chosen_shared_bytes(spec->experts) : 0;
}
