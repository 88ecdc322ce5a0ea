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
#include "library/load.h"
#include "library/options.h"
#include "support/arena.h"
#include "tuning/database.h"

typedef struct hmoec_session {
  hmoec_diagnostics *diagnostics; /* borrowed */
  hmoec_options options; /* a copy; its texts are borrowed */
  hmoec_pass_options pass; /* made of them; a schedule may be set */
  hmoec_arena *arena; /* of the routing in it */
  hmoec_hyper_report hypers; /* what folding chose among */
  hmoec_pass_dump dump; /* until the plan is made */
  MlirContext context;
  MlirDiagnosticHandlerID handler;
  MlirModule source; /* hmoe, verified; null until load */
  MlirModule folded; /* hmoe; null until fold */
  MlirModule planned; /* hmk; null until plan */
  hmoec_unit unit;
  hmoec_tuning tuning; /* empty without a file */
  hmoec_machine machine; /* of the tuning file, if has_machine */
  bool has_machine;
  hmoec_made_images images; /* of the last object that was emitted, besides the host's */
  uint32_t versions; /* of the loaded code, by number */
  hmoec_loaded *loaded;
  const struct hmoe_model_object *object;
} hmoec_session;

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
/* Versions that the loaded object has and this machine runs, best first; returns how many. */
size_t hmoec_session_versions(const hmoec_session *session, const char *out_names[HMOEC_MOST_VERSIONS]);
/* Opens, or with a path packs, weights for the loaded object. options may be NULL; remarks of the runtime become notes. */
bool hmoec_session_open(hmoec_session *session, const hmoe_weights *weights, const hmoe_options *options, hmoe_model **out_model);
bool hmoec_session_pack(hmoec_session *session, const hmoe_weights *weights, const hmoe_options *options, const char *path);

#endif
