/* The runtime on GPUs, with the tests' driver (gpu/fake_cuda.h), which counts what is asked of it and fails on request: what is copied, waited for and left
 * behind, and that results are the host's. */
#include "cuda_fixture.h"

#include "hmoe/generate.h"

/* ---- generation ---- */

enum { NEW_TOKENS = 4, MOST_TOKENS = 64 };

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
      if (s == 2) assert_int_equal(bytes, picked + logits); /* of the first step */
      if (s == 3) assert_int_equal(bytes, picked + steps * logits);
    }
    cuda_model_close(&model);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_tokens)};
  return cmocka_run_group_tests(tests, fake_open, NULL);
}
