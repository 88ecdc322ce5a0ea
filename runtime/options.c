/* Options of open, from callers built against older or newer headers: a shorter structure leaves the rest at its defaults, a longer
 * one is taken as long as what this library does not know is zero. */
#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS_MAX = 4096 };

hmoe_status hmoe_options_read(const hmoe_options *options, hmoe_options *out_options) {
  memset(out_options, 0, sizeof *out_options);
  out_options->struct_size = sizeof *out_options;
  if (!options) return HMOE_OK;

  size_t size = options->struct_size;
  if (size < sizeof options->struct_size || size > 65536)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "options.struct_size: expected sizeof(hmoe_options) = %zu, found %zu", sizeof *options,
                     size);
  const uint8_t *bytes = (const uint8_t *)options;
  for (size_t i = sizeof *options; i < size; i++)
    if (bytes[i])
      return hmoe_fail(HMOE_INVALID_ARGUMENT, "options: a field at byte %zu is set that hmoe %s does not know", i, HMOE_VERSION);
  memcpy(out_options, options, hmoe_min(size, sizeof *options));
  out_options->struct_size = sizeof *out_options;

  if (out_options->flags & ~(uint32_t)(HMOE_VERIFY_WEIGHTS | HMOE_DEVICE_GRAPHS))
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
  size_t known = sizeof *options, size = options ? options->struct_size : known;
  memset(out_options, 0, known);
  if (!options) return HMOE_OK;
  if (size < sizeof options->struct_size || size > 65536)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "run options.struct_size: expected sizeof(hmoe_run_options) = %zu, found %zu", known,
                     size);
  const uint8_t *bytes = (const uint8_t *)options;
  for (size_t i = known; i < size; i++)
    if (bytes[i])
      return hmoe_fail(HMOE_INVALID_ARGUMENT, "run options: a field at byte %zu is set that hmoe %s does not know", i,
                       HMOE_VERSION);
  memcpy(out_options, options, hmoe_min(size, known));
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
