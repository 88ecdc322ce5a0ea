/* The CPU as a device: memory is the host's, steps are done when their function returns, and tasks of a step run on the model's workers. */
#include "cpu/cpu.h"

#include <string.h>

static hmoe_status cpu_open(hmoe_model *model, const hmoe_options *options) {
  HMOE_TRY(hmoe_cpu_choose(model->object, options->cpu, &model->cpu));
  model->image = hmoe_cpu_image(model->object, model->cpu);
  for (uint32_t i = 0; i < model->object->kernel_count; i++) {
    const hmoe_function *function = &model->image->functions[i];
    if (function->scratch_bytes > PTRDIFF_MAX)
      return hmoe_fail(HMOE_INCOMPATIBLE, "the object's kernel %u needs %llu bytes a worker", i,
                       (unsigned long long)function->scratch_bytes);
    model->scratch_bytes = hmoe_max(model->scratch_bytes, function->scratch_bytes);
  }
  return HMOE_OK;
}

hmoe_status hmoe_cpu_check_runs(const hmoe_model *model) {
  const hmoe_model_object *object = model->object;
  uint32_t kernel = 0, image = 0;
  while (kernel < object->kernel_count && model->image->functions[kernel].call) kernel++;
  if (kernel == object->kernel_count) return HMOE_OK;
  while (image < object->image_count && strcmp(object->images[image].target, "cpu") == 0) image++;
  if (image < object->image_count)
    return hmoe_fail(HMOE_UNSUPPORTED, "%.*s is compiled for target %s and does not run on CPUs: set options.device = \"%s\"",
                     (int)hmoe_min(model->plan->name.count, 200), HMOE_PLAN_ARRAY(model->plan, model->plan->name, char),
                     object->images[image].target, object->images[image].target);
  return hmoe_fail(HMOE_INCOMPATIBLE, "the object's kernel %u has no %s version", kernel, model->image->version);
}

static void cpu_close(hmoe_model *model) { (void)model; }

static hmoe_status cpu_allocate(hmoe_model *model, uint64_t size_bytes, bool zeros, const char *what, void **out_memory) {
  if (zeros) return hmoe_workers_allocate(&model->workers, &model->allocator, size_bytes, what, out_memory);
  return hmoe_allocate(&model->allocator, size_bytes, what, out_memory);
}

static void cpu_release(hmoe_model *model, void *memory, uint64_t size_bytes) {
  hmoe_release(&model->allocator, memory, size_bytes);
}

/* The structure, then its tables from the widest element down; scratch by itself. */
static hmoe_status cpu_workspace_begin(hmoe_model *model, hmoe_workspace *workspace) {
  const hmoe_plan_limits *limits = &model->limits;
  uint64_t pointers_at = sizeof(hmoe_cpu_workspace), loop_at = hmoe_add(pointers_at, limits->bindings * sizeof(void *));
  uint64_t bytes = hmoe_add(loop_at, limits->loop_groups * 2 * sizeof(int32_t));
  void *memory = NULL;
  HMOE_TRY(hmoe_allocate(&model->allocator, bytes, "a workspace", &memory));
  uint8_t *base = memory;
  hmoe_cpu_workspace *own = memory;
  *own = (hmoe_cpu_workspace){.self_bytes = bytes};
  workspace->own = own;
  own->pointers = (void **)(void *)(base + pointers_at);
  own->loop_slots = (int32_t *)(void *)(base + loop_at);
  own->loop_missing = own->loop_slots + limits->loop_groups;
  own->scratch_stride = hmoe_round_up(hmoe_max(model->scratch_bytes, 1), HMOE_ALIGNMENT);
  uint64_t scratch_bytes = hmoe_mul(own->scratch_stride, model->workers.threads);
  HMOE_TRY(hmoe_allocate(&model->allocator, scratch_bytes, "the scratch of kernels", &memory));
  own->scratch = memory;
  own->scratch_bytes = workspace->own_bytes = scratch_bytes;
  return HMOE_OK;
}

static void cpu_workspace_end(hmoe_model *model, hmoe_workspace *workspace) {
  hmoe_cpu_workspace *own = workspace->own;
  if (!own) return;
  hmoe_release(&model->allocator, own->scratch, own->scratch_bytes);
  hmoe_release(&model->allocator, own, own->self_bytes);
}

static hmoe_status cpu_fence(hmoe_model *model, hmoe_workspace *workspace) {
  (void)model, (void)workspace;
  return HMOE_OK;
}

hmoe_status hmoe_cpu_parallel(hmoe_run *run, uint64_t count, hmoe_task_fn task, void *context) {
  static const hmoe_workers alone = {.threads = 1};
  const hmoe_cpu_workspace *own = hmoe_cpu_own(run);
  hmoe_job job = {.task = task, .context = context, .count = count, .scratch = own->scratch, .scratch_stride = own->scratch_stride};
  return hmoe_workers_run(run->alone ? &alone : &run->model->workers, &job);
}

const hmoe_device hmoe_cpu_device = {
    .name = "cpu",
    .host_memory = true,
    .open = cpu_open,
    .close = cpu_close,
    .allocate = cpu_allocate,
    .release = cpu_release,
    .workspace_begin = cpu_workspace_begin,
    .workspace_end = cpu_workspace_end,
    .fence = cpu_fence,
    .steps_begin = hmoe_cpu_steps_begin,
    .steps_end = hmoe_cpu_steps_end,
    .check_pack = hmoe_cpu_check_pack,
    .steps = {[HMOE_STEP_KERNEL] = hmoe_cpu_step_kernel,
              [HMOE_STEP_GROUP] = hmoe_cpu_step_group,
              [HMOE_STEP_GROUP_SETS] = hmoe_cpu_step_group_sets,
              [HMOE_STEP_LOOP] = hmoe_cpu_step_loop,
              [HMOE_STEP_CHOOSE] = hmoe_cpu_step_choose,
              [HMOE_STEP_PACK] = hmoe_cpu_step_pack,
              [HMOE_STEP_COPY] = hmoe_cpu_step_copy,
              [HMOE_STEP_SELECTIONS] = hmoe_cpu_step_selections,
              [HMOE_STEP_WEIGHT_EMBEDDING] = hmoe_cpu_step_weight_embedding,
              [HMOE_STEP_RELATIVE_BIAS] = hmoe_cpu_step_relative_bias,
              [HMOE_STEP_IDS] = hmoe_cpu_step_ids,
              [HMOE_STEP_POSITIONS] = hmoe_cpu_step_positions,
              [HMOE_STEP_LAST_ROWS] = hmoe_cpu_step_last_rows,
              [HMOE_STEP_APPEND_MASK] = hmoe_cpu_step_append_mask},
    .reorder = hmoe_cpu_reorder,
};
