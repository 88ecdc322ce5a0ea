/* plan-workspace: gives every workspace buffer a slot, so that buffers that are never alive together share memory.
 *
 *   buffer {slot = -1}  ->  buffer {slot = s}
 *
 * A buffer is alive from its first to its last step; a loop keeps alive, from its own step to its last, whatever its body uses. Buffers of
 * one slot have the same row dimension, so that the slot's size is a maximum of sizes that grow together; the free slot of the closest
 * size is taken. The runtime sizes slots for the dimensions of a run. Requires hmk with layouts, from place. Cost: buffers times slots. */
#include "passes/passes.h"

#include <stdlib.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "ir/hmk_ops.h"
#include "passes/rewrite.h"

typedef struct life {
  MlirOperation buffer;
  int64_t first, last, dim, bytes;
} life;
typedef struct slot {
  int64_t free_after, dim, bytes;
} slot;

static int64_t buffer_row_bytes(MlirOperation buffer) {
  int64_t bytes = hmoec_hmk_layout(buffer, "row_bytes");
  return hmoec_op_int(buffer, "dim") >= 0 ? bytes : bytes * hmoec_hmk_array(buffer, "shape", 0);
}

static int compare_first(const void *a, const void *b) {
  const life *x = a, *y = b;
  return (x->first > y->first) - (x->first < y->first);
}

static bool assign(MlirOperation function, MlirBlock block, void *user) {
  (void)function;
  (void)user;
  size_t count, lives = 0, slots = 0;
  MlirOperation *ops = hmoec_block_ops(block, &count);
  life *life_of = calloc(count + 1, sizeof *life_of);
  slot *slot_of = calloc(count + 1, sizeof *slot_of);
  bool ok = ops && life_of && slot_of;
  for (size_t i = 0; ok && i < count; i++)
    if (hmoec_op_is(ops[i], "hmk.buffer") && hmoec_op_string_is(ops[i], "kind", "workspace"))
      life_of[lives++] = (life){ops[i], -1, -1, hmoec_op_int(ops[i], "dim"), buffer_row_bytes(ops[i])};

  for (size_t i = 0, loop_end = 0, loop_begin = 0; ok && i < count; i++) {
    if (hmoec_op_is(ops[i], "hmk.buffer")) continue;
    if (hmoec_op_is(ops[i], "hmk.loop")) {
      loop_begin = loop_end = i;
      for (int64_t body = hmoec_op_int(ops[i], "body"); body > 0 && loop_end + 1 < count;)
        body -= !hmoec_op_is(ops[++loop_end], "hmk.buffer");
    }
    bool looped = i > loop_begin && i <= loop_end;
    for (intptr_t o = 0; o < mlirOperationGetNumOperands(ops[i]); o++) {
      MlirOperation buffer = hmoec_defining_op(mlirOperationGetOperand(ops[i], o));
      for (size_t b = 0; b < lives; b++) {
        if (!mlirOperationEqual(life_of[b].buffer, buffer)) continue;
        int64_t first = (int64_t)(looped ? loop_begin : i), last = (int64_t)(looped ? loop_end : i);
        if (life_of[b].first < 0 || first < life_of[b].first) life_of[b].first = first;
        if (last > life_of[b].last) life_of[b].last = last;
      }
    }
  }
  if (ok) qsort(life_of, lives, sizeof *life_of, compare_first);
  for (size_t b = 0; ok && b < lives; b++) {
    size_t best = slots;
    for (size_t s = 0; s < slots; s++) {
      if (slot_of[s].free_after >= life_of[b].first || slot_of[s].dim != life_of[b].dim) continue;
      if (best == slots || llabs(slot_of[s].bytes - life_of[b].bytes) < llabs(slot_of[best].bytes - life_of[b].bytes)) best = s;
    }
    if (best == slots) slot_of[slots++] = (slot){.dim = life_of[b].dim};
    slot_of[best].free_after = life_of[b].last;
    if (life_of[b].bytes > slot_of[best].bytes) slot_of[best].bytes = life_of[b].bytes;
    MlirContext context = mlirOperationGetContext(life_of[b].buffer);
    mlirOperationSetAttributeByName(life_of[b].buffer, mlirStringRefCreateFromCString("slot"),
                                    mlirIntegerAttrGet(mlirIntegerTypeGet(context, 64), (int64_t)best));
  }
  free(slot_of);
  free(life_of);
  free(ops);
  return ok;
}

bool hmoec_plan_workspace(MlirModule module, hmoec_pass_options *options, hmoec_diagnostics *diagnostics) {
  (void)options;
  (void)diagnostics;
  return hmoec_each_function(module, assign, NULL);
}
