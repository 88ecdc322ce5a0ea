#include "emit/kernel_spec.h"

#include <stdio.h>

#include <mlir-c/BuiltinAttributes.h>

#include "ir/hmk_ops.h"

static hmoec_activation activation_of(const hmoec_scalar_library *functions, MlirStringRef name) {
  return hmoec_activation_find(functions, name.data, name.length);
}

static hmoec_norm norm_of(MlirOperation op, const char *name) {
  return hmoec_op_string_is(op, name, "rms")     ? HMOEC_NORM_RMS
         : hmoec_op_string_is(op, name, "layer") ? HMOEC_NORM_LAYER
                                                 : HMOEC_NORM_NONE;
}

static MlirAttribute attribute(MlirOperation op, const char *name) {
  return mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString(name));
}

/* Attributes of one product; those of the first of a fused pair are named first_. */
static const char *name_of(const char *prefix, const char *name, char out[64]) {
  snprintf(out, 64, "%s%s", prefix, name);
  return out;
}

static int64_t product_int(MlirOperation op, const char *prefix, const char *name) {
  char full[64];
  return hmoec_op_int(op, name_of(prefix, name, full));
}

static bool flag(MlirOperation op, const char *prefix, const char *name) {
  char full[64];
  MlirAttribute flags = attribute(op, name_of(prefix, "flags", full));
  for (intptr_t i = 0; i < mlirArrayAttrGetNumElements(flags); i++)
    if (mlirStringRefEqual(mlirStringAttrGetValue(mlirArrayAttrGetElement(flags, i)), mlirStringRefCreateFromCString(name)))
      return true;
  return false;
}

/* What the attributes of a product say; its buffers are the caller's to read. */
static void read_product(MlirOperation op, const hmoec_scalar_library *functions, const char *prefix, hmoec_matmul_spec *spec) {
  char full[64];
  spec->k = product_int(op, prefix, "k");
  spec->n = product_int(op, prefix, "n");
  spec->lda = product_int(op, prefix, "lda");
  spec->ldc = product_int(op, prefix, "ldc");
  spec->bf16 = flag(op, prefix, "bf16");
  spec->a_bf16 = flag(op, prefix, "a_bf16");
  spec->c_bf16 = flag(op, prefix, "c_bf16");
  spec->a_in_place = flag(op, prefix, "a_in_place");
  spec->c_padded = flag(op, prefix, "c_padded");
  spec->accumulate = flag(op, prefix, "accumulate");
  spec->b_group_bytes = product_int(op, prefix, "b_group_bytes");
  spec->bias_group_floats = product_int(op, prefix, "bias_group_floats");
  MlirAttribute segments = attribute(op, name_of(prefix, "segments", full));
  spec->segments = mlirArrayAttrGetNumElements(segments) / 4;
  for (int64_t i = 0; i < spec->segments && i < 2; i++) {
    spec->segment[i].panel_end = mlirIntegerAttrGetValueInt(mlirArrayAttrGetElement(segments, (intptr_t)(4 * i)));
    spec->segment[i].activation =
        activation_of(functions, mlirStringAttrGetValue(mlirArrayAttrGetElement(segments, (intptr_t)(4 * i + 1))));
    spec->segment[i].gated = mlirBoolAttrGetValue(mlirArrayAttrGetElement(segments, (intptr_t)(4 * i + 2)));
    spec->segment[i].multiply = mlirBoolAttrGetValue(mlirArrayAttrGetElement(segments, (intptr_t)(4 * i + 3)));
  }
  spec->dropped_panel_begin = hmoec_hmk_array(op, name_of(prefix, "dropped", full), 0);
  spec->dropped_k_begin = hmoec_hmk_array(op, name_of(prefix, "dropped", full), 1);
  spec->row_block = hmoec_op_int(op, "row_block");
}

static void read_norm_prologue(MlirOperation op, hmoec_matmul_spec *spec) {
  spec->norm = norm_of(op, "norm");
  if (spec->norm == HMOEC_NORM_NONE) return;
  spec->norm_epsilon = (float)hmoec_op_number(op, "norm_epsilon");
  spec->norm_scale = (float)hmoec_op_number(op, "norm_scale");
}

static void read_matmul(MlirOperation op, const hmoec_scalar_library *functions, hmoec_matmul_spec *spec) {
  const hmoec_hmk_info *info = hmoec_hmk_info_of(op);
  read_product(op, functions, "", spec);
  spec->pass_ld = hmoec_op_int(op, "pass_ld");
  bool *const has[] = {&spec->grouped,      &spec->has_gather,     &spec->has_scatter, &spec->has_bias,
                       &spec->has_row_gate, &spec->has_gated_bias, &spec->has_pass};
  for (size_t i = 0; i < sizeof has / sizeof *has; i++) *has[i] = hmoec_hmk_operand(op, info, 3 + i) >= 0;
}

static bool any_gated(const hmoec_matmul_spec *spec) {
  return spec->segment[0].gated || (spec->segments > 1 && spec->segment[1].gated);
}

/* The buffers of a pair are shared: each product has those that it would have as a step of its own. */
static void read_ffn(MlirOperation op, const hmoec_scalar_library *functions, hmoec_ffn_spec *spec) {
  enum { FIRST_BIAS = 12 };
  read_matmul(op, functions, &spec->second);
  read_product(op, functions, "first_", &spec->first);
  read_norm_prologue(op, &spec->first);
  bool row_gate = spec->second.has_row_gate;
  spec->first.grouped = spec->second.grouped;
  spec->first.has_gather = spec->second.has_gather;
  spec->second.has_gather = false;
  spec->first.has_bias = hmoec_hmk_operand(op, hmoec_hmk_info_of(op), FIRST_BIAS) >= 0;
  spec->first.has_row_gate = row_gate && any_gated(&spec->first);
  spec->second.has_row_gate = row_gate && (any_gated(&spec->second) || spec->second.has_gated_bias || spec->second.has_pass);
  spec->chunk_panels = hmoec_op_int(op, "chunk_panels");
}

static void read_route(MlirOperation op, const hmoec_scalar_library *functions, hmoec_route_spec *spec) {
  spec->experts = hmoec_op_int(op, "experts");
  spec->top_k = hmoec_op_int(op, "top_k");
  spec->ldl = hmoec_op_int(op, "ldl");
  MlirStringRef gate = hmoec_op_string(op, "gate");
  spec->gate = hmoec_gate_find(gate.data, gate.length);
  if (spec->gate == HMOEC_GATE_SCORE) spec->score = activation_of(functions, gate);
  spec->renorm = hmoec_op_int(op, "renorm") != 0;
  spec->row_block = hmoec_op_int(op, "row_block");
}

static void read_combine(MlirOperation op, hmoec_combine_spec *spec) {
  spec->n = hmoec_op_int(op, "n");
  spec->top_k = hmoec_op_int(op, "top_k");
  spec->ld_slots = hmoec_op_int(op, "ld_slots");
  spec->ld_y = hmoec_op_int(op, "ld_y");
  spec->accumulate = hmoec_op_int(op, "accumulate") != 0;
  spec->row_block = hmoec_op_int(op, "row_block");
}

static void read_select(MlirOperation op, hmoec_select_spec *spec) {
  spec->experts = hmoec_op_int(op, "experts");
  spec->top_k = hmoec_op_int(op, "top_k");
  spec->embedding = hmoec_op_int(op, "embedding");
  spec->ld_out = hmoec_op_int(op, "ld_out");
  spec->unselected = hmoec_op_string_is(op, "of", "unselected");
  int64_t summed = spec->unselected ? spec->experts - spec->top_k : spec->top_k;
  spec->scale = hmoec_op_int(op, "mean") && summed > 0 ? 1.0F / (float)summed : 1.0F;
  spec->row_block = hmoec_op_int(op, "row_block");
}

static void read_contract(MlirOperation op, hmoec_contract_spec *spec) {
  spec->hidden = hmoec_op_int(op, "hidden");
  spec->bottleneck = hmoec_op_int(op, "bottleneck");
  spec->ld1 = hmoec_op_int(op, "ld1");
  spec->ldr = hmoec_op_int(op, "ldr");
  spec->ldb = hmoec_op_int(op, "ldb");
  spec->ldv = hmoec_op_int(op, "ldv");
  spec->has_beta = hmoec_hmk_operand(op, hmoec_hmk_info_of(op), 2) >= 0;
  spec->row_block = hmoec_op_int(op, "row_block");
}

static void read_rows(MlirOperation op, const hmoec_scalar_library *functions, hmoec_rows_spec *spec) {
  spec->n = hmoec_op_int(op, "n");
  spec->ld_in = hmoec_op_int(op, "ld_in");
  spec->ld_out = hmoec_op_int(op, "ld_out");
  spec->has_index = hmoec_hmk_operand(op, hmoec_hmk_info_of(op), 1) >= 0;
  spec->accumulate = hmoec_op_int(op, "accumulate") != 0;
  spec->multiply = hmoec_op_int(op, "multiply") != 0;
  spec->inverse_sqrt = hmoec_op_int(op, "inverse_sqrt");
  spec->activation = activation_of(functions, hmoec_op_string(op, "function"));
  spec->row_block = hmoec_op_int(op, "row_block");
}

static void read_norm(MlirOperation op, hmoec_norm_spec *spec) {
  spec->kind = norm_of(op, "kind");
  spec->n = hmoec_op_int(op, "n");
  spec->ld_x = hmoec_op_int(op, "ld_x");
  spec->ld_out = hmoec_op_int(op, "ld_out");
  spec->epsilon = (float)hmoec_op_number(op, "epsilon");
  spec->scale = (float)hmoec_op_number(op, "scale");
  spec->out_bf16 = hmoec_op_int(op, "out_bf16") != 0;
  spec->has_index = hmoec_hmk_operand(op, hmoec_hmk_info_of(op), 4) >= 0;
  spec->row_block = hmoec_op_int(op, "row_block");
}

static void read_embed(MlirOperation op, hmoec_embed_spec *spec) {
  spec->n = hmoec_op_int(op, "n");
  spec->ld_out = hmoec_op_int(op, "ld_out");
  spec->layout = hmoec_op_string_is(op, "layout", "pairs")    ? HMOEC_TABLE_PAIRS
                 : hmoec_op_string_is(op, "layout", "panels") ? HMOEC_TABLE_PANELS
                                                              : HMOEC_TABLE_ROWS;
  spec->accumulate = hmoec_op_int(op, "accumulate") != 0;
  spec->row_block = hmoec_op_int(op, "row_block");
}

static void read_store(MlirOperation op, hmoec_store_spec *spec) {
  spec->heads = hmoec_op_int(op, "heads");
  spec->head_size = hmoec_op_int(op, "head_size");
  spec->ld_k = hmoec_op_int(op, "ld_k");
  spec->ld_v = hmoec_op_int(op, "ld_v");
  spec->row_block = hmoec_op_int(op, "row_block");
}

static void read_attention(MlirOperation op, hmoec_attention_spec *spec) {
  const hmoec_hmk_info *info = hmoec_hmk_info_of(op);
  spec->heads = hmoec_op_int(op, "heads");
  spec->head_size = hmoec_op_int(op, "head_size");
  spec->ld_q = hmoec_op_int(op, "ld_q");
  spec->ld_out = hmoec_op_int(op, "ld_out");
  spec->scale = (float)hmoec_op_number(op, "scale");
  spec->causal = hmoec_op_int(op, "causal") != 0;
  spec->has_bias = hmoec_hmk_operand(op, info, 3) >= 0;
  spec->has_mask = hmoec_hmk_operand(op, info, 4) >= 0;
  spec->out_bf16 = hmoec_op_int(op, "out_bf16") != 0;
  spec->bias_ld = hmoec_op_int(op, "bias_ld");
  spec->bias_zero = hmoec_op_int(op, "bias_zero");
  spec->max_distance = hmoec_op_int(op, "max_distance");
  spec->query_block = hmoec_op_int(op, "query_block");
}

void hmoec_kernel_read(MlirOperation op, const hmoec_scalar_library *functions, hmoec_kernel *out_kernel) {
  if (hmoec_op_is(op, "hmk.grouped_matmul")) {
    out_kernel->family = HMOEC_KERNEL_MATMUL;
    read_matmul(op, functions, &out_kernel->spec.matmul);
    read_norm_prologue(op, &out_kernel->spec.matmul);
  } else if (hmoec_op_is(op, "hmk.grouped_ffn")) {
    out_kernel->family = HMOEC_KERNEL_FFN;
    read_ffn(op, functions, &out_kernel->spec.ffn);
  } else if (hmoec_op_is(op, "hmk.route_topk")) {
    out_kernel->family = HMOEC_KERNEL_ROUTE;
    read_route(op, functions, &out_kernel->spec.route);
  } else if (hmoec_op_is(op, "hmk.combine")) {
    out_kernel->family = HMOEC_KERNEL_COMBINE;
    read_combine(op, &out_kernel->spec.combine);
  } else if (hmoec_op_is(op, "hmk.select_embedding")) {
    out_kernel->family = HMOEC_KERNEL_SELECT;
    read_select(op, &out_kernel->spec.select);
  } else if (hmoec_op_is(op, "hmk.contract")) {
    out_kernel->family = HMOEC_KERNEL_CONTRACT;
    read_contract(op, &out_kernel->spec.contract);
  } else if (hmoec_op_is(op, "hmk.norm_rows")) {
    out_kernel->family = HMOEC_KERNEL_NORM;
    read_norm(op, &out_kernel->spec.norm);
  } else if (hmoec_op_is(op, "hmk.embed_rows")) {
    out_kernel->family = HMOEC_KERNEL_EMBED;
    read_embed(op, &out_kernel->spec.embed);
  } else if (hmoec_op_is(op, "hmk.store_kv")) {
    out_kernel->family = HMOEC_KERNEL_STORE;
    read_store(op, &out_kernel->spec.store);
  } else if (hmoec_op_is(op, "hmk.attention")) {
    out_kernel->family = HMOEC_KERNEL_ATTENTION;
    read_attention(op, &out_kernel->spec.attention);
  } else {
    out_kernel->family = HMOEC_KERNEL_ROWS;
    read_rows(op, functions, &out_kernel->spec.rows);
  }
}
