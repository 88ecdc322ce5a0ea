/* Memory, dimensions and steps of the hmk functions that plan-kernels writes. */
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "passes/plan.h"

static MlirStringRef ref(const char *text) { return mlirStringRefCreateFromCString(text); }

/* An array with room for one more element: it doubles where it is full, which is at powers of two. */
static void *grow(planner *p, void *array, size_t count, size_t size) {
  bool full = (count & (count - 1)) == 0;
  return full ? hmoec_arena_grow(p->out.arena, array, count, count ? 2 * count : 1, size) : array;
}

int64_t plan_dim_get(planner *p, int fn, int64_t kind, int64_t source, int64_t factor) {
  for (int64_t i = 0; i < p->out.dim_count[fn]; i++)
    if (p->out.dims[fn][i].kind == kind && p->out.dims[fn][i].source == source && p->out.dims[fn][i].factor == factor) return i;
  p->out.dims[fn] = grow(p, p->out.dims[fn], (size_t)p->out.dim_count[fn], sizeof **p->out.dims);
  p->out.dims[fn][p->out.dim_count[fn]] = (plan_dim){kind, source, factor};
  return p->out.dim_count[fn]++;
}

/* The axes of a memory of items. */
static void set_shape(planner *p, plan_memory *memory, int64_t items, hmoec_operand operand) {
  memory->operand = operand;
  memory->shape[memory->rank++] = items;
  if (hmoec_role_rank(operand.role) == 3) memory->shape[memory->rank++] = operand.depth;
  memory->shape[memory->rank++] = operand.columns;
  int64_t elements = 1;
  for (int64_t i = 0; i < memory->rank; i++)
    if (__builtin_mul_overflow(elements, memory->shape[i], &elements)) p->out.failed = true;
}

static plan_memory *memory_create(planner *p, const char *kind, const char *element, int64_t dim) {
  plan_memory *memory = hmoec_arena_alloc(p->out.arena, sizeof *memory);
  p->out.memories = grow(p, p->out.memories, p->out.memory_count, sizeof *p->out.memories);
  p->out.memories[p->out.memory_count++] = memory;
  *memory = (plan_memory){.kind = kind, .element = element, .dim = dim, .first_write = SIZE_MAX};
  return memory;
}

plan_memory *plan_memory_create(planner *p, const char *kind, const char *element, int64_t dim, int64_t rank,
                                const int64_t *shape) {
  plan_memory *memory = memory_create(p, kind, element, dim);
  int64_t bytes = 4;
  memory->operand.columns = rank > 1 ? shape[rank - 1] : 1;
  for (memory->rank = 0; memory->rank < rank; memory->rank++) {
    memory->shape[memory->rank] = shape[memory->rank];
    if (__builtin_mul_overflow(bytes, shape[memory->rank], &bytes)) p->out.failed = true;
  }
  return memory;
}

plan_memory *plan_weight(planner *p, int64_t items, hmoec_operand operand) {
  plan_memory *memory = memory_create(p, "weight", hmoec_format_name(operand.format), -1);
  set_shape(p, memory, items, operand);
  memory->index = p->out.weights++;
  return memory;
}

plan_memory *plan_cache(planner *p, int64_t cache, int64_t part, int64_t items, hmoec_operand operand) {
  plan_memory *memory = memory_create(p, "cache", hmoec_format_name(operand.format), -1);
  set_shape(p, memory, items, operand);
  memory->index = cache;
  memory->part = part;
  return memory;
}

plan_memory *plan_workspace(planner *p, int64_t dim, int64_t items, hmoec_operand operand) {
  plan_memory *memory = memory_create(p, "workspace", hmoec_format_name(operand.format), dim);
  set_shape(p, memory, dim < 0 ? items : 0, operand);
  return memory;
}

plan_memory *plan_plain(planner *p, const char *element, int64_t dim, int64_t rows, int64_t columns) {
  return plan_memory_create(p, "workspace", element, dim, 2, (int64_t[]){dim < 0 ? rows : 0, columns});
}

plan_memory *plan_rows_memory(planner *p, hmoec_format format, int64_t dim, int64_t columns, bool in_place) {
  return plan_workspace(p, dim, 0,
                        (hmoec_operand){.role = HMOEC_ROLE_ROWS, .format = format, .columns = columns, .in_place = in_place});
}

plan_memory *plan_block_rows(planner *p, hmoec_format format, int64_t dim, int64_t columns, int64_t groups) {
  bool any = groups == PLAN_ANY_GROUPS;
  if (any) dim = plan_dim_get(p, PLAN_RUN, HMOE_DIM_SCALE, dim, p->graph.target->packed_most);
  plan_memory *rows = plan_rows_memory(p, format, dim, columns, true);
  rows->operand.groups = any ? 0 : groups;
  return rows;
}

const plan_value *plan_value_find(const planner *p, MlirValue value) {
  size_t at = hmoec_pointer_map_get(&p->value_at, value.ptr);
  return at == HMOEC_NO_NUMBER ? NULL : p->values[at];
}

plan_rows plan_model_rows(const planner *p, MlirValue value) {
  const plan_value *v = plan_value_find(p, value);
  return v ? v->rows : (plan_rows){-1, -1, -1};
}

plan_value *plan_value_get(planner *p, MlirValue value) {
  size_t at = hmoec_pointer_map_get(&p->value_at, value.ptr);
  if (at != HMOEC_NO_NUMBER) return p->values[at];
  plan_value *made = hmoec_arena_alloc(p->out.arena, sizeof *made);
  p->values = grow(p, p->values, p->value_count, sizeof *p->values);
  if (!hmoec_pointer_map_set(&p->value_at, value.ptr, p->value_count)) hmoec_arena_out_of_memory();
  *made = (plan_value){.value = value, .rows = {-1, -1, -1}};
  return p->values[p->value_count++] = made;
}

static bool same_key(const plan_key *a, const plan_key *b) {
  return a->owner == b->owner && a->making == b->making && a->fn == b->fn && a->format == b->format && a->part == b->part &&
         a->scope == b->scope && a->offset == b->offset && a->row_stride == b->row_stride && a->col_stride == b->col_stride &&
         a->rows == b->rows && a->columns == b->columns;
}

plan_memory **plan_made(planner *p, plan_key key) {
  for (plan_memo *memo = p->out.memos; memo; memo = memo->next)
    if (same_key(&memo->key, &key)) return &memo->made;
  plan_memo *memo = hmoec_arena_alloc(p->out.arena, sizeof *memo);
  *memo = (plan_memo){.next = p->out.memos, .key = key};
  p->out.memos = memo;
  return &memo->made;
}

plan_memory *plan_state_memory(planner *p, const void *owner, int64_t tag, const char *element, int64_t scope,
                               hmoec_operand operand) {
  plan_memory **made = plan_made(p, (plan_key){.owner = owner, .making = PLAN_STATE, .part = tag, .scope = scope});
  if (*made) return *made;
  plan_memory *memory = memory_create(p, "state", element, -1);
  set_shape(p, memory, 0, operand);
  memory->index = p->out.states++;
  memory->scope = scope;
  return *made = memory;
}

static MlirAttribute int_attribute(planner *p, int64_t value) {
  return mlirIntegerAttrGet(mlirIntegerTypeGet(p->out.context, 64), value);
}

static MlirNamedAttribute named(planner *p, const char *name, MlirAttribute value) {
  return (MlirNamedAttribute){mlirIdentifierGet(p->out.context, ref(name)), value};
}

/* The hmk.buffer of a memory in a function. */
static MlirValue memory_value(planner *p, int fn, plan_memory *memory) {
  if (!mlirValueIsNull(memory->value[fn])) return memory->value[fn];
  const hmoec_operand *operand = &memory->operand;
  MlirNamedAttribute attributes[16];
  intptr_t count = 0;
  attributes[count++] = named(p, "kind", mlirStringAttrGet(p->out.context, ref(memory->kind)));
  attributes[count++] = named(p, "role", mlirStringAttrGet(p->out.context, ref(hmoec_role_names[operand->role])));
  attributes[count++] = named(p, "element", mlirStringAttrGet(p->out.context, ref(memory->element)));
  attributes[count++] = named(p, "shape", mlirDenseI64ArrayGet(p->out.context, (intptr_t)memory->rank, memory->shape));
  attributes[count++] = named(p, "index", int_attribute(p, memory->index));
  attributes[count++] = named(p, "dim", int_attribute(p, memory->dim));
  attributes[count++] = named(p, "slot", int_attribute(p, -1));
  if (operand->in_place) attributes[count++] = named(p, "in_place", mlirUnitAttrGet(p->out.context));
  if (operand->groups) attributes[count++] = named(p, "groups", int_attribute(p, operand->groups));
  if (operand->generated_rows) {
    attributes[count++] = named(p, "generated_rows", int_attribute(p, operand->generated_rows));
    attributes[count++] = named(p, "generates", mlirStringAttrGet(p->out.context, ref(hmoec_format_name(operand->generates))));
  }
  if (memory->extra_rows) attributes[count++] = named(p, "extra_rows", int_attribute(p, memory->extra_rows));
  if (strcmp(memory->kind, "cache") == 0) attributes[count++] = named(p, "part", int_attribute(p, memory->part));
  if (strcmp(memory->kind, "state") == 0) attributes[count++] = named(p, "scope", int_attribute(p, memory->scope));
  if (memory->key) {
    attributes[count++] = named(p, "key", mlirStringAttrGet(p->out.context, ref(memory->key)));
    attributes[count++] = named(p, "count", int_attribute(p, memory->count));
  }
  MlirOperationState state = mlirOperationStateGet(ref("hmk.buffer"), p->out.location);
  mlirOperationStateAddAttributes(&state, count, attributes);
  mlirOperationStateAddResults(&state, 1, &p->out.memory_type);
  MlirOperation op = mlirOperationCreate(&state);
  mlirBlockAppendOwnedOperation(p->out.block[fn], op);
  return memory->value[fn] = mlirOperationGetResult(op, 0);
}

plan_step plan_step_begin(planner *p, int fn, const char *name, int64_t rows_dim) {
  return (plan_step){.p = p, .fn = fn, .name = name, .rows_dim = rows_dim};
}

plan_step plan_kernel_begin(planner *p, int fn, const hmoec_kernel *kernel, int64_t rows_dim) {
  plan_step step = plan_step_begin(p, fn, hmoec_family_op(kernel->family), rows_dim);
  step.attribute_count = hmoec_kernel_write(kernel, p->out.context, &p->graph.functions, step.attributes);
  return step;
}

void plan_bind(plan_step *step, const char *role, plan_binding binding) {
  if (!binding.memory) return;
  step->roles[step->binding_count] = role;
  step->bindings[step->binding_count++] = binding;
}

static void add_attribute(plan_step *step, const char *name, MlirAttribute value) {
  step->attributes[step->attribute_count++] = named(step->p, name, value);
}

void plan_int(plan_step *step, const char *name, int64_t value) { add_attribute(step, name, int_attribute(step->p, value)); }

void plan_string(plan_step *step, const char *name, const char *value) {
  add_attribute(step, name, mlirStringAttrGet(step->p->out.context, ref(value)));
}

void plan_ints(plan_step *step, const char *name, const int64_t *values, size_t count) {
  add_attribute(step, name, mlirDenseI64ArrayGet(step->p->out.context, (intptr_t)count, values));
}

MlirOperation plan_step_end(plan_step *step) {
  planner *p = step->p;
  MlirValue operands[16];
  MlirAttribute roles[16];
  int64_t at[16], apart[16], by[16];
  bool any_at = false, any_apart = false, any_by = false;
  for (size_t i = 0; i < step->binding_count; i++) {
    const plan_binding *binding = &step->bindings[i];
    operands[i] = memory_value(p, step->fn, binding->memory);
    roles[i] = mlirStringAttrGet(p->out.context, ref(step->roles[i]));
    any_at |= (at[i] = binding->at) != 0;
    any_apart |= (apart[i] = binding->apart) != PLAN_OWN;
    any_by |= (by[i] = binding->by) != 0;
  }
  add_attribute(step, "bind", mlirArrayAttrGet(p->out.context, (intptr_t)step->binding_count, roles));
  if (any_at) plan_ints(step, "at", at, step->binding_count);
  if (any_apart) plan_ints(step, "apart", apart, step->binding_count);
  if (any_by) plan_ints(step, "by", by, step->binding_count);
  plan_int(step, "rows", step->rows_dim);
  char name[64] = "hmk.";
  strncat(name, step->name, sizeof name - 5);
  MlirOperationState state = mlirOperationStateGet(ref(name), p->out.location);
  mlirOperationStateAddOperands(&state, (intptr_t)step->binding_count, operands);
  mlirOperationStateAddAttributes(&state, (intptr_t)step->attribute_count, step->attributes);
  MlirOperation op = mlirOperationCreate(&state);
  mlirBlockAppendOwnedOperation(p->out.block[step->fn], op);
  return op;
}
