/* Programs run beside this one: what they see of this process, what comes back of them, and when they are ended. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/process.h"

#define SHELL(...) ((const char *const[]){"sh", "-c", __VA_ARGS__, NULL})

static hmoec_answer run(const hmoec_program *program, size_t most_bytes, int64_t most_ms) {
  hmoec_answer answer;
  assert_int_equal(hmoec_program_run(program, most_bytes, most_ms, &answer), 0);
  return answer;
}

static void expect_text(hmoec_answer answer, const char *text) {
  if (answer.size != strlen(text) || memcmp(answer.bytes, text, answer.size) != 0)
    fail_msg("expected '%s', found '%.*s'", text, (int)answer.size, answer.bytes);
  assert_true(answer.in_time);
  assert_true(WIFEXITED(answer.status) && WEXITSTATUS(answer.status) == 0);
  free(answer.bytes);
}

static void test_answers(void **state) {
  (void)state;
  expect_text(run(&(hmoec_program){.path = "/bin/sh", .arguments = SHELL("echo out; echo err >&2")}, 1 << 20, 60000), "out\n");
  expect_text(
      run(&(hmoec_program){.path = "/bin/sh", .arguments = SHELL("echo out; echo err >&2"), .errors_too = true}, 1 << 20, 60000),
      "out\nerr\n");
  expect_text(run(&(hmoec_program){.path = "/bin/sh", .arguments = SHELL(":")}, 1 << 20, 60000), "");
  expect_text(run(&(hmoec_program){.path = "/bin/sh", .arguments = SHELL("cat; echo \"$0\" \"$1\"", "a b", "c")}, 1 << 20, 60000),
              "a b c\n"); /* nothing on standard input */
  static const char *const environment[] = {"ONE=1", NULL};
  setenv("TWO", "2", 1);
  expect_text(run(&(hmoec_program){.path = "/bin/sh", .arguments = SHELL("echo $ONE-$TWO")}, 1 << 20, 60000), "-2\n");
  expect_text(
      run(&(hmoec_program){.path = "/bin/sh", .arguments = SHELL("echo $ONE-$TWO"), .environment = environment}, 1 << 20, 60000),
      "1-\n");
  hmoec_answer answer = run(&(hmoec_program){.path = "/bin/sh", .arguments = SHELL("echo a; exit 7")}, 1 << 20, 60000);
  assert_true(WIFEXITED(answer.status) && WEXITSTATUS(answer.status) == 7 && answer.size == 2 && answer.in_time);
  free(answer.bytes);
  answer = run(&(hmoec_program){.path = "/bin/sh", .arguments = SHELL("kill -TERM $$")}, 1 << 20, 60000);
  assert_true(WIFSIGNALED(answer.status) && WTERMSIG(answer.status) == SIGTERM && answer.size == 0 && answer.in_time);
  free(answer.bytes);
  assert_int_equal(hmoec_program_run(&(hmoec_program){.path = "/none", .arguments = SHELL(":")}, 1 << 20, 60000, &answer), ENOENT);
  assert_true(!answer.bytes && answer.size == 0);
}

/* An answer comes whole up to so many bytes, which are taken in powers of two; a longer one is cut, and the program is ended. */
static void test_limits(void **state) {
  (void)state;
  static const struct {
    const char *size;
    size_t most_bytes, found;
    bool whole;
  } cases[] = {
      {"65535", 1 << 16, 65535, true},   {"65536", 1 << 16, 65536, false},   {"65537", 1 << 17, 65537, true},
      {"131071", 1 << 17, 131071, true}, {"200000", 1 << 17, 131072, false}, {"1000000", 1 << 20, 1000000, true},
      {"100", 1 << 15, 0, false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    hmoec_answer answer =
        run(&(hmoec_program){.path = "/bin/sh", .arguments = SHELL("head -c $0 /dev/zero; exec sleep 0.01", cases[i].size)},
            cases[i].most_bytes, 60000);
    if (answer.in_time != cases[i].whole || answer.size != cases[i].found)
      fail_msg("%s of %zu: found %zu, in time %d", cases[i].size, cases[i].most_bytes, answer.size, answer.in_time);
    free(answer.bytes);
  }
}

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void test_time(void **state) {
  (void)state;
  int64_t begun = now_ms();
  hmoec_answer answer = run(&(hmoec_program){.path = "/bin/sh", .arguments = SHELL("echo a; exec sleep 1000")}, 1 << 20, 1500);
  int64_t took = now_ms() - begun;
  assert_true(took >= 1500 && took < 100000);
  assert_false(answer.in_time);
  assert_true(WIFSIGNALED(answer.status) && WTERMSIG(answer.status) == SIGKILL);
  assert_true(answer.size == 2 && memcmp(answer.bytes, "a\n", 2) == 0);
  free(answer.bytes);
}

/* What this process ignores, blocks and has open is not the program's; files that are given are, by number, whatever numbers they have here. */
typedef struct watcher {
  char seen[64];
  size_t size, calls, glances, most_calls;
} watcher;

static bool watch(void *context, const char *bytes, size_t size) {
  watcher *w = context;
  assert_true(w->size + size <= sizeof w->seen);
  if (size) memcpy(w->seen + w->size, bytes, size);
  w->size += size;
  w->glances += size == 0;
  return ++w->calls < w->most_calls;
}

/* Who watches sees what comes as it comes, looks in between, and may have had enough. */
static void test_watch(void **state) {
  (void)state;
  watcher w = {.most_calls = SIZE_MAX};
  hmoec_program program = {
      .path = "/bin/sh", .arguments = SHELL("echo one; sleep 0.5; echo two"), .watch = watch, .watch_context = &w};
  expect_text(run(&program, 1 << 20, 60000), "one\ntwo\n");
  assert_true(w.size == 8 && memcmp(w.seen, "one\ntwo\n", 8) == 0);
  assert_true(w.glances >= 2); /* a few times a second, though nothing comes */
  w = (watcher){.most_calls = 3};
  program.arguments = SHELL("echo one; sleep 60");
  time_t begin = time(NULL);
  hmoec_answer answer = run(&program, 1 << 20, 120000);
  assert_true(time(NULL) - begin < 30 && !answer.in_time);
  assert_true(WIFSIGNALED(answer.status) && WTERMSIG(answer.status) == SIGKILL);
  assert_true(w.calls == 3);
  free(answer.bytes);
}

static void test_what_is_seen(void **state) {
  (void)state;
  int files[8], ours[20];
  char path[] = "/tmp/hmoe-process-XXXXXX";
  int file = mkstemp(path);
  assert_true(file >= 0);
  for (size_t i = 0; i < 20; i++) ours[i] = dup(file); /* open in programs, if nobody looks to it */
  const hmoec_program lists = {
      .path = "/bin/sh",
      .arguments =
          SHELL("for i in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 20 25; do [ -e /proc/self/fd/$i ] && printf '%s ' $i; done; :")};
  expect_text(run(&lists, 1 << 20, 60000), "0 1 2 ");
  for (size_t i = 0; i < 8; i++) {
    char name[64];
    snprintf(name, sizeof name, "%s.%zu", path, i);
    files[i] = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    char digit = (char)('a' + (char)i);
    assert_true(files[i] >= 0 && write(files[i], &digit, 1) == 1 && lseek(files[i], 0, SEEK_SET) == 0);
    unlink(name);
  }
  hmoec_program given = lists;
  given.files = files;
  given.file_count = 8;
  expect_text(run(&given, 1 << 20, 60000), "0 1 2 3 4 5 6 7 8 9 10 ");
  given.arguments = SHELL("cat <&3; cat <&4; cat <&5; cat <&6; cat <&7; cat <&8; cat <&9; cat /proc/self/fd/10");
  expect_text(run(&given, 1 << 20, 60000), "abcdefgh");
  int swapped[] = {files[1], files[0], files[0]};
  for (size_t i = 0; i < 8; i++) lseek(files[i], 0, SEEK_SET);
  given.files = swapped;
  given.file_count = 3;
  given.arguments = SHELL("cat <&3; cat <&4");
  expect_text(run(&given, 1 << 20, 60000), "ba");
  given.file_count = 9;
  hmoec_answer answer;
  assert_int_equal(hmoec_program_run(&given, 1 << 20, 60000, &answer), EINVAL);
  for (size_t i = 0; i < 20; i++) close(ours[i]);
  for (size_t i = 0; i < 8; i++) close(files[i]);
  close(file);
  unlink(path);

  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  signal(SIGUSR2, SIG_IGN);
  static const char *const names[] = {"USR1", "USR2"}; /* blocked here, ignored here: the program dies of them */
  for (size_t i = 0; i < 2; i++) {
    answer = run(&(hmoec_program){.path = "/bin/sh", .arguments = SHELL("kill -$0 $$; sleep 0.1; echo alive", names[i])}, 1 << 20,
                 60000);
    assert_true(WIFSIGNALED(answer.status) && WTERMSIG(answer.status) == (i ? SIGUSR2 : SIGUSR1) && answer.size == 0);
    free(answer.bytes);
  }
  signal(SIGUSR2, SIG_DFL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  sigset_t now;
  pthread_sigmask(SIG_BLOCK, NULL, &now);
  assert_false(sigismember(&now, SIGUSR1)); /* and this process has its own again */
}

/* Nothing is left open here, and no child. */
static void test_nothing_is_left(void **state) {
  (void)state;
  int first = dup(STDIN_FILENO);
  close(first);
  for (int i = 0; i < 3; i++) {
    hmoec_answer answer =
        run(&(hmoec_program){.path = "/bin/sh", .arguments = SHELL("echo a"), .files = &(int){STDIN_FILENO}, .file_count = 1},
            1 << 20, 60000);
    free(answer.bytes);
    assert_int_equal(hmoec_program_run(&(hmoec_program){.path = "/none", .arguments = SHELL(":")}, 1, 60000, &answer), ENOENT);
    assert_int_equal(
        hmoec_program_run(&(hmoec_program){.path = "/bin/sh", .arguments = SHELL(":"), .files = &(int){-1}, .file_count = 1}, 1,
                          60000, &answer),
        EBADF);
  }
  int again = dup(STDIN_FILENO);
  close(again);
  assert_int_equal(first, again);
  errno = 0;
  assert_true(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_answers),      cmocka_unit_test(test_limits),
                                     cmocka_unit_test(test_time),         cmocka_unit_test(test_watch),
                                     cmocka_unit_test(test_what_is_seen), cmocka_unit_test(test_nothing_is_left)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
