/* The stamp of packed weights: what decides every byte of the weight arena, as a number. */
#ifndef HMOEC_EMIT_STAMP_H
#define HMOEC_EMIT_STAMP_H

#include "target/target.h"

/* Of a planned module: equal where entry 0 packs and computes the same from the same parameters and lays it out alike, whatever the other entries do and
 * however its work is cut. False: memory ran out. */
bool hmoec_arena_stamp(MlirModule module, const hmoec_target *target, const hmoec_scalar_library *functions, uint64_t *out_stamp);

#endif
