/* The CPU kernel families: what the planner asks of the code generator, as data.
 *
 * A kernel is described by a plain structure; equal structures give one function. For every description and every CPU version the
 * generator emits a function of type hmoe_kernel_fn (include/hmoe/abi.h). Row-major buffers are f32 unless said otherwise; ld is a
 * row stride in elements. panels(K, N) is the layout of right operands (abi.h).
 */
#ifndef HMOEC_CODEGEN_CPU_KERNELS_H
#define HMOEC_CODEGEN_CPU_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum hmoec_activation {
  HMOEC_ACTIVATION_NONE = 0,
  HMOEC_ACTIVATION_RELU,
  HMOEC_ACTIVATION_GELU,
  HMOEC_ACTIVATION_GELU_NEW,
  HMOEC_ACTIVATION_SILU,
  HMOEC_ACTIVATION_COUNT
} hmoec_activation;

typedef enum hmoec_gate {
  HMOEC_GATE_SOFTMAX_THEN_TOPK = 0,
  HMOEC_GATE_TOPK_THEN_SOFTMAX,
  HMOEC_GATE_SOFTMAX_TOPK_RENORM,
  HMOEC_GATE_COUNT
} hmoec_gate;

/* Names as in specs; a text that is no name gives the first. */
const char *hmoec_activation_name(hmoec_activation activation);
hmoec_activation hmoec_activation_find(const char *text, size_t length);
hmoec_gate hmoec_gate_find(const char *text, size_t length);

/* C[dst(r)] (+)= epilogue(A[src(r)] * B[group(r)])
 *
 * bindings, always all of them, HMOE_NONE where the spec has no use for one:
 *   0 a          [*, lda]
 *   1 b          panels(k, N), or pairs(k, N) of a bf16 product, per group, b_group_bytes apart
 *   2 c          [*, ldc]
 *   3 blocks     hmoe_blocks (grouped)
 *   4 gather     i32: src(r) = gather[r]; absent: src(r) = r
 *   5 scatter    i32: dst(r) = scatter[r]; absent: dst(r) = r
 *   6 bias       f32 [groups][bias_group_floats]: added before the activation
 *   7 row_gate   f32 [rows]
 *   8 gated_bias f32 [groups][N rounded up to 32]: row_gate[r] * gated_bias is added
 *   9 pass       f32 [*, ld = pass_ld]: a dropped row adds row_gate[r] * pass[pass_index(r)], pass_index = binding 10
 *  10 pass_index i32 [rows]
 * Column n of panel p belongs to the segment that holds p; its value is
 *   v = act(acc + bias) ; v *= row_gate[r] if the segment is gated ; v += row_gate[r]*(dropped and has_pass ? pass : gated_bias)
 *   C = accumulate ? C + v : v
 * Dropped blocks compute panels from dropped_panel_begin and k from dropped_k_begin only (a multiple of 32 in bf16); the columns
 * before are not written.
 * Grid: DENSE rows [0, call.rows) in blocks of row_block, or BLOCKS. Columns are split over call.splits by whole panels.
 * Sums run over k in ascending order, one accumulator a value: results depend on neither rows per block nor threads nor splits. */
typedef struct hmoec_matmul_segment {
  int64_t panel_end;
  hmoec_activation activation;
  bool gated;
} hmoec_matmul_segment;

typedef struct hmoec_matmul_spec {
  int64_t k, n;          /* n: columns written; panels = ceil(n/32) */
  int64_t lda, ldc;
  bool bf16;   /* the product is bf16 */
  bool a_bf16; /* A is bf16 in memory; bf16 products only, others have f32 rows and are rounded while they are copied */
  bool c_bf16; /* C is bf16, rounded after the epilogue; not with accumulate. pass stays f32 */
  /* A rows are consecutive, and readable 16 rows past the last: no copy into scratch. lda == the schedule's lda; of a bf16 product a_bf16
   * is set, lda == the schedule's lda_bf16, and columns from k to a multiple of 32 are 0. */
  bool a_in_place;
  bool c_padded; /* C rows have room for whole panels: columns from n to the panel's end become 0 */
  bool grouped;
  bool has_gather, has_scatter, has_bias, has_row_gate, has_gated_bias, has_pass;
  bool accumulate;
  int64_t b_group_bytes, bias_group_floats, pass_ld;
  int64_t segments; /* 1 or 2; the last one's panel_end is the panel count */
  hmoec_matmul_segment segment[2];
  int64_t dropped_panel_begin, dropped_k_begin;
  int64_t row_block;
} hmoec_matmul_spec;

/* Both products of a feed-forward network in one task, the hidden block never leaving the worker's scratch:
 *
 *   C[dst(r)] (+)= epilogue2(hidden * B2[group(r)]),  hidden[r] = epilogue1(A[src(r)] * B1[group(r)])
 *
 * first and second are the two products as if they were steps of their own, and the bits are the same. first: gather, bias, row_gate of
 * a gated segment; no scatter, pass, gated_bias or accumulate; c_padded, ldc >= whole panels. second: k = first.n rounded to what its
 * A needs; a_in_place; no gather. Both have the same row_block and are both grouped or not, both bf16 or not.
 * bindings: those of second, but a and gather are first's; bias is second's; 11 b of first, 12 bias of first.
 * chunk_panels: columns of the hidden block that exist at one time, in panels; the sums of C wait in scratch.
 * Grid: as of matmul, but never split. */
typedef struct hmoec_ffn_spec {
  hmoec_matmul_spec first, second;
  int64_t chunk_panels;
} hmoec_ffn_spec;

/* Router epilogue: logits [tokens, ldl] (first `experts` columns real) -> indices i32 [tokens, top_k], gates f32 [tokens, top_k].
 * bindings: 0 logits, 1 indices, 2 gates. Grid ROWS. Larger value first, then the lower index; NaN counts as the lowest value.
 *   softmax_then_topk   g = softmax over all experts at the selected ones
 *   topk_then_softmax   g = softmax over the selected logits
 *   softmax_topk_renorm g = softmax over all, divided by the sum of the selected */
typedef struct hmoec_route_spec {
  int64_t experts, top_k, ldl;
  hmoec_gate gate;
  int64_t row_block;
} hmoec_route_spec;

/* y[t] (+)= sum_s slots[t*top_k + s]; bindings: 0 slots [tokens*top_k, ld_slots], 1 y [tokens, ld_y]. Grid ROWS; s ascending. */
typedef struct hmoec_combine_spec {
  int64_t n, top_k, ld_slots, ld_y;
  bool accumulate;
  int64_t row_block;
} hmoec_combine_spec;

/* s[r] = scale * sum of table rows j in set(r) (selected) or not in it (unselected), j ascending; padding columns are zeroed.
 * bindings: 0 sets i32 [rows, top_k], 1 table [experts, embedding], 2 out [rows, ld_out]. Grid ROWS. */
typedef struct hmoec_select_spec {
  int64_t experts, top_k, embedding, ld_out;
  bool unselected;
  float scale;
  int64_t row_block;
} hmoec_select_spec;

/* Between the two products of the factored HyperExpert; H = hidden, b = bottleneck, rho[t] = [r[t], 1] has H + 1 entries.
 *   z[t][k] = relu(beta[t][k] + sum_{m <= H} rho[t][m] * t1[t][((k/32)*(H+1) + m)*32 + k%32])     m ascending, beta added last
 *   v[t][k*(H+1) + m] = rho[t][m] * z[t][k]                                                         k < b; columns past b*(H+1) untouched
 * bindings: 0 t1 [rows, ld1], 1 r [rows, ldr], 2 beta [rows, ldb] or NONE, 3 v [rows, ldv]. Grid ROWS. v is not t1. */
typedef struct hmoec_contract_spec {
  int64_t hidden, bottleneck, ld1, ldr, ldb, ldv;
  bool has_beta;
  int64_t row_block;
} hmoec_contract_spec;

/* Copies rows: out[r, 0:n) (+)= f(in[index(r), 0:n)), f the activation; bindings: 0 in [*, ld_in], 1 index i32 or NONE (index(r) = r),
 * 2 out [rows, ld_out]. Columns n..ld_out are zeroed unless accumulating. Grid ROWS. */
typedef struct hmoec_rows_spec {
  int64_t n, ld_in, ld_out;
  bool has_index, accumulate;
  hmoec_activation activation;
  int64_t row_block;
} hmoec_rows_spec;

/* out[i] = f(in[i]), i < call.rows; bindings: 0 in f32, 1 out f32. Grid ROWS over elements. */
typedef enum hmoec_function {
  HMOEC_FUNCTION_EXP = 0,
  HMOEC_FUNCTION_TANH,
  HMOEC_FUNCTION_ERF,
  HMOEC_FUNCTION_RELU,
  HMOEC_FUNCTION_GELU,
  HMOEC_FUNCTION_GELU_NEW,
  HMOEC_FUNCTION_SILU,
  HMOEC_FUNCTION_COUNT
} hmoec_function;
typedef struct hmoec_map_spec {
  hmoec_function function;
  int64_t row_block;
} hmoec_map_spec;

typedef enum hmoec_kernel_family {
  HMOEC_KERNEL_MATMUL = 0,
  HMOEC_KERNEL_ROUTE,
  HMOEC_KERNEL_COMBINE,
  HMOEC_KERNEL_SELECT,
  HMOEC_KERNEL_CONTRACT,
  HMOEC_KERNEL_ROWS,
  HMOEC_KERNEL_MAP,
  HMOEC_KERNEL_FFN,
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
    hmoec_map_spec map;
    hmoec_ffn_spec ffn;
  } spec;
} hmoec_kernel;

#endif
