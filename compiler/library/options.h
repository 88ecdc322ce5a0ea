/* hmoec_options inside the library: read from a caller's structure, checked, and what the stages are told of them. */
#ifndef HMOEC_LIBRARY_OPTIONS_H
#define HMOEC_LIBRARY_OPTIONS_H

#include <stdbool.h>

#include "hmoe/compiler.h"
#include "passes/passes.h"

/* A structure of a caller's, which begins with its struct_size, as this version has it: what a shorter one of an older program does not say is
 * zero. given NULL: all of it is. what: "the options". least_bytes: of version 1. */
bool hmoec_struct_read(const void *given, const char *what, size_t least_bytes, size_t size, void *out,
                       hmoec_diagnostics *diagnostics);
/* Options so read, and checked. prefix: how messages call one, "--" or "" and then its name with dashes. */
bool hmoec_options_read(const hmoec_options *given, const char *prefix, hmoec_options *out_options, hmoec_diagnostics *diagnostics);
/* Are the names and values there? */
bool hmoec_defines_check(const hmoec_define *defines, size_t count, hmoec_diagnostics *diagnostics);
/* A sink that passes messages on to the options' callback; NULL when memory is short. */
hmoec_diagnostics *hmoec_sink_create(const hmoec_options *options);
/* The status of a call that failed, by what its sink was told. The sink may be NULL. */
hmoec_status hmoec_sink_failure(const hmoec_diagnostics *diagnostics);
/* What the passes are told, of options that were checked. */
hmoec_pass_options hmoec_options_pass(const hmoec_options *options);

/* The target of options that were checked. */
const hmoec_target *hmoec_options_target(const hmoec_options *options);
/* The code version that the options ask for, else HMOE_CPU, or NULL. */
const char *hmoec_options_version(const hmoec_options *options);
/* What HMOE_CPU and HMOE_NUM_THREADS say where the options do not: wrong values are wrong usage, as those of options are. */
bool hmoec_environment_check(const hmoec_options *options, const hmoe_options *open, hmoec_diagnostics *diagnostics);

#endif
