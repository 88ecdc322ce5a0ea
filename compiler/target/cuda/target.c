/* The table of CUDA. f32 rows, right operands, keys and values are those of the host's target, so that entry 0 runs there as it is, one .hmw serves both,
 * and the object runs on either: beside the host's images it has one of PTX. What differs is how kernels of the other entries are cut. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emit/unit.h"
#include "ir/hmk_ops.h"
#include "target/cuda/cuda.h"
#include "target/target.h"

enum { TASK_ROWS = CUDA_ROW_WARPS, QUERIES = CUDA_ROW_WARPS, HOST_ATTENTION_WIDTH = 128, NAME_SIZE = 256 };

static const hmoec_target *const host = &hmoec_target_cpu;

static hmoec_layout layout(const hmoec_schedule *schedule, const hmoec_operand *operand) { return host->layout(schedule, operand); }
static void prepare(hmoec_schedule *schedule, int64_t widest) { host->prepare(schedule, widest); }
static int64_t right_column(hmoec_format format, int64_t k, int64_t column) { return host->right_column(format, k, column); }
static void pack(const hmoec_packing *packing, int64_t out_args[HMOEC_PACK_ARGS]) { host->pack(packing, out_args); }
static bool packs_any_depth(hmoec_format format) { return host->packs_any_depth(format); }
static void repack(hmoec_format format, int64_t k, int64_t n, int64_t out_args[HMOEC_PACK_ARGS]) {
  host->repack(format, k, n, out_args);
}
static void insert(hmoec_format format, int64_t groups, int64_t k, int64_t n, int64_t first_k, int64_t part_k, int64_t *out_offset,
                   int64_t out_args[HMOEC_COPY_ARGS]) {
  host->insert(format, groups, k, n, first_k, part_k, out_offset, out_args);
}
static uint64_t scratch_bytes(const hmoec_schedule *schedule, const hmoec_kernel *kernels, size_t count) {
  return host->scratch_bytes(schedule, kernels, count);
}
static hmoec_code_version version(size_t number) { return host->version(number); }
static const char *lacks(size_t number) { return host->lacks(number); }

/* Kernels over rows: a row a warp. Products and groupings have the host's blocks, which a tile has room for. */
static bool place(MlirOperation function, MlirOperation op, const hmoec_schedule *schedule) {
  static const struct {
    const char *op;
    int64_t rows;
  } blocks[] = {{"hmk.route_topk", TASK_ROWS}, {"hmk.combine", TASK_ROWS},  {"hmk.select_embedding", TASK_ROWS},
                {"hmk.contract", TASK_ROWS},   {"hmk.map_rows", TASK_ROWS}, {"hmk.norm_rows", TASK_ROWS},
                {"hmk.embed_rows", TASK_ROWS}, {"hmk.store_kv", TASK_ROWS}};
  if (hmoec_op_is(op, "hmk.attention")) return hmoec_place_attention(function, op, QUERIES);
  if (!host->place(function, op, schedule)) return false;
  for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
    if (hmoec_op_is(op, blocks[i].op)) hmoec_hmk_schedule_set(op, (const char *const[]){"row_block"}, &blocks[i].rows, 1);
  return true;
}

/* Names of kernels that there is code for. */
static bool list_functions(const hmoec_unit *unit, hmoe_function **out_functions, char **out_names) {
  hmoe_function *functions = *out_functions = calloc(unit->kernel_count + 1, sizeof *functions);
  char *names = *out_names = calloc(unit->kernel_count + 1, NAME_SIZE);
  if (!functions || !names) return false;
  for (size_t i = 0; i < unit->kernel_count; i++) {
    int64_t threads = hmoec_cuda_threads(&unit->kernels[i]);
    if (!threads) continue;
    snprintf(names + i * NAME_SIZE, NAME_SIZE, "%s_%zu", unit->name, i);
    functions[i] = (hmoe_function){.name = names + i * NAME_SIZE, .threads = (uint32_t)threads};
    functions[i].scratch_bytes = (uint64_t)hmoec_cuda_shared_bytes(&unit->kernels[i]);
  }
  return true;
}

static const hmoec_cuda_chip *chip_of(const char *processor) {
  const hmoec_cuda_chip *chip = hmoec_cuda_chips;
  for (size_t i = 0; processor && hmoec_cuda_chips[i].name; i++)
    if (strcmp(hmoec_cuda_chips[i].name, processor) == 0) chip = &hmoec_cuda_chips[i];
  return chip;
}

static bool generate(MlirContext context, const hmoec_unit *unit, uint32_t versions, const char *processor, hmoec_output form,
                     hmoec_diagnostics *diagnostics, char **out_bytes, size_t *out_size) {
  hmoec_cuda_unit cuda = {.name = unit->name,
                          .kernels = unit->kernels,
                          .kernel_count = unit->kernel_count,
                          .functions = &unit->functions,
                          .chip = chip_of(processor)};
  if (form != HMOEC_OUTPUT_OBJECT && form != HMOEC_OUTPUT_ASSEMBLY)
    return host->generate(context, unit, versions, NULL, form, diagnostics, out_bytes, out_size);
  char image_version[32];
  snprintf(image_version, sizeof image_version, "compute_%s", cuda.chip->name + strlen("sm_"));
  char *ptx = NULL, *names = NULL;
  hmoe_function *functions = NULL;
  bool ok = hmoec_cuda_generate_ptx(context, &cuda, diagnostics, &ptx);
  if (ok && form == HMOEC_OUTPUT_ASSEMBLY) {
    *out_bytes = ptx;
    *out_size = strlen(ptx);
    return true;
  }
  if (ok && !list_functions(unit, &functions, &names)) ok = hmoec_machine_error(diagnostics, "out of memory");
  if (ok) { /* a driver reads PTX up to its terminator */
    hmoec_unit_image image = {"cuda", image_version, ptx, strlen(ptx) + 1, functions};
    hmoec_unit both = *unit;
    both.images = &image;
    both.image_count = 1;
    ok = host->generate(context, &both, versions, NULL, form, diagnostics, out_bytes, out_size);
  }
  free(functions);
  free(names);
  free(ptx);
  return ok;
}

/* Chips that PTX is for: it runs on those, and on all later ones but where the name ends in a letter. */
static const char *const processors[] = {"sm_80", "sm_90a", NULL};

const hmoec_target hmoec_target_cuda = {
    .name = "cuda",
    .formats = {[HMOEC_FORMAT_F32] = true},
    .host = &hmoec_target_cpu,
    .column_step = CUDA_PANEL,
    .position_step = CUDA_PANEL,
    .position_pad = CUDA_PANEL,
    .attention_width = HOST_ATTENTION_WIDTH,
    .prepare = prepare,
    .layout = layout,
    .right_column = right_column,
    .pack = pack,
    .packs_any_depth = packs_any_depth,
    .repack = repack,
    .insert = insert,
    .scratch_bytes = scratch_bytes,
    .place = place,
    .initialise = hmoec_cuda_initialise,
    .version = version,
    .lacks = lacks,
    .processors = processors,
    .generate = generate,
};
