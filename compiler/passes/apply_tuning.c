/* Steps get what was measured for the kernels that they run: tunings = array<i64: first row, last row, version, threads, value, ...>, in the order of the
 * tuning file, in which equal files are equal. A kernel is known by its signature, which no schedule changes; CHOOSE goes by its first way's kernel. */
#include <stdlib.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>

#include "ir/hmk_ops.h"
#include "kernel/family.h"
#include "passes/passes.h"

enum { FIELDS = 5 };

typedef struct applying {
  const hmoec_tuning *tuning;
  const hmoec_target *target;
  hmoec_format dtype;
  const hmoec_scalar_library *functions;
} applying;

static MlirStringRef ref(const char *text) { return mlirStringRefCreateFromCString(text); }

/* The knob's value in an entry, which the target takes (library/tuning.c); false: it has none. */
static bool value_of(const hmoec_tuning_entry *entry, const char *knob, int64_t *out_value) {
  for (size_t i = 0; i < entry->knob_count; i++) {
    *out_value = entry->knobs[i].value;
    if (strcmp(entry->knobs[i].name, knob) == 0) return true;
  }
  return false;
}

/* kernel: an op that runs one, whose signature the values are for. False: no memory. */
static bool apply(const applying *a, MlirOperation op, MlirOperation kernel_op, const char *knob) {
  hmoec_kernel kernel;
  char signature[HMOEC_KERNEL_CHARS];
  intptr_t count = 0, room = 0;
  int64_t *values = NULL, value;
  if (mlirOperationIsNull(kernel_op) || !hmoec_kernel_read(kernel_op, a->functions, &kernel)) return true;
  const hmoec_target *host = a->target->host ? a->target->host : a->target;
  const hmoec_tuning_query query = {.kernel = hmoec_kernel_signature(&kernel, a->functions, signature),
                                    .format = hmoec_format_name(a->dtype),
                                    .target = a->target->name,
                                    .compiler = HMOE_VERSION};
  const hmoec_tuning_entry *entry;
  for (size_t cursor = 0; (entry = hmoec_tuning_next(a->tuning, &query, &cursor));) {
    size_t version = hmoec_code_version_find(host, entry->place.version);
    if (version == hmoec_code_version_count(host) || !value_of(entry, knob, &value)) continue;
    if (count == room) {
      room = room ? 2 * room : 8 * FIELDS;
      int64_t *grown = realloc(values, (size_t)room * sizeof *grown);
      if (!grown) {
        free(values);
        return false;
      }
      values = grown;
    }
    const int64_t fields[FIELDS] = {entry->first_rows, entry->last_rows, (int64_t)version, entry->place.threads, value};
    memcpy(values + count, fields, sizeof fields);
    count += FIELDS;
  }
  if (count) mlirOperationSetAttributeByName(op, ref("tunings"), mlirDenseI64ArrayGet(mlirOperationGetContext(op), count, values));
  free(values);
  return true;
}

static MlirOperation next_step(MlirOperation op) {
  do op = mlirOperationGetNextInBlock(op);
  while (!mlirOperationIsNull(op) && !hmoec_hmk_info_of(op));
  return op;
}

bool hmoec_apply_tuning(MlirOperation function, const hmoec_tuning *tuning, const hmoec_target *target, hmoec_format dtype,
                        const hmoec_scalar_library *functions) {
  const applying a = {tuning, target, dtype, functions};
  MlirBlock block = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
    mlirOperationRemoveAttributeByName(op, ref("tunings"));
    if (!tuning) continue;
    if (hmoec_op_is(op, "hmk.choose") && !apply(&a, op, next_step(op), "choose.percent")) return false;
    if (hmoec_op_is(op, "hmk.grouped_matmul") && !apply(&a, op, op, "kernel.tasks_a_thread")) return false;
  }
  return true;
}
