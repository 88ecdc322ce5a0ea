/* What all products have in common: which rows and columns a block of threads has, its buffers, and the epilogue that makes columns of C of sums. */
#ifndef HMOEC_TARGET_CUDA_PRODUCT_H
#define HMOEC_TARGET_CUDA_PRODUCT_H

#include "target/cuda/cuda.h"

typedef struct product {
  hmoec_cuda_emitter *e;
  const hmoec_matmul_spec *spec;
  const hmoec_cuda_task *task;
  cuda_block block;
  MlirValue a, b, c, gather, scatter, bias, row_gate, gated_bias, pass, pass_index;
  cuda_row_norm norm; /* of A; where its statistics are is the kernel's to say */
  MlirValue first_k, first_column; /* of the block: not 0 of dropped rows */
  bool is_beyond; /* columns of several that are written at one time may be behind B's panels */
} product;

/* What the epilogue wants to know of a row of the block, whichever its column. Null: what the spec has no use for. */
typedef struct cuda_line {
  MlirValue row; /* in the block */
  MlirValue c; /* its columns in C; of planes null */
  MlirValue gate, pass;
} cuda_line;

/* Columns of C before the second segment's, if there is one: whole panels. */
int64_t cuda_first_columns(const hmoec_matmul_spec *spec);
/* Panels of C that are products of two of B, its gates and its ups: the first ones. */
int64_t cuda_paired_panels(const hmoec_matmul_spec *spec);
/* Whether C is rows in place, in planes. */
bool cuda_writes_planes(const hmoec_matmul_spec *spec);
/* Panels of B. */
int64_t cuda_right_panels(const hmoec_matmul_spec *spec);

/* The task's block and buffers; steps [*out_begin, *out_end) of C, each of `width` columns that a panel is cut into, are its. What follows, up to cuda_product_end, is
 * done where there is such a block. */
void cuda_product_begin(product *p, int64_t width, MlirValue *out_begin, MlirValue *out_end);
void cuda_product_end(product *p);
/* The blocks buffer, or null; block `number`, which is there, of a kernel that goes through blocks itself. */
MlirValue cuda_product_blocks(product *p);
void cuda_product_load(product *p, MlirValue number);

/* dropped ? value : 0 */
MlirValue cuda_of_dropped(product *p, int64_t value);
/* Row i of the block in A, as the spec's rows lie. */
MlirValue cuda_product_row(product *p, MlirValue i);
/* The column of B that column c of C is of; of a pair, its gate's: its up is a panel further on. */
MlirValue cuda_right_column(product *p, bool pairs, MlirValue c);
/* Row i of the block, which is there. */
cuda_line cuda_line_of(product *p, MlirValue i);
/* The segment that columns of C are of, of pairs or of others; -1: either, by the column (cuda_first_columns). */
int64_t cuda_segment_of(const hmoec_matmul_spec *spec, bool pairs);
enum { CUDA_AT_ONCE = 4 }; /* columns that are read or written at one time, at most */
/* Columns c to c + count - 1 of a row's C, from their sums (and their ups', of pairs; null: there are none); right: c's column of B. c is a multiple of count, which is 1, 2
 * or 4. They are of that segment, or, -1, of either. Behind a segment's last column, and behind B's, C gets 0, where it has room. held: what cuda_read_columns found there. */
void cuda_write_columns(product *p, int64_t segment, const cuda_line *line, MlirValue c, int count, const MlirValue *sums,
                        const MlirValue *ups, MlirValue right, const MlirValue *held);
/* What C holds there, of a row that is `real`, where that is added to or multiplied; null: it is not, or cuda_write_columns reads it: bf16, and either segment. Of several
 * columns, and rows, all are read before the first is written, and come together. */
void cuda_read_columns(product *p, int64_t segment, const cuda_line *line, MlirValue real, MlirValue c, int count,
                       MlirValue *out_held);
/* One column of row i. */
void cuda_write_column(product *p, bool pairs, MlirValue i, MlirValue c, MlirValue sum, MlirValue up, MlirValue right);

/* ---- few.c: the way of a product in f32 for few rows ---- */

enum {
  CUDA_FEW_ROWS = 4, /* multiplied at one time */
  CUDA_FEW_BYTES = 17 << 10 /* of shared memory, from byte 0 on */
};
/* Whether the call has so few rows: what the host knows decides, so that equal runs go the same way. What generates weights, whose
 * rows the device counts, never is of few: weights are the same bits whatever they are generated with. */
MlirValue cuda_is_of_few(product *p);
/* The task's share of the block's rows and columns; norm.shared_at and norm.rows are set. 256 threads, all of which come. */
void cuda_emit_few(product *p);

#endif
