#include "support/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/clock.h"

extern char **environ;

enum { FIRST_FILE = STDERR_FILENO + 1, MOST_FILES = 8, OUT_OF_THE_WAY = FIRST_FILE + MOST_FILES };

/* from: what become its standard output and its files, none of which has one of their numbers. */
static int add_files(posix_spawn_file_actions_t *actions, const hmoec_program *program, int answer, const int *from) {
  int error = posix_spawn_file_actions_adddup2(actions, answer, STDOUT_FILENO);
  if (!error) error = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  if (!error && program->errors_too) error = posix_spawn_file_actions_adddup2(actions, answer, STDERR_FILENO);
  else if (!error) error = posix_spawn_file_actions_addopen(actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  for (size_t i = 0; !error && i < program->file_count; i++)
    error = posix_spawn_file_actions_adddup2(actions, from[i], FIRST_FILE + (int)i);
  if (!error) error = posix_spawn_file_actions_addclosefrom_np(actions, FIRST_FILE + (int)program->file_count);
  return error;
}

static int spawn(const hmoec_program *program, int answer, const int *from, pid_t *out_pid) {
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
  error = add_files(&actions, program, answer, from);
  if (!error) error = posix_spawnattr_setsigmask(&attributes, &none);
  if (!error) error = posix_spawnattr_setsigdefault(&attributes, &all);
  if (!error) error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  char *const *environment = program->environment ? (char *const *)(uintptr_t)program->environment : environ;
  if (!error)
    error = posix_spawn(out_pid, program->path, &actions, &attributes, (char *const *)(uintptr_t)program->arguments, environment);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

/* Copies of what it is given, where they are in nobody's way. */
static int start(const hmoec_program *program, int answer, pid_t *out_pid) {
  int from[1 + MOST_FILES], error = program->file_count <= MOST_FILES ? 0 : EINVAL;
  size_t count = 0;
  for (; !error && count < 1 + program->file_count; count++) {
    from[count] = fcntl(count ? program->files[count - 1] : answer, F_DUPFD_CLOEXEC, OUT_OF_THE_WAY);
    if (from[count] < 0) {
      error = errno;
      break;
    }
  }
  if (!error) error = spawn(program, from[0], from + 1, out_pid);
  while (count) close(from[--count]);
  return error;
}

static int64_t now_ms(void) { return (int64_t)(hmoec_clock_seconds() * 1000); }

/* Until it is closed, or too long, or too late. */
static void answer_read(hmoec_answer *a, const hmoec_program *program, int fd, size_t most_bytes, int64_t end) {
  enum { GLANCE_MS = 200 };
  for (;;) {
    int64_t left = end - now_ms(), wait = program->watch && left > GLANCE_MS ? GLANCE_MS : left;
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    int count = left > 0 ? poll(&ready, 1, wait < INT_MAX ? (int)wait : INT_MAX) : 0;
    if (count < 0 && errno != EINTR) return;
    if (left <= 0 || (program->watch && !program->watch(program->watch_context, a->bytes, 0))) return;
    if (count <= 0) continue;
    if (a->size == a->capacity) {
      size_t capacity = a->capacity ? 2 * a->capacity : 1 << 16;
      char *larger = capacity <= most_bytes ? realloc(a->bytes, capacity) : NULL;
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
    if (program->watch && !program->watch(program->watch_context, a->bytes + a->size - (size_t)got, (size_t)got)) return;
  }
}

int hmoec_program_run(const hmoec_program *program, size_t most_bytes, int64_t most_ms, hmoec_answer *out_answer) {
  *out_answer = (hmoec_answer){.status = -1};
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return errno;
  pid_t pid;
  int error = start(program, ends[1], &pid);
  close(ends[1]);
  if (!error) {
    answer_read(out_answer, program, ends[0], most_bytes, now_ms() + most_ms);
    if (!out_answer->in_time) kill(pid, SIGKILL);
    pid_t waited;
    do waited = waitpid(pid, &out_answer->status, 0);
    while (waited < 0 && errno == EINTR);
    if (waited < 0) out_answer->status = -1;
  }
  close(ends[0]);
  return error;
}
