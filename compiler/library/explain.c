/* What a model costs and what the compiler chose, op by op, with the numbers behind each choice. */
#include <mlir-c/BuiltinAttributes.h>
#include <stdlib.h>
#include <string.h>

#include "hmoe/abi.h"
#include "ir/location.h"
#include "ir/scalar.h"
#include "library/explain_hyper.h"
#include "library/explain_times.h"
#include "library/model_cost.h"
#include "library/report.h"
#include "library/session.h"
#include "library/signature.h"
#include "passes/rewrite.h"

#define DEFAULT_TOKENS 512
#define MOST_TOKENS (1 << 26)
#define MOST_THREADS 4096

typedef enum phase { PHASE_OPEN, PHASE_RUN, PHASE_SET, PHASE_COUNT } phase;
static const char *const phase_names[PHASE_COUNT] = {"open", "run", "set"};

typedef struct explanation {
  const hmoec_report *report;
  int64_t tokens, rows; /* of every batch row; batch rows */
  hmoec_format dtype;
  hmoec_cost totals[PHASE_COUNT];
} explanation;

/* The scalar functions that an op names, each with its place: "activation @swish of swish.c:3". */
static void print_functions(const explanation *r, MlirOperation op, const hmoec_op_info *info, MlirOperation module) {
  for (const hmoec_attribute_info *row = info->attributes; row->name; row++) {
    if (!row->arities || mlirAttributeIsNull(mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString(row->name))))
      continue;
    MlirStringRef text = hmoec_op_string(op, row->name);
    if (text.length < 2 || text.data[0] != '@') continue;
    MlirOperation function = hmoec_scalar_find(module, text.data + 1, text.length - 1);
    hmoec_location location = mlirOperationIsNull(function) ? (hmoec_location){0} : hmoec_location_of_op(function);
    hmoec_report_printf(r->report, "  %s %.*s", row->name, (int)text.length, text.data);
    if (location.file) hmoec_report_printf(r->report, " of %s:%u", location.file, location.line);
  }
}

static bool print_op(MlirOperation function, MlirBlock block, void *user) {
  explanation *r = user;
  MlirOperation module = mlirOperationGetParentOperation(function);
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
    const hmoec_op_info *info = hmoec_op_info_of(op);
    if (!info || hmoec_op_is(op, "hmoe.parameter") || hmoec_op_has(op, HMOEC_OP_VIEW)) continue;
    phase when = hmoec_op_at_open(op) ? PHASE_OPEN : hmoec_op_per_set(op) ? PHASE_SET : PHASE_RUN;
    hmoec_cost c = hmoec_op_cost(op, (hmoec_run_size){.tokens = r->tokens * r->rows, .rows = r->rows}, r->dtype),
               *total = &r->totals[when];
    total->flops += c.flops;
    total->weight_bytes += c.weight_bytes;
    total->moved_bytes += c.moved_bytes;
    hmoec_location location = hmoec_location_of_op(op);
    hmoec_report_printf(r->report, "%-24s %5u  %-4s %11.3f %12.3f %12.3f", info->name, location.line, phase_names[when],
                        c.flops / 1e6, c.weight_bytes / 1e6, c.moved_bytes / 1e6);
    bool reasoned = !mlirAttributeIsNull(mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("hmoe.reason")));
    if (reasoned) {
      MlirStringRef reason = hmoec_op_string(op, "hmoe.reason");
      if (hmoec_op_is_fused(op)) {
        hmoec_report_printf(r->report, "  table, fused: %.*s", (int)reason.length, reason.data);
      } else if (!mlirAttributeIsNull(mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("hmoe.strategy")))) {
        MlirStringRef strategy = hmoec_op_string(op, "hmoe.strategy");
        hmoec_report_printf(r->report, "  %.*s: %.*s", (int)strategy.length, strategy.data, (int)reason.length, reason.data);
      }
    } else if (when == PHASE_OPEN) {
      hmoec_report_printf(r->report, "  folded: depends on parameters alone");
    }
    print_functions(r, op, info, module);
    hmoec_report_printf(r->report, "\n");
  }
  return true;
}

/* Bytes of workspace of an entry for so many batch rows of so many tokens, as the runtime lays it out. */
static double workspace_bytes(const hmoec_unit *unit, uint32_t entry_index, int64_t rows, int64_t tokens) {
  const char *base = unit->plan;
  const hmoe_plan *plan = unit->plan;
  const hmoe_plan_entry *entry = (const hmoe_plan_entry *)(const void *)(base + plan->entries.offset) + entry_index;
  const hmoe_plan_buffer *buffers = (const void *)(base + entry->buffers.offset);
  double *values = calloc(entry->dims.count + 1, sizeof *values), *slots = calloc(entry->slots + 1, sizeof *slots), total = 0;
  if (values) hmoec_entry_dims(unit, entry_index, &(hmoec_run_case){.rows = rows, .tokens = tokens}, values);
  for (uint32_t i = 0; values && slots && i < entry->buffers.count; i++) {
    if (buffers[i].kind != HMOE_BUFFER_WORKSPACE || buffers[i].index >= entry->slots) continue;
    double bytes = (double)buffers[i].fixed_bytes +
                   (buffers[i].dim == HMOE_NONE ? 0 : values[buffers[i].dim] * (double)buffers[i].bytes_per_row);
    if (bytes > slots[buffers[i].index]) slots[buffers[i].index] = bytes;
  }
  for (uint32_t i = 0; slots && i < entry->slots; i++) total += slots[i];
  free(values);
  free(slots);
  return total;
}

/* What the entries of a whole model need besides the first: workspace, and what their states keep of a token. */
static void print_entries(const hmoec_unit *unit, const explanation *r) {
  const char *base = unit->plan;
  const hmoe_plan *plan = unit->plan;
  const hmoe_plan_entry *entries = (const void *)(base + plan->entries.offset);
  const hmoe_plan_state *states = (const void *)(base + plan->states.offset);
  if (plan->entries.count < 3) return;
  for (uint32_t i = 1; i < plan->entries.count; i++) {
    int64_t tokens = entries[i].advance[HMOE_SCOPE_TARGET] == HMOE_NONE ? r->tokens : 1;
    hmoec_report_printf(r->report, "entry %.*s, %lld x %lld tokens: workspace %.1f MB, %u steps\n", (int)entries[i].name.count,
                        base + entries[i].name.offset, (long long)r->rows, (long long)tokens,
                        workspace_bytes(unit, i, r->rows, tokens) / 1e6, entries[i].steps.count);
  }
  double bytes[HMOE_SCOPE_COUNT] = {0};
  for (uint32_t i = 0; i < plan->states.count; i++) bytes[states[i].scope] += (double)states[i].position_bytes;
  if (plan->states.count)
    hmoec_report_printf(r->report, "a state keeps %.1f KB of every generated token, %.1f KB of every token of the source\n",
                        bytes[HMOE_SCOPE_TARGET] / 1e3, bytes[HMOE_SCOPE_SOURCE] / 1e3);
}

/* The code version that times are predicted of: the best that the model has code for and the machine runs, or the one that is asked for. */
static size_t version_of(const hmoec_unit *unit, const hmoec_options *options) {
  const char *asked = hmoec_options_version(options);
  uint32_t worth = hmoec_code_versions_of(unit->target, unit->kernels, unit->kernel_count);
  size_t best = 0, count = hmoec_code_version_count(unit->target),
         named = asked ? hmoec_code_version_find(unit->target, asked) : count;
  if (named < count) return named;
  for (size_t v = 0; v < count; v++)
    if ((worth >> v & 1) && unit->machine && v <= unit->machine->version) best = v;
  return best;
}

static bool explain(const char *path, const hmoec_options *options, const hmoec_explain_options *how,
                    hmoec_diagnostics *diagnostics) {
  hmoec_session session;
  const hmoec_report report = {.print = how->print, .context = how->print_context};
  explanation r = {.report = &report,
                   .tokens = how->tokens ? *how->tokens : DEFAULT_TOKENS,
                   .rows = how->rows ? how->rows : 1,
                   .dtype = hmoec_options_pass(options).dtype};
  if (how->threads < 0 || how->threads > MOST_THREADS)
    return hmoec_usage_error(diagnostics, "expected threads to be from 0 to %d", MOST_THREADS);
  if (r.tokens < 0 || r.rows < 0 || r.tokens > MOST_TOKENS || r.rows > MOST_TOKENS)
    return hmoec_usage_error(diagnostics, "expected tokens and rows to be from 0 to %d", MOST_TOKENS);
  hmoec_options weighed = *options;
  weighed.tokens = r.rows * r.tokens;
  bool ok = hmoec_session_init(&session, &weighed, diagnostics) && hmoec_session_load(&session, path) &&
            hmoec_session_fold(&session) && hmoec_mark_f32(session.folded);
  if (ok) {
    if (r.rows > 1) hmoec_report_printf(r.report, "%lld rows of ", (long long)r.rows);
    hmoec_report_printf(
        r.report,
        "%lld tokens, products in %s. MFLOP counts products; MB weights: parameters and tables an op names; MB moved: its other "
        "operands and "
        "results.\n"
        "open: once, when a model is opened; run: every run; set: once for a selection set that the cache lacks.\n\n",
        (long long)r.tokens, hmoec_format_name(r.dtype));
    hmoec_report_printf(r.report, "%-24s %5s  %-4s %11s %12s %12s  %s\n", "op", "line", "when", "MFLOP", "MB weights", "MB moved",
                        "strategy and reason");
    hmoec_each_function(session.folded, print_op, &r);
    for (int when = 0; when < PHASE_COUNT; when++) {
      const hmoec_cost *total = &r.totals[when];
      if (total->moved_bytes > 0)
        hmoec_report_printf(r.report, "%-24s %5s  %-4s %11.3f %12.3f %12.3f\n", "total", "", phase_names[when], total->flops / 1e6,
                            total->weight_bytes / 1e6, total->moved_bytes / 1e6);
    }
    hmoec_report_printf(r.report, "\n");
    ok = hmoec_explain_hyper(r.report, &session.hypers, session.pass.memory_bytes, &session.pass.routing) ||
         hmoec_machine_error(diagnostics, "out of memory");
    ok = ok && hmoec_session_plan(&session);
  }
  if (ok) {
    const hmoe_plan *plan = session.unit.plan;
    hmoec_signature signature;
    ok = hmoec_signature_read(&session.unit, NULL, &signature, diagnostics);
    if (ok)
      hmoec_report_printf(
          r.report,
          "packed weights %.1f MB; workspace %.1f MB a concurrent run of %lld tokens, and %.1f MB a thread; %.1f MB while "
          "opening; %zu kernels\n",
          (double)plan->weight_bytes / 1e6, workspace_bytes(&session.unit, signature.entry, r.rows, r.tokens) / 1e6,
          (long long)(r.rows * r.tokens), (double)session.unit.scratch_bytes / 1e6,
          workspace_bytes(&session.unit, 0, 1, r.tokens) / 1e6, session.unit.kernel_count);
    if (ok) print_entries(&session.unit, &r);
    hmoec_run_case run = {
        .rows = r.rows, .tokens = r.tokens, .version = version_of(&session.unit, &session.options), .threads = how->threads};
    if (ok && !hmoec_explain_times(&session.unit, signature.entry, run, r.report))
      ok = hmoec_machine_error(diagnostics, "out of memory");
  }
  hmoec_session_deinit(&session);
  return ok;
}

hmoec_status hmoec_explain(const char *path, const hmoec_options *options, const hmoec_explain_options *explain_options) {
  hmoec_diagnostics *diagnostics = hmoec_sink_create(options);
  hmoec_options read;
  hmoec_explain_options how;
  bool ok = diagnostics && hmoec_options_read(options, "", &read, diagnostics) &&
            hmoec_struct_read(explain_options, "the explain options", offsetof(hmoec_explain_options, tokens), sizeof how, &how,
                              diagnostics) &&
            explain(path, &read, &how, diagnostics);
  hmoec_status status = ok ? HMOEC_OK : hmoec_sink_failure(diagnostics);
  hmoec_diagnostics_destroy(diagnostics);
  return status;
}
