/* Any bytes as packed weights for a fixed model, as file or checkpoint (open tells them apart): a model or a message. */
#include <hmoe/abi.h>
#include <hmoe/runtime.h>

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "fuzz/target.h"

/* A model of 64 bytes of weights and nothing to do at open. */
static struct {
  hmoe_plan plan;
  hmoe_plan_entry entries[1];
  char name[8];
} blob = {
    .plan = {.magic = HMOE_PLAN_MAGIC,
             .abi_version = HMOE_ABI_VERSION,
             .bytes = sizeof blob,
             .weight_bytes = 64,
             .name = {sizeof(hmoe_plan) + sizeof(hmoe_plan_entry), 4},
             .entries = {sizeof(hmoe_plan), 1},
             .state_positions = 1,
             .layout = 7},
    .entries = {{.advance = {HMOE_NONE, HMOE_NONE}}},
    .name = "fuzz",
};

/* The header of a .hmw file ends in a hash of what is before it, which no mutation hits. */
enum { HASHED_BYTES = 304 };

static bool opens(const uint8_t *data, size_t size, uint32_t flags) {
  static const hmoe_image image = {.target = "cpu", .version = "portable"};
  const hmoe_model_object object = {
      .abi_version = HMOE_ABI_VERSION, .plan = &blob, .plan_bytes = sizeof blob, .images = &image, .image_count = 1};
  hmoe_options options = {.struct_size = sizeof options, .threads = 1, .flags = flags};
  hmoe_weights weights = {.kind = HMOE_WEIGHTS_MEMORY, .data = data, .size_bytes = size};
  hmoe_model *model;
  if (hmoe_model_open(&object, &weights, &options, &model) != HMOE_OK) return false;
  hmoe_model_close(model);
  return true;
}

bool fuzz_accepts(const uint8_t *data, size_t size) {
  uint8_t *memory = aligned_alloc(64, (size + 64) / 64 * 64);
  if (!memory) abort();
  if (size) memcpy(memory, data, size);
  bool accepted = opens(memory, size, 0);
  /* The checksum over the data can only refuse more. */
  if (opens(memory, size, HMOE_VERIFY_WEIGHTS) && !accepted) abort();
  if (size >= HASHED_BYTES + sizeof(uint64_t)) {
    uint64_t hash = XXH3_64bits(memory, HASHED_BYTES);
    memcpy(memory + HASHED_BYTES, &hash, sizeof hash);
    opens(memory, size, HMOE_VERIFY_WEIGHTS);
  }
  free(memory);
  return accepted;
}
