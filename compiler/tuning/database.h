/* Tuning files: what was measured of kernels and machines, in one JSON document with a line for each, so that it is compared and merged as text.
 *
 *   {"hmoec_tuning": 1,
 *    "machines": [
 *     {"name": "a processor", "target": "cpu", "version": "v4", "threads": 2, "caches": [49152, 2097152], "numbers": {"fma": 61.25}}
 *    ],
 *    "entries": [
 *     {"kernel": "ffn k=768 n=3072", "format": "f32", "rows": [9, 32], "target": "cpu", "version": "v4", "threads": 2, "caches": [49152, 2097152],
 *      "compiler": "0.1.0", "knobs": {"choose.percent": 115}, "default_ns": 12345, "tuned_ns": 11345, "low": 1.04, "high": 1.09}
 *    ]}
 *
 * (An entry is one line.) Nothing here knows what a knob, a number, a version or the text of a kernel means: that is the target's.
 *
 *   hmoec_tuning tuning, new;
 *   hmoec_tuning_init(&tuning);
 *   hmoec_tuning_init(&new);
 *   if (hmoec_tuning_read(&tuning, path, diagnostics) && hmoec_tuning_put(&new, &entry)) {
 *     hmoec_tuning_merge(&tuning, &new);
 *     hmoec_tuning_write(&tuning, path, diagnostics);
 *   }
 *   hmoec_tuning_deinit(&new);
 *   hmoec_tuning_deinit(&tuning);
 */
#ifndef HMOEC_TUNING_DATABASE_H
#define HMOEC_TUNING_DATABASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/arena.h"
#include "support/diagnostics.h"
#include "support/limits.h"

#define HMOEC_TUNING_MOST                                                                                                          \
  INT64_C(9007199254740992) /* of any integer: 2^53. As the last of an entry's rows: however many there are */

/* For what code it was measured, and where. */
typedef struct hmoec_tuning_place {
  const char *target, *version;
  int64_t threads;
  size_t cache_count;
  int64_t caches[HMOEC_TUNING_MAX_CACHES]; /* bytes, from the first level on */
} hmoec_tuning_place;

typedef struct hmoec_tuning_number {
  const char *name;
  double value; /* finite, not negative */
} hmoec_tuning_number;

/* One of a name, target, version and number of threads. */
typedef struct hmoec_tuning_machine {
  const char *name; /* for people */
  hmoec_tuning_place place;
  size_t number_count;
  const hmoec_tuning_number *numbers; /* in the order of their names */
  hmoec_location at; /* in the file that it was read from; else {0} */
} hmoec_tuning_machine;

typedef struct hmoec_tuning_knob {
  const char *name;
  int64_t value;
  hmoec_location at;
} hmoec_tuning_knob;

/* The key is all that stands before the knobs: one entry of each. */
typedef struct hmoec_tuning_entry {
  const char *kernel, *format;
  int64_t first_rows, last_rows; /* 1 <= first <= last */
  hmoec_tuning_place place;
  const char *compiler; /* its version */
  size_t knob_count; /* 0: nothing better than the default was found */
  const hmoec_tuning_knob *knobs; /* in the order of their names */
  double default_ns, tuned_ns; /* above 0 */
  double low, high; /* the interval of the gain, default_ns / tuned_ns: 0 < low <= high */
  hmoec_location at;
} hmoec_tuning_entry;

/* Texts and arrays are the database's, as long as it lives. Both lists are in the order of their keys, text by bytes, numbers by value; of entries that differ in
 * caches alone, what was put later is behind. */
typedef struct hmoec_tuning {
  hmoec_arena *arena;
  const hmoec_tuning_machine **machines;
  size_t machine_count, machine_capacity;
  const hmoec_tuning_entry **entries;
  size_t entry_count, entry_capacity;
} hmoec_tuning;

void hmoec_tuning_init(hmoec_tuning *out_tuning); /* empty */
void hmoec_tuning_deinit(hmoec_tuning *tuning);

/* Reads a file into an empty database. False, with the first thing that is wrong reported at its place: then it is empty still. */
bool hmoec_tuning_read(hmoec_tuning *tuning, const char *path, hmoec_diagnostics *diagnostics);
/* The same, of text with a zero behind it. */
bool hmoec_tuning_parse(hmoec_tuning *tuning, const char *path, const char *text, size_t size, hmoec_diagnostics *diagnostics);
/* The file is there whole, as it was or as it is now, at any moment; equal databases give equal bytes. False, reported, if it cannot be written, or would
 * be larger than what is read. */
bool hmoec_tuning_write(const hmoec_tuning *tuning, const char *path, hmoec_diagnostics *diagnostics);

/* Copies it in, with `at`, in the place of one with the same key. False if no file can have it: a number that is not finite or out of range, a text that is empty,
 * too long or not printable ASCII, too many of anything, a name twice. */
bool hmoec_tuning_put(hmoec_tuning *tuning, const hmoec_tuning_entry *entry);
bool hmoec_tuning_put_machine(hmoec_tuning *tuning, const hmoec_tuning_machine *machine);
/* Puts all of `from`, in its order. */
void hmoec_tuning_merge(hmoec_tuning *into, const hmoec_tuning *from);

/* What to look for; a text that is NULL fits any. */
typedef struct hmoec_tuning_query {
  const char *kernel, *format, *target, *version, *compiler;
} hmoec_tuning_query;

/* The entry for so many rows that was measured at this place; NULL: there is none. Of several, whose rows overlap, the last. */
const hmoec_tuning_entry *hmoec_tuning_find(const hmoec_tuning *tuning, const hmoec_tuning_query *query, int64_t rows,
                                            const hmoec_tuning_place *place);
/* The next entry that fits, in order, but of those that differ in caches alone the last. *cursor is 0 before the first; NULL: no more.
 *
 *   for (size_t cursor = 0; (entry = hmoec_tuning_next(&tuning, &query, &cursor));) ...
 */
const hmoec_tuning_entry *hmoec_tuning_next(const hmoec_tuning *tuning, const hmoec_tuning_query *query, size_t *cursor);
/* NULL: there is none. */
const hmoec_tuning_machine *hmoec_tuning_machine_find(const hmoec_tuning *tuning, const char *name, const char *target,
                                                      const char *version, int64_t threads);

/* Whether a target has a knob of that name. */
typedef bool (*hmoec_tuning_knows)(void *context, const char *knob);

/* Entries that a compilation has no use for, each counted once, by the first reason. */
typedef struct hmoec_tuning_unused {
  size_t of_targets; /* of other targets */
  size_t of_compilers; /* that other versions of the compiler measured */
  size_t of_knobs; /* with a knob that there is none of */
  const hmoec_tuning_entry *first; /* of all of them; NULL: there are none */
} hmoec_tuning_unused;

hmoec_tuning_unused hmoec_tuning_count_unused(const hmoec_tuning *tuning, const char *target, const char *compiler,
                                              hmoec_tuning_knows knows, void *context);

#endif
