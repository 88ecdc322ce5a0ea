/* Where all errors of the compiler go: a sink of located messages, printed as `FILE:LINE:COL: error: text`, the line and a caret.
 * A stage reports as many errors as it can and then returns false; the CLI prints and picks the exit code. Not thread-safe; one
 * sink per compilation. MLIR's own diagnostics are forwarded here (ir/location.h). */
#ifndef HMOEC_SUPPORT_DIAGNOSTICS_H
#define HMOEC_SUPPORT_DIAGNOSTICS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "hmoe/compiler.h"
#include "hmoe/runtime.h"

typedef struct hmoec_diagnostics hmoec_diagnostics;

/* message gets every message at once; NULL: they are only counted. NULL when memory is short. */
hmoec_diagnostics *hmoec_diagnostics_create_with(hmoec_message_fn message, void *context);
/* The same, printing to a file, or with NULL only counting. */
hmoec_diagnostics *hmoec_diagnostics_create(FILE *out);
void hmoec_diagnostics_destroy(hmoec_diagnostics *diagnostics);

/* Registers the text of a file so that carets can be shown (copied). A file that is not registered is read from disk when needed. */
void hmoec_diagnostics_add_source(hmoec_diagnostics *diagnostics, const char *file, const char *text, size_t size);

/* Reports one message. At most 20 errors and 100 warnings are passed on; the rest is counted. Always returns false, so that `return hmoec_error(...)` reads well. */
bool hmoec_error(hmoec_diagnostics *diagnostics, hmoec_location location, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void hmoec_warning(hmoec_diagnostics *diagnostics, hmoec_location location, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void hmoec_note(hmoec_diagnostics *diagnostics, hmoec_location location, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The machine lacks something (exit status 3), or a call was wrong (exit status 2): no location. */
bool hmoec_machine_error(hmoec_diagnostics *diagnostics, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool hmoec_usage_error(hmoec_diagnostics *diagnostics, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What a call of the runtime failed with, at the file that its message begins with. */
bool hmoec_runtime_error(hmoec_diagnostics *diagnostics, hmoe_status status);

unsigned hmoec_diagnostics_errors(const hmoec_diagnostics *diagnostics);
/* The worst class of error that was reported, in the order machine, usage, input. */
hmoec_status hmoec_diagnostics_status(const hmoec_diagnostics *diagnostics);
/* As if nothing had been reported so far. */
void hmoec_diagnostics_forget(hmoec_diagnostics *diagnostics);
/* Counts an error that was reported elsewhere. */
void hmoec_diagnostics_count(hmoec_diagnostics *diagnostics, hmoec_status status);
/* Text of the first error, "" if none; borrowed. */
const char *hmoec_diagnostics_first(const hmoec_diagnostics *diagnostics);

/* The closest of `names` to `name` (edit distance, whatever the case, at most a third of its length, at least 1), or NULL: for "did you mean". */
const char *hmoec_closest_name(const char *name, const char *const *names, size_t count);

#endif
