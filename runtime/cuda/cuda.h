/* What the files of the CUDA device share.
 *
 *   driver.c   the driver, found at run time
 *   device.c   the table: image, memory, copies, streams
 *   upload.c   weights to the device, in chunks
 *   graph.c    the launches of a run as one
 *   queue.c    runs in streams of the caller's
 *   loop.c     loops over groups, and the books of selection caches
 *   steps.c    kernels and the steps around them, as launches on the run's stream; nothing waits for the device before the fence
 *
 * Every entry of the table makes the device's context the thread's while it works, and the one of before again when it returns. */
#ifndef HMOE_CUDA_H
#define HMOE_CUDA_H

#include <stdatomic.h>

#include "cuda/driver.h"
#include "device.h"
#include "hmoe/abi_cuda.h"

/* Code for steps that are no kernels; an image has what its model needs. */
typedef enum hmoe_cuda_code {
  HMOE_CUDA_GROUP_ONCE,
  HMOE_CUDA_GROUP_COUNT,
  HMOE_CUDA_GROUP_WRITE,
  HMOE_CUDA_GROUP_HISTORY,
  HMOE_CUDA_SETS_TOKEN,
  HMOE_CUDA_SETS_FEW,
  HMOE_CUDA_SETS_ONCE,
  HMOE_CUDA_SETS_SORT,
  HMOE_CUDA_SETS_PLACE,
  HMOE_CUDA_SETS_BLOCK,
  HMOE_CUDA_LOOP_FIND,
  HMOE_CUDA_LOOP_CHUNK,
  HMOE_CUDA_IDS,
  HMOE_CUDA_POSITIONS,
  HMOE_CUDA_LAST_ROWS,
  HMOE_CUDA_APPEND_MASK,
  HMOE_CUDA_PICK,
  HMOE_CUDA_BEST,
  HMOE_CUDA_CODE_COUNT
} hmoe_cuda_code;

/* model->device_own */
typedef struct hmoe_cuda_model {
  const hmoe_cuda_driver *driver;
  CUdevice device;
  CUcontext context;
  const hmoe_image *image;
  CUmodule module;
  CUstream stream; /* of copies outside of runs */
  bool graphs; /* HMOE_DEVICE_GRAPHS */
  atomic_bool overlaps; /* a launch behind another of its run may begin before that has ended: the image's code waits for it */
  int multiprocessors, driver_version; /* as 12080 */
  /* Of selection caches, whose books are the model's and the mutex's. */
  CUdeviceptr books; /* 0: the model has no caches */
  uint64_t books_bytes;
  CUevent caches_used; /* behind the steps of the latest run */
  bool caches_stale; /* the books are to be emptied first */
  pthread_mutex_t caches_mutex;
  uint64_t self_bytes;
  CUfunction code[HMOE_CUDA_CODE_COUNT];
  CUfunction functions[]; /* one a kernel of the object; NULL: it has none */
} hmoe_cuda_model;

static inline hmoe_cuda_model *hmoe_cuda_own(const hmoe_model *model) { return model->device_own; }

/* workspace->own. Words of the device: the first element of an input that is none of the model's, step << 40 | element; all ones: none is. */
typedef struct hmoe_cuda_workspace {
  CUstream stream; /* its own */
  CUstream ordered; /* of the run at hand: the caller's, or its own */
  CUstream launches; /* of the run at hand: `ordered`, or its own while they are captured */
  CUdeviceptr words; /* two: of the run at hand, which waits, and of all that were queued since somebody looked */
  CUdeviceptr trouble; /* that of the two which is the run's */
  uint64_t found; /* what the first was at the end of the run */
  CUevent ended; /* of the latest queued run; NULL: there was none */
  CUstream queued; /* its stream; NULL: it has ended */
  CUgraphExec graph; /* of the latest run's launches; NULL: none, or not asked for */
  bool follows; /* what was queued last in `launches` is a kernel of the run at hand */
  const hmoe_plan_step *latest; /* the step that launched it; NULL: it is none of the plan's */
  const hmoe_plan_step *grouped; /* the next step, a GROUP, where a launch has done it already; else NULL */
  bool stale; /* the first word is of an earlier run: to be written anew before a step looks at it */
  CUdeviceptr chunk_blocks; /* in a loop over groups: its blocks buffer; else 0 */
  uint32_t chunk_groups, loop_groups; /* most groups that the chunk has; that there can be, as the plan tells */
  void *pointers[HMOE_CUDA_BINDINGS_MAX];
} hmoe_cuda_workspace;

/* A binding of a step that is no kernel: what it is for, as of hmoe_run_binding, and the bytes that it has at least. */
typedef struct hmoe_cuda_bound {
  uint32_t binding;
  int access;
  uint64_t bytes;
} hmoe_cuda_bound;
/* Their addresses to the call's buffers. */
HMOE_MUST_USE hmoe_status hmoe_cuda_bind(const hmoe_run *run, const hmoe_plan_step *step, const hmoe_cuda_bound *bindings,
                                         size_t count, hmoe_cuda_call *call);
/* On the run's stream; of no tasks nothing. step: NULL: none of the plan's. */
HMOE_MUST_USE hmoe_status hmoe_cuda_launch(const hmoe_run *run, const hmoe_plan_step *step, CUfunction function, uint64_t tasks,
                                           uint32_t threads, hmoe_cuda_call *call);

hmoe_status hmoe_cuda_step_kernel(hmoe_run *run, const hmoe_plan_step *step);
hmoe_status hmoe_cuda_step_loop(hmoe_run *run, const hmoe_plan_step *step);
hmoe_status hmoe_cuda_step_choose(hmoe_run *run, const hmoe_plan_step *step);
hmoe_status hmoe_cuda_step_group(hmoe_run *run, const hmoe_plan_step *step);
hmoe_status hmoe_cuda_step_group_sets(hmoe_run *run, const hmoe_plan_step *step);
hmoe_status hmoe_cuda_step_ids(hmoe_run *run, const hmoe_plan_step *step);
hmoe_status hmoe_cuda_step_positions(hmoe_run *run, const hmoe_plan_step *step);
hmoe_status hmoe_cuda_step_last_rows(hmoe_run *run, const hmoe_plan_step *step);
hmoe_status hmoe_cuda_step_append_mask(hmoe_run *run, const hmoe_plan_step *step);
/* Of a model with selection caches: its books, at open. Those who take them hold the mutex until they leave them; status: of their steps. */
HMOE_MUST_USE hmoe_status hmoe_cuda_create_books(const hmoe_model *model, hmoe_cuda_model *own);
HMOE_MUST_USE hmoe_status hmoe_cuda_take_caches(const hmoe_run *run);
HMOE_MUST_USE hmoe_status hmoe_cuda_leave_caches(const hmoe_run *run, hmoe_status status);
/* See hmoe_device. */
hmoe_status hmoe_cuda_run_begin(hmoe_run *run);
hmoe_status hmoe_cuda_run_queued(hmoe_run *run);
hmoe_status hmoe_cuda_settle(const hmoe_cuda_driver *driver, hmoe_cuda_workspace *own);
hmoe_status hmoe_cuda_steps_begin(hmoe_run *run);
hmoe_status hmoe_cuda_steps_end(hmoe_run *run, hmoe_status status);
/* See hmoe_device.pick. */
hmoe_status hmoe_cuda_pick(hmoe_run *run, const hmoe_pick *pick, const void *values, uint64_t columns);
/* See hmoe_device.finish: the run has ended, workspace->found is what it left. */
hmoe_status hmoe_cuda_finish_run(hmoe_run *run);
/* Memory of the device in whose context the thread is. what: for the message. */
HMOE_MUST_USE hmoe_status hmoe_cuda_allocate(const hmoe_cuda_driver *driver, uint64_t size_bytes, const char *what,
                                             CUdeviceptr *out_address);
/* See hmoe_device.fill. */
hmoe_status hmoe_cuda_fill(hmoe_model *model, void *to, const void *from, uint64_t size_bytes, hmoe_progress *progress);
/* Copies in order, on the model's stream; done when it returns. */
hmoe_status hmoe_cuda_reorder_rows(hmoe_state *state, size_t moves, uint64_t positions);

#endif
