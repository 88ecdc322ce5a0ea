/* What kernels of all families do with the arguments of a task. */
#include "target/cpu/emit.h"

MlirValue hmoec_cpu_binding(hmoec_cpu_emitter *e, const hmoec_cpu_task *task, int64_t number) {
  return ir_load(&e->ir, e->ir.ptr, ir_at_constant(&e->ir, task->buffers, e->ir.ptr, number), 8);
}

MlirValue hmoec_cpu_dim(hmoec_cpu_emitter *e, const hmoec_cpu_task *task, int64_t number) {
  return ir_load(&e->ir, e->ir.i64, ir_at_constant(&e->ir, task->dims, e->ir.i64, number), 8);
}

void hmoec_cpu_row_range(hmoec_cpu_emitter *e, const hmoec_cpu_task *task, MlirValue block, int64_t row_block, MlirValue *out_begin,
                         MlirValue *out_end) {
  MlirValue step = ir_i64(&e->ir, row_block);
  *out_begin = ir_mul_i(&e->ir, block, step);
  *out_end = ir_min_i(&e->ir, ir_add_i(&e->ir, *out_begin, step), task->rows);
}

MlirValue hmoec_cpu_row_of(hmoec_cpu_emitter *e, MlirValue base, MlirType element, MlirValue row, int64_t ld) {
  return ir_at(&e->ir, base, element, ir_mul_i(&e->ir, row, ir_i64(&e->ir, ld)));
}

MlirValue hmoec_cpu_row(hmoec_cpu_emitter *e, MlirValue base, MlirValue row, int64_t ld) {
  return hmoec_cpu_row_of(e, base, e->ir.f32, row, ld);
}

MlirValue hmoec_cpu_index(hmoec_cpu_emitter *e, MlirValue index, MlirValue i) {
  return ir_extend(&e->ir, ir_load(&e->ir, e->ir.i32, ir_at(&e->ir, index, e->ir.i32, i), 4));
}
