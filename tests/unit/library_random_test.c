/* Random calls on graphs: whatever is called in whatever order, nothing crashes, what is refused says why, and what is said was refused. */
#include "library_fixture.h"

#include <stdbool.h>

enum { GRAPHS = 400, CALLS = 60, MOST_ERRORS = 12, MOST_VALUES = 64 };

typedef struct fuzzer {
  uint64_t state;
  messages all;
  hmoec_graph *graph;
  hmoec_graph_value values[MOST_VALUES];
  size_t value_count;
  unsigned wildness; /* of 16 choices, how many may be wrong ones */
  size_t compiled;
} fuzzer;

static uint64_t below(fuzzer *f, uint64_t count) {
  f->state ^= f->state << 13;
  f->state ^= f->state >> 7;
  f->state ^= f->state << 17;
  return (f->state >> 16) % count;
}

static bool wild(fuzzer *f) { return below(f, 16) < f->wildness; }

#define PICK(f, list) ((list)[below((f), sizeof(list) / sizeof *(list))])

static int64_t integer(fuzzer *f) {
  static const int64_t good[] = {1, 1, 2, 2, 4, 8, 0}, bad[] = {-1, INT64_MAX, INT64_MIN, INT32_MAX, INT64_C(1) << 40};
  return wild(f) ? PICK(f, bad) : PICK(f, good);
}

static hmoec_shape shape(fuzzer *f, bool input) {
  static const int64_t ranks[] = {-1, 0, 1, 3, 4, 5, 1000, INT64_MAX, INT64_MIN};
  hmoec_shape made = {.element = wild(f) ? (hmoec_element)below(f, 8) : HMOEC_F32, .rank = wild(f) ? PICK(f, ranks) : 2};
  for (size_t i = 0; i < HMOEC_MAX_RANK; i++) made.dims[i] = wild(f) ? integer(f) : 8;
  if (input && !wild(f)) made.dims[0] = HMOEC_DYNAMIC;
  return made;
}

static const char *text(fuzzer *f) {
  static const char *const texts[] = {"relu",
                                      "gelu",
                                      "silu",
                                      "none",
                                      "sigmoid",
                                      "softmax_then_topk",
                                      "topk_then_softmax",
                                      "auto",
                                      "mean",
                                      "selected",
                                      "sum",
                                      "",
                                      "@f",
                                      "c:",
                                      "%s%n",
                                      NULL,
                                      "factored",
                                      "a b",
                                      "x1",
                                      "w1.weight",
                                      "experts.{}"};
  return PICK(f, texts);
}

static hmoec_graph_value value(fuzzer *f) {
  static const int foreign = 0;
  if (wild(f) && below(f, 4) == 0) return (hmoec_graph_value){&foreign};
  if (!f->value_count || (wild(f) && below(f, 4) == 0)) return HMOEC_NONE;
  return f->values[below(f, f->value_count)];
}

static hmoec_attribute attribute(fuzzer *f) {
  static const char *const names[] = {
      "function", "top_k",        "gate",    "capacity", "activation", "row",  "bottleneck", "strategy", "heads", "begin", "end",
      "shape",    "inverse_sqrt", "epsilon", "biased",   "count",      "nope", "axis",       "step",     "by",    "",      NULL};
  static const int64_t ints[] = {8, 1, -1, 8, INT64_MAX};
  return (hmoec_attribute){.name = PICK(f, names),
                           .kind = (hmoec_attribute_kind)below(f, 5),
                           .integer = integer(f),
                           .string = text(f),
                           .ints = below(f, 4) ? ints : NULL,
                           .int_count = below(f, 6),
                           .number = (double)integer(f)};
}

static void keep(fuzzer *f, hmoec_graph_value made) {
  if (made.handle) f->values[f->value_count < MOST_VALUES ? f->value_count++ : below(f, MOST_VALUES)] = made;
}

/* Any op with anything; false if one of its operands was missing, which need not be said. */
static bool call_op(fuzzer *f, hmoec_graph_value *out_made) {
  static const char *const ops[] = {"linear",
                                    "activate",
                                    "add",
                                    "reshape",
                                    "slice",
                                    "concat",
                                    "route",
                                    "experts",
                                    "combine",
                                    "append_row",
                                    "embedding",
                                    "hypernetwork",
                                    "rms_norm",
                                    "layer_norm",
                                    "scale",
                                    "multiply",
                                    "transpose",
                                    "flatten",
                                    "unflatten",
                                    "attention",
                                    "hyper_expert",
                                    "gated_experts",
                                    "parameter",
                                    "fused_experts",
                                    "fused_gated_experts",
                                    "nothing",
                                    "",
                                    NULL,
                                    "selection_embedding"};
  hmoec_graph_value operands[20], results[HMOEC_MAX_RESULTS];
  hmoec_attribute attributes[10];
  size_t operand_count = wild(f) ? below(f, 20) : 1 + below(f, 4), attribute_count = wild(f) ? below(f, 10) : below(f, 2);
  bool complete = true;
  for (size_t i = 0; i < operand_count; i++) complete = (operands[i] = value(f)).handle && complete;
  for (size_t i = 0; i < attribute_count; i++) attributes[i] = attribute(f);
  *out_made = hmoec_graph_op(f->graph, PICK(f, ops), below(f, 32) ? operands : NULL, operand_count,
                             below(f, 32) ? attributes : NULL, attribute_count, below(f, 2) ? results : NULL);
  return complete;
}

static hmoec_graph_value parameter(fuzzer *f, const char *key, int64_t rows, int64_t columns) {
  return hmoec_graph_parameter(f->graph, key, HMOEC_SHAPE(HMOEC_F32, rows, columns));
}

static hmoec_graph_value vector(fuzzer *f, const char *key, int64_t size) {
  return hmoec_graph_parameter(f->graph, key, HMOEC_SHAPE(HMOEC_F32, size));
}

static hmoec_graph_value op_of_two(fuzzer *f, const char *name, hmoec_graph_value a, hmoec_graph_value b) {
  return hmoec_graph_op(f->graph, name, (hmoec_graph_value[]){a, b}, b.handle ? 2 : 1, NULL, 0, NULL);
}

/* Experts of rows [?, 8] or [?, ?, 8], perhaps gated, perhaps with a HyperExpert. */
static hmoec_graph_value mixture(fuzzer *f, hmoec_graph_value x) {
  static const char *const gates[] = {"softmax_then_topk", "topk_then_softmax", "sigmoid"}, *const of[] = {"selected",
                                                                                                           "unselected"};
  static const char *const strategies[] = {"auto", "factored", "per_token", "table", "cache"};
  hmoec_graph *g = f->graph;
  bool batched = hmoec_graph_shape(g, x).rank == 3;
  hmoec_graph_value rows = batched ? op_of_two(f, "flatten", x, HMOEC_NONE) : x, none = HMOEC_NONE;
  int64_t top_k = 1 + (int64_t)below(f, 2);
  hmoec_graph_value logits = hmoec_graph_linear(g, x, parameter(f, "router", 4, 8), none);
  hmoec_graph_routing r = hmoec_graph_route(g, logits, top_k, PICK(f, gates), (int64_t)below(f, 2) * 3, 0);
  hmoec_graph_value wi = hmoec_graph_stack(g, "wi.{}", 4, HMOEC_SHAPE(HMOEC_F32, 12, 8));
  hmoec_graph_value wo = hmoec_graph_stack(g, "wo.{}", 4, HMOEC_SHAPE(HMOEC_F32, 8, 12));
  hmoec_graph_value all = below(f, 2) ? hmoec_graph_gated_experts(g, rows, r, wi, wi, wo, none, none, none, "silu")
                                      : hmoec_graph_experts(g, rows, r, wi, wo, none, none, "relu");
  hmoec_graph_value y = hmoec_graph_combine(g, all, r);
  if (below(f, 2)) {
    hmoec_graph_value s = hmoec_graph_selection_embedding(g, r, parameter(f, "sets", 4, 5), PICK(f, of), "mean");
    hmoec_graph_generated made =
        hmoec_graph_hypernetwork(g, s, parameter(f, "wd", 16, 5), vector(f, "bd", 16), parameter(f, "wu", 16, 5),
                                 vector(f, "bu", 16), none, none, none, none, 2);
    y = hmoec_graph_add(g, y, hmoec_graph_hyper_expert(g, rows, made, PICK(f, strategies)));
  }
  return batched ? op_of_two(f, "unflatten", y, x) : y;
}

/* Attention of rows [?, ?, 8] to themselves. */
static hmoec_graph_value attention(fuzzer *f, hmoec_graph_value x) {
  const hmoec_attribute attributes[] = {{.name = "heads", .kind = HMOEC_ATTRIBUTE_INT, .integer = 2},
                                        {.name = "causal", .kind = HMOEC_ATTRIBUTE_INT, .integer = (int64_t)below(f, 2)},
                                        {.name = "scaled", .kind = HMOEC_ATTRIBUTE_INT, .integer = (int64_t)below(f, 2)}};
  const hmoec_graph_value q = hmoec_graph_linear(f->graph, x, parameter(f, "q", 8, 8), HMOEC_NONE);
  return hmoec_graph_op(f->graph, "attention", (hmoec_graph_value[]){q, x, x}, 3, attributes, 3, NULL);
}

/* What programs write: ops that fit. */
static hmoec_graph_value call_usual(fuzzer *f) {
  hmoec_graph *g = f->graph;
  hmoec_graph_value a = value(f), b = value(f), w;
  switch (below(f, f->wildness ? 6 : 11)) {
  case 0: return hmoec_graph_activate(g, a, "relu");
  case 1: return hmoec_graph_add(g, a, b);
  case 2: return hmoec_graph_multiply(g, a, b);
  case 3: w = hmoec_graph_parameter(g, "w", HMOEC_SHAPE(HMOEC_F32, 8, 8)); return hmoec_graph_linear(g, a, w, HMOEC_NONE);
  case 4: w = hmoec_graph_parameter(g, "n", HMOEC_SHAPE(HMOEC_F32, 8)); return hmoec_graph_rms_norm(g, a, w, 1e-6);
  case 5: return f->wildness ? hmoec_graph_route(g, a, 2, "sigmoid", 0, 1).gates : HMOEC_NONE;
  case 6: return hmoec_graph_shape(g, a).rank == 3 ? attention(f, a) : HMOEC_NONE;
  case 7: /* every other column of two */
    return hmoec_graph_slice(g, hmoec_graph_concat(g, (hmoec_graph_value[]){a, b}, 2, -1), -1, (int64_t)below(f, 2), 16, 2);
  case 8:
    return hmoec_graph_scale(g, a, -0.5,
                             below(f, 3)   ? hmoec_graph_slice(g, b, -1, 3, 4, 1)
                             : below(f, 2) ? vector(f, "s", 8)
                                           : HMOEC_NONE);
  default: return mixture(f, a);
  }
}

/* One call. Those that give a value either do, or say why not; said is told of calls that need not. */
static void call(fuzzer *f) {
  static const char *const names[] = {"x", "y", "x1", "y1", "a b", "", NULL, "int"};
  size_t before = f->all.errors;
  bool gives = true;
  hmoec_graph_value made = HMOEC_NONE;
  switch (below(f, 12)) {
  case 0: made = hmoec_graph_input(f->graph, PICK(f, names), shape(f, true)); break;
  case 1: made = hmoec_graph_parameter(f->graph, text(f), shape(f, false)); break;
  case 2: made = hmoec_graph_stack(f->graph, text(f), integer(f), shape(f, false)); break;
  case 3:
    gives = false;
    hmoec_graph_output(f->graph, PICK(f, names), value(f));
    break;
  case 4:
    gives = false;
    if (below(f, 2)) {
      const int64_t values[] = {integer(f), integer(f)};
      hmoec_graph_generation(f->graph, below(f, 2) ? "pad_token" : text(f), wild(f) ? NULL : values, below(f, 3));
    } else {
      hmoec_graph_generation_number(f->graph, below(f, 2) ? "top_p" : text(f), (double)integer(f) / 4);
    }
    break;
  case 5:
    gives = false;
    hmoec_graph_at(f->graph, text(f), (unsigned)below(f, 9));
    if (below(f, 2)) hmoec_graph_scope_begin(f->graph, "b.%d", (int)below(f, 9));
    else if (wild(f)) hmoec_graph_scope_end(f->graph);
    break;
  case 6: {
    hmoec_graph_value results[3];
    const hmoec_graph_argument argument = {
        .kind = (hmoec_argument_kind)below(f, 8), .values = {value(f), value(f)}, .text = text(f)};
    gives = false;
    if (wild(f)) hmoec_graph_block(f->graph, text(f), below(f, 4) ? &argument : NULL, below(f, 2), results, 3);
    break;
  }
  case 7:
  case 8: gives = call_op(f, &made); break;
  default: gives = f->value_count > 0 && !f->wildness; made = call_usual(f);
  }
  if (gives && !made.handle != (f->all.errors > before)) {
    print_error("a call %s after:\n%s\n", made.handle ? "gave a value with an error" : "was refused in silence", f->all.text);
    fail();
  }
  if (made.handle) assert_true(hmoec_graph_shape(f->graph, made).rank <= HMOEC_MAX_RANK);
  keep(f, made);
}

static void graph_random(fuzzer *f) {
  hmoec_options options = options_to(&f->all);
  hmoec_compilation *compilation;
  f->value_count = 0;
  f->wildness = (unsigned)below(f, 3) * 2;
  assert_int_equal(hmoec_graph_create("m", &options, &f->graph), HMOEC_OK);
  bool batched = !f->wildness && below(f, 2);
  keep(f, hmoec_graph_input(f->graph, "tokens_in",
                            batched ? HMOEC_SHAPE(HMOEC_F32, HMOEC_DYNAMIC, HMOEC_DYNAMIC, 8)
                                    : HMOEC_SHAPE(HMOEC_F32, HMOEC_DYNAMIC, 8)));
  size_t calls = f->wildness ? CALLS : 0;
  for (size_t i = 0; i < calls && f->all.errors < MOST_ERRORS; i++) call(f);
  for (size_t i = 0; i < 6 && !f->wildness; i++) keep(f, call_usual(f));
  hmoec_graph_output(f->graph, "out", value(f));
  size_t before = f->all.errors;
  hmoec_status status = hmoec_compile_graph(f->graph, &options, &compilation);
  assert_true((status == HMOEC_OK) == (compilation != NULL));
  assert_true((status == HMOEC_OK) == (f->all.errors == 0));
  if (before) assert_true(f->all.errors <= before + 1); /* was said before, except for a scope that did not end */
  if (!f->wildness && status != HMOEC_OK) {
    print_error("ops that fit were refused:\n%s\n", f->all.text);
    fail();
  }
  f->compiled += status == HMOEC_OK;
  for (size_t i = 0; i < f->value_count; i++) hmoec_graph_shape(f->graph, f->values[i]); /* valid until the graph goes */
  hmoec_compilation_destroy(compilation);
  hmoec_graph_destroy(f->graph);
}

static void test_random_calls(void **state) {
  (void)state;
  fuzzer f = {.state = 88172645463325252u};
  for (size_t i = 0; i < GRAPHS; i++) graph_random(&f);
  assert_true(f.compiled >= 100); /* those that are not wild */
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_calls)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
