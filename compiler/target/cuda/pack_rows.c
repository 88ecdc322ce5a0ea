/* PACK_ROWS: rows in planes of 64 columns (abi_cuda.h), gathered, normalised and rounded, for products on tensor cores. A block of rows at a time, a thread
 * eight columns: a piece of 16 bytes. Splits share the planes of a block. */
#include <mlir-c/BuiltinTypes.h>

#include "target/cuda/cuda.h"

enum { PLANE = HMOE_CUDA_PLANE, PIECE = 8, PIECES = PLANE / PIECE, THREADS = CUDA_PACK_THREADS };

static const MlirValue nothing = {NULL};

int64_t hmoec_cuda_pack_rows_shared_bytes(const hmoec_pack_rows_spec *spec) {
  return cuda_row_norm_bytes(spec->norm, spec->row_block);
}

typedef struct packing {
  hmoec_cuda_emitter *e;
  const hmoec_pack_rows_spec *spec;
  const hmoec_cuda_task *task;
  cuda_block block;
  MlirValue a, gather;
  cuda_row_norm norm;
} packing;

static MlirValue row_of(void *user, MlirValue i) {
  packing *p = user;
  MlirValue row = cuda_index(p->e, p->gather, ir_add_i(&p->e->ir, p->block.row, i));
  return cuda_row(p->e, p->a, row, p->spec->a_stride);
}

/* Column k of a row, as it is multiplied; 0 behind the last. */
static MlirValue element(packing *p, MlirValue row, const cuda_statistics *statistics, MlirValue k) {
  ir_builder *ir = &p->e->ir;
  const hmoec_pack_rows_spec *s = p->spec;
  ir_branch real;
  bool whole = s->n % PLANE == 0;
  if (!whole) ir_if_begin(ir, &real, ir_compare_i(ir, IR_LT, k, ir_i64(ir, s->n)), ir->f32);
  MlirValue x = cuda_row_norm_apply(p->e, &p->norm, statistics, cuda_f32(p->e, row, k), k);
  if (whole) return x;
  ir_if_else(ir, &real, x);
  return ir_if_end(ir, &real, ir_f32(ir, 0.0f));
}

static void emit_planes(packing *p) {
  ir_builder *ir = &p->e->ir;
  const hmoec_pack_rows_spec *s = p->spec;
  MlirValue out = cuda_binding(p->e, p->task, 1), row_block = ir_i64(ir, s->row_block), pieces = ir_i64(ir, PIECES);
  MlirValue height = ir_mul_i(ir, p->task->blocks, row_block), first_row = ir_mul_i(ir, p->block.number, row_block);
  MlirValue begin, end;
  ir_loop plane, piece;
  cuda_block_share(p->e, p->task, &p->block, cuda_planes_of(s->n), &begin, &end);
  ir_for_begin(ir, &plane, begin, end, 1, 0, NULL);
  MlirValue lines = cuda_row_of(p->e, out, ir->i16, ir_add_i(ir, ir_mul_i(ir, plane.index, height), first_row), PLANE);
  ir_for_begin(ir, &piece, p->task->thread, ir_mul_i(ir, p->block.rows, pieces), THREADS, 0, NULL);
  MlirValue i = ir_div_i(ir, piece.index, pieces), number = ir_rem_i(ir, piece.index, pieces);
  MlirValue k = ir_add_i(ir, ir_mul_i(ir, plane.index, ir_i64(ir, PLANE)), ir_mul_i(ir, number, ir_i64(ir, PIECE)));
  MlirValue row = row_of(p, i), words = ir_splat_to(ir, ir_i32(ir, 0), PIECE / 2), x[PIECE];
  cuda_statistics statistics = cuda_row_norm_of(p->e, &p->norm, i);
  for (int64_t j = 0; j < PIECE; j++) x[j] = element(p, row, &statistics, ir_add_i(ir, k, ir_i64(ir, j)));
  for (int64_t w = 0; w < PIECE / 2; w++) words = cuda_with_element(p->e, words, cuda_bf16_word(p->e, x[2 * w], x[2 * w + 1]), w);
  MlirValue place = ir_mul_i(ir, ir_xor(ir, number, ir_rem_i(ir, i, pieces)), ir_i64(ir, PIECE));
  ir_store(ir, words, ir_at(ir, cuda_row_of(p->e, lines, ir->i16, i, PLANE), ir->i16, place), 16);
  ir_for_end(ir, &piece, NULL);
  ir_for_end(ir, &plane, NULL);
}

void hmoec_cuda_emit_pack_rows(hmoec_cuda_emitter *e, const hmoec_pack_rows_spec *spec, const hmoec_cuda_task *task) {
  packing p = {
      .e = e,
      .spec = spec,
      .task = task,
      .a = cuda_binding(e, task, 0),
      .norm = {
          .kind = spec->norm, .n = spec->n, .epsilon = spec->norm_epsilon, .scale = spec->norm_scale, .rows = spec->row_block}};
  if (spec->has_gather) p.gather = cuda_binding(e, task, 3);
  if (spec->norm != HMOEC_NORM_NONE) p.norm.weight = cuda_binding(e, task, 4);
  if (spec->norm == HMOEC_NORM_LAYER) p.norm.bias = cuda_binding(e, task, 5);
  cuda_block_begin(e, task, spec->grouped ? cuda_binding(e, task, 2) : nothing, spec->row_block, &p.block);
  cuda_row_norm_begin(e, task, &p.norm, THREADS / CUDA_WARP, p.block.rows, row_of, &p);
  emit_planes(&p);
  cuda_block_end(e, &p.block);
}
