/* A C function, read by a process of its own (c_process.h): starts it, waits for the answer, passes its messages on and reads the function. */
#include "frontend/c_process.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "frontend/c_function.h"
#include "frontend/c_scan.h"
#include "ir/context.h"
#include "support/arena.h"
#include "support/limits.h"
#include "support/process.h"
#include "support/text_file.h"

enum { MAX_ANSWER_BYTES = 64 << 20 };

typedef struct request {
  MlirContext context;
  hmoec_diagnostics *diagnostics;
  hmoec_location at;
  hmoec_arena *arena;
  const char *file;
} request;

static bool needed_here(const request *q) {
  if (q->at.file) hmoec_note(q->diagnostics, q->at, "needed here");
  return false;
}

static bool file_check(const request *q) {
  uint8_t start[HMOE_CONTENT_BYTES];
  size_t size, begun = hmoec_file_begin(q->file, start);
  hmoe_content content = hmoe_content_find(start, begun);
  char found[HMOE_CONTENT_CHARS];
  if (content != HMOE_CONTENT_TEXT && content != HMOE_CONTENT_EMPTY && content != HMOE_CONTENT_UNKNOWN)
    return hmoec_error(q->diagnostics, q->at, "expected C in %s, found %s", q->file, hmoe_content_string(start, begun, found));
  const char *reason, *text = hmoec_text_file_read(q->arena, q->file, HMOEC_C_MAX_BYTES, &size, &reason);
  if (!text) return hmoec_error(q->diagnostics, q->at, "cannot read the C file %s: %s", q->file, reason);
  return hmoec_c_scan(q->diagnostics, q->file, text, size) || needed_here(q);
}

/* ---- the program ---- */

/* The directory of the file that this code was loaded from, or of the program; NULL: not known. */
static const char *directory_of_code(hmoec_arena *arena, bool program) {
  Dl_info info = {.dli_fname = NULL};
  if (!program && !dladdr((const void *)(uintptr_t)hmoec_c_function_import, &info)) return NULL;
  const char *name = program ? "/proc/self/exe" : info.dli_fname;
  char *path = name && strchr(name, '/') ? realpath(name, NULL) : NULL;
  char *slash = path ? strrchr(path, '/') : NULL;
  const char *directory = slash ? hmoec_arena_strndup(arena, path, (size_t)(slash - path)) : NULL;
  free(path);
  return directory;
}

/* Beside the code or, installed or in the build's tree, not far from it. */
static const char *reader_find(const request *q) {
  static const char *const ways[] = {"", "/../libexec/hmoec", "/../../libexec/hmoec", "/../bin", "/../../bin"};
  for (int program = 0; program < 2; program++) {
    const char *directory = directory_of_code(q->arena, program);
    for (size_t i = 0; directory && i < sizeof ways / sizeof *ways; i++) {
      const char *path = hmoec_arena_printf(q->arena, "%s%s/%s", directory, ways[i], HMOEC_C_READER);
      if (access(path, X_OK) == 0) return path;
    }
  }
  const char *installed = HMOEC_LIBEXEC_DIR "/" HMOEC_C_READER;
  if (access(installed, X_OK) == 0) return installed;
  hmoec_machine_error(q->diagnostics, "cannot read the C file %s: the program %s is missing, expected beside the compiler or in %s",
                      q->file, HMOEC_C_READER, HMOEC_LIBEXEC_DIR);
  return NULL;
}

static const char *number(const request *q, unsigned value) { return hmoec_arena_printf(q->arena, "%u", value); }

static const char **arguments_make(const request *q, const char *name, const hmoec_c_flags *flags, const char *what,
                                   unsigned arities) {
  const hmoec_c_flags none = {0};
  if (!flags) flags = &none;
  const char *fixed[1 + HMOEC_C_FIXED_ARGUMENTS] = {
      HMOEC_C_READER,         q->file, name, what, number(q, arities), q->at.file ? q->at.file : "", number(q, q->at.line),
      number(q, q->at.column)};
  size_t count = 1 + HMOEC_C_FIXED_ARGUMENTS;
  const char **arguments =
      hmoec_arena_alloc_array(q->arena, count + flags->include_count + flags->define_count + 1, sizeof *arguments);
  memcpy(arguments, fixed, sizeof fixed);
  for (size_t i = 0; i < flags->include_count; i++) arguments[count++] = hmoec_arena_printf(q->arena, "-I%s", flags->includes[i]);
  for (size_t i = 0; i < flags->define_count; i++) arguments[count++] = hmoec_arena_printf(q->arena, "-D%s", flags->defines[i]);
  arguments[count] = NULL;
  return arguments;
}

/* ---- the answer ---- */

static bool reader_run(const request *q, const char **arguments, hmoec_answer *out_answer) {
  const hmoec_program reader = {.path = reader_find(q), .arguments = arguments};
  if (!reader.path) return false;
  int error = hmoec_program_run(&reader, MAX_ANSWER_BYTES, INT64_C(1000) * HMOEC_C_MAX_WAIT_SECONDS, out_answer);
  return !error || hmoec_machine_error(q->diagnostics, "cannot start %s: %s", reader.path, strerror(error));
}

/* The process ended on the file. */
static bool report_end(const request *q, const hmoec_answer *a) {
  const hmoec_location at = {.file = q->file};
  bool by_time = !a->in_time ||
                 (a->status != -1 && WIFSIGNALED(a->status) && (WTERMSIG(a->status) == SIGXCPU || WTERMSIG(a->status) == SIGKILL));
  if (by_time)
    hmoec_error(q->diagnostics, at,
                "clang does not come to an end of this file in %d seconds: macros, types or constants in it grow without end",
                HMOEC_C_MAX_SECONDS);
  else
    hmoec_error(
        q->diagnostics, at,
        "clang cannot read this file in %d MiB of memory: what it holds, or macros make of it, is too large or nested too deeply",
        HMOEC_C_MAX_MEMORY_MIB);
  return needed_here(q);
}

static bool function_parse(const request *q, const char *text, size_t size, MlirOperation *out_function) {
  MlirModule module = hmoec_module_parse(q->context, q->file, text, size);
  MlirOperation function = mlirModuleIsNull(module) ? (MlirOperation){NULL} : mlirBlockGetFirstOperation(mlirModuleGetBody(module));
  bool ok = !mlirOperationIsNull(function) || hmoec_machine_error(q->diagnostics, "internal: a function cannot be read again");
  if (ok) mlirOperationRemoveFromParent(function);
  if (ok) *out_function = function;
  if (!mlirModuleIsNull(module)) mlirModuleDestroy(module);
  return ok;
}

/* Messages as they come; *out_done: the answer was whole. */
static bool answer_take(const request *q, const hmoec_answer *a, MlirOperation *out_function, bool *out_done) {
  size_t at = 0;
  *out_done = false;
  while (!*out_done && a->size - at >= sizeof(hmoec_c_record)) {
    hmoec_c_record record;
    memcpy(&record, a->bytes + at, sizeof record);
    at += sizeof record;
    if (record.file_bytes > a->size - at || record.text_bytes > a->size - at - record.file_bytes) return false;
    const char *file = hmoec_arena_strndup(q->arena, a->bytes + at, record.file_bytes),
               *text = hmoec_arena_strndup(q->arena, a->bytes + at + record.file_bytes, record.text_bytes);
    at += record.file_bytes + record.text_bytes;
    const hmoec_location place = {.file = *file ? file : NULL, .line = record.line, .column = record.column};
    *out_done = record.kind == HMOEC_C_RECORD_DONE;
    if (*out_done) return *text && function_parse(q, text, record.text_bytes, out_function);
    if (record.kind == HMOEC_ERROR) hmoec_error(q->diagnostics, place, "%s", text);
    else if (record.kind == HMOEC_WARNING) hmoec_warning(q->diagnostics, place, "%s", text);
    else hmoec_note(q->diagnostics, place, "%s", text);
  }
  return false;
}

bool hmoec_c_function_import(MlirContext context, hmoec_diagnostics *diagnostics, hmoec_location at, const char *file,
                             const char *name, const hmoec_c_flags *flags, const char *what, unsigned arities,
                             MlirOperation *out_function) {
  const request q = {.context = context, .diagnostics = diagnostics, .at = at, .arena = hmoec_arena_create(), .file = file};
  hmoec_answer a = {.status = -1};
  bool done = false, ok = file_check(&q) && reader_run(&q, arguments_make(&q, name, flags, what, arities), &a);
  if (ok) {
    ok = answer_take(&q, &a, out_function, &done);
    if (!done) report_end(&q, &a);
  }
  free(a.bytes);
  hmoec_arena_destroy(q.arena);
  return ok;
}
