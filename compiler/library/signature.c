#include "library/signature.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "hmoe/abi.h"
#include "interpreter/parameters.h"
#include "ir/entry.h"
#include "passes/rewrite.h"

static void text_copy(const char *base, hmoe_plan_span span, char *out, size_t size) {
  snprintf(out, size, "%.*s", (int)span.count, base + span.offset);
}

static const hmoec_element elements[] = {HMOEC_F32, HMOEC_I32, HMOEC_I64}; /* by hmoe_plan_tensor.dtype */

/* Sizes that are not the caller's are a state's, of which signatures say nothing. */
static bool tensors_read(const char *base, hmoe_plan_span span, bool needs_state, size_t size_count, hmoec_signature_tensor *out,
                         size_t *out_count) {
  const hmoe_plan_tensor *tensors = (const void *)(base + span.offset);
  if (span.count > HMOEC_MAX_TENSORS) return false;
  *out_count = span.count;
  for (size_t i = 0; i < span.count; i++) {
    text_copy(base, tensors[i].name, out[i].name, sizeof out[i].name);
    out[i].optional = tensors[i].optional != 0;
    out[i].shape = (hmoec_shape){.element = elements[tensors[i].dtype], .rank = (int64_t)tensors[i].rank};
    for (size_t d = 0; d < tensors[i].rank; d++) {
      int64_t size = tensors[i].shape[d];
      out[i].shape.dims[d] = size < 0 ? HMOEC_DYNAMIC : size;
      if (size < 0) out[i].sizes[d] = (size_t)(-1 - size);
      if (size >= 0 || out[i].sizes[d] < size_count) continue;
      if (!needs_state) return false;
      out[i].sizes[d] = HMOEC_SIZE_OF_STATE;
    }
  }
  return true;
}

static bool entry_read(const char *base, const hmoe_plan_entry *entry, hmoec_signature *out) {
  const hmoe_plan_dim *dims = (const void *)(base + entry->dims.offset);
  const hmoe_plan_span *names = (const void *)(base + entry->dim_names.offset);
  text_copy(base, entry->name, out->name, sizeof out->name);
  out->needs_state = entry->needs_state != 0;
  while (out->size_count < entry->dims.count && dims[out->size_count].kind == HMOE_DIM_INPUT) out->size_count++;
  if (out->size_count > HMOEC_MAX_SIZES) return false;
  for (size_t i = 0; i < out->size_count; i++) {
    if (i < entry->dim_names.count) text_copy(base, names[i], out->size_names[i], sizeof out->size_names[i]);
    else snprintf(out->size_names[i], sizeof out->size_names[i], out->size_count == 1 ? "tokens" : "size %zu", i);
  }
  return tensors_read(base, entry->inputs, out->needs_state, out->size_count, out->inputs, &out->input_count) &&
         tensors_read(base, entry->outputs, out->needs_state, out->size_count, out->outputs, &out->output_count);
}

bool hmoec_signature_read(const hmoec_unit *unit, const char *entry, hmoec_signature *out_signature,
                          hmoec_diagnostics *diagnostics) {
  const char *base = unit->plan;
  const hmoe_plan *plan = unit->plan;
  const hmoe_plan_entry *entries = (const void *)(base + plan->entries.offset);
  const char *wanted = entry ? entry : "forward";
  uint32_t found = 0;
  char list[512] = "", name[128];
  for (uint32_t i = 1; i < plan->entries.count; i++) {
    text_copy(base, entries[i].name, name, sizeof name);
    size_t used = strlen(list);
    snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", name);
    if (!found && strcmp(name, wanted) == 0) found = i;
  }
  if (!found && entry) return hmoec_usage_error(diagnostics, "there is no entry '%s'; the model has: %s", entry, list);
  if (!found) found = 1;
  *out_signature = (hmoec_signature){.entry = found};
  if (found >= plan->entries.count) return hmoec_error(diagnostics, (hmoec_location){0}, "the model has no entry");
  if (entry_read(base, &entries[found], out_signature)) return true;
  return hmoec_error(diagnostics, (hmoec_location){0}, "entry %s has more than %d inputs or outputs, or %d sizes",
                     out_signature->name, HMOEC_MAX_TENSORS, HMOEC_MAX_SIZES);
}

hmoec_shape hmoec_signature_shape(const hmoec_signature_tensor *tensor, const int64_t *sizes) {
  if (!tensor) return (hmoec_shape){0};
  hmoec_shape shape = tensor->shape;
  for (int64_t d = 0; sizes && d < shape.rank && d < HMOEC_MAX_RANK; d++)
    if (shape.dims[d] == HMOEC_DYNAMIC && tensor->sizes[d] != HMOEC_SIZE_OF_STATE) shape.dims[d] = sizes[tensor->sizes[d]];
  return shape;
}

size_t hmoec_element_bytes(hmoec_element element) { return element == HMOEC_I64 ? 8 : 4; }

/* What integers of an input are for, by its uses. */
typedef struct integers {
  bool mask;
  int64_t limit; /* of ids */
} integers;

static integers integers_of(MlirOperation function, const char *name) {
  integers found = {.limit = INT64_MAX};
  MlirBlock block = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
  for (size_t i = 0; i < hmoec_entry_input_count(function); i++) {
    if (strcmp(hmoec_entry_input_name(function, i).data, name) != 0) continue;
    MlirValue value = mlirBlockGetArgument(block, (intptr_t)i);
    for (MlirOpOperand use = mlirValueGetFirstUse(value); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use)) {
      MlirOperation user = mlirOpOperandGetOwner(use);
      if (!hmoec_op_is(user, "hmoe.embedding")) {
        found.mask = true;
        continue;
      }
      int64_t rows = hmoec_value_shape(mlirOperationGetOperand(user, 1)).dims[0];
      if (rows < found.limit) found.limit = rows;
    }
  }
  if (found.limit == INT64_MAX) found.mask = true;
  return found;
}

static void integer_store(void *out, hmoec_element element, size_t index, int64_t value) {
  if (element == HMOEC_I64) ((int64_t *)out)[index] = value;
  else ((int32_t *)out)[index] = (int32_t)value;
}

void hmoec_random_input(MlirOperation function, const char *name, const hmoec_shape *shape, uint64_t seed, void *out) {
  size_t count = (size_t)hmoec_shape_elements(shape);
  char key[160];
  snprintf(key, sizeof key, "input %s", name);
  if (shape->element == HMOEC_F32) {
    hmoec_random_fill(seed, key, 1.0, count, out);
    return;
  }
  integers use = integers_of(function, name);
  if (!use.mask) {
    for (size_t i = 0; i < count; i++)
      integer_store(out, shape->element, i, (int64_t)(hmoec_random_bits(seed, key, i) % (uint64_t)use.limit));
    return;
  }
  size_t length = (size_t)(shape->rank > 0 ? shape->dims[shape->rank - 1] : 1);
  for (size_t i = 0; i < count; i++) {
    size_t row = i / length, padding = row % 3 ? hmoec_random_bits(seed, key, row) % (length / 2 + 1) : 0;
    integer_store(out, shape->element, i, i % length < length - padding);
  }
}

int64_t hmoec_most_positions(MlirOperation function) {
  int64_t most = INT64_MAX;
  MlirBlock block = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
    if (!hmoec_op_is(op, "hmoe.position_embedding")) continue;
    int64_t rows = hmoec_value_shape(mlirOperationGetOperand(op, 1)).dims[0];
    if (rows < most) most = rows;
  }
  return most;
}
