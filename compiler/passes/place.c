/* place: from logical shapes to the target's layouts, and schedules.
 *
 *   buffer {role = "rows", shape = [0, 35]}  ->  buffer {..., layout = {row_bytes = 192, slack_rows = 14}}
 *   step                                     ->  step {..., schedule = {row_block = 64}}
 *
 * Weights get their offsets in the arena, what is in caches its offset there, states their sizes. Layouts are the answers of hmoec_layout_of, which no
 * other pass asks; schedules are set by the target's own place, step by step. Requires hmk from plan-kernels; a module may be placed again, for
 * another schedule. Cost: linear, but for sorting the weights. */
#include "passes/passes.h"

#include <stdlib.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "ir/hmk_ops.h"
#include "ir/location.h"
#include "passes/rewrite.h"

enum { ALIGNED_BYTES = 64 }; /* of what lies side by side in an arena */

/* A weight, a part of a cache, or a tensor of the states, as one of the functions names it. */
typedef struct kept {
  MlirOperation buffer;
  int64_t index, part, bytes, order;
} kept;

typedef struct placing {
  const hmoec_target *target;
  hmoec_schedule schedule;
  hmoec_diagnostics *diagnostics;
  kept *kept[3]; /* weights, caches, states */
  size_t kept_count[3];
  bool failed; /* memory ran out */
} placing;
enum { WEIGHTS, CACHES, STATES };
static const char *const kept_kinds[] = {"weight", "cache", "state"};

static MlirStringRef ref(const char *text) { return mlirStringRefCreateFromCString(text); }

/* ---- buffers ---- */

static hmoec_operand operand_of(MlirOperation buffer) {
  hmoec_operand operand = {.generated_rows = hmoec_op_int(buffer, "generated_rows"),
                           .in_place = !mlirAttributeIsNull(mlirOperationGetAttributeByName(buffer, ref("in_place")))};
  while (!hmoec_op_string_is(buffer, "role", hmoec_role_names[operand.role])) operand.role++;
  for (int f = 0; f < HMOEC_FORMAT_COUNT; f++) {
    if (hmoec_op_string_is(buffer, "element", hmoec_format_names[f])) operand.format = (hmoec_format)f;
    if (hmoec_op_string_is(buffer, "generates", hmoec_format_names[f])) operand.generates = (hmoec_format)f;
  }
  intptr_t rank = hmoec_hmk_array_size(buffer, "shape");
  operand.columns = rank > 1 ? hmoec_hmk_array(buffer, "shape", rank - 1) : 1;
  operand.depth = rank > 2 ? hmoec_hmk_array(buffer, "shape", 1) : 1;
  for (intptr_t i = 1; operand.role == HMOEC_ROLE_PLAIN && i + 1 < rank; i++)
    operand.columns *= hmoec_hmk_array(buffer, "shape", i);
  return operand;
}

/* Whether a buffer of this size, padded, can be counted in bytes. */
static bool fits(const placing *p, MlirOperation buffer) {
  int64_t bytes = 8; /* of the widest elements */
  for (intptr_t i = 0; i < hmoec_hmk_array_size(buffer, "shape"); i++) {
    int64_t most = hmoec_hmk_array(buffer, "shape", i), padding = p->target->column_step + p->target->position_pad;
    if (__builtin_add_overflow(most, padding, &most) || __builtin_mul_overflow(bytes, most, &bytes)) return false;
  }
  return true;
}

static void keep(placing *p, size_t kind, kept item) {
  size_t count = p->kept_count[kind];
  bool full = (count & (count - 1)) == 0;
  kept *grown = full ? realloc(p->kept[kind], (count ? 2 * count : 1) * sizeof *grown) : p->kept[kind];
  p->failed = p->failed || !grown;
  if (!grown) return;
  p->kept[kind] = grown;
  item.order = (int64_t)count;
  grown[p->kept_count[kind]++] = item;
}

static const char *const buffer_names[] = {"row_bytes", "slack_rows"};

static bool place_buffer(placing *p, MlirOperation buffer) {
  if (!fits(p, buffer))
    return hmoec_error(p->diagnostics, hmoec_location_of_op(buffer), "the model is too large: a size does not fit 63 bits");
  hmoec_operand operand = operand_of(buffer);
  hmoec_layout layout = hmoec_layout_of(p->target, &p->schedule, &operand);
  int64_t values[2] = {hmoec_hmk_element_bytes(buffer) * layout.stride, layout.slack + hmoec_op_int(buffer, "extra_rows")};
  hmoec_hmk_layout_set(buffer, buffer_names, values, values[1] ? 2 : 1);
  for (size_t kind = 0; kind < 3; kind++)
    if (hmoec_op_string_is(buffer, "kind", kept_kinds[kind]))
      keep(p, kind,
           (kept){.buffer = buffer,
                  .index = hmoec_op_int(buffer, "index"),
                  .part = hmoec_op_int(buffer, "part"),
                  .bytes = values[0] * (kind == STATES ? 1 : hmoec_hmk_array(buffer, "shape", 0))});
  return true;
}

/* ---- what is kept ---- */

static int compare_kept(const void *a, const void *b) {
  const kept *x = a, *y = b;
  if (x->index != y->index) return x->index < y->index ? -1 : 1;
  if (x->part != y->part) return x->part < y->part ? -1 : 1;
  return x->order < y->order ? -1 : 1;
}

static bool same(const kept *a, const kept *b) { return a->index == b->index && a->part == b->part; }

/* One behind the other in order of their numbers: of all in one memory, or of those of one index. False: they are too large. *out_bytes: of the last
 * memory. */
static bool place_kept(placing *p, size_t kind, int64_t *out_bytes) {
  int64_t at = 0, next = 0;
  qsort(p->kept[kind], p->kept_count[kind], sizeof *p->kept[kind], compare_kept);
  for (size_t i = 0; i < p->kept_count[kind]; i++) {
    const kept *item = &p->kept[kind][i], *before = i ? item - 1 : NULL;
    if (!before || !same(item, before)) {
      at = before && kind == CACHES && before->index != item->index ? 0 : next;
      if (__builtin_add_overflow(at, item->bytes, &next) || __builtin_add_overflow(next, ALIGNED_BYTES - 1, &next))
        return hmoec_error(p->diagnostics, hmoec_location_of_op(item->buffer),
                           "the model is too large: its weights do not fit 63 bits");
      next = next / ALIGNED_BYTES * ALIGNED_BYTES;
    }
    const int64_t values[2] = {hmoec_hmk_layout(item->buffer, "row_bytes"), at};
    hmoec_hmk_layout_set(item->buffer, (const char *const[]){"row_bytes", "offset"}, values, 2);
  }
  *out_bytes = next;
  return true;
}

/* hmk.states: of each tensor its scope, the parts of a position that lie apart, and the bytes of one. */
static void place_states(placing *p, MlirOperation root) {
  qsort(p->kept[STATES], p->kept_count[STATES], sizeof *p->kept[STATES], compare_kept);
  int64_t *states = calloc(3 * p->kept_count[STATES] + 1, sizeof *states);
  p->failed = p->failed || !states;
  intptr_t count = 0;
  for (size_t i = 0; states && i < p->kept_count[STATES]; i++) {
    const kept *item = &p->kept[STATES][i];
    if (i && same(item, item - 1)) continue;
    hmoec_operand operand = operand_of(item->buffer);
    int64_t parts = hmoec_layout_of(p->target, &p->schedule, &operand).parts;
    states[count++] = hmoec_op_int(item->buffer, "scope");
    states[count++] = parts ? parts : 1;
    states[count++] = item->bytes;
  }
  if (count)
    mlirOperationSetAttributeByName(root, ref("hmk.states"), mlirDenseI64ArrayGet(mlirOperationGetContext(root), count, states));
  free(states);
}

/* ---- the pass ---- */

static bool place_function(MlirOperation function, MlirBlock block, void *user) {
  placing *p = user;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
    if (hmoec_op_is(op, "hmk.buffer") && !place_buffer(p, op)) return false;
    if (hmoec_hmk_info_of(op) && !p->target->place(function, op, &p->schedule)) p->failed = true;
  }
  return !p->failed;
}

bool hmoec_place(MlirModule module, hmoec_pass_options *options, hmoec_diagnostics *diagnostics) {
  placing p = {.target = options->target, .diagnostics = diagnostics};
  MlirOperation root = mlirModuleGetOperation(module);
  int64_t weight_bytes = 0, cache_bytes = 0;
  bool ok = hmoec_schedule_read(root, p.target, diagnostics, &p.schedule) && hmoec_each_function(module, place_function, &p) &&
            place_kept(&p, WEIGHTS, &weight_bytes) && place_kept(&p, CACHES, &cache_bytes);
  if (ok) {
    hmoec_hmk_set_int(root, "hmk.weight_bytes", weight_bytes);
    place_states(&p, root);
  }
  for (size_t kind = 0; kind < 3; kind++) free(p.kept[kind]);
  return p.failed ? hmoec_machine_error(diagnostics, "out of memory") : ok;
}
