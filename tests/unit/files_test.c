/* Files and paths of the compiler: text read whole up to a limit, what is no regular file, directories that are made, files that are the same, temporary ones. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/output_file.h"
#include "support/paths.h"
#include "support/text_file.h"

/* Reads that fail with these, one after the other, before others do what they do. */
static int failures[2], failed;
ssize_t __real_read(int fd, void *buffer, size_t size);
ssize_t __wrap_read(int fd, void *buffer, size_t size);
ssize_t __wrap_read(int fd, void *buffer, size_t size) {
  if (failed == 2 || !failures[failed]) return __real_read(fd, buffer, size);
  errno = failures[failed++];
  return -1;
}

static char folder[] = "/tmp/hmoec-files-XXXXXX";

static void write_file(const char *path, size_t size) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  for (size_t i = 0; i < size; i++) fputc('a' + (int)(i % 26), file);
  assert_int_equal(fclose(file), 0);
}

static int setup(void **state) {
  (void)state;
  if (!mkdtemp(folder) || chdir(folder) != 0) return -1;
  write_file("2048", 2048);
  write_file("2049", 2049);
  write_file("none", 0);
  return mkdir("directory", 0700) || mkfifo("fifo", 0600) || symlink("2048", "link") || symlink("nowhere", "broken") ||
         link("2048", "hard");
}

static int teardown(void **state) {
  (void)state;
  char command[64];
  snprintf(command, sizeof command, "rm -rf %s", folder);
  return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

static void test_reads(void **state) {
  (void)state;
  static const struct {
    int failures[2];
    const char *reason; /* NULL: it is read */
  } cases[] = {{{EINTR}, NULL}, {{EINTR, EINTR}, NULL}, {{EIO}, "Input/output error"}, {{EINTR, EIO}, "Input/output error"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    hmoec_arena *arena = hmoec_arena_create();
    const char *reason = NULL;
    size_t size = 0;
    memcpy(failures, cases[i].failures, sizeof failures);
    failed = 0;
    const char *text = hmoec_text_file_read(arena, "2048", 2048, &size, &reason);
    failed = 2;
    assert_int_equal(text != NULL, cases[i].reason == NULL);
    assert_int_equal(size, text ? 2048 : 0);
    if (!text && (!reason || strcmp(reason, cases[i].reason) != 0)) fail_msg("case %zu: %s", i, reason ? reason : "no reason");
    hmoec_arena_destroy(arena);
  }
}

static void test_text(void **state) {
  (void)state;
  static const struct {
    const char *path;
    size_t limit, size;
    const char *reason; /* NULL: it is read */
  } cases[] = {
      {"2048", 2048, 2048, NULL},
      {"2049", 2048, 0, "it is larger than 2 KiB"},
      {"2048", 2047, 0, "it is larger than 1 KiB"},
      {"none", 0, 0, NULL},
      {"link", 4096, 2048, NULL},
      {"missing", 4096, 0, "No such file or directory"},
      {"directory", 4096, 0, "it is a directory"},
      {"fifo", 4096, 0, "it is not a regular file"},
      {"2048/x", 4096, 0, "Not a directory"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    hmoec_arena *arena = hmoec_arena_create();
    const char *reason = NULL;
    size_t size = 0;
    char *text = hmoec_text_file_read(arena, cases[i].path, cases[i].limit, &size, &reason);
    if (cases[i].reason) {
      assert_null(text);
      assert_string_equal(reason, cases[i].reason);
    } else {
      assert_non_null(text);
      assert_int_equal(size, cases[i].size);
      assert_int_equal(strlen(text), size); /* with a zero behind it */
      for (size_t c = 0; c < size; c++) assert_int_equal(text[c], 'a' + (int)(c % 26));
      memset(hmoec_arena_alloc(arena, 16), 'x', 16);
      assert_int_equal(strlen(text), size); /* which is the text's own */
    }
    hmoec_arena_destroy(arena);
  }
  hmoec_arena *arena = hmoec_arena_create();
  const char *reason = NULL;
  size_t size;
  assert_null(hmoec_text_file_read(arena, "broken", 4096, &size, &reason)); /* a link to what is not there is said to be one */
  assert_true(strncmp(reason, "No such file or directory", 25) == 0 && strlen(reason) > 25);
  hmoec_arena_destroy(arena);
}

static void test_begin(void **state) {
  (void)state;
  uint8_t bytes[HMOE_CONTENT_BYTES];
  assert_int_equal(hmoec_file_begin("2048", bytes), HMOE_CONTENT_BYTES);
  assert_true(bytes[0] == 'a' && bytes[HMOE_CONTENT_BYTES - 1] == 'a' + (HMOE_CONTENT_BYTES - 1) % 26);
  static const char *const others[] = {"none", "missing", "directory", "fifo", "broken"};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) assert_int_equal(hmoec_file_begin(others[i], bytes), 0);
  int first = dup(STDIN_FILENO);
  close(first);
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) hmoec_file_begin(others[i], bytes);
  int again = dup(STDIN_FILENO);
  close(again);
  assert_int_equal(first, again); /* nothing stays open */
}

static void test_paths(void **state) {
  (void)state;
  static const struct {
    const char *a, *b;
    bool same;
  } pairs[] = {
      {"2048", "./2048", true},          {"2048", "hard", true},       {"2048", "link", true},      {"2048", "2049", false},
      {"directory", "directory", false}, {"missing", "missing", true}, {"missing", "other", false}, {"2048", "missing", false},
      {"missing", "2048", false},        {"fifo", "fifo", false},      {"2048", "fifo", false},     {"fifo", "2048", false}};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
    if (hmoec_is_same_file(pairs[i].a, pairs[i].b) != pairs[i].same) fail_msg("%s and %s", pairs[i].a, pairs[i].b);
  assert_true(hmoec_is_directory("directory") && hmoec_is_directory("."));
  assert_false(hmoec_is_directory("2048") || hmoec_is_directory("missing") || hmoec_is_directory("fifo"));

  static const struct {
    const char *path, *message; /* "": it is made */
  } directories[] = {
      {"directory", ""},
      {"a", ""},
      {"a/b/c", ""},
      {"d/", ""},
      {"d//e/../f", ""},
      {"./g", ""},
      {"2048", "cannot make this directory: Not a directory"},
      {"2048/x", "cannot make this directory: Not a directory"},
      {"a/2048", ""},
      {"broken", "cannot make this directory: Not a directory"},
      {"", "expected a directory to write to, found ''"},
      {NULL, "expected a directory to write to, found NULL"},
  };
  for (size_t i = 0; i < sizeof directories / sizeof *directories; i++) {
    hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
    bool made = hmoec_make_directory(directories[i].path, diagnostics);
    assert_string_equal(hmoec_diagnostics_first(diagnostics), directories[i].message);
    assert_int_equal(made, !*directories[i].message);
    if (made) assert_true(hmoec_is_directory(directories[i].path));
    hmoec_diagnostics_destroy(diagnostics);
  }
  char path[512];
  snprintf(path, sizeof path, "%s/whole/path", folder);
  assert_true(hmoec_make_directory(path, NULL) && hmoec_is_directory(path));
}

/* A file is written whole, in one go or many, in place of another or into a pipe, however slowly that is read. */
static void test_written(void **state) {
  (void)state;
  enum { MOST = 200000 };
  static const size_t sizes[] = {0, 1, 2, 65535, 65536, 65537, MOST};
  static char bytes[MOST], found[MOST + 1];
  for (size_t i = 0; i < MOST; i++) bytes[i] = (char)('a' + i % 23);
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(stderr);
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    for (size_t step = 1; step <= MOST; step *= 25) { /* many pieces, few, and all at once */
      hmoec_output_file file;
      assert_true(hmoec_output_file_open("written", diagnostics, &file));
      for (size_t at = 0; at < sizes[i]; at += step)
        hmoec_output_file_write(&file, bytes + at, sizes[i] - at < step ? sizes[i] - at : step);
      assert_true(hmoec_output_files_commit(&file, 1));
      FILE *stream = fopen("written", "rb");
      assert_true(stream && fread(found, 1, sizeof found, stream) == sizes[i]);
      assert_memory_equal(found, bytes, sizes[i]);
      fclose(stream);
    }
  fflush(NULL);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    size_t size = 0;
    int fd = open("fifo", O_RDONLY);
    usleep(100000);
    for (ssize_t got; (got = read(fd, found + size, sizeof found - size)) > 0;) size += (size_t)got;
    _exit(size == MOST && memcmp(found, bytes, MOST) == 0 ? 0 : 1);
  }
  int fd, status;
  while ((fd = open("fifo", O_WRONLY | O_NONBLOCK)) < 0) usleep(1000); /* until it is read */
  assert_true(hmoec_file_write("fifo", bytes, MOST, diagnostics));
  close(fd);
  assert_true(waitpid(child, &status, 0) == child && status == 0);
  hmoec_diagnostics_destroy(diagnostics);
}

static void test_temporary(void **state) {
  (void)state;
  hmoec_temporary file;
  for (int i = 0; i < 2; i++) {
    setenv("TMPDIR", i ? "" : folder, 1);
    hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
    assert_true(hmoec_temporary_open("test", &file, diagnostics));
    assert_true(write(file.fd, "abc", 3) == 3 && access(file.path, R_OK | W_OK) == 0);
    struct stat info;
    assert_true(fstat(file.fd, &info) == 0 && (info.st_mode & 0777) == 0600);
    assert_int_not_equal(fcntl(file.fd, F_GETFD) & FD_CLOEXEC, 0);
    int fd = file.fd;
    hmoec_temporary_close(&file);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    hmoec_temporary_close(&file); /* again: nothing */
    hmoec_diagnostics_destroy(diagnostics);
  }
  setenv("TMPDIR", "/tmp/hmoec-no-such-directory", 1);
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  assert_false(hmoec_temporary_open("test", &file, diagnostics));
  assert_string_equal(hmoec_diagnostics_first(diagnostics),
                      "cannot make a temporary file in /tmp/hmoec-no-such-directory: No such file or directory");
  assert_int_equal(hmoec_diagnostics_status(diagnostics), HMOEC_MACHINE_ERROR);
  hmoec_diagnostics_destroy(diagnostics);
  char deep[5000]; /* longer than any path */
  for (size_t i = 0; i < sizeof deep; i++) deep[i] = i % 2 ? 'd' : '/';
  static const size_t lengths[] = {4070, 4071, 4072, 4073, 4074, 4075, 4077, 4078, 4080, 4096, 4999};
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    diagnostics = hmoec_diagnostics_create(NULL);
    deep[lengths[i]] = '\0';
    setenv("TMPDIR", deep, 1);
    deep[lengths[i]] = lengths[i] % 2 ? 'd' : '/';
    assert_false(hmoec_temporary_open("test", &file, diagnostics));
    const char *first = hmoec_diagnostics_first(diagnostics), *reason = strrchr(first, ':');
    assert_string_equal(reason, lengths[i] + strlen("/hmoec-test-XXXXXX") < sizeof file.path ? ": No such file or directory"
                                                                                             : ": File name too long");
    assert_string_equal(file.path, "");
    hmoec_temporary_close(&file);
    hmoec_diagnostics_destroy(diagnostics);
  }
  unsetenv("TMPDIR");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_text),    cmocka_unit_test(test_reads),
                                     cmocka_unit_test(test_begin),   cmocka_unit_test(test_paths),
                                     cmocka_unit_test(test_written), cmocka_unit_test(test_temporary)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
