/* What compiled code makes of NaN, infinities, zeros of either sign and denormals, in every operand of every op: what the interpreter makes of
 * them, element by element, on every CPU version of the machine (docs/design.md, "Values that are not finite").
 *
 * A row of `cases` is a model. Each of its f32 tensors, inputs and parameters, gets each special value at one place and at all, and then several
 * tensors get several of them. Where the interpreter has NaN, so must compiled code, and nowhere else; infinities and zeros have their sign;
 * numbers are near. What a case is excused from, its row says. */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <cJSON.h>

#include "hmoe/compiler.h"
#include "library/load.h"
#include "sanitized.h"

#define FOLDER HMOE_SOURCE_DIR "/tests/numeric/"
#define MODELS HMOE_SOURCE_DIR "/models/"
#define C_FUNCTION(name) "c:" FOLDER "Inputs/activations.c:" name

enum { MOST_F32 = 200, MOST_DEFINES = 16, MIXED = 8, SHOWN = 12 };

enum {
  /* An infinity of the interpreter may be NaN: factors meet in another order, and an infinity may meet a 0. */
  INFINITY_MAY_BE_NAN = 1,
};

typedef struct test_case {
  const char *name, *text, *file, *defines, *strategies; /* text of a spec, or file; lists of words */
  int64_t sizes[3];
  const char *dtypes; /* NULL: f32 */
  unsigned excuses;
  int mixtures; /* more than 0: of a large model, these alone */
} test_case;

/* ---- the models ---- */

static const char elementwise[] = "model elementwise\n"
                                  "dim tokens = ?, n = 37\n"
                                  "input a: f32[tokens, n]\n"
                                  "input b: f32[tokens, n]\n"
                                  "output sum = add(a, b)\n"
                                  "output r = activate(a, function = relu)\n"
                                  "output g = activate(a, function = gelu)\n"
                                  "output h = activate(a, function = gelu_new)\n"
                                  "output s = activate(a, function = silu)\n"
                                  "output t = activate(a, function = sigmoid)\n"
                                  "output c = activate(a, function = c(\"Inputs/activations.c\", mish))\n"
                                  "output d = activate(a, function = c(\"Inputs/activations.c\", tanh_shrink))\n"
                                  "param row: [2, 3] from \"row\"\n"
                                  "output m = multiply(a, b)\n"
                                  "output q = scale(b, inverse_sqrt = 7)\n"
                                  "output p = append_row(b, row, row = 1)\n"
                                  "output v = slice(add(b, a), begin = 3, end = 20)\n";

static const char parts[] = "model parts\n"
                            "dim tokens = ?, n = 37\n"
                            "input a: f32[tokens, n]\n"
                            "input b: f32[tokens, n]\n"
                            "param weight: [n] from \"weight\"\n"
                            "output apart = slice(b, begin = 1, end = 36, step = 3)\n"
                            "output joined = concat(b, slice(a, begin = 4, end = 9, step = 2), a)\n"
                            "output doubled = scale(b, by = -2)\n"
                            "output nothing = scale(a, by = 0)\n"
                            "output columns = scale(b, weight)\n"
                            "output rows = scale(a, slice(b, begin = 5, end = 6), by = 0.5)\n";

static const char products[] =
    "model products\n"
    "dim tokens = ?, n = 37, narrow = 3, m = 45\n"
    "input x: f32[tokens, n]\n"
    "param w: [m, n] from \"w\"\n"
    "param bias: [m] from \"bias\"\n"
    "param few: [narrow, n] from \"few\"\n"
    "param wt: [n, m] from \"wt\"\n"
    "param second: [n, m] from \"second\"\n"
    "output y = linear(x, w, bias)\n"
    "output z = linear(x, few)\n"
    "output p = multiply(linear(x, w), linear(x, transpose(wt)))\n"
    "output q = linear(activate(linear(x, w, bias), function = silu), second)\n"
    "output gated = multiply(activate(linear(x, slice(w, axis = 0, begin = 0, end = 44, step = 2)), function = silu), "
    "linear(x, slice(w, axis = 0, begin = 1, end = 44, step = 2)))\n"
    "output pair = linear(multiply(linear(x, slice(w, axis = 0, begin = 0, end = 22)), "
    "activate(linear(x, slice(w, axis = 0, begin = 22, end = 44)), function = relu)), slice(second, begin = 0, end = 22))\n";

static const char norms[] = "model norms\n"
                            "dim tokens = ?, n = 37, m = 5\n"
                            "input x: f32[tokens, n]\n"
                            "param g: [n] from \"g\"\n"
                            "param b: [n] from \"b\"\n"
                            "param w: [m, n] from \"w\"\n"
                            "output r = rms_norm(x, g)\n"
                            "output l = layer_norm(x, g, b)\n"
                            "output s = linear(scale(rms_norm(x, g, epsilon = 1e-5), inverse_sqrt = 7), w)\n"
                            "output p = linear(rms_norm(x, b), w)\n"
                            "output q = linear(layer_norm(x, b, g), w)\n";

static const char gates[] = "model gates\n"
                            "dim tokens = ?, experts = 7, top_k = 3\n"
                            "option gate = sigmoid in {softmax_then_topk, topk_then_softmax, softmax_topk_renorm, sigmoid}\n"
                            "option renorm = 0\n"
                            "input logits: f32[tokens, experts]\n"
                            "input x: f32[tokens, 5]\n"
                            "param wi[e < experts]: [6, 5] from \"{e}.wi\"\n"
                            "param wo[e < experts]: [5, 6] from \"{e}.wo\"\n"
                            "r = route(logits, top_k = top_k, gate = gate, renorm = renorm)\n"
                            "output g = r.gates\n"
                            "output y = combine(experts(x, r, wi, wo), r)\n";

static const char attention[] =
    "model attention\n"
    "dim batch = ?, length = ?, heads = 2, width = 38, buckets = 8\n"
    "option causal = 0, masked = 0, biased = 0, scaled = 0\n"
    "input x: f32[batch, length, width]\n"
    "input mask: i64[batch, length] = 1\n"
    "param wq: [width, width] from \"q\"\n"
    "param wk: [width, width] from \"k\"\n"
    "param wv: [width, width] from \"v\"\n"
    "param distances: [buckets, heads] from \"distances\" if biased\n"
    "q = linear(x, wq)\n"
    "k = linear(x, wk)\n"
    "v = linear(x, wv)\n"
    "if biased and masked { y = attention(q, k, v, relative_bias(distances, max_distance = 9), mask, heads = heads, causal = "
    "causal, scaled = scaled) }\n"
    "if biased and not masked { y = attention(q, k, v, relative_bias(distances, max_distance = 9), heads = heads, causal = causal, "
    "scaled = scaled) }\n"
    "if masked and not biased { y = attention(q, k, v, mask = mask, heads = heads, causal = causal, scaled = scaled) }\n"
    "if not masked and not biased { y = attention(q, k, v, heads = heads, causal = causal, scaled = scaled) }\n"
    "output y = y\n";

static const char embeddings[] = "model embeddings\n"
                                 "dim batch = ?, length = ?\n"
                                 "input ids: i64[batch, length]\n"
                                 "input mask: i64[batch, length] = 1\n"
                                 "param words: [9, 37] from \"words\"\n"
                                 "param places: [33, 37] from \"places\"\n"
                                 "x = embedding(ids, words)\n"
                                 "output e = x\n"
                                 "output y = add(x, position_embedding(mask, places))\n"
                                 "output logits = linear(x, words)\n";

#define LAYER "d_model=37 d_ff=53 experts=7 "
#define HYPER                                                                                                                      \
  LAYER "bottleneck=5 hyper_hidden=11 expert_embedding=13 selection_hidden=17 selection_embedding=19 layer_embedding=3 layers=4 "

#define MOE .file = MODELS "moe-layer.spec", .defines =
#define HYPERMOE .file = MODELS "hypermoe-layer.spec", .defines = HYPER
#define BOTH "f32 bf16"

static const test_case cases[] = {
    {.name = "elementwise", .text = elementwise, .sizes = {5}},
    {.name = "parts", .text = parts, .sizes = {5}},
    {.name = "products", .text = products, .sizes = {7}, .dtypes = BOTH},
    {.name = "norms", .text = norms, .sizes = {5}, .dtypes = BOTH},
    {.name = "embeddings", .text = embeddings, .sizes = {3, 7}, .dtypes = BOTH},
    {.name = "gates", .text = gates, .defines = "gate=softmax_then_topk", .sizes = {6}},
    {.name = "gates", .text = gates, .defines = "gate=topk_then_softmax", .sizes = {6}, .dtypes = BOTH},
    {.name = "gates", .text = gates, .defines = "gate=softmax_topk_renorm", .sizes = {6}},
    {.name = "gates", .text = gates, .defines = "gate=sigmoid top_k=1", .sizes = {6}},
    {.name = "gates", .text = gates, .defines = "gate=sigmoid renorm=1 experts=19 top_k=19", .sizes = {6}},
    {.name = "gates", .text = gates, .defines = "gate=" C_FUNCTION("quick_gelu"), .sizes = {6}},
    {.name = "gates", .text = gates, .defines = "gate=" C_FUNCTION("plain_relu") " renorm=1", .sizes = {6}},
    {.name = "attention", .text = attention, .sizes = {2, 19}, .dtypes = BOTH},
    {.name = "attention", .text = attention, .defines = "causal=1 masked=1", .sizes = {2, 19}},
    {.name = "attention", .text = attention, .defines = "causal=1 biased=1 scaled=1", .sizes = {1, 150}},
    {.name = "attention", .text = attention, .defines = "masked=1 biased=1", .sizes = {2, 131}},
    {.name = "moe", MOE LAYER, .sizes = {1}, .dtypes = BOTH},
    {.name = "moe", MOE LAYER "expert_bias=1 router_bias=1 top_k=2 activation=gelu", .sizes = {9}, .dtypes = BOTH},
    {.name = "moe", MOE LAYER "activation=silu capacity=2 experts=3 expert_bias=1", .sizes = {17}},
    {.name = "moe", MOE LAYER "gated=1 activation=gelu_new expert_bias=1 top_k=2", .sizes = {9}},
    {.name = "moe",
     MOE LAYER "gated=1 shared_expert=1 shared_gate=1 activation=" C_FUNCTION("swiglu"),
     .sizes = {9},
     .dtypes = BOTH},
    {.name = "moe",
     MOE LAYER "experts=1 capacity=30 gate=" C_FUNCTION("quick_gelu") " activation=" C_FUNCTION("mish"),
     .sizes = {33}},
    {.name = "hypermoe", HYPERMOE "generated_bias=1", .strategies = "table cache per_token", .sizes = {9}},
    {.name = "hypermoe", HYPERMOE "generated_bias=1 activation=gelu", .strategies = "table", .sizes = {9}, .dtypes = "bf16"},
    {.name = "hypermoe",
     HYPERMOE "expert_bias=1 capacity=2 experts=3 gate=sigmoid activation=" C_FUNCTION("reciprocal"),
     .strategies = "table",
     .sizes = {9}},
    {.name = "hypermoe",
     HYPERMOE "top_k=2 gate=topk_then_softmax aggregate=sum generated_bias=1",
     .strategies = "table cache",
     .sizes = {9}},
    {.name = "hypermoe",
     HYPERMOE "top_k=2 condition=selected generated_bias=1",
     .strategies = "factored",
     .sizes = {9},
     .dtypes = BOTH,
     .excuses = INFINITY_MAY_BE_NAN},
    {.name = "hypermoe", HYPERMOE "condition=hidden_state", .strategies = "factored", .sizes = {9}, .excuses = INFINITY_MAY_BE_NAN},
    {.name = "hypermoe", HYPERMOE "condition=hidden_state", .strategies = "per_token", .sizes = {9}},
    {.name = "hypermoe",
     HYPERMOE "condition=expert_weights d_model=720 d_ff=1920 experts=2",
     .strategies = "table",
     .sizes = {3},
     .mixtures = 5},
    {.name = "hyperrouter", .file = MODELS "hyperrouter-layer.spec", .defines = LAYER "top_k=2 router_hidden=11", .sizes = {9}},
    {.name = "gpt2", .file = MODELS "gpt2-hypermoe-tiny.spec", .sizes = {2, 7}, .excuses = INFINITY_MAY_BE_NAN, .mixtures = 30},
    {.name = "switch",
     .file = MODELS "switch-hypermoe-tiny.spec",
     .sizes = {2, 7, 5},
     .excuses = INFINITY_MAY_BE_NAN,
     .mixtures = 30},
};
enum { CASES = sizeof cases / sizeof cases[0] };

/* ---- special values ---- */

static uint64_t state_of_random;
static uint64_t random_below(uint64_t bound) {
  uint64_t z = (state_of_random += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return (z ^ (z >> 31)) % bound;
}

static const struct {
  const char *name;
  uint32_t bits;
} specials[] = {{"NaN", 0x7fc00000},  {"-NaN", 0xffc12345}, {"signaling NaN", 0x7f800001},       {"inf", 0x7f800000},
                {"-inf", 0xff800000}, {"-0", 0x80000000},   {"denormal", 0x000ae398 /* 1e-39 */}};
enum { SPECIALS = sizeof specials / sizeof specials[0] };

static void put(float *to, size_t special) { memcpy(to, &specials[special].bits, sizeof *to); }

/* ---- a case: the model, its weights as a file, its inputs; and what a variant changes ---- */

typedef struct f32_tensor {
  const char *name;
  float *values, *clean;
  size_t count;
  bool is_parameter;
} f32_tensor;

typedef struct bench {
  const test_case *row;
  hmoec_compilation *compilation;
  hmoec_diagnostics *diagnostics;
  hmoec_loaded *loaded;
  const struct hmoe_model_object *object; /* every CPU version, or where one is enough the portable one */
  hmoec_signature signature;
  char path[64];
  char *file; /* of weights; parameters lie in it */
  size_t file_bytes;
  cJSON *header;
  void *inputs[HMOEC_MAX_TENSORS];
  float *wanted[HMOEC_MAX_TENSORS], *got[HMOEC_MAX_TENSORS];
  size_t counts[HMOEC_MAX_TENSORS]; /* of outputs */
  f32_tensor tensors[MOST_F32];
  size_t tensor_count;
  bool bf16;
  const char *strategy;
  char what[256]; /* the variant */
  size_t compared, faults;
} bench;

static const char *const versions[] = {"portable", "avx2", "avx512", "avx512_bf16", "amx"};

static void add_tensor(bench *b, const char *name, void *values, size_t count, bool is_parameter) {
  assert_true(b->tensor_count < MOST_F32);
  f32_tensor *t = &b->tensors[b->tensor_count++];
  *t = (f32_tensor){
      .name = name, .values = values, .clean = malloc(count * sizeof(float) + 1), .count = count, .is_parameter = is_parameter};
  memcpy(t->clean, values, count * sizeof(float));
}

static void read_weights(bench *b) {
  FILE *in = fopen(b->path, "rb");
  assert_non_null(in);
  fseek(in, 0, SEEK_END);
  b->file_bytes = (size_t)ftell(in);
  rewind(in);
  b->file = malloc(b->file_bytes);
  assert_int_equal(fread(b->file, 1, b->file_bytes, in), b->file_bytes);
  fclose(in);
  uint64_t header_bytes;
  memcpy(&header_bytes, b->file, 8);
  b->header = cJSON_ParseWithLength(b->file + 8, header_bytes);
  assert_non_null(b->header);
  for (cJSON *entry = b->header->child; entry; entry = entry->next) {
    const cJSON *offsets = cJSON_GetObjectItem(entry, "data_offsets");
    if (!offsets) continue;
    size_t begin = (size_t)cJSON_GetArrayItem(offsets, 0)->valuedouble, end = (size_t)cJSON_GetArrayItem(offsets, 1)->valuedouble;
    int part = 0; /* of a stack: two are enough */
    if (!sscanf(entry->string, "experts.expert_%d.", &part)) sscanf(entry->string, "%d.", &part);
    if (part > 1) continue;
    add_tensor(b, entry->string, b->file + 8 + header_bytes + begin, (end - begin) / sizeof(float), true);
  }
}

static void load_all(bench *b) {
  char *object;
  size_t object_bytes;
  assert_int_equal(hmoec_compilation_emit(b->compilation, HMOEC_OUTPUT_OBJECT, &object, &object_bytes), HMOEC_OK);
  b->diagnostics = hmoec_diagnostics_create(stderr);
  assert_true(
      hmoec_object_load(hmoec_compilation_name(b->compilation), object, object_bytes, b->diagnostics, &b->loaded, &b->object));
  hmoec_free(object);
}

static void bench_init(bench *b, const test_case *row, const char *strategy, bool bf16) {
  *b = (bench){.row = row, .bf16 = bf16, .strategy = strategy};
  char words[512];
  hmoec_define defines[MOST_DEFINES];
  hmoec_options options = {.struct_size = sizeof options,
                           .message = hmoec_message_print,
                           .message_context = stderr,
                           .dtype = bf16 ? "bf16" : "f32",
                           .strategy = strategy,
                           .cpu = SANITIZED ? "portable" : NULL,
                           .defines = defines};
  snprintf(words, sizeof words, "%s", row->defines ? row->defines : "");
  for (char *at = NULL, *word = strtok_r(words, " ", &at); word; word = strtok_r(NULL, " ", &at)) {
    char *value = strchr(word, '=');
    *value = 0;
    defines[options.define_count++] = (hmoec_define){word, value + 1};
  }
  hmoec_status status = row->file ? hmoec_compile_file(row->file, &options, &b->compilation)
                                  : hmoec_compile_text(FOLDER "case.spec", row->text, strlen(row->text), &options, &b->compilation);
  assert_int_equal(status, HMOEC_OK);
  if (SANITIZED) assert_int_equal(hmoec_compilation_load(b->compilation, &b->object), HMOEC_OK);
  else load_all(b);
  assert_int_equal(hmoec_compilation_signature(b->compilation, NULL, &b->signature), HMOEC_OK);
  snprintf(b->path, sizeof b->path, "/tmp/nonfinite_test.%d", (int)getpid());
  assert_int_equal(hmoec_compilation_random_weights(b->compilation, 1, b->path), HMOEC_OK);
  for (size_t i = 0; i < b->signature.input_count; i++) {
    const hmoec_signature_tensor *input = &b->signature.inputs[i];
    hmoec_shape shape = hmoec_signature_shape(input, row->sizes);
    size_t count = (size_t)hmoec_shape_elements(&shape);
    b->inputs[i] = malloc(count * hmoec_element_bytes(shape.element) + 1);
    hmoec_compilation_random_input(b->compilation, input, row->sizes, 1, b->inputs[i]);
    if (shape.element == HMOEC_F32) add_tensor(b, input->name, b->inputs[i], count, false);
  }
  read_weights(b);
  for (size_t i = 0; i < b->signature.output_count; i++) {
    hmoec_shape shape = hmoec_signature_shape(&b->signature.outputs[i], row->sizes);
    b->counts[i] = (size_t)hmoec_shape_elements(&shape);
    b->wanted[i] = malloc(b->counts[i] * sizeof(float) + 1);
    b->got[i] = malloc(b->counts[i] * sizeof(float) + 1);
  }
}

static void bench_deinit(bench *b) {
  for (size_t i = 0; i < HMOEC_MAX_TENSORS; i++) {
    free(b->inputs[i]);
    free(b->wanted[i]);
    free(b->got[i]);
  }
  for (size_t i = 0; i < b->tensor_count; i++) free(b->tensors[i].clean);
  cJSON_Delete(b->header);
  free(b->file);
  hmoec_loaded_destroy(b->loaded);
  hmoec_diagnostics_destroy(b->diagnostics);
  hmoec_compilation_destroy(b->compilation);
  unlink(b->path);
}

/* ---- comparing ---- */

static bool is_same(const bench *b, float got, float want, float largest) {
  if (isnan(got) || isnan(want)) return isnan(got) && (isnan(want) || (isinf(want) && b->row->excuses & INFINITY_MAY_BE_NAN));
  if (isinf(got) || isinf(want)) return got == want;
  /* bf16 products of AVX512_BF16 and AMX take denormals for 0, and give 0 for them. */
  double least = b->bf16 ? 0x1p-120 : 0x1p-138, relative = b->bf16 ? 5e-2 : 2e-5;
  return fabs((double)got - (double)want) <= least + relative * (double)largest;
}

static void compare_output(bench *b, const char *cpu, size_t output) {
  float largest = 0;
  for (size_t e = 0; e < b->counts[output]; e++)
    if (isfinite(b->wanted[output][e])) largest = fmaxf(largest, fabsf(b->wanted[output][e]));
  for (size_t e = 0; e < b->counts[output]; e++) {
    float got = b->got[output][e], want = b->wanted[output][e];
    b->compared++;
    if (is_same(b, got, want, largest)) continue;
    if (b->faults++ < SHOWN)
      print_error("%s %s, %s, %s, %s: %s: %s[%zu] is %g, expected %g\n", b->row->name, b->row->defines ? b->row->defines : "",
                  b->strategy ? b->strategy : "-", b->bf16 ? "bf16" : "f32", cpu, b->what, b->signature.outputs[output].name, e,
                  (double)got, (double)want);
    return; /* one an output says enough */
  }
}

static void compare(bench *b) {
  FILE *out = fopen(b->path, "wb");
  assert_non_null(out);
  assert_int_equal(fwrite(b->file, 1, b->file_bytes, out), b->file_bytes);
  fclose(out);
  assert_int_equal(hmoec_compilation_interpret(b->compilation, &(hmoe_weights){.path = b->path}, b->row->sizes,
                                               (const void *const *)b->inputs, (void *const *)b->wanted),
                   HMOEC_OK);
  for (size_t v = 0; v < sizeof versions / sizeof versions[0]; v++) {
    hmoe_options options = {.struct_size = sizeof options, .threads = 1, .cpu = versions[v]};
    hmoe_weights weights = {.kind = HMOE_WEIGHTS_MEMORY, .data = b->file, .size_bytes = b->file_bytes};
    hmoe_model *model;
    hmoe_status status = hmoe_model_open(b->object, &weights, &options, &model);
    if (status == HMOE_UNSUPPORTED) continue; /* by the machine, or not in an object of f32 */
    if (status != HMOE_OK) fail_msg("%s", hmoe_last_error());
    for (size_t i = 0; i < b->signature.output_count; i++)
      for (size_t e = 0; e < b->counts[i]; e++) b->got[i][e] = 12345;
    assert_int_equal(
        hmoe_model_run(model, b->signature.entry, b->row->sizes, (const void *const *)b->inputs, (void *const *)b->got), HMOE_OK);
    hmoe_model_close(model);
    for (size_t i = 0; i < b->signature.output_count; i++) compare_output(b, versions[v], i);
  }
}

/* ---- variants ---- */

static void clean(bench *b) {
  for (size_t t = 0; t < b->tensor_count; t++)
    memcpy(b->tensors[t].values, b->tensors[t].clean, b->tensors[t].count * sizeof(float));
}

static void one_tensor(bench *b, f32_tensor *t, size_t special, bool all) {
  snprintf(b->what, sizeof b->what, "%s %s %s", all ? "all of" : "one of", t->name, specials[special].name);
  size_t at = random_below(t->count);
  for (size_t i = all ? 0 : at; i < (all ? t->count : at + 1); i++) put(&t->values[i], special);
  compare(b);
  clean(b);
}

/* Several places of several tensors. bf16: no denormals, which meet infinities as zeros in some versions. */
static void mixed(bench *b, int number) {
  snprintf(b->what, sizeof b->what, "mixture %d", number);
  uint64_t rarely = 1 + b->tensor_count / 8; /* or nothing is left that is a number */
  for (size_t t = 0; t < b->tensor_count; t++)
    for (uint64_t n = random_below(b->tensors[t].is_parameter ? 2 : 6); n > 0 && random_below(rarely) == 0; n--)
      put(&b->tensors[t].values[random_below(b->tensors[t].count)], random_below(SPECIALS - b->bf16));
  compare(b);
  clean(b);
}

static void run_case(const test_case *row, const char *strategy, bool bf16) {
  static bench b;
  bench_init(&b, row, strategy, bf16);
  snprintf(b.what, sizeof b.what, "as it is");
  compare(&b);
  for (size_t t = 0; t < b.tensor_count && !row->mixtures; t++)
    for (size_t special = 0; special < SPECIALS; special++)
      for (int all = 0; all < 2; all++) one_tensor(&b, &b.tensors[t], special, all);
  for (int i = 0; i < (row->mixtures ? row->mixtures : MIXED); i++) mixed(&b, i);
  assert_true(b.compared > 0);
  size_t faults = b.faults, compared = b.compared;
  bench_deinit(&b);
  if (faults) fail_msg("%zu of %zu elements are wrong", faults, compared);
}

typedef struct run_row {
  const test_case *row;
  char strategy[16], name[256];
  bool bf16;
} run_row;

static void test_run(void **state) {
  const run_row *r = *state;
  state_of_random = (uint64_t)(r->row - cases);
  run_case(r->row, *r->strategy ? r->strategy : NULL, r->bf16);
}

int main(void) {
  enum { MOST_RUNS = 4 * CASES * 2 };
  static run_row rows[MOST_RUNS];
  static struct CMUnitTest tests[MOST_RUNS];
  size_t count = 0;
  for (size_t c = 0; c < CASES; c++)
    for (int bf16 = 0; bf16 < 2; bf16++) {
      char words[64];
      bool wanted = strstr(cases[c].dtypes ? cases[c].dtypes : "f32", bf16 ? "bf16" : "f32") != NULL;
      snprintf(words, sizeof words, "%s", !wanted ? "" : cases[c].strategies ? cases[c].strategies : "-");
      for (char *at = NULL, *word = strtok_r(words, " ", &at); word; word = strtok_r(NULL, " ", &at)) {
        run_row *r = &rows[count];
        *r = (run_row){.row = &cases[c], .bf16 = bf16};
        if (*word != '-') snprintf(r->strategy, sizeof r->strategy, "%s", word);
        snprintf(r->name, sizeof r->name, "%s %s %s %s", cases[c].name, cases[c].defines ? cases[c].defines : "", word,
                 bf16 ? "bf16" : "f32");
        tests[count++] = (struct CMUnitTest){.name = r->name, .test_func = test_run, .initial_state = r};
      }
    }
  if (getenv("HMOE_TEST_FILTER")) cmocka_set_test_filter(getenv("HMOE_TEST_FILTER")); /* as "moe*bf16" */
  return _cmocka_run_group_tests("nonfinite", tests, count, NULL, NULL);
}
