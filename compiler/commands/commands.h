/* The commands of the CLI, which is a client of the library: of the compiler they include <hmoe/compiler.h> alone, of support/ what
 * knows nothing of models, and tuning/, which knows tuning files. They would work the same linked with libhmoec.so. */
#ifndef HMOEC_COMMANDS_COMMANDS_H
#define HMOEC_COMMANDS_COMMANDS_H

#include <stdbool.h>
#include <stdint.h>

#include "hmoe/compiler.h"
#include "hmoe/generate.h"
#include "support/diagnostics.h"
#include "support/npy.h"

#define HMOEC_MAX_LIST 64
#define HMOEC_TOKEN_LISTS 8 /* of generation */
#define HMOEC_MAX_TOKENS 1024 /* of one */

/* NAME=FILE of --input and --output. */
typedef struct hmoec_binding_option {
  char name[128];
  const char *file;
} hmoec_binding_option;

/* What a command line says. weights: --weights, else MODEL where that is a directory, which has its own. */
typedef struct hmoec_arguments {
  hmoec_options options; /* of the library */
  const char *model, *output, *weights, *entry, *emit, *versus, *json, *save_weights, *report, *measure, *merge, *write_routing;
  int argc; /* as given, behind the command */
  char **argv;
  double budget_seconds; /* 0: not given */
  hmoec_define defines[HMOEC_MAX_LIST];
  char define_names[HMOEC_MAX_LIST][128];
  const char *c_includes[HMOEC_MAX_LIST], *c_defines[HMOEC_MAX_LIST];
  hmoec_binding_option inputs[HMOEC_MAX_LIST], outputs[HMOEC_MAX_LIST];
  size_t input_count, output_count;
  int64_t tokens[HMOEC_MAX_LIST];
  size_t token_count;
  int64_t seed, threads, rows; /* rows: 0: not given */
  bool seed_given, complete, machine;
  hmoe_generation generation; /* what is not given is the model's */
  int64_t token_lists[HMOEC_TOKEN_LISTS][HMOEC_MAX_TOKENS]; /* of generation */
} hmoec_arguments;

typedef struct hmoec_command {
  const char *name;
  const char *summary;
  const char *usage; /* after "hmoec NAME" */
  const char *const *accepts; /* options it takes, NULL-terminated */
  bool (*run)(const hmoec_arguments *arguments, hmoec_diagnostics *diagnostics);
  bool model_optional; /* whether MODEL is needed is for `run` to say */
} hmoec_command;

extern const hmoec_command hmoec_command_compile, hmoec_command_pack, hmoec_command_run, hmoec_command_check, hmoec_command_bench,
    hmoec_command_explain, hmoec_command_generate, hmoec_command_import, hmoec_command_tune;

/* Prints the help of one option list. */
void hmoec_arguments_help(const hmoec_command *command, FILE *out);
/* False with a usage error. Messages of the library's calls are printed, and count in the sink. *out_help: --help was asked for. */
bool hmoec_arguments_parse(const hmoec_command *command, int argc, char **argv, hmoec_arguments *out_arguments, bool *out_help,
                           hmoec_diagnostics *diagnostics);

/* Refuses, as wrong usage, an output that is one of the files that are read. */
bool hmoec_output_check(const hmoec_arguments *arguments, const char *option, const char *output, hmoec_diagnostics *diagnostics);

/* ---- inputs.c ---- */
/* Which of the tensors each --input or --output means; an unknown name is an error. */
bool hmoec_match_names(const char *option, const hmoec_binding_option *given, size_t given_count,
                       const hmoec_signature_tensor *tensors, size_t count, const char **out_files, hmoec_diagnostics *diagnostics);
/* The sizes of a run, and which input said so first; 0 and NULL while none has. */
typedef struct hmoec_run_sizes {
  int64_t values[HMOEC_MAX_SIZES];
  const char *inputs[HMOEC_MAX_SIZES];
} hmoec_run_sizes;
/* Reads the inputs; arrays are the caller's to deinit, out_data stays NULL of one that is left out. */
bool hmoec_inputs_read(const char *const *files, const hmoec_signature *signature, hmoec_run_sizes *sizes, hmoec_npy *arrays,
                       const void **out_data, hmoec_diagnostics *diagnostics);

/* ---- client.c ---- */
/* Of commands that run one size: --tokens is no list. */
bool hmoec_one_token_count(const hmoec_arguments *arguments, const char *command, hmoec_diagnostics *diagnostics);
/* Of commands that cannot do without weights. A MODEL that is not there could have had its own, and is refused for that. */
bool hmoec_weights_given(const hmoec_arguments *arguments, const char *command, hmoec_diagnostics *diagnostics);
/* How weights are opened by tools: checked, with threads as given and a line that shows progress on a terminal. */
typedef struct hmoec_open_progress {
  double begun; /* 0: no opening has told of itself */
  bool drawn;
} hmoec_open_progress;
hmoe_options hmoec_open_options(const hmoec_arguments *arguments, hmoec_open_progress *progress);
void hmoec_open_finish(hmoec_open_progress *progress);
/* A compilation of MODEL, opened with --weights. */
bool hmoec_open_model(const hmoec_arguments *arguments, hmoec_compilation **out_compilation, hmoe_model **out_model);

#endif
