/* What a compilation takes from a tuning file: values for its steps (passes/apply_tuning.c), values for all of its code, and the machine that it was measured on. */
#ifndef HMOEC_LIBRARY_TUNING_H
#define HMOEC_LIBRARY_TUNING_H

#include "library/session.h"

/* The kernel of an entry whose knobs are those of a whole object: "object " and a hash of its kernels' signatures. */
enum { HMOEC_OBJECT_NAME_CHARS = 32 };
const char *hmoec_unit_tuning_name(const hmoec_unit *unit, char buffer[HMOEC_OBJECT_NAME_CHARS]);

/* Reads the options' file, if there is one, says once what of it fits nothing, and tells the passes. */
bool hmoec_session_tuning_read(hmoec_session *session);
/* Of a planned unit: sets what its code as a whole is better compiled with, in the planned module. *out_changed: the unit is to be made again. */
bool hmoec_session_tuning_apply(hmoec_session *session, bool *out_changed);

/* A machine of a tuning file; what it leaves out is as of the target's first. False: it is of another target. */
bool hmoec_machine_from_tuning(const hmoec_target *target, const hmoec_tuning_machine *from, hmoec_machine *out_machine);

#endif
