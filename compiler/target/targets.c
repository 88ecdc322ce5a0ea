/* The targets there are, and what is the same for the versions and the knobs of all of them. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "ir/location.h"
#include "kernel/family.h"
#include "target/target.h"

const hmoec_target *const hmoec_targets[] = {&hmoec_target_cpu, &hmoec_target_cuda, NULL};

const hmoec_target *hmoec_target_find(const char *name) {
  for (size_t i = 0; hmoec_targets[i]; i++)
    if (strcmp(hmoec_targets[i]->name, name) == 0) return hmoec_targets[i];
  return NULL;
}

/* LLVM's list of targets is the process's, and adding to it is not safe from several threads. */
static void initialise_process(void) {
  for (size_t i = 0; hmoec_targets[i]; i++) hmoec_targets[i]->initialise();
}

void hmoec_targets_initialise(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, initialise_process);
}

/* ---- layouts ---- */

/* Columns of a generator: the elements of a right operand, or of a vector, that it generates. */
static int64_t generated_columns(const hmoec_target *target, const hmoec_schedule *schedule, const hmoec_operand *generator) {
  const hmoec_operand generated = {.role = HMOEC_ROLE_RIGHT,
                                   .format = generator->generates,
                                   .depth = generator->generated_rows,
                                   .columns = generator->columns / generator->generated_rows};
  return hmoec_layout_of(target, schedule, &generated).stride;
}

hmoec_layout hmoec_layout_of(const hmoec_target *target, const hmoec_schedule *schedule, const hmoec_operand *operand) {
  hmoec_operand item = *operand;
  if (item.generated_rows) item.columns = generated_columns(target, schedule, operand);
  item.generated_rows = 0;
  int64_t whole = hmoec_round_columns(target, item.columns);
  switch (item.role) {
  case HMOEC_ROLE_PLAIN: return (hmoec_layout){.stride = item.columns, .columns = item.columns};
  case HMOEC_ROLE_TABLE: return (hmoec_layout){.stride = hmoec_round_columns(target, item.depth * item.columns)};
  case HMOEC_ROLE_VECTOR: return (hmoec_layout){.stride = whole, .columns = whole};
  case HMOEC_ROLE_DISTANCES: {
    int64_t zero = item.columns + target->position_pad, columns = hmoec_round_columns(target, 2 * zero + 2);
    return (hmoec_layout){.stride = columns, .columns = columns, .zero = zero};
  }
  default: return target->layout(schedule, &item);
  }
}

int64_t hmoec_right_elements(const hmoec_target *target, hmoec_format format, int64_t k, int64_t n) {
  const hmoec_schedule defaults = {{0}};
  return hmoec_layout_of(target, &defaults, &(hmoec_operand){.role = HMOEC_ROLE_RIGHT, .format = format, .depth = k, .columns = n})
      .stride;
}

bool hmoec_has_gaps(const hmoec_target *target, const hmoec_schedule *schedule, const hmoec_operand *operand) {
  if (operand->role != HMOEC_ROLE_ROWS) return false;
  return operand->in_place || hmoec_layout_of(target, schedule, operand).stride != operand->columns;
}

size_t hmoec_code_version_count(const hmoec_target *target) {
  size_t count = 0;
  while (count < HMOEC_MOST_VERSIONS && target->version(count).name) count++;
  return count;
}

size_t hmoec_code_version_find(const hmoec_target *target, const char *name) {
  size_t v = 0;
  while (v < hmoec_code_version_count(target) && strcmp(target->version(v).name, name) != 0) v++;
  return v;
}

uint32_t hmoec_code_versions_of(const hmoec_target *target, const hmoec_kernel *kernels, size_t count) {
  bool has[HMOEC_FORMAT_COUNT] = {[HMOEC_FORMAT_F32] = true};
  uint32_t versions = 0;
  for (size_t i = 0; i < count; i++) has[hmoec_kernel_format(&kernels[i])] = true;
  for (size_t v = 0; v < hmoec_code_version_count(target); v++)
    if (has[target->version(v).products]) versions |= 1u << v;
  return versions;
}

const hmoec_knob *hmoec_target_knobs(const hmoec_target *target) { return target->host ? target->host->knobs : target->knobs; }

size_t hmoec_target_knob_count(const hmoec_target *target) { return target->host ? target->host->knob_count : target->knob_count; }

const hmoec_machine *hmoec_target_machine(const hmoec_target *target) {
  if (target->machines) return target->machines;
  return target->host ? target->host->machines : NULL;
}

int64_t hmoec_knob_at(const hmoec_target *target, const hmoec_schedule *schedule, size_t number) {
  return schedule->value[number] ? schedule->value[number] : hmoec_target_knobs(target)[number].value;
}

size_t hmoec_knob_find(const hmoec_target *target, const char *name, size_t length) {
  const hmoec_knob *knobs = hmoec_target_knobs(target);
  size_t i = 0;
  for (; i < hmoec_target_knob_count(target); i++) {
    size_t of = strlen(knobs[i].of), own = strlen(knobs[i].name);
    if (length == of + 1 + own && memcmp(name, knobs[i].of, of) == 0 && name[of] == '.' &&
        memcmp(name + of + 1, knobs[i].name, own) == 0)
      break;
  }
  return i;
}

int64_t hmoec_knob_value(const hmoec_target *target, const hmoec_schedule *schedule, const char *of, const char *name) {
  const hmoec_knob *knobs = hmoec_target_knobs(target);
  for (size_t i = 0; i < hmoec_target_knob_count(target); i++)
    if (strcmp(knobs[i].of, of) == 0 && strcmp(knobs[i].name, name) == 0) return hmoec_knob_at(target, schedule, i);
  return 0;
}

bool hmoec_place_attention(MlirOperation function, MlirOperation attention, int64_t query_block) {
  int64_t length = hmoec_hmk_array(attention, "dims", 1), heads = hmoec_op_int(attention, "rows");
  int64_t blocks = hmoec_hmk_dim(function, HMOE_DIM_CEIL_DIV, length, query_block);
  int64_t tasks = blocks < 0 ? -1 : hmoec_hmk_dim(function, HMOE_DIM_PRODUCT, heads, blocks);
  hmoec_hmk_schedule_set(attention, (const char *const[]){"query_block", "tasks"}, (const int64_t[]){query_block, tasks}, 2);
  return tasks >= 0;
}

static bool is_product_in(MlirOperation step, const char *format) {
  if (hmoec_op_is(step, "hmk.grouped_ffn")) return hmoec_op_string_is(step, "first_format", format);
  return hmoec_op_is(step, "hmk.grouped_matmul") && hmoec_op_string_is(step, "format", format);
}

bool hmoec_multiplies_blocks_in(MlirOperation step, hmoec_format format) {
  const char *name = hmoec_format_name(format);
  const hmoec_hmk_info *info = hmoec_hmk_info_of(step);
  size_t role = 0;
  while (info && info->roles[role] && strcmp(info->roles[role], "blocks") != 0) role++;
  intptr_t blocks = info && info->roles[role] ? hmoec_hmk_operand(step, info, role) : -1;
  if (blocks < 0) return false;
  MlirOpOperand use = mlirValueGetFirstUse(mlirOperationGetOperand(step, blocks));
  while (!mlirOpOperandIsNull(use) && !is_product_in(mlirOpOperandGetOwner(use), name)) use = mlirOpOperandGetNextUse(use);
  return !mlirOpOperandIsNull(use);
}

/* ---- in modules ---- */

enum { NAME_CHARS = 96 };

static MlirStringRef ref(const char *text) { return mlirStringRefCreateFromCString(text); }

void hmoec_schedule_write(MlirOperation module, const hmoec_target *target, const hmoec_schedule *schedule) {
  MlirContext context = mlirOperationGetContext(module);
  MlirNamedAttribute entries[HMOEC_MOST_KNOBS];
  intptr_t count = 0;
  for (size_t i = 0; i < hmoec_target_knob_count(target); i++) {
    const hmoec_knob *knob = &hmoec_target_knobs(target)[i];
    if (!schedule->value[i] || schedule->value[i] == knob->value) continue;
    char name[NAME_CHARS];
    snprintf(name, sizeof name, "%s.%s", knob->of, knob->name);
    entries[count++] = (MlirNamedAttribute){mlirIdentifierGet(context, ref(name)),
                                            mlirIntegerAttrGet(mlirIntegerTypeGet(context, 64), schedule->value[i])};
  }
  mlirOperationSetAttributeByName(module, ref("hmk.target"), mlirStringAttrGet(context, ref(target->name)));
  mlirOperationSetAttributeByName(module, ref("hmk.schedule"), mlirDictionaryAttrGet(context, count, entries));
}

static bool read_knob(const hmoec_target *target, MlirNamedAttribute entry, hmoec_location location, hmoec_diagnostics *diagnostics,
                      hmoec_schedule *schedule) {
  MlirStringRef name = mlirIdentifierStr(entry.name);
  size_t number = hmoec_knob_find(target, name.data, name.length);
  if (number == hmoec_target_knob_count(target))
    return hmoec_error(diagnostics, location, "hmk.schedule: target %s has no knob %.*s", target->name, (int)name.length,
                       name.data);
  const hmoec_knob *knob = &hmoec_target_knobs(target)[number];
  int64_t value = mlirAttributeIsAInteger(entry.attribute) ? mlirIntegerAttrGetValueInt(entry.attribute) : -1;
  if (value < knob->least || value > knob->most)
    return hmoec_error(diagnostics, location, "hmk.schedule: expected %.*s to be an integer from %lld to %lld", (int)name.length,
                       name.data, (long long)knob->least, (long long)knob->most);
  schedule->value[number] = value;
  return true;
}

bool hmoec_schedule_read(MlirOperation module, const hmoec_target *target, hmoec_diagnostics *diagnostics,
                         hmoec_schedule *out_schedule) {
  hmoec_location location = hmoec_location_of_op(module);
  MlirAttribute name = mlirOperationGetAttributeByName(module, ref("hmk.target")),
                entries = mlirOperationGetAttributeByName(module, ref("hmk.schedule"));
  if (mlirAttributeIsNull(name) || !mlirAttributeIsAString(name) || mlirAttributeIsNull(entries) ||
      !mlirAttributeIsADictionary(entries))
    return hmoec_error(diagnostics, location, "expected a planned module with hmk.target and hmk.schedule");
  MlirStringRef text = mlirStringAttrGetValue(name);
  if (!mlirStringRefEqual(ref(target->name), text))
    return hmoec_error(diagnostics, location, "expected a module planned for target %s, found %.*s", target->name, (int)text.length,
                       text.data);
  memset(out_schedule, 0, sizeof *out_schedule);
  for (intptr_t i = 0; i < mlirDictionaryAttrGetNumElements(entries); i++)
    if (!read_knob(target, mlirDictionaryAttrGetElement(entries, i), location, diagnostics, out_schedule)) return false;
  return true;
}

/* ---- packings: hmk.pack {matrix = {columns = [8, 6], depth = [6, 1]}, to = {column = 32, pair = "gates"}} ---- */

/* Axes of the source, a count and a stride each, and what is said where they are left out. */
static const struct {
  const char *name;
  size_t count, stride;
  int64_t usual;
} axes[] = {{"columns", offsetof(hmoec_packing, columns), offsetof(hmoec_packing, column_stride), 0},
            {"generated", offsetof(hmoec_packing, q), offsetof(hmoec_packing, q_stride), 1},
            {"parts", offsetof(hmoec_packing, k_outer), offsetof(hmoec_packing, k_outer_stride), 1},
            {"depth", offsetof(hmoec_packing, k_inner), offsetof(hmoec_packing, k_inner_stride), 0},
            {"groups", offsetof(hmoec_packing, groups), offsetof(hmoec_packing, source_group_stride), 1}};
static const struct {
  const char *name;
  size_t at;
} numbers[] = {{"column", offsetof(hmoec_packing, first_column)},
               {"depth", offsetof(hmoec_packing, first_k)},
               {"pitch", offsetof(hmoec_packing, outer_pitch)},
               {"apart", offsetof(hmoec_packing, operand_n)}};
static const char *const pairs[] = {NULL, "gates", "ups"};
enum { AXES = sizeof axes / sizeof *axes, NUMBERS = sizeof numbers / sizeof *numbers };

static int64_t *number_at(hmoec_packing *packing, size_t offset) { return (int64_t *)(void *)((char *)packing + offset); }

static MlirNamedAttribute entry(MlirContext context, const char *name, MlirAttribute value) {
  return (MlirNamedAttribute){mlirIdentifierGet(context, ref(name)), value};
}

size_t hmoec_packing_write(const hmoec_packing *packing, MlirContext context, MlirNamedAttribute *out_attributes) {
  hmoec_packing p = *packing;
  MlirType i64 = mlirIntegerTypeGet(context, 64);
  MlirNamedAttribute matrix[AXES + 1], to[NUMBERS + 2];
  intptr_t count = 0, to_count = 0;
  for (size_t i = 0; i < AXES; i++) {
    const int64_t axis[2] = {*number_at(&p, axes[i].count), *number_at(&p, axes[i].stride)};
    if (axis[0] != axes[i].usual || axis[1] != 0)
      matrix[count++] = entry(context, axes[i].name, mlirDenseI64ArrayGet(context, 2, axis));
  }
  if (p.source_offset) matrix[count++] = entry(context, "offset", mlirIntegerAttrGet(i64, p.source_offset));
  for (size_t i = 0; i < NUMBERS; i++) {
    int64_t number = *number_at(&p, numbers[i].at);
    if (number) to[to_count++] = entry(context, numbers[i].name, mlirIntegerAttrGet(i64, number));
  }
  if (p.pair) to[to_count++] = entry(context, "pair", mlirStringAttrGet(context, ref(pairs[p.pair])));
  if (p.side_by_side) to[to_count++] = entry(context, "side_by_side", mlirUnitAttrGet(context));
  out_attributes[0] = entry(context, "matrix", mlirDictionaryAttrGet(context, count, matrix));
  out_attributes[1] = entry(context, "to", mlirDictionaryAttrGet(context, to_count, to));
  return HMOEC_PACKING_ATTRIBUTES;
}

/* Null where the dictionary of the op, or its entry, is not there. */
static MlirAttribute entry_of(MlirOperation op, const char *dictionary, const char *name) {
  MlirAttribute all = mlirOperationGetAttributeByName(op, ref(dictionary));
  if (mlirAttributeIsNull(all) || !mlirAttributeIsADictionary(all)) return mlirAttributeGetNull();
  return mlirDictionaryAttrGetElementByName(all, ref(name));
}

static int64_t number_of(MlirAttribute value) {
  return !mlirAttributeIsNull(value) && mlirAttributeIsAInteger(value) ? mlirIntegerAttrGetValueInt(value) : 0;
}

hmoec_packing hmoec_packing_read(MlirOperation pack) {
  hmoec_packing p = {.source_offset = number_of(entry_of(pack, "matrix", "offset")),
                     .side_by_side = !mlirAttributeIsNull(entry_of(pack, "to", "side_by_side"))};
  for (size_t i = 0; i < AXES; i++) {
    MlirAttribute axis = entry_of(pack, "matrix", axes[i].name);
    bool given = !mlirAttributeIsNull(axis) && mlirAttributeIsADenseI64Array(axis) && mlirDenseArrayGetNumElements(axis) == 2;
    *number_at(&p, axes[i].count) = given ? mlirDenseI64ArrayGetElement(axis, 0) : axes[i].usual;
    *number_at(&p, axes[i].stride) = given ? mlirDenseI64ArrayGetElement(axis, 1) : 0;
  }
  for (size_t i = 0; i < NUMBERS; i++) *number_at(&p, numbers[i].at) = number_of(entry_of(pack, "to", numbers[i].name));
  MlirAttribute pair = entry_of(pack, "to", "pair");
  for (int i = HMOEC_PAIR_GATES; i <= HMOEC_PAIR_UPS; i++)
    if (!mlirAttributeIsNull(pair) && mlirAttributeIsAString(pair) &&
        mlirStringRefEqual(mlirStringAttrGetValue(pair), ref(pairs[i])))
      p.pair = (hmoec_pair)i;
  return p;
}
