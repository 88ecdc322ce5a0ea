/* GPT2LMHeadModel, dense or with mixtures of experts, with or without HyperMoE. Its matrices are [in, out]. */
#include <inttypes.h>
#include <string.h>

#include "frontend/import_parts.h"

typedef struct gpt2_model {
  hmoec_import_dim vocab, positions, d_model, d_ff;
  int64_t layers, heads, top_k;
  bool *sparse;
  bool any_sparse, any_dense, tied, attention_bias, scaled, divided;
  const char *prefix, *activation;
  hmoec_import_mixture mixture;
} gpt2_model;

#define KEY(name) hmoec_import_key(import, "%s%s", scope, name)

static bool refusals(const hmoec_import_state *import) {
  static const char *const keys[] = {"add_cross_attention", "use_fast_mode"};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
    if (!hmoec_config_refuse(import, keys[i])) return false;
  return true;
}

static bool embeddings(const hmoec_import_state *import, gpt2_model *model) {
  const char *ids = hmoec_import_key(import, "%swte.weight", model->prefix);
  if (!hmoec_config_flag(import, "tie_word_embeddings", true, &model->tied)) return false;
  bool found = model->tied
                   ? hmoec_import_tied(import, hmoec_import_key(import, "%s\nlm_head.weight", ids), &model->vocab, &model->d_model)
                   : HMOEC_TENSOR(import, ids, &model->vocab, &model->d_model) &&
                         HMOEC_TENSOR(import, "lm_head.weight", &model->vocab, &model->d_model);
  return found &&
         HMOEC_TENSOR(import, hmoec_import_key(import, "%swpe.weight", model->prefix), &model->positions, &model->d_model) &&
         hmoec_import_agree(import, "vocab_size", 50257, &model->vocab) &&
         hmoec_import_agree(import, "n_embd", 768, &model->d_model) &&
         hmoec_import_agree(import, "n_positions", 1024, &model->positions);
}

static bool norm(const hmoec_import_state *import, gpt2_model *model, const char *scope) {
  return HMOEC_TENSOR(import, KEY(".weight"), &model->d_model) && HMOEC_TENSOR(import, KEY(".bias"), &model->d_model);
}

static bool attention(const hmoec_import_state *import, gpt2_model *model, const char *scope) {
  hmoec_import_dim columns = {.name = "3 * d_model", .size = 3 * model->d_model.size, .from = model->d_model.from};
  return HMOEC_TENSOR(import, KEY("c_attn.weight"), &model->d_model, &columns) &&
         (!model->attention_bias || HMOEC_TENSOR(import, KEY("c_attn.bias"), &columns)) &&
         HMOEC_TENSOR(import, KEY("c_proj.weight"), &model->d_model, &model->d_model) &&
         HMOEC_TENSOR(import, KEY("c_proj.bias"), &model->d_model);
}

static bool feed_forward(const hmoec_import_state *import, gpt2_model *model, const char *scope) {
  return HMOEC_TENSOR(import, KEY("c_fc.weight"), &model->d_model, &model->d_ff) &&
         HMOEC_TENSOR(import, KEY("c_fc.bias"), &model->d_ff) &&
         HMOEC_TENSOR(import, KEY("c_proj.weight"), &model->d_ff, &model->d_model) &&
         HMOEC_TENSOR(import, KEY("c_proj.bias"), &model->d_model);
}

static bool mixture(const hmoec_import_state *import, gpt2_model *model, const char *scope) {
  hmoec_import_mixture *m = &model->mixture;
  if (m->hypernetwork ? !hmoec_import_hyper_router(import, scope, &model->d_model, m)
                      : !HMOEC_TENSOR(import, KEY("w_gate"), &model->d_model, &m->experts))
    return false;
  for (int64_t e = 0; e < m->experts.size; e++)
    if (!feed_forward(import, model, hmoec_import_key(import, "%sexperts.expert_%" PRId64 ".", scope, e))) return false;
  return hmoec_import_experts_end(import, scope, m) && (!m->hyper || hmoec_import_selection(import, scope, m));
}

static bool layer(const hmoec_import_state *import, gpt2_model *model, int64_t l) {
  const char *block = hmoec_import_key(import, "%sh.%" PRId64 ".", model->prefix, l);
  const char *scope = hmoec_import_key(import, "%smlp.", block);
  if (!norm(import, model, hmoec_import_key(import, "%sln_1", block)) ||
      !attention(import, model, hmoec_import_key(import, "%sattn.", block)) ||
      !norm(import, model, hmoec_import_key(import, "%sln_2", block)))
    return false;
  bool sparse = hmoec_import_has(import, KEY("w_gate")) || hmoec_import_has_prefix(import, KEY("experts.")) ||
                hmoec_import_has_prefix(import, KEY("gate."));
  model->sparse[l] = sparse;
  model->any_sparse = model->any_sparse || sparse;
  model->any_dense = model->any_dense || !sparse;
  return sparse ? mixture(import, model, scope) : feed_forward(import, model, scope);
}

static bool layers(const hmoec_import_state *import, gpt2_model *model) {
  const char *prefix = hmoec_import_key(import, "%sh.", model->prefix);
  if (!hmoec_import_layers(import, prefix, "n_layer", &model->layers)) return false;
  model->sparse = hmoec_arena_alloc_array(import->arena, (size_t)model->layers, sizeof *model->sparse);
  for (int64_t l = 0; l < model->layers; l++)
    if (!layer(import, model, l)) return false;
  return norm(import, model, hmoec_import_key(import, "%sln_f", model->prefix)) &&
         (!model->mixture.hyper || !model->any_sparse ||
          hmoec_import_generator(import, hmoec_import_key(import, "%sparam_gen.", model->prefix), model->layers, &model->d_model,
                                 &model->mixture));
}

static bool top_k(const hmoec_import_state *import, gpt2_model *model) {
  const hmoec_import_dim *experts = &model->mixture.experts;
  if (!hmoec_config_integer(import, "k", 1, 1, &model->top_k)) return false;
  if (!model->any_sparse) model->top_k = 1;
  if (model->top_k > experts->size)
    return hmoec_config_contradiction(import, "k", "there are %" PRId64 " experts, by '%s'", experts->size, experts->from);
  return !model->mixture.hyper || model->top_k < experts->size ||
         hmoec_config_contradiction(import, "k", "HyperExperts need experts that are not selected, and there are %" PRId64,
                                    experts->size);
}

static bool options(const hmoec_import_state *import, gpt2_model *model) {
  bool hyper = model->mixture.hyper, experts_embedding, use_hypernet, upcast;
  const char *use_moe, *activation;
  if (!hmoec_config_flag(import, "experts_embedding", hyper, &experts_embedding) ||
      !hmoec_config_flag(import, "use_hypernet", hyper, &use_hypernet) || !hmoec_config_word(import, "use_moe", NULL, &use_moe) ||
      !hmoec_config_word(import, "activation_function", "gelu_new", &activation) ||
      !hmoec_config_activation(import, "activation_function", activation, &model->activation) ||
      !hmoec_config_flag(import, "scale_attn_weights", true, &model->scaled) ||
      !hmoec_config_flag(import, "scale_attn_by_inverse_layer_idx", false, &model->divided) ||
      !hmoec_config_flag(import, "reorder_and_upcast_attn", false, &upcast) || /* scores in f32, as they always are here */
      !hmoec_config_integer(import, "n_head", 1, 12, &model->heads))
    return false;
  const char *has = hyper ? "the checkpoint has the tensors of HyperExperts" : "the checkpoint has no tensors of HyperExperts";
  if (use_hypernet != hyper) return hmoec_config_contradiction(import, "use_hypernet", "%s", has);
  if (experts_embedding != hyper) return hmoec_config_contradiction(import, "experts_embedding", "%s", has);
  if (use_moe && (strcmp(use_moe, "MoE") == 0) != model->any_sparse)
    return hmoec_config_contradiction(import, "use_moe", "the checkpoint has %s", model->any_sparse ? "experts" : "no experts");
  if (model->d_model.size % model->heads)
    return hmoec_config_contradiction(import, "n_head", "d_model = %" PRId64 " is not %" PRId64 " equal heads", model->d_model.size,
                                      model->heads);
  /* Experts are four times as wide, whatever n_inner says. */
  int64_t inner;
  return hmoec_config_integer(import, "n_inner", 1, 1, &inner) &&
         (!model->any_dense || hmoec_import_agree(import, "n_inner", 4 * model->d_model.size, &model->d_ff)) &&
         top_k(import, model);
}

static bool write_spec(const hmoec_import_state *import, const gpt2_model *model) {
  fprintf(import->out,
          "dim vocab = %" PRId64 ", positions = %" PRId64 ", d_model = %" PRId64 ", d_ff = %" PRId64 ", heads = %" PRId64
          ", layers = %" PRId64 ", experts = %" PRId64 ", top_k = %" PRId64 "\n",
          model->vocab.size, model->positions.size, model->d_model.size, model->d_ff.size, model->heads, model->layers,
          model->mixture.experts.size, model->top_k);
  hmoec_import_write_mixture(import, &model->mixture);
  fprintf(import->out,
          "option activation = %s in {relu, gelu, gelu_new, silu, sigmoid}\n"
          "option gate = %s in {softmax_then_topk, topk_then_softmax, softmax_topk_renorm, sigmoid}\n"
          "option capacity = 0\n"
          "option dropped = pass in {pass, zero}\n"
          "option attention_bias = %d in {0, 1}\n"
          "option scaled = %d in {0, 1}\n"
          "option divided = %d in {0, 1}\n"
          "option tied_head = %d in {0, 1}\n"
          "option prefix = \"%s\" in {\"transformer.\", \"\"}\n",
          model->activation, model->mixture.hypernetwork ? "topk_then_softmax" : "softmax_topk_renorm", model->attention_bias,
          model->scaled, model->divided, model->tied, model->prefix);
  if (!hmoec_import_write_epsilon(import, 1e-5) ||
      !hmoec_import_write_generation(import, &(hmoec_import_tokens){.bos = 50256, .eos = 50256, .pad = -1}))
    return false;
  fputc('\n', import->out);
  hmoec_import_write_sparse(import, "sparse_layer", model->sparse, model->layers);
  return true;
}

bool hmoec_import_gpt2(hmoec_import_state *import) {
  gpt2_model model = {.vocab = {.name = "vocab"},
                      .positions = {.name = "positions"},
                      .d_model = {.name = "d_model"},
                      .d_ff = {.name = "d_ff"},
                      .prefix = hmoec_import_mentions(import, "transformer.h.") ? "transformer." : "",
                      .mixture = hmoec_import_mixture_new()};
  model.mixture.hyper = hmoec_import_mentions(import, ".n_experts_embedding.") || hmoec_import_mentions(import, "param_gen.");
  model.mixture.generated_bias = hmoec_import_mentions(import, "param_gen.decoder.bias_");
  model.mixture.hypernetwork = hmoec_import_mentions(import, ".gate.hypernet.");
  model.attention_bias = hmoec_import_mentions(import, ".attn.c_attn.bias");
  if (!model.attention_bias)
    hmoec_warning(import->diagnostics, (hmoec_location){.file = hmoec_tensor_files_path(import->tensors)},
                  "no layer has attn.c_attn.bias, which GPT-2 has: queries, keys and values are computed without biases");
  return refusals(import) && embeddings(import, &model) && layers(import, &model) &&
         hmoec_import_mixture_agree(import, "n_experts", &model.mixture) && options(import, &model) && write_spec(import, &model);
}
