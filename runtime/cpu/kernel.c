/* KERNEL steps: cuts the grid into tasks. Many blocks are tasks as they are; few blocks (few tokens) are cut into columns as well, so
 * that every thread streams a part of the weights. What a task computes does not depend on the cut. Whether threads share them at all: share.c. */
#include "cpu/cpu.h"

typedef struct kernel_job {
  hmoe_kernel_call call;
  hmoe_kernel_fn function;
} kernel_job;

static void run_task(void *context, uint64_t task, void *scratch) {
  const kernel_job *job = context;
  job->function(&job->call, (int64_t)task, scratch);
}

uint32_t hmoe_cpu_tuned(const hmoe_run *run, hmoe_plan_span span, uint64_t rows, uint32_t value) {
  const hmoe_plan_tuning *tunings = HMOE_PLAN_ARRAY(run->model->plan, span, hmoe_plan_tuning);
  for (uint32_t i = 0; i < span.count; i++) {
    const hmoe_plan_tuning *t = &tunings[i];
    if (rows < t->first_rows || rows > t->last_rows) continue;
    if ((t->version == HMOE_NONE || t->version == (uint32_t)run->model->cpu) &&
        (t->threads == 0 || t->threads == run->model->workers.threads))
      return t->value;
  }
  return value;
}

uint64_t hmoe_cpu_kernel_ps(const hmoe_run *run, const hmoe_step_kernel *kernel, uint64_t rows, uint64_t blocks) {
  const hmoe_function *function = &run->model->image->functions[kernel->kernel];
  const uint32_t *work = HMOE_PLAN_ARRAY(run->model->plan, kernel->work, uint32_t);
  uint64_t items = kernel->work.count ? 1 : rows;
  for (uint32_t i = 0; i < kernel->work.count; i++) items = hmoe_mul(items, (uint64_t)run->workspace->dims[work[i]]);
  return hmoe_max(hmoe_mul(items, function->row_ps), hmoe_mul(blocks, function->block_ps));
}

uint64_t hmoe_cpu_splits(const hmoe_run *run, const hmoe_step_kernel *kernel, uint64_t rows, uint64_t blocks, uint64_t ps) {
  enum { LEAST_PS = 200000 }; /* of a task: to claim one takes half of it, when all threads do so at once */
  uint64_t threads = run->model->workers.threads, most = kernel->grid == HMOE_GRID_ROWS ? 1 : kernel->column_splits;
  if (most <= 1 || blocks == 0 || !hmoe_cpu_shares(run, ps, hmoe_mul(blocks, most))) return 1;
  uint64_t tasks = hmoe_mul(hmoe_cpu_tuned(run, kernel->tunings, rows, kernel->tasks), threads);
  if (ps) tasks = hmoe_min(tasks, hmoe_max(ps / LEAST_PS, threads));
  return hmoe_min(most, (tasks + blocks - 1) / blocks);
}

uint64_t hmoe_cpu_fair_block(uint64_t row_block, uint64_t rows, uint64_t threads) {
  enum { BLOCKS_A_THREAD = 4, STEP = 32 /* rows that AMX multiplies at one time */ };
  uint64_t blocks = BLOCKS_A_THREAD * threads, fair = (rows / blocks + STEP - 1) / STEP * STEP;
  return hmoe_min(row_block, hmoe_max(fair, CPU_LEAST_BLOCK));
}

uint64_t hmoe_cpu_block_rows(const hmoe_run *run, uint64_t row_block, uint64_t rows) {
  return hmoe_cpu_fair_block(row_block, rows, run->model->workers.threads);
}

hmoe_status hmoe_cpu_blocks(const hmoe_run *run, const hmoe_plan_step *step, uint32_t binding, uint64_t rows, uint32_t row_block,
                            uint32_t groups, hmoe_block_range *out_range) {
  uint64_t most = hmoe_block_bound(rows, row_block < CPU_LEAST_BLOCK ? row_block : CPU_LEAST_BLOCK, groups);
  const hmoe_blocks *blocks = NULL;
  HMOE_TRY(hmoe_run_binding(run, step, binding, HMOE_READ, sizeof *blocks, &blocks));
  bool chunk = blocks == run->chunk_blocks;
  *out_range = (hmoe_block_range){blocks, chunk ? run->chunk_first : 0, chunk ? run->chunk_count : blocks->count};
  if (!chunk) most = hmoe_min(most, (hmoe_run_binding_bytes(run, step, binding) - sizeof *blocks) / sizeof(hmoe_block));
  if (out_range->count < 0 || (uint64_t)out_range->count > most)
    return hmoe_step_fail(run, step, "%lld blocks, at most %llu are expected", (long long)out_range->count,
                          (unsigned long long)most);
  return HMOE_OK;
}

int64_t hmoe_block_range_rows(const hmoe_block_range *range) {
  const hmoe_block *block = (const hmoe_block *)(range->blocks + 1) + range->first;
  int64_t rows = 0;
  for (int64_t i = 0; i < range->count; i++) rows += block[i].rows;
  return rows;
}

hmoe_status hmoe_cpu_step_kernel(hmoe_run *run, const hmoe_plan_step *step) {
  const hmoe_step_kernel *kernel = hmoe_run_fields(run, step);
  hmoe_cpu_workspace *own = hmoe_cpu_own(run);
  HMOE_TRY(hmoe_run_bind_all(run, step, own->pointers));
  kernel_job job = {.call = {.buffers = own->pointers, .rows = hmoe_run_rows(run, step), .splits = 1},
                    .function = run->model->image->functions[kernel->kernel].call};
  const uint32_t *dims = HMOE_PLAN_ARRAY(run->model->plan, kernel->dims, uint32_t);
  for (uint32_t i = 0; i < kernel->dims.count; i++) own->kernel_dims[i] = run->workspace->dims[dims[i]];
  if (!job.function)
    return hmoe_step_fail(run, step, "the image %s has no code for kernel %u", run->model->image->version, kernel->kernel);
  if (kernel->dims.count) job.call.dims = own->kernel_dims;
  uint64_t rows = (uint64_t)job.call.rows, blocks = hmoe_block_bound(rows, kernel->row_block, kernel->groups);
  if (kernel->grid == HMOE_GRID_BLOCKS) {
    hmoe_block_range range;
    HMOE_TRY(hmoe_cpu_blocks(run, step, kernel->blocks_binding, rows, kernel->row_block, kernel->groups, &range));
    job.call.first_block = range.first;
    blocks = (uint64_t)range.count;
    rows = (uint64_t)hmoe_block_range_rows(&range);
  }
  uint64_t ps = hmoe_cpu_kernel_ps(run, kernel, rows, blocks);
  job.call.splits = (int64_t)hmoe_cpu_splits(run, kernel, rows, blocks, ps);
  uint64_t tasks = blocks * (uint64_t)job.call.splits;
  if (hmoe_cpu_shares(run, ps, tasks)) return hmoe_cpu_parallel(run, tasks, run_task, &job);
  for (uint64_t task = 0; task < tasks; task++) job.function(&job.call, (int64_t)task, own->scratch);
  return HMOE_OK;
}
