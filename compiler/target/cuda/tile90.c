/* MATMUL in bf16 of many rows, on sm_90a: 128 rows and up to 256 columns of B, eight panels, at one time, by wgmma. As many blocks of threads as there
 * are multiprocessors share the tiles of all blocks of rows.
 *
 *   warpgroup 0, one thread:  for each of its tiles, for each plane of depth:
 *                               waits until the stage is empty; the rows' lines and the panels' come as they lie in memory (bulk copies)
 *   warpgroups 1 and 2:       for each tile:  sums = 0
 *                               for each plane: waits until the stage is full, multiplies 64 rows each; one batch is always on the way, and what it read
 *                               is released when the next one has been issued
 *                               the epilogue makes C of the sums where they are: a lane has two columns of every eight, of two rows
 *
 * Both count the planes of all tiles: plane number n is in stage n % STAGES, for the (n / STAGES)th time, whose parity is what is waited for.
 * Rows in place, in planes (hmoe/abi_cuda.h); of a block with fewer rows, what lies behind them is multiplied, too, and not written. The columns of a
 * tile follow each other in B: pairs of panels, gates and ups, then those of the second segment. Bindings and the equation: hmoec_matmul_spec in
 * kernel/kernels.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <mlir-c/Dialect/LLVM.h>

#include "plain_text.h"
#include "target/cuda/product.h"

enum {
  THREADS = 384,
  WARPGROUP = 128,
  CONSUMERS = THREADS / WARPGROUP - 1,
  GROUP_WARPS = WARPGROUP / CUDA_WARP,
  GROUP_ROWS = 64,
  ROWS = GROUP_ROWS * CONSUMERS,
  PANELS = 8, /* of a tile */
  RASTER = 8, /* blocks of rows whose tiles of the same columns follow each other: B's panels stay in the second-level cache */
  LINE_BYTES = HMOE_CUDA_PLANE * 2,
  PANEL_BYTES = CUDA_PANEL * LINE_BYTES,
  STAGES = 4,
  A_BYTES = ROWS * LINE_BYTES,
  STAGE_BYTES = A_BYTES + PANELS * PANEL_BYTES,
  WARP_ROWS = GROUP_ROWS / GROUP_WARPS,
  HALVES = 2, /* rows that a lane has sums of, HALF_ROWS apart */
  HALF_ROWS = WARP_ROWS / HALVES,
  FULL_AT = STAGES * STAGE_BYTES,
  EMPTY_AT = FULL_AT + STAGES * 8,
  SHARED_BYTES = EMPTY_AT + STAGES * 8,
  STEPS = HMOE_CUDA_PLANE / 16,
  STEP_BYTES = 32, /* of depth, in a line */
  PRODUCER_REGISTERS = 40, /* what all warpgroups have is 3 * 168 a thread */
  CONSUMER_REGISTERS = 232,
  MOST_TEXT = 1 << 15
};

static const MlirType none = {NULL};
static const MlirValue nothing = {NULL};

static int64_t shared_bytes(const hmoec_matmul_spec *spec) {
  (void)spec;
  return SHARED_BYTES;
}

typedef struct tile {
  product p;
  MlirValue first, planes; /* of depth */
  MlirValue base; /* planes of the tiles before this one */
  MlirValue group, warp; /* a consumer's number, and the warp's in it */
  MlirValue lane; /* as the epilogue of this tile knows it */
  cuda_line lines[HALVES]; /* of the lane, where they are real */
  MlirValue real[HALVES];
} tile;

/* ---- what PTX has no operations for in LLVM, or none that keep their place ---- */

/* operands: as the constraints say. The result is a structure, or one value, or none. */
static MlirValue assembly(tile *t, const char *text, const char *constraints, MlirType result, intptr_t count,
                          const MlirValue *operands) {
  return cuda_assembly(t->p.e, text, constraints, result, count, operands);
}

static MlirValue shared_address(tile *t, MlirValue pointer) {
  ir_builder *ir = &t->p.e->ir;
  return ir_truncate(ir, ir_op(ir, "llvm.ptrtoint", ir->i64, 1, &pointer, NULL, (MlirAttribute){NULL}));
}

static MlirValue barrier_at(tile *t, int64_t first, MlirValue stage) {
  ir_builder *ir = &t->p.e->ir;
  MlirValue eight = ir_i64(ir, 8);
  return shared_address(t, ir_at(ir, cuda_shared(t->p.e, first), ir->i8, ir_mul_i(ir, stage, eight)));
}

static void init_barrier(tile *t, int64_t at, int32_t count) {
  ir_builder *ir = &t->p.e->ir;
  MlirValue operands[] = {shared_address(t, cuda_shared(t->p.e, at)), ir_i32(ir, count)};
  assembly(t, "mbarrier.init.shared::cta.b64 [$0], $1;", "r,r,~{memory}", none, 2, operands);
}

static void publish_barriers(tile *t) {
  assembly(t, "fence.mbarrier_init.release.cluster;", "~{memory}", none, 0, NULL);
  cuda_barrier(t->p.e);
}

/* Until the phase of that parity is over. */
static void wait_for(tile *t, MlirValue barrier, MlirValue parity) {
  MlirValue operands[] = {barrier, parity};
  assembly(t,
           "{\n\t.reg .pred over;\nAGAIN:\n\tmbarrier.try_wait.parity.shared::cta.b64 over, [$0], $1, 0x989680;\n\t@over bra "
           "OVER;\n\tbra AGAIN;\nOVER:\n\t}",
           "r,r,~{memory}", none, 2, operands);
}

/* Where `lane` is 0 and `any` is not. There is no branch: LLVM would peel off a loop what is done otherwise the first time, and sums that a batch on the way still
 * writes would be copied from one loop's registers to the other's, for which ptxas makes every wgmma wait (C7515). */
static void arrive(tile *t, MlirValue barrier, MlirValue lane, MlirValue any) {
  ir_builder *ir = &t->p.e->ir;
  MlirValue operands[] = {barrier, ir_truncate(ir, lane), ir_truncate(ir, any)};
  assembly(
      t,
      "{\n\t.reg .pred comes;\n\t.reg .b64 state;\n\tsetp.ne.s32 comes, $2, 0;\n\tsetp.eq.and.s32 comes, $1, 0, comes;\n\t@comes "
      "mbarrier.arrive.shared::cta.b64 state, [$0];\n\t}",
      "r,r,r,~{memory}", none, 3, operands);
}

static void expect_bytes(tile *t, MlirValue barrier, MlirValue bytes) {
  MlirValue operands[] = {barrier, bytes};
  assembly(t, "{\n\t.reg .b64 state;\n\tmbarrier.arrive.expect_tx.shared::cta.b64 state, [$0], $1;\n\t}", "r,r,~{memory}", none, 2,
           operands);
}

static void copy_bulk(tile *t, MlirValue to, MlirValue from, int32_t bytes, MlirValue barrier) {
  ir_builder *ir = &t->p.e->ir;
  MlirValue operands[] = {to, ir_op(ir, "llvm.ptrtoint", ir->i64, 1, &from, NULL, (MlirAttribute){NULL}), ir_i32(ir, bytes),
                          barrier};
  assembly(t, "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [$0], [$1], $2, [$3];", "r,l,r,r,~{memory}", none,
           4, operands);
}

static void set_registers(tile *t, bool more, int registers) {
  char text[64];
  snprintf(text, sizeof text, "setmaxnreg.%s.sync.aligned.u32 %d;", more ? "inc" : "dec", registers);
  assembly(t, text, "~{memory}", none, 0, NULL);
}

/* ---- stages ---- */

typedef struct stage {
  MlirValue number, parity; /* parity: i32, of the times before this one */
  MlirValue address; /* i32 */
} stage;

/* Of plane `number`. */
static stage stage_of(tile *t, MlirValue number) {
  ir_builder *ir = &t->p.e->ir;
  MlirValue stages = ir_i64(ir, STAGES), bytes = ir_i64(ir, STAGE_BYTES);
  stage s = {.number = ir_rem_i(ir, number, stages),
             .parity = ir_truncate(ir, ir_rem_i(ir, ir_div_i(ir, number, stages), ir_i64(ir, 2)))};
  s.address = shared_address(t, ir_at(ir, cuda_shared(t->p.e, 0), ir->i8, ir_mul_i(ir, s.number, bytes)));
  return s;
}

/* ---- the producer ---- */

static int64_t panels_of_last(const hmoec_matmul_spec *spec) {
  int64_t rest = cuda_right_panels(spec) % PANELS;
  return rest ? rest : PANELS;
}

static int64_t tiles_of(const hmoec_matmul_spec *spec) { return (cuda_right_panels(spec) + PANELS - 1) / PANELS; }

static void load_tile(tile *t, MlirValue number, int64_t panels) {
  hmoec_cuda_emitter *e = t->p.e;
  ir_builder *ir = &e->ir;
  MlirValue row_block = ir_i64(ir, t->p.spec->row_block), line_bytes = ir_i64(ir, LINE_BYTES);
  MlirValue height = ir_mul_i(ir, t->p.task->blocks, row_block), row = ir_mul_i(ir, t->p.block.number, row_block);
  MlirValue panel = ir_mul_i(ir, number, ir_i64(ir, PANELS)), depth_bytes = ir_mul_i(ir, t->planes, ir_i64(ir, PANEL_BYTES));
  ir_loop k;
  ir_for_begin(ir, &k, t->first, t->planes, 1, 0, NULL);
  stage s = stage_of(t, ir_add_i(ir, t->base, ir_sub_i(ir, k.index, t->first)));
  wait_for(t, barrier_at(t, EMPTY_AT, s.number), ir_xor(ir, s.parity, ir_i32(ir, 1)));
  MlirValue full = barrier_at(t, FULL_AT, s.number);
  expect_bytes(t, full, ir_i32(ir, (int32_t)(A_BYTES + panels * PANEL_BYTES)));
  MlirValue lines = ir_mul_i(ir, ir_add_i(ir, ir_mul_i(ir, k.index, height), row), line_bytes);
  copy_bulk(t, s.address, ir_at(ir, t->p.a, ir->i8, lines), A_BYTES, full);
  for (int64_t i = 0; i < panels; i++) {
    MlirValue at =
        ir_add_i(ir, ir_mul_i(ir, ir_add_i(ir, panel, ir_i64(ir, i)), depth_bytes), ir_mul_i(ir, k.index, ir_i64(ir, PANEL_BYTES)));
    copy_bulk(t, ir_add_i(ir, s.address, ir_i32(ir, (int32_t)(A_BYTES + i * PANEL_BYTES))), ir_at(ir, t->p.b, ir->i8, at),
              PANEL_BYTES, full);
  }
  ir_for_end(ir, &k, NULL);
}

/* ---- consumers ---- */

/* What wgmma is told of a tile's lines: K-major, in lines of 128 bytes whose pieces are in an order of their own, eight lines 1,024 bytes apart. */
static MlirValue descriptor(tile *t, MlirValue address) {
  ir_builder *ir = &t->p.e->ir;
  const uint64_t layout = UINT64_C(1) << 62 | (uint64_t)(8 * LINE_BYTES >> 4) << 32 | UINT64_C(1) << 16;
  MlirValue place = ir_and(ir, ir_shift_right_unsigned(ir, address, ir_i32(ir, 4)), ir_i32(ir, 0x3fff));
  MlirValue wide = ir_op(ir, "llvm.zext", ir->i64, 1, &place, NULL, (MlirAttribute){NULL});
  return ir_or(ir, wide, ir_i64(ir, (int64_t)layout));
}

__attribute__((format(printf, 3, 4))) static char *append(char *at, const char *end, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int size = hmoe_plain_vformat(at, (size_t)(end - at), format, arguments);
  va_end(arguments);
  return at + size;
}

/* "=f" for each sum, and the sums themselves as operands in the same registers. Returns the end of the text. */
static char *sum_constraints(char *at, const char *end, int64_t sums) {
  for (int64_t i = 0; i < sums; i++) at = append(at, end, "=f,");
  for (int64_t i = 0; i < sums; i++) at = append(at, end, "%d,", (int)i);
  return at;
}

static void sum_operands(tile *t, MlirValue sums, int64_t count, MlirValue *out_operands) {
  for (int64_t i = 0; i < count; i++) out_operands[i] = cuda_member(t->p.e, sums, t->p.e->ir.f32, i);
}

enum { MOST_SUMS = PANELS * CUDA_PANEL / 2 };

/* sums += the stage's products; when it returns, those of the batch before have come, and these are on the way. */
static MlirValue multiply(tile *t, const stage *s, int64_t panels, MlirValue sums) {
  ir_builder *ir = &t->p.e->ir;
  int64_t count = panels * CUDA_PANEL / 2;
  char *text = malloc(MOST_TEXT), *constraints = malloc(MOST_TEXT);
  MlirValue operands[MOST_SUMS + 2 * STEPS];
  if (!text || !constraints) ir->failed = true;
  else {
    char *at = text, *end = text + MOST_TEXT;
    at = append(at, end, "{\n\t.reg .pred add;\n\tsetp.ne.b32 add, 1, 0;\n\twgmma.fence.sync.aligned;\n");
    for (int64_t step = 0; step < STEPS; step++) {
      at = append(at, end, "\twgmma.mma_async.sync.aligned.m64n%dk16.f32.bf16.bf16 {", (int)(panels * CUDA_PANEL));
      for (int64_t i = 0; i < count; i++) at = append(at, end, "%s$%d", i ? ", " : "", (int)i);
      at = append(at, end, "}, $%d, $%d, add, 1, 1, 0, 0;\n", (int)(2 * count + 2 * step), (int)(2 * count + 2 * step + 1));
    }
    append(at, end, "\twgmma.commit_group.sync.aligned;\n\twgmma.wait_group.sync.aligned 1;\n\t}");
    at = sum_constraints(constraints, constraints + MOST_TEXT, count);
    append(at, constraints + MOST_TEXT, "l,l,l,l,l,l,l,l,~{memory}");
    sum_operands(t, sums, count, operands);
    MlirValue rows = ir_add_i(ir, s->address, ir_truncate(ir, ir_mul_i(ir, t->group, ir_i64(ir, GROUP_ROWS * LINE_BYTES))));
    MlirValue a = descriptor(t, rows), b = descriptor(t, ir_add_i(ir, s->address, ir_i32(ir, A_BYTES)));
    for (int64_t step = 0; step < STEPS; step++) {
      MlirValue further = ir_i64(ir, step * STEP_BYTES >> 4);
      operands[count + 2 * step] = ir_add_i(ir, a, further);
      operands[count + 2 * step + 1] = ir_add_i(ir, b, further);
    }
    sums = assembly(t, text, constraints, mlirValueGetType(sums), count + 2 * STEPS, operands);
  }
  free(text);
  free(constraints);
  return sums;
}

/* All batches have come: nothing that reads the sums may move before it. */
static MlirValue wait_for_sums(tile *t, int64_t panels, MlirValue sums) {
  int64_t count = panels * CUDA_PANEL / 2;
  char *constraints = malloc(MOST_TEXT);
  MlirValue operands[MOST_SUMS];
  if (!constraints) {
    t->p.e->ir.failed = true;
    return sums;
  }
  append(sum_constraints(constraints, constraints + MOST_TEXT, count), constraints + MOST_TEXT, "~{memory}");
  sum_operands(t, sums, count, operands);
  sums = assembly(t, "wgmma.wait_group.sync.aligned 0;", constraints, mlirValueGetType(sums), count, operands);
  free(constraints);
  return sums;
}

/* What the batch of plane `number` has read may be filled again, if there is such a batch: every warp waits for itself, and says so. */
static void release(tile *t, MlirValue number, MlirValue any) {
  arrive(t, barrier_at(t, EMPTY_AT, stage_of(t, number).number), t->p.task->lane, any);
}

static MlirValue multiply_planes(tile *t, int64_t panels) {
  ir_builder *ir = &t->p.e->ir;
  int64_t count = panels * CUDA_PANEL / 2, i;
  MlirType types[MOST_SUMS];
  for (i = 0; i < count; i++) types[i] = ir->f32;
  MlirType structure = mlirLLVMStructTypeLiteralGet(ir->context, count, types, false);
  MlirValue sums = ir_op(ir, "llvm.mlir.zero", structure, 0, NULL, NULL, (MlirAttribute){NULL}), one = ir_i64(ir, 1);
  ir_loop k;
  ir_for_begin(ir, &k, t->first, t->planes, 1, 1, &sums);
  MlirValue before = ir_sub_i(ir, k.index, t->first), number = ir_add_i(ir, t->base, before);
  stage s = stage_of(t, number);
  wait_for(t, barrier_at(t, FULL_AT, s.number), s.parity);
  MlirValue next = multiply(t, &s, panels, k.args[0]);
  release(t, ir_sub_i(ir, number, one), before);
  ir_for_end(ir, &k, &next);
  sums = wait_for_sums(t, panels, k.args[0]);
  MlirValue planes = ir_sub_i(ir, t->planes, t->first);
  release(t, ir_sub_i(ir, ir_add_i(ir, t->base, planes), one), planes);
  return sums;
}

/* ---- epilogue ---- */

/* The warp's rows of the block: from *out_first on, and how many. */
static MlirValue warp_rows(tile *t, MlirValue *out_first) {
  ir_builder *ir = &t->p.e->ir;
  *out_first = ir_add_i(ir, ir_mul_i(ir, t->group, ir_i64(ir, GROUP_ROWS)), ir_mul_i(ir, t->warp, ir_i64(ir, WARP_ROWS)));
  return ir_min_i(ir, ir_i64(ir, WARP_ROWS), ir_sub_i(ir, t->p.block.rows, *out_first));
}

/* The rows that this lane has sums of; in place of one that the block lacks its first. What follows from the lane is not known before: nothing of it may take
 * registers from the loop over depth, where there are none left. */
static void find_lines(tile *t) {
  ir_builder *ir = &t->p.e->ir;
  t->lane = assembly(t, "mov.b64 $0, $1;", "=l,l", ir->i64, 1, &t->p.task->lane);
  MlirValue first, rows = warp_rows(t, &first), group = ir_div_i(ir, t->lane, ir_i64(ir, 4));
  for (int64_t half = 0; half < HALVES; half++) {
    MlirValue row = ir_add_i(ir, group, ir_i64(ir, half * HALF_ROWS));
    t->real[half] = ir_compare_i(ir, IR_LT, row, rows);
    t->lines[half] = cuda_line_of(&t->p, ir_select(ir, t->real[half], ir_add_i(ir, first, row), ir_i64(ir, 0)));
  }
}

enum { EIGHTS = CUDA_PANEL / 8 };

/* `width` columns of C from `first` on, all of one segment, whose sums begin with the tile's group of eight `eight`; those of ups are a panel behind. */
static void emit_columns(tile *t, bool pairs, int64_t segment, MlirValue sums, int64_t eight, int64_t width, MlirValue first) {
  hmoec_cuda_emitter *e = t->p.e;
  ir_builder *ir = &e->ir;
  MlirValue two = ir_mul_i(ir, ir_rem_i(ir, t->lane, ir_i64(ir, 4)), ir_i64(ir, 2)), c[EIGHTS], held[HALVES][EIGHTS][2];
  ir_branch real;
  for (int64_t i = 0; i < width / 8; i++) c[i] = ir_add_i(ir, ir_add_i(ir, first, ir_i64(ir, 8 * i)), two);
  for (int64_t line = 0; line < HALVES; line++)
    for (int64_t i = 0; i < width / 8; i++)
      cuda_read_columns(&t->p, segment, &t->lines[line], t->real[line], c[i], 2, held[line][i]);
  for (int64_t line = 0; line < HALVES; line++) {
    ir_if_begin(ir, &real, t->real[line], none);
    for (int64_t i = 0; i < width / 8; i++) {
      MlirValue two_sums[2], ups[2] = {nothing, nothing};
      for (int64_t j = 0; j < 2; j++) {
        int64_t sum = 4 * (eight + i) + 2 * line + j;
        two_sums[j] = cuda_member(e, sums, ir->f32, sum);
        if (pairs) ups[j] = cuda_member(e, sums, ir->f32, sum + 4 * EIGHTS);
      }
      cuda_write_columns(&t->p, segment, &t->lines[line], c[i], 2, two_sums, ups, cuda_right_column(&t->p, pairs, c[i]),
                         held[line][i]);
    }
    cuda_if_end(e, &real);
  }
}

/* Panel `number` of the tile, which is the one `panel` of B. Of pairs, half of the panel's columns of C: of the first panel the first, with their ups. */
static void emit_panel(tile *t, bool pairs, MlirValue sums, int64_t number, MlirValue panel) {
  ir_builder *ir = &t->p.e->ir;
  const hmoec_matmul_spec *s = t->p.spec;
  int64_t half = number % 2, width = pairs ? CUDA_PANEL / 2 : CUDA_PANEL, eight = number * EIGHTS,
          segment = cuda_segment_of(s, pairs);
  if (pairs) eight = (number - half) * EIGHTS + half * EIGHTS / 2;
  MlirValue panel_columns = ir_i64(ir, CUDA_PANEL);
  MlirValue first = pairs ? ir_add_i(ir, ir_mul_i(ir, ir_div_i(ir, panel, ir_i64(ir, 2)), panel_columns), ir_i64(ir, half * width))
                          : ir_mul_i(ir, ir_sub_i(ir, panel, ir_i64(ir, 2 * cuda_paired_panels(s))), panel_columns);
  if (!pairs && s->paired) first = ir_add_i(ir, first, ir_i64(ir, cuda_paired_panels(s) * CUDA_PANEL));
  ir_branch wanted, which;
  ir_if_begin(ir, &wanted, ir_compare_i(ir, IR_GE, first, t->p.first_column), none);
  if (segment >= 0) {
    emit_columns(t, pairs, segment, sums, eight, width, first);
  } else { /* a panel is of one of them */
    ir_if_begin(ir, &which, ir_compare_i(ir, IR_LT, first, ir_i64(ir, cuda_first_columns(s))), none);
    emit_columns(t, false, 0, sums, eight, width, first);
    ir_if_else(ir, &which, nothing);
    emit_columns(t, false, 1, sums, eight, width, first);
    ir_if_end(ir, &which, nothing);
  }
  cuda_if_end(t->p.e, &wanted);
}

/* Whether C is in planes, and its last panel begins the last plane. */
static bool has_rest(const hmoec_matmul_spec *spec) { return cuda_writes_planes(spec) && cuda_panels_of(spec->n) % 2; }

/* Zeros in the rest of that plane. */
static void emit_rest(tile *t) {
  ir_builder *ir = &t->p.e->ir;
  bool pairs = t->p.spec->paired && t->p.spec->segments == 1;
  int64_t panels = cuda_panels_of(t->p.spec->n);
  MlirValue row, rows = warp_rows(t, &row), c = ir_add_i(ir, t->lane, ir_i64(ir, panels * CUDA_PANEL)), zero = ir_f32(ir, 0.0f);
  ir_loop r;
  ir_for_begin(ir, &r, ir_i64(ir, 0), rows, 1, 0, NULL);
  cuda_write_column(&t->p, pairs, ir_add_i(ir, row, r.index), c, zero, pairs ? zero : nothing, ir_i64(ir, 0));
  ir_for_end(ir, &r, NULL);
}

/* What ends the epilogue of a tile: were LLVM to make one of the ends of two kinds of tiles, whose sums are as many as there are panels, these sums would have to be
 * in the same registers, and there are none for both (C7511). */
static void end_apart(tile *t, int64_t panels) {
  char text[32];
  snprintf(text, sizeof text, "// tile of %d panels", (int)panels);
  assembly(t, text, "~{memory}", none, 0, NULL);
}

static void consume_tile(tile *t, MlirValue number, int64_t panels) {
  ir_builder *ir = &t->p.e->ir;
  const hmoec_matmul_spec *s = t->p.spec;
  MlirValue sums = multiply_planes(t, panels), pairs = ir_i64(ir, 2 * cuda_paired_panels(s));
  find_lines(t);
  for (int64_t i = 0; i < panels; i++) {
    MlirValue panel = ir_add_i(ir, ir_mul_i(ir, number, ir_i64(ir, PANELS)), ir_i64(ir, i));
    bool alone = i % 2 == 0 && i + 1 == panels; /* no half of a pair */
    if (!s->paired || s->segments == 1 || alone) {
      emit_panel(t, s->paired && !alone, sums, i, panel);
      continue;
    }
    ir_branch which;
    ir_if_begin(ir, &which, ir_compare_i(ir, IR_LT, panel, pairs), none);
    emit_panel(t, true, sums, i, panel);
    ir_if_else(ir, &which, nothing);
    emit_panel(t, false, sums, i, panel);
    ir_if_end(ir, &which, nothing);
  }
  end_apart(t, panels);
}

/* ---- tiles ---- */

typedef void use_fn(tile *t, MlirValue number, int64_t panels);

/* Of the block that is loaded: the last tile of B may be a narrower one, or one behind which C wants zeros. */
static void use_tile(tile *t, use_fn *use, bool consumes, MlirValue number) {
  ir_builder *ir = &t->p.e->ir;
  int64_t last = panels_of_last(t->p.spec);
  ir_branch is_last;
  if (last == PANELS && !has_rest(t->p.spec)) {
    use(t, number, PANELS);
    return;
  }
  ir_if_begin(ir, &is_last, ir_compare_i(ir, IR_EQ, number, ir_i64(ir, tiles_of(t->p.spec) - 1)), none);
  use(t, number, last);
  if (consumes && has_rest(t->p.spec)) emit_rest(t);
  ir_if_else(ir, &is_last, nothing);
  if (tiles_of(t->p.spec) > 1) use(t, number, PANELS);
  ir_if_end(ir, &is_last, nothing);
}

/* The first panel of B whose column of C a dropped block computes. */
static int64_t dropped_panel(const hmoec_matmul_spec *s) {
  int64_t panel = s->dropped_column / CUDA_PANEL, pairs = cuda_paired_panels(s);
  return panel < pairs ? 2 * panel : panel + pairs;
}

/* Tiles of RASTER blocks of rows are in order of their columns, then of the blocks. */
static void find_tile(tile *t, MlirValue i, MlirValue blocks, MlirValue *out_block, MlirValue *out_number) {
  ir_builder *ir = &t->p.e->ir;
  int64_t tiles = tiles_of(t->p.spec);
  MlirValue raster = ir_i64(ir, RASTER), many = ir_i64(ir, RASTER * tiles);
  MlirValue first = ir_mul_i(ir, ir_div_i(ir, i, many), raster), rest = ir_rem_i(ir, i, many);
  MlirValue height = ir_min_i(ir, raster, ir_sub_i(ir, blocks, first));
  *out_block = ir_add_i(ir, first, ir_rem_i(ir, rest, height));
  *out_number = ir_div_i(ir, rest, height);
}

/* Every so manieth tile of all. */
static void each_tile(tile *t, use_fn *use, bool consumes) {
  ir_builder *ir = &t->p.e->ir;
  const hmoec_cuda_task *task = t->p.task;
  MlirValue blocks = cuda_block_count(t->p.e, task, cuda_product_blocks(&t->p), t->p.spec->row_block), zero = ir_i64(ir, 0), block,
            number;
  MlirValue left = ir_sub_i(ir, ir_mul_i(ir, blocks, ir_i64(ir, tiles_of(t->p.spec))), task->task);
  MlirValue count = ir_div_i(ir, ir_add_i(ir, ir_max_i(ir, left, zero), ir_sub_i(ir, task->tasks, ir_i64(ir, 1))), task->tasks);
  ir_loop i;
  ir_branch wanted;
  ir_for_begin(ir, &i, zero, count, 1, 1, &zero);
  find_tile(t, ir_add_i(ir, task->task, ir_mul_i(ir, i.index, task->tasks)), blocks, &block, &number);
  cuda_product_load(&t->p, block);
  t->base = i.args[0];
  t->first = ir_div_i(ir, t->p.first_k, ir_i64(ir, HMOE_CUDA_PLANE));
  MlirValue next = ir_add_i(ir, t->base, ir_sub_i(ir, t->planes, t->first));
  ir_if_begin(ir, &wanted, ir_compare_i(ir, IR_GE, number, cuda_of_dropped(&t->p, dropped_panel(t->p.spec) / PANELS)), ir->i64);
  use_tile(t, use, consumes, number);
  ir_if_else(ir, &wanted, next);
  next = ir_if_end(ir, &wanted, t->base);
  ir_for_end(ir, &i, &next);
}

static void emit(hmoec_cuda_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  tile t = {.p = {.e = e, .spec = spec, .task = task}, .planes = ir_i64(ir, cuda_planes_of(spec->k))};
  MlirValue zero = ir_i64(ir, 0), four = ir_i64(ir, GROUP_WARPS);
  ir_branch first, produces, one_thread;
  ir_if_begin(ir, &first, ir_compare_i(ir, IR_EQ, task->thread, zero), none);
  for (int64_t s = 0; s < STAGES; s++) {
    init_barrier(&t, FULL_AT + s * 8, 1);
    init_barrier(&t, EMPTY_AT + s * 8, CONSUMERS * GROUP_WARPS);
  }
  cuda_if_end(e, &first);
  publish_barriers(&t);
  ir_if_begin(ir, &produces, ir_compare_i(ir, IR_LT, task->warp, four), none);
  set_registers(&t, false, PRODUCER_REGISTERS);
  ir_if_begin(ir, &one_thread, ir_compare_i(ir, IR_EQ, task->thread, zero), none);
  each_tile(&t, load_tile, false);
  cuda_if_end(e, &one_thread);
  ir_if_else(ir, &produces, nothing);
  set_registers(&t, true, CONSUMER_REGISTERS);
  t.group = ir_sub_i(ir, ir_div_i(ir, task->warp, four), ir_i64(ir, 1));
  t.warp = ir_rem_i(ir, task->warp, four);
  each_tile(&t, consume_tile, true);
  ir_if_end(ir, &produces, nothing);
}

const hmoec_cuda_way hmoec_cuda_tile90 = {.threads = THREADS,
                                          .column_steps = HMOE_CUDA_PERSISTENT | PANELS,
                                          .alone = true /* else ptxas ignores setmaxnreg */,
                                          .shared_bytes = shared_bytes,
                                          .emit = emit};
