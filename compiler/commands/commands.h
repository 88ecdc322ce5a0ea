/* The commands of the CLI and what they share: parsed options and the way from a MODEL to a compiled, loaded unit. */
#ifndef HMOEC_COMMANDS_COMMANDS_H
#define HMOEC_COMMANDS_COMMANDS_H

#include <stdbool.h>
#include <stdint.h>

#include <mlir-c/IR.h>

#include "codegen/cpu/codegen.h"
#include "emit/unit.h"
#include "frontend/load.h"
#include "hmoe/abi.h"
#include "hmoe/runtime.h"
#include "passes/passes.h"
#include "support/diagnostics.h"

#define HMOEC_MAX_LIST 64

/* NAME=FILE of --input and --output. */
typedef struct hmoec_binding_option {
  char name[128];
  const char *file;
} hmoec_binding_option;

/* weights: --weights, else MODEL where that is a directory, which has its own. */
typedef struct hmoec_options {
  const char *model, *output, *weights, *entry, *emit, *mcpu, *versus, *json, *save_weights, *cpu;
  hmoec_define defines[HMOEC_MAX_LIST];
  char define_names[HMOEC_MAX_LIST][128];
  size_t define_count;
  hmoec_binding_option inputs[HMOEC_MAX_LIST], outputs[HMOEC_MAX_LIST];
  size_t input_count, output_count;
  int64_t tokens[HMOEC_MAX_LIST];
  size_t token_count;
  int64_t seed, threads, seconds, rows; /* rows: 0: not given */
  /* generate: see hmoe_generation. max_new_tokens -1: not given */
  int64_t max_new_tokens, beams, no_repeat_ngram, sample_top_k, start_token, end_token, pad_token;
  double length_penalty, temperature, top_p;
  bool sample, has_length_penalty;
  hmoec_pass_options pass;
  hmoec_pass_trace trace;
} hmoec_options;

typedef struct hmoec_command {
  const char *name;
  const char *summary;
  const char *usage;          /* after "hmoec NAME" */
  const char *const *accepts; /* options it takes, NULL-terminated */
  bool (*run)(const hmoec_options *options, hmoec_diagnostics *diagnostics);
} hmoec_command;

extern const hmoec_command hmoec_command_compile, hmoec_command_pack, hmoec_command_run, hmoec_command_check, hmoec_command_bench,
    hmoec_command_explain, hmoec_command_generate, hmoec_command_import;

/* A monotonic clock. */
double hmoec_clock_seconds(void);
/* Prints the help of one option list. */
void hmoec_options_help(const hmoec_command *command, FILE *out);
/* False with a usage error. *out_help: --help was asked for. */
bool hmoec_options_parse(const hmoec_command *command, int argc, char **argv, hmoec_options *out_options, bool *out_help,
                         hmoec_diagnostics *diagnostics);

/* ---- session.c ---- */
/* One MODEL on its way to code. Zero-initialise; deinit releases what is there. */
typedef struct hmoec_session {
  hmoec_diagnostics *diagnostics;
  MlirContext context;
  MlirDiagnosticHandlerID handler;
  MlirModule module;        /* hmoe as loaded, then as the passes leave it */
  hmoec_unit unit;
  hmoec_loaded *loaded;
  const struct hmoe_model_object *object;
} hmoec_session;

/* A context with the diagnostics attached. */
bool hmoec_session_init(hmoec_session *session, hmoec_diagnostics *diagnostics);
bool hmoec_session_load(hmoec_session *session, const hmoec_options *options, const char *model);
/* The passes on the hmoe dialect: what is left is folded and fused. */
bool hmoec_session_fold(hmoec_session *session, const hmoec_options *options);
/* After fold: kernels and plan. */
bool hmoec_session_plan(hmoec_session *session, const hmoec_options *options);
/* Code generation into memory; *out_bytes malloc'd. */
bool hmoec_session_generate(hmoec_session *session, const hmoec_options *options, hmoec_cpu_output output, char **out_bytes,
                            size_t *out_size);
/* Object code of the planned unit, loaded into this process: of every version that this machine runs, or of the one that it will take. */
bool hmoec_session_jit(hmoec_session *session, const hmoec_options *options, bool every_version);
/* Opens the loaded model; runtime errors become diagnostics. cpu NULL: the best. */
bool hmoec_session_open(hmoec_session *session, const hmoec_options *options, const char *weights, const char *cpu,
                        hmoe_model **out_model);
/* Packs weights for the loaded model into a .hmw file; errors likewise. */
bool hmoec_session_pack(hmoec_session *session, const hmoec_options *options, const char *weights, const char *path);
void hmoec_session_deinit(hmoec_session *session);

/* Reports a runtime failure with its message; unsupported machines as such. */
bool hmoec_runtime_error(hmoec_diagnostics *diagnostics, hmoe_status status);
/* An empty file in TMPDIR, or /tmp; the caller unlinks it. */
#define HMOEC_TEMPORARY_CHARS 4096
bool hmoec_make_temporary(const char *stem, char out_path[HMOEC_TEMPORARY_CHARS], hmoec_diagnostics *diagnostics);
/* Creates a directory and its parents. */
bool hmoec_make_directory(const char *path, hmoec_diagnostics *diagnostics);
/* Writes bytes whole or not at all; path "-" is standard output. */
bool hmoec_write_file(const char *path, const char *bytes, size_t size, hmoec_diagnostics *diagnostics);
/* CPU versions that the loaded object has and this machine runs, best first; returns how many of at most HMOE_CPU_COUNT. */
size_t hmoec_session_versions(const hmoec_session *session, const char *out_names[HMOE_CPU_COUNT]);

#endif
