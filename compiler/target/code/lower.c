/* Two lists of passes: MLIR's, spelled out here, and LLVM's, which the machine brings. */
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

#include "target/code/lower.h"

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

typedef struct lowering {
  const hmoec_code_machine *machine;
  hmoec_diagnostics *diagnostics;
} lowering;

static bool internal(const lowering *l, const char *stage, const char *message) {
  return hmoec_error(l->diagnostics, (hmoec_location){0}, "internal error in the %s code generator: %s failed%s%s",
                     l->machine->called, stage, message && *message ? ": " : "", message ? message : "");
}

static bool copy_out(const lowering *l, const char *text, size_t size, char **out_bytes, size_t *out_size) {
  char *bytes = malloc(size + 1);
  if (!bytes) return hmoec_machine_error(l->diagnostics, "out of memory (%zu bytes of generated code)", size);
  memcpy(bytes, text, size);
  bytes[size] = 0;
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
  if (buffer->size + piece.length >= buffer->capacity) {
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

static bool print_mlir(const lowering *l, MlirModule module, char **out_bytes, size_t *out_size) {
  text_buffer buffer = {0};
  mlirOperationPrint(mlirModuleGetOperation(module), append_text, &buffer);
  if (buffer.failed || !buffer.bytes) {
    free(buffer.bytes);
    return hmoec_machine_error(l->diagnostics, "out of memory printing MLIR");
  }
  if (buffer.bytes) buffer.bytes[buffer.size] = 0;
  *out_bytes = buffer.bytes;
  *out_size = buffer.size;
  return true;
}

/* One pass manager a pass: a failure can then name the pass. */
static bool lower_to_llvm_dialect(const lowering *l, MlirModule module) {
  MlirContext context = mlirModuleGetContext(module);
  for (size_t i = 0; i < sizeof mlir_passes / sizeof mlir_passes[0]; i++) {
    MlirPassManager manager = mlirPassManagerCreate(context);
    if (mlirPassManagerIsNull(manager)) return internal(l, mlir_passes[i].name, "no pass manager");
    mlirPassManagerAddOwnedPass(manager, mlir_passes[i].create());
    bool ok = mlirLogicalResultIsSuccess(mlirPassManagerRunOnOp(manager, mlirModuleGetOperation(module)));
    mlirPassManagerDestroy(manager);
    if (!ok) return internal(l, mlir_passes[i].name, NULL);
  }
  return true;
}

static LLVMTargetMachineRef create_machine(const lowering *l) {
  const hmoec_code_machine *m = l->machine;
  LLVMTargetRef target;
  char *message = NULL;
  if (LLVMGetTargetFromTriple(m->triple, &target, &message)) {
    internal(l, "looking up the target", message);
    LLVMDisposeMessage(message);
    return NULL;
  }
  LLVMTargetMachineRef machine =
      LLVMCreateTargetMachine(target, m->triple, m->processor, m->features, m->level, m->relocation, m->model);
  if (!machine) internal(l, "creating the target machine", NULL);
  return machine;
}

static bool optimise(const lowering *l, LLVMModuleRef module, LLVMTargetMachineRef machine) {
  const char *llvm_passes = l->machine->llvm_passes;
  LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
  if (!options) return internal(l, llvm_passes, "no options");
  LLVMErrorRef error = LLVMRunPasses(module, llvm_passes, machine, options);
  LLVMDisposePassBuilderOptions(options);
  if (!error) return true;
  char *message = LLVMGetErrorMessage(error);
  internal(l, llvm_passes, message);
  LLVMDisposeErrorMessage(message);
  return false;
}

static bool emit(const lowering *l, LLVMModuleRef module, LLVMTargetMachineRef machine, hmoec_output form, char **out_bytes,
                 size_t *out_size) {
  char *message = NULL;
  if (form == HMOEC_OUTPUT_LLVM) {
    message = LLVMPrintModuleToString(module);
    if (!message) return internal(l, "printing LLVM IR", NULL);
    bool ok = copy_out(l, message, strlen(message), out_bytes, out_size);
    LLVMDisposeMessage(message);
    return ok;
  }
  LLVMMemoryBufferRef buffer = NULL;
  LLVMCodeGenFileType type = form == HMOEC_OUTPUT_ASSEMBLY ? LLVMAssemblyFile : LLVMObjectFile;
  if (LLVMTargetMachineEmitToMemoryBuffer(machine, module, type, &message, &buffer) || !buffer) {
    internal(l, "emitting machine code", message);
    if (message) LLVMDisposeMessage(message);
    return false;
  }
  bool ok = copy_out(l, LLVMGetBufferStart(buffer), LLVMGetBufferSize(buffer), out_bytes, out_size);
  LLVMDisposeMemoryBuffer(buffer);
  return ok;
}

bool hmoec_code_lower(MlirModule module, const hmoec_code_machine *code_machine, const char *name, hmoec_code_add_fn add,
                      const void *user, hmoec_output form, hmoec_diagnostics *diagnostics, char **out_bytes, size_t *out_size) {
  const lowering all = {code_machine, diagnostics}, *l = &all;
  bool ok = false;
  LLVMContextRef context = NULL;
  LLVMModuleRef llvm = NULL;
  LLVMTargetMachineRef machine = NULL;
  LLVMTargetDataRef layout = NULL;
  char *message = NULL;

  if (form == HMOEC_OUTPUT_MLIR) return print_mlir(l, module, out_bytes, out_size);
  if (!lower_to_llvm_dialect(l, module)) return false;
  mlirRegisterAllLLVMTranslations(mlirModuleGetContext(module));
  context = LLVMContextCreate();
  machine = create_machine(l);
  if (!machine) goto done;
  llvm = mlirTranslateModuleToLLVMIR(mlirModuleGetOperation(module), context);
  if (!llvm) {
    internal(l, "translation to LLVM IR", NULL);
    goto done;
  }
  LLVMSetModuleIdentifier(llvm, name, strlen(name));
  LLVMSetSourceFileName(llvm, name, strlen(name));
  LLVMSetTarget(llvm, code_machine->triple);
  layout = LLVMCreateTargetDataLayout(machine);
  LLVMSetModuleDataLayout(llvm, layout);
  if (add && !add(llvm, user, diagnostics)) goto done;
  if (LLVMVerifyModule(llvm, LLVMReturnStatusAction, &message)) {
    internal(l, "verifying LLVM IR", message);
    goto done;
  }
  ok = optimise(l, llvm, machine) && emit(l, llvm, machine, form, out_bytes, out_size);
done:
  if (message) LLVMDisposeMessage(message);
  if (layout) LLVMDisposeTargetData(layout);
  if (llvm) LLVMDisposeModule(llvm);
  if (machine) LLVMDisposeTargetMachine(machine);
  if (context) LLVMContextDispose(context);
  return ok;
}
