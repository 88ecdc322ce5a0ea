/* From a MODEL to code: the pipeline, top to bottom. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>

#include "commands/commands.h"
#include "hmoe/abi.h"
#include "ir/context.h"
#include "runtime_internal.h"
#include "support/output_file.h"

bool hmoec_session_init(hmoec_session *session, hmoec_diagnostics *diagnostics) {
  *session = (hmoec_session){.diagnostics = diagnostics};
  session->context = hmoec_context_create();
  if (mlirContextIsNull(session->context)) return hmoec_machine_error(diagnostics, "internal: the dialects do not load");
  session->handler = hmoec_diagnostics_attach(diagnostics, session->context);
  return true;
}

bool hmoec_session_load(hmoec_session *session, const hmoec_options *options, const char *model) {
  return hmoec_load_model(session->context, model, options->defines, options->define_count, session->diagnostics, &session->module);
}

bool hmoec_session_fold(hmoec_session *session, const hmoec_options *options) {
  hmoec_pass_options pass = options->pass;
  if (options->trace.dump_dir && !hmoec_make_directory(options->trace.dump_dir, session->diagnostics)) return false;
  return hmoec_passes_run(session->module, NULL, "fold-duplicates", &pass, &options->trace, session->diagnostics);
}

bool hmoec_session_plan(hmoec_session *session, const hmoec_options *options) {
  hmoec_pass_options pass = options->pass;
  return hmoec_passes_run(session->module, "plan-kernels", NULL, &pass, &options->trace, session->diagnostics) &&
         hmoec_unit_init(session->module, session->diagnostics, &session->unit);
}

/* The versions of an object: two more where there are bf16 products. */
static uint32_t all_versions(const hmoec_session *session) {
  uint32_t versions = 1u << HMOE_CPU_PORTABLE | 1u << HMOE_CPU_AVX2 | 1u << HMOE_CPU_AVX512;
  for (size_t i = 0; i < session->unit.kernel_count; i++)
    if (hmoec_kernel_is_bf16(&session->unit.kernels[i])) versions |= 1u << HMOE_CPU_AVX512_BF16 | 1u << HMOE_CPU_AMX;
  return versions;
}

static bool generate(hmoec_session *session, const hmoec_options *options, uint32_t versions, hmoec_cpu_output output,
                     char **out_bytes, size_t *out_size) {
  char *host = options->mcpu && strcmp(options->mcpu, "native") == 0 ? LLVMGetHostCPUName() : NULL;
  hmoec_cpu_unit unit = {.name = session->unit.name,
                         .kernels = session->unit.kernels,
                         .kernel_count = session->unit.kernel_count,
                         .functions = &session->unit.functions,
                         .plan = session->unit.plan,
                         .plan_bytes = session->unit.plan_bytes,
                         .schedule = session->unit.schedule,
                         .versions = versions,
                         .mcpu = host ? host : options->mcpu};
  bool ok = hmoec_cpu_generate(session->context, &unit, output, session->diagnostics, out_bytes, out_size);
  LLVMDisposeMessage(host);
  return ok;
}

bool hmoec_session_generate(hmoec_session *session, const hmoec_options *options, hmoec_cpu_output output, char **out_bytes,
                            size_t *out_size) {
  return generate(session, options, all_versions(session), output, out_bytes, out_size);
}

/* A forced version stays in, so that the runtime says what this machine lacks for it. */
static uint32_t wanted_versions(const hmoec_session *session, const char *forced, bool every) {
  uint32_t all = all_versions(session), wanted = 0;
  for (int cpu = HMOE_CPU_COUNT - 1; cpu >= 0; cpu--) {
    if (!(all & 1u << cpu)) continue;
    bool is_forced = forced && strcmp(forced, hmoe_cpu_name(cpu)) == 0, runs = !hmoe_cpu_lacks(cpu);
    if (is_forced || (runs && !forced && (every || !wanted))) wanted |= 1u << cpu;
  }
  return wanted ? wanted : 1u << HMOE_CPU_PORTABLE;
}

bool hmoec_session_jit(hmoec_session *session, const hmoec_options *options, bool every_version) {
  const char *forced = options->cpu ? options->cpu : getenv("HMOE_CPU");
  char *bytes = NULL;
  size_t size = 0;
  bool ok = generate(session, options, wanted_versions(session, forced && *forced ? forced : NULL, every_version), HMOEC_CPU_OBJECT,
                     &bytes, &size) &&
            hmoec_object_load(session->unit.name, bytes, size, session->diagnostics, &session->loaded, &session->object);
  free(bytes);
  return ok;
}

bool hmoec_runtime_error(hmoec_diagnostics *diagnostics, hmoe_status status) {
  if (status == HMOE_UNSUPPORTED || status == HMOE_OUT_OF_MEMORY) return hmoec_machine_error(diagnostics, "%s", hmoe_last_error());
  return hmoec_error(diagnostics, (hmoec_location){0}, "%s", hmoe_last_error());
}

double hmoec_clock_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* A line that is written over, on a terminal, once packing takes longer than a second. */
typedef struct pack_progress {
  double begun;
  bool drawn;
} pack_progress;

static void show_packing(void *context, uint64_t done_bytes, uint64_t total_bytes) {
  enum { WIDTH = 30 };
  pack_progress *p = context;
  if (hmoec_clock_seconds() - p->begun < 1 || !total_bytes) return;
  char bar[WIDTH + 1] = {0};
  memset(bar, '.', WIDTH);
  memset(bar, '#', (size_t)((double)WIDTH * (double)done_bytes / (double)total_bytes));
  fprintf(stderr, "\rpacking [%s] %.1f of %.1f GB ", bar, (double)done_bytes / 1e9, (double)total_bytes / 1e9);
  p->drawn = true;
}

static void print_note(void *context, const char *message) { hmoec_note(context, (hmoec_location){0}, "%s", message); }

/* Opens, or with a path packs. */
static bool use_weights(hmoec_session *session, const hmoec_options *options, const char *weights, const char *cpu,
                        const char *pack_path, hmoe_model **out_model) {
  hmoe_options open_options = {.struct_size = sizeof open_options,
                               .threads = (uint32_t)options->threads,
                               .flags = HMOE_VERIFY_WEIGHTS, /* a tool may take the time */
                               .cpu = cpu,
                               .note = print_note,
                               .note_context = session->diagnostics};
  pack_progress progress = {.begun = hmoec_clock_seconds()};
  if (isatty(STDERR_FILENO)) {
    open_options.progress = show_packing;
    open_options.progress_context = &progress;
  }
  hmoe_weights source = {.kind = HMOE_WEIGHTS_PATH, .path = weights};
  hmoe_status status = pack_path ? hmoe_model_pack(session->object, &source, &open_options, pack_path)
                                 : hmoe_model_open(session->object, &source, &open_options, out_model);
  if (progress.drawn) fputs("\r\033[K", stderr);
  return status == HMOE_OK ? true : hmoec_runtime_error(session->diagnostics, status);
}

bool hmoec_session_open(hmoec_session *session, const hmoec_options *options, const char *weights, const char *cpu,
                        hmoe_model **out_model) {
  return use_weights(session, options, weights, cpu, NULL, out_model);
}

bool hmoec_session_pack(hmoec_session *session, const hmoec_options *options, const char *weights, const char *path) {
  return use_weights(session, options, weights, options->cpu, path, NULL);
}

void hmoec_session_deinit(hmoec_session *session) {
  hmoec_loaded_destroy(session->loaded);
  hmoec_unit_deinit(&session->unit);
  if (!mlirModuleIsNull(session->module)) mlirModuleDestroy(session->module);
  if (!mlirContextIsNull(session->context)) {
    mlirContextDetachDiagnosticHandler(session->context, session->handler);
    hmoec_context_destroy(session->context);
  }
  *session = (hmoec_session){0};
}

bool hmoec_make_temporary(const char *stem, char out_path[HMOEC_TEMPORARY_CHARS], hmoec_diagnostics *diagnostics) {
  const char *directory = getenv("TMPDIR");
  if (!directory || !*directory) directory = "/tmp";
  int written = snprintf(out_path, HMOEC_TEMPORARY_CHARS, "%s/hmoec-%s-XXXXXX", directory, stem);
  errno = ENAMETOOLONG;
  int fd = written > 0 && written < HMOEC_TEMPORARY_CHARS ? mkstemp(out_path) : -1;
  if (fd < 0) return hmoec_machine_error(diagnostics, "cannot make a temporary file in %s: %s", directory, strerror(errno));
  close(fd);
  return true;
}

bool hmoec_make_directory(const char *path, hmoec_diagnostics *diagnostics) {
  char *copy = strdup(path);
  if (!copy) return hmoec_machine_error(diagnostics, "out of memory");
  bool ok = true;
  for (char *at = copy + 1; ok; at++) {
    char end = *at;
    if (end && end != '/') continue;
    *at = 0;
    struct stat info;
    if (mkdir(copy, 0777) != 0 && !(errno == EEXIST && stat(copy, &info) == 0 && S_ISDIR(info.st_mode)))
      ok = hmoec_error(diagnostics, (hmoec_location){.file = path}, "cannot make this directory: %s",
                       strerror(errno == EEXIST ? ENOTDIR : errno));
    *at = end;
    if (!end) break;
  }
  free(copy);
  return ok;
}

bool hmoec_write_file(const char *path, const char *bytes, size_t size, hmoec_diagnostics *diagnostics) {
  if (strcmp(path, "-") == 0) {
    if (fwrite(bytes, 1, size, stdout) == size && fflush(stdout) == 0) return true;
    return hmoec_error(diagnostics, (hmoec_location){0}, "cannot write to standard output: %s", strerror(errno));
  }
  hmoec_output_file file;
  if (!hmoec_output_file_open(path, diagnostics, &file)) return false;
  fwrite(bytes, 1, size, file.stream);
  return hmoec_output_file_commit(&file);
}

size_t hmoec_session_versions(const hmoec_session *session, const char *out_names[HMOE_CPU_COUNT]) {
  size_t count = 0;
  for (int cpu = HMOE_CPU_COUNT - 1; cpu >= HMOE_CPU_PORTABLE; cpu--)
    if (session->object->kernels[cpu] && !hmoe_cpu_lacks(cpu)) out_names[count++] = hmoe_cpu_name(cpu);
  return count;
}
