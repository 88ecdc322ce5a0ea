/* hmoec compile: an object, its C header and a manifest. */
#include <mlir-c/BuiltinAttributes.h>
#include <stdlib.h>
#include <string.h>

#include "commands/commands.h"
#include "emit/header.h"
#include "passes/rewrite.h"

typedef enum output_kind { OUTPUT_OBJECT, OUTPUT_HMOE, OUTPUT_HMK, OUTPUT_TEXT } output_kind;
typedef struct emit_row {
  const char *name, *suffix;
  output_kind kind;
  hmoec_cpu_output text;
} emit_row;

static const emit_row emits[] = {
    {"obj", ".o", OUTPUT_OBJECT, HMOEC_CPU_OBJECT},
    {"hmoe", ".hmoe.mlir", OUTPUT_HMOE, 0},
    {"hmk", ".hmk.mlir", OUTPUT_HMK, 0},
    {"mlir", ".mlir", OUTPUT_TEXT, HMOEC_CPU_MLIR},
    {"llvm", ".ll", OUTPUT_TEXT, HMOEC_CPU_LLVM},
    {"asm", ".s", OUTPUT_TEXT, HMOEC_CPU_ASSEMBLY},
};

/* The strategy of every HyperExpert, "table: reason". */
typedef struct strategies {
  char *lines[HMOEC_MAX_LIST];
  size_t count;
} strategies;

static bool collect_strategies(MlirOperation function, MlirBlock block, void *user) {
  (void)function;
  strategies *found = user;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op) && found->count < HMOEC_MAX_LIST;
       op = mlirOperationGetNextInBlock(op)) {
    if (mlirAttributeIsNull(mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("hmoe.reason")))) continue;
    MlirStringRef reason = hmoec_op_string(op, "hmoe.reason"), strategy = {"table, fused with the experts", 29};
    bool named = !mlirAttributeIsNull(mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("hmoe.strategy")));
    if (!hmoec_op_is(op, "hmoe.fused_experts") && !named) continue;
    if (named) strategy = hmoec_op_string(op, "hmoe.strategy");
    size_t size = strategy.length + reason.length + 3;
    char *line = malloc(size);
    if (!line) return false;
    snprintf(line, size, "%.*s: %.*s", (int)strategy.length, strategy.data, (int)reason.length, reason.data);
    found->lines[found->count++] = line;
  }
  return true;
}

static void append(MlirStringRef text, void *stream) { fwrite(text.data, 1, text.length, stream); }

static bool print_module(MlirModule module, char **out_text, size_t *out_size) {
  FILE *stream = open_memstream(out_text, out_size);
  if (!stream) return false;
  mlirOperationPrint(mlirModuleGetOperation(module), append, stream);
  return fclose(stream) == 0;
}

static char *join(const char *directory, const char *name, const char *suffix) {
  size_t size = strlen(directory) + strlen(name) + strlen(suffix) + 2;
  char *path = malloc(size);
  if (path) snprintf(path, size, "%s/%s%s", directory, name, suffix);
  return path;
}

static bool write_named(const char *directory, const char *name, const char *suffix, const char *bytes, size_t size,
                        hmoec_diagnostics *diagnostics) {
  char *path = join(directory, name, suffix);
  bool ok = path ? hmoec_write_file(path, bytes, size, diagnostics) : hmoec_machine_error(diagnostics, "out of memory");
  free(path);
  return ok;
}

/* Everything is made in memory first; the object, what a build waits for, is written last. */
static bool write_object(hmoec_session *session, const hmoec_options *options, const strategies *found) {
  const char *directory = options->output ? options->output : ".", *name = session->unit.name;
  char *object = NULL, *header = NULL, *manifest = NULL;
  size_t object_size = 0, header_size = 0, manifest_size = 0;
  bool ok = hmoec_session_generate(session, options, HMOEC_CPU_OBJECT, &object, &object_size);
  if (ok) {
    header = hmoec_header_print(&session->unit, &header_size);
    manifest = hmoec_manifest_print(&session->unit, (const char *const *)found->lines, found->count, &manifest_size);
    ok = header && manifest ? true : hmoec_machine_error(session->diagnostics, "out of memory");
  }
  ok = ok && hmoec_make_directory(directory, session->diagnostics) &&
       write_named(directory, name, ".h", header, header_size, session->diagnostics) &&
       write_named(directory, name, ".json", manifest, manifest_size, session->diagnostics) &&
       write_named(directory, name, ".o", object, object_size, session->diagnostics);
  free(manifest);
  free(header);
  free(object);
  return ok;
}

static bool write_text(hmoec_session *session, const hmoec_options *options, const char *text, size_t size, const emit_row *row) {
  if (!options->output || strcmp(options->output, "-") == 0) return hmoec_write_file("-", text, size, session->diagnostics);
  return hmoec_make_directory(options->output, session->diagnostics) &&
         write_named(options->output, session->unit.name ? session->unit.name : "model", row->suffix, text, size,
                     session->diagnostics);
}

static bool run(const hmoec_options *options, hmoec_diagnostics *diagnostics) {
  const emit_row *row = &emits[0];
  if (options->emit) {
    row = NULL;
    for (size_t i = 0; i < sizeof emits / sizeof *emits; i++)
      if (strcmp(emits[i].name, options->emit) == 0) row = &emits[i];
    if (!row)
      return hmoec_usage_error(diagnostics,
                               strcmp(options->emit, "ptx") == 0 ? "--emit %s is not in this version"
                                                                 : "expected --emit obj, hmoe, hmk, mlir, llvm or asm, found '%s'",
                               options->emit);
  }
  hmoec_session session;
  strategies found = {0};
  char *text = NULL;
  size_t size = 0;
  bool ok = hmoec_session_init(&session, diagnostics) && hmoec_session_load(&session, options, options->model);
  if (!ok) goto done;
  ok = hmoec_session_fold(&session, options);
  if (!ok) goto done;
  hmoec_each_function(session.module, collect_strategies, &found);
  if (row->kind == OUTPUT_HMOE) {
    ok = print_module(session.module, &text, &size) && write_text(&session, options, text, size, row);
    goto done;
  }
  ok = hmoec_session_plan(&session, options);
  if (!ok) goto done;
  if (row->kind == OUTPUT_OBJECT) ok = write_object(&session, options, &found);
  else if (row->kind == OUTPUT_HMK)
    ok = print_module(session.module, &text, &size) && write_text(&session, options, text, size, row);
  else ok = hmoec_session_generate(&session, options, row->text, &text, &size) && write_text(&session, options, text, size, row);
done:
  free(text);
  for (size_t i = 0; i < found.count; i++) free(found.lines[i]);
  hmoec_session_deinit(&session);
  return ok;
}

static const char *const accepted[] = {"-o",     "-D",         "--target",       "--mcpu",           "--dtype",   "--tuning",
                                       "--emit", "--strategy", "--table-budget", "--print-ir-after", "--dump-ir", NULL};
const hmoec_command hmoec_command_compile = {"compile", "compile a model to an object, a C header and a manifest",
                                             "MODEL [-o DIR] [-D NAME=VALUE]... [options]", accepted, run};
