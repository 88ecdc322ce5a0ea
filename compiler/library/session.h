/* One model on its way to code, inside the library: source, what folding makes of it, the plan, and loaded code. Every stage keeps what the one
 * before gave, so that the interpreter can run the source beside compiled code.
 *
 *   hmoec_session_init(&session, &options, diagnostics) && hmoec_session_load(&session, path) && hmoec_session_plan(&session) && ...
 *   hmoec_session_deinit(&session);
 *
 * A call that fails has reported why, and returns false. Stages that are needed and missing are run. */
#ifndef HMOEC_LIBRARY_SESSION_H
#define HMOEC_LIBRARY_SESSION_H

#include <stdbool.h>

#include <mlir-c/Diagnostics.h>
#include <mlir-c/IR.h>

#include "emit/unit.h"
#include "hmoe/compiler.h"
#include "passes/passes.h"
#include "target/cpu/codegen.h"

typedef struct hmoec_session {
  hmoec_diagnostics *diagnostics; /* borrowed */
  hmoec_options options; /* a copy; its texts are borrowed */
  hmoec_pass_options pass; /* made of them; a schedule may be set */
  hmoec_pass_dump dump; /* until the plan is made */
  MlirContext context;
  MlirDiagnosticHandlerID handler;
  MlirModule source; /* hmoe, verified; null until load */
  MlirModule folded; /* hmoe; null until fold */
  MlirModule planned; /* hmk; null until plan */
  hmoec_unit unit;
  hmoec_loaded *loaded;
  const struct hmoe_model_object *object;
} hmoec_session;

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

/* Zeroed first; deinit releases what is there, also after a failure. options may be NULL. */
bool hmoec_session_init(hmoec_session *session, const hmoec_options *options, hmoec_diagnostics *diagnostics);
void hmoec_session_deinit(hmoec_session *session);
bool hmoec_session_load(hmoec_session *session, const char *path);
/* The text of a spec; name: in messages, and what includes are relative to. */
bool hmoec_session_load_spec(hmoec_session *session, const char *name, const char *text, size_t size);
/* Text of the hmoe dialect that the compiler printed. */
bool hmoec_session_load_module(hmoec_session *session, const char *name, const char *text, size_t size);
bool hmoec_session_fold(hmoec_session *session);
bool hmoec_session_plan(hmoec_session *session);

/* *out_bytes malloc'd. */
bool hmoec_session_emit(hmoec_session *session, hmoec_output output, char **out_bytes, size_t *out_size);
bool hmoec_session_write(hmoec_session *session, const char *directory);
/* Object code, loaded into this process: of every version that this machine runs, or of the one that it will take. */
bool hmoec_session_jit(hmoec_session *session, bool every_version);
/* CPU versions that the loaded object has and this machine runs, best first; returns how many of at most HMOE_CPU_COUNT. */
size_t hmoec_session_versions(const hmoec_session *session, const char *out_names[]);
/* What HMOE_CPU and HMOE_NUM_THREADS say where the options do not: wrong values are wrong usage, as those of options are. */
bool hmoec_environment_check(const hmoec_options *options, const hmoe_options *open, hmoec_diagnostics *diagnostics);
/* Opens, or with a path packs, weights for the loaded object. options may be NULL; remarks of the runtime become notes. */
bool hmoec_session_open(hmoec_session *session, const hmoe_weights *weights, const hmoe_options *options, hmoe_model **out_model);
bool hmoec_session_pack(hmoec_session *session, const hmoe_weights *weights, const hmoe_options *options, const char *path);

#endif
