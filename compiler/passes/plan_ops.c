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
} rule;

static const rule rules[] = {
    {"parameter", .rows = plan_parameter},
    {"linear", .rows = plan_linear, .facts = PLAN_GIVEN | PLAN_WAITS},
    {"activate", .rows = plan_activate, .facts = PLAN_GIVEN | PLAN_PASSES | PLAN_WAITS},
    {"add", .rows = plan_add, .facts = PLAN_GIVEN | PLAN_PASSES},
    {"multiply", .rows = plan_multiply, .facts = PLAN_GIVEN | PLAN_PASSES},
    {"scale", .rows = plan_scale, .facts = PLAN_DEFERRED},
    {"rms_norm", .rows = plan_norm, .facts = PLAN_DEFERRED},
    {"layer_norm", .rows = plan_norm, .facts = PLAN_DEFERRED},
    {"append_row", .rows = plan_append_row},
    {"reshape", .rows = plan_view},
    {"take_row", .rows = plan_view},
    {"transpose", .rows = plan_view},
    {"slice", .rows = plan_view, .facts = PLAN_DEFERRED},
    {"flatten", .rows = plan_view, .facts = PLAN_DEFERRED},
    {"unflatten", .rows = plan_view, .facts = PLAN_GIVEN | PLAN_PASSES | PLAN_DEFERRED},
    {"selection_embedding", .rows = plan_selection_embedding},
    {"all_selections", .rows = plan_all_selections},
    {"weight_embedding", .rows = plan_weight_embedding},
    {"relative_bias", .rows = plan_relative_bias},
    {"route", .entry = plan_route},
    {.op = "experts"},
    {.op = "gated_experts"},
    {"combine", .entry = plan_combine, .facts = PLAN_GIVEN},
    {"fused_experts", .entry = plan_fused_experts, .facts = PLAN_GIVEN},
    {.op = "hypernetwork"},
    {.op = "selection_rank"},
    {.op = "distinct_selections"},
    {"hyper_expert", .entry = plan_hyper_expert, .facts = PLAN_GIVEN},
    {"indexed_hyper_expert", .entry = plan_indexed_hyper_expert, .facts = PLAN_GIVEN},
    {"factored_hyper_expert", .entry = plan_factored_hyper_expert, .facts = PLAN_GIVEN},
    {"embedding", .entry = plan_embedding, .facts = PLAN_GIVEN},
    {"position_embedding", .entry = plan_embedding, .facts = PLAN_GIVEN},
    {"attention", .entry = plan_attention},
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

bool plan_by_reader(MlirOperation op) {
  const rule *found = rule_of(op);
  return found && !found->rows && !found->entry;
}

bool plan_op(planner *p, MlirOperation op, int fn, int64_t rows_dim) {
  const rule *found = rule_of(op);
  p->location = mlirOperationGetLocation(op);
  if (found && found->rows) return found->rows(p, op, fn, rows_dim);
  MlirStringRef name = mlirIdentifierStr(mlirOperationGetName(op));
  return hmoec_error(p->diagnostics, hmoec_location_of_op(op), "%.*s cannot be compiled here", (int)name.length, name.data);
}

bool plan_member(planner *p, MlirOperation op) {
  const rule *found = rule_of(op);
  if (found && found->entry) return found->entry(p, op);
  return plan_by_reader(op) || plan_is_per_set(op) || plan_op(p, op, PLAN_RUN, p->rows.count);
}
