/* What tests of the public library share: a sink for messages, and a small mixture of experts as a graph. */
#ifndef HMOEC_TESTS_UNIT_LIBRARY_FIXTURE_H
#define HMOEC_TESTS_UNIT_LIBRARY_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hmoe/compiler.h"

#define ACTIVATIONS HMOE_SOURCE_DIR "/examples/compiler/activations.c"

enum { D_MODEL = 24, D_FF = 40, EXPERTS = 4 };

/* Messages as hmoec_message_print has them, one after the other. */
typedef struct messages {
  char text[8192];
  size_t errors, warnings;
} messages;

static inline void messages_add(void *context, const hmoec_message *message) {
  messages *all = context;
  size_t used = strlen(all->text);
  FILE *out = fmemopen(all->text + used, sizeof all->text - used, "w");
  assert_non_null(out);
  hmoec_message_print(out, message);
  fclose(out);
  all->errors += message->severity == HMOEC_ERROR;
  all->warnings += message->severity == HMOEC_WARNING;
}

static inline hmoec_options options_to(messages *all) {
  *all = (messages){.errors = 0};
  return (hmoec_options){.struct_size = sizeof(hmoec_options), .message = messages_add, .message_context = all};
}

/* y = sum of gate * expert; activation: of the experts. */
static inline void build_mixture(hmoec_graph *g, const char *activation) {
  hmoec_graph_value x = hmoec_graph_input(g, "x", HMOEC_SHAPE(HMOEC_F32, HMOEC_DYNAMIC, D_MODEL));
  hmoec_graph_value router = hmoec_graph_parameter(g, "router.weight", HMOEC_SHAPE(HMOEC_F32, EXPERTS, D_MODEL));
  hmoec_graph_routing routing = hmoec_graph_route(g, hmoec_graph_linear(g, x, router, HMOEC_NONE), 2, "softmax_then_topk", 0, 0);
  hmoec_graph_value wi = hmoec_graph_stack(g, "expert_{}.wi", EXPERTS, HMOEC_SHAPE(HMOEC_F32, D_FF, D_MODEL));
  hmoec_graph_value wo = hmoec_graph_stack(g, "expert_{}.wo", EXPERTS, HMOEC_SHAPE(HMOEC_F32, D_MODEL, D_FF));
  hmoec_graph_value experts = hmoec_graph_experts(g, x, routing, wi, wo, HMOEC_NONE, HMOEC_NONE, activation);
  hmoec_graph_output(g, "y", hmoec_graph_combine(g, experts, routing));
}

/* The same as a spec. */
static const char mixture_spec[] = "model mixture\n"
                                   "dim tokens = ?, d_model = 24, d_ff = 40, experts = 4\n"
                                   "option activation = relu in {relu, gelu}\n"
                                   "input x: f32[tokens, d_model]\n"
                                   "param router: [experts, d_model] from \"router.weight\"\n"
                                   "r = route(linear(x, router), top_k = 2)\n"
                                   "param wi[e < experts]: [d_ff, d_model] from \"expert_{e}.wi\"\n"
                                   "param wo[e < experts]: [d_model, d_ff] from \"expert_{e}.wo\"\n"
                                   "output y = combine(experts(x, r, wi, wo, activation = activation), r)\n";

#endif
