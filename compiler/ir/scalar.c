/* Reading scalar functions: every op of the table, in order, with values numbered as they are made. */
#include "ir/scalar.h"

#include <stdlib.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <xxhash.h>

#include "ir/location.h"
#include "ir/ops.h"
#include "support/pointer_map.h"

typedef struct op_row {
  const char *name;
  int operands; /* -1: any number */
} op_row;

static const op_row rows[HMOEC_SCALAR_CODES] = {
#define HMOEC_SCALAR_ROW(code, name, operands) {name, operands},
    HMOEC_SCALAR_OPS(HMOEC_SCALAR_ROW)
#undef HMOEC_SCALAR_ROW
};

const char *hmoec_scalar_name(hmoec_scalar_code code) { return rows[code].name; }

static MlirAttribute get(MlirOperation op, const char *name) {
  return mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString(name));
}

bool hmoec_is_scalar_function(MlirOperation function) {
  MlirAttribute visibility = get(function, "sym_visibility");
  return hmoec_op_is(function, "func.func") && !mlirAttributeIsNull(visibility) && mlirAttributeIsAString(visibility) &&
         hmoec_op_string_is(function, "sym_visibility", "private");
}

bool hmoec_scalar_name_taken(MlirStringRef name) {
  static const char *const entries[] = {"open", "run", "forward", "encode", "prepare", "decode"};
  for (size_t i = 0; i < sizeof entries / sizeof *entries; i++)
    if (mlirStringRefEqual(name, mlirStringRefCreateFromCString(entries[i]))) return true;
  return false;
}

const char *hmoec_scalar_reference(const char *text) { return text[0] == '@' ? text + 1 : NULL; }

MlirOperation hmoec_scalar_find(MlirOperation module, const char *name, size_t length) {
  MlirBlock body = mlirRegionGetFirstBlock(mlirOperationGetRegion(module, 0));
  MlirOperation op = mlirBlockGetFirstOperation(body);
  while (!mlirOperationIsNull(op) &&
         !(hmoec_is_scalar_function(op) && mlirStringRefEqual(hmoec_op_string(op, "sym_name"), mlirStringRefCreate(name, length))))
    op = mlirOperationGetNextInBlock(op);
  return op;
}

size_t hmoec_scalar_arity(MlirOperation function) {
  return (size_t)mlirFunctionTypeGetNumInputs(mlirTypeAttrGetValue(get(function, "function_type")));
}

/* A function on its way to a program. Arrays grow by doubling. */
typedef struct reader {
  hmoec_diagnostics *diagnostics;
  hmoec_scalar_program *program;
  hmoec_pointer_map results; /* of an op: the number of its first result */
  size_t op_capacity, operand_capacity, value_capacity;
} reader;

static bool out_of_memory(reader *r) {
  return hmoec_machine_error(r->diagnostics, "out of memory reading function %s", r->program->name);
}

static bool grow(void **array, size_t *capacity, size_t count, size_t more, size_t size) {
  if (count + more <= *capacity) return true;
  size_t wanted = 2 * (count + more) + 16;
  void *grown = realloc(*array, wanted * size);
  if (!grown) return false;
  *array = grown;
  *capacity = wanted;
  return true;
}

static bool type_of(MlirType type, uint32_t *out_type) {
  static const struct {
    unsigned width;
    hmoec_scalar_type type;
  } widths[] = {{1, HMOEC_SCALAR_I1}, {8, HMOEC_SCALAR_I8}, {16, HMOEC_SCALAR_I16}, {32, HMOEC_SCALAR_I32}, {64, HMOEC_SCALAR_I64}};
  *out_type = HMOEC_SCALAR_F32;
  if (mlirTypeIsAF32(type)) return true;
  *out_type = HMOEC_SCALAR_F64;
  if (mlirTypeIsAF64(type)) return true;
  for (size_t i = 0; mlirTypeIsAInteger(type) && mlirIntegerTypeIsSignless(type) && i < sizeof widths / sizeof *widths; i++) {
    *out_type = widths[i].type;
    if (mlirIntegerTypeGetWidth(type) == widths[i].width) return true;
  }
  return false;
}

static bool add_value(reader *r, MlirType type, hmoec_location location) {
  hmoec_scalar_program *p = r->program;
  uint32_t known;
  if (!type_of(type, &known))
    return hmoec_error(r->diagnostics, location, "function %s: expected values of f32, f64, i1, i8, i16, i32 or i64", p->name);
  if (!grow((void **)&p->types, &r->value_capacity, p->value_count, 1, sizeof *p->types)) return out_of_memory(r);
  p->types[p->value_count++] = known;
  return true;
}

/* The number of a value that was read before. */
static uint32_t number_of(reader *r, MlirValue value) {
  if (mlirValueIsABlockArgument(value)) return (uint32_t)mlirBlockArgumentGetArgNumber(value);
  size_t first = hmoec_pointer_map_get(&r->results, mlirOpResultGetOwner(value).ptr);
  return (uint32_t)(first + (size_t)mlirOpResultGetResultNumber(value));
}

static bool add_operands(reader *r, MlirOperation op, hmoec_scalar_op *read) {
  hmoec_scalar_program *p = r->program;
  read->operands = (uint32_t)p->operand_count;
  read->operand_count = (uint32_t)mlirOperationGetNumOperands(op);
  if (!grow((void **)&p->operands, &r->operand_capacity, p->operand_count, read->operand_count, sizeof *p->operands))
    return out_of_memory(r);
  for (uint32_t i = 0; i < read->operand_count; i++)
    p->operands[p->operand_count++] = number_of(r, mlirOperationGetOperand(op, (intptr_t)i));
  return true;
}

static bool constant_read(MlirOperation op, hmoec_scalar_op *read) {
  MlirAttribute value = get(op, "value");
  if (mlirAttributeIsAFloat(value)) {
    double number = mlirFloatAttrGetValueDouble(value);
    memcpy(&read->bits, &number, sizeof number);
    return true;
  }
  if (!mlirAttributeIsAInteger(value)) return false;
  int64_t number = mlirIntegerAttrGetValueInt(value);
  read->bits = (uint64_t)(read->type == HMOEC_SCALAR_I1 ? number & 1 : number);
  return true;
}

/* Could executing it trap? Only a division by an integer that is not a constant, or is 0. */
static bool may_trap(MlirOperation op, int code) {
  if (code != HMOEC_SCALAR_DIVSI && code != HMOEC_SCALAR_DIVUI && code != HMOEC_SCALAR_REMSI && code != HMOEC_SCALAR_REMUI)
    return false;
  MlirValue divisor = mlirOperationGetOperand(op, 1);
  MlirOperation maker = mlirValueIsAOpResult(divisor) ? mlirOpResultGetOwner(divisor) : (MlirOperation){NULL};
  return mlirOperationIsNull(maker) || !hmoec_op_is(maker, rows[HMOEC_SCALAR_CONSTANT].name) || hmoec_op_int(maker, "value") == 0;
}

static int code_of(MlirOperation op) {
  int code = 0;
  while (code < HMOEC_SCALAR_CODES && !hmoec_op_is(op, rows[code].name)) code++;
  return code;
}

static bool read_block(reader *r, MlirBlock block, unsigned depth);

/* The arms of an if, right after it. */
static bool read_arms(reader *r, MlirOperation op, size_t index, unsigned depth) {
  hmoec_scalar_program *p = r->program;
  MlirBlock then = mlirRegionGetFirstBlock(mlirOperationGetRegion(op, 0)),
            otherwise = mlirRegionGetFirstBlock(mlirOperationGetRegion(op, 1));
  if (mlirBlockIsNull(then) || mlirBlockIsNull(otherwise))
    return hmoec_error(r->diagnostics, hmoec_location_of_op(op), "function %s: an scf.if without two arms has no effect here",
                       p->name);
  if (!read_block(r, then, depth + 1)) return false;
  p->ops[index].else_begin = (uint32_t)p->op_count;
  if (!read_block(r, otherwise, depth + 1)) return false;
  p->ops[index].next = (uint32_t)p->op_count;
  return true;
}

static bool read_op(reader *r, MlirOperation op, unsigned depth) {
  hmoec_scalar_program *p = r->program;
  hmoec_location location = hmoec_location_of_op(op);
  int code = code_of(op);
  MlirStringRef name = mlirIdentifierStr(mlirOperationGetName(op));
  if (code == HMOEC_SCALAR_CODES || (rows[code].operands >= 0 && mlirOperationGetNumOperands(op) != rows[code].operands))
    return hmoec_error(r->diagnostics, location, "function %s: %.*s is not an op of scalar functions", p->name, (int)name.length,
                       name.data);
  if (p->op_count >= HMOEC_SCALAR_MAX_OPS)
    return hmoec_error(r->diagnostics, location, "function %s has more than %d ops", p->name, HMOEC_SCALAR_MAX_OPS);
  hmoec_scalar_op read = {
      .code = (uint32_t)code, .results = (uint32_t)p->value_count, .result_count = (uint32_t)mlirOperationGetNumResults(op)};
  if (!add_operands(r, op, &read)) return false;
  if (may_trap(op, code))
    return hmoec_error(r->diagnostics, location, "function %s: expected %.*s by a constant that is not 0", p->name,
                       (int)name.length, name.data);
  for (uint32_t i = 0; i < read.result_count; i++)
    if (!add_value(r, mlirValueGetType(mlirOperationGetResult(op, (intptr_t)i)), location)) return false;
  if (read.result_count && !hmoec_pointer_map_set(&r->results, op.ptr, read.results)) return out_of_memory(r);
  bool compares = code == HMOEC_SCALAR_CMPF || code == HMOEC_SCALAR_CMPI;
  if (compares) read.predicate = (uint32_t)mlirIntegerAttrGetValueInt(get(op, "predicate"));
  if (compares) read.type = p->types[p->operands[read.operands]];
  else if (read.result_count) read.type = p->types[read.results];
  MlirAttribute rounding = get(op, "roundingmode"); /* 0: to the nearest, ties to even */
  if (!mlirAttributeIsNull(rounding) && mlirIntegerAttrGetValueInt(rounding) != 0)
    return hmoec_error(r->diagnostics, location, "function %s: expected %.*s to round to nearest even", p->name, (int)name.length,
                       name.data);
  if (code == HMOEC_SCALAR_CONSTANT && !constant_read(op, &read))
    return hmoec_error(r->diagnostics, location, "function %s: expected a constant number", p->name);
  if (!grow((void **)&p->ops, &r->op_capacity, p->op_count, 1, sizeof *p->ops)) return out_of_memory(r);
  size_t index = p->op_count++;
  read.next = (uint32_t)p->op_count;
  p->ops[index] = read;
  return code != HMOEC_SCALAR_IF || read_arms(r, op, index, depth);
}

static bool read_block(reader *r, MlirBlock block, unsigned depth) {
  bool ok = true;
  if (depth > HMOEC_SCALAR_MAX_DEPTH)
    return hmoec_error(r->diagnostics, hmoec_location_of_op(mlirBlockGetFirstOperation(block)),
                       "function %s: conditions nest more than %d deep", r->program->name, HMOEC_SCALAR_MAX_DEPTH);
  for (MlirOperation op = mlirBlockGetFirstOperation(block); ok && !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op))
    ok = read_op(r, op, depth);
  return ok;
}

static bool signature_check(MlirOperation function, const char *name, hmoec_diagnostics *diagnostics) {
  MlirType type = mlirTypeAttrGetValue(get(function, "function_type"));
  intptr_t inputs = mlirFunctionTypeGetNumInputs(type);
  bool ok = inputs >= 1 && inputs <= HMOEC_SCALAR_MAX_ARGUMENTS && mlirFunctionTypeGetNumResults(type) == 1 &&
            mlirTypeIsAF32(mlirFunctionTypeGetResult(type, 0));
  for (intptr_t i = 0; ok && i < inputs; i++) ok = mlirTypeIsAF32(mlirFunctionTypeGetInput(type, i));
  return ok || hmoec_error(diagnostics, hmoec_location_of_op(function),
                           "function %s: expected one or two arguments of f32, and one result of f32", name);
}

static char *reference_to(MlirStringRef name) {
  char *text = malloc(name.length + 2);
  if (!text) return NULL;
  text[0] = '@';
  memcpy(text + 1, name.data, name.length);
  text[name.length + 1] = 0;
  return text;
}

bool hmoec_scalar_read(MlirOperation function, hmoec_diagnostics *diagnostics, hmoec_scalar_program *out_program) {
  MlirStringRef name = hmoec_op_string(function, "sym_name");
  *out_program = (hmoec_scalar_program){.name = reference_to(name)};
  reader r = {.diagnostics = diagnostics, .program = out_program};
  if (!out_program->name) return hmoec_machine_error(diagnostics, "out of memory");
  MlirBlock block = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
  bool ok = signature_check(function, out_program->name, diagnostics);
  if (ok && mlirBlockIsNull(block))
    ok = hmoec_error(diagnostics, hmoec_location_of_op(function), "function %s has no body", out_program->name);
  if (ok && !mlirBlockIsNull(mlirBlockGetNextInRegion(block)))
    ok = hmoec_error(diagnostics, hmoec_location_of_op(function), "function %s has more than one block", out_program->name);
  out_program->argument_count = ok ? (size_t)mlirBlockGetNumArguments(block) : 0;
  for (size_t i = 0; i < out_program->argument_count; i++)
    ok = ok && add_value(&r, mlirValueGetType(mlirBlockGetArgument(block, (intptr_t)i)), hmoec_location_of_op(function));
  ok = ok && read_block(&r, block, 0);
  hmoec_pointer_map_deinit(&r.results);
  if (!ok) hmoec_scalar_deinit(out_program);
  return ok;
}

void hmoec_scalar_deinit(hmoec_scalar_program *program) {
  free(program->name);
  free(program->ops);
  free(program->operands);
  free(program->types);
  *program = (hmoec_scalar_program){0};
}

bool hmoec_scalar_library_init(MlirModule module, hmoec_diagnostics *diagnostics, hmoec_scalar_library *out_library) {
  *out_library = (hmoec_scalar_library){0};
  size_t capacity = 0;
  for (MlirOperation op = mlirBlockGetFirstOperation(mlirModuleGetBody(module)); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op)) {
    if (!hmoec_is_scalar_function(op)) continue;
    if (!grow((void **)&out_library->programs, &capacity, out_library->count, 1, sizeof *out_library->programs)) {
      hmoec_scalar_library_deinit(out_library);
      return hmoec_machine_error(diagnostics, "out of memory");
    }
    if (!hmoec_scalar_read(op, diagnostics, &out_library->programs[out_library->count])) {
      hmoec_scalar_library_deinit(out_library);
      return false;
    }
    out_library->count++;
  }
  return true;
}

void hmoec_scalar_library_deinit(hmoec_scalar_library *library) {
  for (size_t i = 0; i < library->count; i++) hmoec_scalar_deinit(&library->programs[i]);
  free(library->programs);
  *library = (hmoec_scalar_library){0};
}

const hmoec_scalar_program *hmoec_scalar_library_find(const hmoec_scalar_library *library, const char *text, size_t length) {
  for (size_t i = 0; i < library->count; i++)
    if (strlen(library->programs[i].name) == length && memcmp(library->programs[i].name, text, length) == 0)
      return &library->programs[i];
  return NULL;
}

uint64_t hmoec_scalar_library_hash(const hmoec_scalar_library *library, uint64_t seed) {
  for (size_t i = 0; i < library->count; i++) {
    const hmoec_scalar_program *p = &library->programs[i];
    seed = XXH3_64bits_withSeed(p->ops, p->op_count * sizeof *p->ops, seed);
    seed = XXH3_64bits_withSeed(p->operands, p->operand_count * sizeof *p->operands, seed);
    seed = XXH3_64bits_withSeed(p->types, p->value_count * sizeof *p->types, seed);
  }
  return seed;
}
