/* Whether comparisons see what they are for: each tensor of the published checkpoints, zeroed or a tenth larger than the interpreter knows it, has
 * to make the compiled model differ by more than is allowed, in f32 and in bf16; unchanged it is within that. Inputs are random, of more tokens
 * than the published ones, and others where a change is not seen, since each of them selects some experts only. */
#include "../unit/module_fixture.h"

#include <math.h>

#include "library/check_reference.h"
#include "library/signature.h"
#include "runtime_internal.h"

enum { SEEDS = 5 };

/* What no output depends on: tensors of training, and the scale of logits that a gate over one selected expert makes 1 of. */
static bool has_no_effect(const char *folder, const char *name, int tenths) {
  static const char *const unused[] = {".mlp.std", ".mlp.mean", ".mlp.w_noise"};
  for (size_t i = 0; i < sizeof unused / sizeof *unused; i++)
    if (strstr(name, unused[i])) return true;
  return strcmp(folder, "gpt2-hypermoe-tiny-k1") == 0 && tenths == 11 && strstr(name, ".mlp.w_gate");
}

/* A tenth of a bias, or that of an expert, may be less than what rounding does to the rows behind it; and the encoder-decoders have experts that hardly a token selects,
 * or only tokens of batch rows that are left out. */
static bool may_be_unseen(const char *folder, hmoec_format dtype, const char *name, int tenths) {
  bool biased = dtype == HMOEC_FORMAT_BF16 && strstr(name, ".bias") && (tenths == 11 || strstr(name, ".experts."));
  return biased || (strncmp(folder, "switch", 6) == 0 && (strstr(name, ".experts.") || strstr(name, "embedding_process.2.bias")));
}

/* References of several inputs. */
typedef struct model {
  hmoec_session session;
  hmoec_check_inputs in[SEEDS];
  hmoec_check_reference reference[SEEDS];
  hmoec_check_tolerance most;
} model;

static void model_init(model *m, const char *path, const char *weights, hmoec_format dtype, int64_t tokens,
                       hmoec_diagnostics *diagnostics) {
  *m = (model){.in = {{.groups = 0}}};
  const hmoec_options options = {.struct_size = sizeof options, .dtype = hmoec_format_name(dtype)};
  hmoec_signature signature;
  assert_true(hmoec_session_init(&m->session, &options, diagnostics) && hmoec_session_load(&m->session, path) &&
              hmoec_session_jit(&m->session, false) && hmoec_signature_read(&m->session.unit, NULL, &signature, diagnostics));
  bool rounded = dtype == HMOEC_FORMAT_BF16;
  for (uint64_t seed = 0; seed < SEEDS; seed++) {
    assert_true(hmoec_check_inputs_init(&m->in[seed], m->session.source, &signature, seed, tokens, hmoec_check_longest(dtype),
                                        diagnostics));
    assert_true(hmoec_check_reference_init(&m->reference[seed], &m->in[seed], rounded ? m->session.folded : m->session.source,
                                           weights, rounded ? hmoec_products_and_rows_round : NULL, hmoec_check_tie(dtype),
                                           diagnostics));
  }
  m->most = hmoec_check_tolerance_rounded(dtype, m->in[0].whole);
}

static void model_deinit(model *m) {
  for (size_t seed = 0; seed < SEEDS; seed++) {
    hmoec_check_reference_deinit(&m->reference[seed]);
    hmoec_check_inputs_deinit(&m->in[seed]);
  }
  hmoec_session_deinit(&m->session);
}

/* With how many of the inputs does code with these weights differ by more than is allowed, in any output? Stops at `enough`. */
static size_t differing(model *m, const uint8_t *weights, size_t size, size_t enough, hmoec_diagnostics *diagnostics) {
  hmoe_model *opened = NULL;
  size_t count = 0;
  assert_true(hmoec_session_open(&m->session, &(hmoe_weights){.kind = HMOE_WEIGHTS_MEMORY, .data = weights, .size_bytes = size},
                                 NULL, &opened));
  for (size_t seed = 0; seed < SEEDS && count < enough; seed++) {
    float *outputs[HMOEC_MAX_TENSORS];
    bool apart = false;
    assert_true(hmoec_check_run(opened, &m->reference[seed], outputs, diagnostics));
    for (size_t i = 0; i < m->in[seed].signature.output_count; i++) {
      hmoec_check_difference d = hmoec_check_difference_of(&m->reference[seed], i, outputs[i]);
      assert_true(d.largest > 0 || d.nearest >= 0 || hmoec_check_all_tied(&m->reference[seed]));
      apart = apart || !hmoec_check_within(&d, &m->most);
      free(outputs[i]);
    }
    count += apart;
  }
  hmoe_model_close(opened);
  return count;
}

static void scale_tensor(const hmoe_tensor *tensor, uint8_t *at, float factor) {
  assert_string_equal(tensor->dtype->name, "F32");
  for (uint64_t i = 0; i < tensor->elements; i++) {
    float value;
    memcpy(&value, at + i * sizeof value, sizeof value);
    value *= factor;
    memcpy(at + i * sizeof value, &value, sizeof value);
  }
}

static void check_model(const char *folder, const char *file, int64_t tokens) {
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  char path[512], weights[512];
  snprintf(path, sizeof path, "%s/tests/golden/%s%s", HMOE_SOURCE_DIR, folder, file);
  snprintf(weights, sizeof weights, "%s/tests/golden/%s/model.safetensors", HMOE_SOURCE_DIR, folder);
  hmoe_mapping mapping;
  hmoe_safetensors tensors;
  hmoe_allocator allocator = hmoe_allocator_default();
  assert_int_equal(hmoe_mapping_init(&mapping, &(hmoe_weights){.path = weights}), HMOE_OK);
  assert_int_equal(hmoe_safetensors_init(&tensors, &mapping, &allocator), HMOE_OK);
  uint8_t *changed = malloc(mapping.size_bytes);
  assert_non_null(changed);
  memcpy(changed, mapping.data, mapping.size_bytes);
  for (hmoec_format dtype = HMOEC_FORMAT_F32; dtype < HMOEC_FORMAT_COUNT; dtype++) {
    model m;
    size_t unseen = 0;
    model_init(&m, path, weights, dtype, tokens, diagnostics);
    assert_int_equal(differing(&m, mapping.data, mapping.size_bytes, SEEDS, diagnostics), 0);
    for (size_t i = 0; i < tensors.count; i++) {
      const hmoe_tensor *tensor = &tensors.tensors[i];
      size_t at = (size_t)(tensor->data - mapping.data), bytes = (size_t)(tensor->end - tensor->begin);
      for (int tenths = 0; tenths <= 11; tenths += 11) {
        scale_tensor(tensor, changed + at, (float)tenths / 10);
        bool seen = differing(&m, changed, mapping.size_bytes, 1, diagnostics) > 0,
             expected = !has_no_effect(folder, tensor->name, tenths);
        memcpy(changed + at, mapping.data + at, bytes);
        if (seen == expected || may_be_unseen(folder, dtype, tensor->name, tenths)) continue;
        print_error("%s, %s: %s times %.1f is %s\n", folder, hmoec_format_name(dtype), tensor->name, tenths / 10.0,
                    seen ? "seen, though nothing depends on it" : "not seen");
        unseen++;
      }
    }
    print_message("%s, %s: %zu of %zu changes of %zu tensors are as expected\n", folder, hmoec_format_name(dtype),
                  2 * tensors.count - unseen, 2 * tensors.count, tensors.count);
    assert_int_equal(unseen, 0);
    model_deinit(&m);
  }
  free(changed);
  hmoe_safetensors_deinit(&tensors);
  hmoe_mapping_deinit(&mapping);
  hmoec_diagnostics_destroy(diagnostics);
}

static void test_layers(void **state) {
  (void)state;
  check_model("layer-moe", "/layer.mlir", 150);
  check_model("layer-hypermoe", "/layer.mlir", 150);
  check_model("layer-hypermoe-capacity", "/layer.mlir", 150);
}

static void test_decoders(void **state) {
  (void)state;
  check_model("gpt2-hypermoe-tiny-k1", "", 60);
  check_model("gpt2-hypermoe-tiny-k2", "", 60);
}

static void test_encoder_decoders(void **state) {
  (void)state;
  check_model("switch-moe-tiny", "", 60);
  check_model("switch-hypermoe-tiny", "", 60);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_layers),
      cmocka_unit_test(test_decoders),
      cmocka_unit_test(test_encoder_decoders),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
