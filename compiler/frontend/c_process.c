/* A C function, read by a process of its own (c_process.h): starts it, waits for the answer, passes its messages on and reads the function. */
#include "frontend/c_process.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "frontend/c_function.h"
#include "frontend/c_scan.h"
#include "ir/context.h"
#include "support/arena.h"
#include "support/limits.h"
#include "support/text_file.h"

extern char **environ;

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

/* Its standard output is the pipe; it inherits no other file, nor the application's signals. */
static int reader_start(const char *path, const char **arguments, int answer, pid_t *out_pid) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  int error = posix_spawn_file_actions_init(&actions);
  if (error) return error;
  error = posix_spawnattr_init(&attributes);
  if (error) {
    posix_spawn_file_actions_destroy(&actions);
    return error;
  }
  if (!error) error = posix_spawn_file_actions_adddup2(&actions, answer, STDOUT_FILENO);
  if (!error) error = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  if (!error) error = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  if (!error) error = posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  if (!error) error = posix_spawnattr_setsigmask(&attributes, &none);
  if (!error) error = posix_spawnattr_setsigdefault(&attributes, &all);
  if (!error) error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  if (!error) error = posix_spawn(out_pid, path, &actions, &attributes, (char *const *)(uintptr_t)arguments, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

/* ---- the answer ---- */

typedef struct answer {
  char *bytes;
  size_t size, capacity;
  bool in_time;
  int status; /* of wait; -1: not known, as where the application waits for all processes */
} answer;

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Until it is closed, or too long, or too late. */
static void answer_read(answer *a, int fd) {
  int64_t end = now_ms() + 1000 * HMOEC_C_MAX_WAIT_SECONDS;
  for (;;) {
    int64_t left = end - now_ms();
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    int count = left > 0 ? poll(&ready, 1, (int)left) : 0;
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    if (a->size == a->capacity) {
      size_t capacity = a->capacity ? 2 * a->capacity : 1 << 16;
      char *larger = capacity <= MAX_ANSWER_BYTES ? realloc(a->bytes, capacity) : NULL;
      if (!larger) return;
      a->bytes = larger;
      a->capacity = capacity;
    }
    ssize_t got = read(fd, a->bytes + a->size, a->capacity - a->size);
    if (got < 0 && errno == EINTR) continue;
    a->in_time = got >= 0;
    if (got <= 0) return;
    a->size += (size_t)got;
    a->in_time = false;
  }
}

static bool reader_run(const request *q, const char **arguments, answer *out_answer) {
  const char *path = reader_find(q);
  if (!path) return false;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return hmoec_machine_error(q->diagnostics, "cannot make a pipe: %s", strerror(errno));
  pid_t pid;
  int error = reader_start(path, arguments, ends[1], &pid);
  close(ends[1]);
  if (!error) {
    answer_read(out_answer, ends[0]);
    if (!out_answer->in_time) kill(pid, SIGKILL);
    pid_t waited;
    do waited = waitpid(pid, &out_answer->status, 0);
    while (waited < 0 && errno == EINTR);
    if (waited < 0) out_answer->status = -1;
  }
  close(ends[0]);
  return !error || hmoec_machine_error(q->diagnostics, "cannot start %s: %s", path, strerror(error));
}

/* The process ended on the file. */
static bool report_end(const request *q, const answer *a) {
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
static bool answer_take(const request *q, const answer *a, MlirOperation *out_function, bool *out_done) {
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
  answer a = {.status = -1};
  bool done = false, ok = file_check(&q) && reader_run(&q, arguments_make(&q, name, flags, what, arities), &a);
  if (ok) {
    ok = answer_take(&q, &a, out_function, &done);
    if (!done) report_end(&q, &a);
  }
  free(a.bytes);
  hmoec_arena_destroy(q.arena);
  return ok;
}
