/* What the runtime finds in an object: NAME_object, the one exported symbol, and what it points at.
 *
 *   NAME_plan         the plan's bytes, constant
 *   NAME_VERSION      [kernel_count] functions, constant after relocation
 *   NAME_object       struct hmoe_model_object of include/hmoe/abi.h */
#include <stdio.h>
#include <stdlib.h>

#include <llvm-c/Core.h>

#include "target/cpu/emit.h"

/* The structure is built field by field below; these are what it assumes. */
_Static_assert(offsetof(hmoe_model_object, abi_version) == 0, "layout of hmoe_model_object");
_Static_assert(offsetof(hmoe_model_object, kernel_count) == 4, "layout of hmoe_model_object");
_Static_assert(offsetof(hmoe_model_object, plan) == 8, "layout of hmoe_model_object");
_Static_assert(offsetof(hmoe_model_object, plan_bytes) == 16, "layout of hmoe_model_object");
_Static_assert(offsetof(hmoe_model_object, kernels) == 24, "layout of hmoe_model_object");
_Static_assert(sizeof(hmoe_model_object) == 24 + 8 * HMOE_CPU_COUNT, "layout of hmoe_model_object");
_Static_assert(offsetof(hmoe_kernel_call, rows) == 8 && offsetof(hmoe_kernel_call, splits) == 16 &&
                   offsetof(hmoe_kernel_call, first_block) == 24,
               "layout of hmoe_kernel_call");
_Static_assert(sizeof(hmoe_block) == 16 && sizeof(hmoe_blocks) == 64, "layout of a blocks buffer");

enum { NAME_SIZE = 256, PLAN_ALIGN = 64 };

static LLVMValueRef add_constant(LLVMModuleRef module, const char *unit, const char *suffix, LLVMValueRef value,
                                 LLVMLinkage linkage, unsigned align) {
  char name[NAME_SIZE];
  snprintf(name, sizeof name, "%s_%s", unit, suffix);
  LLVMValueRef global = LLVMAddGlobal(module, LLVMTypeOf(value), name);
  LLVMSetInitializer(global, value);
  LLVMSetGlobalConstant(global, true);
  LLVMSetLinkage(global, linkage);
  LLVMSetAlignment(global, align);
  return global;
}

static LLVMValueRef function_table(LLVMModuleRef module, const hmoec_cpu_unit *unit, unsigned version, LLVMTypeRef pointer) {
  LLVMValueRef *functions = calloc(unit->kernel_count + 1, sizeof *functions);
  LLVMValueRef table = NULL;
  if (!functions) return NULL;
  for (size_t i = 0; i < unit->kernel_count; i++) {
    char name[NAME_SIZE];
    if (!hmoec_cpu_kernel_name(unit, i, version, name, sizeof name)) goto done;
    functions[i] = LLVMGetNamedFunction(module, name);
    if (!functions[i]) goto done;
  }
  table = add_constant(module, unit->name, hmoec_cpu_versions[version].name,
                       LLVMConstArray2(pointer, functions, unit->kernel_count), LLVMInternalLinkage, 8);
done:
  free(functions);
  return table;
}

bool hmoec_cpu_add_object(LLVMModuleRef module, const hmoec_cpu_unit *unit, hmoec_diagnostics *diagnostics) {
  LLVMContextRef context = LLVMGetModuleContext(module);
  LLVMTypeRef pointer = LLVMPointerTypeInContext(context, 0), i32 = LLVMInt32TypeInContext(context),
              i64 = LLVMInt64TypeInContext(context);
  LLVMValueRef plan_bytes =
      LLVMConstStringInContext2(context, unit->plan ? unit->plan : "", unit->plan ? unit->plan_bytes : 0, true);
  LLVMValueRef plan = add_constant(module, unit->name, "plan", plan_bytes, LLVMInternalLinkage, PLAN_ALIGN);
  LLVMValueRef tables[HMOE_CPU_COUNT];
  for (unsigned v = 0; v < HMOE_CPU_COUNT; v++) {
    tables[v] = unit->versions & (1u << v) ? function_table(module, unit, v, pointer) : LLVMConstNull(pointer);
    if (!tables[v])
      return hmoec_error(diagnostics, (hmoec_location){0}, "internal error in the CPU code generator: a kernel is missing");
  }
  LLVMValueRef fields[] = {LLVMConstInt(i32, HMOE_ABI_VERSION, false), LLVMConstInt(i32, unit->kernel_count, false), plan,
                           LLVMConstInt(i64, unit->plan_bytes, false), LLVMConstArray2(pointer, tables, HMOE_CPU_COUNT)};
  LLVMValueRef object = LLVMConstStructInContext(context, fields, sizeof fields / sizeof fields[0], false);
  add_constant(module, unit->name, "object", object, LLVMExternalLinkage, 8);
  return true;
}
