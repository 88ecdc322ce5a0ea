/* Runs an entry: its steps in order, a barrier between them, on the model's device. A run owns a workspace from begin to end and shares the rest of the
 * model, which nothing changes after open, with the other runs. */
#include "device.h"

#include "plain_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int64_t hmoe_run_rows(const hmoe_run *run, const hmoe_plan_step *step) {
  return step->rows_dim == HMOE_NONE ? 0 : run->workspace->dims[step->rows_dim];
}

hmoe_status hmoe_step_fail(const hmoe_run *run, const hmoe_plan_step *step, const char *format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  hmoe_plain_vformat(text, sizeof text, format, arguments);
  va_end(arguments);
  return hmoe_fail(HMOE_INCOMPATIBLE, "plan: entry %u step %u (%s): %s", run->entry_index, (unsigned)(step - run->steps),
                   hmoe_step_name(step->kind), text);
}

/* Address and bytes of a binding; false when it starts behind the end of its buffer. */
static bool resolve(const hmoe_run *run, const hmoe_plan_step *step, uint32_t index, hmoe_memory *out_memory) {
  const hmoe_plan_binding *binding = &HMOE_PLAN_ARRAY(run->model->plan, step->bindings, hmoe_plan_binding)[index];
  *out_memory = (hmoe_memory){0};
  if (binding->buffer == HMOE_NONE) return true;
  hmoe_memory memory = run->workspace->buffers[binding->buffer];
  uint64_t start = hmoe_add(binding->offset_bytes, hmoe_mul(binding->advance_bytes, run->items_done));
  if (memory.size_bytes == 0) start = 0; /* of no rows: no column either */
  if (start > memory.size_bytes) return false;
  *out_memory = (hmoe_memory){memory.data ? memory.data + start : NULL, memory.size_bytes - start};
  return true;
}

static hmoe_status fail_start(const hmoe_run *run, const hmoe_plan_step *step, uint32_t binding) {
  return hmoe_step_fail(run, step, "binding %u starts behind the end of its buffer", binding);
}

uint64_t hmoe_run_binding_bytes(const hmoe_run *run, const hmoe_plan_step *step, uint32_t binding) {
  hmoe_memory memory;
  return binding < step->bindings.count && resolve(run, step, binding, &memory) ? memory.size_bytes : 0;
}

hmoe_status hmoe_run_binding(const hmoe_run *run, const hmoe_plan_step *step, uint32_t binding, int access, uint64_t bytes,
                             void *out_pointer) {
  void *none = NULL;
  memcpy(out_pointer, &none, sizeof none);
  const hmoe_plan_binding *bindings = HMOE_PLAN_ARRAY(run->model->plan, step->bindings, hmoe_plan_binding);
  if (binding >= step->bindings.count || bindings[binding].buffer == HMOE_NONE) {
    if (access & HMOE_OPTIONAL) return HMOE_OK;
    return hmoe_step_fail(run, step, "binding %u is missing", binding);
  }
  uint32_t kind = run->buffers[bindings[binding].buffer].kind;
  bool constant = kind == HMOE_BUFFER_INPUT || kind == HMOE_BUFFER_PARAM || (kind == HMOE_BUFFER_WEIGHT && run->entry_index != 0);
  if ((access & HMOE_WRITE) && constant) return hmoe_step_fail(run, step, "binding %u may not be written", binding);
  hmoe_memory memory;
  if (!resolve(run, step, binding, &memory)) return fail_start(run, step, binding);
  if (memory.size_bytes < bytes)
    return hmoe_step_fail(run, step, "binding %u has %llu bytes, %llu are needed", binding, (unsigned long long)memory.size_bytes,
                          (unsigned long long)bytes);
  memcpy(out_pointer, &memory.data, sizeof memory.data);
  return HMOE_OK;
}

hmoe_status hmoe_run_bind_all(hmoe_run *run, const hmoe_plan_step *step, void **out_pointers) {
  for (uint32_t i = 0; i < step->bindings.count; i++) {
    hmoe_memory memory;
    if (!resolve(run, step, i, &memory)) return fail_start(run, step, i);
    out_pointers[i] = memory.data;
  }
  return HMOE_OK;
}

static hmoe_status run_step(hmoe_run *run, const hmoe_plan_step *step) {
  hmoe_status (*const function)(hmoe_run *, const hmoe_plan_step *) = run->device->steps[step->kind];
  if (!run->model->debug_run) return function(run, step);
  int64_t start = hmoe_now_ns();
  hmoe_status status = function(run, step);
  fprintf(stderr, "hmoe: entry %u step %u %s", run->entry_index, (unsigned)(step - run->steps), hmoe_step_name(step->kind));
  if (step->kind == HMOE_STEP_KERNEL) fprintf(stderr, " %u", ((const hmoe_step_kernel *)hmoe_run_fields(run, step))->kernel);
  if (step->rows_dim != HMOE_NONE) fprintf(stderr, " rows=%lld", (long long)hmoe_run_rows(run, step));
  hmoe_plain_print(stderr, " %.4f ms%s\n", (double)(hmoe_now_ns() - start) * 1e-6, status == HMOE_OK ? "" : " FAILED");
  return status;
}

hmoe_status hmoe_run_steps(hmoe_run *run, uint32_t first, uint32_t end) {
  for (uint32_t i = first; i < end; i++) {
    const hmoe_plan_step *step = &run->steps[i];
    HMOE_TRY(run_step(run, step));
    i += (uint32_t)hmoe_step_body(run->model->plan, step); /* the step ran them */
  }
  return HMOE_OK;
}

static hmoe_run make_run(hmoe_model *model, uint32_t entry) {
  hmoe_run run = {.model = model, .entry = &model->entries[entry], .entry_index = entry};
  run.device = entry ? model->device : &hmoe_cpu_device;
  run.dims = HMOE_PLAN_ARRAY(model->plan, run.entry->dims, hmoe_plan_dim);
  run.buffers = HMOE_PLAN_ARRAY(model->plan, run.entry->buffers, hmoe_plan_buffer);
  run.steps = HMOE_PLAN_ARRAY(model->plan, run.entry->steps, hmoe_plan_step);
  return run;
}

/* ---- loops over rows ---- */

hmoe_status hmoe_run_set_dims(hmoe_run *run, uint32_t kind, int64_t value) {
  for (uint32_t i = 0; i < run->entry->dims.count; i++) {
    if (run->dims[i].kind != kind) continue;
    /* A dimension of a loop with smaller chunks is not read in this one. */
    run->workspace->dims[i] = (int64_t)hmoe_min((uint64_t)value, run->dims[i].factor);
  }
  return hmoe_run_derive_dims(run);
}

hmoe_status hmoe_run_loop_rows(hmoe_run *run, const hmoe_plan_step *step) {
  const hmoe_step_loop *loop = hmoe_run_fields(run, step);
  uint32_t body = (uint32_t)(step - run->steps) + 1;
  int64_t rows = hmoe_run_rows(run, step), chunk = loop->chunk;
  hmoe_status status = HMOE_OK;
  run->in_rows = true;
  for (int64_t done = 0; status == HMOE_OK && done < rows; done += chunk) {
    run->items_done = (uint64_t)done;
    status = hmoe_run_set_dims(run, HMOE_DIM_CHUNK, rows - done < chunk ? rows - done : chunk);
    if (status == HMOE_OK) status = hmoe_run_steps(run, body, body + loop->steps);
  }
  run->in_rows = false;
  run->items_done = 0;
  return status;
}

/* ---- rows of tokens ---- */

static uint64_t dim_of(const hmoe_run *run, uint32_t dim) { return dim == HMOE_NONE ? 0 : (uint64_t)run->workspace->dims[dim]; }

hmoe_token_rows hmoe_run_tokens(const hmoe_run *run, const hmoe_plan_tokens *tokens) {
  return (hmoe_token_rows){dim_of(run, tokens->rows_dim), dim_of(run, tokens->length_dim), dim_of(run, tokens->past_dim),
                           dim_of(run, tokens->stride_dim)};
}

hmoe_status hmoe_run_bind_mask(const hmoe_run *run, const hmoe_plan_step *step, uint32_t binding, int access,
                               const hmoe_token_rows *tokens, void *out_mask) {
  uint64_t reach = tokens->past + tokens->length, bytes = 0;
  if (tokens->rows) bytes = hmoe_mul(hmoe_add(hmoe_mul(tokens->rows - 1, tokens->stride), reach), sizeof(int32_t));
  HMOE_TRY(hmoe_run_binding(run, step, binding, access, bytes, out_mask));
  int32_t *mask;
  memcpy(&mask, out_mask, sizeof mask);
  if (mask && reach > tokens->stride)
    return hmoe_step_fail(run, step, "%llu tokens after %llu in rows of %llu", (unsigned long long)tokens->length,
                          (unsigned long long)tokens->past, (unsigned long long)tokens->stride);
  return HMOE_OK;
}

/* ---- what steps find in the caller's inputs ---- */

/* "'input_ids'[3, 5]": an input's name and the place of element `index`. */
static void format_place(const hmoe_run *run, const hmoe_plan_tensor *tensor, uint64_t index, char *out, size_t size) {
  uint64_t place[4] = {0};
  for (uint32_t d = tensor->rank; d-- > 0;) {
    int64_t length = tensor->shape[d] < 0 ? run->workspace->dims[~tensor->shape[d]] : tensor->shape[d];
    if (d == 0 || length < 1) {
      place[d] = index;
      break;
    }
    place[d] = index % (uint64_t)length;
    index /= (uint64_t)length;
  }
  int name = (int)hmoe_min(tensor->name.count, 200);
  size_t used = (size_t)snprintf(out, size, "'%.*s'[", name, HMOE_PLAN_ARRAY(run->model->plan, tensor->name, char));
  for (uint32_t d = 0; d < tensor->rank && used < size; d++)
    used += (size_t)snprintf(out + used, size - used, "%s%llu", d ? ", " : "", (unsigned long long)place[d]);
  if (used < size) snprintf(out + used, size - used, "]");
}

hmoe_status hmoe_run_bad_id(const hmoe_run *run, const hmoe_plan_step *step, const void *source, uint64_t index, int64_t value) {
  const hmoe_step_ids *ids = hmoe_run_fields(run, step);
  uint32_t buffer = HMOE_PLAN_ARRAY(run->model->plan, step->bindings, hmoe_plan_binding)[HMOE_BIND_IDS_SOURCE].buffer;
  const hmoe_plan_tensor *inputs = HMOE_PLAN_ARRAY(run->model->plan, run->entry->inputs, hmoe_plan_tensor);
  uint64_t before = (uint64_t)((const uint8_t *)source - run->workspace->buffers[buffer].data) / ids->element_bytes;
  char place[512];
  format_place(run, &inputs[run->buffers[buffer].index], before + index, place, sizeof place);
  return hmoe_fail(HMOE_INVALID_ARGUMENT, "input %s = %lld: expected 0 to %llu", place, (long long)value,
                   (unsigned long long)ids->limit - 1);
}

hmoe_status hmoe_run_bad_position(uint64_t row, int64_t position, uint64_t limit) {
  return hmoe_fail(HMOE_INVALID_ARGUMENT, "row %llu has %lld tokens, expected at most %llu: the model has no more positions",
                   (unsigned long long)row, (long long)position + 1, (unsigned long long)limit);
}

/* ---- entry 0 ---- */

enum { LOAD_CHUNK = 1 << 20 }; /* elements a task */

typedef struct load_job {
  const hmoe_params *params;
  uint64_t param, elements, chunks; /* of one tensor */
  float *out;
  hmoe_progress *progress;
} load_job;

static void load_chunk(void *context, uint64_t task, void *scratch) {
  (void)scratch;
  const load_job *job = context;
  uint64_t tensor_index = task / job->chunks, begin = task % job->chunks * LOAD_CHUNK;
  const hmoe_tensor *tensor = job->params->tensors[job->params->first[job->param] + tensor_index];
  uint64_t count = hmoe_min(LOAD_CHUNK, job->elements - begin), element_bytes = tensor->dtype->bits / 8;
  const uint8_t *source = tensor->data + begin * element_bytes;
  tensor->dtype->read(source, 1, count, job->out + tensor_index * job->elements + begin, 1);
  hmoe_mapping_drop(tensor->mapping, source, count * element_bytes);
  hmoe_progress_add(job->progress, job->params->share_bytes[job->param] / (job->chunks * job->params->list[job->param].count));
}

/* The f32 copy of one parameter, tensor after tensor. */
static hmoe_status load_param(hmoe_run *run, const hmoe_plan_buffer *buffer, hmoe_memory *memory) {
  const hmoe_plan_param *param = &run->params->list[buffer->index];
  uint64_t elements = hmoe_param_elements(param), bytes = elements * param->count * sizeof(float);
  if (memory->size_bytes > bytes)
    return hmoe_fail(HMOE_INCOMPATIBLE, "plan: entry 0: parameter %u has %llu bytes, %llu are expected", buffer->index,
                     (unsigned long long)bytes, (unsigned long long)memory->size_bytes);
  void *data = NULL;
  HMOE_TRY(hmoe_allocate(&run->model->allocator, bytes, "a parameter", &data));
  memory->data = data;
  memory->size_bytes = bytes;
  load_job job = {run->params, buffer->index, elements, (elements + LOAD_CHUNK - 1) / LOAD_CHUNK, data, run->progress};
  hmoe_status status = hmoe_workers_run(
      &run->model->workers, &(hmoe_job){.task = load_chunk, .context = &job, .count = hmoe_mul(job.chunks, param->count)});
  hmoe_params_drop(run->params, buffer->index);
  return status;
}

static bool binds(const hmoe_run *run, uint32_t first, uint32_t end, uint32_t buffer) {
  for (uint32_t i = first; i < end; i++) {
    const hmoe_plan_binding *bindings = HMOE_PLAN_ARRAY(run->model->plan, run->steps[i].bindings, hmoe_plan_binding);
    for (uint32_t b = 0; b < run->steps[i].bindings.count; b++)
      if (bindings[b].buffer == buffer) return true;
  }
  return false;
}

/* Copies of parameters live from the first step that binds them to the last. */
static hmoe_status load_bound_params(hmoe_run *run, uint32_t first, uint32_t end) {
  for (uint32_t i = 0; i < run->entry->buffers.count; i++) {
    hmoe_memory *memory = &run->workspace->buffers[i];
    if (run->buffers[i].kind == HMOE_BUFFER_PARAM && !memory->data && binds(run, first, end, i))
      HMOE_TRY(load_param(run, &run->buffers[i], memory));
  }
  return HMOE_OK;
}

static void release_params(hmoe_run *run, uint32_t next) {
  for (uint32_t i = 0; i < run->entry->buffers.count; i++) {
    hmoe_memory *memory = &run->workspace->buffers[i];
    if (run->buffers[i].kind != HMOE_BUFFER_PARAM || !memory->data || binds(run, next, run->entry->steps.count, i)) continue;
    hmoe_release(&run->model->allocator, memory->data, memory->size_bytes);
    memory->data = NULL;
  }
}

/* Pages of the checkpoint that a step has read. */
static void drop_tensors(const hmoe_run *run, const hmoe_plan_step *step) {
  uint32_t params[HMOE_STEP_PARAMS_MAX], count = hmoe_step_params(run->model->plan, step, params);
  for (uint32_t i = 0; i < count; i++) {
    hmoe_params_drop(run->params, params[i]);
    if (step->kind != HMOE_STEP_PACK) /* which counts what it has read itself */
      hmoe_progress_add(run->progress, run->params->share_bytes[params[i]]);
  }
}

hmoe_status hmoe_run_open_entry(hmoe_model *model, const hmoe_params *params, hmoe_progress *progress) {
  hmoe_run run = make_run(model, 0);
  run.params = params;
  run.progress = progress;
  HMOE_TRY(hmoe_workspace_acquire(model, run.device, &run.workspace));
  hmoe_status status = hmoe_run_begin(&run, NULL);
  if (status == HMOE_OK) status = hmoe_run_place_slots(&run);
  bool placed = status == HMOE_OK;
  for (uint32_t i = 0, next; status == HMOE_OK && i < run.entry->steps.count; i = next) {
    next = i + 1 + (uint32_t)hmoe_step_body(model->plan, &run.steps[i]);
    status = load_bound_params(&run, i, next);
    if (status == HMOE_OK) status = hmoe_run_steps(&run, i, next);
    release_params(&run, next);
    drop_tensors(&run, &run.steps[i]);
    hmoe_packing_drop(model, model->arena, model->plan->weight_bytes);
  }
  if (placed) release_params(&run, run.entry->steps.count);
  hmoe_workspace_destroy(model, run.workspace);
  return status;
}

/* ---- the other entries ---- */

/* Nothing to do when there are outputs and all of them are empty. What a state is given is an output too. */
static bool writes_nothing(const hmoe_run *run) {
  if (run->state) return false;
  bool outputs = false;
  for (uint32_t i = 0; i < run->entry->buffers.count; i++) {
    if (run->buffers[i].kind != HMOE_BUFFER_OUTPUT) continue;
    outputs = true;
    if (run->workspace->buffers[i].size_bytes) return false;
  }
  return outputs;
}

/* A run on nothing has nothing to give. */
static hmoe_status check_empty(const hmoe_run *run) {
  const hmoe_plan *plan = run->model->plan;
  const hmoe_memory *memory = run->workspace->buffers;
  const hmoe_plan_tensor *inputs = HMOE_PLAN_ARRAY(plan, run->entry->inputs, hmoe_plan_tensor);
  const hmoe_plan_tensor *outputs = HMOE_PLAN_ARRAY(plan, run->entry->outputs, hmoe_plan_tensor);
  for (uint32_t i = 0; i < run->entry->buffers.count; i++) {
    if (run->buffers[i].kind != HMOE_BUFFER_INPUT || memory[i].size_bytes) continue;
    const hmoe_plan_tensor *input = &inputs[run->buffers[i].index];
    for (uint32_t o = 0; o < run->entry->buffers.count; o++) {
      uint32_t index = run->buffers[o].index;
      if (run->buffers[o].kind != HMOE_BUFFER_OUTPUT || !memory[o].size_bytes || index > 31 || !(input->needed_by >> index & 1))
        continue;
      return hmoe_fail(HMOE_INVALID_ARGUMENT, "input '%.*s' has no elements, and output '%.*s' is computed from it",
                       (int)hmoe_min(input->name.count, 200), HMOE_PLAN_ARRAY(plan, input->name, char),
                       (int)hmoe_min(outputs[index].name.count, 200), HMOE_PLAN_ARRAY(plan, outputs[index].name, char));
    }
  }
  return HMOE_OK;
}

/* The caller's pointers: given, naturally aligned, and outputs apart from inputs. */
static hmoe_status place_tensors(hmoe_run *run, const void *const *inputs, void *const *outputs) {
  enum { DEVICE_ALIGNMENT = 16 };
  const hmoe_plan *plan = run->model->plan;
  const hmoe_plan_entry *entry = run->entry;
  hmoe_memory *buffers = run->workspace->buffers;
  for (uint32_t i = 0; i < entry->buffers.count; i++) {
    uint32_t kind = run->buffers[i].kind, index = run->buffers[i].index;
    if (kind != HMOE_BUFFER_INPUT && kind != HMOE_BUFFER_OUTPUT) continue;
    bool input = kind == HMOE_BUFFER_INPUT;
    const hmoe_plan_tensor *tensor = &HMOE_PLAN_ARRAY(plan, input ? entry->inputs : entry->outputs, hmoe_plan_tensor)[index];
    const void *data = input ? (inputs ? inputs[index] : NULL) : (outputs ? outputs[index] : NULL);
    const char *side = input ? "input" : "output";
    int length = (int)hmoe_min(tensor->name.count, 200);
    const char *name = HMOE_PLAN_ARRAY(plan, tensor->name, char);
    bool needed = buffers[i].size_bytes && !(input ? tensor->optional : run->pick != NULL);
    if (!data && needed) return hmoe_fail(HMOE_INVALID_ARGUMENT, "%s '%.*s' is NULL", side, length, name);
    unsigned alignment = run->in_place ? DEVICE_ALIGNMENT : tensor->dtype == 2 ? 8 : 4;
    if ((uintptr_t)data % alignment)
      return hmoe_fail(HMOE_INVALID_ARGUMENT, "%s '%.*s' is not %u-byte aligned", side, length, name, alignment);
    buffers[i].data = (uint8_t *)(uintptr_t)data;
  }
  for (uint32_t i = 0; i < entry->buffers.count; i++) {
    if (run->buffers[i].kind != HMOE_BUFFER_OUTPUT) continue;
    uintptr_t begin = (uintptr_t)buffers[i].data, end = begin + buffers[i].size_bytes;
    for (uint32_t j = 0; j < entry->buffers.count; j++) {
      if (run->buffers[j].kind != HMOE_BUFFER_INPUT) continue;
      uintptr_t other = (uintptr_t)buffers[j].data;
      if (other && begin < other + buffers[j].size_bytes && other < end)
        return hmoe_fail(HMOE_INVALID_ARGUMENT, "output %u overlaps input %u", run->buffers[i].index, run->buffers[j].index);
    }
  }
  return HMOE_OK;
}

static bool is_tensor(const hmoe_run *run, uint32_t buffer) {
  uint32_t kind = run->buffers[buffer].kind;
  return kind == HMOE_BUFFER_INPUT || kind == HMOE_BUFFER_OUTPUT;
}

static bool same_tensor(const hmoe_run *run, uint32_t a, uint32_t b) {
  return run->buffers[a].kind == run->buffers[b].kind && run->buffers[a].index == run->buffers[b].index;
}

/* Bytes of the caller's tensor that a buffer is, by the first of the buffers that are the same one; 0 by others, or if the caller gave none. What is
 * picked from has no tensor of the caller's, and room all the same. */
static uint64_t tensor_bytes(const hmoe_run *run, uint32_t buffer) {
  const hmoe_memory *buffers = run->workspace->buffers;
  bool picks = run->pick && run->buffers[buffer].kind == HMOE_BUFFER_OUTPUT;
  if (!is_tensor(run, buffer) || (!buffers[buffer].data && !picks)) return 0;
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < run->entry->buffers.count; i++) {
    if (!same_tensor(run, i, buffer)) continue;
    if (i < buffer) return 0;
    bytes = hmoe_max(bytes, buffers[i].size_bytes);
  }
  return bytes;
}

static uint64_t pick_bytes(const hmoe_pick *pick) { return hmoe_mul(pick->rows, hmoe_pick_words(pick) * sizeof *pick->found); }

/* Room in the device's memory for the caller's tensors, behind each other, and for what is picked. */
static hmoe_status place_copies(hmoe_run *run) {
  hmoe_memory *buffers = run->workspace->buffers;
  uint32_t count = run->entry->buffers.count;
  uint64_t total = 0, bytes;
  for (uint32_t i = 0; i < count; i++) total = hmoe_add(total, hmoe_round_up(tensor_bytes(run, i), HMOE_ALIGNMENT));
  HMOE_TRY(hmoe_run_reserve_tensors(run, hmoe_add(total, run->pick ? pick_bytes(run->pick) : 0)));
  uint8_t *next = run->workspace->tensors;
  for (uint32_t i = 0; i < count; i++) {
    if (!(bytes = tensor_bytes(run, i))) continue;
    for (uint32_t j = i; j < count; j++)
      if (same_tensor(run, i, j)) buffers[j].data = next;
    next += hmoe_round_up(bytes, HMOE_ALIGNMENT);
  }
  if (run->pick) run->pick->found = (int32_t *)(void *)next;
  return HMOE_OK;
}

/* Between the caller's tensors of a kind and the device's: inputs there, outputs back. */
static hmoe_status copy_tensors(hmoe_run *run, uint32_t kind, const void *const *inputs, void *const *outputs) {
  for (uint32_t i = 0; i < run->entry->buffers.count; i++) {
    uint64_t bytes = run->buffers[i].kind == kind ? tensor_bytes(run, i) : 0;
    void *memory = run->workspace->buffers[i].data;
    uint32_t index = run->buffers[i].index;
    if (!bytes) continue;
    if (kind == HMOE_BUFFER_INPUT) HMOE_TRY(run->device->upload(run->model, run->workspace, memory, inputs[index], bytes));
    else HMOE_TRY(run->device->download(run->model, run->workspace, outputs[index], memory, bytes));
  }
  return HMOE_OK;
}

/* Waits for what was begun; what is said is why it goes no further. */
static hmoe_status end_failed(hmoe_run *run, hmoe_status status) {
  char why[HMOE_MESSAGE_BYTES];
  snprintf(why, sizeof why, "%s", hmoe_last_error());
  return run->device->fence(run->model, run->workspace) == HMOE_OK ? status : hmoe_fail(status, "%s", why);
}

/* The one output, and its columns; NULL: there are no rows. */
static const float *find_output(const hmoe_run *run, uint64_t *out_columns) {
  for (uint32_t i = 0; i < run->entry->buffers.count; i++) {
    uint64_t bytes = run->buffers[i].kind == HMOE_BUFFER_OUTPUT ? tensor_bytes(run, i) : 0;
    if (!bytes) continue;
    *out_columns = bytes / sizeof(float) / run->pick->rows;
    return (const float *)(const void *)run->workspace->buffers[i].data;
  }
  return NULL;
}

static hmoe_status pick_largest(hmoe_run *run) {
  uint64_t columns;
  const float *values = find_output(run, &columns);
  return values ? run->device->pick(run, run->pick, values, columns) : HMOE_OK;
}

/* Behind the fence: rows that have more than there is room for. */
static hmoe_status take_whole_rows(hmoe_run *run) {
  const hmoe_pick *pick = run->pick;
  uint64_t columns, words = pick ? hmoe_pick_words(pick) : 0;
  const float *values = pick && pick->wanted ? find_output(run, &columns) : NULL;
  bool any = false;
  hmoe_status status = HMOE_OK;
  for (uint64_t row = 0; values && status == HMOE_OK && row < pick->rows; row++) {
    if (pick->words[row * words] <= (int64_t)pick->room) continue;
    any = true;
    status = run->device->download(run->model, run->workspace, pick->logits + row * columns, values + row * columns,
                                   columns * sizeof(float));
  }
  if (status != HMOE_OK) return end_failed(run, status);
  return any ? run->device->fence(run->model, run->workspace) : HMOE_OK;
}

static hmoe_status begin_steps(hmoe_run *run) {
  if (run->device->steps_begin) HMOE_TRY(run->device->steps_begin(run));
  hmoe_status status = hmoe_run_steps(run, 0, run->entry->steps.count);
  if (status == HMOE_OK && run->pick) status = pick_largest(run);
  return run->device->steps_end ? run->device->steps_end(run, status) : status;
}

static hmoe_status take_outputs(hmoe_run *run, const void *const *inputs, void *const *outputs) {
  const hmoe_pick *pick = run->pick;
  if (!pick) return copy_tensors(run, HMOE_BUFFER_OUTPUT, inputs, outputs);
  return run->device->download(run->model, run->workspace, pick->words, pick->found, pick_bytes(pick));
}

/* Everything that a device does of a run: it is all done, or queued, or has failed, when this returns. */
static hmoe_status run_on_device(hmoe_run *run, const void *const *inputs, void *const *outputs) {
  bool copies = !run->device->host_memory && !run->in_place;
  if (run->device->run_begin) HMOE_TRY(run->device->run_begin(run));
  hmoe_status status = copies ? copy_tensors(run, HMOE_BUFFER_INPUT, inputs, outputs) : HMOE_OK;
  if (status == HMOE_OK) status = begin_steps(run);
  if (status == HMOE_OK && copies) status = take_outputs(run, inputs, outputs);
  if (status != HMOE_OK) return end_failed(run, status);
  if (run->queued) return run->device->run_queued(run);
  status = run->device->fence(run->model, run->workspace);
  if (status == HMOE_OK && run->device->finish) status = run->device->finish(run);
  return status == HMOE_OK ? take_whole_rows(run) : status;
}

static hmoe_status run_entry(hmoe_run *run, const int64_t *dims, const void *const *inputs, void *const *outputs,
                             int64_t growth[HMOE_SCOPE_COUNT]) {
  HMOE_TRY(hmoe_run_begin(run, dims));
  if (writes_nothing(run)) return HMOE_OK;
  HMOE_TRY(check_empty(run));
  if (run->state) HMOE_TRY(hmoe_state_check_run(run));
  for (int scope = 0; scope < HMOE_SCOPE_COUNT; scope++) growth[scope] = hmoe_state_growth(run, scope);
  HMOE_TRY(place_tensors(run, inputs, outputs));
  if (!run->device->host_memory && !run->in_place) HMOE_TRY(place_copies(run));
  HMOE_TRY(hmoe_run_place_slots(run));
  return run_on_device(run, inputs, outputs);
}

/* options: read already. */
static hmoe_status run_checked(hmoe_model *model, uint32_t entry, const hmoe_run_options *options, const int64_t *dims,
                               const void *const *inputs, void *const *outputs, hmoe_pick *pick) {
  if (!model) return hmoe_fail(HMOE_INVALID_ARGUMENT, "run: the model is NULL");
  if (entry == 0 || entry >= model->plan->entries.count)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "run: expected an entry from 1 to %u, found %u", model->plan->entries.count - 1, entry);
  hmoe_run run = make_run(model, entry);
  hmoe_state *state = options->state;
  run.state = state;
  run.pick = pick;
  run.in_place = options->flags & HMOE_RUN_DEVICE_TENSORS && !run.device->host_memory;
  run.queued = options->stream && run.in_place;
  if (options->stream && !run.device->run_queued)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "run: options.stream is set, and the device %s has no streams", run.device->name);
  int length = (int)hmoe_min(run.entry->name.count, 200);
  const char *name = HMOE_PLAN_ARRAY(model->plan, run.entry->name, char);
  if (run.entry->needs_state != (state != NULL))
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "run: entry '%.*s' %s state", length, name, state ? "takes no" : "needs a");
  if (state && state->model != model)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "run: entry '%.*s': the state belongs to another model", length, name);
  if (!dims && run.entry->dims.count && run.dims[0].kind == HMOE_DIM_INPUT)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "run: dims is NULL");
  if (state) HMOE_TRY(hmoe_state_take(state, "run"));
  int64_t growth[HMOE_SCOPE_COUNT] = {0};
  hmoe_status status = hmoe_workspace_acquire(model, run.device, &run.workspace);
  if (status == HMOE_OK) {
    run.workspace->stream = options->stream;
    status = run_entry(&run, dims, inputs, outputs, growth);
    hmoe_workspace_return(model, run.workspace);
  }
  for (int scope = 0; status == HMOE_OK && state && scope < HMOE_SCOPE_COUNT; scope++) state->scopes[scope].length += growth[scope];
  if (state) hmoe_state_give_back(state);
  return status;
}

hmoe_status hmoe_model_run_state(hmoe_model *model, uint32_t entry, hmoe_state *state, const int64_t *dims,
                                 const void *const *inputs, void *const *outputs) {
  return run_checked(model, entry, &(hmoe_run_options){.state = state}, dims, inputs, outputs, NULL);
}

hmoe_status hmoe_model_run_with(hmoe_model *model, uint32_t entry, const hmoe_run_options *options, const int64_t *dims,
                                const void *const *inputs, void *const *outputs) {
  hmoe_run_options read;
  HMOE_TRY(hmoe_run_options_read(options, &read));
  return run_checked(model, entry, &read, dims, inputs, outputs, NULL);
}

bool hmoe_model_picks(const hmoe_model *model) { return model->device->pick != NULL; }

hmoe_status hmoe_model_run_pick(hmoe_model *model, uint32_t entry, hmoe_state *state, const int64_t *dims,
                                const void *const *inputs, hmoe_pick *pick) {
  return run_checked(model, entry, &(hmoe_run_options){.state = state}, dims, inputs, NULL, pick);
}

hmoe_status hmoe_model_run(hmoe_model *model, uint32_t entry, const int64_t *dims, const void *const *inputs,
                           void *const *outputs) {
  return hmoe_model_run_state(model, entry, NULL, dims, inputs, outputs);
}
