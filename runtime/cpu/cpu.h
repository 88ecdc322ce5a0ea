/* What the files of the CPU device share. It is the one device that reads what steps have written: counts of blocks, groups and sets, and the one
 * that packs, for checkpoints are in its memory.
 *
 *   device.c                     the table: images, memory, workspaces
 *   version.c                    which code this machine runs
 *   share.c                      whether threads share a run's steps
 *   kernel.c loop.c choose.c     a kernel's grid cut into tasks; steps once a chunk; one of two ways
 *   group.c                      rows by expert and by selection set
 *   pack_check.c                 which packs it can follow
 *   pack.c copy.c selections.c weight_embedding.c relative_bias.c   the steps that run at open
 *   tokens.c                     those over rows of tokens
 *   reorder.c                    rows of states */
#ifndef HMOE_CPU_H
#define HMOE_CPU_H

#include "device.h"
#include "hmoe/abi_cpu.h"

/* What a run has for itself: one block with its tables, and scratch. */
typedef struct hmoe_cpu_workspace {
  uint64_t self_bytes;
  uint8_t *scratch; /* threads * scratch_stride */
  uint64_t scratch_stride, scratch_bytes;
  void **pointers; /* bindings of the step that runs */
  int64_t kernel_dims[HMOE_KERNEL_DIMS_MAX]; /* dimensions of the kernel that runs */
  int32_t *loop_slots, *loop_missing; /* of the loop over groups that runs */
} hmoe_cpu_workspace;

static inline hmoe_cpu_workspace *hmoe_cpu_own(const hmoe_run *run) { return run->workspace->own; }

/* Runs tasks, on the model's workers unless the run is alone, each with scratch. */
HMOE_MUST_USE hmoe_status hmoe_cpu_parallel(hmoe_run *run, uint64_t count, hmoe_task_fn task, void *context);

/* hmoe_cpu_fair_block on the run's threads. */
enum { CPU_LEAST_BLOCK = 64 };
uint64_t hmoe_cpu_block_rows(const hmoe_run *run, uint64_t row_block, uint64_t rows);

/* The blocks that a step sees: all of the binding's, or the chunk's of the loop over groups that the step stands in; at most as many as there can be of `rows`
 * rows in so many groups. */
typedef struct hmoe_block_range {
  const hmoe_blocks *blocks;
  int64_t first, count;
} hmoe_block_range;
HMOE_MUST_USE hmoe_status hmoe_cpu_blocks(const hmoe_run *run, const hmoe_plan_step *step, uint32_t binding, uint64_t rows,
                                          uint32_t row_block, uint32_t groups, hmoe_block_range *out_range);
int64_t hmoe_block_range_rows(const hmoe_block_range *range);

/* A step's own value, or one of its tunings that fits the run. */
uint32_t hmoe_cpu_tuned(const hmoe_run *run, hmoe_plan_span tunings, uint64_t rows, uint32_t value);
/* Predicted time of a kernel's step on one thread, in picoseconds; saturating, and 0 where nobody knows. */
uint64_t hmoe_cpu_kernel_ps(const hmoe_run *run, const hmoe_step_kernel *kernel, uint64_t rows, uint64_t blocks);
/* How many parts its columns are cut into. */
uint64_t hmoe_cpu_splits(const hmoe_run *run, const hmoe_step_kernel *kernel, uint64_t rows, uint64_t blocks, uint64_t ps);

/* Around a run's steps: whether they are shared at all. See hmoe_device. */
hmoe_status hmoe_cpu_steps_begin(hmoe_run *run);
hmoe_status hmoe_cpu_steps_end(hmoe_run *run, hmoe_status status);
/* What it costs to share one more step. */
uint64_t hmoe_cpu_barrier_ps(const hmoe_run *run);
/* Whether a step that takes so long on one thread (0: nobody knows) is shared, where it can be cut into so many tasks. */
bool hmoe_cpu_shares(const hmoe_run *run, uint64_t ps, uint64_t tasks);
/* Whether a run that finds the workers of a pool asleep wakes them. late_ps: what they save of it if they are woken now; saved_ps: if they were awake;
 * pause_ns: since the last run that found them asleep. */
bool hmoe_cpu_wakes(const hmoe_sharing *sharing, uint64_t late_ps, uint64_t saved_ps, int64_t pause_ns, hmoe_rest *rest);

/* Steps, one function each. */
hmoe_status hmoe_cpu_step_kernel(hmoe_run *run, const hmoe_plan_step *step);
hmoe_status hmoe_cpu_step_group(hmoe_run *run, const hmoe_plan_step *step);
hmoe_status hmoe_cpu_step_group_sets(hmoe_run *run, const hmoe_plan_step *step);
hmoe_status hmoe_cpu_step_loop(hmoe_run *run, const hmoe_plan_step *step);
hmoe_status hmoe_cpu_step_choose(hmoe_run *run, const hmoe_plan_step *step);
hmoe_status hmoe_cpu_step_pack(hmoe_run *run, const hmoe_plan_step *step);
hmoe_status hmoe_cpu_step_copy(hmoe_run *run, const hmoe_plan_step *step);
hmoe_status hmoe_cpu_step_selections(hmoe_run *run, const hmoe_plan_step *step);
hmoe_status hmoe_cpu_step_weight_embedding(hmoe_run *run, const hmoe_plan_step *step);
hmoe_status hmoe_cpu_step_relative_bias(hmoe_run *run, const hmoe_plan_step *step);
hmoe_status hmoe_cpu_step_ids(hmoe_run *run, const hmoe_plan_step *step);
hmoe_status hmoe_cpu_step_positions(hmoe_run *run, const hmoe_plan_step *step);
hmoe_status hmoe_cpu_step_last_rows(hmoe_run *run, const hmoe_plan_step *step);
hmoe_status hmoe_cpu_step_append_mask(hmoe_run *run, const hmoe_plan_step *step);

/* See hmoe_device. */
hmoe_status hmoe_cpu_check_pack(const hmoe_plan_checker *check, const hmoe_step_pack *pack);
/* Where the columns of a pack end, behind first_column, with those between them; saturating. */
uint64_t hmoe_cpu_pack_columns_end(const hmoe_pack_destination *to);

hmoe_status hmoe_cpu_reorder(hmoe_state *state, size_t moves, uint64_t positions);

#endif
