/* hmoec compile: an object, its C header and a manifest; or one stage as text. */
#include <stdlib.h>
#include <string.h>

#include "commands/commands.h"
#include "support/output_file.h"
#include "support/paths.h"

typedef struct emit_row {
  const char *name, *suffix;
  hmoec_output output;
  const char *target; /* NULL: any */
} emit_row;

static const emit_row emits[] = {
    {"obj", ".o", HMOEC_OUTPUT_OBJECT, NULL},       {"hmoe", ".hmoe.mlir", HMOEC_OUTPUT_HMOE, NULL},
    {"hmk", ".hmk.mlir", HMOEC_OUTPUT_HMK, NULL},   {"mlir", ".mlir", HMOEC_OUTPUT_MLIR, NULL},
    {"llvm", ".ll", HMOEC_OUTPUT_LLVM, NULL},       {"asm", ".s", HMOEC_OUTPUT_ASSEMBLY, NULL},
    {"ptx", ".ptx", HMOEC_OUTPUT_ASSEMBLY, "cuda"}, {"cubin", ".cubin", HMOEC_OUTPUT_CUBIN, "cuda"},
};

static const emit_row *find_emit(const char *name, const char *target, hmoec_diagnostics *diagnostics) {
  const char *names[sizeof emits / sizeof *emits];
  for (size_t i = 0; i < sizeof emits / sizeof *emits; i++) {
    names[i] = emits[i].name;
    if (name && strcmp(emits[i].name, name) != 0) continue;
    if (!emits[i].target || (target && strcmp(target, emits[i].target) == 0)) return &emits[i];
    hmoec_usage_error(diagnostics, "--emit %s is of --target %s", name, emits[i].target);
    return NULL;
  }
  const char *close = hmoec_closest_name(name, names, sizeof names / sizeof *names);
  hmoec_usage_error(diagnostics, "expected --emit obj, hmoe, hmk, mlir, llvm, asm, ptx or cubin, found '%s'%s%s%s", name,
                    close ? "; did you mean " : "", close ? close : "", close ? "?" : "");
  return NULL;
}

/* Text, or a cubin, to standard output, or to NAME.suffix in the directory of -o. */
static bool write_text(const hmoec_arguments *arguments, hmoec_compilation *compilation, const emit_row *row,
                       hmoec_diagnostics *diagnostics) {
  char *text, *path = NULL;
  size_t size;
  if (hmoec_compilation_emit(compilation, row->output, &text, &size) != HMOEC_OK) return false;
  bool to_file = arguments->output && strcmp(arguments->output, "-") != 0, ok = true;
  if (to_file)
    ok = hmoec_make_directory(arguments->output, diagnostics) &&
         (asprintf(&path, "%s/%s%s", arguments->output, hmoec_compilation_name(compilation), row->suffix) >= 0 ||
          hmoec_machine_error(diagnostics, "out of memory"));
  ok = ok && (!to_file || hmoec_output_check(arguments, "-o", path, diagnostics));
  ok = ok && hmoec_file_write(to_file ? path : "-", text, size, diagnostics);
  free(path);
  hmoec_free(text);
  return ok;
}

static bool run(const hmoec_arguments *arguments, hmoec_diagnostics *diagnostics) {
  const emit_row *row = find_emit(arguments->emit, arguments->options.target, diagnostics);
  hmoec_compilation *compilation = NULL;
  if (row && row->output == HMOEC_OUTPUT_OBJECT && arguments->output && strcmp(arguments->output, "-") == 0)
    return hmoec_usage_error(diagnostics, "expected -o DIR: an object, its header and manifest do not go to standard output");
  if (!hmoec_one_token_count(arguments, "compile", diagnostics)) return false;
  bool ok = row && hmoec_compile_file(arguments->model, &arguments->options, &compilation) == HMOEC_OK;
  if (ok && row->output != HMOEC_OUTPUT_OBJECT) ok = write_text(arguments, compilation, row, diagnostics);
  else if (ok) ok = hmoec_compilation_write(compilation, arguments->output ? arguments->output : ".") == HMOEC_OK;
  hmoec_compilation_destroy(compilation);
  return ok;
}

static const char *const accepted[] = {
    "-o",     "-D",         "--c-include",    "--c-define", "--target",  "--mcpu",   "--dtype",          "--tuning",
    "--emit", "--strategy", "--table-budget", "--memory",   "--routing", "--tokens", "--print-ir-after", "--dump-ir",
    NULL};
const hmoec_command hmoec_command_compile = {"compile",
                                             "compile a model to an object, a C header and a manifest",
                                             "MODEL [-o DIR] [-D NAME=VALUE]... [options]",
                                             accepted,
                                             run,
                                             false};
