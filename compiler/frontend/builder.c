/* The builder keeps the body of the entry function as a detached block; the function and its type are made at the end, when all inputs
 * and outputs are known. */
#include "frontend/builder.h"

#include <inttypes.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "frontend/function_set.h"
#include "ir/entry.h"
#include "ir/location.h"
#include "ir/scalar.h"
#include "support/arena.h"
#include "support/limits.h"
#include "support/name_map.h"

typedef struct port {
  const char *name;
  MlirValue value;
  const char *dims[HMOEC_MAX_RANK]; /* names of the dynamic dimensions of an input */
  size_t dim_count;
  bool has_default;
  int64_t given; /* the default */
} port;

typedef struct parameter {
  hmoec_shape shape;
  MlirValue value;
} parameter;

struct hmoec_builder {
  MlirContext context; /* borrowed */
  hmoec_diagnostics *diagnostics; /* borrowed */
  hmoec_arena *arena;
  const char *model;
  hmoec_location at;
  MlirBlock block; /* null once finished */
  hmoec_name_map ports; /* names of inputs and outputs */
  hmoec_location *port_places; /* by index in ports */
  hmoec_name_map dims; /* names of dynamic dimensions */
  hmoec_generation generation;
  port *inputs, *outputs;
  size_t input_count, output_count;
  hmoec_name_map keys;
  parameter *parameters; /* by index in keys */
  size_t parameter_capacity;
  size_t op_count;
  hmoec_function_set *functions;
  bool failed;
};

static MlirStringRef ref(const char *text) { return mlirStringRefCreateFromCString(text); }

static bool fail(hmoec_builder *builder) {
  builder->failed = true;
  return false;
}

static MlirLocation location_to_mlir(MlirContext context, hmoec_location at) {
  return at.file ? mlirLocationFileLineColGet(context, ref(at.file), at.line, at.column) : mlirLocationUnknownGet(context);
}

/* Names end up in a generated C header. */
static bool name_check(hmoec_builder *builder, hmoec_location at, const char *what, const char *name) {
  size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
  if (!*name || name[length] || strchr("0123456789", *name)) {
    hmoec_error(builder->diagnostics, at, "the %s name '%s' is not a C identifier, but the generated header uses it", what, name);
    return fail(builder);
  }
  const char *taken = hmoec_name_taken(ref(name), strcmp(what, "model") == 0);
  if (!taken) return true;
  hmoec_error(builder->diagnostics, at, "'%s' cannot name the %s: it is %s, and the generated header uses it", name, what, taken);
  return fail(builder);
}

hmoec_builder *hmoec_builder_create(MlirContext context, hmoec_diagnostics *diagnostics, hmoec_location at, const char *model,
                                    const hmoec_c_flags *flags) {
  hmoec_arena *arena = hmoec_arena_create();
  hmoec_builder *builder = hmoec_arena_alloc(arena, sizeof *builder);
  builder->context = context;
  builder->diagnostics = diagnostics;
  builder->arena = arena;
  builder->model = hmoec_arena_strdup(arena, model);
  builder->at = at;
  builder->ports.arena = builder->dims.arena = builder->keys.arena = arena;
  builder->block = mlirBlockCreate(0, NULL, NULL);
  builder->functions = hmoec_function_set_create(context, diagnostics, model, flags);
  name_check(builder, at, "model", model);
  return builder;
}

void hmoec_builder_destroy(hmoec_builder *builder) {
  if (!builder) return;
  if (!mlirBlockIsNull(builder->block)) mlirBlockDestroy(builder->block);
  hmoec_function_set_destroy(builder->functions);
  hmoec_arena_destroy(builder->arena);
}

/* Adds a port to an array that grows by doubling. */
static bool port_add(hmoec_builder *builder, hmoec_location at, const char *what, const char *name, port **ports, size_t *count) {
  if (!name_check(builder, at, what, name)) return false;
  if (hmoec_name_map_find(&builder->dims, name) != HMOEC_NO_NAME) {
    hmoec_error(builder->diagnostics, at, "'%s' cannot name the %s: it is the name of a dimension", name, what);
    return fail(builder);
  }
  size_t before = builder->ports.count;
  name = hmoec_arena_strdup(builder->arena, name);
  size_t index = hmoec_name_map_add(&builder->ports, name);
  if (index != before) {
    hmoec_error(builder->diagnostics, at, "there is already an input or output named '%s'", name);
    if (builder->port_places[index].file) hmoec_note(builder->diagnostics, builder->port_places[index], "it is declared here");
    return fail(builder);
  }
  if ((before & (before - 1)) == 0)
    builder->port_places =
        hmoec_arena_grow(builder->arena, builder->port_places, before, before ? 2 * before : 1, sizeof *builder->port_places);
  builder->port_places[before] = at;
  if ((*count & (*count - 1)) == 0)
    *ports = hmoec_arena_grow(builder->arena, *ports, *count, *count ? 2 * *count : 1, sizeof **ports);
  (*ports)[(*count)++] = (port){.name = name};
  return true;
}

/* The shape of an input, and the default it may have. */
static bool input_check(hmoec_builder *builder, hmoec_location at, const char *name, const hmoec_shape *shape,
                        const int64_t *given) {
  char text[HMOEC_SHAPE_CHARS];
  hmoec_shape_string(shape, text, sizeof text);
  if (shape->element == HMOEC_I1) {
    hmoec_error(builder->diagnostics, at, "input '%s': expected f32, i32 or i64 elements, found %s", name, text);
    return fail(builder);
  }
  for (int64_t i = 0; i < shape->rank; i++) {
    if (shape->dims[i] >= 1 || shape->dims[i] == HMOEC_DYNAMIC) continue;
    hmoec_error(builder->diagnostics, at, "input '%s': expected dimensions of at least 1, found %s", name, text);
    return fail(builder);
  }
  if (hmoec_shape_elements(shape) > HMOEC_MOST_ELEMENTS) {
    hmoec_error(builder->diagnostics, at, "input '%s': %s is too large", name, text);
    return fail(builder);
  }
  if (!given) return true;
  if (shape->element == HMOEC_F32) {
    hmoec_error(builder->diagnostics, at, "input '%s': only i32 and i64 inputs have a default, found %s", name, text);
    return fail(builder);
  }
  if (shape->element == HMOEC_I32 && (*given < INT32_MIN || *given > INT32_MAX)) {
    hmoec_error(builder->diagnostics, at, "input '%s': the default %" PRId64 " does not fit in 32 bits", name, *given);
    return fail(builder);
  }
  return true;
}

static bool dims_add(hmoec_builder *builder, hmoec_location at, port *input, const char *const *dims, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (!name_check(builder, at, "dimension", dims[i])) return false;
    if (hmoec_name_map_find(&builder->ports, dims[i]) != HMOEC_NO_NAME) {
      hmoec_error(builder->diagnostics, at, "'%s' cannot name a dimension: it is the name of an input or output", dims[i]);
      return fail(builder);
    }
    const char *name = hmoec_arena_strdup(builder->arena, dims[i]);
    hmoec_name_map_add(&builder->dims, name);
    input->dims[input->dim_count++] = name;
  }
  return true;
}

bool hmoec_builder_input_named(hmoec_builder *builder, hmoec_location at, const char *name, const hmoec_shape *shape,
                               const char *const *dims, const int64_t *given, MlirValue *out_value) {
  if (!input_check(builder, at, name, shape, given) ||
      !port_add(builder, at, "input", name, &builder->inputs, &builder->input_count))
    return false;
  size_t dynamic_count = 0;
  for (int64_t i = 0; i < shape->rank; i++) dynamic_count += shape->dims[i] == HMOEC_DYNAMIC;
  port *input = &builder->inputs[builder->input_count - 1];
  if (!dims_add(builder, at, input, dims, dynamic_count)) return false;
  input->has_default = given != NULL;
  input->given = given ? *given : 0;
  MlirType type = hmoec_shape_to_type(builder->context, shape);
  *out_value = input->value = mlirBlockAddArgument(builder->block, type, location_to_mlir(builder->context, at));
  return true;
}

bool hmoec_builder_input(hmoec_builder *builder, hmoec_location at, const char *name, const hmoec_shape *shape,
                         MlirValue *out_value) {
  size_t dynamic_count = 0;
  for (int64_t i = 0; i < shape->rank; i++) dynamic_count += shape->dims[i] == HMOEC_DYNAMIC;
  const char *const *dims = hmoec_default_dim_names(dynamic_count);
  return hmoec_builder_input_named(builder, at, name, shape, dims, NULL, out_value);
}

bool hmoec_builder_setting(hmoec_builder *builder, hmoec_location at, const char *name, const hmoec_setting_value *value) {
  uint32_t setting = hmoec_setting_find(name);
  if (setting == HMOE_SETTING_COUNT) {
    const char *close = hmoec_closest_name(name, hmoec_setting_names(), HMOE_SETTING_COUNT);
    hmoec_error(builder->diagnostics, at, "generation has no setting '%s'%s%s%s", name, close ? "; did you mean '" : "",
                close ? close : "", close ? "'?" : "");
    return fail(builder);
  }
  if (!hmoec_setting_check(setting, name, value, builder->diagnostics, at)) return fail(builder);
  hmoec_setting_value copy = {.count = value->count, .number = value->number};
  int64_t *integers = hmoec_arena_alloc_array(builder->arena, value->count, sizeof *integers);
  if (value->count) memcpy(integers, value->integers, value->count * sizeof *integers);
  copy.integers = integers;
  builder->generation.values[setting] = copy;
  builder->generation.given[setting] = true;
  return true;
}

static bool op_count_check(hmoec_builder *builder, hmoec_location at) {
  if (builder->op_count++ < HMOEC_MODEL_MAX_OPS) return true;
  if (builder->op_count == HMOEC_MODEL_MAX_OPS + 1)
    hmoec_error(builder->diagnostics, at, "the model has more than %d ops", HMOEC_MODEL_MAX_OPS);
  return fail(builder);
}

static bool shape_equal(const hmoec_shape *a, const hmoec_shape *b) {
  if (a->element != b->element || a->rank != b->rank) return false;
  for (int64_t i = 0; i < a->rank; i++)
    if (a->dims[i] != b->dims[i]) return false;
  return true;
}

bool hmoec_builder_parameter(hmoec_builder *builder, hmoec_location at, const char *key, int64_t count, const hmoec_shape *shape,
                             MlirValue *out_value) {
  size_t known = hmoec_name_map_find(&builder->keys, key);
  if (known != HMOEC_NO_NAME) {
    *out_value = builder->parameters[known].value;
    if (shape_equal(&builder->parameters[known].shape, shape)) return true;
    char before[HMOEC_SHAPE_CHARS], now[HMOEC_SHAPE_CHARS];
    hmoec_error(builder->diagnostics, at, "parameter \"%.*s\": expected %s as where it was first used, found %s",
                (int)strcspn(key, "\n"), key, hmoec_shape_string(&builder->parameters[known].shape, before, sizeof before),
                hmoec_shape_string(shape, now, sizeof now));
    hmoec_note(builder->diagnostics, hmoec_location_of_op(mlirOpResultGetOwner(*out_value)), "first used here");
    return fail(builder);
  }
  if (!op_count_check(builder, at)) return false;
  MlirOperation op = hmoec_parameter_build(builder->context, builder->diagnostics, builder->block, (MlirOperation){NULL},
                                           location_to_mlir(builder->context, at), key, count, shape);
  if (mlirOperationIsNull(op)) return fail(builder);
  *out_value = mlirOperationGetResult(op, 0);
  size_t index = hmoec_name_map_add(&builder->keys, hmoec_arena_strdup(builder->arena, key));
  if (index == builder->parameter_capacity) {
    builder->parameter_capacity = index ? 2 * index : 16;
    builder->parameters =
        hmoec_arena_grow(builder->arena, builder->parameters, index, builder->parameter_capacity, sizeof *builder->parameters);
  }
  builder->parameters[index] = (parameter){.shape = *shape, .value = *out_value};
  return true;
}

/* C functions that attributes name become functions of the module. */
static bool functions_resolve(hmoec_builder *builder, hmoec_location at, const char *op, hmoec_attribute *attributes,
                              size_t attribute_count) {
  const hmoec_op_info *info = hmoec_op_info_find(op);
  for (size_t i = 0; info && i < attribute_count; i++) {
    const hmoec_attribute_info *row = info->attributes;
    while (row->name && strcmp(row->name, attributes[i].name) != 0) row++;
    if (!row->name || !row->arities || attributes[i].kind != HMOEC_ATTRIBUTE_STRING) continue;
    if (hmoec_scalar_reference(attributes[i].string))
      return hmoec_error(builder->diagnostics, at, "%s: expected %s to be a name or c:FILE:FUNCTION, found \"%s\"", op, row->name,
                         attributes[i].string);
    if (!hmoec_names_c_function(attributes[i].string)) continue;
    const char *what = strcmp(row->name, "gate") == 0 ? "a gate score function" : "an activation";
    attributes[i].string = hmoec_function_set_get(builder->functions, at, attributes[i].string, what, row->arities);
    if (!attributes[i].string) return false;
  }
  return true;
}

bool hmoec_builder_op(hmoec_builder *builder, hmoec_location at, const char *name, const MlirValue *operands, size_t operand_count,
                      const hmoec_attribute *attributes, size_t attribute_count, MlirValue *out_results, size_t *out_result_count) {
  if (!op_count_check(builder, at)) return false;
  hmoec_attribute resolved[HMOEC_MAX_ATTRIBUTES];
  size_t count = attribute_count < HMOEC_MAX_ATTRIBUTES ? attribute_count : HMOEC_MAX_ATTRIBUTES;
  for (size_t i = 0; i < count; i++) resolved[i] = attributes[i];
  if (!functions_resolve(builder, at, name, resolved, count)) return fail(builder);
  MlirOperation op = hmoec_op_build(builder->context, builder->diagnostics, builder->block, (MlirOperation){NULL},
                                    location_to_mlir(builder->context, at), name, operands, operand_count, resolved, count);
  if (mlirOperationIsNull(op)) return fail(builder);
  *out_result_count = (size_t)mlirOperationGetNumResults(op);
  for (size_t i = 0; i < *out_result_count; i++) out_results[i] = mlirOperationGetResult(op, (intptr_t)i);
  return true;
}

bool hmoec_builder_output(hmoec_builder *builder, hmoec_location at, const char *name, MlirValue value) {
  if (!port_add(builder, at, "output", name, &builder->outputs, &builder->output_count)) return false;
  builder->outputs[builder->output_count - 1].value = value;
  return true;
}

static MlirNamedAttribute named(MlirContext context, const char *name, MlirAttribute value) {
  return mlirNamedAttributeGet(mlirIdentifierGet(context, ref(name)), value);
}

/* [{hmoe.dims = ["tokens"], hmoe.name = "x"}, ...] */
static MlirAttribute port_attributes(const hmoec_builder *builder, const port *ports, size_t count) {
  MlirContext context = builder->context;
  MlirAttribute *items = hmoec_arena_alloc_array(builder->arena, count, sizeof *items);
  for (size_t i = 0; i < count; i++) {
    MlirNamedAttribute attributes[3];
    intptr_t attribute_count = 0;
    attributes[attribute_count++] = named(context, "hmoe.name", mlirStringAttrGet(context, ref(ports[i].name)));
    MlirAttribute dims[HMOEC_MAX_RANK];
    for (size_t d = 0; d < ports[i].dim_count; d++) dims[d] = mlirStringAttrGet(context, ref(ports[i].dims[d]));
    if (ports[i].dim_count)
      attributes[attribute_count++] = named(context, "hmoe.dims", mlirArrayAttrGet(context, (intptr_t)ports[i].dim_count, dims));
    if (ports[i].has_default)
      attributes[attribute_count++] =
          named(context, "hmoe.default", mlirIntegerAttrGet(mlirIntegerTypeGet(context, 64), ports[i].given));
    items[i] = mlirDictionaryAttrGet(context, attribute_count, attributes);
  }
  return mlirArrayAttrGet(context, (intptr_t)count, items);
}

static MlirType *port_types(const hmoec_builder *builder, const port *ports, size_t count) {
  MlirType *types = hmoec_arena_alloc_array(builder->arena, count, sizeof *types);
  for (size_t i = 0; i < count; i++) types[i] = mlirValueGetType(ports[i].value);
  return types;
}

static void return_append(hmoec_builder *builder, MlirLocation location) {
  MlirValue *values = hmoec_arena_alloc_array(builder->arena, builder->output_count, sizeof *values);
  for (size_t i = 0; i < builder->output_count; i++) values[i] = builder->outputs[i].value;
  MlirOperationState state = mlirOperationStateGet(ref("func.return"), location);
  mlirOperationStateAddOperands(&state, (intptr_t)builder->output_count, values);
  mlirBlockAppendOwnedOperation(builder->block, mlirOperationCreate(&state));
}

bool hmoec_builder_finish(hmoec_builder *builder, MlirModule *out_module) {
  if (!builder->output_count && !builder->failed) {
    hmoec_error(builder->diagnostics, builder->at, "the model has no output");
    return fail(builder);
  }
  if (builder->failed || mlirBlockIsNull(builder->block)) return false;
  if (!hmoec_generation_check(&builder->generation, builder->diagnostics, builder->at)) return fail(builder);
  MlirContext context = builder->context;
  MlirLocation location = location_to_mlir(context, builder->at);
  return_append(builder, location);
  MlirRegion region = mlirRegionCreate();
  mlirRegionAppendOwnedBlock(region, builder->block);
  builder->block = (MlirBlock){NULL};

  MlirType type =
      mlirFunctionTypeGet(context, (intptr_t)builder->input_count, port_types(builder, builder->inputs, builder->input_count),
                          (intptr_t)builder->output_count, port_types(builder, builder->outputs, builder->output_count));
  MlirNamedAttribute attributes[6] = {
      named(context, "sym_name", mlirStringAttrGet(context, ref(builder->model))),
      named(context, "function_type", mlirTypeAttrGet(type)),
      named(context, "arg_attrs", port_attributes(builder, builder->inputs, builder->input_count)),
      named(context, "res_attrs", port_attributes(builder, builder->outputs, builder->output_count)),
      named(context, "hmoe.model", mlirStringAttrGet(context, ref(builder->model))),
  };
  intptr_t attribute_count = 5;
  MlirAttribute generation = hmoec_generation_to_attribute(context, &builder->generation);
  if (!mlirAttributeIsNull(generation)) attributes[attribute_count++] = named(context, "hmoe.generation", generation);
  MlirOperationState state = mlirOperationStateGet(ref("func.func"), location);
  mlirOperationStateAddAttributes(&state, attribute_count, attributes);
  mlirOperationStateAddOwnedRegions(&state, 1, &region);
  MlirOperation function = mlirOperationCreate(&state);
  if (mlirOperationIsNull(function)) return hmoec_error(builder->diagnostics, builder->at, "the entry function could not be built");
  *out_module = mlirModuleCreateEmpty(location);
  mlirBlockAppendOwnedOperation(mlirModuleGetBody(*out_module), function);
  hmoec_function_set_move(builder->functions, mlirModuleGetBody(*out_module));
  return true;
}

const char *const *hmoec_builder_result_names(const char *op) {
  static const struct {
    const char *op;
    const char *results[HMOEC_MAX_RESULTS + 1];
  } rows[] = {
      {"route", {"indices", "gates", "kept"}},
      {"hypernetwork", {"down", "up", "beta", "gamma"}},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (strcmp(rows[i].op, op) == 0) return rows[i].results;
  return NULL;
}
