/* place: from logical shapes to the target's layouts, and schedules.
 *
 *   buffer {role = "rows", shape = [0, 35]}      ->  buffer {..., layout = {row_bytes = 192, slack_rows = 14}}
 *   grouped_matmul {bind = [a, b, c], k = 35}    ->  grouped_matmul {..., layout = {a_in_place = 1, a_stride = 48, k = 64, ...}, schedule = {row_block = 64}}
 *   norm_rows {bind = [x, out], at = [40, 0]}    ->  norm_rows {..., offsets = [208, 0]}
 *   pack {matrix = {columns = [8, 6], ...}}      ->  pack {..., args = [...]}
 *
 * Weights get their offsets in the arena, what is in caches its offset there, states their sizes. Layouts are the answers of hmoec_layout_of, which no
 * other pass asks, and of the target's pack, repack and insert; which fields of a kernel hold which fact is said by its family's table. Schedules are set by
 * the target's own place, step by step. Requires hmk from plan-kernels; a module may be placed again, for another schedule. Cost: linear, but for
 * sorting the weights. */
#include "passes/passes.h"

#include <stdlib.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "ir/hmk_ops.h"
#include "ir/location.h"
#include "kernel/family.h"
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
  const hmoec_pass_options *options;
  hmoec_diagnostics *diagnostics;
  hmoec_scalar_library functions;
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
                           .groups = hmoec_op_int(buffer, "groups"),
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
  if (p->kept_count[kind]) qsort(p->kept[kind], p->kept_count[kind], sizeof *p->kept[kind], compare_kept);
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
  if (p->kept_count[STATES]) qsort(p->kept[STATES], p->kept_count[STATES], sizeof *p->kept[STATES], compare_kept);
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

/* ---- steps ---- */

/* What a step has bound, as it is laid out. */
typedef struct bound {
  MlirOperation buffer; /* null: nothing */
  hmoec_operand operand;
  hmoec_layout layout;
  int64_t at, apart, by; /* as planned */
} bound;

static bound bound_at(const placing *p, MlirOperation op, intptr_t number) {
  bound b = {.buffer = mlirOpResultGetOwner(mlirOperationGetOperand(op, number)),
             .at = hmoec_hmk_of_operand(op, "at", number),
             .apart = hmoec_hmk_array_size(op, "apart") < 0 ? -1 : hmoec_hmk_array(op, "apart", number),
             .by = hmoec_hmk_of_operand(op, "by", number)};
  b.operand = operand_of(b.buffer);
  b.layout = hmoec_layout_of(p->target, &p->schedule, &b.operand);
  return b;
}

static bound bound_as(const placing *p, MlirOperation op, const char *role) {
  MlirAttribute bind = mlirOperationGetAttributeByName(op, ref("bind"));
  for (intptr_t i = 0; i < mlirArrayAttrGetNumElements(bind); i++)
    if (mlirStringRefEqual(mlirStringAttrGetValue(mlirArrayAttrGetElement(bind, i)), ref(role))) return bound_at(p, op, i);
  return (bound){.apart = -1};
}

/* Where an element of rows without gaps is among those that have some. */
static int64_t laid(const bound *b, int64_t element) {
  int64_t columns = b->operand.columns;
  return b->operand.role != HMOEC_ROLE_ROWS || columns < 1 ? element : element / columns * b->layout.stride + element % columns;
}

/* From a row to the next, in elements; 0 of what is not there. */
static int64_t stride_of(const bound *b) {
  if (mlirOperationIsNull(b->buffer)) return 0;
  if (b->apart >= 0) return laid(b, b->apart);
  intptr_t rank = hmoec_hmk_array_size(b->buffer, "shape");
  return b->operand.role == HMOEC_ROLE_PLAIN && rank > 1 ? hmoec_hmk_array(b->buffer, "shape", rank - 1) : b->layout.stride;
}

/* Where a step begins in a buffer, in elements. */
static int64_t begin_of(const placing *p, const bound *b) {
  if (b->operand.role != HMOEC_ROLE_RIGHT) return laid(b, b->at);
  return p->target->right_column(b->operand.format, b->operand.depth, b->at);
}

static void set_list(MlirOperation op, const char *name, const int64_t *values, intptr_t count) {
  for (intptr_t i = 0; i < count; i++)
    if (values[i] != 0) {
      mlirOperationSetAttributeByName(op, ref(name), mlirDenseI64ArrayGet(mlirOperationGetContext(op), count, values));
      return;
    }
}

/* offsets and advances, in bytes; first: elements that the first buffer begins further on. */
static void place_bindings(const placing *p, MlirOperation op, int64_t first) {
  int64_t offsets[HMOEC_MAX_ROLES], advances[HMOEC_MAX_ROLES];
  intptr_t count = mlirOperationGetNumOperands(op);
  for (intptr_t i = 0; i < count; i++) {
    bound b = bound_at(p, op, i);
    int64_t bytes = hmoec_hmk_element_bytes(b.buffer);
    offsets[i] = (begin_of(p, &b) + (i == 0 ? first : 0)) * bytes;
    advances[i] = b.by * stride_of(&b) * bytes;
  }
  set_list(op, "offsets", offsets, count);
  set_list(op, "advances", advances, count);
}

/* ---- kernels ---- */

typedef struct kernel_place {
  const placing *p;
  MlirOperation op;
} kernel_place;

/* The hidden block of a pair, as its first product writes it (c) and its second one reads it (a). */
static bound hidden_of(const placing *p, const hmoec_matmul_spec *product, bool is_c) {
  bound hidden = {.apart = -1,
                  .operand = {.role = HMOEC_ROLE_ROWS,
                              .format = is_c ? product->c_format : product->a_format,
                              .depth = 1,
                              .columns = is_c ? product->n : product->k,
                              .in_place = true}};
  hidden.layout = hmoec_layout_of(p->target, &p->schedule, &hidden.operand);
  return hidden;
}

/* Whether a product reads the rows of A as they lie: all of their columns, one row after the other. */
static bool in_place(const bound *a, const hmoec_matmul_spec *product) {
  return a->operand.in_place && a->operand.format == product->format && a->operand.columns == product->k && a->at == 0 &&
         !product->few_rows && a->by == 0 && a->apart < 0 && !product->has_gather && product->norm == HMOEC_NORM_NONE;
}

/* Whether a product may write whole column steps; what it generates has room for them always. */
static bool padded(const placing *p, const bound *c, int64_t stride, int64_t n) {
  bool whole = c->operand.role == HMOEC_ROLE_RIGHT || c->operand.role == HMOEC_ROLE_VECTOR;
  return whole || (c->at == 0 && stride >= hmoec_round_columns(p->target, n));
}

/* Columns behind those that are written, where they are the last of their row and nothing is added to it. */
static int64_t padding_of(const bound *out, int64_t stride, const hmoec_rows_spec *rows) {
  int64_t columns = out->operand.columns;
  bool last = columns > 0 && out->at % columns + rows->n == columns;
  return last && !rows->accumulate && stride > columns ? stride - columns : 0;
}

static int64_t fact_of(void *context, hmoec_fact fact, const hmoec_fact_source *source) {
  const kernel_place *k = context;
  const hmoec_matmul_spec *product = source->description; /* where the fact is one of products */
  bound b = source->hidden ? hidden_of(k->p, product, strcmp(source->role, "c") == 0) : bound_as(k->p, k->op, source->role);
  int64_t stride = source->hidden ? b.layout.stride : stride_of(&b);
  switch (fact) {
  case HMOEC_FACT_STRIDE: return stride;
  case HMOEC_FACT_GROUP: return product->grouped ? stride : 0;
  case HMOEC_FACT_GROUP_BYTES: return product->grouped ? hmoec_format_bytes(b.operand.format, stride) : 0;
  case HMOEC_FACT_IN_PLACE: return in_place(&b, product);
  case HMOEC_FACT_PADDED: return padded(k->p, &b, stride, product->n);
  case HMOEC_FACT_DEPTH: {
    const hmoec_operand right = {.role = HMOEC_ROLE_RIGHT, .format = product->format, .depth = product->k, .columns = product->n};
    return in_place(&b, product) ? hmoec_layout_of(k->p->target, &k->p->schedule, &right).depth : product->k;
  }
  case HMOEC_FACT_COLUMNS: return b.operand.generated_rows ? b.layout.columns : product->n;
  case HMOEC_FACT_PADDING: return padding_of(&b, stride, source->description);
  case HMOEC_FACT_ZERO: return b.layout.zero;
  case HMOEC_FACT_STEP: return k->p->target->column_step;
  case HMOEC_FACT_NONE: break;
  }
  return 0;
}

static bool place_kernel(const placing *p, MlirOperation op, const hmoec_kernel *planned) {
  kernel_place context = {p, op};
  hmoec_kernel placed = *planned;
  hmoec_kernel_place(&placed, fact_of, &context);
  hmoec_kernel_write_layout(&placed, planned, &p->functions, op);
  char text[HMOEC_KERNEL_CHARS];
  const char *refused = p->target->refuses ? p->target->refuses(&placed, text) : NULL;
  return !refused ||
         hmoec_error(p->diagnostics, hmoec_location_of_op(op), "target %s has no code for %s", p->target->name, refused);
}

/* ---- other steps ---- */

static void set_args(MlirOperation op, const int64_t *args, intptr_t count) {
  mlirOperationSetAttributeByName(op, ref("args"), mlirDenseI64ArrayGet(mlirOperationGetContext(op), count, args));
}

static void place_pack(const placing *p, MlirOperation op) {
  int64_t args[HMOEC_PACK_ARGS];
  bound to = bound_as(p, op, "dst"), from = bound_as(p, op, "source");
  if (from.operand.role == HMOEC_ROLE_RIGHT) {
    p->target->repack(to.operand.format, to.operand.depth, to.operand.columns, args);
    set_args(op, args, HMOEC_PACK_ARGS);
    return;
  }
  hmoec_packing packing = hmoec_packing_read(op);
  int64_t *const strides[] = {&packing.column_stride,  &packing.q_stride,      &packing.k_outer_stride,
                              &packing.k_inner_stride, &packing.source_offset, &packing.source_group_stride};
  for (size_t i = 0; i < sizeof strides / sizeof *strides; i++) *strides[i] = laid(&from, *strides[i]);
  packing.format = to.operand.format;
  if (to.operand.generated_rows) packing.generates = to.operand.generates;
  packing.padded = to.operand.role == HMOEC_ROLE_VECTOR;
  packing.operand_k = to.operand.role == HMOEC_ROLE_RIGHT ? to.operand.depth : 0;
  if (to.operand.role == HMOEC_ROLE_RIGHT || to.operand.role == HMOEC_ROLE_VECTOR) packing.operand_n = to.layout.columns;
  p->target->pack(&packing, args);
  set_args(op, args, HMOEC_PACK_ARGS);
}

/* Returns where in the destination it begins. */
static int64_t place_copy(const placing *p, MlirOperation op) {
  int64_t args[HMOEC_COPY_ARGS], begin;
  bound to = bound_as(p, op, "dst"), from = bound_as(p, op, "src");
  p->target->insert(to.operand.format, hmoec_hmk_array(to.buffer, "shape", 0), to.operand.depth, to.operand.columns,
                    hmoec_op_int(op, "depth"), from.operand.depth, &begin, args);
  set_args(op, args, HMOEC_COPY_ARGS);
  return begin;
}

static void place_relative_bias(const placing *p, MlirOperation op) {
  bound to = bound_as(p, op, "dst");
  const int64_t values[2] = {to.layout.columns, to.layout.zero - to.operand.columns};
  hmoec_hmk_layout_set(op, (const char *const[]){"columns", "pad"}, values, 2);
}

static bool place_step(const placing *p, MlirOperation op) {
  static const char *const placed[] = {"layout", "offsets", "advances", "args"};
  for (size_t i = 0; i < sizeof placed / sizeof *placed; i++) mlirOperationRemoveAttributeByName(op, ref(placed[i]));
  hmoec_kernel planned;
  int64_t first = 0;
  if (hmoec_kernel_read(op, &p->functions, &planned) && !place_kernel(p, op, &planned)) return false;
  if (hmoec_op_is(op, "hmk.pack") || hmoec_op_is(op, "hmk.pack_vector")) place_pack(p, op);
  if (hmoec_op_is(op, "hmk.copy")) first = place_copy(p, op);
  if (hmoec_op_is(op, "hmk.relative_bias")) place_relative_bias(p, op);
  place_bindings(p, op, first);
  return true;
}

/* ---- the pass ---- */

static bool place_function(MlirOperation function, MlirBlock block, void *user) {
  placing *p = user;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
    if (hmoec_op_is(op, "hmk.buffer") && !place_buffer(p, op)) return false;
    if (!hmoec_hmk_info_of(op)) continue;
    if (!place_step(p, op)) return false;
    p->failed = p->failed || !p->target->place(function, op, &p->schedule);
  }
  p->failed = p->failed || !hmoec_apply_tuning(function, p->options->tuning, p->target, p->options->dtype, &p->functions);
  return !p->failed;
}

bool hmoec_place(MlirModule module, hmoec_pass_options *options, hmoec_diagnostics *diagnostics) {
  placing p = {.target = options->target, .options = options, .diagnostics = diagnostics};
  MlirOperation root = mlirModuleGetOperation(module);
  int64_t weight_bytes = 0, cache_bytes = 0;
  bool ok = hmoec_schedule_read(root, p.target, diagnostics, &p.schedule) &&
            hmoec_scalar_library_init(module, diagnostics, &p.functions) && hmoec_each_function(module, place_function, &p) &&
            place_kept(&p, WEIGHTS, &weight_bytes) && place_kept(&p, CACHES, &cache_bytes);
  if (ok) {
    hmoec_hmk_set_int(root, "hmk.weight_bytes", weight_bytes);
    place_states(&p, root);
  }
  for (size_t kind = 0; kind < 3; kind++) free(p.kept[kind]);
  hmoec_scalar_library_deinit(&p.functions);
  return p.failed ? hmoec_machine_error(diagnostics, "out of memory") : ok;
}
