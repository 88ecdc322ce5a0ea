/* SELECT and CONTRACT: what HyperExperts need between products. */
#include "target/cpu/emit.h"

/* Lists in scratch the experts whose table rows row `set` sums, ascending, and returns how many. */
static MlirValue list_experts(hmoec_cpu_emitter *e, const hmoec_select_spec *spec, MlirValue set, MlirValue list) {
  ir_builder *ir = &e->ir;
  MlirValue zero = ir_i64(ir, 0), one = ir_i64(ir, 1);
  ir_loop j;
  ir_for_begin(ir, &j, zero, ir_i64(ir, spec->experts), 1, 1, &zero);
  MlirValue expert = ir_truncate(ir, j.index), is_member = ir_compare_i(ir, IR_LT, one, zero);
  for (int64_t s = 0; s < spec->top_k; s++) {
    MlirValue member = ir_load(ir, ir->i32, ir_at_constant(ir, set, ir->i32, s), 4);
    is_member = ir_or(ir, is_member, ir_compare_i(ir, IR_EQ, member, expert));
  }
  /* Written always, counted if wanted: the next one overwrites it. */
  ir_store(ir, expert, ir_at(ir, list, ir->i32, j.args[0]), 4);
  MlirValue counted = spec->of == HMOEC_UNSELECTED ? ir_select(ir, is_member, zero, one) : ir_select(ir, is_member, one, zero);
  ir_for_end(ir, &j, (MlirValue[]){ir_add_i(ir, j.args[0], counted)});
  return j.args[0];
}

void hmoec_cpu_emit_select(hmoec_cpu_emitter *e, const hmoec_select_spec *spec, const hmoec_cpu_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue sets = hmoec_cpu_binding(e, task, 0), table = hmoec_cpu_binding(e, task, 1), out = hmoec_cpu_binding(e, task, 2);
  int64_t summed = spec->of == HMOEC_UNSELECTED ? spec->experts - spec->top_k : spec->top_k;
  MlirValue list = task->scratch, begin, end, zero = ir_vector_f32(ir, 0.0f);
  MlirValue scale = ir_vector_f32(ir, spec->mean && summed > 0 ? 1.0f / (float)summed : 1.0f);
  hmoec_cpu_row_range(e, task, task->task, spec->row_block, &begin, &end);
  ir_loop r;
  ir_for_begin(ir, &r, begin, end, 1, 0, NULL);
  MlirValue to = hmoec_cpu_row(e, out, r.index, spec->ld_out);
  MlirValue count = list_experts(e, spec, hmoec_cpu_row(e, sets, r.index, spec->top_k), list);
  ir_lanes lanes;
  for (ir_lanes_begin(ir, &lanes, 0, spec->embedding); ir_lanes_next(ir, &lanes);) {
    ir_loop i;
    ir_for_begin(ir, &i, ir_i64(ir, 0), count, 1, 1, &zero);
    MlirValue row = hmoec_cpu_row(e, table, hmoec_cpu_index(e, list, i.index), spec->embedding);
    ir_for_end(ir, &i, (MlirValue[]){ir_add(ir, i.args[0], ir_lanes_load(ir, &lanes, ir->vf32, row))});
    ir_lanes_store(ir, &lanes, ir_mul(ir, i.args[0], scale), to);
  }
  for (ir_lanes_begin(ir, &lanes, spec->embedding, spec->ld_out); ir_lanes_next(ir, &lanes);) ir_lanes_store(ir, &lanes, zero, to);
  ir_for_end(ir, &r, NULL);
}

typedef struct contract_row {
  MlirValue t1, beta, rho, z;
} contract_row;

/* z for columns [0, width) of the panel whose t1 starts at `t1` and whose first column is `first`. */
static void contract_panel(hmoec_cpu_emitter *e, const hmoec_contract_spec *spec, const contract_row *row, MlirValue t1,
                           MlirValue first, int64_t width) {
  ir_builder *ir = &e->ir;
  MlirValue zero = ir_vector_f32(ir, 0.0f);
  ir_lanes lanes;
  for (ir_lanes_begin(ir, &lanes, 0, width); ir_lanes_next(ir, &lanes);) {
    ir_loop m;
    ir_for_begin(ir, &m, ir_i64(ir, 0), ir_i64(ir, spec->hidden), 1, 1, &zero);
    MlirValue rho = ir_splat(ir, ir_load(ir, ir->f32, ir_at(ir, row->rho, ir->f32, m.index), 4));
    MlirValue t = ir_lanes_load(ir, &lanes, ir->vf32, hmoec_cpu_row(e, t1, m.index, HMOE_PANEL));
    ir_for_end(ir, &m, (MlirValue[]){ir_fma(ir, rho, t, m.args[0])});
    MlirValue last = ir_at_constant(ir, t1, ir->f32, spec->hidden * HMOE_PANEL); /* times 1 */
    MlirValue z = ir_add(ir, m.args[0], ir_lanes_load(ir, &lanes, ir->vf32, last));
    if (spec->has_beta) z = ir_add(ir, z, ir_lanes_load(ir, &lanes, ir->vf32, ir_at(ir, row->beta, ir->f32, first)));
    z = ir_select(ir, ir_compare_f(ir, IR_LT, z, zero), zero, z);
    ir_lanes_store(ir, &lanes, z, ir_at(ir, row->z, ir->f32, first));
  }
}

void hmoec_cpu_emit_contract(hmoec_cpu_emitter *e, const hmoec_contract_spec *spec, const hmoec_cpu_task *task) {
  ir_builder *ir = &e->ir;
  int64_t entries = spec->hidden + 1, whole = spec->bottleneck / HMOE_PANEL, rest = spec->bottleneck % HMOE_PANEL;
  MlirValue t1 = hmoec_cpu_binding(e, task, 0), r = hmoec_cpu_binding(e, task, 1), v = hmoec_cpu_binding(e, task, 3), begin, end;
  MlirValue beta = spec->has_beta ? hmoec_cpu_binding(e, task, 2) : (MlirValue){NULL};
  hmoec_cpu_row_range(e, task, task->task, spec->row_block, &begin, &end);

  ir_loop t;
  ir_for_begin(ir, &t, begin, end, 1, 0, NULL);
  contract_row row = {.t1 = hmoec_cpu_row(e, t1, t.index, spec->ld1), .rho = task->scratch};
  row.z = ir_at_constant(ir, row.rho, ir->f32, entries);
  if (spec->has_beta) row.beta = hmoec_cpu_row(e, beta, t.index, spec->ldb);
  ir_lanes lanes;
  MlirValue r_row = hmoec_cpu_row(e, r, t.index, spec->ldr);
  for (ir_lanes_begin(ir, &lanes, 0, spec->hidden); ir_lanes_next(ir, &lanes);)
    ir_lanes_store(ir, &lanes, ir_lanes_load(ir, &lanes, ir->vf32, r_row), row.rho);
  ir_store(ir, ir_f32(ir, 1.0f), ir_at_constant(ir, row.rho, ir->f32, spec->hidden), 4);

  int64_t panel_floats = entries * HMOE_PANEL;
  if (whole > 0) {
    ir_loop p;
    ir_for_begin(ir, &p, ir_i64(ir, 0), ir_i64(ir, whole), 1, 0, NULL);
    contract_panel(e, spec, &row, hmoec_cpu_row(e, row.t1, p.index, panel_floats), ir_mul_i(ir, p.index, ir_i64(ir, HMOE_PANEL)),
                   HMOE_PANEL);
    ir_for_end(ir, &p, NULL);
  }
  if (rest > 0) {
    MlirValue last = ir_at_constant(ir, row.t1, ir->f32, whole * panel_floats);
    contract_panel(e, spec, &row, last, ir_i64(ir, whole * HMOE_PANEL), rest);
  }

  /* v[t] = z (x) rho */
  MlirValue to = hmoec_cpu_row(e, v, t.index, spec->ldv);
  ir_loop k;
  ir_for_begin(ir, &k, ir_i64(ir, 0), ir_i64(ir, spec->bottleneck), 1, 0, NULL);
  MlirValue z = ir_splat(ir, ir_load(ir, ir->f32, ir_at(ir, row.z, ir->f32, k.index), 4));
  MlirValue to_k = hmoec_cpu_row(e, to, k.index, entries);
  for (ir_lanes_begin(ir, &lanes, 0, entries); ir_lanes_next(ir, &lanes);)
    ir_lanes_store(ir, &lanes, ir_mul(ir, ir_lanes_load(ir, &lanes, ir->vf32, row.rho), z), to_k);
  ir_for_end(ir, &k, NULL);
  ir_for_end(ir, &t, NULL);
}
