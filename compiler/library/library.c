/* The public calls on compilations (include/hmoe/compiler.h), over a session. */
#include "hmoe/compiler.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "frontend/import.h"
#include "interpreter/parameters.h"
#include "ir/entry.h"
#include "library/graph.h"
#include "library/model_cost.h"
#include "library/reference.h"
#include "library/session.h"
#include "library/signature.h"
#include "runtime_internal.h"
#include "support/paths.h"

struct hmoec_compilation {
  hmoec_diagnostics *diagnostics;
  hmoec_session session;
};

const char *hmoec_version(void) { return HMOE_VERSION; }
int hmoec_api_version(void) { return HMOEC_API_VERSION; }
void hmoec_free(void *memory) { free(memory); }

hmoec_status hmoec_options_validate(const hmoec_options *options, const char *prefix) {
  hmoec_options read;
  hmoec_diagnostics *diagnostics = hmoec_sink_create(options);
  bool ok = diagnostics && hmoec_options_read(options, prefix ? prefix : "", &read, diagnostics);
  hmoec_status status = ok ? HMOEC_OK : hmoec_sink_failure(diagnostics);
  hmoec_diagnostics_destroy(diagnostics);
  return status;
}

/* A call on a compilation that went before may have failed: only this one's errors count. */
static hmoec_status finish(hmoec_compilation *c, bool ok) {
  hmoec_status status = ok ? HMOEC_OK : hmoec_sink_failure(c->diagnostics);
  hmoec_diagnostics_forget(c->diagnostics);
  return status;
}

/* What must be there: text, memory, or a place for a result. */
static bool is_given(hmoec_compilation *c, const char *what, const void *argument) {
  return argument || hmoec_usage_error(c->diagnostics, "expected %s, found NULL", what);
}

static bool is_path(hmoec_compilation *c, const char *what, const char *path) {
  return is_given(c, what, path) && (*path || hmoec_usage_error(c->diagnostics, "expected %s, found ''", what));
}

/* Of calls that make something: where it goes is not given. */
static hmoec_status no_place(const hmoec_options *options, const char *what) {
  hmoec_diagnostics *diagnostics = hmoec_sink_create(options);
  if (diagnostics) hmoec_usage_error(diagnostics, "expected a place for %s, found NULL", what);
  hmoec_status status = hmoec_sink_failure(diagnostics);
  hmoec_diagnostics_destroy(diagnostics);
  return status;
}

static hmoec_compilation *compilation_create(const hmoec_options *options, bool *out_ok) {
  hmoec_compilation *c = calloc(1, sizeof *c);
  if (!c) return NULL;
  c->diagnostics = hmoec_sink_create(options);
  *out_ok = c->diagnostics && hmoec_session_init(&c->session, options, c->diagnostics);
  return c;
}

/* After the source was loaded, or not: folds and plans. */
static hmoec_status compilation_finish(hmoec_compilation *c, bool ok, hmoec_compilation **out_compilation) {
  ok = ok && hmoec_session_plan(&c->session);
  hmoec_status status = c->diagnostics ? finish(c, ok) : HMOEC_MACHINE_ERROR;
  if (ok) *out_compilation = c;
  else hmoec_compilation_destroy(c);
  return status;
}

hmoec_status hmoec_compile_file(const char *path, const hmoec_options *options, hmoec_compilation **out_compilation) {
  if (!out_compilation) return no_place(options, "the compilation");
  bool ok;
  *out_compilation = NULL;
  hmoec_compilation *c = compilation_create(options, &ok);
  if (!c) return HMOEC_MACHINE_ERROR;
  ok = ok && hmoec_session_load(&c->session, path);
  return compilation_finish(c, ok, out_compilation);
}

hmoec_status hmoec_compile_text(const char *name, const char *text, size_t bytes, const hmoec_options *options,
                                hmoec_compilation **out_compilation) {
  if (!out_compilation) return no_place(options, "the compilation");
  bool ok;
  *out_compilation = NULL;
  hmoec_compilation *c = compilation_create(options, &ok);
  if (!c) return HMOEC_MACHINE_ERROR;
  ok = ok && is_given(c, "a name for the text", name) && is_given(c, "the text of a spec", text) &&
       hmoec_session_load_spec(&c->session, name, text, bytes);
  return compilation_finish(c, ok, out_compilation);
}

hmoec_status hmoec_compile_graph(hmoec_graph *graph, const hmoec_options *options, hmoec_compilation **out_compilation) {
  if (!out_compilation) return no_place(options, "the compilation");
  bool ok;
  const char *name, *text;
  size_t size;
  *out_compilation = NULL;
  if (!graph) return HMOEC_USAGE_ERROR;
  hmoec_status status = hmoec_graph_text(graph, &name, &text, &size);
  if (status != HMOEC_OK) return status;
  hmoec_compilation *c = compilation_create(options, &ok);
  if (!c) return HMOEC_MACHINE_ERROR;
  return compilation_finish(c, ok && hmoec_session_load_module(&c->session, name, text, size), out_compilation);
}

void hmoec_compilation_destroy(hmoec_compilation *c) {
  if (!c) return;
  hmoec_session_deinit(&c->session);
  hmoec_diagnostics_destroy(c->diagnostics);
  free(c);
}

const char *hmoec_compilation_name(const hmoec_compilation *c) { return c ? c->session.unit.name : NULL; }

hmoec_status hmoec_compilation_emit(hmoec_compilation *c, hmoec_output output, char **out_bytes, size_t *out_size) {
  if (out_bytes) *out_bytes = NULL;
  if (out_size) *out_size = 0;
  if (!c) return HMOEC_USAGE_ERROR;
  return finish(c, is_given(c, "a place for the bytes", out_bytes) && is_given(c, "a place for their number", out_size) &&
                       hmoec_session_emit(&c->session, output, out_bytes, out_size));
}

hmoec_status hmoec_compilation_write(hmoec_compilation *c, const char *directory) {
  if (!c) return HMOEC_USAGE_ERROR;
  return finish(c, hmoec_session_write(&c->session, directory));
}

hmoec_status hmoec_compilation_load(hmoec_compilation *c, const struct hmoe_model_object **out_object) {
  if (out_object) *out_object = NULL;
  if (!c) return HMOEC_USAGE_ERROR;
  bool ok = is_given(c, "a place for the object", out_object) && hmoec_session_jit(&c->session, false);
  if (ok) *out_object = c->session.object;
  return finish(c, ok);
}

hmoec_status hmoec_compilation_open(hmoec_compilation *c, const hmoe_weights *weights, const hmoe_options *options,
                                    hmoe_model **out_model) {
  if (out_model) *out_model = NULL;
  if (!c) return HMOEC_USAGE_ERROR;
  return finish(c, is_given(c, "a place for the model", out_model) && hmoec_session_open(&c->session, weights, options, out_model));
}

hmoec_status hmoec_compilation_pack(hmoec_compilation *c, const hmoe_weights *weights, const hmoe_options *options,
                                    const char *path) {
  if (!c) return HMOEC_USAGE_ERROR;
  return finish(c, is_path(c, "the path of a file", path) && hmoec_session_pack(&c->session, weights, options, path));
}

hmoec_status hmoec_compilation_signature(hmoec_compilation *c, const char *entry, hmoec_signature *out_signature) {
  if (!c) return HMOEC_USAGE_ERROR;
  return finish(c, is_given(c, "a place for the signature", out_signature) &&
                       hmoec_signature_read(&c->session.unit, entry, out_signature, c->diagnostics));
}

void hmoec_compilation_random_input(const hmoec_compilation *c, const hmoec_signature_tensor *input, const int64_t *sizes,
                                    uint64_t seed, void *out) {
  if (!c || !input || !sizes || !out) return;
  hmoec_shape shape = hmoec_signature_shape(input, sizes);
  hmoec_random_input(hmoec_entry_find(c->session.folded, NULL), input->name, &shape, seed, out);
}

double hmoec_compilation_flops(const hmoec_compilation *c, int64_t tokens, int64_t rows) {
  if (!c || tokens < 0 || rows < 0) return 0;
  return hmoec_model_flops(c->session.folded, (hmoec_run_size){.tokens = tokens, .rows = rows});
}

hmoec_status hmoec_compilation_interpret(hmoec_compilation *c, const hmoe_weights *weights, const int64_t *dims,
                                         const void *const *inputs, void *const *outputs) {
  if (!c) return HMOEC_USAGE_ERROR;
  return finish(c, hmoec_reference_run(&c->session, weights, dims, inputs, outputs));
}

hmoec_status hmoec_compilation_routing(hmoec_compilation *c, const hmoe_weights *weights, const int64_t *dims,
                                       const void *const *inputs, char **out_text) {
  if (out_text) *out_text = NULL;
  if (!c) return HMOEC_USAGE_ERROR;
  return finish(c, is_given(c, "a place for the text", out_text) &&
                       hmoec_reference_routing(&c->session, weights, dims, inputs, out_text));
}

hmoec_status hmoec_compilation_random_weights(hmoec_compilation *c, uint64_t seed, const char *path) {
  if (!c) return HMOEC_USAGE_ERROR;
  return finish(c, is_path(c, "the path of a file", path) &&
                       hmoec_random_weights_write(c->session.source, seed, path, c->diagnostics));
}

hmoec_status hmoec_import_directory(const char *directory, const hmoec_options *options, char **out_text) {
  if (!out_text) return no_place(options, "the text");
  *out_text = NULL;
  bool ok;
  hmoec_compilation *c = compilation_create(options, &ok);
  if (!c) return HMOEC_MACHINE_ERROR;
  hmoec_arena *arena = hmoec_arena_create();
  size_t size = 0;
  ok = ok && is_path(c, "a directory", directory);
  struct stat info;
  if (ok && stat(directory, &info) != 0)
    ok = hmoec_error(c->diagnostics, (hmoec_location){.file = directory}, "cannot open: %s%s", strerror(errno),
                     errno == ENOENT ? hmoe_path_hint(directory) : "");
  else if (ok && !S_ISDIR(info.st_mode))
    ok = hmoec_error(c->diagnostics, (hmoec_location){.file = directory},
                     "expected a directory with config.json and model.safetensors");
  const char *text = ok ? hmoec_import(arena, directory, c->diagnostics, &size) : NULL;
  /* only a spec that works is given */
  ok = text && hmoec_session_load_spec(&c->session, hmoec_arena_printf(arena, "%s (imported)", directory), text, size);
  if (ok) {
    *out_text = strdup(text);
    ok = *out_text || hmoec_machine_error(c->diagnostics, "out of memory");
  }
  hmoec_status status = c->diagnostics ? finish(c, ok) : HMOEC_MACHINE_ERROR;
  hmoec_arena_destroy(arena);
  hmoec_compilation_destroy(c);
  return status;
}
