#include "library/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "passes/hyper_cost.h"
#include "runtime_internal.h"

/* ---- texts that are one of some values ---- */

enum { MOST_VALUES = 64, FEW_VALUES = 8 };
typedef struct values {
  const char *at[MOST_VALUES];
  size_t count;
} values;

static void add(values *v, const char *value) {
  if (v->count < MOST_VALUES) v->at[v->count++] = value;
}

static void add_targets(const hmoec_target *target, values *v) {
  (void)target;
  for (size_t i = 0; hmoec_targets[i]; i++) add(v, hmoec_targets[i]->name);
}

static void add_versions(const hmoec_target *target, values *v) {
  for (size_t i = hmoec_code_version_count(target); i-- > 0;) add(v, target->version(i).name);
}

static void add_processors(const hmoec_target *target, values *v) {
  for (size_t i = 0; target->processors[i]; i++) add(v, target->processors[i]);
}

static void add_formats(const hmoec_target *target, values *v) {
  for (int f = 0; f < HMOEC_FORMAT_COUNT; f++)
    if (target->formats[f]) add(v, hmoec_format_name((hmoec_format)f));
}

static void add_strategies(const hmoec_target *target, values *v) {
  (void)target;
  for (int s = 0; s < HMOEC_STRATEGY_COUNT; s++) add(v, hmoec_strategy_name((hmoec_strategy)s));
}

static void add_passes(const hmoec_target *target, values *v) {
  (void)target;
  add(v, "all");
  const hmoec_pass *pass;
  for (size_t i = 0; (pass = hmoec_pass_at(i)); i++) add(v, pass->name);
}

static bool has_many_processors(const hmoec_target *target) { return target->many_processors; }

/* many: what they are together, where they are too many for an error to list. */
typedef struct text_option {
  const char *name;
  size_t field; /* of hmoec_options */
  void (*values)(const hmoec_target *target, values *out);
  const char *many;
  bool (*is_list)(const hmoec_target *target); /* whether it may be several, with commas between them; NULL: never */
} text_option;

/* The target is the first: what others may be is for it to say. */
static const text_option text_options[] = {
    {"target", offsetof(hmoec_options, target), add_targets, NULL, NULL},
    {"dtype", offsetof(hmoec_options, dtype), add_formats, NULL, NULL},
    {"strategy", offsetof(hmoec_options, strategy), add_strategies, NULL, NULL},
    {"cpu", offsetof(hmoec_options, cpu), add_versions, NULL, NULL},
    {"mcpu", offsetof(hmoec_options, mcpu), add_processors, "native or a CPU that LLVM knows", has_many_processors},
    {"print-ir-after", offsetof(hmoec_options, print_ir_after), add_passes, "a pass, or all", NULL},
};
enum { TEXT_OPTIONS = sizeof text_options / sizeof *text_options };

static const text_option *text_option_find(const char *name) {
  for (size_t i = 0; i < TEXT_OPTIONS; i++)
    if (strcmp(text_options[i].name, name) == 0) return &text_options[i];
  return NULL;
}

/* "a, b or c"; last: what stands before the last one. */
static void list_values(const values *v, const char *last, char *out, size_t size) {
  *out = 0;
  for (size_t i = 0, used = 0; i < v->count && used < size; i++)
    used += (size_t)snprintf(out + used, size - used, "%s%s", i == 0 ? "" : i + 1 == v->count ? last : ", ", v->at[i]);
}

/* name: what messages call the option behind the prefix. */
static bool value_check(hmoec_diagnostics *diagnostics, const char *prefix, const char *name, const text_option *option,
                        const hmoec_target *target, const char *found) {
  values v = {.count = 0};
  option->values(target, &v);
  if (!found) return true;
  bool is_list = option->is_list && option->is_list(target);
  char list[1024], one[256];
  for (const char *at = found;; at++) {
    size_t length = is_list ? strcspn(at, ",") : strlen(at), i = 0;
    while (i < v.count && (strlen(v.at[i]) != length || memcmp(at, v.at[i], length) != 0)) i++;
    if (i == v.count) {
      if (is_list) snprintf(one, sizeof one, "%.*s", (int)(length < sizeof one ? length : sizeof one - 1), at);
      found = is_list ? one : found;
      break;
    }
    at += length;
    if (!*at) return true;
  }
  list_values(&v, " or ", list, sizeof list);
  const char *close = hmoec_closest_name(found, v.at, v.count);
  const char *many = v.count > FEW_VALUES ? option->many : NULL;
  hmoec_usage_error(diagnostics, "expected %s%s %s, found '%s'%s%s%s", prefix, name, many ? many : list, found,
                    close ? "; did you mean " : "", close ? close : "", close ? "?" : "");
  list_values(&v, ", ", list, sizeof list);
  if (many) hmoec_note(diagnostics, (hmoec_location){0}, "%s%s takes %s", prefix, name, list);
  return false;
}

const char *hmoec_option_value(const char *option, size_t index) {
  const text_option *row = option ? text_option_find(option) : NULL;
  values v = {.count = 0};
  if (row) row->values(hmoec_targets[0], &v);
  return index < v.count ? v.at[index] : NULL;
}

/* ---- structures of a caller's ---- */

bool hmoec_struct_read(const void *given, const char *what, size_t least_bytes, size_t size, void *out,
                       hmoec_diagnostics *diagnostics) {
  size_t given_bytes = size;
  if (given) memcpy(&given_bytes, given, sizeof given_bytes);
  if (given_bytes < least_bytes || given_bytes > size || given_bytes % sizeof(void *) != 0)
    return hmoec_usage_error(diagnostics, "expected struct_size of %s to be their sizeof, at most %zu, found %zu", what, size,
                             given_bytes);
  memset(out, 0, size);
  if (given) memcpy(out, given, given_bytes);
  memcpy(out, &size, sizeof size);
  return true;
}

bool hmoec_defines_check(const hmoec_define *defines, size_t count, hmoec_diagnostics *diagnostics) {
  for (size_t i = 0; i < count; i++)
    if (!defines || !defines[i].name || !defines[i].value)
      return hmoec_usage_error(diagnostics, "expected %zu definitions, found NULL in place of %s %zu", count,
                               !defines           ? "number"
                               : !defines[i].name ? "the name of number"
                                                  : "the value of number",
                               i + 1);
  return true;
}

static bool texts_check(const char *const *texts, size_t count, const char *what, hmoec_diagnostics *diagnostics) {
  for (size_t i = 0; i < count; i++)
    if (!texts || !texts[i])
      return hmoec_usage_error(diagnostics, "expected %zu %s, found NULL in place of number %zu", count, what, i + 1);
  return true;
}

/* ---- the options ---- */

const hmoec_target *hmoec_options_target(const hmoec_options *options) {
  return options->target ? hmoec_target_find(options->target) : hmoec_targets[0];
}

const char *hmoec_options_version(const hmoec_options *options) {
  const char *cpu = options->cpu ? options->cpu : getenv("HMOE_CPU");
  return cpu && *cpu ? cpu : NULL;
}

bool hmoec_environment_check(const hmoec_options *options, const hmoe_options *open, hmoec_diagnostics *diagnostics) {
  size_t threads;
  if (!options->cpu && !value_check(diagnostics, "", "HMOE_CPU", text_option_find("cpu"), hmoec_options_target(options),
                                    hmoec_options_version(options)))
    return false;
  return open->executor || hmoe_threads_choose(open->threads, &threads) == HMOE_OK ||
         hmoec_usage_error(diagnostics, "%s", hmoe_last_error());
}

static bool options_check(const hmoec_options *o, const char *prefix, hmoec_diagnostics *diagnostics) {
  if (!hmoec_defines_check(o->defines, o->define_count, diagnostics) ||
      !texts_check(o->c_includes, o->c_include_count, "directories of c_includes", diagnostics) ||
      !texts_check(o->c_defines, o->c_define_count, "macros of c_defines", diagnostics))
    return false;
  for (size_t i = 0; i < TEXT_OPTIONS; i++) {
    const char *found = *(const char *const *)(const void *)((const char *)o + text_options[i].field);
    if (!value_check(diagnostics, prefix, text_options[i].name, &text_options[i], hmoec_options_target(o), found)) return false;
  }
  if (o->table_budget_bytes < 0 || o->tokens < 0 || o->memory_bytes < 0)
    return hmoec_usage_error(diagnostics, "expected %stable-budget, %smemory and %stokens to be at least 0", prefix, prefix,
                             prefix);
  return true;
}

bool hmoec_options_read(const hmoec_options *given, const char *prefix, hmoec_options *out_options,
                        hmoec_diagnostics *diagnostics) {
  enum { LEAST = offsetof(hmoec_options, defines) }; /* version 1 ends later; what is needed to say so */
  return hmoec_struct_read(given, "the options", LEAST, sizeof *out_options, out_options, diagnostics) &&
         options_check(out_options, prefix, diagnostics);
}

/* Where struct_size was forgotten, or is a newer one, the callback is told so; other sizes say that the structure holds anything. */
hmoec_diagnostics *hmoec_sink_create(const hmoec_options *options) {
  enum { MOST_BYTES = 4096 };
  bool ok = options && (options->struct_size == 0 ||
                        (options->struct_size >= offsetof(hmoec_options, defines) && options->struct_size <= MOST_BYTES));
  return hmoec_diagnostics_create_with(ok ? options->message : NULL, ok ? options->message_context : NULL);
}

hmoec_status hmoec_sink_failure(const hmoec_diagnostics *diagnostics) {
  hmoec_status status = diagnostics ? hmoec_diagnostics_status(diagnostics) : HMOEC_OK;
  return status == HMOEC_OK ? HMOEC_MACHINE_ERROR : status;
}

hmoec_pass_options hmoec_options_pass(const hmoec_options *options) {
  hmoec_pass_options pass = hmoec_pass_options_default();
  pass.target = hmoec_options_target(options);
  if (options->dtype) hmoec_format_find(options->dtype, &pass.dtype);
  if (options->strategy && strcmp(options->strategy, "auto") != 0) pass.strategy = options->strategy;
  pass.table_budget_bytes = options->table_budget_bytes;
  pass.memory_bytes = options->memory_bytes;
  if (options->tokens) pass.tokens = options->tokens;
  return pass;
}
