/* The compiler's own passes, as a table: any of them runs alone by name, and the IR after any can be printed. */
#ifndef HMOEC_PASSES_PASSES_H
#define HMOEC_PASSES_PASSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mlir-c/IR.h>

#include "passes/hyper_cost.h"
#include "passes/routing.h"
#include "support/diagnostics.h"
#include "support/output_file.h"
#include "target/target.h"
#include "tuning/database.h"

/* What passes may be told. Zero-initialise with hmoec_pass_options_default. */
typedef struct hmoec_pass_options {
  const char *strategy;       /* forces the strategy of every HyperExpert, NULL: what the model says */
  int64_t
      table_budget_bytes; /* most bytes a table, or the cache, of one HyperExpert may take; 0: half of the layer's experts, at least 1 MiB */
  int64_t tokens; /* the token count that costs are weighed for */
  hmoec_format dtype; /* of products of run time; sums, routing and what is between the products stay f32 */
  const hmoec_target *target;
  hmoec_schedule schedule; /* what the target is to choose is 0 */
  const hmoec_tuning *tuning; /* what was measured of steps: NULL: nothing */
  int64_t memory_bytes; /* of the tables and caches of all HyperExperts together; 0: each has its budget */
  hmoec_routing routing;
  hmoec_hyper_report *hypers; /* what fold-hypernetwork chose among; NULL: nobody asks */
} hmoec_pass_options;

hmoec_pass_options hmoec_pass_options_default(void);

typedef struct hmoec_pass {
  const char *name; /* "fold-hypernetwork": the CLI name; the file is passes/fold_hypernetwork.c */
  const char *summary;
  bool (*run)(MlirModule module, hmoec_pass_options *options, hmoec_diagnostics *diagnostics);
} hmoec_pass;

/* One pass; that it has failed is said. */
bool hmoec_pass_run(const hmoec_pass *pass, MlirModule module, hmoec_pass_options *options, hmoec_diagnostics *diagnostics);
const hmoec_pass *hmoec_pass_find(const char *name);
const hmoec_pass *hmoec_pass_at(size_t index); /* NULL past the end; in pipeline order */

/* The IR after every pass, on its way to files that appear together: NN-pass-name.mlir. Zero-initialise. */
enum { HMOEC_MOST_PASSES = 16 };
typedef struct hmoec_pass_dump {
  hmoec_output_file files[HMOEC_MOST_PASSES];
  size_t count;
} hmoec_pass_dump;

/* Puts the files in their places, or drops them; what is dumped then begins anew. */
bool hmoec_pass_dump_commit(hmoec_pass_dump *dump);
void hmoec_pass_dump_abandon(hmoec_pass_dump *dump);

/* What to print on the way. */
typedef struct hmoec_pass_trace {
  const char *print_after; /* a pass name or "all" */
  void (*print)(void *context, const char *text, size_t bytes); /* where that IR goes */
  void *print_context;
  hmoec_pass_dump *dump; /* NULL: none. One whose file cannot be made is abandoned */
  const char *dump_dir; /* where its files go */
  const char *repro_file; /* NULL: repro.mlir in dump_dir, if there is one */
} hmoec_pass_trace;

/* The pipeline from pass `first` to pass `last`, both included; NULL: from the start, to the end. A pass that fails by our own fault leaves
 * the module as it was before that pass in repro_file. */
bool hmoec_passes_run(MlirModule module, const char *first, const char *last, hmoec_pass_options *options,
                      const hmoec_pass_trace *trace, hmoec_diagnostics *diagnostics);

/* Marks the row-wise ops of a folded module that stay f32 whatever --dtype says (plan_dtype.c). */
bool hmoec_mark_f32(MlirModule module);
/* Whether products of an op are computed in the dtype; others are f32. Of a folded module with marks, as what follows. */
bool hmoec_product_has_dtype(MlirOperation op);
/* Whether compiled code rounds an operand of an op to the dtype: of products and of the table whose rows an embedding copies; on targets that do
 * not pack rows (target.h) also of the factor that waits for the other one as rows of the dtype. See hmoec_interpret_rounded. */
bool hmoec_products_round(MlirOperation op, size_t operand);
bool hmoec_products_and_rows_round(MlirOperation op, size_t operand);

bool hmoec_fold_layer_embedding(MlirModule module, hmoec_pass_options *options, hmoec_diagnostics *diagnostics);
/* What chooses the sets of a module's HyperExperts that have any, in program order, before they are folded. */
typedef struct hmoec_hyper_selection {
  MlirValue indices; /* [tokens, top_k] */
  int64_t experts, top_k;
} hmoec_hyper_selection;
/* *out_selections: malloc'd. */
bool hmoec_hyper_selections(MlirModule module, hmoec_pass_options *options, hmoec_diagnostics *diagnostics,
                            hmoec_hyper_selection **out_selections, size_t *out_count);
bool hmoec_fold_hypernetwork(MlirModule module, hmoec_pass_options *options, hmoec_diagnostics *diagnostics);
bool hmoec_fuse_hyper_expert(MlirModule module, hmoec_pass_options *options, hmoec_diagnostics *diagnostics);
bool hmoec_fold_duplicates(MlirModule module, hmoec_pass_options *options, hmoec_diagnostics *diagnostics);
bool hmoec_fold_parameters(MlirModule module, hmoec_pass_options *options, hmoec_diagnostics *diagnostics);
bool hmoec_plan_kernels(MlirModule module, hmoec_pass_options *options, hmoec_diagnostics *diagnostics);
bool hmoec_place(MlirModule module, hmoec_pass_options *options, hmoec_diagnostics *diagnostics);
/* Gives steps of a placed function the values that were measured for their kernels, as `tunings`. False: no memory. */
bool hmoec_apply_tuning(MlirOperation function, const hmoec_tuning *tuning, const hmoec_target *target, hmoec_format dtype,
                        const hmoec_scalar_library *functions);
bool hmoec_plan_workspace(MlirModule module, hmoec_pass_options *options, hmoec_diagnostics *diagnostics);

#endif
