/* The stamp of packed weights. Entry 0 alone fills the arena, so the stamp is a hash of its buffers and steps as the module writes them: operands by number,
 * attributes by name as text, but for what schedules and tunings say, which changes no result. (Loops, choices and attention, which planning cuts by knobs, are in
 * other entries only.) With them go the scalar functions, the ABI, and the machine whose code entry 0 is. Cost: linear in the ops of entry 0. */
#include "emit/stamp.h"

#include <mlir-c/BuiltinAttributes.h>
#include <xxhash.h>

#include "hmoe/abi.h"
#include "ir/hmk_ops.h"
#include "support/pointer_map.h"

static MlirStringRef ref(const char *text) { return mlirStringRefCreateFromCString(text); }

static void add(XXH3_state_t *hash, const void *bytes, size_t size) { XXH3_64bits_update(hash, bytes, size); }
static void add_number(XXH3_state_t *hash, uint64_t number) { add(hash, &number, sizeof number); }
static void add_piece(MlirStringRef text, void *hash) { add(hash, text.data, text.length); }

/* Its length behind it, so that no two rows of texts read as one. */
static void add_text(XXH3_state_t *hash, MlirStringRef text) {
  add(hash, text.data, text.length);
  add_number(hash, text.length);
}

static void add_op(XXH3_state_t *hash, MlirOperation op, const hmoec_pointer_map *numbers) {
  add_text(hash, mlirIdentifierStr(mlirOperationGetName(op)));
  for (intptr_t i = 0; i < mlirOperationGetNumOperands(op); i++)
    add_number(hash, hmoec_pointer_map_get(numbers, mlirOpResultGetOwner(mlirOperationGetOperand(op, i)).ptr));
  for (intptr_t i = 0; i < mlirOperationGetNumAttributes(op); i++) {
    MlirNamedAttribute attribute = mlirOperationGetAttribute(op, i);
    MlirStringRef name = mlirIdentifierStr(attribute.name);
    if (mlirStringRefEqual(name, ref("schedule")) || mlirStringRefEqual(name, ref("tunings"))) continue;
    add_text(hash, name);
    mlirAttributePrint(attribute.attribute, add_piece, hash);
  }
}

static bool add_entry(XXH3_state_t *hash, MlirOperation function) {
  hmoec_pointer_map numbers = {0};
  size_t count = 0;
  bool ok = true;
  MlirAttribute dims = mlirOperationGetAttributeByName(function, ref("hmk.dims"));
  if (!mlirAttributeIsNull(dims)) mlirAttributePrint(dims, add_piece, hash);
  MlirBlock block = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
    add_op(hash, op, &numbers);
    ok = ok && hmoec_pointer_map_set(&numbers, op.ptr, count++);
  }
  hmoec_pointer_map_deinit(&numbers);
  return ok;
}

bool hmoec_arena_stamp(MlirModule module, const hmoec_target *target, const hmoec_scalar_library *functions, uint64_t *out_stamp) {
  MlirOperation open = mlirBlockGetFirstOperation(mlirModuleGetBody(module));
  while (!mlirOperationIsNull(open) && hmoec_is_scalar_function(open)) open = mlirOperationGetNextInBlock(open);
  XXH3_state_t *hash = XXH3_createState();
  if (!hash) return false;
  XXH3_64bits_reset(hash);
  add_number(hash, HMOE_ABI_VERSION);
  add_text(hash, ref(target->host ? target->host->name : target->name));
  bool ok = mlirOperationIsNull(open) || add_entry(hash, open);
  *out_stamp = hmoec_scalar_library_hash(functions, XXH3_64bits_digest(hash));
  XXH3_freeState(hash);
  return ok;
}
