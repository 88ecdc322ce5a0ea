/* ptxas as a child process. PTX goes in and code comes out by files without names, which it has as its files 3 and 4, so that nothing is left behind however
 * either process ends; what it says comes by a pipe, in the locale "C". */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/limits.h"
#include "support/paths.h"
#include "support/process.h"
#include "target/cuda/object.h"

extern char **environ;

/* ---- where it is ---- */

static bool is_program(const char *path) {
  struct stat info;
  return stat(path, &info) == 0 && S_ISREG(info.st_mode) && access(path, X_OK) == 0;
}

/* directory/rest, where that is a program. */
static bool try_path(const char *directory, size_t length, const char *rest, char out_path[CUDA_PATH_BYTES]) {
  int size = snprintf(out_path, CUDA_PATH_BYTES, "%.*s/%s", length ? (int)length : 1, length ? directory : ".", rest);
  if (size > 0 && size < CUDA_PATH_BYTES && is_program(out_path)) return true;
  out_path[0] = 0;
  return false;
}

static bool try_variable(const char *variable, const char *rest, char out_path[CUDA_PATH_BYTES]) {
  const char *directory = getenv(variable);
  return directory && *directory && try_path(directory, strlen(directory), rest, out_path);
}

static bool try_search_path(const char *name, char out_path[CUDA_PATH_BYTES]) {
  const char *at = getenv("PATH");
  while (at) {
    const char *end = strchr(at, ':');
    if (try_path(at, end ? (size_t)(end - at) : strlen(at), name, out_path)) return true;
    at = end ? end + 1 : NULL;
  }
  return false;
}

bool hmoec_cuda_ptxas_find(hmoec_diagnostics *diagnostics, char out_path[CUDA_PATH_BYTES]) {
  static const char toolkit[] = "/usr/local/cuda/bin";
  const char *named = getenv("HMOE_PTXAS"), *cache = getenv("XDG_CACHE_HOME");
  out_path[0] = 0;
  if (named && strcmp(named, "none") == 0) return true;
  if (named && *named) {
    if (!strchr(named, '/')) try_search_path(named, out_path);
    else if (strlen(named) < CUDA_PATH_BYTES && is_program(named)) memcpy(out_path, named, strlen(named) + 1);
    return *out_path ||
           hmoec_machine_error(diagnostics, "HMOE_PTXAS: expected a program, or none, found '%s', which is not there", named);
  }
  if (try_variable("CUDA_HOME", "bin/ptxas", out_path) || try_search_path("ptxas", out_path) ||
      try_path(toolkit, strlen(toolkit), "ptxas", out_path))
    return true;
  if (cache && *cache) try_variable("XDG_CACHE_HOME", "hmoec/cuda/bin/ptxas", out_path);
  else try_variable("HOME", ".cache/hmoec/cuda/bin/ptxas", out_path);
  return true;
}

/* ---- its report ---- */

static bool begins(const char *line, const char *with) { return strncmp(line, with, strlen(with)) == 0; }

/* What stands between ' and ' behind a text, into name. */
static bool quoted_behind(const char *line, const char *text, char *name, size_t size) {
  const char *from = strstr(line, text), *end;
  if (!from) return false;
  from += strlen(text);
  end = strchr(from, '\'');
  if (!end || (size_t)(end - from) >= size) return false;
  memcpy(name, from, (size_t)(end - from));
  name[end - from] = 0;
  return true;
}

static hmoec_kernel_use *add_kernel(hmoec_cuda_code *code, const char *name) {
  hmoec_kernel_use *list = realloc(code->kernels, (code->kernel_count + 1) * sizeof *list);
  if (!list) return NULL;
  code->kernels = list;
  hmoec_kernel_use *kernel = &list[code->kernel_count++];
  *kernel = (hmoec_kernel_use){.name = ""};
  snprintf(kernel->name, sizeof kernel->name, "%s", name);
  return kernel;
}

/* The number before a text, such as 32 of "Used 32 registers, ..."; 0: it is not there. */
static int64_t number_before(const char *line, const char *text) {
  const char *end = strstr(line, text);
  if (!end) return 0;
  const char *from = end;
  while (from > line && from[-1] >= '0' && from[-1] <= '9') from--;
  return from < end ? strtoll(from, NULL, 10) : 0;
}

/* Whether the line is a remark on products that ptxas could not leave as they are: C7508 and its neighbours. */
static bool is_performance_remark(const char *line) {
  const char *number = strstr(line, "(C75");
  return number && number[4] >= '0' && number[4] <= '9' && number[5] >= '0' && number[5] <= '9' && number[6] == ')';
}

static const char way_out[] = "; HMOE_PTXAS=none leaves machine code to the driver";

static bool line_read(const char *line, const char *chip, hmoec_diagnostics *diagnostics, hmoec_cuda_code *code) {
  char name[sizeof code->kernels->name];
  if (quoted_behind(line, "Compiling entry function '", name, sizeof name))
    return add_kernel(code, name) || hmoec_machine_error(diagnostics, "out of memory");
  hmoec_kernel_use *kernel = code->kernel_count ? &code->kernels[code->kernel_count - 1] : NULL;
  const char *of = kernel ? kernel->name : "the module";
  int64_t spilled = number_before(line, " bytes spill stores") + number_before(line, " bytes spill loads"),
          stack = number_before(line, " bytes stack frame");
  if (kernel && spilled) kernel->spilled_bytes = spilled;
  else if (spilled || stack)
    return hmoec_error(diagnostics, (hmoec_location){0}, "kernel %s needs a stack on %s, of %lld bytes%s", of, chip,
                       (long long)stack, way_out);
  if (begins(line, "ptxas warning") || is_performance_remark(line)) {
    if (quoted_behind(line, "in function '", name, sizeof name) || quoted_behind(line, "in the function '", name, sizeof name))
      of = name;
    return hmoec_error(diagnostics, (hmoec_location){0}, "kernel %s: on %s ptxas says '%s'%s", of, chip, line, way_out);
  }
  if (kernel && strstr(line, "Used ")) {
    kernel->registers = number_before(line, " registers");
    kernel->shared_bytes = number_before(line, " bytes smem");
  }
  return true;
}

bool hmoec_cuda_report_read(const char *report, const char *chip, hmoec_diagnostics *diagnostics, hmoec_cuda_code *out_code) {
  enum { MOST = 1024 }; /* of a line, which may hold anything */
  for (const char *at = report; *at;) {
    char line[MOST];
    size_t length = strcspn(at, "\n"), kept = length < MOST ? length : MOST - 1;
    memcpy(line, at, kept);
    line[kept] = 0;
    if (!line_read(line, chip, diagnostics, out_code)) return false;
    at += length + (at[length] == '\n');
  }
  return true;
}

/* ---- kernels that spill ---- */

/* Where the directives of a kernel's entry end, behind those of its threads; NULL: it has room for one block already. */
static const char *end_of_directives(const char *ptx, const char *kernel) {
  char entry[sizeof((hmoec_kernel_use *)NULL)->name + 16];
  snprintf(entry, sizeof entry, ".entry %s(", kernel);
  const char *at = strstr(ptx, entry), *body = at ? strstr(at, "\n{") : NULL, *given = at ? strstr(at, "\n.minnctapersm") : NULL;
  return body && !(given && given < body) ? body : NULL;
}

static bool give_registers(char **ptx, const char *kernel) {
  static const char directive[] = "\n.minnctapersm 1";
  const char *at = end_of_directives(*ptx, kernel);
  char *larger = at ? malloc(strlen(*ptx) + sizeof directive) : NULL;
  if (!larger) return false;
  size_t before = (size_t)(at - *ptx);
  memcpy(larger, *ptx, before);
  memcpy(larger + before, directive, sizeof directive - 1);
  memcpy(larger + before + sizeof directive - 1, at, strlen(at) + 1);
  free(*ptx);
  *ptx = larger;
  return true;
}

bool hmoec_cuda_give_registers(char **ptx, const hmoec_cuda_code *spilled) {
  bool any = false;
  for (size_t i = 0; i < spilled->kernel_count; i++)
    if (spilled->kernels[i].spilled_bytes && give_registers(ptx, spilled->kernels[i].name)) any = true;
  return any;
}

/* NULL: none. */
static const hmoec_kernel_use *spilling_kernel(const hmoec_cuda_code *code) {
  for (size_t i = 0; i < code->kernel_count; i++)
    if (code->kernels[i].spilled_bytes) return &code->kernels[i];
  return NULL;
}

/* ---- the process ---- */

/* This process's environment, but for the language of messages; free. */
static const char **environment_make(void) {
  size_t count = 0, kept = 0;
  while (environ[count]) count++;
  const char **list = malloc((count + 2) * sizeof *list);
  if (!list) return NULL;
  for (size_t i = 0; i < count; i++)
    if (!begins(environ[i], "LC_ALL=")) list[kept++] = environ[i];
  list[kept++] = "LC_ALL=C";
  list[kept] = NULL;
  return list;
}

static bool write_all(int fd, const char *bytes, size_t size) {
  while (size) {
    ssize_t written = write(fd, bytes, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes += written;
    size -= (size_t)written;
  }
  return true;
}

/* What it put into the file; empty where it put nothing there. */
static bool read_all(int fd, char **out_bytes, size_t *out_size) {
  struct stat info;
  if (fstat(fd, &info) != 0) return false;
  char *bytes = malloc((size_t)info.st_size + 1);
  size_t size = 0;
  while (bytes && size < (size_t)info.st_size) {
    ssize_t got = pread(fd, bytes + size, (size_t)info.st_size - size, (off_t)size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    size += (size_t)got;
  }
  *out_bytes = bytes;
  *out_size = size;
  return bytes != NULL;
}

/* The first line that says what is wrong, or the first one; it ends there. */
static const char *complaint(char *report) {
  char *found = report;
  for (char *line = report; line; line = strchr(line, '\n')) {
    if (*line == '\n') line++;
    if (!begins(line, "ptxas error") && !begins(line, "ptxas fatal")) continue;
    found = line;
    break;
  }
  found[strcspn(found, "\n")] = 0;
  return *found ? found : "nothing";
}

/* Whether it came to its end and left code. Where its status is not known, the code it left tells. */
static bool end_check(const char *ptxas, const char *chip, const hmoec_answer *answer, char *report, const hmoec_cuda_code *code,
                      hmoec_diagnostics *diagnostics) {
  bool has_code = code->size > 4 && memcmp(code->bytes, "\177ELF", 4) == 0;
  int status = answer->status;
  if (!answer->in_time)
    return hmoec_machine_error(diagnostics, "%s does not come to an end of the code for %s in %d seconds", ptxas, chip,
                               HMOEC_PTXAS_MAX_WAIT_SECONDS);
  if (status != -1 && WIFSIGNALED(status))
    return hmoec_machine_error(diagnostics, "%s was ended by signal %d (%s) on the code for %s", ptxas, WTERMSIG(status),
                               strsignal(WTERMSIG(status)), chip);
  if (status != -1 && WEXITSTATUS(status) != 0)
    return hmoec_machine_error(diagnostics, "%s fails on the code for %s, with status %d, and says '%s'", ptxas, chip,
                               WEXITSTATUS(status), complaint(report));
  return has_code ||
         hmoec_machine_error(diagnostics, "%s has left no machine code for %s, and says '%s'", ptxas, chip, complaint(report));
}

static bool run(const char *ptxas, const char *chip, const hmoec_temporary *in, const hmoec_temporary *out,
                hmoec_diagnostics *diagnostics, hmoec_answer *answer) {
  const char *const arguments[] = {
      "ptxas", "-v", "-arch", chip, in->named ? in->path : "/proc/self/fd/3", "-o", out->named ? out->path : "/proc/self/fd/4",
      NULL};
  const char **environment = environment_make();
  if (!environment) return hmoec_machine_error(diagnostics, "out of memory");
  const hmoec_program program = {.path = ptxas,
                                 .arguments = arguments,
                                 .environment = environment,
                                 .files = (const int[]){in->fd, out->fd},
                                 .file_count = 2,
                                 .errors_too = true};
  int error = hmoec_program_run(&program, HMOEC_PTXAS_MAX_REPORT_BYTES, INT64_C(1000) * HMOEC_PTXAS_MAX_WAIT_SECONDS, answer);
  free(environment);
  return !error || hmoec_machine_error(diagnostics, "cannot start %s: %s", ptxas, strerror(error));
}

static bool assemble_once(const char *ptxas, const char *chip, const char *ptx, hmoec_diagnostics *diagnostics,
                          hmoec_cuda_code *out_code) {
  hmoec_temporary in = {.path = ""}, out = {.path = ""};
  hmoec_answer answer = {.status = -1};
  char *report = NULL;
  *out_code = (hmoec_cuda_code){.size = 0};
  bool ok = hmoec_temporary_open("ptx", &in, diagnostics) && hmoec_temporary_open("cubin", &out, diagnostics);
  if (ok && !write_all(in.fd, ptx, strlen(ptx)))
    ok = hmoec_machine_error(diagnostics, "cannot write a temporary file: %s", strerror(errno));
  ok = ok && run(ptxas, chip, &in, &out, diagnostics, &answer);
  if (ok) {
    report = malloc(answer.size + 1);
    ok = (report && read_all(out.fd, &out_code->bytes, &out_code->size)) || hmoec_machine_error(diagnostics, "out of memory");
  }
  if (ok) {
    if (answer.size) memcpy(report, answer.bytes, answer.size);
    report[answer.size] = 0;
    ok = end_check(ptxas, chip, &answer, report, out_code, diagnostics) &&
         hmoec_cuda_report_read(report, chip, diagnostics, out_code);
  }
  free(report);
  free(answer.bytes);
  hmoec_temporary_close(&in);
  hmoec_temporary_close(&out);
  if (!ok) hmoec_cuda_code_deinit(out_code);
  return ok;
}

bool hmoec_cuda_assemble(const char *ptxas, const char *chip, char **ptx, hmoec_diagnostics *diagnostics,
                         hmoec_cuda_code *out_code) {
  if (!assemble_once(ptxas, chip, *ptx, diagnostics, out_code)) return false;
  if (spilling_kernel(out_code) && hmoec_cuda_give_registers(ptx, out_code)) {
    hmoec_cuda_code_deinit(out_code);
    if (!assemble_once(ptxas, chip, *ptx, diagnostics, out_code)) return false;
  }
  const hmoec_kernel_use *kernel = spilling_kernel(out_code);
  if (!kernel) return true;
  hmoec_error(diagnostics, (hmoec_location){0}, "kernel %s has not enough registers on %s: ptxas spills %lld bytes%s", kernel->name,
              chip, (long long)kernel->spilled_bytes, way_out);
  hmoec_cuda_code_deinit(out_code);
  return false;
}

void hmoec_cuda_code_deinit(hmoec_cuda_code *code) {
  free(code->bytes);
  free(code->kernels);
  *code = (hmoec_cuda_code){.size = 0};
}
