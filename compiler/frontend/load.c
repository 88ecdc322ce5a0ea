/* Which kind of model a path names, reading it, and handing the text to the front end for that kind. */
#include "frontend/load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "frontend/import.h"
#include "frontend/mlir_scan.h"
#include "frontend/spec_lexer.h"
#include "ir/context.h"
#include "ir/location.h"
#include "runtime_internal.h"
#include "support/limits.h"
#include "support/text_file.h"

const char *hmoec_spec_read_file(void *user, hmoec_arena *arena, const char *path, size_t *out_size, const char **out_reason) {
  (void)user;
  uint8_t start[HMOE_CONTENT_BYTES];
  size_t begun = hmoec_file_begin(path, start);
  hmoe_content content = hmoe_content_find(start, begun);
  if (content == HMOE_CONTENT_TEXT || content == HMOE_CONTENT_EMPTY ||
      content == HMOE_CONTENT_UNKNOWN) /* the lexer says where it is wrong */
    return hmoec_text_file_read(arena, path, HMOEC_SPEC_MAX_BYTES, out_size, out_reason);
  char found[HMOE_CONTENT_CHARS];
  *out_reason = hmoec_arena_printf(arena, "expected a spec, found %s", hmoe_content_string(start, begun, found));
  return NULL;
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

typedef enum model_kind { KIND_SPEC, KIND_MLIR, KIND_COUNT } model_kind;

static const struct {
  const char *suffix;
  size_t limit_bytes;
  model_loader load;
} kinds[KIND_COUNT] = {
    [KIND_SPEC] = {".spec", HMOEC_SPEC_MAX_BYTES, load_spec},
    [KIND_MLIR] = {".mlir", HMOEC_MLIR_MAX_BYTES, load_mlir},
};

static bool has_suffix(const char *path, const char *suffix) {
  size_t length = strlen(path), suffix_length = strlen(suffix);
  return length > suffix_length && strcmp(path + length - suffix_length, suffix) == 0;
}

#define EXPECTED "expected a .spec or a .mlir file, or a Hugging Face directory"

/* The kind that the first word of a text shows, behind comments; KIND_COUNT: none. */
static model_kind kind_of_text(const char *text) {
  static const char *const modules[] = {"module", "func.func", "builtin.module", "\"builtin.module\""};
  static const char blanks[] = " \t\r\n", letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.\"";
  if (strncmp(text, "\xef\xbb\xbf", 3) == 0) text += 3;
  for (const char *at = text + strspn(text, blanks); *at; at += strcspn(at, "\n"), at += strspn(at, blanks)) {
    if (at[0] == '/' && at[1] == '/') continue; /* of MLIR, and of C */
    size_t word = strspn(at + (*at == '#'), letters);
    bool aliased = (*at == '#' || *at == '!') && word && strncmp(at + 1 + word, " = ", 3) == 0;
    if (aliased) return KIND_MLIR;
    if (*at == '#') continue; /* of specs */
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++)
      if (strlen(modules[i]) == word && strncmp(at, modules[i], word) == 0) return KIND_MLIR;
    hmoec_token_kind token = hmoec_word_kind(at, word);
    return token >= HMOEC_FIRST_STATEMENT_KEYWORD && token <= HMOEC_LAST_STATEMENT_KEYWORD ? KIND_SPEC : KIND_COUNT;
  }
  return KIND_COUNT;
}

/* What else people hand over as MODEL. */
static bool not_a_model(const char *path, const uint8_t *bytes, size_t size, hmoec_diagnostics *diagnostics) {
  static const char *const advice[] = {
      [HMOE_CONTENT_SAFETENSORS] = ": its directory, with config.json, is the MODEL; weights of a spec are given by --weights",
      [HMOE_CONTENT_PACKED] = ": MODEL is the spec or the directory that they were packed for, and these are its --weights",
      [HMOE_CONTENT_NPY] = ": arrays are given by --input NAME=FILE.npy",
      [HMOE_CONTENT_JSON] = ": of a Hugging Face model, give the directory that config.json is in",
      [HMOE_CONTENT_TEXT] = NULL, /* the last */
  };
  char found[HMOE_CONTENT_CHARS];
  hmoe_content content = hmoe_content_find(bytes, size);
  hmoe_content_string(bytes, size, found);
  return hmoec_error(diagnostics, (hmoec_location){.file = path}, EXPECTED ", found %s%s", found,
                     advice[content] ? advice[content] : "");
}

static bool cannot_open(const char *path, int error, hmoec_diagnostics *diagnostics) {
  const char *hint = error == ENOENT ? hmoe_path_hint(path) : "";
  char guess[512];
  for (size_t i = 0; error == ENOENT && i < KIND_COUNT; i++)
    if ((size_t)snprintf(guess, sizeof guess, "%s%s", path, kinds[i].suffix) < sizeof guess && access(guess, F_OK) == 0)
      return hmoec_error(diagnostics, (hmoec_location){.file = path}, "cannot open: %s; did you mean %s?", strerror(error), guess);
  return hmoec_error(diagnostics, (hmoec_location){.file = path}, "cannot open: %s%s", strerror(error), hint);
}

/* The text of a model's file and its kind: by what it holds, or, where that does not tell, by its name. */
static const char *file_text(hmoec_arena *arena, const char *path, hmoec_diagnostics *diagnostics, size_t *out_size,
                             model_kind *out_kind) {
  model_kind named = KIND_SPEC;
  while (named < KIND_COUNT && !has_suffix(path, kinds[named].suffix)) named++;
  uint8_t start[HMOE_CONTENT_BYTES];
  size_t begun = hmoec_file_begin(path, start);
  hmoe_content content = hmoe_content_find(start, begun);
  bool readable =
      content == HMOE_CONTENT_TEXT || (content == HMOE_CONTENT_UNKNOWN && named == KIND_SPEC); /* which says where it is wrong */
  if (begun && !readable) return not_a_model(path, start, begun, diagnostics), NULL;
  const char *reason, *text = hmoec_text_file_read(arena, path, HMOEC_MLIR_MAX_BYTES, out_size, &reason);
  if (!text) return hmoec_error(diagnostics, (hmoec_location){.file = path}, "cannot open: %s", reason), NULL;
  *out_kind = kind_of_text(text);
  if (*out_kind == KIND_COUNT) *out_kind = named;
  if (*out_kind == KIND_COUNT) return not_a_model(path, (const uint8_t *)text, *out_size, diagnostics), NULL;
  if (*out_size <= kinds[*out_kind].limit_bytes) return text;
  hmoec_error(diagnostics, (hmoec_location){.file = path}, "cannot open: it is larger than %zu KiB",
              kinds[*out_kind].limit_bytes >> 10);
  return NULL;
}

bool hmoec_load_model(MlirContext context, const char *path, const hmoec_load_options *options, hmoec_diagnostics *diagnostics,
                      MlirModule *out_module) {
  *out_module = (MlirModule){NULL};
  struct stat info;
  if (stat(path, &info) != 0) return cannot_open(path, errno, diagnostics);
  bool directory = S_ISDIR(info.st_mode);
  model_kind kind = KIND_SPEC; /* what import writes is one */
  hmoec_arena *arena = hmoec_arena_create();
  size_t size;
  const char *text = directory ? hmoec_import(arena, path, diagnostics, &size) : file_text(arena, path, diagnostics, &size, &kind);
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
