/* Which kind of model a path names, reading it, and handing the text to the front end for that kind. */
#include "frontend/load.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "frontend/import.h"
#include "frontend/mlir_scan.h"
#include "ir/context.h"
#include "ir/location.h"
#include "support/limits.h"
#include "support/text_file.h"

const char *hmoec_spec_read_file(void *user, hmoec_arena *arena, const char *path, size_t *out_size, const char **out_reason) {
  (void)user;
  return hmoec_text_file_read(arena, path, HMOEC_SPEC_MAX_BYTES, out_size, out_reason);
}

static bool load_spec(MlirContext context, const char *path, const char *text, size_t size, const hmoec_load_options *options,
                      hmoec_diagnostics *diagnostics, MlirModule *out_module) {
  const hmoec_spec_reader reader = {.read = hmoec_spec_read_file};
  return hmoec_spec_build(context, diagnostics, &reader, path, text, size, options, out_module);
}

/* As many as a spec may have. */
static bool ops_check(MlirModule module, hmoec_diagnostics *diagnostics) {
  size_t count = 0;
  for (MlirOperation function = mlirBlockGetFirstOperation(mlirModuleGetBody(module)); !mlirOperationIsNull(function);
       function = mlirOperationGetNextInBlock(function)) {
    if (!mlirOperationGetNumRegions(function)) continue;
    MlirBlock body = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
    for (MlirOperation op = mlirBlockIsNull(body) ? (MlirOperation){NULL} : mlirBlockGetFirstOperation(body);
         !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op))
      if (++count > HMOEC_MODEL_MAX_OPS)
        return hmoec_error(diagnostics, hmoec_location_of_op(op), "the model has more than %d ops", HMOEC_MODEL_MAX_OPS);
  }
  return true;
}

static bool load_mlir(MlirContext context, const char *path, const char *text, size_t size, const hmoec_load_options *options,
                      hmoec_diagnostics *diagnostics, MlirModule *out_module) {
  if (options && options->define_count)
    return hmoec_usage_error(diagnostics, "-D %s=%s: only a spec has dims and options; in %s the shapes are written out",
                             options->defines->name, options->defines->value, path);
  if (!hmoec_mlir_scan(diagnostics, path, text, size)) return false;
  unsigned errors = hmoec_diagnostics_errors(diagnostics);
  *out_module = hmoec_module_parse(context, path, text, size);
  if (!mlirModuleIsNull(*out_module)) return ops_check(*out_module, diagnostics);
  if (hmoec_diagnostics_errors(diagnostics) != errors) return false;
  return hmoec_error(diagnostics, (hmoec_location){.file = path}, "expected a module");
}

typedef bool (*model_loader)(MlirContext context, const char *path, const char *text, size_t size,
                             const hmoec_load_options *options, hmoec_diagnostics *diagnostics, MlirModule *out_module);

static const struct {
  const char *suffix;
  size_t limit_bytes;
  model_loader load;
} kinds[] = {
    {".spec", HMOEC_SPEC_MAX_BYTES, load_spec},
    {".mlir", HMOEC_MLIR_MAX_BYTES, load_mlir},
};

static bool has_suffix(const char *path, const char *suffix) {
  size_t length = strlen(path), suffix_length = strlen(suffix);
  return length > suffix_length && strcmp(path + length - suffix_length, suffix) == 0;
}

static const char *file_text(hmoec_arena *arena, const char *path, size_t limit_bytes, hmoec_diagnostics *diagnostics,
                             size_t *out_size) {
  const char *reason;
  const char *text = hmoec_text_file_read(arena, path, limit_bytes, out_size, &reason);
  if (!text) hmoec_error(diagnostics, (hmoec_location){.file = path}, "cannot open: %s", reason);
  return text;
}

bool hmoec_load_model(MlirContext context, const char *path, const hmoec_load_options *options, hmoec_diagnostics *diagnostics,
                      MlirModule *out_module) {
  *out_module = (MlirModule){NULL};
  const hmoec_location at = {.file = path};
  struct stat info;
  if (stat(path, &info) != 0) return hmoec_error(diagnostics, at, "cannot open: %s", strerror(errno));
  bool directory = S_ISDIR(info.st_mode);
  size_t kind = 0; /* what import writes is a spec */
  while (!directory && kind < sizeof kinds / sizeof *kinds && !has_suffix(path, kinds[kind].suffix)) kind++;
  if (kind == sizeof kinds / sizeof *kinds)
    return hmoec_error(diagnostics, at, "expected a .spec or a .mlir file, or a Hugging Face directory");

  hmoec_arena *arena = hmoec_arena_create();
  size_t size;
  const char *text = directory ? hmoec_import(arena, path, diagnostics, &size)
                               : file_text(arena, path, kinds[kind].limit_bytes, diagnostics, &size);
  MlirDiagnosticHandlerID handler = hmoec_diagnostics_attach(diagnostics, context);
  const char *name = directory ? hmoec_arena_printf(arena, "%s (imported)", path) : path;
  bool ok = text && kinds[kind].load(context, name, text, size, options, diagnostics, out_module) &&
            hmoec_verify(*out_module, diagnostics);
  if (!ok && !mlirModuleIsNull(*out_module)) {
    mlirModuleDestroy(*out_module);
    *out_module = (MlirModule){NULL};
  }
  mlirContextDetachDiagnosticHandler(context, handler);
  hmoec_arena_destroy(arena);
  return ok;
}
