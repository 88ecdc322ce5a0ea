#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/import_parts.h"
#include "plain_text.h"

const char *hmoec_import_key(const hmoec_import_state *import, const char *format, ...) {
  char key[512];
  va_list arguments;
  va_start(arguments, format);
  hmoe_plain_vformat(key, sizeof key, format, arguments);
  va_end(arguments);
  return hmoec_arena_strdup(import->arena, key);
}

bool hmoec_import_has(const hmoec_import_state *import, const char *key) { return hmoec_tensor_files_have(import->tensors, key); }

bool hmoec_import_has_prefix(const hmoec_import_state *import, const char *prefix) {
  const char *name, *core = hmoe_name_core(prefix);
  for (size_t i = 0; (name = hmoec_tensor_files_name(import->tensors, i)); i++)
    if (strncmp(hmoe_name_core(name), core, strlen(core)) == 0) return true;
  return false;
}

bool hmoec_import_mentions(const hmoec_import_state *import, const char *text) {
  const char *name;
  for (size_t i = 0; (name = hmoec_tensor_files_name(import->tensors, i)); i++)
    if (strstr(name, text)) return true;
  return false;
}

/* "[d_ff = 96, d_model = 48]", unknown sizes by name alone. */
static const char *expected_string(const hmoec_import_state *import, hmoec_import_dim *const *dims, size_t rank) {
  const char *text = "[";
  for (size_t i = 0; i < rank; i++) {
    const char *size =
        dims[i]->size ? hmoec_arena_printf(import->arena, "%s%" PRId64, *dims[i]->name ? " = " : "", dims[i]->size) : "";
    text = hmoec_arena_printf(import->arena, "%s%s%s%s", text, i ? ", " : "", dims[i]->name, size);
  }
  return hmoec_arena_printf(import->arena, "%s]", text);
}

static const char *found_string(const hmoec_import_state *import, const hmoe_tensor *tensor) {
  const char *text = "[";
  size_t rank = tensor->rank < HMOE_TENSOR_RANK_MAX ? tensor->rank : HMOE_TENSOR_RANK_MAX;
  for (size_t i = 0; i < rank; i++) text = hmoec_arena_printf(import->arena, "%s%s%" PRIu64, text, i ? ", " : "", tensor->shape[i]);
  return hmoec_arena_printf(import->arena, "%s%s]", text, rank < tensor->rank ? ", ..." : "");
}

static bool shape_error(const hmoec_import_state *import, const char *file, const hmoe_tensor *tensor,
                        hmoec_import_dim *const *dims, size_t rank, const hmoec_import_dim *wrong) {
  bool known = wrong && wrong->from;
  return hmoec_error(import->diagnostics, (hmoec_location){.file = file}, "'%s': expected %s, found %s%s", tensor->name,
                     expected_string(import, dims, rank), found_string(import, tensor),
                     known ? hmoec_arena_printf(import->arena, "; %s follows from '%s'", wrong->name, wrong->from) : "");
}

bool hmoec_import_tensor(const hmoec_import_state *import, const char *key, hmoec_import_dim *const *dims, size_t rank) {
  const hmoe_tensor *tensor;
  if (!hmoec_tensor_files_find(import->tensors, key, &tensor)) return false;
  if (!tensor)
    return hmoec_error(import->diagnostics, (hmoec_location){.file = hmoec_tensor_files_path(import->tensors)},
                       "there is no tensor '%.*s'%s", (int)strcspn(key, "\n"), key,
                       strchr(key, '\n') ? ", nor one of its other names" : "");
  const char *file = tensor->mapping->name;
  if (!tensor->dtype->read)
    return hmoec_error(import->diagnostics, (hmoec_location){.file = file}, "'%s': expected floating-point elements, found %s",
                       tensor->name, tensor->dtype->name);
  if (tensor->rank != rank) return shape_error(import, file, tensor, dims, rank, NULL);
  for (size_t i = 0; i < rank; i++) {
    uint64_t size = tensor->shape[i];
    if (size < 1 || size > INT32_MAX || (dims[i]->size && (uint64_t)dims[i]->size != size))
      return shape_error(import, file, tensor, dims, rank, dims[i]);
    if (dims[i]->size) continue;
    dims[i]->size = (int64_t)size;
    dims[i]->from = tensor->name;
  }
  return true;
}

bool hmoec_import_tied(const hmoec_import_state *import, const char *key, hmoec_import_dim *vocab, hmoec_import_dim *d_model) {
  if (HMOEC_TENSOR(import, key, vocab, d_model)) return true;
  if (!hmoec_tensor_files_tied(import->tensors, key))
    hmoec_note(import->diagnostics, hmoec_json_key_location(&import->config, "tie_word_embeddings"),
               "tie_word_embeddings is %s: with false each would be a tensor of its own",
               hmoec_config_has(import, "tie_word_embeddings") ? "true" : "not given, which means true");
  return false;
}

hmoec_import_dim hmoec_import_product(const hmoec_import_state *import, const hmoec_import_dim *a, const hmoec_import_dim *b) {
  return (hmoec_import_dim){
      .name = hmoec_arena_printf(import->arena, "%s * %s", a->name, b->name), .size = a->size * b->size, .from = b->from};
}

bool hmoec_import_agree(const hmoec_import_state *import, const char *key, int64_t missing, hmoec_import_dim *dim) {
  int64_t stated;
  if (!hmoec_config_integer(import, key, 1, missing, &stated)) return false;
  if (dim->size && dim->size != stated && hmoec_config_has(import, key))
    return hmoec_config_contradiction(import, key, "%s is %" PRId64 " in the checkpoint, by '%s'", dim->name, dim->size, dim->from);
  if (!dim->size) *dim = (hmoec_import_dim){.name = dim->name, .size = stated, .from = key};
  return true;
}

bool hmoec_import_layers(const hmoec_import_state *import, const char *prefix, const char *key, int64_t *out_count) {
  const char *name, *core = hmoe_name_core(prefix);
  size_t length = strlen(core);
  *out_count = 0;
  for (size_t i = 0; (name = hmoec_tensor_files_name(import->tensors, i)); i++) {
    const char *digits = hmoe_name_core(name) + length;
    if (strncmp(hmoe_name_core(name), core, length) != 0) continue;
    size_t count = strspn(digits, "0123456789");
    if (!count || digits[count] != '.') continue;
    int64_t layer = count < 10 ? atoi(digits) : INT32_MAX;
    if (layer >= HMOEC_IMPORT_MOST_LAYERS)
      return hmoec_error(import->diagnostics, (hmoec_location){.file = hmoec_tensor_files_path(import->tensors)},
                         "'%.200s': more than %d layers", name, HMOEC_IMPORT_MOST_LAYERS);
    if (layer >= *out_count) *out_count = layer + 1;
  }
  if (*out_count == 0)
    return hmoec_error(import->diagnostics, (hmoec_location){.file = hmoec_tensor_files_path(import->tensors)},
                       "there is no tensor '%s0...': the checkpoint has none of these layers", prefix);
  int64_t stated;
  if (!hmoec_config_integer(import, key, 1, *out_count, &stated)) return false;
  return stated == *out_count ||
         hmoec_config_contradiction(import, key, "the checkpoint has layers 0 to %" PRId64 " of '%s'", *out_count - 1, prefix);
}

void hmoec_import_note_unused(const hmoec_import_state *import) {
  /* Other names of tied tensors, buffers, training's noise, an adapter that no forward pass uses, a router that was replaced. */
  static const char *const known[] = {"shared.weight", "embed_tokens.weight", "lm_head.weight", "wte.weight", "attn.bias",
                                      "masked_bias",   "mlp.w_noise",         "mlp.mean",       "mlp.std",    "_manual.weight",
                                      "_manual.bias",  "gate.gate.weight",    "gate.gate.bias", "inv_freq"};
  const char *name, *first = NULL;
  size_t count = 0;
  for (size_t i = 0; i < hmoec_tensor_files_count(import->tensors); i++) {
    if (!(name = hmoec_tensor_files_unused(import->tensors, i))) continue;
    bool expected = false;
    for (size_t k = 0; k < sizeof known / sizeof *known && !expected; k++) {
      size_t length = strlen(name), suffix = strlen(known[k]);
      expected = length >= suffix && strcmp(name + length - suffix, known[k]) == 0;
    }
    if (expected) continue;
    if (!first) first = name;
    count++;
  }
  if (count)
    hmoec_warning(import->diagnostics, (hmoec_location){.file = hmoec_tensor_files_path(import->tensors)},
                  "%zu tensor%s of no known use %s ignored: '%.200s'%s", count, count > 1 ? "s" : "", count > 1 ? "are" : "is",
                  first, count > 1 ? " and others" : "");
}
