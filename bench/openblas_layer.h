/* The peer: the same mixture-of-experts layer written by hand on OpenBLAS. Top-1, softmax gate, relu, f32:
 *   y[t] = p[e] * relu(x[t] wi[e]^T) wo[e]^T,  e = argmax(x[t] router^T), p = softmax
 * Tokens are sorted by expert, gathered, multiplied by one cblas_sgemm an expert and matrix, and scattered. */
#ifndef BENCH_OPENBLAS_LAYER_H
#define BENCH_OPENBLAS_LAYER_H

#include <stddef.h>

/* How threads are used. INNER: experts one after the other, OpenBLAS's threads inside each product. OUTER: each thread takes whole
 * experts, products single-threaded. Which is faster depends on the number of tokens. */
typedef enum openblas_threading { OPENBLAS_INNER, OPENBLAS_OUTER, OPENBLAS_THREADING_COUNT } openblas_threading;

typedef struct openblas_layer openblas_layer;

/* Reads router.classifier.weight and experts.expert_{i}.{wi,wo}.weight from a safetensors file of f32. NULL with a message on stderr. */
openblas_layer *openblas_layer_open(const char *path, size_t max_tokens, size_t threads);
void openblas_layer_close(openblas_layer *layer);
/* To be called before runs with another threading than the last one. */
void openblas_layer_set_threading(openblas_layer *layer, openblas_threading threading);
void openblas_layer_run(openblas_layer *layer, size_t tokens, const float *x, float *y);

size_t openblas_layer_d_model(const openblas_layer *layer);
size_t openblas_layer_d_ff(const openblas_layer *layer);
size_t openblas_layer_experts(const openblas_layer *layer);
/* Experts that the last run used. */
size_t openblas_layer_experts_used(const openblas_layer *layer);

#endif
