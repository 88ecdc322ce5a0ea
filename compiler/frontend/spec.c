/* A spec from text to module: parse, check, evaluate into the builder, finish. */
#include "frontend/spec.h"

#include "frontend/spec_eval.h"

/* Inputs and params that were made and that nothing reads; the first `left` of them. */
static void warn_unused(hmoec_diagnostics *diagnostics, const hmoec_statements *statements, unsigned *left) {
  for (size_t i = 0; i < statements->count && *left; i++) {
    const hmoec_statement *statement = statements->items[i];
    if (statement->evaluated && !statement->used) {
      const char *kind = statement->kind == HMOEC_STATEMENT_INPUT ? "input" : "param";
      hmoec_warning(diagnostics, statement->name.at, "%s '%s' is not used", kind, statement->name.text);
      --*left;
    }
    for (size_t arm = 0; arm < statement->arm_count; arm++) warn_unused(diagnostics, &statement->arms[arm].body, left);
    warn_unused(diagnostics, &statement->body, left);
  }
}

static bool evaluate(hmoec_evaluator *ev, const hmoec_statements *statements, MlirModule *out_module) {
  unsigned errors = hmoec_diagnostics_errors(ev->diagnostics);
  hmoec_frame top = {.names = {.arena = ev->arena}};
  ev->frame = &top;
  hmoec_eval_statements(ev, statements);
  hmoec_eval_generation_defines(ev);
  if (hmoec_diagnostics_errors(ev->diagnostics) != errors) return false;
  return hmoec_builder_finish(ev->builder, out_module);
}

bool hmoec_spec_build(MlirContext context, hmoec_diagnostics *diagnostics, const hmoec_spec_reader *reader, const char *file,
                      const char *text, size_t size, const hmoec_load_options *options, MlirModule *out_module) {
  hmoec_arena *arena = hmoec_arena_create();
  hmoec_evaluator ev;
  hmoec_evaluator_init(&ev, arena, diagnostics);
  ev.defines = options ? options->defines : NULL;
  ev.define_count = options ? options->define_count : 0;
  unsigned errors = hmoec_diagnostics_errors(diagnostics);
  hmoec_statements statements = hmoec_spec_parse(arena, diagnostics, reader, hmoec_arena_strdup(arena, file), text, size);
  bool ok = hmoec_diagnostics_errors(diagnostics) == errors && hmoec_spec_check(&ev, &statements);
  if (hmoec_diagnostics_errors(diagnostics) == errors && !ev.model)
    ok = hmoec_error(diagnostics, (hmoec_location){.file = file, .line = 1, .column = 1}, "the spec has no line `model NAME`");
  ok = ok && hmoec_spec_check_defines(&ev);
  if (ok) {
    ev.builder = hmoec_builder_create(context, diagnostics, ev.model->name.at, ev.model->name.text, options ? &options->c : NULL);
    ok = evaluate(&ev, &statements, out_module);
    unsigned warnings_left = 20;
    if (ok) warn_unused(diagnostics, &statements, &warnings_left);
    hmoec_builder_destroy(ev.builder);
  }
  hmoec_arena_destroy(arena);
  return ok;
}
