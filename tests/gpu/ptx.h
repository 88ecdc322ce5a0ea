/* An emulator of PTX for tests: runs kernels as LLVM or nvcc write them on a CPU, says whether what they computed was allowed, and counts.
 *
 *   ptx_device *device = ptx_device_create(0);
 *   uint64_t x = ptx_device_allocate(device, bytes, 256, "x");
 *   ptx_device_write(device, x, values, bytes);
 *   ptx_module *module = ptx_module_create(device, text, size, &report);
 *   ptx_launch launch = {.kernel = "scale", .grid = {4, 1, 1}, .block = {128, 1, 1}, .arguments = &x, .argument_bytes = 8, .seed = 1};
 *   if (!module || !ptx_launch_run(module, &launch, &report)) puts(report.text);
 *   ptx_device_read(device, x, values, bytes, &report);
 *   ptx_module_destroy(module), ptx_device_destroy(device);
 *
 * The order in which warps run and asynchronous copies complete is drawn from the seed; equal seeds give equal runs. A block is a place for its
 * own: blocks run one after the other in random order, except those of one cluster, which run together. What is found wrong ends the launch:
 * the report has the kind, the place in the text and one sentence. Nothing here is a statement about speed on a GPU, and nothing but the rules
 * that docs/design.md lists is checked.
 *
 * A device and its modules are one thread's at a time. Text and arguments are read, not kept. */
#ifndef HMOE_TESTS_GPU_PTX_H
#define HMOE_TESTS_GPU_PTX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ptx_device ptx_device;
typedef struct ptx_module ptx_module;

typedef enum ptx_kind {
  PTX_OK,
  PTX_SYNTAX, /* the text is not PTX, or PTX that is not known here */
  PTX_LAUNCH, /* a launch that no device takes: sizes, arguments, no such kernel */
  PTX_MEMORY, /* the machine of the test has no memory left */
  PTX_BOUNDS, /* an address in no allocation, in one that was freed, or past the block's shared memory */
  PTX_UNINITIALISED, /* a read of bytes that were never written */
  PTX_MISALIGNED,
  PTX_BLOCKS, /* two blocks touch one place in one launch, one of them writes */
  PTX_RACE, /* two accesses of shared memory with no synchronisation between */
  PTX_IN_FLIGHT, /* destination or source of a copy, or operand of a wgmma, that is not complete */
  PTX_PROXY, /* an ordinary write reaches an asynchronous read without a proxy fence */
  PTX_ACCUMULATOR, /* registers of a wgmma touched in flight, or used without wgmma.fence */
  PTX_REGISTER, /* a register that was never written */
  PTX_DESCRIPTOR, /* the warps of a warpgroup do not agree, or a descriptor that means nothing */
  PTX_MBARRIER, /* more arrivals than pending, used before init, count out of range */
  PTX_BARRIER, /* more threads than a barrier expects */
  PTX_POOL, /* setmaxnreg out of range or in the wrong direction */
  PTX_DIVERGENCE, /* lanes of a warp wait for each other at different instructions */
  PTX_DEADLOCK, /* nothing can go on; the text names the place of every warp and the state of every mbarrier */
  PTX_ENDLESS, /* the launch's limit of instructions */
  PTX_TRAP,
  PTX_EARLY, /* of a dependent launch: memory touched, or a thread's end, before griddepcontrol.wait */
  PTX_KINDS
} ptx_kind;

/* "bounds", "race", .. */
const char *ptx_kind_name(ptx_kind kind);

typedef struct ptx_report {
  ptx_kind kind;
  uint32_t line, column; /* in the module's text, from 1; 0 where there is no place */
  char text[6144]; /* begins with LINE:COLUMN: where there is a place */
} ptx_report;

/* ---- memory ---- */

/* budget_bytes: what can be allocated at one time, 0 for no limit. NULL: no memory. */
ptx_device *ptx_device_create(uint64_t budget_bytes);
void ptx_device_destroy(ptx_device *device);

/* An address (never one of the host), a multiple of `alignment`, a power of two. 0: over the budget, or no memory. The bytes are not initialised.
 * The name, cut at 31 letters, is for reports. */
uint64_t ptx_device_allocate(ptx_device *device, uint64_t bytes, uint64_t alignment, const char *name);
/* False: no allocation begins here, or it was freed. The addresses are never given out again. */
bool ptx_device_free(ptx_device *device, uint64_t address);
uint64_t ptx_device_used_bytes(const ptx_device *device);
/* The allocation that has this byte; false if there is none, or if it was freed. */
bool ptx_device_find(const ptx_device *device, uint64_t address, uint64_t *out_base, uint64_t *out_bytes);

/* False: not within one allocation. Copies of bytes that were never written stay unwritten. */
bool ptx_device_write(ptx_device *device, uint64_t address, const void *from, uint64_t bytes);
/* What the allocation at that address holds is older than any launch that may not have ended. */
void ptx_device_settle(ptx_device *device, uint64_t address);
bool ptx_device_copy(ptx_device *device, uint64_t to, uint64_t from, uint64_t bytes);
bool ptx_device_fill(ptx_device *device, uint64_t address, uint32_t pattern, unsigned pattern_bytes, uint64_t bytes);
/* As the kernels left them; the report, where it isn't NULL, is of bytes that were never written (which read as 0xcd) or out of bounds. */
bool ptx_device_read(ptx_device *device, uint64_t address, void *to, uint64_t bytes, ptx_report *out_report);

/* ---- modules ---- */

/* Reads and binds the text. Its variables live in the device, which must outlive the module. NULL: see the report. */
ptx_module *ptx_module_create(ptx_device *device, const char *text, size_t size, ptx_report *out_report);
void ptx_module_destroy(ptx_module *module);

typedef struct ptx_kernel_info {
  const char *name; /* the module's */
  uint32_t parameters, parameter_bytes, shared_bytes, local_bytes;
  uint32_t block[3]; /* of .reqntid, 0 where there is none */
  uint32_t cluster[3]; /* of .reqnctapercluster, 0 where there is none */
  uint32_t most_threads;
} ptx_kernel_info;
/* False: no such kernel. By name, or by index where name is NULL. */
bool ptx_module_kernel(const ptx_module *module, const char *name, size_t index, ptx_kernel_info *out_info);
/* Offset and size of a parameter in the arguments. */
bool ptx_module_parameter(const ptx_module *module, const char *kernel, uint32_t index, uint32_t *out_offset, uint32_t *out_bytes);
/* Address and size of a variable in global memory; false: none of that name. */
bool ptx_module_global(const ptx_module *module, const char *name, uint64_t *out_address, uint64_t *out_bytes);

/* Whether a launch may begin before the one before it has ended. Blocks run behind theirs here all the same; what is reported is what could go wrong: a thread that
 * writes global memory, or reads what a launch has written that may not have ended, before its griddepcontrol.wait, and one that ends without, behind which nobody
 * would wait for the launch before. Where all threads of that one have waited before their griddepcontrol.launch_dependents, all launches before it have ended. */
typedef enum ptx_dependence {
  PTX_APART,
  PTX_DEPENDENT, /* read may be, too soon, what none of the last 255 launches wrote */
  PTX_DEPENDENT_ON_ALL /* and nothing but what is settled: all that the host wrote stands for what launches have */
} ptx_dependence;

typedef struct ptx_launch {
  const char *kernel;
  uint32_t grid[3], block[3];
  uint32_t cluster[3]; /* zeros: the kernel's, else 1 */
  uint32_t shared_bytes; /* dynamic; at most 227 KiB with the kernel's own */
  const void *arguments; /* laid out as the kernel's parameters are */
  size_t argument_bytes;
  uint64_t seed;
  uint64_t limit; /* warp instructions, 0 for 2^30 */
  ptx_dependence dependence;
  uint32_t before; /* the number of the launch that it depends on; 0: not known, and any may not have ended */
  bool perturb; /* results of .approx instructions are off by an ulp either way, at random */
} ptx_launch;
bool ptx_launch_run(ptx_module *module, const ptx_launch *launch, ptx_report *out_report);
/* The number of the latest launch, 1 to 255. */
uint32_t ptx_device_launch(const ptx_device *device);

/* ---- counters: of all launches of a module since it was made or its counters were reset ---- */

typedef struct ptx_counters {
  uint64_t launches, blocks, instructions; /* of warps */
  uint64_t global_read_bytes, global_written_bytes;
  uint64_t early_bytes; /* read before the thread had waited for the launch before */
  /* Wavefronts of shared memory, 128 bytes each: at least, and those beyond, which are bank conflicts. */
  uint64_t load_wavefronts, load_conflicts, store_wavefronts, store_conflicts;
  uint64_t copy_wavefronts, copy_conflicts; /* of cp.async */
  uint64_t abandoned_copies; /* cp.async that nobody waited for when the thread ended */
} ptx_counters;
ptx_counters ptx_module_counters(const ptx_module *module);
/* How many warp instructions ran whose name is this or begins with this and a point: "wgmma.mma_async", "add". */
uint64_t ptx_module_count(const ptx_module *module, const char *name);
void ptx_module_reset(ptx_module *module);

#endif
