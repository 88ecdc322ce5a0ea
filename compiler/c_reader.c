/* hmoec-c-reader: reads one function of a C file for the compiler, as frontend/c_process.h says, in limits that it sets itself. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "frontend/c_function.h"
#include "frontend/c_process.h"
#include "ir/context.h"
#include "support/limits.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* ---- files ---- */

static char not_a_file[4096]; /* the last path that was refused */

/* Every file that clang opens comes by here, in place of the C library's: whatever names it, a device or a pipe is not waited for, nor read without
 * end. */
__attribute__((visibility("default"))) int open(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  unsigned mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, unsigned) : 0;
  va_end(rest);
  int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_NONBLOCK, mode);
  struct stat info;
  if (fd < 0 || fstat(fd, &info) != 0) return fd;
  bool large = S_ISREG(info.st_mode) && info.st_size > HMOEC_C_MAX_BYTES && (flags & O_ACCMODE) == O_RDONLY;
  if (!large && (S_ISREG(info.st_mode) || S_ISDIR(info.st_mode) || strncmp(path, "/dev/null", 10) == 0)) return fd;
  if (!large) snprintf(not_a_file, sizeof not_a_file, "%s", path);
  close(fd);
  errno = large ? EFBIG : EINVAL;
  return -1;
}

__attribute__((visibility("default"))) int open64(const char *path, int flags, ...) __attribute__((alias("open")));

/* ---- the answer ---- */

static void write_all(const void *data, size_t size) {
  const char *bytes = data;
  while (size) {
    ssize_t written = write(STDOUT_FILENO, bytes, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) _exit(1);
    bytes += written;
    size -= (size_t)written;
  }
}

static void record_write(uint32_t kind, hmoec_location at, const char *text, size_t size) {
  const char *file = at.file ? at.file : "";
  const hmoec_c_record record = {kind, at.line, at.column, (uint32_t)strlen(file), (uint32_t)size};
  write_all(&record, sizeof record);
  write_all(file, strlen(file));
  write_all(text, size);
}

static void message_write(void *context, const hmoec_message *message) {
  (void)context;
  record_write((uint32_t)message->severity, message->at, message->text, strlen(message->text));
}

static void print_piece(MlirStringRef piece, void *stream) { fwrite(piece.data, 1, piece.length, stream); }

/* As text, with the place of every op. */
static void function_write(MlirOperation function) {
  char *text = NULL;
  size_t size = 0;
  FILE *stream = open_memstream(&text, &size);
  if (!stream) _exit(1);
  MlirOpPrintingFlags flags = mlirOpPrintingFlagsCreate();
  mlirOpPrintingFlagsEnableDebugInfo(flags, true, /*prettyForm=*/false);
  mlirOpPrintingFlagsUseLocalScope(flags);
  mlirOperationPrintWithFlags(function, flags, print_piece, stream);
  if (fclose(stream) != 0) _exit(1);
  record_write(HMOEC_C_RECORD_DONE, (hmoec_location){0}, text, size);
}

/* ---- the request ---- */

typedef struct request {
  int count;
  char **values;
} request;

static unsigned number(const char *text) { return (unsigned)strtoul(text, NULL, 10); }

static void *request_run(void *user) {
  const request *q = user;
  char **v = q->values;
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create_with(message_write, NULL);
  MlirContext context = hmoec_context_create();
  const char **includes = calloc((size_t)q->count, sizeof *includes), **defines = calloc((size_t)q->count, sizeof *defines);
  if (!diagnostics || mlirContextIsNull(context) || !includes || !defines) _exit(1);
  hmoec_c_flags flags = {.includes = includes, .defines = defines};
  for (int i = 1 + HMOEC_C_FIXED_ARGUMENTS; i < q->count; i++) {
    if (strncmp(v[i], "-I", 2) == 0) includes[flags.include_count++] = v[i] + 2;
    else defines[flags.define_count++] = v[i] + 2;
  }
  const hmoec_location at = {.file = *v[5] ? v[5] : NULL, .line = number(v[6]), .column = number(v[7])};
  MlirOperation function;
  bool ok = hmoec_c_function_read(context, diagnostics, at, v[1], v[2], &flags, v[3], number(v[4]), &function);
  if (!ok && *not_a_file) hmoec_note(diagnostics, (hmoec_location){0}, "%s is not a regular file", not_a_file);
  if (ok) function_write(function);
  else record_write(HMOEC_C_RECORD_DONE, (hmoec_location){0}, "", 0);
  _exit(0); /* what is left goes with the process */
}

static void limit(__rlimit_resource_t resource, rlim_t most) {
  struct rlimit now;
  if (getrlimit(resource, &now) != 0) return;
  if (now.rlim_max != RLIM_INFINITY && now.rlim_max < most) most = now.rlim_max;
  setrlimit(resource, &(struct rlimit){.rlim_cur = most, .rlim_max = most});
}

int main(int count, char **values) {
  if (count < 1 + HMOEC_C_FIXED_ARGUMENTS) {
    fprintf(stderr, "%s: reads functions written in C for hmoec, which starts it\n", HMOEC_C_READER);
    return 2;
  }
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_CPU, HMOEC_C_MAX_SECONDS);
  alarm(HMOEC_C_MAX_WAIT_SECONDS); /* should the compiler be gone */
#if !SANITIZED /* these reserve terabytes of addresses */
  limit(RLIMIT_AS, (rlim_t)HMOEC_C_MAX_MEMORY_MIB << 20);
#endif
  /* clang's library would read on a thread of its own, with a smaller stack, and go on after a crash. */
  setenv("LIBCLANG_NOTHREADS", "1", 1);
  setenv("LIBCLANG_DISABLE_CRASH_RECOVERY", "1", 1);
  request q = {count, values};
  pthread_attr_t attributes;
  pthread_t thread;
  if (pthread_attr_init(&attributes) != 0 || pthread_attr_setstacksize(&attributes, HMOEC_C_STACK_BYTES) != 0 ||
      pthread_create(&thread, &attributes, request_run, &q) != 0)
    return 1;
  pthread_join(thread, NULL);
  return 1;
}
