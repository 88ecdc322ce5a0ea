/* The seam between a model and what runs the steps of its plan.
 *
 * Above it: the plan and its checks, parameters, packing, states, sessions, generation. They know dimensions, buffers and steps, but neither how a
 * step runs nor whose memory it reads. Below it: a device, which is memory, copies to and from it, and a function for each kind of step.
 *
 *   open   Entry 0 runs on the host (hmoe_cpu_device), where checkpoints are, into an arena of the host's; then the arena is uploaded, once.
 *   run    Inputs are uploaded, steps begun in order, outputs downloaded, and one fence waits for all of it. Nothing above the seam reads what a
 *          step has written, so that a device need not have finished a step when its function returns. How many blocks there are it may
 *          count, as CPUs do, or take from the bounds that steps over blocks have.
 *
 * Steps of a device with host_memory take the host's addresses: it gets the caller's own, and nothing is copied. */
#ifndef HMOE_DEVICE_H
#define HMOE_DEVICE_H

#include "plan_check.h"

typedef struct hmoe_device {
  const char *name; /* in options.device, and the target of the images that it runs */
  bool host_memory; /* fill, upload and download are not called */
  bool numbered; /* there may be several: "cuda:1" is the second */
  /* The chip of device `number` of the machine; false: there is none of that number, or nothing that drives it. Before any model is open. NULL: chips are not told apart. */
  bool (*chip)(int number, hmoe_chip *out_chip);

  /* Once a model, before all else: which image it runs, and what it needs for itself. close: also where open failed, or was never called. */
  hmoe_status (*open)(hmoe_model *model, const hmoe_options *options);
  void (*close)(hmoe_model *model);

  /* Memory that steps read and write, HMOE_ALIGNMENT-aligned. zeros: else it is not initialised. what: for the message. memory may be NULL. */
  hmoe_status (*allocate)(hmoe_model *model, uint64_t size_bytes, bool zeros, const char *what, void **out_memory);
  void (*release)(hmoe_model *model, void *memory, uint64_t size_bytes);

  /* What one run at a time needs for itself besides its slots: workspace->own, of workspace->own_bytes. end: also after a begin that failed. */
  hmoe_status (*workspace_begin)(hmoe_model *model, hmoe_workspace *workspace);
  void (*workspace_end)(hmoe_model *model, hmoe_workspace *workspace);

  /* At open: much of the host's memory; done when it returns. What has been read of it is counted. */
  hmoe_status (*fill)(hmoe_model *model, void *to, const void *from, uint64_t size_bytes, hmoe_progress *progress);

  /* Copies, in order with the steps of the workspace's run; without a workspace (NULL), among themselves. The host's bytes are left alone until
   * fence, which waits for all that was begun and says what went wrong since the last. */
  hmoe_status (*upload)(hmoe_model *model, hmoe_workspace *workspace, void *to, const void *from, uint64_t size_bytes);
  hmoe_status (*download)(hmoe_model *model, hmoe_workspace *workspace, void *to, const void *from, uint64_t size_bytes);
  hmoe_status (*fence)(hmoe_model *model, hmoe_workspace *workspace);

  /* Before all else of a run. run->workspace->stream: the caller's, or NULL. NULL: there are no streams. */
  hmoe_status (*run_begin)(hmoe_run *run);
  /* In place of fence: the run goes on by itself, and the workspace may be given to another. NULL: there are no streams. */
  hmoe_status (*run_queued)(hmoe_run *run);
  /* Waits for runs that went on by themselves with this workspace, and says what they found. NULL: there are none. */
  hmoe_status (*settle)(hmoe_model *model, hmoe_workspace *workspace);

  /* Around the launches of a run: what is begun in between may be kept together until the end, which is called whether or not it all could be begun
   * (status), and returns that or what went wrong since. NULL, both: nothing. */
  hmoe_status (*steps_begin)(hmoe_run *run);
  hmoe_status (*steps_end)(hmoe_run *run, hmoe_status status);
  /* Among them, behind a run's steps: fills pick->found in from values f32 [rows][columns], in the device's memory too, as hmoe_pick has it. NULL: what is generated
   * is chosen from logits. */
  hmoe_status (*pick)(hmoe_run *run, const hmoe_pick *pick, const void *values, uint64_t columns);

  /* After a run's fence: whether its steps found that an input is none of the model's. NULL: they say so themselves. */
  hmoe_status (*finish)(hmoe_run *run);

  /* Whether a PACK can be followed as far as its destination goes; while a plan is checked. The host's alone, which packs for all devices. */
  hmoe_status (*check_pack)(const hmoe_plan_checker *check, const hmoe_step_pack *pack);
  /* A step, by kind: a KERNEL is launched; LOOP and CHOOSE run those inside them by hmoe_run_steps. */
  hmoe_status (*steps[HMOE_STEP_COUNT])(hmoe_run *run, const hmoe_plan_step *step);
  /* The first `moves` of state->moves, one after the other, of the first `positions` positions of each target row; done when it returns. */
  hmoe_status (*reorder)(hmoe_state *state, size_t moves, uint64_t positions);
} hmoe_device;

/* The host itself. */
extern const hmoe_device hmoe_cpu_device;
/* GPUs of NVIDIA, by their driver. */
extern const hmoe_device hmoe_cuda_device;
/* By name, NULL: the host; NULL when there is none of that name. devices.c */
const hmoe_device *hmoe_device_find(const char *name);

#endif
