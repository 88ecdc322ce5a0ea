/* The names of activations and gates, as specs, both dialects and the manifest write them. */
#include <string.h>

#include "kernel/kernels.h"

static const char *const activations[HMOEC_ACTIVATION_COUNT] = {"none", "relu", "gelu", "gelu_new", "silu", "sigmoid"};
static const char *const gates[HMOEC_GATE_COUNT] = {"softmax_then_topk", "topk_then_softmax", "softmax_topk_renorm", "sigmoid"};

static int find(const char *const *names, int count, const char *text, size_t length) {
  for (int i = 0; i < count; i++)
    if (strlen(names[i]) == length && memcmp(names[i], text, length) == 0) return i;
  return 0;
}

const char *hmoec_activation_name(const hmoec_scalar_library *functions, hmoec_activation activation) {
  const hmoec_scalar_program *function = hmoec_activation_function(functions, activation);
  return function ? function->name : activations[activation];
}

const hmoec_scalar_program *hmoec_activation_function(const hmoec_scalar_library *functions, hmoec_activation activation) {
  size_t index = (size_t)activation - HMOEC_ACTIVATION_COUNT;
  return activation >= HMOEC_ACTIVATION_COUNT && functions && index < functions->count ? &functions->programs[index] : NULL;
}

hmoec_activation hmoec_activation_find(const hmoec_scalar_library *functions, const char *text, size_t length) {
  const hmoec_scalar_program *function = functions ? hmoec_scalar_library_find(functions, text, length) : NULL;
  if (function) return (hmoec_activation)(HMOEC_ACTIVATION_COUNT + (function - functions->programs));
  if (length && text[0] == '@') return (hmoec_activation)(HMOEC_ACTIVATION_COUNT + (functions ? functions->count : 0));
  return (hmoec_activation)find(activations, HMOEC_ACTIVATION_COUNT, text, length);
}

const char *hmoec_gate_name(hmoec_gate gate) { return gates[gate]; }

hmoec_gate hmoec_gate_find(const char *text, size_t length) {
  if (length && text[0] == '@') return HMOEC_GATE_SCORE;
  return (hmoec_gate)find(gates, HMOEC_GATE_COUNT, text, length);
}
