/* What each key of config.json does to the spec of a checkpoint: left out, of every value that it may have, and of one that it may not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "frontend/import_parts.h"
#include "support/text_file.h"

/* value: JSON, or "": the key is left out. result: "=" where the spec stays as it is, "+LINE" where it has a line that it had not, else the error. */
typedef struct row {
  const char *model, *key, *value, *result;
} row;

static char folder[] = "/tmp/hmoec-config-XXXXXX";

typedef struct said {
  char text[1024], warning[1024];
  unsigned line, column;
  size_t errors;
} said;

static void keep(void *context, const hmoec_message *message) {
  said *s = context;
  if (message->severity == HMOEC_WARNING) snprintf(s->warning, sizeof s->warning, "%s", message->text);
  if (message->severity != HMOEC_ERROR || s->errors++) return;
  snprintf(s->text, sizeof s->text, "%s", message->text);
  s->line = message->at.line;
  s->column = message->at.column;
}

static char *read_golden(hmoec_arena *arena, const char *model, const char *name) {
  char path[512];
  size_t size;
  const char *reason;
  snprintf(path, sizeof path, HMOE_SOURCE_DIR "/tests/golden/%s/%s", model, name);
  return hmoec_text_file_read(arena, path, 1 << 20, &size, &reason);
}

/* The spec of the model with a changed config, or NULL and what was said. out_place: where the key is in the config's one line. */
static const char *import_changed(hmoec_arena *arena, const row *row, said *out_said, size_t *out_place) {
  char path[512], quoted[128];
  cJSON *config = cJSON_Parse(read_golden(arena, row->model, "config.json"));
  assert_non_null(config);
  cJSON_DeleteItemFromObjectCaseSensitive(config, row->key);
  if (*row->value) cJSON_AddItemToObject(config, row->key, cJSON_Parse(row->value));
  char *text = cJSON_PrintUnformatted(config);
  snprintf(quoted, sizeof quoted, "\"%s\":", row->key);
  const char *place = strstr(text, quoted);
  *out_place = place ? (size_t)(place - text) + 1 : 0;
  snprintf(path, sizeof path, "%s/config.json", folder);
  FILE *file = fopen(path, "w");
  assert_true(file && fputs(text, file) >= 0 && fclose(file) == 0);
  cJSON_free(text);
  cJSON_Delete(config);
  char weights[600];
  snprintf(path, sizeof path, HMOE_SOURCE_DIR "/tests/golden/%s/model.safetensors", row->model);
  snprintf(weights, sizeof weights, "%s/model.safetensors", folder);
  unlink(weights);
  assert_int_equal(symlink(path, weights), 0);
  *out_said = (said){.errors = 0};
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create_with(keep, out_said);
  size_t size;
  const char *spec = hmoec_import(arena, folder, diagnostics, &size);
  assert_int_equal(out_said->errors, spec ? 0 : 1);
  hmoec_diagnostics_destroy(diagnostics);
  return spec;
}

/* The first line that `text` has and `other` has not. */
static void new_line(const char *text, const char *other, char *out, size_t size) {
  snprintf(out, size, "=");
  for (const char *at = text; *at; at += strcspn(at, "\n") + 1) {
    char line[512];
    snprintf(line, sizeof line, "\n%.*s\n", (int)strcspn(at, "\n"), at);
    if (at != text && !strstr(other, line)) {
      snprintf(out, size, "+%.*s", (int)strcspn(at, "\n"), at);
      return;
    }
  }
}

static const row rows[] = {
    {"gpt2-hypermoe-tiny-k2", "k", "",
     "+dim vocab = 197, positions = 64, d_model = 48, d_ff = 192, heads = 3, layers = 3, experts = 5, top_k = 1"},
    {"gpt2-hypermoe-tiny-k2", "k", "true", "expected k to be an integer between 1 and 2147483647, found true"},
    {"gpt2-hypermoe-tiny-k2", "k", "3",
     "+dim vocab = 197, positions = 64, d_model = 48, d_ff = 192, heads = 3, layers = 3, experts = 5, top_k = 3"},
    {"gpt2-hypermoe-tiny-k2", "experts_embedding", "", "="},
    {"gpt2-hypermoe-tiny-k2", "experts_embedding", "false",
     "experts_embedding = false, but the checkpoint has the tensors of HyperExperts"},
    {"gpt2-hypermoe-tiny-k2", "experts_embedding", "0", "expected experts_embedding to be true or false, found 0"},
    {"gpt2-hypermoe-tiny-k2", "use_hypernet", "", "="},
    {"gpt2-hypermoe-tiny-k2", "use_hypernet", "false", "use_hypernet = false, but the checkpoint has the tensors of HyperExperts"},
    {"gpt2-hypermoe-tiny-k2", "use_hypernet", "0", "expected use_hypernet to be true or false, found 0"},
    {"gpt2-hypermoe-tiny-k2", "use_moe", "", "="},
    {"gpt2-hypermoe-tiny-k2", "use_moe", "true", "expected use_moe to be a string, found true"},
    {"gpt2-hypermoe-tiny-k2", "use_moe", "\"relu\"", "use_moe = \"relu\", but the checkpoint has experts"},
    {"gpt2-hypermoe-tiny-k2", "use_moe", "\"gated-gelu\"", "use_moe = \"gated-gelu\", but the checkpoint has experts"},
    {"gpt2-hypermoe-tiny-k2", "use_moe", "\"float32\"", "use_moe = \"float32\", but the checkpoint has experts"},
    {"gpt2-hypermoe-tiny-k2", "use_moe", "\"none\"", "use_moe = \"none\", but the checkpoint has experts"},
    {"gpt2-hypermoe-tiny-k2", "use_moe", "\"4.30.2\"", "use_moe = \"4.30.2\", but the checkpoint has experts"},
    {"gpt2-hypermoe-tiny-k2", "activation_function", "", "="},
    {"gpt2-hypermoe-tiny-k2", "activation_function", "true", "expected activation_function to be a string, found true"},
    {"gpt2-hypermoe-tiny-k2", "activation_function", "\"relu\"",
     "+option activation = relu in {relu, gelu, gelu_new, silu, sigmoid}"},
    {"gpt2-hypermoe-tiny-k2", "activation_function", "\"gated-gelu\"",
     "activation_function: the activation \"gated-gelu\" is not supported; expected relu, gelu, gelu_new, silu or sigmoid"},
    {"gpt2-hypermoe-tiny-k2", "activation_function", "\"float32\"",
     "activation_function: the activation \"float32\" is not supported; expected relu, gelu, gelu_new, silu or sigmoid"},
    {"gpt2-hypermoe-tiny-k2", "activation_function", "\"none\"",
     "activation_function: the activation \"none\" is not supported; expected relu, gelu, gelu_new, silu or sigmoid"},
    {"gpt2-hypermoe-tiny-k2", "activation_function", "\"4.30.2\"",
     "activation_function: the activation \"4.30.2\" is not supported; expected relu, gelu, gelu_new, silu or sigmoid"},
    {"gpt2-hypermoe-tiny-k2", "scale_attn_weights", "", "="},
    {"gpt2-hypermoe-tiny-k2", "scale_attn_weights", "false", "+option scaled = 0 in {0, 1}"},
    {"gpt2-hypermoe-tiny-k2", "scale_attn_weights", "0", "expected scale_attn_weights to be true or false, found 0"},
    {"gpt2-hypermoe-tiny-k2", "scale_attn_by_inverse_layer_idx", "", "="},
    {"gpt2-hypermoe-tiny-k2", "scale_attn_by_inverse_layer_idx", "true", "+option divided = 1 in {0, 1}"},
    {"gpt2-hypermoe-tiny-k2", "scale_attn_by_inverse_layer_idx", "1",
     "expected scale_attn_by_inverse_layer_idx to be true or false, found 1"},
    {"gpt2-hypermoe-tiny-k2", "reorder_and_upcast_attn", "", "="},
    {"gpt2-hypermoe-tiny-k2", "reorder_and_upcast_attn", "true", "="},
    {"gpt2-hypermoe-tiny-k2", "reorder_and_upcast_attn", "1", "expected reorder_and_upcast_attn to be true or false, found 1"},
    {"gpt2-hypermoe-tiny-k2", "n_head", "",
     "+dim vocab = 197, positions = 64, d_model = 48, d_ff = 192, heads = 12, layers = 3, experts = 5, top_k = 2"},
    {"gpt2-hypermoe-tiny-k2", "n_head", "true", "expected n_head to be an integer between 1 and 2147483647, found true"},
    {"gpt2-hypermoe-tiny-k2", "n_head", "1",
     "+dim vocab = 197, positions = 64, d_model = 48, d_ff = 192, heads = 1, layers = 3, experts = 5, top_k = 2"},
    {"gpt2-hypermoe-tiny-k2", "n_head", "2",
     "+dim vocab = 197, positions = 64, d_model = 48, d_ff = 192, heads = 2, layers = 3, experts = 5, top_k = 2"},
    {"gpt2-hypermoe-tiny-k2", "n_inner", "", "="},
    {"gpt2-hypermoe-tiny-k2", "n_inner", "true", "expected n_inner to be an integer between 1 and 2147483647, found true"},
    {"gpt2-hypermoe-tiny-k2", "tie_word_embeddings", "", "="},
    {"gpt2-hypermoe-tiny-k2", "tie_word_embeddings", "false", "there is no tensor 'lm_head.weight'"},
    {"gpt2-hypermoe-tiny-k2", "tie_word_embeddings", "0", "expected tie_word_embeddings to be true or false, found 0"},
    {"gpt2-hypermoe-tiny-k2", "layer_norm_epsilon", "", "="},
    {"gpt2-hypermoe-tiny-k2", "layer_norm_epsilon", "true",
     "expected layer_norm_epsilon to be a number above 0 and at most 1, found true"},
    {"gpt2-hypermoe-tiny-k2", "layer_norm_epsilon", "1", "+option epsilon = 1.0"},
    {"gpt2-hypermoe-tiny-k2", "layer_norm_epsilon", "0.5", "+option epsilon = 0.5"},
    {"gpt2-hypermoe-tiny-k2", "layer_norm_epsilon", "1e-06", "+option epsilon = 1e-06"},
    {"gpt2-hypermoe-tiny-k2", "transformers_version", "true", "="},
    {"gpt2-hypermoe-tiny-k2", "transformers_version", "false", "="},
    {"gpt2-hypermoe-tiny-k2", "transformers_version", "\"4.30.2\"", "="},
    {"gpt2-hypermoe-tiny-k2", "model_type", "", "="},
    {"gpt2-hypermoe-tiny-k2", "model_type", "true", "expected model_type to be a string, found true"},
    {"gpt2-hypermoe-tiny-k2", "model_type", "\"relu\"",
     "model_type \"relu\" is not supported; expected switch_transformers or gpt2"},
    {"gpt2-hypermoe-tiny-k2", "model_type", "\"gated-gelu\"",
     "model_type \"gated-gelu\" is not supported; expected switch_transformers or gpt2"},
    {"gpt2-hypermoe-tiny-k2", "model_type", "\"float32\"",
     "model_type \"float32\" is not supported; expected switch_transformers or gpt2"},
    {"gpt2-hypermoe-tiny-k2", "model_type", "\"none\"",
     "model_type \"none\" is not supported; expected switch_transformers or gpt2"},
    {"gpt2-hypermoe-tiny-k2", "model_type", "\"4.30.2\"",
     "model_type \"4.30.2\" is not supported; expected switch_transformers or gpt2"},
    {"gpt2-hypermoe-tiny-k2", "add_cross_attention", "", "="},
    {"gpt2-hypermoe-tiny-k2", "add_cross_attention", "true", "add_cross_attention = true is not supported"},
    {"gpt2-hypermoe-tiny-k2", "add_cross_attention", "1", "expected add_cross_attention to be true or false, found 1"},
    {"switch-hypermoe-tiny", "use_fast_mode", "", "="},
    {"switch-hypermoe-tiny", "use_fast_mode", "true", "use_fast_mode = true is not supported"},
    {"switch-hypermoe-tiny", "use_fast_mode", "1", "expected use_fast_mode to be true or false, found 1"},
    {"switch-hypermoe-tiny", "tie_encoder_decoder", "", "="},
    {"switch-hypermoe-tiny", "tie_encoder_decoder", "true", "tie_encoder_decoder = true is not supported"},
    {"switch-hypermoe-tiny", "tie_encoder_decoder", "1", "expected tie_encoder_decoder to be true or false, found 1"},
    {"switch-hypermoe-tiny", "add_router_probs", "", "="},
    {"switch-hypermoe-tiny", "add_router_probs", "true", "add_router_probs = true is not supported"},
    {"switch-hypermoe-tiny", "add_router_probs", "1", "expected add_router_probs to be true or false, found 1"},
    {"switch-hypermoe-tiny", "is_encoder_decoder", "", "="},
    {"switch-hypermoe-tiny", "is_encoder_decoder", "false", "is_encoder_decoder = false is not supported"},
    {"switch-hypermoe-tiny", "is_encoder_decoder", "0", "expected is_encoder_decoder to be true or false, found 0"},
    {"switch-hypermoe-tiny", "router_dtype", "", "="},
    {"switch-hypermoe-tiny", "router_dtype", "true", "expected router_dtype to be a string, found true"},
    {"switch-hypermoe-tiny", "router_dtype", "\"4.30.2\"", "="},
    {"switch-hypermoe-tiny", "tie_word_embeddings", "", "="},
    {"switch-hypermoe-tiny", "tie_word_embeddings", "false",
     "there is no tensor 'decoder.lm_head.weight', nor one of its other names"},
    {"switch-hypermoe-tiny", "tie_word_embeddings", "0", "expected tie_word_embeddings to be true or false, found 0"},
    {"switch-hypermoe-tiny", "encoder_sparse_step", "", "="},
    {"switch-hypermoe-tiny", "encoder_sparse_step", "true",
     "expected encoder_sparse_step to be an integer between 0 and 2147483647, found true"},
    {"switch-hypermoe-tiny", "decoder_sparse_step", "", "="},
    {"switch-hypermoe-tiny", "decoder_sparse_step", "true",
     "expected decoder_sparse_step to be an integer between 0 and 2147483647, found true"},
    {"switch-hypermoe-tiny", "feed_forward_proj", "", "="},
    {"switch-hypermoe-tiny", "feed_forward_proj", "true", "expected feed_forward_proj to be a string, found true"},
    {"switch-hypermoe-tiny", "feed_forward_proj", "\"float32\"",
     "feed_forward_proj: the activation \"float32\" is not supported; expected relu, gelu, gelu_new, silu or sigmoid"},
    {"switch-hypermoe-tiny", "feed_forward_proj", "\"none\"",
     "feed_forward_proj: the activation \"none\" is not supported; expected relu, gelu, gelu_new, silu or sigmoid"},
    {"switch-hypermoe-tiny", "feed_forward_proj", "\"4.30.2\"",
     "feed_forward_proj: the activation \"4.30.2\" is not supported; expected relu, gelu, gelu_new, silu or sigmoid"},
    {"switch-hypermoe-tiny", "dense_act_fn", "", "="},
    {"switch-hypermoe-tiny", "dense_act_fn", "true", "expected dense_act_fn to be a string, found true"},
    {"switch-hypermoe-tiny", "dense_act_fn", "\"gated-gelu\"",
     "dense_act_fn: the activation \"gated-gelu\" is not supported; expected relu, gelu, gelu_new, silu or sigmoid"},
    {"switch-hypermoe-tiny", "dense_act_fn", "\"float32\"",
     "dense_act_fn: the activation \"float32\" is not supported; expected relu, gelu, gelu_new, silu or sigmoid"},
    {"switch-hypermoe-tiny", "dense_act_fn", "\"none\"",
     "dense_act_fn: the activation \"none\" is not supported; expected relu, gelu, gelu_new, silu or sigmoid"},
    {"switch-hypermoe-tiny", "dense_act_fn", "\"4.30.2\"",
     "dense_act_fn: the activation \"4.30.2\" is not supported; expected relu, gelu, gelu_new, silu or sigmoid"},
    {"switch-hypermoe-tiny", "is_gated_act", "", "="},
    {"switch-hypermoe-tiny", "is_gated_act", "true", "="},
    {"switch-hypermoe-tiny", "is_gated_act", "1", "expected is_gated_act to be true or false, found 1"},
    {"switch-hypermoe-tiny", "experts_embedding", "", "="},
    {"switch-hypermoe-tiny", "experts_embedding", "false",
     "experts_embedding = false, but the checkpoint has the tensors of HyperExperts"},
    {"switch-hypermoe-tiny", "experts_embedding", "0", "expected experts_embedding to be true or false, found 0"},
    {"switch-hypermoe-tiny", "use_hypernet", "", "="},
    {"switch-hypermoe-tiny", "use_hypernet", "false", "use_hypernet = false, but the checkpoint has the tensors of HyperExperts"},
    {"switch-hypermoe-tiny", "use_hypernet", "0", "expected use_hypernet to be true or false, found 0"},
    {"switch-hypermoe-tiny", "router_bias", "", "="},
    {"switch-hypermoe-tiny", "router_bias", "true",
     "router_bias = true, but the checkpoint has no tensor 'router.classifier.bias'"},
    {"switch-hypermoe-tiny", "router_bias", "1", "expected router_bias to be true or false, found 1"},
    {"switch-hypermoe-tiny", "expert_capacity", "", "+option capacity = 64"},
    {"switch-hypermoe-tiny", "expert_capacity", "true",
     "expected expert_capacity to be an integer between 1 and 2147483647, found true"},
    {"switch-hypermoe-tiny", "expert_capacity", "1", "+option capacity = 1"},
    {"switch-hypermoe-tiny", "expert_capacity", "2", "+option capacity = 2"},
    {"switch-hypermoe-tiny", "expert_capacity", "3", "+option capacity = 3"},
    {"switch-hypermoe-tiny", "relative_attention_max_distance", "", "="},
    {"switch-hypermoe-tiny", "relative_attention_max_distance", "true",
     "expected relative_attention_max_distance to be an integer between 1 and 2147483647, found true"},
    {"switch-hypermoe-tiny", "layer_norm_epsilon", "", "="},
    {"switch-hypermoe-tiny", "layer_norm_epsilon", "true",
     "expected layer_norm_epsilon to be a number above 0 and at most 1, found true"},
    {"switch-hypermoe-tiny", "layer_norm_epsilon", "1", "+option epsilon = 1.0"},
    {"switch-hypermoe-tiny", "layer_norm_epsilon", "0.5", "+option epsilon = 0.5"},
    {"switch-hypermoe-tiny", "transformers_version", "true", "expected transformers_version to be a string, found true"},
    {"switch-hypermoe-tiny", "transformers_version", "\"relu\"",
     "expected transformers_version to be a version such as \"4.30.2\", found \"relu\""},
    {"switch-hypermoe-tiny", "transformers_version", "\"4.30.2\"", "+option dropped = pass in {pass, zero}"},
    {"switch-hypermoe-tiny", "model_type", "", "="},
    {"switch-hypermoe-tiny", "model_type", "true", "expected model_type to be a string, found true"},
    {"switch-hypermoe-tiny", "model_type", "\"relu\"",
     "model_type \"relu\" is not supported; expected switch_transformers or gpt2"},
    {"switch-hypermoe-tiny", "model_type", "\"gated-gelu\"",
     "model_type \"gated-gelu\" is not supported; expected switch_transformers or gpt2"},
    {"switch-hypermoe-tiny", "model_type", "\"float32\"",
     "model_type \"float32\" is not supported; expected switch_transformers or gpt2"},
    {"switch-hypermoe-tiny", "model_type", "\"none\"",
     "model_type \"none\" is not supported; expected switch_transformers or gpt2"},
    {"switch-hypermoe-tiny", "model_type", "\"4.30.2\"",
     "model_type \"4.30.2\" is not supported; expected switch_transformers or gpt2"},
    {"switch-hypermoe-tiny", "num_layers", "", "="},
    {"switch-hypermoe-tiny", "num_layers", "true", "expected num_layers to be an integer between 1 and 2147483647, found true"},
    {"switch-hypermoe-tiny", "num_layers", "1", "num_layers = 1, but the checkpoint has layers 0 to 3 of 'encoder.block.'"},
    {"switch-hypermoe-tiny", "num_layers", "2", "num_layers = 2, but the checkpoint has layers 0 to 3 of 'encoder.block.'"},
    {"switch-hypermoe-tiny", "num_layers", "3", "num_layers = 3, but the checkpoint has layers 0 to 3 of 'encoder.block.'"},
    {"switch-hypermoe-tiny", "num_heads", "", "="},
    {"switch-hypermoe-tiny", "num_heads", "true", "expected num_heads to be an integer between 1 and 2147483647, found true"},
    {"switch-hypermoe-tiny", "num_heads", "1",
     "num_heads = 1, but heads is 3 in the checkpoint, by 'encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight'"},
    {"switch-hypermoe-tiny", "num_heads", "2",
     "num_heads = 2, but heads is 3 in the checkpoint, by 'encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight'"},
    {"switch-hypermoe-tiny", "d_kv", "", "="},
    {"switch-hypermoe-tiny", "d_kv", "true", "expected d_kv to be an integer between 1 and 2147483647, found true"},
    {"switch-hypermoe-tiny", "d_kv", "1",
     "d_kv = 1, but d_kv is 16 in the checkpoint, by 'encoder.block.0.layer.0.SelfAttention.q.weight'"},
    {"switch-hypermoe-tiny", "d_kv", "2",
     "d_kv = 2, but d_kv is 16 in the checkpoint, by 'encoder.block.0.layer.0.SelfAttention.q.weight'"},
    {"switch-hypermoe-tiny", "d_kv", "3",
     "d_kv = 3, but d_kv is 16 in the checkpoint, by 'encoder.block.0.layer.0.SelfAttention.q.weight'"},
    {"switch-hypermoe-tiny", "d_model", "", "="},
    {"switch-hypermoe-tiny", "d_model", "true", "expected d_model to be an integer between 1 and 2147483647, found true"},
    {"switch-hypermoe-tiny", "d_model", "1", "d_model = 1, but d_model is 48 in the checkpoint, by 'shared.weight'"},
    {"switch-hypermoe-tiny", "d_model", "2", "d_model = 2, but d_model is 48 in the checkpoint, by 'shared.weight'"},
    {"switch-hypermoe-tiny", "d_model", "3", "d_model = 3, but d_model is 48 in the checkpoint, by 'shared.weight'"},
    {"switch-moe-tiny", "use_fast_mode", "", "="},
    {"switch-moe-tiny", "use_fast_mode", "true", "use_fast_mode = true is not supported"},
    {"switch-moe-tiny", "use_fast_mode", "1", "expected use_fast_mode to be true or false, found 1"},
    {"switch-moe-tiny", "tie_encoder_decoder", "", "="},
    {"switch-moe-tiny", "tie_encoder_decoder", "true", "tie_encoder_decoder = true is not supported"},
    {"switch-moe-tiny", "tie_encoder_decoder", "1", "expected tie_encoder_decoder to be true or false, found 1"},
    {"switch-moe-tiny", "add_router_probs", "", "="},
    {"switch-moe-tiny", "add_router_probs", "true", "add_router_probs = true is not supported"},
    {"switch-moe-tiny", "add_router_probs", "1", "expected add_router_probs to be true or false, found 1"},
    {"switch-moe-tiny", "is_encoder_decoder", "", "="},
    {"switch-moe-tiny", "is_encoder_decoder", "false", "is_encoder_decoder = false is not supported"},
    {"switch-moe-tiny", "is_encoder_decoder", "0", "expected is_encoder_decoder to be true or false, found 0"},
    {"switch-moe-tiny", "router_dtype", "", "="},
    {"switch-moe-tiny", "router_dtype", "true", "expected router_dtype to be a string, found true"},
    {"switch-moe-tiny", "router_dtype", "\"4.30.2\"", "="},
    {"switch-moe-tiny", "tie_word_embeddings", "", "="},
    {"switch-moe-tiny", "tie_word_embeddings", "false", "there is no tensor 'decoder.lm_head.weight', nor one of its other names"},
    {"switch-moe-tiny", "tie_word_embeddings", "0", "expected tie_word_embeddings to be true or false, found 0"},
    {"switch-moe-tiny", "encoder_sparse_step", "", "="},
    {"switch-moe-tiny", "encoder_sparse_step", "true",
     "expected encoder_sparse_step to be an integer between 0 and 2147483647, found true"},
    {"switch-moe-tiny", "decoder_sparse_step", "", "="},
    {"switch-moe-tiny", "decoder_sparse_step", "true",
     "expected decoder_sparse_step to be an integer between 0 and 2147483647, found true"},
    {"switch-moe-tiny", "feed_forward_proj", "", "="},
    {"switch-moe-tiny", "feed_forward_proj", "true", "expected feed_forward_proj to be a string, found true"},
    {"switch-moe-tiny", "feed_forward_proj", "\"float32\"",
     "feed_forward_proj: the activation \"float32\" is not supported; expected relu, gelu, gelu_new, silu or sigmoid"},
    {"switch-moe-tiny", "feed_forward_proj", "\"none\"",
     "feed_forward_proj: the activation \"none\" is not supported; expected relu, gelu, gelu_new, silu or sigmoid"},
    {"switch-moe-tiny", "feed_forward_proj", "\"4.30.2\"",
     "feed_forward_proj: the activation \"4.30.2\" is not supported; expected relu, gelu, gelu_new, silu or sigmoid"},
    {"switch-moe-tiny", "dense_act_fn", "", "="},
    {"switch-moe-tiny", "dense_act_fn", "true", "expected dense_act_fn to be a string, found true"},
    {"switch-moe-tiny", "dense_act_fn", "\"gated-gelu\"",
     "dense_act_fn: the activation \"gated-gelu\" is not supported; expected relu, gelu, gelu_new, silu or sigmoid"},
    {"switch-moe-tiny", "dense_act_fn", "\"float32\"",
     "dense_act_fn: the activation \"float32\" is not supported; expected relu, gelu, gelu_new, silu or sigmoid"},
    {"switch-moe-tiny", "dense_act_fn", "\"none\"",
     "dense_act_fn: the activation \"none\" is not supported; expected relu, gelu, gelu_new, silu or sigmoid"},
    {"switch-moe-tiny", "dense_act_fn", "\"4.30.2\"",
     "dense_act_fn: the activation \"4.30.2\" is not supported; expected relu, gelu, gelu_new, silu or sigmoid"},
    {"switch-moe-tiny", "is_gated_act", "", "="},
    {"switch-moe-tiny", "is_gated_act", "true", "="},
    {"switch-moe-tiny", "is_gated_act", "1", "expected is_gated_act to be true or false, found 1"},
    {"switch-moe-tiny", "experts_embedding", "", "="},
    {"switch-moe-tiny", "experts_embedding", "true", "experts_embedding = true, but the checkpoint has no tensors of HyperExperts"},
    {"switch-moe-tiny", "experts_embedding", "1", "expected experts_embedding to be true or false, found 1"},
    {"switch-moe-tiny", "use_hypernet", "", "="},
    {"switch-moe-tiny", "use_hypernet", "true", "use_hypernet = true, but the checkpoint has no tensors of HyperExperts"},
    {"switch-moe-tiny", "use_hypernet", "1", "expected use_hypernet to be true or false, found 1"},
    {"switch-moe-tiny", "router_bias", "", "="},
    {"switch-moe-tiny", "router_bias", "true", "router_bias = true, but the checkpoint has no tensor 'router.classifier.bias'"},
    {"switch-moe-tiny", "router_bias", "1", "expected router_bias to be true or false, found 1"},
    {"switch-moe-tiny", "expert_capacity", "", "+option capacity = 64"},
    {"switch-moe-tiny", "expert_capacity", "true",
     "expected expert_capacity to be an integer between 1 and 2147483647, found true"},
    {"switch-moe-tiny", "expert_capacity", "1", "+option capacity = 1"},
    {"switch-moe-tiny", "expert_capacity", "2", "+option capacity = 2"},
    {"switch-moe-tiny", "expert_capacity", "3", "+option capacity = 3"},
    {"switch-moe-tiny", "relative_attention_max_distance", "", "="},
    {"switch-moe-tiny", "relative_attention_max_distance", "true",
     "expected relative_attention_max_distance to be an integer between 1 and 2147483647, found true"},
    {"switch-moe-tiny", "layer_norm_epsilon", "", "="},
    {"switch-moe-tiny", "layer_norm_epsilon", "true",
     "expected layer_norm_epsilon to be a number above 0 and at most 1, found true"},
    {"switch-moe-tiny", "layer_norm_epsilon", "1", "+option epsilon = 1.0"},
    {"switch-moe-tiny", "layer_norm_epsilon", "0.5", "+option epsilon = 0.5"},
    {"switch-moe-tiny", "transformers_version", "true", "expected transformers_version to be a string, found true"},
    {"switch-moe-tiny", "transformers_version", "\"relu\"",
     "expected transformers_version to be a version such as \"4.30.2\", found \"relu\""},
    {"switch-moe-tiny", "transformers_version", "\"4.30.2\"", "+option dropped = pass in {pass, zero}"},
    {"switch-moe-tiny", "model_type", "", "="},
    {"switch-moe-tiny", "model_type", "true", "expected model_type to be a string, found true"},
    {"switch-moe-tiny", "model_type", "\"relu\"", "model_type \"relu\" is not supported; expected switch_transformers or gpt2"},
    {"switch-moe-tiny", "model_type", "\"gated-gelu\"",
     "model_type \"gated-gelu\" is not supported; expected switch_transformers or gpt2"},
    {"switch-moe-tiny", "model_type", "\"float32\"",
     "model_type \"float32\" is not supported; expected switch_transformers or gpt2"},
    {"switch-moe-tiny", "model_type", "\"none\"", "model_type \"none\" is not supported; expected switch_transformers or gpt2"},
    {"switch-moe-tiny", "model_type", "\"4.30.2\"", "model_type \"4.30.2\" is not supported; expected switch_transformers or gpt2"},
    {"switch-moe-tiny", "num_layers", "", "="},
    {"switch-moe-tiny", "num_layers", "true", "expected num_layers to be an integer between 1 and 2147483647, found true"},
    {"switch-moe-tiny", "num_layers", "1", "num_layers = 1, but the checkpoint has layers 0 to 3 of 'encoder.block.'"},
    {"switch-moe-tiny", "num_layers", "2", "num_layers = 2, but the checkpoint has layers 0 to 3 of 'encoder.block.'"},
    {"switch-moe-tiny", "num_layers", "3", "num_layers = 3, but the checkpoint has layers 0 to 3 of 'encoder.block.'"},
    {"switch-moe-tiny", "num_heads", "", "="},
    {"switch-moe-tiny", "num_heads", "true", "expected num_heads to be an integer between 1 and 2147483647, found true"},
    {"switch-moe-tiny", "num_heads", "1",
     "num_heads = 1, but heads is 3 in the checkpoint, by 'encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight'"},
    {"switch-moe-tiny", "num_heads", "2",
     "num_heads = 2, but heads is 3 in the checkpoint, by 'encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight'"},
    {"switch-moe-tiny", "d_kv", "", "="},
    {"switch-moe-tiny", "d_kv", "true", "expected d_kv to be an integer between 1 and 2147483647, found true"},
    {"switch-moe-tiny", "d_kv", "1",
     "d_kv = 1, but d_kv is 16 in the checkpoint, by 'encoder.block.0.layer.0.SelfAttention.q.weight'"},
    {"switch-moe-tiny", "d_kv", "2",
     "d_kv = 2, but d_kv is 16 in the checkpoint, by 'encoder.block.0.layer.0.SelfAttention.q.weight'"},
    {"switch-moe-tiny", "d_kv", "3",
     "d_kv = 3, but d_kv is 16 in the checkpoint, by 'encoder.block.0.layer.0.SelfAttention.q.weight'"},
    {"switch-moe-tiny", "d_model", "", "="},
    {"switch-moe-tiny", "d_model", "true", "expected d_model to be an integer between 1 and 2147483647, found true"},
    {"switch-moe-tiny", "d_model", "1", "d_model = 1, but d_model is 48 in the checkpoint, by 'shared.weight'"},
    {"switch-moe-tiny", "d_model", "2", "d_model = 2, but d_model is 48 in the checkpoint, by 'shared.weight'"},
    {"switch-moe-tiny", "d_model", "3", "d_model = 3, but d_model is 48 in the checkpoint, by 'shared.weight'"},
    {"switch-hypermoe-tiny", "relative_attention_max_distance", "200", "+dim buckets = 32, max_distance = 200"},
    {"switch-moe-tiny", "relative_attention_max_distance", "129", "+dim buckets = 32, max_distance = 129"},
    {"switch-hypermoe-tiny", "encoder_sparse_step", "2", "="},
    {"switch-hypermoe-tiny", "encoder_sparse_step", "3", "="},
    {"switch-hypermoe-tiny", "encoder_sparse_step", "0", "="},
    {"switch-hypermoe-tiny", "expert_capacity", "2147483647", "+option capacity = 2147483647"},
    {"switch-hypermoe-tiny", "expert_capacity", "2147483648",
     "expected expert_capacity to be an integer between 1 and 2147483647, found 2147483648"},
    {"switch-hypermoe-tiny", "expert_capacity", "2147483646.5",
     "expected expert_capacity to be an integer between 1 and 2147483647, found 2147483646.5"},
    {"switch-hypermoe-tiny", "layer_norm_epsilon", "1.5",
     "expected layer_norm_epsilon to be a number above 0 and at most 1, found 1.5"},
    {"switch-hypermoe-tiny", "layer_norm_epsilon", "0",
     "expected layer_norm_epsilon to be a number above 0 and at most 1, found 0"},
    {"switch-hypermoe-tiny", "encoder_sparse_step", "1", "="},
    {"switch-hypermoe-tiny", "decoder_sparse_step", "2", "="},
    {"switch-hypermoe-tiny", "decoder_sparse_step", "1", "="},
    {"switch-hypermoe-tiny", "decoder_sparse_step", "0", "="},
    {"switch-hypermoe-tiny", "dense_act_fn", "\"gelu\"", "+option activation = gelu in {relu, gelu, gelu_new, silu, sigmoid}"},
    {"switch-hypermoe-tiny", "dense_act_fn", "\"gelu_new\"",
     "+option activation = gelu_new in {relu, gelu, gelu_new, silu, sigmoid}"},
    {"switch-hypermoe-tiny", "dense_act_fn", "\"silu\"", "+option activation = silu in {relu, gelu, gelu_new, silu, sigmoid}"},
    {"switch-hypermoe-tiny", "feed_forward_proj", "\"gelu\"", "="},
    {"switch-hypermoe-tiny", "feed_forward_proj", "\"gated-relu\"", "="},
    {"switch-hypermoe-tiny", "router_dtype", "\"bfloat16\"", "="},
    {"switch-moe-tiny", "num_decoder_layers", "9",
     "num_decoder_layers = 9, but the checkpoint has layers 0 to 3 of 'decoder.block.'"},
    {"switch-moe-tiny", "num_experts", "3",
     "num_experts = 3, but experts is 4 in the checkpoint, by 'encoder.block.1.layer.1.mlp.router.classifier.weight'"},
    {"switch-moe-tiny", "vocab_size", "7", "vocab_size = 7, but vocab is 211 in the checkpoint, by 'shared.weight'"},
    {"switch-moe-tiny", "d_ff", "7", "d_ff = 7, but d_ff is 96 in the checkpoint, by 'encoder.block.0.layer.1.mlp.wi.weight'"},
    {"gpt2-hypermoe-tiny-k2", "k", "5", "k = 5, but HyperExperts need experts that are not selected, and there are 5"},
    {"gpt2-hypermoe-tiny-k2", "k", "6", "k = 6, but there are 5 experts, by 'transformer.h.0.mlp.w_gate'"},
    {"gpt2-hypermoe-tiny-k2", "n_head", "5", "n_head = 5, but d_model = 48 is not 5 equal heads"},
    {"gpt2-hypermoe-tiny-k2", "n_layer", "2", "n_layer = 2, but the checkpoint has layers 0 to 2 of 'transformer.h.'"},
    {"gpt2-hypermoe-tiny-k2", "n_embd", "47", "n_embd = 47, but d_model is 48 in the checkpoint, by 'transformer.wte.weight'"},
    {"gpt2-hypermoe-tiny-k2", "vocab_size", "5", "vocab_size = 5, but vocab is 197 in the checkpoint, by 'transformer.wte.weight'"},
    {"gpt2-hypermoe-tiny-k2", "n_positions", "3",
     "n_positions = 3, but positions is 64 in the checkpoint, by 'transformer.wpe.weight'"},
    {"gpt2-hypermoe-tiny-k2", "use_moe", "\"moe\"", "use_moe = \"moe\", but the checkpoint has experts"},
    {"gpt2-hypermoe-tiny-k2", "activation_function", "\"gelu\"",
     "+option activation = gelu in {relu, gelu, gelu_new, silu, sigmoid}"},
    {"gpt2-hypermoe-tiny-k2", "activation_function", "\"silu\"",
     "+option activation = silu in {relu, gelu, gelu_new, silu, sigmoid}"},
    /* What it says of generation. */
    {"switch-moe-tiny", "max_new_tokens", "", "="},
    {"switch-moe-tiny", "max_new_tokens", "true", "expected max_new_tokens to be an integer of at least 0, found true"},
    {"switch-moe-tiny", "max_new_tokens", "0", "+  max_new_tokens = 0"},
    {"switch-moe-tiny", "max_new_tokens", "1", "+  max_new_tokens = 1"},
    {"switch-moe-tiny", "max_new_tokens", "7", "+  max_new_tokens = 7"},
    {"switch-moe-tiny", "max_length", "", "="},
    {"switch-moe-tiny", "max_length", "true", "expected max_length to be an integer of at least 0, found true"},
    {"switch-moe-tiny", "max_length", "0", "+  max_length = 0"},
    {"switch-moe-tiny", "max_length", "1", "+  max_length = 1"},
    {"switch-moe-tiny", "max_length", "7", "+  max_length = 7"},
    {"switch-moe-tiny", "min_new_tokens", "", "="},
    {"switch-moe-tiny", "min_new_tokens", "true", "expected min_new_tokens to be an integer of at least 0, found true"},
    {"switch-moe-tiny", "min_new_tokens", "1", "+  min_new_tokens = 1"},
    {"switch-moe-tiny", "min_new_tokens", "7", "+  min_new_tokens = 7"},
    {"switch-moe-tiny", "min_length", "", "="},
    {"switch-moe-tiny", "min_length", "true", "expected min_length to be an integer of at least 0, found true"},
    {"switch-moe-tiny", "min_length", "1", "+  min_length = 1"},
    {"switch-moe-tiny", "min_length", "7", "+  min_length = 7"},
    {"switch-moe-tiny", "num_beams", "", "="},
    {"switch-moe-tiny", "num_beams", "true", "expected num_beams to be an integer of at least 1, found true"},
    {"switch-moe-tiny", "num_beams", "7", "+  beams = 7"},
    {"switch-moe-tiny", "no_repeat_ngram_size", "", "="},
    {"switch-moe-tiny", "no_repeat_ngram_size", "true", "expected no_repeat_ngram_size to be an integer of at least 0, found true"},
    {"switch-moe-tiny", "no_repeat_ngram_size", "1", "+  no_repeat_ngram = 1"},
    {"switch-moe-tiny", "no_repeat_ngram_size", "7", "+  no_repeat_ngram = 7"},
    {"switch-moe-tiny", "top_k", "", "="},
    {"switch-moe-tiny", "top_k", "0", "+  top_k = 0"},
    {"switch-moe-tiny", "top_k", "1", "+  top_k = 1"},
    {"switch-moe-tiny", "top_k", "7", "+  top_k = 7"},
    {"switch-moe-tiny", "length_penalty", "", "="},
    {"switch-moe-tiny", "length_penalty", "true", "expected length_penalty to be a number, found true"},
    {"switch-moe-tiny", "length_penalty", "-1", "+  length_penalty = -1"},
    {"switch-moe-tiny", "length_penalty", "0", "+  length_penalty = 0"},
    {"switch-moe-tiny", "length_penalty", "0.5", "+  length_penalty = 0.5"},
    {"switch-moe-tiny", "length_penalty", "2", "+  length_penalty = 2"},
    {"switch-moe-tiny", "repetition_penalty", "", "="},
    {"switch-moe-tiny", "repetition_penalty", "true", "expected repetition_penalty to be a number above 0, found true"},
    {"switch-moe-tiny", "repetition_penalty", "0.5", "+  repetition_penalty = 0.5"},
    {"switch-moe-tiny", "repetition_penalty", "2", "+  repetition_penalty = 2"},
    {"switch-moe-tiny", "temperature", "", "="},
    {"switch-moe-tiny", "temperature", "0.5", "+  temperature = 0.5"},
    {"switch-moe-tiny", "temperature", "2", "+  temperature = 2"},
    {"switch-moe-tiny", "top_p", "", "="},
    {"switch-moe-tiny", "top_p", "0.5", "+  top_p = 0.5"},
    {"switch-moe-tiny", "min_p", "", "="},
    {"switch-moe-tiny", "min_p", "0.5", "+  min_p = 0.5"},
    {"switch-moe-tiny", "min_p", "1", "+  min_p = 1"},
    {"switch-moe-tiny", "forced_bos_token_id", "", "="},
    {"switch-moe-tiny", "forced_bos_token_id", "true",
     "expected forced_bos_token_id to be a token of at least 0, or none, found true"},
    {"switch-moe-tiny", "forced_bos_token_id", "7", "+  forced_bos_token = 7"},
    {"switch-moe-tiny", "forced_bos_token_id", "900", "+  forced_bos_token = 900"},
    {"switch-moe-tiny", "forced_eos_token_id", "", "="},
    {"switch-moe-tiny", "forced_eos_token_id", "true",
     "expected forced_eos_token_id to be tokens of at least 0, or none, found true"},
    {"switch-moe-tiny", "forced_eos_token_id", "7", "+  forced_eos_token = 7"},
    {"switch-moe-tiny", "forced_eos_token_id", "[7,8]", "+  forced_eos_token = [7, 8]"},
    {"switch-moe-tiny", "forced_eos_token_id", "900", "+  forced_eos_token = 900"},
    {"switch-moe-tiny", "suppress_tokens", "", "="},
    {"switch-moe-tiny", "suppress_tokens", "true", "expected suppress_tokens to be tokens of at least 0, or none, found true"},
    {"switch-moe-tiny", "suppress_tokens", "7", "+  suppress_tokens = 7"},
    {"switch-moe-tiny", "suppress_tokens", "[7,8]", "+  suppress_tokens = [7, 8]"},
    {"switch-moe-tiny", "suppress_tokens", "900", "+  suppress_tokens = 900"},
    {"switch-moe-tiny", "begin_suppress_tokens", "", "="},
    {"switch-moe-tiny", "begin_suppress_tokens", "true",
     "expected begin_suppress_tokens to be tokens of at least 0, or none, found true"},
    {"switch-moe-tiny", "begin_suppress_tokens", "7", "+  begin_suppress_tokens = 7"},
    {"switch-moe-tiny", "begin_suppress_tokens", "[7,8]", "+  begin_suppress_tokens = [7, 8]"},
    {"switch-moe-tiny", "begin_suppress_tokens", "900", "+  begin_suppress_tokens = 900"},
    {"switch-moe-tiny", "eos_token_id", "", "="},
    {"switch-moe-tiny", "eos_token_id", "null", "+  end_token = none"},
    {"switch-moe-tiny", "eos_token_id", "true", "expected eos_token_id to be tokens of at least 0, or none, found true"},
    {"switch-moe-tiny", "eos_token_id", "7", "+  end_token = 7"},
    {"switch-moe-tiny", "eos_token_id", "[7,8]", "+  end_token = [7, 8]"},
    {"switch-moe-tiny", "eos_token_id", "900", "+  end_token = 900"},
    {"switch-moe-tiny", "pad_token_id", "", "="},
    {"switch-moe-tiny", "pad_token_id", "null", "+  pad_token = none"},
    {"switch-moe-tiny", "pad_token_id", "true", "expected pad_token_id to be a token of at least 0, or none, found true"},
    {"switch-moe-tiny", "pad_token_id", "7", "+  pad_token = 7"},
    {"switch-moe-tiny", "pad_token_id", "900", "+  pad_token = 900"},
    {"switch-moe-tiny", "decoder_start_token_id", "", "="},
    {"switch-moe-tiny", "decoder_start_token_id", "true",
     "expected decoder_start_token_id to be a token of at least 0, or none, found true"},
    {"switch-moe-tiny", "decoder_start_token_id", "7", "+  start_token = 7"},
    {"switch-moe-tiny", "decoder_start_token_id", "900", "+  start_token = 900"},
    {"switch-moe-tiny", "bos_token_id", "", "="},
    {"switch-moe-tiny", "bad_words_ids", "[[1,2],[3]]", "+  bad_words = [[1, 2], [3]]"},
    {"switch-moe-tiny", "bad_words_ids", "[1]",
     "expected bad_words_ids to be lists of tokens of at least 0, none of them empty, or none, found [1]"},
    {"switch-moe-tiny", "bad_words_ids", "[[]]",
     "expected bad_words_ids to be lists of tokens of at least 0, none of them empty, or none"},
    {"switch-moe-tiny", "bad_words_ids", "[]", "="},
    {"switch-moe-tiny", "early_stopping", "true", "+  early_stopping = true"},
    {"switch-moe-tiny", "early_stopping", "false", "="},
    {"switch-moe-tiny", "early_stopping", "\"never\"", "+  early_stopping = never"},
    {"switch-moe-tiny", "early_stopping", "\"soon\"", "expected early_stopping to be true, false or never, found \"soon\""},
    {"switch-moe-tiny", "do_sample", "true", "+  sample = true"},
    {"switch-moe-tiny", "do_sample", "false", "="},
    {"switch-moe-tiny", "do_sample", "1", "expected do_sample to be true or false, found 1"},
    {"gpt2-hypermoe-tiny-k2", "decoder_start_token_id", "7", "="},
    {"gpt2-hypermoe-tiny-k2", "bos_token_id", "7", "+  start_token = 7"},
    {"gpt2-hypermoe-tiny-k2", "eos_token_id", "7", "+  end_token = 7"},
    {"gpt2-hypermoe-tiny-k2", "bos_token_id", "", "="},
    {"gpt2-hypermoe-tiny-k2", "eos_token_id", "", "="},
    {"gpt2-hypermoe-tiny-k2", "pad_token_id", "", "="},
};

/* What is warned of, of a Switch model; of no other row. */
#define IGNORED "is ignored, as the library does: layers with one matrix wi are not gated and have dense_act_fn, "
#define OTHER_LAYERS "makes other layers mixtures of experts than the checkpoint has; the checkpoint counts"
static const struct {
  const char *key, *value, *text;
} warnings[] = {
    {"router_dtype", "\"4.30.2\"", "router_dtype = 4.30.2: routers are computed in float32"},
    {"is_gated_act", "true", "is_gated_act " IGNORED "\"relu\""},
    {"encoder_sparse_step", "3", "encoder_sparse_step = 3 " OTHER_LAYERS},
    {"encoder_sparse_step", "0", "encoder_sparse_step = 0 " OTHER_LAYERS},
    {"encoder_sparse_step", "1", "encoder_sparse_step = 1 " OTHER_LAYERS},
    {"decoder_sparse_step", "1", "decoder_sparse_step = 1 " OTHER_LAYERS},
    {"decoder_sparse_step", "0", "decoder_sparse_step = 0 " OTHER_LAYERS},
    {"dense_act_fn", "\"gelu\"", "feed_forward_proj " IGNORED "\"gelu\""},
    {"dense_act_fn", "\"gelu_new\"", "feed_forward_proj " IGNORED "\"gelu_new\""},
    {"dense_act_fn", "\"silu\"", "feed_forward_proj " IGNORED "\"silu\""},
    {"feed_forward_proj", "\"gelu\"", "feed_forward_proj " IGNORED "\"relu\""},
    {"feed_forward_proj", "\"gated-relu\"", "feed_forward_proj " IGNORED "\"relu\""},
    {"router_dtype", "\"bfloat16\"", "router_dtype = bfloat16: routers are computed in float32"},
};

static const char *warning_of(const row *row) {
  for (size_t i = 0; i < sizeof warnings / sizeof *warnings; i++)
    if (*row->model == 's' && strcmp(warnings[i].key, row->key) == 0 && strcmp(warnings[i].value, row->value) == 0)
      return warnings[i].text;
  return "";
}

static void test_keys(void **state) {
  (void)state;
  hmoec_arena *arena = hmoec_arena_create();
  const char *base = NULL, *of = "";
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    said said;
    size_t place;
    char found[1024];
    if (strcmp(of, rows[i].model) != 0) {
      const row same = {.model = of = rows[i].model, .key = "nothing", .value = "0"};
      base = import_changed(arena, &same, &said, &place);
      assert_non_null(base);
    }
    const char *spec = import_changed(arena, &rows[i], &said, &place);
    if (spec) new_line(spec, base, found, sizeof found);
    else snprintf(found, sizeof found, "%s", said.text);
    if (strcmp(found, rows[i].result) != 0)
      fail_msg("%s, %s = %s: expected\n%s\nfound\n%s", of, rows[i].key, rows[i].value, rows[i].result, found);
    if (strcmp(said.warning, warning_of(&rows[i])) != 0)
      fail_msg("%s, %s = %s: expected the warning '%s', found '%s'", of, rows[i].key, rows[i].value, warning_of(&rows[i]),
               said.warning);
    if (said.line) assert_int_equal(said.line, 1);
    if (said.column) assert_int_equal(said.column, place); /* of the checkpoint otherwise */
  }
  hmoec_arena_destroy(arena);
}

static int setup(void **state) {
  (void)state;
  return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state) {
  (void)state;
  static const char *const names[] = {"config.json", "model.safetensors"};
  char path[600];
  for (size_t i = 0; i < 2; i++) {
    snprintf(path, sizeof path, "%s/%s", folder, names[i]);
    unlink(path);
  }
  return rmdir(folder);
}

/* Which layers are mixtures, as a block of the spec: a rule where there is one, else a list. */
static void test_sparse(void **state) {
  (void)state;
  static const struct {
    const char *layers, *body;
  } patterns[] = {
      {"0", " return false }\n"},
      {"1", " return true }\n"},
      {"000", " return false }\n"},
      {"1111", " return true }\n"},
      {"0101", " return l % 2 == 1 }\n"},
      {"1010", " return l % 2 == 0 }\n"},
      {"01010", " return l % 2 == 1 }\n"},
      {"010010", " return l % 3 == 1 }\n"},
      {"001001", " return l % 3 == 2 }\n"},
      {"1001001", " return l % 3 == 0 }\n"},
      {"00010001", " return l % 4 == 3 }\n"},
      {"01", "\n  if l == 1 { return true }\n  return false\n}\n"},
      {"10", "\n  if l == 0 { return true }\n  return false\n}\n"},
      {"010", "\n  if l == 1 { return true }\n  return false\n}\n"},
      {"0010", "\n  if l == 2 { return true }\n  return false\n}\n"},
      {"0110", "\n  if l >= 1 and l < 3 { return true }\n  return false\n}\n"},
      {"110111", "\n  if l >= 0 and l < 2 { return true }\n  if l >= 3 and l < 6 { return true }\n  return false\n}\n"},
      {"01011", "\n  if l == 1 { return true }\n  if l >= 3 and l < 5 { return true }\n  return false\n}\n"},
      {"10100", "\n  if l == 0 { return true }\n  if l == 2 { return true }\n  return false\n}\n"},
  };
  for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
    bool sparse[16];
    size_t count = strlen(patterns[i].layers), size;
    for (size_t l = 0; l < count; l++) sparse[l] = patterns[i].layers[l] == '1';
    char *text = NULL, expected[256];
    hmoec_import_state import = {.out = open_memstream(&text, &size)};
    hmoec_import_write_sparse(&import, "sparse_layer", sparse, (int64_t)count);
    fclose(import.out);
    snprintf(expected, sizeof expected, "block sparse_layer(l) {%s", patterns[i].body);
    assert_string_equal(text, expected);
    free(text);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_keys), cmocka_unit_test(test_sparse)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
