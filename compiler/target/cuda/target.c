/* The table of CUDA. f32 rows, right operands, keys and values are those of the host's target, so that entry 0 runs there as it is, one .hmw serves both,
 * and the object runs on either: beside the host's images it has those of chips. What differs is how kernels of the other entries are cut. What products in
 * bf16 read is laid out for GPUs alone (hmoe/abi_cuda.h), and entry 0 makes it on the host. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emit/unit.h"
#include "ir/hmk_ops.h"
#include "runtime_internal.h"
#include "target/cuda/object.h"
#include "target/target.h"

enum {
  PLANE = HMOE_CUDA_PLANE,
  TILE_ROWS = 128, /* of a block of rows that tensor cores multiply */
  FEW_ROWS = 32, /* of a block of the way for few, without groups, and how many a block of the other is to have on average */
  LEAST_PLANE_ROWS = FEW_ROWS
};
enum { TASK_ROWS = CUDA_ROW_WARPS, HOST_ATTENTION_WIDTH = 128 };

static const hmoec_target *const host = &hmoec_target_cpu;

static void prepare(hmoec_schedule *schedule, int64_t widest) { host->prepare(schedule, widest); }

/* ---- layouts ---- */

static int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

static hmoec_layout layout(const hmoec_schedule *schedule, const hmoec_operand *o) {
  if (!hmoec_is_bf16(o->format) || (o->role != HMOEC_ROLE_ROWS && o->role != HMOEC_ROLE_RIGHT)) return host->layout(schedule, o);
  if (o->role == HMOEC_ROLE_ROWS) /* every block has its own TILE_ROWS rows */
    return (hmoec_layout){.stride = round_up(o->columns, PLANE), .slack = (o->groups > 1 ? o->groups : 1) * (TILE_ROWS - 1)};
  int64_t depth = round_up(o->depth, PLANE), columns = round_up(o->columns, CUDA_PANEL);
  return (hmoec_layout){.stride = columns * depth, .depth = depth, .columns = columns};
}

static int64_t right_column(hmoec_format format, int64_t k, int64_t column) {
  return hmoec_is_bf16(format) ? column * round_up(k, PLANE) : host->right_column(format, k, column);
}

/* What the host would do, but for the order of what generators make, and for planes, which are to panels what f32 is, of another depth. */
static void pack(const hmoec_packing *packing, int64_t out_args[HMOEC_PACK_ARGS]) {
  hmoec_packing p = *packing;
  bool planes = hmoec_is_bf16(p.format) && p.k_inner > 0, generates_planes = hmoec_is_bf16(p.generates);
  if (planes) {
    p.operand_k = round_up(p.operand_k ? p.operand_k : p.k_inner, PLANE);
    p.format = HMOEC_FORMAT_F32;
  }
  if (generates_planes) {
    p.q = round_up(p.q, PLANE);
    p.generates = HMOEC_FORMAT_F32;
  }
  host->pack(&p, out_args);
  if (generates_planes) {
    out_args[HMOEC_PACK_SOURCE_GENERATED] = packing->q;
    out_args[HMOEC_PACK_GENERATED_FORMAT] = HMOE_FORMAT_BF16;
    out_args[HMOEC_PACK_GENERATED_LAYOUT] = HMOE_LAYOUT_PLANES;
  }
  if (!planes) return;
  out_args[HMOEC_PACK_LAYOUT] = HMOE_LAYOUT_PLANES;
  out_args[HMOEC_PACK_FORMAT] = HMOE_FORMAT_BF16;
  out_args[HMOEC_PACK_GROUP_BYTES] /= 2;
}

static bool packs_any_depth(hmoec_format format) { return hmoec_is_bf16(format) || host->packs_any_depth(format); }

/* Of f32 alone: bf16 is packed as it comes. */
static void repack(hmoec_format format, int64_t k, int64_t n, int64_t out_args[HMOEC_PACK_ARGS]) {
  host->repack(format, k, n, out_args);
}

static void insert(hmoec_format format, int64_t groups, int64_t k, int64_t n, int64_t first_k, int64_t part_k, int64_t *out_offset,
                   int64_t out_args[HMOEC_COPY_ARGS]) {
  if (!hmoec_is_bf16(format)) {
    host->insert(format, groups, k, n, first_k, part_k, out_offset, out_args);
    return;
  }
  host->insert(HMOEC_FORMAT_F32, groups, round_up(k, PLANE), n, first_k, round_up(part_k, PLANE), out_offset, out_args);
  static const int bytes[] = {1, 2, 4, 5, 6};
  for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) out_args[bytes[i]] /= 2;
}

static uint64_t scratch_bytes(const hmoec_schedule *schedule, const hmoec_kernel *kernels, size_t count) {
  return host->scratch_bytes(schedule, kernels, count);
}
static hmoec_code_version version(size_t number) { return host->version(number); }
static const char *lacks(size_t number) { return host->lacks(number); }

/* ---- place ---- */

static bool is_packed_way(MlirOperation choose) {
  MlirOperation next = mlirOperationGetNextInBlock(choose);
  while (!mlirOperationIsNull(next) && hmoec_op_is(next, "hmk.buffer")) next = mlirOperationGetNextInBlock(next);
  return !mlirOperationIsNull(next) && hmoec_op_is(next, "hmk.pack_rows");
}

static bool is_of_few_rows(MlirOperation product) {
  hmoec_kernel kernel;
  return hmoec_kernel_read(product, NULL, &kernel) && kernel.family == HMOEC_KERNEL_MATMUL && kernel.spec.matmul.few_rows;
}

/* Blocks of rows that products in bf16 multiply; 0: of another step. */
static int64_t bf16_block(MlirOperation op) {
  if (hmoec_op_is(op, "hmk.pack_rows")) return TILE_ROWS;
  if (hmoec_op_is(op, "hmk.grouped_matmul") && hmoec_op_string_is(op, "format", hmoec_format_name(HMOEC_FORMAT_BF16)))
    return is_of_few_rows(op) ? FEW_ROWS : TILE_ROWS;
  bool groups = hmoec_op_is(op, "hmk.group_tokens") || hmoec_op_is(op, "hmk.group_selections");
  return groups && hmoec_multiplies_blocks_in(op, HMOEC_FORMAT_BF16) ? TILE_ROWS : 0;
}

static const char *refuses(const hmoec_kernel *kernel, char *buffer) {
  int64_t most = hmoec_cuda_attention_most_head(),
          bottleneck = CUDA_LEAST_SHARED / (hmoec_cuda_contract_shared_bytes(&(hmoec_contract_spec){.bottleneck = 1}));
  if (kernel->family == HMOEC_KERNEL_ATTENTION && kernel->spec.attention.head_size > most)
    snprintf(buffer, HMOEC_KERNEL_CHARS, "heads of more than %lld columns, found %lld", (long long)most,
             (long long)kernel->spec.attention.head_size);
  else if (kernel->family == HMOEC_KERNEL_CONTRACT && kernel->spec.contract.bottleneck > bottleneck)
    snprintf(buffer, HMOEC_KERNEL_CHARS,
             "factored HyperExperts of a bottleneck above %lld, found %lld; other strategies have no such limit",
             (long long)bottleneck, (long long)kernel->spec.contract.bottleneck);
  else return NULL;
  return buffer;
}

/* Kernels over rows: a row a warp, or a block. Products and groupings in f32 have the host's blocks, which a tile has room for. */
static bool place(MlirOperation function, MlirOperation op, const hmoec_schedule *schedule) {
  static const struct {
    const char *op;
    int64_t rows;
  } blocks[] = {{"hmk.route_topk", CUDA_ROUTE_WARPS}, {"hmk.combine", 1},          {"hmk.select_embedding", TASK_ROWS},
                {"hmk.contract", TASK_ROWS},          {"hmk.map_rows", TASK_ROWS}, {"hmk.norm_rows", TASK_ROWS},
                {"hmk.embed_rows", TASK_ROWS},        {"hmk.store_kv", TASK_ROWS}};
  if (hmoec_op_is(op, "hmk.attention"))
    return hmoec_place_attention(function, op, hmoec_cuda_attention_rows(hmoec_op_int(op, "head_size")));
  if (!host->place(function, op, schedule)) return false;
  int64_t block = bf16_block(op);
  if (block) hmoec_hmk_schedule_set(op, (const char *const[]){"row_block"}, &block, 1);
  if (hmoec_op_is(op, "hmk.choose") && is_packed_way(op))
    hmoec_hmk_schedule_set(op, (const char *const[]){"row_block", "block_rows"}, (const int64_t[]){TILE_ROWS, LEAST_PLANE_ROWS}, 2);
  for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
    if (hmoec_op_is(op, blocks[i].op)) hmoec_hmk_schedule_set(op, (const char *const[]){"row_block"}, &blocks[i].rows, 1);
  return true;
}

static bool generate(MlirContext context, const hmoec_unit *unit, uint32_t versions, const char *processors, hmoec_output form,
                     hmoec_diagnostics *diagnostics, char **out_bytes, size_t *out_size) {
  if (form == HMOEC_OUTPUT_MLIR || form == HMOEC_OUTPUT_LLVM)
    return host->generate(context, unit, versions, NULL, form, diagnostics, out_bytes, out_size);
  return hmoec_cuda_generate(context, unit, versions, processors, form, diagnostics, out_bytes, out_size);
}

/* Chips that code is for, of which there may be several: PTX of one runs on all later ones, too, but where the name ends in a letter. */
static const char *const processors[] = {"sm_80", "sm_90a", "all", NULL};

/* Of a chip with a letter there is code for it alone, of others PTX that later ones run. A driver that is too old for a chip's PTX may be so for its machine
 * code, too, and takes code of the least. */
static const char *processor_of(const hmoe_chip *chip) {
  int wanted = chip->major * 10 + chip->minor;
  const char *best = NULL;
  for (const hmoec_cuda_chip *known = hmoec_cuda_chips; known->name; known++) {
    int number = 0;
    char letter = 0;
    bool exact = sscanf(known->name, "sm_%d%c", &number, &letter) == 2;
    bool runs = exact ? number == wanted : number <= wanted;
    if (runs && (!best || chip->driver >= known->driver)) best = known->name;
  }
  return best;
}

const hmoec_target hmoec_target_cuda = {
    .name = "cuda",
    .formats = {[HMOEC_FORMAT_F32] = true, [HMOEC_FORMAT_BF16] = true},
    .host = &hmoec_target_cpu,
    .packs_rows = {[HMOEC_FORMAT_BF16] = true},
    .packed_most = TILE_ROWS / LEAST_PLANE_ROWS,
    .piece_bytes = CUDA_PIECE_BYTES,
    .column_step = CUDA_PANEL,
    .depth_step = {[HMOEC_FORMAT_F32] = CUDA_PANEL, [HMOEC_FORMAT_BF16] = PLANE},
    .position_step = CUDA_PANEL,
    .position_pad = CUDA_PANEL,
    .attention_width = HOST_ATTENTION_WIDTH,
    .shared_keys = {.queries = HMOE_CUDA_SHARED_QUERIES,
                    .rows = HMOE_CUDA_SHARED_ROWS,
                    .keys = HMOE_CUDA_PART_KEYS,
                    .part_floats = hmoec_cuda_attention_part_floats},
    .prepare = prepare,
    .layout = layout,
    .right_column = right_column,
    .pack = pack,
    .packs_any_depth = packs_any_depth,
    .repack = repack,
    .insert = insert,
    .scratch_bytes = scratch_bytes,
    .refuses = refuses,
    .place = place,
    .initialise = hmoec_cuda_initialise,
    .version = version,
    .lacks = lacks,
    .processors = processors,
    .many_processors = true,
    .processor_of = processor_of,
    .generate = generate,
};
