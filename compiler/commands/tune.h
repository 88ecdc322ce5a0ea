/* hmoec tune: what its files share. A parent searches (tune_search.c) and children measure (tune_measure.c), so that a candidate that crashes or hangs ends itself alone; what was
 * found is a tuning file, and a report for people (tune_report.c). */
#ifndef HMOEC_COMMANDS_TUNE_H
#define HMOEC_COMMANDS_TUNE_H

#include "commands/commands.h"
#include "tuning/database.h"

/* ---- what is measured ---- */

enum { TUNE_MOST_KNOBS = 256, TUNE_MOST_TRIED = 8, TUNE_MOST_TURNS = 64 };

typedef struct tune_knob {
  char *kernel; /* owned; NULL: the object's */
  char name[64];
  int64_t value; /* otherwise */
  int64_t base; /* in candidates that do not try another one: the object's, once they are found, serve all buckets */
  int64_t rows_per_token, tried[TUNE_MOST_TRIED];
  size_t tried_count;
} tune_knob;

/* What a child says of the model. */
typedef struct tune_model {
  char target[32], version[32], format[16], object[64];
  int64_t threads, caches[3];
  bool realtime; /* turns had the priority of real time */
  double predicted_seconds, bound_seconds; /* of the tokens that were asked about last; 0: nobody knows */
  bool hopeful; /* the same: a search may find something */
  tune_knob knobs[TUNE_MOST_KNOBS];
  size_t knob_count;
} tune_model;
void tune_model_deinit(tune_model *model);

/* Values of all knobs, and how they did. A turn is: as otherwise, so, as otherwise again. */
typedef struct tune_candidate {
  int64_t values[TUNE_MOST_KNOBS];
  double gains[TUNE_MOST_TURNS]; /* time otherwise by time so */
  double selves[TUNE_MOST_TURNS]; /* time otherwise by time otherwise again */
  double seconds[TUNE_MOST_TURNS], default_seconds[TUNE_MOST_TURNS];
  size_t turns;
  bool failed; /* the child crashed, or took too long, at it */
} tune_candidate;

/* Of measured ratios: their median, and the ends of an interval that the true one is in with 95 % (of order statistics; all of them where they are too few). */
typedef struct tune_interval {
  double low, median, high;
} tune_interval;
tune_interval tune_interval_of(const double *ratios, size_t count);
double tune_median(const double *values, size_t count);

/* Whether a candidate is faster beyond doubt: its interval lies above 1, and above the interval of the default measured against itself. */
bool tune_is_better(const tune_candidate *candidate);

/* ---- children ---- */

typedef struct tune_job {
  const hmoec_arguments *arguments;
  const char *directory; /* for what children read, and the packed weights */
  int64_t tokens;
  size_t turns;
  double turn_seconds, pause_seconds;
  double limit_seconds; /* of a candidate */
  /* Called a few times a second; false: enough. done: candidates that were measured. */
  bool (*watch)(void *context, size_t done);
  void *watch_context;
} tune_job;

/* The knobs of the model. False after an error. */
bool tune_list(const tune_job *job, tune_model *out_model, hmoec_diagnostics *diagnostics);
/* Measures candidates, the failed ones being marked; what was measured before it was enough has its turns. False after an error: nothing can be measured. */
bool tune_measure(const tune_job *job, tune_model *model, tune_candidate *candidates, size_t count, hmoec_diagnostics *diagnostics);
/* A child: does what the file asks for, and tells its standard output. */
bool tune_child(const hmoec_arguments *arguments, const char *request, hmoec_diagnostics *diagnostics);

/* ---- the search ---- */

/* What was found for some number of tokens. */
typedef struct tune_bucket {
  int64_t tokens, first, last; /* measured at; for all from first to last */
  tune_candidate best; /* confirmed; its values are the default's where nothing better was found */
  tune_interval gain, self;
  bool found, complete; /* complete: all candidates were tried */
  bool hopeful; /* the model of times leaves room for a gain */
  size_t tried, failed;
  double default_seconds, tuned_seconds;
  double predicted_seconds, bound_seconds; /* of the default; 0: nobody knows */
} tune_bucket;

enum { TUNE_MOST_BUCKETS = 8 };

typedef struct tune_result {
  tune_model model;
  tune_bucket buckets[TUNE_MOST_BUCKETS];
  size_t bucket_count;
  bool object_found; /* knobs of the object are better than otherwise in no bucket slower, in some faster */
  tune_interval object_gain; /* geometric means over the buckets */
  bool interrupted;
} tune_result;

bool tune_search(const hmoec_arguments *arguments, tune_result *result, hmoec_diagnostics *diagnostics);
bool tune_report(const tune_result *result, const char *directory, hmoec_diagnostics *diagnostics);

#endif
