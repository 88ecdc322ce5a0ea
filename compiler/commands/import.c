/* hmoec import: a Hugging Face directory as a spec. */
#include <string.h>

#include "commands/commands.h"
#include "support/output_file.h"

static bool run(const hmoec_arguments *arguments, hmoec_diagnostics *diagnostics) {
  char *text;
  if (hmoec_import_directory(arguments->model, &arguments->options, &text) != HMOEC_OK) return false;
  bool ok = hmoec_file_write(arguments->output ? arguments->output : "-", text, strlen(text), diagnostics);
  hmoec_free(text);
  return ok;
}

static const char *const accepted[] = {"-o", NULL};
const hmoec_command hmoec_command_import = {
    "import", "write the spec of a Hugging Face directory", "DIR [-o MODEL.spec]", accepted, run, false};
