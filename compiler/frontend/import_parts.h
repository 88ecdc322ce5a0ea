/* What the parts of the importer share:
 *   import.c          the directory, and the text around what an architecture says
 *   import_config.c   values of config.json
 *   import_tensors.c  tensors of the checkpoint, and sizes that follow from them
 *   import_generation.c  what generation_config.json or config.json says about generation
 *   import_hyper.c    routers, HyperExperts: what both architectures have
 *   import_switch.c, import_gpt2.c   one architecture each
 * A part that fails has reported why. */
#ifndef HMOEC_FRONTEND_IMPORT_PARTS_H
#define HMOEC_FRONTEND_IMPORT_PARTS_H

#include <stdint.h>
#include <stdio.h>

#include "frontend/import.h"
#include "support/json.h"
#include "support/tensor_files.h"

enum { HMOEC_IMPORT_MOST_LAYERS = 1000 };

typedef struct hmoec_import_state {
  hmoec_arena *arena;
  hmoec_diagnostics *diagnostics;
  hmoec_json config;
  hmoec_json generation; /* generation_config.json; root NULL: there is none */
  bool encodes; /* an encoder-decoder */
  hmoec_tensor_files *tensors;
  FILE *out; /* the spec */
} hmoec_import_state;

/* ---- import_config.c: a key that is absent or null has its default ---- */

bool hmoec_config_has(const hmoec_import_state *import, const char *key);
bool hmoec_config_integer(const hmoec_import_state *import, const char *key, int64_t minimum, int64_t missing, int64_t *out_value);
bool hmoec_config_flag(const hmoec_import_state *import, const char *key, bool missing, bool *out_value);
bool hmoec_config_word(const hmoec_import_state *import, const char *key, const char *missing, const char **out_value);
/* A number above 0 and at most 1. */
bool hmoec_config_number(const hmoec_import_state *import, const char *key, double missing, double *out_value);
/* A key that changes what the model computes in a way that specs do not have: false unless it is absent or false. */
bool hmoec_config_refuse(const hmoec_import_state *import, const char *key);
/* The library's name of an activation as ours. */
bool hmoec_config_activation(const hmoec_import_state *import, const char *key, const char *name, const char **out_function);
/* Expected KEY to be `expected`, found ...: reported where the key stands; false. */
struct cJSON;
bool hmoec_config_unexpected(const hmoec_import_state *import, const char *key, const char *expected, const struct cJSON *found);
/* KEY = VALUE, but ...: a contradiction, reported where the key stands. */
bool hmoec_config_contradiction(const hmoec_import_state *import, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- import_tensors.c ---- */

/* A size that the first tensor to have it decides. */
typedef struct hmoec_import_dim {
  const char *name;
  int64_t size;     /* 0: not known yet */
  const char *from; /* the tensor it follows from, or a key of the config */
} hmoec_import_dim;

const char *hmoec_import_key(const hmoec_import_state *import, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool hmoec_import_has(const hmoec_import_state *import, const char *key);
/* Is there a tensor whose name begins so, "module." and the like aside? */
bool hmoec_import_has_prefix(const hmoec_import_state *import, const char *prefix);
/* Is there a tensor with this in its name? */
bool hmoec_import_mentions(const hmoec_import_state *import, const char *text);
/* The tensor of a key (support/tensor_files.h) is there, has elements that can be read, and these sizes; sizes that are not known yet are bound. */
bool hmoec_import_tensor(const hmoec_import_state *import, const char *key, hmoec_import_dim *const *dims, size_t rank);
#define HMOEC_TENSOR(import, key, ...)                                                                                             \
  hmoec_import_tensor(import, key, (hmoec_import_dim *[]){__VA_ARGS__},                                                            \
                      sizeof((hmoec_import_dim *[]){__VA_ARGS__}) / sizeof(void *))
/* The table of embeddings that is the head too, under the names of a key. */
bool hmoec_import_tied(const hmoec_import_state *import, const char *key, hmoec_import_dim *vocab, hmoec_import_dim *d_model);
/* Two sizes multiplied, as a size of its own. */
hmoec_import_dim hmoec_import_product(const hmoec_import_state *import, const hmoec_import_dim *a, const hmoec_import_dim *b);
/* A size that the config may state too: it must be the same; not known yet, it is the config's, or `missing`. */
bool hmoec_import_agree(const hmoec_import_state *import, const char *key, int64_t missing, hmoec_import_dim *dim);
/* How many layers: one more than the largest number in tensors named PREFIX{number}.; and the config's key must agree. */
bool hmoec_import_layers(const hmoec_import_state *import, const char *prefix, const char *key, int64_t *out_count);
/* Tensors that no check asked for and that are not known to be beside the point: one warning. */
void hmoec_import_note_unused(const hmoec_import_state *import);

/* ---- import_hyper.c ---- */

/* Of the mixtures of a model. */
typedef struct hmoec_import_mixture {
  hmoec_import_dim experts, bottleneck, hyper_hidden, expert_embedding, selection_hidden, selection_embedding, layer_embedding,
      router_hidden;
  bool hyper; /* HyperExperts */
  bool generated_bias;
  bool hypernetwork; /* the router is a HyperRouter's */
} hmoec_import_mixture;

hmoec_import_mixture hmoec_import_mixture_new(void);
/* The sizes that no tensor has: the config's, or the library's defaults. */
bool hmoec_import_mixture_agree(const hmoec_import_state *import, const char *experts_key, hmoec_import_mixture *mixture);
/* The selection's embeddings of one layer; scope: of the mixture, with a dot at its end. */
bool hmoec_import_selection(const hmoec_import_state *import, const char *scope, hmoec_import_mixture *mixture);
/* The generator of a stack of `layers` layers; scope: "encoder.param_gen.". */
bool hmoec_import_generator(const hmoec_import_state *import, const char *scope, int64_t layers, hmoec_import_dim *d_model,
                            hmoec_import_mixture *mixture);
bool hmoec_import_hyper_router(const hmoec_import_state *import, const char *scope, hmoec_import_dim *d_model,
                               hmoec_import_mixture *mixture);
/* No expert beyond the last. */
bool hmoec_import_experts_end(const hmoec_import_state *import, const char *scope, const hmoec_import_mixture *mixture);
void hmoec_import_write_mixture(const hmoec_import_state *import, const hmoec_import_mixture *mixture);
/* block NAME(l) { ... }: which layers are mixtures. */
void hmoec_import_write_sparse(const hmoec_import_state *import, const char *name, const bool *sparse, int64_t count);
/* option epsilon = ..., from the config. */
bool hmoec_import_write_epsilon(const hmoec_import_state *import, double missing);
/* option dropped = pass, or zero from version 5 of the library on. */
bool hmoec_import_write_dropped(const hmoec_import_state *import);

/* ---- import_generation.c ---- */

/* What the library's class says where config.json does not have the key; -1: none. */
typedef struct hmoec_import_tokens {
  int64_t bos, eos, pad;
} hmoec_import_tokens;
/* generation { ... }, from generation_config.json or else config.json. */
bool hmoec_import_write_generation(const hmoec_import_state *import, const hmoec_import_tokens *absent);

/* ---- architectures: dims, options and blocks to `out` ---- */
bool hmoec_import_switch(hmoec_import_state *import);
bool hmoec_import_gpt2(hmoec_import_state *import);

#endif
