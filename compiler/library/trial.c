/* Trials: a model measured with other values of its knobs. Knobs of steps are fields of the plan, which a trial has a copy of, so that they are set between
 * runs of one open model. Knobs of the object are in its code: each set of their values is compiled and opened once, on weights that all of them share. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "interpreter/parameters.h"
#include "ir/entry.h"
#include "kernel/family.h"
#include "library/entry_time.h"
#include "library/session.h"
#include "library/signature.h"
#include "library/tuning.h"
#include "runtime_internal.h"
#include "support/clock.h"
#include "support/paths.h"
#include "support/statistics.h"

enum { MOST_RUNS = 4096, PLAN_ALIGN = 64, MANY_TOKENS = 1000003 /* a prime that no chunk has a multiple of */ };

/* A knob, and where the target has it. */
typedef struct trial_knob {
  char *kernel; /* owned; NULL: the object's */
  char name[64];
  const hmoec_knob_tried *tried;
  int64_t value;
  int64_t rows_per_token;
} trial_knob;

/* A field of the plan that holds a knob's value. */
typedef struct plan_field {
  size_t knob, offset;
} plan_field;

/* The model with some values of the object's knobs. */
typedef struct variant {
  struct variant *next;
  int64_t *values; /* of all knobs; those of steps do not count */
  hmoec_session session;
  char *plan; /* a copy, PLAN_ALIGN-aligned, which is written to between runs */
  hmoe_model_object object;
  hmoe_model *model;
} variant;

struct hmoec_trial {
  hmoec_diagnostics *diagnostics;
  char *path, *weights, *packed, *entry; /* owned; NULL where not given */
  hmoec_options options;
  hmoec_trial_options how;
  hmoec_temporary random; /* weights of our own */
  trial_knob *knobs;
  size_t knob_count;
  plan_field *fields; /* of every variant's plan, which differ in nothing else */
  size_t field_count;
  variant *variants; /* the newest first; the last has the values that knobs have otherwise */
  hmoec_signature signature;
  int64_t tokens; /* that the data below is for; -1: there is none */
  int64_t sizes[HMOEC_MAX_SIZES];
  void *inputs[HMOEC_MAX_TENSORS], *outputs[HMOEC_MAX_TENSORS];
};

static bool no_memory(hmoec_diagnostics *diagnostics) { return hmoec_machine_error(diagnostics, "out of memory"); }

/* ---- knobs ---- */

static size_t knob_find(const hmoec_trial *t, const char *kernel, const hmoec_knob_tried *tried) {
  size_t i = 0;
  while (i < t->knob_count && !(t->knobs[i].tried == tried &&
                                (kernel ? t->knobs[i].kernel && strcmp(kernel, t->knobs[i].kernel) == 0 : !t->knobs[i].kernel)))
    i++;
  return i;
}

/* *out_number: of the knob, which is new or was there. */
static bool knob_add(hmoec_trial *t, const hmoec_unit *unit, const char *kernel, const hmoec_knob_tried *tried,
                     size_t *out_number) {
  size_t number = *out_number = knob_find(t, kernel, tried);
  if (number < t->knob_count) return true;
  trial_knob *grown = realloc(t->knobs, (number + 1) * sizeof *grown);
  if (!grown) return no_memory(t->diagnostics);
  t->knobs = grown;
  const hmoec_knob *knob = &hmoec_target_knobs(unit->target)[tried->knob];
  grown[number] = (trial_knob){.tried = tried, .value = hmoec_knob_at(unit->target, &unit->schedule, tried->knob)};
  snprintf(grown[number].name, sizeof grown[number].name, "%s.%s", knob->of, knob->name);
  if (kernel && !(grown[number].kernel = strdup(kernel))) return no_memory(t->diagnostics);
  t->knob_count++;
  return true;
}

static bool field_add(hmoec_trial *t, size_t knob, size_t offset) {
  plan_field *grown = realloc(t->fields, (t->field_count + 1) * sizeof *grown);
  if (!grown) return no_memory(t->diagnostics);
  t->fields = grown;
  grown[t->field_count++] = (plan_field){knob, offset};
  return true;
}

/* The row of the target for a knob of steps of this kind; NULL: it has none. */
static const hmoec_knob_tried *tried_of(const hmoec_target *target, const char *of) {
  for (size_t i = 0; i < target->tried_count; i++)
    if (target->tried[i].of_steps && strcmp(hmoec_target_knobs(target)[target->tried[i].knob].of, of) == 0)
      return &target->tried[i];
  return NULL;
}

static const void *at(const hmoec_unit *unit, hmoe_plan_span span) { return (const char *)unit->plan + span.offset; }

/* Rows that the step has for each token; 0: they do not follow from tokens alone, as those of chunks and of what a loop generates. */
static int64_t rows_per_token(const double *dims, const hmoe_plan_step *step) {
  double rows = step->rows_dim == HMOE_NONE ? 0 : dims[step->rows_dim] / (double)MANY_TOKENS;
  return rows <= floor(rows) ? (int64_t)rows : 0;
}

/* The knobs of a step, and where its plan has their values. A step whose rows no tokens tell is left as it is. */
static bool add_step(hmoec_trial *t, const hmoec_unit *unit, const hmoe_plan_step *step, int64_t rows) {
  bool chooses = step->kind == HMOE_STEP_CHOOSE;
  const hmoe_plan_step *named = chooses ? step + 1 : step; /* the first way's kernel */
  const hmoec_knob_tried *tried = tried_of(unit->target, chooses ? "choose" : "kernel");
  if (!tried || named->kind != HMOE_STEP_KERNEL || rows == 0) return true;
  const hmoe_step_kernel *kernel = at(unit, named->fields);
  if (!chooses && kernel->column_splits <= 1) return true;
  char text[HMOEC_KERNEL_CHARS];
  size_t number;
  size_t offset = chooses ? offsetof(hmoe_step_choose, percent) : offsetof(hmoe_step_kernel, tasks);
  if (!knob_add(t, unit, hmoec_kernel_signature(&unit->kernels[kernel->kernel], &unit->functions, text), tried, &number))
    return false;
  t->knobs[number].rows_per_token = rows;
  return field_add(t, number, step->fields.offset + offset);
}

static bool add_entry(hmoec_trial *t, const hmoec_unit *unit, uint32_t number, const hmoe_plan_entry *entry) {
  const hmoe_plan_step *steps = at(unit, entry->steps);
  double *dims = calloc((size_t)entry->dims.count + 1, sizeof *dims);
  bool ok = dims ? true : no_memory(t->diagnostics);
  if (ok) hmoec_entry_dims(unit, number, &(hmoec_run_case){.rows = 1, .tokens = MANY_TOKENS}, dims);
  for (uint32_t i = 0; ok && i < entry->steps.count; i++)
    if (steps[i].kind == HMOE_STEP_KERNEL || steps[i].kind == HMOE_STEP_CHOOSE)
      ok = add_step(t, unit, &steps[i], rows_per_token(dims, &steps[i]));
  free(dims);
  return ok;
}

static bool knobs_list(hmoec_trial *t, const hmoec_unit *unit) {
  const hmoe_plan *plan = unit->plan;
  const hmoe_plan_entry *entries = at(unit, plan->entries);
  size_t number;
  for (uint32_t e = 1; e < plan->entries.count; e++)
    if (!add_entry(t, unit, e, &entries[e])) return false;
  for (size_t i = 0; i < unit->target->tried_count; i++)
    if (!unit->target->tried[i].of_steps && !knob_add(t, unit, NULL, &unit->target->tried[i], &number)) return false;
  return t->knob_count || hmoec_usage_error(t->diagnostics, "there is nothing to tune for target %s", unit->target->name);
}

/* ---- variants ---- */

static bool same_object(const hmoec_trial *t, const int64_t *a, const int64_t *b) {
  size_t i = 0;
  while (i < t->knob_count && (t->knobs[i].kernel || a[i] == b[i])) i++;
  return i == t->knob_count;
}

static void variant_destroy(variant *v) {
  if (!v) return;
  hmoe_model_close(v->model);
  hmoec_session_deinit(&v->session);
  free(v->plan);
  free(v->values);
  free(v);
}

/* What variants are opened from: the packed file, made where it is not there; without one the weights, random ones being made once. */
static bool weights_find(hmoec_trial *t, hmoec_session *session, const hmoe_options *open, const char **out_path) {
  bool there = t->packed && access(t->packed, F_OK) == 0;
  const char *path = t->weights;
  if (!there && !path) {
    if (!t->random.path[0] && (!hmoec_temporary_open("trial", &t->random, t->diagnostics) ||
                               !hmoec_random_weights_write(session->source, t->how.seed, t->random.path, t->diagnostics)))
      return false;
    path = t->random.path;
  }
  *out_path = t->packed ? t->packed : path;
  return there || !t->packed || hmoec_session_pack(session, &(hmoe_weights){.path = path}, open, t->packed);
}

/* values: NULL: of the first variant, before knobs are known. */
static bool variant_open(hmoec_trial *t, const int64_t *values, variant *v) {
  hmoec_session *session = &v->session;
  if (!hmoec_session_init(session, &t->options, t->diagnostics)) return false;
  for (size_t i = 0; values && i < t->knob_count; i++)
    if (!t->knobs[i].kernel && values[i] != t->knobs[i].value) session->pass.schedule.value[t->knobs[i].tried->knob] = values[i];
  if (!hmoec_session_load(session, t->path) || !hmoec_session_plan(session)) return false;
  if (!values && !knobs_list(t, &session->unit)) return false;
  v->values = calloc(t->knob_count, sizeof *v->values);
  if (!v->values) return no_memory(t->diagnostics);
  for (size_t i = 0; i < t->knob_count; i++) v->values[i] = values ? values[i] : t->knobs[i].value;
  hmoe_options open = {.struct_size = sizeof open, .threads = t->how.threads};
  const char *weights;
  if (!hmoec_session_jit(session, false) || !weights_find(t, session, &open, &weights)) return false;
  size_t bytes = session->unit.plan_bytes;
  v->plan = aligned_alloc(PLAN_ALIGN, (bytes + PLAN_ALIGN - 1) / PLAN_ALIGN * PLAN_ALIGN);
  if (!v->plan) return no_memory(t->diagnostics);
  memcpy(v->plan, session->object->plan, bytes);
  v->object = *session->object;
  v->object.plan = v->plan;
  session->object = &v->object;
  return hmoec_session_open(session, &(hmoe_weights){.path = weights}, &open, &v->model);
}

/* The variant of these values, opened where it is not yet. */
static bool variant_for(hmoec_trial *t, const int64_t *values, variant **out_variant) {
  for (variant *v = t->variants; values && v; v = v->next)
    if (same_object(t, v->values, values)) return *out_variant = v, true;
  variant *v = *out_variant = calloc(1, sizeof *v);
  if (!v) return no_memory(t->diagnostics);
  if (!variant_open(t, values, v)) {
    variant_destroy(v);
    return false;
  }
  v->next = t->variants;
  t->variants = v;
  return true;
}

/* The one whose values are as otherwise. */
static variant *first_variant(const hmoec_trial *t) {
  variant *v = t->variants;
  while (v->next) v = v->next;
  return v;
}

/* Writes the steps' values into the plan. Between runs nobody reads it. */
static void set_fields(const hmoec_trial *t, variant *v, const int64_t *values) {
  for (size_t i = 0; i < t->field_count; i++) {
    size_t knob = t->fields[i].knob;
    uint32_t value = (uint32_t)(values ? values[knob] : t->knobs[knob].value);
    memcpy(v->plan + t->fields[i].offset, &value, sizeof value);
  }
}

/* ---- data ---- */

static void data_free(hmoec_trial *t) {
  for (size_t i = 0; i < HMOEC_MAX_TENSORS; i++) {
    free(t->inputs[i]);
    free(t->outputs[i]);
    t->inputs[i] = t->outputs[i] = NULL;
  }
  t->tokens = -1;
}

static bool room(hmoec_trial *t, const hmoec_signature_tensor *tensor, void **out) {
  hmoec_shape shape = hmoec_signature_shape(tensor, t->sizes);
  size_t elements = (size_t)hmoec_shape_elements(&shape);
  *out = calloc(elements ? elements : 1, hmoec_element_bytes(shape.element));
  return *out || no_memory(t->diagnostics);
}

static bool data_make(hmoec_trial *t, const variant *v, int64_t tokens) {
  if (t->tokens == tokens) return true;
  data_free(t);
  for (size_t i = 0; i < t->signature.size_count; i++) t->sizes[i] = i == 0 && t->signature.size_count > 1 ? 1 : tokens;
  for (size_t i = 0; i < t->signature.input_count; i++) {
    const hmoec_signature_tensor *input = &t->signature.inputs[i];
    hmoec_shape shape = hmoec_signature_shape(input, t->sizes);
    if (!room(t, input, &t->inputs[i])) return false;
    hmoec_random_input(hmoec_entry_find(v->session.folded, NULL), input->name, &shape, t->how.seed, t->inputs[i]);
  }
  for (size_t i = 0; i < t->signature.output_count; i++)
    if (!room(t, &t->signature.outputs[i], &t->outputs[i])) return false;
  t->tokens = tokens;
  return true;
}

/* ---- the calls ---- */

static bool copy_text(const char *text, char **out, hmoec_diagnostics *diagnostics) {
  *out = text ? strdup(text) : NULL;
  return !text || *out || no_memory(diagnostics);
}

static bool create(hmoec_trial *t, const char *path, const hmoec_options *options, const hmoec_trial_options *how) {
  if (!hmoec_options_read(options, "", &t->options, t->diagnostics) ||
      !hmoec_struct_read(how, "the trial options", offsetof(hmoec_trial_options, weights), sizeof t->how, &t->how, t->diagnostics))
    return false;
  if (!path || !*path) return hmoec_usage_error(t->diagnostics, "expected the path of a model, found %s", path ? "''" : "NULL");
  variant *first;
  return copy_text(path, &t->path, t->diagnostics) && copy_text(t->how.weights, &t->weights, t->diagnostics) &&
         copy_text(t->how.packed, &t->packed, t->diagnostics) && copy_text(t->how.entry, &t->entry, t->diagnostics) &&
         variant_for(t, NULL, &first) && hmoec_signature_read(&first->session.unit, t->entry, &t->signature, t->diagnostics) &&
         (!t->signature.needs_state ||
          hmoec_usage_error(t->diagnostics, "entry %s needs a state: it is run with others, and not by itself", t->signature.name));
}

hmoec_status hmoec_trial_create(const char *path, const hmoec_options *options, const hmoec_trial_options *trial_options,
                                hmoec_trial **out_trial) {
  hmoec_diagnostics *diagnostics = hmoec_sink_create(options);
  hmoec_trial *t = diagnostics && out_trial ? calloc(1, sizeof *t) : NULL;
  if (out_trial) *out_trial = NULL;
  if (diagnostics && !out_trial) hmoec_usage_error(diagnostics, "expected a place for the trial, found NULL");
  else if (diagnostics && !t) no_memory(diagnostics);
  if (t) *t = (hmoec_trial){.diagnostics = diagnostics, .tokens = -1};
  bool ok = t && create(t, path, options, trial_options);
  hmoec_status status = ok ? HMOEC_OK : hmoec_sink_failure(diagnostics);
  if (ok) *out_trial = t;
  else if (t) hmoec_trial_destroy(t);
  else hmoec_diagnostics_destroy(diagnostics);
  return status;
}

void hmoec_trial_destroy(hmoec_trial *t) {
  if (!t) return;
  data_free(t);
  for (variant *v = t->variants, *next; v; v = next) {
    next = v->next;
    variant_destroy(v);
  }
  for (size_t i = 0; i < t->knob_count; i++) free(t->knobs[i].kernel);
  hmoec_temporary_close(&t->random);
  free(t->knobs);
  free(t->fields);
  free(t->path);
  free(t->weights);
  free(t->packed);
  free(t->entry);
  hmoec_diagnostics_destroy(t->diagnostics);
  free(t);
}

int hmoec_trial_knob_at(const hmoec_trial *t, size_t index, hmoec_trial_knob *out_knob) {
  if (!t || !out_knob || index >= t->knob_count) return 0;
  const trial_knob *k = &t->knobs[index];
  *out_knob = (hmoec_trial_knob){k->kernel, k->name, k->value, k->tried->values, k->tried->count, k->rows_per_token};
  return 1;
}

static uint64_t cache_bytes(int name) {
  long bytes = sysconf(name);
  return bytes > 0 ? (uint64_t)bytes : 0;
}

void hmoec_trial_machine_of(const hmoec_trial *t, hmoec_trial_machine *out_machine) {
  const variant *v = first_variant(t);
  *out_machine = (hmoec_trial_machine){
      .target = v->session.unit.target->name,
      .version = hmoe_model_cpu(v->model),
      .format = hmoec_format_name(v->session.unit.dtype),
      .threads = (uint32_t)hmoe_model_threads(v->model),
      .cache_bytes = {cache_bytes(_SC_LEVEL1_DCACHE_SIZE), cache_bytes(_SC_LEVEL2_CACHE_SIZE), cache_bytes(_SC_LEVEL3_CACHE_SIZE)}};
  hmoec_unit_tuning_name(&v->session.unit, out_machine->object);
}

int hmoec_trial_predict(const hmoec_trial *t, int64_t tokens, double *out_seconds, double *out_bound) {
  *out_seconds = *out_bound = 0;
  if (!t || tokens < 1) return 1;
  const variant *v = first_variant(t);
  const hmoec_run_case run = {
      .rows = 1, .tokens = tokens, .version = (size_t)v->model->cpu, .threads = (int64_t)hmoe_model_threads(v->model)};
  hmoec_entry_time time;
  bool known = hmoec_entry_time_init(&v->session.unit, t->signature.entry, &run, &time), hopeful = true;
  if (known) {
    *out_seconds = time.seconds;
    *out_bound = time.bound;
    hopeful = hmoec_time_is_hopeful(time.seconds, time.bound);
  }
  hmoec_entry_time_deinit(&time);
  return hopeful;
}

static void wait_for(double seconds) {
  struct timespec time = {(time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds))};
  nanosleep(&time, NULL);
}

/* The values are such as the target takes. */
static bool check_values(const hmoec_trial *t, const int64_t *values) {
  for (size_t i = 0; values && i < t->knob_count; i++) {
    const hmoec_knob *knob = &hmoec_target_knobs(t->variants->session.unit.target)[t->knobs[i].tried->knob];
    if (values[i] < knob->least || values[i] > knob->most)
      return hmoec_usage_error(t->diagnostics, "expected %s to be from %lld to %lld, found %lld", t->knobs[i].name,
                               (long long)knob->least, (long long)knob->most, (long long)values[i]);
  }
  return true;
}

static bool run(hmoec_trial *t, const int64_t *values, int64_t tokens, double seconds, double pause, double *out_seconds) {
  variant *v = first_variant(t);
  if (tokens < 0 || !(seconds >= 0) || !(pause >= 0))
    return hmoec_usage_error(t->diagnostics, "expected tokens, seconds and a pause of at least 0");
  if (!check_values(t, values)) return false;
  if (values && !variant_for(t, values, &v)) return false;
  if (!data_make(t, v, tokens)) return false;
  set_fields(t, v, values);
  double times[MOST_RUNS], spent = 0;
  size_t count = 0;
  do {
    if (pause > 0) wait_for(pause);
    double begin = hmoec_clock_seconds();
    hmoe_status status = hmoe_model_run(v->model, t->signature.entry, t->sizes, (const void *const *)t->inputs, t->outputs);
    if (status != HMOE_OK) return hmoec_runtime_error(t->diagnostics, status);
    times[count] = hmoec_clock_seconds() - begin;
    spent += times[count++] + pause;
  } while (spent < seconds && count < MOST_RUNS);
  hmoec_sort(times, count);
  *out_seconds = hmoec_median(times, count);
  return true;
}

hmoec_status hmoec_trial_run(hmoec_trial *t, const int64_t *values, int64_t tokens, double seconds, double pause,
                             double *out_seconds) {
  if (!t || !out_seconds) return HMOEC_USAGE_ERROR;
  *out_seconds = 0;
  bool ok = run(t, values, tokens, seconds, pause, out_seconds);
  hmoec_status status = ok ? HMOEC_OK : hmoec_sink_failure(t->diagnostics);
  hmoec_diagnostics_forget(t->diagnostics);
  return status;
}
