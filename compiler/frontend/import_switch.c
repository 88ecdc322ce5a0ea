/* SwitchTransformersForConditionalGeneration, with or without HyperMoE: keys like T5's. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/import_parts.h"

typedef struct side_row {
  const char *name, *layers_key, *step_key;
  int feed_forward; /* which sublayer it is */
} side_row;

static const side_row sides[2] = {{"encoder", "num_layers", "encoder_sparse_step", 1},
                                  {"decoder", "num_decoder_layers", "decoder_sparse_step", 2}};

typedef struct switch_model {
  hmoec_import_dim vocab, d_model, d_ff, heads, attention, buckets;
  int64_t layers[2], d_kv, max_distance, capacity;
  bool *sparse[2];
  bool tied, shared, gated, router_bias;
  const char *activation;
  hmoec_import_mixture mixture;
} switch_model;

static bool refusals(const hmoec_import_state *import) {
  bool encoder_decoder;
  const char *dtype;
  if (!hmoec_config_refuse(import, "use_fast_mode") || !hmoec_config_refuse(import, "tie_encoder_decoder") ||
      !hmoec_config_refuse(import, "add_router_probs") ||
      !hmoec_config_flag(import, "is_encoder_decoder", true, &encoder_decoder) ||
      !hmoec_config_word(import, "router_dtype", "float32", &dtype))
    return false;
  if (strcmp(dtype, "float32") != 0)
    hmoec_warning(import->diagnostics, hmoec_json_key_location(&import->config, "router_dtype"),
                  "router_dtype = %.60s: routers are computed in float32", dtype);
  return encoder_decoder || hmoec_error(import->diagnostics, hmoec_json_key_location(&import->config, "is_encoder_decoder"),
                                        "is_encoder_decoder = false is not supported");
}

/* One table for ids on both sides and for the head, or for the ids alone, or one for each: what is tied has one content under all its names. */
static bool embeddings(const hmoec_import_state *import, switch_model *model) {
  const char *ids = "shared.weight\nencoder.embed_tokens.weight\ndecoder.embed_tokens.weight";
  const char *head = "decoder.lm_head.weight\nlm_head.weight", *all = hmoec_import_key(import, "%s\nlm_head.weight", ids);
  bool own_head = hmoec_import_has(import, "decoder.lm_head.weight");
  if (!hmoec_config_flag(import, "tie_word_embeddings", !own_head, &model->tied)) return false;
  if (model->tied && own_head)
    return hmoec_config_contradiction(import, "tie_word_embeddings", "the checkpoint has 'decoder.lm_head.weight'");
  model->shared = model->tied || hmoec_tensor_files_tied(import->tensors, ids);
  bool found = model->tied     ? hmoec_import_tied(import, all, &model->vocab, &model->d_model)
               : model->shared ? HMOEC_TENSOR(import, ids, &model->vocab, &model->d_model)
                               : HMOEC_TENSOR(import, "encoder.embed_tokens.weight", &model->vocab, &model->d_model) &&
                                     HMOEC_TENSOR(import, "decoder.embed_tokens.weight", &model->vocab, &model->d_model);
  return found && (model->tied || HMOEC_TENSOR(import, head, &model->vocab, &model->d_model)) &&
         hmoec_import_agree(import, "vocab_size", 32128, &model->vocab) &&
         hmoec_import_agree(import, "d_model", 768, &model->d_model);
}

static bool attention(const hmoec_import_state *import, switch_model *model, const char *scope) {
  static const char *const names[] = {"q", "k", "v"};
  for (size_t i = 0; i < 3; i++)
    if (!HMOEC_TENSOR(import, hmoec_import_key(import, "%s.%s.weight", scope, names[i]), &model->attention, &model->d_model))
      return false;
  return HMOEC_TENSOR(import, hmoec_import_key(import, "%s.o.weight", scope), &model->d_model, &model->attention);
}

static bool heads(const hmoec_import_state *import, switch_model *model) {
  for (size_t s = 0; s < 2; s++) {
    const char *key = hmoec_import_key(import, "%s.block.0.layer.0.SelfAttention.relative_attention_bias.weight", sides[s].name);
    if (!HMOEC_TENSOR(import, key, &model->buckets, &model->heads)) return false;
  }
  if (!hmoec_import_agree(import, "num_heads", 12, &model->heads) ||
      !hmoec_import_agree(import, "relative_attention_num_buckets", 32, &model->buckets) ||
      !attention(import, model, "encoder.block.0.layer.0.SelfAttention"))
    return false;
  if (model->attention.size % model->heads.size)
    return hmoec_error(import->diagnostics, (hmoec_location){.file = hmoec_tensor_files_path(import->tensors)},
                       "'%s': its %" PRId64 " rows are not heads = %" PRId64 " equal heads; heads follows from '%s'",
                       model->attention.from, model->attention.size, model->heads.size, model->heads.from);
  hmoec_import_dim d_kv = {.name = "d_kv", .size = model->attention.size / model->heads.size, .from = model->attention.from};
  model->d_kv = d_kv.size;
  return hmoec_import_agree(import, "d_kv", 64, &d_kv);
}

/* wi and wo, or wi_0, wi_1 and wo. */
static bool feed_forward(const hmoec_import_state *import, switch_model *model, const char *scope) {
  static const char *const plain[] = {"wi", NULL}, *const gated[] = {"wi_0", "wi_1", NULL};
  for (const char *const *name = model->gated ? gated : plain; *name; name++)
    if (!HMOEC_TENSOR(import, hmoec_import_key(import, "%s%s.weight", scope, *name), &model->d_ff, &model->d_model)) return false;
  return HMOEC_TENSOR(import, hmoec_import_key(import, "%swo.weight", scope), &model->d_model, &model->d_ff);
}

static bool mixture(const hmoec_import_state *import, switch_model *model, const char *scope) {
  hmoec_import_mixture *m = &model->mixture;
  if (m->hypernetwork) {
    if (!hmoec_import_hyper_router(import, scope, &model->d_model, m)) return false;
  } else if (!HMOEC_TENSOR(import, hmoec_import_key(import, "%srouter.classifier.weight", scope), &m->experts, &model->d_model) ||
             (model->router_bias &&
              !HMOEC_TENSOR(import, hmoec_import_key(import, "%srouter.classifier.bias", scope), &m->experts))) {
    return false;
  }
  for (int64_t e = 0; e < m->experts.size; e++)
    if (!feed_forward(import, model, hmoec_import_key(import, "%sexperts.expert_%" PRId64 ".", scope, e))) return false;
  return hmoec_import_experts_end(import, scope, m) && (!m->hyper || hmoec_import_selection(import, scope, m));
}

static bool is_mixture(const hmoec_import_state *import, const char *scope) {
  return hmoec_import_has_prefix(import, hmoec_import_key(import, "%sexperts.", scope)) ||
         hmoec_import_has_prefix(import, hmoec_import_key(import, "%srouter.", scope)) ||
         hmoec_import_has_prefix(import, hmoec_import_key(import, "%sgate.", scope));
}

static bool layer(const hmoec_import_state *import, switch_model *model, size_t s, int64_t l) {
  const char *block = hmoec_import_key(import, "%s.block.%" PRId64 ".layer", sides[s].name, l);
  const char *scope = hmoec_import_key(import, "%s.%d.mlp.", block, sides[s].feed_forward);
  for (int i = 0; i <= sides[s].feed_forward; i++)
    if (!HMOEC_TENSOR(import, hmoec_import_key(import, "%s.%d.layer_norm.weight", block, i), &model->d_model)) return false;
  if (!attention(import, model, hmoec_import_key(import, "%s.0.SelfAttention", block)) ||
      (s == 1 && !attention(import, model, hmoec_import_key(import, "%s.1.EncDecAttention", block))))
    return false;
  model->sparse[s][l] = is_mixture(import, scope);
  return model->sparse[s][l] ? mixture(import, model, scope) : feed_forward(import, model, scope);
}

/* The config's step is a recipe; what the checkpoint has counts. */
static bool step_check(const hmoec_import_state *import, const switch_model *model, size_t s) {
  int64_t step;
  if (!hmoec_config_integer(import, sides[s].step_key, 0, -1, &step)) return false;
  bool same = true, all = true;
  for (int64_t l = 0; l < model->layers[s]; l++) {
    same = same && model->sparse[s][l] == (step > 0 && l % step == 1);
    all = all && model->sparse[s][l];
  }
  if (step >= 0 && !same && !(step == 1 && all))
    hmoec_warning(import->diagnostics, hmoec_json_key_location(&import->config, sides[s].step_key),
                  "%s = %" PRId64 " makes other layers mixtures of experts than the checkpoint has; the checkpoint counts",
                  sides[s].step_key, step);
  return true;
}

static bool stack(const hmoec_import_state *import, switch_model *model, size_t s) {
  bool any = false;
  model->sparse[s] = hmoec_arena_alloc_array(import->arena, (size_t)model->layers[s], sizeof **model->sparse);
  for (int64_t l = 0; l < model->layers[s]; l++) {
    if (!layer(import, model, s, l)) return false;
    any = any || model->sparse[s][l];
  }
  return HMOEC_TENSOR(import, hmoec_import_key(import, "%s.final_layer_norm.weight", sides[s].name), &model->d_model) &&
         (!any || !model->mixture.hyper ||
          hmoec_import_generator(import, hmoec_import_key(import, "%s.param_gen.", sides[s].name), model->layers[s],
                                 &model->d_model, &model->mixture)) &&
         step_check(import, model, s);
}

/* "relu", "gated-gelu" and the like, which two keys may say. Layers of one matrix are not gated, and have dense_act_fn where there is one: so
 * the library has it, whatever the other keys say. */
static bool activation(const hmoec_import_state *import, switch_model *model) {
  const char *project, *function;
  bool gated;
  if (!hmoec_config_word(import, "feed_forward_proj", NULL, &project) ||
      !hmoec_config_word(import, "dense_act_fn", NULL, &function) ||
      !hmoec_config_flag(import, "is_gated_act", model->gated, &gated))
    return false;
  bool prefixed = project && strncmp(project, "gated-", 6) == 0;
  model->activation = model->gated ? "gelu_new" : "relu";
  if (model->gated && (!gated || (project && !prefixed)))
    return hmoec_config_contradiction(import, gated ? "feed_forward_proj" : "is_gated_act",
                                      "the checkpoint's feed-forward layers have wi_0 and wi_1");
  const char *ignored = model->gated ? NULL : prefixed ? "feed_forward_proj" : gated ? "is_gated_act" : NULL;
  if (project && prefixed == model->gated) {
    const char *name = prefixed ? strcmp(project + 6, "gelu") == 0 ? "gelu_new" : project + 6 : project;
    if (!hmoec_config_activation(import, "feed_forward_proj", name, &model->activation)) return false;
  }
  const char *before = model->activation;
  if (function && !hmoec_config_activation(import, "dense_act_fn", function, &model->activation)) return false;
  bool differs = function && project && prefixed == model->gated && strcmp(before, model->activation) != 0;
  if (differs && model->gated) return hmoec_config_contradiction(import, "dense_act_fn", "feed_forward_proj is \"%.60s\"", project);
  if (differs) ignored = "feed_forward_proj";
  if (ignored)
    hmoec_warning(import->diagnostics, hmoec_json_key_location(&import->config, ignored),
                  "%s is ignored, as the library does: layers with one matrix wi are not gated and have dense_act_fn, \"%s\"",
                  ignored, function ? function : "relu");
  return true;
}

static bool options(const hmoec_import_state *import, switch_model *model) {
  bool hyper = model->mixture.hyper, router_bias, experts_embedding, use_hypernet;
  if (!hmoec_config_flag(import, "experts_embedding", hyper, &experts_embedding) ||
      !hmoec_config_flag(import, "use_hypernet", hyper, &use_hypernet) ||
      !hmoec_config_flag(import, "router_bias", model->router_bias, &router_bias))
    return false;
  const char *has = hyper ? "the checkpoint has the tensors of HyperExperts" : "the checkpoint has no tensors of HyperExperts";
  if (use_hypernet != hyper) return hmoec_config_contradiction(import, "use_hypernet", "%s", has);
  if (experts_embedding != hyper) return hmoec_config_contradiction(import, "experts_embedding", "%s", has);
  if (router_bias != model->router_bias && !model->mixture.hypernetwork && hmoec_import_mentions(import, ".router.classifier."))
    return hmoec_config_contradiction(import, "router_bias", "the checkpoint has %s 'router.classifier.bias'",
                                      model->router_bias ? "tensors" : "no tensor");
  return hmoec_config_integer(import, "expert_capacity", 1, 64, &model->capacity) &&
         hmoec_config_integer(import, "relative_attention_max_distance", 1, 128, &model->max_distance) &&
         activation(import, model) && hmoec_import_agree(import, "d_ff", 2048, &model->d_ff);
}

static bool write_spec(const hmoec_import_state *import, const switch_model *model) {
  fprintf(import->out,
          "dim vocab = %" PRId64 ", d_model = %" PRId64 ", d_ff = %" PRId64 ", heads = %" PRId64 ", d_kv = %" PRId64
          ", experts = %" PRId64 ", top_k = 1\n"
          "dim encoder_layers = %" PRId64 ", decoder_layers = %" PRId64 "\n"
          "dim buckets = %" PRId64 ", max_distance = %" PRId64 "\n",
          model->vocab.size, model->d_model.size, model->d_ff.size, model->heads.size, model->d_kv, model->mixture.experts.size,
          model->layers[0], model->layers[1], model->buckets.size, model->max_distance);
  hmoec_import_write_mixture(import, &model->mixture);
  fprintf(import->out,
          "option activation = %s in {relu, gelu, gelu_new, silu, sigmoid}\n"
          "option gated = %d in {0, 1}\n"
          "option gate = %s in {softmax_then_topk, topk_then_softmax, softmax_topk_renorm, sigmoid}\n"
          "option capacity = %" PRId64 "\n"
          "option router_bias = %d in {0, 1}\n"
          "option tied_head = %d in {0, 1}\n"
          "option shared_embeddings = %d in {0, 1}\n",
          model->activation, model->gated, model->mixture.hypernetwork ? "topk_then_softmax" : "softmax_then_topk", model->capacity,
          model->router_bias, model->tied, model->shared);
  if (!hmoec_import_write_dropped(import) || !hmoec_import_write_epsilon(import, 1e-6) ||
      !hmoec_import_write_generation(import, &(hmoec_import_tokens){.bos = -1, .eos = 1, .pad = 0}))
    return false;
  fputc('\n', import->out);
  hmoec_import_write_sparse(import, "encoder_sparse", model->sparse[0], model->layers[0]);
  hmoec_import_write_sparse(import, "decoder_sparse", model->sparse[1], model->layers[1]);
  return true;
}

bool hmoec_import_switch(hmoec_import_state *import) {
  import->encodes = true;
  switch_model model = {.vocab = {.name = "vocab"},
                        .d_model = {.name = "d_model"},
                        .d_ff = {.name = "d_ff"},
                        .heads = {.name = "heads"},
                        .attention = {.name = "heads * d_kv"},
                        .buckets = {.name = "buckets"},
                        .mixture = hmoec_import_mixture_new()};
  model.mixture.hyper = hmoec_import_mentions(import, ".n_experts_embedding.") || hmoec_import_mentions(import, ".param_gen.");
  model.mixture.generated_bias = hmoec_import_mentions(import, ".param_gen.decoder.bias_");
  model.mixture.hypernetwork = hmoec_import_mentions(import, ".gate.hypernet.");
  model.router_bias = hmoec_import_mentions(import, ".router.classifier.bias");
  model.gated = hmoec_import_mentions(import, ".wi_0.weight");
  if (!refusals(import) || !embeddings(import, &model)) return false;
  for (size_t s = 0; s < 2; s++)
    if (!hmoec_import_layers(import, hmoec_import_key(import, "%s.block.", sides[s].name), sides[s].layers_key, &model.layers[s]))
      return false;
  return heads(import, &model) && stack(import, &model, 0) && stack(import, &model, 1) &&
         hmoec_import_mixture_agree(import, "num_experts", &model.mixture) && options(import, &model) && write_spec(import, &model);
}
