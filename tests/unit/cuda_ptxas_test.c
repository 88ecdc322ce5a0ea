/* NVIDIA's assembler as a process, here one that does and says what it is told to (tests/cli/Inputs/fake_ptxas): where it is looked for, what is made of its
 * end and of its report, and that nothing is left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "target/cuda/object.h"

#define FAKE HMOE_SOURCE_DIR "/tests/cli/Inputs/fake_ptxas"
static const char ptx[] =
    ".version 8.0\n.target sm_80\n.visible .entry first(\n)\n.reqntid 256, 1, 1\n.minnctapersm 1\n{\nret;\n}\n"
    ".visible .entry second(\n)\n.reqntid 128, 1, 1\n{\nret;\n}\n";
static char folder[64];

static int make_folder(void **state) {
  (void)state;
  strcpy(folder, "/tmp/hmoec-ptxas-test-XXXXXX");
  return mkdtemp(folder) ? setenv("TMPDIR", folder, 1) : -1;
}

static int remove_folder(void **state) {
  (void)state;
  return rmdir(folder);
}

static void expect_empty_folder(void) {
  DIR *open = opendir(folder);
  assert_non_null(open);
  for (struct dirent *entry; (entry = readdir(open));) assert_true(entry->d_name[0] == '.');
  closedir(open);
}

/* Whether it went well, with the PTX as it is then; the error is `expected`, behind the program's name where it begins with a blank. */
static bool assemble(const char *how, const char *expected, hmoec_status status, hmoec_cuda_code *out_code, char **out_ptx) {
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  char *text = strdup(ptx), whole[1024];
  if (how) setenv("FAKE_PTXAS", how, 1);
  else unsetenv("FAKE_PTXAS");
  bool ok = hmoec_cuda_assemble(FAKE, "sm_80", &text, diagnostics, out_code);
  snprintf(whole, sizeof whole, "%s%s", expected && *expected == ' ' ? FAKE : "", expected ? expected : "");
  assert_string_equal(hmoec_diagnostics_first(diagnostics), whole);
  assert_int_equal(hmoec_diagnostics_status(diagnostics), status);
  assert_int_equal(hmoec_diagnostics_errors(diagnostics), ok ? 0 : 1);
  if (out_ptx) *out_ptx = text;
  else free(text);
  hmoec_diagnostics_destroy(diagnostics);
  expect_empty_folder();
  return ok;
}

static void test_code(void **state) {
  (void)state;
  hmoec_cuda_code code;
  setenv("LC_ALL", "de_DE", 1);
  assert_true(assemble(NULL, NULL, HMOEC_OK, &code, NULL));
  assert_int_equal(code.size, strlen("\177ELF of sm_80"));
  assert_memory_equal(code.bytes, "\177ELF of sm_80", code.size);
  assert_int_equal(code.kernel_count, 1);
  assert_string_equal(code.kernels->name, "second");
  assert_int_equal(code.kernels->registers, 77);
  assert_int_equal(code.kernels->shared_bytes, 1040);
  hmoec_cuda_code_deinit(&code);
  assert_true(assemble("long", NULL, HMOEC_OK, &code, NULL));
  assert_int_equal(code.kernel_count, 1);
  hmoec_cuda_code_deinit(&code);
  unsetenv("LC_ALL");
}

static void test_ends(void **state) {
  (void)state;
  hmoec_cuda_code code;
  assert_false(assemble("fails",
                        " fails on the code for sm_80, with status 255, and says 'ptxas fatal   : Unsupported .version 8.0; "
                        "current version is '7.0''",
                        HMOEC_MACHINE_ERROR, &code, NULL));
  assert_false(
      assemble("silent", " fails on the code for sm_80, with status 7, and says 'nothing'", HMOEC_MACHINE_ERROR, &code, NULL));
  assert_false(
      assemble("dies", " was ended by signal 11 (Segmentation fault) on the code for sm_80", HMOEC_MACHINE_ERROR, &code, NULL));
  assert_false(assemble("empty", " has left no machine code for sm_80, and says 'nothing'", HMOEC_MACHINE_ERROR, &code, NULL));
  assert_false(assemble("text", " has left no machine code for sm_80, and says 'nothing'", HMOEC_MACHINE_ERROR, &code, NULL));
  assert_true(!code.bytes && !code.kernels);
  /* Where an application waits for all its processes nobody knows how one ended, and the code tells. */
  struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
  sigaction(SIGCHLD, &ignore, &before);
  assert_true(assemble(NULL, NULL, HMOEC_OK, &code, NULL));
  hmoec_cuda_code_deinit(&code);
  assert_false(assemble("empty", " has left no machine code for sm_80, and says 'nothing'", HMOEC_MACHINE_ERROR, &code, NULL));
  sigaction(SIGCHLD, &before, NULL);
}

#define WAY_OUT "; HMOE_PTXAS=none leaves machine code to the driver"

static void test_reports(void **state) {
  (void)state;
  static const struct {
    const char *how, *error;
  } cases[] = {
      {"spill", "kernel second has not enough registers on sm_80: ptxas spills 28 bytes" WAY_OUT},
      {"stack", "kernel second needs a stack on sm_80, of 40 bytes" WAY_OUT},
      {"warning",
       "kernel second: on sm_80 ptxas says 'ptxas warning : Potential trouble of some kind in function 'second''" WAY_OUT},
      {"C7508",
       "kernel second: on sm_80 ptxas says 'ptxas info    : (C7508) Potential Performance Loss: 'setmaxnreg' ignored to maintain "
       "minimum register requirement.'" WAY_OUT},
      {"C7510",
       "kernel second: on sm_80 ptxas says 'ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are "
       "serialized due to something in the function 'second''" WAY_OUT},
  };
  hmoec_cuda_code code;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_false(assemble(cases[i].how, cases[i].error, HMOEC_INPUT_ERROR, &code, NULL));
}

/* Kernels that spill get all registers, once, and only those that have not asked for them. */
static void test_registers(void **state) {
  (void)state;
  hmoec_cuda_code code;
  char *text;
  assert_true(assemble("once", NULL, HMOEC_OK, &code, &text));
  assert_int_equal(code.kernels->spilled_bytes, 0);
  assert_int_equal(code.kernel_count, 1);
  hmoec_cuda_code_deinit(&code);
  assert_non_null(strstr(text, ".entry second(\n)\n.reqntid 128, 1, 1\n.minnctapersm 1\n{"));
  free(text);
  hmoec_kernel_use uses[] = {{.name = "first", .spilled_bytes = 4}, {.name = "second"}, {.name = "third", .spilled_bytes = 4}};
  code = (hmoec_cuda_code){.kernels = uses, .kernel_count = 3};
  text = strdup(ptx);
  assert_false(hmoec_cuda_give_registers(&text, &code));
  assert_string_equal(text, ptx);
  free(text);
}

/* ---- where it is ---- */

/* In folder/name/ptxas. */
static void put_program(const char *name, bool put) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  for (char *at = path + strlen(folder) + 1; put && (at = strchr(at, '/')); at++) {
    *at = 0;
    mkdir(path, 0755);
    *at = '/';
  }
  if (put) assert_int_equal(symlink("/bin/true", path), 0);
  else unlink(path);
  for (char *at; !put && (at = strrchr(path, '/')) > path + strlen(folder);) {
    *at = 0;
    rmdir(path);
  }
}

static void expect_found(const char *expected) {
  char found[CUDA_PATH_BYTES], whole[256];
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  assert_true(hmoec_cuda_ptxas_find(diagnostics, found));
  snprintf(whole, sizeof whole, "%s%s%s", expected ? folder : "", expected ? "/" : "", expected ? expected : "");
  assert_string_equal(found, whole);
  hmoec_diagnostics_destroy(diagnostics);
}

static void set_folder(const char *variable, const char *rest) {
  char value[256];
  snprintf(value, sizeof value, "%s/%s", folder, rest);
  setenv(variable, value, 1);
}

static void test_places(void **state) {
  (void)state;
  static const char *const places[] = {"named", "home/bin/ptxas", "path/ptxas", "cache/hmoec/cuda/bin/ptxas",
                                       "user/.cache/hmoec/cuda/bin/ptxas"};
  for (size_t i = 0; i < 5; i++) put_program(places[i], true);
  set_folder("HMOE_PTXAS", "named");
  set_folder("CUDA_HOME", "home");
  set_folder("PATH", "path");
  set_folder("XDG_CACHE_HOME", "cache");
  set_folder("HOME", "user");
  expect_found(places[0]);
  setenv("HMOE_PTXAS", "none", 1);
  expect_found(NULL);
  setenv("HMOE_PTXAS", "ptxas", 1);
  expect_found(places[2]);
  for (int i = 0; i < 3; i++) {
    set_folder("HMOE_PTXAS", (const char *const[]){"nothing", "user", "named/ptxas"}[i]);
    char found[CUDA_PATH_BYTES], text[256];
    hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
    assert_false(hmoec_cuda_ptxas_find(diagnostics, found));
    snprintf(text, sizeof text, "HMOE_PTXAS: expected a program, or none, found '%s', which is not there", getenv("HMOE_PTXAS"));
    assert_string_equal(hmoec_diagnostics_first(diagnostics), text);
    assert_int_equal(hmoec_diagnostics_status(diagnostics), HMOEC_MACHINE_ERROR);
    hmoec_diagnostics_destroy(diagnostics);
  }
  setenv("HMOE_PTXAS", "", 1);
  expect_found(places[1]);
  put_program(places[1], false);
  expect_found(places[2]);
  unsetenv("CUDA_HOME");
  expect_found(places[2]);
  if (access("/usr/local/cuda/bin/ptxas", X_OK) != 0) {
    set_folder("PATH", "none:/none");
    expect_found(places[3]);
    setenv("XDG_CACHE_HOME", "", 1);
    expect_found(places[4]);
    setenv("HOME", "/none", 1);
    expect_found(NULL);
  }
  for (size_t i = 0; i < 5; i++) put_program(places[i], false);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_code),      cmocka_unit_test(test_ends),   cmocka_unit_test(test_reports),
      cmocka_unit_test(test_registers), cmocka_unit_test(test_places),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
