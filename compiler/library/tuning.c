#include "library/tuning.h"

#include <stdio.h>
#include <string.h>

#include <xxhash.h>

#include "kernel/family.h"

const char *hmoec_unit_tuning_name(const hmoec_unit *unit, char buffer[HMOEC_OBJECT_NAME_CHARS]) {
  uint64_t hash = 0;
  char signature[HMOEC_KERNEL_CHARS];
  for (size_t i = 0; i < unit->kernel_count; i++) {
    hmoec_kernel_signature(&unit->kernels[i], &unit->functions, signature);
    hash = XXH3_64bits_withSeed(signature, strlen(signature), hash);
  }
  snprintf(buffer, HMOEC_OBJECT_NAME_CHARS, "object %016llx", (unsigned long long)hash);
  return buffer;
}

/* NULL: there is none of that name. */
static const hmoec_knob *knob_find(const hmoec_target *target, const char *name) {
  size_t number = hmoec_knob_find(target, name, strlen(name));
  return number < hmoec_target_knob_count(target) ? &hmoec_target_knobs(target)[number] : NULL;
}

static bool knows(void *context, const char *knob) { return knob_find(context, knob) != NULL; }

bool hmoec_machine_from_tuning(const hmoec_target *target, const hmoec_tuning_machine *from, hmoec_machine *out_machine) {
  const hmoec_target *known = target->machines ? target : target->host;
  if (strcmp(from->place.target, target->name) != 0 || !known || !known->machines) return false;
  hmoec_machine *m = out_machine;
  *m = *hmoec_target_machine(target);
  snprintf(m->name, sizeof m->name, "%s", from->name);
  size_t version = hmoec_code_version_find(known, from->place.version);
  if (version < hmoec_code_version_count(known)) m->version = version;
  m->threads = (uint32_t)from->place.threads;
  for (size_t i = 0; i < HMOEC_CACHE_LEVELS && i < from->place.cache_count; i++)
    m->cache_bytes[i] = (uint64_t)from->place.caches[i];
  for (size_t i = 0; i < known->number_count; i++)
    for (size_t n = 0; n < from->number_count; n++)
      if (strcmp(known->numbers[i].name, from->numbers[n].name) == 0) m->number[i] = from->numbers[n].value;
  return true;
}

/* One note for all that a compilation has no use for. */
static void say_unused(hmoec_session *session) {
  const hmoec_target *target = session->pass.target;
  hmoec_tuning_unused unused =
      hmoec_tuning_count_unused(&session->tuning, target->name, HMOE_VERSION, knows, (void *)(uintptr_t)target);
  if (!unused.first) return;
  hmoec_note(session->diagnostics, unused.first->at,
             "%zu entries are left out: %zu of other targets, %zu that other versions of hmoec measured, %zu with knobs that "
             "target %s does not have",
             unused.of_targets + unused.of_compilers + unused.of_knobs, unused.of_targets, unused.of_compilers, unused.of_knobs,
             target->name);
}

/* Values that the target has a knob for are such as it takes. */
static bool values_check(hmoec_session *session) {
  const hmoec_target *target = session->pass.target;
  for (size_t e = 0; e < session->tuning.entry_count; e++) {
    const hmoec_tuning_entry *entry = session->tuning.entries[e];
    for (size_t i = 0; i < entry->knob_count && strcmp(entry->place.target, target->name) == 0; i++) {
      const hmoec_tuning_knob *value = &entry->knobs[i];
      const hmoec_knob *knob = knob_find(target, value->name);
      if (knob && (value->value < knob->least || value->value > knob->most))
        return hmoec_error(session->diagnostics, value->at, "expected %s to be from %lld to %lld, found %lld", value->name,
                           (long long)knob->least, (long long)knob->most, (long long)value->value);
    }
  }
  return true;
}

bool hmoec_session_tuning_read(hmoec_session *session) {
  const char *path = session->options.tuning;
  hmoec_tuning_init(&session->tuning);
  if (!path) return true;
  if (!*path) return hmoec_usage_error(session->diagnostics, "expected the path of a tuning file, found ''");
  if (!hmoec_tuning_read(&session->tuning, path, session->diagnostics)) return false;
  if (!values_check(session)) return false;
  say_unused(session);
  session->pass.tuning = &session->tuning;
  for (size_t i = 0; i < session->tuning.machine_count && !session->has_machine; i++)
    session->has_machine = hmoec_machine_from_tuning(session->pass.target, session->tuning.machines[i], &session->machine);
  return true;
}

/* Whether something was measured of the object, or of one of its kernels. */
static bool fits(const hmoec_session *session, hmoec_tuning_query query) {
  char signature[HMOEC_KERNEL_CHARS];
  size_t cursor = 0;
  bool found = hmoec_tuning_next(&session->tuning, &query, &cursor);
  for (size_t i = 0; i < session->unit.kernel_count && !found; i++) {
    query.kernel = hmoec_kernel_signature(&session->unit.kernels[i], &session->unit.functions, signature);
    cursor = 0;
    found = hmoec_tuning_next(&session->tuning, &query, &cursor);
  }
  return found;
}

bool hmoec_session_tuning_apply(hmoec_session *session, bool *out_changed) {
  const hmoec_target *target = session->pass.target;
  char name[HMOEC_OBJECT_NAME_CHARS];
  *out_changed = false;
  if (!session->pass.tuning) return true;
  const hmoec_tuning_query query = {.kernel = hmoec_unit_tuning_name(&session->unit, name),
                                    .format = hmoec_format_name(session->unit.dtype),
                                    .target = target->name,
                                    .compiler = HMOE_VERSION};
  hmoec_schedule schedule = session->unit.schedule;
  const hmoec_tuning_entry *entry;
  if (session->tuning.entry_count && !fits(session, query))
    hmoec_note(session->diagnostics, (hmoec_location){.file = session->options.tuning},
               "nothing of it was measured with the kernels of %s in %s", session->unit.name,
               hmoec_format_name(session->unit.dtype));
  for (size_t cursor = 0; (entry = hmoec_tuning_next(&session->tuning, &query, &cursor));)
    for (size_t i = 0; i < entry->knob_count; i++) {
      size_t number = hmoec_knob_find(target, entry->knobs[i].name, strlen(entry->knobs[i].name)), tried = 0;
      while (tried < target->tried_count && (target->tried[tried].knob != number || target->tried[tried].of_steps)) tried++;
      if (tried == target->tried_count) continue;
      *out_changed = *out_changed || schedule.value[number] != entry->knobs[i].value;
      schedule.value[number] = entry->knobs[i].value;
    }
  if (*out_changed) hmoec_schedule_write(mlirModuleGetOperation(session->planned), target, &schedule);
  return true;
}
