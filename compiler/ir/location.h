/* What MLIR says, in the terms of the diagnostic sink: where ops come from, and MLIR's own messages. */
#ifndef HMOEC_IR_LOCATION_H
#define HMOEC_IR_LOCATION_H

#include <mlir-c/Diagnostics.h>
#include <mlir-c/IR.h>

#include "support/diagnostics.h"

/* The name by which MLIR is to know a file whose text it gets with one line more: places behind that line are then found in the file. malloc'd. */
char *hmoec_location_file_create(const char *file, unsigned extra_line);

/* The file, line and column of an MLIR location (the innermost FileLineCol; unknown otherwise). `file` is owned by the context. */
hmoec_location hmoec_location_of(MlirLocation location);
hmoec_location hmoec_location_of_op(MlirOperation op);

/* Forwards a context's diagnostics to the sink until detached. */
MlirDiagnosticHandlerID hmoec_diagnostics_attach(hmoec_diagnostics *diagnostics, MlirContext context);

#endif
