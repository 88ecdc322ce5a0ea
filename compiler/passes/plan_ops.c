/* How each op is planned: a row an op. Adding an op that the planner must know means adding a row. */
#include <string.h>

#include "ir/location.h"
#include "passes/plan.h"

/* rows: anywhere, its rows being those it is told. entry: in an entry alone, as steps of its own. Neither: what reads it does. */
typedef struct rule {
  const char *op;
  bool (*rows)(planner *p, MlirOperation op, int fn, int64_t rows_dim);
  bool (*entry)(planner *p, MlirOperation op);
  unsigned facts;
  int deep; /* WIDTHS_OF the operand whose last dimensions say how deep the op's products are, or 0 */
  int64_t (*width)(const plan_graph *graph, MlirOperation op); /* where no operand says it */
} rule;
#define WIDTHS_OF(operand) ((operand) + 1)

/* A hidden block of the experts' own columns and the generated ones. */
static int64_t fused_width(const plan_graph *graph, MlirOperation op) {
  hmoec_shape wi = hmoec_value_shape(mlirOperationGetOperand(op, 4));
  intptr_t down = hmoec_op_is(op, "hmoe.fused_gated_experts") ? 7 : 6;
  int64_t hidden = plan_round(graph, wi.dims[1]) + plan_round(graph, hmoec_value_shape(mlirOperationGetOperand(op, down)).dims[2]);
  return hidden > wi.dims[2] ? hidden : wi.dims[2];
}

static int64_t factored_width(const plan_graph *graph, MlirOperation op) {
  (void)graph;
  int64_t depth = hmoec_op_int(op, "bottleneck") * (hmoec_value_shape(mlirOperationGetOperand(op, 1)).dims[1] + 1);
  int64_t columns = hmoec_value_shape(mlirOperationGetOperand(op, 0)).dims[1];
  return depth > columns ? depth : columns;
}

static int64_t attention_width(const plan_graph *graph, MlirOperation op) {
  int64_t columns = plan_columns(mlirOperationGetOperand(op, 0));
  return columns > graph->target->attention_width ? columns : graph->target->attention_width;
}

static const rule rules[] = {
    {"parameter", .rows = plan_parameter},
    {"linear", .rows = plan_linear, .facts = PLAN_GIVEN | PLAN_WAITS, .deep = WIDTHS_OF(1)},
    {"activate", .rows = plan_activate, .facts = PLAN_GIVEN | PLAN_PASSES | PLAN_WAITS},
    {"add", .rows = plan_add, .facts = PLAN_GIVEN | PLAN_PASSES},
    {"multiply", .rows = plan_multiply, .facts = PLAN_GIVEN | PLAN_PASSES | PLAN_WAITS},
    {"scale", .rows = plan_scale, .facts = PLAN_DEFERRED},
    {"rms_norm", .rows = plan_norm, .facts = PLAN_DEFERRED, .deep = WIDTHS_OF(0)},
    {"layer_norm", .rows = plan_norm, .facts = PLAN_DEFERRED, .deep = WIDTHS_OF(0)},
    {"concat", .rows = plan_concat},
    {"append_row", .rows = plan_append_row},
    {"reshape", .rows = plan_view},
    {"take_row", .rows = plan_view},
    {"transpose", .rows = plan_view},
    {"slice", .rows = plan_slice, .facts = PLAN_DEFERRED},
    {"flatten", .rows = plan_view, .facts = PLAN_DEFERRED},
    {"unflatten", .rows = plan_view, .facts = PLAN_GIVEN | PLAN_PASSES | PLAN_DEFERRED},
    {"selection_embedding", .rows = plan_selection_embedding},
    {"all_selections", .rows = plan_all_selections},
    {"weight_embedding", .rows = plan_weight_embedding},
    {"relative_bias", .rows = plan_relative_bias},
    {"route", .entry = plan_route},
    {.op = "experts", .deep = WIDTHS_OF(3)},
    {.op = "gated_experts", .deep = WIDTHS_OF(3)},
    {"combine", .entry = plan_combine, .facts = PLAN_GIVEN},
    {"fused_experts", .entry = plan_fused_experts, .facts = PLAN_GIVEN, .width = fused_width},
    {"fused_gated_experts", .entry = plan_fused_experts, .facts = PLAN_GIVEN, .width = fused_width},
    {.op = "hypernetwork", .deep = WIDTHS_OF(0)},
    {.op = "selection_rank"},
    {.op = "distinct_selections"},
    {"hyper_expert", .entry = plan_hyper_expert, .facts = PLAN_GIVEN, .deep = WIDTHS_OF(1)},
    {"indexed_hyper_expert", .entry = plan_indexed_hyper_expert, .facts = PLAN_GIVEN, .deep = WIDTHS_OF(2)},
    {"factored_hyper_expert", .entry = plan_factored_hyper_expert, .facts = PLAN_GIVEN, .width = factored_width},
    {"embedding", .entry = plan_embedding, .facts = PLAN_GIVEN},
    {"position_embedding", .entry = plan_embedding, .facts = PLAN_GIVEN},
    {"attention", .entry = plan_attention, .width = attention_width},
};

/* NULL: the planner does not know it. */
static const rule *rule_of(MlirOperation op) {
  const hmoec_op_info *info = hmoec_op_info_of(op);
  for (size_t i = 0; info && i < sizeof rules / sizeof *rules; i++)
    if (strcmp(rules[i].op, info->name) == 0) return &rules[i];
  return NULL;
}

bool plan_has(MlirOperation op, unsigned fact) {
  const rule *found = rule_of(op);
  return found && (found->facts & fact) != 0;
}

int64_t plan_widest(const plan_graph *graph) {
  int64_t widest = 1;
  for (size_t i = 0; i < graph->op_count; i++) {
    const rule *found = rule_of(graph->ops[i]);
    int64_t width = found && found->width ? found->width(graph, graph->ops[i]) : 0;
    if (found && found->deep) {
      hmoec_shape shape = hmoec_value_shape(mlirOperationGetOperand(graph->ops[i], found->deep - 1));
      for (int64_t d = 1; d < shape.rank; d++)
        if (shape.dims[d] > width) width = shape.dims[d];
    }
    if (width > widest) widest = width;
  }
  return plan_round(graph, widest);
}

bool plan_by_reader(MlirOperation op) {
  const rule *found = rule_of(op);
  return found && !found->rows && !found->entry;
}

bool plan_op(planner *p, MlirOperation op, int fn, int64_t rows_dim) {
  const rule *found = rule_of(op);
  p->out.location = mlirOperationGetLocation(op);
  if (found && found->rows) return found->rows(p, op, fn, rows_dim);
  MlirStringRef name = mlirIdentifierStr(mlirOperationGetName(op));
  return hmoec_error(p->graph.diagnostics, hmoec_location_of_op(op), "%.*s cannot be compiled here", (int)name.length, name.data);
}

bool plan_member(planner *p, MlirOperation op) {
  const rule *found = rule_of(op);
  if (found && found->entry) return found->entry(p, op);
  return plan_by_reader(op) || plan_is_per_set(op) || plan_op(p, op, PLAN_RUN, p->here.rows.count);
}
