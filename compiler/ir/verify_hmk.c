#include "ir/verify_hmk.h"

#include <string.h>

#include <mlir-c/BuiltinAttributes.h>

#include "ir/hmk_ops.h"
#include "ir/location.h"
#include "ir/scalar.h"

/* How many integers the args of an op must have once it is placed; 0: it has none. */
static intptr_t args_of(const char *name) {
  if (strcmp(name, "copy") == 0) return HMOEC_COPY_ARGS;
  return strcmp(name, "pack") == 0 || strcmp(name, "pack_vector") == 0 ? HMOEC_PACK_ARGS : 0;
}

static bool known_role(const hmoec_hmk_info *info, MlirStringRef role) {
  for (size_t i = 0; i < HMOEC_MAX_ROLES && info->roles[i]; i++)
    if (strlen(info->roles[i]) == role.length && memcmp(info->roles[i], role.data, role.length) == 0) return true;
  return false;
}

/* Where in its buffers a step begins, and what follows: as planned, and as placed. None need be there. */
static bool verify_lists(MlirOperation op, const hmoec_hmk_info *info, intptr_t operands, hmoec_diagnostics *diagnostics) {
  static const struct {
    const char *name;
    int64_t least;
  } lists[] = {{"at", 0}, {"apart", -1}, {"by", 0}, {"offsets", 0}, {"advances", 0}};
  for (size_t l = 0; l < sizeof lists / sizeof *lists; l++) {
    intptr_t count = hmoec_hmk_array_size(op, lists[l].name);
    if (count < 0) continue;
    if (count != operands)
      return hmoec_error(diagnostics, hmoec_location_of_op(op), "expected %s of %s to have one entry for each of its %ld buffers",
                         lists[l].name, info->name, (long)operands);
    for (intptr_t i = 0; i < count; i++)
      if (hmoec_hmk_array(op, lists[l].name, i) < lists[l].least)
        return hmoec_error(diagnostics, hmoec_location_of_op(op), "expected %s of %s to be %lld or more", lists[l].name, info->name,
                           (long long)lists[l].least);
  }
  return true;
}

static bool verify_step(MlirOperation op, intptr_t dims, hmoec_diagnostics *diagnostics) {
  hmoec_location location = hmoec_location_of_op(op);
  const hmoec_hmk_info *info = hmoec_hmk_info_of(op);
  MlirStringRef name = mlirIdentifierStr(mlirOperationGetName(op));
  if (!info)
    return hmoec_error(diagnostics, location, "expected hmk ops in a planned function, found %.*s", (int)name.length, name.data);
  MlirAttribute bind = mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("bind"));
  intptr_t operands = mlirOperationGetNumOperands(op);
  if (!mlirAttributeIsAArray(bind) || mlirArrayAttrGetNumElements(bind) != operands)
    return hmoec_error(diagnostics, location, "expected bind of %s to have one entry for each of its %ld buffers", info->name,
                       (long)operands);
  if (!verify_lists(op, info, operands, diagnostics)) return false;
  for (intptr_t i = 0; i < operands; i++) {
    MlirAttribute role = mlirArrayAttrGetElement(bind, i);
    if (!mlirAttributeIsAString(role) || !known_role(info, mlirStringAttrGetValue(role)))
      return hmoec_error(diagnostics, location, "buffer %ld of %s has no role that the op knows", (long)i, info->name);
    MlirOperation buffer = mlirOpResultGetOwner(mlirOperationGetOperand(op, i));
    if (!hmoec_op_is(buffer, "hmk.buffer"))
      return hmoec_error(diagnostics, location, "expected the operands of %s to be buffers", info->name);
  }
  for (size_t i = 0; i < HMOEC_MAX_ROLES && info->roles[i]; i++)
    if ((info->required >> i & 1) && hmoec_hmk_operand(op, info, i) < 0)
      return hmoec_error(diagnostics, location, "expected %s to bind %s", info->name, info->roles[i]);
  int64_t rows = hmoec_op_int(op, "rows");
  if (rows < -1 || rows >= dims)
    return hmoec_error(diagnostics, location, "expected rows of %s to be a dimension below %ld, found %lld", info->name, (long)dims,
                       (long long)rows);
  intptr_t used = hmoec_hmk_array_size(op, "dims");
  if (used > HMOEC_MAX_STEP_DIMS)
    return hmoec_error(diagnostics, location, "more than %d dims of %s", HMOEC_MAX_STEP_DIMS, info->name);
  for (intptr_t i = 0; i < used; i++)
    if (hmoec_hmk_array(op, "dims", i) < -1 || hmoec_hmk_array(op, "dims", i) >= dims)
      return hmoec_error(diagnostics, location, "expected dims of %s to be dimensions below %ld, found %lld", info->name,
                         (long)dims, (long long)hmoec_hmk_array(op, "dims", i));
  intptr_t args = args_of(info->name), given = hmoec_hmk_array_size(op, "args");
  if (args && given >= 0 && given != args)
    return hmoec_error(diagnostics, location, "expected %ld integers in args of %s, found %ld", (long)args, info->name,
                       (long)hmoec_hmk_array_size(op, "args"));
  return true;
}

static bool verify_buffer(MlirOperation op, intptr_t dims, hmoec_diagnostics *diagnostics) {
  static const char *const kinds[] = {"input", "output", "weight", "workspace", "cache", "param", "state"};
  hmoec_location location = hmoec_location_of_op(op);
  bool known = false;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) known = known || hmoec_op_string_is(op, "kind", kinds[i]);
  if (!known)
    return hmoec_error(diagnostics, location, "expected a buffer kind of input, output, weight, workspace, cache, param or state");
  static const char *const elements[] = {"f32", "i32", "i64", "bf16"};
  bool element = false;
  for (size_t i = 0; i < sizeof elements / sizeof *elements; i++)
    element = element || hmoec_op_string_is(op, "element", elements[i]);
  if (!element) return hmoec_error(diagnostics, location, "expected a buffer element of f32, i32, i64 or bf16");
  int role = 0;
  while (hmoec_role_names[role] && !hmoec_op_string_is(op, "role", hmoec_role_names[role])) role++;
  if (role == HMOEC_ROLE_COUNT)
    return hmoec_error(diagnostics, location,
                       "expected a buffer role of plain, rows, right, vector, table, keys, values or distances");
  int64_t dim = hmoec_op_int(op, "dim"), bytes = hmoec_hmk_element_bytes(op);
  if (dim < -1 || dim >= dims)
    return hmoec_error(diagnostics, location, "expected the buffer's dim to be a dimension below %ld, found %lld", (long)dims,
                       (long long)dim);
  intptr_t rank = hmoec_hmk_array_size(op, "shape");
  if (rank < 1 || rank > 4)
    return hmoec_error(diagnostics, location, "expected a buffer shape of 1 to 4 dimensions, found %ld", (long)rank);
  int64_t axes = hmoec_role_rank((hmoec_role)role), generated = hmoec_op_int(op, "generated_rows");
  if (axes && rank != axes)
    return hmoec_error(diagnostics, location, "expected a buffer shape of %ld dimensions for role %s, found %ld", (long)axes,
                       hmoec_role_names[role], (long)rank);
  for (intptr_t i = dim >= 0 ? 1 : 0; i < rank; i++)
    if (hmoec_hmk_array(op, "shape", i) < 0 || __builtin_mul_overflow(bytes, hmoec_hmk_array(op, "shape", i), &bytes))
      return hmoec_error(diagnostics, location, "the size of this buffer is negative or does not fit 63 bits");
  if (generated < 0 || (generated && hmoec_hmk_array(op, "shape", rank - 1) % generated != 0))
    return hmoec_error(diagnostics, location, "expected the columns of this buffer to be those of %lld generated rows",
                       (long long)generated);
  return true;
}

/* The steps of a function that are inside a loop, and inside the ways of a choose. */
typedef struct nesting {
  int64_t loop_left, choose_left; /* steps that are still to come */
} nesting;

static bool verify_loop(MlirOperation op, nesting *n, hmoec_diagnostics *diagnostics) {
  hmoec_location location = hmoec_location_of_op(op);
  if (n->choose_left > 0) return hmoec_error(diagnostics, location, "a loop cannot stand in a choose");
  bool ok = n->loop_left > 0 ? hmoec_error(diagnostics, location, "loops cannot be nested") : true;
  n->loop_left = hmoec_op_int(op, "body") + 1;
  int64_t generate = hmoec_op_int(op, "generate");
  if (n->loop_left < 1 || generate < 0 || generate >= n->loop_left || hmoec_op_int(op, "chunk") < 1)
    ok = hmoec_error(diagnostics, location, "expected a loop of chunk >= 1 with 0 <= generate <= body");
  return ok;
}

static bool verify_choose(MlirOperation op, nesting *n, hmoec_diagnostics *diagnostics) {
  hmoec_location location = hmoec_location_of_op(op);
  int64_t first = hmoec_op_int(op, "first"), second = hmoec_op_int(op, "second"), total;
  if (n->choose_left > 0) return hmoec_error(diagnostics, location, "a choose cannot stand in a choose");
  if (first < 1 || second < 1 || __builtin_add_overflow(first, second, &total))
    return hmoec_error(diagnostics, location, "expected a choose of two ways of 1 step or more");
  if (n->loop_left > 0 && total > n->loop_left - 1)
    return hmoec_error(diagnostics, location, "the ways of a choose reach past the end of its loop");
  n->choose_left = total + 1;
  return true;
}

bool hmoec_verify_hmk(MlirModule module, hmoec_diagnostics *diagnostics) {
  bool ok = true;
  MlirBlock body = mlirModuleGetBody(module);
  for (MlirOperation function = mlirBlockGetFirstOperation(body); !mlirOperationIsNull(function);
       function = mlirOperationGetNextInBlock(function)) {
    if (hmoec_is_scalar_function(function)) continue;
    intptr_t flat = hmoec_op_is(function, "func.func") ? hmoec_hmk_array_size(function, "hmk.dims") : -1;
    if (flat < 0 || flat % 3 != 0) {
      ok = hmoec_error(diagnostics, hmoec_location_of_op(function),
                       "expected functions with hmk.dims, triples of kind, source and factor");
      continue;
    }
    nesting n = {0};
    MlirBlock block = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
    for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
      if (hmoec_op_is(op, "func.return")) continue;
      if (hmoec_op_is(op, "hmk.buffer")) {
        ok = verify_buffer(op, flat / 3, diagnostics) && ok;
        continue;
      }
      if (!verify_step(op, flat / 3, diagnostics)) {
        ok = false;
        continue;
      }
      if (hmoec_op_is(op, "hmk.loop")) ok = verify_loop(op, &n, diagnostics) && ok;
      if (hmoec_op_is(op, "hmk.choose")) ok = verify_choose(op, &n, diagnostics) && ok;
      n.loop_left -= n.loop_left > 0;
      n.choose_left -= n.choose_left > 0;
    }
    if (n.loop_left > 0)
      ok = hmoec_error(diagnostics, hmoec_location_of_op(function), "a loop's body reaches past the end of the function");
    if (n.choose_left > 0)
      ok = hmoec_error(diagnostics, hmoec_location_of_op(function), "the ways of a choose reach past the end of the function");
  }
  return ok;
}
