/* The versions of CPU code, and what LLVM knows of CPUs. */
#include <string.h>

#include <llvm-c/Core.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>

#include "emit/unit.h"
#include "runtime_internal.h"
#include "target/cpu/emit.h"

/* Only what the runtime tests for: a CPU may have AVX2 and FMA and lack, say, BMI. */
const hmoec_cpu_version hmoec_cpu_versions[HMOE_CPU_COUNT] = {
    [HMOE_CPU_PORTABLE] = {"portable", 4, false, false, ""},
    [HMOE_CPU_AVX2] = {"avx2", 8, true, false, "+avx2,+fma"},
    [HMOE_CPU_AVX512] = {"avx512", 16, true, false, "+avx2,+fma,+avx512f,+avx512bw,+avx512dq,+avx512vl,+avx512cd"},
    [HMOE_CPU_AVX512_BF16] = {"avx512_bf16", 16, true, true,
                              "+avx2,+fma,+avx512f,+avx512bw,+avx512dq,+avx512vl,+avx512cd,+avx512bf16"},
    [HMOE_CPU_AMX] = {"amx", 16, true, true,
                      "+avx2,+fma,+avx512f,+avx512bw,+avx512dq,+avx512vl,+avx512cd,+avx512bf16,+amx-tile,+amx-bf16"},
};

hmoec_code_version hmoec_cpu_version_at(size_t number) {
  if (number >= HMOE_CPU_COUNT) return (hmoec_code_version){.name = NULL};
  return (hmoec_code_version){hmoec_cpu_versions[number].name,
                              hmoec_cpu_versions[number].has_bf16 ? HMOEC_FORMAT_BF16 : HMOEC_FORMAT_F32};
}

const char *hmoec_cpu_version_lacks(size_t number) { return hmoe_cpu_lacks((int)number); }

/* x86-64 names of LLVM 22, whose C API cannot be asked. */
const char *const hmoec_cpu_processors[] = {"native",
                                            "generic",
                                            "x86-64",
                                            "x86-64-v2",
                                            "x86-64-v3",
                                            "x86-64-v4",
                                            "nehalem",
                                            "westmere",
                                            "sandybridge",
                                            "ivybridge",
                                            "haswell",
                                            "broadwell",
                                            "skylake",
                                            "skylake-avx512",
                                            "cascadelake",
                                            "cooperlake",
                                            "cannonlake",
                                            "icelake-client",
                                            "icelake-server",
                                            "rocketlake",
                                            "tigerlake",
                                            "alderlake",
                                            "raptorlake",
                                            "meteorlake",
                                            "sapphirerapids",
                                            "emeraldrapids",
                                            "graniterapids",
                                            "graniterapids-d",
                                            "sierraforest",
                                            "arrowlake",
                                            "arrowlake-s",
                                            "lunarlake",
                                            "pantherlake",
                                            "clearwaterforest",
                                            "diamondrapids",
                                            "btver2",
                                            "bdver4",
                                            "znver1",
                                            "znver2",
                                            "znver3",
                                            "znver4",
                                            "znver5",
                                            NULL};

void hmoec_cpu_initialise(void) {
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86Target();
  LLVMInitializeX86TargetMC();
  LLVMInitializeX86AsmPrinter();
}

bool hmoec_cpu_generate_unit(MlirContext context, const hmoec_unit *unit, uint32_t versions, const char *processor,
                             hmoec_output form, hmoec_diagnostics *diagnostics, char **out_bytes, size_t *out_size) {
  if (form == HMOEC_OUTPUT_CUBIN) return hmoec_usage_error(diagnostics, "a cubin is code of GPUs: expected target cuda, found cpu");
  char *host = processor && strcmp(processor, "native") == 0 ? LLVMGetHostCPUName() : NULL;
  hmoec_cpu_unit cpu = {.name = unit->name,
                        .kernels = unit->kernels,
                        .kernel_count = unit->kernel_count,
                        .foreign_kernels = unit->kernel_count - unit->host_kernels,
                        .functions = &unit->functions,
                        .plan = unit->plan,
                        .plan_bytes = unit->plan_bytes,
                        .schedule = hmoec_cpu_schedule_of(&unit->schedule),
                        .knobs = &unit->schedule,
                        .machine = unit->machine,
                        .weight_bytes = ((const hmoe_plan *)unit->plan)->weight_bytes,
                        .versions = versions,
                        .images = unit->images,
                        .image_count = unit->image_count,
                        .mcpu = host ? host : processor};
  bool ok = hmoec_cpu_generate(context, &cpu, form, diagnostics, out_bytes, out_size);
  LLVMDisposeMessage(host);
  return ok;
}
