/* Reads an hmk module into kernels and the plan blob. One function of the module is one entry of the plan, @open first; one op is one step. */
#include "emit/unit.h"

#include <stdlib.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "emit/stamp.h"
#include "emit/steps.h"
#include "hmoe/abi.h"
#include "ir/generation.h"
#include "kernel/family.h"

typedef hmoec_plan_writer reader;

static MlirStringRef ref(const char *text) { return mlirStringRefCreateFromCString(text); }

static void *grow(reader *r, void *array, size_t count, size_t size) {
  void *grown = realloc(array, (count + 1) * size);
  if (!grown) r->failed = true;
  return grown;
}

/* A stack of one tensor is that tensor: its key has the number filled in. */
static hmoe_plan_span key_span(reader *r, MlirStringRef key, int64_t count) {
  char *text = malloc(key.length + 2);
  hmoe_plan_span span = {0, 0};
  if (!text) {
    r->failed = true;
    return span;
  }
  size_t length = 0;
  for (size_t i = 0; i < key.length; i++) {
    bool placeholder = count == 1 && key.data[i] == '{' && i + 1 < key.length && key.data[i + 1] == '}';
    text[length++] = placeholder ? '0' : key.data[i];
    i += placeholder;
  }
  span = hmoec_blob_append(&r->blob, text, length, length);
  free(text);
  return span;
}

static void add_param(reader *r, MlirOperation buffer) {
  size_t index = (size_t)hmoec_op_int(buffer, "index");
  while (r->param_count <= index) {
    hmoe_plan_param *grown = grow(r, r->params, r->param_count, sizeof *grown);
    if (!grown) return;
    r->params = grown;
    r->params[r->param_count++] = (hmoe_plan_param){0};
  }
  hmoe_plan_param *param = &r->params[index];
  if (param->rank) return;
  int64_t count = hmoec_op_int(buffer, "count");
  param->key = key_span(r, hmoec_op_string(buffer, "key"), count);
  param->count = count > 1 ? (uint32_t)count : 1;
  param->rank = (uint32_t)hmoec_hmk_array_size(buffer, "shape");
  for (uint32_t i = 0; i < param->rank; i++) param->shape[i] = (uint64_t)hmoec_hmk_array(buffer, "shape", (intptr_t)i);
}

static void add_cache(reader *r, MlirOperation buffer) {
  size_t index = (size_t)hmoec_op_int(buffer, "index");
  while (r->cache_count <= index) {
    hmoe_plan_cache *grown = grow(r, r->caches, r->cache_count, sizeof *grown);
    if (!grown) return;
    r->caches = grown;
    r->caches[r->cache_count++] = (hmoe_plan_cache){0};
  }
  uint64_t end = (uint64_t)hmoec_hmk_layout(buffer, "offset") +
                 (uint64_t)hmoec_hmk_layout(buffer, "row_bytes") * (uint64_t)hmoec_hmk_array(buffer, "shape", 0);
  r->caches[index].slots = (uint64_t)hmoec_hmk_array(buffer, "shape", 0);
  if (end > r->caches[index].bytes) r->caches[index].bytes = end;
}

static hmoe_plan_buffer read_buffer(reader *r, MlirOperation op, uint32_t *slots) {
  static const char *const kinds[] = {"input", "output", "weight", "workspace", "cache", "param", "state"};
  hmoe_plan_buffer buffer = {
      .dim = HMOE_NONE, .index = (uint32_t)hmoec_op_int(op, "index"), .offset = (uint64_t)hmoec_hmk_layout(op, "offset")};
  for (uint32_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (hmoec_op_string_is(op, "kind", kinds[i])) buffer.kind = i;
  int64_t dim = hmoec_op_int(op, "dim");
  uint64_t row_bytes = (uint64_t)hmoec_hmk_layout(op, "row_bytes");
  uint64_t slack_bytes = row_bytes * (uint64_t)hmoec_hmk_layout(op, "slack_rows");
  if (buffer.kind == HMOE_BUFFER_STATE) return buffer; /* its size is the state's */
  if (dim >= 0) {
    buffer.dim = (uint32_t)dim;
    buffer.bytes_per_row = row_bytes;
    buffer.fixed_bytes = slack_bytes;
  } else {
    buffer.fixed_bytes = row_bytes * (uint64_t)hmoec_hmk_array(op, "shape", 0) + slack_bytes;
  }
  if (buffer.kind == HMOE_BUFFER_WORKSPACE) {
    buffer.index = (uint32_t)hmoec_op_int(op, "slot");
    if (buffer.index >= *slots) *slots = buffer.index + 1;
  }
  if (buffer.kind == HMOE_BUFFER_WEIGHT) buffer.index = 0; /* known by its offset */
  if (buffer.kind == HMOE_BUFFER_PARAM) add_param(r, op);
  if (buffer.kind == HMOE_BUFFER_CACHE) add_cache(r, op);
  return buffer;
}

/* hmk.inputs or hmk.outputs: for each tensor name, type, shape as in hmoe_plan_tensor, and the default of an input or unit. hmk.needed_by, if
 * any input is needed so. */
static hmoe_plan_span read_signature(reader *r, MlirOperation function, bool inputs) {
  MlirAttribute list = mlirOperationGetAttributeByName(function, ref(inputs ? "hmk.inputs" : "hmk.outputs"));
  intptr_t needed = hmoec_hmk_array_size(function, "hmk.needed_by");
  hmoe_plan_tensor tensors[16] = {0};
  intptr_t count = mlirAttributeIsNull(list) ? 0 : mlirArrayAttrGetNumElements(list) / 4;
  for (intptr_t i = 0; i < count && i < 16; i++) {
    MlirStringRef text = mlirStringAttrGetValue(mlirArrayAttrGetElement(list, 4 * i));
    MlirAttribute dims = mlirArrayAttrGetElement(list, 4 * i + 2), fill = mlirArrayAttrGetElement(list, 4 * i + 3);
    hmoec_shape shape;
    hmoec_shape_from_type(mlirTypeAttrGetValue(mlirArrayAttrGetElement(list, 4 * i + 1)), &shape);
    tensors[i].name = hmoec_blob_append(&r->blob, text.data, text.length, text.length);
    tensors[i].dtype = shape.element == HMOEC_I32 ? 1 : shape.element == HMOEC_I64 ? 2 : 0;
    tensors[i].rank = (uint32_t)mlirDenseArrayGetNumElements(dims);
    for (uint32_t d = 0; d < tensors[i].rank; d++) tensors[i].shape[d] = mlirDenseI64ArrayGetElement(dims, (intptr_t)d);
    tensors[i].optional = mlirAttributeIsAInteger(fill);
    if (tensors[i].optional) tensors[i].fill = mlirIntegerAttrGetValueInt(fill);
    if (inputs && i < needed) tensors[i].needed_by = (uint32_t)hmoec_hmk_array(function, "hmk.needed_by", i);
  }
  return hmoec_blob_append(&r->blob, tensors, (size_t)count * sizeof *tensors, (size_t)count);
}

/* Zeroed room for `count` elements, to be freed; NULL where memory ran out, which is remembered. */
static void *room_for(reader *r, intptr_t count, size_t size) {
  void *room = calloc((size_t)count + 1, size);
  if (!room) r->failed = true;
  return room;
}

/* hmk.dim_names: of the INPUT dimensions. */
static hmoe_plan_span read_dim_names(reader *r, MlirOperation function) {
  MlirAttribute names = mlirOperationGetAttributeByName(function, ref("hmk.dim_names"));
  intptr_t count = mlirAttributeIsNull(names) ? 0 : mlirArrayAttrGetNumElements(names);
  hmoe_plan_span *spans = room_for(r, count, sizeof *spans);
  if (!spans) return (hmoe_plan_span){0, 0};
  for (intptr_t i = 0; i < count; i++) {
    MlirStringRef text = mlirStringAttrGetValue(mlirArrayAttrGetElement(names, i));
    spans[i] = hmoec_blob_append(&r->blob, text.data, text.length, text.length);
  }
  hmoe_plan_span all = hmoec_blob_append(&r->blob, spans, (size_t)count * sizeof *spans, (size_t)count);
  free(spans);
  return all;
}

/* hmk.dims: kind, source, factor. */
static hmoe_plan_span read_entry_dims(reader *r, MlirOperation function) {
  intptr_t count = hmoec_hmk_array_size(function, "hmk.dims") / 3;
  if (count < 0) count = 0;
  hmoe_plan_dim *dims = room_for(r, count, sizeof *dims);
  if (!dims) return (hmoe_plan_span){0, 0};
  for (intptr_t i = 0; i < count; i++)
    dims[i] = (hmoe_plan_dim){.kind = (uint32_t)hmoec_hmk_array(function, "hmk.dims", 3 * i),
                              .source = (uint32_t)hmoec_hmk_array(function, "hmk.dims", 3 * i + 1),
                              .factor = (uint64_t)hmoec_hmk_array(function, "hmk.dims", 3 * i + 2)};
  hmoe_plan_span span = hmoec_blob_append(&r->blob, dims, (size_t)count * sizeof *dims, (size_t)count);
  free(dims);
  return span;
}

/* hmk.states: scope, segments, bytes of a position. */
static hmoe_plan_span read_states(reader *r, MlirOperation root) {
  intptr_t count = hmoec_hmk_array_size(root, "hmk.states") / 3;
  if (count <= 0) return (hmoe_plan_span){0, 0};
  hmoe_plan_state *states = room_for(r, count, sizeof *states);
  if (!states) return (hmoe_plan_span){0, 0};
  for (intptr_t i = 0; i < count; i++)
    states[i] = (hmoe_plan_state){.scope = (uint32_t)hmoec_hmk_array(root, "hmk.states", 3 * i),
                                  .segments = (uint32_t)hmoec_hmk_array(root, "hmk.states", 3 * i + 1),
                                  .position_bytes = (uint64_t)hmoec_hmk_array(root, "hmk.states", 3 * i + 2)};
  hmoe_plan_span span = hmoec_blob_append(&r->blob, states, (size_t)count * sizeof *states, (size_t)count);
  free(states);
  return span;
}

/* hmk.generation. */
static hmoe_plan_span read_generation(reader *r, MlirOperation root) {
  hmoec_arena *arena = hmoec_arena_create();
  hmoec_generation generation;
  hmoe_plan_setting settings[HMOE_SETTING_COUNT] = {0};
  uint32_t count = 0;
  MlirAttribute attribute = mlirOperationGetAttributeByName(root, ref("hmk.generation"));
  if (!hmoec_generation_from_attribute(attribute, arena, r->diagnostics, (hmoec_location){0}, &generation)) r->refused = true;
  for (uint32_t i = 0; i < HMOE_SETTING_COUNT; i++) {
    const hmoec_setting_value *value = &generation.values[i];
    if (!generation.given[i]) continue;
    bool number = hmoec_setting_kind_of(i) == HMOEC_SETTING_NUMBER;
    const void *data = number ? (const void *)&value->number : value->integers;
    size_t values = number ? 1 : value->count;
    settings[count++] =
        (hmoe_plan_setting){.setting = i, .values = hmoec_blob_append(&r->blob, data, values * sizeof(int64_t), values)};
  }
  hmoec_arena_destroy(arena);
  return hmoec_blob_append(&r->blob, settings, count * sizeof *settings, count);
}

static hmoe_plan_entry read_entry(reader *r, MlirOperation function, MlirBlock block) {
  hmoe_plan_entry entry = {.advance = {HMOE_NONE, HMOE_NONE}};
  MlirStringRef name = hmoec_op_string(function, "sym_name");
  entry.name = hmoec_blob_append(&r->blob, name.data, name.length, name.length);
  entry.dims = read_entry_dims(r, function);
  entry.dim_names = read_dim_names(r, function);
  if (hmoec_hmk_array_size(function, "hmk.advance") == HMOE_SCOPE_COUNT) {
    entry.needs_state = 1;
    for (intptr_t i = 0; i < HMOE_SCOPE_COUNT; i++) {
      int64_t dim = hmoec_hmk_array(function, "hmk.advance", i);
      entry.advance[i] = dim < 0 ? HMOE_NONE : (uint32_t)dim;
    }
  }
  entry.inputs = read_signature(r, function, true);
  entry.outputs = read_signature(r, function, false);

  size_t total = 0, buffer_count = 0, step_count = 0;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op))
    total++;
  hmoec_pointer_map numbers = {0}; /* of hmk.buffer ops */
  hmoe_plan_buffer *buffers = calloc(total, sizeof *buffers);
  hmoe_plan_step *steps = calloc(total, sizeof *steps);
  hmoec_step_reader step_reader = {.plan = r, .buffers = &numbers};
  if (buffers && steps) {
    for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
      if (!hmoec_op_is(op, "hmk.buffer")) continue;
      buffers[buffer_count] = read_buffer(r, op, &entry.slots);
      if (!hmoec_pointer_map_set(&numbers, op.ptr, buffer_count++)) r->failed = true;
    }
    for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
      const hmoec_hmk_info *info = hmoec_hmk_info_of(op);
      if (info) steps[step_count++] = hmoec_step_read(&step_reader, op, info);
    }
    entry.buffers = hmoec_blob_append(&r->blob, buffers, buffer_count * sizeof *buffers, buffer_count);
    entry.steps = hmoec_blob_append(&r->blob, steps, step_count * sizeof *steps, step_count);
  } else {
    r->failed = true;
  }
  free(steps);
  free(buffers);
  hmoec_step_reader_deinit(&step_reader);
  hmoec_pointer_map_deinit(&numbers);
  return entry;
}

bool hmoec_unit_init(MlirModule module, const hmoec_target *target, hmoec_diagnostics *diagnostics, hmoec_unit *out_unit) {
  *out_unit = (hmoec_unit){0};
  reader r = {.diagnostics = diagnostics, .unit = out_unit};
  MlirOperation root = mlirModuleGetOperation(module);
  out_unit->target = target;
  out_unit->machine = hmoec_target_machine(target);
  if (!hmoec_schedule_read(root, target, diagnostics, &out_unit->schedule)) return false;
  if (!hmoec_scalar_library_init(module, diagnostics, &out_unit->functions)) return false;
  hmoe_plan plan = {.magic = HMOE_PLAN_MAGIC, .abi_version = HMOE_ABI_VERSION};
  hmoec_blob_append(&r.blob, &plan, sizeof plan, 1);
  hmoe_plan_entry entries[8] = {0};
  size_t entry_count = 0;
  MlirBlock body = mlirModuleGetBody(module);
  for (MlirOperation function = mlirBlockGetFirstOperation(body); !mlirOperationIsNull(function) && entry_count < 8;
       function = mlirOperationGetNextInBlock(function)) {
    if (hmoec_is_scalar_function(function)) continue;
    MlirAttribute model = mlirOperationGetAttributeByName(function, ref("hmk.model"));
    if (!mlirAttributeIsNull(model) && !out_unit->name) {
      MlirStringRef text = mlirStringAttrGetValue(model);
      out_unit->name = strndup(text.data, text.length);
    }
    entries[entry_count++] = read_entry(&r, function, mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0)));
    if (entry_count == 1) out_unit->host_kernels = out_unit->kernel_count;
  }
  char dtype[16] = "";
  MlirStringRef text = hmoec_op_string(root, "hmk.dtype");
  if (text.length < sizeof dtype) memcpy(dtype, text.data, text.length);
  hmoec_format_find(dtype, &out_unit->dtype);
  if (!target->packs_rows[out_unit->dtype]) out_unit->host_kernels = out_unit->kernel_count;
  plan.weight_bytes = (uint64_t)hmoec_op_int(root, "hmk.weight_bytes");
  out_unit->scratch_bytes = out_unit->target->scratch_bytes(&out_unit->schedule, out_unit->kernels, out_unit->host_kernels);
  plan.state_positions = (uint64_t)out_unit->target->position_step;
  if (out_unit->name) plan.name = hmoec_blob_append(&r.blob, out_unit->name, strlen(out_unit->name), strlen(out_unit->name));
  plan.params = hmoec_blob_append(&r.blob, r.params, r.param_count * sizeof *r.params, r.param_count);
  plan.caches = hmoec_blob_append(&r.blob, r.caches, r.cache_count * sizeof *r.caches, r.cache_count);
  plan.states = read_states(&r, root);
  plan.generation = read_generation(&r, root);
  plan.entries = hmoec_blob_append(&r.blob, entries, entry_count * sizeof *entries, entry_count);
  plan.bytes = r.blob.size;
  if (!hmoec_arena_stamp(module, target, &out_unit->functions, &plan.layout)) r.failed = true;
  free(r.params);
  free(r.caches);
  if (r.refused || r.failed || r.blob.failed || !out_unit->name) {
    free(r.blob.data);
    hmoec_unit_deinit(out_unit);
    return r.refused ? false : hmoec_machine_error(diagnostics, "out of memory");
  }
  memcpy(r.blob.data, &plan, sizeof plan);
  out_unit->plan = r.blob.data;
  out_unit->plan_bytes = r.blob.size;
  return true;
}

void hmoec_made_images_deinit(hmoec_made_images *images) {
  for (size_t i = 0; i < images->count; i++) free(images->at[i].kernels);
  free(images->at);
  *images = (hmoec_made_images){.count = 0};
}

void hmoec_unit_deinit(hmoec_unit *unit) {
  free(unit->name);
  free(unit->kernels);
  free(unit->plan);
  hmoec_scalar_library_deinit(&unit->functions);
  *unit = (hmoec_unit){0};
}

const char *hmoec_unit_dim_name(const hmoec_unit *unit, const hmoe_plan_entry *entry, int64_t d, int *out_length) {
  static const char *const of_state[] = {"target_rows", "target_capacity", "target_length",
                                         "source_rows", "source_capacity", "source_length"};
  const char *plan = unit->plan;
  if (d < (int64_t)entry->dim_names.count) {
    hmoe_plan_span name = ((const hmoe_plan_span *)(plan + entry->dim_names.offset))[d];
    *out_length = (int)name.count;
    return plan + name.offset;
  }
  const hmoe_plan_dim *dim = (const hmoe_plan_dim *)(plan + entry->dims.offset) + d;
  const char *name = dim->kind == HMOE_DIM_STATE && dim->source < 6 ? of_state[dim->source] : "?";
  *out_length = (int)strlen(name);
  return name;
}
