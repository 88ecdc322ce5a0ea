/* Routers and HyperExperts, and the lines of a spec about them. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/import_parts.h"
#include "frontend/spec_lexer.h"

hmoec_import_mixture hmoec_import_mixture_new(void) {
  return (hmoec_import_mixture){.experts = {.name = "experts"},
                                .bottleneck = {.name = "bottleneck"},
                                .hyper_hidden = {.name = "hyper_hidden"},
                                .expert_embedding = {.name = "expert_embedding"},
                                .selection_hidden = {.name = "selection_hidden"},
                                .selection_embedding = {.name = "selection_embedding"},
                                .layer_embedding = {.name = "layer_embedding"},
                                .router_hidden = {.name = "router_hidden"}};
}

bool hmoec_import_mixture_agree(const hmoec_import_state *import, const char *experts_key, hmoec_import_mixture *mixture) {
  if (!mixture->router_hidden.size) mixture->router_hidden.size = 256;
  return hmoec_import_agree(import, experts_key, 8, &mixture->experts) &&
         hmoec_import_agree(import, "adapter_dim", 64, &mixture->bottleneck) &&
         hmoec_import_agree(import, "hypernetwork_bottleneck", 64, &mixture->hyper_hidden) &&
         hmoec_import_agree(import, "experts_embedding_dim", 128, &mixture->expert_embedding) &&
         hmoec_import_agree(import, "process_dim", 128, &mixture->selection_hidden) &&
         hmoec_import_agree(import, "hypernet_input", 128, &mixture->selection_embedding) &&
         hmoec_import_agree(import, "layer_emb_dim", 10, &mixture->layer_embedding);
}

#define KEY(name) hmoec_import_key(import, "%s%s", scope, name)

bool hmoec_import_selection(const hmoec_import_state *import, const char *scope, hmoec_import_mixture *mixture) {
  hmoec_import_mixture *m = mixture;
  return HMOEC_TENSOR(import, KEY("n_experts_embedding.weight"), &m->experts, &m->expert_embedding) &&
         HMOEC_TENSOR(import, KEY("embedding_process.0.weight"), &m->selection_hidden, &m->expert_embedding) &&
         HMOEC_TENSOR(import, KEY("embedding_process.0.bias"), &m->selection_hidden) &&
         HMOEC_TENSOR(import, KEY("embedding_process.2.weight"), &m->selection_embedding, &m->selection_hidden) &&
         HMOEC_TENSOR(import, KEY("embedding_process.2.bias"), &m->selection_embedding);
}

/* weight_up and weight_down, the two matrices, are generated with a width that one of the biases or the config says. */
bool hmoec_import_generator(const hmoec_import_state *import, const char *scope, int64_t layers, hmoec_import_dim *d_model,
                            hmoec_import_mixture *mixture) {
  hmoec_import_mixture *m = mixture;
  hmoec_import_dim rows = {.name = "layers", .size = layers};
  if (!HMOEC_TENSOR(import, KEY("layer_embed.weight"), &rows, &m->layer_embedding)) return false;
  hmoec_import_dim input = {.name = "selection_embedding + layer_embedding",
                            .size = m->selection_embedding.size + m->layer_embedding.size,
                            .from = KEY("layer_embed.weight")};
  if (!HMOEC_TENSOR(import, KEY("decoder.linear1.weight"), &m->hyper_hidden, &input) ||
      !HMOEC_TENSOR(import, KEY("decoder.linear1.bias"), &m->hyper_hidden))
    return false;
  if (m->generated_bias && (!HMOEC_TENSOR(import, KEY("decoder.bias_down.weight"), &m->bottleneck, &m->hyper_hidden) ||
                            !HMOEC_TENSOR(import, KEY("decoder.bias_down.bias"), &m->bottleneck) ||
                            !HMOEC_TENSOR(import, KEY("decoder.bias_up.weight"), d_model, &m->hyper_hidden) ||
                            !HMOEC_TENSOR(import, KEY("decoder.bias_up.bias"), d_model)))
    return false;
  hmoec_import_dim product = {.name = "d_model * bottleneck"};
  if (m->bottleneck.size) product = hmoec_import_product(import, d_model, &m->bottleneck);
  if (!HMOEC_TENSOR(import, KEY("decoder.weight_down.weight"), &product, &m->hyper_hidden)) return false;
  if (product.size % d_model->size)
    return hmoec_error(import->diagnostics, (hmoec_location){.file = hmoec_tensor_files_path(import->tensors)},
                       "'%s': its %" PRId64 " rows are not a multiple of d_model = %" PRId64, KEY("decoder.weight_down.weight"),
                       product.size, d_model->size);
  if (!m->bottleneck.size)
    m->bottleneck = (hmoec_import_dim){.name = "bottleneck", .size = product.size / d_model->size, .from = product.from};
  return HMOEC_TENSOR(import, KEY("decoder.weight_down.bias"), &product) &&
         HMOEC_TENSOR(import, KEY("decoder.weight_up.weight"), &product, &m->hyper_hidden) &&
         HMOEC_TENSOR(import, KEY("decoder.weight_up.bias"), &product);
}

bool hmoec_import_hyper_router(const hmoec_import_state *import, const char *scope, hmoec_import_dim *d_model,
                               hmoec_import_mixture *mixture) {
  hmoec_import_dim one = {.name = "", .size = 1}, rows = {.name = "experts * (d_model + 1)"};
  if (mixture->experts.size)
    rows =
        (hmoec_import_dim){.name = rows.name, .size = mixture->experts.size * (d_model->size + 1), .from = mixture->experts.from};
  if (!HMOEC_TENSOR(import, KEY("gate.embedding"), &one, d_model) ||
      !HMOEC_TENSOR(import, KEY("gate.hypernet.0.weight"), &mixture->router_hidden, d_model) ||
      !HMOEC_TENSOR(import, KEY("gate.hypernet.0.bias"), &mixture->router_hidden) ||
      !HMOEC_TENSOR(import, KEY("gate.hypernet.2.weight"), &rows, &mixture->router_hidden) ||
      !HMOEC_TENSOR(import, KEY("gate.hypernet.2.bias"), &rows))
    return false;
  if (rows.size % (d_model->size + 1))
    return hmoec_error(import->diagnostics, (hmoec_location){.file = hmoec_tensor_files_path(import->tensors)},
                       "'%s': its %" PRId64 " rows are not a multiple of d_model + 1 = %" PRId64, KEY("gate.hypernet.2.weight"),
                       rows.size, d_model->size + 1);
  if (!mixture->experts.size)
    mixture->experts = (hmoec_import_dim){.name = "experts", .size = rows.size / (d_model->size + 1), .from = rows.from};
  return true;
}

bool hmoec_import_experts_end(const hmoec_import_state *import, const char *scope, const hmoec_import_mixture *mixture) {
  if (!hmoec_import_has_prefix(import, hmoec_import_key(import, "%sexperts.expert_%" PRId64 ".", scope, mixture->experts.size)))
    return true;
  return hmoec_error(import->diagnostics, (hmoec_location){.file = hmoec_tensor_files_path(import->tensors)},
                     "'%sexperts.expert_%" PRId64 "': there are more than experts = %" PRId64 ", which follows from '%s'", scope,
                     mixture->experts.size, mixture->experts.size, mixture->experts.from);
}

/* ---- lines of the spec ---- */

void hmoec_import_write_mixture(const hmoec_import_state *import, const hmoec_import_mixture *m) {
  fprintf(import->out,
          "dim bottleneck = %" PRId64 ", hyper_hidden = %" PRId64 "\n"
          "dim expert_embedding = %" PRId64 ", selection_hidden = %" PRId64 ", selection_embedding = %" PRId64
          ", layer_embedding = %" PRId64 "\n"
          "dim router_hidden = %" PRId64 "\n\n"
          "option condition = %s in {unselected, selected, hidden_state, expert_weights, none}\n"
          "option aggregate = sum in {mean, sum}\n"
          "option generated_bias = %d in {0, 1}\n"
          "option strategy = auto in {auto, table, cache, factored, per_token}\n"
          "option router = %s in {classifier, hypernetwork}\n",
          m->bottleneck.size, m->hyper_hidden.size, m->expert_embedding.size, m->selection_hidden.size, m->selection_embedding.size,
          m->layer_embedding.size, m->router_hidden.size, m->hyper ? "unselected" : "none", m->generated_bias || !m->hyper,
          m->hypernetwork ? "hypernetwork" : "classifier");
}

/* l % step == rest for every sparse layer and no other; the smallest such step, 0 if there is none. */
static int64_t step_of(const bool *sparse, int64_t count, int64_t *out_rest) {
  for (int64_t step = 2; step <= count / 2; step++) {
    int64_t rest = 0;
    while (rest < step && !sparse[rest]) rest++;
    bool fits = rest < step;
    for (int64_t l = 0; l < count && fits; l++) fits = sparse[l] == (l % step == rest);
    *out_rest = rest;
    if (fits) return step;
  }
  return 0;
}

void hmoec_import_write_sparse(const hmoec_import_state *import, const char *name, const bool *sparse, int64_t count) {
  int64_t number = 0, rest = 0;
  for (int64_t l = 0; l < count; l++) number += sparse[l];
  if (number == 0 || number == count) {
    fprintf(import->out, "block %s(l) { return %s }\n", name, number ? "true" : "false");
    return;
  }
  int64_t step = step_of(sparse, count, &rest);
  if (step) {
    fprintf(import->out, "block %s(l) { return l %% %" PRId64 " == %" PRId64 " }\n", name, step, rest);
    return;
  }
  fprintf(import->out, "block %s(l) {\n", name);
  for (int64_t l = 0, end; l < count; l = end) {
    for (end = l + 1; end < count && sparse[end] == sparse[l];) end++;
    if (sparse[l] && end == l + 1) fprintf(import->out, "  if l == %" PRId64 " { return true }\n", l);
    else if (sparse[l]) fprintf(import->out, "  if l >= %" PRId64 " and l < %" PRId64 " { return true }\n", l, end);
  }
  fputs("  return false\n}\n", import->out);
}

bool hmoec_import_write_epsilon(const hmoec_import_state *import, double missing) {
  double epsilon;
  if (!hmoec_config_number(import, "layer_norm_epsilon", missing, &epsilon)) return false;
  const char *text = hmoec_number_text(import->arena, epsilon);
  fprintf(import->out, "option epsilon = %s%s\n", text, strpbrk(text, ".e") ? "" : ".0");
  return true;
}

bool hmoec_import_write_dropped(const hmoec_import_state *import) {
  const char *version;
  char *end = NULL;
  if (!hmoec_config_word(import, "transformers_version", NULL, &version)) return false;
  unsigned long major = version ? strtoul(version, &end, 10) : 0;
  if (version && (end == version || (*end && *end != '.')))
    return hmoec_error(import->diagnostics, hmoec_json_key_location(&import->config, "transformers_version"),
                       "expected transformers_version to be a version such as \"4.30.2\", found \"%.60s\"", version);
  fprintf(import->out, "option dropped = %s in {pass, zero}%s\n", major >= 5 ? "zero" : "pass",
          version ? "" : "  # as up to version 4 of the library: config.json has no transformers_version");
  return true;
}
