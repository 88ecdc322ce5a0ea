/* hmoec import: a Hugging Face directory as a spec. */
#include "frontend/import.h"
#include "commands/commands.h"
#include "support/tensor_files.h"

static bool run(const hmoec_options *options, hmoec_diagnostics *diagnostics) {
  if (!hmoec_is_directory(options->model))
    return hmoec_error(diagnostics, (hmoec_location){.file = options->model},
                       "expected a directory with config.json and model.safetensors");
  hmoec_session session;
  size_t size = 0;
  hmoec_arena *arena = hmoec_arena_create();
  bool ok = hmoec_session_init(&session, diagnostics);
  const char *text = ok ? hmoec_import(arena, options->model, diagnostics, &size) : NULL;
  const char *name = hmoec_arena_printf(arena, "%s (imported)", options->model);
  ok = text && hmoec_spec_build(session.context, diagnostics, NULL, name, text, size, NULL, 0, &session.module) &&
       hmoec_verify(session.module, diagnostics) && /* only a spec that works is written */
       hmoec_write_file(options->output ? options->output : "-", text, size, diagnostics);
  hmoec_session_deinit(&session);
  hmoec_arena_destroy(arena);
  return ok;
}

static const char *const accepted[] = {"-o", NULL};
const hmoec_command hmoec_command_import = {"import", "write the spec of a Hugging Face directory", "DIR [-o MODEL.spec]", accepted,
                                            run};
