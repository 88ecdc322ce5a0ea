/* The shape rules of the op table and the checks the builder and the verifier share. */
#ifndef HMOEC_IR_OPS_INFER_H
#define HMOEC_IR_OPS_INFER_H

#include "ir/ops.h"

bool hmoec_infer_linear(hmoec_inference *inference);
bool hmoec_infer_activate(hmoec_inference *inference);
bool hmoec_infer_add(hmoec_inference *inference);
bool hmoec_infer_reshape(hmoec_inference *inference);
bool hmoec_infer_slice(hmoec_inference *inference);
bool hmoec_infer_concat(hmoec_inference *inference);
bool hmoec_infer_scale(hmoec_inference *inference);
bool hmoec_infer_route(hmoec_inference *inference);
bool hmoec_infer_experts(hmoec_inference *inference);
bool hmoec_infer_combine(hmoec_inference *inference);
bool hmoec_infer_selection_embedding(hmoec_inference *inference);
bool hmoec_infer_append_row(hmoec_inference *inference);
bool hmoec_infer_take_row(hmoec_inference *inference);
bool hmoec_infer_hypernetwork(hmoec_inference *inference);
bool hmoec_infer_hyper_expert(hmoec_inference *inference);
bool hmoec_infer_weight_embedding(hmoec_inference *inference);
bool hmoec_infer_all_selections(hmoec_inference *inference);
bool hmoec_infer_selection_rank(hmoec_inference *inference);
bool hmoec_infer_distinct_selections(hmoec_inference *inference);
bool hmoec_infer_indexed_hyper_expert(hmoec_inference *inference);
bool hmoec_infer_factored_hyper_expert(hmoec_inference *inference);
bool hmoec_infer_fused_experts(hmoec_inference *inference);
bool hmoec_infer_fused_gated_experts(hmoec_inference *inference);
bool hmoec_infer_embedding(hmoec_inference *inference); /* position_embedding too */
bool hmoec_infer_norm(hmoec_inference *inference); /* rms_norm, layer_norm */
bool hmoec_infer_transpose(hmoec_inference *inference);
bool hmoec_infer_flatten(hmoec_inference *inference);
bool hmoec_infer_unflatten(hmoec_inference *inference);
bool hmoec_infer_relative_bias(hmoec_inference *inference);
bool hmoec_infer_attention(hmoec_inference *inference);
bool hmoec_infer_gated_experts(hmoec_inference *inference);

/* Each reports what is wrong and returns false. */
bool hmoec_operand_count_check(const hmoec_op_info *info, size_t count, hmoec_diagnostics *diagnostics, hmoec_location location);
/* The value is of the row's kind; is it in its range, or one of its choices? */
bool hmoec_attribute_check(const hmoec_op_info *info, const hmoec_attribute_info *row, const hmoec_attribute *value,
                           hmoec_diagnostics *diagnostics, hmoec_location location);
bool hmoec_parameter_check(hmoec_diagnostics *diagnostics, hmoec_location location, MlirStringRef key, int64_t count,
                           const hmoec_shape *result);
/* After a shape rule: no result has more elements than can be addressed. */
bool hmoec_results_check(hmoec_inference *inference);

/* operandSegmentSizes and resultSegmentSizes of an op with operands (and results) known: how many, 0 when the op carries none.
 * out_sizes: HMOEC_MAX_OPERANDS. */
size_t hmoec_operand_segments(const hmoec_inference *inference, int32_t *out_sizes);
size_t hmoec_result_segments(const hmoec_inference *inference, int32_t *out_sizes);

#endif
