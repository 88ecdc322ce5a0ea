/* ROUTE: the router's epilogue, a warp a token.
 *
 *   key[j] = an integer that orders as what decides, logit or score: NaN above all, then +inf ... -inf
 *   top_k times: of the experts that are left, the first in descending order of keys and ascending order of numbers
 *   gate   = exp(logit - largest logit), or score(logit) ; divided by the sum over all experts, over the selected ones, or by nothing
 *
 * Of up to 256 experts a lane holds its own, and those that are chosen get their places in turn; then gates are computed and stored, each by the lane that holds
 * its expert. Of more a lane reads the logits again in every round, from cache, and nothing is marked: those that are left come after the one chosen last in that order.
 * A NaN that decides is selected first, and makes the gates of a softmax NaN, as infinity does. softmax_topk_renorm divides out the sum over all experts, so it
 * is topk_then_softmax. */
#include "target/cuda/cuda.h"

/* An increasing score picks what the logits pick, and these tell apart what the score rounds to one value. */
static bool score_decides(const hmoec_route_spec *spec) {
  return spec->gate == HMOEC_GATE_SCORE && spec->score != HMOEC_ACTIVATION_SIGMOID;
}

/* What a kernel starts with. */
typedef struct routing {
  hmoec_cuda_emitter *e;
  const hmoec_route_spec *spec;
  const hmoec_cuda_task *task;
  bool is_softmax, over_all;
  bool groups; /* what it chooses may be grouped */
  MlirValue token, logits, indices, gates; /* of the row */
} routing;

static MlirValue key_of(const routing *r, MlirValue logit) {
  return ir_order_key(&r->e->ir, score_decides(r->spec) ? cuda_activation(r->e, r->spec->score, logit) : logit);
}

/* exp(logit - most) */
static MlirValue exponential(const routing *r, MlirValue logit, MlirValue most) {
  return cuda_exp(r->e, ir_sub(&r->e->ir, logit, most));
}

/* A gate of its term. The sum of a softmax is a number of experts at most, or NaN; that of scores is any number, and may be 0. */
static MlirValue divided(const routing *r, MlirValue term, MlirValue sum) {
  ir_builder *ir = &r->e->ir;
  MlirValue zero = ir_f32(ir, 0.0f);
  if (r->is_softmax) return ir_quotient(ir, term, sum);
  return ir_select(ir, ir_compare_f(ir, IR_EQ, sum, zero), zero, ir_div(ir, term, sum));
}

/* ---- experts that lanes hold ---- */

enum { MOST_HELD = 8 };

static int64_t held_of(const hmoec_route_spec *spec) {
  int64_t count = (spec->experts + CUDA_WARP - 1) / CUDA_WARP;
  return count <= MOST_HELD ? count : 0;
}

static void route_held(const routing *r) {
  hmoec_cuda_emitter *e = r->e;
  ir_builder *ir = &e->ir;
  const hmoec_route_spec *spec = r->spec;
  int64_t count = held_of(spec);
  MlirValue lane = ir_truncate(ir, r->task->lane), nobody = ir_i32(ir, INT32_MIN), zero = ir_f32(ir, 0.0f);
  MlirValue lower = ir_intrinsic(ir, "llvm.nvvm.read.ptx.sreg.lanemask.lt", ir->i32, 0, NULL);
  MlirValue experts[MOST_HELD], there[MOST_HELD], logits[MOST_HELD],
      state[2 * MOST_HELD + 1]; /* keys of those that are left, places, the first key */
  for (int64_t i = 0; i < count; i++) { /* behind the last expert the first again, with nobody's key */
    experts[i] = ir_add_i(ir, ir_mul_i(ir, lane, ir_i32(ir, (int32_t)count)), ir_i32(ir, (int32_t)i));
    there[i] = ir_compare_i(ir, IR_LT, experts[i], ir_i32(ir, (int32_t)spec->experts));
    logits[i] = cuda_f32(e, r->logits, ir_extend(ir, ir_select(ir, there[i], experts[i], ir_i32(ir, 0))));
    state[i] = ir_select(ir, there[i], key_of(r, logits[i]), nobody);
    state[count + i] = ir_i32(ir, (int32_t)spec->top_k); /* not selected */
  }
  state[2 * count] = nobody;
  ir_loop s; /* rounds */
  ir_for_begin(ir, &s, ir_i64(ir, 0), ir_i64(ir, spec->top_k), 1, 2 * count + 1, state);
  MlirValue best = s.args[0], expert = experts[0]; /* of the lane */
  for (int64_t i = 1; i < count; i++) {
    expert = ir_select(ir, ir_compare_i(ir, IR_GT, s.args[i], best), experts[i], expert);
    best = ir_max_i(ir, best, s.args[i]);
  }
  MlirValue found = cuda_reduce(e, CUDA_MAX_I, best), is_best = ir_compare_i(ir, IR_EQ, best, found);
  MlirValue votes = ir_intrinsic(ir, "llvm.nvvm.vote.ballot.sync", ir->i32, 2, (MlirValue[]){ir_i32(ir, -1), is_best});
  MlirValue is_lowest = ir_compare_i(ir, IR_EQ, ir_and(ir, votes, lower), ir_i32(ir, 0));
  MlirValue chosen = ir_select(ir, ir_and(ir, is_best, is_lowest), expert, ir_i32(ir, -1));
  for (int64_t i = 0; i < count; i++) {
    MlirValue is_chosen = ir_compare_i(ir, IR_EQ, experts[i], chosen);
    state[i] = ir_select(ir, is_chosen, nobody, s.args[i]);
    state[count + i] = ir_select(ir, is_chosen, ir_truncate(ir, s.index), s.args[count + i]);
  }
  state[2 * count] = ir_select(ir, ir_compare_i(ir, IR_EQ, s.index, ir_i64(ir, 0)), found, s.args[2 * count]);
  ir_for_end(ir, &s, state);

  MlirValue most = ir_order_key_value(ir, s.args[2 * count]); /* of a softmax, which logits decide */
  MlirValue terms[MOST_HELD], selected[MOST_HELD], sum = zero;
  for (int64_t i = 0; i < count; i++) {
    terms[i] = r->is_softmax ? exponential(r, logits[i], most) : cuda_activation(e, spec->score, logits[i]);
    selected[i] = ir_compare_i(ir, IR_LT, s.args[count + i], ir_i32(ir, (int32_t)spec->top_k));
    sum = ir_add(ir, sum, ir_select(ir, r->over_all ? there[i] : selected[i], terms[i], zero));
  }
  bool divides = r->is_softmax || spec->renorm;
  int32_t lanes = 1; /* that hold any */
  while (lanes * count < spec->experts) lanes *= 2;
  if (divides) sum = cuda_reduce_over(e, CUDA_SUM, sum, lanes / 2, 1);
  for (int64_t i = 0; i < count; i++) {
    ir_branch branch;
    ir_if_begin(ir, &branch, selected[i], (MlirType){NULL});
    MlirValue place = ir_extend(ir, s.args[count + i]);
    cuda_put(e, r->indices, place, experts[i]);
    cuda_put(e, r->gates, place, divides ? divided(r, terms[i], sum) : terms[i]);
    cuda_if_end(e, &branch);
  }
  if (r->groups) hmoec_cuda_chosen(e, r->task, r->token, count, experts, selected);
}

/* ---- more of them ---- */

typedef struct choice {
  MlirValue key, expert; /* i32 */
} choice;

/* The first after `last`; all lanes get it. Keys below that of any number are nobody's. */
static choice choose(const routing *r, choice last) {
  ir_builder *ir = &r->e->ir;
  ir_loop j;
  cuda_columns_begin(r->e, r->task, 0, r->spec->experts, 2, (MlirValue[]){ir_i32(ir, INT32_MIN), ir_i32(ir, INT32_MAX)}, &j);
  MlirValue key = key_of(r, cuda_f32(r->e, r->logits, j.index)), expert = ir_truncate(ir, j.index);
  MlirValue after = ir_or(ir, ir_compare_i(ir, IR_LT, key, last.key),
                          ir_and(ir, ir_compare_i(ir, IR_EQ, key, last.key), ir_compare_i(ir, IR_GT, expert, last.expert)));
  MlirValue better = ir_and(ir, after, ir_compare_i(ir, IR_GT, key, j.args[0])); /* a lane meets its experts in ascending order */
  ir_for_end(ir, &j, (MlirValue[]){ir_select(ir, better, key, j.args[0]), ir_select(ir, better, expert, j.args[1])});
  choice found = {.key = cuda_reduce(r->e, CUDA_MAX_I, j.args[0])};
  MlirValue is_best = ir_compare_i(ir, IR_EQ, j.args[0], found.key);
  found.expert = cuda_reduce(r->e, CUDA_MIN_I, ir_select(ir, is_best, j.args[1], ir_i32(ir, INT32_MAX)));
  return found;
}

static void route_read(const routing *r) {
  hmoec_cuda_emitter *e = r->e;
  ir_builder *ir = &e->ir;
  const hmoec_route_spec *spec = r->spec;
  MlirValue zero = ir_f32(ir, 0.0f), is_first_lane = ir_compare_i(ir, IR_EQ, r->task->lane, ir_i64(ir, 0)), all = zero;
  choice first = choose(r, (choice){ir_i32(ir, INT32_MAX), ir_i32(ir, -1)});
  MlirValue most = cuda_f32(e, r->logits, ir_extend(ir, first.expert));
  if (r->over_all) {
    ir_loop j;
    cuda_columns_begin(e, r->task, 0, spec->experts, 1, &zero, &j);
    ir_for_end(ir, &j, (MlirValue[]){ir_add(ir, j.args[0], exponential(r, cuda_f32(e, r->logits, j.index), most))});
    all = cuda_reduce(e, CUDA_SUM, j.args[0]);
  }

  ir_loop s; /* rounds; carries the choice and the sum of the selected */
  ir_for_begin(ir, &s, ir_i64(ir, 0), ir_i64(ir, spec->top_k), 1, 3, (MlirValue[]){first.key, first.expert, zero});
  MlirValue logit = cuda_f32(e, r->logits, ir_extend(ir, s.args[1]));
  MlirValue gate = r->is_softmax ? exponential(r, logit, most) : cuda_activation(e, spec->score, logit);
  ir_branch branch;
  ir_if_begin(ir, &branch, is_first_lane, (MlirType){NULL});
  cuda_put(e, r->indices, s.index, s.args[1]);
  cuda_put(e, r->gates, s.index, r->over_all ? divided(r, gate, all) : gate);
  cuda_if_end(e, &branch);
  if (r->groups) hmoec_cuda_chosen(e, r->task, r->token, 1, &s.args[1], &is_first_lane);
  choice next = choose(r, (choice){s.args[0], s.args[1]});
  /* After the last round there may be nobody left: what is loaded for it is that of expert 0. */
  MlirValue exists = ir_compare_i(ir, IR_LT, next.expert, ir_i32(ir, (int32_t)spec->experts));
  MlirValue expert = ir_select(ir, exists, next.expert, ir_i32(ir, 0));
  ir_for_end(ir, &s, (MlirValue[]){next.key, expert, ir_add(ir, s.args[2], gate)});

  if (r->over_all || !(r->is_softmax || spec->renorm)) return;
  cuda_warp_barrier(e); /* each lane divides what lane 0 wrote: the warp's stores are seen by it behind a barrier */
  ir_loop g;
  cuda_columns_begin(e, r->task, 0, spec->top_k, 0, NULL, &g);
  cuda_put(e, r->gates, g.index, divided(r, cuda_f32(e, r->gates, g.index), s.args[2]));
  ir_for_end(ir, &g, NULL);
}

void hmoec_cuda_emit_route(hmoec_cuda_emitter *e, const hmoec_route_spec *spec, const hmoec_cuda_task *task) {
  bool groups = hmoec_cuda_route_shared_bytes(spec) > 0;
  ir_loop row;
  if (groups) hmoec_cuda_chosen_begin(e, task, spec->experts);
  cuda_rows_begin(e, task, spec->row_block, CUDA_ROUTE_WARPS, &row);
  const routing r = {.e = e,
                     .spec = spec,
                     .task = task,
                     .is_softmax = spec->gate != HMOEC_GATE_SCORE,
                     .over_all = spec->gate == HMOEC_GATE_SOFTMAX_THEN_TOPK,
                     .groups = groups,
                     .token = row.index,
                     .logits = cuda_row(e, cuda_binding(e, task, 0), row.index, spec->ldl),
                     .indices = cuda_row(e, cuda_binding(e, task, 1), row.index, spec->top_k),
                     .gates = cuda_row(e, cuda_binding(e, task, 2), row.index, spec->top_k)};
  cuda_follow(e);
  if (held_of(spec)) route_held(&r);
  else route_read(&r);
  ir_for_end(&e->ir, &row, NULL);
  cuda_follow(e); /* warps without a token, too */
  if (groups) hmoec_cuda_group_chosen(e, task, spec->experts, spec->top_k);
}

int64_t hmoec_cuda_route_shared_bytes(const hmoec_route_spec *spec) {
  return spec->experts <= HMOE_CUDA_GROUP_EXPERTS && spec->row_block <= CUDA_ROUTE_WARPS
             ? hmoec_cuda_chosen_shared_bytes(spec->experts)
             : 0;
}
