/* Kernels that map elements, out[i] = f(in[i], ...), i < call.rows, for the tests of functions: written with the generator's own parts, and in no plan.
 * bindings: 0 in, 1 out, 2 and 3 the second and third operand; of f32, or f64. A task has row_block elements, and the last vector of one is masked. */
#ifndef MAP_KERNELS_H
#define MAP_KERNELS_H

#include "ir/context.h"
#include "kernels_harness.h"
#include "target/code/math.h"
#include "target/cpu/emit.h"

/* One of three: a function of ir_math.. itself, ir_math's of that name, whose last operand may be a constant, or an activation. */
typedef struct map_function {
  MlirValue (*code)(ir_builder *ir, MlirValue x);
  const char *math;
  hmoec_activation activation;
  int operands; /* 0: 1 */
  bool is_f64, has_constant;
  double constant;
} map_function;

enum { MAP_OPERANDS = 3 };

static inline MlirValue map_apply(ir_builder *ir, const map_function *f, const MlirValue *x) {
  if (f->code) return f->code(ir, x[0]);
  return f->math ? ir_math(ir, f->math, f->operands, x) : ir_activation(ir, f->activation, x[0]);
}

static inline void map_emit(hmoec_cpu_emitter *e, const map_function *f, int64_t row_block, const hmoec_cpu_task *task) {
  static const int64_t numbers[MAP_OPERANDS] = {0, 2, 3};
  ir_builder *ir = &e->ir;
  MlirType type = f->is_f64 ? ir->vf64 : ir->vf32, element = f->is_f64 ? ir->f64 : ir->f32;
  MlirValue in[MAP_OPERANDS], x[MAP_OPERANDS], out = hmoec_cpu_binding(e, task, 1), begin, end;
  int operands = f->operands ? f->operands : 1, loaded = operands - f->has_constant;
  for (int i = 0; i < loaded; i++) in[i] = hmoec_cpu_binding(e, task, numbers[i]);
  hmoec_cpu_row_range(e, task, task->task, row_block, &begin, &end);
  MlirValue iota = ir_iota(ir);
  ir_loop i;
  ir_for_begin(ir, &i, begin, end, ir->lanes, 0, NULL);
  MlirValue left = ir_min_i(ir, ir_sub_i(ir, end, i.index), ir_i64(ir, ir->lanes));
  MlirValue mask = ir_compare_i(ir, IR_LT, iota, ir_splat(ir, ir_truncate(ir, left)));
  for (int j = 0; j < loaded; j++) x[j] = ir_load_masked(ir, type, ir_at(ir, in[j], element, i.index), mask);
  if (f->has_constant) x[loaded] = f->is_f64 ? ir_vector_f64(ir, f->constant) : ir_splat(ir, ir_f32(ir, (float)f->constant));
  ir_store_masked(ir, map_apply(ir, f, x), ir_at(ir, out, element, i.index), mask);
  ir_for_end(ir, &i, NULL);
}

/* An object of these functions; their numbers are those of its kernels. */
static inline harness_unit map_compile(const map_function *functions, size_t count, int64_t row_block) {
  hmoec_kernel *named = calloc(count, sizeof *named); /* what the object's tables are of: a kernel a function */
  assert_non_null(named);
  for (size_t i = 0; i < count; i++) named[i].family = HMOEC_KERNEL_ROWS;
  harness_unit u = harness_begin(hmoec_cpu_schedule_default(16));
  hmoec_cpu_unit unit = harness_cpu_unit(&u, named, count, NULL);
  hmoec_context_add_upstream(u.context);
  assert_true(hmoec_cpu_load_dialects(u.context, u.diagnostics));
  MlirModule module = mlirModuleCreateEmpty(mlirLocationUnknownGet(u.context));
  for (unsigned v = 0; v < HMOE_CPU_COUNT; v++) {
    if (!(unit.versions >> v & 1)) continue;
    hmoec_cpu_emitter e;
    assert_true(hmoec_cpu_emitter_init(&e, module, &unit, v, u.diagnostics));
    for (size_t i = 0; i < count; i++) {
      char name[256];
      hmoec_cpu_task task;
      assert_true(hmoec_cpu_kernel_name(&unit, i, v, name, sizeof name));
      hmoec_cpu_function_begin(&e, name, &task);
      map_emit(&e, &functions[i], row_block, &task);
      ir_function_end(&e.ir);
    }
    assert_false(e.ir.failed);
  }
  char *bytes;
  size_t size;
  assert_true(mlirOperationVerify(mlirModuleGetOperation(module)));
  assert_true(hmoec_cpu_lower(module, &unit, HMOEC_OUTPUT_OBJECT, u.diagnostics, &bytes, &size));
  mlirModuleDestroy(module);
  harness_load(&u, &unit, bytes, size);
  free(named);
  return u;
}

#endif
