#include "ir/location.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Before a number, ':' and the name: the text that MLIR reads has one line more, of this number, than the file. */
#define EXTRA_LINE '\1'

char *hmoec_location_file_create(const char *file, unsigned extra_line) {
  size_t size = strlen(file) + 16;
  char *name = malloc(size);
  if (name) snprintf(name, size, "%c%u:%s", EXTRA_LINE, extra_line, file);
  return name;
}

static hmoec_location in_file(hmoec_location at) {
  if (!at.file || at.file[0] != EXTRA_LINE) return at;
  char *end;
  unsigned long extra_line = strtoul(at.file + 1, &end, 10);
  if (*end != ':') return at; /* a name that a file gives in a loc of its own */
  at.file = end + 1;
  at.line -= at.line > extra_line;
  return at;
}

hmoec_location hmoec_location_of(MlirLocation location) {
  if (mlirLocationIsNull(location)) return (hmoec_location){0};
  if (mlirLocationIsAFileLineColRange(location)) {
    /* Identifiers of a context are NUL-terminated. */
    MlirStringRef file = mlirIdentifierStr(mlirLocationFileLineColRangeGetFilename(location));
    return in_file((hmoec_location){.file = file.data,
                                    .line = (unsigned)mlirLocationFileLineColRangeGetStartLine(location),
                                    .column = (unsigned)mlirLocationFileLineColRangeGetStartColumn(location)});
  }
  if (mlirLocationIsAName(location)) return hmoec_location_of(mlirLocationNameGetChildLoc(location));
  if (mlirLocationIsACallSite(location)) return hmoec_location_of(mlirLocationCallSiteGetCallee(location));
  if (!mlirLocationIsAFused(location)) return (hmoec_location){0};
  hmoec_location found = {0};
  unsigned count = mlirLocationFusedGetNumLocations(location);
  MlirLocation *parts = calloc(count ? count : 1, sizeof *parts);
  if (!parts) return found;
  mlirLocationFusedGetLocations(location, parts);
  for (unsigned i = 0; i < count && !found.file; i++) found = hmoec_location_of(parts[i]);
  free(parts);
  return found;
}

hmoec_location hmoec_location_of_op(MlirOperation op) { return hmoec_location_of(mlirOperationGetLocation(op)); }

/* Text that MLIR prints in pieces; what does not fit is cut. */
typedef struct text_buffer {
  char text[1024];
  size_t size;
} text_buffer;

static void text_append(MlirStringRef piece, void *user) {
  text_buffer *buffer = user;
  size_t room = sizeof buffer->text - 1 - buffer->size;
  size_t count = piece.length < room ? piece.length : room;
  memcpy(buffer->text + buffer->size, piece.data, count);
  buffer->size += count;
  buffer->text[buffer->size] = '\0';
}

static void forward(hmoec_diagnostics *diagnostics, MlirDiagnostic diagnostic, hmoec_severity severity) {
  text_buffer buffer = {.size = 0};
  mlirDiagnosticPrint(diagnostic, text_append, &buffer);
  hmoec_location at = hmoec_location_of(mlirDiagnosticGetLocation(diagnostic));
  switch (severity) {
  case HMOEC_ERROR: hmoec_error(diagnostics, at, "%s", buffer.text); break;
  case HMOEC_WARNING: hmoec_warning(diagnostics, at, "%s", buffer.text); break;
  case HMOEC_NOTE: hmoec_note(diagnostics, at, "%s", buffer.text); break;
  }
  for (intptr_t i = 0; i < mlirDiagnosticGetNumNotes(diagnostic); i++)
    forward(diagnostics, mlirDiagnosticGetNote(diagnostic, i), HMOEC_NOTE);
}

static MlirLogicalResult handle(MlirDiagnostic diagnostic, void *user) {
  MlirDiagnosticSeverity severity = mlirDiagnosticGetSeverity(diagnostic);
  forward(user, diagnostic,
          severity == MlirDiagnosticError     ? HMOEC_ERROR
          : severity == MlirDiagnosticWarning ? HMOEC_WARNING
                                              : HMOEC_NOTE);
  return mlirLogicalResultSuccess();
}

MlirDiagnosticHandlerID hmoec_diagnostics_attach(hmoec_diagnostics *diagnostics, MlirContext context) {
  return mlirContextAttachDiagnosticHandler(context, handle, diagnostics, NULL);
}
