/* MLIR -> LLVM dialect -> LLVM IR -> PTX. */
#include <stdlib.h>
#include <string.h>

#include <llvm-c/Analysis.h>
#include <llvm-c/Core.h>
#include <llvm-c/Error.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <mlir-c/Conversion.h>
#include <mlir-c/Pass.h>
#include <mlir-c/RegisterEverything.h>
#include <mlir-c/Target/LLVMIR.h>

#include "target/cuda/cuda.h"
#include "target/target.h"

static const char triple[] = "nvptx64-nvidia-cuda";
static const char llvm_passes[] = "default<O2>";

static const struct {
  const char *name;
  MlirPass (*create)(void);
} mlir_passes[] = {
    {"convert-scf-to-cf", mlirCreateConversionSCFToControlFlowPass},
    {"convert-nvvm-to-llvm", mlirCreateConversionConvertNVVMToLLVMPass},
    {"convert-vector-to-llvm", mlirCreateConversionConvertVectorToLLVMPass},
    {"convert-arith-to-llvm", mlirCreateConversionArithToLLVMConversionPass},
    {"convert-cf-to-llvm", mlirCreateConversionConvertControlFlowToLLVMPass},
    {"reconcile-unrealized-casts", mlirCreateConversionReconcileUnrealizedCastsPass},
};

static bool internal(hmoec_diagnostics *diagnostics, const char *stage, const char *message) {
  return hmoec_error(diagnostics, (hmoec_location){0}, "internal error in the CUDA code generator: %s failed%s%s", stage,
                     message && *message ? ": " : "", message ? message : "");
}

static bool lower_to_llvm_dialect(MlirModule module, hmoec_diagnostics *diagnostics) {
  for (size_t i = 0; i < sizeof mlir_passes / sizeof mlir_passes[0]; i++) {
    MlirPassManager manager = mlirPassManagerCreate(mlirModuleGetContext(module));
    if (mlirPassManagerIsNull(manager)) return internal(diagnostics, mlir_passes[i].name, "no pass manager");
    mlirPassManagerAddOwnedPass(manager, mlir_passes[i].create());
    bool ok = mlirLogicalResultIsSuccess(mlirPassManagerRunOnOp(manager, mlirModuleGetOperation(module)));
    mlirPassManagerDestroy(manager);
    if (!ok) return internal(diagnostics, mlir_passes[i].name, NULL);
  }
  return true;
}

void hmoec_cuda_initialise(void) {
  LLVMInitializeNVPTXTargetInfo();
  LLVMInitializeNVPTXTarget();
  LLVMInitializeNVPTXTargetMC();
  LLVMInitializeNVPTXAsmPrinter();
}

static LLVMTargetMachineRef create_machine(const hmoec_cuda_chip *chip, hmoec_diagnostics *diagnostics) {
  hmoec_targets_initialise();
  LLVMTargetRef target;
  char *message = NULL;
  if (LLVMGetTargetFromTriple(triple, &target, &message)) {
    internal(diagnostics, "looking up the target of PTX", message);
    LLVMDisposeMessage(message);
    return NULL;
  }
  LLVMTargetMachineRef machine = LLVMCreateTargetMachine(target, triple, chip->name, chip->features, LLVMCodeGenLevelAggressive,
                                                         LLVMRelocDefault, LLVMCodeModelDefault);
  if (!machine) internal(diagnostics, "creating the target machine of PTX", NULL);
  return machine;
}

static bool optimise(LLVMModuleRef module, LLVMTargetMachineRef machine, hmoec_diagnostics *diagnostics) {
  LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
  if (!options) return internal(diagnostics, llvm_passes, "no options");
  LLVMErrorRef error = LLVMRunPasses(module, llvm_passes, machine, options);
  LLVMDisposePassBuilderOptions(options);
  if (!error) return true;
  char *message = LLVMGetErrorMessage(error);
  internal(diagnostics, llvm_passes, message);
  LLVMDisposeErrorMessage(message);
  return false;
}

static bool emit(LLVMModuleRef module, LLVMTargetMachineRef machine, hmoec_diagnostics *diagnostics, char **out_ptx) {
  char *message = NULL;
  LLVMMemoryBufferRef buffer = NULL;
  if (LLVMTargetMachineEmitToMemoryBuffer(machine, module, LLVMAssemblyFile, &message, &buffer) || !buffer) {
    internal(diagnostics, "emitting PTX", message);
    if (message) LLVMDisposeMessage(message);
    return false;
  }
  size_t size = LLVMGetBufferSize(buffer);
  char *ptx = malloc(size + 1);
  if (ptx) {
    memcpy(ptx, LLVMGetBufferStart(buffer), size);
    ptx[size] = 0;
  }
  LLVMDisposeMemoryBuffer(buffer);
  *out_ptx = ptx;
  return ptx ? true : hmoec_machine_error(diagnostics, "out of memory (%zu bytes of PTX)", size);
}

bool hmoec_cuda_lower(MlirModule module, const hmoec_cuda_unit *unit, hmoec_diagnostics *diagnostics, char **out_ptx) {
  bool ok = false;
  LLVMContextRef context = NULL;
  LLVMModuleRef llvm = NULL;
  LLVMTargetMachineRef machine = NULL;
  LLVMTargetDataRef layout = NULL;
  char *message = NULL;

  if (!lower_to_llvm_dialect(module, diagnostics)) return false;
  mlirRegisterAllLLVMTranslations(mlirModuleGetContext(module));
  context = LLVMContextCreate();
  machine = create_machine(unit->chip, diagnostics);
  if (!machine) goto done;
  llvm = mlirTranslateModuleToLLVMIR(mlirModuleGetOperation(module), context);
  if (!llvm) {
    internal(diagnostics, "translation to LLVM IR", NULL);
    goto done;
  }
  LLVMSetModuleIdentifier(llvm, unit->name, strlen(unit->name));
  LLVMSetSourceFileName(llvm, unit->name, strlen(unit->name));
  LLVMSetTarget(llvm, triple);
  layout = LLVMCreateTargetDataLayout(machine);
  LLVMSetModuleDataLayout(llvm, layout);
  if (LLVMVerifyModule(llvm, LLVMReturnStatusAction, &message)) {
    internal(diagnostics, "verifying LLVM IR", message);
    goto done;
  }
  ok = optimise(llvm, machine, diagnostics) && emit(llvm, machine, diagnostics, out_ptx);
done:
  if (message) LLVMDisposeMessage(message);
  if (layout) LLVMDisposeTargetData(layout);
  if (llvm) LLVMDisposeModule(llvm);
  if (machine) LLVMDisposeTargetMachine(machine);
  if (context) LLVMContextDispose(context);
  return ok;
}
