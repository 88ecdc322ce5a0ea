/* A model from C: built op by op with an activation written in C, compiled in this process, run, and compared with the reference
 * interpreter; then once more from the spec beside this file, which gives the same bytes.
 *
 *   cc main.c $(pkg-config --cflags --libs hmoec) -lm -o compiler && ./compiler */
#include <hmoe/compiler.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 37, D_MODEL = 96, D_FF = 200, EXPERTS = 8, BOTTLENECK = 16, WIDTH = 32 };

/* f32 of the dimensions that follow. */
#define F32(...) HMOEC_SHAPE(HMOEC_F32, __VA_ARGS__)

static void build(hmoec_graph *g) {
  HMOEC_HERE(g);
  hmoec_graph_value x = hmoec_graph_input(g, "x", F32(HMOEC_DYNAMIC, D_MODEL));

  HMOEC_HERE(g);
  hmoec_graph_value router = hmoec_graph_parameter(g, "router.classifier.weight", F32(EXPERTS, D_MODEL));
  hmoec_graph_routing routing = hmoec_graph_route(g, hmoec_graph_linear(g, x, router, HMOEC_NONE), 1, "softmax_then_topk", 0, 0);

  HMOEC_HERE(g);
  hmoec_graph_value wi = hmoec_graph_stack(g, "experts.expert_{}.wi.weight", EXPERTS, F32(D_FF, D_MODEL));
  hmoec_graph_value wo = hmoec_graph_stack(g, "experts.expert_{}.wo.weight", EXPERTS, F32(D_MODEL, D_FF));
  hmoec_graph_value outputs = hmoec_graph_experts(g, x, routing, wi, wo, HMOEC_NONE, HMOEC_NONE, "c:activations.c:quick_gelu");
  hmoec_graph_value mixture = hmoec_graph_combine(g, outputs, routing);

  HMOEC_HERE(g);
  hmoec_graph_value embeddings = hmoec_graph_parameter(g, "n_experts_embedding.weight", F32(EXPERTS, WIDTH));
  hmoec_graph_value w0 = hmoec_graph_parameter(g, "embedding_process.0.weight", F32(WIDTH, WIDTH));
  hmoec_graph_value b0 = hmoec_graph_parameter(g, "embedding_process.0.bias", F32(WIDTH));
  hmoec_graph_value others = hmoec_graph_selection_embedding(g, routing, embeddings, "unselected", "mean");
  hmoec_graph_value r = hmoec_graph_activate(g, hmoec_graph_linear(g, others, w0, b0), "relu");

  HMOEC_HERE(g);
  hmoec_graph_scope_begin(g, "%s.decoder", "param_gen");
  hmoec_graph_value wd = hmoec_graph_parameter(g, "weight_down.weight", F32(D_MODEL * BOTTLENECK, WIDTH));
  hmoec_graph_value bd = hmoec_graph_parameter(g, "weight_down.bias", F32(D_MODEL * BOTTLENECK));
  hmoec_graph_value wu = hmoec_graph_parameter(g, "weight_up.weight", F32(BOTTLENECK * D_MODEL, WIDTH));
  hmoec_graph_value bu = hmoec_graph_parameter(g, "weight_up.bias", F32(BOTTLENECK * D_MODEL));
  hmoec_graph_scope_end(g);
  hmoec_graph_generated generated =
      hmoec_graph_hypernetwork(g, r, wd, bd, wu, bu, HMOEC_NONE, HMOEC_NONE, HMOEC_NONE, HMOEC_NONE, BOTTLENECK);

  HMOEC_HERE(g);
  hmoec_graph_output(g, "y", hmoec_graph_add(g, mixture, hmoec_graph_hyper_expert(g, x, generated, "auto")));
}

/* Runs compiled code and the interpreter on the same tokens; the largest difference, of the largest value. Negative after an error. */
static double error_of(hmoec_compilation *compilation) {
  static float x[TOKENS * D_MODEL], y[TOKENS * D_MODEL], expected[TOKENS * D_MODEL];
  const hmoe_weights weights = {.kind = HMOE_WEIGHTS_PATH, .path = "hypermoe_block.safetensors"};
  const int64_t tokens = TOKENS;
  const void *inputs[] = {x};
  hmoe_model *model;
  for (int i = 0; i < TOKENS * D_MODEL; i++) x[i] = sinf(0.37f * (float)i) + 0.5f * cosf(1.7f * (float)i);
  if (hmoec_compilation_random_weights(compilation, 1, weights.path) ||
      hmoec_compilation_open(compilation, &weights, NULL, &model) ||
      hmoec_compilation_interpret(compilation, &weights, &tokens, inputs, (void *[]){expected}))
    return -1;
  hmoe_status status = hmoe_model_run(model, 1, &tokens, inputs, (void *[]){y});
  printf("%s code on %zu threads\n", hmoe_model_cpu(model), hmoe_model_threads(model));
  hmoe_model_close(model);
  if (status) return fprintf(stderr, "%s\n", hmoe_last_error()), -1;
  double worst = 0, largest = 0;
  for (int i = 0; i < TOKENS * D_MODEL; i++) {
    worst = fmax(worst, fabs((double)y[i] - (double)expected[i]));
    largest = fmax(largest, fabs((double)expected[i]));
  }
  return worst / largest;
}

/* Whether two compilations give the same bytes of an output. */
static int same(hmoec_compilation *a, hmoec_compilation *b, hmoec_output output) {
  char *bytes[2] = {NULL, NULL};
  size_t sizes[2] = {0, 0};
  int equal = hmoec_compilation_emit(a, output, &bytes[0], &sizes[0]) == HMOEC_OK &&
              hmoec_compilation_emit(b, output, &bytes[1], &sizes[1]) == HMOEC_OK && sizes[0] == sizes[1] &&
              memcmp(bytes[0], bytes[1], sizes[0]) == 0;
  hmoec_free(bytes[0]);
  hmoec_free(bytes[1]);
  return equal;
}

int main(void) {
  const hmoec_options options = {.struct_size = sizeof options, .message = hmoec_message_print, .message_context = stderr};
  hmoec_graph *graph = NULL;
  hmoec_compilation *built = NULL, *read = NULL;
  int failed = 1;
  if (hmoec_graph_create("hypermoe_block", &options, &graph)) goto done;
  build(graph);
  if (hmoec_compile_graph(graph, &options, &built) || hmoec_compile_file("hypermoe_block.spec", &options, &read)) goto done;
  double error = error_of(built);
  int same_ir = same(built, read, HMOEC_OUTPUT_HMOE), same_object = same(built, read, HMOEC_OUTPUT_OBJECT);
  printf("largest error against the interpreter: %.2e of the largest value\n", error);
  printf("the spec gives the same IR: %s, and the same object: %s\n", same_ir ? "yes" : "no", same_object ? "yes" : "no");
  failed = !(error >= 0 && error < 2e-5 && same_ir && same_object);
done:
  hmoec_compilation_destroy(read);
  hmoec_compilation_destroy(built);
  hmoec_graph_destroy(graph);
  return failed;
}
