/* The manifest: what is in an object, as JSON, for build systems and people. */
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "emit/header.h"
#include "hmoe/abi.h"
#include "hmoe/runtime.h"
#include "ir/generation.h"
#include "plain_text.h"

static const void *at(const hmoec_unit *unit, hmoe_plan_span span) { return (const char *)unit->plan + span.offset; }

static void add_text(cJSON *object, const char *name, const hmoec_unit *unit, hmoe_plan_span span) {
  char *text = strndup(at(unit, span), span.count);
  if (text) cJSON_AddStringToObject(object, name, text);
  free(text);
}

static cJSON *dim_name(const hmoec_unit *unit, const hmoe_plan_entry *from, int64_t d) {
  int length;
  const char *name = hmoec_unit_dim_name(unit, from, d, &length);
  char *text = strndup(name, (size_t)length);
  cJSON *string = cJSON_CreateString(text ? text : "?");
  free(text);
  return string;
}

static void add_tensors(cJSON *entry, const char *name, const hmoec_unit *unit, const hmoe_plan_entry *from, hmoe_plan_span span) {
  static const char *const dtypes[] = {"f32", "i32", "i64"};
  cJSON *list = cJSON_AddArrayToObject(entry, name);
  const hmoe_plan_tensor *tensors = at(unit, span);
  for (uint32_t i = 0; i < span.count; i++) {
    cJSON *tensor = cJSON_CreateObject();
    add_text(tensor, "name", unit, tensors[i].name);
    cJSON_AddStringToObject(tensor, "dtype", dtypes[tensors[i].dtype]);
    cJSON *shape = cJSON_AddArrayToObject(tensor, "shape");
    for (uint32_t d = 0; d < tensors[i].rank; d++)
      cJSON_AddItemToArray(shape, tensors[i].shape[d] < 0 ? dim_name(unit, from, -1 - tensors[i].shape[d])
                                                          : cJSON_CreateNumber((double)tensors[i].shape[d]));
    if (tensors[i].optional) cJSON_AddNumberToObject(tensor, "default", (double)tensors[i].fill);
    cJSON_AddItemToArray(list, tensor);
  }
}

/* Of every step the number of the kernel that it runs, as in the kernel's name; null: it runs none, or what is the same in all objects. */
static void add_step_kernels(cJSON *entry, const hmoec_unit *unit, hmoe_plan_span span) {
  const hmoe_plan_step *steps = at(unit, span);
  cJSON *list = cJSON_AddArrayToObject(entry, "step_kernels");
  for (uint32_t i = 0; i < span.count; i++) {
    const hmoe_step_kernel *kernel = at(unit, steps[i].fields);
    cJSON_AddItemToArray(list, steps[i].kind == HMOE_STEP_KERNEL ? cJSON_CreateNumber(kernel->kernel) : cJSON_CreateNull());
  }
}

static void add_entries(cJSON *root, const hmoec_unit *unit) {
  const hmoe_plan *plan = unit->plan;
  const hmoe_plan_entry *entries = at(unit, plan->entries);
  cJSON *list = cJSON_AddArrayToObject(root, "entries");
  for (uint32_t i = 1; i < plan->entries.count; i++) {
    cJSON *entry = cJSON_CreateObject();
    add_text(entry, "name", unit, entries[i].name);
    add_tensors(entry, "inputs", unit, &entries[i], entries[i].inputs);
    add_tensors(entry, "outputs", unit, &entries[i], entries[i].outputs);
    if (entries[i].needs_state) cJSON_AddBoolToObject(entry, "state", true);
    cJSON_AddNumberToObject(entry, "steps", entries[i].steps.count);
    add_step_kernels(entry, unit, entries[i].steps);
    cJSON_AddItemToArray(list, entry);
  }
}

static void add_params(cJSON *root, const hmoec_unit *unit) {
  const hmoe_plan *plan = unit->plan;
  const hmoe_plan_param *params = at(unit, plan->params);
  cJSON *list = cJSON_AddArrayToObject(root, "parameters");
  for (uint32_t i = 0; i < plan->params.count; i++) {
    cJSON *param = cJSON_CreateObject();
    add_text(param, "key", unit, params[i].key);
    cJSON_AddNumberToObject(param, "count", params[i].count);
    cJSON *shape = cJSON_AddArrayToObject(param, "shape");
    for (uint32_t d = 0; d < params[i].rank; d++) cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)params[i].shape[d]));
    cJSON_AddItemToArray(list, param);
  }
}

/* What the model says about generation: tokens and words as lists. */
static void add_generation(cJSON *root, const hmoec_unit *unit) {
  const hmoe_plan *plan = unit->plan;
  const hmoe_plan_setting *settings = at(unit, plan->generation);
  cJSON *object = cJSON_AddObjectToObject(root, "generation");
  for (uint32_t i = 0; i < plan->generation.count; i++) {
    const char *name = hmoec_setting_name(settings[i].setting);
    const int64_t *values = at(unit, settings[i].values);
    double number;
    cJSON *list = NULL;
    switch (hmoec_setting_kind_of(settings[i].setting)) {
    case HMOEC_SETTING_NUMBER:
      memcpy(&number, values, sizeof number);
      cJSON_AddNumberToObject(object, name, number);
      break;
    case HMOEC_SETTING_FLAG: cJSON_AddBoolToObject(object, name, values[0] != 0); break;
    case HMOEC_SETTING_STOPPING:
      if (values[0] == 2) cJSON_AddStringToObject(object, name, "never");
      else cJSON_AddBoolToObject(object, name, values[0] != 0);
      break;
    case HMOEC_SETTING_INTEGER: cJSON_AddNumberToObject(object, name, (double)values[0]); break;
    case HMOEC_SETTING_TOKEN:
    case HMOEC_SETTING_TOKENS:
      list = cJSON_AddArrayToObject(object, name);
      for (uint32_t v = 0; v < settings[i].values.count; v++) cJSON_AddItemToArray(list, cJSON_CreateNumber((double)values[v]));
      break;
    case HMOEC_SETTING_WORDS: {
      list = cJSON_AddArrayToObject(object, name);
      cJSON *word = NULL;
      for (uint32_t v = 0; v < settings[i].values.count; v++) {
        if (!word) cJSON_AddItemToArray(list, word = cJSON_CreateArray());
        if (values[v] == HMOEC_WORD_END) word = NULL;
        else cJSON_AddItemToArray(word, cJSON_CreateNumber((double)values[v]));
      }
      break;
    }
    }
  }
}

/* Scalar functions of the model, written in C or by hand. */
static void add_functions(cJSON *root, const hmoec_scalar_library *functions) {
  cJSON *list = cJSON_AddArrayToObject(root, "functions");
  for (size_t i = 0; i < functions->count; i++)
    cJSON_AddItemToArray(list, cJSON_CreateString(hmoec_scalar_reference(functions->programs[i].name)));
}

/* Of each family its knobs, and their values. */
static void add_schedule(cJSON *root, const hmoec_unit *unit) {
  cJSON *schedule = cJSON_AddObjectToObject(root, "schedule");
  for (size_t i = 0; i < hmoec_target_knob_count(unit->target); i++) {
    const hmoec_knob *knob = &hmoec_target_knobs(unit->target)[i];
    cJSON *of = cJSON_GetObjectItem(schedule, knob->of);
    if (!of) of = cJSON_AddObjectToObject(schedule, knob->of);
    cJSON_AddNumberToObject(of, knob->name, (double)hmoec_knob_at(unit->target, &unit->schedule, i));
  }
}

static cJSON *add_image(cJSON *list, const char *target, const char *version) {
  cJSON *image = cJSON_CreateObject();
  cJSON_AddStringToObject(image, "target", target);
  cJSON_AddStringToObject(image, "version", version);
  cJSON_AddItemToArray(list, image);
  return image;
}

/* As they are in the object: the host's, then those of other machines. */
static void add_images(cJSON *root, const hmoec_unit *unit, uint32_t versions, const hmoec_made_images *images) {
  cJSON *list = cJSON_AddArrayToObject(root, "images");
  const hmoec_target *host = unit->target->host ? unit->target->host : unit->target;
  for (size_t v = 0; v < hmoec_code_version_count(host); v++)
    if (versions & 1u << v) add_image(list, host->name, host->version(v).name);
  for (size_t i = 0; i < images->count; i++) {
    const hmoec_made_image *made = &images->at[i];
    cJSON *image = add_image(list, made->target, made->version);
    if (!made->kernel_count) continue;
    cJSON *kernels = cJSON_AddArrayToObject(image, "kernels");
    for (size_t k = 0; k < made->kernel_count; k++) {
      cJSON *kernel = cJSON_CreateObject();
      cJSON_AddStringToObject(kernel, "name", made->kernels[k].name);
      cJSON_AddNumberToObject(kernel, "registers", (double)made->kernels[k].registers);
      cJSON_AddNumberToObject(kernel, "shared_bytes", (double)made->kernels[k].shared_bytes);
      cJSON_AddItemToArray(kernels, kernel);
    }
  }
}

char *hmoec_manifest_print(const hmoec_unit *unit, uint32_t versions, const hmoec_made_images *images,
                           const char *const *strategies, size_t strategy_count, size_t *out_size) {
  const hmoe_plan *plan = unit->plan;
  cJSON *root = cJSON_CreateObject();
  cJSON_AddStringToObject(root, "model", unit->name);
  cJSON_AddStringToObject(root, "hmoec", HMOE_VERSION);
  cJSON_AddNumberToObject(root, "abi", HMOE_ABI_VERSION);
  cJSON_AddStringToObject(root, "target", unit->target->name);
  cJSON_AddStringToObject(root, "dtype", hmoec_format_name(unit->dtype));
  char layout[17];
  snprintf(layout, sizeof layout, "%016llx", (unsigned long long)plan->layout);
  cJSON_AddStringToObject(root, "layout", layout);
  cJSON_AddNumberToObject(root, "weight_bytes", (double)plan->weight_bytes);
  cJSON_AddNumberToObject(root, "kernels", (double)unit->kernel_count);
  add_entries(root, unit);
  add_params(root, unit);
  if (plan->generation.count) add_generation(root, unit);
  cJSON *list = cJSON_AddArrayToObject(root, "strategies");
  for (size_t i = 0; i < strategy_count; i++) cJSON_AddItemToArray(list, cJSON_CreateString(strategies[i]));
  add_functions(root, &unit->functions);
  add_schedule(root, unit);
  add_images(root, unit, versions, images);
  char *printed = hmoe_plain_json_print(root, true);
  cJSON_Delete(root);
  if (!printed) return NULL;
  size_t size = strlen(printed);
  char *text = malloc(size + 2);
  if (text) {
    memcpy(text, printed, size);
    memcpy(text + size, "\n", 2);
    *out_size = size + 1;
  }
  cJSON_free(printed);
  return text;
}
