/* Checks what IRDL cannot say of a model: operand counts, attribute ranges, shapes, the form of entry functions, and that every index
 * into experts or selection sets comes from an op that keeps it in range (generated code does not check again).
 *
 * A model is a module of functions; a function has one block of hmoe ops that ends in func.return; every argument and result has a
 * name, the string attribute hmoe.name; a dimension that is known at run time is the first of its argument, or one of batch and length.
 * What else arguments and functions may carry is in ir/entry.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "ir/entry.h"
#include "ir/generation.h"
#include "ir/location.h"
#include "ir/op_reader.h"
#include "ir/ops.h"
#include "ir/ops_infer.h"
#include "ir/scalar.h"
#include "plain_text.h"

enum { MAX_NAMES = 64 };

static MlirStringRef ref(const char *text) { return mlirStringRefCreateFromCString(text); }

static bool is_i64(MlirAttribute attribute) {
  MlirType type = mlirAttributeIsAInteger(attribute) ? mlirAttributeGetType(attribute) : (MlirType){NULL};
  return !mlirTypeIsNull(type) && mlirTypeIsAInteger(type) && mlirIntegerTypeGetWidth(type) == 64;
}

static MlirStringRef op_name(MlirOperation op) { return mlirIdentifierStr(mlirOperationGetName(op)); }

static bool segments_equal(MlirOperation op, const char *name, const int32_t *sizes, size_t count) {
  MlirAttribute attribute = mlirOperationGetAttributeByName(op, ref(name));
  if (count == 0) return mlirAttributeIsNull(attribute);
  if (mlirAttributeIsNull(attribute) || !mlirAttributeIsADenseI32Array(attribute) ||
      mlirDenseArrayGetNumElements(attribute) != (intptr_t)count)
    return false;
  for (size_t i = 0; i < count; i++)
    if (mlirDenseI32ArrayGetElement(attribute, (intptr_t)i) != sizes[i]) return false;
  return true;
}

/* Optional operands come all together, or as the op's flags say. */
static bool segments_check(const hmoec_inference *inference, MlirOperation op) {
  int32_t sizes[HMOEC_MAX_OPERANDS];
  if (!segments_equal(op, "operandSegmentSizes", sizes, hmoec_operand_segments(inference, sizes)))
    return hmoec_error(inference->diagnostics, inference->location, "%s: operandSegmentSizes does not say which operands there are",
                       inference->info->name);
  if (!segments_equal(op, "resultSegmentSizes", sizes, hmoec_result_segments(inference, sizes)))
    return hmoec_error(inference->diagnostics, inference->location, "%s: resultSegmentSizes does not say which results there are",
                       inference->info->name);
  return true;
}

/* The attributes that passes leave for later ones; hmoe.per_set and hmoe.loop live inside plan-kernels only. */
static bool pass_attributes_check(const hmoec_inference *inference, MlirOperation op) {
  MlirAttribute strategy = mlirOperationGetAttributeByName(op, ref("hmoe.strategy")),
                reason = mlirOperationGetAttributeByName(op, ref("hmoe.reason"));
  MlirAttribute slots = mlirOperationGetAttributeByName(op, ref("hmoe.slots"));
  if ((!mlirAttributeIsNull(strategy) && !mlirAttributeIsAString(strategy)) ||
      (!mlirAttributeIsNull(reason) && !mlirAttributeIsAString(reason)))
    return hmoec_error(inference->diagnostics, inference->location, "%s: expected hmoe.strategy and hmoe.reason to be strings",
                       inference->info->name);
  if (!mlirAttributeIsNull(slots)) {
    int64_t count = is_i64(slots) ? mlirIntegerAttrGetValueInt(slots) : 0;
    if (count < 1 || count > HMOEC_MOST_SLOTS)
      return hmoec_error(inference->diagnostics, inference->location, "%s: expected hmoe.slots to be an i64 between 1 and %d",
                         inference->info->name, HMOEC_MOST_SLOTS);
  }
  if (mlirAttributeIsNull(mlirOperationGetAttributeByName(op, ref("hmoe.per_set"))) &&
      mlirAttributeIsNull(mlirOperationGetAttributeByName(op, ref("hmoe.loop"))))
    return true;
  return hmoec_error(inference->diagnostics, inference->location, "%s: hmoe.per_set and hmoe.loop cannot be given",
                     inference->info->name);
}

/* Attributes beside those of the table: "at_open", and dotted ones, which belong to passes and to other tools. */
static bool other_attributes_check(const hmoec_op_reader *reader, MlirOperation op) {
  const hmoec_inference *inference = &reader->inference;
  if (!pass_attributes_check(inference, op)) return false;
  for (intptr_t i = 0; i < mlirOperationGetNumAttributes(op); i++) {
    MlirNamedAttribute attribute = mlirOperationGetAttribute(op, i);
    MlirStringRef name = mlirIdentifierStr(attribute.name);
    if (memchr(name.data, '.', name.length) || mlirStringRefEqual(name, ref("operandSegmentSizes")) ||
        mlirStringRefEqual(name, ref("resultSegmentSizes")))
      continue;
    size_t row = 0;
    while (inference->info->attributes[row].name && !mlirStringRefEqual(name, ref(inference->info->attributes[row].name))) row++;
    if (inference->info->attributes[row].name) continue;
    if (!mlirStringRefEqual(name, ref("at_open")))
      return hmoec_error(inference->diagnostics, inference->location, "%s has no attribute \"%.*s\"", inference->info->name,
                         (int)name.length, name.data);
    if (!mlirAttributeIsAUnit(attribute.attribute))
      return hmoec_error(inference->diagnostics, inference->location, "%s: at_open takes no value", inference->info->name);
  }
  return true;
}

/* The op that makes a value, or null for an argument. */
static MlirOperation definition(MlirValue value) {
  return mlirValueIsAOpResult(value) ? mlirOpResultGetOwner(value) : (MlirOperation){NULL};
}

static bool is_at_open(MlirOperation op) {
  return hmoec_op_is(op, "hmoe.parameter") || hmoec_op_is(op, "hmoe.all_selections") || hmoec_op_at_open(op);
}

static bool at_open_check(const hmoec_op_reader *reader, MlirOperation op) {
  if (!hmoec_op_at_open(op)) return true;
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++) {
    MlirOperation maker = definition(mlirOperationGetOperand(op, i));
    if (mlirOperationIsNull(maker) || !is_at_open(maker))
      return hmoec_error(reader->inference.diagnostics, reader->inference.location, "%s is at_open, but %s depends on an input",
                         reader->inference.info->name, reader->inference.info->operands[i].name);
  }
  return true;
}

static int64_t last_dim(MlirValue value) {
  MlirType type = mlirValueGetType(value);
  return mlirShapedTypeGetDimSize(type, (intptr_t)mlirShapedTypeGetRank(type) - 1);
}

/* How many experts the indices in a value range over; 0 when nothing keeps them in range. */
static int64_t experts_of(MlirValue indices) {
  MlirOperation maker = definition(indices);
  if (mlirOperationIsNull(maker) || mlirOpResultGetResultNumber(indices) != 0) return 0;
  if (hmoec_op_is(maker, "hmoe.route")) return last_dim(mlirOperationGetOperand(maker, 0));
  if (hmoec_op_is(maker, "hmoe.all_selections") || hmoec_op_is(maker, "hmoe.distinct_selections"))
    return hmoec_op_int(maker, "experts");
  return 0;
}

/* How many rows the values of a `which` range over: a count, HMOEC_DYNAMIC, or 0 when nothing keeps them in range. */
static int64_t sets_of(MlirValue which) {
  MlirOperation maker = definition(which);
  if (mlirOperationIsNull(maker)) return 0;
  if (hmoec_op_is(maker, "hmoe.distinct_selections")) return mlirOpResultGetResultNumber(which) == 1 ? HMOEC_DYNAMIC : 0;
  if (!hmoec_op_is(maker, "hmoe.selection_rank")) return 0;
  return hmoec_binomial(hmoec_op_int(maker, "experts"),
                        mlirShapedTypeGetDimSize(mlirValueGetType(mlirOperationGetOperand(maker, 0)), 1));
}

static bool indices_check(const hmoec_op_reader *reader, MlirOperation op) {
  const hmoec_inference *inference = &reader->inference;
  if (strcmp(inference->info->name, "indexed_hyper_expert") == 0) {
    int64_t made = sets_of(mlirOperationGetOperand(op, 1)), rows = inference->operands[2].dims[0];
    if (made == 0)
      return hmoec_error(inference->diagnostics, inference->location,
                         "indexed_hyper_expert: which must be made by selection_rank or distinct_selections");
    if (made == rows) return true;
    return hmoec_error(inference->diagnostics, inference->location,
                       "indexed_hyper_expert: which ranges over %s, down over other rows",
                       made == HMOEC_DYNAMIC ? "the distinct selections" : "all selections");
  }
  const hmoec_operand_info *operands = inference->info->operands;
  size_t indices = 0, table = 0;
  while (operands[indices].name && operands[indices].kind != HMOEC_OPERAND_INDICES) indices++;
  if (!operands[indices].name) return true;
  for (table = indices + 1; operands[table].name && operands[table].kind == HMOEC_OPERAND_ROWS;) table++;
  int64_t made = experts_of(mlirOperationGetOperand(op, (intptr_t)indices));
  int64_t used = operands[table].name ? inference->operands[table].dims[0] : hmoec_op_int(op, "experts");
  if (made == 0)
    return hmoec_error(inference->diagnostics, inference->location, "%s: indices must be made by route", inference->info->name);
  if (made == used) return true;
  return hmoec_error(inference->diagnostics, inference->location, "%s: indices range over %" PRId64 " experts, expected %" PRId64,
                     inference->info->name, made, used);
}

static bool results_match(hmoec_op_reader *reader, MlirOperation op) {
  hmoec_inference *inference = &reader->inference;
  char expected[HMOEC_SHAPE_CHARS], found[HMOEC_SHAPE_CHARS];
  size_t count = (size_t)mlirOperationGetNumResults(op);
  if (count != inference->result_count)
    return hmoec_error(inference->diagnostics, inference->location, "%s: expected %zu results, found %zu", inference->info->name,
                       inference->result_count, count);
  for (size_t i = 0; i < count; i++) {
    hmoec_shape shape;
    hmoec_shape_string(&inference->results[i], expected, sizeof expected);
    if (!hmoec_shape_from_type(mlirValueGetType(mlirOperationGetResult(op, (intptr_t)i)), &shape))
      return hmoec_error(inference->diagnostics, inference->location, "%s: expected result %zu to be %s", inference->info->name, i,
                         expected);
    bool same = shape.element == inference->results[i].element && shape.rank == inference->results[i].rank &&
                memcmp(shape.dims, inference->results[i].dims, (size_t)shape.rank * sizeof *shape.dims) == 0;
    if (!same)
      return hmoec_error(inference->diagnostics, inference->location, "%s: expected result %zu to be %s, found %s",
                         inference->info->name, i, expected, hmoec_shape_string(&shape, found, sizeof found));
  }
  return true;
}

/* Attributes that name scalar functions: there is one, of so many arguments as the op gives it. */
static bool functions_check(const hmoec_op_reader *reader, MlirOperation op) {
  const hmoec_inference *inference = &reader->inference;
  MlirOperation module = mlirOperationGetParentOperation(mlirOperationGetParentOperation(op));
  for (size_t i = 0; inference->info->attributes[i].name; i++) {
    const hmoec_attribute_info *row = &inference->info->attributes[i];
    const char *name = row->arities ? hmoec_scalar_reference(inference->attributes[i].string) : NULL;
    if (!name) continue;
    MlirOperation function = hmoec_scalar_find(module, name, strlen(name));
    if (mlirOperationIsNull(function))
      return hmoec_error(inference->diagnostics, inference->location, "%s: %s names the function @%s, which is not there",
                         inference->info->name, row->name, name);
    size_t arity = hmoec_scalar_arity(function);
    if (row->arities & 1u << arity) continue;
    return hmoec_error(inference->diagnostics, inference->location, "%s: expected %s to be a function of %s, @%s has %zu",
                       inference->info->name, row->name, row->arities & 4 ? "one or two arguments" : "one argument", name, arity);
  }
  return true;
}

/* trusted: every op so far is right, so that what made the operands can be looked into. */
static bool verify_op(MlirOperation op, bool trusted, hmoec_diagnostics *diagnostics) {
  hmoec_op_reader reader;
  if (!hmoec_op_read(op, diagnostics, &reader)) return false;
  hmoec_inference *inference = &reader.inference;
  if (!other_attributes_check(&reader, op) || !at_open_check(&reader, op)) return false;
  if (inference->info->infer)
    return inference->info->infer(inference) && hmoec_results_check(inference) && results_match(&reader, op) &&
           segments_check(inference, op) && functions_check(&reader, op) && (!trusted || indices_check(&reader, op));
  inference->result_count = 1; /* a parameter is what its type says */
  if (!hmoec_shape_from_type(mlirValueGetType(mlirOperationGetResult(op, 0)), &inference->results[0]))
    return hmoec_error(diagnostics, inference->location, "parameter: the result is not a tensor of rank %d or less",
                       HMOEC_MAX_RANK);
  return hmoec_parameter_check(diagnostics, inference->location, hmoec_op_string(op, "key"), inference->attributes[1].integer,
                               &inference->results[0]);
}

/* Names that were seen in one function: they become the fields of one C struct. */
typedef struct name_set {
  MlirStringRef names[MAX_NAMES];
  size_t count;
} name_set;

static bool is_identifier(MlirStringRef name) {
  if (name.length == 0 || hmoe_plain_is_digit(name.data[0])) return false;
  for (size_t i = 0; i < name.length; i++)
    if (!hmoe_plain_is_alnum(name.data[i]) && name.data[i] != '_') return false;
  return true;
}

/* One attribute of an argument or result; attributes: arg_attrs or res_attrs of the function, null when there are none. */
static MlirAttribute port_attribute(MlirAttribute attributes, intptr_t index, const char *name) {
  if (mlirAttributeIsNull(attributes) || !mlirAttributeIsAArray(attributes) || index >= mlirArrayAttrGetNumElements(attributes))
    return mlirAttributeGetNull();
  return mlirDictionaryAttrGetElementByName(mlirArrayAttrGetElement(attributes, index), ref(name));
}

static bool name_check(MlirAttribute attributes, intptr_t index, const char *what, name_set *seen, hmoec_diagnostics *diagnostics,
                       hmoec_location location) {
  MlirAttribute name = port_attribute(attributes, index, "hmoe.name");
  if (mlirAttributeIsNull(name) || !mlirAttributeIsAString(name))
    return hmoec_error(diagnostics, location, "%s %td has no name: expected the string attribute hmoe.name", what, index);
  MlirStringRef text = mlirStringAttrGetValue(name);
  if (!is_identifier(text))
    return hmoec_error(diagnostics, location, "the name \"%.*s\" of %s %td is not an identifier", (int)text.length, text.data, what,
                       index);
  if (text.length > HMOEC_MOST_NAME)
    return hmoec_error(diagnostics, location, "the name of %s %td is longer than %d characters", what, index, HMOEC_MOST_NAME);
  const char *taken = hmoec_name_taken(text, false);
  if (taken)
    return hmoec_error(diagnostics, location, "\"%.*s\" cannot name %s %td: it is %s", (int)text.length, text.data, what, index,
                       taken);
  if (seen->count == MAX_NAMES) return hmoec_error(diagnostics, location, "more than %d inputs and outputs", MAX_NAMES);
  for (size_t i = 0; i < seen->count; i++)
    if (mlirStringRefEqual(seen->names[i], text))
      return hmoec_error(diagnostics, location, "the name \"%.*s\" is used twice", (int)text.length, text.data);
  seen->names[seen->count++] = text;
  return true;
}

/* The name of a dimension: an identifier, and no name of an input or output. */
static bool dim_name_check(MlirStringRef name, intptr_t index, const name_set *ports, hmoec_diagnostics *diagnostics,
                           hmoec_location location) {
  int length = name.length < 200 ? (int)name.length : 200;
  if (!is_identifier(name) || name.length > HMOEC_MOST_NAME)
    return hmoec_error(diagnostics, location, "\"%.*s\" cannot name a dimension of argument %td: it is not an identifier", length,
                       name.data, index);
  const char *taken = hmoec_name_taken(name, false);
  for (size_t i = 0; i < ports->count && !taken; i++)
    if (mlirStringRefEqual(ports->names[i], name)) taken = "the name of an input or output";
  return !taken || hmoec_error(diagnostics, location, "\"%.*s\" cannot name a dimension of argument %td: it is %s", length,
                               name.data, index, taken);
}

static bool dims_check(MlirAttribute attributes, intptr_t index, const hmoec_shape *shape, const name_set *ports,
                       hmoec_diagnostics *diagnostics, hmoec_location location) {
  intptr_t count = 0;
  for (int64_t i = 0; i < shape->rank; i++) count += shape->dims[i] == HMOEC_DYNAMIC;
  MlirAttribute dims = port_attribute(attributes, index, "hmoe.dims");
  bool ok = true;
  if (mlirAttributeIsNull(dims)) {
    const char *const *names = hmoec_default_dim_names((size_t)count);
    for (intptr_t i = 0; i < count; i++) ok = dim_name_check(ref(names[i]), index, ports, diagnostics, location) && ok;
    return ok;
  }
  if (!mlirAttributeIsAArray(dims) || mlirArrayAttrGetNumElements(dims) != count)
    return hmoec_error(diagnostics, location,
                       "argument %td: expected hmoe.dims to name the %td dimensions that are known at run time only", index, count);
  for (intptr_t i = 0; i < count; i++) {
    MlirAttribute name = mlirArrayAttrGetElement(dims, i);
    if (!mlirAttributeIsAString(name))
      return hmoec_error(diagnostics, location, "argument %td: expected the names in hmoe.dims to be strings", index);
    ok = dim_name_check(mlirStringAttrGetValue(name), index, ports, diagnostics, location) && ok;
  }
  return ok;
}

static bool default_check(MlirAttribute attributes, intptr_t index, const hmoec_shape *shape, hmoec_diagnostics *diagnostics,
                          hmoec_location location) {
  MlirAttribute given = port_attribute(attributes, index, "hmoe.default");
  if (mlirAttributeIsNull(given)) return true;
  if (shape->element != HMOEC_I32 && shape->element != HMOEC_I64)
    return hmoec_error(diagnostics, location, "argument %td: only i32 and i64 inputs have a default", index);
  if (!is_i64(given)) return hmoec_error(diagnostics, location, "argument %td: expected hmoe.default to be an i64", index);
  int64_t value = mlirIntegerAttrGetValueInt(given);
  return shape->element == HMOEC_I64 || (value >= INT32_MIN && value <= INT32_MAX) ||
         hmoec_error(diagnostics, location, "argument %td: the default %" PRId64 " does not fit in 32 bits", index, value);
}

static bool generation_check(MlirOperation function, hmoec_diagnostics *diagnostics, hmoec_location location) {
  hmoec_arena *arena = hmoec_arena_create();
  hmoec_generation generation;
  bool ok = hmoec_generation_from_attribute(hmoec_entry_generation(function), arena, diagnostics, location, &generation);
  hmoec_arena_destroy(arena);
  return ok;
}

static bool tensor_check(MlirType type, intptr_t index, const char *what, hmoec_diagnostics *diagnostics, hmoec_location location) {
  hmoec_shape shape;
  char text[HMOEC_SHAPE_CHARS];
  if (!hmoec_shape_from_type(type, &shape))
    return hmoec_error(diagnostics, location, "%s %td is not a tensor of f32, i32, i64 or i1 of rank %d or less", what, index,
                       HMOEC_MAX_RANK);
  hmoec_shape_string(&shape, text, sizeof text);
  bool tokens = shape.element == HMOEC_I32 || shape.element == HMOEC_I64; /* [batch, length]; others have columns last */
  for (int64_t i = 1; i < shape.rank; i++)
    if (shape.dims[i] == HMOEC_DYNAMIC && !(i == 1 && (shape.rank == 3 || tokens)))
      return hmoec_error(diagnostics, location,
                         "%s %td is %s: only the first dimension, or batch and length, may be known at run time", what, index,
                         text);
  for (int64_t i = 0; i < shape.rank; i++)
    if (shape.dims[i] == 0)
      return hmoec_error(diagnostics, location, "%s %td is %s: expected dimensions of at least 1", what, index, text);
  if (hmoec_shape_elements(&shape) > HMOEC_MOST_ELEMENTS)
    return hmoec_error(diagnostics, location, "%s %td is too large: %s", what, index, text);
  return true;
}

/* The model is named by hmoe.model, else by the function: files, types and symbols carry that name. */
static bool model_name_check(MlirOperation function, hmoec_diagnostics *diagnostics, hmoec_location location) {
  MlirAttribute name = mlirOperationGetAttributeByName(function, ref("hmoe.model"));
  if (mlirAttributeIsNull(name)) name = mlirOperationGetAttributeByName(function, ref("sym_name"));
  if (!mlirAttributeIsAString(name)) return hmoec_error(diagnostics, location, "expected hmoe.model to be a string");
  MlirStringRef text = mlirStringAttrGetValue(name);
  if (!is_identifier(text))
    return hmoec_error(diagnostics, location, "the model's name \"%.*s\" is not an identifier", (int)text.length, text.data);
  if (text.length > HMOEC_MOST_NAME)
    return hmoec_error(diagnostics, location, "the model's name is longer than %d characters", HMOEC_MOST_NAME);
  const char *taken = hmoec_name_taken(text, true);
  return !taken || hmoec_error(diagnostics, location, "\"%.*s\" cannot name a model: it is %s", (int)text.length, text.data, taken);
}

static bool signature_check(MlirOperation function, hmoec_diagnostics *diagnostics) {
  hmoec_location location = hmoec_location_of_op(function);
  bool named = model_name_check(function, diagnostics, location), ok = true;
  MlirType type = mlirTypeAttrGetValue(mlirOperationGetAttributeByName(function, ref("function_type")));
  MlirAttribute argument_attributes = mlirOperationGetAttributeByName(function, ref("arg_attrs"));
  MlirAttribute result_attributes = mlirOperationGetAttributeByName(function, ref("res_attrs"));
  name_set seen = {.count = 0};
  for (intptr_t i = 0; i < mlirFunctionTypeGetNumInputs(type); i++) {
    ok = name_check(argument_attributes, i, "argument", &seen, diagnostics, location) && ok;
    ok = tensor_check(mlirFunctionTypeGetInput(type, i), i, "argument", diagnostics, location) && ok;
  }
  for (intptr_t i = 0; i < mlirFunctionTypeGetNumResults(type); i++) {
    ok = name_check(result_attributes, i, "result", &seen, diagnostics, location) && ok;
    ok = tensor_check(mlirFunctionTypeGetResult(type, i), i, "result", diagnostics, location) && ok;
  }
  if (mlirFunctionTypeGetNumResults(type) == 0) ok = hmoec_error(diagnostics, location, "the function has no results");
  for (intptr_t i = 0; ok && i < mlirFunctionTypeGetNumInputs(type); i++) {
    hmoec_shape shape;
    hmoec_shape_from_type(mlirFunctionTypeGetInput(type, i), &shape); /* was checked */
    ok = dims_check(argument_attributes, i, &shape, &seen, diagnostics, location) &&
         default_check(argument_attributes, i, &shape, diagnostics, location);
  }
  return generation_check(function, diagnostics, location) && named && ok;
}

static bool body_check(MlirOperation function, hmoec_diagnostics *diagnostics) {
  MlirBlock block = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
  if (mlirBlockIsNull(block)) return hmoec_error(diagnostics, hmoec_location_of_op(function), "the function has no body");
  if (!mlirBlockIsNull(mlirBlockGetNextInRegion(block)))
    return hmoec_error(diagnostics, hmoec_location_of_op(function), "the function has more than one block");
  bool ok = true;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
    MlirStringRef name = op_name(op);
    if (name.length > 5 && memcmp(name.data, "hmoe.", 5) == 0) ok = verify_op(op, ok, diagnostics) && ok;
    else if (!hmoec_op_is(op, "func.return"))
      ok =
          hmoec_error(diagnostics, hmoec_location_of_op(op), "%.*s is not an op of the model dialect", (int)name.length, name.data);
  }
  return ok;
}

static bool scalar_check(MlirOperation function, hmoec_diagnostics *diagnostics) {
  MlirStringRef name = hmoec_op_string(function, "sym_name");
  hmoec_scalar_program program;
  if (name.length > HMOEC_SCALAR_MAX_NAME)
    return hmoec_error(diagnostics, hmoec_location_of_op(function), "the function's name is longer than %d characters",
                       HMOEC_SCALAR_MAX_NAME);
  if (!is_identifier(name))
    return hmoec_error(diagnostics, hmoec_location_of_op(function), "the function's name \"%.*s\" is not an identifier",
                       (int)name.length, name.length ? name.data : "");
  if (hmoec_scalar_name_taken(name))
    return hmoec_error(diagnostics, hmoec_location_of_op(function), "a function cannot be named %.*s: entries of models are",
                       (int)name.length, name.data);
  if (!hmoec_scalar_read(function, diagnostics, &program)) return false;
  hmoec_scalar_deinit(&program);
  return true;
}

bool hmoec_verify(MlirModule module, hmoec_diagnostics *diagnostics) {
  MlirOperation root = mlirModuleGetOperation(module);
  unsigned errors = hmoec_diagnostics_errors(diagnostics);
  if (!mlirOperationVerify(root)) {
    if (hmoec_diagnostics_errors(diagnostics) == errors)
      hmoec_error(diagnostics, hmoec_location_of_op(root), "the module is not valid IR");
    return false;
  }
  bool ok = true;
  size_t functions = 0;
  for (MlirOperation op = mlirBlockGetFirstOperation(mlirModuleGetBody(module)); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op)) {
    MlirStringRef name = op_name(op);
    if (!hmoec_op_is(op, "func.func")) {
      ok = hmoec_error(diagnostics, hmoec_location_of_op(op), "expected functions in a model, found %.*s", (int)name.length,
                       name.data);
      continue;
    }
    if (hmoec_is_scalar_function(op)) {
      ok = scalar_check(op, diagnostics) && ok;
      continue;
    }
    functions++;
    ok = signature_check(op, diagnostics) && ok;
    ok = body_check(op, diagnostics) && ok;
  }
  if (functions == 0) ok = hmoec_error(diagnostics, hmoec_location_of_op(root), "the model has no function");
  return ok;
}
