/* Which code version this machine runs: the instruction sets by CPUID, and by XCR0 whether the system saves their registers. Tiles
 * must also be granted by the system, which a process asks for once, for all its threads. Checked before any code of that version is
 * called, so that a machine without it gets a message and not an illegal instruction. */
#include "hmoe/abi_cpu.h"
#include "runtime_internal.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

static const char *const cpu_names[HMOE_CPU_COUNT] = {[HMOE_CPU_PORTABLE] = "portable",
                                                      [HMOE_CPU_AVX2] = "avx2",
                                                      [HMOE_CPU_AVX512] = "avx512",
                                                      [HMOE_CPU_AVX512_BF16] = "avx512_bf16",
                                                      [HMOE_CPU_AMX] = "amx"};

const char *hmoe_cpu_name(int cpu) { return cpu_names[cpu]; }

#if defined(__x86_64__)

typedef struct cpu_feature {
  const char *name;
  int needed_by; /* this version and the better ones */
  int where;
  uint32_t mask;
} cpu_feature;

static const cpu_feature features[] = {
    {"AVX", HMOE_CPU_AVX2, HMOE_CPU_LEAF1_ECX, 1u << 28},
    {"FMA", HMOE_CPU_AVX2, HMOE_CPU_LEAF1_ECX, 1u << 12},
    {"AVX2", HMOE_CPU_AVX2, HMOE_CPU_LEAF7_EBX, 1u << 5},
    {"the system's support of 256-bit registers (XCR0)", HMOE_CPU_AVX2, HMOE_CPU_XCR0, 0x06},
    {"AVX512F", HMOE_CPU_AVX512, HMOE_CPU_LEAF7_EBX, 1u << 16},
    {"AVX512DQ", HMOE_CPU_AVX512, HMOE_CPU_LEAF7_EBX, 1u << 17},
    {"AVX512CD", HMOE_CPU_AVX512, HMOE_CPU_LEAF7_EBX, 1u << 28},
    {"AVX512BW", HMOE_CPU_AVX512, HMOE_CPU_LEAF7_EBX, 1u << 30},
    {"AVX512VL", HMOE_CPU_AVX512, HMOE_CPU_LEAF7_EBX, 1u << 31},
    {"the system's support of 512-bit registers (XCR0)", HMOE_CPU_AVX512, HMOE_CPU_XCR0, 0xe6},
    {"AVX512_BF16", HMOE_CPU_AVX512_BF16, HMOE_CPU_LEAF7_1_EAX, 1u << 5},
    {"AMX-TILE", HMOE_CPU_AMX, HMOE_CPU_LEAF7_EDX, 1u << 24},
    {"AMX-BF16", HMOE_CPU_AMX, HMOE_CPU_LEAF7_EDX, 1u << 22},
    {"the system's support of tiles (XCR0)", HMOE_CPU_AMX, HMOE_CPU_XCR0, 0x60000},
};

static const char *tile_refusal; /* NULL: granted */

/* The grant holds for every thread of the process, those that run already too. It is asked for when an object has code with tiles and
 * the processor them, not earlier: afterwards signal frames of threads that used tiles are larger by their 8 KiB. */
static void ask_for_tiles(void) {
  enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
  if (syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0) return;
  if (errno == ENOSPC) tile_refusal = "the system's grant of tiles (an alternate signal stack is too small for them)";
  else
    tile_refusal = errno == EINVAL ? "the system's grant of tiles (Linux 5.16 or later gives it)" : "the system's grant of tiles";
}

static const char *tiles_refused(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, ask_for_tiles);
  return tile_refusal;
}

const char *hmoe_cpu_missing(int cpu, const uint32_t found[HMOE_CPU_REGISTERS]) {
  for (size_t i = 0; i < sizeof features / sizeof *features; i++)
    if (cpu >= features[i].needed_by && (found[features[i].where] & features[i].mask) != features[i].mask) return features[i].name;
  return NULL;
}

const char *hmoe_cpu_lacks(int cpu) {
  uint32_t found[HMOE_CPU_REGISTERS] = {0};
  uint32_t eax, ebx, ecx, edx;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx)) found[HMOE_CPU_LEAF1_ECX] = ecx;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) {
    found[HMOE_CPU_LEAF7_EBX] = ebx;
    found[HMOE_CPU_LEAF7_EDX] = edx;
    if (eax >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx)) found[HMOE_CPU_LEAF7_1_EAX] = eax;
  }
  if (found[HMOE_CPU_LEAF1_ECX] & 1u << 27) { /* OSXSAVE: xgetbv exists */
    __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    found[HMOE_CPU_XCR0] = eax;
  }
  const char *missing = hmoe_cpu_missing(cpu, found);
  return missing || cpu < HMOE_CPU_AMX ? missing : tiles_refused();
}

#else

const char *hmoe_cpu_lacks(int cpu) { return cpu == HMOE_CPU_PORTABLE ? NULL : "an x86-64 processor"; }

#endif

const hmoe_image *hmoe_cpu_image(const hmoe_model_object *object, int cpu) {
  for (uint32_t i = 0; i < object->image_count; i++)
    if (strcmp(object->images[i].target, "cpu") == 0 && strcmp(object->images[i].version, cpu_names[cpu]) == 0)
      return &object->images[i];
  return NULL;
}

hmoe_status hmoe_cpu_choose(const hmoe_model_object *object, const char *forced, int *out_cpu) {
  const char *origin = "options.cpu";
  if (!forced) {
    forced = getenv("HMOE_CPU");
    origin = "HMOE_CPU";
    if (forced && !*forced) forced = NULL;
  }
  if (forced) {
    int cpu = 0;
    while (cpu < HMOE_CPU_COUNT && strcmp(forced, cpu_names[cpu]) != 0) cpu++;
    if (cpu == HMOE_CPU_COUNT)
      return hmoe_fail(HMOE_INVALID_ARGUMENT,
                       "%s: expected \"amx\", \"avx512_bf16\", \"avx512\", \"avx2\" or \"portable\", found \"%s\"", origin, forced);
    if (!hmoe_cpu_image(object, cpu))
      return hmoe_fail(HMOE_UNSUPPORTED, "%s: the object holds no %s version%s", origin, forced,
                       cpu >= HMOE_CPU_AVX512_BF16 ? ": it has no bf16 products (hmoec --dtype bf16)" : "");
    const char *lacks = hmoe_cpu_lacks(cpu);
    if (lacks) return hmoe_fail(HMOE_UNSUPPORTED, "%s: this machine lacks %s, which the %s version needs", origin, lacks, forced);
    *out_cpu = cpu;
    return HMOE_OK;
  }
  const char *lacks = NULL;
  int least = HMOE_CPU_COUNT;
  for (int cpu = HMOE_CPU_COUNT - 1; cpu >= 0; cpu--) {
    if (!hmoe_cpu_image(object, cpu)) continue;
    lacks = hmoe_cpu_lacks(cpu);
    least = cpu;
    if (!lacks) {
      *out_cpu = cpu;
      return HMOE_OK;
    }
  }
  if (least == HMOE_CPU_COUNT) return hmoe_fail(HMOE_INCOMPATIBLE, "the object holds no code version for this processor");
  return hmoe_fail(HMOE_UNSUPPORTED, "this machine lacks %s, which the object's %s version needs", lacks, cpu_names[least]);
}
