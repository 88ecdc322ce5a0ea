/* The specs that are shipped: they load with every choice of every option, hold the keys of the published checkpoints, refuse what
 * cannot be, and no cut or change of their text crashes the front end. */
#include "spec_testing.h"

#include "../fuzz/fuzz_spec.c"

#define MODELS HMOE_SOURCE_DIR "/models/"

static const char *const models[] = {"moe-layer",   "moe-share-layer",      "hypermoe-layer",    "hyperrouter-layer",
                                     "switch-tiny", "switch-hypermoe-tiny", "gpt2-hypermoe-tiny"};
enum { LAYER_COUNT = 4, MODEL_COUNT = 7, MAX_DEFINES = 6 };

typedef struct model_case {
  const char *model;
  hmoec_define defines[MAX_DEFINES];
  const char *wanted[20];  /* in the module, in order */
  const char *unwanted[4];
} model_case;

static const model_case cases[] = {
    {"moe-layer",
     {{0}},
     {"func.func @moe_layer(%arg0: tensor<?x768xf32> {hmoe.dims = [\"tokens\"], hmoe.name = \"x\"}) -> (tensor<?x768xf32> "
      "{hmoe.name = \"y\"})",
      "count = 0 : i64, key = \"router.classifier.weight\"}", "tensor<8x768xf32>", "hmoe.route", "capacity = 0",
      "gate = \"softmax_then_topk\", top_k = 1", "count = 8 : i64, key = \"experts.expert_{}.wi.weight\"}",
      "tensor<8x3072x768xf32>", "key = \"experts.expert_{}.wo.weight\"}", "tensor<8x768x3072xf32>", "hmoe.experts",
      "activation = \"relu\"", "hmoe.combine", "return"},
     {"router.classifier.bias", "hypernetwork"}},
    {"moe-layer",
     {{"router_bias", "1"}, {"capacity", "64"}, {"activation", "silu"}, {"top_k", "2"}},
     {"key = \"router.classifier.bias\"}", "tensor<8xf32>", "capacity = 64", "top_k = 2", "activation = \"silu\""},
     {0}},
    {"moe-layer",
     {{"d_model", "16"}, {"d_ff", "32"}, {"experts", "4"}, {"gate", "topk_then_softmax"}},
     {"tensor<4x16xf32>", "gate = \"topk_then_softmax\"", "tensor<4x32x16xf32>"},
     {0}},
    {"moe-layer",
     {{"gated", "1"}, {"expert_bias", "1"}, {"gate", "sigmoid"}, {"renorm", "1"}},
     {"key = \"experts.expert_{}.wo.weight\"}", "key = \"experts.expert_{}.wo.bias\"}", "tensor<8x768xf32>",
      "key = \"experts.expert_{}.wi_0.weight\"}", "key = \"experts.expert_{}.wi_1.weight\"}",
      "key = \"experts.expert_{}.wi_0.bias\"}", "tensor<8x3072xf32>", "key = \"experts.expert_{}.wi_1.bias\"}",
      "hmoe.gated_experts"},
     {"expert_{}.wi.", "share."}},
    {"moe-layer",
     {{"gate", "sigmoid"}, {"renorm", "1"}, {"shared_expert", "1"}, {"shared_d_ff", "48"}, {"expert_bias", "1"}},
     {"gate = \"sigmoid\", renorm = 1", "key = \"experts.expert_{}.wi.bias\"}", "key = \"share.wi.weight\"}", "tensor<48x768xf32>",
      "key = \"share.wi.bias\"}", "tensor<48xf32>", "key = \"share.wo.weight\"}", "key = \"share.wo.bias\"}", "hmoe.linear",
      "hmoe.add"},
     {"share.gate", "wi_0"}},
    {"moe-share-layer",
     {{"gated", "1"}, {"shared_gate", "1"}},
     {"key = \"share.wi_0.weight\"}", "key = \"share.wi_1.weight\"}", "key = \"share.wo.weight\"}", "key = \"share.gate.weight\"}",
      "tensor<1x768xf32>", "gate = \"sigmoid\"", "hmoe.gated_experts", "gate = \"softmax_then_topk\"", "hmoe.gated_experts"},
     {"renorm", ".bias", "share.wi.weight"}},
    {"moe-share-layer",
     {{"activation", "gelu_new"}},
     {"@moe_share_layer", "key = \"share.wi.weight\"}", "tensor<3072x768xf32>", "key = \"share.wo.weight\"}",
      "tensor<768x3072xf32>", "function = \"gelu_new\"", "activation = \"gelu_new\"", "hmoe.add"},
     {0}},
    {"hypermoe-layer",
     {{0}},
     {"@hypermoe_layer", "key = \"embedding_process.0.weight\"", "key = \"embedding_process.0.bias\"",
      "key = \"embedding_process.2.weight\"", "key = \"embedding_process.2.bias\"", "key = \"n_experts_embedding.weight\"",
      "aggregate = \"mean\", of = \"unselected\"", "key = \"param_gen.layer_embed.weight\"", "tensor<12x10xf32>",
      "key = \"param_gen.decoder.linear1.weight\"", "tensor<128x138xf32>", "key = \"param_gen.decoder.weight_down.weight\"",
      "tensor<49152x128xf32>", "key = \"param_gen.decoder.weight_up.weight\"", "row = 1", "bottleneck = 64", "strategy = \"auto\"",
      "hmoe.add"},
     {"param_gen.decoder.bias_"}},
    {"hypermoe-layer",
     {{"generated_bias", "1"}, {"condition", "selected"}, {"aggregate", "sum"}, {"top_k", "8"}},
     {"aggregate = \"sum\", of = \"selected\"", "key = \"param_gen.decoder.bias_down.weight\"}", "tensor<64x128xf32>",
      "key = \"param_gen.decoder.bias_down.bias\"}", "tensor<64xf32>", "key = \"param_gen.decoder.bias_up.weight\"}",
      "tensor<768x128xf32>", "key = \"param_gen.decoder.bias_up.bias\"}", "tensor<768xf32>"},
     {0}},
    {"hypermoe-layer",
     {{"condition", "hidden_state"}, {"strategy", "per_token"}},
     {"\"hmoe.append_row\"(%arg0", "strategy = \"per_token\""},
     {"n_experts_embedding", "embedding_process", "selection_embedding"}},
    {"hypermoe-layer",
     {{"condition", "expert_weights"}, {"strategy", "cache"}, {"layer", "11"}},
     {"key = \"weight_embedding.depthwise1.weight\"}", "tensor<2x1x5x5xf32>", "key = \"weight_embedding.pointwise1.weight\"}",
      "tensor<32x2x1x1xf32>", "key = \"weight_embedding.depthwise2.weight\"}", "tensor<32x1x3x3xf32>",
      "key = \"weight_embedding.pointwise2.weight\"}", "tensor<128x32x1x1xf32>", "hmoe.weight_embedding", "row = 11",
      "strategy = \"cache\""},
     {"n_experts_embedding"}},
    {"hypermoe-layer",
     {{"condition", "none"}},
     {"@hypermoe_layer", "hmoe.combine", "return"},
     {"hyper_expert", "param_gen", "embedding"}},
    {"hyperrouter-layer",
     {{"top_k", "2"}},
     {"@hyperrouter_layer", "key = \"gate.embedding\"}", "tensor<1x768xf32>", "key = \"gate.hypernet.0.weight\"}",
      "tensor<256x768xf32>", "key = \"gate.hypernet.2.weight\"}", "tensor<6152x256xf32>", "shape = array<i64: 8, 769>",
      "begin = 0 : i64, end = 768", "squeeze = 0", "begin = 768 : i64, end = 769", "squeeze = 1", "gate = \"topk_then_softmax\"",
      "count = 0 : i64, key = \"experts.htoh4.weight\"}", "tensor<8x3072x768xf32>", "key = \"experts.htoh4.bias\"}",
      "key = \"experts.h4toh.weight\"}", "key = \"experts.h4toh.bias\"}", "hmoe.combine"},
     {0}},
    /* Whole models. */
    {"switch-tiny",
     {{0}},
     {"%arg0: tensor<?x?xi64> {hmoe.dims = [\"batch\", \"length\"], hmoe.name = \"input_ids\"}",
      "%arg1: tensor<?x?xi64> {hmoe.default = 1 : i64, hmoe.dims = [\"batch\", \"length\"], hmoe.name = \"attention_mask\"}",
      "%arg2: tensor<?x?xi64> {hmoe.dims = [\"batch\", \"target\"], hmoe.name = \"decoder_input_ids\"}", "hmoe.name = \"logits\"",
      "hmoe.name = \"encoder_hidden\"",
      "hmoe.generation = {end_token = array<i64: 1>, max_length = array<i64: 20>, pad_token = array<i64: 0>, "
      "start_token = array<i64: 0>, top_k = array<i64: 50>}, hmoe.model = \"switch_tiny\"",
      "key = \"shared.weight\\0Aencoder.embed_tokens.weight\\0Adecoder.embed_tokens.weight\\0Alm_head.weight\"",
      "bidirectional = 1", "hmoe.route", "capacity = 6", "hmoe.flatten", "hmoe.unflatten",
      "key = \"decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight\"", "bidirectional = 0", "causal = 1",
      "operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>", "key = \"decoder.block.0.layer.1.EncDecAttention.q.weight\"",
      "operandSegmentSizes = array<i32: 1, 1, 1, 0, 1>", "inverse_sqrt = 48"},
     {"param_gen", "n_experts_embedding", "block.0.layer.1.mlp.router"}},
    {"switch-hypermoe-tiny",
     {{"tied_head", "0"}, {"epsilon", "0.5"}, {"router_bias", "1"}},
     {"epsilon = 5.000000e-01", "key = \"encoder.block.1.layer.1.mlp.router.classifier.bias\"",
      "aggregate = \"sum\", of = \"unselected\"", "key = \"encoder.param_gen.layer_embed.weight\"",
      "key = \"encoder.param_gen.decoder.bias_up.weight\"", "row = 1", "row = 3", "key = \"decoder.param_gen.layer_embed.weight\"",
      "key = \"decoder.lm_head.weight\\0Alm_head.weight\""},
     {"hmoe.scale", "Alm_head.weight\\0A"}},
    {"switch-hypermoe-tiny",
     {{"router", "hypernetwork"}, {"gated", "1"}, {"activation", "gelu_new"}, {"condition", "selected"}},
     {"key = \"encoder.block.0.layer.1.mlp.wi_0.weight\"", "hmoe.multiply",
      "key = \"encoder.block.1.layer.1.mlp.gate.hypernet.2.weight\"", "squeeze = 1", "hmoe.gated_experts", "of = \"selected\""},
     {"router.classifier", ".wi.weight"}},
    {"switch-base-16",
     {{"encoder_sparse_step", "1"}, {"decoder_sparse_step", "0"}},
     {"func.func @switch_base_16(", "key = \"encoder.block.0.layer.1.mlp.router.classifier.weight\"} : () -> tensor<16x768xf32>",
      "key = \"encoder.block.11.layer.1.mlp.router.classifier.weight\"", "key = \"decoder.block.1.layer.2.mlp.wo.weight\""},
     {"decoder.block.1.layer.2.mlp.router", "hyper_expert"}},
    {"switch-base-32-hypermoe",
     {{0}},
     {"func.func @switch_base_32_hypermoe(", "tensor<32x128xf32>", "capacity = 64", "row = 11"},
     {0}},
    {"switch-base-8",
     {{"condition", "hidden_state"}},
     {"func.func @switch_base_8(", "tensor<128x778xf32>", "hmoe.hyper_expert"},
     {0}},
    {"gpt2-hypermoe-tiny",
     {{"top_k", "2"}},
     {"hmoe.dims = [\"batch\", \"length\"], hmoe.name = \"input_ids\"}", "hmoe.default = 1 : i64", "pad_token = array<i64>",
      "key = \"transformer.wte.weight\\0Awte.weight\\0Alm_head.weight\"", "hmoe.position_embedding", "hmoe.layer_norm",
      "key = \"transformer.h.0.attn.c_attn.bias\"", "hmoe.transpose", "begin = 96 : i64, end = 144", "scaled = 1",
      "key = \"transformer.h.0.mlp.experts.expert_{}.c_proj.bias\"", "key = \"transformer.h.0.mlp.w_gate\"",
      "gate = \"softmax_topk_renorm\", top_k = 2", "activation = \"gelu_new\"",
      "key = \"transformer.param_gen.layer_embed.weight\"", "row = 2", "key = \"transformer.ln_f.weight\""},
     {"hmoe.scale"}},
    {"gpt2-moe",
     {{"sparse_step", "0"}, {"attention_bias", "0"}, {"tied_head", "0"}, {"scaled", "0"}},
     {"func.func @gpt2_moe(", "scaled = 0", "key = \"transformer.h.11.mlp.c_fc.weight\"", "key = \"lm_head.weight\""},
     {"w_gate", "c_attn.bias"}},
};

static size_t define_count(const hmoec_define *defines) {
  size_t count = 0;
  while (count < MAX_DEFINES && defines[count].name) count++;
  return count;
}

static test_result load(const char *model, const hmoec_define *defines, size_t count) {
  char path[1024];
  snprintf(path, sizeof path, "%s%s.spec", MODELS, model);
  return test_build(path, NULL, 0, NULL, defines, count);
}

static void test_models(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    test_result result = load(cases[i].model, cases[i].defines, define_count(cases[i].defines));
    assert_string_equal(result.messages, "");
    assert_true(result.built);
    test_expect_in_order(result.ir, cases[i].wanted);
    for (const char *const *unwanted = cases[i].unwanted; *unwanted; unwanted++) test_refuse(result.ir, *unwanted);
    test_result_deinit(&result);
  }
}

/* Every pair of choices either loads without a word or is refused by the spec itself. */
static void test_choices(void **state) {
  (void)state;
  static const char *const conditions[] = {"unselected", "selected", "hidden_state", "expert_weights", "none"};
  static const char *const strategies[] = {"auto", "table", "cache", "factored", "per_token"};
  for (size_t c = 0; c < 5; c++) {
    for (size_t s = 0; s < 5; s++) {
      const hmoec_define defines[] = {{"condition", conditions[c]}, {"strategy", strategies[s]}, {"generated_bias", "1"}};
      test_result result = load("hypermoe-layer", defines, 3);
      bool refused = c == 2 && (s == 1 || s == 2);
      assert_int_equal(result.built, !refused);
      if (refused) test_expect(result.messages, "needs finitely many selections", conditions[c]);
      else assert_string_equal(result.messages, "");
      test_result_deinit(&result);
    }
  }
}

static void test_refusals(void **state) {
  (void)state;
  static const struct {
    const char *model;
    hmoec_define define;
    const char *message;
  } rows[] = {
      {"moe-layer", {"top_k", "9"}, "top_k = 9 must be between 1 and experts = 8"},
      {"moe-layer", {"top_k", "0"}, "top_k = 0 must be between 1 and experts = 8"},
      {"moe-layer", {"capacity", "-1"}, "capacity = -1 must be at least 0"},
      {"moe-layer", {"d_model", "0"}, "expected a size of at least 1, found 0"},
      {"moe-layer", {"bottleneck", "8"}, "-D bottleneck=8: error: the spec has no dim or option 'bottleneck'"},
      {"moe-layer", {"activation", "c:gelu.c:gelu"}, "error: cannot read the C file gelu.c: No such file or directory"},
      {"moe-share-layer",
       {"activation", "tanh"},
       "expected activation to be relu, gelu, gelu_new, silu, sigmoid or c:FILE:FUNCTION, found 'tanh'"},
      {"moe-layer", {"renorm", "1"}, "in place of gate = softmax_then_topk take softmax_topk_renorm"},
      {"moe-layer", {"shared_gate", "1"}, "shared_gate = 1 needs shared_expert = 1"},
      {"hypermoe-layer", {"shared_gate", "1"}, "shared_gate = 1 needs shared_expert = 1"},
      {"moe-layer", {"gated", "2"}, "expected gated to be 0 or 1, found '2'"},
      {"hypermoe-layer", {"top_k", "8"}, "needs unselected experts, but top_k = 8 selects all of experts = 8"},
      {"hypermoe-layer", {"layer", "12"}, "layer = 12 is not a row of the layer table, which has layers = 12 rows"},
      {"hypermoe-layer", {"d_model", "4000000000000000000"}, "error: "},
      {"switch-tiny", {"top_k", "5"}, "top_k = 5 must be between 1 and experts = 4"},
      {"switch-tiny", {"heads", "0"}, "heads = 0 and d_kv = 16 must be at least 1"},
      {"switch-hypermoe-tiny", {"top_k", "4"}, "needs unselected experts, but top_k = 4 selects all of experts = 4"},
      {"switch-tiny", {"epsilon", "small"}, "expected a number for the option epsilon, found 'small'"},
      {"switch-tiny", {"router", "random"}, "expected router to be classifier or hypernetwork, found 'random'"},
      {"gpt2-moe", {"heads", "7"}, "d_model = 768 is not heads = 7 equal heads"},
      {"hyperrouter-layer", {"generated_bias", "1"}, "-D generated_bias=1: error: the spec has no dim or option 'generated_bias'"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    test_result result = load(rows[i].model, &rows[i].define, 1);
    assert_false(result.built);
    test_expect(result.messages, rows[i].message, rows[i].model);
    test_result_deinit(&result);
  }
}

/* The text of a model with what it includes in place; owned. */
static char *model_text(const char *model, size_t *out_size) {
  char path[1024];
  snprintf(path, sizeof path, "%s%s.spec", MODELS, model);
  char *text = NULL, line[1024], name[64];
  FILE *out = open_memstream(&text, out_size), *in = fopen(path, "r");
  assert_true(out && in);
  while (fgets(line, sizeof line, in)) {
    if (sscanf(line, "include \"%63[^\"]\"", name) != 1) {
      fputs(line, out);
      continue;
    }
    snprintf(path, sizeof path, "%s%s", MODELS, name);
    FILE *included = fopen(path, "r");
    assert_non_null(included);
    while (fgets(line, sizeof line, included)) fputs(line, out);
    fclose(included);
  }
  fclose(in);
  fclose(out);
  return text;
}

static bool run_exact(const char *text, size_t size) {
  uint8_t *copy = malloc(size ? size : 1); /* so that reading past the end is seen */
  assert_non_null(copy);
  memcpy(copy, text, size);
  bool accepted = fuzz_accepts(copy, size);
  free(copy);
  return accepted;
}

static void test_cut_anywhere(void **state) {
  (void)state;
  for (size_t m = 0; m < LAYER_COUNT; m++) {
    size_t size;
    char *text = model_text(models[m], &size);
    for (size_t cut = 0; cut < size; cut++) run_exact(text, cut);
    assert_true(run_exact(text, size));
    for (size_t cut = 0; cut < size; cut += 7) run_exact(text + cut, size - cut);
    free(text);
  }
}

static uint64_t random_next(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

/* Whole words and signs of the language in place of others: reaches further than random bytes. */
static void test_mutate(void **state) {
  (void)state;
  static const char *const pieces[] = {"(",
                                       ")",
                                       "[",
                                       "]",
                                       "{",
                                       "}",
                                       ",",
                                       "=",
                                       "==",
                                       " if ",
                                       " else ",
                                       "-",
                                       "0",
                                       "*",
                                       "9223372036854775807",
                                       "\"",
                                       "\n",
                                       "..",
                                       ".",
                                       "?",
                                       ":",
                                       "x",
                                       "routing",
                                       "in",
                                       "and",
                                       "/ 0",
                                       "d_model",
                                       "experts",
                                       "relu",
                                       "none",
                                       "param",
                                       "for i in 0..9 {",
                                       "return",
                                       "\xff"};
  uint64_t seed = 88172645463325252u;
  for (size_t m = 0; m < MODEL_COUNT; m++) {
    size_t size;
    char *text = model_text(models[m], &size);
    for (int round = 0; round < (m < LAYER_COUNT ? 1500 : 300); round++) {
      const char *piece = pieces[random_next(&seed) % (sizeof pieces / sizeof *pieces)];
      size_t length = strlen(piece), at = random_next(&seed) % size, removed = random_next(&seed) % 12;
      if (removed > size - at) removed = size - at;
      char *changed = malloc(size + length);
      assert_non_null(changed);
      memcpy(changed, text, at);
      memcpy(changed + at, piece, length);
      memcpy(changed + at + length, text + at + removed, size - at - removed);
      run_exact(changed, size - removed + length);
      free(changed);
    }
    free(text);
  }
}

/* Every whole spec in the language reference builds as it stands. */
static void test_reference_examples(void **state) {
  (void)state;
  FILE *file = fopen(HMOE_SOURCE_DIR "/docs/spec.md", "r");
  assert_non_null(file);
  char line[1024], *text = NULL;
  size_t size, count = 0;
  FILE *example = NULL;
  while (fgets(line, sizeof line, file)) {
    if (!example && strcmp(line, "```spec\n") == 0) {
      example = open_memstream(&text, &size);
    } else if (example && strcmp(line, "```\n") == 0) {
      fclose(example);
      example = NULL;
      test_result result = test_build(NULL, text, size, NULL, NULL, 0);
      assert_string_equal(result.messages, "");
      assert_true(result.built);
      test_result_deinit(&result);
      free(text);
      count++;
    } else if (example) {
      fputs(line, example);
    }
  }
  fclose(file);
  assert_int_equal(count, 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_models),       cmocka_unit_test(test_choices), cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_cut_anywhere), cmocka_unit_test(test_mutate),  cmocka_unit_test(test_reference_examples),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
