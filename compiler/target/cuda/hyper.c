/* SELECT and CONTRACT: what HyperExperts need between products. A warp a row. */
#include "target/cuda/cuda.h"

/* out[r] = scale * sum of the table's rows of experts in the set, or not in it, ascending */
void hmoec_cuda_emit_select(hmoec_cuda_emitter *e, const hmoec_select_spec *spec, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  MlirValue sets = cuda_binding(e, task, 0), table = cuda_binding(e, task, 1), out = cuda_binding(e, task, 2);
  int64_t summed = spec->of == HMOEC_UNSELECTED ? spec->experts - spec->top_k : spec->top_k;
  MlirValue scale = ir_f32(ir, spec->mean && summed > 0 ? 1.0f / (float)summed : 1.0f), zero = ir_f32(ir, 0.0f);
  MlirValue no = ir_compare_i(ir, IR_NE, ir_i64(ir, 0), ir_i64(ir, 0));
  ir_loop r, c, j, s;
  cuda_rows_begin(e, task, spec->row_block, CUDA_ROW_WARPS, &r);
  MlirValue set = cuda_row(e, sets, r.index, spec->top_k), to = cuda_row(e, out, r.index, spec->ld_out);
  cuda_columns_begin(e, task, 0, spec->embedding, 0, NULL, &c);
  ir_for_begin(ir, &j, ir_i64(ir, 0), ir_i64(ir, spec->experts), 1, 1, &zero);
  ir_for_begin(ir, &s, ir_i64(ir, 0), ir_i64(ir, spec->top_k), 1, 1, &no);
  MlirValue same = ir_compare_i(ir, IR_EQ, cuda_i32(e, set, s.index), ir_truncate(ir, j.index));
  ir_for_end(ir, &s, (MlirValue[]){ir_or(ir, s.args[0], same)});
  ir_branch wanted;
  ir_if_begin(ir, &wanted, spec->of == HMOEC_SELECTED ? s.args[0] : ir_compare_i(ir, IR_EQ, s.args[0], no), ir->f32);
  MlirValue added = ir_add(ir, j.args[0], cuda_f32(e, cuda_row(e, table, j.index, spec->embedding), c.index));
  ir_if_else(ir, &wanted, added);
  MlirValue sum = ir_if_end(ir, &wanted, j.args[0]);
  ir_for_end(ir, &j, &sum);
  cuda_put(e, to, c.index, ir_mul(ir, j.args[0], scale));
  ir_for_end(ir, &c, NULL);
  if (spec->embedding < spec->ld_out) {
    cuda_columns_begin(e, task, spec->embedding, spec->ld_out, 0, NULL, &c);
    cuda_put(e, to, c.index, zero);
    ir_for_end(ir, &c, NULL);
  }
  ir_for_end(ir, &r, NULL);
}

/* z of every warp's row. */
int64_t hmoec_cuda_contract_shared_bytes(const hmoec_contract_spec *spec) { return CUDA_ROW_WARPS * spec->bottleneck * 4; }

/* z[k] = relu(beta[k] + sum over m of rho[m] t1[..]), then v[k (H + 1) + m] = rho[m] z[k]; rho = [r, 1] */
void hmoec_cuda_emit_contract(hmoec_cuda_emitter *e, const hmoec_contract_spec *spec, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  int64_t entries = spec->hidden + 1;
  MlirValue t1 = cuda_binding(e, task, 0), r = cuda_binding(e, task, 1), v = cuda_binding(e, task, 3), zero = ir_f32(ir, 0.0f);
  MlirValue beta = spec->has_beta ? cuda_binding(e, task, 2) : (MlirValue){NULL}, step = ir_i64(ir, spec->step);
  MlirValue z = cuda_row(e, cuda_shared(e, 0), task->warp, spec->bottleneck);
  ir_loop t, k, m;
  cuda_rows_begin(e, task, spec->row_block, CUDA_ROW_WARPS, &t);
  MlirValue t1_row = cuda_row(e, t1, t.index, spec->ld1), rho = cuda_row(e, r, t.index, spec->ldr);
  cuda_columns_begin(e, task, 0, spec->bottleneck, 0, NULL, &k);
  MlirValue part = ir_mul_i(ir, ir_div_i(ir, k.index, step), ir_i64(ir, entries * spec->step));
  MlirValue column = ir_at(ir, t1_row, ir->f32, ir_add_i(ir, part, ir_rem_i(ir, k.index, step)));
  ir_for_begin(ir, &m, ir_i64(ir, 0), ir_i64(ir, spec->hidden), 1, 1, &zero);
  MlirValue product = cuda_fma(e, cuda_f32(e, rho, m.index), cuda_f32(e, column, ir_mul_i(ir, m.index, step)), m.args[0]);
  ir_for_end(ir, &m, &product);
  MlirValue sum = ir_add(ir, m.args[0], cuda_f32(e, column, ir_i64(ir, spec->hidden * spec->step))); /* times 1 */
  if (spec->has_beta) sum = ir_add(ir, sum, cuda_f32(e, cuda_row(e, beta, t.index, spec->ldb), k.index));
  cuda_put(e, z, k.index, ir_select(ir, ir_compare_f(ir, IR_LT, sum, zero), zero, sum));
  ir_for_end(ir, &k, NULL);
  cuda_warp_barrier(e);

  MlirValue to = cuda_row(e, v, t.index, spec->ldv), width = ir_i64(ir, entries), last = ir_i64(ir, spec->hidden);
  cuda_columns_begin(e, task, 0, spec->bottleneck * entries, 0, NULL, &k);
  MlirValue at = ir_rem_i(ir, k.index, width), z_k = cuda_f32(e, z, ir_div_i(ir, k.index, width));
  ir_branch is_last;
  ir_if_begin(ir, &is_last, ir_compare_i(ir, IR_EQ, at, last), ir->f32);
  ir_if_else(ir, &is_last, z_k);
  MlirValue value = ir_if_end(ir, &is_last, ir_mul(ir, cuda_f32(e, rho, at), z_k));
  cuda_put(e, to, k.index, value);
  ir_for_end(ir, &k, NULL);
  cuda_warp_barrier(e); /* before the next row's z */
  ir_for_end(ir, &t, NULL);
}
