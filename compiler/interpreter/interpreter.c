/* Walks a function: keeps a value for each result, loads parameters when they are first used, frees what is no longer used. */
#include "interpreter/interpreter.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "interpreter/evaluate.h"
#include "ir/entry.h"
#include "ir/location.h"
#include "ir/op_reader.h"

bool hmoec_tensor_init(hmoec_tensor *tensor, const hmoec_shape *shape) {
  *tensor = (hmoec_tensor){.shape = *shape};
  for (int64_t i = 0; i < shape->rank; i++)
    if (shape->dims[i] < 0) return false;
  int64_t count = hmoec_shape_elements(shape);
  if (count > (int64_t)(SIZE_MAX / 2 / sizeof(double))) return false;
  tensor->data = calloc(count ? (size_t)count : 1, sizeof *tensor->data);
  return tensor->data != NULL;
}

void hmoec_tensor_deinit(hmoec_tensor *tensor) {
  free(tensor->data);
  *tensor = (hmoec_tensor){0};
}

/* What is known of one SSA value. */
typedef struct binding {
  MlirValue value;
  hmoec_tensor tensor;      /* data NULL: not there yet (parameters) or no longer */
  MlirOperation parameter;  /* the op that loads it, or null */
  size_t uses;              /* still to come */
  bool borrowed;            /* an input: not ours to free */
} binding;

typedef struct interpreter {
  const hmoec_parameter_source *source;
  hmoec_rounds rounds; /* may be NULL */
  hmoec_diagnostics *diagnostics;
  binding *bindings;
  size_t count;
  hmoec_scalar_library functions;
  hmoec_scalar_value *function_values;
} interpreter;

static bool out_of_memory(interpreter *self, MlirOperation op) {
  MlirStringRef name = mlirIdentifierStr(mlirOperationGetName(op));
  return hmoec_machine_error(self->diagnostics, "out of memory in the interpreter at %.*s", (int)name.length, name.data);
}

static size_t count_uses(MlirValue value) {
  size_t count = 0;
  for (MlirOpOperand use = mlirValueGetFirstUse(value); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use)) count++;
  return count;
}

static binding *bind(interpreter *self, MlirValue value) {
  binding *bound = &self->bindings[self->count++];
  *bound = (binding){.value = value, .uses = count_uses(value)};
  return bound;
}

/* Operands are mostly recent results: the search runs backwards. */
static binding *binding_find(interpreter *self, MlirValue value) {
  for (size_t i = self->count; i-- > 0;)
    if (mlirValueEqual(self->bindings[i].value, value)) return &self->bindings[i];
  return NULL;
}

static void binding_release(binding *bound) {
  if (bound->uses > 0 && --bound->uses > 0) return;
  if (!bound->borrowed) hmoec_tensor_deinit(&bound->tensor);
}

/* Loads a stack member by member, with the number in place of "{}". */
static bool parameter_load(interpreter *self, binding *bound) {
  MlirOperation op = bound->parameter;
  hmoec_location location = hmoec_location_of_op(op);
  MlirStringRef key = hmoec_op_string(op, "key");
  int64_t count = hmoec_op_int(op, "count");
  hmoec_shape shape;
  hmoec_shape_from_type(mlirValueGetType(bound->value), &shape);
  hmoec_tensor tensor = {0};
  size_t key_size = key.length + 24;
  char *name = malloc(key_size);
  bool ok = name && hmoec_tensor_init(&tensor, &shape);
  if (!ok) out_of_memory(self, op);
  const char *place = strstr(key.data, "{}"); /* there when count > 0; MLIR ends its strings with a NUL */
  int64_t members = count ? count : 1, stride = hmoec_shape_elements(&shape) / members;
  for (int64_t i = 0; ok && i < members; i++) {
    if (count) snprintf(name, key_size, "%.*s%" PRId64 "%s", (int)(place - key.data), key.data, i, place + 2);
    else snprintf(name, key_size, "%s", key.data);
    ok = self->source->get(self->source->user, name, shape.rank - (count ? 1 : 0), shape.dims + (count ? 1 : 0),
                           tensor.data + i * stride, self->diagnostics, location);
  }
  free(name);
  if (ok) bound->tensor = tensor;
  else hmoec_tensor_deinit(&tensor);
  return ok;
}

static bool is_dynamic(const hmoec_shape *shape) {
  for (int64_t i = 0; i < shape->rank; i++)
    if (shape->dims[i] == HMOEC_DYNAMIC) return true;
  return false;
}

static bool op_run(interpreter *self, MlirOperation op) {
  hmoec_op_reader reader;
  if (!hmoec_op_read(op, self->diagnostics, &reader)) return false;
  hmoec_inference *inference = &reader.inference;
  hmoec_evaluator evaluate = hmoec_evaluator_find(inference->info->name);
  if (!evaluate)
    return hmoec_error(self->diagnostics, inference->location, "the interpreter does not know %s", inference->info->name);
  hmoec_evaluation evaluation = {.inference = inference, .functions = &self->functions, .function_values = self->function_values};
  for (size_t i = 0; i < inference->operand_count; i++) {
    binding *bound = binding_find(self, mlirOperationGetOperand(op, (intptr_t)i));
    if (!bound->tensor.data && !parameter_load(self, bound)) return false;
    inference->operands[i] = bound->tensor.shape;
    evaluation.operands[i] = bound->tensor.data;
  }
  /* The shape rule again, now with the sizes of this run: two inputs may disagree about a dimension. */
  if (!inference->info->infer(inference)) return false;
  hmoec_tensor results[HMOEC_MAX_RESULTS] = {{.data = NULL}};
  evaluation.results = results;
  for (size_t i = 0; self->rounds && i < inference->operand_count; i++) evaluation.rounds[i] = self->rounds(op, i);
  bool ok = true;
  for (size_t i = 0; ok && i < inference->result_count; i++) {
    if (is_dynamic(&inference->results[i])) results[i].shape = inference->results[i];
    else ok = hmoec_tensor_init(&results[i], &inference->results[i]);
  }
  ok = ok && evaluate(&evaluation);
  if (!ok && !evaluation.refused) out_of_memory(self, op);
  for (size_t i = 0; i < inference->operand_count; i++)
    binding_release(binding_find(self, mlirOperationGetOperand(op, (intptr_t)i)));
  for (size_t i = 0; i < inference->result_count; i++) {
    binding *bound = bind(self, mlirOperationGetResult(op, (intptr_t)i));
    bound->tensor = results[i];
    if (!ok || bound->uses == 0) binding_release(bound);
  }
  return ok;
}

static bool inputs_bind(interpreter *self, MlirOperation function, MlirBlock block, const hmoec_tensor *inputs, size_t count) {
  hmoec_location location = hmoec_location_of_op(function);
  char expected_text[HMOEC_SHAPE_CHARS], found_text[HMOEC_SHAPE_CHARS];
  if (count != hmoec_entry_input_count(function))
    return hmoec_error(self->diagnostics, location, "expected %zu inputs, found %zu", hmoec_entry_input_count(function), count);
  for (size_t i = 0; i < count; i++) {
    hmoec_shape expected = hmoec_entry_input_shape(function, i);
    if (!hmoec_shape_compatible(&expected, &inputs[i].shape))
      return hmoec_error(self->diagnostics, location, "expected input %s to be %s, found %s",
                         hmoec_entry_input_name(function, i).data,
                         hmoec_shape_string(&expected, expected_text, sizeof expected_text),
                         hmoec_shape_string(&inputs[i].shape, found_text, sizeof found_text));
    binding *bound = bind(self, mlirBlockGetArgument(block, (intptr_t)i));
    bound->tensor = inputs[i];
    bound->borrowed = true;
  }
  return true;
}

static bool tensor_copy(const hmoec_tensor *from, hmoec_tensor *out) {
  if (!hmoec_tensor_init(out, &from->shape)) return false;
  memcpy(out->data, from->data, (size_t)hmoec_shape_elements(&from->shape) * sizeof *out->data);
  return true;
}

static bool outputs_take(interpreter *self, MlirOperation terminator, hmoec_tensor *outputs, size_t count) {
  if (count != (size_t)mlirOperationGetNumOperands(terminator))
    return hmoec_error(self->diagnostics, hmoec_location_of_op(terminator), "expected room for %td outputs, found %zu",
                       mlirOperationGetNumOperands(terminator), count);
  for (size_t i = 0; i < count; i++) {
    binding *bound = binding_find(self, mlirOperationGetOperand(terminator, (intptr_t)i));
    if (!bound->tensor.data && !parameter_load(self, bound)) return false;
    if (!tensor_copy(&bound->tensor, &outputs[i])) return out_of_memory(self, terminator);
  }
  return true;
}

static size_t count_values(MlirBlock block) {
  size_t count = (size_t)mlirBlockGetNumArguments(block);
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op))
    count += (size_t)mlirOperationGetNumResults(op);
  return count;
}

static bool block_run(interpreter *self, MlirBlock block, const MlirValue *values, hmoec_tensor *outputs, size_t output_count) {
  (void)values;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
    if (hmoec_op_is(op, "func.return")) return outputs_take(self, op, outputs, output_count);
    if (hmoec_op_is(op, "hmoe.parameter")) bind(self, mlirOperationGetResult(op, 0))->parameter = op;
    else if (!op_run(self, op)) return false;
  }
  return false; /* a verified function returns */
}

/* The scalar functions of the module that the function is in. */
static bool functions_load(interpreter *self, MlirOperation function) {
  MlirModule module = mlirModuleFromOperation(mlirOperationGetParentOperation(function));
  if (!hmoec_scalar_library_init(module, self->diagnostics, &self->functions)) return false;
  size_t most = 0;
  for (size_t i = 0; i < self->functions.count; i++)
    if (self->functions.programs[i].value_count > most) most = self->functions.programs[i].value_count;
  self->function_values = calloc(most + 1, sizeof *self->function_values);
  return self->function_values || out_of_memory(self, function);
}

bool hmoec_interpret(MlirOperation function, const hmoec_parameter_source *source, const hmoec_tensor *inputs, size_t input_count,
                     hmoec_tensor *outputs, size_t output_count, hmoec_diagnostics *diagnostics) {
  return hmoec_interpret_rounded(function, source, inputs, input_count, outputs, output_count, NULL, diagnostics);
}

/* Binds inputs, runs what `run` runs, and releases everything. values: of run. */
typedef bool (*runner)(interpreter *self, MlirBlock block, const MlirValue *values, hmoec_tensor *outputs, size_t output_count);

static bool interpret(MlirOperation function, interpreter *self, const hmoec_tensor *inputs, size_t input_count, runner run,
                      const MlirValue *values, hmoec_tensor *outputs, size_t output_count) {
  MlirBlock block = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
  self->bindings = calloc(count_values(block) + 1, sizeof *self->bindings);
  for (size_t i = 0; i < output_count; i++) outputs[i] = (hmoec_tensor){0};
  if (!self->bindings) return out_of_memory(self, function);
  bool ok = functions_load(self, function) && inputs_bind(self, function, block, inputs, input_count) &&
            run(self, block, values, outputs, output_count);
  for (size_t i = 0; i < self->count; i++)
    if (!self->bindings[i].borrowed) hmoec_tensor_deinit(&self->bindings[i].tensor);
  free(self->bindings);
  free(self->function_values);
  hmoec_scalar_library_deinit(&self->functions);
  for (size_t i = 0; !ok && i < output_count; i++) hmoec_tensor_deinit(&outputs[i]);
  return ok;
}

bool hmoec_interpret_rounded(MlirOperation function, const hmoec_parameter_source *source, const hmoec_tensor *inputs,
                             size_t input_count, hmoec_tensor *outputs, size_t output_count, hmoec_rounds rounds,
                             hmoec_diagnostics *diagnostics) {
  interpreter self = {.source = source, .rounds = rounds, .diagnostics = diagnostics};
  return interpret(function, &self, inputs, input_count, block_run, NULL, outputs, output_count);
}

/* ---- values ---- */

/* Whether some of `values` is a result of an op. */
static bool gives(MlirOperation op, const MlirValue *values, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (mlirValueIsAOpResult(values[i]) && mlirOperationEqual(mlirOpResultGetOwner(values[i]), op)) return true;
  return false;
}

/* Which ops of a block the values need; by number, the terminator left out. NULL: no memory. */
static bool *needed_find(MlirBlock block, const MlirValue *values, size_t count, size_t *out_count) {
  size_t ops = 0;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) ops++;
  *out_count = ops;
  MlirOperation *at = malloc((ops + 1) * sizeof *at);
  bool *needed = calloc(ops + 1, sizeof *needed);
  if (at && needed) {
    size_t n = 0;
    for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op))
      at[n++] = op;
    for (size_t i = ops; i-- > 0;) {
      needed[i] = needed[i] || gives(at[i], values, count);
      for (intptr_t o = 0; needed[i] && o < mlirOperationGetNumOperands(at[i]); o++) {
        MlirValue operand = mlirOperationGetOperand(at[i], o);
        for (size_t j = i; j-- > 0;)
          if (gives(at[j], &operand, 1)) {
            needed[j] = true;
            break;
          }
      }
    }
  } else {
    free(needed);
    needed = NULL;
  }
  free(at);
  return needed;
}

static bool values_run(interpreter *self, MlirBlock block, const MlirValue *values, hmoec_tensor *outputs, size_t output_count) {
  size_t ops, number = 0;
  bool *needed = needed_find(block, values, output_count, &ops), ok = needed != NULL;
  if (!ok) return out_of_memory(self, mlirBlockGetParentOperation(block));
  for (MlirOperation op = mlirBlockGetFirstOperation(block); ok && !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op), number++) {
    if (!needed[number]) continue;
    if (hmoec_op_is(op, "hmoe.parameter")) bind(self, mlirOperationGetResult(op, 0))->parameter = op;
    else ok = op_run(self, op);
    for (size_t i = 0; ok && i < output_count; i++) {
      binding *bound = gives(op, &values[i], 1) ? binding_find(self, values[i]) : NULL;
      if (bound && !tensor_copy(&bound->tensor, &outputs[i])) ok = out_of_memory(self, op);
    }
  }
  free(needed);
  return ok;
}

bool hmoec_interpret_values(MlirOperation function, const hmoec_parameter_source *source, const hmoec_tensor *inputs,
                            size_t input_count, const MlirValue *values, hmoec_tensor *out, size_t count,
                            hmoec_diagnostics *diagnostics) {
  interpreter self = {.source = source, .diagnostics = diagnostics};
  return interpret(function, &self, inputs, input_count, values_run, values, out, count);
}
