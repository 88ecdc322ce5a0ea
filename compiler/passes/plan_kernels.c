/* plan-kernels: from what is computed (hmoe) to how work is cut (hmk).
 *
 *   func @model(x) -> y { hmoe ops }  ->  func @open { pack, generate } ; func @run { buffers, kernels, groupings, loops } ; ...
 *
 * Ops marked at_open are planned into @open, the others into every entry they belong to (plan_entries.c). An op writes straight into the
 * buffer of the value it is part of (plan_memory.c). Requires verified hmoe with one function, after fold-parameters; leaves verified hmk. */
#include "passes/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "ir/entry.h"
#include "ir/location.h"

#define MOST_TENSORS 16

static MlirStringRef ref(const char *text) { return mlirStringRefCreateFromCString(text); }

/* Marks what is computed per distinct selection set: everything from the sets to the generated weights. */
static void mark_per_set(MlirOperation *ops, size_t count, MlirContext context) {
  for (size_t i = 0; i < count; i++) {
    if (hmoec_op_at_open(ops[i]) || hmoec_op_is(ops[i], "hmoe.indexed_hyper_expert")) continue;
    for (intptr_t o = 0; o < mlirOperationGetNumOperands(ops[i]); o++) {
      MlirValue operand = mlirOperationGetOperand(ops[i], o);
      MlirOperation source = hmoec_defining_op(operand);
      if (mlirOperationIsNull(source)) continue;
      bool sets = hmoec_op_is(source, "hmoe.distinct_selections") && mlirValueEqual(operand, mlirOperationGetResult(source, 0));
      if (sets || plan_is_per_set(source)) mlirOperationSetAttributeByName(ops[i], ref("hmoe.per_set"), mlirUnitAttrGet(context));
    }
  }
}

static MlirBlock add_function(planner *p, MlirModule module, const char *name, MlirNamedAttribute *attributes, intptr_t count,
                              MlirOperation *out_function) {
  MlirType type = mlirFunctionTypeGet(p->out.context, 0, NULL, 0, NULL);
  MlirNamedAttribute all[12] = {{mlirIdentifierGet(p->out.context, ref("sym_name")), mlirStringAttrGet(p->out.context, ref(name))},
                                {mlirIdentifierGet(p->out.context, ref("function_type")), mlirTypeAttrGet(type)}};
  for (intptr_t i = 0; i < count; i++) all[2 + i] = attributes[i];
  MlirOperationState state = mlirOperationStateGet(ref("func.func"), p->out.location);
  MlirRegion region = mlirRegionCreate();
  MlirBlock block = mlirBlockCreate(0, NULL, NULL);
  mlirRegionAppendOwnedBlock(region, block);
  mlirOperationStateAddAttributes(&state, 2 + count, all);
  mlirOperationStateAddOwnedRegions(&state, 1, &region);
  *out_function = mlirOperationCreate(&state);
  mlirBlockAppendOwnedOperation(mlirModuleGetBody(module), *out_function);
  return block;
}

static void end_function(planner *p, int fn, MlirOperation function) {
  _Static_assert(sizeof(plan_dim) == 3 * sizeof(int64_t), "dimensions are triples");
  const int64_t *triples = p->out.dim_count[fn] ? &p->out.dims[fn]->kind : NULL;
  mlirOperationSetAttributeByName(function, ref("hmk.dims"),
                                  mlirDenseI64ArrayGet(p->out.context, (intptr_t)(3 * p->out.dim_count[fn]), triples));
  MlirOperationState state = mlirOperationStateGet(ref("func.return"), p->out.location);
  mlirBlockAppendOwnedOperation(p->out.block[fn], mlirOperationCreate(&state));
}

/* ---- entries ---- */

/* What a dimension of the model is in an entry: given by the caller, or by the state. INPUT ones come first. */
static MlirAttribute entry_dims(planner *p, plan_entry *entry, const bool *used) {
  MlirAttribute names[PLAN_MOST_DIMS];
  intptr_t count = 0;
  for (int pass = 0; pass < 2; pass++)
    for (int64_t d = 0; d < p->graph.model_dims; d++) {
      bool decode = entry->kind == PLAN_DECODE, prepare = entry->kind == PLAN_PREPARE;
      bool of_state = (decode || prepare) && d == p->graph.target_batch;
      if (!used[d] || of_state != (pass == 1)) continue;
      if (of_state) {
        entry->dim[d] = plan_dim_get(p, PLAN_RUN, HMOE_DIM_STATE, 3 * (decode ? HMOE_SCOPE_TARGET : HMOE_SCOPE_SOURCE), 0);
        continue;
      }
      entry->dim[d] = plan_dim_get(p, PLAN_RUN, HMOE_DIM_INPUT, count, 0);
      names[count++] = mlirStringAttrGet(p->out.context, p->graph.dim_names[d]);
    }
  return mlirArrayAttrGet(p->out.context, count, names);
}

/* A tensor of the signature: name, type, shape in dimensions of the entry, default. */
static void add_tensor(planner *p, MlirAttribute *list, intptr_t *count, MlirStringRef name, MlirValue value, plan_rows rows,
                       MlirAttribute fill) {
  hmoec_shape shape = hmoec_value_shape(value);
  int64_t dims[HMOEC_MAX_RANK];
  intptr_t rank = 0, dynamic = 0;
  bool flat = shape.rank == 2 && shape.dims[1] != HMOEC_DYNAMIC && rows.batch >= 0 &&
              rows.length >= 0; /* flattened rows of a batch are told as they lie there */
  if (flat) dims[rank++] = -1 - rows.batch;
  for (int64_t d = 0; d < shape.rank; d++) {
    if (shape.dims[d] != HMOEC_DYNAMIC) {
      dims[rank++] = shape.dims[d];
      continue;
    }
    int64_t of[2] = {flat ? rows.length : rows.batch >= 0 ? rows.batch : rows.count, rows.length};
    int64_t which = dynamic < 2 ? of[dynamic] : -1;
    dynamic++;
    if (which >= 0) dims[rank++] = -1 - which; /* the last rows of a batch have no length */
  }
  list[(*count)++] = mlirStringAttrGet(p->out.context, name);
  list[(*count)++] = mlirTypeAttrGet(mlirValueGetType(value));
  list[(*count)++] = mlirDenseI64ArrayGet(p->out.context, rank, dims);
  list[(*count)++] = mlirAttributeIsNull(fill) ? mlirUnitAttrGet(p->out.context) : fill;
}

static bool reads_input(const planner *p, const plan_entry *entry, MlirValue input) {
  if (entry->kind == PLAN_ALL) return true;
  for (MlirOpOperand use = mlirValueGetFirstUse(input); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use)) {
    MlirOperation user = mlirOpOperandGetOwner(use);
    bool mask_of_state = entry->kind == PLAN_PREPARE && plan_is_cross(p, user);
    bool source_in_decode = entry->kind == PLAN_DECODE && !plan_depends(p, input);
    if ((plan_is_member(p, user) || mask_of_state) && !source_in_decode) return true;
  }
  return false;
}

static bool returns(const planner *p, const plan_entry *entry, MlirOperation terminator, intptr_t r) {
  switch (entry->kind) {
  case PLAN_ALL: return true;
  case PLAN_ENCODE: return !plan_depends(p, mlirOperationGetOperand(terminator, r));
  case PLAN_DECODE: return r == entry->output;
  case PLAN_PREPARE: break;
  }
  return false;
}

/* Row-wise in its first operand, all others being known at open. */
static bool is_row_wise_of_one(MlirOperation op) {
  if (!hmoec_op_has(op, HMOEC_OP_ROW_WISE) || hmoec_op_at_open(op)) return false;
  for (intptr_t i = 1; i < mlirOperationGetNumOperands(op); i++)
    if (hmoec_operand_kind_of(op, i) < HMOEC_OPERAND_KNOWN) return false;
  return true;
}

/* DECODE: where the chain of row-wise ops begins that leads to the output and nowhere else: it runs on last rows alone. Marks its values. */
static void find_last(planner *p, MlirValue output) {
  MlirValue value = output;
  for (bool more = true; more;) {
    MlirOperation op = hmoec_defining_op(value);
    more = false;
    more = !mlirOperationIsNull(op) && !mlirOperationIsNull(hmoec_single_user(value)) && is_row_wise_of_one(op);
    if (!more) break;
    plan_value_get(p, value)->from_last = true;
    value = mlirOperationGetOperand(op, 0);
  }
  p->here.last_from = value;
}

static void entry_begin(planner *p, plan_entry *entry) {
  p->here.entry = entry;
  p->out.dim_count[PLAN_RUN] = 0;
  p->here.last_from = (MlirValue){NULL};
  for (size_t i = 0; i < p->out.memory_count; i++) p->out.memories[i]->value[PLAN_RUN] = (MlirValue){NULL};
  for (size_t i = 0; i < p->value_count; i++) {
    plan_value *v = p->values[i];
    MlirOperation op = hmoec_defining_op(v->value);
    if (mlirOperationIsNull(op) || !hmoec_op_at_open(op))
      *v = (plan_value){.value = v->value, .rows = v->rows, .scope = -1, .mask_dim = -1};
  }
}

/* Every member, in order. */
static bool plan_members(planner *p) {
  for (size_t i = 0; i < p->graph.op_count; i++) {
    MlirOperation op = p->graph.ops[i];
    if (!plan_is_member(p, op)) continue;
    p->out.location = mlirOperationGetLocation(op);
    MlirValue first = mlirOperationGetNumOperands(op) ? mlirOperationGetOperand(op, 0) : (MlirValue){NULL};
    if (!mlirValueIsNull(p->here.last_from) && !mlirValueIsNull(first) && mlirValueEqual(first, p->here.last_from) &&
        plan_value_get(p, mlirOperationGetResult(op, 0))->from_last && !plan_value_get(p, p->here.last_from)->from_last)
      plan_take_last(p);
    p->here.rows = plan_rows_of(p, mlirOperationGetResult(op, 0));
    if (p->here.rows.count < 0 && !mlirValueIsNull(first)) p->here.rows = plan_rows_of(p, first);
    if (!plan_member(p, op)) return false;
  }
  return true;
}

static bool plan_entry_function(planner *p, MlirModule module, MlirOperation function, MlirBlock body, plan_entry *entry,
                                MlirAttribute model) {
  MlirOperation terminator = mlirBlockGetTerminator(body);
  intptr_t inputs = mlirBlockGetNumArguments(body), outputs = mlirOperationGetNumOperands(terminator);
  plan_memory *output[MOST_TENSORS] = {NULL};
  entry_begin(p, entry);
  bool used[PLAN_MOST_DIMS] = {false};
  intptr_t input_count = 0, output_count = 0, items = 0;
  for (intptr_t i = 0; i < inputs; i++) {
    MlirValue input = mlirBlockGetArgument(body, i);
    p->here.input_numbers[i] = reads_input(p, entry, input) ? input_count++ : -1;
    plan_rows rows = plan_value_get(p, input)->rows;
    if (p->here.input_numbers[i] < 0) continue;
    used[rows.length] = true;
    if (rows.batch >= 0) used[rows.batch] = true;
  }
  MlirAttribute dim_names = entry_dims(p, entry, used);
  if (entry->kind == PLAN_DECODE) find_last(p, mlirOperationGetOperand(terminator, entry->output));

  MlirAttribute list[4 * MOST_TENSORS];
  MlirOperation planned;
  MlirNamedAttribute attributes[7] = {{mlirIdentifierGet(p->out.context, ref("hmk.model")), model},
                                      {mlirIdentifierGet(p->out.context, ref("hmk.dim_names")), dim_names}};
  intptr_t attribute_count = 2;
  for (intptr_t i = 0; i < inputs; i++) {
    MlirValue input = mlirBlockGetArgument(body, i);
    if (p->here.input_numbers[i] < 0) continue;
    plan_rows rows = plan_rows_of(p, input);
    hmoec_shape shape = hmoec_value_shape(input);
    int64_t fill;
    MlirAttribute given = mlirAttributeGetNull();
    if (hmoec_entry_input_default(function, (size_t)i, &fill))
      given = mlirIntegerAttrGet(mlirIntegerTypeGet(p->out.context, 64), fill);
    add_tensor(p, list, &items, hmoec_entry_input_name(function, (size_t)i), input, rows, given);
    if (shape.element != HMOEC_F32) continue; /* plan_integers */
    int64_t columns = shape.dims[shape.rank - 1];
    plan_memory *memory = plan_memory_create(p, "input", "f32", rows.count, 2, (int64_t[]){0, columns});
    memory->index = p->here.input_numbers[i];
    plan_value_get(p, input)->place = plan_whole_place(memory);
  }
  attributes[attribute_count++] =
      (MlirNamedAttribute){mlirIdentifierGet(p->out.context, ref("hmk.inputs")), mlirArrayAttrGet(p->out.context, items, list)};
  items = 0;
  int64_t needed_by[MOST_TENSORS] = {0}, any_needed = 0;
  for (intptr_t r = 0; r < outputs; r++) {
    if (!returns(p, entry, terminator, r)) continue;
    MlirValue value = mlirOperationGetOperand(terminator, r);
    hmoec_shape shape = hmoec_value_shape(value);
    if (shape.rank < 2 || shape.rank > 3 || shape.element != HMOEC_F32 || shape.dims[0] != HMOEC_DYNAMIC)
      return hmoec_error(p->graph.diagnostics, hmoec_location_of_op(function),
                         "expected output %ld to be f32[tokens, columns] or f32[batch, length, columns], with dynamic rows",
                         (long)r);
    plan_rows rows = plan_rows_of(p, value);
    if (plan_is_last_from(p, value)) rows = (plan_rows){rows.batch, rows.batch, -1};
    output[r] = plan_memory_create(p, "output", "f32", rows.count, 2, (int64_t[]){0, shape.dims[shape.rank - 1]});
    output[r]->index = output_count++;
    add_tensor(p, list, &items, hmoec_entry_output_name(function, (size_t)r), value, rows, mlirAttributeGetNull());
    for (intptr_t i = 0; i < inputs; i++) {
      if (p->here.input_numbers[i] < 0 || !plan_is_needed(p, function, i, value, rows)) continue;
      needed_by[p->here.input_numbers[i]] |= INT64_C(1) << output[r]->index;
      any_needed = 1;
    }
  }
  if (any_needed)
    attributes[attribute_count++] = (MlirNamedAttribute){mlirIdentifierGet(p->out.context, ref("hmk.needed_by")),
                                                         mlirDenseI64ArrayGet(p->out.context, input_count, needed_by)};
  attributes[attribute_count++] =
      (MlirNamedAttribute){mlirIdentifierGet(p->out.context, ref("hmk.outputs")), mlirArrayAttrGet(p->out.context, items, list)};
  if (entry->kind == PLAN_DECODE || entry->kind == PLAN_PREPARE) {
    int64_t advance[HMOE_SCOPE_COUNT] = {-1, -1};
    if (entry->kind == PLAN_DECODE) advance[HMOE_SCOPE_TARGET] = entry->dim[p->graph.target_length];
    for (int64_t d = 0; entry->kind == PLAN_PREPARE && d < p->graph.model_dims; d++)
      if (d != p->graph.target_batch && entry->dim[d] >= 0) advance[HMOE_SCOPE_SOURCE] = entry->dim[d];
    attributes[attribute_count++] = (MlirNamedAttribute){mlirIdentifierGet(p->out.context, ref("hmk.advance")),
                                                         mlirDenseI64ArrayGet(p->out.context, HMOE_SCOPE_COUNT, advance)};
  }
  p->out.block[PLAN_RUN] = add_function(p, module, entry->name, attributes, attribute_count, &planned);
  p->out.location = mlirOperationGetLocation(function);
  plan_find_pairs(p);
  plan_assign_destinations(p, terminator, output);
  if (!plan_integers(p, function, body) || !plan_members(p)) return false;
  if (entry->kind == PLAN_DECODE && plan_is_last_from(p, mlirOperationGetOperand(terminator, entry->output))) plan_take_last(p);
  if (entry->kind == PLAN_PREPARE && !plan_prepare_states(p)) return false;
  p->out.location = mlirOperationGetLocation(terminator);
  for (intptr_t r = 0; r < outputs; r++) {
    MlirValue value = mlirOperationGetOperand(terminator, r);
    if (!output[r] || plan_value_get(p, value)->destination == output[r]) continue;
    int64_t columns = plan_columns(value);
    plan_map(p, PLAN_RUN, plan_rows_of(p, value).count, HMOEC_ACTIVATION_NONE, plan_value_get(p, value)->place,
             plan_whole_place(output[r]), columns, false);
  }
  end_function(p, PLAN_RUN, planned);
  return true;
}

/* What belongs to the module: dtype, schedule, how tokens are generated. */
static void finish_module(planner *p, MlirOperation root, MlirOperation function) {
  mlirOperationSetAttributeByName(root, ref("hmk.dtype"),
                                  mlirStringAttrGet(p->out.context, ref(hmoec_format_name(p->graph.options->dtype))));
  hmoec_schedule_write(root, p->graph.target, &p->graph.schedule);
  MlirAttribute generation = hmoec_entry_generation(function);
  if (!mlirAttributeIsNull(generation)) mlirOperationSetAttributeByName(root, ref("hmk.generation"), generation);
}

static bool plan_function(planner *p, MlirModule module, MlirOperation function, MlirBlock body) {
  plan_entry entries[PLAN_MOST_ENTRIES];
  size_t entry_count = 0;
  p->graph.ops = hmoec_block_ops(body, &p->graph.op_count);
  if (!p->graph.ops) return false;
  bool ok = false;
  p->out.location = mlirOperationGetLocation(function);
  p->graph.schedule = p->graph.options->schedule;
  if (!p->graph.target->formats[p->graph.options->dtype]) {
    hmoec_error(p->graph.diagnostics, hmoec_location_of_op(function), "target %s has no products in %s", p->graph.target->name,
                hmoec_format_name(p->graph.options->dtype));
    goto done;
  }
  p->graph.target->prepare(&p->graph.schedule, plan_widest(&p->graph));
  long inputs = (long)mlirBlockGetNumArguments(body), outputs = (long)mlirOperationGetNumOperands(mlirBlockGetTerminator(body));
  if (inputs > MOST_TENSORS || outputs > MOST_TENSORS) {
    hmoec_error(p->graph.diagnostics, hmoec_location_of_op(function),
                "expected at most %d inputs and %d outputs, found %ld and %ld", MOST_TENSORS, MOST_TENSORS, inputs, outputs);
    goto done;
  }
  MlirAttribute model = mlirOperationGetAttributeByName(function, ref("hmoe.model"));
  if (mlirAttributeIsNull(model)) model = mlirOperationGetAttributeByName(function, ref("sym_name"));
  mark_per_set(p->graph.ops, p->graph.op_count, p->out.context);
  if (!hmoec_mark_f32(module)) {
    hmoec_machine_error(p->graph.diagnostics, "out of memory");
    goto done;
  }
  if (!plan_check(&p->graph)) goto done;
  if (!plan_entries_init(p, function, body, entries, &entry_count)) goto done;

  MlirOperation open;
  p->out.block[PLAN_OPEN] = add_function(p, module, "open", NULL, 0, &open);
  for (size_t i = 0; i < p->graph.op_count; i++) {
    if (!hmoec_op_at_open(p->graph.ops[i]) || plan_by_reader(p->graph.ops[i])) continue;
    p->out.location = mlirOperationGetLocation(p->graph.ops[i]);
    MlirValue result = mlirOperationGetResult(p->graph.ops[i], 0);
    hmoec_shape shape = hmoec_value_shape(result);
    int64_t rows = 1; /* a vector is one, and a stack has those of all its matrices */
    for (int64_t axis = 0; axis < shape.rank - 1; axis++) rows *= shape.dims[axis];
    if (!plan_op(p, p->graph.ops[i], PLAN_OPEN, plan_dim_get(p, PLAN_OPEN, HMOE_DIM_CONST, 0, rows))) goto done;
    if (hmoec_op_has(p->graph.ops[i], HMOEC_OP_ROW_WISE) && !hmoec_op_has(p->graph.ops[i], HMOEC_OP_VIEW)) plan_set_rank(p, result);
  }
  for (size_t e = 0; e < entry_count; e++)
    if (!plan_entry_function(p, module, function, body, &entries[e], model)) goto done;
  end_function(p, PLAN_OPEN, open);
  finish_module(p, mlirModuleGetOperation(module), function);
  mlirOperationDestroy(function);
  ok = true;
done:
  free(p->graph.ops);
  return ok;
}

bool hmoec_plan_kernels(MlirModule module, hmoec_pass_options *options, hmoec_diagnostics *diagnostics) {
  planner p = {.graph = {.diagnostics = diagnostics, .options = options, .target = options->target},
               .out = {.context = mlirModuleGetContext(module), .arena = hmoec_arena_create()}};
  p.out.memory_type = mlirTypeParseGet(p.out.context, ref("!hmk.memory"));
  MlirOperation entry = {NULL};
  MlirBlock module_body = mlirModuleGetBody(module);
  bool ok = true;
  for (MlirOperation op = mlirBlockGetFirstOperation(module_body); ok && !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op)) {
    if (!hmoec_op_is(op, "func.func") || hmoec_is_scalar_function(op)) continue;
    if (!mlirOperationIsNull(entry))
      ok = hmoec_error(diagnostics, hmoec_location_of_op(op), "expected one entry function, found a second");
    entry = op;
  }
  if (ok && mlirOperationIsNull(entry))
    ok = hmoec_error(diagnostics, hmoec_location_of_op(mlirModuleGetOperation(module)), "expected an entry function, found none");
  ok = ok && hmoec_scalar_library_init(module, diagnostics, &p.graph.functions);
  if (ok) ok = plan_function(&p, module, entry, mlirRegionGetFirstBlock(mlirOperationGetRegion(entry, 0)));
  if (ok && p.out.failed)
    ok = hmoec_error(diagnostics, hmoec_location_of_op(mlirModuleGetOperation(module)),
                     "the model is too large: a size does not fit 63 bits");
  hmoec_scalar_library_deinit(&p.graph.functions);
  hmoec_pointer_map_deinit(&p.value_at);
  hmoec_pointer_map_deinit(&p.graph.op_at);
  hmoec_arena_destroy(p.out.arena);
  return ok;
}
