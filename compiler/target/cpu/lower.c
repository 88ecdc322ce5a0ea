/* MLIR -> LLVM dialect -> LLVM IR -> object. Two short lists of passes, spelled out here.
 *
 * Kernels come fully tiled and vectorised, so that LLVM is asked only to clean up and to select instructions: no vectoriser, no
 * unrolling, no inlining (which would have to respect the versions' features). */
#include <stdlib.h>
#include <string.h>

#include <llvm-c/Analysis.h>
#include <llvm-c/Core.h>
#include <llvm-c/Error.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <mlir-c/Conversion.h>
#include <mlir-c/Pass.h>
#include <mlir-c/RegisterEverything.h>
#include <mlir-c/Target/LLVMIR.h>

#include "ir/context.h"
#include "target/cpu/emit.h"

static const char triple[] = "x86_64-pc-linux-gnu";
static const char llvm_passes[] = "function(early-cse,instcombine<no-verify-fixpoint>,simplifycfg,loop-mssa(licm),early-cse)";

static const struct {
  const char *name;
  MlirPass (*create)(void);
} mlir_passes[] = {
    {"convert-scf-to-cf", mlirCreateConversionSCFToControlFlowPass},
    {"convert-vector-to-llvm", mlirCreateConversionConvertVectorToLLVMPass},
    {"convert-arith-to-llvm", mlirCreateConversionArithToLLVMConversionPass},
    {"convert-cf-to-llvm", mlirCreateConversionConvertControlFlowToLLVMPass},
    {"reconcile-unrealized-casts", mlirCreateConversionReconcileUnrealizedCastsPass},
};

static bool internal(hmoec_diagnostics *diagnostics, const char *stage, const char *message) {
  return hmoec_error(diagnostics, (hmoec_location){0}, "internal error in the CPU code generator: %s failed%s%s", stage,
                     message && *message ? ": " : "", message ? message : "");
}

static bool copy_out(const char *text, size_t size, hmoec_diagnostics *diagnostics, char **out_bytes, size_t *out_size) {
  char *bytes = malloc(size ? size : 1);
  if (!bytes) return hmoec_machine_error(diagnostics, "out of memory (%zu bytes of generated code)", size);
  memcpy(bytes, text, size);
  *out_bytes = bytes;
  *out_size = size;
  return true;
}

typedef struct text_buffer {
  char *bytes;
  size_t size, capacity;
  bool failed;
} text_buffer;

static void append_text(MlirStringRef piece, void *user) {
  text_buffer *buffer = user;
  if (buffer->failed) return;
  if (buffer->size + piece.length > buffer->capacity) {
    size_t capacity = 2 * (buffer->size + piece.length) + 4096;
    char *bytes = realloc(buffer->bytes, capacity);
    if (!bytes) {
      buffer->failed = true;
      return;
    }
    buffer->bytes = bytes;
    buffer->capacity = capacity;
  }
  memcpy(buffer->bytes + buffer->size, piece.data, piece.length);
  buffer->size += piece.length;
}

static bool print_mlir(MlirModule module, hmoec_diagnostics *diagnostics, char **out_bytes, size_t *out_size) {
  text_buffer buffer = {0};
  mlirOperationPrint(mlirModuleGetOperation(module), append_text, &buffer);
  if (buffer.failed) {
    free(buffer.bytes);
    return hmoec_machine_error(diagnostics, "out of memory printing MLIR");
  }
  *out_bytes = buffer.bytes;
  *out_size = buffer.size;
  return true;
}

/* One pass manager a pass: a failure can then name the pass. */
static bool lower_to_llvm_dialect(MlirModule module, hmoec_diagnostics *diagnostics) {
  MlirContext context = mlirModuleGetContext(module);
  for (size_t i = 0; i < sizeof mlir_passes / sizeof mlir_passes[0]; i++) {
    MlirPassManager manager = mlirPassManagerCreate(context);
    if (mlirPassManagerIsNull(manager)) return internal(diagnostics, mlir_passes[i].name, "no pass manager");
    mlirPassManagerAddOwnedPass(manager, mlir_passes[i].create());
    bool ok = mlirLogicalResultIsSuccess(mlirPassManagerRunOnOp(manager, mlirModuleGetOperation(module)));
    mlirPassManagerDestroy(manager);
    if (!ok) return internal(diagnostics, mlir_passes[i].name, NULL);
  }
  return true;
}

static LLVMTargetMachineRef create_machine(hmoec_diagnostics *diagnostics) {
  hmoec_targets_initialise();
  LLVMTargetRef target;
  char *message = NULL;
  if (LLVMGetTargetFromTriple(triple, &target, &message)) {
    internal(diagnostics, "looking up the x86-64 target", message);
    LLVMDisposeMessage(message);
    return NULL;
  }
  LLVMTargetMachineRef machine =
      LLVMCreateTargetMachine(target, triple, "x86-64", "", LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelSmall);
  if (!machine) internal(diagnostics, "creating the x86-64 target machine", NULL);
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

static bool emit(LLVMModuleRef module, LLVMTargetMachineRef machine, hmoec_output form, hmoec_diagnostics *diagnostics,
                 char **out_bytes, size_t *out_size) {
  char *message = NULL;
  if (form == HMOEC_OUTPUT_LLVM) {
    message = LLVMPrintModuleToString(module);
    if (!message) return internal(diagnostics, "printing LLVM IR", NULL);
    bool ok = copy_out(message, strlen(message), diagnostics, out_bytes, out_size);
    LLVMDisposeMessage(message);
    return ok;
  }
  LLVMMemoryBufferRef buffer = NULL;
  LLVMCodeGenFileType type = form == HMOEC_OUTPUT_ASSEMBLY ? LLVMAssemblyFile : LLVMObjectFile;
  if (LLVMTargetMachineEmitToMemoryBuffer(machine, module, type, &message, &buffer) || !buffer) {
    internal(diagnostics, "emitting machine code", message);
    if (message) LLVMDisposeMessage(message);
    return false;
  }
  bool ok = copy_out(LLVMGetBufferStart(buffer), LLVMGetBufferSize(buffer), diagnostics, out_bytes, out_size);
  LLVMDisposeMemoryBuffer(buffer);
  return ok;
}

bool hmoec_cpu_lower(MlirModule module, const hmoec_cpu_unit *unit, hmoec_output form, hmoec_diagnostics *diagnostics,
                     char **out_bytes, size_t *out_size) {
  bool ok = false;
  LLVMContextRef context = NULL;
  LLVMModuleRef llvm = NULL;
  LLVMTargetMachineRef machine = NULL;
  LLVMTargetDataRef layout = NULL;
  char *message = NULL;

  if (form == HMOEC_OUTPUT_MLIR) return print_mlir(module, diagnostics, out_bytes, out_size);
  if (!lower_to_llvm_dialect(module, diagnostics)) return false;
  mlirRegisterAllLLVMTranslations(mlirModuleGetContext(module));
  context = LLVMContextCreate();
  machine = create_machine(diagnostics);
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
  if (!hmoec_cpu_add_object(llvm, unit, diagnostics)) goto done;
  if (LLVMVerifyModule(llvm, LLVMReturnStatusAction, &message)) {
    internal(diagnostics, "verifying LLVM IR", message);
    goto done;
  }
  ok = optimise(llvm, machine, diagnostics) && emit(llvm, machine, form, diagnostics, out_bytes, out_size);
done:
  if (message) LLVMDisposeMessage(message);
  if (layout) LLVMDisposeTargetData(layout);
  if (llvm) LLVMDisposeModule(llvm);
  if (machine) LLVMDisposeTargetMachine(machine);
  if (context) LLVMContextDispose(context);
  return ok;
}
