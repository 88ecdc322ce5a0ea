/* The images of an object: for every chip that is asked for machine code, where ptxas is there, and PTX for what is not named; without ptxas PTX of each.
 * Chips are independent of each other, so each has a thread that makes its PTX, in a context of its own, and waits for its ptxas. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/location.h"
#include "target/cuda/object.h"

enum { NAME_SIZE = 256, VERSION_SIZE = sizeof((hmoec_made_image *)NULL)->version };

/* ---- the chips ---- */

/* Whether a list of processors, "sm_80,sm_90a", has a name; all of them are in "all", and in none. */
static bool is_listed(const char *processors, const char *name) {
  if (!processors) return true;
  for (const char *at = processors;; at++) {
    size_t length = strcspn(at, ",");
    if ((length == strlen(name) && memcmp(at, name, length) == 0) || (length == 3 && memcmp(at, "all", length) == 0)) return true;
    at += length;
    if (!*at) return false;
  }
}

/* What is made for one chip. */
typedef struct chip_job {
  hmoec_cuda_unit unit;
  MlirContext context; /* null: one of its own */
  const char *ptxas; /* "": there is none */
  hmoec_diagnostics *diagnostics; /* which only counts and keeps the first error */
  char *ptx;
  hmoec_cuda_code code;
  hmoe_function *functions; /* of the object's table, and their names */
  char *names;
  bool *wanted; /* see the unit's */
  bool ok, has_thread;
  pthread_t thread;
} chip_job;

static void run_job(chip_job *job, MlirContext context) {
  job->ok = hmoec_cuda_generate_ptx(context, &job->unit, job->diagnostics, &job->ptx) &&
            (!*job->ptxas || hmoec_cuda_assemble(job->ptxas, job->unit.chip->name, &job->ptx, job->diagnostics, &job->code));
}

static void *run_alone(void *argument) {
  chip_job *job = argument;
  MlirDialectRegistry none = mlirDialectRegistryCreate();
  MlirContext context = mlirContextCreateWithRegistry(none, /*threadingEnabled=*/false);
  mlirDialectRegistryDestroy(none);
  MlirDiagnosticHandlerID handler = hmoec_diagnostics_attach(job->diagnostics, context);
  run_job(job, context);
  mlirContextDetachDiagnosticHandler(context, handler);
  mlirContextDestroy(context);
  return NULL;
}

/* All but the first run in threads, which take no signals of the application's; where there are no more threads, one after the other. */
static void run_jobs(chip_job *jobs, size_t count) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (size_t i = 1; i < count; i++) jobs[i].has_thread = pthread_create(&jobs[i].thread, NULL, run_alone, &jobs[i]) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  run_job(&jobs[0], jobs[0].context);
  for (size_t i = 1; i < count; i++)
    if (jobs[i].has_thread) pthread_join(jobs[i].thread, NULL);
    else run_alone(&jobs[i]);
}

/* Names of kernels that there is code for, with what a launch of them takes on the chip. */
static bool list_functions(const hmoec_cuda_unit *unit, hmoe_function **out_functions, char **out_names) {
  hmoe_function *functions = *out_functions = calloc(unit->kernel_count + 1, sizeof *functions);
  char *names = *out_names = calloc(unit->kernel_count + 1, NAME_SIZE);
  if (!functions || !names) return false;
  for (size_t i = 0; i < unit->kernel_count; i++) {
    int64_t threads = unit->wanted[i] ? hmoec_cuda_threads(&unit->kernels[i], unit->chip) : 0;
    if (!threads) continue;
    snprintf(names + i * NAME_SIZE, NAME_SIZE, "%s_%zu", unit->name, i);
    functions[i] = (hmoe_function){.name = names + i * NAME_SIZE, .threads = (uint32_t)threads};
    functions[i].column_steps = hmoec_cuda_column_steps(&unit->kernels[i], unit->chip);
    functions[i].scratch_bytes = (uint64_t)hmoec_cuda_shared_bytes(&unit->kernels[i], unit->chip);
  }
  return true;
}

/* What runs need: opening is the host's. A model that has states generates. */
static uint32_t find_wanted(const hmoec_unit *unit, bool *out_kernels) {
  const char *bytes = unit->plan;
  const hmoe_plan *plan = unit->plan;
  const hmoe_plan_entry *entries = (const hmoe_plan_entry *)(const void *)(bytes + plan->entries.offset);
  uint32_t kinds = 0;
  for (uint32_t i = 1; i < plan->entries.count; i++) {
    const hmoe_plan_step *steps = (const hmoe_plan_step *)(const void *)(bytes + entries[i].steps.offset);
    for (uint32_t s = 0; s < entries[i].steps.count; s++) {
      kinds |= 1u << steps[s].kind;
      const hmoe_step_kernel *kernel = (const hmoe_step_kernel *)(const void *)(bytes + steps[s].fields.offset);
      if (steps[s].kind == HMOE_STEP_KERNEL) out_kernels[kernel->kernel] = true;
    }
    if (entries[i].needs_state) kinds |= 1u << CUDA_GENERATES;
  }
  return kinds;
}

static bool begin_job(chip_job *job, MlirContext context, const hmoec_unit *unit, const hmoec_cuda_chip *chip, const char *ptxas) {
  *job = (chip_job){.unit = {.name = unit->name,
                             .kernels = unit->kernels,
                             .kernel_count = unit->kernel_count,
                             .functions = &unit->functions,
                             .chip = chip},
                    .context = context,
                    .ptxas = ptxas,
                    .diagnostics = hmoec_diagnostics_create(NULL),
                    .wanted = calloc(unit->kernel_count + 1, sizeof(bool))};
  if (!job->diagnostics || !job->wanted) return false;
  job->unit.steps = find_wanted(unit, job->wanted);
  job->unit.wanted = job->wanted;
  return list_functions(&job->unit, &job->functions, &job->names);
}

static void end_job(chip_job *job) {
  hmoec_cuda_code_deinit(&job->code);
  hmoec_diagnostics_destroy(job->diagnostics);
  free(job->ptx);
  free(job->functions);
  free(job->names);
  free(job->wanted);
}

/* What the first chip that failed did; others fail for the same reasons. */
static bool jobs_check(const chip_job *jobs, size_t count, hmoec_diagnostics *diagnostics) {
  for (size_t i = 0; i < count; i++) {
    if (jobs[i].ok) continue;
    const char *text = hmoec_diagnostics_first(jobs[i].diagnostics);
    return hmoec_diagnostics_status(jobs[i].diagnostics) == HMOEC_MACHINE_ERROR
               ? hmoec_machine_error(diagnostics, "%s", text)
               : hmoec_error(diagnostics, (hmoec_location){0}, "%s", text);
  }
  return true;
}

/* ---- images ---- */

typedef struct image_list {
  hmoec_unit_image *at;
  char (*versions)[VERSION_SIZE];
  size_t count;
} image_list;

static void add_image(image_list *list, const chip_job *job, bool is_code) {
  char *version = list->versions[list->count];
  const char *chip = job->unit.chip->name;
  if (is_code) snprintf(version, VERSION_SIZE, "%s", chip);
  else snprintf(version, VERSION_SIZE, "compute_%s", chip + strlen("sm_"));
  hmoec_unit_image *image = &list->at[list->count++];
  *image = (hmoec_unit_image){.target = "cuda", .version = version, .functions = job->functions};
  image->code = is_code ? job->code.bytes : job->ptx;
  image->code_bytes = is_code ? job->code.size : strlen(job->ptx) + 1; /* a driver reads PTX up to its terminator */
}

/* Code of each chip, and PTX of the least one, which later chips run; without code PTX of each. */
static bool list_images(const chip_job *jobs, size_t count, image_list *out_list) {
  *out_list =
      (image_list){.at = calloc(2 * count, sizeof *out_list->at), .versions = calloc(2 * count, sizeof *out_list->versions)};
  if (!out_list->at || !out_list->versions) return false;
  for (size_t i = 0; i < count; i++)
    if (jobs[i].code.bytes) add_image(out_list, &jobs[i], true);
  for (size_t i = 0; i < count; i++)
    if (i == 0 || !jobs[i].code.bytes) add_image(out_list, &jobs[i], false);
  return true;
}

/* The images, for people; code takes what its kernels use with it. */
static bool tell_images(const image_list *list, chip_job *jobs, size_t count, hmoec_made_images *made) {
  hmoec_made_images_deinit(made);
  made->at = calloc(list->count, sizeof *made->at);
  if (!made->at) return false;
  for (size_t i = 0; i < list->count; i++) {
    hmoec_made_image *image = &made->at[made->count++];
    image->target = list->at[i].target;
    memcpy(image->version, list->versions[i], sizeof image->version);
    for (size_t j = 0; j < count; j++) {
      if (list->at[i].code != jobs[j].code.bytes) continue;
      image->kernels = jobs[j].code.kernels;
      image->kernel_count = jobs[j].code.kernel_count;
      jobs[j].code.kernels = NULL;
    }
  }
  return true;
}

static bool make_object(MlirContext context, const hmoec_unit *unit, uint32_t versions, chip_job *jobs, size_t count,
                        hmoec_diagnostics *diagnostics, char **out_bytes, size_t *out_size) {
  image_list images;
  bool ok = list_images(jobs, count, &images) || hmoec_machine_error(diagnostics, "out of memory");
  hmoec_unit both = *unit;
  both.images = images.at;
  both.image_count = images.count;
  ok =
      ok && hmoec_target_cuda.host->generate(context, &both, versions, NULL, HMOEC_OUTPUT_OBJECT, diagnostics, out_bytes, out_size);
  if (ok && unit->made) ok = tell_images(&images, jobs, count, unit->made) || hmoec_machine_error(diagnostics, "out of memory");
  free(images.at);
  free(images.versions);
  return ok;
}

/* Where the object is kept, that it has no machine code is worth a word, but not where ptxas was refused. */
static void note_no_ptxas(const hmoec_unit *unit, hmoec_diagnostics *diagnostics) {
  const char *named = getenv("HMOE_PTXAS");
  if (!unit->made || (named && *named)) return;
  hmoec_note(diagnostics, (hmoec_location){0},
             "there is no ptxas in HMOE_PTXAS, CUDA_HOME/bin, PATH or /usr/local/cuda/bin, nor one of tools/deps --cuda: the "
             "object has PTX and no machine code, and the driver makes code of it whenever a model is opened");
}

/* PTX, or code, of one chip, as the caller's. */
static void hand_over(chip_job *job, hmoec_output form, char **out_bytes, size_t *out_size) {
  char **bytes = form == HMOEC_OUTPUT_CUBIN ? &job->code.bytes : &job->ptx;
  *out_size = form == HMOEC_OUTPUT_CUBIN ? job->code.size : strlen(job->ptx);
  *out_bytes = *bytes;
  *bytes = NULL;
}

bool hmoec_cuda_generate(MlirContext context, const hmoec_unit *unit, uint32_t versions, const char *processors, hmoec_output form,
                         hmoec_diagnostics *diagnostics, char **out_bytes, size_t *out_size) {
  bool is_object = form == HMOEC_OUTPUT_OBJECT, ok = true;
  char ptxas[CUDA_PATH_BYTES] = "";
  size_t count = 0, most = 0;
  while (hmoec_cuda_chips[most].name) most++;
  if (form != HMOEC_OUTPUT_ASSEMBLY && !hmoec_cuda_ptxas_find(diagnostics, ptxas)) return false;
  if (form == HMOEC_OUTPUT_CUBIN && !*ptxas)
    return hmoec_machine_error(
        diagnostics,
        "there is no ptxas, which makes machine code of GPUs: install it by tools/deps --cuda, or name it by HMOE_PTXAS");
  if (is_object && !*ptxas) note_no_ptxas(unit, diagnostics);
  chip_job *jobs = calloc(most, sizeof *jobs);
  if (!jobs) return hmoec_machine_error(diagnostics, "out of memory");
  for (size_t i = 0; ok && i < most && (is_object || processors || !count); i++)
    if (is_listed(processors, hmoec_cuda_chips[i].name))
      ok = begin_job(&jobs[count++], context, unit, &hmoec_cuda_chips[i], ptxas) ||
           hmoec_machine_error(diagnostics, "out of memory");
  if (ok && !is_object && count > 1)
    ok = hmoec_usage_error(diagnostics, "text and machine code are of one chip, found '%s'", processors);
  if (ok) {
    run_jobs(jobs, count);
    ok = jobs_check(jobs, count, diagnostics);
  }
  if (ok && is_object) ok = make_object(context, unit, versions, jobs, count, diagnostics, out_bytes, out_size);
  else if (ok) hand_over(&jobs[0], form, out_bytes, out_size);
  for (size_t i = 0; i < count; i++) end_job(&jobs[i]);
  free(jobs);
  return ok;
}
