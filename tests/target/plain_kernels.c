/* The kernel families as plain loops, after their equations in kernel/kernels.h. */
#include "target/plain.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int64_t whole(int64_t columns) { return (columns + PLAIN_STEP - 1) / PLAIN_STEP * PLAIN_STEP; }
static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static double activate(hmoec_activation activation, double x) {
  switch (activation) {
  case HMOEC_ACTIVATION_RELU: return x < 0 ? 0 : x;
  case HMOEC_ACTIVATION_GELU: return x * 0.5 * (1 + erf(x * M_SQRT1_2));
  case HMOEC_ACTIVATION_GELU_NEW: return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  case HMOEC_ACTIVATION_SILU: return x / (1 + exp(-x));
  case HMOEC_ACTIVATION_SIGMOID: return 1 / (1 + exp(-x));
  default: return x;
  }
}

static void normalise(hmoec_norm kind, int64_t n, double epsilon, double scale, const float *x, const float *weight,
                      const float *bias, float *out) {
  double mean = 0, square = 0;
  for (int64_t i = 0; i < n && kind == HMOEC_NORM_LAYER; i++) mean += (double)x[i] / (double)n;
  for (int64_t i = 0; i < n; i++) square += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
  for (int64_t i = 0; i < n; i++) {
    double y = ((double)x[i] - mean) / sqrt(square + epsilon) * (double)weight[i];
    out[i] = (float)((bias ? y + (double)bias[i] : y) * scale);
  }
}

/* ---- MATMUL, FFN ---- */

typedef struct operands {
  const float *a, *b;
  float *c;
  const int32_t *gather, *scatter;
  const float *bias, *row_gate, *gated_bias, *pass;
  const int32_t *pass_index;
  const float *norm_weight, *norm_bias;
} operands;

/* A row of A times a column of B, and the bias of that. */
static double sum_of(const hmoec_matmul_spec *s, const operands *o, const hmoe_block *block, const float *a, int64_t column) {
  const float *b = o->b + (s->grouped ? block->group * (s->b_group_bytes / 4) : 0) + column * s->k;
  double sum = 0;
  for (int64_t k = block->dropped ? s->dropped_k_begin : 0; k < s->k; k++) sum += (double)a[k] * (double)b[k];
  return s->has_bias ? sum + (double)o->bias[block->group * s->bias_group_floats + column] : sum;
}

static float value_of(const hmoec_matmul_spec *s, const operands *o, const hmoe_block *block, const float *a, int64_t r,
                      int64_t column, float before) {
  int64_t second = s->segments == 2 && column >= whole(s->segment[0].end);
  const hmoec_matmul_segment *segment = &s->segment[second];
  if (column >= segment->end) return 0; /* padding */
  double gate = s->has_row_gate ? (double)o->row_gate[r] : 0;
  int64_t paired = s->paired ? whole(s->segment[0].end) : 0;
  double v = activate(segment->activation, sum_of(s, o, block, a, second ? column + paired : column));
  if (s->paired && !second) v *= sum_of(s, o, block, a, column + paired);
  bool passed = block->dropped && s->has_pass, bare = block->dropped && s->dropped_bare;
  if (segment->gated) v = passed || bare ? 0 : v * gate;
  if (s->has_gated_bias && !passed && !bare) v += gate * (double)o->gated_bias[block->group * whole(s->n) + column];
  if (passed) v += gate * (double)o->pass[o->pass_index[r] * s->pass_ld + column];
  if (segment->multiply) v *= (double)before;
  return (float)(s->accumulate ? v + (double)before : v);
}

/* Columns [begin, end) of a block's rows; c is indexed by the row of the batch. */
static void multiply(const hmoec_matmul_spec *s, const operands *o, const hmoe_block *block, int64_t begin, int64_t end) {
  float *row = malloc((size_t)(s->k + 1) * sizeof *row);
  if (block->dropped && begin < s->dropped_column) begin = s->dropped_column;
  for (int64_t r = block->row; r < block->row + block->rows; r++) {
    const float *a = o->a + (s->has_gather ? o->gather[r] : r) * s->a_stride;
    float *c = o->c + (s->has_scatter ? o->scatter[r] : r) * s->c_stride;
    if (s->norm != HMOEC_NORM_NONE) {
      normalise(s->norm, s->k, s->norm_epsilon, s->norm_scale, a, o->norm_weight, s->norm == HMOEC_NORM_LAYER ? o->norm_bias : NULL,
                row);
      a = row;
    }
    for (int64_t column = begin; column < end; column++) {
      if (column >= s->n && !s->c_padded) break;
      c[column] = value_of(s, o, block, a, r, column, c[column]);
    }
  }
  free(row);
}

/* Which rows a task of a product has. */
static hmoe_block block_of(const hmoec_matmul_spec *s, const hmoe_kernel_call *call, int64_t number) {
  if (s->grouped) return ((const hmoe_block *)((const hmoe_blocks *)call->buffers[3] + 1))[number + call->first_block];
  int64_t row = number * s->row_block;
  return (hmoe_block){.row = (int32_t)row, .rows = (int32_t)smaller(s->row_block, call->rows - row)};
}

static operands operands_of(void *const *buffers, size_t norm) {
  return (operands){buffers[0], buffers[1], buffers[2], buffers[4],  buffers[5],    buffers[6],
                    buffers[7], buffers[8], buffers[9], buffers[10], buffers[norm], buffers[norm + 1]};
}

static void run_matmul(const hmoec_matmul_spec *s, const hmoe_kernel_call *call, int64_t task) {
  operands o = operands_of(call->buffers, 11);
  hmoe_block block = block_of(s, call, task / call->splits);
  int64_t steps = whole(s->n) / PLAIN_STEP, split = task % call->splits;
  multiply(s, &o, &block, steps * split / call->splits * PLAIN_STEP, steps * (split + 1) / call->splits * PLAIN_STEP);
}

static void run_ffn(const hmoec_ffn_spec *s, const hmoe_kernel_call *call, int64_t task) {
  operands second = operands_of(call->buffers, 13), first = second;
  hmoe_block block = block_of(&s->second, call, task);
  int64_t stride = s->first.c_stride;
  float *hidden = calloc((size_t)(block.rows * stride + 1), sizeof *hidden);
  first.b = call->buffers[11];
  first.bias = call->buffers[12];
  first.c = hidden - block.row * stride;
  multiply(&s->first, &first, &block, 0, whole(s->first.n));
  second.a = first.c;
  hmoec_matmul_spec in_place = s->second;
  in_place.a_stride = stride;
  multiply(&in_place, &second, &block, 0, whole(s->second.n));
  free(hidden);
}

/* ---- the others: rows [begin, end) of a task ---- */

static void run_route(const hmoec_route_spec *s, void *const *buffers, int64_t r) {
  const float *logits = (const float *)buffers[0] + r * s->ldl;
  int32_t *indices = (int32_t *)buffers[1] + r * s->top_k;
  float *gates = (float *)buffers[2] + r * s->top_k;
  bool by_score = s->gate == HMOEC_GATE_SCORE;
  for (int64_t p = 0; p < s->top_k; p++) {
    int64_t best = -1;
    for (int64_t e = 0; e < s->experts; e++) {
      bool taken = false;
      for (int64_t q = 0; q < p; q++) taken |= indices[q] == e;
      double mine = by_score ? activate(s->score, (double)logits[e]) : (double)logits[e];
      double largest = best < 0 ? 0 : by_score ? activate(s->score, (double)logits[best]) : (double)logits[best];
      if (!taken && (best < 0 || mine > largest)) best = e;
    }
    indices[p] = (int32_t)best;
  }
  double most = -INFINITY, all = 0, selected = 0;
  for (int64_t e = 0; e < s->experts; e++) most = fmax(most, (double)logits[e]);
  for (int64_t e = 0; e < s->experts; e++) all += exp((double)logits[e] - most);
  for (int64_t p = 0; p < s->top_k; p++)
    selected += by_score ? activate(s->score, (double)logits[indices[p]]) : exp((double)logits[indices[p]] - most);
  for (int64_t p = 0; p < s->top_k; p++) {
    double own = by_score ? activate(s->score, (double)logits[indices[p]]) : exp((double)logits[indices[p]] - most);
    bool of_all = s->gate == HMOEC_GATE_SOFTMAX_THEN_TOPK;
    double divisor = of_all ? all : !by_score ? selected : s->renorm ? selected : 1;
    gates[p] = (float)(divisor == 0 ? 0 : own / divisor);
  }
}

static void run_combine(const hmoec_combine_spec *s, void *const *buffers, int64_t r) {
  float *y = (float *)buffers[1] + r * s->ld_y;
  for (int64_t i = 0; i < s->n; i++) {
    double sum = 0;
    for (int64_t p = 0; p < s->top_k; p++) sum += (double)((const float *)buffers[0])[(r * s->top_k + p) * s->ld_slots + i];
    y[i] = (float)(s->accumulate ? (double)y[i] + sum : sum);
  }
}

static void run_select(const hmoec_select_spec *s, void *const *buffers, int64_t r) {
  const int32_t *set = (const int32_t *)buffers[0] + r * s->top_k;
  const float *table = buffers[1];
  float *out = (float *)buffers[2] + r * s->ld_out;
  for (int64_t i = 0; i < s->ld_out; i++) {
    double sum = 0;
    int64_t count = 0;
    for (int64_t e = 0; i < s->embedding && e < s->experts; e++) {
      bool in = false;
      for (int64_t p = 0; p < s->top_k; p++) in |= set[p] == e;
      if (in != (s->of == HMOEC_SELECTED)) continue;
      sum += (double)table[e * s->embedding + i];
      count++;
    }
    out[i] = (float)(s->mean && count ? sum / (double)count : sum);
  }
}

static void run_contract(const hmoec_contract_spec *s, void *const *buffers, int64_t r) {
  const float *t1 = (const float *)buffers[0] + r * s->ld1, *rho = (const float *)buffers[1] + r * s->ldr;
  float *v = (float *)buffers[3] + r * s->ldv;
  for (int64_t k = 0; k < s->bottleneck; k++) {
    double z = 0;
    for (int64_t m = 0; m <= s->hidden; m++)
      z += (m < s->hidden ? (double)rho[m] : 1) * (double)t1[((k / s->step) * (s->hidden + 1) + m) * s->step + k % s->step];
    if (s->has_beta) z += (double)((const float *)buffers[2])[r * s->ldb + k];
    for (int64_t m = 0; m <= s->hidden; m++)
      v[k * (s->hidden + 1) + m] = (float)((m < s->hidden ? (double)rho[m] : 1) * (z < 0 ? 0 : z));
  }
}

static void run_rows(const hmoec_rows_spec *s, void *const *buffers, int64_t r) {
  const float *in = (const float *)buffers[0] + (s->has_index ? ((const int32_t *)buffers[1])[r] : r) * s->ld_in;
  float *out = (float *)buffers[2] + r * s->ld_out;
  const float *factor = s->has_factor ? (const float *)buffers[3] + r * s->ld_factor : NULL;
  for (int64_t i = 0; i < s->n; i++) {
    double v = activate(s->activation, (double)in[i * s->in_step]) * s->scale;
    if (factor) v *= (double)factor[s->factor_columns ? i : 0];
    out[i] = (float)(s->accumulate ? (double)out[i] + v : v);
  }
  for (int64_t i = 0; i < s->padding; i++) out[s->n + i] = 0;
}

static void run_norm(const hmoec_norm_spec *s, void *const *buffers, int64_t r) {
  const float *x = (const float *)buffers[0] + (s->has_index ? ((const int32_t *)buffers[4])[r] : r) * s->ld_x;
  float *out = (float *)buffers[3] + r * s->ld_out;
  normalise(s->kind, s->n, s->epsilon, s->scale, x, buffers[1], s->kind == HMOEC_NORM_LAYER ? buffers[2] : NULL, out);
  for (int64_t i = s->n; i < s->ld_out; i++) out[i] = 0;
}

static void run_embed(const hmoec_embed_spec *s, void *const *buffers, int64_t r) {
  /* Rows of the table, or columns of the product with its transpose: the same places. */
  const float *from = (const float *)buffers[1] + ((const int32_t *)buffers[0])[r] * s->n;
  float *out = (float *)buffers[2] + r * s->ld_out;
  for (int64_t i = 0; i < s->n; i++) out[i] = s->accumulate ? out[i] + from[i] : from[i];
}

static void run_store(const hmoec_store_spec *s, const hmoe_kernel_call *call, int64_t r) {
  int64_t length = call->dims[0], position = call->dims[1] + r % length, capacity = call->dims[2], row = r / length,
          d = s->head_size;
  for (int64_t head = 0; head < s->heads; head++) {
    int64_t at = ((row * s->heads + head) * capacity + position) * d;
    memcpy((float *)call->buffers[2] + at, (const float *)call->buffers[0] + r * s->ld_k + head * d, (size_t)d * sizeof(float));
    memcpy((float *)call->buffers[3] + at, (const float *)call->buffers[1] + r * s->ld_v + head * d, (size_t)d * sizeof(float));
  }
}

static double score_of(const hmoec_attention_spec *s, const hmoe_kernel_call *call, const float *q, const float *key, int64_t head,
                       int64_t kv_row, int64_t t, int64_t j) {
  double score = 0;
  for (int64_t i = 0; i < s->head_size; i++) score += s->scale * (double)q[i] * (double)key[i];
  int64_t difference = j - t;
  if (difference > s->max_distance) difference = s->max_distance;
  if (difference < -s->max_distance) difference = -s->max_distance;
  if (s->has_bias) score += (double)((const float *)call->buffers[3])[head * s->bias_ld + s->bias_zero + difference];
  bool masked = s->has_mask && ((const int32_t *)call->buffers[4])[kv_row * call->dims[6] + j] == 0;
  return masked ? (double)-FLT_MAX : score;
}

static void attend(const hmoec_attention_spec *s, const hmoe_kernel_call *call, int64_t row, int64_t head, int64_t position) {
  int64_t batch = call->dims[0], length = call->dims[1], t = call->dims[2] + position, capacity = call->dims[4], d = s->head_size;
  int64_t kv_row = row / (batch / call->dims[5]), end = s->causal ? smaller(t + 1, call->dims[3]) : call->dims[3];
  const float *q = (const float *)call->buffers[0] + (row * length + position) * s->ld_q + head * d;
  const float *keys = (const float *)call->buffers[1] + (kv_row * s->heads + head) * capacity * d;
  const float *values = (const float *)call->buffers[2] + (kv_row * s->heads + head) * capacity * d;
  float *out = (float *)call->buffers[5] + (row * length + position) * s->ld_out + head * d;
  double most = -INFINITY, total = 0;
  for (int64_t j = 0; j < end; j++) most = fmax(most, score_of(s, call, q, keys + j * d, head, kv_row, t, j));
  for (int64_t j = 0; j < end; j++) total += exp(score_of(s, call, q, keys + j * d, head, kv_row, t, j) - most);
  for (int64_t i = 0; i < d; i++) {
    double sum = 0;
    for (int64_t j = 0; j < end; j++)
      sum += exp(score_of(s, call, q, keys + j * d, head, kv_row, t, j) - most) / total * (double)values[j * d + i];
    out[i] = (float)sum;
  }
}

static void run_attention(const hmoec_attention_spec *s, const hmoe_kernel_call *call, int64_t task) {
  int64_t length = call->dims[1], blocks = (length + s->query_block - 1) / s->query_block;
  int64_t first = task % blocks * s->query_block, head = task / blocks % s->heads, row = task / blocks / s->heads;
  for (int64_t t = first; t < smaller(first + s->query_block, length); t++) attend(s, call, row, head, t);
  float *out = (float *)call->buffers[5];
  for (int64_t t = first; head == 0 && t < smaller(first + s->query_block, length); t++)
    for (int64_t i = s->heads * s->head_size; i < whole(s->heads * s->head_size); i++) out[(row * length + t) * s->ld_out + i] = 0;
}

static int64_t row_block_of(const hmoec_kernel *kernel) {
  switch (kernel->family) {
  case HMOEC_KERNEL_ROUTE: return kernel->spec.route.row_block;
  case HMOEC_KERNEL_COMBINE: return kernel->spec.combine.row_block;
  case HMOEC_KERNEL_SELECT: return kernel->spec.select.row_block;
  case HMOEC_KERNEL_CONTRACT: return kernel->spec.contract.row_block;
  case HMOEC_KERNEL_ROWS: return kernel->spec.rows.row_block;
  case HMOEC_KERNEL_NORM: return kernel->spec.norm.row_block;
  case HMOEC_KERNEL_EMBED: return kernel->spec.embed.row_block;
  case HMOEC_KERNEL_STORE: return kernel->spec.store.row_block;
  default: return 0;
  }
}

void plain_run(const hmoec_kernel *kernel, const hmoe_kernel_call *call, int64_t task) {
  if (kernel->family == HMOEC_KERNEL_MATMUL) run_matmul(&kernel->spec.matmul, call, task);
  if (kernel->family == HMOEC_KERNEL_FFN) run_ffn(&kernel->spec.ffn, call, task);
  if (kernel->family == HMOEC_KERNEL_ATTENTION) run_attention(&kernel->spec.attention, call, task);
  int64_t block = row_block_of(kernel);
  for (int64_t r = task * block; r < smaller((task + 1) * block, call->rows); r++) {
    switch (kernel->family) {
    case HMOEC_KERNEL_ROUTE: run_route(&kernel->spec.route, call->buffers, r); break;
    case HMOEC_KERNEL_COMBINE: run_combine(&kernel->spec.combine, call->buffers, r); break;
    case HMOEC_KERNEL_SELECT: run_select(&kernel->spec.select, call->buffers, r); break;
    case HMOEC_KERNEL_CONTRACT: run_contract(&kernel->spec.contract, call->buffers, r); break;
    case HMOEC_KERNEL_ROWS: run_rows(&kernel->spec.rows, call->buffers, r); break;
    case HMOEC_KERNEL_NORM: run_norm(&kernel->spec.norm, call->buffers, r); break;
    case HMOEC_KERNEL_EMBED: run_embed(&kernel->spec.embed, call->buffers, r); break;
    case HMOEC_KERNEL_STORE: run_store(&kernel->spec.store, call, r); break;
    default: break;
    }
  }
}
