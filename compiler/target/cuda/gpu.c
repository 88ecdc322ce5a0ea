/* Threads, warps, shared memory and scalars: what kernels are written with beside target/code/ir.h. */
#include <stdio.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <mlir-c/Dialect/LLVM.h>

#include "target/code/math.h"
#include "target/code/scalar.h"
#include "target/cuda/cuda.h"

enum { NAME_SIZE = 256, SHARED_ALIGNMENT = 1024 };

static MlirStringRef text(const char *string) { return mlirStringRefCreateFromCString(string); }

static MlirNamedAttribute named(hmoec_cuda_emitter *e, const char *name, MlirAttribute value) {
  return mlirNamedAttributeGet(mlirIdentifierGet(e->ir.context, text(name)), value);
}

static MlirAttribute parsed(hmoec_cuda_emitter *e, const char *written) {
  MlirAttribute attribute = mlirAttributeParseGet(e->ir.context, text(written));
  if (!mlirAttributeIsNull(attribute)) return attribute;
  e->ir.failed = true;
  return mlirUnitAttrGet(e->ir.context);
}

static MlirValue special(hmoec_cuda_emitter *e, const char *name) {
  return ir_extend(&e->ir, ir_intrinsic(&e->ir, name, e->ir.i32, 0, NULL));
}

/* Shared memory of a kernel: its own, or what the launch gives.
 *   llvm.mlir.global internal @NAME_shared() {addr_space = 3, alignment = 1024} : !llvm.array<bytes x i8>    external, of no bytes */
static MlirValue declare_shared(hmoec_cuda_emitter *e, const char *kernel, int64_t bytes) {
  char name[NAME_SIZE];
  bool own = bytes <= HMOE_CUDA_OWN_SHARED_BYTES;
  snprintf(name, sizeof name, "%s_shared", kernel);
  MlirLocation location = mlirLocationUnknownGet(e->ir.context);
  MlirRegion region = mlirRegionCreate();
  MlirType type = mlirLLVMArrayTypeGet(e->ir.i8, own ? (unsigned)bytes : 0);
  MlirNamedAttribute list[] = {
      named(e, "sym_name", mlirStringAttrGet(e->ir.context, text(name))), named(e, "global_type", mlirTypeAttrGet(type)),
      named(e, "linkage", mlirLLVMLinkageAttrGet(e->ir.context, own ? MlirLLVMLinkageInternal : MlirLLVMLinkageExternal)),
      named(e, "alignment", mlirIntegerAttrGet(e->ir.i64, SHARED_ALIGNMENT)),
      named(e, "addr_space", mlirIntegerAttrGet(e->ir.i32, 3))};
  MlirOperationState state = mlirOperationStateGet(text("llvm.mlir.global"), location);
  mlirOperationStateAddAttributes(&state, sizeof list / sizeof *list, list);
  mlirOperationStateAddOwnedRegions(&state, 1, &region);
  MlirOperation global = mlirOperationCreate(&state);
  if (own) { /* without a value it is a declaration, which the translation takes for external: what shared memory holds at first is undefined */
    MlirBlock body = mlirBlockCreate(0, NULL, NULL), outer = e->ir.block;
    mlirRegionAppendOwnedBlock(mlirOperationGetRegion(global, 0), body);
    e->ir.block = body;
    MlirValue nothing = ir_op(&e->ir, "llvm.mlir.undef", type, 0, NULL, NULL, mlirAttributeGetNull());
    MlirOperationState ends = mlirOperationStateGet(text("llvm.return"), location);
    mlirOperationStateAddOperands(&ends, 1, &nothing);
    mlirBlockAppendOwnedOperation(body, mlirOperationCreate(&ends));
    e->ir.block = outer;
  }
  mlirBlockAppendOwnedOperation(e->module_body, global);
  return ir_op(&e->ir, "llvm.mlir.addressof", e->shared, 0, NULL, "global_name",
               mlirFlatSymbolRefAttrGet(e->ir.context, text(name)));
}

void cuda_follow(hmoec_cuda_emitter *e) {
  if (!e->chip->waits) return;
  cuda_assembly(e, "griddepcontrol.wait;", "~{memory}", (MlirType){NULL}, 0, NULL);
  cuda_assembly(e, "griddepcontrol.launch_dependents;", "~{memory}", (MlirType){NULL}, 0, NULL);
}

void cuda_follow_unless(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, int64_t least) {
  ir_builder *ir = &e->ir;
  if (!e->chip->waits) return;
  MlirValue early = ir_load(ir, ir->i64, ir_at_constant(ir, task->call, ir->i64, offsetof(hmoe_cuda_call, early) / 8), 8);
  ir_branch late;
  ir_if_begin(ir, &late, ir_compare_i(ir, IR_LT, early, ir_i64(ir, least)), (MlirType){NULL});
  cuda_follow(e);
  cuda_if_end(e, &late);
}

/* Rows of the call: all of them, or as many as the device has counted. */
static MlirValue rows_of(hmoec_cuda_emitter *e, MlirValue call, bool may_be_counted) {
  ir_builder *ir = &e->ir;
  MlirValue most = ir_load(ir, ir->i64, ir_at_constant(ir, call, ir->i64, offsetof(hmoe_cuda_call, rows) / 8), 8);
  if (!may_be_counted) return most;
  MlirValue count = ir_load(ir, e->global, ir_at_constant(ir, call, ir->i64, offsetof(hmoe_cuda_call, count) / 8), 8);
  ir_branch known;
  ir_if_begin(ir, &known, cuda_is_null(e, count), ir->i64);
  ir_if_else(ir, &known, most);
  return ir_if_end(ir, &known, ir_min_i(ir, most, ir_extend(ir, ir_load(ir, ir->i32, count, 4))));
}

hmoec_cuda_task hmoec_cuda_kernel_begin(hmoec_cuda_emitter *e, const char *name, int64_t threads, int64_t shared_bytes, bool alone,
                                        hmoec_cuda_waits waits) {
  ir_builder *ir = &e->ir;
  char written[NAME_SIZE];
  MlirLocation location = mlirLocationUnknownGet(ir->context);
  MlirRegion region = mlirRegionCreate();
  MlirBlock body = mlirBlockCreate(1, &ir->ptr, &location);
  mlirRegionAppendOwnedBlock(region, body);
  MlirType type = mlirLLVMFunctionTypeGet(mlirLLVMVoidTypeGet(ir->context), 1, &ir->ptr, false);
  snprintf(written, sizeof written, "[{llvm.byval = !llvm.array<%zu x i64>, llvm.align = 8 : i64, nvvm.grid_constant}]",
           sizeof(hmoe_cuda_call) / sizeof(int64_t));
  MlirAttribute argument = parsed(e, written);
  snprintf(written, sizeof written, "array<i32: %d, 1, 1>", (int)threads);
  MlirNamedAttribute list[] = {named(e, "sym_name", mlirStringAttrGet(ir->context, text(name))),
                               named(e, "function_type", mlirTypeAttrGet(type)),
                               named(e, "linkage", mlirLLVMLinkageAttrGet(ir->context, MlirLLVMLinkageExternal)),
                               named(e, "nvvm.kernel", mlirUnitAttrGet(ir->context)),
                               named(e, "nvvm.reqntid", parsed(e, written)),
                               named(e, "arg_attrs", argument),
                               named(e, "nvvm.minctasm", mlirIntegerAttrGet(e->ir.i32, 1))};
  MlirOperationState state = mlirOperationStateGet(text("llvm.func"), location);
  mlirOperationStateAddAttributes(&state, sizeof list / sizeof *list - !alone, list);
  mlirOperationStateAddOwnedRegions(&state, 1, &region);
  mlirBlockAppendOwnedOperation(e->module_body, mlirOperationCreate(&state));
  ir->block = body;
  ir->module_body = e->module_body;
  ir->attributes = parsed(e, "[]"); /* of functions that it calls */
  e->shared_base = shared_bytes ? declare_shared(e, name, shared_bytes) : (MlirValue){NULL};

  hmoec_cuda_task task = {.call = mlirBlockGetArgument(body, 0)};
  e->waits = e->chip->waits ? waits : CUDA_WAITS;
  if (e->waits == CUDA_WAITS) cuda_follow(e);
  if (e->waits == CUDA_WAITS_UNLESS_OLDER) cuda_follow_unless(e, &task, HMOE_CUDA_EARLY_WEIGHTS);
  task.rows = rows_of(e, task.call, waits != CUDA_WAITS_LATER);
  task.splits = ir_load(ir, ir->i64, ir_at_constant(ir, task.call, ir->i64, offsetof(hmoe_cuda_call, splits) / 8), 8);
  task.first_block = ir_load(ir, ir->i64, ir_at_constant(ir, task.call, ir->i64, offsetof(hmoe_cuda_call, first_block) / 8), 8);
  task.blocks = ir_load(ir, ir->i64, ir_at_constant(ir, task.call, ir->i64, offsetof(hmoe_cuda_call, blocks) / 8), 8);
  task.task = special(e, "llvm.nvvm.read.ptx.sreg.ctaid.x");
  task.tasks = special(e, "llvm.nvvm.read.ptx.sreg.nctaid.x");
  task.thread = special(e, "llvm.nvvm.read.ptx.sreg.tid.x");
  task.warp = ir_div_i(ir, task.thread, ir_i64(ir, CUDA_WARP));
  task.lane = ir_rem_i(ir, task.thread, ir_i64(ir, CUDA_WARP));
  return task;
}

void hmoec_cuda_kernel_end(hmoec_cuda_emitter *e) {
  if (e->waits != CUDA_WAITS) cuda_follow(e); /* tasks that there turn out not to be have not yet */
  ir_function_end(&e->ir);
}

MlirValue cuda_binding(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, int64_t number) {
  return ir_load(&e->ir, e->global, ir_at_constant(&e->ir, task->call, e->ir.i64, number), 8);
}

MlirValue cuda_dim(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, int64_t number) {
  int64_t first = (int64_t)offsetof(hmoe_cuda_call, dims) / 8;
  return ir_load(&e->ir, e->ir.i64, ir_at_constant(&e->ir, task->call, e->ir.i64, first + number), 8);
}

MlirValue cuda_f32(hmoec_cuda_emitter *e, MlirValue base, MlirValue index) {
  return ir_load(&e->ir, e->ir.f32, ir_at(&e->ir, base, e->ir.f32, index), 4);
}

MlirValue cuda_i32(hmoec_cuda_emitter *e, MlirValue base, MlirValue index) {
  return ir_load(&e->ir, e->ir.i32, ir_at(&e->ir, base, e->ir.i32, index), 4);
}

void cuda_put(hmoec_cuda_emitter *e, MlirValue base, MlirValue index, MlirValue value) {
  MlirType type = mlirValueGetType(value);
  ir_store(&e->ir, value, ir_at(&e->ir, base, type, index), mlirTypeEqual(type, e->ir.i16) ? 2 : 4);
}

MlirValue cuda_row_of(hmoec_cuda_emitter *e, MlirValue base, MlirType element, MlirValue row, int64_t ld) {
  return ir_at(&e->ir, base, element, ir_mul_i(&e->ir, row, ir_i64(&e->ir, ld)));
}

MlirValue cuda_row(hmoec_cuda_emitter *e, MlirValue base, MlirValue row, int64_t ld) {
  return cuda_row_of(e, base, e->ir.f32, row, ld);
}

MlirValue cuda_index(hmoec_cuda_emitter *e, MlirValue index, MlirValue i) {
  return mlirValueIsNull(index) ? i : ir_extend(&e->ir, cuda_i32(e, index, i));
}

MlirValue cuda_shared(hmoec_cuda_emitter *e, int64_t byte) { return ir_at_constant(&e->ir, e->shared_base, e->ir.i8, byte); }

void cuda_barrier(hmoec_cuda_emitter *e) {
  MlirValue number = ir_i32(&e->ir, 0);
  ir_intrinsic(&e->ir, "llvm.nvvm.barrier.cta.sync.aligned.all", (MlirType){NULL}, 1, &number);
}

void cuda_warp_barrier(hmoec_cuda_emitter *e) {
  MlirValue all = ir_i32(&e->ir, -1);
  ir_intrinsic(&e->ir, "llvm.nvvm.bar.warp.sync", (MlirType){NULL}, 1, &all);
}

MlirValue cuda_element(hmoec_cuda_emitter *e, MlirValue vector, MlirType type, int64_t i) {
  MlirValue operands[] = {vector, ir_i64(&e->ir, i)};
  return ir_op(&e->ir, "llvm.extractelement", type, 2, operands, NULL, mlirAttributeGetNull());
}

void cuda_load_four(hmoec_cuda_emitter *e, MlirValue from, MlirValue out_values[4]) {
  int64_t count = 4;
  MlirValue four = ir_load(&e->ir, mlirVectorTypeGet(1, &count, e->ir.f32), from, 16);
  for (int64_t i = 0; i < count; i++) out_values[i] = cuda_element(e, four, e->ir.f32, i);
}

MlirValue cuda_member(hmoec_cuda_emitter *e, MlirValue structure, MlirType type, int64_t i) {
  return ir_op(&e->ir, "llvm.extractvalue", type, 1, &structure, "position", mlirDenseI64ArrayGet(e->ir.context, 1, &i));
}

MlirValue cuda_with_element(hmoec_cuda_emitter *e, MlirValue vector, MlirValue value, int64_t i) {
  MlirValue operands[] = {vector, value, ir_i64(&e->ir, i)};
  return ir_op(&e->ir, "llvm.insertelement", mlirValueGetType(vector), 3, operands, NULL, mlirAttributeGetNull());
}

MlirValue cuda_two(hmoec_cuda_emitter *e, MlirValue first, MlirValue second) {
  return cuda_with_element(e, ir_splat_to(&e->ir, first, 2), second, 1);
}

/* Lane i gets the value of lane i ^ distance. */
static MlirValue exchange(hmoec_cuda_emitter *e, MlirValue value, int32_t distance) {
  ir_builder *ir = &e->ir;
  MlirType type = mlirValueGetType(value);
  bool is_float = mlirTypeIsAF32(type);
  MlirValue operands[] = {ir_i32(ir, -1), value, ir_i32(ir, distance), ir_i32(ir, 31)};
  return ir_intrinsic(ir, is_float ? "llvm.nvvm.shfl.sync.bfly.f32" : "llvm.nvvm.shfl.sync.bfly.i32", type, 4, operands);
}

MlirValue cuda_lane_below(hmoec_cuda_emitter *e, MlirValue value, int32_t distance) {
  ir_builder *ir = &e->ir;
  MlirType type = mlirValueGetType(value);
  MlirValue operands[] = {ir_i32(ir, -1), value, ir_i32(ir, distance), ir_i32(ir, 0)};
  return ir_intrinsic(ir, mlirTypeIsAF32(type) ? "llvm.nvvm.shfl.sync.up.f32" : "llvm.nvvm.shfl.sync.up.i32", type, 4, operands);
}

MlirValue cuda_lane_value(hmoec_cuda_emitter *e, MlirValue value, MlirValue lane) {
  ir_builder *ir = &e->ir;
  MlirValue operands[] = {ir_i32(ir, -1), value, lane, ir_i32(ir, CUDA_WARP - 1)};
  return ir_intrinsic(ir, "llvm.nvvm.shfl.sync.idx.f32", ir->f32, 4, operands);
}

static void change(hmoec_cuda_emitter *e, int how, MlirValue address, MlirValue value) {
  enum { MONOTONIC = 2 }; /* of the llvm dialect's enumerations, as is `how` */
  MlirType type = mlirValueGetType(value);
  MlirNamedAttribute list[] = {named(e, "bin_op", mlirIntegerAttrGet(e->ir.i64, how)),
                               named(e, "ordering", mlirIntegerAttrGet(e->ir.i64, MONOTONIC))};
  MlirValue operands[] = {address, value};
  MlirOperationState state = mlirOperationStateGet(text("llvm.atomicrmw"), mlirLocationUnknownGet(e->ir.context));
  mlirOperationStateAddOperands(&state, 2, operands);
  mlirOperationStateAddResults(&state, 1, &type);
  mlirOperationStateAddAttributes(&state, 2, list);
  mlirBlockAppendOwnedOperation(e->ir.block, mlirOperationCreate(&state));
}

void cuda_atomic_least(hmoec_cuda_emitter *e, MlirValue address, MlirValue value) {
  enum { UNSIGNED_MINIMUM = 10 };
  change(e, UNSIGNED_MINIMUM, address, value);
}

void cuda_atomic_add(hmoec_cuda_emitter *e, MlirValue address, MlirValue value) {
  enum { SUM = 1 };
  change(e, SUM, address, value);
}

MlirValue cuda_reduce(hmoec_cuda_emitter *e, cuda_reduction how, MlirValue value) {
  if (how == CUDA_MAX_I || how == CUDA_MIN_I) { /* one instruction */
    MlirValue operands[] = {value, ir_i32(&e->ir, -1)};
    return ir_intrinsic(&e->ir, how == CUDA_MAX_I ? "llvm.nvvm.redux.sync.max" : "llvm.nvvm.redux.sync.min", e->ir.i32, 2,
                        operands);
  }
  return cuda_reduce_over(e, how, value, CUDA_WARP / 2, 1);
}

MlirValue cuda_reduce_over(hmoec_cuda_emitter *e, cuda_reduction how, MlirValue value, int32_t farthest, int32_t nearest) {
  for (int32_t distance = farthest; distance >= nearest; distance /= 2) {
    MlirValue other = exchange(e, value, distance);
    switch (how) {
    case CUDA_SUM: value = ir_add(&e->ir, value, other); break;
    case CUDA_MAX: value = ir_select(&e->ir, ir_compare_f(&e->ir, IR_GT, other, value), other, value); break;
    case CUDA_SUM_I: value = ir_add_i(&e->ir, value, other); break;
    case CUDA_MAX_I: value = ir_max_i(&e->ir, value, other); break;
    case CUDA_MIN_I: value = ir_min_i(&e->ir, value, other); break;
    }
  }
  return value;
}

MlirValue cuda_goes_before(hmoec_cuda_emitter *e, MlirValue value, MlirValue place, MlirValue other, MlirValue other_place) {
  ir_builder *ir = &e->ir;
  MlirValue tie = ir_and(ir, ir_compare_f(ir, IR_EQ, value, other), ir_compare_i(ir, IR_LT, place, other_place));
  return ir_or(ir, ir_compare_f(ir, IR_GT, value, other), tie);
}

void cuda_reduce_first(hmoec_cuda_emitter *e, MlirValue *value, MlirValue *place) {
  ir_builder *ir = &e->ir;
  for (int32_t distance = CUDA_WARP / 2; distance >= 1; distance /= 2) {
    MlirValue other = exchange(e, *value, distance), other_place = exchange(e, *place, distance);
    MlirValue takes = cuda_goes_before(e, other, other_place, *value, *place);
    *value = ir_select(ir, takes, other, *value);
    *place = ir_select(ir, takes, other_place, *place);
  }
}

MlirValue cuda_same_set(hmoec_cuda_emitter *e, MlirValue set, MlirValue other, MlirValue top_k) {
  ir_builder *ir = &e->ir;
  MlirValue zero = ir_i64(ir, 0), yes = ir_compare_i(ir, IR_EQ, zero, zero);
  ir_loop s;
  ir_for_begin(ir, &s, zero, top_k, 1, 1, &yes);
  MlirValue same = ir_compare_i(ir, IR_EQ, cuda_i32(e, set, s.index), cuda_i32(e, other, s.index));
  ir_for_end(ir, &s, (MlirValue[]){ir_and(ir, s.args[0], same)});
  return s.args[0];
}

MlirValue cuda_fma(hmoec_cuda_emitter *e, MlirValue a, MlirValue b, MlirValue c) {
  return ir_op(&e->ir, "llvm.intr.fma", e->ir.f32, 3, (MlirValue[]){a, b, c}, NULL, mlirAttributeGetNull());
}

MlirValue cuda_activation(hmoec_cuda_emitter *e, hmoec_activation activation, MlirValue x) {
  if (activation == HMOEC_ACTIVATION_NONE) return x;
  return cuda_element(e, ir_activation(&e->ir, activation, ir_splat(&e->ir, x)), e->ir.f32, 0);
}

MlirValue cuda_activation_of_two(hmoec_cuda_emitter *e, hmoec_activation activation, MlirValue x, MlirValue y) {
  const hmoec_scalar_program *function = hmoec_activation_function(e->ir.functions, activation);
  MlirValue operands[] = {ir_splat(&e->ir, x), ir_splat(&e->ir, y)};
  return cuda_element(e, ir_scalar(&e->ir, function, operands), e->ir.f32, 0);
}

MlirValue cuda_to_bf16(hmoec_cuda_emitter *e, MlirValue x) {
  return cuda_element(e, ir_to_bf16(&e->ir, ir_splat(&e->ir, x)), e->ir.i16, 0);
}

MlirValue cuda_from_bf16(hmoec_cuda_emitter *e, MlirValue half) {
  return cuda_element(e, ir_from_bf16(&e->ir, ir_splat(&e->ir, half)), e->ir.f32, 0);
}

MlirValue cuda_bf16_word(hmoec_cuda_emitter *e, MlirValue low, MlirValue high) {
  ir_builder *ir = &e->ir;
  int64_t two = 2;
  MlirType pair = mlirVectorTypeGet(1, &two, mlirBF16TypeGet(ir->context));
  MlirValue word = ir_intrinsic(ir, "llvm.nvvm.ff2bf16x2.rn", pair, 2, (MlirValue[]){high, low});
  return ir_op(ir, "llvm.bitcast", ir->i32, 1, &word, NULL, mlirAttributeGetNull());
}

MlirValue cuda_word(hmoec_cuda_emitter *e, MlirValue low, MlirValue high) {
  ir_builder *ir = &e->ir;
  MlirValue wide[] = {ir_op(ir, "llvm.zext", ir->i32, 1, &low, NULL, mlirAttributeGetNull()),
                      ir_op(ir, "llvm.zext", ir->i32, 1, &high, NULL, mlirAttributeGetNull())};
  return ir_or(ir, wide[0], ir_shift_left(ir, wide[1], ir_i32(ir, 16)));
}

MlirValue cuda_exp(hmoec_cuda_emitter *e, MlirValue x) {
  return cuda_element(e, ir_exp(&e->ir, ir_splat(&e->ir, x)), e->ir.f32, 0);
}

MlirValue cuda_is_null(hmoec_cuda_emitter *e, MlirValue pointer) {
  ir_builder *ir = &e->ir;
  return ir_compare_i(ir, IR_EQ, ir_op(ir, "llvm.ptrtoint", ir->i64, 1, &pointer, NULL, mlirAttributeGetNull()), ir_i64(ir, 0));
}

MlirValue cuda_element_begin(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, int64_t threads, ir_branch *real) {
  ir_builder *ir = &e->ir;
  MlirValue i = ir_add_i(ir, ir_mul_i(ir, task->task, ir_i64(ir, threads)), task->thread);
  ir_if_begin(ir, real, ir_compare_i(ir, IR_LT, i, task->rows), (MlirType){NULL});
  return i;
}

void cuda_prefix_sums(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, int64_t threads, int count, const MlirValue *values,
                      MlirValue *out_before, MlirValue *out_all) {
  ir_builder *ir = &e->ir;
  int64_t warps = threads / CUDA_WARP;
  MlirValue zero = ir_i64(ir, 0);
  /* Inclusive, by steps of 1, 2, 4 ... lanes; out_before holds it until all warps' sums are known. */
  for (int v = 0; v < count; v++) {
    MlirValue within = values[v];
    for (int32_t step = 1; step < CUDA_WARP; step *= 2) {
      MlirValue below = ir_extend(ir, cuda_lane_below(e, ir_truncate(ir, within), step));
      MlirValue has = ir_compare_i(ir, IR_GE, task->lane, ir_i64(ir, step));
      within = ir_add_i(ir, within, ir_select(ir, has, below, zero));
    }
    ir_branch last;
    ir_if_begin(ir, &last, ir_compare_i(ir, IR_EQ, task->lane, ir_i64(ir, CUDA_WARP - 1)), (MlirType){NULL});
    cuda_put(e, cuda_shared(e, v * warps * 4), task->warp, ir_truncate(ir, within));
    cuda_if_end(e, &last);
    out_before[v] = within;
  }
  cuda_barrier(e);
  for (int v = 0; v < count; v++) {
    MlirValue before = zero, all = zero;
    for (int64_t w = 0; w < warps; w++) {
      MlirValue sum = ir_extend(ir, cuda_i32(e, cuda_shared(e, v * warps * 4), ir_i64(ir, w)));
      before = ir_add_i(ir, before, ir_select(ir, ir_compare_i(ir, IR_LT, ir_i64(ir, w), task->warp), sum, zero));
      all = ir_add_i(ir, all, sum);
    }
    out_before[v] = ir_add_i(ir, before, ir_sub_i(ir, out_before[v], values[v]));
    out_all[v] = all;
  }
  cuda_barrier(e);
}

void cuda_if_end(hmoec_cuda_emitter *e, ir_branch *branch) {
  ir_if_else(&e->ir, branch, (MlirValue){NULL});
  ir_if_end(&e->ir, branch, (MlirValue){NULL});
}

MlirValue cuda_block_at(hmoec_cuda_emitter *e, MlirValue blocks, MlirValue number) {
  MlirValue list = ir_at_constant(&e->ir, blocks, e->ir.i8, sizeof(hmoe_blocks));
  return cuda_row_of(e, list, e->ir.i32, number, (int64_t)sizeof(hmoe_block) / 4);
}

void cuda_put_block(hmoec_cuda_emitter *e, MlirValue blocks, MlirValue number, MlirValue group, MlirValue row, MlirValue rows,
                    int32_t dropped) {
  ir_builder *ir = &e->ir;
  MlirValue block = cuda_block_at(e, blocks, number);
  cuda_put(e, block, ir_i64(ir, offsetof(hmoe_block, group) / 4), ir_truncate(ir, group));
  cuda_put(e, block, ir_i64(ir, offsetof(hmoe_block, row) / 4), ir_truncate(ir, row));
  cuda_put(e, block, ir_i64(ir, offsetof(hmoe_block, rows) / 4), ir_truncate(ir, rows));
  cuda_put(e, block, ir_i64(ir, offsetof(hmoe_block, dropped) / 4), ir_i32(ir, dropped));
}

void cuda_put_blocks_header(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, MlirValue blocks, MlirValue count,
                            MlirValue groups) {
  ir_builder *ir = &e->ir;
  const struct {
    size_t at;
    MlirValue value;
  } fields[] = {{offsetof(hmoe_blocks, count) / 4, count},
                {offsetof(hmoe_blocks, groups) / 4, groups},
                {offsetof(hmoe_blocks, rows) / 4, task->rows}};
  ir_branch header;
  ir_if_begin(ir, &header, ir_compare_i(ir, IR_LT, task->thread, ir_i64(ir, sizeof(hmoe_blocks) / 4)), (MlirType){NULL});
  MlirValue word = ir_i64(ir, 0);
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
    word = ir_select(ir, ir_compare_i(ir, IR_EQ, task->thread, ir_i64(ir, (int64_t)fields[i].at)), fields[i].value, word);
  cuda_put(e, blocks, task->thread, ir_truncate(ir, word));
  cuda_if_end(e, &header);
}

void cuda_rows_begin(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, int64_t row_block, int64_t warps, ir_loop *out_loop) {
  ir_builder *ir = &e->ir;
  MlirValue step = ir_i64(ir, row_block), begin = ir_mul_i(ir, task->task, step);
  MlirValue end = ir_min_i(ir, ir_add_i(ir, begin, step), task->rows);
  ir_for_begin(ir, out_loop, ir_add_i(ir, begin, task->warp), end, warps, 0, NULL);
}

void cuda_columns_begin(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, int64_t begin, int64_t end, intptr_t count,
                        const MlirValue *initial, ir_loop *out_loop) {
  ir_builder *ir = &e->ir;
  MlirValue first = begin ? ir_add_i(ir, task->lane, ir_i64(ir, begin)) : task->lane;
  ir_for_begin(ir, out_loop, first, ir_i64(ir, end), CUDA_WARP, count, initial);
}

void cuda_some_columns_begin(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, int64_t n, cuda_some_columns *out_columns) {
  ir_builder *ir = &e->ir;
  ir_for_begin(ir, &out_columns->loop, task->lane, ir_i64(ir, n), CUDA_COLUMNS_AT_ONCE * CUDA_WARP, 0, NULL);
  MlirValue first = out_columns->loop.index;
  for (int64_t i = 0; i < CUDA_COLUMNS_AT_ONCE; i++) {
    MlirValue column = ir_add_i(ir, first, ir_i64(ir, i * CUDA_WARP));
    out_columns->there[i] = ir_compare_i(ir, IR_LT, column, ir_i64(ir, n));
    out_columns->at[i] = i ? ir_select(ir, out_columns->there[i], column, first) : first;
  }
}

void cuda_some_columns_put(hmoec_cuda_emitter *e, const cuda_some_columns *columns, MlirValue to,
                           const MlirValue values[CUDA_COLUMNS_AT_ONCE]) {
  for (int64_t i = 0; i < CUDA_COLUMNS_AT_ONCE; i++) {
    ir_branch there;
    if (i) ir_if_begin(&e->ir, &there, columns->there[i], (MlirType){NULL});
    cuda_put(e, to, columns->at[i], values[i]);
    if (i) cuda_if_end(e, &there);
  }
}

void cuda_some_columns_end(hmoec_cuda_emitter *e, cuda_some_columns *columns) { ir_for_end(&e->ir, &columns->loop, NULL); }

/* Read early, it comes from where all multiprocessors meet: what this one has in its own cache may be older. */
static MlirValue block_field(hmoec_cuda_emitter *e, MlirValue block, size_t offset) {
  MlirValue at = ir_at_constant(&e->ir, block, e->ir.i32, (int64_t)offset / 4);
  if (e->waits == CUDA_WAITS_UNLESS_OLDER)
    return cuda_assembly(e, "ld.relaxed.gpu.global.b32 $0, [$1];", "=r,l,~{memory}", e->ir.i32, 1, &at);
  return ir_load(&e->ir, e->ir.i32, at, 4);
}

MlirValue cuda_block_count(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, MlirValue blocks, int64_t row_block) {
  ir_builder *ir = &e->ir;
  if (mlirValueIsNull(blocks)) return ir_div_i(ir, ir_add_i(ir, task->rows, ir_i64(ir, row_block - 1)), ir_i64(ir, row_block));
  MlirValue first = block_field(e, blocks, offsetof(hmoe_blocks, first)),
            end = block_field(e, blocks, offsetof(hmoe_blocks, count));
  return ir_extend(ir, ir_sub_i(ir, end, first));
}

void cuda_block_load(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, MlirValue blocks, int64_t row_block, MlirValue number,
                     cuda_block *out_block) {
  ir_builder *ir = &e->ir;
  MlirValue step = ir_i64(ir, row_block), zero = ir_i64(ir, 0);
  out_block->number = number;
  if (!mlirValueIsNull(blocks)) number = ir_add_i(ir, number, ir_extend(ir, block_field(e, blocks, offsetof(hmoe_blocks, first))));
  if (mlirValueIsNull(blocks)) {
    out_block->row = ir_mul_i(ir, number, step);
    out_block->rows = ir_min_i(ir, step, ir_sub_i(ir, task->rows, out_block->row));
    out_block->group = zero;
    out_block->dropped = ir_compare_i(ir, IR_NE, zero, zero);
    return;
  }
  MlirValue block = cuda_block_at(e, blocks, number);
  out_block->group = ir_extend(ir, block_field(e, block, offsetof(hmoe_block, group)));
  out_block->row = ir_extend(ir, block_field(e, block, offsetof(hmoe_block, row)));
  out_block->rows = ir_extend(ir, block_field(e, block, offsetof(hmoe_block, rows)));
  out_block->dropped = ir_compare_i(ir, IR_NE, block_field(e, block, offsetof(hmoe_block, dropped)), ir_i32(ir, 0));
}

void cuda_block_begin(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, MlirValue blocks, int64_t row_block,
                      cuda_block *out_block) {
  ir_builder *ir = &e->ir;
  MlirValue number = ir_div_i(ir, task->task, task->splits);
  *out_block = (cuda_block){.split = ir_rem_i(ir, task->task, task->splits), .grouped = !mlirValueIsNull(blocks)};
  if (out_block->grouped) {
    number = ir_add_i(ir, number, task->first_block);
    MlirValue count = cuda_block_count(e, task, blocks, row_block);
    ir_if_begin(ir, &out_block->exists, ir_compare_i(ir, IR_LT, number, count), (MlirType){NULL});
  }
  cuda_block_load(e, task, blocks, row_block, number, out_block);
}

void cuda_block_end(hmoec_cuda_emitter *e, cuda_block *block) {
  if (block->grouped) cuda_if_end(e, &block->exists);
}

void cuda_block_share(hmoec_cuda_emitter *e, const hmoec_cuda_task *task, const cuda_block *block, int64_t count,
                      MlirValue *out_begin, MlirValue *out_end) {
  ir_builder *ir = &e->ir;
  MlirValue all = ir_i64(ir, count), next = ir_add_i(ir, block->split, ir_i64(ir, 1));
  *out_begin = ir_div_i(ir, ir_mul_i(ir, all, block->split), task->splits);
  *out_end = ir_div_i(ir, ir_mul_i(ir, all, next), task->splits);
}

MlirValue cuda_place(hmoec_cuda_emitter *e, MlirValue k, MlirValue r) {
  ir_builder *ir = &e->ir;
  MlirValue eight = ir_i64(ir, 8), piece = ir_xor(ir, ir_div_i(ir, k, eight), ir_rem_i(ir, r, eight));
  return ir_add_i(ir, ir_mul_i(ir, piece, eight), ir_rem_i(ir, k, eight));
}

MlirValue cuda_mma_bf16(hmoec_cuda_emitter *e, const MlirValue a[4], const MlirValue b[2], MlirValue sums) {
  enum { SUMS = 4 };
  ir_builder *ir = &e->ir;
  const MlirType types[SUMS] = {ir->f32, ir->f32, ir->f32, ir->f32};
  MlirType result = mlirLLVMStructTypeLiteralGet(ir->context, SUMS, types, false);
  MlirValue operands[6 + SUMS] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  for (int64_t i = 0; i < SUMS; i++) operands[6 + i] = cuda_element(e, sums, ir->f32, i);
  MlirValue all = ir_intrinsic(ir, "llvm.nvvm.mma.m16n8k16.row.col.bf16", result, 6 + SUMS, operands);
  MlirValue out = sums;
  for (int64_t i = 0; i < SUMS; i++) out = cuda_with_element(e, out, cuda_member(e, all, ir->f32, i), i);
  return out;
}

void cuda_copy_async(hmoec_cuda_emitter *e, MlirValue to, MlirValue from, MlirValue bytes) {
  MlirValue operands[] = {to, from, bytes};
  ir_intrinsic(&e->ir, "llvm.nvvm.cp.async.cg.shared.global.16.s", (MlirType){NULL}, 3, operands);
}

void cuda_copy_commit(hmoec_cuda_emitter *e) { ir_intrinsic(&e->ir, "llvm.nvvm.cp.async.commit.group", (MlirType){NULL}, 0, NULL); }

void cuda_copy_wait(hmoec_cuda_emitter *e, int32_t groups) {
  MlirValue count = ir_i32(&e->ir, groups);
  ir_intrinsic(&e->ir, "llvm.nvvm.cp.async.wait.group", (MlirType){NULL}, 1, &count);
}

void cuda_load_where(hmoec_cuda_emitter *e, MlirValue from, MlirValue real, int count, MlirValue *out_values) {
  static const struct {
    const char *text, *constraints;
  } loads[] = {
      [1] = {"{\n\t.reg .pred real;\n\tsetp.ne.s32 real, $2, 0;\n\tmov.f32 $0, 0f00000000;\n\t@real ld.global.f32 $0, [$1];\n\t}",
             "=f,l,r,~{memory}"},
      [2] = {"{\n\t.reg .pred real;\n\tsetp.ne.s32 real, $3, 0;\n\tmov.f32 $0, 0f00000000;\n\tmov.f32 $1, 0f00000000;\n\t@real "
             "ld.global.v2.f32 {$0, $1}, [$2];\n\t}",
             "=f,=f,l,r,~{memory}"},
      [4] = {
          "{\n\t.reg .pred real;\n\tsetp.ne.s32 real, $5, 0;\n\tmov.f32 $0, 0f00000000;\n\tmov.f32 $1, 0f00000000;\n\tmov.f32 $2, "
          "0f00000000;\n\tmov.f32 $3, 0f00000000;\n\t@real ld.global.v4.f32 {$0, $1, $2, $3}, [$4];\n\t}",
          "=f,=f,=f,=f,l,r,~{memory}"}};
  ir_builder *ir = &e->ir;
  const MlirType types[4] = {ir->f32, ir->f32, ir->f32, ir->f32};
  MlirType result = count == 1 ? ir->f32 : mlirLLVMStructTypeLiteralGet(ir->context, count, types, false);
  MlirValue operands[] = {ir_op(ir, "llvm.ptrtoint", ir->i64, 1, &from, NULL, (MlirAttribute){NULL}),
                          ir_select(ir, real, ir_i32(ir, 1), ir_i32(ir, 0))};
  MlirValue all = cuda_assembly(e, loads[count].text, loads[count].constraints, result, 2, operands);
  for (int i = 0; i < count; i++) out_values[i] = count == 1 ? all : cuda_member(e, all, ir->f32, i);
}

void cuda_load_matrices(hmoec_cuda_emitter *e, MlirValue line, MlirValue out_words[4]) {
  ir_builder *ir = &e->ir;
  const MlirType types[4] = {ir->i32, ir->i32, ir->i32, ir->i32};
  MlirType result = mlirLLVMStructTypeLiteralGet(ir->context, 4, types, false);
  MlirValue all = ir_intrinsic(ir, "llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.b16", result, 1, &line);
  for (int64_t i = 0; i < 4; i++) out_words[i] = cuda_member(e, all, ir->i32, i);
}

MlirValue cuda_assembly(hmoec_cuda_emitter *e, const char *written, const char *constraints, MlirType result, intptr_t count,
                        const MlirValue *operands) {
  bool has_result = !mlirTypeIsNull(result);
  MlirNamedAttribute list[] = {named(e, "asm_string", mlirStringAttrGet(e->ir.context, text(written))),
                               named(e, "constraints", mlirStringAttrGet(e->ir.context, text(constraints))),
                               named(e, "has_side_effects", mlirUnitAttrGet(e->ir.context))};
  MlirOperationState state = mlirOperationStateGet(text("llvm.inline_asm"), mlirLocationUnknownGet(e->ir.context));
  mlirOperationStateAddOperands(&state, count, operands);
  if (has_result) mlirOperationStateAddResults(&state, 1, &result);
  mlirOperationStateAddAttributes(&state, sizeof list / sizeof *list, list);
  MlirOperation op = mlirOperationCreate(&state);
  if (mlirOperationIsNull(op)) {
    e->ir.failed = true;
    return has_result ? ir_op(&e->ir, "llvm.mlir.undef", result, 0, NULL, NULL, mlirAttributeGetNull()) : (MlirValue){NULL};
  }
  mlirBlockAppendOwnedOperation(e->ir.block, op);
  return has_result ? mlirOperationGetResult(op, 0) : (MlirValue){NULL};
}
