/* Predicted times of an entry's steps, on the unit's machine: what explain prints, and what a search goes by. Nothing is measured here.
 *
 *   step  = alone: the sum of its tasks; shared: the longest thread's tasks, taken in order, and a barrier; whichever is less
 *   bound = all tasks' arithmetic at the highest rate, or their bytes at the highest bandwidth, by all threads
 *
 * Which experts a token takes is drawn, the same way every time; a step's time is the mean of some draws. */
#ifndef HMOEC_LIBRARY_ENTRY_TIME_H
#define HMOEC_LIBRARY_ENTRY_TIME_H

#include <stdbool.h>
#include <stdint.h>

#include "emit/unit.h"

typedef struct hmoec_run_case {
  int64_t rows, tokens; /* batch rows, and tokens of each; layers: 1 row */
  int64_t past; /* tokens that a state has before the run */
  size_t version;
  int64_t threads;
  double skew; /* of routing: expert i is drawn with weight (i + 1)^-skew; 0: all alike */
  bool even; /* nothing is drawn: experts, or sets, take turns */
} hmoec_run_case;

typedef struct hmoec_step_time {
  double seconds; /* of all the times that it runs */
  double bound; /* of the same */
  double runs; /* in loops many, mostly 1; 0: the other way of a choose was taken, or there was nothing to do */
  double rows; /* of one time */
  double once; /* seconds of one time, were its way taken; 0 of loops and chooses */
  bool shared; /* among threads, in the last draw */
} hmoec_step_time;

typedef struct hmoec_entry_time {
  double seconds, bound;
  uint64_t weight_bytes; /* that the run reads */
  uint32_t step_count;
  hmoec_step_time *steps; /* owned; those inside of a loop or choose count there alone */
} hmoec_entry_time;

/* Values of the entry's dimensions, as many as it has: of a run of this size. */
void hmoec_entry_dims(const hmoec_unit *unit, uint32_t entry, const hmoec_run_case *run, double *out_values);

/* False: the target says no times of tasks, or memory is short. Deinit takes what a failed call leaves, too. */
bool hmoec_entry_time_init(const hmoec_unit *unit, uint32_t entry, const hmoec_run_case *run, hmoec_entry_time *out_time);
void hmoec_entry_time_deinit(hmoec_entry_time *time);
/* Whether there is room for what a search may find: where a time is near its bound, searches have found nothing that a measurement can tell from noise. */
bool hmoec_time_is_hopeful(double seconds, double bound);

#endif
