/* Any bytes as packed weights for a fixed model, as file or checkpoint (open tells them apart): a model or a message. */
#include <hmoe/abi.h>
#include <hmoe/runtime.h>

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
             .layout = 7},
    .name = "fuzz",
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const hmoe_kernel_fn none[1];
  const hmoe_model_object object = {
      .abi_version = HMOE_ABI_VERSION, .plan = &blob, .plan_bytes = sizeof blob, .kernels = {[HMOE_CPU_PORTABLE] = none}};
  uint8_t *memory = aligned_alloc(64, (size + 64) / 64 * 64);
  if (!memory) return 0;
  if (size) memcpy(memory, data, size);
  /* With and without the checksum over the data, which most inputs fail. */
  for (uint32_t flags = 0; flags <= HMOE_VERIFY_WEIGHTS; flags++) {
    hmoe_options options = {.struct_size = sizeof options, .threads = 1, .flags = flags};
    hmoe_weights weights = {.kind = HMOE_WEIGHTS_MEMORY, .data = memory, .size_bytes = size};
    hmoe_model *model;
    if (hmoe_model_open(&object, &weights, &options, &model) == HMOE_OK) hmoe_model_close(model);
  }
  free(memory);
  return 0;
}
