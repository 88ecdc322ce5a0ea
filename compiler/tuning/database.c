/* Tuning files. A file is read row by row of the tables below, in the order of its text, so that the place of every key is known; what is wrong first is said, and
 * ends it. Lists of pointers are kept in the order of the keys. Cost: of reading n log n in its length, of the rest linear. */
#include "tuning/database.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plain_text.h"
#include "support/json.h"
#include "support/output_file.h"

enum { FORMAT = 1 };

typedef hmoec_tuning_entry entry;
typedef hmoec_tuning_machine machine;

/* ---- what a file can have ---- */

static bool is_text(const char *text) {
  size_t length = text ? strlen(text) : 0;
  for (size_t i = 0; i < length; i++)
    if (text[i] < ' ' || text[i] > '~') return false;
  return length > 0 && length <= HMOEC_TUNING_MAX_TEXT;
}

static bool is_integer(int64_t value, int64_t least) { return value >= least && value <= HMOEC_TUNING_MOST; }
static bool is_number(double value) { return isfinite(value) && value >= 0; }
static bool is_time(double value) { return isfinite(value) && value > 0; }

static bool is_place(const hmoec_tuning_place *place) {
  bool ok = is_text(place->target) && is_text(place->version) && is_integer(place->threads, 1) &&
            place->cache_count <= HMOEC_TUNING_MAX_CACHES;
  for (size_t i = 0; ok && i < place->cache_count; i++) ok = is_integer(place->caches[i], 0);
  return ok;
}

/* ---- order ---- */

static int by_number(int64_t a, int64_t b) { return (a > b) - (a < b); }

static int by_place(const hmoec_tuning_place *a, const hmoec_tuning_place *b) {
  int order = strcmp(a->target, b->target);
  if (!order) order = strcmp(a->version, b->version);
  return order ? order : by_number(a->threads, b->threads);
}

static int by_caches(const hmoec_tuning_place *a, const hmoec_tuning_place *b) {
  size_t count = a->cache_count < b->cache_count ? a->cache_count : b->cache_count;
  for (size_t i = 0; i < count; i++)
    if (a->caches[i] != b->caches[i]) return by_number(a->caches[i], b->caches[i]);
  return by_number((int64_t)a->cache_count, (int64_t)b->cache_count);
}

/* All of the key but the caches. */
static int by_key(const entry *a, const entry *b) {
  int order = strcmp(a->kernel, b->kernel);
  if (!order) order = strcmp(a->format, b->format);
  if (!order) order = by_number(a->first_rows, b->first_rows);
  if (!order) order = by_number(a->last_rows, b->last_rows);
  if (!order) order = by_place(&a->place, &b->place);
  return order ? order : strcmp(a->compiler, b->compiler);
}

static int by_name(const machine *a, const machine *b) {
  int order = strcmp(a->name, b->name);
  return order ? order : by_place(&a->place, &b->place);
}

/* ---- putting ---- */

void hmoec_tuning_init(hmoec_tuning *out_tuning) { *out_tuning = (hmoec_tuning){.arena = hmoec_arena_create()}; }

void hmoec_tuning_deinit(hmoec_tuning *tuning) {
  hmoec_arena_destroy(tuning->arena);
  *tuning = (hmoec_tuning){.arena = NULL};
}

/* A list of pointers with room for one more at `at`. */
static void *with_gap(hmoec_arena *arena, void *list, size_t count, size_t *capacity, size_t at) {
  if (count == *capacity) {
    *capacity = count ? 2 * count : 8;
    list = hmoec_arena_grow(arena, list, count, *capacity, sizeof(void *));
  }
  char *gap = (char *)list + at * sizeof(void *);
  memmove(gap + sizeof(void *), gap, (count - at) * sizeof(void *));
  return list;
}

static void remove_at(void *list, size_t *count, size_t at) {
  char *gap = (char *)list + at * sizeof(void *);
  memmove(gap, gap + sizeof(void *), (--*count - at) * sizeof(void *));
}

static hmoec_location kept_location(hmoec_arena *arena, hmoec_location at) {
  if (at.file) at.file = hmoec_arena_strdup(arena, at.file);
  return at;
}

static hmoec_tuning_place kept_place(hmoec_arena *arena, const hmoec_tuning_place *place) {
  hmoec_tuning_place kept = {.target = hmoec_arena_strdup(arena, place->target),
                             .version = hmoec_arena_strdup(arena, place->version),
                             .threads = place->threads,
                             .cache_count = place->cache_count};
  memcpy(kept.caches, place->caches, place->cache_count * sizeof *kept.caches);
  return kept;
}

/* By name; false where a name is there twice. Names are the first field of both. */
static int by_first_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static bool sort_names(void *values, size_t count, size_t bytes) {
  if (count) qsort(values, count, bytes, by_first_text);
  for (size_t i = 1; i < count; i++)
    if (by_first_text((char *)values + (i - 1) * bytes, (char *)values + i * bytes) == 0) return false;
  return true;
}

bool hmoec_tuning_put(hmoec_tuning *tuning, const hmoec_tuning_entry *new) {
  bool ok = is_text(new->kernel) && is_text(new->format) && is_text(new->compiler) && is_integer(new->first_rows, 1) &&
            is_integer(new->last_rows, new->first_rows) && is_place(&new->place) && new->knob_count <= HMOEC_TUNING_MAX_VALUES &&
            is_time(new->default_ns) && is_time(new->tuned_ns) && is_time(new->low) && is_time(new->high) && new->low <= new->high;
  for (size_t i = 0; ok && i < new->knob_count; i++) ok = is_text(new->knobs[i].name) && is_integer(new->knobs[i].value, 0);
  if (!ok) return false;
  hmoec_arena *arena = tuning->arena;
  hmoec_tuning_knob *knobs = hmoec_arena_alloc_array(arena, new->knob_count, sizeof *knobs);
  for (size_t i = 0; i < new->knob_count; i++)
    knobs[i] = (hmoec_tuning_knob){.name = hmoec_arena_strdup(arena, new->knobs[i].name),
                                   .value = new->knobs[i].value,
                                   .at = kept_location(arena, new->knobs[i].at)};
  if (!sort_names(knobs, new->knob_count, sizeof *knobs)) return false;
  entry *kept = hmoec_arena_alloc(arena, sizeof *kept);
  *kept = *new;
  kept->kernel = hmoec_arena_strdup(arena, new->kernel);
  kept->format = hmoec_arena_strdup(arena, new->format);
  kept->compiler = hmoec_arena_strdup(arena, new->compiler);
  kept->place = kept_place(arena, &new->place);
  kept->at = kept_location(arena, new->at);
  kept->knobs = knobs;

  size_t at = 0, end = tuning->entry_count; /* behind all that are not after it */
  while (at < end) {
    size_t middle = (at + end) / 2;
    if (by_key(tuning->entries[middle], kept) <= 0) at = middle + 1;
    else end = middle;
  }
  for (size_t i = at; i > 0 && by_key(tuning->entries[i - 1], kept) == 0; i--)
    if (by_caches(&tuning->entries[i - 1]->place, &kept->place) == 0) {
      remove_at(tuning->entries, &tuning->entry_count, i - 1);
      at--;
      break;
    }
  tuning->entries = with_gap(arena, tuning->entries, tuning->entry_count++, &tuning->entry_capacity, at);
  tuning->entries[at] = kept;
  return true;
}

bool hmoec_tuning_put_machine(hmoec_tuning *tuning, const hmoec_tuning_machine *new) {
  bool ok = is_text(new->name) && is_place(&new->place) && new->number_count <= HMOEC_TUNING_MAX_VALUES;
  for (size_t i = 0; ok && i < new->number_count; i++) ok = is_text(new->numbers[i].name) && is_number(new->numbers[i].value);
  if (!ok) return false;
  hmoec_arena *arena = tuning->arena;
  hmoec_tuning_number *numbers = hmoec_arena_alloc_array(arena, new->number_count, sizeof *numbers);
  for (size_t i = 0; i < new->number_count; i++)
    numbers[i] = (hmoec_tuning_number){.name = hmoec_arena_strdup(arena, new->numbers[i].name), .value = new->numbers[i].value};
  if (!sort_names(numbers, new->number_count, sizeof *numbers)) return false;
  machine *kept = hmoec_arena_alloc(arena, sizeof *kept);
  *kept = (machine){.name = hmoec_arena_strdup(arena, new->name),
                    .place = kept_place(arena, &new->place),
                    .number_count = new->number_count,
                    .numbers = numbers,
                    .at = kept_location(arena, new->at)};
  size_t at = 0;
  while (at < tuning->machine_count && by_name(tuning->machines[at], kept) < 0) at++;
  if (at < tuning->machine_count && by_name(tuning->machines[at], kept) == 0)
    remove_at(tuning->machines, &tuning->machine_count, at);
  tuning->machines = with_gap(arena, tuning->machines, tuning->machine_count++, &tuning->machine_capacity, at);
  tuning->machines[at] = kept;
  return true;
}

void hmoec_tuning_merge(hmoec_tuning *into, const hmoec_tuning *from) {
  for (size_t i = 0; i < from->machine_count; i++) hmoec_tuning_put_machine(into, from->machines[i]);
  for (size_t i = 0; i < from->entry_count; i++) hmoec_tuning_put(into, from->entries[i]);
}

/* ---- finding ---- */

static bool matches(const char *wanted, const char *text) { return !wanted || strcmp(wanted, text) == 0; }

static bool fits(const hmoec_tuning_query *query, const entry *e) {
  return matches(query->kernel, e->kernel) && matches(query->format, e->format) && matches(query->target, e->place.target) &&
         matches(query->version, e->place.version) && matches(query->compiler, e->compiler);
}

const hmoec_tuning_entry *hmoec_tuning_find(const hmoec_tuning *tuning, const hmoec_tuning_query *query, int64_t rows,
                                            const hmoec_tuning_place *place) {
  const entry *found = NULL;
  for (size_t i = 0; i < tuning->entry_count; i++) {
    const entry *e = tuning->entries[i];
    if (fits(query, e) && e->first_rows <= rows && rows <= e->last_rows && by_place(&e->place, place) == 0 &&
        by_caches(&e->place, place) == 0)
      found = e;
  }
  return found;
}

const hmoec_tuning_entry *hmoec_tuning_next(const hmoec_tuning *tuning, const hmoec_tuning_query *query, size_t *cursor) {
  while (*cursor < tuning->entry_count) {
    size_t i = (*cursor)++;
    const entry *e = tuning->entries[i];
    bool last = i + 1 == tuning->entry_count || by_key(e, tuning->entries[i + 1]) != 0;
    if (last && fits(query, e)) return e;
  }
  return NULL;
}

const hmoec_tuning_machine *hmoec_tuning_machine_find(const hmoec_tuning *tuning, const char *name, const char *target,
                                                      const char *version, int64_t threads) {
  const machine wanted = {.name = name, .place = {.target = target, .version = version, .threads = threads}};
  for (size_t i = 0; i < tuning->machine_count; i++)
    if (by_name(tuning->machines[i], &wanted) == 0) return tuning->machines[i];
  return NULL;
}

hmoec_tuning_unused hmoec_tuning_count_unused(const hmoec_tuning *tuning, const char *target, const char *compiler,
                                              hmoec_tuning_knows knows, void *context) {
  hmoec_tuning_unused unused = {.first = NULL};
  for (size_t i = 0; i < tuning->entry_count; i++) {
    const entry *e = tuning->entries[i];
    bool known = true;
    for (size_t k = 0; knows && k < e->knob_count; k++) known = known && knows(context, e->knobs[k].name);
    size_t *counter = !matches(target, e->place.target) ? &unused.of_targets
                      : !matches(compiler, e->compiler) ? &unused.of_compilers
                      : !known                          ? &unused.of_knobs
                                                        : NULL;
    if (!counter) continue;
    if (!unused.first) unused.first = e;
    ++*counter;
  }
  return unused;
}

/* ---- reading ---- */

typedef struct reader {
  hmoec_arena *arena; /* while it is read */
  hmoec_arena *kept; /* the database's */
  hmoec_diagnostics *diagnostics;
  hmoec_json json;
  hmoec_json_keys keys;
  hmoec_location at; /* of the last key */
} reader;

/* A field of an object: `read` puts the value of the key into the structure at `offset`. */
typedef struct field {
  const char *name;
  bool (*read)(reader *r, const cJSON *value, const char *name, void *out);
  size_t offset;
} field;

static bool expected(const reader *r, const char *name, const char *what, const cJSON *found) {
  return hmoec_error(r->diagnostics, r->at, "expected %s to be %s, found %s", name, what, hmoec_json_value_string(r->arena, found));
}

static bool integer_of(const cJSON *value, int64_t least, int64_t *out) {
  double number = cJSON_IsNumber(value) ? value->valuedouble : -1;
  if (!(number >= (double)least && number <= (double)HMOEC_TUNING_MOST)) return false;
  *out = (int64_t)number;
  return (double)*out >= number && (double)*out <= number;
}

static bool read_text(reader *r, const cJSON *value, const char *name, void *out) {
  if (!cJSON_IsString(value) || !is_text(value->valuestring))
    return expected(r, name, hmoec_arena_printf(r->arena, "a text of 1 to %d characters of ASCII", HMOEC_TUNING_MAX_TEXT), value);
  *(const char **)out = hmoec_arena_strdup(r->kept, value->valuestring);
  return true;
}

static bool read_threads(reader *r, const cJSON *value, const char *name, void *out) {
  return integer_of(value, 1, out) || expected(r, name, "an integer from 1", value);
}

static bool read_time(reader *r, const cJSON *value, const char *name, void *out) {
  *(double *)out = cJSON_IsNumber(value) ? value->valuedouble : 0;
  return is_time(*(double *)out) || expected(r, name, "a number above 0", value);
}

static bool read_rows(reader *r, const cJSON *value, const char *name, void *out) {
  int64_t *rows = out;
  const cJSON *first = cJSON_IsArray(value) ? value->child : NULL, *last = first ? first->next : NULL;
  bool two = last && !last->next;
  return (two && integer_of(first, 1, &rows[0]) && integer_of(last, rows[0], &rows[1])) ||
         expected(r, name, "two integers from 1, the second not below the first", value);
}

static bool read_caches(reader *r, const cJSON *value, const char *name, void *out) {
  hmoec_tuning_place *place = out;
  bool ok = cJSON_IsArray(value);
  for (const cJSON *item = ok ? value->child : NULL; item && ok; item = item->next)
    ok = place->cache_count < HMOEC_TUNING_MAX_CACHES && integer_of(item, 0, &place->caches[place->cache_count++]);
  return ok || expected(r, name, hmoec_arena_printf(r->arena, "at most %d integers from 0", HMOEC_TUNING_MAX_CACHES), value);
}

/* How many names the object has; false, reported, if it is none, or has too many. */
static bool count_names(reader *r, const cJSON *value, const char *name, size_t *out_count) {
  *out_count = 0;
  for (const cJSON *item = cJSON_IsObject(value) ? value->child : NULL; item; item = item->next) ++*out_count;
  return (cJSON_IsObject(value) && *out_count <= HMOEC_TUNING_MAX_VALUES) ||
         expected(r, name, hmoec_arena_printf(r->arena, "an object of at most %d values", HMOEC_TUNING_MAX_VALUES), value);
}

/* The next name in the object of that name, as text that is kept. */
static const char *next_name(reader *r, const cJSON *item, const char *object) {
  r->at = hmoec_json_next_key(&r->keys);
  if (is_text(item->string)) return hmoec_arena_strdup(r->kept, item->string);
  hmoec_error(r->diagnostics, r->at, "expected names in %s to have 1 to %d characters of ASCII", object, HMOEC_TUNING_MAX_TEXT);
  return NULL;
}

static bool read_knobs(reader *r, const cJSON *value, const char *name, void *out) {
  entry *e = out;
  if (!count_names(r, value, name, &e->knob_count)) return false;
  hmoec_tuning_knob *knobs = hmoec_arena_alloc_array(r->kept, e->knob_count, sizeof *knobs), *knob = knobs;
  e->knobs = knobs;
  for (const cJSON *item = value->child; item; item = item->next, knob++) {
    if (!(knob->name = next_name(r, item, name))) return false;
    knob->at = r->at;
    if (!integer_of(item, 0, &knob->value)) return expected(r, knob->name, "an integer from 0", item);
  }
  return sort_names(knobs, e->knob_count, sizeof *knobs);
}

static bool read_numbers(reader *r, const cJSON *value, const char *name, void *out) {
  machine *m = out;
  if (!count_names(r, value, name, &m->number_count)) return false;
  hmoec_tuning_number *numbers = hmoec_arena_alloc_array(r->kept, m->number_count, sizeof *numbers), *number = numbers;
  m->numbers = numbers;
  for (const cJSON *item = value->child; item; item = item->next, number++) {
    if (!(number->name = next_name(r, item, name))) return false;
    number->value = cJSON_IsNumber(item) ? item->valuedouble : -1;
    if (!is_number(number->value)) return expected(r, number->name, "a number from 0", item);
  }
  return sort_names(numbers, m->number_count, sizeof *numbers);
}

#define PLACE(type)                                                                                                                \
  {"target", read_text, offsetof(type, place.target)}, {"version", read_text, offsetof(type, place.version)},                      \
      {"threads", read_threads, offsetof(type, place.threads)}, {                                                                  \
    "caches", read_caches, offsetof(type, place)                                                                                   \
  }

static const field machine_fields[] = {{"name", read_text, offsetof(machine, name)}, PLACE(machine), {"numbers", read_numbers, 0}};
static const field entry_fields[] = {{"kernel", read_text, offsetof(entry, kernel)},
                                     {"format", read_text, offsetof(entry, format)},
                                     {"rows", read_rows, offsetof(entry, first_rows)},
                                     PLACE(entry),
                                     {"compiler", read_text, offsetof(entry, compiler)},
                                     {"knobs", read_knobs, 0},
                                     {"default_ns", read_time, offsetof(entry, default_ns)},
                                     {"tuned_ns", read_time, offsetof(entry, tuned_ns)},
                                     {"low", read_time, offsetof(entry, low)},
                                     {"high", read_time, offsetof(entry, high)}};
enum { MACHINE_FIELDS = sizeof machine_fields / sizeof *machine_fields, ENTRY_FIELDS = sizeof entry_fields / sizeof *entry_fields };
_Static_assert(offsetof(entry, last_rows) == offsetof(entry, first_rows) + sizeof(int64_t), "rows are read as two");

static bool unknown_key(const reader *r, const char *key, const field *fields, size_t count) {
  const char *names[ENTRY_FIELDS], *all = "";
  for (size_t i = 0; i < count; i++) {
    names[i] = fields[i].name;
    all = hmoec_arena_printf(r->arena, "%s%s%s", all, i ? ", " : "", names[i]);
  }
  const char *close = hmoec_closest_name(key, names, count);
  if (close) return hmoec_error(r->diagnostics, r->at, "unknown key '%.60s'; did you mean %s?", key, close);
  return hmoec_error(r->diagnostics, r->at, "unknown key '%.60s'; expected %s", key, all);
}

/* The item `number` of the list: every field once. out_at: where it begins. */
static bool read_object(reader *r, const cJSON *object, const char *list, size_t number, const field *fields, size_t count,
                        void *out, hmoec_location *out_at) {
  bool seen[ENTRY_FIELDS] = {false};
  *out_at = r->at;
  if (!cJSON_IsObject(object))
    return expected(r, hmoec_arena_printf(r->arena, "item %zu of %s", number, list), "an object", object);
  for (const cJSON *item = object->child; item; item = item->next) {
    size_t f = 0;
    r->at = hmoec_json_next_key(&r->keys);
    if (item == object->child) *out_at = r->at;
    while (f < count && strcmp(fields[f].name, item->string) != 0) f++;
    if (f == count) return unknown_key(r, item->string, fields, count);
    seen[f] = true;
    if (!fields[f].read(r, item, fields[f].name, (char *)out + fields[f].offset)) return false;
  }
  for (size_t f = 0; f < count; f++)
    if (!seen[f]) return hmoec_error(r->diagnostics, *out_at, "item %zu of %s has no %s", number, list, fields[f].name);
  return true;
}

static int by_location(hmoec_location a, hmoec_location b) {
  return a.line != b.line ? (a.line < b.line ? -1 : 1) : by_number(a.column, b.column);
}

static int machines_in_order(const void *a, const void *b) {
  const machine *x = *(const machine *const *)a, *y = *(const machine *const *)b;
  int order = by_name(x, y);
  return order ? order : by_location(x->at, y->at);
}

static int entries_by_all(const void *a, const void *b) {
  const entry *x = *(const entry *const *)a, *y = *(const entry *const *)b;
  int order = by_key(x, y);
  if (!order) order = by_caches(&x->place, &y->place);
  return order ? order : by_location(x->at, y->at);
}

static int entries_in_order(const void *a, const void *b) {
  const entry *x = *(const entry *const *)a, *y = *(const entry *const *)b;
  int order = by_key(x, y);
  return order ? order : by_location(x->at, y->at);
}

static bool given_twice(reader *r, const char *what, hmoec_location first, hmoec_location second) {
  hmoec_error(r->diagnostics, second, "%s is given twice", what);
  hmoec_note(r->diagnostics, first, "first given here");
  return false;
}

static bool read_machines(reader *r, const cJSON *list, hmoec_tuning *out) {
  for (const cJSON *item = list->child; item; item = item->next) {
    machine *m = hmoec_arena_alloc(r->kept, sizeof *m);
    if (!read_object(r, item, "machines", out->machine_count + 1, machine_fields, MACHINE_FIELDS, m, &m->at)) return false;
    out->machines = with_gap(r->kept, out->machines, out->machine_count, &out->machine_capacity, out->machine_count);
    out->machines[out->machine_count++] = m;
  }
  if (out->machine_count) qsort(out->machines, out->machine_count, sizeof *out->machines, machines_in_order);
  for (size_t i = 1; i < out->machine_count; i++)
    if (by_name(out->machines[i - 1], out->machines[i]) == 0)
      return given_twice(r, "this machine", out->machines[i - 1]->at, out->machines[i]->at);
  return true;
}

static bool read_entries(reader *r, const cJSON *list, hmoec_tuning *out) {
  for (const cJSON *item = list->child; item; item = item->next) {
    entry *e = hmoec_arena_alloc(r->kept, sizeof *e);
    if (!read_object(r, item, "entries", out->entry_count + 1, entry_fields, ENTRY_FIELDS, e, &e->at)) return false;
    if (e->low > e->high) return hmoec_error(r->diagnostics, e->at, "expected low to be at most high, found more");
    out->entries = with_gap(r->kept, out->entries, out->entry_count, &out->entry_capacity, out->entry_count);
    out->entries[out->entry_count++] = e;
  }
  if (out->entry_count) qsort(out->entries, out->entry_count, sizeof *out->entries, entries_by_all);
  for (size_t i = 1; i < out->entry_count; i++) {
    const entry *a = out->entries[i - 1], *b = out->entries[i];
    if (by_key(a, b) == 0 && by_caches(&a->place, &b->place) == 0) return given_twice(r, "this entry", a->at, b->at);
  }
  if (out->entry_count) qsort(out->entries, out->entry_count, sizeof *out->entries, entries_in_order);
  return true;
}

/* Whether it is a tuning file, and of this version of them. */
static bool read_format(const reader *r) {
  const cJSON *format = cJSON_GetObjectItemCaseSensitive(r->json.root, "hmoec_tuning");
  hmoec_location at = hmoec_json_key_location(&r->json, "hmoec_tuning");
  int64_t number;
  if (!format)
    return hmoec_error(r->diagnostics, (hmoec_location){.file = r->json.path, .line = 1, .column = 1},
                       "expected a tuning file, with \"hmoec_tuning\": %d", FORMAT);
  if (!integer_of(format, 1, &number))
    return hmoec_error(r->diagnostics, at, "expected hmoec_tuning to be %d, found %s", FORMAT,
                       hmoec_json_value_string(r->arena, format));
  return number == FORMAT ||
         hmoec_error(r->diagnostics, at, "this is version %" PRId64 " of tuning files; expected %d, which this compiler reads",
                     number, FORMAT);
}

static bool read_root(reader *r, hmoec_tuning *out) {
  static const field lists[] = {{"hmoec_tuning", NULL, 0}, {"machines", NULL, 0}, {"entries", NULL, 0}};
  if (!read_format(r)) return false;
  r->keys = hmoec_json_keys_of(&r->json);
  for (const cJSON *item = r->json.root->child; item; item = item->next) {
    r->at = hmoec_json_next_key(&r->keys);
    bool is_machines = strcmp(item->string, "machines") == 0;
    if (strcmp(item->string, "hmoec_tuning") == 0) continue;
    if (!is_machines && strcmp(item->string, "entries") != 0) return unknown_key(r, item->string, lists, 3);
    if (!cJSON_IsArray(item)) return expected(r, item->string, "a list [ ... ]", item);
    if (!(is_machines ? read_machines(r, item, out) : read_entries(r, item, out))) return false;
  }
  return true;
}

/* text: NULL: it is in the file. */
static bool read_any(hmoec_tuning *tuning, const char *path, const char *text, size_t size, hmoec_diagnostics *diagnostics) {
  hmoec_tuning read = {.arena = tuning->arena};
  reader r = {.arena = hmoec_arena_create(), .kept = tuning->arena, .diagnostics = diagnostics};
  bool ok = text ? hmoec_json_parse(r.arena, path, text, size, diagnostics, &r.json)
                 : hmoec_json_read(r.arena, path, HMOEC_TUNING_MAX_BYTES, diagnostics, &r.json);
  r.json.path = hmoec_arena_strdup(r.kept, path); /* places have it */
  ok = ok && read_root(&r, &read);
  if (ok) *tuning = read;
  hmoec_json_deinit(&r.json);
  hmoec_arena_destroy(r.arena);
  return ok;
}

bool hmoec_tuning_read(hmoec_tuning *tuning, const char *path, hmoec_diagnostics *diagnostics) {
  return read_any(tuning, path, NULL, 0, diagnostics);
}

bool hmoec_tuning_parse(hmoec_tuning *tuning, const char *path, const char *text, size_t size, hmoec_diagnostics *diagnostics) {
  return read_any(tuning, path, text, size, diagnostics);
}

/* ---- writing ---- */

static void write_text(FILE *out, const char *text) {
  fputc('"', out);
  for (; *text; text++) {
    if (*text == '"' || *text == '\\') fputc('\\', out);
    fputc(*text, out);
  }
  fputc('"', out);
}

/* With the fewest digits that are read as the same number. */
static void write_number(FILE *out, double number) {
  char text[32];
  for (int digits = 15; digits <= 17; digits++) {
    hmoe_plain_format(text, sizeof text, "%.*g", digits, number);
    double same = hmoe_plain_number(text, NULL);
    if (same >= number && same <= number) break;
  }
  fputs(text, out);
}

static void write_place(FILE *out, const hmoec_tuning_place *place) {
  fputs("\"target\": ", out);
  write_text(out, place->target);
  fputs(", \"version\": ", out);
  write_text(out, place->version);
  fprintf(out, ", \"threads\": %" PRId64 ", \"caches\": [", place->threads);
  for (size_t i = 0; i < place->cache_count; i++) fprintf(out, "%s%" PRId64, i ? ", " : "", place->caches[i]);
  fputs("]", out);
}

static void write_machine(FILE *out, const machine *m) {
  fputs("{\"name\": ", out);
  write_text(out, m->name);
  fputs(", ", out);
  write_place(out, &m->place);
  fputs(", \"numbers\": {", out);
  for (size_t i = 0; i < m->number_count; i++) {
    fputs(i ? ", " : "", out);
    write_text(out, m->numbers[i].name);
    fputs(": ", out);
    write_number(out, m->numbers[i].value);
  }
  fputs("}}", out);
}

static void write_entry(FILE *out, const entry *e) {
  const struct {
    const char *name;
    double value;
  } times[] = {{"default_ns", e->default_ns}, {"tuned_ns", e->tuned_ns}, {"low", e->low}, {"high", e->high}};
  fputs("{\"kernel\": ", out);
  write_text(out, e->kernel);
  fputs(", \"format\": ", out);
  write_text(out, e->format);
  fprintf(out, ", \"rows\": [%" PRId64 ", %" PRId64 "], ", e->first_rows, e->last_rows);
  write_place(out, &e->place);
  fputs(", \"compiler\": ", out);
  write_text(out, e->compiler);
  fputs(", \"knobs\": {", out);
  for (size_t i = 0; i < e->knob_count; i++) {
    fputs(i ? ", " : "", out);
    write_text(out, e->knobs[i].name);
    fprintf(out, ": %" PRId64, e->knobs[i].value);
  }
  fputs("}", out);
  for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
    fprintf(out, ", \"%s\": ", times[i].name);
    write_number(out, times[i].value);
  }
  fputs("}", out);
}

/* Begins the line of an item, or ends the list behind the last. */
static void next_line(FILE *out, bool first) { fputs(first ? "\n  " : ",\n  ", out); }
static void end_list(FILE *out, bool empty) { fputs(empty ? "]" : "\n ]", out); }

static void write_all(FILE *out, const hmoec_tuning *tuning) {
  fprintf(out, "{\"hmoec_tuning\": %d,\n \"machines\": [", FORMAT);
  for (size_t i = 0; i < tuning->machine_count; i++) {
    next_line(out, i == 0);
    write_machine(out, tuning->machines[i]);
  }
  end_list(out, tuning->machine_count == 0);
  fputs(",\n \"entries\": [", out);
  for (size_t i = 0; i < tuning->entry_count; i++) {
    next_line(out, i == 0);
    write_entry(out, tuning->entries[i]);
  }
  end_list(out, tuning->entry_count == 0);
  fputs("}\n", out);
}

bool hmoec_tuning_write(const hmoec_tuning *tuning, const char *path, hmoec_diagnostics *diagnostics) {
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  if (out) write_all(out, tuning);
  bool ok = out && !ferror(out);
  if (out && fclose(out) != 0) ok = false;
  if (!ok) ok = hmoec_machine_error(diagnostics, "%s: out of memory", path);
  else if (size > HMOEC_TUNING_MAX_BYTES)
    ok = hmoec_error(diagnostics, (hmoec_location){.file = path}, "cannot write: %zu bytes, more than the %d that are read", size,
                     HMOEC_TUNING_MAX_BYTES);
  else ok = hmoec_file_write(path, text, size, diagnostics);
  free(text);
  return ok;
}
