/* Models planned for another target than the CPU (plain.h): every op of the layers with every strategy, and whole models, give what the interpreter
 * gives, and generate the published tokens. */
#include "../unit/module_fixture.h"

#include <unistd.h>

#include "hmoe/generate.h"
#include "interpreter/parameters.h"
#include "library/check_reference.h"
#include "library/signature.h"
#include "support/npy.h"
#include "target/plain.h"

enum { MOST_DEFINES = 12, MOST_TOKENS = 64 };

/* A model compiled for the target and opened; the weights' path is borrowed. */
typedef struct planned {
  hmoec_session session;
  hmoe_function functions[PLAIN_MOST_KERNELS];
  hmoe_image image;
  hmoe_model_object object;
  hmoe_model *model;
} planned;

static void planned_init(planned *p, const char *path, const hmoec_define *defines, size_t define_count, const char *strategy,
                         hmoec_diagnostics *diagnostics) {
  *p = (planned){.model = NULL};
  const hmoec_options options = {
      .struct_size = sizeof options, .defines = defines, .define_count = define_count, .strategy = strategy};
  assert_true(hmoec_session_init(&p->session, &options, diagnostics) && hmoec_session_load(&p->session, path));
  p->session.pass.target = &plain_target;
  assert_true(hmoec_session_plan(&p->session));
  const hmoec_unit *unit = &p->session.unit;
  const hmoe_kernel_fn *calls;
  assert_true(plain_kernels(unit, &calls));
  for (size_t i = 0; i < unit->kernel_count; i++)
    p->functions[i] = (hmoe_function){.call = calls[i], .scratch_bytes = 64, .threads = 1};
  p->image = (hmoe_image){.target = "cpu", .version = "portable", .functions = p->functions};
  p->object = (hmoe_model_object){.abi_version = HMOE_ABI_VERSION,
                                  .kernel_count = (uint32_t)unit->kernel_count,
                                  .plan = unit->plan,
                                  .plan_bytes = unit->plan_bytes,
                                  .images = &p->image,
                                  .image_count = 1};
}

static void planned_open(planned *p, const char *weights) {
  const hmoe_options options = {.struct_size = sizeof options, .threads = 2};
  hmoe_status status = hmoe_model_open(&p->object, &(hmoe_weights){.path = weights}, &options, &p->model);
  if (status != HMOE_OK) fail_msg("%s", hmoe_last_error());
}

static void planned_deinit(planned *p) {
  hmoe_model_close(p->model);
  hmoec_session_deinit(&p->session);
}

/* Its outputs on random inputs, against the interpreter's. */
static void compare(planned *p, const char *weights, int64_t tokens, uint64_t seed, const char *what,
                    hmoec_diagnostics *diagnostics) {
  hmoec_signature signature;
  hmoec_check_inputs in;
  hmoec_check_reference reference;
  float *outputs[HMOEC_MAX_TENSORS];
  assert_true(hmoec_signature_read(&p->session.unit, NULL, &signature, diagnostics));
  assert_true(hmoec_check_inputs_init(&in, p->session.source, &signature, seed, tokens, 0, diagnostics));
  assert_true(hmoec_check_reference_init(&reference, &in, p->session.source, weights, NULL, hmoec_check_tie(HMOEC_FORMAT_F32),
                                         diagnostics));
  assert_true(hmoec_check_run(p->model, &reference, outputs, diagnostics));
  hmoec_check_tolerance most = hmoec_check_tolerance_exact(HMOEC_FORMAT_F32, in.whole);
  for (size_t i = 0; i < signature.output_count; i++) {
    hmoec_check_difference d = hmoec_check_difference_of(&reference, i, outputs[i]);
    if (tokens > 0) assert_true(d.compared > 0);
    if (!hmoec_check_within(&d, &most)) fail_msg("%s, %lld tokens: output %zu is wrong", what, (long long)tokens, i);
    free(outputs[i]);
  }
  hmoec_check_reference_deinit(&reference);
  hmoec_check_inputs_deinit(&in);
}

typedef struct layer_case {
  const char *model;
  const char *strategy;
  hmoec_define defines[MOST_DEFINES];
} layer_case;

#define SIZES {"d_model", "7"}, {"d_ff", "9"}, {"experts", "5"}
#define HYPER                                                                                                                      \
  SIZES, {"bottleneck", "3"}, {"hyper_hidden", "6"}, {"expert_embedding", "5"}, {"selection_hidden", "4"},                         \
      {"selection_embedding", "6"}

static const layer_case layers[] = {
    {"moe-layer", NULL, {SIZES}},
    {"moe-layer", NULL, {SIZES, {"top_k", "2"}, {"gate", "softmax_then_topk"}}},
    {"moe-layer", NULL, {SIZES, {"top_k", "3"}, {"gate", "sigmoid"}, {"renorm", "1"}}},
    {"moe-layer", NULL, {SIZES, {"expert_bias", "1"}, {"activation", "gelu"}}},
    {"moe-layer", NULL, {SIZES, {"gated", "1"}, {"top_k", "2"}, {"activation", "silu"}}},
    {"moe-layer", NULL, {SIZES, {"gated", "1"}, {"expert_bias", "1"}, {"capacity", "3"}}},
    {"moe-layer", NULL, {SIZES, {"capacity", "2"}}},
    {"moe-layer", NULL, {SIZES, {"capacity", "2"}, {"dropped", "zero"}, {"expert_bias", "1"}}},
    {"moe-layer", NULL, {SIZES, {"shared_expert", "1"}, {"shared_d_ff", "6"}}},
    {"hypermoe-layer", "table", {HYPER}},
    {"hypermoe-layer", "table", {HYPER, {"capacity", "2"}, {"expert_bias", "1"}, {"generated_bias", "1"}}},
    {"hypermoe-layer", "table", {HYPER, {"top_k", "2"}, {"generated_bias", "1"}}},
    {"hypermoe-layer", "table", {HYPER, {"gated", "1"}, {"expert_bias", "1"}, {"generated_bias", "1"}, {"capacity", "2"}}},
    {"hypermoe-layer", "cache", {HYPER, {"top_k", "2"}}},
    {"hypermoe-layer", "cache", {HYPER, {"generated_bias", "1"}, {"aggregate", "sum"}}},
    {"hypermoe-layer", "factored", {HYPER, {"top_k", "2"}}},
    {"hypermoe-layer", "factored", {HYPER, {"generated_bias", "1"}}},
    {"hypermoe-layer", "per_token", {HYPER, {"top_k", "2"}, {"generated_bias", "1"}}},
    {"hypermoe-layer",
     "table",
     {{"d_model", "768"},
      {"d_ff", "3072"},
      {"experts", "2"},
      {"bottleneck", "3"},
      {"hyper_hidden", "6"},
      {"selection_hidden", "4"},
      {"condition", "expert_weights"}}},
    {"hypermoe-layer",
     "factored",
     {SIZES, {"bottleneck", "3"}, {"hyper_hidden", "6"}, {"condition", "hidden_state"}, {"selection_embedding", "7"}}},
    {"hyperrouter-layer", NULL, {SIZES, {"router_hidden", "6"}, {"top_k", "2"}}},
};

static void test_layers(void **state) {
  (void)state;
  static const int64_t tokens[] = {0, 1, 13};
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(stderr);
  char weights[] = "/tmp/hmoe-plain-XXXXXX";
  int fd = mkstemp(weights);
  assert_true(fd >= 0);
  close(fd);
  for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
    char path[512], what[256];
    size_t count = 0;
    int length = snprintf(what, sizeof what, "%s, strategy %s", layers[i].model, layers[i].strategy ? layers[i].strategy : "auto");
    for (; count < MOST_DEFINES && layers[i].defines[count].name; count++)
      length += snprintf(what + length, sizeof what - (size_t)length, " %s=%s", layers[i].defines[count].name,
                         layers[i].defines[count].value);
    snprintf(path, sizeof path, "%s/models/%s.spec", HMOE_SOURCE_DIR, layers[i].model);
    planned p;
    planned_init(&p, path, layers[i].defines, count, layers[i].strategy, diagnostics);
    assert_true(hmoec_random_weights_write(p.session.source, i + 1, weights, diagnostics));
    planned_open(&p, weights);
    for (size_t t = 0; t < sizeof tokens / sizeof *tokens; t++) compare(&p, weights, tokens[t], i + t, what, diagnostics);
    planned_deinit(&p);
  }
  unlink(weights);
  hmoec_diagnostics_destroy(diagnostics);
}

static void npy_read(const char *folder, const char *name, hmoec_npy *file, hmoec_diagnostics *diagnostics) {
  char path[512];
  snprintf(path, sizeof path, "%s/tests/golden/%s/%s.npy", HMOE_SOURCE_DIR, folder, name);
  assert_true(hmoec_npy_read(path, diagnostics, file));
}

/* The published tokens: a prompt that a decoder goes on from is the begin of them. */
static void generate(planned *p, const char *folder, hmoec_diagnostics *diagnostics) {
  enum { NEW = 12 };
  hmoec_npy greedy, ids, mask;
  bool decoder = strncmp(folder, "gpt2", 4) == 0;
  int64_t prompt_ids[MOST_TOKENS], tokens[MOST_TOKENS * 8], length = 0;
  npy_read(folder, "greedy", &greedy, diagnostics);
  hmoe_prompt prompt = {.rows = greedy.dims[0], .length = greedy.dims[1] - NEW, .input_ids = prompt_ids};
  if (decoder) {
    assert_true(prompt.rows * prompt.length <= MOST_TOKENS);
    for (int64_t i = 0; i < prompt.rows * prompt.length; i++)
      prompt_ids[i] = ((const int64_t *)greedy.data)[i / prompt.length * greedy.dims[1] + i % prompt.length];
  } else {
    npy_read(folder, "input_ids", &ids, diagnostics);
    npy_read(folder, "attention_mask", &mask, diagnostics);
    prompt = (hmoe_prompt){.rows = ids.dims[0], .length = ids.dims[1], .input_ids = ids.data, .attention_mask = mask.data};
  }
  hmoe_generation options = {.struct_size = sizeof options, .max_new_tokens = NEW, .end_token = HMOE_NO_TOKENS};
  assert_true(hmoe_generation_width(p->model, &prompt, &options) * prompt.rows <= (int64_t)(sizeof tokens / sizeof *tokens));
  if (hmoe_model_generate(p->model, &prompt, &options, tokens, &length) != HMOE_OK) fail_msg("%s", hmoe_last_error());
  assert_int_equal(length, greedy.dims[1]);
  assert_memory_equal(tokens, greedy.data, (size_t)greedy.elements * sizeof *tokens);
  hmoec_npy_deinit(&greedy);
  if (decoder) return;
  hmoec_npy_deinit(&ids);
  hmoec_npy_deinit(&mask);
}

static void test_whole_models(void **state) {
  (void)state;
  static const char *const folders[] = {"switch-moe-tiny", "switch-hypermoe-tiny", "gpt2-hypermoe-tiny-k1",
                                        "gpt2-hypermoe-tiny-k2"};
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
    char path[512], weights[600];
    snprintf(path, sizeof path, "%s/tests/golden/%s", HMOE_SOURCE_DIR, folders[i]);
    snprintf(weights, sizeof weights, "%s/model.safetensors", path);
    planned p;
    planned_init(&p, path, NULL, 0, NULL, diagnostics);
    planned_open(&p, weights);
    compare(&p, weights, 21, i, folders[i], diagnostics);

    generate(&p, folders[i], diagnostics);
    planned_deinit(&p);
  }
  hmoec_diagnostics_destroy(diagnostics);
}

/* The target has f32 alone, and says so. */
static void test_format_that_it_lacks(void **state) {
  (void)state;
  hmoec_diagnostics *quiet = hmoec_diagnostics_create(NULL);
  const hmoec_options options = {.struct_size = sizeof options, .dtype = "bf16"};
  hmoec_session session;
  assert_true(hmoec_session_init(&session, &options, quiet) &&
              hmoec_session_load(&session, HMOE_SOURCE_DIR "/models/moe-layer.spec"));
  session.pass.target = &plain_target;
  assert_false(hmoec_session_plan(&session));
  assert_int_equal(hmoec_diagnostics_errors(quiet), 1);
  hmoec_session_deinit(&session);
  hmoec_diagnostics_destroy(quiet);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_layers), cmocka_unit_test(test_whole_models),
                                     cmocka_unit_test(test_format_that_it_lacks)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
