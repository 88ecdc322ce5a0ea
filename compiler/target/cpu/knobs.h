/* The knobs of CPU schedules, by number in the target's table (target.c). */
#ifndef HMOEC_TARGET_CPU_KNOBS_H
#define HMOEC_TARGET_CPU_KNOBS_H

#include "target/cpu/codegen.h"

enum {
  CPU_ROW_STRIDE,
  CPU_ROW_STRIDE_BF16,
  CPU_AHEAD_WORDS,
  CPU_HIDE_LATENCY,
  CPU_PART_STEPS,
  CPU_FETCH_ROWS,
  CPU_TILE_ROWS, /* of every version */
  CPU_TILE_VECTORS = CPU_TILE_ROWS + HMOE_CPU_COUNT,
  CPU_TILE_ROWS_BF16 = CPU_TILE_VECTORS + HMOE_CPU_COUNT,
  CPU_TILE_VECTORS_BF16 = CPU_TILE_ROWS_BF16 + HMOE_CPU_COUNT,
  CPU_ROW_BLOCK = CPU_TILE_VECTORS_BF16 + HMOE_CPU_COUNT,
  CPU_ROW_BLOCK_BF16,
  CPU_CHUNK_PANELS,
  CPU_TASKS,
  CPU_PERCENT,
  CPU_BLOCK_ROWS,
  CPU_MOST_COLUMNS,
  CPU_PER_TOKEN_CHUNK,
  CPU_FACTORED_CHUNK,
  CPU_ROUTE_ROWS,
  CPU_COMBINE_ROWS,
  CPU_SELECT_ROWS,
  CPU_CONTRACT_ROWS,
  CPU_MAP_ROWS,
  CPU_NORM_ROWS,
  CPU_EMBED_ROWS,
  CPU_STORE_ROWS,
  CPU_QUERY_ROWS,
  CPU_KNOB_COUNT
};

/* As the target's default where the schedule says nothing. */
int64_t hmoec_cpu_knob(const hmoec_schedule *schedule, size_t number);
bool hmoec_cpu_place(MlirOperation function, MlirOperation step, const hmoec_schedule *schedule);

#endif
