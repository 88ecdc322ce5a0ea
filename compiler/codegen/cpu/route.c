/* ROUTE: the router's epilogue, one token at a time, vectors over experts.
 *
 *   x[j]  = logit j, NaN and -inf as the lowest finite value; padding lanes below that     (scratch)
 *   w[j]  = exp(x[j] - max x), or score(logit j)                                            (scratch)
 *   top_k times: best = max x ; index = first j with x[j] == best ; x[index] = below all
 *   gate  = w[index] / sum,  the sum over all experts, over the selected ones, or none
 *
 * Where the scores themselves decide, x[j] is w[j] made comparable, and not the logit.
 * An index is always that of a real expert, and no two are equal: the lowest finite value lies above what marks a taken lane.
 * softmax_topk_renorm divides out the sum over all experts, so it is topk_then_softmax. */
#include <float.h>
#include <math.h>

#include "codegen/cpu/emit.h"
#include "codegen/cpu/math.h"

static int64_t round_up(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

/* An increasing score picks what the logits pick, and these tell apart what the score rounds to one value. */
static bool score_decides(const hmoec_route_spec *spec) {
  return spec->gate == HMOEC_GATE_SCORE && spec->score != HMOEC_ACTIVATION_SIGMOID;
}

/* What decides to x, made comparable; scores to w. */
static void load_logits(hmoec_cpu_emitter *e, const hmoec_route_spec *spec, MlirValue logits, MlirValue x, MlirValue w) {
  ir_builder *ir = &e->ir;
  MlirValue lowest = ir_vector_f32(ir, -FLT_MAX);
  ir_lanes lanes;
  for (ir_lanes_begin(ir, &lanes, 0, spec->experts); ir_lanes_next(ir, &lanes);) {
    MlirValue v = ir_lanes_load(ir, &lanes, ir->vf32, logits);
    if (spec->gate == HMOEC_GATE_SCORE) {
      MlirValue score = ir_activation(ir, spec->score, v);
      ir_store(ir, score, ir_at(ir, w, ir->f32, lanes.index), 4);
      if (score_decides(spec)) v = score;
    }
    v = ir_select(ir, ir_compare_f(ir, IR_GT, v, lowest), v, lowest);
    if (lanes.masked) v = ir_select(ir, lanes.mask, v, ir_vector_f32(ir, -INFINITY));
    ir_store(ir, v, ir_at(ir, x, ir->f32, lanes.index), 4);
  }
}

/* The largest of x and the first index that has it. */
static MlirValue find_best(hmoec_cpu_emitter *e, MlirValue x, int64_t padded, MlirValue *out_index) {
  ir_builder *ir = &e->ir;
  MlirValue first = ir_load(ir, ir->vf32, x, 4), iota = ir_iota(ir);
  ir_loop j; /* a lane keeps its first best: a later equal one does not replace it */
  ir_for_begin(ir, &j, ir_i64(ir, ir->lanes), ir_i64(ir, padded), ir->lanes, 2, (MlirValue[]){first, iota});
  MlirValue v = ir_load(ir, ir->vf32, ir_at(ir, x, ir->f32, j.index), 4);
  MlirValue index = ir_add_i(ir, iota, ir_splat(ir, ir_truncate(ir, j.index)));
  MlirValue better = ir_compare_f(ir, IR_GT, v, j.args[0]);
  ir_for_end(ir, &j, (MlirValue[]){ir_select(ir, better, v, j.args[0]), ir_select(ir, better, index, j.args[1])});
  MlirValue best = ir_reduce(ir, "maxnumf", j.args[0]);
  MlirValue is_best = ir_compare_f(ir, IR_EQ, j.args[0], ir_splat(ir, best));
  *out_index = ir_reduce(ir, "minsi", ir_select(ir, is_best, j.args[1], ir_vector_i32(ir, INT32_MAX)));
  return best;
}

/* w[j] = exp(x[j] - maximum); returns the sum. */
static MlirValue exponentials(hmoec_cpu_emitter *e, MlirValue x, int64_t padded, MlirValue maximum, MlirValue w) {
  ir_builder *ir = &e->ir;
  MlirValue most = ir_splat(ir, maximum), zero = ir_vector_f32(ir, 0.0f);
  ir_loop j;
  ir_for_begin(ir, &j, ir_i64(ir, 0), ir_i64(ir, padded), ir->lanes, 1, &zero);
  MlirValue power = ir_exp(ir, ir_sub(ir, ir_load(ir, ir->vf32, ir_at(ir, x, ir->f32, j.index), 4), most));
  ir_store(ir, power, ir_at(ir, w, ir->f32, j.index), 4);
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
  MlirValue x = task->scratch, w = ir_at_constant(ir, x, ir->f32, padded);
  MlirValue logits = hmoec_cpu_binding(e, task, 0), indices = hmoec_cpu_binding(e, task, 1), gates = hmoec_cpu_binding(e, task, 2);
  MlirValue begin, end, one = ir_i64(ir, 1);
  hmoec_cpu_row_range(e, task, task->task, spec->row_block, &begin, &end);

  ir_loop row;
  ir_for_begin(ir, &row, begin, end, 1, 0, NULL);
  MlirValue index_row = hmoec_cpu_row(e, indices, row.index, spec->top_k),
            gate_row = hmoec_cpu_row(e, gates, row.index, spec->top_k);
  load_logits(e, spec, hmoec_cpu_row(e, logits, row.index, spec->ldl), x, w);

  /* The exponentials want the maximum, which is the first round's best. */
  MlirValue index, best = find_best(e, x, padded, &index);
  MlirValue sum_all = {NULL};
  if (spec->gate != HMOEC_GATE_SCORE) sum_all = exponentials(e, x, padded, best, w);

  ir_loop s; /* rounds; carries the next index and the sum of the selected */
  ir_for_begin(ir, &s, ir_i64(ir, 0), ir_i64(ir, spec->top_k), 1, 2, (MlirValue[]){index, ir_f32(ir, 0.0f)});
  ir_store(ir, s.args[0], ir_at(ir, index_row, ir->i32, s.index), 4);
  MlirValue at = ir_extend(ir, s.args[0]);
  MlirValue gate = ir_load(ir, ir->f32, ir_at(ir, w, ir->f32, at), 4);
  ir_store(ir, gate, ir_at(ir, gate_row, ir->f32, s.index), 4);
  ir_store(ir, ir_f32(ir, -INFINITY), ir_at(ir, x, ir->f32, at), 4);
  ir_branch more;
  ir_if_begin(ir, &more, ir_compare_i(ir, IR_LT, ir_add_i(ir, s.index, one), ir_i64(ir, spec->top_k)), ir->i32);
  MlirValue next;
  find_best(e, x, padded, &next);
  ir_if_else(ir, &more, next);
  next = ir_if_end(ir, &more, s.args[0]);
  ir_for_end(ir, &s, (MlirValue[]){next, ir_add(ir, s.args[1], gate)});

  bool divided = spec->gate != HMOEC_GATE_SCORE || spec->renorm;
  if (divided) divide_gates(e, spec, gate_row, spec->gate == HMOEC_GATE_SOFTMAX_THEN_TOPK ? sum_all : s.args[1]);
  ir_for_end(ir, &row, NULL);
}
