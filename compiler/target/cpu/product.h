/* A block of rows times panels: what MATMUL (matmul.c), FFN (ffn.c) and ATTENTION (attention.c) are made of.
 *
 *   block   which rows, and which row of weights
 *   A       rows that micro-kernels can read: in place, or copied (gathered, normalised, rounded) into scratch
 *   tiling  the rows cut evenly into tiles, and the smallest micro-kernels that hold them: rows that one computes past a tile's end are
 *           never stored, and may be read (slack rows)
 *   sums    tiles of f32, from which the epilogue writes C */
#ifndef HMOEC_CODEGEN_CPU_PRODUCT_H
#define HMOEC_CODEGEN_CPU_PRODUCT_H

#include "target/cpu/emit.h"

typedef struct cpu_block {
  MlirValue group, row, rows, dropped;
} cpu_block; /* dropped: i1 */
cpu_block cpu_block_load(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cpu_task *task, MlirValue number);

/* The block's rows of A with the schedule's row stride: where they are, or their copy at `copy`. A norm's weight is binding `norm_binding`,
 * its bias the next. */
enum { CPU_MATMUL_NORM = 11, CPU_FFN_NORM = 13 };
MlirValue cpu_place_a(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cpu_task *task, const cpu_block *block,
                      MlirValue copy, int64_t norm_binding);

/* `count` tiles, the first `larger` of them one row larger than `rows`. The micro-kernel `tile` is for those, which takes `panels` at once,
 * `smaller` for the others. Neither writes more than tile_rows rows of sums. */
typedef struct cpu_tiling {
  MlirValue count, rows, larger, tile, smaller, panels, tile_rows;
} cpu_tiling;
cpu_tiling cpu_tiling_choose(hmoec_cpu_emitter *e, hmoec_cpu_tile_kind kind, MlirValue rows);
/* Where row tile `number` starts among the block's rows, and how many rows it has. */
void cpu_tile_range(hmoec_cpu_emitter *e, const cpu_tiling *tiling, MlirValue number, MlirValue *out_row, MlirValue *out_rows);

/* A row tile times panels, added to sums. Strides are of panels: of right and next in words, of sums in floats. */
typedef struct cpu_tile_product {
  MlirValue left, right, right_stride, sums, sums_stride, panels, depth;
  MlirValue next, next_stride; /* what is fetched with the first of them, with the second, ... */
} cpu_tile_product;
void cpu_tile_emit(hmoec_cpu_emitter *e, const cpu_tiling *tiling, MlirValue number, const cpu_tile_product *product);
/* Rows of HMOE_PANEL floats to zero. */
void cpu_sums_clear(hmoec_cpu_emitter *e, MlirValue sums, MlirValue rows);

typedef struct cpu_product {
  const hmoec_matmul_spec *spec;
  const cpu_block *block;
  const cpu_tiling *tiling;
  hmoec_cpu_epilogue epilogue;
  MlirValue a; /* first row, first k */
  MlirValue weights; /* panel 0, first k */
  MlirValue depth; /* of k */
  MlirValue sums; /* [panels][sums_rows][HMOE_PANEL], kept between calls; or one tile, for every tile in turn */
  int64_t sums_rows; /* 0: one tile (of a paired product two): it is cleared first, and written by the epilogue at once */
  MlirValue after; /* what is read after the last panel, to be prefetched; null: nothing known */
} cpu_product;

/* Words of a panel of the right operand of a product that is k deep. */
int64_t cpu_panel_words(const hmoec_matmul_spec *spec);
/* The right operand of the group, from k on. */
MlirValue cpu_weights(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, MlirValue b, MlirValue group, MlirValue k);
hmoec_cpu_epilogue cpu_epilogue_load(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cpu_task *task,
                                     const cpu_block *block);
/* The panel of B that panel `panel` of C, or the pair of them, begins at. */
MlirValue cpu_right_panel(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, MlirValue panel);
/* Panels of C that the tiling's micro-kernels take at once, 1 where that is one of a pair. */
MlirValue cpu_panels_at_once(hmoec_cpu_emitter *e, const cpu_tiling *tiling, bool pairs);
/* Panels [begin, end) of C. */
void cpu_product_emit(hmoec_cpu_emitter *e, const cpu_product *product, MlirValue begin, MlirValue end);
/* Where a dropped block begins, and 0 for others. */
MlirValue cpu_dropped_begin(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, const cpu_block *block, int64_t begin);
/* Kept sums of panels [begin, all): to zero, and to C. */
void cpu_product_clear(hmoec_cpu_emitter *e, const cpu_product *product, MlirValue begin);
void cpu_product_finish(hmoec_cpu_emitter *e, const cpu_product *product, MlirValue begin);
/* Rows that a panel of kept sums needs for blocks of so many rows. */
int64_t cpu_sums_rows(const hmoec_cpu_schedule *schedule, bool bf16, int64_t row_block);

#endif
