#include "library/explain_times.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hmoe/abi.h"
#include "kernel/family.h"

static const double SMALL_SHARE = 0.005;

/* Steps of one kernel, or of one kind, of as many rows. */
typedef struct line {
  uint32_t kind, kernel;
  double runs, rows, seconds, bound;
} line;

static int slower_first(const void *a, const void *b) {
  const line *x = a, *y = b;
  if (x->seconds < y->seconds || x->seconds > y->seconds) return x->seconds < y->seconds ? 1 : -1;
  if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
  return (x->kernel > y->kernel) - (x->kernel < y->kernel);
}

static const char *const kinds[HMOE_STEP_COUNT] = {[HMOE_STEP_GROUP] = "group",
                                                   [HMOE_STEP_GROUP_SETS] = "group_sets",
                                                   [HMOE_STEP_PACK] = "pack",
                                                   [HMOE_STEP_COPY] = "copy",
                                                   [HMOE_STEP_SELECTIONS] = "selections",
                                                   [HMOE_STEP_WEIGHT_EMBEDDING] = "weight_embedding",
                                                   [HMOE_STEP_RELATIVE_BIAS] = "bias",
                                                   [HMOE_STEP_IDS] = "ids",
                                                   [HMOE_STEP_POSITIONS] = "positions",
                                                   [HMOE_STEP_LAST_ROWS] = "last_rows",
                                                   [HMOE_STEP_APPEND_MASK] = "append_mask"};

/* "ffn k=768 n=3072 bf16": the sizes of products, or a family's name. */
static void describe(const hmoec_unit *unit, const line *l, char *out, size_t size) {
  if (l->kind != HMOE_STEP_KERNEL) {
    snprintf(out, size, "%s", l->kind < HMOE_STEP_COUNT && kinds[l->kind] ? kinds[l->kind] : "step");
    return;
  }
  const hmoec_kernel *kernel = &unit->kernels[l->kernel];
  const char *family = hmoec_family_name(kernel->family);
  const hmoec_matmul_spec *product = kernel->family == HMOEC_KERNEL_FFN ? &kernel->spec.ffn.first : &kernel->spec.matmul;
  if (kernel->family == HMOEC_KERNEL_MATMUL || kernel->family == HMOEC_KERNEL_FFN)
    snprintf(out, size, "%s k=%lld n=%lld %s", family, (long long)product->k, (long long)product->n,
             hmoec_format_name(product->format));
  else snprintf(out, size, "%s", family);
}

static size_t collect(const hmoec_unit *unit, uint32_t entry, const hmoec_entry_time *time, line *out) {
  const char *base = unit->plan;
  const hmoe_plan *plan = unit->plan;
  const hmoe_plan_step *steps =
      (const void *)(base + ((const hmoe_plan_entry *)(const void *)(base + plan->entries.offset))[entry].steps.offset);
  size_t count = 0;
  for (uint32_t i = 0; i < time->step_count; i++) {
    const hmoec_step_time *t = &time->steps[i];
    if (!(t->runs > 0)) continue;
    line l = {steps[i].kind, 0, t->runs, t->rows, t->seconds, t->bound};
    if (l.kind == HMOE_STEP_KERNEL) l.kernel = ((const hmoe_step_kernel *)(const void *)(base + steps[i].fields.offset))->kernel;
    size_t at = 0;
    while (at < count && !(out[at].kind == l.kind && out[at].kernel == l.kernel && fabs(out[at].rows - l.rows) < 0.5)) at++;
    if (at == count) out[count++] = (line){l.kind, l.kernel, 0, l.rows, 0, 0};
    out[at].runs += l.runs;
    out[at].seconds += l.seconds;
    out[at].bound += l.bound;
  }
  qsort(out, count, sizeof *out, slower_first);
  return count;
}

static double percent(double part, double whole) { return whole > 0 ? 100 * part / whole : 100; }

static void print(const hmoec_unit *unit, const hmoec_entry_time *time, const line *lines, size_t count,
                  const hmoec_report *report) {
  double rest = 0, rest_bound = 0, room = 0;
  hmoec_report_printf(report, "%-40s %9s %7s %11s %6s %9s\n", "step", "rows", "times", "us", "share", "of bound");
  for (size_t i = 0; i < count; i++) {
    const line *l = &lines[i];
    char text[128];
    if (hmoec_time_is_hopeful(l->seconds, l->bound)) room += l->seconds;
    if (l->seconds < SMALL_SHARE * time->seconds) {
      rest += l->seconds;
      rest_bound += l->bound;
      continue;
    }
    describe(unit, l, text, sizeof text);
    hmoec_report_printf(report, "%-40s %9.0f %7.1f %11.2f %4.0f %% %7.0f %%\n", text, l->rows, l->runs, 1e6 * l->seconds,
                        percent(l->seconds, time->seconds), percent(l->bound, l->seconds));
  }
  if (rest > 0)
    hmoec_report_printf(report, "%-40s %9s %7s %11.2f %4.0f %% %7.0f %%\n", "others, below half a percent each", "", "", 1e6 * rest,
                        percent(rest, time->seconds), percent(rest_bound, rest));
  hmoec_report_printf(report, "predicted %.2f us, bound %.2f us (%.0f %%), %.1f MB of weights read: ", 1e6 * time->seconds,
                      1e6 * time->bound, percent(time->bound, time->seconds), (double)time->weight_bytes / 1e6);
  if (hmoec_time_is_hopeful(time->seconds, time->bound))
    hmoec_report_printf(report, "tuning may find something, in steps that take %.0f %% of the time\n",
                        percent(room, time->seconds));
  else hmoec_report_printf(report, "not worth tuning\n");
}

bool hmoec_explain_times(const hmoec_unit *unit, uint32_t entry, hmoec_run_case run, const hmoec_report *report) {
  hmoec_entry_time time;
  const hmoec_machine *machine = unit->machine;
  if (!machine || !unit->target->task_time) return true;
  if (run.threads < 1) run.threads = machine->threads;
  bool ok = hmoec_entry_time_init(unit, entry, &run, &time);
  line *lines = ok ? calloc((size_t)time.step_count + 1, sizeof *lines) : NULL;
  if (lines) {
    hmoec_report_printf(report, "\nPredicted, not measured: on %s, %s code, %lld threads, experts drawn alike.\n", machine->name,
                        unit->target->version(run.version).name, (long long)run.threads);
    print(unit, &time, lines, collect(unit, entry, &time, lines), report);
  }
  ok = lines != NULL;
  free(lines);
  hmoec_entry_time_deinit(&time);
  return ok;
}
