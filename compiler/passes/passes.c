/* The pass table and the pipeline that runs it. A checker runs between passes: a pass that breaks the IR is our bug, and leaves a file to repeat it with. */
#include "passes/passes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/hmk_ops.h"
#include "ir/ops.h"
#include "ir/scalar.h"
#include "ir/verify_hmk.h"
#include "passes/rewrite.h"
#include "support/output_file.h"

/* A module is in one of the two dialects: planned functions carry hmk.dims. */
static bool verify(MlirModule module, hmoec_pass_options *options, hmoec_diagnostics *diagnostics) {
  (void)options;
  MlirOperation first = mlirBlockGetFirstOperation(mlirModuleGetBody(module));
  while (!mlirOperationIsNull(first) && hmoec_is_scalar_function(first)) first = mlirOperationGetNextInBlock(first);
  bool planned = !mlirOperationIsNull(first) &&
                 !mlirAttributeIsNull(mlirOperationGetAttributeByName(first, mlirStringRefCreateFromCString("hmk.dims")));
  return planned ? hmoec_verify_hmk(module, diagnostics) : hmoec_verify(module, diagnostics);
}

/* In pipeline order. */
static const hmoec_pass passes[] = {
    {"verify", "check shapes, attribute ranges and the form of entry functions", verify},
    {"fold-layer-embedding", "the layer's embedding row becomes a bias", hmoec_fold_layer_embedding},
    {"fold-hypernetwork", "generate HyperExperts per selection set: table, cache, factored or per_token", hmoec_fold_hypernetwork},
    {"fuse-hyper-expert", "top-1: HyperExpert e becomes more columns of expert e", hmoec_fuse_hyper_expert},
    {"fold-parameters", "mark what depends on parameters alone (a HyperRouter's router, tables) to run at open",
     hmoec_fold_parameters},
    {"fold-duplicates", "merge equal ops, drop unused ones", hmoec_fold_duplicates},
    {"plan-kernels", "hmoe to hmk: kernels, buffers, groupings", hmoec_plan_kernels},
    {"place", "layouts and schedules: the target's", hmoec_place},
    {"plan-workspace", "assign workspace slots by liveness", hmoec_plan_workspace},
};

_Static_assert(sizeof passes / sizeof *passes <= HMOEC_MOST_PASSES, "a dump has a file for each pass");

hmoec_pass_options hmoec_pass_options_default(void) {
  return (hmoec_pass_options){.tokens = 512, .target = hmoec_targets[0], .routing = {.exponent = HMOEC_ROUTING_EXPONENT}};
}

const hmoec_pass *hmoec_pass_at(size_t index) { return index < sizeof passes / sizeof *passes ? &passes[index] : NULL; }

const hmoec_pass *hmoec_pass_find(const char *name) {
  for (size_t i = 0; i < sizeof passes / sizeof *passes; i++)
    if (strcmp(passes[i].name, name) == 0) return &passes[i];
  return NULL;
}

static void print_to_file(MlirStringRef text, void *file) { hmoec_output_file_write(file, text.data, text.length); }

static void print_to_trace(MlirStringRef text, void *user) {
  const hmoec_pass_trace *trace = user;
  trace->print(trace->print_context, text.data, text.length);
}

static bool write_module(MlirOperation module, const char *path, const char *comment, hmoec_diagnostics *diagnostics) {
  hmoec_output_file file;
  if (!hmoec_output_file_open(path, diagnostics, &file)) return false;
  hmoec_output_file_write(&file, comment, strlen(comment));
  mlirOperationPrint(module, print_to_file, &file);
  return hmoec_output_files_commit(&file, 1);
}

static void leave_repro(MlirOperation before, const hmoec_pass *pass, const hmoec_pass_trace *trace,
                        hmoec_diagnostics *diagnostics) {
  if (!trace || (!trace->repro_file && !trace->dump_dir)) return;
  char path[4096], comment[128];
  if (trace->repro_file) snprintf(path, sizeof path, "%s", trace->repro_file);
  else snprintf(path, sizeof path, "%s/repro.mlir", trace->dump_dir);
  snprintf(comment, sizeof comment, "// hmoec-opt --%s repro.mlir\n", pass->name);
  if (write_module(before, path, comment, diagnostics))
    hmoec_note(diagnostics, (hmoec_location){0}, "the module before pass %s is in %s", pass->name, path);
}

static bool trace_after(MlirOperation module, const hmoec_pass *pass, size_t index, const hmoec_pass_trace *trace,
                        hmoec_diagnostics *diagnostics) {
  if (!trace) return true;
  if (trace->print && trace->print_after &&
      (strcmp(trace->print_after, "all") == 0 || strcmp(trace->print_after, pass->name) == 0)) {
    char head[128];
    int length = snprintf(head, sizeof head, "// IR after %s\n", pass->name);
    trace->print(trace->print_context, head, (size_t)length);
    mlirOperationPrint(module, print_to_trace, (void *)(uintptr_t)trace);
  }
  if (trace->dump) {
    char path[4096];
    hmoec_output_file *file = &trace->dump->files[trace->dump->count];
    snprintf(path, sizeof path, "%s/%02zu-%s.mlir", trace->dump_dir, index, pass->name);
    if (!hmoec_output_file_open(path, diagnostics, file)) {
      hmoec_pass_dump_abandon(trace->dump);
      return false;
    }
    trace->dump->count++;
    mlirOperationPrint(module, print_to_file, file);
  }
  return true;
}

bool hmoec_pass_dump_commit(hmoec_pass_dump *dump) {
  bool ok = hmoec_output_files_commit(dump->files, dump->count);
  dump->count = 0;
  return ok;
}

void hmoec_pass_dump_abandon(hmoec_pass_dump *dump) {
  for (size_t i = 0; i < dump->count; i++) hmoec_output_file_abandon(&dump->files[i]);
  dump->count = 0;
}

bool hmoec_pass_run(const hmoec_pass *pass, MlirModule module, hmoec_pass_options *options, hmoec_diagnostics *diagnostics) {
  unsigned errors = hmoec_diagnostics_errors(diagnostics);
  bool ran = pass->run(module, options, diagnostics);
  if (!ran && hmoec_diagnostics_errors(diagnostics) == errors) /* it says all else itself */
    hmoec_machine_error(diagnostics, "out of memory in pass %s", pass->name);
  return ran;
}

bool hmoec_passes_run(MlirModule module, const char *first, const char *last, hmoec_pass_options *options,
                      const hmoec_pass_trace *trace, hmoec_diagnostics *diagnostics) {
  MlirOperation root = mlirModuleGetOperation(module);
  bool started = first == NULL;
  for (size_t i = 0; i < sizeof passes / sizeof *passes; i++) {
    started = started || strcmp(passes[i].name, first) == 0;
    if (!started) continue;
    MlirOperation before = mlirOperationClone(root);
    bool ran = hmoec_pass_run(&passes[i], module, options, diagnostics);
    bool valid = ran && (passes[i].run == verify || verify(module, options, diagnostics));
    if (ran && !valid) {
      hmoec_machine_error(diagnostics, "internal: pass %s left invalid IR", passes[i].name);
      leave_repro(before, &passes[i], trace, diagnostics);
    }
    mlirOperationDestroy(before);
    if (!valid) return false;
    if (!trace_after(root, &passes[i], i, trace, diagnostics)) return false;
    if (last && strcmp(passes[i].name, last) == 0) break;
  }
  return true;
}
