/* Kernel descriptions in, PTX out: one entry a description, NAME_<index>. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <llvm-c/Target.h>
#include <mlir-c/BuiltinAttributes.h>

#include "ir/context.h"
#include "kernel/family.h"
#include "target/code/lower.h"
#include "target/cuda/cuda.h"
#include "target/target.h"

enum { NAME_SIZE = 256 };

const hmoec_cuda_chip hmoec_cuda_chips[] = {
    {"sm_80", "+ptx80", false, false, 12000}, {"sm_90a", "+ptx86", true, true, 12070}, {NULL, NULL, false, false, 0}};

void hmoec_cuda_initialise(void) {
  LLVMInitializeNVPTXTargetInfo();
  LLVMInitializeNVPTXTarget();
  LLVMInitializeNVPTXTargetMC();
  LLVMInitializeNVPTXAsmPrinter();
}

static bool internal(hmoec_diagnostics *diagnostics, const char *what) {
  return hmoec_error(diagnostics, (hmoec_location){0}, "internal error in the CUDA code generator: %s", what);
}

static const hmoec_cuda_way *way_of(const hmoec_matmul_spec *spec, const hmoec_cuda_chip *chip) {
  if (!hmoec_is_bf16(spec->format) && !hmoec_is_bf16(spec->c_format)) return &hmoec_cuda_matmul;
  if (spec->few_rows) return cuda_is_narrow(spec) ? &hmoec_cuda_stream_narrow : &hmoec_cuda_stream;
  return chip->has_wgmma ? &hmoec_cuda_tile90 : &hmoec_cuda_tile80;
}

int64_t hmoec_cuda_threads(const hmoec_kernel *kernel, const hmoec_cuda_chip *chip) {
  switch (kernel->family) {
  case HMOEC_KERNEL_MATMUL: return way_of(&kernel->spec.matmul, chip)->threads;
  case HMOEC_KERNEL_PACK_ROWS: return CUDA_PACK_THREADS;
  case HMOEC_KERNEL_ROUTE: return CUDA_ROUTE_THREADS;
  case HMOEC_KERNEL_COMBINE:
  case HMOEC_KERNEL_SELECT:
  case HMOEC_KERNEL_CONTRACT:
  case HMOEC_KERNEL_ROWS:
  case HMOEC_KERNEL_NORM:
  case HMOEC_KERNEL_EMBED:
  case HMOEC_KERNEL_STORE: return CUDA_ROW_THREADS;
  case HMOEC_KERNEL_ATTENTION: return CUDA_ATTENTION_THREADS;
  default: return 0;
  }
}

int64_t hmoec_cuda_shared_bytes(const hmoec_kernel *kernel, const hmoec_cuda_chip *chip) {
  switch (kernel->family) {
  case HMOEC_KERNEL_MATMUL: return way_of(&kernel->spec.matmul, chip)->shared_bytes(&kernel->spec.matmul);
  case HMOEC_KERNEL_PACK_ROWS: return hmoec_cuda_pack_rows_shared_bytes(&kernel->spec.pack_rows);
  case HMOEC_KERNEL_ROUTE: return hmoec_cuda_route_shared_bytes(&kernel->spec.route);
  case HMOEC_KERNEL_CONTRACT: return hmoec_cuda_contract_shared_bytes(&kernel->spec.contract);
  case HMOEC_KERNEL_ATTENTION: return hmoec_cuda_attention_shared_bytes(&kernel->spec.attention);
  default: return 0;
  }
}

/* More are of no use: there are no more tasks. */
static uint32_t row_parts(int64_t parts) { return parts < HMOE_CUDA_COLUMN_STEPS ? (uint32_t)parts : HMOE_CUDA_COLUMN_STEPS; }

uint32_t hmoec_cuda_column_steps(const hmoec_kernel *kernel, const hmoec_cuda_chip *chip) {
  uint32_t waits = chip->waits ? HMOE_CUDA_WAITS : 0;
  if (kernel->family == HMOEC_KERNEL_PACK_ROWS) return waits | HMOE_CUDA_PLANE / CUDA_PANEL;
  if (kernel->family == HMOEC_KERNEL_COMBINE) return waits | row_parts(hmoec_cuda_combine_parts(&kernel->spec.combine));
  if (kernel->family == HMOEC_KERNEL_ATTENTION) return waits | HMOE_CUDA_SHARES_KEYS;
  if (kernel->family == HMOEC_KERNEL_ROUTE && hmoec_cuda_route_shared_bytes(&kernel->spec.route)) return waits | HMOE_CUDA_GROUPS;
  return waits | (kernel->family == HMOEC_KERNEL_MATMUL ? way_of(&kernel->spec.matmul, chip)->column_steps : 0);
}

/* Of a pair's products twice the sums are kept; and narrow ones in f32, which few blocks have a share of, are to have much on the way in each. */
static bool is_alone(const hmoec_kernel *kernel, const hmoec_cuda_chip *chip) {
  const hmoec_matmul_spec *spec = &kernel->spec.matmul;
  if (kernel->family != HMOEC_KERNEL_MATMUL) return false;
  const hmoec_cuda_way *way = way_of(spec, chip);
  return spec->paired || way->alone || (way == &hmoec_cuda_matmul && spec->n <= CUDA_NARROW);
}

static void emit_kernel(hmoec_cuda_emitter *e, const hmoec_kernel *kernel, const char *name) {
  int64_t threads = hmoec_cuda_threads(kernel, e->chip);
  if (!threads) return; /* no entry but the host's has it */
  hmoec_cuda_waits waits = CUDA_WAITS;
  if (kernel->family == HMOEC_KERNEL_MATMUL) waits = way_of(&kernel->spec.matmul, e->chip)->waits;
  if (kernel->family == HMOEC_KERNEL_ROUTE || kernel->family == HMOEC_KERNEL_COMBINE) waits = CUDA_WAITS_LATER;
  hmoec_cuda_task task =
      hmoec_cuda_kernel_begin(e, name, threads, hmoec_cuda_shared_bytes(kernel, e->chip), is_alone(kernel, e->chip), waits);
  switch (kernel->family) {
  case HMOEC_KERNEL_MATMUL: way_of(&kernel->spec.matmul, e->chip)->emit(e, &kernel->spec.matmul, &task); break;
  case HMOEC_KERNEL_PACK_ROWS: hmoec_cuda_emit_pack_rows(e, &kernel->spec.pack_rows, &task); break;
  case HMOEC_KERNEL_ROUTE: hmoec_cuda_emit_route(e, &kernel->spec.route, &task); break;
  case HMOEC_KERNEL_COMBINE: hmoec_cuda_emit_combine(e, &kernel->spec.combine, &task); break;
  case HMOEC_KERNEL_SELECT: hmoec_cuda_emit_select(e, &kernel->spec.select, &task); break;
  case HMOEC_KERNEL_CONTRACT: hmoec_cuda_emit_contract(e, &kernel->spec.contract, &task); break;
  case HMOEC_KERNEL_ROWS: hmoec_cuda_emit_rows(e, &kernel->spec.rows, &task); break;
  case HMOEC_KERNEL_NORM: hmoec_cuda_emit_norm(e, &kernel->spec.norm, &task); break;
  case HMOEC_KERNEL_EMBED: hmoec_cuda_emit_embed(e, &kernel->spec.embed, &task); break;
  case HMOEC_KERNEL_STORE: hmoec_cuda_emit_store(e, &kernel->spec.store, &task); break;
  case HMOEC_KERNEL_ATTENTION: hmoec_cuda_emit_attention(e, &kernel->spec.attention, &task); break;
  default: e->ir.failed = true;
  }
  hmoec_cuda_kernel_end(e);
}

static bool load_dialects(MlirContext context, hmoec_diagnostics *diagnostics) {
  static const char *const names[] = {"llvm", "nvvm", "scf", "arith", "vector", "cf"};
  hmoec_context_add_upstream(context);
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (mlirDialectIsNull(mlirContextGetOrLoadDialect(context, mlirStringRefCreateFromCString(names[i]))))
      return internal(diagnostics, "an upstream dialect is not registered");
  return true;
}

/* The function of the C library that code calls: where our own elementary functions lack something, and for remainders, which LLVM would approximate. */
static MlirWalkResult find_library_call(MlirOperation op, void *user) {
  MlirStringRef *found = user, kind = mlirIdentifierStr(mlirOperationGetName(op));
  if (mlirStringRefEqual(kind, mlirStringRefCreateFromCString("arith.remf"))) *found = mlirStringRefCreateFromCString("fmod");
  if (mlirStringRefEqual(kind, mlirStringRefCreateFromCString("llvm.func")) &&
      mlirBlockIsNull(mlirRegionGetFirstBlock(mlirOperationGetRegion(op, 0))))
    *found = mlirStringAttrGetValue(mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("sym_name")));
  return found->length ? MlirWalkResultInterrupt : MlirWalkResultAdvance;
}

/* There is no C library on a GPU. */
static bool check_library(MlirModule module, hmoec_diagnostics *diagnostics) {
  MlirStringRef found = {NULL, 0};
  mlirOperationWalk(mlirModuleGetOperation(module), find_library_call, &found, MlirWalkPreOrder);
  return !found.length || hmoec_error(diagnostics, (hmoec_location){0},
                                      "a function in C calls %.*s of the C library, for which there is no code on GPUs",
                                      (int)found.length, found.data);
}

static bool emit_kernels(hmoec_cuda_emitter *e, const hmoec_cuda_unit *unit, hmoec_diagnostics *diagnostics) {
  for (size_t i = 0; i < unit->kernel_count; i++) {
    if (unit->wanted && !unit->wanted[i]) continue;
    char name[NAME_SIZE];
    int size = snprintf(name, sizeof name, "%s_%zu", unit->name, i);
    if (size < 0 || (size_t)size >= sizeof name) return internal(diagnostics, "a kernel's name is too long");
    emit_kernel(e, &unit->kernels[i], name);
  }
  static const struct {
    const hmoec_cuda_step *steps;
    uint32_t of; /* one of these */
  } lists[] = {{hmoec_cuda_group_steps, 1u << HMOE_STEP_GROUP},
               {hmoec_cuda_set_steps, 1u << HMOE_STEP_GROUP_SETS},
               {hmoec_cuda_loop_steps, 1u << HMOE_STEP_LOOP},
               {hmoec_cuda_token_steps, 1u << HMOE_STEP_IDS | 1u << HMOE_STEP_POSITIONS | 1u << HMOE_STEP_LAST_ROWS |
                                            1u << HMOE_STEP_APPEND_MASK | 1u << CUDA_GENERATES},
               {hmoec_cuda_best_steps, 1u << CUDA_GENERATES}};
  for (size_t l = 0; l < sizeof lists / sizeof *lists; l++)
    for (const hmoec_cuda_step *step = lists[l].steps; step->name && unit->steps & lists[l].of; step++) {
      hmoec_cuda_task task = hmoec_cuda_kernel_begin(e, step->name, step->threads, step->shared_bytes, false, CUDA_WAITS);
      step->emit(e, &task);
      hmoec_cuda_kernel_end(e);
    }
  return e->ir.failed ? internal(diagnostics, "an operation could not be built") : true;
}

bool hmoec_cuda_generate_ptx(MlirContext context, const hmoec_cuda_unit *unit, hmoec_diagnostics *diagnostics, char **out_ptx) {
  *out_ptx = NULL;
  hmoec_targets_initialise();
  if (!load_dialects(context, diagnostics)) return false;
  MlirModule module = mlirModuleCreateEmpty(mlirLocationUnknownGet(context));
  if (mlirModuleIsNull(module)) return internal(diagnostics, "no module");
  hmoec_cuda_emitter e = {.chip = unit->chip, .module_body = mlirModuleGetBody(module)};
  ir_init(&e.ir, context, 1, true, NULL);
  e.ir.has_quotients = true;
  e.ir.functions = unit->functions;
  e.ir.version = unit->chip->name;
  e.global = mlirTypeParseGet(context, mlirStringRefCreateFromCString("!llvm.ptr<1>"));
  e.shared = mlirTypeParseGet(context, mlirStringRefCreateFromCString("!llvm.ptr<3>"));
  bool ok = emit_kernels(&e, unit, diagnostics);
  if (ok && !mlirOperationVerify(mlirModuleGetOperation(module)))
    ok = internal(diagnostics, "the generated module does not verify");
  if (ok) ok = check_library(module, diagnostics);
  const hmoec_code_machine machine = {.called = "CUDA",
                                      .triple = "nvptx64-nvidia-cuda",
                                      .processor = unit->chip->name,
                                      .features = unit->chip->features,
                                      .llvm_passes = "default<O2>",
                                      .level = LLVMCodeGenLevelAggressive};
  size_t size;
  if (ok) ok = hmoec_code_lower(module, &machine, unit->name, NULL, NULL, HMOEC_OUTPUT_ASSEMBLY, diagnostics, out_ptx, &size);
  mlirModuleDestroy(module);
  return ok;
}
