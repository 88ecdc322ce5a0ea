/* Builds what the compiler would: plans, objects and checkpoints, small enough to be written in a test. */
#ifndef RUNTIME_FIXTURE_H
#define RUNTIME_FIXTURE_H

#include "hmoe/abi_cpu.h"
#include "runtime_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { FIXTURE_ITEMS = 64, FIXTURE_BYTES = 1 << 16 };

/* ---- plans ---- */

typedef struct fixture_entry {
  hmoe_plan_entry entry;
  hmoe_plan_dim dims[FIXTURE_ITEMS];
  hmoe_plan_tensor inputs[8], outputs[8];
  hmoe_plan_buffer buffers[FIXTURE_ITEMS];
  hmoe_plan_step steps[FIXTURE_ITEMS];
} fixture_entry;

/* The blob grows from its start; the header is written at the end, by plan_finish. */
typedef struct fixture_plan {
  _Alignas(64) uint8_t bytes[FIXTURE_BYTES];
  uint32_t used;
  hmoe_plan header;
  hmoe_plan_param params[FIXTURE_ITEMS];
  hmoe_plan_cache caches[4];
  hmoe_plan_state states[8];
  hmoe_plan_setting settings[HMOE_SETTING_COUNT];
  fixture_entry entries[4];
  hmoe_model_object object;
  hmoe_image images[2];
  hmoe_function functions[FIXTURE_ITEMS];
} fixture_plan;

static inline hmoe_plan_span plan_put(fixture_plan *plan, const void *data, size_t element_bytes, uint32_t count) {
  hmoe_plan_span span = {plan->used, count};
  size_t bytes = element_bytes * count;
  assert_true(plan->used + bytes + 8 <= FIXTURE_BYTES);
  if (bytes) memcpy(plan->bytes + plan->used, data, bytes);
  plan->used += (uint32_t)((bytes + 7) / 8 * 8);
  return span;
}

static inline hmoe_plan_span plan_text(fixture_plan *plan, const char *text) {
  return plan_put(plan, text, 1, (uint32_t)strlen(text));
}

static inline fixture_plan *plan_create(const char *name) {
  fixture_plan *plan = aligned_alloc(64, (sizeof *plan + 63) / 64 * 64);
  assert_non_null(plan);
  memset(plan, 0, sizeof *plan);
  plan->used = sizeof(hmoe_plan);
  plan->header.name = plan_text(plan, name);
  plan->header.layout = 0x1234;
  plan->header.state_positions = HMOE_PANEL;
  return plan;
}

static inline uint32_t plan_param(fixture_plan *plan, const char *key, uint32_t count, uint32_t rank, const uint64_t *shape) {
  hmoe_plan_param *param = &plan->params[plan->header.params.count];
  *param = (hmoe_plan_param){.key = plan_text(plan, key), .count = count, .rank = rank};
  memcpy(param->shape, shape, rank * sizeof *shape);
  return plan->header.params.count++;
}
#define SHAPE(...)                                                                                                                 \
  (sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t)), (const uint64_t[]) { __VA_ARGS__ }

static inline uint32_t plan_cache(fixture_plan *plan, uint64_t slots, uint64_t bytes, uint32_t top_k) {
  plan->caches[plan->header.caches.count] = (hmoe_plan_cache){slots, bytes, top_k, 0};
  return plan->header.caches.count++;
}

static inline uint32_t plan_state(fixture_plan *plan, uint32_t scope, uint32_t segments, uint64_t position_bytes) {
  plan->states[plan->header.states.count] = (hmoe_plan_state){scope, segments, position_bytes};
  return plan->header.states.count++;
}

static inline void plan_setting(fixture_plan *plan, uint32_t setting, const int64_t *values, uint32_t count) {
  assert_true(plan->header.generation.count < HMOE_SETTING_COUNT);
  plan->settings[plan->header.generation.count++] = (hmoe_plan_setting){setting, 0, plan_put(plan, values, sizeof *values, count)};
}

static inline void plan_setting_number(fixture_plan *plan, uint32_t setting, double number) {
  int64_t bits;
  memcpy(&bits, &number, sizeof bits);
  plan_setting(plan, setting, &bits, 1);
}

static inline fixture_entry *plan_entry(fixture_plan *plan, const char *name) {
  fixture_entry *entry = &plan->entries[plan->header.entries.count++];
  entry->entry.name = plan_text(plan, name);
  entry->entry.advance[HMOE_SCOPE_TARGET] = entry->entry.advance[HMOE_SCOPE_SOURCE] = HMOE_NONE;
  return entry;
}

static inline uint32_t plan_dim(fixture_entry *entry, uint32_t kind, uint32_t source, uint64_t factor) {
  entry->dims[entry->entry.dims.count] = (hmoe_plan_dim){kind, source, factor};
  return entry->entry.dims.count++;
}

static inline uint32_t plan_buffer(fixture_entry *entry, uint32_t kind, uint32_t index, uint64_t offset, uint64_t fixed_bytes,
                                   uint64_t bytes_per_row, uint32_t dim) {
  entry->buffers[entry->entry.buffers.count] = (hmoe_plan_buffer){kind, index, offset, fixed_bytes, bytes_per_row, dim, 0};
  if (kind == HMOE_BUFFER_WORKSPACE && index >= entry->entry.slots) entry->entry.slots = index + 1;
  return entry->entry.buffers.count++;
}

/* A workspace buffer in a slot of its own. */
static inline uint32_t plan_temporary(fixture_entry *entry, uint64_t fixed_bytes, uint64_t bytes_per_row, uint32_t dim) {
  return plan_buffer(entry, HMOE_BUFFER_WORKSPACE, entry->entry.slots, 0, fixed_bytes, bytes_per_row, dim);
}

static inline uint32_t plan_weight(fixture_plan *plan, fixture_entry *entry, uint64_t bytes) {
  uint64_t offset = plan->header.weight_bytes;
  plan->header.weight_bytes += (bytes + 63) / 64 * 64;
  return plan_buffer(entry, HMOE_BUFFER_WEIGHT, 0, offset, bytes, 0, HMOE_NONE);
}

/* The same weights seen from another entry. */
static inline uint32_t plan_share(fixture_entry *entry, const fixture_entry *from, uint32_t buffer) {
  entry->buffers[entry->entry.buffers.count] = from->buffers[buffer];
  return entry->entry.buffers.count++;
}

static inline uint32_t plan_input(fixture_plan *plan, fixture_entry *entry, const char *name, uint32_t dtype,
                                  uint64_t bytes_per_row) {
  entry->inputs[entry->entry.inputs.count] =
      (hmoe_plan_tensor){.name = plan_text(plan, name), .dtype = dtype, .rank = 2, .shape = {-1, 1}};
  return plan_buffer(entry, HMOE_BUFFER_INPUT, entry->entry.inputs.count++, 0, 0, bytes_per_row, 0);
}

static inline uint32_t plan_output(fixture_plan *plan, fixture_entry *entry, const char *name, uint32_t dtype,
                                   uint64_t bytes_per_row) {
  entry->outputs[entry->entry.outputs.count] =
      (hmoe_plan_tensor){.name = plan_text(plan, name), .dtype = dtype, .rank = 2, .shape = {-1, 1}};
  return plan_buffer(entry, HMOE_BUFFER_OUTPUT, entry->entry.outputs.count++, 0, 0, bytes_per_row, 0);
}

/* Shapes, beyond the [d0, 1] that inputs and outputs have: -1-d is dimension d. */
static inline void plan_shape(hmoe_plan_tensor *tensor, int64_t first, int64_t second) {
  tensor->rank = 2;
  tensor->shape[0] = first;
  tensor->shape[1] = second;
}

/* Bindings that are not given are HMOE_NONE, fields that are not given zero. */
static inline hmoe_plan_step *plan_step(fixture_plan *plan, fixture_entry *entry, uint32_t kind, uint32_t rows_dim,
                                        uint32_t binding_count, const hmoe_plan_binding *bindings, size_t field_bytes,
                                        const void *fields) {
  hmoe_plan_binding all[16];
  uint32_t count = hmoe_step_bindings(kind) > binding_count ? hmoe_step_bindings(kind) : binding_count;
  assert_true(count <= 16);
  for (uint32_t i = 0; i < count; i++) all[i] = i < binding_count ? bindings[i] : (hmoe_plan_binding){.buffer = HMOE_NONE};
  hmoe_plan_step *step = &entry->steps[entry->entry.steps.count++];
  *step = (hmoe_plan_step){.kind = kind, .rows_dim = rows_dim};
  step->bindings = plan_put(plan, all, sizeof *all, count);
  step->fields = plan_put(plan, fields, 1, (uint32_t)field_bytes);
  return step;
}
#define AT(index) {.buffer = (index)}
#define BINDINGS(...)                                                                                                              \
  (uint32_t)(sizeof((hmoe_plan_binding[]){__VA_ARGS__}) / sizeof(hmoe_plan_binding)), (const hmoe_plan_binding[]) { __VA_ARGS__ }
#define FIELDS(kind, ...)                                                                                                          \
  sizeof(hmoe_step_##kind), &(const hmoe_step_##kind) { __VA_ARGS__ }

static inline hmoe_plan_span plan_dims(fixture_plan *plan, uint32_t count, const uint32_t *dims) {
  return plan_put(plan, dims, sizeof *dims, count);
}
#define DIMS(...)                                                                                                                  \
  (uint32_t)(sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)), (const uint32_t[]) { __VA_ARGS__ }

/* FLOP of a row that no thread computes for itself. */
enum { SHARED = 1 << 24 }; /* picoseconds of a row: no step is too small to be shared */

/* A task a row. */
static inline hmoe_plan_step *plan_kernel(fixture_plan *plan, fixture_entry *entry, uint32_t kernel, uint32_t rows_dim,
                                          uint32_t binding_count, const hmoe_plan_binding *bindings) {
  return plan_step(plan, entry, HMOE_STEP_KERNEL, rows_dim, binding_count, bindings,
                   FIELDS(kernel, .kernel = kernel, .row_block = 1, .groups = 1, .column_splits = 1, .tasks = 8));
}

/* One run of bytes: the destination's binding, the source's. */
static inline hmoe_plan_step *plan_copy(fixture_plan *plan, fixture_entry *entry, uint32_t binding_count,
                                        const hmoe_plan_binding *bindings, uint64_t bytes) {
  return plan_step(plan, entry, HMOE_STEP_COPY, HMOE_NONE, binding_count, bindings,
                   FIELDS(copy, .outer = {1, 0, 0}, .inner = {1, 0, 0}, .run_bytes = bytes));
}

/* A vector that is a parameter, as it is. */
static inline hmoe_plan_step *plan_vector(fixture_plan *plan, fixture_entry *entry, uint32_t weight, uint32_t param,
                                          uint64_t count) {
  return plan_step(plan, entry, HMOE_STEP_PACK, HMOE_NONE, BINDINGS(AT(weight)),
                   FIELDS(pack, .source = {param, 0, 0, {1, 0}, {count, 1}, {1, 0}, {1, 0}, {1, 0}},
                          .destination = {.layout = HMOE_LAYOUT_VECTOR, .columns = count, .generated_rows = 1}));
}

/* Panels of a parameter [columns, depth], or a stack of them; one row of 32 for each of the depth where columns are at most that. */
static inline hmoe_plan_step *plan_panels(fixture_plan *plan, fixture_entry *entry, hmoe_plan_binding weight, uint32_t param,
                                          uint64_t groups, uint64_t columns, uint64_t depth) {
  uint64_t padded = (columns + HMOE_PANEL - 1) / HMOE_PANEL * HMOE_PANEL;
  return plan_step(plan, entry, HMOE_STEP_PACK, HMOE_NONE, BINDINGS(weight),
                   FIELDS(pack, .source = {param, 0, 0, {groups, 0}, {columns, depth}, {1, 0}, {1, 0}, {depth, 1}},
                          .destination = {.layout = HMOE_LAYOUT_PANELS,
                                          .columns = padded,
                                          .generated_rows = 1,
                                          .group_bytes = padded * depth * 4,
                                          .operand_rows = depth}));
}

static inline const hmoe_model_object *plan_finish(fixture_plan *plan, const hmoe_kernel_fn *kernels, uint32_t kernel_count) {
  hmoe_plan_entry entries[4];
  uint32_t count = plan->header.entries.count;
  hmoe_plan_span names[FIXTURE_ITEMS];
  for (uint32_t i = 0; i < count; i++) {
    fixture_entry *e = &plan->entries[i];
    uint32_t inputs = 0;
    for (; inputs < e->entry.dims.count && e->dims[inputs].kind == HMOE_DIM_INPUT; inputs++) {
      char name[16];
      snprintf(name, sizeof name, "d%u", inputs);
      names[inputs] = plan_text(plan, name);
    }
    e->entry.dim_names = plan_put(plan, names, sizeof *names, inputs);
    e->entry.dims = plan_put(plan, e->dims, sizeof *e->dims, e->entry.dims.count);
    e->entry.inputs = plan_put(plan, e->inputs, sizeof *e->inputs, e->entry.inputs.count);
    e->entry.outputs = plan_put(plan, e->outputs, sizeof *e->outputs, e->entry.outputs.count);
    e->entry.buffers = plan_put(plan, e->buffers, sizeof *e->buffers, e->entry.buffers.count);
    e->entry.steps = plan_put(plan, e->steps, sizeof *e->steps, e->entry.steps.count);
    entries[i] = e->entry;
  }
  plan->header.entries = plan_put(plan, entries, sizeof *entries, count);
  plan->header.params = plan_put(plan, plan->params, sizeof *plan->params, plan->header.params.count);
  plan->header.caches = plan_put(plan, plan->caches, sizeof *plan->caches, plan->header.caches.count);
  plan->header.generation = plan_put(plan, plan->settings, sizeof *plan->settings, plan->header.generation.count);
  plan->header.states = plan_put(plan, plan->states, sizeof *plan->states, plan->header.states.count);
  plan->header.magic = HMOE_PLAN_MAGIC;
  plan->header.abi_version = HMOE_ABI_VERSION;
  plan->header.bytes = plan->used;
  memcpy(plan->bytes, &plan->header, sizeof plan->header);
  for (uint32_t i = 0; i < kernel_count; i++)
    plan->functions[i] = (hmoe_function){.call = kernels[i], .scratch_bytes = 64, .threads = 1, .row_ps = SHARED};
  plan->images[0] = (hmoe_image){.target = "cpu", .version = "portable", .functions = plan->functions};
  plan->object = (hmoe_model_object){.abi_version = HMOE_ABI_VERSION,
                                     .kernel_count = kernel_count,
                                     .plan = plan->bytes,
                                     .plan_bytes = plan->used,
                                     .images = plan->images,
                                     .image_count = 1};
  return &plan->object;
}

/* ---- checkpoints ---- */

typedef struct fixture_file {
  char header[8192];
  size_t header_used;
  uint8_t *data;
  size_t data_bytes;
  uint8_t *bytes; /* the whole file, after file_finish */
  size_t size_bytes;
} fixture_file;

static inline void file_tensor(fixture_file *file, const char *name, const char *dtype, uint32_t rank, const uint64_t *shape,
                               const void *data, size_t bytes) {
  file->header_used += (size_t)snprintf(file->header + file->header_used, sizeof file->header - file->header_used,
                                        "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", file->header_used ? "," : "{", name, dtype);
  for (uint32_t i = 0; i < rank; i++)
    file->header_used += (size_t)snprintf(file->header + file->header_used, sizeof file->header - file->header_used, "%s%llu",
                                          i ? "," : "", (unsigned long long)shape[i]);
  file->header_used += (size_t)snprintf(file->header + file->header_used, sizeof file->header - file->header_used,
                                        "],\"data_offsets\":[%zu,%zu]}", file->data_bytes, file->data_bytes + bytes);
  file->data = realloc(file->data, file->data_bytes + bytes + 1);
  if (bytes) memcpy(file->data + file->data_bytes, data, bytes);
  file->data_bytes += bytes;
}
#define FILE_SHAPE(...)                                                                                                            \
  (uint32_t)(sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t)), (const uint64_t[]) { __VA_ARGS__ }

static inline hmoe_weights file_finish(fixture_file *file) {
  file->header_used += (size_t)snprintf(file->header + file->header_used, sizeof file->header - file->header_used, "%s}",
                                        file->header_used ? "" : "{");
  uint64_t length = file->header_used;
  file->size_bytes = 8 + file->header_used + file->data_bytes;
  file->bytes = malloc(file->size_bytes);
  memcpy(file->bytes, &length, 8);
  memcpy(file->bytes + 8, file->header, file->header_used);
  if (file->data_bytes) memcpy(file->bytes + 8 + file->header_used, file->data, file->data_bytes);
  return (hmoe_weights){
      .kind = HMOE_WEIGHTS_MEMORY, .path = "toy.safetensors", .data = file->bytes, .size_bytes = file->size_bytes};
}

static inline void file_deinit(fixture_file *file) {
  free(file->data);
  free(file->bytes);
  *file = (fixture_file){0};
}

/* ---- memory ---- */

/* Blocks with guards before and behind: whoever writes outside of one is noticed when it is released. Nothing may rely on zeros. */
enum { GUARD_BYTES = 64, GUARD = 0xc3, UNINITIALISED = 0xa5 };

/* From any thread, where an assertion could not leave the test. */
static inline void guard_check(const uint8_t *guard, size_t bytes, const char *where) {
  for (size_t i = 0; i < bytes; i++)
    if (guard[i] != GUARD) {
      fprintf(stderr, "a byte %s a block was written: %zu of %zu\n", where, i, bytes);
      abort();
    }
}

static inline void *guard_allocate(void *context, size_t size, size_t alignment) {
  (void)context;
  size_t all = size + 2 * GUARD_BYTES;
  if (alignment < 16 || alignment > GUARD_BYTES || (alignment & (alignment - 1)) != 0) abort();
  uint8_t *memory = all < size || all > PTRDIFF_MAX / 1024
                        ? NULL
                        : aligned_alloc(GUARD_BYTES, (all + GUARD_BYTES - 1) / GUARD_BYTES * GUARD_BYTES);
  if (!memory) return NULL;
  memset(memory, GUARD, GUARD_BYTES);
  memset(memory + GUARD_BYTES, UNINITIALISED, size);
  memset(memory + GUARD_BYTES + size, GUARD, GUARD_BYTES);
  return memory + GUARD_BYTES;
}

static inline void guard_release(void *context, void *memory, size_t size) {
  (void)context;
  uint8_t *begin = (uint8_t *)memory - GUARD_BYTES;
  guard_check(begin, GUARD_BYTES, "before");
  guard_check((uint8_t *)memory + size, GUARD_BYTES, "behind");
  memset(begin, UNINITIALISED, GUARD_BYTES + size);
  free(begin);
}

/* An allocator that counts, and fails once. */
typedef struct counting {
  atomic_int calls, live;
  atomic_long bytes;
  int fail_at; /* 0: never */
} counting;

static inline void *count_allocate(void *context, size_t size, size_t alignment) {
  counting *c = context;
  if (++c->calls == c->fail_at) return NULL;
  c->live++;
  c->bytes += (long)size;
  return guard_allocate(NULL, size, alignment);
}

static inline void count_release(void *context, void *memory, size_t size) {
  counting *c = context;
  c->live--;
  c->bytes -= (long)size;
  guard_release(NULL, memory, size);
}

/* What refuses large memory: a damaged size must not fill the machine. */
static inline void *allocate_little(void *context, size_t size, size_t alignment) {
  return size > 1 << 24 ? NULL : guard_allocate(context, size, alignment);
}

/* ---- the rest ---- */

static const hmoe_allocator fixture_allocator = {NULL, guard_allocate, guard_release};

static inline hmoe_options fixture_options(uint32_t threads) {
  return (hmoe_options){.struct_size = sizeof(hmoe_options), .threads = threads, .allocator = &fixture_allocator};
}

static inline void assert_ok(hmoe_status status) {
  if (status != HMOE_OK) fail_msg("%s: %s", hmoe_status_string(status), hmoe_last_error());
}

/* Whether a text is this one, whatever it begins with: to its last character, or on to "..." where that ends what is expected. */
static inline bool says(const char *text, const char *expected) {
  size_t size = strlen(text), length = strlen(expected);
  if (length >= 3 && strcmp(expected + length - 3, "...") == 0) {
    for (const char *at = text; *at; at++)
      if (strncmp(at, expected, length - 3) == 0) return true;
    return false;
  }
  return size >= length && strcmp(text + size - length, expected) == 0;
}

static inline void assert_fails(hmoe_status status, hmoe_status expected, const char *message) {
  if (status != expected || !says(hmoe_last_error(), message))
    fail_msg("expected %s with '%s', found %s: %s", hmoe_status_string(expected), message, hmoe_status_string(status),
             status == HMOE_OK ? "" : hmoe_last_error());
}

/* A repeatable source of numbers. */
static inline uint32_t fixture_random(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(*state >> 33);
}

/* Real threads without a pool, for runs under a thread sanitizer too: one thread a task. */
typedef struct fixture_call {
  void (*task)(void *, size_t);
  void *context;
  size_t index;
} fixture_call;

static inline void *fixture_thread(void *argument) {
  fixture_call *call = argument;
  call->task(call->context, call->index);
  return NULL;
}

static inline void fixture_parallel_for(void *context, size_t count, void (*task)(void *, size_t), void *task_context) {
  (void)context;
  pthread_t threads[16];
  fixture_call calls[16];
  assert_true(count <= 16);
  for (size_t i = 0; i < count; i++) {
    calls[i] = (fixture_call){task, task_context, i};
    assert_int_equal(pthread_create(&threads[i], NULL, fixture_thread, &calls[i]), 0);
  }
  for (size_t i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

#endif
