/* From a model to code: the pipeline, top to bottom. */
#include "library/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emit/header.h"
#include "frontend/load.h"
#include "ir/context.h"
#include "ir/location.h"
#include "library/routing_file.h"
#include "library/tuning.h"
#include "passes/rewrite.h"
#include "runtime_internal.h"
#include "support/output_file.h"
#include "support/paths.h"

/* ---- stages ---- */

bool hmoec_session_init(hmoec_session *session, const hmoec_options *options, hmoec_diagnostics *diagnostics) {
  *session = (hmoec_session){.diagnostics = diagnostics};
  if (!hmoec_options_read(options, "", &session->options, diagnostics)) return false;
  session->pass = hmoec_options_pass(&session->options);
  session->arena = hmoec_arena_create();
  if (!hmoec_routing_read(session->arena, session->options.routing, diagnostics, &session->pass.routing)) return false;
  session->context = hmoec_context_create();
  if (mlirContextIsNull(session->context)) return hmoec_machine_error(diagnostics, "internal: the dialects do not load");
  session->handler = hmoec_diagnostics_attach(diagnostics, session->context);
  return hmoec_session_tuning_read(session);
}

static hmoec_load_options load_options(const hmoec_session *session) {
  const hmoec_options *o = &session->options;
  return (hmoec_load_options){.defines = o->defines,
                              .define_count = o->define_count,
                              .c = {.includes = o->c_includes,
                                    .include_count = o->c_include_count,
                                    .defines = o->c_defines,
                                    .define_count = o->c_define_count}};
}

bool hmoec_session_load(hmoec_session *session, const char *path) {
  if (!path || !*path)
    return hmoec_usage_error(session->diagnostics, "expected the path of a model, found %s", path ? "''" : "NULL");
  hmoec_load_options options = load_options(session);
  return hmoec_load_model(session->context, path, &options, session->diagnostics, &session->source);
}

bool hmoec_session_load_spec(hmoec_session *session, const char *name, const char *text, size_t size) {
  const hmoec_spec_reader reader = {.read = hmoec_spec_read_file};
  hmoec_load_options options = load_options(session);
  hmoec_diagnostics_add_source(session->diagnostics, name, text, size);
  return hmoec_spec_build(session->context, session->diagnostics, &reader, name, text, size, &options, &session->source) &&
         hmoec_verify(session->source, session->diagnostics);
}

bool hmoec_session_load_module(hmoec_session *session, const char *name, const char *text, size_t size) {
  if (session->options.define_count)
    return hmoec_usage_error(session->diagnostics, "%s=%s: only a spec has dims and options", session->options.defines->name,
                             session->options.defines->value);
  session->source = hmoec_module_parse(session->context, name, text, size);
  if (mlirModuleIsNull(session->source))
    return hmoec_machine_error(session->diagnostics, "internal: %s cannot be read again", name);
  return hmoec_verify(session->source, session->diagnostics);
}

static MlirModule module_clone(MlirModule module) {
  return mlirModuleFromOperation(mlirOperationClone(mlirModuleGetOperation(module)));
}

/* The IR of all passes is dumped with that of the last one; where a pass refuses the model, that of the passes before it. */
static bool run_passes(hmoec_session *session, MlirModule module, const char *first, const char *last) {
  const hmoec_options *o = &session->options;
  const hmoec_pass_trace trace = {.print_after = o->print_ir_after,
                                  .print = o->print,
                                  .print_context = o->print_context,
                                  .dump = o->dump_directory ? &session->dump : NULL,
                                  .dump_dir = o->dump_directory,
                                  .repro_file = o->repro_file};
  if (o->dump_directory && !hmoec_make_directory(o->dump_directory, session->diagnostics)) return false;
  hmoec_pass_options pass = session->pass;
  pass.hypers = &session->hypers;
  bool ok = hmoec_passes_run(module, first, last, &pass, &trace, session->diagnostics);
  return (ok && last) || (hmoec_pass_dump_commit(&session->dump) && ok);
}

bool hmoec_session_fold(hmoec_session *session) {
  if (!mlirModuleIsNull(session->folded)) return true;
  session->folded = module_clone(session->source);
  return run_passes(session, session->folded, NULL, "fold-duplicates");
}

static bool unit_make(hmoec_session *session) {
  hmoec_unit_deinit(&session->unit);
  if (!hmoec_unit_init(session->planned, session->pass.target, session->diagnostics, &session->unit)) return false;
  if (session->has_machine) session->unit.machine = &session->machine;
  return true;
}

bool hmoec_session_plan(hmoec_session *session) {
  bool changed = false;
  if (session->unit.plan) return true;
  if (!hmoec_session_fold(session)) return false;
  session->planned = module_clone(session->folded);
  return run_passes(session, session->planned, "plan-kernels", NULL) && unit_make(session) &&
         hmoec_session_tuning_apply(session, &changed) && (!changed || unit_make(session));
}

/* ---- code ---- */

static uint32_t all_versions(const hmoec_session *session) {
  return hmoec_code_versions_of(session->unit.target, session->unit.kernels, session->unit.host_kernels);
}

/* made: of an object that is kept, else NULL. */
static bool generate(hmoec_session *session, uint32_t versions, const char *processors, hmoec_output form, hmoec_made_images *made,
                     char **out_bytes, size_t *out_size) {
  hmoec_unit unit = session->unit;
  unit.made = made;
  return unit.target->generate(session->context, &unit, versions, processors, form, session->diagnostics, out_bytes, out_size);
}

static void append(MlirStringRef text, void *stream) { fwrite(text.data, 1, text.length, stream); }

static bool print_module(hmoec_session *session, MlirModule module, char **out_text, size_t *out_size) {
  FILE *stream = open_memstream(out_text, out_size);
  if (!stream) return hmoec_machine_error(session->diagnostics, "out of memory");
  mlirOperationPrint(mlirModuleGetOperation(module), append, stream);
  return fclose(stream) == 0 || hmoec_machine_error(session->diagnostics, "out of memory");
}

/* The strategy of every HyperExpert, "table: reason". */
typedef struct strategies {
  char **lines;
  size_t count;
} strategies;

static bool collect_strategies(MlirOperation function, MlirBlock block, void *user) {
  (void)function;
  strategies *found = user;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
    if (mlirAttributeIsNull(mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("hmoe.reason")))) continue;
    MlirStringRef reason = hmoec_op_string(op, "hmoe.reason"), strategy = {"table, fused with the experts", 29};
    bool named = !mlirAttributeIsNull(mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("hmoe.strategy")));
    if (!hmoec_op_is_fused(op) && !named) continue;
    if (named) strategy = hmoec_op_string(op, "hmoe.strategy");
    size_t size = strategy.length + reason.length + 3;
    char *line = malloc(size);
    char **lines = line ? realloc(found->lines, (found->count + 1) * sizeof *lines) : NULL;
    if (!lines) {
      free(line);
      return false;
    }
    found->lines = lines;
    snprintf(line, size, "%.*s: %.*s", (int)strategy.length, strategy.data, (int)reason.length, reason.data);
    found->lines[found->count++] = line;
  }
  return true;
}

/* Images of other machines are known when there is an object. */
static bool list_images(hmoec_session *session) {
  char *bytes = NULL;
  size_t size;
  if (!session->unit.target->host || session->images.count) return true;
  bool ok = generate(session, all_versions(session), session->options.mcpu, HMOEC_OUTPUT_OBJECT, &session->images, &bytes, &size);
  free(bytes);
  return ok;
}

static bool print_manifest(hmoec_session *session, char **out_text, size_t *out_size) {
  strategies found = {.count = 0};
  if (!list_images(session)) return false;
  bool collected = hmoec_each_function(session->folded, collect_strategies, &found);
  *out_text = collected ? hmoec_manifest_print(&session->unit, all_versions(session), &session->images,
                                               (const char *const *)found.lines, found.count, out_size)
                        : NULL;
  for (size_t i = 0; i < found.count; i++) free(found.lines[i]);
  free(found.lines);
  return *out_text || hmoec_machine_error(session->diagnostics, "out of memory");
}

bool hmoec_session_emit(hmoec_session *session, hmoec_output output, char **out_bytes, size_t *out_size) {
  *out_bytes = NULL;
  *out_size = 0;
  if (output == HMOEC_OUTPUT_HMOE)
    return hmoec_session_fold(session) && print_module(session, session->folded, out_bytes, out_size);
  if (!hmoec_session_plan(session)) return false;
  const char *mcpu = session->options.mcpu;
  switch (output) {
  case HMOEC_OUTPUT_HMK: return print_module(session, session->planned, out_bytes, out_size);
  case HMOEC_OUTPUT_MANIFEST: return print_manifest(session, out_bytes, out_size);
  case HMOEC_OUTPUT_HEADER:
    *out_bytes = hmoec_header_print(&session->unit, out_size);
    return *out_bytes || hmoec_machine_error(session->diagnostics, "out of memory");
  case HMOEC_OUTPUT_OBJECT: return generate(session, all_versions(session), mcpu, output, &session->images, out_bytes, out_size);
  case HMOEC_OUTPUT_MLIR:
  case HMOEC_OUTPUT_LLVM:
  case HMOEC_OUTPUT_ASSEMBLY:
  case HMOEC_OUTPUT_CUBIN: return generate(session, all_versions(session), mcpu, output, NULL, out_bytes, out_size);
  case HMOEC_OUTPUT_HMOE: break;
  }
  return hmoec_usage_error(session->diagnostics, "there is no output number %d", (int)output);
}

static bool write_named(hmoec_session *session, const char *directory, const char *suffix, const char *bytes, size_t size,
                        hmoec_output_file *out_file) {
  char *path = NULL;
  if (asprintf(&path, "%s/%s%s", directory, session->unit.name, suffix) < 0)
    return hmoec_machine_error(session->diagnostics, "out of memory");
  bool ok = hmoec_output_file_open(path, session->diagnostics, out_file);
  if (ok) hmoec_output_file_write(out_file, bytes, size);
  free(path);
  return ok;
}

/* All three or none; the object, what a build waits for, is the last to appear, though the first to be made: the manifest tells of it. */
bool hmoec_session_write(hmoec_session *session, const char *directory) {
  static const struct {
    hmoec_output output;
    const char *suffix;
  } files[] = {{HMOEC_OUTPUT_HEADER, ".h"}, {HMOEC_OUTPUT_MANIFEST, ".json"}, {HMOEC_OUTPUT_OBJECT, ".o"}};
  char *bytes[3] = {NULL, NULL, NULL};
  size_t sizes[3];
  bool ok = true;
  for (int i = 2; ok && i >= 0; i--) ok = hmoec_session_emit(session, files[i].output, &bytes[i], &sizes[i]);
  ok = ok && hmoec_make_directory(directory, session->diagnostics);
  hmoec_output_file written[3] = {{.path = NULL}, {.path = NULL}, {.path = NULL}};
  for (int i = 0; ok && i < 3; i++) ok = write_named(session, directory, files[i].suffix, bytes[i], sizes[i], &written[i]);
  ok = ok && hmoec_output_files_commit(written, 3);
  for (int i = 0; i < 3; i++) {
    hmoec_output_file_abandon(&written[i]);
    free(bytes[i]);
  }
  return ok;
}

/* ---- loaded code ---- */

/* A forced version stays in, so that the runtime says what this machine lacks for it. Of a device the host runs what is done at open, and one version does. */
static uint32_t wanted_versions(const hmoec_session *session, const char *forced, bool every) {
  const hmoec_target *target = session->unit.target;
  uint32_t all = all_versions(session), wanted = 0;
  every = every && !target->host;
  for (size_t v = hmoec_code_version_count(target); v-- > 0;) {
    if (!(all & 1u << v)) continue;
    bool is_forced = forced && strcmp(forced, target->version(v).name) == 0, runs = !target->lacks(v);
    if (is_forced || (runs && !forced && (every || !wanted))) wanted |= 1u << v;
  }
  return wanted ? wanted : 1;
}

/* A forced version that this model has no code of. */
static bool version_check(const hmoec_session *session, const char *forced) {
  const hmoec_target *target = session->unit.target;
  for (size_t v = 0; forced && v < hmoec_code_version_count(target); v++) {
    hmoec_code_version version = target->version(v);
    if (strcmp(forced, version.name) == 0 && !(all_versions(session) & 1u << v))
      return hmoec_usage_error(session->diagnostics, "%s has no %s version: it has no %s products%s", session->unit.name, forced,
                               hmoec_format_name(version.products),
                               session->unit.dtype != HMOEC_FORMAT_F32 ? "" : ", as with dtype f32 no model has");
  }
  return true;
}

/* Where mcpu names none: those of this machine's devices, any of which may run the object. NULL: there are none that run it, so all, as for an object that is kept. */
static const char *processors_here(const hmoec_session *session, char *text, size_t size) {
  const hmoec_target *target = session->unit.target;
  uint32_t found = 0; /* of target->processors */
  size_t used = 0;
  hmoe_chip chip;
  if (session->options.mcpu || !target->processor_of) return session->options.mcpu;
  for (int i = 0; hmoe_device_chip(target->name, i, &chip); i++) {
    const char *processor = target->processor_of(&chip);
    for (size_t p = 0; processor && target->processors[p]; p++)
      if (strcmp(target->processors[p], processor) == 0) found |= 1u << p;
  }
  for (size_t p = 0; target->processors[p]; p++)
    if (found & 1u << p) used += (size_t)snprintf(text + used, size - used, "%s%s", used ? "," : "", target->processors[p]);
  return used ? text : NULL;
}

bool hmoec_session_jit(hmoec_session *session, bool every_version) {
  if (session->object) return true;
  if (!hmoec_session_plan(session)) return false;
  const char *forced = hmoec_options_version(&session->options);
  if (!version_check(session, forced)) return false;
  session->versions = wanted_versions(session, forced, every_version);
  char *bytes = NULL, processors[64];
  size_t size = 0;
  const char *here = processors_here(session, processors, sizeof processors);
  bool ok = generate(session, session->versions, here, HMOEC_OUTPUT_OBJECT, NULL, &bytes, &size) &&
            hmoec_object_load(session->unit.name, bytes, size, session->diagnostics, &session->loaded, &session->object);
  free(bytes);
  return ok;
}

size_t hmoec_session_versions(const hmoec_session *session, const char *out_names[HMOEC_MOST_VERSIONS]) {
  const hmoec_target *target = session->unit.target;
  size_t count = 0;
  for (size_t v = hmoec_code_version_count(target); v-- > 0;)
    if (session->versions & 1u << v && !target->lacks(v)) out_names[count++] = target->version(v).name;
  return count;
}

static void pass_note(void *context, const char *message) { hmoec_note(context, (hmoec_location){0}, "%s", message); }

/* The caller's options of open, with the session's where these say nothing. */
static bool open_options(const hmoec_session *session, const hmoe_options *given, hmoe_options *out_options) {
  hmoe_status status = hmoe_options_read(given, out_options);
  if (status != HMOE_OK) return hmoec_runtime_error(session->diagnostics, status);
  if (!hmoec_environment_check(&session->options, out_options, session->diagnostics)) return false;
  if (!out_options->cpu) out_options->cpu = session->options.cpu;
  if (!out_options->note) {
    out_options->note = pass_note;
    out_options->note_context = session->diagnostics;
  }
  return true;
}

bool hmoec_session_open(hmoec_session *session, const hmoe_weights *weights, const hmoe_options *options, hmoe_model **out_model) {
  *out_model = NULL;
  hmoe_options full;
  if (!open_options(session, options, &full) || !hmoec_session_jit(session, false)) return false;
  const hmoec_target *target = session->unit.target;
  if (!full.device && !full.cpu && target->host)
    full.device = target->name; /* with a version asked for, the host runs the object */
  hmoe_status status = hmoe_model_open(session->object, weights, &full, out_model);
  return status == HMOE_OK || hmoec_runtime_error(session->diagnostics, status);
}

bool hmoec_session_pack(hmoec_session *session, const hmoe_weights *weights, const hmoe_options *options, const char *path) {
  hmoe_options full;
  if (!open_options(session, options, &full) || !hmoec_session_jit(session, false)) return false;
  hmoe_status status = hmoe_model_pack(session->object, weights, &full, path);
  return status == HMOE_OK || hmoec_runtime_error(session->diagnostics, status);
}

void hmoec_session_deinit(hmoec_session *session) {
  hmoec_loaded_destroy(session->loaded);
  hmoec_made_images_deinit(&session->images);
  hmoec_unit_deinit(&session->unit);
  hmoec_tuning_deinit(&session->tuning);
  hmoec_hyper_report_deinit(&session->hypers);
  hmoec_arena_destroy(session->arena);
  hmoec_pass_dump_abandon(&session->dump);
  const MlirModule modules[] = {session->planned, session->folded, session->source};
  for (size_t i = 0; i < 3; i++)
    if (!mlirModuleIsNull(modules[i])) mlirModuleDestroy(modules[i]);
  if (!mlirContextIsNull(session->context)) {
    mlirContextDetachDiagnosticHandler(session->context, session->handler);
    hmoec_context_destroy(session->context);
  }
  *session = (hmoec_session){0};
}
