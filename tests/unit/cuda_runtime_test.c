/* The runtime on GPUs, with the tests' driver (gpu/fake_cuda.h), which counts what is asked of it and fails on request: what is copied, waited for and left
 * behind, and that results are the host's. */
#include "cuda_fixture.h"

#include "device.h"
#include "hmoe/generate.h"

#include <pthread.h>
#include <unistd.h>

/* ---- generation ---- */

enum { NEW_TOKENS = 4, MOST_TOKENS = 64, TIES = 8 /* that there is room for */ };

typedef struct prompt_of {
  const char *model;
  bool encodes;
  int64_t rows, length, ids[12], mask[12];
} prompt_of;

static const prompt_of prompts[] = {
    {"gpt2-hypermoe-tiny-k1", false, 2, 3, {5, 17, 9, 0, 40, 21}, {1, 1, 1, 0, 1, 1}},
    {"switch-moe-tiny", true, 3, 4, {5, 6, 7, 1, 30, 31, 1, 0, 12, 1, 0, 0}, {1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 0, 0}},
};

static int64_t generate(hmoe_model *model, const prompt_of *p, hmoe_generation options, int64_t *tokens) {
  hmoe_prompt prompt = {.rows = p->rows, .length = p->length, .input_ids = p->ids, .attention_mask = p->mask};
  options.struct_size = sizeof options;
  options.max_new_tokens = NEW_TOKENS;
  int64_t length = 0, width = hmoe_generation_width(model, &prompt, &options);
  assert_true(width > 0 && width * p->rows <= MOST_TOKENS);
  expect_ok(hmoe_model_generate(model, &prompt, &options, tokens, &length));
  return length;
}

/* Tokens are the host's, whoever chooses them. Where the largest logit decides, of a step no more comes to the host than where it is, and the word that says
 * whether ids were good. */
static void test_tokens(void **state) {
  (void)state;
  static const int64_t end[] = {3}, some[] = {1, 2, 7};
  const hmoe_generation settings[] = {
      {.end_token = HMOE_NO_TOKENS},
      {.end_token = {end, 1}, .min_new_tokens = 2},
      {.end_token = HMOE_NO_TOKENS, .begin_suppress_tokens = {some, 3}},
      {.end_token = HMOE_NO_TOKENS, .repetition_penalty = 1.3f},
      {.end_token = HMOE_NO_TOKENS, .beams = 2},
      {.end_token = HMOE_NO_TOKENS, .sample = 1, .top_k = 20, .top_p = 0.9f, .seed = 4},
      {.end_token = HMOE_NO_TOKENS, .sample = 1, .top_p = 0.9f, .seed = 5},
      {.end_token = HMOE_NO_TOKENS, .sample = 1, .top_k = 7, .temperature = 3, .repetition_penalty = 1.2f, .seed = 6},
      {.end_token = HMOE_NO_TOKENS, .repetition_penalty = 0.9f},
  };
  for (size_t m = 0; m < sizeof prompts / sizeof *prompts; m++) {
    cuda_model model = cuda_model_open(prompts[m].model);
    size_t count = m ? 1 : sizeof settings / sizeof *settings; /* of one that encodes the way of a step is the same */
    for (size_t s = 0; s < count; s++) {
      int64_t host[MOST_TOKENS] = {0}, device[MOST_TOKENS] = {0};
      int64_t length = generate(model.host, &prompts[m], settings[s], host);
      fake_cuda_counters before = fake.get_counters();
      uint64_t calls = fake.calls("cuMemcpyDtoHAsync");
      assert_int_equal(generate(model.device, &prompts[m], settings[s], device), length);
      assert_memory_equal(host, device, sizeof host);
      fake_cuda_counters after = fake.get_counters();
      uint64_t bytes = after.bytes_from_device - before.bytes_from_device, steps = NEW_TOKENS;
      uint64_t picked =
          steps * ((uint64_t)prompts[m].rows * sizeof(int32_t) + sizeof(uint64_t)) + (prompts[m].encodes ? sizeof(uint64_t) : 0);
      uint64_t logits = (uint64_t)prompts[m].rows * model.vocab * sizeof(float) - (uint64_t)prompts[m].rows * sizeof(int32_t);
      print_message("%s, %zu: %llu bytes from the device\n", prompts[m].model, s, (unsigned long long)bytes);
      if (s == 0) assert_int_equal(bytes, picked);
      if (s == 0) assert_int_equal(fake.calls("cuMemcpyDtoHAsync") - calls, 2 * steps + prompts[m].encodes);
      uint64_t row_bytes = (uint64_t)prompts[m].rows * sizeof(int32_t); /* of a word a row */
      uint64_t length_of_all = (uint64_t)prompts[m].length * steps + steps * (steps - 1) / 2;
      if (s == 2) assert_int_equal(bytes, picked + 2 * (1 + 3 + TIES) * row_bytes); /* of the first step */
      if (s == 3) assert_int_equal(bytes, picked + 2 * (steps * (1 + TIES) + length_of_all) * row_bytes);
      if (s == 5) assert_int_equal(bytes, picked + 2 * steps * (20 + TIES) * row_bytes);
      if (s == 7) assert_int_equal(bytes, picked + 2 * (steps * (7 + TIES) + length_of_all) * row_bytes);
      if (s == 6 || s == 8) assert_int_equal(bytes, picked + steps * logits);
      assert_int_equal(after.unwritten_bytes, before.unwritten_bytes);
    }
    cuda_model_close(&model);
  }
}

/* Rows that have more of the largest than there is room for come whole, others do not; in graphs, too. */
static void test_whole_rows(void **state) {
  (void)state;
  cuda_model m = cuda_model_find(prompts[0].model);
  float *whole = malloc(2 * m.vocab * sizeof *whole), *some = malloc(2 * m.vocab * sizeof *some);
  int64_t length = 3;
  for (int graphs = 0; graphs < 2; graphs++) {
    hmoe_options options = {
        .struct_size = sizeof options, .device = "cuda", .threads = 1, .flags = graphs ? HMOE_DEVICE_GRAPHS : 0};
    hmoe_model *model;
    hmoe_state *first, *second;
    expect_ok(hmoe_model_open(m.object, &(hmoe_weights){.path = m.weights}, &options, &model));
    const hmoe_state_options rows = {sizeof rows, 2, 8, 0, 0};
    expect_ok(hmoe_state_create(model, &rows, &first));
    uint32_t entry = hmoe_model_entry(model, "decode");
    const void *inputs[] = {prompts[0].ids, prompts[0].mask};
    expect_ok(hmoe_model_run_state(model, entry, first, &length, inputs, (void *const[]){whole}));
    for (uint64_t room = 4; room < 6; room++) {
      int32_t words[2 * 11];
      hmoe_pick pick = {.rows = 2, .wanted = 5, .room = room, .words = words, .logits = some};
      expect_ok(hmoe_state_create(model, &rows, &second));
      memset(some, 0x55, 2 * m.vocab * sizeof *some);
      uint64_t before = fake.get_counters().bytes_from_device, bytes = 2 * (1 + 2 * room) * sizeof *words + sizeof(uint64_t);
      expect_ok(hmoe_model_run_pick(model, entry, second, &length, inputs, &pick));
      if (room == 4) {
        assert_memory_equal(some, whole, 2 * m.vocab * sizeof *whole);
        bytes += 2 * m.vocab * sizeof *whole + sizeof(uint64_t); /* the word of the second wait */
      }
      assert_int_equal(fake.get_counters().bytes_from_device - before, bytes);
      for (uint64_t row = 0; row < 2; row++) {
        int32_t *own = words + row * (1 + 2 * room);
        assert_int_equal(own[0], 5);
        for (uint64_t i = 0; i < room; i++)
          assert_memory_equal(&own[1 + room + i], &whole[row * m.vocab + (uint64_t)own[1 + i]], sizeof *whole);
      }
      hmoe_state_destroy(second);
    }
    hmoe_state_destroy(first);
    hmoe_model_close(model);
  }
  free(whole);
  free(some);
}

/* ---- weights ---- */

enum { CHUNK = 4 << 20 };

static void fill_random(uint32_t *words, uint64_t count) {
  uint32_t x = 7;
  for (uint64_t i = 0; i < count; i++) words[i] = x = x * 1664525u + 1013904223u;
}

/* Bytes arrive, whatever the driver reads when; with pinned memory and without. */
static void test_upload(void **state) {
  (void)state;
  cuda_model m = cuda_model_open(prompts[0].model);
  const hmoe_device *device = m.device->device;
  static const uint64_t sizes[] = {0, 4, CHUNK, CHUNK + 4, 3 * CHUNK + 1028};
  uint32_t *from = malloc(4 * CHUNK), *back = malloc(4 * CHUNK);
  for (size_t i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
    uint64_t bytes = sizes[i / 2];
    bool pins = i % 2 == 0;
    void *memory;
    fill_random(from, bytes / 4);
    expect_ok(device->allocate(m.device, bytes, false, "a test", &memory));
    fake_cuda_counters before = fake.get_counters();
    fake.fail_call("cuMemAllocHost", pins ? 0 : 2, CUDA_ERROR_OUT_OF_MEMORY); /* the second: the first is given back */
    expect_ok(device->fill(m.device, memory, from, bytes, NULL));
    fake.fail_call("cuMemAllocHost", 0, CUDA_SUCCESS);
    fake_cuda_counters after = fake.get_counters();
    assert_int_equal(after.copies - before.copies, (bytes + CHUNK - 1) / CHUNK);
    assert_int_equal(after.bytes_to_device - before.bytes_to_device, bytes);
    assert_int_equal(after.live_host_allocations, before.live_host_allocations);
    assert_int_equal(after.live_events, before.live_events);
    memset(back, 0, bytes);
    expect_ok(device->download(m.device, NULL, back, memory, bytes));
    expect_ok(device->fence(m.device, NULL));
    assert_memory_equal(back, from, bytes);
    device->release(m.device, memory, bytes);
  }
  free(from);
  free(back);
  cuda_model_close(&m);
}

typedef struct heard {
  uint64_t done, total;
  int calls;
} heard;

static void hear(void *context, uint64_t done, uint64_t total) {
  heard *h = context;
  assert_true(done >= h->done && done <= total && (!h->calls || total == h->total));
  *h = (heard){done, total, h->calls + 1};
}

/* Weights that were packed before are copied, which is all the progress there is, and the host lets go of the file. */
static void test_packed(void **state) {
  (void)state;
  cuda_model m = cuda_model_open(prompts[0].model);
  char path[] = "/tmp/hmoe-cuda-XXXXXX";
  close(mkstemp(path));
  expect_ok(hmoe_model_save(m.device, path));
  hmoe_model_close(m.device);
  heard h = {0};
  hmoe_options options = {.struct_size = sizeof options, .device = "cuda", .threads = 2, .progress = hear, .progress_context = &h};
  expect_ok(hmoe_model_open(m.object, &(hmoe_weights){.path = path}, &options, &m.device));
  assert_int_equal(h.done, hmoe_model_weight_bytes(m.device));
  assert_int_equal(h.total, h.done);
  assert_null(m.device->packed.data);
  uint64_t packed_bytes = h.total;
  int64_t host[MOST_TOKENS] = {0}, device[MOST_TOKENS] = {0};
  generate(m.host, &prompts[0], (hmoe_generation){.end_token = HMOE_NO_TOKENS}, host);
  generate(m.device, &prompts[0], (hmoe_generation){.end_token = HMOE_NO_TOKENS}, device);
  assert_memory_equal(host, device, sizeof host);
  hmoe_model_close(m.device);
  h = (heard){0};
  expect_ok(hmoe_model_open(m.object, &(hmoe_weights){.path = m.weights}, &options, &m.device));
  assert_true(h.done == h.total && h.total > packed_bytes); /* read, then copied */
  unlink(path);
  cuda_model_close(&m);
}

/* ---- graphs ---- */

/* A run is one launch, of the same kernels, and a graph is made where there is none of its shape; tokens are the same. */
static void test_graphs(void **state) {
  (void)state;
  for (size_t p = 0; p < sizeof prompts / sizeof *prompts; p++) {
    cuda_model m = cuda_model_find(prompts[p].model);
    int64_t tokens[2][MOST_TOKENS] = {{0}};
    fake_cuda_counters spent[2];
    uint64_t made = 0, updated = 0;
    for (int graphs = 0; graphs < 2; graphs++) {
      hmoe_options options = {
          .struct_size = sizeof options, .device = "cuda", .threads = 1, .flags = graphs ? HMOE_DEVICE_GRAPHS : 0};
      hmoe_model *model;
      expect_ok(hmoe_model_open(m.object, &(hmoe_weights){.path = m.weights}, &options, &model));
      fake_cuda_counters before = fake.get_counters();
      made = fake.calls("cuGraphInstantiateWithFlags"), updated = fake.calls("cuGraphExecUpdate");
      generate(model, &prompts[p], (hmoe_generation){.end_token = HMOE_NO_TOKENS}, tokens[graphs]);
      made = fake.calls("cuGraphInstantiateWithFlags") - made, updated = fake.calls("cuGraphExecUpdate") - updated;
      spent[graphs] = fake.get_counters();
      spent[graphs].launches -= before.launches;
      spent[graphs].graph_launches -= before.graph_launches;
      spent[graphs].kernels -= before.kernels;
      hmoe_model_close(model);
    }
    assert_memory_equal(tokens[0], tokens[1], sizeof *tokens);
    uint64_t runs = NEW_TOKENS + prompts[p].encodes;
    print_message("%s: %d launches, or %d graphs of which %d were made and %d updated\n", prompts[p].model, (int)spent[0].launches,
                  (int)spent[1].graph_launches, (int)made, (int)updated);
    assert_true(spent[0].graph_launches == 0 && spent[0].launches == spent[0].kernels);
    assert_true(spent[1].graph_launches == runs && spent[1].launches == 0 && spent[1].kernels == spent[0].kernels);
    assert_true(made <= 3 && updated == runs - 1); /* the encoder's, the prompt's, a token's */
  }
}

/* ---- launches that overlap ---- */

/* All launches of a run but its first may begin before the one before has ended, in graphs, too, where code, driver and application let them; a driver that
 * refuses the first is asked no more. Tokens are the same. */
#define CODE_THAT_DOES_NOT_WAIT "code for chips that have no such launches"
static void test_overlaps(void **state) {
  (void)state;
  static const struct {
    const char *what;
    uint32_t flags;
    bool refuses, overlaps;
  } cases[] = {
      {"apart", HMOE_DEVICE_APART, false, false},   {"plain", 0, false, true},
      {"a graph", HMOE_DEVICE_GRAPHS, false, true}, {"a graph, apart", HMOE_DEVICE_GRAPHS | HMOE_DEVICE_APART, false, false},
      {"a driver that refuses", 0, true, false},    {CODE_THAT_DOES_NOT_WAIT, 0, false, false}};
  for (size_t p = 0; p < sizeof prompts / sizeof *prompts; p++) {
    cuda_model m = cuda_model_find(prompts[p].model);
    int64_t wanted[MOST_TOKENS] = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
      hmoe_options options = {.struct_size = sizeof options, .device = "cuda", .threads = 1, .flags = cases[i].flags};
      hmoe_model *model;
      int64_t tokens[MOST_TOKENS] = {0};
      hmoec_compilation *other = NULL;
      if (strcmp(cases[i].what, CODE_THAT_DOES_NOT_WAIT) == 0) {
        char path[512];
        snprintf(path, sizeof path, "%s/tests/golden/%s", HMOE_SOURCE_DIR, prompts[p].model);
        const hmoec_options sm_80 = {.struct_size = sizeof sm_80, .target = "cuda", .mcpu = "sm_80"};
        assert_int_equal(hmoec_compile_file(path, &sm_80, &other), HMOEC_OK);
        assert_int_equal(hmoec_compilation_load(other, &m.object), HMOEC_OK);
      }
      expect_ok(hmoe_model_open(m.object, &(hmoe_weights){.path = m.weights}, &options, &model));
      if (cases[i].refuses) fake.fail_call("cuLaunchKernelEx", 1, CUDA_ERROR_NOT_SUPPORTED);
      fake_cuda_counters before = fake.get_counters();
      uint64_t calls = fake.calls("cuLaunchKernelEx");
      generate(model, &prompts[p], (hmoe_generation){.end_token = HMOE_NO_TOKENS}, i ? tokens : wanted);
      fake_cuda_counters after = fake.get_counters();
      if (i) assert_memory_equal(tokens, wanted, sizeof tokens);
      uint64_t kernels = after.kernels - before.kernels, runs = NEW_TOKENS + prompts[p].encodes,
               dependents = after.dependents - before.dependents;
      print_message("%s, %s: %d of %d launches overlap\n", prompts[p].model, cases[i].what, (int)dependents, (int)kernels);
      assert_int_equal(dependents, cases[i].overlaps ? kernels - runs : 0);
      assert_int_equal(fake.calls("cuLaunchKernelEx") - calls, cases[i].refuses ? 1 : dependents);
      assert_int_equal(after.misplaced, 0);
      hmoe_model_close(model);
      hmoec_compilation_destroy(other);
    }
  }
}

/* Weights of few rows in bf16 are read before the launch before has ended, in graphs, too; what comes out is the same. In the second layer logits are an output, so that
 * blocks, which the launch that chooses experts makes as well, lie where that binds nothing: they are read behind it. */
static void test_early(void **state) {
  (void)state;
  enum { TOKENS = 3, WIDTH = 64, EXPERTS = 8 };
  static const uint32_t flags[] = {HMOE_DEVICE_APART, 0, HMOE_DEVICE_GRAPHS};
  static const char *const more[] = {"", "output l = logits\n"};
  const hmoec_options bf16 = {.struct_size = sizeof bf16, .target = "cuda", .mcpu = "sm_90a", .dtype = "bf16"};
  float x[TOKENS * WIDTH], y[2][TOKENS * WIDTH], l[TOKENS * EXPERTS];
  for (int i = 0; i < TOKENS * WIDTH; i++) x[i] = (float)(i * 37 % 64 - 32) / 32.0f;
  for (size_t s = 0; s < sizeof more / sizeof *more; s++) {
    char spec[1024], weights[] = "/tmp/hmoe-cuda-early-XXXXXX.safetensors";
    hmoec_compilation *compilation;
    const hmoe_model_object *object;
    int size = snprintf(
        spec, sizeof spec,
        "model layer\ndim tokens = ?\nparam c: f32[8, 64] from \"c\"\nparam i[e < 8]: f32[128, 64] from \"i_{e}\"\n"
        "param o[e < 8]: f32[64, 128] from \"o_{e}\"\ninput x: f32[tokens, 64]\nlogits = linear(x, c)\n"
        "routing = route(logits, top_k = 1)\noutput y = combine(experts(x, routing, i, o, activation = relu), routing)\n%s",
        more[s]);
    assert_int_equal(hmoec_compile_text("layer.spec", spec, (size_t)size, &bf16, &compilation), HMOEC_OK);
    assert_int_equal(hmoec_compilation_load(compilation, &object), HMOEC_OK);
    close(mkstemps(weights, (int)strlen(".safetensors")));
    assert_int_equal(hmoec_compilation_random_weights(compilation, 1, weights), HMOEC_OK);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
      hmoe_options options = {.struct_size = sizeof options, .device = "cuda", .threads = 1, .flags = flags[i]};
      hmoe_model *model;
      expect_ok(hmoe_model_open(object, &(hmoe_weights){.path = weights}, &options, &model));
      uint64_t before = fake.get_counters().early_bytes;
      const int64_t tokens = TOKENS;
      expect_ok(hmoe_model_run(model, 1, &tokens, (const void *const[]){x}, (void *const[]){y[i > 0], l}));
      uint64_t early = fake.get_counters().early_bytes - before;
      print_message("flags %u: %llu bytes were read early\n", flags[i], (unsigned long long)early);
      if (flags[i] & HMOE_DEVICE_APART) assert_int_equal(early, 0);
      else assert_true(early > 0);
      if (i) assert_memory_equal(y[1], y[0], sizeof *y);
      hmoe_model_close(model);
    }
    hmoec_compilation_destroy(compilation);
    unlink(weights);
  }
}

/* ---- failures ---- */

/* Host memory that is counted. */
static long host_bytes;

static void *count_allocate(void *context, size_t size, size_t alignment) {
  (void)context;
  host_bytes += (long)size;
  return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void count_release(void *context, void *memory, size_t size) {
  (void)context;
  host_bytes -= (long)size;
  free(memory);
}

static const hmoe_allocator counted = {NULL, count_allocate, count_release};

static hmoe_status decode(hmoe_model *model, hmoe_state *state, int64_t length, const int64_t *ids, float *logits) {
  return hmoe_model_run_state(model, hmoe_model_entry(model, "decode"), state, &length, (const void *const[]){ids, NULL},
                              (void *const[]){logits});
}

/* Queries of few heads that see keys of two tiles: several tasks share them, in a launch more a layer. Of the keys many are masked, so that the model has positions
 * for the others. kernels: those of the second run. */
enum { VOCABULARY = 197, PAST = 72, SOME = 8, MASKED = 40 };
static void decode_some(hmoe_model *model, const int64_t *ids, const int64_t *mask, int64_t length, float *logits,
                        uint64_t *kernels) {
  hmoe_state *state;
  float first[VOCABULARY];
  uint32_t entry = hmoe_model_entry(model, "decode");
  expect_ok(hmoe_state_create(model, &(hmoe_state_options){sizeof(hmoe_state_options), 1, PAST + SOME, 0, 0}, &state));
  expect_ok(hmoe_model_run_state(model, entry, state, &(int64_t){PAST}, (const void *const[]){ids, mask}, (void *const[]){first}));
  uint64_t before = fake.get_counters().kernels;
  expect_ok(
      hmoe_model_run_state(model, entry, state, &length, (const void *const[]){ids + PAST, mask + PAST}, (void *const[]){logits}));
  *kernels = fake.get_counters().kernels - before;
  hmoe_state_destroy(state);
}

static void test_shared_keys(void **state) {
  (void)state;
  enum { LAYERS = 3, HEADS = 3 };
  fake.set_multiprocessors(3 * HEADS); /* three tasks a head */
  cuda_model m = cuda_model_open("gpt2-hypermoe-tiny-k1");
  hmoe_options options = {.struct_size = sizeof options, .device = "cuda", .threads = 1, .flags = HMOE_DEVICE_GRAPHS};
  hmoe_model *graphs;
  expect_ok(hmoe_model_open(m.object, &(hmoe_weights){.path = m.weights}, &options, &graphs));
  int64_t ids[PAST + SOME], mask[PAST + SOME];
  for (int i = 0; i < PAST + SOME; i++) ids[i] = i * 7 % VOCABULARY, mask[i] = i >= MASKED || i % 5 == 0;
  uint64_t none = 0, alone = 0, shared = 0, captured = 0;
  float host[VOCABULARY], device[VOCABULARY], graph[VOCABULARY], few[VOCABULARY];
  decode_some(m.host, ids, mask, SOME, host, &none);
  decode_some(m.device, ids, mask, SOME / 2, few, &alone);
  decode_some(m.device, ids, mask, SOME, device, &shared);
  decode_some(graphs, ids, mask, SOME, graph, &captured);
  assert_true(none == 0 && shared == alone + LAYERS && captured == shared);
  assert_memory_equal(device, graph, sizeof graph);
  for (int i = 0; i < VOCABULARY; i++) assert_float_equal(device[i], host[i], 1e-4);
  hmoe_model_close(graphs);
  cuda_model_close(&m);
  fake.set_multiprocessors(4);
}

/* Warps that a run of a layer takes on so many multiprocessors: each of them ends once. */
enum { WIDE = 300, WIDE_TOKENS = 4, WIDE_VALUES = WIDE * WIDE_TOKENS, WARPS = 8, COMBINE_WARPS = 4 /* of a task */ };
static uint64_t count_warps(cuda_model *m, int multiprocessors, const float *x, float *y) {
  fake.set_multiprocessors(multiprocessors);
  expect_ok(cuda_model_open_on(m, "cuda", &m->device));
  uint64_t before = fake.instructions("ret");
  expect_ok(hmoe_model_run(m->device, hmoe_model_entry(m->device, "run"), &(int64_t){WIDE_TOKENS}, (const void *const[]){x},
                           (void *const[]){y}));
  uint64_t found = fake.instructions("ret") - before;
  hmoe_model_close(m->device);
  return found;
}

/* What experts give few tokens is added up by several tasks a token, which share its columns: two each, of three that there might be, where there are four multiprocessors,
 * which take eight tasks. Of what else is run there the router is eight tasks in place of two; products of experts are enough blocks on one, too. */
static void test_shared_columns(void **state) {
  (void)state;
  static const char spec[] = "model layer\ndim tokens = ?\nparam c: f32[8, 300] from \"c\"\n"
                             "param i[e < 8]: f32[8, 300] from \"i_{e}\"\nparam o[e < 8]: f32[300, 8] from \"o_{e}\"\n"
                             "input x: f32[tokens, 300]\nrouting = route(linear(x, c), top_k = 6)\n"
                             "output y = combine(experts(x, routing, i, o, activation = relu), routing)\n";
  const hmoec_options options = {.struct_size = sizeof options, .target = "cuda", .mcpu = "sm_90a"};
  hmoec_compilation *compilation;
  cuda_model m = {.weights = "/tmp/hmoe-cuda-wide-XXXXXX.safetensors"};
  float x[WIDE_VALUES], host[WIDE_VALUES], one[WIDE_VALUES], four[WIDE_VALUES];
  for (int i = 0; i < WIDE_VALUES; i++) x[i] = (float)(i * 37 % 101 - 50) / 50;
  assert_int_equal(hmoec_compile_text("layer.spec", spec, sizeof spec - 1, &options, &compilation), HMOEC_OK);
  assert_int_equal(hmoec_compilation_load(compilation, &m.object), HMOEC_OK);
  close(mkstemps(m.weights, (int)strlen(".safetensors")));
  assert_int_equal(hmoec_compilation_random_weights(compilation, 1, m.weights), HMOEC_OK);
  expect_ok(cuda_model_open_on(&m, NULL, &m.host));
  expect_ok(hmoe_model_run(m.host, hmoe_model_entry(m.host, "run"), &(int64_t){WIDE_TOKENS}, (const void *const[]){x},
                           (void *const[]){host}));
  uint64_t warps = count_warps(&m, 1, x, one);
  assert_int_equal(count_warps(&m, 4, x, four) - warps, WIDE_TOKENS * COMBINE_WARPS + 6 * WARPS);
  assert_memory_equal(one, four, sizeof one);
  for (int i = 0; i < WIDE_VALUES; i++) assert_float_equal(four[i], host[i], 1e-4);
  hmoe_model_close(m.host);
  hmoec_compilation_destroy(compilation);
  unlink(m.weights);
}

/* All that a model does with a driver, up to the first thing that fails; nothing is left behind. */
static hmoe_status live(const cuda_model *m, float *logits, bool graphs) {
  hmoe_options options = {.struct_size = sizeof options,
                          .device = "cuda",
                          .threads = 1,
                          .allocator = &counted,
                          .flags = graphs ? HMOE_DEVICE_GRAPHS : 0};
  static uint8_t chunks[CHUNK + 4];
  hmoe_model *model = NULL;
  hmoe_state *state = NULL;
  void *memory = NULL;
  int64_t one = 1;
  int32_t places[2];
  int32_t words[2 * 9];
  hmoe_pick pick = {.rows = 2, .words = places}, best = {.rows = 2, .wanted = 3, .room = 4, .words = words, .logits = logits};
  hmoe_status status = hmoe_model_open(m->object, &(hmoe_weights){.path = m->weights}, &options, &model);
  if (status == HMOE_OK) status = model->device->allocate(model, sizeof chunks, true, "chunks", &memory);
  if (status == HMOE_OK) status = model->device->fill(model, memory, chunks, sizeof chunks, NULL);
  if (status == HMOE_OK) status = hmoe_state_create(model, &(hmoe_state_options){sizeof(hmoe_state_options), 2, 8, 0, 0}, &state);
  if (status == HMOE_OK) status = decode(model, state, 3, prompts[0].ids, logits);
  if (status == HMOE_OK) status = hmoe_state_reorder(state, (const int32_t[]){1, 0});
  if (status == HMOE_OK)
    status = hmoe_model_run_pick(model, hmoe_model_entry(model, "decode"), state, &one, (const void *const[]){prompts[0].ids, NULL},
                                 &pick);
  if (status == HMOE_OK)
    status = hmoe_model_run_pick(model, hmoe_model_entry(model, "decode"), state, &one, (const void *const[]){prompts[0].ids, NULL},
                                 &best);
  if (status == HMOE_OK) status = hmoe_model_save(model, "/nothing/here.hmw") == HMOE_IO_ERROR ? HMOE_OK : HMOE_DEVICE_FAILED;
  hmoe_state_destroy(state);
  if (memory) model->device->release(model, memory, sizeof chunks);
  hmoe_model_close(model);
  return status;
}

typedef enum may { SAYS, RELEASES, PASSES } may; /* a failure: is the call's; leaves what was to be given back; is borne */

/* Every function of the driver, each of its calls: the call and the driver's words come out, and nothing stays. */
static void test_failures(void **state) {
  (void)state;
  static const struct {
    const char *name;
    may may;
    bool graphs;
  } functions[] = {{"cuDeviceGetCount", SAYS, false},
                   {"cuDeviceGet", SAYS, false},
                   {"cuDeviceGetName", PASSES, false},
                   {"cuDeviceGetAttribute", SAYS, false},
                   {"cuDriverGetVersion", SAYS, false},
                   {"cuDevicePrimaryCtxRetain", SAYS, false},
                   {"cuDevicePrimaryCtxRelease", RELEASES, false},
                   {"cuCtxPushCurrent", RELEASES, false},
                   {"cuCtxPopCurrent", RELEASES, false},
                   {"cuModuleLoadDataEx", SAYS, false},
                   {"cuModuleUnload", RELEASES, false},
                   {"cuModuleGetFunction", SAYS, false},
                   {"cuMemAlloc", SAYS, false},
                   {"cuMemFree", RELEASES, false},
                   {"cuMemsetD8Async", SAYS, false},
                   {"cuMemcpyHtoDAsync", SAYS, false},
                   {"cuMemcpyDtoHAsync", SAYS, false},
                   {"cuMemcpyDtoDAsync", SAYS, false},
                   {"cuStreamCreate", SAYS, false},
                   {"cuStreamDestroy", RELEASES, false},
                   {"cuStreamSynchronize", SAYS, false},
                   {"cuMemAllocHost", PASSES, false},
                   {"cuMemFreeHost", RELEASES, false},
                   {"cuEventCreate", PASSES, false},
                   {"cuEventDestroy", RELEASES, false},
                   {"cuEventRecord", SAYS, false},
                   {"cuLaunchKernel", SAYS, false},
                   {"cuLaunchKernel", SAYS, true},
                   {"cuLaunchKernelEx", SAYS, false},
                   {"cuLaunchKernelEx", SAYS, true},
                   {"cuStreamBeginCapture", SAYS, true},
                   {"cuStreamEndCapture", RELEASES, true}, /* its stream stays in capture, in which nothing may be freed */
                   {"cuGraphInstantiateWithFlags", SAYS, true},
                   {"cuGraphExecUpdate", PASSES, true},
                   {"cuGraphLaunch", SAYS, true},
                   {"cuGraphDestroy", RELEASES, true},
                   {"cuGraphExecDestroy", RELEASES, true}};
  cuda_model m = cuda_model_find(prompts[0].model);
  float *logits = malloc(2 * m.vocab * sizeof *logits);
  fake.set_idle(true);
  expect_ok(live(&m, logits, false));
  assert_int_equal(host_bytes, 0);
  int failed = 0;
  for (size_t f = 0; f < sizeof functions / sizeof *functions; f++) {
    const char *name = functions[f].name;
    char expected[128];
    snprintf(expected, sizeof expected, "CUDA: %s: CUDA_ERROR_UNKNOWN (unknown error)", name);
    for (unsigned n = 1;; n += 1 + n / 2, failed++) {
      fake_cuda_counters before = fake.get_counters();
      uint64_t calls = fake.calls(name);
      fake.fail_call(name, n, CUDA_ERROR_UNKNOWN);
      hmoe_status status = live(&m, logits, functions[f].graphs);
      fake.fail_call(name, 0, CUDA_SUCCESS);
      bool done = fake.calls(name) - calls < n;
      fake_cuda_counters after = fake.get_counters();
      assert_int_equal(host_bytes, 0);
      if (done || functions[f].may == PASSES) expect_ok(status);
      else if (functions[f].may == SAYS || status != HMOE_OK) {
        if (status != HMOE_DEVICE_FAILED || !strstr(hmoe_last_error(), expected))
          fail_msg("%s, call %u: %s: %s", name, n, hmoe_status_string(status), hmoe_last_error());
      }
      while (fake.pop(NULL) == CUDA_SUCCESS) assert_string_equal(name, "cuCtxPopCurrent");
      if (functions[f].may != RELEASES) {
        assert_int_equal(after.live_allocations, before.live_allocations);
        assert_int_equal(after.live_host_allocations, before.live_host_allocations);
        assert_int_equal(after.live_streams, before.live_streams);
        assert_int_equal(after.live_events, before.live_events);
        assert_int_equal(after.live_modules, before.live_modules);
        assert_int_equal(after.live_graphs, before.live_graphs);
      }
      if (!done) continue;
      if (n == 1) fail_msg("%s is never called", name);
      break;
    }
  }
  print_message("%d calls failed\n", failed);
  /* Out of memory says for what, and how much. */
  fake.fail_call("cuMemAlloc", 1, CUDA_ERROR_OUT_OF_MEMORY);
  assert_int_equal(live(&m, logits, false), HMOE_OUT_OF_MEMORY);
  char words[160];
  hmoe_model *model;
  expect_ok(cuda_model_open_on(&m, "cuda", &model));
  snprintf(words, sizeof words, "CUDA: cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY (out of memory): the packed weights, %zu bytes",
           hmoe_model_weight_bytes(model));
  hmoe_model_close(model);
  fake.fail_call("cuMemAlloc", 1, CUDA_ERROR_OUT_OF_MEMORY);
  assert_int_equal(live(&m, logits, false), HMOE_OUT_OF_MEMORY);
  assert_string_equal(hmoe_last_error(), words);
  /* A kernel that goes wrong takes the context with it: the model can be closed, and the host has its memory back. */
  for (unsigned n = 1; n < 60; n += 1 + n / 2) {
    fake.fail_call("kernel", n, CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(live(&m, logits, false), HMOE_DEVICE_FAILED);
    assert_non_null(strstr(hmoe_last_error(), "CUDA_ERROR_ILLEGAL_ADDRESS (an illegal memory access was encountered)"));
    assert_int_equal(host_bytes, 0);
    fake.reset();
    fake.set_idle(true);
    assert_int_equal(fake.init(0), CUDA_SUCCESS);
  }
  fake.set_idle(false);
  free(logits);
}

/* Runs a model, whose object may lack something: a run that comes to what is not there says which image lacks what. Returns whether it came there. */
static bool misses(const cuda_model *m, float *logits, const char *what) {
  char words[64];
  hmoe_model *model;
  hmoe_state *state;
  int64_t length = 3;
  const hmoe_state_options rows = {sizeof rows, 2, 8, 0, 0};
  const void *inputs[] = {prompts[0].ids, prompts[0].mask};
  expect_ok(cuda_model_open_on(m, "cuda", &model));
  expect_ok(hmoe_state_create(model, &rows, &state));
  hmoe_status status =
      hmoe_model_run_state(model, hmoe_model_entry(model, "decode"), state, &length, inputs, (void *const[]){logits});
  snprintf(words, sizeof words, "the image compute_90a has no code for %s", what);
  if (status != HMOE_OK) assert_int_equal(status, HMOE_INCOMPATIBLE);
  if (status != HMOE_OK && !strstr(hmoe_last_error(), words)) fail_msg("expected '%s', found '%s'", words, hmoe_last_error());
  hmoe_state_destroy(state);
  hmoe_model_close(model);
  return status != HMOE_OK;
}

/* Without one kernel after the other, of all images, and without code for one kind of step after the other. */
static void test_missing_code(void **state) {
  (void)state;
  enum { MOST_IMAGES = 4, MOST_KERNELS = 64, CODES = 24, KERNELS_LEAST = 5, STEPS_LEAST = 3 };
  cuda_model m = cuda_model_find(prompts[0].model), less = m;
  hmoe_model_object object = *m.object;
  hmoe_image images[MOST_IMAGES];
  hmoe_function functions[MOST_IMAGES][MOST_KERNELS];
  assert_true(object.image_count <= MOST_IMAGES && object.kernel_count <= MOST_KERNELS);
  for (uint32_t i = 0; i < object.image_count; i++) {
    images[i] = m.object->images[i];
    for (uint32_t k = 0; k < object.kernel_count; k++) functions[i][k] = images[i].functions[k];
    images[i].functions = functions[i];
  }
  object.images = images;
  less.object = &object;
  float *logits = malloc(2 * m.vocab * sizeof *logits);
  unsigned found = 0;
  int kernels = 0, steps = 0;
  char what[32];
  fake.set_idle(true);
  assert_false(misses(&less, logits, ""));
  for (uint32_t k = 0; k < object.kernel_count; k++) {
    bool is_there = false;
    for (uint32_t i = 0; i < object.image_count; i++) {
      is_there |= images[i].functions[k].threads > 0;
      functions[i][k].name = NULL;
    }
    snprintf(what, sizeof what, "kernel %u", k);
    found += is_there;
    if (is_there) kernels += misses(&less, logits, what);
    for (uint32_t i = 0; i < object.image_count; i++) functions[i][k] = m.object->images[i].functions[k];
  }
  for (unsigned code = 1; code <= CODES; code++) {
    fake.fail_call("cuModuleGetFunction", found + code, CUDA_ERROR_NOT_FOUND);
    steps += misses(&less, logits, "a step of this run");
    fake.fail_call("cuModuleGetFunction", 0, CUDA_SUCCESS);
  }
  fake.set_idle(false);
  print_message("%d kernels and %d steps are missed\n", kernels, steps);
  assert_true(kernels >= KERNELS_LEAST && steps >= STEPS_LEAST);
  free(logits);
}

/* What a run found that then failed is not the next run's. */
static void test_stale(void **state) {
  (void)state;
  cuda_model m = cuda_model_open(prompts[0].model);
  float *logits = malloc(2 * m.vocab * sizeof *logits);
  const int64_t bad[] = {1, 2, 3, -7, 4, 5};
  for (int i = 0; i < 3; i++) {
    hmoe_state *s;
    expect_ok(hmoe_state_create(m.device, &(hmoe_state_options){sizeof(hmoe_state_options), 2, 8, 0, 0}, &s));
    if (i == 0) fake.fail_call("cuMemcpyDtoHAsync", 1, CUDA_ERROR_UNKNOWN); /* the logits */
    if (i == 1) fake.fail_call("cuMemcpyDtoHAsync", 2, CUDA_ERROR_UNKNOWN); /* what was found */
    hmoe_status status = decode(m.device, s, 3, bad, logits);
    assert_int_equal(status, i < 2 ? HMOE_DEVICE_FAILED : HMOE_INVALID_ARGUMENT);
    if (i == 2) assert_string_equal(hmoe_last_error(), "input 'input_ids'[1, 0] = -7: expected 0 to 196");
    assert_int_equal(hmoe_state_length(s), 0);
    expect_ok(decode(m.device, s, 3, prompts[0].ids, logits));
    hmoe_state_destroy(s);
  }
  free(logits);
  cuda_model_close(&m);
}

/* ---- streams and memory of the caller's ---- */

typedef struct session_of {
  hmoe_model *model;
  hmoe_state *state;
  uint8_t *memory; /* of the device: ids of the prompt and of one token, logits of both */
  uint64_t logits_bytes;
} session_of;

enum { PROMPT_AT = 16, TOKEN_AT = 80, LOGITS_AT = 112, PROMPT_LENGTH = 3 };

static session_of session_begin(hmoe_model *model, const int64_t *ids, uint64_t vocab) {
  session_of s = {.model = model, .logits_bytes = 2 * vocab * sizeof(float) / 16 * 16 + 16};
  void *memory;
  expect_ok(hmoe_state_create(model, &(hmoe_state_options){sizeof(hmoe_state_options), 2, 8, 0, 0}, &s.state));
  expect_ok(model->device->allocate(model, LOGITS_AT + 2 * s.logits_bytes, false, "a session", &memory));
  s.memory = memory;
  expect_ok(model->device->upload(model, NULL, s.memory + PROMPT_AT, ids, 2 * PROMPT_LENGTH * sizeof *ids));
  expect_ok(model->device->upload(model, NULL, s.memory + TOKEN_AT, ids + 1, 2 * sizeof *ids));
  expect_ok(model->device->fence(model, NULL));
  return s;
}

static hmoe_status session_run(const session_of *s, CUstream stream, bool prompt) {
  int64_t length = prompt ? PROMPT_LENGTH : 1;
  hmoe_run_options options = {.struct_size = sizeof options, .state = s->state, .stream = stream, .flags = HMOE_RUN_DEVICE_TENSORS};
  return hmoe_model_run_with(s->model, hmoe_model_entry(s->model, "decode"), &options, &length,
                             (const void *const[]){s->memory + (prompt ? PROMPT_AT : TOKEN_AT), NULL},
                             (void *const[]){s->memory + LOGITS_AT + (prompt ? 0 : s->logits_bytes)});
}

static void expect_logits(const session_of *s, float *const wanted[2], uint64_t vocab) {
  float *found = malloc(2 * vocab * sizeof *found);
  for (int i = 0; i < 2; i++) {
    expect_ok(s->model->device->download(s->model, NULL, found, s->memory + LOGITS_AT + (uint64_t)i * s->logits_bytes,
                                         2 * vocab * sizeof *found));
    expect_ok(s->model->device->fence(s->model, NULL));
    assert_memory_equal(found, wanted[i], 2 * vocab * sizeof *found);
  }
  free(found);
}

static void session_end(session_of *s) {
  hmoe_state_destroy(s->state);
  s->model->device->release(s->model, s->memory, LOGITS_AT + 2 * s->logits_bytes);
}

/* A queued run waits for nothing and copies nothing; what it computes is the same, and the same workspace goes from stream to stream. */
static void test_streams(void **state) {
  (void)state;
  cuda_model m = cuda_model_find(prompts[0].model);
  float *wanted[2] = {malloc(2 * m.vocab * sizeof(float)), malloc(2 * m.vocab * sizeof(float))};
  const int64_t *ids = prompts[0].ids, bad[] = {1, 2, 3, -7, 4, 5};
  CUcontext context;
  CUstream streams[2];
  for (int graphs = 0; graphs < 2; graphs++) {
    hmoe_options options = {
        .struct_size = sizeof options, .device = "cuda", .threads = 1, .flags = graphs ? HMOE_DEVICE_GRAPHS : 0};
    hmoe_model *model;
    expect_ok(hmoe_model_open(m.object, &(hmoe_weights){.path = m.weights}, &options, &model));
    assert_int_equal(fake.retain(&context, 0), CUDA_SUCCESS);
    assert_int_equal(fake.set_context(context), CUDA_SUCCESS);
    for (int i = 0; i < 2; i++) assert_int_equal(fake.create_stream(&streams[i], CU_STREAM_NON_BLOCKING), CUDA_SUCCESS);

    hmoe_state *plain;
    expect_ok(hmoe_state_create(model, &(hmoe_state_options){sizeof(hmoe_state_options), 2, 8, 0, 0}, &plain));
    expect_ok(decode(model, plain, PROMPT_LENGTH, ids, wanted[0]));
    expect_ok(decode(model, plain, 1, ids + 1, wanted[1]));
    hmoe_state_destroy(plain);

    session_of a = session_begin(model, ids, m.vocab), b = session_begin(model, ids, m.vocab);
    fake_cuda_counters before = fake.get_counters();
    for (int i = 0; i < 2; i++) expect_ok(session_run(&a, streams[0], i == 0));
    for (int i = 0; i < 2; i++) expect_ok(session_run(&b, streams[1], i == 0));
    fake_cuda_counters after = fake.get_counters();
    assert_int_equal(after.synchronisations, before.synchronisations);
    assert_int_equal(after.kernels, before.kernels); /* nothing has run, not even what came first */
    assert_int_equal(after.copies, before.copies);
    assert_int_equal(hmoe_state_length(a.state), PROMPT_LENGTH + 1);
    assert_null(model->workspaces->next); /* one did for all */
    assert_int_equal(fake.synchronise(streams[1]), CUDA_SUCCESS); /* which waits for the other */
    expect_logits(&a, wanted, m.vocab);
    expect_logits(&b, wanted, m.vocab);
    expect_ok(hmoe_model_wait(model));

    /* What is wrong is said once, by who waits; runs that wait themselves hear of their own alone. */
    session_of c = session_begin(model, bad, m.vocab);
    expect_ok(session_run(&c, streams[0], true));
    expect_ok(session_run(&b, NULL, false));
    assert_int_equal(hmoe_model_wait(model), HMOE_INVALID_ARGUMENT);
    assert_non_null(strstr(hmoe_last_error(), "a queued run was given ids that are none of the model's"));
    expect_ok(hmoe_model_wait(model));
    expect_ok(hmoe_state_rewind(c.state, 0));
    assert_int_equal(session_run(&c, NULL, true), HMOE_INVALID_ARGUMENT);
    assert_string_equal(hmoe_last_error(), "input 'input_ids'[1, 0] = -7: expected 0 to 196");

    /* The word is clean again; and what is refused. */
    expect_ok(hmoe_state_rewind(a.state, 0));
    expect_ok(session_run(&a, streams[0], true));
    expect_ok(hmoe_model_wait(model));
    c.memory -= 8; /* not aligned */
    assert_int_equal(session_run(&c, streams[0], true), HMOE_INVALID_ARGUMENT);
    assert_string_equal(hmoe_last_error(), "input 'input_ids' is not 16-byte aligned");
    c.memory += 8;
    session_end(&a);
    session_end(&b);
    session_end(&c);
    for (int i = 0; i < 2; i++) assert_int_equal(fake.destroy_stream(streams[i]), CUDA_SUCCESS);
    hmoe_model_close(model);
    fake.pop(NULL);
    fake_cuda_counters end = fake.get_counters();
    assert_true(!end.live_allocations && !end.live_events && !end.live_streams && !end.live_graphs && !end.live_host_allocations);
  }
  for (int i = 0; i < 2; i++) free(wanted[i]);
  /* A host has no streams; its memory is the caller's. */
  hmoe_model *host;
  expect_ok(cuda_model_open_on(&m, NULL, &host));
  int64_t length = 1;
  hmoe_run_options options = {.struct_size = sizeof options, .stream = &length};
  assert_int_equal(hmoe_model_run_with(host, 1, &options, &length, NULL, NULL), HMOE_INVALID_ARGUMENT);
  assert_string_equal(hmoe_last_error(), "run: options.stream is set, and the device cpu has no streams");
  options.flags = 2;
  assert_int_equal(hmoe_model_run_with(host, 1, &options, &length, NULL, NULL), HMOE_INVALID_ARGUMENT);
  assert_string_equal(hmoe_last_error(), "run options.flags: unknown bits in 0x2");
  expect_ok(hmoe_model_wait(host));
  hmoe_model_close(host);
}

/* ---- several ---- */

typedef struct worker_of {
  hmoe_model *model;
  int64_t tokens[MOST_TOKENS];
} worker_of;

static void *work(void *context) {
  worker_of *w = context;
  generate(w->model, &prompts[0], (hmoe_generation){.end_token = HMOE_NO_TOKENS}, w->tokens);
  return NULL;
}

/* Models on two devices, and two threads on each. */
static void test_devices(void **state) {
  (void)state;
  cuda_model m = cuda_model_find(prompts[0].model);
  fake.set_devices(2);
  worker_of workers[4] = {{.model = NULL}};
  pthread_t threads[4];
  static const char *const names[] = {"cuda", "cuda:1"};
  hmoe_model *models[3], *none;
  for (int i = 0; i < 2; i++) expect_ok(cuda_model_open_on(&m, names[i], &models[i]));
  expect_ok(cuda_model_open_on(&m, NULL, &models[2]));
  for (int i = 0; i < 4; i++) {
    workers[i].model = models[i / 2];
    assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
  }
  worker_of host = {models[2], {0}};
  work(&host);
  for (int i = 0; i < 4; i++) {
    assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_memory_equal(workers[i].tokens, host.tokens, sizeof host.tokens);
  }
  assert_int_equal(cuda_model_open_on(&m, "cuda:2", &none), HMOE_UNSUPPORTED);
  assert_string_equal(hmoe_last_error(), "options.device: there are 2 CUDA devices, found \"cuda:2\"");
  for (int i = 0; i < 3; i++) hmoe_model_close(models[i]);
  fake.set_devices(1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_tokens),     cmocka_unit_test(test_shared_keys), cmocka_unit_test(test_shared_columns),
      cmocka_unit_test(test_whole_rows), cmocka_unit_test(test_upload),      cmocka_unit_test(test_packed),
      cmocka_unit_test(test_graphs),     cmocka_unit_test(test_overlaps),    cmocka_unit_test(test_early),
      cmocka_unit_test(test_streams),    cmocka_unit_test(test_devices),     cmocka_unit_test(test_failures),
      cmocka_unit_test(test_stale),      cmocka_unit_test(test_missing_code)};
  return cmocka_run_group_tests(tests, fake_open, fake_close);
}
