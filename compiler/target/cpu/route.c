/* ROUTE: the router's epilogue, one token at a time, vectors over experts.
 *
 *   w[j]   = logit j, or score(logit j); padding lanes -inf                                  (scratch)
 *   key[j] = an integer that orders as what decides, logit or score: NaN above all, then +inf ... -inf; padding lanes below   (scratch)
 *   top_k times: index = first j whose key is the largest ; its key becomes lower than all
 *   w[j]   = exp(w[j] - w[first index]), if the gate is a softmax
 *   gate   = w[index] / sum,  the sum over all experts, over the selected ones, or none
 *
 * An index is always that of a real expert, and no two are equal: the keys of numbers lie above what marks a taken lane. A NaN that decides is
 * selected first, and makes the gates NaN: of a softmax all, as infinity does, and a row that is -inf throughout.
 * softmax_topk_renorm divides out the sum over all experts, so it is topk_then_softmax. */
#include <math.h>

#include "target/code/math.h"
#include "target/cpu/emit.h"

enum { TAKEN = INT32_MIN /* a key below that of any number */ };

static int64_t round_up(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

/* An increasing score picks what the logits pick, and these tell apart what the score rounds to one value. */
static bool score_decides(const hmoec_route_spec *spec) {
  return spec->gate == HMOEC_GATE_SCORE && spec->score != HMOEC_ACTIVATION_SIGMOID;
}

static void load_logits(hmoec_cpu_emitter *e, const hmoec_route_spec *spec, MlirValue logits, MlirValue keys, MlirValue w) {
  ir_builder *ir = &e->ir;
  ir_lanes lanes;
  for (ir_lanes_begin(ir, &lanes, 0, spec->experts); ir_lanes_next(ir, &lanes);) {
    MlirValue logit = ir_lanes_load(ir, &lanes, ir->vf32, logits), v = logit;
    if (spec->gate == HMOEC_GATE_SCORE) v = ir_activation(ir, spec->score, logit);
    MlirValue key = ir_order_key(ir, score_decides(spec) ? v : logit);
    if (lanes.masked) {
      v = ir_select(ir, lanes.mask, v, ir_vector_f32(ir, -INFINITY));
      key = ir_select(ir, lanes.mask, key, ir_vector_i32(ir, TAKEN));
    }
    ir_store(ir, v, ir_at(ir, w, ir->f32, lanes.index), 4);
    ir_store(ir, key, ir_at(ir, keys, ir->i32, lanes.index), 4);
  }
}

/* The first index that has the largest key. */
static MlirValue find_best(hmoec_cpu_emitter *e, MlirValue keys, int64_t padded) {
  ir_builder *ir = &e->ir;
  MlirValue first = ir_load(ir, ir->vi32, keys, 4), iota = ir_iota(ir);
  ir_loop j; /* a lane keeps its first best: a later equal one does not replace it */
  ir_for_begin(ir, &j, ir_i64(ir, ir->lanes), ir_i64(ir, padded), ir->lanes, 2, (MlirValue[]){first, iota});
  MlirValue key = ir_load(ir, ir->vi32, ir_at(ir, keys, ir->i32, j.index), 4);
  MlirValue index = ir_add_i(ir, iota, ir_splat(ir, ir_truncate(ir, j.index)));
  MlirValue better = ir_compare_i(ir, IR_GT, key, j.args[0]);
  ir_for_end(ir, &j, (MlirValue[]){ir_select(ir, better, key, j.args[0]), ir_select(ir, better, index, j.args[1])});
  MlirValue is_best = ir_compare_i(ir, IR_EQ, j.args[0], ir_splat(ir, ir_reduce(ir, "maxsi", j.args[0])));
  return ir_reduce(ir, "minsi", ir_select(ir, is_best, j.args[1], ir_vector_i32(ir, INT32_MAX)));
}

/* w[j] = exp(w[j] - maximum); returns the sum. */
static MlirValue exponentials(hmoec_cpu_emitter *e, MlirValue w, int64_t padded, MlirValue maximum) {
  ir_builder *ir = &e->ir;
  MlirValue most = ir_splat(ir, maximum), zero = ir_vector_f32(ir, 0.0f);
  ir_loop j;
  ir_for_begin(ir, &j, ir_i64(ir, 0), ir_i64(ir, padded), ir->lanes, 1, &zero);
  MlirValue at = ir_at(ir, w, ir->f32, j.index), power = ir_exp(ir, ir_sub(ir, ir_load(ir, ir->vf32, at, 4), most));
  ir_store(ir, power, at, 4);
  ir_for_end(ir, &j, (MlirValue[]){ir_add(ir, j.args[0], power)});
  return ir_reduce(ir, "add", j.args[0]);
}

/* gates[s] /= sum; of scores, whose sum may be 0, 0 then. */
static void divide_gates(hmoec_cpu_emitter *e, const hmoec_route_spec *spec, MlirValue gates, MlirValue sum) {
  ir_builder *ir = &e->ir;
  MlirValue total = ir_splat(ir, sum), zero = ir_vector_f32(ir, 0.0f);
  ir_lanes lanes;
  for (ir_lanes_begin(ir, &lanes, 0, spec->top_k); ir_lanes_next(ir, &lanes);) {
    MlirValue gate = ir_div(ir, ir_lanes_load(ir, &lanes, ir->vf32, gates), total);
    if (spec->gate == HMOEC_GATE_SCORE) gate = ir_select(ir, ir_compare_f(ir, IR_EQ, total, zero), zero, gate);
    ir_lanes_store(ir, &lanes, gate, gates);
  }
}

void hmoec_cpu_emit_route(hmoec_cpu_emitter *e, const hmoec_route_spec *spec, const hmoec_cpu_task *task) {
  ir_builder *ir = &e->ir;
  int64_t padded = round_up(spec->experts, ir->lanes);
  MlirValue keys = task->scratch, w = ir_at_constant(ir, keys, ir->f32, padded);
  MlirValue logits = hmoec_cpu_binding(e, task, 0), indices = hmoec_cpu_binding(e, task, 1), gates = hmoec_cpu_binding(e, task, 2);
  MlirValue begin, end, one = ir_i64(ir, 1);
  hmoec_cpu_row_range(e, task, task->task, spec->row_block, &begin, &end);

  ir_loop row;
  ir_for_begin(ir, &row, begin, end, 1, 0, NULL);
  MlirValue index_row = hmoec_cpu_row(e, indices, row.index, spec->top_k),
            gate_row = hmoec_cpu_row(e, gates, row.index, spec->top_k);
  load_logits(e, spec, hmoec_cpu_row(e, logits, row.index, spec->ldl), keys, w);

  /* The exponentials want the maximum, which is the first round's best. */
  MlirValue index = find_best(e, keys, padded);
  MlirValue sum_all = {NULL};
  if (spec->gate != HMOEC_GATE_SCORE) {
    MlirValue most = ir_load(ir, ir->f32, ir_at(ir, w, ir->f32, ir_extend(ir, index)), 4);
    sum_all = exponentials(e, w, padded, most);
  }

  ir_loop s; /* rounds; carries the next index and the sum of the selected */
  ir_for_begin(ir, &s, ir_i64(ir, 0), ir_i64(ir, spec->top_k), 1, 2, (MlirValue[]){index, ir_f32(ir, 0.0f)});
  ir_store(ir, s.args[0], ir_at(ir, index_row, ir->i32, s.index), 4);
  MlirValue at = ir_extend(ir, s.args[0]);
  MlirValue gate = ir_load(ir, ir->f32, ir_at(ir, w, ir->f32, at), 4);
  ir_store(ir, gate, ir_at(ir, gate_row, ir->f32, s.index), 4);
  ir_store(ir, ir_i32(ir, TAKEN), ir_at(ir, keys, ir->i32, at), 4);
  ir_branch more;
  ir_if_begin(ir, &more, ir_compare_i(ir, IR_LT, ir_add_i(ir, s.index, one), ir_i64(ir, spec->top_k)), ir->i32);
  MlirValue next = find_best(e, keys, padded);
  ir_if_else(ir, &more, next);
  next = ir_if_end(ir, &more, s.args[0]);
  ir_for_end(ir, &s, (MlirValue[]){next, ir_add(ir, s.args[1], gate)});

  bool divided = spec->gate != HMOEC_GATE_SCORE || spec->renorm;
  if (divided) divide_gates(e, spec, gate_row, spec->gate == HMOEC_GATE_SOFTMAX_THEN_TOPK ? sum_all : s.args[1]);
  ir_for_end(ir, &row, NULL);
}
