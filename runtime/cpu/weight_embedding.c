/* WEIGHT_EMBEDDING: the embedding of an expert from its own weights (Table 5 of the HyperMoE paper), for every expert.
 *
 *   [2, F, h]: wi, wo transposed -> depthwise 5x5 /5 -> 1x1 to C1 -> mean 16x6 -> depthwise 3x3 /3 -> 1x1 to C2 -> mean 8x8 -> [C2]
 *
 * No padding, floor sizes, no bias, no activation: every stage is linear, so means move before 1x1 convolutions. With one output
 * point, only the first 24x24 means are ever looked at, and each sees an 80x30 window of the weights:
 *
 *   mean[ch][i][j] = 1/96 sum_{u,v<5} d1[ch][u][v] sum_{a<16,b<6} in[ch][80 i + 5 a + u][30 j + 5 b + v]
 *
 * Cost: one pass over the experts' weights. Accumulated in double. */
#include "cpu/cpu.h"

#include <string.h>

enum { KERNEL1 = 5, POOL_ROWS = 16, POOL_COLS = 6, KERNEL2 = 3, POOL2 = 8, GRID = KERNEL2 * POOL2 };
enum { WINDOW_ROWS = KERNEL1 * POOL_ROWS, WINDOW_COLS = KERNEL1 * POOL_COLS };

typedef struct weights_of {
  const hmoe_plan_param *param;
  const hmoe_tensor *const *tensors;
} weights_of;

typedef struct embedding_job {
  weights_of wi, wo, depthwise1, pointwise1, depthwise2, pointwise2;
  uint64_t d_ff, d_model, channels1, channels2, row_stride;
  float *out;
} embedding_job;

static float element(const hmoe_tensor *tensor, uint64_t index) {
  float value;
  tensor->dtype->read(tensor->data + index * (tensor->dtype->bits / 8), 1, 1, &value, 1);
  return value;
}

/* Sums of one 80x30 window by phase (u, v). Walks along whichever stride is 1. */
static void sum_window(const hmoe_tensor *tensor, uint64_t start, uint64_t row_stride, uint64_t col_stride,
                       double sums[KERNEL1][KERNEL1]) {
  memset(sums, 0, KERNEL1 * KERNEL1 * sizeof(double));
  uint64_t element_bytes = tensor->dtype->bits / 8;
  bool by_rows = col_stride == 1;
  uint64_t lines = by_rows ? WINDOW_ROWS : WINDOW_COLS, length = by_rows ? WINDOW_COLS : WINDOW_ROWS;
  uint64_t line_stride = by_rows ? row_stride : col_stride;
  for (uint64_t line = 0; line < lines; line++) {
    float values[WINDOW_ROWS];
    tensor->dtype->read(tensor->data + (start + line * line_stride) * element_bytes, 1, length, values, 1);
    for (uint64_t i = 0; i < length; i++) {
      if (by_rows) sums[line % KERNEL1][i % KERNEL1] += (double)values[i];
      else sums[i % KERNEL1][line % KERNEL1] += (double)values[i];
    }
  }
}

static void pool_channel(const embedding_job *job, int channel, const hmoe_tensor *tensor, uint64_t base, double mean[GRID][GRID]) {
  const hmoe_tensor *depthwise = job->depthwise1.tensors[0];
  double kernel[KERNEL1][KERNEL1];
  for (uint64_t u = 0; u < KERNEL1; u++)
    for (uint64_t v = 0; v < KERNEL1; v++)
      kernel[u][v] = (double)element(depthwise, ((uint64_t)channel * KERNEL1 + u) * KERNEL1 + v) / (POOL_ROWS * POOL_COLS);
  /* wi is [F, h]; wo is [h, F], and its transpose is the channel. */
  uint64_t row_stride = channel == 0 ? job->d_model : 1, col_stride = channel == 0 ? 1 : job->d_ff;
  for (uint64_t i = 0; i < GRID; i++) {
    for (uint64_t j = 0; j < GRID; j++) {
      double sums[KERNEL1][KERNEL1], value = 0;
      sum_window(tensor, base + i * WINDOW_ROWS * row_stride + j * WINDOW_COLS * col_stride, row_stride, col_stride, sums);
      for (int u = 0; u < KERNEL1; u++)
        for (int v = 0; v < KERNEL1; v++) value += kernel[u][v] * sums[u][v];
      mean[i][j] = value;
    }
  }
}

static const hmoe_tensor *expert_of(const weights_of *weights, uint64_t expert, uint64_t *out_base, uint64_t elements) {
  bool stacked = weights->param->count > 1;
  *out_base = stacked ? 0 : expert * elements;
  return weights->tensors[stacked ? expert : 0];
}

static void embed_expert(void *context, uint64_t expert, void *scratch) {
  (void)scratch;
  const embedding_job *job = context;
  double mean[2][GRID][GRID];
  uint64_t base, elements = job->d_ff * job->d_model;
  const hmoe_tensor *tensor = expert_of(&job->wi, expert, &base, elements);
  pool_channel(job, 0, tensor, base, mean[0]);
  tensor = expert_of(&job->wo, expert, &base, elements);
  pool_channel(job, 1, tensor, base, mean[1]);

  /* Sums of the means by phase of the second depthwise kernel: all its 8x8 outputs are averaged. */
  double phase[2][KERNEL2][KERNEL2] = {{{0}}};
  for (int channel = 0; channel < 2; channel++)
    for (int i = 0; i < GRID; i++)
      for (int j = 0; j < GRID; j++) phase[channel][i % KERNEL2][j % KERNEL2] += mean[channel][i][j] / (POOL2 * POOL2);

  float *out = job->out + expert * job->row_stride;
  for (uint64_t o = 0; o < job->channels2; o++) {
    double sum = 0;
    for (uint64_t c = 0; c < job->channels1; c++) {
      double value = 0;
      for (uint64_t channel = 0; channel < 2; channel++) {
        double inner = 0;
        for (uint64_t u = 0; u < KERNEL2; u++)
          for (uint64_t v = 0; v < KERNEL2; v++)
            inner += (double)element(job->depthwise2.tensors[0], (c * KERNEL2 + u) * KERNEL2 + v) * phase[channel][u][v];
        value += (double)element(job->pointwise1.tensors[0], c * 2 + channel) * inner;
      }
      sum += (double)element(job->pointwise2.tensors[0], o * job->channels1 + c) * value;
    }
    out[o] = (float)sum;
  }
}

static bool has_shape(const weights_of *weights, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
  const hmoe_plan_param *param = weights->param;
  return param->count == 1 && param->rank == 4 && param->shape[0] == a && param->shape[1] == b && param->shape[2] == c &&
         param->shape[3] == d;
}

/* How many experts: tensors of rank 2, or the leading dimension of one tensor of rank 3. */
static uint64_t expert_count(const hmoe_plan_param *param) {
  return param->rank == 3 ? (param->count == 1 ? param->shape[0] : 0) : param->count;
}

hmoe_status hmoe_cpu_step_weight_embedding(hmoe_run *run, const hmoe_plan_step *step) {
  const hmoe_step_weight_embedding *fields = hmoe_run_fields(run, step);
  embedding_job job = {.row_stride = fields->row_floats};
  uint32_t params[HMOE_STEP_PARAMS_MAX];
  weights_of *const all[] = {&job.wi, &job.wo, &job.depthwise1, &job.pointwise1, &job.depthwise2, &job.pointwise2};
  for (uint32_t i = 0; i < hmoe_step_params(run->model->plan, step, params); i++)
    *all[i] = (weights_of){&run->params->list[params[i]], run->params->tensors + run->params->first[params[i]]};

  const hmoe_plan_param *wi = job.wi.param, *wo = job.wo.param;
  if (wi->rank < 2 || wi->rank > 3 || wo->rank != wi->rank || expert_count(wi) == 0 || expert_count(wi) != expert_count(wo))
    return hmoe_step_fail(run, step, "wi and wo: expected one [d_ff, d_model] and one [d_model, d_ff] an expert");
  job.d_ff = wi->shape[wi->rank - 2];
  job.d_model = wi->shape[wi->rank - 1];
  if (wo->shape[wo->rank - 2] != job.d_model || wo->shape[wo->rank - 1] != job.d_ff)
    return hmoe_step_fail(run, step, "wo: expected the shape of wi transposed");
  uint64_t rows = job.d_ff / KERNEL1 / POOL_ROWS / KERNEL2 / POOL2, cols = job.d_model / KERNEL1 / POOL_COLS / KERNEL2 / POOL2;
  if (rows != 1 || cols != 1)
    return hmoe_step_fail(run, step, "weights of %llu x %llu give %llu x %llu embeddings, 1 x 1 is needed",
                          (unsigned long long)job.d_ff, (unsigned long long)job.d_model, (unsigned long long)rows,
                          (unsigned long long)cols);
  job.channels1 = job.pointwise1.param->shape[0];
  job.channels2 = job.pointwise2.param->shape[0];
  if (!has_shape(&job.depthwise1, 2, 1, KERNEL1, KERNEL1) || !has_shape(&job.pointwise1, job.channels1, 2, 1, 1) ||
      !has_shape(&job.depthwise2, job.channels1, 1, KERNEL2, KERNEL2) ||
      !has_shape(&job.pointwise2, job.channels2, job.channels1, 1, 1))
    return hmoe_step_fail(run, step, "expected kernels [2, 1, 5, 5], [C1, 2, 1, 1], [C1, 1, 3, 3] and [C2, C1, 1, 1]");
  if (job.row_stride < job.channels2)
    return hmoe_step_fail(run, step, "rows of %llu floats overlap", (unsigned long long)job.row_stride);
  uint64_t experts = expert_count(wi);
  uint64_t needed = hmoe_mul(hmoe_add(hmoe_mul(experts - 1, job.row_stride), job.channels2), sizeof(float));
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_WEIGHT_EMBEDDING_DESTINATION, HMOE_WRITE, needed, &job.out));
  return hmoe_cpu_parallel(run, experts, embed_expert, &job);
}
