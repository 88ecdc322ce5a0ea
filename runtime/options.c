/* Options of open, from callers built against older or newer headers: a shorter structure leaves the rest at its defaults, a longer
 * one is taken as long as what this library does not know is zero. */
#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS_MAX = 4096, STRUCTURE_MAX = 65536 };

hmoe_status hmoe_structure_read(const char *name, const char *type, const void *given, size_t known, void *out) {
  const uint8_t *bytes = given;
  size_t size;
  memcpy(&size, given, sizeof size);
  if (size < sizeof size || size > STRUCTURE_MAX)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "%s.struct_size: expected sizeof(%s) = %zu, found %zu", name, type, known, size);
  for (size_t i = known; i < size; i++)
    if (bytes[i])
      return hmoe_fail(HMOE_INVALID_ARGUMENT, "%s: a field at byte %zu is set that hmoe %s does not know", name, i, HMOE_VERSION);
  memset(out, 0, known);
  memcpy(out, given, hmoe_min(size, known));
  return HMOE_OK;
}

hmoe_status hmoe_options_read(const hmoe_options *options, hmoe_options *out_options) {
  memset(out_options, 0, sizeof *out_options);
  out_options->struct_size = sizeof *out_options;
  if (!options) return HMOE_OK;
  HMOE_TRY(hmoe_structure_read("options", "hmoe_options", options, sizeof *options, out_options));
  out_options->struct_size = sizeof *out_options;

  if (out_options->flags & ~(uint32_t)(HMOE_VERIFY_WEIGHTS | HMOE_DEVICE_GRAPHS | HMOE_DEVICE_APART))
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "options.flags: unknown bits in 0x%x", out_options->flags);
  if (out_options->threads > THREADS_MAX)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "options.threads: expected at most %d, found %u", THREADS_MAX, out_options->threads);
  if (!hmoe_device_find(out_options->device))
    return hmoe_fail(HMOE_UNSUPPORTED, "options.device: expected \"cpu\", \"cuda\" or \"cuda:\" and a number, found \"%s\"",
                     out_options->device);
  const hmoe_executor *executor = out_options->executor;
  if (executor && (!executor->parallel_for || executor->threads < 1 || executor->threads > THREADS_MAX))
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "options.executor: expected parallel_for and 1 to %d threads, found %s and %zu",
                     THREADS_MAX, executor->parallel_for ? "a function" : "NULL", executor->threads);
  const hmoe_allocator *allocator = out_options->allocator;
  if (allocator && (!allocator->allocate || !allocator->release))
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "options.allocator: allocate and release must both be set");
  return HMOE_OK;
}

hmoe_status hmoe_run_options_read(const hmoe_run_options *options, hmoe_run_options *out_options) {
  memset(out_options, 0, sizeof *out_options);
  if (!options) return HMOE_OK;
  HMOE_TRY(hmoe_structure_read("run options", "hmoe_run_options", options, sizeof *options, out_options));
  if (out_options->flags & ~(uint32_t)HMOE_RUN_DEVICE_TENSORS)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "run options.flags: unknown bits in 0x%x", out_options->flags);
  return HMOE_OK;
}

static const char *const debug_words[] = {"run"};

bool hmoe_debug_enabled(const char *word) {
  const char *list = getenv("HMOE_DEBUG");
  size_t length = strlen(word);
  while (list && *list) {
    size_t item = strcspn(list, ",");
    if (item == length && !strncmp(list, word, length)) return true;
    list += item + (list[item] == ',');
  }
  return false;
}

void hmoe_debug_note_unknown(const hmoe_options *options) {
  const char *list = getenv("HMOE_DEBUG");
  for (size_t item; options->note && list && *list; list += item + (list[item] == ',')) {
    item = strcspn(list, ",");
    bool known = !item;
    for (size_t i = 0; i < sizeof debug_words / sizeof *debug_words; i++)
      known = known || (strlen(debug_words[i]) == item && !strncmp(list, debug_words[i], item));
    if (known) continue;
    char text[128];
    snprintf(text, sizeof text, "HMOE_DEBUG: expected run, found \"%.*s\"", (int)hmoe_min(item, 60), list);
    options->note(options->note_context, text);
  }
}
