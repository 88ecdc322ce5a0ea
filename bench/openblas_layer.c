#include "openblas_layer.h"

#include <cblas.h>
#include <cjson/cJSON.h>
#include <fcntl.h>
#include <math.h>
#include <pthreadpool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct openblas_layer {
  const char *file; /* mapped: the weights are used where they lie, but see `weights` */
  size_t file_bytes;
  cJSON *header;
  size_t d_model, d_ff, experts, max_tokens, threads;
  float *weights; /* 64-byte aligned copy of all matrices */
  const float *router, **wi, **wo;
  float *logits, *gate, *gathered, *hidden, *result;
  size_t *expert, *order, *begin; /* per token; tokens by expert; where each expert's tokens begin in it, experts + 1 */
  pthreadpool_t pool;
  openblas_threading threading;
  /* Of the current run. */
  const float *x;
  float *y;
  size_t first_row;
};

/* ---- reading ---- */

static const float *find_tensor(const openblas_layer *layer, const char *name, size_t *rows, size_t *columns) {
  const cJSON *tensor = cJSON_GetObjectItemCaseSensitive(layer->header, name);
  const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(tensor, "dtype");
  const cJSON *shape = cJSON_GetObjectItemCaseSensitive(tensor, "shape");
  const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(tensor, "data_offsets");
  if (!cJSON_IsString(dtype) || strcmp(dtype->valuestring, "F32") || cJSON_GetArraySize(shape) != 2 ||
      cJSON_GetArraySize(offsets) != 2)
    return NULL;
  *rows = (size_t)cJSON_GetArrayItem(shape, 0)->valuedouble;
  *columns = (size_t)cJSON_GetArrayItem(shape, 1)->valuedouble;
  uint64_t header_bytes;
  memcpy(&header_bytes, layer->file, sizeof header_bytes);
  size_t begin = 8 + (size_t)header_bytes + (size_t)cJSON_GetArrayItem(offsets, 0)->valuedouble;
  if (begin + *rows * *columns * sizeof(float) > layer->file_bytes) return NULL;
  return (const float *)(const void *)(layer->file + begin);
}

static int read_weights(openblas_layer *layer, const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat status;
  if (fd < 0 || fstat(fd, &status) || status.st_size < 8) {
    fprintf(stderr, "%s: cannot be read\n", path);
    if (fd >= 0) close(fd);
    return 0;
  }
  layer->file_bytes = (size_t)status.st_size;
  void *map = mmap(NULL, layer->file_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
  close(fd);
  if (map == MAP_FAILED) return 0;
  layer->file = map;
  uint64_t header_bytes;
  memcpy(&header_bytes, layer->file, sizeof header_bytes);
  layer->header = header_bytes < layer->file_bytes - 8 ? cJSON_ParseWithLength(layer->file + 8, (size_t)header_bytes) : NULL;

  size_t rows, columns;
  const float *router = find_tensor(layer, "router.classifier.weight", &layer->experts, &layer->d_model);
  if (!router || !find_tensor(layer, "experts.expert_0.wi.weight", &layer->d_ff, &columns)) {
    fprintf(stderr, "%s: not the f32 weights of a moe layer\n", path);
    return 0;
  }
  size_t router_floats = layer->experts * layer->d_model, matrix_floats = layer->d_ff * layer->d_model;
  layer->weights = aligned_alloc(64, ((router_floats + 2 * layer->experts * matrix_floats) * sizeof(float) + 63) / 64 * 64);
  layer->wi = calloc(layer->experts, sizeof *layer->wi);
  layer->wo = calloc(layer->experts, sizeof *layer->wo);
  if (!layer->weights || !layer->wi || !layer->wo) return 0;
  float *into = layer->weights;
  for (size_t e = 0; e < layer->experts; e++)
    for (int which = 0; which < 2; which++) {
      char name[64];
      snprintf(name, sizeof name, "experts.expert_%zu.%s.weight", e, which ? "wo" : "wi");
      const float *from = find_tensor(layer, name, &rows, &columns);
      if (!from || rows * columns != matrix_floats) {
        fprintf(stderr, "%s: lacks %s\n", path, name);
        return 0;
      }
      memcpy(into, from, matrix_floats * sizeof(float));
      *(which ? &layer->wo[e] : &layer->wi[e]) = into;
      into += matrix_floats;
    }
  memcpy(into, router, router_floats * sizeof(float));
  layer->router = into;
  munmap(map, layer->file_bytes);
  layer->file = NULL;
  return 1;
}

openblas_layer *openblas_layer_open(const char *path, size_t max_tokens, size_t threads) {
  openblas_layer *layer = calloc(1, sizeof *layer);
  if (!layer) return NULL;
  layer->max_tokens = max_tokens;
  layer->threads = threads;
  if (!read_weights(layer, path)) goto failed;
  size_t rows_bytes = max_tokens * layer->d_model * sizeof(float);
  layer->logits = malloc(max_tokens * layer->experts * sizeof(float));
  layer->gate = malloc(max_tokens * sizeof(float));
  layer->gathered = aligned_alloc(64, (rows_bytes + 63) / 64 * 64);
  layer->result = aligned_alloc(64, (rows_bytes + 63) / 64 * 64);
  layer->hidden = aligned_alloc(64, (max_tokens * layer->d_ff * sizeof(float) + 63) / 64 * 64);
  layer->expert = malloc(max_tokens * sizeof *layer->expert);
  layer->order = malloc(max_tokens * sizeof *layer->order);
  layer->begin = malloc((layer->experts + 1) * sizeof *layer->begin);
  layer->pool = pthreadpool_create(threads);
  if (!layer->logits || !layer->gate || !layer->gathered || !layer->result || !layer->hidden || !layer->expert || !layer->order ||
      !layer->begin || !layer->pool)
    goto failed;
  openblas_layer_set_threading(layer, OPENBLAS_INNER);
  return layer;

failed:
  openblas_layer_close(layer);
  return NULL;
}

void openblas_layer_close(openblas_layer *layer) {
  if (!layer) return;
  if (layer->pool) pthreadpool_destroy(layer->pool);
  free(layer->begin);
  free(layer->order);
  free(layer->expert);
  free(layer->hidden);
  free(layer->result);
  free(layer->gathered);
  free(layer->gate);
  free(layer->logits);
  free(layer->wo);
  free(layer->wi);
  free(layer->weights);
  cJSON_Delete(layer->header);
  if (layer->file) munmap((void *)(uintptr_t)layer->file, layer->file_bytes);
  free(layer);
}

void openblas_layer_set_threading(openblas_layer *layer, openblas_threading threading) {
  layer->threading = threading;
  openblas_set_num_threads(threading == OPENBLAS_INNER ? (int)layer->threads : 1);
}

size_t openblas_layer_d_model(const openblas_layer *layer) { return layer->d_model; }
size_t openblas_layer_d_ff(const openblas_layer *layer) { return layer->d_ff; }
size_t openblas_layer_experts(const openblas_layer *layer) { return layer->experts; }

size_t openblas_layer_experts_used(const openblas_layer *layer) {
  size_t used = 0;
  for (size_t e = 0; e < layer->experts; e++) used += layer->begin[e + 1] > layer->begin[e];
  return used;
}

/* ---- running ---- */

/* out = in * weights^T, in [rows, depth], weights [columns, depth]. */
static void multiply(const float *in, const float *weights, float *out, size_t rows, size_t columns, size_t depth) {
  if (rows == 1) { /* OpenBLAS's sgemm does not look for this case; its sgemv reads the weights once */
    cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)columns, (int)depth, 1, weights, (int)depth, in, 1, 0, out, 1);
    return;
  }
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)columns, (int)depth, 1, in, (int)depth, weights, (int)depth,
              0, out, (int)columns);
}

static void route(openblas_layer *layer, size_t tokens) {
  multiply(layer->x, layer->router, layer->logits, tokens, layer->experts, layer->d_model);
  memset(layer->begin, 0, (layer->experts + 1) * sizeof *layer->begin);
  for (size_t t = 0; t < tokens; t++) {
    const float *logits = layer->logits + t * layer->experts;
    size_t best = 0;
    for (size_t e = 1; e < layer->experts; e++)
      if (logits[e] > logits[best]) best = e;
    float sum = 0;
    for (size_t e = 0; e < layer->experts; e++) sum += expf(logits[e] - logits[best]);
    layer->expert[t] = best;
    layer->gate[t] = 1 / sum;
    layer->begin[best + 1]++;
  }
  for (size_t e = 0; e < layer->experts; e++) layer->begin[e + 1] += layer->begin[e];
  for (size_t t = 0; t < tokens; t++) layer->order[layer->begin[layer->expert[t]]++] = t;
  memmove(layer->begin + 1, layer->begin, layer->experts * sizeof *layer->begin);
  layer->begin[0] = 0;
}

static void gather_row(void *context, size_t row) {
  openblas_layer *layer = context;
  row += layer->first_row;
  memcpy(layer->gathered + row * layer->d_model, layer->x + layer->order[row] * layer->d_model, layer->d_model * sizeof(float));
}

static void relu_row(void *context, size_t row) {
  openblas_layer *layer = context;
  float *hidden = layer->hidden + (layer->first_row + row) * layer->d_ff;
  for (size_t i = 0; i < layer->d_ff; i++) hidden[i] = hidden[i] > 0 ? hidden[i] : 0;
}

static void scatter_row(void *context, size_t row) {
  openblas_layer *layer = context;
  row += layer->first_row;
  size_t token = layer->order[row];
  const float *from = layer->result + row * layer->d_model;
  float *to = layer->y + token * layer->d_model, gate = layer->gate[token];
  for (size_t i = 0; i < layer->d_model; i++) to[i] = gate * from[i];
}

/* task(row) for the rows of one expert. `layer` is the caller's own copy when experts run side by side. */
static void for_rows(openblas_layer *layer, size_t rows, pthreadpool_task_1d_t task) {
  if (layer->threading == OPENBLAS_INNER && rows >= 8) {
    pthreadpool_parallelize_1d(layer->pool, task, layer, rows, PTHREADPOOL_FLAG_YIELD_WORKERS);
    return;
  }
  for (size_t row = 0; row < rows; row++) task(layer, row);
}

static void run_expert(void *context, size_t e) {
  openblas_layer layer = *(const openblas_layer *)context;
  size_t begin = layer.begin[e], rows = layer.begin[e + 1] - begin;
  if (!rows) return;
  layer.first_row = begin;
  float *hidden = layer.hidden + begin * layer.d_ff;
  for_rows(&layer, rows, gather_row);
  multiply(layer.gathered + begin * layer.d_model, layer.wi[e], hidden, rows, layer.d_ff, layer.d_model);
  for_rows(&layer, rows, relu_row);
  multiply(hidden, layer.wo[e], layer.result + begin * layer.d_model, rows, layer.d_model, layer.d_ff);
  for_rows(&layer, rows, scatter_row);
}

void openblas_layer_run(openblas_layer *layer, size_t tokens, const float *x, float *y) {
  layer->x = x;
  layer->y = y;
  route(layer, tokens);
  if (layer->threading == OPENBLAS_OUTER) {
    pthreadpool_parallelize_1d(layer->pool, run_expert, layer, layer->experts, PTHREADPOOL_FLAG_YIELD_WORKERS);
    return;
  }
  for (size_t e = 0; e < layer->experts; e++) run_expert(layer, e);
}
