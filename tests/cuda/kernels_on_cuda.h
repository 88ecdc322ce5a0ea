/* What kernels_harness.h is of CUDA kernels: the same tests, their code made for a GPU and run by the emulator (ptx.h). Every buffer of the test is an
 * allocation of the device while a kernel runs; what lies around it cannot be touched. */
#ifndef KERNELS_ON_CUDA_H
#define KERNELS_ON_CUDA_H

#include "gpu/ptx.h"
#include "target/cuda/cuda.h"

enum { HARNESS_BF16_PRODUCTS = 0, HARNESS_MOST_BLOCK_ROWS = 130, HARNESS_IS_SLOW = 1 };

typedef struct harness_unit {
  MlirContext context;
  hmoec_diagnostics *diagnostics;
  const hmoec_kernel *kernels; /* borrowed until harness_destroy */
  hmoec_cpu_schedule schedule;
  const hmoec_cuda_chip *chip;
  ptx_device *device;
  ptx_module *module;
  char *ptx;
  uint64_t limit; /* of instructions of a launch; 0: the emulator's */
  int64_t sharing; /* blocks of threads that share tiles; 0: any number */
  int32_t first; /* blocks of rows that are not this launch's */
  const int32_t *counted; /* so many of the rows there are, as the device has counted; NULL: all */
} harness_unit;

static inline harness_unit harness_compile_for(const hmoec_cuda_chip *chip, const hmoec_kernel *kernels, size_t count,
                                               hmoec_cpu_schedule schedule, const hmoec_scalar_library *functions) {
  harness_unit u = {.kernels = kernels, .schedule = schedule};
  MlirDialectRegistry registry = mlirDialectRegistryCreate();
  mlirRegisterAllDialects(registry);
  u.context = mlirContextCreateWithRegistry(registry, false);
  mlirDialectRegistryDestroy(registry);
  u.diagnostics = hmoec_diagnostics_create(stderr);
  hmoec_diagnostics_attach(u.diagnostics, u.context);
  hmoec_cuda_unit unit = {
      .name = "test", .kernels = kernels, .kernel_count = count, .functions = functions, .chip = chip, .steps = CUDA_ALL_STEPS};
  u.chip = chip;
  assert_true(hmoec_cuda_generate_ptx(u.context, &unit, u.diagnostics, &u.ptx));
  u.device = ptx_device_create(0);
  ptx_report report;
  u.module = ptx_module_create(u.device, u.ptx, strlen(u.ptx), &report);
  if (!u.module) fail_msg("%s", report.text);
  return u;
}

static inline harness_unit harness_compile_functions(const hmoec_kernel *kernels, size_t count, hmoec_cpu_schedule schedule,
                                                     const hmoec_scalar_library *functions) {
  return harness_compile_for(&hmoec_cuda_chips[harness_below(2)], kernels, count, schedule, functions);
}

static inline harness_unit harness_compile(const hmoec_kernel *kernels, size_t count, hmoec_cpu_schedule schedule) {
  return harness_compile_functions(kernels, count, schedule, NULL);
}

static inline void harness_destroy(harness_unit *u) {
  ptx_module_destroy(u->module);
  ptx_device_destroy(u->device);
  free(u->ptx);
  mlirContextDestroy(u->context);
  hmoec_diagnostics_destroy(u->diagnostics);
}

static inline int harness_binding_count(const hmoec_kernel *kernel) {
  switch (kernel->family) {
  case HMOEC_KERNEL_MATMUL: return 13;
  case HMOEC_KERNEL_COMBINE: return 2;
  case HMOEC_KERNEL_CONTRACT: return 4;
  case HMOEC_KERNEL_ROWS:
  case HMOEC_KERNEL_STORE: return 4;
  case HMOEC_KERNEL_PACK_ROWS: return 6;
  case HMOEC_KERNEL_ATTENTION: return 7;
  case HMOEC_KERNEL_NORM: return kernel->spec.norm.has_index ? 5 : 4;
  default: return 3;
  }
}

/* Of the blocks buffer, where there is one. */
static inline int harness_blocks_binding(const hmoec_kernel *kernel) {
  if (kernel->family == HMOEC_KERNEL_MATMUL && kernel->spec.matmul.grouped) return 3;
  return kernel->family == HMOEC_KERNEL_PACK_ROWS && kernel->spec.pack_rows.grouped ? 2 : -1;
}

/* The line of the PTX that a report is of. */
static inline void harness_report(const harness_unit *u, const ptx_report *report) {
  const char *line = u->ptx;
  for (uint32_t i = 1; i < report->line && line; i++) line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL;
  fail_msg("%s\n%.*s", report->text, line ? (int)strcspn(line, "\n") : 0, line ? line : "");
}

/* Whether words of ones stand for some that were never written, which a kernel must not read then: in states of attention. */
static inline bool harness_has_unwritten(const hmoec_kernel *kernel) {
  return kernel->family == HMOEC_KERNEL_STORE || kernel->family == HMOEC_KERNEL_ATTENTION;
}

static inline bool harness_is_unwritten(const harness_buffer *b, size_t word) {
  static const uint32_t ones = UINT32_MAX;
  return !memcmp((const char *)b->data + 4 * word, &ones, 4);
}

static inline void harness_upload(const harness_unit *u, const hmoec_kernel *kernel, uint64_t to, const harness_buffer *b) {
  if (!harness_has_unwritten(kernel)) assert_true(ptx_device_write(u->device, to, b->data, b->bytes));
  size_t tail = b->bytes % 4; /* of an odd number of halves */
  if (tail) assert_true(ptx_device_write(u->device, to + b->bytes - tail, (const char *)b->data + b->bytes - tail, tail));
  for (size_t i = 0, end; harness_has_unwritten(kernel) && i < b->bytes / 4; i = end) {
    for (end = i; end < b->bytes / 4 && !harness_is_unwritten(b, end);) end++;
    assert_true(ptx_device_write(u->device, to + 4 * i, (const char *)b->data + 4 * i, 4 * (end - i)));
    while (end < b->bytes / 4 && harness_is_unwritten(b, end)) end++;
  }
}

static inline void harness_download(const harness_unit *u, const hmoec_kernel *kernel, uint64_t from, const harness_buffer *b) {
  static const uint32_t unwritten = 0xcdcdcdcd, ones = UINT32_MAX;
  assert_true(ptx_device_read(u->device, from, b->data, b->bytes, NULL));
  for (size_t i = 0; harness_has_unwritten(kernel) && i < b->bytes / 4; i++)
    if (!memcmp((char *)b->data + 4 * i, &unwritten, 4)) memcpy((char *)b->data + 4 * i, &ones, 4);
}

/* A kernel with `blocks` blocks of rows where there might be `most`. False with a report: buffers are as they were. */
static inline bool harness_try(const harness_unit *u, size_t kernel, void *const *buffers, const int64_t *dims, size_t dim_count,
                               int64_t rows, int64_t blocks, int64_t most, int64_t splits, ptx_report *out_report) {
  const hmoec_kernel *k = &u->kernels[kernel];
  hmoe_cuda_call call = {.rows = rows, .splits = splits, .blocks = most};
  uint64_t copies[HARNESS_MOST_BUFFERS] = {0};
  if (dim_count) memcpy(call.dims, dims, dim_count * sizeof *dims);
  for (int i = 0; i < harness_binding_count(k); i++) {
    int number = harness_find(buffers[i]);
    if (number < 0) continue;
    const harness_buffer *b = &harness_buffers[number];
    if (!copies[number]) {
      copies[number] = ptx_device_allocate(u->device, b->bytes ? b->bytes : 1, 256, "buffer");
      harness_upload(u, k, copies[number], b);
    }
    call.buffers[i] = copies[number] + (uint64_t)((char *)buffers[i] - (char *)b->data);
  }
  int binding = harness_blocks_binding(k);
  if (binding >= 0) { /* the header, which the other tests leave as it comes */
    const hmoe_blocks header = {.count = (int32_t)blocks, .first = u->first};
    assert_true(ptx_device_write(u->device, call.buffers[binding], &header, sizeof header));
  }
  uint64_t counted = u->counted ? ptx_device_allocate(u->device, sizeof *u->counted, 4, "count") : 0;
  if (counted) assert_true(ptx_device_write(u->device, call.count = counted, u->counted, sizeof *u->counted));
  if (hmoec_cuda_column_steps(k, u->chip) & HMOE_CUDA_READS_EARLY && !counted) {
    call.early = (uint64_t)harness_below(HMOE_CUDA_EARLY_ALL + 1);
    static const int rows[] = HMOE_CUDA_ROW_BINDINGS;
    if (call.early) ptx_device_settle(u->device, call.buffers[HMOE_CUDA_RIGHT_OPERAND]);
    if (call.early && binding >= 0) ptx_device_settle(u->device, call.buffers[binding]);
    for (size_t i = 0; call.early == HMOE_CUDA_EARLY_ALL && i < sizeof rows / sizeof *rows; i++)
      ptx_device_settle(u->device, call.buffers[rows[i]]);
  }
  char name[32];
  snprintf(name, sizeof name, "test_%zu", kernel);
  int64_t shared = hmoec_cuda_shared_bytes(k, u->chip), grid = most * (splits ? splits : 1);
  if (grid && hmoec_cuda_column_steps(k, u->chip) & HMOE_CUDA_PERSISTENT)
    grid = u->sharing ? u->sharing : 1 + harness_below(6); /* share what there is */
  ptx_launch launch = {.kernel = name,
                       .grid = {(uint32_t)grid, 1, 1},
                       .block = {(uint32_t)hmoec_cuda_threads(k, u->chip), 1, 1},
                       .shared_bytes = shared > HMOE_CUDA_OWN_SHARED_BYTES ? (uint32_t)shared : 0,
                       .arguments = &call,
                       .argument_bytes = sizeof call,
                       .seed = harness_random(),
                       .limit = u->limit,
                       .dependence = u->chip->waits ? PTX_DEPENDENT_ON_ALL : PTX_APART};
  bool ok = !launch.grid[0] || ptx_launch_run(u->module, &launch, out_report);
  if (counted) ptx_device_free(u->device, counted);
  for (int i = 0; i < HARNESS_MOST_BUFFERS; i++) {
    if (!copies[i]) continue;
    if (ok) harness_download(u, k, copies[i], &harness_buffers[i]);
    ptx_device_free(u->device, copies[i]);
  }
  return ok;
}

static inline void harness_launch(const harness_unit *u, size_t kernel, void *const *buffers, const int64_t *dims, size_t dim_count,
                                  int64_t rows, int64_t blocks, int64_t most, int64_t splits) {
  ptx_report report;
  if (!harness_try(u, kernel, buffers, dims, dim_count, rows, blocks, most, splits, &report)) harness_report(u, &report);
}

/* How many blocks more there may be than there are, until it is asked for again: so many that products are of few rows, or hardly any. */
static int64_t harness_spare_blocks;
static inline void harness_choose_way(int64_t rows) { harness_spare_blocks = harness_below(2) ? rows / 4 : harness_below(3); }
/* Which way a product in f32 takes, of those whose sums may differ. */
static inline int harness_way(int64_t rows, int64_t blocks) { return rows <= CUDA_FEW_MOST * blocks; }

/* A kernel of one version: the chip's. As many blocks more as there may be are launched. */
static inline void harness_run_dims(const harness_unit *u, int version, size_t kernel, void *const *buffers, const int64_t *dims,
                                    size_t dim_count, int64_t rows, int64_t blocks, int64_t splits) {
  (void)version;
  int64_t most = blocks + (harness_blocks_binding(&u->kernels[kernel]) >= 0 ? harness_spare_blocks : 0);
  harness_launch(u, kernel, buffers, dims, dim_count, rows, blocks, most, splits);
}

static inline void harness_run(const harness_unit *u, int version, size_t kernel, void *const *buffers, int64_t rows,
                               int64_t blocks, int64_t splits) {
  harness_run_dims(u, version, kernel, buffers, NULL, 0, rows, blocks, splits);
}

#define HARNESS_EACH_VERSION(u, v) for (int v = 0; v < 1; v++)

#endif
