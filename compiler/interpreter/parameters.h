/* Where the interpreter's parameters come from: a checkpoint, or seeded random numbers. */
#ifndef HMOEC_INTERPRETER_PARAMETERS_H
#define HMOEC_INTERPRETER_PARAMETERS_H

#include "interpreter/interpreter.h"

/* A .safetensors file, or a directory or index of some, mapped; f64, f32, f16 and bf16 elements become f32 as in the runtime. Keys are
 * those of support/tensor_files.h. */
typedef struct hmoec_tensor_files hmoec_checkpoint;
bool hmoec_checkpoint_open(const char *path, hmoec_diagnostics *diagnostics, hmoec_checkpoint **out_checkpoint);
void hmoec_checkpoint_close(hmoec_checkpoint *checkpoint); /* NULL is fine */
hmoec_parameter_source hmoec_checkpoint_source(hmoec_checkpoint *checkpoint); /* valid until close */

/* Random parameters of a verified module: a tensor depends on its key, the seed and its role alone. The scale follows the role, so that
 * activations stay about 1: matrices have variance 1 / fan-in, biases and position embeddings are small, embeddings have variance 1, weights
 * of norms are about 1, and generators are scaled so that a HyperExpert's output is as large as an expert's. The role is that of the
 * first use: a head that is tied to an embedding is one. Values are exact in f32 and the same on every machine. */
typedef struct hmoec_random_parameters hmoec_random_parameters;
hmoec_random_parameters *hmoec_random_parameters_create(MlirModule module,
                                                        uint64_t seed); /* NULL when memory is short; keeps no hold on module */
void hmoec_random_parameters_destroy(hmoec_random_parameters *parameters); /* NULL is fine */
hmoec_parameter_source hmoec_random_parameters_source(hmoec_random_parameters *parameters); /* valid until destroy */

/* count values of variance scale^2 that depend on key and seed only: test inputs. */
void hmoec_random_fill(uint64_t seed, const char *key, double scale, size_t count, float *out);
/* 64 random bits that depend on key, seed and index only. */
uint64_t hmoec_random_bits(uint64_t seed, const char *key, uint64_t index);

/* Writes every parameter of a module, as hmoec_random_parameters gives them, to a .safetensors file (f32, keys in ascending order). */
bool hmoec_random_weights_write(MlirModule module, uint64_t seed, const char *path, hmoec_diagnostics *diagnostics);

#endif
