/* The names of activations and gates, as specs, both dialects and the manifest write them. */
#include <string.h>

#include "codegen/cpu/kernels.h"

static const char *const activations[HMOEC_ACTIVATION_COUNT] = {"none", "relu", "gelu", "gelu_new", "silu", "sigmoid"};
static const char *const gates[HMOEC_GATE_COUNT] = {"softmax_then_topk", "topk_then_softmax", "softmax_topk_renorm", "sigmoid"};

static int find(const char *const *names, int count, const char *text, size_t length) {
  for (int i = 0; i < count; i++)
    if (strlen(names[i]) == length && memcmp(names[i], text, length) == 0) return i;
  return 0;
}

const char *hmoec_activation_name(hmoec_activation activation) { return activations[activation]; }

hmoec_activation hmoec_activation_find(const char *text, size_t length) {
  return (hmoec_activation)find(activations, HMOEC_ACTIVATION_COUNT, text, length);
}

hmoec_gate hmoec_gate_find(const char *text, size_t length) { return (hmoec_gate)find(gates, HMOEC_GATE_COUNT, text, length); }
