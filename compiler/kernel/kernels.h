/* The kernel families: what the planner asks of a target's code generator, as data.
 *
 * A kernel is described by a plain structure; equal structures give one function. For every description and every version of its code the
 * generator emits a function of type hmoe_kernel_fn (include/hmoe/abi.h). Row-major buffers are f32 unless said otherwise; ld is a
 * row stride in elements. right(K, N) is a right operand: a matrix [K, N] that rows are multiplied by, laid out as the target likes. A column
 * step is column_step columns that begin at a multiple of it (target/target.h). */
#ifndef HMOEC_KERNEL_KERNELS_H
#define HMOEC_KERNEL_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hmoe/abi.h"
#include "ir/scalar.h"
#include "kernel/format.h"

/* From COUNT on: the scalar functions of the model, in the order of its library. */
typedef enum hmoec_activation {
  HMOEC_ACTIVATION_NONE = 0,
  HMOEC_ACTIVATION_RELU,
  HMOEC_ACTIVATION_GELU,
  HMOEC_ACTIVATION_GELU_NEW,
  HMOEC_ACTIVATION_SILU,
  HMOEC_ACTIVATION_SIGMOID,
  HMOEC_ACTIVATION_COUNT
} hmoec_activation;

typedef enum hmoec_gate {
  HMOEC_GATE_SOFTMAX_THEN_TOPK = 0,
  HMOEC_GATE_TOPK_THEN_SOFTMAX,
  HMOEC_GATE_SOFTMAX_TOPK_RENORM,
  HMOEC_GATE_SCORE, /* a function of the expert's own logit; written as the function's name */
  HMOEC_GATE_COUNT
} hmoec_gate;

/* Names as in specs, "@name" of functions; a text that is no name gives the first, or a number past the last function. functions may be
 * NULL where there are none. */
const char *hmoec_activation_name(const hmoec_scalar_library *functions, hmoec_activation activation);
hmoec_activation hmoec_activation_find(const hmoec_scalar_library *functions, const char *text, size_t length);
/* Its function, or NULL. */
const hmoec_scalar_program *hmoec_activation_function(const hmoec_scalar_library *functions, hmoec_activation activation);
const char *hmoec_gate_name(hmoec_gate gate);
/* "@name" is SCORE. */
hmoec_gate hmoec_gate_find(const char *text, size_t length);

/* Rows are normalised by their own statistics (root mean square; mean and variance), in f32, then scaled and shifted by column:
 *   rms    y = x / sqrt(mean(x^2) + epsilon) * weight * scale
 *   layer  y = ((x - mean(x)) / sqrt(mean((x - mean(x))^2) + epsilon) * weight + bias) * scale
 * with the mean over n columns. */
typedef enum hmoec_norm { HMOEC_NORM_NONE = 0, HMOEC_NORM_RMS, HMOEC_NORM_LAYER, HMOEC_NORM_COUNT } hmoec_norm;

/* C[dst(r)] (+)= epilogue(norm(A[src(r)]) * B[group(r)])
 *
 * bindings, always all of them, HMOE_NONE where the spec has no use for one:
 *   0 a          [*, a_stride]
 *   1 b          right(k, columns of B) of `format`, per group, b_group_bytes apart
 *   2 c          [*, c_stride]
 *   3 blocks     hmoe_blocks (grouped)
 *   4 gather     i32: src(r) = gather[r]; absent: src(r) = r
 *   5 scatter    i32: dst(r) = scatter[r]; absent: dst(r) = r
 *   6 bias       f32 [groups][bias_group_floats], a value for each column of B: added before the activation
 *   7 row_gate   f32 [rows]
 *   8 gated_bias f32 [groups][N up to a whole column step]: row_gate[r] * gated_bias is added
 *   9 pass       f32 [*, ld = pass_ld]: a dropped row adds row_gate[r] * pass[pass_index(r)], pass_index = binding 10
 *  10 pass_index i32 [rows]
 *  11 norm_weight f32 [k up to a whole column step], 12 norm_bias the same (layer norms): A's rows are normalised while they are copied to scratch;
 *     in FFN these are 13 and 14
 * A column step belongs to one segment, the first whose end lies behind its begin; the value of a column is
 *   v = act(acc + bias) ; v *= row_gate[r] if the segment is gated ; v += row_gate[r] * gated_bias
 *   or, in a dropped block that has a pass,  v = row_gate[r] * pass, to which only a segment that is not gated adds act(acc + bias)
 *   or, in a dropped block with dropped_bare,  v = 0 in a gated segment, and act(acc + bias) in others
 *   C = accumulate ? C + v : multiply ? C * v : v; where multiply is set and act is a function of two arguments, v = act(acc + bias, C) and C = v
 * The columns of B are those of C. Of a paired product the first segment has two of B for each of C, its gate and its up, and
 *   v = act(gate + its bias) * (up + its bias), or act(gate + its bias, up + its bias) of a function of two arguments
 * in the place of act(acc + bias). There are as many of both, up to a whole column step, and how they lie is the target's: near each
 * other, so that a task reads one piece of B for its columns of C and has both sums at hand.
 * Dropped blocks compute columns from dropped_column, where a part of C begins, and k from dropped_k_begin only; the columns
 * before are not written.
 * Grid: DENSE rows [0, call.rows) in blocks of row_block, or BLOCKS. Columns are split over call.splits by whole column steps.
 * Sums run over k in ascending order, one accumulator a value: results depend on neither rows per block nor threads nor splits. */
typedef struct hmoec_matmul_segment {
  int64_t end; /* column; those from there to the end of its column step pad C: 0, whatever A holds */
  hmoec_activation activation;
  bool gated;
  bool multiply; /* v multiplies what C holds; not with accumulate, nor in the first segment of a paired product */
} hmoec_matmul_segment;

typedef struct hmoec_matmul_spec {
  int64_t k, n; /* n: columns written */
  bool paired; /* the columns of the first segment are products themselves: act(gate) * up */
  int64_t a_stride, c_stride;
  hmoec_format format; /* of the product: what both sides are rounded to before they are multiplied */
  hmoec_format a_format; /* of A in memory: f32, which a product of another format rounds while it copies, or `format` */
  hmoec_format c_format; /* of C: f32, or `format`, rounded after the epilogue and not with accumulate. pass stays f32 */
  /* A's rows are consecutive and lie as the target's rows in place of `format` do, slack rows and all: no copy into scratch. a_format == format, and
   * columns from k to the depth of a right operand (right_depth) are 0. */
  bool a_in_place;
  bool
      few_rows; /* for targets whose rows in place are laid out otherwise than row-major: A and C, in place or not, are row-major here */
  bool c_padded; /* C rows have room for whole column steps: columns from n to the last one's end become 0 */
  bool a_loose,
      c_loose; /* A or C begins inside of a piece (hmoec_target.piece_bytes) of its buffer, which begins at a multiple of them; false: never */
  bool grouped;
  bool has_gather, has_scatter, has_bias, has_row_gate, has_gated_bias, has_pass;
  bool dropped_bare; /* a dropped row has nothing that is gated; not with has_pass, and only where something is */
  bool accumulate;
  int64_t b_group_bytes, bias_group_floats, pass_ld;
  int64_t segments; /* 1 or 2; the last one's end is n; a first one that ends inside a column step needs c_padded */
  hmoec_matmul_segment segment[2];
  int64_t dropped_column, dropped_k_begin; /* of two segments the second begins at dropped_column */
  hmoec_norm norm; /* of A's rows, which are then f32 and not in place; the product is dense */
  double norm_epsilon, norm_scale;
  int64_t row_block;
} hmoec_matmul_spec;

/* Both products of a feed-forward network in one task, the hidden block never leaving the worker's scratch:
 *
 *   C[dst(r)] (+)= epilogue2(hidden * B2[group(r)]),  hidden[r] = epilogue1(A[src(r)] * B1[group(r)])
 *
 * first and second are the two products as if they were steps of their own, and the bits are the same. first: gather, bias, row_gate of
 * a gated segment; no scatter, pass, gated_bias or accumulate; c_padded, c_stride >= whole column steps. second: k = first.n rounded to what its
 * A needs; a_in_place; no gather, no norm, no multiply. Both have the same row_block and are both grouped or not, of one format.
 * bindings: those of second, but a and gather are first's; bias is second's; 11 b of first, 12 bias of first; 13 norm_weight, 14 norm_bias
 * of first.
 * chunk_columns: columns of the hidden block that exist at one time; the sums of C wait in scratch.
 * Grid: as of matmul, but never split. */
typedef struct hmoec_ffn_spec {
  hmoec_matmul_spec first, second;
  int64_t chunk_columns;
} hmoec_ffn_spec;

/* Router epilogue: logits [tokens, ldl] (first `experts` columns real) -> indices i32 [tokens, top_k], gates f32 [tokens, top_k].
 * bindings: 0 logits, 1 indices, 2 gates. Grid ROWS. Larger value first, then the lower index; NaN counts as the largest value.
 *   softmax_then_topk   g = softmax over all experts at the selected ones
 *   topk_then_softmax   g = softmax over the selected logits
 *   softmax_topk_renorm g = softmax over all, divided by the sum of the selected
 *   score               g = score(logit); renorm: divided by the sum of the selected, 0 where that is 0.
 *                       Selected are the largest scores; of sigmoid, which is increasing, the largest logits */
typedef struct hmoec_route_spec {
  int64_t experts, top_k, ldl;
  hmoec_gate gate;
  hmoec_activation score; /* of HMOEC_GATE_SCORE, else NONE */
  bool renorm; /* of HMOEC_GATE_SCORE */
  int64_t row_block;
} hmoec_route_spec;

/* y[t] (+)= sum_s slots[t*top_k + s]; bindings: 0 slots [tokens*top_k, ld_slots], 1 y [tokens, ld_y]. Grid ROWS; s ascending. */
typedef struct hmoec_combine_spec {
  int64_t n, top_k, ld_slots, ld_y;
  bool accumulate;
  int64_t row_block;
} hmoec_combine_spec;

/* s[r] = scale * sum of table rows j in set(r) (selected) or not in it (unselected), j ascending; scale: 1, or of a mean 1 / the number of
 * such rows, where there are any. Padding columns are zeroed.
 * bindings: 0 sets i32 [rows, top_k], 1 table [experts, embedding], 2 out [rows, ld_out]. Grid ROWS. */
typedef enum hmoec_selection { HMOEC_SELECTED = 0, HMOEC_UNSELECTED } hmoec_selection;
typedef struct hmoec_select_spec {
  int64_t experts, top_k, embedding, ld_out;
  hmoec_selection of;
  bool mean;
  int64_t row_block;
} hmoec_select_spec;

/* Between the two products of the factored HyperExpert; H = hidden, b = bottleneck, rho[t] = [r[t], 1] has H + 1 entries.
 *   z[t][k] = relu(beta[t][k] + sum_{m <= H} rho[t][m] * t1[t][((k/step)*(H+1) + m)*step + k%step])     m ascending, beta added last
 *   v[t][k*(H+1) + m] = rho[t][m] * z[t][k]                                                         k < b; columns past b*(H+1) untouched
 * bindings: 0 t1 [rows, ld1], 1 r [rows, ldr], 2 beta [rows, ldb] or NONE, 3 v [rows, ldv]. Grid ROWS. v is not t1. */
typedef struct hmoec_contract_spec {
  int64_t hidden, bottleneck, ld1, ldr, ldb, ldv;
  int64_t step; /* columns of z side by side in t1: the target's column_step */
  bool has_beta;
  int64_t row_block;
} hmoec_contract_spec;

/* Maps rows: out[r, c] (+)= f(in[index(r), c]) * scale * factor[r, c] for c < n, f the activation.
 * bindings: 0 in [*, ld_in], 1 index i32 or NONE (index(r) = r), 2 out [rows, ld_out], 3 factor [rows, ld_factor] or NONE (1). ld_in 0, ld_factor 0:
 * one row for all. Without factor_columns a row of factor is one value for all columns. in_step: what is between two columns of in, where more than 1
 * rows are copied and nothing else. Columns n to n + padding of out become 0. Grid ROWS. */
typedef struct hmoec_rows_spec {
  int64_t n, ld_in, in_step, ld_out, padding, ld_factor;
  double scale;
  bool has_index, has_factor, factor_columns, accumulate;
  hmoec_activation activation;
  int64_t row_block;
} hmoec_rows_spec;

/* out[r] = norm(x[index(r)]), see hmoec_norm. bindings: 0 x [*, ld_x], 1 weight f32 [n], 2 bias f32 [n] (layer) or NONE, 3 out [rows, ld_out],
 * 4 index i32 or NONE (index(r) = r). Columns n..ld_out become 0 up to a whole column step. Grid ROWS. */
typedef struct hmoec_norm_spec {
  hmoec_norm kind; /* not NONE */
  int64_t n, ld_x, ld_out;
  double epsilon, scale;
  hmoec_format out_format;
  bool has_index;
  int64_t row_block;
} hmoec_norm_spec;

/* Rows in place, of `format`, for the products that follow: out row r = norm(a[src(r)]) rounded, where r is the product's row, and zeros behind column n.
 * For targets whose products read no others (hmoec_target.packs_rows). bindings: 0 a f32 [*, a_stride], 1 out, 2 blocks, 3 gather, 4 norm_weight, 5
 * norm_bias, as of hmoec_matmul_spec. Grid DENSE or BLOCKS; columns are split. */
typedef struct hmoec_pack_rows_spec {
  int64_t n, a_stride, out_stride;
  hmoec_format format;
  bool grouped, has_gather;
  hmoec_norm norm;
  double norm_epsilon, norm_scale;
  int64_t row_block;
} hmoec_pack_rows_spec;

/* out[r] (+)= row ids[r] of a table. bindings: 0 ids i32 [rows], 1 table, 2 out f32 [rows, ld_out]. Grid ROWS.
 * layout ROWS: the table is f32 [*, n]. RIGHT: it is the right operand [n, *] of `format` that a product with its transpose has (a tied head), and
 * row v is column v of that. */
typedef enum hmoec_table_layout { HMOEC_TABLE_ROWS = 0, HMOEC_TABLE_RIGHT } hmoec_table_layout;
typedef struct hmoec_embed_spec {
  int64_t n, ld_out;
  hmoec_table_layout layout;
  hmoec_format format; /* of RIGHT */
  bool accumulate;
  int64_t row_block;
} hmoec_embed_spec;

/* Rows of k and v into keys and values (hmoec_store_layout). Row r is position past + r % length of row r / length.
 * bindings: 0 k f32 [rows, ld_k], 1 v f32 [rows, ld_v], 2 keys, 3 values. dims: 0 length, 1 past, 2 capacity. Grid ROWS.
 * Columns head*head_size + i of k and v are element i of that head. */
typedef struct hmoec_store_spec {
  int64_t heads, head_size, ld_k, ld_v;
  int64_t row_block;
} hmoec_store_spec;

/* Attention, in blocks of keys, never more than a block of scores at one time:
 *   s[t, j] = scale * q[t] . key[j] + bias[head][j - t]      t = past + position of the query, j < kv_length
 *   o[t] = sum_j softmax_j(s[t, .])[j] value[j]
 * A key past the query (causal, j > t) has weight 0. A key whose mask is 0 has the score -FLT_MAX: weight 0, unless all keys a query sees are
 * masked; then they are weighted evenly, as in the published implementations. No key at all: o = 0.
 * bindings: 0 q f32 [batch*length, ld_q], 1 keys, 2 values, 3 bias f32 [heads][bias_ld] or NONE: of difference j - t at bias_zero + j - t,
 * where differences are first cut to [-max_distance - P, max_distance + 1] for the first of every P keys, so that all P can be read at once, P the
 * target's position_pad: bias_zero >= max_distance + P and bias_ld >= bias_zero + max_distance + P + 1; 4 mask i32
 * [kv_rows][value(dims[6])] or NONE, 5 out, of out_format, [batch*length, ld_out], columns head*head_size + i; columns from heads*head_size to a whole column step become 0;
 * 6 what parts of shared keys leave, or NONE (target.h).
 * dims: 0 batch, 1 length (of q), 2 past, 3 kv_length, 4 capacity of keys and values, 5 kv_rows: batch is a multiple, row b reads row
 * b / (batch / kv_rows); 6 the mask's row stride.
 * Grid ROWS, row_block 1, rows = batch * heads * ceil(length / query_block): task ((b*heads + head)*blocks + block).
 * Sums over keys run in ascending order, in blocks of a size that the target fixes: results do not depend on batch, threads or capacity. */
typedef struct hmoec_attention_spec {
  int64_t heads, head_size, ld_q, ld_out;
  double scale;
  bool causal, has_bias, has_mask;
  hmoec_format out_format;
  int64_t bias_ld, bias_zero, max_distance;
  int64_t query_block; /* at most the schedule's row_block */
} hmoec_attention_spec;

typedef enum hmoec_kernel_family {
  HMOEC_KERNEL_MATMUL = 0,
  HMOEC_KERNEL_ROUTE,
  HMOEC_KERNEL_COMBINE,
  HMOEC_KERNEL_SELECT,
  HMOEC_KERNEL_CONTRACT,
  HMOEC_KERNEL_ROWS,
  HMOEC_KERNEL_FFN,
  HMOEC_KERNEL_NORM,
  HMOEC_KERNEL_EMBED,
  HMOEC_KERNEL_STORE,
  HMOEC_KERNEL_ATTENTION,
  HMOEC_KERNEL_PACK_ROWS,
  HMOEC_KERNEL_FAMILY_COUNT
} hmoec_kernel_family;

typedef struct hmoec_kernel {
  hmoec_kernel_family family;
  union {
    hmoec_matmul_spec matmul;
    hmoec_route_spec route;
    hmoec_combine_spec combine;
    hmoec_select_spec select;
    hmoec_contract_spec contract;
    hmoec_rows_spec rows;
    hmoec_ffn_spec ffn;
    hmoec_norm_spec norm;
    hmoec_embed_spec embed;
    hmoec_store_spec store;
    hmoec_attention_spec attention;
    hmoec_pack_rows_spec pack_rows;
  } spec;
} hmoec_kernel;

#endif
