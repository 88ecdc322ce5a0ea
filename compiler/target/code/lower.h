/* From a module of kernels to code: MLIR -> the llvm dialect -> LLVM IR -> an object or assembly. */
#ifndef HMOEC_TARGET_CODE_LOWER_H
#define HMOEC_TARGET_CODE_LOWER_H

#include <llvm-c/TargetMachine.h>
#include <mlir-c/IR.h>

#include "hmoe/compiler.h"
#include "support/diagnostics.h"

/* What LLVM is asked for. */
typedef struct hmoec_code_machine {
  const char *called; /* in messages: "CPU" */
  const char *triple, *processor, *features;
  const char *llvm_passes; /* of LLVM's pass pipeline */
  LLVMCodeGenOptLevel level;
  LLVMRelocMode relocation;
  LLVMCodeModel model;
} hmoec_code_machine;

/* Adds to the translated module what kernels do not have. */
typedef bool (*hmoec_code_add_fn)(LLVMModuleRef module, const void *user, hmoec_diagnostics *diagnostics);

/* Lowers `module` in place and emits it as OBJECT, ASSEMBLY, LLVM or MLIR, under a name; add: NULL, or called before LLVM's passes. *out_bytes is malloc'd,
 * owned by the caller, *out_size long, and a zero follows. hmoec_targets_initialise comes before. False with an error. */
bool hmoec_code_lower(MlirModule module, const hmoec_code_machine *machine, const char *name, hmoec_code_add_fn add,
                      const void *user, hmoec_output form, hmoec_diagnostics *diagnostics, char **out_bytes, size_t *out_size);

#endif
