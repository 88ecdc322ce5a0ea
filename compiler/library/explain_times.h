/* The part of explain that predicts times. */
#ifndef HMOEC_LIBRARY_EXPLAIN_TIMES_H
#define HMOEC_LIBRARY_EXPLAIN_TIMES_H

#include "emit/unit.h"
#include "library/entry_time.h"
#include "library/report.h"

/* Steps of an entry, those of one kernel and as many rows together, with their time, their share, and the part of it that their bound is; then the whole, and
 * whether a search may find more. Prints nothing where the target predicts no times. False: memory is short. run: version and threads may be 0 of which the
 * machine's are taken. */
bool hmoec_explain_times(const hmoec_unit *unit, uint32_t entry, hmoec_run_case run, const hmoec_report *report);

#endif
