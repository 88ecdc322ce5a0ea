/* From a file to a function: libclang reads the file, its messages go to our sink, the function is found, its signature checked, and its
 * body executed into a func.func. */
#include "frontend/c_function.h"

#include <stdio.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "frontend/c_parts.h"
#include "plain_text.h"

/* ---- Cursors, places, messages ---- */

const char *hmoec_c_text(const hmoec_c_reader *reader, CXString string) {
  const char *text = clang_getCString(string);
  const char *copy = hmoec_arena_strdup(reader->arena, text ? text : "");
  clang_disposeString(string);
  return copy;
}

static hmoec_location location_of(const hmoec_c_reader *reader, CXSourceLocation source) {
  CXFile file;
  hmoec_location location = {0};
  clang_getExpansionLocation(source, &file, &location.line, &location.column, NULL);
  if (!file) return (hmoec_location){0};
  location.file = hmoec_c_text(reader, clang_getFileName(file));
  return location;
}

hmoec_location hmoec_c_place(const hmoec_c_reader *reader, CXCursor cursor) {
  return location_of(reader, clang_getCursorLocation(cursor));
}

static void note_asker(const hmoec_c_reader *reader, const char *text) {
  if (reader->at.file) hmoec_note(reader->diagnostics, reader->at, "%s", text);
}

bool hmoec_c_refuse(hmoec_c_reader *reader, const char *format, ...) {
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  int length = hmoe_plain_vformat(NULL, 0, format, arguments);
  va_end(arguments);
  char *text = hmoec_arena_alloc(reader->arena, (size_t)(length < 0 ? 0 : length) + 1);
  hmoe_plain_vformat(text, (size_t)(length < 0 ? 0 : length) + 1, format, again);
  va_end(again);
  hmoec_error(reader->diagnostics, hmoec_c_place(reader, reader->place), "%s", text);
  for (const hmoec_c_frame *frame = reader->frame; frame && frame->caller; frame = frame->caller)
    hmoec_note(reader->diagnostics, hmoec_c_place(reader, frame->call), "'%s' is called here", frame->name);
  note_asker(reader, "needed here");
  return false;
}

typedef struct child_list {
  const hmoec_c_reader *reader;
  hmoec_c_list list;
  size_t capacity;
} child_list;

static enum CXChildVisitResult child_add(CXCursor cursor, CXCursor parent, CXClientData user) {
  child_list *children = user;
  (void)parent;
  if (children->list.count == children->capacity) {
    children->capacity = children->capacity ? 2 * children->capacity : 4;
    children->list.cursors = hmoec_arena_grow(children->reader->arena, children->list.cursors, children->list.count,
                                              children->capacity, sizeof(CXCursor));
  }
  children->list.cursors[children->list.count++] = cursor;
  return CXChildVisit_Continue;
}

hmoec_c_list hmoec_c_children(const hmoec_c_reader *reader, CXCursor cursor) {
  child_list children = {.reader = reader};
  clang_visitChildren(cursor, child_add, &children);
  return children.list;
}

bool hmoec_c_enter(hmoec_c_reader *reader, CXCursor cursor) {
  reader->depth++;
  reader->place = cursor;
  if (reader->depth > HMOEC_C_MAX_DEPTH)
    return hmoec_c_refuse(reader, "statements, expressions and calls are nested deeper than %d levels", HMOEC_C_MAX_DEPTH);
  if (++reader->steps > HMOEC_C_MAX_STEPS)
    return hmoec_c_refuse(reader, "the function takes more than %d steps to read", HMOEC_C_MAX_STEPS);
  if (reader->ops > HMOEC_C_MAX_OPS) return hmoec_c_refuse(reader, "the function needs more than %d operations", HMOEC_C_MAX_OPS);
  return true;
}

void hmoec_c_leave(hmoec_c_reader *reader) { reader->depth--; }

/* ---- clang's messages ---- */

static void forward(const hmoec_c_reader *reader, CXDiagnostic diagnostic, bool is_note) {
  enum CXDiagnosticSeverity severity = clang_getDiagnosticSeverity(diagnostic);
  hmoec_location at = location_of(reader, clang_getDiagnosticLocation(diagnostic));
  const char *text = hmoec_c_text(reader, clang_getDiagnosticSpelling(diagnostic));
  if (severity == CXDiagnostic_Ignored) return;
  if (!at.file) at = reader->at;
  if (is_note || severity == CXDiagnostic_Note) hmoec_note(reader->diagnostics, at, "%s", text);
  else if (severity == CXDiagnostic_Warning) hmoec_warning(reader->diagnostics, at, "%s", text);
  else hmoec_error(reader->diagnostics, at, "%s", text);
  CXDiagnosticSet notes = clang_getChildDiagnostics(diagnostic); /* the diagnostic's own */
  for (unsigned i = 0; i < clang_getNumDiagnosticsInSet(notes); i++) {
    CXDiagnostic note = clang_getDiagnosticInSet(notes, i);
    forward(reader, note, true);
    clang_disposeDiagnostic(note);
  }
}

/* False if there is an error among them. */
static bool forward_all(const hmoec_c_reader *reader) {
  bool ok = true;
  unsigned count = clang_getNumDiagnostics(reader->unit);
  for (unsigned i = 0; i < count; i++) {
    CXDiagnostic diagnostic = clang_getDiagnostic(reader->unit, i);
    ok &= clang_getDiagnosticSeverity(diagnostic) < CXDiagnostic_Error;
    forward(reader, diagnostic, false);
    clang_disposeDiagnostic(diagnostic);
  }
  if (!ok) note_asker(reader, "needed here");
  return ok;
}

/* ---- The file ---- */

static bool file_parse(hmoec_c_reader *reader, CXIndex index, const char *file, const hmoec_c_flags *flags) {
  const hmoec_c_flags none = {0};
  if (!flags) flags = &none;
  const char **arguments =
      hmoec_arena_alloc_array(reader->arena, 3 + flags->include_count + flags->define_count, sizeof *arguments);
  int count = 0;
  arguments[count++] = "-xc";
  arguments[count++] = "-std=gnu17";
  for (size_t i = 0; i < flags->include_count; i++)
    arguments[count++] = hmoec_arena_printf(reader->arena, "-I%s", flags->includes[i]);
  for (size_t i = 0; i < flags->define_count; i++)
    arguments[count++] = hmoec_arena_printf(reader->arena, "-D%s", flags->defines[i]);
  /* A name that begins with a dash would be an option. */
  const char *path = file[0] == '-' ? hmoec_arena_printf(reader->arena, "./%s", file) : file;
  enum CXErrorCode code =
      clang_parseTranslationUnit2(index, path, arguments, count, NULL, 0, CXTranslationUnit_None, &reader->unit);
  if (code != CXError_Success) return hmoec_error(reader->diagnostics, reader->at, "clang could not read the C file %s", file);
  return forward_all(reader);
}

/* ---- The function ---- */

/* Its definition, null if there is none; a message then. */
static CXCursor function_find(hmoec_c_reader *reader, const char *file, const char *name) {
  hmoec_c_list top = hmoec_c_children(reader, clang_getTranslationUnitCursor(reader->unit));
  const char **names = hmoec_arena_alloc_array(reader->arena, top.count + 1, sizeof *names);
  size_t count = 0;
  CXCursor declared = clang_getNullCursor();
  for (size_t i = 0; i < top.count; i++) {
    if (clang_getCursorKind(top.cursors[i]) != CXCursor_FunctionDecl) continue;
    const char *found = hmoec_c_text(reader, clang_getCursorSpelling(top.cursors[i]));
    CXCursor definition = clang_getCursorDefinition(top.cursors[i]);
    if (strcmp(found, name) == 0) {
      if (!clang_Cursor_isNull(definition)) return definition;
      declared = top.cursors[i];
    } else if (!clang_Cursor_isNull(definition) && clang_Location_isFromMainFile(clang_getCursorLocation(top.cursors[i]))) {
      names[count++] = found;
    }
  }
  if (!clang_Cursor_isNull(declared)) {
    reader->place = declared;
    hmoec_c_refuse(reader, "'%s' is only declared: it needs a body", name);
    return clang_getNullCursor();
  }
  const char *close = hmoec_closest_name(name, names, count);
  hmoec_error(reader->diagnostics, reader->at,
              close ? "there is no function '%s' in %s; did you mean '%s'?" : "there is no function '%s' in %s", name, file, close);
  return clang_getNullCursor();
}

/* "float (float) or float (float, float)" */
static const char *expected_types(const hmoec_c_reader *reader, unsigned arities) {
  const char *text = "";
  for (unsigned arity = 0; arity < HMOEC_C_MAX_ARGUMENTS; arity++) {
    if (!(arities >> arity & 1)) continue;
    const char *list = arity ? "float" : "void";
    for (unsigned i = 1; i < arity; i++) list = hmoec_arena_printf(reader->arena, "%s, float", list);
    text = hmoec_arena_printf(reader->arena, "%s%sfloat (%s)", text, *text ? " or " : "", list);
  }
  return text;
}

static bool is_float(CXType type) { return clang_getCanonicalType(type).kind == CXType_Float; }

static bool signature_check(hmoec_c_reader *reader, CXCursor function, const char *name, const char *what, unsigned arities) {
  CXType type = clang_getCursorType(function);
  int count = clang_Cursor_getNumArguments(function);
  bool fits = count >= 0 && count < HMOEC_C_MAX_ARGUMENTS && (arities >> count & 1) && !clang_isFunctionTypeVariadic(type) &&
              is_float(clang_getCursorResultType(function));
  for (int i = 0; i < count && fits; i++) fits = is_float(clang_getCursorType(clang_Cursor_getArgument(function, (unsigned)i)));
  reader->place = function;
  if (fits) return true;
  return hmoec_c_refuse(reader, "'%s' cannot be %s: expected %s, found %s", name, what, expected_types(reader, arities),
                        hmoec_c_text(reader, clang_getTypeSpelling(type)));
}

static MlirStringRef ref(const char *text) { return mlirStringRefCreateFromCString(text); }

static MlirNamedAttribute attribute(const hmoec_c_reader *reader, const char *name, MlirAttribute value) {
  return mlirNamedAttributeGet(mlirIdentifierGet(reader->context, ref(name)), value);
}

/* An empty function; the reader's blocks become its own. */
static MlirOperation function_create(hmoec_c_reader *reader, CXCursor function, const char *name, int count) {
  MlirType types[HMOEC_C_MAX_ARGUMENTS], f32 = mlirF32TypeGet(reader->context);
  MlirLocation places[HMOEC_C_MAX_ARGUMENTS];
  for (int i = 0; i < count; i++) {
    types[i] = f32;
    places[i] = hmoec_c_mlir_location(reader, clang_Cursor_getArgument(function, (unsigned)i));
  }
  MlirNamedAttribute attributes[] = {
      attribute(reader, "sym_name", mlirStringAttrGet(reader->context, ref(name))),
      attribute(reader, "sym_visibility", mlirStringAttrGet(reader->context, ref("private"))),
      attribute(reader, "function_type", mlirTypeAttrGet(mlirFunctionTypeGet(reader->context, count, types, 1, &f32))),
  };
  MlirOperationState state = mlirOperationStateGet(ref("func.func"), hmoec_c_mlir_location(reader, function));
  MlirRegion region = mlirRegionCreate();
  mlirOperationStateAddAttributes(&state, sizeof attributes / sizeof *attributes, attributes);
  mlirOperationStateAddOwnedRegions(&state, 1, &region);
  reader->entry = reader->block = mlirBlockCreate(count, types, places);
  mlirRegionAppendOwnedBlock(region, reader->entry);
  return mlirOperationCreate(&state);
}

static bool function_read(hmoec_c_reader *reader, CXCursor function, const char *name, MlirOperation *out_function) {
  int count = clang_Cursor_getNumArguments(function);
  hmoec_c_frame frame = {.function = function, .call = function, .name = name, .result = {HMOEC_C_FLOATING, 32, true}};
  hmoec_c_state_init(&frame.state);
  MlirOperation op = function_create(reader, function, name, count);
  const char **names = hmoec_arena_alloc_array(reader->arena, (size_t)count + 1, sizeof *names);
  reader->argument_names = names;
  reader->frame = &frame;
  bool ok = true;
  for (int i = 0; i < count && ok; i++) {
    CXCursor parameter = clang_Cursor_getArgument(function, (unsigned)i);
    names[i] = hmoec_c_text(reader, clang_getCursorSpelling(parameter));
    hmoec_c_type type;
    reader->place = parameter;
    ok = hmoec_c_type_read(reader, clang_getCursorType(parameter), hmoec_arena_printf(reader->arena, "'%s'", names[i]), &type);
    if (ok) *hmoec_c_variable_add(reader, parameter, type) = hmoec_c_runtime(type, mlirBlockGetArgument(reader->entry, i));
  }
  hmoec_c_value result;
  ok = ok && hmoec_c_run_body(reader, function, &result);
  if (ok) {
    reader->place = function;
    MlirValue value = hmoec_c_materialize(reader, result);
    MlirOperationState state = mlirOperationStateGet(ref("func.return"), hmoec_c_mlir_location(reader, function));
    mlirOperationStateAddOperands(&state, 1, &value);
    mlirBlockAppendOwnedOperation(reader->block, mlirOperationCreate(&state));
    hmoec_c_sweep(reader->entry);
    *out_function = op;
  } else {
    mlirOperationDestroy(op);
  }
  reader->frame = NULL;
  return ok;
}

bool hmoec_c_function_read(MlirContext context, hmoec_diagnostics *diagnostics, hmoec_location at, const char *file,
                           const char *name, const hmoec_c_flags *flags, const char *what, unsigned arities,
                           MlirOperation *out_function) {
  static const char *const dialects[] = {"func", "arith", "math", "scf"};
  hmoec_c_reader reader = {.context = context, .diagnostics = diagnostics, .at = at, .arena = hmoec_arena_create()};
  reader.place = clang_getNullCursor();
  for (size_t i = 0; i < sizeof dialects / sizeof *dialects; i++) mlirContextGetOrLoadDialect(context, ref(dialects[i]));
  CXIndex index = clang_createIndex(0, 0);
  bool ok = file_parse(&reader, index, file, flags);
  CXCursor function = ok ? function_find(&reader, file, name) : clang_getNullCursor();
  ok = !clang_Cursor_isNull(function) && signature_check(&reader, function, name, what, arities) &&
       function_read(&reader, function, name, out_function);
  if (reader.unit) clang_disposeTranslationUnit(reader.unit);
  clang_disposeIndex(index);
  hmoec_arena_destroy(reader.arena);
  return ok;
}
