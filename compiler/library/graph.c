/* Public graphs (include/hmoe/compiler.h) over the builder that the spec language uses too. A graph has a context of its own; compiling prints
 * it, and each compilation reads the text into its own context, so that compilations share nothing. */
#include "library/graph.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/builder.h"
#include "frontend/load.h"
#include "frontend/spec_blocks.h"
#include "ir/context.h"
#include "ir/location.h"
#include "library/session.h"
#include "plain_text.h"
#include "support/arena.h"
#include "support/pointer_map.h"

struct hmoec_graph {
  hmoec_diagnostics *diagnostics;
  MlirContext context;
  MlirDiagnosticHandlerID handler;
  hmoec_arena *arena;
  hmoec_builder *builder;
  hmoec_c_flags flags;
  hmoec_location at;
  const char *name;
  const char **scopes; /* prefixes with their dots, innermost last */
  size_t scope_count;
  hmoec_spec_blocks *blocks; /* once a spec was included */
  hmoec_pointer_map values; /* those that were given out */
  MlirModule module; /* once compiled: what the values are in */
  char *text; /* once compiled */
  size_t text_size;
  bool finished;
};

static const char *const *copy_texts(hmoec_arena *arena, const char *const *texts, size_t count) {
  const char **copies = hmoec_arena_alloc_array(arena, count, sizeof *copies);
  for (size_t i = 0; i < count; i++) copies[i] = hmoec_arena_strdup(arena, texts[i]);
  return copies;
}

hmoec_status hmoec_graph_create(const char *name, const hmoec_options *options, hmoec_graph **out_graph) {
  if (out_graph) *out_graph = NULL;
  hmoec_graph *graph = calloc(1, sizeof *graph);
  if (!graph) return HMOEC_MACHINE_ERROR;
  hmoec_options read;
  graph->diagnostics = hmoec_sink_create(options);
  bool ok = graph->diagnostics && hmoec_options_read(options, "", &read, graph->diagnostics);
  if (ok && !out_graph) ok = hmoec_usage_error(graph->diagnostics, "expected a place for the graph, found NULL");
  if (ok) graph->context = hmoec_context_create();
  if (ok && mlirContextIsNull(graph->context)) ok = hmoec_machine_error(graph->diagnostics, "internal: the dialects do not load");
  if (ok) {
    graph->handler = hmoec_diagnostics_attach(graph->diagnostics, graph->context);
    graph->arena = hmoec_arena_create();
    graph->name = hmoec_arena_strdup(graph->arena, name ? name : "");
    graph->flags = (hmoec_c_flags){.includes = copy_texts(graph->arena, read.c_includes, read.c_include_count),
                                   .include_count = read.c_include_count,
                                   .defines = copy_texts(graph->arena, read.c_defines, read.c_define_count),
                                   .define_count = read.c_define_count};
    graph->builder = hmoec_builder_create(graph->context, graph->diagnostics, graph->at, graph->name, &graph->flags);
    ok = hmoec_diagnostics_errors(graph->diagnostics) == 0;
  }
  if (ok) {
    *out_graph = graph;
    return HMOEC_OK;
  }
  hmoec_status status = hmoec_sink_failure(graph->diagnostics);
  hmoec_graph_destroy(graph);
  return status;
}

void hmoec_graph_destroy(hmoec_graph *graph) {
  if (!graph) return;
  hmoec_spec_blocks_destroy(graph->blocks);
  hmoec_builder_destroy(graph->builder);
  if (!mlirModuleIsNull(graph->module)) mlirModuleDestroy(graph->module);
  hmoec_pointer_map_deinit(&graph->values);
  if (graph->arena) hmoec_arena_destroy(graph->arena);
  if (!mlirContextIsNull(graph->context)) {
    mlirContextDetachDiagnosticHandler(graph->context, graph->handler);
    hmoec_context_destroy(graph->context);
  }
  hmoec_diagnostics_destroy(graph->diagnostics);
  free(graph->text);
  free(graph);
}

hmoec_status hmoec_graph_status(const hmoec_graph *graph) {
  return graph ? hmoec_diagnostics_status(graph->diagnostics) : HMOEC_USAGE_ERROR;
}

void hmoec_graph_at(hmoec_graph *graph, const char *file, unsigned line) {
  if (!graph) return;
  if (!file) graph->at.file = NULL;
  else if (!graph->at.file || strcmp(graph->at.file, file) != 0) graph->at.file = hmoec_arena_strdup(graph->arena, file);
  graph->at.line = line;
}

/* May the graph still be changed? One that could not be made is refused in silence. */
static bool is_open(hmoec_graph *graph) {
  return graph && (!graph->finished ||
                   hmoec_usage_error(graph->diagnostics, "graph %s was compiled and can no longer be changed", graph->name));
}

/* A text or an array that must be there. */
static bool is_given(hmoec_graph *graph, const char *what, const void *argument) {
  return argument || hmoec_error(graph->diagnostics, graph->at, "expected %s, found NULL", what);
}

static bool shape_check(hmoec_graph *graph, const char *what, const char *name, const hmoec_shape *shape) {
  if ((unsigned)shape->element > HMOEC_I64)
    return hmoec_error(graph->diagnostics, graph->at, "%s '%s': expected an element of hmoec_element, found %d", what, name,
                       (int)shape->element);
  return (shape->rank >= 0 && shape->rank <= HMOEC_MAX_RANK) ||
         hmoec_error(graph->diagnostics, graph->at, "%s '%s': expected 0 to %d dimensions, found %" PRId64, what, name,
                     HMOEC_MAX_RANK, shape->rank);
}

static hmoec_graph_value value_of(hmoec_graph *graph, MlirValue value) {
  if (mlirValueIsNull(value)) return HMOEC_NONE;
  if (hmoec_pointer_map_set(&graph->values, value.ptr, 0)) return (hmoec_graph_value){value.ptr};
  hmoec_machine_error(graph->diagnostics, "out of memory");
  return HMOEC_NONE;
}

static MlirValue value_from(hmoec_graph_value value) { return (MlirValue){value.handle}; }

/* Did this graph give it? HMOEC_NONE is no graph's. */
static bool is_known(const hmoec_graph *graph, hmoec_graph_value value) {
  return value.handle && hmoec_pointer_map_get(&graph->values, value.handle) != HMOEC_NO_NUMBER;
}

/* ---- inputs, parameters, outputs ---- */

hmoec_graph_value hmoec_graph_input(hmoec_graph *graph, const char *name, hmoec_shape shape) {
  MlirValue value;
  bool ok = is_open(graph) && is_given(graph, "the name of an input", name) && shape_check(graph, "input", name, &shape) &&
            hmoec_builder_input(graph->builder, graph->at, name, &shape, &value);
  return ok ? value_of(graph, value) : HMOEC_NONE;
}

/* A name for each dynamic dimension. */
static bool dims_check(hmoec_graph *graph, const char *name, const hmoec_shape *shape, const char *const *dims) {
  size_t count = 0;
  for (int64_t i = 0; i < shape->rank; i++) {
    if (shape->dims[i] != HMOEC_DYNAMIC) continue;
    if (!dims || !dims[count])
      return hmoec_error(graph->diagnostics, graph->at, "input '%s': its dynamic dimension %zu has no name", name, count);
    count++;
  }
  return true;
}

hmoec_graph_value hmoec_graph_input_named(hmoec_graph *graph, const char *name, hmoec_shape shape, const char *const *dims,
                                          const int64_t *given) {
  MlirValue value;
  bool ok = is_open(graph) && is_given(graph, "the name of an input", name) && shape_check(graph, "input", name, &shape) &&
            dims_check(graph, name, &shape, dims) &&
            hmoec_builder_input_named(graph->builder, graph->at, name, &shape, dims, given, &value);
  return ok ? value_of(graph, value) : HMOEC_NONE;
}

/* The prefix of keys, dots included. */
static const char *current_scope(hmoec_graph *graph) {
  const char *scope = "";
  for (size_t i = 0; i < graph->scope_count; i++) scope = hmoec_arena_printf(graph->arena, "%s%s", scope, graph->scopes[i]);
  return scope;
}

/* A key, or several, a line each, in the current scope. */
static const char *scoped(hmoec_graph *graph, const char *keys) {
  const char *all = "", *scope = current_scope(graph);
  for (const char *at = keys;; at++) {
    int length = (int)strcspn(at, "\n");
    bool rooted = *at == '/';
    all = hmoec_arena_printf(graph->arena, "%s%s%s%.*s", all, at == keys ? "" : "\n", rooted ? "" : scope, length - rooted,
                             at + rooted);
    at += length;
    if (!*at) return all;
  }
}

static hmoec_graph_value parameter(hmoec_graph *graph, const char *key, int64_t count, const hmoec_shape *shape) {
  MlirValue value;
  bool ok = shape_check(graph, "parameter", key, shape) &&
            hmoec_builder_parameter(graph->builder, graph->at, scoped(graph, key), count, shape, &value);
  return ok ? value_of(graph, value) : HMOEC_NONE;
}

hmoec_graph_value hmoec_graph_parameter(hmoec_graph *graph, const char *key, hmoec_shape shape) {
  bool ok = is_open(graph) && is_given(graph, "the key of a parameter", key);
  return ok ? parameter(graph, key, 0, &shape) : HMOEC_NONE;
}

hmoec_graph_value hmoec_graph_stack(hmoec_graph *graph, const char *key, int64_t count, hmoec_shape shape) {
  if (!is_open(graph) || !is_given(graph, "the key of a stack", key)) return HMOEC_NONE;
  if (count < 1 || shape.rank < 0 || shape.rank >= HMOEC_MAX_RANK) {
    hmoec_error(graph->diagnostics, graph->at, "parameter \"%s\": expected a stack of 1 or more tensors of at most %d dimensions",
                key, HMOEC_MAX_RANK - 1);
    return HMOEC_NONE;
  }
  hmoec_shape stack = {.element = shape.element, .rank = shape.rank + 1, .dims = {count}};
  for (int64_t i = 0; i < shape.rank; i++) stack.dims[i + 1] = shape.dims[i];
  return parameter(graph, key, count, &stack);
}

void hmoec_graph_scope_begin(hmoec_graph *graph, const char *prefix_format, ...) {
  char prefix[HMOEC_MOST_KEY + 1];
  va_list arguments;
  if (!is_open(graph) || !is_given(graph, "the prefix of a scope", prefix_format)) return;
  va_start(arguments, prefix_format);
  int length = hmoe_plain_vformat(prefix, sizeof prefix, prefix_format, arguments);
  va_end(arguments);
  if (length < 0 || (size_t)length >= sizeof prefix)
    hmoec_error(graph->diagnostics, graph->at, "a scope is longer than %d characters", HMOEC_MOST_KEY);
  if ((graph->scope_count & (graph->scope_count - 1)) == 0)
    graph->scopes = hmoec_arena_grow(graph->arena, graph->scopes, graph->scope_count,
                                     graph->scope_count ? 2 * graph->scope_count : 1, sizeof *graph->scopes);
  graph->scopes[graph->scope_count++] = *prefix ? hmoec_arena_printf(graph->arena, "%s.", prefix) : "";
}

void hmoec_graph_scope_end(hmoec_graph *graph) {
  if (!is_open(graph)) return;
  if (graph->scope_count > 0) graph->scope_count--;
  else hmoec_usage_error(graph->diagnostics, "graph %s: a scope ends that did not begin", graph->name);
}

void hmoec_graph_output(hmoec_graph *graph, const char *name, hmoec_graph_value value) {
  if (!is_open(graph) || !is_given(graph, "the name of an output", name)) return;
  if (is_known(graph, value)) hmoec_builder_output(graph->builder, graph->at, name, value_from(value));
  else if (value.handle) hmoec_error(graph->diagnostics, graph->at, "output '%s' is given a value of another graph", name);
  else if (hmoec_diagnostics_errors(graph->diagnostics) == 0)
    hmoec_error(graph->diagnostics, graph->at, "output '%s' is given no value", name);
}

void hmoec_graph_generation(hmoec_graph *graph, const char *setting, const int64_t *values, size_t count) {
  if (!is_open(graph) || !is_given(graph, "the name of a setting", setting)) return;
  uint32_t known = hmoec_setting_find(setting);
  if (count && !values) hmoec_error(graph->diagnostics, graph->at, "%s: %zu values at NULL", setting, count);
  else if (known < HMOE_SETTING_COUNT && hmoec_setting_kind_of(known) == HMOEC_SETTING_NUMBER)
    hmoec_error(graph->diagnostics, graph->at, "%s is a number: hmoec_graph_generation_number", setting);
  else hmoec_builder_setting(graph->builder, graph->at, setting, &(hmoec_setting_value){.integers = values, .count = count});
}

void hmoec_graph_generation_number(hmoec_graph *graph, const char *setting, double number) {
  if (!is_open(graph) || !is_given(graph, "the name of a setting", setting)) return;
  uint32_t known = hmoec_setting_find(setting);
  if (known < HMOE_SETTING_COUNT && hmoec_setting_kind_of(known) != HMOEC_SETTING_NUMBER)
    hmoec_error(graph->diagnostics, graph->at, "%s is not a number: hmoec_graph_generation", setting);
  else hmoec_builder_setting(graph->builder, graph->at, setting, &(hmoec_setting_value){.number = number});
}

hmoec_shape hmoec_graph_shape(const hmoec_graph *graph, hmoec_graph_value value) {
  hmoec_shape shape = {.rank = 0};
  if (graph && is_known(graph, value)) hmoec_shape_from_type(mlirValueGetType(value_from(value)), &shape);
  return shape;
}

/* ---- ops ---- */

/* Operands that are there, without gaps; of an op whose optional operands come one by one, the attribute that says which. False if one is
 * missing, which is reported unless it is what an earlier error left. */
static bool operands_close(hmoec_graph *graph, const hmoec_op_info *info, const hmoec_graph_value *operands, size_t count,
                           MlirValue *out_operands, size_t *out_count, hmoec_attribute *attributes, size_t *attribute_count) {
  size_t known = 0, last = 0;
  while (info->operands[known].name) known++;
  *out_count = 0;
  if (count > known)
    return hmoec_error(graph->diagnostics, graph->at, "%s takes no more than %zu operands, found %zu", info->name, known, count);
  for (size_t i = 0; i < count; i++)
    if (operands[i].handle) last = i + 1;
  for (size_t i = 0; i < known; i++) {
    bool given = i < count && operands[i].handle, optional = i >= info->required_operands;
    if (given && !is_known(graph, operands[i]))
      return hmoec_error(graph->diagnostics, graph->at, "%s: operand %s is a value of another graph", info->name,
                         info->operands[i].name);
    if (given) out_operands[(*out_count)++] = value_from(operands[i]);
    else if (!optional || (i < last && !info->first_optional))
      return (i >= count || hmoec_diagnostics_errors(graph->diagnostics) == 0) &&
             hmoec_error(graph->diagnostics, graph->at, "%s: operand %s is missing%s", info->name, info->operands[i].name,
                         optional ? ", because a later one is given" : "");
  }
  size_t first = info->required_operands;
  if (info->first_optional)
    attributes[(*attribute_count)++] = HMOEC_INT(info->first_optional, first < count && operands[first].handle);
  return true;
}

/* Attributes that can be looked at: the op's table says which it takes. */
static bool attributes_check(hmoec_graph *graph, const char *op, const hmoec_attribute *attributes, size_t count) {
  hmoec_diagnostics *diagnostics = graph->diagnostics;
  if (count > HMOEC_MAX_ATTRIBUTES)
    return hmoec_error(diagnostics, graph->at, "%s: more than %d attributes", op, HMOEC_MAX_ATTRIBUTES);
  if (count && !is_given(graph, "attributes", attributes)) return false;
  for (size_t i = 0; i < count; i++) {
    const hmoec_attribute *a = &attributes[i];
    if (!a->name) return hmoec_error(diagnostics, graph->at, "%s: an attribute has no name", op);
    if ((unsigned)a->kind > HMOEC_ATTRIBUTE_FLOAT)
      return hmoec_error(diagnostics, graph->at, "%s: expected %s to be of a hmoec_attribute_kind, found %d", op, a->name,
                         (int)a->kind);
    if (a->kind == HMOEC_ATTRIBUTE_STRING && !a->string)
      return hmoec_error(diagnostics, graph->at, "%s: attribute %s has no text", op, a->name);
    if (a->kind == HMOEC_ATTRIBUTE_INTS && a->int_count && !a->ints)
      return hmoec_error(diagnostics, graph->at, "%s: attribute %s has no integers", op, a->name);
    for (size_t other = 0; other < i; other++)
      if (strcmp(attributes[other].name, a->name) == 0)
        return hmoec_error(diagnostics, graph->at, "%s: attribute %s is given twice", op, a->name);
  }
  return true;
}

hmoec_graph_value hmoec_graph_op(hmoec_graph *graph, const char *op, const hmoec_graph_value *operands, size_t operand_count,
                                 const hmoec_attribute *attributes, size_t attribute_count, hmoec_graph_value *out_results) {
  MlirValue values[HMOEC_MAX_OPERANDS], results[HMOEC_MAX_RESULTS];
  hmoec_attribute all[HMOEC_MAX_ATTRIBUTES + 1];
  size_t count, result_count = 0;
  for (size_t i = 0; out_results && i < HMOEC_MAX_RESULTS; i++) out_results[i] = HMOEC_NONE;
  if (!is_open(graph) || !is_given(graph, "the name of an op", op)) return HMOEC_NONE;
  const hmoec_op_info *info = hmoec_op_info_find(op);
  if (!info || !info->from_spec || !info->infer) {
    hmoec_error(graph->diagnostics, graph->at, info ? "%s cannot be built like this" : "there is no op named '%s'", op);
    return HMOEC_NONE;
  }
  if ((operand_count && !is_given(graph, "operands", operands)) || !attributes_check(graph, op, attributes, attribute_count))
    return HMOEC_NONE;
  for (size_t i = 0; i < attribute_count; i++) all[i] = attributes[i];
  if (!operands_close(graph, info, operands, operand_count, values, &count, all, &attribute_count) ||
      !hmoec_builder_op(graph->builder, graph->at, op, values, count, all, attribute_count, results, &result_count))
    return HMOEC_NONE;
  for (size_t i = 0; i < result_count; i++) {
    hmoec_graph_value result = value_of(graph, results[i]);
    if (out_results) out_results[i] = result;
  }
  return is_known(graph, (hmoec_graph_value){results[0].ptr}) ? (hmoec_graph_value){results[0].ptr} : HMOEC_NONE;
}

#define OPERANDS(...)                                                                                                              \
  (const hmoec_graph_value[]){__VA_ARGS__}, sizeof((hmoec_graph_value[]){__VA_ARGS__}) / sizeof(hmoec_graph_value)
#define ATTRIBUTES(...) (const hmoec_attribute[]){__VA_ARGS__}, sizeof((hmoec_attribute[]){__VA_ARGS__}) / sizeof(hmoec_attribute)

hmoec_graph_value hmoec_graph_linear(hmoec_graph *graph, hmoec_graph_value x, hmoec_graph_value w, hmoec_graph_value bias) {
  return hmoec_graph_op(graph, "linear", OPERANDS(x, w, bias), NULL, 0, NULL);
}

hmoec_graph_value hmoec_graph_activate(hmoec_graph *graph, hmoec_graph_value x, const char *function) {
  return hmoec_graph_op(graph, "activate", OPERANDS(x), ATTRIBUTES(HMOEC_TEXT("function", function)), NULL);
}

hmoec_graph_value hmoec_graph_add(hmoec_graph *graph, hmoec_graph_value a, hmoec_graph_value b) {
  return hmoec_graph_op(graph, "add", OPERANDS(a, b), NULL, 0, NULL);
}

hmoec_graph_value hmoec_graph_multiply(hmoec_graph *graph, hmoec_graph_value a, hmoec_graph_value b) {
  return hmoec_graph_op(graph, "multiply", OPERANDS(a, b), NULL, 0, NULL);
}

hmoec_graph_value hmoec_graph_scale(hmoec_graph *graph, hmoec_graph_value x, double by, hmoec_graph_value factor) {
  return hmoec_graph_op(graph, "scale", OPERANDS(x, factor), ATTRIBUTES(HMOEC_NUMBER("by", by)), NULL);
}

hmoec_graph_value hmoec_graph_slice(hmoec_graph *graph, hmoec_graph_value x, int64_t axis, int64_t begin, int64_t end,
                                    int64_t step) {
  return hmoec_graph_op(
      graph, "slice", OPERANDS(x),
      ATTRIBUTES(HMOEC_INT("axis", axis), HMOEC_INT("begin", begin), HMOEC_INT("end", end), HMOEC_INT("step", step)), NULL);
}

hmoec_graph_value hmoec_graph_concat(hmoec_graph *graph, const hmoec_graph_value *pieces, size_t count, int64_t axis) {
  return hmoec_graph_op(graph, "concat", pieces, count, ATTRIBUTES(HMOEC_INT("axis", axis)), NULL);
}

hmoec_graph_value hmoec_graph_rms_norm(hmoec_graph *graph, hmoec_graph_value x, hmoec_graph_value weight, double epsilon) {
  return hmoec_graph_op(graph, "rms_norm", OPERANDS(x, weight), ATTRIBUTES(HMOEC_NUMBER("epsilon", epsilon)), NULL);
}

hmoec_graph_value hmoec_graph_layer_norm(hmoec_graph *graph, hmoec_graph_value x, hmoec_graph_value weight, hmoec_graph_value bias,
                                         double epsilon) {
  return hmoec_graph_op(graph, "layer_norm", OPERANDS(x, weight, bias), ATTRIBUTES(HMOEC_NUMBER("epsilon", epsilon)), NULL);
}

hmoec_graph_routing hmoec_graph_route(hmoec_graph *graph, hmoec_graph_value logits, int64_t top_k, const char *gate,
                                      int64_t capacity, int renorm) {
  hmoec_graph_value results[HMOEC_MAX_RESULTS];
  hmoec_graph_op(graph, "route", OPERANDS(logits),
                 ATTRIBUTES(HMOEC_INT("top_k", top_k), HMOEC_TEXT("gate", gate), HMOEC_INT("capacity", capacity),
                            HMOEC_INT("renorm", renorm != 0)),
                 results);
  return (hmoec_graph_routing){.indices = results[0], .gates = results[1], .kept = results[2]};
}

hmoec_graph_value hmoec_graph_experts(hmoec_graph *graph, hmoec_graph_value x, hmoec_graph_routing routing, hmoec_graph_value wi,
                                      hmoec_graph_value wo, hmoec_graph_value bi, hmoec_graph_value bo, const char *activation) {
  return hmoec_graph_op(graph, "experts", OPERANDS(x, routing.indices, routing.kept, wi, wo, bi, bo),
                        ATTRIBUTES(HMOEC_TEXT("activation", activation)), NULL);
}

hmoec_graph_value hmoec_graph_gated_experts(hmoec_graph *graph, hmoec_graph_value x, hmoec_graph_routing routing,
                                            hmoec_graph_value wi_0, hmoec_graph_value wi_1, hmoec_graph_value wo,
                                            hmoec_graph_value bi_0, hmoec_graph_value bi_1, hmoec_graph_value bo,
                                            const char *activation) {
  return hmoec_graph_op(graph, "gated_experts", OPERANDS(x, routing.indices, routing.kept, wi_0, wi_1, wo, bi_0, bi_1, bo),
                        ATTRIBUTES(HMOEC_TEXT("activation", activation)), NULL);
}

hmoec_graph_value hmoec_graph_combine(hmoec_graph *graph, hmoec_graph_value experts, hmoec_graph_routing routing) {
  return hmoec_graph_op(graph, "combine", OPERANDS(experts, routing.gates), NULL, 0, NULL);
}

hmoec_graph_value hmoec_graph_selection_embedding(hmoec_graph *graph, hmoec_graph_routing routing, hmoec_graph_value table,
                                                  const char *of, const char *aggregate) {
  return hmoec_graph_op(graph, "selection_embedding", OPERANDS(routing.indices, table),
                        ATTRIBUTES(HMOEC_TEXT("of", of), HMOEC_TEXT("aggregate", aggregate)), NULL);
}

hmoec_graph_value hmoec_graph_append_row(hmoec_graph *graph, hmoec_graph_value x, hmoec_graph_value table, int64_t row) {
  return hmoec_graph_op(graph, "append_row", OPERANDS(x, table), ATTRIBUTES(HMOEC_INT("row", row)), NULL);
}

hmoec_graph_generated hmoec_graph_hypernetwork(hmoec_graph *graph, hmoec_graph_value r, hmoec_graph_value wd, hmoec_graph_value bd,
                                               hmoec_graph_value wu, hmoec_graph_value bu, hmoec_graph_value vd,
                                               hmoec_graph_value cd, hmoec_graph_value vu, hmoec_graph_value cu,
                                               int64_t bottleneck) {
  hmoec_graph_value results[HMOEC_MAX_RESULTS];
  hmoec_graph_op(graph, "hypernetwork", OPERANDS(r, wd, bd, wu, bu, vd, cd, vu, cu),
                 ATTRIBUTES(HMOEC_INT("bottleneck", bottleneck)), results);
  return (hmoec_graph_generated){.down = results[0], .up = results[1], .beta = results[2], .gamma = results[3]};
}

hmoec_graph_value hmoec_graph_hyper_expert(hmoec_graph *graph, hmoec_graph_value x, hmoec_graph_generated generated,
                                           const char *strategy) {
  return hmoec_graph_op(graph, "hyper_expert", OPERANDS(x, generated.down, generated.up, generated.beta, generated.gamma),
                        ATTRIBUTES(HMOEC_TEXT("strategy", strategy)), NULL);
}

/* ---- blocks of specs ---- */

void hmoec_graph_include(hmoec_graph *graph, const char *path, const hmoec_define *defines, size_t define_count) {
  const hmoec_spec_reader reader = {.read = hmoec_spec_read_file};
  const char *reason;
  size_t size;
  if (!is_open(graph) || !is_given(graph, "the path of a spec", path) ||
      !hmoec_defines_check(defines, define_count, graph->diagnostics))
    return;
  const char *text = hmoec_spec_read_file(NULL, graph->arena, path, &size, &reason);
  if (!text) {
    hmoec_error(graph->diagnostics, graph->at, "cannot open %s: %s", path, reason);
    return;
  }
  if (!graph->blocks) graph->blocks = hmoec_spec_blocks_create(graph->diagnostics, graph->builder);
  hmoec_spec_blocks_add(graph->blocks, &reader, path, text, size, defines, define_count);
}

/* False, in silence, for an argument that an earlier error left without its value. */
static bool argument_read(hmoec_graph *graph, const hmoec_graph_argument *from, hmoec_spec_argument *out) {
  static const hmoec_spec_argument_kind kinds[] = {[HMOEC_ARGUMENT_INT] = HMOEC_SPEC_INTEGER,
                                                   [HMOEC_ARGUMENT_NUMBER] = HMOEC_SPEC_NUMBER,
                                                   [HMOEC_ARGUMENT_TEXT] = HMOEC_SPEC_WORD};
  *out = (hmoec_spec_argument){.name = from->name, .integer = from->integer, .number = from->number, .word = from->text};
  if ((unsigned)from->kind > HMOEC_ARGUMENT_TEXT || (from->kind == HMOEC_ARGUMENT_TEXT && !from->text))
    return hmoec_error(graph->diagnostics, graph->at, "an argument of a block has no value");
  if (from->kind > HMOEC_ARGUMENT_GENERATED) {
    out->kind = kinds[from->kind];
    return true;
  }
  if (!from->values[0].handle && hmoec_diagnostics_errors(graph->diagnostics) > 0) return false;
  MlirValue *tensors = hmoec_arena_alloc_array(graph->arena, HMOEC_MAX_RESULTS, sizeof *tensors);
  for (size_t i = 0; i < HMOEC_MAX_RESULTS; i++) {
    tensors[i] = value_from(from->values[i]);
    if (from->values[i].handle && !is_known(graph, from->values[i]))
      return hmoec_error(graph->diagnostics, graph->at, "an argument of a block is a value of another graph");
  }
  out->kind = HMOEC_SPEC_TENSORS;
  out->tensors = tensors;
  out->tensor_count = HMOEC_MAX_RESULTS;
  out->bundle = from->kind == HMOEC_ARGUMENT_ROUTING ? "route" : from->kind == HMOEC_ARGUMENT_GENERATED ? "hypernetwork" : NULL;
  return true;
}

size_t hmoec_graph_block(hmoec_graph *graph, const char *name, const hmoec_graph_argument *arguments, size_t argument_count,
                         hmoec_graph_value *out_results, size_t room) {
  MlirValue tensors[HMOEC_MAX_BLOCK_RESULTS];
  size_t count = 0;
  if (!out_results) room = 0;
  for (size_t i = 0; i < room; i++) out_results[i] = HMOEC_NONE;
  if (!is_open(graph) || !is_given(graph, "the name of a block", name) ||
      (argument_count && !is_given(graph, "arguments", arguments)))
    return 0;
  if (!graph->blocks) {
    hmoec_error(graph->diagnostics, graph->at, "there is no block named '%s': no spec was included", name);
    return 0;
  }
  hmoec_spec_argument *read = hmoec_arena_alloc_array(graph->arena, argument_count, sizeof *read);
  for (size_t i = 0; i < argument_count; i++)
    if (!argument_read(graph, &arguments[i], &read[i])) return 0;
  const char *scope = current_scope(graph);
  if (*scope) scope = hmoec_arena_strndup(graph->arena, scope, strlen(scope) - 1);
  if (!hmoec_spec_blocks_call(graph->blocks, graph->at, scope, name, read, argument_count, tensors, HMOEC_MAX_BLOCK_RESULTS,
                              &count))
    return 0;
  for (size_t i = 0; i < count && i < room; i++) out_results[i] = value_of(graph, tensors[i]);
  return count;
}

/* ---- to text ---- */

static void append(MlirStringRef text, void *stream) { fwrite(text.data, 1, text.length, stream); }

static bool print(hmoec_graph *graph) {
  FILE *stream = open_memstream(&graph->text, &graph->text_size);
  if (!stream) return hmoec_machine_error(graph->diagnostics, "out of memory");
  MlirOpPrintingFlags flags = mlirOpPrintingFlagsCreate();
  mlirOpPrintingFlagsEnableDebugInfo(flags, /*enable=*/true, /*prettyForm=*/false);
  mlirOperationPrintWithFlags(mlirModuleGetOperation(graph->module), flags, append, stream);
  mlirOpPrintingFlagsDestroy(flags);
  return fclose(stream) == 0 || hmoec_machine_error(graph->diagnostics, "out of memory");
}

hmoec_status hmoec_graph_text(hmoec_graph *graph, const char **out_name, const char **out_text, size_t *out_size) {
  if (graph->scope_count > 0 && !graph->finished)
    hmoec_usage_error(graph->diagnostics, "graph %s: a scope did not end", graph->name);
  bool ok = hmoec_diagnostics_errors(graph->diagnostics) == 0;
  if (ok && !graph->finished) {
    graph->finished = true;
    ok = hmoec_builder_finish(graph->builder, &graph->module) && hmoec_verify(graph->module, graph->diagnostics) && print(graph);
  }
  *out_name = graph->name;
  *out_text = graph->text;
  *out_size = graph->text_size;
  return ok && graph->text ? HMOEC_OK : hmoec_diagnostics_status(graph->diagnostics);
}
